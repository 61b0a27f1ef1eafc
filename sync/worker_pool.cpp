#include <weir/sync/worker_pool.hpp>

#include <weir/core/abort.hpp>
#include <weir/core/combine.hpp>
#include <weir/core/cpus.hpp>
#include <weir/core/scope.hpp>
#include <weir/sync/loop_thread.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <condition_variable>
#include <list>
#include <map>
#include <mutex>
#include <thread>

namespace weir::sync {
namespace detail {

using std::chrono::nanoseconds;
using std::chrono::steady_clock;
using weir::detail::fiber;
using weir::detail::waiter_list;

/// One thread of the pool. What is not said to be the thread's own is under the pool's lock.
struct pool_thread {
  unsigned index = 0;
  std::uint64_t id = 0;
  native_thread handle;
  remote_stop stop;
  pool_job* current = nullptr;
  fiber* parked = nullptr;    // waits for a job
  fiber* released = nullptr;  // the same, on its way to be woken
  pool_thread* next_idle = nullptr;
  bool serves = false;  // `init` is done, and it has not been retired
  bool retired = false;
  bool ended = false;                 // about to return: it may be joined
  std::atomic<bool> stopping{false};  // the job has been asked to stop
  std::uint64_t jobs = 0, failed = 0;
  nanoseconds busy_time{0};
};

namespace {

thread_local pool_thread* thread_here = nullptr;

WEIR_NOINLINE pool_thread*& this_pool_thread() noexcept { return thread_here; }

/// Those to wake once the lock is open: a wake-up may wait for a canceller who waits for the lock.
struct wake_ups {
  wake_ups() = default;
  wake_ups(const wake_ups&) = delete;
  wake_ups& operator=(const wake_ups&) = delete;
  ~wake_ups() {
    while (first != nullptr) {
      auto* job = std::exchange(first, first->next);
      auto& owner = *job->owner;
      job->release();  // first, so that what came of the job goes where it was looked at, on the owner's thread
      wake(owner);
    }
    for (auto& list : lists) weir::detail::wake_all(list);
    while (threads != nullptr) {
      auto* next = threads->next_idle;  // the thread may end once it is awake
      wake(*std::exchange(threads, next)->released);
    }
  }

  void add(pool_thread& t) noexcept {
    t.released = std::exchange(t.parked, nullptr);
    t.next_idle = threads;
    threads = &t;
  }
  void add(pool_job& job) noexcept {
    job.next = nullptr;
    (last != nullptr ? last->next : first) = &job;
    last = &job;
  }

  pool_job* first = nullptr;
  pool_job* last = nullptr;
  std::array<waiter_list, 3> lists;
  pool_thread* threads = nullptr;
};

struct job_queue {
  struct level {
    pool_job* head = nullptr;
    pool_job* tail = nullptr;
  };
  std::map<int, level, std::greater<>> levels{{0, {}}};
  std::size_t size = 0;

  void push(pool_job& job) {
    auto& at = levels[job.options.priority];
    job.previous = at.tail;
    job.next = nullptr;
    (at.tail != nullptr ? at.tail->next : at.head) = &job;
    at.tail = &job;
    job.queued = true;
    ++size;
  }
  void erase(pool_job& job) noexcept {
    auto found = levels.find(job.options.priority);
    auto& at = found->second;
    (job.previous != nullptr ? job.previous->next : at.head) = job.next;
    (job.next != nullptr ? job.next->previous : at.tail) = job.previous;
    job.queued = false;
    --size;
    if (at.head == nullptr && found->first != 0) levels.erase(found);
  }
  pool_job* pop() noexcept {
    for (auto& [priority, at] : levels) {
      if (auto* job = at.head) {
        erase(*job);
        return job;
      }
    }
    return nullptr;
  }
  steady_clock::time_point oldest() const noexcept {
    auto first = steady_clock::time_point::max();
    for (const auto& [priority, at] : levels) {
      if (at.head != nullptr) first = std::min(first, at.head->submitted);
    }
    return first;
  }
};

}  // namespace

class pool_state : public std::enable_shared_from_this<pool_state> {
 public:
  explicit pool_state(worker_pool_options given) : options(std::move(given)) {
    if (options.threads == 0) options.threads = available_parallelism();
    options.runtime = one_worker(options.runtime);
  }
  pool_state(const pool_state&) = delete;
  pool_state& operator=(const pool_state&) = delete;
  ~pool_state() = default;

