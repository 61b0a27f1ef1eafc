#include <weir/fs/watcher.hpp>

#include <weir/core/time.hpp>
#include <weir/fs/error.hpp>
#include <weir/fs/path.hpp>
#include <weir/fs/watch_gate.hpp>
#include <weir/fs/watch_tree.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <deque>
#include <mutex>
#include <utility>

namespace weir::fs {
namespace {

constexpr std::array<std::string_view, 10> kind_names = {"add",    "change",    "unlink",      "addDir", "unlinkDir",
                                                         "rename", "renameDir", "changeAttrs", "ready",  "error"};

struct extension {
  std::string_view text;
  watch_family family;
};
constexpr extension families[] = {
    {".js", watch_family::source},   {".ts", watch_family::source},   {".jsx", watch_family::source},
    {".tsx", watch_family::source},  {".mjs", watch_family::source},  {".cjs", watch_family::source},
    {".c", watch_family::source},    {".cc", watch_family::source},   {".cpp", watch_family::source},
    {".h", watch_family::source},    {".hpp", watch_family::source},  {".go", watch_family::source},
    {".rs", watch_family::source},   {".py", watch_family::source},   {".css", watch_family::style},
    {".scss", watch_family::style},  {".less", watch_family::style},  {".html", watch_family::markup},
    {".htm", watch_family::markup},  {".ejs", watch_family::markup},  {".pug", watch_family::markup},
    {".json", watch_family::config}, {".yaml", watch_family::config}, {".yml", watch_family::config},
    {".toml", watch_family::config}, {".ini", watch_family::config},  {".conf", watch_family::config},
};

std::string whole(std::string path) {
  if (path.empty() || detail::has_nul(path)) throw detail::nul_error("path", path);
  path = path::resolve(path);
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path;
}

void check_interval(std::chrono::milliseconds given, std::string_view name) {
  if (given >= std::chrono::milliseconds(1)) return;
  throw error(errc::err_out_of_range,
              fmt::format("The value of \"{}\" is out of range. It must be >= 1 ms. Received {}", name, given.count()));
}

watcher_options checked(watcher_options options) {
  check_interval(options.interval, "interval");
  check_interval(options.binary_interval, "binary_interval");
  if (options.await_write_finish) check_interval(options.await_write_finish->poll_interval, "poll_interval");
  return options;
}

}  // namespace

std::string_view name_of(watch_kind kind) noexcept {
  const auto index = static_cast<std::size_t>(kind);
  return index < kind_names.size() ? kind_names[index] : "unknown";
}

std::string to_string(const watch_event& event) {
  std::string name(name_of(event.kind));
  for (auto& c : name) c = c >= 'a' && c <= 'z' ? static_cast<char>(c - ('a' - 'A')) : c;
  auto text = fmt::format("[{}] {}", name, event.path);
  if (!event.from.empty()) text += fmt::format(" from {}", event.from);
  if (event.stats && event.stats->is_file()) text += fmt::format(" ({} bytes)", event.stats->size);
  if (event.why) text += ": " + event.why->message();
  return text;
}

watch_family family_of(std::string_view path) noexcept {
  const auto name = path.substr(path.rfind('/') + 1);
  const auto dot = name.rfind('.');
  if (dot == std::string_view::npos || dot == 0) return watch_family::other;
  const auto same_letter = [](char a, char b) { return a == (b >= 'A' && b <= 'Z' ? b + ('a' - 'A') : b); };
  for (auto& each : families) {
    const auto given = name.substr(dot);
    if (std::equal(each.text.begin(), each.text.end(), given.begin(), given.end(), same_letter)) return each.family;
  }
  return watch_family::other;
}

/// `tree` and what it tells belong to `disk`; what is ready to be taken to `handover`.
struct watcher::state {
  explicit state(watcher_options options) : tree(checked(std::move(options)), told) {}

  std::optional<watch_event> take() {
    const std::lock_guard guard(handover);
    if (events.empty()) return std::nullopt;
    auto first = std::move(events.front());
    events.pop_front();
    return first;
  }
  void hand_over() {
    const std::lock_guard guard(handover);
    for (auto& each : told) events.push_back(std::move(each));
    told.clear();
  }
  bool is_ready() const { return started.load(std::memory_order_acquire); }
  void clean_up() noexcept {
    const std::lock_guard guard(disk);
    tree.close();
  }
  detail::watch_tree::turn_outcome turn(std::chrono::steady_clock::time_point now, const stop_flag& stop) {
    const std::lock_guard guard(disk);
    if (gate.closed()) return {};
    auto outcome = tree.turn(now, stop);
    started.store(tree.is_ready(), std::memory_order_release);
    hand_over();
    return outcome;
  }

