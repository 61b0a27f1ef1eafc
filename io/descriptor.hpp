// io/descriptor.hpp: a file descriptor that somebody owns.
#pragma once

#include <utility>

namespace weir::io {

/// A descriptor that is closed when it goes. Operations on it must have ended by then, which scopes ensure.
class descriptor {
 public:
  descriptor() = default;
  explicit descriptor(int fd) noexcept : fd_(fd) {}
  descriptor(descriptor&& other) noexcept : fd_(other.release()) {}
  descriptor& operator=(descriptor&& other) noexcept {
    if (this != &other) {
      close();
      fd_ = other.release();
    }
    return *this;
  }
  ~descriptor() { close(); }

  int get() const noexcept { return fd_; }
  explicit operator bool() const noexcept { return fd_ >= 0; }

  /// Gives the descriptor away: from now on the caller closes it.
  [[nodiscard]] int release() noexcept { return std::exchange(fd_, -1); }

  /// Closes it now; harmless if there is none.
  void close() noexcept;

 private:
  int fd_ = -1;
};

}  // namespace weir::io
