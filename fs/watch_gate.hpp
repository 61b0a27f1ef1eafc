// fs/watch_gate.hpp: how the one task that takes a watcher's events waits, and how others end that wait or close the
// watcher. Private to fs. Rests on core's abort signals and io's poll.
#pragma once

#include <weir/core/abort.hpp>
#include <weir/core/task.hpp>

#include <chrono>
#include <mutex>
#include <optional>

namespace weir::fs::detail {

/// All of it may be called from any thread. `Closing` means: no event comes out any more; whoever is last to be inside
/// cleans up.
class watch_gate {
 public:
  using time_point = std::chrono::steady_clock::time_point;

  /// @return false if it is closed @throws weir::error ERR_INVALID_STATE if somebody is inside
  bool enter();
  /// @return true if it was closed meanwhile: then the caller is to clean up
  bool leave() noexcept;
  /// @return true if nobody is inside: then the caller is to clean up
  bool close() noexcept;
  bool closed() const noexcept;

  /// Ends the wait of whoever is inside, or the next one.
  void wake() noexcept;

  /// Completes when `fd` can be read (-1: none), when `until` has come, or when it was woken. Throws `cancelled` only
  /// where the task is to stop.
  task<> wait(int fd, std::optional<time_point> until);

 private:
  bool begin_wait();

  mutable std::mutex lock_;
  std::optional<abort_controller> waiting_;
  bool inside_ = false;
  bool closed_ = false;
  bool woken_ = false;
};

/// Being inside. `clean_up` is called at its end if the gate was closed meanwhile.
template <class F>
class gate_pass {
 public:
  gate_pass(watch_gate& gate, F clean_up) : gate_(gate), clean_up_(std::move(clean_up)), inside_(gate.enter()) {}
  gate_pass(const gate_pass&) = delete;
  gate_pass& operator=(const gate_pass&) = delete;
  ~gate_pass() {
    if (inside_ && gate_.leave()) clean_up_();
  }
  explicit operator bool() const noexcept { return inside_; }

 private:
  watch_gate& gate_;
  F clean_up_;
  bool inside_;
};

}  // namespace weir::fs::detail
