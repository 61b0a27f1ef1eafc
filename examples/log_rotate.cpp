// log_rotate DIRECTORY [--name app] [--size BYTES] [--keep N] [--daily] [--echo]: writes what it reads from standard
// input into a log that changes its file by size or by day and keeps the last ones. `server 2>&1 | log_rotate logs`.
// On SIGHUP it lets go of a file that was moved; on SIGINT and SIGTERM it writes what it has read and ends.
#include <weir/core/combine.hpp>
#include <weir/fs/rotating_log.hpp>
#include <weir/io/signal.hpp>
#include <weir/io/split.hpp>
#include <weir/io/stdio.hpp>
#include <weir/weir.hpp>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#include <unistd.h>

using namespace weir;

namespace {

task<> log_input(fs::rotating_log& log) {
  auto input = io::standard_input() | io::lines();
  while (auto line = co_await input.next()) log.write_line(*line);
}

task<> stop_on_signal() { static_cast<void>(co_await io::wait_signal({SIGINT, SIGTERM})); }

task<> log_rotate(fs::rotating_log_options options) {
  fs::rotating_log log(std::move(options));
  co_await with_scope([&](scope& s) -> task<> {
    auto writer = s.spawn(&fs::rotating_log::run, &log);
    co_await race(log_input(log), stop_on_signal());
    writer.cancel();
  });
  co_await log.flush();
}

}  // namespace

int main(int argc, char** argv) {
  fs::rotating_log_options options = {.max_size = 1 << 20, .reopen_on = SIGHUP};
  for (int i = 1; i < argc; ++i) {
    const std::string_view what = argv[i];
    const bool has_value = what == "--name" || what == "--size" || what == "--keep";
    const char* value = has_value && i + 1 < argc ? argv[++i] : "";
    if (what == "--daily") options.daily = true;
    if (what == "--echo") options.copy_to = STDERR_FILENO;
    if (what == "--name") options.name = value;
    if (what == "--size") options.max_size = std::strtoull(value, nullptr, 10);
    if (what == "--keep") options.keep = static_cast<unsigned>(std::strtoul(value, nullptr, 10));
    if (!what.starts_with("--")) options.directory = what;
  }
  return run(log_rotate(std::move(options)));
}
