// Steps of task/detail/promise.hpp in which two workers meet at one fork, in every interleaving. (model_join.cpp runs the real
// thing, from one resumption to the next; this looks between.)

#include <sched/model/machine.hpp>

#include <catch2/catch.hpp>

namespace covey_test_task_model_arrivals {

using namespace covey_test::model;

namespace {

/// join::await_child beside join::arrive of a stolen child.
auto check_fork(bool reads_parent_late) {
    enum cell : std::size_t { parent, left, resumed, resumed_nobody, cells };
    using checker = machine<sizes{cells, 2, 1, 2}>;
    using context = checker::context;
    checker m;
    const auto arrive = [&] {
        const value done = m.label();
        if (!reads_parent_late) m.step("arrive: reads the parent too early", [](context& c) { c.reg(0) = c.load(parent); });
        m.step("arrive: one less", [=](context& c) { c.go_if(c.add(left, -1) != 1, done); });
        if (reads_parent_late) m.step("arrive: reads the parent", [](context& c) { c.reg(0) = c.load(parent); });
        m.step("arrive: goes on", [](context& c) { ++c.ghost(c.reg(0) != 0 ? resumed : resumed_nobody); });
        m.here(done);
        m.stop();
    };
    const value awaiting = m.start();
    m.step("await_child: parent", [](context& c) { c.store(parent, 1); });
    arrive();
    const value child = m.start();
    arrive();
    m.first().memory[left] = 2;
    m.begin(0, awaiting);
    m.begin(1, child);
    using state = checker::state;
    return m.check([](const state& s) { return s.memory[resumed_nobody] == 0 && s.memory[resumed] <= 1; },
                   [](const state& s) { return s.memory[resumed] == 1; });
}

}  // namespace

TEST_CASE("model: the last to arrive at a fork finds the parent", "[task][model]") {
    const auto right = check_fork(true);
    report("fork", right);
    INFO(right.trace);
    CHECK(right.holds);
    CHECK(right.states > 10);
    CHECK_FALSE(check_fork(false).holds);
}

}  // namespace covey_test_task_model_arrivals
