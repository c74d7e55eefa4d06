// Several coroutines on a scheduler that the test turns by hand, each with a stop token of its own, watched from outside.
#pragma once

#include <task/support.hpp>

#include <covey/task/scope.hpp>

#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <utility>

namespace covey_test {

template <class T>
struct outcome {
    std::optional<covey::detail::value_or_monostate<T>> value;
    bool stopped = false;
    std::exception_ptr failure;

    bool waiting() const noexcept { return !value && !stopped && !failure; }
    /// Ended with an exception that is not `stopped`: rethrows it.
    void rethrow() const {
        if (failure) std::rethrow_exception(failure);
    }
};

class stage {
public:
    stage() : m_context(scheduler.context()), m_scope(m_context) {}
    ~stage() { static_cast<void>(run(scheduler, joined(m_scope))); }

    /// Starts a coroutine and turns the scheduler until nothing is left to do.
    template <class T>
    std::shared_ptr<outcome<T>> start(covey::task<T> t, covey::stop_token stop = {}) {
        auto result = std::make_shared<outcome<T>>();
        m_scope.spawn(watch(std::move(t), stop, result));
        scheduler.run();
        return result;
    }
    void settle() { scheduler.run(); }

    step_scheduler scheduler;

private:
    static covey::task<bool> joined(covey::scope& s) {
        co_await s.join();
        co_return true;
    }
    template <class T>
    static covey::task<void> watch(covey::task<T> t, covey::stop_token stop, std::shared_ptr<outcome<T>> result) {
        covey::task_context context = co_await covey::get_context();
        context.stop = stop;
        try {
            if constexpr (std::is_void_v<T>) {
                co_await covey::detail::with_context(t, context);
                result->value.emplace();
            } else {
                result->value.emplace(co_await covey::detail::with_context(t, context));
            }
        } catch (const covey::stopped&) {
            result->stopped = true;
        } catch (...) {
            result->failure = std::current_exception();
        }
    }

    covey::task_context m_context;
    covey::scope m_scope;
};

/// Runs a task on this thread, with no scheduler in its context; it must end without one.
template <class T>
T run_without_scheduler(covey::task<T> t) {
    step_scheduler none;
    covey::task_context context;
    return run(none, context, std::move(t));
}

/// Runs `body` in a process of its own: how that ends, as waitpid says, and what it prints to standard error.
inline std::pair<int, std::string> run_in_a_child(void (*body)()) {
    int fds[2];
    REQUIRE(pipe(fds) == 0);
    const pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        std::signal(SIGABRT, SIG_DFL);  // not Catch's handler
        dup2(fds[1], STDERR_FILENO);
        close(fds[0]);
        close(fds[1]);
        body();
        _exit(0);
    }
    close(fds[1]);
    std::string output;
    char buffer[256];
    for (ssize_t n = 0; (n = read(fds[0], buffer, sizeof buffer)) > 0;) output.append(buffer, static_cast<std::size_t>(n));
    close(fds[0]);
    int status = 0;
    REQUIRE(waitpid(child, &status, 0) == child);
    return {status, output};
}

/// What `body`, which is to end its program by abort(), prints; empty if it does not end so.
inline std::string last_words(void (*body)()) {
    const auto [status, output] = run_in_a_child(body);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT ? output : std::string();
}

}  // namespace covey_test
