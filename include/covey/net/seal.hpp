// Sealed datagrams: each one encrypted and authenticated by itself, with a window against replays.
#pragma once

#include <covey/core/bytes.hpp>
#include <covey/core/id.hpp>
#include <covey/net/key.hpp>
#include <covey/net/replay_window.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace covey::net {

/// Why a datagram was not opened.
enum class seal_rejection : std::uint8_t {
    too_short,        ///< for any sealed datagram
    oversized,        ///< longer than one may be
    unknown_version,  ///< of the envelope, or no envelope at all
    own,              ///< sent by ourselves and come back
    stale_epoch,      ///< from an earlier life of its sender
    replayed,         ///< seen before, or too old to tell
    unknown_key,      ///< sealed under a key that is not on our ring
    unauthentic,      ///< another cluster, changed on the way, or made up
    count_            ///< not a reason
};

/// A few words for a line in a log.
std::string_view to_string(seal_rejection why) noexcept;

/// Seals and opens datagrams with AES-256-GCM. Every (key, sender, epoch) has its own derived key; the nonce is a counter that
/// only grows, the header and the cluster id are authenticated too. Each sender's last replay_window::size datagrams may
/// arrive in any order, once each; older ones are refused. Deterministic: it asks neither clock nor system. Not thread-safe:
/// its owner calls it under its own lock.
///
/// What it remembers of senders is bounded: `senders_max` of them, the least recently heard forgotten first. Of a sender that
/// was forgotten, a recorded datagram would be accepted once more, so keep the bound above the size of the cluster.
class sealer {
public:
    static constexpr std::size_t header_bytes = 24;
    static constexpr std::size_t tag_bytes = 16;
    /// A sealed datagram is this much longer than its contents.
    static constexpr std::size_t overhead = header_bytes + tag_bytes;
    /// Longer ones are refused unread; no UDP datagram is.
    static constexpr std::size_t sealed_bytes_max = 65535;

    /// `keys`: seals with the first, opens with any; 1 to keys_max. `first_counter` must be above every counter used before
    /// under the same key, sender and epoch, for a nonce used twice breaks the encryption: for a sender whose id was drawn at
    /// random when its process started, any number below 2^63. Throws errc::bad_argument for no or too many keys,
    /// errc::auth_failed when OpenSSL cannot do it.
    sealer(std::span<const cluster_key> keys, const cluster_id& cluster, peer_id self, epoch_t epoch, std::uint64_t first_counter,
           std::size_t senders_max = 32768);
    sealer(const cluster_key& key, const cluster_id& cluster, peer_id self, epoch_t epoch, std::uint64_t first_counter,
           std::size_t senders_max = 32768)
        : sealer(std::span(&key, 1), cluster, self, epoch, first_counter, senders_max) {}
    sealer(const sealer&) = delete;
    sealer& operator=(const sealer&) = delete;
    ~sealer();

    /// From now on this peer sends under this epoch.
    void set_epoch(epoch_t epoch);
    /// From now on these are the keys; throws as the constructor, and then nothing has changed. What is remembered of senders stays.
    void set_keys(std::span<const cluster_key> keys);

    /// Appends the sealed form of `plain`, which fits sealed_bytes_max. Throws errc::auth_failed when OpenSSL fails.
    void seal(bytes_view plain, byte_buffer& out);

    /// Appends the contents of a datagram that is authentic and new, and returns nothing. Otherwise `out` is unchanged, and
    /// nothing is remembered of it.
    std::optional<seal_rejection> open(bytes_view sealed, byte_buffer& out);

    /// The sender of the last datagram that `open` accepted.
    peer_id last_sender() const noexcept { return m_last_sender; }
    std::size_t senders() const noexcept { return m_senders.size(); }

private:
    using secret = std::array<std::byte, 32>;
    struct ring_key {
        cluster_key key;
        key_fingerprint name;
    };
    struct sender {
        peer_id id{};
        epoch_t epoch = 0;
        key_fingerprint key{};  // which key of the ring `derived` comes from
        secret derived{};
        replay_window window;  // goes on when the sender takes another key, as its counter does

        ~sender() { wipe(derived); }
    };
    struct cipher;  // hides OpenSSL
    struct envelope;

    void derive(const cluster_key& key, peer_id id, epoch_t epoch, secret& out) const;
    bool decrypt(const envelope& with, const secret& key, bytes_view sealed, std::byte* to);
    sender& remember(peer_id id);

    std::vector<ring_key> m_keys;  // 1 to keys_max
    cluster_id m_cluster;
    peer_id m_self;
    epoch_t m_epoch;
    std::uint64_t m_counter;
    secret m_own_key{};
    std::unique_ptr<cipher> m_cipher;
    std::size_t m_senders_max;
    std::list<sender> m_recent;  // the most recently heard first
    std::map<peer_id, std::list<sender>::iterator> m_senders;
    peer_id m_last_sender{};
};

}  // namespace covey::net

#ifndef COVEY_COMPILED
#include <covey/net/impl/seal.ipp>
#endif
