// tests/io/stdio_test.cpp: pipes, fifos, terminals and signals as streams, on real descriptors.
#include <weir/io/stdio.hpp>

#include <weir/core/abort.hpp>
#include <weir/core/combine.hpp>
#include <weir/core/loop.hpp>
#include <weir/core/runtime.hpp>
#include <weir/core/scope.hpp>
#include <weir/io/collect.hpp>
#include <weir/io/operators.hpp>
#include <weir/io/pipe.hpp>
#include <weir/io/pipeline.hpp>
#include <weir/io/signal_stream.hpp>

#include "tests/support/concurrency.hpp"
#include "tests/support/run.hpp"
#include "tests/support/sockets.hpp"

#include <gtest/gtest.h>

#include <fcntl.h>
#include <pty.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

namespace weir::io {
namespace {

using namespace std::chrono_literals;
using namespace weir::testing;

/// A directory of the test's own.
class own_directory {
 public:
  own_directory() { checked(::mkdtemp(path_.data()) == nullptr ? -1 : 0); }
  own_directory(const own_directory&) = delete;
  own_directory& operator=(const own_directory&) = delete;
  ~own_directory() {
    ::unlink(file("x").c_str());
    ::rmdir(path_.c_str());
  }
  std::string file(const char* name) const { return path_ + "/" + name; }

