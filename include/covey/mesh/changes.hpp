// The changes of a membership as a stream that misses nothing silently.
#pragma once

#include <covey/mesh/view.hpp>

#include <memory>

namespace covey::mesh {

/// What a stream of changes gives (`driver::changes`, `peer::changes`).
///
///     auto view = self.mesh_view();
///     auto changes = self.changes(view->number);
///     while (auto c = co_await changes.next()) {
///         if (c->kind == membership_event::what::missed) view = c->now;    // start over from this view
///         else ...;                                                        // c->kind happened to c->subject
///     }
///
/// Who takes a view and then the changes after its number sees each change of the members exactly once, in order. A reader that
/// falls more than `changes_kept` changes behind, or begins with a view as old as that, gets one entry of the kind `missed` instead
/// of those that it lost: with the view of that moment, behind which the stream goes on. Loads are no changes.
struct membership_change : membership_event {
    /// `missed` only, else null: the members now. `number` is its number, `subject` this peer itself.
    std::shared_ptr<const view> now;
};

/// The newest ones, of one peer, for all its readers together: a slow reader costs nobody anything.
inline constexpr std::size_t changes_kept = 1024;

}  // namespace covey::mesh

namespace covey {
using mesh::membership_change;
}  // namespace covey
