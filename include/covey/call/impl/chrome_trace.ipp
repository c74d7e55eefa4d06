#pragma once

#include <covey/call/chrome_trace.hpp>
#include <covey/call/statistics.hpp>
#include <covey/core/detail/concat.hpp>
#include <covey/core/error.hpp>

#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <map>
#include <optional>
#include <utility>

namespace covey {

namespace detail {

/// How far the clock of `to` is behind that of `from`, and what the calls that say so spent on their way at least.
struct clock_difference {
    std::int64_t offset_ns = 0;
    std::int64_t way_ns = 0;
};

/// From a call's two spans: by the other clock it was served in the middle of the way.
inline clock_difference difference_of(const call_span& made, const call_span& served) noexcept {
    const std::int64_t there = made.begin_ns - served.begin_ns;
    const std::int64_t back = made.end_ns - served.end_ns;
    return {(there + back) / 2, back - there};
}

/// For each two lists, by their places, the best difference between their clocks.
inline std::map<std::pair<std::size_t, std::size_t>, clock_difference> clock_differences(std::span<const span_list> peers) {
    std::map<std::uint64_t, std::pair<std::size_t, const call_span*>> made;
    for (std::size_t i = 0; i < peers.size(); ++i) {
        for (const call_span& s : peers[i].spans) {
            if (s.kind == span_kind::made) made.emplace(s.context.span, std::pair(i, &s));
        }
    }
    std::map<std::pair<std::size_t, std::size_t>, clock_difference> best;
    for (std::size_t i = 0; i < peers.size(); ++i) {
        for (const call_span& s : peers[i].spans) {
            // Only calls that were answered: others end at the caller for reasons of its own.
            const auto at = made.find(s.parent);
            if (s.kind != span_kind::served || at == made.end() || at->second.first == i) continue;
            if (s.how != call_counts::value || at->second.second->how != call_counts::value) continue;
            const clock_difference d = difference_of(*at->second.second, s);
            const auto [known, is_new] = best.try_emplace({at->second.first, i}, d);
            if (!is_new && d.way_ns < known->second.way_ns) known->second = d;
        }
    }
    return best;
}

inline void append_json_text(std::string& to, std::string_view text) {
    to += '"';
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        if (c == '"' || c == '\\') {
            to += '\\';
            to += c;
        } else if (byte < 0x20 || byte > 0x7e) {
            to += '?';  // names of functions and peers; what is no ASCII need not be UTF-8
        } else {
            to += c;
        }
    }
    to += '"';
}

inline void append_hex_text(std::string& to, std::uint64_t bits) {
    char text[24];
    std::snprintf(text, sizeof text, "\"0x%llx\"", static_cast<unsigned long long>(bits));
    to += text;
}

inline void append_us(std::string& to, std::int64_t ns) {
    char text[32];
    std::snprintf(text, sizeof text, "%.3f", static_cast<double>(ns) / 1e3);
    to += text;
}

/// Spans at the same time on one thread do not nest as slices of a thread have to, so they get rows of their own: a span goes into
/// the first row in which it overlaps nothing but the span that it is a part of.
class trace_rows {
public:
    std::size_t place(const call_span& s) {
        for (std::size_t i = 0; i < m_rows.size(); ++i) {
            if (fits(m_rows[i], s)) return i;
        }
        m_rows.emplace_back().push_back(&s);
        return m_rows.size() - 1;
    }

private:
    /// What is open in a row, outermost first.
    using row = std::vector<const call_span*>;

    static bool fits(row& r, const call_span& s) {
        while (!r.empty() && r.back()->end_ns <= s.begin_ns) r.pop_back();
        if (!r.empty() && (r.back()->context.span != s.parent || r.back()->end_ns < s.end_ns)) return false;
        r.push_back(&s);
        return true;
    }
    std::vector<row> m_rows;
};

/// A process id for people and programs that want small numbers.
inline std::uint32_t process_number(peer_id id) noexcept { return static_cast<std::uint32_t>(id.value >> 33) | 1u; }

class trace_writer {
public:
    explicit trace_writer(std::string& to) noexcept : m_to(to) {}

