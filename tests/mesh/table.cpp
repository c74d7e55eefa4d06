#include <covey/mesh/table.hpp>

#include "harness.hpp"

#include <catch2/catch.hpp>

using namespace mesh_test;
using mesh::table;

TEST_CASE("each round of probes asks everybody once") {
    table t;
    random_source random(1);
    for (std::uint64_t i = 1; i <= 20; ++i) t.put({}, member(info_of(i, static_cast<std::uint16_t>(i))), random);
    for (int round = 0; round < 3; ++round) {
        std::set<peer_id> asked;
        for (int i = 0; i < 20; ++i) asked.insert(t.next_to_probe(random));
        CHECK(asked.size() == 20);
    }
}

TEST_CASE("states, addresses and digests") {
    table t;
    random_source random(2);
    const auto a = info_of(1, 1), b = info_of(2, 2);
    t.put(time_point{1s}, member(a), random);
    t.put(time_point{1s}, member(b), random);
    CHECK(t.live_count() == 2);
    CHECK(t.at_address(a.address) == a.id);
    const std::uint64_t both = t.digest();
    t.set_state(time_point{2s}, a.id, member_state::suspect, random);
    CHECK(t.digest() == both);
    CHECK(t.live_count() == 2);
    const std::uint64_t number = t.number();
    t.set_state(time_point{3s}, a.id, member_state::dead, random);
    CHECK(t.number() > number);
    CHECK(t.digest() == table::digest_of(member(b)));
    CHECK_FALSE(t.at_address(a.address));
    CHECK(t.tombstone_count() == 1);
    CHECK(t.pick_dead(random) == a.id);
    CHECK(t.pick_recently_dead(time_point{2s}, random) == a.id);
    CHECK_FALSE(t.pick_recently_dead(time_point{4s}, random));

    auto again = a;
    again.epoch = 2;
    t.put(time_point{5s}, member(again), random);
    CHECK(t.live_count() == 2);
    CHECK(t.tombstone_count() == 0);
    CHECK_FALSE(t.pick_dead(random));
    CHECK(t.digest() != both);

    // The same members in another order have the same digest.
    table u;
    u.put({}, member(b), random);
    u.put({}, member(again), random);
    CHECK(u.digest() == t.digest());

    // A new owner of an address, and the old one's end.
    auto heir = info_of(3, 1);
    t.put(time_point{6s}, member(heir), random);
    CHECK(t.at_address(a.address) == heir.id);
    t.set_state(time_point{6s}, a.id, member_state::dead, random);
    CHECK(t.at_address(a.address) == heir.id);
    t.give_up(a.id);
    CHECK_FALSE(t.pick_dead(random));
    CHECK(t.tombstone_count() == 1);
}

TEST_CASE("tombstones are buried oldest first") {
    table t;
    random_source random(3);
    for (std::uint64_t i = 1; i <= 5; ++i) t.put(time_point{std::chrono::seconds(i)}, member(info_of(i, 9), member_state::dead), random);
    t.bury_oldest();
    CHECK(t.find({1}) == nullptr);
    t.bury_before(time_point{4s});
    CHECK(t.find({3}) == nullptr);
    CHECK(t.find({4}) != nullptr);
    CHECK(t.tombstone_count() == 2);
    // Known by hearsay: without an address, so nothing to retry.
    t.put(time_point{9s}, member({77}, 1, 0, nullptr, member_state::dead), random);
    CHECK_FALSE(t.find({77})->is_described());
    CHECK_FALSE(t.find({77})->worth_retrying);
    CHECK(t.find({77})->address().empty());
}

TEST_CASE("the dead are forgotten, who left is not") {
    table t;
    random_source random(8);
    for (std::uint64_t i = 1; i <= 30; ++i)
        t.put({}, member(info_of(i, static_cast<std::uint16_t>(i)), static_cast<member_state>(i % 4)), random);
    const std::size_t live = t.live_count();
    t.forget_dead();
    CHECK(t.live_count() == live);
    CHECK(t.retry_count() == 0);
    CHECK(t.find({2}) == nullptr);
    CHECK(t.find({3})->state() == member_state::left);
    CHECK(t.find({4})->state() == member_state::alive);
    CHECK(t.rows().size() == 22);
}

