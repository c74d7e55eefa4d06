#include <peerd/mesh.hpp>

#include <covey/covey.hpp>
#include <covey/net/asio_environment.hpp>
#include <covey/sched/pool.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

namespace peerd {

namespace {

using namespace std::chrono_literals;

/// How often the table is looked at for changes.
constexpr timespec look_interval{0, 100'000'000};
constexpr auto answer_limit = 3s;
/// The table has arrived when it did not grow for so long.
constexpr auto settled_after = 200ms;

std::string line_of(const covey::member& m) { return m.name() + " (" + covey::to_string(m.id()) + ") at " + covey::to_string(m.address()); }

/// What was said about the members, and what to say next.
class reporter {
public:
    explicit reporter(covey::peer_id self) : m_self(self) {}

    void update(const std::vector<covey::member>& now) {
        std::map<covey::peer_id, covey::member> next;
        for (const covey::member& m : now) {
            if (m.id() != m_self) next.emplace(m.id(), m);
        }
        const std::size_t count = next.size() + 1;
        for (const auto& [id, m] : next) {
            const auto before = m_known.find(id);
            if (before == m_known.end()) {
                say("joined", m, count);
            } else if (before->second.epoch() != m.epoch()) {
                say("is back", m, count);
            } else if (before->second.state() != m.state()) {
                say(m.state() == covey::member_state::suspect ? "does not answer" : "answers again", m, count);
            }
        }
        for (const auto& [id, m] : m_known) {
            if (!next.contains(id)) say("is gone", m, count);
        }
        m_known = std::move(next);
    }

private:
    static void say(const char* what, const covey::member& m, std::size_t count) {
        std::printf("%s %s; %zu member%s\n", line_of(m).c_str(), what, count, count == 1 ? "" : "s");
    }

    covey::peer_id m_self;
    std::map<covey::peer_id, covey::member> m_known;
};

struct resolved {
    addrinfo* first = nullptr;
    ~resolved() {
        if (first != nullptr) freeaddrinfo(first);
    }
};

/// The address of this machine that packets to "host:port" come from: what a peer that asks there has to bind to. Sends
/// nothing. Throws covey::error.
std::string address_toward(const std::string& host_and_port) {
    const std::size_t colon = host_and_port.rfind(':');
    if (colon == std::string::npos) {
        throw covey::error(covey::errc::bad_address, "\"" + host_and_port + "\" is no address; write host:port, as 127.0.0.1:7400");
    }
    std::string host = host_and_port.substr(0, colon);
    if (host.size() > 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
    addrinfo hints{};
    hints.ai_socktype = SOCK_DGRAM;
    resolved found;
    if (const int error = getaddrinfo(host.c_str(), host_and_port.c_str() + colon + 1, &hints, &found.first); error != 0) {
        throw covey::error(covey::errc::bad_address, "\"" + host_and_port + "\" cannot be looked up: " + gai_strerror(error));
    }
    for (const addrinfo* a = found.first; a != nullptr; a = a->ai_next) {
        const int fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol);
        if (fd < 0) continue;
        sockaddr_storage local{};
        socklen_t size = sizeof local;
        const bool known = connect(fd, a->ai_addr, a->ai_addrlen) == 0 && getsockname(fd, reinterpret_cast<sockaddr*>(&local), &size) == 0;
        close(fd);
        char text[NI_MAXHOST];
        if (known && getnameinfo(reinterpret_cast<sockaddr*>(&local), size, text, sizeof text, nullptr, 0, NI_NUMERICHOST) == 0) {
            return local.ss_family == AF_INET6 ? "[" + std::string(text) + "]:0" : std::string(text) + ":0";
        }
    }
    throw covey::error(covey::errc::unreachable, "this machine has no way to " + host_and_port);
}

/// The real environment, but for the log: the first error is kept, to be told as the one reason why there was no answer.
/// Everything goes to the usual log too where COVEY_LOG asks for one.
class quiet_environment final : public covey::environment {
public:
    explicit quiet_environment(covey::pool& on) : m_real(on) {}

    std::string first_error() const {
        const std::lock_guard lock(m_mutex);
        return m_first_error;
    }

