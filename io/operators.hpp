// io/operators.hpp: operators on anything that is a source: made by functions, joined with `|`, lazy. Nothing happens
// until somebody asks the last one for an item, and that one item then is pulled through all of them. Rests on
// io/stage.hpp. What Node has as readable.map() and so on (https://nodejs.org/api/stream.html#streams-promises-api).
//
//   auto names = file | lines() | filter(is_valid) | map(parse);
//   while (auto each = co_await names.next()) ...
//   auto total = co_await (numbers | take(10) | reduce(0, std::plus<>()));
//
// The same functions are stages of a pipeline (see io/stage.hpp for both). Functions given to an operator are plain or
// coroutines; they live as long as it does, and are called for one item at a time, in order. What a function throws
// comes out of the `next` that met it; the item is gone, and the next call goes on behind it. For cancellation see
// `streams::reading`. Those that take a scope let several calls run at a time: io/concurrent.hpp. Others are next door:
// io/split.hpp (lines, bytes), io/rate.hpp (time), io/tee.hpp, io/merge.hpp, io/retry.hpp, io/collect.hpp.
#pragma once

#include <weir/io/split.hpp>
#include <weir/io/stage.hpp>

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <functional>
#include <iterator>
#include <memory>
#include <optional>
#include <ranges>
#include <type_traits>
#include <unordered_set>
#include <utility>
#include <vector>

namespace weir::io {
namespace streams {

template <class S, class F>
class mapped_source : public reading<S> {
  using T = item_of<S>;
  using U = call_result<F&, T>;

 public:
  mapped_source(S&& from, F&& each) : reading<S>(std::forward<S>(from)), each_(std::move(each)) {}

  task<std::optional<U>> next() {
    this->in_hand_ = false;
    auto item = co_await this->from_.next();
    if (!item) co_return std::nullopt;
    if constexpr (gives_task<F&, T>) {
      this->in_hand_ = true;
      std::optional<U> made(co_await std::invoke(each_, std::move(*item)));
      this->in_hand_ = false;
      co_return made;
    } else {
      co_return std::optional<U>(std::invoke(each_, std::move(*item)));
    }
  }

 private:
  F each_;
};

/// What filter, take_while, drop_while and tap have in common: they look at an item and let it be.
enum class looks : std::uint8_t { filter, take_while, drop_while, tap };

template <looks How, class S, class F>
class looking_source : public reading<S> {
  using T = item_of<S>;
  static constexpr bool awaits = gives_task<F&, const T&>;

 public:
  looking_source(S&& from, F&& look) : reading<S>(std::forward<S>(from)), look_(std::move(look)) {}

  task<std::optional<T>> next() {
    while (!over_) {
      if (!held_) held_ = co_await this->from_.next();
      if (!held_) break;
      if (How == looks::drop_while && passing_) co_return take();
      bool goes_on = true;
      try {
        if constexpr (awaits) {
          goes_on = verdict(co_await call(std::as_const(*held_)));
        } else {
          goes_on = call_now(std::as_const(*held_));
        }
      } catch (...) {
        if (!failure(std::current_exception()).is_cancelled()) held_.reset();
        throw;
      }
      if (auto out = judge(goes_on)) co_return out;
    }
    co_return std::nullopt;
  }

 private:
  static bool verdict(bool answer) noexcept { return answer; }

  task<bool> call(const T& item) {
    if constexpr (std::is_void_v<call_result<F&, const T&>>) {
      co_await std::invoke(look_, item);
      co_return true;
    } else {
      co_return static_cast<bool>(co_await std::invoke(look_, item));
    }
  }
  bool call_now(const T& item) {
    if constexpr (std::is_void_v<call_result<F&, const T&>>) {
      std::invoke(look_, item);
      return true;
    } else {
      return static_cast<bool>(std::invoke(look_, item));
    }
  }

  std::optional<T> take() noexcept { return std::exchange(held_, std::nullopt); }

