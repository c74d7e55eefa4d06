#include <covey/task/work.hpp>

#include <task/support.hpp>

#include <covey/task/task.hpp>

namespace covey_test_task_work {

using namespace covey;

namespace {

struct counting_item : work_item {
    counting_item() : work_item([](work_item* self) { ++static_cast<counting_item*>(self)->runs; }) {}
    int runs = 0;
};

/// A coroutine of somebody else's library: no context, starts at once, frees itself.
struct detached {
    struct promise_type {
        detached get_return_object() noexcept { return {}; }
        std::suspend_never initial_suspend() noexcept { return {}; }
        std::suspend_never final_suspend() noexcept { return {}; }
        void return_void() noexcept {}
        void unhandled_exception() noexcept { std::terminate(); }
    };
};

/// Links of a ring that hand over to each other for ever: what a chain of transfers is, without any task.
struct transfer_to {
    std::coroutine_handle<>* next;
    bool await_ready() const noexcept { return false; }
    std::coroutine_handle<> await_suspend(std::coroutine_handle<>) const noexcept { return transfer(*next); }
    void await_resume() const noexcept {}
};

struct manual {
    struct promise_type {
        manual get_return_object() noexcept { return {std::coroutine_handle<promise_type>::from_promise(*this)}; }
        std::suspend_always initial_suspend() noexcept { return {}; }
        std::suspend_always final_suspend() noexcept { return {}; }
        void return_void() noexcept {}
        void unhandled_exception() noexcept { std::terminate(); }
    };
    std::coroutine_handle<promise_type> handle;
};

manual side(std::coroutine_handle<>* other, int rounds, int* count) {
    for (int i = 0; i < rounds; ++i) {
        ++*count;
        co_await transfer_to{other};
    }
}

task<int> answer() { co_return 42; }
task<int> twice() { co_return 2 * co_await answer(); }

detached foreign(int* out) { *out = co_await twice(); }

}  // namespace

TEST_CASE("a work item is resumed like a coroutine, as often as it is handed in", "[task]") {
    counting_item item;
    resume_work(item.handle());
    CHECK(item.runs == 1);
    item.handle().resume();
    CHECK(item.runs == 2);
    CHECK(item.handle().address() == static_cast<void*>(&item));
}

TEST_CASE("a million transfers between two coroutines use no stack", "[task]") {
    constexpr int rounds = 500'000;
    int count = 0;
    std::coroutine_handle<> a;
    std::coroutine_handle<> b;
    const manual first = side(&b, rounds, &count);
    const manual second = side(&a, rounds, &count);
    a = first.handle;
    b = second.handle;
    resume_work(first.handle);
    // `first` ended after its last transfer back, and left `second` suspended in its last one.
    CHECK(count == 2 * rounds);
    CHECK(first.handle.done());
    CHECK_FALSE(second.handle.done());
    first.handle.destroy();
    second.handle.destroy();
}

TEST_CASE("tasks run in a coroutine that another library resumed, without resume_work", "[task]") {
    int result = 0;
    foreign(&result);
    CHECK(result == 84);
}

TEST_CASE("resume_work inside of resume_work restores what the thread ran", "[task]") {
    struct nesting_item : work_item {
        nesting_item() : work_item([](work_item* self) { static_cast<nesting_item*>(self)->go(); }) {}
        void go() {
            int mark = 0;
            detail::this_thread_state().context = &mark;
            resume_work(inner.handle());
            kept = detail::this_thread_state().context == &mark && detail::this_thread_state().running();
        }
        counting_item inner;
        bool kept = false;
    } item;
    const void* const before = detail::this_thread_state().context;
    resume_work(item.handle());
    CHECK(item.kept);
    CHECK(item.inner.runs == 1);
    CHECK(detail::this_thread_state().context == before);
    CHECK_FALSE(detail::this_thread_state().running());
}

}  // namespace covey_test_task_work
