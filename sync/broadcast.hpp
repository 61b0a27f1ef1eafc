// sync/broadcast.hpp: every value to every subscriber. Sending never waits: a subscriber that falls behind by more than
// the capacity loses the oldest values and is told how many. Rests on sync/channel.hpp's lines; memory is bounded.
#pragma once

#include <weir/sync/channel.hpp>

#include <algorithm>
#include <atomic>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

namespace weir::sync {

/// A value of a broadcast, as one subscriber sees it.
template <class T>
struct broadcast_item {
  T value;
  std::uint64_t missed = 0;  ///< values lost to this subscriber right before this one
};

namespace detail {

/// How a value lies where many read it. Small plain ones are copied under the lock, the others shared and copied after.
template <class T>
class published {
  static constexpr bool plain = std::is_trivially_copyable_v<T> && sizeof(T) <= 64;

 public:
  using type = std::conditional_t<plain, std::optional<T>, std::shared_ptr<const T>>;

  template <class U>
  static type make(U&& value) {
    if constexpr (plain) {
      return type(std::forward<U>(value));
    } else {
      return std::make_shared<const T>(std::forward<U>(value));
    }
  }
};

/// @throws weir::error ERR_OUT_OF_RANGE for 0, which could keep nothing, and for what no memory could hold
std::size_t checked_broadcast_capacity(std::size_t capacity);

template <class T>
class broadcast_state final : public channel_base {
 public:
  using kept = typename published<T>::type;

  explicit broadcast_state(std::size_t capacity) : ring_(checked_broadcast_capacity(capacity)) {}

  /// A subscriber's place in the sequence. Under the lock.
  struct position {
    std::uint64_t next = 0;
  };

  struct receiving : arm {
    position* from = nullptr;
    kept value{};
    std::uint64_t missed = 0;

   protected:
    explicit receiving(position& of) noexcept : from(&of) {}
    receiving(const receiving& other) noexcept : arm(), from(other.from) {}  // copied before it begins only
    receiving& operator=(const receiving&) = delete;
    ~receiving() = default;
  };

  std::size_t send(kept value) noexcept {
    claimed_line woken;
    std::size_t count = 0;
    {
      spin_guard guard(lock_);
      if (closed_ || subscribers_ == 0) return 0;
      count = subscribers_;
      auto& slot = ring_[end_ & (ring_.size() - 1)];
      ++end_;
      // Who waits has seen everything before.
      woken.take(receivers_, [&](place& p) {
        auto& taker = static_cast<receiving&>(p);
        taker.value = value;
        taker.from->next = end_;
      });
      std::swap(slot, value);  // what was there goes when the lock has been let go
    }
    woken.wake();
    return count;
  }

  /// Under the lock. @return false if there is nothing yet
  bool take(receiving& to) noexcept {
    auto oldest = end_ - std::min<std::uint64_t>(end_, ring_.size());
    auto& next = to.from->next;
    if (next == end_) return closed_;
    if (next < oldest) {
      to.missed = oldest - next;
      next = oldest;
    }
    to.value = ring_[next & (ring_.size() - 1)];
    ++next;
    return true;
  }

  std::size_t capacity() const noexcept { return ring_.size(); }
  std::size_t subscribers() const noexcept {
    spin_guard guard(lock_);
    return subscribers_;
  }
  std::uint64_t pending(const position& of) const noexcept {
    spin_guard guard(lock_);
    return std::min<std::uint64_t>(end_ - of.next, ring_.size());
  }

  void join(position& as) noexcept {
    spin_guard guard(lock_);
    ++subscribers_;
    as.next = end_;
  }
  void join(position& as, const position& like) noexcept {
    spin_guard guard(lock_);
    ++subscribers_;
    as.next = like.next;
  }
  void leave() noexcept {
    spin_guard guard(lock_);
    --subscribers_;
  }

  std::atomic<std::uint32_t> senders{1};

