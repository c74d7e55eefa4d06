#pragma once

#include <covey/core/detail/concat.hpp>
#include <covey/run.hpp>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>

#include <fcntl.h>
#include <unistd.h>

namespace covey::detail {

/// Turns SIGINT and SIGTERM into a call on an ordinary thread. One at a time in a process.
class signal_watch {
public:
    explicit signal_watch(peer& self) {
        if (pipe2(m_pipe, O_CLOEXEC) != 0) throw error(errc::overloaded, detail::concat({"no pipe for signals: ", std::strerror(errno)}));
        write_end() = m_pipe[1];
        struct sigaction action{};
        action.sa_handler = &signal_watch::handle;
        action.sa_flags = SA_RESTART;
        sigaction(SIGINT, &action, &m_before[0]);
        sigaction(SIGTERM, &action, &m_before[1]);
        m_thread = std::thread([this, &self] { watch(self); });
    }
    ~signal_watch() {
        sigaction(SIGINT, &m_before[0], nullptr);
        sigaction(SIGTERM, &m_before[1], nullptr);
        handle(0);
        m_thread.join();
        write_end() = -1;
        ::close(m_pipe[0]);
        ::close(m_pipe[1]);
    }
    /// 0: none.
    int received() const noexcept { return m_received.load(std::memory_order_acquire); }

private:
    static std::atomic<int>& write_end() noexcept {
        static std::atomic<int> fd{-1};
        return fd;
    }
    static void handle(int number) {
        const int saved = errno;
        const auto byte = static_cast<unsigned char>(number);
        static_cast<void>(!::write(write_end().load(), &byte, 1));
        errno = saved;
    }
    void watch(peer& self) {
        unsigned char number = 0;
        while (::read(m_pipe[0], &number, 1) == 1 && number != 0) {
            if (m_received.exchange(number, std::memory_order_acq_rel) != 0) _exit(128 + number);
            self.request_stop();
        }
    }

