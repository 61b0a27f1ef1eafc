// tests/net/address_test.cpp: addresses are read strictly and printed canonically. The net.isIP rows were
// checked against Node 20; the canonical forms are those of RFC 5952.
#include <weir/net/address.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <filesystem>
#include <string>
#include <unordered_set>
#include <vector>

#include <net/if.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/un.h>
#include <unistd.h>

namespace weir::net {
namespace {

using namespace std::string_view_literals;

result<address> from(const auto& data, std::size_t size) {
  return address::from(reinterpret_cast<const sockaddr*>(&data), static_cast<socklen_t>(size));
}

// An address as the kernel reports it for a socket bound to it.
address bound(const address& wanted) {
  const int fd = ::socket(wanted.data()->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  EXPECT_EQ(::bind(fd, wanted.data(), wanted.size()), 0) << wanted.to_string() << ": " << std::strerror(errno);
  char seen[sizeof(sockaddr_storage)] = {};
  socklen_t size = sizeof seen;
  EXPECT_EQ(::getsockname(fd, reinterpret_cast<sockaddr*>(seen), &size), 0);
  ::close(fd);
  return from(seen, size).value();
}

TEST(IsIp, agrees_with_node) {
  const struct {
    std::string_view text;
    int version;
  } rows[] = {
      {"127.0.0.1", 4},
      {"0.0.0.0", 4},
      {"255.255.255.255", 4},
      {"67.66.25.32", 4},
      {"", 0},
      {"a", 0},
      {"1.2.3", 0},
      {"1.2.3.4.5", 0},
      {"256.1.1.1", 0},
      {"1.2.3.999", 0},
      {"01.2.3.4", 0},
      {"1.2.3.00", 0},
      {"1.2.3.4 ", 0},
      {" 1.2.3.4", 0},
      {"1.2.3.4%lo", 0},
      {"1.2.3.4%", 0},
      {"1..2.3", 0},
      {"1.2.3.", 0},
      {".1.2.3", 0},
      {"+1.2.3.4", 0},
      {"-1.2.3.4", 0},
      {"0x1.2.3.4", 0},
      {"1.2.3.4\0"sv, 0},
      {"::", 6},
      {"::1", 6},
      {"1::", 6},
      {"1:2:3:4:5:6:7:8", 6},
      {"1:2:3:4:5:6:7::", 6},
      {"::2:3:4:5:6:7:8", 6},
      {"1:2:3:4:5:6::8", 6},
      {"ABCD:ef01::", 6},
      {"::0001", 6},
      {"69b8:61cf:797f:d99e::1905:83c3", 6},
      {":", 0},
      {":::", 0},
      {":1", 0},
      {"1:", 0},
      {"1:::2", 0},
      {"1::2::3", 0},
      {"::1::", 0},
      {"::00001", 0},
      {"::g", 0},
      {"1:2:3:4:5:6:7", 0},
      {"1:2:3:4:5:6:7:8:9", 0},
      {"1:2:3:4:5:6:7::8", 0},
      {"1:2:3:4:5:6:7:8::", 0},
      {"::1:2:3:4:5:6:7:8", 0},
      {"1:2:3:4:5:6:7:8:", 0},
      {"277e:f73f:74b0:9abb::cb0d:", 0},
      {"[::1]", 0},
      {"::1\n", 0},
      {"::-1", 0},
      {"::0x1", 0},
      {"::ffff:1.2.3.4", 6},
      {"::1.2.3.4", 6},
      {"1:2:3:4:5:6:1.2.3.4", 6},
      {"1:2:3:4:5::1.2.3.4", 6},
      {"::1:2:3:4:5:1.2.3.4", 6},
      {"::1:2:3:4:5:6:1.2.3.4", 0},
      {"1:2:3:4:5:6::1.2.3.4", 0},
      {"1:2:3:4:5:6:7:1.2.3.4", 0},
      {"1:2:3:4:5:1.2.3.4", 0},
      {"::1.2.3", 0},
      {"::1.2.3.256", 0},
      {"::01.2.3.4", 0},
      {"::1.2.3.4:5", 0},
      {"1.2.3.4::", 0},
      {"::1.2.3.4.5", 0},
      {"fe80::1%eth0", 6},
      {"::%lo", 6},
      {"fe80::1%a-b", 6},
      {"fe80::1%a.b", 6},
      {"::1%1:2", 6},
      {"1::1.2.3.4%z0", 6},
      {"::1%", 0},
      {"::1%%", 0},
      {"::1%a%b", 0},
      {"fe80::1%a b", 0},
      {"fe80::1%e@h", 0},
      {"fe80::1%a_b", 0},
      {"::1%lo\n", 0},
      {"%lo", 0},
  };
  for (const auto& row : rows) EXPECT_EQ(is_ip(row.text), row.version) << row.text;
}

TEST(Address, prints_in_canonical_form) {
  const struct {
    std::string_view text, printed;
  } rows[] = {
      {"127.0.0.1:80", "127.0.0.1:80"},
      {"0.0.0.0:0", "0.0.0.0:0"},
      {"255.255.255.255:65535", "255.255.255.255:65535"},
      {":8080", "[::]:8080"},
      {"*:8080", "[::]:8080"},
      {"[::]:8080", "[::]:8080"},
      {"[::1]:80", "[::1]:80"},
      {"[::1]:0080", "[::1]:80"},
      {"[2001:DB8::A]:1", "[2001:db8::a]:1"},
      {"[2001:0db8:0:0:0:0:2:1]:1", "[2001:db8::2:1]:1"},
      {"[2001:db8:0:1:1:1:1:1]:1", "[2001:db8:0:1:1:1:1:1]:1"},
      {"[2001:db8::1:1:1:1:1]:1", "[2001:db8:0:1:1:1:1:1]:1"},
      {"[2001:0:0:1:0:0:0:1]:1", "[2001:0:0:1::1]:1"},
      {"[2001:db8:0:0:1:0:0:1]:1", "[2001:db8::1:0:0:1]:1"},
      {"[1:0:0:0:0:0:0:0]:1", "[1::]:1"},
      {"[0:2:3:4:5:6:7:8]:1", "[0:2:3:4:5:6:7:8]:1"},
      {"[1:2:3:4:5:6:0:0]:1", "[1:2:3:4:5:6::]:1"},
      {"[::ffff:1.2.3.4]:1", "[::ffff:1.2.3.4]:1"},
      {"[::ffff:102:304]:1", "[::ffff:1.2.3.4]:1"},
      {"[0:0:0:0:0:ffff:102:304]:1", "[::ffff:1.2.3.4]:1"},
      {"[::1.2.3.4]:1", "[::102:304]:1"},
      {"[64:ff9b::1.2.3.4]:1", "[64:ff9b::102:304]:1"},
      {"[::fffe:1.2.3.4]:1", "[::fffe:102:304]:1"},
      {"[fe80::1%lo]:80", "[fe80::1%lo]:80"},
      {"[fe80::1%4000000000]:80", "[fe80::1%4000000000]:80"},
      {"[fe80::1%0]:80", "[fe80::1]:80"},
      {"unix:/run/x.sock", "unix:/run/x.sock"},
      {"unix:relative.sock", "unix:relative.sock"},
      {"unix:./@file", "unix:./@file"},
      {"unix:@abstract", "unix:@abstract"},
      {"unix:@@", "unix:@@"},
      {"unix:@a\0b"sv, "unix:@a\0b"sv},
  };
  for (const auto& row : rows) {
    const auto parsed = address::try_parse(row.text);
    ASSERT_TRUE(parsed) << parsed.failure().message();
    EXPECT_EQ(parsed->to_string(), row.printed);
    EXPECT_EQ(address::parse(row.printed), *parsed) << row.text;
  }
}

TEST(Address, says_what_is_wrong_and_where) {
  const std::string long_path = "unix:/" + std::string(108, 'p'), long_name = "unix:@" + std::string(108, 'n');
  const struct {
    std::string_view text, code, message;
  } rows[] = {
      {"", "ERR_INVALID_ADDRESS",
       "Invalid address '': no port; expected 'address:port', '[address]:port' or 'unix:path'"},
      {"127.0.0.1", "ERR_INVALID_ADDRESS",
       "Invalid address '127.0.0.1': no port; expected 'address:port', '[address]:port' or 'unix:path'"},
      {"1.2.3.256:80", "ERR_INVALID_ADDRESS",
       "Invalid address '1.2.3.256:80': '1.2.3.256' at offset 0 is not an IPv4 address, and names are not looked up "
       "here"},
      {"::1:80", "ERR_INVALID_ADDRESS",
       "Invalid address '::1:80': an IPv6 address with a port is written '[address]:port'"},
      {"[::1:80", "ERR_INVALID_ADDRESS", "Invalid address '[::1:80': '[' at offset 0 has no ']'"},
      {"[::1]", "ERR_INVALID_ADDRESS", "Invalid address '[::1]': expected ':' and a port at offset 5"},
      {"[::1]80", "ERR_INVALID_ADDRESS", "Invalid address '[::1]80': expected ':' and a port at offset 5"},
      {"[::g]:80", "ERR_INVALID_ADDRESS", "Invalid address '[::g]:80': '::g' at offset 1 is not an IPv6 address"},
      {"[1.2.3.4]:80", "ERR_INVALID_ADDRESS",
       "Invalid address '[1.2.3.4]:80': '1.2.3.4' at offset 1 is not an IPv6 address"},
      {"[fe80::1%no-such-if]:80", "ERR_INVALID_ADDRESS",
       "Invalid address 'fe80::1%no-such-if': no network interface 'no-such-if' (at offset 8)"},
      {"[fe80::1%no-such-interface-name]:80", "ERR_INVALID_ADDRESS",
       "Invalid address 'fe80::1%no-such-interface-name': no network interface 'no-such-interface-name' "
       "(at offset 8)"},
      {"[fe80::1%4294967296]:80", "ERR_INVALID_ADDRESS",
       "Invalid address 'fe80::1%4294967296': no network interface '4294967296' (at offset 8)"},
      {"1.2.3.4:", "ERR_SOCKET_BAD_PORT", "Port should be >= 0 and < 65536. Received '' at offset 8 of '1.2.3.4:'"},
      {"1.2.3.4:65536", "ERR_SOCKET_BAD_PORT",
       "Port should be >= 0 and < 65536. Received '65536' at offset 8 of '1.2.3.4:65536'"},
      {"*:-1", "ERR_SOCKET_BAD_PORT", "Port should be >= 0 and < 65536. Received '-1' at offset 2 of '*:-1'"},
      {"[::]:8o", "ERR_SOCKET_BAD_PORT", "Port should be >= 0 and < 65536. Received '8o' at offset 5 of '[::]:8o'"},
      {"[::]:", "ERR_SOCKET_BAD_PORT", "Port should be >= 0 and < 65536. Received '' at offset 5 of '[::]:'"},
      {"a\x01\n:1", "ERR_INVALID_ADDRESS",
       "Invalid address 'a\\x01\\x0a:1': 'a\\x01\\x0a' at offset 0 is not an IPv4 address, and names are not looked "
       "up here"},
      {"unix:", "ERR_INVALID_ADDRESS", "Invalid address 'unix:': the path is empty"},
      {"unix:@", "ERR_INVALID_ADDRESS", "Invalid address 'unix:@': the abstract name is empty"},
      {"unix:a\0b"sv, "ERR_INVALID_ADDRESS", "Invalid address 'a\\x00b': the path has a zero byte at offset 1"},
  };
  for (const auto& row : rows) {
    const auto parsed = address::try_parse(row.text);
    ASSERT_FALSE(parsed) << row.text;
    EXPECT_EQ(parsed.failure().code_name(), row.code);
    EXPECT_EQ(parsed.failure().message(), row.message);
  }
  EXPECT_NE(address::try_parse(long_path).failure().message().find("the path has 109 bytes, at most 108 fit"),
            std::string::npos);
  EXPECT_NE(address::try_parse(long_name).failure().message().find("has 108 bytes, at most 107 fit"),
            std::string::npos);
  EXPECT_THROW((void)address::parse("nowhere"), error);
}

TEST(Address, keeps_errors_about_endless_text_short) {
  const std::string endless(1 << 20, 'x');
  EXPECT_LT(address::try_parse(endless).failure().message().size(), 600u);
  EXPECT_LT(address::try_parse("1.2.3.4:" + endless).failure().message().size(), 600u);
  EXPECT_LT(address::try_parse("[" + endless + "]:1").failure().message().size(), 600u);
}

TEST(Address, tells_its_parts) {
  const address v4 = address::parse("10.1.2.3:443");
  EXPECT_EQ(v4.family(), family::ipv4);
  EXPECT_EQ(v4.host(), "10.1.2.3");
  EXPECT_EQ(v4.port(), 443);
  EXPECT_EQ(v4.size(), sizeof(sockaddr_in));
  EXPECT_TRUE(v4.is_ip());

  const address v6 = address::parse("[fe80::2%lo]:9");
  EXPECT_EQ(v6.family(), family::ipv6);
  EXPECT_EQ(v6.host(), "fe80::2%lo");
  EXPECT_EQ(v6.zone_index(), ::if_nametoindex("lo"));
  EXPECT_EQ(v6.size(), sizeof(sockaddr_in6));
  EXPECT_EQ(v6.with_port(10).to_string(), "[fe80::2%lo]:10");

  const address path = address::parse("unix:/run/x");
  EXPECT_EQ(path.family(), family::unix_path);
  EXPECT_EQ(path.host(), "/run/x");
  EXPECT_EQ(path.port(), 0);
  EXPECT_TRUE(path.is_unix());
  EXPECT_EQ(path.with_port(1), path);
  EXPECT_EQ(address::parse("unix:@n").host(), "@n");

  const address none;
  EXPECT_EQ(none.family(), family::none);
  EXPECT_EQ(none.to_string(), "");
  EXPECT_FALSE(none.is_ip() || none.is_unix() || none.is_loopback() || none.is_any());
}

TEST(Address, knows_loopback_any_and_mapped_addresses) {
  const struct {
    std::string_view text;
    bool loopback, any, mapped;
  } rows[] = {
      {"127.0.0.1:1", true, false, false},        {"127.255.0.9:1", true, false, false},
      {"128.0.0.1:1", false, false, false},       {"[::1]:1", true, false, false},
      {"[::2]:1", false, false, false},           {"[::ffff:127.0.0.1]:1", true, false, true},
      {"[::ffff:8.8.8.8]:1", false, false, true}, {"[::127.0.0.1]:1", false, false, false},
      {"0.0.0.0:1", false, true, false},          {"[::]:1", false, true, false},
      {"[::ffff:0.0.0.0]:1", false, true, true},  {"unix:@x", false, false, false},
  };
  for (const auto& row : rows) {
    const address each = address::parse(row.text);
    EXPECT_EQ(each.is_loopback(), row.loopback) << row.text;
    EXPECT_EQ(each.is_any(), row.any) << row.text;
    EXPECT_EQ(each.is_ipv4_mapped(), row.mapped) << row.text;
  }
  EXPECT_EQ(address::parse("[::ffff:8.8.4.4]:53").unmapped().to_string(), "8.8.4.4:53");
  EXPECT_EQ(address::parse("[::1]:53").unmapped().to_string(), "[::1]:53");
}

TEST(Address, makes_the_usual_ones_without_text) {
  EXPECT_EQ(address::any_ipv4(1).to_string(), "0.0.0.0:1");
  EXPECT_EQ(address::any_ipv6(2).to_string(), "[::]:2");
  EXPECT_EQ(address::loopback_ipv4(3).to_string(), "127.0.0.1:3");
  EXPECT_EQ(address::loopback_ipv6(4).to_string(), "[::1]:4");
  EXPECT_EQ(address::ip("::1", 4).value(), address::loopback_ipv6(4));
  EXPECT_EQ(address::ip("[::1]", 4).failure().message(),
            "Invalid address '[::1]': neither an IPv4 nor an IPv6 address");
  EXPECT_EQ(address::ip("::1%a b", 4).failure().message(),
            "Invalid address '::1%a b': 'a b' at offset 4 is not a zone");
}

TEST(Address, compares_and_hashes_by_what_it_means) {
  sockaddr_in6 raw{};
  raw.sin6_family = AF_INET6;
  raw.sin6_port = htons(80);
  raw.sin6_flowinfo = 77;
  raw.sin6_addr = in6addr_loopback;
  const address flowing = from(raw, sizeof raw).value();
  EXPECT_EQ(flowing, address::loopback_ipv6(80));
  EXPECT_EQ(std::hash<address>()(flowing), std::hash<address>()(address::loopback_ipv6(80)));

  sockaddr_in padded;
  std::memset(&padded, 0xee, sizeof padded);
  padded.sin_family = AF_INET;
  padded.sin_port = htons(7);
  padded.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_EQ(from(padded, sizeof padded).value(), address::loopback_ipv4(7));

  const std::unordered_set<address> seen = {address::parse(":1"), address::parse("*:1"), address::parse("0.0.0.0:1")};
  EXPECT_EQ(seen.size(), 2u);
}

TEST(Address, sorts_by_family_address_zone_and_port) {
  const std::vector<std::string> sorted = {
      "2.0.0.0:900",         "10.0.0.0:1",          "10.0.0.0:256", "[::1]:9",  "[::2]:1", "[fe80::1]:9",
      "[fe80::1%1000000]:1", "[fe80::1%1000001]:1", "unix:/a",      "unix:/ab", "unix:/b", "unix:@a",
  };
  std::vector<address> addresses;
  for (const auto& text : sorted) addresses.push_back(address::parse(text));
  std::reverse(addresses.begin(), addresses.end());
  std::sort(addresses.begin(), addresses.end());
  for (std::size_t i = 0; i < sorted.size(); ++i) EXPECT_EQ(addresses[i].to_string(), sorted[i]);
}

TEST(Address, refuses_what_the_kernel_would_not_write) {
  const char junk[sizeof(sockaddr_storage)] = {127, 127};
  EXPECT_FALSE(address::from(nullptr, 0));
  EXPECT_FALSE(from(junk, 0));
  EXPECT_FALSE(from(junk, 1));
  EXPECT_FALSE(from(junk, sizeof junk));
  sockaddr_in v4{};
  v4.sin_family = AF_INET;
  EXPECT_FALSE(from(v4, sizeof v4 - 1));
  sockaddr_in6 v6{};
  v6.sin6_family = AF_INET6;
  EXPECT_FALSE(from(v6, sizeof v6 - 1));
  EXPECT_EQ(from(v6, sizeof v6 - 1).failure().message(), "Invalid address '': a sockaddr of family 10 and 27 bytes");
}

TEST(Address, survives_the_way_through_the_kernel) {
  std::string directory = std::filesystem::temp_directory_path() / "weir-address-XXXXXX";
  ASSERT_NE(::mkdtemp(directory.data()), nullptr);
  const std::string stem = directory + "/";
  for (const std::size_t length : {stem.size() + 1, std::size_t{107}, std::size_t{108}}) {
    const address path = address::unix_path(stem + std::string(length - stem.size(), 'p')).value();
    EXPECT_EQ(bound(path), path) << length;
  }
  std::filesystem::remove_all(directory);

  const std::string unique = "weir-test-" + std::to_string(::getpid());
  const std::string longest = unique + std::string(107 - unique.size(), 'n');
  for (const std::string& name : {unique, unique + std::string("\0\0x\0", 4), longest}) {
    const address abstract = address::unix_abstract(name).value();
    EXPECT_EQ(bound(abstract), abstract);
    EXPECT_EQ(abstract.host(), '@' + name);
  }
  const address loopback = bound(address::loopback_ipv4(0));
  EXPECT_NE(loopback.port(), 0);
  EXPECT_EQ(loopback.host(), "127.0.0.1");
}

TEST(Address, of_an_unnamed_unix_socket_is_empty) {
  int pair[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
  sockaddr_un peer{};
  socklen_t size = sizeof peer;
  ASSERT_EQ(::getpeername(pair[0], reinterpret_cast<sockaddr*>(&peer), &size), 0);
  const address unnamed = from(peer, size).value();
  EXPECT_EQ(unnamed.family(), family::unix_unnamed);
  EXPECT_EQ(unnamed.host(), "");
  EXPECT_EQ(unnamed.to_string(), "unix:");
  ::close(pair[0]);
  ::close(pair[1]);
}

TEST(Address, prints_a_path_that_looks_like_an_abstract_name_as_a_path) {
  EXPECT_EQ(address::unix_path("@file").value().to_string(), "unix:./@file");
}

TEST(Address, names_the_place_of_a_failure) {
  EXPECT_STREQ(net_error(ECONNREFUSED, "connect", address::parse("[::1]:80")).what(), "connect ECONNREFUSED ::1:80");
  EXPECT_STREQ(net_error(ENOENT, "connect", address::parse("unix:/x")).what(), "connect ENOENT /x");
  EXPECT_STREQ(listen_error(EADDRINUSE, address::parse("127.0.0.1:8080")).what(),
               "listen EADDRINUSE: address already in use 127.0.0.1:8080");
}

}  // namespace
}  // namespace weir::net
