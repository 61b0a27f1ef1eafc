// net/address.hpp: where a socket is bound or connected: IPv4, IPv6 and Unix addresses as values, and their
// text in both directions. Rests on core's error and result. No name is ever looked up here.
#pragma once

#include <weir/core/result.hpp>

#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include <sys/socket.h>

namespace weir::net {

/// 4 or 6 if `text` is an IP address as Node's net.isIP has it, else 0. Strict: four decimal numbers without
/// leading zeros; RFC 4291 section 2.2 for IPv6, with an optional zone after '%'. No brackets, no port.
int is_ip(std::string_view text) noexcept;

enum class family : std::uint8_t { none, ipv4, ipv6, unix_path, unix_abstract, unix_unnamed };

/// A socket address. A value: comparable, hashable, copied like bytes (a sockaddr_storage and its length).
/// Equal addresses have equal bytes: padding and the IPv6 flow label are cleared.
class address {
 public:
  /// No address: family none, size 0, empty text.
  address() noexcept = default;

  /// Reads "127.0.0.1:80", "[::1]:80", "[fe80::1%eth0]:80", "unix:/run/x.sock", "unix:@abstract". ":80" and
  /// "*:80" are [::]:80, which a dual-stack listener takes as every address. The port is decimal and required.
  /// @throws weir::error ERR_INVALID_ADDRESS or ERR_SOCKET_BAD_PORT, saying what is wrong and where
  static address parse(std::string_view text);
  /// The same without a throw.
  static result<address> try_parse(std::string_view text);

  /// An IP address without brackets: ip("::1", 80).
  static result<address> ip(std::string_view text, std::uint16_t port);
  static address any_ipv4(std::uint16_t port) noexcept;       ///< 0.0.0.0
  static address any_ipv6(std::uint16_t port) noexcept;       ///< [::]
  static address loopback_ipv4(std::uint16_t port) noexcept;  ///< 127.0.0.1
  static address loopback_ipv6(std::uint16_t port) noexcept;  ///< [::1]

  /// A socket in the file system; at most 108 bytes, none of them 0 (unix(7)).
  static result<address> unix_path(std::string_view path);
  /// A Linux abstract name, without the '@'; at most 107 bytes of any value.
  static result<address> unix_abstract(std::string_view name);

  /// What the kernel wrote. The bytes are copied; fails with ERR_INVALID_ADDRESS if they are too few or of
  /// another family.
  static result<address> from(const sockaddr* data, socklen_t size);

  /// What `parse` reads, in canonical form: RFC 5952 for IPv6, with ::ffff:1.2.3.4 written so.
  std::string to_string() const;
  /// The IP address without brackets and port (Node's remoteAddress), or the path, or '@' and the name.
  std::string host() const;

  net::family family() const noexcept;
  bool is_ip() const noexcept;
  bool is_unix() const noexcept;
  std::uint16_t port() const noexcept;        ///< 0 unless IP
  std::uint32_t zone_index() const noexcept;  ///< interface of a scoped IPv6 address, or 0

  /// 127.0.0.0/8, its IPv6-mapped form, or ::1 (RFC 1122, 4291).
  bool is_loopback() const noexcept;
  /// 0.0.0.0, its IPv6-mapped form, or ::.
  bool is_any() const noexcept;
  /// ::ffff:0:0/96: how a dual-stack socket shows an IPv4 peer.
  bool is_ipv4_mapped() const noexcept;

  /// The IPv4 address inside a mapped one; any other address as it is.
  address unmapped() const noexcept;
  /// The same address with another port; a Unix address as it is.
  address with_port(std::uint16_t port) const noexcept;

  /// For bind, connect and sendto; valid as long as this object stays where it is.
  const sockaddr* data() const noexcept { return reinterpret_cast<const sockaddr*>(&storage_); }
  socklen_t size() const noexcept { return size_; }

  friend bool operator==(const address& left, const address& right) noexcept;
  /// By family, then IP address, zone and port in numerical order; Unix addresses bytewise.
  friend std::strong_ordering operator<=>(const address& left, const address& right) noexcept;

 private:
  std::string_view unix_bytes() const noexcept;

  sockaddr_storage storage_{};
  socklen_t size_ = 0;
};

/// "connect ECONNREFUSED 127.0.0.1:80"
error net_error(int errno_value, std::string_view operation, const address& where);
/// "listen EADDRINUSE: address already in use 127.0.0.1:80"
error listen_error(int errno_value, const address& where);

}  // namespace weir::net

template <>
struct std::hash<weir::net::address> {
  std::size_t operator()(const weir::net::address& value) const noexcept {
    return std::hash<std::string_view>()({reinterpret_cast<const char*>(value.data()), value.size()});
  }
};
