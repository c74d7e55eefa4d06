#include <covey/mesh/prober.hpp>

#include <catch2/catch.hpp>

using namespace covey;
using namespace std::chrono_literals;
using mesh::open_ping;
using mesh::prober;

TEST_CASE("open pings are found by number and fall due in order") {
    prober p(100, 8);
    const auto first = p.begin(open_ping::purpose::probe, {1}, time_point{2s}, time_point{3s})->sequence;
    const auto second = p.begin(open_ping::purpose::check, {2}, time_point{1s}, time_point{1s})->sequence;
    CHECK(first != second);
    CHECK(p.next() == time_point{1s});
    CHECK(p.due(time_point{999ms}) == nullptr);
    CHECK(p.due(time_point{5s})->target == peer_id{2});
    CHECK(p.asks({1}));
    CHECK_FALSE(p.asks({2}));
    CHECK(p.find(first)->target == peer_id{1});
    CHECK(p.take(second)->why == open_ping::purpose::check);
    CHECK_FALSE(p.take(second));
    p.shift(10s);
    CHECK(p.next() == time_point{12s});
    CHECK(p.find(first)->give_up == time_point{13s});
    CHECK(p.take(first));
    CHECK(p.next() == never);
}

TEST_CASE("open pings are bounded") {
    prober p(0, 8);
    for (std::size_t i = 0; i < prober::open_max; ++i) CHECK(p.begin(open_ping::purpose::relay, {1}, never, never) != nullptr);
    CHECK(p.begin(open_ping::purpose::relay, {1}, never, never) == nullptr);
    CHECK(p.open() == prober::open_max);
}

TEST_CASE("who hears badly gives everybody more time") {
    prober p(0, 3);
    CHECK(p.scaled(1s) == 1s);
    for (int i = 0; i < 10; ++i) p.missed();
    CHECK(p.scaled(1s) == 4s);
    p.heard();
    CHECK(p.health() == 2);
    for (int i = 0; i < 10; ++i) p.heard();
    CHECK(p.scaled(1s) == 1s);
}
