// tests/conformance/http.cpp: the operations on HTTP messages without a connection: parsing, headers, conditions.
#include "tests/conformance/driver.hpp"
#include "tests/conformance/http_handler.hpp"

#include <weir/net/http_message.hpp>
#include <weir/net/http_parser.hpp>
#include <weir/net/http_response_parser.hpp>

#include <algorithm>

namespace weir::conformance {
namespace {

namespace http = net::http;

const char* text_of(http::version v) { return v == http::version::http_1_0 ? "1.0" : "1.1"; }

json begin_message(const http::request_head& head) {
  return {{"method", head.method_text}, {"url", latin1_text(head.target)}, {"upgrade", head.upgrade}};
}
json begin_message(const http::received_head& head) {
  return {{"status", head.status}, {"reason", latin1_text(head.reason)}, {"upgrade", head.upgrade}};
}

/// What a parser makes of bytes that come in pieces.
template <class Parser>
class parse_run {
 public:
  explicit parse_run(Parser& with) : parser_(with) {}

  json run(const std::vector<buffer>& pieces, bool finish) {
    for (const auto& each : pieces) feed(each.text());
    if (finish && !over_) take(parser_.finish());
    for (auto& each : messages_) each["body"] = to_json(bodies_[&each - &messages_[0]]);
    json made = {{"messages", messages_}, {"error", error_}};
    if (switched_) made["upgradeHead"] = to_json(rest_);
    return made;
  }

 private:
  void feed(std::string_view input) {
    while (!over_) {
      if (take(parser_.next(input))) break;
    }
    if (!over_) return;
    if (switched_) rest_ += input;
    // Behind the last message nothing may come but the ends of lines.
    if (closed_ && error_.is_null() && input.find_first_not_of("\r\n") != input.npos) error_ = "HPE_CLOSED_CONNECTION";
  }

  /// @return whether the input is used up
  bool take(http::event what) {
    switch (what) {
      case http::event::need_more: return true;
      case http::event::head: begin(); break;
      case http::event::body: bodies_.back() += parser_.body(); break;
      case http::event::message_end: end(); break;
      case http::event::closed: closed_ = over_ = true; break;
      case http::event::switched: switched_ = over_ = true; break;
      case http::event::error: error_ = parser_.failure().name, over_ = true; break;
    }
    return false;
  }

  void begin() {
    const auto& head = parser_.head();
    messages_.push_back(begin_message(head));
    auto& made = messages_.back();
    made["version"] = text_of(head.version);
    made["headers"] = header_pairs(head.headers);
    made["keepAlive"] = head.keep_alive;
    made["trailers"] = json::array();
    made["complete"] = false;
    bodies_.emplace_back();
    if (head.upgrade) parser_.switch_protocols();
  }

  void end() {
    messages_.back()["complete"] = true;
    messages_.back()["trailers"] = header_pairs(parser_.trailers());
  }

  Parser& parser_;
  json messages_ = json::array();
  std::vector<std::string> bodies_;
  std::string rest_;
  json error_;
  bool over_ = false, switched_ = false, closed_ = false;
};

json parse_messages(const arguments& a) {
  const auto& options = a[2];
  if (!option(options, "lenient").empty()) throw unsupported_arguments();  // weir is strict always
  const auto& limit = option(options, "maxHeaderSize");
  if (a.text(0) == "request") {
    // Node's parser leaves Host and codings to others.
    http::parser_options given = {.require_host = false, .check_host = false, .other_codings = true};
    if (!limit.is_null()) given.max_head = size_of(limit);
    http::parser parser(given);
    return parse_run<http::parser>(parser).run(a.pieces(1), is_set(options, "finish"));
  }
  http::response_parser_options given;
  if (!limit.is_null()) given.max_head = size_of(limit);
  http::response_parser parser(given);
  if (is_set(options, "skipBody")) parser.expect(http::method::head);
  return parse_run<http::response_parser>(parser).run(a.pieces(1), is_set(options, "finish"));
}

json join_headers(const arguments& a) {
  http::header_list headers;
  for (const auto& each : a[0]) {
    headers.add(each[0].get_ref<const std::string&>(), each[1].get_ref<const std::string&>());
  }
  json made = json::object();
  for (const auto& each : headers.combined()) {
    made[each.name] = each.name == "set-cookie" ? json(each.values) : json(each.values.front());
  }
  return made;
}

json check_header_name(const arguments& a) {
  if (!http::is_token(a.text(0))) throw error(errc::err_invalid_http_token);
  return nullptr;
}

json check_header_value(const arguments& a) {
  if (!http::is_field_value(a.text(1))) throw error(errc::err_invalid_char);
  return nullptr;
}

json status_text(const arguments& a) {
  auto text = http::status_text(static_cast<int>(a.number(0)));
  return text.empty() ? json() : json(text);
}

}  // namespace

void add_http(operations& all) {
  all.add("http.parse", parse_messages);
  all.add("http.joinHeaders", join_headers);
  all.add("http.validateHeaderName", check_header_name);
  all.add("http.validateHeaderValue", check_header_value);
  all.add("http.statusText", status_text);
}

}  // namespace weir::conformance
