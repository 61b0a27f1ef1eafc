// core/buffer.hpp: bytes that are shared, not copied: `buffer`, a slice of a reference-counted store with the
// operations of Node's Buffer, and `buffer_pool`, the recycled chunks that streams read into. Rests on core/encoding,
// core/error and the frame pool. A slice keeps its store alive; a small allocation costs no malloc.
#pragma once

#include <weir/core/config.hpp>
#include <weir/core/encoding.hpp>

#include <algorithm>
#include <atomic>
#include <bit>
#include <compare>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <memory>
#include <ranges>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace weir {

namespace detail {

/// What keeps the memory of buffers: a count of the buffers, and what to do after the last one.
struct buffer_store {
  std::atomic<std::uint32_t> shares{1};
  std::uint32_t block_size : 31 = 0;
  std::uint32_t read_only : 1 = 0;
  void (*end)(buffer_store*) noexcept = nullptr;
};

template <class T>
concept byte_like = std::same_as<T, std::byte> || (std::integral<T> && sizeof(T) == 1);

template <class T>
concept byte_container =
    std::ranges::contiguous_range<T> && std::ranges::sized_range<T> && byte_like<std::ranges::range_value_t<T>> &&
    std::is_object_v<T> && !std::ranges::borrowed_range<T> && std::move_constructible<T>;

/// JavaScript's ToUint8: the fraction is cut off, the rest taken modulo 256.
template <class T>
std::byte to_octet(T value) noexcept {
  if constexpr (std::floating_point<T>) {
    if (!(value > static_cast<T>(-9e15) && value < static_cast<T>(9e15))) return std::byte{0};
    return static_cast<std::byte>(static_cast<std::int64_t>(value));
  } else {
    return static_cast<std::byte>(value);
  }
}

}  // namespace detail

/// A slice of bytes and a share in the store that holds them: three words, cheap to copy, never empty-handed.
///
/// Copies and slices share memory: what one writes all see, as with Node's slices. So writing is never by accident:
/// every reading member is const, every writing one is not, and `mutable_bytes` is the only way to a pointer that
/// writes. `is_unique` tells whether anybody else looks; `make_unique` copies if so.
/// Memory may be read-only (a view of static data, an adopted read-only mapping): writing there throws
/// ERR_INVALID_STATE.
///
/// Converts to std::span<const std::byte>, being a contiguous range of them; pointers and spans live as long as any
/// buffer of the store. The count is atomic: copies may live and die on different threads, while one `buffer` object,
/// and bytes that somebody writes, are for one thread at a time like any value.
/// Moved from, a buffer is empty.
class buffer {
 public:
  using value_type = std::byte;
  using const_iterator = const std::byte*;
  using iterator = const_iterator;

  /// "To the end" as an argument, "not there" as a result. Equals -1 when converted to a signed type.
  static constexpr std::size_t npos = static_cast<std::size_t>(-1);

  // Making

