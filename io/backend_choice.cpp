#include <weir/io/backend_choice.hpp>

#include <weir/core/backend.hpp>
#include <weir/core/error.hpp>
#include <weir/io/epoll_backend.hpp>
#include <weir/io/uring_backend.hpp>

#include <fmt/format.h>

#include <cerrno>
#include <cstdlib>
#include <mutex>
#include <string_view>
#include <system_error>

namespace weir {
namespace io {
namespace {

/// What this process has seen of io_uring.
struct experience {
  std::mutex mutex;
  bool worked = false;
  std::string refused;  // why, or empty
};

experience& seen() {
  static experience of_this_process;
  return of_this_process;
}

// Not EMFILE and ENFILE: epoll needs descriptors too.
bool is_refusal(int error) {
  switch (error) {
    case EPERM:       // seccomp, kernel.io_uring_disabled
    case EACCES:      // the same, by other filters
    case ENOSYS:      // an old kernel, or one without it
    case EOPNOTSUPP:  // an old one
    case ENOMEM: return true;
    case EINVAL: return !uring_available();  // flags that it does not know, not our options
    default: return false;
  }
}

}  // namespace

backend_choice choose_backend() {
  const char* set = std::getenv("WEIR_BACKEND");
  const std::string_view wish = set == nullptr ? "" : set;
  if (wish == "uring") return {backend_kind::uring, true, "chosen by WEIR_BACKEND=uring"};
  if (wish == "epoll") return {backend_kind::epoll, true, "chosen by WEIR_BACKEND=epoll"};
  if (!wish.empty() && wish != "auto") {
    throw error(errc::err_invalid_arg_value,
                fmt::format("WEIR_BACKEND must be 'auto', 'uring' or 'epoll'. Received '{}'", wish));
  }
  const std::lock_guard lock(seen().mutex);
  if (!seen().refused.empty()) return {backend_kind::epoll, false, "chosen because " + seen().refused};
  return {backend_kind::uring, false, "chosen because io_uring works here"};
}

}  // namespace io

std::unique_ptr<backend> make_default_backend(const backend_options& options) {
  auto choice = io::choose_backend();
  if (choice.kind == io::backend_kind::epoll) return io::make_epoll_backend(options, {.why = std::move(choice.why)});
  io::uring_limits limits;
  limits.why = std::move(choice.why);
  try {
    auto made = io::make_uring_backend(options, limits);
    const std::lock_guard lock(io::seen().mutex);
    io::seen().worked = true;
    return made;
  } catch (const std::system_error& refusal) {
    if (choice.by_wish || !io::is_refusal(refusal.code().value())) throw;
    const std::lock_guard lock(io::seen().mutex);
    io::seen().refused = refusal.what();
    if (io::seen().worked) throw backend_changed();  // perhaps for an earlier worker of this runtime
  }
  return make_default_backend(options);
}

}  // namespace weir