  std::optional<T> judge(bool yes) {
    if constexpr (How == looks::take_while) {
      if (yes) return take();
      over_ = true;
      this->drop_source();
    } else if constexpr (How == looks::drop_while) {
      passing_ = !yes;
      if (passing_) return take();
    } else {
      if (yes || How == looks::tap) return take();
    }
    held_.reset();
    return std::nullopt;
  }

  F look_;
  std::optional<T> held_;  // so that an item survives a look that is cancelled
  bool over_ = false;
  bool passing_ = false;
};

template <class S>
class taking_source : public reading<S> {
  using T = item_of<S>;

 public:
  taking_source(S&& from, std::size_t count) : reading<S>(std::forward<S>(from)), left_(count) {}

  task<std::optional<T>> next() {
    if (left_ == 0) co_return std::nullopt;
    auto item = co_await this->from_.next();
    left_ = item ? left_ - 1 : 0;
    if (left_ == 0) this->drop_source();
    co_return item;
  }

 private:
  std::size_t left_;
};

template <class S>
class dropping_source : public reading<S> {
  using T = item_of<S>;

 public:
  dropping_source(S&& from, std::size_t count) : reading<S>(std::forward<S>(from)), left_(count) {}

  task<std::optional<T>> next() {
    for (; left_ != 0; --left_) {
      if (!(co_await this->from_.next())) left_ = 1;
    }
    co_return co_await this->from_.next();
  }

 private:
  std::size_t left_;
};

/// What a function for flat_map gives: a range, a source, or a task of either.
template <class S, class F>
class flat_source : public reading<S> {
  using T = item_of<S>;
  using inner = call_result<F&, T>;
  static constexpr bool is_source = source<inner>;

  template <class I>
  struct item_type {
    using type = std::ranges::range_value_t<I>;
  };
  template <source I>
  struct item_type<I> {
    using type = source_value<I>;
  };
  using U = typename item_type<inner>::type;

 public:
  flat_source(S&& from, F&& each) : reading<S>(std::forward<S>(from)), each_(std::move(each)) {}

  task<std::optional<U>> next() {
    this->in_hand_ = false;
    for (;;) {
      if constexpr (is_source) {
        if (open_) {
          if (auto item = co_await open_->next()) co_return item;
          open_.reset();
        }
      } else {
        if (!ready_.empty()) co_return std::optional<U>(ready_.pop_front());
      }
      auto item = co_await this->from_.next();
      if (!item) co_return std::nullopt;
      if constexpr (gives_task<F&, T>) {
        this->in_hand_ = true;
        hold(co_await std::invoke(each_, std::move(*item)));
        this->in_hand_ = false;
      } else {
        hold(std::invoke(each_, std::move(*item)));
      }
    }
  }
  bool closed() const noexcept {
    if constexpr (is_source) {
      if (open_ && !survives_cancel(*open_)) return true;
    }
    return reading<S>::closed();
  }

 private:
  void hold(inner&& made) {
    if constexpr (is_source) {
      open_.emplace(std::move(made));
    } else {
      for (auto&& each : made) ready_.push_back(U(std::move(each)));
    }
  }

  struct no_ring {
    explicit no_ring() = default;
  };

  F each_;
  [[no_unique_address]] std::conditional_t<is_source, std::optional<inner>, no_ring> open_{};
  [[no_unique_address]] std::conditional_t<is_source, no_ring, movable_ring<U>> ready_{};
};

template <class S, class A, class F>
class scanning_source : public reading<S> {
 public:
  scanning_source(S&& from, A&& first, F&& step)
      : reading<S>(std::forward<S>(from)), state_(std::move(first)), step_(std::move(step)) {}

  task<std::optional<A>> next() {
    auto item = co_await this->from_.next();
    if (!item) co_return std::nullopt;
    state_ = std::invoke(step_, std::as_const(state_), std::move(*item));
    co_return std::optional<A>(state_);
  }

 private:
  A state_;
  F step_;
};

[[noreturn]] void too_many_distinct(std::size_t limit);

template <class S, class F>
class distinct_source : public reading<S> {
  using T = item_of<S>;
  using key = std::remove_cvref_t<std::invoke_result_t<F&, const T&>>;

