#include <weir/sync/thread_worker.hpp>

#include <weir/core/abort.hpp>
#include <weir/sync/loop_thread.hpp>

#include <fmt/format.h>

#include <condition_variable>
#include <mutex>

namespace weir::sync {
namespace detail {
namespace {

/// The thread behind a worker.
class worker_thread final : public worker_core {
 public:
  native_thread handle;
  remote_stop stop_switch;
  std::atomic<bool> stopping{false};
  int stop_code = 0;  // written by whoever sets `stopping` first

  std::mutex mutex;
  std::condition_variable over;
  bool is_over = false;

  /// @return false if somebody else has decided before
  bool decide(int with_code) noexcept {
    std::lock_guard lock(mutex);
    if (stopping.load(std::memory_order_relaxed)) return false;
    stop_code = with_code;
    stopping.store(true, std::memory_order_release);
    return true;
  }
};

thread_local worker_thread* worker_here = nullptr;

WEIR_NOINLINE worker_thread*& this_worker() noexcept { return worker_here; }

worker_thread& thread_of(worker_core& core) noexcept { return static_cast<worker_thread&>(core); }

task<int> run_body(worker_thread& t, const std::function<task<int>()>& body) {
  t.stop_switch.open(co_await weir::detail::this_fiber{});
  t.came_up = true;
  t.online.set();
  auto outcome = co_await attempt(with_scope([&t, &body](scope& s) -> task<int> {
    t.stop_switch.aim(s);
    co_return co_await body();
  }));
  t.stop_switch.rest();
  co_await t.stop_switch.close();
  co_return std::move(outcome).value();
}

void run_thread(worker_thread& t, const runtime_options& options, const std::function<task<int>()>& body) noexcept {
  this_worker() = &t;
  std::exception_ptr why;
  int code = 1;
  try {
    code = runtime(options).block_on(run_body(t, body));
  } catch (...) {
    why = std::current_exception();
  }
  if (t.stopping.load(std::memory_order_acquire) && (!why || failure(why).is_cancelled())) {
    code = t.stop_code;
    why = nullptr;
  }
  t.code = code;
  t.error = why;
}

}  // namespace

std::shared_ptr<worker_core> worker_core::start(const thread_worker_options& options, std::function<task<int>()> body,
                                                std::function<void()> over) {
  static std::atomic<std::uint64_t> made{0};
  auto t = std::make_shared<worker_thread>();
  t->id = made.fetch_add(1) + 1;
  t->name = options.name;
  t->handle = native_thread(
      [t, body = std::move(body), over = std::move(over), runtime = one_worker(options.runtime)] {
        run_thread(*t, runtime, body);
        over();
        t->online.set();
        t->ended.set();
        std::lock_guard lock(t->mutex);
        t->is_over = true;
        t->over.notify_all();
      },
      {.name = options.name, .stack_size = options.stack_size});
  return t;
}

void worker_core::stop(int with_code) noexcept {
  auto& t = thread_of(*this);
  t.decide(with_code);
  t.stop_switch.request();
}

void worker_core::leave(std::chrono::nanoseconds grace) noexcept {
  auto& t = thread_of(*this);
  if (!ended.is_set()) stop(1);
  std::unique_lock lock(t.mutex);
  bool came = t.over.wait_for(lock, grace, [&t] { return t.is_over; });
  lock.unlock();
  if (came) return t.handle.join();
  t.handle.detach();
}

task<int> worker_core::terminate(std::chrono::nanoseconds grace) {
  if (!ended.is_set()) stop(1);
  auto outcome = co_await attempt(timeout(grace, ended.wait()));
  if (ended.is_set()) co_return code;
  if (outcome.failure().is_cancelled()) outcome.failure().rethrow();
  throw weir::error(errc::err_timeout,
                    fmt::format("thread_worker '{}' is still busy {} ms after it was told to stop", name,
                                std::chrono::duration_cast<std::chrono::milliseconds>(grace).count()));
}

void worker_core::throw_exit() const {
  if (error) std::rethrow_exception(error);
  throw weir::error(errc::err_worker_terminated, fmt::format("Worker stopped with exit code {}", code));
}

}  // namespace detail

bool is_main_thread() noexcept { return !detail::on_native_thread(); }

std::uint64_t thread_id() noexcept {
  auto* here = detail::this_worker();
  return here != nullptr ? here->id : 0;
}

void exit_worker(int code) {
  auto* here = detail::this_worker();
  if (here == nullptr) throw error(errc::err_invalid_state, "exit_worker: this thread belongs to no thread_worker");
  here->decide(code);
  here->stop_switch.stop_now();
}

bool worker_stopping() noexcept {
  auto* here = detail::this_worker();
  return here != nullptr && here->stopping.load(std::memory_order_relaxed);
}

}  // namespace weir::sync
