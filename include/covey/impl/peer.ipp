#pragma once

#include <covey/call/build.hpp>
#include <covey/call/chrome_trace.hpp>
#include <covey/call/detail/tell.hpp>
#include <covey/core/detail/concat.hpp>
#include <covey/mesh/detail/change_list.hpp>
#include <covey/mesh/detail/key_seal.hpp>
#include <covey/mesh/detail/key_service.hpp>
#include <covey/mesh/detail/view_service.hpp>
#include <covey/mesh/driver.hpp>
#include <covey/mesh/seeds.hpp>
#include <covey/net/asio_environment.hpp>
#include <covey/net/key.hpp>
#include <covey/net/link_table.hpp>
#include <covey/peer.hpp>
#include <covey/sched/pool.hpp>
#include <covey/task/timeout.hpp>

#include <sys/utsname.h>
#include <unistd.h>

#include <condition_variable>
#include <mutex>

namespace covey {

namespace detail {

inline std::string default_peer_name() {
    utsname names{};
    uname(&names);
    return detail::concat({std::string(names.nodename).substr(0, 48), ":", getpid()});
}

}  // namespace detail

struct peer::state final : net::link_events {
    /// Threads and sockets of a peer that brings its own. The environment is destroyed after the pool, whose last handlers
    /// still use it.
    struct own_runtime {
        std::unique_ptr<asio_environment> env;
        std::unique_ptr<pool> workers;
    };

    state(peer& self, std::unique_ptr<own_runtime> runtime, environment& e, peer_config&& c)
        : owned(std::move(runtime)), env(e), config(std::move(c)) {
        function_table::instance().freeze();
        do {
            id = peer_id{env.random()};
        } while (!id);
        if (config.name.empty()) config.name = detail::default_peer_name();
        root.scheduler = &env.workers();
        root.peer = &self;
        root.stop = stop.get_token();
        open();
    }

    void open() {
        // What can be wrong with the configuration is looked at before anything runs.
        const endpoint wanted = env.resolve(config.bind).front();
        const mesh::seed_list written_well(config.join);
        std::vector<net::cluster_key> ring;
        if (!config.key_file.empty()) ring = net::cluster_key::load_all(config.key_file);
        std::optional<net::cluster_key> key;
        if (!ring.empty()) key = ring.front();
        keys.emplace(env, ring, [this](std::span<const net::cluster_key> changed) {
            seal->set_keys(changed);
            links->set_keys(changed);
        });
        const cluster_id cluster = cluster_id::from_name(config.cluster);
        const unsigned thread_count = env.concurrency();

        net::hello hello;
        hello.cluster = cluster;
        hello.id = id;
        hello.epoch = 1;
        hello.address = wanted;
        hello.name = config.name;
        hello.build_id = build_id();
        hello.table_digest = function_table::instance().digest();
        hello.observer = config.role == member_role::observer;
        hello.call_credit = config.call_credit;
        hello.body_bytes_max = config.links.body_bytes_max;

        mesh::member_info info;
        info.id = id;
        info.name = config.name;
        info.role = config.role;
        info.build_hash = fnv1a(build_id());
        info.table_digest = hello.table_digest;
        info.threads = static_cast<std::uint16_t>(std::min(thread_count, 65535u));
        info.labels = config.labels;
        info.resources = config.resources;
        info.gpus = config.gpus;
        info.memory_mib = config.memory_mib;
        check_description(info);
        const mesh::config numbers = config.membership_numbers(wanted);

        // One port for both: with port 0, TCP picks one that UDP may not get.
        for (int tries = 8;; --tries) {
            links.emplace(env, config.links, hello, key, *this);
            if (ring.size() > 1) links->set_keys(ring);
            bound = links->listen(wanted);
            info.address = bound;
            std::unique_ptr<detail::key_seal> sealing;
            // The id is new in each life, so the counter may start anywhere that leaves it room.
            if (key) sealing = std::make_unique<detail::key_seal>(ring, cluster, id, info.epoch, env.random() >> 2);
            seal = sealing.get();
            mesh::driver_callbacks callbacks;
            callbacks.on_event = [this](const membership_event& event) { on_membership(event); };
            callbacks.send_stream = [this](const endpoint& to, byte_buffer message) { send_mesh_message(to, std::move(message)); };
            callbacks.current_load = [this] { return current_load(); };
            callbacks.on_joined = [this] { changes.changed(); };
            membership.emplace(env, numbers, info, cluster, std::move(callbacks), std::move(sealing));
            try {
                membership->open(bound);
                break;
            } catch (const error& e) {
                if (e.code() != errc::address_in_use || wanted.port != 0 || tries <= 1) throw;
                membership.reset();
                links.reset();
            }
        }
        views.emplace([this] { return membership->members(std::chrono::seconds(1)); });
        calls.emplace(env, *links, root, id, config.call_credit, [this] { return membership->members(); });
        if (config.spans_max == 0 && !config.trace_file.empty()) config.spans_max = peer_config::spans_ordinary;
        if (config.spans_max != 0) calls->keep_spans(config.name, config.spans_max);
        ready.store(true, std::memory_order_release);
        try {
            membership->start();
        } catch (...) {
            close();
            throw;
        }
        if (!config.join.empty()) membership->join(config.join);
        env.log(log_level::info, detail::concat({"peer ", to_string(id), " (", config.name, ") listens on ", to_string(bound)}));
    }

