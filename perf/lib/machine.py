"""What the machine was doing while a table was measured, so that a noisy run can be recognised.

Rests on /proc and getrusage only. The figures cover the time from the making of a Watch to `line()`.
"""
import os
import platform
import resource
import time

NOISY = 0.05  # share of the machine's time; beyond it the levels of a table move by more than its differences


def _cpu_seconds():
    """The machine's busy and stolen CPU seconds since boot."""
    with open("/proc/stat") as stat:
        user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, stat.readline().split()[1:9])
    hz = os.sysconf("SC_CLK_TCK")
    return (user + nice + system + irq + softirq) / hz, steal / hz


def _own_seconds():
    """CPU seconds of this process and of every descendant that has ended and was waited for."""
    usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


class Watch:
    """Measures, from its making on, what others did to the machine."""

    def __init__(self):
        self._load = os.getloadavg()[0]
        self._began = time.monotonic()
        self._busy, self._steal = _cpu_seconds()
        self._own = _own_seconds()

    def line(self):
        """One line: cores, kernel, load average then and now, stolen time, time that other processes took."""
        cores = os.cpu_count()
        whole = max(1e-9, (time.monotonic() - self._began) * cores)
        busy, steal = _cpu_seconds()
        stolen = (steal - self._steal) / whole
        others = max(0.0, (busy - self._busy) - (_own_seconds() - self._own)) / whole
        noisy = "  ** NOISY: do not quote **" if max(stolen, others) > NOISY else ""
        return (f"# machine: {cores} cores, Linux {platform.release()}, load {self._load:.2f} ->"
                f" {os.getloadavg()[0]:.2f}, steal {stolen:.1%}, other processes {others:.1%}{noisy}")
