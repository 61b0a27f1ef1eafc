// sync/channel.hpp: values handed from task to task, in order, with backpressure. Any number of senders and receivers,
// on any worker and on foreign threads. Rests on sync/arm.hpp; no system calls and no allocation per value. Promises
// that each value is received once, and that a cancelled operation has not happened.
#pragma once

#include <weir/core/error.hpp>
#include <weir/sync/arm.hpp>

#include <algorithm>
#include <atomic>
#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace weir::sync {

/// The capacity of a channel that never makes a sender wait. Memory is the limit: only for senders that are bounded
/// by something else.
inline constexpr std::size_t unbounded = std::numeric_limits<std::size_t>::max();

/// What became of a value that was offered without waiting.
enum class offer : std::uint8_t {
  sent,
  full,    ///< nobody is ready for it; the value is where it was
  closed,  ///< nobody will be; the value is where it was
};

namespace detail {

/// How a value lies in a channel. One whose move may throw lies in a block of its own, so that nothing can fail half
/// way while a channel is locked.
template <class T>
class stored {
  static constexpr bool direct = std::is_nothrow_move_constructible_v<T> && std::is_nothrow_destructible_v<T>;
  static_assert(direct || std::is_copy_constructible_v<T>,
                "a value that cannot be copied and whose move may throw: send a std::unique_ptr to it");

 public:
  using type = std::conditional_t<direct, T, std::unique_ptr<T>>;

  /// Leaves `value` as it is if it throws.
  template <class U>
  static type pack(U&& value) {
    if constexpr (direct) {
      return type(std::forward<U>(value));
    } else {
      return std::make_unique<T>(std::as_const(value));
    }
  }
  static T&& unpack(type& kept) noexcept {
    if constexpr (direct) {
      return std::move(kept);
    } else {
      return std::move(*kept);
    }
  }
};

/// A first-in, first-out store of up to `limit` values; grows by doubling and keeps what it has grown to.
template <class T>
class ring {
 public:
  explicit ring(std::size_t limit) : limit_(limit) {
    if (limit != 0) allocate(std::bit_ceil(std::min(limit, eager)));
  }
  ring(ring&& other) noexcept
      : at_(std::exchange(other.at_, nullptr)),
        places_(std::exchange(other.places_, 0)),
        head_(std::exchange(other.head_, 0)),
        size_(std::exchange(other.size_, 0)),
        limit_(other.limit_) {}
  ring& operator=(ring&&) = delete;
  ~ring() {
    while (size_ != 0) drop_front();
    if (at_ != nullptr) std::allocator<T>().deallocate(at_, places_);
  }

  std::size_t size() const noexcept { return size_; }
  std::size_t limit() const noexcept { return limit_; }
  bool empty() const noexcept { return size_ == 0; }
  bool full() const noexcept { return size_ == limit_; }

  /// @throws std::bad_alloc when it has to grow and cannot; then nothing has changed. Must not be full
  void push(T&& value) {
    if (size_ == places_) [[unlikely]]
      grow();
    std::construct_at(at_ + ((head_ + size_) & (places_ - 1)), std::move(value));
    ++size_;
  }
  T& front() noexcept { return at_[head_]; }
  void drop_front() noexcept {
    std::destroy_at(at_ + head_);
    head_ = (head_ + 1) & (places_ - 1);
    --size_;
  }

 private:
  static constexpr std::size_t eager = 64;  // places that are there from the beginning

  void allocate(std::size_t places) {
    at_ = std::allocator<T>().allocate(places);
    places_ = places;
  }

  WEIR_NOINLINE void grow() {
    ring larger(0);
    larger.allocate(places_ == 0 ? std::min(eager, std::bit_ceil(limit_)) : places_ * 2);
    for (; size_ != 0; drop_front()) larger.push(std::move(front()));
    std::swap(at_, larger.at_);
    std::swap(places_, larger.places_);
    head_ = 0;
    size_ = std::exchange(larger.size_, 0);
  }

