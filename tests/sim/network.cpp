#include <covey/core/error.hpp>
#include <covey/sim/network.hpp>

#include <catch2/catch.hpp>

#include <cmath>
#include <set>

namespace sim = covey::sim;
using namespace std::chrono_literals;

namespace {

constexpr covey::time_point beginning = covey::time_point{} + 1000s;
constexpr int draws = 100'000;

struct observed {
    double lost = 0;
    double twice = 0;
    double mean_us = 0;
    covey::duration shortest = covey::duration::max();
    covey::duration longest{};
};

observed observe(const sim::faults& f) {
    sim::network net(42, f);
    observed s;
    double delays = 0;
    for (int i = 0; i < draws; ++i) {
        const auto fate = net.datagram(0, 1, 100, beginning);
        s.lost += fate.copies == 0;
        s.twice += fate.copies == 2;
        for (unsigned c = 0; c < fate.copies; ++c) {
            s.mean_us += std::chrono::duration<double, std::micro>(fate.delay[c]).count();
            s.shortest = std::min(s.shortest, fate.delay[c]);
            s.longest = std::max(s.longest, fate.delay[c]);
            delays += 1;
        }
    }
    if (delays > 0) s.mean_us /= delays;
    s.lost /= draws;
    s.twice /= draws;
    return s;
}

std::vector<sim::host_index> hosts(sim::host_index first, sim::host_index last) {
    std::vector<sim::host_index> all;
    for (sim::host_index h = first; h <= last; ++h) all.push_back(h);
    return all;
}

}  // namespace

TEST_CASE("the exponential draw has the right mean, variance and tail", "[sim]") {
    covey::random_source random(3);
    double sum = 0;
    double squares = 0;
    double over_three = 0;
    for (int i = 0; i < draws; ++i) {
        const double x = sim::exponential(random);
        REQUIRE(x >= 0);
        sum += x;
        squares += x * x;
        over_three += x > 3;
    }
    const double mean = sum / draws;
    CHECK(mean == Approx(1).margin(0.015));
    CHECK(squares / draws - mean * mean == Approx(1).margin(0.04));
    CHECK(over_three / draws == Approx(std::exp(-3.0)).margin(0.003));
}

TEST_CASE("without faults every datagram arrives once", "[sim]") {
    const observed s = observe({});
    CHECK(s.lost == 0);
    CHECK(s.twice == 0);
    CHECK(s.shortest >= 50us);
    CHECK(s.mean_us == Approx(200).epsilon(0.02));
}

TEST_CASE("loss, duplication and delay come as often and as long as asked for", "[sim]") {
    const observed s = observe({.loss = 0.3, .duplication = 0.1, .delay_min = 10ms, .delay_mean = 30ms});
    CHECK(s.lost == Approx(0.3).margin(0.006));
    CHECK(s.twice == Approx(0.7 * 0.1).margin(0.004));
    CHECK(s.mean_us == Approx(30000).epsilon(0.02));
    CHECK(s.shortest >= 10ms);
    CHECK(s.longest > 150ms);
    const observed all = observe({.loss = 1});
    CHECK(all.lost == 1);
}

TEST_CASE("uniform jitter stays within its bounds", "[sim]") {
    const observed s = observe({.delay_min = 10ms, .delay_mean = 30ms, .spread = sim::jitter::uniform});
    CHECK(s.mean_us == Approx(30000).epsilon(0.02));
    CHECK(s.shortest >= 10ms);
    CHECK(s.shortest < 11ms);
    CHECK(s.longest <= 50ms);
    CHECK(s.longest > 49ms);
}

TEST_CASE("faults that cannot be are refused", "[sim]") {
    CHECK_THROWS_AS(sim::network(1, {.loss = 1.5}), covey::error);
    CHECK_THROWS_AS(sim::network(1, {.duplication = -0.1}), covey::error);
    sim::network net(1);
    CHECK_THROWS_AS(net.set_faults({.loss = std::nan("")}), covey::error);
    CHECK_THROWS_AS(net.set_faults(3, {.delay_min = -1s}), covey::error);
}

TEST_CASE("a partition stops both ways, a cut one way, and only between the sets", "[sim]") {
    sim::network net(1);
    const auto a = hosts(0, 2);
    const auto b = hosts(3, 5);
    const auto split = net.partition(a, b);
    CHECK(net.blocked(0, 3));
    CHECK(net.blocked(5, 2));
    CHECK_FALSE(net.blocked(0, 2));
    CHECK_FALSE(net.blocked(3, 4));
    CHECK_FALSE(net.blocked(0, 6));
    CHECK(net.datagram(0, 3, 1, beginning).copies == 0);
    CHECK(net.datagram(0, 1, 1, beginning).copies == 1);
    CHECK_FALSE(net.segment(0, 3, 1, beginning));
    const auto one_way = net.cut(hosts(6, 6), a);
    CHECK(net.blocked(6, 0));
    CHECK_FALSE(net.blocked(0, 6));
    CHECK_FALSE(net.segment(0, 6, 1, beginning));  // no acknowledgement would come back
    net.heal(split);
    CHECK_FALSE(net.blocked(0, 3));
    CHECK(net.blocked(6, 0));
    net.heal(one_way);
    net.heal(one_way);
    CHECK_FALSE(net.blocked(6, 0));
    CHECK(net.segment(0, 6, 1, beginning));
}

