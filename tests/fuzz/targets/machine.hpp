// The whole membership machine, driven by whatever comes: noise, packets and tables that decode and mean harm, time, commands.
#pragma once

#include <covey/mesh/machine.hpp>
#include <covey/mesh/seal.hpp>

#include <fuzz/targets/support.hpp>

#include <map>

namespace covey_fuzz {

class machine_run {
public:
    explicit machine_run(bytes_view bytes) : m_in(bytes), m_machine(numbers(), self(), home, 1) {
        m_machine.start(m_now);
        drain(nullptr, 0);
    }

    void run() {
        while (!m_in.empty()) {
            step();
            require(m_machine.members().live_count() < numbers().members_max, "more members than allowed");
            require(m_machine.members().tombstone_count() <= numbers().tombstones_max, "more tombstones than allowed");
            require(m_machine.make_view().members.size() == m_machine.live_count(), "the view does not count like the table");
            check_lives();
        }
    }

private:
    static mesh::config numbers() {
        mesh::config c = mesh::profile::local();
        c.members_max = 24;
        c.tombstones_max = 64;  // more than there are ids here, so that no death is forgotten but by time
        c.broadcasts_max = 16;
        c.outputs_max = 256;
        return c;
    }
    static mesh::member_info self() {
        mesh::member_info info;
        info.id = peer_id{100};
        info.address = endpoint::v4(127, 0, 0, 1, 7100);
        info.name = "self";
        return info;
    }
    static endpoint address_of(std::uint8_t k) { return endpoint::v4(127, 0, 0, 1, static_cast<std::uint16_t>(7000 + k % 32)); }

    mesh::member record() {
        mesh::member_info info;
        const std::uint8_t who = m_in.byte();
        info.id = who % 16 == 15 ? peer_id{100} : peer_id{who % 32 + 1u};
        info.epoch = m_in.byte() % 4 + 1u;
        info.incarnation = m_in.byte() % 8;
        info.address = address_of(m_in.byte());
        info.name = "other";
        info.role = m_in.byte() % 16 == 0 ? mesh::member_role::observer : mesh::member_role::serve;
        return mesh::member(std::move(info), static_cast<mesh::member_state>(m_in.byte() % 4));
    }
    mesh::message_header header() {
        const std::uint8_t who = m_in.byte();
        return {home, peer_id{who % 32 + 1u}, who / 64u + 1u};
    }

    void step() {
        const std::uint8_t what = m_in.byte();
        switch (what % 8) {
            case 0: {
                m_now += std::chrono::milliseconds(m_in.number<std::uint16_t>() % 5000);
                m_machine.on_time(m_now);
                return drain(nullptr, 0);
            }
            case 1: return datagram(m_in.take(m_in.byte()));
            case 2: {
                byte_buffer message;
                mesh::push_pull p;
                p.self = record();
                p.header = {home, p.self.id(), p.self.epoch()};
                p.is_reply = m_in.byte() % 2 == 0;
                p.nonce = p.is_reply ? m_last_nonce : m_in.byte();
                for (unsigned n = m_in.byte() % 8; n > 0; --n) p.members.push_back(record());
                mesh::encode(message, p);
                m_machine.on_stream_message(m_now, p.self.address(), message);
                return drain(nullptr, 0);
            }
            case 3: {
                const endpoint to = address_of(m_in.byte());
                switch (m_in.byte() % 4) {
                    case 0: m_machine.join(m_now, {&to, 1}); break;
                    case 1: m_machine.on_stream_failed(m_now, to); break;
                    case 2: m_machine.report_connection_refused(m_now, peer_id{m_in.byte() % 32 + 1u}); break;
                    default: m_machine.on_stream_message(m_now, to, m_in.take(m_in.byte()));
                }
                return drain(nullptr, 0);
            }
            case 4:
                if (m_in.byte() % 16 == 0) m_machine.leave(m_now);
                return drain(nullptr, 0);
            default: {
                byte_buffer bytes;
                mesh::control request;
                request.kind = static_cast<mesh::control_kind>(m_in.byte() % 6);
                request.sequence = m_in.byte() % 2 == 0 ? m_last_sequence : m_in.byte();
                request.target = m_in.byte() % 4 == 0 ? peer_id{100} : peer_id{m_in.byte() % 32 + 1u};
                mesh::write_packet_front(bytes, header(), request);
                byte_writer w(bytes);
                for (unsigned n = m_in.byte() % 8; n > 0; --n) {
                    mesh::claim c;
                    c.subject = record();
                    c.accuser = peer_id{m_in.byte() % 32 + 1u};
                    c.write(w);
                }
                return datagram(bytes);
            }
        }
    }

