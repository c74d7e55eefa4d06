// A peer: one member of a mesh, with all its rooms.
#pragma once

#include <covey/call/map.hpp>
#include <covey/call/remote.hpp>
#include <covey/call/spans.hpp>
#include <covey/call/statistics.hpp>
#include <covey/core/environment.hpp>
#include <covey/mesh/changes.hpp>
#include <covey/mesh/key_ring.hpp>
#include <covey/mesh/member.hpp>
#include <covey/mesh/rejections.hpp>
#include <covey/mesh/view.hpp>
#include <covey/peer_config.hpp>
#include <covey/task/stream.hpp>
#include <covey/task/sync_wait.hpp>
#include <covey/task/task.hpp>

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace covey {

/// A member of a mesh from its constructor to `leave()` or its destructor. Thread-safe. Coroutines started with `run` belong to
/// it: their `remote` calls start here.
class peer {
public:
    /// Starts threads and sockets, and begins to join. Throws errc::insecure_bind, address_in_use, bad_address, auth_failed
    /// (the key file), bad_argument. A seed that does not answer is no error: it is tried again, and logged.
    explicit peer(peer_config config);
    /// On an environment that exists, such as a simulated host; it must outlive the peer and its sockets.
    peer(environment& env, peer_config config);
    /// Leaves, if that was not done, and waits for the calls being served. On a foreign environment it only closes: leave and
    /// drain first.
    ~peer();
    peer(const peer&) = delete;
    peer& operator=(const peer&) = delete;

    peer_id id() const noexcept;
    /// Where it listens.
    endpoint address() const noexcept;
    /// The program's arguments without those of the library; [0] is the program.
    std::span<const std::string> args() const noexcept;
    unsigned threads() const noexcept;
    environment& env() noexcept;

    /// The live members that run this same program, this peer first: those that calls without a target go to.
    std::vector<member> members() const;
    /// All live members of the mesh, whatever they run.
    std::vector<member> mesh_members() const;
    /// A numbered snapshot of the same, observers among them: how much of the mesh this peer sees, whether it suspects a split, and
    /// the digest that is equal on all peers that agree. Never null; cheap while nothing changes.
    std::shared_ptr<const mesh::view> mesh_view() const;
    /// What happens to the members of the mesh from now on, or after the view of that number, whatever they run; see
    /// membership_change. Calls to a member that is gone have ended before. Ends when this peer closes.
    stream<membership_change> changes();
    stream<membership_change> changes(std::uint64_t after);
    /// Completes when a seed has answered, or at once when there are none. Throws errc::auth_failed or errc::wrong_cluster as
    /// soon as a seed refuses this peer for that, errc::unreachable when none has answered after `limit`.
    task<void> wait_until_joined(duration limit);
    /// Completes when `members()` has n of them. Throws errc::timed_out after `limit`, saying how many there were.
    task<void> wait_for_members(std::size_t n, duration limit);
    /// The peer in the role of the main one, of this program, that was seen last: none yet, there, or gone.
    std::optional<peer_id> main_peer() const;
    /// A member in any state, dead and left ones included as long as they are remembered.
    std::optional<member> find(peer_id id) const;
    /// Changes of the membership so far. Look at it, then at the members, then await `next_change`: none is missed.
    std::uint64_t change_count() const;
    /// Completes when there have been more than `seen` changes. Throws `stopped`.
    task<void> next_change(std::uint64_t seen);

    /// Runs a task on this peer and blocks the calling thread, which must be none of its workers, until it has ended.
    template <class T>
    T run(task<T> t) {
        return sync_wait(root_context(), std::move(t));
    }
    /// As covey::remote, for whoever is no coroutine of this peer: `p.run(...)`, or awaited from anywhere.
    template <class... Args>
    auto remote(Args&&... args) {
        return on_this_peer(covey::remote(std::forward<Args>(args)...));
    }
    /// What coroutines of this peer run under. Its stop token fires at request_stop and when the peer closes.
    const task_context& root_context() const noexcept;
    /// Datagrams and messages of the membership that were thrown away, by reason.
    mesh::rejection_counts rejections() const;
    /// What became of the calls made here and of those served here, for each function; see call/README.md.
    covey::call_statistics call_statistics() const;
    /// The same of another peer of the mesh. Throws as `remote` does.
    task<covey::call_statistics> call_statistics_of(peer_id id);
    /// The spans kept here (see peer_config::spans_max), of calls that have ended. For chrome_trace.hpp.
    span_list spans() const;
    /// The same of another peer of the mesh. Throws as `remote` does.
    task<span_list> spans_of(peer_id id);
    /// Changes the keys of the whole mesh, or only lists them, and gives what each member answered, also those that failed. All may
    /// be repeated. Throws errc::bad_argument, with nothing sent, for the use of a key that a member lacks and the removal of one
    /// that a member uses, or when a member does not answer (see mesh::objection). New members come with what their key files say.
    task<std::vector<mesh::member_keys>> change_keys(mesh::key_change change);

    /// What the peer that listens at `of` sees, a member or not: its own view, with its loads and marks, which this peer may not know.
    /// Throws errc::unreachable and the like, errc::timed_out when it does not answer.
    task<mesh::view> view_at(endpoint of);

    /// Asks everything that was started here to stop; calls served for others are asked when the peer closes.
    void request_stop() noexcept;

    /// Tells the others and closes: blocks for about a second, five at most; not for one of its workers. What was in flight fails with errc::shut_down.
    /// Idempotent. Not for a simulated peer, which cannot block: see start_leave.
    void leave();
    /// The first half of leave(): tells the others; `done` is called when that is done.
    void start_leave(unique_function<void()> done);
    /// Closes without a word, as a crash would.
    void close();
    /// Waits until no call is being served; false: some still were after `limit`.
    bool drain(duration limit);

private:
    template <class T>
    task<T> on_this_peer(task<T> t) {
        const task_context& outer = co_await get_context();
        task_context context = root_context();
        context.stop = outer.stop;
        context.deadline = outer.deadline;
        context.trace = outer.trace;
        co_return co_await detail::with_context(t, context);
    }

    struct state;
    std::unique_ptr<state> m_state;

    template <class Service>
    friend Service& service_of(peer& self) noexcept;
    call_service& calls() noexcept;
};

}  // namespace covey

#ifndef COVEY_COMPILED
#include <covey/impl/peer.ipp>
#endif
