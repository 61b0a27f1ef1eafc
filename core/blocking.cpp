#include <weir/core/blocking.hpp>

#include <weir/core/blocking_pool.hpp>
#include <weir/core/signals_blocked.hpp>
#include <weir/core/spin_lock.hpp>
#include <weir/core/worker.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <string>
#include <system_error>

#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>

namespace weir::detail {
namespace {

// A thread that has had nothing to do for this long ends.
constexpr auto idle_limit = std::chrono::seconds(10);

// Threads are called until together they end a function this often: functions that sleep for a millisecond get fifty.
// Short ones share a few, as more would only stand in each other's way, in the lock of a directory
// say. perf/micro/files on /dev/shm, 2 CPUs, 64 at a time, wall / CPU ns of a 1 KiB file: create 5350 / 9830 (one
// thread for all: 10600 / 11500), read 3070 / 5840 (5500 / 6000; a thread for each: 15000 / 27900), unlink 4370 / 7160
// (7200 / 7800; a thread for each: 16900 / 30700).
constexpr auto pace = std::chrono::microseconds(20);

// Waiters of short functions may be told together within this time: a worker that is woken for each costs as much as
// they do. perf/micro/files, CPU ns with 50 us and 200 us: stat 3000 and 2750, read 7140 and 6100, create 14400 and
// 13100.
constexpr auto held_limit = std::chrono::microseconds(200);

// Between two looks of the watcher. One costs about 5 us, so 1 % of a CPU while functions wait.
constexpr auto tick = std::chrono::microseconds(500);

// Short functions that wait are worth a thread for each such piece of work; this many at most, and no more than there
// are processors.
constexpr auto backlog_for_thread = std::chrono::microseconds(20);
constexpr unsigned most_for_short = 4;

rusage usage_of_thread() noexcept {
  rusage now;  // NOLINT: the system fills it in
  ::getrusage(RUSAGE_THREAD, &now);
  return now;
}

}  // namespace

// What a function has taken tells nothing where the thread was not let run meanwhile: more threads would only fight for
// the processors. The system is asked only after a long one.
struct blocking_pool::thread_state {
  clock::time_point seen = clock::now();
  rusage usage = usage_of_thread();
  int cpu = ::sched_getcpu();
  thread_state* next = nullptr;  // of those that are busy

