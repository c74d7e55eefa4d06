#include <peerd/observer.hpp>

#include <covey/net/asio_environment.hpp>
#include <covey/sched/pool.hpp>

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <mutex>
#include <stdexcept>
#include <string_view>
#include <thread>

#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

namespace peerd {

namespace {

using namespace std::chrono_literals;

constexpr auto answer_limit = 3s;
/// The table has arrived when it did not grow for so long.
constexpr auto settled_after = 200ms;

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
    void look_up(std::string host_and_port, covey::look_up_callback done) override {
        m_real.look_up(std::move(host_and_port), std::move(done));
    }

private:
    covey::asio_environment m_real;
    const bool m_loud = std::getenv("COVEY_LOG") != nullptr;
    mutable std::mutex m_mutex;
    std::string m_first_error;
};

covey::peer_config config_of(const mesh_options& options, const char* name) {
    covey::peer_config config;
    config.bind = address_toward(options.address);
    config.join = {options.address};
    config.key_file = options.key_file;
    config.cluster = options.cluster;
    config.name = name;
    config.role = covey::member_role::observer;
    return config;
}

}  // namespace

/// They end in this order: the peer, then the threads, whose last handlers still use the environment, then that.
struct observer::state {
    std::unique_ptr<quiet_environment> environment;
    std::unique_ptr<covey::pool> workers = std::make_unique<covey::pool>(covey::pool_options{.threads = 1});
    std::unique_ptr<covey::peer> self;
};

observer::observer(const mesh_options& options, const char* name) : m_options(options), m_state(std::make_unique<state>()) {
    m_state->environment = std::make_unique<quiet_environment>(*m_state->workers);
    m_state->self = std::make_unique<covey::peer>(*m_state->environment, config_of(options, name));
}

observer::~observer() = default;

covey::peer& observer::self() noexcept { return *m_state->self; }

std::vector<covey::member> observer::members() {
    using clock = std::chrono::steady_clock;
    const auto give_up = clock::now() + answer_limit;
    std::vector<covey::member> best;
    std::string why;
    auto grown = clock::now();
    while (clock::now() < give_up) {
        std::vector<covey::member> now = self().mesh_members();
        std::erase_if(now, [&](const covey::member& m) { return m.id() == self().id(); });
        if (now.size() > best.size()) grown = clock::now();
        best = std::move(now);
        why = m_state->environment->first_error();
        if (best.empty() ? !why.empty() : clock::now() - grown >= settled_after) break;
        std::this_thread::sleep_for(20ms);
    }
    if (!best.empty()) return best;
    if (!why.empty()) throw std::runtime_error(why);
    throw std::runtime_error("no member of cluster \"" + m_options.cluster + "\" answered at " + m_options.address + " within " +
                             std::to_string(answer_limit.count()) +
                             " s; is one up there (peerd up), and with the same cluster name and key?");
}

covey::mesh::view observer::view() {
    // Whoever refuses this peer, or is not there, shows in this.
    self().run(self().wait_until_joined(answer_limit));
    std::string why;
    for (const covey::endpoint& e : self().env().resolve(m_options.address)) {
        try {
            return self().run(self().view_at(e));
        } catch (const covey::error& failure) {
            if (why.empty()) why = failure.what();
        }
    }
    throw std::runtime_error(why);
}

}  // namespace peerd
