#include <covey/call/context.hpp>

#include <catch2/catch.hpp>

#include <type_traits>

TEST_CASE("a context tells what its task runs under", "[call][context]") {
    using namespace covey;
    stop_source stop;
    task_context task;
    task.stop = stop.get_token();
    task.deadline = time_point(std::chrono::seconds(77));
    const context ctx(peer_id{1}, peer_id{2}, task);
    CHECK(ctx.caller() == peer_id{1});
    CHECK(ctx.self() == peer_id{2});
    CHECK(ctx.deadline() == time_point(std::chrono::seconds(77)));
    CHECK_FALSE(ctx.stop_token().stop_requested());
    stop.request_stop();
    CHECK(ctx.stop_token().stop_requested());

    const task_context none;
    CHECK(context(peer_id{1}, peer_id{1}, none).deadline() == never);
    static_assert(!std::is_copy_constructible_v<context> && !std::is_copy_assignable_v<context>);
}
