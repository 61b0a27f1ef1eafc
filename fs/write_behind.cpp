#include <weir/fs/write_behind.hpp>

#include <weir/core/blocking_pool.hpp>
#include <weir/core/worker.hpp>
#include <weir/fs/error.hpp>
#include <weir/fs/write_all.hpp>

#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <span>
#include <utility>

namespace weir::fs::detail {
namespace {

constexpr std::size_t most_pieces = 256;  // given to the system at once

}  // namespace

write_behind::pushed write_behind::try_push(buffer& chunk) {
  std::lock_guard lock(mutex_);
  if (error_ != 0) return pushed::failed;
  if (queued_ != 0 && queued_ + chunk.size() > limit_) {
    room_.reset();
    return pushed::full;
  }
  queued_ += chunk.size();
  queue_.push_back(std::move(chunk));
  if (working_) return pushed::yes;
  working_ = true;
  idle_.reset();
  return pushed::start;
}

task<void> write_behind::push(buffer chunk) {
  for (;;) {
    switch (try_push(chunk)) {
      case pushed::yes: co_return;
      case pushed::failed: fail();
      case pushed::full: co_await room_.wait(); continue;
      case pushed::start: break;
    }
    break;
  }
  self_ = shared_from_this();
  run = [](blocking_job& job) noexcept { static_cast<write_behind&>(job).work(); };
  bool stopped = false;
  auto& here = *(co_await weir::detail::this_fiber{}).on;
  if (!here.home().blocking().submit(*this, stopped)) work();  // no thread is to be had: then this one waits
}

task<void> write_behind::flush() {
  for (;;) {
    {
      std::lock_guard lock(mutex_);
      if (error_ != 0) break;
      if (!working_) co_return;
    }
    co_await idle_.wait();
  }
  fail();
}

void write_behind::abandon() noexcept {
  std::lock_guard lock(mutex_);
  abandoned_ = true;
  queue_.clear();
}

void write_behind::fail() const { throw os_error(error_, "write", file_.path()); }

// Under the lock.
void write_behind::take_batch() {
  batch_.clear();
  while (!queue_.empty() && batch_.size() < most_pieces) {
    batch_.push_back(queue_.pop_front());
  }
}

void write_behind::work() noexcept {
  auto staying = std::move(self_);
  std::unique_lock lock(mutex_);
  for (;;) {
    take_batch();
    if (batch_.empty()) break;
    std::size_t size = 0;
    for (auto& each : batch_) size += each.size();
    lock.unlock();
    const bool fine = write_all();
    batch_.clear();
    lock.lock();
    queued_ -= size;
    if (!fine) {
      queue_.clear();
      queued_ = 0;
    }
    if (queued_ <= limit_ / 2) room_.set();
  }
  working_ = false;
  queued_ = 0;
  idle_.set();
  room_.set();
}

bool write_behind::write_all() noexcept {
  std::array<iovec, most_pieces> entries;  // NOLINT: filled as far as it is used
  std::size_t count = 0;
  for (auto& each : batch_) {
    if (!each.empty()) entries[count++] = {const_cast<std::byte*>(each.data()), each.size()};
  }
  std::span<iovec> left(entries.data(), count);
  while (!left.empty()) {
    const auto pieces = static_cast<int>(left.size());
    const auto written = without_signals([&] {
      return position_ ? ::pwritev(file_.descriptor(), left.data(), pieces, static_cast<off_t>(*position_))
                       : ::writev(file_.descriptor(), left.data(), pieces);
    });
    if (written < 0) {
      std::lock_guard lock(mutex_);
      error_ = static_cast<int>(-written);
      return false;
    }
    if (position_) *position_ += static_cast<std::uint64_t>(written);
    left = after(left, static_cast<std::size_t>(written));
  }
  return true;
}

}  // namespace weir::fs::detail
