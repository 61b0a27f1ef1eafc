#include <weir/core/frame_pool.hpp>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <new>
#include <utility>

#include <sys/mman.h>

// Reached by name from the asm in the header, which link-time optimisation does not see.
extern "C" {
[[gnu::used, gnu::tls_model("initial-exec")]] constinit thread_local weir::detail::frame_cache* weir_frame_cache =
    nullptr;
}

namespace weir {
namespace {

using detail::frame_block;
using detail::frame_cache;

// Sanitizers see misuse of frames only if each is a block of the heap.
constexpr bool frames_from_heap = WEIR_ASAN != 0 || WEIR_TSAN != 0;

// How many bytes of blocks of one size a list holds. A thread keeps two: the one in use, and a full one in reserve or
// none; what is beyond that goes through the depot, a whole list at a time. A recursion 1000 deep fits
// (perf/micro/compare: depth_level is 9 ns with these lists, 12 ns with lists of 128 blocks).
constexpr std::size_t list_bytes = 64 * 1024;

// A program that comes to hold many frames gets huge pages for them. That a page is touched for the first time costs
// more than a microsecond on a virtual machine, a third of it by the huge page: 1e6 tasks spawned for the first time
// cost 173 ns each without and 78 with them (perf/micro/compare: spawn_many).
constexpr std::size_t small_chunk = 256 * 1024;
constexpr std::size_t huge_chunk = 2 * 1024 * 1024;
constexpr std::size_t small_chunks = 16;

struct batch : frame_block {
  batch* next_batch;
  std::uint32_t length;
};

// What a block of this class takes. The smallest can still head a batch.
constexpr std::size_t size_of(std::size_t index) noexcept {
  return std::max<std::size_t>(index, 2) * frame_cache::granule;
}
static_assert(sizeof(batch) <= size_of(0));

constexpr std::uint32_t length_of(std::size_t index) noexcept {
  return static_cast<std::uint32_t>(list_bytes / size_of(index));
}

// What a thread has not carved of its chunk, for another to go on with.
struct remainder {
  remainder* next;
  std::byte* end;
};

struct chunk {
  std::byte* begin;
  std::byte* end;
};

struct depot {
  std::mutex mutex;
  std::atomic<batch*> batches[frame_cache::classes] = {};  // written under the mutex
  remainder* remainders = nullptr;
  std::size_t chunks = 0;
  std::atomic<std::uint64_t> allocations{0};
  std::atomic<std::uint64_t> refills{0};
  std::atomic<std::uint64_t> oversize{0};
};

depot& shared_depot() {
  static auto* instance = new depot;  // outlives every thread
  return *instance;
}

struct thread_cache : frame_cache {
  frame_block* reserves[classes] = {};
  std::byte* bump = nullptr;
  std::byte* bump_end = nullptr;
  std::uint64_t refills = 0;
  std::uint64_t oversize = 0;
};

void give_batch(std::size_t index, frame_block* head, std::uint32_t length) noexcept {
  auto& shared = shared_depot();
  std::lock_guard lock(shared.mutex);
  auto* below = shared.batches[index].load(std::memory_order_relaxed);
  shared.batches[index].store(new (head) batch{{head->next}, below, length}, std::memory_order_relaxed);
}

batch* take_batch(std::size_t index) noexcept {
  auto& shared = shared_depot();
  if (shared.batches[index].load(std::memory_order_relaxed) == nullptr) return nullptr;
  std::lock_guard lock(shared.mutex);
  auto* taken = shared.batches[index].load(std::memory_order_relaxed);
  if (taken != nullptr) shared.batches[index].store(taken->next_batch, std::memory_order_relaxed);
  return taken;
}

// What a thread holds goes back when it ends. Frames that are made or freed after that go through the depot. The cache
// itself is on the heap: a library that is loaded late finds little room for thread-locals that are reached at once.
class cache_owner {
 public:
  cache_owner() : cache_(new thread_cache) {
    if (!frames_from_heap) weir_frame_cache = cache_;
  }
  cache_owner(const cache_owner&) = delete;
  cache_owner& operator=(const cache_owner&) = delete;
  ~cache_owner() {
    gone = true;
    weir_frame_cache = nullptr;
    hand_back(*cache_);
    delete cache_;
  }

  thread_cache* cache() const noexcept { return cache_; }

  static constinit thread_local bool gone;

 private:
  static void hand_back(thread_cache& from) noexcept {
    for (std::size_t i = 0; i < frame_cache::classes; ++i) {
      const auto& list = from.lists[i];
      if (list.head != nullptr) give_batch(i, list.head, length_of(i) - list.room);
      if (from.reserves[i] != nullptr) give_batch(i, from.reserves[i], length_of(i));
    }
    auto& shared = shared_depot();
    shared.allocations += from.allocations;
    shared.refills += from.refills;
    shared.oversize += from.oversize;
    if (static_cast<std::size_t>(from.bump_end - from.bump) < frame_cache::largest) return;
    std::lock_guard lock(shared.mutex);
    shared.remainders = new (from.bump) remainder{shared.remainders, from.bump_end};
  }

