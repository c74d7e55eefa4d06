#pragma once

#include <covey/wire/demangle.hpp>

#include <cxxabi.h>

#include <cstdlib>
#include <string_view>

namespace covey::detail {

inline void replace_all(std::string& text, std::string_view from, std::string_view to) {
    for (std::size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size()) text.replace(at, from.size(), to);
}

/// Removes ", std::allocator<...>" with whatever nests inside its brackets, and the space before a closing one.
inline void drop_allocators(std::string& text) {
    static constexpr std::string_view start = ", std::allocator<";
    for (std::size_t at = 0; (at = text.find(start, at)) != std::string::npos;) {
        std::size_t end = at + start.size();
        for (int open = 1; open != 0 && end < text.size(); ++end) open += text[end] == '<' ? 1 : text[end] == '>' ? -1 : 0;
        if (end < text.size() && text[end] == ' ') ++end;
        text.erase(at, end - at);
    }
}

COVEY_INLINE std::string demangle(const char* name) {
    int status = 0;
    char* plain = abi::__cxa_demangle(name, nullptr, nullptr, &status);
    std::string text(status == 0 && plain != nullptr ? plain : name);
    std::free(plain);
    replace_all(text, "std::__cxx11::", "std::");
    replace_all(text, "std::basic_string<char, std::char_traits<char>, std::allocator<char> >", "std::string");
    drop_allocators(text);
    return text;
}

}  // namespace covey::detail
