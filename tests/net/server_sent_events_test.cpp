#include <weir/core/abort.hpp>
#include <weir/core/combine.hpp>
#include <weir/core/event.hpp>
#include <weir/core/time.hpp>
#include <weir/net/server_sent_events.hpp>
#include <weir/sync/watch.hpp>

#include <tests/support/http_client.hpp>

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <latch>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace weir::net::http {
namespace {

using namespace std::chrono_literals;
using namespace std::string_literals;
using testing::http_client;
using testing::running_server;

using next_event = std::optional<server_sent_event>;

std::string listen_request(std::string_view more = "") {
  return "GET / HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\n" + std::string(more) + "\r\n";
}

std::string text_of(const server_sent_event& event) {
  std::string text;
  append_event(text, event);
  return text;
}

struct dispatched {
  std::string type, data, id;
  bool operator==(const dispatched&) const = default;
};

std::ostream& operator<<(std::ostream& out, const dispatched& e) {
  return out << "{" << e.type << "|" << e.data << "|" << e.id << "}";
}

/// What an EventSource makes of a stream: the steps of WHATWG HTML 9.2.6, written from that text.
class event_source {
 public:
  std::vector<dispatched> events;
  std::vector<std::string> comments;
  std::string retry;

  void read(std::string_view stream) {
    while (!stream.empty()) {
      auto end = stream.find_first_of("\r\n");
      line(stream.substr(0, end));
      if (end == std::string_view::npos) return;
      stream.remove_prefix(end + (stream.substr(end, 2) == "\r\n" ? 2 : 1));
    }
  }

 private:
  void line(std::string_view text) {
    if (text.empty()) return dispatch();
    auto colon = text.find(':');
    auto field = text.substr(0, colon);
    auto value = colon == std::string_view::npos ? std::string_view() : text.substr(colon + 1);
    if (colon == 0) return static_cast<void>(comments.emplace_back(value));
    if (value.starts_with(' ')) value.remove_prefix(1);
    if (field == "event") type_ = value;
    if (field == "data") data_.append(value).append("\n");
    if (field == "id" && value.find('\0') == std::string_view::npos) id_ = value;
    if (field == "retry") retry = value;
  }

  void dispatch() {
    if (!data_.empty()) {
      data_.pop_back();
      events.push_back({type_.empty() ? "message" : type_, data_, id_});
    }
    data_.clear();
    type_.clear();
  }

  std::string type_, data_, id_;
};

/// Gives 0, 1, 2... up to `count`, then nothing.
struct counting {
  int at = 0, count;

  task<next_event> operator()() {
    if (at == count) co_return std::nullopt;
    co_return server_sent_event{.data = std::to_string(at++)};
  }
};

// ---- the text

TEST(ServerSentEvents, write_each_field_on_a_line_of_its_own) {
  EXPECT_EQ(text_of({.data = "hello"}), "data: hello\n\n");
  EXPECT_EQ(text_of({.data = "x", .type = "tick", .id = "7", .retry = 2500ms}),
            "event: tick\nid: 7\nretry: 2500\ndata: x\n\n");
}

TEST(ServerSentEvents, keep_the_lines_of_data_however_they_end) {
  EXPECT_EQ(text_of({.data = "a\nb\r\nc\rd"}), "data: a\ndata: b\ndata: c\ndata: d\n\n");
  EXPECT_EQ(text_of({.data = "\n"}), "data: \ndata: \n\n");
  EXPECT_EQ(text_of({.data = "a\n\nb"}), "data: a\ndata: \ndata: b\n\n");
  EXPECT_EQ(text_of({.data = "\r\r\n"}), "data: \ndata: \ndata: \n\n");
}

TEST(ServerSentEvents, arrive_as_they_were_sent) {
  const std::vector<std::string> texts = {"",      " ",    "  two spaces", "a: b",     ":",  "data: x\n\nevent: y",
                                          "id: 5", "\n\n", "\xE2\x82\xAC", "retry: 1", "a\n"};
  event_source client;
  std::string stream;
  for (const auto& text : texts) append_event(stream, {.data = text});
  client.read(stream);
  ASSERT_EQ(client.events.size(), texts.size());
  for (std::size_t i = 0; i < texts.size(); ++i) EXPECT_EQ(client.events[i], (dispatched{"message", texts[i], ""}));
  EXPECT_EQ(client.retry, "");
}

TEST(ServerSentEvents, forget_the_id_where_it_is_empty) {
  event_source client;
  client.read(text_of({.data = "a", .id = "1"}) + text_of({.data = "b"}) + text_of({.data = "c", .id = ""}));
  EXPECT_EQ(client.events,
            (std::vector<dispatched>{{"message", "a", "1"}, {"message", "b", "1"}, {"message", "c", ""}}));
}

TEST(ServerSentEvents, refuse_what_would_become_another_field) {
  auto code_of = [](const server_sent_event& event) {
    std::string text = "before";
    try {
      append_event(text, event);
    } catch (const error& e) {
      EXPECT_EQ(text, "before");
      return std::string(e.code_name());
    }
    return "none"s;
  };
  EXPECT_EQ(code_of({.type = "a\nb"}), "ERR_INVALID_CHAR");
  EXPECT_EQ(code_of({.type = "a\r"}), "ERR_INVALID_CHAR");
  EXPECT_EQ(code_of({.id = "1\ndata: x"}), "ERR_INVALID_CHAR");
  EXPECT_EQ(code_of({.id = "1\r"}), "ERR_INVALID_CHAR");
  EXPECT_EQ(code_of({.id = "1\0"s}), "ERR_INVALID_CHAR");
  EXPECT_EQ(code_of({.retry = -1ms}), "ERR_OUT_OF_RANGE");
  EXPECT_EQ(code_of({.retry = 0ms}), "none");
}

TEST(ServerSentEvents, write_comments_that_nobody_is_told) {
  std::string stream;
  append_comment(stream, "");
  append_comment(stream, "two\nlines\rdata: x");
  EXPECT_EQ(stream, ":\n\n: two\n: lines\n: data: x\n\n");
  event_source client;
  client.read(stream);
  EXPECT_TRUE(client.events.empty());
  EXPECT_EQ(client.comments.size(), 4u);
}

// ---- the stream

TEST(ServerSentEvents, go_out_one_after_the_other_until_the_source_ends) {
  running_server server([](request& req, response& res) -> task<void> {
    event_stream out(req, res, {.retry = 700ms});
    co_await out.run(counting{.count = 3});
  });
  auto client = server.connect();
  for (int i = 0; i < 2; ++i) {  // the connection is kept
    auto reply = client.ask(listen_request());
    EXPECT_EQ(reply.status, 200);
    EXPECT_EQ(reply.header("Content-Type"), "text/event-stream");
    EXPECT_EQ(reply.header("Cache-Control"), "no-store");
    EXPECT_EQ(reply.body, "retry: 700\n\ndata: 0\n\ndata: 1\n\ndata: 2\n\n");
  }
}

TEST(ServerSentEvents, are_sent_by_hand_as_well) {
  running_server server([](request& req, response& res) -> task<void> {
    event_stream out(req, res);
    co_await out.send({.data = "after " + std::string(out.last_event_id())});
    co_await res.end();
  });
  EXPECT_EQ(server.connect().ask(listen_request("Last-Event-ID: 41\r\n")).body, ":\n\ndata: after 41\n\n");
  EXPECT_EQ(server.connect().ask(listen_request()).body, ":\n\ndata: after \n\n");
}

TEST(ServerSentEvents, tell_the_client_that_it_is_connected_before_anything_happens) {
  weir::event go;
  running_server server([&](request& req, response& res) -> task<void> {
    event_stream out(req, res);
    co_await out.run([&, sent = false]() mutable -> task<next_event> {
      if (std::exchange(sent, true)) co_return std::nullopt;
      co_await go.wait();
      co_return server_sent_event{.data = "went"};
    });
  });
  auto client = server.connect();
  client.send(listen_request());
  ASSERT_TRUE(client.receive());
  go.set();
  auto reply = client.read_reply();
  EXPECT_EQ(reply.body, ":\n\ndata: went\n\n");
}

TEST(ServerSentEvents, answer_head_without_listening) {
  running_server server([](request& req, response& res) -> task<void> {
    event_stream out(req, res);
    co_await out.run([]() -> task<next_event> { throw std::logic_error("HEAD asks the source"); });
  });
  auto client = server.connect();
  auto reply = client.ask("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", true);
  EXPECT_EQ(reply.status, 200);
  EXPECT_EQ(reply.header("Content-Type"), "text/event-stream");
  server.stop();
  EXPECT_EQ(server.statistics().handler_failures, 0u);
}

TEST(ServerSentEvents, are_kept_alive_by_comments_and_lose_nothing_to_them) {
  sync::watch<int> value(0);
  running_server server([&](request& req, response& res) -> task<void> {
    event_stream out(req, res, {.keep_alive = 5ms});
    auto mine = value.observe();
    co_await out.run([&]() -> task<next_event> {
      auto now = co_await mine.next();
      if (!now || *now == 3) co_return std::nullopt;
      co_return server_sent_event{.data = std::to_string(*now)};
    });
  });
  auto client = server.connect();
  client.send(listen_request());
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(client.receive());  // nothing but comments can come
  value.set(1);
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(client.receive());
  value.set(3);
  auto reply = client.read_reply();
  event_source seen;
  seen.read(reply.body);
  EXPECT_EQ(seen.events, (std::vector<dispatched>{{"message", "1", ""}}));
  EXPECT_GE(seen.comments.size(), 4u);
}

TEST(ServerSentEvents, fail_as_their_source_does_even_with_a_timeout) {
  std::atomic<int> reported = 0;
  server_options options;
  options.on_error = [&](const request&, std::exception_ptr why) {
    try {
      std::rethrow_exception(why);
    } catch (const error& e) {
      if (e.code_name() == "ETIMEDOUT") ++reported;
    }
  };
  running_server server(
      [](request& req, response& res) -> task<void> {
        event_stream out(req, res, {.keep_alive = 1h});
        co_await out.run([]() -> task<next_event> {
          co_await timeout(1ms, sleep(1h));
          co_return std::nullopt;
        });
      },
      options);
  EXPECT_THROW(server.connect().ask(listen_request()), std::runtime_error);  // ends within the body
  server.stop();
  EXPECT_EQ(reported, 1);
}

TEST(ServerSentEvents, cancel_their_source_when_the_client_leaves) {
  std::latch waits(1), left(1);
  struct note {
    std::latch& to;
    ~note() { to.count_down(); }
  };
  running_server server([&](request& req, response& res) -> task<void> {
    event_stream out(req, res);
    co_await out.run([&]() -> task<next_event> {
      note at_end{left};
      waits.count_down();
      co_await sleep(1h);
      co_return std::nullopt;
    });
  });
  auto client = server.connect();
  client.send(listen_request());
  waits.wait();
  client.close();
  left.wait();
  while (server.statistics().disconnects == 0) std::this_thread::yield();  // a stop would end the stream as it should
  server.stop();
  EXPECT_EQ(server.statistics().disconnects, 1u);
}

TEST(ServerSentEvents, let_a_slow_client_pass_over_values_at_a_bounded_cost) {
  constexpr int last = 5000;
  const std::string padding(16 * 1024, '.');
  sync::watch<int> value(0);
  std::atomic<int> written = 0;
  std::latch listens(1);
  server_options options;
  options.high_water_mark = 32 * 1024;
  running_server server(
      [&](request& req, response& res) -> task<void> {
        event_stream out(req, res);
        auto mine = value.observe();
        listens.count_down();
        co_await out.run([&, at_end = false]() mutable -> task<next_event> {
          if (at_end) co_return std::nullopt;
          auto now = co_await mine.next();
          ++written;
          at_end = now == last;
          co_return server_sent_event{.data = padding, .id = std::to_string(now.value())};
        });
      },
      options);
  auto client = server.connect(4096);
  client.send(listen_request());
  listens.wait();
  for (int i = 1; i <= last; ++i) {  // 80 MiB, which no socket holds
    value.set(i);
    if (i % 10 == 0) std::this_thread::yield();
  }
  event_source seen;
  seen.read(client.read_reply().body);
  ASSERT_FALSE(seen.events.empty());
  EXPECT_EQ(seen.events.back().id, std::to_string(last)) << "the newest always comes";
  EXPECT_LT(seen.events.size(), 2500u);
  EXPECT_EQ(static_cast<int>(seen.events.size()), written);
}

TEST(ServerSentEvents, do_not_hold_up_a_server_that_closes) {
  std::latch listening(3);
  running_server server(
      [&](request& req, response& res) -> task<void> {
        event_stream out(req, res);
        co_await out.run([&]() -> task<next_event> {
          listening.count_down();
          co_await sleep(1h);
          co_return std::nullopt;
        });
      },
      {}, 2);
  std::vector<http_client> clients;
  for (int i = 0; i < 3; ++i) {
    clients.push_back(server.connect());
    clients.back().send(listen_request());
  }
  listening.wait();
  server.stop(1h);  // the test's own limit is a minute
  for (auto& client : clients) {
    auto reply = client.read_reply();
    EXPECT_EQ(reply.body, ":\n\n") << "the body ends as it should";
  }
  EXPECT_EQ(server.statistics().disconnects, 0u);
  EXPECT_EQ(server.statistics().handler_failures, 0u);
}

TEST(ServerSentEvents, end_when_they_are_told_while_the_server_goes_on) {
  abort_controller enough;
  std::latch listening(1);
  running_server server([&](request& req, response& res) -> task<void> {
    event_stream out(req, res, {.until = enough.signal()});
    co_await out.run([&]() -> task<next_event> {
      listening.count_down();
      co_await sleep(1h);
      co_return std::nullopt;
    });
  });
  auto client = server.connect();
  client.send(listen_request());
  listening.wait();
  enough.abort();
  EXPECT_EQ(client.read_reply().body, ":\n\n");
  EXPECT_EQ(server.statistics().open, 1u);
}

TEST(ServerSentEvents, end_at_once_where_the_signal_has_fired_before) {
  running_server server([](request& req, response& res) -> task<void> {
    event_stream out(req, res, {.until = abort_signal::abort()});
    co_await out.run([]() -> task<next_event> { co_return server_sent_event{.data = "x"}; });
  });
  auto client = server.connect();
  for (int i = 0; i < 2; ++i) EXPECT_EQ(client.ask(listen_request()).status, 200);
}

TEST(ServerSentEvents, keep_the_limits_of_their_options) {
  running_server server([](request& req, response& res) -> task<void> {
    std::string said = "none";
    try {
      event_stream out(req, res, {.retry = -1ms});
    } catch (const error& e) {
      said = e.code_name();
    }
    co_await res.end(said);
  });
  EXPECT_EQ(server.connect().ask(listen_request()).body, "ERR_OUT_OF_RANGE");
}

}  // namespace
}  // namespace weir::net::http
