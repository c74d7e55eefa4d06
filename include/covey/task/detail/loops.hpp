// How parallel loops are cut into pieces, how pieces run, and what they run.
#pragma once

#include <covey/core/error.hpp>
#include <covey/task/co_invoke.hpp>
#include <covey/task/when_all.hpp>

#include <algorithm>
#include <atomic>
#include <bit>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <iterator>
#include <optional>
#include <span>
#include <type_traits>
#include <utility>
#include <variant>

namespace covey::detail {

/// Part of a loop: places, counted from the loop's beginning.
struct stretch {
    std::uint64_t first = 0;
    std::uint64_t count = 0;

    void drop(std::uint64_t n) noexcept {
        first += n;
        count -= n;
    }
    stretch take_second_half() noexcept {
        const std::uint64_t taken = count / 2;
        count -= taken;
        return {first + count, taken};
    }
};

/// How many iterations make a chunk: so many that a look after each costs less than a hundredth of it.
class loop_pace {
public:
    /// A look takes some thirty nanoseconds, most of it the clock's.
    static constexpr duration aim = std::chrono::microseconds(5);

    std::uint64_t chunk() const noexcept { return m_chunk; }
    /// False as long as all that has run is too little to be worth a thief's trouble.
    bool is_known() const noexcept { return m_known; }

    /// A chunk took so long. The next differs by a bounded factor, for a long time may have been another program's.
    void ran(duration took) noexcept {
        m_known = m_known || took >= aim / 4;
        if (took < aim / 2) {
            m_chunk = std::min(most, m_chunk * (took < aim / 8 ? 8 : 2));
        } else if (took > aim * 2) {
            m_chunk = std::max<std::uint64_t>(1, m_chunk / (took > aim * 8 ? 8 : 2));
        }
    }

private:
    static constexpr std::uint64_t most = std::uint64_t{1} << 20;  // on clocks that stand still

    std::uint64_t m_chunk = 1;
    bool m_known = false;
};

/// What the pieces of one loop share. Lives in the frame of the coroutine that awaits them all.
class loop_control {
public:
    explicit loop_control(const task_context& parent) noexcept
        : m_stop(parent.stop), m_context(parent), m_workers(parent.scheduler != nullptr ? parent.scheduler->concurrency() : 1) {
        m_context.stop = m_stop.get_token();
    }
    loop_control(const loop_control&) = delete;
    loop_control& operator=(const loop_control&) = delete;

    const task_context& context() const noexcept { return m_context; }
    bool may_go_on() const noexcept { return !m_stop.stop_requested(); }

    /// The scheduler's clock, so that a simulated loop runs the same way each time.
    time_point now() const noexcept {
        if (m_context.scheduler != nullptr) [[likely]]
            return m_context.scheduler->now();
        return time_point(std::chrono::steady_clock::now().time_since_epoch());
    }

    /// How often to halve the loop at once where nobody's hunger can be seen.
    unsigned blind_halvings() const noexcept {
        return m_workers > 1 && queue() == nullptr ? static_cast<unsigned>(std::bit_width(m_workers * pieces_a_worker - 1)) : 0;
    }
    /// Whoever has nothing left to be stolen may have hungry neighbours, unless there is other work for them to take.
    bool should_split(const stretch& left, const loop_pace& pace) const noexcept {
        if (m_workers < 2 || left.count <= pace.chunk() || !pace.is_known()) return false;
        local_queue* const mine = queue();
        if (mine == nullptr) return false;
        mine->offer_if_wanted();
        return mine->deque.empty() && !mine->wanted_elsewhere();
    }
    /// Sockets, timers, or work from here or elsewhere wait for this thread. Without a queue to ask, somebody always may.
    bool should_give_way(duration held) const noexcept {
        if (held < most_held || m_context.scheduler == nullptr) return false;
        local_queue* const mine = queue();
        return mine == nullptr || mine->wanted_elsewhere() || !mine->deque.empty();
    }

