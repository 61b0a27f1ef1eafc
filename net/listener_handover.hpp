// net/listener_handover.hpp: a running server hands its listening sockets to the process that takes its place, so that
// no connection is refused or lost while it is exchanged. Rests on tcp and on a Unix socket that carries descriptors
// (SCM_RIGHTS, unix(7)). Both processes share the queue of connections that wait: nothing in it is lost as long as one
// of them lives, which two sockets with SO_REUSEPORT cannot promise.
//
// The course of it: the successor asks, and gets the listeners; it begins to serve, and says so; the predecessor hears
// it and ends its part (stops accepting, answers what it has accepted), and the successor is told. If the successor
// does not come so far, nothing has changed. On the wire: each message is a header of 16 bytes ("weirhand", the version
// of the protocol, the kind, and two bytes of 0, then the length of what follows in 32 bits, little endian) and its
// text; the listeners come with one message, each name with one byte of length before it.
#pragma once

#include <weir/core/error.hpp>
#include <weir/core/task.hpp>
#include <weir/net/tcp.hpp>

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <sys/types.h>

namespace weir::net {

struct handover_options {
  std::chrono::milliseconds message_timeout = std::chrono::seconds(5);  ///< for each message of the other side but one:
  std::chrono::milliseconds ready_timeout = std::chrono::seconds(60);   ///< from the listeners to "I serve now"
  /// Whom the other process has to run as (SO_PEERCRED); none: as this one (the effective user).
  std::optional<uid_t> user = {};
  /// Told why a process that came did not become the successor. The predecessor serves on.
  std::function<void(const error&)> on_failure = {};
};

/// The predecessor's side. It keeps shares of its own of the listeners: a server that ends without a successor closes
/// the offer as well, lest connections queue up for nobody.
class listener_offer {
 public:
  /// Waits for a successor at a Unix address ("unix:/run/app.handover"). A file left by a process that has gone is
  /// replaced.
  /// @throws weir::error "listen EADDRINUSE..." if somebody offers there already; ERR_INVALID_ADDRESS
  explicit listener_offer(std::string_view where, handover_options options = {});

  /// @param name 1 to 255 bytes that no other listener of the offer has; the successor asks by it. At most 200.
  /// @throws weir::error ERR_INVALID_ARG_VALUE, ERR_OUT_OF_RANGE; "dup EMFILE"
  void add(std::string name, const tcp_listener& listener);

  /// `co_await offer.handed_over()` completes with the successor's process id once it serves: time to stop accepting.
  /// The offer is closed then; whoever asks next is the successor's guest. Cancelling it leaves things as they are,
  /// and it may be awaited again. One task at a time. Throws what makes accepting impossible.
  task<pid_t> handed_over();

  /// Gives up its shares. The socket's file stays; who asks there is refused, unless a successor listens.
  void close() noexcept;

  address local() const { return socket_.local(); }

 private:
  friend class taken_listeners;
  struct item {
    std::string name;
    socket_handle share;
  };
  listener_offer(tcp_listener socket, handover_options options);
  task<void> hand_over(tcp_stream& peer);
  task<void> pass(tcp_stream& peer);

  tcp_listener socket_;
  handover_options options_;
  std::vector<item> items_;
};

/// The successor's side: what it got, and its word to the predecessor. Dropping it before `serving` leaves the
/// predecessor in its place.
class taken_listeners {
 public:
  bool has(std::string_view name) const noexcept;
  std::vector<std::string> names() const;

  /// Takes one out. @throws weir::error ERR_INVALID_ARG_VALUE if there is none of that name (any more)
  tcp_listener take(std::string_view name);

  /// Goes on offering where the predecessor did, on the same socket: there is no moment at which nobody does. Once.
  /// @throws weir::error ERR_INVALID_STATE the second time
  listener_offer offer_on();

  /// `co_await taken.serving()` says that this process serves now, and completes when the predecessor has heard it, or
  /// has gone. Listeners that nobody took are closed first. Throws weir::error ETIMEDOUT if it is silent; serve on all
  /// the same. Once.
  task<void> serving();

 private:
  friend task<std::optional<taken_listeners>> request_listeners(std::string where, handover_options options);
  taken_listeners(tcp_stream predecessor, handover_options options);
  task<void> receive();

  struct item {
    std::string name;
    tcp_listener listener;
  };
  tcp_stream predecessor_;
  handover_options options_;
  std::vector<item> items_;
  std::optional<tcp_listener> offered_on_;
};

/// `co_await request_listeners("unix:/run/app.handover")` asks the process that offers there for its listeners; none if
/// nobody does (ENOENT, ECONNREFUSED): then this process is the first. Cancelling it, or a failure, leaves the other
/// one in its place. Throws weir::error: ERR_INVALID_STATE with the reason if it refuses, "handover EPERM" if it runs
/// as another user, ERR_INVALID_ARG_VALUE if it does not speak this protocol, ECONNRESET, ETIMEDOUT.
task<std::optional<taken_listeners>> request_listeners(std::string where, handover_options options = {});

}  // namespace weir::net
