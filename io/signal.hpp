// io/signal.hpp: waiting for signals of the process. The handler only sets a bit and writes to an event descriptor,
// which the waiting task reads on the backend; it does not matter which thread the signal interrupts, how many
// workers there are, or what was constructed first. Nothing has to be blocked.
#pragma once

#include <weir/core/task.hpp>
#include <weir/io/descriptor.hpp>

#include <csignal>
#include <cstdint>
#include <initializer_list>

namespace weir::io {

/// Signal numbers, as one writes them: {SIGINT, SIGTERM}.
class signal_set {
 public:
  /// @throws weir::error ERR_UNKNOWN_SIGNAL for a number that is none; ERR_INVALID_ARG_VALUE for one that cannot be
  ///         waited for: SIGKILL, SIGSTOP, and SIGSEGV, SIGBUS, SIGFPE and SIGILL, which a fault would raise for ever
  signal_set(std::initializer_list<int> numbers);  // NOLINT: implicit, for the braces

  bool has(int number) const noexcept { return number > 0 && number <= 64 && (bits_ >> (number - 1) & 1) != 0; }
  std::uint64_t bits() const noexcept { return bits_; }

 private:
  std::uint64_t bits_ = 0;
};

struct signal_watch;

/// Receives signals of the process as long as it lives; meanwhile they have no other effect. What was done about a
/// signal before (sigaction(2)) is put back when the last object for it goes.
///
/// May be constructed anywhere and at any time, inside a runtime or before it, and used by any one task at a time on
/// any worker. Each object sees each signal, so several may wait for the same. A signal that arrives while nobody
/// waits is kept for the next call; as with pending signals in general (signal(7)), one that arrives again before it
/// has been taken counts once. The signals must not be blocked in every thread. A child process between fork and
/// exec passes nothing on to its parent.
class signals {
 public:
  /// @throws weir::error "eventfd EMFILE"; "sigaction EINVAL" for a real-time signal that libc keeps for itself
  explicit signals(signal_set which);
  signals(const signals&) = delete;
  signals& operator=(const signals&) = delete;
  /// No `next` may wait.
  ~signals();

  /// `co_await s.next()` waits for one of the signals and gives its number; of several, the lowest first. Cancelling
  /// it loses none.
  task<int> next();

 private:
  signal_set which_;
  descriptor event_;
  signal_watch* watch_;
};

/// `co_await wait_signal({SIGINT, SIGTERM})` waits for the next of these signals and gives its number. They are
/// caught while it waits only: keep a `signals` object where none may be missed in between.
task<int> wait_signal(signal_set which);

}  // namespace weir::io
