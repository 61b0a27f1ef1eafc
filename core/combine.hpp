// core/combine.hpp: running several awaitables at once and waiting for them together: all, all_settled, race,
// any, shield (and timeout and abortable, from abort.hpp). Each branch is a fiber that ends before the combinator
// completes: losers are cancelled and joined, never left behind. Branches of a loop-affine task stay on its worker;
// those of other tasks may run in parallel. A combinator is itself awaitable, so they nest. Semantics of the Promise
// combinators where those have them.
#pragma once

#include <weir/core/fiber.hpp>
#include <weir/core/scope.hpp>
#include <weir/core/task.hpp>

#include <array>
#include <cstddef>
#include <limits>
#include <optional>
#include <ranges>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace weir {
namespace detail {

/// When a fan-out stops early, and why.
enum class policy : std::uint8_t {
  all,      ///< the first failure cancels the rest
  settled,  ///< nothing does
  race,     ///< the first to end, however it ends
  any,      ///< the first to succeed
};

/// The branches of one combinator. Lives in the awaiter; the frames belong to whoever made it.
class fan_out : public group {
 public:
  /// @param on_free for a concurrency limit: called when a branch has ended and another may start
  fan_out(policy rule, fiber& parent, void (*on_free)(fan_out&) noexcept = nullptr) noexcept;

  /// Adds a branch and starts it.
  void start_branch(fiber& branch, std::coroutine_handle<> frame, fiber& parent) noexcept;

  fiber* decided() const noexcept { return decided_.load(std::memory_order_acquire); }
  const char* what() const noexcept override;

 protected:
  void settled(fiber& f) noexcept override;

 private:
  policy rule_;
  void (*on_free_)(fan_out&) noexcept;
  std::atomic<fiber*> decided_{nullptr};
};

class tuple_group final : public fan_out {
 public:
  using fan_out::fan_out;
};

/// Starts `frame` as a branch of `owner` on behalf of `parent`: same worker, same context.
void launch_branch(group& owner, fiber& branch, std::coroutine_handle<> frame, fiber& parent) noexcept;

/// The scope of the whole run.
scope& root_of(execution& running) noexcept;

/// What `any` fails with.
std::exception_ptr none_succeeded(std::vector<std::exception_ptr> errors);

/// @throws weir::error ERR_OUT_OF_RANGE for a limit of 0, which could never end
std::size_t checked_limit(std::size_t limit);

template <class T>
using settled_value = std::conditional_t<std::is_void_v<T>, std::monostate, T>;

/// The frame of a task, owned.
template <class T>
class owned_frame {
 public:
  explicit owned_frame(task<T>&& from) noexcept : frame_(std::move(from).release()) {}
  owned_frame(owned_frame&& other) noexcept : frame_(std::exchange(other.frame_, nullptr)) {}
  owned_frame& operator=(owned_frame&&) = delete;
  ~owned_frame() {
    if (frame_) frame_.destroy();
  }
  task_handle<T> get() const noexcept { return frame_; }

  settled_value<T> take() {
    if constexpr (std::is_void_v<T>) {
      frame_.promise().take();
      return {};
    } else {
      return frame_.promise().take();
    }
  }
  result<T> take_result() { return frame_.promise().take_result(); }

 private:
  task_handle<T> frame_;
};

/// Runs N tasks of any types.
template <policy Rule, class... T>
class tuple_fan_out {
 public:
  explicit tuple_fan_out(task<T>&&... each) : frames_(std::move(each)...) {}
  tuple_fan_out(tuple_fan_out&& other) noexcept : frames_(std::move(other.frames_)) {}  // before it is awaited only

  bool await_ready() const noexcept { return sizeof...(T) == 0; }

  template <weir_promise P>
  bool await_suspend(std::coroutine_handle<P> h) noexcept {
    auto& parent = *h.promise().running;
    auto& group = group_.emplace(Rule, parent);
    std::apply(
        [&](auto&... frame) {
          std::size_t i = 0;
          (group.start_branch(branches_[i++], frame.get(), parent), ...);
        },
        frames_);
    return group.join(parent, h);
  }

 protected:
  std::tuple<owned_frame<T>...> frames_;
  std::array<fiber, sizeof...(T)> branches_;
  std::optional<tuple_group> group_;

