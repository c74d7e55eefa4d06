// What a peer tells of the members, over real sockets: views, changes, what members say of themselves, what others see.
#include <covey/peer.hpp>

#include <call/support.hpp>

#include <map>
#include <string>
#include <thread>

namespace covey_test_peer_changes {

using namespace covey;
using namespace covey_test_call;
using namespace std::chrono_literals;
using what = membership_event::what;

peer_config config_of(const std::string& name, const peer* seed = nullptr) {
    peer_config config;
    config.threads = 1;
    config.name = name;
    if (seed != nullptr) config.join = {to_string(seed->address())};
    return config;
}

/// Reads until such a change of such a member; what came before is left out.
task<membership_change> wait_for(stream<membership_change>& changes, what kind, std::string name) {
    while (std::optional<membership_change> c = co_await changes.next()) {
        if (c->kind == kind && c->subject.name() == name) co_return std::move(*c);
    }
    throw error(errc::shut_down, "the changes have ended");
}

TEST_CASE("a peer tells who comes and who goes, with the number of the view that shows it", "[peer][changes]") {
    peer a(config_of("a"));
    const std::shared_ptr<const mesh::view> alone = a.mesh_view();
    CHECK(alone->members.size() == 1);
    CHECK(alone->find(a.id()) != nullptr);
    stream<membership_change> changes = a.changes(alone->number);
    peer b(config_of("b", &a));
    const membership_change joined = a.run(timeout(wait_for(changes, what::joined, "b"), patience));
    CHECK(joined.subject.id() == b.id());
    CHECK(joined.number > alone->number);
    CHECK(a.mesh_view()->number >= joined.number);
    CHECK(a.mesh_view()->find(b.id()) != nullptr);
    // Two readers from the same view read the same.
    stream<membership_change> again = a.changes(alone->number);
    CHECK(a.run(timeout(wait_for(again, what::joined, "b"), patience)).number == joined.number);

    peer c(config_of("c", &b));
    a.run(timeout(wait_for(changes, what::joined, "c"), patience));
    b.leave();
    const membership_change left = a.run(timeout(wait_for(changes, what::left, "b"), patience));
    CHECK(left.subject.id() == b.id());
    c.close();
    a.run(timeout(wait_for(changes, what::dead, "c"), patience));
    CHECK(a.mesh_view()->members.size() == 1);
}

TEST_CASE("the changes end with the peer, and a coroutine of it is stopped", "[peer][changes]") {
    peer a(config_of("a"));
    stream<membership_change> changes = a.changes();
    stream<membership_change> inside = a.changes();
    bool ended = false;
    std::thread reader([&] {
        const auto read = [](stream<membership_change>& from) -> task<bool> {
            while (co_await from.next()) {}
            co_return true;
        };
        ended = sync_wait(a.env(), read(changes));
    });
    outcome stopped_inside;
    std::thread other([&] {
        const auto read = [](stream<membership_change>& from) -> task<void> { static_cast<void>(co_await from.next()); };
        stopped_inside = outcome_of(a, read(inside));
    });
    a.leave();
    reader.join();
    other.join();
    CHECK(ended);
    CHECK(stopped_inside.stopped);
}

TEST_CASE("labels and resources are told to others, who see them in their views", "[peer][labels]") {
    peer_config config = config_of("a");
    config.labels = {{"zone", "eu-1"}, {"rack", "7"}};
    config.resources = {{"licences", 3}};
    config.gpus = 2;
    config.memory_mib = 4096;
    peer a(config);
    peer b(config_of("b", &a));
    b.run(b.wait_for_members(2, patience));
    const std::optional<member> seen = b.find(a.id());
    REQUIRE(seen);
    CHECK(seen->label("zone") == "eu-1");
    CHECK(seen->label("rack") == "7");
    CHECK_FALSE(seen->label("row"));
    CHECK(seen->resource("licences") == 3);
    CHECK(seen->gpus() == 2);
    CHECK(seen->memory_mib() == 4096);
    CHECK(a.members().front().label("zone") == "eu-1");
    CHECK(b.members().front().labels().empty());
}

TEST_CASE("what others cannot be told is refused, with how much it is too much", "[peer][labels]") {
    const auto refusal = [](const peer_config& config) -> std::string {
        try {
            const peer p(config);
        } catch (const error& e) {
            CHECK(e.code() == errc::bad_argument);
            return e.what();
        }
        return "taken";
    };
    peer_config config = config_of(std::string(64, 'n'));
    for (int i = 0; i < 4; ++i) config.labels.emplace_back("label-" + std::to_string(i), std::string(64, 'v'));
    CHECK(refusal(config) == "taken");
    for (int i = 4; i < 7; ++i) config.labels.emplace_back("label-" + std::to_string(i), std::string(64, 'v'));
    // 69 for the rest, 64 for the name, 7 times 73: 644.
    CHECK_THAT(refusal(config), Catch::Contains("644 of the 512 bytes") && Catch::Contains("shorten them by 132"));
    config.labels = {{"a", "1"}, {"a", "2"}};
    CHECK_THAT(refusal(config), Catch::Contains("two labels"));
    config.labels = {{"a", "line\nbreak"}};
    CHECK_THAT(refusal(config), Catch::Contains("not printable"));
    config.labels.clear();
    config.resources = {{"", 1}};
    CHECK_THAT(refusal(config), Catch::Contains("a resource without a name"));
}

TEST_CASE("a peer tells another what it sees", "[peer][view]") {
    peer_config config = config_of("a");
    config.labels = {{"zone", "eu-1"}};
    peer a(config);
    peer b(config_of("b", &a));
    for (peer* p : {&a, &b}) p->run(p->wait_for_members(2, patience));
    peer_config looking = config_of("looker", &a);
    looking.role = member_role::observer;
    peer o(looking);
    const mesh::view seen = o.run(o.view_at(b.address()));
    REQUIRE(seen.members.size() == 2);
    CHECK(seen.members.front().id() == b.id());
    REQUIRE(seen.find(a.id()) != nullptr);
    CHECK(seen.find(a.id())->label("zone") == "eu-1");
    CHECK(seen.number == b.mesh_view()->number);
    CHECK(seen.digest == a.mesh_view()->digest);
    CHECK_FALSE(seen.is_split_suspected);
    CHECK(b.run(b.view_at(b.address())).members.size() == 2);
    // The looker is nobody's member, and can be asked all the same.
    CHECK(a.run(a.view_at(o.address())).members.size() == 3);

    const endpoint nobody = b.address();
    b.close();
    const auto ask = [](peer& self, endpoint of) -> task<void> { static_cast<void>(co_await self.view_at(of)); };
    CHECK(outcome_of(o, ask(o, nobody)).code == errc::unreachable);
}

}  // namespace covey_test_peer_changes
