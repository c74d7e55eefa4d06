// Time as every room sees it: nanoseconds on the clock of an environment, real or simulated.
#pragma once

#include <chrono>

namespace covey {

using duration = std::chrono::nanoseconds;

/// The clock of an environment. It has no now(): ask the environment, so that a simulated one can answer.
struct environment_clock {
    using duration = covey::duration;
    using rep = duration::rep;
    using period = duration::period;
    using time_point = std::chrono::time_point<environment_clock, duration>;
    static constexpr bool is_steady = true;
};

/// A moment on the clock of one environment; meaningless in another process.
using time_point = environment_clock::time_point;

/// "No deadline".
inline constexpr time_point never = time_point::max();

/// `t + d`, which stays at `never` instead of overflowing.
constexpr time_point after(time_point t, duration d) noexcept {
    if (d.count() > 0 && t.time_since_epoch() > duration::max() - d) return never;
    return t + d;
}

}  // namespace covey
