#include <covey/mesh/changes.hpp>

#include <covey/sched/default_pool.hpp>
#include <covey/task/sync_wait.hpp>
#include <covey/task/timeout.hpp>

#include "drivers.hpp"

#include <catch2/catch.hpp>

#include <thread>

namespace covey_test_mesh_changes {  // so that test files can be compiled together

using namespace mesh_test;
using change_stream = stream<membership_change>;

/// What a reader knows: a view, and the changes behind it. Each change must make sense: so one too many or too few is seen.
class replica {
public:
    void start_over(const mesh::view& v) {
        m_members.clear();
        for (const member& m : v.members) m_members.emplace(m.id(), m);
        m_number = v.number;
    }
    void apply(const membership_change& c) {
        m_wrong += c.number < m_number;
        m_number = c.number;
        if (c.kind == what::missed) {
            ++gaps;
            m_wrong += c.now == nullptr || c.now->number != c.number || c.subject.id() != c.now->members.front().id();
            return start_over(*c.now);
        }
        ++changes;
        const member& m = c.subject;
        const auto at = m_members.find(m.id());
        const bool known = at != m_members.end();
        switch (c.kind) {
            case what::joined: m_wrong += known; break;
            case what::rejoined: m_wrong += known && at->second.epoch() >= m.epoch(); break;
            case what::suspected: m_wrong += !known || at->second.state() != member_state::alive; break;
            case what::alive_again:
                m_wrong += !known || (at->second.state() != member_state::suspect && !at->second.is_unreachable());
                break;
            case what::updated: m_wrong += !known || at->second.what() == m.what(); break;
            case what::flaky: m_wrong += !known || at->second.is_flaky(); break;
            case what::steady: m_wrong += !known || !at->second.is_flaky(); break;
            case what::unreachable: m_wrong += !known || at->second.is_unreachable(); break;
            case what::dead:
            case what::left:
                m_wrong += !known;
                m_members.erase(m.id());
                return;
            case what::partition_suspected:
            case what::healed: return;
            case what::missed: break;
        }
        m_members.insert_or_assign(m.id(), m);
    }
    std::size_t wrong() const { return m_wrong; }
    bool equals(const mesh::view& v) const {
        if (m_members.size() != v.members.size()) return false;
        for (const member& m : v.members) {
            const auto at = m_members.find(m.id());
            if (at == m_members.end()) return false;
            const member& o = at->second;
            const bool same = o.epoch() == m.epoch() && o.state() == m.state() && o.is_flaky() == m.is_flaky() &&
                              o.is_unreachable() == m.is_unreachable() && (m.id() == v.members.front().id() || o.what() == m.what());
            if (!same) return false;
        }
        return true;
    }

    std::size_t changes = 0, gaps = 0;

private:
    std::map<peer_id, member> m_members;
    std::uint64_t m_number = 0;
    std::size_t m_wrong = 0;
};

/// What ought to be there is there soon.
std::optional<membership_change> next(change_stream& s) {
    const auto one = [](change_stream& from) -> task<std::optional<membership_change>> { co_return co_await from.next(); };
    return sync_wait(timeout(one(s), 30s));
}

task<void> read_to_end(change_stream s, replica& r, std::atomic<std::uint64_t>* is_at) {
    while (std::optional<membership_change> c = co_await s.next()) {
        r.apply(*c);
        if (is_at != nullptr) *is_at = c->number;
    }
}

/// Says to a driver what others might: news of members that nobody has, as one message of a comparison of tables.
class gossip {
public:
    explicit gossip(driver& to) : m_to(to) { begin(); }

    void alive(std::uint64_t id, epoch_t epoch, std::uint32_t incarnation, const std::string& zone = "a") {
        member_info info = info_of(id, static_cast<std::uint16_t>(id));
        info.labels = {{"zone", zone}};
        m_records.push_back(std::make_shared<const mesh::record>(info));
        m_message.claims.push_back({member_state::alive, {id}, epoch, incarnation, {}, m_records.back()->encoded()});
    }
    void suspect(std::uint64_t id, epoch_t epoch, std::uint32_t incarnation, std::uint64_t accuser) {
        m_message.claims.push_back({member_state::suspect, {id}, epoch, incarnation, {accuser}, {}});
    }
    void left(std::uint64_t id, epoch_t epoch) { m_message.claims.push_back({member_state::left, {id}, epoch, 0, {}, {}}); }
    void tell() {
        byte_buffer bytes;
        encode(bytes, m_message);
        m_to.on_stream_message(endpoint::v4(127, 0, 0, 1, 9), bytes);
        begin();
    }

private:
    /// Who speaks is one that only looks: it is no news itself.
    void begin() {
        m_message.header = {cluster_id::from_name("d"), {0xfff0}, 1};
        m_message.step = mesh::exchange_step::close;
        m_records = {std::make_shared<const mesh::record>(info_of(0xfff0, 9, member_role::observer))};
        m_message.claims = {{member_state::alive, {0xfff0}, 1, 0, {}, m_records.front()->encoded()}};
    }

