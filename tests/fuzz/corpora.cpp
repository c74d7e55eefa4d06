// Every kept input of every fuzz target, and many that are nearly it, with any compiler and sanitizer. The search for new inputs is
// libFuzzer's: see README.md.
#include <covey/core/random.hpp>

#include <fuzz/targets/compound.hpp>
#include <fuzz/targets/decrypt.hpp>
#include <fuzz/targets/exchange.hpp>
#include <fuzz/targets/hello.hpp>
#include <fuzz/targets/machine.hpp>
#include <fuzz/targets/packet.hpp>
#include <fuzz/targets/question.hpp>

#include <catch2/catch.hpp>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

namespace {

using namespace covey_fuzz;

std::vector<std::string> corpus(const std::string& target) {
    const std::filesystem::path folder = std::filesystem::path(__FILE__).parent_path() / "corpus" / target;
    std::vector<std::filesystem::path> files(std::filesystem::directory_iterator(folder), std::filesystem::directory_iterator{});
    std::sort(files.begin(), files.end());
    std::vector<std::string> inputs;
    for (const auto& file : files) {
        std::ifstream in(file, std::ios::binary);
        inputs.emplace_back(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
    }
    return inputs;
}

void run(const char* name, void (*target)(bytes_view), int mutants) {
    const std::vector<std::string> inputs = corpus(name);
    CHECK(inputs.size() >= 5);
    CHECK(inputs.size() <= 50);
    for (std::size_t k = 0; k < inputs.size(); ++k) {
        INFO(name << ", file " << k);
        REQUIRE_NOTHROW(target(as_bytes_view(inputs[k])));
        random_source random(k);
        for (int i = 0; i < mutants; ++i) {
            std::string changed = inputs[k];
            for (std::uint64_t n = 1 + random.below(4); n > 0 && !changed.empty(); --n) {
                const auto at = static_cast<std::size_t>(random.below(changed.size()));
                switch (random.below(4)) {
                    case 0: changed.erase(at, static_cast<std::size_t>(random.below(8))); break;
                    case 1: changed.insert(at, 1 + static_cast<std::size_t>(random.below(4)), static_cast<char>(random.next())); break;
                    case 2: changed += inputs[static_cast<std::size_t>(random.below(inputs.size()))]; break;
                    default: changed[at] = static_cast<char>(random.next());
                }
            }
            INFO("mutant " << i);
            REQUIRE_NOTHROW(target(as_bytes_view(changed)));
        }
    }
}

}  // namespace

TEST_CASE("packets", "[fuzz]") { run("packet", packet, 200); }
TEST_CASE("compound packets", "[fuzz]") { run("compound", compound, 200); }
TEST_CASE("sealed datagrams", "[fuzz]") { run("decrypt", decrypt, 20); }
TEST_CASE("tables compared", "[fuzz]") { run("exchange", exchange, 200); }
TEST_CASE("handshakes", "[fuzz]") { run("hello", hello, 200); }
TEST_CASE("questions", "[fuzz]") { run("question", question, 200); }
TEST_CASE("the membership machine", "[fuzz]") { run("machine", machine, 20); }
