// core/task.hpp: the coroutine type of weir. A task is lazy: it runs when it is awaited, on the fiber of
// whoever awaits it, by symmetric transfer in both directions. The stack does not grow with the number of
// awaits nor with their depth, in any build type: clang turns the transfer into a jump at every level of
// optimisation, and g++ is given -foptimize-sibling-calls by the build. One frame, no other allocation.
#pragma once

#include <weir/core/config.hpp>
#include <weir/core/fiber.hpp>
#include <weir/core/frame_pool.hpp>
#include <weir/core/result.hpp>

#include <atomic>
#include <concepts>
#include <coroutine>
#include <cstdint>
#include <exception>
#include <memory>
#include <source_location>
#include <type_traits>
#include <utility>

namespace weir {

template <class T = void>
class task;

namespace detail {

class promise_base;

template <class P>
concept weir_promise = std::derived_from<P, promise_base>;

/// Notes that the fiber's last frame has ended; its worker settles it once the frame has been left.
void fiber_ended(fiber& f) noexcept;

struct final_awaiter {
  bool await_ready() const noexcept { return false; }
  template <weir_promise P>
  std::coroutine_handle<> await_suspend(std::coroutine_handle<P> ended) noexcept;
  void await_resume() const noexcept {}
};

struct this_fiber {};

struct this_fiber_awaiter {
  fiber* running;
  bool await_ready() const noexcept { return true; }
  void await_suspend(std::coroutine_handle<>) const noexcept {}
  fiber& await_resume() const noexcept { return *running; }
};

template <class A>
concept has_member_co_await = requires(A&& a) { std::forward<A>(a).operator co_await(); };

/// What every frame of weir has, at a fixed place: who goes on afterwards, on which fiber it runs and
/// where it stands. The chain of continuations is the async backtrace.
class promise_base {
 public:
  promise_base() noexcept {}  // leaves to whoever starts the frame what is his to set
  promise_base(const promise_base&) = delete;
  promise_base& operator=(const promise_base&) = delete;
  ~promise_base() {}

  static void* operator new(std::size_t size) { return take_frame(size); }
  static void operator delete(void* frame, std::size_t size) noexcept { give_frame(frame, size); }

  std::suspend_always initial_suspend(std::source_location here = std::source_location::current()) noexcept {
    where = here;  // the function itself, until it awaits something
    return {};
  }
  final_awaiter final_suspend() const noexcept { return {}; }

  template <class U>
  auto await_transform(task<U>&& child, std::source_location here = std::source_location::current()) noexcept;
  template <class U>
  void await_transform(task<U>&) = delete;  // a task is awaited once: co_await std::move(task)

  void unhandled_exception() noexcept { error = std::current_exception(); }

  this_fiber_awaiter await_transform(this_fiber) noexcept { return {running}; }

  template <class A>
    requires(!has_member_co_await<A>)
  A&& await_transform(A&& awaiter, std::source_location here = std::source_location::current()) noexcept {
    where = here;
    return std::forward<A>(awaiter);
  }

  template <class A>
    requires has_member_co_await<A>
  decltype(auto) await_transform(A&& awaitable, std::source_location here = std::source_location::current()) {
    where = here;
    return std::forward<A>(awaitable).operator co_await();
  }

  /// The frame that awaits this one; a word with bit 0 set if this is a fiber's first frame: of a child, its joiner.
  std::atomic<std::uintptr_t> continuation;
  fiber* running;
  union {
    std::source_location where;  ///< the await that the frame is at; before the first, its function
  };
  std::exception_ptr error;  ///< how the body failed, or null
};

/// The promise of any frame of weir: it stands at a fixed place behind the frame's two function pointers.
inline promise_base& promise_of(std::coroutine_handle<> frame) noexcept {
  return *reinterpret_cast<promise_base*>(static_cast<char*>(frame.address()) + 2 * sizeof(void*));
}

inline constexpr std::uintptr_t first_frame = 1;

template <weir_promise P>
std::coroutine_handle<> final_awaiter::await_suspend(std::coroutine_handle<P> ended) noexcept {
  promise_base& promise = ended.promise();
  auto next = promise.continuation.load(std::memory_order_relaxed);
  if ((next & first_frame) == 0) [[likely]] {
    return std::coroutine_handle<>::from_address(reinterpret_cast<void*>(next));
  }
  fiber_ended(*promise.running);
  return std::noop_coroutine();
}

template <class T>
class promise final : public promise_base {
  using storage = result_storage<T>;
  static_assert(alignof(storage) <= 16, "weir::task: results aligned to more than 16 bytes must be boxed");

