// tests/fs/exerciser_test.cpp: random operations on files, compared with a model in memory after each, in the manner of
// fsx: reads, writes, vectored ones, streams, truncation, holes, mappings, reopening. Several files at once on several
// workers. A failure prints its seed and the last operations; WEIR_EXERCISE_SEED repeats it, WEIR_EXERCISE_SECONDS
// makes it longer (its share of a normal run is two seconds), WEIR_EXERCISE_DIR says where.
#include <weir/core/scope.hpp>
#include <weir/fs/contents.hpp>
#include <weir/fs/file_stream.hpp>

#include <tests/support/files.hpp>
#include <tests/support/run.hpp>

#include <gtest/gtest.h>

#include <linux/falloc.h>
#include <sys/mman.h>
#include <sys/vfs.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <iostream>
#include <random>
#include <string>
#include <vector>

namespace weir::fs {
namespace {

using clock = std::chrono::steady_clock;

constexpr std::size_t largest = 256 * 1024;
constexpr std::size_t longest = 40'000;  // of one operation

class exerciser {
 public:
  exerciser(std::string path, std::uint64_t seed) : path_(std::move(path)), seed_(seed), random_(seed) {}

  task<std::size_t> run(clock::time_point until) {
    file_ = co_await open(path_, mode::rewrite);
    std::size_t count = 0;
    for (; clock::now() < until && !failed_; ++count) {
      co_await one_step();
      if (!failed_) co_await compare(at_most(model_.size()), at_most(longest));
    }
    if (!failed_) co_await compare(0, largest + 1);
    co_await file_.close();
    co_return count;
  }

 private:
  std::size_t at_most(std::size_t limit) { return std::uniform_int_distribution<std::size_t>(0, limit)(random_); }

  std::string fresh(std::size_t size) {
    std::string made(size, ' ');
    auto first = static_cast<unsigned char>(at_most(255));
    for (auto& c : made) c = static_cast<char>(first++);
    return made;
  }

  void note(const char* what, std::size_t from, std::size_t size) {
    log_.push_back(std::string(what) + " " + std::to_string(from) + " +" + std::to_string(size));
    if (log_.size() > 20) log_.pop_front();
  }

  void fail(const std::string& how) {
    failed_ = true;
    std::string all;
    for (auto& each : log_) all += each + "\n";
    ADD_FAILURE() << how << "; WEIR_EXERCISE_SEED=" << seed_ << "\n" << all;
  }

  task<void> one_step() {
    switch (at_most(11)) {
      case 0:
      case 1: co_return co_await write_at();
      case 2: co_return co_await write_in_pieces();
      case 3: co_return co_await write_by_stream();
      case 4: co_return co_await append();
      case 5: co_return co_await truncate();
      case 6: co_return co_await punch_hole();
      case 7: co_return map_and_write();
      case 8: co_return co_await read_by_stream();
      case 9: co_return co_await read_in_pieces();
      case 10: co_return co_await reopen();
      default: co_return co_await replace_whole();
    }
  }

  // What a write at `from` does to the model.
  void put(std::size_t from, const std::string& text) {
    if (text.empty()) return;
    if (model_.size() < from + text.size()) model_.resize(from + text.size(), '\0');
    model_.replace(from, text.size(), text);
  }

  task<void> write_at() {
    auto from = at_most(largest - longest);
    auto text = fresh(at_most(longest));
    note("write", from, text.size());
    co_await file_.write(text, from);
    put(from, text);
  }

  task<void> write_in_pieces() {
    auto from = at_most(largest - longest);
    auto text = fresh(at_most(longest));
    note("pieces", from, text.size());
    std::vector<std::span<const std::byte>> pieces;
    auto left = std::as_bytes(std::span(text));
    while (!left.empty()) {
      auto size = std::min(left.size(), at_most(3000));
      pieces.push_back(left.first(size));
      left = left.subspan(size);
    }
    co_await file_.write_pieces(pieces, from);
    put(from, text);
  }

