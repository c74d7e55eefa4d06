#include "harness.hpp"

#include <catch2/catch.hpp>

using namespace mesh_test;

namespace {

/// Deaths announced of nodes that run.
std::size_t false_deaths(const network& net) {
    std::size_t total = 0;
    for (const auto& n : net.nodes) {
        for (const auto& e : n->events) {
            if (e.kind != what::dead) continue;
            for (const auto& other : net.nodes) total += other->running && other->m->self().id == e.subject.id();
        }
    }
    return total;
}

}  // namespace

TEST_CASE("peers that join know each other") {
    const std::size_t n = GENERATE(2u, 3u, 50u);
    network net(n);
    net.add_many(n);
    const time_point start = net.now;
    REQUIRE(net.within(10s, [&] { return net.converged(); }));
    INFO(n << " peers converge after " << seconds(net.now - start) << " s");
    CHECK(net.count(what::joined) == n * (n - 1));
    net.run_for(60s);
    CHECK(net.converged());
    CHECK(net.count(what::dead) == 0);
    CHECK(net.largest_packet <= 1400 - 64);
    CHECK(net[0].make_view().members.size() == n);
    CHECK(net[0].make_view().members.front().id() == net.id(0));
    CHECK(net[0].make_view().find(net.id(n - 1)) != nullptr);
    CHECK(net[n - 1].has_joined());
}

TEST_CASE("a chain of seeds and an unreachable seed") {
    network net(5);
    net.add();
    for (std::size_t i = 1; i < 12; ++i) net.add({i - 1});
    REQUIRE(net.within(10s, [&] { return net.converged(); }));

    const endpoint nobody = endpoint::v4(127, 0, 0, 1, 9);
    net.add();
    net.nodes.back()->m->join(net.now, std::span(&nobody, 1));
    net.settle(12);
    net.run_for(5s);
    CHECK_FALSE(net[12].has_joined());
    REQUIRE_FALSE(net.nodes[12]->notes.empty());
    CHECK(net.nodes[12]->notes[0].find("127.0.0.1:9") != std::string::npos);
    // A second seed that does answer.
    const endpoint somebody = net[3].self().address;
    net[12].join(net.now, std::span(&somebody, 1));
    net.settle(12);
    REQUIRE(net.within(10s, [&] { return net.converged(); }));
    CHECK(net[12].has_joined());
}

TEST_CASE("a seed that starts later is found") {
    network net(6);
    const endpoint later = endpoint::v4(127, 0, 0, 1, 8000);
    net.add();
    net[0].join(net.now, std::span(&later, 1));
    net.settle(0);
    net.run_for(20s);
    net.add(99, 8000);
    REQUIRE(net.within(5s, [&] { return net.converged(); }));
}

TEST_CASE("parts of a mesh that never met find each other where a seed should be") {
    network net(7);
    net.add_many(2);
    net.add();
    net.nodes[2]->side = 1;
    // It has two seeds, one on each side of the cut, and finds the one on its own.
    net.add({2});
    net.nodes[3]->side = 1;
    const endpoint other = net[0].self().address;
    net[3].join(net.now, std::span(&other, 1));
    net.settle(3);
    net.run_for(30s);
    CHECK(net[3].live_count() == 2);
    CHECK(net[0].live_count() == 2);
    for (const auto& n : net.nodes) n->side = 0;
    REQUIRE(net.within(2 * net.how.push_pull_interval + 10s, [&] { return net.converged(); }));
    CHECK(net[2].live_count() == 4);
}

TEST_CASE("a killed peer is dead everywhere in bounded time") {
    const std::size_t n = GENERATE(2u, 3u, 4u, 20u, 50u, 100u);
    network net(1000 + n);
    net.add_many(n);
    REQUIRE(net.within(10s, [&] { return net.converged(); }));
    net.run_for(5s);
    net.kill(n - 1);
    const time_point start = net.now;
    REQUIRE(net.within(12s, [&] { return net.everywhere(n - 1, member_state::dead); }));
    INFO(n << " peers: silent death known everywhere after " << seconds(net.now - start) << " s");
    CHECK(net.now - start >= 2s);
    CHECK(net.converged());
    CHECK(net.count(what::dead) == n - 1);
}

