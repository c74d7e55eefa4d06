// The launcher: jobs of several processes, what happens to their output, and that nothing is ever left behind.
#include <cluster/agent.hpp>

#include <catch2/catch.hpp>

#include <chrono>
#include <csignal>
#include <sstream>
#include <string>
#include <vector>

#include <sys/stat.h>

#if __has_include(<nlohmann/json.hpp>)
#include <nlohmann/json.hpp>
#define COVEY_TEST_JSON 1
#else
#include <support/skip.hpp>
#endif

using namespace covey_test;
using namespace std::chrono_literals;

namespace {

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

process peerd(std::vector<std::string> arguments, std::vector<std::string> environment = {}) {
    arguments.insert(arguments.begin(), program("peerd"));
    return process(std::move(arguments), {std::move(environment), false});
}

/// `peerd run -n N cluster_agent`; the main agent obeys what is sent to peerd.
class agent_job : public process {
public:
    explicit agent_job(int peers)
        : process({program("peerd"), "run", "-n", std::to_string(peers), "--threads", "1", program("cluster_agent")}) {
        main_id = expect("ready ", 40s).substr(0, 16);
        send("pids all");
        std::istringstream answer(expect("all reply "));
        for (pid_t p = 0; answer >> p;) pids.push_back(p);
        REQUIRE(pids.size() == static_cast<std::size_t>(peers));
        // Ids in the same order: both begin with the main peer, and no member came or went in between.
        send("members");
        std::istringstream members(expect("members "));
        for (std::string m; members >> m;) ids.push_back(m.substr(0, 16));
        REQUIRE(ids.size() == pids.size());
    }

    std::string main_id;
    std::vector<pid_t> pids;  ///< the main one first
    std::vector<std::string> ids;
};

}  // namespace

TEST_CASE("peerd run gives the exit code of the main process") {
    agent_job job(3);
    job.send("exit 7");
    CHECK(job.wait() == 7);
    CHECK(all_gone(job.pids, 0ms));
    CHECK(job.err().empty());
}

TEST_CASE("peerd run passes the main process's output on as it is and the others' with their number") {
    agent_job job(3);
    for (const std::string& id : job.ids) {
        job.send("print p " + id + " said by " + id);
        job.expect("p reply printed");
    }
    CHECK(job.expect("said by ") == job.ids[0]);
    const std::string first = job.expect("[1] said by ");
    const std::string second = job.expect("[2] said by ");
    CHECK(first != second);
    CHECK((first == job.ids[1] || first == job.ids[2]));
    CHECK((second == job.ids[1] || second == job.ids[2]));
    job.close_input();
    CHECK(job.wait() == 0);
}

TEST_CASE("peerd run cuts a line that is too long into several and loses nothing") {
    agent_job job(2);
    std::string text;
    while (text.size() < 40000) text += std::to_string(text.size()) + ",";
    job.send("print p " + job.ids[1] + " " + text);
    job.expect("p reply printed");
    std::string back;
    while (back.size() < text.size()) back += job.expect("[1] ");
    CHECK(back == text);
    job.send("exit 0");
    CHECK(job.wait() == 0);
}

TEST_CASE("peerd run tells of a serving process that dies, and the job goes on") {
    agent_job job(4);
    REQUIRE(kill(job.pids[2], SIGKILL) == 0);
    const std::string line = job.expect_error("peerd: peer ");
    INFO(line);
    CHECK(has(line, "(pid " + std::to_string(job.pids[2]) + ") was lost: signal 9"));
    CHECK(has(line, "with 3 peers"));
    job.send("until u 3 10000");
    CHECK(job.expect("u ", 15s) == "done");
    job.send("exit 0");
    CHECK(job.wait() == 0);
    CHECK(all_gone(job.pids, 0ms));
}

TEST_CASE("peerd run: when the main process is killed, the others end and the exit code tells") {
    agent_job job(3);
    REQUIRE(kill(job.pids[0], SIGKILL) == 0);
    CHECK(job.wait() == 128 + SIGKILL);
    CHECK(has(job.err(), "the main process was ended by signal 9"));
    CHECK(all_gone(job.pids, 0ms));
}

