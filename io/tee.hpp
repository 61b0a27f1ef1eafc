// io/tee.hpp: one source read by several. Each reader says what shall happen when it cannot keep up with the others.
// There is no task behind it: whoever is out of items reads the source, for all. Rests on io/stage.hpp.
#pragma once

#include <weir/core/event.hpp>
#include <weir/core/spin_lock.hpp>
#include <weir/io/ahead.hpp>
#include <weir/io/stage.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

namespace weir::io {

/// What becomes of a branch whose queue has reached its mark when there is one more item.
enum class slow_branch : std::uint8_t {
  wait,  ///< the source, and so all branches, wait for it
  drop,  ///< this branch misses the item, which is counted
  fail,  ///< this branch fails with ERR_QUEUE_FULL; the others go on
};

struct branch_options {
  slow_branch when_slow = slow_branch::wait;
  /// Bytes of buffers, or items, that may be queued for it; not set: 64 KiB or 16. An item goes in whole as long as
  /// there is less; 0 counts as 1.
  std::optional<std::size_t> high_water_mark = {};
  drop_count dropped = {};  ///< keep a copy to read it
};

struct tee_options {
  /// A branch that is dropped or destroyed before its end fails the others with ERR_STREAM_PREMATURE_CLOSE, or with
  /// the reason that it was destroyed for.
  bool together = false;
};

namespace streams {

/// What a branch is to the others.
class tee_core {
 public:
  tee_core(std::vector<branch_options>&& options, bool together, std::size_t default_mark);
  tee_core(const tee_core&) = delete;
  tee_core& operator=(const tee_core&) = delete;

 protected:
  struct branch {
    event changed;
    std::size_t length = 0;
    std::size_t mark = 0;
    slow_branch rule = slow_branch::wait;
    drop_count dropped;
    bool waits = false;   // for `changed`
    bool closed = false;  // its reader is gone
    std::exception_ptr error;

    bool full() const noexcept { return length >= mark; }
  };
  enum class step : std::uint8_t { got, end, drive, wait };

  ~tee_core() = default;

  // All under the lock.
  bool held_up() const noexcept;  // a branch must be waited for
  void notify() noexcept;         // whoever waits is to look again
  step look(branch& mine) const;
  void wait_for(branch& mine) noexcept {
    mine.changed.reset();
    mine.waits = true;
  }

  mutable weir::detail::spin_lock lock_;
  std::vector<std::unique_ptr<branch>> branches_;
  std::exception_ptr error_;
  const bool together_;
  bool driving_ = false;
  bool over_ = false;
};

template <class S>
class tee_state final : public tee_core {
  using T = item_of<S>;

 public:
  tee_state(S&& from, std::vector<branch_options>&& options, bool together)
      : tee_core(std::move(options), together, default_high_water_mark<T>),
        from_(std::forward<S>(from)),
        queues_(branches_.size()) {}

  std::size_t size() const noexcept { return queues_.size(); }

  task<std::optional<T>> next(std::size_t index) {
    auto& mine = *branches_[index];
    for (;;) {
      std::optional<T> got;
      step what;
      {
        weir::detail::spin_guard guard(lock_);
        if (!queues_[index].empty()) {
          got = pop(index);
          co_return got;
        }
        what = look(mine);
        if (what == step::drive) driving_ = true;
        if (what == step::wait) wait_for(mine);
      }
      if (what == step::end) co_return std::nullopt;
      if (what == step::wait) {
        co_await mine.changed.wait();
      } else {
        driver here(*this);
        co_await drive(mine);
      }
    }
  }

  void close(std::size_t index, const std::exception_ptr& why) noexcept {
    chunk_ring<T> gone;
    weir::detail::spin_guard guard(lock_);
    auto& mine = *branches_[index];
    if (mine.closed) return;
    bool early = !over_ || !queues_[index].empty();
    mine.closed = true;
    mine.length = 0;
    queues_[index].swap(gone);
    if (early && together_ && !error_) {
      error_ = why ? why : stream_error(errc::err_stream_premature_close);
      over_ = true;
    }
    notify();
  }

  std::size_t length(std::size_t index) const noexcept {
    weir::detail::spin_guard guard(lock_);
    return branches_[index]->length;
  }
  bool closed() const noexcept { return !survives_cancel(from_); }

 private:
  // Has the source, and nobody else does.
  class driver {
   public:
    explicit driver(tee_state& of) noexcept : of_(of) {}
    driver(const driver&) = delete;
    driver& operator=(const driver&) = delete;
    ~driver() {
      weir::detail::spin_guard guard(of_.lock_);
      of_.driving_ = false;
      of_.notify();
    }

   private:
    tee_state& of_;
  };

