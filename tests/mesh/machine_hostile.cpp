// The machine under churn and under attack, and that all of it can be replayed.
#include "harness.hpp"

#include <catch2/catch.hpp>

using namespace mesh_test;

TEST_CASE("the same seed gives the same trace") {
    const auto trace = [](std::uint64_t seed) {
        network net(seed);
        net.loss = 0.1;
        net.add_many(15);
        net.run_for(20s);
        net.kill(3);
        net.pause(5);
        net.run_for(10s);
        net.resume(5);
        net.run_for(20s);
        return net.trace;
    };
    CHECK(trace(1) == trace(1));
    CHECK(trace(1) != trace(2));
}

TEST_CASE("churn with loss converges, whatever the seed") {
    for (std::uint64_t seed = 100; seed < 130; ++seed) {
        INFO("seed " << seed);
        network net(seed);
        net.loss = 0.05;
        net.add_many(12);
        random_source choose(seed);
        for (int step = 0; step < 8; ++step) {
            net.run_for(2s);
            const auto i = static_cast<std::size_t>(choose.below(net.nodes.size() - 1) + 1);
            auto& n = *net.nodes[i];
            switch (choose.below(4)) {
                case 0:
                    if (n.running) net.kill(i);
                    break;
                case 1:
                    if (n.running && !n.m->has_left()) n.m->leave(net.now), net.settle(i);
                    break;
                case 2: net.add({0}); break;
                default:
                    if (n.running && !n.m->has_left() && !n.paused) {
                        net.pause(i);
                        net.run_for(7s);
                        net.resume(i);
                    }
            }
        }
        REQUIRE(net.within(60s, [&] { return net.converged(); }));
        for (const auto& n : net.nodes) {
            // A life that ended stays ended: after dead or left, only a higher epoch.
            std::map<peer_id, epoch_t> over;
            for (const auto& e : n->events) {
                // In a life of one's own: who was away itself begins anew.
                if (e.kind == what::rejoined && e.subject.id() == n->m->self().id) over.clear();
                const bool ends = e.kind == what::dead || e.kind == what::left;
                if (!ends && over.contains(e.subject.id())) CHECK(e.subject.epoch() > over[e.subject.id()]);
                if (ends) over[e.subject.id()] = e.subject.epoch();
            }
        }
    }
}

TEST_CASE("hostile packets do nothing worse than be counted") {
    network net(80);
    net.add_many(5);
    REQUIRE(net.within(10s, [&] { return net.converged(); }));
    machine& m = net[0];
    random_source random(5);
    const endpoint from = endpoint::v4(127, 0, 0, 1, 6000);
    std::vector<std::vector<std::byte>> valid;
    for (std::size_t i = 1; i < 5; ++i) {
        net[i].report_connection_refused(net.now, net.id(0));
        net[i].on_time(net.now + 1s);
        while (auto o = net[i].next_output()) {
            if (auto* d = std::get_if<mesh::send_datagram>(&*o)) valid.emplace_back(d->bytes.data(), d->bytes.data() + d->bytes.size());
            if (auto* s = std::get_if<mesh::send_stream>(&*o)) valid.emplace_back(s->bytes.data(), s->bytes.data() + s->bytes.size());
        }
    }
    REQUIRE_FALSE(valid.empty());
    std::size_t answered_bytes = 0, asked_bytes = 0;
    for (int i = 0; i < 100000; ++i) {
        std::vector<std::byte> bytes;
        if (random.chance(0.3)) {
            bytes.resize(static_cast<std::size_t>(random.below(1500)));
            for (auto& b : bytes) b = static_cast<std::byte>(random.next());
        } else {
            bytes = valid[static_cast<std::size_t>(random.below(valid.size()))];
            for (std::uint64_t k = random.below(4); k > 0; --k)
                bytes[static_cast<std::size_t>(random.below(bytes.size()))] = static_cast<std::byte>(random.next());
            if (random.chance(0.2)) bytes.resize(static_cast<std::size_t>(random.below(bytes.size())));
            if (random.chance(0.1))
                bytes.insert(bytes.end(), static_cast<std::size_t>(random.below(300)), static_cast<std::byte>(random.next()));
        }
        asked_bytes += bytes.size();
        m.on_datagram(net.now, from, bytes);
        if (i % 3 == 0) m.on_stream_message(net.now, from, bytes);
        if (i % 50 == 0) {
            net.now += 10ms;
            m.on_time(net.now);
        }
        while (auto o = m.next_output()) {
            if (auto* d = std::get_if<mesh::send_datagram>(&*o)) {
                CHECK(d->bytes.size() <= 1336);
                if (d->to == from) answered_bytes += d->bytes.size();
            }
        }
    }
    CHECK(m.stats().rejections(mesh::rejection::malformed) > 10000);
    CHECK(m.stats().rejections(mesh::rejection::wrong_version) > 10000);
    CHECK(m.members().rows().size() < 20000);
    CHECK(answered_bytes < 3 * asked_bytes);
}
