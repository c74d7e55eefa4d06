// How many calls a peer serves at the moment.
#pragma once

#include <covey/core/time.hpp>

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <mutex>

namespace covey::detail {

/// Thread-safe.
class serving_count {
public:
    void begin() noexcept { m_count.fetch_add(1, std::memory_order_relaxed); }
    void end() noexcept {
        // Either this sees that somebody waits, or who waits sees the zero.
        if (m_count.fetch_sub(1, std::memory_order_seq_cst) != 1 || !m_waited_for.load(std::memory_order_seq_cst)) return;
        const std::lock_guard lock(m_mutex);
        m_none.notify_all();
    }
    std::size_t now() const noexcept { return m_count.load(std::memory_order_relaxed); }
    /// Blocks until there is none; false: there were some after `limit`.
    bool wait_none(duration limit) {
        std::unique_lock lock(m_mutex);
        m_waited_for.store(true, std::memory_order_seq_cst);
        return m_none.wait_for(lock, limit, [this] { return m_count.load(std::memory_order_seq_cst) == 0; });
    }

private:
    std::atomic<std::size_t> m_count{0};
    std::atomic<bool> m_waited_for{false};
    std::mutex m_mutex;
    std::condition_variable m_none;
};

}  // namespace covey::detail