  std::size_t decided_index() const noexcept { return static_cast<std::size_t>(group_->decided() - branches_.data()); }

  // What made the group stop. A branch that was only told to stop is not to blame, unless there is no other.
  std::exception_ptr first_error() const noexcept {
    if (group_ && group_->decided() != nullptr) return promise_of(group_->decided()->frame).error;
    std::exception_ptr first;
    std::apply([&](auto&... frame) { ((first = first ? first : frame.get().promise().error), ...); }, frames_);
    return first;
  }
};

template <class... T>
class all_awaiter : public tuple_fan_out<policy::all, T...> {
 public:
  using values = std::tuple<settled_value<T>...>;
  using tuple_fan_out<policy::all, T...>::tuple_fan_out;

  values await_resume() {
    if (auto why = this->first_error()) std::rethrow_exception(why);
    return take();
  }
  result<values> try_resume() {
    if (auto why = this->first_error()) return failure(why);
    return take();
  }

 private:
  values take() {
    return std::apply([](auto&... frame) { return values{frame.take()...}; }, this->frames_);
  }
};

template <class... T>
class settled_awaiter : public tuple_fan_out<policy::settled, T...> {
 public:
  using tuple_fan_out<policy::settled, T...>::tuple_fan_out;
  std::tuple<result<T>...> await_resume() {
    return std::apply([](auto&... frame) { return std::tuple<result<T>...>{frame.take_result()...}; }, this->frames_);
  }
};

template <class... T>
inline constexpr bool all_same = (std::is_same_v<T, std::tuple_element_t<0, std::tuple<T...>>> && ...);

template <class... T>
using winner_t =
    std::conditional_t<all_same<T...>, std::tuple_element_t<0, std::tuple<T...>>, std::variant<settled_value<T>...>>;

template <policy Rule, class... T>
class winner_awaiter : public tuple_fan_out<Rule, T...> {
 public:
  using tuple_fan_out<Rule, T...>::tuple_fan_out;
  winner_t<T...> await_resume() {
    if (auto why = failed()) std::rethrow_exception(why);
    return take(this->decided_index(), std::index_sequence_for<T...>());
  }
  result<winner_t<T...>> try_resume() {
    if (auto why = failed()) return failure(why);
    if constexpr (std::is_void_v<winner_t<T...>>) {
      return {};
    } else {
      return take(this->decided_index(), std::index_sequence_for<T...>());
    }
  }

 private:
  std::exception_ptr failed() const {
    if (auto* winner = this->group_->decided()) return promise_of(winner->frame).error;
    if (this->group_->is_cancelled()) return failure(cancelled()).exception();
    return std::apply([](auto&... frame) { return none_succeeded({frame.get().promise().error...}); }, this->frames_);
  }

  template <std::size_t... I>
  winner_t<T...> take(std::size_t index, std::index_sequence<I...>) {
    using R = winner_t<T...>;
    if constexpr (all_same<T...>) {
      auto& first = std::get<0>(this->frames_);
      auto* chosen = &first;
      ((I == index ? void(chosen = &std::get<I>(this->frames_)) : void()), ...);
      return chosen->get().promise().take();
    } else {
      std::optional<R> value;
      ((I == index ? void(value.emplace(std::in_place_index<I>, std::get<I>(this->frames_).take())) : void()), ...);
      return std::move(*value);
    }
  }
};

/// Runs any number of tasks of one type, at most `limit` at a time.
template <policy Rule, class T>
class range_fan_out {
 public:
  range_fan_out(std::vector<task<T>> tasks, std::size_t limit) : limit_(checked_limit(limit)) {
    frames_.reserve(tasks.size());
    for (auto& each : tasks) frames_.emplace_back(std::move(each));
  }
  range_fan_out(range_fan_out&& other) noexcept : frames_(std::move(other.frames_)), limit_(other.limit_) {}

  bool await_ready() const noexcept { return frames_.empty(); }

  template <weir_promise P>
  bool await_suspend(std::coroutine_handle<P> h) {
    auto& parent = *h.promise().running;
    group_.emplace(*this, parent);
    branches_ = std::vector<fiber>(frames_.size());
    parent_ = &parent;
    group_->retain();  // between the first start and the join
    if (parent.must_stop()) group_->cancel_members();
    for (std::size_t i = 0; i < limit_ && i < frames_.size(); ++i) start_next();
    group_->release();
    return group_->join(parent, h);
  }

