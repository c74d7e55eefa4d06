// The example programs, alone and as jobs, and the main promise: a peer killed in the middle changes no count.
#include <cluster/process.hpp>
#include <support/skip.hpp>

#include <covey/core/config.hpp>
#include <covey/core/random.hpp>

#include <catch2/catch.hpp>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include <sys/stat.h>
#include <unistd.h>

using namespace covey_test;
using namespace std::chrono_literals;

namespace {

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

/// Files of pseudo-random words, `bytes` in all, in some directories.
void write_tree(const temporary_directory& directory, std::size_t files, std::size_t bytes) {
    covey::random_source random(7);
    std::vector<std::string> vocabulary;
    for (int i = 0; i < 3000; ++i) {
        std::string word;
        for (std::uint64_t n = 1 + random.below(10); n > 0; --n)
            word += static_cast<char>((random.chance(0.1) ? 'A' : 'a') + random.below(26));
        vocabulary.push_back(word);
    }
    for (std::size_t i = 0; i < files; ++i) {
        std::string text;
        while (text.size() < bytes / files) {
            text += vocabulary[random.below(vocabulary.size())];
            text += " \n.,'-_0"[random.below(8)];
        }
        directory.write("d" + std::to_string(i % 7) + "/f" + std::to_string(i), text);
    }
}

std::string serial_counts(const std::string& tree, const std::string& out) {
    process p({program("wordcount"), "--serial", "--counts", out, tree});
    REQUIRE(p.wait(120s) == 0);
    return read_file(out);
}

int percent_in(const std::string& file) {
    const std::string text = read_file(file);
    return text.empty() ? 0 : std::stoi(text);
}

/// "name pid role id" lines.
std::vector<pid_t> pids_in(const std::string& file) {
    std::istringstream lines(read_file(file));
    std::vector<pid_t> pids;
    std::string name;
    std::string rest;
    for (pid_t pid = 0; lines >> name >> pid && std::getline(lines, rest);) pids.push_back(pid);
    return pids;
}

}  // namespace

TEST_CASE("hello alone is one peer, under peerd run several") {
    process alone({program("hello")});
    CHECK(alone.wait() == 0);
    CHECK(alone.out().starts_with("hello from "));
    CHECK(alone.err().empty());
    process job({program("peerd"), "run", "-n", "3", program("hello")});
    CHECK(job.wait(40s) == 0);
    for (const char* name : {"hello-0", "hello-1", "hello-2"}) CHECK(has(job.out(), std::string("hello from ") + name + ","));
}

TEST_CASE("wordcount counts runs of letters without case, and nothing else") {
    temporary_directory directory;
    directory.write("tree/a.txt", "Don't stop. STOP!\nstop42stop \xc3\xa4x");
    directory.write("tree/empty", "");
    directory.write("tree/deep/er/b", std::string("x\0X y", 5));
    directory.write("outside", "never counted");
    std::filesystem::create_symlink(directory.file("outside"), directory.file("tree/link"));
    std::filesystem::create_directory_symlink(directory.path(), directory.file("tree/loop"));
    const std::string expected = "don\t1\nstop\t4\nt\t1\nx\t3\ny\t1\n";
    CHECK(serial_counts(directory.file("tree"), directory.file("serial")) == expected);

    process p({program("wordcount"), "--counts", directory.file("mesh"), "--top", "2", directory.file("tree")});
    CHECK(p.wait() == 0);
    CHECK(read_file(directory.file("mesh")) == expected);
    INFO(p.out());
    CHECK(has(p.out(), "3 files, 37 bytes, 10 words, 5 different"));
    CHECK(has(p.out(), "4  stop\n3  x\n"));
    CHECK(!has(p.out(), "1  don"));
}

