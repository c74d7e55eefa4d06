// The two sides of the comparison, each as a server and a client that run in processes of their own.
#pragma once

#include <cstddef>

namespace bench {

/// How many bytes a message has, how often, and how many are under way at a time.
struct work {
    std::size_t bytes = 64;
    unsigned rounds = 20000;   ///< messages that are measured; a tenth as many go before them
    unsigned outstanding = 1;  ///< messages under way
    bool is_polling = false;   ///< threads look for events all the time instead of sleeping
};

/// What a client has seen. Plain, for it comes through a pipe.
struct result {
    double p50_us = 0;  ///< of a round trip; only where one message is under way
    double p99_us = 0;
    double per_second = 0;
    double client_allocations = 0;  ///< calls of operator new for a message, in each process
    double server_allocations = 0;
    double client_cpu_us = 0;  ///< processor time for a message, the kernel's included
    double server_cpu_us = 0;
};

/// Serves for ever; writes the port that it listens on, an unsigned short, to `ready`.
using server = void (*)(const work& how, int ready);
/// Connects to that port and measures.
using client = result (*)(const work& how, unsigned short port);

/// What the process has allocated since it began: operator new is replaced in this program.
unsigned long allocations() noexcept;
/// Processor time of this process so far.
double cpu_us() noexcept;

// A plain echo: asio::awaitable, one io_context, one thread.
void serve_plain(const work& how, int ready);
result measure_plain(const work& how, unsigned short port);

// Remote calls: a peer with one thread each.
void serve_calls(const work& how, int ready);
result measure_calls(const work& how, unsigned short port);

}  // namespace bench
