// Tasks as senders and senders as awaitables (P2300, std::execution of C++26), without depending on an implementation of
// them. Optional: covey.hpp does not include it.
#pragma once

#include <covey/core/error.hpp>
#include <covey/task/schedule.hpp>
#include <covey/task/task.hpp>

#include <atomic>
#include <concepts>
#include <coroutine>
#include <exception>
#include <memory>
#include <new>
#include <optional>
#include <system_error>
#include <tuple>
#include <type_traits>
#include <utility>

namespace covey {

/// What as_sender and as_awaitable need to know of a sender library: its tags, and how it connects and starts. These are
/// enough between types that use members alone. For a library, write a struct with the same names once:
///
///     struct stdexec_names : covey::sender_names {
///         using sender_tag = stdexec::sender_t;                using receiver_tag = stdexec::receiver_t;
///         using operation_state_tag = stdexec::operation_state_t;
///         using set_value_t = stdexec::set_value_t;            using set_error_t = stdexec::set_error_t;
///         using set_stopped_t = stdexec::set_stopped_t;
///         using get_stop_token_t = stdexec::get_stop_token_t;  using get_scheduler_t = stdexec::get_scheduler_t;
///         template <class... S> using completion_signatures = stdexec::completion_signatures<S...>;
///         template <class S, class E> using signatures_of = stdexec::completion_signatures_of_t<S, E>;
///         static auto connect(auto&& s, auto&& r) { return stdexec::connect(std::move(s), std::move(r)); }
///         static void start(auto& o) noexcept { stdexec::start(o); }
///     };
struct sender_names {
    struct sender_tag {};
    struct receiver_tag {};
    struct operation_state_tag {};
    struct set_value_t {};
    struct set_error_t {};
    struct set_stopped_t {};
    struct get_stop_token_t {};
    struct get_scheduler_t {};
    template <class... Signatures>
    struct completion_signatures {};

    template <class Sender, class Env>
    using signatures_of = decltype(std::remove_cvref_t<Sender>::template get_completion_signatures<Sender, Env>());

    template <class Sender, class Receiver>
    static auto connect(Sender&& sender, Receiver&& receiver) {
        return std::forward<Sender>(sender).connect(std::forward<Receiver>(receiver));
    }
    template <class Operation>
    static void start(Operation& operation) noexcept {
        operation.start();
    }
};

namespace detail {

struct empty_env {};

template <class Receiver>
auto env_of(const Receiver& receiver) noexcept {
    if constexpr (requires { receiver.get_env(); }) {
        return receiver.get_env();
    } else {
        return empty_env{};
    }
}

struct forward_stop {
    stop_source* source;
    void operator()() const noexcept { source->request_stop(); }
};

/// Makes a task's context follow the stop token in an environment of type Env, ours or another library's.
template <class Env, class Tag>
class followed_stop {
public:
    void follow(const Env&, task_context&) noexcept {}
    void leave() noexcept {}
};
template <class Env, class Tag>
    requires requires(const Env& env) {
        { env.query(Tag{}) } -> std::convertible_to<stop_token>;
    }
class followed_stop<Env, Tag> {
public:
    void follow(const Env& env, task_context& context) noexcept { context.stop = env.query(Tag{}); }
    void leave() noexcept {}
};
template <class Env, class Tag>
    requires requires(const Env& env) {
        typename std::remove_cvref_t<decltype(env.query(Tag{}))>::template callback_type<forward_stop>;
        requires !std::convertible_to<decltype(env.query(Tag{})), stop_token>;
    }
class followed_stop<Env, Tag> {
    using callback = typename std::remove_cvref_t<decltype(std::declval<const Env&>().query(Tag{}))>::template callback_type<forward_stop>;

public:
    void follow(const Env& env, task_context& context) noexcept {
        context.stop = m_source.get_token();
        m_callback.emplace(env.query(Tag{}), forward_stop{&m_source});
    }
    void leave() noexcept { m_callback.reset(); }

private:
    stop_source m_source;
    std::optional<callback> m_callback;
};

/// A task that was connected to a receiver. The task's continuation is this object, which looks like a coroutine.
template <class Names, class T, class Receiver>
class task_operation : work_item {
    using env = decltype(env_of(std::declval<const Receiver&>()));

public:
    using operation_state_concept = typename Names::operation_state_tag;

    task_operation(task<T>&& t, scheduler* on, Receiver&& receiver)
        : work_item(&ended), m_task(std::move(t)), m_receiver(std::move(receiver)) {
        m_context.scheduler = on;
    }

