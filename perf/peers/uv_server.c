// peers/uv_server.c: libuv's part in the tables: echo, and the floors' canned HTTP (a scan, no parser), with the
// uv_try_write first that libuv's own documentation recommends. Rests on libuv 1.44 (libuv1-dev).
//
//   uv_server http|echo PORT
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

#include "../floor/canned.h"

struct connection {
  uv_tcp_t tcp;
  unsigned scan_state;
  char buffer[65536];
};

struct late_write {
  uv_write_t request;
  char bytes[];
};

static int echo;

static void closed(uv_handle_t* h) { free(h->data); }

static void lend(uv_handle_t* h, size_t suggested, uv_buf_t* b) {
  struct connection* c = h->data;
  (void)suggested;
  *b = uv_buf_init(c->buffer, sizeof c->buffer);
}

static void wrote(uv_write_t* request, int status) {
  (void)status;
  free(request);
}

static void send_bytes(struct connection* c, char* p, size_t n) {
  uv_buf_t b = uv_buf_init(p, (unsigned)n);
  int sent = uv_try_write((uv_stream_t*)&c->tcp, &b, 1);
  if (sent == (int)n) return;
  if (sent > 0) p += sent, n -= (size_t)sent;
  struct late_write* w = malloc(sizeof *w + n);
  memcpy(w->bytes, p, n);
  b = uv_buf_init(w->bytes, (unsigned)n);
  uv_write(&w->request, (uv_stream_t*)&c->tcp, &b, 1, wrote);
}

static void received(uv_stream_t* s, ssize_t n, const uv_buf_t* b) {
  struct connection* c = s->data;
  if (n < 0) {
    uv_close((uv_handle_t*)s, closed);
    return;
  }
  if (echo) {
    send_bytes(c, b->base, (size_t)n);
    return;
  }
  for (unsigned count = count_requests(&c->scan_state, b->base, (size_t)n); count;) {
    unsigned some = count < BATCH ? count : BATCH;
    send_bytes(c, responses, (size_t)some * RESPONSE_BYTES);
    count -= some;
  }
}

static void connected(uv_stream_t* listener, int status) {
  if (status < 0) return;
  struct connection* c = malloc(sizeof *c);
  c->scan_state = 0;
  uv_tcp_init(listener->loop, &c->tcp);
  c->tcp.data = c;
  if (uv_accept(listener, (uv_stream_t*)&c->tcp)) {
    uv_close((uv_handle_t*)&c->tcp, closed);
    return;
  }
  uv_tcp_nodelay(&c->tcp, 1);
  uv_read_start((uv_stream_t*)&c->tcp, lend, received);
}

int main(int argc, char** argv) {
  if (argc != 3) {
    fprintf(stderr, "usage: uv_server http|echo PORT\n");
    return 2;
  }
  echo = argv[1][0] == 'e';
  fill_responses();
  uv_loop_t* loop = uv_default_loop();
  uv_tcp_t listener;
  struct sockaddr_in a;
  uv_ip4_addr("127.0.0.1", atoi(argv[2]), &a);
  uv_tcp_init(loop, &listener);
  int r = uv_tcp_bind(&listener, (const struct sockaddr*)&a, 0);
  if (!r) r = uv_listen((uv_stream_t*)&listener, 4096, connected);
  if (r) {
    fprintf(stderr, "uv_server: %s\n", uv_strerror(r));
    return 1;
  }
  return uv_run(loop, UV_RUN_DEFAULT);
}
