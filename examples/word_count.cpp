// examples/word_count.cpp: the words of a text and how often they come, the most frequent first. Usage:
// word_count [FILE] [--top N]; without a file it reads what comes in, as in `man bash | word_count --top 5`.
// Two pipelines: bytes, lines, words, a table; and rows to the terminal. Nothing is asked for before somebody wants it,
// so the text may be larger than the memory, and a reader of the output may be slow or leave early.
#include <weir/fs/file_stream.hpp>
#include <weir/io/operators.hpp>
#include <weir/io/pipeline.hpp>
#include <weir/io/rate.hpp>
#include <weir/io/stdio.hpp>
#include <weir/weir.hpp>

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

using namespace weir;

namespace {

using count = std::pair<std::string, std::size_t>;

/// The words of a line, in small letters. Bytes beyond ASCII belong to words.
std::vector<std::string> words_of(const std::string& line) {
  std::vector<std::string> words;
  std::string word;
  for (unsigned char each : line) {
    if (each >= 0x80 || std::isalnum(each)) {
      word += static_cast<char>(std::tolower(each));
    } else if (!word.empty()) {
      words.push_back(std::exchange(word, {}));
    }
  }
  if (!word.empty()) words.push_back(std::move(word));
  return words;
}

std::vector<count> most_frequent(const std::unordered_map<std::string, std::size_t>& table, std::size_t top) {
  std::vector<count> all(table.begin(), table.end());
  std::ranges::sort(all, [](const count& a, const count& b) {
    return a.second != b.second ? a.second > b.second : a.first < b.first;
  });
  all.resize(std::min(all.size(), top));
  return all;
}

buffer row(const count& each) { return buffer::adopt(std::to_string(each.second) + "\t" + each.first + "\n"); }

task<> count_words(io::readable<buffer> text, std::size_t top) {
  std::unordered_map<std::string, std::size_t> table;
  io::meter passed;
  co_await io::pipeline(std::move(text), io::measure(passed), io::lines(), io::flat_map(words_of),
                        io::for_each([&](std::string word) { ++table[std::move(word)]; }));
  auto printed =
      co_await attempt(io::pipeline(io::from(most_frequent(table, top)) | io::map(row), io::standard_output()));
  if (!printed && !printed.failure().is("EPIPE")) printed.failure().rethrow();  // head(1) has seen enough
  std::fprintf(stderr, "%zu different words in %llu bytes\n", table.size(),
               static_cast<unsigned long long>(passed.bytes()));
}

}  // namespace

int main(int argc, char** argv) {
  std::string file;
  std::size_t top = 10;
  for (int i = 1; i < argc; ++i) {
    if (std::string_view(argv[i]) == "--top" && i + 1 < argc) {
      top = std::strtoul(argv[++i], nullptr, 10);
    } else {
      file = argv[i];
    }
  }
  return run([](std::string name, std::size_t most) -> task<> {
    co_await count_words(name.empty() ? io::standard_input() : fs::read_stream(std::move(name)), most);
  }(std::move(file), top));
}
