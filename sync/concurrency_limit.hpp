// sync/concurrency_limit.hpp: running many things, a few at a time. `map_limit` keeps a window of them going over a
// range, `map_waves` goes through it in waves, and `concurrency_limit` is the gate alone, for callers that come from
// anywhere. Rests on semaphore.hpp and core's scopes. Items are taken, and their tasks made, when their turn comes: a
// range of millions takes no more memory than its results.
#pragma once

#include <weir/core/scope.hpp>
#include <weir/core/task.hpp>
#include <weir/sync/semaphore.hpp>

#include <atomic>
#include <cstddef>
#include <deque>
#include <mutex>
#include <optional>
#include <ranges>
#include <type_traits>
#include <utility>
#include <vector>

namespace weir::sync {
namespace detail {

/// @throws weir::error ERR_OUT_OF_RANGE for a limit of 0, which could never end
std::size_t checked_limit(std::size_t limit, const char* what);

/// What `function(arguments...)` awaits to; what it throws before there is a task fails this one.
template <class F, class... A>
auto run_guarded(F& function, A&&... arguments) -> task<weir::detail::awaited_t<std::invoke_result_t<F&, A...>>> {
  co_return co_await function(std::forward<A>(arguments)...);
}

/// What the workers of one mapping share: the place in the range, and the results so far. Slot is void where there
/// are none to keep.
template <class View, class F, class Slot>
class mapping {
  using reference = std::ranges::range_reference_t<View>;
  static constexpr bool has_slots = !std::is_void_v<Slot>;
  // An element of the range stays where it is; what the range makes on the way is kept by whoever takes it.
  static constexpr bool stays = std::is_lvalue_reference_v<reference>;
  using item = std::conditional_t<stays, std::remove_reference_t<reference>*, std::remove_cvref_t<reference>>;
  using room = std::optional<std::conditional_t<has_slots, Slot, int>>;

 public:
  /// An item and where its result goes.
  struct piece {
    item what;
    room* result = nullptr;
  };

  mapping(View view, F function) : view_(std::move(view)), function_(std::move(function)) {}

  /// The next item, if there is one. Any worker.
  std::optional<piece> take() {
    std::lock_guard guard(lock_);
    if (!at_) at_.emplace(std::ranges::begin(view_));
    if (*at_ == std::ranges::end(view_)) return std::nullopt;
    std::optional<piece> next;
    if constexpr (stays) {
      next.emplace(piece{std::addressof(**at_)});
    } else {
      next.emplace(piece{**at_});
    }
    ++*at_;
    if constexpr (has_slots) next->result = &results_.emplace_back();
    return next;
  }

  auto start(piece& with) {
    if constexpr (stays) {
      return run_guarded(function_, static_cast<reference>(*with.what));
    } else {
      return run_guarded(function_, std::move(with.what));
    }
  }

  auto results() {
    std::vector<Slot> all;
    all.reserve(results_.size());
    for (auto& each : results_) all.push_back(std::move(*each));
    return all;
  }

