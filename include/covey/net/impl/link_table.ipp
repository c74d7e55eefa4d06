#pragma once

#include <covey/core/detail/concat.hpp>
#include <covey/net/link_table.hpp>

#include <covey/net/impl/link_table_core.ipp>

#include <algorithm>

namespace covey::net {

// ---- listening

COVEY_INLINE endpoint link_table::core::listen(const endpoint& local) {
    if (!is_encrypted() && !local.is_loopback()) {
        throw error(errc::insecure_bind,
                    covey::detail::concat({to_string(local),
                                           " can be reached from other machines and there is no cluster key; make one with "
                                           "`peerd keygen cluster.key` and set key_file to it on every peer, or listen on 127.0.0.1"}));
    }
    std::unique_ptr<stream_listener> listener = m_env.listen(local, [weak = weak_from_this()](std::unique_ptr<stream_socket> socket) {
        if (const std::shared_ptr<core> self = weak.lock()) self->accept(std::move(socket));
    });
    const endpoint bound = listener->local();
    const std::lock_guard lock(m_mutex);
    if (m_closed) throw error(errc::shut_down, "this peer is shutting down and does not listen any more");
    // A simulated machine calls its own address 127.0.0.1, too; the others need the one that it is bound to.
    if (m_self.address == local) m_self.address = bound;
    if (m_self.address.port == 0) {
        if (m_self.address.is_unspecified()) m_self.address.address = bound.address;
        m_self.address.port = bound.port;
    }
    m_listeners.push_back(std::move(listener));
    return bound;
}

COVEY_INLINE void link_table::core::accept(std::unique_ptr<stream_socket> socket) {
    const endpoint from = socket->remote();
    std::shared_ptr<link> fresh;
    std::shared_ptr<link> oldest;
    {
        const std::lock_guard lock(m_mutex);
        if (m_closed) return;
        ++m_counts.accepted;
        if (link_count() < m_limits.links_max) {
            fresh = make_link(std::move(socket), false, m_config.handshake_timeout);
            m_greeting.push_back(fresh);
            if (m_greeting.size() > m_limits.handshakes_max) {
                oldest = m_greeting.front();
                m_greeting.erase(m_greeting.begin());
            }
        }
    }
    if (!fresh) {
        return reject(errc::overloaded, from,
                      covey::detail::concat({to_string(from), ": there are ", m_limits.links_max, " links already (links_max)"}));
    }
    if (oldest) oldest->abort(errc::overloaded, "too many connections at once; try again");
    fresh->start();
}

/// With the mutex held.
COVEY_INLINE std::shared_ptr<link> link_table::core::make_link(std::unique_ptr<stream_socket> socket, bool ours, duration handshake_timeout,
                                                               link_use use) {
    link_setup setup{.config = m_config, .self = m_self, .expected = {}, .tls = m_tls, .initiated_by_us = ours};
    setup.self.body_bytes_max = m_config.body_bytes_max;
    setup.self.for_membership = use == link_use::membership;
    setup.config.handshake_timeout = handshake_timeout;
    return std::make_shared<link>(m_env, std::move(setup), std::move(socket), shared_from_this());
}

/// Counts a connection that did not become a link, and says so, at a bounded rate. One that the other side closed before it was
/// a link is no news to whoever reads the log: peers that end do so, and whatever tries ports.
COVEY_INLINE void link_table::core::reject(errc why, endpoint from, const std::string& text) {
    const time_point now = m_env.now();
    from.port = 0;  // every attempt comes from another port
    {
        const std::lock_guard lock(m_mutex);
        ++m_rejections[why];
        const auto key = std::pair(why, from);
        const auto known = m_logged.find(key);
        if (known != m_logged.end() && now < known->second) return;
        if (known == m_logged.end() && m_logged.size() >= logged_max) {
            std::erase_if(m_logged, [now](const auto& entry) { return now >= entry.second; });
            if (m_logged.size() >= logged_max) return;
        }
        m_logged[key] = after(now, log_interval);
    }
    m_env.log(why == errc::unreachable ? log_level::debug : log_level::warning,
              covey::detail::concat({"incoming connection dropped: ", text}));
}

// ---- links that exist

/// With the mutex held.
COVEY_INLINE std::shared_ptr<link> link_table::core::preferred(peer_id peer) const {
    const auto all = m_up.find(peer);
    if (all == m_up.end()) return nullptr;
    const bool ours_first = m_self.id < peer;
    const up_link* best = nullptr;
    for (const up_link& candidate : all->second) {
        const link& l = *candidate.l;
        if (!l.is_up() || l.is_for_membership()) continue;
        const bool better =
            best == nullptr || l.remote().epoch > best->l->remote().epoch ||
            (l.remote().epoch == best->l->remote().epoch && l.initiated_by_us() == ours_first && best->l->initiated_by_us() != ours_first);
        if (better) best = &candidate;
    }
    return best != nullptr ? best->l : nullptr;
}

/// With the mutex held: a live link that `connect` may hand out.
COVEY_INLINE std::shared_ptr<link> link_table::core::usable(const target& to, peer_id expected) const {
    const bool only_for_calls = to.second == link_use::calls;
    if (expected && only_for_calls) return preferred(expected);
    for (const auto& [peer, all] : m_up) {
        if (expected && peer != expected) continue;
        const auto any =
            std::find_if(all.begin(), all.end(), [&to](const up_link& u) { return u.l->is_up() && u.l->address() == to.first; });
        if (any == all.end()) continue;
        std::shared_ptr<link> best = preferred(peer);
        return best != nullptr || only_for_calls ? best : any->l;
    }
    return nullptr;
}

COVEY_INLINE void link_table::core::on_link_up(const std::shared_ptr<link>& l) {
    const detail::event_gate::pass pass(m_gate);
    if (!pass) return l->abort(errc::shut_down, "this peer is shutting down");
    std::vector<waiter> waiters;
    std::string where;
    {
        const std::lock_guard lock(m_mutex);
        if (m_closed) return;  // `close` ends it
        std::erase(m_greeting, l);
    }
    // Before anybody can find the link: whoever does may rely on its being known. `close` waits for us before it collects.
    m_user.on_link_up(l);
    {
        const std::lock_guard lock(m_mutex);
        const auto d = dial_of(l);
        if (d != m_dials.end()) {
            where = to_string(d->first.first);
            m_failures.erase(d->first.first);
            waiters = take_waiters(d);
        }
        std::vector<up_link>& all = m_up[l->peer()];
        all.push_back({l, ++m_links_ever, 0, 0});
        if (all.size() > 1 || (l->is_for_membership() && l->initiated_by_us())) arm_timer();
    }
    for (waiter& w : waiters) {
        if (w.expected && w.expected != l->peer()) {
            w.done(nullptr, make_error_code(errc::unreachable),
                   covey::detail::concat({"peer ", to_string(l->peer()), " answers at ", where, ", not peer ", to_string(w.expected),
                                          ", which is gone or has moved"}));
        } else {
            w.done(l, {}, {});
        }
    }
}

COVEY_INLINE void link_table::core::on_frame(link& l, const wire::frame_header& h, bytes_view body) {
    const detail::event_gate::pass pass(m_gate);
    if (pass) m_user.on_frame(l, h, body);
}

COVEY_INLINE void link_table::core::on_link_down(const std::shared_ptr<link>& l, std::error_code why, const std::string& text) {
    const detail::event_gate::pass pass(m_gate);
    if (!pass) return;  // `close` has reported it
    {
        const std::lock_guard lock(m_mutex);
        const auto all = m_up.find(l->peer());
        if (all == m_up.end() || std::erase_if(all->second, [&l](const up_link& u) { return u.l == l; }) == 0) return;
        if (all->second.empty()) m_up.erase(all);
    }
    m_user.on_link_down(l, why, text);
}

COVEY_INLINE void link_table::core::on_link_failed(const std::shared_ptr<link>& l, std::error_code why, const std::string& text) {
    std::optional<target> dialled;
    const errc code = static_cast<errc>(why.value());
    {
        const std::lock_guard lock(m_mutex);
        if (m_closed) return;
        std::erase(m_greeting, l);
        const auto d = dial_of(l);
        if (d != m_dials.end()) dialled = d->first;
        if (dialled) ++m_rejections[code];
    }
    if (dialled) return fail_dial(*dialled, code, text);  // its callers are told, so there is no need for a line in the log
    reject(code, l->address(), text);
}

/// With the mutex held: the dial that made `l`, or end.
COVEY_INLINE std::map<link_table::core::target, link_table::core::dial>::iterator link_table::core::dial_of(
    const std::shared_ptr<link>& l) {
    return std::find_if(m_dials.begin(), m_dials.end(), [&l](const auto& entry) { return entry.second.made == l; });
}

// ---- ending

COVEY_INLINE void link_table::core::drop(peer_id peer, errc why, const std::string& text) {
    std::vector<std::shared_ptr<link>> doomed;
    std::vector<waiter> waiters;
    {
        const std::lock_guard lock(m_mutex);
        if (const auto all = m_up.find(peer); all != m_up.end()) {
            for (const up_link& u : all->second) doomed.push_back(u.l);
        }
        for (auto& [to, d] : m_dials) {
            const auto gone = std::partition(d.waiters.begin(), d.waiters.end(), [peer](const waiter& w) { return w.expected != peer; });
            std::move(gone, d.waiters.end(), std::back_inserter(waiters));
            d.waiters.erase(gone, d.waiters.end());
        }
        m_waiting -= waiters.size();
    }
    for (const std::shared_ptr<link>& l : doomed) l->abort(why, text);
    for (waiter& w : waiters) w.done(nullptr, make_error_code(why), text);
}

COVEY_INLINE void link_table::core::close_all(const std::string& text) {
    std::vector<std::shared_ptr<link>> all;
    {
        const std::lock_guard lock(m_mutex);
        all = every_link();
    }
    for (const std::shared_ptr<link>& l : all) l->close(errc::shut_down, text);
}

/// With the mutex held.
COVEY_INLINE std::vector<std::shared_ptr<link>> link_table::core::every_link() const {
    std::vector<std::shared_ptr<link>> all = m_greeting;
    for (const auto& [to, d] : m_dials) {
        if (d.made) all.push_back(d.made);
    }
    for (const auto& [peer, links] : m_up) {
        for (const up_link& u : links) all.push_back(u.l);
    }
    return all;
}

COVEY_INLINE void link_table::core::close() {
    static constexpr const char* text = "this peer is shutting down";
    std::vector<std::unique_ptr<stream_listener>> listeners;
    {
        const std::lock_guard lock(m_mutex);
        if (std::exchange(m_closed, true)) return;
        listeners.swap(m_listeners);
    }
    listeners.clear();
    m_gate.close();
    std::vector<waiter> waiters;
    std::vector<std::shared_ptr<link>> all;
    std::map<peer_id, std::vector<up_link>> up;
    std::shared_ptr<core> timer_self;
    {
        const std::lock_guard lock(m_mutex);
        all = every_link();
        while (!m_dials.empty()) {
            std::vector<waiter> some = take_waiters(m_dials.begin());
            std::move(some.begin(), some.end(), std::back_inserter(waiters));
        }
        up.swap(m_up);
        m_greeting.clear();
        if (m_timer_self && m_env.cancel(m_timer)) timer_self = std::move(m_timer_self);
    }
    for (const auto& [peer, links] : up) {
        for (const up_link& u : links) m_user.on_link_down(u.l, make_error_code(errc::shut_down), text);
    }
    for (waiter& w : waiters) w.done(nullptr, make_error_code(errc::shut_down), text);
    for (const std::shared_ptr<link>& l : all) l->abort(errc::shut_down, text);
}

// ---- links that are not needed

/// With the mutex held.
COVEY_INLINE void link_table::core::arm_timer() {
    if (m_timer_self || m_closed) return;
    m_timer_self = shared_from_this();
    m_env.arm(m_timer, after(m_env.now(), m_limits.retire_after / 2));
}

/// With the mutex held: the number of the newest of those that this side made and that are up; 0: there is none.
COVEY_INLINE std::uint64_t link_table::core::newest_for_membership() const noexcept {
    std::uint64_t newest = 0;
    for (const auto& [peer, all] : m_up) {
        for (const up_link& u : all) {
            if (u.l->is_up() && u.l->initiated_by_us() && u.l->is_for_membership()) newest = std::max(newest, u.number);
        }
    }
    return newest;
}

/// Closes links that this side made, that the other side does not prefer either, and that carried nothing for two rounds
/// and owe nobody an answer. Those of the membership are needed by nobody, but for the newest: with one link to somebody at least,
/// the end of a process is noticed at once.
COVEY_INLINE void link_table::core::on_timer() noexcept {
    std::shared_ptr<core> self;
    std::vector<std::shared_ptr<link>> unused;
    {
        const std::lock_guard lock(m_mutex);
        self = std::move(m_timer_self);
        const std::uint64_t newest = newest_for_membership();
        bool again = false;
        for (auto& [peer, all] : m_up) {
            const std::shared_ptr<link> best = preferred(peer);
            for (up_link& u : all) {
                if (u.l == best || u.number == newest || !u.l->initiated_by_us() || !u.l->is_up()) continue;
                again = true;
                const link_statistics s = u.l->statistics();
                const bool quiet = s.work_frames == u.work_frames && s.calls_in <= 0 && s.calls_out <= 0 && s.bytes_waiting == 0;
                u.work_frames = s.work_frames;
                u.quiet_rounds = quiet ? u.quiet_rounds + 1 : 0;
                if (u.quiet_rounds >= 2) unused.push_back(u.l);
            }
        }
        if (again) arm_timer();
    }
    // Where there may be no other link, nobody is to wonder whether the process is still there.
    for (const std::shared_ptr<link>& l : unused)
        l->close(l->is_for_membership() ? errc::shut_down : errc::link_lost, "this link is not needed any more");
}

COVEY_INLINE link_table_statistics link_table::core::statistics() const {
    const std::lock_guard lock(m_mutex);
    link_table_statistics s = m_counts;
    for (const auto& [peer, all] : m_up) s.links += all.size();
    s.handshakes = m_greeting.size();
    s.rejections.assign(m_rejections.begin(), m_rejections.end());
    return s;
}

// ---- the handle

COVEY_INLINE link_table::link_table(environment& env, const link_config& config, hello self, const std::optional<cluster_key>& key,
                                    link_events& events, const link_limits& limits) {
    byte_buffer trial;
    self.body_bytes_max = config.body_bytes_max;
    encode(self, trial);  // a mistake in `self` shows here, not at the first connection
    m_core = std::make_shared<core>(env, config, std::move(self), key, events, limits);
}

COVEY_INLINE link_table::~link_table() { close(); }

COVEY_INLINE endpoint link_table::listen(const endpoint& local) { return m_core->listen(local); }
COVEY_INLINE void link_table::connect(const endpoint& to, peer_id expected, duration timeout, connected done, link_use use) {
    m_core->connect(to, expected, timeout, std::move(done), use);
}
COVEY_INLINE std::shared_ptr<link> link_table::find(peer_id peer) const { return m_core->find(peer); }
COVEY_INLINE std::vector<std::shared_ptr<link>> link_table::links() const { return m_core->links(); }
COVEY_INLINE void link_table::heard_of(const endpoint& to) { m_core->heard_of(to); }
COVEY_INLINE void link_table::drop(peer_id peer, errc why, const std::string& text) { m_core->drop(peer, why, text); }
COVEY_INLINE void link_table::set_epoch(epoch_t epoch) { m_core->set_epoch(epoch); }
COVEY_INLINE void link_table::set_keys(std::span<const cluster_key> keys) { m_core->set_keys(keys); }
COVEY_INLINE void link_table::close_all(const std::string& text) { m_core->close_all(text); }
COVEY_INLINE void link_table::close() { m_core->close(); }
COVEY_INLINE link_table_statistics link_table::statistics() const { return m_core->statistics(); }

}  // namespace covey::net
