// expect: covey: a parameter is a non-const reference: what the function writes there would stay on the other peer
#include <covey/call/expose.hpp>

void fill(int& out) { out = 1; }

template struct covey::expose<fill>;
