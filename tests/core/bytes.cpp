#include <covey/core/bytes.hpp>
#include <covey/core/random.hpp>

#include <catch2/catch.hpp>

#include <limits>
#include <string>
#include <vector>

using namespace covey;
using namespace std::string_literals;

namespace {

enum class kind : std::uint16_t { a = 0x0201 };

void check_same(const byte_buffer& buffer, const std::vector<std::byte>& model) {
    REQUIRE(buffer.size() == model.size());
    REQUIRE(buffer.empty() == model.empty());
    REQUIRE(std::equal(model.begin(), model.end(), buffer.data()));
}

}  // namespace

TEST_CASE("a byte_buffer does what a vector would", "[core]") {
    random_source random(1);
    byte_buffer buffer;
    std::vector<std::byte> model;
    for (int step = 0; step < 20'000; ++step) {
        switch (random.below(8)) {
            case 0:
            case 1:
            case 2: {
                std::vector<std::byte> more(random.below(random.chance(0.1) ? 2000 : 50));
                for (auto& b : more) b = static_cast<std::byte>(random.next());
                buffer.append(bytes_view(more));
                model.insert(model.end(), more.begin(), more.end());
                break;
            }
            case 3: {
                const std::size_t room = random.below(300), used = random.below(room + 1);
                std::byte* p = buffer.prepare(room);
                for (std::size_t i = 0; i < used; ++i) p[i] = static_cast<std::byte>(i);
                buffer.commit(used);
                for (std::size_t i = 0; i < used; ++i) model.push_back(static_cast<std::byte>(i));
                break;
            }
            case 4:
            case 5: {
                const std::size_t n = random.below(model.size() + 1);
                buffer.consume(n);
                model.erase(model.begin(), model.begin() + static_cast<std::ptrdiff_t>(n));
                break;
            }
            case 6: {
                const std::size_t n = model.size() - random.below(std::min<std::size_t>(model.size(), 40) + 1);
                buffer.truncate(n);
                model.resize(n);
                break;
            }
            default:
                if (random.chance(0.1)) {
                    buffer.clear();
                    model.clear();
                } else if (random.chance(0.5)) {
                    byte_buffer moved(std::move(buffer));
                    buffer = std::move(moved);
                } else {
                    buffer.shrink(512);
                }
        }
        check_same(buffer, model);
    }
}

TEST_CASE("a buffer that is drained as fast as it is filled does not grow", "[core]") {
    byte_buffer buffer;
    const std::string chunk(100, 'x');
    buffer.append(chunk.data(), 50);
    for (int i = 0; i < 10'000; ++i) {
        buffer.append(chunk.data(), chunk.size());
        buffer.consume(chunk.size());
    }
    CHECK(buffer.size() == 50);
    CHECK(buffer.capacity() <= 512);
}

TEST_CASE("shrink gives back only what is empty and large", "[core]") {
    byte_buffer buffer;
    buffer.append(std::string(5000, 'x').data(), 5000);
    buffer.shrink(100);
    CHECK(buffer.capacity() >= 5000);
    buffer.clear();
    buffer.shrink(100'000);
    CHECK(buffer.capacity() >= 5000);
    buffer.shrink(100);
    CHECK(buffer.capacity() == 0);
    buffer.append("a", 1);
    CHECK(as_text(buffer) == "a");
}

TEST_CASE("an empty buffer takes nothing from nowhere", "[core]") {
    byte_buffer buffer;
    buffer.append(nullptr, 0);
    buffer.append(bytes_view());
    buffer.consume(0);
    CHECK(buffer.empty());
    CHECK(buffer.capacity() == 0);
    const byte_buffer moved(std::move(buffer));
    CHECK(moved.empty());
}

TEST_CASE("values are written little-endian", "[core]") {
    byte_buffer buffer;
    byte_writer out(buffer);
    out.number(std::uint32_t{0x04030201});
    out.number(kind::a);
    out.number(true);
    out.text("hi");
    out.raw(as_bytes_view("raw"));
    CHECK(as_text(buffer) == "\1\2\3\4\1\2\1\2hiraw"s);
    byte_reader in(buffer);
    CHECK(in.number<std::uint32_t>() == 0x04030201);
    CHECK(in.number<kind>() == kind::a);
    CHECK(in.number<bool>());
    CHECK(in.text(2) == "hi");
    CHECK(as_text(in.raw(3)) == "raw");
    CHECK(in.empty());
    CHECK(in.left() == 0);
}

TEST_CASE("varints come back and are as short as they can be", "[core]") {
    const auto bytes_of = [](std::uint64_t v) {
        byte_buffer buffer;
        byte_writer(buffer).varint(v);
        byte_reader in(buffer);
        CHECK(in.varint() == v);
        CHECK(in.empty());
        return std::string(as_text(buffer));
    };
    CHECK(bytes_of(0) == "\0"s);
    CHECK(bytes_of(127) == "\x7f");
    CHECK(bytes_of(128) == "\x80\x01");
    CHECK(bytes_of(300) == "\xac\x02");
    CHECK(bytes_of(std::numeric_limits<std::uint64_t>::max()) == "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01");
    for (int bit = 0; bit < 64; ++bit) {
        const std::uint64_t v = std::uint64_t{1} << bit;
        CHECK(bytes_of(v).size() == static_cast<std::size_t>(bit / 7 + 1));
        bytes_of(v - 1);
    }
}

TEST_CASE("a varint that does not fit or does not end is refused", "[core]") {
    const auto read = [](std::string_view bytes) {
        byte_reader in(as_bytes_view(bytes));
        return in.varint();
    };
    CHECK_THROWS_WITH(read("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"), Catch::Contains("does not end"));
    CHECK_THROWS_WITH(read("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"), Catch::Contains("does not end"));
    CHECK_THROWS_WITH(read("\x80"), Catch::Contains("truncated"));
    CHECK_THROWS_WITH(read(""), Catch::Contains("truncated"));
}

TEST_CASE("reading past the end throws and says what was missing", "[core]") {
    byte_buffer buffer;
    byte_writer out(buffer);
    out.number(std::uint64_t{1});
    out.varint(1000);
    out.text("some text");
    out.number(2.5);
    const auto read_all = [](bytes_view bytes) {
        byte_reader in(bytes);
        const auto a = in.number<std::uint64_t>();
        const auto b = in.varint();
        const auto c = in.text(100);
        const auto d = in.number<double>();
        return a == 1 && b == 1000 && c == "some text" && d == 2.5;
    };
    CHECK(read_all(buffer));
    for (std::size_t n = 0; n < buffer.size(); ++n) CHECK_THROWS_AS(read_all(buffer.view().first(n)), error);
    byte_reader in(buffer.view().first(3));
    CHECK_THROWS_WITH(in.number<std::uint64_t>(), "bad message: truncated: 8 bytes expected, 3 left");
    CHECK(in.left() == 3);
}

TEST_CASE("a text over its limit is refused before it is read", "[core]") {
    byte_buffer buffer;
    byte_writer(buffer).text("12345");
    byte_reader in(buffer);
    CHECK_THROWS_WITH(in.text(4), "bad message: a text of 5 bytes where at most 4 may stand");
    byte_buffer huge;
    byte_writer(huge).varint(std::numeric_limits<std::uint64_t>::max());
    byte_reader reader(huge);
    CHECK_THROWS_AS(reader.text(std::numeric_limits<std::size_t>::max()), error);
}
