#include <weir/core/buffer.hpp>

#include <weir/core/error.hpp>
#include <weir/core/frame_pool.hpp>
#include <weir/core/simd_text.hpp>
#include <weir/core/spin_lock.hpp>

#include <array>
#include <bit>
#include <cassert>
#include <cstdlib>
#include <cstring>
#include <new>
#include <vector>

#include <fmt/format.h>

#if WEIR_ASAN
#include <sanitizer/asan_interface.h>
#endif

namespace weir {
namespace {

using detail::buffer_store;

// Sanitizers see misuse only where each allocation is a block of the heap.
constexpr bool pools = WEIR_ASAN == 0 && WEIR_TSAN == 0;

constexpr std::size_t header = sizeof(buffer_store);
static_assert(header == 16, "bytes behind the header are aligned like the block");

std::atomic<std::size_t> greatest_size{std::size_t{4} << 30};
std::atomic<std::size_t> size_of_pool{8192};

// ---- Errors, in Node's words ----

// Node writes what it received with separators from 2^32 on.
std::string received(std::int64_t value) {
  auto digits = fmt::format("{}", value);
  if (value <= std::int64_t{1} << 32 && value >= -(std::int64_t{1} << 32)) return digits;
  const std::size_t first = value < 0 ? 1 : 0;
  for (auto at = digits.size(); at > first + 3;) digits.insert(at -= 3, 1, '_');
  return digits;
}

[[noreturn]] WEIR_COLD void out_of_range(std::string_view name, std::string_view range, std::int64_t value) {
  throw error(errc::err_out_of_range, fmt::format("The value of \"{}\" is out of range. It must be {}. Received {}",
                                                  name, range, received(value)));
}

// A size or offset that began as a negative number is told as that.
[[noreturn]] WEIR_COLD void beyond(std::string_view name, std::size_t most, std::size_t value) {
  out_of_range(name, fmt::format(">= 0 && <= {}", most), static_cast<std::int64_t>(value));
}

[[noreturn]] WEIR_COLD void too_large(std::size_t size) {
  const auto limit = buffer::limit();
  if (static_cast<std::ptrdiff_t>(size) < 0) beyond("size", limit, size);
  throw error(errc::err_buffer_too_large, fmt::format("Cannot create a Buffer larger than {} bytes", limit));
}

[[noreturn]] WEIR_COLD void invalid_pattern(std::string_view text) {
  throw error(errc::err_invalid_arg_value, fmt::format("The argument 'value' is invalid. Received '{}'", text));
}

[[noreturn]] WEIR_COLD void invalid_pattern() {
  throw error(errc::err_invalid_arg_value, "The argument 'value' is invalid. Received <Buffer >");
}

[[noreturn]] WEIR_COLD void value_out_of_range(std::int64_t value, bool is_signed, std::size_t width) {
  const auto bits = 8 * width - (is_signed ? 1 : 0);
  if (width > 4) {
    const auto least = is_signed ? fmt::format("-(2 ** {})", bits) : std::string("0");
    out_of_range("value", fmt::format(">= {} and < 2 ** {}", least, bits), value);
  }
  const auto span = std::int64_t{1} << bits;
  out_of_range("value", fmt::format(">= {} and <= {}", is_signed ? -span : 0, span - 1), value);
}

// ---- Stores ----

// What a thread keeps for reuse of the blocks that are too large for the frame pool: a list for each power of two, and
// in each at most `kept_bytes`, but two blocks in any case.
class block_cache {
 public:
  static constexpr std::size_t smallest = 4096;
  static constexpr std::size_t largest = 64 * 1024;

  block_cache() = default;
  block_cache(const block_cache&) = delete;
  block_cache& operator=(const block_cache&) = delete;
  ~block_cache() {
    gone = true;
    for (auto& list : lists_)
      while (list.head != nullptr) ::operator delete(std::exchange(list.head, list.head->next));
  }

  // `size` is without the header.
  static std::size_t class_of(std::size_t size) noexcept {
    return size <= smallest ? 0 : static_cast<std::size_t>(std::bit_width((size - 1) / smallest));
  }
  static std::size_t block_bytes(std::size_t index) noexcept { return header + (smallest << index); }

  void* take(std::size_t index) {
    auto& list = lists_[index];
    if (list.head == nullptr) return ::operator new(block_bytes(index));
    --list.length;
    return std::exchange(list.head, list.head->next);
  }

  void give(void* block, std::size_t index) noexcept {
    auto& list = lists_[index];
    if (list.length >= std::max<std::size_t>(2, kept_bytes / (smallest << index))) return ::operator delete(block);
    list.head = new (block) node{list.head};
    ++list.length;
  }

  static constinit thread_local bool gone;

