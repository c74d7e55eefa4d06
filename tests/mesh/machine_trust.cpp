// What a machine says of members beyond alive and dead: flaky, unreachable, busy, cut off; and whom it believes.
#include "harness.hpp"

#include <catch2/catch.hpp>

using namespace mesh_test;

namespace {

std::size_t count_of(const network& net, std::size_t node, what kind) {
    std::size_t n = 0;
    for (const auto& e : net.nodes[node]->events) n += e.kind == kind;
    return n;
}

}  // namespace

TEST_CASE("a cut 3|2 is seen on both sides, and that it healed") {
    network net(32);
    net.add_many(5);
    REQUIRE(net.within(5s, [&] { return net.converged(); }));
    for (const std::size_t i : {3u, 4u}) net.nodes[i]->side = 1;
    net.run_for(20s);
    for (std::size_t i = 0; i < 5; ++i) {
        const mesh::view v = net[i].make_view();
        CHECK(v.is_split_suspected);
        CHECK(v.members.size() == (i < 3 ? 3u : 2u));
        CHECK(v.members_at_most == 5);
        CHECK(count_of(net, i, what::partition_suspected) == 1);
        CHECK(count_of(net, i, what::healed) == 0);
    }
    for (const std::size_t i : {3u, 4u}) net.nodes[i]->side = 0;
    REQUIRE(net.within(20s, [&] { return net.converged(); }));
    net.run_for(5s);
    for (std::size_t i = 0; i < 5; ++i) {
        const mesh::view v = net[i].make_view();
        CHECK_FALSE(v.is_split_suspected);
        CHECK(v.members_at_most == 5);
        CHECK(v.lineage == net[0].make_view().lineage);
        // Who was declared dead itself begins anew and says so by `rejoined`.
        CHECK(count_of(net, i, what::healed) + count_of(net, i, what::rejoined) >= 1);
    }
}

TEST_CASE("one death, or members that leave, are no split") {
    network net(33);
    net.add_many(6);
    REQUIRE(net.within(5s, [&] { return net.converged(); }));
    net.kill(1);
    for (const std::size_t i : {2u, 3u}) {
        net[i].leave(net.now);
        net.settle(i);
    }
    net.run_for(20s);
    CHECK(net.converged());
    CHECK(net.count(what::partition_suspected) == 0);
    CHECK(net[0].make_view().members_at_most == 4);
}

TEST_CASE("who goes away and comes back is flaky, until it has been steady") {
    network net(34);
    net.add_many(12);
    REQUIRE(net.within(5s, [&] { return net.converged(); }));
    const time_point start = net.now;
    const auto holds_flaky = [&](std::size_t i, std::size_t k) { return i == k || net[i].find(net.id(k))->is_flaky(); };
    const auto all_hold_flaky = [&] {
        for (std::size_t i = 0; i < 12; ++i) {
            if (!holds_flaky(i, 5)) return false;
        }
        return true;
    };
    while (!all_hold_flaky()) {
        REQUIRE(net.now - start < 60s);
        net.nodes[5]->side = 1;
        net.run_for(8s);
        net.nodes[5]->side = 0;
        net.run_for(8s);
    }
    REQUIRE(net.within(20s, [&] { return net.converged(); }));
    for (std::size_t i = 0; i < 12; ++i) {
        for (std::size_t k = 0; k < 12; ++k) {
            if (i != 5 && k != i) CHECK(holds_flaky(i, k) == (k == 5));
        }
    }
    CHECK(count_of(net, 0, what::flaky) == 1);
    net.run_for(4 * net.how.mark_half_life);
    CHECK_FALSE(net[0].find(net.id(5))->is_flaky());
    CHECK(count_of(net, 0, what::steady) == 1);
}

TEST_CASE("who answers on streams only is unreachable, and no suspect") {
    network net(35);
    net.add_many(3);
    REQUIRE(net.within(5s, [&] { return net.converged(); }));
    net.no_datagrams = {{0, 1}, {0, 2}, {1, 2}};
    net.run_for(30s);
    CHECK(net.count(what::suspected) == 0);
    CHECK(net.count(what::dead) == 0);
    CHECK(net[0].find(net.id(1))->is_unreachable());
    CHECK(count_of(net, 0, what::unreachable) == 2);
    CHECK(net[0].stats().probes_stream_only > 2);
    net.no_datagrams.clear();
    net.run_for(10s);
    CHECK_FALSE(net[0].find(net.id(1))->is_unreachable());
    CHECK(count_of(net, 0, what::alive_again) == 2);
}

TEST_CASE("no word from any helper concludes nothing at first, but not for ever") {
    network net(36, mesh::profile::lan());
    net.add_many(4);
    REQUIRE(net.within(10s, [&] { return net.converged(); }));
    net.run_for(10s);
    for (const std::size_t i : {1u, 2u, 3u}) net.kill(i);
    net.run_for(3s);
    CHECK(net[0].stats().probes_inconclusive > 0);
    CHECK(net[0].stats().suspicions == 0);
    CHECK(net[0].health() > 0);
    REQUIRE(net.within(60s, [&] { return net[0].live_count() == 1; }));
}

