#pragma once

#include <covey/core/detail/concat.hpp>
#include <covey/mesh/key_ring.hpp>

#include <algorithm>

namespace covey::mesh {

COVEY_INLINE std::string_view to_string(key_operation what) noexcept {
    switch (what) {
        case key_operation::list: return "list";
        case key_operation::install: return "install";
        case key_operation::use: return "use";
        case key_operation::remove: return "remove";
    }
    return "?";
}

COVEY_INLINE key_ring::key_ring(std::vector<net::cluster_key> keys) : m_keys(std::move(keys)) {
    if (m_keys.empty() || m_keys.size() > net::keys_max) {
        throw error(errc::bad_argument, covey::detail::concat({"a ring has 1 to ", net::keys_max, " cluster keys, not ", m_keys.size()}));
    }
    for (const net::cluster_key& key : m_keys) {
        const net::key_fingerprint name = key.fingerprint();
        if (contains(name)) {
            throw error(errc::bad_argument, covey::detail::concat({"two keys of a ring have the fingerprint ", to_string(name),
                                                                   "; leave one out, or make another with `peerd keygen`"}));
        }
        m_names.push_back(name);
    }
}

COVEY_INLINE std::size_t key_ring::find(net::key_fingerprint key) const noexcept {
    return static_cast<std::size_t>(std::find(m_names.begin(), m_names.end(), key) - m_names.begin());
}

COVEY_INLINE bool key_ring::contains(net::key_fingerprint key) const noexcept { return find(key) != m_names.size(); }

COVEY_INLINE bool key_ring::apply(const key_change& change) {
    const auto refuse = [](errc why, std::initializer_list<covey::detail::text_piece> pieces) {
        return error(why, covey::detail::concat(pieces));
    };
    const std::size_t at = find(change.key);
    const bool is_there = at != m_names.size();
    const auto place = static_cast<std::ptrdiff_t>(at);
    switch (change.what) {
        case key_operation::list: return false;
        case key_operation::install: {
            if (!change.secret) throw refuse(errc::bad_argument, {"install needs a key"});
            const net::key_fingerprint name = change.secret->fingerprint();
            if (contains(name)) {
                if (m_keys[find(name)] == *change.secret) return false;
                throw refuse(errc::bad_argument,
                             {"another key with the fingerprint ", to_string(name), " is on the ring; make a new one with `peerd keygen`"});
            }
            if (m_keys.size() == net::keys_max)
                throw refuse(errc::overloaded, {"there are ", net::keys_max, " keys on the ring already; remove one first"});
            m_keys.push_back(*change.secret);
            m_names.push_back(name);
            return true;
        }
        case key_operation::use:
            if (!is_there) throw refuse(errc::bad_argument, {"key ", to_string(change.key), " is not on the ring; install it first"});
            if (at == 0) return false;
            std::rotate(m_keys.begin(), m_keys.begin() + place, m_keys.begin() + place + 1);
            std::rotate(m_names.begin(), m_names.begin() + place, m_names.begin() + place + 1);
            return true;
        case key_operation::remove:
            if (!is_there) return false;
            if (at == 0) throw refuse(errc::bad_argument, {"key ", to_string(change.key), " is in use; use another one first"});
            m_keys.erase(m_keys.begin() + place);
            m_names.erase(m_names.begin() + place);
            return true;
    }
    throw refuse(errc::bad_argument, {"unknown operation on keys"});
}

COVEY_INLINE std::optional<std::string> objection(const key_change& change, std::span<const member_keys> members) {
    if (change.what != key_operation::use && change.what != key_operation::remove) return std::nullopt;
    std::string names;
    std::size_t count = 0;
    const auto note = [&](const member_keys& m) {
        // A few are enough to go and look.
        if (++count <= 5) names += covey::detail::concat({(count > 1 ? ", " : ""), m.who.name(), " (", to_string(m.who.id()), ")"});
        if (count == 6) names += ", ...";
    };
    const auto objects = [&](const char* what) {
        return covey::detail::concat(
            {"key ", to_string(change.key), " was not touched: ", count, " of ", members.size(), " members ", what, ": ", names});
    };
    for (const member_keys& m : members) {
        if (!m.failure.empty()) note(m);
    }
    if (count > 0) return objects("did not answer; try again when they are back or gone");
    const auto has = [&](const member_keys& m) { return std::find(m.keys.begin(), m.keys.end(), change.key) != m.keys.end(); };
    if (std::none_of(members.begin(), members.end(), has))
        return covey::detail::concat({"no member has a key ", to_string(change.key), "; `peerd keys list` shows which there are"});
    for (const member_keys& m : members) {
        const bool in_the_way = change.what == key_operation::use ? !has(m) : !m.keys.empty() && m.keys.front() == change.key;
        if (in_the_way) note(m);
    }
    if (count == 0) return std::nullopt;
    return objects(change.what == key_operation::use ? "do not have it; install it first" : "use it; use another one first");
}

}  // namespace covey::mesh
