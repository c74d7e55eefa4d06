#pragma once

#include <covey/core/detail/concat.hpp>
#include <covey/mesh/seeds.hpp>

#include <algorithm>
#include <charconv>

namespace covey::mesh {

namespace detail {

/// Letters, digits, '-', '.' and '_', not only digits and dots (that is an address with a slip).
inline bool is_host_name(std::string_view host) noexcept {
    bool has_letter = false;
    for (const char c : host) {
        const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '-';
        if (!letter && c != '.' && !(c >= '0' && c <= '9')) return false;
        has_letter = has_letter || letter;
    }
    return has_letter && host.size() <= 253;
}

}  // namespace detail

COVEY_INLINE seed_list::seed_list(std::span<const std::string> texts) {
    if (texts.size() > texts_max) {
        throw error(errc::bad_argument, covey::detail::concat({texts.size(), " members to join were named, and ", texts_max,
                                                               " is the most; a few are enough, or one name with many addresses"}));
    }
    for (const std::string& text : texts) {
        const std::size_t colon = std::min(text.rfind(':'), text.size());
        const std::string_view host = std::string_view(text).substr(0, colon);
        const bool is_name = detail::is_host_name(host) && host != "localhost";
        std::uint16_t port = 0;
        if (is_name) {
            const char* const begin = text.data() + std::min(colon + 1, text.size());
            const char* const end = text.data() + text.size();
            const auto [stop, bad] = std::from_chars(begin, end, port);
            if (bad != std::errc{} || stop != end) port = 0;
        } else {
            m_addresses.push_back(endpoint::parse(text));
            port = m_addresses.back().port;
        }
        if (port == 0) {
            throw error(
                errc::bad_address,
                covey::detail::concat({"\"", text, "\": write host:port, with a port of 1 to 65535, as in peers.example.org:7400"}));
        }
        if (is_name) m_names.push_back({text, {}, {}, 0});
    }
}

COVEY_INLINE std::optional<std::string> seed_list::set_found(std::size_t i, std::span<const endpoint> found, std::string why,
                                                             const endpoint& own) {
    looked_up& name = m_names[i];
    std::vector<endpoint> useful;
    for (const endpoint& e : found) {
        if (e.is_v4() == own.is_v4() && useful.size() < addresses_max) useful.push_back(e);
    }
    if (!useful.empty()) {
        name.found = std::move(useful);
        name.fault.clear();
        name.failures = 0;
        return std::nullopt;
    }
    if (!found.empty()) {
        const char* const family = own.is_v4() ? "IPv4" : "IPv6";
        why = covey::detail::concat(
            {"\"", name.text, "\" has no ", family, " address, and this peer is bound to one (", to_string(own), ")"});
    }
    name.fault = why.empty() ? covey::detail::concat({"\"", name.text, "\" has no address"}) : std::move(why);
    ++name.failures;
    if (name.failures > 3 && name.failures % 10 != 0) return std::nullopt;
    return covey::detail::concat({"a member to join: ", name.fault, " (attempt ", name.failures,
                                  "); it is looked up again with the next attempt to join",
                                  (name.found.empty() ? ". Is the name right, and does this machine reach its name server?"
                                                      : ", and until then the addresses that it had are used")});
}

COVEY_INLINE bool seed_list::is_complete() const noexcept {
    return std::all_of(m_names.begin(), m_names.end(), [](const looked_up& name) { return !name.found.empty(); });
}

COVEY_INLINE std::vector<endpoint> seed_list::addresses(std::size_t most, random_source& random) const {
    std::vector<endpoint> all = m_addresses;
    for (const looked_up& name : m_names) all.insert(all.end(), name.found.begin(), name.found.end());
    std::sort(all.begin(), all.end());
    all.erase(std::unique(all.begin(), all.end()), all.end());
    if (all.size() > most) {
        random.shuffle(std::span(all));
        all.resize(most);
    }
    return all;
}

COVEY_INLINE std::string seed_list::faults() const {
    std::string text;
    for (const looked_up& name : m_names) {
        if (!name.fault.empty()) text += covey::detail::concat({(text.empty() ? "" : "; "), name.fault});
    }
    return text;
}

}  // namespace covey::mesh
