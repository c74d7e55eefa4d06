// Hashes that are the same in every build and on every machine: they travel on the wire.
#pragma once

#include <cstdint>
#include <string_view>

namespace covey {

/// FNV-1a, 64 bits (Fowler, Noll, Vo). For names and schemas, not against an adversary.
constexpr std::uint64_t fnv1a(std::string_view text, std::uint64_t seed = 0xcbf29ce484222325ull) noexcept {
    for (char c : text) {
        seed ^= static_cast<unsigned char>(c);
        seed *= 0x100000001b3ull;
    }
    return seed;
}

/// A bijection that spreads every input bit over all output bits (the finaliser of splitmix64, Steele et al. 2014).
constexpr std::uint64_t mix64(std::uint64_t x) noexcept {
    x += 0x9e3779b97f4a7c15ull;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
    return x ^ (x >> 31);
}

/// Folds `value` into `hash`; the order matters.
constexpr std::uint64_t hash_combine(std::uint64_t hash, std::uint64_t value) noexcept { return mix64(hash ^ mix64(value)); }

}  // namespace covey
