#pragma once

#include <covey/core/detail/concat.hpp>
#include <covey/core/error.hpp>
#include <covey/mesh/detail/row_index.hpp>
#include <covey/mesh/exchange.hpp>
#include <covey/mesh/settings.hpp>

#include <array>
#include <charconv>
#include <utility>

namespace covey::mesh {

namespace detail {

constexpr setting time_setting(std::string_view name, duration config::* member, duration least, duration most, std::string_view meaning) {
    return {name, member, static_cast<std::uint64_t>(least.count()), static_cast<std::uint64_t>(most.count()), false, meaning};
}
constexpr setting count_setting(std::string_view name, unsigned config::* member, unsigned least, unsigned most, std::string_view meaning) {
    return {name, member, least, most, false, meaning};
}
constexpr setting size_setting(std::string_view name, std::size_t config::* member, std::size_t least, std::size_t most,
                               std::string_view meaning, bool is_bytes = false) {
    return {name, member, least, most, is_bytes, meaning};
}

inline constexpr duration interval_min = std::chrono::milliseconds(1);
inline constexpr duration day = std::chrono::hours(24);

inline constexpr std::array all_settings{
    time_setting("probe_interval", &config::probe_interval, interval_min, day, "one member is pinged each"),
    time_setting("quiet_probe_interval", &config::quiet_probe_interval, interval_min, day,
                 "the same while nothing happens; if it is longer"),
    time_setting("probe_timeout", &config::probe_timeout, interval_min, day, "then others are asked to ping it, and a stream is tried"),
    time_setting("probe_give_up", &config::probe_give_up, interval_min, day, "then it is suspected; more than probe_timeout"),
    count_setting("indirect_probes", &config::indirect_probes, 0, 16, "others that are asked to ping it"),
    count_setting("inconclusive_max", &config::inconclusive_max, 0, 1000, "probes without a word from any helper that conclude nothing"),
    count_setting("health_max", &config::health_max, 0, 64, "how often a peer that hears badly gives others so much time again"),
    count_setting("suspicion_multiplier", &config::suspicion_multiplier, 1, 64,
                  "times log10(members) probe intervals: the shortest suspicion"),
    count_setting("suspicion_factor_max", &config::suspicion_factor_max, 1, 64, "times that: the longest suspicion"),
    time_setting("suspicion_floor", &config::suspicion_floor, duration::zero(), day, "no suspicion is shorter"),
    time_setting("mark_half_life", &config::mark_half_life, interval_min, day, "marks against a member fade by half each"),
    count_setting("flaky_marks", &config::flaky_marks, 1, 1'000'000, "marks from which on a member is flaky"),
    count_setting("steady_marks", &config::steady_marks, 0, 1'000'000, "marks from which on it no longer is; fewer than flaky_marks"),
    count_setting("accuser_marks", &config::accuser_marks, 1, 1'000'000, "refuted accusations after which an accuser is not believed"),
    time_setting("gossip_interval", &config::gossip_interval, interval_min, day, "news is told each"),
    count_setting("gossip_fanout", &config::gossip_fanout, 1, 64, "to so many members"),
    count_setting("retransmit_multiplier", &config::retransmit_multiplier, 1, 64, "times 1 + log10(members): how often each news is told"),
    time_setting("gossip_to_dead", &config::gossip_to_dead, duration::zero(), day, "for so long the dead are told too, lest they live"),
    time_setting("load_interval", &config::load_interval, interval_min, day, "a changed load is told once each at most"),
    time_setting("push_pull_interval", &config::push_pull_interval, interval_min, day, "tables are compared each; longer above 32 members"),
    size_setting("exchange_bytes", &config::exchange_bytes, 8192, exchange_bytes_max / 2, "one answer in a comparison while the mesh forms",
                 true),
    size_setting("exchange_bytes_per_second", &config::exchange_bytes_per_second, 8192, std::size_t{1} << 32,
                 "all answers then; exchange_bytes at least", true),
    size_setting("settled_bytes", &config::settled_bytes, 1024, std::size_t{1} << 32,
                 "all answers of three seconds once the mesh has settled; exchange_bytes_per_second at most", true),
    count_setting("join_fanout", &config::join_fanout, 1, 16, "seeds asked at the same time"),
    time_setting("join_retry_first", &config::join_retry_first, interval_min, day, "seeds that do not answer are asked again after"),
    time_setting("join_retry_max", &config::join_retry_max, interval_min, day, "doubled each time, up to"),
    time_setting("leave_linger", &config::leave_linger, interval_min, day, "a leaving peer still answers for so long at most"),
    time_setting("dead_retry", &config::dead_retry, interval_min, day, "one of the dead is tried each"),
    time_setting("split_memory", &config::split_memory, interval_min, day, "for so long the dead count as perhaps cut off"),
    time_setting("tombstone_time", &config::tombstone_time, std::chrono::seconds(1), 30 * day, "for so long the dead are remembered"),
    size_setting("packet_bytes_max", &config::packet_bytes_max, 1024, 65000, "the largest datagram", true),
    size_setting("members_max", &config::members_max, 2, 2'000'000, "more are not taken in"),
    size_setting("tombstones_max", &config::tombstones_max, 0, 2'000'000, "dead ones remembered; beyond, the oldest is forgotten"),
    size_setting("broadcasts_max", &config::broadcasts_max, 16, std::size_t{1} << 20, "news waiting to be told"),
    size_setting("outputs_max", &config::outputs_max, 64, std::size_t{1} << 24, "datagrams waiting to be sent; beyond, they are dropped"),
};

/// How many members an aggregate has.
struct any_value {
    template <class T>
    constexpr operator T() const;
};
template <class T, std::size_t... I>
consteval bool takes(std::index_sequence<I...>) {
    return requires { T{(static_cast<void>(I), any_value{})...}; };
}
template <class T, std::size_t N = 64>
consteval std::size_t member_count() {
    if constexpr (takes<T>(std::make_index_sequence<N>())) {
        return N;
    } else {
        return member_count<T, N - 1>();
    }
}
static_assert(member_count<config>() == all_settings.size(), "a member of config that has no line above, or the other way round");
static_assert(2 * 2'000'000 < row_index::rows_max, "members_max and tombstones_max together");

struct unit {
    std::string_view name;
    std::uint64_t size;
};
inline constexpr unit time_units[] = {{"h", 3'600'000'000'000}, {"min", 60'000'000'000}, {"s", 1'000'000'000},
                                      {"ms", 1'000'000},        {"us", 1'000},           {"ns", 1}};
inline constexpr unit byte_units[] = {{"MiB", 1 << 20}, {"KiB", 1 << 10}, {"", 1}};
inline constexpr unit count_units[] = {{"", 1}};

inline std::span<const unit> units_of(const setting& s) noexcept {
    if (std::holds_alternative<duration config::*>(s.member)) return time_units;
    if (s.is_bytes) return byte_units;
    return count_units;
}

inline std::string in_largest_unit(const setting& s, std::uint64_t value) {
    const std::span<const unit> units = units_of(s);
    for (const unit& u : units) {
        if (value % u.size == 0 && (value != 0 || u.name == "s" || u.size == 1)) return covey::detail::concat({value / u.size, u.name});
    }
    return {};  // the last unit of each row is 1
}

inline std::uint64_t value_of(const setting& s, const config& c) {
    return std::visit(
        [&c](auto member) {
            if constexpr (std::same_as<decltype(member), duration config::*>) {
                // What is negative is too large for every setting.
                return static_cast<std::uint64_t>((c.*member).count());
            } else {
                return static_cast<std::uint64_t>(c.*member);
            }
        },
        s.member);
}

inline void set(const setting& s, config& c, std::uint64_t value) {
    std::visit(
        [&c, value](auto member) {
            if constexpr (std::same_as<decltype(member), duration config::*>) {
                c.*member = duration(static_cast<duration::rep>(value));
            } else {
                c.*member = static_cast<std::remove_reference_t<decltype(c.*member)>>(value);
            }
        },
        s.member);
}

[[noreturn]] inline void refuse(const setting& s, std::string_view value, std::string_view why) {
    throw error(errc::bad_argument, covey::detail::concat({"membership setting ", s.name, "=", value, ": ", why, " (", s.meaning, ")"}));
}

}  // namespace detail

COVEY_INLINE std::span<const setting> settings() noexcept { return detail::all_settings; }

COVEY_INLINE std::string text_of(const setting& s, const config& c) {
    const std::uint64_t value = detail::value_of(s, c);
    if (std::holds_alternative<duration config::*>(s.member) && value > static_cast<std::uint64_t>(duration::max().count()))
        return covey::detail::concat({static_cast<std::int64_t>(value), "ns"});
    return detail::in_largest_unit(s, value);
}

COVEY_INLINE std::string allowed(const setting& s) {
    return covey::detail::concat({detail::in_largest_unit(s, s.least), " to ", detail::in_largest_unit(s, s.most)});
}

COVEY_INLINE void change(config& c, std::string_view name_and_value) {
    const std::size_t equals = name_and_value.find('=');
    const std::string_view name = name_and_value.substr(0, equals);
    for (const setting& s : settings()) {
        if (s.name != name) continue;
        if (equals == std::string_view::npos) detail::refuse(s, "", covey::detail::concat({"a value is missing, ", allowed(s)}));
        const std::string_view value = name_and_value.substr(equals + 1);
        std::uint64_t number = 0;
        const auto [end, bad] = std::from_chars(value.data(), value.data() + value.size(), number);
        const std::string_view rest(end, static_cast<std::size_t>(value.data() + value.size() - end));
        std::uint64_t size = 0;
        std::string names;
        for (const detail::unit& u : detail::units_of(s)) {
            if (u.name == rest) size = u.size;
            if (!u.name.empty()) names += covey::detail::concat({(names.empty() ? "" : ", "), u.name});
        }
        if (bad != std::errc{} || size == 0) {
            detail::refuse(s, value,
                           covey::detail::concat(
                               {"write a whole number", (names.empty() ? "" : " with a unit: "), names, "; allowed is ", allowed(s)}));
        }
        if (number > s.most / size || number * size < s.least) detail::refuse(s, value, covey::detail::concat({"allowed is ", allowed(s)}));
        return detail::set(s, c, number * size);
    }
    std::string names;
    for (const setting& s : settings()) names += covey::detail::concat({(names.empty() ? "" : ", "), s.name});
    throw error(errc::bad_argument,
                covey::detail::concat({"\"", name_and_value, "\" sets nothing of the membership; write name=value, with one of ", names}));
}

COVEY_INLINE void check(const config& c) {
    for (const setting& s : settings()) {
        const std::uint64_t value = detail::value_of(s, c);
        if (value < s.least || value > s.most) detail::refuse(s, text_of(s, c), covey::detail::concat({"allowed is ", allowed(s)}));
    }
    const auto require = [&c](bool good, std::string_view name, std::string_view relation, std::string_view other) {
        if (good) return;
        const setting* first = nullptr;
        const setting* second = nullptr;
        for (const setting& s : settings()) {
            if (s.name == name) first = &s;
            if (s.name == other) second = &s;
        }
        detail::refuse(*first, text_of(*first, c),
                       covey::detail::concat({"must be ", relation, " ", other, ", which is ", text_of(*second, c)}));
    };
    require(c.probe_give_up > c.probe_timeout, "probe_give_up", "more than", "probe_timeout");
    require(c.steady_marks < c.flaky_marks, "steady_marks", "less than", "flaky_marks");
    require(c.exchange_bytes_per_second >= c.exchange_bytes, "exchange_bytes_per_second", "at least", "exchange_bytes");
    require(c.settled_bytes <= c.exchange_bytes_per_second, "settled_bytes", "at most", "exchange_bytes_per_second");
    require(c.join_retry_max >= c.join_retry_first, "join_retry_max", "at least", "join_retry_first");
}

COVEY_INLINE config profile::named(std::string_view name) {
    if (name == "local") return local();
    if (name == "lan") return lan();
    if (name == "wan") return wan();
    throw error(errc::bad_argument, covey::detail::concat({"\"", name, "\" is no profile of the membership: local, lan or wan"}));
}

}  // namespace covey::mesh
