# SPDX-License-Identifier: Apache-2.0
"""Well-behaved clients beside those that mean no good: p99 of the former, calm and under each abuse.
One gateway as it comes, with one thread; what its limits refuse is refused as in real life."""
import contextlib
import dataclasses
import json
import subprocess
import time

from bench_machine import BenchError
from bench_report import All, AtMost, Figure, Outcome, Target
from bench_servers import LOAD_CORE, Sallyport

POLITE, RATE = 8, 50      # connections, requests a second of each
POLITE_ADDRESS = "127.0.0.1"
BEGIN_S = 2               # until the abuse is under way
HEADING = "gateway on core 0, load on core 1, both before everything else there"


class Abused(Sallyport):
    """Before everything else on its core, so that the machine's other work is not measured."""

    def command(self):
        return ("/usr/bin/nice", "-n", "-20", *super().command())


class AllAnswered(Target):
    text = "every answer right"

    def met(self, outcome):
        return not outcome.faults


@dataclasses.dataclass(frozen=True)
class Row:
    name: str
    abuse: tuple              # icapabuse's mode and options; or icapload's, with |handshakes|
    tls: bool = False         # which listener is abused; the polite use the same
    handshakes: bool = False
    core: bool = True
    factor: float = 2         # p99 under abuse / calm
    connections: int = 10000  # the listeners' limit

    @property
    def names(self):
        return (self.name,)

    @property
    def target(self):
        return All(AtMost(self.factor, of="calm"), AllAnswered())

    def measure(self, bench):
        """A gateway for each round, so that none pays for the one before."""
        kind = type("Abused", (Abused,), {
            "name": f"abuse-{self.name}", "more": f"limits: {{connections: {self.connections}}}\n"})
        calm, abused, fresh, faults, said = [], [], ([], []), {}, {}
        if not bench.measures(kind):
            return
        for _ in range(bench.args.rounds):
            with bench.fresh(kind) as server:
                calm.append(self.p99(bench, server, faults))
                fresh[0].append(self.p99(bench, server, faults, fresh=True))
                with self.beside(bench, server, said):
                    abused.append(self.p99(bench, server, faults))
                    fresh[1].append(self.p99(bench, server, faults, fresh=True))
                if not server.alive():
                    raise BenchError(f"{server.title} ended:\n{server.log.read_text()[-2000:]}")
        yield self.outcome(*(Figure.of(v) for v in (calm, abused, *fresh)), faults, said)

    def outcome(self, calm, abused, fresh_calm, fresh_abused, faults, said):
        lines = [f"polite, calm     p99 {calm} us; with new connections {fresh_calm} us",
                 f"polite, abused   p99 {abused} us; with new connections {fresh_abused} us"]
        if "mode" in said:
            lines.append(f"abuser           {said['opened']:,} opened, {said['ended_by_peer']:,} ended by the gateway, "
                         f"{said['peak']:,} at once, {said['finished']:,} times done")
        return Outcome(row=f"abuse/{self.name}", unit="us p99", ours=abused, floor=calm, target=self.target,
                       lines=lines, faults=faults,
                       detail={"fresh": fresh_abused.rounded(), "fresh_calm": fresh_calm.rounded(), "abuse": said})

    def p99(self, bench, server, faults, fresh=False):
        """Its generator runs before everything else on its core: what it measures is the gateway, not
        its own wait for the abuser. |fresh|: a new connection for each request, one at a time."""
        how = ("-n", 1, "--close") if fresh else ("-n", POLITE, "--rate", RATE)
        command = bench.load_command(server.address(self.tls), self.tls, tuple(map(str, (
            *how, "-m", "RESPMOD", "-s", 1024, "--from", POLITE_ADDRESS, "-d", bench.args.seconds, "-w", 0.3))))
        report = bench.report([urgent(command)], bench.args.seconds + 60)
        for name, n in report["errors"].items():
            faults[f"sallyport: {name}"] = faults.get(f"sallyport: {name}", 0) + n
        return report["latency_us"]["p99"]

    @contextlib.contextmanager
    def beside(self, bench, server, said):
        seconds = str(int(2 * bench.args.seconds + BEGIN_S + 20))
        address = server.address(self.tls)
        if self.handshakes:
            command = bench.load_command(address, True, ("--from", "127.0.9.1", "--max-errors", str(1 << 30),
                                                         "-d", seconds, *self.abuse))
        else:
            command = [*bench.namespace.prefix, "taskset", "-c", str(LOAD_CORE), str(bench.tool("icapabuse")),
                       self.abuse[0], "-d", seconds, *self.abuse[1:], address]
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as abuser:
            try:
                time.sleep(BEGIN_S)
                yield
            finally:
                if self.handshakes:
                    abuser.kill()  # it has no end before its time
                else:
                    abuser.terminate()
                out = abuser.communicate(timeout=30)[0]
                said.update(json.loads(out) if out else {})


def urgent(command):
    """With real-time priority."""
    at = command.index("taskset")
    return [*command[:at], "chrt", "-f", "10", *command[at:]]


def row(name, *abuse, **more):
    return Row(name, tuple(str(a) for a in abuse), **more)


ROWS = [
    row("idle-15000", "idle", "-n", 15000, "--sources", 8, factor=1.5, connections=18000),
    row("silent-tls", "silent", "-n", 5000, tls=True),
    row("hello-tls", "hello", "-n", 5000, tls=True),
    row("slow-readers", "slow-read", "-n", 200, "-s", 4 << 20),
    row("slow-writers", "slow-write", "-n", 2000, "--pause", 500),
    row("storm", "storm", "-n", 64),
    row("storm-tls", "--close", "-n", 32, tls=True, handshakes=True),
    row("reset-storm", "reset", "-n", 64),
    row("reset-storm-tls", "reset", "-n", 64, tls=True, core=False),
    row("flood", "flood", "-n", 16),
    row("flood-200", "flood", "-n", 200, core=False),
    row("deaf-flood", "deaf", "-n", 200),
    row("everything", "silent", "-n", 12000),
]
