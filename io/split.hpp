// io/split.hpp: operators that cut a stream of bytes anew: into lines, at a delimiter, into pieces of one size, into
// text. It does not matter how the bytes come in pieces. Rests on io/stage.hpp, core/buffer and core/string_decoder.
// What a piece may grow to is limited, because the peer decides where it ends.
#pragma once

#include <weir/core/buffer.hpp>
#include <weir/core/string_decoder.hpp>
#include <weir/io/stage.hpp>

#include <concepts>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace weir::io {

struct split_options {
  /// Bytes in a piece, the delimiter not counted; a longer one fails with ERR_OUT_OF_RANGE as soon as it is known.
  std::size_t max_length = 1024 * 1024;
};

namespace streams {

/// Finds delimiters in bytes that come in pieces. A piece that lies in one chunk is a slice of it.
class cutter {
 public:
  enum kind : bool { at_delimiter, at_line_end };

  /// @throws weir::error ERR_INVALID_ARG_VALUE for an empty delimiter
  cutter(std::string delimiter, kind how, const split_options& options);

  /// The next chunk; the one before must have been used up.
  void feed(buffer chunk) noexcept;

  /// The next piece that is complete. @return false: there is none, feed more
  /// @throws weir::error ERR_OUT_OF_RANGE
  bool next(buffer& piece);

  /// What is left at the end. @return false if nothing is
  bool rest(buffer& piece);

 private:
  bool finish(std::size_t in_chunk, std::size_t skip, buffer& piece);
  std::size_t straddling() const;
  void hold_rest();
  buffer trimmed(buffer&& piece) const;
  [[noreturn]] void too_long() const;

  std::string delimiter_;
  std::string held_;  // the beginning of a piece, from chunks before
  buffer chunk_;
  std::size_t limit_;
  kind how_;
};

template <class S>
class cut_source : public reading<S> {
  static_assert(std::same_as<item_of<S>, buffer>, "only a stream of buffers can be cut into pieces");

 public:
  cut_source(S&& from, cutter&& how) : reading<S>(std::forward<S>(from)), cutter_(std::move(how)) {}

  task<std::optional<buffer>> next() {
    buffer piece;
    while (!over_) {
      if (cutter_.next(piece)) co_return piece;
      if (auto chunk = co_await this->from_.next()) {
        cutter_.feed(std::move(*chunk));
      } else {
        over_ = true;
      }
    }
    if (cutter_.rest(piece)) co_return piece;
    co_return std::nullopt;
  }

 private:
  cutter cutter_;
  bool over_ = false;
};

template <class S>
class line_source {
 public:
  line_source(S&& from, cutter&& how) : pieces_(std::forward<S>(from), std::move(how)) {}

  task<std::optional<std::string>> next() {
    auto piece = co_await pieces_.next();
    if (!piece) co_return std::nullopt;
    co_return std::optional<std::string>(piece->text());
  }
  bool closed() const noexcept { return pieces_.closed(); }
  void destroy(const std::exception_ptr& why) noexcept { pieces_.destroy(why); }

 private:
  cut_source<S> pieces_;
};

/// Joins and cuts bytes to pieces of one size.
class resizer {
 public:
  /// @throws weir::error ERR_OUT_OF_RANGE for a size of 0
  explicit resizer(std::size_t size);
  void feed(buffer chunk);
  bool next(buffer& piece);
  bool rest(buffer& piece) noexcept;

 private:
  std::size_t size_;
  std::size_t filled_ = 0;
  buffer joined_;  // `filled_` bytes of a piece that no chunk had in whole
  buffer chunk_;
};

template <class S>
class resized_source : public reading<S> {
  static_assert(std::same_as<item_of<S>, buffer>, "only a stream of buffers can be cut into pieces");

 public:
  resized_source(S&& from, std::size_t size) : reading<S>(std::forward<S>(from)), resizer_(size) {}

  task<std::optional<buffer>> next() {
    buffer piece;
    while (!over_) {
      if (resizer_.next(piece)) co_return piece;
      if (auto chunk = co_await this->from_.next()) {
        resizer_.feed(std::move(*chunk));
      } else {
        over_ = true;
      }
    }
    if (resizer_.rest(piece)) co_return piece;
    co_return std::nullopt;
  }

 private:
  resizer resizer_;
  bool over_ = false;
};

template <class S>
class text_source : public reading<S> {
  static_assert(std::same_as<item_of<S>, buffer>, "only a stream of buffers can be decoded");

 public:
  text_source(S&& from, encoding as) : reading<S>(std::forward<S>(from)), decoder_(as) {}

  task<std::optional<std::string>> next() {
    while (!over_) {
      auto chunk = co_await this->from_.next();
      over_ = !chunk;
      auto text = chunk ? decoder_.write(chunk->bytes()) : decoder_.end();
      if (!text.empty()) co_return text;
    }
    co_return std::nullopt;
  }

 private:
  string_decoder decoder_;
  bool over_ = false;
};

}  // namespace streams

/// Lines of bytes as std::string: without their end, which is LF or CRLF, or at the very end a CR alone (elsewhere it
/// belongs to the line), and with the last one whether or not it has an end. Bytes that are no text stay as they are.
inline auto lines(split_options options = {}) {
  return stage([options]<class S>(S&& from) {
    return streams::line_source<S>(std::forward<S>(from), streams::cutter("\n", streams::cutter::at_line_end, options));
  });
}

/// The bytes between delimiters, as buffers that share the memory of the chunks where they can. An empty piece stands
/// for two delimiters in a row; what follows the last one is a piece unless it is empty.
/// @throws weir::error ERR_INVALID_ARG_VALUE for an empty delimiter
inline auto split(std::string delimiter, split_options options = {}) {
  return stage([cut = streams::cutter(std::move(delimiter), streams::cutter::at_delimiter, options)]<class S>(
                   S&& from) mutable { return streams::cut_source<S>(std::forward<S>(from), std::move(cut)); });
}

/// The same bytes in buffers of `size`, the last perhaps smaller; slices of the chunks where they can be.
/// @throws weir::error ERR_OUT_OF_RANGE for a size of 0
inline auto rechunk(std::size_t size) {
  return stage([size]<class S>(S&& from) { return streams::resized_source<S>(std::forward<S>(from), size); });
}

/// The bytes as text, no character cut in two (Node's setEncoding). Ill-formed bytes become U+FFFD.
inline auto text(encoding as = encoding::utf8) {
  return stage([as]<class S>(S&& from) { return streams::text_source<S>(std::forward<S>(from), as); });
}

}  // namespace weir::io
