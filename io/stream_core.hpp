// io/stream_core.hpp: what readable and writable streams have in common: the lock, the one terminal outcome, who waits
// for what, and a queue of chunks. Rests on core's fibers and buffers. Of interest to those who write streams;
// everybody else includes io/stream.hpp.
#pragma once

#include <weir/core/buffer.hpp>
#include <weir/core/event.hpp>
#include <weir/core/fiber.hpp>
#include <weir/core/spin_lock.hpp>
#include <weir/core/task.hpp>

#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

namespace weir::io {

/// A chunk that is cut and joined freely: then marks and lengths count bytes, else items.
template <class T>
inline constexpr bool is_bytes = std::same_as<T, buffer>;

/// How much a stream holds by default before it makes its producer wait: 64 KiB, or 16 items.
template <class T>
inline constexpr std::size_t default_high_water_mark = is_bytes<T> ? 64 * 1024 : 16;

/// What a chunk counts for, unless a stream's options say otherwise.
template <class T>
std::size_t own_weight(const T& chunk) noexcept {
  if constexpr (is_bytes<T>) {
    return chunk.size();
  } else {
    return 1;
  }
}

/// How a readable, a writable or either side of a duplex behaves.
template <class T>
struct stream_options {
  /// How much may be queued before producers wait, in bytes or items; a chunk goes in whole as long as there is less.
  /// 0 is taken at its word: nothing is queued, every chunk is handed from hand to hand.
  std::optional<std::size_t> high_water_mark = {};
  /// What a chunk counts for; not set: its bytes, or 1. Must not throw.
  std::function<std::size_t(const T&)> weigh = {};
  /// Called once, when the stream has ended, finished or been destroyed, with the error if there is one, on the thread
  /// where that happens and maybe while an operation of its source or sink is still under way. Must not throw.
  std::function<void(std::exception_ptr)> on_close = {};
  /// Whether an operation of the source or sink that fails with `cancelled` has had no effect and may be tried again.
  /// Objects say so themselves (see `source`); this is for functions.
  bool cancel_safe = false;
};

namespace streams {

/// Chunks in order, in a ring that grows and stays: no allocation per chunk.
template <class T>
class chunk_ring {
 public:
  static_assert(std::is_nothrow_move_constructible_v<T>, "chunks of a stream must move without throwing");

  chunk_ring() = default;
  chunk_ring(const chunk_ring&) = delete;
  chunk_ring& operator=(const chunk_ring&) = delete;
  ~chunk_ring() { clear(); }

  bool empty() const noexcept { return size_ == 0; }
  std::size_t size() const noexcept { return size_; }
  T& front() noexcept { return *at(0); }
  T& operator[](std::size_t index) noexcept { return *at(index); }

  void push_back(T&& chunk) {
    if (size_ == capacity_) grow();
    std::construct_at(at(size_), std::move(chunk));
    ++size_;
  }
  void push_front(T&& chunk) {
    if (size_ == capacity_) grow();
    first_ = (first_ - 1) & (capacity_ - 1);
    std::construct_at(at(0), std::move(chunk));
    ++size_;
  }
  T pop_front() noexcept {
    T taken = std::move(front());
    std::destroy_at(at(0));
    first_ = (first_ + 1) & (capacity_ - 1);
    --size_;
    return taken;
  }
  void clear() noexcept {
    while (!empty()) std::destroy_at(at(--size_));
  }
  void swap(chunk_ring& other) noexcept {
    std::swap(slots_, other.slots_);
    std::swap(capacity_, other.capacity_);
    std::swap(first_, other.first_);
    std::swap(size_, other.size_);
  }

 private:
  struct slot {
    alignas(T) std::byte memory[sizeof(T)];
  };

  T* at(std::size_t index) const noexcept {
    return reinterpret_cast<T*>(slots_[(first_ + index) & (capacity_ - 1)].memory);
  }
  void grow() {
    std::size_t wider = capacity_ == 0 ? 4 : 2 * capacity_;
    auto moved = std::make_unique_for_overwrite<slot[]>(wider);
    for (std::size_t i = 0; i < size_; ++i) {
      std::construct_at(reinterpret_cast<T*>(moved[i].memory), std::move(*at(i)));
      std::destroy_at(at(i));
    }
    slots_ = std::move(moved);
    capacity_ = wider;
    first_ = 0;
  }

  std::unique_ptr<slot[]> slots_;
  std::size_t capacity_ = 0;  // a power of two
  std::size_t first_ = 0;
  std::size_t size_ = 0;
};

class stream_core;

/// Whoever is told that a stream has failed: a pipeline.
class watcher {
 public:
  virtual void failed(stream_core& which, const std::exception_ptr& why) noexcept = 0;

 protected:
  ~watcher() = default;
};

using weir::detail::waiter;
using weir::detail::waiter_list;
using weir::detail::wake_all;

/// The part of a stream's state that does not depend on what flows. Any thread; the lock is held for a few
/// instructions, and never while code of others runs.
class stream_core {
 public:
  explicit stream_core(std::size_t mark) noexcept : mark_(mark) {}
  stream_core(const stream_core&) = delete;
  stream_core& operator=(const stream_core&) = delete;

  /// Ends the stream before its time; without effect if it is over.
  void destroy(const std::exception_ptr& why) noexcept { conclude(why, outcome::destroyed); }

  /// The same, by the owner who wants no more: not a failure for a pipeline.
  void abandon() noexcept { conclude(nullptr, outcome::abandoned); }
  bool abandoned() const noexcept;

  bool closed() const noexcept;    ///< over, one way or the other
  bool complete() const noexcept;  ///< over as it should be: everything was read or written
  bool disturbed() const noexcept;
  std::exception_ptr errored() const noexcept;
  std::size_t length() const noexcept;
  std::size_t mark() const noexcept { return mark_; }

