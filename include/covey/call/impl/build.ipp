#pragma once

#include <covey/call/build.hpp>
#include <covey/core/hash.hpp>
#include <covey/core/id.hpp>

#include <elf.h>
#include <link.h>

#include <cstdio>
#include <cstring>

namespace covey {

namespace detail {

/// The first object of the list is the program itself.
inline int read_build_id(dl_phdr_info* info, std::size_t, void* result) {
    static constexpr char digits[] = "0123456789abcdef";
    auto& text = *static_cast<std::string*>(result);
    for (int i = 0; i < info->dlpi_phnum; ++i) {
        const auto& header = info->dlpi_phdr[i];
        if (header.p_type != PT_NOTE) continue;
        const char* at = reinterpret_cast<const char*>(info->dlpi_addr + header.p_vaddr);
        const char* const end = at + header.p_memsz;
        while (at + sizeof(ElfW(Nhdr)) <= end) {
            ElfW(Nhdr) note;
            std::memcpy(&note, at, sizeof note);
            const char* const name = at + sizeof note;
            const char* const description = name + ((note.n_namesz + 3u) & ~3u);
            if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4 && std::memcmp(name, "GNU", 4) == 0) {
                for (std::size_t b = 0; b < note.n_descsz && b < 32; ++b) {
                    const auto byte = static_cast<unsigned char>(description[b]);
                    text += digits[byte >> 4];
                    text += digits[byte & 15];
                }
                return 1;
            }
            at = description + ((note.n_descsz + 3u) & ~3u);
        }
    }
    return 1;
}

inline std::string hash_program_file() {
    std::uint64_t hash = fnv1a("");
    if (std::FILE* file = std::fopen("/proc/self/exe", "rb")) {
        char block[4096];
        while (const std::size_t n = std::fread(block, 1, sizeof block, file)) hash = fnv1a({block, n}, hash);
        std::fclose(file);
    }
    return to_string(peer_id{mix64(hash)});
}

}  // namespace detail

COVEY_INLINE const std::string& build_id() {
    static const std::string id = [] {
        std::string text;
        dl_iterate_phdr(&detail::read_build_id, &text);
        return text.empty() ? detail::hash_program_file() : text;
    }();
    return id;
}

}  // namespace covey
