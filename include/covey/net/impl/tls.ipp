#pragma once

#include <covey/core/detail/concat.hpp>
#include <covey/net/impl/key.ipp>
#include <covey/net/tls.hpp>

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <array>

namespace covey::net {

namespace detail {

using ssl_context_ptr = std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)>;
using ssl_ptr = std::unique_ptr<SSL, decltype(&SSL_free)>;

inline constexpr std::string_view tls_identity_prefix = "covey ";
inline constexpr std::size_t tls_fingerprint_digits = 8;
inline constexpr std::size_t tls_cluster_digits = 32;
/// A sender must take new keys before 2^24.5 records under one (RFC 8446, 5.5); this is well before.
inline constexpr std::uint64_t tls_records_per_key = std::uint64_t{1} << 23;
inline constexpr std::size_t tls_record_bytes = 16384;

}  // namespace detail

struct tls_context::state {
    struct psk {
        std::array<std::byte, 32> secret{};
        std::string identity;  // "covey <cluster> <fingerprint>"

        psk() = default;
        psk(const psk&) = default;
        psk& operator=(const psk&) = default;
        ~psk() { wipe(secret); }
    };
    std::vector<psk> keys;  // the one that a client proves first
    std::string cluster;
    detail::ssl_context_ptr client{nullptr, &SSL_CTX_free};
    detail::ssl_context_ptr server{nullptr, &SSL_CTX_free};
};

struct tls_session::engine {
    std::shared_ptr<const tls_context> context;
    tls_session::role role{};
    tls_session::state status = tls_session::state::handshaking;
    errc code = errc::auth_failed;
    std::string reason;
    std::string other_identity;  // server: a key that the client named and that is not ours
    bool key_offered = false;
    bool first_byte_seen = false;
    byte_buffer own_alert;  // for a side that does not speak TLS at all, and so has no record layer yet
    std::uint64_t records = 0;
    BIO* in = nullptr;  // both owned by ssl
    BIO* out = nullptr;
    detail::ssl_ptr ssl{nullptr, &SSL_free};

    void fail(errc why, std::string text) {
        status = tls_session::state::failed;
        code = why;
        reason = std::move(text);
        ERR_clear_error();
    }
    void fail_from_queue();
    void advance();
};

