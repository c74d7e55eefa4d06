#include <covey/task/senders.hpp>

#include <task/stage.hpp>

#include <covey/sched/pool.hpp>
#include <covey/task/event.hpp>
#include <covey/task/scope.hpp>
#include <covey/task/sync_wait.hpp>

#include <memory>
#include <stdexcept>
#include <string>
#include <system_error>
#include <tuple>
#include <type_traits>
#include <vector>

namespace covey_test_task_senders {

using namespace covey;
using covey_test::repeats;
using covey_test::run;
using covey_test::stage;
using covey_test::step_scheduler;
using covey_test::throws_code;

namespace {

// ---- a small library of senders, with tags of its own

struct other_names : sender_names {
    struct sender_tag {};
    struct set_value_t {};
    struct set_error_t {};
    struct set_stopped_t {};
    template <class... S>
    struct completion_signatures {};
};
template <class... S>
using signatures = other_names::completion_signatures<S...>;

/// Completes inside start.
template <class... Values>
struct just {
    using sender_concept = other_names::sender_tag;
    template <class Self, class... Env>
    static consteval auto get_completion_signatures() -> signatures<other_names::set_value_t(Values...)> {
        return {};
    }
    template <class Receiver>
    struct operation {
        operation(std::tuple<Values...> v, Receiver r) : values(std::move(v)), receiver(std::move(r)) {}
        operation(const operation&) = delete;
        operation& operator=(const operation&) = delete;
        void start() noexcept {
            std::apply([this](auto&... v) { std::move(receiver).set_value(std::move(v)...); }, values);
        }
        std::tuple<Values...> values;
        Receiver receiver;
    };
    template <class Receiver>
    operation<Receiver> connect(Receiver r) && {
        return {std::move(values), std::move(r)};
    }
    std::tuple<Values...> values;
};
template <class Error>
struct just_error {
    template <class Self, class... Env>
    static consteval auto get_completion_signatures() -> signatures<other_names::set_value_t(int), other_names::set_error_t(Error)> {
        return {};
    }
    template <class Receiver>
    struct operation {
        void start() noexcept { std::move(receiver).set_error(std::move(e)); }
        Error e;
        Receiver receiver;
    };
    template <class Receiver>
    operation<Receiver> connect(Receiver r) && {
        return {std::move(e), std::move(r)};
    }
    Error e;
};
struct just_stopped {
    template <class Self, class... Env>
    static consteval auto get_completion_signatures() -> signatures<other_names::set_stopped_t()> {
        return {};
    }
    template <class Receiver>
    struct operation {
        void start() noexcept { std::move(receiver).set_stopped(); }
        Receiver receiver;
    };
    template <class Receiver>
    operation<Receiver> connect(Receiver r) && {
        return {std::move(r)};
    }
};
/// Completes with 1 when it is told to, on the teller's thread, or stopped when its receiver's environment says so.
struct told {
    struct slot {
        virtual void tell() noexcept = 0;
        bool destroyed = false;

    protected:
        ~slot() = default;
    };
    template <class Self, class... Env>
    static consteval auto get_completion_signatures() -> signatures<other_names::set_value_t(int), other_names::set_stopped_t()> {
        return {};
    }
    template <class Receiver>
    struct operation final : slot {
        struct on_stop {
            operation* self;
            void operator()() const noexcept { std::move(self->receiver).set_stopped(); }
        };
        using token = decltype(std::declval<Receiver&>().get_env().query(sender_names::get_stop_token_t{}));
        using callback = typename token::template callback_type<on_stop>;

