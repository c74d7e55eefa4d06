#include <covey/wire/codec.hpp>

#include <catch2/catch.hpp>

#include <filesystem>
#include <limits>
#include <string>

using namespace covey;
using namespace covey::wire;
using namespace std::string_literals;

namespace {

template <class T>
std::string bytes_of(const T& value) {
    byte_buffer out;
    encode(out, value);
    return std::string(as_text(out));
}

template <class T>
T round_trip(const T& value) {
    byte_buffer out;
    encode(out, value);
    return decode<T>(out);
}

/// The message of the error that decoding `bytes` as a T gives.
template <class T>
std::string refusal(std::string_view bytes) {
    try {
        (void)decode<T>(as_bytes_view(bytes));
    } catch (const error& e) {
        CHECK(e.code() == errc::bad_message);
        return e.what();
    }
    return "decoded";
}

enum class color : std::uint8_t { red = 1, blue = 200 };
enum class yes_no : bool { no, yes };

struct fragile {
    fragile() = default;
    explicit fragile(int) { throw 1; }
    template <class Archive>
    void serialize(Archive& ar) {
        ar(text);
    }
    std::string text;
};

}  // namespace

TEST_CASE("the bytes of simple values", "[wire]") {
    CHECK(bytes_of(std::int32_t{1}) == "\1\0\0\0"s);
    CHECK(bytes_of(std::int16_t{-2}) == "\xfe\xff"s);
    CHECK(bytes_of(1.0) == "\0\0\0\0\0\0\xf0\x3f"s);
    CHECK(bytes_of(true) == "\1"s);
    CHECK(bytes_of('a') == "a"s);
    CHECK(bytes_of(color::blue) == "\xc8"s);
    CHECK(bytes_of("hi"s) == "\2hi"s);
    CHECK(bytes_of(u"hi"s) == "\2h\0i\0"s);
    CHECK(bytes_of(std::string(300, 'x')) == "\xac\x02"s + std::string(300, 'x'));
    CHECK(bytes_of(std::vector<std::uint16_t>{1, 2}) == "\2\1\0\2\0"s);
    CHECK(bytes_of(std::vector<std::string>{"a", ""}) == "\2\1a\0"s);
    CHECK(bytes_of(std::vector<bool>{true, false, true}) == "\3\5"s);
    CHECK(bytes_of(std::vector<bool>(9, true)) == "\x09\xff\1"s);
    CHECK(bytes_of(std::vector<std::byte>{std::byte{7}}) == "\1\7"s);
    CHECK(bytes_of(std::array<std::uint8_t, 3>{1, 2, 3}) == "\1\2\3"s);
    CHECK(bytes_of(std::optional<std::uint8_t>{}) == "\0"s);
    CHECK(bytes_of(std::optional<std::uint8_t>{5}) == "\1\5"s);
    CHECK(bytes_of(std::unique_ptr<std::uint8_t>{}) == "\0"s);
    CHECK(bytes_of(std::make_unique<std::uint8_t>(std::uint8_t{5})) == "\1\5"s);
    CHECK(bytes_of(std::variant<std::uint8_t, std::string>{"a"}) == "\1\1a"s);
    CHECK(bytes_of(std::pair<std::uint8_t, bool>{9, true}) == "\x09\1"s);
    CHECK(bytes_of(std::tuple<std::uint8_t, std::string>{9, "b"}) == "\x09\1b"s);
    CHECK(bytes_of(std::map<std::uint8_t, std::uint8_t>{{1, 2}, {3, 4}}) == "\2\1\2\3\4"s);
    CHECK(bytes_of(std::set<char>{'b', 'a'}) == "\2ab"s);
    CHECK(bytes_of(std::chrono::duration<std::int32_t>(3)) == "\3\0\0\0"s);
    CHECK(bytes_of(std::complex<float>(0, 0)) == std::string(8, '\0'));
    CHECK(bytes_of(std::monostate{}) == "\0"s);
    CHECK(bytes_of(std::tuple<>{}) == "\0"s);
    CHECK(bytes_of(std::filesystem::path("/a")) == "\2/a"s);
}

