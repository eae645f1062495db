# SPDX-License-Identifier: Apache-2.0
"""The machine: a network namespace of our own, processes and their CPU time."""
import dataclasses
import os
import pathlib
import signal
import subprocess
import sys
import time

TICKS = os.sysconf("SC_CLK_TCK")
CONGESTION = "cubic"


class BenchError(Exception):
    """Something that makes the comparison impossible, for a person to read."""


def tool(*command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    if done.returncode != 0:
        raise BenchError(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def kill(pid):
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


class Namespace:
    """A network namespace with nothing but loopback, and a congestion control that does not pace.

    bbr, the default of some machines, halves bulk rates on loopback. A kernel may refuse the sysctl
    for an algorithm that is loaded but not on the list of allowed ones; a route may still name it.
    """

    def __init__(self):
        self.name = f"sallyport-bench-{os.getpid()}"
        self.prefix = ("ip", "netns", "exec", self.name)

    def __enter__(self):
        tool("ip", "netns", "add", self.name)
        try:
            self.run("ip", "link", "set", "lo", "up")
            self.congestion_set()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        # what is still in here was started by this program, and lost its parent
        left = subprocess.run(("ip", "netns", "pids", self.name), capture_output=True, text=True)
        for pid in left.stdout.split():
            kill(int(pid))
        subprocess.run(("ip", "netns", "del", self.name), check=False)

    def run(self, *command):
        return tool(*self.prefix, *command)

    def congestion_set(self):
        try:
            self.run("sysctl", "-q", "-w", f"net.ipv4.tcp_congestion_control={CONGESTION}")
            return
        except BenchError:
            pass
        for net in ("127.0.0.1/32", "127.0.0.0/8"):
            self.run("ip", "route", "replace", "local", net, "dev", "lo", "table", "local",
                     "proto", "kernel", "scope", "host", "src", "127.0.0.1",
                     "congctl", CONGESTION)

    def congestion(self):
        """What a connection here really uses."""
        probe = ("import socket; s = socket.create_server(('127.0.0.1', 0));"
                 "c = socket.create_connection(s.getsockname());"
                 "print(c.getsockopt(6, 13, 16).rstrip(b'\\0').decode())")
        return self.run(sys.executable, "-c", probe).strip()


def stat_fields(pid):
    """/proc/PID/stat from the state on; the name before it may hold anything."""
    text = pathlib.Path(f"/proc/{pid}/stat").read_text()
    return text[text.rindex(")") + 2:].split()


def tree(pid):
    """|pid| and its descendants."""
    children = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                children.setdefault(int(stat_fields(entry)[1]), []).append(int(entry))
            except (FileNotFoundError, ProcessLookupError):
                pass
    found = [pid]
    for parent in found:
        found += children.get(parent, [])
    return found


def started(pid):
    """When |pid| began, which tells it from a later process of the same number; None: gone."""
    try:
        return stat_fields(pid)[19]
    except (FileNotFoundError, ProcessLookupError):
        return None


def process_cpu(pid):
    """CPU seconds of all threads of |pid|, the ended ones too: its CPU clock, by the number that
    clock_getcpuclockid(3) makes of a process id. It counts in nanoseconds, /proc/PID/stat in ticks
    of 10 ms, which are hundreds of requests."""
    try:
        return time.clock_gettime(~pid << 3 | 2)
    except OSError:
        raise ProcessLookupError(pid) from None


def tree_cpu(pid):
    """CPU seconds of the tree, children that are gone included."""
    seconds = 0.0
    for p in tree(pid):
        try:
            seconds += process_cpu(p) + sum(int(v) for v in stat_fields(p)[13:15]) / TICKS
        except (FileNotFoundError, ProcessLookupError):
            pass
    return seconds


def machine_cpu():
    """CPU seconds that the machine was busy, time stolen by its host included."""
    line = pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()
    user, nice, system, _idle, _iowait, irq, softirq, steal = (int(v) for v in line[1:9])
    return (user + nice + system + irq + softirq + steal) / TICKS


# --- memory ------------------------------------------------------------------------------------


def kib(text, name):
    """The line |name| of a file of /proc, in KiB."""
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key == name:
            return int(value.split()[0])
    raise BenchError(f"no {name} in /proc")


@dataclasses.dataclass(frozen=True)
class Memory:
    """KiB of a process. pss: its own pages, and its share of those that it has in common with
    others. Memory of the kernel, such as sockets' buffers, is in none of them."""
    name: str
    pss: int
    private: int
    shared: int


def tree_memory(pid):
    """Of each process of the tree."""
    found = []
    for p in tree(pid):
        try:
            name = pathlib.Path(f"/proc/{p}/comm").read_text().strip()
            text = pathlib.Path(f"/proc/{p}/smaps_rollup").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        found.append(Memory(name, kib(text, "Pss"),
                            kib(text, "Private_Clean") + kib(text, "Private_Dirty"),
                            kib(text, "Shared_Clean") + kib(text, "Shared_Dirty")))
    return found


def footprint(parts):
    """KiB of a whole tree. Other than the sum of pss it does not depend on who else on the machine
    uses the same program or libraries: what is shared counts once."""
    return sum(m.private for m in parts) + max((m.shared for m in parts), default=0)


def peaks_reset(pid):
    """From now on peak_rss() counts."""
    for p in tree(pid):
        try:
            pathlib.Path(f"/proc/{p}/clear_refs").write_text("5")
        except (FileNotFoundError, ProcessLookupError):
            pass


def peak_rss(pid):
    """KiB that the largest process of the tree had in memory at most."""
    largest = 0
    for p in tree(pid):
        try:
            largest = max(largest, kib(pathlib.Path(f"/proc/{p}/status").read_text(), "VmHWM"))
        except (FileNotFoundError, ProcessLookupError):
            pass
    return largest


def description():
    """What a reader has to know about this machine."""
    model = next((line.partition(":")[2].strip() for line in
                  pathlib.Path("/proc/cpuinfo").read_text().splitlines()
                  if line.startswith("model name")), "unknown CPU")
    return (f"{os.cpu_count()} cores of {model}, Linux {os.uname().release}, "
            f"{' '.join(tool('openssl', 'version').split()[:2])}")
