// Random datagrams at full speed at a live peer: it goes on answering its members, answers the stranger little or nothing, and its memory
// does not grow. COVEY_FLOOD_SECONDS makes it longer than the usual three seconds and prints figures.
#include <cluster/agent.hpp>

#include <covey/core/bytes.hpp>
#include <covey/core/endpoint.hpp>
#include <covey/core/random.hpp>
#include <covey/mesh/message.hpp>
#include <covey/net/key.hpp>

#include <catch2/catch.hpp>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

namespace covey_test_cluster_flood {  // so that test files can be compiled together

using namespace covey_test;
using namespace std::chrono_literals;

namespace {

/// What a stranger may know: the front of true datagrams, and who is there.
struct knowledge {
    std::vector<std::byte> front;
    std::vector<covey::peer_id> senders;
    std::size_t sender_at = 0;  ///< in the front
    std::size_t kind_at = 0;    ///< where the kind of packet stands; 0: it cannot be known
};

/// A thread that sends random datagrams to an address until it is told to stop, and counts what comes back.
class flood {
public:
    flood(const std::string& address, knowledge known) : m_known(std::move(known)) {
        const covey::endpoint to = covey::endpoint::parse(address);
        m_socket = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        sockaddr_in where{};
        where.sin_family = AF_INET;
        where.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        where.sin_port = htons(to.port);
        if (m_socket < 0 || connect(m_socket, reinterpret_cast<sockaddr*>(&where), sizeof where) != 0)
            throw std::runtime_error("no socket for the flood");
        m_thread = std::thread([this] { run(); });
    }
    ~flood() {
        stop();
        close(m_socket);
    }
    void stop() {
        m_stop = true;
        if (m_thread.joinable()) m_thread.join();
    }

    std::uint64_t datagrams = 0, bytes = 0, answers = 0, answer_bytes = 0;  ///< to be read after stop

private:
    void run() {
        covey::random_source random(1);
        std::vector<std::byte> datagram(1400), answer(65536);
        while (!m_stop) {
            const std::size_t size = random.below(datagram.size() + 1);
            for (std::size_t i = 0; i + 8 <= datagram.size(); i += 8) {
                const std::uint64_t word = random.next();
                std::memcpy(datagram.data() + i, &word, 8);
            }
            if (random.chance(0.5)) std::copy(m_known.front.begin(), m_known.front.end(), datagram.begin());
            if (m_known.kind_at != 0) datagram[m_known.kind_at] = static_cast<std::byte>(random.below(6));
            if (random.chance(0.5))
                std::memcpy(datagram.data() + m_known.sender_at, &m_known.senders[random.below(m_known.senders.size())], 8);
            if (send(m_socket, datagram.data(), size, MSG_DONTWAIT | MSG_NOSIGNAL) > 0) {
                ++datagrams;
                bytes += size;
            }
            if (datagrams % 16 != 0) continue;
            for (ssize_t n; (n = recv(m_socket, answer.data(), answer.size(), MSG_DONTWAIT)) > 0;) {
                ++answers;
                answer_bytes += static_cast<std::uint64_t>(n);
            }
        }
    }

    knowledge m_known;
    int m_socket = -1;
    std::atomic<bool> m_stop{false};
    std::thread m_thread;
};

/// Kilobytes of memory that a process has in use.
long resident_kb(pid_t pid) {
    std::ifstream status("/proc/" + std::to_string(pid) + "/status");
    for (std::string line; std::getline(status, line);) {
        if (line.starts_with("VmRSS:")) return std::stol(line.substr(6));
    }
    throw std::runtime_error("no VmRSS");
}

covey::peer_id id_of(const agent& a) { return covey::parse_peer_id(a.id()).value(); }

}  // namespace

TEST_CASE("a flood of random datagrams: the peer answers its members meanwhile and does not grow") {
    const char* const option = std::getenv("COVEY_FLOOD_SECONDS");
    const std::chrono::seconds length(option != nullptr ? std::max(1, std::atoi(option)) : 3);
    const bool with_key = GENERATE(true, false);
    CAPTURE(with_key);
    temporary_directory directory;
    agent_options options;
    if (with_key) {
        const covey::net::cluster_key key = covey::net::cluster_key::generate();
        key.save(directory.file("key"));
        options.environment = {"COVEY_KEY_FILE=" + directory.file("key")};
    }
    std::vector<agent> agents = start_agents(3, options);
    agent& target = agents[0];

    knowledge known;
    for (const agent& a : agents) known.senders.push_back(id_of(a));
    known.senders.push_back(covey::peer_id{77});
    covey::byte_buffer front;
    covey::byte_writer w(front);
    if (with_key) {
        // The envelope: version, key, epoch.
        w.number(1u | covey::net::cluster_key::load(directory.file("key")).fingerprint().value << 8);
        w.number(covey::epoch_t{1});
        known.sender_at = 8;
    } else {
        covey::mesh::write_packet_front(front, {covey::cluster_id::from_name("covey"), covey::peer_id{77}, 1}, {});
        front.truncate(covey::mesh::packet_header_bytes);
        known.sender_at = covey::mesh::packet_header_bytes - 12;
        known.kind_at = 3;
    }
    known.front.assign(front.view().begin(), front.view().end());

    using clock = std::chrono::steady_clock;
    flood noise(target.address(), known);
    const auto start = clock::now();
    std::size_t calls = 0;
    clock::duration slowest{};
    long before_kb = 0;
    while (clock::now() - start < length) {
        for (std::size_t i = 1; i < agents.size(); ++i) {
            const auto asked = clock::now();
            CHECK(agents[i].reaches(target));
            slowest = std::max(slowest, clock::now() - asked);
            CHECK(target.reaches(agents[i]));
            ++calls;
        }
        if (before_kb == 0 && clock::now() - start > length / 4) before_kb = resident_kb(target.pid());
    }
    noise.stop();
    const long after_kb = resident_kb(target.pid());

    // Nobody was given up meanwhile: then it would have come back under another epoch.
    for (agent& a : agents) {
        CHECK(a.sees(3));
        const std::string members = a.mesh();
        INFO(members);
        for (const agent& b : agents) CHECK(members.find(b.id() + "@1=") != std::string::npos);
    }
    CHECK(calls > 10);
    CHECK(noise.datagrams > 10000);
    if (with_key) CHECK(noise.answers == 0);
    CHECK(noise.answer_bytes <= 3 * noise.bytes);
#if !COVEY_SANITIZED  // which keep what was freed
    CHECK(after_kb - before_kb < 1024);
#endif
    if (option != nullptr) {
        std::printf(
            "flood for %lld s, %s: %.0f datagrams/s, %.1f MB/s, %llu answers; %zu calls, the slowest %.1f ms; memory %ld KB, %+ld KB\n",
            static_cast<long long>(length.count()), with_key ? "with a key" : "without a key",
            static_cast<double>(noise.datagrams) / static_cast<double>(length.count()),
            static_cast<double>(noise.bytes) / 1e6 / static_cast<double>(length.count()), static_cast<unsigned long long>(noise.answers),
            calls, std::chrono::duration<double, std::milli>(slowest).count(), after_kb, after_kb - before_kb);
    }
}

}  // namespace covey_test_cluster_flood
