// core/scope.hpp: structured concurrency. `with_scope` runs a body that may spawn tasks, and ends when the
// body and every child have ended: nothing outlives its scope. The first failure cancels the rest and is
// rethrown; cleanup registered with `on_exit` runs before that. Rests on fibers and tasks only.
#pragma once

#include <weir/core/context.hpp>
#include <weir/core/event.hpp>
#include <weir/core/fiber.hpp>
#include <weir/core/task.hpp>

#include <chrono>
#include <functional>
#include <source_location>
#include <string>
#include <tuple>
#include <vector>

namespace weir {

class abort_signal;

namespace detail {

class executor;

/// The record of a spawned fiber. The scope and the join handle share it; the last of them frees it.
class child : public fiber {
 public:
  enum : std::uint8_t { done = 1, dropped = 2 };
  static constexpr std::uintptr_t nobody = first_frame;
  static constexpr std::uintptr_t settled_mark = first_frame + 2;
  static constexpr std::uintptr_t stopped_mark = first_frame + 4;  ///< the await was cancelled before it had begun

  std::atomic<std::uint8_t> state{0};

  /// The fiber that awaits the handle (bit 0 set), or a mark. Nobody comes after a first frame, so it has room for it.
  std::atomic<std::uintptr_t>& joiner() const noexcept { return promise_of(frame).continuation; }

  static child* make(std::string_view name);
  static void destroy(child* record) noexcept;
  std::string_view name() const noexcept;

  /// @return the state before
  std::uint8_t add_state(std::uint8_t bit) noexcept;

  /// Ends the handle's share.
  void drop() noexcept;
};

/// Whether F, a function or a lambda without captures, takes exactly these types by value. Then its own frame keeps
/// all there is to keep. A parameter that only views an argument (string_view of a string) does not count.
template <class F, class... Args>
struct keeps_itself : std::false_type {};
template <class R, class... P>
struct keeps_itself<R (*)(P...), P...> : std::bool_constant<(!std::is_reference_v<P> && ...)> {};
template <class R, class... P>
struct keeps_itself<R (*)(P...) noexcept, P...> : std::bool_constant<(!std::is_reference_v<P> && ...)> {};
template <class R, class C, class... P>
struct keeps_itself<R (C::*)(P...) const, P...> : std::bool_constant<(!std::is_reference_v<P> && ...)> {};
template <class F, class... Args>
  requires(std::is_class_v<F> && std::is_empty_v<F> && requires { &F::operator(); })
struct keeps_itself<F, Args...> : keeps_itself<decltype(&F::operator()), Args...> {};

template <class T>
inline constexpr bool starts_a_made_task = false;

/// Keeps a callable and its arguments for as long as the task that they make.
template <class R, class F, class... Args>
task<R> run_owned(F function, Args... arguments) {
  if constexpr (std::is_invocable_v<F&, Args...>) {
    co_return co_await std::invoke(function, std::move(arguments)...);
  } else {
    co_return co_await std::invoke(function, arguments...);
  }
}

template <class T>
T&& unwrapped(T&& value) noexcept {
  return std::forward<T>(value);
}

template <class F, class... Args>
struct spawned {
  template <class A>
  using stored = std::decay_t<A>;
  static constexpr bool by_move = std::is_invocable_v<std::decay_t<F>&, stored<Args>...>;
  static constexpr bool by_reference = std::is_invocable_v<std::decay_t<F>&, stored<Args>&...>;
  static_assert(by_move || by_reference,
                "spawn(f, args...): f cannot be called with copies of these arguments (std::ref passes a reference)");
  using task_type = typename std::conditional_t<by_move, std::invoke_result<std::decay_t<F>&, stored<Args>...>,
                                                std::invoke_result<std::decay_t<F>&, stored<Args>&...>>::type;
  static_assert(is_task<task_type>, "spawn(f, args...): f must return a weir::task");
  using value_type = typename task_type::value_type;

