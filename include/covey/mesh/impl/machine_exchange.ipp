// Tables compared: what gossip lost, and what was before this peer came. Three messages: hashes of buckets; all of the buckets
// that differ; what the answering side lacks of them.
#pragma once

#include <covey/core/detail/concat.hpp>
#include <covey/mesh/machine.hpp>

#include <algorithm>
#include <numeric>

namespace covey::mesh {

/// Somebody sees many more members than we.
COVEY_INLINE bool machine::is_far_behind(std::size_t members) const noexcept {
    const std::size_t here = live_count();
    return members > here + std::max<std::size_t>(8, here / 32);
}

/// News travels fast but may be lost. Digests that stay different while nothing is on its way call for a comparison, and so does
/// a view of another size altogether: then one of the two has just come.
COVEY_INLINE void machine::compare_views(time_point now, peer_id with, std::uint64_t digest, std::uint32_t members) {
    if (digest == view_digest()) {
        m_mismatches = 0;
        m_sync_pause = duration{};
        return;
    }
    const table::row* other = m_table.find(with);
    ++m_mismatches;
    if (now < m_sync_after || other == nullptr || !other->is_live() || (!m_gaps.empty() && !is_forming())) return;
    const bool is_far = is_far_behind(members);  // the other way round, it finds out by itself
    // As long as comparing helps, it goes on.
    const bool helped = m_sync_pause == duration{} && m_stats.exchanges_useful > 0;
    if (!is_far && (m_mismatches < 3 || !(m_broadcasts.empty() || helped))) return;
    m_mismatches = 0;
    const duration least = is_far ? m_config.probe_interval : 4 * m_config.probe_interval;
    m_sync_pause = std::clamp(m_sync_pause * 2, least, 8 * m_config.probe_interval);
    m_sync_after = after(now, jittered(m_sync_pause));
    open_exchange(other->address());
}

COVEY_INLINE std::vector<std::uint32_t> machine::bucket_hashes(const gaps::window& part) const {
    std::vector<std::uint32_t> hashes(part.count, 0);
    const auto add = [&](peer_id id, epoch_t epoch, std::uint32_t incarnation) {
        const std::size_t at = exchange::bucket_of(id, part.bits) - part.first;  // those before it wrap around
        if (at < part.count) hashes[at] ^= exchange::hash_of(id, epoch, incarnation);
    };
    for (const table::row& r : m_table.rows()) {
        if (r.is_live()) add(r.id(), r.epoch(), r.incarnation());
    }
    if (!is_observer() && !m_leaving) add(m_self.id, m_self.epoch, m_self.incarnation);
    return hashes;
}

COVEY_INLINE void machine::send_exchange(const endpoint& to, const exchange& m) {
    byte_buffer bytes;
    encode(bytes, m);
    ++m_stats.streams_out;
    m_stats.stream_bytes_out += bytes.size();
    emit(send_stream{to, std::move(bytes)});
}

COVEY_INLINE void machine::open_exchange(const endpoint& to) {
    const unsigned bits = exchange::bits_for(live_count());
    open_exchange(to, {bits, 0, std::size_t{1} << bits});
}

COVEY_INLINE void machine::open_exchange(const endpoint& to, const gaps::window& part) {
    const std::uint64_t nonce = m_random.next();
    if (m_requests.size() >= requests_max) m_requests.erase(m_requests.begin());
    m_requests.push_back(nonce);
    ++m_stats.exchanges_opened;
    exchange m;
    m.header = header();
    m.step = exchange_step::open;
    m.nonce = nonce;
    m.forms = is_forming();
    m.lineage = m_lineage;
    m.view_members = static_cast<std::uint32_t>(live_count());
    m.bucket_bits = static_cast<std::uint8_t>(part.bits);
    m.first_bucket = static_cast<std::uint16_t>(part.first);
    m.hashes = bucket_hashes(part);
    const member self = self_member();
    if (part.count == std::size_t{1} << part.bits) m.claims.push_back(claim_about(self));
    send_exchange(to, m);
}

/// Of the dead only the recent ones: that others died is known everywhere by now, or found out by trying.
COVEY_INLINE bool machine::is_worth_telling(time_point now, const table::row& r) const {
    return r.is_live() || (r.is_described() && now - r.changed < 4 * m_config.gossip_to_dead);
}

/// Each probe interval; a mean over about eight of them.
COVEY_INLINE void machine::note_size() noexcept { m_usual_members = m_usual_members - m_usual_members / 8 + live_count(); }

/// The mesh, as far as it is seen from here, has grown by a quarter lately: many lack much, and there is no use in going easy.
COVEY_INLINE bool machine::is_forming() const noexcept { return 8 * live_count() > m_usual_members + m_usual_members / 4 + 64; }

/// How long an answer may be. While the mesh forms: half of what is left of this second, so that all of a crowd get something.
/// Later what is left, which may be nothing; and no more to somebody for whom the mesh has settled: then it is we who have just come.
COVEY_INLINE std::size_t machine::reply_allowance(time_point now, const exchange& asked) {
    const bool forms = is_forming() && asked.forms;
    const std::size_t most = forms ? m_config.exchange_bytes_per_second : m_config.settled_bytes;
    const std::size_t per_second = forms ? most : most / 3;
    const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(now - m_reply_refilled).count();
    if (ms > 0) {
        const std::size_t refill = ms >= 3000 ? most : per_second * static_cast<std::size_t>(ms) / 1000;
        m_reply_tokens = std::min(most, m_reply_tokens + refill);
        m_reply_refilled = now;
    }
    constexpr std::size_t least = 4096;
    return forms ? std::clamp(m_reply_tokens / 2, least, m_config.exchange_bytes) : m_reply_tokens;
}

COVEY_INLINE void machine::on_stream_message(time_point now, const endpoint& from, bytes_view bytes) {
    if (!m_started || m_left) return;
    ++m_stats.streams_in;
    m_stats.stream_bytes_in += bytes.size();
    const exchange_result decoded = decode_exchange(bytes, m_cluster);
    if (decoded.why != rejection::count_) return reject(decoded.why);
    const exchange& m = decoded.value;
    const peer_id sender = m.header.sender;
    if (sender == m_self.id) return reject(rejection::own_echo);
    switch (m.step) {
        case exchange_step::open: return on_open(now, from, m);
        case exchange_step::reply: return on_reply(now, from, m);
        case exchange_step::close: return learn(now, m, is_news(m));
        case exchange_step::ping: return on_stream_ping(from, m);
        case exchange_step::pong: return on_stream_pong(m);
    }
}

/// Are these claims to be passed on? Who joins or catches up learns what everybody knows, and need not repeat it.
COVEY_INLINE bool machine::is_news(const exchange& m) const noexcept { return m.claims.size() <= crowd && (m.forms || !is_forming()); }

COVEY_INLINE void machine::learn(time_point now, const exchange& m, bool pass_on) {
    for (const claim& c : m.claims) apply(now, c, source::exchange, m.header.sender, pass_on || &c == &m.claims.front());
    if (m.step == exchange_step::close || m.lineage == m_lineage) return;
    // The larger mesh keeps its name; who is alone takes the other's.
    const std::size_t here = m_step_members;
    if (m.view_members < here || (m.view_members == here && m.lineage > m_lineage)) return;
    m_lineage = m.lineage;
    ++m_self_changes;
}

COVEY_INLINE void machine::on_open(time_point now, const endpoint& from, const exchange& m) {
    exchange reply;
    reply.step = exchange_step::reply;
    reply.nonce = m.nonce;
    reply.forms = is_forming();
    reply.lineage = m_lineage;
    reply.view_members = static_cast<std::uint32_t>(live_count());
    reply.bucket_bits = m.bucket_bits;
    m_step_members = live_count();
    learn(now, m, true);
    reply.header = header();  // it may have said that this life is over
    const member self = self_member();
    reply.claims.push_back(claim_about(self));
    const std::size_t buckets = m.hashes.size();
    const std::vector<std::uint32_t> ours = bucket_hashes({m.bucket_bits, m.first_bucket, buckets});
    reply.first_bucket = m.first_bucket;
    reply.covered.resize(buckets);
    reply.missing.resize(buckets);
    if (!is_observer() && ours != m.hashes) {
        const std::span<const table::row> rows = m_table.rows();
        std::vector<std::pair<std::uint32_t, std::uint32_t>> wanted;  // bucket and row
        std::vector<std::uint32_t> ends(buckets + 1);                 // of each bucket's part of `order`, one further on
        for (std::size_t i = 0; i < rows.size(); ++i) {
            const std::size_t bucket = exchange::bucket_of(rows[i].id(), m.bucket_bits) - m.first_bucket;
            if (bucket >= buckets || ours[bucket] == m.hashes[bucket]) continue;
            if (rows[i].id() == m.header.sender || !is_worth_telling(now, rows[i])) continue;
            wanted.push_back({static_cast<std::uint32_t>(bucket), static_cast<std::uint32_t>(i)});
            ++ends[bucket + 1];
        }
        std::partial_sum(ends.begin(), ends.end(), ends.begin());
        std::vector<std::uint32_t> order(wanted.size());
        for (const auto& [bucket, row] : wanted) order[ends[bucket]++] = row;
        // From a random bucket on: what does not fit is not always the same.
        const auto first = static_cast<std::size_t>(m_random.below(buckets));
        std::size_t left = reply_allowance(now, m), dead = 0;
        bool is_full = left == 0;
        for (std::size_t b = 0; b < buckets; ++b) {
            const std::size_t bucket = (first + b) % buckets;
            if (ours[bucket] == m.hashes[bucket]) continue;
            const std::size_t claims_before = reply.claims.size();
            std::size_t bytes = 0;
            for (std::size_t at = bucket == 0 ? 0 : ends[bucket - 1]; !is_full && at < ends[bucket]; ++at) {
                const table::row& r = rows[order[at]];
                if (!r.is_live() && ++dead > tombstones_told_max) continue;
                // A suspect that the other does not know yet is a member first.
                claim c = claim_about(r);
                if (r.state() == member_state::suspect) {
                    c.state = member_state::alive;
                    c.encoded = r.shared_record()->encoded();
                    reply.claims.push_back(c);
                    bytes += c.encoded.size() + 20;
                    c = claim_about(r);
                }
                reply.claims.push_back(c);
                bytes += c.encoded.size() + 20;
            }
            if (is_full || (bytes > left && claims_before > 1)) {
                reply.claims.resize(claims_before);
                reply.missing[bucket] = true;
                is_full = true;
                continue;
            }
            left -= std::min(left, bytes);
            m_reply_tokens -= std::min(m_reply_tokens, bytes);
            reply.covered[bucket] = true;
        }
    }
    // What we hold against the sender, it must hear from somebody.
    const table::row* sender = m_table.find(m.header.sender);
    if (sender != nullptr && sender->state() != member_state::alive && !is_observer()) reply.claims.push_back(claim_about(*sender));
    send_exchange(from, reply);
}

COVEY_INLINE void machine::on_reply(time_point now, const endpoint& from, const exchange& m) {
    const auto asked = std::find(m_requests.begin(), m_requests.end(), m.nonce);
    if (asked == m_requests.end()) return reject(rejection::unexpected);
    m_requests.erase(asked);
    const bool is_whole =
        m.covered.size() == std::size_t{1} << m.bucket_bits && std::find(m.missing.begin(), m.missing.end(), true) == m.missing.end();
    const bool pass_on = live_count() > 1 && is_whole && !is_far_behind(m.view_members) && is_news(m);
    const std::uint64_t number = m_table.number();
    m_step_members = live_count();
    learn(now, m, pass_on);
    if (m_table.number() != number) {
        ++m_stats.exchanges_useful;
        m_sync_pause = duration{};
    }
    note_missing(now, m);

    // What it did not say of the buckets it covered, it does not know.
    if (!is_observer() && !m_leaving) {
        // Mostly nothing, as the hashes show.
        std::vector<std::uint32_t> differs = bucket_hashes({m.bucket_bits, m.first_bucket, m.covered.size()});
        for (const claim& c : m.claims) {
            if (c.state == member_state::alive && m.covers(c.id))
                differs[exchange::bucket_of(c.id, m.bucket_bits) - m.first_bucket] ^= exchange::hash_of(c.id, c.epoch, c.incarnation);
        }
        const auto is_told = [&](peer_id id) {
            return !m.covers(id) || differs[exchange::bucket_of(id, m.bucket_bits) - m.first_bucket] == 0;
        };
        std::vector<std::pair<peer_id, std::uint64_t>> theirs;
        for (const claim& c : m.claims) {
            if (!is_told(c.id)) theirs.push_back({c.id, (std::uint64_t{c.epoch} << 32) | c.incarnation});
        }
        std::sort(theirs.begin(), theirs.end());
        exchange close;
        close.header = header();
        close.step = exchange_step::close;
        close.nonce = m.nonce;
        close.forms = is_forming();
        const member self = self_member();
        close.claims.push_back(claim_about(self));
        std::size_t left = reply_allowance(now, m), dead = 0;
        for (const table::row& r : m_table.rows()) {
            if (left == 0 || is_told(r.id())) continue;
            if (r.id() == m.header.sender || !is_worth_telling(now, r)) continue;
            const std::pair key{r.id(), (std::uint64_t{r.epoch()} << 32) | r.incarnation()};
            const auto said = std::lower_bound(theirs.begin(), theirs.end(), key);
            if (said != theirs.end() && said->first == r.id() && r.is_live()) continue;
            if (!r.is_live() && ++dead > tombstones_told_max) continue;
            claim c = claim_about(r);
            if (r.state() == member_state::suspect) {
                c.state = member_state::alive;
                c.encoded = r.shared_record()->encoded();
            }
            close.claims.push_back(c);
            left -= std::min(left, c.encoded.size() + 20);
            m_reply_tokens -= std::min(m_reply_tokens, c.encoded.size() + 20);
        }
        if (close.claims.size() > 1) send_exchange(from, close);
    }
    if (!m_join_answered && m_next_join != never) {
        m_join_answered = true;
        m_next_join = never;
        say(log_level::info, covey::detail::concat({"joined through ", to_string(from), ": ", live_count(), " members"}));
    }
}

/// The rest of what did not fit an answer is got from others, a little from each: no one has to send a whole table.
COVEY_INLINE void machine::note_missing(time_point now, const exchange& m) {
    const auto is_set = [](const std::vector<bool>& bits) { return std::find(bits.begin(), bits.end(), true) != bits.end(); };
    if (m_leaving || (m_gaps.empty() && !is_set(m.missing))) return;
    m_gaps.found(m.bucket_bits, m.first_bucket, m.missing);
    const auto told = static_cast<std::size_t>(std::count(m.covered.begin(), m.covered.end(), true));
    // Others will have about as much to give. Nothing: they are busy, and we wait longer each time.
    m_gap_step = std::max<std::size_t>(2 * told, 1);
    // Not at the same pace as news, of which who has just come has some.
    const duration pause = m_config.gossip_interval * 5 / 4;
    m_gap_pause = told > 0 ? pause : std::clamp(2 * m_gap_pause, pause, 8 * m_config.gossip_interval);
    if (m_gaps.empty()) {
        m_next_catch_up = never;
    } else if (m_next_catch_up == never || told == 0) {
        m_next_catch_up = after(now, jittered(m_gap_pause));
    }
}

COVEY_INLINE void machine::run_catch_up(time_point now) {
    if (now < m_next_catch_up) return;
    m_next_catch_up = never;
    if (m_leaving) return;
    constexpr std::size_t at_once = 2;
    for (const peer_id id : m_table.pick(at_once, {}, m_random)) {
        const gaps::window part = m_gaps.take(m_gap_step);
        if (part.count > 0) open_exchange(m_table.find(id)->address(), part);
    }
    if (!m_gaps.empty()) m_next_catch_up = after(now, jittered(m_gap_pause));
}

COVEY_INLINE void machine::on_stream_ping(const endpoint& from, const exchange& m) {
    if (m.target != m_self.id) return;
    exchange pong;
    pong.header = header();
    pong.step = exchange_step::pong;
    pong.nonce = m.nonce;
    send_exchange(from, pong);
}

COVEY_INLINE void machine::on_stream_pong(const exchange& m) {
    open_ping* open = m.nonce <= 0xffffffffu ? m_prober.find(static_cast<std::uint32_t>(m.nonce)) : nullptr;
    if (open == nullptr || open->target != m.header.sender) return;  // late, as on a lossy path
    open->stream_answered = true;
}

COVEY_INLINE void machine::on_stream_failed(time_point now, const endpoint& to) {
    if (!m_started || m_left || m_join_answered) return;
    if (std::find(m_seeds.begin(), m_seeds.end(), to) == m_seeds.end()) return;
    // Said at first, then now and then.
    if (m_join_attempts > 3 && m_join_attempts % 10 != 0) return;
    const auto wait_ms =
        m_next_join > now && m_next_join != never ? std::chrono::duration_cast<std::chrono::milliseconds>(m_next_join - now).count() : 0;
    say(log_level::warning, covey::detail::concat({"seed ", to_string(to), " cannot be reached (attempt ", m_join_attempts,
                                                   "); next attempt in ", wait_ms, " ms. Is a peer of this cluster running there?"}));
}

}  // namespace covey::mesh
