#!/usr/bin/env python3
"""Server benchmarks: starts each server on one core, drives it from another, prints one table.

  bench.py WORKLOAD [options] NAME='server command with {port}' ...

Servers are visited in turns, A B C A B C ..., for --reps rounds; every figure is the median of the rounds. The main
figure is CPU per operation: user and system time of the server's whole process tree, read from the kernel's process
clocks at the edges of the measured window, divided by the operations in it.

workloads
  http     keep-alive GET --path, --conns connections, --pipeline requests sent at once
  echo     ping-pong of --size bytes over --conns connections
  stream   echo of --size chunks, --pipeline of them under way per connection
  wrk      the http workload driven by wrk instead of floor/load.c
  idle     opens --conns idle keep-alive connections (default 10000), reports resident bytes per connection

columns
  x floor  CPU per operation against --baseline (or the cheapest row)
  busy     CPU time of the server per second of the run. Below about 0.9 the generator was the limit: compare CPU per
           operation then, not ops/s
  sys      the kernel's share of the server's CPU time
"""
import argparse
import json
import re
import statistics
import subprocess
import sys

sys.dont_write_bytecode = True
from lib import idle, machine, servers  # noqa: E402

DEFAULT_CONNECTIONS = {"http": 64, "wrk": 64, "echo": 64, "stream": 1, "idle": 10000}
BULK_BYTES = 16384  # operations bigger than this are judged by CPU per GB

PIPELINE_SCRIPT = """init = function(args)
  local requests = {}
  for i = 1, tonumber(args[1]) do requests[i] = wrk.format() end
  batch = table.concat(requests)
end
request = function() return batch end
"""


def parse(arguments):
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("workload", choices=list(DEFAULT_CONNECTIONS))
    p.add_argument("servers", nargs="+", metavar="NAME='command'", help="{port} in the command is filled in")
    p.add_argument("--reps", type=int, default=5, help="rounds (5); a difference below 5 %% needs at least 5")
    p.add_argument("--dur", type=float, default=2.0, help="measured seconds (2)")
    p.add_argument("--warm", type=float, default=0.7, help="seconds of load before them (0.7)")
    p.add_argument("--conns", type=int, help="connections (http, wrk, echo 64; stream 1; idle 10000)")
    p.add_argument("--pipeline", type=int, default=1, help="requests or chunks under way (1)")
    p.add_argument("--size", type=int, help="bytes of an echo (64) or a chunk (65536)")
    p.add_argument("--path", default="/", help="what http and wrk ask for (/)")
    p.add_argument("--server-cpu", default="0", help="cores of the server, as taskset takes them (0)")
    p.add_argument("--load-cpu", default="1", help="cores of the generator (1)")
    p.add_argument("--baseline", help="the row that 'x floor' refers to")
    p.add_argument("--json", metavar="FILE", help="append the raw rows")
    a = p.parse_args(arguments)
    a.conns = a.conns or DEFAULT_CONNECTIONS[a.workload]
    a.size = a.size or (65536 if a.workload == "stream" else 64)
    if min(a.reps, a.conns, a.pipeline, a.size) < 1 or a.dur <= 0 or a.warm < 0:
        p.error("--reps, --conns, --pipeline and --size are at least 1, --dur is above 0")
    return a


def run(command, patience):
    done = subprocess.run(command, capture_output=True, text=True, timeout=patience)
    if done.returncode:
        raise RuntimeError(servers.last_line(done.stderr) or f"{command[0]} exited with {done.returncode}")
    return done.stdout


def drive(a, server):
    """One round of the project's own generator."""
    return json.loads(run(
        ["taskset", "-c", a.load_cpu, servers.build_floor("load"), "-m", a.workload, "-p", str(server.port),
         "-c", str(a.conns), "-d", str(a.dur), "-w", str(a.warm), "-P", str(a.pipeline), "-s", str(a.size),
         "-u", a.path, "-S", ",".join(map(str, server.pids))], a.dur + a.warm + 30))


def drive_wrk(a, server):
    """One round of wrk; its run starts and ends with the measured window, so connecting is inside it."""
    url = f"http://127.0.0.1:{server.port}{a.path}"
    command = ["taskset", "-c", a.load_cpu, "wrk", "-t1", f"-c{a.conns}", "--latency"]
    tail = [url]
    if a.pipeline > 1:
        script = f"{servers.BUILD}/pipeline.lua"
        with open(script, "w") as f:
            f.write(PIPELINE_SCRIPT)
        tail = ["-s", script, url, "--", str(a.pipeline)]
    if a.warm > 0:
        run(command + [f"-d{max(1, round(a.warm))}"] + tail, 60)
    before = servers.cpu_seconds(server.pids)
    text = run(command + [f"-d{max(1, round(a.dur))}"] + tail, a.dur + 60)
    cpu = servers.cpu_seconds(server.pids) - before
    return read_wrk(text, cpu)


def read_wrk(text, cpu):
    total = re.search(r"(\d+) requests in ([\d.]+)s", text)
    if not total or not int(total.group(1)):
        raise RuntimeError("wrk counted no requests")
    if re.search(r"Non-2xx or 3xx responses", text):
        raise RuntimeError("wrk got responses other than 2xx")
    ops, secs = int(total.group(1)), float(total.group(2))
    scale = {"us": 1, "ms": 1e3, "s": 1e6}
    latency = {share: float(number) * scale[unit]
               for share, number, unit in re.findall(r"\n\s+(50|99)%\s+([\d.]+)(us|ms|s)", text)}
    return {"ops": ops, "secs": secs, "rate": ops / secs, "bytes": 0, "cpu": cpu, "us_op": cpu * 1e6 / ops,
            "busy": cpu / secs, "p50": latency.get("50", 0), "p99": latency.get("99", 0)}


