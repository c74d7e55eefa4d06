#include <covey/core/random.hpp>
#include <covey/net/seal.hpp>

#include <catch2/catch.hpp>

#include <string>
#include <vector>

namespace covey_test_net_seal {  // so that test files can be compiled together

using namespace covey;
using net::cluster_key;
using net::sealer;
using reason = net::seal_rejection;

namespace {

const cluster_id home = cluster_id::from_name("home");
const peer_id alice{1};
const peer_id bob{2};

std::optional<net::seal_rejection> last_rejection;

std::string sealed(sealer& s, const std::string& text) {
    byte_buffer out;
    s.seal(as_bytes_view(text), out);
    return std::string(as_text(out));
}

/// What `s` makes of a datagram; "refused" when nothing.
std::string opened(sealer& s, const std::string& datagram) {
    byte_buffer out;
    out.append("before", 6);
    last_rejection = s.open(as_bytes_view(datagram), out);
    if (last_rejection) {
        CHECK(as_text(out) == "before");
        return "refused";
    }
    return std::string(as_text(out).substr(6));
}

/// Why nothing was made of it.
reason refused(sealer& s, const std::string& datagram) {
    CHECK(opened(s, datagram) == "refused");
    return last_rejection.value_or(reason::count_);
}

}  // namespace

TEST_CASE("a datagram comes out as it went in", "[net][seal]") {
    const cluster_key key = cluster_key::generate();
    sealer a(key, home, alice, 1, 0);
    sealer b(key, home, bob, 7, 0);
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
}

TEST_CASE("no bit of a datagram can be changed, and none left out", "[net][seal]") {
    const cluster_key key = cluster_key::generate();
    sealer a(key, home, alice, 1, 0);
    sealer b(key, home, bob, 1, 0);
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
    sealer a(key, home, alice, 1, 0);
    sealer other_key(cluster_key::generate(), home, bob, 1, 0);
    sealer other_cluster(key, cluster_id::from_name("other"), bob, 1, 0);
    const std::string datagram = sealed(a, "hello");
    CHECK(refused(other_key, datagram) == reason::unknown_key);
    CHECK(refused(other_cluster, datagram) == reason::unauthentic);
}

TEST_CASE("each datagram is taken once, in any order within the window", "[net][seal]") {
    const cluster_key key = cluster_key::generate();
    sealer a(key, home, alice, 1, 1000);
    sealer b(key, home, bob, 1, 0);
    std::vector<std::string> datagrams;
    for (int i = 0; i < 800; ++i) datagrams.push_back(sealed(a, std::to_string(i)));
    for (int i = 400; i > 144; --i) CHECK(opened(b, datagrams[static_cast<std::size_t>(i)]) == std::to_string(i));
    CHECK(refused(b, datagrams[144]) == reason::replayed);  // one too old
    for (int i = 0; i <= 400; ++i) CHECK(refused(b, datagrams[static_cast<std::size_t>(i)]) == reason::replayed);
    CHECK(opened(b, datagrams[799]) == "799");
    CHECK(refused(b, datagrams[799]) == reason::replayed);
    CHECK(opened(b, datagrams[544]) == "544");
    CHECK(refused(b, datagrams[543]) == reason::replayed);
}

TEST_CASE("a new epoch replaces the old one for good", "[net][seal]") {
    const cluster_key key = cluster_key::generate();
    sealer a(key, home, alice, 1, 0);
    sealer b(key, home, bob, 1, 0);
    const std::string before = sealed(a, "before");
    const std::string late = sealed(a, "late");
    CHECK(opened(b, before) == "before");
    a.set_epoch(2);
    CHECK(opened(b, sealed(a, "after")) == "after");
    CHECK(refused(b, late) == reason::stale_epoch);
}

TEST_CASE("one's own datagram, reflected, is refused", "[net][seal]") {
    sealer a(cluster_key::generate(), home, alice, 1, 0);
    CHECK(refused(a, sealed(a, "echo")) == reason::own);
}

TEST_CASE("the memory of senders is bounded and keeps the recent ones", "[net][seal]") {
    const cluster_key key = cluster_key::generate();
    sealer b(key, home, bob, 1, 0, 4);
    sealer a(key, home, alice, 1, 0);
    std::string last;
    for (std::uint64_t i = 0; i < 20; ++i) {
        sealer other(key, home, peer_id{100 + i}, 1, 0);
        CHECK(opened(b, sealed(other, "x")) == "x");
        last = sealed(a, "still known");
        CHECK(opened(b, last) == "still known");
        CHECK(b.senders() <= 4);
    }
    CHECK(opened(b, last) == "refused");
}

TEST_CASE("noise is refused and remembered by nobody", "[net][seal]") {
    sealer b(cluster_key::generate(), home, bob, 1, 0);
    for (std::uint64_t seed = 0; seed < 500; ++seed) {
        random_source random(seed);
        std::string noise(random.below(200), '\0');
        for (char& c : noise) c = static_cast<char>(random.next());
        if (!noise.empty() && seed % 2 == 0) noise[0] = 1;
        CHECK(opened(b, noise) == "refused");
    }
    CHECK(b.senders() == 0);
    CHECK(refused(b, std::string(sealer::overhead - 1, '\x01')) == reason::too_short);
    CHECK(refused(b, std::string(sealer::sealed_bytes_max + 1, '\x01')) == reason::oversized);
    CHECK(refused(b, std::string(100, '\x02')) == reason::unknown_version);
    for (int i = 0; i < static_cast<int>(reason::count_); ++i) CHECK(net::to_string(static_cast<reason>(i)) != "accepted");
}

TEST_CASE("a ring: the first key seals, any opens, and the window outlives the change", "[net][seal]") {
    const cluster_key old_key = cluster_key::generate();
    const cluster_key new_key = cluster_key::generate();
    const std::vector<cluster_key> before{old_key, new_key};
    const std::vector<cluster_key> after{new_key, old_key};
    sealer a(before, home, alice, 1, 5);
    sealer b(before, home, bob, 1, 5);
    sealer late(old_key, home, peer_id{3}, 1, 5);
    const std::string first = sealed(a, "under the old key");
    CHECK(opened(b, first) == "under the old key");
    a.set_keys(after);
    const std::string second = sealed(a, "under the new key");
    CHECK(opened(b, second) == "under the new key");
    CHECK(refused(late, second) == reason::unknown_key);
    CHECK(refused(b, first) == reason::replayed);
    CHECK(refused(b, second) == reason::replayed);
    CHECK(b.senders() == 1);

    b.set_keys(std::vector<cluster_key>{new_key});
    CHECK(opened(b, sealed(a, "still")) == "still");
    a.set_keys(before);
    CHECK(refused(b, sealed(a, "with the removed key")) == reason::unknown_key);
    CHECK_THROWS_AS(b.set_keys(std::span<const cluster_key>()), error);
    CHECK_THROWS_AS(b.set_keys(std::vector<cluster_key>(net::keys_max + 1, new_key)), error);
    a.set_keys(after);
    CHECK(opened(b, sealed(a, "unharmed")) == "unharmed");
}

TEST_CASE("sealing is a function of its inputs: no clock, no system", "[net][seal]") {
    const cluster_key key = cluster_key::generate();
    sealer a(key, home, alice, 1, 77);
    sealer twin(key, home, alice, 1, 77);
    for (const char* text : {"one", "two", ""}) CHECK(sealed(a, text) == sealed(twin, text));
    a.set_epoch(2);
    twin.set_epoch(2);
    CHECK(sealed(a, "three") == sealed(twin, "three"));
}

}  // namespace covey_test_net_seal
