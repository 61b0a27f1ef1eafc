#include <weir/fs/contents.hpp>

#include <weir/fs/error.hpp>

#include <fmt/format.h>

#include <sys/stat.h>

#include <algorithm>
#include <limits>
#include <utility>

namespace weir::fs {
namespace {

// Between two looks at whether the call should end, and at what is asked of the system at once.
constexpr std::size_t step = std::size_t{1} << 20;

error too_large(const std::string& path, std::size_t limit) {
  return {errc::err_out_of_range,
          fmt::format("'{}' has more than {} bytes", path, limit),
          {.operation = "read", .path = path}};
}

// How much room to begin with: one byte more than there is shows the end without another read. Files of /proc say 0.
std::size_t first_room(const file& from, std::size_t limit) noexcept {
  struct stat found;  // NOLINT: the system fills it in
  if (::fstat(from.descriptor(), &found) != 0 || !S_ISREG(found.st_mode))
    return std::min<std::size_t>(65536, limit + 1);
  return std::clamp<std::size_t>(static_cast<std::size_t>(found.st_size) + 1, std::min<std::size_t>(4096, limit + 1),
                                 limit + 1);
}

result<buffer> read_now(const std::string& path, const read_options& options, const stop_flag& stop) {
  const std::size_t limit = std::min(options.limit, std::numeric_limits<std::size_t>::max() - 1);
  auto opened = open(path, options.how).try_now();
  if (!opened) return opened.failure();
  auto all = buffer::alloc_unsafe_slow(first_room(*opened, limit));
  std::size_t size = 0;
  for (;;) {
    if (stop.requested()) return failure(cancelled());
    if (size == all.size()) {
      auto larger = buffer::alloc_unsafe_slow(std::min(size * 2, limit + 1));
      all.copy(larger.mutable_bytes());
      all = std::move(larger);
    }
    auto room = all.mutable_bytes().subspan(size);
    auto count = opened->read(room.first(std::min(room.size(), step))).try_now();
    if (!count) return count.failure();
    if (*count == 0) return all.take_front(size);
    size += *count;
    if (size > limit) return too_large(path, limit);
  }
}

result<void> write_now(const std::string& path, std::span<const std::byte> content, const write_options& options,
                       const stop_flag& stop) {
  auto opened = open(path, options.how, {.permissions = options.permissions}).try_now();
  if (!opened) return opened.failure();
  while (!content.empty()) {
    if (stop.requested()) return failure(cancelled());
    auto count = opened->write_some(content.first(std::min(content.size(), step))).try_now();
    if (!count) return count.failure();
    content = content.subspan(*count);
  }
  if (options.flush) {
    auto flushed = opened->sync().try_now();
    if (!flushed) return flushed.failure();
  }
  return opened->try_close_now();
}

std::span<const std::byte> bytes_of(std::string_view text) noexcept { return std::as_bytes(std::span(text)); }

write_options appending(write_options options) noexcept {
  if (options.how == mode::write) options.how = mode::append;
  return options;
}

}  // namespace

call<buffer> read_file(std::string path, const read_options& options) {
  return {"read_file",
          [path = std::move(path), options](const stop_flag& stop) { return read_now(path, options, stop); }};
}

call<std::string> read_text(std::string path, encoding as, const read_options& options) {
  return {"read_file", [path = std::move(path), as, options](const stop_flag& stop) -> result<std::string> {
            auto bytes = read_now(path, options, stop);
            if (!bytes) return bytes.failure();
            return bytes->to_string(as);
          }};
}

call<void> write_file(std::string path, std::span<const std::byte> content, const write_options& options) {
  return {"write_file", [path = std::move(path), content, options](const stop_flag& stop) {
            return write_now(path, content, options, stop);
          }};
}

call<void> write_file(std::string path, std::string_view content, const write_options& options) {
  return write_file(std::move(path), bytes_of(content), options);
}

call<void> append_file(std::string path, std::span<const std::byte> content, const write_options& options) {
  return write_file(std::move(path), content, appending(options));
}

call<void> append_file(std::string path, std::string_view content, const write_options& options) {
  return append_file(std::move(path), bytes_of(content), options);
}

}  // namespace weir::fs