  /// Empty; has no store.
  buffer() noexcept = default;
  buffer(const buffer& other) noexcept : data_(other.data_), size_(other.size_), store_(other.store_) { share(); }
  buffer(buffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)),
        size_(std::exchange(other.size_, 0)),
        store_(std::exchange(other.store_, nullptr)) {}
  buffer& operator=(const buffer& other) noexcept {
    if (this != &other) buffer(other).swap(*this);
    return *this;
  }
  buffer& operator=(buffer&& other) noexcept {
    if (this == &other) return *this;
    data_ = std::exchange(other.data_, nullptr);
    size_ = std::exchange(other.size_, 0);
    drop(std::exchange(store_, std::exchange(other.store_, nullptr)));
    return *this;
  }
  ~buffer() { drop(store_); }

  /// `size` bytes, all `fill`.
  /// @throws weir::error ERR_BUFFER_TOO_LARGE beyond `limit()`, ERR_OUT_OF_RANGE for a negative number
  [[nodiscard]] static buffer alloc(std::size_t size, std::byte fill = {});
  /// `size` bytes of `fill` over and over; of zeros if `fill` is empty.
  /// @throws weir::error also ERR_INVALID_ARG_VALUE if `fill` has text but stands for no byte
  [[nodiscard]] static buffer alloc(std::size_t size, std::string_view fill, encoding as = encoding::utf8);

  /// `size` bytes with whatever was there before, secrets included: write all of them before anybody reads.
  /// Below half of `pool_size()` they come from the thread's free blocks, each with a store of its own.
  [[nodiscard]] static buffer alloc_unsafe(std::size_t size);
  /// The same, always from the heap.
  [[nodiscard]] static buffer alloc_unsafe_slow(std::size_t size);

  /// The bytes that `text` stands for; never fails for bad text, see `encoding`.
  [[nodiscard]] static buffer from(std::string_view text, encoding as = encoding::utf8);
  /// A byte for each number: its fraction cut off, then modulo 256.
  [[nodiscard]] static buffer from_octets(std::initializer_list<int> octets) { return from_range(octets); }
  template <std::ranges::sized_range R>
    requires std::is_arithmetic_v<std::ranges::range_value_t<R>>
  [[nodiscard]] static buffer from_octets(const R& octets) {
    return from_range(octets);
  }
  /// A copy of its own.
  [[nodiscard]] static buffer copy_of(std::span<const std::byte> bytes);

  /// No copy and no store, for literals and other data that outlives every buffer. Read-only.
  [[nodiscard]] static buffer view_of_static(std::span<const std::byte> bytes) noexcept {
    return buffer(bytes.data(), bytes.size(), nullptr);
  }
  [[nodiscard]] static buffer view_of_static(std::string_view text) noexcept {
    return view_of_static(std::as_bytes(std::span(text)));
  }

  /// What `adopt` calls, on whatever thread the last buffer dies, with what was given to it.
  using release_function = void (*)(void* context, std::span<const std::byte> memory) noexcept;
  /// Memory of somebody else, which is writable and stays until `release` is called: at once if this throws bad_alloc.
  [[nodiscard]] static buffer adopt(std::span<std::byte> memory, release_function release, void* context = nullptr);
  /// The same for memory that must not be written, such as a mapping of a file.
  [[nodiscard]] static buffer adopt_read_only(std::span<const std::byte> memory, release_function release,
                                              void* context = nullptr);
  /// The bytes of a std::string, std::vector<char> and the like, which moves into the store.
  template <class Owner>
    requires detail::byte_container<Owner>
  [[nodiscard]] static buffer adopt(Owner owner);

  /// All of them, one after the other, in a new buffer.
  /// @param total the length of the result: the rest is cut off or zeros; `npos`: the sum of the lengths
  [[nodiscard]] static buffer concat(std::span<const buffer> list, std::size_t total = npos);
  [[nodiscard]] static buffer concat(std::initializer_list<buffer> list, std::size_t total = npos) {
    return concat(std::span(list.begin(), list.size()), total);
  }

  /// The length that no buffer may exceed: 4 GiB, as in Node 20, until set otherwise. For the whole program.
  [[nodiscard]] static std::size_t limit() noexcept;
  static void set_limit(std::size_t bytes) noexcept;
  /// Allocations below half of this are pooled: 8192 until set otherwise, 128 KiB at most. For the whole program.
  [[nodiscard]] static std::size_t pool_size() noexcept;
  static void set_pool_size(std::size_t bytes) noexcept;

  // Looking

  [[nodiscard]] const std::byte* data() const noexcept { return data_; }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] bool empty() const noexcept { return size_ == 0; }
  [[nodiscard]] const_iterator begin() const noexcept { return data_; }
  [[nodiscard]] const_iterator end() const noexcept { return data_ + size_; }
  [[nodiscard]] std::span<const std::byte> bytes() const noexcept { return {data_, size_}; }
  /// The bytes as characters, whatever they are. Lives as long as the store.
  [[nodiscard]] std::string_view text() const noexcept { return {reinterpret_cast<const char*>(data_), size_}; }

  /// Not checked: `index` must be less than size().
  std::byte operator[](std::size_t index) const noexcept { return data_[index]; }
  /// @throws weir::error ERR_OUT_OF_RANGE
  [[nodiscard]] std::byte at(std::size_t index) const;
  /// One byte, `value` modulo 256. @throws weir::error ERR_OUT_OF_RANGE
  void set(std::size_t index, int value);

  /// The bytes from `from` up to, not including, `to`, as text. Ends beyond the buffer are cut.
  [[nodiscard]] std::string to_string(encoding as = encoding::utf8, std::size_t from = 0, std::size_t to = npos) const;
  /// For people: "<Buffer 48 65 6c ... 12 more bytes>", at most `max_bytes` of them.
  [[nodiscard]] std::string inspect(std::size_t max_bytes = 50) const;
  /// `{"type":"Buffer","data":[72,101]}`
  [[nodiscard]] std::string to_json() const;

  // Sharing

  /// The bytes from `from` up to `to` in the same memory. Negative numbers count from the end; what lies outside is
  /// cut. Never throws.
  [[nodiscard]] buffer slice(std::ptrdiff_t from = 0,
                             std::ptrdiff_t to = std::numeric_limits<std::ptrdiff_t>::max()) const& noexcept;
  [[nodiscard]] buffer slice(std::ptrdiff_t from = 0,
                             std::ptrdiff_t to = std::numeric_limits<std::ptrdiff_t>::max()) && noexcept;
  /// Cuts the first `count` bytes off (all, if there are fewer) and returns them, in the same memory.
  [[nodiscard]] buffer take_front(std::size_t count) noexcept;
  /// Drops bytes at one end; at most all.
  void remove_prefix(std::size_t count) noexcept;
  void remove_suffix(std::size_t count) noexcept { size_ -= std::min(count, size_); }

  /// Whether the memory may be written and no other buffer has a share in the store. An empty one without a store is.
  [[nodiscard]] bool is_unique() const noexcept {
    if (store_ == nullptr) return size_ == 0;
    return store_->read_only == 0 && store_->shares.load(std::memory_order_acquire) == 1;
  }
  /// Whether `mutable_bytes` works: not for views of static data and what was adopted as read-only.
  [[nodiscard]] bool is_writable() const noexcept { return store_ == nullptr ? size_ == 0 : store_->read_only == 0; }
  /// Replaces the memory by a copy unless it is unique already. @return *this
  buffer& make_unique();

  /// The bytes for writing. Every buffer with a share sees what is written.
  /// @throws weir::error ERR_INVALID_STATE if the memory is read-only
  [[nodiscard]] std::span<std::byte> mutable_bytes() {
    if (!is_writable()) [[unlikely]]
      fail_read_only();
    return {const_cast<std::byte*>(data_), size_};
  }
  /// The same for `char`.
  [[nodiscard]] std::span<char> mutable_chars() {
    auto all = mutable_bytes();
    return {reinterpret_cast<char*>(all.data()), all.size()};
  }

  // Comparing

  /// Bytewise; a prefix is smaller than the whole: -1, 0 or 1.
  [[nodiscard]] static int compare(std::span<const std::byte> a, std::span<const std::byte> b) noexcept;
  [[nodiscard]] int compare(std::span<const std::byte> other) const noexcept { return compare(bytes(), other); }
  [[nodiscard]] bool equals(std::span<const std::byte> other) const noexcept {
    return size_ == other.size() && compare(other) == 0;
  }
  friend bool operator==(const buffer& a, const buffer& b) noexcept { return a.equals(b.bytes()); }
  friend std::strong_ordering operator<=>(const buffer& a, const buffer& b) noexcept { return a.compare(b) <=> 0; }

  // Searching: where `what` begins, or npos. `from` counts from the end if it is negative, and is cut to the buffer.
  // An empty `what` is found at `from`. For utf16le only even positions count, as in Node.

  [[nodiscard]] std::size_t index_of(std::span<const std::byte> what, std::ptrdiff_t from = 0) const noexcept;
  /// Bytes that are text of that encoding.
  [[nodiscard]] std::size_t index_of(std::span<const std::byte> what, std::ptrdiff_t from, encoding as) const;
  [[nodiscard]] std::size_t index_of(std::string_view what, std::ptrdiff_t from = 0,
                                     encoding as = encoding::utf8) const;
  [[nodiscard]] std::size_t index_of(int octet, std::ptrdiff_t from = 0) const noexcept;

  /// The last match that begins at `from` or before.
  static constexpr std::ptrdiff_t from_end = std::numeric_limits<std::ptrdiff_t>::max();
  [[nodiscard]] std::size_t last_index_of(std::span<const std::byte> what, std::ptrdiff_t from = from_end) const;
  [[nodiscard]] std::size_t last_index_of(std::span<const std::byte> what, std::ptrdiff_t from, encoding as) const;
  [[nodiscard]] std::size_t last_index_of(std::string_view what, std::ptrdiff_t from = from_end,
                                          encoding as = encoding::utf8) const;
  [[nodiscard]] std::size_t last_index_of(int octet, std::ptrdiff_t from = from_end) const noexcept;

  [[nodiscard]] bool includes(std::span<const std::byte> what, std::ptrdiff_t from = 0) const noexcept {
    return index_of(what, from) != npos;
  }
  [[nodiscard]] bool includes(std::string_view what, std::ptrdiff_t from = 0, encoding as = encoding::utf8) const {
    return index_of(what, from, as) != npos;
  }
  [[nodiscard]] bool includes(int octet, std::ptrdiff_t from = 0) const noexcept {
    return index_of(octet, from) != npos;
  }

  // Writing in place. All throw ERR_INVALID_STATE if the memory is read-only.

  /// Copies bytes [source_start, source_end) to `target` from `target_start` on, as many as fit; the two may overlap.
  /// @return how many
  /// @throws weir::error ERR_OUT_OF_RANGE if `source_start` lies beyond the end
  std::size_t copy(std::span<std::byte> target, std::size_t target_start = 0, std::size_t source_start = 0,
                   std::size_t source_end = npos) const;

  /// Fills [from, to) with one byte, or with the pattern over and over (with zeros if `pattern` is an empty text).
  /// @throws weir::error ERR_OUT_OF_RANGE if `to` lies beyond the end and is not npos, ERR_INVALID_ARG_VALUE for a
  ///   pattern of no bytes
  buffer& fill(int octet, std::size_t from = 0, std::size_t to = npos);
  buffer& fill(std::string_view pattern, encoding as = encoding::utf8, std::size_t from = 0, std::size_t to = npos);
  buffer& fill(std::span<const std::byte> pattern, std::size_t from = 0, std::size_t to = npos);

  /// Writes text from `offset` on: whole characters, no more than `length` bytes and what fits.
  /// @return how many bytes were written
  /// @throws weir::error ERR_OUT_OF_RANGE if `offset` lies beyond the end, or `length` exceeds size() and is not npos
  std::size_t write(std::string_view text, std::size_t offset = 0, encoding as = encoding::utf8,
                    std::size_t length = npos);

  /// Turns the byte order of each 2, 4 or 8 bytes around.
  /// @throws weir::error ERR_INVALID_BUFFER_SIZE if the size is not a multiple
  buffer& swap16();
  buffer& swap32();
  buffer& swap64();

  // Numbers at an offset. Everything is checked:
  // ERR_OUT_OF_RANGE for an offset from which there are too few bytes, or a value that does not fit;
  // ERR_BUFFER_OUT_OF_BOUNDS if the whole buffer is too small. A writer returns the offset behind what it wrote.

  [[nodiscard]] std::uint8_t read_u8(std::size_t offset = 0) const { return read<std::uint8_t, false>(offset); }
  [[nodiscard]] std::int8_t read_i8(std::size_t offset = 0) const { return read<std::int8_t, false>(offset); }
  [[nodiscard]] std::uint16_t read_u16_le(std::size_t offset = 0) const { return read<std::uint16_t, false>(offset); }
  [[nodiscard]] std::uint16_t read_u16_be(std::size_t offset = 0) const { return read<std::uint16_t, true>(offset); }
  [[nodiscard]] std::int16_t read_i16_le(std::size_t offset = 0) const { return read<std::int16_t, false>(offset); }
  [[nodiscard]] std::int16_t read_i16_be(std::size_t offset = 0) const { return read<std::int16_t, true>(offset); }
  [[nodiscard]] std::uint32_t read_u32_le(std::size_t offset = 0) const { return read<std::uint32_t, false>(offset); }
  [[nodiscard]] std::uint32_t read_u32_be(std::size_t offset = 0) const { return read<std::uint32_t, true>(offset); }
  [[nodiscard]] std::int32_t read_i32_le(std::size_t offset = 0) const { return read<std::int32_t, false>(offset); }
  [[nodiscard]] std::int32_t read_i32_be(std::size_t offset = 0) const { return read<std::int32_t, true>(offset); }
  [[nodiscard]] std::uint64_t read_u64_le(std::size_t offset = 0) const { return read<std::uint64_t, false>(offset); }
  [[nodiscard]] std::uint64_t read_u64_be(std::size_t offset = 0) const { return read<std::uint64_t, true>(offset); }
  [[nodiscard]] std::int64_t read_i64_le(std::size_t offset = 0) const { return read<std::int64_t, false>(offset); }
  [[nodiscard]] std::int64_t read_i64_be(std::size_t offset = 0) const { return read<std::int64_t, true>(offset); }
  [[nodiscard]] float read_float_le(std::size_t offset = 0) const { return read<float, false>(offset); }
  [[nodiscard]] float read_float_be(std::size_t offset = 0) const { return read<float, true>(offset); }
  [[nodiscard]] double read_double_le(std::size_t offset = 0) const { return read<double, false>(offset); }
  [[nodiscard]] double read_double_be(std::size_t offset = 0) const { return read<double, true>(offset); }

  /// Integers of `width` bytes. @throws weir::error also ERR_OUT_OF_RANGE unless 1 <= width <= 8
  [[nodiscard]] std::uint64_t read_uint_le(std::size_t offset, std::size_t width) const;
  [[nodiscard]] std::uint64_t read_uint_be(std::size_t offset, std::size_t width) const;
  [[nodiscard]] std::int64_t read_int_le(std::size_t offset, std::size_t width) const;
  [[nodiscard]] std::int64_t read_int_be(std::size_t offset, std::size_t width) const;

  std::size_t write_u8(std::int64_t value, std::size_t offset = 0);
  std::size_t write_i8(std::int64_t value, std::size_t offset = 0);
  std::size_t write_u16_le(std::int64_t value, std::size_t offset = 0);
  std::size_t write_u16_be(std::int64_t value, std::size_t offset = 0);
  std::size_t write_i16_le(std::int64_t value, std::size_t offset = 0);
  std::size_t write_i16_be(std::int64_t value, std::size_t offset = 0);
  std::size_t write_u32_le(std::int64_t value, std::size_t offset = 0);
  std::size_t write_u32_be(std::int64_t value, std::size_t offset = 0);
  std::size_t write_i32_le(std::int64_t value, std::size_t offset = 0);
  std::size_t write_i32_be(std::int64_t value, std::size_t offset = 0);
  std::size_t write_u64_le(std::uint64_t value, std::size_t offset = 0);
  std::size_t write_u64_be(std::uint64_t value, std::size_t offset = 0);
  std::size_t write_i64_le(std::int64_t value, std::size_t offset = 0);
  std::size_t write_i64_be(std::int64_t value, std::size_t offset = 0);
  std::size_t write_float_le(float value, std::size_t offset = 0);
  std::size_t write_float_be(float value, std::size_t offset = 0);
  std::size_t write_double_le(double value, std::size_t offset = 0);
  std::size_t write_double_be(double value, std::size_t offset = 0);

  std::size_t write_uint_le(std::uint64_t value, std::size_t offset, std::size_t width);
  std::size_t write_uint_be(std::uint64_t value, std::size_t offset, std::size_t width);
  std::size_t write_int_le(std::int64_t value, std::size_t offset, std::size_t width);
  std::size_t write_int_be(std::int64_t value, std::size_t offset, std::size_t width);

  void swap(buffer& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(store_, other.store_);
  }

 private:
  friend class buffer_pool;

  // Takes over one share of `store`.
  buffer(const std::byte* data, std::size_t size, detail::buffer_store* store) noexcept
      : data_(data), size_(size), store_(store) {}

  void share() const noexcept {
    if (store_ != nullptr) store_->shares.fetch_add(1, std::memory_order_relaxed);
  }
  // The last owner needs no read-modify-write: nobody is left who could take a share.
  static void drop(detail::buffer_store* store) noexcept {
    if (store == nullptr) return;
    if (store->shares.load(std::memory_order_acquire) == 1 ||
        store->shares.fetch_sub(1, std::memory_order_acq_rel) == 1)
      store->end(store);
  }

  template <class R>
  static buffer from_range(const R& octets) {
    auto made = alloc_unsafe(static_cast<std::size_t>(std::ranges::size(octets)));
    std::ranges::transform(octets, made.mutable_bytes().begin(), [](auto each) { return detail::to_octet(each); });
    return made;
  }

  template <class T, bool big>
  T read(std::size_t offset) const {
    std::byte raw[sizeof(T)];
    if (size_ < sizeof(T) || offset > size_ - sizeof(T)) [[unlikely]]
      fail_offset(offset, sizeof(T));
    std::copy_n(data_ + offset, sizeof(T), raw);
    if constexpr (big == (std::endian::native == std::endian::little) && sizeof(T) > 1)
      std::reverse(raw, raw + sizeof(T));
    return std::bit_cast<T>(raw);
  }
  template <class T, bool big, class V>
  std::size_t put(V value, std::size_t offset);

  const std::byte* at_offset(std::size_t offset, std::size_t width) const;
  std::byte* at_offset_to_write(std::size_t offset, std::size_t width);

  [[noreturn]] WEIR_COLD void fail_offset(std::size_t offset, std::size_t width) const;
  [[noreturn]] WEIR_COLD static void fail_read_only();

  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
  detail::buffer_store* store_ = nullptr;
};

