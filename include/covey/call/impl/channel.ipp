#pragma once

#include <covey/call/build.hpp>
#include <covey/call/detail/channel.hpp>
#include <covey/call/detail/served.hpp>
#include <covey/call/service.hpp>
#include <covey/core/detail/concat.hpp>

#include <algorithm>

namespace covey {

// ---- outgoing_call

COVEY_INLINE bool outgoing_call::start(std::shared_ptr<call_channel> channel, std::coroutine_handle<> waiter, const task_context& context) {
    m_channel = std::move(channel);
    m_waiter = waiter;
    m_context = &context;
    m_trace = m_channel->m_records->span_within(context.trace, m_channel->m_scheduler);
    if (m_channel->m_records->keeps(m_trace)) m_worker = static_cast<std::uint8_t>(detail::thread_number());
    const bool timed = m_deadline != never;
    m_gate.store(timed ? 3 : 2, std::memory_order_relaxed);
    // Armed before the call is queued: from then on a reply can come and wants to cancel them. If they are faster than the
    // queueing, `begin` finds the call done.
    if (timed) context.scheduler->arm(*this, m_deadline);
    if (context.stop.stop_possible()) m_on_stop.emplace(context.stop, on_stop{this});
    m_channel->begin(*this);
    return m_gate.fetch_sub(1, std::memory_order_acq_rel) != 1;
}

COVEY_INLINE void outgoing_call::finish() {
    m_on_stop.reset();
    m_context->enter();
    detail::call_records& records = *m_channel->m_records;
    const bool is_kept = records.keeps(m_trace);
    const bool is_timed = m_times != 0 || is_kept;
    const time_point end = m_answered != never || !is_timed ? m_answered : m_channel->m_scheduler.now();
    const std::size_t how = detail::how_it_ended(m_failure);
    records.counters.made(m_function, {how, end - m_begun, m_times, m_bytes_out, m_bytes_in});
    if (is_kept) {
        records.spans->add({.context = m_trace,
                            .parent = m_context->trace != nullptr ? m_context->trace->span : 0,
                            .function = &m_function,
                            .other = m_channel->m_link.peer(),
                            .begin = m_begun,
                            .end = end,
                            .kind = span_kind::made,
                            .how = static_cast<std::uint8_t>(how),
                            .worker = m_worker});
    }
    m_channel.reset();
    if (m_failure) std::rethrow_exception(m_failure);
}

COVEY_INLINE void outgoing_call::complete() noexcept {
    // A timer that cannot be cancelled is firing elsewhere and arrives by itself.
    const bool timer_gone = m_deadline != never && m_context->scheduler->cancel(*this);
    arrive(timer_gone ? 2 : 1);
}

COVEY_INLINE void outgoing_call::fired(timer& t) noexcept {
    auto& self = static_cast<outgoing_call&>(t);
    if (self.m_channel->claim(self)) {
        try {
            self.throw_timed_out();
        } catch (...) {
            self.fail(std::current_exception());
        }
        self.arrive(2);
    } else {
        self.arrive(1);
    }
}

COVEY_INLINE void outgoing_call::throw_timed_out() const {
    const net::link& link = m_channel->link();
    throw error(errc::timed_out,
                detail::concat({"no reply from ", link.description(), " to ", m_function.readable_name(), " within the deadline"}),
                link.peer());
}

COVEY_INLINE void outgoing_call::on_stop::operator()() const noexcept {
    if (!call->m_channel->claim(*call)) return;
    call->fail(std::make_exception_ptr(stopped{}));
    call->complete();
}

// ---- call_channel: outgoing

COVEY_INLINE call_channel::call_channel(const task_context& context, peer_id self, std::shared_ptr<detail::call_records> records,
                                        scheduler& on, net::link& link, std::uint32_t credit_given)
    : m_context(context),
      m_self(self),
      m_records(std::move(records)),
      m_scheduler(on),
      m_link(link),
      m_same_table(link.remote().table_digest == function_table::instance().digest()),
      m_credit(link.remote().call_credit),
      m_credit_given(std::min(credit_given, detail::served_table::slots_max)) {}

COVEY_INLINE std::shared_ptr<call_channel> call_channel::of(net::link& link) {
    auto* const channel = static_cast<call_channel*>(link.attachment());
    return channel != nullptr ? std::shared_ptr<call_channel>(link.shared_from_this(), channel) : nullptr;
}

COVEY_INLINE void call_channel::begin(outgoing_call& call) {
    std::exception_ptr why;
    std::uint32_t index = 0;
    std::uint32_t generation = 0;
    {
        const std::lock_guard lock(m_mutex);
        if (call.m_phase == outgoing_call::phase::done) return;
        call.m_times = m_timing.next(m_slots.size() - m_free.size() + m_waiting);
        if (m_closed) {
            why = std::make_exception_ptr(error(errc::unreachable, detail::concat({m_link.description(), ": ", m_text}), m_link.peer()));
        } else if (m_first_waiting == nullptr && has_slot() && !m_link.congested()) {
            index = take_slot(call);
            generation = m_slots[index].generation;
        } else if (m_waiting < waiting_max) {
            call.m_phase = outgoing_call::phase::waiting;
            call.m_previous = m_last_waiting;
            (m_last_waiting != nullptr ? m_last_waiting->m_next : m_first_waiting) = &call;
            m_last_waiting = &call;
            ++m_waiting;
        } else {
            why = std::make_exception_ptr(
                error(errc::overloaded, detail::concat({m_waiting, " calls already wait for ", m_link.description()}), m_link.peer()));
        }
        if (why) call.m_phase = outgoing_call::phase::done;
    }
    if (call.m_times != 0 || m_records->keeps(call.m_trace)) call.m_begun = m_scheduler.now();
    if (generation != 0) {
        if (!send_in_slot(call, index, generation)) pump();  // somebody may have come to wait for that slot
    } else if (why) {
        call.fail(std::move(why));
        call.complete();
    } else {
        pump();
    }
}

COVEY_INLINE std::uint32_t call_channel::take_slot(outgoing_call& call) {
    if (m_free.empty()) {
        m_slots.emplace_back();
        m_free.reserve(m_slots.capacity());  // so that release never allocates
        m_free.push_back(static_cast<std::uint32_t>(m_slots.size() - 1));
    }
    const std::uint32_t index = m_free.back();
    m_free.pop_back();
    slot& s = m_slots[index];
    s.taken = true;
    s.call = &call;
    if (++s.generation == 0) ++s.generation;
    call.m_slot = index;
    call.m_phase = outgoing_call::phase::sending;
    return index;
}

COVEY_INLINE bool call_channel::send_in_slot(outgoing_call& call, std::uint32_t index, std::uint32_t generation) {
    if (!send(call, index, generation)) return false;
    sent(call, index, generation);
    return true;
}

COVEY_INLINE void call_channel::unlink(outgoing_call& call) noexcept {
    (call.m_previous != nullptr ? call.m_previous->m_next : m_first_waiting) = call.m_next;
    (call.m_next != nullptr ? call.m_next->m_previous : m_last_waiting) = call.m_previous;
    call.m_next = call.m_previous = nullptr;
    --m_waiting;
}

COVEY_INLINE bool call_channel::claim(outgoing_call& call) {
    std::uint32_t index = 0;
    std::uint32_t generation = 0;
    {
        const std::lock_guard lock(m_mutex);
        const auto before = call.m_phase.exchange(outgoing_call::phase::done, std::memory_order_relaxed);
        if (before == outgoing_call::phase::done) return false;
        if (before == outgoing_call::phase::waiting) unlink(call);
        if (before != outgoing_call::phase::sending && before != outgoing_call::phase::sent) return true;
        // The slot stays taken until the other side has answered.
        m_slots[call.m_slot].call = nullptr;
        index = call.m_slot;
        generation = m_slots[index].generation;
        // A cancel must not overtake its call: whoever is sending that will see that it is not wanted any more.
        if (before == outgoing_call::phase::sending) return true;
    }
    send_cancel(index, generation);
    return true;
}

COVEY_INLINE void call_channel::send_cancel(std::uint32_t index, std::uint32_t generation) noexcept {
    wire::frame_header h;
    h.kind = wire::frame_kind::cancel;
    h.slot = index;
    h.generation = generation;
    try {
        m_link.send(h, bytes_view{});
    } catch (const std::exception&) {
        // The link is gone, and with it the call there.
    }
}

COVEY_INLINE void call_channel::release(std::uint32_t index) noexcept {
    m_slots[index].taken = false;
    m_slots[index].call = nullptr;
    m_free.push_back(index);
}

COVEY_INLINE void call_channel::pump() {
    for (;;) {
        outgoing_call* call = nullptr;
        std::uint32_t index = 0;
        std::uint32_t generation = 0;
        {
            const std::lock_guard lock(m_mutex);
            if (m_closed || m_first_waiting == nullptr || !has_slot()) return;
            if (m_link.congested()) {
                if (std::exchange(m_draining, true)) return;
                m_drain_self = of(m_link);
                if (m_link.wait_writable(m_drain.handle())) return;
                m_draining = false;
                m_drain_self.reset();
            }
            call = m_first_waiting;
            unlink(*call);
            index = take_slot(*call);
            generation = m_slots[index].generation;
            call->m_gate.fetch_add(1, std::memory_order_relaxed);  // we hold it while we encode, whatever becomes of it
        }
        send_in_slot(*call, index, generation);
        call->arrive(1);
    }
}

COVEY_INLINE bool call_channel::send(outgoing_call& call, std::uint32_t index, std::uint32_t generation) {
    wire::frame_header h;
    h.kind = wire::frame_kind::call;
    h.slot = index;
    h.generation = generation;
    if (call.m_deadline != never) {
        // At least 1: 0 means none.
        const auto left = std::chrono::duration_cast<std::chrono::microseconds>(call.m_deadline - m_scheduler.now()).count();
        h.deadline_us = static_cast<std::uint32_t>(std::clamp<std::int64_t>(left, 1, UINT32_MAX));
    }
    if (m_same_table) {
        h.function = call.m_function.index.load(std::memory_order_relaxed);
    } else {
        h.flags = wire::call_by_name;
    }
    if (call.m_trace) h.flags |= wire::call_traced;
    if (call.m_once) h.flags |= wire::call_once;
    try {
        m_link.send(h, [&call, h](byte_buffer& out) {
            const std::size_t before = out.size();
            if (call.m_trace) detail::append(out, call.m_trace);
            if (call.m_once) call.m_once.append_to(out);
            if ((h.flags & wire::call_by_name) != 0) {
                byte_writer writer(out);
                writer.number(fnv1a(call.m_function.name));
                writer.number(call.m_function.schema);
            }
            call.encode(out);
            call.m_bytes_out = wire::frame_header::bytes + out.size() - before;
        });
    } catch (const std::exception& e) {
        std::exception_ptr why = std::current_exception();
        // A link that ends meanwhile has its own reason, but here it counts that the call was not sent.
        if (!m_link.is_up()) why = std::make_exception_ptr(error(errc::unreachable, e.what(), m_link.peer()));
        not_sent(call, index, generation, std::move(why));
        return false;
    } catch (...) {
        not_sent(call, index, generation, std::current_exception());
        return false;
    }
    return true;
}

COVEY_INLINE void call_channel::sent(outgoing_call& call, std::uint32_t index, std::uint32_t generation) {
    auto sending = outgoing_call::phase::sending;
    if (call.m_phase.compare_exchange_strong(sending, outgoing_call::phase::sent, std::memory_order_acq_rel)) return;
    {
        const std::lock_guard lock(m_mutex);
        // Over already: answered, or given up while we were sending it.
        const slot& s = m_slots[index];
        if (m_closed || !s.taken || s.generation != generation || s.call != nullptr) return;
    }
    send_cancel(index, generation);
}

COVEY_INLINE void call_channel::not_sent(outgoing_call& call, std::uint32_t index, std::uint32_t generation, std::exception_ptr why) {
    {
        const std::lock_guard lock(m_mutex);
        // A hostile peer may have answered what it was not asked yet.
        if (m_slots[index].taken && m_slots[index].generation == generation) release(index);
        if (call.m_phase.exchange(outgoing_call::phase::done) == outgoing_call::phase::done) return;
    }
    call.fail(std::move(why));
    call.complete();
}

COVEY_INLINE void call_channel::drain::run(work_item* self) {
    call_channel& channel = static_cast<drain*>(self)->channel;
    std::shared_ptr<call_channel> keep;
    {
        const std::lock_guard lock(channel.m_mutex);
        channel.m_draining = false;
        keep = std::move(channel.m_drain_self);
    }
    keep->pump();
}

COVEY_INLINE void call_channel::on_answer(const wire::frame_header& h, bytes_view body) {
    outgoing_call* call = nullptr;
    bool others_wait = false;
    {
        const std::lock_guard lock(m_mutex);
        if (h.slot >= m_slots.size() || !m_slots[h.slot].taken || m_slots[h.slot].generation != h.generation) {
            throw error(errc::protocol_error, "an answer to a call that was not made");
        }
        call = m_slots[h.slot].call;
        if (call != nullptr) call->m_phase = outgoing_call::phase::done;
        release(h.slot);
        others_wait = m_first_waiting != nullptr;
    }
    if (call != nullptr) {
        call->m_answered = m_link.last_heard();
        call->m_bytes_in = wire::frame_header::bytes + body.size();
        try {
            if (h.kind == wire::frame_kind::failure) {
                // Over there the same deadline ends what the function awaits; that answer and our timer race.
                if (call->m_deadline != never && m_scheduler.now() >= call->m_deadline) call->throw_timed_out();
                rethrow_failure(call->m_function, body);
            }
            call->deliver(body);
        } catch (...) {
            call->fail(std::current_exception());
        }
        call->complete();
    }
    if (others_wait) pump();
}

COVEY_INLINE void call_channel::rethrow_failure(const function_entry& function, bytes_view body) const {
    byte_reader in(body);
    const auto kind = in.number<failure_kind>();
    const auto code = errc_from(in.number<std::uint16_t>(), errc::protocol_error);
    std::string type(in.text(1024));
    std::string text(in.text(64 * 1024));
    if (kind == failure_kind::exception) throw remote_error(std::move(type), std::move(text), m_link.peer());
    if (kind == failure_kind::stopped) {
        throw error(
            errc::peer_lost,
            detail::concat({m_link.description(), " is shutting down and stopped ", function.readable_name(), " before it had a result"}),
            m_link.peer());
    }
    // The other side's text begins with what its code means; so does ours.
    const std::string prefix = detail::concat({make_error_code(code).message(), ": "});
    if (text.starts_with(prefix)) text.erase(0, prefix.size());
    throw error(code, text, m_link.peer());
}

COVEY_INLINE void call_channel::close(errc why, const std::string& text) {
    std::vector<outgoing_call*> sent;
    std::vector<outgoing_call*> waiting;
    {
        const std::lock_guard lock(m_mutex);
        if (m_closed.exchange(true)) return;
        m_why = why;
        m_text = text;
        while (m_first_waiting != nullptr) {
            outgoing_call* const call = m_first_waiting;
            unlink(*call);
            call->m_phase = outgoing_call::phase::done;
            waiting.push_back(call);
        }
        for (slot& s : m_slots) {
            if (s.call == nullptr) continue;
            s.call->m_phase = outgoing_call::phase::done;
            sent.push_back(std::exchange(s.call, nullptr));
        }
    }
    // Without the mutex: what is stopped may be waiting for a call of this very channel.
    const bool may_come_again = why != errc::peer_lost && why != errc::shut_down;
    m_serving.take_all([may_come_again](served_call& call) {
        if (may_come_again) {
            call.lose();
        } else {
            call.stop();
        }
    });
    for (outgoing_call* call : sent) {
        call->fail(std::make_exception_ptr(error(
            why, detail::concat({m_link.description(), ", while it ran ", call->m_function.readable_name(), ": ", text}), m_link.peer())));
        call->complete();
    }
    for (outgoing_call* call : waiting) {
        call->fail(std::make_exception_ptr(error(errc::unreachable, detail::concat({m_link.description(), ": ", text}), m_link.peer())));
        call->complete();
    }
}

// ---- call_channel: incoming

COVEY_INLINE void call_channel::on_call(const wire::frame_header& h, bytes_view body) {
    task_context context = m_context;
    trace_context caller;
    if ((h.flags & wire::call_traced) != 0) {
        caller = detail::take_trace_context(body);
        if (caller) context.trace = &caller;
    }
    const bool is_once = (h.flags & wire::call_once) != 0;
    const detail::once_number number = is_once ? detail::once_number::take(body) : detail::once_number{};
    if (h.deadline_us != 0) context.deadline = after(m_scheduler.now(), std::chrono::microseconds(h.deadline_us));
    const function_entry* function = nullptr;
    std::string refusal;
    errc code = errc::unknown_function;
    if ((h.flags & wire::call_by_name) != 0) {
        byte_reader in(body);
        const auto name = in.number<std::uint64_t>();
        const auto schema = in.number<std::uint64_t>();
        body = body.subspan(16);
        function = function_table::instance().by_name(name);
        if (function == nullptr) {
            refusal = detail::concat({"this program (build ", build_id(),
                                      ") exposes no function of that name; add `template struct covey::expose<...>;` to it"});
        } else if (function->schema != schema) {
            code = errc::build_mismatch;
            refusal = detail::concat({function->readable_name(), " has other parameter or result types in build ", m_link.remote().build_id,
                                      " than in build ", build_id()});
            function = nullptr;
        }
    } else if (!m_same_table) {
        code = errc::build_mismatch;
        refusal =
            detail::concat({"a call by index needs equal function tables; build ", m_link.remote().build_id, " calls build ", build_id()});
    } else {
        function = function_table::instance().at(h.function);
        if (function == nullptr) refusal = detail::concat({"no function has index ", h.function});
    }
    if (function == nullptr) {
        m_records->counters.refused(code);
        send_failure(h.slot, h.generation, failure_kind::library, code, {}, refusal);
        return;
    }
    if (h.slot >= m_credit_given || !m_serving.is_free(h.slot)) {
        throw error(errc::protocol_error,
                    detail::concat({"a call in slot ", h.slot, ", which is ",
                                    (h.slot >= m_credit_given ? detail::concat({"beyond the ", m_credit_given, " granted"}) : "in use")}));
    }
    if (m_closed.load(std::memory_order_relaxed)) return;
    detail::once_table::attempt once;
    if (is_once) {
        once = m_records->once.begin(m_link.peer(), number, m_scheduler.now());
        if (once.entry == nullptr) {
            m_records->counters.refused(once.refusal);
            send_failure(h.slot, h.generation, failure_kind::library, once.refusal, {}, once.why);
            return;
        }
    }
    served_call& call = served_call::make(*this, h, body, context, *function, once);
    m_serving.enter(h.slot, h.generation, call);
    // Either this sees that the channel was closed, or `close` sees the call and stops it.
    if (m_closed) {
        if (served_call* const mine = m_serving.take(h.slot, h.generation)) mine->lose();
    }
    call.serve();
}

COVEY_INLINE void call_channel::on_cancel(const wire::frame_header& h) {
    // It may have been answered meanwhile: then there is nothing to cancel.
    if (served_call* const call = m_serving.take(h.slot, h.generation)) call->stop();
}

COVEY_INLINE void call_channel::append_failure(byte_buffer& out, failure_kind kind, errc code, std::string_view type,
                                               std::string_view text) {
    byte_writer writer(out);
    writer.number(kind);
    writer.number(static_cast<std::uint16_t>(code));
    writer.text(type.substr(0, 1024));
    writer.text(text.substr(0, 64 * 1024));
}

COVEY_INLINE std::size_t call_channel::send_failure(std::uint32_t index, std::uint32_t generation, failure_kind kind, errc code,
                                                    std::string_view type, std::string_view text) noexcept {
    std::size_t bytes = 0;
    wire::frame_header h;
    h.kind = wire::frame_kind::failure;
    h.slot = index;
    h.generation = generation;
    try {
        // A peer that calls and never reads what it gets must not fill our memory.
        if (m_link.congested() && m_link.statistics().bytes_waiting > unread_answers_max) {
            m_link.abort(errc::overloaded, "it does not read the answers to its calls");
            return 0;
        }
        m_link.send(h, [&](byte_buffer& out) {
            const std::size_t before = out.size();
            append_failure(out, kind, code, type, text);
            bytes = wire::frame_header::bytes + out.size() - before;
        });
    } catch (const std::exception&) {
        return 0;  // the link is gone, and nobody waits
    }
    return bytes;
}

}  // namespace covey
