// tests/conformance/buffer.cpp: the operations on buffers and encodings.
#include "tests/conformance/driver.hpp"

#include <weir/core/buffer.hpp>
#include <weir/core/encoding.hpp>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>

namespace weir::conformance {
namespace {

encoding encoding_at(const arguments& a, std::size_t i, encoding fallback = encoding::utf8) {
  return a.has(i) ? parse_encoding(a.text(i)) : fallback;
}

/// Where Node takes a name that it does not know for utf8.
encoding known_encoding_at(const arguments& a, std::size_t i) {
  return find_encoding(a.text_or(i, "utf8")).value_or(encoding::utf8);
}

/// Node cuts these positions to the buffer, whatever number they are.
std::size_t cut_position(const json& given) {
  double value = number_of(given);
  if (!(value >= 1)) return 0;
  return value < 9e15 ? static_cast<std::size_t>(value) : buffer::npos;
}

/// The same where a negative one counts from the end.
std::ptrdiff_t signed_position(const json& given) {
  double value = number_of(given);
  if (std::isnan(value)) return 0;
  return static_cast<std::ptrdiff_t>(std::clamp(std::trunc(value), -9e15, 9e15));
}

/// What is searched for or filled with: text in an encoding, bytes, or one byte.
template <class Text, class Bytes, class Octet>
auto with_value(const json& value, Text with_text, Bytes with_bytes, Octet with_octet) {
  if (value.is_string()) return with_text(value.get_ref<const std::string&>());
  if (value.is_object()) return with_bytes(bytes_of(value.at("b")));
  double number = number_of(value);
  return with_octet(std::isfinite(number) ? static_cast<int>(static_cast<std::int64_t>(number) & 255) : 0);
}

json from(const arguments& a) { return to_json(buffer::from(a.text(0), encoding_at(a, 1)).bytes()); }

json to_string(const arguments& a) {
  auto end = a.has(3) ? cut_position(a[3]) : buffer::npos;
  return a.bytes(0).to_string(encoding_at(a, 1), a.has(2) ? cut_position(a[2]) : 0, end);
}

json write(const arguments& a) {
  auto made = buffer::alloc(size_of(a[0]), std::byte(static_cast<unsigned char>(a.number(1))));
  // A length without an offset does not count in Node.
  auto written = a.has(3) ? made.write(a.text(2), size_of(a[3]), encoding_at(a, 5), size_or(a, 4, buffer::npos))
                          : made.write(a.text(2), 0, encoding_at(a, 5));
  return {{"written", written}, {"bytes", to_json(made.bytes())}};
}

buffer fill_at(buffer made, const arguments& a, std::size_t value, std::size_t from, std::size_t to, encoding as) {
  with_value(
      a[value], [&](const std::string& text) { made.fill(text, as, from, to); },
      [&](const buffer& bytes) { made.fill(bytes.bytes(), from, to); }, [&](int octet) { made.fill(octet, from, to); });
  return made;
}

json fill(const arguments& a) {
  auto as = encoding_at(a, 4);
  auto to = a.has(2) ? size_or(a, 3, buffer::npos) : buffer::npos;  // as in Node, nothing ends what does not begin
  return to_json(fill_at(a.bytes(0).make_unique(), a, 1, size_or(a, 2, 0), to, as).bytes());
}

json alloc(const arguments& a) {
  auto made = buffer::alloc(size_of(a[0]));
  if (a.has(1)) made = fill_at(std::move(made), a, 1, 0, buffer::npos, encoding_at(a, 2));
  return to_json(made.bytes());
}

std::size_t find(const arguments& a) {
  auto in = a.bytes(0);
  auto start = a.has(2) ? signed_position(a[2]) : 0;
  return with_value(
      a[1], [&](const std::string& text) { return in.index_of(text, start, encoding_at(a, 3)); },
      [&](const buffer& bytes) { return in.index_of(bytes.bytes(), start, known_encoding_at(a, 3)); },
      [&](int octet) { return in.index_of(octet, start); });
}

std::size_t find_last(const arguments& a) {
  auto in = a.bytes(0);
  auto start = a.has(2) && !std::isnan(a.number(2)) ? signed_position(a[2]) : buffer::from_end;
  return with_value(
      a[1], [&](const std::string& text) { return in.last_index_of(text, start, encoding_at(a, 3)); },
      [&](const buffer& bytes) { return in.last_index_of(bytes.bytes(), start, known_encoding_at(a, 3)); },
      [&](int octet) { return in.last_index_of(octet, start); });
}

json position_to_json(std::size_t found) { return static_cast<std::ptrdiff_t>(found); }

/// Part of a buffer for a comparison, which may begin anywhere, but not end outside.
/// @throws weir::error ERR_OUT_OF_RANGE
std::span<const std::byte> part(const buffer& of, const arguments& a, std::size_t first) {
  auto from = size_or(a, first, 0);
  auto to = size_or(a, first + 1, of.size());
  if (to > of.size()) throw error(errc::err_out_of_range);
  return from >= to ? std::span<const std::byte>() : of.bytes().subspan(from, to - from);
}

json compare(const arguments& a) {
  auto source = a.bytes(0), target = a.bytes(1);
  auto in_target = part(target, a, 2), in_source = part(source, a, 4);
  return buffer::compare(in_source, in_target);
}

json concat(const arguments& a) { return to_json(buffer::concat(a.pieces(0), size_or(a, 1, buffer::npos)).bytes()); }

json subarray(const arguments& a) {
  auto to = a.has(2) ? signed_position(a[2]) : std::numeric_limits<std::ptrdiff_t>::max();
  return to_json(a.bytes(0).slice(a.has(1) ? signed_position(a[1]) : 0, to).bytes());
}

json copy(const arguments& a) {
  auto target = a.bytes(1);
  target.make_unique();
  // Node cuts fractions off here, and nowhere else.
  auto whole = [&](std::size_t i, std::size_t otherwise) {
    return a.has(i) ? size_of(std::trunc(a.number(i))) : otherwise;
  };
  auto copied = a.bytes(0).copy(target.mutable_bytes(), whole(2, 0), whole(3, 0), whole(4, buffer::npos));
  return {{"copied", copied}, {"bytes", to_json(target.bytes())}};
}

json swap(const arguments& a) {
  auto bytes = a.bytes(0);
  bytes.make_unique();
  switch (a[1].get<int>()) {
    case 16: return to_json(bytes.swap16().bytes());
    case 32: return to_json(bytes.swap32().bytes());
    case 64: return to_json(bytes.swap64().bytes());
    default: throw unsupported_arguments();
  }
}

json transcode_bytes(const arguments& a) {
  return to_json(transcode(a.bytes(0).bytes(), parse_encoding(a.text(1)), parse_encoding(a.text(2))));
}

// ---- base64 of the web, whose failure has a name of its own

template <class F>
json named_as_in_browsers(F&& body) {
  try {
    return body();
  } catch (const error& why) {
    throw coded_failure{why.is("ERR_INVALID_CHAR") ? "InvalidCharacterError" : std::string(why.code_name())};
  }
}

json decode_web_base64(const arguments& a) {
  return named_as_in_browsers([&] { return to_json(buffer::from(atob(a.text(0)), encoding::latin1).bytes()); });
}
json encode_web_base64(const arguments& a) {
  return named_as_in_browsers([&]() -> json { return btoa(to_text(a.bytes(0).bytes(), encoding::latin1)); });
}

// ---- numbers

/// An offset that only the buffer can judge: Node asks for a whole number first, then whether it is inside.
std::size_t offset_or_zero(const arguments& a, std::size_t i) {
  if (!a.has(i)) return 0;
  double value = a.number(i);
  if (value != std::floor(value)) throw error(errc::err_out_of_range);
  return value < 0 ? static_cast<std::size_t>(std::numeric_limits<std::ptrdiff_t>::max()) : size_of(a[i]);
}

/// No number of JavaScript's holds more than six bytes.
std::size_t width_at(const arguments& a, std::size_t i) {
  auto width = size_of(a[i]);
  if (width < 1 || width > 6) throw error(errc::err_out_of_range);
  return width;
}

using reader = json (*)(const buffer&, std::size_t offset);

template <auto Read>
json read_number(const buffer& from, std::size_t offset) {
  return (from.*Read)(offset);
}
template <auto Read>
json read_big(const buffer& from, std::size_t offset) {
  return std::to_string((from.*Read)(offset));
}
template <auto Read>
json read_real(const buffer& from, std::size_t offset) {
  return number_to_json(static_cast<double>((from.*Read)(offset)));
}

const std::map<std::string, reader, std::less<>> readers = {
    {"readUInt8", read_number<&buffer::read_u8>},         {"readInt8", read_number<&buffer::read_i8>},
    {"readUInt16LE", read_number<&buffer::read_u16_le>},  {"readUInt16BE", read_number<&buffer::read_u16_be>},
    {"readInt16LE", read_number<&buffer::read_i16_le>},   {"readInt16BE", read_number<&buffer::read_i16_be>},
    {"readUInt32LE", read_number<&buffer::read_u32_le>},  {"readUInt32BE", read_number<&buffer::read_u32_be>},
    {"readInt32LE", read_number<&buffer::read_i32_le>},   {"readInt32BE", read_number<&buffer::read_i32_be>},
    {"readBigUInt64LE", read_big<&buffer::read_u64_le>},  {"readBigUInt64BE", read_big<&buffer::read_u64_be>},
    {"readBigInt64LE", read_big<&buffer::read_i64_le>},   {"readBigInt64BE", read_big<&buffer::read_i64_be>},
    {"readFloatLE", read_real<&buffer::read_float_le>},   {"readFloatBE", read_real<&buffer::read_float_be>},
    {"readDoubleLE", read_real<&buffer::read_double_le>}, {"readDoubleBE", read_real<&buffer::read_double_be>},
};

using wide_reader = json (*)(const buffer&, std::size_t offset, std::size_t width);

template <auto Read>
json read_wide(const buffer& from, std::size_t offset, std::size_t width) {
  return (from.*Read)(offset, width);
}

const std::map<std::string, wide_reader, std::less<>> wide_readers = {
    {"readUIntLE", read_wide<&buffer::read_uint_le>},
    {"readUIntBE", read_wide<&buffer::read_uint_be>},
    {"readIntLE", read_wide<&buffer::read_int_le>},
    {"readIntBE", read_wide<&buffer::read_int_be>},
};

/// Node has its unsigned methods under two names: readUint8 is readUInt8.
std::string method_name(std::string name) {
  if (auto at = name.find("Uint"); at != std::string::npos) name[at + 1] = 'I';
  return name;
}

json read(const arguments& a) {
  auto method = method_name(a.text(0));
  auto from = a.bytes(1);
  if (auto wide = wide_readers.find(method); wide != wide_readers.end()) {
    if (!a.has(2) || !a.has(3)) throw error(errc::err_invalid_arg_type);
    auto width = width_at(a, 3);
    return wide->second(from, offset_or_zero(a, 2), width);
  }
  auto found = readers.find(method);
  if (found == readers.end()) throw unsupported_arguments();
  return found->second(from, offset_or_zero(a, 2));
}

/// A number that is written as an integer: JavaScript cuts the fraction off, after it has been found inside the range.
struct integer {
  std::int64_t value = 0;
  std::int64_t outward = 0;  ///< the next whole number away from zero, which must be inside as well
};

integer integer_of(const json& given) {
  double value = number_of(given);
  if (std::isnan(value)) return {};
  auto whole = [](double x) { return static_cast<std::int64_t>(std::clamp(x, -9e18, 9e18)); };
  return {whole(std::trunc(value)), whole(value < 0 ? std::floor(value) : std::ceil(value))};
}

/// @throws weir::error ERR_OUT_OF_RANGE
template <class T>
T big_of(const json& given) {
  const auto text = given.is_string() ? given.get<std::string>() : given.dump();
  T value{};
  auto read = std::from_chars(text.data(), text.data() + text.size(), value);
  if (read.ec != std::errc() || read.ptr != text.data() + text.size()) throw error(errc::err_out_of_range);
  return value;
}

using writer = std::size_t (*)(buffer&, const json& value, std::size_t offset);

template <auto Write>
std::size_t write_number(buffer& to, const json& value, std::size_t offset) {
  auto number = integer_of(value);
  (to.*Write)(number.outward, offset);
  return (to.*Write)(number.value, offset);
}
template <auto Write, class T>
std::size_t write_big(buffer& to, const json& value, std::size_t offset) {
  return (to.*Write)(big_of<T>(value), offset);
}
template <auto Write, class T>
std::size_t write_real(buffer& to, const json& value, std::size_t offset) {
  return (to.*Write)(static_cast<T>(number_of(value)), offset);
}

const std::map<std::string, writer, std::less<>> writers = {
    {"writeUInt8", write_number<&buffer::write_u8>},
    {"writeInt8", write_number<&buffer::write_i8>},
    {"writeUInt16LE", write_number<&buffer::write_u16_le>},
    {"writeUInt16BE", write_number<&buffer::write_u16_be>},
    {"writeInt16LE", write_number<&buffer::write_i16_le>},
    {"writeInt16BE", write_number<&buffer::write_i16_be>},
    {"writeUInt32LE", write_number<&buffer::write_u32_le>},
    {"writeUInt32BE", write_number<&buffer::write_u32_be>},
    {"writeInt32LE", write_number<&buffer::write_i32_le>},
    {"writeInt32BE", write_number<&buffer::write_i32_be>},
    {"writeBigUInt64LE", write_big<&buffer::write_u64_le, std::uint64_t>},
    {"writeBigUInt64BE", write_big<&buffer::write_u64_be, std::uint64_t>},
    {"writeBigInt64LE", write_big<&buffer::write_i64_le, std::int64_t>},
    {"writeBigInt64BE", write_big<&buffer::write_i64_be, std::int64_t>},
    {"writeFloatLE", write_real<&buffer::write_float_le, float>},
    {"writeFloatBE", write_real<&buffer::write_float_be, float>},
    {"writeDoubleLE", write_real<&buffer::write_double_le, double>},
    {"writeDoubleBE", write_real<&buffer::write_double_be, double>},
};

using wide_writer = std::size_t (*)(buffer&, const integer&, std::size_t offset, std::size_t width);

template <auto Write>
std::size_t write_unsigned(buffer& to, const integer& value, std::size_t offset, std::size_t width) {
  if (value.outward < 0) throw error(errc::err_out_of_range);
  (to.*Write)(static_cast<std::uint64_t>(value.outward), offset, width);
  return (to.*Write)(static_cast<std::uint64_t>(value.value), offset, width);
}
template <auto Write>
std::size_t write_signed(buffer& to, const integer& value, std::size_t offset, std::size_t width) {
  (to.*Write)(value.outward, offset, width);
  return (to.*Write)(value.value, offset, width);
}

const std::map<std::string, wide_writer, std::less<>> wide_writers = {
    {"writeUIntLE", write_unsigned<&buffer::write_uint_le>},
    {"writeUIntBE", write_unsigned<&buffer::write_uint_be>},
    {"writeIntLE", write_signed<&buffer::write_int_le>},
    {"writeIntBE", write_signed<&buffer::write_int_be>},
};

std::size_t write_to(buffer& to, const arguments& a) {
  auto method = method_name(a.text(0));
  if (auto wide = wide_writers.find(method); wide != wide_writers.end()) {
    if (!a.has(4)) throw error(errc::err_invalid_arg_type);
    auto width = width_at(a, 4);
    if (!a.has(3)) throw error(errc::err_invalid_arg_type);
    return wide->second(to, integer_of(a[2]), offset_or_zero(a, 3), width);
  }
  auto found = writers.find(method);
  if (found == writers.end()) throw unsupported_arguments();
  return found->second(to, a[2], offset_or_zero(a, 3));
}

json write_num(const arguments& a) {
  auto to = a.bytes(1);
  to.make_unique();
  auto returned = write_to(to, a);
  return {{"ret", returned}, {"bytes", to_json(to.bytes())}};
}

}  // namespace

void add_buffer(operations& all) {
  all.add("buffer.from", from);
  all.add("buffer.toString", to_string);
  all.add("buffer.byteLength",
          [](const arguments& a) -> json { return byte_length(a.text(0), known_encoding_at(a, 1)); });
  all.add("buffer.isEncoding", [](const arguments& a) -> json { return find_encoding(a.text(0)).has_value(); });
  all.add("buffer.write", write);
  all.add("buffer.read", read);
  all.add("buffer.writeNum", write_num);
  all.add("buffer.fill", fill);
  all.add("buffer.alloc", alloc);
  all.add("buffer.indexOf", [](const arguments& a) { return position_to_json(find(a)); });
  all.add("buffer.lastIndexOf", [](const arguments& a) { return position_to_json(find_last(a)); });
  all.add("buffer.includes", [](const arguments& a) -> json { return find(a) != buffer::npos; });
  all.add("buffer.compare", compare);
  all.add("buffer.equals", [](const arguments& a) -> json { return a.bytes(0) == a.bytes(1); });
  all.add("buffer.concat", concat);
  all.add("buffer.subarray", subarray);
  all.add("buffer.copy", copy);
  all.add("buffer.swap", swap);
  all.add("buffer.transcode", transcode_bytes);
  all.add("buffer.isUtf8", [](const arguments& a) -> json { return is_utf8(a.bytes(0).bytes()); });
  all.add("buffer.isAscii", [](const arguments& a) -> json { return is_ascii(a.bytes(0).bytes()); });
  all.add("buffer.atob", decode_web_base64);
  all.add("buffer.btoa", encode_web_base64);
}

}  // namespace weir::conformance