template <class Owner>
  requires detail::byte_container<Owner>
buffer buffer::adopt(Owner owner) {
  constexpr bool is_const = std::is_const_v<std::remove_reference_t<std::ranges::range_reference_t<Owner>>>;
  struct keeper : detail::buffer_store {
    explicit keeper(Owner&& given) : detail::buffer_store{1U, 0, is_const, release}, owner(std::move(given)) {}
    static void release(detail::buffer_store* self) noexcept { delete static_cast<keeper*>(self); }
    Owner owner;
  };
  auto* store = new keeper(std::move(owner));
  return buffer(reinterpret_cast<const std::byte*>(std::ranges::data(store->owner)), std::ranges::size(store->owner),
                store);
}

struct buffer_pool_options {
  std::size_t chunk_size = 64 * 1024;
  std::size_t max_cached = 64;  ///< chunks kept for reuse; what comes back beyond that goes to the heap
};

struct buffer_pool_stats {
  std::size_t chunk_size = 0;
  std::size_t cached = 0;    ///< chunks that wait for reuse
  std::size_t in_use = 0;    ///< chunks that some buffer has a share in
  std::uint64_t made = 0;    ///< chunks that had to be allocated
  std::uint64_t reused = 0;  ///< chunks handed out without an allocation
};

/// Chunks of one size, recycled: what a loop of reads takes its memory from without a malloc for each.
///
/// `take` and the release of a chunk, which happens where its last slice dies, may be on any thread. A chunk may
/// outlive the pool: it is then freed instead of kept. Copies of the handle are the same pool.
class buffer_pool {
 public:
  /// @throws weir::error ERR_OUT_OF_RANGE unless 1 <= chunk_size <= buffer::limit()
  explicit buffer_pool(const buffer_pool_options& options = {});
  buffer_pool(const buffer_pool& other) noexcept;
  buffer_pool(buffer_pool&& other) noexcept : state_(std::exchange(other.state_, nullptr)) {}
  buffer_pool& operator=(buffer_pool other) noexcept {
    std::swap(state_, other.state_);
    return *this;
  }
  ~buffer_pool();

