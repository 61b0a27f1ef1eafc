// net/static_files.cpp: from a request's path to a file (read_path), from there to what is sent (send_file), with the
// cache before both. What asks the disk is in net/static_lookup.
#include <weir/net/static_files.hpp>

#include <weir/core/buffer.hpp>
#include <weir/core/time.hpp>
#include <weir/fs/path.hpp>
#include <weir/fs/watcher.hpp>
#include <weir/net/http_conditions.hpp>
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
using detail::version_of_file;

// Bodies up to this size are copied into the connection's buffer, to go out with their head in one send.
constexpr std::size_t copied_body = 32 * 1024;
// What is read and sent at once: perf/net/static_files_bench.
constexpr std::size_t large_piece = 512 * 1024;
constexpr std::size_t small_piece = 64 * 1024;
constexpr std::size_t kept_pieces = 8;
// What an entry of the cache takes beside contents and names.
constexpr std::size_t entry_overhead = 512;

// ---- paths

// What a request's path stands for.
struct wanted_path {
  int status = 200;      ///< another one refuses it
  std::string relative;  ///< below the root, decoded, without "." and empty components; "" is the root
  bool slash = false;    ///< it ends in a slash: a directory is meant
};

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

// Whether `..` is one of the components that slashes, written out or escaped, make of a decoded name.
bool climbs(std::string_view name) {
  while (true) {
    const auto slash = name.find('/');
    if (name.substr(0, slash) == "..") return true;
    if (slash == std::string_view::npos) return false;
    name.remove_prefix(slash + 1);
  }
}

wanted_path read_path(std::string_view encoded, dotfile_policy dotfiles) {
  wanted_path wanted;
  bool hidden = false, has_slash = false, climbing = false;
  while (!encoded.empty()) {
    const auto component = encoded.substr(0, encoded.find('/'));
    wanted.slash = component.size() < encoded.size();
    encoded.remove_prefix(component.size() + (wanted.slash ? 1 : 0));
    const auto before = wanted.relative.size();
    if (before != 0 && !component.empty()) wanted.relative += '/';
    const auto begin = wanted.relative.size();
    if (!append_decoded(wanted.relative, component)) return {.status = 400};
    const auto name = std::string_view(wanted.relative).substr(begin);
    climbing = climbing || climbs(name);
    has_slash = has_slash || name.find('/') != std::string_view::npos;
    if (name == ".") {
      wanted.slash = true;
      wanted.relative.resize(before);
    } else {
      hidden = hidden || name.starts_with('.');
    }
  }
  wanted.slash = wanted.slash || wanted.relative.empty();
  if (climbing)
    wanted.status = 403;
  else if (has_slash)
    wanted.status = 404;  // no name has one
  else if (hidden && dotfiles != dotfile_policy::allow)
    wanted.status = dotfiles == dotfile_policy::deny ? 403 : 404;
  return wanted;
}

// The path of a target in origin or absolute form (RFC 9112 3.2).
std::string_view path_of(const request& req) {
  auto path = req.path();
  if (req.head().form != target_form::absolute) return path;
  const auto authority = path.find("://");
  const auto begin = authority == std::string_view::npos ? authority : path.find('/', authority + 3);
  return begin == std::string_view::npos ? std::string_view("/") : path.substr(begin);
}

// ---- codings

// The weight of a list's element in thousandths (RFC 9110 12.4.2); nothing for what is none.
std::optional<int> weight_of(std::string_view parameters) {
  const auto equals = parameters.find('=');
  if (equals == std::string_view::npos) return {};
  auto name = parameters.substr(0, equals);
  while (name.starts_with(' ') || name.starts_with('\t')) name.remove_prefix(1);
  const auto value = parameters.substr(equals + 1);
  if (!equal_ignoring_case(name, "q") || value.empty() || value.size() > 5) return {};
  if (value[0] != '0' && value[0] != '1') return {};
  if (value.size() > 1 && value[1] != '.') return {};
  int weight = (value[0] - '0') * 1000;
  for (std::size_t i = 2, unit = 100; i < value.size(); ++i, unit /= 10) {
    if (value[i] < '0' || value[i] > '9') return {};
    weight += (value[i] - '0') * static_cast<int>(unit);
  }
  return weight <= 1000 ? std::optional(weight) : std::nullopt;
}

