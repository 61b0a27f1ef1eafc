// tests/fuzz/address_fuzz.cpp: any text parses or fails cleanly, and what parses prints to a text that parses
// to the same address and prints the same again; and any text is a rule of a block list, which holds for what it names
// and reads back from what is said about it, or is refused.
#include <weir/net/address.hpp>
#include <weir/net/block_list.hpp>

#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

void check_rule(std::string_view text) {
  weir::net::block_list list;
  try {
    list.add(text);
  } catch (const weir::error& refused) {
    require(list.empty() && std::string_view(refused.what()).size() < 2048);
    return;
  }
  require(list.rules().size() == 1);
  const std::string_view said = list.rules().front();  // "Subnet: IPv4 10.0.0.0/8"
  weir::net::block_list again;
  again.add(said.substr(said.find(" IPv") + 6));
  require(again.rules() == list.rules());
  if (const auto ip = weir::net::address::ip(text, 0)) require(list.contains(*ip) && again.contains(*ip));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using weir::net::address;
  const std::string_view text(reinterpret_cast<const char*>(data), size);

  if (const int version = weir::net::is_ip(text); version == 0) {
    require(!address::ip(text, 1));
  } else if (const auto ip = address::ip(text, 1)) {
    require(ip->family() == (version == 4 ? weir::net::family::ipv4 : weir::net::family::ipv6));
    require(weir::net::is_ip(ip->host()) == version);
  }

  check_rule(text);

  const auto first = address::try_parse(text);
  if (first) {
    const std::string printed = first->to_string();
    const auto second = address::try_parse(printed);
    require(second && *second == *first && second->to_string() == printed);
  } else {
    require(first.failure().message().size() < 2048);
  }

  if (size <= sizeof(sockaddr_storage)) {
    const auto raw = address::from(reinterpret_cast<const sockaddr*>(data), static_cast<socklen_t>(size));
    if (raw) require(*address::from(raw->data(), raw->size()) == *raw && raw->to_string().size() < 256);
  }
  return 0;
}
