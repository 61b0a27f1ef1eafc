// tests/conformance/watch.cpp: what watchers of a directory tell after each step of a script.
#include "tests/conformance/driver.hpp"
#include "tests/conformance/scratch.hpp"

#include <weir/fs/attributes.hpp>
#include <weir/fs/contents.hpp>
#include <weir/fs/directory.hpp>
#include <weir/fs/entry.hpp>
#include <weir/fs/path.hpp>
#include <weir/fs/remove.hpp>
#include <weir/fs/watch.hpp>
#include <weir/fs/watcher.hpp>

#include <chrono>
#include <set>

namespace weir::conformance {
namespace {

using std::chrono::milliseconds;

std::string full(const std::string& base, const json& name) { return path::join(base, name.get<std::string>()); }

task<> take_step(const std::string& base, const json& s) {
  const auto& what = s[0].get_ref<const std::string&>();
  const auto name = full(base, what == "symlink" ? s[2] : s[1]);
  if (what == "write") {
    co_await fs::write_file(name, s[2].get_ref<const std::string&>());
  } else if (what == "append") {
    co_await fs::append_file(name, s[2].get_ref<const std::string&>());
  } else if (what == "mkdir") {
    static_cast<void>(co_await fs::mkdir(name, {.recursive = true}));
  } else if (what == "unlink") {
    co_await fs::unlink(name);
  } else if (what == "rmdir") {
    co_await fs::rmdir(name);
  } else if (what == "rm") {
    co_await fs::rm(name, {.recursive = true, .force = true});
  } else if (what == "rename") {
    co_await fs::rename(name, full(base, s[2]));
  } else if (what == "chmod") {
    co_await fs::chmod(name, static_cast<std::uint32_t>(std::stoul(s[2].get<std::string>(), nullptr, 8)));
  } else if (what == "symlink") {
    co_await fs::symlink(s[1], name);
  } else if (what == "touch") {
    const fs::time_point when{std::chrono::seconds(s[2].get<std::int64_t>())};
    co_await fs::utimes(name, when, when);
  } else {
    throw unsupported_arguments();
  }
}

/// A step, or several at once.
task<> take_steps(const std::string& base, const json& s) {
  if (s[0].is_string()) co_return co_await take_step(base, s);
  for (const auto& each : s) co_await take_step(base, each);
}

std::string text_of(const fs::watch_notice& notice, const std::string&) {
  std::string text = notice.action == fs::watch_action::rename ? "rename " : "change ";
  return text + notice.name.value_or("");
}

std::string text_of(const fs::watch_event& event, const std::string& base) {
  return std::string(fs::name_of(event.kind)) + " " + path::relative(base, event.path);
}

/// Takes the steps, and notes what is told until it has been quiet enough for each.
template <class Watch>
class watch_script {
 public:
  watch_script(std::string base, Watch& watched) : base_(std::move(base)), watched_(watched) {}

  task<json> run(const json& steps, milliseconds settle) {
    json answers = json::array();
    co_await with_scope([&](scope& s) -> task<> {
      s.spawn_local([](watch_script& self) -> task<> { co_await self.listen(); }, std::ref(*this));
      co_await sleep(settle);
      for (const auto& each : steps) {
        told_.clear();
        co_await take_steps(base_, each);
        co_await sleep(settle);
        answers.push_back(told_);
      }
      watched_.close();
    });
    co_return answers;
  }

 private:
  task<> listen() {
    while (auto event = co_await watched_.next()) told_.insert(text_of(*event, base_));
  }

  std::string base_;
  Watch& watched_;
  std::set<std::string> told_;
};

milliseconds settle_time(const arguments& a, std::size_t i, milliseconds usual) {
  return a.has(i) ? milliseconds(a[i].get<int>()) : usual;
}

/// Runs a script in a directory of its own.
template <class F>
task<json> in_scratch(F body) {
  auto directory = co_await make_scratch();
  auto answers = co_await attempt(body(directory));
  co_await fs::rm(directory, {.recursive = true, .force = true});
  co_return std::move(answers).value();
}

task<json> watch_raw(std::string base, const arguments& a) {
  for (const auto& each : a[1]) co_await take_steps(base, each);
  auto watched = co_await fs::watch(full(base, a[0]), {.follow_replaced = false});
  watch_script<fs::path_watch> script(base, watched);
  co_return co_await script.run(a[2], settle_time(a, 3, milliseconds(60)));
}

task<json> watch_tree(std::string base, const arguments& a) {
  for (const auto& each : a[1]) co_await take_steps(base, each);
  fs::watcher_options options;
  for (const auto& each : option(a[0], "ignored")) options.ignored.push_back(each);
  if (const auto& depth = option(a[0], "depth"); depth.is_number()) options.depth = size_of(depth);
  fs::watcher watched(base, options);
  co_await watched.ready();
  watch_script<fs::watcher> script(base, watched);
  co_return co_await script.run(a[2], settle_time(a, 3, milliseconds(250)));
}

}  // namespace

void add_watch(operations& all) {
  all.add_async("watch.raw", [](arguments a) -> task<json> {
    return in_scratch([a = std::move(a)](std::string base) { return watch_raw(std::move(base), a); });
  });
  all.add_async("watch.tree", [](arguments a) -> task<json> {
    return in_scratch([a = std::move(a)](std::string base) { return watch_tree(std::move(base), a); });
  });
}

}  // namespace weir::conformance