  T* at_ = nullptr;
  std::size_t places_ = 0;  // a power of two, or none
  std::size_t head_ = 0;
  std::size_t size_ = 0;
  std::size_t limit_;
};

/// How an attempt at an operation has ended.
enum class ending : std::uint8_t {
  none,  ///< it has not: it has to wait
  done,
  closed,
  no_memory,
};

/// The untyped half of a channel.
class channel_base {
 public:
  channel_base() = default;
  channel_base(const channel_base&) = delete;
  channel_base& operator=(const channel_base&) = delete;

  bool closed() const noexcept {
    spin_guard guard(lock_);
    return closed_;
  }
  void close() noexcept;

  // For the operations. What is in the lines and whether it is closed is for whoever holds the lock.
  spin_lock& lock() const noexcept { return lock_; }
  waiter_list& senders() noexcept { return senders_; }
  waiter_list& receivers() noexcept { return receivers_; }
  waiter_list& watchers() noexcept { return watchers_; }
  bool is_closed() const noexcept { return closed_; }

 protected:
  ~channel_base();

  mutable spin_lock lock_;
  bool closed_ = false;
  waiter_list senders_, receivers_, watchers_;
};

/// A place in the line of senders.
struct send_arm : arm {
  ending how = ending::none;

 protected:
  ~send_arm() = default;
};

[[noreturn]] void throw_not_sent(const send_arm& attempt);
failure why_not_sent(const send_arm& attempt) noexcept;

template <class T>
class channel_state final : public channel_base {
 public:
  using kept = typename stored<T>::type;

  explicit channel_state(std::size_t capacity) : values_(capacity) {}
  ~channel_state() = default;

  /// What a sender offers and where a receiver wants it: the typed part of their places.
  struct sending : send_arm {
    kept* value = nullptr;

   protected:
    ~sending() = default;
  };
  struct receiving : arm {
    std::optional<kept> value;

   protected:
    receiving() = default;
    receiving(const receiving&) noexcept : arm() {}  // copied before it begins only
    receiving& operator=(const receiving&) = delete;
    ~receiving() = default;
  };

  std::size_t capacity() const noexcept { return values_.limit(); }
  std::size_t size() const noexcept {
    spin_guard guard(lock_);
    return values_.size();
  }
  bool drained() const noexcept {
    spin_guard guard(lock_);
    return closed_ && values_.empty();
  }

  /// Under the lock. @return `none` if the channel is full
  WEIR_ALWAYS_INLINE ending put(kept& value, wakeup& to_wake) noexcept {
    if (closed_) return ending::closed;
    if (!receivers_.empty()) {
      if (auto* first = claim_first(receivers_, to_wake)) {
        receiver_at(*first).value.emplace(std::move(value));
        return ending::done;
      }
    }
    if (values_.full()) return ending::none;
    try {
      values_.push(std::move(value));
    } catch (const std::bad_alloc&) {
      return ending::no_memory;
    }
    return ending::done;
  }

  /// Under the lock. @return `none` if there is nothing yet
  WEIR_ALWAYS_INLINE ending take(std::optional<kept>& to, wakeup& to_wake) noexcept {
    if (!values_.empty()) {
      to.emplace(std::move(values_.front()));
      values_.drop_front();
      if (!senders_.empty()) refill(to_wake);
      return ending::done;
    }
    if (auto* first = senders_.empty() ? nullptr : claim_first(senders_, to_wake)) {
      auto& giver = sender_at(*first);
      to.emplace(std::move(*giver.value));
      giver.how = ending::done;
      return ending::done;
    }
    return closed_ ? ending::closed : ending::none;
  }

  offer try_put(kept& value) {
    wakeup to_wake;
    auto how = ending::none;
    {
      spin_guard guard(lock_);
      how = put(value, to_wake);
    }
    to_wake.go();
    if (how == ending::no_memory) throw std::bad_alloc();
    return how == ending::done ? offer::sent : how == ending::closed ? offer::closed : offer::full;
  }

