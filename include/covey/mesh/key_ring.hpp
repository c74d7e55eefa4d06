// The keys of a cluster while they are exchanged: several open, one seals.
#pragma once

#include <covey/mesh/member.hpp>
#include <covey/net/key.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace covey::mesh {

/// Values are part of the wire format: never renumber.
enum class key_operation : std::uint8_t {
    list = 0,     ///< changes nothing
    install = 1,  ///< from now on it opens
    use = 2,      ///< from now on it seals, and is what links prove
    remove = 3,   ///< it opens nothing any more
};

std::string_view to_string(key_operation what) noexcept;

/// One step of an exchange of keys. Repeating one that was done changes nothing.
struct key_change {
    key_operation what = key_operation::list;
    net::key_fingerprint key{};              ///< use, remove, install
    std::optional<net::cluster_key> secret;  ///< install

    static key_change list() { return {}; }
    static key_change install(const net::cluster_key& key) { return {key_operation::install, key.fingerprint(), key}; }
    static key_change use(net::key_fingerprint key) { return {key_operation::use, key, std::nullopt}; }
    static key_change remove(net::key_fingerprint key) { return {key_operation::remove, key, std::nullopt}; }
};

/// One to net::keys_max different keys; the first seals. A value; not thread-safe.
class key_ring {
public:
    /// Throws errc::bad_argument for none, too many, or two with one fingerprint.
    explicit key_ring(std::vector<net::cluster_key> keys);

    /// Does what is asked; true: the ring has changed. Throws, with nothing changed: errc::overloaded at net::keys_max,
    /// errc::bad_argument for the use of a key that is not there, the removal of the one in use, and an install without a key.
    bool apply(const key_change& change);

    /// The one in use first, then in the order in which they came.
    std::span<const net::cluster_key> keys() const noexcept { return m_keys; }
    std::span<const net::key_fingerprint> fingerprints() const noexcept { return m_names; }
    bool contains(net::key_fingerprint key) const noexcept;

private:
    std::size_t find(net::key_fingerprint key) const noexcept;

    std::vector<net::cluster_key> m_keys;
    std::vector<net::key_fingerprint> m_names;  // of m_keys, in the same order
};

/// What one member answered.
struct member_keys {
    member who;
    std::vector<net::key_fingerprint> keys;  ///< the one in use first
    std::string failure;                     ///< not empty: it did not answer or refused, and why
};

/// Why a change must not be sent out, given what all members said before; nothing: it may. A key that some lack must not be
/// used, one that some use must not be removed, and of a member that does not answer nobody knows.
std::optional<std::string> objection(const key_change& change, std::span<const member_keys> members);

}  // namespace covey::mesh

#ifndef COVEY_COMPILED
#include <covey/mesh/impl/key_ring.ipp>
#endif
