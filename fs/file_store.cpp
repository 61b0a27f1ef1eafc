#include <weir/fs/file_store.hpp>

#include <weir/fs/contents.hpp>
#include <weir/fs/directory.hpp>
#include <weir/fs/error.hpp>

#include <fmt/format.h>

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <utility>

namespace weir::fs {
namespace {

constexpr std::string_view suffix = ".entry";
constexpr std::string_view magic = "weir-store 1";
constexpr std::size_t longest_name = 240;
constexpr std::size_t longest_head = 128;
constexpr auto abandoned_after = std::chrono::hours(1);

bool is_plain(char c) noexcept {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

// The empty key is a lone "%".
std::string name_for(std::string_view key) {
  std::string name;
  for (char c : key) {
    if (is_plain(c)) {
      name += c;
    } else {
      name += fmt::format("%{:02X}", static_cast<unsigned char>(c));
    }
  }
  if (name.empty()) name = "%";
  if (name.size() <= longest_name) return name.append(suffix);
  throw error(errc::err_out_of_range,
              fmt::format("A key's file name has at most {} bytes. Received one of {}", longest_name, name.size()));
}

std::optional<std::string> key_of(std::string_view name) {
  if (!name.ends_with(suffix)) return std::nullopt;
  name.remove_suffix(suffix.size());
  std::string key;
  if (name == "%") return key;
  while (!name.empty()) {
    if (is_plain(name[0])) {
      key += name[0];
      name.remove_prefix(1);
      continue;
    }
    unsigned byte = 0;
    if (name[0] != '%' || name.size() < 3) return std::nullopt;
    const auto [end, wrong] = std::from_chars(name.data() + 1, name.data() + 3, byte, 16);
    if (wrong != std::errc() || end != name.data() + 3) return std::nullopt;
    key += static_cast<char>(byte);
    name.remove_prefix(3);
  }
  return key;
}

bool is_temporary(std::string_view name) noexcept { return name.starts_with('.') && name.ends_with(".tmp"); }

// FNV-1a, against damage, not against forgers (http://www.isthe.com/chongo/tech/comp/fnv).
std::uint64_t sum_of(std::span<const std::byte> bytes) noexcept {
  std::uint64_t sum = 0xcbf29ce484222325;
  for (auto each : bytes) sum = (sum ^ static_cast<std::uint64_t>(each)) * 0x100000001b3;
  return sum;
}

std::int64_t milliseconds_since_1970(time_point at) noexcept {
  return std::chrono::duration_cast<std::chrono::milliseconds>(at.time_since_epoch()).count();
}

error damaged(const std::string& path) {
  return {errc::err_encoding_invalid_encoded_data,
          fmt::format("'{}' is no entry of a store, or was damaged", path),
          {.operation = "get", .path = path}};
}

/// Keeps whoever erases what is over from erasing what others are just storing: they share the directory, he has it
/// alone. Ends with the descriptor.
result<io::descriptor> lock_directory(const std::string& path, int kind) {
  auto opened = detail::on_path("open", path, [&] { return ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); });
  if (!opened) return opened.failure();
  io::descriptor held(static_cast<int>(*opened));
  auto locked = detail::on_path("lock", path, [&] { return ::flock(held.get(), kind); });
  if (!locked) return locked.failure();
  return held;
}

}  // namespace

/// The first line of an entry's file; the value follows.
struct file_store::head {
  std::int64_t expires = 0;  ///< milliseconds since 1970; 0: never
  std::uint64_t size = 0;
  std::uint64_t sum = 0;
  std::size_t length = 0;  ///< of the line

  static std::string text(std::int64_t expires, std::span<const std::byte> value) {
    return fmt::format("{} {} {} {:016x}\n", magic, expires, value.size(), sum_of(value));
  }

