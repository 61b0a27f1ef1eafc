// net/static_lookup.cpp: opening below a root, looking for siblings and index files, reading what is small, listing.
#include <weir/net/static_lookup.hpp>

#include <weir/core/error.hpp>
#include <weir/fs/error.hpp>
#include <weir/io/descriptor.hpp>
#include <weir/net/http_writer.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <utility>

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace weir::net::http::detail {
namespace {

// A file that has changed so short a time ago may change again without its times telling: the clock of file systems
// ticks every 4 to 10 ms.
constexpr auto clock_tick = std::chrono::milliseconds(20);
// How often a file that changes while it is read is read again.
constexpr int attempts = 3;
constexpr int file_flags = O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;  // a fifo's other end is not waited for

constexpr std::array<std::string_view, 3> codings = {"br", "zstd", "gzip"};

// ---- opening

// Component by component, without following any link: for systems that have no openat2.
int open_without_links(int root, const std::string& path, int flags) noexcept {
  io::descriptor at;
  int from = root;
  std::string component;
  for (std::size_t begin = 0;;) {
    const auto slash = path.find('/', begin);
    component = path.substr(begin, slash - begin);
    const bool last = slash == std::string::npos;
    const int how = last ? flags | O_NOFOLLOW : O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    const long opened = fs::detail::without_signals([&] { return ::openat(from, component.c_str(), how); });
    if (opened < 0 || last) return static_cast<int>(opened);
    at = io::descriptor(static_cast<int>(opened));
    from = at.get();
    begin = slash + 1;
  }
}

// Which disk a look may wait for.
enum class patience : std::uint8_t {
  none,  ///< only what the kernel has in memory (RESOLVE_CACHED): for a worker
  any,
};

// @return a descriptor, or a negative errno; -EAGAIN without patience where that takes some
int open_below(int root, const std::string& path, int flags, symlink_policy links, patience wait) noexcept {
  open_how how = {};
  how.flags = static_cast<std::uint64_t>(flags);
  if (links != symlink_policy::always) how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
  if (links == symlink_policy::never) how.resolve |= RESOLVE_NO_SYMLINKS;
  if (wait == patience::none) how.resolve |= RESOLVE_CACHED;
  if (how.resolve == 0) {
    return static_cast<int>(fs::detail::without_signals([&] { return ::openat(root, path.c_str(), flags); }));
  }
  const int most = wait == patience::none ? 1 : attempts;
  long opened = -EAGAIN;  // with patience: a rename on the way that the kernel could not settle
  for (int i = 0; i < most && opened == -EAGAIN; ++i) {
    opened = fs::detail::without_signals([&] { return ::syscall(SYS_openat2, root, path.c_str(), &how, sizeof how); });
  }
  const bool unknown = opened == -ENOSYS || opened == -EPERM || opened == -EINVAL;
  if (wait == patience::none && unknown) return -EAGAIN;
  if (opened != -ENOSYS && opened != -EPERM) return static_cast<int>(opened);
  return open_without_links(root, path, flags);
}

int status_of(int errno_value) noexcept {
  switch (errno_value) {
    case EACCES:
    case EPERM:
    case ELOOP:
    case EXDEV: return 403;
    case EMFILE:
    case ENFILE:
    case ENOMEM:
    case EAGAIN: return 503;
    case ENOENT:
    case ENOTDIR:
    case ENAMETOOLONG:
    case ENXIO:  // a socket
    case ENODEV:
    case EINVAL: return 404;
    default: return 500;
  }
}

// ---- versions

bool is_same(const fs::file_stat& a, const fs::file_stat& b) noexcept {
  return a.dev == b.dev && a.ino == b.ino && a.size == b.size && a.mtime == b.mtime && a.ctime == b.ctime;
}

std::string etag_of(const fs::file_stat& stat, etag_kind kind) {
  const auto changed = stat.mtime.time_since_epoch();
  switch (kind) {
    case etag_kind::none: break;
    case etag_kind::weak:
      return fmt::format("W/\"{:x}-{:x}\"", stat.size, std::chrono::floor<std::chrono::milliseconds>(changed).count());
    case etag_kind::strong:
      return fmt::format("\"{:x}-{:x}-{:x}-{:x}\"", stat.size, changed.count(), stat.ino,
                         stat.ctime.time_since_epoch().count());
  }
  return {};
}

void describe(version_of_file& of, etag_kind kind) {
  of.modified = std::chrono::floor<std::chrono::seconds>(of.stat.mtime);
  of.last_modified = format_http_date(std::chrono::system_clock::time_point(
      std::chrono::duration_cast<std::chrono::system_clock::duration>(of.stat.mtime.time_since_epoch())));
  of.etag = etag_of(of.stat, kind);
}

// Whether all of the file is in `content`; else it is open still.
bool read_into_memory(version_of_file& of) {
  for (int i = 0; i < attempts; ++i) {
    of.content.resize(of.stat.size);
    std::size_t have = 0;
    while (have < of.content.size()) {
      const long count = fs::detail::without_signals([&] {
        return ::pread(of.file.descriptor(), of.content.data() + have, of.content.size() - have,
                       static_cast<off_t>(have));
      });
      if (count <= 0) break;
      have += static_cast<std::size_t>(count);
    }
    const auto after = fs::detail::stat_descriptor(of.file.descriptor(), {});
    if (!after) break;
    const bool whole = have == of.content.size() && is_same(*after, of.stat);
    of.stat = *after;
    if (whole) return true;
  }
  of.content.clear();
  return false;
}

bool is_settled(const fs::file_stat& stat) noexcept {
  const auto now = std::chrono::time_point_cast<std::chrono::nanoseconds>(std::chrono::system_clock::now());
  return now - std::max(stat.mtime, stat.ctime) > clock_tick;
}

// ---- paths

// A slash in a name was escaped: ".." may stand between such ones as well.
bool climbs(std::string_view name) {
  while (true) {
    const auto slash = name.find('/');
    if (name.substr(0, slash) == "..") return true;
    if (slash == std::string_view::npos) return false;
    name.remove_prefix(slash + 1);
  }
}

// ---- listings

void append_escaped(std::string& to, std::string_view text) {
  for (const char c : text) {
    switch (c) {
      case '&': to += "&amp;"; break;
      case '<': to += "&lt;"; break;
      case '>': to += "&gt;"; break;
      case '"': to += "&quot;"; break;
      case '\'': to += "&#39;"; break;
      default: to += c;
    }
  }
}

void append_encoded(std::string& to, std::string_view name) {
  constexpr std::string_view plain = "-._~";
  for (const char c : name) {
    const bool alphanumeric = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    if (alphanumeric || plain.find(c) != std::string_view::npos)
      to += c;
    else
      to += fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
}

struct listed {
  std::string name;
  std::uint64_t size = 0;
  bool is_directory = false;
};

std::string page_of(std::string_view path, const std::vector<listed>& entries, bool all) {
  std::string title = "Index of /";
  append_escaped(title, path);
  auto page = fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><title>{0}</title>\n"
      "<style>body{{font-family:sans-serif;margin:2em}}td{{padding:.1em 1em .1em 0}}"
      "td+td{{text-align:right;font-variant-numeric:tabular-nums}}</style></head>\n<body><h1>{0}</h1>\n<table>\n",
      title);
  if (!path.empty()) page += "<tr><td><a href=\"../\">../</a></td><td></td></tr>\n";
  for (const auto& each : entries) {
    const std::string_view slash = each.is_directory ? "/" : "";
    page += "<tr><td><a href=\"./";  // so that no name is taken for a scheme
    append_encoded(page, each.name);
    page += fmt::format("{}\">", slash);
    append_escaped(page, each.name);
    page += fmt::format("{}</a></td><td>{}</td></tr>\n", slash,
                        each.is_directory ? std::string() : std::to_string(each.size));
  }
  if (!all) page += "<tr><td>There are more.</td><td></td></tr>\n";
  return page + "</table></body>\n</html>\n";
}

// ---- one look

// The status of a look that would have had to wait for the disk.
constexpr int would_wait = 0;

// A root with one path below it. Lives for one call.
class look {
 public:
  look(const static_lookup& in, int root, const fs::stop_flag* stop) : in_(in), root_(root), stop_(stop) {}

  lookup_answer at(const std::string& relative, bool slash, const std::shared_ptr<const resource>& known) {
    version_of_file found;
    const int status = open(relative.empty() ? "." : relative, found);
    if (status == 404 && !slash) return with_extension(relative, known);
    if (status != 200) return {.status = status};
    if (found.stat.is_file()) return slash ? lookup_answer() : complete(relative, std::move(found), known);
    if (!found.stat.is_directory()) return {};
    if (!slash) return {.status = in_.options.redirect ? 301 : 404};
    for (const auto& name : in_.options.index) {
      auto path = relative.empty() ? name : fmt::format("{}/{}", relative, name);
      version_of_file index;
      const int outcome = open(path, index);
      if (outcome == 200 && index.stat.is_file()) return complete(path, std::move(index), known);
      if (outcome != 200 && outcome != 404) return {.status = outcome};
    }
    if (!in_.options.listing) return {};
    return wait() == patience::none ? lookup_answer{.status = would_wait} : list(relative, found.file.descriptor());
  }

 private:
  patience wait() const { return stop_ == nullptr ? patience::none : patience::any; }

  int open(const std::string& path, version_of_file& into) {
    const int opened = open_below(root_, path, file_flags, in_.options.symlinks, wait());
    if (opened == -EAGAIN && wait() == patience::none) return would_wait;
    if (opened < 0) return status_of(-opened);
    into.file = fs::file(io::descriptor(opened));
    auto stat = fs::detail::stat_descriptor(opened, {});
    if (!stat) return 500;
    into.stat = *stat;
    return 200;
  }

  // "a" may stand for "a.html". @return 404 where it does not
  lookup_answer with_extension(const std::string& relative, const std::shared_ptr<const resource>& known) {
    if (relative.find('.', relative.rfind('/') + 1) != std::string::npos) return {};
    for (const auto& extension : in_.options.extensions) {
      auto path = fmt::format("{}.{}", relative, extension);
      version_of_file found;
      const int status = open(path, found);
      if (status == 200 && found.stat.is_file()) return complete(path, std::move(found), known);
      if (status != 200 && status != 404) return {.status = status};
    }
    return {};
  }

  // Gives an open file its siblings and its headers, and reads what is small.
  lookup_answer complete(const std::string& path, version_of_file file, const std::shared_ptr<const resource>& known) {
    const auto& options = in_.options;
    auto made = std::make_shared<resource>();
    const auto named = in_.types.of_name(path);
    const auto bare = named.empty() ? std::string_view(options.default_type) : named;
    made->versions.push_back(std::move(file));
    if (options.precompressed && is_compressible(bare) && !add_siblings(path, made->versions)) {
      return {.status = would_wait};
    }
    if (known && is_unchanged(*made, *known)) return {.status = 200, .what = known};
    if (is_small(*made)) {
      if (wait() == patience::none) return {.status = would_wait};
      read_all(*made);
    }
    for (auto& each : made->versions) describe(each, options.etag);
    made->type = with_charset(bare);
    made->cache_control = cache_control(path, made->type);
    return {.status = 200, .what = std::move(made)};
  }

  // @return false if that takes patience
  bool add_siblings(const std::string& path, std::vector<version_of_file>& versions) {
    for (std::size_t i = 0; i < codings.size(); ++i) {
      version_of_file sibling;
      const int status = open(path + std::string(sibling_suffixes[i]), sibling);
      if (status == would_wait) return false;
      if (status != 200) continue;
      if (!sibling.stat.is_file() || sibling.stat.mtime < versions.front().stat.mtime) continue;
      sibling.coding = codings[i];
      versions.push_back(std::move(sibling));
    }
    return true;
  }

  static bool is_unchanged(const resource& now, const resource& before) {
    return std::equal(now.versions.begin(), now.versions.end(), before.versions.begin(), before.versions.end(),
                      [](const version_of_file& a, const version_of_file& b) {
                        return a.coding == b.coding && is_same(a.stat, b.stat);
                      });
  }

  bool is_small(const resource& made) const {
    const auto& options = in_.options;
    if (options.cache_bytes == 0 || options.cache_entries == 0) return false;
    return std::all_of(made.versions.begin(), made.versions.end(),
                       [&](const auto& each) { return each.stat.size <= options.cache_file; });
  }

  static void read_all(resource& made) {
    made.may_be_kept = true;
    for (auto& each : made.versions) {
      each.in_memory = read_into_memory(each);
      if (each.in_memory) each.file = fs::file();
      made.may_be_kept = made.may_be_kept && each.in_memory && is_settled(each.stat);
    }
  }

  std::string cache_control(std::string_view path, std::string_view type) const {
    const auto& options = in_.options;
    if (options.cache_control) return options.cache_control(path, type);
    return fmt::format("public, max-age={}{}", options.max_age.count(), options.immutable ? ", immutable" : "");
  }

  // Of an entry: its size, and whether it is a directory; nothing for what would not be served.
  std::optional<listed> entry(const std::string& relative, std::string_view name) const {
    const auto path = relative.empty() ? std::string(name) : fmt::format("{}/{}", relative, name);
    const io::descriptor at(open_below(root_, path, O_PATH | O_CLOEXEC, in_.options.symlinks, patience::any));
    if (at.get() < 0) return {};
    const auto stat = fs::detail::stat_descriptor(at.get(), {});
    if (!stat || (!stat->is_file() && !stat->is_directory())) return {};
    return listed{std::string(name), stat->size, stat->is_directory()};
  }

  lookup_answer list(const std::string& relative, int directory) const {
    io::descriptor own(static_cast<int>(
        fs::detail::without_signals([&] { return ::openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC); })));
    if (own.get() < 0) return {.status = 403};
    const std::unique_ptr<DIR, int (*)(DIR*)> open(::fdopendir(own.get()), ::closedir);
    if (!open) return {.status = 503};
    static_cast<void>(own.release());  // it is the stream's now
    std::vector<listed> entries;
    bool all = true;
    while (const auto* next = ::readdir(open.get())) {
      const std::string_view name = next->d_name;
      if (name == "." || name == "..") continue;
      if (name.starts_with('.') && in_.options.dotfiles != dotfile_policy::allow) continue;
      if (stop_ != nullptr && stop_->requested()) break;
      all = entries.size() < in_.options.max_listing;
      if (!all) break;
      if (auto made = entry(relative, name)) entries.push_back(std::move(*made));
    }
    std::sort(entries.begin(), entries.end(), [](const listed& a, const listed& b) {
      return a.is_directory != b.is_directory ? a.is_directory : a.name < b.name;
    });
    return {.status = 200, .what = {}, .page = page_of(relative, entries, all)};
  }

  const static_lookup& in_;
  int root_;
  const fs::stop_flag* stop_;  // null: there is no patience
};

}  // namespace

