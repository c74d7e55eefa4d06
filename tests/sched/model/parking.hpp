// How the pool's workers push, sleep, wake each other and pass the baton, as a program for the checker. The steps are those of
// sched/impl/pool.ipp and task/local_queue.hpp and bear the names of their functions; whoever changes these changes this too.
#pragma once

#include <sched/model/machine.hpp>
#include <sched/model/scene.hpp>

#include <array>
#include <utility>

namespace covey_test::model {

class parking {
public:
    static constexpr std::size_t most_workers = 3;

    parking(const protocol& p, const scene& s) : m_p(p), m_s(s) {
        m_computing = m.label();
        m_asleep = m.label();
        m_in_reactor = m.label();
        m.here(m_computing);
        m.stop();
        write_worker();
        const value outside = m.start();
        write_outside();
        auto& first = m.first();
        first.memory[busy] = static_cast<value>(s.workers);
        first.memory[baton] = s.io_thread;
        for (std::size_t w = 0; w < most_workers; ++w) {
            if (w >= s.workers) {
                m.begin(w, m_computing);
                continue;
            }
            first.threads[w].registers[self] = static_cast<value>(w);
            first.threads[w].registers[counted] = 1;
            first.threads[w].registers[left] = s.pushes[w];
            first.threads[w].registers[polls_left] = s.polls;
            first.memory[asked + w] = s.asked;
            m.begin(w, w == 0 && s.children != 0 ? m_join : s.pushes[w] != 0 ? m_push : m_find);
            if (w == 0 && s.watching) {
                m.begin(w, m_in_reactor);
                first.threads[w].registers[has_baton] = first.threads[w].registers[is_waiting] = 1;
                first.threads[w].registers[counted] = 0;
                first.memory[baton] = first.memory[waiting] = first.memory[sleepers] = first.memory[hungry] = 1;
                --first.memory[busy];
                for (std::size_t v = 1; v < s.workers; ++v) first.memory[asked + v] = may_push(v);
            }
        }
        m.begin(outside_thread, outside);
    }

    auto check(std::size_t most_states = 4'000'000) {
        return m.check([](const auto& s) { return s.memory[sleepers] < 128 && s.memory[busy] < 128; },
                       [this](const auto& s) { return may_end(s); }, most_states);
    }

private:
    enum cell : std::size_t {
        top,  // … of each worker's deque, then the bottoms
        bottom = most_workers,
        asked = 2 * most_workers,  // … of each worker: the others want work
        injected = 3 * most_workers,
        hungry,
        sleepers,
        busy,
        baton,
        waiting,
        standby,
        events,
        asleep,  // how many, then who, the last to come last
        token = asleep + 1 + most_workers,
        io_posts = token + most_workers,
        io_events,
        cells
    };
    enum reg : std::size_t { self, has_baton, is_waiting, counted, scratch, quiet, seen, left, polls_left, registers };
    static constexpr std::size_t outside_thread = most_workers;
    using checker = machine<sizes{cells, most_workers + 1, registers, 3}>;
    using context = checker::context;
    using state = checker::state;

    /// Nothing more can happen: everybody sleeps or computes.
    bool may_end(const state& s) const {
        bool sleeping = false;
        bool watched = m_s.io_thread;
        value away = 0;
        bool work = s.memory[injected] != 0;
        for (std::size_t w = 0; w < m_s.workers; ++w) {
            const bool parked = m.is_at(s, w, m_asleep);
            const bool waits = m.is_at(s, w, m_in_reactor);
            sleeping = sleeping || parked;
            watched = watched || waits;
            away = static_cast<value>(away + parked + waits);
            work = work || s.memory[top + w] != s.memory[bottom + w];
        }
        if (work && away != 0) return false;                      // work that a sleeper could do
        if (sleeping && !watched) return false;                   // nobody watches the reactor, but somebody could
        if (s.memory[io_events] != 0 && away != 0) return false;  // the same
        return s.memory[sleepers] == away && s.memory[hungry] == away && s.memory[busy] == m_s.workers - away && s.memory[standby] == 0;
    }

