#include <covey/core/detail/concat.hpp>

#include <catch2/catch.hpp>

#include <cstdint>
#include <limits>
#include <string>

using covey::detail::concat;

TEST_CASE("pieces of a message stand one after the other", "[core]") {
    const std::string text = "b";
    const std::string_view part = "cd";
    CHECK(concat({"a", text, part, std::string("e"), ""}) == "abcde");
    CHECK(concat({}).empty());
    CHECK(concat({"the ", 3, " of ", std::size_t{12}}) == "the 3 of 12");
}

TEST_CASE("numbers of every width are written in decimal", "[core]") {
    CHECK(concat({0}) == "0");
    CHECK(concat({std::uint8_t{255}, " ", std::uint16_t{65535}, " ", std::int8_t{-128}}) == "255 65535 -128");
    CHECK(concat({-7}) == "-7");
    CHECK(concat({std::numeric_limits<std::int64_t>::min()}) == "-9223372036854775808");
    CHECK(concat({std::numeric_limits<std::int64_t>::max()}) == "9223372036854775807");
    CHECK(concat({std::numeric_limits<std::uint64_t>::max()}) == "18446744073709551615");
}
