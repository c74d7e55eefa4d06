// Hosts of their own on this machine: network namespaces, joined by a switch whose cables can be cut.
#pragma once

#include <cluster/process.hpp>

#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <vector>

namespace covey_test {

/// Each host is a network namespace with one interface, eth0, of a veth pair whose other end is plugged into a switch in one more
/// namespace. The namespaces have no names: each lives as long as a process in it, and those end with the test program, however
/// that ends, because their input does. Made with iproute2 and util-linux, as root or, where that is allowed, in a user namespace.
class network {
public:
    enum class switch_kind {
        bridge,  ///< the kernel's
        lossy,   ///< programs/lossy_switch.cpp, which can lose and delay frames; for kernels without netem too
    };

    /// At most 200 hosts. Null where that cannot be made here: then `skip` was called with the reason, and the test case is to return.
    static std::unique_ptr<network> make(std::size_t hosts, switch_kind kind = switch_kind::bridge);

    /// The command that runs another one on this host.
    const std::vector<std::string>& on(std::size_t host) const { return m_hosts[host].enter; }
    static std::string address(std::size_t host) { return "10.77.0." + std::to_string(host + 1); }

    /// Frames pass within each of these sides only. Every host must be in one.
    void cut(const std::vector<std::vector<std::size_t>>& sides);
    /// Takes the cable out, at the switch: nothing says so to the others, and no connection is reset.
    void unplug(std::size_t host);
    /// Undoes cut and unplug.
    void mend();

    /// What `from` sends to `to` vanishes without an error, of whatever protocol; the other way is open.
    void silence(std::size_t from, std::size_t to);
    void hear_again(std::size_t from, std::size_t to);

    /// Of a lossy switch: what happens to each frame from now on. Gives how many were lost so far.
    std::size_t disturb(unsigned loss_percent, std::chrono::milliseconds delay);

private:
    /// A namespace, by the process that keeps it.
    struct place {
        process keeper;
        std::vector<std::string> enter;
    };
    network() = default;
    void build(std::size_t hosts, switch_kind kind);
    static place start(std::vector<std::string> command, bool user_namespace);

    std::unique_ptr<place> m_switch;
    std::vector<place> m_hosts;
    std::unique_ptr<process> m_lossy;
    std::size_t m_bridges = 1;
};

}  // namespace covey_test