 public:
  distinct_source(S&& from, F&& key_of, std::size_t limit)
      : reading<S>(std::forward<S>(from)), key_of_(std::move(key_of)), limit_(limit) {}

  task<std::optional<T>> next() {
    while (auto item = co_await this->from_.next()) {
      key its = std::invoke(key_of_, std::as_const(*item));
      if (seen_.contains(its)) continue;
      if (seen_.size() >= limit_) too_many_distinct(limit_);
      seen_.insert(std::move(its));
      co_return item;
    }
    co_return std::nullopt;
  }

 private:
  F key_of_;
  std::size_t limit_;
  std::unordered_set<key> seen_;
};

template <class S, class R>
class zipped_source : public reading<S> {
  using T = item_of<S>;
  using V = item_of<R>;

 public:
  zipped_source(S&& from, R&& other) : reading<S>(std::forward<S>(from)), other_(std::forward<R>(other)) {}

  task<std::optional<std::pair<T, V>>> next() {
    if (over_) co_return std::nullopt;
    if (!first_) first_ = co_await this->from_.next();
    std::optional<V> second;
    if (first_) second = co_await other_.next();
    over_ = !second;
    if (over_) co_return std::nullopt;
    std::optional<std::pair<T, V>> both(std::in_place, std::move(*first_), std::move(*second));
    first_.reset();
    co_return both;
  }
  bool closed() const noexcept { return reading<S>::closed() || !survives_cancel(other_); }
  void destroy(const std::exception_ptr& why) noexcept {
    reading<S>::destroy(why);
    if constexpr (!std::is_lvalue_reference_v<R>) {
      if (why) tell_destroyed(other_, why);
    }
  }

 private:
  R other_;
  std::optional<T> first_;
  bool over_ = false;
};

std::size_t checked_batch(std::size_t size);

template <class S>
class batching_source : public reading<S> {
  using T = item_of<S>;

 public:
  batching_source(S&& from, std::size_t size) : reading<S>(std::forward<S>(from)), size_(checked_batch(size)) {}

  task<std::optional<std::vector<T>>> next() {
    while (!over_ && batch_.size() < size_) {
      if (batch_.empty()) batch_.reserve(std::min<std::size_t>(size_, 1024));
      if (auto item = co_await this->from_.next()) {
        batch_.push_back(std::move(*item));
      } else {
        over_ = true;
      }
    }
    if (batch_.empty()) co_return std::nullopt;
    co_return std::optional<std::vector<T>>(std::exchange(batch_, {}));
  }

 private:
  std::size_t size_;
  std::vector<T> batch_;
  bool over_ = false;
};

/// The elements of a range, which lends them if it is borrowed and gives them away if not.
template <class R>
class range_source {
  using owned = std::remove_reference_t<R>;
  static constexpr bool borrows = std::is_lvalue_reference_v<R>;
  using T = std::ranges::range_value_t<owned>;

 public:
  static constexpr bool cancel_safe = true;

  explicit range_source(R&& of) : range_(hold(std::forward<R>(of))), at_(std::ranges::begin(*range_)) {}

  class [[nodiscard]] awaiter : public checkpoint {
   public:
    explicit awaiter(range_source& of) noexcept : of_(of) {}
    std::optional<T> await_resume() {
      checkpoint::await_resume();
      return of_.take();
    }

   private:
    range_source& of_;
  };
  awaiter next() noexcept { return awaiter(*this); }

 private:
  static auto hold(R&& of) {
    if constexpr (borrows) {
      return std::addressof(of);
    } else {
      return std::make_unique<owned>(std::move(of));  // so that iterators stay when this moves
    }
  }
  std::optional<T> take() {
    if (at_ == std::ranges::end(*range_)) return std::nullopt;
    std::optional<T> item;
    if constexpr (borrows) {
      item.emplace(*at_);
    } else {
      item.emplace(std::ranges::iter_move(at_));
    }
    ++at_;
    return item;
  }

  decltype(hold(std::declval<R>())) range_;
  std::ranges::iterator_t<owned> at_;
};

template <class C>
concept channel_like = requires(C& c) {
  { c.recv() };
  requires is_optional<weir::detail::awaited_t<decltype(c.recv())>>;
};

template <class C>
class channel_source {
 public:
  static constexpr bool cancel_safe = true;

