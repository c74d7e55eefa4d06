// Several peers in one process, over real sockets, and what their tests wait with.
#pragma once

#include <covey/peer.hpp>

#include <catch2/catch.hpp>

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace covey_test_call {

/// For whatever must happen, however slow the machine.
inline constexpr std::chrono::seconds patience{60};

/// Counts from any thread; the test waits for a count.
class counter {
public:
    void add(int n = 1) {
        const std::lock_guard lock(m_mutex);
        m_value += n;
        m_most = std::max(m_most, m_value);
        m_changed.notify_all();
    }
    void reset() {
        const std::lock_guard lock(m_mutex);
        m_value = m_most = 0;
    }
    int value() const {
        const std::lock_guard lock(m_mutex);
        return m_value;
    }
    /// The highest value so far.
    int most() const {
        const std::lock_guard lock(m_mutex);
        return m_most;
    }
    bool reaches(int n) const {
        std::unique_lock lock(m_mutex);
        return m_changed.wait_for(lock, patience, [&] { return m_value >= n; });
    }
    bool sinks_to(int n) const {
        std::unique_lock lock(m_mutex);
        return m_changed.wait_for(lock, patience, [&] { return m_value <= n; });
    }

private:
    mutable std::mutex m_mutex;
    mutable std::condition_variable m_changed;
    int m_value = 0;
    int m_most = 0;
};

/// n peers with a pool of one thread each, who all know each other.
class group {
public:
    explicit group(std::size_t n, const covey::peer_config& base = {}) {
        for (std::size_t i = 0; i < n; ++i) {
            covey::peer_config config = base;
            config.threads = 1;
            config.name = "p" + std::to_string(i);
            if (i != 0) config.join = {to_string(m_peers[0]->address())};
            m_peers.push_back(std::make_unique<covey::peer>(std::move(config)));
        }
        for (const auto& p : m_peers) p->run(p->wait_for_members(n, patience));
    }
    /// Without goodbyes, which take time; there is a test for those.
    ~group() {
        for (const auto& p : m_peers) {
            if (p) p->close();
        }
    }
    group(const group&) = delete;
    group& operator=(const group&) = delete;

    covey::peer& operator[](std::size_t i) { return *m_peers[i]; }
    covey::peer_id id(std::size_t i) const { return m_peers[i]->id(); }
    void destroy(std::size_t i) { m_peers[i].reset(); }

private:
    std::vector<std::unique_ptr<covey::peer>> m_peers;
};

/// How a task ended that should not have had a value.
struct outcome {
    std::error_code code;  ///< of a covey::error
    std::string text;      ///< what()
    std::string type;      ///< of a remote_error
    std::string message;   ///< of a remote_error
    covey::peer_id peer;   ///< that the error names
    bool stopped = false;
    bool ended = false;  ///< with a value
};

template <class T>
outcome outcome_of(covey::peer& on, covey::task<T> t) {
    outcome result;
    try {
        static_cast<void>(on.run(std::move(t)));
        result.ended = true;
    } catch (const covey::error& e) {
        result.code = e.code();
        result.text = e.what();
        result.peer = e.peer();
    } catch (const covey::remote_error& e) {
        result.text = e.what();
        result.type = e.type_name();
        result.message = e.message();
        result.peer = e.peer();
    } catch (const covey::stopped&) {
        result.stopped = true;
    }
    return result;
}

}  // namespace covey_test_call