TEST_CASE("an isolated host reaches nobody but itself; partitions overlap", "[sim]") {
    sim::network net(1);
    const auto alone = net.isolate(4);
    const auto split = net.partition(hosts(4, 4), hosts(0, 1));
    for (sim::host_index h = 0; h < 10; ++h) {
        CHECK(net.blocked(4, h) == (h != 4));
        CHECK(net.blocked(h, 4) == (h != 4));
    }
    CHECK_FALSE(net.blocked(0, 1));
    net.heal(alone);
    CHECK(net.blocked(0, 4));
    CHECK_FALSE(net.blocked(2, 4));
    net.heal();
    CHECK_FALSE(net.blocked(0, 4));
    (void)split;
}

TEST_CASE("what is sent into a clog arrives after it", "[sim]") {
    sim::network net(1);
    net.clog(0, 1, beginning + 5s);
    CHECK(net.datagram(0, 1, 1, beginning + 1s).delay[0] >= 4s);
    CHECK(net.datagram(1, 0, 1, beginning + 1s).delay[0] >= 4s);
    CHECK(net.datagram(0, 2, 1, beginning + 1s).delay[0] < 1s);
    CHECK(*net.segment(0, 1, 1, beginning + 1s) >= 4s);
    CHECK(net.datagram(0, 1, 1, beginning + 5s).delay[0] < 1s);
}

TEST_CASE("a host can have a network of its own", "[sim]") {
    sim::network net(1);
    net.set_faults(3, {.loss = 1});
    CHECK(net.datagram(3, 1, 1, beginning).copies == 0);
    CHECK(net.datagram(1, 3, 1, beginning).copies == 0);
    CHECK(net.datagram(1, 2, 1, beginning).copies == 1);
    CHECK(net.datagram(3, 3, 1, beginning).copies == 1);
    net.clear_faults(3);
    CHECK(net.datagram(3, 1, 1, beginning).copies == 1);
}

TEST_CASE("a lost segment costs a retransmission", "[sim]") {
    sim::network net(5, {.loss = 0.25, .delay_min = 1ms, .delay_mean = 1ms});
    int once = 0;
    int late = 0;
    for (int i = 0; i < draws; ++i) {
        const covey::duration d = net.segment(0, 1, 100, beginning).value();
        once += d == 1ms;
        late += d >= sim::network::retransmit_first * 3;  // lost twice or more: 200 ms and 400 ms
    }
    CHECK(once / double(draws) == Approx(0.75).margin(0.006));
    CHECK(late / double(draws) == Approx(0.0625).margin(0.004));
}

TEST_CASE("bandwidth: packets queue on the sender's line, and a full line drops", "[sim]") {
    sim::network net(1, {.delay_min = 1ms, .delay_mean = 1ms, .bandwidth = 1'000'000});
    CHECK(net.datagram(0, 1, 1000, beginning).delay[0] == 2ms);
    CHECK(net.datagram(0, 2, 1000, beginning).delay[0] == 3ms);  // the line is the sender's, whoever the receiver is
    CHECK(net.datagram(1, 2, 1000, beginning).delay[0] == 2ms);
    int dropped = 0;
    for (int i = 0; i < 400; ++i) dropped += net.datagram(0, 1, 1000, beginning).copies == 0;
    CHECK(dropped > 150);
    CHECK(dropped < 250);
    CHECK(net.datagram(0, 1, 1000, beginning + 1s).delay[0] == 2ms);
    for (int i = 0; i < 400; ++i) net.segment(4, 1, 1000, beginning);
    CHECK(*net.segment(4, 1, 1000, beginning) == 402ms);  // a stream is never dropped for that
}

TEST_CASE("rules are bounded", "[sim]") {
    sim::network net(1);
    for (std::size_t i = 0; i < sim::network::rules_max; ++i) net.isolate(1);
    CHECK_THROWS_AS(net.isolate(1), covey::error);
}

TEST_CASE("decisions follow from the seed", "[sim]") {
    const auto decisions = [](std::uint64_t seed) {
        sim::network net(seed, {.loss = 0.2, .duplication = 0.2});
        std::vector<covey::duration> all;
        for (int i = 0; i < 200; ++i) {
            const auto fate = net.datagram(0, 1, 1, beginning);
            all.push_back(fate.delay[0]);
            all.push_back(fate.delay[1]);
        }
        return all;
    };
    CHECK(decisions(1) == decisions(1));
    CHECK(decisions(1) != decisions(2));
}
