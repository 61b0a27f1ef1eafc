#!/usr/bin/env python3
"""Work on files, side by side.

  files.py [options] NAME='command' ...

Each command is run on two cores as "command rand", "command seq", "command small" and "command storm", in turns
A B C A B C ..., with WEIR_PERF_DIR set. It prints lines "key value": wall nanoseconds per operation, and as key_cpu the
CPU time of all its threads, those of the kernel's that serve it included. Cells are medians over the rounds, one table
for each; a program prints whichever keys it has. The last column compares --subject with the best other program.

keys
  rand   rand4k (4 KiB at random places of a 256 MiB file in the page cache, 64 under way)
  seq    seq_write, seq_read (1 GiB in chunks of 64 KiB; figures are of a chunk; the floor at its best depth, which has
         a buffer for each; seq_read_1m reads 1 MiB at once)
  small  create, read, stat1, unlink1 (10000 files of 1 KiB in one directory, 64 at a time, opened and closed each)
  storm  stat, open_close (100000 over 1024 files, 64 at a time), rename, unlink (10000 empty files); *_ring is the same
         through io_uring, *_pool through threads that may block, where a program could do either
"""
import argparse
import os
import sys

sys.dont_write_bytecode = True
import micro  # noqa: E402
from lib import machine, servers  # noqa: E402

PARTS = ["rand", "seq", "small", "storm"]


def parse(arguments):
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("programs", nargs="+", metavar="NAME='command'")
    p.add_argument("--reps", type=int, default=3, help="rounds (3)")
    p.add_argument("--parts", default=",".join(PARTS), help="rand,seq,small,storm or some of them")
    p.add_argument("--dir", default=os.environ.get("WEIR_PERF_DIR", "/tmp"),
                   help="where the files are made (WEIR_PERF_DIR, else /tmp); /dev/shm leaves the disk out")
    p.add_argument("--cpus", default="0,1", help="the cores (0,1)")
    p.add_argument("--timeout", type=float, default=240, help="seconds one program may take (240)")
    p.add_argument("--subject", default="weir", help="the program that the last column is about (weir)")
    p.add_argument("--json", metavar="FILE", help="append the raw values")
    a = p.parse_args(arguments)
    if a.reps < 1 or not set(a.parts.split(",")) <= set(PARTS):
        p.error(f"--reps is at least 1, --parts is a list of {', '.join(PARTS)}")
    if not os.path.isdir(a.dir):
        p.error(f"--dir: {a.dir} is no directory")
    return a


def main():
    a = parse(sys.argv[1:])
    os.environ["WEIR_PERF_DIR"] = a.dir
    programs = servers.parse_named(a.programs)
    watch = machine.Watch()
    values, failures = micro.measure(a, a.parts.split(","), programs, lambda _: a.cpus)
    print(f"# files in {a.dir} parts={a.parts} reps={a.reps} cpus={a.cpus}; medians")
    print(watch.line())
    names = [name for name, _ in programs]
    for title, of_cpu in ("CPU", True), ("wall", False):
        print(f"\n{title}")
        micro.print_table(names, a.subject, {k: v for k, v in values.items() if k[1].endswith("_cpu") == of_cpu})
    return micro.report(values, failures, a.json)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (RuntimeError, OSError) as e:
        sys.exit(f"files.py: {e}")
    except KeyboardInterrupt:
        sys.exit(130)
