// The dialling part of a link_table: one dial an endpoint, shared by all who want it, with backoff.
#pragma once

#include <covey/core/detail/concat.hpp>
#include <covey/net/link_table.hpp>

#include <covey/core/random.hpp>
#include <covey/net/impl/link.ipp>
#include <covey/net/impl/link_table_core.ipp>

#include <algorithm>

namespace covey::net {

namespace detail {

/// Asio's category for system errors is not the standard's and does not compare with std::errc, but the numbers are the same.
inline bool means(const std::error_code& code, std::errc what) noexcept { return code == what || code.value() == static_cast<int>(what); }

}  // namespace detail

COVEY_INLINE void link_table::core::connect(const endpoint& where, peer_id expected, duration timeout, connected done, link_use use) {
    const target to(where, use);
    std::shared_ptr<link> live;
    errc why{};
    std::string text;
    const time_point now = m_env.now();
    {
        const std::lock_guard lock(m_mutex);
        const auto dial_under_way = m_dials.find(to);
        const auto failed = m_failures.find(where);
        const auto refuse = [&](errc code, std::string words) {
            why = code;
            text = std::move(words);
        };
        if (m_closed) {
            refuse(errc::shut_down, covey::detail::concat({"not connecting to ", to_string(where), ": this peer is shutting down"}));
        } else if ((live = usable(to, expected)) != nullptr) {
            // found
        } else if (m_waiting >= m_limits.waiting_max) {
            refuse(errc::overloaded,
                   covey::detail::concat({"not connecting to ", to_string(where), ": ", m_waiting, " callers wait already (waiting_max)"}));
        } else if (dial_under_way != m_dials.end()) {
            dial_under_way->second.waiters.push_back({expected, std::move(done)});
            ++m_waiting;
            return;
        } else if (failed != m_failures.end() && now < failed->second.until) {
            refuse(failed->second.why, failed->second.text);
        } else if (link_count() >= m_limits.links_max) {
            refuse(errc::overloaded, covey::detail::concat({"not connecting to ", to_string(where), ": there are ", m_limits.links_max,
                                                            " links already (links_max)"}));
        } else {
            dial& d = m_dials[to];
            d.timeout = timeout;
            d.until = after(now, timeout);
            d.waiters.push_back({expected, std::move(done)});
            ++m_waiting;
            ++m_counts.dials;
        }
    }
    if (live) return done(std::move(live), {}, {});
    if (why != errc{}) return done(nullptr, make_error_code(why), std::move(text));
    start_dial(to, timeout);
}

COVEY_INLINE void link_table::core::start_dial(const target& to, duration timeout) {
    try {
        m_env.connect(to.first, timeout,
                      [weak = weak_from_this(), to, timeout](std::unique_ptr<stream_socket> socket, std::error_code problem) {
                          if (const std::shared_ptr<core> self = weak.lock()) self->on_connected(to, timeout, std::move(socket), problem);
                      });
    } catch (const error& e) {
        fail_dial(to, errc::unreachable, covey::detail::concat({"connecting to ", to_string(to.first), ": ", e.what()}));
    }
}

COVEY_INLINE void link_table::core::on_connected(const target& to, duration timeout, std::unique_ptr<stream_socket> socket,
                                                 std::error_code problem) {
    if (problem || !socket) {
        const std::string where = to_string(to.first);
        if (detail::means(problem, std::errc::connection_refused)) {
            return fail_dial(
                to, errc::unreachable,
                covey::detail::concat({"connection refused: nothing listens on ", where, "; is the peer running, and is that its port?"}));
        }
        if (detail::means(problem, std::errc::timed_out)) {
            return fail_dial(to, errc::unreachable,
                             covey::detail::concat({"no answer from ", where, " within ", detail::milliseconds(timeout),
                                                    "; is the machine up, and does no firewall stand between?"}));
        }
        return fail_dial(to, errc::unreachable,
                         covey::detail::concat({"connecting to ", where, ": ", problem.message(), "; check the address and the network"}),
                         detail::means(problem, std::errc::host_unreachable));
    }
    std::shared_ptr<link> fresh;
    {
        const std::lock_guard lock(m_mutex);
        const auto d = m_dials.find(to);
        if (m_closed || d == m_dials.end()) return;
        const duration left = std::max<duration>(d->second.until - m_env.now(), std::chrono::milliseconds(1));
        fresh = make_link(std::move(socket), true, std::min(left, m_config.handshake_timeout), to.second);
        d->second.made = fresh;
    }
    fresh->start();
}

/// `is_hearsay`: the kernel says so, perhaps by a search for the host's Ethernet address that began before a cut was mended.
COVEY_INLINE void link_table::core::fail_dial(const target& to, errc why, const std::string& text, bool is_hearsay) {
    const detail::event_gate::pass pass(m_gate);
    if (!pass) return;  // `close` answers those who wait
    std::vector<waiter> waiters;
    duration again{};
    {
        const std::lock_guard lock(m_mutex);
        const auto d = m_dials.find(to);
        if (d == m_dials.end()) return;
        ++m_counts.dial_failures;
        if (why == errc::unreachable && (d->second.once_more || (is_hearsay && !d->second.repeated))) {
            again = d->second.timeout;
            d->second.once_more = false;
            d->second.repeated = true;
            d->second.made = nullptr;
            d->second.until = after(m_env.now(), again);
            ++m_counts.dials;
        } else {
            waiters = take_waiters(d);
            remember_failure(to.first, why, text);
        }
    }
    if (again != duration{}) return start_dial(to, again);
    for (waiter& w : waiters) w.done(nullptr, make_error_code(why), text);
}

/// With the mutex held: ends a dial.
COVEY_INLINE std::vector<link_table::core::waiter> link_table::core::take_waiters(std::map<target, dial>::iterator d) {
    std::vector<waiter> waiters = std::move(d->second.waiters);
    m_waiting -= waiters.size();
    m_dials.erase(d);
    return waiters;
}

/// With the mutex held. Exponential backoff with jitter, so that peers that lost the same one do not return in step.
COVEY_INLINE void link_table::core::remember_failure(const endpoint& to, errc why, const std::string& text) {
    const time_point now = m_env.now();
    auto known = m_failures.find(to);
    if (known == m_failures.end() && m_failures.size() >= std::max<std::size_t>(m_limits.failures_max, 1)) {
        m_failures.erase(std::min_element(m_failures.begin(), m_failures.end(),
                                          [](const auto& a, const auto& b) { return a.second.until < b.second.until; }));
    }
    failure& f = m_failures[to];
    const bool in_a_row = known != m_failures.end() && now < after(f.until, 4 * m_limits.backoff_max);
    f.delay = in_a_row ? std::min(2 * f.delay, m_limits.backoff_max) : m_limits.backoff_min;
    const auto half = static_cast<std::uint64_t>(f.delay.count() / 2);
    random_source jitter(m_env.random());
    f.until = after(now, duration(static_cast<duration::rep>(half + jitter.below(half + 1))));
    f.why = why;
    f.text = text;
}

}  // namespace covey::net
