#include <weir/sync/circuit_breaker.hpp>

#include <weir/core/combine.hpp>
#include <weir/core/context.hpp>
#include <weir/core/time.hpp>
#include <weir/sync/clock.hpp>

#include <algorithm>
#include <array>
#include <map>
#include <mutex>

namespace weir::sync {

using std::chrono::nanoseconds;
using time_point = std::chrono::steady_clock::time_point;

std::string_view to_string(circuit_state state) noexcept {
  switch (state) {
    case circuit_state::closed: return "CLOSED";
    case circuit_state::open: return "OPEN";
    case circuit_state::half_open: return "HALF_OPEN";
  }
  return "UNKNOWN";
}

namespace detail {
namespace {

/// Calls and failures of late, in slices of the window.
class rolling_count {
 public:
  explicit rolling_count(nanoseconds window) noexcept : slice_(std::max(window / slices, nanoseconds(1))) {}

  void add(time_point now, bool failed) noexcept {
    advance(now);
    auto& s = slices_[static_cast<std::size_t>(index_ % slices)];
    ++s.calls;
    if (failed) ++s.failures;
  }
  void clear() noexcept { slices_ = {}; }

  std::size_t calls(time_point now) noexcept { return sum(now, &slice::calls); }
  std::size_t failures(time_point now) noexcept { return sum(now, &slice::failures); }

 private:
  static constexpr std::int64_t slices = 10;
  struct slice {
    std::size_t calls = 0;
    std::size_t failures = 0;
  };

  void advance(time_point now) noexcept {
    auto index = now.time_since_epoch() / slice_;
    for (auto i = std::max(index_ + 1, index - slices + 1); i <= index; ++i) {
      slices_[static_cast<std::size_t>(i % slices)] = {};
    }
    index_ = std::max(index_, index);
  }
  std::size_t sum(time_point now, std::size_t slice::* which) noexcept {
    advance(now);
    std::size_t total = 0;
    for (const auto& each : slices_) total += each.*which;
    return total;
  }

  nanoseconds slice_;
  std::int64_t index_ = 0;
  std::array<slice, slices> slices_ = {};
};

void check(const circuit_options& o) {
  auto refuse = [](const char* what) { throw error(errc::err_out_of_range, std::string("circuit breaker: ") + what); };
  if (o.failure_threshold == 0 || o.success_threshold == 0) refuse("a threshold must be at least 1");
  if (!(o.failure_rate > 0 && o.failure_rate <= 1)) refuse("the failure rate must be above 0 and at most 1");
  if (!(o.reset_factor >= 1)) refuse("the factor must be at least 1");
  if (o.window <= nanoseconds(0) || o.timeout <= nanoseconds(0) || o.reset_timeout < nanoseconds(0)) {
    refuse("a time must be positive");
  }
}

}  // namespace

class circuit : public std::enable_shared_from_this<circuit> {
 public:
  circuit(circuit_options options, std::string name)
      : options_(std::move(options)),
        name_(std::move(name)),
        recent_(options_.window),
        reset_after_(options_.reset_timeout) {
    check(options_);
  }

  const std::string& name() const noexcept { return name_; }
  nanoseconds limit() const noexcept { return options_.timeout; }

  std::optional<std::uint64_t> admit() {
    news told(*this);
    look_at_clock(told);
    ++statistics_.calls;
    bool refused = state_ == circuit_state::open || (state_ == circuit_state::half_open && trial_runs_);
    if (refused) {
      ++statistics_.refused;
      told.add(circuit_event_kind::refused);
      return std::nullopt;
    }
    trial_runs_ = state_ == circuit_state::half_open;
    return period_;
  }

  void abandon(std::uint64_t period) noexcept {
    std::lock_guard lock(mutex_);
    if (period == period_) trial_runs_ = false;
  }

  void succeeded(std::uint64_t period) {
    news told(*this);
    ++statistics_.successes;
    told.add(circuit_event_kind::success);
    if (period != period_) return;
    trial_runs_ = false;
    in_a_row_ = options_.rule == trip_rule::balance && in_a_row_ > 0 ? in_a_row_ - 1 : 0;
    recent_.add(clock_here(), false);
    if (state_ != circuit_state::half_open || ++trials_ < options_.success_threshold || forced_) return;
    reset_after_ = options_.reset_timeout;
    move(told, circuit_state::closed);
  }

