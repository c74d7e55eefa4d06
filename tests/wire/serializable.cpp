#include <covey/core/endpoint.hpp>
#include <covey/core/time.hpp>
#include <covey/wire/serializable.hpp>

#include <catch2/catch.hpp>

#include <any>
#include <atomic>
#include <filesystem>
#include <functional>
#include <future>
#include <mutex>
#include <span>
#include <sstream>
#include <string_view>
#include <thread>

using covey::wire::serializable;

namespace {

enum class color : std::uint8_t { red };
enum loose { first };
struct plain {
    int a;
    std::string b;
};
struct tree {
    int value;
    std::vector<tree> children;
};
struct chain {
    std::unique_ptr<chain> next;
    std::optional<int> value;
};
struct ping_node;
struct pong_node {
    std::vector<ping_node> pings;
};
struct ping_node {
    std::vector<pong_node> pongs;
};
struct bad_tree {
    int* value;
    std::vector<bad_tree> children;
};
struct with_pointer {
    int a;
    int* p;
};
struct deep_pointer {
    std::map<int, std::vector<with_pointer>> m;
};
struct with_reference {
    int& r;
};
struct with_mutex {
    std::mutex m;
};
struct with_const {
    const int a = 0;
};
struct derived : plain {
    int c;
};
struct seventeen {
    int a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q;
};
struct move_only {
    std::unique_ptr<int> p;
    int a;
};
struct member_serialize {
    template <class Archive>
    void serialize(Archive& ar) {
        ar(a);
    }
    explicit member_serialize(int x = 0) : a(x) {}
    int a;
};
struct free_serialize {
    explicit free_serialize(int x = 0) : a(x) {}
    int a;
};
template <class Archive>
void serialize(Archive& ar, free_serialize& v) {
    ar(v.a);
}
struct save_only {
    template <class Archive>
    void save(Archive& ar) const {
        ar(a);
    }
    int a;
};
struct no_default {
    explicit no_default(int) {}
    template <class Archive>
    void serialize(Archive&) {}
};
struct shape {
    virtual ~shape() = default;
    template <class Archive>
    void serialize(Archive&) {}
};
union either {
    int a;
    float b;
};

}  // namespace

TEST_CASE("types that travel", "[wire]") {
    STATIC_REQUIRE(serializable<int>);
    STATIC_REQUIRE(serializable<bool>);
    STATIC_REQUIRE(serializable<color>);
    STATIC_REQUIRE(serializable<std::byte>);
    STATIC_REQUIRE(serializable<std::string>);
    STATIC_REQUIRE(serializable<std::u16string>);
    STATIC_REQUIRE(serializable<std::vector<std::byte>>);
    STATIC_REQUIRE(serializable<std::map<std::string, std::vector<std::optional<plain>>>>);
    STATIC_REQUIRE(serializable<std::filesystem::path>);
    STATIC_REQUIRE(serializable<std::monostate>);
    STATIC_REQUIRE(serializable<std::tuple<>>);
    STATIC_REQUIRE(serializable<std::chrono::seconds>);
    STATIC_REQUIRE(serializable<std::chrono::system_clock::time_point>);
    STATIC_REQUIRE(serializable<plain>);
    STATIC_REQUIRE(serializable<tree>);
    STATIC_REQUIRE(serializable<chain>);
    STATIC_REQUIRE(serializable<ping_node>);
    STATIC_REQUIRE(serializable<move_only>);
    STATIC_REQUIRE(serializable<member_serialize>);
    STATIC_REQUIRE(serializable<free_serialize>);
    STATIC_REQUIRE(serializable<std::vector<free_serialize>>);
    STATIC_REQUIRE(serializable<covey::endpoint>);
    STATIC_REQUIRE(serializable<covey::peer_id>);
    STATIC_REQUIRE(serializable<covey::cluster_id>);
    STATIC_REQUIRE(serializable<shape>);
}

