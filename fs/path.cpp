// fs/path.cpp: how paths are joined, resolved and taken apart. Everything that normalises writes components into one
// piece of scratch memory whose size is known beforehand, so that the answer is the only thing that is allocated.
// Where Node's answer is not what one would expect, it is kept, and the place says so.
#include <weir/fs/glob_pattern.hpp>
#include <weir/fs/path.hpp>

#include <weir/core/error.hpp>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>
#include <memory>
#include <optional>

#include <unistd.h>

#include <fmt/format.h>

namespace weir::path {
namespace {

using std::string_view;
using parts_view = std::span<const string_view>;

struct posix_rules {
  static constexpr char separator = '/';
  static constexpr bool separates(char c) noexcept { return c == '/'; }
};

struct win32_rules {
  static constexpr char separator = '\\';
  static constexpr bool separates(char c) noexcept { return c == '/' || c == '\\'; }
};

/// Room for a text that is written once and whose length has a bound; near unless it is long.
class scratch {
 public:
  explicit scratch(std::size_t bound) {
    if (bound > sizeof(near_)) far_ = std::make_unique_for_overwrite<char[]>(bound);
    begin_ = far_ ? far_.get() : near_;
    end_ = begin_;
  }
  scratch(const scratch&) = delete;
  scratch& operator=(const scratch&) = delete;

  void put(char c) noexcept { *end_++ = c; }
  void put(string_view text) noexcept {
    if (text.empty()) return;
    std::memcpy(end_, text.data(), text.size());
    end_ += text.size();
  }
  char* end() const noexcept { return end_; }
  void end_at(char* where) noexcept { end_ = where; }
  std::size_t size() const noexcept { return static_cast<std::size_t>(end_ - begin_); }
  string_view text() const noexcept { return {begin_, size()}; }
  std::string to_string() const { return std::string(begin_, size()); }

 private:
  char* begin_;
  char* end_;
  std::unique_ptr<char[]> far_;
  char near_[512];
};

/// Writes the components of one text after the other, without the empty ones and `.`, and takes one back for `..`.
template <class Rules>
class components {
 public:
  components(scratch& out, bool may_climb) noexcept
      : out_(out), floor_(out.end()), fixed_(floor_), may_climb_(may_climb) {}

  void add(string_view text) noexcept {
    const char* at = text.data();
    const char* const end = at + text.size();
    while (at != end) {
      const char* stop = at;
      while (stop != end && !Rules::separates(*stop)) ++stop;
      take({at, static_cast<std::size_t>(stop - at)});
      at = stop == end ? end : stop + 1;
    }
  }

  bool empty() const noexcept { return out_.end() == floor_; }

 private:
  void take(string_view component) noexcept {
    if (component.empty() || component == ".") return;
    if (component == "..") return climb();
    push(component);
  }

  void push(string_view component) noexcept {
    if (!empty()) out_.put(Rules::separator);
    out_.put(component);
  }

  void climb() noexcept {
    char* at = out_.end();
    if (at == fixed_) {
      if (!may_climb_) return;
      push("..");
      fixed_ = out_.end();
      return;
    }
    do --at;
    while (at != fixed_ && *at != Rules::separator);
    out_.end_at(at);
  }

  scratch& out_;
  char* floor_;  // where the first component starts
  char* fixed_;  // behind the `..` that lead out
  bool may_climb_;
};

/// The working directory, asked for when first needed.
class working_directory {
 public:
  string_view text() {
    if (text_.empty()) ask();
    return text_;
  }

 private:
  void ask() {
    if (::getcwd(near_, sizeof(near_)) != nullptr) {
      text_ = near_;
      return;
    }
    for (std::size_t room = 2 * sizeof(near_); errno == ERANGE; room *= 2) {
      far_.resize(room);
      if (::getcwd(far_.data(), far_.size()) != nullptr) {
        far_.resize(far_.find('\0'));
        text_ = far_;
        return;
      }
    }
    throw os_error(errno, "uv_cwd");
  }

