// sync/cache.hpp: values kept for a while, in bounded room, and loaded once however many ask. Rests on core's event;
// the order, the room and the figures are counted in cache.cpp, the values are held here.
#pragma once

#include <weir/core/event.hpp>
#include <weir/core/result.hpp>
#include <weir/core/task.hpp>
#include <weir/sync/clock.hpp>
#include <weir/sync/wait_queue.hpp>

#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <mutex>
#include <optional>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <vector>

namespace weir::sync {

/// Which entry leaves first when there is no room.
enum class cache_order : std::uint8_t {
  least_recently_used,  ///< reading or replacing an entry makes it the youngest
  oldest_first,         ///< in order of insertion, whatever is read; replacing keeps the place
};

/// Why an entry left.
enum class eviction : std::uint8_t { expired, capacity, replaced, erased, cleared };

template <class K, class V>
struct cache_options {
  std::size_t max_entries = 1000;                                    ///< at least 1
  std::size_t max_weight = std::numeric_limits<std::size_t>::max();  ///< of all entries together
  std::function<std::size_t(const K&, const V&)> weigh = {};         ///< not set: each entry weighs 1
  std::chrono::nanoseconds ttl = std::chrono::nanoseconds(0);        ///< how long an entry is good; 0: for ever
  bool renew_on_read = false;                                        ///< reading an entry begins its time anew
  /// How long after its time an entry may still stand in: for those who ask while another loads it anew, and for
  /// that one too if the load fails.
  std::chrono::nanoseconds stale_for = std::chrono::nanoseconds(0);
  cache_order order = cache_order::least_recently_used;
  /// Called when an entry has left, without a lock, by whoever made it leave. Must not throw.
  std::function<void(const K&, const V&, eviction)> on_evict = {};
};

struct cache_entry_options {
  std::optional<std::chrono::nanoseconds> ttl = {};  ///< of this entry; 0: for ever
};

struct cache_stats {
  std::size_t entries = 0, weight = 0;
  std::uint64_t hits = 0, misses = 0;
  std::uint64_t stale_hits = 0;  ///< answered with what was past its time
  std::uint64_t evicted = 0, expired = 0;
  std::uint64_t loads = 0, load_failures = 0;
  std::uint64_t joined = 0;  ///< waited for a load that was under way
};

namespace detail {

/// What an entry is to the book: a place in the order, a weight and an end.
struct cache_node {
  cache_node* older = nullptr;
  cache_node* younger = nullptr;
  std::chrono::steady_clock::time_point good_until = {};
  std::chrono::nanoseconds ttl = {};
  std::size_t weight = 1;
};

/// The order, the room and the figures of a cache.
class cache_book {
 public:
  /// @throws weir::error ERR_OUT_OF_RANGE for no room or a negative time
  cache_book(std::size_t max_entries, std::size_t max_weight, std::chrono::nanoseconds ttl,
             std::chrono::nanoseconds stale_for);

  void add(cache_node& node) noexcept;
  void remove(cache_node& node) noexcept;
  void make_youngest(cache_node& node) noexcept;
  void set_time(cache_node& node, std::optional<std::chrono::nanoseconds> ttl) const;
  static void renew(cache_node& node) noexcept;
  void reweigh(cache_node& node, std::size_t weight) noexcept;

  bool fits(std::size_t weight) const noexcept { return weight <= max_weight_; }
  bool over() const noexcept { return figures.entries > max_entries_ || figures.weight > max_weight_; }
  cache_node* oldest() const noexcept { return oldest_; }

  enum class age : std::uint8_t { good, stale, dead };
  age age_of(const cache_node& node) const noexcept;

  cache_stats figures;

 private:
  void link(cache_node& node) noexcept;
  void unlink(cache_node& node) noexcept;

  std::size_t max_entries_;
  std::size_t max_weight_;
  std::chrono::nanoseconds ttl_;
  std::chrono::nanoseconds stale_for_;
  cache_node* oldest_ = nullptr;
  cache_node* youngest_ = nullptr;
};

}  // namespace detail

/// A map of bounded size whose entries expire, leave when there is no room, and are loaded once.
///
/// Values are handed out as copies: let V be a shared_ptr where that is dear. All of it may be called from any
/// thread; K's hash and comparison and V's copy run under a lock and must not call the cache. Entries past their time
/// are dropped when they are come across, or by `sweep`. Must outlive its callers.
template <class K, std::copy_constructible V, class Hash = std::hash<K>, class Equal = std::equal_to<K>>
class cache {
 public:
  /// @throws weir::error ERR_OUT_OF_RANGE for no room or a negative time
  explicit cache(cache_options<K, V> options = {})
      : options_(std::move(options)),
        book_(options_.max_entries, options_.max_weight, options_.ttl, options_.stale_for) {}
  cache(const cache&) = delete;
  cache& operator=(const cache&) = delete;

  /// The value if it is there and good; it counts as used.
  std::optional<V> get(const K& key) {
    departures gone(*this);
    std::lock_guard guard(lock_);
    auto* found = find_good(key, gone);
    ++(found != nullptr ? book_.figures.hits : book_.figures.misses);
    if (found == nullptr) return std::nullopt;
    use(*found);
    return found->value;
  }

