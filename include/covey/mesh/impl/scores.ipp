#pragma once

#include <covey/mesh/scores.hpp>

#include <algorithm>

namespace covey::mesh {

COVEY_INLINE std::uint32_t scores::faded(const entry& e, time_point now) const noexcept {
    const auto halvings = now > e.since ? (now - e.since) / m_half_life : 0;
    return halvings >= 32 ? 0 : e.value >> halvings;
}

COVEY_INLINE std::uint32_t scores::add(time_point now, peer_id id, std::uint32_t marks) {
    if (m_entries.size() >= entries_max && !m_entries.contains(id)) {
        m_entries.erase(std::min_element(m_entries.begin(), m_entries.end(),
                                         [](const auto& a, const auto& b) { return a.second.since < b.second.since; }));
    }
    entry& e = m_entries[id];
    const std::uint32_t left = faded(e, now);
    // Halvings are counted from the mark that began it, or a mark a minute would never fade.
    e.since = left == 0 ? now : e.since + m_half_life * ((now - e.since) / m_half_life);
    constexpr std::uint32_t most = std::uint32_t{1} << 24;
    e.value = std::min(most, left + (std::min(marks, most >> fraction_bits) << fraction_bits));
    return e.value >> fraction_bits;
}

COVEY_INLINE std::uint32_t scores::of(time_point now, peer_id id) const noexcept {
    const auto it = m_entries.find(id);
    return it == m_entries.end() ? 0 : faded(it->second, now) >> fraction_bits;
}

}  // namespace covey::mesh
