#include <covey/core/random.hpp>
#include <covey/wire/codec.hpp>

#include <catch2/catch.hpp>

#include <atomic>
#include <cstdlib>
#include <new>
#include <string>

using namespace covey;
using namespace covey::wire;
using namespace std::string_literals;

namespace {

// What this thread asked operator new for while it counted.
thread_local bool counting = false;
thread_local std::size_t counted_bytes = 0;

[[maybe_unused]] void* counted_new(std::size_t n) {
    if (counting) counted_bytes += n;
    void* p = std::malloc(n == 0 ? 1 : n);
    if (p == nullptr) throw std::bad_alloc();
    return p;
}

struct count_allocations {
    count_allocations() {
        counted_bytes = 0;
        counting = true;
    }
    ~count_allocations() { counting = false; }
};

}  // namespace

// Replaced for the whole test program, so that a decode can be held to its bounds. The sanitizers need their own, so
// under them nothing is counted and the same tests look for what they look for.
#if !COVEY_SANITIZED
void* operator new(std::size_t n) { return counted_new(n); }
void* operator new[](std::size_t n) { return counted_new(n); }
void operator delete(void* p) noexcept { std::free(p); }
void operator delete[](void* p) noexcept { std::free(p); }
void operator delete(void* p, std::size_t) noexcept { std::free(p); }
void operator delete[](void* p, std::size_t) noexcept { std::free(p); }
#endif

namespace {

enum class color : std::uint8_t { red, green };

struct small {
    int a = 0;
    std::string b;
    friend bool operator==(const small&, const small&) = default;
};
class by_cereal {
public:
    by_cereal() = default;
    explicit by_cereal(int n) : m_numbers(static_cast<std::size_t>(n), 1.5) {}
    template <class Archive>
    void serialize(Archive& ar) {
        ar(m_numbers, m_name);
    }
    friend bool operator==(const by_cereal&, const by_cereal&) = default;

private:
    std::vector<double> m_numbers;
    std::string m_name = "cereal";
};
struct tree {
    int value = 0;
    std::vector<tree> children;
    friend bool operator==(const tree&, const tree&) = default;
};
struct empty {
    friend bool operator==(const empty&, const empty&) = default;
};
struct one {
    std::uint8_t a;
};
struct sixteen {
    std::uint8_t a, b, c, d, e, f, g, h, i, j, k, l, m, n, o;
    std::string p;
    friend bool operator==(const sixteen&, const sixteen&) = default;
};
struct with_arrays {
    int a[2][3] = {};
    char name[5] = {};
    small each[2];
};
struct move_only {
    std::unique_ptr<small> owned;
    int a = 0;
};

/// Something of everything; every part is ordered, so equal values have equal bytes.
struct rich {
    small a;
    std::vector<small> b;
    std::map<std::string, std::vector<int>> c;
    std::optional<tree> d;
    std::variant<std::monostate, int, std::string, small> e;
    std::tuple<bool, color, double> f;
    std::vector<bool> g;
    std::array<std::string, 2> h;
    std::set<std::uint16_t> i;
    std::deque<std::pair<int, std::string>> j;
    std::chrono::milliseconds k{};
    empty l;
    by_cereal m;
    std::vector<std::vector<std::byte>> n;
    std::list<std::u16string> o;
    std::multimap<int, bool> p;
    friend bool operator==(const rich&, const rich&) = default;
};

rich make_rich() {
    rich r;
    r.a = {1, "one"};
    r.b = {{2, "two"}, {3, ""}};
    r.c = {{"x", {1, 2, 3}}, {"y", {}}};
    r.d = tree{1, {tree{2, {}}, tree{3, {tree{4, {}}}}}};
    r.e = small{5, "five"};
    r.f = {true, color::green, 2.5};
    r.g = {true, false, true, true, false, true, false, false, true};
    r.h = {"h", "hh"};
    r.i = {7, 8};
    r.j = {{9, "nine"}};
    r.k = std::chrono::milliseconds(10);
    r.m = by_cereal(2);
    r.n = {{std::byte{1}}, {}};
    r.o = {u"wide"};
    r.p = {{1, true}, {1, false}};
    return r;
}

/// Throws, or gives values that encode and decode to themselves; and allocates within the bounds either way.
template <class... Ts>
bool survives(bytes_view bytes) {
    // An exception's text is no part of what the sender asked for.
    const std::size_t allowed = bounds::memory_base + bounds::memory_factor * bytes.size() + 4096;
    try {
        std::tuple<Ts...> values;
        {
            const count_allocations counter;
            std::apply([bytes](auto&... each) { decode_into(bytes, each...); }, values);
        }
        CHECK(counted_bytes <= allowed);
        byte_buffer again, more;
        std::apply([&again](const auto&... each) { encode(again, each...); }, values);
        const auto back = decode_tuple<Ts...>(again);
        std::apply([&more](const auto&... each) { encode(more, each...); }, back);
        if (as_text(again) != as_text(more)) FAIL("a decoded value does not encode to itself");
        return true;
    } catch (const error& e) {
        counting = false;
        if (counted_bytes > allowed) FAIL("a decode allocated " << counted_bytes << " bytes for " << bytes.size());
        if (e.code() != errc::bad_message) FAIL(e.what());
        return false;
    }
}

}  // namespace

