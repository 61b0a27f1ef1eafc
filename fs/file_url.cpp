// fs/file_url.cpp: escaping, and as much of the WHATWG URL parser as a file URL needs.
#include <weir/fs/file_url.hpp>

#include <weir/core/error.hpp>

#include <algorithm>
#include <optional>
#include <vector>

#include <fmt/format.h>

namespace weir::path {
namespace {

using std::string_view;

bool is_letter(char c) noexcept { return (c | 0x20) >= 'a' && (c | 0x20) <= 'z'; }
bool is_digit(char c) noexcept { return c >= '0' && c <= '9'; }
char lower(char c) noexcept { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; }

/// What stays itself in the path of a URL that Node makes.
bool is_plain(char c) noexcept {
  return c > 0x20 && c < 0x7f && string_view("%\"#?[\\]^|~<>`{}").find(c) == string_view::npos;
}

void append_escaped(std::string& to, string_view path) {
  for (char c : path) {
    if (is_plain(c)) {
      to += c;
    } else {
      fmt::format_to(std::back_inserter(to), "%{:02X}", static_cast<unsigned char>(c));
    }
  }
}

std::optional<int> hex(char c) noexcept {
  if (is_digit(c)) return c - '0';
  if (lower(c) >= 'a' && lower(c) <= 'f') return lower(c) - 'a' + 10;
  return std::nullopt;
}

/// "." and "..", each dot perhaps escaped: 1 or 2 dots; 0 for anything else.
int dots_of(string_view segment) noexcept {
  int dots = 0;
  while (!segment.empty()) {
    const bool escaped = segment.size() >= 3 && segment.starts_with("%2") && lower(segment[2]) == 'e';
    if (segment.front() != '.' && !escaped) return 0;
    if (++dots > 2) return 0;
    segment.remove_prefix(escaped ? 3 : 1);
  }
  return dots;
}

bool is_drive(string_view segment) noexcept {
  return segment.size() == 2 && is_letter(segment[0]) && (segment[1] == ':' || segment[1] == '|');
}

/// The path of a URL with its dots resolved; it starts with a slash. A drive is not left.
std::string without_dots(string_view path) {
  std::vector<std::string> segments;
  for (;;) {
    if (path.starts_with('/')) path.remove_prefix(1);
    const std::size_t end = path.find('/');
    const string_view segment = path.substr(0, end);
    const bool last = end == string_view::npos;
    const int dots = dots_of(segment);
    if (dots == 2 && !segments.empty() && !(segments.size() == 1 && is_drive(segments[0]))) segments.pop_back();
    if (dots == 0) {
      segments.emplace_back(segment);
      if (segments.size() == 1 && is_drive(segment)) segments[0][1] = ':';
    } else if (last) {
      segments.emplace_back();
    }
    if (last) break;
    path.remove_prefix(end);
  }
  std::string made;
  for (const std::string& segment : segments) made.append(1, '/').append(segment);
  return made;
}

bool is_server_name(string_view name) noexcept {
  return !name.empty() && std::ranges::all_of(name, [](char c) {
    return is_letter(c) || is_digit(c) || c == '-' || c == '_' || c == '.';
  });
}

std::string lowered(string_view text) {
  std::string made(text);
  std::ranges::transform(made, made.begin(), lower);
  return made;
}

error bad_share(string_view path, string_view why) {
  return {errc::err_invalid_arg_value,
          fmt::format("The argument 'path' is invalid: {}. Received '{}'", why, path),
          {.path = path}};
}

std::string share_url(string_view path) {
  constexpr string_view extended = "\\\\?\\UNC\\";
  const string_view rest = path.substr(path.starts_with(extended) ? extended.size() : 2);
  const std::size_t end = rest.find('\\');
  if (end == string_view::npos) throw bad_share(path, "Missing UNC resource path");
  if (end == 0) throw bad_share(path, "Empty UNC servername");
  std::string server = lowered(rest.substr(0, end));
  if (!is_server_name(server)) throw bad_share(path, "UNC servername with characters that a host cannot have");
  if (server == "localhost") server.clear();
  const std::string location = convert_separators(rest.substr(end), flavor::posix);
  std::string escaped;
  append_escaped(escaped, location);
  return "file://" + server + without_dots(escaped);
}

/// What `new URL` leaves out of its input: spaces and controls around it, tabs and line ends anywhere.
std::string trimmed(string_view url) {
  const auto is_space = [](char c) { return c >= 0 && c <= ' '; };
  while (!url.empty() && is_space(url.front())) url.remove_prefix(1);
  while (!url.empty() && is_space(url.back())) url.remove_suffix(1);
  std::string made(url);
  std::erase_if(made, [](char c) { return c == '\t' || c == '\n' || c == '\r'; });
  return made;
}

struct file_location {
  std::string host;
  std::string path;  // still escaped, with slashes
};

/// Behind "file:".
file_location locate(std::string rest) {
  rest.resize(std::min(rest.find_first_of("?#"), rest.size()));
  std::ranges::replace(rest, '\\', '/');
  file_location made;
  string_view path = rest;
  if (path.starts_with("//")) {
    path.remove_prefix(2);
    const string_view host = path.substr(0, path.find('/'));
    if (!is_drive(host)) {
      made.host = lowered(host);
      path.remove_prefix(host.size());
    }
  }
  if (made.host == "localhost") made.host.clear();
  made.path = without_dots(path);
  return made;
}

file_location parse_url(string_view url) {
  const std::string text = trimmed(url);
  const std::size_t colon = text.find(':');
  const auto scheme_character = [](char c) { return is_letter(c) || is_digit(c) || c == '+' || c == '-' || c == '.'; };
  if (colon == std::string::npos || colon == 0 || !is_letter(text[0]) ||
      !std::all_of(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(colon), scheme_character))
    throw error(errc::err_invalid_url, "Invalid URL", {.path = url});
  if (lowered(string_view(text).substr(0, colon)) != "file")
    throw error(errc::err_invalid_url_scheme, "The URL must be of scheme file", {.path = url});
  return locate(text.substr(colon + 1));
}

error bad_path(string_view why, string_view url) {
  return {errc::err_invalid_file_url_path, fmt::format("File URL path {}", why), {.path = url}};
}

std::string unescape(string_view path, bool windows, string_view url) {
  std::string made;
  made.reserve(path.size());
  for (std::size_t i = 0; i < path.size(); ++i) {
    if (path[i] != '%') {
      made += path[i];
      continue;
    }
    const auto high = i + 2 < path.size() ? hex(path[i + 1]) : std::nullopt;
    const auto low = i + 2 < path.size() ? hex(path[i + 2]) : std::nullopt;
    if (!high || !low) throw bad_path("must not include malformed escapes", url);
    const char c = static_cast<char>(*high * 16 + *low);
    if (windows && (c == '/' || c == '\\')) throw bad_path("must not include encoded \\ or / characters", url);
    if (c == '/') throw bad_path("must not include encoded / characters", url);
    made += c;
    i += 2;
  }
  return made;
}

}  // namespace

std::string to_file_url(string_view path, flavor of) {
  const bool windows = of == flavor::win32;
  if (windows && path.starts_with("\\\\")) return share_url(path);
  std::string full = windows ? win32::resolve(path) : posix::resolve(path);
  if (windows) full = convert_separators(full, flavor::posix);
  const bool slash = path.ends_with('/') || (windows && path.ends_with('\\'));
  if (slash && !full.ends_with('/')) full += '/';
  std::string made = full.starts_with('/') ? "file://" : "file:///";
  made.reserve(made.size() + full.size() + full.size() / 8);
  append_escaped(made, full);
  return made;
}

std::string from_file_url(string_view url, flavor of) {
  const file_location found = parse_url(url);
  if (of == flavor::posix) {
    if (!found.host.empty())
      throw error(errc::err_invalid_file_url_host, "File URL host must be \"localhost\" or empty on linux",
                  {.path = url});
    return unescape(found.path, false, url);
  }
  const std::string path = unescape(convert_separators(found.path, flavor::win32), true, url);
  if (!found.host.empty()) {
    if (!is_server_name(found.host))
      throw error(errc::err_invalid_url, fmt::format("Invalid URL: host '{}'", found.host), {.path = url});
    return "\\\\" + found.host + path;
  }
  if (path.size() < 3 || !is_letter(path[1]) || path[2] != ':') throw bad_path("must be absolute", url);
  return path.substr(1);
}

}  // namespace weir::path
