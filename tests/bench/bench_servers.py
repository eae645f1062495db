# SPDX-License-Identifier: Apache-2.0
"""The servers that are measured: how each is started, where it listens, when it answers."""
import functools
import os
import subprocess
import time

from bench_machine import (BenchError, kill, peak_rss, peaks_reset, started, tree, tree_cpu,
                           tree_memory)

SERVER_CORE, LOAD_CORE = 0, 1
BOTH_CORES = (SERVER_CORE, LOAD_CORE)
PORTS_FROM = (1344, 11344)  # each server of a comparison has the next pair


class Server:
    """A server under test. A subclass says how it is started, and where it listens."""

    name = title = ""
    group = None  # its word for --only; None: is always measured where a row wants it
    fill = False  # only answers with canned bytes
    load_options = ()  # what the load generator has to put up with
    obeys = True  # says the status that a row expects
    cores = (SERVER_CORE,)

    def __init__(self, bench):
        self.bench = bench
        self.process = None
        self.dir, self.plain_port, self.tls_port = bench.place(type(self))
        self.log = self.dir / "log"

    @staticmethod
    def is_installed():
        """False: a row does without it. A missing program of one that is needed is an error."""
        return True

    def command(self):
        raise NotImplementedError

    def address(self, tls):
        return f"127.0.0.1:{self.tls_port if tls else self.plain_port}"

    def start(self):
        command = [str(a) for a in self.command()]
        if not os.access(command[0], os.X_OK):
            raise BenchError(f"{self.title}: {command[0]} is not there; --only leaves it out")
        cores = ",".join(str(c) for c in self.cores)
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                (*self.bench.namespace.prefix, "taskset", "-c", cores, *command),
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, cwd=self.dir)
        self.wait()

    def wait(self):
        """Until it answers; asked, not slept for."""
        deadline = time.monotonic() + 15
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            if self.is_ready():
                return
            time.sleep(0.05)
        raise BenchError(f"{self.title} does not answer:\n{self.log.read_text()[-2000:]}")

    def is_ready(self):
        return all(self.answers(tls) for tls in (False, True))

    def answers(self, tls, *options):
        try:
            address = self.address(tls)
        except LookupError:
            return False
        options = ("-r", "1", "-n", "1", "--timeout", "1", *options)
        command = self.bench.load_command(address, tls, options)
        return subprocess.run(command, capture_output=True, timeout=30).returncode == 0

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def cpu(self):
        return tree_cpu(self.process.pid)

    def memory(self):
        return tree_memory(self.process.pid)

    def peaks_reset(self):
        peaks_reset(self.process.pid)

    def peak_rss(self):
        return peak_rss(self.process.pid)

    def stop(self):
        if not self.process:
            return
        family = {pid: started(pid) for pid in tree(self.process.pid)}
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(5)
        for pid, start in family.items():  # what did not listen to its parent
            if start is not None and started(pid) == start:
                kill(pid)


class Floor(Server):
    """The least work that moves the same bytes; its ports are the kernel's choice."""

    name = title = group = "floor"
    fill = True
    options = ()

    def command(self):
        return (self.bench.tool("icapfloor"), "-p", "0", "-P", "0",
                "-c", self.bench.certificate, "-k", self.bench.key, *self.options)

    def address(self, tls):
        for line in self.log.read_text().splitlines():
            kind, _, address = line.partition(" ")
            if kind == ("tls" if tls else "plain"):
                return address
        raise LookupError("no port yet")


@functools.cache
def floor(batched=False, alternate=False, answer=None, both=False):
    """The floor that does what a row asks of a server: |batched| TLS records, every other preview
    continued (|alternate|), 204 or 206 as |answer| to all bodies, two threads on |both| cores."""
    options, words = (), []
    for wanted, more, word in ((batched, ("-B",), "batched"), (alternate, ("-a",), "alternate"),
                               (answer, ("-n", str(answer)), str(answer)),
                               (both, ("-t", str(len(BOTH_CORES))), "both cores")):
        if wanted:
            options, words = options + more, words + [word]
    name = "-".join(["floor", *words]).replace(" ", "-")
    return type("Floor", (Floor,), {
        "name": name, "title": ", ".join(["floor", *words]), "options": options,
        "cores": BOTH_CORES if both else Floor.cores})


