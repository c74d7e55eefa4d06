// The output of many processes on one: whole lines, each with the number of its process in front.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace peerd {

/// Bytes on their way to one of the launcher's own outputs. Never blocks, so that signals are always heeded.
class sink {
public:
    explicit sink(int fd) noexcept : m_fd(fd) {}

    /// Beyond this many waiting bytes whoever fills the sink stops reading its source, which then waits in turn.
    static constexpr std::size_t bytes_max = std::size_t{256} << 10;

    int fd() const noexcept { return m_fd; }
    bool full() const noexcept { return m_waiting.size() >= bytes_max; }
    bool empty() const noexcept { return m_waiting.empty(); }
    void append(std::string_view text) {
        if (!m_broken) m_waiting += text;
    }
    /// Writes one piece: to be called when poll() says that it fits. After an error everything is dropped from then on.
    void write_some() noexcept;
    /// Writes what is left, for at most `limit_ms`.
    void flush(int limit_ms) noexcept;

private:
    int m_fd;
    bool m_broken = false;
    std::string m_waiting;
};

/// Cuts a stream of bytes into lines and passes them on with a prefix.
class line_prefixer {
public:
    line_prefixer(std::string prefix, sink& to) : m_prefix(std::move(prefix)), m_to(&to) {}

    /// A longer line is passed on as several.
    static constexpr std::size_t line_bytes_max = std::size_t{16} << 10;

    void feed(std::string_view bytes);
    /// Passes on a last line that has no end.
    void finish();

private:
    void pass_on(std::string_view line);

    std::string m_prefix;
    sink* m_to;
    std::string m_partial;
};

/// Prints rows on standard output, each column as wide as its widest text.
void print_columns(const std::vector<std::vector<std::string>>& rows);

}  // namespace peerd
