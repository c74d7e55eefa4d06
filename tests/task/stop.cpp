#include <covey/task/stop.hpp>

#include <task/support.hpp>

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

namespace covey_test_task_stop {

using namespace covey;
using covey_test::repeats;

TEST_CASE("a token tells whether its source was asked, an empty one never", "[task]") {
    stop_source source;
    const stop_token token = source.get_token();
    CHECK(token.stop_possible());
    CHECK_FALSE(token.stop_requested());
    CHECK(source.request_stop());
    CHECK_FALSE(source.request_stop());
    CHECK(token.stop_requested());
    CHECK(source.stop_requested());
    CHECK(token == source.get_token());

    const stop_token none;
    CHECK_FALSE(none.stop_possible());
    CHECK_FALSE(none.stop_requested());
    CHECK_FALSE(none == token);
}

TEST_CASE("a callback runs once, at the request or at once in the constructor", "[task]") {
    stop_source source;
    int calls = 0;
    const auto count = [&calls] { ++calls; };
    stop_callback first(source.get_token(), count);
    { stop_callback gone(source.get_token(), count); }
    CHECK(calls == 0);
    source.request_stop();
    CHECK(calls == 1);
    source.request_stop();
    CHECK(calls == 1);
    stop_callback late(source.get_token(), count);
    CHECK(calls == 2);
    stop_callback never_called(stop_token{}, count);
    CHECK(calls == 2);
}

TEST_CASE("callbacks can be taken out at any place of the list", "[task]") {
    for (unsigned removed = 0; removed < 16; ++removed) {
        stop_source source;
        int calls[4] = {};
        struct add_one {
            int* at;
            void operator()() const noexcept { ++*at; }
        };
        std::optional<stop_callback<add_one>> callbacks[4];
        for (int i = 0; i < 4; ++i) callbacks[i].emplace(source.get_token(), add_one{&calls[i]});
        for (unsigned i = 0; i < 4; ++i) {
            if (removed & (1u << i)) callbacks[i].reset();
        }
        source.request_stop();
        for (unsigned i = 0; i < 4; ++i) CHECK(calls[i] == ((removed & (1u << i)) ? 0 : 1));
    }
}

TEST_CASE("a callback may destroy itself and others, and may register new ones", "[task]") {
    stop_source source;
    struct action {
        std::function<void()>* f;
        void operator()() const { (*f)(); }
    };
    std::optional<stop_callback<action>> self;
    std::optional<stop_callback<action>> other;
    std::optional<stop_callback<action>> fresh;
    int selves = 0;
    int others = 0;
    int freshes = 0;
    std::function<void()> on_fresh = [&] { ++freshes; };
    std::function<void()> on_other = [&] { ++others; };
    std::function<void()> on_self = [&] {
        ++selves;
        fresh.emplace(source.get_token(), action{&on_fresh});
        other.reset();
        self.reset();
    };
    other.emplace(source.get_token(), action{&on_other});
    self.emplace(source.get_token(), action{&on_self});  // the newest runs first
    source.request_stop();
    CHECK(selves == 1);
    CHECK(others == 0);
    CHECK(freshes == 1);
    CHECK_FALSE(self.has_value());
}

TEST_CASE("a callback that has run is destroyed later on the thread that asked", "[task]") {
    stop_source source;
    int calls = 0;
    {
        stop_callback callback(source.get_token(), [&] { ++calls; });
        source.request_stop();
    }
    CHECK(calls == 1);
}

TEST_CASE("the destructor of a callback waits for it on another thread", "[task]") {
    for (std::size_t round = 0; round < repeats(200, 50); ++round) {
        stop_source source;
        std::atomic<bool> entered{false};
        std::atomic<bool> destroying{false};
        std::atomic<bool> left{false};
        struct action {
            std::atomic<bool>* in;
            std::atomic<bool>* seen;
            std::atomic<bool>* out;
            void operator()() const {
                in->store(true);
                while (!seen->load()) std::this_thread::yield();
                for (int i = 0; i < 100; ++i) std::this_thread::yield();
                out->store(true);
            }
        };
        std::optional<stop_callback<action>> callback;
        callback.emplace(source.get_token(), action{&entered, &destroying, &left});
        std::thread asker([&] { source.request_stop(); });
        REQUIRE(covey_test::wait_until([&] { return entered.load(); }));
        destroying = true;
        callback.reset();
        const bool had_left = left;
        asker.join();
        REQUIRE(had_left);
    }
}

TEST_CASE("a source follows its parent, and not the other way round", "[task]") {
    stop_source top;
    stop_source middle(top.get_token());
    stop_source bottom(middle.get_token());
    int calls = 0;
    stop_callback callback(bottom.get_token(), [&] { ++calls; });
    SECTION("from the top") {
        top.request_stop();
        CHECK(calls == 1);
        CHECK(middle.get_token().stop_requested());
        CHECK(bottom.get_token().stop_requested());
        middle.request_stop();
        bottom.request_stop();
        CHECK(calls == 1);
    }
    SECTION("from below") {
        bottom.request_stop();
        CHECK(calls == 1);
        CHECK_FALSE(middle.stop_requested());
        CHECK_FALSE(top.stop_requested());
        top.request_stop();
        CHECK(calls == 1);
    }
    SECTION("a source made after the request is stopped from the start") {
        top.request_stop();
        stop_source late(bottom.get_token());
        CHECK(late.stop_requested());
        int late_calls = 0;
        stop_callback late_callback(late.get_token(), [&] { ++late_calls; });
        CHECK(late_calls == 1);
    }
    SECTION("a destroyed child is forgotten") {
        auto child = std::make_unique<stop_source>(top.get_token());
        {
            stop_callback registered(child->get_token(), [&] { ++calls; });
        }
        child.reset();
        top.request_stop();
        CHECK(calls == 1);
    }
}

TEST_CASE("a long chain of sources hands a request down", "[task]") {
    std::vector<std::unique_ptr<stop_source>> chain;
    chain.push_back(std::make_unique<stop_source>());
    for (int i = 0; i < 200; ++i) chain.push_back(std::make_unique<stop_source>(chain.back()->get_token()));
    int calls = 0;
    {
        stop_callback callback(chain.back()->get_token(), [&] { ++calls; });
        chain.front()->request_stop();
    }
    CHECK(calls == 1);
    while (!chain.empty()) chain.pop_back();
}

TEST_CASE("callbacks come and go on many threads while others ask to stop", "[task]") {
    constexpr int registering = 3;
    for (std::size_t round = 0; round < repeats(400, 60); ++round) {
        stop_source top;
        stop_source source(top.get_token());
        std::atomic<int> calls{0};
        std::atomic<int> first_requests{0};
        std::atomic<int> kept_called{0};
        std::atomic<int> ready{0};
        std::vector<std::thread> threads;
        const auto meet = [&] {
            ++ready;
            while (ready.load() < registering + 2) std::this_thread::yield();
        };
        for (int t = 0; t < registering; ++t) {
            threads.emplace_back([&] {
                meet();
                for (int i = 0; i < 20; ++i) {
                    stop_callback brief(source.get_token(), [&] { ++calls; });
                }
                std::atomic<int> mine{0};
                {
                    stop_callback kept(source.get_token(), [&] { ++mine; });
                    while (mine.load() == 0) std::this_thread::yield();
                }
                kept_called += mine.load();
            });
        }
        for (int t = 0; t < 2; ++t) {
            threads.emplace_back([&, t] {
                meet();
                if ((t == 0 ? top : source).request_stop()) ++first_requests;
            });
        }
        for (auto& thread : threads) thread.join();
        REQUIRE(kept_called.load() == registering);
        REQUIRE(calls.load() <= registering * 20);
        REQUIRE(first_requests.load() >= 1);
        REQUIRE(source.stop_requested());
    }
}

TEST_CASE("a child is destroyed while its parent is asked on another thread", "[task]") {
    for (std::size_t round = 0; round < repeats(2000, 300); ++round) {
        stop_source parent;
        auto child = std::make_unique<stop_source>(parent.get_token());
        std::atomic<int> calls{0};
        std::atomic<bool> go{false};
        std::thread asker([&] {
            while (!go.load()) std::this_thread::yield();
            parent.request_stop();
        });
        {
            stop_callback callback(child->get_token(), [&] { ++calls; });
            go = true;
        }
        child.reset();
        asker.join();
        REQUIRE(calls.load() <= 1);
    }
}

}  // namespace covey_test_task_stop