    void add(const span_list& peer, std::int64_t offset_ns) {
        m_process = process_number(peer.peer);
        m_offset_ns = offset_ns;
        name_row("process_name", 0, concat({(peer.name.empty() ? "peer" : peer.name), " (", to_string(peer.peer), ")"}));
        std::vector<const call_span*> sorted;
        for (const call_span& s : peer.spans) sorted.push_back(&s);
        std::sort(sorted.begin(), sorted.end(), [](const call_span* a, const call_span* b) {
            if (a->begin_ns != b->begin_ns) return a->begin_ns < b->begin_ns;
            // What is a part of another begins no sooner, but may begin with it.
            return a->end_ns != b->end_ns ? a->end_ns > b->end_ns : a->context.span < b->context.span;
        });
        std::map<unsigned, trace_rows> workers;
        std::map<unsigned, std::size_t> rows_named;
        for (const call_span* s : sorted) {
            const std::size_t row = workers[s->worker].place(*s);
            const std::uint64_t thread = std::uint64_t{s->worker} * 100'000 + row;
            if (row == rows_named[s->worker]) {
                ++rows_named[s->worker];
                name_row("thread_name", thread, concat({"worker ", unsigned{s->worker}, (row == 0 ? "" : concat({" +", row}))}));
            }
            add(*s, thread);
        }
        if (peer.dropped == 0 || sorted.empty()) return;
        begin("i", 0);
        m_to += ",\"s\":\"p\",\"ts\":";
        append_us(m_to, sorted.back()->begin_ns + m_offset_ns);
        m_to += concat({",\"name\":\"", peer.dropped, " later spans were not kept\"}"});
    }

private:
    void begin(const char* phase, std::uint64_t thread) {
        if (!m_to.empty()) m_to += ",\n";
        m_to += concat({"{\"ph\":\"", phase, "\",\"pid\":", m_process, ",\"tid\":", thread});
    }
    void name_row(const char* what, std::uint64_t thread, const std::string& name) {
        begin("M", thread);
        m_to += concat({",\"name\":\"", what, "\",\"args\":{\"name\":"});
        append_json_text(m_to, name);
        m_to += "}}";
    }
    void add(const call_span& s, std::uint64_t thread) {
        begin("X", thread);
        m_to += ",\"cat\":\"call\",\"ts\":";
        append_us(m_to, s.begin_ns + m_offset_ns);
        m_to += ",\"dur\":";
        append_us(m_to, std::max<std::int64_t>(s.end_ns - s.begin_ns, 0));
        m_to += ",\"name\":";
        append_json_text(m_to, s.function);
        static constexpr const char* kinds[] = {"?", "made", "served", "local"};
        m_to += concat({",\"args\":{\"kind\":\"", kinds[static_cast<std::size_t>(s.kind) & 3], "\",\"peer\":\"", to_string(s.other),
                        "\",\"traceparent\":\"", s.context.traceparent(), "\",\"parent\":"});
        append_hex_text(m_to, s.parent);
        m_to += concat({",\"ended\":\"", end_text(s.how), "\"}}"});
        if (s.kind == span_kind::made) arrow("s", thread, s.begin_ns, s.context.span);
        if (s.kind == span_kind::served && s.parent != 0) arrow("f", thread, s.begin_ns, s.parent);
    }
    /// It starts in the slice that is open there, and ends in one.
    void arrow(const char* phase, std::uint64_t thread, std::int64_t at_ns, std::uint64_t id) {
        begin(phase, thread);
        m_to += ",\"cat\":\"call\",\"name\":\"call\",\"bp\":\"e\",\"id\":";
        append_hex_text(m_to, id);
        m_to += ",\"ts\":";
        append_us(m_to, at_ns + m_offset_ns);
        m_to += '}';
    }
    static std::string end_text(std::size_t how) {
        if (how == call_counts::value) return "value";
        if (how == call_counts::exception) return "exception";
        if (how == call_counts::stopped) return "stopped";
        return make_error_code(errc_from(static_cast<std::uint16_t>(how), errc::protocol_error)).message();
    }