 private:
  static constexpr std::size_t kept_bytes = 64 * 1024;

  struct node {
    node* next;
  };
  struct list {
    node* head = nullptr;
    std::size_t length = 0;
  };

  std::array<list, 5> lists_;
};
constinit thread_local bool block_cache::gone = false;
static_assert(block_cache::largest == block_cache::smallest << 4);

// @return null once the thread has ended
WEIR_NOINLINE block_cache* blocks_here() noexcept {
  if (block_cache::gone) return nullptr;
  thread_local block_cache here;
  return &here;
}

void end_frame(buffer_store* store) noexcept { detail::frame_free(store, store->block_size); }

void end_heap(buffer_store* store) noexcept { ::operator delete(store); }

void end_zeroed(buffer_store* store) noexcept { std::free(store); }

void end_block(buffer_store* store) noexcept {
  const auto index = block_cache::class_of(store->block_size - header);
  if (auto* here = blocks_here()) return here->give(store, index);
  ::operator delete(store);
}

buffer_store* store_at(void* block, std::size_t block_size, void (*end)(buffer_store*) noexcept) noexcept {
  auto* store = new (block) buffer_store;
  store->block_size = static_cast<std::uint32_t>(block_size) & 0x7fff'ffff;
  store->end = end;
  return store;
}

std::byte* bytes_of(buffer_store* store) noexcept { return reinterpret_cast<std::byte*>(store + 1); }

buffer_store* heap_store(std::size_t size) { return store_at(::operator new(header + size), 0, end_heap); }

buffer_store* small_store(std::size_t size) {
  if (header + size <= detail::frame_cache::largest)
    return store_at(detail::frame_allocate(header + size), header + size, end_frame);
  auto* here = blocks_here();
  if (here == nullptr) return heap_store(size);
  return store_at(here->take(block_cache::class_of(size)), header + size, end_block);
}

void check_size(std::size_t size) {
  if (size > greatest_size.load(std::memory_order_relaxed)) [[unlikely]]
    too_large(size);
}

struct adopted_store : buffer_store {
  std::span<const std::byte> memory;
  buffer::release_function release;
  void* context;
};

void end_adopted(buffer_store* store) noexcept {
  auto* self = static_cast<adopted_store*>(store);
  self->release(self->context, self->memory);
  delete self;
}

adopted_store* adopt_memory(std::span<const std::byte> memory, buffer::release_function release, void* context) try {
  auto* store = new adopted_store;
  store->end = end_adopted;
  store->memory = memory;
  store->release = release;
  store->context = context;
  return store;
} catch (...) {
  release(context, memory);
  throw;
}

// ---- Searching ----

// Where a search begins, or -1 if there can be no match (Node's IndexOfOffset).
std::ptrdiff_t search_start(std::size_t size, std::ptrdiff_t from, std::size_t wanted, bool forward) noexcept {
  const auto length = static_cast<std::ptrdiff_t>(size);
  if (from < 0) {
    if (from + length >= 0) return from + length;
    return forward || wanted == 0 ? 0 : -1;
  }
  if (from <= length && static_cast<std::ptrdiff_t>(wanted) <= length - from) return from;
  if (wanted == 0) return length;
  return forward ? -1 : length - 1;
}

std::size_t offset_in(std::span<const std::byte> bytes, const void* place) noexcept {
  return static_cast<std::size_t>(static_cast<const std::byte*>(place) - bytes.data());
}

const std::uint8_t* raw(std::span<const std::byte> bytes) noexcept {
  return reinterpret_cast<const std::uint8_t*>(bytes.data());
}

std::size_t find_first(std::span<const std::byte> in, std::span<const std::byte> what) noexcept {
  if (what.size() > 1) return detail::best_text_kernels().find(raw(in), in.size(), raw(what), what.size());
  const void* found = in.empty() ? nullptr : std::memchr(in.data(), static_cast<int>(what[0]), in.size());
  return found == nullptr ? buffer::npos : offset_in(in, found);
}

// Knuth, Morris and Pratt's search, backwards: linear whatever the bytes are, for some memory.
std::size_t find_last_surely(std::span<const std::byte> in, std::span<const std::byte> what, std::size_t starts) {
  const auto length = what.size();
  const auto back = [&](std::size_t i) { return what[length - 1 - i]; };
  // borders[i]: how long a proper part at the end of the first i + 1 (from behind) is also at their beginning.
  std::vector<std::size_t> borders(length);
  for (std::size_t i = 1, matched = 0; i < length; ++i) {
    while (matched != 0 && back(i) != back(matched)) matched = borders[matched - 1];
    if (back(i) == back(matched)) ++matched;
    borders[i] = matched;
  }
  for (std::size_t at = starts + length - 1, matched = 0; at-- > 0;) {
    while (matched != 0 && in[at] != back(matched)) matched = borders[matched - 1];
    if (in[at] == back(matched)) ++matched;
    if (matched == length) return at;
  }
  return buffer::npos;
}

// Candidates by their first byte, as long as few are wrong: with many of them the worst case would be quadratic.
std::size_t find_last(std::span<const std::byte> in, std::span<const std::byte> what, std::size_t from) {
  const auto starts = std::min(from, in.size() - what.size()) + 1;
  auto left = starts;  // places where a match may begin
  for (std::size_t wasted = 0; wasted <= 8 * (starts - left) + 4096; wasted += what.size()) {
    const void* found = ::memrchr(in.data(), static_cast<int>(what[0]), left);
    if (found == nullptr) return buffer::npos;
    if (std::memcmp(found, what.data(), what.size()) == 0) return offset_in(in, found);
    left = offset_in(in, found);
  }
  return find_last_surely(in, what, left);
}

// Node looks for UTF-16 unit by unit: at even places, and not in an odd byte at the end.
std::size_t find_units(const buffer& in, std::span<const std::byte> what, std::ptrdiff_t from, bool forward) {
  if (what.size() == 1) return buffer::npos;
  what = what.first(what.size() & ~std::size_t{1});
  const auto units = in.slice(0, static_cast<std::ptrdiff_t>(in.size() & ~std::size_t{1}));
  auto at = search_start(units.size(), from, what.size(), forward);
  if (what.empty() || at < 0) return static_cast<std::size_t>(at);
  if (forward && units.size() - static_cast<std::size_t>(at) < what.size()) return buffer::npos;
  at &= -2;
  while (at >= 0) {
    at = static_cast<std::ptrdiff_t>(forward ? units.index_of(what, at) : units.last_index_of(what, at));
    if (at % 2 == 0) break;
    if (at > 0) at += forward ? 1 : -1;
  }
  return static_cast<std::size_t>(at);
}

// As `byte_length`, but without a look at the characters where only digits make bytes.
std::size_t room_for(std::string_view text, encoding as) noexcept {
  if (as == encoding::hex) return text.size() / 2;
  if (as == encoding::base64 || as == encoding::base64url) return text.size() / 4 * 3 + text.size() % 4 * 3 / 4;
  return byte_length(text, as);
}

// The bytes that a text to be found stands for.
struct text_bytes {
  buffer bytes;
  text_bytes(std::string_view text, encoding as)
      : bytes(as == encoding::utf8 ? buffer::view_of_static(text) : buffer::from(text, as)) {}
};

}  // namespace

// ---- Making ----

std::size_t buffer::limit() noexcept { return greatest_size.load(std::memory_order_relaxed); }
void buffer::set_limit(std::size_t bytes) noexcept {
  greatest_size.store(std::min<std::size_t>(bytes, PTRDIFF_MAX / 2), std::memory_order_relaxed);
}
std::size_t buffer::pool_size() noexcept { return size_of_pool.load(std::memory_order_relaxed); }
void buffer::set_pool_size(std::size_t bytes) noexcept {
  size_of_pool.store(std::min(bytes, 2 * block_cache::largest), std::memory_order_relaxed);
}

buffer buffer::alloc_unsafe(std::size_t size) {
  check_size(size);
  if (!pools || size >= pool_size() / 2) return alloc_unsafe_slow(size);
  if (size == 0) return {};
  auto* store = small_store(size);
  return buffer(bytes_of(store), size, store);
}

buffer buffer::alloc_unsafe_slow(std::size_t size) {
  check_size(size);
  if (size == 0) return {};
  auto* store = heap_store(size);
  return buffer(bytes_of(store), size, store);
}

buffer buffer::alloc(std::size_t size, std::byte fill) {
  // From this size on malloc maps pages, which are zero already (glibc's M_MMAP_THRESHOLD).
  constexpr std::size_t mapped = 128 * 1024;
  if (size >= mapped && fill == std::byte{0}) {
    check_size(size);
    void* block = std::calloc(1, header + size);
    if (block == nullptr) throw std::bad_alloc();
    auto* store = store_at(block, 0, end_zeroed);
    return buffer(bytes_of(store), size, store);
  }
  auto made = alloc_unsafe(size);
  if (size != 0) std::memset(const_cast<std::byte*>(made.data_), static_cast<int>(fill), size);
  return made;
}

buffer buffer::alloc(std::size_t size, std::string_view fill, encoding as) {
  auto made = alloc_unsafe(size);
  made.fill(fill, as);
  return made;
}

buffer buffer::from(std::string_view text, encoding as) {
  if (as == encoding::utf8) return copy_of(std::as_bytes(std::span(text)));
  auto made = alloc_unsafe(room_for(text, as));
  made.size_ = to_bytes(text, as, made.mutable_bytes());
  return made;
}

buffer buffer::copy_of(std::span<const std::byte> bytes) {
  auto made = alloc_unsafe(bytes.size());
  if (!bytes.empty()) std::memcpy(const_cast<std::byte*>(made.data_), bytes.data(), bytes.size());
  return made;
}

buffer buffer::adopt(std::span<std::byte> memory, release_function release, void* context) {
  return buffer(memory.data(), memory.size(), adopt_memory(memory, release, context));
}

buffer buffer::adopt_read_only(std::span<const std::byte> memory, release_function release, void* context) {
  auto* store = adopt_memory(memory, release, context);
  store->read_only = 1;
  return buffer(memory.data(), memory.size(), store);
}

buffer buffer::concat(std::span<const buffer> list, std::size_t total) {
  if (total == npos) {
    total = 0;
    for (const auto& each : list) total += each.size();
  }
  auto made = alloc_unsafe(total);
  auto rest = made.mutable_bytes();
  for (const auto& each : list) rest = rest.subspan(each.copy(rest));
  if (!rest.empty()) std::memset(rest.data(), 0, rest.size());
  return made;
}

// ---- Looking ----

std::byte buffer::at(std::size_t index) const {
  if (index >= size_) fail_offset(index, 1);
  return data_[index];
}

void buffer::set(std::size_t index, int value) {
  if (index >= size_) fail_offset(index, 1);
  mutable_bytes()[index] = static_cast<std::byte>(value);
}

std::string buffer::to_string(encoding as, std::size_t from, std::size_t to) const {
  to = std::min(to, size_);
  if (from >= to) return {};
  return to_text(bytes().subspan(from, to - from), as);
}

std::string buffer::inspect(std::size_t max_bytes) const {
  const auto shown = bytes().first(std::min(size_, max_bytes));
  std::string text = "<Buffer ";
  for (const auto& each : shown) {
    if (&each != shown.data()) text += ' ';
    append_text(text, std::span(&each, 1), encoding::hex);
  }
  if (const auto more = size_ - shown.size(); more != 0)
    text += fmt::format("{}... {} more byte{}", shown.empty() ? "" : " ", more, more == 1 ? "" : "s");
  return text += '>';
}

std::string buffer::to_json() const {
  std::string text = R"({"type":"Buffer","data":[)";
  text.reserve(text.size() + 4 * size_ + 2);
  for (std::size_t i = 0; i < size_; ++i) {
    if (i != 0) text += ',';
    fmt::format_to(std::back_inserter(text), "{}", static_cast<unsigned>(data_[i]));
  }
  return text += "]}";
}

// ---- Sharing ----

buffer buffer::slice(std::ptrdiff_t from, std::ptrdiff_t to) const& noexcept { return buffer(*this).slice(from, to); }

buffer buffer::slice(std::ptrdiff_t from, std::ptrdiff_t to) && noexcept {
  const auto length = static_cast<std::ptrdiff_t>(size_);
  const auto place = [length](std::ptrdiff_t at) { return at < 0 ? std::max(at + length, {}) : std::min(at, length); };
  from = place(from);
  to = std::max(place(to), from);
  data_ += from;
  size_ = static_cast<std::size_t>(to - from);
  return std::move(*this);
}

buffer buffer::take_front(std::size_t count) noexcept {
  count = std::min(count, size_);
  buffer front(*this);
  front.size_ = count;
  remove_prefix(count);
  return front;
}

void buffer::remove_prefix(std::size_t count) noexcept {
  count = std::min(count, size_);
  data_ += count;
  size_ -= count;
}

buffer& buffer::make_unique() {
  if (!is_unique()) *this = copy_of(bytes());
  return *this;
}

void buffer::fail_read_only() {
  throw error(errc::err_invalid_state, "Invalid state: the buffer is read-only; make_unique() gives a copy to write");
}

// ---- Comparing and searching ----

int buffer::compare(std::span<const std::byte> a, std::span<const std::byte> b) noexcept {
  const auto common = std::min(a.size(), b.size());
  const int order = common == 0 ? 0 : std::memcmp(a.data(), b.data(), common);
  if (order != 0) return order < 0 ? -1 : 1;
  return a.size() == b.size() ? 0 : a.size() < b.size() ? -1 : 1;
}

std::size_t buffer::index_of(std::span<const std::byte> what, std::ptrdiff_t from) const noexcept {
  const auto start = search_start(size_, from, what.size(), true);
  if (start < 0 || what.empty()) return static_cast<std::size_t>(start);
  if (what.size() > size_) return npos;  // an empty buffer has no address to search at
  const auto searched = bytes().subspan(static_cast<std::size_t>(start));
  const auto found = find_first(searched, what);
  return found >= searched.size() ? npos : static_cast<std::size_t>(start) + found;
}

std::size_t buffer::index_of(std::span<const std::byte> what, std::ptrdiff_t from, encoding as) const {
  return as == encoding::utf16le ? find_units(*this, what, from, true) : index_of(what, from);
}

std::size_t buffer::index_of(std::string_view what, std::ptrdiff_t from, encoding as) const {
  const text_bytes wanted(what, as);
  if (as == encoding::utf16le) return find_units(*this, wanted.bytes.bytes(), from, true);
  return index_of(wanted.bytes.bytes(), from);
}

std::size_t buffer::index_of(int octet, std::ptrdiff_t from) const noexcept {
  const auto start = search_start(size_, from, 1, true);
  if (start < 0 || static_cast<std::size_t>(start) >= size_) return npos;
  const void* found = std::memchr(data_ + start, octet & 0xff, size_ - static_cast<std::size_t>(start));
  return found == nullptr ? npos : offset_in(bytes(), found);
}

std::size_t buffer::last_index_of(std::span<const std::byte> what, std::ptrdiff_t from) const {
  const auto start = search_start(size_, from, what.size(), false);
  if (start < 0 || what.empty()) return static_cast<std::size_t>(start);
  if (what.size() > size_) return npos;
  return find_last(bytes(), what, static_cast<std::size_t>(start));
}

std::size_t buffer::last_index_of(std::span<const std::byte> what, std::ptrdiff_t from, encoding as) const {
  return as == encoding::utf16le ? find_units(*this, what, from, false) : last_index_of(what, from);
}

std::size_t buffer::last_index_of(std::string_view what, std::ptrdiff_t from, encoding as) const {
  const text_bytes wanted(what, as);
  if (as == encoding::utf16le) return find_units(*this, wanted.bytes.bytes(), from, false);
  return last_index_of(wanted.bytes.bytes(), from);
}

std::size_t buffer::last_index_of(int octet, std::ptrdiff_t from) const noexcept {
  const auto start = search_start(size_, from, 1, false);
  if (start < 0) return npos;
  const void* found = ::memrchr(data_, octet & 0xff, static_cast<std::size_t>(start) + 1);
  return found == nullptr ? npos : offset_in(bytes(), found);
}

// ---- Writing ----

std::size_t buffer::copy(std::span<std::byte> target, std::size_t target_start, std::size_t source_start,
                         std::size_t source_end) const {
  if (source_start > size_) beyond("sourceStart", size_, source_start);
  source_end = std::min(source_end, size_);
  if (target_start >= target.size() || source_start >= source_end) return 0;
  const auto count = std::min(source_end - source_start, target.size() - target_start);
  std::memmove(target.data() + target_start, data_ + source_start, count);
  return count;
}

buffer& buffer::fill(int octet, std::size_t from, std::size_t to) {
  const auto value = static_cast<std::byte>(octet);
  return fill(std::span(&value, 1), from, to);
}

buffer& buffer::fill(std::string_view pattern, encoding as, std::size_t from, std::size_t to) {
  if (pattern.empty()) return fill(0, from, to);
  const text_bytes wanted(pattern, as);
  if (wanted.bytes.empty()) invalid_pattern(pattern);
  return fill(wanted.bytes.bytes(), from, to);
}

// What has been filled serves as the pattern for as much again. The pattern may be a part of the buffer itself.
buffer& buffer::fill(std::span<const std::byte> pattern, std::size_t from, std::size_t to) {
  if (to != npos && to > size_) beyond("end", size_, to);
  if (pattern.empty()) invalid_pattern();
  const auto end = std::min(to, size_);
  const auto all = mutable_bytes();
  if (from >= end) return *this;
  const auto range = all.subspan(from, end - from);
  if (pattern.size() == 1) {
    std::memset(range.data(), static_cast<int>(pattern[0]), range.size());
    return *this;
  }
  auto done = std::min(pattern.size(), range.size());
  std::memmove(range.data(), pattern.data(), done);
  while (done < range.size()) {
    const auto more = std::min(done, range.size() - done);
    std::memcpy(range.data() + done, range.data(), more);
    done += more;
  }
  return *this;
}

std::size_t buffer::write(std::string_view text, std::size_t offset, encoding as, std::size_t length) {
  if (offset > size_) beyond("offset", size_, offset);
  if (length != npos && length > size_) beyond("length", size_, length);
  return to_bytes(text, as, mutable_bytes().subspan(offset, std::min(length, size_ - offset)));
}

namespace {

template <class Unit>
void swap_units(std::span<std::byte> bytes) {
  for (std::size_t i = 0; i < bytes.size(); i += sizeof(Unit)) {
    Unit unit;
    std::memcpy(&unit, bytes.data() + i, sizeof unit);
    if constexpr (sizeof(Unit) == 2)
      unit = __builtin_bswap16(unit);
    else if constexpr (sizeof(Unit) == 4)
      unit = __builtin_bswap32(unit);
    else
      unit = __builtin_bswap64(unit);
    std::memcpy(bytes.data() + i, &unit, sizeof unit);
  }
}

void require_multiple(std::size_t size, std::size_t unit) {
  if (size % unit == 0) return;
  throw error(errc::err_invalid_buffer_size, fmt::format("Buffer size must be a multiple of {}-bits", 8 * unit));
}

}  // namespace

buffer& buffer::swap16() {
  require_multiple(size_, 2);
  swap_units<std::uint16_t>(mutable_bytes());
  return *this;
}

buffer& buffer::swap32() {
  require_multiple(size_, 4);
  swap_units<std::uint32_t>(mutable_bytes());
  return *this;
}

buffer& buffer::swap64() {
  require_multiple(size_, 8);
  swap_units<std::uint64_t>(mutable_bytes());
  return *this;
}

// ---- Numbers ----

void buffer::fail_offset(std::size_t offset, std::size_t width) const {
  if (size_ < width) throw error(errc::err_buffer_out_of_bounds);
  out_of_range("offset", fmt::format(">= 0 and <= {}", size_ - width), static_cast<std::int64_t>(offset));
}

namespace {

constexpr std::size_t widest = 8;

void check_width(std::size_t width) {
  if (width >= 1 && width <= widest) return;
  out_of_range("byteLength", ">= 1 and <= 8", static_cast<std::int64_t>(width));
}

std::uint64_t load_le(const std::byte* from, std::size_t width) noexcept {
  std::uint64_t value = 0;
  for (std::size_t i = width; i-- > 0;) value = value << 8 | static_cast<std::uint64_t>(from[i]);
  return value;
}

std::uint64_t load_be(const std::byte* from, std::size_t width) noexcept {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < width; ++i) value = value << 8 | static_cast<std::uint64_t>(from[i]);
  return value;
}

void store_le(std::byte* to, std::uint64_t value, std::size_t width) noexcept {
  for (std::size_t i = 0; i < width; ++i, value >>= 8) to[i] = static_cast<std::byte>(value & 0xff);
}

void store_be(std::byte* to, std::uint64_t value, std::size_t width) noexcept {
  for (std::size_t i = width; i-- > 0; value >>= 8) to[i] = static_cast<std::byte>(value & 0xff);
}

std::int64_t extend_sign(std::uint64_t value, std::size_t width) noexcept {
  const auto unused = 64 - 8 * width;
  return static_cast<std::int64_t>(value << unused) >> unused;
}

void check_unsigned(std::uint64_t value, std::size_t width) {
  check_width(width);
  if (width < widest && value >> (8 * width) != 0) value_out_of_range(static_cast<std::int64_t>(value), false, width);
}

void check_signed(std::int64_t value, std::size_t width) {
  check_width(width);
  if (extend_sign(static_cast<std::uint64_t>(value), width) != value) value_out_of_range(value, true, width);
}

}  // namespace

