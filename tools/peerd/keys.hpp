// `peerd keys`: lists and exchanges the keys of a mesh.
#pragma once

#include <peerd/mesh.hpp>

#include <covey/mesh/key_ring.hpp>

#include <string>

namespace peerd {

/// Does `what` on every member of the mesh, and prints who has which keys. `key`: for install the file of the new key, for use and
/// remove a fingerprint. Returns 1 when a member did not do it. Throws covey::error, with nothing changed, when the key is none or
/// the change could cut members off.
int run_keys(const mesh_options& options, covey::mesh::key_operation what, const std::string& key);

}  // namespace peerd
