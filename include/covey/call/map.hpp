// map(inputs, f): the same function for many inputs, on all peers, in order.
#pragma once

#include <covey/call/remote.hpp>
#include <covey/task/when_all.hpp>

#include <algorithm>
#include <atomic>
#include <iterator>
#include <optional>
#include <type_traits>
#include <vector>

namespace covey {

/// Options of a map: `map(files, f, {.in_flight = 64, .retries = 2})`.
struct map_options {
    /// Calls at the same time; 0: four for each thread of the members, at most 1024.
    std::size_t in_flight = 0;
    /// How often an input is tried again when a peer or a link was lost. Its function may then run more than once.
    int retries = 3;
    /// For each input, retries included; zero: none.
    duration deadline{};
    /// Counted up as inputs finish, for progress bars. Must outlive the map.
    std::atomic<std::size_t>* done = nullptr;
};
static_assert(std::is_trivially_destructible_v<map_options>);

namespace detail {

template <class Range>
using input_of = std::decay_t<decltype(*std::begin(std::declval<Range&>()))>;

/// One of the coroutines that share the inputs: takes the next one until there is none.
template <class Inputs, class F, class R>
task<void> map_worker(Inputs& inputs, const F& f, const map_options& options, std::atomic<std::size_t>& next,
                      std::vector<std::optional<R>>& results) {
    call_options call;
    call.deadline = options.deadline;
    call.retries = options.retries;
    for (;;) {
        const std::size_t i = next.fetch_add(1, std::memory_order_relaxed);
        if (i >= inputs.size()) co_return;
        if constexpr (std::is_same_v<R, std::monostate>) {
            co_await remote(call, f, std::move(inputs[i]));
            results[i].emplace();
        } else {
            results[i].emplace(co_await remote(call, f, std::move(inputs[i])));
        }
        if (options.done != nullptr) options.done->fetch_add(1, std::memory_order_relaxed);
    }
}

}  // namespace detail

/// `std::vector<R> all = co_await map(inputs, f)`: calls f with each input, on any peer, a bounded number at a time, and gives
/// the results in the order of the inputs (std::monostate for void). The inputs are taken by value. The first error that
/// is not cured by retries stops the rest and is thrown.
template <class Range, class F>
auto map(Range inputs, F f, map_options options = {})
    -> task<std::vector<detail::value_or_monostate<remote_result<F, detail::input_of<Range>>>>> {
    using value = detail::value_or_monostate<remote_result<F, detail::input_of<Range>>>;
    using input = detail::input_of<Range>;
    const task_context& context = co_await get_context();
    if (context.peer == nullptr) detail::throw_outside_peer();
    std::vector<input> items(std::make_move_iterator(std::begin(inputs)), std::make_move_iterator(std::end(inputs)));
    std::vector<std::optional<value>> results(items.size());
    std::atomic<std::size_t> next{0};
    std::size_t in_flight = options.in_flight;
    if (in_flight == 0) in_flight = std::min<std::size_t>(4 * service_of<call_service>(*context.peer).threads_in_reach(), 1024);
    std::vector<task<void>> workers;
    for (std::size_t i = 0; i < std::min(in_flight, items.size()); ++i) {
        workers.push_back(detail::map_worker<std::vector<input>, F, value>(items, f, options, next, results));
    }
    co_await when_all(std::move(workers));
    std::vector<value> all;
    all.reserve(results.size());
    for (auto& r : results) all.push_back(std::move(*r));
    co_return all;
}

}  // namespace covey
