// The pool of programs that make none of their own.
#pragma once

#include <covey/sched/pool.hpp>
#include <covey/task/sync_wait.hpp>

namespace covey {

/// Started at its first use, with default options; stopped at the end of the program.
inline pool& default_pool() {
    static pool instance;
    return instance;
}

/// Runs a task (or another awaitable) on the default pool and blocks this thread until it has ended; gives its value or
/// throws its exception.
template <class Awaitable>
    requires(!std::is_base_of_v<scheduler, std::remove_cvref_t<Awaitable>>)
decltype(auto) sync_wait(Awaitable&& awaitable) {
    return sync_wait(default_pool(), std::forward<Awaitable>(awaitable));
}

}  // namespace covey
