// All interleavings of an owner and two thieves on the deque of task/deque.hpp, on a machine with store buffers. The ring has
// four slots here, so that few pushes go round it; it does not grow, for growing is done with the lock held.

#include <sched/model/machine.hpp>

#include <catch2/catch.hpp>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <string>

namespace covey_test_sched_model_deque {

using namespace covey_test::model;

namespace {

/// What can be done wrong.
struct variant {
    const char* name = "as it is";
    bool force_fences = true;        // a forcing thief makes the owner pass a fence
    bool keeps_public = false;       // … or nothing is private
    bool force_raises_first = true;  // the split, then looks at the bottom
    bool force_restores = true;      // the split, when there was nothing
    bool pop_lowers_first = true;    // the bottom, then looks at the split
    bool pop_looks_again = true;     // at the top, when it has the lock
    bool slot_first = true;          // push writes the slot, then the bottom
    bool thieves_lock = true;
};

class deque_model {
public:
    static constexpr value most_items = 5;
    static constexpr value first_index = 4;
    static constexpr value everything = 255;

    /// `script`: '+' pushes the next item, '-' pops, 's' shares, 'o' pops the oldest. Each thief tries `tries` times.
    deque_model(const variant& v, const std::string& script, unsigned tries) : m_v(v) {
        const value owner = m.start();
        for (const char c : script) {
            switch (c) {
                case '+': push(++m_pushed); break;
                case '-': pop(); break;
                case 's': share(); break;
                default: pop_oldest(); break;
            }
        }
        m.stop();
        const value thief = m.start();
        for (unsigned i = 0; i < tries; ++i) steal_or_force();
        m.stop();
        m.first().memory[top] = m.first().memory[split] = m.first().memory[bottom] = first_index;
        if (v.keeps_public) m.first().memory[split] = everything;
        m.begin(0, owner);
        m.begin(1, thief);
        m.begin(2, thief);
    }

    auto check() {
        return m.check(
            [](const state& s) {
                for (std::size_t i = 0; i <= most_items; ++i) {
                    if (s.memory[taken + i] > (i == 0 ? 0 : 1)) return false;  // item 0 is what an empty slot holds
                }
                return true;
            },
            [this](const state& s) {
                std::array<int, most_items + 1> seen{};
                for (std::size_t i = 0; i <= most_items; ++i) seen[i] = s.memory[taken + i];
                for (value i = s.memory[top]; i < s.memory[bottom]; ++i) ++seen[s.memory[slot(i)]];
                for (std::size_t i = 1; i <= m_pushed; ++i) {
                    if (seen[i] != 1) return false;
                }
                if (s.memory[split] == everything) return s.memory[lock] == 0;
                return s.memory[top] <= s.memory[split] && s.memory[split] <= s.memory[bottom] && s.memory[lock] == 0;
            });
    }

private:
    enum cell : std::size_t { top, split, bottom, lock, slots, taken = slots + 4, cells = taken + most_items + 1 };
    enum reg : std::size_t { at, seen_top, seen_split, registers };
    using checker = machine<sizes{cells, 3, registers, 4}>;
    using context = checker::context;
    using state = checker::state;

    static std::size_t slot(value i) { return slots + (i & 3u); }
    static void take(context& c, value i) { ++c.ghost(taken + c.load(slot(i))); }
    static void forget(context& c) { c.reg(at) = c.reg(seen_top) = c.reg(seen_split) = 0; }

    void acquire(bool really = true) {
        if (!really) return;
        m.step("takes the lock", [](context& c) {
            c.block_unless(c.ghost(lock) == 0);
            c.exchange(lock, 1);
        });
    }
    void release() {
        m.step("releases the lock", [](context& c) { c.store(lock, 0); });
    }

    void push(value number) {
        const auto write_slot = [=](context& c) { c.store(slot(c.load(bottom)), number); };
        const auto write_late = [=](context& c) { c.store(slot(static_cast<value>(c.load(bottom) - 1)), number); };
        if (m_v.slot_first) m.step("push: writes the slot", write_slot);
        m.step("push: raises the bottom", [](context& c) { c.store(bottom, static_cast<value>(c.load(bottom) + 1)); });
        if (!m_v.slot_first) m.step("push: writes the slot too late", write_late);
    }

    void pop() {
        const value with_thieves = m.label();
        const value unlock = m.label();
        const value mine = m.label();
        const value done = m.label();
        const auto lower = [](context& c) {
            c.reg(at) = static_cast<value>(c.load(bottom) - 1);
            c.store(bottom, c.reg(at));
        };
        if (m_v.pop_lowers_first) m.step("pop: lowers the bottom", lower);
        m.step("pop: reads the split", [](context& c) { c.reg(seen_split) = c.load(split); });
        if (!m_v.pop_lowers_first) m.step("pop: lowers the bottom too late", lower);
        m.step("pop: takes what is private", [=](context& c) {
            if (c.reg(at) < c.reg(seen_split)) return c.go(with_thieves);
            take(c, c.reg(at));
            c.go(done);
        });
        m.here(with_thieves);
        m.step("pop_public: looks at the top", [=](context& c) {
            if (c.load(top) <= c.reg(at)) return;
            c.store(bottom, static_cast<value>(c.reg(at) + 1));
            c.go(done);
        });
        acquire();
        m.step("pop_public: looks at the top again", [=, this](context& c) {
            c.reg(seen_top) = c.load(top);
            if (c.reg(seen_top) <= c.reg(at) || !m_v.pop_looks_again) return c.go(mine);
            c.store(bottom, static_cast<value>(c.reg(at) + 1));
            c.go(unlock);
        });
        m.here(mine);
        m.step("pop_public: lowers the split and takes", [](context& c) {
            if (c.load(split) != everything) c.store(split, static_cast<value>(c.reg(seen_top) + (c.reg(at) - c.reg(seen_top)) / 2));
            take(c, c.reg(at));
        });
        m.here(unlock);
        release();
        m.here(done);
        m.step("", forget);
    }

