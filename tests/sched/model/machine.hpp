// A checker of small concurrent programs: it visits every state that a few threads can bring a few shared variables into, on
// a machine whose stores reach the others late, as those of x86 do.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace covey_test::model {

using value = std::uint8_t;

/// Of P. Sewell, S. Sarkar, S. Owens, F. Zappa Nardelli and M. O. Myreen, "x86-TSO", CACM 2010: each thread has a first-in
/// first-out buffer of stores that the others do not see yet; at any moment the oldest may reach memory. A thread reads its own
/// stores. Read-modify-writes and fences wait until the buffer is empty.
struct sizes {
    std::size_t cells;
    std::size_t threads;
    std::size_t registers;
    std::size_t depth;  // stores in a buffer; a store waits while it is full
};

/// A sequence that grows without moving what is in it.
template <class T>
class chunks {
public:
    void push_back(const T& t) {
        if (m_size % per_chunk == 0) m_chunks.push_back(std::make_unique<std::array<T, per_chunk>>());
        (*m_chunks.back())[m_size++ % per_chunk] = t;
    }
    const T& operator[](std::size_t i) const { return (*m_chunks[i / per_chunk])[i % per_chunk]; }
    std::size_t size() const { return m_size; }
    void clear() {
        m_chunks.clear();
        m_size = 0;
    }

private:
    static constexpr std::size_t per_chunk = 4096;
    std::vector<std::unique_ptr<std::array<T, per_chunk>>> m_chunks;
    std::size_t m_size = 0;
};

template <sizes S>
class machine {
public:
    struct thread_state {
        value at = 0;  // the step that comes next
        value stored = 0;
        std::array<value, S.registers> registers{};
        std::array<value, 2 * S.depth> buffer{};  // cell, value; the oldest first
    };
    struct state {
        std::array<value, S.cells> memory{};
        std::array<thread_state, S.threads> threads{};
    };
    static_assert(alignof(state) == 1 && sizeof(state) < 256);

    /// What a step sees and does. One step has one access to shared memory at most, or a section that others are locked out of.
    class context {
    public:
        context(const machine& m, state& s, std::size_t thread, value choice)
            : m_machine(m), m_state(s), m_thread(thread), m_choice(choice) {}

        value load(std::size_t cell) const { return m_machine.read(m_state, m_thread, cell); }
        void store(std::size_t cell, value v) {
            thread_state& self = me();
            if (self.stored == S.depth) return block();
            self.buffer[2 * self.stored] = static_cast<value>(cell);
            self.buffer[2 * self.stored + 1] = v;
            ++self.stored;
        }
        void fence() { drain(me()); }
        /// membarrier(2): every thread passes a fence.
        void fence_of_all() {
            for (thread_state& t : m_state.threads) drain(t);
        }
        bool nobody_stores() const {
            for (const thread_state& t : m_state.threads) {
                if (t.stored != 0) return false;
            }
            return true;
        }
        value exchange(std::size_t cell, value v) {
            fence();
            return std::exchange(m_state.memory[cell], v);
        }
        value add(std::size_t cell, int n) {
            fence();
            return std::exchange(m_state.memory[cell], static_cast<value>(m_state.memory[cell] + n));
        }
        bool compare_exchange(std::size_t cell, value expected, value v) {
            fence();
            if (m_state.memory[cell] != expected) return false;
            m_state.memory[cell] = v;
            return true;
        }
        /// What no machine has but the one who looks on: a cell that changes at once and orders nothing.
        value& ghost(std::size_t cell) { return m_state.memory[cell]; }
        value& reg(std::size_t r) { return me().registers[r]; }

        /// This step cannot be made now.
        void block() { m_blocked = true; }
        void block_unless(bool ready) { m_blocked = m_blocked || !ready; }
        /// Goes on elsewhere than at the next step.
        void go(value label) { me().at = m_machine.m_labels[label]; }
        void go_if(bool yes, value label) {
            if (yes) go(label);
        }
        /// One of 0 … n-1, all of which are tried.
        value choose(value n) {
            m_choices = n;
            return m_choice;
        }

    private:
        friend class machine;
        thread_state& me() { return m_state.threads[m_thread]; }
        void drain(thread_state& t) {
            for (std::size_t i = 0; i < t.stored; ++i) m_state.memory[t.buffer[2 * i]] = t.buffer[2 * i + 1];
            t.stored = 0;
            t.buffer = {};
        }
        const machine& m_machine;
        state& m_state;
        std::size_t m_thread;
        value m_choice;
        value m_choices = 1;
        bool m_blocked = false;
    };
    using action = std::function<void(context&)>;

    /// Writing the programs: all threads' in one list; a thread ends where it comes upon `stop`.
    value label() {
        m_labels.push_back(0);
        return static_cast<value>(m_labels.size() - 1);
    }
    void here(value label) { m_labels[label] = static_cast<value>(m_steps.size()); }
    value start() {
        const value l = label();
        here(l);
        return l;
    }
    void step(const char* what, action run) { m_steps.push_back({what, std::move(run)}); }
    void stop() {
        step("(stopped)", [](context& c) { c.block(); });
    }
    void jump(value to) {
        step("", [to](context& c) { c.go(to); });
    }
    void begin(std::size_t thread, value label) { m_first.threads[thread].at = m_labels[label]; }
    state& first() { return m_first; }
    bool is_at(const state& s, std::size_t thread, value label) const { return s.threads[thread].at == m_labels[label]; }
    /// What the thread would read.
    value read(const state& s, std::size_t thread, std::size_t cell) const {
        const thread_state& self = s.threads[thread];
        for (std::size_t i = self.stored; i-- > 0;) {
            if (self.buffer[2 * i] == cell) return self.buffer[2 * i + 1];
        }
        return s.memory[cell];
    }