std::uint64_t buffer::read_uint_le(std::size_t offset, std::size_t width) const {
  return load_le(at_offset(offset, width), width);
}
std::uint64_t buffer::read_uint_be(std::size_t offset, std::size_t width) const {
  return load_be(at_offset(offset, width), width);
}
std::int64_t buffer::read_int_le(std::size_t offset, std::size_t width) const {
  return extend_sign(load_le(at_offset(offset, width), width), width);
}
std::int64_t buffer::read_int_be(std::size_t offset, std::size_t width) const {
  return extend_sign(load_be(at_offset(offset, width), width), width);
}

const std::byte* buffer::at_offset(std::size_t offset, std::size_t width) const {
  check_width(width);
  if (size_ < width || offset > size_ - width) fail_offset(offset, width);
  return data_ + offset;
}

std::byte* buffer::at_offset_to_write(std::size_t offset, std::size_t width) {
  if (size_ < width || offset > size_ - width) fail_offset(offset, width);
  return mutable_bytes().data() + offset;
}

std::size_t buffer::write_uint_le(std::uint64_t value, std::size_t offset, std::size_t width) {
  check_unsigned(value, width);
  store_le(at_offset_to_write(offset, width), value, width);
  return offset + width;
}
std::size_t buffer::write_uint_be(std::uint64_t value, std::size_t offset, std::size_t width) {
  check_unsigned(value, width);
  store_be(at_offset_to_write(offset, width), value, width);
  return offset + width;
}
std::size_t buffer::write_int_le(std::int64_t value, std::size_t offset, std::size_t width) {
  check_signed(value, width);
  store_le(at_offset_to_write(offset, width), static_cast<std::uint64_t>(value), width);
  return offset + width;
}
std::size_t buffer::write_int_be(std::int64_t value, std::size_t offset, std::size_t width) {
  check_signed(value, width);
  store_be(at_offset_to_write(offset, width), static_cast<std::uint64_t>(value), width);
  return offset + width;
}

