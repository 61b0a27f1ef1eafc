// net/http_message.cpp: tables and look-ups of net/http_message.hpp. Rests on the character classes; no state.
#include <weir/net/http_message.hpp>

#include <algorithm>
#include <array>
#include <iterator>
#include <utility>

#include <weir/net/http_chars.hpp>

namespace weir::net::http {
namespace {

constexpr std::string_view method_names[] = {
    "DELETE",      "GET",   "HEAD",   "POST",       "PUT",       "CONNECT", "OPTIONS",  "TRACE",  "COPY",
    "LOCK",        "MKCOL", "MOVE",   "PROPFIND",   "PROPPATCH", "SEARCH",  "UNLOCK",   "BIND",   "REBIND",
    "UNBIND",      "ACL",   "REPORT", "MKACTIVITY", "CHECKOUT",  "MERGE",   "M-SEARCH", "NOTIFY", "SUBSCRIBE",
    "UNSUBSCRIBE", "PATCH", "PURGE",  "MKCALENDAR", "LINK",      "UNLINK",  "SOURCE",   "QUERY",
};
static_assert(std::size(method_names) == static_cast<std::size_t>(method::query) + 1);

struct status_entry {
  int status;
  std::string_view text;
};

constexpr status_entry status_entries[] = {
    {100, "Continue"},
    {101, "Switching Protocols"},
    {102, "Processing"},
    {103, "Early Hints"},
    {200, "OK"},
    {201, "Created"},
    {202, "Accepted"},
    {203, "Non-Authoritative Information"},
    {204, "No Content"},
    {205, "Reset Content"},
    {206, "Partial Content"},
    {207, "Multi-Status"},
    {208, "Already Reported"},
    {226, "IM Used"},
    {300, "Multiple Choices"},
    {301, "Moved Permanently"},
    {302, "Found"},
    {303, "See Other"},
    {304, "Not Modified"},
    {305, "Use Proxy"},
    {307, "Temporary Redirect"},
    {308, "Permanent Redirect"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {402, "Payment Required"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {406, "Not Acceptable"},
    {407, "Proxy Authentication Required"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {410, "Gone"},
    {411, "Length Required"},
    {412, "Precondition Failed"},
    {413, "Payload Too Large"},
    {414, "URI Too Long"},
    {415, "Unsupported Media Type"},
    {416, "Range Not Satisfiable"},
    {417, "Expectation Failed"},
    {418, "I'm a Teapot"},
    {421, "Misdirected Request"},
    {422, "Unprocessable Entity"},
    {423, "Locked"},
    {424, "Failed Dependency"},
    {425, "Too Early"},
    {426, "Upgrade Required"},
    {428, "Precondition Required"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {451, "Unavailable For Legal Reasons"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {502, "Bad Gateway"},
    {503, "Service Unavailable"},
    {504, "Gateway Timeout"},
    {505, "HTTP Version Not Supported"},
    {506, "Variant Also Negotiates"},
    {507, "Insufficient Storage"},
    {508, "Loop Detected"},
    {509, "Bandwidth Limit Exceeded"},
    {510, "Not Extended"},
    {511, "Network Authentication Required"},
};
static_assert(std::size(status_entries) < 255);

// Where status 100 + i stands in status_entries, plus one; 0 for an unknown one.
constexpr auto status_index = [] {
  std::array<std::uint8_t, 500> index{};
  std::uint8_t position = 0;
  for (const status_entry& entry : status_entries) index[entry.status - 100] = ++position;
  return index;
}();

constexpr std::string_view single_headers[] = {
    "age",           "authorization", "content-length", "content-type",        "etag",
    "expires",       "from",          "host",           "if-modified-since",   "if-unmodified-since",
    "last-modified", "location",      "max-forwards",   "proxy-authorization", "referer",
    "retry-after",   "server",        "user-agent",
};

bool keeps_first_only(std::string_view name) {
  return std::ranges::any_of(single_headers, [&](std::string_view s) { return equal_ignoring_case(s, name); });
}

std::string lower_case(std::string_view text) {
  std::string out(text);
  std::ranges::transform(out, out.begin(), chars::lower);
  return out;
}

std::string_view moved(std::string_view view, const char* from, const char* to) {
  return {to + (view.data() - from), view.size()};
}

}  // namespace

std::string_view name_of(method m) noexcept { return method_names[static_cast<std::size_t>(m)]; }

std::optional<method> find_method(std::string_view name) noexcept {
  const auto* found = std::ranges::find(method_names, name);
  if (found == std::end(method_names)) return std::nullopt;
  return static_cast<method>(found - std::begin(method_names));
}

std::string_view status_text(int status) noexcept {
  if (status < 100 || status > 599 || status_index[status - 100] == 0) return {};
  return status_entries[status_index[status - 100] - 1].text;
}

bool equal_ignoring_case(std::string_view a, std::string_view b) noexcept {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (chars::lower(a[i]) != chars::lower(b[i])) return false;
  }
  return true;
}

bool is_token(std::string_view text) noexcept {
  const char* const end = text.data() + text.size();
  const char* at = chars::find<chars::not_name>(text.data(), end);
  while (at != end && chars::is_token_char(*at)) ++at;
  return at == end && !text.empty();
}

bool is_field_value(std::string_view text) noexcept {
  const char* const end = text.data() + text.size();
  const char* at = text.data();
  while ((at = chars::find<chars::control>(at, end)) != end) {
    if (*at++ != '\t') return false;
  }
  return true;
}

std::string_view take_list_element(std::string_view& list) noexcept {
  const std::size_t comma = list.find(',');
  std::string_view element = list.substr(0, comma);
  list = comma == std::string_view::npos ? std::string_view{} : list.substr(comma + 1);
  while (!element.empty() && chars::is_blank(element.front())) element.remove_prefix(1);
  while (!element.empty() && chars::is_blank(element.back())) element.remove_suffix(1);
  return element;
}

bool header_list::has(std::string_view name) const noexcept { return first(name).has_value(); }

std::size_t header_list::count(std::string_view name) const noexcept {
  return std::ranges::count_if(lines_, [&](const header& h) { return equal_ignoring_case(h.name, name); });
}

std::optional<std::string_view> header_list::first(std::string_view name) const noexcept {
  for (const header& h : lines_) {
    if (equal_ignoring_case(h.name, name)) return h.value;
  }
  return std::nullopt;
}

std::vector<std::string_view> header_list::all(std::string_view name) const {
  std::vector<std::string_view> values;
  for (const header& h : lines_) {
    if (equal_ignoring_case(h.name, name)) values.push_back(h.value);
  }
  return values;
}

std::optional<std::string> header_list::joined(std::string_view name, duplicates how) const {
  const auto found = first(name);
  if (!found) return std::nullopt;
  if (how == duplicates::dropped && keeps_first_only(name)) return std::string(*found);
  const std::string_view separator = equal_ignoring_case(name, "cookie") ? "; " : ", ";
  std::string text;
  bool later = false;
  for (const header& h : lines_) {
    if (!equal_ignoring_case(h.name, name)) continue;
    if (std::exchange(later, true)) text += separator;
    text += h.value;
  }
  return text;
}

std::vector<combined_header> header_list::combined(duplicates how) const {
  // Grouped by sorting, so that a head of thousands of lines does not cost their square.
  std::vector<std::pair<std::string, std::size_t>> order;
  order.reserve(lines_.size());
  for (std::size_t i = 0; i < lines_.size(); ++i) order.emplace_back(lower_case(lines_[i].name), i);
  std::ranges::sort(order);

  std::vector<std::pair<std::size_t, combined_header>> groups;
  for (auto at = order.begin(); at != order.end();) {
    const auto next = std::find_if(at, order.end(), [&](const auto& o) { return o.first != at->first; });
    combined_header entry{at->first, {std::string(lines_[at->second].value)}};
    const bool single = how == duplicates::dropped && keeps_first_only(entry.name);
    const std::string_view separator = entry.name == "cookie" ? "; " : ", ";
    for (auto later = at + 1; later != next && !single; ++later) {
      const std::string_view value = lines_[later->second].value;
      if (entry.name == "set-cookie") {
        entry.values.emplace_back(value);
      } else {
        entry.values.front().append(separator).append(value);
      }
    }
    groups.emplace_back(at->second, std::move(entry));
    at = next;
  }
  std::ranges::sort(groups, {}, [](const auto& g) { return g.first; });

  std::vector<combined_header> result;
  result.reserve(groups.size());
  for (auto& group : groups) result.push_back(std::move(group.second));
  return result;
}

void header_list::rebase(const char* from, const char* to) noexcept {
  for (header& h : lines_) h = {moved(h.name, from, to), moved(h.value, from, to)};
}

void rebase(request_head& head, const char* copy) noexcept {
  const char* const from = head.raw.data();
  head.headers.rebase(from, copy);
  head.method_text = moved(head.method_text, from, copy);
  head.target = moved(head.target, from, copy);
  head.raw = {copy, head.raw.size()};
}

stored_request::stored_request(const request_head& head) : text_(head.raw.begin(), head.raw.end()), head_(head) {
  rebase(head_, text_.data());
}

stored_request::stored_request(const stored_request& other) : stored_request(other.head_) {}

stored_request::stored_request(stored_request&& other) noexcept
    : text_(std::move(other.text_)), head_(std::exchange(other.head_, request_head{})) {}

stored_request& stored_request::operator=(stored_request other) noexcept {
  text_.swap(other.text_);
  std::swap(head_, other.head_);
  return *this;
}

}  // namespace weir::net::http
