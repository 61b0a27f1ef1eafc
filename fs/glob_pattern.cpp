// fs/glob_pattern.cpp: a pattern as a list of lists of components, and the ways through them that a path may take. The
// states of a match are places in such a list, kept as a set, so that several `**` cost no more than one.
#include <weir/fs/glob_braces.hpp>
#include <weir/fs/glob_component.hpp>
#include <weir/fs/glob_pattern.hpp>

#include <weir/core/error.hpp>

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <span>

#include <fmt/format.h>

namespace weir::fs {
namespace {

using detail::glob_component;
using std::string_view;
using names = std::vector<string_view>;

constexpr std::size_t max_length = 65536;

bool is_drive(string_view name) noexcept {
  return name.size() == 2 && name[1] == ':' && ((name[0] | 0x20) >= 'a' && (name[0] | 0x20) <= 'z');
}

/// The components of a path, an empty one first if it is absolute and last if it ends in a slash.
void split(string_view path, bool windows, names& into) {
  const bool share = windows && path.starts_with("//") && path.size() > 2 && path[2] != '/';
  if (share) into.emplace_back();
  for (;;) {
    const std::size_t slash = path.find('/');
    into.push_back(path.substr(0, slash));
    if (slash == string_view::npos) return;
    path.remove_prefix(slash);
    while (path.starts_with('/')) path.remove_prefix(1);
  }
}

/// `//?/C:/a` is `C:/a`.
void drop_namespace(names& parts) {
  if (parts.size() > 3 && parts[0].empty() && parts[1].empty() && parts[2] == "?" && is_drive(parts[3]))
    parts.erase(parts.begin(), parts.begin() + 3);
}

bool same_drive_as_lower(string_view name, string_view lowered) noexcept {
  return is_drive(name) && is_drive(lowered) && (name[0] | 0x20) == (lowered[0] | 0x20);
}

/// Takes out `.` and empty components that are neither first nor last. @return whether there were any
bool squeeze(names& parts) {
  bool changed = false;
  for (std::size_t i = 1; i + 1 < parts.size();) {
    const bool share = i == 1 && parts[0].empty() && parts[1].empty();
    if (share || (parts[i] != "." && !parts[i].empty())) {
      ++i;
      continue;
    }
    parts.erase(parts.begin() + static_cast<std::ptrdiff_t>(i));
    changed = true;
  }
  if (parts.size() == 2 && parts[0] == "." && (parts[1] == "." || parts[1].empty())) {
    parts.pop_back();
    changed = true;
  }
  return changed;
}

/// Takes out each `..` with what it leads out of. @return whether there were any
bool climb(names& parts, bool is_pattern, bool windows) {
  bool changed = false;
  for (std::size_t i = 1; i < parts.size();) {
    const string_view before = parts[i - 1];
    const bool leads_out = parts[i] == ".." && !before.empty() && before != "." && before != ".." && before != "**";
    if (!leads_out || (windows && !is_pattern && is_drive(before))) {
      ++i;
      continue;
    }
    // A `**` that comes first now must not match the root's empty component.
    const bool needs_dot = is_pattern && i == 1 && parts.size() > 2 && parts[2] == "**";
    const auto at = parts.begin() + static_cast<std::ptrdiff_t>(i);
    parts.erase(at - 1, at + 1);
    if (needs_dot) parts.insert(parts.begin(), ".");
    i = i > 1 ? i - 1 : 1;
    changed = true;
  }
  if (parts.empty()) parts.emplace_back();
  return changed;
}

bool needs_resolving(const names& parts) noexcept {
  for (std::size_t i = 1; i < parts.size(); ++i) {
    if (parts[i] == "..") return true;
    if (parts[i] == "." && (i + 1 < parts.size() || i == 1)) return true;
    if (parts[i].empty() && (i + 1 < parts.size() || parts[0] == ".")) return true;
  }
  return false;
}

/// One of `**` after the other, `.` and `..` resolved. `**/../a/b` is both `../a/b` and `**/a/b`: the second is added.
void resolve_patterns(std::vector<names>& patterns, std::size_t max, bool windows) {
  for (std::size_t p = 0; p < patterns.size(); ++p) {
    for (bool changed = true; changed;) {
      changed = false;
      for (std::size_t i = 0; i < patterns[p].size(); ++i) {
        names& parts = patterns[p];
        if (parts[i] != "**") continue;
        const auto at = parts.begin() + static_cast<std::ptrdiff_t>(i);
        parts.erase(at + 1, std::find_if(at + 1, parts.end(), [](string_view one) { return one != "**"; }));
        const auto is_name = [&](std::size_t k) {
          return k < parts.size() && !parts[k].empty() && parts[k] != "." && parts[k] != "..";
        };
        if (i + 1 >= parts.size() || parts[i + 1] != ".." || !is_name(i + 2) || !is_name(i + 3)) continue;
        names other = parts;
        other.erase(other.begin() + static_cast<std::ptrdiff_t>(i) + 1);
        parts.erase(parts.begin() + static_cast<std::ptrdiff_t>(i));
        if (patterns.size() == max)
          throw error(errc::err_invalid_arg_value,
                      fmt::format("The glob pattern is too large: it stands for more than {} patterns", max));
        patterns.push_back(std::move(other));
        changed = true;
      }
      changed = squeeze(patterns[p]) || changed;
      changed = climb(patterns[p], true, windows) || changed;
    }
  }
}

/// A set of small numbers, near unless there are many.
class state_set {
 public:
  explicit state_set(std::size_t count) : words_((count + 63) / 64), bits_(near_.data()) {
    if (words_ <= near_.size()) return;
    far_.resize(words_);
    bits_ = far_.data();
  }
  state_set(const state_set&) = delete;
  state_set& operator=(const state_set&) = delete;

