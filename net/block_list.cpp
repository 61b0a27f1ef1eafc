#include <weir/net/block_list.hpp>

#include <algorithm>
#include <charconv>
#include <cstring>

#include <netinet/in.h>

namespace weir::net {
namespace {

constexpr std::uint8_t mapped_prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

bool is_mapped(const std::array<std::uint8_t, 16>& ip) noexcept {
  return std::equal(std::begin(mapped_prefix), std::end(mapped_prefix), ip.begin());
}

const char* name_of(family of) noexcept { return of == family::ipv4 ? "IPv4 " : "IPv6 "; }

address address_of(std::string_view text) { return address::ip(text, 0).value(); }

// Without its interface, which rules do not look at.
std::string host_of(const address& ip) {
  auto host = ip.host();
  return host.substr(0, host.find('%'));
}

}  // namespace

block_list::octets block_list::octets_of(const address& ip) {
  octets made{};
  if (ip.family() == family::ipv4) {
    sockaddr_in raw;
    std::memcpy(&raw, ip.data(), sizeof raw);
    std::copy(std::begin(mapped_prefix), std::end(mapped_prefix), made.begin());
    std::memcpy(made.data() + sizeof mapped_prefix, &raw.sin_addr, 4);
  } else if (ip.family() == family::ipv6) {
    sockaddr_in6 raw;
    std::memcpy(&raw, ip.data(), sizeof raw);
    std::memcpy(made.data(), &raw.sin6_addr, 16);
  } else {
    throw error(errc::err_invalid_address, "Invalid address: " + ip.to_string());
  }
  return made;
}

void block_list::insert(interval_list& into, interval added) {
  auto from = std::ranges::lower_bound(into, added.first, {}, &interval::last);
  auto to = from;
  for (; to != into.end() && to->first <= added.last; ++to) {
    added = {std::min(added.first, to->first), std::max(added.last, to->last)};
  }
  into.insert(into.erase(from, to), added);
}

bool block_list::holds(const interval_list& list, const octets& ip) noexcept {
  auto found = std::ranges::lower_bound(list, ip, {}, &interval::last);
  return found != list.end() && found->first <= ip;
}

void block_list::insert(const interval& added, bool for_ipv4) {
  insert(ipv6_, added);
  if (for_ipv4) insert(ipv4_, added);
}

void block_list::add(const address& ip) {
  auto only = octets_of(ip);
  insert({only, only}, true);
  rules_.push_back(std::string("Address: ") + name_of(ip.family()) + host_of(ip));
}

void block_list::add_range(const address& first, const address& last) {
  interval all = {octets_of(first), octets_of(last)};
  if (first.family() != last.family() || all.last < all.first) {
    throw error(errc::err_invalid_arg_value, "The range " + host_of(first) + "-" + host_of(last) + " holds no address");
  }
  insert(all, is_mapped(all.first) && is_mapped(all.last));
  rules_.push_back(std::string("Range: ") + name_of(first.family()) + host_of(first) + "-" + host_of(last));
}

void block_list::add_subnet(const address& network, unsigned prefix) {
  const bool ipv4 = network.family() == family::ipv4;
  interval all = {octets_of(network), octets_of(network)};
  if (prefix > (ipv4 ? 32U : 128U)) {
    throw error(errc::err_out_of_range, "The prefix of " + host_of(network) +
                                            " is out of range: it must be >= 0 and <= " + (ipv4 ? "32" : "128") +
                                            ". Received " + std::to_string(prefix));
  }
  const unsigned fixed = prefix + (ipv4 ? 96 : 0);
  for (unsigned bit = fixed; bit < 128; ++bit) {
    const auto mask = static_cast<std::uint8_t>(0x80U >> (bit % 8));
    all.first[bit / 8] = static_cast<std::uint8_t>(all.first[bit / 8] & ~mask);
    all.last[bit / 8] = static_cast<std::uint8_t>(all.last[bit / 8] | mask);
  }
  insert(all, true);
  rules_.push_back(std::string("Subnet: ") + name_of(network.family()) + host_of(network) + "/" +
                   std::to_string(prefix));
}

void block_list::add(std::string_view rule) {
  if (auto slash = rule.find('/'); slash != std::string_view::npos) {
    auto digits = rule.substr(slash + 1);
    unsigned prefix = 0;
    auto read = std::from_chars(digits.data(), digits.data() + digits.size(), prefix);
    if (read.ec != std::errc() || read.ptr != digits.data() + digits.size()) {
      throw error(errc::err_invalid_arg_value, "The prefix is no number: '" + std::string(rule) + "'");
    }
    return add_subnet(address_of(rule.substr(0, slash)), prefix);
  }
  if (auto dash = rule.find('-'); dash != std::string_view::npos && is_ip(rule) == 0) {
    return add_range(address_of(rule.substr(0, dash)), address_of(rule.substr(dash + 1)));
  }
  add(address_of(rule));
}

bool block_list::contains(const address& ip) const noexcept {
  if (!ip.is_ip()) return false;
  return holds(ip.family() == family::ipv4 ? ipv4_ : ipv6_, octets_of(ip));
}

void block_list::clear() noexcept {
  ipv4_.clear();
  ipv6_.clear();
  rules_.clear();
}

}  // namespace weir::net
