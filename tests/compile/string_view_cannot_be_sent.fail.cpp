// expect: covey: a string_view does not own its characters: use std::string
#include <covey/wire/codec.hpp>

#include <string_view>

void send(covey::byte_buffer& out, std::string_view text) { covey::wire::encode(out, text); }
