// Serf's agent. It logs each change as soon as it makes it (its event stream would hold changes back for a second to put them
// together, and each event handler would be a process), so its log is read as it comes.
#include <mesh_real/side.hpp>

#include <cstdlib>

namespace mesh_real {

namespace {

class serf_agents final : public side {
public:
    serf_agents(std::string program, std::string profile) : m_program(std::move(program)), m_profile(std::move(profile)) {}

    std::string name() const override { return "Serf " + m_profile; }

    /// Each on an address of its own, so that all have Serf's own ports.
    std::vector<std::string> command(unsigned index, const std::vector<std::string>& seeds) const override {
        const std::string host = "127.77." + std::to_string(index / 250) + "." + std::to_string(index % 250 + 1);
        std::vector<std::string> argv{m_program,
                                      "agent",
                                      "-node=p" + std::to_string(index),
                                      "-bind=" + host + ":7946",
                                      "-rpc-addr=" + host + ":7373",
                                      "-profile=" + m_profile};
        for (const std::string& seed : seeds) argv.push_back("-join=" + seed);
        return argv;
    }

    /// "<date> [INFO] serf: EventMemberJoin: p7 127.77.0.8". That about itself is among its first, when it listens already.
    sighting understand(const std::string& line, std::int64_t read_ns) const override {
        static const std::string front = "serf: EventMember";
        sighting s;
        const std::size_t at = line.find(front);
        if (at == std::string::npos) return s;
        const std::string rest = line.substr(at + front.size());
        const std::size_t name = rest.find(": p");
        const std::size_t address = rest.find(' ', name + 2);
        if (name == std::string::npos || address == std::string::npos) return s;
        const std::string what = rest.substr(0, name);
        if (what == "Join") s.kind = sighting::what::here;
        if (what == "Failed" || what == "Leave" || what == "Reap") s.kind = sighting::what::gone;
        s.subject = static_cast<unsigned>(std::strtoul(rest.c_str() + name + 3, nullptr, 10));
        s.at_ns = read_ns;
        s.address = rest.substr(address + 1) + ":7946";
        return s;
    }

private:
    std::string m_program;
    std::string m_profile;
};

}  // namespace

std::unique_ptr<side> serf_side(const std::string& program, const std::string& profile) {
    return std::make_unique<serf_agents>(program, profile);
}

}  // namespace mesh_real
