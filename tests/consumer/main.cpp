// tests/consumer/main.cpp: the smallest program outside the tree. It shows that the headers are found
// by their public names, that they compile with a consumer's own flags, and that the library links.
#include <weir/core/backend.hpp>
#include <weir/weir.hpp>

#include <cstdio>

int main() {
  weir::operation op;
  op.code = weir::opcode::nop;
  std::printf("weir %d.%d.%d, descriptor %d\n", WEIR_VERSION_MAJOR, WEIR_VERSION_MINOR, WEIR_VERSION_PATCH, op.fd);
  return op.fd == -1 ? 0 : 1;
}
