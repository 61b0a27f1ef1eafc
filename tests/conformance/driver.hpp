// tests/conformance/driver.hpp: what the operations of the conformance driver are made of: the arguments of a request,
// the table that each module's file puts its operations into, and the codes that answers carry. Rests on weir's public
// headers and a JSON library. Nothing here knows what an answer should be.
#pragma once

#include <weir/weir.hpp>

#include <nlohmann/json.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace weir::conformance {

using nlohmann::json;

/// Thrown by an operation that is there, but not with this algorithm, encoding or option.
struct unsupported_arguments {};

/// A failure for which weir has no error, or one of another name.
struct coded_failure {
  std::string code;
};

/// The arguments of one request. One that is null counts as not given.
class arguments {
 public:
  explicit arguments(json list) : list_(std::move(list)) {}

  bool has(std::size_t i) const noexcept { return i < list_.size() && !list_[i].is_null(); }
  /// Null if it was not given.
  const json& operator[](std::size_t i) const noexcept;
  std::size_t size() const noexcept { return list_.size(); }

  /// @throws weir::error ERR_INVALID_ARG_TYPE from all of these for an argument of another kind
  const std::string& text(std::size_t i) const;
  std::string text_or(std::size_t i, std::string_view fallback) const;
  bool flag(std::size_t i) const;
  double number(std::size_t i) const;
  buffer bytes(std::size_t i) const;
  std::vector<buffer> pieces(std::size_t i) const;

 private:
  json list_;
};

/// What the protocol writes as base64.
buffer bytes_of(const json& base64);
json to_json(std::span<const std::byte> bytes);
json to_json(std::string_view bytes);

/// A number of the protocol, which may be "NaN" or the like, and back.
double number_of(const json& given);
json number_to_json(double value);

/// A number as a size or a position of ours. JavaScript has but one kind of number: what no size can be is refused
/// here, in the words that Node has for it.
/// @throws weir::error ERR_OUT_OF_RANGE for a negative number or a fraction
std::size_t size_of(const json& number);
std::size_t size_or(const arguments& given, std::size_t i, std::size_t fallback);

/// The option of that name, if it was given.
const json& option(const json& object, const char* name) noexcept;
bool is_set(const json& object, const char* name) noexcept;

/// The code that an answer names a failure by: the error's own, or else its text.
std::string code_of(const failure& why);
std::string code_of(const std::exception_ptr& why);

/// The operations there are, by name.
class operations {
 public:
  using plain = std::function<json(const arguments&)>;
  using async = std::function<task<json>(arguments)>;

  void add(std::string name, plain body) { plain_.emplace(std::move(name), std::move(body)); }
  void add_async(std::string name, async body) { async_.emplace(std::move(name), std::move(body)); }

  const plain* find(const std::string& name) const;
  const async* find_async(const std::string& name) const;

 private:
  std::map<std::string, plain, std::less<>> plain_;
  std::map<std::string, async, std::less<>> async_;
};

// One for each module. A new module adds its file and a line here and in main.cpp.
void add_path(operations& all);
void add_buffer(operations& all);
void add_text(operations& all);
void add_events(operations& all);
void add_loop(operations& all);
void add_fs(operations& all);
void add_http(operations& all);
void add_http_exchange(operations& all);
void add_http_static(operations& all);
void add_net(operations& all);
void add_stream(operations& all);
void add_watch(operations& all);
/// @param background where servers run, until it is cancelled
void add_server(operations& all, scope& background);

}  // namespace weir::conformance
