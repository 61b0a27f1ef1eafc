// net/inherited_listeners.hpp: listening sockets that a program is started with: systemd's socket activation, and a
// parent that starts a new version of itself, in one protocol (sd_listen_fds(3)). Both sides of it. Rests on tcp;
// knows nothing of the runtime, so that it can be used before there is one.
#pragma once

#include <weir/net/tcp.hpp>

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <sys/types.h>

namespace weir::net {

/// A socket that this program was started with, whatever its kind.
struct inherited_socket {
  std::string name;  ///< FileDescriptorName= of the unit, mostly the unit's name; "unknown" where nobody gave one
  socket_handle socket;
};

struct inherited_listener {
  std::string name;
  tcp_listener listener;
};

/// The sockets that the environment says were left open for this process (LISTEN_PID, LISTEN_FDS, LISTEN_FDNAMES:
/// descriptors from 3 on), in order and close-on-exec from here on; none if it says nothing, or speaks to another
/// process. Takes the variables out of the environment: a second call gives none, and no child is led astray. For the
/// beginning of `main`, before there are threads that read the environment.
/// @throws weir::error ERR_INVALID_ARG_VALUE for variables that make no sense, "LISTEN_FDS EBADF" for one not open
std::vector<inherited_socket> inherited_sockets();

/// The same, as listeners.
/// @throws weir::error also ERR_INVALID_ARG_VALUE for one that is no listening stream socket, saying what it is
std::vector<inherited_listener> inherited_listeners(const listen_options& options = {});

/// A listening socket that a program is to be started with.
struct passed_listener {
  std::string_view name;  ///< up to 255 printable ASCII characters without ':'
  int fd = -1;            ///< stays open here, and closed on exec but for that program
};

/// Starts a program that finds these as its inherited listeners. It has our environment but for that, our working
/// directory and standard streams, and no signal blocked. What else is open here it does not get, if it is
/// close-on-exec, as all of ours is.
/// @param command the program's path, which is not searched for, and its arguments
/// @return the process, which the caller waits for (waitpid(2)) unless it ends first
/// @throws weir::error "spawn /nope ENOENT"; ERR_INVALID_ARG_VALUE for a bad name or an empty command
pid_t start_with_listeners(const std::vector<std::string>& command, std::span<const passed_listener> listeners);

}  // namespace weir::net
