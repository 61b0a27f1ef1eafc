// sync/shared_memory.hpp: a block of numbers that several threads see at once, with atomic access to each (Node's
// SharedArrayBuffer and Atomics, https://tc39.es/ecma262/#sec-atomics-object). Rests on core's queue of waiters.
// Waiting for a number to change suspends the task and holds no thread.
#pragma once

#include <weir/core/event.hpp>
#include <weir/core/fiber.hpp>
#include <weir/core/result.hpp>
#include <weir/core/task.hpp>

#include <atomic>
#include <concepts>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <new>
#include <span>
#include <type_traits>

namespace weir::sync {

/// How a wait for a number ended.
enum class shared_wait : std::uint8_t {
  ok,         ///< it was notified
  not_equal,  ///< the number was not what the caller expected: nothing was waited for
};

namespace detail {

/// The waiters of one block.
class shared_block {
 public:
  std::size_t notify(std::size_t index, std::size_t count) noexcept;

  weir::detail::spin_lock lock;
  weir::detail::waiter_list waiters;

 protected:
  ~shared_block() = default;
};

struct shared_place : weir::detail::waiter {
  std::size_t index = 0;
};

class shared_waiter : protected weir::detail::wait {
 protected:
  shared_waiter(shared_block& block, std::size_t index) noexcept : block_(&block) { place_.index = index; }

  /// @param changed looks at the number, under the lock of the notifiers
  bool suspend(weir::detail::fiber& f, std::coroutine_handle<> h, bool (*changed)(const shared_waiter&)) noexcept;
  bool interrupt(weir::detail::fiber&) noexcept override;
  const char* what() const noexcept override { return "shared_memory"; }
  result<shared_wait> outcome() const noexcept {
    if (place_.stopped) return failure(cancelled());
    return changed_ ? shared_wait::not_equal : shared_wait::ok;
  }

  shared_block* block_;
  shared_place place_;
  bool changed_ = false;
};

/// @throws weir::error ERR_OUT_OF_RANGE
void check_shared_index(std::size_t index, std::size_t size);
/// @throws weir::error ERR_BUFFER_TOO_LARGE
void check_shared_size(std::size_t count, std::size_t octets_each);

}  // namespace detail

/// `size()` zeroed numbers, shared by all copies of this object; the last copy frees them. Send a copy in a message
/// and both threads see the same octets. The functions below are atomic and sequentially consistent, and throw
/// ERR_OUT_OF_RANGE for an index that is not there. `numbers()` is for times when nobody else writes.
template <class T>
  requires(std::is_arithmetic_v<T> && !std::is_same_v<T, bool> && std::atomic_ref<T>::is_always_lock_free)
class shared_memory {
 public:
  /// @throws weir::error ERR_BUFFER_TOO_LARGE if the size in octets exceeds what an object can have
  explicit shared_memory(std::size_t count) : shared_memory((detail::check_shared_size(count, sizeof(T)), count), 0) {}

  std::size_t size() const noexcept { return block_->size; }
  std::span<T> numbers() const noexcept { return {block_->first, block_->size}; }

  T load(std::size_t index) const { return at(index).load(); }
  T store(std::size_t index, T value) const {
    at(index).store(value);
    return value;
  }
  /// These give the number before.
  T add(std::size_t index, T value) const { return at(index).fetch_add(value); }
  T sub(std::size_t index, T value) const { return at(index).fetch_sub(value); }
  T exchange(std::size_t index, T value) const { return at(index).exchange(value); }
  T bit_and(std::size_t index, T value) const
    requires std::integral<T>
  {
    return at(index).fetch_and(value);
  }
  T bit_or(std::size_t index, T value) const
    requires std::integral<T>
  {
    return at(index).fetch_or(value);
  }
  T bit_xor(std::size_t index, T value) const
    requires std::integral<T>
  {
    return at(index).fetch_xor(value);
  }
  /// Stores `desired` if the number is `expected`. @return the number before
  T compare_exchange(std::size_t index, T expected, T desired) const {
    at(index).compare_exchange_strong(expected, desired);
    return expected;
  }

  class [[nodiscard]] awaiter : private detail::shared_waiter {
   public:
    awaiter(const shared_memory& of, std::size_t index, T expected) noexcept
        : shared_waiter(*of.block_, index), kept_(of), expected_(expected) {}

    bool await_ready() const noexcept { return false; }
    template <weir::detail::weir_promise P>
    bool await_suspend(std::coroutine_handle<P> h) noexcept {
      return suspend(*h.promise().running, h, [](const shared_waiter& waiter) {
        const auto& self = static_cast<const awaiter&>(waiter);
        return self.kept_.load(self.place_.index) != self.expected_;
      });
    }
    shared_wait await_resume() const { return outcome().value(); }
    result<shared_wait> try_resume() const noexcept { return outcome(); }

   private:
    shared_memory kept_;
    T expected_;
  };

  /// `co_await m.wait(i, expected)` completes with `not_equal` at once if the number is another, else with `ok` when
  /// somebody calls `notify` for it: in order of arrival, any worker, any runtime. Cancelling it takes the waiter
  /// out of the queue; for a limit in time use `timeout`.
  awaiter wait(std::size_t index, T expected) const {
    detail::check_shared_index(index, size());
    return awaiter(*this, index, expected);
  }

  /// Wakes at most `count` of those that wait for the number. Any thread. @return how many
  std::size_t notify(std::size_t index, std::size_t count = std::numeric_limits<std::size_t>::max()) const {
    detail::check_shared_index(index, size());
    return block_->notify(index, count);
  }

  /// True for copies of one another.
  friend bool operator==(const shared_memory& a, const shared_memory& b) noexcept { return a.block_ == b.block_; }

 private:
  struct block : detail::shared_block {
    explicit block(std::size_t count) : size(count), first(new(std::align_val_t(alignment)) T[count]()) {}
    block(const block&) = delete;
    block& operator=(const block&) = delete;
    ~block() { ::operator delete[](first, std::align_val_t(alignment)); }
    std::size_t size;
    T* first;
  };
  static constexpr std::size_t alignment = 64;  // a cache line, and what atomic_ref may ask for

  shared_memory(std::size_t count, int) : block_(std::make_shared<block>(count)) {}

  std::atomic_ref<T> at(std::size_t index) const {
    detail::check_shared_index(index, size());
    return std::atomic_ref<T>(block_->first[index]);
  }

  std::shared_ptr<block> block_;
};

}  // namespace weir::sync
