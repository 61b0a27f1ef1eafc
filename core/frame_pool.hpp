// core/frame_pool.hpp: where coroutine frames and task records come from. Each thread keeps free lists by
// size; surplus moves in batches through a shared depot, so that a frame made on one worker and freed
// on another costs no lock in the common case. Memory is kept for reuse, not returned to the system.
#pragma once

#include <cstddef>
#include <cstdint>

namespace weir {

/// How much the frame pool has done since the program started, summed over threads that have ended and
/// the calling thread.
struct frame_pool_stats {
  std::uint64_t allocations = 0;  ///< frames handed out
  std::uint64_t refills = 0;      ///< times a thread's list was empty and had to be filled
  std::uint64_t oversize = 0;     ///< frames too large for the pool, taken from the heap
};

frame_pool_stats frame_pool_statistics() noexcept;

namespace detail {

/// Not inlined on purpose: the address of a thread-local may not be kept across a suspension, and
/// these are called from inside coroutines that change threads.
[[nodiscard]] void* frame_allocate(std::size_t size);
void frame_free(void* frame, std::size_t size) noexcept;

}  // namespace detail
}  // namespace weir
