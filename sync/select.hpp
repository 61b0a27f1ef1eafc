// sync/select.hpp: waiting for several things at once, of which one happens. Operations on channels, oneshots,
// broadcasts and watches wait in their lines together, and those that lose are taken out as if they had never been:
// nothing is received and dropped. Anything else that can be awaited takes part as a branch of its own, which is
// cancelled and joined when it loses. Rests on sync/arm.hpp and core's fan-out; no allocation where all arms are of the
// first kind.
#pragma once

#include <weir/core/combine.hpp>
#include <weir/core/loop.hpp>
#include <weir/core/result.hpp>
#include <weir/core/task.hpp>
#include <weir/core/timer_wheel.hpp>
#include <weir/sync/arm.hpp>

#include <array>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <tuple>
#include <type_traits>
#include <utility>

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

namespace detail {

inline constexpr std::size_t most_arms = 64;

/// An operation that waits in a line and can be taken out of it without a trace.
template <class A>
concept line_operation = std::derived_from<A, arm>;

template <class... A>
using selection_of = selection<weir::detail::awaited_t<A>...>;

/// The order in which arms are looked at.
class arm_order {
 public:
  arm_order(std::size_t count, preference prefer) noexcept;
  const std::uint8_t* begin() const noexcept { return at_.data(); }
  const std::uint8_t* end() const noexcept { return at_.data() + count_; }

 private:
  std::size_t count_;
  std::array<std::uint8_t, most_arms> at_;
};

/// The wait for the first of several arms. Arms that are no line operations are null: they claim by themselves.
class select_wait : public weir::detail::wait {
 public:
  /// Does the first arm that can be done now. @return true if there was one
  bool try_now(std::span<arm* const> arms, const arm_order& order) noexcept;

  /// Does one now or waits for all; await_suspend.
  bool suspend(fiber& f, std::coroutine_handle<> h, std::span<arm* const> arms, const arm_order& order) noexcept;

  /// An arm that is no line operation has ended. Any worker.
  void claim(std::uint32_t index) noexcept;

  /// Takes the other arms out of their lines. Needed once after `suspend`, before anything here goes.
  void withdraw(std::span<arm* const> arms) noexcept;

  bool stopped() const noexcept { return stopped_; }

  /// The arm that happened, or `choice::none`.
  std::uint32_t chosen() const noexcept { return done_ != choice::none ? done_ : choice_.claimed(); }

  bool interrupt(fiber& waiter) noexcept override;
  const char* what() const noexcept override { return "select"; }

 private:
  bool enter_lines(fiber& f, std::span<arm* const> arms, const arm_order& order, wakeup& to_wake) noexcept;

  spin_lock lock_;  // held while the wait begins: a cancel and the end of the wait come before it or after it
  choice choice_;
  fiber* waiter_ = nullptr;
  std::uint32_t done_ = choice::none;  // by ourselves
  bool stopped_ = false;
};

template <line_operation... A>
class [[nodiscard]] select_awaiter {
  static_assert(sizeof...(A) <= most_arms);

 public:
  using value_type = selection_of<A...>;

  select_awaiter(select_options options, A&&... arms) : prefer_(options.prefer), arms_(std::move(arms)...) {}
  select_awaiter(select_awaiter&& other) noexcept : prefer_(other.prefer_), arms_(std::move(other.arms_)) {}
  select_awaiter& operator=(select_awaiter&&) = delete;
  ~select_awaiter() = default;

  bool await_ready() const noexcept { return false; }
  template <weir::detail::weir_promise P>
  bool await_suspend(std::coroutine_handle<P> h) noexcept {
    auto all = pointers();
    return wait_.suspend(*h.promise().running, h, all, arm_order(sizeof...(A), prefer_));
  }
  value_type await_resume() {
    wait_.withdraw(pointers());
    if (wait_.stopped()) throw cancelled();
    return outcome(std::index_sequence_for<A...>());
  }
  result<value_type> try_resume() {
    wait_.withdraw(pointers());
    if (wait_.stopped()) return failure(cancelled());
    return outcome(std::index_sequence_for<A...>());
  }

 private:
  std::array<arm*, sizeof...(A)> pointers() noexcept {
    return std::apply([](auto&... each) { return std::array<arm*, sizeof...(A)>{&each...}; }, arms_);
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
  select_wait wait_;
};

/// An arm that happens when time has passed.
class [[nodiscard]] timer_arm final : public arm, private weir::detail::timer_node {
 public:
  explicit timer_arm(std::chrono::nanoseconds time) noexcept : time_(time) {}
  timer_arm(const timer_arm& other) noexcept : arm(), timer_node(), time_(other.time_) {}
  timer_arm& operator=(const timer_arm&) = delete;

