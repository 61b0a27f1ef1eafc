// sync/select.hpp: waiting for several things at once, of which one happens. Operations on channels, oneshots,
// broadcasts and watches wait in their lines together, and those that lose are taken out as if they had never been:
// nothing is received and dropped. So do timers. Anything else that can be awaited takes part as a branch of its own,
// which is cancelled and joined when it loses. Rests on sync/arm.hpp and core's fan-out; no allocation where all arms
// are of the first kind and known when the program is written.
#pragma once

#include <weir/core/combine.hpp>
#include <weir/core/inspect.hpp>
#include <weir/core/loop.hpp>
#include <weir/core/result.hpp>
#include <weir/core/task.hpp>
#include <weir/core/time.hpp>
#include <weir/core/timer_wheel.hpp>
#include <weir/sync/arm.hpp>

#include <array>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <ranges>
#include <span>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace weir::sync {

/// Which arm goes first where several are ready.
enum class preference : std::uint8_t {
  none,      ///< by lot, so that none is starved
  in_order,  ///< the first in the order of the arguments
};

struct select_options {
  preference prefer = preference::none;
};

/// What became of a select: T is what each arm gives.
///
/// One arm has happened: `index`. Operations of this room that have not happened have left no trace. Of other
/// awaitables (reads, accepts, tasks) one may have completed before its cancellation reached it: then `has` is true for
/// it as well, so that its value is not lost.
template <class... T>
class selection {
  template <std::size_t I>
  using value_t = std::tuple_element_t<I, std::tuple<T...>>;

 public:
  /// The arm that happened, counted from 0.
  std::size_t index() const noexcept { return index_; }

  template <std::size_t I>
  bool has() const noexcept {
    return std::get<I>(outcomes_).has_value();
  }

  /// What arm I gave; throws what it failed with. It must have happened.
  template <std::size_t I>
  std::add_lvalue_reference_t<value_t<I>> get() & {
    return outcome<I>().value();
  }
  template <std::size_t I>
  value_t<I> get() && {
    return std::move(outcome<I>()).value();
  }

  /// The same without a throw.
  template <std::size_t I>
  result<value_t<I>>& outcome() noexcept {
    return *std::get<I>(outcomes_);
  }

  /// @cond internal
  void choose(std::size_t index) noexcept { index_ = index; }
  template <std::size_t I>
  void settle(result<value_t<I>> outcome) {
    std::get<I>(outcomes_).emplace(std::move(outcome));
  }
  /// @endcond

 private:
  std::size_t index_ = 0;
  std::tuple<std::optional<result<T>>...> outcomes_;
};

/// What became of a `select_any`.
template <class T>
class any_selection {
 public:
  any_selection(std::size_t index, result<T> outcome) : index_(index), outcome_(std::move(outcome)) {}

  /// The arm that happened, counted from 0.
  std::size_t index() const noexcept { return index_; }

  /// What it gave; throws what it failed with.
  std::add_lvalue_reference_t<T> get() & { return outcome_.value(); }
  T get() && { return std::move(outcome_).value(); }

  /// The same without a throw.
  result<T>& outcome() noexcept { return outcome_; }

 private:
  std::size_t index_;
  result<T> outcome_;
};

namespace detail {

/// An operation that waits in a line and can be taken out of it without a trace.
template <class A>
concept line_operation = std::derived_from<A, arm>;

template <class... A>
using selection_of = selection<weir::detail::awaited_t<A>...>;

/// The arms of a select, each with its index, in the order in which they are looked at; those that are no line
/// operations are null and claim by themselves. And room for as many locks.
struct arm_set {
  std::span<arm*> arms;
  std::span<spin_lock*> locks;
};

/// @throws weir::error ERR_INVALID_ARG_VALUE for none
void check_arms(std::size_t count);

/// Puts arms that are in the order of the arguments into the one that is preferred.
void draw_lots(std::span<arm*> arms, preference prefer) noexcept;

/// The wait for the first of several arms.
class select_wait : public weir::detail::wait, public weir::detail::compound_wait {
 public:
  /// Does the first arm that can be done now. @return true if there was one
  bool try_now(std::span<arm* const> arms) noexcept;

  /// Does one now or waits for all; await_suspend. The set must stay until `withdraw`.
  bool suspend(fiber& f, std::coroutine_handle<> h, const arm_set& set) noexcept;

