// net/http_scan.cpp: field lines, framing and connection options of net/http_scan.hpp; no state.
#include <weir/net/http_scan.hpp>

namespace weir::net::http {
namespace {

bool read_length(std::string_view text, std::uint64_t& length) {
  if (text.empty()) return false;
  length = 0;
  for (const char c : text) {
    if (!chars::is_digit(c) || length > (UINT64_MAX - 9) / 10) return false;
    length = length * 10 + static_cast<std::uint64_t>(c - '0');
  }
  return true;
}

// Whether nothing but one space stands around it: llhttp 8.1 refuses a length with tabs.
bool is_plain_value(std::string_view value) {
  return value.data()[-1] == ' ' && value.data()[-2] == ':' && value.data()[value.size()] == '\r';
}

}  // namespace

message_reader::fault message_reader::scan::empty_lines() {
  for (; starts_with("\r\n"); at += 2) plain = false;
  if (at == end) return fault::incomplete;
  return *at == '\r' || *at == '\n' ? line_end(fault::none) : fault::none;
}

message_reader::fault message_reader::scan::line_end(fault otherwise) const {
  if (at == end) return fault::incomplete;
  if (*at == '\n') return fault::bare_lf;
  if (*at != '\r') return otherwise;
  if (end - at < 2) return fault::incomplete;
  return at[1] == '\n' ? fault::none : fault::bare_cr;
}

message_reader::fault message_reader::scan::lines(header_list& list, std::size_t most) {
  list.clear();
  for (;;) {
    const char* const name = at;
    at = chars::find<chars::not_name>(at, end);
    while (at != end && chars::is_token_char(*at)) ++at;
    if (at == end) return fault::incomplete;
    if (at == name || *at != ':') {
      if (at != name) return fault::field_name;
      if (chars::is_blank(*at)) return list.empty() ? fault::space_first : fault::folded;
      const fault why = line_end(fault::field_name);
      if (why == fault::none) at += 2;
      return why == fault::bare_cr ? fault::empty_cr : why;
    }
    const auto name_size = static_cast<std::size_t>(at - name);
    ++at;
    while (at != end && chars::is_blank(*at)) ++at;
    const char* const value = at;
    at = chars::find<chars::control>(at, end);
    while (at != end && *at == '\t') at = chars::find<chars::control>(at + 1, end);
    if (const fault why = line_end(fault::field_value); why != fault::none) {
      if (at != value) return why;
      return why == fault::bare_cr ? fault::empty_cr : why == fault::bare_lf ? fault::field_value : why;
    }
    const char* value_end = at;
    while (value_end != value && chars::is_blank(value_end[-1])) --value_end;
    if (list.size() == most) return fault::header_count;
    list.add({name, name_size}, {value, static_cast<std::size_t>(value_end - value)});
    at += 2;
  }
}

message_reader::fault message_reader::scan::take_framing(const header& line, facts& known) {
  switch (line.name.size()) {
    case 7:  // an upgrade to nothing is none
      known.has_upgrade = known.has_upgrade || (chars::token_is(line.name, "upgrade") && !line.value.empty());
      break;
    case 10:
      if (!chars::token_is(line.name, "connection")) break;
      for (std::string_view rest = line.value; !rest.empty();) {
        const std::string_view option = take_list_element(rest);
        known.close = known.close || equal_ignoring_case(option, "close");
        known.keep_alive = known.keep_alive || equal_ignoring_case(option, "keep-alive");
        known.upgrade_option = known.upgrade_option || equal_ignoring_case(option, "upgrade");
      }
      break;
    case 14:
      if (!chars::token_is(line.name, "content-length")) break;
      if (known.has_content_length) return fault::length_twice;
      if (known.coded) return fault::coding_then_length;
      if (!read_length(line.value, known.content_length)) return fault::length;
      known.has_content_length = true;
      plain = plain && is_plain_value(line.value);
      break;
    default:
      if (!chars::token_is(line.name, "transfer-encoding")) break;
      known.coded = true;
      plain = false;
      if (known.has_content_length) return fault::length_then_coding;
  }
  return fault::none;
}

message_reader::scan::codings message_reader::scan::read_codings(const header_list& list) {
  codings found;
  for (const header& line : list) {
    if (!equal_ignoring_case(line.name, "transfer-encoding")) continue;
    std::string_view rest = line.value;
    do {
      const std::string_view coding = take_list_element(rest);
      found.last_is_chunked = equal_ignoring_case(coding, "chunked");
      ++(coding.empty() ? found.empty : found.last_is_chunked ? found.chunked : found.others);
    } while (!rest.empty());
  }
  return found;
}

message_reader::fault message_reader::scan::first_fault(const header_list& list) {
  facts known;
  for (const header& line : list) {
    if (const fault why = take(line, known); why != fault::none) return why;
  }
  return fault::none;
}

}  // namespace weir::net::http
