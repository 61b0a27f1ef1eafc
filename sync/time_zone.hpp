// sync/time_zone.hpp: what local time it is at a moment, and which moments a local time stands for, from the system's
// database of time zones. A small reader of TZif files (RFC 9636) and of the POSIX rule at their end; rests on
// nothing else. Thread-safe: a zone is immutable once loaded, and the TZ of the process is not touched.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace weir::sync {

using sys_seconds = std::chrono::sys_seconds;
using local_seconds = std::chrono::local_seconds;

namespace detail {
struct zone_rules;
}

/// What holds in a zone for a stretch of time.
struct zone_period {
  std::chrono::seconds offset = {};  ///< local time minus UTC
  bool daylight_saving = false;
  sys_seconds begin = sys_seconds::min();  ///< first second
  sys_seconds end = sys_seconds::max();    ///< first second of the next; max: for ever
};

/// The moments that a local time stands for.
struct zone_moments {
  enum kind : std::uint8_t {
    unique,   ///< `first` is it
    gap,      ///< clocks went past it; `first` is the moment at which they did
    overlap,  ///< it came twice: `first`, then `second`
  };
  kind how = unique;
  sys_seconds first = {};
  sys_seconds second = {};  ///< for an overlap; else as `first`
};

/// A time zone. Cheap to copy.
class time_zone {
 public:
  /// UTC.
  time_zone() = default;

  /// A zone by its name in the database, "Europe/Berlin", or "UTC". Loaded once per process.
  /// @throws weir::error ENOENT, or ERR_INVALID_ARG_VALUE for a name that is no name or a file that is no zone
  static time_zone load(std::string_view name);

  /// The zone of this process: TZ if set (a name, a path or a POSIX rule), else /etc/localtime, else UTC.
  static time_zone local();

  /// From the octets of a TZif file. @throws weir::error ERR_INVALID_ARG_VALUE
  static time_zone from_tzif(std::span<const std::byte> file, std::string name = {});

  /// From a POSIX rule, "CET-1CEST,M3.5.0,M10.5.0/3". @throws weir::error ERR_INVALID_ARG_VALUE
  static time_zone from_rule(std::string_view rule);

  zone_period at(sys_seconds when) const noexcept;
  local_seconds to_local(sys_seconds when) const noexcept;
  zone_moments to_sys(local_seconds local) const noexcept;
  const std::string& name() const noexcept;

 private:
  explicit time_zone(std::shared_ptr<const detail::zone_rules> rules) noexcept : rules_(std::move(rules)) {}
  std::shared_ptr<const detail::zone_rules> rules_;
};

}  // namespace weir::sync
