// fs/directory.hpp: directories: made, removed, listed at once or entry by entry. Rests on getdents64(2) and the
// blocking pool: a listing is one call there, an open directory gives several hundred entries for each.
#pragma once

#include <weir/fs/call.hpp>
#include <weir/fs/stat.hpp>
#include <weir/io/descriptor.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace weir::fs {

/// An entry of a directory (Node's fs.Dirent). Its type is what it was when it was read; a symbolic link is not
/// followed.
struct dir_entry {
  std::string name;    ///< bytes as the file system has them, which need not be UTF-8
  std::string parent;  ///< the directory, as the caller named it
  file_type type = file_type::unknown;

  bool is_file() const noexcept { return type == file_type::regular; }
  bool is_directory() const noexcept { return type == file_type::directory; }
  bool is_symbolic_link() const noexcept { return type == file_type::symlink; }
  bool is_fifo() const noexcept { return type == file_type::fifo; }
  bool is_socket() const noexcept { return type == file_type::socket; }
  bool is_character_device() const noexcept { return type == file_type::character_device; }
  bool is_block_device() const noexcept { return type == file_type::block_device; }

  /// Parent and name; the name alone where the parent is "." or nothing.
  std::string path() const;
};

struct readdir_options {
  /// Also what is in the directories below; symbolic links are not followed, and a directory that goes while it is
  /// listed has nothing in it.
  bool recursive = false;
};

/// The names in a directory, without "." and "..", in no order. Below others they are relative to `path`: "sub/name".
/// @throws weir::error ENOENT, ENOTDIR, EACCES, with the directory that could not be read
call<std::vector<std::string>> readdir(std::string path, const readdir_options& options = {});

/// The same with types; `parent` is the directory that each is in.
call<std::vector<dir_entry>> read_entries(std::string path, const readdir_options& options = {});

struct mkdir_options {
  bool recursive = false;            ///< make what is missing above it too; no error if it is there already
  std::uint32_t permissions = 0777;  ///< of all that are made, less the umask
};

/// mkdir(2). Several may make the same tree at once.
/// @return with `recursive`: the first directory that was made, as `path` names it; nothing if all were there
/// @throws weir::error EEXIST (recursive: only if it is no directory), ENOENT, ENOTDIR (a file on the way), EACCES,
///         ENOSPC; the path in it is `path`, whichever directory it was
call<std::optional<std::string>> mkdir(std::string path, const mkdir_options& options = {});

/// mkdtemp(3): makes a directory that only this user may enter. @param prefix path and beginning of its name
/// @return its name: the prefix and six characters
/// @throws weir::error ENOENT, ENOTDIR, EACCES, ENAMETOOLONG; the path in it ends in XXXXXX
call<std::string> mkdtemp(std::string prefix);

/// rmdir(2). @throws weir::error ENOTEMPTY, ENOENT, ENOTDIR (see unlink), EINVAL (ends in "."), EBUSY, EACCES
call<void> rmdir(std::string path);

namespace detail {

/// Gives the entries that the file system has no type for theirs. @param block as getdents64 fills it
void settle_types(int directory, std::byte* block, std::size_t size) noexcept;

/// What an open directory has, a block at a time.
class entry_block {
 public:
  struct entry {
    std::string_view name;  ///< followed by a zero; good until the next `fill`
    file_type type = file_type::unknown;
  };

  entry_block() = default;
  explicit entry_block(std::size_t size) : bytes_(new std::byte[size]), size_(size) {}
  entry_block(entry_block&& other) noexcept
      : bytes_(std::move(other.bytes_)),
        size_(other.size_),
        used_(std::exchange(other.used_, 0)),
        at_(std::exchange(other.at_, 0)) {}
  entry_block& operator=(entry_block&& other) noexcept {
    bytes_ = std::move(other.bytes_);
    size_ = other.size_;
    used_ = std::exchange(other.used_, 0);
    at_ = std::exchange(other.at_, 0);
    return *this;
  }
  ~entry_block() = default;

  /// Whether `take` has one. Passes over "." and "..".
  bool more() noexcept;
  entry take() noexcept;

  /// Reads the next block. @return its bytes, 0 at the end, or a negative errno
  long fill(int directory) noexcept;
  void clear() noexcept { used_ = at_ = 0; }
  std::size_t size() const noexcept { return size_; }

 private:
  std::unique_ptr<std::byte[]> bytes_;
  std::size_t size_ = 0;
  std::size_t used_ = 0;
  std::size_t at_ = 0;
};

}  // namespace detail

struct opendir_options {
  /// What one trip to a blocking thread brings: an entry takes 24 bytes and its name's. At least 512.
  std::size_t block_size = 32 * 1024;
};

/// An open directory, read entry by entry (Node's fs.Dir): `while (auto entry = co_await d.next())`. A source for
/// streams and pipelines. Closes itself at its end and when it goes.
///
/// Used by one task at a time, which may be on any worker; it must outlive the awaits and stay where it is meanwhile.
/// What others add or remove while it is read may be seen or not; all else is seen once.
class directory {
 public:
  static constexpr bool cancel_safe = true;
  class next_entry;

  directory() = default;
  directory(io::descriptor opened, std::string path, const opendir_options& options = {});

  const std::string& path() const noexcept { return path_; }
  bool is_open() const noexcept { return static_cast<bool>(fd_); }
  int descriptor() const noexcept { return fd_.get(); }

  /// `co_await d.next()`: the next entry, or nothing at the end; `d.next().now()` waits for the disk here. Most are
  /// there already. Cancelling it loses no entry.
  /// @throws weir::error ERR_CLOSED after `close`, EIO
  next_entry next() noexcept;

  /// Closes it now; harmless if it is closed.
  void close() noexcept;

 private:
  enum class state : std::uint8_t { closed, reading, ended };

  // Whether `take` can answer without the system.
  bool ready() noexcept { return state_ != state::reading || block_.more(); }
  result<void> fill();
  result<std::optional<dir_entry>> take();

  io::descriptor fd_;
  std::string path_;
  detail::entry_block block_;
  state state_ = state::closed;
};

/// What `next` returns.
class [[nodiscard]] directory::next_entry : private weir::detail::blocking_job {
 public:
  using value_type = std::optional<dir_entry>;

  explicit next_entry(directory& from) noexcept : from_(from) {}

  bool await_ready() const noexcept { return false; }
  template <weir::detail::weir_promise P>
  bool await_suspend(std::coroutine_handle<P> h) noexcept {
    auto& f = *h.promise().running;
    if (f.must_stop()) {
      outcome_ = outcome::stopped;
      return false;
    }
    if (from_.ready()) return weir::detail::yield_if_spent(f, h);
    run = read;
    return submit(f, h);
  }
  value_type await_resume() { return try_resume().value(); }
  result<value_type> try_resume();

  value_type now() && { return std::move(*this).try_now().value(); }
  result<value_type> try_now() &&;

 private:
  static void read(blocking_job& job) noexcept;
  const char* what() const noexcept override { return "scandir"; }

  directory& from_;
  result<void> read_;
};

inline directory::next_entry directory::next() noexcept { return next_entry(*this); }

/// @throws weir::error ENOENT, ENOTDIR, EACCES, EMFILE; ERR_OUT_OF_RANGE for a block size below 512
call<directory> opendir(std::string path, const opendir_options& options = {});

}  // namespace weir::fs
