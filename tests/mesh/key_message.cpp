#include <covey/mesh/exchange.hpp>
#include <covey/mesh/key_message.hpp>

#include "harness.hpp"

#include <catch2/catch.hpp>

namespace covey_test_mesh_key_message {  // so that test files can be compiled together

using namespace mesh_test;
using mesh::key_change;
using mesh::key_reply;
using mesh::key_request;
using net::cluster_key;

TEST_CASE("requests about keys come out as they went in") {
    const cluster_key key = cluster_key::generate();
    for (const key_change& change :
         {key_change::list(), key_change::install(key), key_change::use(key.fingerprint()), key_change::remove(key.fingerprint())}) {
        byte_buffer bytes;
        mesh::encode(bytes, key_request{77, change});
        CHECK(mesh::is_key_message(bytes));
        CHECK(mesh::is_key_request(bytes));
        const key_request back = mesh::decode_key_request(bytes);
        CHECK(back.number == 77);
        CHECK(back.change.what == change.what);
        CHECK(back.change.key == change.key);
        CHECK(back.change.secret == change.secret);
        CHECK_THROWS_AS(mesh::decode_key_reply(bytes), error);
        for (std::size_t n = 0; n < bytes.size(); ++n) CHECK_THROWS_AS(mesh::decode_key_request(bytes.view().first(n)), error);
        bytes.append("x", 1);
        CHECK_THROWS_AS(mesh::decode_key_request(bytes), error);
    }
}

TEST_CASE("a key whose fingerprint is not its own is no request") {
    key_change change = key_change::install(cluster_key::generate());
    ++change.key.value;
    byte_buffer bytes;
    mesh::encode(bytes, key_request{1, change});
    CHECK_THROWS_WITH(mesh::decode_key_request(bytes), Catch::Contains("not its own"));
}

TEST_CASE("replies about keys come out as they went in, within bounds") {
    const key_reply reply{5, {net::key_fingerprint{1}, net::key_fingerprint{2}}, "no such key"};
    byte_buffer bytes;
    mesh::encode(bytes, reply);
    CHECK(mesh::is_key_message(bytes));
    CHECK_FALSE(mesh::is_key_request(bytes));
    const key_reply back = mesh::decode_key_reply(bytes);
    CHECK(back.number == 5);
    CHECK(back.keys == reply.keys);
    CHECK(back.failure == reply.failure);
    for (std::size_t n = 0; n < bytes.size(); ++n) CHECK_THROWS_AS(mesh::decode_key_reply(bytes.view().first(n)), error);
    byte_buffer long_text;
    mesh::encode(long_text, key_reply{5, {}, std::string(1000, 'x')});
    CHECK(mesh::decode_key_reply(long_text).failure.size() == key_reply::failure_bytes_max);
    byte_buffer many;
    mesh::encode(many, key_reply{5, std::vector<net::key_fingerprint>(net::keys_max + 1), {}});
    CHECK_THROWS_AS(mesh::decode_key_reply(many), error);
}

TEST_CASE("what the membership sends is no message about keys") {
    byte_buffer packet;
    mesh::write_packet_front(packet, {cluster_id::from_name("x"), peer_id{1}, 1}, {});
    CHECK_FALSE(mesh::is_key_message(packet));
    for (const mesh::exchange_step step : {mesh::exchange_step::open, mesh::exchange_step::reply, mesh::exchange_step::close,
                                           mesh::exchange_step::ping, mesh::exchange_step::pong}) {
        mesh::exchange table;
        table.step = step;
        byte_buffer stream;
        encode(stream, table);
        CHECK_FALSE(mesh::is_key_message(stream));
    }
    CHECK_FALSE(mesh::is_key_message({}));
}

}  // namespace covey_test_mesh_key_message
