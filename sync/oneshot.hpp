// sync/oneshot.hpp: one value, handed over once: an answer to a request. Rests on sync/channel.hpp's lines. One
// allocation per pair; sending never waits and may be done on any thread.
#pragma once

#include <weir/core/error.hpp>
#include <weir/sync/channel.hpp>

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

namespace weir::sync {
namespace detail {

/// What the two ends share. Closed means that one of them has gone, or has done its part.
template <class T>
class oneshot_state final : public channel_base {
 public:
  using kept = typename stored<T>::type;

  struct receiving : arm {
    std::optional<kept> value;

   protected:
    receiving() = default;
    receiving(const receiving&) noexcept : arm() {}  // copied before it begins only
    receiving& operator=(const receiving&) = delete;
    ~receiving() = default;
  };

  /// @return false if the receiver has gone; then `value` is as it was
  bool put(kept& value) noexcept {
    wakeup to_wake;
    {
      spin_guard guard(lock_);
      if (closed_) return false;
      if (auto* waiting = claim_first(receivers_, to_wake)) {
        static_cast<receiving&>(*waiting).value.emplace(std::move(value));
      } else {
        value_.emplace(std::move(value));
      }
    }
    to_wake.go();
    return true;
  }

  /// Under the lock. @return false if there is nothing yet
  bool take(std::optional<kept>& to) noexcept {
    if (value_) {
      to.emplace(std::move(*value_));
      value_.reset();
      return true;
    }
    return closed_;
  }

  void release() noexcept {
    if (ends_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
  }

 private:
  std::atomic<std::uint32_t> ends_{2};
  std::optional<kept> value_;
};

failure no_answer() noexcept;

template <class T>
class [[nodiscard]] oneshot_awaiter final
    : public arm_awaiter<oneshot_awaiter<T>, typename oneshot_state<T>::receiving> {
 public:
  explicit oneshot_awaiter(oneshot_state<T>& from) noexcept : from_(&from) {}

  T await_resume() {
    if (this->stopped) throw cancelled();
    if (!this->value) no_answer().rethrow();
    return stored<T>::unpack(*this->value);
  }
  result<T> try_resume() {
    if (this->stopped) return failure(cancelled());
    if (!this->value) return no_answer();
    return stored<T>::unpack(*this->value);
  }

  spin_lock& lock() noexcept override { return from_->lock(); }
  waiter_list& line() noexcept override { return from_->receivers(); }
  bool complete(wakeup&) noexcept override { return from_->take(this->value); }
  const char* what() const noexcept override { return "oneshot"; }

 private:
  oneshot_state<T>* from_;
};

}  // namespace detail

template <class T>
struct oneshot;
template <class T>
oneshot<T> make_oneshot();

/// The end that sends, once. Destroying it without sending fails the receiver with ERR_CLOSED.
template <class T>
class oneshot_sender {
 public:
  oneshot_sender(oneshot_sender&& other) noexcept : state_(std::exchange(other.state_, nullptr)) {}
  oneshot_sender& operator=(oneshot_sender other) noexcept {
    std::swap(state_, other.state_);
    return *this;
  }
  ~oneshot_sender() { finish(); }

  /// False once it has sent or been moved from.
  explicit operator bool() const noexcept { return state_ != nullptr; }

  /// Hands the value over; this end is used up. Never waits; any thread. A T whose move may throw is copied.
  /// @return false if nobody will receive it: then `value` is as it was
  /// @throws weir::error ERR_CLOSED if it has sent before
  bool send(T&& value) {
    if (state_ == nullptr) throw error(errc::err_closed, "oneshot: it has sent its value");
    bool sent = false;
    if constexpr (std::is_same_v<typename detail::stored<T>::type, T>) {
      sent = state_->put(value);
    } else {
      auto copy = detail::stored<T>::pack(value);
      sent = state_->put(copy);
    }
    finish();
    return sent;
  }
  bool send(const T& value)
    requires std::copy_constructible<T>
  {
    return send(T(value));
  }

  /// True if the receiver has gone: the work for the answer may be saved. It must not have sent.
  bool closed() const noexcept { return state_->closed(); }

  /// `co_await tx.until_closed()`: completes when the receiver has gone. An arm for `select`.
  detail::close_awaiter until_closed() noexcept { return detail::close_awaiter(*state_); }

 private:
  friend oneshot<T> make_oneshot<T>();
  explicit oneshot_sender(detail::oneshot_state<T>& state) noexcept : state_(&state) {}

  void finish() noexcept {
    auto* of = std::exchange(state_, nullptr);
    if (of == nullptr) return;
    of->close();
    of->release();
  }

  detail::oneshot_state<T>* state_;
};

/// The end that receives, once.
template <class T>
class oneshot_receiver {
 public:
  oneshot_receiver(oneshot_receiver&& other) noexcept : state_(std::exchange(other.state_, nullptr)) {}
  oneshot_receiver& operator=(oneshot_receiver other) noexcept {
    std::swap(state_, other.state_);
    return *this;
  }
  ~oneshot_receiver() {
    if (state_ == nullptr) return;
    state_->close();
    state_->release();
  }

  /// False once it has been moved from.
  explicit operator bool() const noexcept { return state_ != nullptr; }

  /// `co_await rx.recv()`: completes with the value. @throws weir::error ERR_CLOSED if the sender has gone without
  /// sending, or the value has been received before. Cancelling it loses nothing: one may await again. Workers only; an
  /// arm for `select`.
  detail::oneshot_awaiter<T> recv() noexcept { return detail::oneshot_awaiter<T>(*state_); }

  /// The value, if it is there. Any thread.
  std::optional<T> try_recv() {
    std::optional<typename detail::stored<T>::type> value;
    {
      detail::spin_guard guard(state_->lock());
      state_->take(value);
    }
    std::optional<T> out;
    if (value) out.emplace(detail::stored<T>::unpack(*value));
    return out;
  }

  /// `recv` for a thread that is no worker. @throws weir::error also ERR_INVALID_STATE on a worker
  T recv_blocking() { return recv().block("oneshot: recv_blocking"); }

 private:
  friend oneshot<T> make_oneshot<T>();
  explicit oneshot_receiver(detail::oneshot_state<T>& state) noexcept : state_(&state) {}

  detail::oneshot_state<T>* state_;
};

/// The two ends of a single exchange.
template <class T>
struct oneshot {
  oneshot_sender<T> tx;
  oneshot_receiver<T> rx;
};

/// `auto [tx, rx] = make_oneshot<int>();`
template <class T>
oneshot<T> make_oneshot() {
  auto* made = new detail::oneshot_state<T>();
  return {oneshot_sender<T>(*made), oneshot_receiver<T>(*made)};
}

}  // namespace weir::sync
