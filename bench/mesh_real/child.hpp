// A process that this program starts and ends, and what it costs.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <sys/types.h>

namespace mesh_real {

/// On CLOCK_MONOTONIC, which all processes of a machine share.
std::int64_t now_ns() noexcept;

/// What a process has used, and uses.
struct usage {
    double cpu_s = 0;
    double switches = 0;     ///< how often its threads went to sleep or were put aside
    double resident_mb = 0;  ///< million bytes, those shared with others counted in full
    double share_mb = 0;     ///< the same, each shared page divided by how many share it
    double own_mb = 0;       ///< what nobody else shares
};

/// A child process whose standard output and error come through one pipe. It is killed and reaped by the destructor, and killed by
/// the kernel should this program die. Not thread-safe; started by the main thread only, whose end is what the kernel looks at.
class child {
public:
    /// Throws std::system_error when it cannot be started.
    explicit child(const std::vector<std::string>& argv);
    child(child&& other) noexcept
        : m_pid(std::exchange(other.m_pid, -1)), m_out(std::exchange(other.m_out, -1)), m_text(std::move(other.m_text)) {}
    child& operator=(child&&) = delete;
    ~child() { end(); }

    /// Kills and reaps it. Idempotent.
    void end();
    /// Waits for its own end, reaps it, and says how it came to it.
    std::string wait();
    bool runs() const noexcept { return m_pid > 0; }
    void signal(int number) const noexcept;
    /// What to poll for its output; -1 after its end.
    int output() const noexcept { return m_out; }
    /// Reads what there is, without waiting. False: it has closed its output, as its end does.
    bool read_some();
    /// Takes the next complete line that was read; false: there is none.
    bool take_line(std::string& line);

    usage measure() const;
    double cpu_s() const noexcept;

private:
    pid_t m_pid = -1;
    int m_out = -1;
    std::string m_text;
};

/// Where a program of that name is in PATH; empty: nowhere.
std::string find_program(const std::string& name);

}  // namespace mesh_real
