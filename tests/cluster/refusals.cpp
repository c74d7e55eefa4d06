// What cannot be meant or must not be: one clear line and an exit code, and nothing happens to the others.
#include <cluster/agent.hpp>

#include <catch2/catch.hpp>

#include <algorithm>
#include <chrono>
#include <string>
#include <vector>

#include <sys/stat.h>

using namespace covey_test;
using namespace std::chrono_literals;

namespace {

/// A hello that is expected to end by itself.
process start_hello(std::vector<std::string> environment, std::vector<std::string> flags = {}) {
    std::vector<std::string> argv{program("hello")};
    argv.insert(argv.end(), flags.begin(), flags.end());
    return process(std::move(argv), {std::move(environment), false});
}

std::string keygen(const temporary_directory& directory, const std::string& name) {
    process p({program("peerd"), "keygen", directory.file(name)});
    REQUIRE(p.wait() == 0);
    return directory.file(name);
}

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

/// One line that says what it is about.
void check_one_line(const process& p, const std::string& about) {
    INFO(p.err());
    CHECK(std::count(p.err().begin(), p.err().end(), '\n') == 1);
    CHECK(has(p.err(), about));
    CHECK(p.out().empty());
}

/// `peerd members` of that address, which is expected to get no answer.
void check_no_answer(const std::string& address, std::vector<std::string> options) {
    std::vector<std::string> argv{program("peerd"), "members", "--address", address};
    argv.insert(argv.end(), options.begin(), options.end());
    process p(argv);
    CHECK(p.wait() == 1);
    check_one_line(p, address);
}

}  // namespace

TEST_CASE("a port in use is refused with its number, and its owner does not mind") {
    std::vector<agent> agents = start_agents(2);
    process p = start_hello({"COVEY_BIND=" + agents[0].address()});
    CHECK(p.wait() == 2);
    check_one_line(p, agents[0].address());
    CHECK(agents[1].reaches(agents[0]));
}

TEST_CASE("an address that is not loopback is refused without a key") {
    process p = start_hello({"COVEY_BIND=0.0.0.0:0"});
    CHECK(p.wait() == 2);
    check_one_line(p, "key");
}

TEST_CASE("configuration that cannot be meant is refused") {
    SECTION("an address that is none") {
        process p = start_hello({"COVEY_BIND=127.0.0.1:port"});
        CHECK(p.wait() == 2);
        check_one_line(p, "127.0.0.1:port");
    }
    SECTION("an address of another machine") {
        temporary_directory directory;
        process p = start_hello({"COVEY_BIND=192.0.2.1:7400", "COVEY_KEY_FILE=" + keygen(directory, "key")});
        CHECK(p.wait() == 2);
        check_one_line(p, "192.0.2.1:7400");
    }
    SECTION("no number of threads") {
        process p = start_hello({"COVEY_THREADS=many"});
        CHECK(p.wait() == 2);
        check_one_line(p, "many");
    }
    SECTION("no role") {
        process p = start_hello({"COVEY_ROLE=king"});
        CHECK(p.wait() == 2);
        check_one_line(p, "king");
    }
    SECTION("an unknown flag of the library") {
        process p = start_hello({}, {"--covey-nonsense"});
        CHECK(p.wait() == 2);
        CHECK(has(p.err(), "--covey-nonsense"));
    }
}

TEST_CASE("a key file that is missing, is no key, or is open to others is refused with its path") {
    temporary_directory directory;
    std::string path;
    SECTION("missing") { path = directory.file("nowhere"); }
    SECTION("no key") {
        path = directory.write("poem", "roses are red\n");
        REQUIRE(chmod(path.c_str(), 0600) == 0);
    }
    SECTION("open to others") {
        path = keygen(directory, "key");
        REQUIRE(chmod(path.c_str(), 0644) == 0);
    }
    process p = start_hello({"COVEY_KEY_FILE=" + path});
    CHECK(p.wait() == 2);
    check_one_line(p, path);
}