  static task_type make(F&& function, Args&&... arguments) {
    if constexpr (keeps_itself<std::decay_t<F>, stored<Args>...>::value) {
      return std::invoke(function, std::forward<Args>(arguments)...);
    } else {
      return run_owned<value_type, std::decay_t<F>, stored<Args>...>(std::forward<F>(function),
                                                                     std::forward<Args>(arguments)...);
    }
  }
};

}  // namespace detail

/// A spawned task, for whoever wants its result. Dropping it changes nothing: the scope still waits.
///
/// `co_await std::move(handle)` completes with what the task returned, or throws what it threw (which has
/// cancelled the scope as well). Cancelling the await leaves the task alone, and one may await again. Its result is
/// handed over once. To be awaited by one task at a time, within the scope.
template <class T = void>
class join_handle final : private detail::wait {
 public:
  join_handle(join_handle&& other) noexcept : record_(std::exchange(other.record_, nullptr)) {}
  join_handle& operator=(join_handle&& other) noexcept {
    std::swap(record_, other.record_);
    return *this;
  }
  ~join_handle() {
    if (record_ != nullptr) record_->drop();
  }

  bool done() const noexcept { return (record_->state.load(std::memory_order_acquire) & detail::child::done) != 0; }

  /// Asks the task to stop, and nobody else.
  void cancel() noexcept {
    if (!done()) record_->cancel();
  }

  bool await_ready() noexcept {
    stopped_ = false;
    return done();
  }
  template <detail::weir_promise P>
  bool await_suspend(std::coroutine_handle<P> h) noexcept {
    return suspend(*h.promise().running, h);
  }

  T await_resume() {
    if (stopped_) throw cancelled();
    return promise().take();
  }
  result<T> try_resume() {
    if (stopped_) return failure(cancelled());
    return promise().take_result();
  }

 private:
  friend class scope;
  explicit join_handle(detail::child* record) noexcept : record_(record) {}

  detail::promise<T>& promise() noexcept {
    return detail::task_handle<T>::from_address(record_->frame.address()).promise();
  }

  bool suspend(detail::fiber& waiter, std::coroutine_handle<> h) noexcept {
    bool blocked = waiter.block(*this, h);
    bool shared = waiter.has(detail::fiber::shared);
    if (blocked && detail::replace_word(record_->joiner(), detail::child::nobody, word_of(waiter), shared)) return true;
    if (blocked) waiter.unblock();
    auto mark = detail::child::stopped_mark;
    bool early = record_->joiner().compare_exchange_strong(mark, detail::child::nobody, std::memory_order_acq_rel);
    stopped_ = !blocked || early;
    return false;
  }

  static std::uintptr_t word_of(detail::fiber& waiter) noexcept {
    return reinterpret_cast<std::uintptr_t>(&waiter) + detail::first_frame;
  }

  // A canceller may come before `suspend` has put its name down; then it leaves word.
  bool interrupt(detail::fiber& waiter) noexcept override {
    using detail::child;
    auto word = word_of(waiter);
    auto expected = word;
    while (!record_->joiner().compare_exchange_strong(
        expected, expected == child::nobody ? child::stopped_mark : child::nobody, std::memory_order_acq_rel)) {
      if (expected != child::nobody && expected != word) return false;
    }
    if (expected == child::nobody) return false;
    stopped_ = true;
    return true;
  }
  const char* what() const noexcept override { return "join"; }

  detail::child* record_;
  bool stopped_ = false;
};

/// How a scope behaves; see the members.
struct scope_options {
  /// Takes the failures of children instead of the scope: siblings go on and nothing is rethrown. For servers
  /// whose connections fail on their own. The body's own failure still ends the scope. May run on any worker.
  std::function<void(std::exception_ptr)> on_child_failure = {};
};

/// What `spawn` can be told besides what to run.
struct spawn_options {
  std::string_view name = {};  ///< shown in task dumps and stall reports; copied
};

/// The handle that a body gets to spawn with. Made by `with_scope` only. Spawning and cancelling may be done by
/// any code that runs inside the scope (the body, its children, their callbacks), on any worker.
class scope : public detail::group {
 public:
  scope(const scope&) = delete;
  scope& operator=(const scope&) = delete;

