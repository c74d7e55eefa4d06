// The archives: cereal archives with a compact format and a decode that hostile bytes cannot make expensive.
#pragma once

#include <covey/core/detail/concat.hpp>
#include <covey/wire/aggregate.hpp>
#include <covey/wire/layout.hpp>
#include <covey/wire/standard.hpp>

#include <cereal/cereal.hpp>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace covey::wire {

class output_archive;
class input_archive;

namespace detail {

template <class T, template <class...> class Of>
inline constexpr bool is_a = false;
template <template <class...> class Of, class... Ts>
inline constexpr bool is_a<Of<Ts...>, Of> = true;

template <class T>
inline constexpr bool never = false;

/// A class that user code gave cereal functions for: at least one way to save it or to load it.
template <class T>
inline constexpr bool mentions_cereal = cereal::traits::detail::count_output_serializers<T, output_archive>::value != 0 ||
                                        cereal::traits::detail::count_input_serializers<T, input_archive>::value != 0;
template <class T>
inline constexpr bool has_cereal =
    cereal::traits::is_output_serializable<T, output_archive>::value && cereal::traits::is_input_serializable<T, input_archive>::value;

template <class T>
inline constexpr bool is_base_wrapper = is_a<T, cereal::base_class> || is_a<T, cereal::virtual_base_class>;

/// std::shared_ptr is refused whatever headers are included: cereal's format lets the sender say that two pointers of
/// different types share one object, and believes it.
template <class T>
consteval void refuse_what_cannot_travel() {
    static_assert(!std::is_pointer_v<T> && !std::is_member_pointer_v<T> && !std::is_null_pointer_v<T>,
                  "covey: a raw pointer means nothing to another peer: send the value it points to");
    static_assert(!is_a<T, std::shared_ptr> && !is_a<T, std::weak_ptr>,
                  "covey: a shared_ptr cannot be sent: sharing ends at the edge of a process; send the value, or use unique_ptr");
    static_assert(!is_a<T, std::unique_ptr> || has_layout<T>,
                  "covey: only a unique_ptr to one object of a class without virtual functions can be sent (with the default deleter)");
    static_assert(!is_a<T, std::basic_string_view>, "covey: a string_view does not own its characters: use std::string");
    static_assert(!std::is_enum_v<T> || fixed_enum<T>,
                  "covey: give this enumeration an underlying type (`enum class e` or `enum e : int`), so that every value is valid");
    static_assert(!std::same_as<T, long double>, "covey: long double differs between machines: use double");
    static_assert(!std::is_union_v<T>, "covey: a union does not say which member is alive: use std::variant");
    static_assert(!is_a<T, cereal::DeferredData>, "covey: cereal::defer is not supported: pass the value itself");
}

/// Counts the levels that a value is nested in.
class level {
public:
    level(unsigned& depth, errc code) : m_depth(depth) {
        if (depth == bounds::depth_max) throw error(code, covey::detail::concat({"values nested more than ", bounds::depth_max, " deep"}));
        ++m_depth;
    }
    level(const level&) = delete;
    level& operator=(const level&) = delete;
    ~level() { --m_depth; }

private:
    unsigned& m_depth;
};

/// What both writers share: everything but cereal.
template <class Self>
class output_core {
public:
    explicit output_core(byte_buffer& out) noexcept : m_out(out), m_start(out.size()) {}
    output_core(const output_core&) = delete;
    output_core& operator=(const output_core&) = delete;

    /// Writes the values one after the other. Throws errc::bad_argument for one that could not be read back.
    template <class... Ts>
    Self& operator()(Ts&&... values) {
        (one(values), ...);
        return self();
    }
    template <class T>
    Self& operator&(T&& value) {
        return (*this)(value);
    }
    template <class T>
    Self& operator<<(T&& value) {
        return (*this)(value);
    }

    /// Bytes written so far.
    std::size_t written() const noexcept { return m_out.buffer().size() - m_start; }

