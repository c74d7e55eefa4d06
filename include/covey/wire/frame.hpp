// The frame: the unit that a link carries. 24 bytes of header, little-endian, then a body.
#pragma once

#include <covey/core/bytes.hpp>

#include <cstdint>

namespace covey::wire {

/// What a frame is. Values are part of the wire format: never renumber.
enum class frame_kind : std::uint8_t {
    hello = 1,    ///< first frame in each direction: who is there (net/)
    goodbye = 2,  ///< last frame: why the link is closed, as text (net/)
    ping = 3,     ///< liveness of an idle link (net/)
    pong = 4,
    mesh = 5,     ///< a stream message of the membership (mesh/)
    call = 6,     ///< run a function (call/)
    reply = 7,    ///< its result (call/)
    failure = 8,  ///< its exception (call/)
    cancel = 9,   ///< nobody waits for the result any more (call/)
};

/// Flag of a call: hashes of the function's name and types stand in front of the arguments, `function` is unused.
inline constexpr std::uint8_t call_by_name = 1;
/// Flag of a call: a trace context stands in front of the body: ids of the trace (16 bytes) and of the caller's span (8), flags (1).
inline constexpr std::uint8_t call_traced = 2;
/// Flag of a call: it must not run twice. Behind the trace context, if there is one, stand its number among the caller's calls and
/// the lowest one that may be tried again (8 bytes each).
inline constexpr std::uint8_t call_once = 4;

/// The header of every frame. Fields that a kind does not use are zero.
struct frame_header {
    std::uint32_t size = 0;  ///< bytes of the body
    frame_kind kind{};
    std::uint8_t flags = 0;         ///< meaning depends on the kind
    std::uint16_t reserved = 0;     ///< zero; anything else is a protocol error
    std::uint32_t slot = 0;         ///< call: index of the pending call at the caller
    std::uint32_t generation = 0;   ///< call: which use of that slot
    std::uint32_t function = 0;     ///< call: index into the function table, when both tables are equal
    std::uint32_t deadline_us = 0;  ///< call: time left in microseconds; 0: none

    static constexpr std::size_t bytes = 24;
};
static_assert(sizeof(frame_header) == frame_header::bytes && std::is_trivially_copyable_v<frame_header>);

inline void store(const frame_header& h, std::byte* to) noexcept { std::memcpy(to, &h, frame_header::bytes); }
inline frame_header load_frame_header(const std::byte* from) noexcept {
    frame_header h;
    std::memcpy(&h, from, frame_header::bytes);
    return h;
}

/// Why a header cannot be right, or nullptr. Checked before a single byte of the body is waited for.
inline const char* fault(const frame_header& h, std::uint32_t body_bytes_max) noexcept {
    if (h.reserved != 0) return "reserved bits are set";
    if (h.kind < frame_kind::hello || h.kind > frame_kind::cancel) return "unknown kind of frame";
    if (h.size > body_bytes_max) return "body over the limit";
    return nullptr;
}

}  // namespace covey::wire
