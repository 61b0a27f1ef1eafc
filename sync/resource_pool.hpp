// sync/resource_pool.hpp: connections and other things that are dear to make, lent out one at a time. Rests on
// semaphore.hpp for whose turn it is; the resources are kept here, rules and figures in resource_pool.cpp.
#pragma once

#include <weir/core/abort.hpp>
#include <weir/core/event.hpp>
#include <weir/core/result.hpp>
#include <weir/core/task.hpp>
#include <weir/sync/semaphore.hpp>
#include <weir/sync/wait_group.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <type_traits>
#include <utility>

namespace weir::sync {

template <class T>
struct resource_pool_options {
  std::size_t min = 0;   ///< `maintain` keeps so many alive
  std::size_t max = 10;  ///< never more alive, lent out or not; at least 1
  std::chrono::nanoseconds acquire_timeout = std::chrono::seconds(30);    ///< for all of `acquire`; 0: none
  std::chrono::nanoseconds idle_timeout = std::chrono::seconds(30);       ///< then idle ones above `min` go; 0: never
  std::chrono::nanoseconds max_lifetime = std::chrono::nanoseconds(0);    ///< then one is lent out no more; 0: none
  std::chrono::nanoseconds validate_after = std::chrono::nanoseconds(0);  ///< one idle for less is not validated
  std::chrono::nanoseconds maintain_every = std::chrono::seconds(1);      ///< at least a millisecond
  std::size_t max_waiting = 1024;                                         ///< more fail with ERR_QUEUE_FULL
  /// Says whether an idle resource still works, before it is lent out; if not, or if it throws, another takes its
  /// place. Not set: all do.
  std::function<task<bool>(T&)> validate = {};
  /// Takes leave of a resource that is to go; what it throws is ignored. Not set: its destructor is enough.
  std::function<task<>(T)> dispose = {};
};

struct resource_pool_stats {
  std::size_t idle = 0, lent = 0;
  std::size_t making = 0;   ///< being made or looked at
  std::size_t leaving = 0;  ///< wait to be disposed of
  std::size_t waiting = 0;  ///< callers of `acquire` in the queue
  bool closed = false;
  /// Since the pool was made. `invalid`: found broken, or said to be by a lease.
  std::uint64_t acquired = 0, made = 0, failed = 0, invalid = 0, reaped = 0, timed_out = 0;
  std::size_t alive() const noexcept { return idle + lent + making; }
};

namespace detail {

struct pool_limits {
  std::size_t min, max;
  std::chrono::nanoseconds acquire_timeout, idle_timeout, max_lifetime, validate_after, maintain_every;
  std::size_t max_waiting;
};

/// When a resource was made and when it came back.
struct resource_times {
  std::chrono::steady_clock::time_point made = {}, returned = {};
};

/// The rules and figures of a pool. The pool brings the lock.
class pool_book {
 public:
  /// @throws weir::error ERR_OUT_OF_RANGE
  explicit pool_book(const pool_limits& given);

  static void note_made(resource_times& times) noexcept;
  static void note_returned(resource_times& times) noexcept;
  bool too_old(const resource_times& times) const noexcept;
  bool idle_too_long(const resource_times& times) const noexcept;
  bool needs_validation(const resource_times& times) const noexcept;

  /// @throws weir::error ERR_CLOSED
  void check_open() const;
  /// @throws weir::error ERR_QUEUE_FULL
  void check_queue() const;
  [[noreturn]] void throw_timed_out() const;

  const pool_limits limits;
  resource_pool_stats figures;
};

/// Permits that wake all who wait, and whom there will be, once a pool is closed.
void open_gate(semaphore& permits, const pool_limits& limits) noexcept;

}  // namespace detail

/// Lends resources of one kind out, makes them as they are needed, and keeps those that come back.
///
/// `auto lease = co_await pool.acquire();` completes with a lease: the idle resource that came back last, else a new
/// one while there are fewer than `max`, else, in order of arrival, what comes back. The lease returns it when it
/// goes. If making a resource fails that caller sees the failure, and the next in the queue has its turn. Cancelling
/// the await takes the caller out of the queue, or stops the making. Any worker; a lease may end on any thread.
///
/// `maintain`, a task for the background, lets idle resources go in time and keeps `min` alive; without it they stay.
/// What is to go and has a `dispose` waits for the next `acquire`, `maintain` or `drain` to see to it.
/// The pool must outlive its callers and leases; destroying one that is in use ends the program.
template <class T>
class resource_pool {
  static_assert(std::is_nothrow_move_constructible_v<T>, "resource_pool: T goes from hand to hand by moving");