    void datagram(bytes_view bytes) {
        const endpoint from = address_of(m_in.byte());
        // Who the machine knows to live there may be answered at any length.
        const bool is_proven = lives_at(from);
        m_machine.on_datagram(m_now, from, bytes);
        drain(is_proven ? nullptr : &from, bytes.size());
    }

    bool lives_at(const endpoint& address) const {
        const auto& all = m_machine.members().entries();
        return std::any_of(all.begin(), all.end(),
                           [&](const auto& entry) { return entry.second.record.is_live() && entry.second.record.address() == address; });
    }

    /// Takes all outputs. `unproven`: an address that sent `bytes` bytes and must not be sent more than three times as many.
    void drain(const endpoint* unproven, std::size_t bytes) {
        std::size_t sent = 0, outputs = 0;
        if (unproven != nullptr && lives_at(*unproven)) unproven = nullptr;  // it joined with this packet, and is pinged as a member
        while (const auto o = m_machine.next_output()) {
            require(++outputs <= 2 * numbers().outputs_max, "outputs without a bound");
            if (const auto* d = std::get_if<mesh::send_datagram>(&*o)) {
                require(d->bytes.size() + mesh::datagram_seal::overhead <= numbers().packet_bytes_max, "a packet over the limit");
                require(d->to.port != 0, "a packet to nowhere");
                const mesh::packet_result own = mesh::decode_packet(d->bytes, home);
                require(own.why == mesh::rejection::count_, "it sends what it would refuse");
                if (own.value.request.kind == mesh::control_kind::ping) m_last_sequence = own.value.request.sequence;
                if (unproven != nullptr && d->to == *unproven) sent += d->bytes.size();
            } else if (const auto* s = std::get_if<mesh::send_stream>(&*o)) {
                const mesh::push_pull_result own = mesh::decode_push_pull(s->bytes, home, 100);
                require(own.why == mesh::rejection::count_, "it sends a table that it would refuse");
                if (!own.value.is_reply) m_last_nonce = own.value.nonce;
            }
        }
        require(sent <= 3 * bytes, "an address that proved nothing was sent more than three times what came from it");
    }

    /// What died in an epoch stays dead in it, as long as it is remembered; nobody but the machine raises its own counters.
    void check_lives() {
        for (const auto& [id, e] : m_machine.members().entries()) {
            const auto over = m_over.find(id);
            if (over != m_over.end() && e.record.is_live()) require(e.record.epoch() > over->second, "an epoch that was over lives again");
            if (!e.record.is_live()) m_over[id] = e.record.epoch();
        }
        std::erase_if(m_over, [&](const auto& entry) { return m_machine.members().find(entry.first) == nullptr; });
        require(m_machine.find(peer_id{100}).has_value(), "it does not know itself");
        require(m_machine.members().find(peer_id{100}) == nullptr, "it is in its own table");
    }

    choices m_in;
    time_point m_now{std::chrono::seconds(1)};
    mesh::machine m_machine;
    std::uint32_t m_last_sequence = 0;
    std::uint64_t m_last_nonce = 0;
    std::map<peer_id, epoch_t> m_over;
};

inline void machine(bytes_view bytes) { machine_run(bytes.first(std::min<std::size_t>(bytes.size(), 4096))).run(); }

}  // namespace covey_fuzz
