// net/block_list.hpp: a set of IP addresses, given one by one, as ranges and as subnets, that is asked about each peer
// (Node's net.BlockList, https://nodejs.org/api/net.html#class-netblocklist). Rests on net/address. Promises that
// asking costs a binary search however many rules there are, and that an IPv4 address is found in its IPv6-mapped form
// as well.
#pragma once

#include <weir/net/address.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace weir::net {

/// Addresses that are not welcome, or the only ones that are. Ports and zones do not count.
///
/// A rule of IPv4 holds for `::ffff:a.b.c.d` too, and a rule of such addresses for IPv4. A range of other IPv6
/// addresses holds no IPv4 address, although `::/0` as a subnet holds all: Node's rules.
/// The interface of a link-local address (`fe80::1%eth0`) plays no part.
/// A value. Asking is for any number of threads at once, changing for one at a time and nobody who asks.
class block_list {
 public:
  /// @throws weir::error ERR_INVALID_ADDRESS from all of these for what is no IP address
  void add(const address& ip);
  /// @throws weir::error ERR_INVALID_ARG_VALUE if `last` comes before `first` or is of the other family
  void add_range(const address& first, const address& last);
  /// The addresses whose first `prefix` bits are those of `network`.
  /// @throws weir::error ERR_OUT_OF_RANGE for more than 32 (IPv4) or 128 bits
  void add_subnet(const address& network, unsigned prefix);
  /// Any of the three as text: "10.0.0.1", "10.0.0.1-10.0.0.9", "10.0.0.0/8".
  /// @throws weir::error as above; ERR_INVALID_ARG_VALUE for a prefix that is no number
  void add(std::string_view rule);

  /// Whether a rule holds for it; false for what is no IP address.
  bool contains(const address& ip) const noexcept;

  bool empty() const noexcept { return rules_.empty(); }
  /// The rules in order, in the words that Node has for them: "Address: IPv4 10.0.0.1", "Range: IPv4
  /// 10.0.0.1-10.0.0.9", "Subnet: IPv6 fe80::/10".
  const std::vector<std::string>& rules() const noexcept { return rules_; }
  void clear() noexcept;

 private:
  using octets = std::array<std::uint8_t, 16>;  // IPv4 as mapped; in the order of their numbers
  struct interval {
    octets first, last;
  };
  using interval_list = std::vector<interval>;  // sorted, none touching another

  static octets octets_of(const address& ip);
  static void insert(interval_list& into, interval added);
  static bool holds(const interval_list& list, const octets& ip) noexcept;
  void insert(const interval& added, bool for_ipv4);

  interval_list ipv4_;  // what rules say about IPv4
  interval_list ipv6_;
  std::vector<std::string> rules_;
};

}  // namespace weir::net