 protected:
  struct limited final : fan_out {
    limited(range_fan_out& range, fiber& parent) noexcept : fan_out(Rule, parent, start_another), all(range) {}
    static void start_another(fan_out& self) noexcept { static_cast<limited&>(self).all.start_next(); }
    range_fan_out& all;
  };

  void start_next() noexcept {
    if (group_->is_cancelled()) return;
    auto index = next_.fetch_add(1, std::memory_order_relaxed);
    if (index >= frames_.size()) return;
    group_->start_branch(branches_[index], frames_[index].get(), *parent_);
  }

  // What was never started, because the group was cancelled first, counts as cancelled.
  void settle_rest() noexcept {
    for (auto i = next_.load(std::memory_order_relaxed); i < frames_.size(); ++i) {
      frames_[i].get().promise().error = std::make_exception_ptr(cancelled());
    }
  }

  std::vector<owned_frame<T>> frames_;
  std::vector<fiber> branches_;
  std::optional<limited> group_;
  std::atomic<std::size_t> next_{0};
  std::size_t limit_;
  fiber* parent_ = nullptr;

  std::exception_ptr first_error() {
    if (group_ && group_->decided() != nullptr) return promise_of(group_->decided()->frame).error;
    settle_rest();
    for (auto& frame : frames_) {
      if (auto& error = frame.get().promise().error) return error;
    }
    return nullptr;
  }
};

template <class T>
using all_values = std::conditional_t<std::is_void_v<T>, void, std::vector<settled_value<T>>>;

template <class T>
class all_range_awaiter : public range_fan_out<policy::all, T> {
 public:
  using range_fan_out<policy::all, T>::range_fan_out;

  all_values<T> await_resume() {
    if (auto why = this->first_error()) std::rethrow_exception(why);
    return take();
  }
  result<all_values<T>> try_resume() {
    if (auto why = this->first_error()) return failure(why);
    if constexpr (std::is_void_v<T>) {
      return {};
    } else {
      return take();
    }
  }

 private:
  all_values<T> take() {
    if constexpr (!std::is_void_v<T>) {
      std::vector<T> values;
      values.reserve(this->frames_.size());
      for (auto& frame : this->frames_) values.push_back(frame.take());
      return values;
    }
  }
};

template <class T>
class settled_range_awaiter : public range_fan_out<policy::settled, T> {
 public:
  using range_fan_out<policy::settled, T>::range_fan_out;
  std::vector<result<T>> await_resume() {
    this->settle_rest();
    std::vector<result<T>> values;
    values.reserve(this->frames_.size());
    for (auto& frame : this->frames_) values.push_back(frame.take_result());
    return values;
  }
};

template <policy Rule, class T>
class winner_range_awaiter : public range_fan_out<Rule, T> {
 public:
  using range_fan_out<Rule, T>::range_fan_out;
  T await_resume() {
    if (auto why = failed()) std::rethrow_exception(why);
    return take();
  }
  result<T> try_resume() {
    if (auto why = failed()) return failure(why);
    if constexpr (std::is_void_v<T>) {
      return {};
    } else {
      return take();
    }
  }

 private:
  std::exception_ptr failed() const {
    auto* winner = this->group_ ? this->group_->decided() : nullptr;
    if (winner != nullptr) return promise_of(winner->frame).error;
    if (this->group_ && this->group_->is_cancelled()) return failure(cancelled()).exception();
    std::vector<std::exception_ptr> errors;
    for (auto& frame : this->frames_) errors.push_back(frame.get().promise().error);
    return none_succeeded(std::move(errors));
  }

