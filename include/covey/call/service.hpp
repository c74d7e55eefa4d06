// The calls of one peer: a channel for each link, and the choice of where a call runs.
#pragma once

#include <covey/call/detail/channel.hpp>
#include <covey/call/detail/served.hpp>
#include <covey/core/function.hpp>
#include <covey/mesh/view.hpp>
#include <covey/net/link_table.hpp>

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <span>

namespace covey {

/// A service of a peer that `task_context::peer` names. Specialised where the peer is defined (peer.hpp), for the rooms do
/// not know that class.
template <class Service>
Service& service_of(peer& self) noexcept;
class call_service;
template <>
call_service& service_of<call_service>(peer& self) noexcept;

/// Thread-safe. Owned by the peer; outlives its links.
class call_service {
public:
    using view_source = unique_function<std::shared_ptr<const mesh::view>()>;

    /// `context`: what served functions run under (scheduler, peer). `view`: the members at the moment.
    call_service(environment& env, net::link_table& links, task_context context, peer_id self, std::uint32_t credit_given,
                 view_source view);

    peer_id self() const noexcept { return m_self; }
    const task_context& root_context() const noexcept { return m_context; }
    environment& env() noexcept { return m_env; }

    // From the link table.
    void on_link_up(const std::shared_ptr<net::link>& link);
    void on_frame(net::link& link, const wire::frame_header& h, bytes_view body);
    void on_link_down(const std::shared_ptr<net::link>& link, errc why, const std::string& text);

    /// Fails what is in flight to a peer that the membership has given up, with errc::peer_lost, without waiting for its links.
    void on_peer_lost(peer_id peer, const std::string& text);
    /// No calls are made or taken any more.
    void close(const std::string& text);
    bool is_closed() const noexcept { return m_closed.load(std::memory_order_acquire); }
    /// Calls being served, whether they compute or wait.
    std::size_t serving() const noexcept { return m_records->serving.now(); }
    /// Blocks until no call is being served; false: some were after `limit`. Not for workers.
    bool wait_served(duration limit);
    /// For calls that must not run twice.
    detail::once_numbers& numbers() noexcept { return m_numbers; }
    detail::call_records& records() noexcept { return *m_records; }
    /// From now on the first so many spans are kept; `name`: of this peer. Call it before there are links, or never.
    void keep_spans(std::string name, std::size_t spans_max);
    /// Empty if none are kept.
    span_list spans() const;

    /// `co_await connect(peer)`: the channel to a member, over a link that is made if there is none. Throws
    /// errc::unknown_peer, errc::unreachable, ...; takes at most `connect_limit` or until the deadline. A failure counts as one
    /// of a call of `function`.
    class connect_awaiter;
    connect_awaiter connect(peer_id peer, time_point deadline, const function_entry& function);
    static constexpr duration connect_limit = std::chrono::seconds(3);

    /// Counts a call as running on a peer while it exists.
    class load_mark {
    public:
        load_mark(call_service& s, peer_id peer) : m_count(s.add_load(peer)) {}
        load_mark(const load_mark&) = delete;
        load_mark& operator=(const load_mark&) = delete;
        ~load_mark() { m_count.fetch_sub(1, std::memory_order_relaxed); }

    private:
        std::atomic<int>& m_count;
    };

    /// Where a call without a target runs: of the members with the same function table, this peer included, the one with the
    /// fewest of our calls per thread; ties by chance. Avoids `failed`, and those that are suspect or flaky, while there is another.
    peer_id choose(std::span<const peer_id> failed);
    /// Threads of all members that `choose` would consider.
    std::size_t threads_in_reach() const;

private:
    template <class Which>
    std::vector<std::shared_ptr<call_channel>> select(Which which) const;  // with the mutex held; oldest first
    std::shared_ptr<call_channel> find(peer_id peer) const;
    /// The count of our calls to a peer, one higher; it stays where it is until it is zero.
    std::atomic<int>& add_load(peer_id peer);

    environment& m_env;
    net::link_table& m_links;
    const task_context m_context;
    const peer_id m_self;
    const std::uint32_t m_credit_given;
    const view_source m_view;
    std::string m_name;
    detail::once_numbers m_numbers;

    const std::shared_ptr<detail::call_records> m_records = std::make_shared<detail::call_records>();

    mutable std::mutex m_mutex;
    std::atomic<bool> m_closed{false};                      // written with the mutex held
    std::vector<std::shared_ptr<call_channel>> m_channels;  // oldest first; bounded by the link table's links_max
    std::map<peer_id, std::atomic<int>> m_load;             // bounded by calls in flight, or some more whose count is zero
    std::size_t m_load_most = 64;                           // at so many entries those at zero are thrown away
};

class call_service::connect_awaiter {
public:
    connect_awaiter(call_service& service, peer_id peer, time_point deadline, const function_entry& function) noexcept
        : m_service(service), m_peer(peer), m_deadline(deadline), m_function(function) {}

    bool await_ready() const noexcept { return false; }
    template <class Promise>
    COVEY_NOINLINE bool await_suspend(std::coroutine_handle<Promise> self) {
        m_context = &detail::context_of(self);
        return suspend(self);
    }
    std::shared_ptr<call_channel> await_resume() {
        m_context->enter();
        if (m_failure) rethrow();
        return std::move(m_channel);
    }

private:
    bool suspend(std::coroutine_handle<> self);
    [[noreturn]] void rethrow() const;

    call_service& m_service;
    const peer_id m_peer;
    const time_point m_deadline;
    const function_entry& m_function;
    time_point m_begun{};
    const task_context* m_context = nullptr;
    std::shared_ptr<call_channel> m_channel;
    std::exception_ptr m_failure;
    std::atomic<int> m_gate{2};
};

inline call_service::connect_awaiter call_service::connect(peer_id peer, time_point deadline, const function_entry& function) {
    return connect_awaiter(*this, peer, deadline, function);
}

}  // namespace covey

#ifndef COVEY_COMPILED
#include <covey/call/impl/channel.ipp>
#include <covey/call/impl/served.ipp>
#include <covey/call/impl/service.ipp>
#endif
