// tests/net/inherited_listeners_test.cpp: both sides of systemd's protocol: what a program finds that was started with
// sockets, and starting one so. The programs are children of this process and shells.
#include <weir/core/runtime.hpp>
#include <weir/net/inherited_listeners.hpp>

#include "tests/support/files.hpp"
#include "tests/support/run.hpp"
#include "tests/support/sockets.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <cstdlib>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include <sys/stat.h>
#include <sys/wait.h>

namespace weir::net {
namespace {

using namespace weir::testing;
using io::descriptor;

void announce(const std::string& count, const char* names, const std::string& process = std::to_string(::getpid())) {
  ::setenv("LISTEN_PID", process.c_str(), 1);
  ::setenv("LISTEN_FDS", count.c_str(), 1);
  if (names != nullptr) {
    ::setenv("LISTEN_FDNAMES", names, 1);
  } else {
    ::unsetenv("LISTEN_FDNAMES");
  }
}

/// Puts a descriptor where a program finds what it inherits.
void place(int fd, int at) {
  if (fd == at) return;
  checked(::dup2(fd, at));
}

std::string message_of(std::function<void()> fails) {
  try {
    fails();
  } catch (const std::exception& e) {
    return e.what();
  }
  return "nothing";
}

TEST(InheritedListeners, are_none_where_nobody_says_so) {
  EXPECT_TRUE(in_child([] {
    ::unsetenv("LISTEN_PID");
    ::unsetenv("LISTEN_FDS");
    EXPECT_TRUE(inherited_listeners().empty());
    announce("1", "web", "1");
    EXPECT_TRUE(inherited_listeners().empty()) << "they were for another process";
    EXPECT_STREQ(::getenv("LISTEN_FDS"), "1");
    announce("0", nullptr);
    EXPECT_TRUE(inherited_listeners().empty());
    announce("0", "");
    EXPECT_TRUE(inherited_listeners().empty());
  }));
}

TEST(InheritedListeners, have_names_and_listen) {
  EXPECT_TRUE(in_child([] {
    tcp_listener web("127.0.0.1:0");
    tcp_listener admin("unix:@weir-inherited-" + std::to_string(::getpid()));
    auto where = web.local();
    int first = checked(::fcntl(web.fd(), F_DUPFD, 100));
    int second = checked(::fcntl(admin.fd(), F_DUPFD, 100));
    web.close();
    admin.close();
    place(first, 3);
    place(second, 4);
    announce("2", "web:admin");
    auto found = inherited_listeners();
    ASSERT_EQ(found.size(), 2U);
    EXPECT_EQ(found[0].name, "web");
    EXPECT_EQ(found[1].name, "admin");
    EXPECT_EQ(found[0].listener.local(), where);
    for (int fd : {3, 4}) EXPECT_EQ(::fcntl(fd, F_GETFD), FD_CLOEXEC);
    for (auto* each : {"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"}) EXPECT_EQ(::getenv(each), nullptr) << each;
    EXPECT_TRUE(inherited_listeners().empty()) << "the second time";
    run_with(1, [](tcp_listener& on) -> task<void> {
      auto client = co_await connect(on.local());
      auto accepted = co_await on.accept();
      EXPECT_EQ(accepted.remote(), client.local());
    }(found[0].listener));
  }));
}

TEST(InheritedListeners, are_called_unknown_without_names) {
  EXPECT_TRUE(in_child([] {
    auto socket = listening();
    place(checked(::fcntl(socket.get(), F_DUPFD, 100)), 3);
    announce("1", nullptr);
    auto found = inherited_sockets();
    ASSERT_EQ(found.size(), 1U);
    EXPECT_EQ(found[0].name, "unknown");
    EXPECT_EQ(found[0].socket.get(), 3);
  }));
}

TEST(InheritedListeners, say_what_makes_no_sense) {
  EXPECT_TRUE(in_child([] {
    auto found = [] { inherited_listeners(); };
    auto socket = listening();
    auto put = [&](int fd) { place(checked(::fcntl(fd, F_DUPFD, 100)), 3); };
    announce("1", nullptr, "me");
    EXPECT_EQ(message_of(found), "LISTEN_PID: 'me' is no number from 0 to 2147483647");
    for (auto* bad : {"x", "-1", "4097", "1 ", ""}) {
      announce(bad, nullptr);
      EXPECT_EQ(message_of(found), "LISTEN_FDS: '" + std::string(bad) + "' is no number from 0 to 4096");
    }
    put(socket.get());
    announce("1", "a:b");
    EXPECT_EQ(message_of(found), "LISTEN_FDNAMES: 2 names for 1 descriptors");
    EXPECT_EQ(::fcntl(3, F_GETFD), -1) << "closed, as nobody else has it";
    ::close(3);
    announce("1", "a");
    EXPECT_EQ(message_of(found), "LISTEN_FDS EBADF");
    descriptor datagrams(checked(::socket(AF_INET, SOCK_DGRAM, 0)));
    put(datagrams.get());
    announce("1", "dns");
    EXPECT_EQ(message_of(found), "adopt: descriptor 3 is a datagram socket, which has no connections");
  }));
}

/// What a shell that was started with these listeners writes into a file.
std::string said_by_shell(const std::string& script, std::span<const passed_listener> listeners) {
  temporary_directory dir;
  auto child = start_with_listeners({"/bin/sh", "-c", script, "sh", dir / "out"}, listeners);
  int status = -1;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  return file_content(dir / "out");
}

TEST(StartWithListeners, gives_them_to_the_program_in_order) {
  tcp_listener web("127.0.0.1:0");
  tcp_listener admin("[::1]:0");
  const passed_listener passed[] = {{"web", web.fd()}, {"admin", admin.fd()}};
  auto said = said_by_shell(
      R"({ [ "$LISTEN_PID" = $$ ] && echo mine; echo "$LISTEN_FDS $LISTEN_FDNAMES";
      for fd in 3 4; do readlink /proc/self/fd/$fd; done; ls /proc/$$/fd | wc -l; } > "$1")",
      passed);
  auto inode = [](int fd) {
    struct stat seen;
    checked(::fstat(fd, &seen));
    return "socket:[" + std::to_string(seen.st_ino) + "]\n";
  };
  EXPECT_THAT(said, ::testing::StartsWith("mine\n2 web:admin\n" + inode(web.fd()) + inode(admin.fd())));
  EXPECT_EQ(::fcntl(web.fd(), F_GETFD), FD_CLOEXEC);
}