  string_view text_;
  std::string far_;
  char near_[PATH_MAX];
};

std::size_t total(parts_view parts) noexcept {
  std::size_t sum = parts.size();
  for (string_view part : parts) sum += part.size();
  return sum;
}

constexpr bool is_letter(char c) noexcept { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
constexpr char lower(char c) noexcept { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; }

bool same_but_for_case(string_view a, string_view b) noexcept {
  return std::ranges::equal(a, b, [](char x, char y) { return lower(x) == lower(y); });
}

/// The last component at or after `from`: separators at the end are no part of it.
template <class Rules>
string_view last_component(string_view path, std::size_t from) noexcept {
  std::size_t end = path.size();
  while (end > from && Rules::separates(path[end - 1])) --end;
  std::size_t begin = end;
  while (begin > from && !Rules::separates(path[begin - 1])) --begin;
  // One of nothing but separators is empty and starts where the search ended.
  return end == from ? path.substr(from, 0) : path.substr(begin, end - begin);
}

std::size_t offset_of(string_view path, string_view component) noexcept {
  return static_cast<std::size_t>(component.data() - path.data());
}

/// Where the extension starts in a component, or its size.
std::size_t extension_at(string_view component) noexcept {
  const std::size_t dot = component.rfind('.');
  if (dot == string_view::npos || dot == 0 || component == "..") return component.size();
  return dot;
}

template <class Rules>
std::string basename_from(string_view path, string_view suffix, std::size_t from) {
  const string_view component = last_component<Rules>(path, from);
  if (suffix.empty() || suffix.size() > path.size()) return std::string(component);
  if (suffix == path) return {};
  // Node: a suffix that has all of the component and more takes what follows the component with it.
  if (suffix.size() > component.size() && suffix.ends_with(component))
    return std::string(path.substr(offset_of(path, component)));
  if (suffix.size() >= component.size() || !component.ends_with(suffix)) return std::string(component);
  return std::string(component.substr(0, component.size() - suffix.size()));
}

std::string format_with(const parsed& parts, char separator) {
  const std::string& dir = parts.dir.empty() ? parts.root : parts.dir;
  std::string made;
  made.reserve(dir.size() + parts.base.size() + parts.name.size() + parts.ext.size() + 2);
  made += dir;
  if (!dir.empty() && dir != parts.root) made += separator;
  if (!parts.base.empty()) {
    made += parts.base;
    return made;
  }
  made += parts.name;
  if (!parts.ext.empty() && parts.ext.front() != '.') made += '.';
  made += parts.ext;
  return made;
}

template <class Rules>
std::vector<std::string> split_behind(std::string root, string_view rest) {
  std::vector<std::string> made;
  if (!root.empty()) made.push_back(std::move(root));
  for (std::size_t at = 0; at < rest.size();) {
    std::size_t end = at;
    while (end < rest.size() && !Rules::separates(rest[end])) ++end;
    const string_view component = rest.substr(at, end - at);
    if (!component.empty() && component != ".") made.emplace_back(component);
    at = end + 1;
  }
  return made;
}

[[noreturn]] void refuse(string_view why, string_view untrusted) {
  std::string shown;
  for (char c : untrusted.substr(0, 256)) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      shown += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    } else {
      shown += c;
    }
  }
  throw error(errc::err_invalid_arg_value, fmt::format("Path traversal attempt detected: {} in '{}'", why, shown),
              {.path = untrusted});
}

/// Calls `check(component)` for each; refuses what no system should be given.
template <class Rules, class Check>
void inspect(string_view untrusted, Check&& check) {
  if (untrusted.find('\0') != string_view::npos) refuse("a NUL byte", untrusted);
  if (!untrusted.empty() && Rules::separates(untrusted.front())) refuse("an absolute path", untrusted);
  for (std::size_t at = 0; at < untrusted.size();) {
    std::size_t end = at;
    while (end < untrusted.size() && !Rules::separates(untrusted[end])) ++end;
    const string_view component = untrusted.substr(at, end - at);
    if (component == "..") refuse("a component '..'", untrusted);
    check(component);
    at = end + 1;
  }
}

/// Whether a resolved `path` is a resolved `root` or below it.
template <class Same>
bool is_below(string_view root, string_view path, char separator, Same&& same) {
  if (root.ends_with(separator)) root.remove_suffix(1);
  if (path.size() < root.size() || !same(root, path.substr(0, root.size()))) return false;
  return path.size() == root.size() || path[root.size()] == separator;
}

bool node_glob(string_view path, string_view pattern, bool windows) {
  return fs::glob_pattern(pattern, {.backslash_separates = true, .windows = windows}).matches(path);
}

}  // namespace

