// sync/batcher.hpp: many small things as few large ones. `batcher` gathers items by number and time; `loader` makes
// one request of all the keys that are asked for in one turn of the loop (https://github.com/graphql/dataloader). Rests
// on scopes, which run the batches, and on semaphores. For one thread: the worker of the loop-affine task that made it.
#pragma once

#include <weir/core/event.hpp>
#include <weir/core/scope.hpp>
#include <weir/core/task.hpp>
#include <weir/sync/semaphore.hpp>

#include <chrono>
#include <concepts>
#include <cstddef>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

namespace weir::sync {

struct batch_options {
  std::size_t max_size = 100;  ///< a batch is handled at once when it has so many items, at least 1
  /// The longest that the first item of a batch waits; 0: until all that this turn of the loop has made ready has run,
  /// ticks and microtasks included.
  std::chrono::nanoseconds max_wait = std::chrono::milliseconds(10);
  std::size_t max_pending = 65536;  ///< items taken in and not yet handled
  std::size_t max_running = 1;      ///< batches handled at the same time; with 1 they are handled in order
};

namespace detail {

/// When to handle a batch, and how many at a time.
class batch_timer : public std::enable_shared_from_this<batch_timer> {
 public:
  batch_timer(scope& home, const batch_options& options);
  batch_timer(const batch_timer&) = delete;
  batch_timer& operator=(const batch_timer&) = delete;
  virtual ~batch_timer() = default;

  /// Handles what has been gathered. @return false if there was nothing
  bool flush();
  bool flush_quietly() noexcept;

  semaphore room;  ///< for items

 protected:
  void added();                                       ///< an item has come
  virtual std::size_t gathered() const noexcept = 0;  ///< items
  virtual task<> take() = 0;                          ///< the handling of what has been gathered, which is none then
  virtual void drop() noexcept = 0;                   ///< what has been gathered cannot be handled

 private:
  static task<> wait_for_more(std::shared_ptr<batch_timer> self, std::uint64_t batch);
  static task<> handle(std::shared_ptr<batch_timer> self, std::size_t count, task<> body);
  void stop_waiting() noexcept;

  scope& home_;
  batch_options options_;
  semaphore running_;
  std::uint64_t batch_ = 0;  // which one is being gathered
  std::optional<join_handle<>> waiting_;
};

template <class T>
class batch_of final : public batch_timer {
 public:
  using function_type = std::function<task<>(std::vector<T>)>;
  batch_of(scope& home, const batch_options& options, function_type handle)
      : batch_timer(home, options), handle_(std::move(handle)) {}

  void put(T item) {
    items_.push_back(std::move(item));
    added();
  }

 private:
  std::size_t gathered() const noexcept override { return items_.size(); }
  task<> take() override { return call(handle_, std::exchange(items_, {})); }
  void drop() noexcept override { items_.clear(); }

  static task<> call(const function_type& handle, std::vector<T> items) { co_await handle(std::move(items)); }

  function_type handle_;
  std::vector<T> items_;
};

}  // namespace detail

/// Gathers items and hands them over in batches, in order. Batches run as children of the scope `home`, which waits
/// for them: what `handle` throws fails it. If it is cancelled, items that wait are dropped. Must not outlive `home`;
/// going, it has the rest handled.
template <class T>
class batcher {
 public:
  /// @throws weir::error ERR_OUT_OF_RANGE for a limit of 0 or a negative wait
  batcher(scope& home, std::function<task<>(std::vector<T>)> handle, const batch_options& options = {})
      : core_(std::make_shared<detail::batch_of<T>>(home, options, std::move(handle))) {}
  batcher(batcher&&) noexcept = default;
  batcher& operator=(batcher&&) = delete;
  ~batcher() {
    if (core_) core_->flush_quietly();
  }

  /// Takes an item in. @throws weir::error ERR_QUEUE_FULL if too many wait or are being handled
  void push(T item) {
    auto one = core_->room.try_acquire(1);
    if (!one) throw error(errc::err_queue_full, "batcher: too many items wait");
    one->forget();
    core_->put(std::move(item));
  }

  /// `co_await b.add(item)` takes an item in as soon as there is room. Cancelling it leaves the item out.
  task<> add(T item) {
    auto core = core_;
    auto one = co_await core->room.acquire(1);
    one.forget();
    core->put(std::move(item));
  }

  /// Has what has been gathered handled now. @return false if that was nothing
  bool flush() { return core_->flush(); }

