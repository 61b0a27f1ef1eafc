// io/multiplex.hpp: many byte streams over one. Both sides of a connection make a `multiplexer` of its two directions;
// either opens streams, the other accepts them, and each stream is a duplex with its own end and its own backpressure:
// one that nobody reads stops its writer, and no other stream. Rests on io/stream.hpp.
//
// A frame is a header of nine bytes and a payload, numbers in network order:
//   stream  4 bytes   odd: opened by the initiator, even: by the other side
//   type    1 byte    0 data, 1 end (no payload), 2 reset (no payload), 3 window (payload: 4 bytes)
//   length  4 bytes   of the payload
// A stream is opened by its first frame, of type 0 or 1; each side opens them in ascending order. Each side may send
// `window` bytes of a stream before the other has allowed more by window frames. Both sides must be given the same
// window.
#pragma once

#include <weir/core/buffer.hpp>
#include <weir/core/scope.hpp>
#include <weir/core/task.hpp>
#include <weir/io/stage.hpp>
#include <weir/io/stream.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>

namespace weir::io {

struct multiplex_options {
  /// One side, and one only: the ids of the streams that it opens are odd.
  bool initiator = false;
  /// Bytes of a stream that may be on their way or wait for its reader; the same on both sides, 1 to 2^31-1.
  std::uint32_t window = 256 * 1024;
  /// Payload of a data frame: what is sent at most, and what is taken. The same on both sides, or more here.
  std::uint32_t max_frame = 16 * 1024;
  /// Streams that are open at a time, and that wait to be accepted; what the other side opens beyond that is reset.
  /// Memory is bounded by this times the window.
  std::size_t max_streams = 256;
};

namespace streams {
class multiplex_state;
}

/// One end of a connection with many streams.
///
/// Two children of `owner` move the bytes, one in each direction, from the constructor on. What the other side does
/// wrong (a frame that is too large, more than the window allows, an unknown type) fails the whole with
/// ERR_INVALID_STATE, the connection's failure or early end (ERR_STREAM_PREMATURE_CLOSE) does the same: every stream
/// gets that error. Must not outlive the scope. Its functions may be called on any worker.
class [[nodiscard]] multiplexer {
 public:
  /// @throws weir::error ERR_OUT_OF_RANGE for options that cannot be
  multiplexer(scope& owner, readable<buffer> in, writable<buffer> out, const multiplex_options& options = {});
  multiplexer(multiplexer&&) noexcept = default;
  multiplexer& operator=(multiplexer&&) = delete;
  /// Destroys what is still open.
  ~multiplexer();

  /// A new stream, of which the other side learns at once. A duplex of which a side is destroyed before
  /// its end is reset: both sides of it fail, here and there.
  /// @throws weir::error what the connection failed with; ERR_OUT_OF_RANGE once all 2^31 ids are used up
  duplex<buffer> open();

  /// The next stream that the other side has opened; nullopt once the connection has ended. Cancelling it loses none.
  task<std::optional<duplex<buffer>>> accept();

  /// Ends the connection in this direction, once all frames are written; streams that are open fail. Then waits for the
  /// other side's end. Fails with what the connection failed with.
  task<void> end();

  std::size_t open_streams() const noexcept;

 private:
  std::shared_ptr<streams::multiplex_state> state_;
  streams::running_child reading_;
  streams::running_child writing_;
};

}  // namespace weir::io