namespace detail {

inline tls_session::engine& tls_engine(SSL* ssl) { return *static_cast<tls_session::engine*>(SSL_get_app_data(ssl)); }

/// The pre-shared key in the form OpenSSL wants: a session that might be resumed. The caller owns it; nullptr on failure.
inline SSL_SESSION* tls_psk_session(SSL* ssl, const tls_context::state::psk& key) {
    static constexpr unsigned char aes_128_gcm_sha256[] = {0x13, 0x01};
    const SSL_CIPHER* cipher = SSL_CIPHER_find(ssl, aes_128_gcm_sha256);
    SSL_SESSION* session = SSL_SESSION_new();
    if (session == nullptr || cipher == nullptr ||
        SSL_SESSION_set1_master_key(session, reinterpret_cast<const unsigned char*>(key.secret.data()), key.secret.size()) != 1 ||
        SSL_SESSION_set_cipher(session, cipher) != 1 || SSL_SESSION_set_protocol_version(session, TLS1_3_VERSION) != 1) {
        SSL_SESSION_free(session);
        return nullptr;
    }
    return session;
}

inline int tls_use_psk(SSL* ssl, const EVP_MD*, const unsigned char** identity, std::size_t* identity_size, SSL_SESSION** session) {
    const tls_context::state::psk& key = tls_engine(ssl).context->get().keys.front();
    *session = tls_psk_session(ssl, key);
    *identity = reinterpret_cast<const unsigned char*>(key.identity.data());
    *identity_size = key.identity.size();
    return *session != nullptr ? 1 : 0;
}

inline int tls_find_psk(SSL* ssl, const unsigned char* identity, std::size_t identity_size, SSL_SESSION** session) {
    tls_session::engine& engine = tls_engine(ssl);
    const tls_context::state& shared = engine.context->get();
    const std::string_view named(reinterpret_cast<const char*>(identity), identity_size);
    engine.key_offered = true;
    *session = nullptr;  // an unknown key: the handshake goes on without one and fails for want of a certificate
    const auto found = std::find_if(shared.keys.begin(), shared.keys.end(), [named](const auto& key) { return key.identity == named; });
    const tls_context::state::psk& first = shared.keys.front();
    if (found == shared.keys.end()) {
        engine.other_identity = named.substr(0, 128);
        // Of our cluster: it is tried with a key that it cannot be, which tells the other side that the key is what is wrong.
        const std::string_view ours = std::string_view(first.identity).substr(0, first.identity.size() - tls_fingerprint_digits);
        if (!named.starts_with(ours)) return 1;
    }
    *session = tls_psk_session(ssl, found != shared.keys.end() ? *found : first);
    return *session != nullptr ? 1 : 0;
}

/// No certificate is ever good: a server that shows one does not hold the key.
inline int tls_refuse_certificate(X509_STORE_CTX*, void*) { return 0; }

inline ssl_context_ptr make_tls_context(const SSL_METHOD* method) {
    ssl_context_ptr context(SSL_CTX_new(method), &SSL_CTX_free);
    if (!context || SSL_CTX_set_min_proto_version(context.get(), TLS1_3_VERSION) != 1 ||
        SSL_CTX_set_max_proto_version(context.get(), TLS1_3_VERSION) != 1 ||
        SSL_CTX_set_ciphersuites(context.get(), "TLS_AES_128_GCM_SHA256") != 1 ||
        SSL_CTX_set1_groups_list(context.get(), "X25519:P-256") != 1 || SSL_CTX_set_num_tickets(context.get(), 0) != 1) {
        ERR_clear_error();
        throw error(errc::auth_failed, "this OpenSSL cannot do TLS 1.3 with AES-128-GCM and X25519; covey needs OpenSSL 3 or later");
    }
    SSL_CTX_set_options(context.get(), SSL_OP_NO_TICKET | SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_session_cache_mode(context.get(), SSL_SESS_CACHE_OFF);
    SSL_CTX_set_mode(context.get(), SSL_MODE_RELEASE_BUFFERS);
    return context;
}

}  // namespace detail

COVEY_INLINE tls_context::tls_context(std::span<const cluster_key> keys, const cluster_id& cluster) : m_state(std::make_unique<state>()) {
    if (keys.empty()) throw error(errc::bad_argument, "encrypted links need at least one cluster key");
    m_state->cluster = to_string(cluster);
    for (const cluster_key& key : keys) {
        state::psk& k = m_state->keys.emplace_back();
        k.identity = covey::detail::concat({detail::tls_identity_prefix, m_state->cluster, " ", to_string(key.fingerprint())});
        key.derive(as_bytes_view(covey::detail::concat({"covey tls psk 1 ", m_state->cluster})), k.secret);
    }
    m_state->client = detail::make_tls_context(TLS_client_method());
    m_state->server = detail::make_tls_context(TLS_server_method());
    SSL_CTX_set_psk_use_session_callback(m_state->client.get(), &detail::tls_use_psk);
    SSL_CTX_set_verify(m_state->client.get(), SSL_VERIFY_PEER, nullptr);
    SSL_CTX_set_cert_verify_callback(m_state->client.get(), &detail::tls_refuse_certificate, nullptr);
    SSL_CTX_set_psk_find_session_callback(m_state->server.get(), &detail::tls_find_psk);
}

COVEY_INLINE tls_context::~tls_context() = default;

COVEY_INLINE tls_session::tls_session(std::shared_ptr<const tls_context> context, role r) : m_engine(std::make_unique<engine>()) {
    ERR_clear_error();
    m_engine->context = std::move(context);
    m_engine->role = r;
    const tls_context::state& shared = m_engine->context->get();
    m_engine->ssl.reset(SSL_new(r == role::client ? shared.client.get() : shared.server.get()));
    BIO* in = BIO_new(BIO_s_mem());
    BIO* out = BIO_new(BIO_s_mem());
    if (!m_engine->ssl || in == nullptr || out == nullptr) {
        BIO_free(in);
        BIO_free(out);
        throw std::bad_alloc();
    }
    SSL_set_bio(m_engine->ssl.get(), in, out);
    m_engine->in = in;
    m_engine->out = out;
    SSL_set_app_data(m_engine->ssl.get(), m_engine.get());
    if (r == role::client) {
        SSL_set_connect_state(m_engine->ssl.get());
        m_engine->advance();
    } else {
        SSL_set_accept_state(m_engine->ssl.get());
    }
}

COVEY_INLINE tls_session::~tls_session() = default;

COVEY_INLINE tls_session::state tls_session::status() const noexcept { return m_engine->status; }
COVEY_INLINE errc tls_session::failure() const noexcept { return m_engine->code; }
COVEY_INLINE const std::string& tls_session::reason() const noexcept { return m_engine->reason; }

/// Turns what OpenSSL reports into what a person can act on.
COVEY_INLINE void tls_session::engine::fail_from_queue() {
    const unsigned long first = ERR_peek_error();
    const int number = ERR_GET_LIB(first) == ERR_LIB_SSL ? ERR_GET_REASON(first) : 0;
    if (status != tls_session::state::handshaking) {
        return fail(errc::protocol_error, "the encrypted stream was damaged or tampered with");
    }
    if (number == SSL_R_BINDER_DOES_NOT_VERIFY || number == SSL_R_TLSV1_ALERT_DECRYPT_ERROR ||
        number == SSL_R_SSLV3_ALERT_ILLEGAL_PARAMETER) {  // the alert that OpenSSL 3 sends for it
        return fail(errc::auth_failed, "the cluster key does not match; give every peer the same key file");
    }
    if (!other_identity.empty()) {
        const std::string_view named = other_identity;
        const bool is_covey = named.starts_with(detail::tls_identity_prefix) && named.size() == context->get().keys.front().identity.size();
        const std::string_view other =
            is_covey ? named.substr(detail::tls_identity_prefix.size(), detail::tls_cluster_digits) : std::string_view();
        if (is_covey && std::all_of(other.begin(), other.end(), [](char c) { return detail::hex_value(c) >= 0; })) {
            return fail(errc::wrong_cluster,
                        covey::detail::concat({"the other side belongs to cluster ", other, ", this peer to ", context->get().cluster}));
        }
        return fail(errc::auth_failed, "the other side speaks TLS but names a key that is no cluster key");
    }
    if (role == tls_session::role::server) {
        if (number == SSL_R_HTTP_REQUEST || number == SSL_R_WRONG_VERSION_NUMBER) {
            return fail(errc::auth_failed, "the other side does not speak TLS; it has no cluster key");
        }
        if (!key_offered) return fail(errc::auth_failed, "the other side speaks TLS but offers no cluster key");
    } else {
        if (number == SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE) {
            return fail(errc::wrong_cluster, "the other side does not know this cluster; it belongs to another one or to something else");
        }
        if (number == SSL_R_CERTIFICATE_VERIFY_FAILED) {
            return fail(errc::auth_failed, "the other side speaks TLS with a certificate, not with the cluster key");
        }
    }
    const char* words = ERR_reason_error_string(first);
    fail(errc::auth_failed, covey::detail::concat({"the TLS handshake failed (", (words != nullptr ? words : "no details"), ")"}));
}

COVEY_INLINE void tls_session::engine::advance() {
    if (status != tls_session::state::handshaking) return;
    ERR_clear_error();
    const int result = SSL_do_handshake(ssl.get());
    if (result == 1) {
        // An external key counts as a resumed session. Anything else would be a side that has not proved to hold the key.
        if (SSL_session_reused(ssl.get()) != 1) return fail(errc::auth_failed, "the other side did not use the cluster key");
        status = tls_session::state::open;
        return;
    }
    const int why = SSL_get_error(ssl.get(), result);
    if (why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE) fail_from_queue();
}

COVEY_INLINE void tls_session::feed(bytes_view ciphertext) {
    engine& e = *m_engine;
    if (ciphertext.empty() || e.status == state::failed || e.status == state::closed) return;
    if (!e.first_byte_seen) {
        e.first_byte_seen = true;
        // Records that can come first: an alert (21) or a handshake message (22).
        const auto first = static_cast<unsigned>(ciphertext[0]);
        if (first != 21 && first != 22) {
            e.fail(errc::auth_failed, "the other side does not speak TLS; it has no cluster key");
            static constexpr unsigned char unexpected_message[] = {21, 3, 3, 0, 2, 2, 10};
            e.own_alert.append(unexpected_message, sizeof unexpected_message);
            return;
        }
    }
    while (!ciphertext.empty()) {
        const std::size_t n = std::min<std::size_t>(ciphertext.size(), 1u << 30);
        if (BIO_write(e.in, ciphertext.data(), static_cast<int>(n)) != static_cast<int>(n)) throw std::bad_alloc();
        ciphertext = ciphertext.subspan(n);
    }
    e.advance();
}

COVEY_INLINE bool tls_session::has_output() const noexcept { return BIO_ctrl_pending(m_engine->out) != 0 || !m_engine->own_alert.empty(); }

COVEY_INLINE void tls_session::take(byte_buffer& ciphertext) {
    engine& e = *m_engine;
    ciphertext.append(e.own_alert.view());
    e.own_alert.clear();
    while (const std::size_t pending = std::min<std::size_t>(BIO_ctrl_pending(e.out), 1u << 30)) {
        const int n = BIO_read(e.out, ciphertext.prepare(pending), static_cast<int>(pending));
        if (n <= 0) return;
        ciphertext.commit(static_cast<std::size_t>(n));
    }
}

COVEY_INLINE std::size_t tls_session::read(std::span<std::byte> out) {
    engine& e = *m_engine;
    if (e.status != state::open || out.empty()) return 0;
    ERR_clear_error();
    std::size_t n = 0;
    const int result = SSL_read_ex(e.ssl.get(), out.data(), out.size(), &n);
    if (result == 1) return n;
    const int why = SSL_get_error(e.ssl.get(), result);
    if (why == SSL_ERROR_ZERO_RETURN) {
        e.status = state::closed;
    } else if (why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE) {
        e.fail_from_queue();
    }
    return 0;
}

COVEY_INLINE void tls_session::write(bytes_view plaintext) {
    engine& e = *m_engine;
    if (e.status != state::open || plaintext.empty()) return;
    ERR_clear_error();
    const std::uint64_t records = (plaintext.size() + detail::tls_record_bytes - 1) / detail::tls_record_bytes;
    if (e.records + records > detail::tls_records_per_key) {
        SSL_key_update(e.ssl.get(), SSL_KEY_UPDATE_NOT_REQUESTED);
        e.records = 0;
    }
    e.records += records;
    std::size_t n = 0;
    if (SSL_write_ex(e.ssl.get(), plaintext.data(), plaintext.size(), &n) != 1) e.fail_from_queue();
}

}  // namespace covey::net
