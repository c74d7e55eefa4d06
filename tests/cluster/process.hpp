// Real processes in tests: started, talked to, and always ended, also when a test fails.
#pragma once

#include <chrono>
#include <csignal>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <sys/types.h>

namespace covey_test {

/// What a test waits for at most, stretched where a sanitizer slows everything down.
std::chrono::milliseconds limit(std::chrono::milliseconds as_measured);

/// "bin/<name>" of this build.
std::string program(const std::string& name);

struct start_options {
    std::vector<std::string> environment;  ///< "NAME=value"; every COVEY_ variable of the test's own environment is removed
    bool no_file_override = false;         ///< file permissions hold even where the test runs as root
};

/// A child process with pipes for its input, output and errors. It is killed and reaped by the destructor, and by the
/// kernel should the test program die first. Failing to do what a member promises throws std::runtime_error with what the
/// process printed, which fails the test.
class process {
public:
    explicit process(std::vector<std::string> argv, start_options options = {});
    process(process&& other) noexcept;
    process& operator=(process&&) = delete;
    ~process();

    pid_t pid() const noexcept { return m_pid; }
    void signal(int number) const;

    /// Writes a line to its standard input.
    void send(std::string_view line);
    void close_input();
    /// The first line of its output that begins with `prefix`, without it; waits for it. Each line is given out once; lines
    /// that begin otherwise are kept for later.
    std::string expect(std::string_view prefix, std::chrono::milliseconds at_most = std::chrono::seconds(10));
    /// As expect, for its standard error.
    std::string expect_error(std::string_view prefix, std::chrono::milliseconds at_most = std::chrono::seconds(10));
    /// Waits for its end and gives its exit code, or 128 + the signal. Its output is read to the end meanwhile.
    int wait(std::chrono::milliseconds at_most = std::chrono::seconds(20));

    /// All that it printed so far.
    const std::string& out() const noexcept { return m_out.text; }
    const std::string& err() const noexcept { return m_err.text; }

private:
    struct stream {
        int fd = -1;
        std::string text;
        std::size_t cut = 0;            // everything before is or was among the lines
        std::deque<std::string> lines;  // not given out yet
    };
    using clock = std::chrono::steady_clock;

    std::string expect_on(stream& s, std::string_view prefix, std::chrono::milliseconds at_most);
    std::optional<std::string> take_line(stream& s, std::string_view prefix);
    void read_some(clock::time_point until);
    static void read_from(stream& s);
    void close_all() noexcept;
    [[noreturn]] void fail(const std::string& what) const;

    std::vector<std::string> m_argv;
    pid_t m_pid = -1;
    bool m_reaped = false;
    int m_in = -1;
    int m_end = -1;  // a pidfd: readable when the process has ended
    stream m_out;
    stream m_err;
};

/// Whether a process of that number exists and is no zombie.
bool is_running(pid_t pid);
/// Waits until none of these processes runs any more; false: some still did after that time.
bool all_gone(const std::vector<pid_t>& pids, std::chrono::milliseconds at_most);

/// A directory under the system's place for temporary files, removed at the end.
class temporary_directory {
public:
    temporary_directory();
    ~temporary_directory();
    temporary_directory(const temporary_directory&) = delete;
    temporary_directory& operator=(const temporary_directory&) = delete;

    const std::string& path() const noexcept { return m_path; }
    /// Writes a file in it, making directories on the way, and gives its path.
    std::string write(const std::string& name, std::string_view text) const;
    std::string file(const std::string& name) const { return m_path + "/" + name; }

private:
    std::string m_path;
};

std::string read_file(const std::string& path);

/// A TCP and UDP port of 127.0.0.1 that nobody used a moment ago.
unsigned short free_port();

}  // namespace covey_test
