// tests/support/cancel_at.hpp: the same task again and again, cancelled a little later each time, until once it ends by
// itself. What must hold whatever the moment is checked after each run.
#pragma once

#include <weir/core/loop.hpp>
#include <weir/core/scope.hpp>
#include <weir/core/task.hpp>

#include <tests/support/run.hpp>

#include <gtest/gtest.h>

#include <cstddef>
#include <optional>
#include <utility>

namespace weir::testing {

namespace cancelling {

template <class Make, class T>
task<void> keep(Make& make, std::optional<result<T>>& outcome) {
  outcome.emplace(co_await attempt(make()));
}

/// @return true if the task had ended before it was cancelled
template <class Make, class Check>
task<bool> run_once(Make& make, Check& check, std::size_t rounds) {
  using T = typename std::invoke_result_t<Make&>::value_type;
  std::optional<result<T>> outcome;
  bool in_time = false;
  co_await with_scope([&](scope& s) -> task<void> {
    auto handle = s.spawn_local(keep<Make, T>, std::ref(make), std::ref(outcome));
    for (std::size_t i = 0; i < rounds && !handle.done(); ++i) co_await yield();
    in_time = handle.done();
    handle.cancel();
    static_cast<void>(co_await attempt(std::move(handle)));
  });
  if (!outcome) ADD_FAILURE() << "no outcome after " << rounds << " rounds";
  if (!outcome) co_return true;
  check(*outcome);
  co_return in_time;
}

}  // namespace cancelling

/// Runs `make()`, a function that returns a task, on one worker: cancelled before it has begun, then after it and all
/// that it started have been resumed once, twice, and so on. `check` is called with the result<T> of each run.
/// @return how many runs were cancelled
template <class Make, class Check>
std::size_t cancel_at_every_suspension(Make make, Check check, std::size_t at_most = 2000) {
  return run_with(1, [](Make& make, Check& check, std::size_t at_most) -> task<std::size_t> {
    for (std::size_t rounds = 0; rounds < at_most; ++rounds) {
      if (co_await cancelling::run_once(make, check, rounds)) co_return rounds;
    }
    ADD_FAILURE() << "still not ended after " << at_most << " rounds";
    co_return at_most;
  }(make, check, at_most));
}

/// The same for what waits for other threads and so takes however many rounds: after none, one, two ... rounds, then
/// after a quarter more each time.
template <class Make, class Check>
std::size_t cancel_at_growing_moments(Make make, Check check) {
  return run_with(1, [](Make& make, Check& check) -> task<std::size_t> {
    std::size_t runs = 0;
    for (std::size_t rounds = 0; !co_await cancelling::run_once(make, check, rounds); ++runs) rounds += 1 + rounds / 4;
    co_return runs;
  }(make, check));
}

}  // namespace weir::testing