template <class T, bool big, class V>
std::size_t buffer::put(V value, std::size_t offset) {
  if constexpr (std::integral<V>) {
    if (!std::in_range<T>(value)) [[unlikely]]
      value_out_of_range(value, std::is_signed_v<T>, sizeof(T));
  }
  auto raw = std::bit_cast<std::array<std::byte, sizeof(T)>>(static_cast<T>(value));
  if constexpr (big == (std::endian::native == std::endian::little) && sizeof(T) > 1) std::ranges::reverse(raw);
  std::memcpy(at_offset_to_write(offset, sizeof(T)), raw.data(), sizeof(T));
  return offset + sizeof(T);
}

std::size_t buffer::write_u8(std::int64_t value, std::size_t offset) { return put<std::uint8_t, false>(value, offset); }
std::size_t buffer::write_i8(std::int64_t value, std::size_t offset) { return put<std::int8_t, false>(value, offset); }
std::size_t buffer::write_u16_le(std::int64_t value, std::size_t offset) {
  return put<std::uint16_t, false>(value, offset);
}
std::size_t buffer::write_u16_be(std::int64_t value, std::size_t offset) {
  return put<std::uint16_t, true>(value, offset);
}
std::size_t buffer::write_i16_le(std::int64_t value, std::size_t offset) {
  return put<std::int16_t, false>(value, offset);
}
std::size_t buffer::write_i16_be(std::int64_t value, std::size_t offset) {
  return put<std::int16_t, true>(value, offset);
}
std::size_t buffer::write_u32_le(std::int64_t value, std::size_t offset) {
  return put<std::uint32_t, false>(value, offset);
}
std::size_t buffer::write_u32_be(std::int64_t value, std::size_t offset) {
  return put<std::uint32_t, true>(value, offset);
}
std::size_t buffer::write_i32_le(std::int64_t value, std::size_t offset) {
  return put<std::int32_t, false>(value, offset);
}
std::size_t buffer::write_i32_be(std::int64_t value, std::size_t offset) {
  return put<std::int32_t, true>(value, offset);
}
std::size_t buffer::write_u64_le(std::uint64_t value, std::size_t offset) {
  return put<std::uint64_t, false>(value, offset);
}
std::size_t buffer::write_u64_be(std::uint64_t value, std::size_t offset) {
  return put<std::uint64_t, true>(value, offset);
}
std::size_t buffer::write_i64_le(std::int64_t value, std::size_t offset) {
  return put<std::int64_t, false>(value, offset);
}
std::size_t buffer::write_i64_be(std::int64_t value, std::size_t offset) {
  return put<std::int64_t, true>(value, offset);
}
std::size_t buffer::write_float_le(float value, std::size_t offset) { return put<float, false>(value, offset); }
std::size_t buffer::write_float_be(float value, std::size_t offset) { return put<float, true>(value, offset); }
std::size_t buffer::write_double_le(double value, std::size_t offset) { return put<double, false>(value, offset); }
std::size_t buffer::write_double_be(double value, std::size_t offset) { return put<double, true>(value, offset); }

