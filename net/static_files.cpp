// net/static_files.cpp: from a request's path to a file, with a cache before the disk. What asks the disk is in
// net/static_lookup, what is sent then in net/file_answer.
#include <weir/net/static_files.hpp>

#include <weir/core/time.hpp>
#include <weir/fs/path.hpp>
#include <weir/fs/watcher.hpp>
#include <weir/net/file_answer.hpp>
#include <weir/net/static_lookup.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <charconv>
#include <list>
#include <mutex>
#include <optional>
#include <span>
#include <unordered_map>
#include <utility>

#include <ctime>

namespace weir::net::http {
namespace {

using namespace std::chrono_literals;
using detail::lookup_answer;
using detail::resource;
using detail::send_status;
using detail::wanted_path;

// What an entry of the cache takes beside contents and names.
constexpr std::size_t entry_overhead = 512;

// ---- paths

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  c = static_cast<char>(c | 0x20);
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

// Appends `text` with its escapes decoded. @return false for a bad escape or a NUL
bool append_decoded(std::string& to, std::string_view text) {
  for (std::size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (c == '%') {
      if (text.size() - i < 3) return false;
      const int high = hex_digit(text[i + 1]), low = hex_digit(text[i + 2]);
      if (high < 0 || low < 0) return false;
      c = static_cast<char>(high * 16 + low);
      i += 2;
    }
    if (c == '\0') return false;
    to += c;
  }
  return true;
}

wanted_path read_path(std::string_view encoded, dotfile_policy dotfiles) {
  detail::path_builder path;
  std::string name;
  while (!encoded.empty()) {
    const auto component = encoded.substr(0, encoded.find('/'));
    const bool slash = component.size() < encoded.size();
    encoded.remove_prefix(component.size() + (slash ? 1 : 0));
    name.clear();
    if (!append_decoded(name, component)) return {.status = 400};
    path.add(name, slash);
  }
  return std::move(path).settle(dotfiles);
}

// ---- the cache

// Files in memory, the one used last in front. Any thread.
class file_cache {
 public:
  file_cache(std::size_t bytes, std::size_t entries, std::chrono::milliseconds fresh)
      : most_bytes_(bytes), most_entries_(entries), fresh_(fresh) {}

  struct hit {
    std::shared_ptr<const resource> what = {};
    bool fresh = false;            ///< may be sent without a look
    std::uint64_t generation = 0;  ///< for `put`
  };

  /// One of those that ask for an entry that is no longer fresh is told so; the others get it as it is until then.
  hit get(std::string_view key, std::chrono::steady_clock::time_point now) {
    const std::lock_guard lock(mutex_);
    const auto found = index_.find(key);
    if (found == index_.end()) return {{}, false, generation_};
    auto& node = *found->second;
    if (found->second != nodes_.begin()) nodes_.splice(nodes_.begin(), nodes_, found->second);
    const bool never = fresh_ == std::chrono::milliseconds::max();
    const bool fresh = never || (fresh_.count() > 0 && (now - node.checked < fresh_ || node.asked));
    if (!fresh) node.asked = true;
    return {node.what, fresh, generation_};
  }

  void put(std::string_view key, std::shared_ptr<const resource> what, std::uint64_t generation,
           std::chrono::steady_clock::time_point now) {
    const std::lock_guard lock(mutex_);
    if (generation != generation_) return;  // something was forgotten while it was read
    erase(key);
    const auto size = what->memory() + key.size() + entry_overhead;
    if (size > most_bytes_ || most_entries_ == 0) return;
    while (!nodes_.empty() && (bytes_ + size > most_bytes_ || nodes_.size() >= most_entries_)) {
      erase(std::string_view(nodes_.back().key));
    }
    nodes_.push_front({std::string(key), std::move(what), size, now, false});
    index_.emplace(nodes_.front().key, nodes_.begin());
    bytes_ += size;
  }

  /// A look that was begun has not ended: the next one looks.
  void give_up(std::string_view key) {
    const std::lock_guard lock(mutex_);
    const auto found = index_.find(key);
    if (found != index_.end()) found->second->asked = false;
  }

  void drop(std::string_view key) {
    const std::lock_guard lock(mutex_);
    ++generation_;
    erase(key);
  }

  void clear() {
    const std::lock_guard lock(mutex_);
    ++generation_;
    index_.clear();
    nodes_.clear();
    bytes_ = 0;
  }

  void measure(static_files_statistics& into) const {
    const std::lock_guard lock(mutex_);
    into.entries = nodes_.size();
    into.bytes = bytes_;
  }

