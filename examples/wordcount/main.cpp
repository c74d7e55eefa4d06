// Counts the words of every file under a directory, on all peers. See --help.
#include "../progress.hpp"
#include "count.hpp"
#include "files.hpp"

#include <covey/covey.hpp>

#include <atomic>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <map>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include <unistd.h>

namespace wordcount {

/// What the other peers run.
tally count_batch(covey::context& ctx, const batch& files) {
    tally result = count(files);
    result.peer = ctx.self().value;
    return result;
}

}  // namespace wordcount

template struct covey::expose<wordcount::count_batch>;

namespace {

using namespace wordcount;
using namespace std::chrono_literals;

constexpr const char* help =
    "usage: wordcount [OPTIONS] DIRECTORY\n"
    "\n"
    "Counts the words of every file under DIRECTORY on all peers (peerd run -n 4 wordcount DIRECTORY), which must all see the\n"
    "directory under the same path. A word is a run of the letters a to z and A to Z; case does not count. Symbolic links are\n"
    "not followed. A file that cannot be read is named at the end and left out.\n"
    "\n"
    "  --top N               how many of the most frequent words to print (10)\n"
    "  --serial              count in this process and one thread, without a mesh\n"
    "  --counts FILE         write all words, a line \"word<TAB>count\" each, in the order of the alphabet\n"
    "  --pids FILE           write a line \"name pid role id\" for each peer before counting, the main one first\n"
    "  --progress-file FILE  keep the percentage done in FILE\n";

struct options {
    std::string directory;
    std::size_t top = 10;
    bool serial = false;
    bool help = false;
    std::string counts_file;
    std::string pids_file;
    std::string progress_file;
};

options parse(std::span<const std::string> args) {
    options o;
    bool only_names = false;
    for (std::size_t i = 1; i < args.size(); ++i) {
        const std::string& arg = args[i];
        const auto value = [&]() -> const std::string& {
            if (i + 1 == args.size()) throw std::invalid_argument(arg + " needs a value");
            return args[++i];
        };
        if (only_names || arg.empty() || arg[0] != '-') {
            if (!o.directory.empty()) throw std::invalid_argument("one directory at a time, not " + o.directory + " and " + arg);
            o.directory = arg;
        } else if (arg == "--") {
            only_names = true;
        } else if (arg == "--top") {
            const std::string& number = value();
            const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), o.top);
            if (error != std::errc{} || end != number.data() + number.size())
                throw std::invalid_argument("--top needs a number, not " + number);
        } else if (arg == "--serial") {
            o.serial = true;
        } else if (arg == "--help" || arg == "-h") {
            o.help = true;
        } else if (arg == "--counts") {
            o.counts_file = value();
        } else if (arg == "--pids") {
            o.pids_file = value();
        } else if (arg == "--progress-file") {
            o.progress_file = value();
        } else {
            throw std::invalid_argument("unknown option " + arg);
        }
    }
    if (o.directory.empty() && !o.help) throw std::invalid_argument("no directory to count; --help tells more");
    return o;
}

[[noreturn]] void throw_cannot_write(const std::string& path) {
    throw std::runtime_error(path + " cannot be written: " + std::strerror(errno));
}

/// 1234567 as "1,234,567".
std::string with_commas(std::uint64_t n) {
    std::string text = std::to_string(n);
    for (std::size_t i = text.size(); i > 3; i -= 3) text.insert(i - 3, ",");
    return text;
}

int digits(std::uint64_t n) { return static_cast<int>(with_commas(n).size()); }

/// Names for the ids in the tallies: all members ever seen, since some are gone when the table is printed.
using names = std::map<std::uint64_t, std::string>;

void print(const totals& all, const options& o, const names& peers, std::chrono::duration<double> took) {
    std::printf("%s files, %s bytes, %s words, %s different, in %.2f s\n", with_commas(all.files()).c_str(),
                with_commas(all.bytes()).c_str(), with_commas(all.words()).c_str(), with_commas(all.distinct()).c_str(), took.count());

    const std::vector<word_count> top = all.top(o.top);
    if (!top.empty()) std::puts("");
    for (const word_count& w : top) std::printf("%*s  %s\n", digits(top[0].count), with_commas(w.count).c_str(), w.word.c_str());

    if (!peers.empty()) {
        std::size_t width = 4;
        for (const auto& [id, name] : peers) width = std::max(width, name.size());
        std::printf("\n%-*s  %*s  %*s  share\n", static_cast<int>(width), "peer", std::max(5, digits(all.files())), "files",
                    std::max(5, digits(all.words())), "words");
        for (const totals::share& s : all.shares()) {
            const auto found = peers.find(s.peer);
            const std::string name = found != peers.end() ? found->second : covey::to_string(covey::peer_id{s.peer});
            std::printf("%-*s  %*s  %*s  %4.1f%%\n", static_cast<int>(width), name.c_str(), std::max(5, digits(all.files())),
                        with_commas(s.files).c_str(), std::max(5, digits(all.words())), with_commas(s.words).c_str(),
                        all.words() == 0 ? 0.0 : 100.0 * static_cast<double>(s.words) / static_cast<double>(all.words()));
        }
    }
    std::fflush(stdout);

    constexpr std::size_t named_max = 100;
    for (std::size_t i = 0; i < std::min(all.problems().size(), named_max); ++i) {
        std::fprintf(stderr, "warning: could not be read: %s\n", all.problems()[i].c_str());
    }
    if (!all.problems().empty()) {
        std::fprintf(stderr, "warning: %zu could not be read%s; the counts are without them\n", all.problems().size(),
                     all.problems().size() > named_max ? ", the first 100 are named above" : "");
    }
}

