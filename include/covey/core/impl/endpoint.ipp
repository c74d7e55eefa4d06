#pragma once

#include <covey/core/detail/concat.hpp>
#include <covey/core/endpoint.hpp>

#include <arpa/inet.h>

#include <charconv>

namespace covey {

COVEY_INLINE endpoint endpoint::parse(std::string_view text) {
    const auto fail = [text](const char* why) -> endpoint {
        throw error(errc::bad_address,
                    detail::concat({"\"", text, "\": ", why, "; write address:port, as in 127.0.0.1:7400 or [::1]:7400"}));
    };
    const std::size_t colon = text.rfind(':');
    if (colon == std::string_view::npos) return fail("no port");
    std::string host(text.substr(0, colon));
    const std::string_view digits = text.substr(colon + 1);
    endpoint e;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), e.port);
    if (digits.empty() || error != std::errc{} || end != digits.data() + digits.size()) return fail("the port is no number below 65536");
    if (host == "localhost") host = "127.0.0.1";
    in_addr four{};
    in6_addr six{};
    if (inet_pton(AF_INET, host.c_str(), &four) == 1) {
        const auto* b = reinterpret_cast<const std::uint8_t*>(&four);
        return v4(b[0], b[1], b[2], b[3], e.port);
    }
    if (host.size() > 2 && host.front() == '[' && host.back() == ']' &&
        inet_pton(AF_INET6, host.substr(1, host.size() - 2).c_str(), &six) == 1) {
        std::memcpy(e.address.data(), &six, 16);
        return e;
    }
    return fail("not a numeric address");
}

COVEY_INLINE std::string to_string(const endpoint& e) {
    char text[INET6_ADDRSTRLEN] = {};
    if (e.is_v4()) {
        inet_ntop(AF_INET, e.address.data() + 12, text, sizeof text);
        return detail::concat({text, ":", e.port});
    }
    inet_ntop(AF_INET6, e.address.data(), text, sizeof text);
    return detail::concat({"[", text, "]:", e.port});
}

}  // namespace covey
