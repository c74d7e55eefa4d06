#pragma once

#include <covey/core/detail/concat.hpp>
#include <covey/mesh/detail/view_service.hpp>
#include <covey/task/timeout.hpp>

namespace covey::detail {

COVEY_INLINE void view_service::on_message(net::link& from, bytes_view bytes) {
    if (!mesh::is_view_request(bytes)) return m_questions.answer(from.peer(), mesh::decode_view_reply(bytes));
    const mesh::view_request request = mesh::decode_view_request(bytes);
    const std::shared_ptr<const mesh::view> now = m_now();
    wire::frame_header h;
    h.kind = wire::frame_kind::mesh;
    try {
        from.send(h, [&](byte_buffer& out) { mesh::encode_reply(out, request, *now); });
    } catch (const error&) {
        // The link is going down or full; who asked asks again.
    }
}

COVEY_INLINE task<mesh::view> view_service::ask(net::link_table& links, endpoint of) {
    const auto wrong = [of](const char* what) {
        return error(errc::bad_message, concat({"the view of the peer at ", to_string(of), what}));
    };
    mesh::view whole;
    mesh::view_request request;
    bool is_again = false;
    for (;;) {
        std::optional<mesh::view_reply> answer;
        try {
            answer = co_await timeout(m_questions.ask(links, of, {}, answer_limit, request), answer_limit);
        } catch (const error& e) {
            // A link that was closing already says nothing about who listens there: once more, over another one.
            if (e.code() != errc::link_lost || std::exchange(is_again, true)) throw;
        }
        if (!answer) continue;
        mesh::view_reply piece = std::move(*answer);
        std::vector<member> members = std::exchange(whole.members, {});
        const std::size_t before = members.size();
        for (member& m : piece.what.members) {
            // The peer itself stands first, outside of the order.
            if (members.size() > 1 && !(members.back().id() < m.id())) throw wrong(" is in no order");
            members.push_back(std::move(m));
        }
        if (members.empty()) throw wrong(" is empty");
        if (!piece.is_last && (members.size() < 2 || members.size() == before || members.size() > members_max)) throw wrong(" has no end");
        request.after = members.back().id();
        whole = std::move(piece.what);
        whole.members = std::move(members);
        if (piece.is_last) co_return whole;
    }
}

}  // namespace covey::detail
