// peerd keys: the key of a running mesh is exchanged by commands, without a call lost.
#include <cluster/agent.hpp>

#include <catch2/catch.hpp>

#include <string>
#include <vector>

#include <sys/stat.h>

namespace covey_test_cluster_keys {  // so that test files can be compiled together

using namespace covey_test;
using namespace std::chrono_literals;

namespace {

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

/// Makes a key file and gives the fingerprint that peerd names it by.
std::string keygen(const std::string& path) {
    process p({program("peerd"), "keygen", path});
    REQUIRE(p.wait() == 0);
    const std::string intro = "wrote a new key, ";
    REQUIRE(has(p.out(), intro));
    return p.out().substr(p.out().find(intro) + intro.size(), 8);
}

struct keys_command : process {
    keys_command(const std::string& address, const std::string& key_file, std::vector<std::string> what)
        : process(command(address, key_file, std::move(what))), code(wait()) {}
    static std::vector<std::string> command(const std::string& address, const std::string& key_file, std::vector<std::string> what) {
        what.insert(what.begin(), {program("peerd"), "keys"});
        what.insert(what.end(), {"--address", address, "--key-file", key_file});
        return what;
    }
    int code;
};

std::size_t count(const std::string& text, const std::string& part) {
    std::size_t n = 0;
    for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++n;
    return n;
}

}  // namespace

TEST_CASE("peerd keys exchanges the key of a running mesh") {
    temporary_directory directory;
    const std::string old_file = directory.file("old"), new_file = directory.file("new");
    const std::string was = keygen(old_file), is = keygen(new_file);
    std::vector<agent> agents = start_agents(3, {.environment = {"COVEY_KEY_FILE=" + old_file}});
    const std::string at = agents[0].address();

    keys_command before(at, old_file, {"list"});
    INFO(before.out() << before.err());
    CHECK(before.code == 0);
    CHECK(count(before.out(), was + "*") == 3);
    CHECK_FALSE(has(before.out(), is));

    keys_command early(at, old_file, {"use", is});
    CHECK(early.code == 1);
    CHECK(has(early.err(), "no member has a key " + is));
    keys_command in_use(at, old_file, {"remove", was});
    CHECK(in_use.code == 1);
    CHECK(has(in_use.err(), "3 of 3 members use it"));

    keys_command install(at, old_file, {"install", new_file});
    INFO(install.out() << install.err());
    CHECK(install.code == 0);
    CHECK(count(install.out(), was + "* " + is) == 3);
    CHECK(has(install.out(), "peerd keys use " + is));
    keys_command use(agents[1].address(), old_file, {"use", is});
    CHECK(use.code == 0);
    CHECK(count(use.out(), is + "* " + was) == 3);

    agent late({.join = {agents[2].address()}, .environment = {"COVEY_KEY_FILE=" + new_file}});
    for (agent& a : agents) CHECK(a.sees(late));
    CHECK(late.reaches(agents[0]));

    keys_command remove(at, new_file, {"remove", was});
    INFO(remove.out() << remove.err());
    CHECK(remove.code == 0);
    CHECK(count(remove.out(), is + "*") == 4);
    CHECK_FALSE(has(remove.out(), was + "*"));

    keys_command stale(at, old_file, {"list"});
    CHECK(stale.code == 1);
    CHECK(has(stale.err(), "cluster key does not match"));
    keys_command after(at, new_file, {"list", "--json"});
    CHECK(after.code == 0);
    CHECK(count(after.out(), "\"" + is + "\"") == 4);
    CHECK_FALSE(has(after.out(), was));
    for (agent& a : agents) CHECK(a.sees(4));
    CHECK(agents[1].reaches(late));

    // No key was printed, by anybody.
    const std::string secrets[] = {read_file(old_file).substr(0, 64), read_file(new_file).substr(0, 64)};
    for (const std::string& secret : secrets) {
        for (const process* p : {static_cast<process*>(&install), static_cast<process*>(&use), static_cast<process*>(&remove)})
            CHECK_FALSE((has(p->out(), secret) || has(p->err(), secret)));
        for (agent& a : agents) CHECK_FALSE((has(a.out(), secret) || has(a.err(), secret)));
    }
}

TEST_CASE("peerd keys says what is wrong with its arguments") {
    temporary_directory directory;
    keygen(directory.file("key"));
    keys_command nonsense("127.0.0.1:1", directory.file("key"), {"use", "nonsense"});
    CHECK(nonsense.code == 1);
    CHECK(has(nonsense.err(), "\"nonsense\" is no fingerprint of a key"));
    keys_command missing("127.0.0.1:1", directory.file("key"), {"install", directory.file("nowhere")});
    CHECK(missing.code == 1);
    CHECK(has(missing.err(), directory.file("nowhere")));
    process bare({program("peerd"), "keys"});
    CHECK(bare.wait() == 2);
    process open_mesh({program("peerd"), "up", "--bind", "127.0.0.1:0"});
    const std::string up = open_mesh.expect("up at ");
    process list({program("peerd"), "keys", "list", "--address", up.substr(0, up.find(','))});
    CHECK(list.wait() == 1);
    CHECK(has(list.out(), "without a key"));
}

}  // namespace covey_test_cluster_keys
