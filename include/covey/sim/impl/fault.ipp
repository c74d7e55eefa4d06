#pragma once

#include <covey/core/detail/concat.hpp>
#include <covey/core/error.hpp>
#include <covey/core/random.hpp>
#include <covey/sim/fault.hpp>

#include <algorithm>
#include <array>
#include <charconv>

namespace covey::sim {

namespace detail {

/// What belongs to a kind, for printing, parsing and drawing.
struct fault_form {
    std::string_view name;
    bool lasts;
    bool has_a;
    bool has_b;
    bool has_amount;
};

inline constexpr std::array<fault_form, static_cast<std::size_t>(fault_kind::count_)> fault_forms{{
    {"loss", true, false, false, true},        {"duplication", true, false, false, true},
    {"delay", true, false, false, true},       {"reorder", true, false, false, true},
    {"clog", true, true, true, false},         {"partition", true, true, true, false},
    {"cut", true, true, true, false},          {"isolate", true, true, false, false},
    {"flip_flop", true, true, false, true},    {"bad_link", true, true, false, true},
    {"pause", true, true, false, false},       {"slow", true, true, false, true},
    {"drift", true, true, false, true},        {"clock_step", false, true, false, true},
    {"crash", false, true, false, false},      {"crash_same", true, true, false, false},
    {"crash_epoch", true, true, false, false}, {"crash_new", true, true, false, false},
    {"leave", true, true, false, false},       {"join", false, true, false, false},
    {"hostile", true, true, false, true},      {"mixed_digest", false, true, false, false},
}};

inline const fault_form& form_of(fault_kind kind) noexcept { return fault_forms[static_cast<std::size_t>(kind)]; }

inline std::string shortest(double value) {
    char text[32];
    const auto end = std::to_chars(text, text + sizeof text, value).ptr;
    return {text, end};
}

inline std::string seconds_text(duration d) { return shortest(static_cast<double>(d / std::chrono::milliseconds(1)) / 1000) + "s"; }

inline void append_hosts(std::string& out, const std::vector<host_index>& hosts) {
    for (std::size_t i = 0; i < hosts.size(); ++i) {
        // Runs of neighbours are long in large fleets: 3-9 stands for all of them.
        std::size_t last = i;
        while (last + 1 < hosts.size() && hosts[last + 1] == hosts[last] + 1) ++last;
        if (i != 0) out += ',';
        out += std::to_string(hosts[i]);
        if (last >= i + 2) {
            out += '-';
            out += std::to_string(hosts[last]);
            i = last;
        }
    }
}

/// Cuts a text into words.
class fault_reader {
public:
    explicit fault_reader(std::string_view text) : m_whole(text), m_rest(text) {}

    [[noreturn]] void refuse(std::string_view why) const {
        throw error(errc::bad_argument,
                    covey::detail::concat({"fault \"", m_whole, "\": ", why, "; write for example: at 3.5s for 8s partition 0,1 | 2-4"}));
    }
    std::string_view word() {
        skip();
        const std::size_t end = std::min(m_rest.find(' '), m_rest.size());
        const std::string_view w = m_rest.substr(0, end);
        m_rest.remove_prefix(end);
        return w;
    }
    bool empty() {
        skip();
        return m_rest.empty();
    }
    double number(std::string_view w) const {
        double value = 0;
        const auto [end, why] = std::from_chars(w.data(), w.data() + w.size(), value);
        if (why != std::errc{} || end != w.data() + w.size()) refuse(covey::detail::concat({"\"", w, "\" is no number"}));
        return value;
    }
    duration seconds() {
        std::string_view w = word();
        if (!w.empty() && w.back() == 's') w.remove_suffix(1);
        const double value = number(w);
        if (!(value >= 0 && value <= 1e6)) refuse("a time must be 0 to a million seconds");
        return std::chrono::milliseconds(static_cast<std::int64_t>(value * 1000 + 0.5));
    }
    std::vector<host_index> hosts() {
        std::vector<host_index> list;
        std::string_view w = word();
        while (!w.empty()) {
            const std::size_t end = std::min(w.find(','), w.size());
            const std::string_view item = w.substr(0, end);
            w.remove_prefix(std::min(end + 1, w.size()));
            const std::size_t dash = item.find('-');
            const host_index first = host(item.substr(0, dash));
            const host_index last = dash == std::string_view::npos ? first : host(item.substr(dash + 1));
            for (host_index h = first; h <= last; ++h) list.push_back(h);
        }
        if (list.empty()) refuse("hosts are missing");
        return list;
    }

private:
    void skip() {
        while (!m_rest.empty() && m_rest.front() == ' ') m_rest.remove_prefix(1);
    }
    host_index host(std::string_view w) const {
        const double value = number(w);
        if (!(value >= 0 && value < 1e6)) refuse("a host is a number below a million");
        return static_cast<host_index>(value);
    }