  /// An arm that is no line operation has ended. Any worker.
  void claim(std::uint32_t index) noexcept;

  /// Takes the other arms out of their lines. Needed once after `suspend`, before anything here goes.
  void withdraw() noexcept;

  bool stopped() const noexcept { return stopped_; }

  /// The arm that happened, or `choice::none`.
  std::uint32_t chosen() const noexcept { return done_ != choice::none ? done_ : choice_.claimed(); }

  bool interrupt(fiber& waiter) noexcept override;
  const char* what() const noexcept override { return "select"; }

  const char* part(std::size_t n) const noexcept override;
  std::size_t parts() const noexcept override { return arms_.size(); }
  weir::detail::group* branches() const noexcept override { return branches_; }
  void show(weir::detail::group& branches) noexcept { branches_ = &branches; }

 private:
  bool enter_lines(fiber& f, const arm_set& set, wakeup& to_wake) noexcept;

  spin_lock lock_;  // held while the wait begins: a cancel and the end of the wait come before it or after it
  choice choice_;
  bool stopped_ = false;
  std::uint32_t done_ = choice::none;  // by ourselves
  fiber* waiter_ = nullptr;
  std::span<arm* const> arms_;
  weir::detail::group* branches_ = nullptr;
};

template <line_operation... A>
class [[nodiscard]] select_awaiter {
 public:
  using value_type = selection_of<A...>;

  select_awaiter(select_options options, A&&... arms) : prefer_(options.prefer), arms_(std::move(arms)...) {}
  select_awaiter(select_awaiter&& other) noexcept : prefer_(other.prefer_), arms_(std::move(other.arms_)) {}
  select_awaiter& operator=(select_awaiter&&) = delete;
  ~select_awaiter() = default;

  bool await_ready() const noexcept { return false; }
  template <weir::detail::weir_promise P>
  bool await_suspend(std::coroutine_handle<P> h) noexcept {
    number(std::index_sequence_for<A...>());
    std::array<spin_lock*, sizeof...(A)> locks;
    return wait_.suspend(*h.promise().running, h, {order_, locks});
  }
  value_type await_resume() {
    wait_.withdraw();
    if (wait_.stopped()) throw cancelled();
    return outcome(std::index_sequence_for<A...>());
  }
  result<value_type> try_resume() {
    wait_.withdraw();
    if (wait_.stopped()) return failure(cancelled());
    return outcome(std::index_sequence_for<A...>());
  }

 private:
  template <std::size_t... I>
  void number(std::index_sequence<I...>) noexcept {
    ((order_[I] = &std::get<I>(arms_), order_[I]->index = I), ...);
    draw_lots(order_, prefer_);
  }

  template <std::size_t... I>
  value_type outcome(std::index_sequence<I...>) {
    value_type made;
    made.choose(wait_.chosen());
    ((I == made.index() ? made.template settle<I>(std::get<I>(arms_).try_resume()) : void()), ...);
    return made;
  }

  preference prefer_;
  std::tuple<A...> arms_;
  std::array<arm*, sizeof...(A)> order_;
  select_wait wait_;
};

/// Arms of one type, as many as there are.
template <line_operation A>
class [[nodiscard]] any_select_awaiter {
  using T = weir::detail::awaited_t<A>;

 public:
  using value_type = any_selection<T>;

  any_select_awaiter(std::vector<A>&& arms, select_options options)
      : prefer_(options.prefer), arms_(std::move(arms)), order_(arms_.size()), locks_(arms_.size()) {}
  any_select_awaiter(any_select_awaiter&& other) noexcept
      : prefer_(other.prefer_),
        arms_(std::move(other.arms_)),
        order_(std::move(other.order_)),
        locks_(std::move(other.locks_)) {}
  any_select_awaiter& operator=(any_select_awaiter&&) = delete;
  ~any_select_awaiter() = default;

