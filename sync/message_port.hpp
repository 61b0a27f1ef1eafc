// sync/message_port.hpp: a line between two threads, with a port at each end (Node's MessageChannel and MessagePort,
// https://nodejs.org/api/worker_threads.html#class-messageport). Rests on core's queue of waiters. Messages arrive
// whole and in order, and are cloned (copied), transferred (moved) or refer to shared_memory, as their type says.
#pragma once

#include <weir/core/context.hpp>
#include <weir/core/event.hpp>
#include <weir/core/fiber.hpp>
#include <weir/core/loop.hpp>
#include <weir/core/result.hpp>
#include <weir/core/scope.hpp>
#include <weir/core/task.hpp>

#include <concepts>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

namespace weir::sync {

struct message_channel_options {
  std::size_t capacity = 65536;  ///< messages that may wait in each direction: `post` fails then, `send` waits
};

/// Moves a value out and leaves an empty one behind: `port.post(transfer(pixels))`.
template <class T>
  requires(std::movable<T> && std::default_initializable<T>)
[[nodiscard]] T transfer(T& source) {
  return std::exchange(source, T());
}

namespace detail {

/// One direction of a line, without its messages.
class lane_base {
 public:
  explicit lane_base(std::size_t limit);
  lane_base(const lane_base&) = delete;
  lane_base& operator=(const lane_base&) = delete;

  /// No message comes any more; those that wait may still be received. Any thread.
  void close() noexcept;
  bool closed() const noexcept;

  mutable weir::detail::spin_lock lock;
  weir::detail::waiter_list receivers;
  weir::detail::waiter_list senders;
  const std::size_t capacity;
  bool is_closed = false;

  static void wake(weir::detail::waiter* who) noexcept;

 protected:
  ~lane_base() = default;
};

template <class T>
class lane;

/// A sender with what it sends, or a receiver with what it was given.
template <class T>
struct lane_place : weir::detail::waiter {
  std::optional<T> value;
};

template <class T>
class [[nodiscard]] lane_receive : private weir::detail::wait {
 public:
  explicit lane_receive(std::shared_ptr<lane<T>> from) noexcept : lane_(std::move(from)) {}
  lane_receive(lane_receive&& other) noexcept : lane_(std::move(other.lane_)) {}  // before it is awaited only
  lane_receive& operator=(lane_receive&&) = delete;
  ~lane_receive() = default;

  bool await_ready() const noexcept { return false; }
  template <weir::detail::weir_promise P>
  bool await_suspend(std::coroutine_handle<P> h) {
    return suspend(*h.promise().running, h);
  }
  std::optional<T> await_resume() { return try_resume().value(); }
  result<std::optional<T>> try_resume() {
    if (place_.stopped) return failure(cancelled());
    return std::move(place_.value);
  }

 private:
  bool suspend(weir::detail::fiber& f, std::coroutine_handle<> h);
  bool interrupt(weir::detail::fiber&) noexcept override {
    weir::detail::spin_guard guard(lane_->lock);
    return lane_->receivers.give_up(place_);
  }
  const char* what() const noexcept override { return "message_port receive"; }

  std::shared_ptr<lane<T>> lane_;
  lane_place<T> place_;
};

template <class T>
class [[nodiscard]] lane_send : private weir::detail::wait {
 public:
  lane_send(std::shared_ptr<lane<T>> to, T&& message) : lane_(std::move(to)) {
    place_.value.emplace(std::move(message));
  }
  lane_send(lane_send&& other) noexcept(std::is_nothrow_move_constructible_v<T>) : lane_(std::move(other.lane_)) {
    place_.value = std::move(other.place_.value);
  }
  lane_send& operator=(lane_send&&) = delete;
  ~lane_send() = default;

  bool await_ready() const noexcept { return false; }
  template <weir::detail::weir_promise P>
  bool await_suspend(std::coroutine_handle<P> h) {
    return suspend(*h.promise().running, h);
  }
  bool await_resume() { return try_resume().value(); }
  result<bool> try_resume() {
    if (place_.stopped) return failure(cancelled());
    return !place_.value.has_value();
  }

 private:
  bool suspend(weir::detail::fiber& f, std::coroutine_handle<> h);
  bool interrupt(weir::detail::fiber&) noexcept override {
    weir::detail::spin_guard guard(lane_->lock);
    return lane_->senders.give_up(place_);
  }
  const char* what() const noexcept override { return "message_port send"; }

