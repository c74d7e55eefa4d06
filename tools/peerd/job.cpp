#include <peerd/job.hpp>

#include <peerd/output.hpp>
#include <peerd/process.hpp>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <optional>
#include <string_view>
#include <system_error>

#include <poll.h>
#include <sched.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

namespace peerd {

namespace {

using steady = std::chrono::steady_clock;
using namespace std::chrono_literals;

/// Between a request to end and SIGKILL.
constexpr auto grace = 3s;
/// For the others to notice that the main process is gone, before they are asked to end.
constexpr auto farewell = 2s;
/// The address that the main process reports is far shorter.
constexpr std::size_t address_bytes_max = 256;

unsigned cpus() {
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
    return static_cast<unsigned>(CPU_COUNT(&set));
}

std::string random_name() {
    std::uint64_t bits = 0;
    if (getrandom(&bits, sizeof bits, 0) != static_cast<ssize_t>(sizeof bits))
        throw std::system_error(errno, std::generic_category(), "getrandom");
    char text[24];
    std::snprintf(text, sizeof text, "run-%016llx", static_cast<unsigned long long>(bits));
    return text;
}

std::string base_name(const std::string& path) { return path.substr(path.rfind('/') + 1); }

/// A peer of the job that only serves: its process and what it prints.
struct server {
    server(const program& what, unsigned its_number, sink& to_out, sink& to_err)
        : process(what), number(its_number), out(prefix(its_number), to_out), err(prefix(its_number), to_err) {}

    static std::string prefix(unsigned its_number) { return "[" + std::to_string(its_number) + "] "; }

    child process;
    unsigned number;
    line_prefixer out;
    line_prefixer err;
};

class job {
public:
    explicit job(const job_options& options) : m_options(options), m_cluster(random_name()) {}

    int run();

private:
    enum class phase {
        starting,  // the main process runs, its address is awaited
        running,
        ending,    // the main process is gone, the others notice it
        stopping,  // all were asked to end
        killing,
    };

    program peer_program(unsigned number) const;
    void start_main();
    void start_servers(const std::string& address);
    void wait_for_events();
    void read_ready();
    void pass_output(descriptor& from, line_prefixer& lines);
    void on_signal(int number);
    void reap();
    void on_main_end();
    void on_server_end(const server& s);
    void on_deadline();
    void stop(int exit_code);
    void signal_all(int number);
    bool all_ended() const;
    void say(const std::string& line) { m_err.append("peerd: " + line + "\n"); }
    void go(phase next, steady::duration limit) {
        m_phase = next;
        m_deadline = steady::now() + limit;
    }

    const job_options& m_options;
    std::string m_cluster;
    phase m_phase = phase::starting;
    std::optional<steady::time_point> m_deadline;
    std::optional<int> m_exit_code;  // settled before the main process ended: a signal to the launcher, or an error of its own
    descriptor m_signals;
    descriptor m_ready;
    std::string m_ready_text;
    std::optional<child> m_main;
    sink m_out{STDOUT_FILENO};
    sink m_err{STDERR_FILENO};
    std::deque<server> m_servers;
};

program job::peer_program(unsigned number) const {
    program p;
    p.argv = m_options.argv;
    const std::string name = base_name(m_options.argv[0]).substr(0, 40) + "-" + std::to_string(number);
    // Nothing of a mesh around this one: a job is a cluster of its own, on this machine alone.
    p.environment = {"COVEY_BIND", "COVEY_JOIN", "COVEY_PEERS", "COVEY_READY_FD", "COVEY_CLUSTER=" + m_cluster, "COVEY_NAME=" + name};
    if (!m_options.key_file.empty()) p.environment.push_back("COVEY_KEY_FILE=" + m_options.key_file);
    if (m_options.threads != 0) {
        p.environment.push_back("COVEY_THREADS=" + std::to_string(m_options.threads));
    } else if (std::getenv("COVEY_THREADS") == nullptr) {
        p.environment.push_back("COVEY_THREADS=" + std::to_string(std::max(1u, cpus() / m_options.peers)));
    }
    return p;
}

void job::start_main() {
    pipe_ends ready = make_pipe();
    program p = peer_program(0);
    p.environment.push_back("COVEY_ROLE=main");
    p.environment.push_back("COVEY_PEERS=" + std::to_string(m_options.peers));
    p.environment.push_back("COVEY_READY_FD=" + std::to_string(ready.write.get()));
    p.inherited_fd = ready.write.get();
    m_main.emplace(p);
    m_ready = std::move(ready.read);
    set_non_blocking(m_ready.get());
    go(phase::starting, std::chrono::seconds(m_options.ready_limit_s));
}

void job::start_servers(const std::string& address) {
    for (unsigned i = 1; i < m_options.peers; ++i) {
        program p = peer_program(i);
        p.environment.push_back("COVEY_ROLE=serve");
        p.environment.push_back("COVEY_JOIN=" + address);
        p.detached = true;
        m_servers.emplace_back(p, i, m_out, m_err);
    }
    m_phase = phase::running;
    m_deadline.reset();
}

int job::run() {
    sigset_t heeded;
    sigemptyset(&heeded);
    for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGCHLD}) sigaddset(&heeded, number);
    sigprocmask(SIG_BLOCK, &heeded, nullptr);
    std::signal(SIGPIPE, SIG_IGN);
    m_signals = descriptor(signalfd(-1, &heeded, SFD_CLOEXEC | SFD_NONBLOCK));
    if (!m_signals) throw std::system_error(errno, std::generic_category(), "signalfd");