namespace posix {
namespace {

/// Components of the parts, absolute as `join` or `resolve` found them.
std::string finish(parts_view parts, bool absolute, bool trailing) {
  scratch out(total(parts) + 2);
  if (absolute) out.put('/');
  components<posix_rules> made(out, !absolute);
  for (string_view part : parts) made.add(part);
  if (made.empty()) {
    if (absolute) return "/";
    return trailing ? "./" : ".";
  }
  if (trailing) out.put('/');
  return out.to_string();
}

/// The parts from the last absolute one on.
parts_view from_last_absolute(parts_view parts) noexcept {
  for (std::size_t i = parts.size(); i-- > 0;)
    if (is_absolute(parts[i])) return parts.subspan(i);
  return parts;
}

void resolve_into(scratch& out, parts_view parts, string_view directory) {
  if (is_absolute(directory.empty() ? parts.front() : directory)) out.put('/');
  components<posix_rules> made(out, out.size() == 0);
  made.add(directory);
  for (string_view part : parts) made.add(part);
  if (out.size() == 0) out.put('.');
}

bool needs_directory(parts_view parts) noexcept { return parts.empty() || !is_absolute(parts.front()); }

}  // namespace

std::string join(parts_view parts) {
  string_view first, last;
  for (string_view part : parts) {
    if (part.empty()) continue;
    if (first.empty()) first = part;
    last = part;
  }
  if (first.empty()) return ".";
  return finish(parts, is_absolute(first), last.back() == '/');
}

std::string join(std::initializer_list<string_view> parts) { return join(parts_view(parts.begin(), parts.size())); }

std::string normalize(string_view path) { return join(parts_view(&path, 1)); }

std::string resolve(parts_view parts) {
  parts = from_last_absolute(parts);
  working_directory here;
  const string_view directory = needs_directory(parts) ? here.text() : string_view();
  scratch out(total(parts) + directory.size() + 3);
  resolve_into(out, parts, directory);
  return out.to_string();
}

std::string resolve(std::initializer_list<string_view> parts) {
  return resolve(parts_view(parts.begin(), parts.size()));
}

namespace {

/// Two paths resolved, for whatever compares them.
class resolved_pair {
 public:
  resolved_pair(string_view a, string_view b, working_directory& here)
      : resolved_pair(a, b, is_absolute(a) && is_absolute(b) ? string_view() : here.text()) {}

  scratch from, to;

