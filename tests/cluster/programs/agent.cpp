// A peer that tests drive by lines on its standard input; it answers by lines on its standard output. Requests with a tag
// run beside each other, and their answers begin with the tag:
//
//   members                  members ID@EPOCH=ADDRESS ...   live members that run this program, this one first
//   mesh                     mesh ID@EPOCH=ADDRESS ...      live members, whatever they run
//   view                     view DIGEST MEMBERS AT_MOST SPLIT   how much of the mesh this one sees; SPLIT is 1 while it suspects one
//   until TAG N MS           TAG done | TAG late N          waits until there are N members
//   gone TAG ID MS           TAG done | TAG late N          waits until ID is no member
//   here TAG ID MS           TAG done | TAG late N          waits until ID is a member
//   echo TAG ID TEXT         TAG reply TEXT | TAG error CODE WHAT
//   sleep TAG ID MS          TAG reply awake | TAG error CODE WHAT   the other peer waits for MS before it answers
//   throw TAG ID TEXT        TAG remote-error TYPE MESSAGE           the other peer throws a std::runtime_error
//   print TAG ID TEXT        TAG reply printed                       the other peer prints TEXT on its standard output
//   pids TAG                 TAG reply PID PID ...                   of all members
//   exit CODE                leaves and ends with that exit code; so does the end of the input, with 0
//
// It begins with "ready ID ADDRESS PID". With --embedded it has a main function of its own instead of covey::run.
#include <covey/covey.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <deque>
#include <exception>
#include <mutex>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <poll.h>
#include <unistd.h>

namespace agent {

using std::chrono::milliseconds;

std::string echo(const std::string& text) { return text; }

covey::task<std::string> sleep(std::int64_t ms) {
    co_await covey::schedule_after(milliseconds(ms));
    co_return "awake";
}

std::string throw_error(const std::string& text) { throw std::runtime_error(text); }

std::string print(const std::string& text) {
    std::printf("%s\n", text.c_str());
    std::fflush(stdout);
    return "printed";
}

std::int64_t process_id() { return getpid(); }

}  // namespace agent

template struct covey::expose<agent::echo>;
template struct covey::expose<agent::sleep>;
template struct covey::expose<agent::throw_error>;
template struct covey::expose<agent::print>;
template struct covey::expose<agent::process_id>;

namespace {

using namespace agent;

void answer(const std::string& line) {
    static std::mutex one_at_a_time;
    const std::lock_guard lock(one_at_a_time);
    std::printf("%s\n", line.c_str());
    std::fflush(stdout);
}

std::string code_name(const std::error_code& code) {
    if (code == covey::errc::timed_out) return "timed_out";
    if (code == covey::errc::peer_lost) return "peer_lost";
    if (code == covey::errc::link_lost) return "link_lost";
    if (code == covey::errc::unreachable) return "unreachable";
    if (code == covey::errc::unknown_peer) return "unknown_peer";
    if (code == covey::errc::shut_down) return "shut_down";
    return std::to_string(code.value());
}

covey::peer_id id_of(const std::string& text) {
    const auto id = covey::parse_peer_id(text);
    if (!id) throw std::invalid_argument("\"" + text + "\" is no id");
    return *id;
}

/// Waits until `holds(members)`, looking again after each change.
template <class Condition>
covey::task<bool> wait_until(covey::peer& self, milliseconds limit, Condition holds) {
    const auto end = std::chrono::steady_clock::now() + limit;
    for (;;) {
        if (holds(self.members())) co_return true;
        if (std::chrono::steady_clock::now() >= end) co_return false;
        co_await covey::schedule_after(milliseconds(5));
    }
}

struct request {
    std::string verb;
    std::string tag;
    std::string first;
    std::string rest;
};

request parse(const std::string& line) {
    std::istringstream words(line);
    request r;
    words >> r.verb >> r.tag >> r.first >> std::ws;
    std::getline(words, r.rest);
    return r;
}

bool contains(const std::vector<covey::member>& members, covey::peer_id id) {
    return std::any_of(members.begin(), members.end(), [id](const covey::member& m) { return m.id() == id; });
}

covey::task<std::string> do_wait(covey::peer& self, const request& r) {
    bool done = false;
    if (r.verb == "until") {
        const std::size_t wanted = std::stoul(r.first);
        const auto enough = [wanted](const std::vector<covey::member>& members) { return members.size() == wanted; };
        done = co_await wait_until(self, milliseconds(std::stol(r.rest)), enough);
    } else {
        const covey::peer_id id = id_of(r.first);
        const bool wanted = r.verb == "here";
        const auto as_wanted = [id, wanted](const std::vector<covey::member>& members) { return contains(members, id) == wanted; };
        done = co_await wait_until(self, milliseconds(std::stol(r.rest)), as_wanted);
    }
    if (done) co_return r.tag + " done";
    co_return r.tag + " late " + std::to_string(self.members().size());
}

covey::task<std::string> do_call(covey::peer& self, const request& r) {
    std::string reply;
    if (r.verb == "echo") {
        reply = co_await covey::remote(covey::on(id_of(r.first)), echo, r.rest);
    } else if (r.verb == "sleep") {
        reply = co_await covey::remote(covey::on(id_of(r.first)), agent::sleep, std::stol(r.rest));
    } else if (r.verb == "throw") {
        reply = co_await covey::remote(covey::on(id_of(r.first)), throw_error, r.rest);
    } else if (r.verb == "print") {
        reply = co_await covey::remote(covey::on(id_of(r.first)), print, r.rest);
    } else if (r.verb == "pids") {
        for (const covey::member& m : self.members()) {
            const std::int64_t pid = co_await covey::remote(covey::on(m.id()), process_id);
            reply += (reply.empty() ? "" : " ") + std::to_string(pid);
        }
    } else {
        throw std::invalid_argument("unknown request " + r.verb);
    }
    co_return r.tag + " reply " + reply;
}

covey::task<void> handle(covey::peer& self, request r) {
    std::string line;
    try {
        if (r.verb == "until" || r.verb == "gone" || r.verb == "here") {
            line = co_await do_wait(self, r);
        } else {
            line = co_await do_call(self, r);
        }
    } catch (const covey::remote_error& e) {
        line = r.tag + " remote-error " + e.type_name() + " " + e.message();
    } catch (const covey::error& e) {
        line = r.tag + " error " + code_name(e.code()) + " " + e.what();
    } catch (const std::exception& e) {
        line = r.tag + " error none " + e.what();
    }
    answer(line);
}

std::string describe(std::string line, const std::vector<covey::member>& members) {
    for (const covey::member& m : members) {
        line += " " + covey::to_string(m.id()) + "@" + std::to_string(m.epoch()) + "=" + covey::to_string(m.address());
    }
    return line;
}

std::string describe(const covey::mesh::view& view) {
    return "view " + std::to_string(view.digest) + " " + std::to_string(view.members.size()) + " " + std::to_string(view.members_at_most) +
           " " + (view.is_split_suspected ? "1" : "0");
}

/// Reads the lines of standard input on a thread of its own, which never needs the peer's threads.
class line_reader {
public:
    line_reader() : m_thread([this] { read_all(); }) {}
    ~line_reader() {
        m_stop = true;
        m_thread.join();
    }
    line_reader(const line_reader&) = delete;
    line_reader& operator=(const line_reader&) = delete;

