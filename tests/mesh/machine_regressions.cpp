// What went wrong in other people's memberships, so that it does not here.
#include "harness.hpp"

#include <catch2/catch.hpp>

using namespace mesh_test;

namespace {

std::uint64_t packets(const network& net) {
    std::uint64_t total = 0;
    for (const auto& n : net.nodes) total += n->m->stats().packets_out;
    return total;
}

/// Deaths of running nodes that somebody other than `except` announced.
std::size_t false_deaths(const network& net, std::size_t except) {
    std::size_t total = 0;
    for (std::size_t i = 0; i < net.nodes.size(); ++i) {
        for (const auto& e : net.nodes[i]->events) {
            if (i == except || e.kind != what::dead) continue;
            for (std::size_t k = 0; k < net.nodes.size(); ++k)
                total += k != except && net.nodes[k]->running && net.nodes[k]->m->self().id == e.subject.id();
        }
    }
    return total;
}

}  // namespace

// consul#5928: one peer with a broken network accuses everybody, everybody refutes, everybody passes all of that on.
TEST_CASE("one half-detached peer does not storm the cluster") {
    const bool hears = GENERATE(false, true);  // false: it can send only; true: it can hear only
    network net(5928, mesh::profile::lan());
    net.add_many(40);
    REQUIRE(net.within(20s, [&] { return net.converged(); }));
    net.run_for(30s);
    const std::uint64_t before = packets(net);
    net.run_for(60s);
    const std::uint64_t quiet = packets(net) - before;
    constexpr std::size_t sick = 7;
    (hears ? net.mute : net.deaf).insert(sick);
    net.run_for(120s);
    const std::uint64_t disturbed = packets(net);
    net.run_for(60s);
    const std::uint64_t after = packets(net) - disturbed;
    INFO("packets a minute: " << quiet << " before, " << after << " with the sick peer");
    CHECK(after < 4 * quiet);
    CHECK(false_deaths(net, sick) == 0);
    for (std::size_t i = 0; i < 40; ++i) {
        if (i == sick) continue;
        CHECK(net[i].self().epoch == 1);
        const auto m = net[i].find(net.id(sick));
        REQUIRE(m);
        CHECK((!m->is_live() || m->is_flaky()));
        CHECK(net[i].live_count() >= 39);
    }
    net.deaf.clear();
    net.mute.clear();
    // Those it buried while it was mute do not believe it, and begin no new life for its sake, until its marks have faded.
    REQUIRE(net.within(180s, [&] { return net.converged(); }));
    net.run_for(60s);
    const std::uint64_t healed = packets(net);
    net.run_for(60s);
    CHECK(packets(net) - healed < quiet + quiet / 4);
}

// Who was told "not me" asked the same again at once, and was told the same: as fast as the network goes until the suspicion ended.
TEST_CASE("who lives at the address of another one is not asked for that one again and again") {
    constexpr std::size_t n = 5;
    network net(1168);
    net.add_many(n);
    REQUIRE(net.within(10s, [&] { return net.converged(); }));
    net.run_for(10s);
    const std::uint64_t before = packets(net);
    net.run_for(10s);
    const std::uint64_t quiet = packets(net) - before;
    const std::uint16_t port = net[n - 1].self().address.port;
    net.kill(n - 1);
    net.add(4242, port);  // knows nobody, and answers
    const std::uint64_t killed = packets(net);
    REQUIRE(net.within(10s, [&] { return net.everywhere(n - 1, member_state::dead); }));
    INFO("packets in ten seconds before: " << quiet);
    CHECK(packets(net) - killed < quiet + 100);
}

