#pragma once

#include <covey/mesh/broadcast.hpp>

namespace covey::mesh {

COVEY_INLINE void broadcast_queue::push(peer_id subject, peer_id accuser) {
    erase(subject);
    if (m_entries_max == 0) return;
    if (m_entries.size() >= m_entries_max) m_entries.erase(m_entries.begin());
    m_entries.push_back({subject, accuser, ++m_age, 0});
}

COVEY_INLINE void broadcast_queue::erase(peer_id subject) {
    const auto it = std::find_if(m_entries.begin(), m_entries.end(), [&](const entry& e) { return e.subject == subject; });
    if (it != m_entries.end()) m_entries.erase(it);
}

COVEY_INLINE bool broadcast_queue::contains(peer_id subject) const noexcept {
    return std::any_of(m_entries.begin(), m_entries.end(), [&](const entry& e) { return e.subject == subject; });
}

}  // namespace covey::mesh
