#include <weir/fs/entry.hpp>

#include <weir/fs/error.hpp>

#include <climits>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>
#include <utility>

#include <unistd.h>

namespace weir::fs {
namespace {

// Node's names for the arguments of a call about two paths.
struct argument {
  const char* name;
  const std::string& path;
};

std::optional<error> refused(argument first, argument second) {
  if (detail::has_nul(first.path)) return detail::nul_error(first.name, first.path);
  if (detail::has_nul(second.path)) return detail::nul_error(second.name, second.path);
  return std::nullopt;
}

template <class F>
result<void> about_two(const char* operation, argument first, argument second, F&& make) {
  if (auto why = refused(first, second)) return *why;
  return detail::only_done(detail::on_paths(operation, first.path, second.path, make));
}

result<std::string> read_link(const std::string& path) {
  // What /proc says a link's size is, is 0 or 64 whatever its length; so it is never asked.
  for (std::size_t room = 256;; room *= 2) {
    std::string target(room, '\0');
    auto size =
        detail::on_path("readlink", path, [&] { return ::readlink(path.c_str(), target.data(), target.size()); });
    if (!size) return size.failure();
    const auto used = static_cast<std::size_t>(*size);
    if (used == room) continue;
    target.resize(used);
    return target;
  }
}

struct freed {
  void operator()(char* text) const noexcept { std::free(text); }  // NOLINT: made by realpath
};

result<std::string> real_path(const std::string& path) {
  std::unique_ptr<char, freed> found;
  auto done = detail::on_path("realpath", path, [&] {
    found.reset(::realpath(path.c_str(), nullptr));
    return found ? 0 : -1;
  });
  if (!done) return done.failure();
  return std::string(found.get());
}

}  // namespace

call<void> rename(std::string from, std::string to) {
  return {"rename", [from = std::move(from), to = std::move(to)] {
            return about_two("rename", {"oldPath", from}, {"newPath", to},
                             [&] { return ::rename(from.c_str(), to.c_str()); });
          }};
}

call<void> unlink(std::string path) {
  return {"unlink", [path = std::move(path)] {
            return detail::only_done(detail::on_path("unlink", path, [&] { return ::unlink(path.c_str()); }));
          }};
}

call<void> link(std::string existing, std::string path) {
  return {"link", [existing = std::move(existing), path = std::move(path)] {
            return about_two("link", {"existingPath", existing}, {"newPath", path},
                             [&] { return ::link(existing.c_str(), path.c_str()); });
          }};
}

call<void> symlink(std::string target, std::string path) {
  return {"symlink", [target = std::move(target), path = std::move(path)] {
            return about_two("symlink", {"target", target}, {"path", path},
                             [&] { return ::symlink(target.c_str(), path.c_str()); });
          }};
}

call<std::string> readlink(std::string path) {
  return {"readlink", [path = std::move(path)] { return read_link(path); }};
}

call<std::string> realpath(std::string path) {
  return {"realpath", [path = std::move(path)] { return real_path(path); }};
}

}  // namespace weir::fs
