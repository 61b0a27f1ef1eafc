#!/usr/bin/env python3
"""In-process benchmarks, side by side.

  micro.py [options] NAME='command' ...

Each command is run as "command st" and "command mem" on one core and as "command mt" on two, in turns A B C A B C ...
It prints lines "key value", nanoseconds per operation unless the key says otherwise; *_cpu is the CPU time of all
threads. Cells are medians over the rounds; a program prints whichever keys it has. The last column compares --subject
with the best other program.

keys
  st   ready_await (await of a task that completes at once, not inlined), ready_await_heap, depth_level (one level of a
       recursion 1000 deep), spawn_join, spawn_many (1e6 spawned, then joined), yield_1, yield_100 (100 tasks in turns),
       chan_same_cap1/64, mutex_uncontended, mutex_contended8, timer_insert, timer_cancel (1e6 alive, second pass)
  mem  idle_task_bytes (resident bytes of a parked task), wake_all
  mt   chan_cross_cap1/64/1024, pingpong_threads_rt (round trip between two threads), mutex_cross2, spawn_many_2w,
       yield_100_2w
"""
import argparse
import json
import shlex
import statistics
import subprocess
import sys

sys.dont_write_bytecode = True
from lib import machine, servers  # noqa: E402


def parse(arguments):
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("programs", nargs="+", metavar="NAME='command'")
    p.add_argument("--reps", type=int, default=3, help="rounds (3)")
    p.add_argument("--modes", default="st,mem,mt", help="st,mem,mt or some of them")
    p.add_argument("--cpus", default="0,1", help="the cores: the first for st and mem, all for mt (0,1)")
    p.add_argument("--timeout", type=float, default=240, help="seconds one program may take (240)")
    p.add_argument("--subject", default="weir", help="the program that the last column is about (weir)")
    p.add_argument("--json", metavar="FILE", help="append the raw values")
    a = p.parse_args(arguments)
    if a.reps < 1 or not set(a.modes.split(",")) <= {"st", "mem", "mt"}:
        p.error("--reps is at least 1, --modes is a list of st, mem and mt")
    return a


def run(command, mode, cores, timeout):
    """{key: value} as the program printed them, and why it failed (None if it did not)."""
    try:
        done = subprocess.run(["taskset", "-c", cores, *shlex.split(command), mode], capture_output=True, text=True,
                              timeout=timeout)
    except subprocess.TimeoutExpired:
        return {}, f"ran longer than {timeout:.0f} s"
    values = {}
    for line in done.stdout.splitlines():
        key, _, value = line.partition(" ")
        try:
            values[key] = float(value)
        except ValueError:
            pass
    failure = f"exited with {done.returncode}{servers.because(done.stderr)}" if done.returncode else None
    return values, failure


def cell(values):
    if not values:
        return "-"
    middle = statistics.median(values)
    return f"{middle:.0f}" if middle >= 100 else f"{middle:.1f}"


def print_table(names, subject, values):
    """`values` is {(mode, key): {name: [figures]}} in the order in which the keys were first seen."""
    compare = subject in names and len(names) > 1
    print("| ns/op | " + " | ".join(names) + (f" | {subject} / best other |" if compare else " |"))
    print("|---|" + "---:|" * (len(names) + compare))
    for (mode, key), row in values.items():
        cells = [cell(row.get(name)) for name in names]
        if compare:
            others = [statistics.median(v) for name, v in row.items() if name != subject]
            both = others and row.get(subject) and min(others) > 0
            cells.append(f"{statistics.median(row[subject]) / min(others):.2f}" if both else "-")
        print(f"| {mode} {key} | " + " | ".join(cells) + " |")


def measure(a, modes, programs, cores_of):
    """{(mode, key): {name: [figures]}} and {(name, mode): [why it failed]}, the programs in turns."""
    values, failures = {}, {}
    for mode in modes:
        for _ in range(a.reps):
            for name, command in programs:
                printed, failure = run(command, mode, cores_of(mode), a.timeout)
                for key, value in printed.items():
                    values.setdefault((mode, key), {}).setdefault(name, []).append(value)
                if failure:
                    failures.setdefault((name, mode), []).append(failure)
    return values, failures


def report(values, failures, json_file):
    """What failed, and the raw values into the file, if there is one; the exit status."""
    for (name, mode), reasons in failures.items():
        print(f"# {name} {mode} failed {len(reasons)}x: {reasons[0]}")
    if json_file:
        with open(json_file, "a") as f:
            f.write(json.dumps({f"{mode} {key}": row for (mode, key), row in values.items()}) + "\n")
    return 1 if failures else 0


def main():
    a = parse(sys.argv[1:])
    programs = servers.parse_named(a.programs)
    watch = machine.Watch()
    values, failures = measure(a, a.modes.split(","), programs, lambda m: a.cpus if m == "mt" else a.cpus.split(",")[0])
    print(f"# micro modes={a.modes} reps={a.reps} cpus={a.cpus}; medians")
    print(watch.line())
    print_table([name for name, _ in programs], a.subject, values)
    return report(values, failures, a.json)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (RuntimeError, OSError) as e:
        sys.exit(f"micro.py: {e}")
    except KeyboardInterrupt:
        sys.exit(130)
