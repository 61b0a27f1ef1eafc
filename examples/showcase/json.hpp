// examples/showcase/json.hpp: just enough to write JSON text. A program with more to say takes a JSON library.
#pragma once

#include <charconv>
#include <concepts>
#include <string>
#include <string_view>

namespace showcase {

/// Appends members one after the other and sees to commas and quotes:
///   json().open('{').add("a", 1).open('[', "list").add("x").close(']').close('}').text()
class json {
 public:
  json& open(char bracket, std::string_view key = {}) {
    start(key);
    text_ += bracket;
    return *this;
  }
  json& close(char bracket) {
    text_ += bracket;
    return *this;
  }

  json& add(std::string_view key, std::string_view value) {
    start(key);
    quote(value);
    return *this;
  }
  template <class N>
    requires std::integral<N> || std::floating_point<N>
  json& add(std::string_view key, N value) {
    start(key);
    char digits[32];
    text_.append(digits, std::to_chars(digits, digits + sizeof digits, value).ptr);
    return *this;
  }
  /// An element of a list.
  json& add(std::string_view value) { return add(std::string_view(), value); }
  template <class N>
  json& element(N value) {
    return add(std::string_view(), value);
  }
  /// JSON made before.
  json& raw(std::string_view key, std::string_view value) {
    start(key);
    text_ += value;
    return *this;
  }

  const std::string& text() const noexcept { return text_; }

 private:
  void start(std::string_view key) {
    if (!text_.empty() && text_.back() != '{' && text_.back() != '[') text_ += ',';
    if (key.empty()) return;
    quote(key);
    text_ += ':';
  }

  // All but printable ASCII is escaped, so that the text is valid whatever bytes a client has sent.
  void quote(std::string_view value) {
    constexpr char hex[] = "0123456789abcdef";
    text_ += '"';
    for (char c : value) {
      auto byte = static_cast<unsigned char>(c);
      if (c == '"' || c == '\\') {
        (text_ += '\\') += c;
      } else if (byte >= 0x20 && byte < 0x7f) {
        text_ += c;
      } else {
        ((text_ += "\\u00") += hex[byte >> 4]) += hex[byte & 15];
      }
    }
    text_ += '"';
  }

  std::string text_;
};

}  // namespace showcase
