// sync/scheduler.hpp: jobs that run by the clock: by cron expression, at intervals, once. Rests on core's timers and
// on cron; the file store on the blocking pool. Promises that a job never overlaps itself unless told to, that
// what is removed does not come back, and that what was due while nobody ran is dealt with by policy.
#pragma once

#include <weir/core/result.hpp>
#include <weir/core/task.hpp>
#include <weir/sync/cron.hpp>
#include <weir/sync/time_zone.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace weir::sync {

using wall_time = std::chrono::system_clock::time_point;

/// When a job runs. Text converts to a cron expression, a duration to `every`.
class job_schedule {
 public:
  job_schedule(const char* cron_text) : job_schedule(std::string_view(cron_text)) {}            // NOLINT
  job_schedule(std::string_view cron_text) : job_schedule(cron(cron_expression(cron_text))) {}  // NOLINT
  job_schedule(const std::string& cron_text) : job_schedule(std::string_view(cron_text)) {}     // NOLINT
  template <class Rep, class Period>
  job_schedule(std::chrono::duration<Rep, Period> pause)  // NOLINT
      : job_schedule(every(std::chrono::duration_cast<std::chrono::nanoseconds>(pause))) {}

  /// By the clock of `zone`, or of the scheduler's zone if none is given. @reboot: when the scheduler starts.
  static job_schedule cron(cron_expression when, std::optional<time_zone> zone = {});

  /// With `pause` between the end of a run and the start of the next: it never overlaps itself. At least 1 ms.
  /// @throws weir::error ERR_OUT_OF_RANGE for less
  static job_schedule every(std::chrono::nanoseconds pause);

  /// At start + n * period, however long a run takes. @throws as `every`
  static job_schedule at_rate(std::chrono::nanoseconds period);

  static job_schedule at(wall_time when);                     ///< once
  static job_schedule after(std::chrono::nanoseconds delay);  ///< once, that long after it was added

  /// How a saved state knows it again: "cron 0 9 * * 1 Europe/Berlin", "every 5000ms".
  std::string text() const;

  /// @cond internal
  enum class kind : std::uint8_t { cron, every, rate, at, after };
  kind how() const noexcept { return kind_; }
  bool is_reboot() const noexcept { return cron_ && cron_->is_reboot(); }
  /// When it is due first; nothing: never.
  std::optional<wall_time> first(wall_time now, const time_zone& zone) const;
  /// The first time after `now` that follows `last`; nothing: never again.
  std::optional<wall_time> next(wall_time last, wall_time now, const time_zone& zone) const;
  /// How often it was due after `last`, until `now`, at most `limit` times. @param latest the last of them
  std::size_t passed(wall_time last, wall_time now, const time_zone& zone, std::size_t limit, wall_time& latest) const;
  /// @endcond

 private:
  explicit job_schedule(kind how) noexcept : kind_(how) {}

  kind kind_;
  std::optional<cron_expression> cron_;
  std::optional<time_zone> zone_;
  std::chrono::nanoseconds period_{0};
  wall_time when_{};
};

/// What to do about a time that comes while the job runs.
enum class overlap_policy : std::uint8_t {
  skip,       ///< let it pass
  queue_one,  ///< run once more right after; further ones pass
  allow,      ///< run next to it, up to `max_parallel` runs
};

/// What to do about times that came while nobody ran: before the scheduler started, in a stall, by a jump of the clock.
enum class missed_policy : std::uint8_t {
  skip,      ///< let them pass
  run_once,  ///< run once now
  run_all,   ///< run as many times as it was due, one after the other, `max_missed` times at most
};

enum class skip_reason : std::uint8_t { overlap, missed };

/// What a handler is told about its run.
struct job_run {
  std::string name = {};
  wall_time scheduled = {};  ///< when it was due, without jitter; for a run by `trigger`, when that was called
  std::uint64_t number = 0;  ///< of the job, from 1, saved and restored
  unsigned attempt = 1;      ///< more than 1 for retries
  bool triggered = false;
};

struct job_settings {
  overlap_policy overlap = overlap_policy::skip;
  std::size_t max_parallel = 2;  ///< for `allow`
  missed_policy missed = missed_policy::run_once;
  std::size_t max_missed = 100;                                     ///< for `run_all`
  std::chrono::nanoseconds missed_after = std::chrono::seconds(1);  ///< later than this counts as missed
  std::chrono::nanoseconds timeout = {};                            ///< of an attempt; zero: none
  unsigned retries = 0;                                             ///< attempts after one that failed
  std::chrono::nanoseconds retry_delay = std::chrono::seconds(1);   ///< doubled with each further one
  std::chrono::nanoseconds jitter = {};                             ///< a run starts up to this much later, at random
  bool paused = false;
};

struct job_status {
  std::string name = {};
  std::string schedule = {};
  bool enabled = true;
  std::optional<wall_time> next = {};  ///< nothing while it runs (unless it may overlap), paused, or never again
  std::optional<wall_time> last = {};  ///< start of the last run
  std::size_t running = 0;
  std::size_t waiting = 0;  ///< runs that are due, and wait for a place
  std::uint64_t runs = 0, succeeded = 0, failed = 0, timed_out = 0, retried = 0, skipped = 0;
  std::chrono::nanoseconds last_duration = {};
  std::string last_error = {};
};

