#include <peerd/mesh.hpp>

#include <peerd/observer.hpp>
#include <peerd/output.hpp>

#include <covey/covey.hpp>
#include <covey/mesh/settings.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace peerd {

namespace {

std::string line_of(const covey::member& m) { return m.name() + " (" + covey::to_string(m.id()) + ") at " + covey::to_string(m.address()); }

/// What a change means for a person; nullptr: nothing of note.
const char* words_for(covey::membership_event::what kind) {
    using what = covey::membership_event::what;
    switch (kind) {
        case what::joined: return "joined";
        case what::rejoined: return "is back";
        case what::suspected: return "does not answer";
        case what::alive_again: return "answers again";
        case what::dead: return "is gone, without a word";
        case what::left: return "is gone";
        case what::unreachable: return "is reached by streams only";
        case what::flaky: return "is flaky: it keeps going away and coming back";
        case what::steady: return "is steady again";
        case what::partition_suspected: return "sees too many go at once: perhaps the network is cut";
        case what::healed: return "sees them back";
        case what::updated: return "says something new of itself";
        case what::missed: break;
    }
    return nullptr;
}

/// Tells of every change until the peer closes.
covey::task<void> tell_changes(covey::peer& self) {
    using what = covey::membership_event::what;
    const std::shared_ptr<const covey::mesh::view> begin = self.mesh_view();
    std::set<covey::peer_id> here;
    const auto start_over = [&here](const covey::mesh::view& v) {
        here.clear();
        for (const covey::member& m : v.members) here.insert(m.id());
    };
    start_over(*begin);
    covey::stream<covey::membership_change> changes = self.changes(begin->number);
    while (const std::optional<covey::membership_change> c = co_await changes.next()) {
        const covey::member& m = c->subject;
        if (c->kind == what::missed) {
            start_over(*c->now);
        } else if (c->kind == what::dead || c->kind == what::left) {
            here.erase(m.id());
        } else {
            here.insert(m.id());
        }
        const char* const words = words_for(c->kind);
        const std::string line = words == nullptr ? "more happened than could be told" : line_of(m) + " " + words;
        std::printf("%s; %zu member%s\n", line.c_str(), here.size(), here.size() == 1 ? "" : "s");
    }
}

std::string hex(std::uint64_t bits) {
    char text[17];
    std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(bits));
    return text;
}

std::string state_of(const covey::member& m) {
    return std::string(to_string(m.state())) + (m.is_flaky() ? ",flaky" : "") + (m.is_unreachable() ? ",unreachable" : "");
}

std::string load_of(const covey::member& m) {
    const covey::mesh::load l = m.load();
    return std::to_string(l.cores) + "/" + std::to_string(l.queue) + "/" + std::to_string(l.memory) + "/" + std::to_string(l.gpus);
}

std::string resources_of(const covey::member& m) {
    std::string text = "threads=" + std::to_string(m.threads());
    if (m.memory_mib() != 0) text += ",memory_mib=" + std::to_string(m.memory_mib());
    if (m.gpus() != 0) text += ",gpus=" + std::to_string(m.gpus());
    for (const auto& [name, count] : m.resources()) text += "," + name + "=" + std::to_string(count);
    return text;
}

std::string labels_of(const covey::member& m) {
    std::string text;
    for (const auto& [name, value] : m.labels()) text += (text.empty() ? "" : ",") + name + "=" + value;
    return text.empty() ? "-" : text;
}

void print_table(const std::vector<covey::member>& members) {
    std::vector<std::vector<std::string>> rows{{"ID", "NAME", "ADDRESS", "ROLE", "STATE", "LOAD", "RESOURCES", "LABELS", "BUILD", "TABLE"}};
    for (const covey::member& m : members) {
        rows.push_back({covey::to_string(m.id()), m.name(), covey::to_string(m.address()), std::string(to_string(m.role())), state_of(m),
                        load_of(m), resources_of(m), labels_of(m), hex(m.build_hash()).substr(0, 8), hex(m.table_digest()).substr(0, 8)});
    }
    print_columns(rows);
}

void print_json(const std::vector<covey::member>& members) {
    nlohmann::json all = nlohmann::json::array();
    for (const covey::member& m : members) {
        nlohmann::json labels = nlohmann::json::object(), resources = nlohmann::json::object();
        for (const auto& [name, value] : m.labels()) labels[name] = value;
        for (const auto& [name, count] : m.resources()) resources[name] = count;
        const covey::mesh::load load = m.load();
        all.push_back({{"id", covey::to_string(m.id())},
                       {"name", m.name()},
                       {"address", covey::to_string(m.address())},
                       {"role", to_string(m.role())},
                       {"state", to_string(m.state())},
                       {"flaky", m.is_flaky()},
                       {"unreachable", m.is_unreachable()},
                       {"threads", m.threads()},
                       {"memory_mib", m.memory_mib()},
                       {"gpus", m.gpus()},
                       {"resources", std::move(resources)},
                       {"labels", std::move(labels)},
                       // Of 15.
                       {"load", {{"cores", load.cores}, {"queue", load.queue}, {"memory", load.memory}, {"gpus", load.gpus}}},
                       {"build", hex(m.build_hash())},
                       {"table", hex(m.table_digest())},
                       {"epoch", m.epoch()},
                       {"incarnation", m.incarnation()}});
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
    for (const std::string& label : options.labels) config.add_label(label);
    for (const std::string& resource : options.resources) config.add_resource(resource);
    config.gpus = static_cast<std::uint16_t>(options.gpus);
    config.memory_mib = options.memory_mib;
    config.profile = options.profile;
    config.settings = options.settings;
    covey::peer self(config);
    std::printf("up at %s, cluster \"%s\", id %s%s\n", covey::to_string(self.address()).c_str(), options.cluster.c_str(),
                covey::to_string(self.id()).c_str(), options.key_file.empty() ? ", without a key" : "");

    std::thread teller([&self] {
        try {
            self.run(tell_changes(self));
        } catch (const covey::stopped&) {
            // It has left.
        }
    });
    int number = 0;
    sigwait(&heeded, &number);
    std::puts("leaving");
    self.leave();
    teller.join();
    return 0;
}

int run_members(const mesh_options& options) {
    observer looking(options, "peerd-members");
    const covey::mesh::view view = looking.view();
    std::vector<covey::member> members = view.members;
    std::sort(members.begin(), members.end(),
              [](const covey::member& a, const covey::member& b) { return std::pair(a.name(), a.id()) < std::pair(b.name(), b.id()); });
    if (options.json) {
        print_json(members);
    } else {
        print_table(members);
    }
    if (view.is_split_suspected) {
        std::fprintf(stderr, "peerd: perhaps the network is cut: %s sees %zu of %zu members\n", view.members.front().name().c_str(),
                     members.size(), view.members_at_most);
    }
    return 0;
}

int run_settings() {
    using covey::mesh::text_of;
    namespace profile = covey::mesh::profile;
    std::vector<std::vector<std::string>> rows{{"SETTING", "LOCAL", "LAN", "WAN", "ALLOWED", "MEANING"}};
    for (const covey::mesh::setting& s : covey::mesh::settings()) {
        rows.push_back({std::string(s.name), text_of(s, profile::local()), text_of(s, profile::lan()), text_of(s, profile::wan()),
                        allowed(s), std::string(s.meaning)});
    }
    print_columns(rows);
    return 0;
}

}  // namespace peerd