 private:
  std::vector<kept> ring_;  // a power of two
  std::uint64_t end_ = 0;   // the number of the next value
  std::size_t subscribers_ = 0;
};

template <class T>
class [[nodiscard]] broadcast_awaiter final
    : public arm_awaiter<broadcast_awaiter<T>, typename broadcast_state<T>::receiving> {
  using state = broadcast_state<T>;
  using base = arm_awaiter<broadcast_awaiter<T>, typename state::receiving>;

 public:
  broadcast_awaiter(state& from, typename state::position& at) noexcept : base(at), from_(&from) {}

  std::optional<broadcast_item<T>> await_resume() {
    if (this->stopped) throw cancelled();
    return item();
  }
  result<std::optional<broadcast_item<T>>> try_resume() {
    if (this->stopped) return failure(cancelled());
    return item();
  }
  std::optional<broadcast_item<T>> item() const {
    if (!this->value) return std::nullopt;
    return broadcast_item<T>{*this->value, this->missed};
  }

  spin_lock& lock() noexcept override { return from_->lock(); }
  waiter_list& line() noexcept override { return from_->receivers(); }
  bool complete(wakeup&) noexcept override { return from_->take(*this); }
  const char* what() const noexcept override { return "broadcast: recv"; }

 private:
  state* from_;
};

}  // namespace detail

template <class T>
class broadcast;

/// A subscription. Sees every value sent after it was made, in order, except those it was too slow for. A copy goes on
/// from the same place. One object is used by one task at a time.
template <class T>
class subscriber {
 public:
  using value_type = broadcast_item<T>;

  subscriber(const subscriber& other) : state_(other.state_) {
    if (state_) state_->join(at_, other.at_);
  }
  subscriber(subscriber&& other) noexcept : state_(std::move(other.state_)), at_(other.at_) {}
  subscriber& operator=(subscriber other) noexcept {
    std::swap(state_, other.state_);
    std::swap(at_, other.at_);
    return *this;
  }
  ~subscriber() {
    if (state_) state_->leave();
  }

  /// `while (auto got = co_await sub.recv())`: completes with the next value and how many were lost before it, or with
  /// nothing once the last sender has gone and all has been received. Cancelling it loses no value. T is copied from
  /// the shared one: what its copy throws is thrown here, and that value is passed over. Workers only; an arm for
  /// `select`.
  detail::broadcast_awaiter<T> recv() noexcept { return {*state_, at_}; }

  /// The same under the name that sources of a stream have.
  detail::broadcast_awaiter<T> next() noexcept { return recv(); }

  /// The next value if it is there. Any thread.
  std::optional<broadcast_item<T>> try_recv() {
    auto operation = recv();
    detail::wakeup nobody;
    {
      detail::spin_guard guard(state_->lock());
      operation.complete(nobody);
    }
    return operation.item();
  }

  /// `recv` for a thread that is no worker. @throws weir::error ERR_INVALID_STATE on a worker
  std::optional<broadcast_item<T>> recv_blocking() { return recv().block("broadcast: recv_blocking"); }

  /// Values that are there for it now.
  std::uint64_t size() const noexcept { return state_->pending(at_); }

  /// True once the last sender has gone.
  bool closed() const noexcept { return state_->closed(); }

 private:
  friend class broadcast<T>;
  explicit subscriber(std::shared_ptr<detail::broadcast_state<T>> state) : state_(std::move(state)) {
    state_->join(at_);
  }

  std::shared_ptr<detail::broadcast_state<T>> state_;
  typename detail::broadcast_state<T>::position at_;
};

/// The sending end of a broadcast. Copies send to the same subscribers; when the last one goes, they end. T must be
/// copyable; values that are not small and plain are stored once and shared.
template <class T>
class broadcast {
  static_assert(std::copy_constructible<T>, "every subscriber gets a copy");

 public:
  /// @param capacity values that are kept for slow subscribers, rounded up to a power of two; they stay in memory until
  /// newer ones take their places
  /// @throws weir::error ERR_OUT_OF_RANGE if it is 0 or more than 2^32
  explicit broadcast(std::size_t capacity) : state_(std::make_shared<detail::broadcast_state<T>>(capacity)) {}
  broadcast(const broadcast& other) noexcept : state_(other.state_) {
    if (state_) state_->senders.fetch_add(1, std::memory_order_relaxed);
  }
  broadcast(broadcast&& other) noexcept = default;
  broadcast& operator=(broadcast other) noexcept {
    std::swap(state_, other.state_);
    return *this;
  }
  ~broadcast() {
    if (state_ && state_->senders.fetch_sub(1, std::memory_order_acq_rel) == 1) state_->close();
  }

  /// Gives the value to all subscribers and never waits. Any thread. @return how many there are: with none, or once it
  /// is closed, it is dropped
  std::size_t send(T value) { return state_->send(detail::published<T>::make(std::move(value))); }

  /// A new subscriber, for what is sent from now on.
  subscriber<T> subscribe() { return subscriber<T>(state_); }

  /// Ends the subscribers once they have received what is there. Any thread.
  void close() noexcept { state_->close(); }

  std::size_t subscribers() const noexcept { return state_->subscribers(); }
  std::size_t capacity() const noexcept { return state_->capacity(); }

 private:
  std::shared_ptr<detail::broadcast_state<T>> state_;
};

}  // namespace weir::sync
