// The membership protocol as a plain state machine: messages and time in, messages and events out.
#pragma once

#include <covey/core/environment.hpp>
#include <covey/mesh/broadcast.hpp>
#include <covey/mesh/config.hpp>
#include <covey/mesh/exchange.hpp>
#include <covey/mesh/gaps.hpp>
#include <covey/mesh/message.hpp>
#include <covey/mesh/prober.hpp>
#include <covey/mesh/scores.hpp>
#include <covey/mesh/suspicion.hpp>
#include <covey/mesh/table.hpp>
#include <covey/mesh/view.hpp>

#include <array>
#include <cstdint>
#include <deque>
#include <memory>
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
    std::uint64_t probes = 0, probes_failed = 0, probes_inconclusive = 0, probes_stream_only = 0;
    std::uint64_t suspicions = 0, deaths = 0, refutations = 0, rebirths = 0, accusations_ignored = 0;
    std::uint64_t exchanges_opened = 0, exchanges_useful = 0;
    std::uint64_t outputs_dropped = 0;
    std::array<std::uint64_t, static_cast<std::size_t>(rejection::count_)> rejected{};

    std::uint64_t rejections(rejection why) const noexcept { return rejected[static_cast<std::size_t>(why)]; }
};

/// SWIM (Das, Gupta, Motivala 2002) with suspicion, the three parts of Lifeguard (Dadgar, Phillips, Currey 2018), and epochs: dead
/// and left are final for an epoch, and who learns that it was declared dead comes back under the next one. README.md of this
/// room tells what is added.
///
/// It has no clock, no socket and no thread: after every call drain `next_output()` and arm one timer at `next_wakeup()`.
/// Same seed and same calls, same outputs. Times must not go backwards. Not thread-safe.
class machine {
public:
    /// `self.address` may be set until `start`. Throws errc::bad_argument for a record that no member can have, or for numbers
    /// of `config` that cannot be meant. `records` may be shared by the machines of one thread; null: each keeps its own.
    machine(const config& how, member_info self, const cluster_id& cluster, std::uint64_t seed,
            std::shared_ptr<record_pool> records = nullptr);

    /// Where others reach this peer; before `start` only.
    void set_address(const endpoint& address) { m_self.address = address; }
    /// Throws errc::bad_address when the own address is none that others can send to.
    void start(time_point now);
    /// Where seeds are may be known once and for all, for the moment (their names may stand for others later), or not yet of all.
    enum class seeds_known : std::uint8_t { for_good, for_now, in_part };
    /// Asks seeds (at most seeds_max; the own address is skipped), config::join_fanout at a time, for their tables until one
    /// answers, and again whenever nobody else is left. Unreachable ones cost a note. May be called again with other seeds.
    void join(time_point now, std::span<const endpoint> seeds, seeds_known known = seeds_known::for_good);
    /// These are the seeds now, and no others. While nobody has answered, those that are new are asked at once.
    void set_seeds(std::span<const endpoint> seeds, seeds_known known);
    /// How often seeds were asked, or would have been had any been known: a reason to look them up again.
    std::uint64_t seed_rounds() const noexcept { return m_seed_rounds; }
    /// Says goodbye; `has_left()` turns true within config::leave_linger.
    void leave(time_point now);
    /// What this peer says about itself from now on. The addresses stay. Throws errc::bad_argument as the constructor does.
    void describe(time_point now, description what);
    /// How busy this peer is: told when it changed, at most once each config::load_interval.
    void set_load(const load& now) noexcept { m_load_wanted = now; }

    /// Bytes from the network, never trusted. What is not for us is dropped and counted.
    void on_datagram(time_point now, const endpoint& from, bytes_view bytes);
    /// `from`: where the sender listens.
    void on_stream_message(time_point now, const endpoint& from, bytes_view bytes);
    void on_stream_failed(time_point now, const endpoint& to);
    /// The machine of this member answers but nobody listens at its port: it is suspected with one probe interval to
    /// clear itself.
    void report_connection_refused(time_point now, peer_id id);
    /// The caller's own work was late by so much: then answers are late for the same reason, and everybody gets more time.
    void on_lag(time_point now, duration lag);
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
    bool has_joined() const noexcept { return m_join_answered || (m_seeds.empty() && m_seeds_known != seeds_known::in_part); }
    bool has_left() const noexcept { return m_left; }
    unsigned health() const noexcept { return m_prober.health(); }
    const statistics& stats() const noexcept { return m_stats; }