TEST_CASE("types that do not travel", "[wire]") {
    STATIC_REQUIRE_FALSE(serializable<void>);
    STATIC_REQUIRE_FALSE(serializable<int*>);
    STATIC_REQUIRE_FALSE(serializable<const char*>);
    STATIC_REQUIRE_FALSE(serializable<int&>);
    STATIC_REQUIRE_FALSE(serializable<const int>);
    STATIC_REQUIRE_FALSE(serializable<int[3]>);
    STATIC_REQUIRE_FALSE(serializable<void()>);
    STATIC_REQUIRE_FALSE(serializable<void (*)()>);
    STATIC_REQUIRE_FALSE(serializable<int plain::*>);
    STATIC_REQUIRE_FALSE(serializable<std::nullptr_t>);
    STATIC_REQUIRE_FALSE(serializable<long double>);
    STATIC_REQUIRE_FALSE(serializable<loose>);
    STATIC_REQUIRE_FALSE(serializable<either>);
    STATIC_REQUIRE_FALSE(serializable<std::string_view>);
    STATIC_REQUIRE_FALSE(serializable<std::span<int>>);
    STATIC_REQUIRE_FALSE(serializable<std::reference_wrapper<int>>);
    STATIC_REQUIRE_FALSE(serializable<std::function<void()>>);
    STATIC_REQUIRE_FALSE(serializable<std::any>);
    STATIC_REQUIRE_FALSE(serializable<std::ostringstream>);
    STATIC_REQUIRE_FALSE(serializable<std::mutex>);
    STATIC_REQUIRE_FALSE(serializable<std::thread>);
    STATIC_REQUIRE_FALSE(serializable<std::future<int>>);
    STATIC_REQUIRE_FALSE(serializable<std::atomic<int>>);
    STATIC_REQUIRE_FALSE(serializable<std::shared_ptr<int>>);
    STATIC_REQUIRE_FALSE(serializable<std::weak_ptr<int>>);
    STATIC_REQUIRE_FALSE(serializable<std::unique_ptr<shape>>);
    STATIC_REQUIRE_FALSE(serializable<std::unique_ptr<int[]>>);
    STATIC_REQUIRE_FALSE(serializable<std::unique_ptr<int*>>);
    STATIC_REQUIRE_FALSE(serializable<std::vector<int*>>);
    STATIC_REQUIRE_FALSE(serializable<std::optional<std::string_view>>);
    STATIC_REQUIRE_FALSE(serializable<std::variant<int, char*>>);
    STATIC_REQUIRE_FALSE(serializable<std::chrono::steady_clock::time_point>);
    STATIC_REQUIRE_FALSE(serializable<covey::time_point>);
    STATIC_REQUIRE_FALSE(serializable<with_pointer>);
    STATIC_REQUIRE_FALSE(serializable<bad_tree>);
    STATIC_REQUIRE_FALSE(serializable<deep_pointer>);
    STATIC_REQUIRE_FALSE(serializable<with_reference>);
    STATIC_REQUIRE_FALSE(serializable<with_mutex>);
    STATIC_REQUIRE_FALSE(serializable<with_const>);
    STATIC_REQUIRE_FALSE(serializable<derived>);
    STATIC_REQUIRE_FALSE(serializable<seventeen>);
    STATIC_REQUIRE_FALSE(serializable<save_only>);
    STATIC_REQUIRE_FALSE(serializable<no_default>);
    const auto closure = [] {};
    STATIC_REQUIRE_FALSE(serializable<std::remove_const_t<decltype(closure)>>);
}

TEST_CASE("a type without cereal functions anywhere takes the short way", "[wire]") {
    using namespace covey::wire::detail;
    STATIC_REQUIRE(way_of<tree> == way::native);
    STATIC_REQUIRE(way_of<move_only> == way::native);
    STATIC_REQUIRE(way_of<std::vector<member_serialize>> == way::cereal);
    STATIC_REQUIRE(way_of<std::map<int, std::optional<free_serialize>>> == way::cereal);
}
