// run(): flags, exit codes and texts, in processes of their own.
#include <covey/run.hpp>

#include <catch2/catch.hpp>

#include <csignal>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

namespace covey_test_run {

/// bin/peer_runner with its output in pipes. Killed by the destructor if it still runs.
class program {
public:
    explicit program(std::vector<std::string> arguments, std::vector<std::string> variables = {}) {
        int output[2];
        int errors[2];
        if (::pipe2(output, O_CLOEXEC) != 0 || ::pipe2(errors, O_CLOEXEC) != 0) throw std::runtime_error("no pipes");
        const std::string path = std::string(COVEY_BIN_DIR) + "/peer_runner";
        arguments.insert(arguments.begin(), path);
        std::vector<char*> argv;
        for (std::string& a : arguments) argv.push_back(a.data());
        argv.push_back(nullptr);
        m_pid = ::fork();
        if (m_pid == 0) {
            for (const char* name : {"COVEY_BIND", "COVEY_JOIN", "COVEY_KEY_FILE", "COVEY_CLUSTER", "COVEY_NAME", "COVEY_THREADS",
                                     "COVEY_ROLE", "COVEY_PEERS", "COVEY_LOG", "COVEY_READY_FD", "COVEY_LABELS", "COVEY_RESOURCES",
                                     "COVEY_GPUS", "COVEY_MEMORY_MIB", "COVEY_PROFILE", "COVEY_MEMBERSHIP"}) {
                ::unsetenv(name);
            }
            for (std::string& v : variables) ::putenv(v.data());
            ::dup2(output[1], 1);
            ::dup2(errors[1], 2);
            ::execv(path.c_str(), argv.data());
            ::_exit(126);
        }
        ::close(output[1]);
        ::close(errors[1]);
        m_out = output[0];
        m_err = errors[0];
    }
    program(const program&) = delete;
    program& operator=(const program&) = delete;
    ~program() {
        if (m_pid > 0) {
            ::kill(m_pid, SIGKILL);
            ::waitpid(m_pid, nullptr, 0);
        }
        ::close(m_out);
        ::close(m_err);
    }
    void signal(int number) const { ::kill(m_pid, number); }
    /// The next line of its output.
    std::string line() {
        std::string text;
        char c = 0;
        while (::read(m_out, &c, 1) == 1 && c != '\n') text += c;
        return text;
    }
    /// Reads all that it prints and gives its exit code, or 1000 + the signal that ended it.
    int wait() {
        pollfd waiting[2] = {{m_out, POLLIN, 0}, {m_err, POLLIN, 0}};
        while (waiting[0].fd >= 0 || waiting[1].fd >= 0) {
            if (::poll(waiting, 2, 60'000) <= 0) break;  // the destructor ends it
            for (int i = 0; i < 2; ++i) {
                if (waiting[i].revents == 0) continue;
                char block[4096];
                const ssize_t n = ::read(waiting[i].fd, block, sizeof block);
                if (n > 0) {
                    (i == 0 ? out : err).append(block, static_cast<std::size_t>(n));
                } else {
                    waiting[i].fd = -1;
                }
            }
        }
        if (waiting[0].fd >= 0 || waiting[1].fd >= 0) return -1;
        int status = 0;
        ::waitpid(m_pid, &status, 0);
        m_pid = -1;
        return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
    }

    std::string out;
    std::string err;

private:
    pid_t m_pid = -1;
    int m_out = -1;
    int m_err = -1;
};

TEST_CASE("run takes the library's flags and leaves the rest", "[peer][run]") {
    program p({"args", "--covey-threads=2", "--mine", "--covey-name", "somebody", "last", "--", "--covey-threads=9"});
    CHECK(p.wait() == 0);
    CHECK(p.out == "[args][--mine][last][--][--covey-threads=9] threads=2\n");
    CHECK(p.err.empty());

    program variable({"args"}, {"COVEY_THREADS=3"});
    CHECK(variable.wait() == 0);
    CHECK(variable.out == "[args] threads=3\n");
    program both({"args", "--covey-threads", "1"}, {"COVEY_THREADS=3"});
    CHECK(both.wait() == 0);
    CHECK(both.out == "[args] threads=1\n");
}

TEST_CASE("flags that cannot be meant end with 2 and a line", "[peer][run]") {
    const auto refused = [](std::vector<std::string> arguments, std::vector<std::string> variables = {}) {
        program p(std::move(arguments), std::move(variables));
        CHECK(p.wait() == 2);
        CHECK(p.out.empty());
        return p.err;
    };
    CHECK_THAT(refused({"args", "--covey-bin", "x"}), Catch::Contains("unknown flag --covey-bin") && Catch::Contains("--covey-bind A:P"));
    CHECK_THAT(refused({"args", "--covey-name"}), Catch::Contains("--covey-name needs a value"));
    CHECK_THAT(refused({"args", "--covey-threads", "many"}), Catch::Contains("\"many\" is no number of threads"));
    CHECK_THAT(refused({"args", "--covey-threads", "0"}), Catch::Contains("1 to 4096"));
    CHECK_THAT(refused({"args", "--covey-bind", "nonsense"}), Catch::Contains("nonsense"));
    CHECK_THAT(refused({"args", "--covey-bind", "0.0.0.0:0"}), Catch::Contains("insecure bind refused") && Catch::Contains("key"));
    CHECK_THAT(refused({"args", "--covey-key-file", "/no/such/key"}), Catch::Contains("/no/such/key"));
    CHECK_THAT(refused({"args", "--covey-label", "zone"}), Catch::Contains("\"zone\" is no label"));
    CHECK_THAT(refused({"args", "--covey-resource", "seats=x"}), Catch::Contains("\"x\" is no number of seats"));
    CHECK_THAT(refused({"args", "--covey-gpus", "-1"}), Catch::Contains("0 to 65535"));
    CHECK_THAT(refused({"args", "--covey-profile", "moon"}), Catch::Contains("local, lan or wan"));
    CHECK_THAT(refused({"args", "--covey-membership", "gossip_fanout=0"}), Catch::Contains("gossip_fanout=0: allowed is 1 to 64"));
    CHECK_THAT(refused({"args"}, {"COVEY_MEMBERSHIP=nonsense=1"}), Catch::Contains("nonsense"));
    CHECK_THAT(refused({"args", "--covey-join", "nowhere"}), Catch::Contains("nowhere"));
    CHECK_THAT(refused({"args"}, {"COVEY_ROLE=emperor"}), Catch::Contains("emperor"));
}

TEST_CASE("what a program says about itself comes from flags over variables", "[peer][run]") {
    program p({"describe", "--covey-label", "zone=b", "--covey-label=row=9", "--covey-resource", "seats=4", "--covey-gpus=1",
               "--covey-memory-mib", "512", "--covey-profile", "wan", "--covey-membership", "probe_interval=9s"},
              {"COVEY_LABELS=zone=a,rack=7", "COVEY_RESOURCES=licences=2"});
    CHECK(p.wait() == 0);
    CHECK(p.out == "zone=b rack=7 row=9 licences=2 seats=4 gpus=1 memory=512\n");
    CHECK(p.err.empty());
}

TEST_CASE("help goes to the output", "[peer][run]") {
    program p({"--covey-help"});
    CHECK(p.wait() == 0);
    CHECK_THAT(p.out, Catch::Contains("--covey-bind") && Catch::Contains("--covey-serve") && Catch::Contains("--covey-threads"));
    CHECK(p.err.empty());
}

TEST_CASE("the exit code is the coroutine's", "[peer][run]") {
    program seven({"code"});
    CHECK(seven.wait() == 7);
    program call({"call"});
    CHECK(call.wait() == 42);
    program nothing({"void"});
    CHECK(nothing.wait() == 0);
    program thrower({"throw"});
    CHECK(thrower.wait() == 1);
    CHECK_THAT(thrower.err, Catch::Contains("peer_runner: the cake is burnt\n"));
}

TEST_CASE("a signal stops the coroutine and shows in the exit code", "[peer][run]") {
    const int number = GENERATE(SIGINT, SIGTERM);
    program p({"wait"});
    CHECK(p.line() == "waiting");
    p.signal(number);
    CHECK(p.wait() == 128 + number);
}

TEST_CASE("a serving peer runs what the main one sends and ends with it", "[peer][run]") {
    program main_peer({"serve-me"});
    const std::string address = main_peer.line();
    INFO(address);
    program server({"--covey-serve", "--covey-join", address});
    CHECK(main_peer.wait() == 42);
    CHECK(server.wait() == 0);
    INFO(server.err);
    CHECK(server.err.empty());
}

TEST_CASE("a serving peer whose main one is killed ends with 1", "[peer][run]") {
    program main_peer({"call-and-wait"});
    const std::string address = main_peer.line();
    program server({"--covey-serve", "--covey-join", address});
    CHECK(main_peer.line() == "called");  // so they know each other
    main_peer.signal(SIGKILL);
    CHECK(main_peer.wait() == 1000 + SIGKILL);
    CHECK(server.wait() == 1);
    CHECK_THAT(server.err, Catch::Contains("is lost"));
}

TEST_CASE("a serving peer without a main one is ended by a signal", "[peer][run]") {
    program server({"--covey-serve"}, {"COVEY_READY_FD=1"});
    CHECK_THAT(server.line(), Catch::StartsWith("127.0.0.1:"));
    server.signal(SIGTERM);
    CHECK(server.wait() == 128 + SIGTERM);
}

}  // namespace covey_test_run
