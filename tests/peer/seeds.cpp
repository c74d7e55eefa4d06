// Peers that find each other by names, over real sockets, with a name server in the hands of the test.
#include <covey/net/asio_environment.hpp>
#include <covey/peer.hpp>

#include <call/support.hpp>

#include <deque>
#include <map>
#include <string>

namespace covey_test_peer_seeds {

using namespace covey;
using namespace covey_test_call;
using namespace std::chrono_literals;

/// The real environment, but for what names stand for.
class named_environment final : public environment {
public:
    scheduler& workers() noexcept override { return m_real.workers(); }
    void post(std::coroutine_handle<> work) noexcept override { m_real.post(work); }
    time_point now() const noexcept override { return m_real.now(); }
    void arm(timer& t, time_point when) override { m_real.arm(t, when); }
    bool cancel(timer& t) noexcept override { return m_real.cancel(t); }
    std::uint64_t random() noexcept override { return m_real.random(); }
    unsigned concurrency() const noexcept override { return m_real.concurrency(); }
    std::unique_ptr<datagram_socket> open_datagram(const endpoint& local, std::shared_ptr<datagram_handler> handler) override {
        return m_real.open_datagram(local, std::move(handler));
    }
    std::unique_ptr<stream_listener> listen(const endpoint& local, accept_callback accepted) override {
        return m_real.listen(local, std::move(accepted));
    }
    void connect(const endpoint& to, duration timeout, connect_callback done) override { m_real.connect(to, timeout, std::move(done)); }
    std::vector<endpoint> resolve(std::string_view text) override { return m_real.resolve(text); }
    void look_up(std::string text, look_up_callback done) override {
        std::vector<endpoint> found;
        {
            const std::lock_guard lock(m_mutex);
            m_look_ups.add();
            if (m_names.contains(text)) found = m_names[text];
        }
        const std::string why = found.empty() ? "\"" + text + "\" cannot be resolved" : "";
        done(std::move(found), why);
    }
    void log(log_level level, std::string_view line) noexcept override {
        if (level < log_level::warning) return;
        const std::lock_guard lock(m_mutex);
        m_lines.emplace_back(line);
    }
    void set_name(const std::string& text, std::vector<endpoint> addresses) {
        const std::lock_guard lock(m_mutex);
        m_names[text] = std::move(addresses);
    }
    std::size_t lines(std::string_view part) {
        const std::lock_guard lock(m_mutex);
        return static_cast<std::size_t>(
            std::count_if(m_lines.begin(), m_lines.end(), [part](const std::string& l) { return l.find(part) != std::string::npos; }));
    }
    const counter& look_ups() const { return m_look_ups; }

private:
    pool m_pool{pool_options{.threads = 1}};
    asio_environment m_real{m_pool};
    std::mutex m_mutex;
    std::map<std::string, std::vector<endpoint>> m_names;
    std::vector<std::string> m_lines;
    counter m_look_ups;
};

peer_config config_of(std::vector<std::string> join, const std::string& name = "p") {
    peer_config config;
    config.threads = 1;
    config.name = name;
    config.join = std::move(join);
    return config;
}

bool is_here(peer& at, peer_id id) {
    try {
        at.run([](peer& self, peer_id wanted) -> task<void> {
            for (;;) {
                const std::uint64_t seen = self.change_count();
                if (self.mesh_view()->find(wanted) != nullptr) co_return;
                co_await timeout(self.next_change(seen), patience);
            }
        }(at, id));
        return true;
    } catch (const error&) {
        return false;
    }
}

TEST_CASE("a name that is unknown at first is looked up until it is known", "[peer][seeds]") {
    peer a(config_of({}, "a"));
    named_environment env;
    peer b(env, config_of({"mesh.test:7400"}, "b"));
    CHECK(env.look_ups().reaches(3));
    CHECK(b.members().size() == 1);
    CHECK(env.lines("\"mesh.test:7400\" cannot be resolved (attempt 1)") == 1);
    try {
        b.run(b.wait_until_joined(10ms));
        FAIL("joined");
    } catch (const error& e) {
        CHECK(e.code() == errc::unreachable);
        CHECK_THAT(e.what(), Catch::Contains("answered at mesh.test:7400") && Catch::Contains("\"mesh.test:7400\" cannot be resolved;"));
    }
    env.set_name("mesh.test:7400", {endpoint::v4(127, 0, 0, 1, 1), a.address(), endpoint::parse("[::1]:7")});
    b.run(b.wait_until_joined(patience));
    CHECK(is_here(b, a.id()));
    CHECK(is_here(a, b.id()));
    b.close();
}

TEST_CASE("who is left alone asks whoever its seeds are by then", "[peer][seeds]") {
    auto first = std::make_unique<peer>(config_of({}, "first"));
    named_environment env;
    env.set_name("mesh.test:7400", {first->address()});
    peer b(env, config_of({"mesh.test:7400"}, "b"));
    CHECK(is_here(b, first->id()));
    peer second(config_of({}, "second"));
    env.set_name("mesh.test:7400", {second.address()});
    SECTION("they have left") { first->leave(); }
    SECTION("they are gone without a word") { first->close(); }
    CHECK(is_here(b, second.id()));
    CHECK(is_here(second, b.id()));
    b.close();
}

TEST_CASE("a name that stands for all members, oneself too, needs no first one", "[peer][seeds]") {
    named_environment env;
    // Both begin when nobody knows anybody.
    peer a(env, config_of({"mesh.test:7400"}, "a"));
    peer b(env, config_of({"mesh.test:7400"}, "b"));
    env.set_name("mesh.test:7400", {a.address(), b.address()});
    CHECK(is_here(a, b.id()));
    CHECK(is_here(b, a.id()));
    peer c(env, config_of({"mesh.test:7400"}, "c"));
    c.run(c.wait_until_joined(patience));
    CHECK(is_here(c, a.id()));
    for (peer* p : {&a, &b, &c}) p->close();
}

TEST_CASE("a name that the system does not know is no error", "[peer][seeds]") {
    // Through the real look-up, on its own thread; .invalid stands for nothing, whatever the name server (RFC 6761).
    ::setenv("COVEY_LOG", "error", 1);
    peer a(config_of({}, "a"));
    peer b(config_of({"peers.invalid:7400", to_string(a.address())}, "b"));
    peer c(config_of({"peers.invalid:7400"}, "c"));
    ::unsetenv("COVEY_LOG");
    CHECK(is_here(b, a.id()));
    CHECK(outcome_of(c, c.wait_until_joined(50ms)).code == errc::unreachable);
    CHECK(c.run(c.remote([](int n) { return n + 1; }, 4)) == 5);
}

TEST_CASE("several addresses, and one that is written wrong", "[peer][seeds]") {
    peer a(config_of({}, "a"));
    peer b(config_of({"127.0.0.1:1", "localhost:" + std::to_string(a.address().port)}, "b"));
    CHECK(is_here(b, a.id()));
    for (const char* bad : {"127.0.0.1", "peers", "peers:http", "two words:1", "10.0.0.1:0"}) {
        try {
            const peer p(config_of({to_string(a.address()), bad}));
            FAIL("started with " << bad);
        } catch (const error& e) {
            CHECK(e.code() == errc::bad_address);
            CHECK_THAT(e.what(), Catch::Contains(bad));
        }
    }
}

}  // namespace covey_test_peer_seeds
