#include <weir/io/receiver.hpp>

#include <weir/core/worker.hpp>
#include <weir/io/stop_wait.hpp>

#include <cassert>
#include <cerrno>
#include <new>

namespace weir::io {
namespace {

// Full buffers in a row that make a stream bulk, and small reads in a row that end it.
constexpr std::uint8_t full_for_bulk = 8;
constexpr std::uint8_t small_for_normal = 16;

// The large buffers of one thread. Receivers hold one while they are in bulk, which a peer can bring about and then
// go silent: hence the limit. What comes back last goes out first, while the cache still has it.
class large_buffers {
 public:
  std::unique_ptr<std::byte[]> lend(std::size_t size) noexcept {
    if (lent_ == most_lent) return nullptr;
    std::unique_ptr<std::byte[]> found;
    if (!kept_.empty() && kept_size_ == size) {
      found = std::move(kept_.back());
      kept_.pop_back();
    } else {
      found.reset(new (std::nothrow) std::byte[size]);
    }
    if (found) ++lent_;
    return found;
  }

  void give_back(std::unique_ptr<std::byte[]> buffer, std::size_t size) noexcept {
    --lent_;
    if (kept_size_ != size) kept_.clear();
    kept_size_ = size;
    if (kept_.capacity() == 0) kept_.reserve(most_kept);
    if (kept_.size() < most_kept) kept_.push_back(std::move(buffer));
  }

