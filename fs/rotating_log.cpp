#include <weir/fs/rotating_log.hpp>

#include <weir/core/combine.hpp>
#include <weir/core/scope.hpp>
#include <weir/core/time.hpp>
#include <weir/fs/directory.hpp>
#include <weir/fs/error.hpp>
#include <weir/io/signal.hpp>

#include <fmt/format.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <iterator>
#include <tuple>
#include <utility>

namespace weir::fs {
namespace {

constexpr std::string_view suffix = ".log";
constexpr std::size_t head_room = 48;  // for what a line has before its message

std::string_view name_of(log_level level) noexcept {
  constexpr std::array<std::string_view, 4> names = {"DEBUG", "INFO", "WARN", "ERROR"};
  return names[static_cast<std::size_t>(level) % names.size()];
}

std::string date_text(std::chrono::sys_days date) {
  const std::chrono::year_month_day d(date);
  return fmt::format("{:04}-{:02}-{:02}", static_cast<int>(d.year()), static_cast<unsigned>(d.month()),
                     static_cast<unsigned>(d.day()));
}

void append_escaped(std::string& to, std::string_view message) {
  for (auto at = message.find_first_of("\r\n"); at != std::string_view::npos; at = message.find_first_of("\r\n")) {
    to.append(message.substr(0, at)).append(message[at] == '\n' ? "\\n" : "\\r");
    message.remove_prefix(at + 1);
  }
  to += message;
}

/// An older file: of which day ("" if they are not daily), and its number there.
struct older {
  std::string date;
  unsigned number = 0;
  std::string name;
};

bool is_date(std::string_view text) noexcept {
  return text.size() == 10 && std::all_of(text.begin(), text.end(), [&](const char& c) {
           const auto at = &c - text.data();
           return at == 4 || at == 7 ? c == '-' : c >= '0' && c <= '9';
         });
}

std::optional<older> parse_name(std::string_view name, std::string_view base, bool daily) {
  older found = {.name = std::string(name)};
  if (!name.starts_with(base)) return std::nullopt;
  name.remove_prefix(base.size());
  if (daily) {
    if (!name.starts_with('-') || !is_date(name.substr(1, 10))) return std::nullopt;
    found.date = name.substr(1, 10);
    name.remove_prefix(11);
  }
  if (!name.starts_with(suffix)) return std::nullopt;
  name.remove_prefix(suffix.size());
  if (name.empty()) return found;
  if (!name.starts_with('.')) return std::nullopt;
  const auto* end = name.data() + name.size();
  const auto [stopped, wrong] = std::from_chars(name.data() + 1, end, found.number);
  if (wrong != std::errc() || stopped != end || found.number == 0) return std::nullopt;
  return found;
}

std::string numbered(const std::string& path, unsigned number) { return fmt::format("{}.{}", path, number); }

}  // namespace

void detail::append_iso_time(std::string& to, time_point at) {
  const auto date = std::chrono::floor<std::chrono::days>(at);
  const std::chrono::hh_mm_ss clock(std::chrono::floor<std::chrono::milliseconds>(at - date));
  fmt::format_to(std::back_inserter(to), "{}T{:02}:{:02}:{:02}.{:03}Z", date_text(date), clock.hours().count(),
                 clock.minutes().count(), clock.seconds().count(), clock.subseconds().count());
}

void rotating_log::batch::clear() noexcept {
  text.clear();
  lines.clear();
  written = 0;
  next = 0;
}

rotating_log::rotating_log(rotating_log_options options) : options_(std::move(options)) {}

rotating_log::~rotating_log() { static_cast<void>(drain()); }

void rotating_log::log(log_level level, std::string_view message) {
  if (level < options_.least) return;
  add(head_room + message.size(), [&](std::string& to, time_point at) {
    append_head(at, level);
    append_escaped(to, message);
  });
}

void rotating_log::write_line(std::string_view text) {
  add(text.size() + 1, [&](std::string& to, time_point) { to += text; });
}

// The time is taken under the lock, so that it never goes back from line to line unless the clock does.
template <class F>
void rotating_log::add(std::size_t room, F append) {
  std::unique_lock guard(lock_);
  const auto full = [&] { return !pending_.text.empty() && pending_.text.size() + room > options_.max_pending; };
  if (full()) {
    guard.unlock();
    const bool written = drain().has_value();
    guard.lock();
    if (!written && full()) {
      lost_.fetch_add(1, std::memory_order_relaxed);
      return;
    }
  }
  const auto at = now();
  const bool first = pending_.lines.empty();
  note_lost(at);
  append(pending_.text, at);
  pending_.text += '\n';
  pending_.lines.push_back({pending_.text.size(), std::chrono::floor<std::chrono::days>(at)});
  guard.unlock();
  if (first) wake_.set();
}

// Many lines come within a second: what is the same in them is made once.
void rotating_log::append_head(time_point at, log_level level) {
  const auto second = std::chrono::floor<std::chrono::seconds>(at);
  if (second != second_) {
    second_text_ = "[";
    detail::append_iso_time(second_text_, second);
    second_text_.resize(second_text_.size() - std::string_view("000Z").size());
    second_ = second;
  }
  const auto thousandths = std::chrono::floor<std::chrono::milliseconds>(at - second).count();
  pending_.text += second_text_;
  for (auto unit : {100, 10, 1}) pending_.text += static_cast<char>('0' + thousandths / unit % 10);
  pending_.text.append("Z] [").append(name_of(level)).append("] ");
}

void rotating_log::note_lost(time_point at) {
  const auto lost = lost_.load(std::memory_order_relaxed);
  if (lost == lost_told_) return;
  append_head(at, log_level::warn);
  fmt::format_to(std::back_inserter(pending_.text), "{} lines were lost: there was no room for them\n",
                 lost - lost_told_);
  pending_.lines.push_back({pending_.text.size(), std::chrono::floor<std::chrono::days>(at)});
  lost_told_ = lost;
}

std::string rotating_log::path_for(day date) const {
  if (!options_.daily) return fmt::format("{}/{}{}", options_.directory, options_.name, suffix);
  return fmt::format("{}/{}-{}{}", options_.directory, options_.name, date_text(date), suffix);
}

std::string rotating_log::path() const { return path_for(std::chrono::floor<std::chrono::days>(now())); }

result<void> rotating_log::drain() {
  std::lock_guard writing(writing_);
  return drain_locked();
}

result<void> rotating_log::drain_locked() {
  checked_ = false;
  for (;;) {
    if (batch_.next == batch_.lines.size()) {
      batch_.clear();
      std::lock_guard guard(lock_);
      if (pending_.lines.empty()) break;
      std::swap(batch_, pending_);
    }
    auto done = write_batch();
    if (!done) {
      report(done.failure());
      return done;
    }
  }
  failing_ = false;
  if (!options_.flush || !file_ || ::fdatasync(file_.get()) == 0) return {};
  return os_error(errno, "fdatasync", path_);
}

// Of the lines that go into one file as many as there are are written at once.
result<void> rotating_log::write_batch() {
  while (batch_.next < batch_.lines.size()) {
    const auto& first = batch_.lines[batch_.next];
    const auto begin = batch_.next == 0 ? 0 : batch_.lines[batch_.next - 1].end;
    if (batch_.written == begin) {  // no file is left in the middle of a line
      auto ready = prepare(first);
      if (!ready) return ready;
    }
    auto last = batch_.next;
    const auto size_with = [&](std::size_t line) { return size_ + batch_.lines[line].end - batch_.written; };
    while (last + 1 < batch_.lines.size() && batch_.lines[last + 1].date == first.date &&
           (options_.max_size == 0 || size_with(last + 1) <= options_.max_size)) {
      ++last;
    }
    auto done = write_lines(batch_.lines[last].end);
    if (!done) return done;
  }
  return {};
}

result<void> rotating_log::write_lines(std::size_t end) {
  const std::string_view text(batch_.text);
  while (batch_.written < end) {
    const auto part = text.substr(batch_.written, end - batch_.written);
    const auto count = detail::without_signals([&] { return ::write(file_.get(), part.data(), part.size()); });
    if (count < 0) return os_error(static_cast<int>(-count), "write", path_);
    const auto done = static_cast<std::size_t>(count);
    copy_out(part.substr(0, done));
    batch_.written += done;
    size_ += done;
    while (batch_.next < batch_.lines.size() && batch_.lines[batch_.next].end <= batch_.written) ++batch_.next;
  }
  return {};
}

void rotating_log::copy_out(std::string_view text) const noexcept {
  while (options_.copy_to >= 0 && !text.empty()) {
    const auto count = detail::without_signals([&] { return ::write(options_.copy_to, text.data(), text.size()); });
    if (count <= 0) return;
    text.remove_prefix(static_cast<std::size_t>(count));
  }
}

result<void> rotating_log::prepare(const entry& line) {
  auto wanted = path_for(line.date);
  if (!file_ || wanted != path_) {
    auto opened = open_file(wanted);
    if (!opened) return opened;
    prune();
  }
  auto looked = check();
  if (!looked) return looked;
  const auto size = line.end - batch_.written;
  if (options_.max_size == 0 || size_ == 0 || size_ + size <= options_.max_size) return {};
  return rotate_files();
}

bool rotating_log::is_ours(const std::string& path) const noexcept {
  struct stat mine;   // NOLINT: the system fills it in
  struct stat there;  // NOLINT
  return ::fstat(file_.get(), &mine) == 0 && ::stat(path.c_str(), &there) == 0 && mine.st_dev == there.st_dev &&
         mine.st_ino == there.st_ino;
}

// Once per batch: somebody else may have moved the file away, or written to it.
result<void> rotating_log::check() {
  if (std::exchange(checked_, true)) return {};
  if (!is_ours(path_)) {
    auto opened = open_file(path_);
    if (!opened) return opened;
  }
  struct stat mine;  // NOLINT: the system fills it in
  if (::fstat(file_.get(), &mine) == 0) size_ = static_cast<std::uint64_t>(mine.st_size);
  return {};
}

result<void> rotating_log::open_file(const std::string& path) {
  auto made = mkdir(options_.directory, {.recursive = true}).try_now();
  if (!made) return made.failure();
  auto opened = detail::on_path("open", path,
                                [&] { return ::open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666); });
  if (!opened) return opened.failure();
  file_ = io::descriptor(static_cast<int>(*opened));
  path_ = path;
  struct stat mine;  // NOLINT: the system fills it in
  size_ = ::fstat(file_.get(), &mine) == 0 ? static_cast<std::uint64_t>(mine.st_size) : 0;
  return {};
}

