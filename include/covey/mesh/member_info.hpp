// What one peer tells the others about itself.
#pragma once

#include <covey/core/endpoint.hpp>
#include <covey/core/id.hpp>

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace covey::mesh {

/// Values are part of the wire format: never renumber.
enum class member_role : std::uint8_t {
    main = 0,      ///< runs the main coroutine of a job
    serve = 1,     ///< runs what others send
    observer = 2,  ///< only looks (a list command): never gossiped, in nobody's table
};

std::string_view to_string(member_role role) noexcept;

/// Everything about a peer that is neither its identity nor its state. Encoded it takes at most `encoded_bytes_max` bytes, all
/// names, labels and resources together.
struct description {
    endpoint address;  ///< control: one port number serves UDP (gossip) and TCP (links)
    endpoint bulk;     ///< where large transfers go; port 0: to `address`
    std::string name;  ///< for people: at most name_bytes_max bytes, no control characters; need not be unique
    member_role role = member_role::serve;
    bool has_fabric = false;         ///< it has a fabric address, to be asked for over a link
    std::uint64_t build_hash = 0;    ///< which program
    std::uint64_t table_digest = 0;  ///< which function table
    std::uint16_t threads = 1;       ///< cores it computes on
    std::uint32_t memory_mib = 0;    ///< memory it offers, MiB; 0: not said
    std::uint16_t gpus = 0;
    std::vector<std::pair<std::string, std::uint32_t>> resources;  ///< custom: name and count
    std::vector<std::pair<std::string, std::string>> labels;       ///< name and value

    static constexpr std::size_t name_bytes_max = 64;
    static constexpr std::size_t entries_max = 16;  ///< labels, and custom resources
    static constexpr std::size_t encoded_bytes_max = 512;

    friend bool operator==(const description&, const description&) = default;
};

/// A peer in one moment of one life. Identity is (id, epoch); within an epoch the higher incarnation wins, and only the peer
/// itself raises it.
struct member_info : description {
    peer_id id;
    epoch_t epoch = 1;
    std::uint32_t incarnation = 0;

    friend bool operator==(const member_info&, const member_info&) = default;
};

/// What `what` takes at most, encoded.
std::size_t encoded_bytes_at_most(const description& what) noexcept;
/// Why this cannot be a member's (address without port, a name with control characters, too long, ...), or nullptr.
const char* fault(const description& what) noexcept;
/// The same, and a null id or epoch 0.
const char* fault(const member_info& info) noexcept;

}  // namespace covey::mesh

namespace covey {
using mesh::member_role;
}  // namespace covey

#ifndef COVEY_COMPILED
#include <covey/mesh/impl/member_info.ipp>
#endif
