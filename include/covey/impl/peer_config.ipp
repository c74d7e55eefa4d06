#pragma once

#include <covey/core/detail/concat.hpp>
#include <covey/core/error.hpp>
#include <covey/mesh/settings.hpp>
#include <covey/peer_config.hpp>

#include <charconv>
#include <cstdlib>

namespace covey {

namespace detail {

inline std::vector<std::string> split_list(const char* text) {
    std::vector<std::string> parts;
    std::string part;
    for (; *text != '\0'; ++text) {
        if (*text != ',') {
            part += *text;
        } else if (!part.empty()) {
            parts.push_back(std::exchange(part, {}));
        }
    }
    if (!part.empty()) parts.push_back(part);
    return parts;
}

inline member_role parse_role(std::string_view text) {
    if (text == "main") return member_role::main;
    if (text == "serve") return member_role::serve;
    throw error(errc::bad_argument, detail::concat({"\"", text, "\" is no role of a peer: main or serve"}));
}

inline std::uint64_t parse_count(std::string_view text, std::string_view of_what, std::uint64_t least, std::uint64_t most) {
    std::uint64_t n = 0;
    const auto [end, bad] = std::from_chars(text.data(), text.data() + text.size(), n);
    if (text.empty() || bad != std::errc{} || end != text.data() + text.size() || n < least || n > most) {
        throw error(errc::bad_argument, detail::concat({"\"", text, "\" is no number of ", of_what, ": ", least, " to ", most}));
    }
    return n;
}

inline unsigned parse_threads(std::string_view text) { return static_cast<unsigned>(parse_count(text, "threads", 1, 4096)); }
inline std::uint16_t parse_gpus(std::string_view text) { return static_cast<std::uint16_t>(parse_count(text, "GPUs", 0, 65535)); }
inline std::uint32_t parse_memory(std::string_view text) {
    return static_cast<std::uint32_t>(parse_count(text, "MiB of memory", 0, 0xffffffffu));
}

}  // namespace detail

COVEY_INLINE peer_config peer_config::from_environment() {
    peer_config c;
    if (const char* text = std::getenv("COVEY_BIND")) c.bind = text;
    if (const char* text = std::getenv("COVEY_JOIN")) c.join = detail::split_list(text);
    if (const char* text = std::getenv("COVEY_KEY_FILE")) c.key_file = text;
    if (const char* text = std::getenv("COVEY_CLUSTER")) c.cluster = text;
    if (const char* text = std::getenv("COVEY_NAME")) c.name = text;
    if (const char* text = std::getenv("COVEY_THREADS")) c.threads = detail::parse_threads(text);
    if (const char* text = std::getenv("COVEY_ROLE")) c.role = detail::parse_role(text);
    if (const char* text = std::getenv("COVEY_LABELS")) {
        for (const std::string& label : detail::split_list(text)) c.add_label(label);
    }
    if (const char* text = std::getenv("COVEY_RESOURCES")) {
        for (const std::string& resource : detail::split_list(text)) c.add_resource(resource);
    }
    if (const char* text = std::getenv("COVEY_GPUS")) c.gpus = detail::parse_gpus(text);
    if (const char* text = std::getenv("COVEY_MEMORY_MIB")) c.memory_mib = detail::parse_memory(text);
    if (const char* text = std::getenv("COVEY_PROFILE")) c.profile = text;
    if (const char* text = std::getenv("COVEY_MEMBERSHIP")) c.settings = detail::split_list(text);
    if (const char* text = std::getenv("COVEY_TRACE")) c.trace_file = text;
    return c;
}

namespace detail {

/// Before and behind the first '='.
inline std::pair<std::string, std::string_view> parse_assignment(std::string_view text, const char* of_what) {
    const std::size_t equals = text.find('=');
    if (equals == std::string_view::npos || equals == 0)
        throw error(errc::bad_argument, detail::concat({"\"", text, "\" is no ", of_what}));
    return {std::string(text.substr(0, equals)), text.substr(equals + 1)};
}

template <class Value>
void set_entry(std::vector<std::pair<std::string, Value>>& entries, std::string key, Value value) {
    for (auto& [known, old] : entries) {
        if (known == key) return static_cast<void>(old = std::move(value));
    }
    entries.emplace_back(std::move(key), std::move(value));
}

}  // namespace detail

COVEY_INLINE void peer_config::add_label(std::string_view text) {
    auto [key, value] = detail::parse_assignment(text, "label: write name=value, as in zone=a");
    detail::set_entry(labels, std::move(key), std::string(value));
}

COVEY_INLINE void peer_config::add_resource(std::string_view text) {
    auto [key, value] = detail::parse_assignment(text, "resource: write name=count, as in licences=2");
    const auto count = static_cast<std::uint32_t>(detail::parse_count(value, key, 0, 0xffffffffu));
    detail::set_entry(resources, std::move(key), count);
}

COVEY_INLINE mesh::config peer_config::membership_numbers(const endpoint& bound) const {
    if (membership && !profile.empty()) {
        throw error(errc::bad_argument,
                    detail::concat({"the membership was given a profile, \"", profile, "\", and all numbers as well; give one"}));
    }
    mesh::config numbers = membership            ? *membership
                           : !profile.empty()    ? mesh::profile::named(profile)
                           : bound.is_loopback() ? mesh::profile::local()
                                                 : mesh::profile::lan();
    for (const std::string& setting : settings) mesh::change(numbers, setting);
    mesh::check(numbers);
    return numbers;
}

}  // namespace covey
