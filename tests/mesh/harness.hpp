// Several machines on a virtual clock with a seeded network between them. Only for the tests of this room.
#pragma once

#include <covey/mesh/machine.hpp>

#include <covey/mesh/seal.hpp>

#include <algorithm>
#include <map>
#include <memory>
#include <queue>
#include <set>
#include <vector>

namespace mesh_test {

using namespace covey;
using namespace std::chrono_literals;
using mesh::machine;
using mesh::member_info;
using what = membership_event::what;

inline member_info info_of(std::uint64_t id, std::uint16_t port, member_role role = member_role::serve) {
    member_info i;
    i.id = {id};
    i.address = endpoint::v4(127, 0, 0, 1, port);
    i.name = "peer-" + std::to_string(id);
    i.role = role;
    i.build_hash = 7;
    i.table_digest = 9;
    i.threads = 2;
    return i;
}

class network {
public:
    struct node {
        std::unique_ptr<machine> m;
        bool running = true;  // false: killed
        bool paused = false;
        int side = 0;  // packets pass between equal sides only
        time_point wake = never;
        std::vector<membership_event> events;
        std::vector<std::string> notes;
        std::size_t held = 0;  // datagrams in the socket of a paused process
        std::vector<std::pair<int, std::pair<endpoint, std::vector<std::byte>>>> inbox;
    };

    explicit network(std::uint64_t seed, mesh::config c = mesh::profile::local()) : how(c), random(seed) {}

    mesh::config how;
    random_source random;
    cluster_id cluster = cluster_id::from_name("test");
    double loss = 0;
    std::set<std::pair<std::size_t, std::size_t>> no_datagrams;  // the same for streams excepted
    std::set<std::size_t> deaf, mute;                            // nodes that nothing reaches, or from which nothing comes
    void (*describe)(member_info&) = nullptr;                    // of those added from now on
    bool stream_pings = true;                                    // false: streams carry tables only
    std::set<std::pair<std::size_t, std::size_t>> cut;           // pairs of nodes between which no packet passes; smaller number first
    duration delay_min = 100us, delay_max = 1ms;
    time_point now{1s};
    std::uint64_t trace = 0;
    std::size_t largest_packet = 0;
    std::vector<std::unique_ptr<node>> nodes;

    std::size_t add(std::uint64_t id, std::uint16_t port, std::vector<std::size_t> seeds = {}, member_role role = member_role::serve) {
        std::vector<endpoint> at;
        for (const std::size_t s : seeds) at.push_back(nodes[s]->m->self().address);
        auto n = std::make_unique<node>();
        member_info info = info_of(id, port, role);
        if (describe != nullptr) describe(info);
        n->m = std::make_unique<machine>(how, info, cluster, random.next());
        nodes.push_back(std::move(n));
        const std::size_t i = nodes.size() - 1;
        nodes[i]->m->start(now);
        nodes[i]->m->join(now, at);
        settle(i);
        return i;
    }
    std::size_t add(std::vector<std::size_t> seeds = {}) {
        const std::uint64_t k = nodes.size() + 1;
        return add(mix64(k * 77), static_cast<std::uint16_t>(7000 + k), std::move(seeds));
    }
    void add_many(std::size_t count) {
        for (std::size_t i = 0; i < count; ++i) nodes.empty() ? add() : add({0});
    }

    machine& operator[](std::size_t i) { return *nodes[i]->m; }
    peer_id id(std::size_t i) const { return nodes[i]->m->self().id; }