    /// In a handler: keeps the first exception and stops the other pieces.
    COVEY_NOINLINE void fail() noexcept {
        if (!m_failed.exchange(true, std::memory_order_acq_rel)) m_failure = std::current_exception();
        m_stop.request_stop();
    }
    void cut_short() noexcept { m_cut_short.store(true, std::memory_order_relaxed); }
    /// After all pieces have ended.
    void finish() {
        if (m_failure) [[unlikely]]
            std::rethrow_exception(std::move(m_failure));
        if (m_cut_short.load(std::memory_order_relaxed)) [[unlikely]]
            throw stopped{};
    }

private:
    static constexpr unsigned pieces_a_worker = 4;
    static constexpr duration most_held = std::chrono::microseconds(250);

    local_queue* queue() const noexcept {
        local_queue* const mine = this_thread_state().queue;
        return mine != nullptr && mine->owner == m_context.scheduler ? mine : nullptr;
    }

    stop_source m_stop;
    task_context m_context;
    const unsigned m_workers;
    std::atomic<bool> m_failed{false};
    std::atomic<bool> m_cut_short{false};
    std::exception_ptr m_failure;
};

/// Lets a scheduler's thread do something else first. It goes by turns to the newest and to the oldest work's end of the queue, for a
/// scheduler that prefers one of them may never come to what waits at the other. Does not look at stop requests.
struct give_way {
    bool m_last;
    const task_context* m_context = nullptr;

    bool await_ready() const noexcept { return false; }
    template <class Promise>
    COVEY_NOINLINE void await_suspend(std::coroutine_handle<Promise> self) noexcept {
        m_context = &context_of(self);
        if (m_last) {
            m_context->scheduler->post_last(self);
        } else {
            m_context->scheduler->post(self);
        }
    }
    void await_resume() const noexcept { m_context->enter(); }
};

/// No coroutine, so that the compiler sees a plain loop and may vectorise it.
template <class Body>
COVEY_NOINLINE void run_chunk(loop_control& loop, Body& body, const stretch& chunk, std::optional<typename Body::value>& sum) noexcept {
    try {
        body.run(chunk, sum);
    } catch (...) {
        loop.fail();
    }
}

template <class Body>
std::optional<typename Body::value> merge(loop_control& loop, Body& body, std::optional<typename Body::value>& left,
                                          std::optional<typename Body::value>& right) noexcept {
    std::optional<typename Body::value> sum;
    if (!left || !right) return sum;  // stopped
    try {
        sum.emplace(body.merge(std::move(*left), std::move(*right)));
    } catch (...) {
        loop.fail();
    }
    return sum;
}

/// Lazy binary splitting: runs a chunk, and if then nothing is left in this worker's queue, splits what remains in two, one
/// of which can be stolen. (A. Tzannes, G. C. Caragea, R. Barua and U. Vishkin, "Lazy binary-splitting: a run-time adaptive
/// work-stealing scheduler", PPoPP 2010.) As each split halves, no piece is deeper than the loop's count has bits.
///
/// `sum` goes in from the left and comes out with this piece added; null: there is nothing on the left. Ends without an
/// exception, for those are kept in `loop`.
template <class Body>
task<std::optional<typename Body::value>> run_piece(loop_control& loop, Body& body, stretch left, loop_pace pace, unsigned blind_halvings,
                                                    std::optional<typename Body::value> sum) {
    time_point now = loop.now();
    time_point since = now;
    bool last = false;
    while (left.count != 0 && loop.may_go_on()) {
        if ((blind_halvings != 0 && left.count > 1) || loop.should_split(left, pace)) {
            const stretch second = left.take_second_half();
            const unsigned halvings = blind_halvings != 0 ? blind_halvings - 1 : 0;
            auto a = run_piece(loop, body, left, pace, halvings, std::move(sum));
            auto b = run_piece(loop, body, second, pace, halvings, std::nullopt);
            auto sums = co_await when_all(std::move(a), std::move(b));
            co_return merge(loop, body, std::get<0>(sums), std::get<1>(sums));
        }
        if (loop.should_give_way(now - since)) {
            last = !last;
            co_await give_way{last};
            now = since = loop.now();
        }
        const stretch chunk{left.first, std::min(left.count, pace.chunk())};
        if constexpr (Body::awaits) {
            try {
                for (std::uint64_t i = 0; i != chunk.count; ++i) {
                    if constexpr (Body::adds) {
                        body.add(sum, co_await body.call(chunk.first + i));
                    } else {
                        static_cast<void>(co_await body.call(chunk.first + i));
                    }
                }
            } catch (...) {
                loop.fail();
            }
        } else {
            run_chunk(loop, body, chunk, sum);
        }
        left.drop(chunk.count);
        const time_point before = std::exchange(now, loop.now());
        pace.ran(now - before);
    }
    if (left.count != 0) loop.cut_short();
    co_return std::move(sum);
}

/// The whole of a loop. `Body` is in its frame, so that the pieces may refer to it.
template <class Body>
task<void> run_for(Body body, std::uint64_t count) {
    loop_control loop(co_await get_context());
    auto whole = run_piece(loop, body, stretch{0, count}, loop_pace{}, loop.blind_halvings(), std::nullopt);
    static_cast<void>(co_await with_context(whole, loop.context()));
    loop.finish();
}
template <class Body>
task<typename Body::value> run_reduce(Body body, std::uint64_t count, typename Body::value init) {
    loop_control loop(co_await get_context());
    auto whole =
        run_piece(loop, body, stretch{0, count}, loop_pace{}, loop.blind_halvings(), std::optional<typename Body::value>(std::move(init)));
    auto sum = co_await with_context(whole, loop.context());
    loop.finish();
    co_return std::move(*sum);
}

// ---- what a loop goes over

template <class I>
concept loop_index = std::integral<I> && !std::same_as<std::remove_cv_t<I>, bool> && sizeof(I) <= sizeof(std::uint64_t);

/// Places become indices by unsigned arithmetic, which wraps; none is ever computed beyond the loop's end, so that the
/// greatest value of the type can be that end.
template <class Index>
struct index_source {
    using element = Index;
    Index first;

