#include <mesh_real/population.hpp>

#include <algorithm>
#include <csignal>

#include <poll.h>

namespace mesh_real {

namespace {

volatile std::sig_atomic_t interrupt_came = 0;

}  // namespace

void catch_interrupts() noexcept {
    // Not restarting: poll and flock return at once.
    struct sigaction how{};
    how.sa_handler = [](int) { interrupt_came = 1; };
    for (const int number : {SIGINT, SIGTERM, SIGHUP}) sigaction(number, &how, nullptr);
}

void look_for_interrupt() {
    if (interrupt_came != 0) throw interrupted();
}

std::int64_t population::start(unsigned seeds) {
    std::vector<std::string> addresses;
    for (unsigned s = 0; s < seeds && s < m_all.size(); ++s) addresses.push_back(m_all[s].seeds_address);
    const std::vector<std::string> command = m_side.command(started(), addresses);
    const std::int64_t before = now_ns();
    m_all.push_back({child(command)});
    return before;
}

void population::kill(unsigned who) {
    m_all[who].runs = false;
    m_all[who].process.end();
}

void population::stop(unsigned who) {
    m_all[who].runs = false;
    m_all[who].process.signal(SIGSTOP);
}

unsigned population::seen_by(unsigned observer) const {
    const std::vector<view>& others = m_all[observer].others;
    return static_cast<unsigned>(std::count_if(others.begin(), others.end(), [](const view& v) { return v.here; }));
}

bool population::agree(unsigned subject, bool here) const {
    for (unsigned o = 0; o < m_all.size(); ++o) {
        if (!m_all[o].runs || o == subject) continue;
        const bool sees = subject < m_all[o].others.size() && m_all[o].others[subject].here;
        if (sees != here) return false;
    }
    return true;
}

bool population::all_see_all() const {
    const auto running = static_cast<unsigned>(std::count_if(m_all.begin(), m_all.end(), [](const one& p) { return p.runs; }));
    for (unsigned o = 0; o < m_all.size(); ++o) {
        if (m_all[o].runs && seen_by(o) != running) return false;
    }
    return true;
}

std::int64_t population::last_change_about(unsigned subject) const {
    std::int64_t last = 0;
    for (unsigned o = 0; o < m_all.size(); ++o) {
        if (m_all[o].runs && o != subject && subject < m_all[o].others.size()) last = std::max(last, m_all[o].others[subject].at_ns);
    }
    return last;
}

std::int64_t population::last_change() const {
    std::int64_t last = 0;
    for (unsigned s = 0; s < m_all.size(); ++s) last = std::max(last, last_change_about(s));
    return last;
}

std::vector<usage> population::measure() const {
    std::vector<usage> all;
    for (const one& p : m_all) {
        if (p.runs) all.push_back(p.process.measure());
    }
    return all;
}

void population::note(unsigned observer, const sighting& s) {
    if (s.kind == sighting::what::nothing || s.subject >= m_all.size()) return;
    one& by = m_all[observer];
    if (s.subject == observer) by.seeds_address = s.address;
    if (by.others.size() <= s.subject) by.others.resize(m_all.size());
    by.others[s.subject] = {s.kind == sighting::what::here, s.at_ns};
    if (s.kind == sighting::what::gone && m_all[s.subject].runs) ++m_false_deaths;
}

void population::read_output(std::int64_t until_ns) {
    look_for_interrupt();
    std::vector<pollfd> outputs;
    for (const one& p : m_all) outputs.push_back({p.process.output(), POLLIN, 0});
    const std::int64_t left_ms = (until_ns - now_ns()) / 1'000'000 + 1;
    if (poll(outputs.data(), outputs.size(), static_cast<int>(std::clamp<std::int64_t>(left_ms, 0, 1000))) <= 0) return;
    const std::int64_t now = now_ns();
    for (unsigned o = 0; o < m_all.size(); ++o) {
        if (outputs[o].revents == 0) continue;
        const bool open = m_all[o].process.read_some();
        for (std::string line; m_all[o].process.take_line(line);) {
            note(o, m_side.understand(line, now));
            m_all[o].last_line = line;
        }
        if (open) continue;
        look_for_interrupt();  // Ctrl-C ends them as well
        const std::string fate = m_all[o].process.wait();
        throw std::runtime_error(m_side.name() + ": process " + std::to_string(o) + " ended by itself, " + fate +
                                 "; it wrote last: " + m_all[o].last_line);
    }
}

}  // namespace mesh_real
