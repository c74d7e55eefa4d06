#include <mesh_real/network.hpp>

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>

#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

namespace mesh_real {

bool enter_private_network() noexcept {
    // Without privileges, one may still be privileged in a user namespace of one's own.
    if (unshare(CLONE_NEWNET) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0) return false;
    const int any = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    ifreq loopback{};
    std::strcpy(loopback.ifr_name, "lo");
    bool up = ioctl(any, SIOCGIFFLAGS, &loopback) == 0;
    loopback.ifr_flags = static_cast<short>(loopback.ifr_flags | IFF_UP);
    up = up && ioctl(any, SIOCSIFFLAGS, &loopback) == 0;
    close(any);
    return up;
}

double loopback_bytes() {
    std::ifstream in("/proc/self/net/dev");
    for (std::string line; std::getline(in, line);) {
        const std::size_t name = line.find("lo:");
        if (name != std::string::npos) return std::strtod(line.c_str() + name + 3, nullptr);
    }
    return 0;
}

}  // namespace mesh_real
