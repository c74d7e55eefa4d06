#include <covey/core/config.hpp>

#include <catch2/catch.hpp>

#include <string>

TEST_CASE("the version is spelled the same twice", "[core]") {
    CHECK(std::string(COVEY_VERSION) ==
          std::to_string(COVEY_VERSION_MAJOR) + "." + std::to_string(COVEY_VERSION_MINOR) + "." + std::to_string(COVEY_VERSION_PATCH));
}

TEST_CASE("symmetric transfer is never claimed under a sanitizer", "[core]") {
    CHECK_FALSE((COVEY_SANITIZED != 0 && COVEY_ALWAYS_JUMPS != 0));
    CHECK((COVEY_TSAN == 0 || COVEY_SANITIZED == 1));
}