// ---- The pool of chunks ----

namespace {

constexpr std::size_t cache_line = 64;

// In front of each chunk's bytes, a cache line of its own.
struct alignas(cache_line) chunk : buffer_store {
  buffer_pool::state* home = nullptr;
  chunk* next = nullptr;
};
static_assert(sizeof(chunk) == cache_line);

std::byte* bytes_of(chunk* from) noexcept { return reinterpret_cast<std::byte*>(from + 1); }

void free_chunk(chunk* freed) noexcept { ::operator delete(freed, std::align_val_t{cache_line}); }

void free_chunks(chunk* list) noexcept {
  while (list != nullptr) free_chunk(std::exchange(list, list->next));
}

// A chunk that waits for reuse belongs to nobody, and the address sanitizer is told so.
void mark_unused([[maybe_unused]] chunk* kept, [[maybe_unused]] std::size_t size) noexcept {
#if WEIR_ASAN
  ASAN_POISON_MEMORY_REGION(bytes_of(kept), size);
#endif
}
void mark_used([[maybe_unused]] chunk* taken, [[maybe_unused]] std::size_t size) noexcept {
#if WEIR_ASAN
  ASAN_UNPOISON_MEMORY_REGION(bytes_of(taken), size);
#endif
}

}  // namespace

// Lives until the last handle and the last chunk in use are gone.
struct buffer_pool::state {
  const std::size_t chunk_size;
  const std::size_t max_cached;
  detail::spin_lock lock{};
  chunk* free = nullptr;  // these and what follows: under the lock
  std::size_t handles = 1;
  std::size_t cached = 0;
  std::size_t in_use = 0;
  std::uint64_t made = 0;
  std::uint64_t reused = 0;

