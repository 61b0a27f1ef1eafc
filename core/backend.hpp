// core/backend.hpp: the seam between the executor and the system. `core` owns this interface and
// knows nothing below it; `io` implements it (io_uring first; epoll and the simulator take the same
// place). One backend belongs to one worker: only that worker's thread calls it, except for `wake`.
#pragma once

#include <weir/core/figure.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <string>

namespace weir {

/// What an operation asks of the system. The comment names the fields that count beside `fd`.
/// Results are those of the system call of the same name: >= 0, or -errno.
enum class opcode : std::uint8_t {
  nop,
  read,         ///< buffer, length, offset (-1: the file position, or a stream)
  write,        ///< buffer, length, offset
  readv,        ///< buffer = iovec array, length = entries, offset
  writev,       ///< buffer = iovec array, length = entries, offset
  recv,         ///< buffer, length, flags = MSG_*
  recv_many,    ///< multishot into the backend's pooled buffers; see completion::data
  recvmsg,      ///< buffer = msghdr, flags
  send,         ///< buffer, length, flags = MSG_* (MSG_NOSIGNAL is always added)
  sendmsg,      ///< buffer = msghdr, flags (MSG_NOSIGNAL is always added)
  accept,       ///< buffer = sockaddr or null, second = socklen_t*, flags = SOCK_* (CLOEXEC is always added)
  accept_many,  ///< multishot; flags = SOCK_*
  connect,      ///< buffer = sockaddr, length
  shutdown,     ///< length = SHUT_*
  close,        ///< the descriptor
  poll,         ///< flags = POLL* mask; result = ready mask
  poll_many,    ///< multishot poll
  openat,       ///< buffer = path, flags = O_* (CLOEXEC is always added), length = mode
  statx,        ///< buffer = path, flags = AT_*, length = mask, second = struct statx*
  fsync,        ///< flags: 0, or 1 for fdatasync
  fallocate,    ///< offset, length64 in `second` as an integer, flags = mode
  unlinkat,     ///< buffer = path, flags = AT_REMOVEDIR or 0
  renameat,     ///< buffer = old path, second = new path, length = new directory fd, flags
  mkdirat,      ///< buffer = path, length = mode
  splice,       ///< from `fd` to `length` (a descriptor), offset = bytes, flags
};

class operation;

/// One report about an operation. A one-shot operation gets exactly one; a multishot operation gets any
/// number with `more` set and then exactly one, the terminal one, without.
struct completion {
  int result = 0;                   ///< >= 0, or -errno
  bool more = false;                ///< multishot: the operation is still armed
  const std::byte* data = nullptr;  ///< recv_many: the bytes; they stay valid until `backend::recycle(buffer)`
  std::uint16_t buffer = 0;         ///< recv_many: what to hand to `recycle`; meaningful if data is not null
};

class backend;

/// A request to the kernel and the record of it while it runs. It lives in the awaiter, hence in the
/// coroutine frame or in the object that owns the stream, and must stay where it is from `submit` to
/// its terminal completion: nothing is allocated per operation, and nothing else may free it.
class operation {
 public:
  using handler = void (*)(operation&, const completion&) noexcept;

  opcode code = opcode::nop;
  int fd = -1;
  void* buffer = nullptr;
  std::uint32_t length = 0;
  std::uint32_t flags = 0;
  std::uint64_t offset = ~std::uint64_t{0};
  void* second = nullptr;
  handler on_complete = nullptr;  ///< called on the home worker; must not run user code

  /// The backend's own words: set and read by the backend only.
  struct {
    std::uint32_t state = 0;
    std::uint32_t index = 0;
    operation* next = nullptr;
  } home;
};

/// Figures a backend keeps for the runtime's metrics.
struct backend_counters {
  figure submissions;  ///< operations handed to the system
  figure completions;  ///< reports received
  figure enters;       ///< system calls made to submit or to wait
  figure stalls;       ///< times the submission queue was full and had to be flushed early
  figure overflows;    ///< completions that the system had to keep aside
  figure no_buffers;   ///< recv_many ended for want of a pooled buffer
};

/// What one worker uses to talk to the system.
class backend {
 public:
  virtual ~backend() = default;

  /// Called once, on the worker's own thread, before anything else.
  virtual void start() = 0;

  /// Queues `op`. It reaches the system at the next `poll` (or earlier). Never calls `on_complete` itself.
  virtual void submit(operation& op) noexcept = 0;

  /// Asks for `op` to end early. It still gets its terminal completion: -ECANCELED, or its real result
  /// if that came first. Asking twice, or for an operation that has just completed, is harmless.
  virtual void cancel(operation& op) noexcept = 0;

  /// Submits what is queued and reports what has completed, waiting up to `timeout` for the first
  /// completion or wake-up (zero: does not wait; max(): without limit).
  /// @return the number of completions reported (wake-ups do not count)
  virtual std::size_t poll(std::chrono::nanoseconds timeout) noexcept = 0;

  /// Ends a `poll` that waits, or the next one that would. May be called from any thread.
  /// @param from the backend of the worker that calls, or null on a foreign thread
  virtual void wake(backend* from) noexcept = 0;

  /// The clock that timers follow. The simulator has its own.
  virtual std::chrono::steady_clock::time_point now() const noexcept { return std::chrono::steady_clock::now(); }

  /// Gives a pooled receive buffer back (home thread only).
  virtual void recycle(std::uint16_t buffer) noexcept = 0;

  /// Operations submitted whose terminal completion has not been reported.
  virtual std::size_t in_flight() const noexcept = 0;

  virtual const backend_counters& counters() const noexcept = 0;

  /// The features found at start, as lines a person can read.
  virtual std::string report() const = 0;
};

/// What a backend factory is told about the runtime it serves.
struct backend_options {
  unsigned entries = 1024;      ///< submission queue slots, a power of two
  unsigned buffers = 512;       ///< pooled receive buffers per worker, a power of two up to 32768
  unsigned buffer_size = 4096;  ///< bytes in each
};

/// Makes the backend of one worker. The runtime calls it once per worker.
using backend_factory = std::unique_ptr<backend> (*)(const backend_options&);

/// Thrown by a factory that can make no more of what it made for the first workers, but something else for all. The
/// runtime drops those and begins anew, once.
struct backend_changed : std::exception {
  const char* what() const noexcept override { return "the runtime's workers need another backend"; }
};

/// The factory used where the runtime's options name none: io_uring, or epoll where that is refused, as WEIR_BACKEND
/// in the environment says (uring, epoll, auto). Declared here, defined by `io`.
std::unique_ptr<backend> make_default_backend(const backend_options& options);

}  // namespace weir
