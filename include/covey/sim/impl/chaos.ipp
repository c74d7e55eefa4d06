#pragma once

#include <covey/sim/chaos.hpp>
#include <covey/sim/impl/fault.ipp>
#include <covey/sim/invariants.hpp>
#include <covey/sim/minimise.hpp>

#include <algorithm>

namespace covey::sim {

COVEY_INLINE fault_player::fault_player(fault_world& world, fault_schedule faults, duration length)
    : m_world(world), m_faults(std::move(faults)), m_lasts(m_faults.size()), m_rules(m_faults.size()) {
    for (fault& f : m_faults) {
        f.at = std::min(f.at, length);
        f.lasts = std::min(f.lasts, length - f.at);
    }
}

COVEY_INLINE void fault_player::prepare() {
    constexpr std::uint64_t other_digest = 0x5678;
    for (const fault& f : m_faults) {
        if (f.kind != fault_kind::mixed_digest) continue;
        for (const host_index h : f.a) m_world.set_table_digest(h, other_digest);
    }
}

COVEY_INLINE void fault_player::begin() {
    m_base = m_world.net().everywhere();
    for (std::size_t i = 0; i < m_faults.size(); ++i) {
        later(m_faults[i].at, [this, i] { begin_fault(i); });
        if (m_faults[i].lasts > duration{}) later(m_faults[i].at + m_faults[i].lasts, [this, i] { end_fault(i); });
    }
}

/// The world may go on without the player.
template <class Action>
void fault_player::later(duration after, Action action) {
    m_world.call_after(after, [weak = std::weak_ptr<char>(m_alive), action] {
        if (!weak.expired()) action();
    });
}

COVEY_INLINE void fault_player::heal() {
    for (std::size_t i = 0; i < m_faults.size(); ++i) end_fault(i);
}

COVEY_INLINE void fault_player::set_network() {
    // Where several last, the worst of each.
    faults now = m_base;
    for (std::size_t i = 0; i < m_faults.size(); ++i) {
        const fault& f = m_faults[i];
        if (m_lasts[i] == 0) continue;
        const auto mean = std::chrono::microseconds(static_cast<std::int64_t>(f.amount * 1e6));
        if (f.kind == fault_kind::loss) now.loss = std::max(now.loss, f.amount);
        if (f.kind == fault_kind::duplication) now.duplication = std::max(now.duplication, f.amount);
        if (f.kind == fault_kind::delay) {
            now.delay_min = std::max<duration>(now.delay_min, mean);
            now.delay_mean = std::max<duration>(now.delay_mean, mean);
        }
        if (f.kind == fault_kind::reorder) {
            now.spread = jitter::exponential;
            now.delay_mean = std::max<duration>(now.delay_mean, mean);
        }
    }
    network& net = m_world.net();
    net.set_faults(now);
    for (const host_index h : m_bad_links) net.clear_faults(h);
    m_bad_links.clear();
    for (std::size_t i = 0; i < m_faults.size(); ++i) {
        if (m_lasts[i] == 0 || m_faults[i].kind != fault_kind::bad_link) continue;
        for (const host_index h : m_faults[i].a) {
            faults own = now;
            own.loss = std::max(own.loss, m_faults[i].amount);
            net.set_faults(h, own);
            m_bad_links.push_back(h);
        }
    }
}

COVEY_INLINE void fault_player::lift(std::size_t i) {
    for (const network::rule_id rule : m_rules[i]) m_world.net().heal(rule);
    m_rules[i].clear();
}

COVEY_INLINE void fault_player::flip(std::size_t i, time_point until) {
    const fault& f = m_faults[i];
    const auto half = std::chrono::milliseconds(std::max<std::int64_t>(100, static_cast<std::int64_t>(f.amount * 1000)));
    if (m_rules[i].empty()) {
        for (const host_index h : f.a) m_rules[i].push_back(m_world.net().isolate(h));
    } else {
        lift(i);
    }
    if (m_world.now() + half < until) later(half, [this, i, until] { flip(i, until); });
}

COVEY_INLINE void fault_player::forge(std::size_t i, time_point until) {
    const fault& f = m_faults[i];
    for (const host_index h : f.a) m_world.forge(h);
    const auto gap = std::chrono::microseconds(static_cast<std::int64_t>(1e6 / std::clamp(f.amount, 0.01, 1e4)));
    if (m_world.now() + gap < until) later(gap, [this, i, until] { forge(i, until); });
}

COVEY_INLINE void fault_player::begin_fault(std::size_t i) {
    const fault& f = m_faults[i];
    if (detail::form_of(f.kind).lasts && f.lasts == duration{}) return;
    network& net = m_world.net();
    const time_point until = m_world.now() + f.lasts;
    m_lasts[i] = f.lasts > duration{} ? 1 : 0;
    switch (f.kind) {
        case fault_kind::loss:
        case fault_kind::duplication:
        case fault_kind::delay:
        case fault_kind::reorder:
        case fault_kind::bad_link: set_network(); break;
        case fault_kind::clog: m_rules[i].push_back(net.clog(f.a[0], f.b[0], until)); break;
        case fault_kind::partition: m_rules[i].push_back(net.partition(f.a, f.b)); break;
        case fault_kind::cut: m_rules[i].push_back(net.cut(f.a, f.b)); break;
        case fault_kind::isolate:
            for (const host_index h : f.a) m_rules[i].push_back(net.isolate(h));
            break;
        case fault_kind::flip_flop: flip(i, until); break;
        case fault_kind::pause:
            for (const host_index h : f.a) m_world.pause(h, f.lasts);
            break;
        case fault_kind::slow:
            for (const host_index h : f.a) m_world.slow(h, std::chrono::microseconds(static_cast<std::int64_t>(f.amount * 1e6)));
            break;
        case fault_kind::drift:
            for (const host_index h : f.a) m_world.set_drift(h, static_cast<std::int64_t>(f.amount));
            break;
        case fault_kind::clock_step:
            for (const host_index h : f.a) m_world.step_clock(h, std::chrono::milliseconds(static_cast<std::int64_t>(f.amount * 1e3)));
            break;
        case fault_kind::crash:
        case fault_kind::crash_same:
        case fault_kind::crash_epoch:
        case fault_kind::crash_new:
            for (const host_index h : f.a) m_world.kill(h);
            break;
        case fault_kind::leave:
            for (const host_index h : f.a) m_world.leave(h);
            break;
        case fault_kind::join:
            for (const host_index h : f.a) m_world.start(h, comeback::new_id);
            break;
        case fault_kind::hostile: forge(i, until); break;
        case fault_kind::mixed_digest:
        case fault_kind::count_: break;
    }
}

COVEY_INLINE void fault_player::end_fault(std::size_t i) {
    if (m_lasts[i] == 0) return;
    m_lasts[i] = 0;
    const fault& f = m_faults[i];
    lift(i);
    const auto come_back = [&](comeback how) {
        for (const host_index h : f.a) m_world.start(h, how);
    };
    switch (f.kind) {
        case fault_kind::loss:
        case fault_kind::duplication:
        case fault_kind::delay:
        case fault_kind::reorder:
        case fault_kind::bad_link: set_network(); break;
        case fault_kind::slow:
            for (const host_index h : f.a) m_world.slow(h, {});
            break;
        case fault_kind::drift:
            for (const host_index h : f.a) m_world.set_drift(h, 0);
            break;
        case fault_kind::crash_same: come_back(comeback::same_epoch); break;
        case fault_kind::crash_epoch: come_back(comeback::new_epoch); break;
        case fault_kind::crash_new: come_back(comeback::new_id); break;
        case fault_kind::leave:
            for (const host_index h : f.a) m_world.kill(h);  // one that is still saying goodbye
            come_back(comeback::new_id);
            break;
        default: break;
    }
}

namespace detail {

class fleet_world final : public fault_world {
public:
    explicit fleet_world(fleet& f) : m_fleet(f) {}
    network& net() override { return m_fleet.net(); }
    time_point now() const override { return m_fleet.now(); }
    void call_after(duration delay, unique_function<void()> what) override { m_fleet.call_after(delay, std::move(what)); }
    void kill(host_index h) override { m_fleet.kill(h); }
    void start(host_index h, comeback how) override { m_fleet.start(h, how); }
    void leave(host_index h) override { m_fleet.leave(h); }
    void pause(host_index h, duration span) override { m_fleet.pause(h, span); }
    void slow(host_index h, duration service) override { m_fleet.slow(h, service); }
    void set_drift(host_index h, std::int64_t ppm) override { m_fleet.set_drift(h, ppm); }
    void step_clock(host_index h, duration forward) override { m_fleet.step_clock(h, forward); }
    void set_table_digest(host_index h, std::uint64_t digest) override { m_fleet.set_table_digest(h, digest); }
    void forge(host_index h) override { m_fleet.forge(h); }

private:
    fleet& m_fleet;
};

inline double in_seconds(duration d) { return std::chrono::duration<double>(d).count(); }

/// The phases of one run, in order; each says what failed, or nothing.
class chaos_run {
public:
    chaos_run(const chaos_options& options, chaos_result& result)
        : m_options(options),
          m_result(result),
          m_fleet(options.fleet),
          m_checks(m_fleet),
          m_world(m_fleet),
          m_player(m_world, options.faults, options.length) {
        m_fleet.watch(m_checks);
    }