 private:
  std::shared_ptr<detail::batch_of<T>> core_;
};

struct loader_options {
  std::size_t max_batch = 100;
  std::chrono::nanoseconds max_wait = std::chrono::nanoseconds(0);  ///< see batch_options
  std::size_t max_running = 64;                                     ///< batches
  std::size_t max_cached = 1024;  ///< values kept for later loads, the oldest makes room; 0: none
};

/// Loads values by key, the keys of one turn of the loop with one call, and each once: equal keys share a load, as
/// long as it runs and while its value is cached. Meant to live as long as one request. T can be copied.
template <class Key, class T, class Hash = std::hash<Key>>
  requires std::copy_constructible<T>
class loader {
 public:
  /// Gets the values for some keys: as many results, in the same order. What it throws is the failure of all.
  using function_type = std::function<task<std::vector<result<T>>>(std::vector<Key>)>;

  loader(scope& home, function_type load, const loader_options& options = {})
      : table_(std::make_shared<table>()),
        batches_(home, [load = std::move(load)](std::vector<request> wanted) { return run(load, std::move(wanted)); },
                 {.max_size = options.max_batch,
                  .max_wait = options.max_wait,
                  .max_pending = semaphore::max_permits,
                  .max_running = options.max_running}) {
    table_->max_cached = options.max_cached;
  }

  /// `co_await l.load(key)` completes with the value, or throws what the load of this key failed with; failures are
  /// not cached. The key is asked for when this is called, not when it is awaited. Cancelling the await leaves the
  /// load to the others; if the scope is cancelled, it throws `cancelled`.
  [[nodiscard]] task<T> load(Key key) { return wait_for(want(std::move(key))); }

  /// Puts a value into the cache, unless there is one.
  void prime(const Key& key, T value) {
    if (table_->cells.contains(key)) return;
    auto made = std::make_shared<cell>();
    table_->cells.emplace(key, made);
    made->settle(*table_, key, std::move(value));
  }

  /// Forgets a value, or all; loads under way are not shared with later callers.
  void clear(const Key& key) { table_->drop(key); }
  void clear_all() {
    table_->cells.clear();
    table_->cached.clear();
  }

 private:
  struct table;

  /// One load, shared by all who want it.
  struct cell {
    event ready;
    std::optional<result<T>> outcome;

    void settle(table& in, const Key& key, result<T> how) {
      outcome.emplace(std::move(how));
      in.settled(key, *this);
      ready.set();
    }
  };

  struct table {
    std::unordered_map<Key, std::shared_ptr<cell>, Hash> cells;
    std::list<Key> cached;  // those that are settled, the oldest first
    std::size_t max_cached = 0;

    void settled(const Key& key, const cell& which) {
      auto found = cells.find(key);
      if (found == cells.end() || found->second.get() != &which) return;
      if (!which.outcome->has_value() || max_cached == 0) {
        cells.erase(found);
        return;
      }
      cached.push_back(key);
      if (cached.size() > max_cached) drop(Key(cached.front()));
    }
    void drop(const Key& key) {
      cells.erase(key);
      cached.remove(key);
    }
  };

  /// A cell that somebody has to settle. Dropped, it is cancelled.
  struct request {
    request(std::shared_ptr<table> in, Key of, std::shared_ptr<cell> shared)
        : all(std::move(in)), key(std::move(of)), to(std::move(shared)) {}
    request(request&&) noexcept = default;
    request& operator=(request&&) noexcept = default;
    ~request() {
      if (to) settle(failure(cancelled()));
    }
    void settle(result<T> how) { std::exchange(to, nullptr)->settle(*all, key, std::move(how)); }

    std::shared_ptr<table> all;
    Key key;
    std::shared_ptr<cell> to;
  };

  std::shared_ptr<cell> want(Key key) {
    auto found = table_->cells.find(key);
    if (found != table_->cells.end()) return found->second;
    auto made = std::make_shared<cell>();
    table_->cells.emplace(key, made);
    batches_.push(request(table_, std::move(key), made));
    return made;
  }

  static task<T> wait_for(std::shared_ptr<cell> shared) {
    co_await shared->ready.wait();
    co_return result<T>(*shared->outcome).value();
  }

  static task<std::vector<result<T>>> call(const function_type& load, std::vector<Key> keys) {
    co_return co_await load(std::move(keys));
  }

  static task<> run(const function_type& load, std::vector<request> wanted) {
    std::vector<Key> keys;
    for (const auto& each : wanted) keys.push_back(each.key);
    auto outcome = co_await attempt(call(load, std::move(keys)));
    if (outcome && outcome->size() != wanted.size()) {
      outcome = error(errc::err_invalid_return_value, "loader: as many results are needed as there are keys");
    }
    for (std::size_t i = 0; i < wanted.size(); ++i) {
      wanted[i].settle(outcome ? std::move((*outcome)[i]) : result<T>(outcome.failure()));
    }
  }

  std::shared_ptr<table> table_;
  batcher<request> batches_;
};

}  // namespace weir::sync
