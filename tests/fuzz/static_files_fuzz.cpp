// tests/fuzz/static_files_fuzz.cpp: whatever path, Range, condition or method is asked of a server of files, each
// answer is whole, nothing from outside the root is ever in it, and the server serves the next client as before.
#include <weir/core/runtime.hpp>
#include <weir/net/static_files.hpp>

#include <tests/fuzz/input.hpp>
#include <tests/support/http_client.hpp>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <string_view>

namespace {

using namespace weir;
using namespace weir::fuzzing;
using testing::http_client;
using testing::running_server;

constexpr std::string_view secret = "a secret that nobody is to see";

struct site {
  std::string path = std::filesystem::exists("/dev/shm") ? "/dev/shm/weir-fuzz-XXXXXX" : "/tmp/weir-fuzz-XXXXXX";

  site() {
    require(::mkdtemp(path.data()) != nullptr);
    namespace fs = std::filesystem;
    fs::create_directories(path + "/root/dir/deep");
    fs::create_directories(path + "/root/listed");
    put("secret.txt", secret);
    put("root/index.html", "<p>welcome</p>");
    put("root/dir/index.html", "<p>dir</p>");
    put("root/a b+c.txt", std::string(3000, 't'));
    put("root/dir/deep/x.js", "var x;");
    put("root/dir/deep/x.js.gz", "gz");
    put("root/.hidden", secret);
    fs::create_symlink("../secret.txt", path + "/root/link.txt");
    fs::create_symlink("../../..", path + "/root/dir/up");
  }
  ~site() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
  void put(const std::string& name, std::string_view content) const {
    std::ofstream(path + "/" + name, std::ios::binary) << content;
  }
};

running_server& server() {
  static const site files;
  static running_server made(net::http::static_files(files.path + "/root", {.listing = true, .cache_entries = 2}),
                             {.on_error = [](const net::http::request&, std::exception_ptr) { require(false); }});
  return made;
}

/// What may stand in a request line or a header's value, so that the request is one.
std::string printable(std::string_view text, bool spaces) {
  std::string made;
  for (char each : text) {
    const auto byte = static_cast<unsigned char>(each);
    if (byte > (spaces ? 0x1f : 0x20) && byte != 0x7f) made += each;
  }
  return made;
}

std::string path_of(choices& in) {
  constexpr std::string_view parts[] = {"dir", "deep",       "x.js", "..",          "%2e%2e",
                                        ".",   "link.txt",   "up",   "a%20b+c.txt", ".hidden",
                                        "%2F", "secret.txt", "%00",  "%5c",         "%252e"};
  std::string path;
  for (auto left = 1 + in.below(5); left > 0; --left) {
    path += '/';
    path += in.one_in(4) ? printable(in.text(12), false) : std::string(parts[in.below(std::size(parts))]);
  }
  return path;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr std::string_view names[] = {"Range",    "If-Range",       "If-None-Match", "If-Modified-Since",
                                        "If-Match", "Accept-Encoding"};
  static auto client = std::make_unique<http_client>(server().connect());
  choices in(data, size);
  const bool head = in.one_in(4);
  std::string request = (head ? "HEAD " : "GET ") + path_of(in) + " HTTP/1.1\r\nHost: a\r\n";
  for (auto left = in.below(4); left > 0; --left) {
    request.append(names[in.below(std::size(names))]).append(": ");
    if (in.one_in(2)) request += "bytes=";
    request.append(printable(in.text(24), true)).append("\r\n");
  }
  const auto reply = client->ask(request + "\r\n", head);
  constexpr int known[] = {200, 206, 301, 304, 400, 403, 404, 412, 414, 416};
  require(std::find(std::begin(known), std::end(known), reply.status) != std::end(known));
  require(reply.body.find(secret.substr(0, 8)) == std::string::npos);
  if (reply.status == 206 && !reply.header("Content-Type").starts_with("multipart/")) {
    require(reply.header("Content-Range").starts_with("bytes "));
  }
  // A request that is none ends the connection.
  if (reply.status != 400 && reply.header("Connection") != "close") return 0;
  client = std::make_unique<http_client>(server().connect());
  return 0;
}
