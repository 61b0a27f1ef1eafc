// tests/conformance/driver.cpp: see driver.hpp.
#include "tests/conformance/driver.hpp"

#include <cmath>
#include <limits>

namespace weir::conformance {
namespace {

const json nothing;

[[noreturn]] void refuse_type() { throw error(errc::err_invalid_arg_type); }

}  // namespace

const json& arguments::operator[](std::size_t i) const noexcept { return i < list_.size() ? list_[i] : nothing; }

const std::string& arguments::text(std::size_t i) const {
  const auto& given = (*this)[i];
  if (!given.is_string()) refuse_type();
  return given.get_ref<const std::string&>();
}

std::string arguments::text_or(std::size_t i, std::string_view fallback) const {
  return has(i) ? text(i) : std::string(fallback);
}

bool arguments::flag(std::size_t i) const { return (*this)[i].is_boolean() && (*this)[i].get<bool>(); }

double arguments::number(std::size_t i) const { return number_of((*this)[i]); }

buffer arguments::bytes(std::size_t i) const { return bytes_of((*this)[i]); }

std::vector<buffer> arguments::pieces(std::size_t i) const {
  std::vector<buffer> all;
  for (const auto& each : (*this)[i]) all.push_back(bytes_of(each));
  return all;
}

buffer bytes_of(const json& base64) {
  if (!base64.is_string()) refuse_type();
  return buffer::from(base64.get_ref<const std::string&>(), encoding::base64);
}

json to_json(std::span<const std::byte> bytes) { return to_text(bytes, encoding::base64); }

json to_json(std::string_view bytes) { return to_json(std::as_bytes(std::span(bytes))); }

double number_of(const json& given) {
  if (given.is_number()) return given.get<double>();
  if (!given.is_string()) refuse_type();
  const auto& text = given.get_ref<const std::string&>();
  if (text == "NaN") return std::numeric_limits<double>::quiet_NaN();
  if (text == "Infinity") return std::numeric_limits<double>::infinity();
  if (text == "-Infinity") return -std::numeric_limits<double>::infinity();
  if (text == "-0") return -0.0;
  return std::stod(text);
}

json number_to_json(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "Infinity" : "-Infinity";
  if (value == 0 && std::signbit(value)) return "-0";
  return value;
}

std::size_t size_of(const json& number) {
  double value = number_of(number);
  if (!(value >= 0) || value != std::floor(value)) throw error(errc::err_out_of_range);
  // Beyond any buffer, but not `npos`, which means something else.
  constexpr auto most = std::numeric_limits<std::ptrdiff_t>::max();
  return value < static_cast<double>(most) ? static_cast<std::size_t>(value) : static_cast<std::size_t>(most);
}

std::size_t size_or(const arguments& given, std::size_t i, std::size_t fallback) {
  return given.has(i) ? size_of(given[i]) : fallback;
}

const json& option(const json& object, const char* name) noexcept {
  if (!object.is_object()) return nothing;
  auto found = object.find(name);
  return found == object.end() ? nothing : *found;
}

bool is_set(const json& object, const char* name) noexcept {
  const auto& given = option(object, name);
  return given.is_boolean() && given.get<bool>();
}

std::string code_of(const failure& why) { return code_of(why.exception()); }

std::string code_of(const std::exception_ptr& why) {
  if (const auto* known = find_error(why)) return std::string(known->code_name());
  try {
    std::rethrow_exception(why);
  } catch (const coded_failure& coded) {
    return coded.code;
  } catch (const std::exception& other) {
    return other.what();
  }
}

const operations::plain* operations::find(const std::string& name) const {
  auto found = plain_.find(name);
  return found == plain_.end() ? nullptr : &found->second;
}

const operations::async* operations::find_async(const std::string& name) const {
  auto found = async_.find(name);
  return found == async_.end() ? nullptr : &found->second;
}

}  // namespace weir::conformance
