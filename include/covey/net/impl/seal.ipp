#pragma once

#include <covey/core/detail/concat.hpp>
#include <covey/net/seal.hpp>

#include <openssl/err.h>
#include <openssl/evp.h>

#include <algorithm>

namespace covey::net {

/// The front of a sealed datagram, which the contents and the tag follow (part of the wire format), and what is authenticated
/// besides: the cluster.
struct sealer::envelope {
    static constexpr std::uint8_t version = 1;

    std::uint32_t version_and_key = 0;  // lowest byte: the version; above: the low 24 bits of the key's fingerprint
    epoch_t epoch = 0;
    peer_id sender{};
    std::uint64_t counter = 0;
    cluster_id cluster;

    static std::uint32_t mark_of(key_fingerprint key) noexcept { return version | key.value << 8; }
};

struct sealer::cipher {
    std::unique_ptr<EVP_CIPHER, decltype(&EVP_CIPHER_free)> algorithm{EVP_CIPHER_fetch(nullptr, "AES-256-GCM", nullptr), &EVP_CIPHER_free};
    std::unique_ptr<EVP_CIPHER_CTX, decltype(&EVP_CIPHER_CTX_free)> context{EVP_CIPHER_CTX_new(), &EVP_CIPHER_CTX_free};

    static const unsigned char* octets(const void* p) noexcept { return static_cast<const unsigned char*>(p); }
    static unsigned char* octets(void* p) noexcept { return static_cast<unsigned char*>(p); }

