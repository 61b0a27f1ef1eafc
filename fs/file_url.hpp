// fs/file_url.hpp: paths as file URLs and back, as Node's `url.pathToFileURL` and `url.fileURLToPath` do it. Text only,
// no file is touched; it knows of URLs what RFC 8089 and the WHATWG standard say of the scheme `file`.
#pragma once

#include <weir/fs/path.hpp>

#include <string>
#include <string_view>

namespace weir::path {

/// "file:///tmp/a%20b" for "/tmp/a b". A relative path is resolved first; a slash at the end stays. Every character
/// that a URL would take for something else is escaped, and so is every byte beyond ASCII, whatever the encoding of
/// names. On Windows `C:\a` is "file:///C:/a" and `\\server\share\a` "file://server/share/a".
/// @throws weir::error ERR_INVALID_ARG_VALUE for a share without a server or a path, or whose server's name is not of
///   letters, digits, `-`, `_` and `.` (Node would convert one of another script); what `resolve` throws
std::string to_file_url(std::string_view path, flavor of = flavor::posix);

/// The path of a file URL: "/tmp/a b" for "file:///tmp/a%20b?x#y". Escapes become bytes, of UTF-8 or not.
/// @throws weir::error ERR_INVALID_URL if it is no URL, ERR_INVALID_URL_SCHEME if of another scheme than `file`,
///   ERR_INVALID_FILE_URL_HOST for a host other than "localhost" (not on Windows, where it is a share's server),
///   ERR_INVALID_FILE_URL_PATH for an escaped separator, an escape that is none, and on Windows a path without a drive
std::string from_file_url(std::string_view url, flavor of = flavor::posix);

}  // namespace weir::path
