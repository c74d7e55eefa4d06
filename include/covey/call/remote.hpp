// remote(f, args...): runs a function on a peer and awaits its result.
#pragma once

#include <covey/call/detail/local_call.hpp>
#include <covey/call/detail/outgoing.hpp>
#include <covey/call/expose.hpp>
#include <covey/call/options.hpp>
#include <covey/call/service.hpp>
#include <covey/task/schedule.hpp>
#include <covey/task/timeout.hpp>
#include <covey/wire/demangle.hpp>

#include <algorithm>
#include <optional>
#include <tuple>
#include <type_traits>
#include <vector>

namespace covey {

namespace detail {

/// A call over a channel, typed.
template <class Signature, class F>
class remote_awaiter final : outgoing_call {
public:
    using result = typename Signature::result;

    remote_awaiter(std::shared_ptr<call_channel> channel, const function_entry& entry, const F& f,
                   const typename Signature::values& arguments, time_point deadline, once_number once) noexcept
        : outgoing_call(entry, deadline, once), m_channel_to_use(std::move(channel)), m_entry(entry), m_f(f), m_arguments(arguments) {}

    bool await_ready() const noexcept { return false; }
    template <class Promise>
    COVEY_NOINLINE bool await_suspend(std::coroutine_handle<Promise> self) {
        return start(std::move(m_channel_to_use), self, context_of(self));
    }
    result await_resume() {
        finish();
        if constexpr (!std::is_void_v<result>) return std::move(*m_result);
    }

private:
    void encode(byte_buffer& out) const override {
        if (m_entry.closure_bytes != 0) out.append(&m_f, sizeof m_f);
        std::apply([&out](const auto&... each) { wire::encode(out, each...); }, m_arguments);
    }
    void deliver(bytes_view body) override {
        if constexpr (std::is_void_v<result>) {
            wire::decode_into(body);
        } else {
            m_result.emplace();
            wire::decode_into(body, *m_result);
        }
    }

