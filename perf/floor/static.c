// floor/static.c: the least that it takes to answer each request with a file: epoll, one thread, the file opened for
// each answer, its head sent with the first bytes. Rests on libc only; never parses. Four ways to move the bytes.
//
//   static -p PORT -f FILE [-m own|shared|sendfile|splice] [-b CHUNK_BYTES]
//   own       pread into a buffer of the connection, which keeps what the socket did not take
//   shared    pread into one buffer for all; what the socket did not take is read again
//   sendfile  sendfile(2)               splice   file to pipe to socket
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "canned.h"

enum { MAX_FD = 4096, EVENTS = 256 };
enum mode { OWN, SHARED, SENDFILE, SPLICE };

// An answer under way, by the connection's descriptor.
struct answer {
  int file, pipe[2];
  unsigned scan, owed;  // requests seen and not answered
  size_t head, head_sent;
  off_t at, size;  // of the file: what comes next, and its end
  char* memory;    // OWN: `have` bytes, of which `sent` are gone; SPLICE: `have` are in the pipe
  size_t have, sent;
  int waits;  // for EPOLLOUT
};

static int port, poller;
static enum mode mode = OWN;
static size_t chunk = 1 << 20;
static const char* name;
static char* memory;
static char head[256];
static struct answer answers[MAX_FD];

static void die(const char* what) {
  fprintf(stderr, "static: %s: %s\n", what, strerror(errno));
  exit(1);
}

static void usage(void) {
  fprintf(stderr, "usage: static -p PORT -f FILE [-m own|shared|sendfile|splice] [-b CHUNK_BYTES]\n");
  exit(2);
}

static void parse(int argc, char** argv) {
  static const char* names[] = {"own", "shared", "sendfile", "splice"};
  for (int o; (o = getopt(argc, argv, "p:f:m:b:")) != -1;) {
    switch (o) {
      case 'p': port = atoi(optarg); break;
      case 'f': name = optarg; break;
      case 'b': chunk = strtoul(optarg, NULL, 10); break;
      case 'm':
        for (mode = OWN; mode <= SPLICE && strcmp(names[mode], optarg) != 0;) mode++;
        break;
      default: usage();
    }
  }
  if (port <= 0 || !name || !chunk || mode > SPLICE) usage();
}

static void watch(int how, int fd, unsigned events) {
  struct epoll_event e = {.events = events, .data.fd = fd};
  if (epoll_ctl(poller, how, fd, &e)) die("epoll_ctl");
}

static int listen_on(void) {
  int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  if (bind(fd, (struct sockaddr*)&a, sizeof a) || listen(fd, 4096)) die("listen");
  return fd;
}

static void accept_one(int listener) {
  int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
  if (fd < 0) return;
  if (fd >= MAX_FD) {
    close(fd);
    return;
  }
  struct answer* a = &answers[fd];
  *a = (struct answer){.file = -1};
  if (mode == OWN) a->memory = malloc(chunk);
  if (mode == SPLICE) {
    if (pipe2(a->pipe, O_NONBLOCK)) die("pipe2");
    fcntl(a->pipe[0], F_SETPIPE_SZ, (int)chunk);
  }
  watch(EPOLL_CTL_ADD, fd, EPOLLIN);
}

static void drop(int fd) {
  struct answer* a = &answers[fd];
  if (a->file >= 0) close(a->file);
  free(a->memory);
  if (mode == SPLICE) {
    close(a->pipe[0]);
    close(a->pipe[1]);
  }
  close(fd);
}

static void begin(struct answer* a) {
  struct stat facts;
  a->file = open(name, O_RDONLY | O_CLOEXEC);
  if (a->file < 0 || fstat(a->file, &facts)) die(name);
  a->at = 0;
  a->size = facts.st_size;
  a->head = (size_t)snprintf(head, sizeof head,
                             "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n"
                             "Date: Thu, 01 Jan 1970 00:00:00 GMT\r\nContent-Length: %lld\r\n\r\n",
                             (long long)a->size);
  a->head_sent = a->have = a->sent = 0;
}

// Each step gives what the socket took, or -1 with errno.

