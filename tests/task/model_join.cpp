// All orders in which workers can run the children of a join, with the real join, queues and coroutines. One thread plays all
// workers: between two resumptions it chooses who acts next and how, and runs the whole again until every choice was made.

#include <covey/task/fork.hpp>
#include <covey/task/when_all.hpp>
#include <covey/task/when_any.hpp>

#include <sched/model/chooser.hpp>
#include <task/support.hpp>

#include <array>
#include <atomic>
#include <cstdio>
#include <memory>
#include <stdexcept>
#include <vector>

namespace covey_test_task_model_join {

using namespace covey;
using covey_test::end_flag;
using covey_test::repeats;
using covey_test::model::chooser;

namespace {

/// Workers whose every step is chosen. A step is one resumption, up to the next `pause` or `leave` of what runs.
class laboratory final : public scheduler {
public:
    laboratory(chooser& all, unsigned workers, bool wanted) : m_all(all), m_wanted(wanted) {
        for (unsigned i = 0; i < workers; ++i) m_workers.push_back(std::make_unique<worker>(*this));
    }

    void post(std::coroutine_handle<> work) noexcept override { m_acting->push(work); }
    time_point now() const noexcept override { return {}; }
    void arm(timer&, time_point) override {}
    bool cancel(timer&) noexcept override { return false; }
    std::uint64_t random() noexcept override { return 0; }
    unsigned concurrency() const noexcept override { return static_cast<unsigned>(m_workers.size()); }

    std::uint32_t choose(std::uint32_t n) { return m_all.choose(n); }
    void put(std::coroutine_handle<> work) { m_workers[0]->deque.push(work); }

    /// Until nothing is left to do. False: it goes on for ever.
    bool run() {
        for (int steps = 0; steps < 1'000; ++steps) {
            const std::size_t n = list_actions();
            if (n == 0) return true;
            act(m_actions[m_all.choose(static_cast<std::uint32_t>(n))]);
        }
        return false;
    }

    /// Suspended in the midst of its work: its worker does nothing else until it goes on, there. What others do meanwhile
    /// they do while it runs.
    struct pause {
        laboratory& lab;
        bool await_ready() const noexcept { return false; }
        COVEY_NOINLINE void await_suspend(std::coroutine_handle<> self) const noexcept { lab.m_acting->running = self; }
        void await_resume() const noexcept {}
    };
    /// Suspended for something outside: its worker goes on with other work, and any worker resumes it.
    struct leave {
        laboratory& lab;
        const task_context* context = nullptr;
        bool await_ready() const noexcept { return false; }
        template <class Promise>
        COVEY_NOINLINE void await_suspend(std::coroutine_handle<Promise> self) noexcept {
            context = &self.promise().context();
            lab.m_outside.push_back(self);
        }
        void await_resume() const noexcept { context->enter(); }
    };

private:
    struct worker final : detail::local_queue {
        explicit worker(laboratory& l) : lab(l) {
            owner = &l;
            hungry = &nobody;
        }
        void wake() noexcept override {}
        bool wanted_elsewhere() noexcept override {
            pops_left = 1;
            return lab.m_all.choose(2) == 1;
        }
        static inline std::atomic<unsigned> nobody{0};
        laboratory& lab;
        std::coroutine_handle<> running;
        bool used = false;
    };
    enum class how { go_on, newest, oldest, steal, outside };
    struct action {
        how what;
        std::size_t who;
        std::size_t from;
    };

    std::size_t list_actions() {
        std::size_t n = 0;
        const auto add = [&](action a) { m_actions[n++] = a; };
        for (std::size_t w = 0; w < m_workers.size(); ++w) {
            worker& self = *m_workers[w];
            if (self.running) {
                add({how::go_on, w, w});
                continue;
            }
            if (!self.deque.empty()) add({how::newest, w, w});
            for (std::size_t v = 0; v < m_workers.size(); ++v) {
                if (!m_workers[v]->deque.empty()) add({v == w ? how::oldest : how::steal, w, v});
            }
            for (std::size_t i = 0; i < m_outside.size(); ++i) add({how::outside, w, i});
            // Workers that have not done anything yet are all alike.
            if (w != 0 && !self.used) break;
        }
        return n;
    }
    void act(const action& a) {
        worker& self = *m_workers[a.who];
        self.used = true;
        std::coroutine_handle<> work;
        switch (a.what) {
            case how::go_on: work = std::exchange(self.running, nullptr); break;
            case how::newest: work = self.deque.pop(); break;
            case how::oldest: work = self.deque.pop_oldest(); break;
            case how::steal: work = m_workers[a.from]->deque.force([] {}); break;
            case how::outside:
                work = m_outside[a.from];
                m_outside.erase(m_outside.begin() + static_cast<std::ptrdiff_t>(a.from));
                break;
        }
        m_acting = &self;
        self.pops_left = m_wanted ? 1 : 1'000'000;
        detail::this_thread_state().queue = &self;
        resume_work(work);
        detail::this_thread_state().queue = nullptr;
    }

