#include <covey/call/spans.hpp>

#include <covey/call/detail/span_log.hpp>
#include <covey/call/remote.hpp>

#include <call/support.hpp>

#include <algorithm>
#include <set>
#include <stdexcept>
#include <thread>
#include <vector>

namespace covey_test_spans {

using namespace covey;
using namespace covey_test_call;
using namespace std::chrono_literals;

int leaf(int n) { return n; }
int throws(int) { throw std::runtime_error("no"); }
/// Calls `leaf` on whoever called, and on itself.
task<int> branch(context& ctx, int n) {
    const int there = co_await remote(on(ctx.caller()), fn<leaf>, n);
    co_return there + co_await remote(on(ctx.self()), fn<leaf>, n);
}

}  // namespace covey_test_spans

template struct covey::expose<covey_test_spans::leaf>;
template struct covey::expose<covey_test_spans::throws>;
template struct covey::expose<covey_test_spans::branch>;

namespace covey_test_spans {

TEST_CASE("a log keeps the first spans and counts the others, from many threads", "[call][spans]") {
    function_table::instance().freeze();
    detail::span_log log(1000);
    std::vector<std::thread> all;
    for (unsigned t = 0; t < 4; ++t) {
        all.emplace_back([&log, t] {
            for (unsigned i = 0; i < 400; ++i)
                log.add({.context = {1, 2, t * 400 + i + 1, 1}, .function = &expose<leaf>::entry, .kind = span_kind::local});
        });
    }
    for (std::thread& t : all) t.join();
    span_list seen;
    log.read(seen);
    CHECK(seen.spans.size() == 1000);
    CHECK(seen.dropped == 600);
    std::set<std::uint64_t> ids;
    for (const call_span& s : seen.spans) {
        ids.insert(s.context.span);
        CHECK(s.function == expose<leaf>::entry.readable_name());
    }
    CHECK(ids.size() == 1000);
}

/// Spans of calls that were answered are kept a moment after the answer.
span_list spans_when(peer& p, std::size_t n) {
    const auto limit = std::chrono::steady_clock::now() + patience;
    for (;;) {
        span_list now = p.spans();
        if (now.spans.size() >= n || std::chrono::steady_clock::now() > limit) return now;
        std::this_thread::yield();
    }
}

const call_span* find(const span_list& list, span_kind kind, const function_entry& f) {
    const auto at = std::find_if(list.spans.begin(), list.spans.end(),
                                 [&](const call_span& s) { return s.kind == kind && s.function == f.readable_name(); });
    return at != list.spans.end() ? &*at : nullptr;
}

TEST_CASE("both sides of a call leave a span, and calls within calls a tree of them", "[call][spans]") {
    group peers(2, {.spans_max = 1000});
    CHECK(peers[0].run(remote(on(peers.id(1)), branch, 21)) == 42);
    const span_list here = spans_when(peers[0], 2), there = spans_when(peers[1], 3);
    CHECK(here.peer == peers.id(0));
    CHECK(here.name == "p0");
    CHECK(here.dropped == 0);
    REQUIRE(here.spans.size() == 2);
    REQUIRE(there.spans.size() == 3);
    const call_span* const root = find(here, span_kind::made, expose<branch>::entry);
    const call_span* const served = find(there, span_kind::served, expose<branch>::entry);
    const call_span* const back = find(there, span_kind::made, expose<leaf>::entry);
    const call_span* const leaf_served = find(here, span_kind::served, expose<leaf>::entry);
    const call_span* const local = find(there, span_kind::local, expose<leaf>::entry);
    REQUIRE((root && served && back && leaf_served && local));
    CHECK(root->parent == 0);
    CHECK(served->parent == root->context.span);
    CHECK(back->parent == served->context.span);
    CHECK(leaf_served->parent == back->context.span);
    CHECK(local->parent == served->context.span);
    for (const call_span* s : {root, served, back, leaf_served, local}) {
        CHECK(s->context.trace_high == root->context.trace_high);
        CHECK(s->context.trace_low == root->context.trace_low);
        CHECK(s->how == call_counts::value);
        CHECK(s->begin_ns <= s->end_ns);
    }
    CHECK(root->other == peers.id(1));
    CHECK(served->other == peers.id(0));
    CHECK(local->other == peers.id(1));
    // On one machine there is one clock.
    CHECK(root->begin_ns <= served->begin_ns);
    CHECK(served->begin_ns <= back->begin_ns);
    CHECK(back->end_ns <= local->begin_ns);
    CHECK(served->begin_ns <= root->end_ns);
}

TEST_CASE("a span tells how its call ended", "[call][spans]") {
    group peers(2, {.spans_max = 1000});
    CHECK(outcome_of(peers[0], remote(on(peers.id(1)), throws, 1)).message == "no");
    const span_list here = spans_when(peers[0], 1), there = spans_when(peers[1], 1);
    REQUIRE(here.spans.size() == 1);
    REQUIRE(there.spans.size() == 1);
    CHECK(here.spans[0].how == call_counts::exception);
    CHECK(there.spans[0].how == call_counts::exception);
}

TEST_CASE("a trace that nobody wants kept leaves no span, and a peer that keeps none passes it on", "[call][spans]") {
    {
        group peers(2, {.spans_max = 1000});
        trace_context unwanted{1, 2, 3, 0};
        peers[0].run(traced(remote(on(peers.id(1)), branch, 1), unwanted));
        CHECK(peers[0].spans().spans.empty());
        CHECK(peers[1].run(remote(on(peers.id(0)), leaf, 1)) == 1);
        // By now what came before is over there.
        const span_list there = spans_when(peers[1], 1);
        CHECK(there.spans.size() == 1);
        CHECK(there.spans[0].kind == span_kind::made);
    }
    group peers(2);
    peers[0].run(traced(remote(on(peers.id(1)), branch, 1)));
    CHECK(peers[0].spans().spans.empty());
    CHECK(peers[1].spans().spans.empty());
}

TEST_CASE("a peer gives its spans to another", "[call][spans]") {
    group peers(2, {.spans_max = 2});
    for (int i = 0; i < 5; ++i) static_cast<void>(peers[0].run(remote(on(peers.id(1)), leaf, i)));
    static_cast<void>(spans_when(peers[1], 2));
    const span_list there = peers[0].run(peers[0].spans_of(peers.id(1)));
    CHECK(there.peer == peers.id(1));
    CHECK(there.name == "p1");
    REQUIRE(there.spans.size() == 2);
    CHECK(there.dropped >= 2);  // the last one may still be ending
    CHECK(there.spans[0].kind == span_kind::served);
    CHECK(there.spans[0].function == expose<leaf>::entry.readable_name());
    CHECK(there.spans[0].context);
}

}  // namespace covey_test_spans
