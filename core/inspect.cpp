#include <weir/core/inspect.hpp>

#include <weir/core/scope.hpp>
#include <weir/core/worker.hpp>

#include <fmt/format.h>

#include <string_view>

namespace weir {
namespace detail {
namespace {

// Deep recursion in a dump or a backtrace is cut here.
constexpr std::size_t most_frames = 64;

std::string_view file_name(const char* path) {
  std::string_view name(path);
  auto slash = name.rfind('/');
  return slash == std::string_view::npos ? name : name.substr(slash + 1);
}

std::string line_of(const std::source_location& where) {
  return fmt::format("{} ({}:{})", where.function_name(), file_name(where.file_name()), where.line());
}

// Frames from `innermost` to the first of the fiber.
void add_frames(std::coroutine_handle<> innermost, std::vector<std::source_location>& to) {
  for (auto frame = innermost; to.size() < most_frames;) {
    auto& promise = promise_of(frame);
    to.push_back(promise.where);
    auto next = promise.continuation.load(std::memory_order_relaxed);
    if ((next & first_frame) != 0 || next == 0) return;
    frame = std::coroutine_handle<>::from_address(reinterpret_cast<void*>(next));
  }
}

class dumper {
 public:
  void visit(group& g, unsigned depth) {
    g.each_fiber([&](fiber& f) { visit(f, depth); });
  }

  std::string text;

 private:
  void visit(fiber& f, unsigned depth) {
    std::string indent(std::size_t{2} * depth, ' ');
    std::string_view name = f.has(fiber::counted) ? static_cast<child&>(f).name() : std::string_view();
    auto label = name.empty() ? std::string("task") : fmt::format("task '{}'", name);
    wait* held = f.hold();
    if (held == nullptr) {
      text += fmt::format("{}- {}: ready or running\n", indent, label);
      return;
    }
    text += fmt::format("{}- {}: waits for {}{}\n", indent, label, held->what(),
                        f.has(fiber::cancelled) ? " (asked to stop)" : "");
    std::vector<std::source_location> frames;
    add_frames(f.resume_at, frames);
    for (const auto& each : frames) text += fmt::format("{}    at {}\n", indent, line_of(each));
    group* below = held->members();
    if (auto* several = dynamic_cast<compound_wait*>(held)) below = list_parts(*several, indent);
    if (below != nullptr && depth < most_frames) visit(*below, depth + 1);
    f.let_go(*held);
  }

  group* list_parts(const compound_wait& several, const std::string& indent) {
    for (std::size_t i = 0; i < several.parts(); ++i) {
      if (const char* part = several.part(i)) text += fmt::format("{}  - {}\n", indent, part);
    }
    return several.branches();
  }
};

}  // namespace

// The fibers above are blocked on the groups in between, so their frames stand still.
std::vector<std::source_location> backtrace_awaiter::await_resume() const {
  std::vector<std::source_location> frames;
  auto at = frame;
  while (at && frames.size() < most_frames) {
    add_frames(at, frames);
    fiber* running = promise_of(at).running;
    fiber* parent = running->owner != nullptr ? running->owner->waiting_parent() : nullptr;
    at = parent != nullptr ? parent->resume_at : nullptr;
  }
  return frames;
}

std::string dump(executor& of) {
  dumper tree;
  if (group* top = of.top.load(std::memory_order_acquire)) tree.visit(*top, 0);
  return tree.text;
}

}  // namespace detail

std::string to_string(const std::vector<std::source_location>& backtrace) {
  std::string text;
  for (const auto& each : backtrace) text += "    at " + detail::line_of(each) + "\n";
  return text;
}

std::string task_dump() {
  auto* here = detail::current_worker();
  return here != nullptr ? detail::dump(here->home()) : std::string();
}

}  // namespace weir
