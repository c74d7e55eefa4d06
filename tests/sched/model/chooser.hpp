// Every run of a test that asks `choose` what happens next: depth first, each sequence of answers exactly once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace covey_test::model {

/// The test runs again and again, asking the same questions as long as it gets the same answers:
/// `do { run(all); } while (all.next());`
class chooser {
public:
    /// One of 0 … n-1. n > 0. With one possibility nothing is asked.
    std::uint32_t choose(std::uint32_t n) {
        if (n == 1) return 0;
        if (m_at == m_answers.size()) m_answers.push_back({0, n});
        return m_answers[m_at++].chosen;
    }
    /// Goes to the next sequence of answers. False: that was the last.
    bool next() {
        ++m_runs;
        m_answers.resize(m_at);
        m_at = 0;
        while (!m_answers.empty() && m_answers.back().chosen + 1 == m_answers.back().of) m_answers.pop_back();
        if (m_answers.empty()) return false;
        ++m_answers.back().chosen;
        return true;
    }
    std::size_t runs() const noexcept { return m_runs; }
    /// The answers of this run so far, for a failing test to print.
    std::string path() const {
        std::string text;
        for (std::size_t i = 0; i < m_at; ++i) text += std::to_string(m_answers[i].chosen) + "/" + std::to_string(m_answers[i].of) + " ";
        return text;
    }

private:
    struct answer {
        std::uint32_t chosen;
        std::uint32_t of;
    };
    std::vector<answer> m_answers;
    std::size_t m_at = 0;
    std::size_t m_runs = 0;
};

}  // namespace covey_test::model
