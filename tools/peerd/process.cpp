#include <peerd/process.hpp>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <system_error>

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

extern char** environ;

namespace peerd {

namespace {

[[noreturn]] void throw_errno(const char* what) { throw std::system_error(errno, std::generic_category(), what); }

/// This process's environment with the changes applied.
std::vector<std::string> changed_environment(const std::vector<std::string>& changes) {
    const auto name_of = [](const std::string& entry) { return std::string_view(entry).substr(0, entry.find('=')); };
    std::vector<std::string> result;
    for (char** entry = environ; *entry != nullptr; ++entry) {
        const std::string text = *entry;
        bool changed = false;
        for (const std::string& change : changes) changed = changed || name_of(change) == name_of(text);
        if (!changed) result.push_back(text);
    }
    for (const std::string& change : changes) {
        if (change.find('=') != std::string::npos) result.push_back(change);
    }
    return result;
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
    std::vector<char*> result;
    for (std::string& text : texts) result.push_back(text.data());
    result.push_back(nullptr);
    return result;
}

start_failure describe_exec_error(const std::string& program, int error) {
    switch (error) {
        case ENOENT:
            return {program + ": no such program" +
                        (program.find('/') == std::string::npos ? "; for one in this folder write ./" + program : ""),
                    127};
        case EACCES: return {program + ": not an executable file (chmod +x makes one of a program)", 126};
        case ENOEXEC: return {program + ": not a program that this machine can execute", 126};
        default: return {program + ": cannot be executed: " + std::strerror(error), 126};
    }
}

/// The part between fork and exec. Only what is safe after fork: no memory is allocated, no lock taken.
[[noreturn]] void become(const program& what, char** argv, char** env, pid_t parent, int out, int err, int failure) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(1);  // it died before the line above
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
    std::signal(SIGPIPE, SIG_DFL);
    if (what.detached) {
        setpgid(0, 0);
        const int nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);
        if (nothing >= 0) dup2(nothing, STDIN_FILENO);
        dup2(out, STDOUT_FILENO);
        dup2(err, STDERR_FILENO);
    }
    if (what.inherited_fd >= 0) fcntl(what.inherited_fd, F_SETFD, 0);
    execvpe(argv[0], argv, env);
    const int error = errno;
    [[maybe_unused]] const ssize_t n = write(failure, &error, sizeof error);
    _exit(127);
}

}  // namespace

void descriptor::reset() noexcept {
    if (m_fd >= 0) close(m_fd);
    m_fd = -1;
}

pipe_ends make_pipe() {
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) != 0) throw_errno("pipe");
    return {descriptor(fds[0]), descriptor(fds[1])};
}

void set_non_blocking(int fd) { fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK); }

child::child(const program& what) : m_own_group(what.detached) {
    std::vector<std::string> argv_text = what.argv;
    std::vector<std::string> env_text = changed_environment(what.environment);
    const std::vector<char*> argv = pointers(argv_text);
    const std::vector<char*> env = pointers(env_text);
    pipe_ends failure = make_pipe();
    pipe_ends out_pipe;
    pipe_ends err_pipe;
    if (what.detached) {
        out_pipe = make_pipe();
        err_pipe = make_pipe();
    }
    const pid_t parent = getpid();
    const pid_t pid = fork();
    if (pid < 0) throw_errno("fork");
    if (pid == 0) {
        become(what, const_cast<char**>(argv.data()), const_cast<char**>(env.data()), parent, out_pipe.write.get(), err_pipe.write.get(),
               failure.write.get());
    }
    if (what.detached) setpgid(pid, pid);  // the child does so too: whoever is first
    failure.write.reset();
    int error = 0;
    ssize_t n;
    do {
        n = read(failure.read.get(), &error, sizeof error);
    } while (n < 0 && errno == EINTR);
    if (n == static_cast<ssize_t>(sizeof error)) {
        waitpid(pid, nullptr, 0);
        throw describe_exec_error(what.argv[0], error);
    }
    m_pid.value = pid;
    if (what.detached) {
        out = std::move(out_pipe.read);
        err = std::move(err_pipe.read);
        set_non_blocking(out.get());
        set_non_blocking(err.get());
    }
}

child::~child() {
    if (!running()) return;
    signal(SIGKILL);
    waitpid(pid(), nullptr, 0);
}

void child::signal(int number) const noexcept {
    if (running()) kill(m_own_group ? -m_pid.value : m_pid.value, number);
}

bool child::reap() noexcept {
    if (!running()) return false;
    siginfo_t info{};
    if (waitid(P_PID, static_cast<id_t>(m_pid.value), &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid == 0) return false;
    // Before waitpid: until then the number of the group cannot be given to anybody else.
    if (m_own_group) kill(-m_pid.value, SIGKILL);
    waitpid(m_pid.value, &m_status, 0);
    m_ended = true;
    return true;
}

std::string describe_status(int status) {
    if (WIFSIGNALED(status)) return "signal " + std::to_string(WTERMSIG(status)) + " (" + strsignal(WTERMSIG(status)) + ")";
    return "exit code " + std::to_string(WEXITSTATUS(status));
}

int exit_code_of(int status) noexcept { return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status); }

}  // namespace peerd
