// floor/canned.h: what the programs that do not parse share: one canned HTTP response and a scan for the blank line
// that ends a request head. Rests on libc only; C and C++ both include it. It promises the least work an answer can
// take, not correct HTTP: a request with a body would be counted wrongly.
#pragma once

#include <string.h>

static const char RESPONSE[] =
    "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n"
    "Content-Length: 13\r\n\r\nHello, World!";

enum { RESPONSE_BYTES = sizeof RESPONSE - 1, BATCH = 256 };

/// BATCH responses in a row, so that a pipelined batch is answered with one send.
static char responses[RESPONSE_BYTES * BATCH];

static inline void fill_responses(void) {
  for (int i = 0; i < BATCH; i++) memcpy(responses + i * RESPONSE_BYTES, RESPONSE, RESPONSE_BYTES);
}

/// Counts the request heads that end within `n` bytes at `p`.
/// `state` (0 at first) carries how much of the blank line the previous read ended with.
static inline unsigned count_requests(unsigned* state, const char* p, size_t n) {
  const char* end = p + n;
  unsigned count = 0;
  if (*state == 0) {  // whole requests in one read are the common case, and memmem is fast
    const char* found;
    while ((found = (const char*)memmem(p, (size_t)(end - p), "\r\n\r\n", 4))) count++, p = found + 4;
  }
  for (; p < end; p++) {
    if (*p != "\r\n\r\n"[*state]) {
      *state = *p == '\r';
    } else if (++*state == 4) {
      count++;
      *state = 0;
    }
  }
  return count;
}
