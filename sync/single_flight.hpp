// sync/single_flight.hpp: the same work asked for by many at once is done once. Rests on core's event. With a time to
// keep results it is a memoised function; for a cache with weights and policies see cache.hpp.
#pragma once

#include <weir/core/event.hpp>
#include <weir/core/task.hpp>
#include <weir/sync/clock.hpp>

#include <chrono>
#include <concepts>
#include <cstddef>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <type_traits>
#include <unordered_map>
#include <utility>

namespace weir::sync {

struct single_flight_options {
  /// How long a value is kept for later callers; 0: not at all, max: until it is forgotten or has to make room.
  std::chrono::nanoseconds keep = std::chrono::nanoseconds(0);
  std::chrono::nanoseconds keep_failure = std::chrono::nanoseconds(0);  ///< the same for a failure
  std::size_t max_kept = 1024;                                          ///< the oldest makes room
};

/// Runs at most one call per key at a time. T is void or can be copied: each caller gets a copy. Any worker. Must
/// outlive its callers.
template <class Key, class T, class Hash = std::hash<Key>>
  requires(std::is_void_v<T> || std::copy_constructible<T>)
class single_flight {
 public:
  explicit single_flight(single_flight_options options = {}) : options_(options) {}
  single_flight(const single_flight&) = delete;
  single_flight& operator=(const single_flight&) = delete;

  /// `co_await flights.run(key, f)` calls `f()`, which returns a task<T>, unless a call for an equal key is under way
  /// or its result is kept: then it completes with what becomes, or became, of that one, failures included. The call
  /// runs within its first caller; if that is cancelled, the next of those that wait calls its own `f`. Cancelling a
  /// caller that waits leaves the others alone. `f` must not ask for its own key.
  template <class F>
  [[nodiscard]] task<T> run(Key key, F make) {
    auto& running = co_await weir::detail::this_fiber{};
    for (;;) {
      auto [seen, first] = join(key);
      if (!first) {
        co_await seen->landed.wait();
        if (seen->outcome) co_return result<T>(*seen->outcome).value();
        continue;  // nobody is left who makes it
      }
      pilot landing{this, &key, seen};
      auto outcome = co_await attempt(call(make));
      if (outcome || !running.must_stop()) landing.land(outcome);
      co_return std::move(outcome).value();
    }
  }

  /// Drops what is kept for `key`; a call under way is not shared any more. @return whether there was something
  bool forget(const Key& key) {
    std::lock_guard lock(mutex_);
    return drop(table_.find(key));
  }
  void forget_all() {
    std::lock_guard lock(mutex_);
    table_.clear();
    kept_.clear();
  }

  /// Results kept and calls under way.
  std::size_t size() const {
    std::lock_guard lock(mutex_);
    return table_.size();
  }

 private:
  using time_point = std::chrono::steady_clock::time_point;

  struct flight {
    event landed;
    std::optional<result<T>> outcome;  // set before `landed`; none: it was given up
  };
  struct entry {
    std::shared_ptr<flight> of;
    std::optional<typename std::list<Key>::iterator> kept = {};
    time_point until = {};
  };
  using table_type = std::unordered_map<Key, entry, Hash>;

  /// Whoever makes the value. Going without an outcome means that he was cancelled.
  struct pilot {
    single_flight* of;
    const Key* key;
    std::shared_ptr<flight> flies;

    void land(const result<T>& outcome) {
      flies->outcome.emplace(outcome);
      of->settle(*key, flies, outcome.has_value() ? of->options_.keep : of->options_.keep_failure);
      std::exchange(flies, nullptr)->landed.set();
    }
    ~pilot() {
      if (!flies) return;
      of->settle(*key, flies, std::chrono::nanoseconds(0));
      flies->landed.set();
    }
  };

  template <class F>
  static task<T> call(F& make) {
    co_return co_await std::invoke(make);
  }

  /// The flight for `key`, and whether the caller is to make it.
  std::pair<std::shared_ptr<flight>, bool> join(const Key& key) {
    std::lock_guard lock(mutex_);
    auto found = table_.find(key);
    if (found != table_.end() && found->second.kept && found->second.until <= detail::clock_here()) {
      drop(found);
      found = table_.end();
    }
    if (found != table_.end()) return {found->second.of, false};
    auto made = std::make_shared<flight>();
    table_.emplace(key, entry{made});
    return {std::move(made), true};
  }

  void settle(const Key& key, const std::shared_ptr<flight>& which, std::chrono::nanoseconds keep) noexcept {
    std::lock_guard lock(mutex_);
    auto found = table_.find(key);
    if (found == table_.end() || found->second.of != which) return;
    if (keep <= std::chrono::nanoseconds(0) || options_.max_kept == 0) {
      drop(found);
      return;
    }
    if (kept_.size() >= options_.max_kept) drop(table_.find(kept_.front()));
    try {
      kept_.push_back(key);
    } catch (...) {  // no room to note when it goes: it goes now
      drop(found);
      return;
    }
    found->second.kept = std::prev(kept_.end());
    found->second.until = detail::later(detail::clock_here(), keep);
  }

  bool drop(typename table_type::iterator at) noexcept {
    if (at == table_.end()) return false;
    if (at->second.kept) kept_.erase(*at->second.kept);
    table_.erase(at);
    return true;
  }

  single_flight_options options_;
  mutable std::mutex mutex_;
  table_type table_;
  std::list<Key> kept_;  // the oldest first
};

}  // namespace weir::sync
