// The membership protocol as a plain state machine: messages and time in, messages and events out.
#pragma once

#include <covey/core/environment.hpp>
#include <covey/mesh/broadcast.hpp>
#include <covey/mesh/config.hpp>
#include <covey/mesh/message.hpp>
#include <covey/mesh/prober.hpp>
#include <covey/mesh/suspicion.hpp>
#include <covey/mesh/table.hpp>
#include <covey/mesh/view.hpp>

#include <array>
#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

namespace covey::mesh {

/// A packet for the datagram socket.
struct send_datagram {
    endpoint to;
    byte_buffer bytes;
};
/// A message for a link to whoever listens there. If it cannot be delivered, call `on_stream_failed`.
struct send_stream {
    endpoint to;
    byte_buffer bytes;
};
/// A line for a person.
struct note {
    log_level level = log_level::info;
    std::string line;
};
using output = std::variant<send_datagram, send_stream, membership_event, note>;

struct statistics {
    std::uint64_t packets_in = 0, packets_out = 0, bytes_in = 0, bytes_out = 0;
    std::uint64_t streams_in = 0, streams_out = 0, stream_bytes_in = 0, stream_bytes_out = 0;
    std::uint64_t probes = 0, probes_failed = 0, suspicions = 0, deaths = 0, refutations = 0, rebirths = 0;
    std::uint64_t outputs_dropped = 0;
    std::array<std::uint64_t, static_cast<std::size_t>(rejection::count_)> rejected{};

    std::uint64_t rejections(rejection why) const noexcept { return rejected[static_cast<std::size_t>(why)]; }
};

/// SWIM (Das, Gupta, Motivala 2002) with suspicion, the parts of Lifeguard (Dadgar, Phillips, Currey 2018), and epochs: dead and
/// left are final for an epoch, and who learns that it was declared dead comes back under the next one.
///
/// It has no clock, no socket and no thread: after every call drain `next_output()` and arm one timer at `next_wakeup()`.
/// Same seed and same calls, same outputs. Times must not go backwards. Not thread-safe.
class machine {
public:
    /// `self.address` may be set until `start`. Throws errc::bad_argument for a record that no member can have, or for numbers
    /// of `config` that cannot be meant.
    machine(const config& how, member_info self, const cluster_id& cluster, std::uint64_t seed);

    /// Where others reach this peer; before `start` only.
    void set_address(const endpoint& address) { m_self.address = address; }
    /// Throws errc::bad_address when the own address is none that others can send to.
    void start(time_point now);
    /// Asks seeds (at most seeds_max; the own address is skipped) for their tables until one answers. Unreachable ones
    /// cost a note. May be called again with other seeds.
    void join(time_point now, std::span<const endpoint> seeds);
    /// Says goodbye; `has_left()` turns true within config::leave_linger.
    void leave(time_point now);

    /// Bytes from the network, never trusted. What is not for us is dropped and counted.
    void on_datagram(time_point now, const endpoint& from, bytes_view bytes);
    /// `from`: where the sender listens.
    void on_stream_message(time_point now, const endpoint& from, bytes_view bytes);
    void on_stream_failed(time_point now, const endpoint& to);
    /// The machine of this member answers but nobody listens at its port: it is suspected with one probe interval to
    /// clear itself.
    void report_connection_refused(time_point now, peer_id id);
    /// Does everything that is due. Early, late and repeated calls are harmless; after a late one every deadline is put off
    /// by as much, because a peer that did not run cannot know who was silent.
    void on_time(time_point now);
    time_point next_wakeup() const noexcept;

    std::optional<output> next_output();

    const member_info& self() const noexcept { return m_self; }
    const table& members() const noexcept { return m_table; }
    /// Members that are alive or suspect, this peer included.
    std::size_t live_count() const noexcept { return m_table.live_count() + 1; }
    std::uint64_t view_digest() const noexcept;
    /// Grows with every change of the view.
    std::uint64_t snapshot_number() const noexcept { return m_table.number() + m_self_changes; }
    view make_view() const;
    std::optional<member> find(peer_id id) const;
    /// A seed has answered, or there was nobody to ask.
    bool has_joined() const noexcept { return m_join_answered || m_seeds.empty(); }
    bool has_left() const noexcept { return m_left; }
    unsigned health() const noexcept { return m_prober.health(); }
    const statistics& stats() const noexcept { return m_stats; }

    static constexpr std::size_t seeds_max = 64;
    /// Dead ones waiting to be told so, and requests for tables that wait for an answer.
    static constexpr std::size_t tell_max = 32;
    static constexpr std::size_t requests_max = 16;
    /// Recently dead members in one table exchange.
    static constexpr std::size_t tombstones_told_max = 1024;

private:
    enum class source : std::uint8_t { gossip, exchange };