// Of several processes that find the file full one moves it; the others see that and take the new one.
result<void> rotating_log::rotate_files() {
  struct flock all = {};
  all.l_type = F_WRLCK;
  static_cast<void>(detail::without_signals([&] { return ::fcntl(file_.get(), F_OFD_SETLKW, &all); }));
  if (is_ours(path_)) {
    unsigned free = 1;
    while (::access(numbered(path_, free).c_str(), F_OK) == 0) ++free;
    for (unsigned n = free; n > 0; --n) {
      const auto from = n == 1 ? path_ : numbered(path_, n - 1);
      const auto to = numbered(path_, n);
      if (::rename(from.c_str(), to.c_str()) != 0 && errno != ENOENT) return os_error(errno, "rename", from, to);
    }
  }
  auto opened = open_file(path_);
  if (opened) prune();
  return opened;
}

void rotating_log::prune() const {
  if (!options_.keep) return;
  auto names = readdir(options_.directory).try_now();
  if (!names) return;
  const auto current = path_.substr(options_.directory.size() + 1);
  std::vector<older> all;
  for (const auto& each : *names) {
    if (each == current) continue;
    if (auto found = parse_name(each, options_.name, options_.daily)) all.push_back(std::move(*found));
  }
  std::sort(all.begin(), all.end(),
            [](const older& a, const older& b) { return a.date != b.date ? a.date > b.date : a.number < b.number; });
  for (std::size_t i = *options_.keep; i < all.size(); ++i) {
    ::unlink(fmt::format("{}/{}", options_.directory, all[i].name).c_str());
  }
}