  std::optional<T> try_take() {
    std::optional<kept> value;
    wakeup to_wake;
    {
      spin_guard guard(lock_);
      take(value, to_wake);
    }
    to_wake.go();
    return unpacked(value);
  }

  /// Appends what is there, `most` at most. @return how many
  std::size_t take_more(std::vector<T>& out, std::size_t most) {
    std::size_t taken = 0;
    while (taken < most) {
      auto wanted = std::min(most - taken, size() + wakeups::most);
      make_room(out, wanted);
      wakeups woken;
      spin_guard guard(lock_);
      std::optional<kept> value;
      for (auto end = taken + wanted; taken < end && !woken.full(); ++taken) {
        if (take(value, woken.next()) != ending::done) return taken;
        out.push_back(stored<T>::unpack(*value));
        value.reset();
      }
    }
    return taken;
  }

  /// Room for `more`, growing by doubling as `push_back` does.
  static void make_room(std::vector<T>& out, std::size_t more) {
    if (out.capacity() - out.size() >= more) return;
    out.reserve(std::max(out.size() + more, 2 * out.capacity()));
  }

  static std::optional<T> unpacked(std::optional<kept>& value) {
    std::optional<T> out;
    if (value) out.emplace(stored<T>::unpack(*value));
    return out;
  }

  /// Nobody is left to receive: what is in the channel goes now, not when the last sender does.
  void discard() noexcept {
    close();
    auto rest = [this] {
      spin_guard guard(lock_);
      return ring<kept>(std::move(values_));
    }();
  }

 private:
  static sending& sender_at(place& p) noexcept { return static_cast<sending&>(p); }
  static receiving& receiver_at(place& p) noexcept { return static_cast<receiving&>(p); }

  WEIR_ALWAYS_INLINE void refill(wakeup& to_wake) noexcept {
    auto* first = claim_first(senders_, to_wake);
    if (first == nullptr) return;
    auto& giver = sender_at(*first);
    values_.push(std::move(*giver.value));  // into the place that has just become free
    giver.how = ending::done;
  }

  ring<kept> values_;
};

template <class T>
class [[nodiscard]] send_operation : public arm_awaiter<send_operation<T>, typename channel_state<T>::sending> {
 public:
  void await_resume() const {
    if (this->how != ending::done) [[unlikely]]
      throw_not_sent(*this);
  }
  result<void> try_resume() const noexcept {
    if (this->how != ending::done) return why_not_sent(*this);
    return {};
  }

  spin_lock& lock() noexcept final { return to_->lock(); }
  waiter_list& line() noexcept final { return to_->senders(); }
  WEIR_ALWAYS_INLINE bool complete(wakeup& to_wake) noexcept final {
    this->how = to_->put(*this->value, to_wake);
    return this->how != ending::none;
  }
  const char* what() const noexcept final { return "channel: send"; }

 protected:
  explicit send_operation(channel_state<T>& to) noexcept : to_(&to) {}
  ~send_operation() = default;

 private:
  channel_state<T>* to_;
};

/// Keeps the value until it is taken.
template <class T>
class [[nodiscard]] send_awaiter final : public send_operation<T> {
  using kept = typename channel_state<T>::kept;

 public:
  send_awaiter(channel_state<T>& to, kept&& value) noexcept : send_operation<T>(to), own_(std::move(value)) {
    this->value = &own_;
  }
  send_awaiter(send_awaiter&& other) noexcept : send_operation<T>(other), own_(std::move(other.own_)) {
    this->value = &own_;
  }
  send_awaiter& operator=(send_awaiter&&) = delete;
  ~send_awaiter() = default;

