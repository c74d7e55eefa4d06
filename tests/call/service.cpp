// Peers that do not play by the rules, and peers of another build: the protocol spoken by hand to a live peer.
#include <covey/call/service.hpp>

#include <covey/call/build.hpp>
#include <covey/call/remote.hpp>
#include <covey/core/hash.hpp>
#include <covey/core/random.hpp>
#include <covey/mesh/table.hpp>
#include <covey/net/asio_environment.hpp>
#include <covey/wire/codec.hpp>

#include <call/support.hpp>

#include <atomic>
#include <deque>
#include <optional>
#include <set>
#include <thread>

namespace covey_test_service {

using namespace covey;
using namespace covey_test_call;
using namespace std::chrono_literals;
using wire::frame_header;
using wire::frame_kind;

int add(int a, int b) { return a + b; }
std::string shout(std::string text, std::vector<int> much) { return text + std::to_string(much.size()); }
counter waiting;
counter woken;
task<void> wait_for_stop() {
    waiting.add();
    try {
        co_await schedule_after(24h);
    } catch (const stopped&) {
        woken.add();
        throw;
    }
}

}  // namespace covey_test_service

template struct covey::expose<covey_test_service::add>;
template struct covey::expose<covey_test_service::shout>;
template struct covey::expose<covey_test_service::wait_for_stop>;

namespace covey_test_service {

struct answer {
    frame_header header;
    byte_buffer body;
};

/// What a failure frame says.
struct failure {
    failure_kind kind{};
    errc code{};
    std::string text;
};
failure read_failure(bytes_view body) {
    byte_reader in(body);
    failure f;
    f.kind = in.number<failure_kind>();
    f.code = static_cast<errc>(in.number<std::uint16_t>());
    static_cast<void>(in.text(1024));
    f.text = std::string(in.text(65536));
    return f;
}

/// The other end of a link, with frames made by hand.
class stranger : public net::link_events {
public:
    explicit stranger(std::uint64_t table_digest, std::string build = "0123abcd") {
        net::hello h;
        h.cluster = cluster_id::from_name("covey");
        h.id = peer_id{0xbad0000000000000 + m_env.random() % 1'000'000};
        h.epoch = 1;
        h.name = "stranger";
        h.build_id = std::move(build);
        h.table_digest = table_digest;
        m_table = std::make_unique<net::link_table>(m_env, net::link_config{}, h, std::nullopt, *this);
    }
    ~stranger() { m_table->close(); }

