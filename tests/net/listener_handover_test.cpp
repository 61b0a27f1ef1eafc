// tests/net/listener_handover_test.cpp: handing listeners over to another process: what arrives, who is turned away,
// and that nothing changes where the successor does not come so far. Both sides run here, in one process or two; that
// no request is lost while a server is exchanged is shown with whole servers in graceful_restart_test.cpp.
#include <weir/core/abort.hpp>
#include <weir/core/combine.hpp>
#include <weir/core/event.hpp>
#include <weir/core/runtime.hpp>
#include <weir/core/scope.hpp>
#include <weir/core/time.hpp>
#include <weir/net/listener_handover.hpp>

#include "tests/support/files.hpp"
#include "tests/support/run.hpp"
#include "tests/support/sockets.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sys/stat.h>
#include <sys/un.h>

#include <array>
#include <cstring>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace weir::net {
namespace {

using namespace std::chrono_literals;
using namespace weir::testing;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

class Handover : public ::testing::Test {
 public:
  std::string at(const char* name = "handover") const { return "unix:" + dir_ / name; }

  /// Options that note what failed.
  handover_options noting() {
    handover_options options;
    options.on_failure = [this](const error& why) {
      failures_.emplace_back(why.what());
      failed_.set();
    };
    return options;
  }

  /// Offers while `successor` runs. @return whether the listeners were handed over meanwhile
  task<bool> offer_while(listener_offer& offer, std::function<task<void>()> successor) {
    bool over = false;
    co_await with_scope([&](scope& s) -> task<void> {
      auto offering = s.spawn_local([&]() -> task<void> {
        auto pid = co_await offer.handed_over();
        EXPECT_EQ(pid, ::getpid());
        over = true;
      });
      co_await successor();
      co_await yield();
      if (!over) offering.cancel();
    });
    co_return over;
  }

