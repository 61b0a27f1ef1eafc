#!/usr/bin/env python3
"""Soak: wrk at full rate and clients that misbehave at random, against one server; then: is everything back to start?

  soak.py [options] 'server command with {port}'
  soak.py [options] --url http://127.0.0.1:8080 [--pid PID]

The clients connect and leave at once, send half a request, reset in the middle of an answer, read slowly with a small
window, pipeline and cut, stop half-way through an upload, half-close, send garbage, and ask with conditions and ranges.
Where the server has such paths (--download, --events, --slow) they also break off downloads, listen to events for a
while and leave what takes long. Before and after, the server's /metrics is read; every gauge whose name matches
--gauges must come back to what it was, and so must the number of open descriptors where the process is known. With
--samples these, and memory, are written down every second, and memory that keeps growing is a failure; --picture draws
them. A server started from a command must also end with status 0 on SIGTERM, which is where a sanitizer reports its
leaks.

exit status: 0 all came back; 1 it did not, the server died, answered wrongly or ended badly; 2 wrong usage
"""
import argparse
import collections
import os
import random
import re
import shutil
import socket
import statistics
import struct
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request

sys.dont_write_bytecode = True
from lib import picture, servers  # noqa: E402

GAUGES = r"(alive|active|open|in_flight)"


def parse(arguments):
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("command", nargs="?", help="starts the server; {port} is filled in")
    p.add_argument("--url", help="drive a server that runs already")
    p.add_argument("--pid", type=int, help="its process, to watch descriptors and memory")
    p.add_argument("--seconds", type=float, default=60, help="how long (60)")
    p.add_argument("--conns", type=int, default=64, help="wrk's connections (64)")
    p.add_argument("--clients", type=int, default=8, help="misbehaving clients at a time (8)")
    p.add_argument("--paths", default="/", help="what is asked for, separated by commas (/)")
    p.add_argument("--upload", default="/upload", help="where uploads go; any answer will do (/upload)")
    p.add_argument("--download", help="a path with a large answer; without it nobody breaks off downloads")
    p.add_argument("--events", help="a path that sends events; without it nobody listens")
    p.add_argument("--slow", help="a path that takes its time; without it nobody leaves early")
    p.add_argument("--samples", help="a CSV file: memory, descriptors and gauges of every second")
    p.add_argument("--picture", help="an SVG file: the same, drawn")
    p.add_argument("--metrics", default="/metrics", help="the path of the metrics (/metrics)")
    p.add_argument("--gauges", default=GAUGES, help=f"pattern of the names that must come back ({GAUGES})")
    p.add_argument("--settle", type=float, default=30, help="seconds the server has to come back (30)")
    p.add_argument("--slack", type=float, default=0, help="how far above its start a gauge may stay (0)")
    p.add_argument("--seed", type=int, default=random.randrange(2**32), help="of the clients' choices (random)")
    a = p.parse_args(arguments)
    if bool(a.command) == bool(a.url):
        p.error("give either a server command or --url")
    if a.seconds <= 0 or a.conns < 1 or a.clients < 0:
        p.error("--seconds is above 0, --conns at least 1, --clients at least 0")
    return a


class Target:
    """Where the server is, and what it says about itself."""

    def __init__(self, host, port, pid, a):
        self.host, self.port, self.pid = host, port, pid
        self.paths, self.upload = a.paths.split(","), a.upload
        self.download, self.events, self.slow = a.download, a.events, a.slow
        self._metrics, self._gauges = a.metrics, re.compile(a.gauges)

    def connect(self, receive_buffer=None):
        s = socket.socket()
        s.settimeout(10)
        if receive_buffer:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        s.connect((self.host, self.port))
        return s

    def request(self, path, more=""):
        head = f"GET {path} HTTP/1.1\r\nHost: {self.host}\r\nUser-Agent: soak/1\r\nAccept: */*\r\n"
        return f"{head}{more}\r\n".encode()

    def gauges(self):
        """{name: sum over its labels} of what must come back, read over a connection of its own.

        Which worker has a thing is chance: the connection that asks is itself one of them."""
        url = f"http://{self.host}:{self.port}{self._metrics}"
        with urllib.request.urlopen(urllib.request.Request(url, headers={"Connection": "close"}), timeout=10) as r:
            text = r.read().decode()
        kinds = dict(re.findall(r"^# TYPE (\S+) (\S+)", text, re.M))
        found = {}
        for name, value in re.findall(r"^([A-Za-z_:][\w:]*)(?:\{[^}]*\})? ([-+\d.eE]+)", text, re.M):
            if self._gauges.search(name) and kinds.get(name, "gauge") in ("gauge", "untyped"):
                found[name] = found.get(name, 0) + float(value)
        if self.pid:
            found["(open descriptors)"] = servers.open_descriptors(servers.process_tree(self.pid))
        return found

    def resident(self):
        return servers.memory_and_threads(servers.process_tree(self.pid))[0] / 2**20 if self.pid else None


