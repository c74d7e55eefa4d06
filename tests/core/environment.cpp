#include <covey/core/environment.hpp>

#include <catch2/catch.hpp>

#include <type_traits>

using namespace covey;

namespace {

/// An owner of a timer, as drivers have it: the callback finds its way back by a cast.
struct owner : timer {
    owner() : timer([](timer& t) noexcept { ++static_cast<owner&>(t).fired; }) {}
    int fired = 0;
};

}  // namespace

TEST_CASE("a timer calls back with itself", "[core]") {
    owner a;
    CHECK(a.slot.index == 0);
    CHECK(a.slot.order == 0);
    a.fire();
    a.fire();
    CHECK(a.fired == 2);
    STATIC_REQUIRE_FALSE(std::is_copy_constructible_v<timer>);
    STATIC_REQUIRE_FALSE(std::is_move_constructible_v<timer>);
}

TEST_CASE("the interfaces are abstract and destroyed through their base", "[core]") {
    STATIC_REQUIRE(std::is_abstract_v<scheduler>);
    STATIC_REQUIRE(std::is_abstract_v<environment>);
    STATIC_REQUIRE(std::is_base_of_v<scheduler, environment>);
    STATIC_REQUIRE(std::has_virtual_destructor_v<scheduler>);
    STATIC_REQUIRE(std::has_virtual_destructor_v<datagram_handler>);
    STATIC_REQUIRE(std::has_virtual_destructor_v<datagram_socket>);
    STATIC_REQUIRE(std::has_virtual_destructor_v<stream_handler>);
    STATIC_REQUIRE(std::has_virtual_destructor_v<stream_socket>);
    STATIC_REQUIRE(std::has_virtual_destructor_v<stream_listener>);
}
