#include <weir/sync/loop_thread.hpp>

#include <weir/core/loop.hpp>
#include <weir/core/worker.hpp>

#include <algorithm>
#include <climits>
#include <memory>
#include <utility>

#include <unistd.h>

namespace weir::sync::detail {
namespace {

struct start {
  std::function<void()> body;
  std::string name;
};

thread_local bool started_here = false;

WEIR_NOINLINE bool& this_thread_is_ours() noexcept { return started_here; }

void* run_thread(void* given) {
  std::unique_ptr<start> begin(static_cast<start*>(given));
  if (!begin->name.empty()) pthread_setname_np(pthread_self(), begin->name.substr(0, 15).c_str());
  this_thread_is_ours() = true;
  begin->body();
  return nullptr;
}

std::size_t stack_octets(std::size_t wanted) {
  auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  auto least = static_cast<std::size_t>(std::max<long>(PTHREAD_STACK_MIN, 64 * 1024));
  return (std::max(wanted, least) + page - 1) / page * page;
}

}  // namespace

bool on_native_thread() noexcept { return this_thread_is_ours(); }

native_thread::native_thread(std::function<void()> body, const thread_options& options) {
  auto begin = std::make_unique<start>(start{std::move(body), options.name});
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  int why = 0;
  if (options.stack_size != 0) why = pthread_attr_setstacksize(&attributes, stack_octets(options.stack_size));
  if (why == 0) why = pthread_create(&thread_, &attributes, run_thread, begin.get());
  pthread_attr_destroy(&attributes);
  if (why != 0) throw os_error(why, "pthread_create", options.name);
  [[maybe_unused]] start* theirs = begin.release();
  running_ = true;
}

native_thread::native_thread(native_thread&& other) noexcept
    : thread_(other.thread_), running_(std::exchange(other.running_, false)) {}

native_thread& native_thread::operator=(native_thread&& other) noexcept {
  std::swap(thread_, other.thread_);
  std::swap(running_, other.running_);
  return *this;
}

native_thread::~native_thread() { join(); }

void native_thread::join() noexcept {
  if (std::exchange(running_, false)) pthread_join(thread_, nullptr);
}

void native_thread::detach() noexcept {
  if (std::exchange(running_, false)) pthread_detach(thread_);
}

void remote_stop::open(weir::detail::fiber& of_the_loop) noexcept {
  weir::detail::spin_guard guard(lock_);
  home_ = of_the_loop.on;
}

void remote_stop::aim(scope& target) noexcept {
  weir::detail::spin_guard guard(lock_);
  target_ = &target;
  bool now = wanted_;
  guard.unlock();
  if (now) target.cancel();
}

void remote_stop::rest() noexcept {
  weir::detail::spin_guard guard(lock_);
  target_ = nullptr;
  wanted_ = false;
}

void remote_stop::stop_now() noexcept {
  weir::detail::spin_guard guard(lock_);
  wanted_ = true;
  auto* target = target_;
  guard.unlock();
  if (target != nullptr) target->cancel();
}

void remote_stop::request() noexcept {
  weir::detail::spin_guard guard(lock_);
  wanted_ = true;
  if (home_ == nullptr || queued_) return;
  queued_ = true;
  weir::detail::job::run = deliver;
  home_->post(weir::detail::ready::of(*this));  // under the lock: `close` keeps the loop until this is done
}

void remote_stop::deliver(weir::detail::job& arrived, weir::detail::worker&) noexcept {
  auto& self = static_cast<remote_stop&>(arrived);
  weir::detail::spin_guard guard(self.lock_);
  self.queued_ = false;
  auto* target = self.wanted_ ? self.target_ : nullptr;
  guard.unlock();
  if (target != nullptr) target->cancel();
}

bool remote_stop::under_way() const noexcept {
  weir::detail::spin_guard guard(lock_);
  return queued_;
}

task<> remote_stop::close() {
  {
    weir::detail::spin_guard guard(lock_);
    home_ = nullptr;
    target_ = nullptr;
  }
  while (under_way()) static_cast<void>(co_await attempt(yield()));
}

runtime_options one_worker(runtime_options options) noexcept {
  options.workers = 1;
  return options;
}

}  // namespace weir::sync::detail