 private:
  resolved_pair(string_view a, string_view b, string_view directory)
      : from(a.size() + directory.size() + 4), to(b.size() + directory.size() + 4) {
    resolve_into(from, {&a, 1}, is_absolute(a) ? string_view() : directory);
    resolve_into(to, {&b, 1}, is_absolute(b) ? string_view() : directory);
  }
};

}  // namespace

std::string relative(string_view from, string_view to) {
  if (from == to) return {};
  working_directory here;
  const resolved_pair both(from, to, here);
  // Without the root's slash both are components with separators between; `shared` ends behind the common ones.
  const string_view a = both.from.text().substr(1), b = both.to.text().substr(1);
  const std::size_t common = static_cast<std::size_t>(std::ranges::mismatch(a, b).in1 - a.begin());
  const auto ends_at = [&](string_view text) { return common == text.size() || text[common] == '/'; };
  std::size_t shared = common;
  if (!ends_at(a) || !ends_at(b)) {
    const std::size_t slash = common == 0 ? string_view::npos : a.rfind('/', common - 1);
    shared = slash == string_view::npos ? 0 : slash;
  }
  string_view up = a.substr(shared), down = b.substr(shared);
  if (up.starts_with('/')) up.remove_prefix(1);
  if (down.starts_with('/')) down.remove_prefix(1);

  const auto levels = up.empty() ? 0 : 1 + static_cast<std::size_t>(std::ranges::count(up, '/'));
  std::string made;
  made.reserve(3 * levels + down.size());
  for (std::size_t i = 0; i < levels; ++i) made += i == 0 ? ".." : "/..";
  if (!down.empty() && levels != 0) made += '/';
  made += down;
  return made;
}

std::string dirname(string_view path) {
  if (path.empty()) return ".";
  const string_view component = last_component<posix_rules>(path, 1);
  std::size_t end = offset_of(path, component);
  if (end <= 1 || component.empty()) return is_absolute(path) ? "/" : ".";
  --end;
  // Node: "//" is kept where it is all that is left.
  if (end == 1 && is_absolute(path)) return "//";
  return std::string(path.substr(0, end));
}

std::string basename(string_view path, string_view suffix) { return basename_from<posix_rules>(path, suffix, 0); }

std::string extname(string_view path) {
  const string_view component = last_component<posix_rules>(path, 0);
  return std::string(component.substr(extension_at(component)));
}

parsed parse(string_view path) {
  parsed made;
  if (path.empty()) return made;
  const std::size_t start = is_absolute(path) ? 1 : 0;
  made.root = path.substr(0, start);
  const string_view component = last_component<posix_rules>(path, start);
  // Node: right behind the root, `..` counts as a name `.` with the extension `.`.
  const bool odd = component == ".." && start == 1 && offset_of(path, component) == 1;
  const std::size_t dot = odd ? 1 : extension_at(component);
  made.base = component;
  made.name = component.substr(0, dot);
  made.ext = component.substr(dot);
  const std::size_t at = component.empty() ? 0 : offset_of(path, component);
  made.dir = at > start ? path.substr(0, at - 1) : path.substr(0, start);
  return made;
}

std::string format(const parsed& parts) { return format_with(parts, '/'); }
bool is_absolute(string_view path) noexcept { return path.starts_with('/'); }
std::string to_namespaced_path(string_view path) { return std::string(path); }
bool matches_glob(string_view path, string_view pattern) { return node_glob(path, pattern, false); }

std::vector<std::string> split(string_view path) {
  return split_behind<posix_rules>(is_absolute(path) ? "/" : "", path);
}

std::string safe_join(string_view root, string_view untrusted) {
  inspect<posix_rules>(untrusted, [](string_view) {});
  return join({root, untrusted});
}

bool is_inside(string_view root, string_view path) {
  working_directory here;
  const resolved_pair both(root, path, here);
  return is_below(both.from.text(), both.to.text(), '/', [](string_view a, string_view b) { return a == b; });
}

}  // namespace posix

namespace win32 {
namespace {

constexpr auto separates = win32_rules::separates;

bool starts_with_drive(string_view path) noexcept { return path.size() >= 2 && is_letter(path[0]) && path[1] == ':'; }

/// A share's name at the start of a path: \\server\share.
struct share_name {
  string_view server;
  string_view share;
  std::size_t end;  // behind `share`