    /// Steps that find nothing in any run of this scene are left out.
    bool may_push(std::size_t worker) const {
        return m_s.pushes[worker] != 0 || (worker == 0 && m_s.children != 0) ||
               (m_s.socket_events != 0 && m_s.handler_pushes + m_s.polls != 0);
    }

    // ---- the parts, written out where they are called

    /// pool::state::wake_one
    void wake_one() {
        const value done = m.label();
        const value nobody = m.label();
        m.step("wake_one: takes one from the list of those asleep", [=](context& c) {
            c.fence();
            value& n = c.ghost(asleep);
            if (n == 0) return c.go(nobody);
            c.reg(scratch) = c.ghost(asleep + n);
            c.ghost(asleep + n) = 0;
            --n;
            c.add(sleepers, -1);
        });
        m.step("wake_one: unpark", [=](context& c) {
            c.exchange(token + std::exchange(c.reg(scratch), value{0}), 1);
            c.go(done);
        });
        m.here(nobody);
        end_wait(done);
        m.step("wake_one: asio::post", [](context& c) { c.add(io_posts, 1); });
        m.here(done);
    }
    /// pool::state::end_wait; goes on at `no` where it would return false.
    void end_wait(value no) {
        m.step("end_wait: waiting.exchange(false)", [=](context& c) {
            if (c.exchange(waiting, 0) == 0) c.go(no);
        });
        m.step("end_wait: --sleepers", [](context& c) { c.add(sleepers, -1); });
    }
    /// local_queue::offer_if_wanted; here everything is public.
    void offer_if_wanted() {
        const value nobody_sleeps = m.label();
        const value done = m.label();
        if (m_p.pusher_fences) m.step("push: full_fence", [](context& c) { c.fence(); });
        m.step("offer_if_wanted: is it asked", [=](context& c) { c.go_if(c.load(asked + c.reg(self)) == 0, done); });
        m.step("wake: looks at sleepers", [=](context& c) { c.go_if(c.load(sleepers) == 0, nobody_sleeps); });
        wake_one();
        m.here(nobody_sleeps);
        m.step("offer: looks at hungry now and then", [=](context& c) { c.go_if(c.choose(2) == 1 || c.load(hungry) != 0, done); });
        m.step("offer: forget", [](context& c) { c.exchange(asked + c.reg(self), 0); });
        if (m_p.counts_again) {
            m.step("offer: looks at hungry again", [=](context& c) { c.go_if(c.load(hungry) == 0, done); });
            m.step("offer: want", [](context& c) { c.exchange(asked + c.reg(self), 1); });
        }
        m.here(done);
    }
    /// Of pool::state::idle.
    void ask_others() {
        const auto count = [](context& c) { c.add(hungry, 1); };
        if (m_p.counts_then_asks) m.step("idle: ++hungry", count);
        for (std::size_t v = 0; v < m_s.workers && m_p.asks; ++v) {
            if (!may_push(v)) continue;
            const value next = m.label();
            m.step("want: is it asked", [=](context& c) { c.go_if(v == c.reg(self) || c.load(asked + v) != 0, next); });
            m.step("want: asks", [=](context& c) { c.exchange(asked + v, 1); });
            m.here(next);
        }
        if (!m_p.counts_then_asks) m.step("idle: ++hungry too late", count);
    }
    void no_longer_hungry() {
        m.step("idle: --hungry", [](context& c) { c.add(hungry, -1); });
    }
    void deque_push() {
        m.step("push", [](context& c) {
            const std::size_t mine = bottom + c.reg(self);
            c.store(mine, static_cast<value>(c.load(mine) + 1));
        });
    }
    /// pool::state::take_baton
    void take_baton(value no) {
        m.step("take_baton", [=](context& c) {
            if (c.load(baton) != 0) return c.go(no);
            if (c.exchange(baton, 1) != 0) return c.go(no);
            c.reg(has_baton) = 1;
        });
    }
    /// pool::state::release_baton
    void release_baton() {
        const value done = m.label();
        m.step("release_baton: baton = false", [=](context& c) {
            if (std::exchange(c.reg(has_baton), value{0}) == 0) return c.go(done);
            c.store(baton, 0);
        });
        if (m_p.release_fences) m.step("release_baton: full_fence", [](context& c) { c.fence(); });
        m.step("release_baton: looks at sleepers", [=](context& c) { c.go_if(c.load(sleepers) == 0, done); });
        m.step("release_baton: looks at standby", [=](context& c) { c.go_if(c.load(standby) != 0, done); });
        wake_one();
        m.here(done);
    }
    /// pool::state::count_out, which passes a full fence; goes on at `alone` where it would return false.
    void count_out(value alone) {
        m.step("count_out: --busy", [=](context& c) {
            c.reg(counted) = 0;
            c.go_if(c.add(busy, -1) == 1, alone);
        });
    }
    /// pool::state::wake_up
    void wake_up() {
        m.step("wake_up: ++busy", [](context& c) {
            if (std::exchange(c.reg(counted), value{1}) == 0) c.add(busy, 1);
        });
    }
    /// pool::state::has_work; goes on at `yes` if so. (A sleeper's own deque is empty.)
    void has_work(value yes) {
        if (m_s.posts != 0) m.step("has_work: injected", [=](context& c) { c.go_if(c.load(injected) != 0, yes); });
        for (std::size_t w = 0; w < m_s.workers; ++w) {
            if (!may_push(w)) continue;
            m.step("has_work: a deque", [=](context& c) { c.go_if(c.load(top + w) != c.load(bottom + w), yes); });
        }
    }
    /// pool::state::on_event and what the handler does after it, inside of io_context::run_one.
    void handler() {
        const value waited = m.label();
        if (m_p.handler_is_busy) wake_up();
        m.step("on_event", [=](context& c) {
            c.ghost(events) ^= 1;
            if (std::exchange(c.reg(is_waiting), value{0}) == 0) c.go(waited);
        });
        end_wait(waited);
        m.here(waited);
        release_baton();
        for (value n = 0; n < m_s.handler_pushes; ++n) {
            deque_push();
            offer_if_wanted();
        }
    }
    /// pool::state::leave_sleepers; goes on at `no` where it would return false.
    void leave_sleepers(value no) {
        m.step("leave_sleepers", [=](context& c) {
            c.fence();
            const value n = c.ghost(asleep);
            for (value i = 1; i <= n; ++i) {
                if (c.ghost(asleep + i) != c.reg(self)) continue;
                for (value j = i; j < n; ++j) c.ghost(asleep + j) = c.ghost(asleep + j + 1);
                c.ghost(asleep + n) = 0;
                --c.ghost(asleep);
                c.add(sleepers, -1);
                return;
            }
            c.go(no);
        });
    }

