// net/file_answer.cpp: picking a version by Accept-Encoding, conditions, headers, and bodies whole or in parts.
#include <weir/net/file_answer.hpp>

#include <weir/core/error.hpp>
#include <weir/core/loop.hpp>
#include <weir/fs/error.hpp>
#include <weir/net/http_conditions.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <sys/uio.h>
#include <ctime>

namespace weir::net::http::detail {
namespace {

// Bodies up to this size are copied into the connection's buffer, to go out with their head and with the answers of
// other connections in one system call: perf/net/static_files_bench.
constexpr std::size_t copied_body = 32 * 1024;

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

// ---- heads

std::chrono::sys_seconds wall_clock() {
  timespec now = {};
  clock_gettime(CLOCK_REALTIME_COARSE, &now);
  return std::chrono::sys_seconds(std::chrono::seconds(now.tv_sec));
}

// Headers for a response. What a handler has said before, holds.
class offered_headers {
 public:
  explicit offered_headers(response& to) : to_(to), is_bare_(to.header_names().empty()) {}

  void add(std::string_view name, std::string_view value) {
    if (!value.empty() && (is_bare_ || !to_.has(name))) to_.append(name, value);
  }
  std::string_view own(std::string_view name) const { return is_bare_ ? std::string_view() : to_.get(name); }