  bool is_device() const noexcept { return server == "." || server == "?"; }
};

std::optional<share_name> share_at_start(string_view path) noexcept {
  if (path.size() < 2 || !separates(path[0]) || !separates(path[1])) return std::nullopt;
  const auto run = [&](std::size_t at, bool of_separators) {
    while (at < path.size() && separates(path[at]) == of_separators) ++at;
    return at;
  };
  const std::size_t server_end = run(2, false);
  const std::size_t share_begin = run(server_end, true);
  const std::size_t share_end = run(share_begin, false);
  if (server_end == 2 || share_begin == path.size()) return std::nullopt;
  return share_name{path.substr(2, server_end - 2), path.substr(share_begin, share_end - share_begin), share_end};
}

/// What precedes the components: `C:`, `\\server\share`, `\\?`, or a device's name with its colon.
struct device_name {
  string_view drive;   // or the device with its colon
  string_view server;  // `.` and `?` have no share
  string_view share;

  bool empty() const noexcept { return drive.empty() && server.empty(); }
  std::size_t size() const noexcept { return drive.size() + server.size() + share.size() + 3; }
  void write(scratch& out) const noexcept {
    out.put(drive);
    if (server.empty()) return;
    out.put("\\\\");
    out.put(server);
    if (share.empty()) return;
    out.put('\\');
    out.put(share);
  }
  bool same_as(const device_name& other) const noexcept {
    return same_but_for_case(drive, other.drive) && same_but_for_case(server, other.server) &&
           same_but_for_case(share, other.share);
  }
};

/// The start of a path: its device, where its components begin, and whether they begin at the device's root.
struct path_start {
  device_name device = {};
  std::size_t end = 0;
  bool absolute = false;
};

path_start start_of(string_view path) noexcept {
  path_start made;
  if (path.empty()) return made;
  if (separates(path[0])) {
    made.absolute = true;
    made.end = 1;
    const auto share = share_at_start(path);
    if (!share) return made;
    made.device.server = share->server;
    if (share->is_device()) {
      made.end = 4;
    } else {
      made.device.share = share->share;
      made.end = share->end;
    }
  } else if (starts_with_drive(path)) {
    made.device.drive = path.substr(0, 2);
    made.absolute = path.size() > 2 && separates(path[2]);
    made.end = made.absolute ? 3 : 2;
  }
  return made;
}

/// CON, NUL, COM1 and so on: names that are devices in every directory.
bool is_reserved(string_view name) noexcept {
  static constexpr string_view plain[] = {"con", "prn", "aux", "nul"};
  if (std::ranges::any_of(plain, [name](string_view one) { return same_but_for_case(name, one); })) return true;
  if (name.size() < 4) return false;
  const string_view kind = name.substr(0, 3), number = name.substr(3);
  if (!same_but_for_case(kind, "com") && !same_but_for_case(kind, "lpt")) return false;
  if (number.size() == 1) return number[0] >= '1' && number[0] <= '9';
  return number == "\u00b9" || number == "\u00b2" || number == "\u00b3";
}

/// Whether a relative path's normal form could be read as one with a drive (CVE-2024-36139).
bool could_gain_a_device(string_view path, string_view tail) noexcept {
  if (path.find(':') == string_view::npos) return false;
  if (starts_with_drive(tail)) return true;
  for (std::size_t colon = path.find(':'); colon != string_view::npos; colon = path.find(':', colon + 1))
    if (colon + 1 == path.size() || separates(path[colon + 1])) return true;
  return false;
}

/// Node takes all but the last character for the device where there is no colon.
string_view before_colon(string_view path, std::size_t colon) noexcept {
  return path.substr(0, colon == string_view::npos ? path.size() - 1 : colon);
}

path_start start_for_normalize(string_view path) noexcept {
  path_start start = start_of(path);
  if (start.absolute || !start.device.empty()) return start;
  const std::size_t colon = path.find(':');
  if (colon == string_view::npos || colon == 0 || !is_reserved(path.substr(0, colon))) return start;
  start.device.drive = path.substr(0, colon + 1);
  start.end = colon + 1;
  return start;
}

}  // namespace

std::string normalize(string_view path) {
  if (path.empty()) return ".";
  if (path.size() == 1) return path == "/" ? "\\" : std::string(path);
  const path_start start = start_for_normalize(path);

  // The prefix is decided on by the tail, so there is room for it in front: `.\`, the device, a separator.
  scratch tail(path.size() + 2);
  components<win32_rules> made(tail, !start.absolute);
  if (start.end < path.size()) made.add(path.substr(start.end));
  if (made.empty() && !start.absolute) tail.put('.');
  if (tail.size() > 0 && separates(path.back())) tail.put('\\');

  scratch out(tail.size() + start.device.size() + 4);
  const bool relative = !start.absolute && start.device.empty();
  const bool guarded =
      (relative && could_gain_a_device(path, tail.text())) || is_reserved(before_colon(path, path.find(':')));
  if (guarded) out.put(".\\");
  start.device.write(out);
  if (start.absolute && !guarded) out.put('\\');
  out.put(tail.text());
  return out.to_string();
}

std::string join(parts_view parts) {
  scratch joined(total(parts) + 1);
  string_view first;
  for (string_view part : parts) {
    if (part.empty()) continue;
    if (joined.size() > 0) joined.put('\\');
    if (first.empty()) first = part;
    joined.put(part);
  }
  if (first.empty()) return ".";

  // Parts that meet in two separators do not make a share; a first part that has just two of them does.
  string_view text = joined.text();
  const bool share = first.size() > 2 && separates(first[0]) && separates(first[1]) && !separates(first[2]);
  if (!share) {
    std::size_t slashes = 0;
    while (slashes < text.size() && separates(text[slashes])) ++slashes;
    if (slashes >= 2) text.remove_prefix(slashes - 1);
  }
  return normalize(text);
}

std::string join(std::initializer_list<string_view> parts) { return join(parts_view(parts.begin(), parts.size())); }

namespace {

/// Collects the parts of a path from the last to the first until there is a device and its root is reached.
class resolver {
 public:
  explicit resolver(std::size_t parts) : tails_(near_) {
    if (parts + 1 <= std::size(near_)) return;
    far_ = std::make_unique<string_view[]>(parts + 1);
    tails_ = far_.get();
  }

