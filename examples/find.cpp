// find [DIRECTORY...] [-name PATTERN] [-type f|d|l|p|s|b|c] [-size [+-]N[ckMG]] [-maxdepth N] [-L]: prints the paths
// below the directories for which all of that is true, as find(1) does. Directories that cannot be read are reported
// and passed over; then it ends with 1.
#include <weir/fs/glob_pattern.hpp>
#include <weir/fs/path.hpp>
#include <weir/fs/walk.hpp>
#include <weir/weir.hpp>

#include <atomic>
#include <cctype>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

using namespace weir;

struct size_rule {
  char how = '=';  // '+': more than, '-': less than
  std::uint64_t units = 0;
  std::uint64_t unit = 512;

  /// As find: sizes are rounded up to the unit.
  bool accepts(std::uint64_t bytes) const {
    const auto have = (bytes + unit - 1) / unit;
    if (how == '+') return have > units;
    return how == '-' ? have < units : have == units;
  }
};

struct query {
  std::vector<std::string> roots;
  std::optional<fs::glob_pattern> name;
  std::optional<fs::file_type> type;
  std::optional<size_rule> size;
  std::uint32_t max_depth = std::numeric_limits<std::uint32_t>::max();
  bool follow = false;
};

error bad(const std::string& what) { return {errc::err_invalid_arg_value, "find: " + what}; }

std::uint64_t number(const std::string& text, const std::string& option) {
  if (text.empty() || text.size() > 9 || text.find_first_not_of("0123456789") != std::string::npos)
    throw bad("'" + text + "' is no number for " + option);
  return std::stoull(text);
}

fs::file_type type_of(const std::string& letter) {
  if (letter == "f") return fs::file_type::regular;
  if (letter == "d") return fs::file_type::directory;
  if (letter == "l") return fs::file_type::symlink;
  if (letter == "p") return fs::file_type::fifo;
  if (letter == "s") return fs::file_type::socket;
  if (letter == "b") return fs::file_type::block_device;
  if (letter == "c") return fs::file_type::character_device;
  throw bad("-type knows f, d, l, p, s, b and c, not '" + letter + "'");
}

size_rule size_of(std::string text) {
  size_rule rule;
  if (!text.empty() && (text.front() == '+' || text.front() == '-')) {
    rule.how = text.front();
    text.erase(0, 1);
  }
  if (!text.empty() && std::isalpha(static_cast<unsigned char>(text.back())) != 0) {
    switch (text.back()) {
      case 'c': rule.unit = 1; break;
      case 'k': rule.unit = 1024; break;
      case 'M': rule.unit = 1024 * 1024; break;
      case 'G': rule.unit = 1024 * 1024 * 1024; break;
      default: throw bad("-size knows c, k, M and G");
    }
    text.pop_back();
  }
  rule.units = number(text, "-size");
  return rule;
}

query parse(const std::vector<std::string>& words) {
  query wanted;
  for (std::size_t i = 0; i < words.size(); ++i) {
    const auto& word = words[i];
    if (!word.starts_with('-')) {
      wanted.roots.push_back(word);
      continue;
    }
    if (word == "-L") {
      wanted.follow = true;
      continue;
    }
    if (i + 1 == words.size()) throw bad(word + " needs a value");
    const auto& value = words[++i];
    if (word == "-name") {
      wanted.name.emplace(value, fs::glob_options{.dot = true, .braces = false, .extended = false});
    } else if (word == "-type") {
      wanted.type = type_of(value);
    } else if (word == "-size") {
      wanted.size = size_of(value);
    } else if (word == "-maxdepth") {
      wanted.max_depth = static_cast<std::uint32_t>(number(value, word));
    } else {
      throw bad("unknown option " + word);
    }
  }
  if (wanted.roots.empty()) wanted.roots.emplace_back(".");
  return wanted;
}

/// Asked on threads that may block, so that the call for the size costs the others nothing.
bool accepts(const query& wanted, const std::string& path, std::string_view name, fs::file_type type) {
  if (wanted.type && type != *wanted.type) return false;
  if (wanted.name && !wanted.name->matches(name)) return false;
  if (!wanted.size) return true;
  auto found = (wanted.follow ? fs::stat(path) : fs::lstat(path)).try_now();
  return found && wanted.size->accepts(found->size);
}

void print_line(const std::string& path) {
  std::fwrite(path.data(), 1, path.size(), stdout);
  std::putc('\n', stdout);
}

task<bool> find_below(std::string root, const query& wanted) {
  // The directory itself, which a walk does not give.
  auto self = co_await attempt(wanted.follow ? fs::stat(root) : fs::lstat(root));
  if (!self) {
    std::fprintf(stderr, "find: %s\n", self.failure().message().c_str());
    co_return false;
  }
  if (accepts(wanted, root, path::basename(root), self->type())) print_line(root);
  if (!self->is_directory()) co_return true;

  std::atomic<bool> complete{true};
  fs::walk_options how{
      .max_depth = wanted.max_depth, .follow_symlinks = wanted.follow, .errors = fs::walk_errors::skip};
  how.filter = [&](const fs::walk_entry& entry) {
    return accepts(wanted, entry.path, entry.name(), entry.type) ? fs::walk_choice::take : fs::walk_choice::skip;
  };
  how.on_skipped = [&](const error& why) {
    std::fprintf(stderr, "find: %s\n", why.what());
    complete = false;
  };
  auto entries = fs::walk(std::move(root), std::move(how));
  while (auto entry = co_await entries.next()) print_line(entry->path);
  co_return complete;
}

task<int> find_all(query wanted) {
  bool complete = true;
  for (auto& root : wanted.roots) {
    auto outcome = co_await attempt(find_below(root, wanted));
    if (!outcome) std::fprintf(stderr, "find: %s\n", outcome.failure().message().c_str());
    complete = complete && outcome && *outcome;
  }
  co_return complete ? 0 : 1;
}

int main(int argc, char** argv) {
  try {
    return run(find_all(parse({argv + 1, argv + argc})), {.workers = 1});
  } catch (const error& why) {
    std::fprintf(stderr, "%s\n", why.what());
    return 2;
  }
}