  void failed(std::uint64_t period, const failure& why) {
    if (options_.is_failure && !options_.is_failure(why)) return succeeded(period);
    news told(*this);
    auto now = clock_here();
    ++statistics_.failures;
    if (why.is("ETIMEDOUT")) ++statistics_.timeouts;
    statistics_.last_failure = now;
    if (period == period_) {
      trial_runs_ = false;
      ++in_a_row_;
      recent_.add(now, true);
    }
    told.add(circuit_event_kind::failure, &why);
    if (period != period_ || forced_) return;
    if (state_ == circuit_state::half_open) {
      auto longer = std::chrono::duration<double, std::nano>(reset_after_) * options_.reset_factor;
      auto most = std::max(options_.max_reset_timeout, options_.reset_timeout);
      reset_after_ = longer < most ? std::chrono::duration_cast<nanoseconds>(longer) : most;
      move(told, circuit_state::open);
    } else if (state_ == circuit_state::closed && trips(now)) {
      move(told, circuit_state::open);
    }
  }

  circuit_statistics statistics() {
    news told(*this);
    look_at_clock(told);
    auto now = clock_here();
    auto copy = statistics_;
    copy.state = state_;
    copy.forced = forced_;
    copy.failure_count = failure_count(now);
    copy.success_count = trials_;
    if (state_ == circuit_state::open) {
      copy.retry_after = forced_ ? nanoseconds::max() : std::max(opens_until_ - now, nanoseconds(0));
    }
    return copy;
  }

  void put(circuit_state to, bool forced) {
    news told(*this);
    forced_ = forced;
    reset_after_ = options_.reset_timeout;
    if (state_ != to) return move(told, to);
    restart();
    if (to == circuit_state::open) begin_wait();
  }

  void release() {
    news told(*this);
    if (!std::exchange(forced_, false)) return;
    if (state_ == circuit_state::open) begin_wait();
  }

 private:
  /// Events that are told once the lock has been let go, in order.
  class news {
   public:
    explicit news(circuit& of) : of_(of), lock_(of.mutex_) {}
    news(const news&) = delete;
    news& operator=(const news&) = delete;
    ~news() {
      lock_.unlock();
      for (std::size_t i = 0; i < count_; ++i) of_.options_.on_event(events_[i]);
    }
    void add(circuit_event_kind kind, const failure* why = nullptr) { add(kind, of_.state_, why); }
    void add(circuit_event_kind kind, circuit_state from, const failure* why = nullptr) {
      if (!of_.options_.on_event) return;
      events_[count_++] = {kind, of_.name_, from, of_.state_, of_.failure_count(clock_here()), why};
    }

   private:
    circuit& of_;
    std::unique_lock<std::mutex> lock_;
    std::array<circuit_event, 6> events_;  // at most: two moves, and what led there
    std::size_t count_ = 0;
  };

  bool in_window() const noexcept { return options_.rule == trip_rule::count || options_.rule == trip_rule::rate; }

  std::size_t failure_count(time_point now) noexcept { return in_window() ? recent_.failures(now) : in_a_row_; }

  bool trips(time_point now) noexcept {
    if (!in_window()) return in_a_row_ >= options_.failure_threshold;
    auto calls = recent_.calls(now);
    auto failures = recent_.failures(now);
    if (calls < options_.volume_threshold) return false;
    if (options_.rule == trip_rule::count) return failures >= options_.failure_threshold;
    return static_cast<double>(failures) >= options_.failure_rate * static_cast<double>(calls);
  }

  void restart() noexcept {
    ++period_;
    trial_runs_ = false;
    trials_ = 0;
    in_a_row_ = 0;
    recent_.clear();
  }

  void move(news& told, circuit_state to) {
    auto from = std::exchange(state_, to);
    auto failures = in_a_row_;
    restart();
    if (to == circuit_state::open) {
      in_a_row_ = failures;  // still what it is open for
      ++statistics_.opened;
      begin_wait();
    }
    told.add(circuit_event_kind::state_change, from);
    told.add(to == circuit_state::open     ? circuit_event_kind::opened
             : to == circuit_state::closed ? circuit_event_kind::closed
                                           : circuit_event_kind::half_opened);
  }