  void start_threads();
  bool enter(pool_job& job, fiber& owner, wake_ups& due);
  bool withdraw(pool_job& job) noexcept;

  // On a pool's thread.
  void came_up(pool_thread& t) noexcept;
  bool take(pool_thread& t, fiber& f, bool& stopped) noexcept;
  bool unpark(pool_thread& t) noexcept;
  void finished(pool_thread& t, bool crashed) noexcept;
  void ended(pool_thread& t, worker_exit_reason reason, std::exception_ptr why) noexcept;

  bool holds(pool_event what) const noexcept;
  void close(bool keep_queued) noexcept;
  void stop_running() noexcept;
  std::size_t leave(bool wait_for_them, nanoseconds patience) noexcept;
  worker_pool_statistics statistics() const;

  worker_pool_options options;
  mutable std::mutex mutex;
  std::exception_ptr init_error;
  std::array<waiter_list, 3> waiting;
  bool closed = false;

 private:
  void add_thread(unsigned index);
  void replace(pool_thread& t, wake_ups& due) noexcept;
  void begin(pool_thread& t, pool_job& job) noexcept;
  void settle(pool_job& job, pool_job::outcome how, wake_ups& due) noexcept;
  void refuse_queued(pool_job::outcome how, wake_ups& due) noexcept;
  void ask_to_stop(pool_job& job, pool_job::outcome verdict) noexcept;
  void count(pool_job& job) noexcept;
  void notice(wake_ups& due) noexcept;
  void remove_idle(pool_thread& t) noexcept;
  bool dead() const noexcept { return serving_ == 0 && starting_ == 0; }
  void supervise();
  void overrun(wake_ups& due) noexcept;
  void reap(std::list<std::unique_ptr<pool_thread>>& into) noexcept;

  std::list<std::unique_ptr<pool_thread>> threads_;
  std::uint64_t next_id_ = 0;
  job_queue queue_;
  pool_thread* idle_head_ = nullptr;
  pool_thread* idle_tail_ = nullptr;
  std::size_t idle_ = 0, serving_ = 0, starting_ = 0, alive_ = 0, stuck_ = 0, active_ = 0;
  std::uint64_t completed_ = 0, failed_ = 0, timed_out_ = 0, cancelled_ = 0, terminated_ = 0, rejected_ = 0;
  std::uint64_t replaced_ = 0;
  std::condition_variable all_ended_;

  native_thread supervisor_;
  std::condition_variable deadline_;
  steady_clock::time_point watched_until_ = steady_clock::time_point::max();
  bool supervisor_ends_ = false;
};

namespace {

/// A thread's wait for its next job.
class [[nodiscard]] next_job : private weir::detail::wait {
 public:
  next_job(pool_state& pool, pool_thread& t) noexcept : pool_(&pool), thread_(&t) {}

  bool await_ready() const noexcept { return false; }
  template <weir::detail::weir_promise P>
  bool await_suspend(std::coroutine_handle<P> h) noexcept {
    auto& f = *h.promise().running;
    stopped_ = !f.block(*this, h);
    if (stopped_) return false;
    if (!pool_->take(*thread_, f, stopped_)) return true;
    f.unblock();
    return !stopped_ && weir::detail::yield_if_spent(f, h);
  }
  /// Null: the thread is to end.
  pool_job* await_resume() const noexcept { return stopped_ ? nullptr : thread_->current; }

 private:
  bool interrupt(fiber&) noexcept override {
    stopped_ = pool_->unpark(*thread_);
    return stopped_;
  }
  const char* what() const noexcept override { return "worker_pool thread"; }

