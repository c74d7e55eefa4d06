// A program for the tests of run(): what it does depends on its first argument.
#include <covey/run.hpp>

#include <csignal>
#include <cstdio>
#include <stdexcept>
#include <string>

using namespace std::chrono_literals;

namespace covey_test_runner {

int answer() { return 42; }

covey::task<int> work(covey::peer& self) {
    const std::string what = self.args().size() > 1 ? self.args()[1] : "";
    if (what == "args") {
        for (const std::string& a : self.args().subspan(1)) std::printf("[%s]", a.c_str());
        std::printf(" threads=%u\n", self.threads());
        co_return 0;
    }
    if (what == "describe") {
        const covey::member me = self.members().front();
        for (const auto& [name, value] : me.labels()) std::printf("%s=%s ", name.c_str(), value.c_str());
        for (const auto& [name, count] : me.resources()) std::printf("%s=%u ", name.c_str(), static_cast<unsigned>(count));
        std::printf("gpus=%u memory=%u\n", static_cast<unsigned>(me.gpus()), static_cast<unsigned>(me.memory_mib()));
        co_return 0;
    }
    if (what == "code") co_return 7;
    if (what == "throw") throw std::runtime_error("the cake is burnt");
    if (what == "call") co_return co_await covey::remote(answer);
    if (what == "wait") {
        std::printf("waiting\n");
        std::fflush(stdout);
        co_await covey::schedule_after(24h);
    }
    if (what == "serve-me" || what == "call-and-wait") {
        std::printf("%s\n", to_string(self.address()).c_str());
        std::fflush(stdout);
        co_await self.wait_for_members(2, 60s);
        for (const covey::member& m : self.members()) {
            if (m.id() == self.id()) continue;
            const int result = co_await covey::remote(covey::on(m.id()), answer);
            // It may have heard our call before it heard of us.
            for (std::size_t known = 0; known < 2;) {
                const covey::mesh::view there = co_await self.view_at(m.address());
                known = there.members.size();
                if (known < 2) co_await covey::schedule_after(10ms);
            }
            if (what == "serve-me") co_return result;
            std::printf("called\n");
            std::fflush(stdout);
            co_await covey::schedule_after(24h);
        }
    }
    co_return 0;
}

covey::task<void> nothing(covey::peer&) { co_return; }

}  // namespace covey_test_runner

template struct covey::expose<covey_test_runner::answer>;

int main(int argc, char** argv) {
    if (argc > 1 && std::string(argv[1]) == "void") return covey::run(argc, argv, covey_test_runner::nothing);
    return covey::run(argc, argv, covey_test_runner::work);
}
