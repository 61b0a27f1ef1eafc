#include <weir/net/send_file.hpp>

#include <weir/net/file_answer.hpp>
#include <weir/net/static_lookup.hpp>

#include <string_view>
#include <utility>

namespace weir::net::http {
namespace {

// For the answers of all that have no directory of their own.
detail::body_memory& shared_memory() {
  static detail::body_memory memory(static_files_options().send_memory);
  return memory;
}

static_files_options lookup_options(send_file_options from) {
  static_files_options all;
  all.index.clear();
  all.redirect = false;
  all.symlinks = from.root.empty() ? symlink_policy::always : from.symlinks;
  all.etag = from.etag;
  all.last_modified = from.last_modified;
  all.ranges = from.ranges;
  all.range = from.range;
  all.max_age = from.max_age;
  all.immutable = from.immutable;
  all.precompressed = from.precompressed;
  all.types = from.types;
  all.default_type = std::move(from.default_type);
  all.cache_bytes = 0;
  return all;
}

detail::wanted_path read_path(std::string_view path, dotfile_policy dotfiles) {
  detail::path_builder names;
  while (!path.empty()) {
    const auto name = path.substr(0, path.find('/'));
    const bool slash = name.size() < path.size();
    names.add(name, slash);
    path.remove_prefix(name.size() + (slash ? 1 : 0));
  }
  return std::move(names).settle(dotfiles);
}

task<detail::lookup_answer> look_up(const detail::static_lookup& in, const std::string& path) {
  auto at_once = in.look_up_here(path, false, nullptr);
  if (at_once) co_return std::move(*at_once);
  co_return co_await in.look_up(path, false, nullptr);
}

}  // namespace

task<void> send_file(const request& req, response& res, std::string path, send_file_options options) {
  auto wanted = detail::wanted_path{.relative = path};
  if (path.find('\0') != std::string::npos)
    wanted.status = 400;
  else if (!options.root.empty())
    wanted = read_path(path, options.dotfiles);
  if (wanted.status == 200 && wanted.slash) wanted.status = 404;
  if (wanted.status != 200) {
    co_await detail::send_status(res, wanted.status);
    co_return;
  }
  // Relative to the working directory's "." an absolute path is absolute still.
  auto root = options.root.empty() ? std::string(".") : options.root;
  const detail::static_lookup place({std::move(root)}, lookup_options(std::move(options)));
  const auto found = co_await look_up(place, wanted.relative);
  if (!found.what) {
    co_await detail::send_status(res, found.status);
    co_return;
  }
  const auto answer = detail::begin_answer(place.options, *found.what, req, res);
  co_await detail::send_answer(shared_memory(), answer, res);
}

}  // namespace weir::net::http
