#include <mesh_real/child.hpp>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <system_error>

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace mesh_real {

namespace {

std::int64_t in_ns(const timespec& t) noexcept { return std::int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec; }

/// Adds up the numbers of the lines of a file of /proc that begin with `name`.
double sum_of(const std::filesystem::path& file, const std::string& name) {
    std::ifstream in(file);
    double sum = 0;
    for (std::string line; std::getline(in, line);) {
        if (line.starts_with(name)) sum += std::strtod(line.c_str() + name.size(), nullptr);
    }
    return sum;
}

}  // namespace

std::int64_t now_ns() noexcept {
    timespec t{};
    clock_gettime(CLOCK_MONOTONIC, &t);
    return in_ns(t);
}

child::child(const std::vector<std::string>& argv) {
    std::vector<char*> pointers;
    for (const std::string& arg : argv) pointers.push_back(const_cast<char*>(arg.c_str()));
    pointers.push_back(nullptr);
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) throw std::system_error(errno, std::generic_category(), "pipe");
    const pid_t parent = getpid();
    m_pid = fork();
    if (m_pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent) _exit(127);
        dup2(ends[1], STDOUT_FILENO);
        dup2(ends[1], STDERR_FILENO);
        execv(pointers[0], pointers.data());
        _exit(127);
    }
    const int why = errno;
    close(ends[1]);
    m_out = ends[0];
    fcntl(m_out, F_SETFL, O_NONBLOCK);
    if (m_pid < 0) {
        end();
        throw std::system_error(why, std::generic_category(), "fork");
    }
}

void child::end() {
    signal(SIGKILL);
    wait();
    if (m_out >= 0) close(m_out);
    m_out = -1;
}

std::string child::wait() {
    int status = 0;
    if (m_pid > 0) {
        while (waitpid(m_pid, &status, 0) < 0 && errno == EINTR) {}
    }
    m_pid = -1;
    return WIFSIGNALED(status) ? "signal " + std::to_string(WTERMSIG(status)) : "exit code " + std::to_string(WEXITSTATUS(status));
}

void child::signal(int number) const noexcept {
    if (m_pid > 0) kill(m_pid, number);
}

bool child::read_some() {
    char bytes[16384];
    for (;;) {
        const ssize_t n = read(m_out, bytes, sizeof bytes);
        if (n > 0) {
            m_text.append(bytes, static_cast<std::size_t>(n));
        } else if (n == 0) {
            return false;
        } else if (errno != EINTR) {
            return errno == EAGAIN;
        }
    }
}

bool child::take_line(std::string& line) {
    const std::size_t end = m_text.find('\n');
    if (end == std::string::npos) return false;
    line = m_text.substr(0, end);
    m_text.erase(0, end + 1);
    return true;
}

double child::cpu_s() const noexcept {
    clockid_t clock{};
    timespec t{};
    if (m_pid <= 0 || clock_getcpuclockid(m_pid, &clock) != 0 || clock_gettime(clock, &t) != 0) return 0;
    return static_cast<double>(in_ns(t)) * 1e-9;
}

usage child::measure() const {
    const std::filesystem::path proc = "/proc/" + std::to_string(m_pid);
    usage u;
    u.cpu_s = cpu_s();
    std::error_code gone;
    for (const auto& thread : std::filesystem::directory_iterator(proc / "task", gone)) {
        u.switches +=
            sum_of(thread.path() / "status", "voluntary_ctxt_switches:") + sum_of(thread.path() / "status", "nonvoluntary_ctxt_switches:");
    }
    const double kib = 1024e-6;
    u.resident_mb = sum_of(proc / "smaps_rollup", "Rss:") * kib;
    u.share_mb = sum_of(proc / "smaps_rollup", "Pss:") * kib;
    u.own_mb = (sum_of(proc / "smaps_rollup", "Private_Clean:") + sum_of(proc / "smaps_rollup", "Private_Dirty:")) * kib;
    return u;
}

std::string find_program(const std::string& name) {
    const char* const path = std::getenv("PATH");
    std::istringstream folders(path != nullptr ? path : "");
    for (std::string folder; std::getline(folders, folder, ':');) {
        const std::string file = folder + "/" + name;
        if (access(file.c_str(), X_OK) == 0) return file;
    }
    return {};
}

}  // namespace mesh_real