    std::string run() {
        std::string failure = gather();
        if (failure.empty()) failure = suffer();
        if (failure.empty()) failure = recover();
        m_result.hash = m_fleet.trace().hash();
        m_result.events = m_fleet.events();
        m_result.false_deaths = m_fleet.false_deaths();
        if (!failure.empty()) m_result.tail = m_fleet.trace().tail(40);
        return failure;
    }

private:
    /// Bytes a second and peer over the next `measured`.
    double measure() {
        const std::uint64_t before = m_fleet.traffic().total();
        m_fleet.run_for(m_options.measured);
        const double bytes = static_cast<double>(m_fleet.traffic().total() - before);
        return bytes / in_seconds(m_options.measured) / static_cast<double>(std::max<std::size_t>(1, m_fleet.running()));
    }

    std::string gather() {
        m_player.prepare();
        const time_point begin = m_fleet.now();
        for (host_index h = 0; h < m_options.peers; ++h) {
            const auto when = std::chrono::milliseconds(m_fleet.random().below(1000));
            m_fleet.call_after(when, [this, h] { m_fleet.start(h); });
        }
        m_fleet.run_for(std::chrono::seconds(1));
        if (!m_fleet.run_until([&] { return m_fleet.all_agree(); }, m_options.gather_within))
            return "they did not find each other, without any fault: " + m_fleet.disagreement();
        m_result.gathered_s = in_seconds(m_fleet.now() - begin);
        m_fleet.run_for(m_options.rest);
        m_result.bytes_before = measure();
        if (m_fleet.false_deaths() != 0) return "a member was declared dead before the first fault";
        return m_checks.failure();
    }