 private:
  kept own_;
};

/// Leaves the value with the caller until it is taken.
template <class T>
class [[nodiscard]] send_from_awaiter final : public send_operation<T> {
 public:
  send_from_awaiter(channel_state<T>& to, T& value) noexcept : send_operation<T>(to) { this->value = &value; }
};

/// What receiving one value and receiving many have in common.
template <class T, class Operation>
class recv_operation : public arm_awaiter<Operation, typename channel_state<T>::receiving> {
 public:
  spin_lock& lock() noexcept final { return from_->lock(); }
  waiter_list& line() noexcept final { return from_->receivers(); }
  WEIR_ALWAYS_INLINE bool complete(wakeup& to_wake) noexcept final {
    return from_->take(this->value, to_wake) != ending::none;
  }
  const char* what() const noexcept final { return "channel: recv"; }

 protected:
  explicit recv_operation(channel_state<T>& from) noexcept : from_(&from) {}
  ~recv_operation() = default;

  channel_state<T>* from_;
};

template <class T>
class [[nodiscard]] recv_awaiter final : public recv_operation<T, recv_awaiter<T>> {
 public:
  explicit recv_awaiter(channel_state<T>& from) noexcept : recv_operation<T, recv_awaiter>(from) {}
  std::optional<T> await_resume() {
    if (this->stopped) [[unlikely]]
      throw cancelled();
    return channel_state<T>::unpacked(this->value);
  }
  result<std::optional<T>> try_resume() {
    if (this->stopped) return failure(cancelled());
    return channel_state<T>::unpacked(this->value);
  }
};

template <class T>
class [[nodiscard]] recv_many_awaiter final : public recv_operation<T, recv_many_awaiter<T>> {
 public:
  recv_many_awaiter(channel_state<T>& from, std::vector<T>& out, std::size_t most)
      : recv_operation<T, recv_many_awaiter>(from), out_(&out), most_(most) {
    if (most == 0) throw error(errc::err_out_of_range, "channel: recv_many of at most 0 values");
    channel_state<T>::make_room(out, 1);
  }
  std::size_t await_resume() {
    if (this->stopped) throw cancelled();
    return take();
  }
  result<std::size_t> try_resume() {
    if (this->stopped) return failure(cancelled());
    return take();
  }

 private:
  std::size_t take() {
    if (!this->value) return 0;
    out_->push_back(stored<T>::unpack(*this->value));
    return 1 + this->from_->take_more(*out_, most_ - 1);
  }

  std::vector<T>* out_;
  std::size_t most_;
};

/// Waits until a channel is closed.
class [[nodiscard]] close_awaiter final : public arm_awaiter<close_awaiter> {
 public:
  explicit close_awaiter(channel_base& on) noexcept : on_(&on) {}
  void await_resume() const {
    if (stopped) throw cancelled();
  }
  result<void> try_resume() const noexcept {
    if (stopped) return failure(cancelled());
    return {};
  }

  spin_lock& lock() noexcept override { return on_->lock(); }
  waiter_list& line() noexcept override { return on_->watchers(); }
  bool complete(wakeup&) noexcept override { return on_->is_closed(); }
  const char* what() const noexcept override { return "channel: close"; }

 private:
  channel_base* on_;
};

/// What can be asked of a channel from either end. `Self` has `state()`.
template <class T, class Self>
class either_side {
 public:
  /// Ends the channel: values in it can still be received, senders that wait fail, and so does every later send. Any
  /// thread; more than once is harmless.
  void close() noexcept { at().close(); }
  bool closed() const noexcept { return at().closed(); }

  /// Closed and empty: nothing will be received any more.
  bool drained() const noexcept { return at().drained(); }

  /// Values in the channel now, those of waiting senders not counted.
  std::size_t size() const noexcept { return at().size(); }
  std::size_t capacity() const noexcept { return at().capacity(); }

  /// `co_await x.until_closed()`: completes when the channel is closed, so that a producer stops in time.
  close_awaiter until_closed() noexcept { return close_awaiter(at()); }

 private:
  channel_state<T>& at() const noexcept { return static_cast<const Self&>(*this).state(); }
};

template <class T, class Self>
class send_side {
  using packing = stored<T>;

