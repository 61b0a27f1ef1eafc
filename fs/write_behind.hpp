// fs/write_behind.hpp: chunks written to a file on a thread that may block, while whoever makes them goes on. Private
// to fs. The thread takes what has come meanwhile, up to hundreds of chunks, in one system call; as long as there is
// something it stays, so that a busy stream pays for no hop between threads.
#pragma once

#include <weir/core/blocking.hpp>
#include <weir/core/buffer.hpp>
#include <weir/core/event.hpp>
#include <weir/fs/file.hpp>
#include <weir/io/stream_core.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

namespace weir::fs::detail {

class write_behind final : public std::enable_shared_from_this<write_behind>, private weir::detail::blocking_job {
 public:
  /// @param position where the first byte goes; not set: the file's own
  /// @param limit bytes that may wait; at least one chunk always may
  write_behind(file to, std::optional<std::uint64_t> position, std::size_t limit) noexcept
      : file_(std::move(to)), position_(position), limit_(limit) {}

  /// Takes a chunk as soon as there is room. Fails with what an earlier write has failed with.
  task<void> push(buffer chunk);

  /// Completes when all that was pushed has been written.
  task<void> flush();

  /// Drops what has not been written; the file is closed when the thread has let go of it.
  void abandon() noexcept;

  /// After `flush`.
  file& target() noexcept { return file_; }

 private:
  enum class pushed : std::uint8_t { yes, start, full, failed };

  pushed try_push(buffer& chunk);
  void work() noexcept;
  bool write_all() noexcept;
  void take_batch();
  [[noreturn]] void fail() const;

  file file_;
  std::optional<std::uint64_t> position_;
  const std::size_t limit_;

  std::mutex mutex_;
  io::streams::chunk_ring<buffer> queue_;
  std::size_t queued_ = 0;  // bytes, with those that are being written
  int error_ = 0;
  bool working_ = false;
  bool abandoned_ = false;
  event room_;
  event idle_;

  // The thread's own.
  std::vector<buffer> batch_;
  std::shared_ptr<write_behind> self_;  // while a thread is at it
};

}  // namespace weir::fs::detail
