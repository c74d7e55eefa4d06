// One thread's place to sleep: a futex word. (libstdc++'s semaphore and atomic wait have lost wake-ups: GCC 98033.)
#pragma once

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace covey {

/// `unpark` before `park` makes that park return at once: at most one token is kept.
class parker {
public:
    /// Blocks the calling thread until a token is there, and takes it. One thread only.
    void park() noexcept {
        while (m_token.exchange(0, std::memory_order_acquire) == 0) {
            // Returns at once if the word is no longer 0; returns spuriously on signals.
            syscall(SYS_futex, reinterpret_cast<std::uint32_t*>(&m_token), FUTEX_WAIT_PRIVATE, 0u, nullptr, nullptr, 0);
        }
    }
    /// From any thread.
    void unpark() noexcept {
        if (m_token.exchange(1, std::memory_order_release) == 0) {
            syscall(SYS_futex, reinterpret_cast<std::uint32_t*>(&m_token), FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
        }
    }

private:
    std::atomic<std::uint32_t> m_token{0};
    static_assert(sizeof(m_token) == 4 && std::atomic<std::uint32_t>::is_always_lock_free);
};

}  // namespace covey
