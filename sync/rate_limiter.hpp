// sync/rate_limiter.hpp: how much of something may happen in a time. Five rules with one face, for one subject
// (`rate_limiter`) or for one of many by key (`keyed_rate_limiter`). Rests on mutex.hpp and on the executor's clock,
// which is steady; owns no timer, so it keeps no program alive.
#pragma once

#include <weir/core/task.hpp>
#include <weir/core/time.hpp>
#include <weir/sync/clock.hpp>
#include <weir/sync/mutex.hpp>

#include <atomic>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <list>
#include <mutex>
#include <string>
#include <unordered_map>
#include <utility>

namespace weir::sync {

/// What a limiter says to a request; enough for the headers of an HTTP response.
struct rate_decision {
  bool allowed = false;
  std::size_t limit = 0;                      ///< permits per window, or the bucket's size
  std::size_t remaining = 0;                  ///< permits left right now, after this request
  std::chrono::nanoseconds retry_after = {};  ///< until the same request would be allowed, if nobody else asks; or 0
  std::chrono::nanoseconds reset_after = {};  ///< until all permits are there again, if nobody else asks

  explicit operator bool() const noexcept { return allowed; }
};

/// Seconds as HTTP's Retry-After has them: rounded up.
constexpr std::int64_t whole_seconds(std::chrono::nanoseconds time) noexcept {
  return std::chrono::ceil<std::chrono::seconds>(time).count();
}

using rate_clock = std::chrono::steady_clock::time_point;

/// A rule: what it remembers of a subject, and what it answers to a wish for `n` permits at the time `now`. `take`
/// counts, `look` does not. `most` is what can ever be had at once; `idle`: nothing is remembered any more.
template <class R>
concept rate_rule = requires(const R& rule, typename R::state& s, const typename R::state& seen, rate_clock now) {
  { rule.take(s, std::size_t{1}, now) } -> std::same_as<rate_decision>;
  { rule.look(seen, std::size_t{1}, now) } -> std::same_as<rate_decision>;
  { rule.idle(seen, now) } -> std::same_as<bool>;
  { rule.most() } -> std::same_as<std::size_t>;
};

struct window_options {
  std::size_t limit = 100;  ///< permits per window, at least 1
  std::chrono::nanoseconds window = std::chrono::seconds(60);
  bool count_refused = false;  ///< a refused request counts as well: who keeps asking waits longer
};

/// At most `limit` per window. The window begins with the first request and ends exactly `window` later. Twice the
/// limit may pass around the end of a window. Remembers 16 bytes.
class fixed_window {
 public:
  struct state {
    rate_clock start = {};
    std::uint64_t count = 0;
  };
  using options = window_options;
  /// @throws weir::error ERR_OUT_OF_RANGE
  explicit fixed_window(const options& o = {});

  rate_decision take(state& s, std::size_t n, rate_clock now) const noexcept;
  rate_decision look(const state& s, std::size_t n, rate_clock now) const noexcept;
  bool idle(const state& s, rate_clock now) const noexcept;
  std::size_t most() const noexcept { return options_.limit; }

 private:
  options options_;
};

/// At most `limit` in any stretch of `window`: remembers the time of each permit (8 bytes each), which counts until
/// exactly `window` later. Exact; refused requests are not remembered, whatever `count_refused` says.
class sliding_log {
 public:
  struct state {
    std::deque<rate_clock> times;
  };
  using options = window_options;
  explicit sliding_log(const options& o = {});

  rate_decision take(state& s, std::size_t n, rate_clock now) const;
  rate_decision look(const state& s, std::size_t n, rate_clock now) const noexcept;
  bool idle(const state& s, rate_clock now) const noexcept;
  std::size_t most() const noexcept { return options_.limit; }

 private:
  options options_;
};

/// Between the two: counts this window and the one before, of which as much counts as still lies within `window`, as
/// if its permits had been spread evenly. Remembers 24 bytes.
class sliding_counter {
 public:
  struct state {
    rate_clock start = {};
    std::uint64_t count = 0;
    std::uint64_t before = 0;
  };
  using options = window_options;
  explicit sliding_counter(const options& o = {});

  rate_decision take(state& s, std::size_t n, rate_clock now) const noexcept;
  rate_decision look(const state& s, std::size_t n, rate_clock now) const noexcept;
  bool idle(const state& s, rate_clock now) const noexcept;
  std::size_t most() const noexcept { return options_.limit; }

 private:
  state advanced(state s, rate_clock now) const noexcept;
  std::chrono::nanoseconds wait_for(const state& s, std::size_t n, rate_clock now) const noexcept;

