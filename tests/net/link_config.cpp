#include <covey/net/link_config.hpp>

#include <catch2/catch.hpp>

#include <covey/net/hello.hpp>

TEST_CASE("the defaults of a link fit each other") {
    const covey::net::link_config c;
    CHECK(c.send_low < c.send_high);
    CHECK(c.send_high < c.send_max);
    CHECK(c.body_bytes_max < c.send_max);  // one largest body never fills the line by itself
    CHECK(c.ping_after < c.silence_max);   // a silent link is asked before it is given up
    CHECK(c.membership_patience >= 1);
    CHECK(c.handshake_bytes_max >= covey::net::hello::bytes_max);
    CHECK(c.body_bytes_max >= covey::net::hello::body_bytes_least);
    CHECK(c.read_bytes >= c.handshake_bytes_max);
}
