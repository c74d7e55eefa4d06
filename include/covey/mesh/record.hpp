// A description as the tables keep it: immutable, shared, encoded once.
#pragma once

#include <covey/core/bytes.hpp>
#include <covey/mesh/member_info.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace covey::mesh {

/// A description and its encoded form. Immutable, so that all tables, views and members that speak of one peer share one.
class record {
public:
    /// Throws errc::bad_argument for a description that no member can have.
    explicit record(description what);

    const description& what() const noexcept { return m_what; }
    bytes_view encoded() const noexcept { return m_encoded; }

    /// Throws `error{errc::bad_message}` for bytes that no `encoded()` gives.
    static std::shared_ptr<const record> decode(bytes_view encoded);

private:
    record() = default;
    description m_what;
    std::vector<std::byte> m_encoded;
};

using record_ptr = std::shared_ptr<const record>;

/// Gives equal bytes the same record. For programs that hold many machines, such as a simulation of ten thousand peers, where
/// each description would otherwise be kept ten thousand times. Not thread-safe: all machines that share one run on one thread.
class record_pool {
public:
    /// As record::decode. Beyond `records_max` different ones (hostile, or a very long run) nothing is shared any more.
    record_ptr decode(bytes_view encoded);
    std::size_t size() const noexcept { return m_size; }

    static constexpr std::size_t records_max = std::size_t{1} << 20;

private:
    struct slot {
        std::uint64_t hash = 0;
        record_ptr what;  // null: free
    };
    void enter(slot s);

    std::vector<slot> m_slots;  // open addressing, a power of two, at most half full; never walked
    std::size_t m_size = 0;
};

}  // namespace covey::mesh

#ifndef COVEY_COMPILED
#include <covey/mesh/impl/record.ipp>
#endif