    /// What `mesh::fault` would find later, with the numbers.
    static void check_description(mesh::description what) {
        what.address = endpoint::v4(127, 0, 0, 1, 1);
        const std::size_t bytes = mesh::encoded_bytes_at_most(what), most = mesh::description::encoded_bytes_max;
        if (bytes > most) {
            throw error(errc::bad_argument, detail::concat({"the name, labels and resources of this peer take up to ", bytes, " of the ",
                                                            most, " bytes that it can tell others; shorten them by ", bytes - most}));
        }
        if (const char* why = mesh::fault(what))
            throw error(errc::bad_argument, detail::concat({"what this peer says about itself: ", why}));
    }

    // ---- links

    void on_link_up(const std::shared_ptr<net::link>& link) override {
        // A link can come up before the constructor is done: whoever dials so early tries again.
        if (!ready.load(std::memory_order_acquire)) {
            link->abort(errc::shut_down, "this peer is starting");
            return;
        }
        if (!link->is_for_membership()) calls->on_link_up(link);
    }
    void on_frame(net::link& link, const wire::frame_header& h, bytes_view body) override {
        if (!ready.load(std::memory_order_acquire)) return;
        if (h.kind == wire::frame_kind::mesh && mesh::is_key_message(body)) {
            keys->on_message(link, body);
        } else if (h.kind == wire::frame_kind::mesh && mesh::is_view_message(body)) {
            views->on_message(link, body);
        } else if (h.kind == wire::frame_kind::mesh) {
            membership->on_stream_message(link.address(), body);
        } else {
            calls->on_frame(link, h, body);
        }
    }
    void on_link_down(const std::shared_ptr<net::link>& link, std::error_code why, const std::string& text) override {
        if (!ready.load(std::memory_order_acquire)) return;
        calls->on_link_down(link, static_cast<errc>(why.value()), text);
        keys->on_link_down(*link, text);
        views->on_link_down(*link, text);
        // A connection that broke without a goodbye: if its port refuses us now, the process is gone.
        if (why == errc::link_lost) knock(link->peer(), link->address());
    }
    void knock(peer_id who, const endpoint& where) {
        if (closing.load(std::memory_order_acquire)) return;
        const auto answered = [this, who, weak = std::weak_ptr<int>(alive)](std::unique_ptr<stream_socket>, std::error_code why) {
            const std::shared_ptr<int> still = weak.lock();
            if (still != nullptr && why == std::errc::connection_refused) membership->report_connection_refused(who);
        };
        try {
            env.connect(where, std::chrono::milliseconds(500), answered);
        } catch (const error& e) {
            // Out of descriptors, say: then the probes find out.
            env.log(log_level::debug, e.what());
        }
    }

    /// The same where a member should listen and could not be reached.
    void knock_at(const endpoint& where) {
        for (const member& m : membership->members()->members) {
            if (m.address() == where) return knock(m.id(), where);
        }
    }

