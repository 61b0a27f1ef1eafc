// tests/support/failing_file_system.hpp: a file system in memory, one directory deep, that fails where it is told:
// after so many written bytes, at fsync, at close, at a read, at the first calls to remove a directory. Mounted through
// /dev/fuse by root, in a mount namespace of a child process; its server is a process of its own. The protocol:
// linux/fuse.h.
#pragma once

#include <tests/support/files.hpp>

#include <fcntl.h>
#include <linux/fuse.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <limits>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace weir::testing {

struct file_faults {
  std::size_t writable =
      std::numeric_limits<std::size_t>::max();  ///< bytes in all; the write that exceeds them is short
  int write_error = EIO;                        ///< of those after that
  int sync_error = 0;
  int close_error = 0;
  std::uint64_t readable = std::numeric_limits<std::uint64_t>::max();  ///< where reads begin to fail with EIO
  unsigned rmdir_failures = 0;                                         ///< how often rmdir fails at first
  int rmdir_error = EBUSY;
};

namespace fuse {

/// Answers the kernel's requests until the mount is gone.
class server {
 public:
  server(int device, const file_faults& faults) : device_(device), faults_(faults), request_(1 << 20, '\0') {}

  void serve() {
    for (;;) {
      auto size = ::read(device_, request_.data(), request_.size());
      if (size < 0 && (errno == EINTR || errno == ENOENT || errno == EAGAIN)) continue;
      if (size < static_cast<ssize_t>(sizeof(fuse_in_header))) return;
      std::memcpy(&head_, request_.data(), sizeof head_);
      answer(std::string_view(request_).substr(sizeof head_, static_cast<std::size_t>(size) - sizeof head_));
    }
  }

 private:
  struct node {
    std::string name;
    std::string content;
    std::uint32_t mode = S_IFREG | 0644;
  };

  void answer(std::string_view body) {
    switch (head_.opcode) {
      case FUSE_INIT: return init();
      case FUSE_LOOKUP: return look_up(body.data());
      case FUSE_FORGET:
      case FUSE_BATCH_FORGET:
      case FUSE_INTERRUPT: return;
      case FUSE_GETATTR: return reply(attributes(head_.nodeid));
      case FUSE_SETATTR: return set_attributes(as<fuse_setattr_in>(body));
      case FUSE_CREATE: return create(as<fuse_create_in>(body), body.data() + sizeof(fuse_create_in));
      case FUSE_OPEN:
      case FUSE_OPENDIR: return reply(opened());
      case FUSE_READ: return read(as<fuse_read_in>(body));
      case FUSE_WRITE: return write(as<fuse_write_in>(body), body.substr(sizeof(fuse_write_in)));
      case FUSE_FSYNC:
      case FUSE_FSYNCDIR: return fail(faults_.sync_error);
      case FUSE_FLUSH: return fail(faults_.close_error);
      case FUSE_MKDIR: return make_directory(as<fuse_mkdir_in>(body), body.data() + sizeof(fuse_mkdir_in));
      case FUSE_RMDIR: return remove_directory(body.data());
      case FUSE_UNLINK: return unlink(body.data());
      case FUSE_RENAME: return rename(body.substr(sizeof(fuse_rename_in)));
      case FUSE_RENAME2: return rename(body.substr(sizeof(fuse_rename2_in)));
      case FUSE_READDIR: return send(nullptr, 0, 0);
      case FUSE_STATFS: return reply(fuse_statfs_out{});
      case FUSE_RELEASE:
      case FUSE_RELEASEDIR:
      case FUSE_ACCESS: return fail(0);
      default: return fail(ENOSYS);
    }
  }

  template <class T>
  static T as(std::string_view body) {
    T value = {};
    std::memcpy(&value, body.data(), std::min(sizeof value, body.size()));
    return value;
  }

  void send(const void* data, std::size_t size, int error) {
    fuse_out_header out = {
        .len = static_cast<std::uint32_t>(sizeof out + size), .error = -error, .unique = head_.unique};
    const std::array<iovec, 2> parts = {{{&out, sizeof out}, {const_cast<void*>(data), size}}};
    static_cast<void>(!::writev(device_, parts.data(), size > 0 ? 2 : 1));
  }
  void fail(int error) { send(nullptr, 0, error); }
  template <class T>
  void reply(const T& value) {
    send(&value, sizeof value, 0);
  }

  void init() {
    fuse_init_out out = {};
    out.major = FUSE_KERNEL_VERSION;
    out.minor = FUSE_KERNEL_MINOR_VERSION;
    out.max_write = 128 * 1024;
    out.flags = FUSE_BIG_WRITES;
    reply(out);
  }

