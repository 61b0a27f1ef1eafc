// tests/conformance/http_static.cpp: what the handler of static files answers to one request, told as Express's static
// is, and the types that names of files have.
#include "tests/conformance/driver.hpp"
#include "tests/conformance/scratch.hpp"

#include <weir/fs/attributes.hpp>
#include <weir/fs/contents.hpp>
#include <weir/fs/directory.hpp>
#include <weir/fs/remove.hpp>
#include <weir/net/http_server.hpp>
#include <weir/net/mime_type.hpp>
#include <weir/net/static_files.hpp>
#include <weir/net/tcp.hpp>

#include <array>
#include <chrono>
#include <memory>

namespace weir::conformance {
namespace {

namespace http = net::http;

constexpr std::chrono::sys_seconds modified{std::chrono::seconds(1'700'000'000)};

task<> make_files(std::string root, const json& files) {
  co_await fs::mkdir(root);
  for (const auto& [name, content] : files.items()) {
    const auto path = root + "/" + name;
    co_await fs::mkdir(path.substr(0, path.rfind('/')), {.recursive = true});
    co_await fs::write_file(path, bytes_of(content).bytes());
    co_await fs::utimes(path, modified, modified);
  }
}

std::vector<std::string> names_of(const json& given) {
  if (given.is_boolean()) return {};
  return given.is_array() ? given.get<std::vector<std::string>>() : std::vector{given.get<std::string>()};
}

http::dotfile_policy dotfiles_of(const json& given) {
  if (given == "allow") return http::dotfile_policy::allow;
  return given == "deny" ? http::dotfile_policy::deny : http::dotfile_policy::ignore;
}

// The table of types that Express has.
const http::mime_types& express_types() {
  static const http::mime_types types = [] {
    http::mime_types made;
    made.set("js", "application/javascript");
    return made;
  }();
  return types;
}

http::static_files_options static_options_of(const json& given) {
  http::static_files_options options = {.precompressed = false, .types = &express_types()};
  if (const auto& index = option(given, "index"); !index.is_null()) options.index = names_of(index);
  if (const auto& more = option(given, "extensions"); !more.is_null()) options.extensions = names_of(more);
  options.dotfiles = dotfiles_of(option(given, "dotfiles"));
  options.redirect = option(given, "redirect") != false;
  options.etag = option(given, "etag") == false ? http::etag_kind::none : http::etag_kind::weak;
  options.last_modified = option(given, "lastModified") != false;
  options.ranges = option(given, "acceptRanges") != false;
  options.immutable = is_set(given, "immutable");
  if (const auto& age = option(given, "maxAge"); age.is_number()) {
    options.max_age =
        std::chrono::duration_cast<std::chrono::seconds>(std::chrono::milliseconds(age.get<std::int64_t>()));
  }
  if (option(given, "cacheControl") == false) {
    options.cache_control = [](std::string_view, std::string_view) { return std::string(); };
  }
  return options;
}

struct static_handler {
  http::static_files files;
  bool falls_through;

  task<> operator()(http::request& req, http::response& res) const {
    if (!falls_through) co_return co_await files(req, res);
    if (co_await files.try_serve(req, res)) co_return;
    res.status(404);
    co_await res.end();
  }
};

task<std::string> exchange(net::address where, std::string_view request) {
  auto stream = co_await net::connect(where);
  co_await stream.write(request);
  std::string answer;
  std::array<std::byte, 65536> into;
  while (auto count = co_await stream.read(into)) answer.append(reinterpret_cast<const char*>(into.data()), count);
  co_return answer;
}

task<json> ask_static(std::string base, const arguments& a) {
  const auto root = base + "/root";
  co_await make_files(root, a[0]);
  co_await fs::write_file(base + "/secret.txt", "secret");
  const bool falls_through = option(a[1], "fallthrough") != false;
  http::server server(static_handler{http::static_files(root, static_options_of(a[1])), falls_through});
  auto where = server.listen("127.0.0.1:0");
  json answer;
  co_await with_scope([&](scope& s) -> task<> {
    s.spawn_local([](http::server& of) -> task<> { co_await of.serve(); }, std::ref(server));
    answer = {{"raw", to_json(co_await exchange(where, a.bytes(2).text()))}};
    server.close(std::chrono::milliseconds(0));
  });
  co_return answer;
}

task<json> run_static(arguments a) {
  auto directory = co_await make_scratch();
  auto answer = co_await attempt(ask_static(directory, a));
  co_await fs::rm(directory, {.recursive = true, .force = true});
  co_return std::move(answer).value();
}

json look_up_type(const arguments& a) {
  const auto& name = a.text(0);
  auto type = express_types().of_name(name);
  if (type.empty()) type = express_types().of_extension(name.substr(name.starts_with('.') ? 1 : 0));
  return type.empty() ? json() : json(type);
}

}  // namespace

void add_http_static(operations& all) {
  all.add_async("http.static", run_static);
  all.add("mime.lookup", look_up_type);
}

}  // namespace weir::conformance
