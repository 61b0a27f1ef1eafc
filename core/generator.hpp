// core/generator.hpp: a coroutine that yields many values, and may await anything of weir between them. Lazy and
// pulled: it runs on the fiber of whoever asks for the next value, by symmetric transfer both ways, and stands
// still otherwise. One frame from the frame pool; a value costs no allocation.
#pragma once

#include <weir/core/fiber.hpp>
#include <weir/core/result.hpp>
#include <weir/core/task.hpp>

#include <coroutine>
#include <cstdint>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

namespace weir {

template <class T>
class generator;

namespace detail {

template <class T>
class generator_promise;

template <class T>
using generator_handle = std::coroutine_handle<generator_promise<T>>;

/// What `next` gives: a pointer for references, which no optional can hold.
template <class T>
using yielded = std::conditional_t<std::is_reference_v<T>, std::remove_reference_t<T>*, std::optional<T>>;

/// Hands the value at an address to the consumer. `Kept`: the copy of an lvalue, else nothing.
template <class T, class Kept>
class yield_awaiter {
 public:
  template <class... From>
  explicit yield_awaiter(From&&... from) : kept_(std::forward<From>(from)...) {}

  bool await_ready() const noexcept { return false; }
  std::coroutine_handle<> await_suspend(generator_handle<T> h) noexcept {
    auto& promise = h.promise();
    if constexpr (!std::is_empty_v<Kept>) promise.value = std::addressof(kept_.value);
    promise_ = &promise;
    auto consumer = promise.continuation.load(std::memory_order_relaxed);
    return std::coroutine_handle<>::from_address(reinterpret_cast<void*>(consumer));
  }
  void await_resume() const {
    if (promise_->closing) throw cancelled();
  }

 private:
  [[no_unique_address]] Kept kept_;
  generator_promise<T>* promise_ = nullptr;
};

struct keeps_nothing {};
template <class T>
struct keeps_copy {
  explicit keeps_copy(const T& from) : value(from) {}
  T value;
};

template <class T>
class generator_promise final : public promise_base {
 public:
  using object = std::remove_reference_t<T>;

  generator<T> get_return_object() noexcept;

  /// A value stays where it is, in the frame, until the consumer has moved it out.
  yield_awaiter<T, keeps_nothing> yield_value(object&& made) noexcept
    requires(!std::is_lvalue_reference_v<T>)
  {
    value = std::addressof(made);
    return yield_awaiter<T, keeps_nothing>();
  }
  yield_awaiter<T, keeps_copy<object>> yield_value(const object& copied)
    requires(!std::is_reference_v<T> && std::copy_constructible<object>)
  {
    return yield_awaiter<T, keeps_copy<object>>(copied);
  }
  yield_awaiter<T, keeps_nothing> yield_value(T referred) noexcept
    requires(std::is_lvalue_reference_v<T>)
  {
    value = std::addressof(referred);
    return yield_awaiter<T, keeps_nothing>();
  }

  void return_void() const noexcept {}

  object* value = nullptr;  ///< what the consumer is to take; null: the body has ended
  bool begun = false;
  bool closing = false;  ///< the body is to clean up and end
};

/// Runs a generator up to its next value or its end.
template <class T>
class [[nodiscard]] next_awaiter {
 public:
  explicit next_awaiter(generator_handle<T> of) noexcept : of_(of) {}

  bool await_ready() const noexcept { return !of_ || of_.done(); }

  template <weir_promise P>
  std::coroutine_handle<> await_suspend(std::coroutine_handle<P> h) noexcept {
    fiber& running = *h.promise().running;
    if (running.must_stop()) {
      stopped_ = true;
      return h;
    }
    auto& promise = of_.promise();
    promise.continuation.store(reinterpret_cast<std::uintptr_t>(h.address()), std::memory_order_relaxed);
    promise.running = &running;
    promise.value = nullptr;
    promise.begun = true;
    if (yield_if_spent(running, of_)) return std::noop_coroutine();
    return of_;
  }

  yielded<T> await_resume() {
    if (stopped_) throw cancelled();
    if (failed()) [[unlikely]]
      std::rethrow_exception(std::exchange(of_.promise().error, nullptr));
    return take();
  }
  result<yielded<T>> try_resume() {
    if (stopped_) return failure(cancelled());
    if (failed()) return failure(std::exchange(of_.promise().error, nullptr));
    return take();
  }