  static std::optional<head> parse(std::string_view bytes) {
    const auto end = bytes.substr(0, longest_head).find('\n');
    if (end == std::string_view::npos || !bytes.starts_with(magic)) return std::nullopt;
    head read;
    read.length = end + 1;
    const char* at = bytes.data() + magic.size();
    const char* last = bytes.data() + end;
    const auto number = [&](auto& into, int base) {
      if (at == last || *at != ' ') return false;
      const auto [stopped, wrong] = std::from_chars(at + 1, last, into, base);
      at = stopped;
      return wrong == std::errc();
    };
    if (!number(read.expires, 10) || !number(read.size, 10) || !number(read.sum, 16) || at != last) return std::nullopt;
    return read;
  }
};

call<file_store> file_store::open(std::string directory, file_store_options options) {
  return {"open_store", [directory = std::move(directory), options = std::move(options)]() -> result<file_store> {
            if (options.ttl.count() < 0) return error(errc::err_out_of_range, "A time to live is not negative");
            auto made = mkdir(directory, {.recursive = true}).try_now();
            if (!made) return made.failure();
            return file_store(directory, options);
          }};
}

std::string file_store::path_for(std::string_view key) const { return fmt::format("{}/{}", directory_, name_for(key)); }

bool file_store::is_over(const head& entry) const {
  return entry.expires != 0 && milliseconds_since_1970(now()) >= entry.expires;
}

result<void> file_store::set_now(const std::string& key, std::span<const std::byte> value,
                                 std::optional<std::chrono::milliseconds> ttl) const {
  const auto lives = ttl.value_or(options_.ttl);
  if (lives.count() < 0) return error(errc::err_out_of_range, "A time to live is not negative");
  if (value.size() > options_.max_value) {
    return error(errc::err_out_of_range,
                 fmt::format("A value has at most {} bytes. Received one of {}", options_.max_value, value.size()));
  }
  const auto path = path_for(key);
  const auto first = head::text(lives.count() == 0 ? 0 : milliseconds_since_1970(now() + lives), value);
  auto shared = lock_directory(directory_, LOCK_SH);
  if (!shared) return shared.failure();
  std::string all(first);
  all.append(reinterpret_cast<const char*>(value.data()), value.size());
  return write_file_atomic(path, all, {.flush = options_.flush, .permissions = options_.permissions}).try_now();
}

call<void> file_store::set(std::string key, std::span<const std::byte> value,
                           std::optional<std::chrono::milliseconds> ttl) const {
  return {"store_set", [of = *this, key = std::move(key), value, ttl] { return of.set_now(key, value, ttl); }};
}

call<void> file_store::set(std::string key, std::string_view value,
                           std::optional<std::chrono::milliseconds> ttl) const {
  return set(std::move(key), std::as_bytes(std::span(value)), ttl);
}

result<std::optional<buffer>> file_store::get_now(const std::string& key) const {
  const auto path = path_for(key);
  auto all = read_file(path, {.limit = options_.max_value + longest_head}).try_now();
  if (!all && all.failure().is("ENOENT")) return std::optional<buffer>();
  if (!all) return all.failure();
  const auto entry = head::parse(all->text());
  if (!entry) return damaged(path);
  all->remove_prefix(entry->length);
  if (all->size() != entry->size || sum_of(all->bytes()) != entry->sum) return damaged(path);
  if (!is_over(*entry)) return std::optional(std::move(*all));
  auto erased = erase_expired(path);
  if (!erased) return erased.failure();
  return std::optional<buffer>();
}

call<std::optional<buffer>> file_store::get(std::string key) const {
  return {"store_get", [of = *this, key = std::move(key)] { return of.get_now(key); }};
}

// Whether there is an entry at `path` and its time is over.
result<bool> file_store::has_expired(const std::string& path) const {
  auto opened = fs::open(path).try_now();
  if (!opened && opened.failure().is("ENOENT")) return false;
  if (!opened) return opened.failure();
  std::array<std::byte, longest_head> first;  // NOLINT: filled as far as it is used
  auto size = opened->read(first).try_now();
  if (!size) return size.failure();
  const auto entry = head::parse({reinterpret_cast<const char*>(first.data()), *size});
  if (!entry) return damaged(path);
  return is_over(*entry);
}

// Looks again with the directory for itself: in between somebody may have stored a new value.
result<bool> file_store::erase_expired(const std::string& path) const {
  auto expired = has_expired(path);
  if (!expired || !*expired) return expired;
  auto alone = lock_directory(directory_, LOCK_EX);
  if (!alone) return alone.failure();
  expired = has_expired(path);
  if (!expired || !*expired) return expired;
  return erase_file(path);
}

call<std::vector<std::string>> file_store::keys() const {
  return {"store_keys", [directory = directory_]() -> result<std::vector<std::string>> {
            auto names = readdir(directory).try_now();
            if (!names) return names.failure();
            std::vector<std::string> all;
            for (const auto& name : *names) {
              if (auto key = key_of(name)) all.push_back(std::move(*key));
            }
            return all;
          }};
}

// Does `something(name)`, which tells whether it removed a file, for each name in the directory.
template <class F>
result<store_report> file_store::walk(const stop_flag& stop, F something) const {
  auto names = readdir(directory_).try_now();
  if (!names) return names.failure();
  store_report report;
  for (const auto& name : *names) {
    if (stop.requested()) return failure(cancelled());
    result<bool> removed = something(name);
    if (removed && *removed) ++report.removed;
    if (!removed) report.failures.push_back({fmt::format("{}/{}", directory_, name), removed.failure()});
  }
  return report;
}

result<bool> file_store::erase_file(const std::string& path) const {
  auto gone = detail::on_path("unlink", path, [&] { return ::unlink(path.c_str()); });
  if (!gone && gone.failure().is("ENOENT")) return false;
  if (!gone) return gone.failure();
  return true;
}

call<bool> file_store::erase(std::string key) const {
  return {"store_erase", [of = *this, key = std::move(key)] { return of.erase_file(of.path_for(key)); }};
}

call<store_report> file_store::clear() const {
  return {"store_clear", [of = *this](const stop_flag& stop) {
            return of.walk(stop, [&](const std::string& name) {
              return key_of(name) ? of.erase_file(fmt::format("{}/{}", of.directory_, name)) : result<bool>(false);
            });
          }};
}

call<store_report> file_store::sweep() const {
  return {"store_sweep", [of = *this](const stop_flag& stop) {
            return of.walk(stop, [&](const std::string& name) { return of.sweep_file(name); });
          }};
}

result<bool> file_store::sweep_file(const std::string& name) const {
  const auto path = fmt::format("{}/{}", directory_, name);
  if (key_of(name)) return erase_expired(path);
  if (!is_temporary(name)) return false;
  auto found = lstat(path).try_now();
  if (!found && found.failure().is("ENOENT")) return false;
  if (!found) return found.failure();
  if (found->mtime + abandoned_after > time_point(std::chrono::system_clock::now())) return false;
  return erase_file(path);
}

}  // namespace weir::fs
