#include <weir/core/runtime.hpp>

#include <weir/core/cpus.hpp>
#include <weir/core/inspect.hpp>
#include <weir/core/scope.hpp>
#include <weir/core/watchdog.hpp>
#include <weir/core/worker.hpp>

#include <fmt/format.h>

#include <cstdio>
#include <mutex>

#include <signal.h>

namespace weir {
namespace {

#ifdef NDEBUG
constexpr auto default_stall_limit = std::chrono::milliseconds(0);
#else
constexpr auto default_stall_limit = std::chrono::milliseconds(250);
#endif

struct process_hooks {
  std::mutex mutex;
  std::function<bool(std::exception_ptr)> uncaught;
  std::vector<std::function<void(int)>> before_exit;
  std::vector<std::function<void(int)>> at_exit;
};

process_hooks& hooks() {
  static process_hooks all;
  return all;
}

// What one run of a program keeps besides its executor.
struct program {
  scope* top = nullptr;
  int code = 0;
  bool leaving = false;
  std::atomic<bool> failed{false};
};

std::atomic<program*> running_program{nullptr};

// @return true if the program goes on all the same
bool report_uncaught(const std::exception_ptr& why) {
  std::function<bool(std::exception_ptr)> hook;
  {
    std::lock_guard lock(hooks().mutex);
    hook = hooks().uncaught;
  }
  if (hook) return hook(why);
  fmt::print(stderr, "Uncaught {}\n", describe(why));
  return false;
}

// Owns the fiber that drives the run; when that ends, so does the run.
class run_group final : public detail::group {
 public:
  run_group(detail::executor& home, bool shared) : group(nullptr, shared), home_(home) {}
  void finish(detail::fiber& f) noexcept override {
    depart(f);
    home_.stop();
  }
  void enclose(scope& top) noexcept { scope_ = &top; }
  const char* what() const noexcept override { return "run"; }

 protected:
  void settled(detail::fiber&) noexcept override {}

 private:
  detail::executor& home_;
};

class members_awaiter {
 public:
  explicit members_awaiter(scope& s) noexcept : scope_(s) {}
  bool await_ready() const noexcept { return false; }
  template <detail::weir_promise P>
  bool await_suspend(std::coroutine_handle<P> h) noexcept {
    return scope_.join(*h.promise().running, h);
  }
  void await_resume() const noexcept {}

 private:
  scope& scope_;
};

// The scope of everything: what has no other owner belongs to it, and the run lasts as long as it does.
class top_scope {
 public:
  top_scope(detail::executor& home, run_group& above, scope_options options)
      : scope_(home, std::move(options), home.shared()) {
    above.enclose(scope_);
  }
  scope& get() noexcept { return scope_; }

