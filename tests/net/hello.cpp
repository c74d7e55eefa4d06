#include <covey/core/random.hpp>
#include <covey/net/hello.hpp>

#include <catch2/catch.hpp>

namespace covey_test_net_hello {  // so that test files can be compiled together

using namespace covey;
using net::hello;

namespace {

hello sample() {
    hello h;
    h.cluster = cluster_id::from_name("home");
    h.id = peer_id{0x1234};
    h.epoch = 3;
    h.address = endpoint::v4(10, 0, 0, 1, 7400);
    h.name = "node-1";
    h.build_id = "0123456789abcdef";
    h.table_digest = 99;
    h.observer = true;
    h.for_membership = true;
    h.call_credit = 17;
    h.body_bytes_max = 1 << 20;
    return h;
}

}  // namespace

TEST_CASE("a hello survives the wire, and may grow at its end", "[net][hello]") {
    byte_buffer out;
    encode(sample(), out);
    CHECK(out.size() < hello::bytes_max);
    CHECK(net::decode_hello(out) == sample());
    out.append("of a later version", 18);
    CHECK(net::decode_hello(out) == sample());
}

TEST_CASE("a hello that cannot be meant is not sent", "[net][hello]") {
    byte_buffer out;
    hello h = sample();
    SECTION("long name") { h.name.assign(65, 'n'); }
    SECTION("control characters") { h.name = "a\nb"; }
    SECTION("long build id") { h.build_id.assign(65, '0'); }
    SECTION("build id not hexadecimal") { h.build_id = "xyz"; }
    SECTION("no id") { h.id = {}; }
    SECTION("tiny limit") { h.body_bytes_max = 10; }
    try {
        encode(h, out);
        FAIL("sent");
    } catch (const error& e) {
        CHECK(e.code() == errc::bad_argument);
    }
    CHECK(out.empty());
}

TEST_CASE("truncated, oversized and random hellos are bad messages", "[net][hello]") {
    byte_buffer good;
    encode(sample(), good);
    const auto refused = [](bytes_view bytes) {
        try {
            net::decode_hello(bytes);
            return false;
        } catch (const error& e) {
            return e.code() == errc::bad_message;
        }
    };
    for (std::size_t n = 0; n < good.size(); ++n) CHECK(refused(good.view().first(n)));
    byte_buffer large;
    large.append(good);
    large.append(std::string(hello::bytes_max, 'x').data(), hello::bytes_max);
    CHECK(refused(large));
    for (std::uint64_t seed = 0; seed < 500; ++seed) {
        random_source random(seed);
        std::string noise(random.below(hello::bytes_max), '\0');
        for (char& c : noise) c = static_cast<char>(random.next());
        CHECK(refused(as_bytes_view(noise)));
        // One changed byte either decodes to something legal or is refused; it never does anything else.
        std::string changed(as_text(good));
        changed[random.below(changed.size())] = static_cast<char>(random.next());
        try {
            const hello h = net::decode_hello(as_bytes_view(changed));
            CHECK(h.name.size() <= hello::text_bytes_max);
        } catch (const error& e) {
            CHECK(e.code() == errc::bad_message);
        }
    }
}

TEST_CASE("who may talk to whom", "[net][hello]") {
    hello mine = sample();
    hello theirs = sample();
    theirs.id = peer_id{0x5678};
    CHECK_FALSE(check(mine, theirs));
    CHECK_FALSE(check(mine, theirs, theirs.id));

    SECTION("another peer than expected") {
        const auto no = check(mine, theirs, peer_id{0x9999});
        REQUIRE(no);
        CHECK(no->code == errc::unreachable);
        CHECK_THAT(no->text, Catch::Contains("0000000000005678") && Catch::Contains("0000000000009999"));
    }
    SECTION("myself") {
        theirs.id = mine.id;
        REQUIRE(check(mine, theirs));
        CHECK_THAT(check(mine, theirs)->text, Catch::Contains("this peer itself"));
    }
    SECTION("another cluster") {
        theirs.cluster = cluster_id::from_name("other");
        REQUIRE(check(mine, theirs));
        CHECK(check(mine, theirs)->code == errc::wrong_cluster);
        CHECK_THAT(check(mine, theirs)->text, Catch::Contains(to_string(theirs.cluster)));
    }
    SECTION("versions") {
        mine.version_min = 2;
        mine.version_max = 4;
        theirs.version_min = 4;
        theirs.version_max = 9;
        CHECK_FALSE(check(mine, theirs));
        theirs.version_min = 5;
        REQUIRE(check(mine, theirs));
        CHECK(check(mine, theirs)->code == errc::protocol_error);
        CHECK_THAT(check(mine, theirs)->text, Catch::Contains("2 to 4") && Catch::Contains("5 to 9"));
        REQUIRE(check(theirs, mine));
    }
}

TEST_CASE("texts of others are made fit for a terminal", "[net][hello]") {
    CHECK(net::printable("a\x1b[31mb\n", 100) == "a?[31mb?");
    CHECK(net::printable("abcdef", 3) == "abc");
}

}  // namespace covey_test_net_hello
