// How functions and lambdas get into the function table: by static initialisation of a template's member, no macro.
#pragma once

#include <covey/call/context.hpp>
#include <covey/call/function_table.hpp>
#include <covey/call/service.hpp>
#include <covey/wire/codec.hpp>
#include <covey/wire/schema.hpp>

#include <array>
#include <bit>
#include <cstring>
#include <optional>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <typeinfo>
#include <utility>

namespace covey {

namespace detail {

template <class R>
struct unwrap_task {
    using type = R;
};
template <class T>
struct unwrap_task<task<T>> {
    using type = T;
};

/// What a call of a function consists of: the parameters that travel, and the result.
template <bool TakesContext, class R, class... Ps>
struct basic_signature {
    static constexpr bool takes_context = TakesContext;
    static constexpr bool is_coroutine = is_task<R>;
    static constexpr std::size_t arity = sizeof...(Ps);
    using result = std::decay_t<typename unwrap_task<R>::type>;
    using values = std::tuple<std::decay_t<Ps>...>;
    using parameters = std::tuple<Ps&&...>;

    static_assert(
        ((!std::is_lvalue_reference_v<Ps> || std::is_const_v<std::remove_reference_t<Ps>>) && ...),
        "covey: a parameter is a non-const reference: what the function writes there would stay on the other peer. Return it instead");
    static_assert((!std::is_pointer_v<std::decay_t<Ps>> && ...),
                  "covey: a parameter is a pointer, which means nothing on another peer: take a std::string, a std::vector or a value");
    static_assert((!std::is_same_v<std::decay_t<Ps>, std::string_view> && ...),
                  "covey: a parameter is a std::string_view, which owns nothing: take a std::string");

    static constexpr bool check() {
        if constexpr (!std::is_void_v<result>) wire::require_serializable<result>();
        (wire::require_serializable<std::decay_t<Ps>>(), ...);
        return true;
    }
    static std::uint64_t schema() { return wire::signature_schema<result, std::decay_t<Ps>...>(); }

    /// Calls with the stored values, moved into parameters by value and bound to const references.
    template <class F>
    static R invoke(F& f, context& ctx, values& stored) {
        return std::apply(
            [&](auto&... each) -> R {
                if constexpr (takes_context) {
                    return f(ctx, static_cast<Ps&&>(each)...);
                } else {
                    return f(static_cast<Ps&&>(each)...);
                }
            },
            stored);
    }
    template <class... Args>
    static constexpr bool converts() {
        if constexpr (sizeof...(Args) == sizeof...(Ps)) {
            return (std::is_convertible_v<Args, std::decay_t<Ps>> && ...);
        } else {
            return false;
        }
    }
    template <class... Args>
    static constexpr bool accepts = converts<Args...>();
};

template <class R, class... Ps>
struct signature : basic_signature<false, R, Ps...> {};
template <class R, class... Ps>
struct signature<R, context&, Ps...> : basic_signature<true, R, Ps...> {};

template <class F>
struct signature_of;
template <class R, class... Ps>
struct signature_of<R (*)(Ps...)> : signature<R, Ps...> {};
template <class R, class... Ps>
struct signature_of<R (*)(Ps...) noexcept> : signature<R, Ps...> {};
template <class L, class R, class... Ps>
struct signature_of<R (L::*)(Ps...) const> : signature<R, Ps...> {};
template <class L, class R, class... Ps>
struct signature_of<R (L::*)(Ps...) const noexcept> : signature<R, Ps...> {};

/// A class whose one call operator has a signature of its own (no template, no overloads).
template <class L>
concept plain_callable = requires { &L::operator(); };

/// For generic lambdas the arguments decide.
template <class L, class... Args>
struct lambda_signature : signature<std::invoke_result_t<const L&, Args...>, Args...> {};
template <plain_callable L, class... Args>
struct lambda_signature<L, Args...> : signature_of<decltype(&L::operator())> {};

/// Runs on the serving peer: decodes while the frame is there, then leaves the reading thread, then runs.
template <class Signature, class F>
task<void> serve_decoded(served_call& call, F f, bytes_view arguments) {
    typename Signature::values values;
    std::apply([&](auto&... each) { wire::decode_into(arguments, each...); }, values);
    co_await call.begin();
    if constexpr (std::is_void_v<typename Signature::result>) {
        if constexpr (Signature::is_coroutine) {
            co_await Signature::invoke(f, call.context(), values);
        } else {
            Signature::invoke(f, call.context(), values);
        }
        call.ran();
        co_await call.room();
        call.reply([](byte_buffer&) {});
    } else {
        std::optional<typename Signature::result> result;
        if constexpr (Signature::is_coroutine) {
            result.emplace(co_await Signature::invoke(f, call.context(), values));
        } else {
            result.emplace(Signature::invoke(f, call.context(), values));
        }
        call.ran();
        co_await call.room();
        call.reply([&result](byte_buffer& out) { wire::encode(out, *result); });
    }
}

}  // namespace detail

/// `template struct covey::expose<f>;` at namespace scope lets other peers call f, also peers of another build, as long as
/// f's name and types agree. f may return T, task<T> or void, and may take a `covey::context&` first. All other parameters
/// are values (or const references to values) of types that can travel.
template <auto F>
    requires std::is_function_v<std::remove_pointer_t<decltype(F)>>
struct expose {
    using signature = detail::signature_of<decltype(F)>;
    static_assert(signature::check());

    static task<void> serve(served_call& call) { return detail::serve_decoded<signature>(call, F, call.arguments()); }

    static inline const function_entry entry{typeid(expose).name(), signature::schema(), 0, true, reinterpret_cast<void (*)()>(F), &serve};
    static inline const function_registration registration{entry};
};

namespace detail {

template <auto F>
struct fn_t {
    static constexpr auto function = F;
};

/// A lambda with the argument types it is called with. Captures travel as their bytes.
template <class L, class... Args>
struct lambda_entry {
    using signature = lambda_signature<L, Args...>;
    static_assert(signature::check());
    static constexpr std::uint32_t closure_bytes = std::is_empty_v<L> ? 0 : sizeof(L);

    static task<void> serve(served_call& call) {
        bytes_view in = call.arguments();
        // A lambda with captures cannot be default-constructed: it is rebuilt from its bytes.
        std::array<std::byte, sizeof(L)> bytes{};
        if constexpr (closure_bytes != 0) {
            byte_reader reader(in);
            std::memcpy(bytes.data(), reader.raw(closure_bytes).data(), closure_bytes);
            in = in.subspan(closure_bytes);
        }
        return serve_decoded<signature>(call, std::bit_cast<L>(bytes), in);
    }

    static inline const function_entry entry{typeid(lambda_entry).name(), signature::schema(), closure_bytes, false, nullptr, &serve};
    static inline const function_registration registration{entry};
};

}  // namespace detail

/// Names a function by itself: `remote(fn<f>, args...)` both exposes and calls it, and picks one of several overloads when
/// cast: `fn<static_cast<int (*)(int)>(f)>`.
template <auto F>
inline constexpr detail::fn_t<F> fn{};

}  // namespace covey
