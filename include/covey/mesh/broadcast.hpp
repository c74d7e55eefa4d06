// News waiting to be passed on, each a limited number of times.
#pragma once

#include <covey/core/bytes.hpp>
#include <covey/core/id.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <vector>

namespace covey::mesh {

/// At most one entry a subject: newer news about it replaces the older. What was sent least goes first, the newest of
/// those before the rest. At most `entries_max` entries; beyond, the one sent most often is dropped, and found by comparing
/// tables. An entry only names its subject: what is said of it is what is true when it is sent. Not thread-safe.
class broadcast_queue {
public:
    struct entry {
        peer_id subject;
        peer_id accuser;        ///< of a suspect or dead one
        std::uint32_t age = 0;  // larger is newer
        std::uint32_t sent = 0;
    };

    explicit broadcast_queue(std::size_t entries_max) : m_entries_max(entries_max) {}

    void push(peer_id subject, peer_id accuser = {});
    void erase(peer_id subject);
    bool contains(peer_id subject) const noexcept;
    bool empty() const noexcept { return m_entries.empty(); }
    std::size_t size() const noexcept { return m_entries.size(); }

    /// Appends what fits into `budget` bytes and counts it as sent; forgets what was sent `sends_max` times.
    /// `write(entry, out)` appends the news, or nothing when there is none any more. Returns how many were appended.
    template <class Write>
    std::size_t fill(byte_buffer& out, std::size_t budget, unsigned sends_max, Write&& write);

private:
    static bool goes_later(const entry& a, const entry& b) noexcept { return a.sent != b.sent ? a.sent > b.sent : a.age < b.age; }

    std::size_t m_entries_max;
    std::uint32_t m_age = 0;       // wraps after four thousand million pieces of news, and then misplaces a few
    std::vector<entry> m_entries;  // who goes first is last
};

template <class Write>
std::size_t broadcast_queue::fill(byte_buffer& out, std::size_t budget, unsigned sends_max, Write&& write) {
    std::size_t appended = 0;
    unsigned misfits = 0;
    std::vector<entry> again;  // still to be sent, in the order of m_entries reversed
    const std::size_t end = out.size() + budget;
    std::size_t at = m_entries.size(), gap = at;  // entries from gap on are kept, those between at and gap were taken
    // A few may be too long for what is left while a shorter one behind them still fits.
    while (at > 0 && misfits < 4 && out.size() < end) {
        entry e = m_entries[--at];
        const std::size_t before = out.size();
        write(e, out);
        if (out.size() > end) {
            out.truncate(before);
            ++misfits;
            m_entries[--gap] = e;
            continue;
        }
        if (out.size() == before) continue;
        ++appended;
        if (++e.sent < sends_max) again.push_back(e);
    }
    m_entries.erase(m_entries.begin() + static_cast<std::ptrdiff_t>(at), m_entries.begin() + static_cast<std::ptrdiff_t>(gap));
    std::vector<entry> merged;
    merged.reserve(m_entries.size() + again.size());
    std::merge(m_entries.begin(), m_entries.end(), again.rbegin(), again.rend(), std::back_inserter(merged), goes_later);
    m_entries.swap(merged);
    return appended;
}

}  // namespace covey::mesh

#ifndef COVEY_COMPILED
#include <covey/mesh/impl/broadcast.ipp>
#endif