  task<void> write_by_stream() {
    auto from = at_most(largest - longest);
    auto text = fresh(at_most(longest));
    note("stream", from, text.size());
    auto to = write_stream(path_, {.how = mode::update, .start = from, .write_behind = at_most(3) * 10'000});
    for (std::size_t i = 0; i < text.size();) {
      auto size = std::min(text.size() - i, 1 + at_most(9000));
      co_await to.write(buffer::copy_of(std::as_bytes(std::span(text).subspan(i, size))));
      i += size;
    }
    co_await to.end();
    put(from, text);
  }

  task<void> append() {
    auto text = fresh(std::min(at_most(longest), largest - std::min(largest, model_.size())));
    note("append", model_.size(), text.size());
    co_await append_file(path_, text);
    put(model_.size(), text);
  }

  task<void> truncate() {
    auto size = at_most(largest);
    note("truncate", size, 0);
    co_await file_.truncate(size);
    model_.resize(size, '\0');
  }

  task<void> punch_hole() {
    auto from = at_most(largest - longest);
    auto size = 1 + at_most(longest);
    note("hole", from, size);
    auto done = co_await attempt(file_.allocate(from, size, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE));
    if (!done && done.failure().is("EOPNOTSUPP")) co_return;
    if (!done) done.failure().rethrow();
    if (from < model_.size()) {
      auto end = std::min(from + size, model_.size());
      std::fill(model_.begin() + static_cast<std::ptrdiff_t>(from), model_.begin() + static_cast<std::ptrdiff_t>(end),
                '\0');
    }
  }

  void map_and_write() {
    if (model_.empty()) return;
    auto* mapped =
        static_cast<char*>(::mmap(nullptr, model_.size(), PROT_READ | PROT_WRITE, MAP_SHARED, file_.descriptor(), 0));
    if (mapped == MAP_FAILED) return fail("mmap");
    if (std::memcmp(mapped, model_.data(), model_.size()) != 0) fail("a mapping differs");
    auto from = at_most(model_.size() - 1);
    auto text = fresh(std::min(at_most(longest), model_.size() - from));
    note("map", from, text.size());
    std::memcpy(mapped + from, text.data(), text.size());
    ::munmap(mapped, model_.size());
    put(from, text);
  }

  task<void> read_by_stream() {
    auto from = at_most(largest);
    auto last = from + at_most(longest);
    note("read stream", from, last - from + 1);
    auto source = read_stream(path_, {.start = from, .end = last, .chunk_size = 1 + at_most(20'000)});
    std::string all;
    while (auto chunk = co_await source.next()) all.append(reinterpret_cast<const char*>(chunk->data()), chunk->size());
    check(all, from, last - from + 1);
  }

  task<void> read_in_pieces() {
    auto from = at_most(largest);
    std::array<std::array<std::byte, 5000>, 3> memory;
    std::array<std::span<std::byte>, 3> pieces = {memory[0], memory[1], memory[2]};
    note("read pieces", from, 15'000);
    auto count = co_await file_.read_pieces(pieces, from);
    std::string all;
    for (auto& each : memory) all.append(reinterpret_cast<const char*>(each.data()), each.size());
    all.resize(count);
    check(all, from, 15'000);
  }

  task<void> reopen() {
    note("reopen", 0, 0);
    co_await file_.sync();
    co_await file_.close();
    file_ = co_await open(path_, mode::update);
    auto found = co_await file_.stat();
    if (found.size != model_.size()) fail("the size is " + std::to_string(found.size));
  }

  task<void> replace_whole() {
    if (at_most(9) != 0) co_return;
    auto text = fresh(at_most(longest));
    note("write_file", 0, text.size());
    co_await write_file(path_, text);
    model_ = text;
  }

  task<void> compare(std::size_t from, std::size_t size) {
    std::string all(size, ' ');
    all.resize(co_await file_.read_full(std::as_writable_bytes(std::span(all)), from));
    check(all, from, size);
  }

  void check(const std::string& got, std::size_t from, std::size_t asked) {
    auto expected = from < model_.size() ? std::string_view(model_).substr(from, asked) : std::string_view();
    if (got == expected) return;
    auto differs = std::mismatch(got.begin(), got.end(), expected.begin(), expected.end()).first - got.begin();
    fail("read " + std::to_string(got.size()) + " bytes at " + std::to_string(from) + ", expected " +
         std::to_string(expected.size()) + "; the first that differs is at " + std::to_string(differs));
  }

  std::string path_;
  std::uint64_t seed_;
  std::mt19937_64 random_;
  file file_;
  std::string model_;
  std::deque<std::string> log_;
  bool failed_ = false;
};

std::uint64_t setting(const char* name, std::uint64_t otherwise) {
  const char* given = std::getenv(name);
  return given != nullptr ? std::strtoull(given, nullptr, 10) : otherwise;
}

TEST(FileExerciser, files_hold_what_a_model_holds_after_each_operation) {
  const char* place = std::getenv("WEIR_EXERCISE_DIR");
  weir::testing::temporary_directory directory(place != nullptr ? place : std::filesystem::temp_directory_path());
  auto until = clock::now() + std::chrono::seconds(setting("WEIR_EXERCISE_SECONDS", 2));
  auto seed = setting("WEIR_EXERCISE_SEED", std::random_device()());
  std::vector<exerciser> all;
  for (std::uint64_t i = 0; i < 6; ++i) all.emplace_back(directory / ("file" + std::to_string(i)), seed + i);
  std::size_t steps =
      weir::testing::run_with(2, [](std::vector<exerciser>& all, clock::time_point until) -> task<std::size_t> {
        std::size_t count = 0;
        co_await with_scope([&](scope& s) -> task<void> {
          std::vector<join_handle<std::size_t>> running;
          for (auto& each : all) running.push_back(s.spawn(&exerciser::run, &each, until));
          for (auto& each : running) count += co_await std::move(each);
        });
        co_return count;
      }(all, until));
  EXPECT_GT(steps, 0U);
  RecordProperty("operations", static_cast<int>(steps));
  std::cout << steps << " operations, seed " << seed << "\n";
}

}  // namespace
}  // namespace weir::fs
