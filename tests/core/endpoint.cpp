#include <covey/core/endpoint.hpp>

#include <catch2/catch.hpp>

#include <string>

using namespace covey;

TEST_CASE("addresses are read and written", "[core]") {
    const endpoint local = endpoint::parse("127.0.0.1:7400");
    CHECK(local == endpoint::v4(127, 0, 0, 1, 7400));
    CHECK(local.is_v4());
    CHECK(to_string(local) == "127.0.0.1:7400");
    CHECK(endpoint::parse("localhost:1") == endpoint::v4(127, 0, 0, 1, 1));
    CHECK(endpoint::parse("0.0.0.0:0") == endpoint::v4(0, 0, 0, 0, 0));
    CHECK(endpoint::parse("255.255.255.255:65535") == endpoint::v4(255, 255, 255, 255, 65535));
    for (const char* text : {"[::1]:7400", "[::]:0", "[2001:db8::5]:65535", "10.1.2.3:80"}) CHECK(to_string(endpoint::parse(text)) == text);
    CHECK_FALSE(endpoint::parse("[::1]:1").is_v4());
    // The mapped form is the IPv4 address.
    CHECK(endpoint::parse("[::ffff:1.2.3.4]:5") == endpoint::v4(1, 2, 3, 4, 5));
}

TEST_CASE("what is no address is refused with its text and a hint", "[core]") {
    for (const char* text :
         {"", ":", "127.0.0.1", "127.0.0.1:", ":7400", "127.0.0.1:65536", "127.0.0.1:-1", "127.0.0.1:+1", "127.0.0.1:80x", "127.0.0.1: 80",
          "127.0.0:80", "256.0.0.1:80", "example.org:80", "::1:80", "[::1:80", "[]:80", "[zz]:80", "[127.0.0.1]:80"}) {
        INFO(text);
        try {
            (void)endpoint::parse(text);
            FAIL("was understood");
        } catch (const error& e) {
            CHECK(e.code() == errc::bad_address);
            CHECK_THAT(e.what(), Catch::Contains("\"" + std::string(text) + "\"") && Catch::Contains("127.0.0.1:7400"));
        }
    }
    CHECK_THROWS_WITH(endpoint::parse("127.0.0.1"), Catch::Contains("no port"));
    CHECK_THROWS_WITH(endpoint::parse("127.0.0.1:99999"), Catch::Contains("no number below 65536"));
    CHECK_THROWS_WITH(endpoint::parse("example.org:80"), Catch::Contains("not a numeric address"));
}

TEST_CASE("loopback, unspecified and empty are told apart", "[core]") {
    CHECK(endpoint::parse("127.0.0.1:1").is_loopback());
    CHECK(endpoint::parse("127.255.0.9:1").is_loopback());
    CHECK(endpoint::parse("[::1]:1").is_loopback());
    CHECK_FALSE(endpoint::parse("128.0.0.1:1").is_loopback());
    CHECK_FALSE(endpoint::parse("[::2]:1").is_loopback());
    CHECK_FALSE(endpoint::parse("0.0.0.0:1").is_loopback());
    CHECK_FALSE(endpoint::parse("[::]:1").is_loopback());
    CHECK(endpoint::parse("0.0.0.0:1").is_unspecified());
    CHECK(endpoint::parse("[::]:1").is_unspecified());
    CHECK_FALSE(endpoint::parse("127.0.0.1:1").is_unspecified());
    CHECK(endpoint{}.empty());
    CHECK_FALSE(endpoint::parse("0.0.0.0:1").empty());
    CHECK_FALSE(endpoint::v4(1, 2, 3, 4, 0).empty());
}

TEST_CASE("endpoints are 18 bytes on the wire", "[core]") {
    const endpoint e = endpoint::parse("[2001:db8::5]:7400");
    byte_buffer buffer;
    byte_writer out(buffer);
    e.write(out);
    CHECK(buffer.size() == 18);
    byte_reader in(buffer);
    CHECK(endpoint::read(in) == e);
    byte_reader cut(buffer.view().first(17));
    CHECK_THROWS_AS(endpoint::read(cut), error);
}

TEST_CASE("endpoints are ordered", "[core]") {
    CHECK(endpoint::v4(1, 2, 3, 4, 5) < endpoint::v4(1, 2, 3, 4, 6));
    CHECK(endpoint::v4(1, 2, 3, 4, 9) < endpoint::v4(1, 2, 3, 5, 0));
}
