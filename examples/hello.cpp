// Every peer of the program says hello. Alone that is one; under `peerd run -n 4 hello` it is four.
#include <covey/covey.hpp>

#include <cstdio>
#include <string>

#include <unistd.h>

covey::task<int> hello(covey::peer& self) {
    for (const covey::member& m : self.members()) {
        std::string line = co_await covey::remote(
            covey::on(m.id()), [](std::string name) { return "hello from " + name + ", process " + std::to_string(getpid()); }, m.name());
        std::puts(line.c_str());
    }
    co_return 0;
}

int main(int argc, char** argv) { return covey::run(argc, argv, hello); }
