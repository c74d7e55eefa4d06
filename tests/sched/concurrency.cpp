#include <covey/sched/concurrency.hpp>

#include <catch2/catch.hpp>

#include <covey/sched/pool.hpp>
#if __has_include(<covey/sched/detail/cgroup.hpp>)
#include <covey/sched/detail/cgroup.hpp>
#define COVEY_TEST_HAS_CGROUP 1
#endif

#include <sched.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>
#include <string>
#include <thread>

namespace covey_test_sched_concurrency {

using namespace covey;

namespace {

/// Sets an environment variable, and puts it back as it was.
class with_environment {
public:
    with_environment(const char* name, const char* value) : m_name(name) {
        if (const char* before = std::getenv(name)) m_before = before;
        if (value != nullptr) {
            setenv(name, value, 1);
        } else {
            unsetenv(name);
        }
    }
    with_environment(const with_environment&) = delete;
    with_environment& operator=(const with_environment&) = delete;
    ~with_environment() {
        if (m_before) {
            setenv(m_name, m_before->c_str(), 1);
        } else {
            unsetenv(m_name);
        }
    }

private:
    const char* m_name;
    std::optional<std::string> m_before;
};

unsigned cpus_in_mask() {
    cpu_set_t mask;
    CPU_ZERO(&mask);
    REQUIRE(sched_getaffinity(0, sizeof mask, &mask) == 0);
    return static_cast<unsigned>(CPU_COUNT(&mask));
}
unsigned concurrency_with(const char* threads) {
    const with_environment set("COVEY_THREADS", threads);
    return default_concurrency();
}

/// A folder of files as the kernel shows them, gone at the end.
class groups_folder {
public:
    groups_folder() : m_path(std::filesystem::temp_directory_path() / ("covey-cgroup-" + std::to_string(getpid()))) {
        std::filesystem::create_directories(m_path);
    }
    groups_folder(const groups_folder&) = delete;
    groups_folder& operator=(const groups_folder&) = delete;
    ~groups_folder() {
        std::error_code ignored;
        std::filesystem::remove_all(m_path, ignored);
    }
    void write(const std::string& file, const std::string& text) const {
        const std::filesystem::path path = m_path / file;
        std::filesystem::create_directories(path.parent_path());
        std::ofstream(path) << text << "\n";
    }
    std::string path() const { return m_path.string(); }

private:
    std::filesystem::path m_path;
};

}  // namespace

TEST_CASE("available_cpus counts the CPUs this thread may run on", "[sched]") {
    CHECK(available_cpus() == cpus_in_mask());
    CHECK(available_cpus() >= 1);
    unsigned with_one = 0;
    std::thread([&] {
        cpu_set_t mask;
        REQUIRE(sched_getaffinity(0, sizeof mask, &mask) == 0);
        int first = 0;
        while (!CPU_ISSET(first, &mask)) ++first;
        CPU_ZERO(&mask);
        CPU_SET(first, &mask);
        REQUIRE(sched_setaffinity(0, sizeof mask, &mask) == 0);
        with_one = available_cpus();
    }).join();
    CHECK(with_one == 1);
}

TEST_CASE("the default concurrency is at least 1 and at most the CPUs", "[sched]") {
    const unsigned n = concurrency_with(nullptr);
    CHECK(n >= 1);
    CHECK(n <= available_cpus());
}

TEST_CASE("COVEY_THREADS is a number of at least 1, or nothing", "[sched]") {
    const unsigned otherwise = concurrency_with(nullptr);
    CHECK(concurrency_with("1") == 1);
    CHECK(concurrency_with("7") == 7);
    CHECK(concurrency_with("  7") == 7);
    CHECK(concurrency_with("0007") == 7);
    CHECK(concurrency_with("1000000") == 4096);
    CHECK(concurrency_with("") == otherwise);
    CHECK(concurrency_with("0") == otherwise);
    CHECK(concurrency_with("-3") == otherwise);
    CHECK(concurrency_with("many") == otherwise);
    const with_environment set("COVEY_THREADS", "3");
    const pool threads;
    CHECK(threads.concurrency() == 3);
    const pool explicitly({.threads = 2});
    CHECK(explicitly.concurrency() == 2);
}

#ifdef COVEY_TEST_HAS_CGROUP
TEST_CASE("what a control group of version 2 grants", "[sched]") {
    const groups_folder folder;
    CHECK(detail::cgroup_cpus(folder.path()) == 0);
    const auto granted = [&](const char* text) {
        folder.write("cpu.max", text);
        return detail::cgroup_cpus(folder.path());
    };
    CHECK(granted("max 100000") == 0);
    CHECK(granted("100000 100000") == 1);
    CHECK(granted("150000 100000") == 2);
    CHECK(granted("200000 100000") == 2);
    CHECK(granted("200001 100000") == 3);
    CHECK(granted("1000 100000") == 1);
    CHECK(granted("50000 20000") == 3);
    CHECK(granted("9999999999999 1") == 4096);
    CHECK(granted("0 100000") == 0);
    CHECK(granted("100000 0") == 0);
    CHECK(granted("-1 100000") == 0);
    CHECK(granted("100000") == 0);
    CHECK(granted("") == 0);
    CHECK(granted("what is this") == 0);
}

TEST_CASE("what a control group of version 1 grants", "[sched]") {
    const groups_folder folder;
    folder.write("cpu.cfs_quota_us", "-1");
    CHECK(detail::cgroup_cpus(folder.path()) == 0);
    folder.write("cpu.cfs_period_us", "100000");
    CHECK(detail::cgroup_cpus(folder.path()) == 0);
    folder.write("cpu.cfs_quota_us", "250000");
    CHECK(detail::cgroup_cpus(folder.path()) == 3);
}

TEST_CASE("the tightest limit between a process's group and the root counts", "[sched]") {
    const groups_folder folder;
    const auto granted = [&](const char* groups) {
        std::istringstream text(groups);
        return detail::cgroup_cpus(text, folder.path());
    };
    folder.write("a/cpu.max", "800000 100000");
    folder.write("a/b/cpu.max", "300000 100000");
    folder.write("a/b/c/cpu.max", "max 100000");
    CHECK(granted("0::/a/b/c\n") == 3);
    CHECK(granted("0::/a\n") == 8);
    CHECK(granted("0::/\n") == 0);
    folder.write("cpu.max", "500000 100000");  // a container sees its own group here
    CHECK(granted("0::/not/there\n") == 5);
    CHECK(granted("0::/\n") == 5);
    CHECK(granted("0::/a/b/c\n") == 3);
    CHECK(granted("") == 0);
    CHECK(granted("no colons\n") == 0);

    folder.write("cpu/job/cpu.cfs_quota_us", "200000");
    folder.write("cpu/job/cpu.cfs_period_us", "100000");
    folder.write("cpu/other/cpu.cfs_quota_us", "100000");
    folder.write("cpu/other/cpu.cfs_period_us", "100000");
    CHECK(granted("4:cpu,cpuacct:/job\n") == 2);
    CHECK(granted("4:cpuacct,cpu:/job\n") == 2);
    // Groups of other controllers have other paths, and do not count.
    CHECK(granted("4:cpu,cpuacct:/job\n3:cpuset:/other\n2:memory:/other\n") == 2);
    CHECK(granted("3:cpuset:/other\n1:name=systemd:/other\n") == 0);
}
#endif

}  // namespace covey_test_sched_concurrency
