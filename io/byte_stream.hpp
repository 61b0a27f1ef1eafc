// io/byte_stream.hpp: streams of bytes over anything that reads and writes spans, such as a socket. Rests on
// io/stream.hpp and core/buffer.hpp; knows no system call. A read loop takes its memory from a pool of chunks, so a
// chunk costs no allocation on its way, and what is written is lent to the other side as it is.
#pragma once

#include <weir/core/buffer.hpp>
#include <weir/io/stream.hpp>

#include <array>
#include <cstddef>
#include <memory>
#include <span>
#include <utility>

namespace weir::io {

/// `co_await s.read(std::span<std::byte>)` gives how many bytes were read, 0 at the end. Cancelled, it has lost
/// nothing.
template <class S>
concept byte_reader = requires(S& s, std::span<std::byte> into) {
  { s.read(into) };
  requires std::convertible_to<weir::detail::awaited_t<decltype(s.read(into))>, std::size_t>;
};

/// `co_await s.write(std::span<const std::byte>)` writes all of it. It may also have
///   `write_pieces(std::span<const std::span<const std::byte>>)`  writes several pieces in order, as one;
///   `shutdown_write()`                                           awaitable: tells the peer that there is no more.
template <class S>
concept byte_writer = requires(S& s, std::span<const std::byte> from) {
  { s.write(from) };
};

struct byte_options {
  std::size_t chunk_size = 64 * 1024;       ///< read at once, at most
  std::size_t high_water_mark = 64 * 1024;  ///< see stream_options
  bool shut_down = true;                    ///< `end` shuts the writing direction down, where there is such a thing
  std::function<void(std::exception_ptr)> on_close = {};  ///< of each side; see stream_options
};

namespace streams {

/// Reads into chunks. What a read leaves of a chunk is used by the next one.
template <class S>
class reading_end {
 public:
  static constexpr bool cancel_safe = true;

  reading_end(std::shared_ptr<S> from, std::size_t chunk_size)
      : from_(std::move(from)), pool_({.chunk_size = chunk_size, .max_cached = 4}) {}

  task<std::optional<buffer>> next() {
    if (rest_.size() < least_room()) rest_ = pool_.take();
    std::size_t count = co_await from_->read(rest_.mutable_bytes());
    if (count == 0) co_return std::nullopt;
    co_return rest_.take_front(count);
  }

 private:
  std::size_t least_room() const noexcept { return std::max<std::size_t>(pool_.chunk_size() / 4, 1); }

  std::shared_ptr<S> from_;
  buffer_pool pool_;
  buffer rest_;
};

template <class S>
class writing_end {
 public:
  writing_end(std::shared_ptr<S> to, bool shuts_down) : to_(std::move(to)), shuts_down_(shuts_down) {}

  task<void> write(buffer chunk) { co_await to_->write(chunk.bytes()); }

  task<void> write_batch(std::span<buffer> chunks) {
    if constexpr (requires(std::span<const std::span<const std::byte>> all) { to_->write_pieces(all); }) {
      std::array<std::span<const std::byte>, 64> pieces;
      while (!chunks.empty()) {
        auto count = std::min(chunks.size(), pieces.size());
        for (std::size_t i = 0; i < count; ++i) pieces[i] = chunks[i].bytes();
        co_await to_->write_pieces(std::span<const std::span<const std::byte>>(pieces.data(), count));
        chunks = chunks.subspan(count);
      }
    } else {
      for (auto& each : chunks) co_await to_->write(each.bytes());
    }
  }

  task<void> end() {
    if constexpr (requires { to_->shutdown_write(); }) {
      if (shuts_down_) co_await to_->shutdown_write();
    }
    co_return;
  }

 private:
  std::shared_ptr<S> to_;
  bool shuts_down_;
};

}  // namespace streams

/// A readable of what `from` reads, in chunks as they come, none larger than `chunk_size`. Cancelling a read loses
/// nothing. The stream shares `from`; it goes when nobody has a share any more.
template <byte_reader S>
readable<buffer> read_from(std::shared_ptr<S> from, byte_options options = {}) {
  return readable<buffer>(streams::reading_end<S>(std::move(from), options.chunk_size),
                          {.high_water_mark = options.high_water_mark, .on_close = std::move(options.on_close)});
}
template <byte_reader S>
  requires(!std::is_lvalue_reference_v<S>)
readable<buffer> read_from(S&& from, byte_options options = {}) {
  return read_from(std::make_shared<S>(std::move(from)), std::move(options));
}

/// A writable into `to`. Chunks are written as they are, without a copy; several queued ones in one go where `to` can.
/// A write that is cancelled fails the stream: a part may have been sent.
template <byte_writer S>
writable<buffer> write_to(std::shared_ptr<S> to, byte_options options = {}) {
  return writable<buffer>(streams::writing_end<S>(std::move(to), options.shut_down),
                          {.high_water_mark = options.high_water_mark, .on_close = std::move(options.on_close)});
}
template <byte_writer S>
  requires(!std::is_lvalue_reference_v<S>)
writable<buffer> write_to(S&& to, byte_options options = {}) {
  return write_to(std::make_shared<S>(std::move(to)), std::move(options));
}

/// Both directions of a connection; it is closed when both sides are.
template <class S>
  requires(byte_reader<S> && byte_writer<S>)
duplex<buffer> byte_duplex(std::shared_ptr<S> both, byte_options options = {}, duplex_options half = {}) {
  auto out = read_from(both, options);
  return duplex<buffer>(write_to(std::move(both), std::move(options)), std::move(out), half);
}
template <class S>
  requires(byte_reader<S> && byte_writer<S> && !std::is_lvalue_reference_v<S>)
duplex<buffer> byte_duplex(S&& both, byte_options options = {}, duplex_options half = {}) {
  return byte_duplex(std::make_shared<S>(std::move(both)), std::move(options), half);
}

}  // namespace weir::io
