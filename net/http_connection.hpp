// net/http_connection.hpp: one connection of an HTTP server. Private to net.
#pragma once

#include <weir/core/timer_wheel.hpp>
#include <weir/core/worker.hpp>
#include <weir/io/receiver.hpp>
#include <weir/net/http_raw_stream.hpp>
#include <weir/net/http_server.hpp>
#include <weir/net/http_writer.hpp>

#include <ctime>

namespace weir::net::http {

// A request body that a handler did not want is read and thrown away up to this size, for the sake of the
// connection; beyond it closing is cheaper for both.
inline constexpr std::uint64_t discard_limit = 256 * 1024;

/// A line on standard error.
void complain(std::string_view what, const std::exception_ptr& why);

/// What the connections of one worker share.
struct server::shard {
  date_cache date;
  connection* first = nullptr;
  std::atomic<std::uint64_t> open{0};  // written by its worker and the acceptor
  figure accepted, requests, errors, handler_failures, timeouts, disconnects;

  std::string_view date_line() noexcept {
    timespec now;
    clock_gettime(CLOCK_REALTIME_COARSE, &now);
    return date.line(std::chrono::system_clock::time_point(std::chrono::seconds(now.tv_sec)));
  }
};

/// What few responses have.
struct response::extras {
  std::string text;  // of the trailers
  std::vector<line> trailers;
  std::function<void(ending)> on_end;

  std::string_view name_of(const line& l) const noexcept { return {text.data() + l.name, l.name_length}; }
  std::string_view value_of(const line& l) const noexcept { return {text.data() + l.value, l.value_length}; }
};

/// Reads requests, calls the handler, sends responses in order; one fiber. `run` once, then `leave`, which has to
/// complete before it goes.
class connection : private detail::timer_node, private detail::job {
 public:
  connection(server& owner, server::shard& shard, tcp_stream stream, detail::fiber& running);
  connection(const connection&) = delete;
  connection& operator=(const connection&) = delete;
  ~connection();

  /// Serves requests until the connection has to end.
  task<void> run();

  /// Says what is still to be said, then gives everything back. Bounded in time, and short once the server's own
  /// time is up.
  task<void> leave();

  /// The server closes: an idle connection ends now, a busy one behind its response. The worker's thread.
  void begin_close() noexcept;

  /// The server's time is up: what is still being said is left unsaid. The worker's thread.
  void end_now() noexcept;

  connection* next = nullptr;

 private:
  friend class raw_stream;
  friend class request;
  friend class response;

  /// Why the connection is given up.
  enum class end_reason : std::uint8_t {
    none,
    peer_left,
    head_timeout,
    request_timeout,
    idle,
    destroyed,
    slow_body,
    slow_reader,
    stalled
  };
  /// What it is busy with.
  enum class phase : std::uint8_t { idle, head, request };
  /// What a client did wrong within a request, so that it is not the handler's failure.
  struct fault {
    int status = 0;
    std::string_view reason;
    errc code = errc::none;
    std::string_view name;  // as the parser calls it
  };

  task<bool> answer();
  bool acceptable();
  void tell_end(ending how);
  task<void> call_handler();
  task<void> finish_response();
  void settle_failure(const failure& why);
  void await_head();
  void begin_request();
  task<bool> discard_body();
  task<bool> receive();
  task<void> ignore_rest();
  task<void> say_goodbye();
  /// Whether the client has ended or broken its side.
  bool lost() const noexcept { return in_.ended() || out_.failure() != 0 || write_failed_; }
  /// Whether a response without framing is not whole: only a reset tells the client so.
  bool cut_off() const noexcept { return response_.cut_short_ || (response_.until_close_ && !response_.ended_); }
  void refuse(int status, std::string_view why, std::string_view code = {});
  void ask_about(const client_error& what, std::size_t begin);
  void report(const std::exception_ptr& why);
  error blame(const fault& what);

  // For request, response and raw stream.
  void send_head(const body_framing& framing);
  head_result append_head(response_head& head);
  task<void> send_piece(std::span<const std::byte> piece);
  void announce_trailers(const body_framing& framing, std::string& names);
  void take_over();
  void cut() noexcept;
  const address& remote() noexcept;
  void check_worker() const;
  void queue_flush() noexcept;
  io::sender::drain_awaiter room() noexcept {
    auto mark = server_.options_.high_water_mark;
    if (out_.pending() > mark) watch_output();
    return out_.drain(mark);
  }

  // Deadlines: one timer, moved only when it fires early.
  static constexpr std::uint64_t never = ~std::uint64_t{0};

  /// How a client keeps up with a floor.
  struct pace {
    std::uint64_t until = never;  // when the stretch that is being waited ends
    std::uint64_t waited = 0;     // milliseconds of this stretch
    std::uint64_t moved = 0;      // bytes of this stretch; for output: acknowledged when it began
  };
  class body_wait;

  void start_timer(std::uint64_t at) noexcept;
  void watch_output() noexcept;
  void watch_idle() noexcept;
  void judge_output(std::uint64_t now) noexcept;
  void judge_idle(std::uint64_t now) noexcept;
  std::uint64_t acknowledged() const noexcept;
  void forget_paces() noexcept { body_pace_.until = output_pace_.until = idle_pace_.until = never; }
  void set_deadline(std::chrono::milliseconds after, end_reason then) noexcept;
  void clear_deadline() noexcept { deadline_ = never; }
  void give_up(end_reason why) noexcept;
  void end_idle() noexcept;
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
  raw_stream raw_;
  std::vector<header> header_views_;
  address remote_;
  fault fault_;
  std::uint64_t deadline_ = never;
  pace body_pace_;
  pace output_pace_;
  pace idle_pace_;
  std::uint64_t head_began_ = 0;  // in milliseconds of the loop
  std::uint64_t requests_ = 0;
  std::uint64_t bytes_in_ = 0;
  std::uint64_t bytes_out_ = 0;
  connection** link_ = nullptr;
  phase phase_ = phase::idle;
  end_reason at_deadline_ = end_reason::none;
  end_reason end_ = end_reason::none;
  bool remote_known_ = false;
  bool flush_queued_ = false;
  bool handling_ = false;
  bool closing_ = false;
  bool continue_wanted_ = false;
  bool refused_ = false;
  bool piece_under_way_ = false;
  bool leaving_ = false;
  bool time_is_up_ = false;
  bool write_failed_ = false;  // of what went past `out_`
};

/// Time spent waiting for a piece of a request body.
class connection::body_wait {
 public:
  explicit body_wait(connection& of) noexcept;
  body_wait(const body_wait&) = delete;
  body_wait& operator=(const body_wait&) = delete;
  ~body_wait();

 private:
  connection& of_;
  std::uint64_t began_;
};

}  // namespace weir::net::http