 private:
  response& to_;
  bool is_bare_;
};

void set_number(response& res, std::string_view name, std::uint64_t number) {
  std::array<char, 20> text;
  const auto end = std::to_chars(text.data(), text.data() + text.size(), number).ptr;
  res.set(name, std::string_view(text.data(), static_cast<std::size_t>(end - text.data())));
}

range_selection select_parts(const static_files_options& options, const version_of_file& of, const request& req,
                             const validators& have, std::chrono::sys_seconds now) {
  if (!options.ranges || req.method() != method::get) return {};
  const auto range = req.headers().first("Range");
  if (!range || !range_holds(req.headers(), have, now)) return {};
  return select_ranges(*range, of.stat.size, options.range);
}

// ---- bodies

// As much as the kernel has in memory, on this thread: what was read is in its cache still when it is sent.
std::size_t read_here(const fs::file& from, std::span<std::byte> into, std::uint64_t at) noexcept {
  const iovec one = {into.data(), into.size()};
  const auto count = fs::detail::without_signals(
      [&] { return ::preadv2(from.descriptor(), &one, 1, static_cast<off_t>(at), RWF_NOWAIT); });
  return count > 0 ? static_cast<std::size_t>(count) : 0;
}

task<void> send_from_disk(body_memory& memory, const version_of_file& of, response& res, byte_range part) {
  body_memory::piece held(memory, part.length);
  while (true) {
    auto piece = held.bytes();
    piece = piece.first(static_cast<std::size_t>(std::min<std::uint64_t>(piece.size(), part.length)));
    auto count = read_here(of.file, piece, part.first);
    if (count < piece.size()) count += co_await of.file.read(piece.subspan(count)).at(part.first + count);
    if (count == 0) {
      throw error(errc::err_http_content_length_mismatch, "a file has become shorter while it was sent");
    }
    co_await res.send(piece.first(count));
    part.first += count;
    part.length -= count;
    if (part.length == 0) co_return;
    co_await yield();  // a client that reads fast enough would have the worker to itself
  }
}

task<void> send_part(body_memory& memory, const version_of_file& of, response& res, byte_range part) {
  if (!of.in_memory) {
    co_await send_from_disk(memory, of, res, part);
    co_return;
  }
  const auto bytes = std::string_view(of.content).substr(part.first, part.length);
  if (bytes.size() <= copied_body)
    co_await res.write(bytes);
  else
    co_await res.send(std::as_bytes(std::span(bytes)));
}

task<void> send_several(body_memory& memory, const file_answer& answer, response& res) {
  const byteranges_form form(std::string(res.get("Content-Type")), answer.of->stat.size);
  res.set("Content-Type", form.content_type());
  set_number(res, "Content-Length", form.length(answer.parts));
  for (const auto& each : answer.parts) {
    co_await res.write(form.part_head(each));
    co_await send_part(memory, *answer.of, res, each);
  }
  co_await res.end(form.end());
}

}  // namespace

body_memory::piece::piece(body_memory& of, std::uint64_t wanted) : of_(of) {
  size_ = wanted <= small ? static_cast<std::size_t>(wanted) : large;
  if (of.lent_.fetch_add(size_, std::memory_order_relaxed) + size_ > of.most_ && size_ > small) {
    of.lent_.fetch_sub(size_ - small, std::memory_order_relaxed);
    size_ = small;
  }
  bytes_ = size_ == large ? of.large_ones_.take() : buffer::alloc_unsafe(size_);
}

bool file_answer::is_small() const noexcept {
  return has_body && parts.empty() && of->in_memory && of->content.size() <= copied_body;
}

file_answer begin_answer(const static_files_options& options, const resource& what, const request& req, response& res) {
  file_answer made = {.of = &pick_version(what, req.headers())};
  const auto& of = *made.of;
  const auto now = wall_clock();
  offered_headers offer(res);
  const std::string own_tag(offer.own("ETag"));
  validators have = {.etag = own_tag.empty() ? std::string_view(of.etag) : std::string_view(own_tag)};
  // RFC 9110 8.8.2.1: no time of change that is still to come
  if (options.last_modified && of.modified <= now) have.last_modified = of.modified;

  const auto outcome = check_conditions(req.method(), req.headers(), have);
  if (outcome == condition_outcome::failed) {
    made.refused = 412;
    return made;
  }
  // What a 304 has too (RFC 9110 15.4.5).
  offer.add("ETag", of.etag);
  if (have.last_modified) offer.add("Last-Modified", of.last_modified);
  offer.add("Cache-Control", what.cache_control);
  if (what.versions.size() > 1) res.append("Vary", "Accept-Encoding");
  if (outcome == condition_outcome::not_modified) {
    res.status(304);
    if (options.on_headers) options.on_headers(req, res);
    return made;
  }
  auto chosen = select_parts(options, of, req, have, now);
  if (chosen.how == range_selection::kind::unsatisfiable) {
    res.set("Content-Range", unsatisfied_range(of.stat.size)).remove("Cache-Control");
    made.refused = 416;
    return made;
  }
  offer.add("Accept-Ranges", options.ranges ? "bytes" : "none");
  offer.add("Content-Type", what.type);
  if (!of.coding.empty()) res.set("Content-Encoding", of.coding);
  if (chosen.how == range_selection::kind::partial) {
    made.parts = std::move(chosen.ranges);
    res.status(206);
  }
  made.has_body = req.method() != method::head;
  if (options.on_headers) options.on_headers(req, res);
  if (!made.has_body) set_number(res, "Content-Length", of.stat.size);
  return made;
}

task<void> send_answer(body_memory& memory, const file_answer& answer, response& res) {
  const auto& of = *answer.of;
  if (answer.refused != 0) {
    co_await send_status(res, answer.refused);
    co_return;
  }
  if (answer.parts.size() > 1) {
    co_await send_several(memory, answer, res);
    co_return;
  }
  const bool partial = answer.parts.size() == 1;
  const auto part = partial ? answer.parts.front() : byte_range{0, of.stat.size};
  if (partial) res.set("Content-Range", content_range(part, of.stat.size));
  if (answer.has_body) set_number(res, "Content-Length", part.length);
  if (answer.has_body && part.length > 0) co_await send_part(memory, of, res, part);
  co_await res.end();
}

task<void> send_status(response& res, int status) {
  res.status(status).set("Content-Type", "text/plain; charset=utf-8");
  if (status == 405) res.set("Allow", "GET, HEAD");
  if (status == 503) res.set("Retry-After", "1");
  co_await res.end(fmt::format("{}\n", status_text(status)));
}

}  // namespace weir::net::http::detail
