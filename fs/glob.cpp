#include <weir/fs/glob.hpp>

#include <weir/core/task.hpp>

#include <algorithm>
#include <memory>

namespace weir::fs {
namespace {

/// One that ends in a slash is for directories only.
struct compiled {
  compiled(const std::string& text, const glob_options& rules)
      : pattern(text, rules), directories(text.ends_with('/')) {}

  bool matches(const walk_entry& entry) const {
    if (!directories) return pattern.matches(entry.relative());
    return entry.is_directory() && pattern.matches(std::string(entry.relative()) + '/');
  }

  glob_pattern pattern;
  bool directories;
};

/// What is looked for.
class matcher {
 public:
  matcher(const glob_patterns& patterns, const glob_search& options);

  walk_choice judge(const walk_entry& entry) const;

  /// The directories that the patterns begin with, none below another.
  const std::vector<std::string>& bases() const noexcept { return bases_; }

 private:
  static bool any_matches(const std::vector<compiled>& of, const walk_entry& entry);
  void add_base(std::string base);

  std::vector<compiled> wanted_;
  std::vector<compiled> excluded_;
  std::vector<std::string> bases_;
};

bool is_below(std::string_view path, std::string_view directory) noexcept {
  if (directory.empty()) return !path.starts_with('/') && path != ".." && !path.starts_with("../");
  if (!path.starts_with(directory)) return false;
  return path.size() == directory.size() || directory.back() == '/' || path[directory.size()] == '/';
}

matcher::matcher(const glob_patterns& patterns, const glob_search& options) {
  for (auto& text : patterns.texts()) {
    wanted_.emplace_back(text, options.rules);
    for (auto& base : wanted_.back().pattern.bases()) add_base(std::move(base));
  }
  auto rules = options.rules;
  rules.dot = true;  // a dot file is left out by "*" as well
  for (auto& text : options.exclude) excluded_.emplace_back(text, rules);
}

void matcher::add_base(std::string base) {
  for (auto& known : bases_)
    if (is_below(base, known)) return;
  std::erase_if(bases_, [&](auto& known) { return is_below(known, base); });
  bases_.push_back(std::move(base));
}

bool matcher::any_matches(const std::vector<compiled>& of, const walk_entry& entry) {
  return std::any_of(of.begin(), of.end(), [&](auto& each) { return each.matches(entry); });
}

walk_choice matcher::judge(const walk_entry& entry) const {
  if (!excluded_.empty() && any_matches(excluded_, entry)) return walk_choice::drop;
  const bool given = any_matches(wanted_, entry);
  if (!entry.is_directory()) return given ? walk_choice::prune : walk_choice::drop;
  const auto path = entry.relative();
  const bool entered =
      std::any_of(wanted_.begin(), wanted_.end(), [&](auto& each) { return each.pattern.may_match_below(path); });
  if (entered) return given ? walk_choice::take : walk_choice::skip;
  return given ? walk_choice::prune : walk_choice::drop;
}

/// The directory `base` of a pattern as the system is to find it.
detail::walk_root root_of(const std::string& base, const std::string& cwd) {
  if (base.starts_with('/')) return {base, 0};
  if (cwd.empty()) return base.empty() ? detail::rooted_at(".") : detail::walk_root{base, 0};
  auto root = detail::rooted_at(cwd);
  if (base.empty()) return root;
  if (root.path.back() != '/') root.path += '/';
  root.path += base;
  return root;
}

walk_options options_for(const glob_search& options, std::shared_ptr<const matcher> find) {
  return {.max_depth = options.max_depth,
          .follow_symlinks = options.follow_symlinks,
          .sorted = options.sorted,
          .filter = [find = std::move(find)](const walk_entry& entry) { return find->judge(entry); },
          .errors = options.errors,
          .on_skipped = options.on_skipped,
          .threads = options.threads};
}

/// Whether a walk failed because there is no such directory.
bool has_no_root(const failure& why, const std::string& root) {
  const auto made = why.error();
  return (made.errno_value() == ENOENT || made.errno_value() == ENOTDIR) && made.path() == root;
}

result<std::vector<std::string>> glob_now(const glob_patterns& patterns, const glob_search& options,
                                          const stop_flag& stop) {
  auto find = std::make_shared<const matcher>(patterns, options);
  std::vector<std::string> paths;
  for (auto& base : find->bases()) {
    auto root = root_of(base, options.cwd);
    auto found = detail::walk_now(root, options_for(options, find), stop);
    if (!found && has_no_root(found.failure(), root.path)) continue;
    if (!found) return found.failure();
    for (auto& each : *found) {
      each.path.erase(0, each.relative_at);
      paths.push_back(std::move(each.path));
    }
  }
  return paths;
}

}  // namespace

generator<walk_entry> glob(glob_patterns patterns, glob_search options) {
  auto find = std::make_shared<const matcher>(patterns, options);
  for (auto& base : find->bases()) {
    auto root = root_of(base, options.cwd);
    auto entries = detail::walk_from(root, options_for(options, find));
    for (;;) {
      auto next = co_await attempt(entries.next());
      if (!next && has_no_root(next.failure(), root.path)) break;
      auto entry = std::move(next).value();
      if (!entry) break;
      co_yield std::move(*entry);
    }
  }
}

call<std::vector<std::string>> glob_all(glob_patterns patterns, glob_search options) {
  return {"getdents64", [patterns = std::move(patterns), options = std::move(options)](const stop_flag& stop) {
            return glob_now(patterns, options, stop);
          }};
}

}  // namespace weir::fs
