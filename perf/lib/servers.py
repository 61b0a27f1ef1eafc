"""Starts servers pinned to cores, reads their CPU clocks and memory, and ends them.

Rests on taskset (util-linux) and /proc. A Server is a context manager: inside it the server listens, after it the
server and all its descendants are gone. Failures are RuntimeErrors of one line.
"""
import os
import re
import resource
import shlex
import signal
import socket
import subprocess
import tempfile
import time

PERF = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.environ.get("WEIR_PERF_BUILD", os.path.join(os.path.dirname(PERF), "build", "peers"))


def build_floor(name):
    """The path of floor/NAME.c's program, compiled first if it is missing or older than its source."""
    source, program = os.path.join(PERF, "floor", name + ".c"), os.path.join(BUILD, name)
    if not os.path.exists(program) or os.path.getmtime(program) < os.path.getmtime(source):
        os.makedirs(BUILD, exist_ok=True)
        done = subprocess.run([os.environ.get("CC", "cc"), "-O2", source, "-luring", "-o", program],
                              capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"cannot compile {source} (is liburing-dev installed?): {last_line(done.stderr)}")
    return program


def last_line(text):
    lines = [line for line in text.strip().splitlines() if line.strip()]
    return lines[-1].strip()[:160] if lines else ""


def because(text):
    """": " and the last line of `text`, or nothing if there is none."""
    line = last_line(text)
    return f": {line}" if line else ""


def parse_named(arguments):
    """[(name, command)] from NAME='command' arguments."""
    named = [a.split("=", 1) for a in arguments]
    for pair in named:
        if len(pair) != 2 or not all(pair):
            raise RuntimeError(f"expected NAME='command', got '{'='.join(pair)}'")
    return [tuple(pair) for pair in named]


def allow_many_descriptors():
    """Raises the soft limit of open files to the hard one, for us and the servers; returns it."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def process_tree(root):
    """The pids of `root` and of all its descendants."""
    children = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat") as stat:
                    parent = int(stat.read().rsplit(")", 1)[1].split()[1])
                children.setdefault(parent, []).append(int(entry))
            except OSError:
                pass
    found, todo = [], [root]
    while todo:
        pid = todo.pop()
        found.append(pid)
        todo += children.get(pid, [])
    return found


def cpu_seconds(pids):
    """User and system time of the processes, by the kernel's process clocks (see clock_getcpuclockid(3))."""
    total = 0.0
    for pid in pids:
        try:
            total += time.clock_gettime((~pid << 3) | 2)
        except OSError:
            pass
    return total


def user_and_system_ticks(pids):
    user = system = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/stat") as stat:
                fields = stat.read().rsplit(")", 1)[1].split()
            user, system = user + int(fields[11]), system + int(fields[12])
        except OSError:
            pass
    return user, system


def memory_and_threads(pids):
    """Resident bytes and the number of threads."""
    resident = threads = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/status") as status:
                text = status.read()
            resident += 1024 * int(re.search(r"VmRSS:\s+(\d+)", text).group(1))
            threads += int(re.search(r"Threads:\s+(\d+)", text).group(1))
        except (OSError, AttributeError):
            pass
    return resident, threads


def open_descriptors(pids):
    count = 0
    for pid in pids:
        try:
            count += len(os.listdir(f"/proc/{pid}/fd"))
        except OSError:
            pass
    return count


class Server:
    """A server of the table: `command` with {port} filled in, on the given cores (taskset's list)."""

    def __init__(self, command, cores=None):
        self.port = free_port()
        self._command = ["taskset", "-c", cores] if cores else []
        self._command += [word.replace("{port}", str(self.port)) for word in shlex.split(command)]
        self._errors = tempfile.TemporaryFile("w+")
        self.process = None

    def __enter__(self):
        environment = dict(os.environ, GOMAXPROCS=os.environ.get("GOMAXPROCS", "1"))
        self.process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=self._errors, env=environment,
                                        start_new_session=True)
        try:
            self._wait_until_listening()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_):
        self.stop()

    @property
    def pids(self):
        return process_tree(self.process.pid)

    def errors(self):
        """What the server has written to stderr."""
        self._errors.seek(0)
        return self._errors.read()

    def stop(self, patience=1):
        """SIGTERM, `patience` seconds later SIGKILL, to the whole process group; returns the exit status."""
        for name in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self.process.pid, name)
            except ProcessLookupError:
                pass
            try:
                return self.process.wait(patience)
            except subprocess.TimeoutExpired:
                continue
        return self.process.wait()

    def _wait_until_listening(self, patience=15):
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise RuntimeError(f"the server exited with {self.process.returncode}{because(self.errors())}")
            try:
                socket.create_connection(("127.0.0.1", self.port), 0.2).close()
            except OSError:
                time.sleep(0.05)
            else:
                time.sleep(0.15)  # let start-up work end before anything is measured
                return
        raise RuntimeError(f"the server did not listen within {patience} s")
