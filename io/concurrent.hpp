// io/concurrent.hpp: operators that call a function for several items at a time. The calls are children of a scope
// that the caller names, because they go on between one `next` and the following; at most so many are under way or
// wait with their result for the reader. Rests on io/operators.hpp.
#pragma once

#include <weir/core/event.hpp>
#include <weir/core/scope.hpp>
#include <weir/core/spin_lock.hpp>
#include <weir/io/operators.hpp>

#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <variant>

namespace weir::io {

struct concurrency_options {
  /// Calls at a time, results that have not been taken included.
  std::size_t concurrency = 8;
  /// Results in the order of the items; false: as they come.
  bool ordered = true;
};

namespace streams {

/// What does not depend on the items: who may begin, who waits, and how it ended.
class fan_core {
 public:
  /// @throws weir::error ERR_OUT_OF_RANGE for a concurrency of 0
  explicit fan_core(const concurrency_options& options);
  fan_core(const fan_core&) = delete;
  fan_core& operator=(const fan_core&) = delete;

  /// Waits until one more call may begin. For one fiber.
  task<void> await_room();

  /// Nothing more will come. The first call counts.
  void finish(std::exception_ptr why) noexcept;

  /// Nobody wants more.
  void destroy(const std::exception_ptr& why) noexcept;

 protected:
  ~fan_core() = default;

  mutable weir::detail::spin_lock lock_;
  event room_;
  event ready_;
  std::size_t held_ = 0;  // calls under way and results that wait
  const std::size_t limit_;
  const bool ordered_;
  bool over_ = false;
  std::exception_ptr error_;
};

template <class S, class F>
class fan final : public fan_core {
  using T = item_of<S>;
  using made = call_result<F&, T>;

 public:
  using U = std::conditional_t<std::is_void_v<made>, std::monostate, made>;

  fan(S&& from, F&& each, const concurrency_options& options)
      : fan_core(options), from_(std::forward<S>(from)), each_(std::move(each)) {}

  /// The child: reads the source, and starts a child of its own for each item.
  static task<void> run(std::shared_ptr<fan> self, bool local) {
    auto ended = co_await attempt(with_scope([&](scope& s) { return self->feed(s, local); }));
    if (ended && !self->complete()) ended = failure(cancelled());  // a scope takes what was cancelled for no failure
    self->finish(ended ? nullptr : ended.failure().exception());
  }

  task<std::optional<U>> next() {
    for (;;) {
      std::optional<U> got;
      bool over;
      {
        weir::detail::spin_guard guard(lock_);
        if (error_) std::rethrow_exception(error_);
        got = take();
        over = over_;
        if (!got && !over) ready_.reset();
      }
      if (got) room_.set();
      if (got || over) co_return got;
      co_await ready_.wait();
    }
  }

 private:
  task<void> feed(scope& s, bool local) {
    for (;;) {
      co_await await_room();
      auto item = co_await from_.next();
      if (!item) break;
      auto number = reserve();
      if (local) {
        static_cast<void>(s.spawn_local(call, this, number, std::move(*item)));
      } else {
        static_cast<void>(s.spawn(call, this, number, std::move(*item)));
      }
    }
    weir::detail::spin_guard guard(lock_);
    all_read_ = true;
  }

  bool complete() const noexcept {
    weir::detail::spin_guard guard(lock_);
    return all_read_ && done_ == next_number_;
  }

  static task<void> call(fan* self, std::uint64_t number, T item) {
    if constexpr (gives_task<F&, T> && std::is_void_v<made>) {
      co_await std::invoke(self->each_, std::move(item));
      self->put(number, U());
    } else if constexpr (gives_task<F&, T>) {
      self->put(number, U(co_await std::invoke(self->each_, std::move(item))));
    } else if constexpr (std::is_void_v<made>) {
      std::invoke(self->each_, std::move(item));
      self->put(number, U());
    } else {
      self->put(number, U(std::invoke(self->each_, std::move(item))));
    }
    co_return;
  }

  std::uint64_t reserve() {
    weir::detail::spin_guard guard(lock_);
    if (ordered_) results_.push_back(std::nullopt);
    return next_number_++;
  }

  void put(std::uint64_t number, U&& result) {
    {
      weir::detail::spin_guard guard(lock_);
      ++done_;
      if (ordered_) {
        results_[static_cast<std::size_t>(number - first_)].emplace(std::move(result));
      } else {
        results_.push_back(std::optional<U>(std::move(result)));
      }
    }
    ready_.set();
  }

  std::optional<U> take() noexcept {
    if (results_.empty() || !results_.front()) return std::nullopt;
    ++first_;
    --held_;
    return results_.pop_front();
  }