  void await_resume() const noexcept {}
  result<void> try_resume() const noexcept { return {}; }

  spin_lock& lock() noexcept override { return lock_; }
  waiter_list& line() noexcept override { return line_; }
  bool complete(wakeup&) noexcept override { return time_ <= std::chrono::nanoseconds(0); }
  void enter(fiber& waiter) noexcept override;
  void withdraw() noexcept override;
  const char* what() const noexcept override { return "select: after"; }

 private:
  spin_lock lock_;
  waiter_list line_;
  std::chrono::nanoseconds time_;
  weir::detail::worker* home_ = nullptr;  // where it is armed
  bool fired_ = false;
};

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
  std::span<arm* const> arms;
  const arm_order& order;

  bool await_ready() const noexcept { return false; }
  template <weir::detail::weir_promise P>
  bool await_suspend(std::coroutine_handle<P> h) noexcept {
    return wait.suspend(*h.promise().running, h, arms, order);
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
  explicit mixed_arms(std::tuple<A...>& operations) noexcept : operations_(operations) { point_at(every()); }

  std::span<arm* const> lines() const noexcept { return lines_; }
  static constexpr bool has_lines = (line_operation<A> || ...);

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
    if constexpr (is_line<I>) lines_[I] = &std::get<I>(operations_);
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
  std::tuple<branch_of<A>...> branches_;
};

template <class... A>
task<selection_of<A...>> select_with_branches(select_options options, std::tuple<A...> operations) {
  auto& running = co_await weir::detail::this_fiber{};
  mixed_arms<A...> arms(operations);
  arm_order order(sizeof...(A), options.prefer);
  select_wait wait;
  selection_of<A...> made;
  if (running.must_stop()) co_return failure(cancelled());
  if (wait.try_now(arms.lines(), order)) {
    co_await spend_awaiter{};
    arms.collect(wait.chosen(), made);
    co_return made;
  }
  arms.make_branches();
  branch_group branches(running, wait);
  arms.start_branches(branches, running);
  if constexpr (mixed_arms<A...>::has_lines)
    static_cast<void>(co_await attempt(weir::yield()));  // branches that are ready get their chance
  co_await select_wait_awaiter{wait, arms.lines(), order};
  branches.cancel_members();
  co_await branches_awaiter{branches};
  wait.withdraw(arms.lines());
  if (!arms.collect(wait.chosen(), made)) co_return failure(cancelled());
  co_return made;
}

}  // namespace detail

/// An arm of a select that happens when at least `time` has passed; not positive: at once. What `sleep` does as well,
/// without the branch that this would need.
inline detail::timer_arm after(std::chrono::nanoseconds time) noexcept { return detail::timer_arm(time); }

/// `co_await select(a, b, ...)`: waits until one of them happens and undoes the others.
///
/// Arms are operations on channels (`send`, `send_from`, `recv`, `recv_many`, `until_closed`), on the other things of
/// this room that say so and `after`; and any awaitable or task: `sleep`, `event::wait`, I/O. Completes with a
/// `selection`; that an arm failed (ERR_CLOSED, say) is that arm's outcome. Cancelling the select cancels all arms; if
/// one of the second kind completes all the same, the select gives its value instead of throwing `cancelled`.
///
/// Operations of the first kind are looked at one after the other before anything waits: by lot, or in the order of
/// the arguments with `prefer = in_order`. An arm of the second kind is started when its turn in that order comes, and
/// has happened first only if it completes without waiting. What the arms refer to must outlive the await. At most 64
/// arms. Workers only.
template <class... A>
  requires(sizeof...(A) > 0)
[[nodiscard]] auto select(select_options options, A... arms) {
  if constexpr ((detail::line_operation<A> && ...)) {
    return detail::select_awaiter<A...>(options, std::move(arms)...);
  } else {
    static_assert(sizeof...(A) <= detail::most_arms);
    return detail::select_with_branches(options, std::tuple<A...>(std::move(arms)...));
  }
}
template <class First, class... A>
  requires(!std::same_as<First, select_options>)
[[nodiscard]] auto select(First first, A... arms) {
  return select(select_options{}, std::move(first), std::move(arms)...);
}

}  // namespace weir::sync
