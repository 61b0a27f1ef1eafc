// io/epoll_backend.hpp: the executor's seam (core/backend.hpp) on epoll, for machines and containers that refuse
// io_uring. Readiness is waited for and the system call made then; files go to threads that may block. Nothing above
// the seam can tell the difference, but by its speed.
#pragma once

#include <weir/core/backend.hpp>

#include <memory>
#include <string>

namespace weir::io {

/// What a test may hold back, so that every fallback can be run on a kernel that has it all.
struct epoll_limits {
  bool precise_wait = true;  ///< epoll_pwait2 (Linux 5.11); otherwise waits end at whole milliseconds
  bool nowait = true;        ///< RWF_NOWAIT; otherwise one looks whether a pipe is ready before the call
  std::string why = {};      ///< for the report: why this backend was chosen
};

/// Makes the epoll backend of one worker. `start` must then be called on that worker's thread. Fits
/// `backend_factory`. Works on every Linux that C++20 programs run on.
///
/// A descriptor may be in blocking mode and stays so (another process may share it). A terminal that is written to is
/// written to by a thread. Closing a descriptor under an operation that waits for it is a mistake: the operation ends
/// with -EBADF when the number is used again, or when it is cancelled. The blocking threads are the runtime's
/// (runtime_options::blocking_threads); what cannot be given to one yet waits, it does not fail.
/// @throws std::system_error EINVAL if an option is out of range; EMFILE, ENOMEM ... from epoll_create1 and eventfd
std::unique_ptr<backend> make_epoll_backend(const backend_options& options);
std::unique_ptr<backend> make_epoll_backend(const backend_options& options, const epoll_limits& limits);

}  // namespace weir::io
