// The cluster key: 32 secret bytes that every peer of a cluster holds. All other keys are derived from it.
#pragma once

#include <covey/core/bytes.hpp>

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace covey::net {

/// Names a key without telling it: 32 bits derived from it.
struct key_fingerprint {
    std::uint32_t value = 0;

    friend constexpr auto operator<=>(key_fingerprint, key_fingerprint) noexcept = default;
};

/// 8 hex digits.
std::string to_string(key_fingerprint f);
/// Reads what to_string wrote; nothing otherwise.
std::optional<key_fingerprint> parse_key_fingerprint(std::string_view text) noexcept;

/// Keys that a peer holds at one time: the old and the new while they are exchanged, and some more.
inline constexpr std::size_t keys_max = 8;

/// The secret of a cluster. Whoever holds it is a peer. Copies wipe themselves when they go. Immutable, so safe to read
/// from any thread.
class cluster_key {
public:
    static constexpr std::size_t size = 32;

    /// A new key from the operating system's randomness. Throws errc::auth_failed when there is none.
    static cluster_key generate();
    /// Reads 64 hex digits; white space around them is ignored. Throws errc::bad_argument; the text is not quoted in it.
    static cluster_key parse(std::string_view text);
    /// Reads a key file. Throws errc::auth_failed, naming the path and the cure, when the file is missing, is no key, or can
    /// be read by anybody but its owner; and when it holds several keys.
    static cluster_key load(const std::string& path);
    /// Reads a file of one to `keys_max` different keys, one a line; empty lines are ignored. Throws as `load`.
    static std::vector<cluster_key> load_all(const std::string& path);

    /// 64 hex digits and a newline.
    std::string to_text() const;
    /// Writes a new file that only its owner can read (mode 0600). Throws errc::bad_argument when the file exists or cannot
    /// be written; an existing file is never touched.
    void save(const std::string& path) const;

    /// Fills `out` with a key for one purpose (HKDF-SHA256, RFC 5869; at most 255 * 32 bytes). Different `info`, unrelated key.
    /// Throws errc::auth_failed when OpenSSL cannot do it.
    void derive(bytes_view info, std::span<std::byte> out) const;

    /// Names this key in lists and messages. Throws as `derive`.
    key_fingerprint fingerprint() const;

    /// Compares in constant time.
    bool operator==(const cluster_key& other) const noexcept;

    cluster_key(const cluster_key&) noexcept = default;
    cluster_key& operator=(const cluster_key&) noexcept = default;
    ~cluster_key();

private:
    cluster_key() noexcept = default;

    std::array<std::byte, size> m_secret{};
};

/// Overwrites memory that held a secret; not optimised away.
void wipe(std::span<std::byte> secret) noexcept;

}  // namespace covey::net

#ifndef COVEY_COMPILED
#include <covey/net/impl/key.ipp>
#endif