    // ---- a worker: all run the same program

    void write_worker() {
        const value work = m.label();
        const value stolen = m.label();
        const value idle = m.label();
        m_find = m.label();
        const value park = m.label();

        m_join = m.start();
        for (value n = 0; n < m_s.children; ++n) deque_push();
        offer_if_wanted();
        m_push = m.start();
        const value pushed = m.label();
        m.step("", [=](context& c) {
            if (c.reg(left) == 0) return c.go(pushed);
            --c.reg(left);
        });
        deque_push();
        offer_if_wanted();
        m.jump(m_push);
        m.here(pushed);

        m.here(work);  // what was found runs
        m.step("runs", [this](context& c) { c.go(m_s.work_ends && c.choose(2) == 1 ? m_find : m_computing); });

        m.here(m_find);  // pool::state::find
        if (m_s.polls != 0) {
            const value no = m.label();
            const value nothing = m.label();
            m.step("find: should_poll", [=](context& c) {
                if (c.reg(polls_left) == 0 || c.choose(2) == 0) return c.go(no);
                --c.reg(polls_left);
            });
            take_baton(no);
            m.step("run_events: poll_one", [=](context& c) {
                if (c.ghost(io_posts) != 0 && c.choose(2) == 0) {
                    c.add(io_posts, -1);
                    return c.go(nothing);
                }
                if (c.ghost(io_events) == 0) return c.go(nothing);
                c.add(io_events, -1);
            });
            handler();
            deque_push();  // what goes on after the event: there is other work first
            offer_if_wanted();
            m.here(nothing);
            release_baton();
            m.here(no);
        }
        m.step("find: pop", [=](context& c) {
            c.fence();
            const std::size_t w = c.reg(self);
            if (c.ghost(bottom + w) == c.ghost(top + w)) return;
            --c.ghost(bottom + w);
            c.go(work);
        });
        if (m_s.posts != 0)
            m.step("find: take_injected", [=](context& c) {
                if (c.load(injected) == 0) return;
                c.add(injected, -1);
                c.go(work);
            });
        for (std::size_t v = 0; v < m_s.workers; ++v) {
            if (!may_push(v)) continue;
            m.step("find: steal", [this, v, stolen, work](context& c) {
                if (v == c.reg(self) || c.load(bottom + v) == c.load(top + v)) return;
                c.add(top + v, 1);
                c.reg(scratch) = static_cast<value>(v);
                c.go(m_p.thief_wakes_next ? stolen : work);
            });
        }
        m.jump(idle);
        m.here(stolen);
        m.step("steal: looks at sleepers", [=](context& c) {
            if (c.load(sleepers) != 0) return;
            c.reg(scratch) = 0;
            c.go(work);
        });
        m.step("steal: is there more", [=](context& c) {
            const std::size_t v = std::exchange(c.reg(scratch), value{0});
            c.go_if(c.load(bottom + v) == c.load(top + v), work);
        });
        wake_one();
        m.jump(work);

        m.here(idle);  // pool::state::idle
        ask_others();
        take_baton(park);
        wait_in_reactor(work);
        m.here(park);
        write_park();
    }

