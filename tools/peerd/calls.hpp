// `peerd calls`: what became of a member's calls.
#pragma once

#include <peerd/mesh.hpp>

namespace peerd {

/// Prints the call statistics of the peer at `address`, a line for each function and direction. Exit code 0. Throws covey::error or
/// std::runtime_error when there was no answer.
int run_calls(const mesh_options& options);

}  // namespace peerd
