// `peerd up` and `peerd members`: a member that is a machine's rendezvous, and a look at the table of one.
#pragma once

#include <string>
#include <vector>

namespace peerd {

struct mesh_options {
    std::string address = "127.0.0.1:7400";  ///< up: to bind to; members: to ask
    std::vector<std::string> join;           ///< up: other members, "host:port"
    std::string key_file;                    ///< empty: no key
    std::string cluster = "covey";
    std::string name;   ///< up: for people; empty: the library chooses
    bool json = false;  ///< members: for programs
};

/// Is a member until SIGINT or SIGTERM, then leaves; tells of every change. Returns the exit code, 0 unless it could not
/// begin. Throws covey::error. Call it from the main thread of a process without others.
int run_up(const mesh_options& options);

/// Prints the members that the peer at `address` knows. Exit code 1, and one line that says why, when there was no answer.
/// Throws covey::error.
int run_members(const mesh_options& options);

}  // namespace peerd
