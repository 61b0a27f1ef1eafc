#include <weir/core/worker.hpp>

#include <weir/core/context.hpp>

#include <algorithm>
#include <string>

#include <pthread.h>

namespace weir::detail {
namespace {

// Ready fibers resumed between two looks at the backend. Measured with 200 fibers that yield every 500 ns, one
// worker: a 1 ms timer's p99 is late by 8 us with 16, 28 with 61, 62 with 128, 275 with 512; a yield costs 11.5 ns
// with 7, 9.3 with 16, 8.1 with 61 and no less beyond.
constexpr std::uint32_t pump_interval = 61;

// Ready awaits that one resume may make before it has to let others run (tokio: 128).
constexpr std::uint32_t resume_budget = 128;

// Fibers in a row that may come from the slot of the fiber woken last (tokio: 3). Spawn and join (45 and 46 ns),
// a million spawned over two workers (264 and 263 ns) and yields cost the same with the slot and without: it is there
// for the order, so that who is woken by a message finds it in the cache.
constexpr std::uint32_t lifo_limit = 3;

// Affine fibers that may wake one another between two looks at the backend, about 200 us of them; the rest go on
// in the next poll phase, so that a ping-pong of tasks does not starve I/O. Callbacks are not counted: Node's
// starve it, and so do ours.
constexpr std::uint32_t wake_limit = 4096;

// A sleep that nobody ended is looked at after this long. Work in a queue then is a lost wake-up; a fiber in the
// slot of a worker that has been held since is taken away from it.
constexpr auto park_limit = std::chrono::milliseconds(100);

// Waits longer than this are not worth spinning for.
constexpr auto spin_worthwhile = std::chrono::microseconds(60);

[[gnu::tls_model("initial-exec")]] constinit thread_local worker* this_worker = nullptr;

constexpr std::uint64_t pack(std::uint32_t steal, std::uint32_t real) { return (std::uint64_t{steal} << 32) | real; }
constexpr std::uint32_t stealing_at(std::uint64_t head) { return static_cast<std::uint32_t>(head >> 32); }
constexpr std::uint32_t real_at(std::uint64_t head) { return static_cast<std::uint32_t>(head); }

}  // namespace

[[gnu::noinline]] worker* current_worker() noexcept { return this_worker; }

execution* current_execution() noexcept {
  worker* here = current_worker();
  return here != nullptr ? here->running() : nullptr;
}

void fiber_ended(fiber& f) noexcept { f.on->ended(f); }

void schedule(fiber& f) noexcept {
  worker* here = current_worker();
  if (f.has(fiber::affine)) {
    if (here == f.on) {
      here->push_woken(f);
    } else {
      f.on->post(ready::of(f));
    }
    return;
  }
  auto& home = f.on->home();
  if (here != nullptr && &here->home() == &home) {
    here->push_stealable(f, true);
  } else {
    home.inject(f);
  }
}

void schedule_from_poll(fiber& f, worker& on) noexcept {
  if (f.has(fiber::affine)) {
    if (f.on == &on) {
      on.push_polled(f);
    } else {
      f.on->post(ready::of(f));
    }
    return;
  }
  on.push_stealable(f, false);
}

bool yield_if_spent(fiber& f, std::coroutine_handle<> resume) noexcept {
  if (!f.on->spend()) return false;
  f.resume_at = resume;
  f.on->push_yielded(f);
  return true;
}

void start(fiber& f, worker& by) noexcept {
  f.on = &by;
  by.count.spawned.add();
  if (f.has(fiber::affine)) {
    by.push_fresh(f);
  } else {
    by.push_stealable(f, true);
  }
}

// ---- the ring

bool steal_ring::push(fiber& f) noexcept {
  auto head = head_.load(std::memory_order_acquire);
  auto tail = tail_.load(std::memory_order_relaxed);
  if (tail - stealing_at(head) >= capacity) return false;
  slots_[tail % capacity].store(&f, std::memory_order_relaxed);
  tail_.store(tail + 1, std::memory_order_release);
  return true;
}

fiber* steal_ring::pop() noexcept {
  auto head = head_.load(std::memory_order_acquire);
  for (;;) {
    auto real = real_at(head);
    if (real == tail_.load(std::memory_order_relaxed)) return nullptr;
    auto next = stealing_at(head) == real ? pack(real + 1, real + 1) : pack(stealing_at(head), real + 1);
    if (head_.compare_exchange_weak(head, next, std::memory_order_acq_rel, std::memory_order_acquire)) {
      return slots_[real % capacity].load(std::memory_order_relaxed);
    }
  }
}

fiber* steal_ring::steal_into(steal_ring& thief) noexcept {
  auto to = thief.tail_.load(std::memory_order_relaxed);
  auto head = head_.load(std::memory_order_acquire);
  std::uint32_t first = 0;
  std::uint32_t count = 0;
  for (;;) {
    if (stealing_at(head) != real_at(head)) return nullptr;  // another thief is copying
    first = real_at(head);
    auto available = tail_.load(std::memory_order_acquire) - first;
    count = available - available / 2;
    if (count == 0) return nullptr;
    count = std::min(count, capacity / 2);
    auto claimed = pack(first, first + count);
    if (head_.compare_exchange_weak(head, claimed, std::memory_order_acq_rel, std::memory_order_acquire)) break;
  }
  for (std::uint32_t i = 0; i + 1 < count; ++i) {
    auto* f = slots_[(first + i) % capacity].load(std::memory_order_relaxed);
    thief.slots_[(to + i) % capacity].store(f, std::memory_order_relaxed);
  }
  auto* last = slots_[(first + count - 1) % capacity].load(std::memory_order_relaxed);
  head = head_.load(std::memory_order_acquire);
  while (!head_.compare_exchange_weak(head, pack(real_at(head), real_at(head)), std::memory_order_acq_rel,
                                      std::memory_order_acquire)) {
  }
  if (count > 1) thief.tail_.store(to + count - 1, std::memory_order_release);
  return last;
}

std::uint32_t steal_ring::take_half(std::array<fiber*, capacity / 2>& out) noexcept {
  auto head = head_.load(std::memory_order_acquire);
  auto real = real_at(head);
  constexpr std::uint32_t half = capacity / 2;
  if (stealing_at(head) != real || tail_.load(std::memory_order_relaxed) - real < half) return 0;
  if (!head_.compare_exchange_strong(head, pack(real + half, real + half), std::memory_order_acq_rel)) return 0;
  for (std::uint32_t i = 0; i < half; ++i) out[i] = slots_[(real + i) % capacity].load(std::memory_order_relaxed);
  return half;
}

std::uint32_t steal_ring::size() const noexcept {
  auto head = head_.load(std::memory_order_seq_cst);
  return tail_.load(std::memory_order_seq_cst) - real_at(head);
}

// ---- queues

worker::worker(executor& owner, unsigned index, std::unique_ptr<backend> io)
    : executor_(owner), index_(index), shared_(owner.shared()), steals_(owner.steals()), backend_(std::move(io)) {}

void worker::push_stealable(fiber& f, bool next) noexcept {
  if (!steals_) {
    local_.push(ready::of(f));
    ++local_size_;
    return;
  }
  fiber* to_ring = &f;
  if (next) {
    to_ring = lifo_.load(std::memory_order_relaxed);
    if (to_ring == nullptr || !lifo_.compare_exchange_strong(to_ring, &f, std::memory_order_acq_rel)) {
      to_ring = lifo_.exchange(&f, std::memory_order_acq_rel);
    }
    if (to_ring == nullptr) return;
  }
  if (!ring_.push(*to_ring)) overflow(*to_ring);
  executor_.notify();
}

void worker::push_woken(fiber& f) noexcept {
  if (++woken_ <= wake_limit) {
    microtasks_.push(ready::of(f));
  } else {
    polled_.push(ready::of(f));
  }
}

void worker::push_yielded(fiber& f) noexcept {
  if (f.has(fiber::affine)) {
    polled_.push(ready::of(f));
  } else {
    push_stealable(f, false);
  }
}

void worker::overflow(fiber& f) noexcept {
  std::array<fiber*, steal_ring::capacity / 2> half;
  auto count = ring_.take_half(half);
  if (count != 0) {
    executor_.inject(half.data(), count);
    if (ring_.push(f)) return;
  }
  executor_.inject(f);
}

void worker::post(ready item) noexcept {
  executor::visit staying(executor_);
  auto head = mail_.load(std::memory_order_relaxed);
  do {
    item.place().next = head;
  } while (!mail_.compare_exchange_weak(head, item.word, std::memory_order_seq_cst, std::memory_order_relaxed));
  rouse();
}

void worker::rouse() noexcept {
  if (!asleep_.load(std::memory_order_seq_cst)) return;
  worker* here = current_worker();
  backend_->wake(here != nullptr && &here->executor_ == &executor_ ? here->backend_.get() : nullptr);
}

void worker::take_mail() noexcept {
  if (mail_.load(std::memory_order_relaxed) == 0) return;
  ready last{mail_.exchange(0, std::memory_order_acquire)};
  ready first;
  while (last) {  // newest first: turn round
    ready following{last.place().next};
    last.place().next = first.word;
    first = last;
    last = following;
  }
  while (first) {
    ready following{first.place().next};
    if (first.is_job()) {
      first.as_job().run(first.as_job(), *this);
    } else if (first.as_fiber().has(fiber::affine)) {
      polled_.push(first);
    } else {
      push_stealable(first.as_fiber(), false);
    }
    first = following;
  }
}

void worker::arm(timer_node& node, std::uint64_t deadline) noexcept {
  spin_guard guard(timers_lock_, shared_);
  timers_.insert(node, deadline);
}

// A canceller that came before the timer was armed has found nothing to stop, but its flag is seen under the lock.
bool worker::arm_for(const fiber& waiter, timer_node& node, std::uint64_t deadline) noexcept {
  spin_guard guard(timers_lock_, shared_);
  if (waiter.must_stop()) return false;
  timers_.insert(node, deadline);
  return true;
}

std::uint64_t worker::next_millisecond() const noexcept {
  auto now = std::chrono::ceil<std::chrono::milliseconds>(backend_->now().time_since_epoch());
  return static_cast<std::uint64_t>(now.count());
}

bool worker::disarm(timer_node& node) noexcept {
  spin_guard guard(timers_lock_, shared_);
  return timers_.remove(node);
}

void worker::rearm(timer_node& node, std::uint64_t deadline) noexcept {
  spin_guard guard(timers_lock_, shared_);
  if (timers_.remove(node)) timers_.insert(node, deadline);
}

// ---- running

void worker::resume(fiber& f) noexcept {
  running_fiber_ = &f;
  running_ = &f;
  f.on = this;
  budget_ = resume_budget;
  count.polls.add();
  f.resume_at.resume();
  running_fiber_ = nullptr;
  running_ = nullptr;
  if (ended_ != nullptr) {
    fiber& over = *std::exchange(ended_, nullptr);
    count.finished.add();
    over.owner->finish(over);
  }
}

void worker::call(ready item) noexcept {
  if (item.is_job()) {
    count.callbacks.add();
    item.as_job().run(item.as_job(), *this);
    running_ = nullptr;
  } else {
    resume(item.as_fiber());
  }
}

void worker::run_fresh() noexcept {
  while (ready item = fresh_.pop()) resume(item.as_fiber());
}

void worker::run_ticks() noexcept {
  while (ready item = ticks_.pop()) {
    if (item.is_job()) {
      call(item);
      run_fresh();
    } else {
      microtasks_.push(item);  // an awaited tick settles a promise; who awaits it is a reaction
    }
  }
}

void worker::run_microtasks() noexcept {
  while (ready item = microtasks_.pop()) {
    call(item);
    run_fresh();
  }
}

void worker::drain() noexcept {
  do {
    run_fresh();
    run_ticks();
    run_microtasks();
  } while (!ticks_.empty() || !fresh_.empty());
}

void worker::poll(std::chrono::nanoseconds timeout) noexcept {
  woken_ = 0;
  backend_->poll(timeout);
  take_mail();
  read_clock();
}

void worker::read_clock() noexcept {
  auto since_epoch = backend_->now().time_since_epoch();
  loop_time_ = static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(since_epoch).count());
}