  temporary_directory dir_;
  std::vector<std::string> failures_;
  event failed_;
};

TEST_F(Handover, passes_listeners_by_name_with_what_waits_in_their_queues) {
  run_with(1, [](Handover& test, std::string where) -> task<void> {
    tcp_listener web("127.0.0.1:0");
    tcp_listener admin("unix:@weir-handover-" + std::to_string(::getpid()));
    listener_offer offer(where);
    offer.add("web", web);
    offer.add("admin", admin);
    auto client = connected_to(web.local().port());
    bool over = co_await test.offer_while(offer, [&]() -> task<void> {
      auto taken = co_await request_listeners(where);
      if (!taken) co_return ADD_FAILURE() << "nobody offers";
      EXPECT_THAT(taken->names(), ElementsAre("web", "admin"));
      auto mine = taken->take("web");
      EXPECT_NE(mine.fd(), web.fd());
      EXPECT_EQ(mine.local(), web.local());
      EXPECT_FALSE(taken->has("web"));
      EXPECT_EQ(taken->take("admin").local(), admin.local());
      EXPECT_EQ(::fcntl(mine.fd(), F_GETFD), FD_CLOEXEC);
      co_await taken->serving();
      web.close();
      auto waited = co_await mine.accept();
      EXPECT_EQ(waited.remote().port(), port_of(client.get()));
    });
    EXPECT_TRUE(over);
  }(*this, at()));
}

TEST_F(Handover, finds_nobody_where_nobody_offers) {
  run_with(1, [](Handover& test, std::string where) -> task<void> {
    EXPECT_FALSE(co_await request_listeners(where));
    {
      listener_offer gone(where);
    }
    EXPECT_FALSE(co_await request_listeners(where)) << "a file that nobody listens on";
    EXPECT_TRUE(std::filesystem::exists(where.substr(5)));
    listener_offer again(where);
    EXPECT_EQ(verdict(co_await attempt([](std::string where) -> task<void> {
                listener_offer second(where);
                co_return;
              }(where))),
              "EADDRINUSE");
    EXPECT_EQ(verdict(co_await attempt(request_listeners("127.0.0.1:1"))), "ERR_INVALID_ADDRESS");
    static_cast<void>(test);
  }(*this, at()));
}

// The file is one socket's all the time: each process listens on it in turn, nobody removes or binds it anew.
TEST_F(Handover, goes_on_from_one_process_to_the_next_on_the_same_socket) {
  run_with(1, [](Handover& test, std::string where) -> task<void> {
    tcp_listener web("127.0.0.1:0");
    auto port = web.local().port();
    std::optional<listener_offer> offer(std::in_place, where);
    offer->add("web", web);
    struct stat before, after;
    checked(::stat(where.c_str() + 5, &before));
    for (int generation = 0; generation < 5; ++generation) {
      std::optional<tcp_listener> next;
      std::optional<listener_offer> next_offer;
      EXPECT_TRUE(co_await test.offer_while(*offer, [&]() -> task<void> {
        auto taken = co_await request_listeners(where);
        if (!taken) co_return ADD_FAILURE() << "nobody offers";
        next.emplace(taken->take("web"));
        next_offer.emplace(taken->offer_on());
        EXPECT_EQ(next_offer->local(), address::parse(where));
        EXPECT_THROW(taken->offer_on(), error);
        next_offer->add("web", *next);
        co_await taken->serving();
      }));
      web = std::move(*next);
      offer = std::move(*next_offer);
      auto client = co_await connect(web.local());
      static_cast<void>(co_await web.accept());
    }
    EXPECT_EQ(web.local().port(), port);
    checked(::stat(where.c_str() + 5, &after));
    EXPECT_EQ(before.st_ino, after.st_ino);
  }(*this, at()));
}

TEST_F(Handover, leaves_the_predecessor_in_its_place_if_the_successor_does_not_serve) {
  run_with(1, [](Handover& test, std::string where) -> task<void> {
    tcp_listener web("127.0.0.1:0");
    listener_offer offer(where, test.noting());
    offer.add("web", web);
    EXPECT_TRUE(co_await test.offer_while(offer, [&]() -> task<void> {
      {
        auto failing = co_await request_listeners(where);
        EXPECT_TRUE(failing && failing->has("web"));
      }  // it ends before it serves
      co_await test.failed_.wait();
      auto client = co_await connect(web.local());
      static_cast<void>(co_await web.accept());
      auto taken = co_await request_listeners(where);
      if (!taken) co_return ADD_FAILURE() << "nobody offers any more";
      co_await taken->serving();
    }));
    EXPECT_THAT(test.failures_, ElementsAre("handover ECONNRESET"));
  }(*this, at()));
}

TEST_F(Handover, does_not_wait_for_ever) {
  run_with(1, [](Handover& test, std::string where) -> task<void> {
    auto options = test.noting();
    options.message_timeout = 20ms;
    options.ready_timeout = 20ms;
    listener_offer offer(where, options);
    EXPECT_FALSE(co_await test.offer_while(offer, [&]() -> task<void> {
      auto silent = co_await connect(where);
      co_await test.failed_.wait();
      test.failed_.reset();
      auto slow = co_await request_listeners(where);
      co_await test.failed_.wait();
      auto told = co_await attempt(slow->serving());
      EXPECT_EQ(verdict(told), "ERR_INVALID_STATE");
      EXPECT_THAT(told.failure().message(), ::testing::StartsWith("handover: the other side refuses: "));
    }));
    EXPECT_EQ(test.failures_.size(), 2U);
    tcp_listener mute(test.at("mute"));
    handover_options impatient;
    impatient.message_timeout = 20ms;
    EXPECT_EQ(verdict(co_await attempt(request_listeners(test.at("mute"), impatient))), "ETIMEDOUT");
  }(*this, at()));
}

TEST_F(Handover, serves_only_whoever_runs_as_the_user_it_is_told) {
  run_with(1, [](Handover& test, std::string where) -> task<void> {
    auto options = test.noting();
    options.user = ::geteuid() + 1;
    listener_offer offer(where, options);
    EXPECT_FALSE(co_await test.offer_while(offer, [&]() -> task<void> {
      auto asked = co_await attempt(request_listeners(where));
      EXPECT_EQ(verdict(asked), "ERR_INVALID_STATE");
      EXPECT_EQ(asked.failure().message(), "handover: the other side refuses: handover EPERM to another user");
    }));
    EXPECT_THAT(test.failures_, ElementsAre("handover EPERM to another user"));
    handover_options other;
    other.user = ::geteuid() + 1;
    auto asked = co_await attempt(request_listeners(where, other));
    EXPECT_EQ(verdict(asked), "EPERM");
  }(*this, at()));
}

TEST_F(Handover, turns_away_another_user_by_itself) {
  if (!is_root()) GTEST_SKIP() << "only root can become somebody else";
  checked(::chmod(dir_.path().c_str(), 0755));
  run_with(1, [](Handover& test, std::string where) -> task<void> {
    listener_offer offer(where, test.noting());
    checked(::chmod(where.c_str() + 5, 0777));
    EXPECT_FALSE(co_await test.offer_while(offer, [&]() -> task<void> {
      EXPECT_TRUE(in_child([&] {
        if (!become_nobody()) std::_Exit(1);
        auto fd = checked(::socket(AF_UNIX, SOCK_STREAM, 0));
        auto to = address::parse(where);
        checked(::connect(fd, to.data(), to.size()));  // who it is counts from here on
      }));
      co_await test.failed_.wait();
    }));
    EXPECT_THAT(test.failures_, ElementsAre("handover EPERM to another user"));
  }(*this, at()));
}

std::string frame(std::uint8_t version, std::uint8_t kind, std::string text = {}, std::uint32_t length = ~0U) {
  std::string all = "weirhand";
  all += static_cast<char>(version);
  all += static_cast<char>(kind);
  all.append(2, '\0');
  if (length == ~0U) length = static_cast<std::uint32_t>(text.size());
  for (int shift = 0; shift < 32; shift += 8) all += static_cast<char>(length >> shift & 0xff);
  return all + text;
}

TEST_F(Handover, says_what_it_does_not_understand) {
  run_with(1, [](Handover& test, std::string where) -> task<void> {
    listener_offer offer(where, test.noting());
    const std::string wrong[] = {"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
                                 frame(2, 1),
                                 frame(1, 4),
                                 frame(1, 1, {}, 65537),
                                 frame(1, 99),
                                 "weirhand"};
    EXPECT_FALSE(co_await test.offer_while(offer, [&]() -> task<void> {
      for (auto& each : wrong) {
        test.failed_.reset();
        auto peer = co_await connect(where);
        co_await peer.write(each);
        co_await peer.shutdown_write();
        co_await test.failed_.wait();
      }
    }));
    EXPECT_THAT(test.failures_, ElementsAre("handover: the other side speaks something else",
                                            "handover: the other side speaks version 2 of it, this one 1",
                                            "handover: a message out of order", "handover: a message of 65537 bytes",
                                            "handover: a message out of order", "handover ECONNRESET"));
  }(*this, at()));
}

/// Answers one process that asks with those bytes and descriptors.
task<std::string> asked_of(std::string where, std::string answer, std::vector<int> descriptors) {
  tcp_listener listener(where);
  std::string said = "nothing";
  auto asks = [](std::string where, std::string& said) -> task<void> {
    auto asked = co_await attempt(request_listeners(where));
    said = asked ? "ok" : asked.failure().message();
  };
  auto answers = [](tcp_listener& listener, std::string& answer, std::vector<int>& fds) -> task<void> {
    auto peer = co_await listener.accept();
    iovec piece = {answer.data(), answer.size()};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * 16)] = {};
    msghdr envelope = {};
    envelope.msg_iov = &piece;
    envelope.msg_iovlen = 1;
    if (!fds.empty()) {
      envelope.msg_control = control;
      envelope.msg_controllen = CMSG_SPACE(sizeof(int) * fds.size());
      auto* rights = CMSG_FIRSTHDR(&envelope);
      *rights = {.cmsg_len = CMSG_LEN(sizeof(int) * fds.size()), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
      std::memcpy(CMSG_DATA(rights), fds.data(), sizeof(int) * fds.size());
    }
    checked(static_cast<int>(::sendmsg(peer.fd(), &envelope, MSG_NOSIGNAL)));
    std::array<std::byte, 64> asked;
    while (co_await peer.read(asked) != 0) {
    }
  };
  co_await all(asks(where, said), answers(listener, answer, descriptors));
  co_return said;
}

