#include <covey/sched/timer_queue.hpp>

#include <task/support.hpp>

#include <covey/core/random.hpp>

#include <map>
#include <memory>
#include <vector>

namespace covey_test_sched_timer_queue {

using namespace covey;
using namespace std::chrono_literals;

namespace {

struct quiet_timer : timer {
    quiet_timer() : timer([](timer&) noexcept {}) {}
};

constexpr time_point at(std::int64_t ns) { return time_point(duration(ns)); }

}  // namespace

TEST_CASE("an empty queue has no earliest moment", "[sched]") {
    timer_queue q;
    quiet_timer t;
    CHECK(q.empty());
    CHECK(q.size() == 0);
    CHECK(q.earliest() == never);
    CHECK(q.pop_due(never) == nullptr);
    CHECK_FALSE(q.remove(t));
}

TEST_CASE("timers of one moment come in the order they were armed", "[sched]") {
    timer_queue q;
    std::vector<quiet_timer> timers(100);
    for (auto& t : timers) q.push(t, at(5));
    CHECK(q.pop_due(at(4)) == nullptr);
    for (auto& t : timers) REQUIRE(q.pop_due(at(5)) == &t);
    CHECK(q.empty());
}

TEST_CASE("a removed timer does not come, and can be armed again", "[sched]") {
    timer_queue q;
    quiet_timer a;
    quiet_timer b;
    quiet_timer c;
    q.push(a, at(1));
    q.push(b, at(2));
    q.push(c, at(3));
    CHECK(q.remove(b));
    CHECK_FALSE(q.remove(b));
    CHECK(q.remove(a));
    CHECK(q.earliest() == at(3));
    q.push(b, at(7));
    q.push(a, at(9));
    CHECK(q.pop_due(at(100)) == &c);
    CHECK(q.pop_due(at(100)) == &b);
    CHECK_FALSE(q.remove(b));
    CHECK(q.pop_due(at(100)) == &a);
    CHECK(q.pop_due(at(100)) == nullptr);
}

TEST_CASE("the queue does what a std::multimap does", "[sched]") {
    for (std::uint64_t seed = 1; seed <= 30; ++seed) {
        INFO("seed " << seed);
        random_source random(seed);
        timer_queue q;
        const std::unique_ptr<quiet_timer[]> timers(new quiet_timer[300]);
        // A multimap keeps equal keys in the order of insertion.
        std::multimap<time_point, timer*> model;
        std::map<timer*, std::multimap<time_point, timer*>::iterator> where;
        time_point now = at(0);
        for (int step = 0; step < 3'000; ++step) {
            timer& t = timers[random.below(300)];
            const auto known = where.find(&t);
            if (random.below(8) == 0) {
                now += duration(random.below(40));
                for (;;) {
                    timer* const due = q.pop_due(now);
                    const bool expected = !model.empty() && model.begin()->first <= now;
                    REQUIRE((due != nullptr) == expected);
                    if (due == nullptr) break;
                    REQUIRE(due == model.begin()->second);
                    where.erase(due);
                    model.erase(model.begin());
                }
            } else if (known == where.end()) {
                if (random.below(4) == 0) {
                    REQUIRE_FALSE(q.remove(t));
                } else {
                    const time_point when = now + duration(random.below(100));
                    q.push(t, when);
                    where[&t] = model.emplace(when, &t);
                }
            } else {
                REQUIRE(q.remove(t));
                model.erase(known->second);
                where.erase(known);
            }
            REQUIRE(q.size() == model.size());
            REQUIRE(q.earliest() == (model.empty() ? never : model.begin()->first));
        }
    }
}

}  // namespace covey_test_sched_timer_queue
