// io/sender.hpp: the writing side of a connection that answers many small requests. Bytes are gathered and go
// out with one send per batch, without the fiber waiting for it; a bound says when it has to. Lives on one
// worker: for loop-affine fibers.
#pragma once

#include <weir/core/backend.hpp>
#include <weir/core/home_wait.hpp>
#include <weir/core/task.hpp>

#include <cstddef>
#include <span>
#include <string>

namespace weir::io {

class stop_wait;

/// Sends to one socket. The object stays where it is until everything has been sent or has failed (`drain`), and is
/// used by one fiber at a time, always on the same worker.
class sender {
 public:
  explicit sender(int fd) noexcept : fd_(fd) {}
  sender(const sender&) = delete;
  sender& operator=(const sender&) = delete;
  /// Nothing may be in flight.
  ~sender();

  /// Where to append what is to be sent; `flush` hands it over.
  std::string& buffer() noexcept { return waiting_; }

  /// Starts to send what has been gathered, unless a send is in flight: then that goes first and the rest follows
  /// by itself. Never waits.
  void flush(detail::fiber& by) noexcept;

  /// Bytes gathered or in flight.
  std::size_t pending() const noexcept { return waiting_.size() + (sending_.size() - sent_); }

  /// The errno of the first send that failed, or 0. After that everything is discarded.
  int failure() const noexcept { return failure_; }

  class [[nodiscard]] drain_awaiter : private detail::home_wait {
   public:
    drain_awaiter(sender& of, std::size_t limit) noexcept : of_(&of), limit_(limit) {}
    bool await_ready() const noexcept { return of_->settled(limit_); }
    template <detail::weir_promise P>
    bool await_suspend(std::coroutine_handle<P> h) noexcept {
      return suspend(*h.promise().running, h);
    }
    void await_resume() const { try_resume().value(); }
    result<void> try_resume() const noexcept;

   private:
    friend class sender;
    bool suspend(detail::fiber& f, std::coroutine_handle<> h) noexcept;
    bool stop() noexcept override;
    const char* what() const noexcept override { return "write"; }
    sender* of_;
    std::size_t limit_;
    bool stopped_ = false;
  };

  /// `co_await s.drain(n)` completes when no more than `n` bytes are pending, and flushes where that takes a wait;
  /// throws weir::error ("write EPIPE") if a send failed. Cancelling it leaves the send alone.
  drain_awaiter drain(std::size_t limit = 0) noexcept { return drain_awaiter(*this, limit); }

  /// Sends `data` after everything gathered, and together with it, without copying it; it must stay until this
  /// completes. Cancelled, it may have sent a part.
  task<void> send(std::span<const std::byte> data);

  /// Ends what is in flight, sent or not, and discards the rest. Not cancelled. For a connection that is given up.
  task<void> stop();

 private:
  struct request : operation {
    sender* of = nullptr;
  };

  bool settled(std::size_t limit) const noexcept { return failure_ != 0 || pending() <= limit; }
  std::size_t send_at_once(std::span<const std::byte> data) noexcept;
  void submit() noexcept;
  void advance(int result) noexcept;
  static void complete(operation& op, const completion& report) noexcept;
  void wake() noexcept;

  int fd_;
  request request_;
  detail::worker* home_ = nullptr;
  drain_awaiter* drainer_ = nullptr;
  stop_wait* stopper_ = nullptr;
  std::string waiting_;
  std::string sending_;
  std::size_t sent_ = 0;
  int failure_ = 0;
  bool in_flight_ = false;
  bool flush_next_ = false;  // what waits was flushed while a send was in flight
};

}  // namespace weir::io