// consul#8179: two leave messages about one member that differ, each of which replaced the other and was sent on anew.
TEST_CASE("two different leave messages are not passed on for ever") {
    network net(8179);
    net.add_many(10);
    REQUIRE(net.within(10s, [&] { return net.converged(); }));
    net[4].leave(net.now);
    net.settle(4);
    net.run_for(3s);
    REQUIRE(net.everywhere(4, member_state::left));
    const std::uint64_t before = packets(net);
    net.run_for(10s);
    const std::uint64_t quiet = packets(net) - before;
    for (std::uint32_t incarnation = 0; incarnation < 2; ++incarnation) {
        for (const auto state : {member_state::left, member_state::dead}) {
            byte_buffer bytes;
            mesh::write_packet_front(bytes, {net.cluster, net.id(1), 1}, {});
            byte_writer w(bytes);
            mesh::claim::about(member(net.id(4), 1, incarnation + 5, nullptr, state), net.id(1)).write(w);
            for (const std::size_t to : {2u, 3u, 5u}) {
                net[to].on_datagram(net.now, net[1].self().address, bytes);
                net.settle(to);
            }
        }
    }
    const std::uint64_t told = packets(net);
    net.run_for(10s);
    // It is an end already: nobody has anything to say.
    CHECK(packets(net) - told < quiet + quiet / 10);
    CHECK(net.everywhere(4, member_state::left));
    CHECK(net.count(what::left) == 9);
}

// foca 0.12: two that hold each other dead tell each other so and never get out of it.
TEST_CASE("two peers that hold each other dead become members again, and quiet") {
    const std::size_t n = GENERATE(2u, 3u, 6u);
    network net(120 + n);
    net.add_many(n);
    REQUIRE(net.within(5s, [&] { return net.converged(); }));
    net.nodes[1]->side = 1;
    net.run_for(60s);
    REQUIRE(net[0].find(net.id(1))->state() == member_state::dead);
    REQUIRE(net[1].find(net.id(0))->state() == member_state::dead);
    net.nodes[1]->side = 0;
    REQUIRE(net.within(10s, [&] { return net.converged(); }));
    net.run_for(20s);
    const std::uint64_t before = packets(net);
    std::vector<epoch_t> epochs;
    for (std::size_t i = 0; i < n; ++i) epochs.push_back(net[i].self().epoch);
    net.run_for(10s);
    CHECK(net.converged());
    // Five probes and as many acks a second and peer.
    CHECK(packets(net) - before < n * 10 * 5 * 3);
    for (std::size_t i = 0; i < n; ++i) CHECK(net[i].self().epoch == epochs[i]);
}

// memberlist#350: with two or three there are not as many others as a suspicion wants to be confirmed by.
TEST_CASE("clusters of two and three find their dead in time, and only those") {
    const std::size_t n = GENERATE(2u, 3u);
    const std::size_t killed = GENERATE(1u, 2u);
    if (killed >= n) return;
    network net(350 + n, mesh::profile::lan());
    net.add_many(n);
    REQUIRE(net.within(10s, [&] { return net.converged(); }));
    net.run_for(20s);
    for (std::size_t k = 0; k < killed; ++k) net.kill(n - 1 - k);
    const time_point start = net.now;
    REQUIRE(net.within(30s, [&] { return net.converged(); }));
    INFO(killed << " of " << n << " dead: known after " << seconds(net.now - start) << " s");
    CHECK(net.now - start >= 3s);
    if (killed == 1) CHECK(net.now - start <= 9s);
    CHECK(net.count(what::dead) == killed * (n - killed));
}

// Compound packets: what is put together must fit, whatever waits, and however long each piece is.
TEST_CASE("packets stay within their limit when much is to be said in few bytes") {
    const std::size_t limit = GENERATE(1024u, 1400u);
    network net(1400);
    net.how.packet_bytes_max = limit;
    net.how.broadcasts_max = 4096;
    // Descriptions as long as they may be, so that a piece more or less decides.
    net.describe = [](member_info& i) {
        for (int k = 0; k < 5; ++k)
            i.labels.emplace_back(std::string(20, static_cast<char>('a' + k)), std::string(20 + i.address.port % 20, 'v'));
        REQUIRE(fault(i) == nullptr);
    };
    net.add_many(60);
    REQUIRE(net.within(30s, [&] { return net.converged(); }));
    for (std::size_t i = 20; i < 40; ++i) net.kill(i);
    REQUIRE(net.within(60s, [&] { return net.converged(); }));
    CHECK(net.largest_packet <= limit - mesh::datagram_seal::overhead);
    CHECK(net.largest_packet > limit / 2);
    for (const auto& n : net.nodes) CHECK(n->m->stats().rejections(mesh::rejection::oversized) == 0);
}
