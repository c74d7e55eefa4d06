#pragma once

#include <covey/mesh/member_info.hpp>

namespace covey::mesh {

COVEY_INLINE std::string_view to_string(member_role role) noexcept {
    switch (role) {
        case member_role::main: return "main";
        case member_role::serve: return "serve";
        case member_role::observer: return "observer";
    }
    return "?";
}

namespace detail {

/// Names are printed on terminals.
inline bool is_printable(std::string_view text) noexcept {
    for (const char c : text) {
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) return false;
    }
    return true;
}

inline bool is_good_text(std::string_view text) noexcept { return text.size() <= description::name_bytes_max && is_printable(text); }

/// What an encoded description takes at most beside its lists: two addresses, flags, hashes, numbers, lengths.
inline constexpr std::size_t description_rest_bytes_max = 2 * 19 + 1 + 8 + 8 + 3 + 5 + 3 + 1 + 1 + 1;

/// Sixteen at most.
template <class Value>
bool has_twice(const std::vector<std::pair<std::string, Value>>& entries) noexcept {
    for (std::size_t i = 1; i < entries.size(); ++i) {
        for (std::size_t j = 0; j < i; ++j) {
            if (entries[i].first == entries[j].first) return true;
        }
    }
    return false;
}

}  // namespace detail

COVEY_INLINE std::size_t encoded_bytes_at_most(const description& what) noexcept {
    std::size_t bytes = detail::description_rest_bytes_max + what.name.size();
    for (const auto& [key, count] : what.resources) bytes += key.size() + 1 + 5;
    for (const auto& [key, value] : what.labels) bytes += key.size() + value.size() + 2;
    return bytes;
}

COVEY_INLINE const char* fault(const description& what) noexcept {
    if (what.address.port == 0 || what.address.is_unspecified()) return "an address that nobody can send to";
    if (what.bulk.port != 0 && what.bulk.is_unspecified()) return "a bulk address that nobody can send to";
    if (what.bulk.port == 0 && !what.bulk.empty()) return "a bulk address without a port";
    if (what.name.size() > description::name_bytes_max) return "a name of more than 64 bytes";
    if (!detail::is_printable(what.name)) return "a control character in a name";
    if (what.role > member_role::observer) return "an unknown role";
    if (what.labels.size() > description::entries_max || what.resources.size() > description::entries_max)
        return "more than 16 labels or custom resources";
    for (const auto& [key, count] : what.resources) {
        if (key.empty() || !detail::is_good_text(key)) return "a resource without a name, or with one that is too long or not printable";
    }
    for (const auto& [key, value] : what.labels) {
        if (key.empty() || !detail::is_good_text(key) || !detail::is_good_text(value))
            return "a label without a name, or one that is too long or not printable";
    }
    if (detail::has_twice(what.labels) || detail::has_twice(what.resources)) return "two labels or two custom resources of one name";
    if (encoded_bytes_at_most(what) > description::encoded_bytes_max)
        return "name, labels and resources that do not fit 512 bytes together";
    return nullptr;
}

COVEY_INLINE const char* fault(const member_info& info) noexcept {
    if (!info.id) return "a member without an id";
    if (info.epoch == 0) return "epoch 0 (they start at 1)";
    return fault(static_cast<const description&>(info));
}

}  // namespace covey::mesh