    /// A link to that peer; the one there is or a new one.
    bool connect(const endpoint& to) {
        std::unique_lock lock(m_mutex);
        if (m_link && m_link->is_up()) return true;
        m_link = nullptr;
        m_answered = false;
        m_down = false;
        m_answers.clear();
        lock.unlock();
        m_table->connect(to, {}, 10s, [this](std::shared_ptr<net::link> l, std::error_code, const std::string& text) {
            const std::lock_guard guard(m_mutex);
            m_link = std::move(l);
            m_text = text;
            m_answered = true;
            m_changed.notify_all();
        });
        lock.lock();
        m_changed.wait_for(lock, patience, [this] { return m_answered; });
        return m_link != nullptr;
    }
    /// False: the link is down.
    bool send(frame_header h, bytes_view body = {}) {
        std::shared_ptr<net::link> l;
        {
            const std::lock_guard lock(m_mutex);
            l = m_link;
        }
        try {
            l->send(h, body);
            return true;
        } catch (const error&) {
            return false;
        }
    }
    /// The next reply or failure.
    std::optional<answer> next() {
        std::unique_lock lock(m_mutex);
        m_changed.wait_for(lock, patience, [this] { return m_down || !m_answers.empty(); });
        if (m_answers.empty()) return std::nullopt;
        answer a = std::move(m_answers.front());
        m_answers.pop_front();
        return a;
    }
    /// Waits for the end of the link and says why it ended.
    std::string end() {
        std::unique_lock lock(m_mutex);
        return m_changed.wait_for(lock, patience, [this] { return m_down; }) ? m_text : "it is still up";
    }
    std::error_code end_code() {
        const std::lock_guard lock(m_mutex);
        return m_why;
    }
    bool is_up() {
        const std::lock_guard lock(m_mutex);
        return m_link && m_link->is_up();
    }

private:
    void on_link_up(const std::shared_ptr<net::link>&) override {}
    void on_frame(net::link&, const frame_header& h, bytes_view body) override {
        if (h.kind != frame_kind::reply && h.kind != frame_kind::failure) return;
        answer a{h, {}};
        a.body.append(body);
        const std::lock_guard lock(m_mutex);
        if (m_answers.size() < 10'000) m_answers.push_back(std::move(a));
        m_changed.notify_all();
    }
    void on_link_down(const std::shared_ptr<net::link>& l, std::error_code why, const std::string& text) override {
        const std::lock_guard lock(m_mutex);
        if (m_link != nullptr && l != m_link) return;
        m_down = true;
        m_why = why;
        m_text = text;
        m_changed.notify_all();
    }

    pool m_pool{pool_options{.threads = 1}};
    asio_environment m_env{m_pool};
    std::unique_ptr<net::link_table> m_table;
    std::mutex m_mutex;
    std::condition_variable m_changed;
    std::shared_ptr<net::link> m_link;
    std::deque<answer> m_answers;
    bool m_answered = false;
    bool m_down = false;
    std::error_code m_why;
    std::string m_text;
};

frame_header call_header(std::uint32_t slot, std::uint32_t function, std::uint32_t generation = 1) {
    frame_header h;
    h.kind = frame_kind::call;
    h.slot = slot;
    h.generation = generation;
    h.function = function;
    return h;
}

template <class... Ts>
byte_buffer by_name(std::uint64_t name, std::uint64_t schema, const Ts&... values) {
    byte_buffer body;
    byte_writer out(body);
    out.number(name);
    out.number(schema);
    wire::encode(body, values...);
    return body;
}

peer_config server_config() {
    peer_config config;
    config.threads = 1;
    config.call_credit = 8;
    return config;
}

const function_entry& add_entry() { return expose<add>::entry; }

TEST_CASE("another build calls by name what it shares, and nothing else", "[call][service]") {
    peer server(server_config());
    stranger other(0x5eed, "feedbeef");
    REQUIRE(other.connect(server.address()));
    std::optional<answer> a;

    // By index: the indices of the two mean different things.
    byte_buffer arguments;
    wire::encode(arguments, 1, 2);
    REQUIRE(other.send(call_header(0, add_entry().index), arguments));
    REQUIRE((a = other.next()));
    REQUIRE(a->header.kind == frame_kind::failure);
    CHECK(a->header.slot == 0);
    failure f = read_failure(a->body);
    CHECK(f.kind == failure_kind::library);
    CHECK(f.code == errc::build_mismatch);
    CHECK_THAT(f.text, Catch::Contains("feedbeef") && Catch::Contains(build_id()));

    frame_header named = call_header(1, 0);
    named.flags = wire::call_by_name;
    REQUIRE(other.send(named, by_name(fnv1a(add_entry().name), add_entry().schema, 20, 22)));
    REQUIRE((a = other.next()));
    REQUIRE(a->header.kind == frame_kind::reply);
    CHECK(a->header.slot == 1);
    CHECK(wire::decode<int>(a->body) == 42);

    REQUIRE(other.send(named, by_name(fnv1a(add_entry().name), add_entry().schema + 1, 20, 22)));
    REQUIRE((a = other.next()));
    REQUIRE(a->header.kind == frame_kind::failure);
    f = read_failure(a->body);
    CHECK(f.code == errc::build_mismatch);
    CHECK_THAT(f.text, Catch::Contains("covey_test_service::add") && Catch::Contains("feedbeef") && Catch::Contains(build_id()));

    REQUIRE(other.send(named, by_name(fnv1a("no such function"), add_entry().schema, 20, 22)));
    REQUIRE((a = other.next()));
    REQUIRE(a->header.kind == frame_kind::failure);
    f = read_failure(a->body);
    CHECK(f.code == errc::unknown_function);
    CHECK_THAT(f.text, Catch::Contains("template struct covey::expose<"));

    REQUIRE(other.is_up());
}

TEST_CASE("calls with wrong contents fail, and the link lives on", "[call][service]") {
    peer server(server_config());
    stranger other(function_table::instance().digest(), build_id());
    REQUIRE(other.connect(server.address()));
    std::optional<answer> a;
    byte_buffer arguments;
    wire::encode(arguments, 1, 2);

    for (const std::uint32_t index : {static_cast<std::uint32_t>(function_table::instance().size()), UINT32_MAX}) {
        REQUIRE(other.send(call_header(0, index), arguments));
        REQUIRE((a = other.next()));
        REQUIRE(a->header.kind == frame_kind::failure);
        CHECK(read_failure(a->body).code == errc::unknown_function);
    }
    for (std::size_t n = 0; n < arguments.size(); ++n) {
        REQUIRE(other.send(call_header(0, add_entry().index), arguments.view().first(n)));
        REQUIRE((a = other.next()));
        REQUIRE(a->header.kind == frame_kind::failure);
        CHECK(read_failure(a->body).code == errc::bad_message);
    }
    arguments.append("x", 1);
    REQUIRE(other.send(call_header(0, add_entry().index), arguments));
    REQUIRE((a = other.next()));
    REQUIRE(a->header.kind == frame_kind::failure);
    CHECK(read_failure(a->body).code == errc::bad_message);

    // A container that says it is enormous.
    byte_buffer huge;
    byte_writer(huge).varint(std::uint64_t{1} << 60);
    REQUIRE(other.send(call_header(0, expose<shout>::entry.index), huge));
    REQUIRE((a = other.next()));
    CHECK(read_failure(a->body).code == errc::bad_message);

    // Cancelling what is not there is no crime: it may just have been answered.
    frame_header cancel = call_header(3, 0, 99);
    cancel.kind = frame_kind::cancel;
    CHECK(other.send(cancel));
    cancel.slot = UINT32_MAX;
    CHECK(other.send(cancel));
    arguments.truncate(arguments.size() - 1);
    REQUIRE(other.send(call_header(0, add_entry().index), arguments));
    REQUIRE((a = other.next()));
    REQUIRE(a->header.kind == frame_kind::reply);
    CHECK(wire::decode<int>(a->body) == 3);
}

TEST_CASE("breaking the protocol closes the link with a reason", "[call][service]") {
    peer server(server_config());
    stranger other(function_table::instance().digest(), build_id());
    REQUIRE(other.connect(server.address()));
    byte_buffer arguments;
    wire::encode(arguments, 1, 2);
    waiting.reset();
    woken.reset();

    SECTION("a slot beyond the credit") {
        REQUIRE(other.send(call_header(8, add_entry().index), arguments));
        CHECK_THAT(other.end(), Catch::Contains("slot 8") && Catch::Contains("beyond the 8 granted"));
        CHECK(other.end_code() == errc::protocol_error);
    }
    SECTION("a slot far beyond the credit") {
        REQUIRE(other.send(call_header(UINT32_MAX, add_entry().index), arguments));
        CHECK_THAT(other.end(), Catch::Contains("beyond the 8 granted"));
    }
    SECTION("a slot in use; and the function there is stopped") {
        REQUIRE(other.send(call_header(2, expose<wait_for_stop>::entry.index)));
        REQUIRE(waiting.reaches(1));
        REQUIRE(other.send(call_header(2, add_entry().index, 2), arguments));
        CHECK_THAT(other.end(), Catch::Contains("slot 2") && Catch::Contains("in use"));
        CHECK(other.end_code() == errc::protocol_error);
        CHECK(woken.reaches(1));
    }
    SECTION("a reply to nothing") {
        frame_header h = call_header(0, 0);
        h.kind = frame_kind::reply;
        REQUIRE(other.send(h, arguments));
        CHECK_THAT(other.end(), Catch::Contains("an answer to a call that was not made"));
        CHECK(other.end_code() == errc::protocol_error);
    }
    SECTION("a failure of nothing") {
        frame_header h = call_header(7, 0);
        h.kind = frame_kind::failure;
        REQUIRE(other.send(h, arguments));
        CHECK_THAT(other.end(), Catch::Contains("an answer to a call that was not made"));
    }
    SECTION("a call by name too short for the hashes") {
        frame_header h = call_header(0, 0);
        h.flags = wire::call_by_name;
        REQUIRE(other.send(h, arguments));
        CHECK_THAT(other.end(), Catch::Contains("truncated"));
    }
    // It is only this link that is over.
    REQUIRE(other.connect(server.address()));
    REQUIRE(other.send(call_header(0, add_entry().index), arguments));
    const std::optional<answer> a = other.next();
    REQUIRE(a);
    CHECK(a->header.kind == frame_kind::reply);
}

TEST_CASE("a link that ends stops what was served over it", "[call][service]") {
    peer server(server_config());
    waiting.reset();
    woken.reset();
    {
        stranger other(function_table::instance().digest(), build_id());
        REQUIRE(other.connect(server.address()));
        for (std::uint32_t slot = 0; slot < 8; ++slot) REQUIRE(other.send(call_header(slot, expose<wait_for_stop>::entry.index)));
        CHECK(waiting.reaches(8));
    }
    CHECK(woken.reaches(8));
    CHECK(server.drain(patience));
}

TEST_CASE("a cancel frame stops the function", "[call][service]") {
    peer server(server_config());
    waiting.reset();
    woken.reset();
    stranger other(function_table::instance().digest(), build_id());
    REQUIRE(other.connect(server.address()));
    REQUIRE(other.send(call_header(4, expose<wait_for_stop>::entry.index, 6)));
    CHECK(waiting.reaches(1));
    frame_header cancel = call_header(4, 0, 5);  // an earlier use of the slot
    cancel.kind = frame_kind::cancel;
    REQUIRE(other.send(cancel));
    byte_buffer arguments;
    wire::encode(arguments, 1, 2);
    REQUIRE(other.send(call_header(0, add_entry().index), arguments));
    REQUIRE(other.next());  // the cancel was read before
    CHECK(woken.value() == 0);
    cancel.generation = 6;
    REQUIRE(other.send(cancel));
    CHECK(woken.reaches(1));
    const std::optional<answer> a = other.next();
    REQUIRE(a);
    CHECK(a->header.kind == frame_kind::failure);
    CHECK(a->header.slot == 4);
    CHECK(read_failure(a->body).kind == failure_kind::stopped);
}

TEST_CASE("random frames harm nobody, and others' calls go on meanwhile", "[call][service][hostile]") {
    ::setenv("COVEY_LOG", "error", 1);  // a line for every closed link would be long
    group peers(2);
    ::unsetenv("COVEY_LOG");
    std::atomic<bool> done{false};
    std::atomic<int> good{0};
    std::atomic<int> bad{0};
    std::thread neighbour([&] {
        while (!done) {
            try {
                (peers[0].run(peers[0].remote(on(peers.id(1)), add, good.load(), 1)) == good + 1 ? good : bad) += 1;
            } catch (const std::exception&) {
                bad += 1;
            }
        }
    });

    random_source random(2024);
    stranger same(function_table::instance().digest(), build_id());
    stranger other(0x5eed);
    const int frames = COVEY_SANITIZED ? 2000 : 6000;
    int sent = 0;
    byte_buffer arguments;
    wire::encode(arguments, std::string("hello there"), std::vector<int>{1, 2, 3, 4, 5});
    for (int i = 0; i < frames; ++i) {
        stranger& from = random.chance(0.7) ? same : other;
        REQUIRE(from.connect(peers[1].address()));
        frame_header h;
        h.kind = static_cast<frame_kind>(1 + random.below(10));
        // Mostly calls: everything else closes the link soon.
        if (random.chance(0.6)) h.kind = random.chance(0.8) ? frame_kind::call : frame_kind::cancel;
        h.flags = static_cast<std::uint8_t>(random.chance(0.3) ? 1 : random.chance(0.02) ? random.next() : 0);
        h.reserved = static_cast<std::uint16_t>(random.chance(0.01) ? random.next() : 0);
        h.slot = static_cast<std::uint32_t>(random.chance(0.95) ? random.below(1024) : random.next());
        h.generation = static_cast<std::uint32_t>(random.below(4));
        h.function = static_cast<std::uint32_t>(random.chance(0.5) ? expose<shout>::entry.index.load()
                                                                   : random.below(function_table::instance().size() + 2));
        // Whatever it hits ends soon.
        h.deadline_us = static_cast<std::uint32_t>(1 + random.below(5000));
        byte_buffer body;
        if (random.chance(0.5)) {
            body.append(arguments.view());
            for (std::uint64_t flips = random.below(4); flips > 0; --flips)
                body.data()[random.below(body.size())] ^= std::byte(1 << random.below(8));
            if (random.chance(0.3)) body.truncate(random.below(body.size()));
        } else {
            for (std::uint64_t n = random.below(200); n > 0; --n) byte_writer(body).number(static_cast<std::uint8_t>(random.next()));
        }
        if (from.send(h, body)) ++sent;
    }
    done = true;
    neighbour.join();
    CHECK(sent > frames / 2);
    // How many links that ended is a matter of who was faster; that a wrong frame ends one is not.
    for (stranger* from : {&same, &other}) {
        REQUIRE(from->connect(peers[1].address()));
        frame_header wrong;
        wrong.kind = frame_kind::call;
        wrong.reserved = 1;
        from->send(wrong);
        CHECK(from->end() != "it is still up");
    }
    CHECK(good > 0);
    CHECK(bad == 0);
    CHECK(peers[0].run(peers[0].remote(on(peers.id(1)), add, 1, 1)) == 2);
}

/// A service that sees what a test puts into its table, itself being peer 1.
class chooser : public net::link_events {
public:
    explicit chooser(std::initializer_list<std::uint64_t> others) {
        for (const std::uint64_t id : others) m_members.put({}, described(id), m_random);
    }
    mesh::table& members() { return m_members; }
    void put(std::uint64_t id, member_state state) { m_members.set_state({}, {id}, state, m_random); }
    /// Whom it chooses in many calls.
    std::set<std::uint64_t> chosen(std::vector<peer_id> failed = {}) {
        std::set<std::uint64_t> result;
        for (int i = 0; i < 400; ++i) result.insert(m_calls.choose(failed).value);
        return result;
    }

private:
    void on_link_up(const std::shared_ptr<net::link>&) override {}
    void on_frame(net::link&, const frame_header&, bytes_view) override {}
    void on_link_down(const std::shared_ptr<net::link>&, std::error_code, const std::string&) override {}

