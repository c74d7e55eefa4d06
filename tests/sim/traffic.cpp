#include <covey/core/random.hpp>
#include <covey/sim/traffic.hpp>

#include <catch2/catch.hpp>

namespace sim = covey::sim;
using namespace std::chrono_literals;

TEST_CASE("a histogram counts small numbers exactly and large ones within a thirty-second", "[sim]") {
    sim::histogram h;
    CHECK(h.quantile(0.5) == 0);
    CHECK(h.mean() == 0);
    for (std::uint64_t i = 0; i < 32; ++i) h.add(i);
    CHECK(h.quantile(0) == 0);
    CHECK(h.quantile(0.5) == 16);
    CHECK(h.quantile(1) == 31);
    covey::random_source random(5);
    for (int i = 0; i < 2000; ++i) {
        const std::uint64_t value = random.next() >> random.below(64);
        sim::histogram one;
        one.add(value);
        one.add(~std::uint64_t{0});  // so that the end of the bucket is seen, not the largest value
        REQUIRE(one.quantile(0) >= value);
        REQUIRE(one.quantile(0) - value <= value / 32);
    }
}

TEST_CASE("quantiles of a histogram agree with those of the sorted values", "[sim]") {
    sim::histogram h;
    sim::histogram rest;
    for (std::uint64_t i = 1; i <= 100'000; ++i) (i % 3 == 0 ? h : rest).add(i);
    h.merge(rest);
    CHECK(h.count() == 100'000);
    CHECK(h.max() == 100'000);
    CHECK(h.mean() == Approx(50'000.5));
    for (const double q : {0.01, 0.5, 0.9, 0.99}) CHECK(static_cast<double>(h.quantile(q)) == Approx(q * 100'000).epsilon(0.035));
    CHECK(h.quantile(1) == 100'000);
}

TEST_CASE("the meter has one entry for each second of each peer that runs", "[sim]") {
    const covey::time_point start = covey::time_point{} + 1000s;
    const auto all = [](sim::host_index) { return true; };
    sim::traffic_meter meter;
    meter.begin(start);
    meter.sent(0, 100);
    meter.sent(2, 300);
    meter.advance(start + 999ms, all);
    CHECK(meter.by_second().count() == 0);
    meter.advance(start + 1s, all);
    CHECK(meter.by_second().count() == 3);
    CHECK(meter.by_second().max() == 300);
    CHECK(meter.by_second().mean() == Approx(400.0 / 3));
    meter.sent(0, 50);
    meter.advance(start + 3s, [](sim::host_index h) { return h == 1; });  // the others are gone; what was sent counts
    CHECK(meter.by_second().count() == 3 + 2 + 1);
    CHECK(meter.total() == 450);
    meter.sent(1, 7);
    meter.begin(start + 3500ms);
    meter.advance(start + 4s, all);
    CHECK(meter.by_second().count() == 0);
}
