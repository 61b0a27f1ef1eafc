#include <weir/core/abort.hpp>
#include <weir/core/combine.hpp>
#include <weir/fs/atomic_file.hpp>
#include <weir/weir.hpp>

#include "tests/support/cancel_at.hpp"
#include "tests/support/concurrency.hpp"
#include "tests/support/files.hpp"
#include "tests/support/run.hpp"

#include <gtest/gtest.h>

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>  // NOLINT: for what POSIX has beyond <csignal>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <optional>
#include <string>
#include <vector>

namespace weir::fs {
namespace {

using namespace std::string_literals;
using testing::file_content;
using testing::put_file;
using testing::run_with;
using testing::temporary_directory;

std::uint32_t permissions_of(const std::string& path) { return stat(path).now().permissions(); }

/// What is to become of a system call of a supervised child.
struct verdict {
  enum { proceed, kill, fail } what = proceed;
  int with = 0;  ///< errno
};
using judge = std::function<verdict(unsigned index, const seccomp_data& call)>;

/// How a child ended.
struct outcome {
  bool killed = false;
  int status = 0;
  unsigned calls = 0;  ///< about files, before it ended
};

constexpr int refused = 99;

int install_supervision() {
  constexpr unsigned calls[] = {SYS_openat,    SYS_write,    SYS_pwrite64,  SYS_writev, SYS_pwritev,
                                SYS_pwritev2,  SYS_fsync,    SYS_fchmod,    SYS_fchown, SYS_linkat,
                                SYS_renameat2, SYS_unlinkat, SYS_newfstatat};
  constexpr auto count = std::size(calls);
  std::vector<sock_filter> program = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr))};
  for (std::size_t i = 0; i < count; ++i) {
    program.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, calls[i], static_cast<std::uint8_t>(count - i), 0));
  }
  program.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
  program.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF));
  const sock_fprog all = {static_cast<unsigned short>(program.size()), program.data()};
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return -1;
  return static_cast<int>(::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &all));
}

void send_descriptor(int through, int fd) {
  char byte = 0;
  iovec data = {&byte, 1};
  alignas(cmsghdr) char room[CMSG_SPACE(sizeof fd)] = {};
  msghdr message = {};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  if (fd >= 0) {
    message.msg_control = room;
    message.msg_controllen = sizeof room;
    auto* head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(sizeof fd);
    std::memcpy(CMSG_DATA(head), &fd, sizeof fd);
  }
  ::sendmsg(through, &message, 0);
}

int receive_descriptor(int through) {
  char byte = 0;
  iovec data = {&byte, 1};
  alignas(cmsghdr) char room[CMSG_SPACE(sizeof(int))] = {};
  msghdr message = {};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = room;
  message.msg_controllen = sizeof room;
  if (::recvmsg(through, &message, MSG_CMSG_CLOEXEC) <= 0) return -1;
  auto* head = CMSG_FIRSTHDR(&message);
  if (head == nullptr) return -1;
  int fd = -1;
  std::memcpy(&fd, CMSG_DATA(head), sizeof fd);
  return fd;
}

unsigned watch_calls(pid_t child, int listener, const judge& decide) {
  unsigned count = 0;
  for (;;) {
    pollfd ready = {listener, POLLIN, 0};
    if (::poll(&ready, 1, -1) < 0) continue;
    if ((ready.revents & POLLIN) == 0) return count;  // hung up: the child is gone
    seccomp_notif asked = {};
    if (::ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &asked) != 0) continue;
    const auto what = decide(count, asked.data);
    if (what.what == verdict::kill) {
      ::kill(child, SIGKILL);
      return count;
    }
    ++count;
    seccomp_notif_resp answer = {};
    answer.id = asked.id;
    answer.flags = what.what == verdict::proceed ? SECCOMP_USER_NOTIF_FLAG_CONTINUE : 0;
    answer.error = what.what == verdict::fail ? -what.with : 0;
    ::ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &answer);
  }
}

