// The numbers of `config` by name: to set them from texts, to check them, to list them for a person.
#pragma once

#include <covey/mesh/config.hpp>

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>

namespace covey::mesh {

/// One member of `config`.
struct setting {
    std::string_view name;
    std::variant<duration config::*, unsigned config::*, std::size_t config::*> member;
    std::uint64_t least = 0, most = 0;  ///< both allowed; durations in nanoseconds, sizes in bytes, others are counts
    bool is_bytes = false;
    std::string_view meaning;  ///< a few words for a person
};

/// All of them, in the order of `config`.
std::span<const setting> settings() noexcept;

/// The value as `change` reads it: "200ms", "256KiB", "3".
std::string text_of(const setting& s, const config& c);
/// What is allowed: "1ms to 24h".
std::string allowed(const setting& s);

/// "probe_interval=200ms" and the like. A duration needs a unit (ns, us, ms, s, min, h), a size may have one (KiB, MiB).
/// Throws errc::bad_argument that names the setting, the value and what is allowed.
void change(config& c, std::string_view name_and_value);

/// Throws errc::bad_argument that names the first number that cannot be meant, its value and what is allowed.
void check(const config& c);

namespace profile {
/// "local", "lan" or "wan"; throws errc::bad_argument for others.
config named(std::string_view name);
}  // namespace profile

}  // namespace covey::mesh

#ifndef COVEY_COMPILED
#include <covey/mesh/impl/settings.ipp>
#endif
