// floor/load.c: a closed-loop TCP load generator on one io_uring thread, cheap enough to saturate the raw servers.
// Rests on liburing 2.3 and Linux 6.1. It reads the CPU clocks of the server's processes exactly at the edges of the
// measured window, and prints one line of JSON: ops, secs, rate, bytes, cpu (seconds), us_op, busy (cpu / secs), p50
// and p99 (us).
//
//   load -p PORT [-m http|echo|stream] [-c CONNECTIONS] [-d SECONDS] [-w WARM_SECONDS] [-P DEPTH] [-s BYTES] [-u PATH]
//        [-S PID,PID,...]
//   http    GET PATH over keep-alive, DEPTH requests sent at once and answered before the next round
//   echo    BYTES sent, BYTES awaited
//   stream  chunks of BYTES both ways at once, at most DEPTH of them under way per connection
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <liburing.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { MAX_PIDS = 64, BUCKETS = 20000 };
enum mode { HTTP, ECHO, STREAM };

struct connection {
  int fd, sending;
  size_t awaited, under_way;
  double since;
};

static enum mode mode = HTTP;
static int port, connection_count = 64, depth = 1, pids[MAX_PIDS], pid_count;
static double seconds = 2, warm = 0.7;
static size_t size = 64;
static const char* path = "/";

static char* message;                               // what is sent at once
static size_t message_bytes, response_bytes, unit;  // unit: what is awaited before the next message
static struct connection* connections;

static struct io_uring ring;
static struct io_uring_buf_ring* buffers;
static char* buffer_memory;
static unsigned buffer_count = 1024, buffer_bytes = 16384, returned;

static int measuring;
static double began, cpu_began;
static unsigned long operations, bytes, latencies;
static unsigned histogram[BUCKETS];  // 1 us wide below 1 ms, 100 us wide above

static void die(const char* what, const char* why) {
  fprintf(stderr, "load: %s: %s\n", what, why);
  exit(1);
}

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

