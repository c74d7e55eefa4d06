// Calls between whole peers over real sockets: what can be called, what comes back, how calls end early.
#include <covey/call/remote.hpp>

#include <covey/sched/pool.hpp>
#include <covey/task/scope.hpp>
#include <covey/task/timeout.hpp>
#include <covey/task/when_all.hpp>
#include <covey/task/when_any.hpp>

#include <call/support.hpp>

#include <atomic>
#include <cstdlib>
#include <map>
#include <numeric>
#include <set>
#include <stdexcept>
#include <thread>

namespace covey_test_remote {

using namespace covey;
using namespace covey_test_call;
using namespace std::chrono_literals;

// ---- what the peers run

int add(int a, int b) { return a + b; }
int half(int n) noexcept { return n / 2; }
int overloaded(int n) { return n; }
int overloaded(const std::string& text) { return static_cast<int>(text.size()); }
task<std::string> greet(std::string name) {
    co_await schedule();
    co_return "hello " + name;
}

counter notes;
void note(int n) { notes.add(n); }
task<void> note_later(int n) {
    co_await schedule();
    notes.add(n);
}

/// Takes its time to be encoded, and then cannot be.
struct refusing {
    static inline std::atomic<bool> encoding{false};
    static inline std::atomic<bool> go_on{false};
    template <class Archive>
    void save(Archive&) const {
        encoding = true;
        // Until the other caller has gone on, and a little longer, for it to come to wait.
        while (!go_on) std::this_thread::yield();
        for (int i = 0; i < 20; ++i) std::this_thread::yield();
        throw std::runtime_error("this does not travel");
    }
    template <class Archive>
    void load(Archive&) {}
};
void takes_refusing(refusing) {}

std::unique_ptr<int> boxed(int n) { return std::make_unique<int>(n); }
int unboxed(std::unique_ptr<int> n) { return *n; }

struct place {
    int x = 0;
    int y = 0;
    std::string label;
    std::vector<double> weights;
};
place shifted(place p, int by) {
    p.x += by;
    p.weights.push_back(by);
    return p;
}

std::uint64_t where(context& ctx) { return ctx.self().value; }
task<std::uint64_t> who_asks(context& ctx, int) {
    co_await schedule();
    co_return ctx.caller().value;
}

// Without an expose line: called by name only.
int by_fn(int n) { return n + 1000; }
int never_exposed(int n) { return n; }

struct picky_error : std::exception {
    const char* what() const noexcept override { return "too salty"; }
};
int fails(int how) {
    if (how == 0) throw std::out_of_range("index 7 of 3");
    if (how == 1) throw picky_error();
    if (how == 2) throw 42;
    if (how == 3) throw error(errc::overloaded, "the kitchen is closed");
    return how;
}
task<int> fails_later(int how) {
    co_await schedule();
    co_return fails(how);
}

counter waiting;
counter woken;
/// Waits until it is asked to stop.
task<int> patient(int n) {
    waiting.add();
    try {
        co_await schedule_after(24h);
    } catch (const stopped&) {
        woken.add();
        throw;
    }
    co_return n;
}

/// Milliseconds left; -1: no deadline.
std::int64_t deadline_left(context& ctx) {
    if (ctx.deadline() == never) return -1;
    return -2;
}
task<std::vector<std::int64_t>> deadlines(context& ctx, int hops) {
    const task_context& here = co_await get_context();
    std::vector<std::int64_t> left{
        here.deadline == never || ctx.deadline() != here.deadline
            ? -1
            : std::chrono::duration_cast<std::chrono::milliseconds>(here.deadline - here.scheduler->now()).count()};
    if (hops > 0) {
        for (const std::int64_t l : co_await remote(on(ctx.caller()), fn<deadlines>, hops - 1)) left.push_back(l);
    }
    co_return left;
}
task<int> patient_by_proxy(context& ctx, int n) { co_return co_await remote(on(ctx.caller()), fn<patient>, n); }

task<int> bounce(context& ctx, int depth) {
    if (depth == 0) co_return 0;
    co_return 1 + co_await remote(on(ctx.caller()), fn<bounce>, depth - 1);
}

std::string blob(std::uint32_t bytes) { return std::string(std::min(bytes, 1u << 24), 'b'); }
std::uint64_t weigh(const std::string& text) { return text.size(); }

struct grumpy {
    int n = 0;
    template <class Archive>
    void save(Archive& ar) const {
        ar(n);
    }
    template <class Archive>
    void load(Archive& ar) {
        ar(n);
        if (n == 13) throw std::runtime_error("I do not load a 13");
    }
};
int take_grumpy(grumpy g) { return g.n; }

counter served;
task<int> crowded(int n) {
    served.add();
    co_await schedule_after(1ms);
    served.add(-1);
    co_return n;
}

/// Runs `f` of a peer as a coroutine there.
template <class F>
auto on_peer(peer& p, F f) {
    return p.run(f(p));
}

}  // namespace covey_test_remote

