#include <covey/core/random.hpp>
#include <covey/sim/event_queue.hpp>

#include <catch2/catch.hpp>

#include <map>

namespace sim = covey::sim;
using namespace std::chrono_literals;

namespace {

covey::time_point at(covey::duration d) { return covey::time_point{} + d; }

sim::event numbered(std::size_t n) {
    sim::event e;
    e.kind = sim::event_kind::datagram;
    e.host = static_cast<sim::host_index>(n);
    return e;
}

}  // namespace

TEST_CASE("events come by time, and in the order of adding at equal times", "[sim]") {
    sim::event_queue queue;
    CHECK(queue.next_time() == covey::never);
    queue.add(at(2s), numbered(2));
    queue.add(at(1s), numbered(0));
    queue.add(at(1s), numbered(1));
    queue.add(at(3s), numbered(3));
    for (sim::host_index i = 0; i < 4; ++i) CHECK(queue.take().host == i);
    CHECK(queue.empty());
}

TEST_CASE("a cancelled event does not come, a second cancel finds nothing", "[sim]") {
    sim::event_queue queue;
    queue.add(at(1s), numbered(1));
    const auto gone = queue.add(at(2s), numbered(2));
    queue.add(at(3s), numbered(3));
    CHECK(queue.cancel(gone));
    CHECK_FALSE(queue.cancel(gone));
    CHECK_FALSE(queue.cancel({}));
    const auto reused = queue.add(at(4s), numbered(4));
    CHECK(reused.index == gone.index);
    CHECK_FALSE(queue.cancel(gone));  // its place belongs to another event now
    CHECK(queue.take().host == 1);
    CHECK(queue.take().host == 3);
    CHECK(queue.take().host == 4);
    CHECK_FALSE(queue.cancel(reused));
}

TEST_CASE("an event that is put off goes behind what waits there and can still be cancelled", "[sim]") {
    sim::event_queue queue;
    const auto moved = queue.add(at(1s), numbered(1));
    queue.add(at(2s), numbered(2));
    queue.put_off(at(2s));
    CHECK(queue.take().host == 2);
    CHECK(queue.next().put_off);
    CHECK(queue.cancel(moved));
    CHECK(queue.empty());
}

TEST_CASE("random adding, cancelling and taking agrees with an ordered map", "[sim]") {
    covey::random_source random(7);
    sim::event_queue queue;
    std::map<std::pair<covey::time_point, std::uint64_t>, std::pair<sim::host_index, sim::event_queue::ticket>> model;
    std::size_t taken = 0;
    for (std::size_t i = 0; i < 20000; ++i) {
        const std::uint64_t what = random.below(10);
        if (what < 5) {
            const covey::time_point when = at(std::chrono::milliseconds(random.below(200)));
            const auto ticket = queue.add(when, numbered(i));
            model[{when, ticket.order}] = {static_cast<sim::host_index>(i), ticket};
        } else if (what < 7 && !model.empty()) {
            auto it = model.begin();
            std::advance(it, static_cast<std::ptrdiff_t>(random.below(std::min<std::size_t>(model.size(), 50))));
            REQUIRE(queue.cancel(it->second.second));
            model.erase(it);
        } else if (!model.empty()) {
            REQUIRE(queue.next_time() == model.begin()->first.first);
            REQUIRE(queue.take().host == model.begin()->second.first);
            model.erase(model.begin());
            ++taken;
        }
        REQUIRE(queue.size() == model.size());
    }
    CHECK(taken > 3000);
    const auto even = queue.take_if([](const sim::event& e) { return e.host % 2 == 0; });
    std::erase_if(model, [](const auto& entry) { return entry.second.first % 2 == 0; });
    CHECK_FALSE(even.empty());
    for (; !model.empty(); model.erase(model.begin())) REQUIRE(queue.take().host == model.begin()->second.first);
    CHECK(queue.empty());
}
