#pragma once

#include <covey/core/detail/concat.hpp>
#include <covey/wire/codec.hpp>
#include <covey/wire/demangle.hpp>

#include <new>
#include <string>

namespace covey::wire::detail {

/// The message of an error of ours without the code's own words in front, for they will be put there again.
inline std::string bare_message(const error& e) {
    const std::string what = e.what();
    const std::string prefix = covey::detail::concat({e.code().message(), ": "});
    return what.starts_with(prefix) ? what.substr(prefix.size()) : what;
}

COVEY_INLINE void rethrow_for_value(errc code, std::size_t index, std::size_t count, const char* mangled_type) {
    std::string who = count == 1 ? std::string("value") : covey::detail::concat({"value ", index, " of ", count});
    who += covey::detail::concat({" (", covey::detail::demangle(mangled_type), "): "});
    try {
        throw;
    } catch (const std::bad_alloc&) {
        throw;
    } catch (const error& e) {
        throw error(code, who + bare_message(e));
    } catch (const std::exception& e) {
        throw error(code, who + e.what());
    }
}

COVEY_INLINE void throw_left_over(std::size_t bytes) {
    throw error(errc::bad_message, covey::detail::concat({bytes, " bytes too many after the last value"}));
}

}  // namespace covey::wire::detail
