// TLS 1.3 between two holders of the cluster key, as a machine of bytes in and bytes out: no socket, no clock, no thread.
#pragma once

#include <covey/core/bytes.hpp>
#include <covey/net/key.hpp>

#include <cstddef>
#include <memory>
#include <span>
#include <string>

namespace covey::net {

/// What all sessions of a peer share: the pre-shared keys derived from the cluster's keys, and the settings (TLS 1.3 only, one of
/// those with an ephemeral (EC)DH exchange, no certificates, no tickets). Immutable; sessions on many threads may share it.
class tls_context {
public:
    /// A client proves the first of `keys`, a server accepts any. Throws errc::bad_argument for no key, errc::auth_failed when
    /// OpenSSL cannot offer this.
    tls_context(std::span<const cluster_key> keys, const cluster_id& cluster);
    tls_context(const cluster_key& key, const cluster_id& cluster) : tls_context(std::span(&key, 1), cluster) {}
    tls_context(const tls_context&) = delete;
    tls_context& operator=(const tls_context&) = delete;
    ~tls_context();

    struct state;
    const state& get() const noexcept { return *m_state; }

private:
    std::unique_ptr<state> m_state;
};

/// One end of one TLS connection (RFC 8446; external pre-shared keys: section 4.2.11). Not thread-safe. It never throws for
/// what the other side sends: it turns `failed` and says why; `take` then still yields the alert for the other side.
class tls_session {
public:
    enum class role { client, server };
    enum class state {
        handshaking,
        open,    ///< the other side has proved that it holds the key
        closed,  ///< it said that it will send no more
        failed,
    };

    /// A client has its first message for `take` at once. Throws std::bad_alloc or errc::auth_failed.
    tls_session(std::shared_ptr<const tls_context> context, role r);
    tls_session(const tls_session&) = delete;
    tls_session& operator=(const tls_session&) = delete;
    ~tls_session();

    state status() const noexcept;
    /// Why it failed: a code and one plain line.
    errc failure() const noexcept;
    const std::string& reason() const noexcept;

    /// Bytes from the network.
    void feed(bytes_view ciphertext);
    /// Appends the bytes that are due to the network.
    void take(byte_buffer& ciphertext);
    bool has_output() const noexcept;

    /// Decrypted bytes; 0: none left for now, or no longer open.
    std::size_t read(std::span<std::byte> out);
    /// Encrypts all of it. Precondition: open.
    void write(bytes_view plaintext);

    struct engine;  // hides OpenSSL

private:
    std::unique_ptr<engine> m_engine;
};

}  // namespace covey::net

#ifndef COVEY_COMPILED
#include <covey/net/impl/tls.ipp>
#endif
