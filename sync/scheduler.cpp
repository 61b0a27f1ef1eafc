#include <weir/sync/scheduler.hpp>

#include <weir/core/abort.hpp>
#include <weir/core/blocking.hpp>
#include <weir/core/event.hpp>
#include <weir/core/scope.hpp>
#include <weir/core/time.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <deque>
#include <map>
#include <mutex>
#include <random>
#include <tuple>

#include <fcntl.h>
#include <unistd.h>

namespace weir::sync {
namespace {

using std::chrono::duration_cast;
using std::chrono::milliseconds;
using std::chrono::nanoseconds;

constexpr auto shortest_period = milliseconds(1);
constexpr std::size_t counted_at_most = 100'000;  // times that passed
constexpr std::size_t largest_state = 64U << 20;

wall_time to_wall(sys_seconds when) noexcept { return wall_time(when.time_since_epoch()); }
sys_seconds to_seconds(wall_time when) noexcept { return std::chrono::floor<std::chrono::seconds>(when); }

long long in_milliseconds(nanoseconds time) noexcept { return duration_cast<milliseconds>(time).count(); }
long long in_milliseconds(wall_time when) noexcept { return in_milliseconds(nanoseconds(when.time_since_epoch())); }

nanoseconds checked_period(nanoseconds period) {
  if (period >= shortest_period) return period;
  throw error(errc::err_out_of_range, "job_schedule: a period must be at least 1 ms");
}

}  // namespace

job_schedule job_schedule::cron(cron_expression when, std::optional<time_zone> zone) {
  job_schedule made(kind::cron);
  made.cron_ = std::move(when);
  made.zone_ = std::move(zone);
  return made;
}

job_schedule job_schedule::every(nanoseconds pause) {
  job_schedule made(kind::every);
  made.period_ = checked_period(pause);
  return made;
}

job_schedule job_schedule::at_rate(nanoseconds period) {
  job_schedule made(kind::rate);
  made.period_ = checked_period(period);
  return made;
}

job_schedule job_schedule::at(wall_time when) {
  job_schedule made(kind::at);
  made.when_ = when;
  return made;
}

job_schedule job_schedule::after(nanoseconds delay) {
  job_schedule made(kind::after);
  made.period_ = std::max(delay, nanoseconds(0));
  return made;
}

std::string job_schedule::text() const {
  switch (kind_) {
    case kind::cron: return fmt::format("cron {}{}{}", cron_->text(), zone_ ? " " : "", zone_ ? zone_->name() : "");
    case kind::every: return fmt::format("every {}ms", in_milliseconds(period_));
    case kind::rate: return fmt::format("rate {}ms", in_milliseconds(period_));
    case kind::at: return fmt::format("at {}ms", in_milliseconds(when_));
    case kind::after: return fmt::format("after {}ms", in_milliseconds(period_));
  }
  return {};
}

std::optional<wall_time> job_schedule::first(wall_time now, const time_zone& zone) const {
  if (kind_ == kind::at) return when_;
  if (kind_ != kind::cron) return now + duration_cast<wall_time::duration>(period_);
  if (cron_->is_reboot()) return now;
  auto found = cron_->next(to_seconds(now), zone_ ? *zone_ : zone);
  return found ? std::optional(to_wall(*found)) : std::nullopt;
}

std::optional<wall_time> job_schedule::next(wall_time last, wall_time now, const time_zone& zone) const {
  if (kind_ == kind::at || kind_ == kind::after || is_reboot()) return std::nullopt;
  if (kind_ != kind::rate) return first(now, zone);
  auto period = duration_cast<wall_time::duration>(period_);
  return last > now ? last : last + ((now - last) / period + 1) * period;
}

std::size_t job_schedule::passed(wall_time last, wall_time now, const time_zone& zone, std::size_t limit,
                                 wall_time& latest) const {
  std::size_t n = 0;
  if (kind_ == kind::rate && now > last) {
    auto period = duration_cast<wall_time::duration>(period_);
    n = std::min(limit, static_cast<std::size_t>((now - last) / period));
    latest = last + static_cast<wall_time::rep>(n) * period;
    return n;
  }
  if (kind_ != kind::cron || is_reboot()) return 0;
  for (latest = last; n < limit; ++n) {
    auto after = cron_->next(to_seconds(latest), zone_ ? *zone_ : zone);
    if (!after || to_wall(*after) > now) break;
    latest = to_wall(*after);
  }
  return n;
}

namespace detail {
namespace {

/// A job. Shared with the runs in progress, which outlive its removal.
struct record {
  std::uint64_t id = 0;
  std::string name;
  job_schedule schedule;
  scheduler::handler function;
  job_settings settings;
  job_status figures;  // what of it is counted
  bool enabled = true;
  bool removed = false;
  bool armed = false;  // `next` says when it is due; nothing: never
  std::optional<wall_time> next, due;
  wall_time last_due{};  // the latest time that has been dealt with
  std::size_t running = 0, waiting = 0;
  std::vector<std::pair<std::uint64_t, abort_controller>> stops;
};

using record_ptr = std::shared_ptr<record>;

struct pending {
  record_ptr job;
  wall_time scheduled;
  bool triggered = false;
};

/// What a saved state says about a job.
struct saved_job {
  std::string schedule;
  bool enabled = true;
  std::optional<wall_time> next, last;
  std::uint64_t runs = 0, succeeded = 0, failed = 0;
};

bool plain(char c) noexcept {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
         (c != '\0' && std::string_view("_.:/*,-#@?+").find(c) != std::string_view::npos);
}

std::string escape(std::string_view text) {
  std::string made;
  for (char c : text) {
    if (plain(c)) {
      made += c;
    } else {
      made += fmt::format("%{:02X}", static_cast<unsigned char>(c));
    }
  }
  return made;
}

/// Reads a saved state, line by line.
class state_reader {
 public:
  explicit state_reader(std::string_view text) : rest_(text) {}

