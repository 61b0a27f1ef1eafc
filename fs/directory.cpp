#include <weir/fs/directory.hpp>

#include <weir/fs/error.hpp>

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <string_view>

namespace weir::fs {
namespace {

constexpr std::size_t least_block = 512;                       // the longest entry takes 280
constexpr std::size_t listing_block = std::size_t{64} * 1024;  // of a whole listing

// Names carry no slash, and `above` may end in one.
std::string below(std::string_view above, std::string_view name) {
  if (above.empty() || above == ".") return std::string(name);
  std::string joined;
  joined.reserve(above.size() + 1 + name.size());
  joined += above;
  if (above.back() != '/') joined += '/';
  joined += name;
  return joined;
}

dirent64& entry_at(std::byte* block, std::size_t at) noexcept { return *reinterpret_cast<dirent64*>(block + at); }

bool is_dots(const char* name) noexcept {
  return name[0] == '.' && (name[1] == '\0' || (name[1] == '.' && name[2] == '\0'));
}

result<io::descriptor> open_directory(const char* operation, const std::string& path, int more = 0) {
  const int flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NONBLOCK | more;
  auto opened = detail::on_path(operation, path, [&] { return ::open(path.c_str(), flags); });
  if (!opened) return opened.failure();
  return io::descriptor(static_cast<int>(*opened));
}

/// Calls `each(entry)` for what is in `path`.
template <class F>
result<void> list_one(const std::string& path, int flags, detail::entry_block& block, const stop_flag& stop, F&& each) {
  auto opened = open_directory("scandir", path, flags);
  if (!opened) return opened.failure();
  for (;;) {
    if (stop.requested()) return failure(cancelled());
    const long filled = block.fill(opened->get());
    if (filled < 0) return os_error(static_cast<int>(-filled), "scandir", path);
    if (filled == 0) return {};
    while (block.more()) each(block.take());
  }
}

/// The same with what is below; `each(directory, relative, entry)`, with the directory as the caller would name it and
/// relative to `path`.
template <class F>
result<void> list(const std::string& path, bool recursive, const stop_flag& stop, F&& each) {
  detail::entry_block block(listing_block);
  std::vector<std::string> waiting = {""};
  for (bool top = true; !waiting.empty(); top = false) {
    const std::string relative = std::move(waiting.back());
    waiting.pop_back();
    const std::string directory = top ? path : below(path, relative);
    // What was a directory may be a link by now, and is not followed.
    auto done = list_one(directory, top ? 0 : O_NOFOLLOW, block, stop, [&](const detail::entry_block::entry& found) {
      if (recursive && found.type == file_type::directory) waiting.push_back(below(relative, found.name));
      each(directory, relative, found);
    });
    if (done) continue;
    const auto code = done.failure().code();
    const bool gone = code == std::errc::no_such_file_or_directory || code == std::errc::not_a_directory;
    if (top || !gone) return done;
  }
  return {};
}

// Where the directory that the first `size` characters are in ends: "a//b" is in "a", "b" and "/" are in nothing.
std::size_t parent_of(std::string_view path, std::size_t size) noexcept {
  while (size > 0 && path[size - 1] != '/') --size;
  while (size > 0 && path[size - 1] == '/') --size;
  return size;
}

int make_one(std::string_view path, std::uint32_t permissions) {
  const std::string name(path);
  return static_cast<int>(-detail::without_signals([&] { return ::mkdir(name.c_str(), permissions); }));
}

// What mkdir means by EEXIST: 0 if it is a directory.
int as_directory(const std::string& path) noexcept {
  struct stat found;  // NOLINT: the system fills it in
  if (::stat(path.c_str(), &found) != 0) return errno;
  return S_ISDIR(found.st_mode) ? 0 : EEXIST;
}

// Makes `path`, and first what is missing above it. Whoever makes a part of it meanwhile has done that part.
int make_all(const std::string& path, std::uint32_t permissions, std::optional<std::string>& first) {
  std::string_view whole = path;
  while (whole.size() > 1 && whole.back() == '/') whole.remove_suffix(1);
  std::vector<std::size_t> missing;  // ends of what is to be made, the innermost first
  std::size_t size = whole.size();
  int error = make_one(whole, permissions);
  while (error == ENOENT) {
    missing.push_back(size);
    size = parent_of(whole, size);
    if (size == 0) return ENOENT;
    error = make_one(whole.substr(0, size), permissions);
  }
  for (;;) {
    if (error == 0 && !first) first = whole.substr(0, size);
    if (error != 0 && error != EEXIST) return error;
    if (missing.empty()) return error == EEXIST ? as_directory(path) : 0;
    size = missing.back();
    missing.pop_back();
    error = make_one(whole.substr(0, size), permissions);
  }
}

result<std::optional<std::string>> make_directory(const std::string& path, const mkdir_options& options) {
  if (detail::has_nul(path)) return detail::nul_error("path", path);
  std::optional<std::string> first;
  const int error =
      options.recursive ? make_all(path, options.permissions, first) : make_one(path, options.permissions);
  if (error != 0) return os_error(error, "mkdir", path);
  return first;
}

result<std::string> make_temporary(const std::string& prefix) {
  if (detail::has_nul(prefix)) return detail::nul_error("prefix", prefix);
  const std::string pattern = prefix + "XXXXXX";
  std::string name;
  auto made = detail::on_path("mkdtemp", pattern, [&] {
    name = pattern;
    return ::mkdtemp(name.data()) == nullptr ? -1 : 0;
  });
  if (!made) return made.failure();
  return name;
}

result<directory> open_now(std::string path, const opendir_options& options) {
  if (options.block_size < least_block) {
    return error(errc::err_out_of_range, "The value of \"block_size\" is out of range. It must be at least 512.");
  }
  auto opened = open_directory("opendir", path);
  if (!opened) return opened.failure();
  return directory(std::move(*opened), std::move(path), options);
}

}  // namespace

namespace detail {

void settle_types(int directory, std::byte* block, std::size_t size) noexcept {
  for (std::size_t at = 0; at < size; at += entry_at(block, at).d_reclen) {
    auto& each = entry_at(block, at);
    if (each.d_type != DT_UNKNOWN) continue;
    struct stat found;  // NOLINT: the system fills it in
    if (::fstatat(directory, each.d_name, &found, AT_SYMLINK_NOFOLLOW) == 0) each.d_type = IFTODT(found.st_mode);
  }
}

bool entry_block::more() noexcept {
  while (at_ < used_ && is_dots(entry_at(bytes_.get(), at_).d_name)) at_ += entry_at(bytes_.get(), at_).d_reclen;
  return at_ < used_;
}

entry_block::entry entry_block::take() noexcept {
  auto& each = entry_at(bytes_.get(), at_);
  at_ += each.d_reclen;
  return {each.d_name, type_of_dirent(each.d_type)};
}

long entry_block::fill(int directory) noexcept {
  clear();
  // A directory that has been removed meanwhile has no more entries; POSIX wants no error then.
  const long got = without_signals([&] { return ::getdents64(directory, bytes_.get(), size_); });
  if (got == -ENOENT) return 0;
  if (got <= 0) return got;
  used_ = static_cast<std::size_t>(got);
  settle_types(directory, bytes_.get(), used_);
  return got;
}

}  // namespace detail

std::string dir_entry::path() const { return below(parent, name); }

call<std::vector<std::string>> readdir(std::string path, const readdir_options& options) {
  return {"scandir", [path = std::move(path), options](const stop_flag& stop) -> result<std::vector<std::string>> {
            std::vector<std::string> names;
            auto done = list(path, options.recursive, stop,
                             [&](const std::string&, const std::string& relative, const auto& found) {
                               names.push_back(below(relative, found.name));
                             });
            if (!done) return done.failure();
            return names;
          }};
}

call<std::vector<dir_entry>> read_entries(std::string path, const readdir_options& options) {
  return {"scandir", [path = std::move(path), options](const stop_flag& stop) -> result<std::vector<dir_entry>> {
            std::vector<dir_entry> entries;
            auto done = list(path, options.recursive, stop,
                             [&](const std::string& directory, const std::string&, const auto& found) {
                               entries.push_back({std::string(found.name), directory, found.type});
                             });
            if (!done) return done.failure();
            return entries;
          }};
}

call<std::optional<std::string>> mkdir(std::string path, const mkdir_options& options) {
  return {"mkdir", [path = std::move(path), options] { return make_directory(path, options); }};
}

call<std::string> mkdtemp(std::string prefix) {
  return {"mkdtemp", [prefix = std::move(prefix)] { return make_temporary(prefix); }};
}

call<void> rmdir(std::string path) {
  return {"rmdir", [path = std::move(path)] {
            return detail::only_done(detail::on_path("rmdir", path, [&] { return ::rmdir(path.c_str()); }));
          }};
}

call<directory> opendir(std::string path, const opendir_options& options) {
  return {"opendir", [path = std::move(path), options]() mutable { return open_now(std::move(path), options); }};
}

directory::directory(io::descriptor opened, std::string path, const opendir_options& options)
    : fd_(std::move(opened)), path_(std::move(path)), block_(options.block_size), state_(state::reading) {}

void directory::close() noexcept {
  fd_.close();
  block_ = {};
  state_ = state::closed;
}

result<void> directory::fill() {
  // A block may have nothing but dots.
  do {
    const long filled = block_.fill(fd_.get());
    if (filled < 0) return os_error(static_cast<int>(-filled), "scandir", path_);
    if (filled == 0) {
      close();
      state_ = state::ended;
    }
  } while (!ready());
  return {};
}

result<std::optional<dir_entry>> directory::take() {
  if (state_ == state::closed) return error(errc::err_closed, "Directory handle was closed");
  if (state_ == state::ended) return std::optional<dir_entry>();
  auto found = block_.take();
  return std::optional<dir_entry>({std::string(found.name), path_, found.type});
}

void directory::next_entry::read(blocking_job& job) noexcept {
  auto& self = static_cast<next_entry&>(job);
  try {
    self.read_ = self.from_.fill();
  } catch (...) {
    self.read_ = failure(std::current_exception());
  }
}

auto directory::next_entry::try_resume() -> result<value_type> {
  if (outcome_ != outcome::done) return why();
  if (!read_) return read_.failure();
  return from_.take();
}

auto directory::next_entry::try_now() && -> result<value_type> {
  if (!from_.ready()) read_ = from_.fill();
  return try_resume();
}

}  // namespace weir::fs
