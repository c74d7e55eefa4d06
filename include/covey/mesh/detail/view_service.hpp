// Tells other peers what this one sees, and asks them.
#pragma once

#include <covey/core/function.hpp>
#include <covey/mesh/detail/questions.hpp>
#include <covey/mesh/view_message.hpp>

namespace covey::detail {

/// Thread-safe.
class view_service {
public:
    using view_source = unique_function<std::shared_ptr<const mesh::view>()>;

    /// `now`: this peer's view, its loads not much older than the question.
    explicit view_service(view_source now) : m_now(std::move(now)) {}

    /// A message for which mesh::is_view_message is true. Throws errc::bad_message.
    void on_message(net::link& from, bytes_view bytes);
    void on_link_down(const net::link& link, const std::string& text) { m_questions.link_down(link, text); }
    /// The view of the peer that listens at `of`; members that come or go while it is told may be in it or not. Throws as links do,
    /// errc::timed_out after `answer_limit` without the next piece, errc::bad_message for pieces that are none.
    task<mesh::view> ask(net::link_table& links, endpoint of);

    static constexpr duration answer_limit = std::chrono::seconds(5);
    static constexpr std::size_t members_max = std::size_t{1} << 21;

private:
    const view_source m_now;
    questions<mesh::view_request, mesh::view_reply> m_questions;
};

}  // namespace covey::detail

#ifndef COVEY_COMPILED
#include <covey/mesh/impl/view_service.ipp>
#endif