 private:
  struct node {
    std::string key;
    std::shared_ptr<const resource> what;
    std::size_t size = 0;
    std::chrono::steady_clock::time_point checked = {};
    bool asked = false;  // somebody looks at the disk
  };

  void erase(std::string_view key) {
    const auto found = index_.find(key);
    if (found == index_.end()) return;
    const auto at = found->second;
    bytes_ -= at->size;
    index_.erase(found);
    nodes_.erase(at);
  }

  mutable std::mutex mutex_;
  std::list<node> nodes_;
  std::unordered_map<std::string_view, std::list<node>::iterator> index_;
  std::size_t most_bytes_;
  std::size_t most_entries_;
  std::size_t bytes_ = 0;
  std::uint64_t generation_ = 0;
  std::chrono::milliseconds fresh_;
};

}  // namespace

struct static_files::state {
  state(std::vector<std::string> given, static_files_options options)
      : lookup(std::move(given), std::move(options)),
        cache(lookup.options.cache_bytes, lookup.options.cache_entries, lookup.options.revalidate),
        memory(lookup.options.send_memory) {
    lookup.check();
  }

  detail::static_lookup lookup;
  file_cache cache;
  detail::body_memory memory;
  std::atomic<std::uint64_t> from_memory{0};
  std::atomic<std::uint64_t> looked_up{0};
};

namespace {

using state_ptr = std::shared_ptr<static_files::state>;

// ---- answers

// The same path with a slash behind it. One that begins with two slashes, or with a backslash, which browsers take for
// a slash, would name another host.
std::string path_of_directory(std::string_view path) {
  std::string made = "/";
  path.remove_prefix(std::min(path.find_first_not_of('/'), path.size()));
  for (const char c : path) {
    if (c == '\\')
      made += "%5C";
    else
      made += c;
  }
  return made + "/";
}

task<void> redirect_to_directory(const request& req, response& res) {
  auto place = path_of_directory(req.path());
  if (!req.query().empty()) place += fmt::format("?{}", req.query());
  res.status(301).set("Location", place).set("Content-Type", "text/plain; charset=utf-8");
  co_await res.end("Moved Permanently\n");
}

task<void> send_listing(response& res, std::string page) {
  res.set("Content-Type", "text/html; charset=utf-8").set("Cache-Control", "no-cache");
  res.set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'");
  res.set("X-Content-Type-Options", "nosniff");
  co_await res.end(page);
}

// ---- look-ups

// Clears the mark of who looks at the disk, unless an answer has taken the entry's place.
class look_mark {
 public:
  look_mark(file_cache& in, std::string_view key) : in_(in), key_(key) {}
  look_mark(const look_mark&) = delete;
  look_mark& operator=(const look_mark&) = delete;
  ~look_mark() { in_.give_up(key_); }

