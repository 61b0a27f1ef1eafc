#include <weir/io/receiver.hpp>

#include <weir/core/worker.hpp>

#include <cassert>
#include <cerrno>

namespace weir::io {
namespace {

// Full buffers in a row that make a stream bulk, and small reads in a row that end it.
constexpr std::uint8_t full_for_bulk = 8;
constexpr std::uint8_t small_for_normal = 16;

}  // namespace

class receiver::stop_awaiter : private detail::home_wait {
 public:
  explicit stop_awaiter(receiver& r) noexcept : receiver_(r) {}
  bool await_ready() const noexcept { return !receiver_.armed_; }
  template <detail::weir_promise P>
  void await_suspend(std::coroutine_handle<P> h) noexcept {
    begin_always(*h.promise().running, h);
    receiver_.stopper_ = this;
    receiver_.home_->io().cancel(receiver_.request_);
  }
  void await_resume() const noexcept {}
  void end() noexcept { finish(); }

 private:
  bool stop() noexcept override { return false; }
  const char* what() const noexcept override { return "read"; }
  receiver& receiver_;
};

receiver::~receiver() { assert(!armed_ && "weir::io::receiver destroyed without stop()"); }

void receiver::release_current() noexcept {
  if (current_pooled_) home_->io().recycle(current_buffer_);
  current_pooled_ = false;
  current_ = {};
}

// @return true if there is something to deliver, data or the end
bool receiver::advance() noexcept {
  release_current();
  return take();
}

bool receiver::take() noexcept {
  if (first_ != chunks_.size()) {
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
  return ended_;
}

void receiver::submit() noexcept {
  request_.of = this;
  request_.on_complete = complete;
  request_.fd = fd_;
  request_.flags = 0;
  if (bulk_) {
    if (!large_) large_ = std::make_unique_for_overwrite<std::byte[]>(options_.bulk_size);
    request_.code = opcode::recv;
    request_.buffer = large_.get();
    request_.length = static_cast<std::uint32_t>(options_.bulk_size);
  } else {
    large_.reset();
    request_.code = opcode::recv_many;
    request_.buffer = nullptr;
    request_.length = 0;
  }
  armed_ = true;
  home_->io().submit(request_);
}

void receiver::arm() noexcept {
  if (home_ == nullptr) home_ = detail::current_worker();
  // In bulk the one buffer is the consumer's until it comes back.
  if (!armed_ && !ended_ && !stopping_ && !bulk_ && chunks_.size() - first_ < options_.credit) submit();
}

void receiver::note_size(std::size_t size) noexcept {
  if (!bulk_) {
    full_ = size == home_->home().options().backend.buffer_size ? static_cast<std::uint8_t>(full_ + 1) : 0;
    bulk_ = full_ >= full_for_bulk;
    if (bulk_) small_ = 0;
    return;
  }
  small_ = size <= home_->home().options().backend.buffer_size ? static_cast<std::uint8_t>(small_ + 1) : 0;
  if (small_ >= small_for_normal) {
    bulk_ = false;
    full_ = 0;
  }
}

void receiver::end(int failure) noexcept {
  ended_ = true;
  failure_ = failure;
  if (end_hook_ != nullptr) end_hook_(end_argument_);
}

void receiver::receive(const completion& report) noexcept {
  if (report.data != nullptr) {
    chunks_.push_back({report.data, static_cast<std::uint32_t>(report.result), report.buffer});
    if (report.more && (chunks_.size() - first_ >= options_.credit || bulk_)) home_->io().cancel(request_);
    note_size(static_cast<std::size_t>(report.result));
    return;
  }
  if (report.result > 0) {
    note_size(static_cast<std::size_t>(report.result));
    current_ = {large_.get(), static_cast<std::size_t>(report.result)};
    return;
  }
  // Out of buffers, or ended for want of credit: the next read arms it again.
  if (report.result == -ENOBUFS || report.result == -ECANCELED) return;
  end(-report.result);
}

void receiver::complete(operation& op, const completion& report) noexcept {
  auto& self = *static_cast<request&>(op).of;
  self.armed_ = report.more;
  self.receive(report);
  self.wake();
}

void receiver::wake() noexcept {
  if (stopper_ != nullptr) {
    if (!armed_) std::exchange(stopper_, nullptr)->end();
    return;
  }
  if (reader_ == nullptr) return;
  if (!current_.empty() || has_data() || ended_) {
    std::exchange(reader_, nullptr)->finish();
  } else if (!armed_) {
    submit();
  }
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
  if (!r.armed_) r.submit();
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
  co_await stop_awaiter(*this);
  while (!chunks_.empty() && advance()) {
  }
  release_current();
}

}  // namespace weir::io