TEMPLATE_TEST_CASE("the extremes of every number come back", "[wire]", char, signed char, unsigned char, short, unsigned short, int,
                   unsigned, long, unsigned long, long long, unsigned long long, float, double, wchar_t, char8_t, char16_t, char32_t) {
    using limits = std::numeric_limits<TestType>;
    CHECK(round_trip(limits::max()) == limits::max());
    CHECK(round_trip(limits::lowest()) == limits::lowest());
    CHECK(round_trip(std::vector<TestType>{limits::max(), TestType{}, limits::lowest()}) ==
          std::vector<TestType>{limits::max(), TestType{}, limits::lowest()});
}

TEST_CASE("standard types come back as they were", "[wire]") {
    const auto same = [](const auto& value) { CHECK(round_trip(value) == value); };
    same(true);
    same(false);
    same(yes_no::yes);
    same(color::red);
    same(""s);
    same("zero \0 inside"s);
    same(std::string(100'000, 'x'));
    same(U"wide"s);
    same(std::vector<int>{});
    same(std::vector<std::vector<std::string>>{{}, {"a", "b"}, {""}});
    for (std::size_t n = 0; n < 20; ++n) {
        std::vector<bool> bits(n);
        for (std::size_t i = 0; i < n; i += 3) bits[i] = true;
        same(bits);
    }
    same(std::vector<yes_no>{yes_no::yes, yes_no::no});
    same(std::vector<std::monostate>(1000));
    same(std::vector<std::tuple<>>(3));
    same(std::vector<std::complex<double>>{{1, 2}, {3, 4}});
    same(std::array<std::string, 3>{"a", "b", "c"});
    same(std::array<bool, 2>{true, false});
    same(std::array<int, 0>{});
    same(std::deque<int>{1, 2, 3});
    same(std::deque<std::string>{"a", "b"});
    same(std::list<double>{1.5, 2.5});
    same(std::map<std::string, std::vector<int>>{{"a", {1}}, {"b", {}}});
    same(std::multimap<int, int>{{1, 2}, {1, 3}});
    same(std::unordered_map<int, std::string>{{1, "a"}, {2, "b"}});
    same(std::unordered_multimap<int, int>{{1, 2}, {1, 2}});
    same(std::set<std::string>{"x", "y"});
    same(std::multiset<int>{1, 1, 2});
    same(std::unordered_set<std::string>{"x", "y"});
    same(std::unordered_multiset<int>{1, 1});
    same(std::optional<std::optional<int>>{std::optional<int>{}});
    same(std::optional<std::string>{"there"});
    same(std::pair<std::string, int>{"a", 1});
    same(std::tuple<int, std::string, std::vector<bool>>{1, "b", {true}});
    same(std::variant<std::monostate, int, std::string>{});
    same(std::variant<std::monostate, int, std::string>{7});
    same(std::variant<int, int>{std::in_place_index<1>, 7});
    same(std::chrono::nanoseconds(-5));
    same(std::chrono::duration<double>(0.25));
    same(std::chrono::system_clock::time_point(std::chrono::seconds(1'700'000'000)));
    same(std::complex<double>(1, -2));
    same(std::filesystem::path("/usr/include"));
    same(std::monostate{});
}

TEST_CASE("what only moves comes back too", "[wire]") {
    byte_buffer out;
    std::vector<std::unique_ptr<std::string>> v(2);
    v[1] = std::make_unique<std::string>("owned");
    encode(out, v);
    const auto back = decode<decltype(v)>(out);
    REQUIRE(back.size() == 2);
    CHECK(back[0] == nullptr);
    CHECK(*back[1] == "owned");
}

TEST_CASE("old contents are replaced, not added to", "[wire]") {
    byte_buffer out;
    encode(out, std::vector<std::string>{"new"}, std::map<int, int>{{1, 1}}, std::optional<int>{}, "s"s, std::vector<bool>{true});
    std::vector<std::string> v{"old", "old"};
    std::map<int, int> m{{1, 7}, {2, 7}};
    std::optional<int> o = 3;
    std::string s = "old";
    std::vector<bool> bits(50);
    decode_into(out, v, m, o, s, bits);
    CHECK(v == std::vector<std::string>{"new"});
    CHECK(m == std::map<int, int>{{1, 1}});
    CHECK(!o);
    CHECK(s == "s");
    CHECK(bits == std::vector<bool>{true});
}

TEST_CASE("values that no encoder writes are refused", "[wire]") {
    CHECK(refusal<bool>("\2"s) == "bad message: value (bool): a bool of value 2");
    CHECK_THAT(refusal<std::vector<yes_no>>("\1\7"s), Catch::Contains("a bool of value 7"));
    CHECK_THAT(refusal<std::optional<int>>("\3\0\0\0\0"s), Catch::Contains("a bool of value 3"));
    CHECK_THAT((refusal<std::variant<int, bool>>("\2\0"s)), Catch::Contains("alternative 2 of a variant that has 2"));
    CHECK_THAT(refusal<std::set<char>>("\2aa"s), Catch::Contains("comes twice"));
    CHECK_THAT((refusal<std::map<char, char>>("\2a1a2"s)), Catch::Contains("comes twice"));
    CHECK_THAT((refusal<std::unordered_map<char, char>>("\2a1a2"s)), Catch::Contains("comes twice"));
    CHECK_THAT(refusal<std::vector<bool>>("\3\xff"s), Catch::Contains("beyond the end"));
    CHECK_THAT(refusal<std::monostate>("\1"s), Catch::Contains("none is expected"));
    CHECK_THAT(refusal<std::string>("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"s), Catch::Contains("does not end"));
}

TEST_CASE("a size beyond the bytes that are left is refused in numbers", "[wire]") {
    CHECK(refusal<std::string>("\5abc"s) == "bad message: value (std::string): a size of 5 bytes where 3 bytes are left");
    CHECK_THAT(refusal<std::vector<int>>("\2\1\0\0\0"s), Catch::Contains("a size of 2 elements of 4 bytes where 4 bytes are left"));
    CHECK_THAT(refusal<std::vector<std::string>>("\3\0"s), Catch::Contains("a size of 3 elements where 1 bytes are left"));
    CHECK_THAT(refusal<std::vector<bool>>("\x09\xff"s), Catch::Contains("a size of 9 bits where 1 bytes are left"));
    const std::string huge = "\xff\xff\xff\xff\xff\xff\xff\xff\xff\1";
    CHECK_THAT(refusal<std::string>(huge), Catch::Contains("a size of 18446744073709551615 bytes where 0 bytes are left"));
    CHECK_THAT(refusal<std::vector<double>>(huge + "12345678"), Catch::Contains("a size of 18446744073709551615"));
    CHECK_THAT(refusal<std::vector<bool>>(huge + "1"), Catch::Contains("a size of 18446744073709551615"));
    CHECK_THAT(refusal<std::deque<std::string>>(huge + "1"), Catch::Contains("a size of 18446744073709551615"));
    CHECK_THAT(refusal<std::set<std::string>>(huge + "1"), Catch::Contains("a size of 18446744073709551615"));
    CHECK_THAT((refusal<std::unordered_map<int, int>>(huge + "1")), Catch::Contains("a size of 18446744073709551615"));
}

TEST_CASE("a variant that lost its value is refused by the sender", "[wire]") {
    std::variant<std::string, fragile> v{"s"};
    CHECK_THROWS_AS(v.emplace<fragile>(1), int);
    REQUIRE(v.valueless_by_exception());
    byte_buffer out;
    CHECK_THROWS_WITH(encode(out, v), Catch::Contains("lost its value"));
    CHECK(out.empty());
}
