# SPDX-License-Identifier: Apache-2.0
"""The machine: a network namespace of our own, processes and their CPU time."""
import os
import pathlib
import signal
import subprocess
import sys

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


def tree_cpu(pid):
    """CPU seconds of the tree, children that are gone included."""
    ticks = 0
    for p in tree(pid):
        try:
            ticks += sum(int(v) for v in stat_fields(p)[11:15])
        except (FileNotFoundError, ProcessLookupError):
            pass
    return ticks / TICKS


def machine_cpu():
    """CPU seconds that the machine was busy, time stolen by its host included."""
    line = pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()
    user, nice, system, _idle, _iowait, irq, softirq, steal = (int(v) for v in line[1:9])
    return (user + nice + system + irq + softirq + steal) / TICKS
