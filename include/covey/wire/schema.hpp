// Schemas: hashes of types that two different builds compare before they exchange values of them.
#pragma once

#include <covey/core/hash.hpp>
#include <covey/wire/serializable.hpp>

#include <cstdint>
#include <type_traits>
#include <typeinfo>

namespace covey::wire {

namespace detail {

/// The types around the one being hashed, innermost first.
struct schema_scope {
    const std::type_info* type;
    const schema_scope* outer;
};

template <class T>
std::uint64_t schema_of(const schema_scope* outer);

template <class... Ts>
std::uint64_t fold_schemas(std::uint64_t hash, const schema_scope& scope, type_list<Ts...>) {
    ((hash = hash_combine(hash, schema_of<Ts>(&scope))), ...);
    return hash_combine(hash, sizeof...(Ts));
}

template <class T>
std::uint64_t schema_of(const schema_scope* outer) {
    // A type inside itself (a tree) is told by how far out it stands.
    std::uint64_t distance = 1;
    for (const schema_scope* s = outer; s != nullptr; s = s->outer, ++distance) {
        if (*s->type == typeid(T)) return mix64(distance);
    }
    const schema_scope scope{&typeid(T), outer};
    const std::uint64_t name = fnv1a(typeid(T).name());
    if constexpr (std::is_enum_v<T>) {
        return fold_schemas(name, scope, type_list<std::underlying_type_t<T>>{});
    } else if constexpr (std::is_array_v<T>) {
        return fold_schemas(name, scope, type_list<std::remove_extent_t<T>>{});
    } else if constexpr (has_layout<T>) {
        return fold_schemas(name, scope, typename layout<T>::parts{});
    } else if constexpr (std::is_class_v<T> && !mentions_cereal<T> && plain_aggregate<T>) {
        return fold_schemas(name, scope, member_types<T>{});
    } else {
        return fold_schemas(name, scope, type_list<>{});
    }
}

}  // namespace detail

/// 64 bits that tell T: its name and, for standard types and aggregates, the schemas of what it consists of, so that a
/// struct that gained a member differs. The same with GCC and Clang (both name types by the Itanium ABI). A class with
/// cereal functions is told by its name alone: use cereal's class versions there. Computed once.
template <class T>
std::uint64_t type_schema() {
    static const std::uint64_t schema = detail::schema_of<std::decay_t<T>>(nullptr);
    return schema;
}

/// 64 bits that tell a function's result and parameter types, without references and const. Computed once.
template <class R, class... Args>
std::uint64_t signature_schema() {
    static const std::uint64_t schema = [] {
        std::uint64_t hash = type_schema<R>();
        ((hash = hash_combine(hash, type_schema<Args>())), ...);
        return hash_combine(hash, sizeof...(Args));
    }();
    return schema;
}

}  // namespace covey::wire
