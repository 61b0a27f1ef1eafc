// io/merge.hpp: several sources as one. Rests on io/ahead.hpp.
#pragma once

#include <weir/core/scope.hpp>
#include <weir/io/ahead.hpp>

#include <atomic>
#include <concepts>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <tuple>
#include <utility>
#include <vector>

namespace weir::io {
namespace streams {

/// Reads all sources at once. They are a tuple or a vector, which stays where it is.
template <class T, class Sources>
struct merge_pump {
  bool local;
  std::unique_ptr<Sources> from;
  std::size_t count;
  std::atomic<std::size_t> ended{0};

  merge_pump(std::unique_ptr<Sources> all, std::size_t how_many)
      : local(false), from(std::move(all)), count(how_many) {}
  merge_pump(merge_pump&& other) noexcept : local(other.local), from(std::move(other.from)), count(other.count) {}

  task<void> operator()(output<T>& to) {
    co_await with_scope([this, &to](scope& s) -> task<void> {
      each_source([&](auto& each) { start(s, each, to); });
      co_return;
    });
    if (ended != count) throw cancelled();  // a scope takes what was cancelled for no failure
  }

 private:
  template <class F>
  void each_source(F&& call) {
    if constexpr (requires { from->begin(); }) {
      for (auto& each : *from) call(each);
    } else {
      std::apply([&](auto&... each) { (call(each), ...); }, *from);
    }
  }

  template <class S>
  void start(scope& s, S& each, output<T>& to) {
    if (local) {
      static_cast<void>(s.spawn_local(read<S>, this, std::ref(each), std::ref(to)));
    } else {
      static_cast<void>(s.spawn(read<S>, this, std::ref(each), std::ref(to)));
    }
  }

  template <class S>
  static task<void> read(merge_pump* self, S& from, output<T>& to) {
    while (auto item = co_await from.next()) co_await to.push_from(*item);
    ++self->ended;
  }
};

/// Starts its children with the first `next`.
template <class T, class Sources>
class merged_source {
 public:
  using value_type = T;
  static constexpr bool cancel_safe = true;

  merged_source(scope& owner, merge_pump<T, Sources> pump)
      : owner_(&owner),
        pump_(std::move(pump)),
        queue_({.high_water_mark = pump_.count, .weigh = [](const T&) -> std::size_t { return 1; }}) {}

  task<std::optional<T>> next() {
    if (queue_.idle()) {
      pump_.local = (co_await weir::detail::this_fiber{}).has(weir::detail::fiber::affine);
      queue_.start(*owner_, pump_.local, std::move(pump_));
    }
    co_return co_await queue_.next();
  }
  void destroy(const std::exception_ptr& why) noexcept { queue_.destroy(why); }

 private:
  scope* owner_;
  merge_pump<T, Sources> pump_;
  pumped_source<T> queue_;
};

}  // namespace streams

/// One source of all items of several: those of each in their order, those of different ones as they come. Ends when
/// all have; the first failure drops what is queued, cancels the other sources, and is what the reader gets.
///
/// From the first `next` on, a child of `owner` reads each of them, until it holds an item that has no place: as many
/// items are queued as there are sources, first come, first served, so that a quick source does not keep a slow one
/// from its turn. To know where an item comes from, map each source first. Dropping the result, or cancelling the
/// scope, stops the children; then the sources go, which have all moved in. Cancelling `next` loses nothing.
template <source First, source... More>
  requires(std::same_as<source_value<First>, source_value<More>> && ...)
auto merge(scope& owner, First first, More... more) {
  using T = source_value<First>;
  using sources = std::tuple<First, More...>;
  constexpr auto count = 1 + sizeof...(More);
  streams::merge_pump<T, sources> pump(std::make_unique<sources>(std::move(first), std::move(more)...), count);
  return streams::merged_source<T, sources>(owner, std::move(pump));
}

/// The same for a list, which may be empty: that ends at once.
template <source S>
auto merge(scope& owner, std::vector<S> list) {
  using T = source_value<S>;
  auto count = list.size();
  streams::merge_pump<T, std::vector<S>> pump(std::make_unique<std::vector<S>>(std::move(list)), count);
  return streams::merged_source<T, std::vector<S>>(owner, std::move(pump));
}

}  // namespace weir::io
