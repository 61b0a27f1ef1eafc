// core/error_state.hpp: what the copies of one error share. Private to core/error.cpp and core/result.cpp,
// which both make error objects from it; nothing changes in it once it is shared.
#pragma once

#include <weir/core/error.hpp>

#include <atomic>

namespace weir::detail {

enum class error_kind : std::uint8_t { plain, cancelled, aggregate };

struct error_state {
  std::atomic<std::uint32_t> shares{1};
  error_kind kind = error_kind::plain;
  std::uint16_t port = 0;
  std::system_error base;  // every error object copies its base from here: a copy shares the text, a new one allocates
  std::string message = {};
  std::string operation = {};
  std::string path = {};
  std::string dest = {};
  std::string address = {};
  std::exception_ptr reason = {};
  std::vector<std::exception_ptr> errors = {};
  std::vector<std::exception_ptr> attached = {};
};

/// what() of a std::exception; for anything else the name of its type.
std::string message_of(const std::exception_ptr& thrown);

}  // namespace weir::detail
