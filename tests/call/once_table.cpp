#include <covey/call/detail/once_table.hpp>

#include <catch2/catch.hpp>

#include <optional>
#include <string>

namespace covey_test_once_table {

using namespace covey;
using namespace covey::detail;
using namespace std::chrono_literals;

constexpr peer_id alice{1};
constexpr peer_id bob{2};
constexpr time_point begin{1s};

bytes_view bytes_of(const std::string& text) { return {reinterpret_cast<const std::byte*>(text.data()), text.size()}; }

TEST_CASE("the second attempt finds the first, and its answer when there is one", "[call][once]") {
    once_table table;
    const once_table::attempt first = table.begin(alice, {7, 7}, begin);
    REQUIRE(first.entry != nullptr);
    CHECK(first.is_first);
    const once_table::attempt second = table.begin(alice, {7, 7}, begin);
    CHECK(second.entry == first.entry);
    CHECK_FALSE(second.is_first);
    CHECK(table.begin(bob, {7, 7}, begin).is_first);  // another caller's number is another call
    table.end(*first.entry, wire::frame_kind::reply, bytes_of("42"));
    table.end(*first.entry, wire::frame_kind::failure, bytes_of("late"));
    const once_table::attempt third = table.begin(alice, {7, 3}, begin);
    CHECK(third.entry == first.entry);
    CHECK(third.entry->is_kept);
    CHECK(third.entry->kind == wire::frame_kind::reply);
    CHECK(as_text(third.entry->body.view()) == "42");
}

TEST_CASE("what the caller has given up is forgotten, and does not run when it comes late", "[call][once]") {
    once_table table;
    const once_table::attempt one = table.begin(alice, {1, 1}, begin);
    table.end(*one.entry, wire::frame_kind::reply, bytes_of("1"));
    const once_table::attempt running = table.begin(alice, {2, 1}, begin);
    CHECK(table.begin(alice, {4, 4}, begin).is_first);
    for (const std::uint64_t late : {1u, 2u, 3u}) {
        const once_table::attempt a = table.begin(alice, {late, 1}, begin);
        CHECK(a.entry == nullptr);
        CHECK(a.refusal == errc::link_lost);
    }
    // One that runs still can be stopped.
    table.stop(bob);
    CHECK_FALSE(running.entry->stop.stop_requested());
    table.stop(alice);
    CHECK(running.entry->stop.stop_requested());
    CHECK_FALSE(one.entry->stop.stop_requested());
}

TEST_CASE("calls, callers and answers are bounded", "[call][once]") {
    once_table table;
    for (std::uint64_t n = 1; n <= once_table::calls_max; ++n) REQUIRE(table.begin(alice, {n, 1}, begin).is_first);
    CHECK(table.begin(alice, {once_table::calls_max + 1, 1}, begin).refusal == errc::overloaded);
    CHECK(table.begin(alice, {once_table::calls_max, 1}, begin).entry != nullptr);
    CHECK(table.begin(bob, {1, 1}, begin).is_first);
    for (std::uint64_t id = 3; id <= once_table::callers_max; ++id) REQUIRE(table.begin(peer_id{id}, {1, 1}, begin).is_first);
    CHECK(table.begin(peer_id{1'000'000}, {1, 1}, begin).refusal == errc::overloaded);
    CHECK(table.begin(bob, {2, 1}, begin).is_first);

    const std::string large(once_table::answers_bytes_max / 2 + 1, 'x');
    const once_table::attempt kept = table.begin(bob, {3, 3}, begin), not_kept = table.begin(bob, {4, 3}, begin);
    table.end(*kept.entry, wire::frame_kind::reply, bytes_of(large));
    table.end(*not_kept.entry, wire::frame_kind::reply, bytes_of(large));
    CHECK(kept.entry->is_kept);
    CHECK_FALSE(not_kept.entry->is_kept);
    // With the first forgotten there is room again.
    const once_table::attempt next = table.begin(bob, {5, 4}, begin);
    table.end(*next.entry, wire::frame_kind::reply, bytes_of(large));
    CHECK(next.entry->is_kept);
}

TEST_CASE("calls of all callers together are bounded, and what is forgotten makes room", "[call][once]") {
    once_table table;
    constexpr std::uint64_t callers = once_table::remembered_max / once_table::calls_max;
    for (std::uint64_t id = 1; id <= callers; ++id) {
        for (std::uint64_t n = 1; n <= once_table::calls_max; ++n) {
            const once_table::attempt a = table.begin(peer_id{id}, {n, 1}, begin);
            if (!a.is_first) FAIL("refused at " << id << ", " << n);
            if (n == 1) table.end(*a.entry, wire::frame_kind::reply, {});
        }
    }
    CHECK(table.begin(peer_id{callers + 1}, {1, 1}, begin).refusal == errc::overloaded);
    CHECK_FALSE(table.begin(alice, {2, 2}, begin).is_first);  // the first is forgotten with this
    CHECK(table.begin(peer_id{callers + 1}, {1, 1}, begin).is_first);
    CHECK(table.begin(peer_id{callers + 1}, {2, 1}, begin).refusal == errc::overloaded);
}

TEST_CASE("a caller that has been silent for long is forgotten, but for what runs", "[call][once]") {
    once_table table;
    const once_table::attempt done = table.begin(alice, {1, 1}, begin);
    table.end(*done.entry, wire::frame_kind::reply, bytes_of("1"));
    const once_table::attempt running = table.begin(bob, {1, 1}, begin);
    // Until then each attempt finds the first.
    CHECK_FALSE(table.begin(alice, {1, 1}, begin + once_table::again_max).is_first);
    const time_point late = begin + once_table::again_max + 2 * once_table::remembered;
    CHECK(table.begin(peer_id{3}, {1, 1}, late).is_first);
    CHECK(table.begin(alice, {1, 1}, late).is_first);                  // as if never heard of
    CHECK(table.begin(bob, {1, 1}, late).refusal == errc::link_lost);  // below what was given up for it
    table.close();
    CHECK(running.entry->stop.stop_requested());
    CHECK(table.begin(bob, {9, 9}, late).refusal == errc::shut_down);
}

TEST_CASE("numbers rise, and the floor is the lowest that is open to the same peer", "[call][once]") {
    once_numbers numbers;
    std::optional<once_numbers::ticket> one(std::in_place, numbers, alice, begin);
    const once_numbers::ticket other(numbers, bob, begin);
    std::optional<once_numbers::ticket> two(std::in_place, numbers, alice, begin);
    CHECK(one->number().sequence < two->number().sequence);
    CHECK(one->number().floor == one->number().sequence);
    CHECK(two->number().floor == one->number().sequence);
    CHECK(other.number().floor == other.number().sequence);
    CHECK(other.target() == bob);
    const std::uint64_t second = two->number().sequence;
    one.reset();
    CHECK(two->number().floor == second);
    two.reset();
    const once_numbers::ticket three(numbers, alice, begin);
    CHECK(three.number().sequence > second);
    CHECK(three.number().floor == three.number().sequence);

    byte_buffer bytes;
    once_number{8, 5}.append_to(bytes);
    CHECK(bytes.size() == once_number::bytes);
    bytes_view in = bytes.view();
    const once_number back = once_number::take(in);
    CHECK(back.sequence == 8);
    CHECK(back.floor == 5);
    CHECK(in.empty());
    bytes_view cut = bytes.view().first(15);
    CHECK_THROWS_AS(once_number::take(cut), error);
    for (const once_number wrong : {once_number{0, 0}, once_number{5, 6}}) {
        byte_buffer no;
        wrong.append_to(no);
        bytes_view view = no.view();
        CHECK_THROWS_AS(once_number::take(view), error);
    }
}

}  // namespace covey_test_once_table
