#include <weir/fs/file.hpp>

#include <weir/fs/error.hpp>
#include <weir/fs/write_all.hpp>

#include <fmt/format.h>

#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <limits>
#include <utility>

namespace weir::fs {
namespace {

constexpr std::size_t most_pieces = 64;  // given to the system at once

// The part of a transfer that comes after `done` bytes.
file_operation&& part(file_operation&& operation, std::optional<std::uint64_t> position, std::size_t done) noexcept {
  if (position) return std::move(operation).at(*position + done);
  return std::move(operation);
}

// Takes the next of `pieces`, as many as the system is given at once; empty ones say nothing to it.
template <class Byte>
std::span<iovec> take(std::array<iovec, most_pieces>& entries, std::span<const std::span<Byte>>& pieces) noexcept {
  std::size_t count = 0;
  for (; !pieces.empty() && count < most_pieces; pieces = pieces.subspan(1)) {
    const auto piece = pieces.front();
    if (!piece.empty()) entries[count++] = {const_cast<std::byte*>(piece.data()), piece.size()};
  }
  return std::span(entries).first(count);
}

}  // namespace

file_operation::file_operation(const file& of, opcode what, void* data, std::size_t size,
                               io::operation_label label) noexcept
    : count_operation(what, of.descriptor(), data, size, 0, label), of_(&of) {}

// Only where it starts: until then `at` may say that the file's position is none of its business, and then other
// threads may be reading and writing too.
void file_operation::place() noexcept {
  if (of_ == nullptr) return;
  if (auto position = of_->position()) offset = *position;
}

result<std::size_t> file_operation::counted(result<std::size_t> bytes) const noexcept {
  if (of_ != nullptr && bytes && of_->kept_by() == file::positions::own) of_->position_ += *bytes;
  return bytes;
}

// The system moves no position for what io_uring completes later (O_DIRECT, some of FUSE): so this is ours to keep.
std::optional<std::uint64_t> file::position() const noexcept {
  if (kept_by() == positions::of_system) return std::nullopt;
  return position_;
}

// Asked for by all who append to one file at once: they find the same, and then position_ is nobody's.
file::positions file::kept_by() const noexcept {
  const std::atomic_ref kept(positions_);
  auto found = kept.load(std::memory_order_relaxed);
  if (found != positions::unknown) return found;
  const auto begin = ::lseek(fd_.get(), 0, SEEK_CUR);
  const bool appends = (::fcntl(fd_.get(), F_GETFL) & O_APPEND) != 0;
  found = begin < 0 || appends ? positions::of_system : positions::own;
  if (found == positions::own) position_ = static_cast<std::uint64_t>(begin);
  kept.store(found, std::memory_order_relaxed);
  return found;
}

void file::seek(std::uint64_t to) noexcept {
  if (position()) position_ = to;
}

mode mode::parse(std::string_view text) {
  struct entry {
    std::string_view text;
    mode means;
  };
  static constexpr entry known[] = {
      {"r", read},
      {"rs", read | sync},
      {"sr", read | sync},
      {"r+", update},
      {"rs+", update | sync},
      {"sr+", update | sync},
      {"w", write},
      {"wx", write | exclusive},
      {"xw", write | exclusive},
      {"w+", rewrite},
      {"wx+", rewrite | exclusive},
      {"xw+", rewrite | exclusive},
      {"a", append},
      {"ax", append | exclusive},
      {"xa", append | exclusive},
      {"as", append | sync},
      {"sa", append | sync},
      {"a+", append_read},
      {"ax+", append_read | exclusive},
      {"xa+", append_read | exclusive},
      {"as+", append_read | sync},
      {"sa+", append_read | sync},
  };
  for (const auto& each : known) {
    if (each.text == text) return each.means;
  }
  throw error(errc::err_invalid_arg_value, fmt::format("The argument 'flags' is invalid. Received '{}'", text));
}

task<std::size_t> file::read_full(std::span<std::byte> into, std::optional<std::uint64_t> position) const {
  std::size_t done = 0;
  while (done < into.size()) {
    auto count = co_await part(read(into.subspan(done)), position, done);
    if (count == 0) break;
    done += count;
  }
  co_return done;
}

task<void> file::write(std::span<const std::byte> from, std::optional<std::uint64_t> position) const {
  std::size_t done = 0;
  while (done < from.size()) {
    done += co_await part(write_some(from.subspan(done)), position, done);
  }
}

task<void> file::write(std::string_view text, std::optional<std::uint64_t> position) const {
  return write(std::as_bytes(std::span(text)), position);
}

task<std::size_t> file::read_pieces(std::span<const std::span<std::byte>> into,
                                    std::optional<std::uint64_t> position) const {
  std::array<iovec, most_pieces> entries;  // NOLINT: filled as far as it is used
  auto pieces = take(entries, into);
  co_return co_await part({*this, opcode::readv, pieces.data(), pieces.size(), {"read", path_}}, position, 0);
}

task<void> file::write_pieces(std::span<const std::span<const std::byte>> from,
                              std::optional<std::uint64_t> position) const {
  std::array<iovec, most_pieces> entries;  // NOLINT: filled as far as it is used
  std::size_t done = 0;
  auto left = take(entries, from);
  while (!left.empty()) {
    auto written = co_await part({*this, opcode::writev, left.data(), left.size(), {"write", path_}}, position, done);
    done += written;
    left = detail::after(left, written);
    if (left.empty()) left = take(entries, from);
  }
}

task<buffer> file::read_all(std::size_t limit) const {
  auto known = co_await stat();
  std::size_t size = 0;
  // One byte more than the file has shows its end without another read; /proc says 0 and has more.
  limit = std::min(limit, std::numeric_limits<std::size_t>::max() - 1);
  auto all = buffer::alloc_unsafe(std::min(std::max<std::size_t>(known.size + 1, 4096), limit + 1));
  for (;;) {
    if (size == all.size()) {
      auto larger = buffer::alloc_unsafe(std::min(size * 2, limit + 1));
      all.copy(larger.mutable_bytes());
      all = std::move(larger);
    }
    auto count = co_await read(all.mutable_bytes().subspan(size));
    if (count == 0) break;
    size += count;
    if (size > limit)
      throw error(errc::err_out_of_range, fmt::format("'{}' has more than {} bytes", path_, limit),
                  {.operation = "read", .path = path_});
  }
  co_return all.take_front(size);
}

call<file_stat> file::stat() const {
  return {"fstat", [fd = fd_.get(), path = path_] { return detail::stat_descriptor(fd, path); }};
}

call<void> file::truncate(std::uint64_t size) const {
  return {"ftruncate", [fd = fd_.get(), path = path_, size] {
            return detail::only_done(
                detail::on_path("ftruncate", path, [&] { return ::ftruncate(fd, static_cast<off_t>(size)); }));
          }};
}

call<void> file::allocate(std::uint64_t offset, std::uint64_t size, int how) const {
  return {"fallocate", [fd = fd_.get(), path = path_, offset, size, how] {
            return detail::only_done(detail::on_path("fallocate", path, [&] {
              return ::fallocate(fd, how, static_cast<off_t>(offset), static_cast<off_t>(size));
            }));
          }};
}

call<void> file::chmod(std::uint32_t permissions) const {
  return {"fchmod", [fd = fd_.get(), path = path_, permissions] {
            return detail::only_done(detail::on_path("fchmod", path, [&] { return ::fchmod(fd, permissions); }));
          }};
}

call<void> file::chown(std::uint32_t user, std::uint32_t group) const {
  return {"fchown", [fd = fd_.get(), path = path_, user, group] {
            return detail::only_done(detail::on_path("fchown", path, [&] { return ::fchown(fd, user, group); }));
          }};
}

call<void> file::utimes(time_point accessed, time_point modified) const {
  return {"futime", [fd = fd_.get(), path = path_, accessed, modified] {
            const timespec both[2] = {detail::timespec_of(accessed), detail::timespec_of(modified)};
            return detail::only_done(detail::on_path("futime", path, [&] { return ::futimens(fd, both); }));
          }};
}

task<void> file::close() {
  if (!is_open()) co_return;
  auto closed = co_await attempt(io::count_operation(opcode::close, fd_.get(), nullptr, 0, 0, {"close", path_}));
  if (!closed && closed.failure().is_cancelled()) closed.failure().rethrow();
  static_cast<void>(fd_.release());  // also where close(2) failed the number is free
  if (!closed) closed.failure().rethrow();
}

result<void> file::try_close_now() {
  if (!is_open()) return {};
  if (::close(fd_.release()) != 0 && errno != EINTR) return os_error(errno, "close", path_);
  return {};
}

open_operation::open_operation(std::string path, mode how, const open_options& options) : path_(std::move(path)) {
  code = opcode::openat;
  fd = AT_FDCWD;
  flags = static_cast<std::uint32_t>(how.flags);
  length = options.permissions;
  if (detail::has_nul(path_)) refused_ = failure(detail::nul_error("path", path_));
}

result<file> open_operation::taken() {
  if (refused_) return *refused_;
  if (answer_ == -ECANCELED) return failure(cancelled());
  if (answer_ < 0) return os_error(-answer_, "open", path_);
  return file(io::descriptor(answer_), std::move(path_));
}

result<file> open_operation::try_resume() { return taken(); }

result<file> open_operation::try_now() && {
  buffer = path_.data();
  if (!refused_) answer_ = perform_here();
  return taken();
}

call<file> open_beneath(const file& directory, std::string path, mode how, const open_options& options) {
  return {"openat2", [fd = directory.descriptor(), path = std::move(path), how, options]() -> result<file> {
            open_how wanted = {};
            wanted.flags = static_cast<std::uint64_t>(how.flags | O_CLOEXEC | O_NONBLOCK);
            if ((how.flags & O_CREAT) != 0) wanted.mode = options.permissions;
            wanted.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
            auto opened = detail::on_path(
                "open", path, [&] { return ::syscall(SYS_openat2, fd, path.c_str(), &wanted, sizeof wanted); });
            if (!opened) return opened.failure();
            file taken(io::descriptor(static_cast<int>(*opened)), path);
            ::fcntl(taken.descriptor(), F_SETFL, ::fcntl(taken.descriptor(), F_GETFL) & ~O_NONBLOCK);
            return taken;
          }};
}

}  // namespace weir::fs
