#include <weir/core/watchdog.hpp>

#include <weir/core/inspect.hpp>
#include <weir/core/scope.hpp>
#include <weir/core/worker.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <mutex>

#include <pthread.h>
#include <signal.h>  // NOLINT: for what POSIX has beyond <csignal>

namespace weir {
namespace {

std::mutex hook_mutex;
std::function<void(const stall&)> stall_hook;

}  // namespace

void on_stall(std::function<void(const stall&)> hook) {
  std::lock_guard lock(hook_mutex);
  stall_hook = std::move(hook);
}

namespace detail {
namespace {

// What the held thread says of itself when it is asked by signal: only it can look at its fiber safely.
struct answer {
  std::atomic<int> state{0};  // 0: free, 1: asked, 2: answered
  char text[256];
};
answer held;

void append(std::size_t& used, const char* text) noexcept {
  while (*text != 0 && used + 1 < sizeof held.text) held.text[used++] = *text++;
  held.text[used] = 0;
}

void describe_running(int) noexcept {
  if (held.state.load(std::memory_order_acquire) != 1) return;
  std::size_t used = 0;
  append(used, "");
  auto* here = current_worker();
  fiber* f = here != nullptr ? here->running_fiber() : nullptr;
  if (f == nullptr) {
    append(used, here != nullptr && here->running() != nullptr ? "callback" : "the loop itself");
  } else {
    auto name = f->has(fiber::counted) ? static_cast<child*>(f)->name() : std::string_view();
    append(used, name.empty() ? promise_of(f->frame).where.function_name() : name.data());
  }
  held.state.store(2, std::memory_order_release);
}

void report(const stall& seen) {
  std::function<void(const stall&)> hook;
  {
    std::lock_guard lock(hook_mutex);
    hook = stall_hook;
  }
  if (hook) return hook(seen);
  fmt::print(stderr, "weir: worker {} has been held for {} ms by {}\n", seen.worker, seen.held.count(), seen.task);
}

}  // namespace

watchdog::watchdog(executor& home) : home_(home), samples_(home.workers().size()) {
  auto& options = home.options();
  if (options.stall_after->count() <= 0 && options.dump_signal == 0) return;
  if (options.dump_signal != 0) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, options.dump_signal);
    pthread_sigmask(SIG_BLOCK, &set, nullptr);
  }
  if (options.stall_after->count() > 0) {
    struct sigaction act = {};
    act.sa_handler = describe_running;
    act.sa_flags = SA_RESTART;
    sigaction(SIGURG, &act, nullptr);
  }
  thread_ = std::thread([this] { watch(); });
}

watchdog::~watchdog() {
  if (!thread_.joinable()) return;
  stopping_.store(true, std::memory_order_release);
  pthread_kill(thread_.native_handle(), SIGURG);
  thread_.join();
}

void watchdog::watch() {
  pthread_setname_np(pthread_self(), "weir-watchdog");
  auto& options = home_.options();
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGURG);
  if (options.dump_signal != 0) sigaddset(&set, options.dump_signal);
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  auto period = options.stall_after->count() > 0 ? std::max(*options.stall_after / 4, std::chrono::milliseconds(1))
                                                 : std::chrono::milliseconds(1000);
  timespec pause = {.tv_sec = period.count() / 1000, .tv_nsec = period.count() % 1000 * 1'000'000};
  while (!stopping_.load(std::memory_order_acquire)) {
    int seen = sigtimedwait(&set, nullptr, &pause);
    if (seen > 0 && seen == options.dump_signal) fmt::print(stderr, "{}", dump(home_));
    auto now = std::chrono::steady_clock::now();
    for (unsigned i = 0; options.stall_after->count() > 0 && i < samples_.size(); ++i) look(i, now);
  }
}

void watchdog::look(unsigned index, std::chrono::steady_clock::time_point now) {
  auto& worker = *home_.workers()[index];
  auto& last = samples_[index];
  auto progress = worker.count.polls.get() + worker.count.callbacks.get() + worker.count.timers_fired.get() +
                  worker.count.turns.get();
  if (!worker.working.load(std::memory_order_relaxed) || progress != last.progress) {
    last = {.progress = progress, .since = now};
    return;
  }
  auto lasting = std::chrono::duration_cast<std::chrono::milliseconds>(now - last.since);
  if (last.reported || lasting < *home_.options().stall_after) return;
  last.reported = true;
  stall seen = {.worker = index, .held = lasting};
  held.state.store(1, std::memory_order_release);
  pthread_kill(worker.thread.load(std::memory_order_acquire), SIGURG);
  for (int i = 0; i < 100 && held.state.load(std::memory_order_acquire) != 2; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  seen.task = held.state.exchange(0, std::memory_order_acq_rel) == 2 ? held.text : "something that takes no signals";
  report(seen);
}

}  // namespace detail
}  // namespace weir