  chunk* take_cached() noexcept {
    detail::spin_guard guard(lock);
    ++in_use;
    if (free == nullptr) {
      ++made;
      return nullptr;
    }
    --cached;
    ++reused;
    return std::exchange(free, free->next);
  }

  void allocation_failed() noexcept {
    detail::spin_guard guard(lock);
    --in_use;
    --made;
  }

  void give_back(chunk* returned) noexcept {
    detail::spin_guard guard(lock);
    --in_use;
    if (handles != 0 && cached < max_cached) {
      mark_unused(returned, chunk_size);
      returned->next = std::exchange(free, returned);
      ++cached;
      return;
    }
    const bool last = handles == 0 && in_use == 0;
    guard.unlock();
    free_chunk(returned);
    if (last) delete this;
  }

  chunk* take_all() noexcept {
    cached = 0;
    return std::exchange(free, nullptr);
  }
};

namespace {

void end_chunk(buffer_store* store) noexcept {
  auto* returned = static_cast<chunk*>(store);
  returned->home->give_back(returned);
}

}  // namespace

buffer_pool::buffer_pool(const buffer_pool_options& options) {
  check_size(options.chunk_size);
  if (options.chunk_size == 0) out_of_range("chunk_size", fmt::format(">= 1 && <= {}", buffer::limit()), 0);
  state_ = new state{.chunk_size = options.chunk_size, .max_cached = options.max_cached};
}

