// Shortens what fails.
#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <vector>

namespace covey::sim {

/// Delta debugging (Zeller and Hildebrandt 2002, algorithm ddmin, its complement step): drops parts of `items`, large ones
/// first, for as long as `fails(rest)` is still true. The result fails, and dropping any one item of it would not have
/// (unless `tries_max` calls of `fails` were used up first). Precondition: `fails(items)`.
template <class Item, std::predicate<const std::vector<Item>&> Fails>
std::vector<Item> minimise(std::vector<Item> items, Fails&& fails, std::size_t tries_max = 300) {
    std::size_t parts = 2;
    while (items.size() >= 2) {
        bool shorter = false;
        const std::size_t chunk = std::max<std::size_t>(1, (items.size() + parts - 1) / parts);
        for (std::size_t begin = 0; begin < items.size();) {
            if (tries_max-- == 0) return items;
            std::vector<Item> rest(items.begin(), items.begin() + static_cast<std::ptrdiff_t>(begin));
            rest.insert(rest.end(), items.begin() + static_cast<std::ptrdiff_t>(std::min(begin + chunk, items.size())), items.end());
            if (fails(rest)) {
                items = std::move(rest);
                shorter = true;  // what follows has moved here: try it next
            } else {
                begin += chunk;
            }
        }
        if (chunk == 1 && !shorter) return items;
        parts = shorter ? std::max<std::size_t>(2, parts - 1) : parts * 2;
    }
    // One is left: perhaps it fails without any.
    if (items.size() == 1 && tries_max != 0 && fails(std::vector<Item>{})) items.clear();
    return items;
}

}  // namespace covey::sim
