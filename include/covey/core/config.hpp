// Version, build mode and compiler facts. Every other header may include this one.
#pragma once

#define COVEY_VERSION_MAJOR 0
#define COVEY_VERSION_MINOR 1
#define COVEY_VERSION_PATCH 0
#define COVEY_VERSION "0.1.0"

// Non-template code lives in impl/*.ipp. Header-only (the default) it is inline and included by its header;
// with covey::compiled (which defines COVEY_COMPILED) it is compiled once, by cmake/covey.cpp.
#if defined(COVEY_COMPILED)
#define COVEY_INLINE
#else
#define COVEY_INLINE inline
#endif

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define COVEY_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
#define COVEY_SANITIZED 1
#endif
#endif
#ifndef COVEY_SANITIZED
#define COVEY_SANITIZED 0
#endif

#if defined(__SANITIZE_THREAD__)
#define COVEY_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define COVEY_TSAN 1
#endif
#endif
#ifndef COVEY_TSAN
#define COVEY_TSAN 0
#endif

// A true 1 where `await_suspend` returning a handle is always compiled to a jump: by Clang, but for sanitizers. GCC does so when
// it optimises sibling calls, at -O2 by default, and defines nothing by which to tell (GCC 94794, 100897).
#if defined(__clang__) && !COVEY_SANITIZED
#define COVEY_ALWAYS_JUMPS 1
#else
#define COVEY_ALWAYS_JUMPS 0
#endif

// Thread-locals must not be cached across a suspension point (llvm 47179, 63022), so their accessors are never inlined.
#define COVEY_NOINLINE [[gnu::noinline]]

#if !defined(__cpp_impl_coroutine) && !defined(__clang__)
#error "covey needs C++20 coroutines: compile with -std=c++20 (GCC 12 or later, Clang 16 or later)"
#endif
