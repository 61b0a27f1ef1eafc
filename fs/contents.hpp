// fs/contents.hpp: files as a whole: read, written, appended to in one call. Rests on fs/file. For what may be large
// there are the streams of fs/file_stream.hpp.
#pragma once

#include <weir/core/buffer.hpp>
#include <weir/core/encoding.hpp>
#include <weir/fs/file.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace weir::fs {

struct read_options {
  mode how = mode::read;
  /// More bytes than this are refused.
  std::size_t limit = std::size_t{1} << 31;
};

/// All bytes of a file. Cancelling it ends it after the piece it is at.
/// @throws weir::error ENOENT, EACCES, EISDIR ... ; ERR_OUT_OF_RANGE where the file has more than the limit
call<buffer> read_file(std::string path, const read_options& options = {});

/// The same as text: as Node's readFile(path, encoding) makes it; what is not valid UTF-8 becomes U+FFFD.
call<std::string> read_text(std::string path, encoding as = encoding::utf8, const read_options& options = {});

struct write_options {
  mode how = mode::write;
  std::uint32_t permissions = 0666;  ///< of a file that is made, less the umask
  bool flush = false;                ///< complete only when the disk has it (fsync)
};

/// Makes the file, or empties it first (`how` may say otherwise), and writes all of it. Not atomic: others may see a
/// part, and a failure leaves one; fs/atomic_file.hpp has the other. `content` must stay until the await has ended.
/// @throws weir::error ENOENT (a directory that is not there), EACCES, EISDIR, ENOSPC ...
call<void> write_file(std::string path, std::span<const std::byte> content, const write_options& options = {});
call<void> write_file(std::string path, std::string_view content, const write_options& options = {});

/// Writes at the end of the file, which is made if there is none. What several appenders write is never mixed as long
/// as the system takes each in one piece, which it does on a local file system that is not full.
call<void> append_file(std::string path, std::span<const std::byte> content, const write_options& options = {});
call<void> append_file(std::string path, std::string_view content, const write_options& options = {});

}  // namespace weir::fs