void worker::poll_phase() noexcept {
  if (!microtasks_.empty()) drain();  // woken by mail or by a completion
  ready_list batch = polled_.take();
  while (ready item = batch.pop()) {
    call(item);
    drain();
  }
}

void worker::run_immediates() noexcept {
  ready_list batch = immediates_.take();
  while (ready item = batch.pop()) {
    call(item);
    drain();
  }
}

void worker::run_closing() noexcept {
  ready_list batch = closing_.take();
  while (ready item = batch.pop()) {
    call(item);
    drain();
  }
}

void worker::run_timers() noexcept {
  {
    spin_guard guard(timers_lock_, shared_);
    auto next = timers_.next();
    if (!next || *next > loop_time_) return;
    timers_.advance(loop_time_);
  }
  for (;;) {
    timer_node* node = nullptr;
    {
      spin_guard guard(timers_lock_, shared_);
      node = timers_.pop_due();
    }
    if (node == nullptr) return;
    count.timers_fired.add();
    node->fire(*node, *this);
    running_ = nullptr;
    drain();
  }
}

fiber* worker::next_stealable() noexcept {
  if (in_hand_ != nullptr) return std::exchange(in_hand_, nullptr);
  if (!steals_) {
    ready item = local_.pop();
    if (item) {
      --local_size_;
      return &item.as_fiber();
    }
    return executor_.has_injected() ? executor_.take_injected(*this) : nullptr;
  }
  if (++tick_ % pump_interval == 0 && executor_.has_injected()) {
    if (fiber* f = executor_.take_injected(*this)) return f;
  }
  if (lifo_streak_ < lifo_limit && lifo_.load(std::memory_order_relaxed) != nullptr) {
    if (fiber* f = lifo_.exchange(nullptr, std::memory_order_acq_rel)) {
      ++lifo_streak_;
      return f;
    }
  }
  lifo_streak_ = 0;
  if (fiber* f = ring_.pop()) return f;
  if (fiber* f = lifo_.exchange(nullptr, std::memory_order_acq_rel)) return f;
  return executor_.has_injected() ? executor_.take_injected(*this) : nullptr;
}

