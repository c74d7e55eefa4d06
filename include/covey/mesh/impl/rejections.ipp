#pragma once

#include <covey/core/detail/concat.hpp>
#include <covey/mesh/rejections.hpp>

namespace covey::mesh {

COVEY_INLINE std::string to_string(const rejection_counts& counts) {
    std::string text;
    const auto add = [&text](std::uint64_t n, std::string_view reason) {
        if (n != 0) text += covey::detail::concat({(text.empty() ? "" : "; "), n, " ", reason});
    };
    for (std::size_t i = 0; i < counts.seal.size(); ++i) add(counts.seal[i], net::to_string(static_cast<net::seal_rejection>(i)));
    for (std::size_t i = 0; i < counts.protocol.size(); ++i) add(counts.protocol[i], to_string(static_cast<rejection>(i)));
    return text.empty() ? "none" : text;
}

}  // namespace covey::mesh
