// Network addresses as plain values: no socket library needed to name a peer.
#pragma once

#include <covey/core/bytes.hpp>

#include <array>
#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

namespace covey {

/// An IPv4 or IPv6 address and a port. IPv4 addresses are kept in their IPv6-mapped form.
struct endpoint {
    std::array<std::uint8_t, 16> address{};
    std::uint16_t port = 0;

    friend constexpr auto operator<=>(const endpoint&, const endpoint&) noexcept = default;

    static constexpr endpoint v4(std::uint8_t a, std::uint8_t b, std::uint8_t c, std::uint8_t d, std::uint16_t port) noexcept {
        return {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d}, port};
    }
    constexpr bool is_v4() const noexcept {
        for (int i = 0; i < 10; ++i) {
            if (address[static_cast<std::size_t>(i)] != 0) return false;
        }
        return address[10] == 0xff && address[11] == 0xff;
    }
    /// 127.0.0.0/8 or ::1.
    constexpr bool is_loopback() const noexcept {
        if (is_v4()) return address[12] == 127;
        for (std::size_t i = 0; i < 15; ++i) {
            if (address[i] != 0) return false;
        }
        return address[15] == 1;
    }
    /// 0.0.0.0 or ::, "every address of this machine".
    constexpr bool is_unspecified() const noexcept {
        for (std::size_t i = is_v4() ? 12 : 0; i < 16; ++i) {
            if (address[i] != 0) return false;
        }
        return true;
    }
    constexpr bool empty() const noexcept { return port == 0 && is_unspecified(); }

    /// Reads "127.0.0.1:7400", "[::1]:7400" or "localhost:7400"; throws `error{errc::bad_address}` with the text that
    /// was not understood. Other host names are an environment's business (`resolve`).
    static endpoint parse(std::string_view text);

    void write(byte_writer& out) const {
        out.raw(std::as_bytes(std::span(address)));
        out.number(port);
    }
    static endpoint read(byte_reader& in) {
        endpoint e;
        std::memcpy(e.address.data(), in.raw(16).data(), 16);
        e.port = in.number<std::uint16_t>();
        return e;
    }
};

/// "127.0.0.1:7400" or "[::1]:7400".
std::string to_string(const endpoint& e);

}  // namespace covey

#ifndef COVEY_COMPILED
#include <covey/core/impl/endpoint.ipp>
#endif