  clock::duration lap() noexcept {
    const auto now = clock::now();
    const auto took = now - std::exchange(seen, now);
    if (took < 2 * pace) return took;
    const auto before = std::exchange(usage, usage_of_thread());
    const bool pushed_aside = usage.ru_nivcsw != before.ru_nivcsw && usage.ru_nvcsw == before.ru_nvcsw;
    return pushed_aside ? clock::duration(0) : took;
  }
};

namespace {

// The system leaves two busy threads on one processor for milliseconds where another one only has the worker to run.
// perf/micro/files beside a compiler, wall ns with this and without: create 6450 and 8770, unlink 5840 and 6950.
void leave_processor(int cpu) noexcept {
  cpu_set_t allowed;
  if (::sched_getaffinity(0, sizeof allowed, &allowed) != 0 || CPU_COUNT(&allowed) < 2) return;
  cpu_set_t others = allowed;
  CPU_CLR(static_cast<std::size_t>(cpu), &others);
  if (::sched_setaffinity(0, sizeof others, &others) == 0) ::sched_setaffinity(0, sizeof allowed, &allowed);
}

}  // namespace

blocking_pool::blocking_pool(unsigned threads, std::size_t queue) noexcept
    : limit_(std::max(threads, 1U)),
      few_(std::clamp(std::min(std::thread::hardware_concurrency(), most_for_short), 1U, limit_)),
      queue_limit_(queue) {}

blocking_pool::~blocking_pool() {
  {
    auto lock = locked();
    stopping_ = true;
  }
  wake_.notify_all();
  tick_.notify_all();
  for (auto& thread : threads_) thread.join();
}

// The sections are short: whoever finds it taken gets it sooner by looking again than by sleeping.
blocking_pool::lock_type blocking_pool::locked() const noexcept {
  for (int i = 0; i < 100; ++i) {
    if (lock_type lock(mutex_, std::try_to_lock); lock) return lock;
    cpu_relax();
  }
  return lock_type(mutex_);
}

bool blocking_pool::submit(blocking_job& job, bool& stopped) noexcept {
  auto lock = locked();
  stopped = job.waiter != nullptr &&
            job.waiter->must_stop();  // a canceller that came before the lock has found nothing to withdraw
  if (stopped) return false;
  if (queued_ >= queue_limit_) return false;
  job.previous = tail_;
  job.next = nullptr;
  (tail_ != nullptr ? tail_->next : head_) = &job;
  tail_ = &job;
  job.queued = true;
  ++queued_;
  if (!lacks_thread()) return true;
  auto called = call_thread();
  if (called == call::failed && alive_ == 0) {
    remove(job);
    return false;
  }
  lock.unlock();
  if (called == call::notify) wake_.notify_one();
  return true;
}

void blocking_pool::remove(blocking_job& job) noexcept {
  (job.previous != nullptr ? job.previous->next : head_) = job.next;
  (job.next != nullptr ? job.next->previous : tail_) = job.previous;
  job.queued = false;
  --queued_;
}

bool blocking_pool::withdraw(blocking_job& job) noexcept {
  auto lock = locked();
  if (!job.queued) return false;
  remove(job);
  return true;
}

unsigned blocking_pool::threads() const noexcept {
  std::lock_guard lock(mutex_);
  return alive_;
}

std::size_t blocking_pool::queued() const noexcept {
  std::lock_guard lock(mutex_);
  return queued_;
}

// Under the lock. Signals are for the threads that the program has made itself.
bool blocking_pool::add_thread() noexcept {
  for (auto ended : std::exchange(ended_, {})) {
    auto place = std::find_if(threads_.begin(), threads_.end(), [&](auto& t) { return t.get_id() == ended; });
    place->join();
    threads_.erase(place);
  }
  signals_blocked quiet;
  try {
    threads_.emplace_back([this, number = made_] { serve(number); });
    ++made_;
    ++alive_;
    return true;
  } catch (const std::system_error&) {
    return false;
  }
}

// How many threads functions that take so long are worth.
unsigned blocking_pool::by_time() const noexcept { return static_cast<unsigned>(usual_ / pace); }

// How many threads are to be busy with what is there.
unsigned blocking_pool::wanted() const noexcept {
  const auto backlog = static_cast<unsigned>(std::min<std::size_t>(queued_, limit_) * usual_ / backlog_for_thread);
  return std::clamp(std::max(std::min(backlog, few_), by_time()) + more_, 1U, limit_);
}

// How many may go on with it: a few until the queue is empty, or they would come and go with every function.
unsigned blocking_pool::bearable() const noexcept { return std::clamp(std::max(few_, by_time()) + more_, 1U, limit_); }

bool blocking_pool::lacks_thread() const noexcept {
  if (head_ == nullptr) return false;
  const unsigned expected = called_ + coming_;
  return busy_ + expected < wanted() || (!watched_ && expected == 0 && telling_ == 0);
}

// Under the lock. An idle thread is to be notified; a new one comes by itself.
blocking_pool::call blocking_pool::call_thread() noexcept {
  if (idle_ > called_) {
    ++called_;
    return call::notify;
  }
  if (alive_ == limit_) return call::none;
  if (!add_thread()) return call::failed;
  ++coming_;
  return call::none;
}

void blocking_pool::serve(unsigned number) {
  pthread_setname_np(pthread_self(), ("weir-block-" + std::to_string(number)).c_str());
  auto lock = locked();
  --coming_;
  for (;;) {
    if (head_ != nullptr && (busy_ < wanted() || alive_ == 1)) {
      work(lock);
    } else if (head_ != nullptr && !watched_ && !stopping_) {
      watch(lock);
    } else if (!wait_idle(lock)) {
      break;
    }
  }
  --alive_;
  if (!stopping_) ended_.push_back(std::this_thread::get_id());
}

/// @return false if the thread is to end
bool blocking_pool::wait_idle(lock_type& lock) noexcept {
  if (stopping_) return false;
  ++idle_;
  const bool woken = wake_.wait_for(lock, idle_limit);
  --idle_;
  if (called_ > 0) {
    --called_;
    return true;
  }
  return woken || head_ != nullptr;
}

// Under the lock. @return the processor that this one of the few is to leave to another, or -1
int blocking_pool::shared_processor(thread_state& state) const noexcept {
  state.cpu = ::sched_getcpu();
  if (busy_ == 1 || busy_ > few_) return -1;
  for (auto* each = states_; each != nullptr; each = each->next) {
    if (each != &state && each->cpu == state.cpu) return std::exchange(state.cpu, -1);
  }
  return -1;
}

// Takes what is in the queue, until it is empty.
void blocking_pool::work(lock_type& lock) noexcept {
  ++busy_;
  thread_state state;
  state.next = std::exchange(states_, &state);
  for (;;) {
    while (head_ != nullptr && busy_ <= bearable()) {
      auto* job = take();
      const bool more = lacks_thread() && call_thread() == call::notify;
      const int crowded = shared_processor(state);
      if (holds_back(state.seen)) {
        lock.unlock();
      } else {
        tell_all(lock);
      }
      if (more) wake_.notify_one();
      if (crowded >= 0) leave_processor(crowded);
      make(lock, *job, state);
    }
    if (head_ == nullptr) more_ = 0;
    if (finished_ == nullptr) break;
    ++telling_;  // and will look at the queue again
    tell_all(lock);
    lock = locked();
    --telling_;
  }
  auto** place = &states_;
  while (*place != &state) place = &(*place)->next;
  *place = state.next;
  --busy_;
}

bool blocking_pool::holds_back(clock::time_point now) const noexcept {
  return watched_ && untold_ < queued_ && now - first_untold_ < held_limit;
}

void blocking_pool::make(lock_type& lock, blocking_job& job, thread_state& state) noexcept {
  const bool awaited = job.waiter != nullptr;  // else the job is gone once it has run
  job.run(job);
  const auto took = state.lap();
  lock = locked();
  usual_ += (std::min<clock::duration>(took, limit_ * pace) - usual_) / 8;
  if (!awaited) return;
  job.next = std::exchange(finished_, &job);
  if (untold_++ == 0) first_untold_ = state.seen;
}

// Leaves the lock. Waking a worker that sleeps costs more than a short function, and the worker as much again; one that
// is awake would look at each waiter alone. The jobs are gone afterwards.
void blocking_pool::tell_all(lock_type& lock) noexcept {
  auto* newest = std::exchange(finished_, nullptr);
  untold_ = 0;
  lock.unlock();
  blocking_job* oldest = nullptr;
  while (newest != nullptr) {
    auto* next = std::exchange(newest->next, oldest);
    oldest = std::exchange(newest, next);
  }
  std::array<fiber*, 64> stealable;  // handed to the workers together
  std::uint32_t count = 0;
  executor* home = nullptr;
  while (oldest != nullptr) {
    auto& waiter = *oldest->waiter;
    oldest = oldest->next;
    if (waiter.has(fiber::affine)) {
      wake(waiter);
      continue;
    }
    waiter.unblock();
    home = &waiter.on->home();
    stealable[count++] = &waiter;
    if (count == stealable.size()) home->inject(stealable.data(), std::exchange(count, 0));
  }
  if (count != 0) home->inject(stealable.data(), count);
}

// Until the queue is empty, or until this thread is needed to empty it. Waiters are held back only while somebody
// watches, so none waits longer than a tick for a function of somebody else's.
void blocking_pool::watch(lock_type& lock) noexcept {
  watched_ = true;
  while (head_ != nullptr && !stopping_) {
    const auto before = taken_;
    tick_.wait_for(lock, tick);
    if (finished_ != nullptr) {
      tell_all(lock);
      lock = locked();
    }
    const auto taken = taken_ - before;
    if (head_ == nullptr || taken > busy_) {
      more_ /= 2;
      continue;
    }
    more_ = std::min(more_ + std::max(busy_, 1U), limit_);
    break;
  }
  watched_ = false;
  if (finished_ == nullptr) return;  // else held back for a tick that does not come
  tell_all(lock);
  lock = locked();
}

blocking_job* blocking_pool::take() noexcept {
  auto* job = head_;
  head_ = job->next;
  (head_ != nullptr ? head_->previous : tail_) = nullptr;
  job->queued = false;
  --queued_;
  ++taken_;
  return job;
}

bool blocking_job::submit(fiber& f, std::coroutine_handle<> h) noexcept {
  waiter = &f;
  pool_ = &f.on->home().blocking();
  if (!f.block(*this, h)) {
    outcome_ = outcome::stopped;
    return false;
  }
  bool stopped = false;
  if (pool_->submit(*this, stopped)) return true;
  outcome_ = stopped ? outcome::stopped : outcome::refused;
  f.unblock();
  return false;
}

bool blocking_job::interrupt(fiber&) noexcept {
  if (!pool_->withdraw(*this)) return false;
  outcome_ = outcome::stopped;
  return true;
}

failure blocking_job::why() const noexcept {
  if (outcome_ == outcome::stopped) return failure(cancelled());
  return failure(error(errc::err_queue_full, "blocking: the queue of functions that wait for a thread is full"));
}

}  // namespace weir::detail
