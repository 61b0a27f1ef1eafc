#include <weir/core/runtime.hpp>

#include <weir/core/combine.hpp>
#include <weir/core/cpus.hpp>
#include <weir/core/inspect.hpp>
#include <weir/core/scope.hpp>
#include <weir/core/watchdog.hpp>
#include <weir/core/worker.hpp>

#include <fmt/format.h>

#include <atomic>
#include <csignal>
#include <cstdio>
#include <mutex>
#include <thread>

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

// What one run of a program keeps besides its executor. As a job it carries an `exit` of another thread to worker 0.
struct program : detail::job {
  detail::executor* home = nullptr;  // null once it has ended and only the at_exit hooks are left
  std::thread::id thread = std::this_thread::get_id();
  scope* top = nullptr;
  std::atomic<int> code{0};
  std::atomic<bool> leaving{false};  // by `exit`, which decides the code
  std::atomic<int> failed{0};        // the code after an uncaught failure

  bool ending() const noexcept { return leaving.load() || failed.load() != 0; }
  int status() const noexcept { return leaving.load() || failed.load() == 0 ? code.load() : failed.load(); }
};

struct program_list {
  std::mutex mutex;
  std::vector<program*> running;
};

program_list& programs() {
  static program_list all;
  return all;
}

// The run that the calling code belongs to, or is the last part of; null on a foreign thread.
program* program_of_caller() {
  auto* here = detail::current_worker();
  auto thread = std::this_thread::get_id();
  std::lock_guard lock(programs().mutex);
  for (auto* each : programs().running) {
    if (here != nullptr ? each->home == &here->home() : each->home == nullptr && each->thread == thread) return each;
  }
  return nullptr;
}

// @return 0 if the program goes on all the same, else the code that it is to end with
int report_uncaught(const std::exception_ptr& why) noexcept {
  std::function<bool(std::exception_ptr)> hook;
  {
    std::lock_guard lock(hooks().mutex);
    hook = hooks().uncaught;
  }
  if (!hook) {
    fmt::print(stderr, "Uncaught {}\n", describe(why));
    return 1;
  }
  try {
    return hook(why) ? 0 : 1;
  } catch (...) {
    fmt::print(stderr, "Uncaught {}\n  thrown by the on_uncaught hook, which was called with {}\n",
               describe(std::current_exception()), describe(why));
    return 7;  // Node's code for it
  }
}

void uncaught(program& state, const std::exception_ptr& why) noexcept {
  int code = report_uncaught(why);
  if (code == 0) return;
  int none = 0;
  state.failed.compare_exchange_strong(none, code);
  if (state.top != nullptr) state.top->cancel();
}

// The first `exit` decides; an at_exit hook may still change the code.
void leave(program& state, int code) noexcept {
  bool first = !state.leaving.exchange(true);
  if (first || state.home == nullptr) state.code = code;
  if (!first || state.home == nullptr) return;
  auto* here = detail::current_worker();
  if (here != nullptr && &here->home() == state.home) {
    if (state.top != nullptr) state.top->cancel();
    return;
  }
  state.job::run = [](detail::job& posted, detail::worker&) noexcept {
    if (auto* top = static_cast<program&>(posted).top) top->cancel();
  };
  state.home->workers()[0]->post(detail::ready::of(state));
}

void call_hooks(const std::vector<std::function<void(int)>>& all, program& state, bool until_ending) noexcept {
  int code = state.status();
  for (const auto& hook : all) {
    if (until_ending && state.ending()) return;
    try {
      hook(code);
    } catch (...) {
      uncaught(state, std::current_exception());
    }
  }
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
  options.on_child_failure = [&state](const std::exception_ptr& why) { uncaught(state, why); };
  top_scope top(home, above, std::move(options));
  auto& s = top.get();
  state.top = &s;
  auto& running = co_await detail::this_fiber{};
  auto frame = std::move(main).release();
  detail::fiber branch;
  detail::launch_branch(s, branch, frame, running);  // not a body: if it fails, the rest may go on
  co_await detail::members_awaiter(s);
  auto& promise = frame.promise();
  if (!promise.error && !state.ending()) {
    if (int code = promise.take()) state.code = code;
  }
  frame.destroy();

  auto before = [] {
    std::lock_guard lock(hooks().mutex);
    return hooks().before_exit;
  }();
  while (!state.ending()) {
    call_hooks(before, state, true);
    if (!s.has_members()) break;
    co_await detail::members_awaiter(s);
  }
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
  promise.continuation.store(detail::first_frame, std::memory_order_relaxed);
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

// A run in the list of those that `exit` and `set_exit_code` may mean.
class enlisted {
 public:
  explicit enlisted(program& state) : state_(state) {
    std::lock_guard lock(programs().mutex);
    programs().running.push_back(&state);
  }
  enlisted(const enlisted&) = delete;
  enlisted& operator=(const enlisted&) = delete;
  ~enlisted() {
    std::lock_guard lock(programs().mutex);
    std::erase(programs().running, &state_);
  }

  void begin(detail::executor& home) noexcept { set_home(&home); }
  void end() noexcept { set_home(nullptr); }

 private:
  void set_home(detail::executor* home) noexcept {
    std::lock_guard lock(programs().mutex);
    state_.home = home;
  }
  program& state_;
};

}  // namespace

namespace detail {

scope& root_of(execution& running) noexcept {
  auto* at = running.owner->enclosing_scope();
  while (at->outer() != nullptr) at = at->outer();
  return *at;
}

}  // namespace detail

runtime::runtime(runtime_options options) : options_(complete(options)) {}

int runtime::run(task<int> main) {
  if (detail::current_worker() != nullptr) {
    throw error(errc::err_invalid_state, "run: a weir runtime is already running on this thread");
  }
  ignore_broken_pipes();
  program state;
  enlisted listed(state);
  {
    detail::executor home(options_);
    listed.begin(home);
    run_group above(home, home.shared());
    execute(home, above, run_main(above, home, std::move(main), state));
    listed.end();
  }
  auto last = [] {
    std::lock_guard lock(hooks().mutex);
    return hooks().at_exit;
  }();
  call_hooks(last, state, false);
  return state.status();
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

int run(task<int> main, runtime_options options) { return runtime(options).run(std::move(main)); }
int run(task<void> main, runtime_options options) { return runtime(options).run(std::move(main)); }

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
  auto* state = program_of_caller();
  if (state == nullptr) return;
  if (!state->leaving.load() || state->home == nullptr) state->code = code;
}

void exit(int code) noexcept {
  if (auto* state = program_of_caller()) return leave(*state, code);
  if (detail::current_worker() != nullptr) return;  // in `block_on`, which is no program
  std::lock_guard lock(programs().mutex);
  for (auto* each : programs().running) leave(*each, code);
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
