#include <covey/mesh/broadcast.hpp>

#include <catch2/catch.hpp>

#include <algorithm>
#include <map>
#include <string>

using namespace covey;
using mesh::broadcast_queue;

namespace {

/// A queue whose news are texts, kept where a machine has its table.
struct texts {
    explicit texts(std::size_t entries_max) : q(entries_max) {}
    void push(std::uint64_t subject, std::string text) {
        what[{subject}] = std::move(text);
        q.push({subject});
    }
    std::string filled(std::size_t budget, unsigned sends_max) {
        byte_buffer out;
        q.fill(out, budget, sends_max,
               [this](const broadcast_queue::entry& e, byte_buffer& to) { to.append(as_bytes_view(what[e.subject])); });
        return std::string(as_text(out));
    }
    broadcast_queue q;
    std::map<peer_id, std::string> what;
};

}  // namespace

TEST_CASE("news goes out as often as asked, newest and least sent first") {
    texts t(10);
    t.push(1, "a");
    t.push(2, "b");
    CHECK(t.filled(1, 3) == "b");
    CHECK(t.filled(1, 3) == "a");
    t.push(3, "c");
    CHECK(t.filled(10, 3) == "cba");
    CHECK(t.filled(10, 3) == "cba");
    CHECK(t.filled(10, 3) == "c");
    CHECK(t.q.empty());
    CHECK(t.filled(10, 3).empty());
}

TEST_CASE("newer news about one subject replaces the older") {
    texts t(10);
    t.push(1, "old");
    t.filled(10, 5);
    t.push(1, "new");
    CHECK(t.q.size() == 1);
    CHECK(t.q.contains({1}));
    CHECK(t.filled(10, 1) == "new");
    CHECK_FALSE(t.q.contains({1}));
}

TEST_CASE("the queue and the packet are bounded") {
    texts t(3);
    t.push(1, "1");
    t.filled(10, 9);
    for (std::uint64_t i = 2; i <= 4; ++i) t.push(i, std::to_string(i));
    CHECK(t.q.size() == 3);
    CHECK_FALSE(t.q.contains({1}));
    t.push(5, "a long one");
    CHECK(t.filled(2, 9).size() == 2);
    CHECK(t.filled(9, 9).find("long") == std::string::npos);
    CHECK(t.filled(30, 9).find("long") != std::string::npos);
    texts none(0);
    none.push(1, "x");
    CHECK(none.q.empty());
}

TEST_CASE("what there is nothing to say of any more is dropped") {
    texts t(10);
    t.push(1, "a");
    t.push(2, "");
    CHECK(t.filled(10, 9) == "a");
    CHECK(t.q.size() == 1);
}

TEST_CASE("a long random life sends everything as often as asked, what was sent least first") {
    texts t(64);
    std::map<char, int> sent;
    for (char c = 'a'; c <= 'z'; ++c) {
        t.push(static_cast<std::uint64_t>(c), std::string(1, c));
        sent[c] = 0;
    }
    for (std::size_t round = 0; !t.q.empty(); ++round) {
        REQUIRE(round < 200);
        const std::string some = t.filled(1 + round % 7, 5);
        REQUIRE_FALSE(some.empty());
        const auto least = std::min_element(sent.begin(), sent.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
        CHECK(sent[some.front()] == least->second);
        for (const char c : some) ++sent[c];
    }
    for (const auto& [c, n] : sent) CHECK(n == 5);
}
