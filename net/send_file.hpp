// net/send_file.hpp: one file as the answer to a request, as Express's `res.sendFile`
// (https://expressjs.com/en/api.html#res.sendFile). Rests on the same look-up and the same answers as static_files,
// which is for whole directories and keeps small files in memory.
#pragma once

#include <weir/net/static_files.hpp>

#include <chrono>
#include <string>

namespace weir::net::http {

struct send_file_options {
  /// The directory that the path is below. Needed for a path that a client has a say in: what leads out of it is
  /// refused, and the two policies hold. Empty: the path is the handler's own and leads wherever it leads.
  std::string root = {};
  dotfile_policy dotfiles = dotfile_policy::ignore;
  symlink_policy symlinks = symlink_policy::inside;
  etag_kind etag = etag_kind::weak;
  bool last_modified = true;
  bool ranges = true;  ///< false: Range is ignored and Accept-Ranges says none
  range_options range = {};
  std::chrono::seconds max_age = std::chrono::seconds(0);  ///< "public, max-age=N" in Cache-Control
  bool immutable = false;
  bool precompressed = false;         ///< whether "name.br", "name.zst" or "name.gz" is sent to who accepts it
  const mime_types* types = nullptr;  ///< null: mime_types::system()
  std::string default_type = "application/octet-stream";  ///< of names without a type; empty: none is sent
};

/// Answers the request with a file: 200, 206 and 304 with its type and validators; 400, 403, 404, 412, 416, 500 and 503
/// in plain text where it cannot be (`res.status()` tells). HEAD gets the head; any other method is answered like GET,
/// but whole. Headers that the handler has set (Content-Type, Cache-Control, ETag, Last-Modified, Content-Disposition
/// ...) stay.
///
/// The file is read as static_files does it; nothing is kept in memory from one answer to the next. Cancelling it
/// closes the file, and with it the connection if a part of the answer has gone. The worker of the request; both
/// outlive it.
/// @param path as the system takes it, not as a URL has it: "%20" is three characters. A directory is 404.
/// @throws weir::error ERR_HTTP_CONTENT_LENGTH_MISMATCH for a file that has become shorter meanwhile, and as
///         response::send
task<void> send_file(const request& req, response& res, std::string path, send_file_options options = {});

}  // namespace weir::net::http
