#pragma once

#include <covey/core/detail/concat.hpp>
#include <covey/sched/blocking.hpp>

#include <pthread.h>

#include <cstdio>
#include <new>

namespace covey::detail {

COVEY_INLINE side_pool& side_pool::of_process() {
    // In memory that is never given back: other statics' destructors, and threads that are still there, may come here
    // after the end.
    alignas(side_pool) static unsigned char memory[sizeof(side_pool)];
    struct closer {
        side_pool* pool;
        ~closer() { pool->close(); }
    };
    static const closer at_exit{::new (static_cast<void*>(memory)) side_pool};
    return *at_exit.pool;
}

COVEY_INLINE std::exception_ptr side_pool_closed() noexcept {
    try {
        throw error(errc::shut_down, "blocking(): the program is ending, and its side pool starts nothing more");
    } catch (...) {
        return std::current_exception();
    }
}

COVEY_INLINE void side_pool::push(side_request& request) noexcept {
    request.m_queued = true;
    request.m_next = nullptr;
    request.m_previous = m_last;
    (m_last != nullptr ? m_last->m_next : m_first) = &request;
    m_last = &request;
    ++m_queued;
}

COVEY_INLINE void side_pool::unlink(side_request& request) noexcept {
    (request.m_previous != nullptr ? request.m_previous->m_next : m_first) = request.m_next;
    (request.m_next != nullptr ? request.m_next->m_previous : m_last) = request.m_previous;
    request.m_queued = false;
    --m_queued;
}

COVEY_INLINE void side_pool::submit(side_request& request) {
    const std::lock_guard lock(m_mutex);
    if (m_closed) std::rethrow_exception(side_pool_closed());
    push(request);
    // Those idle that were woken and have not got the lock yet still count, and so do the requests that they will take.
    if (m_queued <= m_idle) {
        m_work.notify_one();
        return;
    }
    std::exception_ptr why;
    if ((m_running != m_limit && start_thread(why)) || m_running != 0) return;
    unlink(request);
    if (why) std::rethrow_exception(why);
    throw error(errc::overloaded, "blocking(): this side pool may have no threads");
}

COVEY_INLINE bool side_pool::cancel(side_request& request) noexcept {
    const std::lock_guard lock(m_mutex);
    if (!request.m_queued) return false;
    unlink(request);
    return true;
}

/// With the lock held.
COVEY_INLINE bool side_pool::start_thread(std::exception_ptr& why) noexcept {
    unsigned index = 0;
    while (m_threads[index].joinable()) ++index;
    try {
        m_threads[index] = std::thread([this, index] { run(index); });
    } catch (const std::exception& e) {
        try {
            throw error(errc::overloaded, concat({"blocking(): no thread can be started for it (", e.what(),
                                                  "); raise the limit of processes, or end some threads"}));
        } catch (...) {
            why = std::current_exception();
        }
        return false;
    }
    ++m_running;
    char name[16];
    std::snprintf(name, sizeof name, "covey-block-%u", index % most_threads);  // at most 15 characters
    pthread_setname_np(m_threads[index].native_handle(), name);
    return true;
}

COVEY_INLINE void side_pool::run(unsigned index) noexcept {
    std::unique_lock lock(m_mutex);
    for (;;) {
        if (side_request* const request = m_first) {
            unlink(*request);
            lock.unlock();
            request->m_run(*request);
            lock.lock();
            continue;
        }
        if (m_closed) break;
        ++m_idle;
        const bool idle_too_long = m_work.wait_for(lock, m_idle_limit) == std::cv_status::timeout;
        --m_idle;
        if (idle_too_long && m_first == nullptr) break;
    }
    // Each that ends joins the one that ended before it, so that at most one is left unjoined, and holds its stack.
    std::thread before = std::exchange(m_ended, std::move(m_threads[index]));
    --m_running;
    m_thread_ended.notify_all();
    lock.unlock();
    if (before.joinable()) before.join();
}

COVEY_INLINE void side_pool::close() noexcept {
    std::unique_lock lock(m_mutex);
    m_closed = true;
    side_request* refused = std::exchange(m_first, nullptr);
    m_last = nullptr;
    m_queued = 0;
    for (side_request* r = refused; r != nullptr; r = r->m_next) r->m_queued = false;
    m_work.notify_all();
    lock.unlock();
    while (refused != nullptr) {
        side_request& request = *refused;
        refused = request.m_next;  // before: then it may be gone
        request.m_refuse(request);
    }
    lock.lock();
    unsigned own = 0;
    for (const std::thread& t : m_threads) own += t.get_id() == std::this_thread::get_id() ? 1 : 0;
    while (m_running > own) m_thread_ended.wait(lock);
    std::thread last = std::move(m_ended);
    lock.unlock();
    if (last.joinable()) last.join();
}

COVEY_INLINE unsigned side_pool::threads() const noexcept {
    const std::lock_guard lock(m_mutex);
    return m_running;
}

COVEY_INLINE unsigned side_pool::idle_threads() const noexcept {
    const std::lock_guard lock(m_mutex);
    return m_idle;
}

}  // namespace covey::detail