    std::string& m_to;
    std::uint32_t m_process = 0;
    std::int64_t m_offset_ns = 0;
};

/// The events, with commas between them.
inline std::string trace_events(std::span<const span_list> peers) {
    const std::vector<std::int64_t> offsets = clock_offsets(peers);
    std::string events;
    trace_writer writer(events);
    for (std::size_t i = 0; i < peers.size(); ++i) writer.add(peers[i], offsets[i]);
    return events;
}

struct locked_file {
    explicit locked_file(const std::string& path) : file(std::fopen(path.c_str(), "a+")) {
        if (file == nullptr || flock(fileno(file), LOCK_EX) != 0) fail(path, std::strerror(errno));
    }
    locked_file(const locked_file&) = delete;
    locked_file& operator=(const locked_file&) = delete;
    ~locked_file() {
        if (file != nullptr) std::fclose(file);
    }
    [[noreturn]] void fail(const std::string& path, std::string_view why) {
        if (file != nullptr) std::fclose(std::exchange(file, nullptr));
        throw error(errc::bad_argument, concat({"the trace file ", path, " cannot be written: ", why, "; name another (COVEY_TRACE)"}));
    }
    std::FILE* file;
};

}  // namespace detail

COVEY_INLINE std::vector<std::int64_t> clock_offsets(std::span<const span_list> peers) {
    const auto differences = detail::clock_differences(peers);
    std::vector<std::int64_t> offsets(peers.size());
    std::vector<bool> is_known(peers.size());
    // The shortest ways first, from the first list outwards (Prim).
    if (!peers.empty()) is_known[0] = true;
    for (;;) {
        std::optional<detail::clock_difference> best;
        std::size_t next = 0;
        for (const auto& [pair, d] : differences) {
            const auto [caller, server] = pair;
            if (is_known[caller] == is_known[server] || (best && best->way_ns <= d.way_ns)) continue;
            next = is_known[caller] ? server : caller;
            best = detail::clock_difference{is_known[caller] ? offsets[caller] + d.offset_ns : offsets[server] - d.offset_ns, d.way_ns};
        }
        if (!best) return offsets;
        is_known[next] = true;
        offsets[next] = best->offset_ns;
    }
}

COVEY_INLINE std::string chrome_trace(std::span<const span_list> peers) {
    return detail::concat({"[\n", detail::trace_events(peers), "\n]\n"});
}

COVEY_INLINE void append_chrome_trace(const std::string& path, std::span<const span_list> peers) {
    const std::string events = detail::trace_events(peers);
    detail::locked_file to(path);
    struct stat about{};
    if (fstat(fileno(to.file), &about) != 0) to.fail(path, std::strerror(errno));
    const char* head = "[\n";
    if (about.st_size != 0) {
        static constexpr std::string_view tail = "\n]\n";
        char last[tail.size()];
        const off_t keep = about.st_size - static_cast<off_t>(tail.size());
        const bool is_ours = keep > 0 && pread(fileno(to.file), last, sizeof last, keep) == static_cast<ssize_t>(sizeof last) &&
                             std::string_view(last, sizeof last) == tail;
        if (!is_ours) to.fail(path, "it is something else than a trace of calls");
        if (ftruncate(fileno(to.file), keep) != 0) to.fail(path, std::strerror(errno));
        head = ",\n";
    }
    const std::string text = detail::concat({head, events, "\n]\n"});
    if (std::fwrite(text.data(), 1, text.size(), to.file) != text.size() || std::fflush(to.file) != 0) to.fail(path, std::strerror(errno));
}

}  // namespace covey