  std::shared_ptr<lane<T>> lane_;
  lane_place<T> place_;
};

/// One direction of a line with its messages. A message goes straight to a receiver that waits.
template <class T>
class lane final : public lane_base {
 public:
  using lane_base::lane_base;

  enum class posted : std::uint8_t { yes, closed, full };

  posted post(T&& message) {
    weir::detail::waiter* receiver = nullptr;
    {
      weir::detail::spin_guard guard(lock);
      if (is_closed) return posted::closed;
      receiver = receivers.pop();
      if (receiver == nullptr) {
        if (messages.size() >= capacity) return posted::full;
        messages.push_back(std::move(message));
        return posted::yes;
      }
      static_cast<lane_place<T>*>(receiver)->value.emplace(std::move(message));
    }
    wake(receiver);
    return posted::yes;
  }

  /// Takes the first message, if there is one, and lets a sender that waits have its place. Under the lock.
  std::optional<T> take(weir::detail::waiter*& sender) {
    if (messages.empty()) return std::nullopt;
    std::optional<T> first(std::move(messages.front()));
    messages.pop_front();
    sender = senders.pop();
    if (sender != nullptr) {
      auto& waiting = static_cast<lane_place<T>*>(sender)->value;
      messages.push_back(std::move(*waiting));
      waiting.reset();
    }
    return first;
  }

  std::optional<T> try_receive() {
    weir::detail::waiter* sender = nullptr;
    std::optional<T> found;
    {
      weir::detail::spin_guard guard(lock);
      found = take(sender);
    }
    wake(sender);
    return found;
  }

  /// Closes, and forgets what has not been received: the receiving end is gone.
  void abandon() noexcept {
    close();
    std::deque<T> unread;
    weir::detail::spin_guard guard(lock);
    unread.swap(messages);
    guard.unlock();
  }

  std::size_t size() const noexcept {
    weir::detail::spin_guard guard(lock);
    return messages.size();
  }

 private:
  friend lane_receive<T>;
  friend lane_send<T>;
  std::deque<T> messages;
};

template <class T>
bool lane_receive<T>::suspend(weir::detail::fiber& f, std::coroutine_handle<> h) {
  place_.stopped = !f.block(*this, h);
  if (place_.stopped) return false;
  place_.who = &f;
  weir::detail::waiter* sender = nullptr;
  weir::detail::spin_guard guard(lane_->lock);
  place_.stopped = f.must_stop();
  if (!place_.stopped) {
    place_.value = lane_->take(sender);
    if (!place_.value && !lane_->is_closed) {
      lane_->receivers.push(place_);
      return true;
    }
  }
  guard.unlock();
  lane_base::wake(sender);
  f.unblock();
  return !place_.stopped && weir::detail::yield_if_spent(f, h);
}

template <class T>
bool lane_send<T>::suspend(weir::detail::fiber& f, std::coroutine_handle<> h) {
  place_.stopped = !f.block(*this, h);
  if (place_.stopped) return false;
  place_.who = &f;
  weir::detail::waiter* receiver = nullptr;
  weir::detail::spin_guard guard(lane_->lock);
  place_.stopped = f.must_stop();
  if (!place_.stopped && !lane_->is_closed) {
    receiver = lane_->receivers.pop();
    if (receiver != nullptr) {
      static_cast<lane_place<T>*>(receiver)->value = std::move(place_.value);
      place_.value.reset();
    } else if (lane_->messages.size() < lane_->capacity) {
      lane_->messages.push_back(std::move(*place_.value));
      place_.value.reset();
    } else {
      lane_->senders.push(place_);
      return true;
    }
  }
  guard.unlock();
  lane_base::wake(receiver);
  f.unblock();
  return !place_.stopped && weir::detail::yield_if_spent(f, h);
}

/// @throws weir::error ERR_QUEUE_FULL
[[noreturn]] void throw_line_full(std::size_t capacity);
/// @throws weir::error ERR_INVALID_STATE
[[noreturn]] void throw_port_transferred();
/// @throws weir::error ERR_INVALID_STATE outside a runtime
scope& scope_for_messages();

template <class T, class F>
task<> deliver_messages(std::shared_ptr<lane<T>> from, F function) {
  while (auto message = co_await lane_receive<T>(from)) {
    if constexpr (weir::detail::is_task<std::invoke_result_t<F&, T>>) {
      co_await function(std::move(*message));
    } else {
      function(std::move(*message));
    }
    co_await yield();  // what the function queued has its turn before the next message
  }
}

}  // namespace detail

/// One end of a line: receives what the other end posts, and posts what the other end receives. A port has one owner:
/// moving it, in a message or as an argument of a thread, is its transfer, and the one left behind can do nothing
/// but throw ERR_INVALID_STATE. Its functions may be called on any thread; the port itself, like any object, must
/// not be moved meanwhile. The last thing a port does is `close`.
template <class Receive, class Send = Receive>
class message_port {
 public:
  message_port() = default;
  /// @cond internal
  message_port(std::shared_ptr<detail::lane<Receive>> in, std::shared_ptr<detail::lane<Send>> out) noexcept
      : in_(std::move(in)), out_(std::move(out)) {}
  const std::shared_ptr<detail::lane<Receive>>& incoming() const noexcept { return in_; }
  /// @endcond
  message_port(message_port&& other) noexcept = default;
  message_port& operator=(message_port&& other) noexcept {
    message_port taken(std::move(other));
    std::swap(in_, taken.in_);
    std::swap(out_, taken.out_);
    return *this;
  }
  ~message_port() { close(); }

