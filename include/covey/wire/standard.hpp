// The layouts of the standard library's types. Sizes are varints; ranges of numbers are one copy.
#pragma once

#include <covey/core/detail/concat.hpp>
#include <covey/wire/layout.hpp>

#include <array>
#include <chrono>
#include <complex>
#include <deque>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <variant>
#include <vector>

namespace covey::wire {

template <class T>
inline constexpr bool bulk<std::complex<T>> = std::same_as<T, float> || std::same_as<T, double>;

namespace detail {

/// Size, then the elements: vector, deque, list.
template <class C, std::size_t MemoryOfElement, std::size_t MemoryOfContainer = 0>
struct sequence_layout {
    using value_type = typename C::value_type;
    using parts = type_list<value_type>;

    template <class Out>
    static void save(Out& out, const C& c) {
        out.claim(1, MemoryOfContainer);
        out.elements(c, c.size(), MemoryOfElement);
    }
    template <class In>
    static void load(In& in, C& c) {
        in.claim(1, MemoryOfContainer);
        const std::size_t n = in.count(MemoryOfElement);
        c.clear();
        if constexpr (requires { c.reserve(n); }) c.reserve(n);
        for (std::size_t i = 0; i < n; ++i) in(c.emplace_back());
    }
};

/// Size, then the keys, or keys each followed by its value. A key that comes twice where it may stand once is refused.
template <class C, bool Unique>
struct associative_layout {
    using key = typename C::key_type;
    static constexpr bool is_map = requires { typename C::mapped_type; };
    static constexpr std::size_t memory = sizeof(typename C::value_type) + bounds::node_overhead;

    static auto parts_of() {
        if constexpr (is_map) {
            return type_list<key, typename C::mapped_type>{};
        } else {
            return type_list<key>{};
        }
    }
    using parts = decltype(parts_of());

    template <class Out>
    static void save(Out& out, const C& c) {
        out.elements(c, c.size(), memory);
    }
    template <class In>
    static void load(In& in, C& c) {
        const std::size_t n = in.count(memory);
        c.clear();
        if constexpr (requires { c.reserve(n); }) c.reserve(n);
        for (std::size_t i = 0; i < n; ++i) {
            key k{};
            in(k);
            if constexpr (is_map) {
                typename C::mapped_type value{};
                in(value);
                c.emplace_hint(c.end(), std::move(k), std::move(value));
            } else {
                c.emplace_hint(c.end(), std::move(k));
            }
            if (Unique && c.size() != i + 1) throw error(errc::bad_message, "a key of a map or set comes twice");
        }
    }
};

/// Whether there is a value, then the value: optional, unique_ptr.
template <class P, class T, std::size_t Memory>
struct maybe_layout {
    using parts = type_list<T>;

    template <class Out>
    static void save(Out& out, const P& p) {
        const bool there = static_cast<bool>(p);
        out(there);
        if (!there) return;
        out.claim(1, Memory);
        out(*p);
    }
    template <class In>
    static void load(In& in, P& p) {
        bool there = false;
        in(there);
        if (!there) {
            p = P();
            return;
        }
        in.claim(1, Memory);
        if constexpr (requires { p.emplace(); }) {
            p.emplace();
        } else {
            p = P(new T());
        }
        in(*p);
    }
};

/// One zero byte: a value that carries nothing still has a size, so that a container of a million of them has one too.
struct nothing_layout {
    using parts = type_list<>;
    template <class Out>
    static void save(Out& out, const auto&) {
        out.nothing();
    }
    template <class In>
    static void load(In& in, auto&) {
        in.nothing();
    }
};

/// What std::filesystem::path looks like; <filesystem> itself is not worth its compile time here.
template <class T>
concept path_like = std::same_as<typename T::string_type, std::string> && requires(const T& p) {
    { p.native() } -> std::same_as<const std::string&>;
    { p.lexically_normal() } -> std::same_as<T>;
    { p.root_directory() } -> std::same_as<T>;
};

}  // namespace detail

template <class C, class Traits, class A>
struct layout<std::basic_string<C, Traits, A>> {
    using parts = type_list<C>;
    using string = std::basic_string<C, Traits, A>;

