// Memory of coroutine frames, kept for the next ones: free lists a thread, by size, with a bounded way back to the others.
#pragma once

#include <covey/core/config.hpp>

#include <cstddef>
#include <cstdint>
#include <new>

namespace covey::detail {

/// One thread's free frames. A frame is freed on the thread where it ends, which need not be the one that made it; what a
/// thread has too much of goes to a depot that all share, in batches, and from there back to the heap (see frame_pool.ipp).
struct frame_cache {
    static constexpr std::size_t granule = 64;  // sizes are rounded up to a cache line
    static constexpr std::size_t classes = 64;  // larger frames than 4 KiB come from the heap
    static constexpr std::size_t bytes_per_class = 64 * 1024;

    struct block {
        block* next;
        block* next_batch;
        std::size_t count;
    };

    static constexpr std::size_t class_of(std::size_t size) noexcept { return (size + granule - 1) / granule - 1; }
    static constexpr std::size_t size_of(std::size_t size_class) noexcept { return (size_class + 1) * granule; }
    static constexpr std::int32_t most(std::size_t size_class) noexcept {
        return static_cast<std::int32_t>(bytes_per_class / size_of(size_class));
    }

    block* free[classes] = {};
    std::int32_t room[classes] = {};  // how many more may be kept; 0 before the first use, and after the thread's end
    bool used = false;
    bool closed = false;
};

inline constinit thread_local frame_cache this_frame_cache;

#if defined(__clang__) && __clang_major__ < 17
COVEY_NOINLINE  // as this_thread_state
#endif
    inline frame_cache&
    frames() noexcept {
    return this_frame_cache;
}

/// Where the lists are empty; and where they are full, so that `room` is below zero.
void* new_frame(frame_cache& cache, std::size_t size_class);
void spill_frame(frame_cache& cache, void* frame, std::size_t size_class) noexcept;

/// Memory for a frame, from this thread's list. Throws std::bad_alloc.
inline void* allocate_frame(std::size_t size) {
    const std::size_t size_class = frame_cache::class_of(size);
    if (size_class >= frame_cache::classes) return ::operator new(size);
    frame_cache& cache = frames();
    frame_cache::block* const block = cache.free[size_class];
    if (block == nullptr) [[unlikely]]
        return new_frame(cache, size_class);
    cache.free[size_class] = block->next;
    ++cache.room[size_class];
    return block;
}

inline void free_frame(void* frame, std::size_t size) noexcept {
    const std::size_t size_class = frame_cache::class_of(size);
    if (size_class >= frame_cache::classes) return ::operator delete(frame);
    frame_cache& cache = frames();
    if (--cache.room[size_class] < 0) [[unlikely]]
        return spill_frame(cache, frame, size_class);
    auto* const block = static_cast<frame_cache::block*>(frame);
    block->next = cache.free[size_class];
    cache.free[size_class] = block;
}

/// Base of promises whose frames are recycled. Under AddressSanitizer they are not, so that it sees what is used after its end.
struct recycled_frame {
#if !COVEY_SANITIZED || COVEY_TSAN
    static void* operator new(std::size_t size) { return allocate_frame(size); }
    static void operator delete(void* frame, std::size_t size) noexcept { free_frame(frame, size); }
#endif
};

}  // namespace covey::detail

#ifndef COVEY_COMPILED
#include <covey/task/impl/frame_pool.ipp>
#endif
