#include "all_headers.hpp"

#include <support/header_only/two.hpp>

namespace header_only {

const std::error_category* category_seen_by_two() { return &covey::category(); }
std::string text_made_by_two(covey::peer_id id) { return to_string(id); }
void throw_from_two() { throw covey::error(covey::errc::bad_argument, "thrown on purpose"); }

}  // namespace header_only
