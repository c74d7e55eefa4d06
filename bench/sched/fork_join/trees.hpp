// The trees of the Unbalanced Tree Search benchmark. S. Olivier, J. Huan, J. Liu, J. Prins, J. Dinan, P. Sadayappan and
// C.-W. Tseng, "UTS: An Unbalanced Tree Search Benchmark", LCPC 2006. A node is a SHA-1 state; its children's states are hashes of it
// and their numbers, so a tree is the same everywhere and its shape is not known before it is walked.
#pragma once

// The low-level calls of OpenSSL cost half as much as the one that replaced them, and both sides use them.
#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/sha.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>

namespace uts {

struct node {
    std::array<unsigned char, 20> state;
    int height = 0;
};

/// What is known of a tree once it has been walked.
struct counts {
    std::int64_t nodes = 0;
    std::int64_t leaves = 0;
    int depth = 0;

    void add(const counts& other) noexcept {
        nodes += other.nodes;
        leaves += other.leaves;
        depth = std::max(depth, other.depth);
    }
    friend bool operator==(const counts&, const counts&) = default;
};

enum class shape { binomial, geometric_fixed };

struct tree {
    shape kind;
    double root_branching;  // b
    int depth_limit;        // d, of geometric trees
    int children;           // m, of the inner nodes of binomial ones
    double inner_share;     // q, the probability that a node has children
    int seed;               // r
    counts expected;
};

// Parameters and sizes as published with the benchmark's sources.
inline constexpr tree t1{shape::geometric_fixed, 4, 10, 0, 0, 19, {4'130'071, 3'305'118, 10}};
inline constexpr tree t3{shape::binomial, 2000, 0, 8, 0.124875, 42, {4'112'897, 3'599'034, 1572}};

inline void store_big_endian(unsigned char* to, unsigned value) noexcept {
    for (unsigned i = 0; i < 4; ++i) to[i] = static_cast<unsigned char>(value >> (24 - 8 * i));
}

inline node root_of(const tree& t) noexcept {
    std::array<unsigned char, 20> seed{};
    store_big_endian(&seed[16], static_cast<unsigned>(t.seed));
    node n;
    SHA_CTX hash;
    SHA1_Init(&hash);
    SHA1_Update(&hash, seed.data(), seed.size());
    SHA1_Final(n.state.data(), &hash);
    return n;
}

inline node child_of(const node& parent, int number) noexcept {
    std::array<unsigned char, 4> text;
    store_big_endian(text.data(), static_cast<unsigned>(number));
    node n;
    n.height = parent.height + 1;
    SHA_CTX hash;
    SHA1_Init(&hash);
    SHA1_Update(&hash, parent.state.data(), parent.state.size());
    SHA1_Update(&hash, text.data(), text.size());
    SHA1_Final(n.state.data(), &hash);
    return n;
}

/// A number in [0, 1) that belongs to the node.
inline double probability_of(const node& n) noexcept {
    unsigned bits = 0;
    for (std::size_t i = 16; i < 20; ++i) bits = bits << 8 | n.state[i];
    return static_cast<double>(bits & 0x7fff'ffffu) / 2147483648.0;
}

inline int children_of(const tree& t, const node& n) noexcept {
    const double u = probability_of(n);
    if (t.kind == shape::binomial) {
        if (n.height == 0) return static_cast<int>(std::floor(t.root_branching));
        return u < t.inner_share ? t.children : 0;
    }
    if (n.height >= t.depth_limit) return 0;
    const double p = 1.0 / (1.0 + t.root_branching);  // so that the mean number of children is b
    return std::min(100, static_cast<int>(std::floor(std::log(1 - u) / std::log(1 - p))));
}

}  // namespace uts
