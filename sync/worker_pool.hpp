// sync/worker_pool.hpp: dedicated threads, each with a loop of its own, that run jobs: computations that would hold
// up the workers, or work that must stay on one thread. Rests on core only. Promises that every job settles: with
// its result, or with an error that says why there is none.
#pragma once

#include <weir/core/event.hpp>
#include <weir/core/fiber.hpp>
#include <weir/core/result.hpp>
#include <weir/core/runtime.hpp>
#include <weir/core/task.hpp>

#include <atomic>
#include <chrono>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace weir::sync {

/// Why a thread of a pool ended.
enum class worker_exit_reason : std::uint8_t {
  shut_down,    ///< the pool did
  retired,      ///< a job of it overran its time; it was replaced then, and has come back now
  crashed,      ///< something that `init` left running on its loop failed; it has been replaced
  init_failed,  ///< `init` threw; it is not replaced
};

struct worker_exit {
  unsigned index = 0;    ///< its place in the pool, 0 to threads - 1; a replacement has the same
  std::uint64_t id = 0;  ///< unique within the pool
  worker_exit_reason reason = worker_exit_reason::shut_down;
  std::exception_ptr error = {};  ///< of `crashed` and `init_failed`
};

struct worker_pool_options {
  unsigned threads = 0;                       ///< 0: as many as this process may use
  std::size_t queue_limit = 65536;            ///< jobs that may wait; more fail with ERR_QUEUE_FULL
  std::chrono::nanoseconds job_timeout = {};  ///< for jobs that state none; zero: no limit
  std::size_t stack_size = 0;                 ///< of a thread, in octets; 0: the system's default
  std::string name = "weir-pool";             ///< of the threads, as the system shows it
  std::function<task<>(unsigned)> init = {};  ///< runs on each thread, given its index, before its first job
  std::function<void(const worker_exit&)> on_worker_exit = {};  ///< called on the thread that ends; must not throw
  runtime_options runtime = {};  ///< of each thread's loop; the number of workers is always 1
};

struct pool_job_options {
  int priority = 0;                                      ///< higher goes first; equals in order of arrival
  std::optional<std::chrono::nanoseconds> timeout = {};  ///< of the run, not of the wait for a thread; zero: no limit
};

struct worker_pool_statistics {
  struct thread {
    unsigned index = 0;
    std::uint64_t id = 0;
    bool busy = false;
    std::uint64_t jobs = 0;  ///< that it has ended
    std::uint64_t failed = 0;
    std::chrono::nanoseconds busy_time = {};  ///< in jobs that have ended
  };
  std::size_t total = 0;  ///< threads that serve: busy + idle (those still starting count as busy)
  std::size_t busy = 0;
  std::size_t idle = 0;
  std::size_t stuck = 0;                   ///< retired threads that have not come back
  std::size_t queued = 0;                  ///< jobs that wait
  std::size_t active = 0;                  ///< jobs that run and whose owners wait
  std::chrono::nanoseconds head_age = {};  ///< how long the job that waits longest has waited
  std::uint64_t completed = 0, failed = 0, timed_out = 0, cancelled = 0, terminated = 0, rejected = 0;
  std::uint64_t replaced = 0;  ///< threads
  std::vector<thread> threads = {};
};

struct worker_pool_shutdown {
  std::chrono::nanoseconds grace = std::chrono::seconds(5);  ///< for running jobs to end by themselves
  bool finish_queued = false;  ///< false: jobs that wait fail at once with ERR_WORKER_TERMINATED
  std::chrono::nanoseconds abandon_after = std::chrono::seconds(1);  ///< for threads to come back, once told to stop
};

namespace detail {

struct pool_thread;
class pool_state;

/// A job: made by its owner, shared with the pool, because its run may outlast the owner's patience.
class pool_job {
 public:
  enum class outcome : std::uint8_t { pending, done, stopped, timed_out, terminated, full, closed, init_failed };

  pool_job() = default;
  pool_job(const pool_job&) = delete;
  pool_job& operator=(const pool_job&) = delete;

  /// Runs on the pool's thread and keeps what came of it. Throws nothing.
  virtual task<void> execute() = 0;
  virtual void fail(failure why) noexcept = 0;
  /// Null after a success.
  virtual const failure* failed() const noexcept = 0;

