// Agents on hosts of their own, which have found each other.
#pragma once

#include <cluster/agent.hpp>
#include <hosts/network.hpp>

#include <chrono>
#include <iostream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace covey_test {

using steady = std::chrono::steady_clock;

/// Looks again and again until `holds()`; false: it did not in time. Deadlines of the protocol are the same under a sanitizer, but
/// here, too, they are stretched where one slows everything down.
template <class Condition>
bool eventually(Condition holds, std::chrono::milliseconds at_most) {
    const auto until = steady::now() + limit(at_most);
    for (;;) {
        if (holds()) return true;
        if (steady::now() >= until) return false;
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
}

inline double seconds_since(steady::time_point start) { return std::chrono::duration<double>(steady::now() - start).count(); }

/// One agent on each host of a network, with a key (for these are no loopback addresses) and therefore in the profile lan.
struct mesh_on_hosts {
    explicit mesh_on_hosts(const network& net, std::size_t hosts) {
        const std::string key_file = directory.file("key");
        process keygen({program("peerd"), "keygen", key_file});
        if (keygen.wait() != 0) throw std::runtime_error("peerd keygen: " + keygen.err());
        for (std::size_t i = 0; i < hosts; ++i) {
            agent_options options;
            options.in_front = net.on(i);
            options.environment = {"COVEY_BIND=" + network::address(i) + ":7400", "COVEY_KEY_FILE=" + key_file,
                                   "COVEY_NAME=host" + std::to_string(i), "COVEY_LOG=info"};
            if (i > 0) options.join = {agents[0].address()};
            agents.emplace_back(options);
        }
        if (!eventually([&] { return agree(); }, std::chrono::seconds(15)))
            throw std::runtime_error("the agents did not find each other: " + agents[0].members());
    }

    /// All see the same members, which are all of them, and no split.
    bool agree() {
        const std::string digest = agents[0].view().digest;
        for (agent& a : agents) {
            const agent::sight seen = a.view();
            if (seen.digest != digest || seen.members != agents.size() || seen.at_most != agents.size() || seen.split) return false;
        }
        return true;
    }
    /// Whether this agent has said so of a member, by now.
    bool has_said(std::size_t who, std::size_t of, const std::string& what) {
        agents[who].view();  // by then what it said before has arrived
        return agents[who].err().find("member " + agents[of].id() + " (host" + std::to_string(of) + ") " + what + "\n") !=
               std::string::npos;
    }
    bool somebody_said(const std::string& what) {
        for (std::size_t who = 0; who < agents.size(); ++who) {
            for (std::size_t of = 0; of < agents.size(); ++of) {
                if (has_said(who, of, what)) return true;
            }
        }
        return false;
    }

    temporary_directory directory;
    std::vector<agent> agents;
};

/// What came of a call: "well", or the error.
inline std::string call(agent& from, const agent& to) {
    const std::string answer = from.ask("echo", to.id() + " well");
    return answer.starts_with("reply ") ? answer.substr(6) : answer;
}

/// Beside the results, for whoever wants to know the figures.
inline void print_figure(const std::string& what, double seconds) {
    std::cout << "    " << what << " after " << static_cast<double>(static_cast<int>(seconds * 10)) / 10 << " s\n" << std::flush;
}

}  // namespace covey_test
