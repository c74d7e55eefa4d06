#include <covey/call/build.hpp>

#include <catch2/catch.hpp>

#include <cstdio>
#include <string>

TEST_CASE("the build id is hex, and the same each time", "[call][build]") {
    const std::string& id = covey::build_id();
    REQUIRE(id.size() >= 16);
    CHECK(id.size() <= 64);
    CHECK(id.find_first_not_of("0123456789abcdef") == std::string::npos);
    CHECK(&covey::build_id() == &id);
}

TEST_CASE("the build id is the one that stands in the program file", "[call][build]") {
    // Found by its bytes in the file, without the loader's help. A program linked without one has a hash instead.
    std::string file;
    std::FILE* in = std::fopen("/proc/self/exe", "rb");
    REQUIRE(in != nullptr);
    char block[65536];
    while (const std::size_t n = std::fread(block, 1, sizeof block, in)) file.append(block, n);
    std::fclose(in);
    // The note: name size 4, description size, type 3, "GNU\0".
    std::string bytes;
    const std::string& id = covey::build_id();
    for (std::size_t i = 0; i + 1 < id.size(); i += 2) bytes += static_cast<char>(std::stoi(id.substr(i, 2), nullptr, 16));
    const std::string note = std::string("\4\0\0\0", 4) + static_cast<char>(bytes.size()) + std::string("\0\0\0\3\0\0\0GNU\0", 11) + bytes;
    CHECK((file.find(note) != std::string::npos || id.size() == 16));
}
