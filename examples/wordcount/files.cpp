#include "files.hpp"

#include <algorithm>
#include <filesystem>
#include <stdexcept>
#include <system_error>

namespace wordcount {

namespace fs = std::filesystem;

namespace {

/// Adds the files of one directory, and its directories to those still to be read.
void list_one(const fs::path& directory, listing& into, std::vector<fs::path>& to_read) {
    std::error_code error;
    for (fs::directory_iterator entry(directory, error), end; !error && entry != end; entry.increment(error)) {
        std::error_code why;
        const fs::file_status status = entry->symlink_status(why);
        if (status.type() == fs::file_type::directory) {
            to_read.push_back(entry->path());
        } else if (status.type() == fs::file_type::regular) {
            const std::uintmax_t bytes = entry->file_size(why);
            into.files.push_back({entry->path().string(), why ? 0 : bytes});
            into.bytes += into.files.back().bytes;
        } else if (why) {
            into.problems.push_back(entry->path().string() + ": " + why.message());
        }
    }
    if (error) into.problems.push_back(directory.string() + ": " + error.message());
}

}  // namespace

listing list_files(const std::string& directory) {
    std::error_code error;
    const fs::path top = fs::absolute(directory, error).lexically_normal();
    const fs::file_status status = fs::status(top, error);
    if (status.type() == fs::file_type::not_found) throw std::runtime_error(directory + ": no such directory");
    if (status.type() == fs::file_type::none) throw std::runtime_error(directory + ": " + error.message());
    if (status.type() != fs::file_type::directory) throw std::runtime_error(directory + ": not a directory");
    fs::directory_iterator probe(top, error);
    if (error) throw std::runtime_error(directory + ": " + error.message());

    listing all;
    std::vector<fs::path> to_read{top};
    while (!to_read.empty()) {
        const fs::path next = std::move(to_read.back());
        to_read.pop_back();
        list_one(next, all, to_read);
    }
    std::sort(all.files.begin(), all.files.end(), [](const file& a, const file& b) { return a.path < b.path; });
    std::sort(all.problems.begin(), all.problems.end());
    return all;
}

std::vector<batch> make_batches(const listing& all, std::size_t workers) {
    constexpr std::uint64_t smallest = std::uint64_t{64} << 10;
    constexpr std::uint64_t largest = std::uint64_t{1} << 20;
    constexpr std::uint64_t opening = 4096;  // what a file costs besides its bytes
    const std::uint64_t each = std::clamp(all.bytes / (16 * std::max<std::uint64_t>(workers, 1)), smallest, largest);
    std::vector<batch> batches;
    std::uint64_t filled = each;
    for (const file& f : all.files) {
        if (filled >= each) {
            batches.emplace_back();
            filled = 0;
        }
        batches.back().paths.push_back(f.path);
        filled += f.bytes + opening;
    }
    return batches;
}

}  // namespace wordcount
