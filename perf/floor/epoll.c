// floor/epoll.c: the least a one-thread epoll server can do: level-triggered, one read and one write per batch of
// requests. Rests on libc only. It is the floor for everything that is built on readiness; it never parses.
//
//   epoll -p PORT [-m http|echo] [-b BUFFER_BYTES]
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "canned.h"

enum { MAX_FD = 65536, EVENTS = 512 };

static int port, echo, poller;
static size_t buffer_bytes = 65536;
static char* buffer;
static unsigned scan_state[MAX_FD];

static void die(const char* what) {
  fprintf(stderr, "epoll: %s: %s\n", what, strerror(errno));
  exit(1);
}

static void parse(int argc, char** argv) {
  for (int o; (o = getopt(argc, argv, "p:m:b:")) != -1;) {
    switch (o) {
      case 'p': port = atoi(optarg); break;
      case 'm': echo = optarg[0] == 'e'; break;
      case 'b': buffer_bytes = strtoul(optarg, NULL, 10); break;
      default: exit(2);
    }
  }
  if (port <= 0 || buffer_bytes == 0) {
    fprintf(stderr, "usage: epoll -p PORT [-m http|echo] [-b BUFFER_BYTES]\n");
    exit(2);
  }
}

static int listen_on(void) {
  int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  if (bind(fd, (struct sockaddr*)&a, sizeof a) || listen(fd, 4096)) die("listen");
  return fd;
}

static void watch(int fd) {
  struct epoll_event e = {.events = EPOLLIN, .data.fd = fd};
  if (epoll_ctl(poller, EPOLL_CTL_ADD, fd, &e)) die("epoll_ctl");
}

static void accept_one(int listener) {
  int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
  if (fd < 0) return;
  if (fd >= MAX_FD) {
    close(fd);
    return;
  }
  scan_state[fd] = 0;
  watch(fd);
}

static void send_all(int fd, const char* p, size_t n) {
  while (n) {
    ssize_t sent = send(fd, p, n, MSG_NOSIGNAL);
    if (sent >= 0) {
      p += sent;
      n -= (size_t)sent;
    } else if (errno == EAGAIN) {
      struct pollfd room = {.fd = fd, .events = POLLOUT};
      poll(&room, 1, -1);
    } else {
      return;  // the next read reports the end
    }
  }
}

static void serve(int fd) {
  ssize_t n = recv(fd, buffer, buffer_bytes, 0);
  if (n <= 0) {
    if (n == 0 || errno != EAGAIN) close(fd);
    return;
  }
  if (echo) {
    send_all(fd, buffer, (size_t)n);
    return;
  }
  for (unsigned count = count_requests(&scan_state[fd], buffer, (size_t)n); count;) {
    unsigned some = count < BATCH ? count : BATCH;
    send_all(fd, responses, (size_t)some * RESPONSE_BYTES);
    count -= some;
  }
}

int main(int argc, char** argv) {
  parse(argc, argv);
  fill_responses();
  if (!(buffer = malloc(buffer_bytes))) die("malloc");
  if ((poller = epoll_create1(0)) < 0) die("epoll_create1");
  int listener = listen_on();
  watch(listener);
  for (;;) {
    struct epoll_event events[EVENTS];
    int n = epoll_wait(poller, events, EVENTS, -1);
    for (int i = 0; i < n; i++) {
      if (events[i].data.fd == listener)
        accept_one(listener);
      else
        serve(events[i].data.fd);
    }
  }
}
