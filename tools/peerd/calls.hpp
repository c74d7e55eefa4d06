// `peerd calls` and `peerd trace`: what became of a member's calls, and a picture of the calls of all.
#pragma once

#include <peerd/mesh.hpp>

namespace peerd {

/// Prints the call statistics of the peer at `address`, a line for each function and direction. Exit code 0. Throws covey::error or
/// std::runtime_error when there was no answer.
int run_calls(const mesh_options& options);

/// Prints a trace of the spans that the members of the mesh have kept, for Perfetto. Says on standard error who did not answer. Exit code
/// and exceptions as above.
int run_trace(const mesh_options& options);

}  // namespace peerd
