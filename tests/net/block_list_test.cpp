// tests/net/block_list_test.cpp: which addresses rules hold for, as Node's net.BlockList has it.
#include <weir/net/block_list.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>
#include <utility>
#include <vector>

namespace weir::net {
namespace {

address ip(const char* text) { return address::ip(text, 0).value(); }

block_list of(std::initializer_list<const char*> rules) {
  block_list made;
  for (const auto* each : rules) made.add(each);
  return made;
}

template <class F>
std::string code_of(F&& body) {
  try {
    body();
    return "nothing";
  } catch (const error& why) {
    return std::string(why.code_name());
  }
}

TEST(BlockList, holds_what_it_was_given) {
  auto list = of({"10.0.0.1", "10.0.1.5-10.0.1.7", "192.168.0.0/16", "fe80::/10", "2001:db8::1"});
  for (const char* each :
       {"10.0.0.1", "10.0.1.5", "10.0.1.6", "10.0.1.7", "192.168.255.255", "fe80::1", "febf::", "2001:db8::1"}) {
    EXPECT_TRUE(list.contains(ip(each))) << each;
  }
  for (const char* each : {"10.0.0.2", "10.0.1.4", "10.0.1.8", "192.169.0.0", "fec0::", "2001:db8::2", "::1"}) {
    EXPECT_FALSE(list.contains(ip(each))) << each;
  }
}

TEST(BlockList, knows_ipv4_in_its_mapped_form) {
  auto list = of({"1.2.3.4", "::ffff:5.6.7.8", "10.0.0.0/8", "::ffff:20.0.0.0/104", "30.0.0.1-30.0.0.3"});
  for (const char* each : {"::ffff:1.2.3.4", "5.6.7.8", "::ffff:10.9.9.9", "20.1.1.1", "::ffff:30.0.0.2"}) {
    EXPECT_TRUE(list.contains(ip(each))) << each;
  }
  EXPECT_FALSE(list.contains(ip("::1.2.3.4"))) << "not mapped, but compatible";
}

TEST(BlockList, compares_ipv4_with_ranges_of_mapped_addresses_only) {
  EXPECT_FALSE(of({"::1-ffff::"}).contains(ip("1.2.3.4")));
  EXPECT_TRUE(of({"::1-ffff::"}).contains(ip("::ffff:1.2.3.4")));
  EXPECT_TRUE(of({"::ffff:1.0.0.0-::ffff:2.0.0.0"}).contains(ip("1.2.3.4")));
  EXPECT_TRUE(of({"::/0"}).contains(ip("1.2.3.4"))) << "subnets compare bits";
}

TEST(BlockList, takes_prefixes_of_every_length) {
  EXPECT_TRUE(of({"1.2.3.4/0"}).contains(ip("255.255.255.255")));
  EXPECT_FALSE(of({"1.2.3.4/0"}).contains(ip("::1")));
  EXPECT_TRUE(of({"1.2.3.4/32"}).contains(ip("1.2.3.4")));
  EXPECT_FALSE(of({"1.2.3.4/32"}).contains(ip("1.2.3.5")));
  EXPECT_TRUE(of({"1.2.3.19/25"}).contains(ip("1.2.3.127")));
  EXPECT_FALSE(of({"1.2.3.19/25"}).contains(ip("1.2.3.128")));
  EXPECT_TRUE(of({"2001:db8::/127"}).contains(ip("2001:db8::1")));
  EXPECT_FALSE(of({"2001:db8::/127"}).contains(ip("2001:db8::2")));
}

TEST(BlockList, refuses_what_is_no_rule) {
  block_list list;
  EXPECT_EQ(code_of([&] { list.add_subnet(ip("1.2.3.4"), 33); }), "ERR_OUT_OF_RANGE");
  EXPECT_EQ(code_of([&] { list.add_subnet(ip("::"), 129); }), "ERR_OUT_OF_RANGE");
  EXPECT_EQ(code_of([&] { list.add_range(ip("1.2.3.4"), ip("1.2.3.3")); }), "ERR_INVALID_ARG_VALUE");
  EXPECT_EQ(code_of([&] { list.add_range(ip("1.2.3.4"), ip("::ffff:1.2.3.5")); }), "ERR_INVALID_ARG_VALUE");
  EXPECT_EQ(code_of([&] { list.add(address()); }), "ERR_INVALID_ADDRESS");
  EXPECT_EQ(code_of([&] { list.add("1.2.3"); }), "ERR_INVALID_ADDRESS");
  EXPECT_EQ(code_of([&] { list.add("1.2.3.4/x"); }), "ERR_INVALID_ARG_VALUE");
  EXPECT_TRUE(list.empty());
}

TEST(BlockList, holds_nothing_that_is_no_ip_address) {
  EXPECT_FALSE(of({"::/0"}).contains(address::parse("unix:/run/x.sock")));
  EXPECT_FALSE(of({"::/0"}).contains(address()));
}

TEST(BlockList, ignores_ports) { EXPECT_TRUE(of({"1.2.3.4"}).contains(address::parse("1.2.3.4:80"))); }

TEST(BlockList, ignores_interfaces) {
  auto list = of({"fe80::1%lo", "fe80::8%1-fe80::9%lo"});
  EXPECT_TRUE(list.contains(ip("fe80::1")));
  EXPECT_TRUE(list.contains(ip("fe80::9%1")));
  EXPECT_EQ(list.rules(), (std::vector<std::string>{"Address: IPv6 fe80::1", "Range: IPv6 fe80::8-fe80::9"}));
}

TEST(BlockList, tells_its_rules_as_node_does) {
  auto list = of({"1.1.1.1", "1.1.1.1-2.2.2.2", "fe80::/10"});
  EXPECT_EQ(list.rules(), (std::vector<std::string>{"Address: IPv4 1.1.1.1", "Range: IPv4 1.1.1.1-2.2.2.2",
                                                    "Subnet: IPv6 fe80::/10"}));
  list.clear();
  EXPECT_TRUE(list.empty());
  EXPECT_FALSE(list.contains(ip("1.1.1.1")));
}

TEST(BlockList, answers_as_a_list_of_rules_that_is_walked_would) {
  std::mt19937 random(1);
  auto number = [&] { return static_cast<std::uint32_t>(random() % 64); };
  auto at = [&](std::uint32_t low) { return ip(("10.0.0." + std::to_string(low)).c_str()); };
  for (int round = 0; round < 200; ++round) {
    block_list list;
    std::vector<std::pair<std::uint32_t, std::uint32_t>> rules;
    for (int i = 0; i < 12; ++i) {
      auto first = number(), last = std::min(first + number() % 6, 255U);
      rules.emplace_back(first, last);
      list.add_range(at(first), at(last));
    }
    for (std::uint32_t n = 0; n < 70; ++n) {
      bool expected = std::ranges::any_of(rules, [&](auto& r) { return r.first <= n && n <= r.second; });
      ASSERT_EQ(list.contains(at(n)), expected) << n;
    }
  }
}

}  // namespace
}  // namespace weir::net
