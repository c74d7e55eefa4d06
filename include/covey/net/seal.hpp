// Sealed datagrams: each one encrypted and authenticated by itself, with a window against replays.
#pragma once

#include <covey/core/bytes.hpp>
#include <covey/net/key.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <list>
#include <map>
#include <memory>

namespace covey::net {

/// How many datagrams `open` refused, by reason.
struct seal_rejections {
    std::uint64_t malformed = 0;    ///< too short, or of an unknown version
    std::uint64_t own = 0;          ///< our own datagram sent back to us
    std::uint64_t stale_epoch = 0;  ///< from an earlier life of its sender
    std::uint64_t replayed = 0;     ///< seen before, or too old to tell
    std::uint64_t unauthentic = 0;  ///< another key, another cluster, or changed on the way

    std::uint64_t total() const noexcept { return malformed + own + stale_epoch + replayed + unauthentic; }
};

/// Seals and opens datagrams with AES-256-GCM. Every (sender, epoch) has its own key, derived from the cluster key; the
/// nonce is a counter that only grows, the header and the cluster id are authenticated too. Each sender's last 64 datagrams
/// may arrive in any order, once each; older ones are refused. Not thread-safe: its owner calls it under its own lock.
///
/// What it remembers of senders is bounded: `senders_max` of them, the least recently heard forgotten first. Of a sender that
/// was forgotten, a recorded datagram would be accepted once more, so keep the bound above the size of the cluster.
class sealer {
public:
    static constexpr std::size_t header_bytes = 24;
    static constexpr std::size_t tag_bytes = 16;
    /// A sealed datagram is this much longer than its contents.
    static constexpr std::size_t overhead = header_bytes + tag_bytes;

    /// Nanoseconds of the wall clock since 1970: higher in each life of a process than in any before it.
    static std::uint64_t counter_from_wall_clock() noexcept;

    /// `first_counter` must be above every counter used before under the same key, sender and epoch, for a nonce used twice
    /// breaks the encryption. Throws errc::auth_failed when OpenSSL cannot do it.
    sealer(const cluster_key& key, const cluster_id& cluster, peer_id self, epoch_t epoch, std::size_t senders_max = 16384,
           std::uint64_t first_counter = counter_from_wall_clock());
    sealer(const sealer&) = delete;
    sealer& operator=(const sealer&) = delete;
    ~sealer();

    /// From now on this peer sends under this epoch.
    void set_epoch(epoch_t epoch);

    /// Appends the sealed form of `plain`.
    void seal(bytes_view plain, byte_buffer& out);

    /// Appends the contents of a datagram that is authentic and new, and says true. Otherwise `out` is unchanged and the
    /// reason is counted. Allocates nothing for what is not authentic.
    bool open(bytes_view sealed, byte_buffer& out);

    /// The sender of the last datagram that `open` accepted.
    peer_id last_sender() const noexcept { return m_last_sender; }
    const seal_rejections& rejections() const noexcept { return m_rejections; }
    std::size_t senders() const noexcept { return m_senders.size(); }

private:
    using secret = std::array<std::byte, 32>;
    struct sender {
        peer_id id{};
        epoch_t epoch = 0;
        secret key{};
        std::uint64_t highest = 0;  // counter
        std::uint64_t seen = 0;     // bit i: the datagram `highest - i` has been opened

        ~sender() { wipe(key); }
    };
    struct cipher;  // hides OpenSSL

    void derive(peer_id id, epoch_t epoch, secret& out) const;
    static bool is_new(const sender& from, std::uint64_t counter) noexcept;
    static void mark(sender& from, std::uint64_t counter) noexcept;
    sender& remember(peer_id id);

    cluster_key m_key;
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
    seal_rejections m_rejections;
};

}  // namespace covey::net

#ifndef COVEY_COMPILED
#include <covey/net/impl/seal.ipp>
#endif