void worker::run_stealable() noexcept {
  for (std::uint32_t n = 0; n < pump_interval; ++n) {
    fiber* f = next_stealable();
    if (f == nullptr) return;
    if (searching_) executor_.stop_search(*this);
    resume(*f);
    if (!fresh_.empty() || !ticks_.empty() || !microtasks_.empty()) drain();
  }
}

bool worker::has_local_work() const noexcept {
  return !fresh_.empty() || !ticks_.empty() || !microtasks_.empty() || !polled_.empty() || !immediates_.empty() ||
         !closing_.empty() || !local_.empty() || lifo_.load(std::memory_order_relaxed) != nullptr ||
         ring_.size() != 0 || in_hand_ != nullptr || mail_.load(std::memory_order_seq_cst) != 0;
}

void worker::turn() noexcept {
  count.turns.add();
  working.store(true, std::memory_order_relaxed);
  poll_phase();
  run_immediates();
  run_closing();
  run_timers();
  run_stealable();
  working.store(false, std::memory_order_relaxed);
}

void worker::run() {
  this_worker = this;
  thread.store(pthread_self(), std::memory_order_release);
  backend_->start();
  read_clock();
  timers_.start(loop_time_);
  drain();
  read_clock();
  run_timers();
  while (!executor_.stopping()) {
    if (has_local_work() || executor_.has_injected()) {
      poll(std::chrono::nanoseconds(0));
    } else {
      wait_for_work();
    }
    turn();
  }
  if (searching_) executor_.stop_search(*this);
  this_worker = nullptr;
}