  bool await_ready() const noexcept { return false; }
  template <weir::detail::weir_promise P>
  bool await_suspend(std::coroutine_handle<P> h) noexcept {
    for (std::uint32_t i = 0; auto& each : arms_) {
      each.index = i;
      order_[i++] = &each;
    }
    draw_lots(order_, prefer_);
    return wait_.suspend(*h.promise().running, h, {order_, locks_});
  }
  value_type await_resume() {
    wait_.withdraw();
    if (wait_.stopped()) throw cancelled();
    return {wait_.chosen(), arms_[wait_.chosen()].try_resume()};
  }
  result<value_type> try_resume() {
    wait_.withdraw();
    if (wait_.stopped()) return failure(cancelled());
    return value_type(wait_.chosen(), arms_[wait_.chosen()].try_resume());
  }

 private:
  preference prefer_;
  std::vector<A> arms_;
  std::vector<arm*> order_;
  std::vector<spin_lock*> locks_;
  select_wait wait_;
};

/// An arm that happens when time has passed.
class timer_arm : public arm, private weir::detail::timer_node {
 public:
  void await_resume() const noexcept {}
  result<void> try_resume() const noexcept { return {}; }

  spin_lock& lock() noexcept final { return lock_; }
  waiter_list& line() noexcept final { return line_; }
  void enter(fiber& waiter) noexcept final;
  void withdraw() noexcept final;

 protected:
  explicit timer_arm(weir::detail::sleep_end end) noexcept : end_(end) {}
  timer_arm(const timer_arm& other) noexcept : arm(), timer_node(), end_(other.end_) {}
  timer_arm& operator=(const timer_arm&) = delete;
  ~timer_arm() = default;

  const weir::detail::sleep_end end_;

 private:
  spin_lock lock_;
  waiter_list line_;
  weir::detail::worker* home_ = nullptr;  // where it is armed
  bool fired_ = false;
};

/// `after`, which may happen before anything waits.
class [[nodiscard]] after_arm final : public timer_arm {
 public:
  explicit after_arm(std::chrono::nanoseconds time) noexcept : timer_arm({time}) {}

  bool complete(wakeup&) noexcept override { return end_.time <= std::chrono::nanoseconds(0); }
  const char* what() const noexcept override { return "after"; }
};

/// `sleep`, which lets other ready work go first.
class [[nodiscard]] sleep_arm final : public timer_arm {
 public:
  explicit sleep_arm(const weir::detail::sleep_awaiter& sleep) noexcept : timer_arm(sleep.end()) {}

  bool complete(wakeup&) noexcept override { return false; }
  const char* what() const noexcept override { return "sleep"; }
};

/// What stands for an arm that has been given.
template <class A>
A&& as_arm(A&& given) noexcept {
  return std::forward<A>(given);
}
inline sleep_arm as_arm(weir::detail::sleep_awaiter&& given) noexcept { return sleep_arm(given); }
template <class A>
using arm_of = std::remove_reference_t<decltype(as_arm(std::declval<A>()))>;

/// The branches of a select, and who has to be told that one has ended.
class branch_group final : public weir::detail::fan_out {
 public:
  branch_group(fiber& parent, select_wait& to_tell) noexcept
      : fan_out(weir::detail::policy::settled, parent), to_tell_(to_tell) {}

  /// One branch, with the number of its arm.
  struct branch : fiber {
    std::uint32_t index = 0;
  };

  const char* what() const noexcept override { return "select"; }

 protected:
  void settled(fiber& f) noexcept override;

 private:
  select_wait& to_tell_;
};

/// An arm that is no line operation: a frame that runs as a branch.
template <class A>
class branch_arm {
 public:
  using value_type = weir::detail::awaited_t<A>;

  explicit branch_arm(A&& operation) : frame_(weir::detail::as_task(std::move(operation))) {}

  void start(branch_group& in, fiber& parent, std::uint32_t index) noexcept {
    fiber_.index = index;
    in.start_branch(fiber_, frame_.get(), parent);
  }

  /// False if it was cancelled because it lost.
  bool happened(bool chosen) const noexcept {
    auto& error = frame_.get().promise().error;
    return chosen || !error || !failure(error).is_cancelled();
  }
  result<value_type> outcome() { return frame_.take_result(); }

 private:
  weir::detail::owned_frame<value_type> frame_;
  branch_group::branch fiber_;
};

struct no_branch {};
template <class A>
using branch_of = std::optional<std::conditional_t<line_operation<A>, no_branch, branch_arm<A>>>;

/// A task's `co_await` of the wait itself.
struct select_wait_awaiter {
  select_wait& wait;
  arm_set set;

