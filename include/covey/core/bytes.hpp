// Bytes: views, a growing buffer with a cheap front, and a bounds-checked reader and writer of little-endian values.
#pragma once

#include <covey/core/detail/concat.hpp>
#include <covey/core/error.hpp>

#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

namespace covey {

static_assert(std::endian::native == std::endian::little, "covey's wire is little-endian and so must the machine be");

using bytes_view = std::span<const std::byte>;

inline bytes_view as_bytes_view(std::string_view text) noexcept { return std::as_bytes(std::span(text.data(), text.size())); }
inline std::string_view as_text(bytes_view bytes) noexcept { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

/// A contiguous queue of bytes: appended at the back, consumed at the front, never zero-filled. Move-only. What was
/// consumed is reclaimed when the buffer empties or must grow. Not thread-safe.
class byte_buffer {
public:
    byte_buffer() noexcept = default;
    byte_buffer(byte_buffer&& other) noexcept { swap(other); }
    byte_buffer& operator=(byte_buffer&& other) noexcept {
        byte_buffer(std::move(other)).swap(*this);
        return *this;
    }

    std::byte* data() noexcept { return m_data.get() + m_begin; }
    const std::byte* data() const noexcept { return m_data.get() + m_begin; }
    std::size_t size() const noexcept { return m_end - m_begin; }
    bool empty() const noexcept { return m_begin == m_end; }
    std::size_t capacity() const noexcept { return m_capacity; }
    bytes_view view() const noexcept { return {data(), size()}; }
    operator bytes_view() const noexcept { return view(); }

    void append(const void* source, std::size_t n) {
        if (n == 0) return;
        std::memcpy(prepare(n), source, n);
        m_end += n;
    }
    void append(bytes_view source) { append(source.data(), source.size()); }

    /// Room for n more bytes at the back, uninitialised; `commit` says how many were filled. Invalidates pointers.
    std::byte* prepare(std::size_t n) {
        if (m_capacity - m_end < n) make_room(n);
        return m_data.get() + m_end;
    }
    void commit(std::size_t n) noexcept { m_end += n; }

    /// Drops n bytes at the front.
    void consume(std::size_t n) noexcept {
        m_begin += n;
        if (m_begin == m_end) m_begin = m_end = 0;
    }
    /// Keeps the first n bytes.
    void truncate(std::size_t n) noexcept { m_end = m_begin + n; }
    void clear() noexcept { m_begin = m_end = 0; }
    /// Gives memory back when the buffer is empty and holds more than `keep` bytes.
    void shrink(std::size_t keep) noexcept {
        if (empty() && m_capacity > keep) byte_buffer().swap(*this);
    }

    void swap(byte_buffer& other) noexcept {
        std::swap(m_data, other.m_data);
        std::swap(m_capacity, other.m_capacity);
        std::swap(m_begin, other.m_begin);
        std::swap(m_end, other.m_end);
    }

private:
    void make_room(std::size_t n) {
        const std::size_t used = size();
        // Sliding down is linear in what is kept, so do it only when that is at most half of the buffer.
        if (used + n <= m_capacity && used <= m_capacity / 2) {
            if (used != 0) std::memmove(m_data.get(), data(), used);
        } else {
            std::size_t wanted = m_capacity < 256 ? 256 : m_capacity * 2;
            while (wanted < used + n) wanted *= 2;
            std::unique_ptr<std::byte[]> larger(new std::byte[wanted]);
            if (used != 0) std::memcpy(larger.get(), data(), used);
            m_data = std::move(larger);
            m_capacity = wanted;
        }
        m_begin = 0;
        m_end = used;
    }

    std::unique_ptr<std::byte[]> m_data;
    std::size_t m_capacity = 0;
    std::size_t m_begin = 0;
    std::size_t m_end = 0;
};

/// A value that is written as its bytes.
template <class T>
concept plain_number = std::is_arithmetic_v<T> || std::is_enum_v<T>;

/// Appends little-endian values to a byte_buffer.
class byte_writer {
public:
    explicit byte_writer(byte_buffer& out) noexcept : m_out(&out) {}

    template <plain_number T>
    void number(T value) {
        m_out->append(&value, sizeof value);
    }
    /// LEB128: 7 bits a byte, least significant first; 1 byte below 128, at most 10.
    void varint(std::uint64_t value) {
        std::byte* p = m_out->prepare(10);
        std::size_t n = 0;
        for (; value >= 0x80; value >>= 7) p[n++] = static_cast<std::byte>(value | 0x80);
        p[n++] = static_cast<std::byte>(value);
        m_out->commit(n);
    }
    void raw(bytes_view bytes) { m_out->append(bytes); }
    /// Length as varint, then the characters.
    void text(std::string_view text) {
        varint(text.size());
        m_out->append(text.data(), text.size());
    }
    byte_buffer& buffer() const noexcept { return *m_out; }

private:
    byte_buffer* m_out;
};

/// Reads what a byte_writer wrote, from memory that nobody trusts. Reading past the end throws
/// `error{errc::bad_message}`; nothing is allocated before its size was checked against the bytes left.
class byte_reader {
public:
    explicit byte_reader(bytes_view in) noexcept : m_in(in) {}

    std::size_t left() const noexcept { return m_in.size(); }
    bool empty() const noexcept { return m_in.empty(); }

    template <plain_number T>
    T number() {
        std::remove_cv_t<T> value;
        const bytes_view bytes = raw(sizeof value);
        if constexpr (std::same_as<T, bool>) {
            return bytes[0] != std::byte{0};
        } else {
            std::memcpy(&value, bytes.data(), sizeof value);
            return value;
        }
    }
    std::uint64_t varint() {
        std::uint64_t value = 0;
        for (unsigned shift = 0; shift < 64; shift += 7) {
            const auto byte = static_cast<std::uint64_t>(raw(1)[0]);
            value |= (byte & 0x7f) << shift;
            if (byte < 0x80) {
                if (shift == 63 && byte > 1) break;
                return value;
            }
        }
        throw error(errc::bad_message, "a variable-length number does not end");
    }
    bytes_view raw(std::size_t n) {
        if (n > m_in.size()) {
            throw error(errc::bad_message, detail::concat({"truncated: ", n, " bytes expected, ", m_in.size(), " left"}));
        }
        const bytes_view taken = m_in.first(n);
        m_in = m_in.subspan(n);
        return taken;
    }
    /// A text of at most `limit` bytes; valid as long as the memory read from.
    std::string_view text(std::size_t limit) {
        const std::uint64_t n = varint();
        if (n > limit) {
            throw error(errc::bad_message, detail::concat({"a text of ", n, " bytes where at most ", limit, " may stand"}));
        }
        return as_text(raw(static_cast<std::size_t>(n)));
    }

private:
    bytes_view m_in;
};

}  // namespace covey
