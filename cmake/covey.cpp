#include <covey/impl/src.hpp>
