// What the scheduler asks of the processor and the kernel.
#pragma once

#include <covey/core/config.hpp>

#include <linux/membarrier.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>

namespace covey::detail {

inline std::uint64_t entropy() noexcept {
    std::uint64_t seed = 0;
    if (getrandom(&seed, sizeof seed, 0) != sizeof seed) {
        seed =
            static_cast<std::uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count()) ^ static_cast<std::uint64_t>(getpid());
    }
    return seed;
}

/// A clock that costs a few nanoseconds and says about how much time has passed.
inline std::uint64_t cycle_count() noexcept {
#if defined(__x86_64__)
    return __builtin_ia32_rdtsc();
#else
    return static_cast<std::uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
#endif
}

/// So that a searching core leaves its sibling and the memory bus alone.
inline void pause() noexcept {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

/// Whether this process may make all its running threads pass a full fence. Under ThreadSanitizer fences are modelled by
/// read-modify-writes of the threads themselves, so there it may not.
inline bool register_fence_of_others() noexcept {
    return COVEY_TSAN == 0 && syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0;
}
inline void fence_others() noexcept { syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0); }

}  // namespace covey::detail