  std::map<std::string, saved_job, std::less<>> read() {
    std::map<std::string, saved_job, std::less<>> all;
    if (line() != "weir-schedule 1") fail("is not 'weir-schedule 1'");
    while (!rest_.empty()) {
      words_ = line();
      auto name = unescape(value("job"));
      saved_job job;
      job.schedule = unescape(value("schedule"));
      job.enabled = number(value("enabled")) != 0;
      job.next = moment(value("next"));
      job.last = moment(value("last"));
      job.runs = count(value("runs"));
      job.succeeded = count(value("succeeded"));
      job.failed = count(value("failed"));
      if (!words_.empty()) fail("has more than it should");
      if (!all.emplace(std::move(name), std::move(job)).second) fail("names a job for the second time");
    }
    return all;
  }

 private:
  [[noreturn]] void fail(std::string_view what) const {
    throw error(errc::err_invalid_arg_value, fmt::format("scheduler: line {} of the saved state {}", number_, what));
  }
  std::string_view line() {
    ++number_;
    auto end = rest_.find('\n');
    if (end == std::string_view::npos) fail("is cut short");
    auto found = rest_.substr(0, end);
    rest_.remove_prefix(end + 1);
    return found;
  }
  std::string_view value(std::string_view key) {
    auto end = std::min(words_.find(' '), words_.size());
    auto word = words_.substr(0, end);
    words_.remove_prefix(std::min(end + 1, words_.size()));
    if (word.size() <= key.size() || !word.starts_with(key) || word[key.size()] != '=') {
      fail(fmt::format("lacks '{}='", key));
    }
    return word.substr(key.size() + 1);
  }
  std::int64_t number(std::string_view text) const {
    std::int64_t value = 0;
    auto [end, why] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (why != std::errc() || end != text.data() + text.size() || text.empty() || value < -(std::int64_t{1} << 50) ||
        value > std::int64_t{1} << 50) {
      fail("has a number that is none");
    }
    return value;
  }
  std::uint64_t count(std::string_view text) const {
    auto value = number(text);
    if (value < 0) fail("has a count below zero");
    return static_cast<std::uint64_t>(value);
  }
  std::optional<wall_time> moment(std::string_view text) const {
    if (text == "-") return std::nullopt;
    auto value = number(text);
    if (value < -9'000'000'000'000 || value > 9'000'000'000'000) fail("has a time out of range");
    return wall_time(milliseconds(value));
  }
  std::string unescape(std::string_view text) const {
    std::string made;
    for (std::size_t i = 0; i < text.size(); ++i) {
      if (text[i] != '%') {
        made += text[i];
        continue;
      }
      unsigned code = 0;
      auto digits = text.substr(i + 1, 2);
      auto [end, why] = std::from_chars(digits.data(), digits.data() + digits.size(), code, 16);
      if (digits.size() != 2 || why != std::errc() || end != digits.data() + 2) fail("has a bad escape");
      made += static_cast<char>(code);
      i += 2;
    }
    return made;
  }