static ssize_t send_with_head(int fd, struct answer* a, char* body, size_t size) {
  struct iovec parts[2] = {{head + a->head_sent, a->head - a->head_sent}, {body, size}};
  struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
  ssize_t sent = sendmsg(fd, &message, MSG_NOSIGNAL);
  if (sent < 0) return sent;
  size_t of_head = (size_t)sent < parts[0].iov_len ? (size_t)sent : parts[0].iov_len;
  a->head_sent += of_head;
  return sent - (ssize_t)of_head;
}

static size_t left(const struct answer* a) {
  size_t rest = (size_t)(a->size - a->at);
  return rest < chunk ? rest : chunk;
}

static ssize_t step_own(int fd, struct answer* a) {
  if (a->sent == a->have) {
    ssize_t got = pread(a->file, a->memory, left(a), a->at);
    if (got <= 0) die("pread");
    a->have = (size_t)got;
    a->sent = 0;
  }
  ssize_t sent = send_with_head(fd, a, a->memory + a->sent, a->have - a->sent);
  if (sent > 0) a->sent += (size_t)sent;
  return sent;
}

static ssize_t step_shared(int fd, struct answer* a) {
  ssize_t got = pread(a->file, memory, left(a), a->at);
  if (got <= 0) die("pread");
  return send_with_head(fd, a, memory, (size_t)got);
}

static int send_head(int fd, struct answer* a) {
  if (a->head_sent == a->head) return 1;
  ssize_t sent = send(fd, head + a->head_sent, a->head - a->head_sent, MSG_MORE | MSG_NOSIGNAL);
  if (sent > 0) a->head_sent += (size_t)sent;
  return a->head_sent == a->head;
}

static ssize_t step_sendfile(int fd, struct answer* a) {
  if (!send_head(fd, a)) return -1;
  off_t from = a->at;
  return sendfile(fd, a->file, &from, left(a));
}

static ssize_t step_splice(int fd, struct answer* a) {
  if (!send_head(fd, a)) return -1;
  if (a->have == 0) {
    off_t from = a->at;
    ssize_t got = splice(a->file, &from, a->pipe[1], NULL, left(a), SPLICE_F_NONBLOCK);
    if (got <= 0) die("splice");
    a->have = (size_t)got;
  }
  // The last piece must not say that more follows: the kernel would hold it back for 200 ms.
  unsigned more = a->at + (off_t)a->have < a->size ? SPLICE_F_MORE : 0;
  ssize_t sent = splice(a->pipe[0], NULL, fd, NULL, a->have, SPLICE_F_NONBLOCK | more);
  if (sent > 0) a->have -= (size_t)sent;
  return sent;
}

static ssize_t step(int fd, struct answer* a) {
  switch (mode) {
    case OWN: return step_own(fd, a);
    case SHARED: return step_shared(fd, a);
    case SENDFILE: return step_sendfile(fd, a);
    default: return step_splice(fd, a);
  }
}

// Sends until everything is answered or the socket is full. @return 0 if the connection is broken
static int go_on(int fd, struct answer* a) {
  int full = 0;
  while (!full && (a->file >= 0 || a->owed)) {
    if (a->file < 0) begin(a);
    ssize_t sent = step(fd, a);
    if (sent < 0 && errno != EAGAIN) return 0;
    full = sent < 0;
    if (sent > 0) a->at += sent;
    if (a->at < a->size) continue;
    close(a->file);
    a->file = -1;
    a->owed--;
  }
  if (full != a->waits) watch(EPOLL_CTL_MOD, fd, full ? EPOLLIN | EPOLLOUT : EPOLLIN);
  a->waits = full;
  return 1;
}

static void serve(int fd, unsigned events) {
  struct answer* a = &answers[fd];
  static char request[65536];
  if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
    ssize_t n = read(fd, request, sizeof request);
    if (n == 0 || (n < 0 && errno != EAGAIN)) return drop(fd);
    if (n > 0) a->owed += count_requests(&a->scan, request, (size_t)n);
  }
  if (!go_on(fd, a)) drop(fd);
}

int main(int argc, char** argv) {
  parse(argc, argv);
  poller = epoll_create1(0);
  memory = malloc(chunk);
  int listener = listen_on();
  watch(EPOLL_CTL_ADD, listener, EPOLLIN);
  for (;;) {
    struct epoll_event events[EVENTS];
    int n = epoll_wait(poller, events, EVENTS, -1);
    for (int i = 0; i < n; i++) {
      if (events[i].data.fd == listener)
        accept_one(listener);
      else
        serve(events[i].data.fd, events[i].events);
    }
  }
}
