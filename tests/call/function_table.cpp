#include <covey/call/function_table.hpp>

#include <covey/call/detail/served.hpp>
#include <covey/core/hash.hpp>

#include <catch2/catch.hpp>

#include <csignal>
#include <cstring>
#include <string>
#include <vector>

#include <sys/wait.h>
#include <unistd.h>

namespace covey_test_table {

using namespace covey;

task<void> refuse_first(served_call&) {
    throw error(errc::bad_argument, "first");
    co_return;
}
task<void> refuse_second(served_call&) {
    throw error(errc::bad_argument, "second");
    co_return;
}
void some_function() {}

// As two files do that each have a function of that name for themselves.
const function_entry twin_one{"covey test: twin", 1, 0, true, nullptr, &refuse_first};
const function_entry twin_two{"covey test: twin", 1, 0, true, nullptr, &refuse_second};
const function_entry single{"covey test: single", 2, 0, true, &some_function, &refuse_first};
const function_entry lambda_like{"covey test: lambda", 3, 8, false, nullptr, &refuse_first};
const function_registration register_all[] = {function_registration(twin_one), function_registration(single),
                                              function_registration(twin_two), function_registration(lambda_like)};
const function_entry late{"covey test: late", 1, 0, true, nullptr, &refuse_first};

TEST_CASE("the frozen table is sorted, dense and found by index, name and address", "[call][function_table]") {
    function_table& table = function_table::instance();
    CHECK(table.by_address(&some_function) == &single);
    table.freeze();
    REQUIRE(table.size() >= 4);
    const function_entry* before = nullptr;
    for (std::uint32_t i = 0; i < table.size(); ++i) {
        const function_entry* const e = table.at(i);
        REQUIRE(e != nullptr);
        CHECK(e->index == i);
        if (before != nullptr) CHECK(std::strcmp(before->name, e->name) <= 0);
        before = e;
    }
    CHECK(table.at(static_cast<std::uint32_t>(table.size())) == nullptr);
    CHECK(table.at(UINT32_MAX) == nullptr);

    CHECK(table.by_name(fnv1a("covey test: single")) == &single);
    CHECK(table.by_name(fnv1a("covey test: no such")) == nullptr);
    CHECK(table.by_name(0) == nullptr);
    CHECK(table.by_name(UINT64_MAX) == nullptr);
    CHECK(table.by_name(fnv1a("covey test: lambda")) == nullptr);  // no name that another build shares
    CHECK(table.by_name(fnv1a("covey test: twin")) == nullptr);    // which of the two?
    CHECK(twin_one.index != twin_two.index);
    CHECK(table.by_address(&some_function) == &single);
    CHECK(table.by_address(reinterpret_cast<void (*)()>(&refuse_first)) == nullptr);
}

TEST_CASE("freezing again changes nothing", "[call][function_table]") {
    function_table& table = function_table::instance();
    table.freeze();
    const std::uint64_t digest = table.digest();
    const std::uint32_t index = single.index;
    table.freeze();
    CHECK(table.digest() == digest);
    CHECK(digest != 0);
    CHECK(single.index == index);
}

TEST_CASE("names are made readable", "[call][function_table]") { CHECK(single.readable_name() == "covey test: single"); }

TEST_CASE("registering after the freeze ends the program with a message", "[call][function_table]") {
    function_table::instance().freeze();
    int pipe_ends[2];
    REQUIRE(::pipe(pipe_ends) == 0);
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        ::dup2(pipe_ends[1], 2);
        ::close(pipe_ends[0]);
        ::close(pipe_ends[1]);
        std::signal(SIGABRT, SIG_DFL);
        function_table::instance().add(late);
        ::_exit(0);
    }
    ::close(pipe_ends[1]);
    std::string text;
    char block[512];
    for (ssize_t n; (n = ::read(pipe_ends[0], block, sizeof block)) > 0;) text.append(block, static_cast<std::size_t>(n));
    ::close(pipe_ends[0]);
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    CHECK_FALSE((WIFEXITED(status) && WEXITSTATUS(status) == 0));
    CHECK_THAT(text, Catch::Contains("covey test: late") && Catch::Contains("load the library"));
}

}  // namespace covey_test_table