  explicit channel_source(C&& of) : of_(std::forward<C>(of)) {}
  auto next() { return of_.recv(); }

 private:
  C of_;
};

template <class S, class A, class F>
task<A> reduce_all(S from, A value, F step) {
  while (auto item = co_await from.next()) {
    if constexpr (gives_task<F&, A, item_of<S>>) {
      value = co_await std::invoke(step, std::move(value), std::move(*item));
    } else {
      value = std::invoke(step, std::move(value), std::move(*item));
    }
  }
  co_return value;
}

template <class S, class F>
task<std::optional<item_of<S>>> find_first(S from, F test, bool wanted) {
  while (auto item = co_await from.next()) {
    bool found;
    if constexpr (gives_task<F&, const item_of<S>&>) {
      found = static_cast<bool>(co_await std::invoke(test, std::as_const(*item)));
    } else {
      found = static_cast<bool>(std::invoke(test, std::as_const(*item)));
    }
    if (found == wanted) co_return item;
  }
  co_return std::nullopt;
}

template <class S, class F>
task<bool> any_of(S from, F test, bool wanted) {
  auto found = co_await find_first<S, F>(std::forward<S>(from), std::move(test), wanted);
  co_return found.has_value() == wanted;
}

template <class S, class F>
task<std::size_t> call_for_each(S from, F each) {
  std::size_t count = 0;
  for (; auto item = co_await from.next(); ++count) {
    if constexpr (gives_task<F&, item_of<S>>) {
      co_await std::invoke(each, std::move(*item));
    } else {
      std::invoke(each, std::move(*item));
    }
  }
  co_return count;
}

}  // namespace streams

// Where items come from

/// A source of a range's elements: moved out of a container that is moved in, copied from one given by name, which must
/// outlive it. A cancelled `next` loses nothing.
template <class R>
  requires(std::ranges::input_range<std::remove_reference_t<R>> && !source<std::remove_reference_t<R>>)
auto from(R&& range) {
  return streams::range_source<R>(std::forward<R>(range));
}
template <class T>
auto from(std::initializer_list<T> items) {
  return streams::range_source<std::vector<T>>(std::vector<T>(items));
}
/// A source of what a channel's receiver gives: anything with `recv()` that answers with std::optional, empty once the
/// channel is closed. Borrowed if it is given by name.
template <class C>
  requires streams::channel_like<std::remove_reference_t<C>>
auto from(C&& channel) {
  return streams::channel_source<C>(std::forward<C>(channel));
}

// One item at a time

/// What `each(T)` makes of every item.
template <class F>
auto map(F each) {
  return stage([each = std::move(each)]<class S>(S&& from) mutable {
    return streams::mapped_source<S, F>(std::forward<S>(from), std::move(each));
  });
}

/// The items for which `test(const T&)` is true.
template <class F>
auto filter(F test) {
  return stage([test = std::move(test)]<class S>(S&& from) mutable {
    return streams::looking_source<streams::looks::filter, S, F>(std::forward<S>(from), std::move(test));
  });
}

/// Every item, after `look(const T&)` has seen it. Unlike a second listener it can miss none.
template <class F>
auto tap(F look) {
  return stage([look = std::move(look)]<class S>(S&& from) mutable {
    return streams::looking_source<streams::looks::tap, S, F>(std::forward<S>(from), std::move(look));
  });
}

/// All items of what `each(T)` makes of every item: a range, or a source, which is read to its end before the next.
template <class F>
auto flat_map(F each) {
  return stage([each = std::move(each)]<class S>(S&& from) mutable {
    return streams::flat_source<S, F>(std::forward<S>(from), std::move(each));
  });
}

/// The first `count` items; then the source is dropped without being asked for more.
inline auto take(std::size_t count) {
  return stage([count]<class S>(S&& from) { return streams::taking_source<S>(std::forward<S>(from), count); });
}

/// All but the first `count`.
inline auto drop(std::size_t count) {
  return stage([count]<class S>(S&& from) { return streams::dropping_source<S>(std::forward<S>(from), count); });
}

/// The items before the first for which `test(const T&)` is false, which is dropped with the source.
template <class F>
auto take_while(F test) {
  return stage([test = std::move(test)]<class S>(S&& from) mutable {
    return streams::looking_source<streams::looks::take_while, S, F>(std::forward<S>(from), std::move(test));
  });
}

/// The items from the first on for which `test(const T&)` is false.
template <class F>
auto drop_while(F test) {
  return stage([test = std::move(test)]<class S>(S&& from) mutable {
    return streams::looking_source<streams::looks::drop_while, S, F>(std::forward<S>(from), std::move(test));
  });
}

/// For every item what `step(const A&, T)`, a plain function, makes of it and the result before; `first` is not given.
template <class A, class F>
auto scan(A first, F step) {
  return stage([first = std::move(first), step = std::move(step)]<class S>(S&& from) mutable {
    return streams::scanning_source<S, A, F>(std::forward<S>(from), std::move(first), std::move(step));
  });
}

struct distinct_options {
  /// Keys that are remembered; one more fails with ERR_OUT_OF_RANGE.
  std::size_t limit = 1'000'000;
};

/// The items whose key has not been seen; `key_of(const T&)` gives something that std::hash takes.
template <class F = std::identity>
auto distinct(F key_of = {}, distinct_options options = {}) {
  return stage([key_of = std::move(key_of), options]<class S>(S&& from) mutable {
    return streams::distinct_source<S, F>(std::forward<S>(from), std::move(key_of), options.limit);
  });
}

/// Pairs of an item and one of `other`, up to the end of the shorter. `other` is borrowed if given by name.
template <class R>
  requires source<std::remove_reference_t<R>>
auto zip(R&& other) {
  struct kept {
    R from;
  };
  return stage([other = kept{std::forward<R>(other)}]<class S>(S&& from) mutable {
    return streams::zipped_source<S, R>(std::forward<S>(from), std::forward<R>(other.from));
  });
}

/// Vectors of `size` items, the last perhaps smaller. A cancelled `next` keeps what it has gathered. For a bound in
/// time see io/rate.hpp.
/// @throws weir::error ERR_OUT_OF_RANGE for a size of 0
inline auto batch(std::size_t size) {
  return stage([size]<class S>(S&& from) { return streams::batching_source<S>(std::forward<S>(from), size); });
}

// To one result: each gives a task, which reads the source to its end or until the answer is known. One that has moved
// in is dropped then, one given by name stays where it is.

/// Calls `each(T)` for all items; gives how many there were. What it throws ends it.
template <class F>
auto for_each(F each) {
  return stage([each = std::move(each)]<class S>(S&& from) mutable {
    return streams::call_for_each<S, F>(std::forward<S>(from), std::move(each));
  });
}

/// `step(A, T)` over all items, beginning with `first`, which is the result if there are none.
template <class A, class F>
auto reduce(A first, F step) {
  return stage([first = std::move(first), step = std::move(step)]<class S>(S&& from) mutable {
    return streams::reduce_all<S, A, F>(std::forward<S>(from), std::move(first), std::move(step));
  });
}

/// Whether `test(const T&)` is true for one item at least; false if there are none.
template <class F>
auto some(F test) {
  return stage([test = std::move(test)]<class S>(S&& from) mutable {
    return streams::any_of<S, F>(std::forward<S>(from), std::move(test), true);
  });
}

/// Whether `test(const T&)` is true for all; true if there are none.
template <class F>
auto every(F test) {
  return stage([test = std::move(test)]<class S>(S&& from) mutable {
    return streams::any_of<S, F>(std::forward<S>(from), std::move(test), false);
  });
}

/// The first item for which `test(const T&)` is true, or nullopt.
template <class F>
auto find(F test) {
  return stage([test = std::move(test)]<class S>(S&& from) mutable {
    return streams::find_first<S, F>(std::forward<S>(from), std::move(test), true);
  });
}

}  // namespace weir::io
