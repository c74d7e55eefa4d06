#include "count.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string_view>
#include <utility>

#include <fcntl.h>
#include <unistd.h>

namespace wordcount {

namespace {

struct text_hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const noexcept { return std::hash<std::string_view>{}(text); }
};
using counts = std::unordered_map<std::string, std::uint64_t, text_hash, std::equal_to<>>;

/// For each byte the lower-case letter that it stands for, or 0.
constexpr std::array<char, 256> letters = [] {
    std::array<char, 256> table{};
    for (int c = 'a'; c <= 'z'; ++c) {
        table[static_cast<std::size_t>(c)] = static_cast<char>(c);
        table[static_cast<std::size_t>(c - 'a' + 'A')] = static_cast<char>(c);
    }
    return table;
}();

/// Cuts bytes that come in pieces into words.
class tokenizer {
public:
    explicit tokenizer(counts& into) : m_counts(into) {}

    void feed(std::string_view bytes) {
        for (const char c : bytes) {
            const char letter = letters[static_cast<unsigned char>(c)];
            if (letter == 0) {
                finish();
            } else if (m_word.size() < word_bytes_max) {
                m_word.push_back(letter);
            }
        }
    }
    void finish() {
        if (m_word.empty()) return;
        const auto found = m_counts.find(std::string_view(m_word));
        if (found != m_counts.end()) {
            ++found->second;
        } else {
            m_counts.emplace(m_word, 1);
        }
        m_word.clear();
    }

private:
    counts& m_counts;
    std::string m_word;
};

/// False: it could not be read to its end, and errno says why. The words up to there were counted.
bool count_file(const std::string& path, counts& into, std::uint64_t& bytes) {
    const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) return false;
    std::vector<char> buffer(std::size_t{64} << 10);
    tokenizer words(into);
    ssize_t n;
    for (;;) {
        n = read(fd, buffer.data(), buffer.size());
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) break;
        bytes += static_cast<std::uint64_t>(n);
        words.feed({buffer.data(), static_cast<std::size_t>(n)});
    }
    words.finish();
    const int error = errno;
    close(fd);
    errno = error;
    return n == 0;
}

bool more_frequent(const word_count& a, const word_count& b) { return a.count != b.count ? a.count > b.count : a.word < b.word; }

}  // namespace

tally count(const batch& files) {
    tally result;
    counts words;
    for (const std::string& path : files.paths) {
        const std::uint64_t before = result.bytes;
        if (count_file(path, words, result.bytes)) {
            ++result.files;
            continue;
        }
        const std::string why = std::strerror(errno);
        const std::uint64_t read = result.bytes - before;
        result.problems.push_back(path + ": " + why + (read == 0 ? "" : ", after " + std::to_string(read) + " bytes, which were counted"));
    }
    result.words.reserve(words.size());
    for (const auto& [word, n] : words) result.words.push_back({word, n});
    return result;
}

void totals::add(tally&& part) {
    std::uint64_t words = 0;
    for (word_count& w : part.words) {
        words += w.count;
        m_counts[std::move(w.word)] += w.count;
    }
    m_files += part.files;
    m_bytes += part.bytes;
    m_words += words;
    add_problems(std::move(part.problems));
    auto mine = std::find_if(m_shares.begin(), m_shares.end(), [&](const share& s) { return s.peer == part.peer; });
    if (mine == m_shares.end()) mine = m_shares.insert(m_shares.end(), {part.peer, 0, 0});
    mine->files += part.files;
    mine->words += words;
}

void totals::add_problems(std::vector<std::string> more) {
    m_problems.insert(m_problems.end(), std::make_move_iterator(more.begin()), std::make_move_iterator(more.end()));
}

std::vector<word_count> totals::top(std::size_t n) const {
    std::vector<word_count> all;
    all.reserve(m_counts.size());
    for (const auto& [word, count] : m_counts) all.push_back({word, count});
    n = std::min(n, all.size());
    std::partial_sort(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(n), all.end(), more_frequent);
    all.resize(n);
    return all;
}

bool totals::write(const std::string& path) const {
    std::vector<std::pair<std::string_view, std::uint64_t>> sorted(m_counts.begin(), m_counts.end());
    std::sort(sorted.begin(), sorted.end());
    std::FILE* out = std::fopen(path.c_str(), "w");
    if (out == nullptr) return false;
    bool written = true;
    for (const auto& [word, n] : sorted) {
        written = written &&
                  std::fprintf(out, "%.*s\t%llu\n", static_cast<int>(word.size()), word.data(), static_cast<unsigned long long>(n)) > 0;
    }
    return std::fclose(out) == 0 && written;
}

}  // namespace wordcount
