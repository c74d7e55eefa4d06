#pragma once

#include <covey/call/detail/counters.hpp>

#include <new>

namespace covey::detail {

COVEY_INLINE std::size_t how_it_ended(const std::exception_ptr& failure) noexcept {
    if (!failure) return call_counts::value;
    try {
        std::rethrow_exception(failure);
    } catch (const error& e) {
        return static_cast<std::size_t>(errc_from(static_cast<std::uint16_t>(e.code().value()), errc::protocol_error));
    } catch (const stopped&) {
        return call_counts::stopped;
    } catch (...) {
        return call_counts::exception;
    }
}

COVEY_INLINE call_counters::~call_counters() {
    for (const auto& of_thread : m_places) {
        place* const places = of_thread.load(std::memory_order_relaxed);
        for (std::size_t i = 0; places != nullptr && i < 2 * m_functions; ++i) delete places[i].load(std::memory_order_relaxed);
        delete[] places;
    }
}

/// Null: there is no memory.
COVEY_INLINE call_counters::counts* call_counters::find(unsigned thread, std::size_t which) noexcept {
    place* places = m_places[thread].load(std::memory_order_acquire);
    if (places == nullptr) {
        place* const made = new (std::nothrow) place[2 * m_functions]();
        if (made == nullptr) return nullptr;
        if (m_places[thread].compare_exchange_strong(places, made, std::memory_order_acq_rel)) {
            places = made;
        } else {
            delete[] made;
        }
    }
    counts* of_call = places[which].load(std::memory_order_acquire);
    if (of_call == nullptr) {
        counts* const made = new (std::nothrow) counts;
        if (made == nullptr) return nullptr;
        if (places[which].compare_exchange_strong(of_call, made, std::memory_order_acq_rel)) return made;
        delete made;
    }
    return of_call;
}

COVEY_INLINE void call_counters::add(const function_entry& function, std::size_t direction, const call_end& end) noexcept {
    const std::size_t index = function.index.load(std::memory_order_relaxed);
    if (index >= m_functions) return;
    const unsigned thread = thread_number();
    counts* const c = find(thread, 2 * index + direction);
    if (c == nullptr) return;
    // A thread that has a number is the only writer.
    const auto plus = [shared = thread == thread_numbers](number& n, std::uint64_t more) {
        if (shared) {
            n.fetch_add(more, std::memory_order_relaxed);
        } else {
            n.store(n.load(std::memory_order_relaxed) + more, std::memory_order_relaxed);
        }
    };
    plus(c->ends[end.how], 1);
    plus(c->bytes_out, end.bytes_out);
    plus(c->bytes_in, end.bytes_in);
    if (end.times == 0) return;
    plus(c->latency[latency_histogram::bucket_of(end.took)], end.times);
    std::int64_t longest = c->longest_ns.load(std::memory_order_relaxed);
    while (end.took.count() > longest && !c->longest_ns.compare_exchange_weak(longest, end.took.count(), std::memory_order_relaxed)) {}
}

COVEY_INLINE void call_counters::read_into(call_counts& sum, std::size_t which) const noexcept {
    for (const auto& of_thread : m_places) {
        const place* const places = of_thread.load(std::memory_order_acquire);
        const counts* const c = places != nullptr ? places[which].load(std::memory_order_acquire) : nullptr;
        if (c == nullptr) continue;
        for (std::size_t i = 0; i < sum.ends.size(); ++i) sum.ends[i] += c->ends[i].load(std::memory_order_relaxed);
        sum.bytes_out += c->bytes_out.load(std::memory_order_relaxed);
        sum.bytes_in += c->bytes_in.load(std::memory_order_relaxed);
        for (std::size_t i = 0; i < sum.latency.counts.size(); ++i) sum.latency.counts[i] += c->latency[i].load(std::memory_order_relaxed);
        sum.latency.longest_ns = std::max(sum.latency.longest_ns, c->longest_ns.load(std::memory_order_relaxed));
    }
}

COVEY_INLINE call_statistics call_counters::read() const {
    call_statistics all;
    for (std::size_t i = 0; i < m_functions; ++i) {
        function_statistics f;
        read_into(f.made, 2 * i);
        read_into(f.served, 2 * i + 1);
        if (f.made.calls() == 0 && f.served.calls() == 0) continue;
        f.name = function_table::instance().at(static_cast<std::uint32_t>(i))->readable_name();
        all.functions.push_back(std::move(f));
    }
    for (std::size_t i = 0; i < all.refused.size(); ++i) all.refused[i] = m_refused[i].load(std::memory_order_relaxed);
    return all;
}

}  // namespace covey::detail
