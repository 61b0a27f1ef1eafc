// io/uring_backend.hpp: the io_uring form of the executor's seam (core/backend.hpp). One ring per worker,
// entered by that worker only; each feature of the kernel is tried before it is used, and each has a
// fallback down to Linux 5.11. The source file says what was measured where it makes a choice.
#pragma once

#include <weir/core/backend.hpp>

#include <memory>
#include <string>

namespace weir::io {

/// How completions get from the kernel to the queue.
enum class uring_ring {
  deferred,     ///< when the worker asks (SINGLE_ISSUER, DEFER_TASKRUN; Linux 6.1)
  cooperative,  ///< at the worker's next system call (COOP_TASKRUN; Linux 5.19)
  plain,        ///< by interrupting the worker
};

/// How a `poll` that waits in the kernel is ended from outside.
enum class uring_wake {
  best,     ///< what measured best among what the kernel has
  event,    ///< an eventfd that the waiting ring watches
  message,  ///< MSG_RING from the ring of the worker that calls; an eventfd if a foreign thread calls
  direct,   ///< MSG_RING without a ring (Linux 6.13)
};

/// What a test or a measurement may hold back, so that every fallback can be run on a kernel that has it all.
/// A backend never has more than this, and less if the kernel offers less.
struct uring_limits {
  uring_ring ring = uring_ring::deferred;
  uring_wake wake = uring_wake::best;
  bool multishot = true;
  bool buffer_ring = true;
  bool flush_when_full = true;  ///< a full submission queue is flushed at once, not at the next `poll`
  std::string why = {};         ///< for the report: why this backend was chosen
};

/// Makes the io_uring backend of one worker. `start` must then be called on that worker's thread.
/// Fits `backend_factory`.
/// @throws std::system_error EINVAL if an option is out of range; the kernel's error, with what can be done about
///         it, if there is no io_uring here (ENOSYS, EPERM) or no room for a ring (ENOMEM, EMFILE)
std::unique_ptr<backend> make_uring_backend(const backend_options& options);
std::unique_ptr<backend> make_uring_backend(const backend_options& options, const uring_limits& limits);

/// True if this process may use io_uring and the kernel has what the backend cannot do without (Linux 5.11).
bool uring_available();

/// What this kernel offers, found by trying, as lines a person can read. Never throws for a missing io_uring:
/// then it says why there is none.
std::string uring_report();

}  // namespace weir::io
