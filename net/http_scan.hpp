// net/http_scan.hpp: the scanner of whole heads and trailers, which knows no leniency: one line form, no folds, no bare
// CR or LF; and what the field lines say about a message. Private to net. Reads no byte outside [begin, end).
#pragma once

#include <algorithm>
#include <cstring>

#include <weir/net/http_chars.hpp>
#include <weir/net/http_reader.hpp>

namespace weir::net::http {

enum class message_reader::fault : std::uint8_t {
  none,
  incomplete,
  method,
  target,
  protocol,
  version,
  version_cr,
  version_lf,
  status,
  reason,
  bare_cr,
  bare_lf,
  empty_cr,
  field_name,
  field_value,
  folded,
  space_first,
  no_host,
  many_hosts,
  host,
  length,
  length_twice,
  length_then_coding,
  coding_then_length,
  coding_order,
  coding_unknown,
  coding_open,
  coding_in_1_0,
  two_readings,
  head_size,
  header_count,
  target_size,
  body_size,
  extension_size,
  extension,
};

struct message_reader::scan {
  const char* begin;
  const char* end;
  const char* at = begin;
  bool plain = true;  // nothing seen that llhttp should be asked about

  /// What field lines say about the framing of a message and the connection.
  struct facts {
    std::uint64_t content_length = 0;
    bool has_content_length = false;
    bool coded = false;
    bool close = false;
    bool keep_alive = false;
    bool upgrade_option = false;
    bool has_upgrade = false;
  };

  struct codings {
    std::size_t chunked = 0;
    std::size_t others = 0;
    std::size_t empty = 0;
    bool last_is_chunked = false;
  };

  /// RFC 9112 2.2 wants empty lines before a message ignored. They count as part of the head, which bounds them.
  fault skip_empty_lines() { return at != end && *at > '\r' ? fault::none : empty_lines(); }
  fault empty_lines();
  fault lines(header_list& list, std::size_t most);
  fault line_end(fault otherwise) const;
  bool starts_with(std::string_view text) const {
    return static_cast<std::size_t>(end - at) >= text.size() && std::memcmp(at, text.data(), text.size()) == 0;
  }

  /// Notes what one line says. Lengths first: most names have another length than these four.
  fault take(const header& line, facts& known) {
    switch (line.name.size()) {
      case 7:
      case 10:
      case 14:
      case 17: return take_framing(line, known);
      default: return fault::none;
    }
  }
  fault take_framing(const header& line, facts& known);
  static codings read_codings(const header_list& list);

  /// What is wrong with the framing in the lines of a head that may have more of them.
  fault first_fault(const header_list& list);
};

template <class Scan, class Line, class Check>
event message_reader::read_head_by_llhttp(std::string_view& input, header_list& headers, Line line, Check check) {
  if (seen() == 0) looked_at_ = 0;
  std::string_view whole;
  switch (feed_head(input, whole)) {
    case fed::partly: return check_start<Scan>(whole, line) ? event::need_more : event::error;
    case fed::too_large: return check_start<Scan>(whole, line) ? fail(fault::head_size) : event::error;
    case fed::refused: return refuse_head<Scan>(whole, headers, line);
    case fed::wholly: break;
  }
  return check(whole);
}

// llhttp has accepted these bytes as the front of a head.
template <class Scan, class Line>
bool message_reader::check_start(std::string_view front, Line line) {
  if (front.find('\n', looked_at_) == std::string_view::npos) {
    looked_at_ = std::max(looked_at_, front.size());
    return true;
  }
  Scan s{{front.data(), front.data() + front.size()}};
  const fault why = line(s);
  if (why == fault::incomplete) return true;
  looked_at_ = std::string_view::npos;
  if (why != fault::none) fail(why);
  return why == fault::none;
}

// llhttp has refused the last of these bytes. In the first line that is the last word; behind it, llhttp may have
// passed over something worse, and the scanner is more exact.
template <class Scan, class Line>
event message_reader::refuse_head(std::string_view front, header_list& headers, Line line) {
  Scan s{{front.data(), front.data() + front.size()}};
  fault why = line(s);
  if (front.find('\n') == std::string_view::npos && why != fault::version_cr) return fail_by_llhttp();
  if (why == fault::none) {
    why = s.lines(headers, most().max_headers);
    if (why == fault::none || why == fault::incomplete) why = s.first_fault(headers);
  }
  return why == fault::none || why == fault::incomplete ? fail_by_llhttp() : fail(why);
}

}  // namespace weir::net::http
