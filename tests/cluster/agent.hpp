// The test program cluster_agent, seen from a test.
#pragma once

#include <cluster/process.hpp>

#include <chrono>
#include <sstream>
#include <string>
#include <vector>

namespace covey_test {

struct agent_options {
    std::vector<std::string> join = {};         ///< addresses of others
    std::vector<std::string> environment = {};  ///< more "COVEY_...=value"
    bool embedded = false;                      ///< a main function of its own instead of covey::run
    std::vector<std::string> in_front = {};     ///< a command that runs the agent, with its path: `nsenter` and its arguments
};

/// A running agent; see programs/agent.cpp for what it obeys.
class agent : public process {
public:
    explicit agent(const agent_options& options = {}) : process(command(options), {environment_of(options), false}) {
        const std::string ready = expect("ready ");
        m_id = ready.substr(0, ready.find(' '));
        m_address = ready.substr(m_id.size() + 1, ready.rfind(' ') - m_id.size() - 1);
    }

    const std::string& id() const noexcept { return m_id; }
    const std::string& address() const noexcept { return m_address; }

    /// Sends a request and gives its tag, for `answer`.
    std::string begin(const std::string& verb, const std::string& rest = "") {
        std::string tag = "t" + std::to_string(++m_requests);
        send(verb + " " + tag + " " + rest);
        return tag;
    }
    std::string answer(const std::string& tag, std::chrono::milliseconds at_most = std::chrono::seconds(10)) {
        return expect(tag + " ", at_most);
    }
    std::string ask(const std::string& verb, const std::string& rest = "", std::chrono::milliseconds at_most = std::chrono::seconds(10)) {
        return answer(begin(verb, rest), at_most);
    }

    /// Each is true when it came to pass in time.
    bool sees(std::size_t n, std::chrono::milliseconds at_most = std::chrono::seconds(10)) {
        return wait_for("until", std::to_string(n), at_most);
    }
    bool sees(const agent& other, std::chrono::milliseconds at_most = std::chrono::seconds(10)) {
        return wait_for("here", other.id(), at_most);
    }
    bool forgets(const std::string& id, std::chrono::milliseconds at_most) { return wait_for("gone", id, at_most); }
    bool reaches(const agent& other) { return ask("echo", other.id() + " hello there") == "reply hello there"; }

    /// "ID@EPOCH=ADDRESS ..." of the members that it sees, itself first.
    std::string members() {
        send("members");
        return expect("members ");
    }
    std::string mesh() {
        send("mesh");
        return expect("mesh ");
    }
    /// How much of the mesh it sees.
    struct sight {
        std::string digest;  ///< equal where the views are
        std::size_t members = 0;
        std::size_t at_most = 0;  ///< with those that may be on the other side of a cut
        bool split = false;
    };
    sight view() {
        send("view");
        std::istringstream words(expect("view "));
        sight seen;
        words >> seen.digest >> seen.members >> seen.at_most >> seen.split;
        return seen;
    }

private:
    static std::vector<std::string> command(const agent_options& options) {
        std::vector<std::string> argv = options.in_front;
        argv.push_back(program("cluster_agent"));
        if (options.embedded) argv.push_back("--embedded");
        return argv;
    }
    static std::vector<std::string> environment_of(const agent_options& options) {
        std::vector<std::string> result = options.environment;
        result.push_back("COVEY_THREADS=2");
        std::string all;
        for (const std::string& address : options.join) all += (all.empty() ? "" : ",") + address;
        if (!all.empty()) result.push_back("COVEY_JOIN=" + all);
        return result;
    }
    bool wait_for(const std::string& verb, const std::string& what, std::chrono::milliseconds at_most) {
        const auto stretched = limit(at_most);
        return ask(verb, what + " " + std::to_string(stretched.count()), at_most + std::chrono::seconds(5)) == "done";
    }

    std::string m_id;
    std::string m_address;
    int m_requests = 0;
};

/// n agents that have all found each other.
inline std::vector<agent> start_agents(std::size_t n, const agent_options& options = {}) {
    std::vector<agent> agents;
    agents.emplace_back(options);
    agent_options others = options;
    others.join = {agents[0].address()};
    while (agents.size() < n) agents.emplace_back(others);
    for (agent& a : agents) {
        if (!a.sees(n)) throw std::runtime_error("the agents did not find each other: " + a.members());
    }
    return agents;
}

}  // namespace covey_test
