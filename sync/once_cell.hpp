// sync/once_cell.hpp: a value that is made when it is first wanted, by one task while others wait. Rests on mutex.hpp.
#pragma once

#include <weir/core/task.hpp>
#include <weir/sync/mutex.hpp>

#include <atomic>
#include <optional>
#include <utility>

namespace weir::sync {

/// Room for a T that is set once.
///
/// `co_await cell.get_or_init(f)` gives a reference to the value; if there is none yet it runs `f()`, which returns a
/// task of a T, while later callers wait. If that fails or is cancelled, its caller sees the failure and the next in
/// the queue runs its own `f`. Cancelling a waiter takes it out of the queue. Any worker. The cell must outlive its
/// callers; the reference is good as long as the cell.
template <class T>
class once_cell {
 public:
  once_cell() = default;
  once_cell(const once_cell&) = delete;
  once_cell& operator=(const once_cell&) = delete;

  /// The value, or null if there is none yet. Any thread.
  T* get() noexcept { return ready_.load(std::memory_order_acquire) ? &*value_ : nullptr; }
  const T* get() const noexcept { return ready_.load(std::memory_order_acquire) ? &*value_ : nullptr; }

  /// The value; made by `make` if there is none.
  template <class F>
  task<T&> get_or_init(F make) {
    if (get() == nullptr) {
      auto held = co_await making_.lock();
      if (get() == nullptr) {
        value_.emplace(co_await make());
        ready_.store(true, std::memory_order_release);
      }
    }
    co_return *value_;
  }

  /// Sets the value. @return false if there is one, or somebody is making it: then nothing is changed
  bool try_set(T value) {
    auto held = making_.try_lock();
    if (!held || get() != nullptr) return false;
    value_.emplace(std::move(value));
    ready_.store(true, std::memory_order_release);
    return true;
  }

 private:
  mutex making_;
  std::atomic<bool> ready_{false};
  std::optional<T> value_;
};

}  // namespace weir::sync
