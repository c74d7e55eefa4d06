#include <peerd/calls.hpp>

#include <peerd/observer.hpp>
#include <peerd/output.hpp>

#include <covey/call/chrome_trace.hpp>
#include <covey/covey.hpp>

#include <nlohmann/json.hpp>

#include <cstdio>
#include <string>
#include <vector>

namespace peerd {

namespace {

using covey::call_counts;
using covey::errc;

constexpr std::chrono::seconds answer_limit{5};

/// A link is made to members only, and this observer may have heard of few yet.
covey::task<void> know(covey::peer& self, covey::peer_id id) {
    for (;;) {
        const std::uint64_t seen = self.change_count();
        if (self.find(id)) co_return;
        co_await self.next_change(seen);
    }
}

const char* name_of(errc code) {
    switch (code) {
        case errc::timed_out: return "timed_out";
        case errc::peer_lost: return "peer_lost";
        case errc::link_lost: return "link_lost";
        case errc::unreachable: return "unreachable";
        case errc::unknown_peer: return "unknown_peer";
        case errc::unknown_function: return "unknown_function";
        case errc::build_mismatch: return "build_mismatch";
        case errc::bad_message: return "bad_message";
        case errc::message_too_large: return "message_too_large";
        case errc::protocol_error: return "protocol_error";
        case errc::auth_failed: return "auth_failed";
        case errc::wrong_cluster: return "wrong_cluster";
        case errc::insecure_bind: return "insecure_bind";
        case errc::address_in_use: return "address_in_use";
        case errc::bad_address: return "bad_address";
        case errc::overloaded: return "overloaded";
        case errc::shut_down: return "shut_down";
        case errc::no_peer: return "no_peer";
        case errc::bad_argument: return "bad_argument";
    }
    return "unknown";
}

template <class Tell>
void each_error(const call_counts& counts, Tell tell) {
    if (counts.exceptions() != 0) tell("exception", counts.exceptions());
    if (counts.stops() != 0) tell("stopped", counts.stops());
    for (std::size_t i = 1; i < call_counts::exception; ++i) {
        if (counts.ends[i] != 0) tell(name_of(static_cast<errc>(i)), counts.ends[i]);
    }
}

std::string time_text(covey::duration d) {
    const auto ns = static_cast<double>(d.count());
    char text[32];
    if (ns < 1e6) {
        std::snprintf(text, sizeof text, "%.1f us", ns / 1e3);
    } else if (ns < 1e9) {
        std::snprintf(text, sizeof text, "%.1f ms", ns / 1e6);
    } else {
        std::snprintf(text, sizeof text, "%.1f s", ns / 1e9);
    }
    return text;
}

std::vector<std::string> row_of(const std::string& name, const char* direction, const call_counts& counts) {
    std::string errors;
    each_error(counts, [&errors](const char* what, std::uint64_t n) {
        errors += (errors.empty() ? "" : ",") + std::string(what) + "=" + std::to_string(n);
    });
    return {direction,
            std::to_string(counts.calls()),
            errors.empty() ? "-" : errors,
            time_text(counts.latency.quantile(0.5)),
            time_text(counts.latency.quantile(0.99)),
            time_text(counts.latency.longest()),
            std::to_string(counts.bytes_in),
            std::to_string(counts.bytes_out),
            name};
}

nlohmann::json json_of(const call_counts& counts) {
    nlohmann::json errors = nlohmann::json::object();
    each_error(counts, [&errors](const char* what, std::uint64_t n) { errors[what] = n; });
    return {{"calls", counts.calls()},
            {"values", counts.values()},
            {"errors", std::move(errors)},
            {"bytes_in", counts.bytes_in},
            {"bytes_out", counts.bytes_out},
            {"p50_ns", counts.latency.quantile(0.5).count()},
            {"p99_ns", counts.latency.quantile(0.99).count()},
            {"longest_ns", counts.latency.longest().count()}};
}

}  // namespace

int run_calls(const mesh_options& options) {
    observer looking(options, "peerd-calls");
    const covey::peer_id id = looking.view().members.front().id();
    covey::peer& self = looking.self();
    self.run(covey::timeout(know(self, id), answer_limit));
    const covey::call_statistics seen = self.run(self.call_statistics_of(id));
    if (options.json) {
        nlohmann::json functions = nlohmann::json::array(), refused = nlohmann::json::object();
        for (const covey::function_statistics& f : seen.functions)
            functions.push_back({{"name", f.name}, {"made", json_of(f.made)}, {"served", json_of(f.served)}});
        for (std::size_t i = 1; i < seen.refused.size(); ++i) {
            if (seen.refused[i] != 0) refused[name_of(static_cast<errc>(i))] = seen.refused[i];
        }
        std::puts(nlohmann::json{{"functions", std::move(functions)}, {"refused", std::move(refused)}}
                      .dump(2, ' ', false, nlohmann::json::error_handler_t::replace)
                      .c_str());
        return 0;
    }
    std::vector<std::vector<std::string>> rows{{"CALLS", "NUMBER", "ERRORS", "P50", "P99", "LONGEST", "BYTES-IN", "BYTES-OUT", "FUNCTION"}};
    for (const covey::function_statistics& f : seen.functions) {
        if (f.made.calls() != 0) rows.push_back(row_of(f.name, "made", f.made));
        if (f.served.calls() != 0) rows.push_back(row_of(f.name, "served", f.served));
    }
    print_columns(rows);
    for (std::size_t i = 1; i < seen.refused.size(); ++i) {
        if (seen.refused[i] != 0)
            std::printf("refused: %llu (%s)\n", static_cast<unsigned long long>(seen.refused[i]), name_of(static_cast<errc>(i)));
    }
    return 0;
}

int run_trace(const mesh_options& options) {
    observer looking(options, "peerd-trace");
    const std::vector<covey::member> members = looking.view().members;
    covey::peer& self = looking.self();
    std::vector<covey::span_list> all;
    for (const covey::member& m : members) {
        if (m.role() == covey::member_role::observer) continue;
        try {
            self.run(covey::timeout(know(self, m.id()), answer_limit));
            all.push_back(self.run(self.spans_of(m.id())));
        } catch (const covey::error& e) {
            std::fprintf(stderr, "peerd: %s: %s\n", m.name().c_str(), e.what());
        }
    }
    std::fputs(covey::chrome_trace(all).c_str(), stdout);
    return 0;
}

}  // namespace peerd