TEST(StartWithListeners, replaces_what_was_announced_to_this_process) {
  EXPECT_TRUE(in_child([] {
    announce("7", "old");
    ::setenv("WEIR_TEST", "kept", 1);
    EXPECT_EQ(said_by_shell(R"(env | grep -c '^LISTEN_' > "$1"; echo "$LISTEN_FDS $WEIR_TEST" >> "$1")", {}),
              "3\n0 kept\n");
  }));
}

TEST(StartWithListeners, works_from_a_thread_that_takes_no_signals) {
  std::string said;
  std::thread quiet([&] {
    sigset_t all;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, nullptr);
    said = said_by_shell(R"(exec sed -n 's/^SigBlk:.0*//p' /proc/self/status > "$1")", {});
  });
  quiet.join();
  EXPECT_EQ(said, "\n");
}

TEST(StartWithListeners, says_why_it_cannot) {
  EXPECT_EQ(message_of([] { start_with_listeners({"/nowhere/program"}, {}); }), "spawn /nowhere/program ENOENT");
  EXPECT_EQ(message_of([] { start_with_listeners({"/etc/passwd"}, {}); }), "spawn /etc/passwd EACCES");
  EXPECT_EQ(message_of([] { start_with_listeners({}, {}); }), "start_with_listeners: no command");
  const passed_listener bad[] = {{"a:b", 0}};
  EXPECT_EQ(message_of([&] { start_with_listeners({"/bin/true"}, bad); }), "start_with_listeners: 'a:b' is no name");
  const passed_listener closed[] = {{"a", -1}};
  EXPECT_EQ(message_of([&] { start_with_listeners({"/bin/true"}, closed); }), "spawn EBADF");
  EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1) << "no child is left";
}

}  // namespace
}  // namespace weir::net
