// io/receiver.hpp: what arrives on a socket, before it is asked for. A receive stays armed in the kernel and
// fills pooled buffers; an idle connection holds none. A slow consumer stops the receive instead of bloating.
// A stream of full buffers switches to one large buffer that stays hot in the cache; where the pool is empty a
// small one of the receiver's own takes its place. Lives on one worker: for loop-affine fibers.
#pragma once

#include <weir/core/backend.hpp>
#include <weir/core/home_wait.hpp>
#include <weir/core/task.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace weir::io {

class stop_wait;

struct receiver_options {
  /// Pooled buffers that may wait for the consumer. With so many the receive is stopped, and armed again when the
  /// consumer has read them all; those that the kernel has filled by then are kept too (up to 32 or so).
  unsigned credit = 8;
  /// The large buffer, for bulk; 0: never. A worker lends 32 of them at a time, whoever comes later stays with
  /// pooled ones. Measured with perf/run stream: 64 to 256 KiB cost least per byte.
  std::size_t bulk_size = 256 * 1024;
};

/// Receives from one socket. The object stays where it is from the first `next` until `stop` has completed, and
/// is used by one fiber at a time, on the worker where it was first used.
class receiver {
 public:
  explicit receiver(int fd, receiver_options options = {}) noexcept : fd_(fd), options_(options) {}
  receiver(const receiver&) = delete;
  receiver& operator=(const receiver&) = delete;
  /// `stop` must have completed if `next` or `arm` was ever called.
  ~receiver();

  class [[nodiscard]] next_awaiter : private detail::home_wait {
   public:
    explicit next_awaiter(receiver& from) noexcept : from_(&from) {}
    bool await_ready() noexcept { return from_->advance(); }
    template <detail::weir_promise P>
    bool await_suspend(std::coroutine_handle<P> h) noexcept {
      return suspend(*h.promise().running, h);
    }
    std::span<const std::byte> await_resume() const {
      if (failed()) why().rethrow();
      return from_->current_;
    }
    result<std::span<const std::byte>> try_resume() const {
      if (failed()) return why();
      return from_->current_;
    }

   private:
    friend class receiver;
    bool suspend(detail::fiber& f, std::coroutine_handle<> h) noexcept;
    bool stop() noexcept override;
    const char* what() const noexcept override { return "read"; }
    bool failed() const noexcept {
      if (!stopped_ && from_->current_.empty()) from_->take();
      return stopped_ || (from_->current_.empty() && from_->failure_ != 0);
    }
    failure why() const noexcept;

    receiver* from_;
    bool stopped_ = false;
  };

  /// `co_await r.next()` completes with the bytes that have arrived, at least one, in order; empty at the end of the
  /// stream. They are valid until the next call of `next` or `stop`. Throws weir::error ("read ECONNRESET") once
  /// what arrived before has been read. Cancelling it loses nothing.
  next_awaiter next() noexcept { return next_awaiter(*this); }

  /// Whether `next` would complete at once with data.
  bool has_data() const noexcept { return first_ != chunks_.size() || own_filled_ != 0; }

  /// Whether the peer has ended the stream or broken it, with everything before still to be read.
  bool ended() const noexcept { return ended_; }

  /// Starts to receive without waiting, so that `on_end` is told even if nobody reads. Up to `credit` buffers fill.
  void arm() noexcept;

  /// Called once, from the worker's poll, when the end or a failure arrives. Must not run user code.
  void on_end(void (*hook)(void*) noexcept, void* argument) noexcept {
    end_hook_ = hook;
    end_argument_ = argument;
  }

  /// Ends the receive and gives every buffer back. Not cancelled; completes soon. Call it before the destructor.
  task<void> stop();

 private:
  struct chunk {
    const std::byte* data;
    std::uint32_t size;
    std::uint16_t buffer;
  };
  struct request : operation {
    receiver* of = nullptr;
  };

  bool advance() noexcept;
  bool take() noexcept;
  void release_current() noexcept;
  bool wants_more() const noexcept;
  void submit() noexcept;
  bool prepare_own() noexcept;
  void release_own() noexcept;
  /// Whether the consumer holds the own buffer.
  bool lends_own() const noexcept { return !current_.empty() && !current_pooled_; }
  void leave_bulk() noexcept;
  void wake() noexcept;
  void end(int failure) noexcept;
  void receive(const completion& report) noexcept;
  void receive_pooled(const completion& report) noexcept;
  void receive_own(std::size_t size) noexcept;
  std::size_t pooled_size() const noexcept;
  static void complete(operation& op, const completion& report) noexcept;

  int fd_;
  receiver_options options_;
  request request_;
  detail::worker* home_ = nullptr;
  next_awaiter* reader_ = nullptr;
  stop_wait* stopper_ = nullptr;
  std::vector<chunk> chunks_;  // [first_, end) wait to be read
  std::size_t first_ = 0;
  std::span<const std::byte> current_;
  std::uint16_t current_buffer_ = 0;
  bool current_pooled_ = false;
  bool armed_ = false;
  bool stopping_ = false;
  bool ended_ = false;
  bool bulk_ = false;
  bool starved_ = false;    // the pool was empty: the next receive is into a buffer of our own
  std::uint8_t full_ = 0;   // full buffers in a row
  std::uint8_t small_ = 0;  // small reads in a row, in bulk
  int failure_ = 0;
  std::unique_ptr<std::byte[]> own_;
  std::size_t own_size_ = 0;
  bool own_large_ = false;
  std::size_t own_filled_ = 0;  // bytes in it that wait to be read
  void (*end_hook_)(void*) noexcept = nullptr;
  void* end_argument_ = nullptr;
};

}  // namespace weir::io
