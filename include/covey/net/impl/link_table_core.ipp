// What a link_table is made of. The links hold it, so it lives until the last of them is down.
#pragma once

#include <covey/net/link_table.hpp>

#include <covey/net/detail/event_gate.hpp>

#include <map>
#include <mutex>

namespace covey::net {

class link_table::core final : public link_events, public std::enable_shared_from_this<core> {
public:
    core(environment& env, const link_config& config, hello self, const std::optional<cluster_key>& key, link_events& events,
         const link_limits& limits)
        : m_env(env), m_config(config), m_limits(limits), m_user(events), m_self(std::move(self)) {
        if (key) m_tls = std::make_shared<const tls_context>(*key, m_self.cluster);
    }

    endpoint listen(const endpoint& local);
    void connect(const endpoint& to, peer_id expected, duration timeout, connected done, link_use use);
    std::shared_ptr<link> find(peer_id peer) const {
        const std::lock_guard lock(m_mutex);
        return preferred(peer);
    }
    std::vector<std::shared_ptr<link>> links() const {
        const std::lock_guard lock(m_mutex);
        std::vector<std::shared_ptr<link>> all;
        for (const auto& [peer, of_peer] : m_up) {
            for (const up_link& u : of_peer) all.push_back(u.l);
        }
        return all;
    }
    void heard_of(const endpoint& to) {
        const std::lock_guard lock(m_mutex);
        m_failures.erase(to);
        for (const link_use use : {link_use::calls, link_use::membership}) {
            if (const auto d = m_dials.find({to, use}); d != m_dials.end()) d->second.once_more = true;
        }
    }
    void drop(peer_id peer, errc why, const std::string& text);
    void set_epoch(epoch_t epoch) {
        const std::lock_guard lock(m_mutex);
        m_self.epoch = epoch;
    }
    void set_keys(std::span<const cluster_key> keys) {
        auto fresh = std::make_shared<const tls_context>(keys, m_self.cluster);
        const std::lock_guard lock(m_mutex);
        m_tls.swap(fresh);
    }
    bool is_encrypted() const {
        const std::lock_guard lock(m_mutex);
        return m_tls != nullptr;
    }
    void close_all(const std::string& text);
    void close();
    link_table_statistics statistics() const;

private:
    using target = std::pair<endpoint, link_use>;
    struct waiter {
        peer_id expected;
        connected done;
    };
    struct dial {
        std::vector<waiter> waiters;
        std::shared_ptr<link> made;  // once connected
        duration timeout{};
        time_point until{};      // when the first caller's patience ends
        bool once_more = false;  // if it reaches nobody; see heard_of
        bool repeated = false;
    };
    struct failure {
        time_point until{};
        duration delay{};
        errc why{};
        std::string text;
    };
    struct up_link {
        std::shared_ptr<link> l;
        std::uint64_t number = 0;       // larger is newer
        std::uint64_t work_frames = 0;  // at the last round
        unsigned quiet_rounds = 0;
    };
    struct watch : timer {
        explicit watch(core& c) noexcept : timer(&watch::fired), owner(&c) {}
        static void fired(timer& t) noexcept { static_cast<watch&>(t).owner->on_timer(); }
        core* owner;
    };

    static constexpr std::size_t logged_max = 256;  // (reason, address) pairs remembered; more are counted, not logged
    static constexpr duration log_interval = std::chrono::seconds(60);

    void on_link_up(const std::shared_ptr<link>& l) override;
    void on_frame(link& l, const wire::frame_header& h, bytes_view body) override;
    void on_link_down(const std::shared_ptr<link>& l, std::error_code why, const std::string& text) override;
    void on_link_failed(const std::shared_ptr<link>& l, std::error_code why, const std::string& text) override;

    void accept(std::unique_ptr<stream_socket> socket);
    void start_dial(const target& to, duration timeout);
    void on_connected(const target& to, duration timeout, std::unique_ptr<stream_socket> socket, std::error_code problem);
    void fail_dial(const target& to, errc why, const std::string& text, bool is_hearsay = false);
    void reject(errc why, endpoint from, const std::string& text);
    void on_timer() noexcept;

    // With the mutex held.
    std::shared_ptr<link> make_link(std::unique_ptr<stream_socket> socket, bool ours, duration handshake_timeout,
                                    link_use use = link_use::calls);
    std::vector<waiter> take_waiters(std::map<target, dial>::iterator d);
    void remember_failure(const endpoint& to, errc why, const std::string& text);
    std::shared_ptr<link> preferred(peer_id peer) const;
    std::shared_ptr<link> usable(const target& to, peer_id expected) const;
    std::uint64_t newest_for_membership() const noexcept;
    std::map<target, dial>::iterator dial_of(const std::shared_ptr<link>& l);
    std::vector<std::shared_ptr<link>> every_link() const;
    void arm_timer();
    std::size_t link_count() const noexcept {
        std::size_t n = m_greeting.size() + m_dials.size();
        for (const auto& [peer, all] : m_up) n += all.size();
        return n;
    }

    environment& m_env;
    const link_config m_config;
    const link_limits m_limits;
    link_events& m_user;  // used only inside the gate, and by `close`
    std::shared_ptr<const tls_context> m_tls;
    detail::event_gate m_gate;

    mutable std::mutex m_mutex;
    hello m_self;
    bool m_closed = false;
    std::vector<std::unique_ptr<stream_listener>> m_listeners;
    std::vector<std::shared_ptr<link>> m_greeting;  // accepted, oldest first; at most handshakes_max
    std::map<target, dial> m_dials;                 // at most links_max
    std::size_t m_waiting = 0;                      // in all dials; at most waiting_max
    std::map<endpoint, failure> m_failures;         // at most failures_max
    std::map<peer_id, std::vector<up_link>> m_up;   // at most links_max
    std::uint64_t m_links_ever = 0;
    std::map<errc, std::uint64_t> m_rejections;
    std::map<std::pair<errc, endpoint>, time_point> m_logged;  // when the next line is due; at most logged_max
    link_table_statistics m_counts;
    watch m_timer{*this};
    std::shared_ptr<core> m_timer_self;  // set while the timer is armed
};

}  // namespace covey::net