// The CPU clock of another process has an id made from its pid (see clock_getcpuclockid(3)).
static double server_cpu(void) {
  double sum = 0;
  for (int i = 0; i < pid_count; i++) {
    struct timespec t;
    if (!clock_gettime(((~(clockid_t)pids[i]) << 3) | 2, &t)) sum += (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
  }
  return sum;
}

static void parse_pids(char* list) {
  for (char* t = strtok(list, ","); t && pid_count < MAX_PIDS; t = strtok(NULL, ",")) pids[pid_count++] = atoi(t);
}

static void parse(int argc, char** argv) {
  for (int o; (o = getopt(argc, argv, "m:p:c:d:w:P:s:u:S:")) != -1;) {
    switch (o) {
      case 'm': mode = !strcmp(optarg, "echo") ? ECHO : !strcmp(optarg, "stream") ? STREAM : HTTP; break;
      case 'p': port = atoi(optarg); break;
      case 'c': connection_count = atoi(optarg); break;
      case 'd': seconds = atof(optarg); break;
      case 'w': warm = atof(optarg); break;
      case 'P': depth = atoi(optarg); break;
      case 's': size = strtoul(optarg, NULL, 10); break;
      case 'u': path = optarg; break;
      case 'S': parse_pids(optarg); break;
      default: exit(2);
    }
  }
  if (port > 0 && connection_count > 0 && depth > 0 && size > 0 && seconds > 0) return;
  die("usage", "load -p PORT [-m http|echo|stream] [-c CONNECTIONS] [-d SECONDS] [-P DEPTH] [-s BYTES] ...");
}

static int dial(void) {
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
  if (fd < 0 || connect(fd, (struct sockaddr*)&a, sizeof a)) die("connect", strerror(errno));
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  return fd;
}

// One request by hand, to learn how long a whole response (head and body) is.
static size_t probe(const char* request) {
  static char b[65536];
  int fd = dial();
  size_t n = 0;
  char* end = NULL;
  if (write(fd, request, strlen(request)) < 0) die("probe", strerror(errno));
  while (!end) {
    ssize_t r = n < sizeof b - 1 ? read(fd, b + n, sizeof b - 1 - n) : 0;
    if (r <= 0) die("probe", "no whole response head came back");
    n += (size_t)r;
    b[n] = 0;
    end = strstr(b, "\r\n\r\n");
  }
  char* length = strcasestr(b, "content-length:");
  if (strncmp(b + 8, " 200", 4)) die("probe: the server answered", (b[20] = 0, b));
  if (!length || length > end) die("probe", "the response has no Content-Length");
  size_t whole = (size_t)(end + 4 - b) + strtoul(length + 15, NULL, 10);
  while (n < whole) {
    ssize_t r = read(fd, b, whole - n < sizeof b ? whole - n : sizeof b);
    if (r <= 0) die("probe", "the response ended early");
    n += (size_t)r;
  }
  close(fd);
  return whole;
}

static void prepare_http(void) {
  char request[1024];
  int n = snprintf(request, sizeof request,
                   "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUser-Agent: load/1\r\nAccept: */*\r\n\r\n", path, port);
  if (n >= (int)sizeof request) die("path", "too long");
  response_bytes = probe(request);
  message_bytes = (size_t)n * (size_t)depth;
  message = malloc(message_bytes);
  for (int i = 0; i < depth; i++) memcpy(message + i * n, request, (size_t)n);
  unit = response_bytes * (size_t)depth;
}

static void prepare_message(void) {
  if (mode == HTTP) {
    prepare_http();
  } else {
    message_bytes = response_bytes = unit = size;
    message = malloc(size);
    memset(message, 'x', size);
  }
  if (response_bytes <= 16384) return;
  buffer_bytes = 65536;  // bulk: few buffers, so that the generator stays in its own cache
  buffer_count = connection_count <= 4 ? 8 : 64;
}

static void give_back(unsigned buffer) {
  io_uring_buf_ring_add(buffers, buffer_memory + (size_t)buffer * buffer_bytes, buffer_bytes, (unsigned short)buffer,
                        io_uring_buf_ring_mask(buffer_count), (int)returned++);
}

static void publish_buffers(void) {
  if (returned) io_uring_buf_ring_advance(buffers, (int)returned);
  returned = 0;
}

static void open_ring(void) {
  struct io_uring_params p = {.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
                                       IORING_SETUP_COOP_TASKRUN | IORING_SETUP_CQSIZE,
                              .cq_entries = 16384};
  int r = io_uring_queue_init_params(4096, &ring, &p);
  if (r < 0) die("ring", strerror(-r));
  io_uring_register_ring_fd(&ring);
  buffer_memory = malloc((size_t)buffer_count * buffer_bytes);
  if (!buffer_memory || posix_memalign((void**)&buffers, 4096, buffer_count * sizeof(struct io_uring_buf)))
    die("memory", strerror(ENOMEM));
  struct io_uring_buf_reg reg = {.ring_addr = (unsigned long)buffers, .ring_entries = buffer_count, .bgid = 1};
  if ((r = io_uring_register_buf_ring(&ring, &reg, 0)) < 0) die("buffer ring", strerror(-r));
  io_uring_buf_ring_init(buffers);
  for (unsigned i = 0; i < buffer_count; i++) give_back(i);
  publish_buffers();
}

static struct io_uring_sqe* next_sqe(void) {
  struct io_uring_sqe* s = io_uring_get_sqe(&ring);
  if (s) return s;
  io_uring_submit(&ring);
  return io_uring_get_sqe(&ring);
}

static void receive(unsigned i) {
  struct io_uring_sqe* s = next_sqe();
  io_uring_prep_recv_multishot(s, connections[i].fd, NULL, 0, 0);
  s->flags |= IOSQE_BUFFER_SELECT;
  s->buf_group = 1;
  s->user_data = i;
}

static void send_message(unsigned i) {
  struct io_uring_sqe* s = next_sqe();
  io_uring_prep_send(s, connections[i].fd, message, message_bytes, MSG_WAITALL | MSG_NOSIGNAL);
  s->user_data = 1ull << 32 | i;
  connections[i].sending = 1;
  connections[i].under_way += message_bytes;
}

static void stream_on(unsigned i) {
  struct connection* c = &connections[i];
  if (!c->sending && c->under_way < (size_t)depth * message_bytes) send_message(i);
}

static void sent(unsigned i, int result) {
  if (result < 0) die("send", strerror(-result));
  if ((size_t)result != message_bytes) die("send", "cut short");
  connections[i].sending = 0;
  if (mode == STREAM) stream_on(i);
}

static void record_latency(double us) {
  int b = us < 1000 ? (int)us : 1000 + (int)((us - 1000) / 100);
  histogram[b < BUCKETS ? b : BUCKETS - 1]++;
  latencies++;
}

static void took(unsigned i, size_t n, double t) {
  struct connection* c = &connections[i];
  bytes += n;
  if (mode == STREAM) {
    c->under_way = c->under_way > n ? c->under_way - n : 0;
    stream_on(i);
    return;
  }
  if (n > c->awaited) die("receive", "more bytes than asked for: does the length of the response vary?");
  if ((c->awaited -= n)) return;
  operations += mode == HTTP ? (unsigned long)depth : 1;
  if (measuring) record_latency((t - c->since) * 1e6);
  c->awaited = unit;
  c->under_way = 0;
  c->since = t;
  send_message(i);
}

static void received(unsigned i, const struct io_uring_cqe* cqe, double t) {
  if (cqe->res == 0) die("receive", "the server closed a connection");
  if (cqe->res < 0 && cqe->res != -ENOBUFS) die("receive", strerror(-cqe->res));
  if (cqe->res > 0) {
    give_back(cqe->flags >> IORING_CQE_BUFFER_SHIFT);
    took(i, (size_t)cqe->res, t);
  }
  if (!(cqe->flags & IORING_CQE_F_MORE)) receive(i);
}

static void reap(double t) {
  struct io_uring_cqe* cqe;
  unsigned head, n = 0;
  io_uring_for_each_cqe(&ring, head, cqe) {
    unsigned i = (unsigned)cqe->user_data;
    n++;
    if (cqe->user_data >> 32)
      sent(i, cqe->res);
    else
      received(i, cqe, t);
  }
  publish_buffers();
  io_uring_cq_advance(&ring, n);
}

static double percentile(double share) {
  unsigned long seen = 0, wanted = (unsigned long)((double)latencies * share);
  for (int b = 0; b < BUCKETS && latencies; b++) {
    seen += histogram[b];
    if (seen > wanted || seen == latencies) return b < 1000 ? b : 1000 + (b - 1000) * 100;
  }
  return 0;
}

static void report(double secs, double cpu) {
  if (mode == STREAM) operations = bytes / message_bytes;
  if (!operations) die("measured", "not one operation ended in time");
  printf(
      "{\"ops\":%lu,\"secs\":%.4f,\"rate\":%.0f,\"bytes\":%lu,\"cpu\":%.6f,\"us_op\":%.4f,\"busy\":%.3f,"
      "\"p50\":%.0f,\"p99\":%.0f}\n",
      operations, secs, (double)operations / secs, bytes, cpu, cpu * 1e6 / (double)operations, cpu / secs,
      percentile(0.5), percentile(0.99));
}

int main(int argc, char** argv) {
  parse(argc, argv);
  prepare_message();
  open_ring();
  connections = calloc((size_t)connection_count, sizeof *connections);
  for (int i = 0; i < connection_count; i++) connections[i].fd = dial();
  double t = now(), start = t + warm;
  for (int i = 0; i < connection_count; i++) {
    connections[i].awaited = unit;
    connections[i].since = t;
    receive((unsigned)i);
    send_message((unsigned)i);
  }
  for (;;) {
    io_uring_submit_and_wait(&ring, 1);
    t = now();
    if (!measuring && t >= start) {
      measuring = 1;
      began = t;
      cpu_began = server_cpu();
      operations = bytes = 0;
    } else if (measuring && t >= began + seconds) {
      break;
    }
    reap(t);
  }
  report(t - began, server_cpu() - cpu_began);
}
