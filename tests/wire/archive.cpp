#include <covey/wire/archive.hpp>

#include <catch2/catch.hpp>

// The headers that users of cereal include: covey's layouts take precedence, the rest goes through cereal.
#include <cereal/types/base_class.hpp>
#include <cereal/types/bitset.hpp>
#include <cereal/types/common.hpp>
#include <cereal/types/deque.hpp>
#include <cereal/types/forward_list.hpp>
#include <cereal/types/map.hpp>
#include <cereal/types/memory.hpp>
#include <cereal/types/optional.hpp>
#include <cereal/types/string.hpp>
#include <cereal/types/unordered_map.hpp>
#include <cereal/types/utility.hpp>
#include <cereal/types/valarray.hpp>
#include <cereal/types/vector.hpp>

#include <string>

using namespace covey;
using namespace covey::wire;
using namespace std::string_literals;

namespace users {

struct with_member {
    int a = 0;
    std::vector<std::string> b;
    double c[2] = {};
    template <class Archive>
    void serialize(Archive& ar) {
        ar(cereal::make_nvp("a", a), CEREAL_NVP(b), c);
    }
    bool operator==(const with_member& o) const { return a == o.a && b == o.b && c[0] == o.c[0] && c[1] == o.c[1]; }
};

struct with_free {
    std::map<int, with_member> m;
    bool operator==(const with_free&) const = default;
};
template <class Archive>
void serialize(Archive& ar, with_free& v) {
    ar & v.m;
}

class with_private {
public:
    with_private() = default;
    explicit with_private(int v) : m_v(v) {}
    int v() const { return m_v; }

private:
    friend class cereal::access;
    template <class Archive>
    void save(Archive& ar) const {
        ar << m_v << std::string("check");
    }
    template <class Archive>
    void load(Archive& ar) {
        std::string text;
        ar >> m_v >> text;
        if (text != "check") throw std::invalid_argument("no check");
    }
    int m_v = 0;
};

struct free_split {
    int v = 0;
};
template <class Archive>
void save(Archive& ar, const free_split& v) {
    ar(v.v + 1);
}
template <class Archive>
void load(Archive& ar, free_split& v) {
    ar(v.v);
    --v.v;
}

struct minimal_text {
    std::string text;
    template <class Archive>
    std::string save_minimal(const Archive&) const {
        return text;
    }
    template <class Archive>
    void load_minimal(const Archive&, const std::string& t) {
        text = t;
    }
};

struct minimal_number {
    int n = 0;
};
template <class Archive>
int save_minimal(const Archive&, const minimal_number& v) {
    return v.n;
}
template <class Archive>
void load_minimal(const Archive&, minimal_number& v, const int& n) {
    v.n = n;
}

struct versioned {
    int a = 0, b = 0;
    template <class Archive>
    void serialize(Archive& ar, const std::uint32_t version) {
        ar(a);
        if (version >= 3) ar(b);
    }
};

struct base {
    int x = 0;
    template <class Archive>
    void serialize(Archive& ar) {
        ar(x);
    }
};
struct derived : base {
    int y = 0;
    template <class Archive>
    void serialize(Archive& ar) {
        ar(cereal::base_class<base>(this), y);
    }
};

struct own_container {
    std::vector<int> v;
    template <class Archive>
    void save(Archive& ar) const {
        ar(cereal::make_size_tag(static_cast<cereal::size_type>(v.size())));
        ar(cereal::binary_data(v.data(), v.size() * sizeof(int)));
    }
    template <class Archive>
    void load(Archive& ar) {
        cereal::size_type n = 0;
        ar(cereal::make_size_tag(n));
        v.resize(n);
        ar(cereal::binary_data(v.data(), v.size() * sizeof(int)));
    }
};

struct plain_around {
    with_member a;
    std::optional<with_free> b;
    bool operator==(const plain_around&) const = default;
};

/// Writes nothing, so a container of them has no size of its own.
struct weightless {
    template <class Archive>
    void serialize(Archive&) {}
};

}  // namespace users

CEREAL_CLASS_VERSION(users::versioned, 3)

namespace {

template <class T>
T round_trip(const T& value) {
    byte_buffer out;
    output_archive writer(out);
    writer(value);
    input_archive reader(out);
    T back{};
    reader(back);
    CHECK(reader.left() == 0);
    CHECK(writer.written() == out.size());
    return back;
}

template <class T>
std::string refusal(std::string_view bytes) {
    try {
        input_archive in(as_bytes_view(bytes));
        T value{};
        in(value);
    } catch (const error& e) {
        CHECK(e.code() == errc::bad_message);
        return e.what();
    }
    return "decoded";
}

}  // namespace

