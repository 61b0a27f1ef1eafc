// fs/walk.hpp: everything below a directory, one entry after the other, read by several threads in large pieces.
// Rests on fs/call and core/generator. Node's readdir with `recursive`, find(1) and fts(3) in one.
#pragma once

#include <weir/core/generator.hpp>
#include <weir/fs/call.hpp>
#include <weir/fs/stat.hpp>

#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

namespace weir::fs {

/// What a walk finds.
struct walk_entry {
  std::string path;  ///< the root as it was given, and the way from there
  file_type type = file_type::unknown;
  std::uint32_t depth = 0;        ///< 1 for what is in the root itself
  std::uint32_t relative_at = 0;  ///< where in `path` the way from the root begins
  std::uint32_t name_at = 0;      ///< where in `path` the name begins

  std::string_view relative() const noexcept { return std::string_view(path).substr(relative_at); }
  std::string_view name() const noexcept { return std::string_view(path).substr(name_at); }
  /// The directory it is in.
  std::string_view parent() const noexcept {
    return std::string_view(path).substr(0, name_at > 1 ? name_at - 1 : name_at);
  }

  bool is_file() const noexcept { return type == file_type::regular; }
  bool is_directory() const noexcept { return type == file_type::directory; }
  bool is_symbolic_link() const noexcept { return type == file_type::symlink; }
};

/// What a filter says about an entry.
enum class walk_choice : std::uint8_t {
  take,   ///< give it, and enter it if it is a directory
  skip,   ///< do not give it, but enter it
  prune,  ///< give it and stay out
  drop,   ///< neither
};

enum class walk_errors : std::uint8_t {
  fail,             ///< the first directory that cannot be read ends the walk
  skip_unreadable,  ///< those that this process may not read (EACCES, EPERM) are left out
  skip,             ///< any is left out
};

struct walk_options {
  /// Levels below the root; 1: only what is in the root itself.
  std::uint32_t max_depth = std::numeric_limits<std::uint32_t>::max();
  /// Enters directories that symbolic links lead to, and gives what a link leads to as the type. A link to a directory
  /// that it is itself below, which would go on for ever, and one that leads nowhere are given as links.
  bool follow_symlinks = false;
  /// A directory's entries by name (bytes), each followed by what is below it. Else a directory comes before what is
  /// below it, and that is all there is to the order. Reads with one thread.
  bool sorted = false;
  /// Asked about every entry, on a thread that may block: it may make calls with `now()`. Unless the walk is sorted
  /// or has one thread, several may ask at once. What it throws ends the walk.
  std::function<walk_choice(const walk_entry&)> filter = {};
  /// About directories below the root: the root's failure always ends the walk, and one that has gone meanwhile is
  /// never a failure.
  walk_errors errors = walk_errors::fail;
  /// Told of each failure that was left out. May be called as `filter` is.
  std::function<void(const error&)> on_skipped = {};
  /// That read at a time; 0: as many as there are CPUs, at most four.
  unsigned threads = 0;
};

/// Everything below the directory `root`, without the root itself.
///
/// `co_await walk.next()` completes with a walk_entry, or nothing at the end. Reads some thousand entries ahead at
/// most, fewer at first. Cancelling a `next` that waits for the disk ends the walk. Between two `next` nothing runs;
/// directories that are half read are open then. One that is deep or full costs no more than its entries: depth is not
/// limited by the stack, nor by PATH_MAX as long as no more than 200 directories are open at once.
/// May be read on any worker, by one task at a time.
/// @throws weir::error from `next`: ENOENT, ENOTDIR, EACCES (scandir); ERR_INVALID_ARG_VALUE for a root with a NUL byte
generator<walk_entry> walk(std::string root, walk_options options = {});

/// The same in one call, for trees that fit into memory; `.now()` for programs without a runtime.
call<std::vector<walk_entry>> walk_all(std::string root, walk_options options = {});

namespace detail {

/// Where a walk begins, for what is built on it.
struct walk_root {
  std::string path;
  std::uint32_t relative_at = 0;  ///< where in an entry's path its relative part begins
};
walk_root rooted_at(std::string path);

generator<walk_entry> walk_from(walk_root root, walk_options options);
result<std::vector<walk_entry>> walk_now(walk_root root, walk_options options, const stop_flag& stop);

}  // namespace detail
}  // namespace weir::fs
