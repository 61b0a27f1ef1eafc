// Whole programs around files, by the name of what they are to do.
#include <weir/core/combine.hpp>
#include <weir/core/time.hpp>
#include <weir/fs/atomic_file.hpp>
#include <weir/fs/contents.hpp>
#include <weir/fs/file_store.hpp>
#include <weir/fs/rotating_log.hpp>
#include <weir/fs/structured_log.hpp>
#include <weir/fs/watch.hpp>
#include <weir/io/signal.hpp>
#include <weir/sync/concurrency_limit.hpp>
#include <weir/weir.hpp>

#include "tests/support/cancel_at.hpp"
#include "tests/support/concurrency.hpp"
#include "tests/support/files.hpp"
#include "tests/support/run.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <signal.h>  // NOLINT: for what POSIX has beyond <csignal>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <mutex>
#include <optional>
#include <random>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

namespace weir::fs {
namespace {

using namespace std::chrono_literals;
using namespace std::string_literals;
using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::UnorderedElementsAre;
using weir::testing::file_content;
using weir::testing::put_file;
using weir::testing::rounds;
using weir::testing::run_with;
using weir::testing::temporary_directory;

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> all;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) all.push_back(line);
  return all;
}

/// A clock that tests turn. Starts at 2026-11-21T23:59:58Z.
struct turned_clock {
  std::atomic<std::int64_t> milliseconds{1795305598000};
  void advance(std::chrono::milliseconds by) { milliseconds += by.count(); }
  std::function<time_point()> reader() {
    return [this] { return time_point(std::chrono::milliseconds(milliseconds.load())); };
  }
};

// C3-SYS-30, a log in files

/// All that was logged, from the oldest file to the current one.
std::string whole_log(const temporary_directory& in, const std::string& name = "app.log") {
  std::string all;
  auto files = in.names();
  for (auto n = files.size(); n > 0; --n) {
    const auto older = in / (name + "." + std::to_string(n));
    if (std::filesystem::exists(older)) all += file_content(older);
  }
  return all + file_content(in / name);
}

TEST(C3_SYS_30_FileLog, keeps_what_was_logged_before_it_ran_and_after_it_has_ended) {
  const temporary_directory in;
  {
    rotating_log log({.directory = in / "deep/logs"});
    log.info("before there is a runtime");
    run_with(2, [](rotating_log& log) -> task<> {
      log.info("before the writer");
      co_await with_scope([&](scope& s) -> task<> {
        auto writer = s.spawn(&rotating_log::run, &log);
        log.warn("while it runs");
        co_await log.flush();
        log.error("when it is told to stop");
        writer.cancel();
        static_cast<void>(co_await attempt(std::move(writer)));
      });
      EXPECT_EQ(lines_of(file_content(log.path())).size(), 4U);
    }(log));
    log.info("at exit");
  }
  const auto lines = lines_of(file_content(in / "deep/logs/app.log"));
  EXPECT_THAT(lines, ElementsAre(EndsWith("] [INFO] before there is a runtime"), EndsWith("] [INFO] before the writer"),
                                 EndsWith("] [WARN] while it runs"), EndsWith("] [ERROR] when it is told to stop"),
                                 EndsWith("] [INFO] at exit")));
}

TEST(C3_SYS_30_FileLog, has_the_time_the_level_and_one_line_for_each_message) {
  const temporary_directory in;
  turned_clock clock;
  {
    rotating_log log({.directory = in.path(), .least = log_level::info, .now = clock.reader()});
    log.debug("not wanted");
    log.info("two\nlines\r");
    clock.advance(1ms);
    log.write_line("raw");
  }
  EXPECT_EQ(file_content(in / "app.log"), "[2026-11-21T23:59:58.000Z] [INFO] two\\nlines\\r\nraw\n");
}

