// Whole peers over real sockets: joining, leaving, keys, and what a configuration may not be.
#include <covey/peer.hpp>

#include <covey/net/key.hpp>

#include <call/support.hpp>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>

#include <unistd.h>

namespace covey_test_peer {

using namespace covey;
using namespace covey_test_call;
using namespace std::chrono_literals;

int twice(int n) { return 2 * n; }

}  // namespace covey_test_peer

template struct covey::expose<covey_test_peer::twice>;

namespace covey_test_peer {

/// A key in a file of its own, removed at the end.
struct key_file {
    key_file() {
        char name[] = "/tmp/covey-test-key-XXXXXX";
        const char* const directory = ::mkdtemp(name);
        if (directory == nullptr) throw std::runtime_error("no directory for a key");
        folder = directory;
        path = folder + "/key";
        net::cluster_key::generate().save(path);
    }
    ~key_file() {
        std::remove(path.c_str());
        ::rmdir(folder.c_str());
    }
    key_file(const key_file&) = delete;
    key_file& operator=(const key_file&) = delete;
    std::string folder;
    std::string path;
};

peer_config one_thread(std::string name = {}) {
    peer_config config;
    config.threads = 1;
    config.name = std::move(name);
    return config;
}

errc refused(const peer_config& config, std::string* text = nullptr) {
    try {
        const peer p(config);
    } catch (const error& e) {
        if (text != nullptr) *text = e.what();
        return static_cast<errc>(e.code().value());
    }
    return {};
}

TEST_CASE("a peer alone is a cluster of one", "[peer]") {
    peer_config config = one_thread("hermit");
    config.args = {"program", "one"};
    peer p(config);
    CHECK(p.id());
    CHECK(p.address().is_loopback());
    CHECK(p.address().port != 0);
    CHECK(p.threads() == 1);
    REQUIRE(p.members().size() == 1);
    CHECK(p.members()[0].id() == p.id());
    CHECK(p.members()[0].name() == "hermit");
    CHECK(p.mesh_members().size() == 1);
    CHECK(p.args().size() == 2);
    CHECK(p.find(p.id()).has_value());
    CHECK_FALSE(p.find(peer_id{77}).has_value());
    CHECK(p.run(p.remote(twice, 21)) == 42);
    p.leave();
    p.leave();
    p.close();
}

TEST_CASE("peers find each other through any one, and see who leaves", "[peer]") {
    peer a(one_thread("a"));
    peer_config config = one_thread("b");
    config.join = {to_string(a.address())};
    peer b(config);
    b.run(b.wait_for_members(2, patience));
    config = one_thread("c");
    config.join = {to_string(b.address())};
    auto c = std::make_unique<peer>(config);
    for (peer* p : {&a, &b, c.get()}) p->run(p->wait_for_members(3, patience));
    CHECK(a.members()[0].id() == a.id());  // oneself first
    CHECK(c->run(c->remote(on(a.id()), twice, 4)) == 8);

    const peer_id gone = c->id();
    SECTION("by leaving") {
        c.reset();
        a.run([](peer& self) -> task<void> {
            for (;;) {
                const std::uint64_t seen = self.change_count();
                if (self.members().size() == 2) co_return;
                co_await self.next_change(seen);
            }
        }(a));
        REQUIRE(a.find(gone));
        CHECK(a.find(gone)->state() == member_state::left);
        // Whoever calls it now is told at once.
        const outcome o = outcome_of(a, remote(on(gone), twice, 1));
        CHECK(o.code == errc::unknown_peer);
    }
    SECTION("by ending without a word") {
        c->close();
        a.run([](peer& self) -> task<void> {
            for (;;) {
                const std::uint64_t seen = self.change_count();
                if (self.members().size() == 2) co_return;
                co_await self.next_change(seen);
            }
        }(a));
        CHECK(a.find(gone));
    }
    CHECK(a.run(a.remote(on(b.id()), twice, 4)) == 8);
}

TEST_CASE("waiting for members that do not come ends, and says how many were there", "[peer]") {
    peer a(one_thread());
    const outcome o = outcome_of(a, a.wait_for_members(3, 50ms));
    CHECK(o.code == errc::timed_out);
    CHECK_THAT(o.text, Catch::Contains("1 of 3"));
    a.run(a.wait_for_members(1, 50ms));

    // And it can be stopped.
    outcome stopped_wait;
    std::thread waiter([&] { stopped_wait = outcome_of(a, a.wait_for_members(3, 1h)); });
    a.request_stop();
    waiter.join();
    CHECK(stopped_wait.stopped);
}

TEST_CASE("a seed that does not answer is no error", "[peer]") {
    peer gone(one_thread());
    const std::string nobody = to_string(gone.address());
    gone.close();
    peer a(one_thread());
    peer_config config = one_thread();
    config.join = {nobody, to_string(a.address())};
    peer b(config);
    b.run(b.wait_for_members(2, patience));
    CHECK(b.run(b.remote(on(a.id()), twice, 2)) == 4);
}

TEST_CASE("configurations that cannot work are refused", "[peer]") {
    std::string text;
    peer_config config = one_thread();
    config.bind = "0.0.0.0:0";
    CHECK(refused(config, &text) == errc::insecure_bind);
    CHECK_THAT(text, Catch::Contains("key") && Catch::Contains("0.0.0.0"));

    config = one_thread();
    config.key_file = "/no/such/key";
    CHECK(refused(config, &text) == errc::auth_failed);
    CHECK_THAT(text, Catch::Contains("/no/such/key"));

    config = one_thread();
    config.bind = "no address at all";
    CHECK(refused(config) == errc::bad_address);
    config.bind = "192.0.2.1:0";
    const errc not_ours = refused(config);
    CHECK((not_ours == errc::insecure_bind || not_ours == errc::bad_address));

    peer a(one_thread());
    config = one_thread();
    config.bind = to_string(a.address());
    CHECK(refused(config, &text) == errc::address_in_use);
    CHECK_THAT(text, Catch::Contains(to_string(a.address())));

    config = one_thread();
    config.join = {"not an address"};
    CHECK(refused(config) == errc::bad_address);
    config = one_thread(std::string(200, 'n'));
    CHECK(refused(config) == errc::bad_argument);
}

TEST_CASE("with a key everything is encrypted and works the same", "[peer][key]") {
    const key_file key;
    peer_config base;
    base.key_file = key.path;
    group peers(3, base);
    for (std::size_t i = 0; i < 3; ++i) CHECK(peers[0].run(peers[0].remote(on(peers.id(i)), twice, 21)) == 42);
    CHECK(peers[1].run(peers[1].remote(on(peers.id(2)), [](std::string s) { return s.size(); }, std::string(300'000, 'k'))) == 300'000);
    peers.destroy(2);
    CHECK(peers[1].run(peers[1].remote(on(peers.id(0)), twice, 4)) == 8);

    // The key makes it secure; but others could not reply to "every address".
    peer_config open = one_thread();
    open.key_file = key.path;
    open.bind = "0.0.0.0:0";
    std::string text;
    CHECK(refused(open, &text) == errc::bad_address);
    CHECK_THAT(text, Catch::Contains("one interface"));
}

TEST_CASE("another key, no key, another cluster: they do not join, and calls go on", "[peer][key]") {
    const key_file right;
    const key_file wrong;
    peer_config base;
    base.key_file = right.path;
    group peers(2, base);
    peer_config config = one_thread("intruder");
    config.join = {to_string(peers[0].address())};
    SECTION("another key") { config.key_file = wrong.path; }
    SECTION("no key") {}
    SECTION("another cluster") {
        config.key_file = right.path;
        config.cluster = "elsewhere";
    }
    peer intruder(config);
    // Long enough for several tries to join.
    CHECK(outcome_of(intruder, intruder.wait_for_members(2, 700ms)).code == errc::timed_out);
    CHECK(peers[0].mesh_members().size() == 2);
    CHECK(peers[0].run(peers[0].remote(on(peers.id(1)), twice, 21)) == 42);
    CHECK(intruder.run(intruder.remote(twice, 1)) == 2);
}

TEST_CASE("configuration from the environment", "[peer]") {
    const auto with = [](const char* name, const char* value) {
        ::setenv(name, value, 1);
        struct cleaner {
            const char* n;
            ~cleaner() { ::unsetenv(n); }
        } clean{name};
        return peer_config::from_environment();
    };
    CHECK(with("COVEY_BIND", "127.0.0.1:7777").bind == "127.0.0.1:7777");
    CHECK(with("COVEY_JOIN", "a:1,b:2,,c:3").join == std::vector<std::string>{"a:1", "b:2", "c:3"});
    CHECK(with("COVEY_JOIN", "").join.empty());
    CHECK(with("COVEY_KEY_FILE", "k").key_file == "k");
    CHECK(with("COVEY_CLUSTER", "blue").cluster == "blue");
    CHECK(with("COVEY_NAME", "n").name == "n");
    CHECK(with("COVEY_THREADS", "5").threads == 5);
    CHECK(with("COVEY_ROLE", "serve").role == member_role::serve);
    CHECK(with("COVEY_ROLE", "main").role == member_role::main);
    using labels = std::vector<std::pair<std::string, std::string>>;
    CHECK(with("COVEY_LABELS", "zone=a,rack=,x=1=2").labels == labels{{"zone", "a"}, {"rack", ""}, {"x", "1=2"}});
    CHECK(with("COVEY_LABELS", "zone=a,zone=b").labels == labels{{"zone", "b"}});
    using resources = std::vector<std::pair<std::string, std::uint32_t>>;
    CHECK(with("COVEY_RESOURCES", "seats=0,licences=4294967295").resources == resources{{"seats", 0}, {"licences", 4294967295}});
    CHECK(with("COVEY_GPUS", "8").gpus == 8);
    CHECK(with("COVEY_MEMORY_MIB", "1024").memory_mib == 1024);
    CHECK(with("COVEY_PROFILE", "wan").profile == "wan");
    CHECK(with("COVEY_MEMBERSHIP", "probe_interval=1s,gossip_fanout=2").settings ==
          std::vector<std::string>{"probe_interval=1s", "gossip_fanout=2"});
    for (const char* bad : {"zone", "=a"}) CHECK_THROWS_AS(with("COVEY_LABELS", bad), error);
    for (const char* bad : {"seats", "=1", "seats=", "seats=-1", "seats=4294967296", "seats=1x"})
        CHECK_THROWS_AS(with("COVEY_RESOURCES", bad), error);
    CHECK_THROWS_AS(with("COVEY_GPUS", "65536"), error);
    for (const char* bad : {"", "0", "-1", "4097", "many", "3x"}) CHECK_THROWS_AS(with("COVEY_THREADS", bad), error);
    CHECK_THROWS_AS(with("COVEY_ROLE", "observer"), error);
}

TEST_CASE("the numbers of the membership: a profile, all of them, single ones", "[peer]") {
    const endpoint here = endpoint::v4(127, 0, 0, 1, 1), there = endpoint::v4(10, 0, 0, 1, 1);
    const auto interval = [](const peer_config& c, const endpoint& bound) { return c.membership_numbers(bound).probe_interval; };
    peer_config config;
    CHECK(interval(config, here) == mesh::profile::local().probe_interval);
    CHECK(interval(config, there) == mesh::profile::lan().probe_interval);
    config.profile = "wan";
    CHECK(interval(config, here) == mesh::profile::wan().probe_interval);
    config.settings = {"probe_interval=7s", "gossip_fanout=5"};
    CHECK(interval(config, here) == 7s);
    CHECK(config.membership_numbers(here).gossip_fanout == 5);
    CHECK(config.membership_numbers(here).gossip_interval == mesh::profile::wan().gossip_interval);
    config.profile.clear();
    config.membership = mesh::profile::local();
    CHECK(config.membership_numbers(there).probe_timeout == mesh::profile::local().probe_timeout);
    CHECK(interval(config, there) == 7s);

    std::string text;
    config = one_thread();
    config.profile = "moon";
    CHECK(refused(config, &text) == errc::bad_argument);
    CHECK_THAT(text, Catch::Contains("\"moon\"") && Catch::Contains("local, lan or wan"));
    config.profile = "lan";
    config.membership = mesh::profile::lan();
    CHECK(refused(config, &text) == errc::bad_argument);
    CHECK_THAT(text, Catch::Contains("give one"));
    config.profile.clear();
    config.membership->gossip_fanout = 65;
    CHECK(refused(config, &text) == errc::bad_argument);
    CHECK_THAT(text, Catch::Contains("gossip_fanout=65: allowed is 1 to 64"));
    config.membership.reset();
    config.settings = {"probe_give_up=100ms"};
    CHECK(refused(config, &text) == errc::bad_argument);
    CHECK_THAT(text, Catch::Contains("probe_give_up=100ms: must be more than probe_timeout, which is 120ms"));
}

TEST_CASE("peers come and go while others call", "[peer]") {
    group peers(2);
    std::atomic<bool> done{false};
    int good = 0;
    outcome failed;
    std::thread caller([&] {
        failed = outcome_of(peers[0], [](peer_id to, std::atomic<bool>* enough, int* count) -> task<void> {
            while (!*enough) *count += co_await remote(on(to), twice, 3) == 6;
        }(peers.id(1), &done, &good));
    });
    for (int i = 0; i < 10; ++i) {
        peer_config config = one_thread("passer-by");
        config.join = {to_string(peers[0].address())};
        peer p(config);
        if (i % 2 == 0) p.run(p.wait_for_members(3, patience));
        if (i % 3 == 0) p.close();
    }
    done = true;
    caller.join();
    INFO(failed.text);
    CHECK(failed.ended);
    CHECK(good > 0);
}

}  // namespace covey_test_peer