  struct resource : detail::resource_times {
    explicit resource(T given) noexcept : value(std::move(given)) {}
    T value;
  };

 public:
  /// @param make makes a resource; called on the worker of whoever needs one
  /// @throws weir::error ERR_OUT_OF_RANGE for limits that make no sense
  explicit resource_pool(std::function<task<T>()> make, resource_pool_options<T> options = {})
      : make_(std::move(make)), options_(std::move(options)), book_(limits()), permits_(options_.max) {}
  resource_pool(const resource_pool&) = delete;
  resource_pool& operator=(const resource_pool&) = delete;
  ~resource_pool() {
    if (in_use_.count() != 0) detail::destroyed_in_use("resource_pool");
  }

  /// A resource on loan.
  class [[nodiscard]] lease {
   public:
    lease(lease&& other) noexcept
        : from_(std::exchange(other.from_, nullptr)),
          held_(std::exchange(other.held_, std::nullopt)),
          place_(std::move(other.place_)),
          broken_(other.broken_) {}
    lease& operator=(lease&& other) noexcept {
      if (this != &other) {
        give_back();
        std::destroy_at(this);
        std::construct_at(this, std::move(other));
      }
      return *this;
    }
    ~lease() { give_back(); }

    T& operator*() noexcept { return held_->value; }
    T* operator->() noexcept { return &held_->value; }

    /// It is broken: it will not be lent out again.
    void discard() noexcept { broken_ = true; }

    /// Returns it early. Harmless if it has been returned.
    void give_back() noexcept {
      if (from_ != nullptr) std::exchange(from_, nullptr)->take_back(held_, std::move(place_), broken_);
    }

   private:
    friend class resource_pool;
    lease(resource_pool& from, resource&& held, semaphore::permit place) noexcept
        : from_(&from), held_(std::move(held)), place_(std::move(place)) {}

    resource_pool* from_;
    std::optional<resource> held_;
    semaphore::permit place_;
    bool broken_ = false;
  };

  /// @throws weir::error ERR_TIMEOUT after `acquire_timeout`, ERR_QUEUE_FULL if too many wait, ERR_CLOSED if the pool
  /// is or gets closed, or what making a resource throws
  task<lease> acquire() {
    presence here(in_use_);
    if (auto ready = take_ready()) co_return std::move(*ready);
    auto limit = book_.limits.acquire_timeout;
    if (limit == std::chrono::nanoseconds(0)) co_return co_await acquire_in_turn();
    auto outcome = co_await attempt(timeout(limit, settle(acquire_in_turn())));
    if (outcome) co_return std::move(outcome->inner).value();
    if (outcome.failure().is_cancelled()) outcome.failure().rethrow();
    std::lock_guard guard(lock_);
    ++book_.figures.timed_out;
    book_.throw_timed_out();
  }

  /// Until the pool is closed, every `maintain_every`: lets go what was idle or alive for too long, and makes what is
  /// missing to `min`. What cannot be made is tried again the next time.
  task<> maintain() {
    for (;;) {
      {
        presence here(in_use_);
        reap();
        co_await dispose_of_leaving();
        for (bool added = true; added;) {
          auto place = place_for_one_more();
          added = place && co_await add_idle(std::move(*place));
        }
      }
      auto closed = co_await attempt(timeout(book_.limits.maintain_every, closed_.wait()));
      if (closed) co_return;
      if (closed.failure().is_cancelled()) closed.failure().rethrow();
    }
  }

  /// Lends nothing more: who waits, and who comes, fails with ERR_CLOSED. What is idle goes; what is lent out goes when
  /// it comes back. Any thread.
  void close() {
    std::deque<resource> gone;
    {
      std::lock_guard guard(lock_);
      if (std::exchange(book_.figures.closed, true)) return;
      book_.figures.idle = 0;
      gone = std::exchange(idle_, {});
      if (options_.dispose) keep_leaving(gone);
    }
    closed_.set();
    detail::open_gate(permits_, book_.limits);
  }