TEST_CASE("picks are different, live and not the excepted one") {
    table t;
    random_source random(4);
    CHECK(t.pick(3, {}, random).empty());
    CHECK_FALSE(t.next_to_probe(random));
    for (std::uint64_t i = 1; i <= 30; ++i) t.put({}, member(info_of(i, static_cast<std::uint16_t>(i))), random);
    t.set_state({}, {5}, member_state::left, random);
    for (int i = 0; i < 200; ++i) {
        const auto some = t.pick(3, {7}, random);
        CHECK(some.size() == 3);
        CHECK(std::set<peer_id>(some.begin(), some.end()).size() == some.size());
        for (const peer_id id : some) CHECK((id != peer_id{7} && id != peer_id{5}));
    }
    CHECK(t.pick(100, {7}, random).size() == 28);
}

TEST_CASE("the successor is the next live id on the ring") {
    table t({50});
    random_source random(6);
    CHECK_FALSE(t.successor());
    t.put({}, member(info_of(10, 10)), random);
    CHECK(t.successor() == peer_id{10});
    t.put({}, member(info_of(70, 70)), random);
    t.put({}, member(info_of(90, 90)), random);
    CHECK(t.successor() == peer_id{70});
    t.put({}, member(info_of(60, 60)), random);
    CHECK(t.successor() == peer_id{60});
    t.set_state({}, {60}, member_state::dead, random);
    CHECK(t.successor() == peer_id{70});
    t.set_state({}, {70}, member_state::left, random);
    t.set_state({}, {90}, member_state::dead, random);
    CHECK(t.successor() == peer_id{10});
}

TEST_CASE("marks and loads stay with the row, and only newer loads count") {
    table t;
    random_source random(7);
    t.put({}, member(info_of(1, 1)), random);
    CHECK(t.mark_flaky({1}, true));
    CHECK_FALSE(t.mark_flaky({1}, true));
    CHECK(t.set_load({1}, {3, 4, 5, 6}, 1));
    CHECK_FALSE(t.set_load({1}, {}, 1));
    CHECK_FALSE(t.set_load({9}, {}, 1));
    auto raised = info_of(1, 1);
    raised.incarnation = 5;
    t.put({}, member(raised, member_state::suspect), random);
    CHECK(t.find({1})->is_flaky());
    CHECK_FALSE(t.find({1})->is_unreachable());
    CHECK(t.find({1})->load() == mesh::load{3, 4, 5, 6});
    CHECK(t.set_load({1}, {1, 0, 0, 0}, 30000));
    CHECK(t.set_load({1}, {2, 0, 0, 0}, 60000));
    // Round and on.
    CHECK(t.set_load({1}, {3, 0, 0, 0}, 10));
    CHECK_FALSE(t.set_load({1}, {4, 0, 0, 0}, 60000));
    t.set_state({}, {1}, member_state::dead, random);
    CHECK_FALSE(t.set_load({1}, {}, 11));
}

TEST_CASE("a long random life keeps the books straight") {
    table t({7}, 5);
    random_source random(5);
    for (int i = 0; i < 20000; ++i) {
        const std::uint64_t id = random.below(40) + 1;
        auto info = info_of(id, static_cast<std::uint16_t>(random.below(20) + 1));
        info.epoch = static_cast<epoch_t>(random.below(5) + 1);
        switch (random.below(4)) {
            case 0: t.put(time_point{duration(i)}, member(info, static_cast<member_state>(random.below(4))), random); break;
            case 1: t.set_state(time_point{duration(i)}, {id}, static_cast<member_state>(random.below(4)), random); break;
            case 2: random.chance(0.1) ? t.bury_oldest() : t.give_up({id}); break;
            default: t.next_to_probe(random);
        }
        std::size_t live = 0, retry = 0;
        std::uint64_t digest = 0, nearest = ~std::uint64_t{0};
        for (const table::row& r : t.rows()) {
            REQUIRE(t.find(r.id()) == &r);
            retry += r.worth_retrying;
            if (!r.is_live()) continue;
            ++live;
            digest ^= table::digest_of(r);
            nearest = std::min(nearest, r.id().value - 7);
            const peer_id owner = t.at_address(r.address());
            if (owner) REQUIRE(t.find(owner)->address() == r.address());
        }
        REQUIRE(t.live_count() == live);
        REQUIRE(t.digest() == digest);
        REQUIRE(t.retry_count() == retry);
        REQUIRE(t.tombstone_count() + live == t.rows().size());
        if (live != 0) REQUIRE(t.successor().value - 7 == nearest);
        if (i % 100 == 0) {
            REQUIRE(t.pick(100, {}, random).size() == live);
            // A whole round of probes meets everybody, wherever it began.
            std::set<peer_id> asked;
            while (asked.size() < live) REQUIRE((asked.insert(t.next_to_probe(random)), true));
        }
    }
}
