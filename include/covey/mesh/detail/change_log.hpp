// The newest changes of a membership, and the readers that wait for more.
#pragma once

#include <covey/mesh/changes.hpp>
#include <covey/mesh/detail/change_list.hpp>

#include <cstdint>
#include <deque>
#include <mutex>
#include <optional>

namespace covey::detail {

/// Thread-safe. Readers are positions in it, so that it knows of none but those that wait.
class change_log {
public:
    struct position {
        std::uint64_t after = 0;  ///< the number of the view that the reader knows
        std::uint64_t next = 0;   ///< the entry to look at next, counted from the very first
    };
    enum class found { change, nothing, gap, end };

    void add(const mesh::membership_event& event) {
        {
            const std::lock_guard lock(m_mutex);
            if (m_closed) return;
            if (m_entries.size() == mesh::changes_kept) {
                m_dropped_number = m_entries.front().number;
                m_entries.pop_front();
                ++m_first;
            }
            m_entries.push_back(event);
        }
        m_waiting.changed();
    }
    /// What is there can still be read; then comes the end.
    void close() {
        {
            const std::lock_guard lock(m_mutex);
            m_closed = true;
        }
        m_waiting.changed();
    }
    /// The next change after the view that the reader knows. After a gap the reader needs a newer view.
    found read(position& p, std::optional<mesh::membership_event>& change) const {
        const std::lock_guard lock(m_mutex);
        if (p.next < m_first) {
            // Numbers only grow, so that of the last one dropped tells for all.
            if (m_dropped_number > p.after) return found::gap;
            p.next = m_first;
        }
        while (p.next - m_first < m_entries.size()) {
            const mesh::membership_event& e = m_entries[static_cast<std::size_t>(p.next++ - m_first)];
            if (e.number <= p.after) continue;
            change = e;
            return found::change;
        }
        return m_closed ? found::end : found::nothing;
    }

    /// To await more: take the count, read, and when there was nothing wait for more than that count.
    std::uint64_t count() const { return m_waiting.count(); }
    change_list::awaiter more_than(std::uint64_t seen) noexcept { return {m_waiting, seen}; }

private:
    mutable std::mutex m_mutex;
    std::deque<mesh::membership_event> m_entries;  // mesh::changes_kept
    std::uint64_t m_first = 0;                     // the position of the oldest entry
    std::uint64_t m_dropped_number = 0;            // of the youngest that was dropped
    bool m_closed = false;
    change_list m_waiting;
};

}  // namespace covey::detail
