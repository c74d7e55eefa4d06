#include <covey/call/trace.hpp>

#include <covey/call/remote.hpp>
#include <covey/core/error.hpp>
#include <covey/task/scope.hpp>
#include <covey/task/timeout.hpp>
#include <covey/task/when_all.hpp>

#include <call/support.hpp>

#include <set>
#include <string>
#include <vector>

namespace covey_test_trace {

using namespace covey;
using namespace covey_test_call;
using namespace std::chrono_literals;

std::string plain_trace(context& ctx) { return ctx.trace().traceparent(); }
task<std::vector<std::string>> way(context& ctx, std::vector<std::uint64_t> hops) {
    std::vector<std::string> seen{ctx.trace().traceparent()};
    const trace_context here = co_await get_trace();
    if (here.traceparent() != seen[0]) throw error(errc::bad_argument, "the function and its coroutine disagree");
    if (hops.empty()) co_return seen;
    const peer_id next{hops.back()};
    hops.pop_back();
    for (const std::string& more : co_await remote(on(next), fn<way>, hops)) seen.push_back(more);
    co_return seen;
}
std::uint64_t echo(std::uint64_t n) { return n; }

}  // namespace covey_test_trace

template struct covey::expose<covey_test_trace::plain_trace>;
template struct covey::expose<covey_test_trace::way>;
template struct covey::expose<covey_test_trace::echo>;

namespace covey_test_trace {

constexpr const char* example = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

TEST_CASE("a traceparent is read and written as the standard has it", "[call][trace]") {
    const std::optional<trace_context> t = trace_context::parse(example);
    REQUIRE(t);
    CHECK(t->trace_high == 0x4bf92f3577b34da6u);
    CHECK(t->trace_low == 0xa3ce929d0e0e4736u);
    CHECK(t->span == 0x00f067aa0ba902b7u);
    CHECK(t->is_sampled());
    CHECK(t->traceparent() == example);
    CHECK_FALSE(trace_context::parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00")->is_sampled());
    // A later version may say more, which is left alone.
    CHECK(trace_context::parse("01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more") == t);
    for (const char* wrong : {
             "",
             "00",
             "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
             "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1",
             "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
             "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01more",
             "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
             "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
             "00-4bf92f3577b34da6a3ce929d0e0e473g-00f067aa0ba902b7-01",
             "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
             "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
             "00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
         }) {
        INFO(wrong);
        CHECK_FALSE(trace_context::parse(wrong));
    }
}

TEST_CASE("a trace context travels in 25 bytes, and fewer are refused", "[call][trace]") {
    const trace_context t = *trace_context::parse(example);
    byte_buffer bytes;
    detail::append(bytes, t);
    REQUIRE(bytes.size() == 25);
    bytes_view all = bytes.view();
    CHECK(detail::take_trace_context(all) == t);
    CHECK(all.empty());
    bytes_view short_by_one = bytes.view().first(24);
    CHECK_THROWS_AS(detail::take_trace_context(short_by_one), error);
}

/// What `way` saw at each of its hops.
std::vector<trace_context> parsed(const std::vector<std::string>& seen) {
    std::vector<trace_context> all;
    for (const std::string& text : seen) all.push_back(trace_context::parse(text).value_or(trace_context{}));
    return all;
}

TEST_CASE("calls that nobody traces carry nothing", "[call][trace]") {
    group peers(2);
    const std::string none = trace_context{}.traceparent();
    CHECK(peers[0].run(remote(on(peers.id(1)), plain_trace)) == none);
    CHECK(peers[0].run(remote(on(peers.id(0)), plain_trace)) == none);
    peers[0].run([](peer_id to) -> task<void> { static_cast<void>(co_await remote(on(to), echo, 5u)); }(peers.id(1)));
    const call_statistics made = peers[0].call_statistics();
    CHECK(made.find(expose<echo>::entry.readable_name())->made.bytes_out == 24 + 8);
    peers[0].run(traced([](peer_id to) -> task<void> { static_cast<void>(co_await remote(on(to), echo, 5u)); }(peers.id(1))));
    const call_statistics then = peers[0].call_statistics();
    CHECK(then.find(expose<echo>::entry.readable_name())->made.bytes_out == 2 * (24 + 8) + 25);
}

TEST_CASE("a trace goes on through calls within calls, each a span of its own", "[call][trace]") {
    group peers(3);
    const std::uint64_t one = peers.id(1).value, two = peers.id(2).value, here = peers.id(0).value;
    // Over two others and back, and on the last one to itself.
    const std::vector<std::uint64_t> hops{one, one, here, two};
    const std::vector<trace_context> seen = parsed(peers[0].run(traced(remote(on(peers.id(1)), fn<way>, hops))));
    REQUIRE(seen.size() == 5);
    std::set<std::uint64_t> spans;
    for (const trace_context& t : seen) {
        CHECK(t);
        CHECK(t.is_sampled());
        CHECK(t.trace_high == seen[0].trace_high);
        CHECK(t.trace_low == seen[0].trace_low);
        spans.insert(t.span);
    }
    CHECK(spans.size() == seen.size());
    // Another run is another trace.
    const std::vector<trace_context> again = parsed(peers[0].run(traced(remote(on(peers.id(1)), fn<way>, hops))));
    CHECK(again[0].trace_low != seen[0].trace_low);
}

TEST_CASE("a trace that began elsewhere is gone on with, with its flags", "[call][trace]") {
    group peers(2);
    trace_context from = *trace_context::parse(example);
    from.flags = 0;
    const trace_context seen = *trace_context::parse(peers[0].run(traced(remote(on(peers.id(1)), plain_trace), from)));
    CHECK(seen.trace_high == from.trace_high);
    CHECK(seen.trace_low == from.trace_low);
    CHECK(seen.span != from.span);
    CHECK_FALSE(seen.is_sampled());
}

task<trace_context> trace_here() { co_return co_await get_trace(); }
task<std::vector<trace_context>> traces_below() {
    std::vector<trace_context> seen;
    seen.push_back(co_await get_trace());
    seen.push_back(co_await trace_here());
    seen.push_back(co_await timeout(trace_here(), 10s));
    std::vector<task<trace_context>> two;
    two.push_back(trace_here());
    two.push_back(trace_here());
    for (const trace_context& t : co_await when_all(std::move(two))) seen.push_back(t);
    scope s;
    future<trace_context> spawned = s.spawn_future(trace_here());
    seen.push_back(co_await std::move(spawned));
    co_await s.join();
    seen.push_back(co_await traced(trace_here()));
    co_return seen;
}

TEST_CASE("whatever a traced coroutine awaits or spawns belongs to its span", "[call][trace]") {
    group peers(1);
    const trace_context from = *trace_context::parse(example);
    for (const trace_context& t : peers[0].run(traced(traces_below(), from))) CHECK(t == from);
    // Without a trace there is none, but within the `traced` there.
    const std::vector<trace_context> none = peers[0].run(traces_below());
    for (std::size_t i = 0; i + 1 < none.size(); ++i) CHECK_FALSE(none[i]);
    CHECK(none.back());
}

}  // namespace covey_test_trace
