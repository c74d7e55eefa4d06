#pragma once

#include <covey/net/seal.hpp>

#include <openssl/err.h>
#include <openssl/evp.h>

#include <chrono>

namespace covey::net {

namespace detail {

/// The front of a sealed datagram; the tag follows the contents. Part of the wire format.
struct seal_header {
    std::uint8_t version = 1;
    std::uint8_t reserved[3] = {};
    epoch_t epoch = 0;
    peer_id sender{};
    std::uint64_t counter = 0;
};
static_assert(sizeof(seal_header) == sealer::header_bytes && std::is_trivially_copyable_v<seal_header>);

/// What is authenticated besides the contents.
struct seal_associated {
    seal_header header;
    cluster_id cluster;
};
static_assert(sizeof(seal_associated) == sealer::header_bytes + 16);

inline const unsigned char* octets(const void* p) noexcept { return static_cast<const unsigned char*>(p); }
inline unsigned char* octets(void* p) noexcept { return static_cast<unsigned char*>(p); }

}  // namespace detail

struct sealer::cipher {
    std::unique_ptr<EVP_CIPHER, decltype(&EVP_CIPHER_free)> algorithm{EVP_CIPHER_fetch(nullptr, "AES-256-GCM", nullptr), &EVP_CIPHER_free};
    std::unique_ptr<EVP_CIPHER_CTX, decltype(&EVP_CIPHER_CTX_free)> context{EVP_CIPHER_CTX_new(), &EVP_CIPHER_CTX_free};

    /// Sets key and nonce and takes in the associated data. `direction`: 1 encrypts, 0 decrypts.
    bool begin(const secret& key, const detail::seal_associated& with, int direction) {
        unsigned char nonce[12] = {};
        std::memcpy(nonce + 4, &with.header.counter, sizeof with.header.counter);
        int n = 0;
        return EVP_CipherInit_ex2(context.get(), algorithm.get(), detail::octets(key.data()), nonce, direction, nullptr) == 1 &&
               EVP_CipherUpdate(context.get(), nullptr, &n, detail::octets(&with), static_cast<int>(sizeof with)) == 1;
    }
    bool transform(const std::byte* from, std::size_t size, std::byte* to) {
        int n = 0;
        return size == 0 || EVP_CipherUpdate(context.get(), detail::octets(to), &n, detail::octets(from), static_cast<int>(size)) == 1;
    }
    bool finish() {
        unsigned char nothing[16];
        int n = 0;
        return EVP_CipherFinal_ex(context.get(), nothing, &n) == 1;
    }
};

COVEY_INLINE std::uint64_t sealer::counter_from_wall_clock() noexcept {
    const auto since = std::chrono::system_clock::now().time_since_epoch();
    return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(since).count());
}

COVEY_INLINE sealer::sealer(const cluster_key& key, const cluster_id& cluster, peer_id self, epoch_t epoch, std::size_t senders_max,
                            std::uint64_t first_counter)
    : m_key(key),
      m_cluster(cluster),
      m_self(self),
      m_epoch(epoch),
      m_counter(first_counter),
      m_cipher(std::make_unique<cipher>()),
      m_senders_max(senders_max == 0 ? 1 : senders_max) {
    if (!m_cipher->algorithm || !m_cipher->context) {
        throw error(errc::auth_failed, "this OpenSSL offers no AES-256-GCM; datagrams cannot be sealed");
    }
    derive(m_self, m_epoch, m_own_key);
}

COVEY_INLINE sealer::~sealer() { wipe(m_own_key); }

COVEY_INLINE void sealer::derive(peer_id id, epoch_t epoch, secret& out) const {
    byte_buffer info;
    byte_writer writer(info);
    writer.raw(as_bytes_view("covey datagram 1"));
    writer.number(m_cluster.high);
    writer.number(m_cluster.low);
    writer.number(id.value);
    writer.number(epoch);
    m_key.derive(info, out);
}

COVEY_INLINE void sealer::set_epoch(epoch_t epoch) {
    m_epoch = epoch;  // the counter goes on, so that even a return to an old epoch uses no nonce twice
    derive(m_self, m_epoch, m_own_key);
}