void path_builder::add(std::string_view name, bool slash_follows) {
  made_.slash = slash_follows || name == ".";
  if (name.empty() || name == ".") return;
  climbs_ = climbs_ || climbs(name);
  has_slash_ = has_slash_ || name.find('/') != std::string_view::npos;
  hidden_ = hidden_ || name.front() == '.';
  if (!made_.relative.empty()) made_.relative += '/';
  made_.relative += name;
}

wanted_path path_builder::settle(dotfile_policy dotfiles) && {
  made_.slash = made_.slash || made_.relative.empty();
  if (climbs_)
    made_.status = 403;
  else if (has_slash_)
    made_.status = 404;  // no name has one
  else if (hidden_ && dotfiles != dotfile_policy::allow)
    made_.status = dotfiles == dotfile_policy::deny ? 403 : 404;
  return std::move(made_);
}

std::size_t resource::memory() const noexcept {
  std::size_t all = type.size() + cache_control.size();
  for (const auto& each : versions) all += sizeof(each) + each.content.size();
  return all;
}

static_lookup::static_lookup(std::vector<std::string> given, static_files_options all)
    : roots(std::move(given)),
      options(std::move(all)),
      types(options.types != nullptr ? *options.types : mime_types::system()) {}

void static_lookup::check() const {
  if (roots.empty()) throw error(errc::err_invalid_arg_value, "static_files: there is no root");
  const auto& prefix = options.prefix;
  if (!prefix.empty() && (prefix.front() != '/' || prefix.back() == '/')) {
    throw error(errc::err_invalid_arg_value,
                fmt::format("static_files: the prefix '{}' has to begin with a slash and not to end with one", prefix));
  }
  for (const auto& root : roots) fs::open(root, {O_PATH | O_DIRECTORY}).now();
}

