// What the model of the pool's sleeping and waking is asked to play, and what is left out of it on purpose.
#pragma once

#include <sched/model/machine.hpp>

#include <array>

namespace covey_test::model {

/// The protocol, and what can be left out of it to see that the checker notices.
struct protocol {
    bool waits_a_little_first = true;  // who goes to wait in the reactor, if others are busy; and looks for work again
    bool sleeper_fences = false;       // who goes to sleep otherwise makes all others pass a fence, as membarrier(2) does
    bool pusher_fences = false;        // by who pushes, before it looks whether it is asked
    bool asks = true;                  // who has no work asks all others
    bool counts_then_asks = true;      // … after it has counted itself hungry
    bool counts_again = true;          // who forgets that it was asked looks who is hungry after that
    bool release_fences = true;        // by who releases the baton, the same
    bool handler_is_busy = true;       // on_event counts the worker as busy before the handler goes on
    bool looks_for_work_again = true;  // after counting itself asleep
    bool looks_at_baton_again = true;  // the same
    bool waiter_looks_again = true;    // before it waits in the reactor
    bool thief_wakes_next = true;      // as long as there is more
    bool naps = true;                  // one of those asleep stands by
    bool nap_looks_again = true;       // after it has stopped to
    bool standby_hands_over = true;    // who stood by and gets up wakes another
    bool token_hands_over = true;      // also if it was taken from the list just then
};

/// What happens. Workers that begin with pushes do so in the midst of a resumption; the others look for work.
struct scene {
    const char* name;
    std::array<value, 3> pushes{};  // by each worker, one after another
    value children = 0;             // pushed by worker 0 before its `pushes` with one look at the sleepers for all
    value posts = 0;                // from a thread that is no worker
    value socket_events = 0;        // each handled in the reactor
    value handler_pushes = 0;       // by each handler, beside what goes on on its own thread
    bool asked = false;             // all are asked, by workers that have found work since
    bool work_ends = false;         // work may also end; otherwise it computes until the end of the world
    value polls = 0;                // how often each worker may look at the reactor before it looks for work
    bool io_thread = false;         // a thread of its own watches the reactor
    bool watching = false;          // worker 0 waits there already
    unsigned workers = 3;
};

}  // namespace covey_test::model