  /// Closes the pool, waits for all leases to come back, and disposes of every resource. Cancelling it leaves the pool
  /// closed; it may be called again.
  task<> drain() {
    close();
    co_await in_use_.wait();
    co_await dispose_of_leaving();
  }

  resource_pool_stats stats() const {
    std::lock_guard guard(lock_);
    auto now = book_.figures;
    now.leaving = leaving_.size();
    return now;
  }

 private:
  /// Counts whoever is at work in the pool.
  class presence {
   public:
    explicit presence(wait_group& in) noexcept : in_(in) { in_.add(); }
    presence(const presence&) = delete;
    presence& operator=(const presence&) = delete;
    ~presence() { in_.done(); }

   private:
    wait_group& in_;
  };

  /// Counts one of `figure` for as long as it lives.
  class counted {
   public:
    counted(const resource_pool& in, std::size_t& figure) noexcept : counted(in, figure, std::adopt_lock) {
      std::lock_guard guard(in_.lock_);
      ++figure_;
    }
    /// Has been counted already.
    counted(const resource_pool& in, std::size_t& figure, std::adopt_lock_t) noexcept : in_(in), figure_(figure) {}
    counted(const counted&) = delete;
    counted& operator=(const counted&) = delete;
    ~counted() {
      std::lock_guard guard(in_.lock_);
      --figure_;
    }

   private:
    const resource_pool& in_;
    std::size_t& figure_;
  };

  struct settled {
    result<lease> inner;
  };

  // A failure of its own is a value to the timeout, a cancellation is not.
  static task<settled> settle(task<lease> inner) {
    auto outcome = co_await attempt(std::move(inner));
    if (!outcome && outcome.failure().is_cancelled()) outcome.failure().rethrow();
    co_return settled{std::move(outcome)};
  }

  detail::pool_limits limits() const noexcept {
    return {options_.min,
            options_.max,
            options_.acquire_timeout,
            options_.idle_timeout,
            options_.max_lifetime,
            options_.validate_after,
            options_.maintain_every,
            options_.max_waiting};
  }

  lease lend(resource&& what, semaphore::permit place) {
    {
      std::lock_guard guard(lock_);
      ++book_.figures.lent;
      ++book_.figures.acquired;
    }
    in_use_.add();
    return lease(*this, std::move(what), std::move(place));
  }

  /// The youngest of the idle ones, which is the caller's then.
  std::optional<resource> take_idle() {
    std::lock_guard guard(lock_);
    book_.check_open();
    if (idle_.empty()) return std::nullopt;
    return pop_idle();
  }

  std::optional<resource> pop_idle() {
    std::optional youngest(std::move(idle_.back()));
    idle_.pop_back();
    --book_.figures.idle;
    return youngest;
  }

  bool works_unseen(const resource& what) const noexcept {
    return !book_.too_old(what) && !(options_.validate && book_.needs_validation(what));
  }

  std::optional<lease> take_ready() {
    auto place = permits_.try_acquire();
    if (!place) return std::nullopt;
    std::unique_lock guard(lock_);
    book_.check_open();
    if (idle_.empty() || !leaving_.empty() || !works_unseen(idle_.back())) return std::nullopt;
    auto youngest = pop_idle();
    ++book_.figures.lent;
    ++book_.figures.acquired;
    guard.unlock();
    in_use_.add();
    return lease(*this, std::move(*youngest), std::move(*place));
  }

  task<lease> acquire_in_turn() {
    auto place = permits_.try_acquire();
    if (!place) {
      {
        std::lock_guard guard(lock_);
        book_.check_open();
        book_.check_queue();
      }
      counted waiting(*this, book_.figures.waiting);
      place = co_await permits_.acquire();
    }
    counted busy(*this, book_.figures.making);
    while (auto idle = take_idle()) {
      if (works_unseen(*idle) || co_await works(*idle)) co_return lend(std::move(*idle), std::move(*place));
      let_go(std::move(*idle));
    }
    co_await dispose_of_leaving();
    auto made = co_await make();
    co_return lend(std::move(made), std::move(*place));
  }

