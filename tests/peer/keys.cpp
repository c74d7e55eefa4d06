// Exchanging the cluster key of running peers, over real sockets.
#include <covey/peer.hpp>

#include <call/support.hpp>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>

#include <sys/stat.h>
#include <unistd.h>

namespace covey_test_peer_keys {

using namespace covey;
using namespace covey_test_call;
using mesh::key_change;
using net::cluster_key;

int thrice(int n) { return 3 * n; }

}  // namespace covey_test_peer_keys

template struct covey::expose<covey_test_peer_keys::thrice>;

namespace covey_test_peer_keys {

/// A key file that goes away.
struct key_file {
    explicit key_file(const std::vector<cluster_key>& keys) {
        char name[] = "/tmp/covey-test-keys-XXXXXX";
        const int fd = ::mkstemp(name);
        if (fd < 0) throw std::runtime_error("no file for a key");
        ::close(fd);
        path = name;
        std::ofstream file(path);
        for (const cluster_key& key : keys) file << key.to_text();
    }
    ~key_file() { std::remove(path.c_str()); }
    key_file(const key_file&) = delete;
    key_file& operator=(const key_file&) = delete;
    std::string path;
};

peer_config with(const std::string& path, const peer* seed = nullptr) {
    peer_config config;
    config.threads = 1;
    config.key_file = path;
    config.log_refusal = false;
    if (seed != nullptr) config.join = {to_string(seed->address())};
    return config;
}

using names = std::vector<net::key_fingerprint>;

/// What all members said, which must be the same.
names agreed(const std::vector<mesh::member_keys>& answers, std::size_t members) {
    CHECK(answers.size() == members);
    for (const mesh::member_keys& m : answers) {
        CHECK(m.failure.empty());
        CHECK(m.keys == answers.front().keys);
    }
    return answers.empty() ? names() : answers.front().keys;
}

TEST_CASE("a new key is installed, used, and the old one removed, while the mesh runs", "[peer][keys]") {
    const cluster_key old_key = cluster_key::generate(), new_key = cluster_key::generate();
    const net::key_fingerprint was = old_key.fingerprint(), is = new_key.fingerprint();
    const key_file old_file({old_key}), new_file({new_key}), both_file({new_key, old_key});
    peer a(with(old_file.path));
    peer b(with(old_file.path, &a));
    peer c(with(old_file.path, &b));
    for (peer* p : {&a, &b, &c}) p->run(p->wait_for_members(3, patience));
    const auto change = [](peer& p, const key_change& what) { return p.run(p.change_keys(what)); };
    const auto refusal = [&](peer& p, const key_change& what) -> std::string {
        try {
            change(p, what);
        } catch (const error& e) {
            CHECK(e.code() == errc::bad_argument);
            return e.what();
        }
        return "not refused";
    };

    CHECK(agreed(change(a, key_change::list()), 3) == names{was});
    CHECK_THAT(refusal(a, key_change::use(is)), Catch::Contains("no member has a key " + to_string(is)));
    CHECK_THAT(refusal(a, key_change::remove(was)), Catch::Contains("3 of 3 members use it"));

    CHECK(agreed(change(a, key_change::install(new_key)), 3) == names{was, is});
    CHECK(agreed(change(b, key_change::install(new_key)), 3) == names{was, is});  // may be repeated, by anybody
    CHECK_THAT(refusal(c, key_change::remove(was)), Catch::Contains("use another one first"));
    CHECK(agreed(change(c, key_change::use(is)), 3) == names{is, was});

    // Who knows only the new key can join now, and so can who knows both.
    peer d(with(new_file.path, &a));
    peer e(with(both_file.path, &c));
    for (peer* p : {&a, &b, &c, &d, &e}) p->run(p->wait_for_members(5, patience));
    for (peer* p : {&a, &b, &c, &d}) CHECK(p->run(p->remote(on(e.id()), thrice, 7)) == 21);
    const std::vector<mesh::member_keys> mixed = change(a, key_change::list());
    CHECK(mixed.size() == 5);
    for (const mesh::member_keys& m : mixed) CHECK(m.keys == (m.who.id() == d.id() ? names{is} : names{is, was}));

    CHECK(agreed(change(d, key_change::remove(was)), 5) == names{is});
    CHECK(agreed(change(d, key_change::list()), 5) == names{is});
    for (peer* p : {&a, &b, &c, &d, &e}) {
        CHECK(p->rejections()[net::seal_rejection::unknown_key] == 0);
        CHECK(p->members().size() == 5);
    }
    peer late(with(old_file.path, &a));
    try {
        late.run(late.wait_until_joined(patience));
        FAIL("joined with the key that was removed");
    } catch (const error& why) {
        CHECK(why.code() == errc::auth_failed);
    }
    CHECK(a.mesh_members().size() == 5);
}

TEST_CASE("a mesh without a key has none to change, and says how to get one", "[peer][keys]") {
    peer a(with(""));
    peer b(with("", &a));
    for (peer* p : {&a, &b}) p->run(p->wait_for_members(2, patience));
    const std::vector<mesh::member_keys> answers = a.run(a.change_keys(key_change::install(cluster_key::generate())));
    REQUIRE(answers.size() == 2);
    for (const mesh::member_keys& m : answers) {
        CHECK(m.keys.empty());
        CHECK_THAT(m.failure, Catch::Contains("without a key") && Catch::Contains("peerd keygen"));
    }
}

TEST_CASE("a member that does not answer is told of, and stops what could cut it off", "[peer][keys]") {
    const cluster_key key = cluster_key::generate(), next = cluster_key::generate();
    const key_file file({key, next});
    peer_config slow = with(file.path);
    slow.membership = mesh::profile::local();
    slow.membership->probe_interval = std::chrono::hours(1);  // so that nobody is given up while the test looks
    peer a(slow);
    slow.join = {to_string(a.address())};
    auto b = std::make_unique<peer>(slow);
    for (peer* p : {&a, b.get()}) p->run(p->wait_for_members(2, patience));
    b->close();
    const std::vector<mesh::member_keys> answers = a.run(a.change_keys(key_change::list()));
    REQUIRE(answers.size() == 2);
    CHECK(answers[0].failure.empty());
    CHECK(answers[1].who.id() == b->id());
    CHECK_FALSE(answers[1].failure.empty());
    CHECK_THROWS_WITH(a.run(a.change_keys(key_change::use(next.fingerprint()))), Catch::Contains("did not answer"));
}

}  // namespace covey_test_peer_keys