  /// The same without counting as used or in the figures.
  std::optional<V> peek(const K& key) const {
    std::lock_guard guard(lock_);
    auto at = entries_.find(key);
    if (at == entries_.end() || book_.age_of(at->second) != age::good) return std::nullopt;
    return at->second.value;
  }

  bool contains(const K& key) const { return peek(key).has_value(); }

  /// Stores a value, in place of the one that is there; a load of this key that is under way will not be stored.
  /// @return false if it weighs more than the whole cache may: then there is none any more
  bool put(const K& key, V value, cache_entry_options options = {}) {
    departures gone(*this);
    auto weight = weigh(key, value);
    std::lock_guard guard(lock_);
    loads_.erase(key);
    return store(key, std::move(value), weight, options, gone);
  }

  /// Forgets the value; a load of it that is under way will not be stored. @return false if there was none
  bool erase(const K& key) {
    departures gone(*this);
    std::lock_guard guard(lock_);
    loads_.erase(key);
    auto at = entries_.find(key);
    if (at == entries_.end()) return false;
    drop(at, eviction::erased, gone);
    return true;
  }

  /// Forgets everything.
  void clear() {
    departures gone(*this);
    std::lock_guard guard(lock_);
    loads_.clear();
    while (auto* first = book_.oldest()) {
      drop(entries_.find(*static_cast<entry*>(first)->key), eviction::cleared, gone);
    }
  }

  /// Drops what is past its time, and past the time in which it may stand in. @return how many
  std::size_t sweep() {
    departures gone(*this);
    std::lock_guard guard(lock_);
    std::size_t count = 0;
    for (auto* each = book_.oldest(); each != nullptr;) {
      auto* next = each->younger;
      if (book_.age_of(*each) == age::dead) {
        drop(entries_.find(*static_cast<entry*>(each)->key), eviction::expired, gone);
        ++count;
      }
      each = next;
    }
    return count;
  }

  /// The value; if there is none, what `load(key)` (or `load()`), a task of a V, completes with, which is stored.
  ///
  /// Of those who ask for a key meanwhile one loads, and the others wait for its outcome: its value, or its failure,
  /// which is not kept. If the one that loads is cancelled, another of them loads in its place. Cancelling one that
  /// waits leaves the load alone. What `put` and `erase` do to the key meanwhile wins over the load.
  template <class F>
  task<V> get_or_load(K key, F load, cache_entry_options options = {}) {
    for (;;) {
      departures gone(*this);
      auto found = look_up(key, gone);
      gone.announce();
      if (found.value) co_return std::move(*found.value);
      if (found.mine) co_return co_await load_as(std::move(found), key, load, options);
      co_await found.load->over.wait();
      auto& outcome = found.load->outcome;
      if (outcome && !*outcome) co_return outcome->failure();
      if (outcome) co_return std::as_const(**outcome);
    }
  }

  /// The keys from the next to leave to the last.
  std::vector<K> keys() const {
    std::lock_guard guard(lock_);
    std::vector<K> all;
    all.reserve(entries_.size());
    for (auto* each = book_.oldest(); each != nullptr; each = each->younger) {
      all.push_back(*static_cast<const entry*>(each)->key);
    }
    return all;
  }

  std::size_t size() const { return stats().entries; }

  cache_stats stats() const {
    std::lock_guard guard(lock_);
    return book_.figures;
  }

 private:
  using age = detail::cache_book::age;

  struct entry : detail::cache_node {
    explicit entry(V given) : value(std::move(given)) {}
    V value;
    const K* key = nullptr;
  };
  using map = std::unordered_map<K, entry, Hash, Equal>;

  /// A load that others wait for. Without an outcome once it is over: it was given up.
  struct loading {
    event over;
    std::optional<result<V>> outcome;
  };

  struct finding {
    std::optional<V> value = {};
    std::optional<V> stale = {};
    std::shared_ptr<loading> load = {};
    bool mine = false;
  };

  /// What has left under the lock and is announced, and destroyed, after it.
  class departures {
   public:
    explicit departures(cache& from) noexcept : from_(from) {}
    departures(const departures&) = delete;
    departures& operator=(const departures&) = delete;
    ~departures() { announce(); }

    void add(typename map::node_type&& node, eviction why) { nodes_.emplace_back(std::move(node), why); }
    void add_value(const K& key, V&& value) {
      if (from_.options_.on_evict) replaced_.emplace_back(key, std::move(value));
    }

    void announce() {
      for (auto& [key, value] : std::exchange(replaced_, {})) from_.options_.on_evict(key, value, eviction::replaced);
      for (auto& [node, why] : std::exchange(nodes_, {})) {
        if (from_.options_.on_evict) from_.options_.on_evict(node.key(), node.mapped().value, why);
      }
    }

   private:
    cache& from_;
    std::vector<std::pair<typename map::node_type, eviction>> nodes_;
    std::vector<std::pair<K, V>> replaced_;
  };

