// net/mime_type.cpp: the built-in table and the reader of mime.types(5).
#include <weir/net/mime_type.hpp>

#include <weir/core/error.hpp>
#include <weir/fs/contents.hpp>
#include <weir/net/http_chars.hpp>
#include <weir/net/http_message.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstddef>

namespace weir::net::http {
namespace {

struct known_type {
  std::string_view type;
  std::string_view extensions;
};

// Those of https://www.iana.org/assignments/media-types that a web server meets. They come first: a page whose script
// has another type than the standard's (RFC 9239) does not run.
constexpr auto built_in = std::to_array<known_type>({
    {"application/atom+xml", "atom"},
    {"application/epub+zip", "epub"},
    {"application/gzip", "gz tgz"},
    {"application/json", "json map"},
    {"application/ld+json", "jsonld"},
    {"application/manifest+json", "webmanifest"},
    {"application/msword", "doc"},
    {"application/octet-stream", "bin deb dll dmg exe img iso so"},
    {"application/pdf", "pdf"},
    {"application/rss+xml", "rss"},
    {"application/rtf", "rtf"},
    {"application/vnd.ms-excel", "xls"},
    {"application/vnd.ms-fontobject", "eot"},
    {"application/vnd.ms-powerpoint", "ppt"},
    {"application/vnd.oasis.opendocument.presentation", "odp"},
    {"application/vnd.oasis.opendocument.spreadsheet", "ods"},
    {"application/vnd.oasis.opendocument.text", "odt"},
    {"application/vnd.openxmlformats-officedocument.presentationml.presentation", "pptx"},
    {"application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", "xlsx"},
    {"application/vnd.openxmlformats-officedocument.wordprocessingml.document", "docx"},
    {"application/wasm", "wasm"},
    {"application/x-7z-compressed", "7z"},
    {"application/x-bzip2", "bz2"},
    {"application/x-tar", "tar"},
    {"application/x-xz", "xz"},
    {"application/xhtml+xml", "xhtml"},
    {"application/xml", "xml xsl"},
    {"application/yaml", "yaml yml"},
    {"application/zip", "zip"},
    {"application/zstd", "zst"},
    {"audio/aac", "aac"},
    {"audio/flac", "flac"},
    {"audio/midi", "mid midi"},
    {"audio/mp4", "m4a"},
    {"audio/mpeg", "mp3"},
    {"audio/ogg", "oga ogg opus"},
    {"audio/wav", "wav"},
    {"font/otf", "otf"},
    {"font/ttf", "ttf"},
    {"font/woff", "woff"},
    {"font/woff2", "woff2"},
    {"image/avif", "avif"},
    {"image/bmp", "bmp"},
    {"image/gif", "gif"},
    {"image/jpeg", "jpeg jpg"},
    {"image/jxl", "jxl"},
    {"image/png", "png"},
    {"image/svg+xml", "svg"},
    {"image/tiff", "tif tiff"},
    {"image/vnd.microsoft.icon", "ico"},
    {"image/webp", "webp"},
    {"text/calendar", "ics"},
    {"text/css", "css"},
    {"text/csv", "csv"},
    {"text/html", "htm html"},
    {"text/javascript", "js mjs"},
    {"text/markdown", "markdown md"},
    {"text/plain", "conf log text txt"},
    {"text/vcard", "vcf"},
    {"text/vtt", "vtt"},
    {"video/mp2t", "ts"},
    {"video/mp4", "m4v mp4"},
    {"video/mpeg", "mpeg mpg"},
    {"video/ogg", "ogv"},
    {"video/quicktime", "mov"},
    {"video/webm", "webm"},
    {"video/x-matroska", "mkv"},
    {"video/x-msvideo", "avi"},
});

constexpr std::size_t most_of_table = 4 * 1024 * 1024;  // bytes of /etc/mime.types that are read; Debian's has 72 KiB
constexpr std::string_view blanks = " \t\r";

std::string lower(std::string_view text) {
  std::string made(text);
  std::transform(made.begin(), made.end(), made.begin(), chars::lower);
  return made;
}

// The type without its parameters.
std::string_view essence(std::string_view type) {
  type = type.substr(0, type.find(';'));
  while (!type.empty() && chars::is_blank(type.back())) type.remove_suffix(1);
  return type;
}

bool is_type(std::string_view type) {
  const auto bare = essence(type);
  const auto slash = bare.find('/');
  return slash != std::string_view::npos && is_token(bare.substr(0, slash)) && is_token(bare.substr(slash + 1)) &&
         is_field_value(type);
}

std::string_view take_word(std::string_view& line) {
  line.remove_prefix(std::min(line.find_first_not_of(blanks), line.size()));
  const auto word = line.substr(0, line.find_first_of(blanks));
  line.remove_prefix(word.size());
  return word;
}

bool is_text(std::string_view bare) {
  constexpr auto others =
      std::to_array<std::string_view>({"application/json", "application/javascript", "application/xml",
                                       "application/yaml", "application/manifest+json", "image/svg+xml"});
  return bare.starts_with("text/") || bare.ends_with("+xml") || bare.ends_with("+json") ||
         std::find(others.begin(), others.end(), bare) != others.end();
}

}  // namespace

mime_types::mime_types() {
  for (const auto& [type, extensions] : built_in) {
    auto left = extensions;
    for (auto word = take_word(left); !word.empty(); word = take_word(left)) types_.emplace(word, type);
  }
}

const mime_types& mime_types::system() {
  static const mime_types all = [] {
    mime_types made;
    fs::read_options options;
    options.limit = most_of_table;
    if (auto text = fs::read_file("/etc/mime.types", options).try_now()) made.add_missing(text->text());
    return made;
  }();
  return all;
}

void mime_types::add_missing(std::string_view text) {
  while (!text.empty()) {
    auto line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    line = line.substr(0, line.find('#'));
    const auto type = take_word(line);
    if (!is_type(type)) continue;
    for (auto word = take_word(line); !word.empty(); word = take_word(line)) types_.emplace(lower(word), type);
  }
}

void mime_types::set(std::string_view extension, std::string_view type) {
  if (!is_type(type)) throw error(errc::err_invalid_arg_value, fmt::format("'{}' is no media type", type));
  types_.insert_or_assign(lower(extension), std::string(type));
}

std::string_view mime_types::of_extension(std::string_view extension) const {
  auto found = types_.find(extension);
  if (found == types_.end()) found = types_.find(lower(extension));
  return found == types_.end() ? std::string_view() : found->second;
}

std::string_view mime_types::of_name(std::string_view path) const {
  const auto name = path.substr(path.rfind('/') + 1);
  const auto dot = name.rfind('.');
  return dot == std::string_view::npos || dot == 0 ? std::string_view() : of_extension(name.substr(dot + 1));
}

std::string with_charset(std::string_view type) {
  const auto bare = essence(type);
  const bool says = type.find("charset=") != std::string_view::npos;
  const bool is_plain = bare.starts_with("text/") || bare == "application/javascript";
  return says || !is_plain ? std::string(type) : fmt::format("{}; charset=utf-8", type);
}

bool is_compressible(std::string_view type) noexcept {
  constexpr auto others = std::to_array<std::string_view>({"application/wasm", "application/rtf", "application/x-tar",
                                                           "application/vnd.ms-fontobject", "font/otf", "font/ttf",
                                                           "image/bmp", "image/vnd.microsoft.icon", "audio/wav"});
  const auto bare = essence(type);
  return is_text(bare) || std::find(others.begin(), others.end(), bare) != others.end();
}

}  // namespace weir::net::http