  task<bool> works(resource& what) {
    if (book_.too_old(what)) {
      count(book_.figures.reaped);
      co_return false;
    }
    auto answer = co_await attempt(call_validate(what.value));
    if (!answer && (co_await weir::detail::this_fiber{}).must_stop()) {
      let_go(std::move(what));  // in the middle of something
      answer.failure().rethrow();
    }
    bool good = answer && *answer;
    if (!good) count(book_.figures.invalid);
    co_return good;
  }

  task<bool> call_validate(T& what) { co_return co_await options_.validate(what); }

  task<resource> make() {
    auto outcome = co_await attempt(call_make());
    count(outcome ? book_.figures.made : book_.figures.failed);
    resource made(std::move(outcome).value());
    detail::pool_book::note_made(made);
    if (!is_open()) {
      let_go(std::move(made));
      std::lock_guard guard(lock_);
      book_.check_open();
    }
    co_return made;
  }
  task<T> call_make() { co_return co_await make_(); }

  /// If fewer than `min` are alive: counts one that is being made, and gives it a place.
  std::optional<semaphore::permit> place_for_one_more() {
    auto place = permits_.try_acquire();
    std::lock_guard guard(lock_);
    if (!place || book_.figures.closed || book_.figures.alive() >= book_.limits.min) return std::nullopt;
    ++book_.figures.making;
    return place;
  }

  task<bool> add_idle(semaphore::permit place) {
    counted busy(*this, book_.figures.making, std::adopt_lock);
    auto made = co_await attempt(make());
    if (!made) {
      if ((co_await weir::detail::this_fiber{}).must_stop()) made.failure().rethrow();
      co_return false;
    }
    std::optional<resource> held(std::move(*made));
    in_use_.add();
    {
      std::lock_guard guard(lock_);
      ++book_.figures.lent;
    }
    take_back(held, std::move(place), false);
    co_return true;
  }

  /// The place goes on to who waits before this returns. Nothing here is touched once `in_use_` may be back at zero.
  void take_back(std::optional<resource>& held, semaphore::permit place, bool broken) noexcept {
    detail::pool_book::note_returned(*held);
    {
      std::lock_guard guard(lock_);
      --book_.figures.lent;
      if (broken) ++book_.figures.invalid;
      if (!broken && !book_.figures.closed && !book_.too_old(*held)) {
        idle_.push_back(std::move(*held));
        ++book_.figures.idle;
      } else if (options_.dispose) {
        leaving_.push_back(std::move(*held));
      }
    }
    held.reset();
    place.release();
    in_use_.done();
  }

  void let_go(resource what) {
    std::lock_guard guard(lock_);
    if (options_.dispose) leaving_.push_back(std::move(what));
  }

  void keep_leaving(std::deque<resource>& gone) {
    for (auto& each : gone) leaving_.push_back(std::move(each));
    gone.clear();
  }

  void reap() {
    std::deque<resource> gone;
    std::lock_guard guard(lock_);
    std::deque<resource> kept;
    for (auto& each : idle_) {  // the one that came back first is the first
      bool above_min = book_.figures.alive() > book_.limits.min;
      bool goes = book_.too_old(each) || (above_min && book_.idle_too_long(each));
      (goes ? gone : kept).push_back(std::move(each));
      if (!goes) continue;
      --book_.figures.idle;
      ++book_.figures.reaped;
    }
    idle_ = std::move(kept);
    if (options_.dispose) keep_leaving(gone);
  }

  task<> dispose_of_leaving() {
    for (;;) {
      std::optional<resource> next;
      {
        std::lock_guard guard(lock_);
        if (leaving_.empty()) co_return;
        next.emplace(std::move(leaving_.front()));
        leaving_.pop_front();
      }
      static_cast<void>(co_await attempt(call_dispose(std::move(next->value))));
    }
  }
  task<> call_dispose(T what) { co_await options_.dispose(std::move(what)); }

  bool is_open() const {
    std::lock_guard guard(lock_);
    return !book_.figures.closed;
  }

  void count(std::uint64_t& figure) {
    std::lock_guard guard(lock_);
    ++figure;
  }

  std::function<task<T>()> make_;
  resource_pool_options<T> options_;
  mutable std::mutex lock_;
  detail::pool_book book_;
  semaphore permits_;
  wait_group in_use_;
  event closed_;
  std::deque<resource> idle_;     // guarded by the lock
  std::deque<resource> leaving_;  // likewise
};

}  // namespace weir::sync
