// tests/fuzz/buffer_fuzz.cpp: a random program of slices, searches, fills, copies, numbers and texts on a buffer,
// beside the same on a std::string: they agree, whatever the arguments, and what shares memory sees what is written.
#include <weir/core/buffer.hpp>
#include <weir/core/error.hpp>

#include <tests/fuzz/input.hpp>

#include <algorithm>
#include <string>
#include <string_view>

namespace {

using namespace weir;
using namespace weir::fuzzing;

constexpr std::size_t most = 4096;

std::ptrdiff_t any_offset(choices& in, std::size_t size) {
  switch (in.below(4)) {
    case 0: return static_cast<std::int8_t>(in.byte());
    case 1: return static_cast<std::int32_t>(in.word());
    default: return static_cast<std::ptrdiff_t>(in.byte() % (size + 1));
  }
}

std::size_t resolved(std::ptrdiff_t at, std::size_t size) {
  const auto all = static_cast<std::ptrdiff_t>(size);
  return static_cast<std::size_t>(std::clamp(at < 0 ? at + all : at, std::ptrdiff_t{0}, all));
}

void slice(buffer& b, std::string& model, choices& in) {
  const auto from = any_offset(in, model.size()), to = any_offset(in, model.size());
  const auto begin = resolved(from, model.size()), end = std::max(begin, resolved(to, model.size()));
  const auto cut = b.slice(from, to);
  require(cut.text() == std::string_view(model).substr(begin, end - begin));
  if (!in.one_in(3)) return;
  b = cut;
  model = model.substr(begin, end - begin);
}

void search(const buffer& b, const std::string& model, choices& in) {
  const auto what = in.text(6);
  const auto from = any_offset(in, model.size());
  const auto at = resolved(from, model.size());
  const auto encoded = buffer::from(what, encoding::latin1);
  require(b.index_of(what, from, encoding::latin1) == b.index_of(encoded.bytes(), from));
  const auto bytes = std::as_bytes(std::span(what));
  if (!what.empty()) require(b.index_of(bytes, from) == model.find(what, at));
  if (!what.empty() && from >= 0) {
    require(b.last_index_of(bytes, from) == model.rfind(what, static_cast<std::size_t>(from)));
  }
  const auto octet = in.byte();
  require(b.index_of(int{octet}, from) == model.find(static_cast<char>(octet), at));
  require(b.includes(bytes) == (model.find(what) != std::string::npos));
}

void fill(buffer& b, std::string& model, choices& in) {
  const auto pattern = in.text(5);
  const std::size_t from = in.byte(), to = in.byte();
  const auto view = b;  // shares the memory
  try {
    b.fill(std::as_bytes(std::span(pattern)), from, to);
    require(to <= model.size() && !pattern.empty());
    for (std::size_t i = from; i < to; ++i) model[i] = pattern[(i - from) % pattern.size()];
  } catch (const error& refused) {
    require(refused.code() == errc::err_out_of_range ? to > model.size() || from > model.size() : pattern.empty());
  }
  require(view.text() == model);
}

void write_text(buffer& b, std::string& model, choices& in) {
  const auto as = static_cast<encoding>(in.below(7));
  const auto text = in.text(20);
  const std::size_t offset = in.byte();
  try {
    const auto count = b.write(text, offset, as);
    require(offset <= model.size() && count <= model.size() - offset);
    const auto whole = buffer::from(text, as);
    require(count <= whole.size() && whole.text().substr(0, count) == b.text().substr(offset, count));
    model.replace(offset, count, b.text().substr(offset, count));
  } catch (const error& refused) {
    require(refused.code() == errc::err_out_of_range && offset > model.size());
  }
}

void copy(buffer& b, std::string& model, choices& in) {
  const std::size_t to = in.byte(), from = in.byte(), end = in.one_in(3) ? buffer::npos : in.byte();
  try {
    auto source = b;
    const auto count = source.copy(b.mutable_bytes(), to, from, end);  // onto itself
    require(from <= model.size());
    const auto part = model.substr(from, std::max(std::min(end, model.size()), from) - from);
    require(count == std::min(part.size(), model.size() - std::min(to, model.size())));
    if (count != 0) model.replace(to, count, part, 0, count);
  } catch (const error& refused) {
    require(refused.code() == errc::err_out_of_range);
  }
}

void numbers(buffer& b, std::string& model, choices& in) {
  const std::size_t offset = in.byte(), width = in.below(10);
  const auto value = in.word();
  try {
    require(b.write_uint_be(value, offset, width) == offset + width);
    require(b.read_uint_be(offset, width) == value);
    const auto little = b.read_uint_le(offset, width);
    require(b.write_uint_le(little, offset, width) == offset + width && b.read_uint_be(offset, width) == value);
    const auto with_sign = b.read_int_be(offset, width);
    require(b.write_int_be(with_sign, offset, width) == offset + width && b.read_uint_be(offset, width) == value);
    model.assign(b.text());
  } catch (const error& refused) {
    const bool wide = width < 4 && width > 0 && value >> (8 * width) != 0;
    require(width == 0 || width > 8 || offset + width > model.size() || wide);
    static_cast<void>(refused);
  }
}

void grow(buffer& b, std::string& model, choices& in) {
  const auto more = in.text(64);
  if (model.size() + more.size() > most) return;
  b = buffer::concat({b, buffer::from(more, encoding::latin1)});
  model += buffer::from(more, encoding::latin1).text();
}

void swap_bytes(buffer& b, std::string& model, choices& in) {
  const std::size_t width = std::size_t{2} << in.below(3);
  try {
    if (width == 2) b.swap16();
    if (width == 4) b.swap32();
    if (width == 8) b.swap64();
    require(model.size() % width == 0);
    for (std::size_t i = 0; i < model.size(); i += width) {
      std::reverse(model.begin() + static_cast<std::ptrdiff_t>(i),
                   model.begin() + static_cast<std::ptrdiff_t>(i + width));
    }
  } catch (const error& refused) {
    require(refused.code() == errc::err_invalid_buffer_size && model.size() % width != 0);
  }
}

void cut(buffer& b, std::string& model, choices& in) {
  const std::size_t count = in.byte();
  const auto front = b.take_front(count);
  require(front.text() == std::string_view(model).substr(0, count));
  model.erase(0, count);
  b.remove_suffix(in.below(3));
  model.resize(b.size());
}

void step(buffer& b, std::string& model, choices& in) {
  switch (in.below(9)) {
    case 0: slice(b, model, in); break;
    case 1: search(b, model, in); break;
    case 2: fill(b, model, in); break;
    case 3: write_text(b, model, in); break;
    case 4: copy(b, model, in); break;
    case 5: numbers(b, model, in); break;
    case 6: swap_bytes(b, model, in); break;
    case 7: cut(b, model, in); break;
    default: grow(b, model, in);
  }
  require(b.text() == model);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  choices in(data, size);
  auto start = in.text(64);
  auto b = buffer::from(start, encoding::latin1);
  std::string model(b.text());
  for (int i = 0; i < 200 && !in.empty(); ++i) step(b, model, in);
  require(b.to_string(encoding::latin1).size() >= model.size());
  require(b.inspect().size() < 200);
  return 0;
}
