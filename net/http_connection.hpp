// net/http_connection.hpp: one connection of an HTTP server. Private to net.
#pragma once

#include <weir/core/timer_wheel.hpp>
#include <weir/core/worker.hpp>
#include <weir/io/receiver.hpp>
#include <weir/net/http_server.hpp>
#include <weir/net/http_writer.hpp>

#include <ctime>

namespace weir::net::http {

/// What the connections of one worker share.
struct server::shard {
  date_cache date;
  connection* first = nullptr;
  std::atomic<std::uint64_t> open{0};  // written by its worker and the acceptor
  figure accepted, closed, requests, errors, handler_failures, disconnects;

  std::string_view date_line() noexcept {
    timespec now;
    clock_gettime(CLOCK_REALTIME_COARSE, &now);
    return date.line(std::chrono::system_clock::time_point(std::chrono::seconds(now.tv_sec)));
  }
};

/// Reads requests, calls the handler, sends responses in order; one fiber.
class connection : private detail::timer_node, private detail::job {
 public:
  connection(server& owner, server::shard& shard, tcp_stream stream, detail::fiber& running);
  connection(const connection&) = delete;
  connection& operator=(const connection&) = delete;
  ~connection();

  task<void> run();

  /// The server closes: an idle connection ends now, a busy one behind its response. The worker's thread.
  void begin_close() noexcept;

  connection* next = nullptr;

 private:
  friend class request;
  friend class response;

  /// Why the connection is given up.
  enum class end_reason : std::uint8_t { none, peer_left, head_timeout, request_timeout, idle_timeout, server_closed };

  task<bool> answer();
  task<void> finish_response();
  task<bool> discard_body();
  task<bool> receive();
  task<void> ignore_rest();
  task<void> leave();
  void refuse(int status, std::string_view why);
  void report(std::exception_ptr why);

  // For response.
  void send_head(const body_framing& framing);
  void queue_flush() noexcept;
  io::sender::drain_awaiter room() noexcept { return out_.drain(server_.options_.high_water_mark); }

  // Deadlines: one timer, moved only when it fires early.
  void set_deadline(std::chrono::milliseconds after, end_reason then) noexcept;
  void clear_deadline() noexcept { deadline_ = ~std::uint64_t{0}; }
  void expire() noexcept;
  void give_up(end_reason why) noexcept;
  static void timer_fired(detail::timer_node& node, detail::worker& w) noexcept;
  static void flush_now(detail::job& j, detail::worker& w) noexcept;
  static void peer_ended(void* self) noexcept;

  server& server_;
  server::shard& shard_;
  detail::fiber& fiber_;
  detail::worker& worker_;
  tcp_stream stream_;
  io::receiver in_;
  io::sender out_;
  parser parser_;
  std::string_view input_;
  request request_;
  response response_;
  std::vector<header> header_views_;
  address remote_;
  bool remote_known_ = false;
  std::uint64_t deadline_ = ~std::uint64_t{0};
  std::uint64_t requests_ = 0;
  connection** link_ = nullptr;
  end_reason at_deadline_ = end_reason::none;
  end_reason end_ = end_reason::none;
  bool flush_queued_ = false;
  bool handling_ = false;
  bool idle_ = true;
  bool closing_ = false;
  bool continue_wanted_ = false;
};

}  // namespace weir::net::http