 private:
  file_cache& in_;
  std::string_view key_;
};

task<lookup_answer> look_at_disk(const detail::static_lookup& in, const wanted_path& wanted,
                                 std::shared_ptr<const resource> known) {
  auto at_once = in.look_up_here(wanted.relative, wanted.slash, known);
  if (at_once) co_return std::move(*at_once);
  co_return co_await in.look_up(wanted.relative, wanted.slash, std::move(known));
}

// @param key of the cache, where `known` is from
task<lookup_answer> look_up(static_files::state& in, const wanted_path& wanted, std::string_view key,
                            file_cache::hit known, std::chrono::steady_clock::time_point began) {
  in.looked_up.fetch_add(1, std::memory_order_relaxed);
  const look_mark mark(in.cache, key);
  auto answer = co_await look_at_disk(in.lookup, wanted, known.what);
  if (answer.what && answer.what->may_be_kept) {
    in.cache.put(key, answer.what, known.generation, began);
  } else if (known.what) {
    in.cache.drop(key);
  }
  co_return answer;
}

// The part of the path that is below the prefix; nothing if it is not below it.
std::optional<std::string_view> below_prefix(std::string_view path, std::string_view prefix) {
  if (!path.starts_with(prefix)) return {};
  path.remove_prefix(prefix.size());
  if (!path.empty() && path.front() != '/') return {};
  return path;
}

// What there is to say where no file was found. @return as `serve_path`
task<int> serve_without_file(const request& req, response& res, lookup_answer found) {
  if (found.status == 301)
    co_await redirect_to_directory(req, res);
  else if (found.status == 200)
    co_await send_listing(res, std::move(found.page));
  else
    co_return found.status;
  co_return 0;
}

// @return 0 if it was answered, else the status that says why not
task<int> serve_path(state_ptr in, const request& req, response& res) {
  const auto& options = in->lookup.options;
  const auto path = req.path();
  const auto below = below_prefix(path, options.prefix);
  if (!below) co_return 404;
  if (path.size() > options.max_path) co_return 414;
  auto wanted = read_path(*below, options.dotfiles);
  if (wanted.status != 200) co_return wanted.status;
  if (below->empty()) wanted.slash = false;  // the prefix itself, without its slash
  const auto key = wanted.slash ? wanted.relative + '/' : wanted.relative;
  const auto began = weir::detail::clock_here();
  auto known = in->cache.get(key, began);
  lookup_answer found;
  if (known.fresh) {
    in->from_memory.fetch_add(1, std::memory_order_relaxed);
    found.what = std::move(known.what);
  } else {
    found = co_await look_up(*in, wanted, key, std::move(known), began);
  }
  if (!found.what) co_return co_await serve_without_file(req, res, std::move(found));
  const auto answer = detail::begin_answer(options, *found.what, req, res);
  if (answer.is_small())
    co_await res.end(answer.of->content);
  else
    co_await detail::send_answer(in->memory, answer, res);
  co_return 0;
}

// ---- changes

void forget_in(static_files::state& in, std::string_view path) {
  in.cache.drop(path);
  const auto slash = path.rfind('/');
  in.cache.drop(slash == std::string_view::npos ? std::string_view("/") : path.substr(0, slash + 1));
  for (const auto suffix : detail::sibling_suffixes) {
    if (path.ends_with(suffix)) in.cache.drop(path.substr(0, path.size() - suffix.size()));
  }
  for (const auto& extension : in.lookup.options.extensions) {
    const auto dot = path.size() - extension.size() - 1;
    if (path.size() > extension.size() && path.ends_with(extension) && path[dot] == '.') {
      in.cache.drop(path.substr(0, dot));
    }
  }
}

void forget_below(static_files::state& in, const std::vector<std::string>& roots, std::string_view path) {
  for (const auto& root : roots) {
    if (path.size() > root.size() + 1 && path.starts_with(root) && path[root.size()] == '/') {
      forget_in(in, path.substr(root.size() + 1));
    }
  }
}

task<void> follow(state_ptr in) {
  std::vector<std::string> roots;
  for (const auto& each : in->lookup.roots) roots.push_back(path::resolve(each));
  fs::watcher_options options;
  options.always_stat = false;
  options.atomic = false;
  options.attributes = true;
  options.quiet = {.add = 0ms, .change = 0ms, .unlink = 0ms, .add_dir = 0ms, .unlink_dir = 0ms, .rename = 0ms};
  fs::watcher watching(roots, options);
  while (auto event = co_await watching.next()) {
    using kind = fs::watch_kind;
    // What was read before the watch was complete may have changed unseen.
    const bool may_be_anything = event->is_directory() || event->kind == kind::ready || event->kind == kind::error;
    if (may_be_anything) {
      in->cache.clear();
      continue;
    }
    forget_below(*in, roots, event->path);
    if (event->kind == kind::rename) forget_below(*in, roots, event->from);
  }
}

bool reads(const request& req) { return req.method() == method::get || req.method() == method::head; }

task<void> serve_all(state_ptr in, request& req, response& res) {
  int status = 405;
  if (reads(req)) status = co_await serve_path(std::move(in), req, res);
  if (status != 0) co_await send_status(res, status);
}

task<bool> serve_what_is_there(state_ptr in, request& req, response& res) {
  if (!reads(req)) co_return false;
  const int status = co_await serve_path(std::move(in), req, res);
  if (status >= 400 && status < 500) co_return false;
  if (status != 0) co_await send_status(res, status);
  co_return true;
}

}  // namespace

static_files::static_files(std::string root, static_files_options options)
    : static_files(std::vector<std::string>{std::move(root)}, std::move(options)) {}

static_files::static_files(std::vector<std::string> roots, static_files_options options)
    : state_(std::make_shared<state>(std::move(roots), std::move(options))) {}

task<void> static_files::operator()(request& req, response& res) const { return serve_all(state_, req, res); }

task<bool> static_files::try_serve(request& req, response& res) const { return serve_what_is_there(state_, req, res); }

void static_files::forget(std::string_view path) const { forget_in(*state_, path); }

void static_files::forget_all() const { state_->cache.clear(); }

task<void> static_files::follow_changes() const { return follow(state_); }

static_files_statistics static_files::statistics() const {
  static_files_statistics all;
  all.from_memory = state_->from_memory.load(std::memory_order_relaxed);
  all.looked_up = state_->looked_up.load(std::memory_order_relaxed);
  state_->cache.measure(all);
  return all;
}

}  // namespace weir::net::http
