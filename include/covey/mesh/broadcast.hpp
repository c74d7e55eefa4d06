// News waiting to be passed on, each a limited number of times.
#pragma once

#include <covey/core/bytes.hpp>
#include <covey/core/id.hpp>

#include <compare>
#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <vector>

namespace covey::mesh {

/// At most one entry a subject: newer news about it replaces the older. What was sent least goes first, the newest of
/// those before the rest. At most `entries_max` entries; beyond, the one sent most often is dropped. Not thread-safe.
class broadcast_queue {
public:
    explicit broadcast_queue(std::size_t entries_max) : m_entries_max(entries_max) {}

    void push(peer_id subject, bytes_view encoded);
    void erase(peer_id subject);
    bool contains(peer_id subject) const noexcept { return m_entries.contains(subject); }
    bool empty() const noexcept { return m_queue.empty(); }
    std::size_t size() const noexcept { return m_queue.size(); }

    /// Appends what fits into `budget` bytes and counts it as sent; forgets what was sent `sends_max` times.
    /// Returns how many entries were appended.
    std::size_t fill(byte_buffer& out, std::size_t budget, unsigned sends_max);

private:
    struct rank {
        unsigned sent;
        std::uint64_t age;  // smaller is newer
        peer_id subject;
        friend auto operator<=>(const rank&, const rank&) noexcept = default;
    };
    struct entry {
        rank where;
        std::vector<std::byte> encoded;
    };
    std::size_t m_entries_max;
    std::uint64_t m_next_age = ~std::uint64_t{0};
    std::set<rank> m_queue;
    std::map<peer_id, entry> m_entries;
};

}  // namespace covey::mesh

#ifndef COVEY_COMPILED
#include <covey/mesh/impl/broadcast.ipp>
#endif
