// sync/parallel_for.hpp: one computation over many elements, cut into slices that run at the same time: as tasks of
// this runtime's workers, or as jobs of a pool. Rests on scopes and the worker pool; promises the order of results.
#pragma once

#include <weir/core/cpus.hpp>
#include <weir/core/loop.hpp>
#include <weir/core/scope.hpp>
#include <weir/core/task.hpp>
#include <weir/sync/worker_pool.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <functional>
#include <optional>
#include <ranges>
#include <type_traits>
#include <utility>
#include <vector>

namespace weir::sync {

struct parallel_options {
  std::size_t slices = 0;       ///< at most; 0: the number of the pool's threads, or of processors
  worker_pool* pool = nullptr;  ///< runs the slices; null: this runtime's workers, between their other work
};

namespace detail {

/// Elements per slice, at least one: rounded up, so that the last slice is short and surplus ones are not started.
inline std::size_t slice_length(std::size_t count, const parallel_options& options) {
  auto slices = options.slices;
  if (slices == 0) slices = options.pool != nullptr ? options.pool->size() : available_parallelism();
  slices = std::min(std::max<std::size_t>(slices, 1), std::max<std::size_t>(count, 1));
  return std::max<std::size_t>((count + slices - 1) / slices, 1);
}

/// What the slices of one call share.
template <class Body>
struct parallel_state {
  Body& body;
  std::atomic<bool> stop{false};  // one has failed
  std::atomic<std::size_t> ended{0};
};

template <class Body>
inline constexpr bool takes_slices = std::is_invocable_v<Body&, std::size_t, std::size_t>;

template <class Body>
task<> run_elements(parallel_state<Body>& state, std::size_t begin, std::size_t end, bool shares_loop) {
  using std::chrono::steady_clock;
  auto& running = co_await weir::detail::this_fiber{};
  auto since = steady_clock::now();
  for (auto i = begin; i != end && !state.stop.load(std::memory_order_relaxed); ++i) {
    if (running.must_stop() || job_stopping()) throw cancelled();
    if constexpr (weir::detail::is_task<std::invoke_result_t<Body&, std::size_t>>) {
      co_await state.body(i);
    } else {
      state.body(i);
    }
    if (shares_loop && steady_clock::now() - since > std::chrono::milliseconds(1)) {
      co_await immediate();  // a whole turn of the loop: timers and I/O too
      since = steady_clock::now();
    }
  }
}

template <class Body>
task<> run_slice(parallel_state<Body>& state, std::size_t begin, std::size_t end, bool shares_loop) {
  if constexpr (!takes_slices<Body>) {
    co_await run_elements(state, begin, end, shares_loop);
  } else if constexpr (weir::detail::is_task<std::invoke_result_t<Body&, std::size_t, std::size_t>>) {
    co_await state.body(begin, end);
  } else {
    state.body(begin, end);
    co_return;
  }
}

template <class Body>
task<> start_slice(parallel_state<Body>& state, std::size_t begin, std::size_t end, worker_pool* pool) {
  try {
    if (pool != nullptr) {
      co_await pool->run_borrowing(0, run_slice<Body>, std::ref(state), begin, end, false);
    } else {
      co_await run_slice(state, begin, end, true);
    }
  } catch (...) {
    state.stop = true;
    throw;
  }
  state.ended.fetch_add(1, std::memory_order_relaxed);
}

}  // namespace detail

/// Calls `body(i)` for each i below `count`, or `body(begin, end)` once per slice; a body may return a task<>.
///
/// Completes when every slice has ended. The first failure stops the others (between two elements; a body that is
/// given whole slices looks at `job_stopping` in a pool) and is thrown. So does cancelling the await, which waits for
/// the slices all the same. Calls for different elements run at the same time: `body` is shared, not copied.
template <class Body>
  requires(std::is_invocable_v<Body&, std::size_t> || detail::takes_slices<Body>)
task<> parallel_for(std::size_t count, Body body, parallel_options options = {}) {
  auto length = detail::slice_length(count, options);
  detail::parallel_state<Body> state{.body = body};
  std::size_t slices = 0;
  co_await with_scope([&](scope& s) -> task<> {
    for (std::size_t begin = 0; begin < count; begin += std::min(length, count - begin), ++slices) {
      auto end = begin + std::min(length, count - begin);
      static_cast<void>(s.spawn(detail::start_slice<Body>, std::ref(state), begin, end, options.pool));
    }
    co_return;
  });
  if (state.ended != slices) throw cancelled();
}

/// The same with `body(element)` for each element of a range that can be indexed. The range is referred to, so it
/// has to live as long as the await, which `co_await parallel_for(...)` grants to temporaries too.
template <std::ranges::random_access_range Range, class Body>
  requires(std::ranges::sized_range<Range> && std::is_invocable_v<Body&, std::ranges::range_reference_t<Range>>)
task<> parallel_for(Range&& range, Body body, parallel_options options = {}) {
  auto first = std::ranges::begin(range);
  auto at = [&body, first](std::size_t i) {
    return body(first[static_cast<std::ranges::range_difference_t<Range>>(i)]);
  };
  co_await parallel_for(static_cast<std::size_t>(std::ranges::size(range)), at, options);
}

/// What `f(element)`, a function or a coroutine, gives for each element, in the order of the elements.
template <std::ranges::random_access_range Range, class F>
  requires(std::ranges::sized_range<Range> && std::is_invocable_v<F&, std::ranges::range_reference_t<Range>>)
auto parallel_map(Range&& range, F f, parallel_options options = {})
    -> task<std::vector<typename detail::pool_call<F, std::ranges::range_reference_t<Range>>::value_type>> {
  using call = detail::pool_call<F, std::ranges::range_reference_t<Range>>;
  using R = typename call::value_type;
  auto first = std::ranges::begin(range);
  std::vector<std::optional<R>> found(static_cast<std::size_t>(std::ranges::size(range)));
  auto at = [&f, &found, first](std::size_t i) {
    auto&& element = first[static_cast<std::ranges::range_difference_t<Range>>(i)];
    if constexpr (call::makes_task) {
      return [](typename call::raw made, std::optional<R>& into) -> task<> {
        into.emplace(co_await std::move(made));
      }(f(static_cast<decltype(element)>(element)), found[i]);
    } else {
      found[i].emplace(f(static_cast<decltype(element)>(element)));
    }
  };
  co_await parallel_for(found.size(), at, options);
  std::vector<R> values;
  values.reserve(found.size());
  for (auto& each : found) values.push_back(std::move(*each));
  co_return values;
}

}  // namespace weir::sync
