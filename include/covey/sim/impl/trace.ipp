#pragma once

#include <covey/sim/trace.hpp>

#include <algorithm>
#include <cstdio>

namespace covey::sim {

COVEY_INLINE std::string_view to_string(trace_kind kind) noexcept {
    switch (kind) {
        case trace_kind::work: return "work";
        case trace_kind::timer: return "timer";
        case trace_kind::action: return "action";
        case trace_kind::datagram: return "datagram";
        case trace_kind::datagram_lost: return "datagram lost";
        case trace_kind::stream_read: return "stream read";
        case trace_kind::stream_writable: return "stream writable";
        case trace_kind::stream_closed: return "stream closed";
        case trace_kind::stream_connected: return "stream connected";
        case trace_kind::stream_refused: return "stream refused";
        case trace_kind::stream_accepted: return "stream accepted";
        case trace_kind::host_added: return "host added";
        case trace_kind::host_killed: return "host killed";
        case trace_kind::host_restarted: return "host restarted";
        case trace_kind::host_paused: return "host paused";
        case trace_kind::log: return "log";
    }
    return "?";
}

COVEY_INLINE std::uint64_t content_hash(bytes_view bytes) noexcept {
    std::uint64_t hash = 0x9e3779b97f4a7c15ull ^ bytes.size();
    const auto fold = [&hash](std::uint64_t word) noexcept {
        hash = (hash ^ word) * 0xbf58476d1ce4e5b9ull;
        hash ^= hash >> 32;
    };
    while (bytes.size() >= 8) {
        std::uint64_t word = 0;
        std::memcpy(&word, bytes.data(), 8);
        fold(word);
        bytes = bytes.subspan(8);
    }
    std::uint64_t rest = 0;
    if (!bytes.empty()) std::memcpy(&rest, bytes.data(), bytes.size());
    fold(rest);
    return mix64(hash);
}

COVEY_INLINE void event_trace::add(time_point when, host_index host, trace_kind kind, std::uint64_t value, std::uint64_t contents,
                                   std::string_view text) {
    m_hash = hash_combine(m_hash, static_cast<std::uint64_t>(when.time_since_epoch().count()));
    m_hash = hash_combine(m_hash, (std::uint64_t{host} << 8) | static_cast<std::uint64_t>(kind));
    m_hash = hash_combine(m_hash, value ^ mix64(contents));
    if (!text.empty()) m_hash = hash_combine(m_hash, content_hash(as_bytes_view(text)));
    if (m_kept_max != 0) {
        constexpr std::size_t text_bytes_max = 240;
        const std::size_t place = static_cast<std::size_t>(m_count % m_kept_max);
        if (place == m_kept.size()) m_kept.emplace_back();
        entry& e = m_kept[place];
        e.when = when;
        e.value = value;
        e.host = host;
        e.kind = kind;
        e.text.assign(text.substr(0, text_bytes_max));
    }
    ++m_count;
}

COVEY_INLINE std::string event_trace::tail(std::size_t lines) const {
    std::string out;
    const std::size_t count = std::min(lines, m_kept.size());
    for (std::size_t i = 0; i < count; ++i) {
        const entry& e = m_kept[static_cast<std::size_t>((m_count - count + i) % m_kept_max)];
        char head[96];
        const double seconds = static_cast<double>(e.when.time_since_epoch().count()) * 1e-9;
        if (e.host == no_host) {
            std::snprintf(head, sizeof head, "%14.6f s  -         ", seconds);
        } else {
            std::snprintf(head, sizeof head, "%14.6f s  host %-5u", seconds, static_cast<unsigned>(e.host));
        }
        out.append(head).append(to_string(e.kind)).append(" ").append(std::to_string(e.value));
        if (!e.text.empty()) out.append(" ").append(e.text);
        out.push_back('\n');
    }
    return out;
}

}  // namespace covey::sim
