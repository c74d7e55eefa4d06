#include <covey/call/statistics.hpp>

#include <covey/call/detail/counters.hpp>
#include <covey/call/remote.hpp>
#include <covey/core/random.hpp>

#include <call/support.hpp>

#include <algorithm>
#include <limits>
#include <stdexcept>
#include <thread>
#include <vector>

namespace covey_test_statistics {

using namespace covey;
using namespace covey_test_call;
using namespace std::chrono_literals;

std::string twice(std::string text) { return text + text; }
int angry(int n) {
    if (n != 0) throw std::out_of_range("no");
    return n;
}
counter waiting;
task<void> endless() {
    waiting.add();
    co_await schedule_after(24h);
}
task<void> slow() { co_await schedule_after(30ms); }

}  // namespace covey_test_statistics

template struct covey::expose<covey_test_statistics::twice>;
template struct covey::expose<covey_test_statistics::angry>;
template struct covey::expose<covey_test_statistics::endless>;
template struct covey::expose<covey_test_statistics::slow>;

namespace covey_test_statistics {

TEST_CASE("every time has a bucket, which says at most an eighth too much", "[call][statistics]") {
    CHECK(latency_histogram::bucket_of(-1ns) == 0);
    CHECK(latency_histogram::bucket_of(0ns) == 0);
    CHECK(latency_histogram::bucket_of(255ns) == 0);
    CHECK(latency_histogram::bucket_of(256ns) == 1);
    CHECK(latency_histogram::end_of(0) == 256ns);
    CHECK(latency_histogram::bucket_of(duration(std::int64_t{1} << 40)) == latency_histogram::size - 1);
    CHECK(latency_histogram::bucket_of(duration((std::int64_t{1} << 40) - 1)) == latency_histogram::size - 2);
    CHECK(latency_histogram::bucket_of(duration::max()) == latency_histogram::size - 1);
    for (std::size_t i = 1; i + 1 < latency_histogram::size; ++i) {
        const duration begin = latency_histogram::end_of(i - 1), end = latency_histogram::end_of(i);
        REQUIRE(begin < end);
        REQUIRE(latency_histogram::bucket_of(begin) == i);
        REQUIRE(latency_histogram::bucket_of(end - 1ns) == i);
        REQUIRE((end - begin) * 8 <= begin);
    }
}

TEST_CASE("quantiles are those of a sorted list, an eighth too long at most", "[call][statistics]") {
    CHECK(latency_histogram{}.quantile(0.5) == 0ns);
    random_source random(7);
    latency_histogram h;
    std::vector<std::int64_t> all;
    for (int i = 0; i < 10'000; ++i) {
        const auto ns = static_cast<std::int64_t>(random.next() >> (30 + random.next() % 26));
        all.push_back(ns);
        ++h.counts[latency_histogram::bucket_of(duration(ns))];
        h.longest_ns = std::max(h.longest_ns, ns);
    }
    std::sort(all.begin(), all.end());
    CHECK(h.count() == all.size());
    CHECK(h.longest().count() == all.back());
    CHECK(h.quantile(1).count() == all.back());
    for (const double part : {0.001, 0.1, 0.5, 0.9, 0.99, 0.999}) {
        const std::int64_t right = all[static_cast<std::size_t>(part * 10'000) - 1];
        INFO(part << " " << right);
        CHECK(h.quantile(part).count() >= right);
        CHECK(h.quantile(part).count() <= std::max<std::int64_t>(right + right / 8 + 1, 256));
    }
}

const function_entry& some_entry() {
    function_table::instance().freeze();
    return expose<twice>::entry;
}

TEST_CASE("nothing is lost when many threads count at once, more than have a number of their own too", "[call][statistics]") {
    const function_entry& entry = some_entry();
    detail::call_counters counters;
    constexpr unsigned threads = detail::thread_numbers + 8;
    constexpr unsigned rounds = 2000;
    std::vector<std::thread> all;
    std::atomic<unsigned> here{0};
    for (unsigned t = 0; t < threads; ++t) {
        all.emplace_back([&, t] {
            // All of them live at the same time.
            static_cast<void>(detail::thread_number());
            ++here;
            while (here < threads) std::this_thread::yield();
            for (unsigned i = 0; i < rounds; ++i) {
                counters.made(entry, {.how = call_counts::value, .took = duration(1000 + t), .bytes_out = 3, .bytes_in = 5});
                if (i % 2 == 0) counters.served(entry, {.how = call_counts::stopped, .took = 2s, .bytes_out = 0, .bytes_in = 1});
            }
        });
    }
    for (std::thread& t : all) t.join();
    const call_statistics seen = counters.read();
    REQUIRE(seen.functions.size() == 1);
    const function_statistics& f = seen.functions[0];
    CHECK(f.name == entry.readable_name());
    CHECK(seen.find(f.name) == &f);
    CHECK(seen.find("nobody()") == nullptr);
    CHECK(f.made.calls() == threads * rounds);
    CHECK(f.made.values() == threads * rounds);
    CHECK(f.made.bytes_out == 3 * threads * rounds);
    CHECK(f.made.bytes_in == 5 * threads * rounds);
    CHECK(f.made.latency.longest() == duration(1000 + threads - 1));
    CHECK(f.served.stops() == threads * rounds / 2);
    CHECK(f.served.values() == 0);
    CHECK(f.served.latency.quantile(0.5) == 2s);
}

TEST_CASE("a thread's number is free again when it has ended", "[call][statistics]") {
    unsigned first = 0, second = 0;
    std::thread([&] { first = detail::thread_number(); }).join();
    std::thread([&] { second = detail::thread_number(); }).join();
    CHECK(first == second);
    CHECK(first != detail::thread_number());
    CHECK(detail::thread_number() == detail::thread_number());
}

/// Ends after what it answers does, so what was served is counted a moment after the caller knows.
function_statistics when_served(peer& p, const function_entry& entry, std::uint64_t calls) {
    const auto limit = std::chrono::steady_clock::now() + patience;
    while (std::chrono::steady_clock::now() < limit) {
        const call_statistics now = p.call_statistics();
        const function_statistics* const f = now.find(entry.readable_name());
        if (f != nullptr && f->served.calls() >= calls) return *f;
        std::this_thread::yield();
    }
    FAIL("it was not served");
    return {};
}

TEST_CASE("both sides count the calls of a function, how they ended, and their bytes", "[call][statistics]") {
    group peers(2);
    const peer_id other = peers.id(1);
    CHECK(peers[0].call_statistics().functions.empty());
    peers[0].run([](peer_id to) -> task<void> {
        for (int i = 0; i < 10; ++i) static_cast<void>(co_await remote(on(to), twice, std::string(100, 'x')));
    }(other));
    for (const int n : {0, 1, 1}) static_cast<void>(outcome_of(peers[0], remote(on(other), angry, n)));

    const call_statistics made = peers[0].call_statistics();
    const function_statistics* const t = made.find(expose<twice>::entry.readable_name());
    REQUIRE(t != nullptr);
    CHECK(t->made.calls() == 10);
    CHECK(t->made.values() == 10);
    // A header of 24 bytes, a length of one or two, and the text.
    CHECK(t->made.bytes_out == 10 * (24 + 1 + 100));
    CHECK(t->made.bytes_in == 10 * (24 + 2 + 200));
    CHECK(t->made.latency.quantile(0.5) > 0ns);
    CHECK(t->made.latency.quantile(0.5) <= t->made.latency.longest());
    CHECK(t->served.calls() == 0);
    const function_statistics there = when_served(peers[1], expose<twice>::entry, 10);
    CHECK(there.made.calls() == 0);
    CHECK(there.served.values() == 10);
    CHECK(there.served.bytes_in == t->made.bytes_out);
    CHECK(there.served.bytes_out == t->made.bytes_in);

    const function_statistics* const a = made.find(expose<angry>::entry.readable_name());
    REQUIRE(a != nullptr);
    CHECK(a->made.values() == 1);
    CHECK(a->made.exceptions() == 2);
    const function_statistics angry_there = when_served(peers[1], expose<angry>::entry, 3);
    CHECK(angry_there.served.values() == 1);
    CHECK(angry_there.served.exceptions() == 2);
    CHECK(angry_there.served.bytes_out == a->made.bytes_in);
}

TEST_CASE("time that a function takes is in the histograms of both sides", "[call][statistics]") {
    group peers(2);
    peers[0].run(remote(on(peers.id(1)), slow));
    const call_statistics made = peers[0].call_statistics();
    const function_statistics* const s = made.find(expose<slow>::entry.readable_name());
    REQUIRE(s != nullptr);
    CHECK(s->made.latency.longest() >= 30ms);
    CHECK(s->made.latency.quantile(0.99) >= 30ms);
    CHECK(when_served(peers[1], expose<slow>::entry, 1).served.latency.longest() >= 30ms);
}

TEST_CASE("deadlines, stops and peers that are not there count by their reason", "[call][statistics]") {
    group peers(2);
    const peer_id other = peers.id(1);
    const std::string name = expose<endless>::entry.readable_name();
    CHECK(outcome_of(peers[0], remote(on(other, {.deadline = 50ms}), endless)).code == errc::timed_out);
    CHECK(outcome_of(peers[0], remote(on(peer_id{12345}), endless)).code == errc::unknown_peer);
    const call_statistics made = peers[0].call_statistics();
    REQUIRE(made.find(name) != nullptr);
    CHECK(made.find(name)->made.errors(errc::timed_out) == 1);
    CHECK(made.find(name)->made.errors(errc::unknown_peer) == 1);
    CHECK(made.find(name)->made.calls() == 2);
    CHECK(when_served(peers[1], expose<endless>::entry, 1).served.stops() == 1);
}

TEST_CASE("a call of a peer to itself counts on both sides", "[call][statistics]") {
    group peers(1);
    static_cast<void>(outcome_of(peers[0], remote(twice, "a")));
    static_cast<void>(outcome_of(peers[0], remote(angry, 1)));
    const call_statistics seen = peers[0].call_statistics();
    const function_statistics* const t = seen.find(expose<twice>::entry.readable_name());
    REQUIRE(t != nullptr);
    CHECK(t->made.values() == 1);
    CHECK(t->served.values() == 1);
    CHECK(t->made.bytes_out == 0);
    const function_statistics* const a = seen.find(expose<angry>::entry.readable_name());
    REQUIRE(a != nullptr);
    CHECK(a->made.exceptions() == 1);
    CHECK(a->served.exceptions() == 1);
}

TEST_CASE("a peer tells another of its calls", "[call][statistics]") {
    group peers(2);
    peers[0].run(remote(on(peers.id(1)), slow));
    static_cast<void>(when_served(peers[1], expose<slow>::entry, 1));
    const call_statistics told = peers[0].run(peers[0].call_statistics_of(peers.id(1)));
    REQUIRE(told.find(expose<slow>::entry.readable_name()) != nullptr);
    CHECK(told.find(expose<slow>::entry.readable_name())->served.values() == 1);
    CHECK(told.find(expose<slow>::entry.readable_name())->served.latency.longest() >= 30ms);
}

}  // namespace covey_test_statistics