    start_main();
    while (!all_ended()) wait_for_events();

    for (server& s : m_servers) {
        pass_output(s.process.out, s.out);
        pass_output(s.process.err, s.err);
        s.out.finish();
        s.err.finish();
    }
    m_out.flush(1000);
    m_err.flush(1000);
    return m_exit_code.value_or(exit_code_of(m_main->status()));
}

void job::wait_for_events() {
    std::vector<pollfd> fds;
    const auto watch = [&](int fd, short what) { fds.push_back({fd, what, 0}); };  // poll skips negative numbers
    watch(m_signals.get(), POLLIN);
    watch(m_ready.get(), POLLIN);
    watch(m_out.empty() ? -1 : m_out.fd(), POLLOUT);
    watch(m_err.empty() ? -1 : m_err.fd(), POLLOUT);
    for (const server& s : m_servers) {
        watch(m_out.full() ? -1 : s.process.out.get(), POLLIN);
        watch(m_err.full() ? -1 : s.process.err.get(), POLLIN);
    }

    int limit_ms = -1;
    if (m_deadline) {
        const auto left = std::chrono::ceil<std::chrono::milliseconds>(*m_deadline - steady::now());
        limit_ms = static_cast<int>(std::max<std::chrono::milliseconds::rep>(left.count(), 0));
    }
    if (poll(fds.data(), fds.size(), limit_ms) < 0 && errno != EINTR) throw std::system_error(errno, std::generic_category(), "poll");

    if (fds[2].revents != 0) m_out.write_some();
    if (fds[3].revents != 0) m_err.write_some();
    // Output before the end of a process, so that its last words stand before the line about its end.
    for (std::size_t i = 0; i < m_servers.size(); ++i) {
        server& s = m_servers[i];
        if (fds[4 + 2 * i].revents != 0) pass_output(s.process.out, s.out);
        if (fds[5 + 2 * i].revents != 0) pass_output(s.process.err, s.err);
    }
    if (fds[0].revents != 0) {
        signalfd_siginfo info;
        bool child_ended = false;
        while (read(m_signals.get(), &info, sizeof info) == static_cast<ssize_t>(sizeof info)) {
            if (info.ssi_signo == SIGCHLD) {
                child_ended = true;
            } else {
                on_signal(static_cast<int>(info.ssi_signo));
            }
        }
        if (child_ended) reap();
    }
    if (fds[1].revents != 0 && m_ready) read_ready();
    if (m_deadline && steady::now() >= *m_deadline) on_deadline();
}

void job::pass_output(descriptor& from, line_prefixer& lines) {
    char bytes[4096];
    // A few pieces at a time, so that a process that prints without end does not keep the others waiting.
    for (int i = 0; from && i < 16; ++i) {
        const ssize_t n = read(from.get(), bytes, sizeof bytes);
        if (n > 0) {
            lines.feed({bytes, static_cast<std::size_t>(n)});
        } else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
            lines.finish();
            from.reset();
        } else {
            return;
        }
    }
}

