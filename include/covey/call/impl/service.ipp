#pragma once

#include <covey/call/detail/served.hpp>
#include <covey/call/service.hpp>
#include <covey/core/detail/concat.hpp>

#include <algorithm>

namespace covey {

COVEY_INLINE call_service::call_service(environment& env, net::link_table& links, task_context context, peer_id self,
                                        std::uint32_t credit_given, view_source view)
    : m_env(env), m_links(links), m_context(context), m_self(self), m_credit_given(credit_given), m_view(std::move(view)) {}

COVEY_INLINE void call_service::on_link_up(const std::shared_ptr<net::link>& link) {
    link->attach(std::make_unique<call_channel>(m_context, m_self, m_records, m_env, *link, m_credit_given));
    const std::lock_guard lock(m_mutex);
    m_channels.push_back(call_channel::of(*link));
}

COVEY_INLINE void call_service::on_frame(net::link& link, const wire::frame_header& h, bytes_view body) {
    auto* const channel = static_cast<call_channel*>(link.attachment());
    if (channel == nullptr) return;
    if (h.kind == wire::frame_kind::call) {
        channel->on_call(h, body);
    } else if (h.kind == wire::frame_kind::cancel) {
        channel->on_cancel(h);
    } else {
        channel->on_answer(h, body);
    }
}

COVEY_INLINE void call_service::on_link_down(const std::shared_ptr<net::link>& link, errc why, const std::string& text) {
    std::shared_ptr<call_channel> channel;
    {
        const std::lock_guard lock(m_mutex);
        const auto at = std::find_if(m_channels.begin(), m_channels.end(), [&](const auto& c) { return &c->link() == link.get(); });
        if (at == m_channels.end()) return;
        channel = std::move(*at);
        m_channels.erase(at);
        // The other side's goodbye: our own end has closed the channels before.
        if (why == errc::shut_down && !is_closed()) why = errc::peer_lost;
    }
    channel->close(why, text);
}

template <class Which>
std::vector<std::shared_ptr<call_channel>> call_service::select(Which which) const {
    std::vector<std::shared_ptr<call_channel>> channels;
    std::copy_if(m_channels.begin(), m_channels.end(), std::back_inserter(channels), [&](const auto& c) { return which(c->link()); });
    return channels;
}

COVEY_INLINE void call_service::on_peer_lost(peer_id peer, const std::string& text) {
    std::vector<std::shared_ptr<call_channel>> lost;
    {
        const std::lock_guard lock(m_mutex);
        lost = select([peer](const net::link& link) { return link.peer() == peer; });
    }
    for (const auto& channel : lost) channel->close(errc::peer_lost, text);
    m_records->once.stop(peer);
}

COVEY_INLINE void call_service::close(const std::string& text) {
    std::vector<std::shared_ptr<call_channel>> all;
    {
        const std::lock_guard lock(m_mutex);
        m_closed.store(true, std::memory_order_release);
        all = select([](const net::link&) { return true; });
    }
    for (const auto& channel : all) channel->close(errc::shut_down, text);
    m_records->once.close();
}

COVEY_INLINE bool call_service::wait_served(duration limit) { return m_records->serving.wait_none(limit); }

COVEY_INLINE void call_service::keep_spans(std::string name, std::size_t spans_max) {
    m_name = std::move(name);
    m_records->spans = std::make_unique<detail::span_log>(spans_max);
}

COVEY_INLINE span_list call_service::spans() const {
    span_list all;
    all.peer = m_self;
    all.name = m_name;
    if (m_records->spans != nullptr) m_records->spans->read(all);
    return all;
}

COVEY_INLINE std::shared_ptr<call_channel> call_service::find(peer_id peer) const {
    const std::shared_ptr<net::link> link = m_links.find(peer);
    return link != nullptr ? call_channel::of(*link) : nullptr;
}

COVEY_INLINE void call_service::connect_awaiter::rethrow() const {
    m_service.m_records->counters.made(m_function, {.how = detail::how_it_ended(m_failure), .took = m_service.m_env.now() - m_begun});
    std::rethrow_exception(m_failure);
}

COVEY_INLINE bool call_service::connect_awaiter::suspend(std::coroutine_handle<> self) {
    if (m_service.is_closed()) {
        m_begun = m_service.m_env.now();
        m_failure = std::make_exception_ptr(error(errc::shut_down, "this peer has left the mesh"));
        return false;
    }
    m_channel = m_service.find(m_peer);
    if (m_channel != nullptr) return false;
    m_begun = m_service.m_env.now();
    const std::shared_ptr<const mesh::view> view = m_service.m_view();
    const member* const target = view->find(m_peer);
    if (target == nullptr) {
        m_failure = std::make_exception_ptr(
            error(errc::unknown_peer, detail::concat({"peer ", to_string(m_peer), " is not a member of this mesh (any more)"}), m_peer));
        return false;
    }
    duration limit = connect_limit;
    if (m_deadline != never) limit = std::clamp<duration>(m_deadline - m_service.m_env.now(), std::chrono::milliseconds(1), connect_limit);
    m_service.m_links.connect(
        target->address(), m_peer, limit, [this, self](std::shared_ptr<net::link> link, std::error_code why, const std::string& text) {
            if (link != nullptr) {
                m_channel = call_channel::of(*link);
                if (m_channel == nullptr) {
                    m_failure = std::make_exception_ptr(
                        error(errc::unreachable, detail::concat({link->description(), ": the link was closed at once"}), m_peer));
                }
            } else {
                m_failure = std::make_exception_ptr(error(static_cast<errc>(why.value()), text, m_peer));
            }
            environment& env = m_service.m_env;
            if (m_gate.fetch_sub(1, std::memory_order_acq_rel) == 1) env.post(self);
        });
    return m_gate.fetch_sub(1, std::memory_order_acq_rel) != 1;
}

COVEY_INLINE std::atomic<int>& call_service::add_load(peer_id peer) {
    const std::lock_guard lock(m_mutex);
    if (m_load.size() >= m_load_most) {
        std::erase_if(m_load, [](const auto& entry) { return entry.second.load(std::memory_order_relaxed) == 0; });
        m_load_most = std::max<std::size_t>(64, 2 * m_load.size());
    }
    std::atomic<int>& count = m_load.try_emplace(peer, 0).first->second;
    count.fetch_add(1, std::memory_order_relaxed);
    return count;
}

COVEY_INLINE peer_id call_service::choose(std::span<const peer_id> failed) {
    const std::shared_ptr<const mesh::view> view = m_view();
    const std::uint64_t table = function_table::instance().digest();
    const member* best = nullptr;
    double best_load = 0;
    std::uint64_t ties = 0;
    const std::lock_guard lock(m_mutex);
    for (const bool avoid_doubtful : {true, false}) {
        for (const member& m : view->members) {
            if (m.table_digest() != table || m.role() == member_role::observer) continue;
            const bool is_doubtful =
                m.state() == member_state::suspect || m.is_flaky() || std::find(failed.begin(), failed.end(), m.id()) != failed.end();
            if (avoid_doubtful && is_doubtful) continue;
            const auto at = m_load.find(m.id());
            const double load =
                (1.0 + (at != m_load.end() ? at->second.load(std::memory_order_relaxed) : 0)) / std::max<int>(m.threads(), 1);
            if (best == nullptr || load < best_load) {
                best = &m;
                best_load = load;
                ties = 1;
            } else if (load == best_load && m_env.random() % ++ties == 0) {
                best = &m;  // each of the equals with the same chance
            }
        }
        if (best != nullptr) break;
    }
    return best != nullptr ? best->id() : m_self;
}

COVEY_INLINE std::size_t call_service::threads_in_reach() const {
    const std::uint64_t table = function_table::instance().digest();
    std::size_t threads = 0;
    for (const member& m : m_view()->members) {
        if (m.table_digest() == table && m.role() != member_role::observer) threads += m.threads();
    }
    return std::max<std::size_t>(threads, 1);
}

}  // namespace covey
