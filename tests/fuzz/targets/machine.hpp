// The whole membership machine, driven by whatever comes: noise, packets and tables that decode and mean harm, time, commands.
#pragma once

#include <covey/mesh/machine.hpp>
#include <covey/mesh/seal.hpp>

#include <fuzz/targets/support.hpp>

#include <map>
#include <utility>
#include <vector>

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
    static constexpr peer_id us{100};
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
        info.id = us;
        info.address = endpoint::v4(127, 0, 0, 1, 7100);
        info.name = "self";
        return info;
    }
    static endpoint address_of(std::uint8_t k) { return endpoint::v4(127, 0, 0, 1, static_cast<std::uint16_t>(7000 + k % 32)); }
    peer_id any_peer() { return peer_id{m_in.byte() % 32 + 1u}; }

    /// Its description lives until the next step.
    mesh::claim claim() {
        mesh::claim c;
        const std::uint8_t what = m_in.byte();
        c.state = static_cast<mesh::member_state>(what % 4);
        const std::uint8_t who = m_in.byte();
        c.id = who % 16 == 15 ? us : peer_id{who % 32 + 1u};
        c.epoch = m_in.byte() % 4 + 1u;
        c.incarnation = m_in.byte() % 8;
        if (what / 4 % 32 == 31) c.incarnation = m_in.number<std::uint32_t>();
        if (c.state == mesh::member_state::alive) {
            c.encoded = description();
        } else {
            c.accuser = any_peer();
        }
        return c;
    }
    bytes_view description() {
        const std::uint8_t what = m_in.byte();
        if (what == 0) {
            const bytes_view noise = m_in.take(1 + m_in.byte());
            if (!noise.empty()) return noise;
        }
        mesh::description d;
        d.address = address_of(m_in.byte());
        d.name = what % 4 == 1 ? "another" : "other";
        d.role = what % 16 == 2 ? mesh::member_role::observer : mesh::member_role::serve;
        if (what % 16 == 3) d.labels = {{"rack", "7"}};
        m_described.push_back(std::make_shared<const mesh::record>(std::move(d)));
        return m_described.back()->encoded();
    }
    mesh::message_header header() {
        const std::uint8_t who = m_in.byte();
        return {home, peer_id{who % 32 + 1u}, who / 64u + 1u};
    }

    void step() {
        m_described.clear();
        const std::uint8_t what = m_in.byte();
        switch (what % 8) {
            case 0: {
                m_now += std::chrono::milliseconds(m_in.number<std::uint16_t>() % 5000);
                m_machine.on_time(m_now);
                break;
            }
            case 1: datagram(m_in.take(m_in.byte())); break;
            case 2: table(); break;
            case 3: {
                const endpoint to = address_of(m_in.byte());
                switch (m_in.byte() % 4) {
                    case 0: m_machine.join(m_now, {&to, 1}); break;
                    case 1: m_machine.on_stream_failed(m_now, to); break;
                    case 2: m_machine.report_connection_refused(m_now, any_peer()); break;
                    default: stream(to, m_in.take(m_in.byte()));
                }
                break;
            }
            case 4: {
                switch (m_in.byte() % 16) {
                    case 0: m_machine.leave(m_now); break;
                    case 1: m_machine.on_lag(m_now, std::chrono::milliseconds(m_in.byte())); break;
                    case 2: m_machine.set_load(mesh::load::unpack(m_in.number<std::uint16_t>())); break;
                    case 3: {
                        mesh::description d = m_machine.self();
                        d.labels = {{"zone", std::string(m_in.byte() % 8, 'z')}};
                        m_machine.describe(m_now, std::move(d));
                        break;
                    }
                    default: break;
                }
                break;
            }
            default: packet();
        }
        drain(nullptr, 0);
    }

    void packet() {
        byte_buffer bytes;
        mesh::control request;
        request.kind = static_cast<mesh::control_kind>(m_in.byte() % 6);
        request.sequence = m_in.byte() % 2 == 0 ? m_last_sequence : m_in.byte();
        request.target = m_in.byte() % 4 == 0 ? us : any_peer();
        request.view_members = m_in.byte();
        request.load_version = m_in.byte();
        mesh::write_packet_front(bytes, header(), request);
        byte_writer w(bytes);
        for (unsigned n = m_in.byte() % 8; n > 0; --n) claim().write(w);
        for (unsigned n = m_in.byte() % 4; n > 0; --n) {
            mesh::write_load(w, {any_peer(), m_in.byte(), mesh::load::unpack(m_in.number<std::uint16_t>())});
        }
        datagram(bytes);
    }

    void table() {
        mesh::exchange m;
        m.step = static_cast<mesh::exchange_step>(0x41 + m_in.byte() % 5);
        m.header = header();
        const endpoint from = address_of(m_in.byte());
        const bool answers = m.step == mesh::exchange_step::reply || m.step == mesh::exchange_step::pong;
        m.nonce = !answers ? m_in.byte() : m.step == mesh::exchange_step::pong ? m_last_ping : m_last_open;
        m.target = m_in.byte() % 4 == 0 ? any_peer() : us;
        m.forms = m_in.byte() % 2 != 0;
        m.lineage = m_in.byte();
        m.view_members = m_in.byte();
        m.bucket_bits = static_cast<std::uint8_t>(mesh::exchange::bucket_bits_min + m_in.byte() % 2);
        // All buckets, or some of them.
        std::size_t buckets = std::size_t{1} << m.bucket_bits;
        if (m_in.byte() % 2 == 0) {
            m.first_bucket = m_in.byte();
            buckets = 1u + m_in.byte() % (buckets - m.first_bucket);
        }
        if (m.step == mesh::exchange_step::open) m.hashes.assign(buckets, m_in.byte());
        if (m.step == mesh::exchange_step::reply) {
            m.covered.assign(buckets, true);
            m.missing.assign(buckets, false);
            for (unsigned n = m_in.byte() % 8; n > 0; --n) {
                const std::size_t at = m_in.byte() % buckets;
                m.covered[at] = false;
                m.missing[at] = m_in.byte() % 2 != 0;
            }
        }
        mesh::claim own = claim();
        own.id = m.header.sender;
        own.epoch = m.header.epoch;
        m.claims.push_back(own);
        for (unsigned n = m_in.byte() % 8; n > 0; --n) m.claims.push_back(claim());
        byte_buffer bytes;
        mesh::encode(bytes, m);
        stream(from, bytes);
    }

    void stream(const endpoint& from, bytes_view bytes) {
        const mesh::exchange_result decoded = mesh::decode_exchange(bytes, home);
        if (decoded.why == mesh::rejection::count_) hear(decoded.value.claims);
        m_machine.on_stream_message(m_now, from, bytes);
    }

    void datagram(bytes_view bytes) {
        const endpoint from = address_of(m_in.byte());
        const mesh::packet_result decoded = mesh::decode_packet(bytes, home);
        if (decoded.why == mesh::rejection::count_) hear(decoded.value.claims);
        // Who the machine knows to live there may be answered at any length.
        const bool is_proven = lives_at(from);
        m_machine.on_datagram(m_now, from, bytes);
        const unsigned answers = drain(is_proven ? nullptr : &from, bytes.size());
        require(answers <= 1, "several answers to one packet");
    }

    bool lives_at(const endpoint& address) const {
        const auto rows = m_machine.members().rows();
        return std::any_of(rows.begin(), rows.end(), [&](const auto& r) { return r.is_live() && r.address() == address; });
    }

    /// Takes all outputs and counts the answers among them. `unproven`: an address that sent `bytes` bytes and must not be sent more
    /// than three times as many.
    unsigned drain(const endpoint* unproven, std::size_t bytes) {
        std::size_t sent = 0, outputs = 0;
        unsigned answers = 0;
        if (unproven != nullptr && lives_at(*unproven)) unproven = nullptr;  // it joined with this packet, and is pinged as a member
        while (const auto o = m_machine.next_output()) {
            require(++outputs <= 2 * numbers().outputs_max, "outputs without a bound");
            if (const auto* d = std::get_if<mesh::send_datagram>(&*o)) {
                require(d->bytes.size() + mesh::datagram_seal::overhead <= numbers().packet_bytes_max, "a packet over the limit");
                require(d->to.port != 0, "a packet to nowhere");
                const mesh::packet_result own = mesh::decode_packet(d->bytes, home);
                require(own.why == mesh::rejection::count_, "it sends what it would refuse");
                const mesh::control& c = own.value.request;
                if (c.kind == mesh::control_kind::ping) m_last_sequence = c.sequence;
                if (c.kind == mesh::control_kind::ack || c.kind == mesh::control_kind::nack || c.kind == mesh::control_kind::not_me)
                    ++answers;
                check_told(own.value.claims);
                if (unproven != nullptr && d->to == *unproven) sent += d->bytes.size();
            } else if (const auto* s = std::get_if<mesh::send_stream>(&*o)) {
                const mesh::exchange_result own = mesh::decode_exchange(s->bytes, home);
                require(own.why == mesh::rejection::count_, "it sends a table that it would refuse");
                if (own.value.step == mesh::exchange_step::open) m_last_open = own.value.nonce;
                if (own.value.step == mesh::exchange_step::ping) m_last_ping = own.value.nonce;
                check_told(own.value.claims);
            } else if (const auto* e = std::get_if<mesh::membership_event>(&*o)) {
                // Whom it held dead in its former life is open again; who said goodbye has gone, unless there was word of a later life,
                // which may have been dead just before.
                const auto is_open = [this](const auto& over) {
                    const mesh::member& m = over.second;
                    return m.state() == mesh::member_state::dead || has_heard_of_life_after(m);
                };
                if (e->kind == mesh::membership_event::what::rejoined && e->subject.id() == us) std::erase_if(m_over, is_open);
            }
        }
        require(sent <= 3 * bytes, "an address that proved nothing was sent more than three times what came from it");
        return answers;
    }

    void hear(const std::vector<mesh::claim>& claims) {
        for (const mesh::claim& c : claims) {
            std::uint32_t& highest = m_heard[{c.id, c.epoch}];
            highest = std::max(highest, c.incarnation);
        }
    }
    bool has_heard_of_life_after(const mesh::member& m) const {
        const auto later = m_heard.upper_bound({m.id(), m.epoch()});
        return later != m_heard.end() && later->first.first == m.id();
    }
    void check_heard(peer_id id, epoch_t epoch, std::uint32_t incarnation) const {
        const auto heard = m_heard.find({id, epoch});
        require(heard != m_heard.end(), "a life that nobody told of");
        require(incarnation <= heard->second, "somebody else's incarnation was raised");
    }
    void check_told(const std::vector<mesh::claim>& claims) const {
        for (const mesh::claim& c : claims) {
            if (c.id != us) check_heard(c.id, c.epoch, c.incarnation);
        }
    }

    /// What died in an epoch stays dead in it, as long as it is remembered; nobody but the machine raises its own counters, and it
    /// raises nobody else's.
    void check_lives() {
        for (const mesh::table::row& r : m_machine.members().rows()) {
            check_heard(r.id(), r.epoch(), r.incarnation());
            const auto over = m_over.find(r.id());
            if (over != m_over.end() && r.is_live()) require(r.epoch() > over->second.epoch(), "an epoch that was over lives again");
            if (!r.is_live()) m_over[r.id()] = r;
        }
        std::erase_if(m_over, [&](const auto& over) { return m_machine.members().find(over.first) == nullptr; });
        require(m_machine.find(us).has_value(), "it does not know itself");
        require(m_machine.members().find(us) == nullptr, "it is in its own table");
        const std::pair now{m_machine.self().epoch, m_machine.self().incarnation};
        require(now >= m_own_life, "its own counters went back");
        m_own_life = now;
    }

    choices m_in;
    time_point m_now{std::chrono::seconds(1)};
    mesh::machine m_machine;
    std::uint32_t m_last_sequence = 0;
    std::uint64_t m_last_open = 0, m_last_ping = 0;
    std::pair<epoch_t, std::uint32_t> m_own_life{1, 0};
    std::vector<mesh::record_ptr> m_described;
    std::map<peer_id, mesh::member> m_over;
    std::map<std::pair<peer_id, epoch_t>, std::uint32_t> m_heard;
};

inline void machine(bytes_view bytes) { machine_run(bytes.first(std::min<std::size_t>(bytes.size(), 4096))).run(); }

}  // namespace covey_fuzz