TEST_CASE("peers without the cluster's key, or of another cluster, stay out, say why, and disturb nobody") {
    temporary_directory directory;
    const std::string key = keygen(directory, "key");
    const std::string other_key = keygen(directory, "other");
    std::vector<agent> inside = start_agents(2, {.environment = {"COVEY_KEY_FILE=" + key}});

    // Not through covey::run, which would end the program: see the next test.
    agent_options options{.join = {inside[0].address()}, .embedded = true};
    std::vector<std::string> as_observer;
    SECTION("another key") {
        options.environment = {"COVEY_KEY_FILE=" + other_key};
        as_observer = {"--key-file", other_key};
    }
    SECTION("no key") {}
    SECTION("the key, but another cluster") {
        options.environment = {"COVEY_KEY_FILE=" + key, "COVEY_CLUSTER=elsewhere"};
        as_observer = {"--key-file", key, "--cluster", "elsewhere"};
    }
    agent outside(options);
    const std::string why = outside.expect_error("", 5s);
    INFO(why);
    CHECK(has(why, inside[0].address()));
    CHECK((has(why, "key") || has(why, "cluster")));
    check_no_answer(inside[0].address(), as_observer);

    CHECK(outside.sees(1));
    CHECK(inside[0].sees(2));
    CHECK(inside[0].reaches(inside[1]));
    agent late({.join = {inside[1].address()}, .environment = {"COVEY_KEY_FILE=" + key}});
    CHECK(late.sees(3));
}

TEST_CASE("a program that its seed refuses ends with one line") {
    temporary_directory directory;
    const std::string key = keygen(directory, "key");
    agent inside({.environment = {"COVEY_KEY_FILE=" + key}});
    const std::string join = "COVEY_JOIN=" + inside.address();
    SECTION("another key") {
        process p = start_hello({join, "COVEY_KEY_FILE=" + keygen(directory, "other")});
        CHECK(p.wait() == 1);
        check_one_line(p, inside.address());
        CHECK(has(p.err(), "key"));
    }
    SECTION("no key") {
        process p = start_hello({join});
        CHECK(p.wait() == 1);
        check_one_line(p, inside.address());
        CHECK(has(p.err(), "key"));
    }
    SECTION("the key, but another cluster, as a serving peer") {
        process p = start_hello({join, "COVEY_KEY_FILE=" + key, "COVEY_CLUSTER=elsewhere", "COVEY_ROLE=serve"});
        CHECK(p.wait() == 1);
        check_one_line(p, inside.address());
        CHECK(has(p.err(), "cluster"));
    }
    CHECK(inside.sees(1));
}

TEST_CASE("a main peer whose seed does not answer ends and names it") {
    const std::string address = "127.0.0.1:" + std::to_string(free_port());
    process p = start_hello({"COVEY_JOIN=" + address});
    CHECK(p.wait() == 1);
    CHECK(has(p.err(), "answered at " + address));
    CHECK(p.out().empty());
}

TEST_CASE("peers of two clusters without keys stay apart") {
    agent one({.environment = {"COVEY_CLUSTER=one"}});
    agent two({.join = {one.address()}, .environment = {"COVEY_CLUSTER=two"}, .embedded = true});
    const std::string why = two.expect_error("", 5s);
    INFO(why);
    CHECK(has(why, one.address()));
    CHECK(has(why, "cluster"));
    CHECK(one.sees(1));
    CHECK(two.sees(1));
}

TEST_CASE("an unreachable seed is named, and joined once it is there") {
    const std::string address = "127.0.0.1:" + std::to_string(free_port());
    check_no_answer(address, {});
    agent early({.join = {address}, .embedded = true});
    const std::string why = early.expect_error("", 5s);
    INFO(why);
    CHECK(has(why, address));
    agent seed({.environment = {"COVEY_BIND=" + address}});
    CHECK(early.sees(seed, 15s));
    CHECK(early.reaches(seed));
}
