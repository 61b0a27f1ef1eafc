// core/cpus.cpp: finds the process's cgroup directories from /proc/self/cgroup and /proc/self/mountinfo and
// walks each up to its mount point, because a quota holds for everything below it.
#include <weir/core/cpus.hpp>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <fstream>
#include <limits>
#include <memory>
#include <string_view>
#include <vector>

#include <sched.h>
#include <unistd.h>

namespace weir {
namespace {

enum class version { v1, v2 };

struct membership {
  version kind;
  std::string path;  // of the cgroup, in its hierarchy
};

struct mount {
  version kind;
  std::string root;   // the cgroup that is mounted
  std::string point;  // where it is seen
};

std::vector<std::string> lines_of(const std::string& file) {
  std::vector<std::string> lines;
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) lines.push_back(std::move(line));
  return lines;
}

std::string first_line_of(const std::string& file) {
  std::string line;
  std::ifstream in(file);
  std::getline(in, line);
  return line;
}

std::string_view next_field(std::string_view& text, char separator) {
  const auto end = std::min(text.find(separator), text.size());
  const auto field = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return field;
}

bool lists(std::string_view names, std::string_view wanted) {
  while (!names.empty()) {
    if (next_field(names, ',') == wanted) return true;
  }
  return false;
}

bool is_octal(char c) { return c >= '0' && c <= '7'; }

// The kernel writes space, tab, newline and backslash in mountinfo as \ooo.
std::string unescaped(std::string_view text) {
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size() && std::all_of(&text[i + 1], &text[i + 1] + 3, is_octal)) {
      plain += static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0'));
      i += 3;
    } else {
      plain += text[i];
    }
  }
  return plain;
}

// Lines are "id:controllers:path"; v2 has id 0 and no controllers. The path itself may hold colons.
std::vector<membership> memberships(const std::string& root) {
  std::vector<membership> found;
  for (const std::string& line : lines_of(root + "/proc/self/cgroup")) {
    std::string_view rest = line;
    const auto id = next_field(rest, ':');
    const auto controllers = next_field(rest, ':');
    if (id == "0" && controllers.empty())
      found.push_back({version::v2, std::string(rest)});
    else if (lists(controllers, "cpu"))
      found.push_back({version::v1, std::string(rest)});
  }
  return found;
}

// "id parent major:minor root point options optional... - type source super-options"
std::optional<mount> parse_mount(std::string_view line) {
  const auto separator = line.find(" - ");
  if (separator == std::string_view::npos) return std::nullopt;
  std::string_view left = line.substr(0, separator), right = line.substr(separator + 3);
  for (int skipped = 0; skipped < 3; ++skipped) next_field(left, ' ');
  const auto root = next_field(left, ' ');
  const auto point = next_field(left, ' ');
  const auto type = next_field(right, ' ');
  next_field(right, ' ');
  if (type == "cgroup2") return mount{version::v2, unescaped(root), unescaped(point)};
  if (type == "cgroup" && lists(right, "cpu")) return mount{version::v1, unescaped(root), unescaped(point)};
  return std::nullopt;
}

std::vector<mount> mounts(const std::string& root) {
  std::vector<mount> found;
  for (const std::string& line : lines_of(root + "/proc/self/mountinfo")) {
    if (auto parsed = parse_mount(line)) found.push_back(*std::move(parsed));
  }
  return found;
}

// `path` as seen below a mount of `top`: "" for the same cgroup, nothing if it lies elsewhere.
std::optional<std::string> below(std::string_view path, std::string_view top) {
  if (path == "/") path = "";
  if (top == "/") top = "";
  if (!path.starts_with(top) || path.find("/..") != std::string_view::npos) return std::nullopt;
  path.remove_prefix(top.size());
  if (!path.empty() && path.front() != '/') return std::nullopt;
  return std::string(path);
}

std::optional<std::uint64_t> number(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (problem != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<unsigned> quota_in(const std::string& directory, version kind) {
  std::optional<std::uint64_t> quota, period;
  if (kind == version::v2) {
    const std::string line = first_line_of(directory + "/cpu.max");  // "max 100000" or "150000 100000"
    std::string_view rest = line;
    quota = number(next_field(rest, ' '));
    period = number(rest);
  } else {
    quota = number(first_line_of(directory + "/cpu.cfs_quota_us"));  // -1 without a limit
    period = number(first_line_of(directory + "/cpu.cfs_period_us"));
  }
  if (!quota || !period || *period == 0) return std::nullopt;
  const std::uint64_t cpus = *quota / *period + (*quota % *period != 0);
  return static_cast<unsigned>(std::clamp<std::uint64_t>(cpus, 1, std::numeric_limits<unsigned>::max()));
}

void lower(std::optional<unsigned>& limit, std::optional<unsigned> other) {
  if (other && (!limit || *other < *limit)) limit = other;
}

std::optional<unsigned> tightest_quota(const std::string& point, std::string inner, version kind) {
  std::optional<unsigned> limit;
  for (;;) {
    lower(limit, quota_in(point + inner, kind));
    if (inner.empty()) return limit;
    inner.resize(inner.rfind('/'));
  }
}

std::optional<unsigned> quota_of(const membership& member, const std::vector<mount>& all, const std::string& root) {
  const mount* best = nullptr;
  std::optional<std::string> inner;
  for (const mount& each : all) {
    if (each.kind != member.kind) continue;
    auto seen = below(member.path, each.root);
    const bool shows_more = seen && (!inner || seen->size() > inner->size());
    if (best != nullptr && !shows_more) continue;
    best = &each;
    inner = std::move(seen);
  }
  // In a container the path may name a cgroup outside of what is mounted: the mount point is then our own
  // cgroup or one above it, and what it says is the best there is.
  if (best == nullptr) return std::nullopt;
  return tightest_quota(root + best->point, inner.value_or(""), member.kind);
}

}  // namespace

unsigned affinity_cpus() {
  constexpr std::size_t most = std::size_t{1} << 20;  // CPUs; the kernel refuses a mask smaller than its own
  for (std::size_t count = 1024; count <= most; count *= 2) {
    const std::size_t size = CPU_ALLOC_SIZE(count);
    std::vector<unsigned long> words(size / sizeof(unsigned long));
    auto* mask = reinterpret_cast<cpu_set_t*>(words.data());
    if (::sched_getaffinity(0, size, mask) != 0) continue;
    return static_cast<unsigned>(std::max(1, CPU_COUNT_S(size, mask)));
  }
  return static_cast<unsigned>(std::max(1L, ::sysconf(_SC_NPROCESSORS_ONLN)));
}

std::optional<unsigned> cgroup_cpus(const std::string& root) {
  const auto all = mounts(root);
  std::optional<unsigned> limit;
  for (const membership& member : memberships(root)) lower(limit, quota_of(member, all, root));
  return limit;
}

unsigned available_parallelism() {
  const unsigned mask = affinity_cpus();
  return std::min(mask, cgroup_cpus().value_or(mask));
}

}  // namespace weir