// How much a client wants a coding, from 0 (not at all) to 1000; nothing where it does not say.
struct acceptance {
  std::optional<int> by_name;
  std::optional<int> by_star;
};

// RFC 9110 12.5.3
acceptance acceptance_of(const header_list& headers, std::string_view coding) {
  acceptance found;
  for (const auto& line : headers) {
    if (!equal_ignoring_case(line.name, "Accept-Encoding")) continue;
    for (auto list = line.value; !list.empty();) {
      const auto element = take_list_element(list);
      const auto semicolon = element.find(';');
      auto name = element.substr(0, semicolon);
      while (name.ends_with(' ') || name.ends_with('\t')) name.remove_suffix(1);
      const auto weight = semicolon == std::string_view::npos ? 1000 : weight_of(element.substr(semicolon + 1));
      if (!weight) continue;
      const bool is_old_name = coding == "gzip" && equal_ignoring_case(name, "x-gzip");
      if (is_old_name || equal_ignoring_case(name, coding)) found.by_name = weight;
      if (name == "*") found.by_star = weight;
    }
  }
  return found;
}

// What is sent of a file and its siblings: what the client likes best, the first of them where it likes several the
// same. The file itself is sent if no sibling is wanted, or if it is named and liked better.
const version_of_file& pick_version(const resource& what, const header_list& headers) {
  const auto* best = &what.versions.front();
  if (what.versions.size() == 1) return *best;
  int weight = 0;
  for (const auto& each : what.versions) {
    if (each.coding.empty()) continue;
    const auto wanted = acceptance_of(headers, each.coding);
    const int value = wanted.by_name.value_or(wanted.by_star.value_or(0));
    if (value <= weight) continue;
    weight = value;
    best = &each;
  }
  const auto plain = acceptance_of(headers, "identity").by_name;
  return plain.value_or(0) > weight ? what.versions.front() : *best;
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
    nodes_.splice(nodes_.begin(), nodes_, found->second);
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

std::chrono::sys_seconds wall_clock() {
  timespec now = {};
  clock_gettime(CLOCK_REALTIME_COARSE, &now);
  return std::chrono::sys_seconds(std::chrono::seconds(now.tv_sec));
}

}  // namespace

struct static_files::state {
  state(std::vector<std::string> given, static_files_options options)
      : lookup(std::move(given), std::move(options)),
        cache(lookup.options.cache_bytes, lookup.options.cache_entries, lookup.options.revalidate) {}

  /// The bytes for the next piece of a body, fewer where many are sent at once.
  class piece_memory {
   public:
    piece_memory(state& of, std::uint64_t wanted) : of_(of) {
      size_ = wanted <= small_piece ? static_cast<std::size_t>(wanted) : large_piece;
      if (of.lent.fetch_add(size_, std::memory_order_relaxed) + size_ > of.lookup.options.send_memory &&
          size_ > small_piece) {
        of.lent.fetch_sub(size_ - small_piece, std::memory_order_relaxed);
        size_ = small_piece;
      }
      bytes_ = size_ == large_piece ? of.pieces.take() : buffer::alloc_unsafe(size_);
    }
    piece_memory(const piece_memory&) = delete;
    piece_memory& operator=(const piece_memory&) = delete;
    ~piece_memory() { of_.lent.fetch_sub(size_, std::memory_order_relaxed); }

    std::span<std::byte> bytes() { return bytes_.mutable_bytes(); }

   private:
    state& of_;
    buffer bytes_;
    std::size_t size_ = 0;
  };