buffer_pool::buffer_pool(const buffer_pool& other) noexcept : state_(other.state_) {
  if (state_ == nullptr) return;
  detail::spin_guard guard(state_->lock);
  ++state_->handles;
}

buffer_pool::~buffer_pool() {
  if (state_ == nullptr) return;
  detail::spin_guard guard(state_->lock);
  if (--state_->handles != 0) return;
  auto* list = state_->take_all();
  const bool last = state_->in_use == 0;
  guard.unlock();
  free_chunks(list);
  if (last) delete state_;
}

buffer buffer_pool::take() {
  const auto size = state_->chunk_size;
  auto* taken = state_->take_cached();
  if (taken == nullptr) {
    void* block = ::operator new(sizeof(chunk) + size, std::align_val_t{cache_line}, std::nothrow);
    if (block == nullptr) {
      state_->allocation_failed();
      throw std::bad_alloc();
    }
    taken = new (block) chunk;
    taken->end = end_chunk;
    taken->home = state_;
  } else {
    mark_used(taken, size);
    taken->shares.store(1, std::memory_order_relaxed);
  }
  return buffer(bytes_of(taken), size, taken);
}

void buffer_pool::trim() noexcept {
  detail::spin_guard guard(state_->lock);
  auto* list = state_->take_all();
  guard.unlock();
  free_chunks(list);
}