TEST_CASE("a refused connection makes a death known at once") {
    network net(31);
    net.add_many(20);
    REQUIRE(net.within(10s, [&] { return net.converged(); }));
    net.kill(7);
    const time_point start = net.now;
    net[3].report_connection_refused(net.now, net.id(7));
    net.settle(3);
    REQUIRE(net.within(2s, [&] { return net.everywhere(7, member_state::dead); }));
    INFO("20 peers: refused connection known everywhere after " << seconds(net.now - start) << " s");
    // Of one that runs it is only a suspicion.
    net[3].report_connection_refused(net.now, net.id(8));
    net.settle(3);
    CHECK(net[3].find(net.id(8))->state() == member_state::suspect);
    net.run_for(10s);
    CHECK(net.converged());
    CHECK(false_deaths(net) == 0);
    CHECK(net[8].stats().refutations > 0);
    CHECK(net[8].self().epoch == 1);
}

TEST_CASE("lan profile at 100 peers") {
    network net(3, mesh::profile::lan());
    net.add_many(100);
    const time_point joined = net.now;
    REQUIRE(net.within(20s, [&] { return net.converged(); }));
    INFO("lan, 100 peers: converged after " << seconds(net.now - joined) << " s");
    net.run_for(30s);
    net.kill(50);
    const time_point start = net.now;
    REQUIRE(net.within(12s, [&] { return net.everywhere(50, member_state::dead); }));
    INFO("lan, 100 peers: silent death known everywhere after " << seconds(net.now - start) << " s");
}

TEST_CASE("lost packets kill nobody") {
    const double loss = GENERATE(0.1, 0.2);
    const std::size_t n = GENERATE(2u, 3u, 20u);
    const bool stream_pings = GENERATE(false, true);
    network net(static_cast<std::uint64_t>(loss * 100) + n);
    net.loss = loss;
    net.stream_pings = stream_pings;
    net.add_many(n);
    REQUIRE(net.within(20s, [&] { return net.converged(); }));
    net.run_for(300s);
    CHECK(net.converged());
    CHECK(net.count(what::dead) == 0);
    std::uint64_t refutations = 0, spared = 0;
    for (const auto& node : net.nodes) {
        refutations += node->m->stats().refutations;
        spared += node->m->stats().probes_stream_only;
    }
    // Where streams pass, nobody is suspected for want of datagrams.
    CHECK((stream_pings ? spared : refutations) > 0);
    if (stream_pings) CHECK(refutations == 0);
    // And who dies is still found.
    net.kill(1);
    REQUIRE(net.within(30s, [&] { return net.everywhere(1, member_state::dead); }));
}

TEST_CASE("who missed a refutation hears it from those that did not, in time") {
    const auto seed = static_cast<std::uint64_t>(GENERATE(range(1, 21)));
    network net(seed, mesh::profile::lan());
    net.add_many(10);
    REQUIRE(net.within(20s, [&] { return net.converged(); }));
    net.run_for(10s);
    const std::size_t subject = 7, straggler = 3;
    // Everybody but the straggler comes to suspect it and hears that it cleared itself.
    net.nodes[straggler]->side = 1;
    net[5].report_connection_refused(net.now, net.id(subject));
    net.settle(5);
    net.run_for(1500ms);  // by then nobody passes the news on any more
    net.nodes[straggler]->side = 0;
    REQUIRE(net[subject].self().incarnation > 0);
    REQUIRE(net[straggler].find(net.id(subject))->incarnation() == 0);
    // The straggler comes to suspect it now, by itself, and nothing passes between the two: it depends on the others.
    net.cut = {{straggler, subject}};
    net[straggler].report_connection_refused(net.now, net.id(subject));
    net.settle(straggler);
    net.loss = 0.15;
    REQUIRE(net.within(1s, [&] { return net[straggler].find(net.id(subject))->state() == member_state::alive; }));
    CHECK(net[straggler].find(net.id(subject))->incarnation() == net[subject].self().incarnation);
    net.cut.clear();
    net.run_for(5s);
    CHECK(false_deaths(net) == 0);
}