  std::string_view rest_, words_;
  std::size_t number_ = 0;
};

std::string line_of(std::string_view name, const saved_job& job) {
  auto moment = [](const std::optional<wall_time>& when) {
    return when ? fmt::to_string(in_milliseconds(*when)) : std::string("-");
  };
  return fmt::format("job={} schedule={} enabled={} next={} last={} runs={} succeeded={} failed={}\n", escape(name),
                     escape(job.schedule), job.enabled ? 1 : 0, moment(job.next), moment(job.last), job.runs,
                     job.succeeded, job.failed);
}

template <class F, class... Args>
void tell(const F& listener, Args&&... arguments) {
  if (listener) listener(std::forward<Args>(arguments)...);
}

}  // namespace

class scheduler_state {
 public:
  explicit scheduler_state(scheduler_options given);
  scheduler_state(const scheduler_state&) = delete;
  scheduler_state& operator=(const scheduler_state&) = delete;
  ~scheduler_state() = default;

  void insert(std::string name, job_schedule when, scheduler::handler function, const job_settings& settings);
  bool remove(std::string_view name, bool stop);
  bool pause(std::string_view name);
  bool resume(std::string_view name);
  bool trigger(std::string_view name);
  std::vector<job_status> status() const;
  std::optional<job_status> status(std::string_view name) const;

  task<> run();
  task<> stop(nanoseconds grace);

 private:
  struct notice {  // an event to tell once the lock is open
    enum : std::uint8_t { scheduled, skipped } what;
    std::string name;
    std::optional<wall_time> next = {};
    skip_reason reason = skip_reason::overlap;
    std::size_t times = 0;
  };
  using notices = std::vector<notice>;

  wall_time now() const { return options_.clock ? options_.clock() : std::chrono::system_clock::now(); }
  record_ptr find(std::string_view name) const;
  void changed();
  void tell_all(const notices& all) const;

  void arm(record& job, std::optional<wall_time> next, notices& news);
  void fire(const record_ptr& job, wall_time at, notices& news);
  void fire_missed(const record_ptr& job, wall_time at, notices& news);
  void skip(record& job, skip_reason why, std::size_t times, notices& news) const;
  void enqueue(const record_ptr& job, wall_time scheduled, bool triggered);
  void drop_waiting(const record& job);
  std::size_t places(const record& job) const noexcept;
  void rearm_after_run(const record_ptr& job, notices& news);
  nanoseconds until_next(wall_time at) const;
  std::optional<pending> take_ready();
  static job_status describe(const record& job);

  task<> load();
  void restore(record& job);
  std::string serialise() const;
  task<> save_if_changed();
  task<> keep_saving();

  void all_have_ended() noexcept;
  task<> serve(scope& runs);
  task<> run_job(pending what, std::uint64_t id, abort_signal stop);
  task<> run_attempts(record& job, job_run& run, abort_signal stop, std::optional<failure>& why);
  task<> run_once(record& job, const job_run& run);
  void finish(const record_ptr& job, std::uint64_t id, const job_run& run, const std::optional<failure>& why,
              nanoseconds took);

