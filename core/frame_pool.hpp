// core/frame_pool.hpp: where coroutine frames and task records come from. Each thread keeps free lists by
// size; surplus moves in batches through a shared depot, so that a frame made on one worker and freed
// on another costs no lock in the common case. Memory is kept for reuse, not returned to the system.
#pragma once

#include <weir/core/config.hpp>

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

struct frame_block {
  frame_block* next;
};

/// A thread's free blocks of one size. `room` is how many more it takes before some have to go.
struct frame_list {
  frame_block* head = nullptr;
  std::uint32_t room = 0;
};

/// What a thread has at hand.
struct frame_cache {
  static constexpr std::size_t granule = 16;
  static constexpr std::size_t largest = 2048;
  static constexpr std::size_t classes = largest / granule + 1;

  std::uint64_t allocations = 0;
  frame_list lists[classes];

  static constexpr std::size_t class_of(std::size_t size) noexcept { return (size + granule - 1) / granule; }
};

/// The cache of this thread; null before the first frame, and always where frames come from the heap.
///
/// A compiler may keep the address of a thread-local over a suspension, after which another thread runs the coroutine
/// (clang 16 does). The result of a volatile asm is never taken for that of another one; elsewhere a call that is not
/// inlined does it, for 3 ns per frame.
#if defined(__x86_64__) && defined(__LP64__)
WEIR_ALWAYS_INLINE frame_cache* frames_here() noexcept {
  frame_cache* here;
  asm volatile("movq weir_frame_cache@gottpoff(%%rip), %0\n\tmovq %%fs:(%0), %0" : "=r"(here));
  return here;
}
#else
frame_cache* frames_here() noexcept;
#endif

[[nodiscard]] void* frame_allocate(std::size_t size);
void frame_free(void* frame, std::size_t size) noexcept;

// What the two above do when there is more to it than the first of a list.
inline namespace WEIR_COMPILER {
[[nodiscard]] void* frame_allocate_slowly(std::size_t size);
void frame_free_slowly(void* frame, std::size_t size) noexcept;
}  // namespace WEIR_COMPILER

/// `frame_allocate`, expanded where the size is a constant.
WEIR_ALWAYS_INLINE void* take_frame(std::size_t size) {
  frame_cache* here = frames_here();
  if (here == nullptr || size > frame_cache::largest) [[unlikely]]
    return frame_allocate_slowly(size);
  auto& list = here->lists[frame_cache::class_of(size)];
  frame_block* first = list.head;
  if (first == nullptr) [[unlikely]]
    return frame_allocate_slowly(size);
  list.head = first->next;
  ++list.room;
  ++here->allocations;
  return first;
}

/// `frame_free`, expanded where the size is a constant.
WEIR_ALWAYS_INLINE void give_frame(void* frame, std::size_t size) noexcept {
  frame_cache* here = frames_here();
  if (here == nullptr || size > frame_cache::largest) [[unlikely]]
    return frame_free_slowly(frame, size);
  auto& list = here->lists[frame_cache::class_of(size)];
  if (list.room == 0) [[unlikely]]
    return frame_free_slowly(frame, size);
  auto* freed = static_cast<frame_block*>(frame);
  freed->next = list.head;
  list.head = freed;
  --list.room;
}

}  // namespace detail
}  // namespace weir
