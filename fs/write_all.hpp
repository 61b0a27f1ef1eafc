// fs/write_all.hpp: writing to the end what the system takes in parts. Private to fs.
#pragma once

#include <weir/fs/call.hpp>

#include <cstddef>
#include <span>
#include <string>

struct iovec;

namespace weir::fs::detail {

/// Between two looks at whether a call should end, and what is asked of the system at once.
constexpr std::size_t step = std::size_t{1} << 20;

/// Writes all of `content` at the descriptor's position, on this thread. A descriptor that does not wait for room is
/// made to where there is none. @param path for the error
result<void> write_all(int fd, const std::string& path, std::span<const std::byte> content, const stop_flag& stop);

/// What is left of `pieces` once the system has taken `done` bytes of them; the first one is cut where it is in parts.
std::span<iovec> after(std::span<iovec> pieces, std::size_t done) noexcept;

}  // namespace weir::fs::detail