  thread_cache* cache_;
};
constinit thread_local bool cache_owner::gone = false;

// @return null once the thread has ended
WEIR_NOINLINE thread_cache* cache_of_thread() noexcept {
  if (cache_owner::gone) return nullptr;
  thread_local cache_owner owner;
  return owner.cache();
}

std::byte* map_huge_chunk() {
  void* mapped = ::mmap(nullptr, 2 * huge_chunk, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) throw std::bad_alloc();
  auto* begin = static_cast<std::byte*>(mapped);
  auto before = -reinterpret_cast<std::uintptr_t>(begin) % huge_chunk;
  if (before != 0) ::munmap(begin, before);
  ::munmap(begin + before + huge_chunk, huge_chunk - before);
  ::madvise(begin + before, huge_chunk, MADV_HUGEPAGE);
  return begin + before;
}

chunk next_chunk() {
  auto& shared = shared_depot();
  bool huge = false;
  {
    std::lock_guard lock(shared.mutex);
    if (auto* left = shared.remainders; left != nullptr) {
      shared.remainders = left->next;
      return {reinterpret_cast<std::byte*>(left), left->end};
    }
    huge = ++shared.chunks > small_chunks;
  }
  auto size = huge ? huge_chunk : small_chunk;
  auto* begin = huge ? map_huge_chunk() : static_cast<std::byte*>(::operator new(size));
  return {begin, begin + size};
}

// One at a time, so that what is made together, a task's record and its frame, lies together.
void* carve(thread_cache& mine, std::size_t size) {
  if (static_cast<std::size_t>(mine.bump_end - mine.bump) < size) {
    auto fresh = next_chunk();
    mine.bump = fresh.begin;
    mine.bump_end = fresh.end;
  }
  return std::exchange(mine.bump, mine.bump + size);
}

void* refill(thread_cache& mine, std::size_t index) {
  auto& list = mine.lists[index];
  if (auto* reserve = std::exchange(mine.reserves[index], nullptr)) {
    list = {reserve->next, 1};
    return reserve;
  }
  ++mine.refills;
  auto* taken = take_batch(index);
  if (taken == nullptr) return carve(mine, size_of(index));
  list = {taken->next, length_of(index) - (taken->length - 1)};
  return taken;
}

// Begins a new list. One that has not been used yet has no room either.
void make_room(thread_cache& mine, std::size_t index) noexcept {
  auto& list = mine.lists[index];
  if (list.head != nullptr) {
    auto* reserve = std::exchange(mine.reserves[index], list.head);
    if (reserve != nullptr) give_batch(index, reserve, length_of(index));
  }
  list = {nullptr, length_of(index)};
}

}  // namespace

namespace detail {

#if !(defined(__x86_64__) && defined(__LP64__))
WEIR_NOINLINE frame_cache* frames_here() noexcept { return weir_frame_cache; }
#endif

void* frame_allocate(std::size_t size) { return take_frame(size); }
void frame_free(void* frame, std::size_t size) noexcept { give_frame(frame, size); }

inline namespace WEIR_COMPILER {

WEIR_COLD void* frame_allocate_slowly(std::size_t size) {
  auto* mine = cache_of_thread();
  if (mine != nullptr) ++mine->allocations;
  if (frames_from_heap || size > frame_cache::largest) {
    if (mine != nullptr) ++mine->oversize;
    return ::operator new(size);
  }
  auto index = frame_cache::class_of(size);
  if (mine != nullptr) {
    auto& list = mine->lists[index];
    if (list.head == nullptr) return refill(*mine, index);
    ++list.room;
    return std::exchange(list.head, list.head->next);
  }
  auto* taken = take_batch(index);
  if (taken == nullptr) return ::operator new(size_of(index));
  if (taken->next != nullptr) give_batch(index, taken->next, taken->length - 1);
  return taken;
}

WEIR_COLD void frame_free_slowly(void* frame, std::size_t size) noexcept {
  if (frames_from_heap || size > frame_cache::largest) {
    ::operator delete(frame, size);
    return;
  }
  auto index = frame_cache::class_of(size);
  auto* mine = cache_of_thread();
  if (mine == nullptr) return give_batch(index, new (frame) frame_block{nullptr}, 1);
  auto& list = mine->lists[index];
  if (list.room == 0) make_room(*mine, index);
  list.head = new (frame) frame_block{list.head};
  --list.room;
}

}  // namespace WEIR_COMPILER
}  // namespace detail

frame_pool_stats frame_pool_statistics() noexcept {
  auto& shared = shared_depot();
  frame_pool_stats all{shared.allocations, shared.refills, shared.oversize};
  if (const auto* mine = cache_of_thread()) {
    all.allocations += mine->allocations;
    all.refills += mine->refills;
    all.oversize += mine->oversize;
  }
  return all;
}

}  // namespace weir
