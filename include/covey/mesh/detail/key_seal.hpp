// The mesh's datagrams under the cluster's keys.
#pragma once

#include <covey/mesh/seal.hpp>

#include <mutex>

namespace covey::detail {

/// `net::sealer` as what a mesh driver plugs in: locked, because it seals and opens on different threads.
class key_seal final : public mesh::datagram_seal {
public:
    key_seal(std::span<const net::cluster_key> keys, const cluster_id& cluster, peer_id self, epoch_t epoch, std::uint64_t first_counter)
        : m_sealer(keys, cluster, self, epoch, first_counter) {}

    void seal(bytes_view plain, byte_buffer& out) override {
        const std::lock_guard lock(m_mutex);
        m_sealer.seal(plain, out);
    }
    std::optional<net::seal_rejection> open(bytes_view sealed, byte_buffer& out) override {
        const std::lock_guard lock(m_mutex);
        return m_sealer.open(sealed, out);
    }
    void set_epoch(epoch_t epoch) {
        const std::lock_guard lock(m_mutex);
        m_sealer.set_epoch(epoch);
    }
    void set_keys(std::span<const net::cluster_key> keys) {
        const std::lock_guard lock(m_mutex);
        m_sealer.set_keys(keys);
    }
    static_assert(net::sealer::overhead <= mesh::datagram_seal::overhead);

private:
    std::mutex m_mutex;
    net::sealer m_sealer;
};

}  // namespace covey::detail
