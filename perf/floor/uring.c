// floor/uring.c: the least a one-thread io_uring server can do: a SINGLE_ISSUER ring with deferred task work, direct
// descriptors, multishot accept and receive into provided buffers, one send per batch of requests. Rests on liburing
// 2.3 and Linux 6.1. It is the floor that every ratio in the tables refers to; it never parses and has no limits.
//
//   uring -p PORT [-m http|echo] [-o] [-b BUFFER_BYTES] [-n BUFFERS] [-y SPIN_USEC]
//     -o  one-shot receives into a buffer of the connection's own (better for bulk) instead of multishot
//     -y  poll the ring for so long before sleeping in the kernel
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <liburing.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "canned.h"

enum { CONNECTIONS = 16384, SEGMENTS = 1024, NO_BUFFER = 65536 };
enum operation { CLOSE, ACCEPT, RECEIVE, SEND };

struct segment {
  char* bytes;
  unsigned length, buffer;
};

struct connection {
  unsigned scan_state, head, tail;
  unsigned char sending, receiving, ended;
  char* own;
  struct segment* queue;  // what an echo has yet to send, oldest first
};

static int port, echo, one_shot, spin;
static unsigned buffer_count = 1024, buffer_bytes = 4096;
static struct io_uring ring;
static struct io_uring_buf_ring* buffers;
static char* buffer_memory;
static struct connection connections[CONNECTIONS];

static void die(const char* what, int error) {
  fprintf(stderr, "uring: %s: %s\n", what, strerror(error < 0 ? -error : error));
  exit(1);
}

static void parse(int argc, char** argv) {
  for (int o; (o = getopt(argc, argv, "p:m:ob:n:y:")) != -1;) {
    switch (o) {
      case 'p': port = atoi(optarg); break;
      case 'm': echo = optarg[0] == 'e'; break;
      case 'o': one_shot = 1; break;
      case 'b': buffer_bytes = (unsigned)strtoul(optarg, NULL, 10); break;
      case 'n': buffer_count = (unsigned)strtoul(optarg, NULL, 10); break;
      case 'y': spin = atoi(optarg); break;
      default: exit(2);
    }
  }
  if (port > 0 && buffer_bytes && buffer_count && buffer_count <= 32768 && !(buffer_count & (buffer_count - 1))) return;
  fprintf(stderr, "usage: uring -p PORT [-m http|echo] [-o] [-b BUFFER_BYTES] [-n BUFFERS, a power of 2] [-y USEC]\n");
  exit(2);
}

static int listen_on(void) {
  int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  if (bind(fd, (struct sockaddr*)&a, sizeof a) || listen(fd, 4096)) die("listen", errno);
  return fd;
}

static void open_ring(void) {
  struct io_uring_params p = {.flags = IORING_SETUP_CQSIZE | IORING_SETUP_COOP_TASKRUN | IORING_SETUP_SINGLE_ISSUER |
                                       IORING_SETUP_DEFER_TASKRUN,
                              .cq_entries = 16384};
  int r = io_uring_queue_init_params(2048, &ring, &p);
  if (r < 0) die("ring", r);
  io_uring_register_ring_fd(&ring);
  struct rlimit limit;  // direct descriptors count against it
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  if ((r = io_uring_register_files_sparse(&ring, CONNECTIONS)) < 0) die("direct descriptors", r);
}

static void give_back(unsigned buffer) {
  if (buffer == NO_BUFFER) return;
  io_uring_buf_ring_add(buffers, buffer_memory + (size_t)buffer * buffer_bytes, buffer_bytes, (unsigned short)buffer,
                        io_uring_buf_ring_mask(buffer_count), 0);
  io_uring_buf_ring_advance(buffers, 1);
}

static void provide_buffers(void) {
  if (one_shot) return;
  if (posix_memalign((void**)&buffers, 4096, buffer_count * sizeof(struct io_uring_buf))) die("memory", ENOMEM);
  if (posix_memalign((void**)&buffer_memory, 4096, (size_t)buffer_count * buffer_bytes)) die("memory", ENOMEM);
  struct io_uring_buf_reg reg = {.ring_addr = (unsigned long)buffers, .ring_entries = buffer_count, .bgid = 1};
  int r = io_uring_register_buf_ring(&ring, &reg, 0);
  if (r < 0) die("buffer ring", r);
  io_uring_buf_ring_init(buffers);
  for (unsigned i = 0; i < buffer_count; i++) give_back(i);
}

static struct io_uring_sqe* next_sqe(void) {
  struct io_uring_sqe* s = io_uring_get_sqe(&ring);
  if (s) return s;
  io_uring_submit(&ring);
  return io_uring_get_sqe(&ring);
}

static void tag(struct io_uring_sqe* s, enum operation op, int slot) {
  s->user_data = (unsigned long)op << 32 | (unsigned)slot;
}

static void receive(int slot) {
  struct connection* c = &connections[slot];
  struct io_uring_sqe* s = next_sqe();
  if (one_shot) {
    if (!c->own && !(c->own = malloc(buffer_bytes))) die("memory", ENOMEM);
    io_uring_prep_recv(s, slot, c->own, buffer_bytes, 0);
    s->flags = IOSQE_FIXED_FILE;
  } else {
    io_uring_prep_recv_multishot(s, slot, NULL, 0, 0);
    s->flags = IOSQE_FIXED_FILE | IOSQE_BUFFER_SELECT;
    s->buf_group = 1;
  }
  tag(s, RECEIVE, slot);
  c->receiving = 1;
}

