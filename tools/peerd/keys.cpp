#include <peerd/keys.hpp>

#include <peerd/observer.hpp>
#include <peerd/output.hpp>

#include <covey/core/error.hpp>
#include <covey/net/key.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstdio>
#include <utility>
#include <vector>

namespace peerd {

namespace {

using covey::mesh::key_change;
using covey::mesh::key_operation;
using covey::mesh::member_keys;

covey::net::key_fingerprint fingerprint_of(const std::string& text) {
    const auto key = covey::net::parse_key_fingerprint(text);
    if (!key) {
        throw covey::error(covey::errc::bad_argument,
                           "\"" + text + "\" is no fingerprint of a key: 8 hex digits, as `peerd keys list` shows them");
    }
    return *key;
}

key_change change_of(key_operation what, const std::string& key) {
    switch (what) {
        case key_operation::list: break;
        case key_operation::install: return key_change::install(covey::net::cluster_key::load(key));
        case key_operation::use: return key_change::use(fingerprint_of(key));
        case key_operation::remove: return key_change::remove(fingerprint_of(key));
    }
    return key_change::list();
}

std::string keys_of(const member_keys& m) {
    if (!m.failure.empty()) return "failed: " + m.failure;
    std::string text;
    for (const covey::net::key_fingerprint key : m.keys)
        text += (text.empty() ? "" : " ") + covey::net::to_string(key) + (text.empty() ? "*" : "");
    return text;
}

void print_table(const std::vector<member_keys>& answers) {
    std::vector<std::vector<std::string>> rows{{"ID", "NAME", "ADDRESS", "KEYS (* IN USE)"}};
    for (const member_keys& m : answers)
        rows.push_back({covey::to_string(m.who.id()), m.who.name(), covey::to_string(m.who.address()), keys_of(m)});
    print_columns(rows);
}

void print_json(const std::vector<member_keys>& answers) {
    nlohmann::json all = nlohmann::json::array();
    for (const member_keys& m : answers) {
        nlohmann::json keys = nlohmann::json::array();
        for (const covey::net::key_fingerprint key : m.keys) keys.push_back(covey::net::to_string(key));
        all.push_back({{"id", covey::to_string(m.who.id())},
                       {"name", m.who.name()},
                       {"address", covey::to_string(m.who.address())},
                       {"keys", std::move(keys)},  // the one in use first
                       {"failure", m.failure}});
    }
    // A name may be bytes that are no UTF-8; they are replaced rather than refused.
    std::puts(all.dump(2, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
}

/// What a person should do next, or nothing.
std::string advice(const key_change& change, const std::string& file) {
    const std::string name = covey::net::to_string(change.key);
    switch (change.what) {
        case key_operation::list: return {};
        case key_operation::install:
            return "every member opens what key " + name + " seals; put it on the first line of their key files (from " + file +
                   ", the old key below), then: peerd keys use " + name;
        case key_operation::use: return "every member seals with key " + name + "; the others can be removed now";
        case key_operation::remove: return "no member has key " + name + " any more; take it out of their key files too";
    }
    return {};
}

}  // namespace

int run_keys(const mesh_options& options, key_operation what, const std::string& key) {
    const key_change change = change_of(what, key);
    observer looking(options, "peerd-keys");
    looking.members();
    std::vector<member_keys> answers = looking.self().run(looking.self().change_keys(change));
    std::sort(answers.begin(), answers.end(), [](const member_keys& a, const member_keys& b) {
        return std::pair(a.who.name(), a.who.id()) < std::pair(b.who.name(), b.who.id());
    });
    if (options.json) {
        print_json(answers);
    } else {
        print_table(answers);
    }
    const auto failed = std::count_if(answers.begin(), answers.end(), [](const member_keys& m) { return !m.failure.empty(); });
    if (failed > 0) {
        std::fprintf(stderr, "peerd: %lld of %zu members did not do it; run the same command again when they are back or gone\n",
                     static_cast<long long>(failed), answers.size());
        return 1;
    }
    if (const std::string next = advice(change, key); !next.empty() && !options.json) std::puts(next.c_str());
    return 0;
}

}  // namespace peerd