TEST_CASE("SIGINT or SIGTERM to peerd run ends every process") {
    agent_job job(4);
    const int number = GENERATE(SIGINT, SIGTERM);
    job.signal(number);
    CHECK(job.wait() == 128 + number);
    CHECK(all_gone(job.pids, 0ms));
}

TEST_CASE("peerd run kills after three seconds what does not heed a request to end, at once when asked twice") {
    process job = peerd({"run", "/bin/sh", "-c", "trap '' TERM; echo pid $$; exec sleep 60"});
    const std::vector<pid_t> deaf{std::stoi(job.expect("pid "))};
    const bool twice = GENERATE(false, true);
    job.signal(SIGINT);
    job.expect_error("peerd: interrupted");
    if (twice) job.signal(SIGINT);
    CHECK(job.wait() == 130);
    CHECK(has(job.err(), "killing all processes") == twice);
    CHECK(all_gone(deaf, 0ms));
}

TEST_CASE("processes of a job do not outlive a launcher that is killed") {
    agent_job job(4);
    job.signal(SIGKILL);
    CHECK(job.wait() == 128 + SIGKILL);
    CHECK(all_gone(job.pids, 5s));
}

TEST_CASE("peerd run says what is wrong with a program that it cannot run") {
    temporary_directory directory;
    SECTION("not there") {
        process p = peerd({"run", "-n", "2", directory.file("nothing")});
        CHECK(p.wait() == 127);
        CHECK(has(p.err(), directory.file("nothing") + ": no such program"));
    }
    SECTION("not executable") {
        process p = peerd({"run", "-n", "2", directory.write("text", "hello")});
        CHECK(p.wait() == 126);
        CHECK(has(p.err(), "not an executable file"));
    }
    SECTION("ends before it listens") {
        process p = peerd({"run", "-n", "2", "/bin/sh", "-c", "exit 3"});
        CHECK(p.wait() == 3);
        CHECK(has(p.err(), "before it listened"));
    }
    SECTION("never listens") {
        process p = peerd({"run", "-n", "2", "--ready-limit", "1", "/bin/sleep", "60"});
        CHECK(p.wait() == 1);
        CHECK(has(p.err(), "is it a covey program"));
    }
    SECTION("none given") {
        process p = peerd({"run", "-n", "2"});
        CHECK(p.wait() == 2);
        CHECK(has(p.err(), "no program"));
    }
    SECTION("an option that is none") {
        process p = peerd({"run", "--nonsense", "/bin/true"});
        CHECK(p.wait() == 2);
        CHECK(has(p.err(), "--nonsense"));
    }
}

TEST_CASE("a job under a key") {
    temporary_directory directory;
    process key = peerd({"keygen", directory.file("key")});
    REQUIRE(key.wait() == 0);
    process job = peerd({"run", "-n", "3", "--key-file", directory.file("key"), program("hello")});
    CHECK(job.wait(40s) == 0);
    CHECK(has(job.out(), "hello from hello-0"));
    CHECK(has(job.out(), "hello from hello-1"));
    CHECK(has(job.out(), "hello from hello-2"));
}

