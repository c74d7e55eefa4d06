// Names of types for people.
#pragma once

#include <covey/core/config.hpp>

#include <string>

namespace covey::detail {

/// "std::vector<int>" for what `typeid(x).name()` gives. Shortened where the standard library's own spelling hides the
/// point: std::string, default allocators. The name as it was when it is no mangled name.
std::string demangle(const char* name);

}  // namespace covey::detail

#ifndef COVEY_COMPILED
#include <covey/wire/impl/demangle.ipp>
#endif
