#include <covey/task/stream.hpp>

#include <task/stage.hpp>

#include <covey/sched/pool.hpp>
#include <covey/task/channel.hpp>
#include <covey/task/schedule.hpp>
#include <covey/task/sync_wait.hpp>
#include <covey/task/timeout.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

namespace covey_test_task_stream {

using namespace covey;
using namespace std::chrono_literals;
using covey_test::repeats;
using covey_test::run;
using covey_test::stage;
using covey_test::step_scheduler;
using covey_test::throws_code;

namespace {

stream<int> numbers(int n) {
    for (int i = 0; i < n; ++i) co_yield i;
}
stream<int> endless() {
    for (int i = 0;; ++i) co_yield i;
}
stream<std::string> words() {
    const std::string named(40, 'n');
    co_yield named;
    co_yield std::string(40, 't');
    std::string moved(40, 'm');
    co_yield std::move(moved);
    co_yield "a literal that is longer than a short string";
}
stream<std::unique_ptr<int>> pointers(int n) {
    for (int i = 0; i < n; ++i) co_yield std::make_unique<int>(i);
}
stream<int> paced(duration d) {
    for (int i = 0; i < 3; ++i) {
        co_await schedule_after(d);
        co_yield i;
    }
    co_await schedule_after(d);
}
stream<int> fails_after(int n) {
    for (int i = 0; i < n; ++i) co_yield i;
    throw std::runtime_error("out of numbers");
}
task<int> doubled(int n) {
    co_await schedule();
    co_return 2 * n;
}
stream<int> with_tasks(stream<int> source) {
    while (auto n = co_await source.next()) co_yield co_await doubled(*n);
}
stream<int> one_more(stream<int> source) {
    while (auto n = co_await source.next()) co_yield *n + 1;
}
[[gnu::noinline]] std::uintptr_t stack_position() { return reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0)); }
stream<int> note_stack(std::uintptr_t& position) {
    for (int i = 0;; ++i) {
        position = stack_position();
        co_yield i;
    }
}
stream<int> received(channel<int>& c) {
    while (auto n = co_await c.receive()) co_yield *n;
}
/// Says at each step which scheduler and stop token it runs under.
stream<const task_context*> contexts() {
    for (;;) {
        const task_context* const own = &co_await get_context();
        co_yield own == detail::running_context() ? own : nullptr;
    }
}

struct alive {
    explicit alive(int& n) : count(n) { ++count; }
    ~alive() { --count; }
    alive(const alive&) = delete;
    alive& operator=(const alive&) = delete;
    int& count;
};
stream<int> with_locals(int& living) {
    const alive a(living);
    co_yield 1;
    const alive b(living);
    co_yield 2;
}

template <class T>
task<std::vector<T>> all_of(stream<T> s) {
    std::vector<T> all;
    while (auto v = co_await s.next()) all.push_back(std::move(*v));
    co_return all;
}
template <class T>
task<std::optional<T>> next_of(stream<T>& s) {
    co_return co_await s.next();
}
task<long> sum_of(stream<int> s) {
    long sum = 0;
    while (auto v = co_await s.next()) sum += *v;
    co_return sum;
}
task<std::string> first_letters(stream<std::string> s) {
    std::string all;
    while (auto w = co_await s.next()) all += w->substr(0, 1);
    co_return all;
}
task<int> to_the_failure(stream<int> s) {
    int seen = 0;
    try {
        while (co_await s.next()) ++seen;
    } catch (const std::runtime_error&) {
        seen += 100;
    }
    if (co_await s.next()) seen += 1000;  // it has ended, and stays ended
    co_return seen;
}
task<bool> ended_for_ever(stream<int> s) {
    while (co_await s.next()) {}
    bool ended = true;
    for (int i = 0; i < 3; ++i) ended = ended && !(co_await s.next()).has_value();
    stream<int> none;
    ended = ended && !(co_await none.next()).has_value();
    stream<int> other = std::move(s);
    ended = ended && !(co_await s.next()).has_value();
    co_return ended && !(co_await other.next()).has_value();
}
task<int> destroyed_at(int steps, int& living) {
    {
        stream<int> s = with_locals(living);
        for (int i = 0; i < steps; ++i) static_cast<void>(co_await s.next());
        if (living != std::min(steps, 2) && steps < 3) co_return -1;
        stream<int> moved = std::move(s);
        s = with_locals(living);  // one that never starts
    }
    co_return living;
}
task<std::optional<int>> next_within(stream<int>& s, duration d) {
    task<std::optional<int>> next = next_of(s);
    co_return co_await timeout(std::move(next), d);
}
task<int> next_twice_at_once(stream<int>& s) {
    const auto first = co_await s.next();
    co_return first.value_or(-1);
}
task<long> sum_over_threads(std::size_t n) {
    long sum = 0;
    stream<int> s = with_tasks(numbers(static_cast<int>(n)));
    while (auto v = co_await s.next()) {
        sum += *v;
        co_await schedule();
    }
    co_return sum;
}

}  // namespace

TEST_CASE("a stream gives its values one by one, and then nothing for ever", "[task]") {
    step_scheduler scheduler;
    CHECK(run(scheduler, all_of(numbers(4))) == std::vector<int>{0, 1, 2, 3});
    CHECK(run(scheduler, all_of(numbers(0))).empty());
    CHECK(run(scheduler, first_letters(words())) == "ntma");
    CHECK(*run(scheduler, all_of(pointers(3)))[2] == 2);
    CHECK(run(scheduler, ended_for_ever(numbers(2))));
    CHECK(run(scheduler, all_of(with_tasks(numbers(4)))) == std::vector<int>{0, 2, 4, 6});
}

