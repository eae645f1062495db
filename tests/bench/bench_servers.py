# SPDX-License-Identifier: Apache-2.0
"""The servers that are measured: how each is started, where it listens, when it answers."""
import os
import subprocess
import time

from bench_machine import BenchError, kill, started, tree, tree_cpu

SERVER_CORE, LOAD_CORE = 0, 1
PLAIN_PORT, TLS_PORT = 1344, 11344


class Server:
    """A server under test. A subclass says how it is started, and where it listens."""

    name = title = ""
    fill = False  # only answers with canned bytes
    cores = (SERVER_CORE,)

    def __init__(self, bench):
        self.bench = bench
        self.process = None
        self.dir = bench.dir / self.name
        self.dir.mkdir()
        self.log = self.dir / "log"

    def command(self):
        raise NotImplementedError

    def address(self, tls):
        return f"127.0.0.1:{TLS_PORT if tls else PLAIN_PORT}"

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

    name = title = "floor"
    fill = True
    options = ()
    program = None  # another floor server to compare with

    def command(self):
        return (self.program or self.bench.tool("icapfloor"), "-p", "0", "-P", "0",
                "-c", self.bench.certificate, "-k", self.bench.key, *self.options)

    def address(self, tls):
        for line in self.log.read_text().splitlines():
            kind, _, address = line.partition(" ")
            if kind == ("tls" if tls else "plain"):
                return address
        raise LookupError("no port yet")


class FloorBatched(Floor):
    name, title, options = "batched", "floor, batched records", ("-B",)


class FloorAlternate(Floor):
    name, title, options = "alternate", "floor, every other preview 204", ("-a",)


class CIcap(Server):
    """c-icap at its best: one process, a thread for each connection, no limits, no access log."""

    name, title = "cicap", "c-icap"
    config = """\
PidFile {dir}/c-icap.pid
CommandsSocket {dir}/c-icap.ctl
Timeout 300
MaxKeepAliveRequests -1
KeepAliveTimeout 600
StartServers 1
MaxServers 1
MinSpareThreads 1
MaxSpareThreads 1100
ThreadsPerChild 1100
MaxRequestsPerChild 0
Port 127.0.0.1:{plain}
TlsPort 127.0.0.1:{tls} cert={certificate} key={key}
TmpDir {dir}
DebugLevel 0
Pipelining on
SupportBuggyClients off
ModulesDir /usr/lib/x86_64-linux-gnu/c_icap
ServicesDir /usr/lib/x86_64-linux-gnu/c_icap
LoadMagicFile /etc/c-icap/c-icap.magic
ServerLog {dir}/server.log
Service echo srv_echo.so
"""

    def config_text(self, **more):
        return self.config.format(dir=self.dir, plain=PLAIN_PORT, tls=TLS_PORT,
                                  certificate=self.bench.certificate, key=self.bench.key, **more)

    def command(self):
        conf = self.dir / "c-icap.conf"
        conf.write_text(self.config_text())
        return ("/usr/bin/c-icap", "-N", "-f", conf)


class Sallyport(Server):
    name, title = "sallyport", "Sallyport"
    plain_port, tls_port = PLAIN_PORT + 1, TLS_PORT + 1
    config = """\
state: {dir}/state
threads: 1
sandbox: best-effort
listeners:
  - {{name: plain, address: "127.0.0.1:{plain}", protocol: icap}}
  - {{name: tls, address: "127.0.0.1:{tls}", protocol: icap, tls: bench}}
tls:
  - {{name: bench, certificate: {certificate}, key: {key}}}
services:
  - {{name: echo, type: echo, path: /echo}}
"""

    def command(self):
        conf = self.dir / "sallyport.yaml"
        (self.dir / "state").mkdir(exist_ok=True)
        conf.write_text(self.config.format(
            dir=self.dir, plain=self.plain_port, tls=self.tls_port,
            certificate=self.bench.certificate, key=self.bench.key))
        return (self.bench.build / "sallyport", "serve", "-c", conf)

    def address(self, tls):
        return f"127.0.0.1:{self.tls_port if tls else self.plain_port}"