        operation(slot*& w, Receiver r) : where(w), receiver(std::move(r)) {}
        ~operation() { where = nullptr; }
        void start() noexcept {
            where = this;
            stop.emplace(receiver.get_env().query(sender_names::get_stop_token_t{}), on_stop{this});
        }
        void tell() noexcept override {
            stop.reset();
            std::move(receiver).set_value(1);
        }
        slot*& where;
        Receiver receiver;
        std::optional<callback> stop;
    };
    template <class Receiver>
    operation<Receiver> connect(Receiver r) && {
        return {where, std::move(r)};
    }
    slot*& where;
};

template <class Sender>
auto await(Sender sender) -> task<decltype(as_awaitable<other_names>(std::declval<Sender>()).await_resume())> {
    co_return co_await as_awaitable<other_names>(std::move(sender));
}
task<std::string> await_several() {
    just<std::string, int> both{{std::string(40, 's'), 5}};
    const auto values = co_await as_awaitable<other_names>(std::move(both));
    static_assert(std::is_same_v<decltype(values), const std::tuple<std::string, int>>);
    co_await as_awaitable<other_names>(just<>{});
    const long named = co_await as_awaitable<other_names, long>(just<int>{{2}});
    co_return std::get<0>(values).substr(0, 2) + std::to_string(std::get<1>(values) + named);
}

// ---- receivers for tasks

template <class T>
struct record {
    std::optional<detail::value_or_monostate<T>> value;
    std::exception_ptr error;
    int stopped = 0;
    int completions = 0;
};
template <class T, class Env>
struct recorder {
    using receiver_concept = sender_names::receiver_tag;
    template <class... V>
    void set_value(V&&... v) && noexcept {
        to->value.emplace(std::forward<V>(v)...);
        ++to->completions;
    }
    void set_error(std::exception_ptr e) && noexcept {
        to->error = std::move(e);
        ++to->completions;
    }
    void set_stopped() && noexcept {
        ++to->stopped;
        ++to->completions;
    }
    Env get_env() const noexcept { return env; }
    record<T>* to;
    Env env;
};
template <class T>
struct bare_recorder {
    template <class... V>
    void set_value(V&&...) && noexcept {
        ++to->completions;
    }
    void set_error(std::exception_ptr e) && noexcept { to->error = std::move(e); }
    void set_stopped() && noexcept { ++to->stopped; }
    record<T>* to;
};
struct our_env {
    stop_token stop;
    scheduler* on;
    stop_token query(sender_names::get_stop_token_t) const noexcept { return stop; }
    scheduler* query(sender_names::get_scheduler_t) const noexcept { return on; }
};
/// A stop token of another library: not convertible to ours.
struct foreign_token {
    stop_token hidden;
    template <class F>
    struct callback_type {
        callback_type(foreign_token t, F f) : callback(t.hidden, std::move(f)) {}
        stop_callback<F> callback;
    };
};
struct foreign_env {
    stop_token stop;
    foreign_token query(sender_names::get_stop_token_t) const noexcept { return {stop}; }
};

task<int> gives(int n) {
    co_await schedule();
    co_return n;
}
task<void> throws() {
    co_await schedule();
    throw std::runtime_error("from the task");
}
task<void> waits(event& e) { co_await e.wait(); }
task<std::unique_ptr<int>> pointer() { co_return std::make_unique<int>(6); }

/// A receiver that owns its operation, and destroys it when it is told: as the standard's start_detached.
template <class T>
struct self_owner {
    struct receiver {
        self_owner* self;
        template <class... V>
        void set_value(V&&...) && noexcept {
            done();
        }
        void set_error(std::exception_ptr) && noexcept { done(); }
        void set_stopped() && noexcept { done(); }
        void done() noexcept {
            covey_test::events& told = self->ended;
            delete self;
            told.add();
        }
    };
    self_owner(task<T> t, scheduler& on, covey_test::events& e)
        : ended(e), operation(as_sender(std::move(t), on).connect(receiver{this})) {}
    covey_test::events& ended;
    decltype(as_sender(std::declval<task<T>>()).connect(std::declval<receiver>())) operation;
};

task<int> there_and_back(scheduler& on, int n) {
    // The one adapter inside the other: a task, as a sender, awaited.
    co_return co_await as_awaitable(as_sender(gives(n), on));
}
task<long> many(scheduler& own, scheduler& other, std::size_t n) {
    long sum = 0;
    for (std::size_t i = 0; i < n; ++i) {
        sum += co_await there_and_back(other, 1);
        if ((co_await get_context()).scheduler != &own) co_return -1;
    }
    co_return sum;
}

}  // namespace

TEST_CASE("senders are awaited: values, errors and stopped", "[task]") {
    step_scheduler scheduler;
    CHECK(run(scheduler, await(just<int>{{7}})) == 7);
    CHECK(*run(scheduler, await(just<std::unique_ptr<int>>{{std::make_unique<int>(8)}})) == 8);
    CHECK(run(scheduler, await_several()) == "ss7");
    CHECK(throws_code(errc::overloaded, [&] {
        return run(scheduler, await(just_error<std::exception_ptr>{std::make_exception_ptr(error(errc::overloaded))}));
    }));
    CHECK_THROWS_AS(run(scheduler, await(just_error<std::error_code>{make_error_code(errc::overloaded)})), std::system_error);
    CHECK_THROWS_AS(run(scheduler, await(just_error<std::string>{"text"})), std::string);
    CHECK_THROWS_AS(run(scheduler, await(just_stopped{})), stopped);
    CHECK(throws_code(errc::no_peer, [&] { return covey_test::run_without_scheduler(await(just<int>{{7}})); }));
}

TEST_CASE("an awaited sender completes later, and is stopped before, while and not after", "[task]") {
    stage s;
    told::slot* where = nullptr;
    const auto waits_for_it = s.start(await(told{where}));
    REQUIRE(where != nullptr);
    CHECK(waits_for_it->waiting());
    where->tell();
    CHECK(waits_for_it->waiting());  // never inline
    s.settle();
    CHECK(waits_for_it->value == 1);
    CHECK(where == nullptr);  // the operation was destroyed

    stop_source asked;
    asked.request_stop();
    CHECK(s.start(await(told{where}), asked.get_token())->stopped);
    CHECK(where == nullptr);  // it was not even connected

    stop_source stop;
    const auto is_stopped = s.start(await(told{where}), stop.get_token());
    CHECK(is_stopped->waiting());
    stop.request_stop();
    s.settle();
    CHECK(is_stopped->stopped);

    stop_source late;
    const auto served = s.start(await(told{where}), late.get_token());
    where->tell();
    late.request_stop();
    s.settle();
    CHECK(served->value == 1);
    // Made and never awaited: nothing is connected.
    static_cast<void>(as_awaitable<other_names>(told{where}));
    CHECK(where == nullptr);
}

TEST_CASE("a task is a sender", "[task]") {
    step_scheduler scheduler;
    using sender = decltype(as_sender(gives(1)));
    STATIC_REQUIRE(std::is_same_v<sender::sender_concept, sender_names::sender_tag>);
    STATIC_REQUIRE(
        std::is_same_v<sender::completion_signatures,
                       sender_names::completion_signatures<sender_names::set_value_t(int), sender_names::set_error_t(std::exception_ptr),
                                                           sender_names::set_stopped_t()>>);
    STATIC_REQUIRE(
        std::is_same_v<decltype(as_sender<other_names>(throws()))::completion_signatures,
                       signatures<other_names::set_value_t(), other_names::set_error_t(std::exception_ptr), other_names::set_stopped_t()>>);

    record<int> value;
    auto a = as_sender(gives(5), scheduler).connect(recorder<int, detail::empty_env>{&value, {}});
    CHECK(value.completions == 0);
    a.start();
    CHECK(value.completions == 0);  // it runs on its scheduler
    scheduler.run();
    CHECK(value.value == 5);
    CHECK(value.completions == 1);

    record<void> failed;
    auto b = as_sender(throws(), scheduler).connect(recorder<void, detail::empty_env>{&failed, {}});
    b.start();
    scheduler.run();
    REQUIRE(failed.error);
    CHECK_THROWS_AS(std::rethrow_exception(failed.error), std::runtime_error);

    record<std::unique_ptr<int>> moved;
    auto c = as_sender(pointer(), scheduler).connect(recorder<std::unique_ptr<int>, detail::empty_env>{&moved, {}});
    c.start();
    scheduler.run();
    REQUIRE(moved.value);
    CHECK(**moved.value == 6);

    record<int> never;
    {
        const auto d = as_sender(gives(5), scheduler).connect(bare_recorder<int>{&never});
        static_cast<void>(as_sender(gives(6), scheduler));
        static_cast<void>(d);
    }
    scheduler.run();
    CHECK(never.completions == 0);
}

TEST_CASE("a task that is a sender takes scheduler and stop token from the receiver", "[task]") {
    step_scheduler scheduler;
    event e;
    stop_source stop;
    record<void> ours;
    auto a = as_sender(waits(e)).connect(recorder<void, our_env>{&ours, {stop.get_token(), &scheduler}});
    a.start();
    record<void> foreign;
    auto b = as_sender(waits(e), scheduler).connect(recorder<void, foreign_env>{&foreign, {stop.get_token()}});
    b.start();
    stop_source other_stop;
    record<void> set;
    auto c = as_sender(waits(e), scheduler).connect(recorder<void, foreign_env>{&set, {other_stop.get_token()}});
    c.start();
    scheduler.run();
    CHECK(ours.completions + foreign.completions + set.completions == 0);
    stop.request_stop();
    scheduler.run();
    CHECK(ours.stopped == 1);
    CHECK(foreign.stopped == 1);
    CHECK(set.completions == 0);
    e.set();
    other_stop.request_stop();
    scheduler.run();
    CHECK(set.value);
    CHECK(set.completions == 1);

    record<int> nowhere;
    auto d = as_sender(gives(1)).connect(bare_recorder<int>{&nowhere});
    d.start();
    REQUIRE(nowhere.error);
    CHECK(throws_code(errc::no_peer, [&] {
        std::rethrow_exception(nowhere.error);
        return 0;
    }));
}

TEST_CASE("tasks as senders, awaited, on many threads", "[task]") {
    pool own({.threads = 2});
    pool other({.threads = 2});
    const std::size_t n = repeats(10'000, 1'000);
    CHECK(sync_wait(own, many(own, other, n)) == static_cast<long>(n));
    covey_test::events ended;
    for (std::size_t i = 0; i < n; ++i) (new self_owner<int>(gives(1), other, ended))->operation.start();
    CHECK(ended.wait_for(n));
}

}  // namespace covey_test_task_senders
