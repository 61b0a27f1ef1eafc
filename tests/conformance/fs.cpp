// tests/conformance/fs.cpp: scripts of file operations in a directory of their own.
#include "tests/conformance/driver.hpp"
#include "tests/conformance/scratch.hpp"

#include <weir/fs/attributes.hpp>
#include <weir/fs/contents.hpp>
#include <weir/fs/copy.hpp>
#include <weir/fs/directory.hpp>
#include <weir/fs/entry.hpp>
#include <weir/fs/file.hpp>
#include <weir/fs/file_stream.hpp>
#include <weir/fs/path.hpp>
#include <weir/fs/remove.hpp>
#include <weir/fs/stat.hpp>
#include <weir/fs/walk.hpp>

#include <algorithm>
#include <cmath>
#include <optional>

namespace weir::conformance {
namespace {

const char* name_of(fs::file_type type) {
  switch (type) {
    case fs::file_type::regular: return "file";
    case fs::file_type::directory: return "dir";
    case fs::file_type::symlink: return "link";
    case fs::file_type::fifo: return "fifo";
    case fs::file_type::socket: return "socket";
    default: return "other";
  }
}

std::string octal(std::uint32_t permissions) {
  char text[8];
  std::snprintf(text, sizeof text, "%o", permissions);
  return text;
}

std::uint32_t permissions_of(const json& given) {
  if (given.is_number()) return given.get<std::uint32_t>();
  return static_cast<std::uint32_t>(std::stoul(given.get<std::string>(), nullptr, 8));
}

json facts_of(const fs::file_stat& s) {
  json made = {{"type", name_of(s.type())}, {"mode", octal(s.permissions())}};
  if (s.is_file() || s.is_symbolic_link()) made["size"] = s.size;
  if (s.is_file()) made["nlink"] = s.nlink;
  return made;
}

fs::time_point time_of(const json& seconds) {
  auto whole = std::floor(number_of(seconds));
  auto rest = std::llround((number_of(seconds) - whole) * 1e9);
  return fs::time_point(std::chrono::seconds(static_cast<std::int64_t>(whole)) + std::chrono::nanoseconds(rest));
}

std::optional<std::uint64_t> position_at(const json& s, std::size_t i) {
  if (s.size() <= i || !s[i].is_number() || s[i].get<double>() < 0) return std::nullopt;
  return s[i].get<std::uint64_t>();
}

const json& at(const json& s, std::size_t i) {
  static const json nothing;
  return i < s.size() ? s[i] : nothing;
}

class file_script {
 public:
  explicit file_script(std::string directory) : base_(std::move(directory)) {}

  task<json> run(const json& steps) {
    json answers = json::array();
    for (const auto& each : steps) answers.push_back(co_await outcome_of(each));
    co_return answers;
  }

 private:
  task<json> outcome_of(const json& s) {
    try {
      co_return json{{"ok", co_await step(s[0], s)}};
    } catch (const unsupported_arguments&) {
      throw;
    } catch (...) {
      co_return json{{"err", code_of(std::current_exception())}};
    }
  }

  // Not normalised: what the system makes of "d/.." is part of the script.
  std::string full(const json& name) const {
    const auto& text = name.get_ref<const std::string&>();
    return text.empty() ? base_ : base_ + "/" + text;
  }
  std::string relative(const std::string& name) const { return path::relative(base_, name); }

  fs::file& opened(const json& label) {
    auto found = files_.find(label);
    if (found == files_.end()) throw os_error(EBADF, "fstat");
    return found->second;
  }

  // NOLINTNEXTLINE(readability-function-size): a table of names
  task<json> step(const std::string& what, const json& s) {
    if (what == "writeFile") co_return co_await write_file(s);
    if (what == "appendFile")
      co_await fs::append_file(full(s[1]), bytes_of(s[2]).bytes());
    else if (what == "readFile")
      co_return to_json((co_await fs::read_file(full(s[1]))).bytes());
    else if (what == "mkdir")
      co_return co_await make_directory(s);
    else if (what == "rmdir")
      co_await fs::rmdir(full(s[1]));
    else if (what == "rm")
      co_await fs::rm(full(s[1]), {.recursive = is_set(at(s, 2), "recursive"), .force = is_set(at(s, 2), "force")});
    else if (what == "unlink")
      co_await fs::unlink(full(s[1]));
    else if (what == "rename")
      co_await fs::rename(full(s[1]), full(s[2]));
    else if (what == "copyFile")
      co_await fs::copy_file(full(s[1]), full(s[2]), {.exclusive = at(s, 3) == "excl"});
    else if (what == "cp")
      co_await copy_tree(s);
    else if (what == "readdir")
      co_return co_await list(s);
    else if (what == "stat")
      co_return facts_of(co_await fs::stat(full(s[1])));
    else if (what == "lstat")
      co_return facts_of(co_await fs::lstat(full(s[1])));
    else if (what == "access")
      co_await fs::access(full(s[1]), access_of(s[2]));
    else if (what == "exists")
      co_return co_await fs::exists(full(s[1]));
    else if (what == "symlink")
      co_await fs::symlink(s[1], full(s[2]));
    else if (what == "readlink")
      co_return co_await fs::readlink(full(s[1]));
    else if (what == "realpath")
      co_return relative(co_await fs::realpath(full(s[1])));
    else if (what == "link")
      co_await fs::link(full(s[1]), full(s[2]));
    else if (what == "truncate")
      co_await fs::truncate(full(s[1]), size_of(at(s, 2)));
    else if (what == "chmod")
      co_await fs::chmod(full(s[1]), permissions_of(s[2]));
    else if (what == "utimes")
      co_await fs::utimes(full(s[1]), time_of(s[2]), time_of(s[3]));
    else if (what == "times")
      co_return co_await times(s);
    else if (what == "mkdtemp")
      co_return co_await make_temporary(s);
    else if (what == "opendir")
      co_return co_await read_directory(s);
    else if (what == "createReadStream")
      co_return co_await read_stream(s);
    else if (what == "createWriteStream")
      co_return co_await write_stream(s);
    else if (what == "tree")
      co_return co_await tree(base_);
    else
      co_return co_await descriptor_step(what, s);
    co_return nullptr;
  }