  detail::static_lookup lookup;
  file_cache cache;
  buffer_pool pieces{{.chunk_size = large_piece, .max_cached = kept_pieces}};
  std::atomic<std::size_t> lent{0};
  std::atomic<std::uint64_t> from_memory{0};
  std::atomic<std::uint64_t> looked_up{0};
};

namespace {

using state_ptr = std::shared_ptr<static_files::state>;

// ---- answers

task<void> send_error(response& res, int status) {
  res.status(status).set("Content-Type", "text/plain; charset=utf-8");
  if (status == 405) res.set("Allow", "GET, HEAD");
  if (status == 503) res.set("Retry-After", "1");
  co_await res.end(fmt::format("{}\n", status_text(status)));
}

// To the last component with a slash, as a relative reference: that leads nowhere else, whatever the path looks like
// ("//host/dir") and whatever has been stripped from it.
task<void> redirect_to_directory(const request& req, response& res) {
  const auto path = path_of(req);
  auto place = fmt::format("./{}/", path.substr(path.rfind('/') + 1));
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

// A part of a file that is not in memory.
task<void> send_from_disk(state_ptr in, const version_of_file& of, response& res, byte_range part) {
  static_files::state::piece_memory memory(*in, part.length);
  while (part.length > 0) {
    auto piece = memory.bytes();
    piece = piece.first(static_cast<std::size_t>(std::min<std::uint64_t>(piece.size(), part.length)));
    const auto count = co_await of.file.read(piece).at(part.first);
    if (count == 0) {
      throw error(errc::err_http_content_length_mismatch, "a file has become shorter while it was sent");
    }
    co_await res.send(piece.first(count));
    part.first += count;
    part.length -= count;
  }
}

task<void> send_part(state_ptr in, const version_of_file& of, response& res, byte_range part) {
  if (!of.in_memory) {
    co_await send_from_disk(std::move(in), of, res, part);
    co_return;
  }
  const auto bytes = std::string_view(of.content).substr(part.first, part.length);
  if (bytes.size() <= copied_body)
    co_await res.write(bytes);
  else
    co_await res.send(std::as_bytes(std::span(bytes)));
}

void set_number(response& res, std::string_view name, std::uint64_t number) {
  std::array<char, 20> text;
  const auto end = std::to_chars(text.data(), text.data() + text.size(), number).ptr;
  res.set(name, std::string_view(text.data(), static_cast<std::size_t>(end - text.data())));
}

task<void> send_whole(state_ptr in, const version_of_file& of, const request& req, response& res) {
  if (of.in_memory && of.content.size() <= copied_body && req.method() == method::get) {
    co_await res.end(of.content);
    co_return;
  }
  set_number(res, "Content-Length", of.stat.size);
  if (req.method() == method::get && of.stat.size > 0) co_await send_part(std::move(in), of, res, {0, of.stat.size});
  co_await res.end();
}

task<void> send_ranges(state_ptr in, const resource& what, const version_of_file& of, response& res,
                       std::vector<byte_range> ranges) {
  res.status(206);
  if (ranges.size() == 1) {
    res.set("Content-Range", content_range(ranges.front(), of.stat.size));
    set_number(res, "Content-Length", ranges.front().length);
    co_await send_part(in, of, res, ranges.front());
    co_await res.end();
    co_return;
  }
  const byteranges_form form(what.type, of.stat.size);
  res.set("Content-Type", form.content_type());
  set_number(res, "Content-Length", form.length(ranges));
  for (const auto& each : ranges) {
    co_await res.write(form.part_head(each));
    co_await send_part(in, of, res, each);
  }
  co_await res.end(form.end());
}

// Headers that a 304 has too (RFC 9110 15.4.5).
void describe_version(const resource& what, const version_of_file& of, const validators& have, response& res) {
  if (!of.etag.empty()) res.set("ETag", of.etag);
  if (have.last_modified) res.set("Last-Modified", of.last_modified);
  if (!what.cache_control.empty()) res.set("Cache-Control", what.cache_control);
  if (what.versions.size() > 1) res.append("Vary", "Accept-Encoding");
}

task<void> send_file(state_ptr in, std::shared_ptr<const resource> what, const request& req, response& res) {
  const auto& options = in->lookup.options;
  const auto& of = pick_version(*what, req.headers());
  const auto now = wall_clock();
  validators have = {.etag = of.etag};
  // RFC 9110 8.8.2.1: no time of change that is still to come
  if (options.last_modified && of.modified <= now) have.last_modified = of.modified;

  const auto outcome = check_conditions(req.method(), req.headers(), have);
  if (outcome == condition_outcome::failed) {
    co_await send_error(res, 412);
    co_return;
  }
  describe_version(*what, of, have, res);
  if (outcome == condition_outcome::not_modified) {
    res.status(304);
    if (options.on_headers) options.on_headers(req, res);
    co_await res.end();
    co_return;
  }
  res.set("Accept-Ranges", options.ranges ? "bytes" : "none");
  range_selection chosen;
  if (const auto range = req.headers().first("Range");
      range && options.ranges && req.method() == method::get && range_holds(req.headers(), have, now)) {
    chosen = select_ranges(*range, of.stat.size, options.range);
  }
  if (chosen.how == range_selection::kind::unsatisfiable) {
    res.set("Content-Range", unsatisfied_range(of.stat.size)).remove("Cache-Control");
    co_await send_error(res, 416);
    co_return;
  }
  if (!what->type.empty()) res.set("Content-Type", what->type);
  if (!of.coding.empty()) res.set("Content-Encoding", of.coding);
  const bool partial = chosen.how == range_selection::kind::partial;
  if (partial) res.status(206);
  if (options.on_headers) options.on_headers(req, res);
  if (partial)
    co_await send_ranges(std::move(in), *what, of, res, std::move(chosen.ranges));
  else
    co_await send_whole(std::move(in), of, req, res);
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

task<lookup_answer> look_up(state_ptr in, const wanted_path& wanted) {
  auto key = wanted.relative;
  if (wanted.slash) key += '/';
  const auto began = weir::detail::clock_here();
  auto known = in->cache.get(key, began);
  if (known.fresh) {
    in->from_memory.fetch_add(1, std::memory_order_relaxed);
    co_return lookup_answer{.status = 200, .what = std::move(known.what), .page = {}};
  }
  in->looked_up.fetch_add(1, std::memory_order_relaxed);
  const look_mark mark(in->cache, key);
  auto answer = co_await look_at_disk(in->lookup, wanted, known.what);
  if (answer.what && answer.what->may_be_kept) {
    in->cache.put(key, answer.what, known.generation, began);
  } else if (known.what) {
    in->cache.drop(key);
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

// @return 0 if it was answered, else the status that says why not
task<int> serve_path(state_ptr in, const request& req, response& res) {
  const auto& options = in->lookup.options;
  const auto path = path_of(req);
  const auto below = below_prefix(path, options.prefix);
  if (!below) co_return 404;
  if (path.size() > options.max_path) co_return 414;
  auto wanted = read_path(*below, options.dotfiles);
  if (wanted.status != 200) co_return wanted.status;
  if (below->empty()) wanted.slash = false;  // the prefix itself, without its slash
  auto answer = co_await look_up(in, wanted);
  if (answer.what) {
    co_await send_file(std::move(in), std::move(answer.what), req, res);
  } else if (answer.status == 301) {
    co_await redirect_to_directory(req, res);
  } else if (answer.status == 200) {
    co_await send_listing(res, std::move(answer.page));
  } else {
    co_return answer.status;
  }
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
  if (status != 0) co_await send_error(res, status);
}

task<bool> serve_what_is_there(state_ptr in, request& req, response& res) {
  if (!reads(req)) co_return false;
  const int status = co_await serve_path(std::move(in), req, res);
  if (status == 404) co_return false;
  if (status != 0) co_await send_error(res, status);
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
