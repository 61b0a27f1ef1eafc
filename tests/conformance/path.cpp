// tests/conformance/path.cpp: the operations on paths: path.*, path.win32.*, and file URLs.
#include "tests/conformance/driver.hpp"

#include <weir/fs/file_url.hpp>
#include <weir/fs/path.hpp>

#include <span>

namespace weir::conformance {
namespace {

json to_json(const path::parsed& parts) {
  return {{"root", parts.root}, {"dir", parts.dir}, {"base", parts.base}, {"ext", parts.ext}, {"name", parts.name}};
}

path::parsed parts_of(const json& given) {
  if (!given.is_object()) throw error(errc::err_invalid_arg_type);
  auto part = [&](const char* name) { return option(given, name).is_string() ? given[name].get<std::string>() : ""; };
  return {.root = part("root"), .dir = part("dir"), .base = part("base"), .ext = part("ext"), .name = part("name")};
}

std::vector<std::string_view> list_of(const json& given) {
  std::vector<std::string_view> all;
  for (const auto& each : given) {
    if (!each.is_string()) throw error(errc::err_invalid_arg_type);
    all.push_back(each.get_ref<const std::string&>());
  }
  return all;
}

using text_function = std::string (*)(std::string_view);
using list_function = std::string (*)(std::span<const std::string_view>);

/// The functions of one flavor.
struct flavor_functions {
  text_function normalize, dirname, extname, to_namespaced_path;
  std::string (*basename)(std::string_view, std::string_view);
  bool (*is_absolute)(std::string_view) noexcept;
  list_function join, resolve;
  std::string (*relative)(std::string_view, std::string_view);
  path::parsed (*parse)(std::string_view);
  std::string (*format)(const path::parsed&);
  bool (*matches_glob)(std::string_view, std::string_view);
};

void add_flavor(operations& all, const std::string& prefix, const flavor_functions& f) {
  auto of_one = [&](const char* name, text_function body) {
    all.add(prefix + name, [body](const arguments& a) -> json { return body(a.text(0)); });
  };
  of_one("normalize", f.normalize);
  of_one("dirname", f.dirname);
  of_one("extname", f.extname);
  of_one("toNamespacedPath", f.to_namespaced_path);
  auto of_list = [&](const char* name, list_function body) {
    all.add(prefix + name, [body](const arguments& a) -> json { return body(list_of(a[0])); });
  };
  of_list("join", f.join);
  of_list("resolve", f.resolve);
  all.add(prefix + "basename", [f](const arguments& a) -> json { return f.basename(a.text(0), a.text_or(1, "")); });
  all.add(prefix + "isAbsolute", [f](const arguments& a) -> json { return f.is_absolute(a.text(0)); });
  all.add(prefix + "relative", [f](const arguments& a) -> json { return f.relative(a.text(0), a.text(1)); });
  all.add(prefix + "parse", [f](const arguments& a) { return to_json(f.parse(a.text(0))); });
  all.add(prefix + "format", [f](const arguments& a) -> json { return f.format(parts_of(a[0])); });
  all.add(prefix + "matchesGlob", [f](const arguments& a) -> json { return f.matches_glob(a.text(0), a.text(1)); });
}

}  // namespace

void add_path(operations& all) {
  add_flavor(all, "path.",
             {path::posix::normalize, path::posix::dirname, path::posix::extname, path::posix::to_namespaced_path,
              path::posix::basename, path::posix::is_absolute, path::posix::join, path::posix::resolve,
              path::posix::relative, path::posix::parse, path::posix::format, path::posix::matches_glob});
  add_flavor(all, "path.win32.",
             {path::win32::normalize, path::win32::dirname, path::win32::extname, path::win32::to_namespaced_path,
              path::win32::basename, path::win32::is_absolute, path::win32::join, path::win32::resolve,
              path::win32::relative, path::win32::parse, path::win32::format, path::win32::matches_glob});
  all.add("url.fileURLToPath", [](const arguments& a) -> json { return path::from_file_url(a.text(0)); });
  all.add("url.pathToFileURL", [](const arguments& a) -> json { return path::to_file_url(a.text(0)); });
}

}  // namespace weir::conformance
