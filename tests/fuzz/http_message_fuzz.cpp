// tests/fuzz/http_message_fuzz.cpp: header lists of any text answer as a walk over their lines would; lists by commas,
// tokens, media types and names of files do no harm and agree with what they are made of.
#include <weir/net/http_message.hpp>
#include <weir/net/mime_type.hpp>

#include <weir/core/error.hpp>

#include <tests/fuzz/input.hpp>

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

namespace {

using namespace weir::fuzzing;
using namespace weir::net::http;

std::string lower(std::string_view text) {
  std::string made(text);
  for (auto& each : made) {
    if (each >= 'A' && each <= 'Z') each = static_cast<char>(each + ('a' - 'A'));
  }
  return made;
}

void check_names(const header_list& list, std::string_view name) {
  std::vector<std::string_view> expected;
  for (const auto& each : list) {
    require(equal_ignoring_case(each.name, name) == (lower(each.name) == lower(name)));
    if (lower(each.name) == lower(name)) expected.push_back(each.value);
  }
  require(list.all(name) == expected && list.count(name) == expected.size() && list.has(name) == !expected.empty());
  require(list.first(name) == (expected.empty() ? std::nullopt : std::optional(expected.front())));
  const auto joined = list.joined(name);
  require(joined.has_value() == !expected.empty());
  if (!joined) return;
  auto with = [&](std::string_view separator) {
    std::string all(expected.front());
    for (std::size_t i = 1; i < expected.size(); ++i) all.append(separator).append(expected[i]);
    return all;
  };
  require(*joined == expected.front() || *joined == with(", ") || *joined == with("; "));
}

void check_combined(const header_list& list) {
  const auto all = list.combined();
  std::size_t lines = 0;
  for (std::size_t i = 0; i < all.size(); ++i) {
    require(all[i].name == lower(all[i].name));
    for (std::size_t j = 0; j < i; ++j) require(all[i].name != all[j].name);
    lines += list.count(all[i].name);
    if (all[i].name == "set-cookie") {
      require(all[i].values.size() == list.count("set-cookie"));
    } else {
      require(all[i].values.size() == 1 && all[i].values.front() == list.joined(all[i].name));
    }
  }
  require(lines == list.size());
}

void check_elements(std::string_view text) {
  const auto commas = static_cast<std::size_t>(std::ranges::count(text, ','));
  auto rest = text;
  for (std::size_t i = 0; i <= commas + 1 && !rest.empty(); ++i) {
    const auto before = rest.size();
    const auto one = take_list_element(rest);
    require(rest.size() < before);
    require(one.empty() || (one.front() != ' ' && one.back() != ' ' && one.front() != '\t' && one.back() != '\t'));
  }
  require(rest.empty());
}

void check_types(std::string_view table, std::string_view name) {
  mime_types types;
  const auto size = types.size();
  types.add_missing(table);
  require(types.size() >= size && types.of_extension("html") == "text/html");
  const auto found = types.of_name(name);
  require(found.size() <= table.size() + 128);
  static_cast<void>(is_compressible(found));
  if (!found.empty()) require(with_charset(found).starts_with(found));
  try {
    types.set("x-fuzz", table);
    require(types.of_name("a.x-fuzz") == table && table.find('/') != std::string_view::npos);
    require(is_field_value(table));  // it goes into a header
  } catch (const weir::error& refused) {
    require(refused.code() == weir::errc::err_invalid_arg_value);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr std::string_view names[] = {"Set-Cookie", "cookie", "HOST", "Accept", "x", "content-type", "Age"};
  choices in(data, size);
  header_list list;
  for (auto left = in.below(12); left > 0; --left) {
    const auto name = in.one_in(3) ? in.text(8) : names[in.below(std::size(names))];
    list.add(name, in.text(20));
  }
  for (auto each : names) check_names(list, each);
  const auto other = in.text(8);
  check_names(list, other);
  check_combined(list);
  if (const auto known = find_method(other)) require(name_of(*known) == other && is_token(other));
  const auto name = in.text(16), rest = in.rest();
  check_elements(rest);
  if (is_token(rest)) require(is_field_value(rest) && !rest.empty());
  check_types(rest, name);
  return 0;
}