    // For layouts.
    void size(std::size_t n) { m_out.varint(n); }
    void raw(const void* data, std::size_t n) { m_out.buffer().append(data, n); }
    void nothing() { m_out.number(std::uint8_t{0}); }
    /// Accounts for memory that the reader will allocate; see `check`.
    void claim(std::size_t count, std::size_t bytes_each) noexcept { m_claimed += count * bytes_each; }

    /// A size and as many elements.
    template <class Range>
    void elements(const Range& range, std::size_t n, std::size_t memory_each) {
        size(n);
        claim(n, memory_each);
        const std::size_t before = written();
        for (const auto& element : range) one(element);
        if (written() - before < n) {
            throw error(errc::bad_argument, "elements that write no bytes cannot be counted by the reader: let them write at least one");
        }
    }
    template <class T>
    void fixed(const T* first, std::size_t n) {
        if constexpr (bulk<T>) {
            raw(first, n * sizeof(T));
        } else {
            for (std::size_t i = 0; i < n; ++i) one(first[i]);
        }
    }

    /// Throws errc::bad_argument when a reader of what was written would refuse it for the memory it asks for.
    void check() const {
        if (m_claimed <= bounds::memory_base + bounds::memory_factor * written()) return;
        throw error(errc::bad_argument,
                    covey::detail::concat({"would take ", m_claimed, " bytes of memory for ", written(),
                                           " bytes sent, more than a peer accepts: it holds many large values that are empty"}));
    }

private:
    Self& self() noexcept { return static_cast<Self&>(*this); }

    template <class T>
    void one(const T& value) {
        if constexpr (number<T>) {
            m_out.number(value);
        } else if constexpr (std::is_array_v<T>) {
            const level guard(m_depth, errc::bad_argument);
            fixed(value, std::extent_v<T>);
        } else if constexpr (is_a<T, cereal::NameValuePair>) {
            one(value.value);
        } else if constexpr (is_a<T, cereal::SizeTag>) {
            size(static_cast<std::size_t>(value.size));
        } else if constexpr (is_a<T, cereal::MapItem>) {
            (*this)(value.key, value.value);
        } else if constexpr (is_a<T, cereal::BinaryData>) {
            raw(value.data, static_cast<std::size_t>(value.size));
        } else if constexpr (is_base_wrapper<T>) {
            self().by_cereal(value);
        } else {
            refuse_what_cannot_travel<T>();
            const level guard(m_depth, errc::bad_argument);
            if constexpr (has_layout<T>) {
                layout<T>::save(self(), value);
            } else if constexpr (has_cereal<T>) {
                self().by_cereal(value);
            } else if constexpr (!mentions_cereal<T> && plain_aggregate<T>) {
                if constexpr (member_count<T> == 0) {
                    nothing();
                } else {
                    with_members(value, [this](const auto&... members) { (this->one(members), ...); });
                }
            } else {
                static_assert(never<T>,
                              "covey: this type cannot be sent to another peer: give it a cereal serialize() or make it an "
                              "aggregate of types that can");
            }
        }
    }

    byte_writer m_out;
    std::size_t m_start;
    std::size_t m_claimed = 0;
    unsigned m_depth = 0;
};

template <class Self>
class input_core {
public:
    explicit input_core(bytes_view in) noexcept : m_in(in), m_budget(bounds::memory_base + bounds::memory_factor * in.size()) {}
    input_core(const input_core&) = delete;
    input_core& operator=(const input_core&) = delete;

    /// Reads into the values one after the other. Throws errc::bad_message; the values are then valid but unspecified.
    template <class... Ts>
    Self& operator()(Ts&&... values) {
        (one(values), ...);
        return self();
    }
    template <class T>
    Self& operator&(T&& value) {
        return (*this)(value);
    }
    template <class T>
    Self& operator>>(T&& value) {
        return (*this)(value);
    }

    /// Bytes not read yet. Not zero after the last value: the sender meant another type.
    std::size_t left() const noexcept { return m_in.left(); }

