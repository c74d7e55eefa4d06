// One fuzz target as a libFuzzer program; which one, the build says (see tests/fuzz/CMakeLists.txt).
#include COVEY_FUZZ_HEADER

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    try {
        covey_fuzz::COVEY_FUZZ_TARGET(std::as_bytes(std::span(data, size)));
    } catch (const std::exception& e) {
        std::fprintf(stderr, "does not hold: %s\n", e.what());
        std::abort();
    }
    return 0;
}