 private:
  std::string path_ = ::testing::TempDir() + "weir-stdio-XXXXXX";
};

/// A pipe in blocking mode, as a shell makes it.
struct shell_pipe {
  descriptor out;
  descriptor in;
  shell_pipe() {
    int ends[2];
    checked(::pipe2(ends, O_CLOEXEC));
    out = descriptor(ends[0]);
    in = descriptor(ends[1]);
  }
};

bool blocks(int fd) { return (checked(::fcntl(fd, F_GETFL)) & O_NONBLOCK) == 0; }

std::string read_all(int fd) {
  std::string all;
  char part[4096];
  for (ssize_t count; (count = ::read(fd, part, sizeof part)) > 0;) all.append(part, static_cast<std::size_t>(count));
  return all;
}

class Pipes : public ::testing::TestWithParam<unsigned> {};
INSTANTIATE_TEST_SUITE_P(Workers, Pipes, ::testing::Values(1U, 3U));

TEST_P(Pipes, carry_bytes_from_one_task_to_another_and_the_end) {
  run_with(GetParam(), with_scope([](scope& s) -> task<> {
             auto ends = make_pipe();
             s.spawn(
                 [](byte_writer to) -> task<> {
                   for (int i = 0; i < 40; ++i) co_await to.write(buffer::alloc(50'000, std::byte{'x'}));
                 },
                 std::move(ends.writer));
             auto all = co_await (std::move(ends.reader) | to_buffer());
             EXPECT_EQ(all.size(), 2'000'000U);
           }));
}

TEST(Pipe, makes_a_writer_wait_that_nobody_reads_from) {
  run_with(1, []() -> task<> {
    auto ends = make_pipe({.capacity = 4096});
    auto written = co_await attempt(timeout(5ms, ends.writer.write(buffer::alloc(100'000))));
    EXPECT_EQ(verdict(written), "ETIMEDOUT");
    auto first = co_await ends.reader.next();
    EXPECT_LE(first->size(), 8192U);
  }());
}

TEST(Pipe, fails_a_writer_with_epipe_and_raises_no_signal) {
  run_with(1, []() -> task<> {
    auto ends = make_pipe();
    ends.reader.close();
    auto written = co_await attempt(ends.writer.write(buffer::from("x")));
    EXPECT_EQ(verdict(written), "EPIPE");
    EXPECT_EQ(written.failure().message(), "EPIPE: broken pipe, write");
  }());
}

TEST(Pipe, loses_nothing_when_a_read_is_cancelled) {
  run_with(1, []() -> task<> {
    auto ends = make_pipe();
    EXPECT_EQ(verdict(co_await attempt(timeout(2ms, ends.reader.next()))), "ETIMEDOUT");
    co_await ends.writer.write(buffer::from("here"));
    EXPECT_EQ((co_await ends.reader.next())->text(), "here");
    ends.writer.end();
    EXPECT_FALSE(co_await ends.reader.next());
  }());
}

TEST(Pipe, takes_several_buffers_with_one_call) {
  run_with(1, with_scope([](scope& s) -> task<> {
             auto ends = make_pipe({.capacity = 4096});
             std::vector<buffer> chunks;
             std::string expected;
             for (int i = 0; i < 200; ++i) {
               expected += std::string(static_cast<std::size_t>(i % 97), static_cast<char>('a' + i % 26));
               chunks.push_back(buffer::from(expected.substr(expected.size() - static_cast<std::size_t>(i % 97))));
             }
             s.spawn_local([](byte_writer to, std::vector<buffer> all) -> task<> { co_await to.write_batch(all); },
                           std::move(ends.writer), std::move(chunks));
             EXPECT_EQ(co_await (std::move(ends.reader) | to_text()), expected);
           }));
}

TEST(Pipe, ends_a_pipeline) {
  run_with(1, with_scope([](scope& s) -> task<> {
             auto ends = make_pipe();
             auto got =
                 s.spawn_local([](byte_reader from) { return std::move(from) | to_text(); }, std::move(ends.reader));
             co_await pipeline(
                 from({buffer::from("a\nb"), buffer::from("c\n")}), lines(),
                 [](std::string line) { return buffer::from(line + "!"); }, std::move(ends.writer));
             EXPECT_EQ(co_await std::move(got), "a!bc!");
           }));
}

TEST(Fifo, waits_for_the_other_side_on_both_ends) {
  own_directory here;
  run_with(1, with_scope([&](scope& s) -> task<> {
             auto path = here.file("x");
             make_fifo(path);
             EXPECT_THROW(make_fifo(path), error);
             auto writing = s.spawn_local(
                 [](std::string name) -> task<> {
                   auto to = co_await open_fifo_writer(name);
                   co_await to.write(buffer::from("through the fifo"));
                 },
                 path);
             co_await yield();
             EXPECT_FALSE(writing.done());
             auto from = open_fifo_reader(path);
             EXPECT_EQ(co_await (std::move(from) | to_text()), "through the fifo");
           }));
}

TEST(Fifo, reader_waits_for_its_first_writer_instead_of_ending) {
  own_directory here;
  run_with(1, [](std::string path) -> task<> {
    make_fifo(path);
    auto from = open_fifo_reader(path);
    EXPECT_EQ(verdict(co_await attempt(timeout(2ms, from.next()))), "ETIMEDOUT");
    {
      auto to = co_await open_fifo_writer(path, {.wait = false});
      co_await to.write(buffer::from("x"));
    }
    EXPECT_EQ((co_await from.next())->text(), "x");
    EXPECT_FALSE(co_await from.next());
  }(here.file("x")));
}

TEST(Fifo, tells_what_is_wrong) {
  own_directory here;
  run_with(1, [](std::string path) -> task<> {
    EXPECT_EQ(verdict(co_await attempt(open_fifo_writer(path))), "ENOENT");
    make_fifo(path);
    EXPECT_EQ(verdict(co_await attempt(open_fifo_writer(path, {.wait = false}))), "ENXIO");
    EXPECT_EQ(verdict(co_await attempt(timeout(5ms, open_fifo_writer(path)))), "ETIMEDOUT");
    EXPECT_THROW(static_cast<void>(open_fifo_reader("/dev/null")), error);
  }(here.file("x")));
}

// What descriptors are

TEST(Stdio, tells_files_terminals_pipes_and_sockets_apart) {
  own_directory here;
  descriptor file(checked(::open(here.file("x").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)));
  shell_pipe pipe;
  auto pair = listening();
  int master = -1;
  int slave = -1;
  checked(::openpty(&master, &slave, nullptr, nullptr, nullptr));
  descriptor near(master);
  descriptor far(slave);
  descriptor null(checked(::open("/dev/null", O_RDWR | O_CLOEXEC)));
  EXPECT_EQ(kind_of(file.get()), descriptor_kind::file);
  EXPECT_EQ(kind_of(pipe.in.get()), descriptor_kind::pipe);
  EXPECT_EQ(kind_of(pair.get()), descriptor_kind::socket);
  EXPECT_EQ(kind_of(far.get()), descriptor_kind::tty);
  EXPECT_EQ(kind_of(null.get()), descriptor_kind::other);
  EXPECT_EQ(to_string(kind_of(far.get())), "tty");
  EXPECT_TRUE(is_tty(far.get()));
  EXPECT_FALSE(is_tty(pipe.in.get()));
  EXPECT_THROW(static_cast<void>(kind_of(-1)), error);
  EXPECT_THROW(output_stream made(-1), error);
}

TEST(Stdin, reads_a_blocking_pipe_without_changing_it) {
  shell_pipe pipe;
  run_with(1, with_scope([&](scope& s) -> task<> {
             auto input = input_from(pipe.out.get());
             EXPECT_EQ(verdict(co_await attempt(timeout(2ms, input.next()))), "ETIMEDOUT");
             EXPECT_TRUE(blocks(pipe.out.get()));
             auto reading =
                 s.spawn_local([](readable<buffer> from) { return std::move(from) | to_text(); }, std::move(input));
             co_await yield();
             checked(static_cast<int>(::write(pipe.in.get(), "typed", 5)));
             pipe.in.close();
             EXPECT_EQ(co_await std::move(reading), "typed");
           }));
}

// The system takes a part of a write and refuses the rest; what it took must stay where it is.
TEST(Stdout, keeps_what_a_full_file_has_taken) {
  own_directory here;
  const auto path = here.file("x");
  const pid_t child = ::fork();
  if (child == 0) {
    std::signal(SIGXFSZ, SIG_IGN);
    const rlimit most = {.rlim_cur = 1000, .rlim_max = 1000};
    ::setrlimit(RLIMIT_FSIZE, &most);
    descriptor file(::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    auto outcome = run_with(1, [](int fd) -> task<result<void>> {
      auto to = byte_writer::borrowing(fd);
      co_await to.write(std::as_bytes(std::span(std::string_view("begin "))));
      co_return co_await attempt(to.write(buffer::alloc(1500, std::byte{'x'})));
    }(file.get()));
    ::_exit(!outcome && outcome.failure().is("EFBIG") ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  std::ifstream from(path);
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(from), {}), "begin " + std::string(994, 'x'));
}

TEST(Stdin, reads_a_file_to_its_end) {
  own_directory here;
  descriptor file(checked(::open(here.file("x").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)));
  std::string content(300'000, 'q');
  checked(static_cast<int>(::write(file.get(), content.data(), content.size())));
  checked(static_cast<int>(::lseek(file.get(), 0, SEEK_SET)));
  EXPECT_EQ(run_with(1, input_from(file.get()) | to_text()), content);
}

TEST(Stdin, gives_the_lines_of_a_terminal_and_ends_with_control_d) {
  int master = -1;
  int slave = -1;
  checked(::openpty(&master, &slave, nullptr, nullptr, nullptr));
  descriptor near(master);
  descriptor far(slave);
  run_with(1, [](int keyboard, int terminal) -> task<> {
    auto input = input_from(terminal) | lines();
    checked(static_cast<int>(::write(keyboard, "first\nsec", 9)));
    EXPECT_EQ(co_await input.next(), "first");
    EXPECT_EQ(verdict(co_await attempt(timeout(5ms, input.next()))), "ETIMEDOUT");
    checked(static_cast<int>(::write(keyboard, "ond\n\x04", 5)));
    EXPECT_EQ(co_await input.next(), "second");
    EXPECT_EQ(co_await input.next(), std::nullopt);
    EXPECT_TRUE(blocks(terminal));
  }(near.get(), far.get()));
}

TEST(Stdout, writes_what_was_printed_before_what_is_written_later) {
  shell_pipe pipe;
  run_with(1, [](int fd) -> task<> {
    output_stream out(fd);
    EXPECT_EQ(out.kind(), descriptor_kind::pipe);
    EXPECT_FALSE(out.size());
    EXPECT_TRUE(out.print("one "));
    EXPECT_TRUE(out.print("two "));
    EXPECT_EQ(out.queued(), 8U);
    co_await out.write("three ");
    EXPECT_EQ(out.queued(), 0U);
    out.print("four");
    co_await out.flush();
    EXPECT_EQ(out.queued(), 0U);
    co_await out.end();
    EXPECT_EQ(verdict(co_await attempt(out.write("late"))), "ERR_STREAM_WRITE_AFTER_END");
  }(pipe.in.get()));
  EXPECT_TRUE(blocks(pipe.in.get()));
  pipe.in.close();
  EXPECT_EQ(read_all(pipe.out.get()), "one two three four");
}

TEST(Stdout, says_when_enough_is_queued) {
  shell_pipe pipe;
  run_with(1, [](int fd) -> task<> {
    output_stream out(fd, {.high_water_mark = 10});
    EXPECT_TRUE(out.print("12345"));
    EXPECT_FALSE(out.print("67890"));
    co_await out.flush();
    EXPECT_TRUE(out.print("1"));
  }(pipe.in.get()));
}

TEST(Stdout, is_flushed_when_it_goes) {
  shell_pipe pipe;
  {
    auto out = output_stream(pipe.in.get());
    out.print("last words");
  }
  pipe.in.close();
  EXPECT_EQ(read_all(pipe.out.get()), "last words");
}

TEST(Stdout, does_not_wait_for_ever_for_one_who_does_not_read) {
  shell_pipe pipe;
  auto begin = std::chrono::steady_clock::now();
  {
    auto out = output_stream(pipe.in.get(), {.flush_limit = 20ms});
    out.print(std::string(1 << 20, 'x'));
  }
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 10s);
}

TEST(Stdout, gives_epipe_to_the_write_that_meets_it) {
  shell_pipe pipe;
  pipe.out.close();
  run_with(1, [](int fd) -> task<> {
    output_stream out(fd);
    out.print("nobody ");
    EXPECT_EQ(verdict(co_await attempt(out.write("reads"))), "EPIPE");
    EXPECT_EQ(verdict(co_await attempt(out.write("this"))), "ERR_STREAM_DESTROYED");
  }(pipe.in.get()));
}

task<> write_often(output_stream& to, char letter) {
  for (int i = 0; i < 20; ++i) co_await to.write(std::string(1000, letter));
}

TEST(Stdout, keeps_writes_of_many_tasks_whole) {
  shell_pipe pipe;
  checked(::fcntl(pipe.in.get(), F_SETPIPE_SZ, 4096));
  std::string got;
  run_with(3, with_scope([&](scope& s) -> task<> {
             s.spawn([&]() -> task<> { got = co_await (input_from(pipe.out.get()) | to_text()); });
             output_stream out(pipe.in.get());
             co_await with_scope([&](scope& writers) -> task<> {
               for (char letter = 'a'; letter < 'i'; ++letter) writers.spawn(write_often, std::ref(out), letter);
               co_return;
             });
             pipe.in.close();
           }));
  EXPECT_EQ(got.size(), 8U * 20U * 1000U);
  for (std::size_t at = 0; at < got.size(); at += 1000)
    ASSERT_EQ(got.substr(at, 1000), std::string(1000, got[at])) << at;
}

TEST(Terminals, tell_their_size_and_when_it_changes) {
  int master = -1;
  int slave = -1;
  winsize first = {.ws_row = 24, .ws_col = 80, .ws_xpixel = 0, .ws_ypixel = 0};
  checked(::openpty(&master, &slave, nullptr, nullptr, &first));
  descriptor near(master);
  descriptor far(slave);
  EXPECT_EQ(size_of_terminal(far.get()), (terminal_size{80, 24}));
  run_with(1, [](int fd) -> task<> {
    terminal_sizes sizes(fd);
    EXPECT_EQ(verdict(co_await attempt(timeout(2ms, sizes.next()))), "ETIMEDOUT");
    winsize wider = {.ws_row = 50, .ws_col = 132, .ws_xpixel = 0, .ws_ypixel = 0};
    checked(::ioctl(fd, TIOCSWINSZ, &wider));
    ::raise(SIGWINCH);  // the test is not in the terminal's foreground
    EXPECT_EQ(co_await sizes.next(), (terminal_size{132, 50}));
  }(far.get()));
  EXPECT_THROW(terminal_sizes made(STDIN_FILENO + 1000), error);
}

TEST(SignalStream, gives_signals_in_turn_and_works_with_operators) {
  run_with(1, []() -> task<> {
    signal_stream caught({SIGUSR1, SIGUSR2});
    ::kill(::getpid(), SIGUSR2);
    ::kill(::getpid(), SIGUSR1);
    ::kill(::getpid(), SIGUSR1);  // once more before anybody looked: counts once
    auto both = co_await (caught | take(2) | to_vector());
    EXPECT_EQ(both, (std::vector<int>{SIGUSR1, SIGUSR2}));
    EXPECT_EQ(verdict(co_await attempt(timeout(2ms, caught.next()))), "ETIMEDOUT");
    ::kill(::getpid(), SIGUSR1);
    EXPECT_EQ(co_await caught.next(), SIGUSR1);
  }());
}

}  // namespace
}  // namespace weir::io
