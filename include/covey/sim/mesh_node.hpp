// One member of a fleet: a mesh machine behind the few calls that the simulation needs. No other file of this room, of its
// tests and of its benchmarks knows the machine's interface.
#pragma once

#include <covey/mesh/machine.hpp>

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>

namespace covey::sim {

/// What a member reported of another, or (rejoined) of itself.
struct sighting {
    enum class what : std::uint8_t { joined, suspected, alive_again, dead, left, rejoined, other };
    what kind = what::other;
    peer_id subject;
    epoch_t epoch = 0;
    std::uint32_t incarnation = 0;
};

/// Who a member is: what its process was started with.
struct mesh_identity {
    peer_id id;
    epoch_t epoch = 1;
    endpoint address;
    std::string name;
    std::uint64_t table_digest = 0;
};

class mesh_node {
public:
    /// What the members of one fleet share: descriptions, which would otherwise be kept n times n times.
    using common = std::shared_ptr<mesh::record_pool>;
    static common make_common() { return std::make_shared<mesh::record_pool>(); }

    mesh_node(const mesh::config& how, const mesh_identity& who, std::uint64_t seed, const common& shared)
        : m_packet_bytes_max(how.packet_bytes_max), m_bounds(how), m_machine(how, record(who), cluster(), seed, shared) {}

    void start(time_point now, std::span<const endpoint> seeds) {
        m_machine.start(now);
        m_machine.join(now, seeds);
    }
    void leave(time_point now) { m_machine.leave(now); }
    void on_datagram(time_point now, const endpoint& from, bytes_view bytes) { m_machine.on_datagram(now, from, bytes); }
    void on_stream(time_point now, const endpoint& from, bytes_view bytes) { m_machine.on_stream_message(now, from, bytes); }
    /// `refused`: the machine there answers and nobody listens.
    void on_stream_failed(time_point now, const endpoint& to, bool refused) {
        m_machine.on_stream_failed(now, to);
        const peer_id there = refused ? m_machine.members().at_address(to) : peer_id{};
        if (there) m_machine.report_connection_refused(now, there);
    }
    void on_time(time_point now) { m_machine.on_time(now); }
    time_point next_wakeup() const noexcept { return m_machine.next_wakeup(); }

    /// Hands on everything that waits: sink.datagram(to, byte_buffer&&), sink.stream(to, byte_buffer&&),
    /// sink.seen(sighting), sink.said(level, line).
    template <class Sink>
    void drain(Sink&& sink) {
        while (std::optional<mesh::output> o = m_machine.next_output()) {
            if (auto* d = std::get_if<mesh::send_datagram>(&*o)) {
                sink.datagram(d->to, std::move(d->bytes));
            } else if (auto* s = std::get_if<mesh::send_stream>(&*o)) {
                sink.stream(s->to, std::move(s->bytes));
            } else if (auto* e = std::get_if<mesh::membership_event>(&*o)) {
                sink.seen(sighting{kind_of(e->kind), e->subject.id(), e->subject.epoch(), e->subject.incarnation()});
            } else if (auto* n = std::get_if<mesh::note>(&*o)) {
                sink.said(n->level, n->line);
            }
        }
    }

    peer_id id() const noexcept { return m_machine.self().id; }
    epoch_t epoch() const noexcept { return m_machine.self().epoch; }
    std::uint32_t incarnation() const noexcept { return m_machine.self().incarnation; }
    bool has_left() const noexcept { return m_machine.has_left(); }
    /// Equal at all members whose views are equal: the sum (exclusive or) of all members' own digests.
    std::uint64_t view_digest() const noexcept { return m_machine.view_digest(); }
    std::uint64_t own_digest() const { return mesh::table::digest_of(mesh::member(id(), epoch(), 0, nullptr, mesh::member_state::alive)); }
    std::size_t live_count() const noexcept { return m_machine.live_count(); }
    std::size_t packet_bytes_max() const noexcept { return m_packet_bytes_max; }
    const mesh::statistics& stats() const noexcept { return m_machine.stats(); }

