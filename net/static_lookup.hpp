// net/static_lookup.hpp: what a path below the roots leads to: a file with its compressed siblings, a directory, a
// refusal. What the kernel has in memory is asked for at once; else all that asks the disk is in one call to a blocking
// thread. Private to net.
#pragma once

#include <weir/fs/call.hpp>
#include <weir/fs/file.hpp>
#include <weir/fs/stat.hpp>
#include <weir/net/static_files.hpp>

#include <array>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace weir::net::http::detail {

/// In the order of preference where a client has none.
inline constexpr std::array<std::string_view, 3> sibling_suffixes = {".br", ".zst", ".gz"};

/// A file or a compressed sibling of it.
struct version_of_file {
  fs::file file = {};  ///< open unless it is in memory
  std::string content = {};
  bool in_memory = false;
  fs::file_stat stat = {};
  std::string_view coding = {};  ///< "br"; empty: none
  std::string etag = {};
  std::string last_modified = {};
  std::chrono::sys_seconds modified = {};
};

/// What is sent for a path. Not changed once it is made, and used by several requests at once if it is in memory.
struct resource {
  std::vector<version_of_file> versions = {};  ///< the file itself, then its siblings
  std::string type = {};
  std::string cache_control = {};
  bool may_be_kept = false;  ///< all of it is in memory

  std::size_t memory() const noexcept;
};

/// What a path asks for below a root.
struct wanted_path {
  int status = 200;      ///< another one refuses it
  std::string relative;  ///< without "." and empty components; "" is the root
  bool slash = false;    ///< it ends in a slash: a directory is meant
};

/// Puts a path together from the names between its slashes, and refuses what leads out of a root or is hidden.
class path_builder {
 public:
  /// @param name decoded; empty ones and "." are left out
  void add(std::string_view name, bool slash_follows);
  wanted_path settle(dotfile_policy dotfiles) &&;

 private:
  wanted_path made_;
  bool hidden_ = false;
  bool has_slash_ = false;
  bool climbs_ = false;
};

struct lookup_answer {
  int status = 404;  ///< without `what`: 200 is a listing, 301 a directory that was asked for without its slash
  std::shared_ptr<const resource> what = {};
  std::string page = {};
};

class static_lookup {
 public:
  static_lookup(std::vector<std::string> given, static_files_options all);

  /// @throws weir::error as static_files
  void check() const;

  /// @param relative decoded, checked, without "..", without a slash at either end
  /// @param known what was found there before; it is the answer if it is still so
  /// This object must outlive the await.
  fs::call<lookup_answer> look_up(std::string relative, bool slash, std::shared_ptr<const resource> known) const;

  /// The same on this thread, as far as the kernel has all of it in memory. Nothing if it has not, or if the disk would
  /// have to be read: small files that are not known, listings.
  std::optional<lookup_answer> look_up_here(const std::string& relative, bool slash,
                                            const std::shared_ptr<const resource>& known) const;

  std::vector<std::string> roots;
  static_files_options options;
  const mime_types& types;

 private:
  lookup_answer look_at_roots(const std::string& relative, bool slash, const std::shared_ptr<const resource>& known,
                              const fs::stop_flag* stop) const;
};

}  // namespace weir::net::http::detail
