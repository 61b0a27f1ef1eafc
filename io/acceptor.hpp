// io/acceptor.hpp: connections that have been accepted before they are asked for. One accept stays armed in the
// kernel and brings any number of connections; a consumer that lags stops it, and the rest waits in the kernel's
// backlog. Out of descriptors or memory it pauses and tries again. A stop loses none: who was accepted can be taken
// still. Lives on one worker: for loop-affine fibers.
#pragma once

#include <weir/core/backend.hpp>
#include <weir/core/home_wait.hpp>
#include <weir/core/result.hpp>
#include <weir/core/task.hpp>
#include <weir/core/timer_wheel.hpp>
#include <weir/io/descriptor.hpp>

#include <chrono>
#include <cstddef>
#include <vector>

namespace weir::io {

class stop_wait;

struct acceptor_options {
  /// Accepted connections that may wait for the consumer. With so many the accept is stopped, and armed again when
  /// the consumer has taken them all; what the kernel has accepted by then, a backlog at most, is kept too.
  unsigned credit = 64;
};

/// Accepts on one listening socket. The object stays where it is from the first `next` until `stop` has completed,
/// and is used on the worker where it was first used. Several acceptors, on different workers, may share a socket.
class acceptor {
 public:
  /// @param listener a listening stream socket, which must outlive this and is not closed by it
  explicit acceptor(int listener, acceptor_options options = {}) noexcept : fd_(listener), options_(options) {}
  acceptor(const acceptor&) = delete;
  acceptor& operator=(const acceptor&) = delete;
  /// `stop` must have completed if `next` was ever called. Closes what nobody has taken.
  ~acceptor();

  class [[nodiscard]] next_awaiter : private detail::home_wait {
   public:
    explicit next_awaiter(acceptor& from) noexcept : from_(&from) {}
    bool await_ready() const noexcept { return from_->ready(); }
    template <detail::weir_promise P>
    bool await_suspend(std::coroutine_handle<P> h) noexcept {
      return suspend(*h.promise().running, h);
    }
    descriptor await_resume() const { return try_resume().value(); }
    result<descriptor> try_resume() const;

   private:
    friend class acceptor;
    bool suspend(detail::fiber& f, std::coroutine_handle<> h) noexcept;
    bool stop() noexcept override;
    const char* what() const noexcept override { return "accept"; }

    acceptor* from_;
    bool stopped_ = false;
  };

  /// `co_await a.next()` waits for the next connection and gives its descriptor (close-on-exec), in the order of the
  /// kernel's backlog. Connections that broke before they were accepted are passed over. Shortages (EMFILE, ENFILE,
  /// ENOBUFS, ENOMEM) are waited out: nothing is lost, nothing spins. Throws weir::error ("accept EINVAL") once the
  /// socket listens no more; after `stop` it gives what is left, then throws ERR_CLOSED. Cancelling it loses no
  /// connection. One fiber at a time.
  next_awaiter next() noexcept { return next_awaiter(*this); }

  /// Connections accepted and not taken.
  std::size_t queued() const noexcept { return accepted_.size() - first_; }

  /// How often a shortage of descriptors or memory made it pause.
  std::size_t pauses() const noexcept { return pauses_; }

  /// Ends the accept. What has been accepted by then, and what is in the backlog at that moment (the kernel may have
  /// told nobody but us of it), stays to be taken by `next`; who comes later is left to others that accept on the
  /// socket. Then a `next` that waits ends with ERR_CLOSED. Not cancelled; completes soon. Again, it does nothing; not
  /// twice at once.
  task<void> stop();

 private:
  struct request : operation {
    acceptor* of = nullptr;
  };
  struct pause : detail::timer_node {
    acceptor* of = nullptr;
  };

  bool ready() const noexcept { return queued() != 0 || (stopping_ ? stopped_ : failure_ != 0); }
  void submit() noexcept;
  void keep(int connection);
  void empty_backlog() noexcept;
  void wake() noexcept;
  void take_break() noexcept;
  void receive(const completion& report) noexcept;
  static void complete(operation& op, const completion& report) noexcept;

  int fd_;
  acceptor_options options_;
  request request_;
  pause pause_;
  detail::worker* home_ = nullptr;
  next_awaiter* reader_ = nullptr;
  stop_wait* stopper_ = nullptr;
  std::vector<int> accepted_;  // [first_, end) wait to be taken
  std::size_t first_ = 0;
  std::size_t pauses_ = 0;
  int failure_ = 0;
  bool armed_ = false;
  bool pausing_ = false;
  bool unready_ = false;  // the kernel does not wait on a socket in non-blocking mode: poll first
  bool stopping_ = false;
  bool stopped_ = false;
};

/// How long to leave accept(2) alone after that error; zero: it is no shortage of resources.
std::chrono::milliseconds accept_pause(int errno_value) noexcept;

/// Whether accept(2) reported a connection that broke before it was accepted: the next one may be fine.
bool accept_passes_over(int errno_value) noexcept;

}  // namespace weir::io
