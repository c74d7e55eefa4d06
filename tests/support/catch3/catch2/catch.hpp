// Catch2 3 under the names that its version 2 had. Only on the include path when version 3 was found.
#pragma once

#include <catch2/catch_all.hpp>

#include <string>

using Catch::Approx;

namespace Catch {
namespace Matchers {

// Contains is for ranges now; with text, version 2 looked for a part of the text.
inline StringContainsMatcher Contains(const char* part) { return ContainsSubstring(part); }
inline StringContainsMatcher Contains(const std::string& part) { return ContainsSubstring(part); }
inline StringContainsMatcher Contains(std::string& part) { return ContainsSubstring(part); }
inline StringContainsMatcher Contains(std::string&& part) { return ContainsSubstring(part); }

}  // namespace Matchers

using namespace Matchers;

}  // namespace Catch
