// peers/uv_files.c: libuv's column in the table of files (see ../files.py): uv_fs_* on its 4 threads, 64 at a time.
// Rests on libuv 1.44 (libuv1-dev).
//
//   uv_files rand|seq|small|storm      in the directory WEIR_PERF_DIR, else /tmp
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

enum {
  LANES = 64,
  PAGE = 4096,
  CHUNK = 65536,
  RANDOM_READS = 100000,
  SMALL_FILES = 10000,
  SMALL_ROUNDS = 4,  // the first one warms up
  STORM_FILES = 1024,
  STORM_STATS = 100000,
  STORM_RENAMES = 20 * STORM_FILES
};
static const uint64_t random_bytes = 256ull << 20, whole = 1ull << 30;

struct lane;
typedef int (*step_function)(struct lane*);  // begins the next request; 0: the operation is over

struct lane {
  uv_fs_t request;  // first, so that a request leads to its lane
  unsigned long at;
  unsigned step;
  uv_file fd;
  ssize_t answer;
  uint64_t random;
  uv_buf_t bytes;
};

static uv_loop_t* loop;
static struct lane lanes[LANES];
static char place[4000], memory[LANES][CHUNK];
static unsigned long count;
static step_function begin_step;
static char **first, **second;
static unsigned first_count;
static uv_file data_fd;
static uint64_t position;