    std::shared_ptr<call_channel> m_channel_to_use;
    const function_entry& m_entry;
    const F& m_f;
    const typename Signature::values& m_arguments;
    std::optional<value_or_monostate<result>> m_result;
};

/// The demangled type of the exception being handled.
std::string current_exception_type();

/// A call to this very peer: nothing is serialised, but errors look as they would from another peer.
template <class Signature, class F>
task<typename Signature::result> run_here(call_service& service, const function_entry& entry, F f,
                                          const typename Signature::values& arguments, bool arguments_again) {
    const task_context& caller = co_await get_context();
    local_call call(service, entry, caller);
    co_await schedule_awaiter{.m_give_way = false};
    context ctx(service.self(), service.self(), call.task());
    std::exception_ptr failure;
    std::string type;
    std::string text;
    try {
        // A retry needs the arguments once more, and a const reference leaves them as they are.
        typename Signature::values values = arguments_again ? arguments : std::move(const_cast<typename Signature::values&>(arguments));
        if constexpr (Signature::is_coroutine) {
            auto running = Signature::invoke(f, ctx, values);
            co_return co_await with_context(running, call.task());
        } else {
            co_return Signature::invoke(f, ctx, values);
        }
    } catch (const stopped&) {
        call.ended(call_counts::stopped);
        throw;
    } catch (const std::exception& e) {
        type = current_exception_type();
        text = e.what();
    } catch (...) {
        type = current_exception_type();
        text = "(not a std::exception)";
    }
    call.ended(call_counts::exception);
    throw remote_error(type, text, service.self());
}

inline bool is_retryable(const error& e) noexcept {
    return e.code() == errc::unreachable || e.code() == errc::peer_lost || e.code() == errc::link_lost || e.code() == errc::overloaded ||
           e.code() == errc::unknown_peer;
}

[[noreturn]] void throw_build_mismatch(const function_entry& entry, const net::link& link);
[[noreturn]] void throw_not_exposed(const char* mangled_type);
[[noreturn]] void throw_outside_peer();

/// Pause before the n-th further attempt: 10 ms, doubled each time, at most 1 s, jittered to between half and the whole.
duration retry_pause(int attempt, std::uint64_t random) noexcept;

/// One attempt on one peer.
template <class Signature, class F>
task<typename Signature::result> attempt(call_service& service, peer_id target, const function_entry& entry, const F& f,
                                         const typename Signature::values& arguments, time_point deadline, bool arguments_again,
                                         once_number once) {
    const call_service::load_mark mark(service, target);
    if (target == service.self()) {
        task<typename Signature::result> here = run_here<Signature>(service, entry, f, arguments, arguments_again);
        if (deadline == never) co_return co_await std::move(here);
        co_return co_await timeout(std::move(here), deadline - service.env().now());
    }
    std::shared_ptr<call_channel> channel = co_await service.connect(target, deadline, entry);
    if (!entry.named && !channel->same_table()) throw_build_mismatch(entry, channel->link());
    co_return co_await remote_awaiter<Signature, F>(std::move(channel), entry, f, arguments, deadline, once);
}

template <class Signature, class F>
task<typename Signature::result> remote_call(call_options options, const function_entry& entry, F f, typename Signature::values arguments) {
    const task_context& context = co_await get_context();
    if (context.peer == nullptr) throw_outside_peer();
    call_service& service = service_of<call_service>(*context.peer);
    time_point deadline = context.deadline;
    if (options.deadline > duration::zero()) deadline = std::min(deadline, after(service.env().now(), options.deadline));
    std::vector<peer_id> failed;
    int retries = options.retries;
    int elsewhere = options.target ? 0 : 3;  // tries left for a call that surely did not run
    std::optional<once_numbers::ticket> once;
    peer_id only{};  // where it may have run already, if it must not run twice
    for (int n = 1;; ++n) {
        const peer_id target = options.target ? options.target : only ? only : service.choose(failed);
        if (options.at_most_once && (!once || once->target() != target)) once.emplace(service.numbers(), target, service.env().now());
        const once_number number = once ? once->number() : once_number{};
        std::exception_ptr failure;
        try {
            co_return co_await attempt<Signature>(service, target, entry, f, arguments, deadline, retries > 0 || elsewhere > 0, number);
        } catch (const error& e) {
            if (!is_retryable(e)) throw;
            if (once && (e.code() == errc::link_lost || e.code() == errc::peer_lost)) {
                only = target;
                elsewhere = 0;
            }
            if ((e.code() == errc::unreachable || e.code() == errc::unknown_peer) && elsewhere > 0) {
                --elsewhere;
            } else if (retries-- <= 0) {
                throw;
            }
            failure = std::current_exception();
        }
        failed.push_back(target);
        const duration pause = retry_pause(n, service.env().random());
        if (deadline != never && service.env().now() + pause >= deadline) std::rethrow_exception(failure);
        if (once && service.env().now() + pause >= once->since() + once_table::again_max) std::rethrow_exception(failure);
        co_await schedule_after(pause);
    }
}

/// The entry and the callable of what the user named.
template <auto F>
const function_entry& entry_of(fn_t<F>) {
    static_cast<void>(&expose<F>::registration);
    return expose<F>::entry;
}
template <class R, class... Ps>
const function_entry& entry_of(R (*f)(Ps...)) {
    const function_entry* entry = function_table::instance().by_address(reinterpret_cast<void (*)()>(f));
    if (entry == nullptr) throw_not_exposed(typeid(R(Ps...)).name());
    return *entry;
}

template <class L>
constexpr bool check_lambda() {
    static_assert(
        std::is_empty_v<L> || (std::is_trivially_copyable_v<L> && std::is_standard_layout_v<L>),
        "covey: this lambda captures something that cannot travel as bytes (a reference, a string, a container): pass it as an argument");
    return true;
}

/// How to call F with Args: entry, signature, and what is kept in the frame.
template <class F, class... Args>
struct call_target;

template <auto G, class... Args>
struct call_target<fn_t<G>, Args...> {
    using signature = signature_of<decltype(G)>;
    using kept = decltype(G);
    static const function_entry& entry(fn_t<G> f) { return entry_of(f); }
    static kept keep(fn_t<G>) noexcept { return G; }
};
template <class R, class... Ps, class... Args>
struct call_target<R (*)(Ps...), Args...> {
    using signature = detail::signature_of<R (*)(Ps...)>;
    using kept = R (*)(Ps...);
    static_assert(signature::check());
    static const function_entry& entry(kept f) { return entry_of(f); }
    static kept keep(kept f) noexcept { return f; }
};
template <class R, class... Ps, class... Args>
struct call_target<R (*)(Ps...) noexcept, Args...> : call_target<R (*)(Ps...), Args...> {};
template <class L, class... Args>
    requires std::is_class_v<L>
struct call_target<L, Args...> {
    static_assert(check_lambda<L>());
    using signature = lambda_signature<L, std::decay_t<Args>...>;
    using kept = L;
    static const function_entry& entry(const L&) {
        static_cast<void>(&lambda_entry<L, std::decay_t<Args>...>::registration);
        return lambda_entry<L, std::decay_t<Args>...>::entry;
    }
    static const L& keep(const L& f) noexcept { return f; }
};

template <class F, class... Args>
auto start_remote(call_options options, const F& f, Args&&... args) {
    using target = call_target<F, Args...>;
    using signature = typename target::signature;
    static_assert(signature::arity == sizeof...(Args),
                  "covey: remote() is called with another number of arguments than the function takes");
    static_assert(signature::template accepts<Args&&...>,
                  "covey: an argument of remote() does not convert to the parameter type of the function");
    return remote_call<signature, typename target::kept>(options, target::entry(f), target::keep(f),
                                                         typename signature::values(std::forward<Args>(args)...));
}

template <class F>
concept remote_callable = !std::is_same_v<std::remove_cvref_t<F>, call_options>;

}  // namespace detail

/// The type that `remote(f, args...)` gives, without the task around it.
template <class F, class... Args>
using remote_result = typename detail::call_target<std::decay_t<F>, Args...>::signature::result;

/// `int n = co_await remote(f, args...)`: runs f on a peer that the library chooses, perhaps this one, and awaits its
/// result. f is an exposed function, `fn<f>`, or a lambda that captures nothing or plain values. Arguments are converted to
/// the parameter types here and travel by value.
/// Throws remote_error for what f throws, and `error`: see call/README.md. Asking the awaiting coroutine to stop cancels the
/// call and the function's stop token fires. Runs on the peer of the awaiting coroutine; elsewhere use `self.remote`.
template <class F, class... Args>
    requires detail::remote_callable<F>
auto remote(F&& f, Args&&... args) {
    return detail::start_remote<std::decay_t<F>>(call_options{}, f, std::forward<Args>(args)...);
}

/// With options: `remote({.deadline = 2s}, f, args...)`, `remote(on(id), f, args...)`.
template <class F, class... Args>
    requires detail::remote_callable<F>
auto remote(call_options options, F&& f, Args&&... args) {
    return detail::start_remote<std::decay_t<F>>(options, f, std::forward<Args>(args)...);
}

}  // namespace covey

#ifndef COVEY_COMPILED
#include <covey/call/impl/remote.ipp>
#endif
