// sync/circuit_breaker.hpp: no more calls to what keeps failing, until a trial shows that it works again
// (https://martinfowler.com/bliki/CircuitBreaker.html). Rests on core's timeout and clock. States move by the clock
// when somebody asks, and by a timer, which keeps no program alive, where a runtime runs.
#pragma once

#include <weir/core/abort.hpp>
#include <weir/core/task.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace weir::sync {

enum class circuit_state : std::uint8_t {
  closed,    ///< calls go through
  open,      ///< calls are refused
  half_open  ///< one trial at a time goes through
};

/// "CLOSED", "OPEN", "HALF_OPEN"
std::string_view to_string(circuit_state state) noexcept;

/// What opens a closed circuit.
enum class trip_rule : std::uint8_t {
  consecutive,  ///< `failure_threshold` failures with no success between them
  balance,      ///< `failure_threshold` more failures than successes; successes in advance do not count
  count,        ///< `failure_threshold` failures within `window`
  rate,         ///< at least the share `failure_rate` of the calls within `window`
};

enum class circuit_event_kind : std::uint8_t { success, failure, refused, state_change, opened, half_opened, closed };

/// What a breaker tells. A transition is told as `state_change` and then as what it led to; a failure before the
/// transition that it causes.
struct circuit_event {
  circuit_event_kind kind;
  std::string_view name;  ///< of the breaker
  circuit_state from;     ///< before a `state_change`, else the state
  circuit_state to;
  std::size_t failure_count;  ///< failures that count now
  const failure* why;         ///< of a `failure`, else null
};

struct circuit_options {
  trip_rule rule = trip_rule::consecutive;
  std::size_t failure_threshold = 5;  ///< at least 1
  double failure_rate = 0.5;          ///< above 0, at most 1
  std::chrono::nanoseconds window = std::chrono::seconds(10);
  std::size_t volume_threshold = 10;  ///< with fewer calls in the window `count` and `rate` do not open it
  std::size_t success_threshold = 2;  ///< trials that must succeed one after the other, at least 1
  /// The time for a call, which is cancelled after it and has failed with ETIMEDOUT; max: any.
  std::chrono::nanoseconds timeout = std::chrono::seconds(10);
  std::chrono::nanoseconds reset_timeout = std::chrono::seconds(30);  ///< from opening to the first trial
  double reset_factor = 1;  ///< it grows by this with each trial that fails, at least 1
  std::chrono::nanoseconds max_reset_timeout = std::chrono::minutes(10);
  /// Whether what a call threw says something about the callee. Not set: all does.
  std::function<bool(const failure&)> is_failure = {};
  /// Told at once, on the worker where it happened, unlocked; must not throw. It may use the breaker.
  std::function<void(const circuit_event&)> on_event = {};
};

struct circuit_statistics {
  circuit_state state = circuit_state::closed;
  bool forced = false;
  std::size_t failure_count = 0;  ///< failures that count now: in a row, or in the window
  std::size_t success_count = 0;  ///< trials that have succeeded since it was half open
  std::uint64_t calls = 0, successes = 0, failures = 0, timeouts = 0, refused = 0, opened = 0;
  std::optional<std::chrono::steady_clock::time_point> last_failure = {};
  std::chrono::nanoseconds retry_after = {};  ///< while it is open: until a trial; max: it is forced open
};

namespace detail {

class circuit;

/// One call on its way through a breaker. Left without an outcome (cancelled), it counts for nothing.
class circuit_call {
 public:
  explicit circuit_call(std::shared_ptr<circuit> of) noexcept : of_(std::move(of)) {}
  circuit_call(const circuit_call&) = delete;
  circuit_call& operator=(const circuit_call&) = delete;
  ~circuit_call();

  bool admitted();  ///< false: refused
  std::chrono::nanoseconds limit() const noexcept;
  void succeeded();
  void failed(const failure& why);

