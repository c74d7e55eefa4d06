#include <covey/mesh/broadcast.hpp>

#include <catch2/catch.hpp>

#include <string>

using namespace covey;
using mesh::broadcast_queue;

namespace {

std::string filled(broadcast_queue& q, std::size_t budget, unsigned sends_max) {
    byte_buffer out;
    q.fill(out, budget, sends_max);
    return std::string(as_text(out));
}

}  // namespace

TEST_CASE("news goes out as often as asked, newest and least sent first") {
    broadcast_queue q(10);
    q.push({1}, as_bytes_view("a"));
    q.push({2}, as_bytes_view("b"));
    CHECK(filled(q, 1, 3) == "b");
    CHECK(filled(q, 1, 3) == "a");
    q.push({3}, as_bytes_view("c"));
    CHECK(filled(q, 10, 3) == "cba");
    CHECK(filled(q, 10, 3) == "cba");
    CHECK(filled(q, 10, 3) == "c");
    CHECK(q.empty());
    CHECK(filled(q, 10, 3).empty());
}

TEST_CASE("newer news about one subject replaces the older") {
    broadcast_queue q(10);
    q.push({1}, as_bytes_view("old"));
    filled(q, 10, 5);
    q.push({1}, as_bytes_view("new"));
    CHECK(q.size() == 1);
    CHECK(filled(q, 10, 1) == "new");
    CHECK_FALSE(q.contains({1}));
}

TEST_CASE("the queue and the packet are bounded") {
    broadcast_queue q(3);
    q.push({1}, as_bytes_view("1"));
    filled(q, 10, 9);
    for (std::uint64_t i = 2; i <= 4; ++i) q.push({i}, as_bytes_view(std::to_string(i)));
    CHECK(q.size() == 3);
    CHECK_FALSE(q.contains({1}));
    q.push({5}, as_bytes_view("a long one"));
    CHECK(filled(q, 2, 9).size() == 2);
    CHECK(filled(q, 9, 9).find("long") == std::string::npos);
    broadcast_queue none(0);
    none.push({1}, as_bytes_view("x"));
    CHECK(none.empty());
}