  /// Starts `function(arguments...)`, which must return a task, as a child that any worker may run. Function and
  /// arguments are copied or moved into the child and live as long as it does; std::ref passes a reference to
  /// something that outlives the scope. Returns before the child has run.
  template <class F, class... Args>
    requires(!detail::is_task<std::remove_cvref_t<F>>)
  auto spawn(F&& function, Args&&... arguments) {
    return launch<F, Args...>({}, false, std::forward<F>(function), std::forward<Args>(arguments)...);
  }
  template <class F, class... Args>
  auto spawn(const spawn_options& options, F&& function, Args&&... arguments) {
    return launch<F, Args...>(options, false, std::forward<F>(function), std::forward<Args>(arguments)...);
  }
  template <class T>
  void spawn(const task<T>&) {
    static_assert(detail::starts_a_made_task<T>,
                  "spawn(f, x) takes a function and its arguments, not the task that f(x) makes: nobody would keep x");
  }

  /// Like `spawn`, for a loop-affine child: it lives on the worker of the caller, in Node's order, and starts
  /// as soon as the caller suspends. Children of one worker never run in parallel to each other.
  template <class F, class... Args>
    requires(!detail::is_task<std::remove_cvref_t<F>>)
  auto spawn_local(F&& function, Args&&... arguments) {
    return launch<F, Args...>({}, true, std::forward<F>(function), std::forward<Args>(arguments)...);
  }
  template <class F, class... Args>
  auto spawn_local(const spawn_options& options, F&& function, Args&&... arguments) {
    return launch<F, Args...>(options, true, std::forward<F>(function), std::forward<Args>(arguments)...);
  }
  template <class T>
  void spawn_local(const task<T>& made) {
    spawn(made);
  }

  /// Like `spawn_local`, on the worker numbered `index` (modulo their number).
  template <class F, class... Args>
    requires(!detail::is_task<std::remove_cvref_t<F>>)
  auto spawn_on(unsigned index, F&& function, Args&&... arguments) {
    using kind = detail::spawned<F, Args...>;
    auto body = kind::make(std::forward<F>(function), std::forward<Args>(arguments)...);
    auto* record = detail::child::make({});
    start_on(index, *record, std::move(body).release());
    return join_handle<typename kind::value_type>(record);
  }

  /// Registers async cleanup: `function()` must return task<>. Runs when body and children have ended, the last
  /// registered first, shielded from cancellation; a failure in one does not keep the others from running.
  template <class F>
  void on_exit(F function) {
    static_assert(std::is_same_v<std::invoke_result_t<F&>, task<void>>, "on_exit takes a function that returns task<>");
    detail::spin_guard guard(lock_, is_shared());
    exits_.emplace_back(std::move(function));
  }

  /// Asks body and children to stop. `with_scope` then returns normally (or throws `cancelled` where a value
  /// was to be returned), unless something failed.
  void cancel() noexcept { cancel_members(); }

  /// Tells the children to finish up (see `closing`), and cancels what is left after `grace`.
  void close(std::chrono::nanoseconds grace);

  /// True once `close` was called: time to stop taking new work.
  bool closing() const noexcept { return closing_.is_set(); }

  /// `co_await s.closed()` completes when `close` is called.
  auto closed() noexcept { return closing_.wait(); }

  /// True once the scope has been cancelled, by a failure, by `cancel` or from outside.
  using detail::group::is_cancelled;

  /// @cond internal
  scope(detail::fiber& parent, scope_options options);
  explicit scope(detail::executor& home, scope_options options, bool shared);
  ~scope();
  void fail(std::exception_ptr why) noexcept;
  std::exception_ptr failure_of_all() noexcept;
  /// Runs the cleanups, and joins what they have spawned.
  task<void> run_exits();
  detail::executor& home() const noexcept { return home_; }
  scope* outer() const noexcept { return outer_; }
  bool has_exits() const noexcept { return !exits_.empty(); }
  bool has_members() const noexcept {
    detail::spin_guard guard(lock_, is_shared());
    return live();
  }
  /// A child's or callback's failure: for the option's handler if there is one, else the scope's own.
  void child_failed(std::exception_ptr why) noexcept;
  void add_branch(detail::fiber& branch, std::coroutine_handle<> frame, detail::fiber& parent) noexcept;
  const char* what() const noexcept override { return "scope"; }
  void finish(detail::fiber& f) noexcept override;
  /// @endcond

 protected:
  void settled(detail::fiber& f) noexcept override;
  dropped drop_timer(detail::member& timer) noexcept override;

