// io/uring_abi.hpp: the part of the io_uring interface that is younger than the headers we may be built
// with (liburing 2.3, Linux 6.1). It rests on nothing and only names numbers of the kernel's stable ABI
// (include/uapi/linux/io_uring.h); whoever uses one asks the running kernel first. Private to io.
#pragma once

#include <cstdint>

namespace weir::io::abi {

// io_uring_params::flags
inline constexpr std::uint32_t setup_no_sqarray = 1u << 16;  // 6.6: no index array between the queue and its entries

// io_uring_params::features
inline constexpr std::uint32_t feature_reg_reg_ring = 1u << 13;     // 6.3
inline constexpr std::uint32_t feature_recvsend_bundle = 1u << 14;  // 6.10
inline constexpr std::uint32_t feature_min_timeout = 1u << 15;      // 6.12
inline constexpr std::uint32_t feature_rw_attr = 1u << 16;          // 6.13
inline constexpr std::uint32_t feature_no_iowait = 1u << 17;        // 6.15

// io_uring_register(2)
inline constexpr unsigned register_send_msg_ring = 31;  // 6.13: a MSG_RING without a ring of one's own (fd -1)

// Operations, with the kernel that brought them.
struct named_operation {
  std::uint8_t number;
  const char* name;
};

inline constexpr named_operation newer_operations[] = {
    {47, "send_zc"},     {48, "sendmsg_zc"},        // 6.0, 6.1
    {49, "read_many"},   {50, "waitid"},            // 6.7
    {51, "futex_wait"},  {52, "futex_wake"},        // 6.7
    {53, "futex_waitv"}, {54, "fixed_fd_install"},  // 6.7, 6.8
    {55, "ftruncate"},                              // 6.9
    {56, "bind"},        {57, "listen"},            // 6.11
    {58, "recv_zc"},     {59, "epoll_wait"},        // 6.15
    {60, "readv_fixed"}, {61, "writev_fixed"},      // 6.15
    {62, "pipe"},                                   // 6.16
};

}  // namespace weir::io::abi