std::chrono::nanoseconds worker::until_next_timer() noexcept {
  std::optional<std::uint64_t> next;
  {
    spin_guard guard(timers_lock_, shared_);
    next = timers_.next();
  }
  if (!next) return std::chrono::nanoseconds::max();
  auto due = std::chrono::nanoseconds(std::chrono::milliseconds(*next));
  auto left = due - backend_->now().time_since_epoch();
  return std::max(left, std::chrono::nanoseconds(0));
}

// Work that came without a sleep, or the wait for it. How long the waits have been of late decides whether
// the next one starts with a spin: under load it pays, idle it would burn the processor.
void worker::wait_for_work() noexcept {
  if (search()) return;
  auto timeout = until_next_timer();
  auto started = backend_->now();
  bool found = idle_gap_ < spin_worthwhile && spin(started, timeout);
  if (!found) park(timeout);
  auto waited = backend_->now() - started;
  idle_gap_ = (idle_gap_ * 7 + std::min<std::chrono::nanoseconds>(waited, std::chrono::milliseconds(1))) / 8;
  if (searching_ && !found) return;
  if (searching_) executor_.stop_search(*this);
}

bool worker::spin(std::chrono::steady_clock::time_point started, std::chrono::nanoseconds timeout) noexcept {
  auto limit = std::min<std::chrono::nanoseconds>(executor_.options().spin, timeout);
  if (limit <= std::chrono::nanoseconds(0)) return false;
  do {
    poll(std::chrono::nanoseconds(0));
    if (has_local_work() || executor_.has_injected() || (steals_ && executor_.any_ready())) {
      count.spins.add();
      return true;
    }
    for (int i = 0; i < 8; ++i) cpu_relax();
  } while (backend_->now() - started < limit);
  return false;
}

