// A small number for each thread.
#pragma once

#include <covey/core/config.hpp>

#include <atomic>
#include <bit>
#include <cstdint>

namespace covey::detail {

/// Threads that have a number of their own at the same time.
inline constexpr unsigned thread_numbers = 64;

/// Takes the lowest free number for as long as it lives.
class thread_number_holder {
public:
    thread_number_holder() noexcept {
        std::uint64_t used = taken().load(std::memory_order_relaxed);
        do {
            m_number = static_cast<unsigned>(std::countr_one(used));
        } while (m_number != thread_numbers && !taken().compare_exchange_weak(used, used | (std::uint64_t{1} << m_number),
                                                                              std::memory_order_acquire, std::memory_order_relaxed));
    }
    thread_number_holder(const thread_number_holder&) = delete;
    thread_number_holder& operator=(const thread_number_holder&) = delete;
    ~thread_number_holder() {
        // Whoever has the number next sees what this thread wrote as its owner.
        if (m_number != thread_numbers) taken().fetch_and(~(std::uint64_t{1} << m_number), std::memory_order_release);
    }
    unsigned number() const noexcept { return m_number; }

private:
    static std::atomic<std::uint64_t>& taken() noexcept {
        static std::atomic<std::uint64_t> numbers{0};
        return numbers;
    }
    unsigned m_number;
};

/// Below thread_numbers, and no other living thread has it; or thread_numbers, which all others share. The same for as long as
/// the thread lives.
COVEY_NOINLINE inline unsigned thread_number() noexcept {
    static thread_local const thread_number_holder mine;
    return mine.number();
}

}  // namespace covey::detail