    int m_pipe[2]{-1, -1};
    struct sigaction m_before[2]{};
    std::atomic<int> m_received{0};
    std::thread m_thread;
};

inline constexpr const char* flags_help =
    "  --covey-bind A:P          where to listen (default 127.0.0.1:0); other than loopback needs a key\n"
    "  --covey-join A:P[,A:P…]   members to ask for the others\n"
    "  --covey-key-file FILE     the cluster key (peerd keygen FILE)\n"
    "  --covey-cluster NAME      peers of other clusters are refused (default covey)\n"
    "  --covey-name NAME         for people\n"
    "  --covey-threads N         worker threads\n"
    "  --covey-label NAME=VALUE  a label that others choose by; may be repeated\n"
    "  --covey-resource NAME=N   how many of something this peer has; may be repeated\n"
    "  --covey-gpus N            how many GPUs it offers\n"
    "  --covey-memory-mib N      how much memory it offers\n"
    "  --covey-profile NAME      numbers of the membership: local, lan or wan (default: local on loopback, else lan)\n"
    "  --covey-membership S=V    a single one, as probe_interval=200ms; may be repeated (peerd settings lists them)\n"
    "  --covey-serve             serve the main peer of the job instead of being it\n";

/// Takes the library's flags out of the arguments.
inline peer_config parse_program_arguments(int argc, char** argv) {
    peer_config config = peer_config::from_environment();
    for (int i = 0; i < argc; ++i) {
        const std::string_view argument = argv[i];
        if (i == 0 || !argument.starts_with("--covey-")) {
            config.args.emplace_back(argument);
            if (argument == "--") {
                config.args.insert(config.args.end(), argv + i + 1, argv + argc);
                break;
            }
            continue;
        }
        const std::size_t equals = argument.find('=');
        const std::string_view flag = argument.substr(0, equals);
        if (flag == "--covey-serve") {
            config.role = member_role::serve;
            continue;
        }
        if (flag == "--covey-help") {
            std::printf("Flags of every covey program:\n%s", flags_help);
            std::exit(0);
        }
        constexpr std::string_view with_value[] = {"--covey-bind", "--covey-join",       "--covey-key-file", "--covey-cluster",
                                                   "--covey-name", "--covey-threads",    "--covey-label",    "--covey-resource",
                                                   "--covey-gpus", "--covey-memory-mib", "--covey-profile",  "--covey-membership"};
        const bool known = std::find(std::begin(with_value), std::end(with_value), flag) != std::end(with_value);
        if (!known) throw error(errc::bad_argument, detail::concat({"unknown flag ", flag, "; there are\n", flags_help}));
        if (equals == std::string_view::npos && i + 1 == argc) throw error(errc::bad_argument, detail::concat({flag, " needs a value"}));
        const std::string value(equals != std::string_view::npos ? argument.substr(equals + 1) : std::string_view(argv[++i]));
        if (flag == "--covey-bind") config.bind = value;
        if (flag == "--covey-join") config.join = split_list(value.c_str());
        if (flag == "--covey-key-file") config.key_file = value;
        if (flag == "--covey-cluster") config.cluster = value;
        if (flag == "--covey-name") config.name = value;
        if (flag == "--covey-threads") config.threads = parse_threads(value);
        if (flag == "--covey-label") config.add_label(value);
        if (flag == "--covey-resource") config.add_resource(value);
        if (flag == "--covey-gpus") config.gpus = parse_gpus(value);
        if (flag == "--covey-memory-mib") config.memory_mib = parse_memory(value);
        if (flag == "--covey-profile") config.profile = value;
        if (flag == "--covey-membership") config.settings.push_back(value);
    }
    return config;
}

/// Tells the launcher where we listen.
inline void report_ready(const endpoint& address) {
    const char* text = std::getenv("COVEY_READY_FD");
    if (text == nullptr) return;
    const int fd = std::atoi(text);
    const std::string line = detail::concat({to_string(address), "\n"});
    static_cast<void>(!::write(fd, line.data(), line.size()));
    ::close(fd);
    unsetenv("COVEY_READY_FD");
}

inline constexpr duration main_join_limit = std::chrono::seconds(10);
inline constexpr duration serve_join_limit = std::chrono::hours(24);  // whoever serves may be started first

/// Serves until the main peer of the job has gone: 0 if it left, 1 if it was lost. A main peer that was declared dead has five
/// seconds to show that it is not.
inline task<int> serve_job(peer& self) {
    co_await self.wait_until_joined(serve_join_limit);
    time_point lost_at = never;
    for (;;) {
        const std::uint64_t seen = self.change_count();
        const std::optional<peer_id> main = self.main_peer();
        const std::optional<member> now = main ? self.find(*main) : std::nullopt;
        if (main && (!now || now->state() == member_state::left)) co_return 0;
        if (!now || now->is_live()) {
            lost_at = never;
            co_await self.next_change(seen);
            continue;
        }
        if (lost_at == never) lost_at = self.env().now();
        const duration grace = lost_at + std::chrono::seconds(5) - self.env().now();
        bool over = grace <= duration::zero();
        if (!over) {
            try {
                co_await timeout(self.next_change(seen), grace);
            } catch (const error& e) {
                if (e.code() != errc::timed_out) throw;
                over = true;
            }
        }
        if (over) {
            self.env().log(log_level::error, detail::concat({"the main peer ", now->name(), " is lost, and the job with it"}));
            co_return 1;
        }
    }
}

inline task<int> main_job(peer& self, unique_function<task<int>(peer&)>& main_task) {
    co_await self.wait_until_joined(main_join_limit);
    if (const char* text = std::getenv("COVEY_PEERS")) {
        try {
            co_await self.wait_for_members(static_cast<std::size_t>(std::max(1, std::atoi(text))), std::chrono::seconds(30));
        } catch (const error& e) {
            self.env().log(log_level::warning, detail::concat({"starting with fewer peers than asked for: ", e.what()}));
        }
    }
    co_return co_await main_task(self);
}

COVEY_INLINE int run_program(int argc, char** argv, unique_function<task<int>(peer&)> main_task) {
    const char* const name = argc > 0 ? argv[0] : "covey";
    std::optional<peer> self;
    bool serves = false;
    try {
        peer_config config = parse_program_arguments(argc, argv);
        serves = config.role == member_role::serve;
        config.log_refusal = false;  // it ends the program with the same words
        self.emplace(std::move(config));
    } catch (const std::exception& e) {
        std::fprintf(stderr, "%s: %s\n", name, e.what());
        return 2;
    }
    int code = 1;
    {
        std::optional<signal_watch> signals;
        try {
            signals.emplace(*self);
            report_ready(self->address());
            code = self->run(serves ? serve_job(*self) : main_job(*self, main_task));
        } catch (const stopped&) {
            code = 1;
        } catch (const std::exception& e) {
            std::fprintf(stderr, "%s: %s\n", name, e.what());
            code = 1;
        } catch (...) {
            std::fprintf(stderr, "%s: the main coroutine ended with an exception that is no std::exception\n", name);
            code = 1;
        }
        if (signals && signals->received() != 0) code = 128 + signals->received();
        self->leave();
    }
    if (!self->drain(std::chrono::seconds(2))) {
        // Functions that ignore their stop token must not keep a finished program alive.
        std::fflush(nullptr);
        _exit(code);
    }
    return code;
}

}  // namespace covey::detail