TEST_CASE("peerd up is a rendezvous: it tells who comes and goes, and leaves when asked") {
    process up = peerd({"up", "--bind", "127.0.0.1:0", "--name", "rendezvous"});
    const std::string address = up.expect("up at ").substr(0, std::string("127.0.0.1:00000").size());
    const std::string seed = address.substr(0, address.find(','));
    agent one({.join = {seed}, .environment = {"COVEY_NAME=one"}});
    agent two({.join = {seed}, .environment = {"COVEY_NAME=two"}});
    CHECK(has(up.expect("one ("), "joined"));
    CHECK(has(up.expect("two ("), "joined"));
    CHECK(one.sees(2));  // the rendezvous runs another program, and takes no calls of this one
    CHECK(two.reaches(one));

    process second = peerd({"up", "--bind", "127.0.0.1:0", "--join", seed, "--name", "other"});
    CHECK(has(up.expect("other ("), "joined"));

    process list = peerd({"members", "--address", seed});
    CHECK(list.wait() == 0);
    INFO(list.out());
    for (const char* name : {"rendezvous", "other", "one", "two"}) CHECK(has(list.out(), name));
    CHECK(has(list.out(), one.id()));

#ifdef COVEY_TEST_JSON
    process json = peerd({"members", "--address", seed, "--json"});
    CHECK(json.wait() == 0);
    const nlohmann::json all = nlohmann::json::parse(json.out());
    REQUIRE(all.size() == 4);
    bool found = false;
    for (const auto& m : all) {
        if (m.at("id") != one.id()) continue;
        found = true;
        CHECK(m.at("name") == "one");
        CHECK(m.at("address") == one.address());
        CHECK(m.at("role") == "main");
        CHECK(m.at("state") == "alive");
        CHECK(m.at("threads") == 2);
    }
    CHECK(found);
#else
    skip("no JSON parser here");
#endif

    two.send("exit 0");
    CHECK(two.wait() == 0);
    CHECK(has(up.expect("two ("), "is gone"));
    second.signal(SIGTERM);
    CHECK(second.wait() == 0);
    CHECK(has(up.expect("other ("), "is gone"));
    up.signal(SIGINT);
    CHECK(up.wait() == 0);
    CHECK(one.sees(1));
}

TEST_CASE("peerd members shows what members say of themselves") {
    process up = peerd({"up", "--bind", "127.0.0.1:0", "--name", "machine", "--label", "zone=eu-1", "--label", "rack=7", "--resource",
                        "licences=3", "--gpus", "2", "--memory-mib", "4096"});
    const std::string line = up.expect("up at ");
    const std::string seed = line.substr(0, line.find(','));
    agent one(
        {.join = {"peers.invalid:7400", seed}, .environment = {"COVEY_NAME=one", "COVEY_LABELS=zone=eu-2", "COVEY_RESOURCES=seats=5"}});
    CHECK(has(up.expect("one ("), "joined; 2 members"));
    process list = peerd({"members", "--address", seed});
    CHECK(list.wait() == 0);
    INFO(list.out());
    CHECK(has(list.out(), "zone=eu-1,rack=7"));
    CHECK(has(list.out(), "memory_mib=4096,gpus=2,licences=3"));
    CHECK(has(list.out(), "zone=eu-2"));
    CHECK(has(list.out(), "seats=5"));
    // Another member tells the same, and does not count who looks.
    process other = peerd({"members", "--address", one.address()});
    CHECK(other.wait() == 0);
    CHECK(has(other.out(), "zone=eu-1,rack=7"));
    CHECK_FALSE(has(other.out(), "peerd-members"));

#ifdef COVEY_TEST_JSON
    process json = peerd({"members", "--address", seed, "--json"});
    CHECK(json.wait() == 0);
    const nlohmann::json all = nlohmann::json::parse(json.out());
    REQUIRE(all.size() == 2);
    const nlohmann::json& machine = all[0].at("name") == "machine" ? all[0] : all[1];
    CHECK(machine.at("labels") == nlohmann::json({{"zone", "eu-1"}, {"rack", "7"}}));
    CHECK(machine.at("resources") == nlohmann::json({{"licences", 3}}));
    CHECK(machine.at("gpus") == 2);
    CHECK(machine.at("memory_mib") == 4096);
    CHECK(machine.at("flaky") == false);
    CHECK(machine.at("unreachable") == false);
    CHECK(machine.at("load").at("cores") == 0);
    CHECK(machine.at("build").get<std::string>().size() == 16);
    CHECK(machine.at("table").get<std::string>().size() == 16);
#else
    skip("no JSON parser here");
#endif
    up.signal(SIGTERM);
    CHECK(up.wait() == 0);
}