    // What is said, and to whom (impl/machine.ipp).
    member self_member() const { return member(m_self, m_left || m_leaving ? member_state::left : member_state::alive); }
    message_header header() const { return {m_cluster, m_self.id, m_self.epoch}; }
    void emit(output&& o);
    void reject(rejection why) noexcept { ++m_stats.rejected[static_cast<std::size_t>(why)]; }
    void say(log_level level, std::string line) { emit(note{level, std::move(line)}); }
    enum class gossip : bool { leave_out, fill_in };
    void send_packet(const endpoint& to, const control& request, std::span<const claim> first, std::size_t budget,
                     gossip extra = gossip::fill_in);
    void send_ping(time_point now, open_ping::purpose why, const member& target);
    void send_push_pull(time_point now, const endpoint& to, bool is_reply, std::uint64_t nonce);
    void request_table(time_point now, const endpoint& to);
    std::size_t packet_budget() const noexcept;
    unsigned sends_max() const noexcept;
    claim claim_about(const member& subject) const;
    void broadcast(const claim& news);
    void broadcast_self();

    // What arrived (impl/machine_input.ipp).
    void on_request(time_point now, const endpoint& from, const packet& p, std::size_t budget, std::span<const claim> first);
    void answer(const endpoint& to, control_kind kind, std::uint32_t sequence, std::span<const claim> first, std::size_t budget);
    void on_ack(time_point now, const packet& p);
    void on_nack(const packet& p);
    void on_not_me(time_point now, const endpoint& from, const packet& p);
    void compare_views(time_point now, peer_id with, std::uint64_t digest);

    // What is believed (impl/machine_claims.ipp).
    void apply(time_point now, const claim& news, source via, peer_id told_by, bool pass_on);
    void apply_alive(time_point now, const claim& news, bool pass_on);
    void apply_suspect(time_point now, const claim& news, bool pass_on);
    void apply_end(time_point now, const claim& news, source via, peer_id told_by, bool pass_on);
    void apply_about_self(time_point now, const claim& news, peer_id told_by);
    void refute(std::uint32_t incarnation);
    void begin_new_epoch(time_point now, epoch_t over, peer_id told_by);
    void suspect(time_point now, peer_id id, peer_id accuser, std::uint32_t incarnation, bool pass_on);
    void suspect_strongly(time_point now, peer_id id);
    bool is_outdated(const claim& news) const;
    void declare(time_point now, const member& subject, peer_id accuser, bool pass_on);
    void event(membership_event::what kind, const member& subject) { emit(membership_event{kind, subject}); }
    void tell_dead(peer_id id);
    suspicions::terms suspicion_terms() const;

    // What time brings (impl/machine_time.ipp).
    void make_up_for_lateness(time_point now);
    void ask_seeds(time_point now);
    void run_joining(time_point now);
    void run_probe(time_point now);
    void run_pings(time_point now);
    void fail_probe(time_point now, const open_ping& p);
    void run_suspicions(time_point now);
    void ask_about(time_point now, const member& subject, peer_id accuser);
    void run_gossip(time_point now);
    void run_push_pull(time_point now);
    void run_dead_retry(time_point now);
    void run_leaving(time_point now);
    bool is_observer() const noexcept { return m_self.role == member_role::observer; }
    bool has_news() const noexcept { return !m_broadcasts.empty() || !m_tell.empty(); }
    duration jittered(duration d) {
        return d / 2 + duration(static_cast<std::int64_t>(m_random.below(static_cast<std::uint64_t>(d.count()))));
    }
    duration stretched_push_pull() const;

    config m_config;
    cluster_id m_cluster;
    member_info m_self;
    random_source m_random;
    table m_table;
    broadcast_queue m_broadcasts;
    suspicions m_suspicions;
    prober m_prober;
    std::vector<peer_id> m_tell;            // tell_max at most
    std::vector<std::uint64_t> m_requests;  // nonces of requests_max tables asked for
    std::deque<output> m_outputs;           // config::outputs_max, events and streams excepted: those are few an input
    statistics m_stats;
    std::uint64_t m_self_changes = 0;

    bool m_started = false;
    bool m_leaving = false;
    bool m_left = false;
    bool m_conflict_noted = false;
    time_point m_leave_by = never;
    time_point m_next_probe = never;
    time_point m_next_gossip = never;
    time_point m_next_push_pull = never;
    time_point m_next_dead_retry = never;

    std::vector<endpoint> m_seeds;  // seeds_max
    bool m_join_answered = false;
    unsigned m_join_attempts = 0;
    time_point m_next_join = never;

    unsigned m_mismatches = 0;  // acks in a row whose digest was not ours
    duration m_sync_pause{};    // doubles while comparing tables does not help
    time_point m_sync_after{};
};

}  // namespace covey::mesh

#ifndef COVEY_COMPILED
#include <covey/mesh/impl/machine.ipp>
#include <covey/mesh/impl/machine_claims.ipp>
#include <covey/mesh/impl/machine_input.ipp>
#include <covey/mesh/impl/machine_time.ipp>
#endif
