#include <covey/wire/layout.hpp>

#include <catch2/catch.hpp>

#include <string>

using namespace covey::wire;

namespace {

enum class fixed : std::uint16_t { one = 1 };
enum written : int { two = 2 };
enum loose { three };
enum class yes_no : bool {};
struct thing {};
struct known {};

}  // namespace

template <>
struct covey::wire::layout<known> {
    using parts = type_list<int>;
};

TEST_CASE("numbers are what any bytes or a written enumeration make", "[wire]") {
    STATIC_REQUIRE(number<int>);
    STATIC_REQUIRE(number<bool>);
    STATIC_REQUIRE(number<char8_t>);
    STATIC_REQUIRE(number<double>);
    STATIC_REQUIRE(number<fixed>);
    STATIC_REQUIRE(number<written>);
    STATIC_REQUIRE(number<std::byte>);
    STATIC_REQUIRE_FALSE(number<loose>);
    STATIC_REQUIRE_FALSE(number<long double>);
    STATIC_REQUIRE_FALSE(number<const int>);
    STATIC_REQUIRE_FALSE(number<int*>);
    STATIC_REQUIRE_FALSE(number<thing>);
}

TEST_CASE("only types for which any bytes are valid are copied in bulk", "[wire]") {
    STATIC_REQUIRE(bulk<int>);
    STATIC_REQUIRE(bulk<float>);
    STATIC_REQUIRE(bulk<fixed>);
    STATIC_REQUIRE(bulk<std::byte>);
    STATIC_REQUIRE_FALSE(bulk<bool>);
    STATIC_REQUIRE_FALSE(bulk<yes_no>);
    STATIC_REQUIRE_FALSE(bulk<std::string>);
}

TEST_CASE("a layout is what a specialisation gives", "[wire]") {
    STATIC_REQUIRE(has_layout<known>);
    STATIC_REQUIRE_FALSE(has_layout<thing>);
    STATIC_REQUIRE_FALSE(has_layout<int>);
}
