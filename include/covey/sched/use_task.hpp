// use_task: awaits Asio operations in the library's coroutines. The one public header that includes Asio's, for those who use
// Asio's sockets beside tasks; covey.hpp leaves it out.
#pragma once

#include <covey/core/error.hpp>
#include <covey/sched/pool.hpp>
#include <covey/task/context.hpp>
#include <covey/task/local_queue.hpp>

#include <asio/async_result.hpp>
#include <asio/cancellation_signal.hpp>
#include <asio/error.hpp>
#include <asio/io_context.hpp>
#include <asio/post.hpp>

#include <atomic>
#include <coroutine>
#include <cstddef>
#include <exception>
#include <new>
#include <optional>
#include <system_error>
#include <tuple>
#include <type_traits>
#include <utility>

namespace covey {

/// The type of `use_task`.
struct use_task_t {};

/// A completion token: `std::size_t n = co_await socket.async_read_some(buffer, covey::use_task);` in any coroutine of this
/// library that runs on a `covey::pool`. The socket, timer or acceptor must have been made on that pool's `io()`, and must
/// outlive the await, as the buffers must. Nothing starts before the await.
///
/// Gives what the operation completes with behind its error code: nothing, a value, or a tuple. Throws std::system_error with
/// that code, `stopped` when the coroutine was asked to stop (the operation is then cancelled, by its own cancellation slot,
/// so others on the same socket go on), and errc::no_peer where no pool runs it. With Asio's adapter `as_tuple(covey::use_task)`
/// nothing is thrown but a stop that came before the start: the tuple holds the error code, operation_aborted for a stop.
///
/// The coroutine goes on, on the thread that got the event, without a hop. Asio's operation lives in the coroutine's frame
/// where it fits; with a stop token that may ask, Asio allocates a few bytes for the cancellation.
inline constexpr use_task_t use_task{};

namespace detail {

/// Room for Asio's operation. One operation holds one block at a time: a composed one frees each step's before the next.
class operation_memory {
public:
    void* allocate(std::size_t size) {
        if (m_taken || size > sizeof m_bytes) return ::operator new(size);
        m_taken = true;
        return m_bytes;
    }
    void deallocate(void* block) noexcept {
        if (block == m_bytes) {
            m_taken = false;
        } else {
            ::operator delete(block);
        }
    }

private:
    // asio::async_write on a type-erased TCP socket takes 256 bytes with Asio 1.22 on x86-64.
    alignas(std::max_align_t) std::byte m_bytes[256];
    bool m_taken = false;
};

template <class T>
struct operation_allocator {
    using value_type = T;

    explicit operation_allocator(operation_memory& m) noexcept : memory(&m) {}
    template <class U>
    explicit operation_allocator(const operation_allocator<U>& other) noexcept : memory(other.memory) {}

    T* allocate(std::size_t n) {
        static_assert(alignof(T) <= alignof(std::max_align_t));
        return static_cast<T*>(memory->allocate(n * sizeof(T)));
    }
    void deallocate(T* block, std::size_t) noexcept { memory->deallocate(block); }
    template <class U>
    bool operator==(const operation_allocator<U>& other) const noexcept {
        return memory == other.memory;
    }

    operation_memory* memory;
};

/// What all operations have in common. Each of these arrives once, and the last to do so resumes the coroutine: the handler,
/// the end of `suspend` if a stop can be asked for, and the cancellation if one was.
///
/// Asio's cancellation slots are not thread-safe, and a stop may be asked for on any thread. So the cancellation is a handler of
/// its own on the pool's io_context: the pool runs handlers one at a time until they call `on_event`, and so it can run neither
/// beside an inner step of a composed operation nor beside the completion.
class asio_operation {
public:
    asio_operation(const asio_operation&) = delete;
    asio_operation& operator=(const asio_operation&) = delete;

    operation_memory memory;

    asio::cancellation_slot slot() noexcept { return m_context->stop.stop_possible() ? m_signal.slot() : asio::cancellation_slot(); }

protected:
    asio_operation() noexcept = default;
    ~asio_operation() = default;

    /// False: a stop has been asked for already, so that nothing is to be started.
    bool prepare(std::coroutine_handle<> waiter, const task_context& context) {
        m_context = &context;
        if (context.stop.stop_requested()) {
            m_stopped = true;
            return false;
        }
        // Only pools install queues.
        const local_queue* const queue = this_thread_state().queue;
        if (queue == nullptr) throw error(errc::no_peer, "use_task needs a worker of a covey::pool: run the coroutine with sync_wait(...)");
        m_pool = static_cast<pool*>(queue->owner);
        m_waiter = waiter;
        if (context.stop.stop_possible()) m_left.store(2, std::memory_order_relaxed);
        m_pool->add_io();
        return true;
    }
    void not_started() noexcept { m_pool->remove_io(); }
    /// After the start of an operation that may be stopped. False: it has completed meanwhile.
    bool watch_stop() noexcept {
        m_on_stop.emplace(m_context->stop, on_stop{this});
        return m_left.fetch_sub(1, std::memory_order_acq_rel) != 1;
    }
    /// The end of the handler.
    void completed() noexcept {
        m_completed = true;
        m_pool->on_event();
        m_pool->remove_io();
        arrive();
    }
    /// The coroutine goes on.
    void resumed() {
        m_on_stop.reset();
        m_context->enter();
        if (m_stopped) throw stopped{};
    }
    void throw_if(const std::error_code& why) const {
        if (!why) return;
        if (why == asio::error::operation_aborted && m_context->stop.stop_requested()) throw stopped{};
        throw std::system_error(why);
    }
    void throw_if(const std::exception_ptr& why) const {
        if (why) std::rethrow_exception(why);
    }

private:
    struct on_stop {
        asio_operation* self;
        void operator()() const noexcept { self->cancel(); }
    };