    void kill(std::size_t i) { nodes[i]->running = false; }
    void pause(std::size_t i) { nodes[i]->paused = true; }
    void resume(std::size_t i) {
        node& n = *nodes[i];
        n.paused = false;
        // As after SIGCONT: whether the timer or the socket comes first is up to the kernel.
        if (random.chance(0.5)) n.m->on_time(now);
        settle(i);
        auto inbox = std::move(n.inbox);
        n.inbox.clear();
        n.held = 0;
        for (auto& [kind, what_came] : inbox) receive(i, kind, what_came.first, what_came.second);
        n.m->on_time(now);
        settle(i);
    }
    /// Takes the outputs of node i and arms its timer. To be called after every direct call of a machine.
    void settle(std::size_t i) {
        node& n = *nodes[i];
        while (auto o = n.m->next_output()) {
            trace = hash_combine(trace, static_cast<std::uint64_t>(now.time_since_epoch().count()) ^ (i << 48) ^ o->index());
            if (auto* d = std::get_if<mesh::send_datagram>(&*o)) {
                trace = fnv1a(as_text(d->bytes), trace);
                largest_packet = std::max(largest_packet, d->bytes.size());
                if (!random.chance(loss)) schedule(delay(), i, d->to, datagram, d->bytes);
            } else if (auto* s = std::get_if<mesh::send_stream>(&*o)) {
                trace = fnv1a(as_text(s->bytes), trace);
                const auto step = static_cast<mesh::exchange_step>(s->bytes.data()[3]);
                if (!stream_pings && (step == mesh::exchange_step::ping || step == mesh::exchange_step::pong)) continue;
                schedule(delay() * 2, i, s->to, stream, s->bytes);
            } else if (auto* e = std::get_if<membership_event>(&*o)) {
                trace = hash_combine(trace, e->subject.id().value + static_cast<std::uint64_t>(e->kind));
                n.events.push_back(*e);
            } else {
                n.notes.push_back(std::get<mesh::note>(*o).line);
            }
        }
        const time_point wake = std::max(n.m->next_wakeup(), now);
        if (wake != n.wake && wake != never) {
            n.wake = wake;
            m_queue.push({wake, ++m_order, timer, i, {}, {}});
        }
    }
    void run_for(duration d) {
        run_until(now + d, [] { return false; });
    }
    /// Until `done()` or the time is over; true if done.
    template <class F>
    bool run_until(time_point end, F done) {
        while (!done()) {
            if (m_queue.empty() || m_queue.top().when > end) {
                now = end;
                return done();
            }
            item x = m_queue.top();
            m_queue.pop();
            now = std::max(now, x.when);
            deliver(x);
        }
        return true;
    }
    template <class F>
    bool within(duration d, F done) {
        return run_until(now + d, done);
    }
    /// All running, unpaused nodes know exactly each other.
    bool converged() const {
        std::size_t count = 0;
        std::uint64_t digest = 0;
        for (const auto& n : nodes) {
            if (n->running && !n->paused && !n->m->has_left()) ++count, digest = n->m->view_digest();
        }
        for (const auto& n : nodes) {
            if (!n->running || n->paused || n->m->has_left()) continue;
            if (n->m->view_digest() != digest || n->m->live_count() != count) return false;
        }
        return true;
    }
    bool everywhere(std::size_t subject, member_state state) const {
        for (std::size_t i = 0; i < nodes.size(); ++i) {
            const node& n = *nodes[i];
            if (i == subject || !n.running || n.paused || n.m->has_left()) continue;
            const auto m = n.m->find(id(subject));
            if (!m || m->state() != state) return false;
        }
        return true;
    }
    std::size_t count(what kind) const {
        std::size_t total = 0;
        for (const auto& n : nodes) {
            for (const auto& e : n->events) total += e.kind == kind;
        }
        return total;
    }

private:
    enum what_comes { timer, datagram, stream, stream_refused };
    struct item {
        time_point when;
        std::uint64_t order;
        what_comes kind;
        std::size_t node;  // timer, stream_refused: whose; others: who sent
        endpoint to;
        std::vector<std::byte> bytes;
        bool operator<(const item& o) const { return when != o.when ? when > o.when : order > o.order; }
    };
    duration delay() {
        return delay_min + duration(static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>((delay_max - delay_min).count()))));
    }
    void schedule(duration d, std::size_t from, const endpoint& to, what_comes kind, bytes_view bytes) {
        m_queue.push({now + d, ++m_order, kind, from, to, {bytes.begin(), bytes.end()}});
    }
    void receive(std::size_t i, int kind, const endpoint& from, bytes_view bytes) {
        node& n = *nodes[i];
        kind == datagram ? n.m->on_datagram(now, from, bytes) : n.m->on_stream_message(now, from, bytes);
        settle(i);
    }
    void deliver(item& x) {
        if (x.kind == timer || x.kind == stream_refused) {
            node& n = *nodes[x.node];
            if (!n.running || n.paused) return;
            if (x.kind == stream_refused) {
                n.m->on_stream_failed(now, x.to);
            } else if (x.when != n.wake) {
                return;
            } else {
                n.wake = never;
                n.m->on_time(now);
            }
            return settle(x.node);
        }
        const node& sender = *nodes[x.node];
        for (std::size_t i = 0; i < nodes.size(); ++i) {
            node& n = *nodes[i];
            if (!n.running || n.m->has_left() || n.m->self().address != x.to || n.side != sender.side) continue;
            if (x.kind == datagram && no_datagrams.contains(std::minmax(i, x.node))) return;
            if (cut.contains(std::minmax(i, x.node)) || deaf.contains(i) || mute.contains(x.node)) return;
            if (!n.paused) return receive(i, x.kind, sender.m->self().address, x.bytes);
            // The socket of a stopped process holds some datagrams; its streams hold everything.
            if (x.kind == datagram && ++n.held > 200) return;
            n.inbox.push_back({x.kind, {sender.m->self().address, std::move(x.bytes)}});
            return;
        }
        if (x.kind == stream) schedule(10ms, x.node, x.to, stream_refused, {});
    }

    std::priority_queue<item> m_queue;
    std::uint64_t m_order = 0;
};

inline double seconds(duration d) { return std::chrono::duration<double>(d).count(); }

}  // namespace mesh_test