class CIcap(Server):
    """c-icap at its best: one process, a thread for each connection, no limits, no access log.
    Its echo continues every other preview; ex206 points to the original where it may."""

    name, title, group, obeys = "cicap", "c-icap", "cicap", False
    limits = """\
Timeout 300
MaxKeepAliveRequests -1
KeepAliveTimeout 600
StartServers 1
MaxServers 1
MinSpareThreads 1
MaxSpareThreads 1100
ThreadsPerChild 1100
MaxRequestsPerChild 0
DebugLevel 0
"""
    config = """\
PidFile {dir}/c-icap.pid
CommandsSocket {dir}/c-icap.ctl
Port 127.0.0.1:{plain}
TlsPort 127.0.0.1:{tls} cert={certificate} key={key}
TmpDir {dir}
Pipelining on
SupportBuggyClients off
ModulesDir /usr/lib/x86_64-linux-gnu/c_icap
ServicesDir /usr/lib/x86_64-linux-gnu/c_icap
LoadMagicFile /etc/c-icap/c-icap.magic
ServerLog {dir}/server.log
Service echo srv_echo.so
Service ex206 srv_ex206.so
ServiceAlias whole echo
ServiceAlias partial ex206
"""

    def config_text(self, **more):
        return self.limits + self.config.format(
            dir=self.dir, plain=self.plain_port, tls=self.tls_port,
            certificate=self.bench.certificate, key=self.bench.key, **more)

    def command(self):
        conf = self.dir / "c-icap.conf"
        conf.write_text(self.config_text())
        return ("/usr/bin/c-icap", "-N", "-f", conf)


class CIcapDefault(CIcap):
    """As Debian 12 ships it; only paths and ports are ours, and TLS, which it has not by itself."""

    name, title, group = "cicap-default", "c-icap, Debian's default", "cicap-default"
    # after 100 requests it hangs up, often without saying so before
    load_options = ("--max-errors", "1000000")
    limits = """\
Timeout 300
MaxKeepAliveRequests 100
KeepAliveTimeout 600
StartServers 3
MaxServers 10
MinSpareThreads 10
MaxSpareThreads 20
ThreadsPerChild 10
MaxRequestsPerChild 0
MaxMemObject 131072
DebugLevel 1
"""
    config = CIcap.config + "AccessLog {dir}/access.log\n"


class CIcapBoth(CIcap):
    name, title, cores = "cicap-both-cores", "c-icap, both cores", BOTH_CORES


class Sallyport(Server):
    """As without a configuration but for what is said here: records are written, too."""

    name, title, group = "sallyport", "Sallyport", "sallyport"
    threads = 1
    more = ""
    config = """\
state: {dir}/state
threads: {threads}
sandbox: best-effort
admin: {{enabled: false}}
listeners:
  - {{name: plain, address: "127.0.0.1:{plain}", protocol: icap}}
  - {{name: tls, address: "127.0.0.1:{tls}", protocol: icap, tls: bench}}
tls:
  - {{name: bench, certificate: {certificate}, key: {key}}}
services:
  - {{name: echo, type: echo, path: /echo}}
  - {{name: partial, type: echo, path: /partial, answer: partial}}
  - {{name: whole, type: echo, path: /whole, answer: whole}}
"""

    def command(self):
        conf = self.dir / "sallyport.yaml"
        (self.dir / "state").mkdir(exist_ok=True)
        conf.write_text(self.config.format(
            dir=self.dir, plain=self.plain_port, tls=self.tls_port, threads=self.threads,
            certificate=self.bench.certificate, key=self.bench.key) + self.more)
        return (self.bench.build / "sallyport", "serve", "-c", conf)


class SallyportSilent(Sallyport):
    name, title = "sallyport-no-records", "Sallyport, records off"
    more = "records: {enabled: false}\n"


class SallyportChained(Sallyport):
    name, title = "sallyport-chained", "Sallyport, records sealed"
    more = "records: {chain: true}\n"


class SallyportBoth(Sallyport):
    name, title = "sallyport-both-cores", "Sallyport, both cores"
    threads, cores = len(BOTH_CORES), BOTH_CORES
