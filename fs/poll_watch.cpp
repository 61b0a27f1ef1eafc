#include <weir/fs/poll_watch.hpp>

#include <weir/core/time.hpp>
#include <weir/fs/error.hpp>
#include <weir/fs/watch_gate.hpp>

namespace weir::fs {
namespace {

/// What libuv compares: all but the time of the last read.
bool same(const file_stat& a, const file_stat& b) noexcept {
  return a.ctime == b.ctime && a.mtime == b.mtime && a.birthtime == b.birthtime && a.size == b.size &&
         a.mode == b.mode && a.uid == b.uid && a.gid == b.gid && a.ino == b.ino && a.dev == b.dev;
}

}  // namespace

struct poll_watch::state {
  std::string path;
  std::chrono::milliseconds interval;
  detail::watch_gate gate;
  std::optional<file_stat> known;
  detail::watch_gate::time_point due = {};
};

poll_watch::poll_watch(std::string path, const watch_file_options& options) : state_(std::make_unique<state>()) {
  if (detail::has_nul(path)) throw detail::nul_error("filename", path);
  if (options.interval < std::chrono::milliseconds(1)) {
    throw error(errc::err_out_of_range, "The value of \"interval\" is out of range. It must be >= 1");
  }
  state_->path = std::move(path);
  state_->interval = options.interval;
}
poll_watch::poll_watch(poll_watch&&) noexcept = default;
poll_watch& poll_watch::operator=(poll_watch&&) noexcept = default;
poll_watch::~poll_watch() = default;

task<std::optional<stat_change>> poll_watch::next() {
  auto& s = *state_;
  detail::gate_pass inside(s.gate, [] {});
  while (inside && !s.gate.closed()) {
    const auto now = weir::detail::clock_here();
    if (s.known && now < s.due) {
      co_await s.gate.wait(-1, s.due);
      continue;
    }
    const auto looked = co_await attempt(stat(s.path));
    if (!looked && looked.failure().is_cancelled()) throw cancelled();
    if (s.gate.closed()) break;
    s.due = now + s.interval;
    const auto current = looked ? *looked : file_stat{};
    const bool first = !s.known;
    const auto previous = std::exchange(s.known, current).value_or(file_stat{});
    if (first ? !looked : !same(current, previous)) co_return stat_change{current, previous};
  }
  co_return std::nullopt;
}

void poll_watch::close() noexcept { static_cast<void>(state_->gate.close()); }
bool poll_watch::closed() const noexcept { return state_->gate.closed(); }
const std::string& poll_watch::path() const noexcept { return state_->path; }

}  // namespace weir::fs