void finish(const totals& all, const options& o, const names& peers, std::chrono::steady_clock::time_point begin) {
    print(all, o, peers, std::chrono::steady_clock::now() - begin);
    if (!o.counts_file.empty() && !all.write(o.counts_file)) throw_cannot_write(o.counts_file);
}

int count_alone(const options& o) {
    const auto begin = std::chrono::steady_clock::now();
    listing files = list_files(o.directory);
    totals all;
    all.add_problems(std::move(files.problems));
    const std::vector<batch> batches = make_batches(files, 1);
    {
        progress bar(batches.size(), o.progress_file);
        for (std::size_t i = 0; i < batches.size(); ++i) {
            bar.show(i);
            all.add(count(batches[i]));
        }
        bar.show(batches.size());
    }
    finish(all, o, {}, begin);
    return 0;
}

/// The file appears when it is complete.
covey::task<void> write_pids(covey::peer& self, const std::string& path) {
    std::string lines;
    for (const covey::member& m : self.members()) {
        std::int64_t pid = 0;
        try {
            pid = co_await covey::remote(covey::on(m.id(), {.deadline = 10s}), [] { return std::int64_t{getpid()}; });
        } catch (const covey::error& e) {
            std::fprintf(stderr, "warning: peer %s did not say its process number: %s\n", m.name().c_str(), e.what());
            continue;
        }
        std::string name = m.name();
        for (char& c : name) c = c == ' ' ? '_' : c;
        lines += name + " " + std::to_string(pid) + " " + std::string(to_string(m.role())) + " " + covey::to_string(m.id()) + "\n";
    }
    const std::string next = path + ".new";
    std::FILE* out = std::fopen(next.c_str(), "w");
    if (out == nullptr) throw_cannot_write(next);
    bool written = std::fputs(lines.c_str(), out) >= 0;
    written = std::fclose(out) == 0 && written;
    if (!written || std::rename(next.c_str(), path.c_str()) != 0) throw_cannot_write(path);
}

covey::task<void> count_together(covey::peer& self, const options& o) {
    const auto begin = std::chrono::steady_clock::now();
    listing files = list_files(o.directory);
    names peers;
    std::size_t workers = 0;
    const std::vector<covey::member> members = self.members();
    for (const covey::member& m : members) {
        peers[m.id().value] = m.name();
        workers += m.threads();
    }
    std::printf("counting %s files under %s on %zu peer%s%s\n", with_commas(files.files.size()).c_str(), o.directory.c_str(),
                members.size(), members.size() == 1 ? "" : "s", members.size() == 1 ? "" : ", each of which must see that directory");
    std::fflush(stdout);
    if (!o.pids_file.empty()) co_await write_pids(self, o.pids_file);

    totals all;
    all.add_problems(std::move(files.problems));
    std::vector<batch> batches = make_batches(files, workers);
    std::vector<tally> tallies;
    {
        const std::size_t total = batches.size();
        progress bar(total, o.progress_file);
        std::atomic<std::size_t> done{0};
        auto work = covey::map(std::move(batches), count_batch, {.retries = 10, .done = &done});
        auto first = co_await covey::when_any(bar.follow(done), std::move(work));
        tallies = std::get<1>(std::move(first));
        bar.show(total);
    }
    for (tally& t : tallies) all.add(std::move(t));
    for (const covey::member& m : self.members()) peers[m.id().value] = m.name();
    finish(all, o, peers, begin);
}

covey::task<int> run(covey::peer& self) {
    try {
        const options o = parse(self.args());
        co_await count_together(self, o);
        co_return 0;
    } catch (const std::exception& e) {
        std::fprintf(stderr, "wordcount: %s\n", e.what());
        co_return 1;
    }
}

}  // namespace

int main(int argc, char** argv) {
    // What needs no mesh is done without one.
    const std::vector<std::string> args(argv, argv + argc);
    for (const std::string& arg : args) {
        if (arg == "--") break;
        if (arg == "--help" || arg == "-h") {
            std::fputs(help, stdout);
            return 0;
        }
        if (arg != "--serial") continue;
        try {
            return count_alone(parse(args));
        } catch (const std::exception& e) {
            std::fprintf(stderr, "wordcount: %s\n", e.what());
            return 1;
        }
    }
    return covey::run(argc, argv, run);
}