COVEY_INLINE void sealer::seal(bytes_view plain, byte_buffer& out) {
    const detail::seal_associated with{{.epoch = m_epoch, .sender = m_self, .counter = m_counter}, m_cluster};
    ++m_counter;
    std::byte* to = out.prepare(plain.size() + overhead);
    std::memcpy(to, &with.header, header_bytes);
    if (!m_cipher->begin(m_own_key, with, 1) || !m_cipher->transform(plain.data(), plain.size(), to + header_bytes) ||
        !m_cipher->finish() ||
        EVP_CIPHER_CTX_ctrl(m_cipher->context.get(), EVP_CTRL_AEAD_GET_TAG, static_cast<int>(tag_bytes),
                            to + header_bytes + plain.size()) != 1) {
        ERR_clear_error();
        throw error(errc::auth_failed, "sealing a datagram failed inside OpenSSL");
    }
    out.commit(plain.size() + overhead);
}

COVEY_INLINE bool sealer::is_new(const sender& from, std::uint64_t counter) noexcept {
    if (counter > from.highest) return true;
    const std::uint64_t age = from.highest - counter;
    return age < 64 && ((from.seen >> age) & 1) == 0;
}

COVEY_INLINE void sealer::mark(sender& from, std::uint64_t counter) noexcept {
    if (counter > from.highest) {
        const std::uint64_t ahead = counter - from.highest;
        from.seen = ahead < 64 ? from.seen << ahead : 0;
        from.highest = counter;
    }
    from.seen |= std::uint64_t{1} << (from.highest - counter);
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

COVEY_INLINE bool sealer::open(bytes_view sealed, byte_buffer& out) {
    const auto reject = [](std::uint64_t& reason) {
        ++reason;
        return false;
    };
    detail::seal_associated with{{}, m_cluster};
    if (sealed.size() < overhead || sealed.size() > (1u << 20)) return reject(m_rejections.malformed);
    std::memcpy(&with.header, sealed.data(), header_bytes);
    if (with.header.version != 1) return reject(m_rejections.malformed);
    if (with.header.sender == m_self) return reject(m_rejections.own);

    const auto known = m_senders.find(with.header.sender);
    sender* from = known != m_senders.end() ? &*known->second : nullptr;
    if (from != nullptr && with.header.epoch < from->epoch) return reject(m_rejections.stale_epoch);
    const bool same_life = from != nullptr && with.header.epoch == from->epoch;
    if (same_life && !is_new(*from, with.header.counter)) return reject(m_rejections.replayed);

    secret fresh{};
    if (!same_life) derive(with.header.sender, with.header.epoch, fresh);
    const secret& key = same_life ? from->key : fresh;

    const std::size_t size = sealed.size() - overhead;
    std::array<std::byte, tag_bytes> tag;
    std::memcpy(tag.data(), sealed.data() + header_bytes + size, tag_bytes);
    std::byte* to = out.prepare(size + 1);  // never null, even for an empty datagram
    const bool authentic =
        m_cipher->begin(key, with, 0) && m_cipher->transform(sealed.data() + header_bytes, size, to) &&
        EVP_CIPHER_CTX_ctrl(m_cipher->context.get(), EVP_CTRL_AEAD_SET_TAG, static_cast<int>(tag_bytes), tag.data()) == 1 &&
        m_cipher->finish();
    if (!authentic) {
        wipe({to, size});  // it was decrypted, but by nobody's leave
        wipe(fresh);
        ERR_clear_error();
        return reject(m_rejections.unauthentic);
    }
    if (!same_life) {
        if (from == nullptr) from = &remember(with.header.sender);
        from->epoch = with.header.epoch;
        from->key = fresh;
        from->highest = with.header.counter;
        from->seen = 0;
        wipe(fresh);
    }
    mark(*from, with.header.counter);
    m_recent.splice(m_recent.begin(), m_recent, m_senders.find(from->id)->second);
    m_last_sender = from->id;
    out.commit(size);
    return true;
}

}  // namespace covey::net