# What a client may do. Each takes the target and a source of chance; the socket is closed by the caller.

def ask_and_read(target, chance, s):
    s.sendall(target.request(chance.choice(target.paths)))
    if not s.recv(65536).startswith(b"HTTP/1.1 "):
        raise RuntimeError("an answer did not start with HTTP/1.1")


def leave_at_once(target, chance, s):
    pass


def half_request(target, chance, s):
    request = target.request(chance.choice(target.paths))
    s.sendall(request[:chance.randrange(1, len(request))])
    time.sleep(chance.random() * 0.05)


def byte_by_byte(target, chance, s):
    for byte in target.request(chance.choice(target.paths)):
        s.sendall(bytes([byte]))
    s.recv(65536)


def reset_in_answer(target, chance, s):
    s.sendall(target.request(chance.choice(target.paths)) * chance.randrange(1, 32))
    if chance.random() < 0.5:
        s.recv(chance.randrange(1, 200))
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def pipeline_and_cut(target, chance, s):
    request = target.request(chance.choice(target.paths))
    batch = request * chance.randrange(2, 64)
    s.sendall(batch[:chance.randrange(len(request), len(batch))])
    s.recv(chance.randrange(1, 65536))


def slow_reader(target, chance, s):
    s.sendall(target.request(chance.choice(target.paths)) * 64)
    until = time.monotonic() + chance.uniform(0.05, 0.5)
    while time.monotonic() < until and s.recv(chance.randrange(1, 512)):
        time.sleep(0.01)


def stop_in_upload(target, chance, s):
    body = chance.randrange(1, 200_000)
    kind = f"Content-Length: {body}" if chance.random() < 0.5 else "Transfer-Encoding: chunked"
    s.sendall(f"POST {target.upload} HTTP/1.1\r\nHost: {target.host}\r\n{kind}\r\n\r\n".encode())
    sent = chance.randrange(0, body)
    s.sendall(b"x" * sent if kind.startswith("C") else f"{body:x}\r\n".encode() + b"x" * sent)
    time.sleep(chance.random() * 0.05)


def half_close(target, chance, s):
    s.sendall(target.request(chance.choice(target.paths)))
    s.shutdown(socket.SHUT_WR)
    while s.recv(65536):
        pass


def garbage(target, chance, s):
    s.sendall(chance.randbytes(chance.randrange(1, 4096)))
    s.shutdown(socket.SHUT_WR)
    while s.recv(65536):
        pass


def ask_with_conditions(target, chance, s):
    tag = f'"{chance.randrange(4)}"'
    for _ in range(chance.randrange(1, 8)):
        lines = [f"If-None-Match: {tag}", "If-None-Match: *", f"If-Match: {tag}", "If-Modified-Since: " + HTTP_DATE,
                 f"Range: bytes={chance.randrange(200)}-{chance.randrange(400)}", "Range: bytes=-5,0-3,900000-",
                 f"If-Range: {tag}", "Accept-Encoding: br, gzip"]
        chosen = chance.sample(lines, chance.randrange(1, 4))
        s.sendall(target.request(chance.choice(target.paths), "".join(line + "\r\n" for line in chosen)))
        head, rest = read_head(s)
        if head.split(None, 2)[1] not in (b"200", b"206", b"304", b"404", b"412", b"416"):
            raise RuntimeError(f"conditions were answered with {head[:40]!r}")
        length = re.search(rb"\r\ncontent-length: *(\d+)", head, re.I)
        left = int(length.group(1)) - len(rest) if length else 0
        while left > 0:
            left -= len(receive(s))
        if tags := re.search(rb"\r\netag: *(\S+)", head, re.I):
            tag = tags.group(1).decode()


def upload_whole(target, chance, s):
    body = chance.randrange(1, 300_000)
    head = f"POST {target.upload} HTTP/1.1\r\nHost: {target.host}\r\nContent-Length: {body}\r\n\r\n"
    s.sendall(head.encode() + b"x" * body)
    read_head(s)


def break_off_download(target, chance, s):
    s.sendall(target.request(target.download))
    expect_ok(read_head(s)[0])
    for _ in range(chance.randrange(1, 40)):
        receive(s)
    if chance.random() < 0.5:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def listen_for_a_while(target, chance, s):
    s.sendall(target.request(target.events, "Accept: text/event-stream\r\n"))
    expect_ok(read_head(s)[0])
    until = time.monotonic() + chance.uniform(0.1, 4)
    s.settimeout(4)  # the showcase tells something twice a second
    while time.monotonic() < until and s.recv(4096):
        pass


