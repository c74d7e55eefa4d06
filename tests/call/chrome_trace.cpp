#include <covey/call/chrome_trace.hpp>

#include <covey/call/remote.hpp>
#include <covey/call/statistics.hpp>
#include <covey/task/when_all.hpp>

#include <call/support.hpp>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include <unistd.h>

#if __has_include(<nlohmann/json.hpp>)
#include <nlohmann/json.hpp>
#define COVEY_TEST_JSON 1
#else
#include <support/skip.hpp>
#endif

namespace covey_test_chrome_trace {

using namespace covey;
using namespace covey_test_call;
using namespace std::chrono_literals;

int leaf(int n) { return n; }
task<int> branch(context& ctx, int n) { co_return co_await remote(on(ctx.caller()), fn<leaf>, n); }

}  // namespace covey_test_chrome_trace

template struct covey::expose<covey_test_chrome_trace::leaf>;
template struct covey::expose<covey_test_chrome_trace::branch>;

namespace covey_test_chrome_trace {

call_span span_of(span_kind kind, std::uint64_t id, std::uint64_t parent, std::int64_t begin_ns, std::int64_t end_ns) {
    call_span s;
    s.context = {1, 2, id, 1};
    s.parent = parent;
    s.kind = kind;
    s.begin_ns = begin_ns;
    s.end_ns = end_ns;
    s.function = "f(\"quoted\", int)";
    return s;
}

span_list list_of(std::uint64_t peer, std::vector<call_span> spans) {
    span_list l;
    l.peer = peer_id{peer << 40};
    l.name = "peer\n" + std::to_string(peer);
    l.spans = std::move(spans);
    return l;
}

TEST_CASE("clocks are aligned by the calls that were least on their way", "[call][chrome_trace]") {
    // The second peer's clock is 1,000,000 behind, the third's 500 before the second's; the fourth has called nobody.
    const std::vector<span_list> peers{
        list_of(1, {span_of(span_kind::made, 1, 0, 1'000'100, 1'000'300), span_of(span_kind::made, 2, 0, 1'000'400, 1'009'000)}),
        list_of(2,
                {
                    span_of(span_kind::served, 11, 1, 150, 250),        // 50 each way
                    span_of(span_kind::served, 12, 2, 8'000, 8'100),    // slow, and not the same there as back
                    span_of(span_kind::made, 13, 12, 8'010, 8'050),     // to the third
                    span_of(span_kind::served, 14, 999, 8'010, 8'050),  // of somebody who is not here
                }),
        list_of(3, {span_of(span_kind::served, 21, 13, 8'520, 8'540)}),
        list_of(4, {span_of(span_kind::local, 31, 0, 5, 6)}),
    };
    CHECK(clock_offsets(peers) == std::vector<std::int64_t>{0, 1'000'000, 999'500, 0});
    CHECK(clock_offsets({}).empty());

    // Calls that had no answer say nothing of the clocks.
    std::vector<span_list> lost = peers;
    for (call_span& s : lost[0].spans) s.how = static_cast<std::uint8_t>(errc::timed_out);
    CHECK(clock_offsets(lost) == std::vector<std::int64_t>{0, 0, 0, 0});
}

#ifdef COVEY_TEST_JSON

struct slice {
    double begin = 0, end = 0;
    nlohmann::json args;
};

/// Parses, and checks what Perfetto needs: fields, slices of a thread that nest, arrows that begin and end in one.
std::map<std::string, slice> check_trace(const std::string& text) {
    const nlohmann::json all = nlohmann::json::parse(text);
    REQUIRE(all.is_array());
    std::map<std::pair<std::int64_t, std::int64_t>, std::vector<slice>> threads;
    std::map<std::string, slice> by_id;
    std::set<std::pair<std::int64_t, std::int64_t>> named;
    std::map<std::string, int> arrows;
    for (const nlohmann::json& e : all) {
        const std::pair<std::int64_t, std::int64_t> thread(e.at("pid").get<std::int64_t>(), e.at("tid").get<std::int64_t>());
        const auto phase = e.at("ph").get<std::string>();
        if (phase == "M") {
            if (e.at("name") == "thread_name") named.insert(thread);
            CHECK(e.at("args").at("name").is_string());
            continue;
        }
        CHECK(e.at("ts").is_number());
        if (phase == "X") {
            const slice s{e.at("ts").get<double>(), e.at("ts").get<double>() + e.at("dur").get<double>(), e.at("args")};
            threads[thread].push_back(s);
            by_id[s.args.at("traceparent").get<std::string>().substr(36, 16)] = s;
        } else if (phase == "s" || phase == "f") {
            ++arrows[phase + e.at("id").get<std::string>()];
        }
    }
    for (auto& [thread, slices] : threads) {
        CHECK(named.count(thread) == 1);
        std::sort(slices.begin(), slices.end(),
                  [](const slice& a, const slice& b) { return a.begin != b.begin ? a.begin < b.begin : a.end > b.end; });
        // Microseconds as doubles: half a nanosecond is nothing.
        constexpr double rounding = 0.0005;
        std::vector<double> open;
        for (const slice& s : slices) {
            while (!open.empty() && open.back() <= s.begin + rounding) open.pop_back();
            if (!open.empty()) CHECK(s.end <= open.back() + rounding);
            open.push_back(s.end);
        }
    }
    for (const auto& [what, n] : arrows) CHECK(n == 1);
    return by_id;
}

TEST_CASE("a trace is JSON with slices that nest, on the first peer's clock", "[call][chrome_trace]") {
    const std::vector<span_list> peers{
        list_of(1, {span_of(span_kind::made, 1, 0, 1'000'100, 1'000'300), span_of(span_kind::made, 2, 0, 1'000'200, 1'000'400),
                    span_of(span_kind::local, 3, 1, 1'000'150, 1'000'160), span_of(span_kind::local, 4, 9, 1'000'150, 1'000'160)}),
        list_of(2, {span_of(span_kind::served, 11, 1, 150, 250)}),
    };
    const std::map<std::string, slice> seen = check_trace(chrome_trace(peers));
    REQUIRE(seen.size() == 5);
    CHECK(seen.at("000000000000000b").begin == Approx(1000.15));
    CHECK(seen.at("000000000000000b").end == Approx(1000.25));
    CHECK(seen.at("000000000000000b").args.at("kind") == "served");
    CHECK(seen.at("000000000000000b").args.at("parent") == "0x1");
    CHECK(seen.at("0000000000000002").args.at("ended") == "value");
    check_trace(chrome_trace({}));
}

TEST_CASE("spans of a run of several peers make one file, whoever adds to it", "[call][chrome_trace]") {
    char path[] = "/tmp/covey_trace_XXXXXX";
    const int fd = mkstemp(path);
    REQUIRE(fd >= 0);
    close(fd);
    std::uint64_t ids[2];
    {
        group peers(2, {.trace_file = path});
        for (const std::size_t i : {0u, 1u}) ids[i] = peers.id(i).value;
        const auto many = [](peer_id to) -> task<void> {
            std::vector<task<int>> all;
            for (int i = 0; i < 20; ++i) all.push_back(remote(on(to), branch, i));
            static_cast<void>(co_await when_all(std::move(all)));
        };
        peers[0].run(many(peers.id(1)));
        peers.destroy(0);
        peers.destroy(1);
    }
    std::ifstream file(path);
    std::stringstream text;
    text << file.rdbuf();
    const std::map<std::string, slice> seen = check_trace(text.str());
    CHECK(seen.size() == 20 * 4);
    int served = 0;
    for (const auto& [id, s] : seen) {
        if (s.args.at("kind") != "served") continue;
        ++served;
        const auto made = seen.find([&] {
            std::string parent = s.args.at("parent").get<std::string>().substr(2);
            return std::string(16 - parent.size(), '0') + parent;
        }());
        REQUIRE(made != seen.end());
        CHECK(made->second.begin <= s.begin + 0.0005);
        CHECK(s.begin <= made->second.end + 0.0005);
    }
    CHECK(served == 40);
    CHECK(text.str().find(to_string(peer_id{ids[0]})) != std::string::npos);
    CHECK(text.str().find(to_string(peer_id{ids[1]})) != std::string::npos);
    std::remove(path);
}

#else
TEST_CASE("a trace is JSON", "[call][chrome_trace]") { covey_test::skip("no JSON parser here"); }
#endif

TEST_CASE("a file that is no trace is left as it is", "[call][chrome_trace]") {
    char path[] = "/tmp/covey_trace_XXXXXX";
    const int fd = mkstemp(path);
    REQUIRE(fd >= 0);
    REQUIRE(write(fd, "my notes\n", 9) == 9);
    close(fd);
    const span_list empty = list_of(1, {});
    try {
        append_chrome_trace(path, {&empty, 1});
        FAIL("it was overwritten");
    } catch (const error& e) {
        CHECK(e.code() == errc::bad_argument);
        CHECK(std::string(e.what()).find(path) != std::string::npos);
    }
    std::ifstream file(path);
    std::string line;
    std::getline(file, line);
    CHECK(line == "my notes");
    std::remove(path);
    CHECK_THROWS_AS(append_chrome_trace("/no/such/folder/trace.json", {&empty, 1}), error);
}

}  // namespace covey_test_chrome_trace
