// perf/floor/files.c: the least that work on files costs (see ../files.py for the keys): a loop over one io_uring
// with 64 requests under way, or over plain system calls, one after the other on one thread.
//
//   files uring|calls rand|seq|small|storm      in the directory WEIR_PERF_DIR, else /tmp
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
  LANES = 64,
  PAGE = 4096,
  CHUNK = 65536,
  RANDOM_READS = 500000,
  SMALL_FILES = 10000,
  SMALL_ROUNDS = 4,  // the first one warms up
  STORM_FILES = 1024,
  STORM_STATS = 100000,
  STORM_RENAMES = 20 * STORM_FILES
};
static const uint64_t random_bytes = 256ull << 20, whole = 1ull << 30;
static const unsigned statx_mask = STATX_BASIC_STATS | STATX_BTIME;

static struct io_uring ring;
static int uses_ring;
static char place[4000];
static char* memory;  // LANES chunks

static void die(const char* what) {
  perror(what);
  exit(1);
}

static double clock_ns(clockid_t which) {
  struct timespec t;
  clock_gettime(which, &t);
  return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

// What io-wq's threads use counts for the process as well.
struct watch {
  double wall, cpu;
};

static struct watch begin(void) {
  return (struct watch){clock_ns(CLOCK_MONOTONIC), clock_ns(CLOCK_PROCESS_CPUTIME_ID)};
}

static struct watch since(struct watch w) {
  return (struct watch){clock_ns(CLOCK_MONOTONIC) - w.wall, clock_ns(CLOCK_PROCESS_CPUTIME_ID) - w.cpu};
}

static void print(const char* key, struct watch spent, double operations) {
  printf("%s %.2f\n%s_cpu %.2f\n", key, spent.wall / operations, key, spent.cpu / operations);
  fflush(stdout);
}

static char* name_of(char* into, const char* kind, unsigned number) {
  sprintf(into, "%s/%s%u", place, kind, number);
  return into;
}

static char** names(const char* kind, unsigned count) {
  char** all = malloc(count * sizeof *all);
  for (unsigned i = 0; i < count; i++) {
    char name[4096];
    all[i] = strdup(name_of(name, kind, i));
  }
  return all;
}

// ---- steps: what one of the lanes does; `step` counts the requests of one operation

struct lane;
typedef int (*step_function)(struct lane*, struct io_uring_sqe*);  // 0: the operation is over

struct lane {
  unsigned long at;  // the operation it is at
  unsigned step;
  int fd, answer;
  uint64_t random;
  struct statx found;
  char* memory;
};

static struct lane lanes[LANES];

static unsigned next_operation(struct lane* l, unsigned long count, step_function prepare) {
  for (;;) {
    if (l->at >= count) return 0;
    struct io_uring_sqe* s = io_uring_get_sqe(&ring);
    io_uring_prep_nop(s);
    if (prepare(l, s)) {
      io_uring_sqe_set_data(s, l);
      return 1;
    }
    ring.sq.sqe_tail--;  // not used
    l->at += LANES;
    l->step = 0;
  }
}

static void run(unsigned long count, unsigned depth, step_function prepare) {
  unsigned under_way = 0;
  for (unsigned i = 0; i < depth; i++) {
    lanes[i].at = depth == LANES ? i : 0;
    lanes[i].step = 0;
    under_way += next_operation(&lanes[i], count, prepare);
  }
  while (under_way) {
    io_uring_submit_and_wait(&ring, 1);
    unsigned head, seen = 0;
    struct io_uring_cqe* c;
    struct lane* done[4 * LANES];
    io_uring_for_each_cqe(&ring, head, c) {
      struct lane* l = io_uring_cqe_get_data(c);
      l->answer = c->res;
      if (c->res < 0) errno = -c->res, die("an operation");
      done[seen++] = l;
    }
    io_uring_cq_advance(&ring, seen);
    for (unsigned i = 0; i < seen; i++) {
      under_way--;
      done[i]->step++;
      under_way += next_operation(done[i], count, prepare);
    }
  }
}

static void measured(const char* key, unsigned long count, step_function prepare) {
  struct watch w = begin();
  run(count, LANES, prepare);
  print(key, since(w), (double)count);
}

// ---- rand

static int data_fd;

static uint64_t random_place(uint64_t* random) {
  *random ^= *random << 13;
  *random ^= *random >> 7;
  *random ^= *random << 17;
  return *random % (random_bytes / PAGE) * PAGE;
}

static int read_page(struct lane* l, struct io_uring_sqe* s) {
  if (l->step) return 0;
  io_uring_prep_read(s, data_fd, l->memory, PAGE, random_place(&l->random));
  return 1;
}

static void reads_by_calls(unsigned long count) {
  for (unsigned long i = 0; i < count; i++)
    if (pread(data_fd, memory, PAGE, (off_t)random_place(&lanes[0].random)) != PAGE) die("pread");
}

static void random_part(void) {
  char name[4096];
  data_fd = open(name_of(name, "random", 0), O_RDWR | O_CREAT, 0666);
  for (uint64_t at = 0; at < random_bytes; at += CHUNK)
    if (write(data_fd, memory, CHUNK) != CHUNK) die("write");
  if (uses_ring) {
    run(RANDOM_READS / 4, LANES, read_page);
    measured("rand4k", RANDOM_READS, read_page);
  } else {
    reads_by_calls(RANDOM_READS / 4);
    struct watch w = begin();
    reads_by_calls(RANDOM_READS);
    print("rand4k", since(w), RANDOM_READS);
  }
  unlink(name);
}

// ---- seq: in turns of `depth` chunks, each the next of the file

static uint64_t position;
static int writes;

static int next_chunk(struct lane* l, struct io_uring_sqe* s) {
  if (l->step && l->answer != CHUNK) errno = EIO, die("a short transfer");
  if (position >= whole) {
    l->at = ~0ul - LANES;
    return 0;
  }
  if (writes)
    io_uring_prep_write(s, data_fd, l->memory, CHUNK, position);
  else
    io_uring_prep_read(s, data_fd, l->memory, CHUNK, position);
  position += CHUNK;
  return 1;
}

static void through_file(unsigned depth) {
  position = 0;
  if (uses_ring) {
    run(~0ul - 2 * LANES, depth, next_chunk);
    return;
  }
  for (uint64_t done = 0; done < whole; done += CHUNK) {
    ssize_t n = writes ? write(data_fd, memory, CHUNK) : read(data_fd, memory, CHUNK);
    if (n != CHUNK) die("a chunk");
  }
}

static struct watch pass(const char* name, int write_it, unsigned depth) {
  writes = write_it;
  if (write_it) unlink(name);
  struct watch w = begin();
  data_fd = open(name, write_it ? O_WRONLY | O_CREAT | O_TRUNC : O_RDONLY, 0666);
  if (data_fd < 0) die(name);
  through_file(depth);
  close(data_fd);
  return since(w);
}

static void best_of(const char* key, const char* name, int write_it) {
  static const unsigned depths[] = {1, 4, 16};
  struct watch best = {1e300, 1e300};
  for (unsigned i = 0; i < (uses_ring ? 3 : 1); i++) {
    struct watch spent = pass(name, write_it, depths[i]);
    if (spent.wall < best.wall) best = spent;
  }
  print(key, best, (double)(whole / CHUNK));
}

static void sequential_part(void) {
  char name[4096];
  name_of(name, "whole", 0);
  pass(name, 1, 1);  // the pages' first touch
  best_of("seq_write", name, 1);
  pass(name, 0, 1);
  best_of("seq_read", name, 0);
  unlink(name);
}

// ---- small and storm

static char **first, **second;
static unsigned first_count;

static int create_small(struct lane* l, struct io_uring_sqe* s) {
  switch (l->step) {
    case 0: io_uring_prep_openat(s, AT_FDCWD, first[l->at], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666); return 1;
    case 1:
      l->fd = l->answer;
      io_uring_prep_write(s, l->fd, l->memory, 1024, 0);
      return 1;
    case 2: io_uring_prep_close(s, l->fd); return 1;
    default: return 0;
  }
}

static int read_small(struct lane* l, struct io_uring_sqe* s) {
  switch (l->step) {
    case 0: io_uring_prep_openat(s, AT_FDCWD, first[l->at], O_RDONLY | O_CLOEXEC, 0); return 1;
    case 1:
      l->fd = l->answer;
      io_uring_prep_read(s, l->fd, l->memory, PAGE, 0);
      return 1;
    case 2: io_uring_prep_read(s, l->fd, l->memory, PAGE, 1024); return 1;
    case 3: io_uring_prep_close(s, l->fd); return 1;
    default: return 0;
  }
}

static int stat_one(struct lane* l, struct io_uring_sqe* s) {
  if (l->step) return 0;
  io_uring_prep_statx(s, AT_FDCWD, first[l->at % first_count], 0, statx_mask, &l->found);
  return 1;
}

static int open_and_close(struct lane* l, struct io_uring_sqe* s) {
  if (l->step > 1) return 0;
  if (l->step == 1)
    io_uring_prep_close(s, l->answer);
  else
    io_uring_prep_openat(s, AT_FDCWD, first[l->at % first_count], O_RDONLY | O_CLOEXEC, 0);
  return 1;
}

static const char* old_name(unsigned long i) { return (i / first_count % 2 ? second : first)[i % first_count]; }
static const char* new_name(unsigned long i) { return (i / first_count % 2 ? first : second)[i % first_count]; }

static int rename_one(struct lane* l, struct io_uring_sqe* s) {
  if (l->step) return 0;
  io_uring_prep_renameat(s, AT_FDCWD, old_name(l->at), AT_FDCWD, new_name(l->at), 0);
  return 1;
}

static int unlink_one(struct lane* l, struct io_uring_sqe* s) {
  if (l->step) return 0;
  io_uring_prep_unlinkat(s, AT_FDCWD, first[l->at], 0);
  return 1;
}

static void create_by_call(unsigned long i) {
  int fd = open(first[i], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (fd < 0 || write(fd, memory, 1024) != 1024 || close(fd)) die("create");
}

static void read_by_call(unsigned long i) {
  int fd = open(first[i], O_RDONLY | O_CLOEXEC);
  if (fd < 0 || read(fd, memory, PAGE) != 1024 || read(fd, memory, PAGE) != 0 || close(fd)) die("read");
}

static void stat_by_call(unsigned long i) {
  if (statx(AT_FDCWD, first[i % first_count], 0, statx_mask, &lanes[0].found)) die("statx");
}

static void open_by_call(unsigned long i) {
  int fd = open(first[i % first_count], O_RDONLY | O_CLOEXEC);
  if (fd < 0 || close(fd)) die("open");
}

static void rename_by_call(unsigned long i) {
  if (rename(old_name(i), new_name(i))) die("rename");
}

static void unlink_by_call(unsigned long i) {
  if (unlink(first[i])) die("unlink");
}

static struct watch all_of(unsigned long count, step_function on_ring, void (*by_call)(unsigned long)) {
  struct watch w = begin();
  if (uses_ring) {
    run(count, LANES, on_ring);
  } else {
    for (unsigned long i = 0; i < count; i++) by_call(i);
  }
  return since(w);
}

static void small_part(void) {
  static const char* keys[] = {"create", "read", "stat1", "unlink1"};
  static const step_function steps[] = {create_small, read_small, stat_one, unlink_one};
  static void (*const calls[])(unsigned long) = {create_by_call, read_by_call, stat_by_call, unlink_by_call};
  struct watch sum[4] = {{0, 0}};
  first = names("f", first_count = SMALL_FILES);
  for (unsigned round = 0; round < SMALL_ROUNDS; round++) {
    for (unsigned i = 0; i < 4; i++) {
      struct watch spent = all_of(SMALL_FILES, steps[i], calls[i]);
      if (!round) continue;
      sum[i].wall += spent.wall;
      sum[i].cpu += spent.cpu;
    }
  }
  for (unsigned i = 0; i < 4; i++) print(keys[i], sum[i], (double)SMALL_FILES * (SMALL_ROUNDS - 1));
}

static void make_empty(void) {
  for (unsigned i = 0; i < first_count; i++) close(open(first[i], O_WRONLY | O_CREAT, 0666));
}

static void one_of_storm(const char* name, unsigned long count, step_function step, void (*call)(unsigned long)) {
  char key[64];
  snprintf(key, sizeof key, "%s%s", name, uses_ring ? "_ring" : "");
  print(key, all_of(count, step, call), (double)count);
}

static void storm_part(void) {
  first = names("f", first_count = STORM_FILES);
  second = names("x", STORM_FILES);
  make_empty();
  all_of(STORM_STATS / 10, stat_one, stat_by_call);
  one_of_storm("stat", STORM_STATS, stat_one, stat_by_call);
  one_of_storm("open_close", STORM_STATS, open_and_close, open_by_call);
  one_of_storm("rename", STORM_RENAMES, rename_one, rename_by_call);
  for (unsigned i = 0; i < STORM_FILES; i++) unlink(first[i]);
  first = names("u", first_count = SMALL_FILES);
  make_empty();
  one_of_storm("unlink", SMALL_FILES, unlink_one, unlink_by_call);
}

static void open_ring(void) {
  struct io_uring_params p = {.flags =
                                  IORING_SETUP_COOP_TASKRUN | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN};
  int failed = io_uring_queue_init_params(256, &ring, &p);
  if (failed < 0) errno = -failed, die("io_uring");
  io_uring_register_ring_fd(&ring);
}

static void prepare(size_t room) {
  const char* below = getenv("WEIR_PERF_DIR");
  snprintf(place, sizeof place, "%s/files-%d", below ? below : "/tmp", (int)getpid());
  if (mkdir(place, 0777)) die(place);
  memory = aligned_alloc(2 << 20, (size_t)LANES * CHUNK);  // copies to odd addresses take a third longer
  memset(memory, 'x', (size_t)LANES * CHUNK);
  for (unsigned i = 0; i < LANES; i++) {
    lanes[i].memory = memory + i * room;
    lanes[i].random = 0x9e3779b97f4a7c15u * (i + 1);
  }
  if (uses_ring) open_ring();
}

int main(int argc, char** argv) {
  static const char* parts[] = {"rand", "seq", "small", "storm"};
  static void (*const functions[])(void) = {random_part, sequential_part, small_part, storm_part};
  for (unsigned i = 0; argc == 3 && i < 4; i++) {
    if (strcmp(argv[2], parts[i])) continue;
    uses_ring = !strcmp(argv[1], "uring");
    prepare(functions[i] == sequential_part ? CHUNK : PAGE);
    functions[i]();
    rmdir(place);
    return 0;
  }
  fprintf(stderr, "usage: files uring|calls rand|seq|small|storm\n");
  return 2;
}
