// tests/fuzz/input.hpp: what the fuzz targets share: a check that ends the process, and choices taken from the input
// one after the other. An input that is used up chooses 0 for ever, so that every program made of one ends.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <source_location>
#include <string_view>

namespace weir::fuzzing {

inline void require(bool holds, std::source_location where = std::source_location::current()) {
  if (holds) return;
  std::fprintf(stderr, "not so: %s:%u\n", where.file_name(), static_cast<unsigned>(where.line()));
  std::abort();
}

class choices {
 public:
  choices(const std::uint8_t* data, std::size_t size) noexcept : data_(data), size_(size) {}

  bool empty() const noexcept { return at_ == size_; }
  std::uint8_t byte() noexcept { return empty() ? std::uint8_t{0} : data_[at_++]; }
  /// Less than `bound`.
  unsigned below(unsigned bound) noexcept { return byte() % bound; }
  bool one_in(unsigned n) noexcept { return byte() % n == n - 1; }
  std::uint32_t word() noexcept {
    std::uint32_t all = 0;
    for (int i = 0; i < 4; ++i) all = all << 8 | byte();
    return all;
  }
  /// A piece of the input itself, of `most` bytes or less.
  std::string_view text(std::size_t most) noexcept {
    const std::size_t wanted = byte() % (most + 1);
    const std::size_t count = wanted < size_ - at_ ? wanted : size_ - at_;
    const auto* from = reinterpret_cast<const char*>(data_) + at_;
    at_ += count;
    return {from, count};
  }
  std::string_view rest() noexcept {
    const auto* from = reinterpret_cast<const char*>(data_) + at_;
    const std::size_t count = size_ - at_;
    at_ = size_;
    return {from, count};
  }

 private:
  const std::uint8_t* data_;
  std::size_t size_;
  std::size_t at_ = 0;
};

}  // namespace weir::fuzzing
