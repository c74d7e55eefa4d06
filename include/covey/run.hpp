// run(): the main function of a program that is a peer.
#pragma once

#include <covey/core/function.hpp>
#include <covey/peer.hpp>

#include <type_traits>

namespace covey {

namespace detail {

int run_program(int argc, char** argv, unique_function<task<int>(peer&)> main_task);

}  // namespace detail

/// `int main(int argc, char** argv) { return covey::run(argc, argv, run); }` with `task<int> run(covey::peer& self)` (or
/// task<void>): makes this process a peer, runs the coroutine on it if this is the main peer of its job, and leaves. A serving
/// peer instead serves until the main one has left (exit code 0) or is lost (1).
///
/// Takes the flags --covey-bind, --covey-join, --covey-key-file, --covey-cluster, --covey-name, --covey-threads, --covey-serve,
/// --covey-help and the variables of peer_config::from_environment, of which flags win; the rest is left in `self.args()`.
///
/// The main coroutine starts when a seed has answered, if any are named; none within 10 s, or one that refuses this peer
/// (wrong key, other cluster), ends the program. With COVEY_PEERS=n it also waits for n members, 30 s at most.
///
/// Exit code: what the coroutine returns; 1 after an exception, which is printed; 2 for flags or a configuration that cannot
/// be meant or used; 128 + n after signal n (SIGINT and SIGTERM ask everything to stop; a second one ends the process).
template <class F>
    requires std::is_invocable_v<F&, peer&>
int run(int argc, char** argv, F main_task) {
    using result = std::invoke_result_t<F&, peer&>;
    if constexpr (std::is_same_v<result, task<int>>) {
        return detail::run_program(argc, argv, std::move(main_task));
    } else {
        static_assert(std::is_same_v<result, task<void>>, "covey: run() takes a coroutine function task<int>(covey::peer&)");
        return detail::run_program(argc, argv, [f = std::move(main_task)](peer& self) mutable -> task<int> {
            co_await f(self);
            co_return 0;
        });
    }
}

}  // namespace covey

#ifndef COVEY_COMPILED
#include <covey/impl/run.ipp>
#endif
