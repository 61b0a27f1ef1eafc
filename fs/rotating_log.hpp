// fs/rotating_log.hpp: a log in a file that gives way to the next by size or by day, the older ones kept in a number.
// Lines are taken at any time and from anywhere, without waiting for the disk, and written in batches by a task; none
// is lost that was logged before that task ran, while files change, or after it has ended. Rests on fs/call.
#pragma once

#include <weir/core/event.hpp>
#include <weir/core/result.hpp>
#include <weir/core/task.hpp>
#include <weir/fs/call.hpp>
#include <weir/fs/stat.hpp>
#include <weir/io/descriptor.hpp>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace weir::fs {

enum class log_level : std::uint8_t { debug, info, warn, error };

struct rotating_log_options {
  std::string directory = "logs";  ///< made if missing, with those above it
  std::string name = "app";    ///< the file is "app.log", or "app-2026-11-21.log" if daily; older ones "app.log.1" ...
  bool daily = false;          ///< a line goes into the file of the day (UTC) it was logged on
  std::uint64_t max_size = 0;  ///< bytes; a line that would make the file larger begins a new one. 0: any size
  std::optional<unsigned> keep = 7;    ///< older files that stay beside the current one, by number or day; not set: all
  log_level least = log_level::debug;  ///< what is below is not logged
  bool flush = false;                  ///< each batch is told to the disk (fdatasync)
  int copy_to = -1;                    ///< a descriptor that gets every line as well: STDERR_FILENO
  int reopen_on = 0;                   ///< a signal on which `run` does what `reopen` does: SIGHUP
  /// Bytes of lines that wait to be written. Whoever logs beyond that writes them out himself, waiting for the disk.
  std::size_t max_pending = std::size_t{8} << 20;
  /// After a write that failed: how long `run` waits until it tries again.
  std::chrono::milliseconds retry_after = std::chrono::seconds(1);
  /// Told of each write that fails, on any thread; it must not log here. Not set: the first is printed.
  std::function<void(const failure&)> on_error = {};
  std::function<time_point()> now = {};  ///< the clock; not set: the system's
};

/// A log. Several processes may write to the same files: a line is written in one piece, at the end. A file that was
/// moved or removed by somebody else (logrotate) is made again.
///
/// Lines are in the file in the order in which they were logged. What cannot be written, for a full disk, waits and is
/// tried again; beyond `max_pending` lines are lost then, counted, and their number is logged.
class rotating_log {
 public:
  /// Makes no system call; lines may be logged at once, also before there is a runtime.
  explicit rotating_log(rotating_log_options options = {});
  rotating_log(const rotating_log&) = delete;
  rotating_log& operator=(const rotating_log&) = delete;
  /// Writes what is left, on this thread.
  ~rotating_log();

  /// "[2026-11-21T18:14:03.123Z] [INFO] message". Line breaks in the message are escaped, so that nobody can log in
  /// another's name. Any thread.
  void log(log_level level, std::string_view message);
  void debug(std::string_view message) { log(log_level::debug, message); }
  void info(std::string_view message) { log(log_level::info, message); }
  void warn(std::string_view message) { log(log_level::warn, message); }
  void error(std::string_view message) { log(log_level::error, message); }

  /// The text as it is, and a line break. Any thread.
  void write_line(std::string_view text);

  /// Writes lines as they come, until it is cancelled; then what is left. Spawn it in a scope that the log outlives.
  /// Without it lines wait for `flush`, the destructor, or the limit.
  task<void> run();

  /// Completes when all that was logged before is written. @throws weir::error what the write failed with
  call<void> flush();

  /// The same, and then a new file.
  call<void> rotate();

  /// Writes what was logged and lets go of the file; the next line opens it anew. For after it was moved away: lines
  /// go to a new one without this as well, but what was moved stays open until then.
  call<void> reopen();

  /// Where lines of now go.
  std::string path() const;
  /// Lines that there was no room for.
  std::uint64_t lost() const noexcept { return lost_.load(std::memory_order_relaxed); }

 private:
  using day = std::chrono::sys_days;
  struct entry {
    std::size_t end;  ///< of the line in the text
    day date;
  };
  struct batch {
    std::string text;
    std::vector<entry> lines;
    std::size_t written = 0;  ///< bytes of the text
    std::size_t next = 0;     ///< the first line that is not wholly written

    void clear() noexcept;  ///< keeps the memory
  };

  time_point now() const { return options_.now ? options_.now() : time_point(std::chrono::system_clock::now()); }
  template <class F>
  void add(std::size_t room, F append);
  void append_head(time_point at, log_level level);
  void note_lost(time_point at);
  result<void> drain();
  result<void> drain_locked();
  result<void> write_batch();
  result<void> write_lines(std::size_t end);
  result<void> prepare(const entry& line);
  result<void> check();
  result<void> open_file(const std::string& path);
  result<void> rotate_files();
  void prune() const;
  void copy_out(std::string_view text) const noexcept;
  bool is_ours(const std::string& path) const noexcept;
  std::string path_for(day date) const;
  void report(const failure& why);
  task<void> keep_writing();
  task<void> keep_reopening();

  rotating_log_options options_;
  mutable std::mutex lock_;  // guards what follows up to wake_
  batch pending_;
  std::chrono::sys_seconds second_ = std::chrono::sys_seconds::min();
  std::string second_text_;
  std::uint64_t lost_told_ = 0;
  event wake_;
  std::atomic<std::uint64_t> lost_{0};

  std::mutex writing_;  // guards the rest; taken before lock_
  batch batch_;
  io::descriptor file_;
  std::string path_;
  std::uint64_t size_ = 0;
  bool checked_ = false;
  bool failing_ = false;
};

namespace detail {

/// "2026-11-21T18:14:03.123Z"
void append_iso_time(std::string& to, time_point at);

}  // namespace detail
}  // namespace weir::fs
