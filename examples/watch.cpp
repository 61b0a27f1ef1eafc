// watch PATH... [--polling] [--all]: says what becomes of the files below the paths, until SIGINT or SIGTERM. With
// --polling it looks again and again, for mounts that tell nothing; with --all it begins with what is there.
#include <weir/core/combine.hpp>
#include <weir/fs/watcher.hpp>
#include <weir/io/signal.hpp>
#include <weir/weir.hpp>

#include <csignal>
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

using namespace weir;

task<> tell(fs::watcher& watched) {
  while (auto event = co_await watched.next()) {
    std::puts(fs::to_string(*event).c_str());
    std::fflush(stdout);
  }
}

task<> close_on_signal(fs::watcher& watched) {
  co_await io::wait_signal({SIGINT, SIGTERM});
  watched.close();
}

task<int> run_watch(std::vector<std::string> paths, fs::watcher_options options) {
  fs::watcher watched(std::move(paths), std::move(options));
  co_await all(tell(watched), close_on_signal(watched));
  co_return 0;
}

int main(int argc, char** argv) {
  std::vector<std::string> paths;
  fs::watcher_options options;
  options.ignore_permission_errors = false;
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (argument == "--polling") {
      options.use_polling = true;
    } else if (argument == "--all") {
      options.ignore_initial = false;
    } else {
      paths.emplace_back(argument);
    }
  }
  if (paths.empty()) {
    std::fputs("usage: watch PATH... [--polling] [--all]\n", stderr);
    return 2;
  }
  return run(run_watch(std::move(paths), std::move(options)));
}
