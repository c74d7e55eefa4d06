#pragma once

#include <covey/core/error.hpp>
#include <covey/core/id.hpp>

#include <string>
#include <system_error>

namespace header_only {

const std::error_category* category_seen_by_two();
std::string text_made_by_two(covey::peer_id id);
void throw_from_two();

}  // namespace header_only
