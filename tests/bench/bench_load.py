# SPDX-License-Identifier: Apache-2.0
"""A row that is one load on several servers in turn."""
import dataclasses
import statistics

from bench_report import Figure, Outcome, Target
from bench_runs import Disturbed
from bench_servers import (BOTH_CORES, LOAD_CORE, CIcap, CIcapBoth, CIcapDefault, Sallyport,
                           floor)

# What a row is about: its unit, and how a sample has it.
FIGURES = {
    "rate": ("requests/s", lambda s: s.rate),
    "us": ("us CPU/request", lambda s: s.us["server"]),
    "p50": ("us p50", lambda s: s.report["latency_us"]["p50"]),
    "p99": ("us p99", lambda s: s.report["latency_us"]["p99"]),
}


class Series:
    """All runs of one row against one server."""

    def __init__(self):
        self.samples, self.disturbed, self.faults = [], Disturbed(), {}

    def add(self, sample):
        self.samples.append(sample)
        for name, n in sample.report["errors"].items():
            if name != "starved":  # has a place of its own
                self.faults[name] = self.faults.get(name, 0) + n

    def figure(self, value):
        return Figure.of([value(s) for s in self.samples])

    def median(self, value):
        return statistics.median(value(s) for s in self.samples)

    def starved(self):
        return int(max(s.report["starved"] for s in self.samples))

    def percentile(self, name):
        return self.median(lambda s: s.report["latency_us"][name])

    def resumed(self):
        """Share of the handshakes that took an older session up."""
        return self.median(lambda s: s.report["resumed"] / max(s.report["handshakes"], 1))

    def us(self):
        return self.figure(FIGURES["us"][1])

    def summary(self):
        rate, us = self.figure(FIGURES["rate"][1]), self.us()
        return {
            "rate": round(rate.median, 1), "min": round(rate.low, 1), "max": round(rate.high, 1),
            "us": round(us.median, 2), "us_min": round(us.low, 2), "us_max": round(us.high, 2),
            "p50_us": self.percentile("p50"), "p99_us": self.percentile("p99"),
            "mb_per_s": round(self.median(lambda s: s.report["body_bytes_per_s"]) / 1e6, 1),
            "load_busy": round(self.median(lambda s: s.load_busy), 2),
            "resumed": round(self.resumed(), 3), "starved": self.starved(), "status": self.samples[-1].report["status"],
            "errors": self.faults, "runs": len(self.samples), "thrown": self.disturbed.thrown,
            "noisy": self.disturbed.noisy,
        }

    def line(self, title):
        d = self.summary()
        text = (f"{title:<24}{d['rate']:>9,.0f}/s [{d['min']:,.0f}..{d['max']:,.0f}]"
                f"  {d['us']:>8.1f} us/rq [{d['us_min']:.1f}..{d['us_max']:.1f}]"
                f"  p50 {d['p50_us']:.0f} p99 {d['p99_us']:.0f} us  load {d['load_busy']:.0%}")
        if d["mb_per_s"] >= 100:
            text += f"  {d['mb_per_s']:,.0f} MB/s"
        if d["resumed"]:
            text += f"  resumed {d['resumed']:.0%}"
        if d["starved"]:
            text += f"  STARVED {d['starved']}"
        statuses = {status: n for status, n in d["status"].items() if n}
        if list(statuses) != ["200"]:
            text += "  (" + ", ".join(f"{status}: {n:.0f}" for status, n in statuses.items()) + ")"
        return text


@dataclasses.dataclass(frozen=True)
class LoadRow:
    name: str
    load: tuple                # options for icapload
    expect: int = None         # the one status that will do, where a server leaves no choice
    connections: int = 16
    tls: bool = False
    core: bool = False         # measured without --all and -f
    figure: str = "rate"
    target: Target = None
    floor: tuple = ()          # arguments of bench_servers.floor()
    both: bool = False         # server and load share both cores
    ours: type = Sallyport
    beside: tuple = ()         # further servers, for comparison: kinds
    paths: tuple = ()          # options for servers that have several services

    @property
    def names(self):
        return (self.name,)

    def kinds(self):
        """What is measured, by its role."""
        peer = CIcapBoth if self.both else CIcap
        kinds = {"floor": floor(**dict(self.floor)), "peer": peer, "ours": self.ours}
        beside = self.beside if self.both else (CIcapDefault, *self.beside)
        return {**kinds, **{kind.name: kind for kind in beside}}

    def warmup(self):
        """Seconds, so that all connections and sessions are there when it counts."""
        return 0.3 + self.connections * (0.003 if self.tls else 0.0005)

    def options(self, bench, server):
        yield from ("-d", str(bench.args.seconds), "-w", f"{self.warmup():.2f}")
        yield from (*server.load_options, *self.load)
        if self.expect and server.obeys:
            yield from ("--expect", str(self.expect))
        yield from ("--fill",) if server.fill else self.paths

    def sample(self, bench, kind, series):
        server = bench.server(kind)
        cores = BOTH_CORES if self.both else (LOAD_CORE,)
        # as many generators as cores, so that a server with two threads has enough to do
        share, rest = divmod(self.connections, len(cores))
        options = list(self.options(bench, server))
        commands = [bench.load_command(server.address(self.tls), self.tls,
                                       ["-n", str(share + (i < rest)), *options], cores=cores)
                    for i in range(len(cores))]
        series.add(bench.quiet_run(commands, {"server": server.cpu}, [server], series.disturbed))

    def measure(self, bench):
        kinds = {role: kind for role, kind in self.kinds().items() if bench.measures(kind)}
        series = {role: Series() for role in kinds}
        for i in range(bench.args.rounds):
            roles = list(kinds)
            first = i % len(roles)  # who comes first changes, as the machine's mood does
            for role in roles[first:] + roles[:first]:
                self.sample(bench, kinds[role], series[role])
        return [self.outcome(kinds, series)]

    def outcome(self, kinds, series):
        unit, value = FIGURES[self.figure]
        figures = {role: series[role].figure(value) for role in ("ours", "peer", "floor")
                   if role in series}
        ours = series.get("ours")
        facts = {} if not ours else {"starved": ours.starved(), "resumed": ours.resumed(),
                                     "p50": ours.percentile("p50"), "p99": ours.percentile("p99")}
        return Outcome(
            row=f"icap/{self.name}", unit=unit, target=self.target, facts=facts, **figures,
            us={role: series[role].us() for role in figures} if self.figure != "us" else {},
            lines=[series[role].line(kinds[role].title) for role in kinds],
            detail={kinds[role].name: s.summary() for role, s in series.items()},
            faults={f"{kinds[role].name}: {name}": n for role, s in series.items()
                    for name, n in s.faults.items()},
            thrown=sum(s.disturbed.thrown for s in series.values()),
            noisy=sum(s.disturbed.noisy for s in series.values()))
