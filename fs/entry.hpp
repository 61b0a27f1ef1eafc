// fs/entry.hpp: the names that files have: moving, removing, linking them, and where a name leads. Rests on fs/call.
#pragma once

#include <weir/fs/call.hpp>

#include <string>

namespace weir::fs {

/// rename(2): gives what `from` names the name `to`, in one step: whoever opens `to` meanwhile gets the old file or the
/// new one. A file takes the place of a file, a directory that of an empty directory.
/// @throws weir::error ENOENT, EXDEV (another file system: copy it), EISDIR, ENOTDIR, ENOTEMPTY, EINVAL (a directory
///         into itself), EACCES, EPERM
call<void> rename(std::string from, std::string to);

/// unlink(2): removes a name, and the file with its last name and its last descriptor.
/// @throws weir::error ENOENT, EISDIR (see rmdir), EACCES, EPERM
call<void> unlink(std::string path);

/// link(2): a further name for a file, on the same file system. @throws weir::error EEXIST, ENOENT, EPERM, EXDEV,
/// EMLINK
call<void> link(std::string existing, std::string path);

/// symlink(2): makes `path` a name that leads to `target`, which need not exist and is looked up from the directory of
/// `path`. @throws weir::error EEXIST, ENOENT
call<void> symlink(std::string target, std::string path);

/// readlink(2): where a symbolic link says it leads. @throws weir::error EINVAL (not a symbolic link), ENOENT
call<std::string> readlink(std::string path);

/// realpath(3): the absolute path of what `path` leads to, without symbolic links, "." and "..".
/// @throws weir::error ENOENT, ELOOP, ENOTDIR, EACCES
call<std::string> realpath(std::string path);

}  // namespace weir::fs