  /// @return whether nothing before it can matter any more
  bool take(string_view path) noexcept {
    if (path.empty()) return false;
    const path_start start = start_of(path);
    if (!start.device.empty()) {
      if (!device.empty() && !start.device.same_as(device)) return false;
      if (device.empty()) device = start.device;
    }
    if (!absolute) {
      tails_[count_++] = path.substr(start.end);
      size_ += path.size() + 1;
      absolute = start.absolute;
    }
    return absolute && !device.empty();
  }

  void take_directory(working_directory& here) {
    if (absolute) return;
    const string_view directory = here.text();
    const bool elsewhere = !device.empty() && !same_but_for_case(directory.substr(0, 2), device.drive);
    if (elsewhere && directory.size() > 2 && directory[2] == '\\') {
      absolute = true;
      return;
    }
    take(directory);
  }

  std::size_t bound() const noexcept { return device.size() + size_ + 4; }

  void write(scratch& out) const noexcept {
    device.write(out);
    if (absolute) out.put('\\');
    components<win32_rules> made(out, !absolute);
    for (std::size_t i = count_; i-- > 0;) made.add(tails_[i]);
    if (out.size() == 0) out.put('.');
  }

  device_name device;
  bool absolute = false;

 private:
  string_view near_[16];
  std::unique_ptr<string_view[]> far_;
  string_view* tails_;
  std::size_t count_ = 0;
  std::size_t size_ = 0;
};

void collect(resolver& made, parts_view parts, working_directory& here) {
  for (std::size_t i = parts.size(); i-- > 0;)
    if (made.take(parts[i])) return;
  made.take_directory(here);
}

/// One path resolved, where nothing but its text is wanted.
class resolved {
 public:
  resolved(string_view path, working_directory& here) : resolved(collected(path, here)) {}
  string_view text() const noexcept { return out_.text(); }

