#include <covey/net/key.hpp>

#include <catch2/catch.hpp>

#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>

namespace covey_test_net_key {  // so that test files can be compiled together

using namespace covey;
using net::cluster_key;

namespace {

/// A directory that goes away with everything in it that the test made.
struct scratch {
    scratch() {
        char name[] = "/tmp/covey-key-XXXXXX";
        directory = ::mkdtemp(name);
        path = directory + "/cluster.key";
    }
    ~scratch() {
        ::unlink(path.c_str());
        ::rmdir(directory.c_str());
    }
    void write(const std::string& text, mode_t mode = 0600) const {
        std::ofstream(path) << text;
        ::chmod(path.c_str(), mode);
    }
    std::string directory;
    std::string path;
};

std::string failure(const std::string& path) {
    try {
        cluster_key::load(path);
    } catch (const error& e) {
        CHECK(e.code() == errc::auth_failed);
        CHECK_THAT(e.what(), Catch::Contains(path));
        return e.what();
    }
    return "no error";
}

}  // namespace

TEST_CASE("a key survives its text", "[net][key]") {
    const cluster_key key = cluster_key::generate();
    const std::string text = key.to_text();
    CHECK(text.size() == 65);
    CHECK(text.back() == '\n');
    CHECK(cluster_key::parse(text) == key);
    CHECK(cluster_key::parse("  " + text + "\r\n ") == key);
    CHECK_FALSE(cluster_key::generate() == key);
}

TEST_CASE("a text that is no key is refused without being quoted", "[net][key]") {
    const std::string almost(63, 'a');
    for (const std::string& bad : {std::string(), almost, almost + "aa", almost + "g", almost + " "}) {
        try {
            cluster_key::parse(bad);
            FAIL("accepted: " << bad);
        } catch (const error& e) {
            CHECK(e.code() == errc::bad_argument);
            CHECK_THAT(e.what(), !Catch::Contains("aaa"));
        }
    }
}

TEST_CASE("a saved key is private, loads, and is never overwritten", "[net][key]") {
    const scratch here;
    const cluster_key key = cluster_key::generate();
    key.save(here.path);
    struct stat info{};
    REQUIRE(::stat(here.path.c_str(), &info) == 0);
    CHECK((info.st_mode & 0777) == 0600);
    CHECK(cluster_key::load(here.path) == key);
    CHECK_THROWS_WITH(cluster_key::generate().save(here.path), Catch::Contains("exists already") && Catch::Contains(here.path));
    CHECK(cluster_key::load(here.path) == key);
    CHECK_THROWS_WITH(key.save(here.directory + "/none/key"), Catch::Contains("cannot be created"));
}

TEST_CASE("a key file that will not do says what to do", "[net][key]") {
    const scratch here;
    CHECK_THAT(failure(here.path), Catch::Contains("no such file") && Catch::Contains("peerd keygen"));
    here.write(cluster_key::generate().to_text(), 0640);
    CHECK_THAT(failure(here.path), Catch::Contains("chmod 600 " + here.path));
    here.write(std::string(40, 'a'));
    ::chmod(here.path.c_str(), 0600);
    CHECK_THAT(failure(here.path), Catch::Contains("64 hex digits"));
    here.write(std::string(100000, 'a'));
    CHECK_THAT(failure(here.path), Catch::Contains("64 hex digits"));
    here.write("");
    CHECK_THAT(failure(here.path), Catch::Contains("64 hex digits"));
    CHECK_THAT(failure(here.directory), Catch::Contains("not a regular file"));
}

TEST_CASE("derived keys follow RFC 5869", "[net][key]") {
    // HKDF-SHA256 with an empty salt and a secret of 32 bytes 0x0b, computed with Python's hmac module.
    const cluster_key key = cluster_key::parse("0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b");
    std::array<std::byte, 42> out{};
    key.derive(as_bytes_view("covey"), out);
    std::string hex;
    for (const std::byte b : out) {
        char two[3];
        std::snprintf(two, sizeof two, "%02x", static_cast<unsigned>(b));
        hex += two;
    }
    CHECK(hex == "3d0537c2df4721da9ba6968864a9bc0fa8a21bab8ad3904afd7f7c4515f047db1a913bc88db6c4c32496");
    std::array<std::byte, 42> other{};
    key.derive(as_bytes_view("covez"), other);
    CHECK(out != other);
    key.derive({}, other);
    CHECK(out != other);
}

TEST_CASE("a key file may hold several keys, one a line", "[net][key]") {
    scratch here;
    const cluster_key one = cluster_key::generate();
    const cluster_key two = cluster_key::generate();
    here.write("\n" + two.to_text() + "\n  " + one.to_text() + "\n", 0600);
    CHECK(cluster_key::load_all(here.path) == std::vector<cluster_key>{two, one});
    CHECK_THROWS_WITH(cluster_key::load(here.path), Catch::Contains("2 keys where one is wanted") && Catch::Contains(here.path));
    here.write(one.to_text() + one.to_text(), 0600);
    CHECK_THROWS_WITH(cluster_key::load_all(here.path),
                      Catch::Contains("stands there twice") && Catch::Contains(to_string(one.fingerprint())));
    std::string many;
    for (std::size_t i = 0; i <= net::keys_max; ++i) many += cluster_key::generate().to_text();
    here.write(many, 0600);
    CHECK_THROWS_WITH(cluster_key::load_all(here.path), Catch::Contains("more than 8 keys"));
    here.write(one.to_text() + "not a key\n", 0600);
    CHECK_THROWS_WITH(cluster_key::load_all(here.path), Catch::Contains("64 hex digits"));
    here.write("\n\n", 0600);
    CHECK_THROWS_WITH(cluster_key::load_all(here.path), Catch::Contains("64 hex digits"));
}

TEST_CASE("a fingerprint names a key and tells nothing of it", "[net][key]") {
    const cluster_key key = cluster_key::parse("0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b");
    const std::string text = to_string(key.fingerprint());
    CHECK(text.size() == 8);
    CHECK(text.find("0b0b") == std::string::npos);
    CHECK(net::parse_key_fingerprint(text) == key.fingerprint());
    CHECK(cluster_key::generate().fingerprint() != key.fingerprint());
    CHECK(to_string(net::key_fingerprint{0x00c0ffee}) == "00c0ffee");
    for (const char* bad : {"", "00c0ffe", "00c0ffeee", "00c0ffeg"}) CHECK_FALSE(net::parse_key_fingerprint(bad));
}

}  // namespace covey_test_net_key
