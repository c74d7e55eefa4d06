#include <covey/task/channel.hpp>

#include <task/stage.hpp>

#include <covey/sched/pool.hpp>
#include <covey/task/sync_wait.hpp>
#include <covey/task/timeout.hpp>
#include <covey/task/when_all.hpp>
#include <covey/task/when_any.hpp>

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace covey_test_task_channel {

using namespace covey;
using namespace std::chrono_literals;
using covey_test::repeats;
using covey_test::run;
using covey_test::stage;
using covey_test::step_scheduler;
using covey_test::throws_code;

namespace {

template <class T>
task<bool> send(channel<T>& c, T value) {
    co_return co_await c.send(std::move(value));
}
template <class T>
task<std::optional<T>> receive(channel<T>& c) {
    co_return co_await c.receive();
}
/// Says what became of the value that was to be sent.
task<std::string> send_and_keep(channel<std::unique_ptr<std::string>>& c, bool& stopped_seen) {
    auto value = std::make_unique<std::string>("kept");
    try {
        if (co_await c.send(std::move(value))) co_return value ? "sent but still here" : "sent";
    } catch (const stopped&) {
        stopped_seen = true;
    }
    co_return value ? *value : "lost";
}
task<std::size_t> pass_through(std::size_t n) {
    channel<int> c{64};
    std::size_t sum = 0;
    for (std::size_t i = 0; i < n; ++i) {
        co_await c.send(static_cast<int>(i));
        const std::optional<int> m = co_await c.receive();
        sum += static_cast<std::size_t>(*m);
    }
    co_return sum;
}
task<std::string> strings(std::size_t capacity) {
    channel<std::string> c{capacity};
    const std::string named(40, 'n');
    co_await c.send(std::string(40, 't'));
    co_await c.send(named);
    std::string moved(40, 'm');
    co_await c.send(std::move(moved));
    co_await c.send("from a literal that is longer than a short string");
    c.close();
    std::string all;
    while (auto s = co_await c.receive()) all += s->substr(0, 1);
    co_return all;
}
task<void> produce(channel<std::size_t>& c, std::size_t first, std::size_t n) {
    for (std::size_t i = 0; i < n; ++i) {
        if (!co_await c.send(first + i)) throw error(errc::shut_down, "closed too early");
    }
}
task<std::vector<std::size_t>> consume(channel<std::size_t>& c) {
    std::vector<std::size_t> got;
    while (auto v = co_await c.receive()) got.push_back(*v);
    co_return got;
}
task<void> produce_all(channel<std::size_t>& c, std::size_t producers, std::size_t each) {
    std::vector<task<void>> all;
    for (std::size_t p = 0; p < producers; ++p) all.push_back(produce(c, p * each, each));
    static_cast<void>(co_await when_all(std::move(all)));
    c.close();
}
task<std::vector<std::vector<std::size_t>>> consume_all(channel<std::size_t>& c, std::size_t consumers) {
    std::vector<task<std::vector<std::size_t>>> all;
    for (std::size_t i = 0; i < consumers; ++i) all.push_back(consume(c));
    co_return co_await when_all(std::move(all));
}
task<bool> many_to_many(std::size_t capacity, std::size_t producers, std::size_t consumers, std::size_t each) {
    channel<std::size_t> c{capacity};
    auto both = co_await when_all(produce_all(c, producers, each), consume_all(c, consumers));
    std::vector<int> seen(producers * each);
    bool in_order = true;
    for (const std::vector<std::size_t>& got : std::get<1>(both)) {
        std::vector<std::size_t> last(producers, 0);  // one more than the last of each producer
        for (const std::size_t v : got) {
            ++seen[v];
            in_order = in_order && v % each + 1 > last[v / each];
            last[v / each] = v % each + 1;
        }
    }
    for (const int times : seen) in_order = in_order && times == 1;
    co_return in_order;
}

/// Counts what goes through while others are stopped at any moment: nothing may be lost or doubled.
struct tally {
    std::atomic<std::size_t> sent{0};
    std::atomic<std::size_t> received{0};
};
task<void> send_until_stopped(channel<std::unique_ptr<int>>& c, tally& t) {
    for (;;) {
        auto value = std::make_unique<int>(1);
        bool sent = false;
        try {
            sent = co_await c.send(std::move(value));
        } catch (const stopped&) {
            if (value == nullptr) std::abort();
            throw;
        }
        if (!sent) co_return;
        if (value != nullptr) std::abort();
        t.sent.fetch_add(1, std::memory_order_relaxed);
    }
}
task<void> receive_until_stopped(channel<std::unique_ptr<int>>& c, tally& t) {
    while (auto v = co_await c.receive()) t.received.fetch_add(static_cast<std::size_t>(**v), std::memory_order_relaxed);
}
task<void> swallow(task<void> t) {
    try {
        co_await std::move(t);
    } catch (const stopped&) {}
}
task<void> stop_at_random(channel<std::unique_ptr<int>>& c, tally& t, std::size_t rounds) {
    for (std::size_t i = 0; i < rounds; ++i) {
        scope s;
        s.spawn(swallow(send_until_stopped(c, t)));
        s.spawn(swallow(receive_until_stopped(c, t)));
        s.spawn(swallow(send_until_stopped(c, t)));
        for (std::size_t k = 0; k < i % 4; ++k) co_await schedule();
        s.request_stop();
        co_await s.join();
    }
}
task<bool> stopped_beside(std::size_t capacity, std::size_t rounds) {
    channel<std::unique_ptr<int>> c{capacity};
    tally t;
    scope s;
    for (int i = 0; i < 3; ++i) s.spawn(stop_at_random(c, t, rounds));
    co_await s.join();
    std::size_t left = 0;
    while (c.try_receive()) ++left;
    co_return t.sent == t.received + left;
}
task<bool> closed_beside(std::size_t rounds) {
    bool right = true;
    for (std::size_t i = 0; i < rounds; ++i) {
        channel<std::unique_ptr<int>> c{i % 3};
        tally t;
        scope s;
        for (int k = 0; k < 2; ++k) {
            s.spawn(send_until_stopped(c, t));
            s.spawn(receive_until_stopped(c, t));
        }
        for (std::size_t k = 0; k < i % 5; ++k) co_await schedule();
        c.close();
        co_await s.join();
        right = right && t.sent == t.received && c.size() == 0;
    }
    co_return right;
}
task<int> limited_receive(channel<int>& c) {
    const std::optional<int> m = co_await timeout(receive(c), 5ms);
    co_return m.value_or(-1);
}
task<std::size_t> first_of_two(channel<int>& a, channel<int>& b) {
    auto first = co_await when_any(receive(a), receive(b));
    co_return first.index();
}

}  // namespace

TEST_CASE("a channel gives values in the order in which they were sent", "[task]") {
    step_scheduler scheduler;
    CHECK(run(scheduler, pass_through(1000)) == 499'500);
    CHECK(run(scheduler, strings(4)) == "tnmf");
    channel<int> c{3};
    CHECK(c.capacity() == 3);
    for (int round = 0; round < 5; ++round) {
        CHECK(c.try_send(round));
        CHECK(c.try_send(round + 1));
        CHECK(c.size() == 2);
        CHECK(c.try_receive() == round);
        CHECK(c.try_receive() == round + 1);
        CHECK(c.try_receive() == std::nullopt);
    }
}

TEST_CASE("a channel works without a scheduler as long as nobody has to wait", "[task]") {
    CHECK(covey_test::run_without_scheduler(pass_through(3)) == 3);
    channel<int> c{1};
    CHECK(throws_code(errc::no_peer, [&] { return covey_test::run_without_scheduler(receive(c)); }));
    CHECK(c.try_send(1));
    CHECK(c.try_receive() == 1);
}

TEST_CASE("senders wait while a channel is full, and are served in order", "[task]") {
    stage s;
    channel<int> c{1};
    CHECK(s.start(send(c, 1))->value == true);
    const auto second = s.start(send(c, 2));
    const auto third = s.start(send(c, 3));
    CHECK(second->waiting());
    CHECK_FALSE(c.try_send(4));
    CHECK(s.start(receive(c))->value->value() == 1);
    CHECK(second->value == true);
    CHECK(third->waiting());
    CHECK(c.try_receive() == 2);
    s.settle();
    CHECK(third->value == true);
    CHECK(c.try_receive() == 3);
    CHECK(c.size() == 0);
}

TEST_CASE("receivers wait while a channel is empty, and are served in order", "[task]") {
    stage s;
    channel<int> c{4};
    const auto first = s.start(receive(c));
    const auto second = s.start(receive(c));
    CHECK(first->waiting());
    CHECK(c.try_send(1));
    CHECK(c.try_receive() == std::nullopt);  // it was given to the first already
    CHECK(c.size() == 0);
    s.settle();
    CHECK(first->value->value() == 1);
    CHECK(second->waiting());
    CHECK(s.start(send(c, 2))->value == true);
    CHECK(second->value->value() == 2);
}

TEST_CASE("a channel without room is a meeting place", "[task]") {
    stage s;
    channel<std::string> c{0};
    CHECK_FALSE(c.try_send("nobody is there"));
    const auto sender = s.start(send<std::string>(c, "one"));
    const auto next = s.start(send<std::string>(c, "two"));
    CHECK(sender->waiting());
    CHECK(c.try_receive() == "one");
    s.settle();
    CHECK(sender->value == true);
    CHECK(next->waiting());
    CHECK(s.start(receive(c))->value->value() == "two");
    const auto receiver = s.start(receive(c));
    CHECK(receiver->waiting());
    CHECK(c.try_send("three"));
    s.settle();
    CHECK(receiver->value->value() == "three");
    CHECK(next->value == true);
}

TEST_CASE("closing a channel: what is in it is received, nothing more is sent", "[task]") {
    stage s;
    channel<std::unique_ptr<std::string>> c{1};
    CHECK_FALSE(c.is_closed());
    bool stopped_seen = false;
    CHECK(s.start(send_and_keep(c, stopped_seen))->value == "sent");
    const auto waits = s.start(send_and_keep(c, stopped_seen));
    CHECK(waits->waiting());
    c.close();
    c.close();
    CHECK(c.is_closed());
    s.settle();
    CHECK(waits->value == "kept");
    CHECK(s.start(send_and_keep(c, stopped_seen))->value == "kept");
    auto refused = std::make_unique<std::string>("r");
    CHECK_FALSE(c.try_send(std::move(refused)));
    CHECK(refused != nullptr);
    CHECK_FALSE(stopped_seen);
    CHECK(*s.start(receive(c))->value->value() == "kept");
    const auto end = s.start(receive(c));
    REQUIRE(end->value);
    CHECK_FALSE(end->value->has_value());
    CHECK(c.try_receive() == std::nullopt);
}

TEST_CASE("closing a channel lets its receivers go", "[task]") {
    stage s;
    channel<int> c{2};
    const auto a = s.start(receive(c));
    const auto b = s.start(receive(c));
    c.close();
    CHECK(a->waiting());  // woken, but not yet resumed: never inline
    s.settle();
    REQUIRE(a->value);
    REQUIRE(b->value);
    CHECK_FALSE(a->value->has_value());
    CHECK_FALSE(b->value->has_value());
}

TEST_CASE("a send is stopped before, while and not after it waits", "[task]") {
    stage s;
    channel<std::unique_ptr<std::string>> c{1};
    stop_source asked;
    asked.request_stop();
    bool stopped_seen = false;
    CHECK(s.start(send_and_keep(c, stopped_seen), asked.get_token())->value == "kept");
    CHECK(stopped_seen);  // although there is room
    CHECK(c.size() == 0);

    bool ignored = false;
    REQUIRE(s.start(send_and_keep(c, ignored))->value == "sent");
    stop_source stop;
    stopped_seen = false;
    const auto waits = s.start(send_and_keep(c, stopped_seen), stop.get_token());
    const auto behind = s.start(send_and_keep(c, ignored));
    CHECK(waits->waiting());
    stop.request_stop();
    CHECK(waits->waiting());  // never inline
    s.settle();
    CHECK(waits->value == "kept");
    CHECK(stopped_seen);
    CHECK(behind->waiting());
    CHECK(c.try_receive().has_value());
    s.settle();
    CHECK(behind->value == "sent");

    stop_source late;
    stopped_seen = false;
    const auto served = s.start(send_and_keep(c, stopped_seen), late.get_token());
    CHECK(c.try_receive().has_value());
    late.request_stop();  // it was served, and has not gone on yet
    s.settle();
    CHECK(served->value == "sent");
    CHECK_FALSE(stopped_seen);
    CHECK(c.try_receive().has_value());
}

TEST_CASE("a receive is stopped before, while and not after it waits", "[task]") {
    stage s;
    channel<int> c{2};
    CHECK(c.try_send(1));
    stop_source asked;
    asked.request_stop();
    CHECK(s.start(receive(c), asked.get_token())->stopped);
    CHECK(c.try_receive() == 1);

    stop_source stop;
    const auto waits = s.start(receive(c), stop.get_token());
    const auto behind = s.start(receive(c));
    stop.request_stop();
    s.settle();
    CHECK(waits->stopped);
    CHECK(behind->waiting());
    CHECK(c.try_send(2));
    s.settle();
    CHECK(behind->value->value() == 2);

    stop_source late;
    const auto served = s.start(receive(c), late.get_token());
    CHECK(c.try_send(3));
    late.request_stop();
    s.settle();
    CHECK_FALSE(served->stopped);
    CHECK(served->value->value() == 3);
}

TEST_CASE("a limit around a receive, and the first of two channels", "[task]") {
    stage s;
    channel<int> a{1};
    channel<int> b{1};
    const auto limited = s.start(limited_receive(a));
    CHECK(throws_code(errc::timed_out, [&] {
        limited->rethrow();
        return 0;
    }));
    const auto first = s.start(first_of_two(a, b));
    CHECK(first->waiting());
    CHECK(b.try_send(1));
    s.settle();
    CHECK(first->value == 1u);
    CHECK(a.try_send(5));
    CHECK(a.try_receive() == 5);  // nobody waits at it any more
}

TEST_CASE("values that are left in a channel are destroyed with it", "[task]") {
    const auto counted = std::make_shared<int>(0);
    {
        channel<std::shared_ptr<int>> c{4};
        for (int i = 0; i < 3; ++i) CHECK(c.try_send(counted));
        CHECK(c.try_receive().has_value());
        CHECK(c.try_send(counted));
        CHECK(c.try_send(counted));
        CHECK(counted.use_count() == 5);
        // Made and never awaited: nothing is sent.
        static_cast<void>(c.send(counted));
        static_cast<void>(c.receive());
        CHECK(c.size() == 4);
    }
    CHECK(counted.use_count() == 1);
}

TEST_CASE("destroying a channel at which somebody waits ends the program and says why", "[task]") {
    CHECK_THAT(covey_test::last_words([] {
                   stage s;
                   std::optional<channel<int>> c(std::in_place, 1u);
                   const auto waits = s.start(receive(*c));
                   c.reset();
               }),
               Catch::Contains("covey: a channel was destroyed while coroutines wait at it"));
}

TEST_CASE("a channel between many coroutines on many threads", "[task]") {
    pool threads({.threads = 4});
    const std::size_t each = repeats(20'000, 2'000);
    CHECK(sync_wait(threads, many_to_many(64, 4, 4, each)));
    CHECK(sync_wait(threads, many_to_many(1, 3, 2, each)));
    CHECK(sync_wait(threads, many_to_many(0, 2, 3, each)));
    CHECK(sync_wait(threads, many_to_many(1024, 1, 1, each)));
}

TEST_CASE("stops and closing race with sends and receives", "[task]") {
    pool threads({.threads = 4});
    CHECK(sync_wait(threads, stopped_beside(0, repeats(3'000, 300))));
    CHECK(sync_wait(threads, stopped_beside(2, repeats(3'000, 300))));
    CHECK(sync_wait(threads, closed_beside(repeats(3'000, 300))));
}

}  // namespace covey_test_task_channel