def leave_what_takes_long(target, chance, s):
    s.sendall(target.request(target.slow))
    time.sleep(chance.uniform(0, 0.3))


def receive(s):
    got = s.recv(65536)
    if not got:
        raise ConnectionResetError("the server closed")
    return got


def expect_ok(head):
    if not head.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(f"was answered with {head[:40]!r}")


def read_head(s):
    text = b""
    while b"\r\n\r\n" not in text:
        text += receive(s)
    head, rest = text.split(b"\r\n\r\n", 1)
    if not head.startswith(b"HTTP/1.1 "):
        raise RuntimeError("an answer did not start with HTTP/1.1")
    return head, rest


HTTP_DATE = "Sun, 06 Nov 1994 08:49:37 GMT"
DEEDS = [ask_and_read, leave_at_once, half_request, byte_by_byte, reset_in_answer, pipeline_and_cut, slow_reader,
         stop_in_upload, half_close, garbage, ask_with_conditions, upload_whole]


def deeds_for(target):
    more = {break_off_download: target.download, listen_for_a_while: target.events, leave_what_takes_long: target.slow}
    return DEEDS + [deed for deed, path in more.items() if path]


class Clients:
    """Threads that do a random deed on a new connection, again and again."""

    def __init__(self, target, count, seed):
        self.done, self.cut, self.wrong = collections.Counter(), collections.Counter(), []
        self.refused = 0
        self._target, self._ending = target, threading.Event()
        self.deeds = deeds_for(target)
        self._threads = [threading.Thread(target=self._run, args=(random.Random(seed + i),)) for i in range(count)]
        for thread in self._threads:
            thread.start()

    def stop(self):
        self._ending.set()
        for thread in self._threads:
            thread.join()

    def _run(self, chance):
        while not self._ending.is_set():
            deed = chance.choice(self.deeds)
            try:
                s = self._target.connect(2048 if deed is slow_reader else None)
            except OSError:
                self.refused += 1
                self._ending.wait(0.05)
                continue
            with s:
                self._do(deed, chance, s)

    def _do(self, deed, chance, s):
        try:
            deed(self._target, chance, s)
            self.done[deed.__name__] += 1
        except TimeoutError:
            self.wrong.append(f"{deed.__name__}: no answer within 10 s")
        except OSError:  # the server cut us off, as it may
            self.cut[deed.__name__] += 1
        except RuntimeError as e:
            self.wrong.append(f"{deed.__name__}: {e}")


class Samples:
    """Memory, descriptors and gauges of the server, once a second on a thread of its own."""

    def __init__(self, target, file):
        self.rows, self.names = [], []
        self._target, self._file, self._ending = target, file, threading.Event()
        self._begin = time.monotonic()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def stop(self):
        if not self._ending.is_set():
            self._ending.set()
            self._thread.join()

    def _run(self):
        while not self._ending.wait(1):
            try:
                row = self._target.gauges()
            except (OSError, ValueError):
                continue  # the server is at its limits; the end tells
            row["(resident MiB)"] = round(self._target.resident() or 0, 2)
            self._add(round(time.monotonic() - self._begin, 1), row)

    def _add(self, at, row):
        if not self.names:
            self.names = sorted(row)
            self._write(["second", *self.names])
        self.rows.append((at, row))
        self._write([at, *(row.get(name, "") for name in self.names)])

    def _write(self, values):
        with open(self._file, "a" if self.rows else "w", encoding="ascii") as out:
            out.write(",".join(str(value) for value in values) + "\n")

    def series(self, name):
        return [(at, row[name]) for at, row in self.rows if name in row]

    def growth(self):
        """Why memory counts as growing, or nothing: after a fifth of the time to warm up, the least of each quarter of
        the rest is above the one before, the last more than 5 % and 4 MiB above the first, and the last step more than
        half of the first: what an allocator or a sanitizer collects levels off, a leak does not."""
        memory = [value for _, value in self.series("(resident MiB)")]
        memory = memory[len(memory) // 5:]
        if len(memory) < 20:
            return None
        quarter = len(memory) // 4
        floors = [min(memory[i * quarter:(i + 1) * quarter]) for i in range(4)]
        steady = all(a < b for a, b in zip(floors, floors[1:]))
        levels_off = floors[3] - floors[2] < (floors[1] - floors[0]) / 2
        if steady and not levels_off and floors[3] > floors[0] * 1.05 and floors[3] > floors[0] + 4:
            return "memory keeps growing: " + ", ".join(f"{floor:.1f}" for floor in floors) + " MiB"
        return None

    def describe(self):
        for name in self.names:
            values = [value for _, value in self.series(name)]
            print(f"  {name:<50} start {values[0]:.0f}, median {statistics.median(values):.0f}, most {max(values):.0f}, "
                  f"end {values[-1]:.0f}")
        for name in ("(resident MiB)", "(open descriptors)"):
            if self.series(name):
                print(picture.in_text(name, self.series(name)))


def run_wrk(target, a, until, alive):
    """wrk in runs of about 5 s until the time is over, so that its connections come and go; returns its requests."""
    requests = 0
    while alive() and (left := until - time.monotonic()) > 0:
        path = target.paths[requests % len(target.paths)]
        command = ["wrk", "-t1", f"-c{a.conns}", f"-d{max(1, min(5, round(left)))}",
                   f"http://{target.host}:{target.port}{path}"]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"wrk: {servers.last_line(done.stderr or done.stdout)}")
        requests += int(re.search(r"(\d+) requests in", done.stdout).group(1))
    return requests


