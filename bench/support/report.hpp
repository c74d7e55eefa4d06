// What the benchmark drivers share: arguments, repeated timing, a table with goals on standard output, and a CSV file for plot.py.
#pragma once

#include <covey/sched/concurrency.hpp>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bench {

inline std::string compiler() {
#if defined(__clang__)
    return "clang " + std::to_string(__clang_major__) + "." + std::to_string(__clang_minor__);
#else
    return "g++ " + std::to_string(__GNUC__) + "." + std::to_string(__GNUC_MINOR__);
#endif
}

/// `--name value` pairs and nothing else. Ends the program with a usage line for what it does not know.
class arguments {
public:
    arguments(int argc, char** argv, std::initializer_list<const char*> known) {
        for (int i = 1; i < argc; i += 2) {
            const bool right =
                i + 1 < argc && std::any_of(known.begin(), known.end(), [&](const char* k) { return std::strcmp(argv[i], k) == 0; });
            if (right) {
                m_given.emplace_back(argv[i], argv[i + 1]);
                continue;
            }
            std::fprintf(stderr, "usage: %s", argv[0]);
            for (const char* k : known) std::fprintf(stderr, " [%s VALUE]", k);
            std::fprintf(stderr, "\n");
            std::exit(2);
        }
    }

    std::string text(std::string_view name, std::string otherwise) const {
        for (const auto& [key, value] : m_given) {
            if (key == name) return value;
        }
        return otherwise;
    }
    /// At least 1.
    unsigned number(std::string_view name, unsigned otherwise) const {
        const std::string given = text(name, "");
        return given.empty() ? otherwise : static_cast<unsigned>(std::max(1, std::atoi(given.c_str())));
    }
    /// "a,b,c"
    std::vector<std::string> list(std::string_view name, const std::string& otherwise) const {
        std::vector<std::string> result(1);
        for (const char c : text(name, otherwise)) {
            if (c == ',') {
                result.emplace_back();
            } else {
                result.back() += c;
            }
        }
        return result;
    }
    /// "1,2" by default; those above the number of CPUs are left out, for they would measure the system's scheduler.
    std::vector<unsigned> threads() const {
        std::vector<unsigned> result;
        for (const std::string& t : list("--threads", "1,2")) {
            const unsigned n = static_cast<unsigned>(std::max(1, std::atoi(t.c_str())));
            if (n <= covey::available_cpus()) result.push_back(n);
        }
        if (result.empty()) result.push_back(1);
        return result;
    }

private:
    std::vector<std::pair<std::string, std::string>> m_given;
};

template <class F>
double seconds(F&& f) {
    const auto begin = std::chrono::steady_clock::now();
    std::forward<F>(f)();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

/// Repetitions of one thing.
class samples {
public:
    void add(double value) { m_values.push_back(value); }
    void reserve(std::size_t n) { m_values.reserve(n); }
    bool empty() const noexcept { return m_values.empty(); }
    double median() const { return quantile(0.5); }
    double least() const { return quantile(0); }
    /// The value that the share `q` of all lies below; 0 if there is none.
    double quantile(double q) const {
        if (m_values.empty()) return 0;
        std::vector<double> sorted = m_values;
        std::sort(sorted.begin(), sorted.end());
        return sorted[std::min(sorted.size() - 1, static_cast<std::size_t>(q * static_cast<double>(sorted.size())))];
    }

private:
    std::vector<double> m_values;
};

/// What a figure has to be.
struct goal {
    enum class kind { none, ratio_at_most, ratio_at_least, at_most } which = kind::none;
    double limit = 0;
};

/// One line of a table. `peer` 0: there is none.
struct figure {
    std::string benchmark;
    unsigned threads = 1;
    const char* unit = "";
    double ours = 0;
    double ours_least = 0;
    double peer = 0;
    double peer_least = 0;
    const char* peer_name = "";
    bench::goal goal{};

    double ratio() const noexcept { return peer > 0 ? ours / peer : 0; }
    bool met() const noexcept {
        switch (goal.which) {
            case goal::kind::ratio_at_most: return ratio() <= goal.limit;
            case goal::kind::ratio_at_least: return ratio() >= goal.limit;
            case goal::kind::at_most: return ours <= goal.limit;
            case goal::kind::none: break;
        }
        return true;
    }
    std::string goal_text() const {
        char text[64] = "";
        switch (goal.which) {
            case goal::kind::ratio_at_most: std::snprintf(text, sizeof text, "<= %.2f x", goal.limit); break;
            case goal::kind::ratio_at_least: std::snprintf(text, sizeof text, ">= %.2f x", goal.limit); break;
            case goal::kind::at_most: std::snprintf(text, sizeof text, "<= %g %s", goal.limit, unit); break;
            case goal::kind::none: break;
        }
        return text;
    }
    const char* verdict() const noexcept { return goal.which == goal::kind::none ? "" : met() ? "yes" : "NO"; }
};

/// Medians and leasts of runs of both sides.
inline figure compare(std::string benchmark, unsigned threads, const char* unit, const samples& ours, const samples& peer,
                      const char* peer_name, bench::goal goal) {
    return {.benchmark = std::move(benchmark),
            .threads = threads,
            .unit = unit,
            .ours = ours.median(),
            .ours_least = ours.least(),
            .peer = peer.median(),
            .peer_least = peer.least(),
            .peer_name = peer_name,
            .goal = goal};
}

/// Keeps the figures and writes them as `--csv FILE` says: appended, with a line of names if the file is new, so that several
/// programs and compilers can share one.
class report {
public:
    report(const char* program, const arguments& how) : m_program(program), m_file(how.text("--csv", "")) {}

    const figure& add(figure f) {
        m_figures.push_back(std::move(f));
        return m_figures.back();
    }

    /// The exit status of the program: 0, or 1 if the file cannot be written.
    int write() const {
        if (m_file.empty()) return 0;
        std::FILE* const file = std::fopen(m_file.c_str(), "a");
        if (file == nullptr) {
            std::perror(m_file.c_str());
            return 1;
        }
        std::fseek(file, 0, SEEK_END);
        if (std::ftell(file) == 0) {
            std::fprintf(file, "program,benchmark,threads,unit,covey,covey_min,peer,peer_min,peer_name,goal,met,compiler\n");
        }
        for (const figure& f : m_figures) {
            std::fprintf(file, "%s,\"%s\",%u,%s,%g,%g,%g,%g,%s,%s,%s,%s\n", m_program, f.benchmark.c_str(), f.threads, f.unit, f.ours,
                         f.ours_least, f.peer, f.peer_least, f.peer_name, f.goal_text().c_str(), f.verdict(), compiler().c_str());
        }
        return std::fclose(file) == 0 ? 0 : 1;
    }

private:
    const char* m_program;
    std::string m_file;
    std::vector<figure> m_figures;
};

/// The result is used: the compiler must not leave the work out.
template <class T>
void keep(T& value) noexcept {
    asm volatile("" : "+m"(value) : : "memory");
}

/// Ends the program when a benchmark computes something wrong: its time would say nothing.
inline void require(bool right, const char* what) {
    if (right) return;
    std::fprintf(stderr, "wrong result: %s\n", what);
    std::exit(1);
}

}  // namespace bench