    // ---- membership

    void on_membership(const membership_event& event) {
        using what = membership_event::what;
        const member& m = event.subject;
        if (event.kind == what::dead || event.kind == what::left) {
            const std::string text = detail::concat({m.name(), (event.kind == what::dead ? " was declared dead" : " has left")});
            calls->on_peer_lost(m.id(), text);
            links->drop(m.id(), errc::peer_lost, text);
        }
        if (event.kind == what::rejoined && m.id() == id) {
            links->set_epoch(m.epoch());
            if (seal != nullptr) seal->set_epoch(m.epoch());
            // The others dropped theirs when they heard of our death. After a cut nothing has told us so: a call would go out on one
            // that is dead, and be lost.
            for (const std::shared_ptr<net::link>& l : links->links())
                l->abort(errc::link_lost, "this peer had been declared dead and begins a new life");
            for (const member& other : membership->members()->members) links->heard_of(other.address());
        } else if (event.kind == what::joined || event.kind == what::rejoined || event.kind == what::alive_again) {
            links->heard_of(m.address());
        }
        if (m.role() == member_role::main && m.is_live() && m.table_digest() == function_table::instance().digest()) {
            const std::lock_guard lock(mutex);
            main_seen = m.id();
        }
        env.log(log_level::info, detail::concat({"member ", to_string(m.id()), " (", m.name(), ") ", to_string(event.kind)}));
        changes.changed();
    }

    /// By the calls served for others: those that the workers can run at once, and those beyond, of as many as one peer may send.
    mesh::load current_load() const noexcept {
        if (!ready.load(std::memory_order_acquire)) return {};
        const auto serving = static_cast<double>(calls->serving());
        const double threads = std::max(env.concurrency(), 1u);
        mesh::load now;
        now.cores = mesh::load::level(serving / threads);
        now.queue = mesh::load::level((serving - threads) / std::max(config.call_credit, 1u));
        return now;
    }

    void send_mesh_message(const endpoint& to, byte_buffer message) {
        links->connect(
            to, {}, std::chrono::seconds(3),
            [this, to, message = std::move(message), weak = std::weak_ptr<int>(alive)](std::shared_ptr<net::link> link, std::error_code why,
                                                                                       const std::string& text) {
                const std::shared_ptr<int> still = weak.lock();
                if (still == nullptr) return;
                try {
                    if (link == nullptr) throw error(static_cast<errc>(why.value()), text);
                    wire::frame_header h;
                    h.kind = wire::frame_kind::mesh;
                    link->send(h, message.view());
                } catch (const error& e) {
                    if (e.code() == errc::auth_failed || e.code() == errc::wrong_cluster) {
                        refused(e);
                    } else {
                        membership->on_stream_failed(to);
                        knock_at(to);
                    }
                }
            },
            net::link_use::membership);
    }

    /// A seed will not have us: said once, for the key does not become right by trying again.
    void refused(const error& e) {
        {
            const std::lock_guard lock(mutex);
            if (refusal || membership->has_joined()) return;
            refusal = e;
        }
        if (config.log_refusal) env.log(log_level::error, e.what());
        changes.changed();
    }

    std::vector<member> select(bool same_program) const {
        std::vector<member> result;
        const std::shared_ptr<const mesh::view> view = membership->members();
        for (const member& m : view->members) {
            if (m.role() == member_role::observer) continue;
            if (!same_program || m.table_digest() == function_table::instance().digest()) result.push_back(m);
        }
        return result;
    }

    // ---- the end

    /// When nothing is served any more.
    void write_trace() noexcept {
        if (config.trace_file.empty()) return;
        try {
            const span_list spans = calls->spans();
            append_chrome_trace(config.trace_file, {&spans, 1});
        } catch (const std::exception& e) {
            env.log(log_level::warning, e.what());
        }
    }

    void close() {
        if (closing.exchange(true, std::memory_order_acq_rel)) return;
        stop.request_stop();
        calls->close("this peer is shutting down");
        membership->close();
        links->close();
        // Callbacks that hold `alive` at this moment finish; later ones see that it is gone.
        std::weak_ptr<int> watch = alive;
        alive.reset();
        while (!watch.expired()) std::this_thread::yield();
    }

