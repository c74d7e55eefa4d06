// Errors: codes that programs test, and the one exception type that carries them with their context.
#pragma once

#include <covey/core/id.hpp>

#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>

namespace covey {

/// What went wrong. Compare with `e.code() == errc::peer_lost`.
enum class errc {
    timed_out = 1,      ///< the deadline passed before the result was there
    peer_lost,          ///< the membership declared the peer dead, or it left
    link_lost,          ///< the connection broke while the operation was in flight; it may have run
    unreachable,        ///< no connection to the peer could be made; the operation did not run
    unknown_peer,       ///< no such member
    unknown_function,   ///< the other peer has no such function, or it is not exposed
    build_mismatch,     ///< the two programs differ in a way that this operation cannot bridge
    bad_message,        ///< bytes that do not decode: truncated, oversized, or of another type
    message_too_large,  ///< over the limit of the link; the limit is an option
    protocol_error,     ///< the other side broke the protocol; the link was closed
    auth_failed,        ///< wrong or missing cluster key
    wrong_cluster,      ///< the other side belongs to a cluster of another id
    insecure_bind,      ///< a non-loopback address needs a cluster key
    address_in_use,     ///< somebody else listens on that port
    bad_address,        ///< not an address, or not one of this machine
    overloaded,         ///< a bound was reached; try later
    shut_down,          ///< the peer or the pool is going away
    no_peer,            ///< called outside a coroutine that runs on a peer
    bad_argument,       ///< an argument or option that cannot be meant
};

const std::error_category& category() noexcept;

/// The code of this value, or `otherwise` if there is none: for values that came over the wire.
constexpr errc errc_from(std::uint16_t value, errc otherwise) noexcept {
    const bool known = value >= static_cast<std::uint16_t>(errc::timed_out) && value <= static_cast<std::uint16_t>(errc::bad_argument);
    return known ? static_cast<errc>(value) : otherwise;
}

inline std::error_code make_error_code(errc e) noexcept { return {static_cast<int>(e), category()}; }

/// The exception of this library. `what()` is one line: what, where, which peer, what to do.
class error : public std::runtime_error {
public:
    explicit error(errc code);
    error(errc code, const std::string& what, peer_id peer = {});

    const std::error_code& code() const noexcept { return m_code; }
    /// The peer concerned; empty when there is none.
    peer_id peer() const noexcept { return m_peer; }

private:
    std::error_code m_code;
    peer_id m_peer;
};

/// An exception that a function threw on another peer.
class remote_error : public std::runtime_error {
public:
    remote_error(std::string type_name, std::string message, peer_id peer);

    /// The demangled type of the original exception, as the other peer saw it: "std::out_of_range".
    const std::string& type_name() const noexcept { return m_type; }
    /// The original `what()`.
    const std::string& message() const noexcept { return m_message; }
    peer_id peer() const noexcept { return m_peer; }

private:
    std::string m_type;
    std::string m_message;
    peer_id m_peer;
};

/// The third outcome beside value and error: the operation was asked to stop and did. It is thrown by the await that
/// noticed and ends at the scope, `when_any`, `timeout` or `sync_wait` that asked. Deliberately no std::exception, so
/// that a `catch (const std::exception&)` around a retry does not swallow a request to stop.
struct stopped {};

}  // namespace covey

template <>
struct std::is_error_code_enum<covey::errc> : std::true_type {};

#ifndef COVEY_COMPILED
#include <covey/core/impl/error.ipp>
#endif
