// expect: covey: a raw pointer means nothing to another peer
#include <covey/wire/codec.hpp>

void send(covey::byte_buffer& out, const int* p) { covey::wire::encode(out, p); }