    std::string_view m_whole, m_rest;
};

inline fault parse_fault(std::string_view text) {
    fault_reader in(text);
    fault f;
    if (in.word() != "at") in.refuse("it begins with \"at\"");
    f.at = in.seconds();
    std::string_view name = in.word();
    bool has_length = false;
    if (name == "for") {
        has_length = true;
        f.lasts = in.seconds();
        name = in.word();
    }
    const auto found = std::find_if(fault_forms.begin(), fault_forms.end(), [&](const fault_form& form) { return form.name == name; });
    if (found == fault_forms.end()) in.refuse(covey::detail::concat({"\"", name, "\" is no kind of fault"}));
    f.kind = static_cast<fault_kind>(found - fault_forms.begin());
    if (has_length != found->lasts) in.refuse(found->lasts ? "it needs a length, \"for 2s\"" : "it happens at once and has no length");
    if (found->has_a) f.a = in.hosts();
    if (found->has_b) {
        if (in.word() != "|") in.refuse("two sets of hosts are separated by \" | \"");
        f.b = in.hosts();
    }
    if (found->has_amount) f.amount = in.number(in.word());
    if (!in.empty()) in.refuse("there is more than belongs to it");
    return f;
}

/// Those of the same moment stay in order. (std::stable_sort of GCC 12 calls what clang 19 warns of.)
inline void sort_by_time(fault_schedule& faults) {
    const auto earlier = [](const fault& x, const fault& y) { return x.at < y.at; };
    for (auto next = faults.begin(); next != faults.end(); ++next) {
        std::rotate(std::upper_bound(faults.begin(), next, *next, earlier), next, next + 1);
    }
}

/// Draws the faults of one seed.
class fault_drawer {
public:
    fault_drawer(std::uint64_t seed, const fault_shape& shape) : m_shape(shape), m_random(hash_combine(seed, 5)) {}

    fault_schedule draw() {
        std::vector<fault_kind> kinds;
        for (unsigned k = 0; k < static_cast<unsigned>(fault_kind::count_); ++k) {
            const auto kind = static_cast<fault_kind>(k);
            const bool on = m_random.chance(0.5);
            if (on && possible(kind)) kinds.push_back(kind);
        }
        fault_schedule faults;
        if (kinds.empty()) return faults;
        const std::size_t most = std::max<std::size_t>(1, m_shape.faults_max);
        const std::size_t count = 1 + static_cast<std::size_t>(m_random.below(most));
        for (std::size_t i = 0; i < count; ++i) faults.push_back(one(kinds[static_cast<std::size_t>(m_random.below(kinds.size()))]));
        sort_by_time(faults);
        return faults;
    }

private:
    bool possible(fault_kind kind) const noexcept {
        if ((m_shape.without & fault_bit(kind)) != 0) return false;
        if (kind == fault_kind::join) return m_shape.newcomers != 0;
        if (kind == fault_kind::crash) return m_shape.hosts > m_shape.seeds;
        return m_shape.hosts >= 2;
    }

    std::int64_t between_ms(duration least, duration most) {
        const auto low = least / std::chrono::milliseconds(1);
        const auto high = std::max(low, most / std::chrono::milliseconds(1));
        return low + static_cast<std::int64_t>(m_random.below(static_cast<std::uint64_t>(high - low) + 1));
    }
    /// Two digits suffice, and read better.
    double share(double most) { return static_cast<double>(1 + m_random.below(static_cast<std::uint64_t>(most * 100))) / 100; }
    host_index any() { return static_cast<host_index>(m_random.below(m_shape.hosts)); }

    /// A random half at most, each subset size as likely; `first`: none below it.
    std::vector<host_index> some(host_index first, std::size_t most) {
        std::vector<host_index> all;
        for (host_index h = first; h < m_shape.hosts; ++h) all.push_back(h);
        m_random.shuffle(std::span(all));
        all.resize(1 + static_cast<std::size_t>(m_random.below(std::max<std::size_t>(1, std::min(most, all.size())))));
        std::sort(all.begin(), all.end());
        return all;
    }

