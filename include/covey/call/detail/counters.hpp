// Where calls are counted.
#pragma once

#include <covey/call/detail/thread_number.hpp>
#include <covey/call/function_table.hpp>
#include <covey/call/statistics.hpp>

#include <array>
#include <atomic>
#include <exception>
#include <memory>

namespace covey::detail {

/// A call that has ended.
struct call_end {
    std::size_t how = call_counts::value;  ///< a place of call_counts::ends
    duration took{};
    unsigned times = 1;  ///< how many calls the time stands for; 0: it was not taken
    std::uint64_t bytes_out = 0;
    std::uint64_t bytes_in = 0;
};

/// With so many under way, only every so-many-th is timed and stands for them all: reading the clock would be a tenth of what a
/// call costs then.
inline constexpr unsigned timed_one_of = 8;

/// Which calls are timed; for one thread at a time.
class timing_choice {
public:
    /// How many calls the time of the next one stands for; 0: it is not to be timed.
    unsigned next(std::size_t under_way) noexcept {
        if (under_way < timed_one_of) return 1;
        return ++m_passed % timed_one_of == 0 ? timed_one_of : 0;
    }

private:
    unsigned m_passed = 0;
};

/// The place of call_counts::ends for an exception that a call ended with; null: a value.
std::size_t how_it_ended(const std::exception_ptr& failure) noexcept;

/// Of one peer. Thread-safe; nothing waits.
class call_counters {
public:
    /// Of the frozen function table.
    call_counters() : m_functions(function_table::instance().size()) {}
    call_counters(const call_counters&) = delete;
    call_counters& operator=(const call_counters&) = delete;
    ~call_counters();

    /// Not counted when there is no memory for the first of its kind.
    void made(const function_entry& function, const call_end& end) noexcept { add(function, 0, end); }
    void served(const function_entry& function, const call_end& end) noexcept { add(function, 1, end); }
    void refused(errc code) noexcept { m_refused[static_cast<std::size_t>(code)].fetch_add(1, std::memory_order_relaxed); }

    call_statistics read() const;

private:
    using number = std::atomic<std::uint64_t>;
    /// Of one function in one direction on one thread.
    struct counts {
        std::array<number, call_counts::ways_to_end> ends{};
        number bytes_out{0};
        number bytes_in{0};
        std::atomic<std::int64_t> longest_ns{0};
        std::array<number, latency_histogram::size> latency{};
    };
    using place = std::atomic<counts*>;

    void add(const function_entry& function, std::size_t direction, const call_end& end) noexcept;
    counts* find(unsigned thread, std::size_t which) noexcept;
    void read_into(call_counts& sum, std::size_t which) const noexcept;

    const std::size_t m_functions;
    /// For each thread number an array of 2 * m_functions places: made and served of each function. The last one is shared.
    std::array<std::atomic<place*>, thread_numbers + 1> m_places{};
    std::array<number, call_counts::exception> m_refused{};
};

}  // namespace covey::detail

#ifndef COVEY_COMPILED
#include <covey/call/impl/counters.ipp>
#endif
