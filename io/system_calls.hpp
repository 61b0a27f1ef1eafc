// io/system_calls.hpp: operations of the seam done by the system calls of their names, for a backend that has nobody
// to do them for it. Private to io. Two ways: at once or not at all, for what can be waited for; and blocking, for a
// thread that may. Nothing here changes a flag that another process could see, but for a moment in `connect_now`.
#pragma once

#include <weir/core/backend.hpp>

#include <cstddef>
#include <cstdint>

namespace weir::io::calls {

/// What a descriptor is, as far as waiting for it goes.
enum class kind : std::uint8_t {
  file,    ///< on a disk: always "ready", and blocks all the same
  socket,  ///< can be asked not to block call by call
  pipe,    ///< pipes and fifos
  device,  ///< character devices, terminals among them
  event,   ///< the rest: eventfd, timerfd, inotify ...
};

/// @return 0 or -errno
int kind_of(int fd, kind& found) noexcept;

/// The type of a socket (SOCK_STREAM ...), or -errno: -ENOTSOCK, -EBADF.
int socket_type(int fd) noexcept;

/// Does recv, recvmsg, send or sendmsg on a socket, and read, readv, write or writev where that is one, without
/// blocking. With MSG_WAITALL it goes on where it was: `done` counts the bytes so far.
/// @param to_the_end after a part has gone through try again until the socket refuses
/// @return the bytes in all, -EAGAIN (wait and call again) or -errno
int transfer(const operation& op, std::uint32_t& done, bool to_the_end) noexcept;

/// One recv(2) that does not block.
int receive(int fd, std::byte* into, std::size_t size, std::uint32_t flags) noexcept;

/// Does read, readv, write or writev on anything but a socket without blocking, where the system can do that.
/// @return the bytes, -EAGAIN, -EOPNOTSUPP (it cannot: see `stream_when_ready`) or -errno
int stream_now(const operation& op) noexcept;

/// The same for a descriptor in blocking mode that knows no RWF_NOWAIT (terminals, inotify; pipes before Linux 6.4):
/// looks whether it is ready, then makes the call, one thread of this process at a time. Only another process that
/// reads from it at that instant can make it block. A pipe takes PIPE_BUF bytes at a time.
int stream_when_ready(const operation& op, kind what) noexcept;

/// Reads from a file what the page cache has. @return the bytes, -EAGAIN if it takes the disk or long, or -errno
int read_cached(const operation& op) noexcept;

/// accept4(2) without blocking. Where the listener is in blocking mode it looks whether a connection is there and
/// takes it, one thread of this process at a time.
int accept_now(const operation& op) noexcept;

/// connect(2) without blocking: a socket in blocking mode is switched for the call.
/// @return 0, -EINPROGRESS, -EAGAIN (AF_UNIX: the backlog is full) or -errno
int connect_now(const operation& op) noexcept;

/// What has become of a connect under way: 0, -EINPROGRESS or -errno.
int connect_outcome(int fd) noexcept;

/// What a splice waits for.
struct splice_wait {
  int fd = -1;                ///< the end that is not ready, or -1
  std::uint32_t events = 0;   ///< POLLIN or POLLOUT
  bool needs_thread = false;  ///< an end is a file
};

/// Splices without blocking. @return the bytes, or -EAGAIN with `wait` filled in, or -errno
int splice_now(const operation& op, splice_wait& wait) noexcept;

/// Makes the system call and waits for it, on a thread that may: files, directories, devices. A fifo is opened as
/// with O_NONBLOCK, as io_uring does: nothing waits for its other end. @return the result or -errno
int perform(const operation& op) noexcept;

}  // namespace weir::io::calls
