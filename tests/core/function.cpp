#include <covey/core/function.hpp>

#include <catch2/catch.hpp>

#include <array>
#include <memory>
#include <string>

using covey::unique_function;

TEST_CASE("a function owns what need not be copyable", "[core]") {
    unique_function<int(int)> f = [p = std::make_unique<int>(40)](int x) { return *p + x; };
    REQUIRE(f);
    CHECK(f(2) == 42);
    unique_function<int(int)> g = std::move(f);
    CHECK_FALSE(f);
    CHECK(g(1) == 41);
    STATIC_REQUIRE_FALSE(std::is_copy_constructible_v<unique_function<void()>>);
}

TEST_CASE("an empty function is false", "[core]") {
    unique_function<void()> f;
    CHECK_FALSE(f);
    f = [] {};
    CHECK(f);
    f = nullptr;
    CHECK_FALSE(f);
}

TEST_CASE("state lives from one call to the next and ends with the function", "[core]") {
    const auto alive = std::make_shared<int>(0);
    {
        unique_function<int()> f = [alive, n = 0]() mutable { return ++n; };
        CHECK(f() == 1);
        CHECK(f() == 2);
        CHECK(alive.use_count() == 2);
        f = [] { return 0; };
        CHECK(alive.use_count() == 1);
    }
}

TEST_CASE("arguments are forwarded and results converted", "[core]") {
    unique_function<std::string(std::unique_ptr<int>, int&)> f = [](std::unique_ptr<int> p, int& out) {
        out = *p;
        return "text";
    };
    int out = 0;
    CHECK(f(std::make_unique<int>(3), out) == "text");
    CHECK(out == 3);
    unique_function<void(int)> dropped = [](int x) { return x; };
    dropped(1);
    unique_function<int(int)> pointer = +[](int x) { return x * 2; };
    CHECK(pointer(4) == 8);
    std::array<int, 100> large{};
    large[99] = 7;
    unique_function<int()> big = [large] { return large[99]; };
    CHECK(big() == 7);
}

TEST_CASE("exceptions pass through", "[core]") {
    unique_function<void()> f = [] { throw std::string("thrown"); };
    CHECK_THROWS_AS(f(), std::string);
}

TEST_CASE("only what can be called is taken", "[core]") {
    STATIC_REQUIRE(std::is_constructible_v<unique_function<int(int)>, int (*)(int)>);
    STATIC_REQUIRE_FALSE(std::is_constructible_v<unique_function<int(int)>, int>);
    STATIC_REQUIRE_FALSE(std::is_constructible_v<unique_function<int(int)>, int (*)(std::string)>);
}