    void wait_in_reactor(value work) {
        const value back = m.label();
        const value event = m.label();
        const value waited = m.label();
        const value alone = m.label();
        m.step("wait_in_reactor: ++sleepers", [](context& c) { c.add(sleepers, 1); });
        m.step("wait_in_reactor: waiting = true", [](context& c) {
            c.exchange(waiting, 1);
            c.reg(is_waiting) = 1;
        });
        count_out(alone);
        if (m_p.waiter_looks_again) has_work(back);
        if (m_p.waits_a_little_first) {
            m.step("run_one_for", [=](context& c) {
                const value what = c.choose(3);
                if (what == 0) return c.block_unless(c.nobody_stores());  // no store takes a millisecond
                const std::size_t which = what == 1 ? io_events : io_posts;
                c.block_unless(c.ghost(which) != 0);
                c.add(which, -1);
                c.go(what == 1 ? event : back);
            });
            if (m_p.waiter_looks_again) has_work(back);
        }
        m.jump(m_in_reactor);
        m.here(alone);
        if (m_p.waiter_looks_again) has_work(back);
        m.here(m_in_reactor);
        m.step("run_one", [=](context& c) {
            if (c.ghost(io_events) != 0 && c.choose(2) == 0) {
                c.add(io_events, -1);
                return c.go(event);
            }
            c.block_unless(c.ghost(io_posts) != 0);
            c.add(io_posts, -1);
        });
        m.here(back);
        wake_up();
        m.step("", [=](context& c) { c.go_if(std::exchange(c.reg(is_waiting), value{0}) == 0, waited); });
        end_wait(waited);
        m.here(waited);
        release_baton();
        no_longer_hungry();
        m.jump(m_find);

        m.here(event);
        handler();
        wake_up();
        no_longer_hungry();
        m.jump(work);  // worker::next
    }

    void write_park() {
        const value leave = m.label();
        const value sleep = m.label();
        const value awake = m.label();
        const value alone = m.label();
        m.step("park: counts itself asleep", [](context& c) {
            c.fence();
            c.ghost(asleep + ++c.ghost(asleep)) = c.reg(self);
            c.add(sleepers, 1);
        });
        count_out(alone);
        if (m_p.sleeper_fences) m.step("park: fence of others", [](context& c) { c.fence_of_all(); });
        m.here(alone);
        if (m_p.looks_for_work_again) has_work(leave);
        if (m_p.looks_at_baton_again) m.step("park: looks at baton", [=](context& c) { c.go_if(c.load(baton) == 0, leave); });
        if (m_p.naps) nap(sleep, awake);
        m.here(sleep);
        m.here(m_asleep);
        m.step("park: sleeps", [](context& c) {
            c.block_unless(c.ghost(token + c.reg(self)) != 0);
            c.exchange(token + c.reg(self), 0);
        });
        m.here(awake);
        wake_up();
        no_longer_hungry();
        m.jump(m_find);
        m.here(leave);
        leave_sleepers(sleep);
        m.jump(awake);
    }