 public:
  promise() noexcept {}
  promise(const promise&) = delete;
  promise& operator=(const promise&) = delete;
  ~promise() {
    if constexpr (!std::is_trivially_destructible_v<storage>) {
      if (made_.value) std::destroy_at(&value_);
    }
  }

  task<T> get_return_object() noexcept;

  template <class U = T>
    requires(std::constructible_from<storage, U &&> && !std::is_reference_v<T>)
  void return_value(U&& value) noexcept(std::is_nothrow_constructible_v<storage, U&&>) {
    std::construct_at(&value_, std::forward<U>(value));
    note_value();
  }
  template <class U>
    requires(std::is_reference_v<T>)
  void return_value(U&& referred) noexcept {
    std::construct_at(&value_, std::addressof(static_cast<T>(referred)));
  }
  void return_value(const failure& why) noexcept { error = why.exception(); }

  T take() {
    if (error) [[unlikely]]
      std::rethrow_exception(std::move(error));
    if constexpr (std::is_reference_v<T>) {
      return static_cast<T>(*value_);
    } else {
      return std::move(value_);
    }
  }

  result<T> take_result() {
    if (error) return failure(std::move(error));
    if constexpr (std::is_reference_v<T>) {
      return result<T>(*value_);
    } else {
      return result<T>(std::move(value_));
    }
  }

 private:
  union {
    storage value_;
  };
  struct yes_or_no {
    bool value = false;
  };
  struct nothing {};  // what needs no destructor need not be remembered

  void note_value() noexcept {
    if constexpr (!std::is_trivially_destructible_v<storage>) made_.value = true;
  }

  [[no_unique_address]] std::conditional_t<std::is_trivially_destructible_v<storage>, nothing, yes_or_no> made_;
};

template <>
class promise<void> final : public promise_base {
 public:
  task<void> get_return_object() noexcept;

  void return_void() const noexcept {}

  void take() {
    if (error) [[unlikely]]
      std::rethrow_exception(std::move(error));
  }
  result<void> take_result() {
    if (error) return failure(std::move(error));
    return {};
  }
};

template <class T>
using task_handle = std::coroutine_handle<promise<T>>;

/// Runs a task on the awaiting fiber. Owns the frame; it is destroyed at the end of the co_await expression.
template <class T>
class task_awaiter {
 public:
  explicit task_awaiter(task_handle<T> child) noexcept : child_(child) {}
  task_awaiter(const task_awaiter&) = delete;
  task_awaiter& operator=(const task_awaiter&) = delete;
  ~task_awaiter() { child_.destroy(); }

  bool await_ready() const noexcept { return false; }

  template <weir_promise P>
  std::coroutine_handle<> await_suspend(std::coroutine_handle<P> parent) noexcept {
    auto& promise = child_.promise();
    promise.continuation.store(reinterpret_cast<std::uintptr_t>(parent.address()), std::memory_order_relaxed);
    promise.running = parent.promise().running;
    return child_;
  }

  T await_resume() { return child_.promise().take(); }
  result<T> try_resume() { return child_.promise().take_result(); }

 private:
  task_handle<T> child_;
};

}  // namespace detail

/// A coroutine that has not run yet and completes with a T: a value, void, a reference, a move-only type.
///
/// Runs when awaited, once: `co_await f(x)` or `co_await std::move(t)`. Completes with what the body returns or
/// throws; `co_return failure` fails it without a throw. Cancelling the awaiting scope reaches whatever leaf
/// (I/O, timer, channel) the body waits for. Parameters live in the frame; references among them must outlive
/// the task, which the co_await expression guarantees for temporaries. A task that is never awaited never runs.
/// Frames are aligned to 16 bytes: a result that wants more is refused, but for a local or a parameter that lives
/// across an await and wants more (alignas(64), __m256) the compiler says nothing. Keep those behind a pointer.
template <class T>
class [[nodiscard, WEIR_IN_REGISTERS]] task {
 public:
  using value_type = T;
  using promise_type = detail::promise<T>;