  task<json> descriptor_step(const std::string& what, const json& s) {
    if (what == "open")
      co_await open(s);
    else if (what == "close")
      co_await close(s);
    else if (what == "read")
      co_return co_await read(s);
    else if (what == "write")
      co_return co_await write(s);
    else if (what == "readv")
      co_return co_await read_pieces(s);
    else if (what == "writev")
      co_return co_await write_pieces(s);
    else if (what == "ftruncate")
      co_await opened(s[1]).truncate(size_of(at(s, 2)));
    else if (what == "fstat")
      co_return facts_of(co_await opened(s[1]).stat());
    else if (what == "fsync")
      co_await opened(s[1]).sync();
    else
      throw unsupported_arguments();
    co_return nullptr;
  }

  task<json> write_file(const json& s) {
    fs::write_options options;
    if (const auto& flag = option(at(s, 3), "flag"); flag.is_string())
      options.how = fs::mode::parse(flag.get<std::string>());
    if (const auto& mode = option(at(s, 3), "mode"); !mode.is_null()) options.permissions = permissions_of(mode);
    auto content = bytes_of(s[2]);
    co_await fs::write_file(full(s[1]), content.bytes(), options);
    co_return nullptr;
  }

  task<json> make_directory(const json& s) {
    fs::mkdir_options options = {.recursive = is_set(at(s, 2), "recursive")};
    if (const auto& mode = option(at(s, 2), "mode"); !mode.is_null()) options.permissions = permissions_of(mode);
    auto first = co_await fs::mkdir(full(s[1]), options);
    co_return first ? json(relative(*first)) : json();
  }

  task<> copy_tree(const json& s) {
    const auto& given = at(s, 3);
    const auto& force = option(given, "force");
    static_cast<void>(co_await fs::cp(full(s[1]), full(s[2]),
                                      {.recursive = is_set(given, "recursive"),
                                       .force = !force.is_boolean() || force.get<bool>(),
                                       .error_on_exist = is_set(given, "errorOnExist")}));
  }

  task<json> list(const json& s) {
    fs::readdir_options options = {.recursive = is_set(at(s, 2), "recursive")};
    json names = json::array();
    if (is_set(at(s, 2), "withFileTypes")) {
      for (const auto& each : co_await fs::read_entries(full(s[1]), options)) {
        names.push_back({each.name, name_of(each.type)});
      }
    } else {
      names = co_await fs::readdir(full(s[1]), options);
    }
    std::sort(names.begin(), names.end());
    co_return names;
  }

  static fs::access_mode access_of(const json& letter) {
    if (letter == "r") return fs::access_mode::read;
    if (letter == "w") return fs::access_mode::write;
    if (letter == "x") return fs::access_mode::execute;
    return fs::access_mode::exists;
  }

  task<json> times(const json& s) {
    auto found = co_await fs::stat(full(s[1]));
    co_return json{fs::milliseconds_of(found.atime), fs::milliseconds_of(found.mtime)};
  }

  task<json> make_temporary(const json& s) {
    auto prefix = full(s[1]);
    auto made = co_await fs::mkdtemp(prefix);
    co_await fs::rmdir(made);  // its name is another one each time
    co_return made.size() == prefix.size() + 6 && made.starts_with(prefix);
  }

  task<json> read_directory(const json& s) {
    auto directory = co_await fs::opendir(full(s[1]));
    json entries = json::array();
    while (auto entry = co_await directory.next()) entries.push_back({entry->name, name_of(entry->type)});
    std::sort(entries.begin(), entries.end());
    co_return entries;
  }

