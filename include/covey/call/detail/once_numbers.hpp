// Numbers by which a receiver knows an attempt of a call that must not run twice from another.
#pragma once

#include <covey/core/bytes.hpp>
#include <covey/core/error.hpp>
#include <covey/core/id.hpp>
#include <covey/core/time.hpp>

#include <cstdint>
#include <map>
#include <mutex>
#include <set>

namespace covey::detail {

/// What an attempt carries. All attempts of a call carry the same sequence.
struct once_number {
    static constexpr std::size_t bytes = 16;

    std::uint64_t sequence = 0;  ///< of a peer's calls; 0: it may run any number of times
    std::uint64_t floor = 0;     ///< calls below it, to the same receiver, are over: there will be no attempts of them

    explicit operator bool() const noexcept { return sequence != 0; }

    void append_to(byte_buffer& out) const {
        byte_writer writer(out);
        writer.number(sequence);
        writer.number(floor);
    }
    /// Reads and removes it. Throws errc::bad_message.
    static once_number take(bytes_view& from) {
        byte_reader reader(from);
        once_number n;
        n.sequence = reader.number<std::uint64_t>();
        n.floor = reader.number<std::uint64_t>();
        if (n.sequence == 0 || n.floor > n.sequence) throw error(errc::bad_message, "a number of a call to be run at most once cannot be");
        from = from.subspan(bytes);
        return n;
    }
};

/// The numbers that a peer has given to its own calls. Thread-safe.
class once_numbers {
public:
    /// A number for a call as long as it may be tried.
    class ticket {
    public:
        ticket(once_numbers& from, peer_id target, time_point now) : m_from(from), m_target(target), m_since(now) {
            const std::lock_guard lock(from.m_mutex);
            m_sequence = from.m_next++;
            from.m_open[target].insert(m_sequence);
        }
        ticket(const ticket&) = delete;
        ticket& operator=(const ticket&) = delete;
        ~ticket() {
            const std::lock_guard lock(m_from.m_mutex);
            const auto at = m_from.m_open.find(m_target);
            at->second.erase(m_sequence);
            if (at->second.empty()) m_from.m_open.erase(at);
        }

        peer_id target() const noexcept { return m_target; }
        time_point since() const noexcept { return m_since; }
        once_number number() const {
            const std::lock_guard lock(m_from.m_mutex);
            return {m_sequence, *m_from.m_open.find(m_target)->second.begin()};
        }

    private:
        once_numbers& m_from;
        const peer_id m_target;
        const time_point m_since;
        std::uint64_t m_sequence = 0;
    };

private:
    std::mutex m_mutex;
    std::uint64_t m_next = 1;
    std::map<peer_id, std::set<std::uint64_t>> m_open;  // one number for each call under way
};

}  // namespace covey::detail
