// net/file_answer.hpp: a file that has been found as the answer to a request: whether the client has it already, which
// version and which parts of it are sent, under which headers, and how its bytes get from the disk to the socket.
// Private to net; send_file and static_files rest on it.
#pragma once

#include <weir/core/buffer.hpp>
#include <weir/net/http_range.hpp>
#include <weir/net/http_server.hpp>
#include <weir/net/static_lookup.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace weir::net::http::detail {

/// What bodies pass through on their way from the disk, bounded in all. Any thread.
class body_memory {
 public:
  /// @param most bytes; beyond it pieces are small ones
  explicit body_memory(std::size_t most) : most_(most) {}

  /// The bytes for the next piece of a body.
  class piece {
   public:
    piece(body_memory& of, std::uint64_t wanted);
    piece(const piece&) = delete;
    piece& operator=(const piece&) = delete;
    ~piece() { of_.lent_.fetch_sub(size_, std::memory_order_relaxed); }

    std::span<std::byte> bytes() { return bytes_.mutable_bytes(); }

   private:
    body_memory& of_;
    buffer bytes_;
    std::size_t size_ = 0;
  };

 private:
  static constexpr std::size_t large = std::size_t{512} * 1024;  ///< what is sent at once: `perf/run static`
  static constexpr std::size_t small = std::size_t{64} * 1024;
  static constexpr std::size_t kept = 8;

  buffer_pool large_ones_{{.chunk_size = large, .max_cached = kept}};
  std::atomic<std::size_t> lent_{0};
  std::size_t most_;
};

/// What follows a head that has been made.
struct file_answer {
  int refused = 0;  ///< 412, 416; 0: what follows is true
  const version_of_file* of = nullptr;
  bool has_body = false;
  std::vector<byte_range> parts = {};  ///< none: all of it

  /// All of it is in memory and small enough to be copied behind the head: `response::end` with it is the answer.
  bool is_small() const noexcept;
};

/// Weighs the request's conditions and ranges and sets status and headers; those that are there already stay.
file_answer begin_answer(const static_files_options& options, const resource& what, const request& req, response& res);

/// The rest of it. All arguments, and what the answer is of, must outlive the await. @throws weir::error
/// ERR_HTTP_CONTENT_LENGTH_MISMATCH where the file has become shorter
task<void> send_answer(body_memory& memory, const file_answer& answer, response& res);

/// A status without a file, in plain text.
task<void> send_status(response& res, int status);

}  // namespace weir::net::http::detail