  void add(std::size_t i) noexcept { bits_[i / 64] |= std::uint64_t{1} << (i % 64); }
  bool has(std::size_t i) const noexcept { return (bits_[i / 64] >> (i % 64) & 1) != 0; }
  void clear() noexcept { std::fill_n(bits_, words_, 0); }
  bool empty() const noexcept {
    return std::all_of(bits_, bits_ + words_, [](auto word) { return word == 0; });
  }

 private:
  std::size_t words_;
  std::array<std::uint64_t, 4> near_{};
  std::vector<std::uint64_t> far_;
  std::uint64_t* bits_;
};

using file = std::span<const string_view>;

/// A list of components and how a path goes through it.
class alternative {
 public:
  alternative(const names& parts, const detail::component_rules& rules, bool windows) : windows_(windows) {
    parts_.reserve(parts.size());
    for (string_view part : parts) parts_.emplace_back(part, rules);
    for (std::size_t i = 0; i < parts_.size(); ++i)
      if (parts_[i].is_globstar()) stars_.push_back(i);
  }

  std::size_t size() const noexcept { return parts_.size(); }
  const glob_component& operator[](std::size_t i) const noexcept { return parts_[i]; }

  bool matches(file path) const {
    if (stars_.empty()) return in_order(path) || (ends_in_slash(path) && in_order(path.first(path.size() - 1)));
    if (stars_.size() == 1)
      return around_star(path) ||
             (ends_in_slash(path) && path.size() > 1 && !stars_last() && around_star(path.first(path.size() - 1)));
    return in_steps(path);
  }

  /// Whether a path that starts with these components and goes on can match.
  bool goes_on_after(file path) const {
    state_set now(parts_.size() + 1), next(parts_.size() + 1);
    start(now);
    for (std::size_t i = 0; i < path.size(); ++i) {
      advance(now, next, path[i], i);
      if (now.empty()) return false;
    }
    for (std::size_t s = 0; s < parts_.size(); ++s)
      if (now.has(s) && !parts_[s].is_empty()) return true;
    return false;
  }

 private:
  static bool ends_in_slash(file path) noexcept { return path.back().empty(); }
  bool stars_last() const noexcept { return stars_.back() + 1 == parts_.size(); }

  bool part_matches(std::size_t part, string_view name, std::size_t index) const {
    if (parts_[part].matches(name)) return true;
    return windows_ && part == 0 && index == 0 && parts_[0].is_literal() &&
           same_drive_as_lower(name, parts_[0].literal());
  }

