#include <covey/sim/trace.hpp>

#include <catch2/catch.hpp>

#include <algorithm>
#include <string>

namespace sim = covey::sim;
using namespace std::chrono_literals;

namespace {

covey::time_point moment(covey::duration d) { return covey::time_point{} + d; }

}  // namespace

TEST_CASE("the hash of a trace depends on every part of an event", "[sim]") {
    const auto hash_of = [](covey::duration when, sim::host_index host, sim::trace_kind kind, std::uint64_t value, std::uint64_t contents) {
        sim::event_trace trace;
        trace.add(moment(when), host, kind, value, contents);
        return trace.hash();
    };
    const std::uint64_t one = hash_of(1s, 2, sim::trace_kind::datagram, 3, 4);
    CHECK(one == hash_of(1s, 2, sim::trace_kind::datagram, 3, 4));
    CHECK(one != hash_of(2s, 2, sim::trace_kind::datagram, 3, 4));
    CHECK(one != hash_of(1s, 1, sim::trace_kind::datagram, 3, 4));
    CHECK(one != hash_of(1s, 2, sim::trace_kind::timer, 3, 4));
    CHECK(one != hash_of(1s, 2, sim::trace_kind::datagram, 4, 4));
    CHECK(one != hash_of(1s, 2, sim::trace_kind::datagram, 3, 5));
}

TEST_CASE("the order of events is part of the hash", "[sim]") {
    sim::event_trace a;
    sim::event_trace b;
    a.add(moment(1s), 0, sim::trace_kind::timer);
    a.add(moment(1s), 1, sim::trace_kind::timer);
    b.add(moment(1s), 1, sim::trace_kind::timer);
    b.add(moment(1s), 0, sim::trace_kind::timer);
    CHECK(a.hash() != b.hash());
}

TEST_CASE("the contents' hash sees every byte and the length", "[sim]") {
    std::string text = "a datagram of some length, no multiple of eight";
    const std::uint64_t hash = sim::content_hash(covey::as_bytes_view(text));
    for (char& c : text) {
        c ^= 1;
        CHECK(sim::content_hash(covey::as_bytes_view(text)) != hash);
        c ^= 1;
    }
    const std::string zeros(3, '\0');
    CHECK(sim::content_hash(covey::as_bytes_view(zeros)) != sim::content_hash({}));
    CHECK(sim::content_hash(covey::as_bytes_view(text)) == hash);
}

TEST_CASE("the ring keeps the last events in words", "[sim]") {
    sim::event_trace trace(4);
    for (std::uint64_t i = 0; i < 10; ++i) trace.add(moment(1s), 0, sim::trace_kind::log, i, 0, "line " + std::to_string(i));
    const std::string tail = trace.tail(100);
    CHECK(trace.count() == 10);
    CHECK(std::count(tail.begin(), tail.end(), '\n') == 4);
    CHECK(tail.find("line 5") == std::string::npos);
    CHECK(tail.find("line 6") < tail.find("line 9"));
    CHECK(tail.find("line 9") != std::string::npos);
    const std::string last = trace.tail(1);
    CHECK(last.find("line 9") != std::string::npos);
    CHECK(last.find("line 8") == std::string::npos);
}