    static constexpr std::size_t seeds_max = 64;
    /// Dead ones waiting to be told so, and exchanges that wait for an answer.
    static constexpr std::size_t tell_max = 32;
    static constexpr std::size_t requests_max = 16;
    /// Recently dead members in one message.
    static constexpr std::size_t tombstones_told_max = 1024;
    /// Who learns more than so many members at once does not pass them on: others are learning them the same way.
    static constexpr std::size_t crowd = 32;
    /// Loads of others waiting to be passed on, and how many ride on one packet.
    static constexpr std::size_t loads_max = 64;
    static constexpr std::size_t loads_per_packet = 8;

private:
    enum class source : std::uint8_t { gossip, exchange };

    // What is said, and to whom (impl/machine.ipp).
    member self_member() const;
    message_header header() const { return {m_cluster, m_self.id, m_self.epoch}; }
    void emit(output&& o);
    void reject(rejection why) noexcept { ++m_stats.rejected[static_cast<std::size_t>(why)]; }
    void say(log_level level, std::string line) { emit(note{level, std::move(line)}); }
    enum class gossip : bool { leave_out, fill_in };
    void send_packet(const endpoint& to, const control& request, std::span<const claim> first, std::size_t budget,
                     gossip extra = gossip::fill_in);
    bool send_ping(time_point now, open_ping::purpose why, const member& target);
    control ping_of(time_point now, std::uint32_t sequence, peer_id target);
    std::size_t packet_budget() const noexcept;
    unsigned sends_max() const noexcept;
    claim claim_about(const member& subject) const { return claim::about(subject, m_self.id); }
    void broadcast(peer_id subject, peer_id accuser);
    void write_news(const broadcast_queue::entry& e, byte_buffer& out) const;
    record_ptr decode_record(bytes_view encoded);

    // What arrived (impl/machine_input.ipp).
    void on_request(time_point now, const endpoint& from, const packet& p, std::size_t budget, std::span<const claim> first);
    void answer(time_point now, const endpoint& to, control_kind kind, std::uint32_t sequence, std::span<const claim> first,
                std::size_t budget);
    void on_ack(time_point now, const packet& p);
    void on_nack(const packet& p);
    void on_not_me(time_point now, const endpoint& from, const packet& p);
    void hear_loads(const packet& p);
    void put_load(time_point now, control& c);

    // Tables compared (impl/machine_exchange.ipp).
    void compare_views(time_point now, peer_id with, std::uint64_t digest, std::uint32_t members);
    void open_exchange(const endpoint& to, const gaps::window& part);
    void open_exchange(const endpoint& to);
    void on_open(time_point now, const endpoint& from, const exchange& m);
    void on_reply(time_point now, const endpoint& from, const exchange& m);
    void on_stream_ping(const endpoint& from, const exchange& m);
    void on_stream_pong(const exchange& m);
    bool is_news(const exchange& m) const noexcept;
    void learn(time_point now, const exchange& m, bool pass_on);
    std::vector<std::uint32_t> bucket_hashes(const gaps::window& part) const;
    void note_size() noexcept;
    bool is_forming() const noexcept;
    bool is_far_behind(std::size_t members) const noexcept;
    std::size_t reply_allowance(time_point now, const exchange& asked);
    void note_missing(time_point now, const exchange& m);
    bool is_worth_telling(time_point now, const table::row& r) const;
    void send_exchange(const endpoint& to, const exchange& m);
    void run_catch_up(time_point now);

    // What is believed (impl/machine_claims.ipp).
    void apply(time_point now, const claim& news, source via, peer_id told_by, bool pass_on);
    void apply_alive(time_point now, const claim& news, bool pass_on);
    void apply_suspect(time_point now, const claim& news, bool pass_on);
    void apply_end(time_point now, const claim& news, source via, peer_id told_by, bool pass_on);
    void apply_about_self(time_point now, const claim& news, peer_id told_by);
    void refute(std::uint32_t incarnation);
    void begin_new_epoch(epoch_t over, peer_id told_by);
    void suspect(time_point now, time_point silent_since, peer_id id, peer_id accuser, std::uint32_t incarnation, bool pass_on);
    void suspect_strongly(time_point now, peer_id id);
    bool suspect_for_good_reason(time_point now, peer_id id);
    bool is_outdated(const claim& news) const;
    void declare(time_point now, const member& subject, peer_id accuser, bool pass_on);
    void event(membership_event::what kind, const member& subject) { emit(membership_event{kind, subject, snapshot_number()}); }
    void tell_dead(peer_id id);
    suspicions::terms suspicion_terms() const;