 private:
  static constexpr std::size_t most_lent = 32;
  static constexpr std::size_t most_kept = 4;
  std::vector<std::unique_ptr<std::byte[]>> kept_;
  std::size_t kept_size_ = 0;
  std::size_t lent_ = 0;
};

// Touched on the home worker only, between two suspensions.
[[gnu::noinline]] large_buffers& large() noexcept {
  static thread_local large_buffers buffers;
  return buffers;
}

}  // namespace

receiver::~receiver() { assert(!armed_ && !own_ && "weir::io::receiver destroyed without stop()"); }

std::size_t receiver::pooled_size() const noexcept { return home_->home().options().backend.buffer_size; }

void receiver::release_current() noexcept {
  if (current_pooled_) home_->io().recycle(current_buffer_);
  if (lends_own() && !bulk_) release_own();
  current_pooled_ = false;
  current_ = {};
}

// @return true if there is something to deliver, data or the end
bool receiver::advance() noexcept {
  release_current();
  return take();
}

bool receiver::take() noexcept {
  if (own_filled_ != 0) {  // pooled buffers are not asked for before these have been read
    current_ = {own_.get(), std::exchange(own_filled_, 0)};
    return true;
  }
  if (first_ == chunks_.size()) return ended_;
  auto& next = chunks_[first_++];
  current_ = {next.data, next.size};
  current_buffer_ = next.buffer;
  current_pooled_ = true;
  if (first_ == chunks_.size()) {
    chunks_.clear();
    first_ = 0;
  }
  return true;
}

/// Makes `own_` the buffer to receive into. @return false if there is none to be had
bool receiver::prepare_own() noexcept {
  if (own_ && own_large_ == bulk_) return true;
  release_own();
  own_large_ = bulk_;
  own_size_ = bulk_ ? options_.bulk_size : pooled_size();
  own_ = bulk_ ? large().lend(own_size_) : std::unique_ptr<std::byte[]>(new (std::nothrow) std::byte[own_size_]);
  return own_ != nullptr;
}

void receiver::release_own() noexcept {
  if (own_ && own_large_) large().give_back(std::move(own_), own_size_);
  own_.reset();
}

void receiver::submit() noexcept {
  request_.of = this;
  request_.on_complete = complete;
  request_.fd = fd_;
  request_.flags = 0;
  if (bulk_ && !prepare_own()) leave_bulk();
  if (!bulk_ && starved_ && !prepare_own()) return end(ENOMEM);
  bool pooled = !bulk_ && !starved_;
  starved_ = false;
  if (pooled && !lends_own()) release_own();
  request_.code = pooled ? opcode::recv_many : opcode::recv;
  request_.buffer = pooled ? nullptr : own_.get();
  request_.length = pooled ? 0 : static_cast<std::uint32_t>(own_size_);
  armed_ = true;
  home_->io().submit(request_);
}

void receiver::arm() noexcept {
  if (home_ == nullptr) home_ = detail::current_worker();
  if (armed_ || ended_ || stopping_) return;
  if (bulk_) leave_bulk();  // its one buffer may be in the consumer's hands, who is busy with something else
  if (wants_more()) submit();
}

/// Whether to go on receiving, asked when the receive has ended.
bool receiver::wants_more() const noexcept {
  if (ended_ || own_filled_ != 0) return false;
  if (bulk_) return reader_ != nullptr && !has_data();
  if (starved_) return !has_data() && !lends_own();
  return chunks_.size() - first_ < options_.credit;
}

void receiver::end(int failure) noexcept {
  ended_ = true;
  failure_ = failure;
  if (end_hook_ != nullptr) end_hook_(end_argument_);
}

void receiver::receive(const completion& report) noexcept {
  if (report.data != nullptr) return receive_pooled(report);
  if (report.result > 0) return receive_own(static_cast<std::size_t>(report.result));
  switch (report.result) {
    case -ENOBUFS: starved_ = true; return;
    case -ECANCELED:  // for want of credit, or to change buffers
    case -EINTR: return;
    default: end(-report.result);
  }
}

void receiver::receive_pooled(const completion& report) noexcept {
  if (first_ != 0 && chunks_.size() == chunks_.capacity()) {
    chunks_.erase(chunks_.begin(), chunks_.begin() + static_cast<std::ptrdiff_t>(first_));
    first_ = 0;
  }
  auto size = static_cast<std::size_t>(report.result);
  chunks_.push_back({report.data, static_cast<std::uint32_t>(size), report.buffer});
  full_ = size == pooled_size() ? static_cast<std::uint8_t>(full_ + (full_ < full_for_bulk)) : 0;
  if (full_ == full_for_bulk && !bulk_ && options_.bulk_size != 0) {
    bulk_ = true;
    small_ = 0;
  }
  if (report.more && (bulk_ || chunks_.size() - first_ >= options_.credit)) home_->io().cancel(request_);
}

void receiver::receive_own(std::size_t size) noexcept {
  own_filled_ = size;
  if (!bulk_) return;
  small_ = size <= pooled_size() ? static_cast<std::uint8_t>(small_ + 1) : 0;
  if (small_ == small_for_normal) leave_bulk();
}

void receiver::leave_bulk() noexcept {
  bulk_ = false;
  full_ = 0;
}

void receiver::complete(operation& op, const completion& report) noexcept {
  auto& self = *static_cast<request&>(op).of;
  self.armed_ = report.more;
  self.receive(report);
  self.wake();
}

void receiver::wake() noexcept {
  if (stopping_) {
    if (stopper_ != nullptr && !armed_) std::exchange(stopper_, nullptr)->end();
    return;
  }
  if (!armed_ && wants_more()) submit();
  if (reader_ != nullptr && (has_data() || ended_)) std::exchange(reader_, nullptr)->finish();
}

bool receiver::next_awaiter::suspend(detail::fiber& f, std::coroutine_handle<> h) noexcept {
  auto& r = *from_;
  if (r.home_ == nullptr) r.home_ = f.on;
  assert(r.home_ == f.on && "weir::io::receiver used on two workers");
  if (!begin(f, h)) {
    stopped_ = true;
    return false;
  }
  r.reader_ = this;
  if (r.armed_) return true;
  r.submit();
  if (r.ended_) r.wake();  // there was no memory to receive into
  return true;
}

// The receive itself goes on: what it brings stays for the next read.
bool receiver::next_awaiter::stop() noexcept {
  if (from_->reader_ != this) return false;
  from_->reader_ = nullptr;
  stopped_ = true;
  return true;
}

failure receiver::next_awaiter::why() const noexcept {
  if (stopped_) return failure(cancelled());
  return failure(net_error(from_->failure_, "read"));
}

task<void> receiver::stop() {
  if (home_ == nullptr) co_return;
  stopping_ = true;
  end_hook_ = nullptr;
  co_await stop_wait(armed_, request_, stopper_, "read");
  while (first_ != chunks_.size()) advance();
  release_current();
  own_filled_ = 0;
  release_own();
}

}  // namespace weir::io
