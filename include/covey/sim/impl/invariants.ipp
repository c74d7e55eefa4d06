#pragma once

#include <covey/sim/invariants.hpp>

#include <algorithm>
#include <iterator>

namespace covey::sim {

COVEY_INLINE void invariants::fail(time_point now, host_index h, const std::string& what) {
    if (!m_failure.empty()) return;
    const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(now.time_since_epoch()).count();
    m_failure = "after " + std::to_string(ms) + " ms, host " + std::to_string(h) + ": " + what;
}

COVEY_INLINE void invariants::on_started(time_point, host_index h, const mesh_node& n) {
    place& p = at(h);
    ++p.starts;
    p.now = {n.epoch(), n.incarnation()};
    p.sent = 0;
    life& highest = m_highest[n.id()];
    highest = std::max(highest, p.now);
}

COVEY_INLINE void invariants::on_turn(time_point now, host_index h, const mesh_node& n) {
    place& p = at(h);
    if (p.sent > m_fleet.options().how.outputs_max) fail(now, h, std::to_string(p.sent) + " datagrams at once");
    p.sent = 0;
    if (const char* bound = n.broken_bound()) fail(now, h, bound);
    const life current{n.epoch(), n.incarnation()};
    if (current == p.now) return;
    if (current < p.now) fail(now, h, "its own epoch or incarnation went down");
    p.now = current;
    life& highest = m_highest[n.id()];
    highest = std::max(highest, current);
}

COVEY_INLINE void invariants::on_datagram_sent(time_point now, host_index by, std::size_t bytes) {
    ++at(by).sent;
    const std::size_t most = m_fleet.options().how.packet_bytes_max;
    if (bytes > most) fail(now, by, "a datagram of " + std::to_string(bytes) + " bytes, more than " + std::to_string(most));
}

/// Who learns that it was declared dead does not know who else was: it was away itself.
COVEY_INLINE void invariants::forget_dead(std::uint64_t process) {
    for (auto e = m_ended.lower_bound({process, peer_id{}}); e != m_ended.end() && e->first.first == process;) {
        e = e->second.has_left ? std::next(e) : m_ended.erase(e);
    }
}

COVEY_INLINE void invariants::on_sighting(time_point now, host_index observer, const sighting& s) {
    if (s.kind == sighting::what::other) return;
    // Its own rebirth is reported before the call is over, so before on_turn sees it.
    if (const mesh_node* n = m_fleet.node(observer); n != nullptr && n->id() == s.subject) {
        life& highest = m_highest[s.subject];
        highest = std::max(highest, life{n->epoch(), n->incarnation()});
        if (s.kind == sighting::what::rejoined) forget_dead(process_of(observer));
    }
    const auto who = [&] {
        return "host " + std::to_string(fleet::host_of(s.subject)) + " (" + to_string(s.subject) + ", epoch " + std::to_string(s.epoch) +
               ", incarnation " + std::to_string(s.incarnation) + ")";
    };
    const auto highest = m_highest.find(s.subject);
    if (highest == m_highest.end()) return fail(now, observer, "sees " + who() + ", which never was");
    if (highest->second < life{s.epoch, s.incarnation}) return fail(now, observer, "sees " + who() + ", which it never reached itself");
    const std::pair key{process_of(observer), s.subject};
    const bool is_end = s.kind == sighting::what::dead || s.kind == sighting::what::left;
    const auto ended = m_ended.find(key);
    if (ended != m_ended.end() && s.epoch <= ended->second.epoch)
        return fail(now, observer, "sees " + who() + (is_end ? " end, which ended before" : " alive, which it has seen end"));
    if (is_end) m_ended[key] = {s.epoch, s.kind == sighting::what::left};
}

}  // namespace covey::sim
