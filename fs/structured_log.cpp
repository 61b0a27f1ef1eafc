#include <weir/fs/structured_log.hpp>

#include <weir/core/encoding.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <iterator>
#include <span>

namespace weir::fs {
namespace {

constexpr std::array<std::string_view, 4> level_names = {"debug", "info", "warn", "error"};

void append_quoted(std::string& to, std::string_view text) {
  std::string valid;
  const auto bytes = std::as_bytes(std::span(text));
  if (!is_utf8(bytes)) text = valid = to_text(bytes);
  to += '"';
  for (char c : text) {
    if (c == '"' || c == '\\') {
      (to += '\\') += c;
    } else if (c == '\n') {
      to += "\\n";
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      fmt::format_to(std::back_inserter(to), "\\u{:04x}", static_cast<unsigned>(c));
    } else {
      to += c;
    }
  }
  to += '"';
}

bool same_name(std::string_view a, std::string_view b) noexcept {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; };
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [&](char x, char y) { return lower(x) == lower(y); });
}

struct value_writer {
  std::string& to;

  void operator()(std::monostate) const { to += "null"; }
  void operator()(bool value) const { to += value ? "true" : "false"; }
  void operator()(std::int64_t value) const { fmt::format_to(std::back_inserter(to), "{}", value); }
  void operator()(std::uint64_t value) const { fmt::format_to(std::back_inserter(to), "{}", value); }
  void operator()(double value) const {
    if (!std::isfinite(value)) return (*this)(std::monostate());
    fmt::format_to(std::back_inserter(to), "{}", value);
  }
  void operator()(std::string_view value) const { append_quoted(to, value); }
};

}  // namespace

void log_field::append_value(std::string& to) const { std::visit(value_writer{to}, value_); }

void structured_log::add_sink(rotating_log& to, log_level least) { sinks_.push_back({&to, least}); }

void structured_log::append_field(std::string& line, const log_field& field) const {
  line += ',';
  append_quoted(line, field.name());
  line += ':';
  const bool secret = std::any_of(options_.redact.begin(), options_.redact.end(),
                                  [&](const std::string& each) { return same_name(each, field.name()); });
  if (secret) {
    line += "\"[redacted]\"";
  } else {
    field.append_value(line);
  }
}

void structured_log::log(log_level level, std::string_view message, std::initializer_list<log_field> fields) const {
  if (std::none_of(sinks_.begin(), sinks_.end(), [&](const sink& each) { return level >= each.least; })) return;
  std::string line = "{\"time\":\"";
  detail::append_iso_time(line, options_.now ? options_.now() : time_point(std::chrono::system_clock::now()));
  line += "\",\"level\":\"";
  line += level_names[static_cast<std::size_t>(level) % level_names.size()];
  line += "\",\"message\":";
  append_quoted(line, message);
  line += bound_;
  for (const auto& each : fields) append_field(line, each);
  line += '}';
  for (const auto& each : sinks_) {
    if (level >= each.least) each.to->write_line(line);
  }
}

void structured_log::debug(std::string_view message, std::initializer_list<log_field> fields) const {
  log(log_level::debug, message, fields);
}

void structured_log::info(std::string_view message, std::initializer_list<log_field> fields) const {
  log(log_level::info, message, fields);
}

void structured_log::warn(std::string_view message, std::initializer_list<log_field> fields) const {
  log(log_level::warn, message, fields);
}

void structured_log::error(std::string_view message, std::initializer_list<log_field> fields) const {
  log(log_level::error, message, fields);
}

structured_log structured_log::with(std::initializer_list<log_field> fields) const {
  auto made = *this;
  for (const auto& each : fields) made.append_field(made.bound_, each);
  return made;
}

}  // namespace weir::fs