    // Whom to rely on, and how much of the mesh is seen (impl/machine_trust.ipp).
    bool is_believed(time_point now, peer_id accuser) const;
    void verify(time_point now, const member& subject);
    void mark_flap(time_point now, peer_id id, std::uint32_t marks);
    void hold_against_accuser(time_point now, const member& subject);
    void run_steadying(time_point now);
    void see_reachable(const member& m);
    void see_stream_only(time_point now, const member& m);
    void watch_for_split(time_point now, bool is_return);

    // What time brings (impl/machine_time.ipp).
    void make_up_for_lateness(time_point now);
    void add_seeds(std::span<const endpoint> seeds);
    void ask_seeds(std::vector<endpoint> some);
    void run_joining(time_point now);
    void stir(time_point now);
    duration pace_of_probes(time_point now) const;
    void run_probe(time_point now);
    void run_pings(time_point now);
    void ask_helpers(open_ping& p);
    void end_ping(time_point now, const open_ping& p);
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
    record_ptr m_self_record;  // null before start
    random_source m_random;
    std::shared_ptr<record_pool> m_records;
    table m_table;
    broadcast_queue m_broadcasts;
    suspicions m_suspicions;
    prober m_prober;
    scores m_flaps;                // of members
    scores m_refuted;              // of accusers
    std::vector<peer_id> m_flaky;  // marked so; scores::entries_max at most
    std::vector<peer_id> m_tell;   // tell_max at most
    std::deque<output> m_outputs;  // config::outputs_max, events and streams excepted: those are few an input
    statistics m_stats;
    std::uint64_t m_self_changes = 0;

    bool m_started = false;
    bool m_leaving = false;
    bool m_left = false;
    bool m_conflict_noted = false;
    bool m_ring_turn = false;  // the next probe goes to the successor
    bool m_split = false;
    time_point m_split_since{};   // who died before counts as gone
    peer_id m_probe_again;        // the last probe concluded nothing
    unsigned m_inconclusive = 0;  // probes in a row
    peer_id m_answering;          // whose answer to our ping is being read
    time_point m_lag_noted{};
    time_point m_leave_by = never;
    time_point m_next_probe = never;
    time_point m_quiet_from{};
    time_point m_next_gossip = never;
    time_point m_next_push_pull = never;
    time_point m_next_dead_retry = never;
    time_point m_next_steadying = never;

    std::vector<endpoint> m_seeds;  // seeds_max
    seeds_known m_seeds_known = seeds_known::for_good;
    std::uint64_t m_seed_rounds = 0;
    bool m_join_answered = false;
    unsigned m_join_attempts = 0;
    time_point m_next_join = never;

    struct load_news {
        peer_id about;
        unsigned sends_left;
    };
    load m_load, m_load_wanted;
    std::uint16_t m_load_version = 0;
    time_point m_load_after{};
    std::vector<load_news> m_load_news;  // loads_max

    std::vector<std::uint64_t> m_requests;  // nonces of requests_max exchanges opened
    std::uint64_t m_lineage = 0;
    std::size_t m_step_members = 0;  // seen before the message at hand was learned from
    unsigned m_mismatches = 0;       // acks in a row whose digest was not ours
    duration m_sync_pause{};         // doubles while comparing tables does not help
    time_point m_sync_after{};
    gaps m_gaps;                 // answers were cut short: the rest
    std::size_t m_gap_step = 1;  // buckets asked for at once
    duration m_gap_pause{};
    time_point m_next_catch_up = never;
    std::size_t m_usual_members = 0;  // eight times what live_count was lately
    std::size_t m_reply_tokens = 0;   // bytes
    time_point m_reply_refilled{};
};

}  // namespace covey::mesh

#ifndef COVEY_COMPILED
#include <covey/mesh/impl/machine.ipp>
#include <covey/mesh/impl/machine_claims.ipp>
#include <covey/mesh/impl/machine_exchange.ipp>
#include <covey/mesh/impl/machine_input.ipp>
#include <covey/mesh/impl/machine_time.ipp>
#include <covey/mesh/impl/machine_trust.ipp>
#endif
