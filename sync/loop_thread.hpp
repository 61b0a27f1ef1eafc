// sync/loop_thread.hpp: a thread with a loop of its own, seen from outside: starting it with a name and a stack
// size, and asking what runs on its loop to stop. Private to sync. Rests on POSIX threads and core's mail.
#pragma once

#include <weir/core/fiber.hpp>
#include <weir/core/runtime.hpp>
#include <weir/core/scope.hpp>
#include <weir/core/spin_lock.hpp>
#include <weir/core/task.hpp>

#include <cstddef>
#include <functional>
#include <string>

#include <pthread.h>

namespace weir::sync::detail {

struct thread_options {
  std::string name = {};       ///< shown by ps and debuggers; the system keeps 15 characters
  std::size_t stack_size = 0;  ///< octets, rounded up to what the system takes; 0: its default
};

/// A thread that is joined or detached by whoever made it.
class native_thread {
 public:
  native_thread() = default;
  /// @throws weir::error EAGAIN where the system gives no thread
  native_thread(std::function<void()> body, const thread_options& options);
  native_thread(const native_thread&) = delete;
  native_thread& operator=(const native_thread&) = delete;
  native_thread(native_thread&& other) noexcept;
  native_thread& operator=(native_thread&& other) noexcept;
  ~native_thread();

  bool joinable() const noexcept { return running_; }
  void join() noexcept;
  void detach() noexcept;

 private:
  pthread_t thread_{};
  bool running_ = false;
};

/// True on a thread that a native_thread has started.
bool on_native_thread() noexcept;

/// A switch, for any thread, that cancels a scope of a loop elsewhere. The cancellation travels there as mail, because
/// the scopes of a runtime with one worker may be touched by that worker only.
class remote_stop : private weir::detail::job {
 public:
  remote_stop() = default;
  remote_stop(const remote_stop&) = delete;
  remote_stop& operator=(const remote_stop&) = delete;

  // On the loop:
  void open(weir::detail::fiber& of_the_loop) noexcept;
  /// Cancels `target` from now on, at once if that has been asked for since the last `rest`.
  void aim(scope& target) noexcept;
  void rest() noexcept;
  /// Like `request`, at once.
  void stop_now() noexcept;
  /// No request is under way afterwards: the loop may end.
  task<> close();

  /// Any thread, any time.
  void request() noexcept;

 private:
  static void deliver(weir::detail::job& arrived, weir::detail::worker&) noexcept;
  bool under_way() const noexcept;

  mutable weir::detail::spin_lock lock_;
  weir::detail::worker* home_ = nullptr;
  scope* target_ = nullptr;
  bool wanted_ = false;
  bool queued_ = false;
};

/// Options for a thread's own runtime: one worker.
runtime_options one_worker(runtime_options options) noexcept;

}  // namespace weir::sync::detail
