// fs/structured_log.hpp: a log for machines: one JSON object a line, with a level, fields and any number of places to
// go to. Rests on fs/rotating_log, which takes lines without waiting and writes what is left at the end.
#pragma once

#include <weir/fs/rotating_log.hpp>

#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace weir::fs {

/// A name and a value: text, a number, a truth value or null. Views what it is made of.
class log_field {
 public:
  log_field(std::string_view name, std::string_view value) : name_(name), value_(value) {}
  log_field(std::string_view name, const char* value) : name_(name), value_(std::string_view(value)) {}
  log_field(std::string_view name, std::nullptr_t) : name_(name), value_(std::monostate()) {}
  template <class N>
    requires std::integral<N> || std::floating_point<N>
  log_field(std::string_view name, N value) : name_(name) {
    if constexpr (std::same_as<N, bool>) {
      value_ = value;
    } else if constexpr (std::floating_point<N>) {
      value_ = static_cast<double>(value);
    } else if constexpr (std::signed_integral<N>) {
      value_ = static_cast<std::int64_t>(value);
    } else {
      value_ = static_cast<std::uint64_t>(value);
    }
  }

  std::string_view name() const noexcept { return name_; }
  /// Appends the value as JSON: what is not valid UTF-8 as U+FFFD, numbers that JSON does not have as null.
  void append_value(std::string& to) const;

 private:
  std::string_view name_;
  std::variant<std::monostate, bool, std::int64_t, std::uint64_t, double, std::string_view> value_;
};

struct structured_log_options {
  /// Fields of these names, in whatever case, are logged as "[redacted]".
  std::vector<std::string> redact = {"password", "secret", "token", "authorization", "cookie"};
  std::function<time_point()> now = {};  ///< the clock; not set: the system's
};

/// Writes {"time":"2026-11-21T18:14:03.123Z","level":"info","message":"...", fields} to each sink whose level it has.
/// Logging may be done from any thread once the sinks are there.
class structured_log {
 public:
  explicit structured_log(structured_log_options options = {}) : options_(std::move(options)) {}

  /// Adds a place to go to, which must outlive the log. Its own level does not count, and its `run` is the caller's.
  void add_sink(rotating_log& to, log_level least = log_level::debug);

  void log(log_level level, std::string_view message, std::initializer_list<log_field> fields = {}) const;
  void debug(std::string_view message, std::initializer_list<log_field> fields = {}) const;
  void info(std::string_view message, std::initializer_list<log_field> fields = {}) const;
  void warn(std::string_view message, std::initializer_list<log_field> fields = {}) const;
  void error(std::string_view message, std::initializer_list<log_field> fields = {}) const;

  /// A log to the same sinks whose every line has these fields too: a request's number, a module's name.
  [[nodiscard]] structured_log with(std::initializer_list<log_field> fields) const;

 private:
  struct sink {
    rotating_log* to;
    log_level least;
  };
  void append_field(std::string& line, const log_field& field) const;

  structured_log_options options_;
  std::vector<sink> sinks_;
  std::string bound_;  // fields of every line, as JSON
};

}  // namespace weir::fs
