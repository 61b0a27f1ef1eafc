// fs/tail.hpp: what is appended to a file, as it comes, for as long as anybody asks: logs. Rests on fs/watch for being
// told, and on a look now and then where nobody tells (mounts without events).
#pragma once

#include <weir/fs/file_stream.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

namespace weir::fs {

struct tail_options {
  std::optional<std::uint64_t> start = {};  ///< the first byte; not set: the end of the file as it is
  std::size_t last_lines = 0;               ///< begin with so many lines that are there already; `start` wins
  std::size_t chunk_size = 64 * 1024;
  /// Looks again after this time even if no event came.
  std::chrono::milliseconds look_every = std::chrono::seconds(1);
};

/// The bytes that are appended to `path` from now on; never ends by itself. A file that is cut is read from its new
/// start; where another file takes the name (log rotation) the old one is read to its end, then the new one from its
/// start. While no file has the name it waits for one. Cancelling a read loses nothing. What no follower can see: a
/// file that is cut and grows beyond the old size between two looks.
/// The first read fails with what opening the file or watching it fails with; a file that is there is needed.
io::readable<buffer> tail(std::string path, const tail_options& options = {});

/// The same in lines; what has no line end yet is kept until it has.
io::readable<std::string> tail_lines(std::string path, const tail_options& options = {},
                                     const io::split_options& split = {});

}  // namespace weir::fs
