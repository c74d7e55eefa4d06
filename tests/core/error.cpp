#include <covey/core/error.hpp>

#include <catch2/catch.hpp>

#include <set>
#include <string>

using namespace covey;

TEST_CASE("every code has words of its own", "[core]") {
    std::set<std::string> words;
    for (int i = 1; i <= static_cast<int>(errc::bad_argument); ++i) {
        const std::string text = make_error_code(static_cast<errc>(i)).message();
        CHECK_FALSE(text.empty());
        CHECK(text.find("unknown covey error") == std::string::npos);
        CHECK(words.insert(text).second);
    }
    CHECK(category().message(0) == "unknown covey error 0");
    CHECK(category().message(9999) == "unknown covey error 9999");
    CHECK(category().name() == std::string("covey"));
}

TEST_CASE("codes compare with std::error_code", "[core]") {
    const std::error_code code = errc::peer_lost;
    CHECK(code == errc::peer_lost);
    CHECK(code != errc::link_lost);
    CHECK(&code.category() == &category());
    CHECK(code != std::make_error_code(std::errc::timed_out));
}

TEST_CASE("an error carries its code, its context and its peer", "[core]") {
    const error bare(errc::timed_out);
    CHECK(bare.code() == errc::timed_out);
    CHECK(bare.what() == std::string("timed out"));
    CHECK_FALSE(bare.peer());

    const error full(errc::bad_address, "\"x\": no port", peer_id{7});
    CHECK(full.code() == errc::bad_address);
    CHECK(full.what() == std::string("bad address: \"x\": no port"));
    CHECK(full.peer() == peer_id{7});
    CHECK_THROWS_AS(throw full, std::runtime_error);
}

TEST_CASE("a remote error tells what was thrown and where", "[core]") {
    const remote_error e("std::out_of_range", "index 5", peer_id{0xab});
    CHECK(e.type_name() == "std::out_of_range");
    CHECK(e.message() == "index 5");
    CHECK(e.peer() == peer_id{0xab});
    CHECK(e.what() == std::string("peer 00000000000000ab: std::out_of_range: index 5"));
}

TEST_CASE("a request to stop is no std::exception", "[core]") {
    STATIC_REQUIRE_FALSE(std::is_base_of_v<std::exception, stopped>);
    STATIC_REQUIRE(std::is_empty_v<stopped>);
}

TEST_CASE("codes from the wire are checked") {
    CHECK(covey::errc_from(static_cast<std::uint16_t>(covey::errc::peer_lost), covey::errc::link_lost) == covey::errc::peer_lost);
    CHECK(covey::errc_from(0, covey::errc::link_lost) == covey::errc::link_lost);
    CHECK(covey::errc_from(static_cast<std::uint16_t>(covey::errc::bad_argument) + 1, covey::errc::link_lost) == covey::errc::link_lost);
    CHECK(covey::errc_from(65535, covey::errc::protocol_error) == covey::errc::protocol_error);
}
