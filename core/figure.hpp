// core/figure.hpp: a number that one thread counts and any thread may read. Rests on nothing.
#pragma once

#include <atomic>
#include <cstdint>

namespace weir {

/// A count kept by one thread. Costs what a plain integer costs; readers see a value of the recent past.
class figure {
 public:
  figure() = default;
  figure(std::uint64_t value) noexcept : value_(value) {}  // NOLINT: reads like the number that it is
  figure(const figure& other) noexcept : value_(other.get()) {}
  figure& operator=(const figure& other) noexcept {
    value_.store(other.get(), std::memory_order_relaxed);
    return *this;
  }

  std::uint64_t get() const noexcept { return value_.load(std::memory_order_relaxed); }
  operator std::uint64_t() const noexcept { return get(); }  // NOLINT: as above

  // For the counting thread only.
  void add(std::uint64_t n = 1) noexcept { value_.store(get() + n, std::memory_order_relaxed); }
  void subtract(std::uint64_t n = 1) noexcept { value_.store(get() - n, std::memory_order_relaxed); }
  figure& operator++() noexcept {
    add();
    return *this;
  }
  figure& operator--() noexcept {
    subtract();
    return *this;
  }
  figure& operator+=(std::uint64_t n) noexcept {
    add(n);
    return *this;
  }

 private:
  std::atomic<std::uint64_t> value_{0};
};

}  // namespace weir