void rotating_log::report(const failure& why) {
  if (options_.on_error) return options_.on_error(why);
  if (!std::exchange(failing_, true)) fmt::print(stderr, "log: {}\n", why.message());
}

call<void> rotating_log::flush() {
  return {"log", [this] { return drain(); }};
}

call<void> rotating_log::rotate() {
  return {"log", [this]() -> result<void> {
            std::lock_guard writing(writing_);
            auto done = drain_locked();
            if (!done || !file_ || size_ == 0) return done;
            return rotate_files();
          }};
}

call<void> rotating_log::reopen() {
  return {"log", [this] {
            std::lock_guard writing(writing_);
            auto done = drain_locked();
            file_.close();
            return done;
          }};
}

task<void> rotating_log::keep_writing() {
  for (;;) {
    co_await wake_.wait();
    wake_.reset();
    while (!co_await attempt(shield(flush()))) co_await sleep(options_.retry_after);
  }
}

task<void> rotating_log::keep_reopening() {
  io::signals asked({options_.reopen_on});
  for (;;) {
    co_await asked.next();
    static_cast<void>(co_await attempt(shield(reopen())));
  }
}

task<void> rotating_log::run() {
  auto ended = co_await attempt(with_scope([this](scope& s) -> task<void> {
    if (options_.reopen_on != 0) static_cast<void>(s.spawn(&rotating_log::keep_reopening, this));
    co_await keep_writing();
  }));
  static_cast<void>(co_await attempt(shield(flush())));
  if (!ended) ended.failure().rethrow();
}

}  // namespace weir::fs
