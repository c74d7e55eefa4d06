#pragma once

#include <covey/core/detail/concat.hpp>
#include <covey/core/error.hpp>

namespace covey {

namespace detail {

class error_category final : public std::error_category {
public:
    const char* name() const noexcept override { return "covey"; }
    std::string message(int value) const override {
        switch (static_cast<errc>(value)) {
            case errc::timed_out: return "timed out";
            case errc::peer_lost: return "peer lost";
            case errc::link_lost: return "link lost";
            case errc::unreachable: return "unreachable";
            case errc::unknown_peer: return "unknown peer";
            case errc::unknown_function: return "unknown function";
            case errc::build_mismatch: return "builds do not match";
            case errc::bad_message: return "bad message";
            case errc::message_too_large: return "message too large";
            case errc::protocol_error: return "protocol error";
            case errc::auth_failed: return "authentication failed";
            case errc::wrong_cluster: return "wrong cluster";
            case errc::insecure_bind: return "insecure bind refused";
            case errc::address_in_use: return "address in use";
            case errc::bad_address: return "bad address";
            case errc::overloaded: return "overloaded";
            case errc::shut_down: return "shut down";
            case errc::no_peer: return "no peer";
            case errc::bad_argument: return "bad argument";
        }
        return detail::concat({"unknown covey error ", value});
    }
};

}  // namespace detail

COVEY_INLINE const std::error_category& category() noexcept {
    static const detail::error_category instance;
    return instance;
}

COVEY_INLINE error::error(errc code) : std::runtime_error(make_error_code(code).message()), m_code(code), m_peer() {}

COVEY_INLINE error::error(errc code, const std::string& what, peer_id peer)
    : std::runtime_error(detail::concat({make_error_code(code).message(), ": ", what})), m_code(code), m_peer(peer) {}

COVEY_INLINE remote_error::remote_error(std::string type_name, std::string message, peer_id peer)
    : std::runtime_error(detail::concat({"peer ", to_string(peer), ": ", type_name, ": ", message})),
      m_type(std::move(type_name)),
      m_message(std::move(message)),
      m_peer(peer) {}

}  // namespace covey