TEST_CASE("before its death is declared a suspect is asked three times, and others with it") {
    network net(22);
    net.add_many(4);
    REQUIRE(net.within(10s, [&] { return net.converged(); }));
    net.run_for(5s);
    const peer_id subject = net.id(2), accuser = net.id(3);
    byte_buffer gossip;
    mesh::write_packet_front(gossip, {net.cluster, accuser, 1}, {});
    byte_writer w(gossip);
    mesh::claim::about(member(net[2].self(), member_state::suspect), accuser).write(w);
    net[0].on_datagram(net.now, net[3].self().address, gossip);
    net[0].report_connection_refused(net.now, subject);
    std::size_t pings = 0, questions = 0;
    // A question that is up to 10 ms late puts off the end by as much.
    const time_point end = net.now + net.how.probe_interval + 30ms;
    for (time_point t = net.now; net[0].find(subject)->state() == member_state::suspect; t += 10ms) {
        REQUIRE(t <= end);
        net[0].on_time(t);
        while (auto o = net[0].next_output()) {
            const auto* d = std::get_if<mesh::send_datagram>(&*o);
            if (d == nullptr) continue;
            const auto p = mesh::decode_packet(d->bytes, net.cluster).value;
            if (p.claims.empty() || p.claims[0].id != subject || p.claims[0].state != member_state::suspect) continue;
            pings += p.request.kind == mesh::control_kind::ping && p.request.target == subject && d->to == net[2].self().address;
            // Under the first accuser's name: it is no further confirmation.
            questions += p.request.kind == mesh::control_kind::none && p.claims[0].accuser == accuser && d->to != net[2].self().address;
        }
    }
    CHECK(net[0].find(subject)->state() == member_state::dead);
    CHECK(pings >= 3);
    // Two rounds are left after the one that only the suspect itself was asked; there are two others.
    CHECK(questions == 4);
}

TEST_CASE("old doubts are answered with what is known since, once and to members only") {
    network net(21);
    net.add_many(4);
    REQUIRE(net.within(10s, [&] { return net.converged(); }));
    net[1].report_connection_refused(net.now, net.id(2));
    net.settle(1);
    net.run_for(5s);
    REQUIRE(net[0].find(net.id(2))->incarnation() > 0);
    const auto doubt = [&](std::size_t sender, std::size_t subject) {
        member_info old = net[subject].self();
        old.incarnation = 0;
        byte_buffer bytes;
        mesh::write_packet_front(bytes, {net.cluster, net.id(sender), 1}, {});
        byte_writer w(bytes);
        mesh::claim::about(member(old, member_state::suspect), net.id(sender)).write(w);
        return bytes;
    };
    // What node 0 answers to such gossip, by the receiver's address.
    const auto answers = [&](const byte_buffer& gossip, const endpoint& from) {
        std::vector<mesh::send_datagram> sent;
        net[0].on_datagram(net.now, from, gossip);
        while (auto o = net[0].next_output()) {
            if (auto* d = std::get_if<mesh::send_datagram>(&*o)) sent.push_back(std::move(*d));
        }
        return sent;
    };
    const endpoint member_address = net[3].self().address;
    const auto sent = answers(doubt(3, 2), member_address);
    REQUIRE(sent.size() == 1);
    CHECK(sent[0].to == member_address);
    const auto said = mesh::decode_packet(sent[0].bytes, net.cluster);
    REQUIRE(said.why == mesh::rejection::count_);
    CHECK(said.value.request.kind == mesh::control_kind::none);
    REQUIRE(said.value.claims.size() == 1);
    CHECK(said.value.claims[0].id == net.id(2));
    CHECK(said.value.claims[0].state == member_state::alive);
    CHECK(said.value.claims[0].incarnation == net[0].find(net.id(2))->incarnation());
    // The answer holds no doubts, so that two peers never answer each other's answers.
    CHECK(answers(sent[0].bytes, member_address).empty());
    CHECK(answers(doubt(3, 2), endpoint::v4(127, 0, 0, 1, 6000)).empty());
    // Doubts about ourselves are answered to who brings them, before the gossip goes round.
    const auto own = answers(doubt(3, 0), member_address);
    REQUIRE(own.size() == 1);
    const auto own_word = mesh::decode_packet(own[0].bytes, net.cluster);
    REQUIRE(own_word.value.claims.size() == 1);
    CHECK(own_word.value.claims[0].id == net.id(0));
    CHECK(own_word.value.claims[0].incarnation == net[0].self().incarnation);
    CHECK(net[0].self().incarnation == 1);
}

TEST_CASE("who leaves is told everybody and may go") {
    network net(8);
    net.add_many(10);
    REQUIRE(net.within(10s, [&] { return net.converged(); }));
    net[6].leave(net.now);
    net.settle(6);
    REQUIRE(net.within(1s + 1ms, [&] { return net[6].has_left(); }));
    REQUIRE(net.within(2s, [&] { return net.everywhere(6, member_state::left); }));
    net.run_for(60s);
    CHECK(net.everywhere(6, member_state::left));
    CHECK(net.converged());
    CHECK(net.count(what::left) == 9);
    CHECK(net.count(what::dead) == 0);

    network alone(9);
    alone.add();
    alone[0].leave(alone.now);
    CHECK(alone[0].has_left());
    CHECK(alone[0].next_wakeup() == never);
}