    /// With the lock held.
    static void take_top(context& c, value i) {
        take(c, i);
        c.store(top, static_cast<value>(i + 1));
        if (c.load(split) <= i) c.store(split, static_cast<value>(i + 1));
    }

    void pop_oldest() {
        const value unlock = m.label();
        acquire();
        m.step("pop_oldest", [=](context& c) {
            if (c.load(top) < c.load(bottom)) take_top(c, c.load(top));
        });
        m.here(unlock);
        release();
    }

    void share() {
        acquire();
        m.step("share", [](context& c) {
            const value s = c.load(split);
            if (s < c.load(bottom)) c.store(split, static_cast<value>(s + (c.load(bottom) - s + 1) / 2));
        });
        release();
    }

    void steal_or_force() {
        const value force = m.label();
        const value unlock = m.label();
        const value may_take = m.label();
        const value taking = m.label();
        const value done = m.label();
        m.step("tries", [=](context& c) { c.go_if(c.choose(2) == 1, force); });
        m.step("steal: looks at the top", [](context& c) { c.reg(seen_top) = c.load(top); });
        m.step("steal: looks at the split", [=](context& c) { c.go_if(c.reg(seen_top) >= c.load(split), done); });
        m.step("steal: looks at the bottom", [=](context& c) { c.go_if(c.reg(seen_top) >= c.load(bottom), done); });
        acquire(m_v.thieves_lock);
        m.step("steal: looks again", [=](context& c) {
            c.reg(seen_top) = c.load(top);
            c.go(c.reg(seen_top) < c.load(split) ? may_take : unlock);
        });

        m.here(force);
        acquire(m_v.thieves_lock);
        const auto look = [](context& c) { c.reg(at) = c.load(bottom); };
        if (!m_v.force_raises_first) m.step("force: looks at the bottom too early", look);
        m.step("force: raises the split", [=](context& c) {
            c.reg(seen_top) = c.load(top);
            c.reg(seen_split) = c.load(split);
            if (c.reg(seen_top) < c.reg(seen_split)) return c.go(may_take);
            c.exchange(split, static_cast<value>(c.reg(seen_split) + 1));
        });
        m.step("force: fences the owner", [this](context& c) {
            c.fence();
            if (m_v.force_fences) c.fence_of_all();
        });
        if (m_v.force_raises_first) m.step("force: looks at the bottom", look);
        m.step("force: is there something", [=, this](context& c) {
            if (c.reg(at) > c.reg(seen_split)) return c.go(taking);
            if (m_v.force_restores) c.store(split, c.reg(seen_split));
            c.go(unlock);
        });
        m.here(may_take);
        m.step("looks at the bottom", [=](context& c) { c.go_if(c.reg(seen_top) >= c.load(bottom), unlock); });
        m.here(taking);
        m.step("takes the top", [](context& c) { take_top(c, c.reg(seen_top)); });
        m.here(unlock);
        if (m_v.thieves_lock) release();
        m.here(done);
        m.step("", forget);
    }

    const variant m_v;
    checker m;
    value m_pushed = 0;
};

struct use {
    const char* name;
    const char* script;
    unsigned tries;
};
constexpr use uses[] = {
    {"one item again and again", "+-+-+-", 2}, {"two at a time", "++--+-", 2},     {"shared", "++s--+-", 2},
    {"round the ring", "++s-++--", 2},         {"the oldest first", "+++so--", 2}, {"all shared", "++ss-+s--", 1},
};

}  // namespace

TEST_CASE("model: what is pushed is taken once", "[sched][model]") {
    for (const variant& right : {variant{}, variant{.name = "nothing private", .force_fences = false, .keeps_public = true}}) {
        for (const use& u : uses) {
            const auto v = deque_model(right, u.script, u.tries).check();
            report((std::string("deque, ") + right.name + ": " + u.name).c_str(), v);
            INFO(u.name << "\n" << v.trace);
            CHECK(v.holds);
            CHECK(v.complete);
            CHECK(v.states > 1'000);
        }
    }
}

TEST_CASE("model: what the deque needs", "[sched][model]") {
    const variant wrong[] = {
        {.name = "who forces fences nobody", .force_fences = false},
        {.name = "who forces looks too early", .force_raises_first = false},
        {.name = "who forces leaves the split raised", .force_restores = false},
        {.name = "pop reads the split too early", .pop_lowers_first = false},
        {.name = "pop does not look again", .pop_looks_again = false},
        {.name = "the bottom before the slot", .slot_first = false},
        {.name = "thieves do not lock", .thieves_lock = false},
    };
    for (const variant& w : wrong) {
        bool found = false;
        for (const use& u : uses) {
            const auto v = deque_model(w, u.script, u.tries).check();
            if (v.holds) continue;
            found = true;
            std::printf("model: deque, %s: wrong after %zu states of: %s\n", w.name, v.states, u.name);
            if (std::getenv("COVEY_MODEL_TRACES") != nullptr) std::printf("%s", v.trace.c_str());
            break;
        }
        INFO(w.name);
        CHECK(found);
    }
}

}  // namespace covey_test_sched_model_deque
