#pragma once

#include <covey/call/detail/span_log.hpp>

namespace covey::detail {

COVEY_INLINE void span_log::read(span_list& to) const {
    const std::size_t n = std::min(m_next.load(std::memory_order_relaxed), m_room);
    to.spans.reserve(n);
    for (std::size_t i = 0; i < n; ++i) {
        if (!m_places[i].is_there.load(std::memory_order_acquire)) continue;
        const entry& e = m_places[i].what;
        call_span s;
        s.context = e.context;
        s.parent = e.parent;
        s.kind = e.kind;
        s.how = e.how;
        s.worker = e.worker;
        s.other = e.other;
        s.begin_ns = e.begin.time_since_epoch().count();
        s.end_ns = e.end.time_since_epoch().count();
        s.function = e.function->readable_name();
        to.spans.push_back(std::move(s));
    }
    to.dropped = m_dropped.load(std::memory_order_relaxed);
}

}  // namespace covey::detail