TEST_CASE("a stream is paced by its consumer, and waits for what it awaits", "[task]") {
    step_scheduler scheduler;
    CHECK(run(scheduler, all_of(paced(10ms))).size() == 3);
    CHECK(scheduler.elapsed() == 40ms);
    CHECK(covey_test::run_without_scheduler(sum_of(numbers(10))) == 45);
}

TEST_CASE("the exception that ends a stream is thrown to next, once", "[task]") {
    step_scheduler scheduler;
    CHECK(run(scheduler, to_the_failure(fails_after(3))) == 103);
    CHECK(run(scheduler, to_the_failure(fails_after(0))) == 100);
}

TEST_CASE("destroying a stream destroys its body with the locals, wherever it is", "[task]") {
    step_scheduler scheduler;
    int living = 0;
    for (int steps = 0; steps < 5; ++steps) CHECK(run(scheduler, destroyed_at(steps, living)) == 0);
    const stream<int> never_started = with_locals(living);
    CHECK(living == 0);
}

TEST_CASE("the body runs under the context of whoever awaits next", "[task]") {
    step_scheduler scheduler;
    step_scheduler other;
    stream<const task_context*> s = contexts();
    const task_context first = scheduler.context();
    CHECK(run(scheduler, first, next_of(s)).value() == &first);
    const task_context second = other.context();
    CHECK(run(other, second, next_of(s)).value() == &second);
    CHECK(run(scheduler, first, next_of(s)).value() == &first);
}

TEST_CASE("a stop before next, in its body, and after it", "[task]") {
    stage s;
    stop_source asked;
    asked.request_stop();
    stream<int> n = endless();
    CHECK(s.start(next_of(n), asked.get_token())->stopped);
    CHECK(s.start(next_of(n))->value->value() == 0);  // the body stayed where it was
    CHECK(s.start(next_of(n), asked.get_token())->stopped);
    CHECK(s.start(next_of(n))->value->value() == 1);

    channel<int> c{1};
    stream<int> r = received(c);
    stop_source stop;
    const auto waits = s.start(next_of(r), stop.get_token());
    CHECK(waits->waiting());
    stop.request_stop();
    s.settle();
    CHECK(waits->stopped);
    CHECK(c.try_send(1));
    const auto ended = s.start(next_of(r));
    REQUIRE(ended->value);
    CHECK_FALSE(ended->value->has_value());  // `stopped` went through the body and ended it
    CHECK(c.try_receive() == 1);

    stream<int> again = received(c);
    stop_source late;
    const auto served = s.start(next_of(again), late.get_token());
    CHECK(c.try_send(2));
    late.request_stop();
    s.settle();
    CHECK(served->value->value() == 2);
}

TEST_CASE("a limit around next", "[task]") {
    stage s;
    stream<int> slow = paced(10ms);
    const auto in_time = s.start(next_within(slow, 11ms));
    CHECK(in_time->value->value() == 0);
    const auto late = s.start(next_within(slow, 9ms));
    CHECK(throws_code(errc::timed_out, [&] {
        late->rethrow();
        return 0;
    }));
}

TEST_CASE("next while the last next is still awaited is refused", "[task]") {
    stage s;
    channel<int> c{1};
    stream<int> r = received(c);
    const auto first = s.start(next_twice_at_once(r));
    CHECK(first->waiting());
    const auto second = s.start(next_twice_at_once(r));
    CHECK(throws_code(errc::bad_argument, [&] {
        second->rethrow();
        return 0;
    }));
    CHECK(c.try_send(3));
    s.settle();
    CHECK(first->value == 3);
}

TEST_CASE("destroying a stream whose next is awaited ends the program and says why", "[task]") {
    CHECK_THAT(covey_test::last_words([] {
                   stage s;
                   channel<int> c{1};
                   stream<int> r = received(c);
                   const auto waits = s.start(next_of(r));
                   r = {};
               }),
               Catch::Contains("covey: a stream was destroyed while somebody awaits its next()"));
}

TEST_CASE("long streams and deep chains of streams use no stack", "[task]") {
    step_scheduler scheduler;
    const int n = static_cast<int>(repeats(1'000'000, 100'000));
    CHECK(run(scheduler, sum_of(numbers(n))) == static_cast<long>(n) * (n - 1) / 2);
    std::uintptr_t shallow = 0;
    stream<int> one = one_more(note_stack(shallow));
    CHECK(run(scheduler, next_of(one)) == 1);
    std::uintptr_t deep = 0;
    stream<int> chain = note_stack(deep);
    for (int i = 0; i < 2'000; ++i) chain = one_more(std::move(chain));
    CHECK(run(scheduler, next_of(chain)) == 2'000);
    CHECK(run(scheduler, next_of(chain)) == 2'001);
    CHECK((deep < shallow ? shallow - deep : deep - shallow) < 16 * 1024);
}

TEST_CASE("a stream whose body changes threads", "[task]") {
    pool threads({.threads = 4});
    const std::size_t n = repeats(50'000, 5'000);
    CHECK(sync_wait(threads, sum_over_threads(n)) == static_cast<long>(n * (n - 1)));
}

}  // namespace covey_test_task_stream