static double clock_ns(clockid_t which) {
  struct timespec t;
  clock_gettime(which, &t);
  return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

struct watch {
  double wall, cpu;
};

static void print(const char* key, struct watch spent, double operations) {
  printf("%s %.2f\n%s_cpu %.2f\n", key, spent.wall / operations, key, spent.cpu / operations);
  fflush(stdout);
}

static void next_operation(struct lane* l) {
  for (; l->at < count; l->at += LANES, l->step = 0)
    if (begin_step(l)) return;
}

static void done(uv_fs_t* request) {
  struct lane* l = (struct lane*)request;
  l->answer = request->result;
  if (l->answer < 0) {
    fprintf(stderr, "%s\n", uv_strerror((int)l->answer));
    exit(1);
  }
  uv_fs_req_cleanup(request);
  l->step++;
  next_operation(l);
}

static struct watch run(unsigned long operations, unsigned used, step_function begin) {
  struct watch w = {clock_ns(CLOCK_MONOTONIC), clock_ns(CLOCK_PROCESS_CPUTIME_ID)};
  count = operations;
  begin_step = begin;
  for (unsigned i = 0; i < used; i++) {
    lanes[i].at = i;
    lanes[i].step = 0;
    next_operation(&lanes[i]);
  }
  uv_run(loop, UV_RUN_DEFAULT);
  return (struct watch){clock_ns(CLOCK_MONOTONIC) - w.wall, clock_ns(CLOCK_PROCESS_CPUTIME_ID) - w.cpu};
}

static char** names(const char* kind, unsigned number) {
  char** all = malloc(number * sizeof *all);
  for (unsigned i = 0; i < number; i++)
    if (asprintf(&all[i], "%s/%s%u", place, kind, i) < 0) exit(1);
  return all;
}

// ---- rand and seq

static int read_page(struct lane* l) {
  if (l->step) return 0;
  l->random ^= l->random << 13;
  l->random ^= l->random >> 7;
  l->random ^= l->random << 17;
  l->bytes.len = PAGE;
  uv_fs_read(loop, &l->request, data_fd, &l->bytes, 1, (int64_t)(l->random % (random_bytes / PAGE) * PAGE), done);
  return 1;
}

static void random_part(void) {
  char* name = names("random", 1)[0];
  data_fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  for (uint64_t at = 0; at < random_bytes; at += CHUNK)
    if (write(data_fd, memory, CHUNK) != CHUNK) exit(1);
  run(RANDOM_READS / 4, LANES, read_page);
  print("rand4k", run(RANDOM_READS, LANES, read_page), RANDOM_READS);
  unlink(name);
}

static int write_chunk(struct lane* l) {
  if (position == whole) return 0;
  l->bytes.len = CHUNK;
  uv_fs_write(loop, &l->request, data_fd, &l->bytes, 1, (int64_t)position, done);
  position += CHUNK;
  return 1;
}

static int read_chunk(struct lane* l) {
  if (position == whole) return 0;
  l->bytes.len = CHUNK;
  uv_fs_read(loop, &l->request, data_fd, &l->bytes, 1, (int64_t)position, done);
  position += CHUNK;
  return 1;
}

static struct watch pass(const char* name, int writes) {
  position = 0;
  if (writes) unlink(name);
  data_fd = open(name, writes ? O_WRONLY | O_CREAT | O_CLOEXEC : O_RDONLY | O_CLOEXEC, 0666);
  struct watch spent = run(1, 1, writes ? write_chunk : read_chunk);
  close(data_fd);
  return spent;
}

static void sequential_part(void) {
  char* name = names("whole", 1)[0];
  pass(name, 1);
  print("seq_write", pass(name, 1), (double)(whole / CHUNK));
  pass(name, 0);
  print("seq_read", pass(name, 0), (double)(whole / CHUNK));
  unlink(name);
}

// ---- small and storm

static int create_small(struct lane* l) {
  switch (l->step) {
    case 0: uv_fs_open(loop, &l->request, first[l->at], O_WRONLY | O_CREAT | O_TRUNC, 0666, done); return 1;
    case 1:
      l->fd = (uv_file)l->answer;
      l->bytes.len = 1024;
      uv_fs_write(loop, &l->request, l->fd, &l->bytes, 1, -1, done);
      return 1;
    case 2: uv_fs_close(loop, &l->request, l->fd, done); return 1;
    default: return 0;
  }
}

static int read_small(struct lane* l) {
  switch (l->step) {
    case 0: uv_fs_open(loop, &l->request, first[l->at], O_RDONLY, 0, done); return 1;
    case 1: l->fd = (uv_file)l->answer;  // and on: until the end
    case 2:
      l->bytes.len = PAGE;
      uv_fs_read(loop, &l->request, l->fd, &l->bytes, 1, -1, done);
      return 1;
    case 3: uv_fs_close(loop, &l->request, l->fd, done); return 1;
    default: return 0;
  }
}

static int stat_one(struct lane* l) {
  if (!l->step) uv_fs_stat(loop, &l->request, first[l->at % first_count], done);
  return !l->step;
}

static int open_and_close(struct lane* l) {
  if (l->step == 0) uv_fs_open(loop, &l->request, first[l->at % first_count], O_RDONLY, 0, done);
  if (l->step == 1) uv_fs_close(loop, &l->request, (uv_file)l->answer, done);
  return l->step < 2;
}

static int rename_one(struct lane* l) {
  unsigned odd = l->at / first_count % 2, i = l->at % first_count;
  if (!l->step) uv_fs_rename(loop, &l->request, (odd ? second : first)[i], (odd ? first : second)[i], done);
  return !l->step;
}

static int unlink_one(struct lane* l) {
  if (!l->step) uv_fs_unlink(loop, &l->request, first[l->at], done);
  return !l->step;
}

static void small_part(void) {
  static const char* keys[] = {"create", "read", "stat1", "unlink1"};
  static const step_function steps[] = {create_small, read_small, stat_one, unlink_one};
  struct watch sum[4] = {{0, 0}};
  first = names("f", first_count = SMALL_FILES);
  for (unsigned round = 0; round < SMALL_ROUNDS; round++) {
    for (unsigned i = 0; i < 4; i++) {
      struct watch spent = run(SMALL_FILES, LANES, steps[i]);
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

static void storm_part(void) {
  first = names("f", first_count = STORM_FILES);
  second = names("x", STORM_FILES);
  make_empty();
  run(STORM_STATS / 10, LANES, stat_one);
  print("stat", run(STORM_STATS, LANES, stat_one), STORM_STATS);
  print("open_close", run(STORM_STATS, LANES, open_and_close), STORM_STATS);
  print("rename", run(STORM_RENAMES, LANES, rename_one), STORM_RENAMES);
  for (unsigned i = 0; i < STORM_FILES; i++) unlink(first[i]);
  first = names("u", first_count = SMALL_FILES);
  make_empty();
  print("unlink", run(SMALL_FILES, LANES, unlink_one), SMALL_FILES);
}

int main(int argc, char** argv) {
  static const char* parts[] = {"rand", "seq", "small", "storm"};
  static void (*const functions[])(void) = {random_part, sequential_part, small_part, storm_part};
  const char* below = getenv("WEIR_PERF_DIR");
  snprintf(place, sizeof place, "%s/uv-files-%d", below ? below : "/tmp", (int)getpid());
  loop = uv_default_loop();
  for (unsigned i = 0; i < LANES; i++) {
    lanes[i].random = 0x9e3779b97f4a7c15u * (i + 1);
    lanes[i].bytes.base = memory[i];
  }
  for (unsigned i = 0; argc == 2 && i < 4; i++) {
    if (strcmp(argv[1], parts[i])) continue;
    if (mkdir(place, 0777)) return perror(place), 1;
    functions[i]();
    rmdir(place);
    return 0;
  }
  fprintf(stderr, "usage: uv_files rand|seq|small|storm\n");
  return 2;
}
