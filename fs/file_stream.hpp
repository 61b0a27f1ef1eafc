// fs/file_stream.hpp: files as streams: read in chunks from here to there, written chunk by chunk. Rests on fs/file and
// io's streams. A chunk costs no allocation on its way: reads take their memory from a pool, writes lend what they are
// given to the kernel.
#pragma once

#include <weir/core/buffer.hpp>
#include <weir/fs/file.hpp>
#include <weir/io/split.hpp>
#include <weir/io/stream.hpp>

#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <optional>
#include <string>

namespace weir::fs {

struct read_stream_options {
  mode how = mode::read;
  std::uint64_t start = 0;                ///< the first byte; for what has no positions (a fifo, a device) it must be 0
  std::optional<std::uint64_t> end = {};  ///< the last byte, included; not set: the end of the file
  /// Read at once, at most. From the page cache 1 MiB takes two thirds of the time for each byte: the processor copies
  /// faster to memory beyond its caches (perf/micro/files, seq_read and seq_read_1m). 64 KiB cost a stream less memory.
  std::size_t chunk_size = 64 * 1024;
  std::size_t high_water_mark = 64 * 1024;  ///< see io::stream_options; counts where somebody reads ahead
  std::function<void(std::exception_ptr)> on_close = {};
};

/// The bytes of a file, in chunks (Node's createReadStream). It is opened by the first read, where a failure to do so
/// comes out, and closed at the end or when the stream goes. What is appended before the end has been reached is read
/// too. Cancelling a read loses nothing. `read_ahead(scope)` of the stream reads while the consumer works.
/// @throws weir::error ERR_OUT_OF_RANGE for an end before the start, or a chunk size of 0
io::readable<buffer> read_stream(std::string path, read_stream_options options = {});

/// The same of a file that is open, from its start, whatever its position; `options.how` does not count.
io::readable<buffer> read_stream(file from, read_stream_options options = {});

/// The lines of a file: see io::lines.
io::readable<std::string> read_lines(std::string path, const io::split_options& options = {});

struct write_stream_options {
  mode how = mode::write;
  std::uint32_t permissions = 0666;         ///< of a file that is made, less the umask
  std::optional<std::uint64_t> start = {};  ///< where the first byte goes; not set: the file's position, or its end
  /// Bytes that may wait for the disk while the writer goes on: a write completes when its chunk has been taken, and
  /// one that fails is told to a later write, or to `end`. 0: each write completes when the system has its bytes.
  std::size_t write_behind = std::size_t{1} << 20;
  bool flush = false;  ///< `end` completes only when the disk has all of it (fsync)
  std::size_t high_water_mark = 64 * 1024;
  std::function<void(std::exception_ptr)> on_close = {};
};

/// A file that takes chunks (Node's createWriteStream). It is opened by the first write or by `end`, where a failure to
/// do so comes out. Chunks are written by a thread that may block, many in one system call, while more are made (see
/// write_behind). `end` waits for all of them, closes the file and says whether that went well; a stream that is
/// destroyed before leaves in the file what was written so far.
io::writable<buffer> write_stream(std::string path, write_stream_options options = {});

/// The same into a file that is open.
io::writable<buffer> write_stream(file to, write_stream_options options = {});

}  // namespace weir::fs
