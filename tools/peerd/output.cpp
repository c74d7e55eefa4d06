#include <peerd/output.hpp>

#include <algorithm>
#include <cerrno>
#include <cstdio>

#include <limits.h>
#include <poll.h>
#include <unistd.h>

namespace peerd {

void sink::write_some() noexcept {
    // poll() promises room for PIPE_BUF bytes; the descriptor itself stays blocking, for it is shared with others.
    const ssize_t n = write(m_fd, m_waiting.data(), std::min<std::size_t>(m_waiting.size(), PIPE_BUF));
    if (n >= 0) {
        m_waiting.erase(0, static_cast<std::size_t>(n));
    } else if (errno != EINTR && errno != EAGAIN) {
        m_broken = true;
        m_waiting.clear();
    }
}

void sink::flush(int limit_ms) noexcept {
    while (!empty()) {
        pollfd room{m_fd, POLLOUT, 0};
        if (poll(&room, 1, limit_ms) <= 0) return;
        write_some();
    }
}

void line_prefixer::feed(std::string_view bytes) {
    while (!bytes.empty()) {
        const std::size_t room = line_bytes_max - m_partial.size();
        const std::size_t end = bytes.substr(0, room).find('\n');
        if (end != std::string_view::npos) {
            m_partial += bytes.substr(0, end);
            bytes.remove_prefix(end + 1);
        } else {
            const std::size_t taken = std::min(room, bytes.size());
            m_partial += bytes.substr(0, taken);
            bytes.remove_prefix(taken);
            if (m_partial.size() < line_bytes_max) return;
        }
        pass_on(m_partial);
        m_partial.clear();
    }
}

void line_prefixer::finish() {
    if (!m_partial.empty()) pass_on(m_partial);
    m_partial.clear();
}

void line_prefixer::pass_on(std::string_view line) {
    m_to->append(m_prefix);
    m_to->append(line);
    m_to->append("\n");
}

void print_columns(const std::vector<std::vector<std::string>>& rows) {
    std::vector<std::size_t> widths;
    for (const auto& row : rows) {
        widths.resize(std::max(widths.size(), row.size()));
        for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
    }
    for (const auto& row : rows) {
        std::string line;
        for (std::size_t i = 0; i < row.size(); ++i) {
            line += row[i];
            if (i + 1 < row.size()) line.append(widths[i] - row[i].size() + 2, ' ');
        }
        std::puts(line.c_str());
    }
}

}  // namespace peerd
