#include <cluster/process.hpp>

#include <covey/core/config.hpp>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <system_error>

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

extern char** environ;

namespace covey_test {

namespace {

[[noreturn]] void throw_errno(const char* what) { throw std::system_error(errno, std::generic_category(), what); }

struct pipe_pair {
    int read = -1;
    int write = -1;
};

pipe_pair make_pipe() {
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) != 0) throw_errno("pipe");
    return {fds[0], fds[1]};
}

void close_fd(int& fd) noexcept {
    if (fd >= 0) close(fd);
    fd = -1;
}

int left_ms(std::chrono::steady_clock::time_point until) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - std::chrono::steady_clock::now());
    return static_cast<int>(std::max<std::chrono::milliseconds::rep>(left.count(), 0));
}

int open_pidfd(pid_t pid) { return static_cast<int>(syscall(SYS_pidfd_open, pid, 0)); }

}  // namespace

std::chrono::milliseconds limit(std::chrono::milliseconds as_measured) { return as_measured * (COVEY_SANITIZED ? 4 : 1); }

std::string program(const std::string& name) { return std::string(COVEY_BIN_DIR) + "/" + name; }

process::process(std::vector<std::string> argv, start_options options) : m_argv(std::move(argv)) {
    std::vector<std::string> environment = std::move(options.environment);
    for (char** entry = environ; *entry != nullptr; ++entry) {
        if (std::strncmp(*entry, "COVEY_", 6) != 0) environment.emplace_back(*entry);
    }
    std::vector<char*> argv_pointers;
    for (std::string& arg : m_argv) argv_pointers.push_back(arg.data());
    argv_pointers.push_back(nullptr);
    std::vector<char*> env_pointers;
    for (std::string& entry : environment) env_pointers.push_back(entry.data());
    env_pointers.push_back(nullptr);

    pipe_pair in = make_pipe();
    pipe_pair out = make_pipe();
    pipe_pair err = make_pipe();
    const pid_t parent = getpid();
    m_pid = fork();
    if (m_pid < 0) throw_errno("fork");
    if (m_pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent) _exit(127);
        if (options.no_file_override) {
            prctl(PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, 0, 0, 0);
            prctl(PR_CAPBSET_DROP, CAP_DAC_READ_SEARCH, 0, 0, 0);
        }
        dup2(in.read, STDIN_FILENO);
        dup2(out.write, STDOUT_FILENO);
        dup2(err.write, STDERR_FILENO);
        execve(argv_pointers[0], argv_pointers.data(), env_pointers.data());
        _exit(127);
    }
    close(in.read);
    close(out.write);
    close(err.write);
    m_in = in.write;
    m_out.fd = out.read;
    m_err.fd = err.read;
    fcntl(m_out.fd, F_SETFL, O_NONBLOCK);
    fcntl(m_err.fd, F_SETFL, O_NONBLOCK);
    m_end = open_pidfd(m_pid);
    if (m_end < 0) throw_errno("pidfd_open");
}

process::process(process&& other) noexcept
    : m_argv(std::move(other.m_argv)),
      m_pid(std::exchange(other.m_pid, -1)),
      m_reaped(other.m_reaped),
      m_in(std::exchange(other.m_in, -1)),
      m_end(std::exchange(other.m_end, -1)),
      m_out(std::exchange(other.m_out, {})),
      m_err(std::exchange(other.m_err, {})) {}

process::~process() {
    if (m_pid > 0 && !m_reaped) {
        kill(m_pid, SIGKILL);
        waitpid(m_pid, nullptr, 0);
    }
    close_all();
}

void process::close_all() noexcept {
    for (int* fd : {&m_in, &m_end, &m_out.fd, &m_err.fd}) close_fd(*fd);
}

void process::signal(int number) const {
    if (!m_reaped && kill(m_pid, number) != 0) throw_errno("kill");
}

void process::send(std::string_view line) {
    const std::string text = std::string(line) + "\n";
    // Far less than a pipe holds, so that it never blocks. A process that has ended must not end the test by SIGPIPE.
    const auto before = std::signal(SIGPIPE, SIG_IGN);
    const ssize_t n = write(m_in, text.data(), text.size());
    std::signal(SIGPIPE, before);
    if (n != static_cast<ssize_t>(text.size())) fail("does not take the line \"" + std::string(line) + "\"");
}

void process::close_input() { close_fd(m_in); }

std::string process::expect(std::string_view prefix, std::chrono::milliseconds at_most) { return expect_on(m_out, prefix, at_most); }

std::string process::expect_error(std::string_view prefix, std::chrono::milliseconds at_most) { return expect_on(m_err, prefix, at_most); }