  void look_at_clock(news& told) {
    if (state_ == circuit_state::open && !forced_ && clock_here() >= opens_until_) move(told, circuit_state::half_open);
  }

  // The timer belongs to nobody: it finds the circuit gone, moved or forced, and then does nothing.
  void begin_wait() {
    if (forced_) return;
    opens_until_ = later(clock_here(), reset_after_);
    auto* running = weir::detail::current_execution();
    if (running == nullptr) return;
    weir::detail::after_unowned(weir::detail::root_of(*running), reset_after_, [self = weak_from_this()] {
      if (auto alive = self.lock()) alive->statistics();
    });
  }

  const circuit_options options_;
  const std::string name_;
  std::mutex mutex_;
  circuit_state state_ = circuit_state::closed;
  bool forced_ = false;
  bool trial_runs_ = false;
  std::uint64_t period_ = 0;
  std::size_t in_a_row_ = 0;  // failures that no success has outweighed
  std::size_t trials_ = 0;
  rolling_count recent_;
  nanoseconds reset_after_;
  time_point opens_until_ = {};
  circuit_statistics statistics_;
};

circuit_call::~circuit_call() {
  if (open_) of_->abandon(period_);
}

bool circuit_call::admitted() {
  auto period = of_->admit();
  open_ = period.has_value();
  period_ = period.value_or(0);
  return open_;
}

nanoseconds circuit_call::limit() const noexcept { return of_->limit(); }

void circuit_call::succeeded() {
  open_ = false;
  of_->succeeded(period_);
}

void circuit_call::failed(const failure& why) {
  open_ = false;
  of_->failed(period_, why);
}

error circuit_open_error(std::string_view name) {
  std::string which = name.empty() ? std::string() : ' ' + std::string(name);
  return {errc::err_circuit_open, "Circuit breaker" + which + " is OPEN"};
}

}  // namespace detail

circuit_breaker::circuit_breaker(circuit_options options, std::string name)
    : circuit_(std::make_shared<detail::circuit>(std::move(options), std::move(name))) {}
circuit_breaker::~circuit_breaker() = default;

// A hook may destroy the breaker: the circuit stays until it has been told everything.
circuit_statistics circuit_breaker::statistics() const {
  auto kept = circuit_;
  return kept->statistics();
}
circuit_state circuit_breaker::state() const { return statistics().state; }
const std::string& circuit_breaker::name() const noexcept { return circuit_->name(); }

void circuit_breaker::put(circuit_state to, bool forced) {
  auto kept = circuit_;
  kept->put(to, forced);
}
void circuit_breaker::open() { put(circuit_state::open, false); }
void circuit_breaker::close() { put(circuit_state::closed, false); }
void circuit_breaker::force_open() { put(circuit_state::open, true); }
void circuit_breaker::force_close() { put(circuit_state::closed, true); }
void circuit_breaker::release() { circuit_->release(); }

struct circuit_registry::table {
  circuit_options defaults;
  mutable std::mutex mutex;
  std::map<std::string, circuit_breaker, std::less<>> breakers;
};

circuit_registry::circuit_registry(circuit_options defaults) : table_(std::make_unique<table>()) {
  detail::check(defaults);
  table_->defaults = std::move(defaults);
}
circuit_registry::~circuit_registry() = default;

circuit_breaker& circuit_registry::get(std::string_view name, const std::function<void(circuit_options&)>& adjust) {
  std::lock_guard lock(table_->mutex);
  auto found = table_->breakers.find(name);
  if (found != table_->breakers.end()) return found->second;
  auto options = table_->defaults;
  if (adjust) adjust(options);
  std::string key(name);
  return table_->breakers.try_emplace(key, std::move(options), key).first->second;
}

circuit_breaker* circuit_registry::find(std::string_view name) {
  std::lock_guard lock(table_->mutex);
  auto found = table_->breakers.find(name);
  return found != table_->breakers.end() ? &found->second : nullptr;
}

std::vector<std::pair<std::string, circuit_statistics>> circuit_registry::all() const {
  std::lock_guard lock(table_->mutex);
  std::vector<std::pair<std::string, circuit_statistics>> list;
  for (const auto& [name, breaker] : table_->breakers) list.emplace_back(name, breaker.statistics());
  return list;
}

}  // namespace weir::sync