  scheduler_options options_;
  mutable std::mutex mutex_;
  std::map<std::string, record_ptr, std::less<>> jobs_;
  std::map<std::string, saved_job, std::less<>> restored_;  // jobs that have not been added yet
  std::deque<pending> ready_;
  std::mt19937_64 random_;
  std::uint64_t next_id_ = 0;
  std::size_t running_ = 0;
  bool started_ = false, stopping_ = false;
  bool unsaved_ = false;
  event wake_, save_wanted_, ended_;
};

scheduler_state::scheduler_state(scheduler_options given)
    : options_(std::move(given)), random_(options_.seed != 0 ? options_.seed : std::random_device{}()) {
  if (options_.max_concurrent == 0) {
    throw error(errc::err_out_of_range, "scheduler: max_concurrent must be at least 1");
  }
  ended_.set();
}

record_ptr scheduler_state::find(std::string_view name) const {
  auto found = jobs_.find(name);
  return found != jobs_.end() ? found->second : nullptr;
}

// Under the lock: there is something to do, and something to save.
void scheduler_state::changed() {
  unsaved_ = true;
  wake_.set();
  save_wanted_.set();
}

void scheduler_state::tell_all(const notices& all) const {
  for (const auto& each : all) {
    if (each.what == notice::scheduled) tell(options_.events.scheduled, each.name, each.next);
    if (each.what == notice::skipped) tell(options_.events.skipped, each.name, each.reason, each.times);
  }
}

void scheduler_state::insert(std::string name, job_schedule when, scheduler::handler function,
                             const job_settings& settings) {
  if (name.empty() || name.size() > 256) {
    throw error(errc::err_invalid_arg_value, "scheduler: the name of a job has 1 to 256 octets");
  }
  remove(name, false);
  notices news;
  {
    std::lock_guard lock(mutex_);
    if (jobs_.size() >= options_.max_jobs) {
      throw error(errc::err_queue_full, fmt::format("scheduler: there are {} jobs already", jobs_.size()));
    }
    auto job = std::make_shared<record>(record{.id = next_id_++,
                                               .name = name,
                                               .schedule = std::move(when),
                                               .function = std::move(function),
                                               .settings = settings,
                                               .enabled = !settings.paused});
    restore(*job);
    bool counts_from_now = started_ || job->schedule.how() == job_schedule::kind::after;
    if (!job->armed && job->enabled && counts_from_now) {
      arm(*job, job->schedule.first(now(), options_.zone), news);
    }
    jobs_.emplace(std::move(name), std::move(job));
    changed();
  }
  tell_all(news);
}

bool scheduler_state::remove(std::string_view name, bool stop) {
  std::vector<abort_controller> stops;
  std::string known;
  {
    std::lock_guard lock(mutex_);
    auto job = find(name);
    if (!job) return false;
    job->removed = true;
    known = job->name;
    drop_waiting(*job);
    if (stop) {
      for (auto& each : job->stops) stops.push_back(each.second);
    }
    jobs_.erase(jobs_.find(name));
    changed();
  }
  for (auto& each : stops) each.abort();
  tell(options_.events.removed, known);
  return true;
}

bool scheduler_state::pause(std::string_view name) {
  std::lock_guard lock(mutex_);
  auto job = find(name);
  if (!job) return false;
  job->enabled = false;
  job->armed = false;
  job->next = job->due = std::nullopt;
  drop_waiting(*job);
  changed();
  return true;
}

bool scheduler_state::resume(std::string_view name) {
  notices news;
  {
    std::lock_guard lock(mutex_);
    auto job = find(name);
    if (!job) return false;
    if (job->enabled) return true;
    job->enabled = true;
    job->last_due = now();
    if (started_ && job->running == 0) arm(*job, job->schedule.first(job->last_due, options_.zone), news);
    changed();
  }
  tell_all(news);
  return true;
}

bool scheduler_state::trigger(std::string_view name) {
  std::lock_guard lock(mutex_);
  auto job = find(name);
  if (!job) return false;
  auto most = job->settings.overlap == overlap_policy::queue_one ? 2 : places(*job);
  if (job->running + job->waiting >= most) return false;
  enqueue(job, now(), true);
  changed();
  return true;
}

job_status scheduler_state::describe(const record& job) {
  auto all = job.figures;
  all.name = job.name;
  all.schedule = job.schedule.text();
  all.enabled = job.enabled;
  all.next = job.next;
  all.running = job.running;
  all.waiting = job.waiting;
  return all;
}

std::vector<job_status> scheduler_state::status() const {
  std::lock_guard lock(mutex_);
  std::vector<record_ptr> all;
  all.reserve(jobs_.size());
  for (const auto& [name, job] : jobs_) all.push_back(job);
  std::sort(all.begin(), all.end(), [](auto& a, auto& b) { return a->id < b->id; });
  std::vector<job_status> found;
  found.reserve(all.size());
  for (const auto& job : all) found.push_back(describe(*job));
  return found;
}

std::optional<job_status> scheduler_state::status(std::string_view name) const {
  std::lock_guard lock(mutex_);
  auto job = find(name);
  return job ? std::optional(describe(*job)) : std::nullopt;
}

void scheduler_state::arm(record& job, std::optional<wall_time> next, notices& news) {
  job.armed = true;
  job.next = job.due = next;
  if (next && job.settings.jitter > nanoseconds(0)) {
    auto most = duration_cast<wall_time::duration>(job.settings.jitter).count();
    *job.due += wall_time::duration(std::uniform_int_distribution<wall_time::rep>(0, most)(random_));
  }
  news.push_back({.what = notice::scheduled, .name = job.name, .next = next});
}

// How many runs of it may be in progress.
std::size_t scheduler_state::places(const record& job) const noexcept {
  return job.settings.overlap == overlap_policy::allow ? std::max<std::size_t>(job.settings.max_parallel, 1) : 1;
}

void scheduler_state::skip(record& job, skip_reason why, std::size_t times, notices& news) const {
  if (times == 0) return;
  job.figures.skipped += times;
  news.push_back({.what = notice::skipped, .name = job.name, .reason = why, .times = times});
}

void scheduler_state::enqueue(const record_ptr& job, wall_time scheduled, bool triggered) {
  ready_.push_back({job, scheduled, triggered});
  ++job->waiting;
}

void scheduler_state::drop_waiting(const record& job) {
  auto of_job = [&job](const pending& each) { return each.job.get() == &job; };
  for (auto& each : ready_) {
    if (of_job(each)) --each.job->waiting;
  }
  std::erase_if(ready_, of_job);
}

// A job is due. It is armed anew when its run has ended, or now if runs may overlap or this one is passed over.
void scheduler_state::fire(const record_ptr& job, wall_time at, notices& news) {
  auto scheduled = *std::exchange(job->next, std::nullopt);
  bool late = at - *job->due > job->settings.missed_after;
  job->due = std::nullopt;
  job->last_due = scheduled;
  if (late && !job->schedule.is_reboot()) {
    job->next = scheduled;
    fire_missed(job, at, news);
  } else {
    auto most = job->settings.overlap == overlap_policy::queue_one ? 2 : places(*job);
    if (job->running + job->waiting < most) {
      enqueue(job, scheduled, false);
    } else {
      skip(*job, skip_reason::overlap, 1, news);
    }
  }
  bool idle = job->running + job->waiting == 0;
  bool may_overlap = job->settings.overlap == overlap_policy::allow && job->schedule.how() != job_schedule::kind::every;
  if (!idle && !may_overlap) return;
  arm(*job, job->schedule.next(job->last_due, at, options_.zone), news);
  unsaved_ = true;
  save_wanted_.set();
}

void scheduler_state::fire_missed(const record_ptr& job, wall_time at, notices& news) {
  auto first = *std::exchange(job->next, std::nullopt);
  auto policy = job->settings.missed;
  auto latest = first;
  auto more = job->schedule.passed(first, at, options_.zone, counted_at_most, latest);
  job->last_due = latest;
  if (policy == missed_policy::skip) return skip(*job, skip_reason::missed, more + 1, news);
  enqueue(job, first, false);
  if (policy == missed_policy::run_once) return;
  auto when = first;
  std::size_t queued = 1;
  for (; queued < std::min(job->settings.max_missed, more + 1); ++queued) {
    auto before = when;
    job->schedule.passed(before, at, options_.zone, 1, when);
    enqueue(job, when, false);
  }
  skip(*job, skip_reason::missed, more + 1 - queued, news);
}

// Times that came while it ran are passed over, or stand for one more run.
void scheduler_state::rearm_after_run(const record_ptr& job, notices& news) {
  if (job->removed || !job->enabled || job->next || job->running + job->waiting != 0) return;
  auto at = now();
  auto latest = job->last_due;
  auto passed = job->last_due == wall_time()
                    ? 0
                    : job->schedule.passed(job->last_due, at, options_.zone, counted_at_most, latest);
  job->last_due = latest;
  if (passed != 0 && job->settings.overlap == overlap_policy::queue_one) {
    enqueue(job, latest, false);
    return skip(*job, skip_reason::overlap, passed - 1, news);
  }
  skip(*job, skip_reason::overlap, passed, news);
  arm(*job, job->schedule.next(job->last_due, at, options_.zone), news);
}

nanoseconds scheduler_state::until_next(wall_time at) const {
  nanoseconds nap = options_.longest_sleep;
  for (const auto& [name, job] : jobs_) {
    if (job->due) nap = std::min<nanoseconds>(nap, *job->due - at);
  }
  return std::max(nap, nanoseconds(0));
}

// The first that is ready and for which there is a place.
std::optional<pending> scheduler_state::take_ready() {
  if (running_ >= options_.max_concurrent) return std::nullopt;
  for (auto each = ready_.begin(); each != ready_.end(); ++each) {
    if (each->job->running >= places(*each->job)) continue;
    auto found = std::move(*each);
    ready_.erase(each);
    --found.job->waiting;
    ++found.job->running;
    ++running_;
    return found;
  }
  return std::nullopt;
}

task<> scheduler_state::serve(scope& runs) {
  for (std::uint64_t id = 1;;) {
    wake_.reset();
    notices news;
    std::vector<std::tuple<pending, std::uint64_t, abort_signal>> starting;
    nanoseconds nap{0};
    {
      std::lock_guard lock(mutex_);
      if (stopping_) co_return;
      auto at = now();
      std::vector<record_ptr> due;
      for (const auto& [name, job] : jobs_) {
        if (job->due && *job->due <= at) due.push_back(job);
      }
      std::sort(due.begin(), due.end(),
                [](auto& a, auto& b) { return std::tie(*a->due, a->id) < std::tie(*b->due, b->id); });
      for (const auto& job : due) fire(job, at, news);
      while (auto next = take_ready()) {
        auto& stop = next->job->stops.emplace_back(id, abort_controller());
        auto signal = stop.second.signal();
        starting.emplace_back(std::move(*next), id++, std::move(signal));
      }
      nap = until_next(at);
    }
    tell_all(news);
    for (auto& [what, number, stop] : starting) {
      static_cast<void>(runs.spawn_local(&scheduler_state::run_job, this, std::move(what), number, std::move(stop)));
    }
    auto woken = co_await attempt(timeout(nap, wake_.wait()));
    if (!woken && woken.failure().is_cancelled()) woken.failure().rethrow();
  }
}

task<> scheduler_state::run_job(pending what, std::uint64_t id, abort_signal stop) {
  auto& job = *what.job;
  job_run run{.name = job.name, .scheduled = what.scheduled, .triggered = what.triggered};
  {
    std::lock_guard lock(mutex_);
    run.number = ++job.figures.runs;
    job.figures.last = now();
  }
  tell(options_.events.start, run);
  auto begin = std::chrono::steady_clock::now();
  std::optional<failure> why;
  co_await run_attempts(job, run, std::move(stop), why);
  finish(what.job, id, run, why, std::chrono::steady_clock::now() - begin);
}

task<> scheduler_state::run_attempts(record& job, job_run& run, abort_signal stop, std::optional<failure>& why) {
  auto delay = job.settings.retry_delay;
  for (;; ++run.attempt, delay *= 2) {
    auto outcome = co_await attempt(abortable(stop, run_once(job, run)));
    why.reset();
    if (outcome) co_return;
    why = outcome.failure();
    if (stop.aborted() || why->is_cancelled() || run.attempt > job.settings.retries) co_return;
    {
      std::lock_guard lock(mutex_);
      ++job.figures.retried;
    }
    tell(options_.events.retry, run, why->exception(), delay);
    auto slept = co_await attempt(abortable(stop, sleep(delay)));
    if (!slept) co_return;
  }
}

task<> scheduler_state::run_once(record& job, const job_run& run) {
  auto limit = job.settings.timeout;
  if (limit <= nanoseconds(0)) co_return co_await job.function(run);
  bool done = false;
  auto noted = [](record& of, const job_run& about, bool& ended) -> task<> {
    auto outcome = co_await attempt(of.function(about));
    ended = outcome || !outcome.failure().is_cancelled();
    std::move(outcome).value();
  };
  auto outcome = co_await attempt(weir::timeout(limit, noted(job, run, done)));
  if (outcome) co_return;
  if (done || !outcome.failure().is("ETIMEDOUT")) outcome.failure().rethrow();
  {
    std::lock_guard lock(mutex_);
    ++job.figures.timed_out;
  }
  throw error(errc::err_timeout,
              fmt::format("scheduler: job '{}' has not ended within {} ms", job.name, in_milliseconds(limit)));
}

void scheduler_state::finish(const record_ptr& job, std::uint64_t id, const job_run& run,
                             const std::optional<failure>& why, nanoseconds took) {
  {
    std::lock_guard lock(mutex_);
    ++(why ? job->figures.failed : job->figures.succeeded);
    job->figures.last_duration = took;
    job->figures.last_error = why ? why->message() : std::string();
    std::erase_if(job->stops, [id](auto& each) { return each.first == id; });
    --job->running;
    --running_;
  }
  if (why) {
    tell(options_.events.failure, run, why->exception());
  } else {
    tell(options_.events.success, run);
  }
  notices news;
  {
    std::lock_guard lock(mutex_);
    rearm_after_run(job, news);
  }
  tell_all(news);
  std::lock_guard lock(mutex_);
  changed();
}

// Takes over what a saved state says about a job. Its next time only if the schedule is still the same.
void scheduler_state::restore(record& job) {
  auto found = restored_.find(job.name);
  if (found == restored_.end()) return;
  auto saved = std::move(found->second);
  restored_.erase(found);
  job.figures.runs = saved.runs;
  job.figures.succeeded = saved.succeeded;
  job.figures.failed = saved.failed;
  job.figures.last = saved.last;
  job.enabled = saved.enabled;
  if (saved.schedule != job.schedule.text() || job.schedule.is_reboot() || !saved.enabled) return;
  job.armed = true;
  job.next = job.due = saved.next;
}

task<> scheduler_state::load() {
  if (!options_.store) co_return;
  auto text = co_await options_.store->load();
  if (!text) co_return;
  auto all = state_reader(*text).read();
  auto count = all.size();
  {
    std::lock_guard lock(mutex_);
    restored_ = std::move(all);
    for (auto& [name, job] : jobs_) restore(*job);
  }
  tell(options_.events.loaded, count);
}

std::string scheduler_state::serialise() const {
  std::string text = "weir-schedule 1\n";
  for (const auto& [name, job] : jobs_) {
    auto next = job->next;
    for (const auto& each : ready_) {
      if (each.job == job && !each.triggered && (!next || each.scheduled < *next)) next = each.scheduled;
    }
    if (!next && job->running != 0 && job->enabled) next = job->last_due;
    text += line_of(name, {job->schedule.text(), job->enabled, next, job->figures.last, job->figures.runs,
                           job->figures.succeeded, job->figures.failed});
  }
  for (const auto& [name, job] : restored_) text += line_of(name, job);
  return text;
}

task<> scheduler_state::save_if_changed() {
  if (!options_.store) co_return;
  std::string text;
  {
    std::lock_guard lock(mutex_);
    if (!std::exchange(unsaved_, false)) co_return;
    text = serialise();
  }
  auto outcome = co_await attempt(options_.store->save(std::move(text)));
  if (outcome) co_return;
  if (!outcome.failure().is_cancelled()) co_return tell(options_.events.save_failed, outcome.failure().exception());
  std::lock_guard lock(mutex_);
  unsaved_ = true;
}

task<> scheduler_state::keep_saving() {
  for (;;) {
    co_await save_wanted_.wait();
    save_wanted_.reset();
    co_await save_if_changed();
  }
}

void scheduler_state::all_have_ended() noexcept {
  std::lock_guard lock(mutex_);
  started_ = false;
  running_ = 0;
  for (auto& [name, job] : jobs_) {  // an event that threw has kept its run from being counted
    job->running = 0;
    job->stops.clear();
  }
}

task<> scheduler_state::run() {
  {
    std::lock_guard lock(mutex_);
    if (!ended_.is_set()) throw error(errc::err_invalid_state, "scheduler: it runs already");
    ended_.reset();
    stopping_ = false;
  }
  struct at_end {
    scheduler_state& self;
    ~at_end() {
      self.all_have_ended();
      self.ended_.set();  // the last thing: whoever waits for it may destroy the scheduler
    }
  } over{*this};
  co_await load();
  notices news;
  {
    std::lock_guard lock(mutex_);
    started_ = true;
    for (auto& [name, job] : jobs_) {
      if (job->enabled && (!job->armed || job->schedule.is_reboot())) {
        arm(*job, job->schedule.first(now(), options_.zone), news);
      }
    }
    changed();
  }
  tell_all(news);
  co_await with_scope([this](scope& outer) -> task<> {
    outer.on_exit([this] { return save_if_changed(); });
    auto saver = outer.spawn_local(&scheduler_state::keep_saving, this);
    co_await with_scope([this](scope& runs) { return serve(runs); });
    saver.cancel();
  });
}

task<> scheduler_state::stop(nanoseconds grace) {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
    wake_.set();
  }
  auto outcome = co_await attempt(timeout(grace, ended_.wait()));
  std::vector<abort_controller> stops;
  {
    std::lock_guard lock(mutex_);
    for (const auto& [name, job] : jobs_) {
      for (auto& each : job->stops) stops.push_back(each.second);
    }
  }
  if (!outcome) {
    for (auto& each : stops) each.abort();
  }
  co_await ended_.wait();
}

}  // namespace detail