template struct covey::expose<covey_test_remote::takes_refusing>;
template struct covey::expose<covey_test_remote::add>;
template struct covey::expose<covey_test_remote::half>;
template struct covey::expose<covey_test_remote::greet>;
template struct covey::expose<covey_test_remote::note>;
template struct covey::expose<covey_test_remote::note_later>;
template struct covey::expose<covey_test_remote::boxed>;
template struct covey::expose<covey_test_remote::unboxed>;
template struct covey::expose<covey_test_remote::shifted>;
template struct covey::expose<covey_test_remote::where>;
template struct covey::expose<covey_test_remote::who_asks>;
template struct covey::expose<covey_test_remote::fails>;
template struct covey::expose<covey_test_remote::fails_later>;
template struct covey::expose<covey_test_remote::patient>;
template struct covey::expose<covey_test_remote::blob>;
template struct covey::expose<covey_test_remote::weigh>;
template struct covey::expose<covey_test_remote::take_grumpy>;
template struct covey::expose<covey_test_remote::crowded>;

namespace covey_test_remote {

TEST_CASE("functions of all kinds run on another peer and on one's own", "[call][remote]") {
    group peers(2);
    peer& a = peers[0];
    const peer_id target = peers.id(GENERATE(0u, 1u));
    INFO("own peer: " << (target == a.id()));

    CHECK(a.run(a.remote(on(target), add, 20, 22)) == 42);
    CHECK(a.run(a.remote(on(target), half, 14)) == 7);
    CHECK(a.run(a.remote(on(target), fn<half>, 14)) == 7);
    CHECK(a.run(a.remote(on(target), greet, "world")) == "hello world");  // a const char* becomes the parameter's type
    CHECK(a.run(a.remote(on(target), add, 20.9, static_cast<unsigned char>(2))) == 22);
    CHECK(a.run(a.remote(on(target), fn<by_fn>, 1)) == 1001);
    CHECK(a.run(a.remote(on(target), fn<static_cast<int (*)(int)>(overloaded)>, 5)) == 5);
    CHECK(a.run(a.remote(on(target), fn<static_cast<int (*)(const std::string&)>(overloaded)>, "five!")) == 5);

    notes.reset();
    a.run(a.remote(on(target), note, 3));
    a.run(a.remote(on(target), note_later, 4));
    CHECK(notes.value() == 7);

    const std::unique_ptr<int> box = a.run(a.remote(on(target), boxed, 9));
    REQUIRE(box);
    CHECK(*box == 9);
    const place p = a.run(a.remote(on(target), shifted, place{1, 2, "here", {0.5}}, 10));
    CHECK(p.x == 11);
    CHECK(p.y == 2);
    CHECK(p.label == "here");
    CHECK(p.weights == std::vector<double>{0.5, 10});
    CHECK(a.run(a.remote(on(target), weigh, std::string(3'000'000, 'x'))) == 3'000'000);

    CHECK(a.run(a.remote(on(target), where)) == target.value);
    CHECK(a.run(a.remote(on(target), who_asks, 0)) == a.id().value);
}

TEST_CASE("lambdas run on another peer of the same build", "[call][remote]") {
    group peers(2);
    peer& a = peers[0];
    const peer_id target = peers.id(GENERATE(0u, 1u));
    int factor = 6;
    double offset = 0.5;

    CHECK(a.run(a.remote(on(target), [](int n) { return n * 7; }, 6)) == 42);
    CHECK(a.run(a.remote(on(target), [factor](int n) { return n * factor; }, 7)) == 42);
    CHECK(a.run(a.remote(on(target), [factor, offset] { return factor + offset; })) == 6.5);
    CHECK(a.run(a.remote(
              on(target), [](auto x, auto y) { return x + static_cast<decltype(x)>(y); }, std::string("ab"), std::string("cd"))) == "abcd");
    CHECK(a.run(a.remote(on(target), [](auto x, auto y) { return x * y; }, 6, 7)) == 42);
    CHECK(a.run(a.remote(
              on(target), [](context& ctx, int n) { return ctx.self().value + static_cast<std::uint64_t>(n); }, 1)) == target.value + 1);
    CHECK(a.run(a.remote(
              on(target),
              [](int n) -> task<int> {
                  co_await schedule();
                  co_return n + 1;
              },
              1)) == 2);
    notes.reset();
    a.run(a.remote(on(target), [] { notes.add(5); }));
    CHECK(notes.value() == 5);
}

TEST_CASE("a call without a target goes to every peer in turn", "[call][remote]") {
    group peers(3);
    const std::map<std::uint64_t, int> shares = on_peer(peers[0], [](peer&) -> task<std::map<std::uint64_t, int>> {
        std::vector<task<std::uint64_t>> calls;
        for (int i = 0; i < 60; ++i) calls.push_back(remote(where));
        std::map<std::uint64_t, int> result;
        for (const std::uint64_t id : co_await when_all(std::move(calls))) ++result[id];
        co_return result;
    });
    // How even they are depends on who answers fast; that nobody is left out does not.
    CHECK(shares.size() == 3);
    int sum = 0;
    for (const auto& [id, n] : shares) sum += n;
    CHECK(sum == 60);
}

TEST_CASE("what cannot be called says what to write", "[call][remote]") {
    group peers(2);
    peer& a = peers[0];
    std::string text;
    try {
        a.run(a.remote(never_exposed, 1));
    } catch (const error& e) {
        CHECK(e.code() == errc::unknown_function);
        text = e.what();
    }
    CHECK_THAT(text, Catch::Contains("int (int)") && Catch::Contains("template struct covey::expose<"));

    const peer_id nobody{0x1234567890abcdef};
    const outcome unknown = outcome_of(a, remote(on(nobody), add, 1, 2));
    CHECK(unknown.code == errc::unknown_peer);
    CHECK(unknown.peer == nobody);
    CHECK_THAT(unknown.text, Catch::Contains("1234567890abcdef") && Catch::Contains("not a member"));

    pool elsewhere(pool_options{.threads = 1});
    try {
        sync_wait(elsewhere, remote(add, 1, 2));
        FAIL("it ran without a peer");
    } catch (const error& e) {
        CHECK(e.code() == errc::no_peer);
        CHECK_THAT(e.what(), Catch::Contains("covey::run"));
    }
}

TEST_CASE("exceptions arrive with their type and text, the same from everywhere", "[call][remote]") {
    group peers(2);
    peer& a = peers[0];
    const std::size_t which = GENERATE(0u, 1u);
    const bool later = GENERATE(false, true);
    const peer_id target = peers.id(which);
    const auto attempt = [&](int how) {
        return outcome_of(a, later ? remote(on(target), fails_later, how) : remote(on(target), fails, how));
    };

    const outcome range = attempt(0);
    CHECK(range.type == "std::out_of_range");
    CHECK(range.message == "index 7 of 3");
    CHECK(range.peer == target);
    CHECK(range.text == "peer " + to_string(target) + ": std::out_of_range: index 7 of 3");
    CHECK(attempt(1).type == "covey_test_remote::picky_error");
    CHECK(attempt(1).message == "too salty");
    CHECK(attempt(2).type == "int");
    CHECK(attempt(2).message == "(not a std::exception)");
    // An error of the function's own is no error of the call: it is not retried, and its code is not taken for ours.
    const outcome own = attempt(3);
    CHECK(own.type == "covey::error");
    CHECK_THAT(own.message, Catch::Contains("the kitchen is closed"));
    CHECK(attempt(4).ended);
}

TEST_CASE("a deadline ends a call, and the function there", "[call][remote]") {
    group peers(2);
    peer& a = peers[0];
    const std::size_t which = GENERATE(0u, 1u);
    waiting.reset();
    woken.reset();
    const auto begin = std::chrono::steady_clock::now();
    const outcome late = outcome_of(a, remote(on(peers.id(which), {.deadline = 100ms}), patient, 1));
    CHECK(late.code == errc::timed_out);
    CHECK(std::chrono::steady_clock::now() - begin >= 100ms);
    CHECK(std::chrono::steady_clock::now() - begin < 30s);
    CHECK(woken.reaches(waiting.value()));
    if (which == 1) CHECK_THAT(late.text, Catch::Contains("patient") && Catch::Contains("(p1)"));

    // The deadline of the coroutine around it counts just so.
    waiting.reset();
    woken.reset();
    const outcome around = outcome_of(a, timeout(remote(on(peers.id(which)), patient, 1), 100ms));
    CHECK(around.code == errc::timed_out);
    CHECK(woken.reaches(waiting.value()));
    CHECK(a.run(a.remote(on(peers.id(which), {.deadline = 60s}), add, 1, 2)) == 3);
}

TEST_CASE("a deadline travels with nested calls", "[call][remote]") {
    group peers(2);
    peer& a = peers[0];
    const peer_id b = peers.id(1);
    CHECK(a.run(a.remote(on(b), fn<deadline_left>)) == -1);
    CHECK(a.run(a.remote(on(b, {.deadline = 40s}), fn<deadline_left>)) == -2);

    const std::vector<std::int64_t> left = a.run(a.remote(on(b, {.deadline = 40s}), fn<deadlines>, 3));
    REQUIRE(left.size() == 4);
    for (std::size_t i = 0; i < left.size(); ++i) {
        CHECK(left[i] > 0);
        CHECK(left[i] <= (i == 0 ? 40'000 : left[i - 1]));
    }

    waiting.reset();
    woken.reset();
    const outcome late = outcome_of(a, remote(on(b, {.deadline = 300ms}), fn<patient_by_proxy>, 1));
    CHECK(late.code == errc::timed_out);
    CHECK(woken.reaches(waiting.value()));
}

TEST_CASE("cancelling the await stops the function there", "[call][remote]") {
    group peers(2);
    peer& a = peers[0];
    const peer_id b = peers.id(1);
    SECTION("the loser of a when_any") {
        waiting.reset();
        woken.reset();
        const int first = on_peer(a, [b](peer&) {
            return [](peer_id to) -> task<int> {
                // The fast one begins when the slow one is there, so that there is something to cancel.
                const auto result = co_await when_any(remote(on(to), patient, 1), remote(on(to), []() -> task<int> {
                                                          while (waiting.value() == 0) co_await schedule_after(1ms);
                                                          co_return 2;
                                                      }));
                co_return static_cast<int>(result.index());
            }(b);
        });
        CHECK(first == 1);
        CHECK(woken.reaches(1));
    }
    SECTION("a scope that is stopped") {
        waiting.reset();
        woken.reset();
        on_peer(a, [b](peer&) {
            return [](peer_id to) -> task<void> {
                scope s;
                for (int i = 0; i < 8; ++i) s.spawn(remote(on(to), patient, i));
                co_await remote(on(to), [] {});  // behind them on the same link
                s.request_stop();
                co_await s.join();
            }(b);
        });
        CHECK(woken.reaches(waiting.value()));
    }
    SECTION("a whole peer that is asked to stop") {
        waiting.reset();
        woken.reset();
        std::thread stopper([&a] {
            waiting.reaches(1);
            a.request_stop();
        });
        const outcome o = outcome_of(a, remote(on(b), patient, 1));
        stopper.join();
        CHECK(o.stopped);
        CHECK(woken.reaches(1));
    }
}

TEST_CASE("arguments and results that do not travel fail their call and nothing else", "[call][remote]") {
    peer_config config;
    config.links.body_bytes_max = 64 * 1024;
    group peers(2, config);
    peer& a = peers[0];
    const peer_id b = peers.id(1);
    const auto link_is_well = [&] { return a.run(a.remote(on(b), add, 1, 1)) == 2; };

    const outcome large_argument = outcome_of(a, remote(on(b), weigh, std::string(70'000, 'x')));
    CHECK(large_argument.code == errc::message_too_large);
    CHECK_THAT(large_argument.text, Catch::Contains("65536") && Catch::Contains("body_bytes_max"));
    CHECK(link_is_well());
    CHECK(a.run(a.remote(on(b), weigh, std::string(60'000, 'x'))) == 60'000);

    const outcome large_result = outcome_of(a, remote(on(b), blob, 70'000));
    CHECK(large_result.code == errc::message_too_large);
    CHECK_THAT(large_result.text, Catch::Contains("65536"));
    CHECK(link_is_well());
    CHECK(a.run(a.remote(on(b), blob, 60'000)).size() == 60'000);

    const outcome unloadable = outcome_of(a, remote(on(b), take_grumpy, grumpy{13}));
    CHECK(unloadable.code == errc::bad_message);
    CHECK(unloadable.peer == b);
    CHECK_THAT(unloadable.text, Catch::Contains("I do not load a 13") && Catch::Contains("grumpy"));
    CHECK(link_is_well());
    CHECK(a.run(a.remote(on(b), take_grumpy, grumpy{12})) == 12);

    const outcome no_box = outcome_of(a, remote(on(b), [](grumpy g) { return g; }, grumpy{13}));
    CHECK(no_box.code == errc::bad_message);
    // And when it is the result that does not load.
    const outcome bad_result = outcome_of(a, remote(on(b), [](int n) { return grumpy{n}; }, 13));
    CHECK(bad_result.code == errc::bad_message);
    CHECK(link_is_well());
}

TEST_CASE("thousands of calls pass through a small credit", "[call][remote]") {
    peer_config config;
    config.call_credit = 16;
    group peers(2, config);
    constexpr int count = 2000;
    served.reset();
    const int right = on_peer(peers[0], [b = peers.id(1)](peer&) {
        return [](peer_id to) -> task<int> {
            std::vector<task<int>> calls;
            for (int i = 0; i < count; ++i) calls.push_back(remote(on(to), crowded, i));
            const std::vector<int> results = co_await when_all(std::move(calls));
            int good = 0;
            for (int i = 0; i < count; ++i) good += results[static_cast<std::size_t>(i)] == i;
            co_return good;
        }(b);
    });
    CHECK(right == count);
    CHECK(served.most() <= 16);
    CHECK(served.most() > 1);
}

TEST_CASE("cancelled calls keep their slots until they are answered", "[call][remote]") {
    peer_config config;
    config.call_credit = 4;
    group peers(2, config);
    waiting.reset();
    woken.reset();
    for (int i = 0; i < 20; ++i)
        CHECK(outcome_of(peers[0], remote(on(peers.id(1), {.deadline = 2ms}), patient, i)).code == errc::timed_out);
    CHECK(woken.reaches(waiting.value()));
    CHECK(peers[0].run(peers[0].remote(on(peers.id(1)), add, 2, 2)) == 4);
}

TEST_CASE("calls that have warmed up allocate nothing", "[call][remote]") {
    // A program of its own, which counts what goes to the heap, on both sides.
    REQUIRE(std::system(COVEY_BIN_DIR "/call_allocations") == 0);
}

TEST_CASE("a call that cannot be sent leaves its slot to who waits for it", "[call][remote]") {
    peer_config config;
    config.call_credit = 1;
    group peers(1, config);
    config.threads = 2;
    config.join = {to_string(peers[0].address())};
    peer caller(config);
    caller.run(caller.wait_for_members(2, patience));
    const auto refused = [](peer_id to) -> task<bool> {
        try {
            co_await remote(on(to), takes_refusing, refusing{});
        } catch (const error& e) {
            co_return e.code() == errc::bad_argument;
        }
        co_return false;
    };
    const auto next_in_line = [](peer_id to) -> task<bool> {
        while (!refusing::encoding) co_await schedule();
        refusing::go_on = true;
        co_return co_await remote(on(to), add, 1, 2) == 3;
    };
    for (int i = 0; i < 200; ++i) {
        refusing::encoding = refusing::go_on = false;
        const auto both = [&](peer_id to) -> task<bool> {
            const auto [a, b] = co_await when_all(refused(to), next_in_line(to));
            const bool good = a && b;
            co_return good;
        };
        REQUIRE(caller.run(timeout(both(peers.id(0)), patience)));
    }
    caller.close();
}

TEST_CASE("calls are given up while they are sent, served and answered", "[call][remote]") {
    group peers(2);
    const auto caller = [](peer_id to, int n) -> task<int> {
        int over = 0;
        for (int i = 0; i < n; ++i) {
            // Deadlines from far too short to long enough: some end while the call is being sent, some while its answer is read.
            const duration limit = std::chrono::microseconds(1 + 7 * (i % 40));
            try {
                const int back = co_await remote(on(to, {.deadline = limit}), add, i, 1);
                if (back != i + 1) throw std::runtime_error("a wrong answer");
            } catch (const error& e) {
                if (e.code() != errc::timed_out) throw;
                ++over;
            }
        }
        co_return over;
    };
    const auto callers = [&caller](peer_id to) -> task<int> {
        std::vector<task<int>> all;
        for (int i = 0; i < 16; ++i) all.push_back(caller(to, 300));
        const std::vector<int> over = co_await when_all(std::move(all));
        co_return std::accumulate(over.begin(), over.end(), 0);
    };
    CHECK(peers[0].run(callers(peers.id(1))) > 0);
    // Nothing of them is left.
    CHECK(peers[0].run(remote(on(peers.id(1)), add, 1, 2)) == 3);
    CHECK(peers[1].drain(patience));
}

TEST_CASE("peers call each other back", "[call][remote]") {
    peer_config config;
    config.call_credit = 64;
    group peers(2, config);
    CHECK(peers[0].run(peers[0].remote(on(peers.id(1)), fn<bounce>, 3)) == 3);
    CHECK(peers[0].run(peers[0].remote(on(peers.id(1)), fn<bounce>, 40)) == 40);
    CHECK(peers[0].run(peers[0].remote(on(peers.id(0)), fn<bounce>, 5)) == 5);
}

TEST_CASE("calls to a peer that ends fail at once", "[call][remote]") {
    group peers(3);
    waiting.reset();
    woken.reset();
    outcome o;
    std::thread caller([&] { o = outcome_of(peers[0], remote(on(peers.id(1)), patient, 1)); });
    CHECK(waiting.reaches(1));
    const auto begin = std::chrono::steady_clock::now();
    SECTION("closed without a word") { peers[1].close(); }
    SECTION("left and destroyed") { peers.destroy(1); }
    caller.join();
    CHECK(std::chrono::steady_clock::now() - begin < 20s);
    CHECK_FALSE(o.ended);
    CHECK_FALSE(o.stopped);
    INFO(o.text);
    CHECK((o.code == errc::peer_lost || o.code == errc::link_lost));
    CHECK(woken.reaches(1));
    CHECK(peers[0].run(peers[0].remote(on(peers.id(2)), add, 1, 2)) == 3);
}

TEST_CASE("closing the caller's own peer ends its calls", "[call][remote]") {
    group peers(2);
    waiting.reset();
    woken.reset();
    outcome o;
    std::thread caller([&] { o = outcome_of(peers[0], remote(on(peers.id(1)), patient, 1)); });
    CHECK(waiting.reaches(1));
    peers[0].close();
    caller.join();
    CHECK_FALSE(o.ended);
    CHECK((o.stopped || o.code == errc::shut_down));
    CHECK(woken.reaches(1));
}

TEST_CASE("retries on a peer that is gone end", "[call][remote]") {
    group peers(2);
    waiting.reset();
    woken.reset();
    std::uint64_t ran_on = 0;
    std::thread caller([&] {
        ran_on = on_peer(peers[0], [b = peers.id(1)](peer&) {
            return [](peer_id to) -> task<std::uint64_t> {
                bool lost = false;
                try {
                    static_cast<void>(co_await remote(on(to, {.retries = 2}), patient, 1));
                } catch (const error& e) {
                    lost = e.code() == errc::unknown_peer || e.code() == errc::unreachable || e.code() == errc::peer_lost ||
                           e.code() == errc::link_lost;
                }
                co_return lost ? co_await remote(where) : 0;
            }(b);
        });
    });
    CHECK(waiting.reaches(1));
    peers[1].close();
    caller.join();
    CHECK(ran_on == peers.id(0).value);
}

}  // namespace covey_test_remote