def measure(a, command):
    """One row: starts the server, drives it, ends it."""
    with servers.Server(command, a.server_cpu) as server:
        if a.workload == "idle":
            return idle.measure(server, a.conns)
        user, system = servers.user_and_system_ticks(server.pids)
        row = drive_wrk(a, server) if a.workload == "wrk" else drive(a, server)
        user_after, system_after = servers.user_and_system_ticks(server.pids)
        ticks = user_after - user + system_after - system
        row["sys"] = (system_after - system) / max(1, ticks)
        row["resident"], row["threads"] = servers.memory_and_threads(server.pids)
        return row


def rounds(a, named):
    """All rows by name, and the failures by name. A server that has failed twice is not asked again."""
    rows, failures = {}, {}
    for _ in range(a.reps):
        for name, command in named:
            if len(failures.get(name, [])) > 1:
                continue
            try:
                rows.setdefault(name, []).append(measure(a, command))
            except (RuntimeError, OSError, ValueError, subprocess.TimeoutExpired) as e:
                failures.setdefault(name, []).append(servers.last_line(str(e)))
    return {name: r for name, r in rows.items() if r}, failures


def print_header(a, watch):
    what = f"conns={a.conns}"
    if a.workload in ("http", "wrk"):
        what += f" pipeline={a.pipeline} path={a.path}"
    if a.workload in ("echo", "stream"):
        what += f" size={a.size}" + (f" window={a.pipeline}" if a.workload == "stream" else "")
    if a.workload != "idle":
        what += f" dur={a.dur}s"
    print(f"# {a.workload} {what} reps={a.reps} server-cpu={a.server_cpu} load-cpu={a.load_cpu}; medians")
    print(watch.line())


def medians(rows):
    return {name: {key: statistics.median(r[key] for r in group) for key in group[0]} for name, group in rows.items()}


def print_idle(a, rows):
    middle = medians(rows)
    print(f"| {'server':<22} | bytes/conn | min..max | RSS MiB before | after | conns/s | lost | thr |")
    print("|---|" + "---:|" * 7)
    for name in sorted(middle, key=lambda n: middle[n]["bytes_per_connection"]):
        m, each = middle[name], [r["bytes_per_connection"] for r in rows[name]]
        print(f"| {name:<22} | {m['bytes_per_connection']:.0f} | {min(each):.0f}..{max(each):.0f} |"
              f" {m['before'] / 2**20:.1f} | {m['after'] / 2**20:.1f} |"
              f" {a.conns / m['seconds']:.0f} | {m['lost']:.0f} | {m['threads']:.0f} |")


def print_load(a, rows):
    middle = medians(rows)
    floor = (middle.get(a.baseline) or min(middle.values(), key=lambda m: m["us_op"]))["us_op"]
    bulk = any(m["bytes"] / m["ops"] > BULK_BYTES for m in middle.values())
    head = "GB/s | CPU s/GB" if bulk else "p50 us | p99 us"
    print(f"| {'server':<22} | CPU us/op | min..max | x floor | ops/s | {head} | busy | sys | RSS MiB | thr |")
    print("|---|" + "---:|" * 10)
    for name in sorted(middle, key=lambda n: middle[n]["us_op"]):
        m, each = middle[name], [r["us_op"] for r in rows[name]]
        gigabytes = m["bytes"] / 1e9
        pair = (f"{gigabytes / m['secs']:.3f} | {m['cpu'] / gigabytes if gigabytes else 0:.3f}" if bulk
                else f"{m['p50']:.0f} | {m['p99']:.0f}")
        print(f"| {name:<22} | {m['us_op']:.3f} | {min(each):.3f}..{max(each):.3f} | {m['us_op'] / floor:.2f} |"
              f" {m['rate']:.0f} | {pair} | {m['busy']:.2f} | {m['sys']:.2f} | {m['resident'] / 2**20:.1f} |"
              f" {m['threads']:.0f} |")


def main():
    a = parse(sys.argv[1:])
    named = servers.parse_named(a.servers)
    limit = servers.allow_many_descriptors()
    if a.conns + 200 > limit:
        raise RuntimeError(f"{a.conns} connections need more open files than the hard limit, {limit} (ulimit -Hn)")
    watch = machine.Watch()
    rows, failures = rounds(a, named)
    print_header(a, watch)
    if rows:
        (print_idle if a.workload == "idle" else print_load)(a, rows)
    for name, reasons in failures.items():
        print(f"# {name} failed {len(reasons)}x: {reasons[0]}")
    if a.json:
        with open(a.json, "a") as f:
            settings = {k: v for k, v in vars(a).items() if k not in ("servers", "json")}
            f.write(json.dumps({"settings": settings, "rows": rows, "failures": failures}) + "\n")
    return 1 if failures else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (RuntimeError, OSError) as e:
        sys.exit(f"bench.py: {e}")
    except KeyboardInterrupt:
        sys.exit(130)