  options options_;
};

struct token_bucket_options {
  std::size_t capacity = 100;  ///< at least 1
  std::size_t refill = 10;     ///< permits that come per `interval`, at least 1
  std::chrono::nanoseconds interval = std::chrono::seconds(1);
  bool in_steps = false;  ///< they come all at once, at the same instants in all buckets; else one by one
};

/// A bucket that fills at a rate and starts full; a request takes its permits out. Lets bursts of up to `capacity`
/// through. Remembers 16 bytes.
class token_bucket {
 public:
  using options = token_bucket_options;
  struct state {
    rate_clock at = {};
    std::uint64_t missing = 0;  ///< what the bucket lacks, in permits times nanoseconds of the interval
  };
  explicit token_bucket(const options& o = {});

  rate_decision take(state& s, std::size_t n, rate_clock now) const noexcept;
  rate_decision look(const state& s, std::size_t n, rate_clock now) const noexcept;
  bool idle(const state& s, rate_clock now) const noexcept;
  std::size_t most() const noexcept { return options_.capacity; }

 private:
  std::uint64_t missing(const state& s, rate_clock now) const noexcept;
  std::chrono::nanoseconds until_gained(std::uint64_t amount, rate_clock now) const noexcept;
  std::int64_t step_of(rate_clock t) const noexcept;

  options options_;
  std::uint64_t full_;
  rate_clock origin_;
};

struct leaky_bucket_options {
  std::size_t rate = 10;  ///< permits per `interval`, at least 1
  std::chrono::nanoseconds interval = std::chrono::seconds(1);
};

/// A bucket that leaks at a constant rate: permits are handed out evenly, one every `interval / rate`, with no bursts
/// but those that make up for less than the 2 ms by which a timer may be late. Awaiting `acquire` makes a queue of it,
/// whose length is the bucket's size. Remembers 8 bytes.
class leaky_bucket {
 public:
  using options = leaky_bucket_options;
  struct state {
    rate_clock free_at = {};
  };
  explicit leaky_bucket(const options& o = {});

  rate_decision take(state& s, std::size_t n, rate_clock now) const noexcept;
  rate_decision look(const state& s, std::size_t n, rate_clock now) const noexcept;
  bool idle(const state& s, rate_clock now) const noexcept;
  std::size_t most() const noexcept { return options_.rate; }

 private:
  options options_;
  std::chrono::nanoseconds spacing_;
};

namespace detail {

/// @throws weir::error ERR_OUT_OF_RANGE for 0 permits, or more than there can ever be
void check_permits(std::size_t n, std::size_t most);

/// Counts those that wait, and refuses too many.
class waiting_room {
 public:
  waiting_room(std::atomic<std::size_t>& waiting, std::size_t most);
  waiting_room(const waiting_room&) = delete;
  waiting_room& operator=(const waiting_room&) = delete;
  ~waiting_room() { waiting_.fetch_sub(1, std::memory_order_relaxed); }

 private:
  std::atomic<std::size_t>& waiting_;
};

}  // namespace detail

/// A limit for one subject. Any thread may ask, any task may wait.
template <rate_rule Rule>
class rate_limiter {
 public:
  /// @param max_waiting how many tasks may wait in `acquire`; the next fails with ERR_QUEUE_FULL
  explicit rate_limiter(Rule rule = Rule(), std::size_t max_waiting = 65536)
      : rule_(std::move(rule)), max_waiting_(max_waiting) {}

  /// Takes `n` permits if they are there now; never overtakes those that wait.
  /// @throws weir::error ERR_OUT_OF_RANGE for 0 permits, or more than there can ever be at once
  rate_decision try_acquire(std::size_t n = 1) {
    detail::check_permits(n, rule_.most());
    std::lock_guard lock(mutex_);
    auto now = detail::clock_here();
    if (waiting_.load(std::memory_order_relaxed) == 0) return rule_.take(state_, n, now);
    auto refused = rule_.look(state_, n, now);
    refused.allowed = false;
    return refused;
  }

  /// `co_await l.acquire(n)` completes when the permits are there and taken, in order of arrival. Throws as
  /// `try_acquire` does, and ERR_QUEUE_FULL. Cancelling it takes nothing.
  task<rate_decision> acquire(std::size_t n = 1) {
    detail::check_permits(n, rule_.most());
    detail::waiting_room inside(waiting_, max_waiting_);
    auto turn = co_await line_.lock();
    for (;;) {
      auto decision = take(n);
      if (decision) co_return decision;
      co_await sleep(decision.retry_after);
    }
  }

  /// What `try_acquire(n)` would say, without asking.
  rate_decision look(std::size_t n = 1) const {
    detail::check_permits(n, rule_.most());
    std::lock_guard lock(mutex_);
    return rule_.look(state_, n, detail::clock_here());
  }