/// Called when something happens, in this order for a run: start, (retry...), success or failure, scheduled; then the
/// state is saved. Called on the scheduler's loop, or by whoever calls `add`, `remove`... What they throw ends `run`.
struct scheduler_events {
  std::function<void(const std::string& name, std::optional<wall_time> next)> scheduled = {};
  std::function<void(const job_run&)> start = {};
  std::function<void(const job_run&)> success = {};
  std::function<void(const job_run&, std::exception_ptr)> failure = {};
  std::function<void(const job_run&, std::exception_ptr, std::chrono::nanoseconds delay)> retry = {};
  std::function<void(const std::string& name, skip_reason, std::size_t times)> skipped = {};
  std::function<void(const std::string& name)> removed = {};
  std::function<void(std::size_t jobs)> loaded = {};
  std::function<void(std::exception_ptr)> save_failed = {};
};

/// Where the state of the jobs is kept between two lives of the program. One `save` at a time.
class schedule_store {
 public:
  schedule_store() = default;
  schedule_store(const schedule_store&) = delete;
  schedule_store& operator=(const schedule_store&) = delete;
  virtual ~schedule_store() = default;
  virtual task<std::optional<std::string>> load() = 0;  ///< nothing: there is no state yet
  virtual task<> save(std::string text) = 0;
};

/// A file that is replaced as a whole: written beside, synchronised, renamed. A crash leaves the old state or the new
/// one. Fails with what the system says; a file that does not exist is no state.
std::shared_ptr<schedule_store> file_schedule_store(std::string path);

struct scheduler_options {
  std::size_t max_concurrent = 10;  ///< runs at the same time; more wait their turn
  std::size_t max_jobs = 10'000;    ///< more are refused with ERR_QUEUE_FULL
  time_zone zone = time_zone::local();
  std::shared_ptr<schedule_store> store = {};  ///< null: nothing is saved
  scheduler_events events = {};
  std::function<wall_time()> clock = {};  ///< the system's if empty. Waiting itself is done by the loop's clock
  /// The clock is looked at this often at least: somebody may set it while the scheduler sleeps.
  std::chrono::nanoseconds longest_sleep = std::chrono::seconds(60);
  std::uint64_t seed = 0;  ///< of the jitter; 0: a different one each time
};

namespace detail {
class scheduler_state;
}

/// Runs jobs while its `run` is awaited. All other functions may be called before, during and after that, on any
/// thread; handlers run on the loop that `run` is on, as its children (one that computes belongs in a worker_pool).
class scheduler {
 public:
  using handler = std::function<task<>(const job_run&)>;

  explicit scheduler(scheduler_options options = {});
  scheduler(const scheduler&) = delete;
  scheduler& operator=(const scheduler&) = delete;
  ~scheduler();

  /// Adds a job; one of that name is removed first (its run in progress goes on). `function` takes a const job_run&
  /// or nothing, and returns task<>. A schedule that is wrong has thrown before anything is changed.
  /// @throws weir::error ERR_INVALID_ARG_VALUE for an empty name or one over 256 octets, ERR_QUEUE_FULL
  template <class F>
    requires(std::is_invocable_r_v<task<>, F&, const job_run&> || std::is_invocable_r_v<task<>, F&>)
  void add(std::string name, job_schedule when, F function, job_settings settings = {}) {
    if constexpr (std::is_invocable_r_v<task<>, F&, const job_run&>) {
      insert(std::move(name), std::move(when), std::move(function), settings);
    } else {
      auto shared = std::make_shared<F>(std::move(function));
      insert(std::move(name), std::move(when), [shared](const job_run&) { return (*shared)(); }, settings);
    }
  }

  /// No further run. One in progress goes on to its end, and then is not repeated. @return false: no such job
  bool remove(std::string_view name);
  /// The same, and stops the run in progress.
  bool cancel(std::string_view name);
  /// No run by the schedule until `resume`, which goes on from the time that it then is. Saved with the state.
  bool pause(std::string_view name);
  bool resume(std::string_view name);
  /// Runs it as soon as there is a place, paused or not; the schedule goes on as it was.
  /// @return false if there is no such job, or it runs and may not overlap
  bool trigger(std::string_view name);

  std::vector<job_status> status() const;  ///< in order of addition
  std::optional<job_status> status(std::string_view name) const;

  /// Loads the state, then runs jobs until `stop` is called or it is cancelled, which stops the runs in progress;
  /// the state is saved in any case. @throws weir::error ERR_INVALID_STATE if it runs already,
  /// ERR_INVALID_ARG_VALUE if the saved state is not one, and what the store throws on `load`
  task<> run();

  /// Starts no more runs, waits `grace` for those in progress, then stops them. Completes when `run` is over.
  task<> stop(std::chrono::nanoseconds grace = std::chrono::seconds(5));

 private:
  void insert(std::string name, job_schedule when, handler function, const job_settings& settings);

  std::unique_ptr<detail::scheduler_state> state_;
};

}  // namespace weir::sync