  task<> open(const json& s) {
    if (files_.contains(s[1])) throw coded_failure{"ELABEL"};
    auto how = at(s, 3).is_string() ? fs::mode::parse(s[3].get<std::string>()) : fs::mode::read;
    fs::open_options options;
    if (!at(s, 4).is_null()) options.permissions = permissions_of(s[4]);
    auto file = co_await fs::open(full(s[2]), how, options);
    files_.emplace(s[1], std::move(file));
  }

  task<> close(const json& s) {
    auto& file = opened(s[1]);
    co_await file.close();
    files_.erase(s[1]);
  }

  task<json> read(const json& s) {
    auto& file = opened(s[1]);
    std::vector<std::byte> into(size_of(s[2]));
    auto position = position_at(s, 3);
    std::size_t count = 0;
    if (position) {
      count = co_await file.read(into).at(*position);
    } else {
      count = co_await file.read(into);
    }
    co_return to_json(std::span(into).first(count));
  }

  task<json> write(const json& s) {
    auto& file = opened(s[1]);
    auto bytes = bytes_of(s[2]);
    auto position = position_at(s, 3);
    if (position) co_return co_await file.write_some(bytes.bytes()).at(*position);
    co_return co_await file.write_some(bytes.bytes());
  }

  task<json> read_pieces(const json& s) {
    auto& file = opened(s[1]);
    std::vector<std::vector<std::byte>> pieces;
    for (const auto& each : s[2]) pieces.emplace_back(size_of(each));
    std::vector<std::span<std::byte>> spans(pieces.begin(), pieces.end());
    auto count = co_await file.read_pieces(spans, position_at(s, 3));
    std::vector<std::byte> all;
    for (const auto& each : pieces) all.insert(all.end(), each.begin(), each.end());
    co_return json{count, to_json(std::span(all).first(count))};
  }

  task<json> write_pieces(const json& s) {
    auto& file = opened(s[1]);
    std::vector<buffer> pieces;
    std::size_t count = 0;
    for (const auto& each : s[2]) count += pieces.emplace_back(bytes_of(each)).size();
    std::vector<std::span<const std::byte>> spans;
    for (const auto& each : pieces) spans.push_back(each.bytes());
    co_await file.write_pieces(spans, position_at(s, 3));
    co_return count;
  }

  task<json> read_stream(const json& s) {
    fs::read_stream_options options;
    const auto& given = at(s, 2);
    if (const auto& start = option(given, "start"); !start.is_null()) options.start = size_of(start);
    if (const auto& end = option(given, "end"); !end.is_null()) options.end = size_of(end);
    if (const auto& mark = option(given, "highWaterMark"); !mark.is_null()) options.chunk_size = size_of(mark);
    auto stream = fs::read_stream(full(s[1]), std::move(options));
    std::vector<buffer> all;
    while (auto chunk = co_await stream.next()) all.push_back(std::move(*chunk));
    co_return to_json(buffer::concat(all).bytes());
  }

  task<json> write_stream(const json& s) {
    fs::write_stream_options options;
    const auto& given = at(s, 3);
    if (const auto& flags = option(given, "flags"); flags.is_string())
      options.how = fs::mode::parse(flags.get<std::string>());
    if (const auto& start = option(given, "start"); !start.is_null()) {
      options.start = size_of(start);
      // Node opens "r+" where a start is given and flags are not.
      if (!option(given, "flags").is_string()) options.how = fs::mode::update;
    }
    auto stream = fs::write_stream(full(s[1]), std::move(options));
    std::size_t count = 0;
    for (const auto& each : s[2]) {
      auto chunk = bytes_of(each);
      count += chunk.size();
      co_await stream.write(std::move(chunk));
    }
    co_await stream.end();
    co_return count;
  }

  static task<json> tree(std::string directory) {
    json made = json::object();
    for (const auto& each : co_await fs::read_entries(directory)) {
      auto name = path::join(directory, each.name);
      if (each.is_directory()) {
        made[each.name] = co_await tree(name);
      } else if (each.is_symbolic_link()) {
        made[each.name] = "-> " + co_await fs::readlink(name);
      } else if (each.is_file()) {
        made[each.name] = to_json((co_await fs::read_file(name)).bytes());
      } else {
        made[each.name] = name_of(each.type);
      }
    }
    co_return made;
  }

  std::string base_;
  std::map<std::string, fs::file> files_;
};

task<json> run_file_script(arguments given) {
  auto directory = co_await make_scratch();
  auto answers = co_await attempt([](const std::string& where, const json& steps) -> task<json> {
    file_script script(where);
    co_return co_await script.run(steps);
  }(directory, given[0]));
  co_await fs::rm(directory, {.recursive = true, .force = true});
  co_return std::move(answers).value();
}

}  // namespace

task<std::string> make_scratch() { co_return co_await fs::realpath(co_await fs::mkdtemp("/tmp/weir-conformance-")); }

void add_fs(operations& all) { all.add_async("fs.script", run_file_script); }

}  // namespace weir::conformance