 private:
  std::shared_ptr<circuit> of_;
  std::uint64_t period_ = 0;  ///< the state that admitted it; outcomes of an earlier one say nothing
  bool open_ = false;
};

error circuit_open_error(std::string_view name);

template <class F>
using circuit_value = weir::detail::awaited_t<std::invoke_result_t<F&>>;

template <class F>
task<circuit_value<F>> run_protected(F& function) {
  co_return co_await std::invoke(function);
}

template <class F>
task<circuit_value<F>> run_through(circuit_call& call, F& function) {
  auto outcome = co_await attempt(timeout(call.limit(), run_protected(function)));
  if (outcome) {
    call.succeeded();
  } else if (!(co_await weir::detail::this_fiber{}).must_stop()) {
    call.failed(outcome.failure());
  }
  co_return std::move(outcome).value();
}

}  // namespace detail

/// Guards calls to something that may fail for a while. Any worker and thread; may be destroyed while calls run.
class circuit_breaker {
 public:
  /// @throws weir::error ERR_OUT_OF_RANGE for options that make no sense
  explicit circuit_breaker(circuit_options options = {}, std::string name = "");
  ~circuit_breaker();
  circuit_breaker(circuit_breaker&&) noexcept = default;
  circuit_breaker& operator=(circuit_breaker&&) noexcept = default;

  /// `co_await b.execute(f)` calls `f()`, which returns something awaitable, and completes as that does; or throws
  /// weir::error ERR_CIRCUIT_OPEN without calling it: while open, or half open while another trial runs. A call that
  /// is cancelled says nothing about the callee, nor does one that began before the last change of state.
  template <class F>
  [[nodiscard]] task<detail::circuit_value<F>> execute(F function) {
    return run(circuit_, name_of(), std::move(function));
  }

  /// The same; where the breaker refuses the call, `co_await fallback()` takes its place. Failures are thrown all the
  /// same, also those of another breaker inside.
  template <class F, class G>
  [[nodiscard]] task<detail::circuit_value<F>> execute(F function, G fallback) {
    return run_or(circuit_, std::move(function), std::move(fallback));
  }

  circuit_state state() const;
  circuit_statistics statistics() const;
  const std::string& name() const noexcept;

  /// Moves it by hand; it goes on by itself from there. Failures and trials are counted anew.
  void open();
  void close();

  /// Moves it and keeps it there, whatever happens, until `open`, `close` or `release`.
  void force_open();
  void force_close();
  /// Lets a forced breaker go on by itself from where it is.
  void release();

 private:
  template <class F>
  static task<detail::circuit_value<F>> run(std::shared_ptr<detail::circuit> of, std::string name, F function) {
    detail::circuit_call call(std::move(of));
    if (!call.admitted()) throw detail::circuit_open_error(name);
    co_return co_await detail::run_through(call, function);
  }
  template <class F, class G>
  static task<detail::circuit_value<F>> run_or(std::shared_ptr<detail::circuit> of, F function, G fallback) {
    detail::circuit_call call(std::move(of));
    if (call.admitted()) co_return co_await detail::run_through(call, function);
    co_return co_await std::invoke(fallback);
  }
  std::string name_of() const { return name(); }
  void put(circuit_state to, bool forced);

  std::shared_ptr<detail::circuit> circuit_;
};

/// Breakers by name, one for each service. Any thread.
class circuit_registry {
 public:
  explicit circuit_registry(circuit_options defaults = {});
  ~circuit_registry();

  /// The breaker of that name, made at the first call, with the defaults as `adjust` changes them; later calls find
  /// it as it is and do not adjust. It lives as long as the registry.
  circuit_breaker& get(std::string_view name, const std::function<void(circuit_options&)>& adjust = {});

  /// The breaker of that name, or null.
  circuit_breaker* find(std::string_view name);

  /// What all breakers are up to, in the order of their names.
  std::vector<std::pair<std::string, circuit_statistics>> all() const;

 private:
  struct table;
  std::unique_ptr<table> table_;
};

}  // namespace weir::sync
