#include <weir/core/blocking.hpp>

#include <weir/core/blocking_pool.hpp>
#include <weir/core/worker.hpp>

#include <algorithm>
#include <chrono>
#include <string>
#include <system_error>

#include <pthread.h>
#include <signal.h>  // NOLINT: for what POSIX has beyond <csignal>

namespace weir::detail {
namespace {

// A thread that has had nothing to do for this long ends.
constexpr auto idle_limit = std::chrono::seconds(10);

}  // namespace

blocking_pool::~blocking_pool() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  for (auto& thread : threads_) thread.join();
}

bool blocking_pool::submit(blocking_job& job, bool& stopped) noexcept {
  std::lock_guard lock(mutex_);
  stopped = job.waiter != nullptr &&
            job.waiter->must_stop();  // a canceller that came before the lock has found nothing to withdraw
  if (stopped) return false;
  if (queued_ >= queue_limit_) return false;
  if (idle_ <= queued_ && alive_ < limit_ && !add_thread() && alive_ == 0) return false;
  job.previous = tail_;
  job.next = nullptr;
  (tail_ != nullptr ? tail_->next : head_) = &job;
  tail_ = &job;
  job.queued = true;
  ++queued_;
  wake_.notify_one();
  return true;
}

bool blocking_pool::withdraw(blocking_job& job) noexcept {
  std::lock_guard lock(mutex_);
  if (!job.queued) return false;
  (job.previous != nullptr ? job.previous->next : head_) = job.next;
  (job.next != nullptr ? job.next->previous : tail_) = job.previous;
  job.queued = false;
  --queued_;
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
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  bool made = true;
  try {
    threads_.emplace_back([this, number = made_] { serve(number); });
    ++made_;
    ++alive_;
  } catch (const std::system_error&) {
    made = false;
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return made;
}

blocking_job* blocking_pool::take() noexcept {
  auto* job = head_;
  head_ = job->next;
  (head_ != nullptr ? head_->previous : tail_) = nullptr;
  job->queued = false;
  --queued_;
  return job;
}

void blocking_pool::serve(unsigned number) {
  pthread_setname_np(pthread_self(), ("weir-block-" + std::to_string(number)).c_str());
  std::unique_lock lock(mutex_);
  for (;;) {
    ++idle_;
    bool woken = wake_.wait_for(lock, idle_limit, [this] { return stopping_ || head_ != nullptr; });
    --idle_;
    if (head_ == nullptr) {
      if (!stopping_ && woken) continue;
      break;
    }
    auto* job = take();
    lock.unlock();
    auto* waiter = job->waiter;
    job->run(*job);
    if (waiter != nullptr) wake(*waiter);  // the job is gone then
    lock.lock();
  }
  --alive_;
  if (!stopping_) ended_.push_back(std::this_thread::get_id());
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
