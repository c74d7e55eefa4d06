#include <covey/wire/demangle.hpp>

#include <catch2/catch.hpp>

#include <map>
#include <string>
#include <typeinfo>
#include <vector>

namespace shapes {
struct circle {};
}  // namespace shapes

TEST_CASE("types are named the way people write them", "[wire]") {
    using covey::detail::demangle;
    CHECK(demangle(typeid(int).name()) == "int");
    CHECK(demangle(typeid(shapes::circle).name()) == "shapes::circle");
    CHECK(demangle(typeid(std::string).name()) == "std::string");
    CHECK(demangle(typeid(std::vector<int>).name()) == "std::vector<int>");
    CHECK(demangle(typeid(std::vector<std::vector<std::string>>).name()) == "std::vector<std::vector<std::string>>");
    CHECK(demangle(typeid(std::map<int, std::string>).name()) == "std::map<int, std::string, std::less<int>>");
    CHECK(demangle("no mangled name!") == "no mangled name!");
    CHECK(demangle("").empty());
}
