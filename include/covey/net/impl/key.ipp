#pragma once

#include <covey/core/detail/concat.hpp>
#include <covey/net/key.hpp>

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <openssl/rand.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace covey::net {

namespace detail {

/// A file descriptor that closes itself.
class file_descriptor {
public:
    explicit file_descriptor(int fd) noexcept : m_fd(fd) {}
    file_descriptor(const file_descriptor&) = delete;
    file_descriptor& operator=(const file_descriptor&) = delete;
    ~file_descriptor() {
        if (m_fd >= 0) ::close(m_fd);
    }
    int get() const noexcept { return m_fd; }

private:
    int m_fd;
};

inline std::string system_text(int number) { return std::generic_category().message(number); }

inline int hex_value(char c) noexcept {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

}  // namespace detail

COVEY_INLINE void wipe(std::span<std::byte> secret) noexcept { OPENSSL_cleanse(secret.data(), secret.size()); }

COVEY_INLINE cluster_key::~cluster_key() { wipe(m_secret); }

COVEY_INLINE cluster_key cluster_key::generate() {
    cluster_key key;
    if (RAND_bytes(reinterpret_cast<unsigned char*>(key.m_secret.data()), static_cast<int>(size)) != 1) {
        throw error(errc::auth_failed, "no cluster key could be made: the system's random generator failed");
    }
    return key;
}

COVEY_INLINE cluster_key cluster_key::parse(std::string_view text) {
    const auto is_space = [](char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; };
    while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
    while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
    if (text.size() != 2 * size) {
        throw error(errc::bad_argument,
                    covey::detail::concat({"a cluster key is ", 2 * size, " hex digits, not ", text.size(), " characters"}));
    }
    cluster_key key;
    for (std::size_t i = 0; i < size; ++i) {
        const int high = detail::hex_value(text[2 * i]);
        const int low = detail::hex_value(text[2 * i + 1]);
        if (high < 0 || low < 0) throw error(errc::bad_argument, "a cluster key is hex digits only (0-9, a-f)");
        key.m_secret[i] = static_cast<std::byte>(high * 16 + low);
    }
    return key;
}

COVEY_INLINE std::vector<cluster_key> cluster_key::load_all(const std::string& path) {
    const auto fail = [&path](const std::string& why) {
        return error(errc::auth_failed, covey::detail::concat({"key file ", path, ": ", why}));
    };
    // Non-blocking, so that a named pipe given by mistake is an error and not a hang.
    const detail::file_descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    if (file.get() < 0) {
        const int number = errno;
        if (number == ENOENT)
            throw fail(covey::detail::concat({"no such file; make one with `peerd keygen ", path, "` and copy it to every machine"}));
        throw fail(covey::detail::concat({detail::system_text(number), "; it must be readable by the user that runs the peer"}));
    }
    struct stat info{};
    if (::fstat(file.get(), &info) != 0) throw fail(detail::system_text(errno));
    if (!S_ISREG(info.st_mode)) throw fail("not a regular file");
    if ((info.st_mode & (S_IRWXG | S_IRWXO)) != 0)
        throw fail(covey::detail::concat({"others than its owner may use it; run `chmod 600 ", path, "`"}));

    std::array<char, keys_max * 128> text{};  // a key and its line end are 65 bytes; anything that fills this is none
    struct wiper {
        std::span<char> what;
        ~wiper() { wipe(std::as_writable_bytes(what)); }
    } const wipe_text{text};
    std::size_t length = 0;
    while (length < text.size()) {
        const ssize_t n = ::read(file.get(), text.data() + length, text.size() - length);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) throw fail(detail::system_text(errno));
        if (n == 0) break;
        length += static_cast<std::size_t>(n);
    }
    std::vector<cluster_key> keys;
    std::string_view rest(text.data(), length);
    do {
        const std::size_t end = std::min(rest.find('\n'), rest.size());
        const std::string_view line = rest.substr(0, end);
        rest.remove_prefix(std::min(end + 1, rest.size()));
        const bool is_blank = line.find_first_not_of(" \t\r") == std::string_view::npos;
        if (is_blank && !(rest.empty() && keys.empty())) continue;
        if (keys.size() == keys_max) throw fail(covey::detail::concat({"more than ", keys_max, " keys"}));
        try {
            keys.push_back(parse(line));
        } catch (const error& e) {
            throw fail(covey::detail::concat({e.what(), "; make a new one with `peerd keygen`"}));
        }
        if (std::find(keys.begin(), keys.end() - 1, keys.back()) != keys.end() - 1)
            throw fail(covey::detail::concat({"key ", to_string(keys.back().fingerprint()), " stands there twice"}));
    } while (!rest.empty());
    return keys;
}

COVEY_INLINE cluster_key cluster_key::load(const std::string& path) {
    const std::vector<cluster_key> keys = load_all(path);
    if (keys.size() == 1) return keys.front();
    throw error(errc::auth_failed, covey::detail::concat({"key file ", path, ": ", keys.size(), " keys where one is wanted"}));
}

COVEY_INLINE std::string cluster_key::to_text() const {
    static constexpr char digits[] = "0123456789abcdef";
    std::string text;
    text.reserve(2 * size + 1);
    for (const std::byte b : m_secret) {
        text += digits[static_cast<unsigned>(b) >> 4];
        text += digits[static_cast<unsigned>(b) & 15];
    }
    text += '\n';
    return text;
}

COVEY_INLINE void cluster_key::save(const std::string& path) const {
    const auto fail = [&path](const std::string& why) {
        return error(errc::bad_argument, covey::detail::concat({"key file ", path, ": ", why}));
    };
    const detail::file_descriptor file(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
    if (file.get() < 0) {
        const int number = errno;
        if (number == EEXIST) throw fail("exists already and is not overwritten; choose another name or remove it first");
        throw fail(covey::detail::concat({"cannot be created: ", detail::system_text(number)}));
    }
    std::string text = to_text();
    std::size_t written = 0;
    int failure = 0;
    while (written < text.size() && failure == 0) {
        const ssize_t n = ::write(file.get(), text.data() + written, text.size() - written);
        if (n >= 0) {
            written += static_cast<std::size_t>(n);
        } else if (errno != EINTR) {
            failure = errno;
        }
    }
    if (failure == 0 && ::fsync(file.get()) != 0 && errno != EINVAL) failure = errno;
    wipe(std::as_writable_bytes(std::span(text)));
    if (failure != 0) {
        ::unlink(path.c_str());  // half a key helps nobody
        throw fail(covey::detail::concat({"cannot be written: ", detail::system_text(failure)}));
    }
}

COVEY_INLINE void cluster_key::derive(bytes_view info, std::span<std::byte> out) const {
    const std::unique_ptr<EVP_KDF, decltype(&EVP_KDF_free)> kdf(EVP_KDF_fetch(nullptr, "HKDF", nullptr), &EVP_KDF_free);
    const std::unique_ptr<EVP_KDF_CTX, decltype(&EVP_KDF_CTX_free)> context(kdf ? EVP_KDF_CTX_new(kdf.get()) : nullptr, &EVP_KDF_CTX_free);
    // OpenSSL takes all parameters by pointers that are not const; it does not write through them.
    char digest[] = "SHA256";
    const OSSL_PARAM parameters[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, const_cast<std::byte*>(m_secret.data()), m_secret.size()),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, const_cast<std::byte*>(info.data()), info.size()),
        OSSL_PARAM_construct_end(),
    };
    if (!context || EVP_KDF_derive(context.get(), reinterpret_cast<unsigned char*>(out.data()), out.size(), parameters) != 1) {
        throw error(errc::auth_failed, "deriving a key failed: this OpenSSL offers no HKDF-SHA256");
    }
}

COVEY_INLINE key_fingerprint cluster_key::fingerprint() const {
    key_fingerprint f;
    derive(as_bytes_view("covey key fingerprint 1"), std::as_writable_bytes(std::span(&f.value, 1)));
    return f;
}

COVEY_INLINE std::string to_string(key_fingerprint f) {
    static constexpr char digits[] = "0123456789abcdef";
    std::string text(8, '0');
    for (std::size_t i = 8; i-- > 0; f.value >>= 4) text[i] = digits[f.value & 15];
    return text;
}

COVEY_INLINE std::optional<key_fingerprint> parse_key_fingerprint(std::string_view text) noexcept {
    key_fingerprint f;
    if (text.size() != 8) return std::nullopt;
    for (const char c : text) {
        const int digit = detail::hex_value(c);
        if (digit < 0) return std::nullopt;
        f.value = f.value << 4 | static_cast<std::uint32_t>(digit);
    }
    return f;
}

COVEY_INLINE bool cluster_key::operator==(const cluster_key& other) const noexcept {
    return CRYPTO_memcmp(m_secret.data(), other.m_secret.data(), size) == 0;
}

}  // namespace covey::net