void worker::park(std::chrono::nanoseconds timeout) noexcept {
  if (searching_) executor_.stop_search(*this);
  asleep_.store(true, std::memory_order_seq_cst);
  if (steals_) executor_.set_idle(*this);
  bool work = mail_.load(std::memory_order_seq_cst) != 0 || executor_.has_injected() || executor_.stopping() ||
              (steals_ && executor_.any_ready());
  count.parks.add();
  bool capped = shared_ && timeout > park_limit;
  if (capped) timeout = park_limit;
  auto started = backend_->now();
  poll(work ? std::chrono::nanoseconds(0) : timeout);
  bool slept_it_out = capped && !work && backend_->now() - started >= park_limit;
  bool overlooked = slept_it_out && steals_ && executor_.overlooks_work();
  asleep_.store(false, std::memory_order_relaxed);
  bool told = steals_ && executor_.set_busy(*this);
  if (told) count.wakes.add();
  if (overlooked && !told) count.lost_wakes.add();
}

// Takes half of somebody's queue. Two rounds, the second with the slot of the fiber woken last, which its
// worker is otherwise about to run.
bool worker::search() noexcept {
  if (!steals_) return false;
  if (!searching_ && !executor_.start_search(*this)) return false;
  auto& all = executor_.workers();
  auto count_of = all.size();
  for (int round = 0; round < 2; ++round) {
    auto first = (random_ = random_ * 1664525U + 1013904223U) >> 8;
    for (std::size_t i = 0; i < count_of; ++i) {
      auto& victim = *all[(first + i) % count_of];
      if (&victim == this) continue;
      fiber* f = victim.ring_.steal_into(ring_);
      if (f == nullptr && round == 1) f = victim.lifo_.exchange(nullptr, std::memory_order_acq_rel);
      if (f == nullptr) continue;
      count.steals.add();
      count.stolen.add(1 + ring_.size());
      in_hand_ = f;
      return true;
    }
  }
  return executor_.has_injected();
}

worker_metrics worker::metrics() const noexcept {
  worker_metrics m;
  m.spawned = count.spawned.get();
  m.finished = count.finished.get();
  m.polls = count.polls.get();
  m.turns = count.turns.get();
  m.callbacks = count.callbacks.get();
  m.timers_fired = count.timers_fired.get();
  m.steals = count.steals.get();
  m.stolen = count.stolen.get();
  m.parks = count.parks.get();
  m.wakes = count.wakes.get();
  m.spins = count.spins.get();
  m.lost_wakes = count.lost_wakes.get();
  {
    spin_guard guard(timers_lock_, shared_);
    m.timers = timers_.size();
  }
  m.queued = ring_.size() + static_cast<std::size_t>(local_size_.get()) +
             (lifo_.load(std::memory_order_relaxed) != nullptr ? 1 : 0);
  m.in_flight = backend_->in_flight();
  m.io = backend_->counters();
  return m;
}

// ---- the workers together

executor::executor(const runtime_options& options)
    : options_(options), blocking_(options_.blocking_threads, options_.blocking_queue) {
  try {
    make_workers();
  } catch (const backend_changed&) {
    workers_.clear();
    make_workers();
  }
}

void executor::make_workers() {
  for (unsigned i = 0; i < options_.workers; ++i) {
    workers_.push_back(std::make_unique<worker>(*this, i, options_.make_backend(options_.backend)));
  }
}

executor::~executor() {
  for (auto& thread : threads_) thread.join();
  for (backoff pause; visitors_.load(std::memory_order_acquire) != 0;) pause.pause();
}

void executor::run() {
  for (unsigned i = 1; i < options_.workers; ++i) {
    threads_.emplace_back([this, i] {
      auto name = "weir-" + std::to_string(i);
      pthread_setname_np(pthread_self(), name.c_str());
      workers_[i]->run();
    });
  }
  workers_[0]->run();
  for (auto& thread : threads_) thread.join();
  threads_.clear();
}

void executor::stop() noexcept {
  stopping_.store(true, std::memory_order_seq_cst);
  for (auto& each : workers_) each->io().wake(nullptr);
}

