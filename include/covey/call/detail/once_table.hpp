// Calls of others that must not run twice: which of them have run here, and what came of it.
#pragma once

#include <covey/call/detail/once_numbers.hpp>
#include <covey/core/error.hpp>
#include <covey/task/event.hpp>
#include <covey/task/stop.hpp>
#include <covey/wire/frame.hpp>

#include <cstddef>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

namespace covey::detail {

/// A call that runs, or has run. Shared by its first attempt, which runs it, the others, which wait for it, and the table.
struct once_entry {
    stop_source stop;  ///< of the function, besides that of the attempt
    event ended;
    // Written before `ended` is set.
    wire::frame_kind kind{};  ///< of the answer
    byte_buffer body;
    bool is_kept = false;  ///< false: the answer was too large to keep

    bool has_ended = false;  // guarded by the table's mutex
};

/// Of all callers of a peer. A caller is known by its id, which is another one in each life of a process, so its numbers never come
/// again. Thread-safe.
class once_table {
public:
    static constexpr std::size_t calls_max = 4096;          ///< of one caller
    static constexpr std::size_t callers_max = 4096;        ///< at a time
    static constexpr std::size_t remembered_max = 1 << 18;  ///< calls of all callers, some 200 bytes each
    static constexpr std::size_t answers_bytes_max = std::size_t{64} << 20;
    /// A caller that has said nothing for so long is forgotten. Callers try no call again that is half as old (`again_max`).
    static constexpr duration remembered = std::chrono::minutes(10);
    static constexpr duration again_max = remembered / 2;

    struct attempt {
        std::shared_ptr<once_entry> entry{};  ///< null: refused
        bool is_first = false;                ///< it is to be run
        errc refusal{};
        const char* why = nullptr;
    };
    attempt begin(peer_id caller, once_number number, time_point now);
    /// The answer of the first attempt; what comes after the first answer is nothing.
    void end(once_entry& entry, wire::frame_kind kind, bytes_view body);

    /// Asks what runs for a caller that is lost to stop.
    void stop(peer_id caller);
    /// The same for all; from now on nothing begins.
    void close();

private:
    struct caller {
        std::uint64_t floor = 0;
        time_point last{};
        std::map<std::uint64_t, std::shared_ptr<once_entry>> calls;
    };
    using entries = std::vector<std::shared_ptr<once_entry>>;

    void forget_old(time_point now);                                               // with the mutex held
    void forget_below(caller& c);                                                  // with the mutex held
    static void add_running(const caller& c, entries& to);                         // with the mutex held
    static bool is_running(const once_entry& e) noexcept { return !e.has_ended; }  // with the mutex held

    std::mutex m_mutex;
    bool m_is_closed = false;
    std::map<peer_id, caller> m_callers;
    std::size_t m_remembered = 0;  // calls
    std::size_t m_answers_bytes = 0;
    time_point m_look_next{};
};

}  // namespace covey::detail

#ifndef COVEY_COMPILED
#include <covey/call/impl/once_table.ipp>
#endif