    /// pool::state::nap, with a patience of one quiet nap. Goes on at `sleep` where it would return false, else at `awake`.
    void nap(value sleep, value awake) {
        const value again = m.label();
        const value needed = m.label();
        const value woken = m.label();
        const value gone = m.label();
        const value left_at_once = m.label();
        const value hand_over = m.label();
        const value done = m.label();
        m.step("nap: standby.exchange(true)", [=](context& c) { c.go_if(c.exchange(standby, 1) != 0, sleep); });
        m.step("nap: looks at events", [](context& c) { c.reg(seen) = c.load(events); });
        m.here(again);
        m.step("nap: park_for", [=](context& c) {
            if (c.ghost(token + c.reg(self)) != 0 && c.choose(2) == 0) {
                c.exchange(token + c.reg(self), 0);
                return c.go(woken);
            }
            c.block_unless(c.nobody_stores());  // no store takes a millisecond
        });
        m.step("nap: looks at events again", [](context& c) {
            const value now = c.load(events);
            c.reg(quiet) = std::exchange(c.reg(seen), now) == now;
        });
        has_work(needed);
        m.step("nap: looks at baton", [=](context& c) { c.go_if(c.reg(quiet) != 0 && c.load(baton) == 0, needed); });
        m.step("nap: is somebody busy", [=](context& c) { c.go_if(c.reg(quiet) == 0 || c.load(busy) != 0, again); });
        m.step("nap: standby = false", [](context& c) { c.exchange(standby, 0); });
        m.step("", [](context& c) { c.reg(quiet) = c.reg(seen) = 0; });
        if (m_p.nap_looks_again) {
            has_work(gone);
            m.step("nap: looks at baton again", [=](context& c) { c.go_if(c.load(baton) == 0, gone); });
        }
        m.jump(sleep);
        m.here(needed);
        m.step("nap: standby = false, for it is needed", [](context& c) {
            c.exchange(standby, 0);
            c.reg(quiet) = c.reg(seen) = 0;
        });
        m.here(gone);
        leave_sleepers(left_at_once);
        m.jump(hand_over);
        m.here(left_at_once);
        m.step("", [=, this](context& c) {
            if (!m_p.token_hands_over) return c.go(sleep);
            c.reg(quiet) = 1;
            c.go(hand_over);
        });
        m.here(woken);
        m.step("nap: standby = false, for it was woken", [](context& c) {
            c.exchange(standby, 0);
            c.reg(quiet) = c.reg(seen) = 0;
        });
        m.here(hand_over);
        if (m_p.standby_hands_over) {
            m.step("nap: looks at sleepers", [=](context& c) { c.go_if(c.load(sleepers) == 0, done); });
            m.step("nap: looks at busy", [=](context& c) { c.go_if(c.load(busy) == 0, done); });
            wake_one();
        }
        m.here(done);
        m.step("", [=](context& c) { c.go(std::exchange(c.reg(quiet), value{0}) != 0 ? sleep : awake); });
    }

    // ---- the world

    void write_outside() {
        for (value i = 0; i < m_s.socket_events; ++i) {
            m.step("an event comes", [](context& c) { c.add(io_events, 1); });
        }
        for (value i = 0; i < m_s.posts; ++i) {
            const value done = m.label();
            m.step("post_last", [](context& c) { c.add(injected, 1); });
            m.step("post_last: looks at sleepers", [=](context& c) { c.go_if(c.load(sleepers) == 0, done); });
            wake_one();
            m.here(done);
        }
        m.stop();
    }

    const protocol m_p;
    const scene m_s;
    checker m;
    value m_computing = 0;
    value m_asleep = 0;
    value m_in_reactor = 0;
    value m_find = 0;
    value m_push = 0;
    value m_join = 0;
};

}  // namespace covey_test::model