 public:
  /// `co_await x.send(v)`: completes when the value is in the channel or with a receiver, in order of arrival.
  ///
  /// @throws weir::error ERR_CLOSED if the channel is closed, before or meanwhile; cancelled if the task is to stop.
  /// Then the value has not been delivered and is destroyed (see `send_from`); otherwise it has been, exactly once.
  /// Workers only.
  send_awaiter<T> send(T value) { return send_awaiter<T>(at(), packing::pack(std::move(value))); }

  /// The same, but `value` stays the caller's until it is taken: if the send fails or is cancelled it is as it was.
  /// It must outlive the await. A T whose move may throw is copied.
  auto send_from(T& value) {
    if constexpr (std::is_same_v<typename packing::type, T>) {
      return send_from_awaiter<T>(at(), value);
    } else {
      return send_awaiter<T>(at(), packing::pack(value));
    }
  }

  /// Sends without waiting, never overtaking a sender that waits. Moves from `value` only if the answer is `sent`.
  /// Any thread. @throws std::bad_alloc if an unbounded channel cannot grow
  offer try_send(T&& value) { return try_packed(value); }
  offer try_send(const T& value)
    requires std::copy_constructible<T>
  {
    auto copy = packing::pack(value);
    return at().try_put(copy);
  }

  /// `send` for a thread that is no worker: it sleeps until the value is taken.
  /// @throws weir::error ERR_CLOSED; ERR_INVALID_STATE on a worker
  void send_blocking(T value) { send(std::move(value)).block("channel: send_blocking"); }

 private:
  channel_state<T>& at() const noexcept { return static_cast<const Self&>(*this).state(); }

  offer try_packed(T& value) {
    if constexpr (std::is_same_v<typename packing::type, T>) {
      return at().try_put(value);
    } else {
      auto copy = packing::pack(value);
      return at().try_put(copy);
    }
  }
};

template <class T, class Self>
class recv_side {
 public:
  /// `while (auto v = co_await x.recv())`: completes with the next value, or with nothing once the channel is closed
  /// and drained. Receivers that wait are served in order of arrival. Cancelling it loses no value. Workers only.
  recv_awaiter<T> recv() noexcept { return recv_awaiter<T>(at()); }

  /// The same under the name that sources of a stream have.
  recv_awaiter<T> next() noexcept { return recv_awaiter<T>(at()); }

  /// `co_await x.recv_many(out, most)`: waits for one value and appends it to `out` with what else is there, `most` at
  /// most. Completes with their number, 0 once the channel is closed and drained. Cancelling it loses no value. `out`
  /// is the caller's and must not be touched meanwhile. @throws weir::error ERR_OUT_OF_RANGE if `most` is 0
  recv_many_awaiter<T> recv_many(std::vector<T>& out, std::size_t most) {
    return recv_many_awaiter<T>(at(), out, most);
  }

  /// The next value, or nothing: then `drained` tells whether there may be one later. Any thread.
  std::optional<T> try_recv() { return at().try_take(); }

  /// `recv` for a thread that is no worker: it sleeps until there is one.
  /// @throws weir::error ERR_INVALID_STATE on a worker
  std::optional<T> recv_blocking() { return recv().block("channel: recv_blocking"); }

 private:
  channel_state<T>& at() const noexcept { return static_cast<const Self&>(*this).state(); }
};

/// A channel that its handles share.
template <class T>
struct shared_channel {
  explicit shared_channel(std::size_t capacity) : state(capacity) {}

  channel_state<T> state;
  std::atomic<std::uint32_t> senders{1}, receivers{1}, sides{2};