    /// Sets key and nonce and takes in the associated data. `direction`: 1 encrypts, 0 decrypts.
    bool begin(const secret& key, const envelope& with, int direction) {
        unsigned char nonce[12] = {};
        std::memcpy(nonce + 4, &with.counter, sizeof with.counter);
        int n = 0;
        return EVP_CipherInit_ex2(context.get(), algorithm.get(), octets(key.data()), nonce, direction, nullptr) == 1 &&
               EVP_CipherUpdate(context.get(), nullptr, &n, octets(&with), static_cast<int>(sizeof with)) == 1;
    }
    bool transform(const std::byte* from, std::size_t size, std::byte* to) {
        int n = 0;
        return size == 0 || EVP_CipherUpdate(context.get(), octets(to), &n, octets(from), static_cast<int>(size)) == 1;
    }
    bool tag(int what, std::byte* bytes) { return EVP_CIPHER_CTX_ctrl(context.get(), what, static_cast<int>(tag_bytes), bytes) == 1; }
    bool finish() {
        unsigned char nothing[16];
        int n = 0;
        return EVP_CipherFinal_ex(context.get(), nothing, &n) == 1;
    }
};

COVEY_INLINE std::string_view to_string(seal_rejection why) noexcept {
    switch (why) {
        case seal_rejection::too_short: return "too short";
        case seal_rejection::oversized: return "oversized";
        case seal_rejection::unknown_version: return "no envelope of this version";
        case seal_rejection::own: return "our own, come back";
        case seal_rejection::stale_epoch: return "from an earlier life of its sender";
        case seal_rejection::replayed: return "seen before, or too old to tell";
        case seal_rejection::unknown_key: return "sealed under a key that this peer does not have";
        case seal_rejection::unauthentic: return "not authentic: another cluster, changed on the way, or made up";
        case seal_rejection::count_: break;
    }
    return "accepted";
}

COVEY_INLINE sealer::sealer(std::span<const cluster_key> keys, const cluster_id& cluster, peer_id self, epoch_t epoch,
                            std::uint64_t first_counter, std::size_t senders_max)
    : m_cluster(cluster),
      m_self(self),
      m_epoch(epoch),
      m_counter(first_counter),
      m_cipher(std::make_unique<cipher>()),
      m_senders_max(senders_max == 0 ? 1 : senders_max) {
    static_assert(sizeof(envelope) == header_bytes + sizeof(cluster_id) && std::is_trivially_copyable_v<envelope>);
    if (!m_cipher->algorithm || !m_cipher->context) {
        throw error(errc::auth_failed, "this OpenSSL offers no AES-256-GCM; datagrams cannot be sealed");
    }
    set_keys(keys);
}

COVEY_INLINE sealer::~sealer() { wipe(m_own_key); }

COVEY_INLINE void sealer::set_keys(std::span<const cluster_key> keys) {
    if (keys.empty() || keys.size() > keys_max) {
        throw error(errc::bad_argument, covey::detail::concat({"datagrams are sealed under 1 to ", keys_max, " keys, not ", keys.size()}));
    }
    std::vector<ring_key> ring;
    ring.reserve(keys.size());
    for (const cluster_key& key : keys) ring.push_back({key, key.fingerprint()});
    derive(ring.front().key, m_self, m_epoch, m_own_key);
    m_keys.swap(ring);
}

COVEY_INLINE void sealer::derive(const cluster_key& key, peer_id id, epoch_t epoch, secret& out) const {
    byte_buffer info;
    byte_writer writer(info);
    writer.raw(as_bytes_view("covey datagram 1"));
    writer.number(m_cluster.high);
    writer.number(m_cluster.low);
    writer.number(id.value);
    writer.number(epoch);
    key.derive(info, out);
}

COVEY_INLINE void sealer::set_epoch(epoch_t epoch) {
    derive(m_keys.front().key, m_self, epoch, m_own_key);
    m_epoch = epoch;  // the counter goes on, so that even a return to an old epoch uses no nonce twice
}

COVEY_INLINE void sealer::seal(bytes_view plain, byte_buffer& out) {
    const envelope with{envelope::mark_of(m_keys.front().name), m_epoch, m_self, m_counter, m_cluster};
    ++m_counter;
    std::byte* to = out.prepare(plain.size() + overhead);
    std::memcpy(to, &with, header_bytes);
    if (!m_cipher->begin(m_own_key, with, 1) || !m_cipher->transform(plain.data(), plain.size(), to + header_bytes) ||
        !m_cipher->finish() || !m_cipher->tag(EVP_CTRL_AEAD_GET_TAG, to + header_bytes + plain.size())) {
        ERR_clear_error();
        throw error(errc::auth_failed, "sealing a datagram failed inside OpenSSL");
    }
    out.commit(plain.size() + overhead);
}

COVEY_INLINE sealer::sender& sealer::remember(peer_id id) {
    if (m_senders.size() >= m_senders_max) {
        m_senders.erase(m_recent.back().id);
        m_recent.pop_back();
    }
    m_recent.emplace_front();
    m_recent.front().id = id;
    m_senders.emplace(id, m_recent.begin());
    return m_recent.front();
}

/// Writes the contents to `to`, which has room for them and a byte; what stands there means nothing unless it says true.
COVEY_INLINE bool sealer::decrypt(const envelope& with, const secret& key, bytes_view sealed, std::byte* to) {
    const std::size_t size = sealed.size() - overhead;
    std::array<std::byte, tag_bytes> tag;
    std::memcpy(tag.data(), sealed.data() + header_bytes + size, tag_bytes);
    if (m_cipher->begin(key, with, 0) && m_cipher->transform(sealed.data() + header_bytes, size, to) &&
        m_cipher->tag(EVP_CTRL_AEAD_SET_TAG, tag.data()) && m_cipher->finish())
        return true;
    wipe({to, size});  // it was decrypted, but by nobody's leave
    ERR_clear_error();
    return false;
}

COVEY_INLINE std::optional<seal_rejection> sealer::open(bytes_view sealed, byte_buffer& out) {
    if (sealed.size() < overhead) return seal_rejection::too_short;
    if (sealed.size() > sealed_bytes_max) return seal_rejection::oversized;
    envelope with;
    std::memcpy(static_cast<void*>(&with), sealed.data(), header_bytes);
    with.cluster = m_cluster;
    if ((with.version_and_key & 0xff) != envelope::version) return seal_rejection::unknown_version;
    const auto bears_mark = [&with](const ring_key& k) { return envelope::mark_of(k.name) == with.version_and_key; };
    if (std::none_of(m_keys.begin(), m_keys.end(), bears_mark)) return seal_rejection::unknown_key;
    if (with.sender == m_self) return seal_rejection::own;
    if (!with.sender || with.epoch == 0) return seal_rejection::unauthentic;

    const auto known = m_senders.find(with.sender);
    sender* from = known != m_senders.end() ? &*known->second : nullptr;
    if (from != nullptr && with.epoch < from->epoch) return seal_rejection::stale_epoch;
    const bool same_life = from != nullptr && with.epoch == from->epoch;
    if (same_life && !from->window.is_new(with.counter)) return seal_rejection::replayed;

    const std::size_t size = sealed.size() - overhead;
    std::byte* to = out.prepare(size + 1);  // never null, even for an empty datagram
    // The mark is only a part of the fingerprint, so two keys may bear it.
    for (const ring_key& candidate : m_keys) {
        if (!bears_mark(candidate)) continue;
        const bool derived_before = same_life && from->key == candidate.name;
        secret fresh{};
        if (!derived_before) derive(candidate.key, with.sender, with.epoch, fresh);
        const bool authentic = decrypt(with, derived_before ? from->derived : fresh, sealed, to);
        if (authentic && !derived_before) {
            if (from == nullptr) from = &remember(with.sender);
            if (!same_life) from->window = {};
            from->epoch = with.epoch;
            from->key = candidate.name;
            from->derived = fresh;
        }
        wipe(fresh);
        if (!authentic) continue;
        from->window.mark(with.counter);
        m_recent.splice(m_recent.begin(), m_recent, m_senders.find(from->id)->second);
        m_last_sender = from->id;
        out.commit(size);
        return std::nullopt;
    }
    return seal_rejection::unauthentic;
}

}  // namespace covey::net
