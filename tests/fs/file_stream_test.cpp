// tests/fs/file_stream_test.cpp: files as streams: ranges, opening and closing, writing behind, failures on the way.
#include <weir/core/scope.hpp>
#include <weir/core/time.hpp>
#include <weir/fs/contents.hpp>
#include <weir/fs/file_stream.hpp>
#include <weir/io/collect.hpp>
#include <weir/io/pipeline.hpp>

#include <tests/support/cancel_at.hpp>
#include <tests/support/file_tree.hpp>
#include <tests/support/files.hpp>
#include <tests/support/run.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <string>
#include <vector>

namespace weir::fs {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using weir::testing::open_descriptors;
using weir::testing::run_with;

class FileStream : public ::testing::Test {
 protected:
  std::string at(const char* name) const { return directory_ / name; }

  std::string put(const char* name, std::string_view content) const {
    write_file(at(name), content).now();
    return at(name);
  }

  weir::testing::temporary_directory directory_;
};

task<std::string> all_of(io::readable<buffer> from) {
  std::string all;
  while (auto chunk = co_await from.next()) all += chunk->to_string();
  co_return all;
}

std::string letters(std::size_t size) {
  std::string made(size, ' ');
  for (std::size_t i = 0; i < size; ++i) made[i] = static_cast<char>('a' + i % 26);
  return made;
}

TEST_F(FileStream, gives_the_bytes_in_chunks_and_ends) {
  auto name = put("a", letters(200'000));
  run_with(1, [](std::string path) -> task<> {
    auto from = read_stream(path, {.chunk_size = 65536});
    std::vector<std::size_t> sizes;
    std::string all;
    while (auto chunk = co_await from.next()) {
      sizes.push_back(chunk->size());
      all += chunk->to_string();
    }
    EXPECT_THAT(sizes, ElementsAre(65536, 65536, 65536, 200'000 - 3 * 65536));
    EXPECT_EQ(all, letters(200'000));
    EXPECT_EQ(co_await from.next(), std::nullopt);
  }(name));
}

struct range {
  std::uint64_t start;
  std::optional<std::uint64_t> end;
  const char* expected;
};

class FileStreamRange : public FileStream, public ::testing::WithParamInterface<range> {};

TEST_P(FileStreamRange, counts_the_last_byte_in) {
  auto name = put("digits", "0123456789");
  auto [start, end, expected] = GetParam();
  auto got = run_with(1, all_of(read_stream(name, {.start = start, .end = end, .chunk_size = 3})));
  EXPECT_EQ(got, expected);
}

INSTANTIATE_TEST_SUITE_P(Each, FileStreamRange,
                         ::testing::Values(range{0, {}, "0123456789"}, range{0, 0, "0"}, range{9, 9, "9"},
                                           range{3, 6, "3456"}, range{3, {}, "3456789"}, range{7, 100, "789"},
                                           range{10, {}, ""}, range{50, 60, ""},
                                           range{0, ~std::uint64_t{0}, "0123456789"}));

TEST_F(FileStream, refuses_a_range_that_ends_before_it_starts) {
  try {
    static_cast<void>(read_stream("x", {.start = 5, .end = 4}));
    FAIL();
  } catch (const error& e) {
    EXPECT_EQ(e.code_name(), "ERR_OUT_OF_RANGE");
    EXPECT_STREQ(e.what(), "The value of \"start\" is out of range. It must be <= \"end\" (here: 4). Received 5");
  }
  EXPECT_THROW(static_cast<void>(read_stream("x", {.chunk_size = 0})), error);
}

TEST_F(FileStream, says_at_the_first_read_what_could_not_be_opened) {
  run_with(1, [](std::string path) -> task<> {
    auto from = read_stream(path);
    auto first = co_await attempt(from.next());
    EXPECT_EQ(first.failure().message(), "ENOENT: no such file or directory, open '" + path + "'");
    EXPECT_TRUE(from.closed());
  }(at("missing")));
}

TEST_F(FileStream, fails_on_a_directory) {
  run_with(1, [](std::string path) -> task<> {
    auto first = co_await attempt(all_of(read_stream(path)));
    EXPECT_EQ(first.failure().code_name(), "EISDIR");
  }(directory_.path()));
}

TEST_F(FileStream, reads_what_has_no_size) {
  auto status = run_with(1, all_of(read_stream("/proc/self/status")));
  EXPECT_THAT(status, ::testing::HasSubstr("VmRSS"));
  EXPECT_EQ(run_with(1, all_of(read_stream("/dev/null"))), "");
  EXPECT_EQ(run_with(1, all_of(read_stream("/dev/zero", {.end = 99'999}))).size(), 100'000U);
}

TEST_F(FileStream, reads_what_is_appended_before_the_end) {
  auto name = put("growing", "first ");
  run_with(1, [](std::string path) -> task<> {
    auto from = read_stream(path);
    EXPECT_EQ((co_await from.next())->to_string(), "first ");
    co_await append_file(path, "second");
    EXPECT_EQ((co_await from.next())->to_string(), "second");
    EXPECT_FALSE(co_await from.next());
  }(name));
}

TEST_F(FileStream, closes_its_file_at_the_end_and_when_it_goes) {
  auto name = put("a", letters(1000));
  run_with(1, [](std::string path) -> task<> {
    auto before = open_descriptors();
    {
      auto from = read_stream(path, {.chunk_size = 10});
      static_cast<void>(co_await from.next());
      EXPECT_EQ(open_descriptors(), before + 1);
    }
    EXPECT_EQ(open_descriptors(), before);
    auto from = read_stream(path);
    while (co_await from.next()) {
    }
    EXPECT_EQ(open_descriptors(), before);
  }(name));
}

TEST_F(FileStream, reads_ahead_in_a_scope) {
  auto name = put("a", letters(500'000));
  auto got = run_with(1, [](std::string path) -> task<std::string> {
    std::string all;
    co_await with_scope([&](scope& s) -> task<void> {
      auto from = read_stream(path, {.high_water_mark = 256 * 1024});
      from.read_ahead(s);
      while (auto chunk = co_await from.next()) all += chunk->to_string();
    });
    co_return all;
  }(name));
  EXPECT_EQ(got, letters(500'000));
}

TEST_F(FileStream, loses_nothing_when_a_read_is_cancelled) {
  auto name = put("a", letters(300'000));
  weir::testing::cancel_at_every_suspension(
      [name] {
        return [](std::string path) -> task<std::size_t> {
          auto from = read_stream(path, {.chunk_size = 100'000});
          std::size_t size = 0;
          while (auto chunk = co_await from.next()) size += chunk->size();
          co_return size;
        }(name);
      },
      [](const result<std::size_t>& outcome) {
        if (outcome)
          EXPECT_EQ(*outcome, 300'000U);
        else
          EXPECT_TRUE(outcome.failure().is_cancelled()) << outcome.failure().message();
      });
}

class FileStreamWrite : public FileStream, public ::testing::WithParamInterface<std::size_t> {
 protected:
  write_stream_options behind() const { return {.write_behind = GetParam()}; }
};

INSTANTIATE_TEST_SUITE_P(Behind, FileStreamWrite, ::testing::Values(0, 1, 100, 65536, 1 << 20));

TEST_P(FileStreamWrite, writes_chunks_in_order) {
  run_with(1, [](std::string path, write_stream_options options) -> task<> {
    auto to = write_stream(path, options);
    std::string expected;
    for (int i = 0; i < 2000; ++i) {
      auto line = "line " + std::to_string(i) + "\n";
      expected += line;
      co_await to.write(buffer::from(line));
    }
    co_await to.end();
    EXPECT_EQ(co_await read_text(path), expected);
  }(at("out"), behind()));
}

TEST_P(FileStreamWrite, copies_a_large_file_on_several_workers) {
  auto name = put("large", letters(5'000'000));
  run_with(2, [](std::string from, std::string to, write_stream_options options) -> task<> {
    co_await io::pipeline(read_stream(from), write_stream(to, options));
    EXPECT_EQ(co_await read_text(to), co_await read_text(from));
  }(name, at("copy"), behind()));
}

TEST_P(FileStreamWrite, makes_the_file_even_if_nothing_is_written) {
  run_with(1, [](std::string path, write_stream_options options) -> task<> {
    auto to = write_stream(path, options);
    EXPECT_FALSE(co_await exists(path));
    co_await to.end();
    EXPECT_EQ((co_await stat(path)).size, 0U);
  }(at("empty"), behind()));
}

TEST_P(FileStreamWrite, appends_and_starts_where_it_is_told) {
  auto name = put("a", "0123456789");
  run_with(1, [](std::string path, write_stream_options options) -> task<> {
    auto at_end = options;
    at_end.how = mode::append;
    auto to = write_stream(path, at_end);
    co_await to.write(buffer::from("AB"));
    co_await to.end(buffer::from("C"));
    EXPECT_EQ(co_await read_text(path), "0123456789ABC");
    options.how = mode::update;
    options.start = 3;
    auto inside = write_stream(path, options);
    co_await inside.write(buffer::from("x"));
    co_await inside.write(buffer::from("y"));
    co_await inside.end();
    EXPECT_EQ(co_await read_text(path), "012xy56789ABC");
  }(name, behind()));
}

TEST_P(FileStreamWrite, flushes_before_its_end) {
  run_with(1, [](std::string path, write_stream_options options) -> task<> {
    options.flush = true;
    options.permissions = 0600;
    auto to = write_stream(path, options);
    co_await to.write(buffer::from("safe"));
    co_await to.end();
    auto found = co_await stat(path);
    EXPECT_EQ(found.size, 4U);
    EXPECT_EQ(found.permissions(), 0600U);
  }(at("a"), behind()));
}

TEST_P(FileStreamWrite, says_at_the_first_write_or_the_end_what_could_not_be_opened) {
  run_with(1, [](std::string path, write_stream_options options) -> task<> {
    auto to = write_stream(path + "/below", options);
    auto written = co_await attempt(to.write(buffer::from("x")));
    EXPECT_EQ(written.failure().message(), "ENOENT: no such file or directory, open '" + path + "/below'");
    auto other = write_stream(path + "/below", options);
    EXPECT_EQ((co_await attempt(other.end())).failure().code_name(), "ENOENT");
  }(at("missing"), behind()));
}

TEST_P(FileStreamWrite, tells_what_a_full_device_says) {
  if (!std::filesystem::exists("/dev/full")) GTEST_SKIP() << "no /dev/full here";
  run_with(1, [](write_stream_options options) -> task<> {
    auto to = write_stream("/dev/full", options);
    auto outcome = co_await attempt([](io::writable<buffer>& to) -> task<> {
      for (int i = 0; i < 100; ++i) co_await to.write(buffer::from("does not fit"));
      co_await to.end();
    }(to));
    EXPECT_FALSE(outcome);
    EXPECT_EQ(outcome.failure().message(), "ENOSPC: no space left on device, write '/dev/full'");
    EXPECT_FALSE(co_await attempt(to.write(buffer::from("more"))));
  }(behind()));
}

// The process gets SIGXFSZ or EFBIG at the limit, in the middle of a chunk.
TEST_P(FileStreamWrite, keeps_the_part_that_fitted_below_a_limit) {
  auto child = ::fork();
  if (child == 0) {
    std::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit = {.rlim_cur = 100'000, .rlim_max = 100'000};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    auto outcome = run_with(1, [](std::string path, write_stream_options options) -> task<result<void>> {
      auto to = write_stream(path, options);
      for (int i = 0; i < 20; ++i) {
        auto written = co_await attempt(to.write(buffer::from(letters(7000))));
        if (!written) co_return written;
      }
      co_return co_await attempt(to.end());
    }(at("limited"), behind()));
    ::_exit(!outcome && outcome.failure().is("EFBIG") ? 0 : 1);
  }
  int status = -1;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(stat(at("limited")).now().size, 100'000U);
}

TEST_P(FileStreamWrite, leaves_no_descriptor_when_it_is_destroyed) {
  run_with(1, [](std::string path, write_stream_options options) -> task<> {
    auto before = open_descriptors();
    {
      auto to = write_stream(path, options);
      co_await to.write(buffer::from(letters(300'000)));
      to.destroy();
    }
    for (int i = 0; i < 2000 && open_descriptors() != before; ++i) co_await sleep(1ms);  // a thread may be at it
    EXPECT_EQ(open_descriptors(), before);
    EXPECT_LE((co_await stat(path)).size, 300'000U);
  }(at("a"), behind()));
}

TEST_P(FileStreamWrite, cancelled_at_any_point_leaves_a_prefix) {
  auto name = at("cut");
  const auto whole = letters(60'000);
  weir::testing::cancel_at_every_suspension(
      [this, name, &whole] {
        return [](std::string path, write_stream_options options, const std::string& text) -> task<void> {
          auto to = write_stream(path, options);
          for (std::size_t i = 0; i < text.size(); i += 10'000) co_await to.write(buffer::from(text.substr(i, 10'000)));
          co_await to.end();
        }(name, behind(), whole);
      },
      [&](const result<void>& outcome) {
        if (!outcome) EXPECT_TRUE(outcome.failure().is_cancelled()) << outcome.failure().message();
        if (!std::filesystem::exists(name)) return;
        auto left = read_text(name).now();
        if (outcome)
          EXPECT_EQ(left, whole);
        else
          EXPECT_TRUE(whole.starts_with(left)) << left.size();
      });
}

// A slow disk, played by a pipe that is read late: no more is held than the limit and a chunk.
TEST_F(FileStream, makes_the_writer_wait_at_the_limit) {
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  ::fcntl(ends[1], F_SETPIPE_SZ, 4096);
  run_with(1, [](int out, int in) -> task<> {
    std::size_t taken = 0;
    co_await with_scope([&](scope& s) -> task<void> {
      auto writes = s.spawn_local(
          [](int fd, std::size_t* taken) -> task<void> {
            auto to = write_stream(file(io::descriptor(fd)), {.write_behind = 50'000});
            for (int i = 0; i < 100; ++i) {
              co_await to.write(buffer::from(letters(10'000)));
              *taken += 10'000;
            }
            co_await to.end();
          },
          in, &taken);
      co_await sleep(50ms);
      EXPECT_GE(taken, 50'000U);
      EXPECT_LE(taken, 70'000U);
      std::array<std::byte, 65536> chunk;
      std::size_t got = 0;
      while (auto count = co_await io::read(out, chunk)) got += count;
      EXPECT_EQ(got, 1'000'000U);
      co_await std::move(writes);
    });
  }(ends[0], ends[1]));
  ::close(ends[0]);
}

TEST_F(FileStream, gives_lines_of_either_end) {
  auto name = put("lines", "one\r\ntwo\n\nlast");
  auto got = run_with(1, [](std::string path) -> task<std::vector<std::string>> {
    std::vector<std::string> all;
    auto from = read_lines(path);
    while (auto line = co_await from.next()) all.push_back(std::move(*line));
    co_return all;
  }(name));
  EXPECT_THAT(got, ElementsAre("one", "two", "", "last"));
}

}  // namespace
}  // namespace weir::fs
