#include <weir/sync/cache.hpp>

#include <string>

namespace weir::sync::detail {

using std::chrono::nanoseconds;
using std::chrono::steady_clock;

namespace {

void check(bool good, const char* what) {
  if (!good) throw error(errc::err_out_of_range, std::string("cache: ") + what);
}

}  // namespace

cache_book::cache_book(std::size_t max_entries, std::size_t max_weight, nanoseconds ttl, nanoseconds stale_for)
    : max_entries_(max_entries), max_weight_(max_weight), ttl_(ttl), stale_for_(stale_for) {
  check(max_entries != 0, "there must be room for at least 1 entry");
  check(max_weight != 0, "there must be room for a weight of at least 1");
  check(ttl >= nanoseconds(0), "the time to live must not be negative");
  check(stale_for >= nanoseconds(0), "the time to stand in must not be negative");
}

void cache_book::link(cache_node& node) noexcept {
  node.older = youngest_;
  node.younger = nullptr;
  (youngest_ != nullptr ? youngest_->younger : oldest_) = &node;
  youngest_ = &node;
}

void cache_book::unlink(cache_node& node) noexcept {
  (node.older != nullptr ? node.older->younger : oldest_) = node.younger;
  (node.younger != nullptr ? node.younger->older : youngest_) = node.older;
}

void cache_book::add(cache_node& node) noexcept {
  link(node);
  ++figures.entries;
  figures.weight += node.weight;
}

void cache_book::remove(cache_node& node) noexcept {
  unlink(node);
  --figures.entries;
  figures.weight -= node.weight;
}

void cache_book::make_youngest(cache_node& node) noexcept {
  if (&node == youngest_) return;
  unlink(node);
  link(node);
}

void cache_book::reweigh(cache_node& node, std::size_t weight) noexcept {
  figures.weight += weight - node.weight;
  node.weight = weight;
}

void cache_book::set_time(cache_node& node, std::optional<nanoseconds> ttl) const {
  check(!ttl || *ttl >= nanoseconds(0), "the time to live must not be negative");
  node.ttl = ttl.value_or(ttl_);
  renew(node);
}

void cache_book::renew(cache_node& node) noexcept {
  node.good_until = node.ttl == nanoseconds(0) ? steady_clock::time_point::max() : later(clock_here(), node.ttl);
}

cache_book::age cache_book::age_of(const cache_node& node) const noexcept {
  if (node.good_until == steady_clock::time_point::max()) return age::good;
  auto now = clock_here();
  if (now < node.good_until) return age::good;
  return now < later(node.good_until, stale_for_) ? age::stale : age::dead;
}

}  // namespace weir::sync::detail
