// An ordinary peer, in this same program, that writes down whom it holds for members.
#include <mesh_real/child.hpp>
#include <mesh_real/side.hpp>

#include <covey/peer.hpp>

#include <cstdlib>
#include <set>
#include <sstream>
#include <stdexcept>

#include <unistd.h>

namespace mesh_real {

namespace {

constexpr const char* peer_mark = "--as-one-peer";

class covey_peers final : public side {
public:
    explicit covey_peers(std::string profile) : m_profile(std::move(profile)) { static_cast<void>(numbers_of(m_profile)); }

    std::string name() const override { return "covey " + m_profile; }

    std::vector<std::string> command(unsigned index, const std::vector<std::string>& seeds) const override {
        std::string all;
        for (const std::string& seed : seeds) all += (all.empty() ? "" : ",") + seed;
        return {"/proc/self/exe", peer_mark, std::to_string(index), m_profile, all};
    }

    sighting understand(const std::string& line, std::int64_t) const override {
        std::istringstream in(line);
        std::string what;
        sighting s;
        in >> what;
        if (what == "here" && in >> s.subject >> s.at_ns >> s.address) s.kind = sighting::what::here;
        if (what == "gone" && in >> s.subject >> s.at_ns) s.kind = sighting::what::gone;
        return s;
    }

private:
    std::string m_profile;
};

void write_all(const std::string& text) {
    for (std::size_t done = 0; done < text.size();) {
        const ssize_t n = write(STDOUT_FILENO, text.data() + done, text.size() - done);
        if (n <= 0) _exit(1);  // nobody measures any more
        done += static_cast<std::size_t>(n);
    }
}

/// Each change of the membership, as a program that uses the library sees it. Peers are named by their numbers.
covey::task<void> tell_changes(covey::peer& self) {
    std::set<std::string> known;
    for (;;) {
        const std::uint64_t seen = self.change_count();
        const std::vector<covey::member> members = self.mesh_members();
        const std::string at = " " + std::to_string(now_ns()) + " ";
        std::string text;
        std::set<std::string> present;
        for (const covey::member& m : members) {
            present.insert(m.name());
            if (!known.contains(m.name())) text += "here " + m.name() + at + covey::to_string(m.address()) + "\n";
        }
        for (const std::string& name : known) {
            if (!present.contains(name)) text += "gone " + name + at + "\n";
        }
        write_all(text);
        known.swap(present);
        co_await self.next_change(seen);
    }
}

}  // namespace

covey::mesh::config numbers_of(const std::string& profile) {
    if (profile == "local") return covey::mesh::profile::local();
    if (profile == "lan") return covey::mesh::profile::lan();
    if (profile == "wan") return covey::mesh::profile::wan();
    throw std::invalid_argument("a profile is local, lan or wan, not " + profile);
}

std::unique_ptr<side> covey_side(const std::string& profile) { return std::make_unique<covey_peers>(profile); }

bool is_peer(int argc, char** argv) noexcept { return argc == 5 && std::string_view(argv[1]) == peer_mark; }

int be_peer(char** argv) {
    covey::peer_config how;
    how.name = argv[2];
    how.threads = 1;
    how.membership = numbers_of(argv[3]);
    std::istringstream seeds(argv[4]);
    for (std::string seed; std::getline(seeds, seed, ',');) how.join.push_back(seed);
    try {
        covey::peer self(std::move(how));
        self.run(tell_changes(self));
    } catch (const std::exception& e) {
        write_all(std::string(e.what()) + "\n");
    }
    return 1;
}

}  // namespace mesh_real
