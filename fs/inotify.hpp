// fs/inotify.hpp: one inotify instance (inotify(7)): what it watches and the records it gives. Private to fs. Rests on
// the system alone. Nothing here blocks: a read gives what is there.
#pragma once

#include <weir/core/result.hpp>
#include <weir/io/descriptor.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace weir::fs::detail {

/// What the system tells: inotify(7)'s inotify_event.
struct inotify_record {
  int watch = -1;            ///< -1 with IN_Q_OVERFLOW
  std::uint32_t mask = 0;    ///< IN_...
  std::uint32_t cookie = 0;  ///< the same for both halves of a rename
  std::string_view name;     ///< inside a directory; else empty. Until the next read
};

class inotify {
 public:
  /// @throws weir::error EMFILE, which says whether the user's instances or the process's descriptors are used up
  inotify();

  int descriptor() const noexcept { return fd_.get(); }

  /// Watches what `path` leads to, or changes the mask if that is watched. @return its number: that of the inode
  /// @return weir::error in Node's words: "ENOENT: no such file or directory, watch 'x'"; ENOSPC names the limit
  result<int> add(const std::string& path, std::uint32_t mask);

  /// Harmless if the number is not in use.
  void remove(int watch) noexcept;

  /// Reads once. @return false if there was nothing
  template <class F>
  bool read(F&& each) {
    const std::size_t size = fill();
    for (std::size_t at = 0; at < size;) each(record_at(at));
    return size != 0;
  }

  void close() noexcept { fd_.close(); }

 private:
  static constexpr std::size_t capacity = 32768;

  std::size_t fill() noexcept;
  inotify_record record_at(std::size_t& at) const noexcept;

  io::descriptor fd_;
  std::unique_ptr<std::byte[]> buffer_;
};

/// The limit in /proc/sys/fs/inotify/`name`, or 0.
std::uint64_t inotify_limit(const char* name) noexcept;

}  // namespace weir::fs::detail
