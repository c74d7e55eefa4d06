// Processes join, are killed, stopped, restarted, and leave; the others notice, and calls to them end or go on.
#include <cluster/agent.hpp>

#include <catch2/catch.hpp>

#include <chrono>
#include <csignal>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

using namespace covey_test;
using namespace std::chrono_literals;

TEST_CASE("five processes find each other through one and call each other") {
    std::vector<agent> agents = start_agents(5);
    for (agent& caller : agents) {
        for (agent& called : agents) CHECK(caller.reaches(called));
    }
    CHECK(agents[1].ask("throw", agents[2].id() + " no such thing") == "remote-error std::runtime_error no such thing");
    // A joining peer needs to know one other, not the first.
    agent last({.join = {agents[4].address()}});
    CHECK(last.sees(6));
    for (agent& a : agents) CHECK(a.sees(last));
    CHECK(agents[0].reaches(last));
}

TEST_CASE("peers inside programs with a main function of their own form a mesh with others") {
    agent first({.embedded = true});
    agent second({.join = {first.address()}, .embedded = true});
    agent third({.join = {second.address()}});
    for (agent* a : {&first, &second, &third}) CHECK(a->sees(3));
    CHECK(first.reaches(third));
    CHECK(third.reaches(first));
    second.send("exit 5");
    CHECK(second.wait() == 5);
    CHECK(first.forgets(second.id(), 5s));
}

TEST_CASE("a peer killed with SIGKILL: its pending calls end at once and the others forget it within seconds") {
    std::vector<agent> agents = start_agents(4);
    agent& victim = agents[2];
    std::vector<std::string> pending;
    for (std::size_t i = 0; i < 2; ++i) {
        pending.push_back(agents[i].begin("sleep", victim.id() + " 60000"));
        REQUIRE(agents[i].reaches(victim));
    }
    victim.signal(SIGKILL);
    for (std::size_t i = 0; i < 2; ++i) {
        const std::string end = agents[i].answer(pending[i], 2s);
        INFO(end);
        CHECK((end.starts_with("error peer_lost ") || end.starts_with("error link_lost ")));
    }
    for (const std::size_t i : {0u, 1u, 3u}) CHECK(agents[i].forgets(victim.id(), 6s));
    const std::string later = agents[0].ask("echo", victim.id() + " anybody there");
    INFO(later);
    CHECK((later.starts_with("error unknown_peer ") || later.starts_with("error peer_lost ")));
    CHECK(agents[0].reaches(agents[1]));
    CHECK(agents[3].reaches(agents[0]));
}

TEST_CASE("a peer that is stopped for five seconds is a member again afterwards, and answers") {
    std::vector<agent> agents = start_agents(4);
    agent& sleeper = agents[3];
    REQUIRE(agents[0].reaches(sleeper));
    sleeper.signal(SIGSTOP);
    const auto until = std::chrono::steady_clock::now() + 5s;
    for (std::size_t i = 0; i < 3; ++i) CHECK(agents[i].forgets(sleeper.id(), 15s));
    std::this_thread::sleep_until(until);  // the five seconds are what is tested, not a condition waited for
    sleeper.signal(SIGCONT);
    for (std::size_t i = 0; i < 3; ++i) CHECK(agents[i].sees(sleeper, 15s));
    CHECK(sleeper.sees(4, 15s));
    for (std::size_t i = 0; i < 3; ++i) {
        CHECK(agents[i].reaches(sleeper));
        CHECK(sleeper.reaches(agents[i]));
    }
    // It had been declared dead, so it lives on under a higher epoch.
    const std::string members = agents[0].members();
    INFO(members);
    CHECK(members.find(sleeper.id() + "@1=") == std::string::npos);
    CHECK(members.find(sleeper.id() + "@") != std::string::npos);
}

TEST_CASE("a process restarted on the same port is a new member, and the old one is gone") {
    std::vector<agent> agents = start_agents(3);
    const std::string address = agents[2].address();
    const std::string old_id = agents[2].id();
    REQUIRE(agents[0].reaches(agents[2]));
    agents[2].signal(SIGKILL);
    CHECK(agents[2].wait() == 128 + SIGKILL);

    agent restarted({.join = {agents[0].address()}, .environment = {"COVEY_BIND=" + address}});
    CHECK(restarted.address() == address);
    CHECK(restarted.id() != old_id);
    for (std::size_t i = 0; i < 2; ++i) {
        CHECK(agents[i].sees(restarted));
        CHECK(agents[i].forgets(old_id, 10s));
        CHECK(agents[i].sees(3));
        CHECK(agents[i].reaches(restarted));
    }
    CHECK(restarted.sees(3));
}

TEST_CASE("a graceful leave is known to all within a second or two, and the leaving process ends") {
    std::vector<agent> agents = start_agents(4);
    const std::string pending = agents[0].begin("sleep", agents[1].id() + " 60000");
    REQUIRE(agents[0].reaches(agents[1]));
    agents[1].send("exit 3");
    for (const std::size_t i : {0u, 2u, 3u}) CHECK(agents[i].forgets(agents[1].id(), 2s));
    CHECK(agents[1].wait() == 3);
    const std::string end = agents[0].answer(pending, 2s);
    INFO(end);
    CHECK(end.starts_with("error "));
    CHECK(agents[2].reaches(agents[3]));
}

TEST_CASE("a peer under SIGTERM leaves and ends with 143") {
    std::vector<agent> agents = start_agents(2);
    agents[1].signal(SIGTERM);
    CHECK(agents[0].forgets(agents[1].id(), 2s));
    CHECK(agents[1].wait() == 128 + SIGTERM);
}

TEST_CASE("a mesh outlives the peer that all others joined through") {
    std::vector<agent> agents = start_agents(3);
    agents[0].signal(SIGKILL);
    CHECK(agents[1].forgets(agents[0].id(), 6s));
    CHECK(agents[2].forgets(agents[0].id(), 6s));
    CHECK(agents[1].reaches(agents[2]));
    agent late({.join = {agents[2].address()}});
    CHECK(late.sees(3));
    CHECK(late.reaches(agents[1]));
}