    // Order matters: the runtime goes last.
    std::unique_ptr<own_runtime> owned;
    environment& env;
    peer_config config;
    peer_id id;
    endpoint bound;
    stop_source stop;
    task_context root;
    std::atomic<bool> ready{false};
    std::atomic<bool> closing{false};
    std::shared_ptr<int> alive = std::make_shared<int>();
    detail::change_list changes;
    mutable std::mutex mutex;  // guards the next two
    std::optional<error> refusal;
    std::optional<peer_id> main_seen;
    std::optional<call_service> calls;
    std::optional<detail::key_service> keys;
    std::optional<detail::view_service> views;
    detail::key_seal* seal = nullptr;  // owned by the driver; null: no key
    std::optional<mesh::driver> membership;
    std::optional<net::link_table> links;
};

COVEY_INLINE peer::peer(peer_config config) {
    auto runtime = std::make_unique<state::own_runtime>();
    runtime->workers = std::make_unique<pool>(pool_options{.threads = config.threads});
    runtime->env = std::make_unique<asio_environment>(*runtime->workers);
    environment& env = *runtime->env;
    m_state = std::make_unique<state>(*this, std::move(runtime), env, std::move(config));
}

COVEY_INLINE peer::peer(environment& env, peer_config config) : m_state(std::make_unique<state>(*this, nullptr, env, std::move(config))) {}

COVEY_INLINE peer::~peer() {
    if (m_state->owned) {
        leave();
        while (!drain(std::chrono::seconds(5))) {
            m_state->env.log(log_level::warning, "a peer waits for functions it serves, which were asked to stop and have not");
        }
    } else {
        close();
    }
    m_state->write_trace();
}

COVEY_INLINE peer_id peer::id() const noexcept { return m_state->id; }
COVEY_INLINE endpoint peer::address() const noexcept { return m_state->bound; }
COVEY_INLINE std::span<const std::string> peer::args() const noexcept { return m_state->config.args; }
COVEY_INLINE unsigned peer::threads() const noexcept { return m_state->env.concurrency(); }
COVEY_INLINE environment& peer::env() noexcept { return m_state->env; }
COVEY_INLINE const task_context& peer::root_context() const noexcept { return m_state->root; }
COVEY_INLINE call_service& peer::calls() noexcept { return *m_state->calls; }
template <>
COVEY_INLINE call_service& service_of<call_service>(peer& self) noexcept {
    return self.calls();
}
COVEY_INLINE void peer::request_stop() noexcept { m_state->stop.request_stop(); }
COVEY_INLINE std::vector<member> peer::members() const { return m_state->select(true); }
COVEY_INLINE std::vector<member> peer::mesh_members() const { return m_state->select(false); }
COVEY_INLINE std::shared_ptr<const mesh::view> peer::mesh_view() const { return m_state->membership->members(); }
COVEY_INLINE stream<membership_change> peer::changes() { return m_state->membership->changes(); }
COVEY_INLINE stream<membership_change> peer::changes(std::uint64_t after) { return m_state->membership->changes(after); }
COVEY_INLINE void peer::close() { m_state->close(); }

COVEY_INLINE std::optional<member> peer::find(peer_id id) const { return m_state->membership->find(id); }
COVEY_INLINE std::uint64_t peer::change_count() const { return m_state->changes.count(); }

COVEY_INLINE task<void> peer::next_change(std::uint64_t seen) { co_await detail::change_list::awaiter(m_state->changes, seen); }

COVEY_INLINE std::optional<peer_id> peer::main_peer() const {
    const std::lock_guard lock(m_state->mutex);
    return m_state->main_seen;
}

COVEY_INLINE task<void> peer::wait_until_joined(duration limit) {
    const auto joined = [](peer& self) -> task<void> {
        for (;;) {
            const std::uint64_t seen = self.change_count();
            if (self.m_state->membership->has_joined()) co_return;
            {
                const std::lock_guard lock(self.m_state->mutex);
                if (self.m_state->refusal) throw error(*self.m_state->refusal);
            }
            co_await self.next_change(seen);
        }
    };
    bool timed_out = false;
    try {
        co_await timeout(joined(*this), limit);
    } catch (const error& e) {
        if (e.code() != errc::timed_out) throw;
        timed_out = true;
    }
    if (timed_out) {
        std::string seeds;
        for (const std::string& seed : m_state->config.join) seeds += detail::concat({(seeds.empty() ? "" : ", "), seed});
        const std::string faults = m_state->membership->seed_faults();
        throw error(errc::unreachable,
                    detail::concat({"no member of cluster \"", m_state->config.cluster, "\" answered at ", seeds, " within ",
                                    std::chrono::duration_cast<std::chrono::seconds>(limit).count(), " s; ", (faults.empty() ? "" : faults),
                                    (faults.empty() ? "" : "; "), "start one there first, or check the address"}));
    }
}

COVEY_INLINE task<void> peer::wait_for_members(std::size_t n, duration limit) {
    const auto enough = [](peer& self, std::size_t wanted) -> task<void> {
        for (;;) {
            const std::uint64_t seen = self.change_count();
            if (self.members().size() >= wanted) co_return;
            co_await self.next_change(seen);
        }
    };
    bool timed_out = false;
    try {
        co_await timeout(enough(*this, n), limit);
    } catch (const error& e) {
        if (e.code() != errc::timed_out) throw;
        timed_out = true;
    }
    if (timed_out) {
        throw error(errc::timed_out, detail::concat({members().size(), " of ", n, " members were there after ",
                                                     std::chrono::duration_cast<std::chrono::milliseconds>(limit).count(), " ms"}));
    }
}

COVEY_INLINE call_statistics peer::call_statistics() const { return m_state->calls->records().counters.read(); }

COVEY_INLINE task<call_statistics> peer::call_statistics_of(peer_id id) {
    return remote(on(id, {.deadline = std::chrono::seconds(5)}), fn<detail::tell_call_statistics>);
}

COVEY_INLINE span_list peer::spans() const { return m_state->calls->spans(); }

COVEY_INLINE task<span_list> peer::spans_of(peer_id id) {
    return remote(on(id, {.deadline = std::chrono::seconds(5)}), fn<detail::tell_spans>);
}

COVEY_INLINE mesh::rejection_counts peer::rejections() const { return m_state->membership->rejections(); }

COVEY_INLINE task<std::vector<mesh::member_keys>> peer::change_keys(mesh::key_change change) {
    const std::vector<member> all = mesh_members();
    detail::key_service& keys = *m_state->keys;
    if (change.what == mesh::key_operation::use || change.what == mesh::key_operation::remove) {
        const std::vector<mesh::member_keys> before = co_await keys.ask_all(*m_state->links, all, m_state->id, mesh::key_change::list());
        if (const std::optional<std::string> why = mesh::objection(change, before)) throw error(errc::bad_argument, *why);
    }
    co_return co_await keys.ask_all(*m_state->links, all, m_state->id, std::move(change));
}

COVEY_INLINE task<mesh::view> peer::view_at(endpoint of) {
    if (of == m_state->bound) co_return *m_state->membership->members(std::chrono::seconds(1));
    co_return co_await m_state->views->ask(*m_state->links, of);
}

COVEY_INLINE void peer::start_leave(unique_function<void()> done) { m_state->membership->leave(std::move(done)); }

COVEY_INLINE void peer::leave() {
    if (m_state->closing.load(std::memory_order_acquire)) return;
    struct signal {
        std::mutex mutex;
        std::condition_variable condition;
        bool done = false;
    };
    const auto left = std::make_shared<signal>();
    start_leave([left] {
        const std::lock_guard lock(left->mutex);
        left->done = true;
        left->condition.notify_all();
    });
    std::unique_lock lock(left->mutex);
    left->condition.wait_for(lock, std::chrono::seconds(5), [&] { return left->done; });
    lock.unlock();
    m_state->calls->close("this peer has left");
    m_state->links->close_all("the peer has left");
    close();
}

COVEY_INLINE bool peer::drain(duration limit) { return m_state->calls->wait_served(limit); }

}  // namespace covey
