// Skipping a test case, and saying so: Catch2 2 has no such thing.
#pragma once

#include <string>

namespace covey_test {

/// Says that the running test case cannot be made here and why, as a line "SKIPPED: <test case>: <why>". Call it, then
/// return from the test case. A program whose every test case was skipped exits with 77, which CTest counts as skipped.
void skip(const std::string& why);

/// How many test cases were skipped so far.
int skipped();

}  // namespace covey_test