def settle(target, before, a):
    """The gauges once they have come back, or as they are when --settle is over; and which have not."""
    until = time.monotonic() + a.settle
    while True:
        after = target.gauges()
        high = [name for name in after if after[name] > before.get(name, 0) + a.slack]
        if not high or time.monotonic() > until:
            return after, high
        time.sleep(0.25)


def soak(target, a, alive):
    """Runs the load and prints what came of it; returns the reasons to fail."""
    target.gauges()  # the first reading may itself open what stays open
    before, resident = target.gauges(), target.resident()
    if not before:
        raise RuntimeError(f"no gauge on {a.metrics} matches {a.gauges}")
    samples = Samples(target, a.samples) if a.samples else None
    clients = Clients(target, a.clients, a.seed)
    try:
        requests = run_wrk(target, a, time.monotonic() + a.seconds, alive)
    finally:
        clients.stop()
        if samples:
            samples.stop()
    print(f"# soak {a.seconds:.0f} s, seed {a.seed}, {a.conns} wrk connections, {a.clients} misbehaving clients")
    print(f"wrk: {requests} requests; clients: {sum(clients.done.values())} deeds, {sum(clients.cut.values())} cut off "
          f"by the server, {clients.refused} refused")
    for deed in clients.deeds:
        print(f"  {deed.__name__:<22} {clients.done[deed.__name__]:>8} done {clients.cut[deed.__name__]:>8} cut off")
    if not alive():
        return ["the server died"]
    after, high = settle(target, before, a)
    for name in sorted(before | after):
        print(f"  {name:<50} {before.get(name, 0):>10.0f} -> {after.get(name, 0):>10.0f}")
    if resident:
        print(f"  {'(resident MiB)':<50} {resident:>10.1f} -> {target.resident():>10.1f}")
    reasons = [f"{name} did not come back" for name in high] + clients.wrong[:3]
    if samples and samples.rows:
        samples.describe()
        if a.picture:
            picture.draw(a.picture, [(name, samples.series(name)) for name in samples.names])
        reasons += [why for why in [samples.growth()] if why]
    if requests == 0:
        reasons.append("wrk got no answer")
    return reasons


def soak_command(a):
    with servers.Server(a.command) as server:
        target = Target("127.0.0.1", server.port, server.process.pid, a)
        reasons = soak(target, a, lambda: server.process.poll() is None)
        if server.process.poll() is None:
            status = server.stop(patience=30)
        else:
            status = server.process.returncode
        if status != 0:
            reasons.append(f"the server ended with status {status}{servers.because(server.errors())}")
            sys.stderr.write(server.errors()[-4000:])
        return reasons


def soak_url(a):
    url = urllib.parse.urlsplit(a.url)
    if url.scheme != "http" or not url.hostname:
        raise RuntimeError(f"--url must be http://HOST:PORT, not '{a.url}'")
    target = Target(url.hostname, url.port or 80, a.pid, a)
    return soak(target, a, lambda: not a.pid or os.path.exists(f"/proc/{a.pid}"))


def main():
    a = parse(sys.argv[1:])
    if not shutil.which("wrk"):
        raise RuntimeError("wrk is missing (apt install wrk)")
    servers.allow_many_descriptors()
    reasons = soak_command(a) if a.command else soak_url(a)
    for reason in reasons:
        print(f"FAILED: {reason}")
    if not reasons:
        print("all came back to start")
    return 1 if reasons else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (RuntimeError, OSError, re.error) as e:
        sys.exit(f"soak.py: {e}")
    except KeyboardInterrupt:
        sys.exit(130)