  /// Sees to it that a load is over for those who wait, whatever becomes of it.
  class load_end {
   public:
    load_end(cache& in, const K& key, std::shared_ptr<loading> load) noexcept
        : in_(in), key_(key), load_(std::move(load)) {}
    load_end(const load_end&) = delete;
    load_end& operator=(const load_end&) = delete;
    ~load_end() {
      {
        std::lock_guard guard(in_.lock_);
        in_.forget_load(key_, *load_);
      }
      load_->over.set();
    }

   private:
    cache& in_;
    const K& key_;
    std::shared_ptr<loading> load_;
  };

  std::size_t weigh(const K& key, const V& value) const { return options_.weigh ? options_.weigh(key, value) : 1; }

  entry* find_good(const K& key, departures& gone) {
    auto at = entries_.find(key);
    if (at == entries_.end()) return nullptr;
    auto how = book_.age_of(at->second);
    if (how == age::good) return &at->second;
    if (how == age::dead) drop(at, eviction::expired, gone);
    return nullptr;
  }

  void use(entry& e) noexcept {
    if (options_.order == cache_order::least_recently_used) book_.make_youngest(e);
    if (options_.renew_on_read) detail::cache_book::renew(e);
  }

  void drop(typename map::iterator at, eviction why, departures& gone) {
    book_.remove(at->second);
    if (why == eviction::expired) ++book_.figures.expired;
    if (why == eviction::capacity) ++book_.figures.evicted;
    gone.add(entries_.extract(at), why);
  }

  bool store(const K& key, V value, std::size_t weight, const cache_entry_options& options, departures& gone) {
    auto at = entries_.find(key);
    if (!book_.fits(weight)) {
      if (at != entries_.end()) drop(at, eviction::replaced, gone);
      return false;
    }
    if (at == entries_.end()) {
      entry made(std::move(value));
      book_.set_time(made, options.ttl);
      made.weight = weight;
      at = entries_.emplace(key, std::move(made)).first;
      at->second.key = &at->first;
      book_.add(at->second);
    } else {
      book_.set_time(at->second, options.ttl);
      gone.add_value(key, std::exchange(at->second.value, std::move(value)));
      book_.reweigh(at->second, weight);
      if (options_.order == cache_order::least_recently_used) book_.make_youngest(at->second);
    }
    while (book_.over()) {
      auto* first = book_.oldest();
      if (first == &at->second) first = first->younger;  // what was just stored stays
      drop(entries_.find(*static_cast<entry*>(first)->key), eviction::capacity, gone);
    }
    return true;
  }

  finding look_up(const K& key, departures& gone) {
    finding found;
    std::lock_guard guard(lock_);
    if (auto* good = find_good(key, gone)) {
      ++book_.figures.hits;
      use(*good);
      found.value = good->value;
      return found;
    }
    auto old = entries_.find(key);
    auto& load = loads_[key];
    found.mine = load == nullptr;
    if (found.mine) load = std::make_shared<loading>();
    found.load = load;
    if (old != entries_.end()) (found.mine ? found.stale : found.value) = old->second.value;
    if (found.mine) {
      ++book_.figures.misses;
      ++book_.figures.loads;
    } else {
      ++(found.value ? book_.figures.stale_hits : book_.figures.joined);
    }
    return found;
  }

  template <class F>
  task<V> load_as(finding found, const K& key, F& load, const cache_entry_options& options) {
    auto& mine = *found.load;
    load_end end(*this, key, found.load);
    auto outcome = co_await attempt(call(load, key));
    if (!outcome && (co_await weir::detail::this_fiber{}).must_stop()) outcome.failure().rethrow();
    finish_load(mine, key, outcome, found.stale, options);
    mine.outcome.emplace(std::move(outcome));
    if (!*mine.outcome) co_return mine.outcome->failure();
    co_return std::as_const(**mine.outcome);
  }

  template <class F>
  static task<V> call(F& load, const K& key) {
    if constexpr (std::is_invocable_v<F&, const K&>) {
      co_return co_await load(key);
    } else {
      co_return co_await load();
    }
  }

  void finish_load(loading& mine, const K& key, result<V>& outcome, std::optional<V>& stale,
                   const cache_entry_options& options) {
    departures gone(*this);
    if (outcome) {
      auto weight = weigh(key, *outcome);
      std::lock_guard guard(lock_);
      if (forget_load(key, mine)) store(key, *outcome, weight, options, gone);
      return;
    }
    std::lock_guard guard(lock_);
    ++book_.figures.load_failures;
    if (!stale) return;
    ++book_.figures.stale_hits;
    outcome = std::move(*stale);
  }

  /// @return false if `put` or `erase` has come in between
  bool forget_load(const K& key, const loading& which) {
    auto at = loads_.find(key);
    if (at == loads_.end() || at->second.get() != &which) return false;
    loads_.erase(at);
    return true;
  }

  cache_options<K, V> options_;
  mutable std::mutex lock_;
  detail::cache_book book_;
  map entries_;
  std::unordered_map<K, std::shared_ptr<loading>, Hash, Equal> loads_;
};

}  // namespace weir::sync