  bool in_order(file path) const {
    if (path.size() != parts_.size()) return false;
    for (std::size_t i = 0; i < path.size(); ++i)
      if (!part_matches(i, path[i], i)) return false;
    return true;
  }

  bool around_star(file path) const {
    const std::size_t head = stars_.front(), tail = parts_.size() - head - 1;
    if (path.size() < head + std::max<std::size_t>(tail, stars_last() ? 1 : 0)) return false;
    if (path.size() < head + tail) return false;
    for (std::size_t i = 0; i < head; ++i)
      if (!part_matches(i, path[i], i)) return false;
    const std::size_t tail_begin = path.size() - tail;
    for (std::size_t i = tail_begin; i < path.size(); ++i)
      if (!part_matches(head + 1 + i - tail_begin, path[i], i)) return false;
    for (std::size_t i = head; i < tail_begin; ++i)
      if (!parts_[head].matches(path[i])) return false;
    return true;
  }

  bool in_steps(file path) const {
    state_set now(parts_.size() + 1), next(parts_.size() + 1);
    start(now);
    for (std::size_t i = 0; i < path.size(); ++i) {
      if (i + 1 == path.size() && ends_in_slash(path) && now.has(parts_.size())) return true;
      advance(now, next, path[i], i);
      if (now.empty()) return false;
    }
    return now.has(parts_.size());
  }

  void start(state_set& now) const { enter(now, 0); }

  /// A `**` may stand for nothing, unless it is the last.
  void enter(state_set& set, std::size_t s) const {
    set.add(s);
    while (s + 1 < parts_.size() && parts_[s].is_globstar()) set.add(++s);
  }

  void advance(state_set& now, state_set& next, string_view name, std::size_t index) const {
    next.clear();
    for (std::size_t s = 0; s < parts_.size(); ++s) {
      if (!now.has(s) || !part_matches(s, name, index)) continue;
      if (parts_[s].is_globstar()) {
        enter(next, s);
        if (s + 1 == parts_.size()) next.add(s + 1);
      } else {
        enter(next, s + 1);
      }
    }
    now.clear();
    for (std::size_t s = 0; s <= parts_.size(); ++s)
      if (next.has(s)) now.add(s);
  }

  std::vector<glob_component> parts_;
  std::vector<std::size_t> stars_;
  bool windows_;
};

error refused(string_view why) { return {errc::err_invalid_arg_value, fmt::format("The argument 'pattern' {}", why)}; }

/// The literal directories in front: what the first wildcard, or the last component, is looked for in.
std::string base_of(const alternative& of) {
  std::size_t end = of.size();
  if (end > 1 && of[end - 1].is_empty()) --end;
  std::string made;
  for (std::size_t i = 0; i + 1 < end && of[i].is_literal(); ++i) {
    if (i > 0 && !made.ends_with('/')) made += '/';
    made += of[i].literal();
    if (i == 0 && made.empty()) made = "/";
  }
  return made;
}

bool is_below(string_view base, string_view of) noexcept {
  if (of.empty())
    return base.empty() ||
           (base[0] != '/' && base != "." && base != ".." && !base.starts_with("./") && !base.starts_with("../"));
  return base.starts_with(of) && (base.size() == of.size() || of.ends_with('/') || base[of.size()] == '/');
}

}  // namespace

struct glob_pattern::compiled {
  std::string text;
  glob_options options;
  std::vector<alternative> alternatives;

  /// The components of a path, resolved.
  names components_of(string_view path) const {
    names parts;
    parts.reserve(static_cast<std::size_t>(std::ranges::count(path, '/')) + 2);
    split(path, options.windows, parts);
    if (options.windows) drop_namespace(parts);
    if (!needs_resolving(parts)) return parts;
    for (bool changed = true; changed;) {
      changed = squeeze(parts);
      changed = climb(parts, false, options.windows) || changed;
    }
    return parts;
  }