    void start() noexcept {
        const env e = env_of(m_receiver);
        if constexpr (requires {
                          { e.query(typename Names::get_scheduler_t{}) } -> std::convertible_to<scheduler*>;
                      }) {
            if (m_context.scheduler == nullptr) m_context.scheduler = e.query(typename Names::get_scheduler_t{});
        }
        if (m_context.scheduler == nullptr) {
            std::move(m_receiver)
                .set_error(std::make_exception_ptr(
                    error(errc::no_peer, "a task that became a sender needs a scheduler: as_sender(task, scheduler)")));
            return;
        }
        m_stop.follow(e, m_context);
        m_context.scheduler->post(m_task.bind(this->handle(), m_context));
    }

private:
    static void ended(work_item* item) { static_cast<task_operation*>(item)->complete(); }
    // The receiver may destroy this operation as soon as it is told, so that is always the last thing.
    void complete() noexcept {
        m_stop.leave();
        bool was_stopped = false;
        std::exception_ptr failure;
        try {
            if constexpr (std::is_void_v<T>) {
                m_task.result();
                std::move(m_receiver).set_value();
                return;
            } else {
                T value = m_task.result();
                std::move(m_receiver).set_value(std::forward<T>(value));
                return;
            }
        } catch (const stopped&) {
            was_stopped = true;
        } catch (...) {
            failure = std::current_exception();
        }
        if (was_stopped) {
            std::move(m_receiver).set_stopped();
        } else {
            std::move(m_receiver).set_error(std::move(failure));
        }
    }

    root_task<T> m_task;
    Receiver m_receiver;
    task_context m_context;
    followed_stop<env, typename Names::get_stop_token_t> m_stop;
};

template <class Names, class T>
struct task_signatures {
    using type =
        typename Names::template completion_signatures<typename Names::set_value_t(T), typename Names::set_error_t(std::exception_ptr),
                                                       typename Names::set_stopped_t()>;
};
template <class Names>
struct task_signatures<Names, void> {
    using type =
        typename Names::template completion_signatures<typename Names::set_value_t(), typename Names::set_error_t(std::exception_ptr),
                                                       typename Names::set_stopped_t()>;
};

template <class Names, class T>
class [[nodiscard("a sender does nothing until it is connected and started")]] task_sender {
public:
    using sender_concept = typename Names::sender_tag;
    using completion_signatures = typename task_signatures<Names, T>::type;

    task_sender(task<T>&& t, scheduler* on) noexcept : m_task(std::move(t)), m_on(on) {}

    template <class Self, class... Env>
    static consteval completion_signatures get_completion_signatures() {
        return {};
    }
    template <class Receiver>
    task_operation<Names, T, Receiver> connect(Receiver receiver) && {
        return {std::move(m_task), m_on, std::move(receiver)};
    }

private:
    task<T> m_task;
    scheduler* m_on;
};

/// Our token with the nested name that the stoppable_token concept asks for.
struct sender_stop_token : stop_token {
    template <class F>
    using callback_type = stop_callback<F>;
};
template <class Names>
struct sender_env {
    stop_token m_stop;
    sender_stop_token query(typename Names::get_stop_token_t) const noexcept { return {m_stop}; }
};

/// Where a sender leaves its result. Two arrivals, that of the result and the end of await_suspend, make the awaiter go on.
template <class Value>
class sender_result {
protected:
    template <class, class>
    friend struct sender_receiver;

    void arrive() noexcept {
        scheduler* const on = m_context->scheduler;
        const std::coroutine_handle<> awaiter = m_awaiter;
        if (m_gate.fetch_sub(1, std::memory_order_acq_rel) == 1) on->post(awaiter);
    }

    const task_context* m_context = nullptr;
    std::coroutine_handle<> m_awaiter;
    std::atomic<int> m_gate{2};
    bool m_stopped = false;
    std::exception_ptr m_failure;
    std::optional<value_or_monostate<Value>> m_value;
};

template <class Names, class Value>
struct sender_receiver {
    using receiver_concept = typename Names::receiver_tag;

    template <class... Values>
    void set_value(Values&&... values) && noexcept {
        try {
            m_result->m_value.emplace(std::forward<Values>(values)...);
        } catch (...) {
            m_result->m_failure = std::current_exception();
        }
        m_result->arrive();
    }
    template <class Error>
    void set_error(Error&& e) && noexcept {
        using plain = std::remove_cvref_t<Error>;
        if constexpr (std::is_same_v<plain, std::exception_ptr>) {
            m_result->m_failure = std::forward<Error>(e);
        } else if constexpr (std::is_same_v<plain, std::error_code>) {
            m_result->m_failure = std::make_exception_ptr(std::system_error(e));
        } else {
            m_result->m_failure = std::make_exception_ptr(std::forward<Error>(e));
        }
        m_result->arrive();
    }
    void set_stopped() && noexcept {
        m_result->m_stopped = true;
        m_result->arrive();
    }
    sender_env<Names> get_env() const noexcept { return {m_result->m_context->stop}; }

