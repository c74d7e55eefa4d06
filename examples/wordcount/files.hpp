// The files to count.
#pragma once

#include "count.hpp"

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace wordcount {

struct file {
    std::string path;
    std::uint64_t bytes = 0;
};

struct listing {
    std::vector<file> files;  ///< in the order of their paths
    std::uint64_t bytes = 0;
    std::vector<std::string> problems;  ///< "path: why" for each directory that could not be read
};

/// All regular files under `directory`, with absolute paths. Symbolic links inside it are not followed. Throws
/// std::runtime_error, with a line for a person, when it is no directory that can be read.
listing list_files(const std::string& directory);

/// Packs the files into batches of about the same number of bytes: small enough that `workers` threads get several each.
std::vector<batch> make_batches(const listing& all, std::size_t workers);

}  // namespace wordcount
