// A peer that only looks: how peerd's commands talk to a mesh.
#pragma once

#include <peerd/mesh.hpp>

#include <covey/peer.hpp>

#include <memory>
#include <string>
#include <vector>

namespace peerd {

/// Joins the mesh of the member at `options.address` without becoming one, until it is destroyed. Logs nothing of its own.
class observer {
public:
    /// Throws covey::error when there is no way to that address, or as covey::peer does.
    observer(const mesh_options& options, const char* name);
    ~observer();

    covey::peer& self() noexcept;
    /// The members that the other side knows, once it has told; none of them is this observer. Throws
    /// std::runtime_error, with one line that says why, when it does not answer within some seconds or refuses.
    std::vector<covey::member> members();
    /// What the peer at `options.address` sees. Throws as `members`.
    covey::mesh::view view();

private:
    struct state;
    mesh_options m_options;
    std::unique_ptr<state> m_state;
};

}  // namespace peerd
