// net/mime_type.hpp: which media type a file's name stands for. Rests on a table of what browsers depend on, and on the
// system's /etc/mime.types (Debian: media-types) for the rest, where there is one.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>

namespace weir::net::http {

/// Extensions and their media types. Look-ups ignore the case of an extension. A const object may be used by any number
/// of threads.
class mime_types {
 public:
  /// The built-in table alone: the types of the web, of pictures, sound, film, fonts, archives and documents.
  mime_types();

  /// The built-in table, and what /etc/mime.types knows beyond it. Read once, at the first call; any thread.
  static const mime_types& system();

  /// Adds what a text in the form of mime.types(5) says ("text/html html htm" a line, # begins a comment), for
  /// extensions that are not there yet. Lines that are no such thing are passed over.
  void add_missing(std::string_view text);

  /// Says what an extension, without its dot, stands for, in place of what it was.
  /// @throws weir::error ERR_INVALID_ARG_VALUE unless `type` is a media type: "text/plain", with parameters or without
  void set(std::string_view extension, std::string_view type);

  /// The type of an extension without its dot; empty if none is known.
  std::string_view of_extension(std::string_view extension) const;

  /// The type for the name of a file, by what follows its last dot; empty if none is known. A name that only begins
  /// with a dot (".profile") has no extension.
  std::string_view of_name(std::string_view path) const;

  std::size_t size() const noexcept { return types_.size(); }

 private:
  struct hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const noexcept { return std::hash<std::string_view>()(text); }
  };

  std::unordered_map<std::string, std::string, hash, std::equal_to<>> types_;
};

/// A type as it goes into Content-Type: text and scripts with "; charset=utf-8" unless they name one themselves. JSON
/// is UTF-8 by its nature, and XML says in its first line what it is. Nothing for nothing.
std::string with_charset(std::string_view type);

/// Whether files of that type shrink when they are compressed: text of all kinds, and formats that have no compression
/// of their own.
bool is_compressible(std::string_view type) noexcept;

}  // namespace weir::net::http
