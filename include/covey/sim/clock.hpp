// A machine's own clock: ahead of the simulation's or behind it, a little fast or slow, sometimes stepping.
#pragma once

#include <covey/core/error.hpp>
#include <covey/core/time.hpp>

#include <cstdint>

namespace covey::sim {

/// Maps the simulation's time to what one machine's clock shows, and back. A plain value. It is a steady clock: do not set
/// it back behind what it has shown.
class drifting_clock {
public:
    explicit drifting_clock(time_point now = {}) noexcept : m_base(now), m_local(now) {}

    static constexpr std::int64_t drift_ppm_max = 10'000;

    /// From now on it shows `offset` more than the simulation's and gains `ppm` microseconds a second (loses, if negative).
    /// Throws errc::bad_argument beyond drift_ppm_max either way.
    void set(time_point now, duration offset, std::int64_t ppm) {
        if (ppm < -drift_ppm_max || ppm > drift_ppm_max) throw error(errc::bad_argument, "a clock drifts at most 10,000 ppm");
        m_base = now;
        m_local = now + offset;
        m_ppm = ppm;
    }
    /// Another drift from now on, without a step. Throws as `set` does.
    void set_drift(time_point now, std::int64_t ppm) { set(now, local(now) - now, ppm); }
    /// Jumps ahead, as after a machine's sleep.
    void step(duration forward) noexcept { m_local += forward; }

    time_point local(time_point now) const noexcept {
        const duration passed = now - m_base;
        return m_local + passed + drift(passed, 1'000'000);
    }
    /// When it will show `local`; never earlier, at most a nanosecond later.
    time_point global(time_point local) const noexcept {
        if (local == never) return never;
        const duration ahead = local - m_local;
        const duration rounding(m_ppm == 0 ? 0 : 1);
        return after(m_base, ahead - drift(ahead, 1'000'000 + m_ppm) + rounding);
    }

private:
    /// How far the clock is ahead after d. Split, so that no product overflows.
    constexpr duration drift(duration d, std::int64_t per) const noexcept {
        return duration(d.count() / per * m_ppm + d.count() % per * m_ppm / per);
    }

    time_point m_base;   // of the simulation, when the clock was set
    time_point m_local;  // what it showed then
    std::int64_t m_ppm = 0;
};

}  // namespace covey::sim
