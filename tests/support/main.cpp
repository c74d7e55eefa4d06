// The main function of every test program.
#define CATCH_CONFIG_RUNNER
#include <catch2/catch.hpp>

#include <support/skip.hpp>

#include <cstddef>

namespace {

std::size_t g_cases_run = 0;

#if defined(CATCH_VERSION_MAJOR) && CATCH_VERSION_MAJOR >= 3
struct case_counter : Catch::EventListenerBase {
    using EventListenerBase::EventListenerBase;
    void testCaseStarting(const Catch::TestCaseInfo&) override { ++g_cases_run; }
};
#else
struct case_counter : Catch::TestEventListenerBase {
    using TestEventListenerBase::TestEventListenerBase;
    void testCaseStarting(const Catch::TestCaseInfo&) override { ++g_cases_run; }
};
#endif
CATCH_REGISTER_LISTENER(case_counter)

constexpr int skip_exit_code = 77;  // as SKIP_RETURN_CODE in tests/CMakeLists.txt

}  // namespace

int main(int argc, char** argv) {
    const int failed = Catch::Session().run(argc, argv);
    if (failed != 0) return failed;
    const bool all_skipped = g_cases_run != 0 && static_cast<std::size_t>(covey_test::skipped()) == g_cases_run;
    return all_skipped ? skip_exit_code : 0;
}
