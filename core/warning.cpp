#include <weir/core/warning.hpp>

#include <cstdio>
#include <memory>
#include <mutex>
#include <set>
#include <utility>

namespace weir {
namespace {

using hook_type = std::function<bool(const warning&)>;

// Codes seen that are remembered; a program that makes up codes must not grow by them.
constexpr std::size_t kept_codes = 4096;

struct channel {
  std::mutex mutex;
  std::shared_ptr<const hook_type> hook;  // shared, so that it is called unlocked
  std::set<std::string, std::less<>> seen;
};

// Never destroyed: warnings come from destructors of globals, too.
channel& the_channel() {
  static auto* one = new channel;
  return *one;
}

bool seen_before(channel& c, std::string_view code) {
  std::lock_guard lock(c.mutex);
  if (c.seen.find(code) != c.seen.end()) return true;
  if (c.seen.size() < kept_codes) c.seen.emplace(code);
  return false;
}

bool taken_by_hook(channel& c, const warning& what) {
  std::shared_ptr<const hook_type> hook;
  {
    std::lock_guard lock(c.mutex);
    hook = c.hook;
  }
  if (!hook) return false;
  try {
    return (*hook)(what);
  } catch (...) {  // whoever warned has not failed
    return false;
  }
}

}  // namespace

std::string to_string(const warning& what) {
  std::string line = "weir: ";
  if (!what.code.empty()) line += '[' + what.code + "] ";
  line += what.type + ": " + what.message + '\n';
  if (!what.detail.empty()) line += what.detail + '\n';
  return line;
}

bool emit_warning(std::string_view text, const warning_options& options) noexcept {
  try {
    auto& c = the_channel();
    if (options.once_per_code && !options.code.empty() && seen_before(c, options.code)) return false;
    warning what{.type = std::string(options.type),
                 .message = std::string(text),
                 .code = std::string(options.code),
                 .detail = std::string(options.detail)};
    if (taken_by_hook(c, what)) return true;
    auto line = to_string(what);
    std::fwrite(line.data(), 1, line.size(), stderr);
  } catch (...) {  // out of memory: the program has other worries
    std::fputs("weir: Warning: a warning was lost\n", stderr);
  }
  return true;
}

hook_type on_warning(hook_type hook) {
  auto fresh = hook ? std::make_shared<const hook_type>(std::move(hook)) : nullptr;
  auto& c = the_channel();
  {
    std::lock_guard lock(c.mutex);
    std::swap(c.hook, fresh);
  }
  return fresh ? *fresh : hook_type();
}

}  // namespace weir
