// The calls of another peer that are being served, by the slot that it gave each.
#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>

namespace covey {

class served_call;

namespace detail {

/// Places that never move, so that no lock is needed: a call enters on the thread that reads the link and leaves on whichever
/// it ends; who wants to stop it takes it out. The table grows, by doubling, with the highest slot in use.
class served_table {
public:
    /// Slots there can be.
    static constexpr std::uint32_t slots_max = 1u << 20;

    served_table() = default;
    served_table(const served_table&) = delete;
    served_table& operator=(const served_table&) = delete;
    ~served_table() {
        for (auto& part : m_parts) delete[] part.load(std::memory_order_relaxed);
    }

    /// For the reading thread. Precondition: slot < slots_max. May throw std::bad_alloc.
    bool is_free(std::uint32_t slot) { return make(slot).call.load(std::memory_order_acquire) == nobody; }
    /// For the reading thread, after is_free.
    void enter(std::uint32_t slot, std::uint32_t generation, served_call& call) noexcept {
        place& p = *find(slot);
        p.generation = generation;
        p.call.store(reinterpret_cast<std::uintptr_t>(&call), std::memory_order_seq_cst);
    }
    /// The slot is free again. False: somebody has taken the call to stop it.
    bool leave(std::uint32_t slot) noexcept { return find(slot)->call.exchange(nobody, std::memory_order_acq_rel) != taken; }

    /// For the reading thread: the call to stop, if it is there. Its slot stays in use until it leaves.
    served_call* take(std::uint32_t slot, std::uint32_t generation) noexcept {
        place* const p = find(slot);
        return p != nullptr && p->generation == generation ? take(*p) : nullptr;
    }
    /// From any thread: `stop(served_call&)` for each.
    template <class Stop>
    void take_all(Stop stop) {
        for (unsigned i = 0; i < m_parts.size(); ++i) {
            place* const part = m_parts[i].load(std::memory_order_acquire);
            for (std::size_t k = 0; part != nullptr && k < part_size(i); ++k) {
                if (served_call* const call = take(part[k])) stop(*call);
            }
        }
    }

private:
    static constexpr std::uintptr_t nobody = 0;
    static constexpr std::uintptr_t taken = 1;

    struct place {
        std::atomic<std::uintptr_t> call{nobody};
        std::uint32_t generation = 0;  // only the reading thread looks at it
    };

    // Part i has 32 << i places and begins at slot 32 * (2^i - 1).
    static constexpr std::uint32_t first_size = 32;
    static std::size_t part_size(unsigned i) noexcept { return std::size_t{first_size} << i; }
    static unsigned part_of(std::uint32_t slot) noexcept { return static_cast<unsigned>(std::bit_width(slot / first_size + 1)) - 1; }
    static std::size_t place_in(std::uint32_t slot, unsigned part) noexcept { return slot - first_size * ((1u << part) - 1); }

    place* find(std::uint32_t slot) const noexcept {
        if (slot >= slots_max) return nullptr;
        const unsigned i = part_of(slot);
        place* const part = m_parts[i].load(std::memory_order_acquire);
        return part != nullptr ? part + place_in(slot, i) : nullptr;
    }
    place& make(std::uint32_t slot) {
        if (place* const there = find(slot)) return *there;
        const unsigned i = part_of(slot);
        m_parts[i].store(new place[part_size(i)], std::memory_order_release);
        return *find(slot);
    }
    static served_call* take(place& p) noexcept {
        std::uintptr_t call = p.call.load(std::memory_order_seq_cst);
        while (call != nobody && call != taken) {
            if (p.call.compare_exchange_weak(call, taken, std::memory_order_acq_rel, std::memory_order_acquire)) {
                return reinterpret_cast<served_call*>(call);
            }
        }
        return nullptr;
    }

    std::array<std::atomic<place*>, 16> m_parts{};  // 32 * (2^16 - 1) places are enough
};

}  // namespace detail

}  // namespace covey
