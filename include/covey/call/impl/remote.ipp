#pragma once

#include <covey/call/build.hpp>
#include <covey/call/remote.hpp>
#include <covey/core/detail/concat.hpp>

namespace covey::detail {

COVEY_INLINE void throw_build_mismatch(const function_entry& entry, const net::link& link) {
    throw error(errc::build_mismatch,
                detail::concat({"a lambda (", entry.readable_name(), ") runs only on peers of the same build; this is build ", build_id(),
                                ", ", link.description(), " is build ", link.remote().build_id,
                                ". Start the same program there, or call an exposed function"}),
                link.peer());
}

COVEY_INLINE void throw_not_exposed(const char* mangled_type) {
    throw error(errc::unknown_function,
                detail::concat({"a function of type ", demangle(mangled_type),
                                " is not exposed; write `template struct covey::expose<its_name>;` next to it at namespace scope, "
                                "or call it as remote(covey::fn<its_name>, ...)"}));
}

COVEY_INLINE void throw_outside_peer() {
    throw error(errc::no_peer, "remote() was awaited by a coroutine that runs on no peer; start it with covey::run(...) or peer.run(...)");
}

COVEY_INLINE duration retry_pause(int attempt, std::uint64_t random) noexcept {
    constexpr std::int64_t most = 1'000'000'000;
    const std::int64_t whole = attempt > 7 ? most : std::min<std::int64_t>(most, std::int64_t{10'000'000} << (attempt - 1));
    return duration(whole / 2 + static_cast<std::int64_t>(random % static_cast<std::uint64_t>(whole / 2)));
}

}  // namespace covey::detail
