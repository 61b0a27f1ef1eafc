// core/runtime.hpp: starting the runtime and asking it how it does. `weir::run(main_task())` is the whole
// of most programs; `weir::runtime` is the same as an object, for a library inside another program.
#pragma once

#include <weir/core/backend.hpp>
#include <weir/core/task.hpp>

#include <chrono>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace weir {

namespace detail {
class executor;

template <class T>
task<void> keep_result(task<T> main, std::optional<result<T>>& outcome) {
  outcome.emplace(co_await attempt(std::move(main)));
}

}  // namespace detail

/// How a runtime is made. The defaults suit a server that has the machine to itself.
struct runtime_options {
  /// Worker threads; 0: as many as this process may use (affinity mask and cgroup quota counted in).
  unsigned workers = 0;
  /// False: a fiber stays on the worker that it was started on (thread per core).
  bool stealing = true;
  /// How long a worker looks for completions before it sleeps, while they come thick and fast; an idle
  /// process does not spin. Zero: never. Echo over one connection, p50 and CPU of a
  /// round trip: 71 us and 33 us without, 64 and 34 with 5 us, 20 and 24 with 20 us, 20 and 22 with 50 us.
  std::chrono::microseconds spin = std::chrono::microseconds(20);
  /// A fiber or callback that holds its worker longer than this is reported (see on_stall); zero: nobody looks. Not
  /// set: 250 ms where weir itself was built for debugging, else zero. It costs a thread that wakes now and then.
  std::optional<std::chrono::milliseconds> stall_after = {};
  /// A signal on which the tasks alive are listed on standard error, e.g. SIGUSR1; 0: none.
  int dump_signal = 0;
  /// Threads that run `blocking` functions, at most; they are made on demand.
  unsigned blocking_threads = 64;
  /// Functions that may wait for such a thread; more fail with ERR_QUEUE_FULL.
  std::size_t blocking_queue = 65536;
  backend_options backend = {};
  backend_factory make_backend = make_default_backend;
};

/// What one worker has done.
struct worker_metrics {
  std::uint64_t spawned = 0, finished = 0;  ///< fibers started and ended here
  std::uint64_t polls = 0;                  ///< resumes
  std::uint64_t turns = 0;                  ///< rounds of the loop
  std::uint64_t callbacks = 0;              ///< ticks, microtasks, immediates
  std::uint64_t timers_fired = 0;
  std::uint64_t steals = 0, stolen = 0;  ///< raids that found something; fibers they brought
  std::uint64_t parks = 0, wakes = 0;    ///< sleeps; wake-ups received
  std::uint64_t spins = 0;               ///< sleeps avoided by looking a little longer
  std::uint64_t lost_wakes = 0;          ///< sleeps that overlooked work: a bug if not 0
  std::size_t timers = 0;                ///< armed now
  std::size_t queued = 0;                ///< ready fibers now
  std::size_t in_flight = 0;             ///< operations with the system now
  backend_counters io = {};
};

struct runtime_metrics {
  std::uint64_t alive = 0;   ///< fibers
  std::size_t injected = 0;  ///< ready fibers that no worker has taken yet
  unsigned blocking_threads = 0;
  std::size_t blocking_queued = 0;
  std::vector<worker_metrics> workers = {};
};

/// Figures of the runtime that the calling code runs in; empty outside one. Cheap enough for every scrape.
runtime_metrics metrics();

/// What the backend of the running worker found at start, as lines to read.
std::string backend_report();

/// Called with a failure that nobody is left to receive, before the program ends with status 1. If the
/// hook returns true the program goes on; if it throws, the status is 7, as Node's. Without a hook the failure is
/// printed. Process-wide; set it before `run`. Called on the worker where it happened.
void on_uncaught(std::function<bool(std::exception_ptr)> hook);

/// Called when nothing is alive any more; what it starts (timers, spawns) keeps the program running, after
/// which it is called again (Node's 'beforeExit'). `code` is the exit code so far. In order of registration. What
/// it throws is an uncaught failure.
void before_exit(std::function<void(int code)> hook);

/// Called last, when nothing is alive any more. It cannot start anything, but set another code (Node's 'exit').
/// What it throws is an uncaught failure; the hooks that follow are called all the same.
void at_exit(std::function<void(int code)> hook);

/// What `run` will return unless the main task returns something other than 0, or something fails (Node's
/// process.exitCode). For the run that the calling code belongs to; without effect elsewhere.
void set_exit_code(int code) noexcept;

/// Ends the program's run: everything is cancelled and joined, `at_exit` hooks run, `run` returns `code`, whatever
/// fails meanwhile. `before_exit` hooks do not run (Node's process.exit). The first call decides. It returns: the
/// caller is to stop at its next await. From a thread that no runtime runs on, it ends every run of the process.
void exit(int code) noexcept;

/// What the watchdog saw: one fiber or callback that holds its worker, still.
struct stall {
  unsigned worker = 0;
  std::chrono::milliseconds held = {};
  std::string task = {};  ///< its name, or the function it is in; "callback" for one of the loop's
};

/// Called on the watchdog's thread, once per stall, when `stall_after` has passed. Default: a line on standard error.
void on_stall(std::function<void(const stall&)> hook);

class runtime {
 public:
  explicit runtime(runtime_options options = {});
  runtime(const runtime&) = delete;
  runtime& operator=(const runtime&) = delete;

  /// Runs `main` loop-affine on the calling thread, with the other workers on threads of their own, until it
  /// and everything it started have ended; then the hooks. The program's exit code: what the task returns
  /// (task<int>) or 0; 1 after an uncaught failure, which is printed.
  int run(task<int> main);
  int run(task<void> main);

  /// Runs `main` and hands over what it returns or throws. No hooks, nothing printed.
  template <class T>
  T block_on(task<T> main) {
    std::optional<result<T>> outcome;
    drive(detail::keep_result(std::move(main), outcome));
    return std::move(*outcome).value();
  }

 private:
  void drive(task<void> main);

  runtime_options options_;
};

/// The everyday form: `int main() { return weir::run(main_task()); }`.
int run(task<int> main, runtime_options options = {});
int run(task<void> main, runtime_options options = {});

}  // namespace weir
