#pragma once

#include <covey/core/error.hpp>
#include <covey/sim/network.hpp>

#include <algorithm>

namespace covey::sim {

namespace detail {

/// A host reaches itself without a network, but not in no time.
inline constexpr duration loopback_delay = std::chrono::microseconds(10);

inline void check(const faults& f) {
    const auto is_probability = [](double p) { return p >= 0 && p <= 1; };
    if (!is_probability(f.loss)) throw error(errc::bad_argument, "faults::loss is a probability: write 0 to 1");
    if (!is_probability(f.duplication)) throw error(errc::bad_argument, "faults::duplication is a probability: write 0 to 1");
    if (f.delay_min < duration::zero()) throw error(errc::bad_argument, "faults::delay_min is negative");
}

inline std::vector<bool> members(std::span<const host_index> hosts) {
    std::vector<bool> set;
    for (const host_index h : hosts) {
        if (h >= set.size()) set.resize(h + std::size_t{1});
        set[h] = true;
    }
    return set;
}

inline bool contains(const std::vector<bool>& set, host_index h) noexcept { return h < set.size() && set[h]; }

}  // namespace detail

COVEY_INLINE double exponential(random_source& random) noexcept {
    // A falling run of uniform draws that starts with x has an even length (counting the draw that ends it) with
    // probability e^-x; so x accepted on even lengths has the density on [0,1), and each rejection adds one whole unit.
    for (int whole = 0; whole < 63; ++whole) {
        const double first = random.uniform();
        double last = first;
        unsigned length = 1;
        for (;;) {
            const double next = random.uniform();
            ++length;
            if (next >= last) break;
            last = next;
        }
        if (length % 2 == 0) return whole + first;
    }
    return 64;
}

COVEY_INLINE network::network(std::uint64_t seed, const faults& everywhere) : m_random(seed), m_everywhere(everywhere) {
    detail::check(everywhere);
}

COVEY_INLINE void network::set_faults(const faults& everywhere) {
    detail::check(everywhere);
    m_everywhere = everywhere;
}

COVEY_INLINE void network::set_faults(host_index of, const faults& own) {
    detail::check(own);
    if (of >= m_own.size()) m_own.resize(of + std::size_t{1});
    m_own[of] = own;
}

COVEY_INLINE void network::clear_faults(host_index of) {
    if (of < m_own.size()) m_own[of].reset();
}

COVEY_INLINE network::rule_id network::add(rule r) {
    if (m_rules.size() >= rules_max) {
        throw error(errc::overloaded, std::to_string(rules_max) + " network rules stand already; heal some before adding more");
    }
    r.id = m_next_rule++;
    m_rules.push_back(std::move(r));
    return m_rules.back().id;
}

COVEY_INLINE network::rule_id network::partition(std::span<const host_index> a, std::span<const host_index> b) {
    rule r;
    r.a = detail::members(a);
    r.b = detail::members(b);
    return add(std::move(r));
}

COVEY_INLINE network::rule_id network::cut(std::span<const host_index> from, std::span<const host_index> to) {
    rule r;
    r.a = detail::members(from);
    r.b = detail::members(to);
    r.one_way = true;
    return add(std::move(r));
}

COVEY_INLINE network::rule_id network::isolate(host_index h) {
    rule r;
    r.a = detail::members({&h, 1});
    r.b_is_rest = true;
    return add(std::move(r));
}

COVEY_INLINE network::rule_id network::clog(host_index a, host_index b, time_point until) {
    rule r;
    r.a = detail::members({&a, 1});
    r.b = detail::members({&b, 1});
    r.is_clog = true;
    r.until = until;
    return add(std::move(r));
}

COVEY_INLINE void network::heal(rule_id id) {
    std::erase_if(m_rules, [id](const rule& r) { return r.id == id; });
}

COVEY_INLINE void network::heal() { m_rules.clear(); }

COVEY_INLINE bool network::rule::covers(host_index from, host_index to) const noexcept {
    if (b_is_rest) return detail::contains(a, from) != detail::contains(a, to);
    if (detail::contains(a, from) && detail::contains(b, to)) return true;
    return !one_way && detail::contains(b, from) && detail::contains(a, to);
}

COVEY_INLINE bool network::blocked(host_index from, host_index to) const noexcept {
    if (from == to) return false;
    for (const rule& r : m_rules) {
        if (!r.is_clog && r.covers(from, to)) return true;
    }
    return false;
}

COVEY_INLINE const faults& network::between(host_index from, host_index to) const noexcept {
    if (from < m_own.size() && m_own[from]) return *m_own[from];
    if (to < m_own.size() && m_own[to]) return *m_own[to];
    return m_everywhere;
}

COVEY_INLINE duration network::draw_delay(const faults& f) {
    const duration above = f.delay_mean - f.delay_min;
    if (above <= duration::zero()) return f.delay_min;
    const double factor = f.spread == jitter::exponential ? exponential(m_random) : 2 * m_random.uniform();
    return f.delay_min + duration(static_cast<duration::rep>(static_cast<double>(above.count()) * factor));
}

COVEY_INLINE duration network::line_wait(const faults& f, host_index from, std::size_t bytes, time_point now, bool may_drop) {
    if (f.bandwidth == 0) return duration::zero();
    if (from >= m_line_free.size()) m_line_free.resize(from + std::size_t{1}, time_point{});
    time_point& free = m_line_free[from];
    free = std::max(free, now);
    if (free - now > line_wait_max && may_drop) return free - now;  // this one does not take the line
    const double seconds = static_cast<double>(bytes) / static_cast<double>(f.bandwidth);
    free += duration(static_cast<duration::rep>(seconds * 1e9));
    return free - now;
}

COVEY_INLINE duration network::clogged_for(host_index from, host_index to, time_point now) {
    std::erase_if(m_rules, [now](const rule& r) { return r.is_clog && r.until <= now; });
    duration longest{};
    for (const rule& r : m_rules) {
        if (r.is_clog && r.covers(from, to)) longest = std::max(longest, r.until - now);
    }
    return longest;
}

COVEY_INLINE network::fate network::datagram(host_index from, host_index to, std::size_t bytes, time_point now) {
    fate result;
    if (from == to) {
        result.copies = 1;
        result.delay[0] = detail::loopback_delay;
        return result;
    }
    const faults& f = between(from, to);
    // Every draw is made whatever the rules say: a partition then changes what arrives and nothing of the draws after it.
    const bool lost = f.loss > 0 && m_random.chance(f.loss);
    const bool twice = f.duplication > 0 && m_random.chance(f.duplication);
    const duration first = draw_delay(f);
    const duration second = twice ? draw_delay(f) : duration::zero();
    const duration wait = line_wait(f, from, bytes, now, true);
    if (lost || wait > line_wait_max || blocked(from, to)) return result;
    const duration held = wait + (m_rules.empty() ? duration::zero() : clogged_for(from, to, now));
    result.copies = twice ? 2 : 1;
    result.delay = {held + first, held + second};
    return result;
}

COVEY_INLINE std::optional<duration> network::segment(host_index from, host_index to, std::size_t bytes, time_point now) {
    if (from == to) return detail::loopback_delay;
    if (blocked(from, to) || blocked(to, from)) return std::nullopt;
    const faults& f = between(from, to);
    if (f.loss >= 1) return std::nullopt;
    constexpr int retransmissions_max = 16;  // by then a real stream would have been given up or got through
    duration total = draw_delay(f) + line_wait(f, from, bytes, now, false) + clogged_for(from, to, now);
    duration pause = retransmit_first;
    for (int i = 0; i < retransmissions_max && f.loss > 0 && m_random.chance(f.loss); ++i) {
        total += pause;
        pause = std::min(pause * 2, retransmit_max);
    }
    return total;
}

COVEY_INLINE duration network::delay(host_index from, host_index to) {
    return from == to ? detail::loopback_delay : draw_delay(between(from, to));
}

}  // namespace covey::sim
