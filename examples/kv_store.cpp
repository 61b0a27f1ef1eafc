// kv_store DIRECTORY set KEY VALUE [SECONDS] | get KEY | delete KEY | list | sweep | clear: values in files, one each.
// What is stored is whole or not there, whatever happens meanwhile; several of these programs may use one directory.
#include <weir/fs/file_store.hpp>
#include <weir/weir.hpp>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

using namespace weir;

namespace {

using arguments = std::vector<std::string>;

int usage() {
  std::fputs("usage: kv_store DIRECTORY set KEY VALUE [SECONDS] | get KEY | delete KEY | list | sweep | clear\n",
             stderr);
  return 2;
}

task<int> set(fs::file_store store, arguments given) {
  std::chrono::seconds ttl(given.size() > 2 ? std::atoll(given[2].c_str()) : 0);
  co_await store.set(given[0], given[1], ttl);
  co_return 0;
}

task<int> get(fs::file_store store, arguments given) {
  auto value = co_await store.get(given[0]);
  if (!value) co_return 1;
  std::fwrite(value->data(), 1, value->size(), stdout);
  std::putchar('\n');
  co_return 0;
}

task<int> list(fs::file_store store) {
  for (const auto& key : co_await store.keys()) std::puts(key.c_str());
  co_return 0;
}

int tell(const fs::store_report& report) {
  for (const auto& each : report.failures) std::fprintf(stderr, "%s\n", each.why.message().c_str());
  std::printf("%zu removed, %zu could not be\n", report.removed, report.failures.size());
  return report.failures.empty() ? 0 : 1;
}

task<int> kv_store(arguments given) {
  if (given.size() < 2) co_return usage();
  auto store = co_await fs::file_store::open(given[0]);
  const std::string what = given[1];
  given.erase(given.begin(), given.begin() + 2);
  if (what == "set" && given.size() >= 2) co_return co_await set(store, given);
  if (what == "get" && given.size() == 1) co_return co_await get(store, given);
  if (what == "delete" && given.size() == 1) co_return co_await store.erase(given[0]) ? 0 : 1;
  if (what == "list") co_return co_await list(store);
  if (what == "sweep") co_return tell(co_await store.sweep());
  if (what == "clear") co_return tell(co_await store.clear());
  co_return usage();
}

}  // namespace

int main(int argc, char** argv) { return run(kv_store(arguments(argv + 1, argv + argc))); }
