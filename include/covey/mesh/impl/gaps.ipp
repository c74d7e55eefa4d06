#pragma once

#include <covey/mesh/gaps.hpp>

#include <algorithm>

namespace covey::mesh {

COVEY_INLINE void gaps::found(unsigned bits, std::size_t first, const std::vector<bool>& missing) {
    const std::size_t buckets = std::size_t{1} << bits;
    const bool is_whole = missing.size() == buckets;
    if (m_left == 0 || (bits != m_bits && is_whole)) {
        m_bits = bits;
        m_missing.assign(buckets, false);
        std::copy(missing.begin(), missing.end(), m_missing.begin() + static_cast<std::ptrdiff_t>(first));
    } else if (bits != m_bits) {
        return;
    } else {
        for (std::size_t i = 0; i < missing.size(); ++i) {
            const bool before = m_missing[first + i];
            m_missing[first + i] = is_whole ? before && missing[i] : before || missing[i];
        }
    }
    m_left = static_cast<std::size_t>(std::count(m_missing.begin(), m_missing.end(), true));
}

COVEY_INLINE gaps::window gaps::take(std::size_t most) {
    if (m_left == 0) return {};
    const auto start = std::find(m_missing.begin(), m_missing.end(), true);
    window w{m_bits, static_cast<std::size_t>(start - m_missing.begin()), 0};
    std::size_t last = w.first;
    for (std::size_t i = w.first; i < m_missing.size() && i < w.first + most; ++i) {
        if (!m_missing[i]) continue;
        m_missing[i] = false;
        --m_left;
        last = i;
    }
    w.count = last + 1 - w.first;
    return w;
}

}  // namespace covey::mesh