/// Runs `body` in a child process whose calls about files are made one by one, as `decide` says.
/// @return nothing if this machine does not let us supervise
std::optional<outcome> run_supervised(const std::function<int()>& body, const judge& decide) {
  std::array<int, 2> link = {};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, link.data()) != 0) return std::nullopt;
  const auto child = ::fork();
  if (child == 0) {
    const int listener = install_supervision();
    send_descriptor(link[1], listener);
    if (listener < 0) ::_exit(refused);
    ::close(listener);
    ::_exit(body());
  }
  ::close(link[1]);
  const int listener = receive_descriptor(link[0]);
  ::close(link[0]);
  outcome seen;
  if (listener >= 0) {
    seen.calls = watch_calls(child, listener, decide);
    ::close(listener);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  if (listener < 0) return std::nullopt;
  seen.killed = WIFSIGNALED(status);
  seen.status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return seen;
}

/// Runs `body` in a child process. @return its status
int run_in_child(const std::function<int()>& body) {
  const auto child = ::fork();
  if (child == 0) ::_exit(body());
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

bool opens_unnamed(const seccomp_data& call) {
  return call.nr == SYS_openat && (call.args[2] & O_TMPFILE) == O_TMPFILE;
}

const std::string old_text(200'000, 'o');
const std::string new_text(3'000'000, 'n');

TEST(AtomicFile, replaces_a_file_and_makes_one) {
  const temporary_directory in;
  const auto path = in / "config.json";
  run_with(1, [](std::string path) -> task<> {
    co_await write_file_atomic(path, "first"s);
    EXPECT_EQ(file_content(path), "first");
    co_await write_file_atomic(path, new_text);
    EXPECT_EQ(file_content(path), new_text);
    co_await write_file_atomic(path, ""s, {.flush = durability::none});
    EXPECT_EQ(file_content(path), "");
  }(path));
  write_file_atomic(path, "here"s, {.flush = durability::content}).now();
  EXPECT_EQ(file_content(path), "here");
  EXPECT_EQ(in.names(), (std::vector{"config.json"s}));
}

// The names of C0-FS-15, made of the time in milliseconds, were the same for two writers.
TEST(AtomicFile, has_many_writers_of_one_path_and_readers_never_see_a_part) {
  const temporary_directory in;
  const auto path = in / "shared";
  put_file(path, std::string(50'000, 'a'));
  std::atomic<bool> over{false};
  std::thread reader([&] {
    while (!over) {
      const auto seen = file_content(path);
      ASSERT_EQ(seen.size(), 50'000U);
      ASSERT_EQ(seen.find_first_not_of(seen[0]), std::string::npos);
    }
  });
  for (unsigned workers : {1U, 3U}) {
    run_with(workers, [](std::string path) -> task<> {
      co_await with_scope([&](scope& s) -> task<> {
        for (int i = 0; i < 16; ++i) {
          s.spawn(
              [](std::string at, char letter) -> task<> {
                const std::string mine(50'000, letter);
                for (std::size_t n = 0; n < testing::rounds(30); ++n) {
                  co_await write_file_atomic(at, mine, {.flush = durability::none});
                }
              },
              path, static_cast<char>('a' + i));
        }
        co_return;
      });
    }(path));
  }
  over = true;
  reader.join();
  EXPECT_EQ(in.names(), (std::vector{"shared"s}));
}

// Before each of its system calls in turn, with the unnamed file and where the file system has none.
TEST(AtomicFile, leaves_the_old_or_the_new_whenever_the_process_is_killed) {
  for (bool unnamed : {true, false}) {
    bool ended = false;
    bool saw_old = false;
    bool saw_new = false;
    for (unsigned n = 0; !ended; ++n) {
      ASSERT_LT(n, 100U);
      const temporary_directory in;
      const auto path = in / "file";
      put_file(path, old_text);
      ::chmod(path.c_str(), 0640);
      auto how = run_supervised(
          [&] {
            write_file_atomic(path, new_text).now();
            return 0;
          },
          [&](unsigned index, const seccomp_data& call) -> verdict {
            if (index == n) return {verdict::kill};
            if (!unnamed && opens_unnamed(call)) return {verdict::fail, EOPNOTSUPP};
            return {};
          });
      if (!how) GTEST_SKIP() << "no supervision of system calls here";
      ended = !how->killed;
      const auto found = file_content(path);
      ASSERT_TRUE(found == old_text || found == new_text) << "killed before call " << n;
      (found == new_text ? saw_new : saw_old) = true;
      EXPECT_EQ(permissions_of(path), 0640U);
      const auto left = in.names().size() - 1;
      EXPECT_LE(left, unnamed && found == new_text ? 0U : 1U);
      if (ended) EXPECT_EQ(how->status, 0);
      if (ended) EXPECT_GE(n, 9U);
    }
    EXPECT_TRUE(saw_old);
    EXPECT_TRUE(saw_new);
  }
}

TEST(AtomicFile, leaves_the_old_and_no_trace_whichever_system_call_fails) {
  for (bool unnamed : {true, false}) {
    bool ended = false;
    unsigned failures = 0;
    for (unsigned n = 0; !ended; ++n) {
      ASSERT_LT(n, 100U);
      const temporary_directory in;
      const auto path = in / "file";
      put_file(path, old_text);
      long failed_call = -1;
      auto how = run_supervised(
          [&] {
            auto done = write_file_atomic(path, new_text).try_now();
            if (done) return 0;
            return done.failure().code().value() == EIO && done.failure().error().path() == path ? 1 : 2;
          },
          [&](unsigned index, const seccomp_data& call) -> verdict {
            if (!unnamed && opens_unnamed(call)) return {verdict::fail, EOPNOTSUPP};
            if (index != n) return {};
            failed_call = call.nr;
            return {verdict::fail, EIO};
          });
      if (!how) GTEST_SKIP() << "no supervision of system calls here";
      ended = n >= how->calls;
      EXPECT_EQ(in.names(), (std::vector{"file"s})) << "after call " << n;
      if (how->status == 0) {
        EXPECT_EQ(file_content(path), new_text);
        continue;
      }
      ++failures;
      if (failed_call != SYS_renameat2) EXPECT_EQ(how->status, 1) << "after call " << n;
      const bool placed = failed_call == SYS_fsync && file_content(path) == new_text;  // the directory's
      if (!placed) EXPECT_EQ(file_content(path), old_text) << "after call " << n;
    }
    EXPECT_GE(failures, 7U);
  }
}

TEST(AtomicFile, keeps_the_permissions_of_the_file_it_replaces) {
  const temporary_directory in;
  const auto path = in / "file";
  put_file(path, "old");
  ::chmod(path.c_str(), 0604);
  write_file_atomic(path, "new"s).now();
  EXPECT_EQ(permissions_of(path), 0604U);
  write_file_atomic(path, "new"s, {.permissions = 0666}).now();
  EXPECT_EQ(permissions_of(path), 0666U);

  const auto before = ::umask(027);
  write_file_atomic(in / "made", "new"s).now();
  ::umask(before);
  EXPECT_EQ(permissions_of(in / "made"), 0640U);
}

TEST(AtomicFile, keeps_the_owner_where_that_is_allowed) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can give files away";
  const temporary_directory in;
  const auto path = in / "file";
  put_file(path, "old");
  ASSERT_EQ(::chown(path.c_str(), 1234, 2345), 0);
  ::chmod(path.c_str(), 06750);
  write_file_atomic(path, "new"s).now();
  auto now = stat(path).now();
  EXPECT_EQ(now.uid, 1234U);
  EXPECT_EQ(now.gid, 2345U);
  EXPECT_EQ(now.permissions(), 06750U);
  write_file_atomic(path, "new"s, {.keep_owner = false}).now();
  EXPECT_EQ(stat(path).now().uid, 0U);
}

// Otherwise what only one group could read would be open to another.
TEST(AtomicFile, gives_a_group_that_is_another_one_no_more_than_everybody) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can become another user";
  const temporary_directory in;
  ::chmod(in.path().c_str(), 0777);
  const auto path = in / "file";
  put_file(path, "old");
  ::chmod(path.c_str(), 06764);
  const int status = run_in_child([&] {
    if (::setresgid(65534, 65534, 65534) != 0 || ::setresuid(65534, 65534, 65534) != 0) return 2;
    write_file_atomic(path, "new"s).now();
    return 0;
  });
  ASSERT_EQ(status, 0);
  EXPECT_EQ(file_content(path), "new");
  auto now = stat(path).now();
  EXPECT_EQ(now.uid, 65534U);
  EXPECT_EQ(now.permissions(), 0744U);
}

TEST(AtomicFile, replaces_what_a_symbolic_link_leads_to) {
  const temporary_directory in;
  put_file(in / "real", "old");
  std::filesystem::create_directory(in / "below");
  std::filesystem::create_symlink("../real", in / "below/link");
  std::filesystem::create_symlink("below/link", in / "outer");
  write_file_atomic(in / "outer", "new"s).now();
  EXPECT_EQ(file_content(in / "real"), "new");
  EXPECT_TRUE(std::filesystem::is_symlink(in / "outer"));

  std::filesystem::create_symlink("not-yet", in / "dangling");
  write_file_atomic(in / "dangling", "made"s).now();
  EXPECT_EQ(file_content(in / "not-yet"), "made");

  write_file_atomic(in / "outer", "mine"s, {.follow_links = false}).now();
  EXPECT_FALSE(std::filesystem::is_symlink(in / "outer"));
  EXPECT_EQ(file_content(in / "real"), "new");

  std::filesystem::create_symlink("loop", in / "loop");
  auto looped = write_file_atomic(in / "loop", "x"s).try_now();
  ASSERT_FALSE(looped);
  EXPECT_EQ(looped.failure().message(), "ELOOP: too many symbolic links encountered, open '" + (in / "loop") + "'");
}

TEST(AtomicFile, refuses_what_is_no_regular_file) {
  const temporary_directory in;
  const auto refusal = [](const std::string& path) {
    auto done = write_file_atomic(path, "x"s).try_now();
    return done ? "nothing"s : std::string(done.failure().code_name());
  };
  EXPECT_EQ(refusal(in.path()), "EISDIR");
  EXPECT_EQ(refusal(in.path() + "/"), "EISDIR");
  EXPECT_EQ(refusal(in / "missing/file"), "ENOENT");
  EXPECT_EQ(refusal(""), "ENOENT");
  EXPECT_EQ(refusal("a\0b"s), "ERR_INVALID_ARG_VALUE");
  ::mkfifo((in / "fifo").c_str(), 0600);
  EXPECT_EQ(refusal(in / "fifo"), "ERR_INVALID_ARG_VALUE");
  EXPECT_EQ(refusal("/dev/null"), "ERR_INVALID_ARG_VALUE");
  put_file(in / "file", "x");
  EXPECT_EQ(refusal(in / "file/below"), "ENOTDIR");
  EXPECT_EQ(in.names(), (std::vector{"fifo"s, "file"s}));
}

TEST(AtomicFile, takes_a_name_of_any_length_that_the_file_system_takes) {
  const temporary_directory in;
  const std::string longest(255, 'x');
  write_file_atomic(in / longest, "one"s).now();
  write_file_atomic(in / longest, "two"s).now();
  EXPECT_EQ(file_content(in / longest), "two");
  auto longer = write_file_atomic(in / (longest + "x"), "x"s).try_now();
  ASSERT_FALSE(longer);
  EXPECT_TRUE(longer.failure().is("ENAMETOOLONG"));
  EXPECT_EQ(in.names(), (std::vector{longest}));
}

TEST(AtomicFile, makes_a_file_only_if_there_is_none) {
  const temporary_directory in;
  const auto path = in / "once";
  write_file_atomic(path, "first"s, {.replace = false}).now();
  auto second = write_file_atomic(path, "second"s, {.replace = false}).try_now();
  ASSERT_FALSE(second);
  EXPECT_TRUE(second.failure().is("EEXIST"));

  // Also where it comes in between.
  auto open = open_atomic(in / "race", {.replace = false}).now();
  put_file(in / "race", "other");
  auto late = open.commit().try_now();
  ASSERT_FALSE(late);
  EXPECT_TRUE(late.failure().is("EEXIST"));
  EXPECT_EQ(file_content(in / "race"), "other");
  EXPECT_EQ(in.names(), (std::vector{"once"s, "race"s}));
}

TEST(AtomicFile, is_written_in_pieces_and_takes_its_place_at_commit) {
  const temporary_directory in;
  put_file(in / "file", "old");
  run_with(2, [](const temporary_directory& in) -> task<> {
    auto next = co_await open_atomic(in / "file");
    co_await next.write("head ");
    co_await next.write("tail");
    co_await next.write("HEAD", 0);
    EXPECT_EQ(file_content(in / "file"), "old");
    EXPECT_EQ((co_await next.contents().stat()).size, 9U);
    EXPECT_EQ(next.path(), in / "file");
    auto moved = std::move(next);
    co_await moved.commit();
    EXPECT_FALSE(moved.is_open());
    EXPECT_EQ(file_content(in / "file"), "HEAD tail");
    auto again = co_await attempt(moved.commit());
    EXPECT_TRUE(!again && again.failure().is("ERR_CLOSED"));
    auto late = co_await attempt(moved.write("x"));
    EXPECT_TRUE(!late && late.failure().is("ERR_CLOSED"));
    auto emptied = co_await attempt(next.write("x"));  // NOLINT: moved from
    EXPECT_TRUE(!emptied && emptied.failure().is("ERR_CLOSED"));
  }(in));
  EXPECT_EQ(in.names(), (std::vector{"file"s}));
}

TEST(AtomicFile, leaves_no_trace_when_it_is_dropped) {
  const temporary_directory in;
  put_file(in / "file", "old");
  run_with(1, [](const temporary_directory& in) -> task<> {
    {
      auto next = co_await open_atomic(in / "file");
      co_await next.write("new");
    }
    auto other = co_await open_atomic(in / "file");
    co_await other.write("new");
    co_await other.discard();
    EXPECT_FALSE(other.is_open());
    atomic_file empty;
    co_await empty.discard();
    EXPECT_EQ(empty.path(), "");
    EXPECT_FALSE(empty.contents().is_open());
  }(in));
  EXPECT_EQ(file_content(in / "file"), "old");
  EXPECT_EQ(in.names(), (std::vector{"file"s}));
}

TEST(AtomicFile, does_not_commit_after_a_write_that_failed) {
  const temporary_directory in;
  put_file(in / "file", "old");
  const int status = run_in_child([&] {
    ::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit = {.rlim_cur = 100'000, .rlim_max = 100'000};
    if (::setrlimit(RLIMIT_FSIZE, &limit) != 0) return 9;
    auto whole = write_file_atomic(in / "file", new_text).try_now();
    if (whole || !whole.failure().is("EFBIG")) return 1;
    return run_with(1, [](std::string path) -> task<int> {
      auto next = co_await open_atomic(path);
      auto written = co_await attempt(next.write(new_text));
      if (written || !written.failure().is("EFBIG")) co_return 2;
      auto committed = co_await attempt(next.commit());
      co_return committed || !committed.failure().is("EFBIG") ? 3 : 0;
    }(in / "file"));
  });
  EXPECT_EQ(status, 0);
  EXPECT_EQ(file_content(in / "file"), "old");
  EXPECT_EQ(in.names(), (std::vector{"file"s}));
}

bool map_user(uid_t user, gid_t group) {
  const auto write = [](const char* path, const std::string& text) {
    const int fd = ::open(path, O_WRONLY | O_CLOEXEC);
    const bool done = fd >= 0 && ::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
    if (fd >= 0) ::close(fd);
    return done;
  };
  return write("/proc/self/uid_map", "0 " + std::to_string(user) + " 1") && write("/proc/self/setgroups", "deny") &&
         write("/proc/self/gid_map", "0 " + std::to_string(group) + " 1");
}

TEST(AtomicFile, leaves_the_old_and_gives_its_space_back_where_the_disk_is_full) {
  const temporary_directory in;
  const int status = run_in_child([&] {
    const auto user = ::getuid();
    const auto group = ::getgid();
    if (::unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0 || !map_user(user, group)) return refused;
    if (::mount("none", in.path().c_str(), "tmpfs", 0, "size=256k") != 0) return refused;
    put_file(in / "file", "old");
    const auto free = statfs(in.path()).now().bavail;
    auto done = write_file_atomic(in / "file", new_text).try_now();
    if (done || done.failure().message() != "ENOSPC: no space left on device, write '" + (in / "file") + "'") return 1;
    if (file_content(in / "file") != "old" || in.names().size() != 1) return 2;
    return statfs(in.path()).now().bavail == free ? 0 : 3;
  });
  if (status == refused) GTEST_SKIP() << "nothing may be mounted here";
  EXPECT_EQ(status, 0);
}

TEST(AtomicFile, says_what_is_wrong_with_a_directory_that_may_not_be_written) {
  const temporary_directory in;
  std::filesystem::create_directory(in / "locked");
  put_file(in / "locked/file", "old");
  ::chmod((in / "locked").c_str(), 0555);
  ::chmod(in.path().c_str(), 0755);
  const int status = run_in_child([&] {
    if (::geteuid() == 0 && (::setresgid(65534, 65534, 65534) != 0 || ::setresuid(65534, 65534, 65534) != 0)) return 9;
    auto done = write_file_atomic(in / "locked/file", "new"s).try_now();
    return !done && done.failure().message() == "EACCES: permission denied, open '" + (in / "locked/file") + "'" ? 0
                                                                                                                 : 1;
  });
  ::chmod((in / "locked").c_str(), 0755);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(file_content(in / "locked/file"), "old");
}

TEST(AtomicFile, is_old_or_new_wherever_it_is_cancelled) {
  const temporary_directory in;
  const auto path = in / "file";
  put_file(path, old_text);
  const auto whole = [&]() -> task<> {
    co_await yield();
    co_await write_file_atomic(path, new_text, {.flush = durability::none});
  };
  const auto pieces = [&]() -> task<> {
    auto next = co_await open_atomic(path, {.flush = durability::none});
    for (std::size_t at = 0; at < new_text.size(); at += 1'000'000) {
      co_await next.write(std::string_view(new_text).substr(at, 1'000'000));
    }
    co_await next.commit();
  };
  const auto check = [&](const result<void>& done) {
    const auto found = file_content(path);
    EXPECT_TRUE(found == new_text || (found == old_text && !done));
    EXPECT_TRUE(done || done.failure().is_cancelled());
    EXPECT_EQ(in.names(), (std::vector{"file"s}));
    put_file(path, old_text);
  };
  EXPECT_GE(testing::cancel_at_growing_moments(whole, check), 1U);
  EXPECT_GE(testing::cancel_at_growing_moments(pieces, check), 3U);
}

}  // namespace
}  // namespace weir::fs
