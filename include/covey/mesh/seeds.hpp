// Where a peer was told to look for others, and what became of it.
#pragma once

#include <covey/core/endpoint.hpp>
#include <covey/core/random.hpp>

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace covey::mesh {

/// Texts like "10.0.0.1:7400", "[::1]:7400" and "peers.example.org:7400". Addresses are themselves; names stand for the addresses
/// that were found last, so that a name server that is away costs nothing. Plain data: who owns it looks the names up and says what
/// was found. Not thread-safe.
class seed_list {
public:
    static constexpr std::size_t texts_max = 64;
    /// Of one name; more are left out.
    static constexpr std::size_t addresses_max = 1024;

    seed_list() = default;
    /// Throws errc::bad_address, with the text and how to write it, for what is neither an address nor a name, with a port;
    /// errc::bad_argument for more than texts_max.
    explicit seed_list(std::span<const std::string> texts);

    /// Those to be looked up, "host:port".
    std::size_t name_count() const noexcept { return m_names.size(); }
    const std::string& name(std::size_t i) const noexcept { return m_names[i].text; }
    /// What a look-up gave: addresses, or none and why. Only those of the family of `own` (IPv4, IPv6) are of use. Gives a line for
    /// a person when it failed: the first times, then now and then.
    std::optional<std::string> set_found(std::size_t i, std::span<const endpoint> found, std::string why, const endpoint& own);

    /// Every name was found at least once.
    bool is_complete() const noexcept;
    /// All of them, each once; when there are more than `most`, so many by chance.
    std::vector<endpoint> addresses(std::size_t most, random_source& random) const;
    /// Why names could not be looked up the last time, or nothing.
    std::string faults() const;

private:
    struct looked_up {
        std::string text;
        std::vector<endpoint> found;
        std::string fault;
        unsigned failures = 0;  // since it was found last
    };
    std::vector<endpoint> m_addresses;
    std::vector<looked_up> m_names;
};

}  // namespace covey::mesh

#ifndef COVEY_COMPILED
#include <covey/mesh/impl/seeds.ipp>
#endif