  /// The path with one kind of slash; `room` keeps it if it had to change.
  string_view slashed(string_view path, std::string& room) const {
    if (!options.windows || path.find('\\') == string_view::npos) return path;
    room = path;
    std::ranges::replace(room, '\\', '/');
    return room;
  }
};

glob_pattern::glob_pattern(std::string_view text, glob_options options) {
  if (text.size() > max_length) throw refused("is a glob pattern of more than 65536 bytes");
  if (text.find('\0') != string_view::npos) throw refused("is a glob pattern with a NUL byte");
  if (options.max_expansions == 0) throw refused("needs max_expansions of 1 or more");
  auto made = std::make_shared<compiled>(compiled{std::string(text), options, {}});

  std::string slashed(text);
  if (options.backslash_separates) std::ranges::replace(slashed, '\\', '/');
  const bool escapes = !options.backslash_separates;
  std::vector<std::string> texts{slashed};
  if (options.braces) texts = detail::expand_braces(slashed, escapes, options.max_expansions);

  std::vector<names> patterns;
  for (const std::string& one : texts) {
    names& parts = patterns.emplace_back();
    split(one, options.windows, parts);
    if (options.windows) drop_namespace(parts);
    if (!options.globstar) std::ranges::replace(parts, string_view("**"), string_view("*"));
  }
  resolve_patterns(patterns, std::max(options.max_expansions, texts.size()), options.windows);
  std::ranges::sort(patterns);
  const auto [same, end] = std::ranges::unique(patterns);
  patterns.erase(same, end);

  const detail::component_rules rules{options.dot, options.ignore_case, options.extended, escapes};
  made->alternatives.reserve(patterns.size());
  for (const names& parts : patterns) made->alternatives.emplace_back(parts, rules, options.windows);
  compiled_ = std::move(made);
}

bool glob_pattern::matches(std::string_view path) const {
  if (compiled_->text.empty()) return path.empty();
  std::string room;
  const names parts = compiled_->components_of(compiled_->slashed(path, room));
  std::size_t last = parts.size() - 1;
  while (last > 0 && parts[last].empty()) --last;
  return std::ranges::any_of(compiled_->alternatives, [&](const alternative& one) {
    const bool base = compiled_->options.match_base && one.size() == 1;
    return one.matches(base ? file(&parts[last], 1) : file(parts));
  });
}

bool glob_pattern::may_match_below(std::string_view directory) const {
  std::string room;
  names parts = compiled_->components_of(compiled_->slashed(directory, room));
  if (parts.size() > 1 && parts.back().empty()) parts.pop_back();
  if (parts.size() == 1 && !directory.starts_with('/') && (parts[0].empty() || parts[0] == ".")) parts.clear();
  return std::ranges::any_of(compiled_->alternatives, [&](const alternative& one) {
    const bool base = compiled_->options.match_base && one.size() == 1;
    return base || one.goes_on_after(parts);
  });
}

bool glob_pattern::has_wildcards() const noexcept {
  const auto& all = compiled_->alternatives;
  if (all.size() != 1) return true;
  for (std::size_t i = 0; i < all.front().size(); ++i)
    if (!all.front()[i].is_literal()) return true;
  return false;
}

std::vector<std::string> glob_pattern::bases() const {
  std::vector<std::string> all;
  for (const alternative& one : compiled_->alternatives) all.push_back(base_of(one));
  std::ranges::sort(all);
  std::vector<std::string> made;
  for (std::string& base : all)
    if (std::ranges::none_of(made, [&](const std::string& of) { return is_below(base, of); }))
      made.push_back(std::move(base));
  return made;
}

const std::string& glob_pattern::text() const noexcept { return compiled_->text; }

std::string glob_pattern::escape(std::string_view plain, glob_options options) {
  std::string made;
  made.reserve(plain.size() + 8);
  for (char c : plain) {
    const bool special = string_view("?*()[]{}").find(c) != string_view::npos;
    if (options.backslash_separates) {
      if (special) made += '[';
      made += c;
      if (special) made += ']';
    } else {
      if (special || c == '\\') made += '\\';
      made += c;
    }
  }
  return made;
}

}  // namespace weir::fs