  bool await_ready() const noexcept { return false; }
  template <weir::detail::weir_promise P>
  bool await_suspend(std::coroutine_handle<P> h) noexcept {
    return wait.suspend(*h.promise().running, h, set);
  }
  void await_resume() const noexcept {}
};

struct spend_awaiter {
  bool await_ready() const noexcept { return false; }
  template <weir::detail::weir_promise P>
  bool await_suspend(std::coroutine_handle<P> h) noexcept {
    return weir::detail::yield_if_spent(*h.promise().running, h);
  }
  void await_resume() const noexcept {}
};

/// Waits for the branches, whatever happens.
struct branches_awaiter {
  branch_group& branches;

  bool await_ready() const noexcept { return false; }
  template <weir::detail::weir_promise P>
  bool await_suspend(std::coroutine_handle<P> h) noexcept {
    return branches.join(*h.promise().running, h);
  }
  void await_resume() const noexcept {}
};

/// The arms of a select of which at least one is no line operation.
template <class... A>
class mixed_arms {
  static constexpr std::size_t count = sizeof...(A);
  using every = std::index_sequence_for<A...>;

 public:
  mixed_arms(std::tuple<A...>& operations, preference prefer) noexcept : operations_(operations) {
    point_at(every());
    draw_lots(lines_, prefer);
  }

  arm_set set() noexcept { return {lines_, locks_}; }

  /// Whether an arm may be ready that would overtake a branch.
  static constexpr bool has_lines = ((line_operation<A> && !std::same_as<A, sleep_arm>) || ...);

  /// @throws std::bad_alloc; then nothing has begun
  void make_branches() { make_branches(every()); }
  void start_branches(branch_group& in, fiber& parent) noexcept { start_branches(in, parent, every()); }

  /// What has happened, once the branches have been joined. @return false if nothing has
  bool collect(std::uint32_t chosen, selection_of<A...>& into) { return collect(chosen, into, every()); }

 private:
  template <std::size_t I>
  static constexpr bool is_line = line_operation<std::tuple_element_t<I, std::tuple<A...>>>;

  template <std::size_t... I>
  void point_at(std::index_sequence<I...>) noexcept {
    (point_at<I>(), ...);
  }
  template <std::size_t I>
  void point_at() noexcept {
    if constexpr (is_line<I>) {
      lines_[I] = &std::get<I>(operations_);
      lines_[I]->index = I;
    }
  }

  template <std::size_t... I>
  void make_branches(std::index_sequence<I...>) {
    (make_branch<I>(), ...);
  }
  template <std::size_t I>
  void make_branch() {
    if constexpr (!is_line<I>) std::get<I>(branches_).emplace(std::move(std::get<I>(operations_)));
  }

  template <std::size_t... I>
  void start_branches(branch_group& in, fiber& parent, std::index_sequence<I...>) noexcept {
    (start_branch<I>(in, parent), ...);
  }
  template <std::size_t I>
  void start_branch(branch_group& in, fiber& parent) noexcept {
    if constexpr (!is_line<I>) std::get<I>(branches_)->start(in, parent, I);
  }

  template <std::size_t... I>
  bool collect(std::uint32_t chosen, selection_of<A...>& into, std::index_sequence<I...>) {
    bool some = chosen != choice::none;
    if (some) into.choose(chosen);
    (collect<I>(I == chosen, some, into), ...);
    return some;
  }
  template <std::size_t I>
  void collect(bool chosen, bool& some, selection_of<A...>& into) {
    if constexpr (is_line<I>) {
      if (chosen) into.template settle<I>(std::get<I>(operations_).try_resume());
    } else {
      auto& branch = std::get<I>(branches_);
      if (!branch || !branch->happened(chosen)) return;
      into.template settle<I>(branch->outcome());
      if (!std::exchange(some, true)) into.choose(I);
    }
  }

