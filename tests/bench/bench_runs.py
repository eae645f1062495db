# SPDX-License-Identifier: Apache-2.0
"""Runs of the load generators, with what they cost each process."""
import dataclasses
import json
import pathlib
import subprocess
import time

from bench_machine import BenchError, machine_cpu, tool
from bench_servers import LOAD_CORE


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
        self.servers = []
        tool("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
             "-nodes", "-subj", "/CN=localhost", "-days", "2",
             "-keyout", str(self.key), "-out", str(self.certificate))

    def tool(self, name):
        return self.build / "tests" / "bench" / name

    def start(self, kinds):
        for kind in kinds:
            server = kind(self)
            self.servers.append(server)
            server.start()

    def stop(self):
        for server in reversed(self.servers):
            server.stop()

    def load_command(self, address, tls, options, program="icapload"):
        return [*self.namespace.prefix, "taskset", "-c", str(LOAD_CORE),
                str(self.tool(program)), "--json", *options,
                *(("--tls",) if tls else ()), str(address)]

    def own_cpu(self):
        """Of all that this program started and is not the load generator."""
        return time.process_time() + sum(s.cpu() for s in self.servers if s.alive())

    def report(self, command):
        """What a load generator says."""
        done = subprocess.run(command, capture_output=True, text=True,
                              timeout=self.args.seconds + 60)
        if done.returncode not in (0, 1):
            raise BenchError(f"{' '.join(command[5:])}: {done.stderr.strip()}")
        return json.loads(done.stdout)

    def run(self, command, watched, servers):
        """|watched|: name -> CPU seconds so far. |servers|: have to be alive at the end."""
        machine, own = machine_cpu(), self.own_cpu()
        used = {name: cpu() for name, cpu in watched.items()}
        start = time.monotonic()
        report = self.report(command)
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
            load_busy=report["cpu_seconds"] / seconds,
            other=(machine_cpu() - machine - own) / seconds, report=report)

    def quiet_run(self, command, watched, servers, disturbed):
        """Repeats a disturbed run, a few times; then the least disturbed has to do."""
        best = None
        for _ in range(self.args.retries + 1):
            sample = self.run(command, watched, servers)
            if best is None or sample.other < best.other:
                best = sample
            if best.other <= self.args.noise:
                return best
            disturbed.thrown += 1
        disturbed.noisy += 1
        return best