    struct verdict {
        bool holds = true;
        bool complete = true;  // every state was visited
        std::size_t states = 0;
        std::size_t ends = 0;  // states in which nothing more can happen
        std::string trace;     // the shortest way to a state that must not be
    };

    /// Visits all states, nearest first. `always(state)` must hold in each, `at_end(state)` in those that have no successor.
    template <class Always, class AtEnd>
    verdict check(Always always, AtEnd at_end, std::size_t most_states = 4'000'000) {
        if (m_steps.size() > 255) std::abort();
        m_states.clear();
        m_origins.clear();
        m_index.assign(1 << 16, none);
        m_used = 0;
        insert(m_first, {none, 0, 0});
        verdict result;
        for (std::size_t i = 0; i < m_states.size(); ++i) {
            if (m_states.size() > most_states) {
                result.complete = false;
                break;
            }
            const bool more = expand(i);
            if (!more) ++result.ends;
            const state& s = m_states[i];
            if (!always(s) || (!more && !at_end(s))) {
                result.holds = false;
                result.trace = trace(i);
                break;
            }
        }
        result.states = m_states.size();
        m_states.clear();
        m_origins = {};
        m_index = {};
        return result;
    }

private:
    static constexpr std::uint32_t none = ~std::uint32_t{0};
    static constexpr value flush = 255;
    struct one_step {
        const char* what;
        action run;
    };
    struct origin {
        std::uint32_t from;
        value thread;
        value step;
    };

    /// Appends what follows state i. False: nothing does.
    bool expand(std::size_t i) {
        bool more = false;
        for (std::size_t t = 0; t < S.threads; ++t) {
            const state before = m_states[i];
            const value at = before.threads[t].at;
            if (before.threads[t].stored != 0) {
                state after = before;
                thread_state& self = after.threads[t];
                after.memory[self.buffer[0]] = self.buffer[1];
                std::copy(self.buffer.begin() + 2, self.buffer.end(), self.buffer.begin());
                self.buffer[2 * S.depth - 2] = self.buffer[2 * S.depth - 1] = 0;
                --self.stored;
                insert(after, {static_cast<std::uint32_t>(i), static_cast<value>(t), flush});
                more = true;
            }
            value choices = 1;
            for (value choice = 0; choice < choices; ++choice) {
                state after = before;
                ++after.threads[t].at;
                context c(*this, after, t, choice);
                m_steps[at].run(c);
                choices = c.m_choices;
                if (c.m_blocked) continue;
                insert(after, {static_cast<std::uint32_t>(i), static_cast<value>(t), at});
                more = true;
            }
        }
        return more;
    }

    static std::uint64_t hash(const state& s) {
        std::uint64_t h = 0x9e3779b97f4a7c15u;
        const auto* bytes = reinterpret_cast<const unsigned char*>(&s);
        std::size_t n = 0;
        for (; n + 8 <= sizeof s; n += 8) {
            std::uint64_t word = 0;
            std::memcpy(&word, bytes + n, 8);
            h = (h ^ word) * 0xff51afd7ed558ccdu;
            h ^= h >> 32;
        }
        for (; n < sizeof s; ++n) h = (h ^ bytes[n]) * 0x100000001b3u;
        return h ^ (h >> 29);
    }
    void insert(const state& s, origin from) {
        if (m_used * 2 >= m_index.size()) {
            std::vector<std::uint32_t> larger(m_index.size() * 2, none);
            for (std::uint32_t i = 0; i < m_states.size(); ++i) larger[place(larger, m_states[i])] = i;
            m_index.swap(larger);
        }
        std::uint32_t& slot = m_index[place(m_index, s)];
        if (slot != none) return;
        slot = static_cast<std::uint32_t>(m_states.size());
        ++m_used;
        m_states.push_back(s);
        m_origins.push_back(from);
    }
    std::size_t place(const std::vector<std::uint32_t>& index, const state& s) const {
        std::size_t i = hash(s) & (index.size() - 1);
        while (index[i] != none && std::memcmp(&m_states[index[i]], &s, sizeof s) != 0) i = (i + 1) & (index.size() - 1);
        return i;
    }
    std::string trace(std::size_t i) const {
        std::vector<std::string> lines;
        for (auto n = static_cast<std::uint32_t>(i); m_origins[n].from != none; n = m_origins[n].from) {
            const origin& o = m_origins[n];
            std::string what = "a store reaches memory";
            if (o.step != flush) what = m_steps[o.step].what;
            if (!what.empty()) lines.push_back("  thread " + std::to_string(o.thread) + ": " + what + "\n");
        }
        std::reverse(lines.begin(), lines.end());
        std::string text;
        for (const std::string& line : lines) text += line;
        return text;
    }

    std::vector<one_step> m_steps;
    std::vector<value> m_labels;
    state m_first;
    chunks<state> m_states;
    std::vector<origin> m_origins;
    std::vector<std::uint32_t> m_index;
    std::size_t m_used = 0;
};

/// Prints what a check has seen.
template <class Verdict>
void report(const char* name, const Verdict& v) {
    std::printf("model: %s: %s%zu states, %zu ends\n", name, v.holds ? "" : "counterexample after ", v.states, v.ends);
}

}  // namespace covey_test::model