    chooser& m_all;
    const bool m_wanted;
    std::vector<std::unique_ptr<worker>> m_workers;
    worker* m_acting = nullptr;
    std::vector<std::coroutine_handle<>> m_outside;
    std::array<action, 64> m_actions;
};

/// What happened in one run.
struct record {
    int alive = 0;  // frames of children
    int ended = 0;
    int joins = 0;
    bool wrong = false;
};

struct life {
    explicit life(int& n) : alive(n) { ++alive; }
    life(const life&) = delete;
    life& operator=(const life&) = delete;
    ~life() { --alive; }
    int& alive;
};

/// What children do before they end: nothing, run for a while, wait for something outside, or both.
enum class doing : std::uint32_t { nothing, running, waiting, both };

task<int> child(laboratory& lab, record& all, int number, std::uint32_t kinds, bool fails = false) {
    const life here(all.alive);
    const auto what = static_cast<doing>(lab.choose(kinds));
    if (what == doing::running || what == doing::both) co_await laboratory::pause{lab};
    if (what == doing::waiting || what == doing::both) co_await laboratory::leave{lab};
    ++all.ended;
    if (fails) throw std::runtime_error("it was to fail");
    co_return number;
}

void note_join(record& all, int children) {
    ++all.joins;
    // The frames of the children are gone when the parent goes on.
    if (all.ended < children || all.alive != 0) all.wrong = true;
}

struct setup {
    const char* name;
    unsigned workers;
    std::uint32_t kinds;
    std::size_t at_least;
    bool wanted = false;
};

/// Runs `body(lab, record)` in all ways; each time it ends, and `joins` joins end.
template <class Body>
void explore(const setup& s, int joins, Body body) {
    chooser all;
    do {
        laboratory lab(all, s.workers, s.wanted);
        record seen;
        task_context context;
        context.scheduler = &lab;
        end_flag end;
        {
            detail::root_task<int> root(body(lab, seen));
            lab.put(root.bind(end.handle(), context));
            const bool rested = lab.run();
            const bool good = rested && end.ended && !seen.wrong && seen.joins == joins && seen.alive == 0 && root.result() == 1;
            if (!good) {
                INFO(s.name << " after the choices " << all.path());
                INFO("rested " << rested << ", ended " << end.ended << ", too early " << seen.wrong << ", joins " << seen.joins);
                REQUIRE(good);
            }
        }
    } while (all.next());
    std::printf("model: %s: all %zu orders\n", s.name, all.runs());
    CHECK(all.runs() >= s.at_least);
}

}  // namespace

TEST_CASE("model: two and three children beside each other, in every order of steals and suspensions", "[task][model]") {
    struct body {
        static task<int> two(laboratory& lab, record& seen, std::uint32_t kinds) {
            auto r = co_await when_all(child(lab, seen, 1, kinds), child(lab, seen, 2, kinds));
            note_join(seen, 2);
            co_return std::get<0>(r) == 1 && std::get<1>(r) == 2 ? 1 : 0;
        }
        static task<int> three(laboratory& lab, record& seen, std::uint32_t kinds) {
            auto r = co_await when_all(child(lab, seen, 1, kinds), child(lab, seen, 2, kinds), child(lab, seen, 3, kinds));
            note_join(seen, 3);
            co_return std::get<0>(r) == 1 && std::get<1>(r) == 2 && std::get<2>(r) == 3 ? 1 : 0;
        }
    };
    for (const setup& s : {setup{"when_all of 2, 2 workers", 2, 4, 100}, setup{"when_all of 2, 3 workers", 3, 4, 100},
                           setup{"when_all of 2, 2 workers, wanted elsewhere", 2, 4, 100, true}}) {
        explore(s, 1, [&](laboratory& lab, record& seen) { return body::two(lab, seen, s.kinds); });
    }
    for (const setup& s :
         {setup{"when_all of 3, 2 workers", 2, 3, 1'000}, setup{"when_all of 3, 2 workers, wanted elsewhere", 2, 3, 1'000, true}}) {
        explore(s, 1, [&](laboratory& lab, record& seen) { return body::three(lab, seen, s.kinds); });
    }
}

TEST_CASE("model: four children, as a vector too", "[task][model]") {
    struct body {
        static task<int> four(laboratory& lab, record& seen, std::uint32_t kinds) {
            std::vector<task<int>> all;
            for (int i = 0; i < 4; ++i) all.push_back(child(lab, seen, i, kinds));
            const std::vector<int> r = co_await when_all(std::move(all));
            note_join(seen, 4);
            co_return r == std::vector<int>{0, 1, 2, 3} ? 1 : 0;
        }
    };
    const setup s{"when_all of a vector of 4, 2 workers", 2, 3, 1'000};
    explore(s, 1, [&](laboratory& lab, record& seen) { return body::four(lab, seen, s.kinds); });
}

TEST_CASE("model: children that fail, and children that are not waited for longer than needed", "[task][model]") {
    struct body {
        static task<int> failing(laboratory& lab, record& seen, std::uint32_t kinds, int which) {
            bool caught = false;
            try {
                static_cast<void>(co_await when_all(child(lab, seen, 1, kinds, (which & 1) != 0),
                                                    child(lab, seen, 2, kinds, (which & 2) != 0), child(lab, seen, 3, 2)));
            } catch (const std::runtime_error&) {
                caught = true;
            }
            note_join(seen, 3);
            co_return caught ? 1 : 0;
        }
        static task<int> first(laboratory& lab, record& seen, std::uint32_t kinds) {
            const auto r = co_await when_any(child(lab, seen, 0, kinds), child(lab, seen, 1, kinds), child(lab, seen, 2, kinds));
            note_join(seen, 3);
            co_return r.index() == 0 ? std::get<0>(r) == 0 : r.index() == 1 ? std::get<1>(r) == 1 : std::get<2>(r) == 2;
        }
    };
    for (const int which : {1, 2, 3}) {
        const setup s{"when_all of 3, of which some fail", 2, 3, 500};
        explore(s, 1, [&](laboratory& lab, record& seen) { return body::failing(lab, seen, s.kinds, which); });
    }
    const setup s{"when_any of 3", 2, 3, 1'000};
    explore(s, 1, [&](laboratory& lab, record& seen) { return body::first(lab, seen, s.kinds); });
}

namespace {

task<int> pair_of(laboratory& lab, record& inner, std::uint32_t kinds) {
    // The second is made first: so it gets the frame that was freed last.
    task<int> second = child(lab, inner, 2, kinds);
    task<int> first = child(lab, inner, 1, kinds);
    auto r = co_await when_all(std::move(first), std::move(second));
    note_join(inner, 2);
    co_return std::get<0>(r) + std::get<1>(r);
}

}  // namespace

TEST_CASE("model: joins inside of joins", "[task][model]") {
    struct body {
        static task<int> nested(laboratory& lab, record& seen, std::uint32_t kinds) {
            record inner[2];
            auto r = co_await when_all(pair_of(lab, inner[0], kinds), pair_of(lab, inner[1], kinds));
            seen.joins += inner[0].joins + inner[1].joins;
            if (inner[0].wrong || inner[1].wrong || inner[0].ended != 2 || inner[1].ended != 2) seen.wrong = true;
            co_return std::get<0>(r) == 3 && std::get<1>(r) == 3 ? 1 : 0;
        }
    };
    const setup s{"when_all of two when_alls of 2", 2, 3, 1'000};
    explore(s, 2, [&](laboratory& lab, record& seen) { return body::nested(lab, seen, s.kinds); });
}

TEST_CASE("model: a frame of one join becomes a frame of another", "[task][model]") {
    // The child that comes next in the line may have been run by others and be gone, and another coroutine of the same
    // address may lie in the queue in its place: it must not be taken for the child.
    struct body {
        static task<int> beside(laboratory& lab, record& seen) {
            record inner[2];
            // Their children have frames of one size. The second begins when it is stolen, or when all of the first wait.
            auto r = co_await when_all(pair_of(lab, inner[0], 3), pair_of(lab, inner[1], 3));
            seen.joins += inner[0].joins + inner[1].joins;
            if (inner[0].wrong || inner[1].wrong) seen.wrong = true;
            co_return std::get<0>(r) == 3 && std::get<1>(r) == 3 ? 1 : 0;
        }
        /// Waits for something outside; its sibling ends meanwhile and leaves its frame to what is posted by hand.
        static task<int> posts_another(laboratory& lab, record& seen, std::vector<std::unique_ptr<detail::root_task<int>>>& roots,
                                       std::vector<std::unique_ptr<end_flag>>& ends, const task_context& context) {
            co_await laboratory::leave{lab};
            roots.push_back(std::make_unique<detail::root_task<int>>(child(lab, seen, 7, 1)));
            ends.push_back(std::make_unique<end_flag>());
            lab.post(roots.back()->bind(ends.back()->handle(), context));
            co_return 1;
        }
        static task<int> spawning(laboratory& lab, record& seen, std::vector<std::unique_ptr<detail::root_task<int>>>& roots,
                                  std::vector<std::unique_ptr<end_flag>>& ends) {
            const task_context& context = co_await get_context();
            auto r = co_await when_all(posts_another(lab, seen, roots, ends, context), child(lab, seen, 2, 3));
            ++seen.joins;
            co_return std::get<0>(r) == 1 && std::get<1>(r) == 2 ? 1 : 0;
        }
        static task<int> forking(laboratory& lab, record& seen, std::vector<std::unique_ptr<detail::root_task<int>>>& roots,
                                 std::vector<std::unique_ptr<end_flag>>& ends) {
            const task_context& context = co_await get_context();
            auto forked = co_await fork(child(lab, seen, 2, 3));
            co_await laboratory::leave{lab};
            roots.push_back(std::make_unique<detail::root_task<int>>(child(lab, seen, 7, 1)));
            ends.push_back(std::make_unique<end_flag>());
            lab.post(roots.back()->bind(ends.back()->handle(), context));
            const int n = co_await forked.join();
            ++seen.joins;
            co_return n == 2 ? 1 : 0;
        }
    };
    const setup s{"two joins beside each other, frames recycled", 2, 3, 1'000};
    explore(s, 2, [&](laboratory& lab, record& seen) { return body::beside(lab, seen); });
    std::vector<std::unique_ptr<detail::root_task<int>>> roots;
    std::vector<std::unique_ptr<end_flag>> ends;
    const auto clear = [&] {
        for (const auto& e : ends) REQUIRE(e->ended);
        roots.clear();
        ends.clear();
    };
    const setup spawning{"a child posts work whose frame was its sibling's", 2, 3, 20};
    explore(spawning, 1, [&](laboratory& lab, record& seen) {
        clear();
        return body::spawning(lab, seen, roots, ends);
    });
    const setup forking{"a parent posts work whose frame was its forked child's", 2, 3, 20};
    explore(forking, 1, [&](laboratory& lab, record& seen) {
        clear();
        return body::forking(lab, seen, roots, ends);
    });
    clear();
}

TEST_CASE("model: forks that are joined in any order, stolen or not", "[task][model]") {
    struct body {
        static task<int> one(laboratory& lab, record& seen, std::uint32_t kinds) {
            auto a = co_await fork(child(lab, seen, 1, kinds));
            const auto what = static_cast<doing>(lab.choose(kinds));
            if (what == doing::running) co_await laboratory::pause{lab};
            if (what == doing::waiting) co_await laboratory::leave{lab};
            const int x = co_await a.join();
            note_join(seen, 1);
            co_return x;
        }
        static task<int> two(laboratory& lab, record& seen, std::uint32_t kinds) {
            auto a = co_await fork(child(lab, seen, 1, kinds));
            auto b = co_await fork(child(lab, seen, 2, kinds));
            int x = 0;
            int y = 0;
            if (lab.choose(2) == 1) co_await laboratory::pause{lab};
            if (lab.choose(2) == 1) {
                x = co_await a.join();
                y = co_await b.join();
            } else {
                y = co_await b.join();
                x = co_await a.join();
            }
            note_join(seen, 2);
            co_return x == 1 && y == 2 ? 1 : 0;
        }
    };
    for (const setup& s : {setup{"fork, 2 workers", 2, 3, 100}, setup{"fork, 3 workers, wanted elsewhere", 3, 3, 100, true}}) {
        explore(s, 1, [&](laboratory& lab, record& seen) { return body::one(lab, seen, s.kinds); });
    }
    for (const setup& s :
         {setup{"two forks, 2 workers", 2, 3, 1'000}, setup{"two forks, 2 workers, wanted elsewhere", 2, 3, 1'000, true}}) {
        explore(s, 1, [&](laboratory& lab, record& seen) { return body::two(lab, seen, s.kinds); });
    }
}

}  // namespace covey_test_task_model_join