namespace {

/// A descriptor of a file, closed as it goes.
class file {
 public:
  file(const std::string& path, int flags) : fd_(::open(path.c_str(), flags | O_CLOEXEC, 0644)) {}
  file(const file&) = delete;
  file& operator=(const file&) = delete;
  ~file() {
    if (fd_ >= 0) ::close(fd_);
  }
  explicit operator bool() const noexcept { return fd_ >= 0; }
  int fd() const noexcept { return fd_; }

 private:
  int fd_;
};

std::optional<std::string> read_whole(const std::string& path) {
  file from(path, O_RDONLY);
  if (!from && errno == ENOENT) return std::nullopt;
  if (!from) throw os_error(errno, "open", path);
  std::string text;
  char chunk[16384];
  for (;;) {
    auto n = ::read(from.fd(), chunk, sizeof chunk);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw os_error(errno, "read", path);
    if (n == 0) return text;
    text.append(chunk, static_cast<std::size_t>(n));
    if (text.size() > largest_state) throw os_error(EFBIG, "read", path);
  }
}

void write_all(const std::string& path, std::string_view text) {
  file into(path, O_WRONLY | O_CREAT | O_TRUNC);
  if (!into) throw os_error(errno, "open", path);
  while (!text.empty()) {
    auto n = ::write(into.fd(), text.data(), text.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw os_error(errno, "write", path);
    text.remove_prefix(static_cast<std::size_t>(n));
  }
  if (::fsync(into.fd()) != 0) throw os_error(errno, "fsync", path);
}

void replace_whole(const std::string& path, std::string_view text) {
  static std::atomic<unsigned> count{0};
  auto beside = fmt::format("{}.{}.{}.tmp", path, ::getpid(), count.fetch_add(1));
  try {
    write_all(beside, text);
    if (::rename(beside.c_str(), path.c_str()) != 0) throw os_error(errno, "rename", beside, path);
  } catch (...) {
    ::unlink(beside.c_str());
    throw;
  }
  auto slash = path.rfind('/');
  file folder(slash == std::string::npos ? "." : path.substr(0, slash + 1), O_RDONLY | O_DIRECTORY);
  if (folder) ::fsync(folder.fd());
}

class file_store final : public schedule_store {
 public:
  explicit file_store(std::string path) : path_(std::move(path)) {}
  task<std::optional<std::string>> load() override {
    co_return co_await blocking([path = path_] { return read_whole(path); });
  }
  task<> save(std::string text) override {
    co_await blocking([path = path_, text = std::move(text)] { replace_whole(path, text); });
  }

 private:
  std::string path_;
};

}  // namespace

std::shared_ptr<schedule_store> file_schedule_store(std::string path) {
  return std::make_shared<file_store>(std::move(path));
}

scheduler::scheduler(scheduler_options options)
    : state_(std::make_unique<detail::scheduler_state>(std::move(options))) {}
scheduler::~scheduler() = default;

void scheduler::insert(std::string name, job_schedule when, handler function, const job_settings& settings) {
  state_->insert(std::move(name), std::move(when), std::move(function), settings);
}
bool scheduler::remove(std::string_view name) { return state_->remove(name, false); }
bool scheduler::cancel(std::string_view name) { return state_->remove(name, true); }
bool scheduler::pause(std::string_view name) { return state_->pause(name); }
bool scheduler::resume(std::string_view name) { return state_->resume(name); }
bool scheduler::trigger(std::string_view name) { return state_->trigger(name); }
std::vector<job_status> scheduler::status() const { return state_->status(); }
std::optional<job_status> scheduler::status(std::string_view name) const { return state_->status(name); }
task<> scheduler::run() { return state_->run(); }
task<> scheduler::stop(std::chrono::nanoseconds grace) { return state_->stop(grace); }

}  // namespace weir::sync