std::uint64_t executor::alive() const noexcept {
  std::uint64_t finished = 0;
  for (const auto& each : workers_) finished += each->count.finished.get();
  std::uint64_t started = spawned_.load(std::memory_order_relaxed);
  for (const auto& each : workers_) started += each->count.spawned.get();
  return started - finished;
}

void executor::inject(fiber& f) noexcept {
  fiber* one = &f;
  inject(&one, 1);
}

executor::visit::visit(executor& of) noexcept {
  worker* here = current_worker();
  if (here != nullptr && &here->home() == &of) return;
  visitors_ = &of.visitors_;
  visitors_->fetch_add(1, std::memory_order_relaxed);
}

void executor::inject(fiber* const* first, std::uint32_t count) noexcept {
  visit staying(*this);
  {
    std::lock_guard lock(inject_mutex_);
    for (std::uint32_t i = 0; i < count; ++i) injected_.push(ready::of(*first[i]));
    injected_size_.store(injected_size_.load(std::memory_order_relaxed) + count, std::memory_order_seq_cst);
  }
  notify();
}

// A fair share for a worker that has nothing, so that the lock is taken once for many.
fiber* executor::take_injected(worker& by) noexcept {
  std::lock_guard lock(inject_mutex_);
  auto available = injected_size_.load(std::memory_order_relaxed);
  if (available == 0) return nullptr;
  auto share = std::min(available / options_.workers + 1, steal_ring::capacity / 2);
  fiber* first = &injected_.pop().as_fiber();
  std::uint32_t taken = 1;
  while (taken < share && steals()) {
    ready item = injected_.pop();
    if (!by.ring_.push(item.as_fiber())) {
      injected_.push(item);
      break;
    }
    ++taken;
  }
  injected_size_.store(available - taken, std::memory_order_seq_cst);
  return first;
}

void executor::notify() noexcept {
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (searching_.load(std::memory_order_relaxed) != 0) return;
  if (steals() ? idle_count_.load(std::memory_order_relaxed) == 0 : false) return;
  if (!steals()) {
    for (auto& each : workers_) each->rouse();
    return;
  }
  worker* woken = nullptr;
  {
    std::lock_guard lock(idle_mutex_);
    if (searching_.load(std::memory_order_relaxed) != 0 || idle_.empty()) return;
    woken = idle_.back();
    idle_.pop_back();
    idle_count_.store(static_cast<std::uint32_t>(idle_.size()), std::memory_order_seq_cst);
    searching_.fetch_add(1, std::memory_order_seq_cst);
  }
  woken->rouse();
}

bool executor::start_search(worker& w) noexcept {
  if (2 * searching_.load(std::memory_order_relaxed) >= options_.workers) return false;
  searching_.fetch_add(1, std::memory_order_seq_cst);
  w.searching_ = true;
  return true;
}

// The last one to give up looking makes sure that somebody looks again while there is work.
void executor::stop_search(worker& w) noexcept {
  w.searching_ = false;
  if (searching_.fetch_sub(1, std::memory_order_seq_cst) == 1 && any_ready()) notify();
}

void executor::set_idle(worker& w) noexcept {
  std::lock_guard lock(idle_mutex_);
  idle_.push_back(&w);
  idle_count_.store(static_cast<std::uint32_t>(idle_.size()), std::memory_order_seq_cst);
}

bool executor::set_busy(worker& w) noexcept {
  std::lock_guard lock(idle_mutex_);
  auto place = std::find(idle_.begin(), idle_.end(), &w);
  if (place == idle_.end()) {  // taken out by `notify`, which counted it as searching
    w.searching_ = true;
    return true;
  }
  idle_.erase(place);
  idle_count_.store(static_cast<std::uint32_t>(idle_.size()), std::memory_order_seq_cst);
  return false;
}

bool executor::any_ready() const noexcept {
  if (has_injected()) return true;
  for (const auto& each : workers_) {
    if (each->ring_.size() != 0) return true;
  }
  return false;
}

// What is ready now may be about to be announced, or run: only what lies still counts.
bool executor::overlooks_work() const noexcept {
  auto nobody_looks = [this] { return searching_.load(std::memory_order_seq_cst) == 0 && any_ready(); };
  auto taken = [this] {
    std::uint64_t all = injected();
    for (const auto& each : workers_) all += each->ring_.taken();
    return all;
  };
  if (!nobody_looks()) return false;
  auto before = taken();
  std::this_thread::sleep_for(std::chrono::milliseconds(2));
  return nobody_looks() && taken() == before;
}

}  // namespace weir::detail