    driver& m_to;
    mesh::exchange m_message;
    std::vector<mesh::record_ptr> m_records;
};

TEST_CASE("changes come in order, with the number of the first view that shows them") {
    cluster c;
    driver& a = c.add(false);
    gossip g(a);
    const std::uint64_t before = a.members()->number;
    change_stream from_now = a.changes();
    g.alive(7, 1, 0);
    g.alive(8, 1, 0);
    g.tell();
    const std::shared_ptr<const mesh::view> view = a.members();
    g.alive(7, 1, 1, "b");
    g.suspect(8, 1, 0, 7);
    g.tell();
    g.alive(8, 1, 3);
    g.left(7, 1);
    g.alive(7, 2, 0);
    g.tell();

    const auto expect = [](change_stream& s, what kind, std::uint64_t id) {
        const std::optional<membership_change> change = next(s);
        REQUIRE(change);
        CHECK(change->kind == kind);
        CHECK(change->subject.id() == peer_id{id});
        CHECK(change->now == nullptr);
        return change->number;
    };
    CHECK(expect(from_now, what::joined, 7) == before + 1);
    CHECK(expect(from_now, what::joined, 8) == before + 2);
    CHECK(view->number == before + 2);
    // Whoever has that view need not hear of what it shows.
    change_stream later = a.changes(view->number);
    for (change_stream* s : {&from_now, &later}) {
        CHECK(expect(*s, what::updated, 7) == view->number + 1);
        CHECK(expect(*s, what::suspected, 8) == view->number + 2);
        CHECK(expect(*s, what::alive_again, 8) == view->number + 3);
        CHECK(expect(*s, what::left, 7) == view->number + 4);
        CHECK(expect(*s, what::rejoined, 7) == view->number + 5);
    }
    CHECK(a.members()->number == view->number + 5);
    CHECK(a.find({7})->label("zone") == "a");

    // From the middle: the numbers tell.
    change_stream middle = a.changes(view->number + 3);
    CHECK(expect(middle, what::left, 7) == view->number + 4);
    CHECK_THROWS_WITH(a.changes(view->number + 6), Catch::Contains("newest is " + std::to_string(view->number + 5)));

    // What is there can still be read after the end, and then there is nothing, as often as one asks.
    a.close();
    CHECK(expect(middle, what::rejoined, 7) == view->number + 5);
    for (change_stream* s : {&middle, &later, &from_now, &later}) CHECK_FALSE(next(*s));
    change_stream after_the_end = a.changes(view->number + 4);
    CHECK(expect(after_the_end, what::rejoined, 7) == view->number + 5);
    CHECK_FALSE(next(after_the_end));
}

TEST_CASE("a stream of changes outlives its driver") {
    change_stream s;
    {
        cluster c;
        driver& a = c.add(false);
        s = a.changes();
        gossip g(a);
        g.alive(7, 1, 0);
        g.tell();
    }
    CHECK(next(s)->kind == what::joined);
    CHECK_FALSE(next(s));
}

TEST_CASE("a reader that waits is woken by a change, by a request to stop, and by the end") {
    cluster c;
    driver& a = c.add(false);
    gossip g(a);
    SECTION("a change") {
        std::thread teller([&g] {
            g.alive(7, 1, 0);
            g.tell();
        });
        change_stream s = a.changes(0);
        CHECK(next(s)->subject.id() == peer_id{7});
        teller.join();
    }
    SECTION("the end") {
        std::thread closer([&a] { a.close(); });
        change_stream s = a.changes();
        CHECK_FALSE(next(s));
        closer.join();
    }
    SECTION("a request to stop") {
        const auto wait = [](driver& d) -> task<bool> {
            change_stream s = d.changes();
            const auto one = [](change_stream& from) -> task<void> { static_cast<void>(co_await from.next()); };
            try {
                co_await timeout(one(s), 5ms);
            } catch (const error& e) {
                co_return e.code() == errc::timed_out;
            }
            co_return false;
        };
        CHECK(sync_wait(wait(a)));
    }
}

TEST_CASE("a reader that is too slow gets one entry that says so, with the view it goes on from") {
    cluster c;
    driver& a = c.add(false);
    gossip g(a);
    const std::uint64_t old = a.members()->number;
    change_stream slow = a.changes();
    replica r;
    r.start_over(*a.members());
    const auto churn = [&](std::size_t times, epoch_t first) {
        for (epoch_t e = first; e < first + times; ++e) {
            g.alive(7, e, 0);
            g.left(7, e);
            g.tell();
        }
        return static_cast<epoch_t>(first + times);
    };
    // As many as are kept: none is missing.
    epoch_t e = churn(mesh::changes_kept / 2, 1);
    for (std::size_t i = 0; i < mesh::changes_kept; ++i) r.apply(*next(slow));
    CHECK(r.changes == mesh::changes_kept);
    CHECK(r.gaps == 0);
    CHECK(r.equals(*a.members()));
    // One more.
    e = churn(mesh::changes_kept / 2, e);
    g.alive(8, 1, 0);
    g.tell();
    const std::optional<membership_change> gap = next(slow);
    REQUIRE(gap);
    CHECK(gap->kind == what::missed);
    CHECK(gap->now == a.members());
    r.apply(*gap);
    CHECK(r.equals(*a.members()));
    e = churn(1, e);
    for (int i = 0; i < 2; ++i) r.apply(*next(slow));
    CHECK(r.changes == mesh::changes_kept + 2);
    CHECK(r.equals(*a.members()));
    CHECK(r.wrong() == 0);
    // Who begins so far back has missed some as well.
    change_stream late = a.changes(old);
    CHECK(next(late)->kind == what::missed);
    change_stream just = a.changes(a.members()->number - mesh::changes_kept);
    CHECK(next(just)->kind == what::left);
}

TEST_CASE("under load a view and the changes behind it miss nothing, and tell nothing twice") {
    cluster c;
    driver& a = c.add(false);
    constexpr unsigned writers = 3, readers = 4, each = 40;
    const int rounds = COVEY_SANITIZED ? 150 : 600;
    // The writers do not run away from the first reader, so that it misses nothing; the others take what comes.
    std::atomic<std::uint64_t> first_is_at{a.members()->number};
    std::vector<std::thread> threads;
    for (unsigned w = 0; w < writers; ++w) {
        threads.emplace_back([&, w] {
            random_source random(w + 1);
            gossip g(a);
            struct one {
                epoch_t epoch = 1;
                std::uint32_t incarnation = 0;
            };
            std::vector<one> mine(each);
            for (int i = 0; i < rounds; ++i) {
                while (a.members()->number > first_is_at + mesh::changes_kept / 2) std::this_thread::yield();
                for (std::uint64_t n = 1 + random.below(8); n > 0; --n) {
                    const std::uint64_t which = random.below(each), id = 100 + w * each + which;
                    one& m = mine[static_cast<std::size_t>(which)];
                    switch (random.below(4)) {
                        case 0: g.alive(id, m.epoch, ++m.incarnation, random.chance(0.5) ? "a" : "b"); break;
                        case 1: g.suspect(id, m.epoch, m.incarnation, 1000 + random.below(1000)); break;
                        case 2: g.left(id, m.epoch); break;
                        default: g.alive(id, ++m.epoch, m.incarnation = 0); break;
                    }
                }
                g.tell();
            }
        });
    }
    const auto read = [&](unsigned which, replica& r) -> task<void> {
        for (;;) {
            const std::shared_ptr<const mesh::view> view = a.members();
            r.start_over(*view);
            if (which == 0) first_is_at = view->number;
            change_stream changes = a.changes(view->number);
            // Half of them stay with the first view they took, half take one again and again.
            if (which % 2 == 0) co_return co_await read_to_end(std::move(changes), r, which == 0 ? &first_is_at : nullptr);
            for (int i = 0; i < 20; ++i) {
                std::optional<membership_change> change = co_await changes.next();
                if (!change) co_return;
                r.apply(*change);
            }
        }
    };
    std::vector<replica> replicas(readers);
    std::vector<std::thread> reading;
    for (unsigned i = 0; i < readers; ++i) reading.emplace_back([&, i] { sync_wait(read(i, replicas[i])); });
    for (std::thread& t : threads) t.join();
    const std::shared_ptr<const mesh::view> end = a.members();
    a.close();
    for (std::thread& t : reading) t.join();
    for (const replica& r : replicas) {
        CHECK(r.wrong() == 0);
        CHECK(r.equals(*end));
    }
    CHECK(replicas[0].gaps == 0);
    CHECK(replicas[0].changes > static_cast<std::size_t>(rounds));
}

}  // namespace covey_test_mesh_changes
