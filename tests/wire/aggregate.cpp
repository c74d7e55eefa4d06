#include <covey/wire/aggregate.hpp>

#include <catch2/catch.hpp>

#include <any>
#include <array>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <variant>
#include <vector>

using namespace covey::wire;

namespace {

struct m0 {};
struct m1 {
    int a;
};
struct m2 {
    int a;
    std::string b;
};
struct m3 {
    int a[3];
    std::array<int, 4> b;
    std::string c;
};
struct m8 {
    int a, b, c, d, e, f, g, h;
};
struct m16 {
    int a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p;
};
struct m17 {
    int a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q;
};
struct defaults {
    int a = 7;
    std::string b = "b";
    std::vector<int> c{1, 2};
};
struct greedy {
    std::optional<int> a;
    std::optional<std::string> b;
    std::variant<std::monostate, int, std::string> c;
    std::unique_ptr<int> d;
    std::tuple<int, std::string> e;
    std::pair<m2, m2> f;
    std::vector<m2> g;
    std::map<std::string, m1> h;
    m2 i;
    char j[16][2];
};
struct one_any {
    std::any a;
};
struct outer {
    m2 a;
    m0 b;
    m1 c;
};
struct from_empty : m0 {
    int a;
};
struct from_full : m1 {};
struct constant {
    const int a;
};
struct no_default {
    explicit no_default(int) {}
};
struct holds_no_default {
    no_default a;
};
struct constructed {
    constructed() {}
    int a = 0;
};
class hidden {
    [[maybe_unused]] int a = 0;
};

}  // namespace

TEST_CASE("members are counted", "[wire]") {
    STATIC_REQUIRE(member_count<m0> == 0);
    STATIC_REQUIRE(member_count<m1> == 1);
    STATIC_REQUIRE(member_count<m2> == 2);
    STATIC_REQUIRE(member_count<m3> == 3);
    STATIC_REQUIRE(member_count<m8> == 8);
    STATIC_REQUIRE(member_count<m16> == 16);
    STATIC_REQUIRE(member_count<m17> == 17);
    STATIC_REQUIRE(member_count<defaults> == 3);
    STATIC_REQUIRE(member_count<greedy> == 10);
    STATIC_REQUIRE(member_count<outer> == 3);
}

TEST_CASE("plain aggregates are told from other classes", "[wire]") {
    STATIC_REQUIRE(plain_aggregate<m0>);
    STATIC_REQUIRE(plain_aggregate<m16>);
    STATIC_REQUIRE(plain_aggregate<greedy>);
    STATIC_REQUIRE(plain_aggregate<defaults>);
    STATIC_REQUIRE_FALSE(plain_aggregate<m17>);
    STATIC_REQUIRE_FALSE(plain_aggregate<from_empty>);
    STATIC_REQUIRE_FALSE(plain_aggregate<from_full>);
    STATIC_REQUIRE_FALSE(plain_aggregate<constant>);
    STATIC_REQUIRE_FALSE(plain_aggregate<holds_no_default>);
    STATIC_REQUIRE_FALSE(plain_aggregate<constructed>);
    STATIC_REQUIRE_FALSE(plain_aggregate<hidden>);
    STATIC_REQUIRE_FALSE(plain_aggregate<std::string>);
    STATIC_REQUIRE_FALSE(plain_aggregate<int>);
}

TEST_CASE("members are listed with their types", "[wire]") {
    STATIC_REQUIRE(std::is_same_v<member_types<m0>, type_list<>>);
    STATIC_REQUIRE(std::is_same_v<member_types<m3>, type_list<int[3], std::array<int, 4>, std::string>>);
    STATIC_REQUIRE(std::is_same_v<member_types<outer>, type_list<m2, m0, m1>>);
}

TEST_CASE("with_members gives references in the order of declaration", "[wire]") {
    m16 v{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};
    int seen = 0;
    const auto visit = [&seen](int& member) {
        CHECK(member == ++seen);
        member *= 10;
    };
    with_members(v, [&visit](auto&... members) { (visit(members), ...); });
    CHECK(seen == 16);
    CHECK(v.a == 10);
    CHECK(v.p == 160);
    const m2 c{3, "x"};
    CHECK(with_members(c, [](const int& a, const std::string& b) { return std::to_string(a) + b; }) == "3x");
}
