// net/static_files.hpp: files of a directory as answers to GET and HEAD: types, validators, conditions, ranges,
// compressed siblings, index files, listings, and a cache of small files in memory. RFC 9110; in reach what Express's
// serve-static does (https://expressjs.com/en/resources/middleware/serve-static.html). Rests on net/http_server and on
// the room fs; what touches the disk is done off the workers. Promises that nothing outside of its roots is served,
// that no answer names a path of this machine, and that a body never differs in length from what its head said without
// the connection being cut.
#pragma once

#include <weir/net/http_range.hpp>
#include <weir/net/http_server.hpp>
#include <weir/net/mime_type.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace weir::net::http {

/// What becomes of names that begin with a dot, at any place in a path.
enum class dotfile_policy : std::uint8_t {
  ignore,  ///< 404, as if they were not there
  deny,    ///< 403
  allow,
};

/// Which symbolic links are followed.
enum class symlink_policy : std::uint8_t {
  inside,  ///< relative ones that stay below the root, checked by the kernel (openat2(2), RESOLVE_BENEATH); else 403
  never,   ///< none: 403
  always,  ///< all, wherever they lead
};

/// What is said in ETag. Contents are not read for it.
enum class etag_kind : std::uint8_t {
  none,
  /// `W/"size-milliseconds"`, as Express has it: the same on all machines that have a copy of the file with its time. A
  /// client never resumes a download by it (If-Range, If-Match).
  weak,
  /// Of size, inode and both times, to the nanosecond: true unless two changes fall into one tick of the file system's
  /// clock.
  strong,
};

struct static_files_options {
  std::string prefix = {};                          ///< "/assets": what is stripped from a target; others are not there
  std::vector<std::string> index = {"index.html"};  ///< served for a directory: the first that is there
  bool redirect = true;                             ///< of "/dir" to "/dir/"; false: 404
  /// Without dots: what is tried behind a name without one that is not there. {"html"}: "/about" is about.html.
  std::vector<std::string> extensions = {};
  bool listing = false;             ///< HTML of what a directory without index has
  std::size_t max_listing = 10000;  ///< entries
  dotfile_policy dotfiles = dotfile_policy::ignore;
  symlink_policy symlinks = symlink_policy::inside;
  etag_kind etag = etag_kind::weak;
  bool last_modified = true;
  bool ranges = true;  ///< false: Range is ignored and Accept-Ranges says none
  range_options range = {};
  /// "public, max-age=N" in Cache-Control, with "immutable" if set.
  std::chrono::seconds max_age = std::chrono::seconds(0);
  bool immutable = false;
  /// Cache-Control by the path below the root and the type; empty: none is sent. Takes the place of the two above. It
  /// is called on any thread, by several at once.
  std::function<std::string(std::string_view path, std::string_view type)> cache_control = {};
  /// Of a file whose type is worth compressing, "name.br", "name.zst" or "name.gz" beside it is sent to who accepts it,
  /// unless it is older than the file.
  bool precompressed = true;
  const mime_types* types = nullptr;                        ///< which outlives this; null: mime_types::system()
  std::string default_type = "application/octet-stream";    ///< of names without a type; empty: none is sent
  std::size_t max_path = 4096;                              ///< bytes of a path as sent; longer ones get 414
  std::size_t cache_bytes = std::size_t{32} * 1024 * 1024;  ///< of files in memory; 0: no cache
  std::size_t cache_entries = 4096;
  std::size_t cache_file = std::size_t{256} * 1024;  ///< larger files are read for each answer
  /// How long a file in memory is taken to be as on the disk, without a look. 0: a look for each request;
  /// milliseconds::max(): none ever, for use with `forget` or `follow_changes`.
  std::chrono::milliseconds revalidate = std::chrono::seconds(1);
  /// Bytes that answers from the disk may hold in all; beyond it they go in pieces of 64 KiB instead of 512 KiB.
  std::size_t send_memory = std::size_t{64} * 1024 * 1024;
  /// Called for each 200, 206 and 304 when all other headers are set.
  std::function<void(const request&, response&)> on_headers = {};
};

struct static_files_statistics {
  std::uint64_t from_memory = 0;  ///< requests answered without a system call for the file
  std::uint64_t looked_up = 0;    ///< those for which the disk was asked
  std::size_t entries = 0;        ///< in the cache
  std::size_t bytes = 0;          ///< that it holds
};

/// A handler for `server` that serves the files below one or several directories. Copies are the same: they share
/// settings and cache. May be used on all workers at once.
///
/// Paths are decoded once, "%2e%2e" is "..", "%252e" a file whose name begins with '%'; a backslash is a character like
/// any other. Answers: 200, 206, 301 (a directory without its slash), 304, 400 (bad escape, NUL), 403 (a component
/// "..", no permission, a link that the policy refuses), 404, 405 with Allow, 412, 414, 416, 503 (out of descriptors).
/// Headers that are set already stay as they are: ETag, Last-Modified, Cache-Control, Accept-Ranges, Content-Type.
/// Ranges are of what is sent: of the compressed sibling where that is chosen, which has a tag of its own.
/// A file that becomes shorter while it is sent has the connection cut; one that is replaced is sent as it was.
/// Cancelling it, which a client that leaves does, closes the file.
class static_files {
 public:
  /// @param root which is looked up anew for each file: it may be a link that is switched
  /// @throws weir::error ENOENT, ENOTDIR, EACCES for the root; ERR_INVALID_ARG_VALUE for no root, or for a prefix that
  ///         does not begin with '/' or ends with it
  explicit static_files(std::string root, static_files_options options = {});
  /// The first root that has what is asked for answers.
  explicit static_files(std::vector<std::string> roots, static_files_options options = {});

  /// Answers the request, whatever it is.
  task<void> operator()(request& req, response& res) const;

  /// Answers if there is something to serve. Unless there is (400 to 405 and 414), the response is as it was, for the
  /// next handler. @return whether it was answered
  task<bool> try_serve(request& req, response& res) const;

  /// Drops from memory what was read for a path, decoded and relative to the root ("css/a.css"), and for its
  /// directory's index. Any thread.
  void forget(std::string_view path) const;
  void forget_all() const;

  /// Watches the roots and forgets what changes there, until it is cancelled: to run beside the server, with a long
  /// `revalidate`. Changes are seen as soon as the kernel tells of them. @throws weir::error EMFILE
  task<void> follow_changes() const;

  /// Any thread.
  static_files_statistics statistics() const;

  /// @cond internal
  struct state;
  /// @endcond

 private:
  std::shared_ptr<state> state_;
};

}  // namespace weir::net::http