TEST_CASE("types with cereal functions travel, whichever kind they have", "[wire]") {
    using namespace users;
    const with_member m{1, {"a", "b"}, {2.5, 3.5}};
    CHECK(round_trip(m) == m);
    const with_free f{{{7, m}, {8, {}}}};
    CHECK(round_trip(f) == f);
    CHECK(round_trip(with_private(9)).v() == 9);
    CHECK(round_trip(free_split{4}).v == 4);
    CHECK(round_trip(minimal_text{"t"}).text == "t");
    CHECK(round_trip(minimal_number{5}).n == 5);
    const versioned v = round_trip(versioned{1, 2});
    CHECK(v.a == 1);
    CHECK(v.b == 2);
    derived d;
    d.x = 3;
    d.y = 4;
    CHECK(round_trip(d).x == 3);
    CHECK(round_trip(d).y == 4);
    CHECK(round_trip(own_container{{1, 2, 3}}).v == std::vector<int>{1, 2, 3});
    const plain_around p{m, f};
    CHECK(round_trip(p) == p);
    CHECK(round_trip(std::vector<plain_around>{p, {}}) == std::vector<plain_around>{p, {}});
}

TEST_CASE("containers that only cereal knows go through cereal's headers", "[wire]") {
    CHECK(round_trip(std::forward_list<std::string>{"a", "b"}) == std::forward_list<std::string>{"a", "b"});
    const auto v = round_trip(std::valarray<int>{1, 2, 3});
    REQUIRE(v.size() == 3);
    CHECK(v[2] == 3);
    CHECK(round_trip(std::bitset<10>(777)) == std::bitset<10>(777));
}

TEST_CASE("a cereal type's own container is held to the bytes that are left", "[wire]") {
    const std::string huge = "\xff\xff\xff\xff\xff\xff\xff\xff\xff\1";
    CHECK_THAT(refusal<users::own_container>(huge + "abcd"),
               Catch::Contains("a size of 18446744073709551615 elements where 4 bytes are left"));
    CHECK_THAT(refusal<users::own_container>("\2abcd"s), Catch::Contains("truncated: 8 bytes expected, 4 left"));
    CHECK_THAT(refusal<std::forward_list<std::string>>("\x70"s), Catch::Contains("a size of 112 elements where 0 bytes are left"));
}

TEST_CASE("the bytes of a cereal type are its members'", "[wire]") {
    byte_buffer out;
    output_archive writer(out);
    writer(users::with_free{{{1, {2, {"x"}, {0, 0}}}}});
    CHECK(as_text(out) == "\1\1\0\0\0\2\0\0\0\1\1x"s + std::string(16, '\0'));
}

TEST_CASE("both writers make the same bytes", "[wire]") {
    const std::tuple<std::vector<std::string>, std::map<int, double>, std::optional<int>> value{{"a", "b"}, {{1, 2.0}}, 3};
    byte_buffer a, b;
    output_archive in_cereal(a);
    in_cereal(value);
    wire::detail::native_output native(b);
    native(value);
    CHECK(as_text(a) == as_text(b));
}

namespace {

struct chain {
    std::unique_ptr<chain> next;
};

chain chain_of(unsigned links) {
    chain c;
    for (unsigned i = 0; i < links; ++i) {
        auto next = std::make_unique<chain>(std::move(c));
        c.next = std::move(next);
    }
    return c;
}

}  // namespace

TEST_CASE("nesting is bounded in both directions", "[wire]") {
    // Each link is two levels: the struct and its pointer.
    const unsigned most = bounds::depth_max / 2 - 1;
    byte_buffer out;
    output_archive first(out);
    first(chain_of(most));
    input_archive reader(out);
    chain back;
    reader(back);
    unsigned links = 0;
    for (const chain* c = back.next.get(); c != nullptr; c = c->next.get()) ++links;
    CHECK(links == most);

    byte_buffer deeper;
    output_archive writer(deeper);
    CHECK_THROWS_WITH(writer(chain_of(most + 1)), "bad argument: values nested more than 128 deep");
    CHECK_THAT(refusal<chain>(std::string(100'000, '\1')), Catch::Contains("values nested more than 128 deep"));
}

TEST_CASE("what the reader would refuse for its memory, the writer's check refuses", "[wire]") {
    using large = std::optional<std::array<double, 1000>>;
    byte_buffer out;
    output_archive writer(out);
    writer(std::vector<large>(10));
    writer.check();
    std::vector<large> back;
    input_archive reader(out);
    reader(back);
    CHECK(back.size() == 10);

    byte_buffer too_much;
    output_archive second(too_much);
    second(std::vector<large>(1000));
    CHECK_THROWS_WITH(second.check(), Catch::Contains("8008000") || Catch::Contains("8016000"));
    CHECK_THAT(refusal<std::vector<large>>(as_text(too_much)), Catch::Contains("more than a message of this size may ask for"));
}

TEST_CASE("elements without bytes are refused by the writer", "[wire]") {
    byte_buffer out;
    output_archive writer(out);
    CHECK_THROWS_WITH(writer(std::vector<users::weightless>(3)), Catch::Contains("write no bytes"));
}
