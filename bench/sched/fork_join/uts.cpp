// Unbalanced tree search: a task for each node.
#include "recursions.hpp"

#include <covey/task/when_all.hpp>

#include <tbb/task_group.h>

#include <cstddef>
#include <utility>
#include <vector>

namespace recursions {

namespace {

uts::counts with_children(const uts::node& n, const std::vector<uts::counts>& below) {
    uts::counts result{1, below.empty() ? 1 : 0, n.height};
    for (const uts::counts& c : below) result.add(c);
    return result;
}

inline covey::task<uts::counts> ours(const uts::tree& t, uts::node n) {
    const int children = uts::children_of(t, n);
    if (children == 0) co_return uts::counts{1, 1, n.height};
    std::vector<covey::task<uts::counts>> walks;
    walks.reserve(static_cast<std::size_t>(children));
    for (int i = 0; i < children; ++i) walks.push_back(ours(t, uts::child_of(n, i)));
    const std::vector<uts::counts> below = co_await covey::when_all(std::move(walks));
    co_return with_children(n, below);
}

inline uts::counts theirs(const uts::tree& t, uts::node n) {
    const int children = uts::children_of(t, n);
    if (children == 0) return {1, 1, n.height};
    std::vector<uts::counts> below(static_cast<std::size_t>(children));
    tbb::task_group group;
    for (int i = 0; i < children; ++i) {
        group.run([&t, child = uts::child_of(n, i), &result = below[static_cast<std::size_t>(i)]] { result = theirs(t, child); });
    }
    group.wait();
    return with_children(n, below);
}

}  // namespace

covey::task<uts::counts> covey_walk(const uts::tree& t, uts::node n) { return ours(t, n); }
uts::counts tbb_walk(const uts::tree& t, uts::node n) { return theirs(t, n); }

}  // namespace recursions
