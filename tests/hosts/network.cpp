#include <hosts/network.hpp>

#include <support/skip.hpp>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <sstream>
#include <stdexcept>

#include <unistd.h>

namespace covey_test {

namespace {

/// Why there can be no network of hosts on this machine.
struct not_here : std::runtime_error {
    using runtime_error::runtime_error;
};

/// Where a program is, also one that only administrators have in their PATH.
std::string path_of(const std::string& tool, const std::string& package) {
    const char* path = std::getenv("PATH");
    std::istringstream folders(std::string(path != nullptr ? path : "") + ":/usr/sbin:/sbin:/usr/bin:/bin");
    for (std::string folder; std::getline(folders, folder, ':');) {
        if (!folder.empty() && access((folder + "/" + tool).c_str(), X_OK) == 0) return folder + "/" + tool;
    }
    throw not_here(tool + " is not installed (package " + package + ")");
}

std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

std::vector<std::string> operator+(std::vector<std::string> a, const std::vector<std::string>& b) {
    a.insert(a.end(), b.begin(), b.end());
    return a;
}

/// Has `ip` carry out these commands in the namespace that `enter` enters; gives its first complaint, or "".
std::string ip(const std::vector<std::string>& enter, const std::vector<std::string>& commands) {
    process p(enter + std::vector<std::string>{path_of("ip", "iproute2"), "-batch", "-"});
    std::string all;
    for (const std::string& command : commands) all += command + "\n";
    try {
        p.send(all);
    } catch (const std::runtime_error&) {
        // It has ended already; its exit code says so.
    }
    p.close_input();
    // It may have to wait: the kernel takes its time to clear away the namespaces of tests that have just ended.
    return p.wait(std::chrono::seconds(60)) == 0 ? "" : first_line(p.err().empty() ? "ip failed without a word" : p.err());
}

void must(const std::vector<std::string>& enter, const std::vector<std::string>& commands) {
    const std::string complaint = ip(enter, commands);
    if (!complaint.empty()) throw std::runtime_error("ip, from \"" + commands.front() + "\" on: " + complaint);
}

std::string mac(std::size_t host) {
    char text[18];
    std::snprintf(text, sizeof text, "02:00:00:00:00:%02zx", host + 1);
    return text;
}

std::string port(std::size_t host) { return "port" + std::to_string(host + 1); }
std::string bridge(std::size_t n) { return "bridge" + std::to_string(n); }

}  // namespace

network::place network::start(std::vector<std::string> command, bool user_namespace) {
    process keeper(command + std::vector<std::string>{"cat"});
    try {
        keeper.send("here");
        keeper.expect("here");
    } catch (const std::runtime_error&) {
        keeper.wait();
        throw not_here("no network namespace can be made: " + first_line(keeper.err()));
    }
    std::vector<std::string> enter{path_of("nsenter", "util-linux"), "-t", std::to_string(keeper.pid()), "-n"};
    if (user_namespace) enter = enter + std::vector<std::string>{"-U", "--preserve-credentials"};
    return {std::move(keeper), std::move(enter)};
}

void network::build(std::size_t hosts, switch_kind kind) {
    const std::string unshare = path_of("unshare", "util-linux");
    bool user_namespace = false;
    try {
        m_switch = std::make_unique<place>(start({unshare, "-n"}, false));
    } catch (const not_here&) {
        user_namespace = true;
        m_switch = std::make_unique<place>(start({unshare, "-U", "-r", "-n"}, true));
    }
    std::vector<std::string> inside;
    if (user_namespace) inside = m_switch->enter;
    for (std::size_t i = 0; i < hosts; ++i) {
        m_hosts.push_back(start(inside + std::vector<std::string>{unshare, "-n"}, user_namespace));
        // Only now is it known that there may be namespaces: what follows needs a kernel that has the devices.
        const std::string cable =
            "link add " + port(i) + " type veth peer name eth0 address " + mac(i) + " netns " + std::to_string(m_hosts.back().keeper.pid());
        const std::string complaint = ip(m_switch->enter, {cable, "link set " + port(i) + " up"});
        if (!complaint.empty()) throw not_here("no veth pair can be made: " + complaint);
        must(m_hosts[i].enter, {"link set lo up", "link set eth0 up", "address add " + address(i) + "/24 dev eth0"});
    }
    if (kind == switch_kind::bridge) {
        const std::string complaint = ip(m_switch->enter, {"link add " + bridge(0) + " type bridge", "link set " + bridge(0) + " up"});
        if (!complaint.empty()) throw not_here("no bridge can be made: " + complaint);
        mend();
    } else {
        std::vector<std::string> command = m_switch->enter;
        command.push_back(program("hosts_lossy_switch"));
        for (std::size_t i = 0; i < hosts; ++i) command.push_back(port(i));
        m_lossy = std::make_unique<process>(std::move(command));
        try {
            disturb(0, std::chrono::milliseconds(0));
        } catch (const std::runtime_error&) {
            if (m_lossy->wait() != 77) throw;
            throw not_here("no switch can be made: " + first_line(m_lossy->err()));
        }
    }
}

std::unique_ptr<network> network::make(std::size_t hosts, switch_kind kind) {
    std::unique_ptr<network> result(new network);
    try {
        result->build(hosts, kind);
    } catch (const not_here& e) {
        skip(e.what());
        return nullptr;
    }
    return result;
}

void network::cut(const std::vector<std::vector<std::size_t>>& sides) {
    std::vector<std::string> commands;
    for (; m_bridges < sides.size(); ++m_bridges) {
        commands.push_back("link add " + bridge(m_bridges) + " type bridge");
        commands.push_back("link set " + bridge(m_bridges) + " up");
    }
    for (std::size_t side = 0; side < sides.size(); ++side) {
        for (const std::size_t host : sides[side]) commands.push_back("link set " + port(host) + " master " + bridge(side));
    }
    must(m_switch->enter, commands);
}

void network::unplug(std::size_t host) { must(m_switch->enter, {"link set " + port(host) + " nomaster"}); }

void network::mend() {
    std::vector<std::string> commands;
    for (std::size_t i = 0; i < m_hosts.size(); ++i) commands.push_back("link set " + port(i) + " master " + bridge(0));
    must(m_switch->enter, commands);
}

/// The sender is made to believe in an Ethernet address that nobody has; the switch delivers its frames to no host.
void network::silence(std::size_t from, std::size_t to) {
    must(m_hosts[from].enter, {"neighbour replace " + address(to) + " lladdr 02:00:00:00:ff:ff dev eth0 nud permanent"});
}

void network::hear_again(std::size_t from, std::size_t to) {
    must(m_hosts[from].enter, {"neighbour replace " + address(to) + " lladdr " + mac(to) + " dev eth0 nud reachable"});
}

std::size_t network::disturb(unsigned loss_percent, std::chrono::milliseconds delay) {
    m_lossy->send(std::to_string(loss_percent) + " " + std::to_string(delay.count()));
    return std::stoul(m_lossy->expect("so be it "));
}

}  // namespace covey_test
