// net/http_raw_stream.hpp: a connection that has left HTTP behind, for what comes after an upgrade or CONNECT: bytes
// both ways. Rests on the connection that the request came over, in whose care it stays: the server's close reaches it
// through the handler that has it.
#pragma once

#include <weir/core/task.hpp>
#include <weir/io/sender.hpp>
#include <weir/net/address.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace weir::net::http {

class connection;

/// What `response::upgrade` and `response::take_over` give. Valid until the handler returns; then the connection closes
/// behind what has been written. One fiber may read while another writes, both on the handler's worker
/// (`spawn_local`). The end of the client's side no longer cancels the handler: `next` tells it. HTTP's timeouts no
/// longer count. `server::close` leaves it its grace, then the handler is cancelled.
class raw_stream {
 public:
  /// What the client has sent behind its request already and was not read yet: the first that `next` and `read` give.
  std::string_view head() const noexcept;

  /// `co_await s.next()` waits for bytes and gives at least one, valid until the next read; none at the end of the
  /// stream. Throws weir::error "read ECONNRESET", ERR_INVALID_STATE on another worker. Cancelling it loses nothing.
  task<std::span<const std::byte>> next();

  /// The same into a buffer. @return the number of bytes, 0 at the end of the stream or for an empty buffer
  task<std::size_t> read(std::span<std::byte> into);

  /// `co_await s.write(bytes)`: copied before it returns, completes when the connection has room for more. What is
  /// written in one stretch of running goes out with one send. Throws weir::error "write EPIPE",
  /// ERR_STREAM_WRITE_AFTER_END, ERR_STREAM_DESTROYED, ERR_INVALID_STATE on another worker.
  [[nodiscard]] io::sender::drain_awaiter write(std::string_view bytes);
  [[nodiscard]] io::sender::drain_awaiter write(std::span<const std::byte> bytes);

  /// `co_await s.send(piece)`: as `write`, without a copy; completes when the system has taken the piece, which must
  /// stay until then. Nothing else may write meanwhile. Cancelled, it may have sent a part.
  [[nodiscard]] task<void> send(std::span<const std::byte> piece);

  /// Ends the writing side once everything has gone; reading goes on.
  [[nodiscard]] task<void> end();

  /// Drops what has not been sent; the client sees a reset when the handler returns. Later writes throw
  /// ERR_STREAM_DESTROYED, reading gives the end.
  void destroy() noexcept;

  const address& remote() const noexcept;
  std::uint64_t bytes_in() const noexcept;   ///< of the connection, HTTP's included
  std::uint64_t bytes_out() const noexcept;  ///< the same

 private:
  friend class connection;
  void check_open() const;

  connection* connection_ = nullptr;
  bool ended_ = false;
};

}  // namespace weir::net::http
