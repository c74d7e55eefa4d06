#include <covey/task/detail/outcome.hpp>

#include <catch2/catch.hpp>

#include <memory>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>

namespace covey_test_task_outcome {

using covey::detail::outcome;
using covey::detail::take;
using covey::detail::value_of;

namespace {

int g_alive = 0;
struct counted {
    explicit counted(int n) : value(n) {
        if (n < 0) throw std::out_of_range("negative");
        ++g_alive;
    }
    counted(counted&& other) noexcept : value(std::exchange(other.value, 0)) { ++g_alive; }
    counted& operator=(counted&&) = delete;
    ~counted() { --g_alive; }
    int value;
};

}  // namespace

TEST_CASE("an outcome holds a value from its setting to its end", "[task]") {
    {
        outcome<counted> empty;
        CHECK(g_alive == 0);
    }
    CHECK(g_alive == 0);
    {
        outcome<counted> o;
        o.set(counted(5));
        CHECK(g_alive == 1);
        const counted taken = take(o);
        CHECK(taken.value == 5);
        CHECK(g_alive == 2);
    }
    CHECK(g_alive == 0);
}

TEST_CASE("a value that cannot be made leaves no value", "[task]") {
    outcome<counted> o;
    CHECK_THROWS_AS(o.set(-1), std::out_of_range);
    CHECK(g_alive == 0);
    STATIC_REQUIRE_FALSE(noexcept(o.set(1)));
    STATIC_REQUIRE(noexcept(o.set(std::declval<counted>())));
}

TEST_CASE("a failure is thrown, also where there is a value", "[task]") {
    {
        outcome<counted> o;
        o.set(1);
        o.failure = std::make_exception_ptr(std::runtime_error("after the value"));
        CHECK_THROWS_WITH(take(o), "after the value");
        CHECK(g_alive == 1);
    }
    CHECK(g_alive == 0);
    outcome<void> nothing;
    take(nothing);
    nothing.failure = std::make_exception_ptr(std::runtime_error("nothing"));
    CHECK_THROWS_WITH(take(nothing), "nothing");
}

TEST_CASE("outcomes of references, of pointers that only move, and of nothing", "[task]") {
    int target = 1;
    outcome<int&> reference;
    reference.set(target);
    take(reference) = 2;
    CHECK(target == 2);
    STATIC_REQUIRE(std::is_same_v<decltype(value_of(reference)), int&>);

    outcome<std::unique_ptr<std::string>> pointer;
    pointer.set(std::make_unique<std::string>("some words that do not fit into a short string"));
    CHECK(*value_of(pointer) == "some words that do not fit into a short string");

    outcome<void> nothing;
    STATIC_REQUIRE(std::is_same_v<decltype(value_of(nothing)), std::monostate>);
}

}  // namespace covey_test_task_outcome