TEST_CASE("several values travel in one buffer", "[wire]") {
    byte_buffer out;
    encode(out, 1, "two"s, 3.0, std::vector<int>{4});
    const auto [a, b, c, d] = decode_tuple<int, std::string, double, std::vector<int>>(out);
    CHECK(a == 1);
    CHECK(b == "two");
    CHECK(c == 3.0);
    CHECK(d == std::vector<int>{4});
}

TEST_CASE("no values take no bytes", "[wire]") {
    byte_buffer out;
    encode(out);
    CHECK(out.empty());
    CHECK(decode_tuple<>(out) == std::tuple<>{});
    out.append("x", 1);
    CHECK_THROWS_WITH(decode_tuple<>(out), "bad message: 1 bytes too many after the last value");
}

TEST_CASE("aggregates travel without a line of code", "[wire]") {
    byte_buffer out;
    encode(out, small{1, "x"});
    CHECK(as_text(out) == "\1\0\0\0\1x"s);
    CHECK(decode<small>(out) == small{1, "x"});

    out.clear();
    encode(out, empty{}, one{7});
    CHECK(as_text(out) == "\0\7"s);

    const sixteen s{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, "sixteen"};
    out.clear();
    encode(out, s);
    CHECK(out.size() == 15 + 8);
    CHECK(decode<sixteen>(out) == s);

    with_arrays w;
    w.a[1][2] = 9;
    w.name[4] = 'e';
    w.each[1] = {1, "last"};
    out.clear();
    encode(out, w);
    const auto w2 = decode<with_arrays>(out);
    CHECK(w2.a[1][2] == 9);
    CHECK(w2.name[4] == 'e');
    CHECK(w2.each[1] == w.each[1]);

    out.clear();
    encode(out, move_only{std::make_unique<small>(small{2, "m"}), 3});
    const auto m = decode<move_only>(out);
    CHECK(*m.owned == small{2, "m"});
    CHECK(m.a == 3);
}

TEST_CASE("a rich value comes back as it was", "[wire]") {
    byte_buffer out;
    encode(out, make_rich());
    CHECK(decode<rich>(out) == make_rich());
}

TEST_CASE("encode appends and leaves nothing behind when it fails", "[wire]") {
    byte_buffer out;
    out.append("head", 4);
    encode(out, std::uint8_t{1});
    CHECK(as_text(out) == "head\1"s);
    tree deep;
    for (int i = 0; i < 100; ++i) {
        tree outer;
        outer.children.push_back(std::move(deep));
        deep = std::move(outer);
    }
    CHECK_THROWS_WITH(encode(out, 1, deep),
                      Catch::Contains("bad argument: value 2 of 2 (") && Catch::Contains("tree): values nested more than 128 deep"));
    CHECK(as_text(out) == "head\1"s);
}

TEST_CASE("errors name the value", "[wire]") {
    byte_buffer out;
    encode(out, 1, "two"s);
    CHECK_THROWS_WITH((decode_tuple<int, std::string, double>(out)),
                      "bad message: value 3 of 3 (double): truncated: 8 bytes expected, 0 left");
    CHECK_THROWS_WITH(decode_tuple<int>(out), "bad message: 4 bytes too many after the last value");
    CHECK_THROWS_WITH((decode_tuple<double, std::string>(out)), Catch::StartsWith("bad message: value 2 of 2 (std::string): "));
    CHECK_THROWS_WITH(decode<double>(out.view().first(3)), "bad message: value (double): truncated: 8 bytes expected, 3 left");
}

