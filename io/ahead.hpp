// io/ahead.hpp: a bounded queue between a source and its reader, filled by a child of a scope: so that the source works
// while the reader does, or sheds load when the reader cannot keep up. Rests on io/stage.hpp.
#pragma once

#include <weir/core/scope.hpp>
#include <weir/io/stage.hpp>
#include <weir/io/stream.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>

namespace weir::io {

/// What to do with an item for which a queue has no room.
enum class when_full : std::uint8_t {
  wait,  ///< the source waits for the reader: nothing is lost
  drop,  ///< it is dropped and counted: the source never waits
};

/// Items that a stage has let go. Copies count the same; may be read at any time, from any thread.
class drop_count {
 public:
  std::uint64_t value() const noexcept { return count_->load(std::memory_order_relaxed); }
  void add() noexcept { count_->fetch_add(1, std::memory_order_relaxed); }

 private:
  std::shared_ptr<std::atomic<std::uint64_t>> count_ = std::make_shared<std::atomic<std::uint64_t>>(0);
};

struct ahead_options {
  /// Bytes of buffers, or items, that are queued before the rule below applies; not set: 64 KiB or 16.
  std::optional<std::size_t> high_water_mark = {};
  when_full rule = when_full::wait;
  drop_count dropped = {};  ///< keep a copy to read it
};

namespace streams {

/// A queue that a child fills, with the child. It may be destroyed by another thread while it is read or started: so
/// that ends only the queue, and the child is stopped when this goes.
template <class T>
class pumped_source {
 public:
  using value_type = T;

  explicit pumped_source(stream_options<T> options) : pumped_source(make_pushed_readable<T>(std::move(options))) {}

  bool idle() const noexcept { return !begun_ && !out_.closed(); }  ///< `start` has yet to be called

  /// @param pump `task<void>(output<T>&)`, which pushes and returns at the end, or throws
  template <class P>
  void start(scope& owner, bool local, P pump) {
    begun_ = true;
    child_ = start_child(owner, local, run<P>, std::move(pump), std::move(queue_));
  }

  auto next() noexcept { return out_.next(); }
  bool closed() const noexcept { return out_.closed(); }
  std::size_t length() const noexcept { return out_.length(); }
  void destroy(const std::exception_ptr& why) noexcept { out_.destroy(why); }

 private:
  explicit pumped_source(pushed_readable<T>&& ends) : out_(std::move(ends.stream)), queue_(std::move(ends.queue)) {}

  template <class P>
  static task<void> run(P pump, output<T> to) {
    auto ended = co_await attempt(pump(to));
    if (ended) {
      to.end();
    } else {
      to.fail(ended.failure().exception());
    }
  }

  readable<T> out_;
  output<T> queue_;  // until the child has it
  running_child child_;
  bool begun_ = false;
};

template <class S>
struct ahead_pump {
  using T = item_of<S>;

  S from;
  when_full rule;
  drop_count dropped;

  task<void> operator()(output<T>& to) {
    while (auto item = co_await from.next()) {
      if (rule == when_full::wait) {
        co_await to.push_from(*item);
      } else if (!to.try_push(*item)) {
        dropped.add();
      }
    }
  }
};

/// Starts its child with the first `next`.
template <class S>
class ahead_source {
  using T = item_of<S>;

 public:
  static constexpr bool cancel_safe = true;

  ahead_source(scope& owner, S&& from, ahead_options&& options)
      : owner_(&owner),
        from_(std::forward<S>(from)),
        rule_(options.rule),
        dropped_(std::move(options.dropped)),
        queue_({.high_water_mark = options.high_water_mark}) {}

  task<std::optional<T>> next() {
    if (queue_.idle()) {
      bool local = (co_await weir::detail::this_fiber{}).has(weir::detail::fiber::affine);
      queue_.start(*owner_, local, ahead_pump<S>{std::forward<S>(from_), rule_, dropped_});
    }
    co_return co_await queue_.next();
  }

  /// What is queued, in bytes or items.
  std::size_t length() const noexcept { return queue_.length(); }
  void destroy(const std::exception_ptr& why) noexcept { queue_.destroy(why); }

 private:
  scope* owner_;
  S from_;
  when_full rule_;
  drop_count dropped_;
  pumped_source<T> queue_;
};

}  // namespace streams

/// The same items, of which a child of `owner` reads as many ahead as the mark allows, from the first `next` on. A
/// source given by name must outlive the scope. A failure drops what is queued. Dropping the operator, or cancelling
/// the scope, stops the child. Cancelling `next` loses nothing, whatever the source is.
inline auto ahead(scope& owner, ahead_options options = {}) {
  return stage([&owner, options = std::move(options)]<class S>(S&& from) mutable {
    return streams::ahead_source<S>(owner, std::forward<S>(from), std::move(options));
  });
}

}  // namespace weir::io
