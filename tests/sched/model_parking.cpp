// All interleavings of the pool's pushes, sleeps and wake-ups, on a machine with store buffers.

#include <sched/model/parking.hpp>

#include <covey/core/config.hpp>

#include <catch2/catch.hpp>

#include <cstdio>
#include <cstdlib>
#include <iterator>
#include <string>

namespace covey_test_sched_model_parking {

using namespace covey_test::model;

namespace {

enum which : std::size_t {
    one_push,
    two_pushes,
    pushes_when_asked,
    two_pushers,
    three_children,
    push_and_ends,
    two_posts,
    push_and_post,
    event,
    event_and_push,
    event_and_post,
    posts_beside_io_thread,
    pushes_beside_io_thread,
    // The larger ones, which are left out where a sanitizer makes them slow.
    event_of_three,
    two_events,
    event_and_post_of_three,
    number_of_scenes
};
constexpr std::size_t first_large = event_of_three;

const scene scenes[] = {
    {.name = "a worker pushes, another falls asleep", .pushes = {1}, .workers = 2},
    {.name = "a worker pushes two, two fall asleep", .pushes = {2}},
    {.name = "a worker that was asked before pushes two", .pushes = {2}, .asked = true, .work_ends = true, .workers = 2},
    {.name = "two push, a third falls asleep", .pushes = {1, 1}},
    {.name = "three children and one look at the sleepers", .children = 3},
    {.name = "work that ends, and a push", .pushes = {1}, .work_ends = true, .workers = 2},
    {.name = "posts from outside", .posts = 2, .work_ends = true, .workers = 2},
    {.name = "a push and a post", .pushes = {1}, .posts = 1},
    {.name = "an event", .socket_events = 1, .handler_pushes = 1, .workers = 2},
    {.name = "an event and a push", .pushes = {1}, .socket_events = 1, .workers = 2},
    {.name = "an event and a post, polled", .posts = 1, .socket_events = 1, .polls = 1, .workers = 2},
    {.name = "posts to workers that watch nothing", .posts = 2, .io_thread = true, .workers = 2},
    {.name = "pushes among workers that watch nothing", .pushes = {1}, .work_ends = true, .io_thread = true, .workers = 2},
    {.name = "an event for three", .socket_events = 1, .handler_pushes = 1, .watching = true},
    {.name = "two events for three", .socket_events = 2, .watching = true},
    {.name = "an event and a post for three", .posts = 1, .socket_events = 1, .watching = true},
};
static_assert(std::size(scenes) == number_of_scenes);

constexpr std::size_t scenes_here = COVEY_SANITIZED != 0 ? first_large : number_of_scenes;

}  // namespace

TEST_CASE("model: nobody sleeps while there is work or nobody watches the reactor", "[sched][model]") {
    const struct {
        const char* name;
        protocol p;
    } right[] = {
        {"with naps", {}},
        {"pushes fence", {.waits_a_little_first = false, .pusher_fences = true}},
        {"without naps", {.sleeper_fences = true, .naps = false}},
    };
    std::size_t states = 0;
    for (const auto& r : right) {
        for (std::size_t i = 0; i < scenes_here; ++i) {
            const scene& s = scenes[i];
            const auto v = parking(r.p, s).check();
            report((std::string(r.name) + ": " + s.name).c_str(), v);
            INFO(r.name << ", " << s.name << "\n" << v.trace);
            CHECK(v.holds);
            CHECK(v.complete);
            CHECK(v.states > 200);
            CHECK(v.ends > 0);
            states += v.states;
        }
    }
    CHECK(states > 500'000);
}

TEST_CASE("model: what the protocol needs", "[sched][model]") {
    const struct {
        const char* name;
        protocol p;
        which seen_in;
    } wrong[] = {
        {"who waits in the reactor does not look a little later", {.waits_a_little_first = false}, one_push},
        {"who has no work asks nobody", {.asks = false}, one_push},
        {"who asks is not counted first", {.counts_then_asks = false}, pushes_when_asked},
        {"who forgets counts nobody", {.counts_again = false}, pushes_when_asked},
        {"a handler is not counted busy", {.handler_is_busy = false}, event},
        {"a handler is not counted busy", {.handler_is_busy = false}, event_of_three},
        {"no second look for work", {.sleeper_fences = true, .looks_for_work_again = false, .naps = false}, posts_beside_io_thread},
        {"no second look at the baton", {.looks_at_baton_again = false, .naps = false}, two_posts},
        {"no second look before waiting in the reactor", {.waiter_looks_again = false}, one_push},
        {"a baton that is released without a fence", {.release_fences = false}, two_events},
        {"a thief wakes nobody", {.thief_wakes_next = false, .naps = false}, three_children},
        {"no third look after standing by", {.nap_looks_again = false}, event_of_three},
        {"who stood by goes to work", {.standby_hands_over = false}, event_of_three},
        {"who stood by was taken from the list", {.token_hands_over = false}, event_of_three},
    };
    for (const auto& w : wrong) {
        if (w.seen_in >= scenes_here) continue;
        const scene& s = scenes[w.seen_in];
        const auto v = parking(w.p, s).check();
        INFO(w.name << ", " << s.name);
        CHECK_FALSE(v.holds);
        std::printf("model: %s: wrong after %zu states of: %s\n", w.name, v.states, s.name);
        if (std::getenv("COVEY_MODEL_TRACES") != nullptr) std::printf("%s", v.trace.c_str());
    }
}

}  // namespace covey_test_sched_model_parking