TEST_CASE("two halves find each other again") {
    network net(12);
    net.add_many(10);
    REQUIRE(net.within(10s, [&] { return net.converged(); }));
    for (std::size_t i = 5; i < 10; ++i) net.nodes[i]->side = 1;
    net.run_for(60s);
    for (std::size_t i = 0; i < 10; ++i) CHECK(net[i].live_count() == 5);
    for (std::size_t i = 5; i < 10; ++i) net.nodes[i]->side = 0;
    const time_point start = net.now;
    REQUIRE(net.within(60s, [&] { return net.converged(); }));
    INFO("5|5 after 60 s: one view again after " << seconds(net.now - start) << " s");
    const auto sent = [&] {
        std::uint64_t total = 0;
        for (const auto& n : net.nodes) total += n->m->stats().packets_out;
        return total;
    };
    net.run_for(30s);
    const std::uint64_t before = sent();
    net.run_for(10s);
    CHECK(net.converged());
    // Quiet again: pings and acks, five of each a second and peer.
    CHECK(sent() - before < 10 * 10 * 5 * 3);
}

TEST_CASE("a stopped process comes back") {
    const duration stop = GENERATE(1s, 5s, 60s);
    network net(static_cast<std::uint64_t>(stop / 1s));
    net.add_many(5);
    REQUIRE(net.within(10s, [&] { return net.converged(); }));
    net.run_for(5s);
    net.pause(3);
    net.run_for(stop);
    if (stop == 1s) CHECK(net.count(what::dead) == 0);
    if (stop == 60s) CHECK(net.everywhere(3, member_state::dead));
    net.resume(3);
    const time_point start = net.now;
    REQUIRE(net.within(10s, [&] { return net.converged() && net.everywhere(3, member_state::alive); }));
    INFO("stopped for " << seconds(stop) << " s: alive everywhere after " << seconds(net.now - start) << " s, epoch "
                        << net[3].self().epoch);
    net.run_for(30s);
    CHECK(net.converged());
    CHECK(net.everywhere(3, member_state::alive));
    // Who slept must not have buried those who did not.
    for (const auto& n : net.nodes) {
        for (const auto& e : n->events) CHECK((e.kind != what::dead || e.subject.id() == net.id(3)));
    }
    if (stop == 60s) {
        CHECK(net[3].self().epoch > 1);
        CHECK(net[0].find(net.id(3))->epoch() == net[3].self().epoch);
        const auto& events = net.nodes[3]->events;
        CHECK(std::any_of(events.begin(), events.end(),
                          [&](const membership_event& e) { return e.kind == what::rejoined && e.subject.id() == net.id(3); }));
    }
}

