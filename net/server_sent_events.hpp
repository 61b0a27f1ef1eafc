// net/server_sent_events.hpp: Server-Sent Events, the serving side: a response that goes on for as long as there is
// something to tell, in the form that a browser's EventSource reads (WHATWG HTML, section 9.2:
// https://html.spec.whatwg.org/multipage/server-sent-events.html). Rests on net/http_server. Promises that no text of
// an event can become another event or field, that a client that reads too slowly costs no more than the response's
// high-water mark, and that a stream ends when its client leaves, when its source does, or when it is told to.
#pragma once

#include <weir/core/abort.hpp>
#include <weir/core/task.hpp>
#include <weir/net/http_server.hpp>

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace weir::net::http {

/// One event. All text is UTF-8.
struct server_sent_event {
  /// What the listener gets: any number of lines, ended by LF, CRLF or CR, which arrive with LF between them. Sent, and
  /// so dispatched, even if it is empty.
  std::string data = {};
  std::string type = {};  ///< whom it is for: `addEventListener(type)`; empty: "message"
  /// What a client that connects anew says in Last-Event-ID; empty text makes it forget the one before.
  std::optional<std::string> id = {};
  std::optional<std::chrono::milliseconds> retry = {};  ///< how long it waits before it connects anew
};

/// Appends an event as it is sent, with the empty line that ends it.
/// @throws weir::error ERR_INVALID_CHAR for a line break in type or id, or a NUL in the id; ERR_OUT_OF_RANGE for a
///         negative retry. Then nothing is appended.
void append_event(std::string& to, const server_sent_event& event);

/// Appends a comment, one line for each of its own: clients pass over it.
void append_comment(std::string& to, std::string_view text);

struct event_stream_options {
  /// After so long without an event a comment is sent, so that nobody on the way takes the connection for dead and one
  /// that is dead is noticed. Zero: none.
  std::chrono::milliseconds keep_alive = std::chrono::seconds(15);
  std::optional<std::chrono::milliseconds> retry = {};  ///< sent at the start
  /// Ends `run` when it fires; the closing of the server does so in any case.
  abort_signal until = {};
};

/// The response to a client that listens. Used by the handler, on its worker; request and response must outlive it.
///
///   task<void> prices(request& req, response& res) {
///     event_stream out(req, res);
///     auto latest = price.observe();                       // a sync::watch: who is slow passes over some
///     co_await out.run([&]() -> task<std::optional<server_sent_event>> {
///       auto now = co_await latest.next();
///       if (!now) co_return std::nullopt;
///       co_return server_sent_event{.data = *now};
///     });
///   }
class event_stream {
 public:
  /// Where events come from: each call completes with the next one, or with nothing at the end. It is called when the
  /// one before has been handed over, so a source that gives the newest value lets a slow client pass over values, and
  /// one that queues makes its own limit. It is cancelled and called again for each keep-alive comment: what it waits
  /// for must not be lost then, as no await of weir's is.
  using source = std::function<task<std::optional<server_sent_event>>()>;

  /// Sets status 200 and the headers: Content-Type, no caching, and none of nginx's buffering. Nothing is sent yet.
  /// @throws weir::error ERR_HTTP_HEADERS_SENT
  event_stream(request& req, response& res, event_stream_options options = {});
  event_stream(const event_stream&) = delete;
  event_stream& operator=(const event_stream&) = delete;

  /// What the client had seen last when its connection broke; empty if it comes for the first time. Its word, not ours.
  std::string_view last_event_id() const noexcept { return request_.header("last-event-id"); }

  /// Sends the head, so that the client knows that it is connected, and `retry` if that is wanted. `run` and `send` do
  /// it where it has not been done. Completes as `send`.
  task<void> open();

  /// Sends one event. Completes when the response has room for more: that is the backpressure. Throws weir::error as
  /// `append_event` and `response::write`. Cancelled while it waits for room, the event goes out all the same.
  task<void> send(server_sent_event event);

  /// Sends what `next` gives until it gives nothing, `until` fires or the server closes, with comments in between where
  /// nothing comes; then ends the response. Where a client stands still then, that end waits for room like any other,
  /// and a closing server for its grace. HEAD is answered and ended at once. Throws what `next` throws, and as `send`;
  /// a client that leaves cancels it.
  task<void> run(source next);

 private:
  task<void> write(std::string text);

  request& request_;
  response& response_;
  event_stream_options options_;
  bool open_ = false;
};

}  // namespace weir::net::http
