// io/collect.hpp: all of a source as one value: a container, a buffer, a text. Each is a stage that gives a task (see
// io/stage.hpp), reads to the end and is limited, because the other side decides how much comes. Rests on io/stage.hpp
// and core/buffer. What Node has in stream/consumers (https://nodejs.org/api/webstreams.html#utility-consumers).
#pragma once

#include <weir/core/buffer.hpp>
#include <weir/io/stage.hpp>

#include <concepts>
#include <cstddef>
#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace weir::io {

struct collect_options {
  /// Items; one more fails with ERR_OUT_OF_RANGE.
  std::size_t limit = 1'000'000;
};

struct collect_bytes_options {
  /// One more fails with ERR_BUFFER_TOO_LARGE.
  std::size_t max_bytes = 64 * 1024 * 1024;
};

/// What to do with bytes that are no UTF-8.
enum class invalid_text : std::uint8_t {
  replace,  ///< each ill-formed part becomes U+FFFD
  fail,     ///< ERR_ENCODING_INVALID_ENCODED_DATA
};

struct collect_text_options {
  std::size_t max_bytes = 64 * 1024 * 1024;
  invalid_text invalid = invalid_text::replace;
};

namespace streams {

[[noreturn]] void too_many_items(std::size_t limit);

/// Chunks on their way to becoming one.
class byte_collector {
 public:
  explicit byte_collector(std::size_t max_bytes) noexcept : left_(max_bytes), max_(max_bytes) {}
  /// @throws weir::error ERR_BUFFER_TOO_LARGE
  void add(buffer chunk);
  /// One buffer of all, without a copy if there was one chunk only.
  buffer take();
  /// @throws weir::error ERR_ENCODING_INVALID_ENCODED_DATA
  std::string take_text(invalid_text invalid);

 private:
  std::vector<buffer> chunks_;
  std::size_t left_;
  std::size_t max_;
};

template <class C, class S>
task<C> collect_into(S from, C into, std::size_t limit) {
  for (std::size_t count = 0; auto item = co_await from.next(); ++count) {
    if (count == limit) too_many_items(limit);
    if constexpr (requires { into.push_back(std::move(*item)); }) {
      into.push_back(std::move(*item));
    } else {
      into.insert(std::move(*item));
    }
  }
  co_return into;
}

template <class S>
task<buffer> collect_buffer(S from, std::size_t max_bytes) {
  static_assert(std::same_as<item_of<S>, buffer>);
  byte_collector all(max_bytes);
  while (auto chunk = co_await from.next()) all.add(std::move(*chunk));
  co_return all.take();
}

template <class S>
task<std::string> collect_text(S from, collect_text_options options) {
  if constexpr (std::same_as<item_of<S>, buffer>) {
    byte_collector all(options.max_bytes);
    while (auto chunk = co_await from.next()) all.add(std::move(*chunk));
    co_return all.take_text(options.invalid);
  } else {
    static_assert(std::convertible_to<item_of<S>, std::string>, "a text is made of buffers or strings");
    byte_collector all(options.max_bytes);
    while (auto chunk = co_await from.next()) all.add(buffer::adopt(std::string(std::move(*chunk))));
    co_return all.take_text(options.invalid);
  }
}

template <class S, class F>
auto parse_all(S from, F parse, collect_text_options options) -> task<std::invoke_result_t<F&, std::string>> {
  co_return std::invoke(parse, co_await collect_text<S>(std::forward<S>(from), options));
}

}  // namespace streams

/// All items in a container that has push_back or insert: to<std::set<int>>().
template <class C>
auto to(collect_options options = {}) {
  return stage(
      [options]<class S>(S&& from) { return streams::collect_into<C, S>(std::forward<S>(from), C(), options.limit); });
}

/// All items in a vector.
inline auto to_vector(collect_options options = {}) {
  return stage([options]<class S>(S&& from) {
    using C = std::vector<streams::item_of<S>>;
    return streams::collect_into<C, S>(std::forward<S>(from), C(), options.limit);
  });
}

/// All bytes in one buffer; the only chunk itself, if there is one only.
inline auto to_buffer(collect_bytes_options options = {}) {
  return stage(
      [options]<class S>(S&& from) { return streams::collect_buffer<S>(std::forward<S>(from), options.max_bytes); });
}

/// All bytes, or strings, as one text in UTF-8. A character may be cut between chunks anywhere.
inline auto to_text(collect_text_options options = {}) {
  return stage([options]<class S>(S&& from) { return streams::collect_text<S>(std::forward<S>(from), options); });
}

/// What `parse(std::string)` makes of that text, which must be UTF-8: for JSON with the library of your choice. What it
/// throws comes out.
template <class F>
auto to_parsed(F parse, collect_text_options options = {.invalid = invalid_text::fail}) {
  return stage([parse = std::move(parse), options]<class S>(S&& from) mutable {
    return streams::parse_all<S, F>(std::forward<S>(from), std::move(parse), options);
  });
}

}  // namespace weir::io
