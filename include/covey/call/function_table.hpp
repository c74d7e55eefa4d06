// The table of functions that a program can run for others. It describes the program, so there is one per process.
#pragma once

#include <covey/core/config.hpp>
#include <covey/task/task.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace covey {

class served_call;

/// One function or lambda. Lives as long as the program.
struct function_entry {
    /// Mangled. Exposed functions have the same name in every build; lambdas only within one.
    const char* name = nullptr;
    /// Of result and parameter types (wire/schema.hpp).
    std::uint64_t schema = 0;
    /// Bytes of captured values that travel before the arguments.
    std::uint32_t closure_bytes = 0;
    /// May be called by another build, by name.
    bool named = false;
    /// To find the entry of a plain function pointer; null for lambdas.
    void (*address)() = nullptr;
    /// Decodes the arguments, runs the function, sends the reply.
    task<void> (*serve)(served_call&) = nullptr;
    /// Place in the frozen table; set by freeze().
    mutable std::atomic<std::uint32_t> index{UINT32_MAX};

    /// For messages: "count_words(std::string)".
    std::string readable_name() const;
};

/// Entries register before main, by static initialisation. The first peer to start freezes the table: sorted by name, so
/// that two processes of one build have the same indices. Registering afterwards (from a library loaded later) is too late
/// and ends the program with a message, for the indices are promises. Thread-safe after freeze().
class function_table {
public:
    static function_table& instance() noexcept;

    void add(const function_entry& entry) noexcept;
    /// Idempotent.
    void freeze();

    /// Null: the index is out of range. The index comes from the wire.
    const function_entry* at(std::uint32_t index) const noexcept;
    /// Null: no named entry of this name. Two functions of one name (of internal linkage, in two files) are never found.
    const function_entry* by_name(std::uint64_t name_hash) const noexcept;
    /// Null: not exposed. Works before freeze(), too.
    const function_entry* by_address(void (*address)()) const noexcept;

    std::size_t size() const noexcept;
    /// Over names, schemas and closure sizes, in order: equal digests mean equal tables.
    std::uint64_t digest() const noexcept;

private:
    function_table() noexcept = default;
    struct state;
    static state& data() noexcept;
};

/// Registers an entry during static initialisation.
struct function_registration {
    explicit function_registration(const function_entry& entry) noexcept { function_table::instance().add(entry); }
};

}  // namespace covey

#ifndef COVEY_COMPILED
#include <covey/call/impl/function_table.ipp>
#endif
