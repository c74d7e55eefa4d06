// The membership machine at work: over the sockets, timers and threads of an environment.
#pragma once

#include <covey/core/environment.hpp>
#include <covey/core/function.hpp>
#include <covey/mesh/changes.hpp>
#include <covey/mesh/config.hpp>
#include <covey/mesh/machine.hpp>
#include <covey/mesh/rejections.hpp>
#include <covey/mesh/seal.hpp>
#include <covey/mesh/view.hpp>
#include <covey/task/stream.hpp>

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

namespace covey::mesh {

/// What a driver calls. One call at a time, in order, on whatever thread caused it, and with no lock held: they may call
/// the driver, `close` included. They must not throw.
struct driver_callbacks {
    /// A change of the membership. The view that `members()` returns is then at least as new.
    unique_function<void(const membership_event&)> on_event;
    /// Deliver this message to the peer that listens at `to`, over a link, and at the other end hand it to its
    /// `on_stream_message`. Report failure by `on_stream_failed`.
    unique_function<void(const endpoint& to, byte_buffer message)> send_stream;
    /// How busy this peer is, or empty: then `set_load` says so. Asked whenever the timer fires, each probe interval at least, with the
    /// driver's lock held: it only looks, and neither waits nor calls the driver.
    unique_function<load()> current_load{};
    /// `has_joined()` has turned true.
    unique_function<void()> on_joined{};
};

/// Owns the datagram socket and one timer, and runs a `machine` on what they bring. Thread-safe. The environment must
/// outlive it. The destructor closes.
class driver {
public:
    /// `seal` may be null: then packets travel in the clear (loopback only, which the caller checks). Throws as `machine`'s
    /// constructor does. `records`: see machine; only where all drivers that share one run on one thread.
    driver(environment& env, const config& how, member_info self, const cluster_id& cluster, driver_callbacks callbacks,
           std::unique_ptr<datagram_seal> seal = nullptr, std::shared_ptr<record_pool> records = nullptr);
    ~driver();
    driver(const driver&) = delete;
    driver& operator=(const driver&) = delete;

    /// Binds the datagram socket; returns where. To be called once, before `start`. Give it the port that the listener for
    /// links already got. What `self.address` left open (address, port) is taken from it. Throws errc::address_in_use, bad_address.
    endpoint open(const endpoint& bind);
    /// Begins to answer and to probe. Throws errc::bad_address when others could not reach this peer; see machine::start.
    void start();
    /// Asks seeds for the others, see seed_list and machine::join. Names are looked up beside everything else, now and again
    /// whenever seeds are asked, a few at a time; one that is not found is told in the log, the first times and then now and then.
    /// Throws as seed_list's constructor does.
    void join(std::span<const std::string> seeds);
    void join(std::span<const endpoint> seeds);
    /// Why names of seeds could not be looked up the last time; empty: all were found.
    std::string seed_faults() const;
    /// Says goodbye; `done` is called once, when it is said or config::leave_linger is over, unless `close` comes first.
    void leave(unique_function<void()> done = {});

    /// A message that the `send_stream` of another peer sent; `from`: where that peer listens.
    void on_stream_message(const endpoint& from, bytes_view message);
    void on_stream_failed(const endpoint& to);
    void report_connection_refused(peer_id id);
    /// See the functions of the same names of machine. Of its own lag, how late its timer fires, the driver knows.
    void describe(description what);
    void set_load(const load& now);
    void on_lag(duration lag);

    /// The members now, this peer first. Never null; cheap while nothing changes.
    std::shared_ptr<const view> members() const;
    /// The same, with loads that are at most so old.
    std::shared_ptr<const view> members(duration loads_age_max) const;
    /// What happens to the members from now on, or after the view of that number: see membership_change. The change has been
    /// given to `on_event` before. Ends when the driver is closed, which it may outlive; throws `stopped` when its reader is asked to
    /// stop. Any number of readers. Throws errc::bad_argument for the number of a view that this driver has not made yet.
    stream<membership_change> changes();
    stream<membership_change> changes(std::uint64_t after);
    /// Any state, dead and left ones included as long as they are remembered.
    std::optional<member> find(peer_id id) const;
    /// This peer's own record; its epoch grows when it was declared dead meanwhile.
    member self() const;
    bool has_joined() const;
    bool has_left() const;
    statistics stats() const;
    /// What arrived and was thrown away, by reason. A reason of the seal that appears is also logged, once a minute at most.
    rejection_counts rejections() const;

    /// Idempotent. After it returns no callback runs and none will; from within a callback, that one is the last.
    /// From elsewhere it waits for a running callback: hold no lock that a callback takes. Says nothing to
    /// the others: use `leave` first for that.
    void close() noexcept;

private:
    class core;
    std::shared_ptr<core> m_core;
};

}  // namespace covey::mesh

#ifndef COVEY_COMPILED
#include <covey/mesh/impl/driver.ipp>
#endif
