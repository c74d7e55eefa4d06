#include <support/skip.hpp>

#include <catch2/catch.hpp>

#include <iostream>

namespace covey_test {

namespace {
int g_skipped = 0;
}

void skip(const std::string& why) {
    ++g_skipped;
    std::cout << "SKIPPED: " << Catch::getResultCapture().getCurrentTestName() << ": " << why << std::endl;
    SUCCEED("skipped: " << why);
}

int skipped() { return g_skipped; }

}  // namespace covey_test
