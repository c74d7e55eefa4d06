#include <covey/mesh/suspicion.hpp>

#include <catch2/catch.hpp>

using namespace covey;
using namespace std::chrono_literals;
using mesh::suspicions;

TEST_CASE("confirmations shrink the time, from longest to shortest") {
    suspicions s;
    const time_point start{100s};
    const peer_id subject{1};
    s.start(start, subject, {2}, {1s, 6s, 2, 0s});
    CHECK(s.next() == start + 6s);
    CHECK_FALSE(s.confirm(subject, {2}));
    CHECK(s.confirm(subject, {3}));
    CHECK(s.next() < start + 3s);
    CHECK(s.next() > start + 2s);
    CHECK(s.confirm(subject, {4}));
    CHECK(s.next() == start + 1s);
    CHECK_FALSE(s.confirm(subject, {5}));
    CHECK_FALSE(s.confirm({9}, {5}));
    CHECK_FALSE(s.take_due(start + 999ms));
    const auto v = s.take_due(start + 1s);
    REQUIRE(v);
    CHECK(v->subject == subject);
    CHECK(v->is_final);
    CHECK(s.next() == never);
}

TEST_CASE("without expected confirmations the shortest time holds at once") {
    suspicions s;
    s.start(time_point{}, {1}, {2}, {3s, 18s, 0, 0s});
    CHECK(s.next() == time_point{3s});
    CHECK_FALSE(s.confirm({1}, {3}));
}

TEST_CASE("strong evidence hurries, absence of our own delays, and clearing ends") {
    suspicions s;
    s.start(time_point{}, {1}, {2}, {3s, 18s, 2, 0s});
    s.start(time_point{}, {2}, {2}, {1s, 18s, 0, 0s});
    s.hurry(time_point{}, {1}, time_point{200ms});
    CHECK(s.next() == time_point{200ms});
    s.hurry(time_point{}, {1}, time_point{5s});
    CHECK(s.next() == time_point{200ms});
    s.shift(10s);
    CHECK(s.next() == time_point{10200ms});
    s.erase({1});
    CHECK(s.next() == time_point{11s});
    CHECK_FALSE(s.contains({1}));
    CHECK(s.size() == 1);
}

TEST_CASE("a suspect has the last word, and more than once") {
    suspicions s;
    s.start(time_point{}, {1}, {2}, {2s, 8s, 1, 600ms});
    CHECK(s.next() == time_point{7400ms});
    CHECK(s.confirm({1}, {3}));
    CHECK(s.next() == time_point{1400ms});
    // Late: it still gets the whole time.
    const auto asked = s.take_due(time_point{1800ms});
    REQUIRE(asked);
    CHECK_FALSE(asked->is_final);
    CHECK(asked->accuser == peer_id{2});
    CHECK_FALSE(s.take_due(time_point{1800ms}));
    CHECK(s.next() == time_point{2s});
    CHECK_FALSE(s.take_due(time_point{2s})->is_final);
    // Late again: what is left of the questions is not asked in one go.
    CHECK_FALSE(s.take_due(time_point{2350ms})->is_final);
    CHECK_FALSE(s.take_due(time_point{2350ms}));
    CHECK(s.next() == time_point{2550ms});
    CHECK(s.take_due(time_point{2550ms})->is_final);
    CHECK(s.size() == 0);
}

TEST_CASE("who is hurried is asked all the same") {
    suspicions s;
    s.start(time_point{}, {1}, {2}, {4s, 24s, 2, 1s});
    // The first question is the caller's.
    s.hurry(time_point{10s}, {1}, time_point{10300ms});
    CHECK(s.next() == time_point{10100ms});
    CHECK_FALSE(s.take_due(time_point{10100ms})->is_final);
    CHECK(s.next() == time_point{10200ms});
    CHECK_FALSE(s.take_due(time_point{10200ms})->is_final);
    CHECK(s.next() == time_point{10300ms});
    CHECK(s.take_due(time_point{10300ms})->is_final);
    // During the questions too: those that are left fit into the time that is left.
    s.start(time_point{20s}, {1}, {2}, {4s, 4s, 0, 3s});
    CHECK_FALSE(s.take_due(time_point{21s})->is_final);
    s.hurry(time_point{21s}, {1}, time_point{21600ms});
    CHECK(s.next() == time_point{21200ms});
}
