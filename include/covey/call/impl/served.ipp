#pragma once

#include <covey/call/detail/served.hpp>
#include <covey/wire/demangle.hpp>

#include <cxxabi.h>

#include <typeinfo>

namespace covey {

namespace detail {

/// A detached coroutine under a context of its own; destroys itself at its end.
struct serving {
    struct promise_type {
        // Found by the coroutine's parameters: the call brings its context.
        promise_type(const std::shared_ptr<served_call>&, const function_entry&, const task_context& context) noexcept
            : m_context(context) {}
        const task_context& context() const noexcept { return m_context; }
        std::uint32_t inherited_flags() const noexcept { return 0; }
        serving get_return_object() noexcept { return {std::coroutine_handle<promise_type>::from_promise(*this)}; }
        std::suspend_always initial_suspend() const noexcept { return {}; }
        std::suspend_never final_suspend() const noexcept { return {}; }
        void return_void() const noexcept {}
        void unhandled_exception() const noexcept { std::terminate(); }  // everything is caught inside
        const task_context& m_context;
    };
    std::coroutine_handle<promise_type> handle;
};

inline serving serve_call(std::shared_ptr<served_call> call, const function_entry& function, const task_context&) {
    try {
        co_await function.serve(*call);
    } catch (...) {
        call->fail();
    }
}

COVEY_INLINE std::string current_exception_type() {
    const std::type_info* type = abi::__cxa_current_exception_type();
    return type != nullptr ? demangle(type->name()) : "unknown exception";
}

}  // namespace detail

COVEY_INLINE served_call::served_call(std::shared_ptr<call_channel> channel, const wire::frame_header& h, bytes_view arguments,
                                      task_context context, peer_id self)
    : m_channel(std::move(channel)),
      m_slot(h.slot),
      m_generation(h.generation),
      m_arguments(arguments),
      m_task(context),
      m_context(m_channel->link().peer(), self, m_task) {
    m_task.stop = m_stop.get_token();
    m_channel->m_service.serving_changed(1);
}

COVEY_INLINE served_call::~served_call() { m_channel->m_service.serving_changed(-1); }

COVEY_INLINE void served_call::leave() noexcept {
    if (std::exchange(m_left, true)) return;
    std::shared_ptr<served_call> self;  // let go after the lock; the coroutine holds another one
    const std::lock_guard lock(m_channel->m_mutex);
    self = std::move(m_channel->m_serving[m_slot]);
}

COVEY_INLINE void served_call::fail() noexcept {
    leave();
    const auto answer = [this](failure_kind kind, errc code, std::string_view type, std::string_view text) {
        m_channel->send_failure(m_slot, m_generation, kind, code, type, text);
    };
    try {
        throw;
    } catch (const stopped&) {
        answer(failure_kind::stopped, {}, {}, {});
    } catch (const error& e) {
        if (m_stage == stage::running) {
            answer(failure_kind::exception, {}, "covey::error", e.what());
        } else {
            answer(failure_kind::library, static_cast<errc>(e.code().value()), {}, e.what());
        }
    } catch (const std::exception& e) {
        answer(failure_kind::exception, {}, detail::current_exception_type(), e.what());
    } catch (...) {
        answer(failure_kind::exception, {}, detail::current_exception_type(), "(not a std::exception)");
    }
}

COVEY_INLINE void served_call::serve(std::shared_ptr<served_call> call, const function_entry& function) {
    const task_context& context = call->m_task;
    resume_work(detail::serve_call(std::move(call), function, context).handle);
}

}  // namespace covey