  std::tuple<A...>& operations_;
  std::array<arm*, count> lines_{};
  std::array<spin_lock*, count> locks_{};
  std::tuple<branch_of<A>...> branches_;
};

template <class... A>
task<selection_of<A...>> select_with_branches(select_options options, std::tuple<A...> operations) {
  auto& running = co_await weir::detail::this_fiber{};
  mixed_arms<A...> arms(operations, options.prefer);
  selection_of<A...> made;
  if (running.must_stop()) co_return failure(cancelled());
  select_wait wait;
  if (wait.try_now(arms.set().arms)) {
    co_await spend_awaiter{};
    arms.collect(wait.chosen(), made);
    co_return made;
  }
  arms.make_branches();
  branch_group branches(running, wait);
  wait.show(branches);
  arms.start_branches(branches, running);
  if constexpr (mixed_arms<A...>::has_lines)
    static_cast<void>(co_await attempt(weir::yield()));  // branches that are ready get their chance
  co_await select_wait_awaiter{wait, arms.set()};
  auto chosen = wait.chosen();  // a wait that was stopped stays so, whatever a branch that is cancelled claims
  branches.cancel_members();
  co_await branches_awaiter{branches};
  wait.withdraw();
  if (!arms.collect(chosen, made)) co_return failure(cancelled());
  co_return made;
}

}  // namespace detail

/// An arm of a select that happens when at least `time` has passed; not positive: at once.
inline detail::after_arm after(std::chrono::nanoseconds time) noexcept { return detail::after_arm(time); }

/// `co_await select(a, b, ...)`: waits until one of them happens and undoes the others.
///
/// Arms are operations on channels (`send`, `send_from`, `recv`, `recv_many`, `until_closed`), on the other things of
/// this room that say so, `after`, `sleep` and `sleep_until`; and any awaitable or task: `event::wait`, I/O. Completes
/// with a `selection`; that an arm failed (ERR_CLOSED, say) is that arm's outcome. Cancelling the select cancels all
/// arms; if one of the second kind completes all the same, the select gives its value instead of throwing `cancelled`.
///
/// Operations of the first kind are looked at one after the other before anything waits: by lot, or in the order of
/// the arguments with `prefer = in_order`. An arm of the second kind is started when its turn in that order comes, and
/// has happened first only if it completes without waiting. A `sleep` that is over comes after all that is ready, an
/// `after` in its turn. What the arms refer to must outlive the await. Workers only.
template <class... A>
  requires(sizeof...(A) > 0)
[[nodiscard]] auto select(select_options options, A... arms) {
  if constexpr ((detail::line_operation<detail::arm_of<A>> && ...)) {
    return detail::select_awaiter<detail::arm_of<A>...>(options, detail::as_arm(std::move(arms))...);
  } else {
    return detail::select_with_branches(options, std::tuple<detail::arm_of<A>...>(detail::as_arm(std::move(arms))...));
  }
}
template <class First, class... A>
  requires(!std::same_as<First, select_options>)
[[nodiscard]] auto select(First first, A... arms) {
  return select(select_options{}, std::move(first), std::move(arms)...);
}

/// `co_await select_any(arms)`: a `select` over arms of one type, of the first kind, as many as there are when it is
/// called. Completes with an `any_selection`; all else as above. With a limit of time, and nothing lost to it:
/// `select(select_any(arms), sleep(d))`.
/// @throws weir::error ERR_INVALID_ARG_VALUE without an arm, as it could never end; std::bad_alloc
template <class A>
  requires detail::line_operation<detail::arm_of<A>>
[[nodiscard]] auto select_any(std::vector<A> arms, select_options options = {}) {
  detail::check_arms(arms.size());
  if constexpr (detail::line_operation<A>) {
    return detail::any_select_awaiter<A>(std::move(arms), options);
  } else {
    std::vector<detail::arm_of<A>> made;
    made.reserve(arms.size());
    for (auto& each : arms) made.push_back(detail::as_arm(std::move(each)));
    return detail::any_select_awaiter<detail::arm_of<A>>(std::move(made), options);
  }
}

/// The same over what `operation(each)` gives for every element: `select_any(channels, &channel<int>::recv)`.
template <std::ranges::input_range R, class F>
[[nodiscard]] auto select_any(R&& over, F operation, select_options options = {}) {
  std::vector<std::invoke_result_t<F&, std::ranges::range_reference_t<R>>> arms;
  if constexpr (std::ranges::sized_range<R>) arms.reserve(std::ranges::size(over));
  for (auto&& each : over) arms.push_back(std::invoke(operation, each));
  return select_any(std::move(arms), options);
}

}  // namespace weir::sync