  /// How long until `n` permits are there; 0: now.
  std::chrono::nanoseconds retry_after(std::size_t n = 1) const { return look(n).retry_after; }

  /// Forgets what has happened. Those that wait for a time still wait for it.
  void reset() {
    std::lock_guard lock(mutex_);
    state_ = {};
  }

  /// Tasks in `acquire` now.
  std::size_t waiting() const noexcept { return waiting_.load(std::memory_order_relaxed); }

 private:
  rate_decision take(std::size_t n) {
    std::lock_guard lock(mutex_);
    return rule_.take(state_, n, detail::clock_here());
  }

  Rule rule_;
  typename Rule::state state_;
  mutable std::mutex mutex_;
  mutex line_;
  std::atomic<std::size_t> waiting_{0};
  std::size_t max_waiting_;
};

/// A limit for each of many subjects: addresses, users, API keys. The table is bounded: subjects of whom nothing is
/// remembered are dropped on the way, and if it is full nevertheless, the one that has not asked for longest (who
/// then begins anew). Any thread may ask, any task may wait.
template <rate_rule Rule, class Key = std::string, class Hash = std::hash<Key>>
class keyed_rate_limiter {
 public:
  /// @param max_keys subjects remembered at most, at least 1
  explicit keyed_rate_limiter(Rule rule = Rule(), std::size_t max_keys = 65536)
      : rule_(std::move(rule)), max_keys_(max_keys) {
    detail::check_permits(max_keys, static_cast<std::size_t>(-1));
  }

  /// Like rate_limiter::try_acquire, for `key`.
  rate_decision try_acquire(const Key& key, std::size_t n = 1) {
    detail::check_permits(n, rule_.most());
    std::lock_guard lock(mutex_);
    auto now = detail::clock_here();
    return rule_.take(find_or_add(key, now), n, now);
  }

  /// `co_await l.acquire(key, n)` completes when the permits are there and taken. Tasks that wait for the same key
  /// are not served in order. Cancelling it takes nothing.
  task<rate_decision> acquire(Key key, std::size_t n = 1) {
    for (;;) {
      auto decision = try_acquire(key, n);
      if (decision) co_return decision;
      co_await sleep(decision.retry_after);
    }
  }

  rate_decision look(const Key& key, std::size_t n = 1) const {
    detail::check_permits(n, rule_.most());
    std::lock_guard lock(mutex_);
    auto found = table_.find(key);
    return rule_.look(found == table_.end() ? typename Rule::state() : found->second->second, n, detail::clock_here());
  }
  std::chrono::nanoseconds retry_after(const Key& key, std::size_t n = 1) const { return look(key, n).retry_after; }

  /// Forgets one subject, or all.
  void reset(const Key& key) {
    std::lock_guard lock(mutex_);
    auto found = table_.find(key);
    if (found == table_.end()) return;
    order_.erase(found->second);
    table_.erase(found);
  }
  void reset() {
    std::lock_guard lock(mutex_);
    table_.clear();
    order_.clear();
  }

  /// Drops all subjects of whom nothing is remembered. Not needed for the bound; for memory's sake after a rush.
  /// @return how many
  std::size_t sweep() {
    std::lock_guard lock(mutex_);
    auto before = order_.size();
    auto now = detail::clock_here();
    for (auto at = order_.begin(); at != order_.end();) at = rule_.idle(at->second, now) ? drop(at) : std::next(at);
    return before - order_.size();
  }

  /// Subjects remembered now.
  std::size_t size() const {
    std::lock_guard lock(mutex_);
    return order_.size();
  }

 private:
  using entry = std::pair<Key, typename Rule::state>;
  using place = typename std::list<entry>::iterator;

  place drop(place at) {
    table_.erase(at->first);
    return order_.erase(at);
  }

  // The oldest are at the front: looking at two for each one that is added keeps up with any rate of arrivals.
  typename Rule::state& find_or_add(const Key& key, rate_clock now) {
    auto found = table_.find(key);
    if (found != table_.end()) {
      order_.splice(order_.end(), order_, found->second);
      return found->second->second;
    }
    for (int i = 0; i < 2 && !order_.empty() && rule_.idle(order_.front().second, now); ++i) drop(order_.begin());
    if (order_.size() >= max_keys_) drop(order_.begin());
    order_.emplace_back(key, typename Rule::state());
    try {
      table_.emplace(key, std::prev(order_.end()));
    } catch (...) {
      order_.pop_back();
      throw;
    }
    return order_.back().second;
  }

  Rule rule_;
  std::size_t max_keys_;
  mutable std::mutex mutex_;
  std::list<entry> order_;
  std::unordered_map<Key, place, Hash> table_;
};

}  // namespace weir::sync