TEST_F(Handover, takes_nothing_that_makes_no_sense_and_keeps_no_descriptor_of_it) {
  run_with(1, [](Handover& test) -> task<void> {
    tcp_listener web("127.0.0.1:0");
    io::descriptor datagrams(checked(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)));
    auto one = std::string("\3web");
    struct row {
      std::string answer;
      std::vector<int> descriptors;
      std::string said;
    };
    auto fd = web.fd();
    const row rows[] = {
        {frame(1, 2, one), {fd, fd}, "ok"},
        {frame(1, 2, one), {fd}, "handover: other listeners than names"},
        {frame(1, 2, one), {fd, fd, fd}, "handover: other listeners than names"},
        {frame(1, 2, one), {}, "handover: other listeners than names"},
        {frame(1, 2, "\4web"), {fd, fd}, "handover: a name is cut off"},
        {frame(1, 5), {}, "handover: a message out of order"},
        {frame(7, 2), {fd}, "handover: the other side speaks version 7 of it, this one 1"},
        {frame(1, 3, "too late"), {}, "handover: the other side refuses: too late"},
    };
    co_await yield();
    auto before = open_descriptors();
    int count = 0;
    for (auto& each : rows) {
      auto where = test.at(std::to_string(++count).c_str());
      auto said = co_await asked_of(where, each.answer, each.descriptors);
      EXPECT_EQ(said, each.said);
    }
    auto said = co_await asked_of(test.at("wrong"), frame(1, 2, one), {fd, datagrams.get()});
    EXPECT_THAT(said, ::testing::EndsWith(" is a datagram socket, which has no connections"));
    EXPECT_EQ(open_descriptors(), before);
  }(*this));
}