    /// A line that has come, if one has.
    std::optional<std::string> next() {
        const std::lock_guard lock(m_mutex);
        if (m_lines.empty()) return {};
        std::string line = std::move(m_lines.front());
        m_lines.pop_front();
        return line;
    }
    /// No line will come any more.
    bool ended() {
        const std::lock_guard lock(m_mutex);
        return m_ended && m_lines.empty();
    }

private:
    void read_all() {
        std::string text;
        while (!m_stop) {
            pollfd input{STDIN_FILENO, POLLIN, 0};
            if (poll(&input, 1, 10) == 0) continue;
            char bytes[4096];
            const ssize_t n = read(STDIN_FILENO, bytes, sizeof bytes);
            if (n <= 0) break;
            text.append(bytes, static_cast<std::size_t>(n));
            const std::lock_guard lock(m_mutex);
            for (std::size_t end; (end = text.find('\n')) != std::string::npos; text.erase(0, end + 1))
                m_lines.push_back(text.substr(0, end));
        }
        const std::lock_guard lock(m_mutex);
        m_ended = true;
    }

    std::mutex m_mutex;
    std::deque<std::string> m_lines;
    bool m_ended = false;
    std::atomic<bool> m_stop{false};
    std::thread m_thread;
};

/// Obeys until the input ends or "exit"; gives the exit code. What is still running then is stopped.
covey::task<int> run(covey::peer& self) {
    line_reader input;
    covey::scope running;
    int code = 0;
    bool stopped = false;
    answer("ready " + covey::to_string(self.id()) + " " + covey::to_string(self.address()) + " " + std::to_string(getpid()));
    try {
        while (!input.ended()) {
            const std::optional<std::string> line = input.next();
            if (!line) {
                co_await covey::schedule_after(milliseconds(1));
                continue;
            }
            request r = parse(*line);
            if (r.verb == "exit") {
                code = std::stoi(r.tag);
                break;
            }
            if (r.verb == "members") {
                answer(describe("members", self.members()));
            } else if (r.verb == "mesh") {
                answer(describe("mesh", self.mesh_members()));
            } else if (r.verb == "view") {
                answer(describe(*self.mesh_view()));
            } else {
                running.spawn(handle(self, std::move(r)));
            }
        }
    } catch (const covey::stopped&) {
        stopped = true;
    }
    running.request_stop();
    co_await running.join();
    if (stopped) throw covey::stopped{};
    co_return code;
}

int run_embedded() {
    try {
        covey::peer self(covey::peer_config::from_environment());
        const int code = self.run(run(self));
        self.leave();
        return code;
    } catch (const std::exception& e) {
        std::fprintf(stderr, "agent: %s\n", e.what());
        return 1;
    }
}

}  // namespace

int main(int argc, char** argv) {
    if (argc > 1 && std::string_view(argv[1]) == "--embedded") return run_embedded();
    return covey::run(argc, argv, run);
}
