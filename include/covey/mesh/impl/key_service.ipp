#pragma once

#include <covey/core/detail/concat.hpp>
#include <covey/mesh/detail/key_service.hpp>
#include <covey/task/timeout.hpp>
#include <covey/task/when_all.hpp>

namespace covey::detail {

COVEY_INLINE key_service::key_service(environment& env, std::vector<net::cluster_key> keys, change_callback on_change)
    : m_env(env), m_on_change(std::move(on_change)) {
    if (!keys.empty()) m_ring.emplace(std::move(keys));
}

COVEY_INLINE mesh::key_reply key_service::apply(const mesh::key_change& change, std::uint64_t number, peer_id asked_by) {
    mesh::key_reply reply;
    reply.number = number;
    bool changed = false;
    {
        const std::lock_guard lock(m_mutex);
        if (!m_ring) {
            reply.failure = "this mesh runs without a key; start its members with one (`peerd keygen`) to have any to change";
            return reply;
        }
        try {
            mesh::key_ring next = *m_ring;
            changed = next.apply(change);
            // Under the lock, so that a later change cannot overtake it.
            if (changed) m_on_change(next.keys());
            m_ring = std::move(next);
        } catch (const std::exception& e) {
            reply.failure = e.what();
        }
        const auto names = m_ring->fingerprints();
        reply.keys.assign(names.begin(), names.end());
    }
    if (changed) {
        m_env.log(log_level::info,
                  concat({"keys: ", to_string(change.what), " ", to_string(change.key), ", asked by peer ", to_string(asked_by)}));
    }
    return reply;
}

COVEY_INLINE void key_service::on_message(net::link& from, bytes_view bytes) {
    if (mesh::is_key_request(bytes)) {
        const mesh::key_request request = mesh::decode_key_request(bytes);
        const mesh::key_reply reply = apply(request.change, request.number, from.peer());
        wire::frame_header h;
        h.kind = wire::frame_kind::mesh;
        try {
            from.send(h, [&reply](byte_buffer& out) { mesh::encode(out, reply); });
        } catch (const error&) {
            // The link is going down or full; who asked asks again.
        }
        return;
    }
    m_questions.answer(from.peer(), mesh::decode_key_reply(bytes));
}

COVEY_INLINE task<mesh::member_keys> key_service::ask(net::link_table& links, mesh::member who, peer_id self, mesh::key_change change) {
    mesh::member_keys result;
    mesh::key_reply reply;
    if (who.id() == self) {
        reply = apply(change, 0, self);
    } else {
        try {
            mesh::key_request request;
            request.change = std::move(change);
            reply = co_await timeout(m_questions.ask(links, who.address(), who.id(), answer_limit, std::move(request)), answer_limit);
        } catch (const error& e) {
            reply.failure = e.what();
        }
    }
    result.who = std::move(who);
    result.keys = std::move(reply.keys);
    result.failure = net::printable(reply.failure, mesh::key_reply::failure_bytes_max);
    co_return result;
}

COVEY_INLINE task<std::vector<mesh::member_keys>> key_service::ask_all(net::link_table& links, std::vector<mesh::member> members,
                                                                       peer_id self, mesh::key_change change) {
    std::vector<mesh::member_keys> results;
    for (std::size_t first = 0; first < members.size(); first += at_once) {
        std::vector<task<mesh::member_keys>> some;
        for (std::size_t i = first; i < std::min(first + at_once, members.size()); ++i)
            some.push_back(ask(links, members[i], self, change));
        std::vector<mesh::member_keys> answered = co_await when_all(std::move(some));
        for (mesh::member_keys& m : answered) results.push_back(std::move(m));
    }
    co_return results;
}

}  // namespace covey::detail
