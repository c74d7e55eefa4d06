// Where spans are kept.
#pragma once

#include <covey/call/function_table.hpp>
#include <covey/call/spans.hpp>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <memory>

namespace covey::detail {

/// The first so many spans; later ones are only counted. Thread-safe, without a lock.
class span_log {
public:
    /// Some 100 bytes each.
    static constexpr std::size_t spans_most = std::size_t{1} << 18;

    struct entry {
        trace_context context{};
        std::uint64_t parent = 0;  ///< 0: none that is known
        const function_entry* function = nullptr;
        peer_id other{};
        time_point begin{};
        time_point end{};
        span_kind kind{};
        std::uint8_t how = 0;
        std::uint8_t worker = 0;
    };

    explicit span_log(std::size_t spans_max) : m_room(std::min(spans_max, spans_most)), m_places(std::make_unique<place[]>(m_room)) {}

    void add(const entry& e) noexcept {
        // Once it is full the number is only looked at, so it cannot wrap.
        if (m_next.load(std::memory_order_relaxed) >= m_room) return drop();
        const std::size_t i = m_next.fetch_add(1, std::memory_order_relaxed);
        if (i >= m_room) return drop();
        m_places[i].what = e;
        m_places[i].is_there.store(true, std::memory_order_release);
    }
    /// Those that have been written.
    void read(span_list& to) const;

private:
    struct place {
        entry what;
        std::atomic<bool> is_there{false};
    };
    void drop() noexcept { m_dropped.fetch_add(1, std::memory_order_relaxed); }

    const std::size_t m_room;
    const std::unique_ptr<place[]> m_places;
    std::atomic<std::size_t> m_next{0};
    std::atomic<std::uint64_t> m_dropped{0};
};

}  // namespace covey::detail

#ifndef COVEY_COMPILED
#include <covey/call/impl/span_log.ipp>
#endif