  S from_;
  F each_;
  chunk_ring<std::optional<U>> results_;
  std::uint64_t first_ = 0;  // the number of the result in front
  std::uint64_t next_number_ = 0;
  std::uint64_t done_ = 0;
  bool all_read_ = false;
};

template <class S, class F>
class fanned_source {
  using U = typename fan<S, F>::U;

 public:
  static constexpr bool cancel_safe = true;

  fanned_source(scope& owner, S&& from, F&& each, const concurrency_options& options)
      : owner_(&owner), fan_(std::make_shared<fan<S, F>>(std::forward<S>(from), std::move(each), options)) {}

  task<std::optional<U>> next() {
    if (!std::exchange(begun_, true)) {
      bool local = (co_await weir::detail::this_fiber{}).has(weir::detail::fiber::affine);
      child_ = start_child(*owner_, local, fan<S, F>::run, fan_, local);
    }
    co_return co_await fan_->next();
  }
  /// May come from another thread while `next` is under way; the child is stopped when this goes.
  void destroy(const std::exception_ptr& why) noexcept { fan_->destroy(why); }

 private:
  scope* owner_;
  std::shared_ptr<fan<S, F>> fan_;
  running_child child_;
  bool begun_ = false;
};

/// The values of a stream of std::optional.
template <class S>
class present_source : public reading<S> {
  using O = item_of<S>;

 public:
  explicit present_source(S&& from) : reading<S>(std::forward<S>(from)) {}
  task<O> next() {
    for (;;) {
      auto item = co_await this->from_.next();
      if (!item) co_return std::nullopt;
      if (*item) co_return std::move(*item);
    }
  }
};

template <class T, class F>
task<std::optional<T>> keep_if(F& test, T item) {
  bool keeps;
  if constexpr (gives_task<F&, const T&>) {
    keeps = static_cast<bool>(co_await std::invoke(test, std::as_const(item)));
  } else {
    keeps = static_cast<bool>(std::invoke(test, std::as_const(item)));
  }
  if (!keeps) co_return std::nullopt;
  co_return std::optional<T>(std::move(item));
}

/// Calls all, and gives their number.
template <class S, class F>
task<std::size_t> call_concurrently(S from, F each, concurrency_options options) {
  options.ordered = false;
  std::size_t count = 0;
  bool whole = false;
  co_await with_scope([&](scope& s) -> task<void> {
    fanned_source<S, F> calls(s, std::forward<S>(from), std::move(each), options);
    while (co_await calls.next()) ++count;
    whole = true;
  });
  if (!whole) throw cancelled();
  co_return count;
}

}  // namespace streams

/// `map`, with several calls at a time. They are children of `owner`, started by the first `next`, of which there must
/// be none after the scope has ended; a source given by name must outlive the scope. From several workers if the reader
/// is not loop-affine: then `each` must be ready for that.
///
/// The first failure, of the source or a call, cancels the other calls and comes out of every `next` from then on;
/// results not taken are dropped. The same if `owner` is cancelled. Dropping the operator cancels the calls. Cancelling
/// `next` loses nothing.
/// @throws weir::error ERR_OUT_OF_RANGE for a concurrency of 0
template <class F>
auto map(scope& owner, F each, concurrency_options options = {}) {
  return stage([&owner, each = std::move(each), options]<class S>(S&& from) mutable {
    return streams::fanned_source<S, F>(owner, std::forward<S>(from), std::move(each), options);
  });
}

/// `filter`, with several tests at a time; otherwise as `map` above.
template <class F>
auto filter(scope& owner, F test, concurrency_options options = {}) {
  return stage([&owner, test = std::move(test), options]<class S>(S&& from) mutable {
    using T = streams::item_of<S>;
    auto kept = [test = std::move(test)](T item) mutable { return streams::keep_if<T, F>(test, std::move(item)); };
    using K = decltype(kept);
    using tested = streams::fanned_source<S, K>;
    return streams::present_source<tested>(tested(owner, std::forward<S>(from), std::move(kept), options));
  });
}

/// `flat_map`, with several calls at a time; otherwise as `map` above. A source that a call gives is read to its end
/// before the next, by the reader.
template <class F>
auto flat_map(scope& owner, F each, concurrency_options options = {}) {
  return map(owner, std::move(each), options) | flat_map(std::identity());
}

/// `for_each`, with several calls at a time, in a scope of its own. The first failure cancels the others.
template <class F>
auto for_each(F each, concurrency_options options) {
  return stage([each = std::move(each), options]<class S>(S&& from) mutable {
    return streams::call_concurrently<S, F>(std::forward<S>(from), std::move(each), options);
  });
}

}  // namespace weir::io