    // For layouts.
    std::uint64_t varint() { return m_in.varint(); }
    bytes_view raw(std::size_t n) { return m_in.raw(n); }
    void raw(void* to, std::size_t n) {
        const bytes_view bytes = m_in.raw(n);
        if (n != 0) std::memcpy(to, bytes.data(), n);
    }
    void nothing() {
        if (m_in.template number<std::uint8_t>() != 0) throw error(errc::bad_message, "a value where none is expected");
    }
    /// The size of a container. Each element takes at least one byte of what is left.
    std::size_t count() { return count_of(1, 1, "elements"); }
    /// As above, and accounts for the memory of the elements.
    std::size_t count(std::size_t memory_each) {
        const std::size_t n = count();
        claim(n, memory_each);
        return n;
    }
    /// The size of a container whose elements take exactly `bytes_each`.
    std::size_t count_bulk(std::size_t bytes_each) { return count_of(1, bytes_each, bytes_each == 1 ? "bytes" : "elements"); }
    std::size_t count_bits() { return count_of(8, 1, "bits"); }
    /// To be called before memory is allocated on the word of the sender. Throws errc::bad_message over the bounds.
    void claim(std::size_t count, std::size_t bytes_each) {
        if (bytes_each != 0 && count > m_budget / bytes_each) {
            throw error(errc::bad_message, covey::detail::concat({count, " values of ", bytes_each,
                                                                  " bytes in memory are more than a message of this size may ask for (",
                                                                  m_budget, " bytes remain)"}));
        }
        m_budget -= count * bytes_each;
    }
    template <class T>
    void fixed(T* first, std::size_t n) {
        if constexpr (bulk<T>) {
            raw(first, n * sizeof(T));
        } else {
            for (std::size_t i = 0; i < n; ++i) one(first[i]);
        }
    }

private:
    Self& self() noexcept { return static_cast<Self&>(*this); }

    std::size_t count_of(std::size_t per_byte, std::size_t bytes_each, const char* unit) {
        const std::uint64_t n = m_in.varint();
        if (n > left() * per_byte / bytes_each) {
            throw error(errc::bad_message,
                        covey::detail::concat({"a size of ", n, " ", unit,
                                               (bytes_each == 1 ? "" : covey::detail::concat({" of ", bytes_each, " bytes"})), " where ",
                                               left(), " bytes are left"}));
        }
        return static_cast<std::size_t>(n);
    }

    template <class T>
    void one(T& value) {
        static_assert(!std::is_const_v<T>, "covey: a const value cannot be read into");
        if constexpr (bulk<T> && number<T>) {
            raw(&value, sizeof value);
        } else if constexpr (number<T>) {
            const auto byte = m_in.template number<std::uint8_t>();
            if (byte > 1) throw error(errc::bad_message, covey::detail::concat({"a bool of value ", byte}));
            value = static_cast<T>(byte != 0);
        } else if constexpr (std::is_array_v<T>) {
            const level guard(m_depth, errc::bad_message);
            fixed(value, std::extent_v<T>);
        } else if constexpr (is_a<T, cereal::NameValuePair>) {
            one(value.value);
        } else if constexpr (is_a<T, cereal::SizeTag>) {
            value.size = static_cast<std::remove_reference_t<decltype(value.size)>>(count());
        } else if constexpr (is_a<T, cereal::MapItem>) {
            (*this)(value.key, value.value);
        } else if constexpr (is_a<T, cereal::BinaryData>) {
            raw(value.data, static_cast<std::size_t>(value.size));
        } else if constexpr (is_base_wrapper<T>) {
            self().by_cereal(value);
        } else {
            refuse_what_cannot_travel<T>();
            const level guard(m_depth, errc::bad_message);
            if constexpr (has_layout<T>) {
                layout<T>::load(self(), value);
            } else if constexpr (has_cereal<T>) {
                self().by_cereal(value);
            } else if constexpr (!mentions_cereal<T> && plain_aggregate<T>) {
                if constexpr (member_count<T> == 0) {
                    nothing();
                } else {
                    with_members(value, [this](auto&... members) { (this->one(members), ...); });
                }
            } else {
                static_assert(never<T>,
                              "covey: this type cannot be received from another peer: give it a cereal serialize() or make it "
                              "an aggregate of types that can");
            }
        }
    }