    sender_result<Value>* m_result;
};

template <class Names, class Sender, class Value>
class [[nodiscard("a sender does nothing until it is awaited")]] sender_awaiter : sender_result<Value> {
    using receiver = sender_receiver<Names, Value>;
    using operation = decltype(Names::connect(std::declval<Sender>(), std::declval<receiver>()));

public:
    explicit sender_awaiter(Sender&& sender) : m_sender(std::move(sender)) {}
    sender_awaiter(const sender_awaiter&) = delete;
    sender_awaiter& operator=(const sender_awaiter&) = delete;
    ~sender_awaiter() {
        if (m_connected) std::destroy_at(std::addressof(m_operation));
    }

    bool await_ready() const noexcept { return false; }
    template <class Promise>
    bool await_suspend(std::coroutine_handle<Promise> self) {
        return start(self, context_of(self));
    }
    Value await_resume() {
        this->m_context->enter();
        if (this->m_stopped) throw stopped{};
        if (this->m_failure) std::rethrow_exception(std::move(this->m_failure));
        if constexpr (!std::is_void_v<Value>) return std::move(*this->m_value);
    }

private:
    COVEY_NOINLINE bool start(std::coroutine_handle<> self, const task_context& context) {
        if (context.scheduler == nullptr) throw_no_scheduler("awaiting a sender");
        this->m_context = &context;
        this->m_awaiter = self;
        this->m_stopped = context.stop.stop_requested();
        if (this->m_stopped) return false;
        ::new (static_cast<void*>(std::addressof(m_operation))) operation(Names::connect(std::move(m_sender), receiver{this}));
        m_connected = true;
        Names::start(m_operation);
        return this->m_gate.fetch_sub(1, std::memory_order_acq_rel) != 1;
    }

    Sender m_sender;
    bool m_connected = false;
    union {
        operation m_operation;  // cannot be moved, so it is made in place
    };
};

/// A tuple of one tuple of value types for each set_value among the signatures.
template <class SetValue, class Signature>
struct values_in {
    using type = std::tuple<>;
};
template <class SetValue, class... Values>
struct values_in<SetValue, SetValue(Values...)> {
    using type = std::tuple<std::tuple<std::decay_t<Values>...>>;
};
template <class SetValue, class Signatures>
struct value_among;
template <class SetValue, template <class...> class List, class... Signatures>
struct value_among<SetValue, List<Signatures...>> {
    template <class>
    struct one {
        static_assert(sizeof(List<Signatures...>) == 0,
                      "this sender can give values of several types: name one, as_awaitable<names, T>(sender)");
    };
    template <class... Values>
    struct one<std::tuple<std::tuple<Values...>>> {
        using type = std::tuple<Values...>;
    };
    template <class Value>
    struct one<std::tuple<std::tuple<Value>>> {
        using type = Value;
    };
    template <class Outer>
        requires std::same_as<Outer, std::tuple<>> || std::same_as<Outer, std::tuple<std::tuple<>>>
    struct one<Outer> {
        using type = void;
    };
    using type = typename one<decltype(std::tuple_cat(std::declval<typename values_in<SetValue, Signatures>::type>()...))>::type;
};

struct deduced;
template <class Names, class Sender, class Value>
struct awaited_value {
    using type = Value;
};
template <class Names, class Sender>
struct awaited_value<Names, Sender, deduced> {
    using type = typename value_among<typename Names::set_value_t, typename Names::template signatures_of<Sender, sender_env<Names>>>::type;
};

}  // namespace detail

/// A sender that runs the task on `on`: it completes with set_value, with set_error(std::exception_ptr), or with set_stopped
/// where the task ends with `stopped`, on a thread of that scheduler. The task runs under the stop token of the receiver's
/// environment. Without a scheduler here, the environment's is used if asking for it gives a covey::scheduler*.
template <class Names = sender_names, class T>
detail::task_sender<Names, T> as_sender(task<T> t) noexcept {
    return {std::move(t), nullptr};
}
template <class Names = sender_names, class T>
detail::task_sender<Names, T> as_sender(task<T> t, scheduler& on) noexcept {
    return {std::move(t), &on};
}

/// `co_await as_awaitable<names>(sender)`: connects and starts it, and goes on on the awaiter's own scheduler, wherever the
/// sender completes. Gives its value (void for none, a std::tuple for several), throws its error (a std::error_code as
/// std::system_error, an exception_ptr rethrown, anything else as it is), and `stopped` for set_stopped. The sender finds the
/// awaiter's stop token in the environment. The value's type comes from the completion signatures, unless it is given.
template <class Names = sender_names, class Value = detail::deduced, class Sender>
auto as_awaitable(Sender sender) {
    return detail::sender_awaiter<Names, Sender, typename detail::awaited_value<Names, Sender, Value>::type>(std::move(sender));
}

}  // namespace covey