 private:
  bool failed() const noexcept { return of_ && of_.promise().error != nullptr; }

  yielded<T> take() {
    auto* value = of_ ? std::exchange(of_.promise().value, nullptr) : nullptr;
    if constexpr (std::is_reference_v<T>) {
      return value;
    } else {
      if (value == nullptr) return std::nullopt;
      return std::optional<T>(std::move(*value));
    }
  }

  generator_handle<T> of_;
  bool stopped_ = false;
};

/// Lets a generator clean up.
template <class T>
class [[nodiscard]] close_awaiter {
 public:
  explicit close_awaiter(generator_handle<T> owned) noexcept : of_(owned) {}
  close_awaiter(const close_awaiter&) = delete;
  close_awaiter& operator=(const close_awaiter&) = delete;
  ~close_awaiter() {
    if (of_) of_.destroy();
  }

  // A body that has not begun has nothing to clean up.
  bool await_ready() const noexcept { return !of_ || of_.done() || !of_.promise().begun; }

  template <weir_promise P>
  std::coroutine_handle<> await_suspend(std::coroutine_handle<P> h) noexcept {
    auto& promise = of_.promise();
    promise.continuation.store(reinterpret_cast<std::uintptr_t>(h.address()), std::memory_order_relaxed);
    promise.running = h.promise().running;
    promise.closing = true;
    return of_;
  }

  void await_resume() const {
    if (!of_) return;
    auto& error = of_.promise().error;
    if (error && !failure(error).is_cancelled()) std::rethrow_exception(error);
  }

 private:
  generator_handle<T> of_;
};

}  // namespace detail

/// A coroutine that yields values of type T, one for each `co_await g.next()`.
///
/// `co_yield x` gives T by value: moved from an rvalue, copied from an lvalue; of generator<T&> it gives the object
/// itself, which must stay until the next call. The body may await whatever a task may.
///
/// `next` completes with std::optional<T> (T* for a reference): empty at the end, and ever after. What the body throws
/// comes out of `next` once; then the generator has ended. Cancelling: a task that is to stop gets `cancelled` from
/// `next` and the generator stays where it is; one that is cancelled while the body awaits something has the await
/// fail inside the body, which ends the generator unless the body catches it.
///
/// Destroying a generator early destroys what the body holds, in reverse order, as leaving it would. Cleanup that
/// awaits needs `close`. One task at a time may use it, on any worker; between two calls it may change hands. It
/// must outlive its `next`. Values may be aligned to 16 bytes at most.
template <class T>
class [[nodiscard]] generator {
  static_assert(!std::is_void_v<T> && !std::is_rvalue_reference_v<T>);

 public:
  using value_type = std::remove_cvref_t<T>;
  using promise_type = detail::generator_promise<T>;

  generator(generator&& other) noexcept : frame_(std::exchange(other.frame_, nullptr)) {}
  generator& operator=(generator&& other) noexcept {
    if (this != &other) {
      if (frame_) frame_.destroy();
      frame_ = std::exchange(other.frame_, nullptr);
    }
    return *this;
  }
  ~generator() {
    if (frame_) frame_.destroy();
  }

  /// Runs the body up to its next value.
  detail::next_awaiter<T> next() noexcept { return detail::next_awaiter<T>(frame_); }

  /// `co_await std::move(g).close()` ends it early as Node's `return()` does: the pending co_yield throws `cancelled`
  /// inside the body, which may catch it, await its cleanup and return. What it throws instead comes out here; what it
  /// yields instead is dropped and the rest destroyed.
  detail::close_awaiter<T> close() && noexcept { return detail::close_awaiter<T>(std::exchange(frame_, nullptr)); }

  /// True once the body has ended, or it was moved from.
  bool done() const noexcept { return !frame_ || frame_.done(); }

 private:
  friend promise_type;
  explicit generator(detail::generator_handle<T> frame) noexcept : frame_(frame) {}

  detail::generator_handle<T> frame_;
};

namespace detail {

template <class T>
generator<T> generator_promise<T>::get_return_object() noexcept {
  return generator<T>(generator_handle<T>::from_promise(*this));
}

}  // namespace detail
}  // namespace weir