// Several threads and tasks log while files change all the time.
TEST(C3_SYS_30_FileLog, loses_no_line_and_keeps_the_order_while_files_change) {
  const temporary_directory in;
  constexpr int sources = 4;
  constexpr auto each = rounds(4000);
  {
    rotating_log log({.directory = in.path(), .max_size = 1500, .keep = std::nullopt, .max_pending = 100'000});
    run_with(2, with_scope([&](scope& s) -> task<> {
               auto writer = s.spawn(&rotating_log::run, &log);
               std::vector<std::thread> threads;
               for (int source = 0; source < sources; ++source) {
                 threads.emplace_back([&log, source] {
                   for (std::size_t n = 0; n < each; ++n) {
                     log.write_line(std::to_string(source) + " " + std::to_string(n));
                   }
                 });
               }
               for (int i = 0; i < 5; ++i) co_await log.rotate();
               co_await blocking([&] {
                 for (auto& thread : threads) thread.join();
               });
               writer.cancel();
             }));
    EXPECT_EQ(log.lost(), 0U);
  }
  std::array<std::size_t, sources> next = {};
  for (const auto& line : lines_of(whole_log(in))) {
    const auto source = static_cast<std::size_t>(line[0] - '0');
    ASSERT_EQ(line.substr(2), std::to_string(next[source]++)) << "of source " << source;
  }
  for (auto count : next) EXPECT_EQ(count, each);
  EXPECT_GT(in.names().size(), 5U);
  for (const auto& name : in.names()) EXPECT_LE(std::filesystem::file_size(in / name), 1500U);
}

TEST(C3_SYS_30_FileLog, keeps_a_number_of_older_files) {
  const temporary_directory in;
  put_file(in / "app.log.old", "somebody else's");
  put_file(in / "app-2026-11-21.log", "of another log");
  rotating_log log({.directory = in.path(), .max_size = 10, .keep = 2});
  for (int i = 0; i < 6; ++i) log.write_line("line " + std::to_string(i));
  log.flush().now();
  EXPECT_THAT(in.names(),
              UnorderedElementsAre("app.log", "app.log.1", "app.log.2", "app.log.old", "app-2026-11-21.log"));
  EXPECT_EQ(whole_log(in), "line 3\nline 4\nline 5\n");
  log.write_line("one that is longer than a file may be");
  log.flush().now();
  EXPECT_EQ(file_content(log.path()), "one that is longer than a file may be\n");
}

TEST(C3_SYS_30_FileLog, has_a_file_for_each_day_and_a_line_is_in_that_of_its_own) {
  const temporary_directory in;
  turned_clock clock;
  rotating_log log({.directory = in.path(), .daily = true, .keep = 2, .now = clock.reader()});
  log.write_line("saturday");
  clock.advance(1999ms);
  log.write_line("saturday, the last millisecond");
  clock.advance(1ms);
  log.write_line("sunday");  // all three in one batch
  log.flush().now();
  EXPECT_EQ(file_content(in / "app-2026-11-21.log"), "saturday\nsaturday, the last millisecond\n");
  EXPECT_EQ(file_content(in / "app-2026-11-22.log"), "sunday\n");
  for (int day = 0; day < 2; ++day) {
    clock.advance(24h);
    log.write_line("later");
    log.flush().now();
  }
  EXPECT_THAT(in.names(), ElementsAre("app-2026-11-22.log", "app-2026-11-23.log", "app-2026-11-24.log"));
  EXPECT_EQ(log.path(), in / "app-2026-11-24.log");
}

TEST(C3_SYS_30_FileLog, opens_the_file_anew_where_somebody_has_moved_it) {
  const temporary_directory in;
  rotating_log log({.directory = in.path()});
  log.write_line("one");
  log.flush().now();
  std::filesystem::rename(in / "app.log", in / "moved");
  log.write_line("two");
  log.flush().now();
  std::filesystem::remove(in / "app.log");
  log.write_line("three");
  log.flush().now();
  EXPECT_EQ(file_content(in / "moved"), "one\n");
  EXPECT_EQ(file_content(in / "app.log"), "three\n");
}

bool is_open_here(const std::string& path) {
  for (const auto& each : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code gone;
    if (std::filesystem::read_symlink(each.path(), gone) == path) return true;
  }
  return false;
}

// What logrotate does: it moves the file, and sends SIGHUP before it compresses it.
TEST(C3_SYS_30_FileLog, lets_go_of_a_file_that_was_moved_on_a_signal) {
  const temporary_directory in;
  rotating_log log({.directory = in.path(), .reopen_on = SIGHUP});
  const io::signals harmless({SIGHUP});  // until the log listens
  run_with(1, with_scope([&](scope& s) -> task<> {
             auto writer = s.spawn_local(&rotating_log::run, &log);
             log.write_line("one");
             co_await log.flush();
             std::filesystem::rename(in / "app.log", in / "moved");
             EXPECT_TRUE(is_open_here(in / "moved"));
             while (is_open_here(in / "moved")) {
               ::raise(SIGHUP);
               co_await yield();
             }
             log.write_line("two");
             co_await log.flush();
             writer.cancel();
           }));
  EXPECT_EQ(file_content(in / "moved"), "one\n");
  EXPECT_EQ(file_content(in / "app.log"), "two\n");
}

TEST(C3_SYS_30_FileLog, is_shared_by_processes_that_all_change_its_files) {
  const temporary_directory in;
  const auto each = rounds(400, 8);
  std::vector<pid_t> children;
  for (int source = 0; source < 3; ++source) {
    const auto child = ::fork();
    if (child == 0) {
      {
        rotating_log log({.directory = in.path(), .max_size = 1000, .keep = std::nullopt});
        for (std::size_t n = 0; n < each; ++n) {
          log.write_line(std::to_string(source) + " " + std::to_string(n));
          if (n % 5 == 0) log.flush().now();
        }
      }
      ::_exit(0);
    }
    children.push_back(child);
  }
  for (auto child : children) {
    int status = 0;
    ::waitpid(child, &status, 0);
    EXPECT_EQ(status, 0);
  }
  std::map<std::string, int> seen;
  for (const auto& line : lines_of(whole_log(in))) ++seen[line];
  EXPECT_EQ(seen.size(), 3 * each);
  for (const auto& [line, times] : seen) EXPECT_EQ(times, 1) << line;
}

TEST(C3_SYS_30_FileLog, tries_again_what_it_could_not_write_and_says_what_it_had_no_room_for) {
  const temporary_directory in;
  put_file(in / "logs", "a file where the directory should be");
  std::atomic<int> failures{0};
  rotating_log log(
      {.directory = in / "logs", .max_pending = 100, .retry_after = 1ms, .on_error = [&](const failure& why) {
         EXPECT_TRUE(why.is("EEXIST") || why.is("ENOTDIR")) << why.message();
         ++failures;
       }});
  run_with(1, with_scope([&](scope& s) -> task<> {
             auto writer = s.spawn_local(&rotating_log::run, &log);
             for (int i = 0; i < 20; ++i) log.write_line("line number " + std::to_string(10 + i));
             EXPECT_GT(log.lost(), 0U);
             while (failures < 3) co_await yield();
             EXPECT_FALSE(co_await attempt(log.flush()));
             std::filesystem::remove(in / "logs");
             co_await log.flush();
             log.write_line("afterwards");
             writer.cancel();
           }));
  const auto lines = lines_of(file_content(log.path()));
  const auto kept = 20 - log.lost();
  ASSERT_EQ(lines.size(), kept + 2);
  for (std::size_t i = 0; i < kept; ++i) EXPECT_EQ(lines[i], "line number " + std::to_string(10 + i));
  EXPECT_THAT(lines[kept], HasSubstr(std::to_string(log.lost()) + " lines were lost"));
  EXPECT_EQ(lines[kept + 1], "afterwards");
}

TEST(C3_SYS_30_FileLog, copies_its_lines_elsewhere) {
  const temporary_directory in;
  const auto copy = open(in / "console", mode::write).now();
  {
    rotating_log log({.directory = in.path(), .max_size = 8, .flush = true, .copy_to = copy.descriptor()});
    log.write_line("first");
    log.write_line("second");
  }
  EXPECT_EQ(file_content(in / "console"), "first\nsecond\n");
}

// C3-SYS-75, a log for machines

TEST(C3_SYS_75_StructuredLog, writes_a_json_object_a_line_to_each_place_that_wants_it) {
  const temporary_directory in;
  turned_clock clock;
  {
    rotating_log everything({.directory = in.path(), .name = "all"});
    rotating_log errors({.directory = in.path(), .name = "errors"});
    structured_log log({.now = clock.reader()});
    log.error("to nobody");
    log.add_sink(everything, log_level::info);
    log.add_sink(errors, log_level::error);
    log.debug("not wanted");
    log.info("request", {{"method", "GET"}, {"status", 200}, {"ms", 1.5}, {"cached", false}, {"user", nullptr}});
    log.error("tricky \"text\"\\\n\x01\xff", {{"a\nb", "\xff"}, {"nan", std::nan("")}, {"big", ~std::uint64_t{0}}});
    const auto request = log.with({{"id", 7}, {"Authorization", "Bearer abc"}});
    request.warn("login", {{"password", "hunter2"}, {"PASSWORD", 1}});
  }
  constexpr auto start = "{\"time\":\"2026-11-21T23:59:58.000Z\",\"level\":\"";
  const auto bad = start +
                   "error\",\"message\":\"tricky \\\"text\\\"\\\\\\n\\u0001\uFFFD\",\"a\\nb\":\"\uFFFD\",\"nan\":null,"
                   "\"big\":18446744073709551615}"s;
  EXPECT_THAT(lines_of(file_content(in / "all.log")),
              ElementsAre(start + "info\",\"message\":\"request\",\"method\":\"GET\",\"status\":200,\"ms\":1.5,"
                                  "\"cached\":false,\"user\":null}"s,
                          bad,
                          start + "warn\",\"message\":\"login\",\"id\":7,\"Authorization\":\"[redacted]\","
                                  "\"password\":\"[redacted]\",\"PASSWORD\":\"[redacted]\"}"s));
  EXPECT_THAT(lines_of(file_content(in / "errors.log")), ElementsAre(bad));
}

// C3-FS-26 to C3-FS-32, a store of values in files

file_store open_store(const std::string& path, file_store_options options = {}) {
  options.flush = durability::none;
  return file_store::open(path, std::move(options)).now();
}

std::optional<std::string> text_at(const file_store& store, const std::string& key) {
  auto found = store.get(key).now();
  return found ? std::optional(std::string(found->text())) : std::nullopt;
}

TEST(C3_FS_26_FileStore, is_ready_when_it_has_been_opened) {
  const temporary_directory in;
  run_with(1, [](std::string path) -> task<> {
    auto store = co_await file_store::open(path);
    co_await store.set("key", "value");
    auto again = co_await file_store::open(path);
    auto found = co_await again.get("key");
    EXPECT_TRUE(found && found->to_string() == "value");
  }(in / "deep/store"));
  put_file(in / "file", "");
  auto refused = file_store::open(in / "file").try_now();
  EXPECT_FALSE(refused);
}

TEST(C3_FS_27_FileStore, takes_any_text_for_a_key_and_stays_in_its_directory) {
  const temporary_directory in;
  const auto store = open_store(in / "store");
  const std::vector<std::string> keys = {
      "", "user:123", "../../etc/passwd", "/", ".", "..", "a b", "A b", "a\0b"s, "ä€😀", "%", "%2F", "con", "\xff\xfe"};
  for (const auto& key : keys) store.set(key, "of <" + key + ">").now();
  for (const auto& key : keys) EXPECT_EQ(text_at(store, key), "of <" + key + ">");
  EXPECT_THAT(store.keys().now(), ::testing::UnorderedElementsAreArray(keys));
  EXPECT_THAT(in.names(), ElementsAre("store"));

  const std::string longest(240, 'k');
  store.set(longest, "x").now();
  EXPECT_EQ(text_at(store, longest), "x");
  auto longer = store.set(longest + "k", "x").try_now();
  EXPECT_TRUE(!longer && longer.failure().is("ERR_OUT_OF_RANGE"));
}

TEST(C3_FS_28_FileStore, lets_values_live_for_a_time) {
  const temporary_directory in;
  turned_clock clock;
  const auto store = open_store(in / "store", {.max_value = 1000, .now = clock.reader()});
  store.set("short", "1", 60s).now();
  store.set("always", "2", 0s).now();
  store.set("default", "3").now();
  store.set("again", "old", 60s).now();
  clock.advance(59'999ms);
  store.set("again", "new", 60s).now();
  EXPECT_EQ(text_at(store, "short"), "1");
  clock.advance(1ms);
  EXPECT_EQ(text_at(store, "short"), std::nullopt);
  EXPECT_EQ(text_at(store, "again"), "new");
  clock.advance(100h);
  EXPECT_EQ(text_at(store, "always"), "2");
  EXPECT_EQ(text_at(store, "default"), "3");

  auto negative = store.set("key", "x", -1ms).try_now();
  EXPECT_TRUE(!negative && negative.failure().is("ERR_OUT_OF_RANGE"));
  auto large = store.set("key", std::string(1001, 'x')).try_now();
  EXPECT_TRUE(!large && large.failure().is("ERR_OUT_OF_RANGE"));
  EXPECT_EQ(text_at(store, "key"), std::nullopt);
}

TEST(C3_FS_28_FileStore, has_the_old_value_or_the_new_while_others_set_it) {
  const temporary_directory in;
  run_with(2, [](std::string path) -> task<> {
    auto store = co_await file_store::open(path, {.flush = durability::none});
    co_await store.set("key", std::string(30'000, 'a'));
    co_await with_scope([&](scope& s) -> task<> {
      for (char letter = 'a'; letter < 'g'; ++letter) {
        s.spawn([&store, letter]() -> task<> {
          const std::string mine(30'000, letter);
          for (std::size_t n = 0; n < rounds(50); ++n) {
            co_await store.set("key", mine);
            auto found = co_await store.get("key");
            EXPECT_TRUE(found && found->size() == 30'000);
            if (found) EXPECT_EQ(found->text().find_first_not_of(found->text()[0]), std::string_view::npos);
          }
        });
      }
      co_return;
    });
  }(in / "store"));
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(in / "store"), {}), 1);
}

TEST(C3_FS_29_FileStore, erases_what_is_past_its_time_and_tells_what_was_damaged) {
  const temporary_directory in;
  turned_clock clock;
  const auto store = open_store(in / "store", {.now = clock.reader()});
  store.set("key", "value", 1s).now();
  clock.advance(1s);
  EXPECT_TRUE(std::filesystem::exists(store.path_for("key")));
  EXPECT_EQ(text_at(store, "key"), std::nullopt);
  EXPECT_FALSE(std::filesystem::exists(store.path_for("key")));
  EXPECT_EQ(text_at(store, "never there"), std::nullopt);

  store.set("good", "value").now();
  for (const auto& damage : {""s, "{\"value\": 1"s, "weir-store 1 0 5 0000000000000000\nvalue"s,
                             "weir-store 1 0 99999 cbf29ce484222325\nvalue"s, "weir-store 1 x"s}) {
    put_file(store.path_for("bad"), damage);
    auto read = store.get("bad").try_now();
    ASSERT_FALSE(read) << damage;
    EXPECT_TRUE(read.failure().is("ERR_ENCODING_INVALID_ENCODED_DATA"));
    EXPECT_EQ(read.failure().error().path(), store.path_for("bad"));
  }
  EXPECT_EQ(text_at(store, "good"), "value");
  store.set("bad", "mended").now();
  EXPECT_EQ(text_at(store, "bad"), "mended");
}

// One who finds the value past its time must not erase the new one that comes in between.
TEST(C3_FS_29_FileStore, never_erases_a_value_that_was_just_stored) {
  const temporary_directory in;
  turned_clock clock;
  run_with(2, [](std::string path, turned_clock& clock) -> task<> {
    auto store = co_await file_store::open(path, {.flush = durability::none, .now = clock.reader()});
    for (std::size_t n = 0; n < rounds(300); ++n) {
      co_await store.set("key", "old", 1ms);
      clock.advance(1ms);
      co_await all(store.get("key"), store.set("key", "new", 1h), store.get("key"), store.sweep());
      auto found = co_await store.get("key");
      EXPECT_TRUE(found && found->text() == "new") << n;
    }
  }(in / "store", clock));
}

TEST(C3_FS_30_FileStore, says_whether_there_was_something_to_erase) {
  const temporary_directory in;
  const auto store = open_store(in / "store");
  store.set("key", "value").now();
  EXPECT_TRUE(store.erase("key").now());
  EXPECT_FALSE(store.erase("key").now());
  std::filesystem::create_directory(store.path_for("odd"));
  auto failed = store.erase("odd").try_now();
  EXPECT_TRUE(!failed && failed.failure().is("EISDIR"));
}

TEST(C3_FS_31_FileStore, clears_all_it_can_and_tells_of_the_rest) {
  const temporary_directory in;
  const auto store = open_store(in / "store");
  for (int i = 0; i < 20; ++i) store.set("key" + std::to_string(i), "value").now();
  std::filesystem::create_directory(store.path_for("odd"));
  put_file(in / "store/README", "not ours");
  auto report = store.clear().now();
  EXPECT_EQ(report.removed, 20U);
  ASSERT_EQ(report.failures.size(), 1U);
  EXPECT_EQ(report.failures[0].path, store.path_for("odd"));
  EXPECT_TRUE(report.failures[0].why.is("EISDIR"));
  EXPECT_TRUE(std::filesystem::exists(in / "store/README"));
  std::filesystem::remove_all(in / "store");
  auto gone = store.clear().try_now();
  EXPECT_TRUE(!gone && gone.failure().is("ENOENT"));
}

TEST(C3_FS_32_FileStore, sweeps_what_is_past_its_time_whatever_else_it_finds) {
  const temporary_directory in;
  turned_clock clock;
  const auto store = open_store(in / "store", {.now = clock.reader()});
  for (int i = 0; i < 10; ++i) store.set("short" + std::to_string(i), "value", 1s).now();
  for (int i = 0; i < 10; ++i) store.set("long" + std::to_string(i), "value", 10s).now();
  put_file(store.path_for("bad"), "not an entry");
  put_file(in / "store/.key.entry.0123456789abcdef.tmp", "of a writer that was killed");
  put_file(in / "store/.key.entry.fedcba9876543210.tmp", "of one that is at work");
  std::filesystem::last_write_time(in / "store/.key.entry.0123456789abcdef.tmp",
                                   std::filesystem::file_time_type::clock::now() - 2h);
  clock.advance(5s);
  auto report = store.sweep().now();
  EXPECT_EQ(report.removed, 11U);
  ASSERT_EQ(report.failures.size(), 1U);
  EXPECT_EQ(report.failures[0].path, store.path_for("bad"));
  EXPECT_EQ(store.keys().now().size(), 11U);
  EXPECT_TRUE(std::filesystem::exists(in / "store/.key.entry.fedcba9876543210.tmp"));
}

// C0-FS-26: a cache whose entries live an hour unless told otherwise, and of which nothing is left afterwards
TEST(C0_FS_26_FileCache, loads_once_for_an_hour_and_leaves_nothing_behind) {
  const temporary_directory in;
  turned_clock clock;
  run_with(1, [](std::string path, turned_clock& clock) -> task<> {
    auto cache = co_await file_store::open(path, {.ttl = 1h, .flush = durability::none, .now = clock.reader()});
    int loads = 0;
    const auto cached = [&](std::string key) -> task<std::string> {
      if (auto found = co_await cache.get(key)) co_return found->to_string();
      auto loaded = key + std::to_string(++loads);
      co_await cache.set(key, loaded);
      co_return loaded;
    };
    EXPECT_EQ(co_await cached("a"), "a1");
    EXPECT_EQ(co_await cached("a"), "a1");
    clock.advance(1h - 1ms);
    EXPECT_EQ(co_await cached("a"), "a1");
    clock.advance(1ms);
    EXPECT_EQ(co_await cached("a"), "a2");
    for (int i = 0; i < 100; ++i) co_await cached("key " + std::to_string(i));
    clock.advance(1h);
    EXPECT_EQ((co_await cache.sweep()).removed, 101U);
  }(in / "cache", clock));
  EXPECT_TRUE(std::filesystem::is_empty(in / "cache"));
}

// C2-SYS-02, reading many files at most so many at a time

struct reading {
  std::atomic<int> inside{0};
  std::atomic<int> most{0};

  task<std::string> read(std::string path) {
    const int now = ++inside;
    int seen = most;
    while (seen < now && !most.compare_exchange_weak(seen, now)) {
    }
    auto text = co_await attempt(read_text(path));
    --inside;
    co_return std::move(text).value();
  }
};

using read_records = std::vector<result<std::string>>;

task<read_records> read_by_workers(std::vector<std::string> paths, std::size_t limit, reading& by) {
  co_return co_await sync::map_limit_settled(paths, limit, [&](const std::string& path) { return by.read(path); });
}

task<read_records> read_through_gate(std::vector<std::string> paths, std::size_t limit, reading& by) {
  sync::concurrency_limit gate(limit);
  std::vector<task<std::string>> all;
  for (const auto& path : paths) all.push_back(gate.run([&by, path] { return by.read(path); }));
  co_return co_await all_settled(std::move(all));
}

TEST(C2_SYS_02_ConcurrentReader, reads_in_order_with_a_limit_and_a_failure_is_its_own) {
  const temporary_directory in;
  std::vector<std::string> paths;
  for (int i = 0; i < 40; ++i) {
    paths.push_back(in / std::to_string(i));
    put_file(paths.back(), "content " + std::to_string(i));
  }
  std::filesystem::remove(paths[17]);
  for (auto* form : {&read_by_workers, &read_through_gate}) {
    for (unsigned workers : {1U, 3U}) {
      reading by;
      auto records = run_with(workers, form(paths, 3, by));
      EXPECT_EQ(by.most, 3);
      ASSERT_EQ(records.size(), paths.size());
      for (std::size_t i = 0; i < records.size(); ++i) {
        if (i != 17) EXPECT_EQ(records[i].value(), "content " + std::to_string(i));
      }
      ASSERT_FALSE(records[17]);
      EXPECT_EQ(records[17].failure().message(), "ENOENT: no such file or directory, open '" + paths[17] + "'");
      EXPECT_EQ(records[17].failure().error().path(), paths[17]);
    }
    reading by;
    EXPECT_TRUE(run_with(1, form({}, 2, by)).empty());
    try {
      run_with(1, form(paths, 0, by));
      ADD_FAILURE() << "a limit of 0 was taken";
    } catch (const error& why) {
      EXPECT_TRUE(why.is("ERR_OUT_OF_RANGE"));
    }
    EXPECT_EQ(by.most, 0);
  }
}

// C2-UP-03 and C2-UP-04, where uploads are kept

/// Keeps an upload under a name of its own: what the client calls it, made harmless, behind a number.
task<std::string> keep_upload(std::string directory, std::string called, std::string content) {
  for (char& c : called) {
    if (std::isalnum(static_cast<unsigned char>(c)) == 0 && c != '.' && c != '-') c = '_';
  }
  if (called.empty()) called = "unnamed";
  for (int n = 0;; ++n) {
    auto path = directory + "/" + std::to_string(n) + "-" + called.substr(0, 100);
    auto kept = co_await attempt(write_file_atomic(path, content, {.flush = durability::none, .replace = false}));
    if (kept) co_return path;
    if (!kept.failure().is("EEXIST")) kept.failure().rethrow();
  }
}

TEST(C2_UP_04_Uploads, of_the_same_name_at_the_same_moment_are_all_kept) {
  const temporary_directory in;
  std::vector<std::string> kept;
  run_with(3, [](std::string directory, std::vector<std::string>& kept) -> task<> {
    std::vector<int> numbers(40);
    for (int i = 0; i < 40; ++i) numbers[static_cast<std::size_t>(i)] = i;
    kept = co_await sync::map_limit(numbers, 16, [&](int i) -> task<std::string> {
      return keep_upload(directory, "../My photo?.jpg", "upload " + std::to_string(i));
    });
    kept.push_back(co_await keep_upload(directory, "", "no name"));
  }(in.path(), kept));
  EXPECT_EQ(in.names().size(), 41U);
  for (int i = 0; i < 40; ++i) {
    EXPECT_EQ(file_content(kept[static_cast<std::size_t>(i)]), "upload " + std::to_string(i));
    EXPECT_THAT(kept[static_cast<std::size_t>(i)], EndsWith("-.._My_photo_.jpg"));
  }
  EXPECT_EQ(file_content(kept[40]), "no name");
}

TEST(C2_UP_03_Uploads, have_a_directory_that_many_make_at_once) {
  const temporary_directory in;
  run_with(3, [](std::string path) -> task<> {
    std::vector<task<file_store>> all_at_once;
    for (int i = 0; i < 20; ++i) {
      all_at_once.push_back([](std::string at) -> task<file_store> { co_return co_await file_store::open(at); }(path));
    }
    auto stores = co_await all(std::move(all_at_once));
    EXPECT_EQ(stores.size(), 20U);
  }(in / "a/b/c/uploads"));
  EXPECT_TRUE(std::filesystem::is_directory(in / "a/b/c/uploads"));
}

// C0-FS-10, a configuration that follows its file

/// Reads "number=<n>" again once the file, or another one of its name, has been quiet for a while. What cannot be read
/// leaves the old value, and is told.
class config_follower {
 public:
  explicit config_follower(std::string path) : path_(std::move(path)) {}

  task<> follow() {
    auto changes = co_await watch(path_);
    co_await reload();
    while (co_await changes.next()) {
      while (co_await attempt(timeout(quiet, changes.next()))) continue;  // the last one counts
      co_await reload();
    }
  }

  int value = 0;
  int reloads = 0;
  int errors = 0;

 private:
  static constexpr auto quiet = 20ms;

  task<> reload() {
    auto text = co_await attempt(read_text(path_));
    constexpr std::string_view name = "number=";
    int number = 0;
    const bool good =
        text && text->starts_with(name) &&
        std::from_chars(text->data() + name.size(), text->data() + text->size(), number).ec == std::errc();
    if (good) value = number;
    ++(good ? reloads : errors);
  }

  std::string path_;
};

task<> save(const std::string& path, int number) {
  co_await write_file_atomic(path, "number=" + std::to_string(number), {.flush = durability::none});
}

TEST(C0_FS_10_ConfigReload, follows_a_file_that_is_replaced_again_and_again) {
  const temporary_directory in;
  const auto path = in / "config";
  put_file(path, "number=1");
  run_with(1, [](std::string path) -> task<> {
    config_follower config(path);
    const auto until = [&](auto reached) -> task<> {
      while (!reached()) co_await sleep(1ms);
    };
    co_await with_scope([&](scope& s) -> task<> {
      auto following = s.spawn_local(&config_follower::follow, &config);
      co_await until([&] { return config.value == 1; });
      for (int n = 2; n < 8; ++n) {
        co_await save(path, n);
        co_await until([&] { return config.value == n; });
      }
      std::fstream(path, std::ios::in | std::ios::out) << "number=100";  // in place
      co_await until([&] { return config.value == 100; });
      co_await write_file_atomic(path, "nonsense"s);
      co_await until([&] { return config.errors > 0; });
      EXPECT_EQ(config.value, 100);
      std::filesystem::remove(path);
      co_await save(path, 9);
      co_await until([&] { return config.value == 9; });
      following.cancel();
    });
  }(path));
}

TEST(C0_FS_10_ConfigReload, reads_a_file_once_that_is_saved_many_times_in_a_row) {
  const temporary_directory in;
  const auto path = in / "config";
  put_file(path, "number=0");
  run_with(1, [](std::string path) -> task<> {
    config_follower config(path);
    co_await with_scope([&](scope& s) -> task<> {
      auto following = s.spawn_local(&config_follower::follow, &config);
      while (config.reloads == 0) co_await sleep(1ms);
      constexpr int saves = 200;
      for (int n = 1; n <= saves; ++n) co_await save(path, n);
      while (config.value != saves) co_await sleep(1ms);
      EXPECT_LT(config.reloads, saves / 2) << "once, unless this machine holds the saves up";
      following.cancel();
    });
  }(path));
}

}  // namespace
}  // namespace weir::fs
