#include <covey/core/random.hpp>
#include <covey/net/seal.hpp>

#include <catch2/catch.hpp>

#include <string>
#include <vector>

namespace covey_test_net_seal {  // so that test files can be compiled together

using namespace covey;
using net::cluster_key;
using net::sealer;

namespace {

const cluster_id home = cluster_id::from_name("home");
const peer_id alice{1};
const peer_id bob{2};

std::string sealed(sealer& s, const std::string& text) {
    byte_buffer out;
    s.seal(as_bytes_view(text), out);
    return std::string(as_text(out));
}

/// What `s` makes of a datagram; "refused" when nothing.
std::string opened(sealer& s, const std::string& datagram) {
    byte_buffer out;
    out.append("before", 6);
    const bool good = s.open(as_bytes_view(datagram), out);
    if (!good) {
        CHECK(as_text(out) == "before");
        return "refused";
    }
    return std::string(as_text(out).substr(6));
}

}  // namespace

TEST_CASE("a datagram comes out as it went in", "[net][seal]") {
    const cluster_key key = cluster_key::generate();
    sealer a(key, home, alice, 1);
    sealer b(key, home, bob, 7);
    for (const std::size_t size : {0u, 1u, 100u, 1400u, 65000u}) {
        const std::string text(size, 'm');
        const std::string datagram = sealed(a, text);
        CHECK(datagram.size() == size + sealer::overhead);
        CHECK(sealer::overhead <= 64);
        CHECK(opened(b, datagram) == text);
        CHECK(b.last_sender() == alice);
    }
    CHECK(opened(a, sealed(b, "and back")) == "and back");
    CHECK(sealed(a, "same text") != sealed(a, "same text"));
    CHECK(b.rejections().total() == 0);
}

TEST_CASE("no bit of a datagram can be changed, and none left out", "[net][seal]") {
    const cluster_key key = cluster_key::generate();
    sealer a(key, home, alice, 1);
    sealer b(key, home, bob, 1);
    const std::string datagram = sealed(a, "hello");
    for (std::size_t i = 0; i < datagram.size() * 8; ++i) {
        std::string changed = datagram;
        changed[i / 8] = static_cast<char>(changed[i / 8] ^ (1 << (i % 8)));
        CHECK(opened(b, changed) == "refused");
    }
    for (std::size_t n = 0; n < datagram.size(); ++n) CHECK(opened(b, datagram.substr(0, n)) == "refused");
    CHECK(opened(b, datagram + "x") == "refused");
    CHECK(b.senders() == 0);
    CHECK(opened(b, datagram) == "hello");
}

TEST_CASE("another key or another cluster opens nothing", "[net][seal]") {
    const cluster_key key = cluster_key::generate();
    sealer a(key, home, alice, 1);
    sealer other_key(cluster_key::generate(), home, bob, 1);
    sealer other_cluster(key, cluster_id::from_name("other"), bob, 1);
    const std::string datagram = sealed(a, "hello");
    CHECK(opened(other_key, datagram) == "refused");
    CHECK(opened(other_cluster, datagram) == "refused");
    CHECK(other_key.rejections().unauthentic == 1);
    CHECK(other_cluster.rejections().unauthentic == 1);
}

TEST_CASE("each datagram is taken once, in any order within the window", "[net][seal]") {
    const cluster_key key = cluster_key::generate();
    sealer a(key, home, alice, 1, 16, 1000);
    sealer b(key, home, bob, 1);
    std::vector<std::string> datagrams;
    for (int i = 0; i < 200; ++i) datagrams.push_back(sealed(a, std::to_string(i)));
    for (int i = 100; i > 36; --i) CHECK(opened(b, datagrams[static_cast<std::size_t>(i)]) == std::to_string(i));
    CHECK(opened(b, datagrams[36]) == "refused");  // one too old
    for (int i = 0; i <= 100; ++i) CHECK(opened(b, datagrams[static_cast<std::size_t>(i)]) == "refused");
    CHECK(opened(b, datagrams[199]) == "199");
    CHECK(opened(b, datagrams[199]) == "refused");
    CHECK(opened(b, datagrams[136]) == "136");
    CHECK(opened(b, datagrams[135]) == "refused");
    CHECK(b.rejections().replayed == 1 + 101 + 1 + 1);
    CHECK(b.rejections().unauthentic == 0);
}

TEST_CASE("a new epoch replaces the old one for good", "[net][seal]") {
    const cluster_key key = cluster_key::generate();
    sealer a(key, home, alice, 1);
    sealer b(key, home, bob, 1);
    const std::string before = sealed(a, "before");
    const std::string late = sealed(a, "late");
    CHECK(opened(b, before) == "before");
    a.set_epoch(2);
    CHECK(opened(b, sealed(a, "after")) == "after");
    CHECK(opened(b, late) == "refused");
    CHECK(b.rejections().stale_epoch == 1);
}

TEST_CASE("one's own datagram, reflected, is refused", "[net][seal]") {
    sealer a(cluster_key::generate(), home, alice, 1);
    CHECK(opened(a, sealed(a, "echo")) == "refused");
    CHECK(a.rejections().own == 1);
}

TEST_CASE("the memory of senders is bounded and keeps the recent ones", "[net][seal]") {
    const cluster_key key = cluster_key::generate();
    sealer b(key, home, bob, 1, 4);
    sealer a(key, home, alice, 1);
    std::string last;
    for (std::uint64_t i = 0; i < 20; ++i) {
        sealer other(key, home, peer_id{100 + i}, 1);
        CHECK(opened(b, sealed(other, "x")) == "x");
        last = sealed(a, "still known");
        CHECK(opened(b, last) == "still known");
        CHECK(b.senders() <= 4);
    }
    CHECK(opened(b, last) == "refused");
}

TEST_CASE("noise is refused and remembered by nobody", "[net][seal]") {
    sealer b(cluster_key::generate(), home, bob, 1);
    for (std::uint64_t seed = 0; seed < 500; ++seed) {
        random_source random(seed);
        std::string noise(random.below(200), '\0');
        for (char& c : noise) c = static_cast<char>(random.next());
        if (!noise.empty() && seed % 2 == 0) noise[0] = 1;
        CHECK(opened(b, noise) == "refused");
    }
    CHECK(b.senders() == 0);
    CHECK(b.rejections().total() == 500);
}

}  // namespace covey_test_net_seal
