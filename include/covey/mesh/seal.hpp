// Where the encryption of datagrams is plugged in.
#pragma once

#include <covey/core/bytes.hpp>
#include <covey/net/seal.hpp>

#include <cstddef>
#include <optional>

namespace covey::mesh {

/// Seals what is sent and opens what arrives. `seal` is called by one thread at a time, and so is `open`, but the two may
/// run at the same moment.
class datagram_seal {
public:
    virtual ~datagram_seal() = default;

    /// Appends the sealed form, at most `overhead` bytes longer.
    virtual void seal(bytes_view plain, byte_buffer& out) = 0;
    /// Appends the plain form and returns nothing, or says why not: not sealed under a key of this cluster, a replay, noise. Must
    /// not throw for bad bytes.
    virtual std::optional<net::seal_rejection> open(bytes_view sealed, byte_buffer& out) = 0;

    static constexpr std::size_t overhead = 64;
};

}  // namespace covey::mesh