std::string process::expect_on(stream& s, std::string_view prefix, std::chrono::milliseconds at_most) {
    const auto until = clock::now() + limit(at_most);
    for (;;) {
        if (auto line = take_line(s, prefix)) return *line;
        if (s.fd < 0) fail("ended without the line \"" + std::string(prefix) + "...\"");
        if (clock::now() >= until) fail("did not print a line \"" + std::string(prefix) + "...\" in time");
        read_some(until);
    }
}

std::optional<std::string> process::take_line(stream& s, std::string_view prefix) {
    for (std::size_t end; (end = s.text.find('\n', s.cut)) != std::string::npos; s.cut = end + 1) {
        s.lines.push_back(s.text.substr(s.cut, end - s.cut));
    }
    const auto found = std::find_if(s.lines.begin(), s.lines.end(), [&](const std::string& line) { return line.starts_with(prefix); });
    if (found == s.lines.end()) return {};
    std::string rest = found->substr(prefix.size());
    s.lines.erase(found);
    return rest;
}

void process::read_some(clock::time_point until) {
    pollfd fds[] = {{m_out.fd, POLLIN, 0}, {m_err.fd, POLLIN, 0}, {m_end, POLLIN, 0}};
    // Its end counts only while there is nothing else to wait for: a process that it left behind may hold the pipes.
    if (poll(fds, 3, left_ms(until)) < 0 && errno != EINTR) throw_errno("poll");
    read_from(m_out);
    read_from(m_err);
    if (fds[2].revents != 0) {
        close_fd(m_out.fd);
        close_fd(m_err.fd);
    }
}

void process::read_from(stream& s) {
    char bytes[16384];
    while (s.fd >= 0) {
        const ssize_t n = read(s.fd, bytes, sizeof bytes);
        if (n > 0) {
            s.text.append(bytes, static_cast<std::size_t>(n));
        } else if (n == 0) {
            close_fd(s.fd);
        } else {
            return;
        }
    }
}

int process::wait(std::chrono::milliseconds at_most) {
    const auto until = clock::now() + limit(at_most);
    for (;;) {
        pollfd ended{m_end, POLLIN, 0};
        if (poll(&ended, 1, 0) == 1) break;
        if (clock::now() >= until) fail("did not end in time");
        read_some(until);
    }
    read_from(m_out);
    read_from(m_err);
    int status = 0;
    if (waitpid(m_pid, &status, 0) != m_pid) throw_errno("waitpid");
    m_reaped = true;
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

void process::fail(const std::string& what) const {
    std::string line;
    for (const std::string& arg : m_argv) line += (line.empty() ? "" : " ") + arg;
    throw std::runtime_error(line + " (pid " + std::to_string(m_pid) + ") " + what + "\n--- its output:\n" + m_out.text +
                             "--- its errors:\n" + m_err.text + "---");
}

bool is_running(pid_t pid) {
    std::ifstream stat("/proc/" + std::to_string(pid) + "/stat");
    std::string line;
    if (!std::getline(stat, line)) return false;
    const std::size_t name_end = line.rfind(')');
    return name_end != std::string::npos && name_end + 2 < line.size() && line[name_end + 2] != 'Z' && line[name_end + 2] != 'X';
}

bool all_gone(const std::vector<pid_t>& pids, std::chrono::milliseconds at_most) {
    const auto until = std::chrono::steady_clock::now() + limit(at_most);
    for (const pid_t pid : pids) {
        int fd = open_pidfd(pid);
        if (fd < 0) continue;
        pollfd ended{fd, POLLIN, 0};
        poll(&ended, 1, left_ms(until));
        close_fd(fd);
        if (is_running(pid)) return false;
    }
    return true;
}

temporary_directory::temporary_directory() {
    std::string name = (std::filesystem::temp_directory_path() / "covey-test.XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) throw_errno("mkdtemp");
    m_path = name;
}

temporary_directory::~temporary_directory() {
    std::error_code ignored;
    std::filesystem::remove_all(m_path, ignored);
}

std::string temporary_directory::write(const std::string& name, std::string_view text) const {
    const std::string path = file(name);
    std::filesystem::create_directories(std::filesystem::path(path).parent_path());
    std::ofstream out(path, std::ios::binary);
    out << text;
    if (!out.flush()) throw std::runtime_error("cannot write " + path);
    return path;
}

std::string read_file(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    std::ostringstream text;
    text << in.rdbuf();
    return text.str();
}

unsigned short free_port() {
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) throw_errno("socket");
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    const bool known =
        bind(fd, reinterpret_cast<sockaddr*>(&address), size) == 0 && getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0;
    close(fd);
    if (!known) throw_errno("bind");
    return ntohs(address.sin_port);
}

}  // namespace covey_test
