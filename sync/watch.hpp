// sync/watch.hpp: a value that changes and tasks that want to know. Whoever looks gets the newest; versions in between
// may be passed over. Rests on sync/channel.hpp's lines.
#pragma once

#include <weir/sync/broadcast.hpp>
#include <weir/sync/channel.hpp>

#include <atomic>
#include <concepts>
#include <cstdint>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

namespace weir::sync {
namespace detail {

template <class T>
class watch_state final : public channel_base {
 public:
  using kept = typename published<T>::type;

  explicit watch_state(kept initial) noexcept : value_(std::move(initial)) {}

  /// The version that an observer has seen. Under the lock.
  struct seen {
    std::uint64_t version = 0;
  };

  struct waiting : arm {
    seen* by = nullptr;
    kept value{};

   protected:
    explicit waiting(seen& of) noexcept : by(&of) {}
    waiting(const waiting& other) noexcept : arm(), by(other.by) {}  // copied before it begins only
    waiting& operator=(const waiting&) = delete;
    ~waiting() = default;
  };

  void set(kept value) noexcept {
    claimed_line woken;
    {
      spin_guard guard(lock_);
      std::swap(value_, value);  // the old one goes when the lock has been let go
      ++version_;
      woken.take(receivers_, [this](place& p) { show(static_cast<waiting&>(p)); });
    }
    woken.wake();
  }

  kept get() const noexcept {
    spin_guard guard(lock_);
    return value_;
  }
  kept get(seen& by) const noexcept {
    spin_guard guard(lock_);
    by.version = version_;
    return value_;
  }
  std::uint64_t version() const noexcept {
    spin_guard guard(lock_);
    return version_;
  }
  bool has_changed(const seen& by) const noexcept {
    spin_guard guard(lock_);
    return by.version != version_;
  }

  /// Under the lock. @return false if it has not changed
  bool look(waiting& who) const noexcept {
    if (who.by->version == version_) return closed_;
    show(who);
    return true;
  }

  std::atomic<std::uint32_t> writers{1};

 private:
  void show(waiting& who) const noexcept {
    who.value = value_;
    who.by->version = version_;
  }

  kept value_;
  std::uint64_t version_ = 1;
};

template <class T>
class [[nodiscard]] watch_awaiter final : public arm_awaiter<watch_awaiter<T>, typename watch_state<T>::waiting> {
  using state = watch_state<T>;
  using base = arm_awaiter<watch_awaiter<T>, typename state::waiting>;

 public:
  watch_awaiter(state& on, typename state::seen& by) noexcept : base(by), on_(&on) {}

  std::optional<T> await_resume() {
    if (this->stopped) throw cancelled();
    return value();
  }
  result<std::optional<T>> try_resume() {
    if (this->stopped) return failure(cancelled());
    return value();
  }

  spin_lock& lock() noexcept override { return on_->lock(); }
  waiter_list& line() noexcept override { return on_->receivers(); }
  bool complete(wakeup&) noexcept override { return on_->look(*this); }
  const char* what() const noexcept override { return "watch: next"; }

 private:
  std::optional<T> value() const {
    if (!base::value) return std::nullopt;
    return *base::value;
  }

  state* on_;
};

}  // namespace detail

template <class T>
class watch;

/// Somebody who wants to know how a value changes. A copy has seen what the original has. One object is used by one
/// task at a time.
template <class T>
class observer {
 public:
  using value_type = T;

  /// `while (auto v = co_await o.next())`: completes with the newest value as soon as it is one that this observer has
  /// not seen, or with nothing once the last writer has gone and the last value has been seen. Cancelling it leaves the
  /// value unseen. Workers only; an arm for `select`.
  detail::watch_awaiter<T> next() noexcept { return {*state_, seen_}; }

  /// The newest value, which counts as seen. Any thread.
  T get() { return *state_->get(seen_); }

  /// True if there is a value that it has not seen.
  bool has_changed() const noexcept { return state_->has_changed(seen_); }

  /// True once the last writer has gone.
  bool closed() const noexcept { return state_->closed(); }

 private:
  friend class watch<T>;
  observer(std::shared_ptr<detail::watch_state<T>> state, std::uint64_t seen) noexcept : state_(std::move(state)) {
    seen_.version = seen;
  }

  std::shared_ptr<detail::watch_state<T>> state_;
  typename detail::watch_state<T>::seen seen_;
};

/// The writing end. Copies write the same value; when the last one goes, observers end. T must be copyable; what is not
/// small and plain is stored once and shared.
template <class T>
class watch {
  static_assert(std::copy_constructible<T>, "every observer gets a copy");

 public:
  explicit watch(T initial)
      : state_(std::make_shared<detail::watch_state<T>>(detail::published<T>::make(std::move(initial)))) {}
  watch(const watch& other) noexcept : state_(other.state_) {
    if (state_) state_->writers.fetch_add(1, std::memory_order_relaxed);
  }
  watch(watch&& other) noexcept = default;
  watch& operator=(watch other) noexcept {
    std::swap(state_, other.state_);
    return *this;
  }
  ~watch() {
    if (state_ && state_->writers.fetch_sub(1, std::memory_order_acq_rel) == 1) state_->close();
  }

  /// Replaces the value and wakes whoever waits for it. Never waits; any thread.
  void set(T value) { state_->set(detail::published<T>::make(std::move(value))); }

  /// The newest value. Any thread.
  T get() const { return *state_->get(); }

  /// How often it has been set, the first value included.
  std::uint64_t version() const noexcept { return state_->version(); }

  /// A new observer that has seen the present value: `next` waits for a change.
  observer<T> observe() const { return observer<T>(state_, state_->version()); }

  /// The same, for whom the present value is the first.
  observer<T> observe_present() const { return observer<T>(state_, 0); }

  /// Ends the observers. Any thread.
  void close() noexcept { state_->close(); }

 private:
  std::shared_ptr<detail::watch_state<T>> state_;
};

}  // namespace weir::sync
