#include <covey/wire/frame.hpp>

#include <catch2/catch.hpp>

#include <array>
#include <string>

using namespace covey::wire;

TEST_CASE("a frame header has the documented bytes", "[wire]") {
    frame_header h;
    h.size = 0x04030201;
    h.kind = frame_kind::call;
    h.flags = 0x80;
    h.slot = 0x11;
    h.generation = 0x22;
    h.function = 0x33;
    h.deadline_us = 0x44;
    std::array<std::byte, frame_header::bytes> bytes{};
    store(h, bytes.data());
    const std::array<unsigned, 24> expected{1, 2, 3, 4, 6, 0x80, 0, 0, 0x11, 0, 0, 0, 0x22, 0, 0, 0, 0x33, 0, 0, 0, 0x44, 0, 0, 0};
    for (std::size_t i = 0; i < bytes.size(); ++i) CHECK(std::to_integer<unsigned>(bytes[i]) == expected[i]);
    const frame_header back = load_frame_header(bytes.data());
    CHECK(back.size == h.size);
    CHECK(back.kind == h.kind);
    CHECK(back.flags == h.flags);
    CHECK(back.slot == h.slot);
    CHECK(back.generation == h.generation);
    CHECK(back.function == h.function);
    CHECK(back.deadline_us == h.deadline_us);
}

TEST_CASE("a header that cannot be right is told before the body", "[wire]") {
    frame_header h;
    h.kind = frame_kind::ping;
    h.size = 100;
    CHECK(fault(h, 100) == nullptr);
    CHECK(fault(h, 99) == std::string("body over the limit"));
    h.reserved = 1;
    CHECK(fault(h, 100) == std::string("reserved bits are set"));
    h.reserved = 0;
    for (unsigned kind = 0; kind < 256; ++kind) {
        h.kind = static_cast<frame_kind>(kind);
        CHECK((fault(h, 100) == nullptr) == (kind >= 1 && kind <= 9));
    }
}
