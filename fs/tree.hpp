// fs/tree.hpp: what walking, removing and copying of trees share: a directory read in large pieces, and a stack of work
// that a few threads share and fill themselves. Private to fs.
#pragma once

#include <weir/core/signals_blocked.hpp>
#include <weir/fs/directory.hpp>
#include <weir/fs/stat.hpp>
#include <weir/io/descriptor.hpp>

#include <condition_variable>
#include <cstddef>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace weir::fs::detail {

/// A directory's entries, without "." and "..", in the system's order. Rests on getdents64(2): many per system call.
class directory_reader {
 public:
  using entry = entry_block::entry;  ///< valid until the next call

  /// Opens the directory `name` below the descriptor `parent`. @param flags O_NOFOLLOW or 0 @return 0 or an errno
  int open(int parent, const char* name, int flags) noexcept;
  /// Takes over a directory that is open.
  void adopt(io::descriptor opened) noexcept;
  io::descriptor release() noexcept;
  void close() noexcept { release().close(); }

  bool is_open() const noexcept { return static_cast<bool>(fd_); }
  int fd() const noexcept { return fd_.get(); }

  /// The next entry; false at the end, and after a failure, which `error` has as an errno. Types that the file system
  /// does not tell are asked for.
  bool next(entry& found);
  int error() const noexcept { return error_; }

 private:
  bool fill() noexcept;

  io::descriptor fd_;
  entry_block block_;  // kept from one directory to the next
  int error_ = 0;
};

/// The kind of what is at `name`; a symbolic link's own unless `follow`. unknown if that cannot be found out.
file_type type_at(int parent, const char* name, bool follow) noexcept;

/// What makes it this file.
struct file_id {
  std::uint64_t dev = 0;
  std::uint64_t ino = 0;
  friend bool operator==(const file_id&, const file_id&) = default;
};
/// @return nothing if the system does not tell
std::optional<file_id> id_of(int fd) noexcept;

/// How many threads pay for one tree: as many as there are CPUs, four at most.
unsigned tree_threads();

/// Work that makes more of itself: the last added is taken first. `run` works until there is none, on the calling
/// thread and, once there is enough for them, on others, which end before it does. `Context` is what each thread has
/// of its own.
template <class Item, class Context>
class crew {
 public:
  using function = void (*)(void* owner, crew&, Item&&, Context&);

  crew(unsigned threads, void* owner, function work) : limit_(threads), owner_(owner), work_(work) {}

  void add(Item item) {
    std::lock_guard lock(mutex_);
    items_.push_back(std::move(item));
    if (idle_ > 0) wake_.notify_one();
  }
  void add(std::vector<Item>& several) {
    if (several.empty()) return;
    std::lock_guard lock(mutex_);
    for (auto& each : several) items_.push_back(std::move(each));
    several.clear();
    if (idle_ > 0) wake_.notify_all();
  }

  std::optional<Item> try_take() {
    std::lock_guard lock(mutex_);
    if (items_.empty()) return std::nullopt;
    std::optional<Item> taken(std::move(items_.back()));
    items_.pop_back();
    return taken;
  }

  std::size_t size() const {
    std::lock_guard lock(mutex_);
    return items_.size();
  }

  /// Drops what is left. What is being worked on goes on.
  void stop() noexcept {
    std::lock_guard lock(mutex_);
    stopped_ = true;
    wake_.notify_all();
  }

  /// @throws the first that `work` threw
  void run(Context& mine) {
    serve(mine);
    for (auto& each : helpers_) each.join();
    helpers_.clear();
    if (failed_) std::rethrow_exception(failed_);
  }

  /// What the other threads of `run` had.
  const std::vector<std::unique_ptr<Context>>& others() const noexcept { return others_; }

 private:
  // Fewer than this many waiting are not worth a thread.
  static constexpr std::size_t worth_a_thread = 4;

  void serve(Context& mine) {
    std::unique_lock lock(mutex_);
    for (;;) {
      while (items_.empty() && busy_ > 0 && !stopped_) {
        ++idle_;
        wake_.wait(lock);
        --idle_;
      }
      if (items_.empty() || stopped_) break;
      Item taken = std::move(items_.back());
      items_.pop_back();
      ++busy_;
      if (items_.size() >= worth_a_thread && helpers_.size() + 1 < limit_) add_helper();
      lock.unlock();
      work(std::move(taken), mine);
      lock.lock();
      if (--busy_ == 0 && items_.empty()) wake_.notify_all();
    }
  }

  void work(Item&& taken, Context& mine) noexcept {
    try {
      work_(owner_, *this, std::move(taken), mine);
    } catch (...) {
      std::lock_guard lock(mutex_);
      if (!failed_) failed_ = std::current_exception();
      stopped_ = true;
    }
  }

  // Under the lock. Without it the others do the work.
  void add_helper() noexcept {
    try {
      weir::detail::signals_blocked quiet;
      auto& own = *others_.emplace_back(std::make_unique<Context>());
      helpers_.emplace_back([this, &own] { serve(own); });
    } catch (const std::exception&) {
      limit_ = 0;
    }
  }

  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<Item> items_;
  std::vector<std::thread> helpers_;
  std::vector<std::unique_ptr<Context>> others_;
  std::exception_ptr failed_;
  std::size_t limit_;
  std::size_t busy_ = 0;
  std::size_t idle_ = 0;
  bool stopped_ = false;
  void* owner_;
  function work_;
};

}  // namespace weir::fs::detail
