// tests/net/http_message_test.cpp: methods, status texts, tokens, header lists and kept requests.
#include <weir/net/http_message.hpp>

#include <cctype>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include <weir/net/http_parser.hpp>

namespace weir::net::http {
namespace {

using namespace std::string_view_literals;

header_list list_of(std::initializer_list<header> lines) {
  header_list list;
  for (const header& h : lines) list.add(h.name, h.value);
  return list;
}

TEST(HttpMethod, is_found_by_its_name_and_back) {
  for (int i = 0; i <= static_cast<int>(method::query); ++i) {
    const auto m = static_cast<method>(i);
    EXPECT_EQ(find_method(name_of(m)), m) << name_of(m);
  }
  EXPECT_EQ(name_of(method::m_search), "M-SEARCH");
  EXPECT_EQ(name_of(method::patch), "PATCH");
}

TEST(HttpMethod, is_told_apart_by_case) {
  EXPECT_EQ(find_method("get"), std::nullopt);
  EXPECT_EQ(find_method("GETS"), std::nullopt);
  EXPECT_EQ(find_method(""), std::nullopt);
}

TEST(HttpStatusText, is_that_of_node) {
  const std::pair<int, std::string_view> table[] = {
      {100, "Continue"},
      {200, "OK"},
      {204, "No Content"},
      {302, "Found"},
      {404, "Not Found"},
      {413, "Payload Too Large"},
      {418, "I'm a Teapot"},
      {431, "Request Header Fields Too Large"},
      {511, "Network Authentication Required"},
      {99, ""},
      {0, ""},
      {-1, ""},
      {306, ""},
      {419, ""},
      {599, ""},
      {600, ""},
  };
  for (const auto& [status, text] : table) EXPECT_EQ(status_text(status), text) << status;
}

TEST(HttpToken, holds_token_characters_only) {
  for (int c = 0; c < 256; ++c) {
    const bool expected = std::isalnum(c) != 0 || (c != 0 && std::strchr("!#$%&'*+-.^_`|~", c) != nullptr);
    for (const std::size_t at : {0u, 1u, 5u, 9u, 17u}) {  // each of the searches' strides
      std::string text(18, 'a');
      text[at] = static_cast<char>(c);
      EXPECT_EQ(is_token(text), expected) << "byte " << c << " at " << at;
      EXPECT_EQ(is_token(std::string_view(text).substr(0, at + 1)), expected) << "byte " << c << " at " << at;
    }
  }
  EXPECT_FALSE(is_token(""));
}

TEST(HttpFieldValue, holds_no_control_character_but_tab) {
  for (int c = 0; c < 256; ++c) {
    const bool expected = c == '\t' || (c >= 0x20 && c != 0x7f);
    for (const std::size_t at : {0u, 2u, 4u, 8u, 15u, 16u, 20u, 39u}) {
      std::string text(40, '\t');
      text[at] = static_cast<char>(c);
      EXPECT_EQ(is_field_value(text), expected) << "byte " << c << " at " << at;
      EXPECT_EQ(is_field_value(std::string_view(text).substr(0, at + 1)), expected) << "byte " << c << " at " << at;
    }
  }
  EXPECT_TRUE(is_field_value(""));
}

TEST(HttpListElement, comes_without_blanks) {
  std::string_view list = " a ,,\tb c\t, ";
  std::vector<std::string_view> elements;
  while (!list.empty()) elements.push_back(take_list_element(list));
  EXPECT_EQ(elements, (std::vector{"a"sv, ""sv, "b c"sv, ""sv}));
}

TEST(HttpHeaderList, finds_names_without_regard_to_case) {
  const header_list list = list_of({{"Accept", "a"}, {"X-Y", "1"}, {"x-y", "2"}});
  EXPECT_EQ(list.first("ACCEPT"), "a");
  EXPECT_EQ(list.first("accep"), std::nullopt);
  EXPECT_TRUE(list.has("x-Y"));
  EXPECT_FALSE(list.has("x_y"));
  EXPECT_EQ(list.count("X-Y"), 2u);
  EXPECT_EQ(list.all("x-y"), (std::vector{"1"sv, "2"sv}));
  EXPECT_EQ(list[1], (header{"X-Y", "1"}));
}

TEST(HttpHeaderList, joins_duplicates_as_node_does) {
  for (const char* name : {"Age", "Authorization", "Content-Length", "Content-Type", "ETag", "Expires", "From", "Host",
                           "If-Modified-Since", "If-Unmodified-Since", "Last-Modified", "Location", "Max-Forwards",
                           "Proxy-Authorization", "Referer", "Retry-After", "Server", "User-Agent"}) {
    EXPECT_EQ(list_of({{name, "1"}, {name, "2"}}).joined(name), "1") << name;
  }
  EXPECT_EQ(list_of({{"Cookie", "a=1"}, {"X", "y"}, {"cookie", "b=2"}}).joined("COOKIE"), "a=1; b=2");
  EXPECT_EQ(list_of({{"Accept", "a"}, {"ACCEPT", ""}, {"accept", "b"}}).joined("accept"), "a, , b");
  EXPECT_EQ(list_of({{"Set-Cookie", "a"}, {"Set-Cookie", "b"}}).all("set-cookie"), (std::vector{"a"sv, "b"sv}));
  EXPECT_EQ(list_of({{"A", "b"}}).joined("b"), std::nullopt);
}

// Node's joinDuplicateHeaders.
TEST(HttpHeaderList, joins_what_has_one_value_when_asked_to) {
  auto list = list_of({{"Host", "a"}, {"host", "b"}, {"Cookie", "c=1"}, {"Set-Cookie", "d"}, {"cookie", "e=2"}});
  EXPECT_EQ(list.joined("host", duplicates::joined), "a, b");
  EXPECT_EQ(list.joined("cookie", duplicates::joined), "c=1; e=2");
  EXPECT_EQ(list.combined(duplicates::joined),
            (std::vector<combined_header>{{"host", {"a, b"}}, {"cookie", {"c=1; e=2"}}, {"set-cookie", {"d"}}}));
}

TEST(HttpHeaderList, combines_into_the_shape_of_message_headers) {
  const header_list list = list_of({{"Host", "a"},
                                    {"X-B", "1"},
                                    {"Set-Cookie", "c=1"},
                                    {"Host", "b"},
                                    {"x-b", "2"},
                                    {"set-cookie", "d=2"},
                                    {"Cookie", "e"},
                                    {"A", "3"},
                                    {"COOKIE", "f"}});
  EXPECT_EQ(
      list.combined(),
      (std::vector<combined_header>{
          {"host", {"a"}}, {"x-b", {"1, 2"}}, {"set-cookie", {"c=1", "d=2"}}, {"cookie", {"e; f"}}, {"a", {"3"}}}));
}

stored_request stored(std::string text) {
  parser p;
  std::string_view input = text;
  EXPECT_EQ(p.next(input), event::head);
  return stored_request(p.head());
}

TEST(HttpStoredRequest, outlives_parser_and_buffer_and_moves) {
  stored_request first = stored("PUT /a HTTP/1.1\r\nHost: example.org\r\nContent-Length: 7\r\n\r\n");
  stored_request copy = first;
  stored_request moved = std::move(first);
  stored_request assigned = stored("GET / HTTP/1.1\r\nHost: b\r\n\r\n");
  EXPECT_EQ(assigned.head().target, "/");
  assigned = moved;
  for (const stored_request* r : {&copy, &moved, &assigned}) {
    EXPECT_EQ(r->head().method, method::put);
    EXPECT_EQ(r->head().method_text, "PUT");
    EXPECT_EQ(r->head().target, "/a");
    EXPECT_EQ(r->head().content_length, 7u);
    EXPECT_EQ(r->head().headers.first("host"), "example.org");
    EXPECT_TRUE(r->head().raw.ends_with("\r\n\r\n"));
  }
  EXPECT_NE(copy.head().raw.data(), moved.head().raw.data());
}

}  // namespace
}  // namespace weir::net::http