  /// Reads one item for all. Cancelled, it leaves an item that was read to the next one who comes.
  task<void> drive(branch& mine) {
    if (!held_) {
      auto read = co_await attempt(pull());
      if (!read && read.failure().is_cancelled() && survives_cancel(from_)) read.failure().rethrow();
      if (!read || !*read) {
        weir::detail::spin_guard guard(lock_);
        over_ = true;
        if (!read && !error_) error_ = read.failure().exception();
        co_return;
      }
      held_ = std::move(*read);
    }
    for (;;) {
      {
        weir::detail::spin_guard guard(lock_);
        if (over_) co_return;
        if (!held_up()) break;
        wait_for(mine);
      }
      co_await mine.changed.wait();
    }
    try {
      hand_out();
    } catch (...) {  // a copy failed: some have the item, some do not
      weir::detail::spin_guard guard(lock_);
      over_ = true;
      error_ = std::current_exception();
    }
  }

  task<std::optional<T>> pull() { co_return co_await from_.next(); }

  void hand_out() {
    auto weight = weight_of(*held_);
    for (std::size_t i = 0; i < queues_.size(); ++i) {
      std::optional<T> copy;
      if (i + 1 < queues_.size()) copy.emplace(*held_);  // the last takes it
      weir::detail::spin_guard guard(lock_);
      auto& each = *branches_[i];
      if (each.closed || each.error) continue;
      if (each.full() && each.rule == slow_branch::drop) {
        each.dropped.add();
        continue;
      }
      if (each.full() && each.rule == slow_branch::fail) {
        each.error = stream_error(errc::err_queue_full);
        continue;
      }
      queues_[i].push_back(copy ? std::move(*copy) : std::move(*held_));
      each.length += weight;
    }
    held_.reset();
  }

  static std::size_t weight_of(const T& item) noexcept {
    if constexpr (is_bytes<T>) {
      return item.size();
    } else {
      return 1;
    }
  }

  std::optional<T> pop(std::size_t index) noexcept {
    auto& mine = *branches_[index];
    bool was_full = mine.full();
    std::optional<T> got(queues_[index].pop_front());
    mine.length -= std::min(mine.length, weight_of(*got));
    if (was_full) notify();
    return got;
  }

  S from_;
  std::vector<movable_ring<T>> queues_;
  std::optional<T> held_;  // read, and not handed out; the driver's
};

/// One reader's place.
template <class S>
class [[nodiscard]] tee_branch {
 public:
  using value_type = item_of<S>;

  tee_branch(std::shared_ptr<tee_state<S>> of, std::size_t index) noexcept : of_(std::move(of)), index_(index) {}
  tee_branch(tee_branch&& other) noexcept = default;
  tee_branch& operator=(tee_branch&& other) noexcept {
    if (this == &other) return *this;
    destroy();
    of_ = std::move(other.of_);
    index_ = other.index_;
    return *this;
  }
  ~tee_branch() { destroy(); }

  /// The next item; nullopt at the end. What was queued when the source failed comes before its error.
  task<std::optional<value_type>> next() { return of_->next(index_); }

  /// No more items for this one; the others go on, unless they hang together.
  void destroy(const std::exception_ptr& why = nullptr) noexcept {
    if (of_) of_->close(index_, why);
  }
  bool closed() const noexcept { return of_->closed(); }
  std::size_t length() const noexcept { return of_->length(index_); }

 private:
  std::shared_ptr<tee_state<S>> of_;
  std::size_t index_;
};

}  // namespace streams

/// A vector of as many sources as there are options, each of which gives every item of `from`: copies of it, which for
/// buffers share the memory; the last gets the item itself.
///
/// Nothing is read before a branch is out of items; then its reader asks the source, and hands out what comes. So a
/// branch that waits can only be waited for if somebody reads it: give each a fiber, or a rule. The source's failure
/// reaches every branch, behind what is queued. One that is dropped or cancelled leaves the others alone, see
/// `tee_options`; the source goes with the last. Cancelling `next` loses nothing if the source loses nothing. Branches
/// may be read on different workers. A source given by name is borrowed.
template <class S>
  requires source<std::remove_reference_t<S>>
auto tee(S&& from, std::vector<branch_options> branches, tee_options options = {}) {
  auto state = std::make_shared<streams::tee_state<S>>(std::forward<S>(from), std::move(branches), options.together);
  std::vector<streams::tee_branch<S>> all;
  all.reserve(state->size());
  for (std::size_t i = 0; i < state->size(); ++i) all.emplace_back(state, i);
  return all;
}

/// The same for `count` branches that are waited for.
template <class S>
  requires source<std::remove_reference_t<S>>
auto tee(S&& from, std::size_t count, tee_options options = {}) {
  return tee(std::forward<S>(from), std::vector<branch_options>(count), options);
}

}  // namespace weir::io
