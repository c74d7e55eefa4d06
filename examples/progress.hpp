// Progress of a long job: a bar on a terminal, and a file with the percentage for scripts.
#pragma once

#include <covey/covey.hpp>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <string>
#include <utility>

#include <unistd.h>

class progress {
public:
    /// `total` steps in all. `file` is rewritten with each new percentage; empty: none. The bar is drawn where standard error
    /// is a terminal.
    progress(std::size_t total, std::string file) : m_total(total), m_file(std::move(file)), m_bar(isatty(STDERR_FILENO) == 1) {}
    ~progress() {
        if (m_bar && m_shown >= 0) std::fputs("\r\033[K", stderr);
    }
    progress(const progress&) = delete;
    progress& operator=(const progress&) = delete;

    void show(std::size_t done) {
        const int percent = m_total == 0 ? 100 : static_cast<int>(done * 100 / m_total);
        if (percent == m_shown) return;
        m_shown = percent;
        if (m_bar) draw();
        if (!m_file.empty()) write();
    }

    /// A task that shows `done` until it is stopped: let it lose a `when_any` against the work.
    covey::task<void> follow(const std::atomic<std::size_t>& done) {
        for (;;) {
            show(done.load(std::memory_order_relaxed));
            co_await covey::schedule_after(std::chrono::milliseconds(20));
        }
    }

private:
    void draw() const {
        constexpr int width = 40;
        const auto full = static_cast<std::size_t>(m_shown * width / 100);
        const std::string bar = std::string(full, '#') + std::string(width - full, '.');
        std::fprintf(stderr, "\r[%s] %3d%%", bar.c_str(), m_shown);
        std::fflush(stderr);
    }

    /// Whoever reads the file sees the old percentage or the new one, never half of it.
    void write() {
        const std::string next = m_file + ".new";
        std::FILE* out = std::fopen(next.c_str(), "w");
        bool written = out != nullptr && std::fprintf(out, "%d\n", m_shown) > 0;
        if (out != nullptr && std::fclose(out) != 0) written = false;
        if (written && std::rename(next.c_str(), m_file.c_str()) == 0) return;
        std::fprintf(stderr, "warning: the progress cannot be written to %s\n", m_file.c_str());
        m_file.clear();
    }

    std::size_t m_total;
    std::string m_file;
    bool m_bar;
    int m_shown = -1;
};