TEST_F(Handover, refuses_bad_names) {
  tcp_listener web("127.0.0.1:0");
  listener_offer offer(at());
  offer.add(std::string(255, 'x'), web);
  EXPECT_THROW(offer.add("", web), error);
  EXPECT_THROW(offer.add(std::string(256, 'x'), web), error);
  EXPECT_THROW(offer.add(std::string(255, 'x'), web), error);
  for (int i = 1; i < 200; ++i) offer.add(std::to_string(i), web);
  EXPECT_THROW(offer.add("one more", web), error);
  run_with(1, [](Handover& test, listener_offer& offer, std::string where) -> task<void> {
    EXPECT_TRUE(co_await test.offer_while(offer, [&]() -> task<void> {
      auto taken = co_await request_listeners(where);
      EXPECT_EQ(taken->names().size(), 200U);
      EXPECT_THROW(taken->take("none"), error);
      co_await taken->serving();
      EXPECT_THAT(taken->names(), IsEmpty());
    }));
  }(*this, offer, at()));
}

TEST_F(Handover, can_be_cancelled_and_awaited_again) {
  run_with(2, [](Handover& test, std::string where) -> task<void> {
    tcp_listener web("127.0.0.1:0");
    listener_offer offer(where);
    offer.add("web", web);
    EXPECT_EQ(verdict(co_await attempt(timeout(5ms, offer.handed_over()))), "ETIMEDOUT");
    EXPECT_TRUE(co_await test.offer_while(offer, [&]() -> task<void> {
      auto taken = co_await request_listeners(where);
      co_await taken->serving();
    }));
  }(*this, at()));
}

// A listener on a Unix socket of its own: the file stays where it is, and whoever is in its queue is served.
TEST_F(Handover, leaves_the_file_of_a_unix_listener_alone) {
  run_with(1, [](Handover& test, std::string where) -> task<void> {
    auto socket = test.at("app");
    std::optional<tcp_listener> app(std::in_place, socket);
    listener_offer offer(where);
    offer.add("app", *app);
    std::optional<tcp_listener> mine;
    std::optional<tcp_stream> waiting;
    EXPECT_TRUE(co_await test.offer_while(offer, [&]() -> task<void> {
      auto taken = co_await request_listeners(where);
      mine.emplace(taken->take("app"));
      waiting.emplace(co_await connect(socket));
      co_await taken->serving();
    }));
    app.reset();
    static_cast<void>(co_await mine->accept());
    auto late = co_await connect(socket);
    static_cast<void>(co_await mine->accept());
  }(*this, at()));
}

}  // namespace
}  // namespace weir::net
