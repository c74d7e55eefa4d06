// How a peer is set up.
#pragma once

#include <covey/core/endpoint.hpp>
#include <covey/mesh/config.hpp>
#include <covey/mesh/member.hpp>
#include <covey/net/link_config.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace covey {

/// How a peer is set up. The defaults make an embedded one: a whole cluster of one, on loopback, that others may join.
struct peer_config {
    /// Where it listens, TCP and UDP on one port; port 0: any free one. Anything but loopback needs a key. It is also what
    /// others are told, so it must be an address of one interface, not 0.0.0.0.
    std::string bind = "127.0.0.1:0";
    /// Members to ask for the others, one that answers is enough: "10.0.0.1:7400", "[::1]:7400", "peers.example.org:7400". They may
    /// come up later. A name stands for all its addresses; it is looked up at each attempt to join, so its addresses may change and
    /// it may be unknown at first. Also asked when nobody else is left. At most 64.
    std::vector<std::string> join{};
    /// The cluster key, made by `peerd keygen`, or several while keys are exchanged: one a line, the one to use first; empty: no
    /// encryption.
    std::string key_file{};
    /// Peers of other clusters are refused.
    std::string cluster = "covey";
    /// For people; empty: the machine's name and the process id.
    std::string name{};
    /// Worker threads; 0: as many as CPUs (see default_concurrency).
    unsigned threads = 0;
    member_role role = member_role::main;
    /// What this peer says about itself, for others to choose by (see member::label): names with values, and names with counts. At
    /// most 16 of each, of 64 bytes a text; with the name they have to fit 512 bytes.
    std::vector<std::pair<std::string, std::string>> labels{};
    std::vector<std::pair<std::string, std::uint32_t>> resources{};
    std::uint16_t gpus = 0;
    /// That it offers, MiB; 0: not said.
    std::uint32_t memory_mib = 0;
    /// Numbers of the membership protocol: "local", "lan" or "wan" (mesh::profile); empty: local on loopback, else lan.
    std::string profile{};
    /// All of them, instead of a profile.
    std::optional<mesh::config> membership{};
    /// Single ones, over either: "probe_interval=200ms" (mesh/settings.hpp; `peerd settings` lists them).
    std::vector<std::string> settings{};
    /// Limits of links.
    net::link_config links{};
    /// Calls that each other peer may have in flight towards this one; more wait there.
    std::uint32_t call_credit = 1024;
    /// Spans of calls to keep (call/spans.hpp), some 100 bytes each; later ones are only counted. With any, every call made or served
    /// here is traced. 0: none, unless there is a trace file.
    std::size_t spans_max = 0;
    static constexpr std::size_t spans_ordinary = 65536;
    /// Where the peer's spans are written to at its end, as a trace for Perfetto (call/chrome_trace.hpp). What is there is kept and
    /// added to, for all processes of a machine may share it.
    std::string trace_file{};
    /// Log it when a seed refuses this peer. Off where `wait_until_joined` is awaited, which throws it.
    bool log_refusal = true;
    /// What `args()` gives.
    std::vector<std::string> args{};

    /// From COVEY_BIND, COVEY_JOIN, COVEY_KEY_FILE, COVEY_CLUSTER, COVEY_NAME, COVEY_THREADS, COVEY_ROLE (main, serve), COVEY_LABELS
    /// ("zone=a,rack=3"), COVEY_RESOURCES ("licences=2"), COVEY_GPUS, COVEY_MEMORY_MIB, COVEY_PROFILE and COVEY_MEMBERSHIP
    /// ("probe_interval=200ms"), COVEY_TRACE (the trace file). Lists are comma-separated. Throws errc::bad_argument for a value that
    /// cannot be meant.
    static peer_config from_environment();

    /// "zone=a" and "licences=2"; of several of one name the last counts. Throw errc::bad_argument, with the text, for what is not
    /// of that form.
    void add_label(std::string_view text);
    void add_resource(std::string_view text);
    /// Of profile, membership and settings together, for a peer that listens at `bound`. Throws errc::bad_argument, naming what
    /// cannot be meant and what is allowed.
    mesh::config membership_numbers(const endpoint& bound) const;
};

}  // namespace covey

#ifndef COVEY_COMPILED
#include <covey/impl/peer_config.ipp>
#endif
