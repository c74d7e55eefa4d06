#pragma once

#include <covey/call/function_table.hpp>
#include <covey/core/hash.hpp>
#include <covey/wire/demangle.hpp>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <vector>

namespace covey {

struct function_table::state {
    std::mutex mutex;
    std::vector<const function_entry*> entries;
    std::vector<std::pair<std::uint64_t, const function_entry*>> by_name;  // null: the name is not unique
    std::uint64_t digest = 0;
    std::atomic<bool> frozen{false};
};

COVEY_INLINE function_table::state& function_table::data() noexcept {
    static state instance;
    return instance;
}

COVEY_INLINE function_table& function_table::instance() noexcept {
    static function_table table;
    return table;
}

COVEY_INLINE void function_table::add(const function_entry& entry) noexcept {
    state& s = data();
    if (s.frozen.load(std::memory_order_acquire)) {
        std::fprintf(stderr, "covey: %s was registered after the first peer had started; load the library that exposes it before\n",
                     entry.name);
        std::abort();
    }
    const std::lock_guard lock(s.mutex);
    s.entries.push_back(&entry);
}

COVEY_INLINE void function_table::freeze() {
    state& s = data();
    const std::lock_guard lock(s.mutex);
    if (s.frozen.load(std::memory_order_relaxed)) return;
    // Equal names are told apart by the place of their code: the same order in every process of one build.
    std::sort(s.entries.begin(), s.entries.end(), [](const function_entry* a, const function_entry* b) {
        const int order = std::strcmp(a->name, b->name);
        return order != 0 ? order < 0 : reinterpret_cast<std::uintptr_t>(a->serve) < reinterpret_cast<std::uintptr_t>(b->serve);
    });
    std::uint64_t digest = mix64(s.entries.size());
    for (std::size_t i = 0; i < s.entries.size(); ++i) {
        const function_entry& e = *s.entries[i];
        e.index.store(static_cast<std::uint32_t>(i), std::memory_order_relaxed);
        digest = hash_combine(hash_combine(hash_combine(digest, fnv1a(e.name)), e.schema), e.closure_bytes);
        if (e.named) s.by_name.emplace_back(fnv1a(e.name), &e);
    }
    std::sort(s.by_name.begin(), s.by_name.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
    for (std::size_t i = 1; i < s.by_name.size(); ++i) {
        if (s.by_name[i].first == s.by_name[i - 1].first) s.by_name[i].second = s.by_name[i - 1].second = nullptr;
    }
    s.digest = digest;
    s.frozen.store(true, std::memory_order_release);
}

COVEY_INLINE const function_entry* function_table::at(std::uint32_t index) const noexcept {
    const state& s = data();
    return index < s.entries.size() ? s.entries[index] : nullptr;
}

COVEY_INLINE const function_entry* function_table::by_name(std::uint64_t name_hash) const noexcept {
    const state& s = data();
    const auto at = std::lower_bound(s.by_name.begin(), s.by_name.end(), name_hash,
                                     [](const auto& entry, std::uint64_t hash) { return entry.first < hash; });
    return at != s.by_name.end() && at->first == name_hash ? at->second : nullptr;
}

COVEY_INLINE const function_entry* function_table::by_address(void (*address)()) const noexcept {
    if (address == nullptr) return nullptr;  // that is what lambdas have
    for (const function_entry* e : data().entries) {
        if (e->address == address) return e;
    }
    return nullptr;
}

COVEY_INLINE std::size_t function_table::size() const noexcept { return data().entries.size(); }
COVEY_INLINE std::uint64_t function_table::digest() const noexcept { return data().digest; }

COVEY_INLINE std::string function_entry::readable_name() const {
    std::string text = detail::demangle(name);
    // "covey::expose<&(count_words(std::string))>" says more than a person wants.
    static constexpr std::string_view head = "covey::expose<&(";
    if (text.starts_with(head) && text.ends_with(")>")) return text.substr(head.size(), text.size() - head.size() - 2);
    static constexpr std::string_view short_head = "covey::expose<&";
    if (text.starts_with(short_head) && text.ends_with(">")) return text.substr(short_head.size(), text.size() - short_head.size() - 1);
    return text;
}

}  // namespace covey
