// Sealed datagrams: noise, and true ones with something wrong about them.
#pragma once

#include <covey/net/seal.hpp>

#include <fuzz/targets/support.hpp>

#include <array>
#include <vector>

namespace covey_fuzz {

inline const std::array<net::cluster_key, 3>& fuzz_keys() {
    static const std::array<net::cluster_key, 3> keys{net::cluster_key::parse(std::string(64, '1')),
                                                      net::cluster_key::parse(std::string(64, '2')),
                                                      net::cluster_key::parse(std::string(64, '3'))};
    return keys;
}

/// Two peers that share two of their keys. What one seals is changed, cut, repeated, delayed; the other opens it once if it is
/// whole, and never otherwise.
inline void decrypt(bytes_view bytes) {
    choices in(bytes);
    const std::span<const net::cluster_key> keys = fuzz_keys();
    net::sealer alice(keys.first(2), home, peer_id{1}, 1, in.number<std::uint64_t>() >> 2);
    net::sealer bob(keys.last(2), home, peer_id{2}, 1, 0, 4);
    struct sent {
        byte_buffer bytes, plain;
        bool known_key, opened, outdated;
    };
    std::vector<sent> log;
    bool shared = false;  // alice seals with the key that both have
    epoch_t epoch = 1, heard = 1;
    byte_buffer out;
    while (!in.empty() && log.size() < 64) {
        const std::uint8_t what = in.byte();
        out.clear();
        switch (what % 8) {
            case 0: alice.set_epoch(++epoch); break;
            case 1:
                shared = !shared;
                alice.set_keys(shared ? keys.subspan(1, 1) : keys.first(2));
                break;
            case 2:
            case 3: {
                sent& s = log.emplace_back();
                s.plain.append(in.take(in.byte()));
                alice.seal(s.plain, s.bytes);
                s.known_key = shared;
                s.opened = s.outdated = false;
                break;
            }
            case 4:
            case 5: {
                if (log.empty()) break;
                sent& s = log[in.byte() % log.size()];
                const bool accepted = !bob.open(s.bytes, out);
                epoch_t of = 0;
                std::memcpy(&of, s.bytes.data() + 4, sizeof of);
                require(accepted == (s.known_key && !s.opened && of >= heard),
                        "a datagram was opened that must not be, or not one that must");
                if (!accepted) break;
                require(same(out, s.plain), "the contents changed");
                s.opened = true;
                heard = of;
                break;
            }
            case 6: {
                if (log.empty()) break;
                byte_buffer changed;
                changed.append(log[in.byte() % log.size()].bytes);
                std::byte& b = changed.data()[in.number<std::uint16_t>() % changed.size()];
                b ^= static_cast<std::byte>(1 + in.byte() % 255);
                require(bob.open(changed, out).has_value(), "a changed datagram was opened");
                break;
            }
            default: {
                const std::size_t senders = bob.senders();
                require(bob.open(in.take(in.byte()), out).has_value(), "noise was opened");
                require(bob.senders() == senders, "noise was remembered");
            }
        }
    }
}

}  // namespace covey_fuzz