TEST_CASE("lag makes a peer patient, and good answers impatient again") {
    network net(37);
    net.add_many(3);
    REQUIRE(net.within(5s, [&] { return net.converged(); }));
    net[0].on_lag(net.now, 1ms);
    CHECK(net[0].health() == 0);
    for (int i = 0; i < 5; ++i) net[0].on_lag(net.now, 1s);
    CHECK(net[0].health() == 1);
    net[0].on_lag(net.now + net.how.probe_interval, 1s);
    CHECK(net[0].health() == 2);
    net.settle(0);
    net.run_for(5s);
    CHECK(net[0].health() == 0);
}

TEST_CASE("accusers whose accusations are refuted are not believed any more") {
    network net(38, mesh::profile::lan());
    net.add_many(8);
    REQUIRE(net.within(10s, [&] { return net.converged(); }));
    net.run_for(10s);
    const auto accuse = [&](std::size_t subject, member_state state, std::uint32_t incarnation) {
        byte_buffer bytes;
        mesh::write_packet_front(bytes, {net.cluster, net.id(7), 1}, {});
        byte_writer w(bytes);
        mesh::claim::about(member(net.id(subject), 1, incarnation, nullptr, state), net.id(7)).write(w);
        net[0].on_datagram(net.now, net[7].self().address, bytes);
        net.settle(0);
    };
    for (std::size_t i = 1; i <= 4; ++i) {
        accuse(i, member_state::suspect, 0);
        CHECK(net[0].find(net.id(i))->state() == member_state::suspect);
        REQUIRE(net.within(5s, [&] { return net[0].find(net.id(i))->state() == member_state::alive; }));
    }
    accuse(5, member_state::suspect, 0);
    CHECK(net[0].find(net.id(5))->state() == member_state::alive);
    accuse(6, member_state::dead, 0);
    CHECK(net[0].find(net.id(6))->state() == member_state::alive);
    CHECK(net[0].stats().accusations_ignored == 2);
    // Old news of a death is not believed of anybody: the subject has spoken since.
    net.run_for(300s);
    accuse(1, member_state::dead, net[0].find(net.id(1))->incarnation() - 1);
    CHECK(net[0].find(net.id(1))->state() == member_state::alive);
    accuse(1, member_state::suspect, net[0].find(net.id(1))->incarnation());
    CHECK(net[0].find(net.id(1))->state() == member_state::suspect);
}

TEST_CASE("loads reach everybody, at most one a second, and change no view") {
    network net(39, mesh::profile::lan());
    net.add_many(20);
    REQUIRE(net.within(20s, [&] { return net.converged(); }));
    net.run_for(10s);
    const std::uint64_t number = net[3].snapshot_number();
    const mesh::load busy{15, 3, 8, 0};
    net[5].set_load({1, 1, 1, 1});
    net.run_for(100ms);
    net[5].set_load(busy);
    const auto everywhere = [&] {
        for (std::size_t i = 0; i < 20; ++i) {
            if (i != 5 && net[i].find(net.id(5))->load() != busy) return false;
        }
        return true;
    };
    REQUIRE(net.within(15s, everywhere));
    net.run_for(5s);
    CHECK(everywhere());
    CHECK(net[3].snapshot_number() == number);
}

TEST_CASE("what a peer says of itself can change, and is news") {
    network net(40);
    net.add_many(10);
    REQUIRE(net.within(5s, [&] { return net.converged(); }));
    net.run_for(5s);
    mesh::description d = net[4].self();
    d.labels = {{"zone", "b"}};
    d.memory_mib = 4096;
    net[4].describe(net.now, d);
    net.settle(4);
    const auto known = [&] {
        for (const auto& n : net.nodes) {
            if (n->m->find(net.id(4))->memory_mib() != 4096) return false;
        }
        return true;
    };
    REQUIRE(net.within(1s, known));
    CHECK(net[0].find(net.id(4))->labels() == d.labels);
    CHECK_FALSE(net[0].find(net.id(4))->is_flaky());
    d.name = "a\n";
    CHECK_THROWS_AS(net[4].describe(net.now, d), error);
    CHECK(net[4].self().name != "a\n");
}

TEST_CASE("tables that differ in one member cost one bucket") {
    network net(41, mesh::profile::lan());
    net.add_many(200);
    REQUIRE(net.within(30s, [&] { return net.converged(); }));
    net.run_for(60s);
    const auto streamed = [&] {
        std::uint64_t bytes = 0;
        for (const auto& n : net.nodes) bytes += n->m->stats().stream_bytes_out;
        return bytes;
    };
    const std::uint64_t before = streamed();
    const mesh::statistics old = net[0].stats();
    net.run_for(300s);
    const auto opened = [&] {
        std::uint64_t n = 0;
        for (const auto& x : net.nodes) n += x->m->stats().exchanges_opened;
        return n;
    };
    CHECK(net[0].stats().exchanges_opened > old.exchanges_opened);
    // Nothing differs: hashes and a bitmap.
    CHECK((streamed() - before) / opened() < 1400);
    CHECK(net.converged());
}