  void drop_side() noexcept {
    if (sides.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
  }
  void drop_sender() noexcept {
    if (senders.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
    state.close();
    drop_side();
  }
  void drop_receiver() noexcept {
    if (receivers.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
    state.discard();
    drop_side();
  }
};

}  // namespace detail

/// A first-in, first-out queue of at most `capacity` values between any number of senders and receivers.
///
/// A receiver that waits gets the value directly from the sender's hands. With capacity 0 that is the only way: each
/// send meets a recv (rendezvous). Senders wait while it is full: that is the backpressure. `unbounded` senders never
/// wait. T is movable (move-only welcome); one whose move may throw is kept in a block of its own and copied into
/// it. Values left are destroyed with the channel.
///
/// The channel must outlive every operation on it (a scope around its users does it), or the program is ended; see
/// `make_channel` for one that its users share. Member functions marked so may be called from any thread.
template <class T>
class channel : public detail::either_side<T, channel<T>>,
                public detail::send_side<T, channel<T>>,
                public detail::recv_side<T, channel<T>> {
 public:
  using value_type = T;

  /// @param capacity values it can hold; memory for more than 64 is taken when they are there
  explicit channel(std::size_t capacity) : state_(capacity) {}
  channel(const channel&) = delete;
  channel& operator=(const channel&) = delete;

  /// @cond internal
  detail::channel_state<T>& state() const noexcept { return state_; }
  /// @endcond

 private:
  mutable detail::channel_state<T> state_;
};

template <class T>
struct channel_ends;
template <class T>
channel_ends<T> make_channel(std::size_t capacity);

/// A share of a channel's sending end. Copies send to the same channel; when the last one goes the channel is closed.
/// It must stay where it is while an operation of it is awaited. A task that returns a value keeps its parameters until
/// its join handle goes: there `close` tells receivers in time.
template <class T>
class sender : public detail::either_side<T, sender<T>>, public detail::send_side<T, sender<T>> {
 public:
  using value_type = T;

  sender(const sender& other) noexcept : of_(other.of_) {
    if (of_ != nullptr) of_->senders.fetch_add(1, std::memory_order_relaxed);
  }
  sender(sender&& other) noexcept : of_(std::exchange(other.of_, nullptr)) {}
  sender& operator=(sender other) noexcept {
    std::swap(of_, other.of_);
    return *this;
  }
  ~sender() {
    if (of_ != nullptr) of_->drop_sender();
  }

  /// False once it has been moved from; then nothing else may be called.
  explicit operator bool() const noexcept { return of_ != nullptr; }

  /// @cond internal
  detail::channel_state<T>& state() const noexcept { return of_->state; }
  /// @endcond

 private:
  friend channel_ends<T> make_channel<T>(std::size_t);
  explicit sender(detail::shared_channel<T>& of) noexcept : of_(&of) {}
  detail::shared_channel<T>* of_;
};

/// A share of a channel's receiving end. Copies take values from the same channel, each value going to one of them.
/// When the last one goes the channel is closed, sends fail, and the values left are destroyed.
template <class T>
class receiver : public detail::either_side<T, receiver<T>>, public detail::recv_side<T, receiver<T>> {
 public:
  using value_type = T;

  receiver(const receiver& other) noexcept : of_(other.of_) {
    if (of_ != nullptr) of_->receivers.fetch_add(1, std::memory_order_relaxed);
  }
  receiver(receiver&& other) noexcept : of_(std::exchange(other.of_, nullptr)) {}
  receiver& operator=(receiver other) noexcept {
    std::swap(of_, other.of_);
    return *this;
  }
  ~receiver() {
    if (of_ != nullptr) of_->drop_receiver();
  }

  /// False once it has been moved from; then nothing else may be called.
  explicit operator bool() const noexcept { return of_ != nullptr; }

  /// @cond internal
  detail::channel_state<T>& state() const noexcept { return of_->state; }
  /// @endcond

 private:
  friend channel_ends<T> make_channel<T>(std::size_t);
  explicit receiver(detail::shared_channel<T>& of) noexcept : of_(&of) {}
  detail::shared_channel<T>* of_;
};

template <class T>
struct channel_ends {
  sender<T> tx;
  receiver<T> rx;
};

/// A channel that its handles keep alive: `auto [tx, rx] = make_channel<int>(64);`. See `channel` for the rest.
template <class T>
channel_ends<T> make_channel(std::size_t capacity) {
  auto* made = new detail::shared_channel<T>(capacity);
  return {sender<T>(*made), receiver<T>(*made)};
}

}  // namespace weir::sync