namespace {

struct picky {
    int a = 0;
    template <class Archive>
    void save(Archive& ar) const {
        ar(a);
    }
    template <class Archive>
    void load(Archive& ar) {
        ar(a);
        if (a < 0) throw std::invalid_argument("negative");
        if (a == 7) throw error(errc::overloaded, "seven");
        if (a == 8) throw cereal::Exception("eight");
    }
};

}  // namespace

TEST_CASE("exceptions of user code are reported the same way", "[wire]") {
    byte_buffer out;
    encode(out, picky{-1});
    CHECK_THROWS_WITH(decode<picky>(out), Catch::StartsWith("bad message: value (") && Catch::EndsWith("picky): negative"));
    out.clear();
    encode(out, picky{7});
    CHECK_THROWS_WITH(decode<picky>(out), Catch::StartsWith("bad message: ") && Catch::EndsWith("picky): seven"));
    out.clear();
    encode(out, picky{8});
    CHECK_THROWS_WITH(decode<picky>(out), Catch::StartsWith("bad message: ") && Catch::EndsWith("picky): eight"));
}

TEST_CASE("a message cut short at any byte is refused", "[wire]") {
    byte_buffer out;
    encode(out, make_rich(), 5, "end"s);
    for (std::size_t n = 0; n < out.size(); ++n) {
        CHECK_THROWS_AS((decode_tuple<rich, int, std::string>(out.view().first(n))), error);
    }
    CHECK_NOTHROW(decode_tuple<rich, int, std::string>(out));
}

TEST_CASE("random bytes never crash a decode nor make it allocate much", "[wire]") {
    random_source random(1);
    std::size_t decoded = 0;
    std::vector<std::byte> bytes;
    for (int i = 0; i < 20'000; ++i) {
        bytes.resize(random.below(120));
        // Small values are sizes that fit, which gets deeper into the message than noise does.
        const bool tame = random.chance(0.5);
        for (auto& b : bytes) b = static_cast<std::byte>(random.below(tame ? 4 : 256));
        decoded += survives<rich>(bytes);
        decoded += survives<std::vector<std::string>, std::optional<tree>>(bytes);
        decoded += survives<tree>(bytes);
    }
    CHECK(decoded > 0);
}

TEST_CASE("mutated messages never crash a decode nor make it allocate much", "[wire]") {
    byte_buffer good;
    encode(good, make_rich());
    random_source random(2);
    std::size_t decoded = 0, refused = 0;
    for (int i = 0; i < 40'000; ++i) {
        std::vector<std::byte> bytes(good.data(), good.data() + good.size());
        for (std::uint64_t n = random.below(4) + 1; n != 0; --n) {
            const auto at = bytes.begin() + static_cast<std::ptrdiff_t>(random.below(bytes.size()));
            switch (random.below(4)) {
                case 0: *at = static_cast<std::byte>(random.next()); break;
                case 1: *at = std::byte{0xff}; break;
                case 2: bytes.erase(at); break;
                default: bytes.insert(at, static_cast<std::byte>(random.next()));
            }
        }
        ++(survives<rich>(bytes) ? decoded : refused);
    }
    CHECK(decoded > 100);
    CHECK(refused > 100);
}

TEST_CASE("a size that lies about large elements allocates next to nothing", "[wire]") {
    const std::string claim = "\xff\xff\3" + std::string(65535, '\0');  // 65535 elements, a byte for each
    const auto try_it = [&claim]<class T>(std::type_identity<T>) {
        CHECK_FALSE(survives<T>(as_bytes_view(claim)));
        CHECK(counted_bytes < 100'000);
    };
    try_it(std::type_identity<std::vector<std::array<double, 10'000>>>{});
    try_it(std::type_identity<std::deque<std::array<double, 10'000>>>{});
    try_it(std::type_identity<std::list<std::optional<std::array<double, 10'000>>>>{});
    try_it(std::type_identity<std::vector<std::optional<std::array<double, 10'000>>>>{});
    try_it(std::type_identity<std::map<std::uint8_t, std::array<double, 10'000>>>{});
}

TEST_CASE("a value of plain parts is encoded and decoded without allocating", "[wire]") {
    byte_buffer out;
    encode(out, 1, 2.0, small{3, "short"});
    out.clear();
    const count_allocations counter;
    encode(out, 1, 2.0, small{3, "short"});
    const auto back = decode_tuple<int, double, small>(out);
    CHECK(counted_bytes == 0);
    CHECK(std::get<2>(back).a == 3);
}
