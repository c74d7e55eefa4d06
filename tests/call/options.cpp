#include <covey/call/options.hpp>

#include <catch2/catch.hpp>

TEST_CASE("on() sets the target and keeps the rest", "[call][options]") {
    using namespace covey;
    using namespace std::chrono_literals;
    constexpr call_options plain = on(peer_id{5});
    static_assert(plain.target == peer_id{5} && plain.retries == 0 && plain.deadline == duration::zero());
    constexpr call_options full = on(peer_id{6}, {.deadline = 2s, .retries = 3, .target = peer_id{7}});
    static_assert(full.target == peer_id{6} && full.retries == 3 && full.deadline == 2s);
    constexpr call_options none{};
    CHECK_FALSE(none.target);
    CHECK(none.retries == 0);
    CHECK(none.deadline == duration::zero());
}