TEST_CASE("peerd calls shows what a member has served") {
    process up = peerd({"up", "--bind", "127.0.0.1:0", "--name", "machine"});
    const std::string line = up.expect("up at ");
    const std::string seed = line.substr(0, line.find(','));
    process first = peerd({"calls", "--address", seed});
    CHECK(first.wait() == 0);
    CHECK(has(first.out(), "BYTES-OUT"));
    process second = peerd({"calls", "--address", seed});
    CHECK(second.wait() == 0);
    INFO(second.out() << second.err());
    CHECK(has(second.out(), "served  1 "));
    CHECK(has(second.out(), "tell_call_statistics"));
#ifdef COVEY_TEST_JSON
    process json = peerd({"calls", "--address", seed, "--json"});
    CHECK(json.wait() == 0);
    const nlohmann::json all = nlohmann::json::parse(json.out());
    REQUIRE(all.at("functions").size() == 1);
    CHECK(all.at("functions")[0].at("served").at("values") == 2);
    CHECK(all.at("functions")[0].at("made").at("calls") == 0);
    CHECK(all.at("refused").empty());
#else
    skip("no JSON parser here");
#endif
    up.signal(SIGTERM);
    CHECK(up.wait() == 0);
}

TEST_CASE("peerd up says what is wrong with its options, and peerd settings what is right") {
    const auto refused = [](std::vector<std::string> options) {
        options.insert(options.begin(), {"up", "--bind", "127.0.0.1:0"});
        process up = peerd(std::move(options));
        CHECK(up.wait() == 1);
        return up.err();
    };
    CHECK(has(refused({"--label", "zone"}), "\"zone\" is no label"));
    CHECK(has(refused({"--resource", "seats=many"}), "\"many\" is no number of seats"));
    CHECK(has(refused({"--label", "a=" + std::string(64, 'v'), "--label", "b=" + std::string(65, 'v')}), "too long"));
    CHECK(has(refused({"--profile", "moon"}), "local, lan or wan"));
    CHECK(has(refused({"--set", "probe_interval=0s"}), "probe_interval=0s: allowed is 1ms to 24h"));
    CHECK(has(refused({"--join", "two words:7400"}), "two words:7400"));

    process settings = peerd({"settings"});
    CHECK(settings.wait() == 0);
    for (const char* word : {"probe_interval", "200ms", "1ms to 24h", "packet_bytes_max", "1KiB to 65000"})
        CHECK(has(settings.out(), word));
    process up = peerd({"up", "--bind", "127.0.0.1:0", "--profile", "lan", "--set", "probe_interval=300ms,gossip_fanout=2"});
    up.expect("up at ");
    up.signal(SIGINT);
    CHECK(up.wait() == 0);
}

TEST_CASE("peerd up on a port in use") {
    agent owner;
    process up = peerd({"up", "--bind", owner.address()});
    CHECK(up.wait() == 1);
    CHECK(has(up.err(), owner.address()));
}

TEST_CASE("peerd keygen writes a key that only its owner can read, and overwrites nothing") {
    temporary_directory directory;
    const std::string path = directory.file("key");
    process first = peerd({"keygen", path});
    CHECK(first.wait() == 0);
    struct stat status{};
    REQUIRE(stat(path.c_str(), &status) == 0);
    CHECK((status.st_mode & 0777) == 0600);
    const std::string key = read_file(path);
    CHECK(key.size() == 65);
    process again = peerd({"keygen", path});
    CHECK(again.wait() == 1);
    CHECK(has(again.err(), path));
    CHECK(read_file(path) == key);
    process other = peerd({"keygen", directory.file("other")});
    CHECK(other.wait() == 0);
    CHECK(read_file(directory.file("other")) != key);
}

TEST_CASE("peerd tells its version and what it can do") {
    process version = peerd({"--version"});
    CHECK(version.wait() == 0);
    CHECK(version.out().starts_with("peerd "));
    process help = peerd({"--help"});
    CHECK(help.wait() == 0);
    for (const char* word : {"run", "up", "members", "keygen", "examples:"}) CHECK(has(help.out(), word));
    process nothing = peerd({});
    CHECK(nothing.wait() == 2);
    process unknown = peerd({"dance"});
    CHECK(unknown.wait() == 2);
}
