// How many bytes each peer sends, by second.
#pragma once

#include <covey/core/time.hpp>
#include <covey/sim/trace.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace covey::sim {

/// Counts of whole numbers, exact below 32 and within 1/32 above. A plain value of fixed size.
class histogram {
public:
    void add(std::uint64_t value, std::uint64_t times = 1) noexcept {
        m_counts[bucket(value)] += times;
        m_count += times;
        m_sum += value * times;
        m_most = std::max(m_most, value);
    }
    std::uint64_t count() const noexcept { return m_count; }
    std::uint64_t max() const noexcept { return m_most; }
    double mean() const noexcept { return m_count == 0 ? 0 : static_cast<double>(m_sum) / static_cast<double>(m_count); }
    /// The least value that the share `q` of all does not exceed, rounded up to the end of its bucket; 0 if there is none.
    std::uint64_t quantile(double q) const noexcept {
        const auto wanted = static_cast<std::uint64_t>(q * static_cast<double>(m_count));
        std::uint64_t seen = 0;
        for (std::size_t b = 0; b < m_counts.size(); ++b) {
            seen += m_counts[b];
            if (seen > wanted || (seen == m_count && seen != 0)) return std::min(end_of(b), m_most);
        }
        return 0;
    }
    void merge(const histogram& other) noexcept {
        for (std::size_t b = 0; b < m_counts.size(); ++b) m_counts[b] += other.m_counts[b];
        m_count += other.m_count;
        m_sum += other.m_sum;
        m_most = std::max(m_most, other.m_most);
    }

private:
    static std::size_t bucket(std::uint64_t value) noexcept {
        if (value < 32) return static_cast<std::size_t>(value);
        const auto shift = static_cast<unsigned>(std::bit_width(value)) - 6;
        return std::size_t{32} * (shift + 1) + static_cast<std::size_t>((value >> shift) - 32);
    }
    static std::uint64_t end_of(std::size_t b) noexcept {
        if (b < 32) return b;
        const std::size_t shift = b / 32 - 1;
        return ((std::uint64_t{32} + b % 32 + 1) << shift) - 1;
    }

    std::array<std::uint64_t, 32 * 60> m_counts{};
    std::uint64_t m_count = 0;
    std::uint64_t m_sum = 0;
    std::uint64_t m_most = 0;
};

/// What every peer sends in each second of virtual time, since the last `begin`. One thread.
class traffic_meter {
public:
    /// From here on; a second that has begun is not counted.
    void begin(time_point now) {
        m_second_ends = now + std::chrono::seconds(1);
        std::fill(m_now.begin(), m_now.end(), 0u);
        m_by_second = {};
    }
    void sent(host_index by, std::size_t bytes) {
        if (by >= m_now.size()) m_now.resize(by + std::size_t{1});
        m_now[by] += static_cast<std::uint32_t>(bytes);
        m_total += bytes;
    }
    /// Closes the seconds that are over. `counts(host)`: is it a peer that runs?
    template <class Counts>
    void advance(time_point now, Counts&& counts) {
        while (m_second_ends <= now) {
            for (host_index h = 0; h < m_now.size(); ++h) {
                if (m_now[h] != 0 || counts(h)) m_by_second.add(m_now[h]);
                m_now[h] = 0;
            }
            m_second_ends += std::chrono::seconds(1);
        }
    }
    /// One entry for each peer and second, in bytes.
    const histogram& by_second() const noexcept { return m_by_second; }
    /// Of everybody, ever.
    std::uint64_t total() const noexcept { return m_total; }

private:
    std::vector<std::uint32_t> m_now;
    histogram m_by_second;
    time_point m_second_ends{};
    std::uint64_t m_total = 0;
};

}  // namespace covey::sim