void job::read_ready() {
    char bytes[address_bytes_max];
    const ssize_t n = read(m_ready.get(), bytes, sizeof bytes);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n > 0) m_ready_text.append(bytes, static_cast<std::size_t>(n));
    const std::size_t end = m_ready_text.find('\n');
    if (end == std::string::npos && n > 0 && m_ready_text.size() < address_bytes_max) return;
    m_ready.reset();
    if (m_phase != phase::starting) return;
    if (end == std::string::npos || end == 0) {
        // Closed without a word: it is ending, which is told when it has, or it is a program that closes what it does not
        // know. Then the limit for being ready ends the wait.
        return;
    }
    try {
        start_servers(m_ready_text.substr(0, end));
    } catch (const start_failure& failure) {
        say(failure.what);
        stop(failure.exit_code);
    } catch (const std::system_error& failure) {
        say("cannot start peer " + std::to_string(m_servers.size() + 1) + " of " + std::to_string(m_options.peers) + ": " + failure.what());
        stop(1);
    }
}

void job::on_signal(int number) {
    if (m_phase == phase::killing) return;
    if (m_phase == phase::stopping) {
        say("killing all processes");
        signal_all(SIGKILL);
        go(phase::killing, grace);
        return;
    }
    say(std::string(number == SIGINT ? "interrupted" : "asked to end") + "; stopping all processes");
    stop(128 + number);
}

void job::stop(int exit_code) {
    if (!m_exit_code && m_main->running()) m_exit_code = exit_code;
    signal_all(SIGTERM);
    signal_all(SIGCONT);  // a stopped process heeds nothing else
    go(phase::stopping, grace);
}

void job::signal_all(int number) {
    if (m_main) m_main->signal(number);
    for (const server& s : m_servers) s.process.signal(number);
}

void job::reap() {
    // The main process first: others that end because of it are no news then.
    if (m_main && m_main->reap()) on_main_end();
    for (server& s : m_servers) {
        if (!s.process.reap()) continue;
        pass_output(s.process.out, s.out);
        pass_output(s.process.err, s.err);
        on_server_end(s);
    }
}

void job::on_main_end() {
    const int status = m_main->status();
    if (m_phase == phase::stopping || m_phase == phase::killing) return;
    if (WIFSIGNALED(status)) say("the main process was ended by " + describe_status(status));
    if (m_phase == phase::starting && m_options.peers > 1 && !WIFSIGNALED(status)) {
        say(m_options.argv[0] + " ended with " + describe_status(status) + " before it listened, so no other peer was started");
    }
    if (WIFSIGNALED(status)) {
        stop(exit_code_of(status));
    } else {
        go(phase::ending, farewell);
    }
}

void job::on_server_end(const server& s) {
    if (m_phase != phase::running) return;
    const int status = s.process.status();
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return;  // the main peer has left, and its process ends at any moment
    const auto left = 1 + std::count_if(m_servers.begin(), m_servers.end(), [](const server& other) { return other.process.running(); });
    say("peer " + std::to_string(s.number) + " (pid " + std::to_string(s.process.pid()) + ") was lost: " + describe_status(status) +
        "; the job goes on with " + std::to_string(left) + (left == 1 ? " peer" : " peers"));
}

void job::on_deadline() {
    switch (m_phase) {
        case phase::starting:
            say(m_options.argv[0] + " did not say within " + std::to_string(m_options.ready_limit_s) +
                " s that it listens: is it a covey program, one whose main() calls covey::run()?");
            stop(1);
            break;
        case phase::ending:
            signal_all(SIGTERM);
            go(phase::stopping, grace);
            break;
        case phase::stopping:
            signal_all(SIGKILL);
            go(phase::killing, grace);
            break;
        case phase::running:
        case phase::killing: m_deadline.reset(); break;
    }
}

bool job::all_ended() const {
    if (m_main->running()) return false;
    return std::none_of(m_servers.begin(), m_servers.end(), [](const server& s) { return s.process.running(); });
}

}  // namespace

int run_job(const job_options& options) {
    try {
        return job(options).run();
    } catch (const start_failure& failure) {
        std::fprintf(stderr, "peerd: %s\n", failure.what.c_str());
        return failure.exit_code;
    } catch (const std::system_error& failure) {
        std::fprintf(stderr, "peerd: %s\n", failure.what());
        return 1;
    }
}

}  // namespace peerd
