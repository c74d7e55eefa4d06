// The join under when_all and when_any: starts children beside each other, stops them, resumes the parent after the last.
#pragma once

#include <covey/task/task.hpp>

#include <atomic>
#include <cstddef>
#include <optional>
#include <span>

namespace covey::detail {

/// Lives in the parent's frame from the await until the last child has ended.
class join : public completion {
public:
    join() noexcept = default;
    join(const join&) = delete;
    join& operator=(const join&) = delete;

    /// Called by a child's end, once for each, from any thread, before it is counted.
    virtual void note(promise_base& child) noexcept = 0;

    std::coroutine_handle<> child_done(promise_base& child) noexcept final {
        note(child);
        const std::coroutine_handle<> parent = m_parent;
        if (m_left.fetch_sub(1, std::memory_order_acq_rel) == 1) return parent;
        return std::noop_coroutine();
    }

    void resumed() const noexcept { m_parent_context->enter(); }
    void stop_children() noexcept { m_stop->request_stop(); }

protected:
    ~join() = default;

    /// Prepares for `count` children, who are then bound to `*this` and `child_context()`.
    void open(std::coroutine_handle<> parent, const task_context& context, std::size_t count) {
        m_parent = parent;
        m_parent_context = &context;
        m_left.store(count, std::memory_order_relaxed);
        m_stop.emplace(context.stop);
        m_child_context = context;
        m_child_context.stop = m_stop->get_token();
    }
    const task_context& child_context() const noexcept { return m_child_context; }

    /// Hands all children but the first to the scheduler and returns the first, to be transferred into. As that one has
    /// not started, the join cannot end before the caller has returned.
    std::coroutine_handle<> start(std::span<const std::coroutine_handle<>> children) noexcept {
        const std::coroutine_handle<> first = children.front();
        for (std::size_t i = children.size(); i > 1; --i) {
            if (m_child_context.scheduler != nullptr) {
                m_child_context.scheduler->post(children[i - 1]);
            } else {
                resume_work(children[i - 1]);
            }
        }
        return transfer(first);
    }

private:
    std::coroutine_handle<> m_parent;
    const task_context* m_parent_context = nullptr;
    task_context m_child_context;
    std::optional<stop_source> m_stop;
    std::atomic<std::size_t> m_left{0};
};

/// What a function like when_all returns: movable tasks, and the awaiter made of them when they are awaited.
template <class Awaiter, class Tasks>
class [[nodiscard("it does nothing until it is awaited")]] joining {
public:
    explicit joining(Tasks&& tasks) noexcept : m_tasks(std::move(tasks)) {}
    Awaiter operator co_await() && { return Awaiter(std::move(m_tasks)); }

private:
    Tasks m_tasks;
};

}  // namespace covey::detail
