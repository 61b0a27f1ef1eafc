#include <weir/sync/priority_queue.hpp>

#include <weir/core/scope.hpp>
#include <weir/core/time.hpp>

#include <algorithm>
#include <string>
#include <vector>

namespace weir::sync {

using std::chrono::nanoseconds;

namespace {

void check(bool good, const char* what) {
  if (!good) throw error(errc::err_out_of_range, std::string("priority_queue: ") + what);
}

failure cleared() { return failure(weir::cancelled("Queue cleared")); }

std::size_t index_of(priority level) {
  auto index = static_cast<std::size_t>(level);
  if (index <= static_cast<std::size_t>(priority::low)) return index;
  throw error(errc::err_invalid_arg_value, "priority_queue: there is no level " + std::to_string(index));
}

}  // namespace

priority_queue::priority_queue(priority_queue_options options) : options_(std::move(options)) {
  check(options_.concurrency != 0, "the concurrency must be at least 1");
  check(options_.attempts != 0, "there must be at least 1 attempt");
  check(options_.timeout >= nanoseconds(0), "the timeout must not be negative");
  check(options_.retry_delay >= nanoseconds(0), "the delay must not be negative");
  check(options_.max_retry_delay >= nanoseconds(0), "the longest delay must not be negative");
}

priority_queue::~priority_queue() {
  if (present_.count() != 0) detail::destroyed_in_use("priority_queue");
}

void priority_queue::pause() {
  {
    detail::spin_guard guard(lock_);
    if (std::exchange(paused_, true)) return;
  }
  if (options_.on.paused) options_.on.paused();
}

void priority_queue::resume() {
  detail::waiter_list begin;
  {
    detail::spin_guard guard(lock_);
    if (!std::exchange(paused_, false)) return;
    begin = fill_places();
  }
  detail::wake_all(begin);
  if (options_.on.resumed) options_.on.resumed();
}

std::size_t priority_queue::clear(priority level) {
  auto index = index_of(level);
  return clear_levels(index, index + 1);
}

std::size_t priority_queue::clear() { return clear_levels(0, levels); }

std::size_t priority_queue::clear_levels(std::size_t first, std::size_t last) {
  std::size_t count = 0;
  detail::waiter_list taken;
  std::vector<abort_controller> sleeping;
  detail::spin_guard guard(lock_);
  for (auto at = first; at != last; ++at) {
    auto& level = queues_[at];
    sleeping.reserve(sleeping.size() + level.held_back);
    count += level.queued + level.held_back;
    for (auto* list : {&level.retried, &level.fresh}) {
      while (auto* each = list->pop()) {
        static_cast<work*>(each)->cleared_ = true;
        taken.gather(*each);
      }
    }
    while (auto* each = static_cast<work::delay_place*>(level.delayed.pop())) {
      each->of->cleared_ = true;
      sleeping.push_back(each->cut_short);
    }
    level.queued = level.held_back = 0;
  }
  cleared_ += count;
  guard.unlock();
  detail::wake_all(taken);
  for (auto& each : sleeping) each.abort();
  return count;
}

priority_queue_stats priority_queue::stats() const {
  detail::spin_guard guard(lock_);
  priority_queue_stats now{.running = running_, .paused = paused_};
  now.queued = {queues_[0].queued, queues_[1].queued, queues_[2].queued};
  now.delayed = {queues_[0].held_back, queues_[1].held_back, queues_[2].held_back};
  now.completed = completed_;
  now.failed = failed_;
  now.retried = retried_;
  now.cleared = cleared_;
  return now;
}

std::size_t priority_queue::queued() const noexcept {
  return queues_[0].queued + queues_[1].queued + queues_[2].queued;
}

priority_queue::work* priority_queue::next() noexcept {
  for (auto& level : queues_) {
    for (auto* list : {&level.retried, &level.fresh}) {
      if (auto* first = list->pop()) {
        --level.queued;
        return static_cast<work*>(first);
      }
    }
  }
  return nullptr;
}

// Under the lock. @return those who have a place now, to be woken without it
detail::waiter_list priority_queue::fill_places() noexcept {
  detail::waiter_list begin;
  while (may_start()) {
    auto* first = next();
    if (first == nullptr) break;
    ++running_;
    first->has_place_ = true;
    begin.gather(*first);
  }
  return begin;
}

void priority_queue::leave_place(work& of) noexcept {
  detail::waiter_list begin;
  {
    detail::spin_guard guard(lock_);
    if (!std::exchange(of.has_place_, false)) return;
    --running_;
    begin = fill_places();
  }
  detail::wake_all(begin);
}

bool priority_queue::turn_awaiter::suspend(detail::fiber& f, std::coroutine_handle<> h) noexcept {
  auto& mine = *of_;
  auto& in = mine.in_;
  mine.stopped = !f.block(*this, h);
  if (mine.stopped) return false;
  mine.who = &f;
  detail::spin_guard guard(in.lock_);
  mine.stopped = f.must_stop();
  if (!mine.stopped && !mine.cleared_ && !in.may_start()) {
    auto& level = in.queues_[static_cast<std::size_t>(mine.level_)];
    ++level.queued;
    (mine.made_ == 0 ? level.fresh : level.retried).push(mine);
    return true;
  }
  bool started = !mine.stopped && !mine.cleared_;
  if (started) {
    mine.has_place_ = true;
    ++in.running_;
  }
  guard.unlock();
  f.unblock();
  return started && weir::detail::yield_if_spent(f, h);
}

bool priority_queue::turn_awaiter::interrupt(detail::fiber&) noexcept {
  auto& mine = *of_;
  detail::spin_guard guard(mine.in_.lock_);
  if (!mine.queued) return false;
  auto& level = mine.in_.queues_[static_cast<std::size_t>(mine.level_)];
  (mine.made_ == 0 ? level.fresh : level.retried).erase(mine);
  --level.queued;
  mine.stopped = true;
  return true;
}

void priority_queue::turn_awaiter::await_resume() const {
  if (of_->stopped) throw weir::cancelled();
  if (of_->cleared_) cleared().rethrow();
}

priority_queue::work::work(priority_queue& in, const priority_work_options& options, detail::fiber& runs_in)
    : in_(in),
      runs_in_(runs_in),
      level_(options.level),
      attempts_(options.attempts.value_or(in.options_.attempts)),
      timeout_(options.timeout.value_or(in.options_.timeout)) {
  index_of(level_);
  check(attempts_ != 0, "there must be at least 1 attempt");
  check(timeout_ >= nanoseconds(0), "the timeout must not be negative");
  std::size_t waiting = 0;
  {
    detail::spin_guard guard(in_.lock_);
    waiting = in_.queued();
    if (waiting >= in_.options_.max_queued && !in_.may_start()) {
      throw error(errc::err_queue_full, "priority_queue: " + std::to_string(waiting) + " wait already");
    }
  }
  in_.present_.add();
  tell(in_.options_.on.queued, level_, waiting + 1);
}

priority_queue::work::~work() {
  in_.leave_place(*this);
  in_.present_.done();
}

// What a hook throws belongs to nobody's work.
template <class... A>
void priority_queue::work::tell(const std::function<void(A...)>& hook, std::type_identity_t<A>... arguments) noexcept {
  if (!hook) return;
  try {
    hook(arguments...);
  } catch (...) {
    runs_in_.owner->enclosing_scope()->child_failed(std::current_exception());
  }
}

void priority_queue::work::completed() {
  {
    detail::spin_guard guard(in_.lock_);
    ++in_.completed_;
  }
  tell(in_.options_.on.completed, made_ + 1);
}

std::optional<nanoseconds> priority_queue::work::failed(const failure& why) {
  ++made_;
  if (runs_in_.must_stop()) return std::nullopt;
  bool again = made_ < attempts_ && (!in_.options_.retry_if || in_.options_.retry_if(why));
  {
    detail::spin_guard guard(in_.lock_);
    ++(again ? in_.retried_ : in_.failed_);
  }
  if (!again) {
    tell(in_.options_.on.failed, made_, why);
    return std::nullopt;
  }
  auto delay = next_delay();
  tell(in_.options_.on.retrying, made_, delay, why);
  return delay;
}

nanoseconds priority_queue::work::next_delay() const noexcept {
  auto delay = in_.options_.retry_delay;
  auto most = in_.options_.max_retry_delay;
  for (unsigned i = 0; i < made_ && delay < most; ++i) delay = delay > most / 2 ? most : delay * 2;
  return std::min(delay, most);
}

// `clear` finds it in the list and cuts the sleep short.
task<> priority_queue::work::back_off(nanoseconds delay) {
  delay_place place;
  place.of = this;
  auto& level = in_.queues_[static_cast<std::size_t>(level_)];
  {
    detail::spin_guard guard(in_.lock_);
    level.delayed.push(place);
    ++level.held_back;
  }
  in_.leave_place(*this);
  auto slept = co_await attempt(abortable(place.cut_short.signal(), sleep(delay)));
  {
    detail::spin_guard guard(in_.lock_);
    if (place.queued) {
      level.delayed.erase(place);
      --level.held_back;
    }
  }
  if (cleared_) cleared().rethrow();
  if (!slept) slept.failure().rethrow();
}

}  // namespace weir::sync