  T take() {
    auto index = static_cast<std::size_t>(this->group_->decided() - this->branches_.data());
    return this->frames_[index].get().promise().take();
  }
};

template <class R>
concept task_range = std::ranges::range<R> && is_task<std::remove_cvref_t<std::ranges::range_value_t<R>>>;

template <task_range R>
using range_result = typename std::remove_cvref_t<std::ranges::range_value_t<R>>::value_type;

template <task_range R>
std::vector<std::remove_cvref_t<std::ranges::range_value_t<R>>> gather(R&& tasks) {
  if constexpr (std::is_same_v<R, std::vector<std::ranges::range_value_t<R>>>) {
    return std::forward<R>(tasks);
  } else {
    std::vector<std::remove_cvref_t<std::ranges::range_value_t<R>>> out;
    for (auto&& each : tasks) out.push_back(std::move(each));
    return out;
  }
}

/// Marks a stretch of a fiber's life in which cancellation waits.
class shield_guard {
 public:
  explicit shield_guard(fiber& f) noexcept : fiber_(f) { ++fiber_.shields; }
  shield_guard(const shield_guard&) = delete;
  shield_guard& operator=(const shield_guard&) = delete;
  ~shield_guard() { --fiber_.shields; }

 private:
  fiber& fiber_;
};

}  // namespace detail

/// No limit to how many run at once.
inline constexpr std::size_t unlimited = std::numeric_limits<std::size_t>::max();

/// `co_await all(a, b, c)`: runs all at once and gives a tuple of their values (std::monostate for void), in the
/// order of the arguments. The first failure cancels the others; it is rethrown when they have ended.
template <class... A>
  requires(!detail::task_range<A> && ...)
[[nodiscard]] auto all(A... each) {
  return detail::all_awaiter<detail::awaited_t<A>...>(detail::as_task(std::move(each))...);
}

/// The same for a range of tasks of one type, at most `limit` at a time, started in order: a vector of their
/// values in the order of the range, or void. After a failure those not started never run at all. A limit of 0 is
/// refused with ERR_OUT_OF_RANGE.
template <detail::task_range R>
[[nodiscard]] auto all(R&& tasks, std::size_t limit = unlimited) {
  return detail::all_range_awaiter<detail::range_result<R>>(detail::gather(std::forward<R>(tasks)), limit);
}

/// `co_await all_settled(a, b)`: waits for all, whatever becomes of them: a tuple of result<T>.
template <class... A>
  requires(!detail::task_range<A> && ...)
[[nodiscard]] auto all_settled(A... each) {
  return detail::settled_awaiter<detail::awaited_t<A>...>(detail::as_task(std::move(each))...);
}
template <detail::task_range R>
[[nodiscard]] auto all_settled(R&& tasks, std::size_t limit = unlimited) {
  return detail::settled_range_awaiter<detail::range_result<R>>(detail::gather(std::forward<R>(tasks)), limit);
}

/// `co_await race(a, b)`: the outcome of the first to end, value or failure; the others are cancelled and joined.
/// Gives T if all have that type, else a std::variant in the order of the arguments.
template <class... A>
  requires(sizeof...(A) > 0 && (!detail::task_range<A> && ...))
[[nodiscard]] auto race(A... each) {
  return detail::winner_awaiter<detail::policy::race, detail::awaited_t<A>...>(detail::as_task(std::move(each))...);
}
template <detail::task_range R>
[[nodiscard]] auto race(R&& tasks) {
  return detail::winner_range_awaiter<detail::policy::race, detail::range_result<R>>(
      detail::gather(std::forward<R>(tasks)), unlimited);
}

/// `co_await any(a, b)`: the value of the first to succeed; the others are cancelled and joined. Throws
/// `aggregate_error` with all failures, in the order of the arguments, if none succeeds (of an empty range: none).
template <class... A>
  requires(sizeof...(A) > 0 && (!detail::task_range<A> && ...))
[[nodiscard]] auto any(A... each) {
  return detail::winner_awaiter<detail::policy::any, detail::awaited_t<A>...>(detail::as_task(std::move(each))...);
}
template <detail::task_range R>
[[nodiscard]] auto any(R&& tasks) {
  return detail::winner_range_awaiter<detail::policy::any, detail::range_result<R>>(
      detail::gather(std::forward<R>(tasks)), unlimited);
}

/// `co_await shield(op)` runs `op` to its end even if the task is cancelled meanwhile; the cancellation is seen
/// by the next await outside. For cleanup that must not be cut short; bound it with a `timeout` inside.
template <class A>
task<detail::awaited_t<A>> shield(A op) {
  detail::shield_guard guard(co_await detail::this_fiber{});
  co_return co_await std::move(op);
}

}  // namespace weir
