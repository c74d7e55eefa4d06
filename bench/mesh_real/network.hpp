// A loopback of our own, so that its bytes are those of the mesh alone.
#pragma once

namespace mesh_real {

/// Moves this process, and those that it will start, into a new network namespace with nothing but a loopback. False: that is not
/// allowed here, and nothing has changed. For a process of one thread.
bool enter_private_network() noexcept;

/// All bytes that went over the loopback so far, IP headers included.
double loopback_bytes();

}  // namespace mesh_real
