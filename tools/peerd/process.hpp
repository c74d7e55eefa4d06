// Child processes that do not outlive the launcher.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include <sys/types.h>

namespace peerd {

/// A file descriptor, closed at the end of its owner's life. Move-only.
class descriptor {
public:
    descriptor() noexcept = default;
    explicit descriptor(int fd) noexcept : m_fd(fd) {}
    descriptor(descriptor&& other) noexcept : m_fd(std::exchange(other.m_fd, -1)) {}
    descriptor& operator=(descriptor&& other) noexcept {
        std::swap(m_fd, other.m_fd);
        return *this;
    }
    ~descriptor() { reset(); }

    int get() const noexcept { return m_fd; }
    explicit operator bool() const noexcept { return m_fd >= 0; }
    void reset() noexcept;

private:
    int m_fd = -1;
};

struct pipe_ends {
    descriptor read;
    descriptor write;
};
/// A pipe that programs started later do not inherit. Throws std::system_error.
pipe_ends make_pipe();
void set_non_blocking(int fd);

/// What to start and how.
struct program {
    std::vector<std::string> argv;  ///< [0] is looked up in PATH when it has no slash
    /// Changes to this process's environment: "NAME=value" sets, "NAME" removes.
    std::vector<std::string> environment;
    /// True: a process group of its own, nothing on its standard input, output and errors into pipes.
    /// False: shares terminal, input, output and process group with the launcher.
    bool detached = false;
    int inherited_fd = -1;  ///< one more descriptor that the program gets, under the same number
};

/// The program could not be started: one line for a person, and the exit code that shells use (127: not found, 126: found,
/// but it cannot be executed).
struct start_failure {
    std::string what;
    int exit_code;
};

/// A started program. The kernel kills it when the launcher's thread dies, however that happens. The destructor kills and
/// reaps it.
class child {
public:
    /// Throws start_failure, or std::system_error when this machine has no room for a process.
    explicit child(const program& what);
    child(child&&) noexcept = default;
    child& operator=(child&&) = delete;
    ~child();

    pid_t pid() const noexcept { return m_pid.value; }
    bool running() const noexcept { return m_pid.value > 0 && !m_ended; }
    /// Signals it; all of its process group when it has its own.
    void signal(int number) const noexcept;
    /// Reaps it if it has ended, and kills what it started and left behind in its group. True when it ended by now and had
    /// not at the last call.
    bool reap() noexcept;
    /// As waitpid gives it; meaningful when it no longer runs.
    int status() const noexcept { return m_status; }

    descriptor out;  ///< its standard output, non-blocking; empty when it is shared
    descriptor err;

private:
    struct owned_pid {
        owned_pid() noexcept = default;
        owned_pid(owned_pid&& other) noexcept : value(std::exchange(other.value, 0)) {}
        pid_t value = 0;
    };

    owned_pid m_pid;
    bool m_own_group = false;
    bool m_ended = false;
    int m_status = 0;
};

/// "exit code 3" or "signal 9 (Killed)".
std::string describe_status(int status);
/// The exit code, or 128 + the signal.
int exit_code_of(int status) noexcept;

}  // namespace peerd
