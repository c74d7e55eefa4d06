// What is measured: covey, or Serf. How to start one, and what its output says.
#pragma once

#include <covey/mesh/config.hpp>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace mesh_real {

/// One line that says who holds whom for a member.
struct sighting {
    enum class what : std::uint8_t { nothing, here, gone } kind = what::nothing;
    unsigned subject = 0;
    std::int64_t at_ns = 0;
    std::string address{};  ///< here: where others join through the subject
};

class side {
public:
    virtual ~side() = default;
    virtual std::string name() const = 0;
    /// The program and its arguments for number `index`, which joins through these.
    virtual std::vector<std::string> command(unsigned index, const std::vector<std::string>& seeds) const = 0;
    /// `read_ns`: when the line was read, for output that does not say when it was written.
    virtual sighting understand(const std::string& line, std::int64_t read_ns) const = 0;
};

/// "local", "lan" or "wan"; throws std::invalid_argument for anything else.
covey::mesh::config numbers_of(const std::string& profile);

std::unique_ptr<side> covey_side(const std::string& profile);
/// `program`: where serf is.
std::unique_ptr<side> serf_side(const std::string& program, const std::string& profile);

/// Arguments by which this program becomes one peer; `is_peer` tells, and `be_peer` is its main function.
bool is_peer(int argc, char** argv) noexcept;
int be_peer(char** argv);

}  // namespace mesh_real
