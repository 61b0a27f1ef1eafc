// tests/fuzz/cron_fuzz.cpp: any text parses as a cron expression or fails cleanly, and what parses names moments that
// fit it, forwards and backwards; any octets are a time zone, whose moments hang together, or are refused.
#include <weir/sync/cron.hpp>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <span>
#include <string_view>

namespace {

using weir::sync::cron_expression;
using weir::sync::time_zone;

void require(bool holds) {
  if (!holds) std::abort();
}

std::optional<time_zone> zone_of(std::span<const std::byte> octets) {
  try {
    if (octets.size() > 4 && octets[0] == std::byte{'T'}) return time_zone::from_tzif(octets);
    return time_zone::from_rule({reinterpret_cast<const char*>(octets.data()), octets.size()});
  } catch (const weir::error&) {
    return std::nullopt;
  }
}

void check_zone(const time_zone& zone) {
  auto at = weir::sync::sys_seconds(std::chrono::seconds(-4'000'000'000));
  for (int i = 0; i < 50; ++i) {
    auto period = zone.at(at);
    require(period.begin <= at && at < period.end);
    auto back = zone.to_sys(zone.to_local(at));
    require(back.how != weir::sync::zone_moments::gap);
    if (period.end == weir::sync::sys_seconds::max()) return;
    at = period.end;
  }
}

void check_cron(const cron_expression& cron, const time_zone& zone) {
  auto at = weir::sync::sys_seconds(std::chrono::seconds(1'700'000'000));
  for (int i = 0; i < 4; ++i) {
    auto next = cron.next(at, zone);
    if (!next) return;
    require(*next > at);
    auto before = cron.previous(*next + std::chrono::seconds(1), zone);
    require(before && *before == *next);
    at = *next;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  auto cut = text.find('\n');
  auto cron = cron_expression::parse(text.substr(0, cut));
  if (!cron) require(cron.failure().message().size() < 2048);

  auto rest = cut == std::string_view::npos ? text : text.substr(cut + 1);
  auto zone = zone_of(std::as_bytes(std::span(rest.data(), rest.size())));
  if (zone) check_zone(*zone);
  if (cron) check_cron(*cron, {});
  return 0;
}
