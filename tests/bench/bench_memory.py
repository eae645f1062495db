# SPDX-License-Identifier: Apache-2.0
"""Rows about memory: at rest, for each idle connection, with many large bodies under way. Each is
measured on a server of its own: what a pool keeps from earlier rows must not count."""
import contextlib
import dataclasses
import json
import subprocess

from bench_machine import BenchError, footprint
from bench_report import Figure, Outcome, Target
from bench_runs import Disturbed
from bench_servers import CIcap, Sallyport, floor

KIB_MIB = 1024
MIB = 1 << 20
PATIENCE_S = 600
KINDS = {"floor": floor(), "peer": CIcap, "ours": Sallyport}


class Rounds:
    """Values of all rounds by role, with what went wrong."""

    def __init__(self, bench):
        self.kinds = {role: kind for role, kind in KINDS.items() if bench.measures(kind)}
        self.values = {}
        self.faults, self.detail = {}, {}
        self.disturbed = Disturbed()

    def add(self, name, role, value):
        self.values.setdefault(name, {}).setdefault(role, []).append(value)

    def note(self, role, report):
        for fault, n in report["errors"].items():
            key = f"{self.kinds[role].name}: {fault}"
            self.faults[key] = self.faults.get(key, 0) + n

    def figures(self, name):
        return {role: Figure.of(values) for role, values in self.values.get(name, {}).items()}

    def outcome(self, name, row, unit, target):
        figures = self.figures(name)
        return Outcome(
            row=f"icap/{row}", unit=unit, target=target, **figures,
            lines=[f"{self.kinds[role].title:<24}{figure} {unit}"
                   for role, figure in figures.items()],
            detail=self.detail, faults=self.faults, thrown=self.disturbed.thrown,
            noisy=self.disturbed.noisy)


@dataclasses.dataclass(frozen=True)
class RestRow:
    """All processes of a server that has just begun to answer: what it adds to this machine, where
    others use the same libraries, too. What it takes where nobody does is in the lines."""
    name: str
    target: Target
    core: bool = True

    @property
    def names(self):
        return (self.name,)

    def measure(self, bench):
        rounds = Rounds(bench)
        for _ in range(bench.args.rounds):
            for role, kind in rounds.kinds.items():
                with bench.fresh(kind) as server:
                    parts = server.memory()
                    rounds.add("pss", role, sum(m.pss for m in parts) / KIB_MIB)
                    rounds.add("alone", role, footprint(parts) / KIB_MIB)
                    rounds.detail[kind.name] = [dataclasses.asdict(m) for m in parts]
        outcome = rounds.outcome("pss", self.name, "MiB", self.target)
        alone = rounds.figures("alone")
        outcome.lines = [f"{line}; without its neighbours {alone[role]}"
                         for line, role in zip(outcome.lines, alone)]
        return [outcome]


@dataclasses.dataclass(frozen=True)
class IdleRow:
    """What a connection costs that has had one answer and waits: the growth of all processes over
    that of the same server after some load."""
    name: str
    tls: bool
    target: Target
    connections: int = 1000
    core: bool = True

    @property
    def names(self):
        return (self.name,)

    @contextlib.contextmanager
    def held(self, bench, server):
        """So many connections, one answer each; in the end the generator's report is in the list."""
        said = []
        command = bench.load_command(server.address(self.tls), self.tls, [
            "--hold", "-n", str(self.connections), "--timeout", "20",
            *(("--fill",) if server.fill else ())])
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              text=True) as load:
            try:
                if load.stdout.readline() != "held\n":
                    raise BenchError(f"{server.title}: {' '.join(command[5:])} said nothing")
                yield said
                said.append(json.loads(load.communicate(timeout=60)[0]))
            finally:
                load.kill()

    def one(self, bench, server, rounds, role):
        """KiB for each connection; None where the server would not hold them."""
        warm = bench.load_command(server.address(self.tls), self.tls, [
            "-n", "16", "-r", "2000", *(("--fill",) if server.fill else ())])
        rounds.note(role, bench.report([warm], PATIENCE_S))
        before = sum(m.pss for m in server.memory())
        with self.held(bench, server) as said:
            after = sum(m.pss for m in server.memory())
        rounds.note(role, said[0])
        if said[0]["held"] == 0:
            return None
        rounds.detail[server.name] = {"held": said[0]["held"], "before_kib": before,
                                      "after_kib": after}
        return (after - before) / said[0]["held"]

    def measure(self, bench):
        rounds = Rounds(bench)
        for _ in range(bench.args.rounds):
            for role, kind in rounds.kinds.items():
                with bench.fresh(kind) as server:
                    each = self.one(bench, server, rounds, role)
                    if each is not None:
                        rounds.add("each", role, each)
        return [rounds.outcome("each", self.name, "KiB/connection", self.target)]


@dataclasses.dataclass(frozen=True)
class BulkRow:
    """Large bodies on all connections at the same time: how fast, and the most that the largest
    process of the server had in memory meanwhile."""
    name: str
    tls: bool
    target: Target      # of the memory
    connections: int = 64
    mib: int = 64
    core: bool = False

    @property
    def names(self):
        return (self.name, f"{self.name}-rss")

    def measure(self, bench):
        rounds = Rounds(bench)
        for _ in range(bench.args.rounds):
            for role, kind in rounds.kinds.items():
                with bench.fresh(kind) as server:
                    self.one(bench, server, rounds, role)
        return [rounds.outcome("speed", self.names[0], "MB/s", None),
                rounds.outcome("rss", self.names[1], "MiB", self.target)]

    def one(self, bench, server, rounds, role):
        n = str(self.connections)
        command = bench.load_command(server.address(self.tls), self.tls, [
            "-m", "RESPMOD", "-s", str(self.mib * MIB), "-n", n, "-r", n,
            "--timeout", str(PATIENCE_S - 60), *(("--fill",) if server.fill else ())])
        server.peaks_reset()
        sample = bench.quiet_run([command], {"server": server.cpu}, [server], rounds.disturbed,
                                 PATIENCE_S)
        rounds.note(role, sample.report)
        rounds.add("speed", role, sample.report["body_bytes_per_s"] / 1e6)
        rounds.add("rss", role, server.peak_rss() / KIB_MIB)
        rounds.detail[server.name] = {"us_per_mib": round(sample.us["server"] / self.mib, 1),
                                      "seconds": round(sample.report["seconds"], 2)}