    fault one(fault_kind kind) {
        constexpr duration second = std::chrono::seconds(1);
        fault f;
        f.kind = kind;
        f.at = std::chrono::milliseconds(between_ms({}, m_shape.length * 3 / 4));
        const duration left = m_shape.length - f.at;
        if (form_of(kind).lasts) f.lasts = std::chrono::milliseconds(between_ms(std::min(second / 10, left), left));
        switch (kind) {
            case fault_kind::loss: f.amount = share(m_shape.loss_max); break;
            case fault_kind::duplication: f.amount = share(m_shape.duplication_max); break;
            case fault_kind::delay:
            case fault_kind::reorder: f.amount = static_cast<double>(between_ms(m_shape.delay_min, m_shape.delay_max)) / 1000; break;
            case fault_kind::clog:
                f.lasts = std::chrono::milliseconds(between_ms({}, std::min(left, m_shape.clog_max)));
                f.a = {any()};
                f.b = {other_than(f.a[0])};
                break;
            case fault_kind::partition:
            case fault_kind::cut: split(f); break;
            case fault_kind::flip_flop:
                f.a = some(0, std::max<std::size_t>(1, m_shape.hosts / 50));
                f.amount = static_cast<double>(between_ms(second, 20 * second)) / 1000;
                break;
            case fault_kind::bad_link:
                f.a = {any()};
                f.amount = share(0.9);
                break;
            case fault_kind::slow:
                f.a = {any()};
                f.amount = static_cast<double>(between_ms(std::chrono::milliseconds(1), m_shape.slow_max)) / 1000;
                break;
            case fault_kind::drift:
                f.a = {any()};
                f.amount = static_cast<double>(m_random.below(20'001)) - 10'000;
                break;
            case fault_kind::clock_step:
                f.a = {any()};
                f.amount = static_cast<double>(between_ms(second / 10, 30 * second)) / 1000;
                break;
            case fault_kind::crash: f.a = some(m_shape.seeds, many()); break;
            case fault_kind::crash_same:
            case fault_kind::crash_epoch:
            case fault_kind::crash_new:
            case fault_kind::leave: f.a = some(0, many()); break;
            case fault_kind::join:
                for (host_index h = 0; h < m_shape.newcomers; ++h) f.a.push_back(m_shape.hosts + h);
                f.a.resize(1 + static_cast<std::size_t>(m_random.below(f.a.size())));
                break;
            case fault_kind::hostile:
                f.a = {any()};
                f.amount = static_cast<double>(1 + m_random.below(200));
                break;
            case fault_kind::mixed_digest:
                f.at = {};
                f.a = some(0, m_shape.hosts);
                break;
            case fault_kind::isolate:
            case fault_kind::pause:
            case fault_kind::count_: f.a = {any()}; break;
        }
        return f;
    }

    host_index other_than(host_index h) {
        const auto other = static_cast<host_index>(m_random.below(m_shape.hosts - 1));
        return other >= h ? other + 1 : other;
    }
    /// Mostly one, sometimes up to a third of all at once.
    std::size_t many() { return m_random.chance(0.7) ? 1 : std::max<std::size_t>(1, m_shape.hosts / 3); }

    /// Two sets, mostly of everybody, sometimes with some on neither side (these see both).
    void split(fault& f) {
        const double neutral = m_random.chance(0.3) ? m_random.uniform() / 2 : 0;
        const double left = m_random.uniform();
        for (host_index h = 0; h < m_shape.hosts; ++h) {
            if (m_random.chance(neutral)) continue;
            (m_random.chance(left) ? f.a : f.b).push_back(h);
        }
        if (f.a.empty() || f.b.empty()) {
            f.a = {any()};
            f.b = {other_than(f.a[0])};
        }
    }

    const fault_shape& m_shape;
    random_source m_random;
};

}  // namespace detail

COVEY_INLINE std::string_view to_string(fault_kind kind) noexcept { return detail::form_of(kind).name; }

COVEY_INLINE std::string to_string(const fault& f) {
    const detail::fault_form& form = detail::form_of(f.kind);
    std::string out = "at " + detail::seconds_text(f.at);
    if (form.lasts) out += " for " + detail::seconds_text(f.lasts);
    out.append(" ").append(form.name);
    if (form.has_a) {
        out += ' ';
        detail::append_hosts(out, f.a);
    }
    if (form.has_b) {
        out += " | ";
        detail::append_hosts(out, f.b);
    }
    if (form.has_amount) out.append(" ").append(detail::shortest(f.amount));
    return out;
}

COVEY_INLINE std::string to_string(const fault_schedule& faults) {
    std::string out;
    for (const fault& f : faults) {
        if (!out.empty()) out += "; ";
        out += to_string(f);
    }
    return out;
}

COVEY_INLINE fault_schedule parse_schedule(std::string_view text) {
    fault_schedule faults;
    while (!text.empty()) {
        const std::size_t end = std::min(text.find_first_of(";\n"), text.size());
        std::string_view one = text.substr(0, end);
        text.remove_prefix(std::min(end + 1, text.size()));
        while (!one.empty() && one.front() == ' ') one.remove_prefix(1);
        while (!one.empty() && one.back() == ' ') one.remove_suffix(1);
        if (!one.empty()) faults.push_back(detail::parse_fault(one));
    }
    detail::sort_by_time(faults);
    return faults;
}

COVEY_INLINE fault_schedule draw_schedule(std::uint64_t seed, const fault_shape& shape) {
    if (shape.hosts == 0) return {};
    return detail::fault_drawer(seed, shape).draw();
}

}  // namespace covey::sim
