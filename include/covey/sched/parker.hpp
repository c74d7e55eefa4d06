// One thread's place to sleep: a futex word. (libstdc++'s semaphore and atomic wait have lost wake-ups: GCC 98033.)
#pragma once

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <ctime>
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
    /// The same for `nanoseconds` at most. False: no token came in time.
    bool park_for(std::int64_t nanoseconds) noexcept {
        const std::int64_t end = now() + nanoseconds;
        while (m_token.exchange(0, std::memory_order_acquire) == 0) {
            const std::int64_t left = end - now();
            if (left <= 0) return false;
            const timespec wait{static_cast<std::time_t>(left / 1'000'000'000), static_cast<long>(left % 1'000'000'000)};
            syscall(SYS_futex, reinterpret_cast<std::uint32_t*>(&m_token), FUTEX_WAIT_PRIVATE, 0u, &wait, nullptr, 0);
        }
        return true;
    }
    /// From any thread.
    void unpark() noexcept {
        if (m_token.exchange(1, std::memory_order_release) == 0) {
            syscall(SYS_futex, reinterpret_cast<std::uint32_t*>(&m_token), FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
        }
    }

private:
    static std::int64_t now() noexcept {
        timespec t{};
        clock_gettime(CLOCK_MONOTONIC, &t);
        return std::int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec;
    }

    std::atomic<std::uint32_t> m_token{0};
    static_assert(sizeof(m_token) == 4 && std::atomic<std::uint32_t>::is_always_lock_free);
};

}  // namespace covey
