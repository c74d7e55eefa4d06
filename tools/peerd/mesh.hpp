// `peerd up`, `peerd members` and `peerd settings`: a member that is a machine's rendezvous, a look at the view of one, and what can be set.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace peerd {

struct mesh_options {
    std::string address = "127.0.0.1:7400";  ///< up: to bind to; members: to ask
    std::vector<std::string> join;           ///< up: other members, "host:port"
    std::string key_file;                    ///< empty: no key
    std::string cluster = "covey";
    std::string name;                    ///< up: for people; empty: the library chooses
    std::vector<std::string> labels;     ///< up: "name=value"
    std::vector<std::string> resources;  ///< up: "name=count"
    unsigned gpus = 0;                   ///< up
    std::uint32_t memory_mib = 0;        ///< up: 0: not said
    std::string profile;                 ///< up: of the membership; empty: by the address
    std::vector<std::string> settings;   ///< up: of the membership, "name=value"
    bool json = false;                   ///< members: for programs
};

/// Is a member until SIGINT or SIGTERM, then leaves; tells of every change. Returns the exit code, 0 unless it could not
/// begin. Throws covey::error. Call it from the main thread of a process without others.
int run_up(const mesh_options& options);

/// Prints the view of the peer at `address`. Exit code 1, and one line that says why, when there was no answer.
/// Throws covey::error.
int run_members(const mesh_options& options);

/// Prints the settings of the membership, with what is allowed and what the profiles say.
int run_settings();

}  // namespace peerd
