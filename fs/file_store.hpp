// fs/file_store.hpp: values under keys, each in a file of its own in one directory, with a time to live where wanted:
// a small database, or a cache that outlives the process. Rests on fs/atomic_file: a value is there whole or not at
// all, whatever happens, and several processes may share a directory.
#pragma once

#include <weir/core/buffer.hpp>
#include <weir/fs/atomic_file.hpp>
#include <weir/fs/call.hpp>

#include <chrono>
#include <cstddef>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace weir::fs {

struct file_store_options {
  /// How long entries live that are given no time of their own; zero: until they are erased.
  std::chrono::milliseconds ttl = std::chrono::milliseconds(0);
  durability flush = durability::content;
  std::size_t max_value = std::size_t{64} << 20;  ///< bytes; larger ones are refused
  std::uint32_t permissions = 0600;               ///< of the files
  std::function<time_point()> now = {};           ///< the clock; not set: the system's
};

/// Something that could not be done about one file while others could.
struct file_failure {
  std::string path;
  failure why;
};

/// What a walk over all entries came to.
struct store_report {
  std::size_t removed = 0;
  std::vector<file_failure> failures = {};
};

/// A directory of values. Keys are any text, as long as its escaped form makes a file name: letters, digits, "-" and
/// "_" count 1, other bytes 3, 240 in all. May be copied, and used by any task on any worker.
class file_store {
 public:
  /// Makes the directory if it is not there, with those above it; the store is ready when this has completed.
  static call<file_store> open(std::string directory, file_store_options options = {});

  /// Stores a value in place of the one that is there. The bytes must stay until the await has ended.
  /// @param ttl how long it lives from now on; zero: until it is erased; not set: the store's
  /// @throws weir::error ERR_OUT_OF_RANGE for a negative time, a value or a key that is too large; as write_file_atomic
  call<void> set(std::string key, std::span<const std::byte> value,
                 std::optional<std::chrono::milliseconds> ttl = {}) const;
  call<void> set(std::string key, std::string_view value, std::optional<std::chrono::milliseconds> ttl = {}) const;

  /// The value, or nothing if there is none or its time is over; then its file goes as well.
  /// @throws weir::error ERR_ENCODING_INVALID_ENCODED_DATA for a file that was damaged. It stays as it is until `set`
  /// or
  ///         `erase`, and concerns no other entry.
  call<std::optional<buffer>> get(std::string key) const;

  /// @return false if there was none
  call<bool> erase(std::string key) const;

  /// The keys of all entries, those past their time as well; in no order.
  call<std::vector<std::string>> keys() const;

  /// Erases all entries. Goes on after a failure, and tells of each.
  call<store_report> clear() const;

  /// Erases entries past their time, and what writers that were killed have left an hour ago or longer. Goes on after a
  /// failure, also of a damaged entry, and tells of each. Stops early when cancelled.
  call<store_report> sweep() const;

  const std::string& directory() const noexcept { return directory_; }
  /// The file that the value of this key is in. @throws weir::error ERR_OUT_OF_RANGE for a key that is too long
  std::string path_for(std::string_view key) const;

 private:
  file_store(std::string directory, file_store_options options)
      : directory_(std::move(directory)), options_(std::move(options)) {}

  struct head;
  time_point now() const { return options_.now ? options_.now() : time_point(std::chrono::system_clock::now()); }
  result<void> set_now(const std::string& key, std::span<const std::byte> value,
                       std::optional<std::chrono::milliseconds> ttl) const;
  result<std::optional<buffer>> get_now(const std::string& key) const;
  result<bool> has_expired(const std::string& path) const;
  result<bool> erase_expired(const std::string& path) const;
  result<bool> erase_file(const std::string& path) const;
  template <class F>
  result<store_report> walk(const stop_flag& stop, F something) const;
  result<bool> sweep_file(const std::string& name) const;
  bool is_over(const head& entry) const;

  std::string directory_;
  file_store_options options_;
};

}  // namespace weir::fs