TEST_CASE("processes that get no processor for a second kill nobody and are not killed") {
    const std::size_t n = GENERATE(2u, 5u, 20u);
    network net(500 + n);
    net.loss = 0.02;
    net.add_many(n);
    REQUIRE(net.within(10s, [&] { return net.converged(); }));
    random_source choose(n);
    for (int i = 0; i < 100; ++i) {
        // Up to half of them at once.
        std::set<std::size_t> starved;
        for (std::uint64_t k = choose.below(n / 2) + 1; k > 0; --k) starved.insert(static_cast<std::size_t>(choose.below(n)));
        for (const std::size_t s : starved) net.pause(s);
        net.run_for(duration(static_cast<std::int64_t>(choose.below(1'200'000'000))));
        for (const std::size_t s : starved) net.resume(s);
        net.run_for(duration(static_cast<std::int64_t>(choose.below(1'000'000'000))));
    }
    CHECK(net.count(what::dead) == 0);
    REQUIRE(net.within(10s, [&] { return net.converged(); }));
}

TEST_CASE("all stopped at once, as by a suspended machine") {
    network net(77);
    net.add_many(8);
    REQUIRE(net.within(10s, [&] { return net.converged(); }));
    for (std::size_t i = 0; i < 8; ++i) net.pause(i);
    net.run_for(100s);
    for (std::size_t i = 0; i < 8; ++i) net.resume(i);
    net.run_for(30s);
    CHECK(net.converged());
    CHECK(net.count(what::dead) == 0);
}

TEST_CASE("a new process on the address of a killed one") {
    const std::size_t n = GENERATE(2u, 5u);
    network net(40 + n);
    net.add_many(n);
    REQUIRE(net.within(10s, [&] { return net.converged(); }));
    const std::uint16_t port = net[n - 1].self().address.port;
    net.kill(n - 1);
    net.add(4242, port, {0});
    const time_point start = net.now;
    REQUIRE(net.within(5s, [&] { return net.converged(); }));
    CHECK(net.everywhere(n - 1, member_state::dead));
    INFO("the old tenant of an address is dead everywhere after " << seconds(net.now - start) << " s");

    // The same without news of the newcomer: it answers "not me".
    network other(50 + n);
    other.add_many(n);
    REQUIRE(other.within(10s, [&] { return other.converged(); }));
    const std::uint16_t port2 = other[n - 1].self().address.port;
    other.kill(n - 1);
    other.add(4242, port2);
    REQUIRE(other.within(3s, [&] { return other[0].find(other.id(n - 1))->state() == member_state::dead; }));
}

TEST_CASE("clusters do not mix") {
    network net(60);
    net.add_many(2);
    net.cluster = cluster_id::from_name("other");
    net.add({0});
    net.run_for(20s);
    CHECK(net[0].live_count() == 2);
    CHECK(net[2].live_count() == 1);
    CHECK_FALSE(net[2].has_joined());
    CHECK(net[0].stats().rejections(mesh::rejection::wrong_cluster) > 0);
}

TEST_CASE("an observer sees and is not seen") {
    network net(61);
    net.add_many(5);
    REQUIRE(net.within(10s, [&] { return net.converged(); }));
    const std::size_t o = net.add(5555, 7999, {0}, member_role::observer);
    REQUIRE(net.within(5s, [&] { return net[o].live_count() == 6; }));
    CHECK(net[o].view_digest() == net[0].view_digest());
    net.run_for(30s);
    CHECK(net[0].live_count() == 5);
    net.kill(2);
    REQUIRE(net.within(60s, [&] { return net[o].find(net.id(2))->state() == member_state::dead; }));
}

TEST_CASE("every peer but one is killed") {
    const std::size_t n = GENERATE(3u, 10u);
    network net(70 + n);
    net.add_many(n);
    REQUIRE(net.within(10s, [&] { return net.converged(); }));
    for (std::size_t i = 1; i < n; ++i) net.kill(i);
    REQUIRE(net.within(60s, [&] { return net[0].live_count() == 1; }));
    // A newcomer is welcome.
    net.add({0});
    REQUIRE(net.within(5s, [&] { return net.converged(); }));
}

TEST_CASE("two peers that hold each other dead") {
    network net(90);
    net.add_many(2);
    REQUIRE(net.within(5s, [&] { return net.converged(); }));
    net.nodes[1]->side = 1;
    net.run_for(30s);
    CHECK(net[0].find(net.id(1))->state() == member_state::dead);
    CHECK(net[1].find(net.id(0))->state() == member_state::dead);
    net.nodes[1]->side = 0;
    REQUIRE(net.within(10s, [&] { return net.converged(); }));
    net.run_for(30s);
    CHECK(net.converged());
    CHECK(net[0].self().epoch <= 3);
}

TEST_CASE("a machine refuses what cannot be meant") {
    const auto cluster = cluster_id::from_name("x");
    auto config = mesh::profile::lan();
    CHECK_THROWS_AS(machine(config, member_info{}, cluster, 1), error);
    auto named = info_of(1, 1);
    named.name = std::string(65, 'x');
    CHECK_THROWS_AS(machine(config, named, cluster, 1), error);
    config.gossip_interval = 0s;
    CHECK_THROWS_AS(machine(config, info_of(1, 1), cluster, 1), error);
    auto nowhere = info_of(1, 1);
    nowhere.address = endpoint::v4(0, 0, 0, 0, 7400);
    machine m(mesh::profile::lan(), nowhere, cluster, 1);
    try {
        m.start(time_point{});
        FAIL("an unspecified address was accepted");
    } catch (const error& e) {
        CHECK(e.code() == errc::bad_address);
    }
    // Before start nothing happens.
    m.on_time(time_point{5s});
    m.on_datagram(time_point{5s}, {}, {});
    CHECK_FALSE(m.next_output());
    CHECK(m.next_wakeup() == never);
}
