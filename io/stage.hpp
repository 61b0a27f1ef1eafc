// io/stage.hpp: what operators on streams are made of: the `|` between a source and a stage, and the base of a source
// that reads another. Rests on io/stream_core.hpp. Of interest to those who write operators; everybody else includes
// io/operators.hpp.
#pragma once

#include <weir/core/scope.hpp>
#include <weir/core/spin_lock.hpp>
#include <weir/io/readable.hpp>
#include <weir/io/stream_core.hpp>

#include <exception>
#include <optional>
#include <type_traits>
#include <utility>

namespace weir::io {

/// A function from a source to something that reads it: another source, or a task. Used in three ways:
///   source | stage            a source given by name is only borrowed and must outlive the result; any other moves in
///   stage | stage             a stage that is both
///   pipeline(source, stage, ..., sink)     as a stage, or a task as the last one
/// A stage is used once.
template <class F>
class [[nodiscard]] stage {
 public:
  explicit stage(F make) : make_(std::move(make)) {}

  template <class S>
    requires source<std::remove_reference_t<S>>
  auto operator()(S&& from) {
    return make_.template operator()<S>(std::forward<S>(from));
  }

 private:
  F make_;
};

template <class S, class F>
  requires source<std::remove_reference_t<S>>
auto operator|(S&& from, stage<F> with) {
  return with(std::forward<S>(from));
}

template <class F, class G>
auto operator|(stage<F> first, stage<G> second) {
  return stage([first = std::move(first), second = std::move(second)]<class S>(S&& from) mutable {
    return second(first(std::forward<S>(from)));
  });
}

namespace streams {

template <class S>
using item_of = source_value<std::remove_reference_t<S>>;

/// What a function's result is once it has been awaited, if it is a task.
template <class R>
struct settled_result {
  using type = R;
};
template <class R>
struct settled_result<task<R>> {
  using type = R;
};
template <class F, class... A>
using call_result = typename settled_result<std::invoke_result_t<F, A...>>::type;

template <class F, class... A>
inline constexpr bool gives_task = weir::detail::is_task<std::remove_cvref_t<std::invoke_result_t<F, A...>>>;

/// A ring that moves with the operator that it is in.
template <class T>
class movable_ring : public chunk_ring<T> {
 public:
  movable_ring() = default;
  movable_ring(movable_ring&& other) noexcept { this->swap(other); }
};

/// A child of some scope that works for one object, and is asked to stop when that goes.
class running_child {
 public:
  running_child() = default;
  explicit running_child(join_handle<void> child) noexcept : child_(std::move(child)) {}
  running_child(running_child&& other) noexcept : child_(std::move(other.child_)) { other.child_.reset(); }
  running_child& operator=(running_child&& other) noexcept {
    if (this == &other) return *this;
    stop();
    child_.reset();
    if (other.child_) child_.emplace(std::move(*other.child_));
    other.child_.reset();
    return *this;
  }
  ~running_child() { stop(); }

  void stop() noexcept {
    if (child_) child_->cancel();
  }

 private:
  std::optional<join_handle<void>> child_;
};

/// Starts a child of `owner` where the caller's kind of fiber would run.
template <class F, class... A>
running_child start_child(scope& owner, bool local, F&& function, A&&... arguments) {
  return running_child(local ? owner.spawn_local(std::forward<F>(function), std::forward<A>(arguments)...)
                             : owner.spawn(std::forward<F>(function), std::forward<A>(arguments)...));
}

/// A lock that moves with what it guards, as long as nobody else knows of that.
class movable_lock : public weir::detail::spin_lock {
 public:
  movable_lock() = default;
  movable_lock(movable_lock&&) noexcept {}
  movable_lock& operator=(movable_lock&&) noexcept { return *this; }
  ~movable_lock() = default;
};

/// Base of a source that reads another one, `S`: an object, or a reference to one that is only borrowed.
///
/// A cancelled `next` has lost nothing, and may be called again, unless the source below does not survive that or an
/// item was in the hands of a function that is a coroutine: then that item is gone. `closed` tells.
template <class S>
class reading {
 public:
  explicit reading(S&& from) : from_(std::forward<S>(from)) {}

  /// After a `next` that was cancelled: whether something was lost by it.
  bool closed() const noexcept { return in_hand_ || (!dropped_ && !survives_cancel(from_)); }

  /// Tells the source below, unless it is borrowed. Without a reason it is only let go, which for a stream that is a
  /// stage of a pipeline is no failure. May come from another thread while `next` is under way.
  void destroy(const std::exception_ptr& why) noexcept {
    if constexpr (!std::is_lvalue_reference_v<S>) {
      weir::detail::spin_guard guard(lock_);
      if (why && !dropped_) tell_destroyed(from_, why);
    }
  }

 protected:
  /// Lets the source below go before its time; one that is borrowed stays.
  void drop_source() noexcept {
    if constexpr (!std::is_lvalue_reference_v<S>) {
      weir::detail::spin_guard guard(lock_);
      dropped_ = true;
      guard.unlock();
      [[maybe_unused]] S gone = std::move(from_);
    }
  }

  S from_;
  bool in_hand_ = false;

 private:
  bool dropped_ = false;  // `from_` has been moved from: nothing may be asked of it
  movable_lock lock_;     // for `dropped_`, between `drop_source` and `destroy`
};

}  // namespace streams
}  // namespace weir::io