TEST_CASE("words are not cut at the ends of what is read at once") {
    temporary_directory directory;
    std::string text;
    while (text.size() < 300'000) text += "seventeenletters ";
    directory.write("tree/long", text + std::string(100'000, 'z'));
    CHECK(serial_counts(directory.file("tree"), directory.file("serial")) ==
          "seventeenletters\t" + std::to_string(text.size() / 17) + "\n" + std::string(65'536, 'z') + "\t1\n");
}

TEST_CASE("wordcount on four processes gives the counts of one alone") {
    temporary_directory directory;
    write_tree(directory, 200, 4'000'000);
    std::filesystem::create_directory(directory.file("out"));
    temporary_directory out;
    const std::string serial = serial_counts(directory.path(), out.file("serial"));
    process job({program("peerd"), "run", "-n", "4", program("wordcount"), "--counts", out.file("counts"), "--pids", out.file("pids"),
                 "--progress-file", out.file("progress"), directory.path()});
    CHECK(job.wait(60s) == 0);
    CHECK(read_file(out.file("counts")) == serial);
    CHECK(pids_in(out.file("pids")).size() == 4);
    CHECK(percent_in(out.file("progress")) == 100);
    INFO(job.out());
    CHECK(has(job.out(), "wordcount-0"));
    CHECK(has(job.out(), "share"));
}

TEST_CASE("wordcount with a peer killed in the middle gives the counts of one alone") {
    temporary_directory directory;
    write_tree(directory, 400, COVEY_SANITIZED ? 8'000'000 : 24'000'000);
    temporary_directory out;
    const std::string serial = serial_counts(directory.path(), out.file("serial"));
    process job({program("peerd"), "run", "-n", "4", "--threads", "1", program("wordcount"), "--counts", out.file("counts"), "--pids",
                 out.file("pids"), "--progress-file", out.file("progress"), directory.path()});
    job.expect("counting ", 40s);
    // The file appears when it is complete, and counting begins. A peer that is stopped holds what it was given, so that the
    // job cannot end before the kill.
    const auto until = std::chrono::steady_clock::now() + limit(20s);
    std::vector<pid_t> pids;
    while (pids.size() != 4) {
        pids = pids_in(out.file("pids"));
        if (std::chrono::steady_clock::now() >= until) FAIL("the job did not get so far in time");
        std::this_thread::yield();
    }
    REQUIRE(kill(pids[3], SIGSTOP) == 0);
    while (percent_in(out.file("progress")) < 20) {
        if (std::chrono::steady_clock::now() >= until) FAIL("the job did not get so far in time");
        std::this_thread::yield();
    }
    REQUIRE(kill(pids[3], SIGKILL) == 0);
    CHECK(percent_in(out.file("progress")) < 100);
    CHECK(job.wait(60s) == 0);
    INFO(job.err());
    CHECK(has(job.err(), "(pid " + std::to_string(pids[3]) + ") was lost: signal 9"));
    CHECK(read_file(out.file("counts")) == serial);
}

TEST_CASE("wordcount names a file that it cannot read and counts the rest") {
    temporary_directory directory;
    directory.write("tree/good", "one two two");
    const std::string bad = directory.write("tree/bad", "three");
    REQUIRE(chmod(bad.c_str(), 0) == 0);
    const bool serial = GENERATE(false, true);
    std::vector<std::string> argv{program("wordcount"), "--counts", directory.file("counts"), directory.file("tree")};
    if (serial) argv.push_back("--serial");
    process p(argv, {{}, true});
    CHECK(p.wait() == 0);
    if (read_file(directory.file("counts")) == "one\t1\nthree\t1\ntwo\t2\n" && geteuid() == 0) {
        skip("this machine's root reads every file, and cannot give that up");
        return;
    }
    CHECK(read_file(directory.file("counts")) == "one\t1\ntwo\t2\n");
    CHECK(has(p.err(), bad + ": Permission denied"));
    CHECK(has(p.err(), "1 could not be read"));
}

TEST_CASE("wordcount refuses what it cannot count, in one line") {
    temporary_directory directory;
    const std::string missing = directory.file("missing");
    const std::string file = directory.write("file", "text");
    struct {
        std::vector<std::string> arguments;
        std::string about;
    } const cases[] = {
        {{missing}, missing + ": no such directory"},
        {{"--serial", missing}, missing + ": no such directory"},
        {{file}, file + ": not a directory"},
        {{}, "no directory"},
        {{"--top", "few", directory.path()}, "--top needs a number"},
        {{"--nonsense", directory.path()}, "--nonsense"},
    };
    for (const auto& c : cases) {
        std::vector<std::string> argv{program("wordcount")};
        argv.insert(argv.end(), c.arguments.begin(), c.arguments.end());
        process p(argv);
        CHECK(p.wait() == 1);
        INFO(p.err());
        CHECK(p.err().starts_with("wordcount: "));
        CHECK(has(p.err(), c.about));
        CHECK(std::count(p.err().begin(), p.err().end(), '\n') == 1);
    }
    process job({program("peerd"), "run", "-n", "3", program("wordcount"), missing});
    CHECK(job.wait(40s) == 1);
    CHECK(has(job.err(), "no such directory"));
}

TEST_CASE("mandelbrot draws the same picture whoever computes it, but for the colours") {
    temporary_directory directory;
    const std::string picture = directory.file("m.ppm");
    process job({program("peerd"), "run", "-n", "3", program("mandelbrot"), "--size", "200x130", "--iterations", "100", "-o", picture});
    CHECK(job.wait(40s) == 0);
    INFO(job.out());
    CHECK(has(job.out(), "12 tiles"));
    const std::string ppm = read_file(picture);
    const std::string header = "P6\n200 130\n255\n";
    REQUIRE(ppm.starts_with(header));
    CHECK(ppm.size() == header.size() + 200 * 130 * 3);

    // What is inside the set is dark, whatever its hue: the centre is, the corner is not.
    const auto brightness = [&](std::size_t x, std::size_t y) {
        const std::size_t at = header.size() + (y * 200 + x) * 3;
        return static_cast<unsigned char>(ppm[at]) + static_cast<unsigned char>(ppm[at + 1]) + static_cast<unsigned char>(ppm[at + 2]);
    };
    CHECK(brightness(100, 65) < 60);
    CHECK(brightness(0, 0) > 60);

    process wrong({program("mandelbrot"), "--size", "0x10"});
    CHECK(wrong.wait() == 1);
    CHECK(has(wrong.err(), "--size"));
}
