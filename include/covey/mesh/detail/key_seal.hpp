// The mesh's datagrams under the cluster key.
#pragma once

#include <covey/mesh/seal.hpp>
#include <covey/net/seal.hpp>

#include <mutex>

namespace covey::detail {

/// `net::sealer` as what a mesh driver plugs in: locked, because it seals and opens on different threads.
class key_seal final : public mesh::datagram_seal {
public:
    key_seal(const net::cluster_key& key, const cluster_id& cluster, peer_id self, epoch_t epoch) : m_sealer(key, cluster, self, epoch) {}

    void seal(bytes_view plain, byte_buffer& out) override {
        const std::lock_guard lock(m_mutex);
        m_sealer.seal(plain, out);
    }
    bool open(bytes_view sealed, byte_buffer& out) override {
        const std::lock_guard lock(m_mutex);
        return m_sealer.open(sealed, out);
    }
    void set_epoch(epoch_t epoch) {
        const std::lock_guard lock(m_mutex);
        m_sealer.set_epoch(epoch);
    }
    static_assert(net::sealer::overhead <= mesh::datagram_seal::overhead);

private:
    std::mutex m_mutex;
    net::sealer m_sealer;
};

}  // namespace covey::detail
