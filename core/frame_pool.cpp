#include <weir/core/config.hpp>
#include <weir/core/frame_pool.hpp>

#include <atomic>
#include <mutex>
#include <new>

namespace weir {
namespace {

// Sanitizers see misuse of frames only if each is a block of the heap.
constexpr bool frames_from_heap = WEIR_ASAN != 0 || WEIR_TSAN != 0;

constexpr std::size_t granule = 16;
constexpr std::size_t largest = 2048;
constexpr std::size_t classes = largest / granule + 1;
constexpr std::uint32_t batch_length = 32;
constexpr std::uint32_t list_limit = 4 * batch_length;
constexpr std::size_t chunk_size = 256 * 1024;

struct block {
  block* next;
  block* next_batch;  // in the depot: the head of the next batch
};

// `room` is how many more blocks the list takes before some have to go. It is 0 in a list that has not been used
// either, so that the first free in a thread takes the slow path as well.
struct free_list {
  block* head = nullptr;
  std::uint32_t room = 0;
};

// What a thread has not carved of its chunk, for another to go on with.
struct remainder {
  remainder* next;
  std::byte* end;
};

struct depot {
  std::mutex mutex;
  block* batches[classes] = {};
  remainder* remainders = nullptr;
  std::atomic<std::uint64_t> allocations{0};
  std::atomic<std::uint64_t> refills{0};
  std::atomic<std::uint64_t> oversize{0};
};

depot& shared_depot() {
  static auto* instance = new depot;  // outlives every thread
  return *instance;
}

struct thread_cache {
  free_list lists[classes];
  std::byte* bump = nullptr;
  std::byte* bump_end = nullptr;
  std::uint64_t allocations = 0;
  std::uint64_t refills = 0;
  std::uint64_t oversize = 0;
};

// Zero-initialised and trivially destructible, so that reaching it is one instruction; `cache_owner`
// hands the lists back when the thread ends.
[[gnu::tls_model("initial-exec")]] constinit thread_local thread_cache cache;

void give_batch(std::size_t index, block* head) {
  auto& shared = shared_depot();
  std::lock_guard lock(shared.mutex);
  head->next_batch = shared.batches[index];
  shared.batches[index] = head;
}

void give_remainder() {
  if (static_cast<std::size_t>(cache.bump_end - cache.bump) < largest) return;
  auto& shared = shared_depot();
  std::lock_guard lock(shared.mutex);
  shared.remainders = new (cache.bump) remainder{shared.remainders, cache.bump_end};
}

struct cache_owner {
  ~cache_owner() {
    for (std::size_t i = 0; i < classes; ++i) {
      if (cache.lists[i].head != nullptr) give_batch(i, cache.lists[i].head);
      cache.lists[i] = {};
    }
    give_remainder();
    cache.bump = cache.bump_end = nullptr;
    auto& shared = shared_depot();
    shared.allocations += cache.allocations;
    shared.refills += cache.refills;
    shared.oversize += cache.oversize;
  }
};

// To be called before a thread holds anything: it hands back what is held when the thread ends.
void watch_thread() {
  thread_local cache_owner owner;
  static_cast<void>(&owner);
}

void next_chunk() {
  auto& shared = shared_depot();
  {
    std::lock_guard lock(shared.mutex);
    if (auto* left = shared.remainders; left != nullptr) {
      shared.remainders = left->next;
      cache.bump = reinterpret_cast<std::byte*>(left);
      cache.bump_end = left->end;
      return;
    }
  }
  cache.bump = static_cast<std::byte*>(::operator new(chunk_size));
  cache.bump_end = cache.bump + chunk_size;
}

block* carve(std::size_t size) {
  if (cache.bump == nullptr || static_cast<std::size_t>(cache.bump_end - cache.bump) < size) next_chunk();
  auto* made = reinterpret_cast<block*>(cache.bump);
  cache.bump += size;
  return made;
}

WEIR_COLD void* refill(std::size_t index) {
  watch_thread();
  ++cache.refills;
  auto& shared = shared_depot();
  block* head = nullptr;
  {
    std::lock_guard lock(shared.mutex);
    head = shared.batches[index];
    if (head != nullptr) shared.batches[index] = head->next_batch;
  }
  if (head == nullptr) return carve(index * granule);
  auto& list = cache.lists[index];
  list.head = head->next;
  list.room = list_limit;
  for (auto* each = list.head; each != nullptr; each = each->next) --list.room;
  return head;
}

WEIR_COLD void make_room(std::size_t index) noexcept {
  auto& list = cache.lists[index];
  if (list.head == nullptr) {
    watch_thread();
    list.room = list_limit;
    return;
  }
  block* head = list.head;
  block* last = head;
  for (std::uint32_t i = 1; i < batch_length; ++i) last = last->next;
  list.head = last->next;
  list.room += batch_length;
  last->next = nullptr;
  give_batch(index, head);
}

}  // namespace

namespace detail {

WEIR_NOINLINE void* frame_allocate(std::size_t size) {
  ++cache.allocations;
  if (frames_from_heap || size > largest) [[unlikely]] {
    ++cache.oversize;
    return ::operator new(size);
  }
  auto index = (size + granule - 1) / granule;
  auto& list = cache.lists[index];
  if (block* head = list.head; head != nullptr) [[likely]] {
    list.head = head->next;
    ++list.room;
    return head;
  }
  return refill(index);
}

WEIR_NOINLINE void frame_free(void* frame, std::size_t size) noexcept {
  if (frames_from_heap || size > largest) [[unlikely]] {
    ::operator delete(frame, size);
    return;
  }
  auto index = (size + granule - 1) / granule;
  auto& list = cache.lists[index];
  if (list.room == 0) [[unlikely]]
    make_room(index);
  auto* freed = static_cast<block*>(frame);
  freed->next = list.head;
  list.head = freed;
  --list.room;
}

}  // namespace detail

frame_pool_stats frame_pool_statistics() noexcept {
  auto& shared = shared_depot();
  return {shared.allocations + cache.allocations, shared.refills + cache.refills, shared.oversize + cache.oversize};
}

}  // namespace weir