  /// False once it has been transferred.
  explicit operator bool() const noexcept { return in_ != nullptr; }

  /// Sends a message: a copy of an lvalue (clone), what an rvalue held (transfer). Never waits.
  /// @return false if either end has been closed: the message is gone, as Node has it
  /// @throws weir::error ERR_QUEUE_FULL if as many wait as may
  bool post(Send message) {
    require();
    auto how = out_->post(std::move(message));
    if (how == detail::lane<Send>::posted::full) detail::throw_line_full(out_->capacity);
    return how == detail::lane<Send>::posted::yes;
  }

  /// `co_await port.send(message)` waits for room instead, and completes with true, or with false if either end is
  /// closed. Senders are served in order. Cancelled while it waits, it has not sent.
  detail::lane_send<Send> send(Send message) {
    require();
    return {out_, std::move(message)};
  }

  /// `co_await port.receive()` completes with the next message, or with nothing once either end is closed and (if it
  /// was the other) all that was sent before has been received. Cancelling it loses no message.
  detail::lane_receive<Receive> receive() {
    require();
    return detail::lane_receive<Receive>(in_);
  }

  /// The next message if one waits.
  std::optional<Receive> try_receive() {
    require();
    return in_->try_receive();
  }

  /// Calls `function(message)` for each message, in order, on the loop of the caller, until the port is closed or
  /// `cancel` is called on what this returns. A function that returns a task has it awaited before the next message.
  /// The caller's scope waits for it; what it throws fails that scope. To be cancelled before a transfer.
  template <class F>
    requires std::is_invocable_v<std::decay_t<F>&, Receive>
  join_handle<> on_message(F&& function) {
    require();
    return detail::scope_for_messages().spawn_local(detail::deliver_messages<Receive, std::decay_t<F>>, in_,
                                                    std::forward<F>(function));
  }

  /// Ends the line in both directions; the other end still receives what was sent before.
  void close() noexcept {
    if (in_ == nullptr) return;
    in_->abandon();
    out_->close();
  }

  bool closed() const {
    require();
    return out_->closed();
  }
  /// Messages that wait to be received here.
  std::size_t waiting() const {
    require();
    return in_->size();
  }

 private:
  void require() const {
    if (in_ == nullptr) detail::throw_port_transferred();
  }

  std::shared_ptr<detail::lane<Receive>> in_;
  std::shared_ptr<detail::lane<Send>> out_;
};

/// A new line: `port1` receives First, `port2` receives Second. Messages must be movable; a type that refers to what
/// another thread uses has to be safe for that (shared_memory is).
template <class First, class Second = First>
struct message_channel {
  explicit message_channel(message_channel_options options = {}) {
    auto to_first = std::make_shared<detail::lane<First>>(options.capacity);
    auto to_second = std::make_shared<detail::lane<Second>>(options.capacity);
    port1 = {to_first, to_second};
    port2 = {to_second, to_first};
  }

  message_port<First, Second> port1;
  message_port<Second, First> port2;
};

}  // namespace weir::sync
