#include <covey/wire/schema.hpp>

#include <catch2/catch.hpp>

#include <map>
#include <string>
#include <vector>

using covey::wire::signature_schema;
using covey::wire::type_schema;

namespace schema_a {
enum class color : std::uint8_t { red };
struct inner {
    int a;
    std::string b;
};
struct outer {
    inner x;
    std::vector<inner> y;
};
struct tree {
    int value;
    std::vector<tree> children;
};
struct by_cereal {
    int a;
    template <class Archive>
    void serialize(Archive& ar) {
        ar(a);
    }
};
}  // namespace schema_a

TEST_CASE("schemas are the same whichever compiler made the program", "[wire]") {
    // Written down once with g++ 12 and checked with every compiler since: peers of two builds compare these numbers.
    CHECK(type_schema<int>() == 0xd9062d660ef30d99ull);
    CHECK(type_schema<std::string>() == 0xdc6f190a8a247277ull);
    CHECK(type_schema<std::map<std::string, std::vector<double>>>() == 0xd2d767e59af3babbull);
    CHECK(type_schema<schema_a::color>() == 0xe11c2b9744ab8c22ull);
    CHECK(type_schema<schema_a::outer>() == 0xd396c838e30a66a9ull);
    CHECK(type_schema<schema_a::tree>() == 0x9aacb7ae07bfefceull);
    CHECK(type_schema<schema_a::by_cereal>() == 0x4ce2d6169ab82403ull);
    CHECK(signature_schema<void>() == 0x1b9e54ca736928dbull);
    CHECK(signature_schema<int, std::string, schema_a::outer>() == 0x20b6c19ba2baeda7ull);
}

TEST_CASE("references and const do not count", "[wire]") {
    CHECK(type_schema<const std::string&>() == type_schema<std::string>());
    CHECK(signature_schema<const int&, std::string&&>() == signature_schema<int, std::string>());
}

namespace {

/// Two versions of one struct: their names differ as well, so only what is folded beside the name is compared.
template <class T>
std::uint64_t members_only() {
    return covey::wire::detail::fold_schemas(0, {&typeid(T), nullptr}, covey::wire::member_types<T>{});
}
struct before {
    int a;
    std::string b;
};
struct same_members {
    int x;
    std::string y;
};
struct gained {
    int a;
    std::string b;
    int c;
};
struct swapped {
    std::string b;
    int a;
};
struct inner_changed {
    int a;
    std::vector<std::string> b;
};
struct nests {
    before a;
};
struct flat {
    int a;
    std::string b;
};

}  // namespace

TEST_CASE("a struct that changed has another schema", "[wire]") {
    CHECK(members_only<before>() == members_only<same_members>());
    CHECK(members_only<before>() != members_only<gained>());
    CHECK(members_only<before>() != members_only<swapped>());
    CHECK(members_only<before>() != members_only<inner_changed>());
    CHECK(members_only<nests>() != members_only<flat>());
}

TEST_CASE("signatures differ by result, parameters and their order", "[wire]") {
    CHECK(signature_schema<int, int>() != signature_schema<int>());
    CHECK(signature_schema<int, int>() != signature_schema<int, int, int>());
    CHECK(signature_schema<int, long>() != signature_schema<long, int>());
    CHECK(signature_schema<int, long, char>() != signature_schema<int, char, long>());
    CHECK(type_schema<std::vector<int>>() != type_schema<std::vector<unsigned>>());
    CHECK(type_schema<std::vector<schema_a::inner>>() != type_schema<std::vector<schema_a::outer>>());
}
