// examples/tail_follow.cpp: tail -F: the last lines of files, then what is appended to them, through rotation and
// truncation, until Ctrl+C.
//
//   tail_follow [-n lines] file...
#include <weir/core/runtime.hpp>
#include <weir/core/scope.hpp>
#include <weir/fs/tail.hpp>
#include <weir/io/stdio.hpp>

#include <charconv>
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

namespace {

using weir::task;

struct arguments {
  std::size_t lines = 10;
  std::vector<std::string> files;
};

bool parse(int count, char** texts, arguments& into) {
  for (int i = 1; i < count; ++i) {
    std::string_view text = texts[i];
    if (text != "-n") {
      into.files.emplace_back(text);
      continue;
    }
    if (++i == count) return false;
    std::string_view number = texts[i];
    if (std::from_chars(number.data(), number.data() + number.size(), into.lines).ec != std::errc()) return false;
  }
  return !into.files.empty();
}

task<> follow(std::string file, std::size_t lines, bool named) {
  auto from = weir::fs::tail_lines(file, {.last_lines = lines});
  while (auto line = co_await from.next()) {
    if (named) std::printf("%s: ", file.c_str());
    std::printf("%s\n", line->c_str());
    std::fflush(stdout);
  }
}

task<> follow_all(arguments wanted) {
  co_await weir::with_scope([&](weir::scope& s) -> task<> {
    for (auto& file : wanted.files)
      static_cast<void>(s.spawn_local(follow, file, wanted.lines, wanted.files.size() > 1));
    co_return;
  });
}

}  // namespace

int main(int count, char** texts) {
  arguments wanted;
  if (!parse(count, texts, wanted)) {
    std::fprintf(stderr, "usage: tail_follow [-n lines] file...\n");
    return 2;
  }
  return weir::run(follow_all(std::move(wanted)));
}
