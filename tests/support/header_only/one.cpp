#include "all_headers.hpp"

#include <support/header_only/two.hpp>

#include <catch2/catch.hpp>

#ifdef COVEY_COMPILED
#error "this program is there to test the header-only mode"
#endif

TEST_CASE("header-only covey is one library in a program of several files", "[header_only]") {
    CHECK(&covey::category() == header_only::category_seen_by_two());
    CHECK(header_only::text_made_by_two(covey::peer_id{0x2a}) == to_string(covey::peer_id{0x2a}));
}

TEST_CASE("an exception thrown in one file is caught in another", "[header_only]") {
    CHECK_THROWS_AS(header_only::throw_from_two(), covey::error);
}