  /// A chunk: unique, `chunk_size` bytes, aligned to a cache line, contents undefined as for `alloc_unsafe`.
  [[nodiscard]] buffer take();

  /// Frees what waits for reuse.
  void trim() noexcept;

  [[nodiscard]] std::size_t chunk_size() const noexcept;
  [[nodiscard]] buffer_pool_stats stats() const noexcept;

  struct state;

 private:
  state* state_;
};

/// Overwrites with zeros in a way that no optimiser removes (explicit_bzero(3)): for keys and passwords.
void secure_wipe(std::span<std::byte> secret) noexcept;

/// Whether the two are the same, in a time that depends on their lengths only. Different lengths are told at once.
[[nodiscard]] bool constant_time_equal(std::span<const std::byte> a, std::span<const std::byte> b) noexcept;

/// The same as Node's crypto.timingSafeEqual.
/// @throws weir::error ERR_CRYPTO_TIMING_SAFE_EQUAL_LENGTH if the lengths differ
[[nodiscard]] bool timing_safe_equal(std::span<const std::byte> a, std::span<const std::byte> b);

/// `bytes` if there are no more than `max` of them.
/// @throws weir::error ERR_BUFFER_TOO_LARGE "Buffer exceeds max size: <max>"
[[nodiscard]] buffer require_at_most(buffer bytes, std::size_t max);

}  // namespace weir