std::size_t buffer_pool::chunk_size() const noexcept { return state_->chunk_size; }

buffer_pool_stats buffer_pool::stats() const noexcept {
  detail::spin_guard guard(state_->lock);
  return {.chunk_size = state_->chunk_size,
          .cached = state_->cached,
          .in_use = state_->in_use,
          .made = state_->made,
          .reused = state_->reused};
}

// ---- Secrets and limits ----

void secure_wipe(std::span<std::byte> secret) noexcept {
  if (!secret.empty()) ::explicit_bzero(secret.data(), secret.size());
}

bool constant_time_equal(std::span<const std::byte> a, std::span<const std::byte> b) noexcept {
  if (a.size() != b.size()) return false;
  std::byte difference{0};
  for (std::size_t i = 0; i < a.size(); ++i) difference |= a[i] ^ b[i];
  asm volatile("" : "+r"(difference));  // what follows is not to be known while the loop runs
  return difference == std::byte{0};
}

bool timing_safe_equal(std::span<const std::byte> a, std::span<const std::byte> b) {
  if (a.size() != b.size()) throw error(errc::err_crypto_timing_safe_equal_length);
  return constant_time_equal(a, b);
}

buffer require_at_most(buffer bytes, std::size_t max) {
  if (bytes.size() > max) throw error(errc::err_buffer_too_large, fmt::format("Buffer exceeds max size: {}", max));
  return bytes;
}

}  // namespace weir