    void cancel() noexcept {
        int left = m_left.load(std::memory_order_relaxed);
        do {
            if (left == 0) return;  // everything has arrived: the coroutine is about to go on
        } while (!m_left.compare_exchange_weak(left, left + 1, std::memory_order_acq_rel, std::memory_order_relaxed));
        asio::post(m_pool->io(), [this] {
            if (!m_completed) m_signal.emit(asio::cancellation_type::all);
            m_pool->on_event();
            arrive();
        });
    }
    void arrive() noexcept {
        scheduler* const on = m_context->scheduler;
        const std::coroutine_handle<> waiter = m_waiter;
        if (m_left.fetch_sub(1, std::memory_order_acq_rel) == 1) on->post(waiter);
    }

    const task_context* m_context = nullptr;
    pool* m_pool = nullptr;
    std::coroutine_handle<> m_waiter;
    std::atomic<int> m_left{1};
    bool m_completed = false;
    bool m_stopped = false;
    asio::cancellation_signal m_signal;
    std::optional<stop_callback<on_stop>> m_on_stop;
};

template <class...>
inline constexpr bool starts_with_error = false;
template <class First, class... Rest>
inline constexpr bool starts_with_error<First, Rest...> =
    std::is_same_v<First, std::error_code> || std::is_same_v<First, std::exception_ptr>;

/// The awaiter. `Results` are what the handler is called with.
template <class Initiation, class Arguments, class... Results>
class asio_awaiter final : asio_operation {
public:
    asio_awaiter(Initiation&& initiation, Arguments&& arguments) : m_initiation(std::move(initiation)), m_arguments(std::move(arguments)) {}

    bool await_ready() const noexcept { return false; }
    template <class Promise>
    bool await_suspend(std::coroutine_handle<Promise> self) {
        return suspend(self, context_of(self));
    }
    auto await_resume() {
        resumed();
        return outcome();
    }

private:
    struct handler {
        asio_awaiter* self;

        using allocator_type = operation_allocator<void*>;
        allocator_type get_allocator() const noexcept { return allocator_type(self->memory); }
        using cancellation_slot_type = asio::cancellation_slot;
        cancellation_slot_type get_cancellation_slot() const noexcept { return self->slot(); }

        template <class... Args>
        void operator()(Args&&... args) {
            self->m_results.emplace(std::forward<Args>(args)...);
            self->completed();
        }
    };

    // Not inlined into the coroutine: Clang before 19 would keep its locals in the frame, which may be gone (llvm 56301).
    COVEY_NOINLINE bool suspend(std::coroutine_handle<> self, const task_context& context) {
        if (!prepare(self, context)) return false;
        const bool stoppable = context.stop.stop_possible();
        // Taken out of the frame: once the operation runs, the frame may end at any moment.
        Initiation initiation = std::move(m_initiation);
        Arguments arguments = std::move(m_arguments);
        try {
            std::apply([&](auto&... args) { std::move(initiation)(handler{this}, std::move(args)...); }, arguments);
        } catch (...) {
            not_started();
            throw;
        }
        return !stoppable || watch_stop();
    }

    template <class... Values>
    static auto values(Values&... all) {
        if constexpr (sizeof...(Values) == 1) {
            return (std::move(all), ...);
        } else if constexpr (sizeof...(Values) > 1) {
            return std::tuple<Values...>(std::move(all)...);
        }
    }
    template <class Error, class... Values>
    auto values_unless(const Error& why, Values&... all) const {
        throw_if(why);
        return values(all...);
    }
    auto outcome() {
        return std::apply(
            [this](auto&... all) {
                static_cast<void>(this);
                if constexpr (starts_with_error<Results...>) {
                    return values_unless(all...);
                } else {
                    return values(all...);
                }
            },
            *m_results);
    }

    Initiation m_initiation;
    Arguments m_arguments;
    std::optional<std::tuple<Results...>> m_results;
};

/// What a function called with use_task returns: not started yet, and movable.
template <class Initiation, class Arguments, class... Results>
class [[nodiscard("it does nothing until it is awaited")]] asio_awaitable {
public:
    asio_awaitable(Initiation initiation, Arguments arguments) : m_initiation(std::move(initiation)), m_arguments(std::move(arguments)) {}

    asio_awaiter<Initiation, Arguments, Results...> operator co_await() && { return {std::move(m_initiation), std::move(m_arguments)}; }

private:
    Initiation m_initiation;
    Arguments m_arguments;
};

}  // namespace detail

}  // namespace covey

/// Asio's customisation point for completion tokens.
template <class R, class... Results>
class asio::async_result<covey::use_task_t, R(Results...)> {
public:
    template <class Initiation, class... Args>
    static auto initiate(Initiation&& initiation, covey::use_task_t, Args&&... args) {
        using arguments = std::tuple<std::decay_t<Args>...>;
        return covey::detail::asio_awaitable<std::decay_t<Initiation>, arguments, std::decay_t<Results>...>(
            std::forward<Initiation>(initiation), arguments(std::forward<Args>(args)...));
    }
};