 private:
  std::mutex lock_;
  View view_;
  F function_;
  std::optional<std::ranges::iterator_t<View>> at_;
  std::deque<room> results_;  // of stable address while it grows
};

enum class on_failure : bool { stop, keep };
enum class pace : bool { window, waves };

template <on_failure Rule, class View, class F, class Slot>
task<> work_through(mapping<View, F, Slot>* on, typename mapping<View, F, Slot>::piece first, pace how) {
  std::optional piece(std::move(first));
  while (piece) {
    co_await checkpoint();
    if constexpr (Rule == on_failure::keep) {
      auto outcome = co_await attempt(on->start(*piece));
      co_await checkpoint();  // a cancellation of the whole is no item's failure
      piece->result->emplace(std::move(outcome));
    } else if constexpr (std::is_void_v<Slot>) {
      co_await on->start(*piece);
    } else {
      piece->result->emplace(co_await on->start(*piece));
    }
    if (how == pace::waves) co_return;
    piece = on->take();
  }
}

/// Starts up to `limit` workers, each with an item in hand, and waits for them. @return false if there was no item
template <on_failure Rule, class View, class F, class Slot>
task<bool> run_workers(mapping<View, F, Slot>& on, std::size_t limit, pace how) {
  std::size_t started = 0;
  bool affine = (co_await weir::detail::this_fiber{}).has(fiber::affine);
  co_await with_scope([&](scope& s) -> task<> {
    for (; started < limit && !s.is_cancelled(); ++started) {
      auto piece = on.take();
      if (!piece) break;
      if (affine) {
        static_cast<void>(s.spawn_local(work_through<Rule, View, F, Slot>, &on, std::move(*piece), how));
      } else {
        static_cast<void>(s.spawn(work_through<Rule, View, F, Slot>, &on, std::move(*piece), how));
      }
    }
    co_return;
  });
  co_return started != 0;
}

template <class T>
using values_of = std::conditional_t<std::is_void_v<T>, void, std::vector<T>>;

template <class View, class F>
using mapped_t = weir::detail::awaited_t<std::invoke_result_t<F&, std::ranges::range_reference_t<View>>>;

template <on_failure Rule, class View, class F>
auto map_range(View view, std::size_t limit, pace how, F function)
    -> task<std::conditional_t<Rule == on_failure::keep, std::vector<result<mapped_t<View, F>>>,
                               values_of<mapped_t<View, F>>>> {
  using T = mapped_t<View, F>;
  static_assert(!std::is_reference_v<T>, "a mapping keeps values: let the function return a task of a value");
  using slot = std::conditional_t<Rule == on_failure::keep, result<T>, T>;
  mapping<View, F, slot> on(std::move(view), std::move(function));
  if (how == pace::waves) {
    while (co_await run_workers<Rule>(on, limit, how)) co_await checkpoint();
  } else {
    co_await run_workers<Rule>(on, limit, how);
  }
  co_await checkpoint();
  if constexpr (!std::is_void_v<slot>) co_return on.results();
}

}  // namespace detail

/// Calls `function(item)`, which returns a task, for each item of a range, at most `limit` at a time: as one ends the
/// next begins.
///
/// Completes with a vector of the values in the order of the range, or with nothing for task<>; of an empty range at
/// once. Items are begun in order. The first failure cancels what runs and is rethrown when that has ended; what was
/// not begun never is. Cancelling the await does the same. A range given as an lvalue must outlive the await, and so
/// must the elements that its iterators refer to; an rvalue is kept. From a loop-affine task everything stays on its
/// worker; from others, items may run in parallel.
/// @param limit at least 1, else ERR_OUT_OF_RANGE
template <std::ranges::viewable_range R, class F>
[[nodiscard]] auto map_limit(R&& range, std::size_t limit, F function) {
  limit = detail::checked_limit(limit, "map_limit");
  return detail::map_range<detail::on_failure::stop>(std::views::all(std::forward<R>(range)), limit,
                                                     detail::pace::window, std::move(function));
}

/// The same for results that are wanted whatever they are: a vector of result<T> in the order of the range. An item's
/// failure, also one that `function` throws before it returns a task, is its own.
template <std::ranges::viewable_range R, class F>
[[nodiscard]] auto map_limit_settled(R&& range, std::size_t limit, F function) {
  limit = detail::checked_limit(limit, "map_limit_settled");
  return detail::map_range<detail::on_failure::keep>(std::views::all(std::forward<R>(range)), limit,
                                                     detail::pace::window, std::move(function));
}

/// Like `map_limit` in waves of `size`: no item is begun before all of the wave before have ended.
template <std::ranges::viewable_range R, class F>
[[nodiscard]] auto map_waves(R&& range, std::size_t size, F function) {
  size = detail::checked_limit(size, "map_waves");
  return detail::map_range<detail::on_failure::stop>(std::views::all(std::forward<R>(range)), size, detail::pace::waves,
                                                     std::move(function));
}

template <std::ranges::viewable_range R, class F>
[[nodiscard]] auto map_waves_settled(R&& range, std::size_t size, F function) {
  size = detail::checked_limit(size, "map_waves_settled");
  return detail::map_range<detail::on_failure::keep>(std::views::all(std::forward<R>(range)), size, detail::pace::waves,
                                                     std::move(function));
}

struct concurrency_limit_options {
  /// Callers that may wait at a time; more fail with ERR_QUEUE_FULL.
  std::size_t max_waiting = 65536;
};

/// A gate that lets so many in at a time, first come, first served.
///
/// `co_await limit.run(f)` waits its turn, runs `f()` in the calling task and completes with its outcome; the place is
/// free again whichever way it ends. Cancelling it while it waits takes it out of the queue. Any worker. Must outlive
/// its callers.
class concurrency_limit {
 public:
  /// @param limit at least 1, else ERR_OUT_OF_RANGE
  explicit concurrency_limit(std::size_t limit, concurrency_limit_options options = {});

  /// @throws weir::error ERR_QUEUE_FULL at once if too many wait already
  template <class F>
  auto run(F function) -> task<weir::detail::awaited_t<std::invoke_result_t<F&>>> {
    auto place = permits_.try_acquire();
    if (!place) {
      waiting_room here(*this);
      place = co_await permits_.acquire();
    }
    co_return co_await function();
  }

  std::size_t limit() const noexcept { return limit_; }
  /// How many run, and how many wait; for figures, not for decisions.
  std::size_t running() const noexcept { return limit_ - permits_.available(); }
  std::size_t waiting() const noexcept { return waiting_.load(std::memory_order_relaxed); }

 private:
  class waiting_room {
   public:
    explicit waiting_room(concurrency_limit& of);
    waiting_room(const waiting_room&) = delete;
    waiting_room& operator=(const waiting_room&) = delete;
    ~waiting_room() { of_.waiting_.fetch_sub(1, std::memory_order_relaxed); }

   private:
    concurrency_limit& of_;
  };

  std::size_t limit_;
  concurrency_limit_options options_;
  semaphore permits_;
  std::atomic<std::size_t> waiting_{0};
};

}  // namespace weir::sync