 private:
  scope scope_;
};

task<void> run_main(run_group& above, detail::executor& home, task<int> main, program& state) {
  scope_options options;
  options.on_child_failure = [&state](std::exception_ptr why) {
    if (report_uncaught(why)) return;
    state.failed.store(true, std::memory_order_relaxed);
    state.top->cancel();
  };
  top_scope top(home, above, std::move(options));
  auto& s = top.get();
  state.top = &s;
  auto frame = std::move(main).release();
  co_await detail::scope_awaiter(s, frame, detail::scope_awaiter::keep_timers);
  auto& promise = frame.promise();
  auto why = s.failure_of_all();
  if (why && !report_uncaught(why)) state.failed.store(true, std::memory_order_relaxed);
  if (!promise.error) state.code = std::max(state.code, promise.take());
  frame.destroy();

  auto before = [] {
    std::lock_guard lock(hooks().mutex);
    return hooks().before_exit;
  }();
  while (!state.leaving && !state.failed.load(std::memory_order_relaxed)) {
    for (auto& hook : before) hook(state.code);
    if (!s.has_members()) break;
    co_await members_awaiter(s);
  }
  s.close_timers();
  co_await s.run_exits();
  state.top = nullptr;
}

task<int> with_code(task<void> main) {
  co_await std::move(main);
  co_return 0;
}

task<void> run_plain(run_group& above, detail::executor& home, task<void> main) {
  top_scope top(home, above, {});
  auto& s = top.get();
  auto frame = std::move(main).release();
  co_await detail::scope_awaiter(s, frame);
  co_await s.run_exits();
  frame.destroy();
  if (auto why = s.failure_of_all()) std::rethrow_exception(why);
}

runtime_options complete(runtime_options options) {
  if (options.workers == 0) options.workers = available_parallelism();
  if (!options.stall_after) options.stall_after = default_stall_limit;
  // A spin helps only where the thread that is to answer has a processor of its own.
  if (options.workers > available_parallelism()) options.spin = std::chrono::microseconds(0);
  return options;
}

void ignore_broken_pipes() noexcept {
  struct sigaction now = {};
  if (sigaction(SIGPIPE, nullptr, &now) == 0 && now.sa_handler == SIG_DFL) signal(SIGPIPE, SIG_IGN);
}

// Runs `driver` as the first fiber of worker 0 on this thread. @return its failure, if it had one
std::exception_ptr execute(detail::executor& home, run_group& above, task<void> driver) {
  auto frame = std::move(driver).release();
  detail::fiber first;
  auto& promise = frame.promise();
  promise.continuation = detail::first_frame;
  promise.running = &first;
  first.frame = frame;
  first.resume_at = frame;
  std::uint8_t flags = detail::fiber::affine;
  if (home.shared()) flags |= detail::fiber::shared;
  first.prepare(flags);
  above.add(first);
  detail::start(first, *home.workers()[0]);
  home.top.store(&above, std::memory_order_release);
  {
    detail::watchdog watch(home);
    home.run();
  }
  home.top.store(nullptr, std::memory_order_release);
  auto failed = promise.error;
  frame.destroy();
  return failed;
}

}  // namespace

namespace detail {

scope& root_of(execution& running) noexcept {
  auto* at = running.owner->enclosing_scope();
  while (at->outer() != nullptr) at = at->outer();
  return *at;
}

}  // namespace detail

runtime::runtime(runtime_options options) : options_(complete(std::move(options))) {}

runtime::~runtime() = default;

int runtime::run(task<int> main) {
  if (detail::current_worker() != nullptr) {
    throw error(errc::err_invalid_state, "run: a weir runtime is already running on this thread");
  }
  ignore_broken_pipes();
  program state;
  running_program.store(&state, std::memory_order_release);
  {
    detail::executor home(options_);
    run_group above(home, home.shared());
    execute(home, above, run_main(above, home, std::move(main), state));
  }
  running_program.store(nullptr, std::memory_order_release);
  if (state.failed.load(std::memory_order_relaxed)) state.code = 1;
  auto last = [] {
    std::lock_guard lock(hooks().mutex);
    return hooks().at_exit;
  }();
  for (auto& hook : last) hook(state.code);
  return state.code;
}

int runtime::run(task<void> main) { return run(with_code(std::move(main))); }

void runtime::drive(task<void> main) {
  if (detail::current_worker() != nullptr) {
    throw error(errc::err_invalid_state, "block_on: a weir runtime is already running on this thread");
  }
  ignore_broken_pipes();
  detail::executor home(options_);
  run_group above(home, home.shared());
  if (auto why = execute(home, above, run_plain(above, home, std::move(main)))) std::rethrow_exception(why);
}

int run(task<int> main, runtime_options options) { return runtime(std::move(options)).run(std::move(main)); }
int run(task<void> main, runtime_options options) { return runtime(std::move(options)).run(std::move(main)); }

void on_uncaught(std::function<bool(std::exception_ptr)> hook) {
  std::lock_guard lock(hooks().mutex);
  hooks().uncaught = std::move(hook);
}

void before_exit(std::function<void(int)> hook) {
  std::lock_guard lock(hooks().mutex);
  hooks().before_exit.push_back(std::move(hook));
}

void at_exit(std::function<void(int)> hook) {
  std::lock_guard lock(hooks().mutex);
  hooks().at_exit.push_back(std::move(hook));
}

void set_exit_code(int code) noexcept {
  if (auto* state = running_program.load(std::memory_order_acquire)) state->code = code;
}

void exit(int code) noexcept {
  auto* state = running_program.load(std::memory_order_acquire);
  if (state == nullptr || state->leaving) return;
  state->code = code;
  state->leaving = true;
  if (state->top != nullptr) state->top->cancel();
}

runtime_metrics metrics() {
  runtime_metrics all;
  auto* here = detail::current_worker();
  if (here == nullptr) return all;
  auto& home = here->home();
  all.alive = home.alive();
  all.injected = home.injected();
  all.blocking_threads = home.blocking().threads();
  all.blocking_queued = home.blocking().queued();
  for (auto& each : home.workers()) all.workers.push_back(each->metrics());
  return all;
}

std::string backend_report() {
  auto* here = detail::current_worker();
  return here != nullptr ? here->io().report() : std::string();
}

}  // namespace weir