    Index at(std::uint64_t place) const noexcept { return static_cast<Index>(static_cast<std::uint64_t>(first) + place); }
    template <class G>
    void each(const stretch& s, G g) const {
        const Index end = at(s.first + s.count);
        for (Index i = at(s.first); i != end; ++i) g(Index{i});  // its own copy
    }
};

template <class Iterator>
struct iterator_source {
    using element = std::iter_reference_t<Iterator>;
    Iterator first;

    element at(std::uint64_t place) const { return *iterator_at(place); }
    template <class G>
    void each(const stretch& s, G g) const {
        const Iterator end = iterator_at(s.first + s.count);
        for (Iterator i = iterator_at(s.first); i != end; ++i) g(*i);
    }

    Iterator iterator_at(std::uint64_t place) const { return first + static_cast<std::iter_difference_t<Iterator>>(place); }
};

template <class R>
using iterator_of = decltype(std::begin(std::declval<R&>()));

/// Something to loop over whose elements stay where they are when it is a temporary: spans and other views.
template <class R>
concept loop_range = requires(R& r) {
    { std::size(r) } -> std::convertible_to<std::size_t>;
    requires std::random_access_iterator<iterator_of<R>>;
} && (std::is_lvalue_reference_v<R> || std::ranges::enable_borrowed_range<std::remove_cvref_t<R>>);

template <class R>
auto source_of(R& range) {
    return iterator_source<iterator_of<R>>{std::begin(range)};
}

struct index_bounds_negative {
    [[noreturn]] COVEY_NOINLINE static void refuse() {
        throw error(errc::bad_argument, "a loop's bound is negative and the other one is unsigned: give both the same type");
    }
};
/// 0 when `last` is before `first`.
template <class Index, class A, class B>
std::uint64_t loop_count(A first, B last) {
    if constexpr (std::is_unsigned_v<Index>) {
        if constexpr (std::is_signed_v<A>) {
            if (first < 0) index_bounds_negative::refuse();
        }
        if constexpr (std::is_signed_v<B>) {
            if (last < 0) index_bounds_negative::refuse();
        }
    }
    const Index begin = static_cast<Index>(first);
    const Index end = static_cast<Index>(last);
    return begin < end ? static_cast<std::uint64_t>(end) - static_cast<std::uint64_t>(begin) : 0;
}

// ---- what a loop does

/// Function objects that may be copied into a function's own variables: the compiler then knows that nothing the loop
/// writes to changes their captures, and need not read those again.
template <class F>
inline constexpr bool copies_freely = std::is_trivially_copyable_v<F> && std::is_copy_constructible_v<F> && sizeof(F) <= 128;

template <class F, class... Args>
inline constexpr bool runs_as_copy = copies_freely<std::remove_cvref_t<F>> && std::is_invocable_v<const std::remove_cvref_t<F>&, Args...>;

template <class F, class G>
void with_copy(const F& f, G g) {
    const F copy = f;
    g(copy);
}

/// `F` is a reference where the caller gave something named.
template <class Source, class F>
struct for_body {
    using value = std::monostate;
    using result = std::invoke_result_t<F&, typename Source::element>;
    static constexpr bool awaits = is_task<std::remove_cvref_t<result>>;
    static constexpr bool adds = false;

