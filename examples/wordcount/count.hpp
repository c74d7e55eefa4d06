// Counting the words of some files: what a peer does for a call, and what a process alone does as well.
//
// A word is a run of ASCII letters, as long as it goes, in lower case: "Don't" is "don" and "t". Whatever else stands in a
// file separates words. Of a run of more than word_bytes_max letters the first word_bytes_max count as one word.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

namespace wordcount {

inline constexpr std::size_t word_bytes_max = 65536;

struct word_count {
    std::string word;
    std::uint64_t count = 0;
};

/// The input of one call: some files, about the same number of bytes in each batch. Plain structs travel as they are.
struct batch {
    std::vector<std::string> paths;
};

/// The result of one call.
struct tally {
    std::uint64_t peer = 0;   ///< the id of the peer that counted; 0 without a mesh
    std::uint64_t files = 0;  ///< read to their end
    std::uint64_t bytes = 0;
    std::vector<word_count> words;      ///< each word once, in no order
    std::vector<std::string> problems;  ///< "path: why" for each file that could not be read
};

tally count(const batch& files);

/// The sum of many tallies. Each is added once, by the one process that made the calls: a peer that was lost in the middle
/// of a call has added nothing, and the call is made again elsewhere.
class totals {
public:
    void add(tally&& part);

    struct share {
        std::uint64_t peer = 0;
        std::uint64_t files = 0;
        std::uint64_t words = 0;
    };

    std::uint64_t files() const noexcept { return m_files; }
    std::uint64_t bytes() const noexcept { return m_bytes; }
    std::uint64_t words() const noexcept { return m_words; }
    std::size_t distinct() const noexcept { return m_counts.size(); }
    const std::vector<share>& shares() const noexcept { return m_shares; }
    const std::vector<std::string>& problems() const noexcept { return m_problems; }
    void add_problems(std::vector<std::string> more);

    /// The n most frequent words, the most frequent first, then by alphabet.
    std::vector<word_count> top(std::size_t n) const;
    /// Writes "word<TAB>count" lines in the order of the alphabet. False: errno says why.
    bool write(const std::string& path) const;

private:
    std::uint64_t m_files = 0;
    std::uint64_t m_bytes = 0;
    std::uint64_t m_words = 0;
    std::unordered_map<std::string, std::uint64_t> m_counts;
    std::vector<share> m_shares;
    std::vector<std::string> m_problems;
};

}  // namespace wordcount
