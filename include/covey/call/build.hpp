// Which program this is.
#pragma once

#include <covey/core/config.hpp>

#include <string>

namespace covey {

/// The build id that the linker put into the running program (the NT_GNU_BUILD_ID note), in hex: equal for the same file,
/// different for any other. Without one, a hash of the program file. Computed once.
const std::string& build_id();

}  // namespace covey

#ifndef COVEY_COMPILED
#include <covey/call/impl/build.ipp>
#endif
