// The ring of one peer at work: it answers others that ask about keys, and asks them.
#pragma once

#include <covey/core/environment.hpp>
#include <covey/core/function.hpp>
#include <covey/mesh/detail/questions.hpp>
#include <covey/mesh/key_message.hpp>

#include <mutex>
#include <optional>
#include <span>
#include <vector>

namespace covey::detail {

/// Thread-safe. A peer without a key has one too: it refuses, with the way to get one.
class key_service {
public:
    /// `on_change` gets the keys of the ring, the one in use first, whenever it has changed; one call at a time.
    using change_callback = unique_function<void(std::span<const net::cluster_key>)>;

    /// `keys`: none, or what a ring takes.
    key_service(environment& env, std::vector<net::cluster_key> keys, change_callback on_change);

    /// A message for which mesh::is_key_message is true. Who sent it has proved that it holds a key, or nobody needs one. Throws
    /// errc::bad_message.
    void on_message(net::link& from, bytes_view bytes);
    void on_link_down(const net::link& link, const std::string& text) { m_questions.link_down(link, text); }

    /// Asks one member to do `change`, `self` being this peer's own record. Never throws for what the other side does or fails to do:
    /// that is told in the result. Takes at most `answer_limit`.
    task<mesh::member_keys> ask(net::link_table& links, mesh::member who, peer_id self, mesh::key_change change);
    /// Asks all of them, `at_once` at a time; in their order.
    task<std::vector<mesh::member_keys>> ask_all(net::link_table& links, std::vector<mesh::member> members, peer_id self,
                                                 mesh::key_change change);
    static constexpr duration answer_limit = std::chrono::seconds(5);
    static constexpr std::size_t at_once = 32;

private:
    mesh::key_reply apply(const mesh::key_change& change, std::uint64_t number, peer_id asked_by);

    environment& m_env;
    std::mutex m_mutex;
    std::optional<mesh::key_ring> m_ring;
    change_callback m_on_change;
    questions<mesh::key_request, mesh::key_reply> m_questions;  // at_once for each ask_all that runs
};

}  // namespace covey::detail

#ifndef COVEY_COMPILED
#include <covey/mesh/impl/key_service.ipp>
#endif