static void send_bytes(int slot, const char* p, size_t n, unsigned flags) {
  struct io_uring_sqe* s = next_sqe();
  io_uring_prep_send(s, slot, p, n, MSG_NOSIGNAL | MSG_WAITALL);
  s->flags = (unsigned char)(IOSQE_FIXED_FILE | flags);
  tag(s, SEND, slot);
}

// A slot is closed only when the kernel holds nothing of it any more, else its successor would get the completions.
static void close_when_quiet(int slot) {
  struct connection* c = &connections[slot];
  if (!c->ended || c->sending || c->receiving) return;
  for (; c->head != c->tail; c->head++) give_back(c->queue[c->head % SEGMENTS].buffer);
  struct io_uring_sqe* s = next_sqe();
  io_uring_prep_close_direct(s, (unsigned)slot);
  tag(s, CLOSE, slot);
  c->ended = 0;
}

static void answer(int slot, const char* p, size_t n) {
  for (unsigned count = count_requests(&connections[slot].scan_state, p, n); count;) {
    unsigned some = count < BATCH ? count : BATCH;
    send_bytes(slot, responses, (size_t)some * RESPONSE_BYTES, IOSQE_CQE_SKIP_SUCCESS);
    count -= some;
  }
}

static void send_oldest(int slot) {
  struct connection* c = &connections[slot];
  if (c->sending || c->head == c->tail || c->ended) return;
  struct segment* g = &c->queue[c->head % SEGMENTS];
  c->sending = 1;
  send_bytes(slot, g->bytes, g->length, 0);
}

static void echo_back(int slot, char* p, unsigned n, unsigned buffer) {
  struct connection* c = &connections[slot];
  if (!c->queue && !(c->queue = malloc(SEGMENTS * sizeof *c->queue))) die("memory", ENOMEM);
  if (c->tail - c->head == SEGMENTS) die("a client sends without reading", ENOBUFS);
  c->queue[c->tail++ % SEGMENTS] = (struct segment){p, n, buffer};
  send_oldest(slot);
}

static void accepted(const struct io_uring_cqe* cqe) {
  if (!(cqe->flags & IORING_CQE_F_MORE)) die("accept ended", cqe->res);
  if (cqe->res < 0) return;
  struct connection* c = &connections[cqe->res];
  c->scan_state = c->head = c->tail = 0;
  c->ended = 0;
  receive(cqe->res);
}

static void received(int slot, const struct io_uring_cqe* cqe) {
  struct connection* c = &connections[slot];
  int more = !!(cqe->flags & IORING_CQE_F_MORE);
  if (!more) c->receiving = 0;
  if (cqe->res <= 0 && cqe->res != -ENOBUFS) {
    c->ended = 1;
    close_when_quiet(slot);
    return;
  }
  if (cqe->res > 0) {
    unsigned buffer = one_shot ? NO_BUFFER : cqe->flags >> IORING_CQE_BUFFER_SHIFT;
    char* p = one_shot ? c->own : buffer_memory + (size_t)buffer * buffer_bytes;
    if (echo) {
      echo_back(slot, p, (unsigned)cqe->res, buffer);
      if (one_shot) return;  // the buffer is free again when the send has ended
    } else {
      answer(slot, p, (size_t)cqe->res);
      give_back(buffer);
    }
  }
  if (!more) receive(slot);
}

static void sent(int slot) {
  struct connection* c = &connections[slot];
  if (!echo) return;  // a failed send of a response: the receive reports the end
  give_back(c->queue[c->head++ % SEGMENTS].buffer);
  c->sending = 0;
  if (one_shot && !c->ended) receive(slot);
  send_oldest(slot);
  close_when_quiet(slot);
}

static double microseconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e6 + (double)t.tv_nsec * 1e-3;
}

static void wait_for_completions(void) {
  for (double until = spin ? microseconds() + spin : 0; spin;) {
    io_uring_submit_and_get_events(&ring);
    if (io_uring_cq_ready(&ring)) return;
    if (microseconds() > until) break;
  }
  io_uring_submit_and_wait(&ring, 1);
}

int main(int argc, char** argv) {
  parse(argc, argv);
  fill_responses();
  int listener = listen_on();
  open_ring();
  provide_buffers();
  struct io_uring_sqe* s = next_sqe();
  io_uring_prep_multishot_accept_direct(s, listener, NULL, NULL, 0);
  tag(s, ACCEPT, 0);
  for (;;) {
    wait_for_completions();
    struct io_uring_cqe* cqe;
    unsigned head, n = 0;
    io_uring_for_each_cqe(&ring, head, cqe) {
      int slot = (int)(unsigned)cqe->user_data;
      enum operation op = (enum operation)(cqe->user_data >> 32);
      n++;
      if (op == ACCEPT)
        accepted(cqe);
      else if (op == RECEIVE)
        received(slot, cqe);
      else if (op == SEND)
        sent(slot);
    }
    io_uring_cq_advance(&ring, n);
  }
}