  detail::watch_gate gate;
  std::mutex disk;
  std::deque<watch_event> told;
  detail::watch_tree tree;
  std::atomic<bool> started{false};
  std::mutex handover;
  std::deque<watch_event> events;
};

namespace {

/// One turn, on a thread that may wait for the disk.
template <class State>
call<detail::watch_tree::turn_outcome> turn_of(State& s) {
  return {"watch",
          [&s, now = weir::detail::clock_here()](const stop_flag& stop) -> result<detail::watch_tree::turn_outcome> {
            return s.turn(now, stop);
          }};
}

}  // namespace

watcher::watcher(std::vector<std::string> paths, watcher_options options)
    : state_(std::make_shared<state>(std::move(options))) {
  for (auto& each : paths) state_->tree.add_root(whole(std::move(each)));
}
watcher::watcher(std::string path, watcher_options options)
    : watcher(std::vector<std::string>{std::move(path)}, std::move(options)) {}
watcher::watcher(watcher&&) noexcept = default;
watcher& watcher::operator=(watcher&&) noexcept = default;
watcher::~watcher() = default;

task<std::optional<watch_event>> watcher::next() {
  auto& s = *state_;
  detail::gate_pass inside(s.gate, [&s] { s.clean_up(); });
  if (!inside) co_return std::nullopt;
  for (;;) {
    if (s.gate.closed()) co_return std::nullopt;
    if (auto event = s.take()) co_return event;
    const auto outcome = co_await turn_of(s);
    const std::size_t told = [&s] {
      const std::lock_guard guard(s.handover);
      return s.events.size();
    }();
    if (told == 0 && !outcome.more) co_await s.gate.wait(s.tree.descriptor(), outcome.due);
  }
}

task<> watcher::ready() {
  auto& s = *state_;
  detail::gate_pass inside(s.gate, [&s] { s.clean_up(); });
  while (inside && !s.is_ready() && !s.gate.closed()) co_await turn_of(s);
}

call<bool> watcher::add(std::string path) {
  return {"watch", [s = state_, full = whole(std::move(path)), now = weir::detail::clock_here()]() -> result<bool> {
            const std::lock_guard guard(s->disk);
            if (s->gate.closed()) return error(errc::err_closed);
            if (!s->tree.add_root(full)) return false;
            s->tree.take_up(now);
            s->hand_over();
            s->gate.wake();
            return true;
          }};
}

call<bool> watcher::unwatch(std::string path) {
  return {"watch", [s = state_, full = whole(std::move(path))]() -> result<bool> {
            const std::lock_guard guard(s->disk);
            if (s->gate.closed()) return false;
            const bool was = s->tree.remove_root(full);
            const std::lock_guard waiting(s->handover);
            if (was) std::erase_if(s->events, [&](auto& each) { return detail::is_within(each.path, full); });
            return was;
          }};
}

call<std::map<std::string, std::vector<std::string>>> watcher::watched() {
  return {"watch", [s = state_]() -> result<std::map<std::string, std::vector<std::string>>> {
            const std::lock_guard guard(s->disk);
            return s->tree.watched();
          }};
}

call<std::vector<std::string>> watcher::paths() {
  return {"watch", [s = state_]() -> result<std::vector<std::string>> {
            const std::lock_guard guard(s->disk);
            return s->tree.roots();
          }};
}

void watcher::close() noexcept {
  if (state_->gate.close()) state_->clean_up();
}
bool watcher::closed() const noexcept { return state_->gate.closed(); }
std::uint64_t watcher::overflows() const noexcept { return state_->tree.overflows(); }

namespace {

const event_type<const watch_event&>* event_of(watch_kind kind) noexcept {
  switch (kind) {
    case watch_kind::add: return &watch_events::add;
    case watch_kind::change: return &watch_events::change;
    case watch_kind::unlink: return &watch_events::unlink;
    case watch_kind::add_dir: return &watch_events::add_dir;
    case watch_kind::unlink_dir: return &watch_events::unlink_dir;
    case watch_kind::rename: return &watch_events::rename;
    case watch_kind::rename_dir: return &watch_events::rename_dir;
    case watch_kind::change_attrs: return &watch_events::change_attrs;
    default: return nullptr;
  }
}

const event_type<const watch_event&>* event_of(watch_family family) noexcept {
  switch (family) {
    case watch_family::source: return &watch_events::source_change;
    case watch_family::style: return &watch_events::style_change;
    case watch_family::markup: return &watch_events::template_change;
    case watch_family::config: return &watch_events::config_change;
    default: return nullptr;
  }
}

void emit_event(const watch_event& event, emitter& to) {
  if (event.kind == watch_kind::error) {
    to.emit(events::error, *event.why);
    return;
  }
  to.emit(watch_events::all, event);
  if (event.kind == watch_kind::ready) to.emit(watch_events::ready);
  if (const auto* own = event_of(event.kind)) to.emit(*own, event);
  if (event.kind != watch_kind::add && event.kind != watch_kind::change) return;
  if (const auto* of_family = event_of(family_of(event.path))) to.emit(*of_family, event);
  if (event.previous_size && event.stats && *event.previous_size != event.stats->size) {
    to.emit(watch_events::size_change, event);
  }
}

}  // namespace

task<> emit_events(watcher& from, emitter& to) {
  while (auto event = co_await from.next()) emit_event(*event, to);
  to.emit(watch_events::close);
}

}  // namespace weir::fs
