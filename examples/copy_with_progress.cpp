// copy_with_progress FROM TO: copies a file or a tree. On a terminal a bar shows how far the present file is, elsewhere
// there is a line for each file. Ctrl-C ends it, and leaves no file that is half copied.
#include <weir/fs/copy.hpp>
#include <weir/io/signal.hpp>
#include <weir/weir.hpp>

#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include <unistd.h>

using namespace weir;

/// Called on the thread that copies, one call at a time.
class progress_view {
 public:
  void operator()(const fs::copy_progress& now) {
    const bool complete = now.done == now.total;
    if (!terminal_) {
      if (complete) std::printf("%.*s: %llu bytes\n", width(now.path), now.path.data(), as_number(now.total));
      return;
    }
    const auto time = std::chrono::steady_clock::now();
    if (!complete && time - shown_ < std::chrono::milliseconds(50)) return;
    shown_ = time;
    draw(now);
    if (complete) std::putchar('\n');
    std::fflush(stdout);
  }

 private:
  static int width(std::string_view text) { return static_cast<int>(text.size()); }
  static unsigned long long as_number(std::uint64_t bytes) { return bytes; }

  static void draw(const fs::copy_progress& now) {
    constexpr int cells = 30;
    const double part = now.total == 0 ? 1.0 : static_cast<double>(now.done) / static_cast<double>(now.total);
    const int full = static_cast<int>(part * cells);
    const std::string bar =
        std::string(static_cast<std::size_t>(full), '#') + std::string(static_cast<std::size_t>(cells - full), '.');
    const auto name = now.path.substr(now.path.size() > 40 ? now.path.size() - 40 : 0);
    std::printf("\r\033[K[%s] %6.2f%% %.*s", bar.c_str(), 100 * part, width(name), name.data());
  }

  const bool terminal_ = ::isatty(STDOUT_FILENO) == 1;
  std::chrono::steady_clock::time_point shown_ = {};
};

task<fs::cp_result> copy(std::string from, std::string to) {
  progress_view view;
  co_return co_await fs::cp(std::move(from), std::move(to),
                            {.recursive = true, .preserve_timestamps = true, .progress = std::ref(view)});
}

task<std::optional<fs::cp_result>> copy_until_told(std::string from, std::string to) {
  std::optional<fs::cp_result> done;
  co_await with_scope([&](scope& s) -> task<> {
    s.spawn_local(
        [](scope* all) -> task<> {
          co_await io::wait_signal({SIGINT, SIGTERM});
          all->cancel();
        },
        &s);
    done = co_await copy(std::move(from), std::move(to));
    s.cancel();
  });
  co_return done;
}

task<int> copy_main(std::string from, std::string to) {
  auto outcome = co_await attempt(copy_until_told(std::move(from), std::move(to)));
  if (!outcome) {
    std::fprintf(stderr, "copy_with_progress: %s\n", outcome.failure().message().c_str());
    co_return 1;
  }
  if (!*outcome) {
    std::fprintf(stderr, "copy_with_progress: interrupted\n");
    co_return 130;
  }
  auto& done = **outcome;
  std::printf("%llu files, %llu directories, %llu links, %llu bytes\n", static_cast<unsigned long long>(done.files),
              static_cast<unsigned long long>(done.directories), static_cast<unsigned long long>(done.links),
              static_cast<unsigned long long>(done.bytes));
  co_return 0;
}

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: copy_with_progress FROM TO\n");
    return 2;
  }
  return run(copy_main(argv[1], argv[2]), {.workers = 1});
}
