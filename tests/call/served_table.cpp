#include <covey/call/detail/served_table.hpp>

#include <catch2/catch.hpp>

#include <algorithm>
#include <memory>
#include <thread>
#include <vector>

namespace covey_test_served_table {

using namespace covey;
using covey::detail::served_table;

namespace {

/// The table never looks into a call, so any address will do.
struct calls {
    explicit calls(std::size_t n) : bytes(std::make_unique<int[]>(n)) {}
    served_call& operator[](std::size_t i) { return reinterpret_cast<served_call&>(bytes[i]); }
    std::unique_ptr<int[]> bytes;
};

}  // namespace

TEST_CASE("calls are found by slot and generation as long as they are there", "[call][served_table]") {
    served_table table;
    calls some(3);
    CHECK(table.take(7, 1) == nullptr);  // before there are any places
    REQUIRE(table.is_free(7));
    table.enter(7, 1, some[0]);
    CHECK_FALSE(table.is_free(7));
    CHECK(table.is_free(8));
    CHECK(table.take(7, 2) == nullptr);
    CHECK(table.take(8, 1) == nullptr);
    CHECK(table.leave(7));
    CHECK(table.is_free(7));
    CHECK(table.take(7, 1) == nullptr);

    // Who is taken out keeps the slot until it leaves, and is taken once.
    table.enter(7, 2, some[1]);
    CHECK(table.take(7, 2) == &some[1]);
    CHECK(table.take(7, 2) == nullptr);
    CHECK_FALSE(table.is_free(7));
    CHECK_FALSE(table.leave(7));
    CHECK(table.is_free(7));
}

TEST_CASE("the table grows to its last slot and calls stay where they are", "[call][served_table]") {
    served_table table;
    const std::vector<std::uint32_t> slots{0, 31, 32, 95, 96, 223, 224, 1023, 1024, 65535, served_table::slots_max - 1};
    calls all(slots.size());
    for (std::size_t i = 0; i < slots.size(); ++i) {
        REQUIRE(table.is_free(slots[i]));
        table.enter(slots[i], static_cast<std::uint32_t>(i + 1), all[i]);
    }
    CHECK(table.take(served_table::slots_max, 1) == nullptr);
    CHECK(table.take(UINT32_MAX, 1) == nullptr);
    CHECK(table.take(slots[5], 6) == &all[5]);
    std::vector<const served_call*> rest;
    table.take_all([&rest](served_call& c) { rest.push_back(&c); });
    REQUIRE(rest.size() == slots.size() - 1);
    for (std::size_t i = 0; i < slots.size(); ++i) {
        CHECK(std::count(rest.begin(), rest.end(), &all[i]) == (i == 5 ? 0 : 1));
        CHECK_FALSE(table.leave(slots[i]));
    }
}

TEST_CASE("of leaving and being taken, from three threads, one is first", "[call][served_table]") {
    constexpr std::uint32_t rounds = 20'000;
    served_table table;
    calls all(rounds);
    std::atomic<std::uint32_t> entered{0};
    std::atomic<std::uint32_t> left{0};
    std::atomic<std::uint32_t> left_alone{0};
    std::atomic<std::uint32_t> taken_by_others{0};
    std::uint32_t taken_here = 0;
    std::thread leaving([&] {
        for (std::uint32_t i = 0; i < rounds; ++i) {
            while (entered.load() == i) std::this_thread::yield();
            if (table.leave(3)) ++left_alone;
            left.store(i + 1);
        }
    });
    std::thread closing([&] {
        while (left.load() < rounds) table.take_all([&](served_call&) { ++taken_by_others; });
    });
    for (std::uint32_t i = 0; i < rounds; ++i) {
        while (!table.is_free(3) || left.load() != i) std::this_thread::yield();
        table.enter(3, i, all[i]);
        entered.store(i + 1);
        if (served_call* const c = table.take(3, i)) {
            CHECK(c == &all[i]);
            ++taken_here;
        }
    }
    leaving.join();
    closing.join();
    CHECK(left_alone + taken_by_others + taken_here == rounds);
}

}  // namespace covey_test_served_table