  task(task&& other) noexcept : frame_(std::exchange(other.frame_, nullptr)) {}
  task& operator=(task&& other) noexcept {
    if (this != &other) {
      if (frame_) frame_.destroy();
      frame_ = std::exchange(other.frame_, nullptr);
    }
    return *this;
  }
  ~task() {
    if (frame_) frame_.destroy();
  }

  /// False once it has been moved from or awaited.
  explicit operator bool() const noexcept { return static_cast<bool>(frame_); }

  /// Gives the frame away, for whoever starts it as a fiber of its own.
  [[nodiscard]] detail::task_handle<T> release() && noexcept { return std::exchange(frame_, nullptr); }

 private:
  friend promise_type;
  explicit task(detail::task_handle<T> frame) noexcept : frame_(frame) {}

  detail::task_handle<T> frame_;
};

namespace detail {

template <class T>
task<T> promise<T>::get_return_object() noexcept {
  return task<T>(task_handle<T>::from_promise(*this));
}
inline task<void> promise<void>::get_return_object() noexcept {
  return task<void>(task_handle<void>::from_promise(*this));
}

template <class U>
auto promise_base::await_transform(task<U>&& child, std::source_location here) noexcept {
  where = here;
  return task_awaiter<U>(std::move(child).release());
}

template <class T>
inline constexpr bool is_task = false;
template <class T>
inline constexpr bool is_task<task<T>> = true;

template <class A>
struct awaited {
  using type = decltype(std::declval<A&>().await_resume());
};
template <has_member_co_await A>
struct awaited<A> {
  using type = decltype(std::declval<A>().operator co_await().await_resume());
};
template <class T>
struct awaited<task<T>> {
  using type = T;
};

/// What `co_await` of an A gives.
template <class A>
using awaited_t = typename awaited<std::remove_cvref_t<A>>::type;

/// A task of anything awaitable.
template <class T>
task<T> as_task(task<T>&& already) noexcept {
  return std::move(already);
}
template <class A>
  requires(!is_task<std::remove_cvref_t<A>>)
task<awaited_t<A>> as_task(A awaitable) {
  co_return co_await std::move(awaitable);
}

/// Awaits `A` and answers with a result instead of throwing.
template <class A>
class attempt_awaiter {
 public:
  explicit attempt_awaiter(A&& inner) : inner_(std::move(inner)) {}

  bool await_ready() { return inner_.await_ready(); }
  template <weir_promise P>
  decltype(auto) await_suspend(std::coroutine_handle<P> h) {
    return inner_.await_suspend(h);
  }
  result<awaited_t<A>> await_resume() {
    if constexpr (requires { inner_.try_resume(); }) {
      return inner_.try_resume();
    } else {
      try {
        if constexpr (std::is_void_v<awaited_t<A>>) {
          inner_.await_resume();
          return {};
        } else {
          return inner_.await_resume();
        }
      } catch (...) {
        return failure(std::current_exception());
      }
    }
  }

 private:
  A inner_;
};

template <class T>
class attempt_awaiter<task<T>> : public task_awaiter<T> {
 public:
  explicit attempt_awaiter(task<T>&& inner) noexcept : task_awaiter<T>(std::move(inner).release()) {}
  result<T> await_resume() { return this->try_resume(); }
};

}  // namespace detail

/// `co_await attempt(op)` gives a result<T>: nothing is thrown on the way, whatever the outcome. An operation of
/// weir answers without making an exception at all; a task that threw inside hands over what it threw.
template <class A>
[[nodiscard]] auto attempt(A&& awaitable) {
  if constexpr (detail::has_member_co_await<A>) {
    return attempt(std::forward<A>(awaitable).operator co_await());
  } else {
    static_assert(!std::is_lvalue_reference_v<A>, "attempt takes what it is to await by value: attempt(std::move(x))");
    return detail::attempt_awaiter<std::remove_cvref_t<A>>(std::forward<A>(awaitable));
  }
}

}  // namespace weir
