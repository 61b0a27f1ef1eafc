// sync/throttle.hpp: functions that are called less often than they are asked to: `debounce` waits until it is quiet,
// `throttle` calls at most once in a while. Rests on core's timers. For one thread: the worker of the loop-affine task
// that made it. Semantics of lodash (https://lodash.com/docs/4.17.15#debounce).
#pragma once

#include <weir/core/context.hpp>
#include <weir/core/scope.hpp>
#include <weir/core/task.hpp>
#include <weir/core/time.hpp>

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <tuple>
#include <type_traits>
#include <utility>

namespace weir::sync {

struct debounce_options {
  bool leading = false;  ///< call at once where it was quiet before
  bool trailing = true;  ///< call when it has become quiet, if it was asked for after the leading call
  /// The longest that a call is put off while it is asked for again and again; less than the wait: as long as that.
  std::optional<std::chrono::nanoseconds> max_wait = {};
};

struct throttle_options {
  bool leading = true;
  bool trailing = true;
};

namespace detail {

/// When to call: the timer and the edges.
class edge_timer {
 public:
  edge_timer(std::chrono::nanoseconds wait, const debounce_options& options);
  edge_timer(const edge_timer&) = delete;
  edge_timer& operator=(const edge_timer&) = delete;

  /// It was asked for. @return true if it is to be called now
  bool asked();

  void cancel() noexcept;
  /// @return true if it was waiting
  bool stop() noexcept;
  bool waiting() const noexcept { return timer_.active(); }
  /// Whether a call is to be made when it has become quiet.
  bool owed() const noexcept { return options_.trailing && asked_since(); }

 protected:
  ~edge_timer() { timer_.clear(); }
  virtual void call() = 0;  ///< with the arguments kept, if any; may destroy this
  virtual bool asked_since() const noexcept = 0;
  virtual void forget() noexcept = 0;

 private:
  using time_point = std::chrono::steady_clock::time_point;
  bool quiet(time_point now) const noexcept;
  bool overdue(time_point now) const noexcept;
  bool begin(time_point now);
  std::chrono::nanoseconds left(time_point now) const noexcept;
  void expired();
  void arm(std::chrono::nanoseconds time);

  std::chrono::nanoseconds wait_;
  debounce_options options_;
  std::optional<time_point> last_asked_;
  time_point last_called_ = {};
  timer timer_;
};

template <class F, class... A>
task<> run_edge(std::shared_ptr<F> function, A... args) {
  co_await std::invoke(*function, std::move(args)...);
}

/// Calls `function`; what it returns as a task is spawned into the running scope.
template <class F, class... A>
void call_edge(const std::shared_ptr<F>& function, A... args) {
  if constexpr (weir::detail::is_task<std::invoke_result_t<F&, A...>>) {
    auto& here = *weir::detail::current_execution()->owner->enclosing_scope();
    static_cast<void>(here.spawn_local(run_edge<F, A...>, function, std::move(args)...));
  } else {
    std::invoke(*function, std::move(args)...);
  }
}

template <class... A>
class edge_call final : public edge_timer {
 public:
  using function_type = std::function<void(A...)>;
  edge_call(std::chrono::nanoseconds wait, const debounce_options& options, function_type function)
      : edge_timer(wait, options), function_(std::make_shared<function_type>(std::move(function))) {}

  bool ask(A... args) {
    args_.emplace(std::move(args)...);
    if (!asked()) return false;
    call();
    return true;
  }

  void call() override {
    auto function = function_;
    auto args = std::exchange(args_, std::nullopt);
    if (args) std::apply([&](A&... each) { (*function)(std::move(each)...); }, *args);
  }
  bool asked_since() const noexcept override { return args_.has_value(); }
  void forget() noexcept override { args_.reset(); }

 private:
  std::shared_ptr<function_type> function_;
  std::optional<std::tuple<A...>> args_;
};

}  // namespace detail

/// A function that `debounce` or `throttle` has made. Calls made while another waits replace its arguments: the last
/// ones count. A call that waits belongs to the scope in which it was first asked for, and keeps it open; it is lost
/// if that is cancelled, and if this object goes. What the function throws comes out of the call, or fails that scope
/// if it came later. It may destroy this object.
template <class... A>
class paced_function {
 public:
  /// Asks for a call. @return true if it was made at once
  bool operator()(A... args) { return core_->ask(std::move(args)...); }

  /// Drops the call that waits; the next one finds it quiet.
  void cancel() noexcept { core_->cancel(); }

  /// Makes the call that waits, now. @return false if none was waiting
  bool flush() {
    bool owed = core_->owed();
    if (!core_->stop()) return false;
    if (owed) {
      core_->call();
    } else {
      core_->forget();
    }
    return owed;
  }

  /// True from a call asked for until it is quiet again.
  bool pending() const noexcept { return core_->waiting(); }

  /// @cond internal
  explicit paced_function(std::unique_ptr<detail::edge_call<A...>> core) noexcept : core_(std::move(core)) {}
  /// @endcond

 private:
  std::unique_ptr<detail::edge_call<A...>> core_;
};

/// `auto search = debounce<std::string>(300ms, f)`: `search("x")` calls `f("x")` once nobody has called for 300 ms. A
/// task that `f` returns is spawned into the scope.
/// @throws weir::error ERR_OUT_OF_RANGE for a negative wait
template <class... A, class F>
  requires std::is_invocable_v<F&, A...>
[[nodiscard]] paced_function<A...> debounce(std::chrono::nanoseconds wait, F function,
                                            const debounce_options& options = {}) {
  auto shared = std::make_shared<F>(std::move(function));
  return paced_function<A...>(std::make_unique<detail::edge_call<A...>>(
      wait, options, [shared](A... args) { detail::call_edge<F, A...>(shared, std::move(args)...); }));
}

/// `auto report = throttle<int>(1s, f)`: `report(n)` calls `f(n)` at once, and at most once a second from then on;
/// the last of the calls in between is made at the end of the second.
template <class... A, class F>
  requires std::is_invocable_v<F&, A...>
[[nodiscard]] paced_function<A...> throttle(std::chrono::nanoseconds wait, F function,
                                            const throttle_options& options = {}) {
  return debounce<A...>(wait, std::move(function),
                        {.leading = options.leading, .trailing = options.trailing, .max_wait = wait});
}

}  // namespace weir::sync