  pool_state* pool_;
  pool_thread* thread_;
  bool stopped_ = false;
};

task<> run_job(pool_thread& t, pool_job& job) {
  auto ended = co_await attempt(with_scope([&t, &job](scope& s) -> task<> {
    t.stop.aim(s);
    co_await job.execute();
  }));
  t.stop.rest();
  if (!ended) job.fail(ended.failure());
}

task<> serve(pool_state& pool, pool_thread& t) {
  auto& self = co_await weir::detail::this_fiber{};
  t.stop.open(self);
  if (pool.options.init) co_await pool.options.init(t.index);
  pool.came_up(t);
  while (auto* job = co_await next_job(pool, t)) {
    co_await run_job(t, *job);
    pool.finished(t, self.must_stop());
  }
  co_await t.stop.close();
}

void run_thread(const std::shared_ptr<pool_state>& pool, pool_thread& t) noexcept {
  this_pool_thread() = &t;
  std::exception_ptr why;
  try {
    runtime(pool->options.runtime).block_on(serve(*pool, t));
  } catch (...) {
    why = std::current_exception();
  }
  auto reason = worker_exit_reason::shut_down;
  {
    std::lock_guard lock(pool->mutex);
    if (t.retired) {
      reason = worker_exit_reason::retired;
    } else if (why) {
      reason = t.serves ? worker_exit_reason::crashed : worker_exit_reason::init_failed;
    }
  }
  if (pool->options.on_worker_exit) pool->options.on_worker_exit({t.index, t.id, reason, why});
  pool->ended(t, reason, why);
}

}  // namespace

void pool_state::start_threads() {
  std::lock_guard lock(mutex);
  for (unsigned i = 0; i < options.threads; ++i) add_thread(i);
}

void pool_state::add_thread(unsigned index) {
  auto made = std::make_unique<pool_thread>();
  auto& t = *made;
  t.index = index;
  t.id = next_id_++;
  threads_.push_back(std::move(made));
  try {
    t.handle = native_thread([self = shared_from_this(), &t] { run_thread(self, t); },
                             {.name = options.name, .stack_size = options.stack_size});
  } catch (...) {
    threads_.pop_back();
    throw;
  }
  ++starting_;
  ++alive_;
}

// A replacement for one that no longer serves. Where the system has no thread for it the pool goes on with fewer.
void pool_state::replace(pool_thread& t, wake_ups& due) noexcept {
  if (closed) return;
  try {
    add_thread(t.index);
    ++replaced_;
  } catch (...) {
    if (!init_error) init_error = std::current_exception();
    if (dead()) refuse_queued(pool_job::outcome::init_failed, due);
  }
}

// @return false if the job's owner is not to wait: `how` says why
bool pool_state::enter(pool_job& job, fiber& owner, wake_ups& due) {
  auto refuse = [&](pool_job::outcome why) {
    job.how = why;
    if (why == pool_job::outcome::full) ++rejected_;
    return false;
  };
  if (owner.must_stop()) return refuse(pool_job::outcome::stopped);
  if (closed) return refuse(pool_job::outcome::closed);
  if (dead()) return refuse(pool_job::outcome::init_failed);
  if (!job.options.timeout) job.options.timeout = options.job_timeout;
  job.submitted = steady_clock::now();
  job.owner = &owner;
  if (auto* t = idle_head_) {
    remove_idle(*t);
    begin(*t, job);
    due.add(*t);
  } else {
    if (queue_.size >= options.queue_limit) return refuse(pool_job::outcome::full);
    queue_.push(job);
  }
  job.retain();
  return true;
}

void pool_state::begin(pool_thread& t, pool_job& job) noexcept {
  t.current = &job;
  t.stopping.store(false, std::memory_order_relaxed);
  job.on = &t;
  job.started = steady_clock::now();
  ++active_;
  auto limit = *job.options.timeout;
  if (limit <= nanoseconds(0) || limit > steady_clock::time_point::max() - job.started) return;
  job.deadline = job.started + limit;
  if (job.deadline >= watched_until_) return;
  watched_until_ = job.deadline;
  deadline_.notify_one();
  if (supervisor_.joinable()) return;
  try {
    supervisor_ = native_thread([this] { supervise(); }, {.name = options.name + "-time"});
  } catch (...) {
    watched_until_ = steady_clock::time_point::max();  // no thread to be had: the next job tries again
  }
}

// The owner was cancelled. @return true if its wait is over
bool pool_state::withdraw(pool_job& job) noexcept {
  wake_ups due;
  std::lock_guard lock(mutex);
  if (job.settled || (!job.queued && job.on == nullptr)) return false;
  if (!job.queued) {
    ask_to_stop(job, pool_job::outcome::stopped);
    return false;
  }
  queue_.erase(job);
  job.how = pool_job::outcome::stopped;
  job.settled = true;
  ++cancelled_;
  job.release();
  notice(due);
  return true;
}

void pool_state::ask_to_stop(pool_job& job, pool_job::outcome verdict) noexcept {
  if (job.verdict == pool_job::outcome::pending) job.verdict = verdict;
  job.on->stopping.store(true, std::memory_order_relaxed);
  job.on->stop.request();
}

void pool_state::settle(pool_job& job, pool_job::outcome how, wake_ups& due) noexcept {
  job.how = how;
  job.settled = true;
  job.retain();
  due.add(job);
}

void pool_state::count(pool_job& job) noexcept {
  switch (job.how) {
    case pool_job::outcome::timed_out: ++timed_out_; break;
    case pool_job::outcome::stopped: ++cancelled_; break;
    case pool_job::outcome::done: ++(job.failed() == nullptr ? completed_ : failed_); break;
    default: ++terminated_; break;
  }
}

void pool_state::refuse_queued(pool_job::outcome how, wake_ups& due) noexcept {
  while (auto* job = queue_.pop()) {
    settle(*job, how, due);
    count(*job);
    job->release();
  }
  notice(due);
}

void pool_state::came_up(pool_thread& t) noexcept {
  wake_ups due;
  std::lock_guard lock(mutex);
  t.serves = true;
  --starting_;
  ++serving_;
  notice(due);
}

// @param parked what to tell the thread if it is not to wait: true, it is to end
// @return false if it waits
bool pool_state::take(pool_thread& t, fiber& f, bool& stopped) noexcept {
  std::lock_guard lock(mutex);
  stopped = t.retired || f.must_stop();
  if (stopped) return true;
  if (auto* job = queue_.pop()) {
    begin(t, *job);
    return true;
  }
  stopped = closed;
  if (stopped) return true;
  t.parked = &f;
  t.next_idle = nullptr;
  (idle_tail_ != nullptr ? idle_tail_->next_idle : idle_head_) = &t;
  idle_tail_ = &t;
  ++idle_;
  return false;
}

void pool_state::remove_idle(pool_thread& t) noexcept {
  pool_thread* before = nullptr;
  for (auto* each = idle_head_; each != &t; each = each->next_idle) before = each;
  (before != nullptr ? before->next_idle : idle_head_) = t.next_idle;
  if (idle_tail_ == &t) idle_tail_ = before;
  --idle_;
}

bool pool_state::unpark(pool_thread& t) noexcept {
  std::lock_guard lock(mutex);
  if (t.parked == nullptr) return false;
  remove_idle(t);
  t.parked = nullptr;
  return true;
}

// A job that was told to stop, and ended because of that, has the outcome of whoever told it.
void pool_state::finished(pool_thread& t, bool crashed) noexcept {
  wake_ups due;
  std::lock_guard lock(mutex);
  auto& job = *std::exchange(t.current, nullptr);
  t.stopping.store(false, std::memory_order_relaxed);
  ++t.jobs;
  t.busy_time += steady_clock::now() - job.started;
  const auto* why = job.failed();
  if (why != nullptr) ++t.failed;
  if (!job.settled) {
    --active_;
    auto how = pool_job::outcome::done;
    if (why != nullptr && why->is_cancelled()) {
      if (job.verdict != pool_job::outcome::pending)
        how = job.verdict;
      else if (crashed)
        how = pool_job::outcome::terminated;
    }
    settle(job, how, due);
    count(job);
  }
  job.release();
  notice(due);
}

void pool_state::ended(pool_thread& t, worker_exit_reason reason, std::exception_ptr why) noexcept {
  std::list<std::unique_ptr<pool_thread>> gone;
  {
    wake_ups due;
    std::lock_guard lock(mutex);
    if (reason == worker_exit_reason::init_failed) {
      --starting_;
      if (!init_error) init_error = std::move(why);
    } else if (t.retired) {
      --stuck_;
    } else {
      --serving_;
    }
    t.serves = false;
    if (reason == worker_exit_reason::crashed) replace(t, due);
    if (dead() && !closed) refuse_queued(pool_job::outcome::init_failed, due);
    reap(gone);
    t.ended = true;
    --alive_;
    notice(due);
    if (alive_ == 0) all_ended_.notify_all();
  }
}

// Takes out the threads that have ended. They are joined as the list goes, which must be without the lock.
void pool_state::reap(std::list<std::unique_ptr<pool_thread>>& into) noexcept {
  for (auto each = threads_.begin(); each != threads_.end();) {
    auto at = each++;
    if ((*at)->ended) into.splice(into.end(), threads_, at);
  }
}

bool pool_state::holds(pool_event what) const noexcept {
  switch (what) {
    case pool_event::ready: return starting_ == 0;
    case pool_event::drained: return queue_.size == 0 && active_ == 0;
    case pool_event::ended: return alive_ == 0;
  }
  return true;
}

void pool_state::notice(wake_ups& due) noexcept {
  for (auto what : {pool_event::ready, pool_event::drained, pool_event::ended}) {
    auto i = static_cast<std::size_t>(what);
    if (due.lists[i].empty() && !waiting[i].empty() && holds(what)) due.lists[i] = waiting[i].take();
  }
}

void pool_state::close(bool keep_queued) noexcept {
  wake_ups due;
  std::lock_guard lock(mutex);
  closed = true;
  if (!keep_queued) refuse_queued(pool_job::outcome::terminated, due);
  while (auto* t = idle_head_) {
    remove_idle(*t);
    due.add(*t);
  }
}

void pool_state::stop_running() noexcept {
  wake_ups due;
  std::lock_guard lock(mutex);
  refuse_queued(pool_job::outcome::terminated, due);
  for (auto& t : threads_) {
    auto* job = t->current;
    if (job == nullptr) continue;
    ask_to_stop(*job, pool_job::outcome::terminated);
    if (job->settled || job->borrows) continue;
    --active_;
    settle(*job, pool_job::outcome::terminated, due);
    count(*job);
  }
  notice(due);
}

// Joins the threads that have ended and lets the others go. @return their number
std::size_t pool_state::leave(bool wait_for_them, nanoseconds patience) noexcept {
  std::list<std::unique_ptr<pool_thread>> gone;
  native_thread time;
  std::size_t left = 0;
  {
    std::unique_lock lock(mutex);
    if (wait_for_them) all_ended_.wait_for(lock, patience, [this] { return alive_ == 0; });
    supervisor_ends_ = true;
    deadline_.notify_one();
    time = std::move(supervisor_);
    reap(gone);
    for (auto& t : threads_) {
      t->handle.detach();
      ++left;
    }
  }
  return left;
}

void pool_state::supervise() {
  std::unique_lock lock(mutex);
  while (!supervisor_ends_) {
    if (watched_until_ == steady_clock::time_point::max()) {
      deadline_.wait(lock);
    } else {
      deadline_.wait_until(lock, watched_until_);
    }
    if (supervisor_ends_) return;
    std::list<std::unique_ptr<pool_thread>> gone;
    {
      wake_ups due;
      overrun(due);
      reap(gone);
      lock.unlock();
    }
    gone.clear();
    lock.lock();
  }
}

// Ends the patience of owners whose jobs have overrun, and notes when to look again.
void pool_state::overrun(wake_ups& due) noexcept {
  auto now = steady_clock::now();
  watched_until_ = steady_clock::time_point::max();
  for (auto& t : threads_) {  // grows by the replacements, which have no job yet
    auto* job = t->current;
    if (job == nullptr || job->settled || job->deadline == steady_clock::time_point()) continue;
    if (job->deadline > now) {
      watched_until_ = std::min(watched_until_, job->deadline);
      continue;
    }
    ask_to_stop(*job, pool_job::outcome::timed_out);
    --active_;
    settle(*job, pool_job::outcome::timed_out, due);
    count(*job);
    t->retired = true;
    --serving_;
    ++stuck_;
    replace(*t, due);
  }
  notice(due);
}

worker_pool_statistics pool_state::statistics() const {
  worker_pool_statistics all;
  std::lock_guard lock(mutex);
  all.total = serving_ + starting_;
  all.idle = idle_;
  all.busy = all.total - all.idle;
  all.stuck = stuck_;
  all.queued = queue_.size;
  all.active = active_;
  if (auto since = queue_.oldest(); since != steady_clock::time_point::max()) {
    all.head_age = steady_clock::now() - since;
  }
  all.completed = completed_;
  all.failed = failed_;
  all.timed_out = timed_out_;
  all.cancelled = cancelled_;
  all.terminated = terminated_;
  all.rejected = rejected_;
  all.replaced = replaced_;
  for (const auto& t : threads_) {
    if (t->ended || t->retired) continue;
    all.threads.push_back({t->index, t->id, t->parked == nullptr, t->jobs, t->failed, t->busy_time});
  }
  std::sort(all.threads.begin(), all.threads.end(), [](auto& a, auto& b) { return a.index < b.index; });
  return all;
}

bool pool_wait::submit(fiber& f, std::coroutine_handle<> h) {
  job_->how = pool_job::outcome::stopped;
  if (!f.block(*this, h)) return false;
  wake_ups due;
  std::unique_lock lock(pool_->mutex);
  job_->how = pool_job::outcome::pending;
  bool waits = false;
  try {
    waits = pool_->enter(*job_, f, due);
  } catch (...) {
    job_->how = pool_job::outcome::full;  // no memory for its place in the queue
  }
  lock.unlock();
  if (!waits) f.unblock();
  return waits;
}

bool pool_wait::interrupt(fiber&) noexcept { return pool_->withdraw(*job_); }

failure pool_wait::why() const {
  switch (job_->how) {
    case pool_job::outcome::stopped: return cancelled();
    case pool_job::outcome::timed_out:
      return error(errc::err_timeout,
                   fmt::format("worker_pool: the job has not ended within {} ms",
                               std::chrono::duration_cast<std::chrono::milliseconds>(*job_->options.timeout).count()));
    case pool_job::outcome::full:
      return error(errc::err_queue_full, fmt::format("worker_pool: {} jobs wait already", pool_->options.queue_limit));
    case pool_job::outcome::closed: return error(errc::err_closed, "worker_pool: the pool has been shut down");
    case pool_job::outcome::init_failed: {
      std::lock_guard lock(pool_->mutex);
      auto made = error(errc::err_worker_init_failed, "worker_pool: no thread could be set up");
      return failure(attach(std::make_exception_ptr(made), {pool_->init_error}));
    }
    default: return error(errc::err_worker_terminated, "worker_pool: the thread ended before the job did");
  }
}

bool pool_event_awaiter::suspend(fiber& f, std::coroutine_handle<> h) noexcept {
  place_.stopped = !f.block(*this, h);
  if (place_.stopped) return false;
  place_.who = &f;
  std::unique_lock lock(pool_->mutex);
  place_.stopped = f.must_stop();
  if (!place_.stopped && !pool_->holds(event_)) {
    pool_->waiting[static_cast<std::size_t>(event_)].push(place_);
    return true;
  }
  lock.unlock();
  f.unblock();
  return !place_.stopped && weir::detail::yield_if_spent(f, h);
}

bool pool_event_awaiter::interrupt(fiber&) noexcept {
  std::lock_guard lock(pool_->mutex);
  return pool_->waiting[static_cast<std::size_t>(event_)].give_up(place_);
}

const char* pool_event_awaiter::what() const noexcept {
  switch (event_) {
    case pool_event::ready: return "worker_pool ready";
    case pool_event::drained: return "worker_pool drain";
    default: return "worker_pool end";
  }
}

result<void> pool_event_awaiter::try_resume() {
  if (place_.stopped) return failure(cancelled());
  if (event_ != pool_event::ready) return {};
  std::lock_guard lock(pool_->mutex);
  if (!pool_->init_error) return {};
  auto made = error(errc::err_worker_init_failed,
                    "worker_pool: a thread could not be set up: " + failure(pool_->init_error).message());
  return failure(attach(std::make_exception_ptr(made), {pool_->init_error}));
}

}  // namespace detail

worker_pool::worker_pool(worker_pool_options options)
    : state_(std::make_shared<detail::pool_state>(std::move(options))) {
  try {
    state_->start_threads();
  } catch (...) {
    state_->close(false);
    state_->leave(true, std::chrono::nanoseconds::max());
    throw;
  }
}

worker_pool::~worker_pool() {
  state_->close(false);
  state_->stop_running();
  state_->leave(true, std::chrono::seconds(1));
}

detail::pool_event_awaiter worker_pool::ready() { return {*state_, detail::pool_event::ready}; }
detail::pool_event_awaiter worker_pool::drain() { return {*state_, detail::pool_event::drained}; }

task<std::size_t> worker_pool::shutdown(worker_pool_shutdown options) {
  auto pool = state_;
  auto event = [&pool](detail::pool_event what) { return detail::pool_event_awaiter(*pool, what); };
  pool->close(options.finish_queued);
  if (options.grace > std::chrono::nanoseconds(0)) {
    static_cast<void>(co_await attempt(timeout(options.grace, event(detail::pool_event::drained))));
  }
  pool->stop_running();
  static_cast<void>(co_await attempt(shield(timeout(options.abandon_after, event(detail::pool_event::ended)))));
  co_return pool->leave(false, {});
}

std::size_t worker_pool::size() const noexcept { return state_->options.threads; }

worker_pool_statistics worker_pool::statistics() const { return state_->statistics(); }

bool job_stopping() noexcept {
  auto* here = detail::this_pool_thread();
  return here != nullptr && here->stopping.load(std::memory_order_relaxed);
}

}  // namespace weir::sync
