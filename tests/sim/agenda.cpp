#include <covey/core/random.hpp>
#include <covey/sim/agenda.hpp>

#include <catch2/catch.hpp>

#include <map>

namespace sim = covey::sim;
using namespace std::chrono_literals;

TEST_CASE("an agenda keeps what it is given", "[sim]") {
    sim::agenda agenda;
    CHECK(agenda.empty());
    CHECK(agenda.next_time() == covey::never);
    agenda.add({covey::time_point{} + 3s, 127, true, 4'000'000'000u, 4'100'000'000u});
    const sim::agenda::entry e = agenda.take();
    CHECK(e.when == covey::time_point{} + 3s);
    CHECK(e.kind == 127);
    CHECK(e.put_off);
    CHECK(e.host == 4'000'000'000u);
    CHECK(e.payload == 4'100'000'000u);
    CHECK(agenda.empty());
}

TEST_CASE("an agenda agrees with an ordered map, in the order of adding at equal times", "[sim]") {
    covey::random_source random(11);
    sim::agenda agenda;
    std::map<std::pair<covey::time_point, std::uint32_t>, std::uint8_t> model;
    for (std::uint32_t i = 0; i < 50'000; ++i) {
        if (random.chance(0.55)) {
            const covey::time_point when = covey::time_point{} + std::chrono::milliseconds(random.below(300));
            const auto kind = static_cast<std::uint8_t>(random.below(128));
            agenda.add({when, kind, random.chance(0.5), 0, i});
            model[{when, i}] = kind;
        } else if (!model.empty()) {
            REQUIRE(agenda.next_time() == model.begin()->first.first);
            const sim::agenda::entry e = agenda.take();
            REQUIRE(e.payload == model.begin()->first.second);
            REQUIRE(e.kind == model.begin()->second);
            model.erase(model.begin());
        }
        REQUIRE(agenda.size() == model.size());
    }
    CHECK(model.size() > 1000);
    for (; !model.empty(); model.erase(model.begin())) REQUIRE(agenda.take().payload == model.begin()->first.second);
}
