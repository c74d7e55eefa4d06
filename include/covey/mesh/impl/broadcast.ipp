#pragma once

#include <covey/mesh/broadcast.hpp>

namespace covey::mesh {

COVEY_INLINE void broadcast_queue::push(peer_id subject, bytes_view encoded) {
    erase(subject);
    if (m_entries_max == 0) return;
    if (m_queue.size() >= m_entries_max) erase(std::prev(m_queue.end())->subject);
    const rank where{0, m_next_age--, subject};
    m_queue.insert(where);
    m_entries[subject] = {where, {encoded.begin(), encoded.end()}};
}

COVEY_INLINE void broadcast_queue::erase(peer_id subject) {
    const auto it = m_entries.find(subject);
    if (it == m_entries.end()) return;
    m_queue.erase(it->second.where);
    m_entries.erase(it);
}

COVEY_INLINE std::size_t broadcast_queue::fill(byte_buffer& out, std::size_t budget, unsigned sends_max) {
    std::vector<rank> taken;
    unsigned misfits = 0;
    for (const rank& r : m_queue) {
        // A few may be too long for what is left while a shorter one behind them still fits.
        if (misfits == 4) break;
        const auto& encoded = m_entries.at(r.subject).encoded;
        if (encoded.size() > budget) {
            ++misfits;
            continue;
        }
        out.append(encoded.data(), encoded.size());
        budget -= encoded.size();
        taken.push_back(r);
    }
    for (const rank& r : taken) {
        m_queue.erase(r);
        if (r.sent + 1 >= sends_max) {
            m_entries.erase(r.subject);
            continue;
        }
        rank again = r;
        ++again.sent;
        m_entries.at(r.subject).where = again;
        m_queue.insert(again);
    }
    return taken.size();
}

}  // namespace covey::mesh
