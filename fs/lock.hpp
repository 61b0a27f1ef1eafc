// fs/lock.hpp: advisory locks on files, between processes and between the tasks of one. Rests on open file description
// locks (F_OFD_SETLK of fcntl(2)), which belong to the lock and not to the process: they exclude tasks of the same
// process as well, end with whoever holds them, and leave nothing stale behind.
#pragma once

#include <weir/fs/file.hpp>
#include <weir/io/descriptor.hpp>

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include <sys/types.h>

namespace weir::fs {

enum class lock_kind : std::uint8_t {
  shared,     ///< any number at a time, of a file that may be read
  exclusive,  ///< one, and nobody shared; of a file that may be written
};

struct lock_options {
  lock_kind kind = lock_kind::exclusive;
  /// The bytes it is about; they need not exist. A size of 0 is all from there on, however far the file will grow.
  std::uint64_t offset = 0;
  std::uint64_t size = 0;
  /// How often a lock that another process holds is looked at again, at most; from one millisecond on it doubles up to
  /// this. A lock held in this process is handed over at once.
  std::chrono::milliseconds look_again = std::chrono::milliseconds(10);
  /// Of `lock_path`, exclusive: writes this process's number into the file, for `lock_holder`, and takes it out again.
  /// For files that are there for the lock alone: what else is in it goes.
  bool note_holder = false;
};

namespace detail {
class lock_request;
}

/// A lock that is held, until this goes or `unlock` is called, or the process ends. It has a descriptor of its own and
/// so needs no file to stay open. May be moved between threads.
class [[nodiscard]] file_lock {
 public:
  file_lock() noexcept = default;  ///< holds nothing
  file_lock(file_lock&&) noexcept = default;
  file_lock& operator=(file_lock&& other) noexcept {
    if (this != &other) {
      unlock();
      held_ = std::move(other.held_);
    }
    return *this;
  }
  ~file_lock() { unlock(); }

  explicit operator bool() const noexcept { return static_cast<bool>(held_.fd); }

  /// Unlocks early. A child process that was forked meanwhile does not keep it. Harmless if nothing is held.
  void unlock() noexcept;

 private:
  friend class detail::lock_request;
  struct grip {
    io::descriptor fd = {};
    std::uint64_t dev = 0;
    std::uint64_t ino = 0;
    bool noted = false;
  };
  explicit file_lock(grip held) noexcept : held_(std::move(held)) {}

  grip held_;
};

/// Waits for a lock on an open file. It is on the file, not on the `file`: two locks through one `file` exclude each
/// other as any two do. `of` must stay open until the await has ended, and no longer.
///
/// Within this process those who wait are served in the order in which they came, as far as they stand in each other's
/// way; between processes there is no order. Cancelling it (`timeout` does) leaves no lock and no place in the queue.
/// May be awaited on any worker; looking is done on a blocking thread, waiting on none. Nothing tells of a deadlock.
/// Locks of one process that came by fcntl's F_SETLK or by flock(2) are another matter: do not mix them.
/// @throws weir::error EACCES where the file may not be opened again for reading (shared) or writing (exclusive);
///         ENOLCK, EINVAL (a file system without locks), EBADF (not open)
task<file_lock> lock(const file& of, const lock_options& options = {});

/// The lock if it can be had now; never before one who waits in this process.
call<std::optional<file_lock>> try_lock(const file& of, const lock_options& options = {});

/// The same for a path. The file is made if there is none, with permissions 0666 less the umask. What is locked is the
/// file that the path leads to when the lock is had, even where it is replaced or removed meanwhile, as
/// write_file_atomic does: for a file that changes that way lock another one beside it.
task<file_lock> lock_path(std::string path, const lock_options& options = {});
call<std::optional<file_lock>> try_lock_path(std::string path, const lock_options& options = {});

/// The number of the process that has an exclusive lock on the file at `path` and has noted itself in it
/// (lock_options::note_holder). A number that was left in a file without a lock, by a crash, is nobody's.
/// @return 0 for a holder that has noted nothing; nothing if there is no lock, or no file
call<std::optional<pid_t>> lock_holder(std::string path);

}  // namespace weir::fs
