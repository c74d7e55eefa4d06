// All processes of one side, and who of them holds whom for a member.
#pragma once

#include <mesh_real/child.hpp>
#include <mesh_real/side.hpp>

#include <cstdint>
#include <stdexcept>
#include <vector>

namespace mesh_real {

/// Ctrl-C, or a request to end.
struct interrupted : std::runtime_error {
    interrupted() : std::runtime_error("interrupted") {}
};

/// From now on SIGINT, SIGTERM and SIGHUP make the functions here throw `interrupted`, so that destructors end all children.
void catch_interrupts() noexcept;
/// Throws `interrupted` if one came.
void look_for_interrupt();

/// Peers are numbered as they were started, and keep their numbers. The destructor ends all. While one of the functions that
/// wait runs, the output of all is read. They throw `interrupted`, and std::runtime_error when a process has ended by itself.
class population {
public:
    explicit population(const side& what) noexcept : m_side(what) {}

    /// Starts one more, which joins through `seeds` of the first; gives the time right before.
    std::int64_t start(unsigned seeds);
    unsigned started() const noexcept { return static_cast<unsigned>(m_all.size()); }
    void kill(unsigned who);
    void stop(unsigned who);

    /// True as soon as `done()` is.
    template <class Done>
    bool wait_until(Done done, double seconds_max) {
        const std::int64_t end = now_ns() + static_cast<std::int64_t>(seconds_max * 1e9);
        while (!done()) {
            if (now_ns() >= end) return false;
            read_output(end);
        }
        return true;
    }
    void run_for(double seconds) {
        wait_until([] { return false; }, seconds);
    }

    /// The number of members that `observer` holds for present.
    unsigned seen_by(unsigned observer) const;
    bool listens(unsigned who) const { return !m_all[who].seeds_address.empty(); }
    /// Every running one but the subject holds it for present, or for gone.
    bool is_here_for_all(unsigned subject) const { return agree(subject, true); }
    bool is_gone_for_all(unsigned subject) const { return agree(subject, false); }
    /// When the last of them came to do so.
    std::int64_t last_change_about(unsigned subject) const;
    /// All running ones see each other; and when the last of them came to do so.
    bool all_see_all() const;
    std::int64_t last_change() const;

    /// How often somebody held one for gone that ran.
    unsigned false_deaths() const noexcept { return m_false_deaths; }
    /// Of those that run.
    std::vector<usage> measure() const;

private:
    struct view {
        bool here = false;
        std::int64_t at_ns = 0;
    };
    struct one {
        child process;
        bool runs = true;  // neither killed nor stopped
        std::string seeds_address{};
        std::vector<view> others{};  // by number
        std::string last_line{};
    };

    bool agree(unsigned subject, bool here) const;
    void read_output(std::int64_t until_ns);
    void note(unsigned observer, const sighting& s);

    const side& m_side;
    std::vector<one> m_all;
    unsigned m_false_deaths = 0;
};

}  // namespace mesh_real
