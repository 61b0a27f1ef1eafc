// net/address.cpp: reads and writes socket addresses. The parsers are strict, work on the text alone and
// allocate only for errors; a zone's name is the one thing that asks the kernel (if_nametoindex).
#include <weir/net/address.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <optional>

#include <net/if.h>
#include <netinet/in.h>
#include <sys/un.h>

namespace weir::net {
namespace {

using ipv4_bytes = std::array<std::uint8_t, 4>;
using ipv6_bytes = std::array<std::uint8_t, 16>;

constexpr std::size_t path_offset = offsetof(sockaddr_un, sun_path);
constexpr std::size_t path_limit = sizeof(sockaddr_un::sun_path);
constexpr std::size_t npos = std::string_view::npos;
constexpr ipv6_bytes mapped_prefix = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

bool is_digit(char c) noexcept { return c >= '0' && c <= '9'; }

template <class Number>
std::optional<Number> number(std::string_view text, int base = 10) noexcept {
  Number value{};
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (problem != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<ipv4_bytes> parse_ipv4(std::string_view text) noexcept {
  ipv4_bytes bytes{};
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const bool last = i + 1 == bytes.size();
    const auto dot = text.find('.');
    if (last != (dot == npos)) return std::nullopt;
    const auto piece = text.substr(0, dot);
    const bool padded = piece.size() > 1 && piece.front() == '0';
    const auto value = number<std::uint8_t>(piece);
    if (!value || padded) return std::nullopt;
    bytes[i] = *value;
    if (!last) text.remove_prefix(dot + 1);
  }
  return bytes;
}

// Collects the 16-bit groups of an IPv6 address on both sides of "::".
class ipv6_groups {
 public:
  bool add(std::string_view piece) noexcept {
    const auto value = piece.size() <= 4 ? number<std::uint16_t>(piece, 16) : std::nullopt;
    if (!value) return false;
    return add(*value);
  }

  bool add(std::uint16_t group) noexcept {
    if (count_ == 8) return false;
    groups_[count_++] = group;
    return true;
  }

  bool add(const ipv4_bytes& tail) noexcept {
    return add(static_cast<std::uint16_t>(tail[0] << 8 | tail[1])) &&
           add(static_cast<std::uint16_t>(tail[2] << 8 | tail[3]));
  }

  bool add_gap() noexcept {
    if (gap_) return false;
    gap_ = count_;
    return true;
  }

  // "::" stands for one group at least, as in Node and RFC 4291.
  std::optional<ipv6_bytes> bytes() const noexcept {
    if (gap_ ? count_ > 7 : count_ != 8) return std::nullopt;
    ipv6_bytes bytes{};
    const std::size_t head = gap_.value_or(count_);
    for (std::size_t i = 0; i < count_; ++i) {
      const std::size_t place = i < head ? i : 8 - count_ + i;
      bytes[2 * place] = static_cast<std::uint8_t>(groups_[i] >> 8);
      bytes[2 * place + 1] = static_cast<std::uint8_t>(groups_[i]);
    }
    return bytes;
  }

 private:
  std::array<std::uint16_t, 8> groups_{};
  std::size_t count_ = 0;
  std::optional<std::size_t> gap_;
};

std::optional<ipv6_bytes> parse_ipv6(std::string_view text) noexcept {
  ipv6_groups groups;
  if (text.starts_with("::")) {
    groups.add_gap();
    text.remove_prefix(2);
  } else if (text.empty()) {
    return std::nullopt;
  }
  while (!text.empty()) {
    const auto colon = text.find(':');
    const auto piece = text.substr(0, colon);
    if (colon == npos && piece.find('.') != npos) {
      const auto tail = parse_ipv4(piece);
      if (!tail || !groups.add(*tail)) return std::nullopt;
      break;
    }
    if (!groups.add(piece)) return std::nullopt;
    if (colon == npos) break;
    text.remove_prefix(colon + 1);
    if (text.empty()) return std::nullopt;
    if (text.front() != ':') continue;
    if (!groups.add_gap()) return std::nullopt;
    text.remove_prefix(1);
  }
  return groups.bytes();
}

// The characters that Node allows in a zone; an interface may have others, and is then named by its number.
bool is_zone(std::string_view text) noexcept {
  const auto allowed = [](char c) {
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '.' || c == ':';
  };
  return !text.empty() && std::all_of(text.begin(), text.end(), allowed);
}

bool is_number(std::string_view text) noexcept { return std::all_of(text.begin(), text.end(), is_digit); }

std::optional<std::uint32_t> zone_to_index(std::string_view zone) noexcept {
  if (is_number(zone)) return number<std::uint32_t>(zone);
  if (zone.size() >= IF_NAMESIZE) return std::nullopt;
  char name[IF_NAMESIZE] = {};
  zone.copy(name, zone.size());
  const unsigned index = ::if_nametoindex(name);
  return index != 0 ? std::optional<std::uint32_t>(index) : std::nullopt;
}

std::string index_to_zone(std::uint32_t index) {
  char name[IF_NAMESIZE] = {};
  const bool known = ::if_indextoname(index, name) != nullptr;
  return known && is_zone(name) && !is_number(name) ? std::string(name) : std::to_string(index);
}

struct zoned {
  std::string_view ip, zone;
  bool has_zone;
};

zoned split_zone(std::string_view text) noexcept {
  const auto percent = text.find('%');
  if (percent == npos) return {text, {}, false};
  return {text.substr(0, percent), text.substr(percent + 1), true};
}

std::string print(const ipv4_bytes& ip) { return fmt::format("{}.{}.{}.{}", ip[0], ip[1], ip[2], ip[3]); }

struct run {
  std::size_t start = 0, length = 0;
};

run longest_zeros(const std::array<unsigned, 8>& groups) noexcept {
  run best, now;
  for (std::size_t i = 0; i < groups.size(); ++i) {
    if (groups[i] != 0)
      now = {i + 1, 0};
    else if (++now.length > best.length)
      best = now;
  }
  return best.length >= 2 ? best : run{groups.size(), 0};  // RFC 5952, 4.2.2: one group alone is not shortened
}

bool is_mapped(const ipv6_bytes& ip) noexcept { return std::equal(ip.begin(), ip.begin() + 12, mapped_prefix.begin()); }

ipv4_bytes mapped_inside(const ipv6_bytes& ip) noexcept { return {ip[12], ip[13], ip[14], ip[15]}; }

std::string print(const ipv6_bytes& ip) {
  if (is_mapped(ip)) return "::ffff:" + print(mapped_inside(ip));
  std::array<unsigned, 8> groups{};
  for (std::size_t i = 0; i < groups.size(); ++i) groups[i] = ip[2 * i] * 256u + ip[2 * i + 1];
  const run zeros = longest_zeros(groups);
  std::string text;
  for (std::size_t i = 0; i < groups.size(); ++i) {
    if (i == zeros.start) {
      text += "::";
      i += zeros.length - 1;
      continue;
    }
    if (!text.empty() && text.back() != ':') text += ':';
    text += fmt::format("{:x}", groups[i]);
  }
  return text;
}

// Part of a text that somebody sent or typed, fit to be shown in any log: bounded, and in printable ASCII.
std::string quoted(std::string_view text) {
  constexpr std::size_t most = 128;
  std::string shown = "'";
  for (const char c : text.substr(0, most)) {
    if (c >= ' ' && c <= '~')
      shown += c;
    else
      shown += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
  }
  return shown + (text.size() > most ? "...'" : "'");
}

error bad_address(std::string_view text, std::string_view why) {
  return error(errc::err_invalid_address, fmt::format("Invalid address {}: {}", quoted(text), why),
               {.address = text.substr(0, path_limit)});
}

error bad_port(std::string_view text, std::size_t offset) {
  return error(errc::err_socket_bad_port,
               fmt::format("Port should be >= 0 and < 65536. Received {} at offset {} of {}",
                           quoted(text.substr(offset)), offset, quoted(text)),
               {.address = text.substr(0, path_limit)});
}

std::optional<std::uint16_t> parse_port(std::string_view text) noexcept {
  return is_number(text) ? number<std::uint16_t>(text) : std::nullopt;
}

template <class Sockaddr>
address from_struct(const Sockaddr& data) noexcept {
  // The fields are ours and of a known family, so this cannot fail.
  return *address::from(reinterpret_cast<const sockaddr*>(&data), sizeof data);
}

address make(const ipv4_bytes& ip, std::uint16_t port) noexcept {
  sockaddr_in data{};
  data.sin_family = AF_INET;
  data.sin_port = htons(port);
  std::memcpy(&data.sin_addr, ip.data(), ip.size());
  return from_struct(data);
}

address make(const ipv6_bytes& ip, std::uint16_t port, std::uint32_t zone = 0) noexcept {
  sockaddr_in6 data{};
  data.sin6_family = AF_INET6;
  data.sin6_port = htons(port);
  data.sin6_scope_id = zone;
  std::memcpy(&data.sin6_addr, ip.data(), ip.size());
  return from_struct(data);
}

const sockaddr_in& as_ipv4(const address& a) noexcept { return *reinterpret_cast<const sockaddr_in*>(a.data()); }
const sockaddr_in6& as_ipv6(const address& a) noexcept { return *reinterpret_cast<const sockaddr_in6*>(a.data()); }

ipv4_bytes ipv4_of(const address& a) noexcept {
  ipv4_bytes bytes;
  std::memcpy(bytes.data(), &as_ipv4(a).sin_addr, bytes.size());
  return bytes;
}

ipv6_bytes ipv6_of(const address& a) noexcept {
  ipv6_bytes bytes;
  std::memcpy(bytes.data(), &as_ipv6(a).sin6_addr, bytes.size());
  return bytes;
}

result<address> parse_bracketed(std::string_view text) {
  const auto close = text.find(']');
  if (close == npos) return bad_address(text, "'[' at offset 0 has no ']'");
  if (!text.substr(close + 1).starts_with(':')) {
    return bad_address(text, fmt::format("expected ':' and a port at offset {}", close + 1));
  }
  const auto inner = text.substr(1, close - 1);
  if (is_ip(inner) != 6) return bad_address(text, fmt::format("{} at offset 1 is not an IPv6 address", quoted(inner)));
  const auto port = parse_port(text.substr(close + 2));
  if (!port) return bad_port(text, close + 2);
  return address::ip(inner, *port);
}

result<address> parse_unix(std::string_view text) {
  const auto name = text.substr(5);
  return name.starts_with('@') ? address::unix_abstract(name.substr(1)) : address::unix_path(name);
}

result<address> parse_host_and_port(std::string_view text) {
  const auto colon = text.rfind(':');
  if (colon == npos) return bad_address(text, "no port; expected 'address:port', '[address]:port' or 'unix:path'");
  const auto host = text.substr(0, colon);
  if (host.find(':') != npos) return bad_address(text, "an IPv6 address with a port is written '[address]:port'");
  const auto port = parse_port(text.substr(colon + 1));
  if (!port) return bad_port(text, colon + 1);
  if (host.empty() || host == "*") return address::any_ipv6(*port);
  if (const auto ip = parse_ipv4(host)) return make(*ip, *port);
  return bad_address(
      text, fmt::format("{} at offset 0 is not an IPv4 address, and names are not looked up here", quoted(host)));
}

}  // namespace

int is_ip(std::string_view text) noexcept {
  if (parse_ipv4(text)) return 4;
  const zoned parts = split_zone(text);
  if (parts.has_zone && !is_zone(parts.zone)) return 0;
  return parse_ipv6(parts.ip) ? 6 : 0;
}

address address::parse(std::string_view text) { return try_parse(text).value(); }

result<address> address::try_parse(std::string_view text) {
  if (text.starts_with('[')) return parse_bracketed(text);
  if (text.starts_with("unix:")) return parse_unix(text);
  return parse_host_and_port(text);
}

result<address> address::ip(std::string_view text, std::uint16_t port) {
  if (const auto ip = parse_ipv4(text)) return make(*ip, port);
  const zoned parts = split_zone(text);
  const auto ip = parse_ipv6(parts.ip);
  if (!ip) return bad_address(text, "neither an IPv4 nor an IPv6 address");
  if (!parts.has_zone) return make(*ip, port);
  if (!is_zone(parts.zone)) {
    return bad_address(text, fmt::format("{} at offset {} is not a zone", quoted(parts.zone), parts.ip.size() + 1));
  }
  const auto zone = zone_to_index(parts.zone);
  if (!zone) {
    return bad_address(text,
                       fmt::format("no network interface {} (at offset {})", quoted(parts.zone), parts.ip.size() + 1));
  }
  return make(*ip, port, *zone);
}

address address::any_ipv4(std::uint16_t port) noexcept { return make(ipv4_bytes{}, port); }
address address::any_ipv6(std::uint16_t port) noexcept { return make(ipv6_bytes{}, port); }
address address::loopback_ipv4(std::uint16_t port) noexcept { return make(ipv4_bytes{127, 0, 0, 1}, port); }

address address::loopback_ipv6(std::uint16_t port) noexcept {
  ipv6_bytes one{};
  one.back() = 1;
  return make(one, port);
}

result<address> address::unix_path(std::string_view path) {
  if (path.empty()) return bad_address("unix:", "the path is empty");
  if (path.size() > path_limit) {
    return bad_address(path, fmt::format("the path has {} bytes, at most {} fit", path.size(), path_limit));
  }
  if (const auto zero = path.find('\0'); zero != npos) {
    return bad_address(path, fmt::format("the path has a zero byte at offset {}", zero));
  }
  sockaddr_un data{};
  data.sun_family = AF_UNIX;
  path.copy(data.sun_path, path.size());
  return from(reinterpret_cast<const sockaddr*>(&data), static_cast<socklen_t>(path_offset + path.size()));
}

result<address> address::unix_abstract(std::string_view name) {
  if (name.empty()) return bad_address("unix:@", "the abstract name is empty");
  if (name.size() >= path_limit) {
    return bad_address(name,
                       fmt::format("the abstract name has {} bytes, at most {} fit", name.size(), path_limit - 1));
  }
  sockaddr_un data{};
  data.sun_family = AF_UNIX;
  name.copy(data.sun_path + 1, name.size());
  return from(reinterpret_cast<const sockaddr*>(&data), static_cast<socklen_t>(path_offset + 1 + name.size()));
}

result<address> address::from(const sockaddr* data, socklen_t size) {
  sa_family_t kind = AF_UNSPEC;
  if (data != nullptr && size >= sizeof kind) std::memcpy(&kind, data, sizeof kind);
  address made;
  if (kind == AF_INET && size >= sizeof(sockaddr_in)) {
    sockaddr_in ip;
    std::memcpy(&ip, data, sizeof ip);
    std::memset(ip.sin_zero, 0, sizeof ip.sin_zero);
    std::memcpy(&made.storage_, &ip, sizeof ip);
    made.size_ = sizeof ip;
    return made;
  }
  if (kind == AF_INET6 && size >= sizeof(sockaddr_in6)) {
    sockaddr_in6 ip;
    std::memcpy(&ip, data, sizeof ip);
    ip.sin6_flowinfo = 0;
    std::memcpy(&made.storage_, &ip, sizeof ip);
    made.size_ = sizeof ip;
    return made;
  }
  if (kind == AF_UNIX && size >= path_offset) {
    const auto* bytes = reinterpret_cast<const char*>(data) + path_offset;
    // A path of 108 bytes has no end mark in sun_path, and the kernel reports it with one byte more.
    const std::size_t given = std::min<std::size_t>(size - path_offset, path_limit);
    const bool is_path = given > 0 && bytes[0] != '\0';
    const std::size_t length = is_path ? ::strnlen(bytes, given) : given;
    std::memcpy(&made.storage_, data, path_offset + length);
    // The end mark of a path counts, if there is room for it.
    made.size_ = static_cast<socklen_t>(path_offset + std::min(length + (is_path ? 1 : 0), path_limit));
    return made;
  }
  return bad_address("", fmt::format("a sockaddr of family {} and {} bytes", kind, size));
}

std::string_view address::unix_bytes() const noexcept {
  const auto* bytes = reinterpret_cast<const char*>(&storage_) + path_offset;
  const std::size_t length = size_ - path_offset;
  if (family() == net::family::unix_path) return {bytes, ::strnlen(bytes, length)};
  return {bytes + 1, length - 1};
}

std::string address::host() const {
  switch (family()) {
    case net::family::ipv4: return print(ipv4_of(*this));
    case net::family::ipv6: {
      const std::string ip = print(ipv6_of(*this));
      return zone_index() == 0 ? ip : ip + '%' + index_to_zone(zone_index());
    }
    case net::family::unix_path: return std::string(unix_bytes());
    case net::family::unix_abstract: return '@' + std::string(unix_bytes());
    case net::family::unix_unnamed:
    case net::family::none: break;
  }
  return {};
}

std::string address::to_string() const {
  switch (family()) {
    case net::family::ipv4: return fmt::format("{}:{}", host(), port());
    case net::family::ipv6: return fmt::format("[{}]:{}", host(), port());
    case net::family::unix_path: {
      const std::string path = host();
      return (path.starts_with('@') ? "unix:./" : "unix:") + path;  // a file of that name, not an abstract name
    }
    case net::family::unix_abstract:
    case net::family::unix_unnamed: return "unix:" + host();
    case net::family::none: break;
  }
  return {};
}

family address::family() const noexcept {
  if (storage_.ss_family == AF_INET) return net::family::ipv4;
  if (storage_.ss_family == AF_INET6) return net::family::ipv6;
  if (storage_.ss_family != AF_UNIX) return net::family::none;
  if (size_ == path_offset) return net::family::unix_unnamed;
  const char first = reinterpret_cast<const char*>(&storage_)[path_offset];
  return first == '\0' ? net::family::unix_abstract : net::family::unix_path;
}

bool address::is_ip() const noexcept { return storage_.ss_family == AF_INET || storage_.ss_family == AF_INET6; }
bool address::is_unix() const noexcept { return storage_.ss_family == AF_UNIX; }

std::uint16_t address::port() const noexcept {
  if (family() == net::family::ipv4) return ntohs(as_ipv4(*this).sin_port);
  if (family() == net::family::ipv6) return ntohs(as_ipv6(*this).sin6_port);
  return 0;
}

std::uint32_t address::zone_index() const noexcept {
  return family() == net::family::ipv6 ? as_ipv6(*this).sin6_scope_id : 0;
}

bool address::is_loopback() const noexcept {
  const address plain = unmapped();
  if (plain.family() == net::family::ipv4) return ipv4_of(plain)[0] == 127;
  return plain.family() == net::family::ipv6 && ipv6_of(plain) == ipv6_of(loopback_ipv6(0));
}

bool address::is_any() const noexcept {
  const address plain = unmapped();
  if (plain.family() == net::family::ipv4) return ipv4_of(plain) == ipv4_bytes{};
  return plain.family() == net::family::ipv6 && ipv6_of(plain) == ipv6_bytes{};
}

bool address::is_ipv4_mapped() const noexcept { return family() == net::family::ipv6 && is_mapped(ipv6_of(*this)); }

address address::unmapped() const noexcept {
  return is_ipv4_mapped() ? make(mapped_inside(ipv6_of(*this)), port()) : *this;
}

address address::with_port(std::uint16_t port) const noexcept {
  if (family() == net::family::ipv4) return make(ipv4_of(*this), port);
  if (family() == net::family::ipv6) return make(ipv6_of(*this), port, zone_index());
  return *this;
}

bool operator==(const address& left, const address& right) noexcept {
  return left.size_ == right.size_ && std::memcmp(&left.storage_, &right.storage_, left.size_) == 0;
}

std::strong_ordering operator<=>(const address& left, const address& right) noexcept {
  if (const auto order = left.family() <=> right.family(); order != 0) return order;
  switch (left.family()) {
    case family::ipv4:
      if (const auto order = ipv4_of(left) <=> ipv4_of(right); order != 0) return order;
      break;
    case family::ipv6:
      if (const auto order = ipv6_of(left) <=> ipv6_of(right); order != 0) return order;
      if (const auto order = left.zone_index() <=> right.zone_index(); order != 0) return order;
      break;
    case family::unix_path:
    case family::unix_abstract: return left.unix_bytes() <=> right.unix_bytes();
    case family::unix_unnamed:
    case family::none: break;
  }
  return left.port() <=> right.port();
}

error net_error(int errno_value, std::string_view operation, const address& where) {
  return weir::net_error(errno_value, operation, where.host(), where.port());
}

error listen_error(int errno_value, const address& where) {
  return weir::listen_error(errno_value, where.host(), where.port());
}

}  // namespace weir::net
