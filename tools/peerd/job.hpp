// `peerd run`: a job of several processes on this machine.
#pragma once

#include <string>
#include <vector>

namespace peerd {

struct job_options {
    unsigned peers = 1;             ///< processes, the main one included
    unsigned threads = 0;           ///< a process; 0: what the environment says, else the CPUs shared out evenly
    std::string key_file;           ///< empty: what the environment says
    unsigned ready_limit_s = 30;    ///< the main process must listen by then
    std::vector<std::string> argv;  ///< the program and its arguments
};

/// Starts the processes, passes their output on, and returns the exit code of the main one; 128 + the signal when the main
/// process or the launcher was ended by one, 126 or 127 when the program cannot be started. Leaves no process behind.
/// Call it from the main thread of a process without others.
int run_job(const job_options& options);

}  // namespace peerd