  void retain() noexcept { references_.fetch_add(1, std::memory_order_relaxed); }
  void release() noexcept {
    if (references_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
  }

  pool_job_options options;
  bool borrows = false;  ///< refers to what its owner has: the owner waits for its end, whatever happens

  // The pool's, under its lock.
  pool_job* previous = nullptr;
  pool_job* next = nullptr;
  weir::detail::fiber* owner = nullptr;
  pool_thread* on = nullptr;
  std::chrono::steady_clock::time_point submitted = {}, started = {}, deadline = {};
  outcome how = outcome::pending;
  outcome verdict = outcome::pending;  ///< what to make of a cancelled run
  bool queued = false;
  bool settled = false;

 protected:
  virtual ~pool_job() = default;

 private:
  std::atomic<std::uint32_t> references_{1};
};

template <class R>
class pool_job_with : public pool_job {
 public:
  void fail(failure why) noexcept override { value.emplace(std::move(why)); }
  const failure* failed() const noexcept override { return *value ? nullptr : &value->failure(); }

  std::optional<result<R>> value;
};

template <class F, class... Args>
struct pool_call {
  static constexpr bool by_move = std::is_invocable_v<F&, Args...>;
  static_assert(by_move || std::is_invocable_v<F&, Args&...>,
                "run(f, args...): f cannot be called with copies of these arguments (std::ref passes a reference)");
  using raw =
      typename std::conditional_t<by_move, std::invoke_result<F&, Args...>, std::invoke_result<F&, Args&...>>::type;
  static constexpr bool makes_task = weir::detail::is_task<raw>;
  template <class T, bool>
  struct unwrap {
    using type = T;
  };
  template <class T>
  struct unwrap<T, true> {
    using type = typename T::value_type;
  };
  using value_type = typename unwrap<raw, makes_task>::type;

  static raw call(F& function, std::tuple<Args...>& arguments) {
    return std::apply(
        [&function](Args&... each) -> raw {
          if constexpr (by_move) {
            return std::invoke(function, std::move(each)...);
          } else {
            return std::invoke(function, each...);
          }
        },
        arguments);
  }
};

template <class F, class... Args>
class pool_job_of final : public pool_job_with<typename pool_call<F, Args...>::value_type> {
  using kind = pool_call<F, Args...>;

 public:
  template <class G, class... Given>
  explicit pool_job_of(G&& function, Given&&... arguments)
      : kept_(std::in_place, std::forward<G>(function), std::tuple<Args...>(std::forward<Given>(arguments)...)) {}

  task<void> execute() override {
    try {
      auto& [function, arguments] = *kept_;
      if constexpr (kind::makes_task) {
        this->value.emplace(co_await attempt(kind::call(function, arguments)));
      } else if constexpr (std::is_void_v<typename kind::value_type>) {
        kind::call(function, arguments);
        this->value.emplace();
      } else {
        this->value.emplace(kind::call(function, arguments));
      }
    } catch (...) {
      this->fail(failure(std::current_exception()));
    }
    kept_.reset();  // before the owner goes on: nothing of the job is left on this thread then
    co_return;
  }

 private:
  std::optional<std::pair<F, std::tuple<Args...>>> kept_;
};

/// The owner's wait for a job.
class pool_wait : protected weir::detail::wait {
 protected:
  pool_wait(pool_state& pool, pool_job& job) noexcept : pool_(&pool), job_(&job) {}
  pool_wait(pool_wait&& other) noexcept : pool_(other.pool_), job_(std::exchange(other.job_, nullptr)) {}
  ~pool_wait() {
    if (job_ != nullptr) job_->release();
  }

  bool submit(weir::detail::fiber& f, std::coroutine_handle<> h);
  bool interrupt(weir::detail::fiber&) noexcept override;
  const char* what() const noexcept override { return "worker_pool job"; }
  failure why() const;

  pool_state* pool_;
  pool_job* job_;
};

template <class R>
class [[nodiscard]] pool_run : private pool_wait {
 public:
  pool_run(pool_state& pool, pool_job_with<R>& job) noexcept : pool_wait(pool, job) {}
  pool_run(pool_run&&) noexcept = default;  // before it is awaited only
  pool_run& operator=(pool_run&&) = delete;
  ~pool_run() = default;

  bool await_ready() const noexcept { return false; }
  template <weir::detail::weir_promise P>
  bool await_suspend(std::coroutine_handle<P> h) {
    return submit(*h.promise().running, h);
  }
  R await_resume() { return try_resume().value(); }
  result<R> try_resume() {
    if (job_->how != pool_job::outcome::done) return why();
    return std::move(*static_cast<pool_job_with<R>&>(*job_).value);
  }
};

/// Something about the whole pool that a task waits for.
enum class pool_event : std::uint8_t { ready, drained, ended };

class [[nodiscard]] pool_event_awaiter : private weir::detail::wait {
 public:
  pool_event_awaiter(pool_state& pool, pool_event what) noexcept : pool_(&pool), event_(what) {}

  bool await_ready() const noexcept { return false; }
  template <weir::detail::weir_promise P>
  bool await_suspend(std::coroutine_handle<P> h) noexcept {
    return suspend(*h.promise().running, h);
  }
  void await_resume() { return try_resume().value(); }
  result<void> try_resume();

