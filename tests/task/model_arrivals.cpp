// Steps of task/detail/promise.hpp in which two workers meet at one join, in every interleaving. (model_join.cpp runs the real
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

/// How a worker that pops the address of a sibling knows that it is the sibling.
enum class known_by { address, arrivals, join };

/// The end of a child in line, whose sibling was stolen. The sibling's frame is freed, and this worker makes of it a frame for
/// something else, which it queues before the child ends.
auto check_address(known_by how) {
    enum cell : std::size_t { freed, left, frames_join, mistaken, ended, cells };
    constexpr value ours = 1;
    using checker = machine<sizes{cells, 2, 1, 2}>;
    using context = checker::context;
    checker m;
    const value thief = m.start();
    m.step("end_long: leaves the join", [](context& c) { c.store(frames_join, 0); });
    m.step("end_long: destroys the frame", [](context& c) { c.exchange(freed, 1); });
    m.step("end_long: arrives", [](context& c) { c.add(left, -1); });
    m.stop();
    const value in_line = m.start();
    const value done = m.label();
    m.step("allocates the frame of another", [](context& c) {
        c.block_unless(c.ghost(freed) != 0);
        c.exchange(freed, 0);
    });
    m.step("pops its address", [=](context& c) {
        bool sibling = true;
        if (how == known_by::arrivals) sibling = c.load(left) == 2;
        if (how == known_by::join) sibling = c.load(frames_join) == ours;
        c.ghost(mistaken) = sibling;
    });
    m.here(done);
    m.step("ends", [](context& c) { c.ghost(ended) = 1; });
    m.stop();
    m.first().memory[left] = 2;
    m.first().memory[frames_join] = ours;
    m.begin(0, thief);
    m.begin(1, in_line);
    using state = checker::state;
    return m.check([](const state& s) { return s.memory[mistaken] == 0; }, [](const state& s) { return s.memory[ended] == 1; });
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

TEST_CASE("model: a frame used again is not taken for the child that it was", "[task][model]") {
    const auto right = check_address(known_by::join);
    report("address used again", right);
    INFO(right.trace);
    CHECK(right.holds);
    CHECK(right.states > 5);
    CHECK_FALSE(check_address(known_by::address).holds);
    // Not enough: a child frees its frame before it arrives, for its parent goes on only when it is gone.
    CHECK_FALSE(check_address(known_by::arrivals).holds);
}

}  // namespace covey_test_task_model_arrivals