// @param stop null: without patience
lookup_answer static_lookup::look_at_roots(const std::string& relative, bool slash,
                                           const std::shared_ptr<const resource>& known,
                                           const fs::stop_flag* stop) const {
  const auto wait = stop == nullptr ? patience::none : patience::any;
  lookup_answer answer;
  for (const auto& root : roots) {
    const int opened = open_below(AT_FDCWD, root, O_PATH | O_DIRECTORY | O_CLOEXEC, symlink_policy::always, wait);
    if (opened == -EAGAIN && wait == patience::none) return {.status = would_wait};
    if (opened < 0) {
      answer.status = status_of(-opened);
      if (answer.status == 404) continue;
      return answer;
    }
    const io::descriptor at(opened);
    answer = look(*this, at.get(), stop).at(relative, slash, known);
    if (answer.status != 404) break;
  }
  return answer;
}

std::optional<lookup_answer> static_lookup::look_up_here(const std::string& relative, bool slash,
                                                         const std::shared_ptr<const resource>& known) const {
  auto answer = look_at_roots(relative, slash, known, nullptr);
  return answer.status == would_wait ? std::nullopt : std::optional(std::move(answer));
}

fs::call<lookup_answer> static_lookup::look_up(std::string relative, bool slash,
                                               std::shared_ptr<const resource> known) const {
  return {"openat2",
          [this, relative = std::move(relative), slash, known = std::move(known)](const fs::stop_flag& stop)
              -> result<lookup_answer> { return look_at_roots(relative, slash, known, &stop); }};
}

}  // namespace weir::net::http::detail