    template <class Out>
    static void save(Out& out, const string& s) {
        out.size(s.size());
        out.raw(s.data(), s.size() * sizeof(C));
    }
    template <class In>
    static void load(In& in, string& s) {
        const std::size_t n = in.count_bulk(sizeof(C));
        if constexpr (std::same_as<C, char>) {
            s.assign(as_text(in.raw(n)));
        } else {
            s.resize(n);
            in.raw(s.data(), n * sizeof(C));
        }
    }
};

template <class T, class A>
struct layout<std::vector<T, A>> : detail::sequence_layout<std::vector<T, A>, sizeof(T)> {};

template <class T, class A>
    requires bulk<T>
struct layout<std::vector<T, A>> {
    using parts = type_list<T>;

    template <class Out>
    static void save(Out& out, const std::vector<T, A>& v) {
        out.size(v.size());
        out.raw(v.data(), v.size() * sizeof(T));
    }
    template <class In>
    static void load(In& in, std::vector<T, A>& v) {
        const std::size_t n = in.count_bulk(sizeof(T));
        if constexpr (sizeof(T) == 1) {
            const bytes_view bytes = in.raw(n);  // assigning from bytes needs no zero-fill first
            const T* first = reinterpret_cast<const T*>(bytes.data());
            v.assign(first, first + n);
        } else {
            v.resize(n);
            in.raw(v.data(), n * sizeof(T));
        }
    }
};

/// The number of bits, then the bits, eight to a byte, the first one lowest. Bits beyond the last are zero.
template <class A>
struct layout<std::vector<bool, A>> {
    using parts = type_list<bool>;

    template <class Out>
    static void save(Out& out, const std::vector<bool, A>& v) {
        out.size(v.size());
        for (std::size_t i = 0; i < v.size(); i += 8) {
            std::uint8_t byte = 0;
            for (std::size_t j = i; j < v.size() && j < i + 8; ++j) byte = static_cast<std::uint8_t>(byte | (unsigned{v[j]} << (j - i)));
            out(byte);
        }
    }
    template <class In>
    static void load(In& in, std::vector<bool, A>& v) {
        const std::size_t n = in.count_bits();
        const bytes_view bytes = in.raw(n / 8 + (n % 8 != 0));
        v.assign(n, false);
        for (std::size_t i = 0; i < n; ++i) v[i] = ((static_cast<unsigned>(bytes[i / 8]) >> (i % 8)) & 1) != 0;
        if (n % 8 != 0 && (static_cast<unsigned>(bytes.back()) >> (n % 8)) != 0) {
            throw error(errc::bad_message, "bits set beyond the end of a vector<bool>");
        }
    }
};

template <class T, std::size_t N>
struct layout<std::array<T, N>> {
    using parts = type_list<T>;
    template <class Out>
    static void save(Out& out, const std::array<T, N>& a) {
        out.fixed(a.data(), N);
    }
    template <class In>
    static void load(In& in, std::array<T, N>& a) {
        in.fixed(a.data(), N);
    }
};

// libstdc++ gives even an empty deque a block of 512 bytes and an index of 64.
template <class T, class A>
struct layout<std::deque<T, A>> : detail::sequence_layout<std::deque<T, A>, sizeof(T) + sizeof(void*), 640> {};
template <class T, class A>
struct layout<std::list<T, A>> : detail::sequence_layout<std::list<T, A>, sizeof(T) + bounds::node_overhead> {};

template <class K, class C, class A>
struct layout<std::set<K, C, A>> : detail::associative_layout<std::set<K, C, A>, true> {};
template <class K, class C, class A>
struct layout<std::multiset<K, C, A>> : detail::associative_layout<std::multiset<K, C, A>, false> {};
template <class K, class V, class C, class A>
struct layout<std::map<K, V, C, A>> : detail::associative_layout<std::map<K, V, C, A>, true> {};
template <class K, class V, class C, class A>
struct layout<std::multimap<K, V, C, A>> : detail::associative_layout<std::multimap<K, V, C, A>, false> {};
template <class K, class H, class E, class A>
struct layout<std::unordered_set<K, H, E, A>> : detail::associative_layout<std::unordered_set<K, H, E, A>, true> {};
template <class K, class H, class E, class A>
struct layout<std::unordered_multiset<K, H, E, A>> : detail::associative_layout<std::unordered_multiset<K, H, E, A>, false> {};
template <class K, class V, class H, class E, class A>
struct layout<std::unordered_map<K, V, H, E, A>> : detail::associative_layout<std::unordered_map<K, V, H, E, A>, true> {};
template <class K, class V, class H, class E, class A>
struct layout<std::unordered_multimap<K, V, H, E, A>> : detail::associative_layout<std::unordered_multimap<K, V, H, E, A>, false> {};

template <class T>
struct layout<std::optional<T>> : detail::maybe_layout<std::optional<T>, T, 0> {};

/// A polymorphic object would have to name its class, and bytes from the network must not choose one: refused.
template <class T>
    requires(!std::is_array_v<T> && !std::is_polymorphic_v<T>)
struct layout<std::unique_ptr<T>> : detail::maybe_layout<std::unique_ptr<T>, T, sizeof(T) + 16> {};

template <class A, class B>
struct layout<std::pair<A, B>> {
    using parts = type_list<A, B>;
    template <class Out>
    static void save(Out& out, const std::pair<A, B>& p) {
        out(p.first, p.second);
    }
    template <class In>
    static void load(In& in, std::pair<A, B>& p) {
        in(p.first, p.second);
    }
};

template <class T, class... Ts>
struct layout<std::tuple<T, Ts...>> {
    using parts = type_list<T, Ts...>;
    template <class Out>
    static void save(Out& out, const std::tuple<T, Ts...>& t) {
        std::apply([&out](const auto&... v) { out(v...); }, t);
    }
    template <class In>
    static void load(In& in, std::tuple<T, Ts...>& t) {
        std::apply([&in](auto&... v) { in(v...); }, t);
    }
};
template <>
struct layout<std::tuple<>> : detail::nothing_layout {};
template <>
struct layout<std::monostate> : detail::nothing_layout {};

/// The index, then the alternative.
template <class... Ts>
struct layout<std::variant<Ts...>> {
    using parts = type_list<Ts...>;
    using variant = std::variant<Ts...>;

