#include <peerd/mesh.hpp>

#include <peerd/observer.hpp>
#include <peerd/output.hpp>

#include <covey/covey.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace peerd {

namespace {

/// How often the table is looked at for changes.
constexpr timespec look_interval{0, 100'000'000};

std::string line_of(const covey::member& m) { return m.name() + " (" + covey::to_string(m.id()) + ") at " + covey::to_string(m.address()); }

/// What was said about the members, and what to say next.
class reporter {
public:
    explicit reporter(covey::peer_id self) : m_self(self) {}

    void update(const std::vector<covey::member>& now) {
        std::map<covey::peer_id, covey::member> next;
        for (const covey::member& m : now) {
            if (m.id() != m_self) next.emplace(m.id(), m);
        }
        const std::size_t count = next.size() + 1;
        for (const auto& [id, m] : next) {
            const auto before = m_known.find(id);
            if (before == m_known.end()) {
                say("joined", m, count);
            } else if (before->second.epoch() != m.epoch()) {
                say("is back", m, count);
            } else if (before->second.state() != m.state()) {
                say(m.state() == covey::member_state::suspect ? "does not answer" : "answers again", m, count);
            }
        }
        for (const auto& [id, m] : m_known) {
            if (!next.contains(id)) say("is gone", m, count);
        }
        m_known = std::move(next);
    }

private:
    static void say(const char* what, const covey::member& m, std::size_t count) {
        std::printf("%s %s; %zu member%s\n", line_of(m).c_str(), what, count, count == 1 ? "" : "s");
    }

    covey::peer_id m_self;
    std::map<covey::peer_id, covey::member> m_known;
};

void print_table(const std::vector<covey::member>& members) {
    std::vector<std::vector<std::string>> rows{{"ID", "NAME", "ADDRESS", "ROLE", "STATE", "THREADS"}};
    for (const covey::member& m : members) {
        rows.push_back({covey::to_string(m.id()), m.name(), covey::to_string(m.address()), std::string(to_string(m.role())),
                        std::string(to_string(m.state())), std::to_string(m.threads())});
    }
    print_columns(rows);
}

void print_json(const std::vector<covey::member>& members) {
    nlohmann::json all = nlohmann::json::array();
    for (const covey::member& m : members) {
        all.push_back({{"id", covey::to_string(m.id())},
                       {"name", m.name()},
                       {"address", covey::to_string(m.address())},
                       {"role", to_string(m.role())},
                       {"state", to_string(m.state())},
                       {"threads", m.threads()},
                       {"epoch", m.epoch()}});
    }
    // A name may be bytes that are no UTF-8; they are replaced rather than refused.
    std::puts(all.dump(2, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
}

}  // namespace

int run_up(const mesh_options& options) {
    // Before the peer has threads, which inherit the mask: only the wait below takes these signals.
    sigset_t heeded;
    sigemptyset(&heeded);
    sigaddset(&heeded, SIGINT);
    sigaddset(&heeded, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &heeded, nullptr);
    std::setvbuf(stdout, nullptr, _IOLBF, 0);

    covey::peer_config config;
    config.bind = options.address;
    config.join = options.join;
    config.key_file = options.key_file;
    config.cluster = options.cluster;
    config.name = options.name;
    config.role = covey::member_role::serve;
    covey::peer self(config);
    std::printf("up at %s, cluster \"%s\", id %s%s\n", covey::to_string(self.address()).c_str(), options.cluster.c_str(),
                covey::to_string(self.id()).c_str(), options.key_file.empty() ? ", without a key" : "");

    reporter changes(self.id());
    while (sigtimedwait(&heeded, nullptr, &look_interval) < 0) changes.update(self.mesh_members());
    std::puts("leaving");
    self.leave();
    return 0;
}

int run_members(const mesh_options& options) {
    observer self(options, "peerd-members");
    std::vector<covey::member> members = self.members();
    std::sort(members.begin(), members.end(),
              [](const covey::member& a, const covey::member& b) { return std::pair(a.name(), a.id()) < std::pair(b.name(), b.id()); });
    if (options.json) {
        print_json(members);
    } else {
        print_table(members);
    }
    return 0;
}

}  // namespace peerd