    byte_reader m_in;
    std::size_t m_budget;
    unsigned m_depth = 0;
};

/// Writers for types without cereal functions anywhere inside: the same bytes without the cost of making an archive
/// (cereal's keeps half a dozen tables).
class native_output final : public output_core<native_output> {
public:
    using output_core<native_output>::output_core;
};
class native_input final : public input_core<native_input> {
public:
    using input_core<native_input>::input_core;
};

}  // namespace detail

/// A cereal output archive over a byte_buffer, which must outlive it. Takes numbers, the standard types of standard.hpp,
/// every type with cereal functions (serialize, save/load, save_minimal/load_minimal; member or free; versioned), and
/// plain aggregates. Pointers that are shared, polymorphic or raw are refused when the program is compiled.
/// Not thread-safe.
class output_archive final : public cereal::OutputArchive<output_archive>, public detail::output_core<output_archive> {
    using cereal_base = cereal::OutputArchive<output_archive>;
    using core = detail::output_core<output_archive>;
    friend core;

public:
    explicit output_archive(byte_buffer& out) : cereal_base(this), core(out) {}

    using core::operator();
    using core::operator&;
    using core::operator<<;

private:
    // Dispatches to the user's function, which comes back through operator() for each part.
    template <class T>
    void by_cereal(const T& value) {
        cereal_base::operator()(value);
    }
};

/// The reader of what an output_archive wrote, from bytes that nobody trusts and that must outlive it. Allocates at most
/// `bounds::memory_factor` bytes for each byte given, and `bounds::memory_base`; types with cereal functions that resize
/// a container by themselves may take as many of their elements as there are bytes. Not thread-safe.
class input_archive final : public cereal::InputArchive<input_archive>, public detail::input_core<input_archive> {
    using cereal_base = cereal::InputArchive<input_archive>;
    using core = detail::input_core<input_archive>;
    friend core;

public:
    explicit input_archive(bytes_view in) : cereal_base(this), core(in) {}

    using core::operator();
    using core::operator&;
    using core::operator>>;

private:
    template <class T>
    void by_cereal(T& value) {
        cereal_base::operator()(value);
    }
};

// What cereal itself hands to an archive without asking operator(): the results of save_minimal, class versions, and
// what its own headers test for before they use a bulk copy.
template <class T>
    requires std::is_arithmetic_v<T>
void CEREAL_SAVE_FUNCTION_NAME(output_archive& ar, const T& value) {
    ar(value);
}
template <class T>
    requires std::is_arithmetic_v<T>
void CEREAL_LOAD_FUNCTION_NAME(input_archive& ar, T& value) {
    ar(value);
}
template <class C, class T, class A>
void CEREAL_SAVE_FUNCTION_NAME(output_archive& ar, const std::basic_string<C, T, A>& text) {
    ar(text);
}
template <class C, class T, class A>
void CEREAL_LOAD_FUNCTION_NAME(input_archive& ar, std::basic_string<C, T, A>& text) {
    ar(text);
}
template <class T>
void CEREAL_SERIALIZE_FUNCTION_NAME(output_archive& ar, cereal::NameValuePair<T>& pair) {
    ar(pair.value);
}
template <class T>
void CEREAL_SERIALIZE_FUNCTION_NAME(input_archive& ar, cereal::NameValuePair<T>& pair) {
    ar(pair.value);
}
template <class T>
void CEREAL_SAVE_FUNCTION_NAME(output_archive& ar, const cereal::BinaryData<T>& data) {
    ar(data);
}
template <class T>
void CEREAL_LOAD_FUNCTION_NAME(input_archive& ar, cereal::BinaryData<T>& data) {
    ar(data);
}

}  // namespace covey::wire

CEREAL_SETUP_ARCHIVE_TRAITS(covey::wire::input_archive, covey::wire::output_archive)