  /// Who is told of a failure; null: nobody.
  void watch(std::shared_ptr<watcher> by) noexcept;

  /// Why an operation on a destroyed stream fails: its error, or ERR_STREAM_PREMATURE_CLOSE.
  std::exception_ptr why_closed() const noexcept;

  /// Waits in one of the lists below until somebody takes it out, unless there is no need to. Whoever awaits it looks
  /// again at what he waited for.
  class [[nodiscard]] parking : private weir::detail::wait, private waiter {
   public:
    using condition = bool (*)(const stream_core&) noexcept;

    /// @param needless called under the lock; true: there is nothing to wait for
    parking(stream_core& in, waiter_list& among, condition needless) noexcept
        : in_(in), among_(among), needless_(needless) {}
    bool await_ready() const noexcept { return false; }
    template <weir::detail::weir_promise P>
    bool await_suspend(std::coroutine_handle<P> h) noexcept {
      return suspend(*h.promise().running, h);
    }
    void await_resume() const {
      if (stopped) throw cancelled();
    }
    result<void> try_resume() const noexcept {
      if (stopped) return failure(cancelled());
      return {};
    }

   private:
    bool suspend(weir::detail::fiber& f, std::coroutine_handle<> h) noexcept;
    bool interrupt(weir::detail::fiber&) noexcept override;
    const char* what() const noexcept override { return "stream"; }

    stream_core& in_;
    waiter_list& among_;
    condition needless_;
  };

  /// Waits for the end, whichever it is.
  parking until_closed() noexcept {
    return parking(*this, watchers_, [](const stream_core& s) noexcept { return s.is_closed(); });
  }

 protected:
  ~stream_core() = default;

  enum class outcome : std::uint8_t { open, complete, abandoned, destroyed };

  /// Ends the stream, once. Calls the hook and `close_end`, wakes all who wait.
  void conclude(const std::exception_ptr& why, outcome how) noexcept;

  bool is_closed() const noexcept { return outcome_ != outcome::open; }
  bool is_complete() const noexcept { return outcome_ == outcome::complete; }

  /// Tells the source or sink that it is over. Once, unlocked, perhaps while it is in use.
  virtual void close_end(const std::exception_ptr& why) noexcept = 0;
  /// Destroys the source or sink and what is queued. Once, unlocked, when it is not in use.
  virtual void discard() noexcept = 0;

  /// Marks the source or sink as in use, under the lock; while it is, nobody destroys it.
  void enter() noexcept { ++users_; }
  void leave() noexcept;

  mutable weir::detail::spin_lock lock_;
  waiter_list takers_;    ///< those who wait for a chunk, or for their turn to write
  waiter_list givers_;    ///< those who wait for room
  waiter_list watchers_;  ///< those who wait for the end
  std::function<void(std::exception_ptr)> on_close_;
  std::exception_ptr error_;
  std::size_t length_ = 0;
  const std::size_t mark_;
  outcome outcome_ = outcome::open;
  bool disturbed_ = false;

 private:
  std::shared_ptr<watcher> watcher_;
  unsigned users_ = 0;  // of the source or sink; the last one to leave a closed stream destroys it
};

/// A place where a cancelled task stops, and one that has had no reason to wait for long lets others run.
class [[nodiscard]] checkpoint {
 public:
  bool await_ready() const noexcept { return false; }
  template <weir::detail::weir_promise P>
  bool await_suspend(std::coroutine_handle<P> h) noexcept {
    running_ = h.promise().running;
    return !running_->must_stop() && weir::detail::yield_if_spent(*running_, h);
  }
  void await_resume() const {
    if (running_->must_stop()) throw cancelled();
  }

 private:
  weir::detail::fiber* running_ = nullptr;
};

/// The exception of a code with its own message.
std::exception_ptr stream_error(errc code);
/// ERR_INVALID_STATE for the second of two readers.
std::exception_ptr busy_error();
/// ERR_STREAM_DESTROYED: "Cannot call write after a stream was destroyed".
std::exception_ptr destroyed_error(const char* operation);

/// A task that fails.
template <class T>
task<T> failing(std::exception_ptr why) {
  std::rethrow_exception(std::move(why));
  co_return co_await failing<T>(why);
}

/// What `make()` returns, a task; if it throws instead, a task that does.
template <class F>
auto guarded(F make) -> decltype(make()) {
  try {
    return make();
  } catch (...) {
    return failing<typename decltype(make())::value_type>(std::current_exception());
  }
}

template <class T>
inline constexpr bool is_optional = false;
template <class T>
inline constexpr bool is_optional<std::optional<T>> = true;

}  // namespace streams

/// Something that answers `co_await s.next()` with std::optional<T>, empty at the end: generator, readable, duplex,
/// or your own. It may also have
///   `static constexpr bool cancel_safe = true`   a cancelled `next` has lost nothing and may be called again;
///   `void destroy(std::exception_ptr) noexcept`  called once, when a stream made of it closes, before its destructor.
template <class S>
concept source = requires(S& s) {
  { s.next() };
  requires streams::is_optional<weir::detail::awaited_t<decltype(s.next())>>;
};

template <source S>
using source_value = typename weir::detail::awaited_t<decltype(std::declval<S&>().next())>::value_type;

/// Something that takes `co_await s.write(chunk)` and `co_await s.end()`: writable, duplex, or your own. Optional:
///   `write_batch(std::span<T>)`  takes several chunks at once, which it may move from (writev);
///   `cancel_safe`, `destroy`     as for a source.
template <class S, class T>
concept sink = requires(S& s, T chunk) {
  { s.write(std::move(chunk)) };
  { s.end() };
};

}  // namespace weir::io