    std::string suffer() {
        m_player.begin();
        const time_point end = m_fleet.now() + m_options.length;
        const bool broken = m_fleet.run_until([&] { return !m_checks.failure().empty(); }, m_options.length);
        if (broken) return m_checks.failure();
        m_fleet.run_for(end - m_fleet.now());
        m_player.heal();
        return {};
    }

    std::string recover() {
        const time_point healed = m_fleet.now();
        const auto done = [&] { return m_fleet.all_agree() || !m_checks.failure().empty(); };
        if (!m_fleet.run_until(done, m_options.agree_within)) {
            return "no agreement " + shortest(in_seconds(m_options.agree_within)) +
                   " s after everything was healed: " + m_fleet.disagreement();
        }
        m_result.agreed_s = in_seconds(m_fleet.now() - healed);
        // Somebody may hold the true view for a moment only: what counts is that all have it and keep it.
        const std::uint64_t deaths = m_fleet.false_deaths();
        m_fleet.run_for(m_options.rest);
        m_result.bytes_after = measure();
        if (!m_checks.failure().empty()) return m_checks.failure();
        if (!m_fleet.all_agree()) return "agreement was lost again, without any fault: " + m_fleet.disagreement();
        if (m_fleet.false_deaths() != deaths) return "a member was declared dead after everything was healed";
        if (m_result.bytes_after > m_options.traffic_factor * m_result.bytes_before + m_options.traffic_more) {
            return "traffic did not come to rest: " + shortest(m_result.bytes_before) + " bytes a second and peer before the faults, " +
                   shortest(m_result.bytes_after) + " after them";
        }
        return {};
    }

    const chaos_options& m_options;
    chaos_result& m_result;
    fleet m_fleet;
    invariants m_checks;
    fleet_world m_world;
    fault_player m_player;
};

}  // namespace detail

COVEY_INLINE chaos_result run_chaos(const chaos_options& options) {
    chaos_result result;
    result.failure = detail::chaos_run(options, result).run();
    return result;
}

COVEY_INLINE std::string explain(const chaos_options& options, const chaos_result& result, std::string_view command,
                                 std::size_t tries_max) {
    const auto replay = [&](const fault_schedule& faults) {
        std::string text = "COVEY_SIM_SEED=" + std::to_string(options.fleet.seed);
        text.append(" COVEY_SIM_PEERS=").append(std::to_string(options.peers));
        return text.append(" COVEY_SIM_FAULTS='").append(to_string(faults)).append("' ").append(command);
    };
    const auto fails = [&](const fault_schedule& fewer) {
        chaos_options again = options;
        again.faults = fewer;
        return !run_chaos(again).failure.empty();
    };
    const fault_schedule least = minimise(options.faults, fails, tries_max);
    std::string text = "seed " + std::to_string(options.fleet.seed) + ", " + std::to_string(options.peers) + " peers: " + result.failure;
    text.append("\nreplay: ").append(replay(options.faults));
    if (least.size() < options.faults.size()) {
        text.append("\nit fails with ").append(std::to_string(least.size())).append(" of these faults, too: ").append(replay(least));
    }
    return text.append("\nthe last events:\n").append(result.tail);
}

}  // namespace covey::sim
