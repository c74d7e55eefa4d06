#pragma once

#include <covey/task/frame_pool.hpp>

#include <array>
#include <atomic>
#include <mutex>
#include <utility>

namespace covey::detail {

/// What all threads share. Lives for ever, for threads may end after the program's statics.
struct frame_depot {
    static constexpr std::size_t most_bytes = std::size_t{1} << 20;  // of one size; what is more goes back to the heap

    std::mutex mutex;
    std::array<std::atomic<frame_cache::block*>, frame_cache::classes> batches{};
    std::array<std::size_t, frame_cache::classes> bytes{};

    /// Takes over a chain of `count` blocks. False: it is full.
    bool put(frame_cache::block* batch, std::size_t count, std::size_t size_class) noexcept {
        const std::lock_guard lock(mutex);
        const std::size_t size = count * frame_cache::size_of(size_class);
        if (bytes[size_class] + size > most_bytes) return false;
        bytes[size_class] += size;
        batch->count = count;
        batch->next_batch = batches[size_class].load(std::memory_order_relaxed);
        batches[size_class].store(batch, std::memory_order_relaxed);
        return true;
    }
    frame_cache::block* take(std::size_t size_class) noexcept {
        if (batches[size_class].load(std::memory_order_relaxed) == nullptr) return nullptr;  // a guess; the lock decides
        const std::lock_guard lock(mutex);
        frame_cache::block* const batch = batches[size_class].load(std::memory_order_relaxed);
        if (batch == nullptr) return nullptr;
        batches[size_class].store(batch->next_batch, std::memory_order_relaxed);
        bytes[size_class] -= batch->count * frame_cache::size_of(size_class);
        return batch;
    }
};

inline constinit frame_depot frame_batches;

inline void give_back(frame_cache::block* batch, std::size_t count, std::size_t size_class) noexcept {
    if (count == 0 || frame_batches.put(batch, count, size_class)) return;
    for (; count != 0; --count) {
        frame_cache::block* const next = batch->next;
        ::operator delete(batch);
        batch = next;
    }
}

/// Empties a thread's lists at its end. What is freed later still, by other thread-locals, goes to the heap.
struct frame_cache_end {
    frame_cache* cache = nullptr;
    ~frame_cache_end() {
        if (cache == nullptr) return;
        cache->closed = true;
        for (std::size_t i = 0; i < frame_cache::classes; ++i) {
            const std::int32_t kept = cache->free[i] == nullptr ? 0 : frame_cache::most(i) - cache->room[i];
            give_back(std::exchange(cache->free[i], nullptr), static_cast<std::size_t>(kept), i);
            cache->room[i] = 0;
        }
    }
};

/// The lists of a thread are used from its first frame on.
inline void begin_use(frame_cache& cache) noexcept {
    static thread_local frame_cache_end end;
    end.cache = &cache;
    cache.used = true;
    for (std::size_t i = 0; i < frame_cache::classes; ++i) cache.room[i] = frame_cache::most(i);
}

COVEY_INLINE void* new_frame(frame_cache& cache, std::size_t size_class) {
    if (frame_cache::block* const batch = frame_batches.take(size_class)) {
        if (!cache.used) begin_use(cache);
        if (!cache.closed) {
            cache.room[size_class] -= static_cast<std::int32_t>(batch->count - 1);
            cache.free[size_class] = batch->next;
            return batch;
        }
        give_back(batch->next, batch->count - 1, size_class);
        return batch;
    }
    return ::operator new(frame_cache::size_of(size_class));
}

COVEY_INLINE void spill_frame(frame_cache& cache, void* frame, std::size_t size_class) noexcept {
    cache.room[size_class] = 0;
    if (cache.closed) return ::operator delete(frame);
    if (!cache.used) {
        begin_use(cache);
    } else {
        // Full: the newer half stays, for it is still in the processor's caches.
        const std::int32_t stay = frame_cache::most(size_class) / 2;
        frame_cache::block* last = cache.free[size_class];
        for (std::int32_t i = 1; i < stay; ++i) last = last->next;
        const std::int32_t go = frame_cache::most(size_class) - stay;
        give_back(std::exchange(last->next, nullptr), static_cast<std::size_t>(go), size_class);
        cache.room[size_class] = go;
    }
    --cache.room[size_class];
    auto* const block = static_cast<frame_cache::block*>(frame);
    block->next = std::exchange(cache.free[size_class], block);
}

}  // namespace covey::detail
