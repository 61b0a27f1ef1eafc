// core/timer_wheel.hpp: the timers of one worker, by the millisecond. A hierarchy of 64-slot wheels over the
// whole 64-bit range: insert and remove are constant time, timers of the same millisecond come out in the
// order they went in. The wheel knows no clock and no lock; its worker brings both.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

namespace weir::detail {

class worker;

/// A timer's place in a wheel. Lives in the awaiter or in the callback's record.
struct timer_node {
  timer_node* previous = nullptr;
  timer_node* next = nullptr;
  std::uint64_t deadline = 0;  ///< in milliseconds of the wheel's clock
  std::uint32_t duration = 0;  ///< milliseconds asked for; timers due together fire grouped by it, as in Node
  std::uint16_t slot = unarmed;
  void (*fire)(timer_node&, worker&) noexcept = nullptr;

  static constexpr std::uint16_t unarmed = 0xffff;
  static constexpr std::uint16_t due = 0xfffe;
};

class timer_wheel {
 public:
  /// Starts the wheel's clock; before the first insert.
  void start(std::uint64_t now) noexcept { elapsed_ = now; }

  /// Arms `node` for `deadline`; one in the past is for the next millisecond.
  void insert(timer_node& node, std::uint64_t deadline) noexcept;

  /// @return false if it was not armed (it has fired or is about to)
  bool remove(timer_node& node) noexcept;

  /// Moves what is due at `now` to the list of due timers, in the order of firing.
  void advance(std::uint64_t now);

  /// Takes the next due timer, or null.
  timer_node* pop_due() noexcept;

  /// When to look again: never later than the next deadline. Empty if nothing is armed.
  std::optional<std::uint64_t> next() const noexcept;

  std::size_t size() const noexcept { return size_; }

 private:
  static constexpr unsigned bits = 6;
  static constexpr unsigned slots = 1U << bits;
  static constexpr unsigned levels = (64 + bits - 1) / bits;

  struct list {
    timer_node* head = nullptr;
    timer_node* tail = nullptr;
  };

  struct position {
    unsigned level;
    unsigned slot;
    std::uint64_t tick;
  };

  std::optional<position> next_slot() const noexcept;
  static void append(list& to, timer_node& node) noexcept;
  static void take(list& from, timer_node& node) noexcept;
  void place(timer_node& node) noexcept;
  void group_due_by_duration();

  std::uint64_t elapsed_ = 0;
  std::uint64_t occupied_[levels] = {};
  list wheel_[levels * slots];
  list due_;
  std::size_t size_ = 0;
};

}  // namespace weir::detail