 private:
  template <class F, class... Args>
  auto launch(const spawn_options& options, bool local, F&& function, Args&&... arguments) {
    using kind = detail::spawned<F, Args...>;
    auto body = kind::make(std::forward<F>(function), std::forward<Args>(arguments)...);
    auto* record = detail::child::make(options.name);
    start_child(*record, std::move(body).release(), local);
    return join_handle<typename kind::value_type>(record);
  }
  void adopt(detail::child& record, std::coroutine_handle<> frame, bool local, const detail::execution* by) noexcept;
  void start_child(detail::child& record, std::coroutine_handle<> frame, bool local) noexcept;
  void start_on(unsigned index, detail::child& record, std::coroutine_handle<> frame) noexcept;
  std::uint8_t flags_for(bool local) const noexcept;

  detail::executor& home_;
  scope* outer_ = nullptr;
  scope_options options_;
  std::exception_ptr first_failure_;
  std::vector<std::exception_ptr> other_failures_;
  std::vector<std::function<task<void>()>> exits_;
  event closing_;
  detail::fiber* body_ = nullptr;
};

namespace detail {

/// Starts the body and waits until it and everything else in the scope have ended.
class scope_awaiter {
 public:
  enum timers : bool { close_timers, keep_timers };
  scope_awaiter(scope& s, std::coroutine_handle<> body, timers at_end = close_timers) noexcept
      : scope_(s), body_(body), at_end_(at_end) {}

  bool await_ready() const noexcept { return false; }
  template <weir_promise P>
  bool await_suspend(std::coroutine_handle<P> h) noexcept {
    auto& parent = *h.promise().running;
    if (body_) scope_.add_branch(branch_, body_, parent);
    return scope_.join(parent, h);
  }
  /// @return true if the scope has been closed for timers; if not, `run_exits` does it
  bool await_resume() noexcept { return at_end_ == close_timers && scope_.close_timers(); }

 private:
  scope& scope_;
  std::coroutine_handle<> body_;
  timers at_end_;
  fiber branch_;
};

/// Waits until everything in the scope has ended.
class members_awaiter {
 public:
  explicit members_awaiter(scope& s) noexcept : scope_(s) {}
  bool await_ready() const noexcept { return false; }
  template <weir_promise P>
  bool await_suspend(std::coroutine_handle<P> h) noexcept {
    return scope_.join(*h.promise().running, h);
  }
  void await_resume() const noexcept {}

 private:
  scope& scope_;
};

/// True if the fiber has been asked to stop from outside: then a scope's end is not its own doing.
inline bool stopped_from_outside(const fiber& running) noexcept { return running.must_stop(); }

}  // namespace detail

/// Runs `body(scope&)`, which must return a task, and everything spawned in the scope.
///
/// Completes with the body's result once body, children, their callbacks and timers have all ended and the
/// `on_exit` cleanups have run. The first failure (of body or child) cancels the others and is rethrown with
/// the type that it had, later ones attached (`error::attached`). Cancelling the await cancels everything in
/// the scope and still waits for it. The body runs on the fiber's own worker if that is loop-affine. Its locals go when
/// it returns, before the children end: what children or callbacks refer to belongs outside the scope.
template <class F>
auto with_scope(F body, scope_options options = {}) -> task<detail::awaited_t<std::invoke_result_t<F&, scope&>>> {
  using R = detail::awaited_t<std::invoke_result_t<F&, scope&>>;
  auto& running = co_await detail::this_fiber{};
  scope s(running, std::move(options));
  struct owner {
    detail::task_handle<R> frame;
    ~owner() {
      if (frame) frame.destroy();
    }
  } owned{};
  try {
    owned.frame = body(s).release();
  } catch (...) {  // a body that is no coroutine may have spawned before it threw
    s.fail(std::current_exception());
  }
  auto& frame = owned.frame;
  bool closed = co_await detail::scope_awaiter(s, frame);
  if (!closed || s.has_exits()) co_await s.run_exits();
  if (auto why = s.failure_of_all()) std::rethrow_exception(why);
  if constexpr (std::is_void_v<R>) {
    if (frame.promise().error && !detail::stopped_from_outside(running)) co_return;
  }
  co_return frame.promise().take();
}

}  // namespace weir