    void log(covey::log_level level, std::string_view line) noexcept override {
        if (m_loud) m_real.log(level, line);
        if (level != covey::log_level::error) return;
        const std::lock_guard lock(m_mutex);
        if (m_first_error.empty()) m_first_error = line;
    }
    void post(std::coroutine_handle<> work) noexcept override { m_real.post(work); }
    covey::time_point now() const noexcept override { return m_real.now(); }
    void arm(covey::timer& t, covey::time_point when) override { m_real.arm(t, when); }
    bool cancel(covey::timer& t) noexcept override { return m_real.cancel(t); }
    std::uint64_t random() noexcept override { return m_real.random(); }
    unsigned concurrency() const noexcept override { return m_real.concurrency(); }
    std::unique_ptr<covey::datagram_socket> open_datagram(const covey::endpoint& local,
                                                          std::shared_ptr<covey::datagram_handler> handler) override {
        return m_real.open_datagram(local, std::move(handler));
    }
    std::unique_ptr<covey::stream_listener> listen(const covey::endpoint& local, covey::accept_callback accepted) override {
        return m_real.listen(local, std::move(accepted));
    }
    void connect(const covey::endpoint& to, covey::duration timeout, covey::connect_callback done) override {
        m_real.connect(to, timeout, std::move(done));
    }
    std::vector<covey::endpoint> resolve(std::string_view host_and_port) override { return m_real.resolve(host_and_port); }

private:
    covey::asio_environment m_real;
    const bool m_loud = std::getenv("COVEY_LOG") != nullptr;
    mutable std::mutex m_mutex;
    std::string m_first_error;
};

/// The members that the seed knows; none when it did not answer in time or refused, and then `why` may say why.
std::vector<covey::member> ask_for_members(const covey::peer_config& config, std::string& why) {
    using clock = std::chrono::steady_clock;
    // In this order: the threads end first, for their last handlers still use the environment.
    std::unique_ptr<quiet_environment> environment;
    const auto workers = std::make_unique<covey::pool>(covey::pool_options{.threads = 1});
    environment = std::make_unique<quiet_environment>(*workers);
    covey::peer observer(*environment, config);

    const auto give_up = clock::now() + answer_limit;
    std::vector<covey::member> best;
    auto grown = clock::now();
    while (clock::now() < give_up) {
        std::vector<covey::member> now = observer.mesh_members();
        std::erase_if(now, [&](const covey::member& m) { return m.id() == observer.id(); });
        if (now.size() > best.size()) grown = clock::now();
        best = std::move(now);
        why = environment->first_error();
        if (best.empty() ? !why.empty() : clock::now() - grown >= settled_after) break;
        std::this_thread::sleep_for(20ms);
    }
    return best;
}

void print_table(const std::vector<covey::member>& members) {
    std::vector<std::vector<std::string>> rows{{"ID", "NAME", "ADDRESS", "ROLE", "STATE", "THREADS"}};
    for (const covey::member& m : members) {
        rows.push_back({covey::to_string(m.id()), m.name(), covey::to_string(m.address()), std::string(to_string(m.role())),
                        std::string(to_string(m.state())), std::to_string(m.threads())});
    }
    std::vector<std::size_t> widths(rows[0].size(), 0);
    for (const auto& row : rows) {
        for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
    }
    for (const auto& row : rows) {
        std::string line;
        for (std::size_t i = 0; i < row.size(); ++i) {
            line += row[i];
            if (i + 1 < row.size()) line.append(widths[i] - row[i].size() + 2, ' ');
        }
        std::puts(line.c_str());
    }
}

void print_json(const std::vector<covey::member>& members) {
    nlohmann::json all = nlohmann::json::array();
    for (const covey::member& m : members) {
        all.push_back({{"id", covey::to_string(m.id())},
                       {"name", m.name()},
                       {"address", covey::to_string(m.address())},
                       {"role", to_string(m.role())},
                       {"state", to_string(m.state())},
                       {"threads", m.threads()},
                       {"epoch", m.epoch()}});
    }
    // A name may be bytes that are no UTF-8; they are replaced rather than refused.
    std::puts(all.dump(2, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
}

}  // namespace

int run_up(const mesh_options& options) {
    // Before the peer has threads, which inherit the mask: only the wait below takes these signals.
    sigset_t heeded;
    sigemptyset(&heeded);
    sigaddset(&heeded, SIGINT);
    sigaddset(&heeded, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &heeded, nullptr);
    std::setvbuf(stdout, nullptr, _IOLBF, 0);

    covey::peer_config config;
    config.bind = options.address;
    config.join = options.join;
    config.key_file = options.key_file;
    config.cluster = options.cluster;
    config.name = options.name;
    config.role = covey::member_role::serve;
    covey::peer self(config);
    std::printf("up at %s, cluster \"%s\", id %s%s\n", covey::to_string(self.address()).c_str(), options.cluster.c_str(),
                covey::to_string(self.id()).c_str(), options.key_file.empty() ? ", without a key" : "");

    reporter changes(self.id());
    while (sigtimedwait(&heeded, nullptr, &look_interval) < 0) changes.update(self.mesh_members());
    std::puts("leaving");
    self.leave();
    return 0;
}

int run_members(const mesh_options& options) {
    covey::peer_config config;
    config.bind = address_toward(options.address);
    config.join = {options.address};
    config.key_file = options.key_file;
    config.cluster = options.cluster;
    config.name = "peerd-members";
    config.role = covey::member_role::observer;
    std::string why;
    std::vector<covey::member> members = ask_for_members(config, why);
    if (members.empty()) {
        if (why.empty()) {
            why = "no member of cluster \"" + options.cluster + "\" answered at " + options.address + " within " +
                  std::to_string(answer_limit.count()) + " s; is one up there (peerd up), and with the same cluster name and key?";
        }
        std::fprintf(stderr, "peerd: %s\n", why.c_str());
        return 1;
    }
    std::sort(members.begin(), members.end(),
              [](const covey::member& a, const covey::member& b) { return std::pair(a.name(), a.id()) < std::pair(b.name(), b.id()); });
    if (options.json) {
        print_json(members);
    } else {
        print_table(members);
    }
    return 0;
}

}  // namespace peerd
