// tests/fuzz/file_store_fuzz.cpp: whatever bytes lie in the file of an entry, reading gives a value that somebody could
// have stored, or says that the file was damaged, and concerns no other entry; keys of any text name files of their own
// in the store's directory, and read back; what is stored comes back.
#include <weir/core/error.hpp>
#include <weir/fs/file_store.hpp>
#include <weir/fs/structured_log.hpp>

#include <tests/fuzz/input.hpp>

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

namespace {

using namespace weir::fuzzing;
using weir::fs::file_store;

/// A directory in memory where there is one, for the life of the process.
const std::string& scratch() {
  static const struct directory {
    std::string path = std::filesystem::exists("/dev/shm") ? "/dev/shm/weir-fuzz-XXXXXX" : "/tmp/weir-fuzz-XXXXXX";
    directory() { require(::mkdtemp(path.data()) != nullptr); }
    ~directory() {
      std::error_code ignored;
      std::filesystem::remove_all(path, ignored);
    }
  } made;
  return made.path;
}

weir::fs::time_point fixed_now() { return weir::fs::time_point(std::chrono::seconds(1'700'000'000)); }

file_store& store() {
  static file_store opened =
      file_store::open(scratch() + "/store", {.flush = weir::fs::durability::none, .max_value = 4096, .now = fixed_now})
          .now();
  return opened;
}

void check_damage(std::string_view content) {
  auto& all = store();
  const std::string good = "kept";
  all.set("good", good).now();
  std::ofstream(all.path_for("victim"), std::ios::binary) << content;
  auto read = all.get("victim").try_now();
  if (!read) require(read.failure().is("ERR_ENCODING_INVALID_ENCODED_DATA"));
  if (read && *read) require(content.ends_with((*read)->text()) && content.starts_with("weir-store 1 "));
  auto swept = all.sweep().try_now();
  require(swept.has_value() && swept->removed <= 1 && swept->failures.size() <= 1);
  require(all.get("good").now()->text() == good);
  static_cast<void>(all.erase("victim").now());
  require(!all.get("victim").now());
}

void check_key(std::string_view key, std::string_view value) {
  auto& all = store();
  std::string path;
  try {
    path = all.path_for(key);
  } catch (const weir::error& refused) {
    require(refused.code() == weir::errc::err_out_of_range && key.size() * 3 > 240);
    return;
  }
  require(path.find('/', all.directory().size() + 1) == std::string::npos && path.find('\0') == std::string::npos);
  all.set(std::string(key), value).now();
  require(all.get(std::string(key)).now()->text() == value);
  const auto keys = all.keys().now();
  require(std::ranges::count(keys, key) == 1);
  require(all.erase(std::string(key)).now() && !all.get(std::string(key)).now());
}

/// A text as JSON is one string in printable characters and UTF-8, which nothing in it ends.
void check_field(std::string_view text) {
  std::string json;
  weir::fs::log_field("x", text).append_value(json);
  require(json.size() >= 2 && json.front() == '"' && json.back() == '"');
  for (std::size_t i = 1; i + 1 < json.size(); ++i) {
    require(static_cast<unsigned char>(json[i]) >= 0x20 && json[i] != '"');
    if (json[i] == '\\') require(++i + 1 < json.size());
  }
  require(weir::is_utf8(std::as_bytes(std::span(json))));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  choices in(data, size);
  const auto key = in.text(90);
  const auto value = in.rest();
  check_field(value);
  check_key(key, value.substr(0, 4096));
  check_damage(value);
  return 0;
}