 private:
  bool suspend(weir::detail::fiber& f, std::coroutine_handle<> h) noexcept;
  bool interrupt(weir::detail::fiber&) noexcept override;
  const char* what() const noexcept override;

  pool_state* pool_;
  pool_event event_;
  weir::detail::waiter place_;
};

}  // namespace detail

/// Threads that run jobs, one at a time each.
///
/// `co_await pool.run(f, args...)` calls `f(args...)`, a function or a coroutine, on one of them and completes with
/// what it returns or throws; function and arguments are moved there, and the result back. Jobs start by priority,
/// then in order of arrival; the thread that has been idle longest takes the next. A job runs in a scope of its own:
/// timers and tasks that it starts are part of it. What it throws is its owner's alone; the thread goes on.
///
/// Cancelling the await takes a waiting job out of the queue. One that runs is asked to stop (its awaits end with
/// `cancelled`, `job_stopping` is true) and waited for. After its `timeout` a job is asked to stop as well, but its
/// owner goes on at once with ERR_TIMEOUT: the thread cannot be killed, so it is replaced, and ends when it comes
/// back. Hence what a job with a timeout refers to must outlive it: give it values.
///
/// Any task of any runtime may use the pool, on any worker. It must outlive the awaits on it. A job that waits for
/// another of the same pool keeps its thread meanwhile: with as many of those as threads, none goes on.
class worker_pool {
 public:
  /// Starts the threads. @throws weir::error EAGAIN where the system gives none
  explicit worker_pool(worker_pool_options options = {});
  worker_pool(const worker_pool&) = delete;
  worker_pool& operator=(const worker_pool&) = delete;
  /// Like `shutdown` with no grace, blocking the calling thread for a second at most. Prefer to await `shutdown`.
  ~worker_pool();

  /// Fails with ERR_QUEUE_FULL at `queue_limit`, with ERR_CLOSED after `shutdown` has begun, with
  /// ERR_WORKER_INIT_FAILED if no thread could be set up, with ERR_TIMEOUT, and with ERR_WORKER_TERMINATED where
  /// the pool was shut down (or the thread crashed) before the job ended.
  template <class F, class... Args>
    requires(!std::is_same_v<std::remove_cvref_t<F>, pool_job_options>)
  auto run(F&& function, Args&&... arguments) {
    return run(pool_job_options{}, std::forward<F>(function), std::forward<Args>(arguments)...);
  }
  template <class F, class... Args>
  auto run(const pool_job_options& options, F&& function, Args&&... arguments) {
    return make<false>(options, std::forward<F>(function), std::forward<Args>(arguments)...);
  }

  /// For functions that refer to what the awaiting task has: whatever happens, the await completes after the job has
  /// ended. No timeout applies.
  template <class F, class... Args>
  auto run_borrowing(int priority, F&& function, Args&&... arguments) {
    return make<true>({.priority = priority, .timeout = std::chrono::nanoseconds(0)}, std::forward<F>(function),
                      std::forward<Args>(arguments)...);
  }

  /// `co_await pool.ready()` completes when every thread runs and its `init` is done.
  /// @throws weir::error ERR_WORKER_INIT_FAILED if one failed, with what it threw attached
  detail::pool_event_awaiter ready();

  /// `co_await pool.drain()` completes as soon as no job waits and none runs. New ones may come meanwhile.
  detail::pool_event_awaiter drain();

  /// Ends the pool: no new job is taken; those that run get `grace`, then their owners get ERR_WORKER_TERMINATED and
  /// they are asked to stop. Completes when the threads have ended, with the number of those that did not come back
  /// within `abandon_after`: they end by themselves, whenever their computation does. May be called once more.
  task<std::size_t> shutdown(worker_pool_shutdown options = {});

  std::size_t size() const noexcept;
  worker_pool_statistics statistics() const;

 private:
  template <bool Borrows, class F, class... Args>
  auto make(const pool_job_options& options, F&& function, Args&&... arguments) {
    using job_type = detail::pool_job_of<std::decay_t<F>, std::decay_t<Args>...>;
    using value_type = typename detail::pool_call<std::decay_t<F>, std::decay_t<Args>...>::value_type;
    auto* job = new job_type(std::forward<F>(function), std::forward<Args>(arguments)...);
    job->options = options;
    job->borrows = Borrows;
    return detail::pool_run<value_type>(*state_, *job);
  }

  std::shared_ptr<detail::pool_state> state_;
};

/// True on a thread of a pool whose running job has been asked to stop: for loops that compute and never await.
bool job_stopping() noexcept;

}  // namespace weir::sync