    /// The state of a member as seen here, for reports: "alive", "suspect", "dead", "left" or "unknown".
    std::string_view state_of(peer_id id) const noexcept {
        const mesh::member* m = m_machine.members().find(id);
        return m == nullptr ? std::string_view("unknown") : mesh::to_string(m->state());
    }
    /// Does this member hold another for flaky?
    bool holds_flaky(peer_id id) const noexcept {
        const mesh::member* m = m_machine.members().find(id);
        return m != nullptr && m->is_flaky();
    }
    /// A bound that the machine has broken, in words, or nullptr.
    const char* broken_bound() const noexcept {
        if (m_machine.live_count() > m_bounds.members_max) return "more members than members_max";
        if (m_machine.members().tombstone_count() > m_bounds.tombstones_max) return "more tombstones than tombstones_max";
        if (m_machine.health() > m_bounds.health_max) return "health above health_max";
        return nullptr;
    }

    /// Something that no member of this cluster has sent: noise, noise behind a proper beginning, of another cluster, too
    /// long, or a part of `real`, which one did send. Without a key in play (sealing is the driver's), nothing that decodes.
    static void forge(random_source& random, bytes_view real, byte_buffer& out) {
        const auto noise = [&](std::size_t most) {
            for (std::size_t n = static_cast<std::size_t>(random.below(most + 1)); n != 0; --n) {
                const std::uint64_t byte = random.next();
                out.append(&byte, 1);
            }
        };
        mesh::message_header front{cluster(), peer_id{random.next() | 1}, 1};
        mesh::control what;
        what.kind = static_cast<mesh::control_kind>(random.below(6));
        what.sequence = 1;
        what.target = front.sender;
        switch (random.below(6)) {
            case 0: return noise(mesh::config{}.packet_bytes_max);
            case 1:
                front.cluster.low ^= 1;
                mesh::write_packet_front(out, front, what);
                return noise(200);
            case 2:
                mesh::write_packet_front(out, front, what);
                out.append("\xff", 1);  // no claim begins so
                return noise(200);
            case 3:
                mesh::write_packet_front(out, front, what);
                while (out.size() <= mesh::config{}.packet_bytes_max) out.append("\0\0\0\0", 4);
                return;
            case 4: return out.append(real);  // a replay
            default: return out.append(real.first(static_cast<std::size_t>(random.below(real.size() + 1))));
        }
    }

private:
    static cluster_id cluster() { return cluster_id::from_name("fleet"); }
    static mesh::member_info record(const mesh_identity& who) {
        mesh::member_info info;
        info.id = who.id;
        info.epoch = who.epoch;
        info.address = who.address;
        info.name = who.name;
        info.table_digest = who.table_digest;
        return info;
    }
    static sighting::what kind_of(mesh::membership_event::what kind) noexcept {
        using from = mesh::membership_event::what;
        switch (kind) {
            case from::joined: return sighting::what::joined;
            case from::suspected: return sighting::what::suspected;
            case from::alive_again: return sighting::what::alive_again;
            case from::dead: return sighting::what::dead;
            case from::left: return sighting::what::left;
            case from::rejoined: return sighting::what::rejoined;
            case from::unreachable:
            case from::flaky:
            case from::steady:
            case from::partition_suspected:
            case from::healed:
            case from::updated:
            case from::missed: break;
        }
        return sighting::what::other;
    }

    struct bounds {
        std::size_t members_max, tombstones_max;
        unsigned health_max;
        explicit bounds(const mesh::config& c) : members_max(c.members_max), tombstones_max(c.tombstones_max), health_max(c.health_max) {}
    };

    std::size_t m_packet_bytes_max;
    bounds m_bounds;
    mesh::machine m_machine;
};

}  // namespace covey::sim
