// net/server_sent_events.cpp: the text form of events, and the loop that sends them.
#include <weir/net/server_sent_events.hpp>

#include <weir/core/error.hpp>
#include <weir/core/result.hpp>

#include <charconv>
#include <utility>

namespace weir::net::http {
namespace {

using pulled = std::optional<result<std::optional<server_sent_event>>>;

void append_lines(std::string& to, std::string_view field, std::string_view text) {
  for (;;) {
    auto end = text.find_first_of("\r\n");
    to.append(field).append(text.substr(0, end)).append("\n");
    if (end == std::string_view::npos) return;
    bool both = text.substr(end, 2) == "\r\n";
    text.remove_prefix(end + (both ? 2 : 1));
  }
}

void check_line(std::string_view text, std::string_view forbidden, const char* what) {
  if (text.find_first_of(forbidden) == std::string_view::npos) return;
  throw error(errc::err_invalid_char, std::string("the ") + what + " of an event has a line break or NUL");
}

void append_retry(std::string& to, std::chrono::milliseconds retry) {
  char digits[24];
  to.append("retry: ").append(digits, std::to_chars(digits, digits + sizeof digits, retry.count()).ptr).append("\n");
}

void check_retry(const std::optional<std::chrono::milliseconds>& retry) {
  if (!retry || retry->count() >= 0) return;
  throw error(errc::err_out_of_range, "the retry of an event is negative");
}

// A failure of the source is kept apart from that of whoever bounds the wait; only being cancelled passes through.
task<void> pull(const event_stream::source& next, pulled& into) {
  auto got = co_await attempt(next());
  if (!got && got.failure().is_cancelled()) static_cast<void>(got.value());
  into.emplace(std::move(got));
}

task<void> pull_within(std::chrono::milliseconds limit, const event_stream::source& next, pulled& into) {
  if (limit.count() <= 0) co_return co_await pull(next, into);
  co_await timeout(limit, pull(next, into));
}

}  // namespace

void append_event(std::string& to, const server_sent_event& event) {
  using namespace std::string_view_literals;
  check_line(event.type, "\r\n"sv, "type");
  if (event.id) check_line(*event.id, "\r\n\0"sv, "id");
  check_retry(event.retry);
  if (!event.type.empty()) to.append("event: ").append(event.type).append("\n");
  if (event.id) to.append("id: ").append(*event.id).append("\n");
  if (event.retry) append_retry(to, *event.retry);
  append_lines(to, "data: ", event.data);
  to.append("\n");
}

void append_comment(std::string& to, std::string_view text) {
  append_lines(to, text.empty() ? ":" : ": ", text);
  to.append("\n");
}

event_stream::event_stream(request& req, response& res, event_stream_options options)
    : request_(req), response_(res), options_(std::move(options)) {
  check_retry(options_.retry);
  options_.until = abort_signal::any({options_.until, req.closing()});
  res.status(200).set("Content-Type", "text/event-stream").set("Cache-Control", "no-store");
  res.set("X-Accel-Buffering", "no");
}

task<void> event_stream::open() {
  if (std::exchange(open_, true)) co_return;
  std::string text;
  if (options_.retry) append_retry(text, *options_.retry);
  text += text.empty() ? ":\n\n" : "\n";
  co_await response_.write(text);
}

task<void> event_stream::send(server_sent_event event) {
  std::string text;
  append_event(text, event);
  co_await open();
  co_await response_.write(text);
}

task<void> event_stream::write(std::string text) { co_await response_.write(text); }

task<void> event_stream::run(source next) {
  if (request_.method() == method::head) co_return co_await response_.end();
  auto sent = co_await attempt(abortable(options_.until, open()));
  while (!options_.until.aborted()) {
    sent.value();
    pulled got;
    auto waited = co_await attempt(abortable(options_.until, pull_within(options_.keep_alive, next, got)));
    std::string text;
    if (got) {
      auto event = std::move(*got).value();
      if (!event) break;
      append_event(text, *event);
    } else if (options_.until.aborted()) {
      break;
    } else if (waited.failure().is("ETIMEDOUT")) {
      append_comment(text, {});
    } else {
      waited.value();
    }
    sent = co_await attempt(abortable(options_.until, write(std::move(text))));
  }
  co_await response_.end();
}

}  // namespace weir::net::http
