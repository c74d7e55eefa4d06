// An Ethernet switch that loses and delays frames: hosts_lossy_switch PORT..., each the name of an interface whose cable leads to the
// host with Ethernet address 02:00:00:00:00:N, N counted from 1. Each line "LOSS_PERCENT DELAY_MS" on its standard input holds
// from then on, for each frame, and is answered by "so be it LOST", the frames lost so far. Ends with its input; with 77 where packet sockets are not allowed.
#include <covey/core/random.hpp>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <deque>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace {

using clock_type = std::chrono::steady_clock;

struct frame {
    clock_type::time_point due;
    std::size_t to;  // a port
    std::vector<unsigned char> bytes;
};

/// Of a struct virtio_net_hdr, whose own header <linux/virtio_net.h> is no C++.
constexpr std::size_t front_bytes = 10;
/// More frames under way are lost, as in a switch.
constexpr std::size_t frames_max = 4096;

int open_port(const char* name) {
    const int fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, htons(ETH_P_ALL));
    if (fd < 0) return -1;
    // The header before each frame says which checksum is still to be filled in, and where a large frame is to be split: a cable
    // between two namespaces carries both undone, and only who passes the header on can pass on the frame.
    const int on = 1;
    if (setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &on, sizeof on) != 0) return -1;
    if (setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof on) != 0) return -1;
    sockaddr_ll address{};
    address.sll_family = AF_PACKET;
    address.sll_protocol = htons(ETH_P_ALL);
    address.sll_ifindex = static_cast<int>(if_nametoindex(name));
    if (address.sll_ifindex == 0) return -1;
    return bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 ? fd : -1;
}

class lossy_switch {
public:
    explicit lossy_switch(std::vector<int> ports) : m_ports(std::move(ports)) {}

    int run() {
        std::vector<pollfd> fds{{STDIN_FILENO, POLLIN, 0}};
        for (const int port : m_ports) fds.push_back({port, POLLIN, 0});
        for (;;) {
            poll(fds.data(), fds.size(), deliver());
            if (fds[0].revents != 0 && !read_input()) return 0;
            for (std::size_t i = 0; i < m_ports.size(); ++i) {
                if (fds[i + 1].revents != 0) receive(i);
            }
        }
    }

private:
    /// Sends what is due; gives the milliseconds until the next is, or -1.
    int deliver() {
        for (; !m_under_way.empty(); m_under_way.pop_front()) {
            const frame& f = m_under_way.front();
            const auto left = f.due - clock_type::now();
            if (left > clock_type::duration::zero()) return static_cast<int>(std::chrono::ceil<std::chrono::milliseconds>(left).count());
            // A frame that the port does not take is lost.
            [[maybe_unused]] const ssize_t n = write(m_ports[f.to], f.bytes.data(), f.bytes.size());
        }
        return -1;
    }

    void receive(std::size_t from) {
        for (int i = 0; i < 64; ++i) {
            const ssize_t n = read(m_ports[from], m_buffer.data(), m_buffer.size());
            if (n < static_cast<ssize_t>(front_bytes + sizeof(ether_header))) return;
            const std::span<const unsigned char> bytes(m_buffer.data(), static_cast<std::size_t>(n));
            const unsigned char* to = bytes.data() + front_bytes;
            static constexpr unsigned char ours[5] = {2, 0, 0, 0, 0};
            const bool is_for_all = (to[0] & 1) != 0;
            if (!is_for_all && std::memcmp(to, ours, sizeof ours) != 0) continue;
            for (std::size_t port = 0; port < m_ports.size(); ++port) {
                if (port != from && (is_for_all || to[5] == port + 1)) pass_on(port, bytes);
            }
        }
    }

    void pass_on(std::size_t to, std::span<const unsigned char> bytes) {
        if (m_random.chance(m_loss) || m_under_way.size() >= frames_max) {
            ++m_lost;
            return;
        }
        m_under_way.push_back({clock_type::now() + m_delay, to, {bytes.begin(), bytes.end()}});
    }

    bool read_input() {
        char bytes[256];
        const ssize_t n = read(STDIN_FILENO, bytes, sizeof bytes);
        if (n <= 0) return false;
        m_input.append(bytes, static_cast<std::size_t>(n));
        for (std::size_t end; (end = m_input.find('\n')) != std::string::npos; m_input.erase(0, end + 1)) {
            unsigned loss_percent = 0, delay_ms = 0;
            if (std::sscanf(m_input.c_str(), "%u %u", &loss_percent, &delay_ms) != 2) return false;
            m_loss = loss_percent / 100.0;
            m_delay = std::chrono::milliseconds(delay_ms);
            std::printf("so be it %zu\n", m_lost);
            std::fflush(stdout);
        }
        return true;
    }

    std::vector<int> m_ports;
    std::deque<frame> m_under_way;  // frames_max; in the order they came, also when the delay changes
    std::array<unsigned char, front_bytes + 65536 + sizeof(ether_header)> m_buffer;
    std::string m_input;
    covey::random_source m_random{1};
    std::size_t m_lost = 0;
    double m_loss = 0;
    std::chrono::milliseconds m_delay{0};
};

}  // namespace

int main(int argc, char** argv) {
    std::vector<int> ports;
    for (int i = 1; i < argc; ++i) {
        ports.push_back(open_port(argv[i]));
        if (ports.back() >= 0) continue;
        std::fprintf(stderr, "a packet socket on %s: %s\n", argv[i], std::strerror(errno));
        return errno == EPERM || errno == EAFNOSUPPORT || errno == EACCES ? 77 : 1;
    }
    return lossy_switch(std::move(ports)).run();
}
