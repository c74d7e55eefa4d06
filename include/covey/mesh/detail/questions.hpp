// Questions to other peers over links, and who waits for their answers.
#pragma once

#include <covey/core/error.hpp>
#include <covey/net/link_table.hpp>
#include <covey/task/event.hpp>
#include <covey/task/task.hpp>

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace covey::detail {

/// `Request` and `Reply` have a `number`, which the reply repeats; `encode(byte_buffer&, request)` is found beside the request. Thread-safe.
template <class Request, class Reply>
class questions {
public:
    /// Asks the peer that listens at `to`; `expected`: which one it must be, none: anybody. Throws as links do, and errc::link_lost when
    /// the link ends before the answer. Waits for ever for one that says nothing: give it a timeout, under which `connect_limit` is the time for the link alone.
    task<Reply> ask(net::link_table& links, endpoint to, peer_id expected, duration connect_limit, Request request) {
        const auto q = std::make_shared<question>();
        {
            const std::lock_guard lock(m_mutex);
            request.number = m_next_number++;
            m_open.emplace(request.number, q);
        }
        const forgetter forget{*this, request.number};
        links.connect(to, expected, connect_limit,
                      [q, request](std::shared_ptr<net::link> link, std::error_code why, const std::string& text) {
                          try {
                              if (link == nullptr) return q->end(std::nullopt, error(static_cast<errc>(why.value()), text));
                              {
                                  const std::lock_guard lock(q->mutex);
                                  q->asked = link->peer();
                                  q->over = link.get();
                              }
                              wire::frame_header h;
                              h.kind = wire::frame_kind::mesh;
                              link->send(h, [&request](byte_buffer& out) { encode(out, request); });
                          } catch (const error& e) {
                              q->end(std::nullopt, error(errc::link_lost, e.what(), link->peer()));  // it ends at this moment
                          }
                      });
        co_await q->done.wait();
        const std::lock_guard lock(q->mutex);
        if (q->failure) throw error(*q->failure);
        co_return std::move(*q->reply);
    }

    /// What nobody has asked that peer is thrown away.
    void answer(peer_id from, Reply reply) {
        std::shared_ptr<question> q;
        {
            const std::lock_guard lock(m_mutex);
            const auto at = m_open.find(reply.number);
            if (at == m_open.end()) return;
            q = at->second;
        }
        {
            const std::lock_guard lock(q->mutex);
            if (q->asked != from) return;
        }
        q->end(std::move(reply), std::nullopt);
    }

    /// Who was asked over that link gets no answer.
    void link_down(const net::link& link, const std::string& text) {
        std::vector<std::shared_ptr<question>> all;
        {
            const std::lock_guard lock(m_mutex);
            for (const auto& [number, q] : m_open) all.push_back(q);
        }
        for (const auto& q : all) {
            {
                const std::lock_guard lock(q->mutex);
                if (q->over != &link) continue;
            }
            q->end(std::nullopt, error(errc::link_lost, text, link.peer()));
        }
    }

private:
    /// Shared with whoever may answer it late.
    struct question {
        event done;
        std::mutex mutex;  // guards the rest
        peer_id asked;
        const net::link* over = nullptr;  // to be compared only
        std::optional<Reply> reply;
        std::optional<error> failure;

        void end(std::optional<Reply> r, std::optional<error> f) {
            {
                const std::lock_guard lock(mutex);
                if (reply || failure) return;
                reply = std::move(r);
                failure = std::move(f);
            }
            done.set();
        }
    };
    struct forgetter {
        questions& list;
        std::uint64_t number;
        ~forgetter() {
            const std::lock_guard lock(list.m_mutex);
            list.m_open.erase(number);
        }
    };

    std::mutex m_mutex;
    std::uint64_t m_next_number = 1;
    std::map<std::uint64_t, std::shared_ptr<question>> m_open;  // one for each coroutine that asks
};

}  // namespace covey::detail
