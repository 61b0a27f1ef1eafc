// file_server PORT DIRECTORY [--workers N]: serves the files below a directory, with listings.
#include <weir/net/static_files.hpp>
#include <weir/weir.hpp>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>

using namespace weir;

// What changes on the disk is told by the kernel, so that files in memory need no look at it meanwhile.
task<void> serve_files(std::string where, net::http::static_files files) {
  static_cast<void>(co_await all(net::http::serve(where, files), files.follow_changes()));
}

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fputs("usage: file_server PORT DIRECTORY [--workers N]\n", stderr);
    return 2;
  }
  runtime_options options;
  if (argc > 4 && std::string(argv[3]) == "--workers") options.workers = static_cast<unsigned>(std::atoi(argv[4]));
  net::http::static_files_options how;
  how.listing = true;
  how.revalidate = std::chrono::minutes(1);
  return run(serve_files(std::string(":") + argv[1], net::http::static_files(argv[2], how)), options);
}
