// tests/conformance/net.cpp: the operations on addresses.
#include "tests/conformance/driver.hpp"

#include <weir/net/address.hpp>
#include <weir/net/block_list.hpp>

namespace weir::conformance {
namespace {

net::address address_of(const json& text) { return net::address::ip(text.get<std::string>(), 0).value(); }

json ask_block_list(const arguments& a) {
  net::block_list list;
  for (const auto& rule : a[0]) {
    if (rule[0] == "address") {
      list.add(address_of(rule[1]));
    } else if (rule[0] == "range") {
      list.add_range(address_of(rule[1]), address_of(rule[2]));
    } else if (rule[0] == "subnet") {
      list.add_subnet(address_of(rule[1]), static_cast<unsigned>(size_of(rule[2])));
    } else {
      throw unsupported_arguments();
    }
  }
  json answers = json::array();
  for (const auto& query : a[1]) answers.push_back(list.contains(address_of(query[0])));
  return answers;
}

}  // namespace

void add_net(operations& all) {
  all.add("net.isIP", [](const arguments& a) -> json { return net::is_ip(a.text(0)); });
  all.add("net.blockList", ask_block_list);
}

}  // namespace weir::conformance