    template <class Out>
    static void save(Out& out, const variant& v) {
        if (v.valueless_by_exception()) throw error(errc::bad_argument, "a variant that lost its value to an exception cannot be sent");
        out.size(v.index());
        std::visit([&out](const auto& alternative) { out(alternative); }, v);
    }
    template <class In>
    static void load(In& in, variant& v) {
        const std::uint64_t index = in.varint();
        const bool known = [&]<std::size_t... I>(std::index_sequence<I...>) {
            return ((index == I && (in(v.template emplace<I>()), true)) || ...);
        }(std::index_sequence_for<Ts...>());
        if (!known) {
            throw error(errc::bad_message, covey::detail::concat({"alternative ", index, " of a variant that has ", sizeof...(Ts)}));
        }
    }
};

template <class Rep, class Period>
struct layout<std::chrono::duration<Rep, Period>> {
    using parts = type_list<Rep>;
    using duration = std::chrono::duration<Rep, Period>;
    template <class Out>
    static void save(Out& out, const duration& d) {
        out(d.count());
    }
    template <class In>
    static void load(In& in, duration& d) {
        Rep count{};
        in(count);
        d = duration(count);
    }
};

/// Only the wall clock: what a steady clock shows means nothing to another machine.
template <class D>
struct layout<std::chrono::time_point<std::chrono::system_clock, D>> {
    using parts = type_list<D>;
    using time_point = std::chrono::time_point<std::chrono::system_clock, D>;
    template <class Out>
    static void save(Out& out, const time_point& t) {
        out(t.time_since_epoch());
    }
    template <class In>
    static void load(In& in, time_point& t) {
        D since{};
        in(since);
        t = time_point(since);
    }
};

template <class T>
    requires bulk<std::complex<T>>
struct layout<std::complex<T>> {
    using parts = type_list<T>;
    template <class Out>
    static void save(Out& out, const std::complex<T>& c) {
        out.raw(&c, sizeof c);
    }
    template <class In>
    static void load(In& in, std::complex<T>& c) {
        in.raw(&c, sizeof c);
    }
};

template <detail::path_like T>
struct layout<T> {
    using parts = type_list<std::string>;
    template <class Out>
    static void save(Out& out, const T& path) {
        out(path.native());
    }
    template <class In>
    static void load(In& in, T& path) {
        std::string text;
        in(text);
        path = T(std::move(text));
    }
};

}  // namespace covey::wire