    static member described(std::uint64_t id) {
        mesh::member_info info;
        info.id = {id};
        info.address = endpoint::v4(127, 0, 0, 1, static_cast<std::uint16_t>(id));
        info.table_digest = function_table::instance().digest();
        return member(info);
    }
    static net::hello introduction() {
        net::hello h;
        h.cluster = cluster_id::from_name("covey");
        h.id = {1};
        h.epoch = 1;
        return h;
    }

    pool m_pool{pool_options{.threads = 1}};
    asio_environment m_env{m_pool};
    random_source m_random{7};
    mesh::table m_members;
    net::link_table m_links{m_env, {}, introduction(), std::nullopt, *this};
    call_service m_calls{m_env, m_links, {}, {1}, 8, [this] {
                             mesh::view v;
                             v.members = m_members.live_members();
                             v.members.insert(v.members.begin(), described(1));
                             return std::make_shared<const mesh::view>(std::move(v));
                         }};
};

TEST_CASE("who is suspect, flaky or has failed is not chosen while there is another", "[call][service]") {
    using set = std::set<std::uint64_t>;
    chooser c({2, 3, 4});
    CHECK(c.chosen() == set{1, 2, 3, 4});
    REQUIRE(c.members().mark_flaky({3}, true));
    CHECK(c.chosen() == set{1, 2, 4});
    c.put(2, member_state::suspect);
    CHECK(c.chosen() == set{1, 4});
    CHECK(c.chosen({{1}}) == set{4});
    // Nobody is left but them: better one of those than none.
    CHECK(c.chosen({{1}, {4}}) == set{1, 2, 3, 4});

    REQUIRE(c.members().mark_flaky({3}, false));
    CHECK(c.chosen({{1}}) == set{3, 4});
    // Only datagrams do not reach it: calls do.
    REQUIRE(c.members().mark_unreachable({3}, true));
    CHECK(c.chosen({{1}}) == set{3, 4});
    c.put(3, member_state::dead);
    CHECK(c.chosen({{1}}) == set{4});
}

}  // namespace covey_test_service