 private:
  struct collected {
    collected(string_view path, working_directory& here) : made(1) { collect(made, {&path, 1}, here); }
    resolver made;
  };
  explicit resolved(const collected& from) : out_(from.made.bound()) { from.made.write(out_); }

  scratch out_;
};

/// A resolved path without the backslashes around it: those of a share, and the one of a root.
struct trimmed {
  explicit trimmed(string_view text) noexcept : begin(0), end(text.size()) {
    while (begin < end && text[begin] == '\\') ++begin;
    while (end > begin + 1 && text[end - 1] == '\\') --end;
    size = end - begin;
  }
  std::size_t begin, end, size;
};

/// Where the ways of two trimmed paths part, as Node counts: at a separator, or at 0; nowhere if they share nothing.
/// `common` characters are the same. Node takes two characters in common for a drive, whatever they are.
std::optional<std::size_t> parting(string_view from, string_view to, std::size_t common) noexcept {
  if (common == to.size() && from.size() > common) {
    if (from[common] == '\\') return common;
    if (common == 2) return 3;
  }
  const std::size_t last = common == 0 ? string_view::npos : to.rfind('\\', common - 1);
  if (last != string_view::npos) return last;
  if (common == from.size() || common == to.size()) return 0;
  return std::nullopt;
}

}  // namespace

std::string resolve(parts_view parts) {
  working_directory here;
  resolver made(parts.size());
  collect(made, parts, here);
  scratch out(made.bound());
  made.write(out);
  return out.to_string();
}

std::string resolve(std::initializer_list<string_view> parts) {
  return resolve(parts_view(parts.begin(), parts.size()));
}

std::string relative(string_view from, string_view to) {
  if (from == to) return {};
  working_directory here;
  const resolved from_full(from, here), to_full(to, here);
  const string_view a = from_full.text(), b = to_full.text();
  if (same_but_for_case(a, b)) return {};

  const trimmed start(a), target(b);
  const string_view up = a.substr(start.begin, start.size), down = b.substr(target.begin, target.size);
  const auto differ = std::ranges::mismatch(up, down, [](char x, char y) { return lower(x) == lower(y); });
  const auto common = static_cast<std::size_t>(differ.in1 - up.begin());
  if (common == up.size() && down.size() > common && (down[common] == '\\' || common == 2))
    return std::string(b.substr(target.begin + common + (down[common] == '\\' ? 1 : 0)));
  const auto parted = parting(up, down, common);
  if (!parted) return std::string(b);

  std::size_t levels = 0;
  for (std::size_t i = *parted + 1; i <= up.size(); ++i)
    if (i == up.size() || up[i] == '\\') ++levels;
  string_view rest = *parted < down.size() ? down.substr(*parted) : string_view();
  if (levels == 0 && rest.starts_with('\\')) rest.remove_prefix(1);
  std::string made;
  made.reserve(3 * levels + rest.size());
  for (std::size_t i = 0; i < levels; ++i) made += i == 0 ? ".." : "\\..";
  made += rest;
  return made;
}

std::string dirname(string_view path) {
  if (path.empty()) return ".";
  if (path.size() == 1) return separates(path[0]) ? std::string(path) : ".";
  std::size_t root = 0;
  if (separates(path[0])) {
    root = 1;
    if (const auto share = share_at_start(path)) {
      if (share->end == path.size()) return std::string(path);
      root = share->end + 1;
    }
  } else if (starts_with_drive(path)) {
    root = path.size() > 2 && separates(path[2]) ? 3 : 2;
  }
  const string_view component = last_component<win32_rules>(path, root);
  const std::size_t at = offset_of(path, component);
  if (component.empty() || at == root) return root == 0 ? "." : std::string(path.substr(0, root));
  return std::string(path.substr(0, at - 1));
}

std::string basename(string_view path, string_view suffix) {
  return basename_from<win32_rules>(path, suffix, starts_with_drive(path) ? 2 : 0);
}

std::string extname(string_view path) {
  const string_view component = last_component<win32_rules>(path, starts_with_drive(path) ? 2 : 0);
  return std::string(component.substr(extension_at(component)));
}

namespace {

/// How much of a path `parse` takes for its root.
std::size_t root_length(string_view path) noexcept {
  if (path.empty()) return 0;
  if (separates(path[0])) {
    const auto share = share_at_start(path);
    return share ? std::min(share->end + 1, path.size()) : 1;
  }
  if (!starts_with_drive(path)) return 0;
  return path.size() > 2 && separates(path[2]) ? 3 : 2;
}

}  // namespace

parsed parse(string_view path) {
  parsed made;
  const std::size_t start = root_length(path);
  made.root = path.substr(0, start);
  const string_view component = last_component<win32_rules>(path, start);
  const std::size_t dot = extension_at(component);
  made.base = component;
  made.name = component.substr(0, dot);
  made.ext = component.substr(dot);
  const std::size_t at = component.empty() ? start : offset_of(path, component);
  made.dir = at > start ? path.substr(0, at - 1) : path.substr(0, start);
  return made;
}

std::string format(const parsed& parts) { return format_with(parts, '\\'); }

bool is_absolute(string_view path) noexcept {
  if (path.empty()) return false;
  return separates(path[0]) || (starts_with_drive(path) && path.size() > 2 && separates(path[2]));
}

std::string to_namespaced_path(string_view path) {
  if (path.empty()) return {};
  working_directory here;
  const resolved full(path, here);
  const string_view text = full.text();
  if (text.size() <= 2) return std::string(path);
  if (text.starts_with("\\\\") && text[2] != '?' && text[2] != '.')
    return std::string("\\\\?\\UNC\\").append(text.substr(2));
  if (starts_with_drive(text) && text[2] == '\\') return std::string("\\\\?\\").append(text);
  return std::string(text);
}

bool matches_glob(string_view path, string_view pattern) { return node_glob(path, pattern, true); }

std::vector<std::string> split(string_view path) {
  const std::size_t root = root_length(path);
  return split_behind<win32_rules>(convert_separators(path.substr(0, root), flavor::win32), path.substr(root));
}

std::string safe_join(string_view root, string_view untrusted) {
  inspect<win32_rules>(untrusted, [untrusted](string_view component) {
    if (component.find(':') != string_view::npos) refuse("a colon", untrusted);
    if (component.empty() || component == ".") return;
    if (component.back() == '.' || component.back() == ' ') refuse("a dot or space at the end", untrusted);
    string_view device = component.substr(0, component.find('.'));
    while (device.ends_with(' ')) device.remove_suffix(1);
    if (is_reserved(device)) refuse("a device's name", untrusted);
  });
  return join({root, untrusted});
}

bool is_inside(string_view root, string_view path) {
  working_directory here;
  const resolved a(root, here), b(path, here);
  return is_below(a.text(), b.text(), '\\', same_but_for_case);
}

}  // namespace win32

std::string convert_separators(string_view path, flavor to) {
  std::string made(path);
  std::ranges::replace(made, to == flavor::win32 ? '/' : '\\', to == flavor::win32 ? '\\' : '/');
  return made;
}

std::string translate(string_view path, flavor to, char drive) {
  const bool has_drive = path.size() >= 2 && is_letter(path[0]) && path[1] == ':';
  if (to == flavor::posix) return convert_separators(has_drive ? path.substr(2) : path, to);
  std::string made = convert_separators(path, to);
  if (made.starts_with('\\') && !made.starts_with("\\\\")) made.insert(0, {drive, ':'});
  return made;
}

}  // namespace weir::path