  fuse_attr attributes_of(std::uint64_t id) {
    fuse_attr out = {};
    out.ino = id;
    out.nlink = 1;
    out.blksize = 4096;
    out.mode = id == 1 ? S_IFDIR | 0755 : nodes_[id].mode;
    out.size = id == 1 ? 0 : nodes_[id].content.size();
    return out;
  }
  fuse_attr_out attributes(std::uint64_t id) {
    fuse_attr_out out = {};
    out.attr = attributes_of(id);
    return out;
  }
  fuse_entry_out entry(std::uint64_t id) {
    fuse_entry_out out = {};
    out.nodeid = id;
    out.attr = attributes_of(id);
    return out;
  }
  static fuse_open_out opened() {
    fuse_open_out out = {};
    out.open_flags = FOPEN_DIRECT_IO;  // what a write says is what the server says
    return out;
  }

  std::uint64_t find(std::string_view name) const {
    for (const auto& [id, each] : nodes_) {
      if (each.name == name) return id;
    }
    return 0;
  }

  void look_up(std::string_view name) {
    auto id = find(name);
    if (id == 0) return fail(ENOENT);
    reply(entry(id));
  }

  void create(const fuse_create_in& in, std::string_view name) {
    auto id = next_++;
    nodes_[id] = {.name = std::string(name), .content = {}, .mode = in.mode};
    struct {
      fuse_entry_out entry;
      fuse_open_out open;
    } out = {entry(id), opened()};
    reply(out);
  }

  void make_directory(const fuse_mkdir_in& in, std::string_view name) {
    auto id = next_++;
    nodes_[id] = {.name = std::string(name), .content = {}, .mode = S_IFDIR | (in.mode & 07777)};
    reply(entry(id));
  }

  void remove_directory(std::string_view name) {
    if (faults_.rmdir_failures == 0) return unlink(name);
    --faults_.rmdir_failures;
    fail(faults_.rmdir_error);
  }

  void set_attributes(const fuse_setattr_in& in) {
    auto& changed = nodes_[head_.nodeid];
    if ((in.valid & FATTR_SIZE) != 0) changed.content.resize(in.size);
    if ((in.valid & FATTR_MODE) != 0) changed.mode = in.mode;
    reply(attributes(head_.nodeid));
  }

  void read(const fuse_read_in& in) {
    const auto& content = nodes_[head_.nodeid].content;
    if (in.offset >= faults_.readable) return fail(EIO);
    auto end = std::min<std::uint64_t>({in.offset + in.size, content.size(), faults_.readable});
    auto begin = std::min<std::uint64_t>(in.offset, end);
    send(content.data() + begin, end - begin, 0);
  }

  void write(const fuse_write_in& in, std::string_view data) {
    if (faults_.writable == 0) return fail(faults_.write_error);
    auto size = std::min({std::size_t{in.size}, data.size(), faults_.writable});
    faults_.writable -= size;
    auto& content = nodes_[head_.nodeid].content;
    if (content.size() < in.offset + size) content.resize(in.offset + size);
    content.replace(in.offset, size, data.substr(0, size));
    fuse_write_out out = {};
    out.size = static_cast<std::uint32_t>(size);
    reply(out);
  }

  void unlink(std::string_view name) {
    if (auto id = find(name)) nodes_[id].name.clear();
    fail(0);
  }

  void rename(std::string_view names) {
    std::string_view from = names.data();
    std::string_view to = names.data() + from.size() + 1;
    auto id = find(from);
    if (auto replaced = find(to)) nodes_[replaced].name.clear();
    nodes_[id].name = to;
    fail(0);
  }

  int device_;
  file_faults faults_;
  std::string request_;
  fuse_in_header head_ = {};
  std::map<std::uint64_t, node> nodes_;
  std::uint64_t next_ = 2;
};

}  // namespace fuse

/// Runs `body(directory)` in a child of this process where `directory` is such a file system.
/// @return false where that cannot be: this is not root, or there is no /dev/fuse
template <class F>
bool with_failing_files(const file_faults& faults, F body) {
  temporary_directory place;
  bool possible = true;
  const bool fine = in_child(
      [&] {
        const int device = ::open("/dev/fuse", O_RDWR | O_CLOEXEC);
        if (device < 0 || ::unshare(CLONE_NEWNS) != 0) std::_Exit(not_possible);
        ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr);
        auto how = "fd=" + std::to_string(device) + ",rootmode=40000,user_id=0,group_id=0";
        if (::mount("weir-test", place.path().c_str(), "fuse", MS_NOSUID | MS_NODEV, how.c_str()) != 0) {
          std::_Exit(not_possible);
        }
        const pid_t server = ::fork();
        if (server == 0) {
          ::prctl(PR_SET_PDEATHSIG, SIGKILL);
          fuse::server(device, faults).serve();
          std::_Exit(0);
        }
        body(place.path());
        ::umount2(place.path().c_str(), MNT_DETACH);
        ::kill(server, SIGKILL);
        ::waitpid(server, nullptr, 0);
      },
      &possible);
  if (possible) EXPECT_TRUE(fine);
  return possible;
}

}  // namespace weir::testing
