// How long each suspect still has.
#pragma once

#include <covey/core/id.hpp>
#include <covey/core/time.hpp>

#include <cstddef>
#include <map>
#include <optional>
#include <set>
#include <utility>
#include <vector>

namespace covey::mesh {

/// Timeouts that start long and shrink as other members, independently, come to suspect the same (Lifeguard, section IV-B):
/// longest - (longest - shortest) * log(C + 1) / log(K + 1) after C of K expected confirmations. One entry a suspect,
/// so the members bound it. Not thread-safe.
///
/// Before the end the holder asks again, `questions` times. Gossip has a tail: news sent 8 times by each of 100 members at
/// 15% loss misses one of them with probability e^-6.8, so every tenth refutation leaves somebody behind who alone still holds
/// the suspicion, and whose verdict would be final for everybody. One ping is no remedy: at that loss 28% of them, or of their
/// answers, do not arrive. The suspect and three others asked in each of three rounds all fail once in 5 million.
class suspicions {
public:
    /// Rounds of questions within terms::last_word.
    static constexpr unsigned questions = 3;

    struct terms {
        duration shortest{};
        duration longest{};
        unsigned confirmations = 0;  ///< K; 0: the shortest at once
        duration last_word{};        ///< so long before the end the first question should be asked; 0: none at all
    };

    /// The time runs from `since`: now, or when the question went out that was not answered.
    void start(time_point since, peer_id subject, peer_id accuser, const terms& how);
    /// True: this accuser is new and counted (so its word is worth passing on).
    bool confirm(peer_id subject, peer_id accuser);
    /// The end is `deadline` at the latest; who calls this asks the first question itself.
    void hurry(time_point now, peer_id subject, time_point deadline);
    void erase(peer_id subject);
    bool contains(peer_id subject) const noexcept { return m_open.contains(subject); }
    /// Null id: no such suspect.
    peer_id first_accuser(peer_id subject) const noexcept;
    std::size_t size() const noexcept { return m_open.size(); }

    struct verdict {
        peer_id subject;
        peer_id accuser;        ///< who was the first to say so
        bool is_final = false;  ///< false: ask it, and others about it; that it cleared itself may have been lost on the way to us
    };

    /// When something is due; `never` if nothing is.
    time_point next() const noexcept { return m_deadlines.empty() ? never : m_deadlines.begin()->first; }
    /// One that is due; a final one is taken out.
    std::optional<verdict> take_due(time_point now);
    /// All of them get `by` more: we were not running, so silence meant nothing.
    void shift(duration by);

private:
    struct entry {
        terms how;
        time_point start{};
        time_point deadline{};
        time_point due{};  // as in m_deadlines
        unsigned questions_left = 0;
        std::vector<peer_id> accusers;  // at most K + 1
    };
    void set_deadline(peer_id subject, entry& e, time_point deadline);

    std::map<peer_id, entry> m_open;
    std::set<std::pair<time_point, peer_id>> m_deadlines;
};

}  // namespace covey::mesh

#ifndef COVEY_COMPILED
#include <covey/mesh/impl/suspicion.ipp>
#endif
