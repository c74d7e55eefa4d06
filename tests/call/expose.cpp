#include <covey/call/expose.hpp>

#include <covey/peer.hpp>

#include <catch2/catch.hpp>

#include <string>
#include <type_traits>
#include <vector>

namespace covey_test_expose {

using namespace covey;

int plain(int, const std::string&);
int plain(int a, const std::string& b) { return a + static_cast<int>(b.size()); }
int other_schema(int a, int b) { return a + b; }
task<void> coroutine(context&, std::vector<int>);
task<void> coroutine(context&, std::vector<int>) { co_return; }
int only_called(int n) noexcept { return n; }
int neither(int n) { return n; }

}  // namespace covey_test_expose

template struct covey::expose<covey_test_expose::plain>;
template struct covey::expose<covey_test_expose::other_schema>;
template struct covey::expose<covey_test_expose::coroutine>;

namespace covey_test_expose {

template <class F>
void (*address(F* f))() {
    return reinterpret_cast<void (*)()>(f);
}

/// Never run: that it is compiled puts the function and the lambda into the table.
[[maybe_unused]] task<int> mentions_them() {
    co_return co_await remote(fn<only_called>, 1) + co_await remote([](int n, char) { return n; }, 1, 'c');
}
const auto keep_alive = &mentions_them;

TEST_CASE("exposed functions are in the table before anybody asks", "[call][expose]") {
    function_table& table = function_table::instance();
    const function_entry* const e = table.by_address(address(&plain));
    REQUIRE(e == &expose<plain>::entry);
    CHECK(e->named);
    CHECK(e->closure_bytes == 0);
    CHECK(e->readable_name() == "covey_test_expose::plain");
    CHECK(table.by_address(address(&coroutine)) == &expose<coroutine>::entry);
    CHECK(table.by_address(address(&neither)) == nullptr);
    CHECK(keep_alive != nullptr);
    CHECK(table.by_address(address(&only_called)) != nullptr);

    table.freeze();
    CHECK(table.at(e->index) == e);
    CHECK(table.by_name(fnv1a(e->name)) == e);
    bool lambda_found = false;
    for (std::uint32_t i = 0; i < table.size(); ++i) {
        lambda_found = lambda_found || (!table.at(i)->named && std::string(table.at(i)->name).find("mentions_them") != std::string::npos);
    }
    CHECK(lambda_found);
}

TEST_CASE("schemas tell signatures, not references or const", "[call][expose]") {
    CHECK(expose<plain>::entry.schema == wire::signature_schema<int, int, std::string>());
    CHECK(expose<other_schema>::entry.schema == wire::signature_schema<int, int, int>());
    CHECK(expose<plain>::entry.schema != expose<other_schema>::entry.schema);
    // The context is no parameter that travels, and what a coroutine gives is what counts.
    CHECK(expose<coroutine>::entry.schema == wire::signature_schema<void, std::vector<int>>());
}

TEST_CASE("signatures are taken apart", "[call][expose]") {
    using s = expose<plain>::signature;
    static_assert(std::is_same_v<s::result, int> && s::arity == 2 && !s::takes_context && !s::is_coroutine);
    static_assert(std::is_same_v<s::values, std::tuple<int, std::string>>);
    static_assert(s::accepts<int, const char*> && s::accepts<char, std::string> && !s::accepts<int> && !s::accepts<std::string, int>);
    using c = expose<coroutine>::signature;
    static_assert(std::is_void_v<c::result> && c::arity == 1 && c::takes_context && c::is_coroutine);
    static_assert(std::is_same_v<remote_result<decltype(fn<only_called>), int>, int>);
    int factor = 3;
    const auto lambda = [factor](long n) { return n * factor; };
    static_assert(std::is_same_v<remote_result<decltype(lambda), int>, long>);
    CHECK(lambda(2) == 6);
}

}  // namespace covey_test_expose
