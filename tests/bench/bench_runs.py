# SPDX-License-Identifier: Apache-2.0
"""Servers as they are needed, runs of the load generators, and what these cost each process."""
import contextlib
import dataclasses
import json
import pathlib
import subprocess
import time

from bench_machine import BenchError, machine_cpu, tool
from bench_report import merged
from bench_servers import LOAD_CORE, PORTS_FROM


@dataclasses.dataclass
class Sample:
    """One run of a load generator."""
    rate: float
    us: dict         # CPU per request of each process that was watched
    cores: dict      # cores that each of them used
    load_busy: float  # the load generator's share of its core
    other: float     # cores that something else used
    report: dict


class Disturbed:
    """How often runs had to be repeated, and how many were still disturbed in the end."""

    def __init__(self):
        self.thrown = self.noisy = 0


class Bench:
    """Certificates, scratch folder, namespace and servers of one comparison."""

    def __init__(self, args, namespace, directory):
        self.args, self.namespace, self.dir = args, namespace, directory
        self.build = pathlib.Path(args.build).resolve()
        self.certificate, self.key = directory / "cert.pem", directory / "key.pem"
        self.servers, self.n_started = {}, 0
        tool("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
             "-nodes", "-subj", "/CN=localhost", "-days", "2",
             "-keyout", str(self.key), "-out", str(self.certificate))

    def tool(self, name):
        return self.build / "tests" / "bench" / name

    # --- servers ---

    def measures(self, kind):
        """Not left out by --only."""
        return kind.group is None or kind.group in self.args.only.split(",")

    def place(self, kind):
        """A folder and two ports (plain, TLS) that no other server of this comparison has."""
        self.n_started += 1
        folder = self.dir / f"{kind.name}-{self.n_started}"
        folder.mkdir()
        plain, tls = PORTS_FROM
        return folder, plain + self.n_started, tls + self.n_started

    def server(self, kind):
        """The server |kind|, started when it is first asked for, and kept."""
        if kind not in self.servers:
            self.servers[kind] = kind(self)
            self.servers[kind].start()
        return self.servers[kind]

    @contextlib.contextmanager
    def fresh(self, kind):
        """One of its own, for what depends on what a server has done before."""
        key = object()
        self.servers[key] = server = kind(self)
        try:
            server.start()
            yield server
        finally:
            server.stop()
            del self.servers[key]

    def stop(self):
        for server in reversed(self.servers.values()):
            server.stop()

    # --- runs ---

    def load_command(self, address, tls, options, program="icapload", cores=(LOAD_CORE,)):
        return [*self.namespace.prefix, "taskset", "-c", ",".join(str(c) for c in cores),
                str(self.tool(program)), "--json", *options,
                *(("--tls",) if tls else ()), str(address)]

    def own_cpu(self):
        """Of all that this program started and is not the load generator."""
        return time.process_time() + sum(s.cpu() for s in self.servers.values() if s.alive())

    def report(self, commands, patience):
        """What load generators that run at the same time say."""
        running = [subprocess.Popen(c, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                    stdin=subprocess.DEVNULL) for c in commands]
        try:
            said = [p.communicate(timeout=patience) for p in running]
        finally:
            for p in running:
                p.kill()  # nothing, if it has ended
                p.wait()
        for p, (_, trouble) in zip(running, said):
            if p.returncode not in (0, 1):
                raise BenchError(f"{' '.join(p.args[5:])}: {trouble.strip()}")
        return merged([json.loads(out) for out, _ in said])

    def run(self, commands, watched, servers, patience=None):
        """|commands|: of load generators. |watched|: name -> CPU seconds so far. |servers|: have to
        be alive at the end."""
        machine, own = machine_cpu(), self.own_cpu()
        used = {name: cpu() for name, cpu in watched.items()}
        start = time.monotonic()
        report = self.report(commands, patience or self.args.seconds + 60)
        seconds = time.monotonic() - start
        for server in servers:
            if not server.alive():
                raise BenchError(f"{server.title} ended:\n{server.log.read_text()[-2000:]}")
        used = {name: cpu() - used[name] for name, cpu in watched.items()}
        own = self.own_cpu() - own + report["cpu_seconds"]
        per_request = 1e6 / max(report["requests_total"], 1)
        return Sample(
            rate=report["requests_per_s"], us={n: s * per_request for n, s in used.items()},
            cores={n: s / seconds for n, s in used.items()},
            load_busy=report["cpu_seconds"] / seconds / len(commands),
            other=(machine_cpu() - machine - own) / seconds, report=report)

    def quiet_run(self, commands, watched, servers, disturbed, patience=None):
        """Repeats a disturbed run, a few times; then the least disturbed has to do."""
        best = None
        for _ in range(self.args.retries + 1):
            sample = self.run(commands, watched, servers, patience)
            if best is None or sample.other < best.other:
                best = sample
            if best.other <= self.args.noise:
                return best
            disturbed.thrown += 1
        disturbed.noisy += 1
        disturbed.thrown -= 1  # the one that is kept
        return best