    Source source;
    F f;

    void run(const stretch& s, std::optional<value>&) {
        const auto all = [&](auto& g) { source.each(s, [&g](auto&& x) { static_cast<void>(g(std::forward<decltype(x)>(x))); }); };
        if constexpr (runs_as_copy<F, typename Source::element>) {
            with_copy(f, all);
        } else {
            all(f);
        }
    }
    auto call(std::uint64_t place) { return f(source.at(place)); }
    static value merge(value, value) noexcept { return {}; }
};

/// The transformation of a reduce that has none.
struct as_it_is {
    template <class X>
    constexpr X&& operator()(X&& x) const noexcept {
        return std::forward<X>(x);
    }
};

template <class Source, class T, class Op, class F>
struct reduce_body {
    using value = T;
    using result = std::invoke_result_t<F&, typename Source::element>;
    static constexpr bool awaits = is_task<std::remove_cvref_t<result>>;
    static constexpr bool adds = true;

    Source source;
    Op op;
    F f;

    void run(stretch s, std::optional<T>& sum) {
        if (!sum) {
            sum.emplace(f(source.at(s.first)));
            s.drop(1);
        }
        T total = std::move(*sum);
        const auto all = [&](auto& g, auto& h) {
            source.each(s, [&](auto&& x) { total = h(std::move(total), g(std::forward<decltype(x)>(x))); });
        };
        if constexpr (runs_as_copy<F, typename Source::element> && runs_as_copy<Op, T, result>) {
            with_copy(f, [&](auto& g) { with_copy(op, [&](auto& h) { all(g, h); }); });
        } else {
            all(f, op);
        }
        *sum = std::move(total);
    }
    auto call(std::uint64_t place) { return f(source.at(place)); }
    template <class X>
    void add(std::optional<T>& sum, X&& x) {
        if (sum) {
            *sum = op(std::move(*sum), std::forward<X>(x));
        } else {
            sum.emplace(std::forward<X>(x));
        }
    }
    T merge(T&& left, T&& right) { return op(std::move(left), std::move(right)); }
};

template <class X>
struct awaited {
    using type = X;
};
template <class X>
struct awaited<task<X>> {
    using type = X;
};
/// What a function gives, or the task that it returns.
template <class F, class... Args>
using loop_result = typename awaited<std::remove_cvref_t<std::invoke_result_t<F&, Args...>>>::type;

template <class T, class Op, class X>
concept reduces = std::is_constructible_v<T, X> && std::is_invocable_r_v<T, Op&, T, X> && std::is_invocable_r_v<T, Op&, T, T> &&
                  std::is_move_constructible_v<T> && std::is_move_assignable_v<T>;

template <class T, class Source, class Op, class F>
task<T> make_reduce(Source source, std::uint64_t count, T&& init, Op&& op, F&& f) {
    static_assert(reduces<T, std::remove_reference_t<Op>, loop_result<F, typename Source::element>>,
                  "parallel_reduce needs an op that combines two values of init's type, and such a value with an element");
    static_assert(closure_survives<Op> && closure_survives<F>, "name this closure first: GCC 12 destroys it twice");
    using body = reduce_body<Source, T, Op, F>;  // Op and F are references if the arguments are lvalues
    return run_reduce<body>(body{std::move(source), std::forward<Op>(op), std::forward<F>(f)}, count, std::move(init));
}

}  // namespace covey::detail
