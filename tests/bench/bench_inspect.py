# SPDX-License-Identifier: Apache-2.0
"""Inspection: what it costs above the engines alone, above an echo, and what overload does."""
import dataclasses
import json
import subprocess

from bench_engines import (DEADLINE_S, Cached, CIcapClamd, Clamd, Overloaded, OverloadedQueue,
                           OverloadedWait, Uncached)
from bench_report import Above, AtMost, Figure, Outcome
from bench_runs import Disturbed

CLAMD_SESSIONS = 4     # engines.clamav.connections
CONNECTIONS = 16
POLITE, POLITE_RATE = 8, 50  # connections, requests a second of each
GREEDY = 500                 # connections: more than all limits of the overload rows
POLITE_ADDRESS, GREEDY_ADDRESS = "127.0.0.2", "127.0.0.3"
RESPMOD = ("-m", "RESPMOD", "-s")
PATIENT = ("--timeout", "20", "--drain", "20")  # for answers that take a good part of a run


def with_priority(command, *how):
    """|command| of a load generator, run by nice or chrt."""
    at = command.index("taskset")
    return [*command[:at], *how, *command[at:]]


class Figures:
    """Named figures of all rounds of a row, and what went wrong."""

    def __init__(self):
        self.values, self.disturbed, self.faults, self.details = {}, Disturbed(), {}, {}

    def add(self, **figures):
        for name, value in figures.items():
            self.values.setdefault(name, []).append(value)

    def note(self, who, report):
        for name, n in report["errors"].items():
            key = f"{who}: {name}"
            self.faults[key] = self.faults.get(key, 0) + n
            self.details.setdefault(key, report["details"].get(name, ""))

    def has(self, name):
        return name in self.values

    def figure(self, name):
        return Figure.of(self.values[name]) if self.has(name) else None

    def median(self, name):
        return self.figure(name).median

    def text(self, name, digits=0):
        f = self.figure(name)
        return f"{f.median:,.{digits}f} [{f.low:,.{digits}f}..{f.high:,.{digits}f}]"

    def summary(self):
        figures = {name: self.figure(name) for name in self.values}
        return {"figures": {name: {"median": f.rounded(), "min": round(f.low, 3),
                                   "max": round(f.high, 3)} for name, f in figures.items()},
                "error_details": self.details}


class Runner:
    """One row's runs."""

    def __init__(self, bench, figures, kinds):
        self.bench, self.figures, self.kinds = bench, figures, kinds

    def has(self, kind):
        return kind in self.kinds

    def icap(self, kind, load, connections=CONNECTIONS):
        """|load| through the server |kind|: a Sample; clamd is watched as well."""
        server = self.bench.server(kind)
        watched = server.watched() if hasattr(server, "watched") else {"gateway": server.cpu}
        if self.has(Clamd):
            watched["clamd"] = self.bench.server(Clamd).cpu
        options = ["-d", str(self.bench.args.seconds), "-w", "0.3", "-n", str(connections), *load]
        command = self.bench.load_command(server.address(False), False, options)
        return self.measured(kind.name, command, watched, [server])

    def clamd(self, size, sessions=CLAMD_SESSIONS):
        """Files of |size| bytes straight to clamd."""
        server = self.bench.server(Clamd)
        options = ["-d", str(self.bench.args.seconds), "-w", "0.3", "-n", str(sessions),
                   "-s", str(size)]
        command = self.bench.load_command(server.socket(), False, options, "clamdload")
        return self.measured("alone", command, {"clamd": server.cpu}, [server])

    def measured(self, who, command, watched, servers):
        sample = self.bench.quiet_run([command], watched, servers, self.figures.disturbed)
        self.figures.note(who, sample.report)
        return sample


def p50(sample):
    return sample.report["latency_us"]["p50"]


def asking(sample):
    """CPU per request of the load generator itself."""
    return 1e6 * sample.load_busy / sample.rate


def whole(sample):
    """CPU per file, whoever spends it."""
    return sample.us["gateway"] + sample.us["clamd"]


def above(sample, alone):
    """What of it is beyond clamd's own."""
    return whole(sample) - alone.us["clamd"]


# --- the rows ----------------------------------------------------------------------------------


class InspectRow:
    """A row with many figures, of which one stands for it. Subclasses are values: name, core, and
    the servers that they need in this order; round(), unit, chosen() and text() are theirs."""

    unit, target, suite = "requests/s", None, "inspect"

    @property
    def names(self):
        return (self.name,)

    def measure(self, bench):
        kinds = [kind for kind in self.servers if bench.measures(kind) and kind.is_installed()]
        figures = Figures()
        for kind in kinds:
            bench.server(kind)
        for _ in range(bench.args.rounds):
            self.round(Runner(bench, figures, kinds))
        return [self.outcome(figures)]

    def outcome(self, f):
        return Outcome(row=f"{self.suite}/{self.name}", unit=self.unit, target=self.target,
                       **self.chosen(f), lines=list(self.text(f)), detail=f.summary(),
                       faults=f.faults, thrown=f.disturbed.thrown, noisy=f.disturbed.noisy)


@dataclasses.dataclass(frozen=True)
class ClamdRow(InspectRow):
    """Bodies that nobody saw before, through [clamav], next to clamd alone and to c-icap."""

    name: str
    size: int
    connections: int = CONNECTIONS
    core: bool = True
    suite: str = "inspect"
    servers = (Clamd, Uncached, CIcapClamd)
    unit = "us CPU/file"
    target = Above(20, "us", of="clamd alone")

    def of(self, suite):
        """The same row in another suite."""
        return dataclasses.replace(self, suite=suite, core=False)

    def chosen(self, f):
        """All CPU that a file costs, whoever spends it, against what clamd takes alone."""
        return {"ours": f.figure("ours_us"), "peer": f.figure("peer_us"),
                "floor": f.figure("alone_us")}

    def round(self, run):
        load = (*RESPMOD, str(self.size), "--unique", *PATIENT)
        f = run.figures
        alone, alone_one = run.clamd(self.size), run.clamd(self.size, 1)
        f.add(alone_rate=alone.rate, alone_us=alone.us["clamd"], alone_p50=p50(alone_one),
              alone_one_us=alone_one.us["clamd"], asking_us=asking(alone))
        ours = run.icap(Uncached, (*load, "-p", "/clamd"), self.connections)
        one = run.icap(Uncached, (*load, "-p", "/clamd"), 1)
        echo = run.icap(Uncached, load, self.connections)
        f.add(ours_us=whole(ours), ours_rate=ours.rate, ours_gateway_us=ours.us["gateway"],
              ours_clamd_us=ours.us["clamd"], ours_p50=p50(one), echo_us=echo.us["gateway"],
              above_us=above(ours, alone), above_one_us=above(one, alone_one),
              above_asking_us=above(ours, alone) - asking(alone),
              above_p50=p50(one) - p50(alone_one))
        if run.has(CIcapClamd):
            peer = run.icap(CIcapClamd, (*load, "-p", "/scan"), self.connections)
            peer_one = run.icap(CIcapClamd, (*load, "-p", "/scan"), 1)
            f.add(peer_us=whole(peer), peer_rate=peer.rate, peer_gateway_us=peer.us["gateway"],
                  peer_clamd_us=peer.us["clamd"], peer_p50=p50(peer_one),
                  peer_above_us=above(peer, alone), peer_above_one_us=above(peer_one, alone_one))

    def text(self, f):
        yield (f"clamd alone  {f.text('alone_rate')}/s  clamd {f.text('alone_us')} us/file  one "
               f"session: p50 {f.text('alone_p50')} us, clamd {f.text('alone_one_us')} us/file; "
               f"clamdload, which does no more than ask, {f.text('asking_us')} us/file")
        yield (f"sallyport    {f.text('ours_rate')}/s  clamd {f.text('ours_clamd_us')} us/file, "
               f"gateway {f.text('ours_gateway_us')} us/rq (an echo: {f.text('echo_us')})  "
               f"one connection: p50 {f.text('ours_p50')} us")
        if f.has("peer_rate"):
            yield (f"c-icap       {f.text('peer_rate')}/s  clamd {f.text('peer_clamd_us')} us/file"
                   f", c-icap {f.text('peer_gateway_us')} us/rq  "
                   f"one connection: p50 {f.text('peer_p50')} us")
        else:
            yield ("c-icap       not measured: libc-icap-mod-virus-scan is not installed, or "
                   "--only leaves it out")
        yield (f"ours above clamd alone: {f.text('above_us')} us of CPU, one at a time "
               f"{f.text('above_one_us')} us, {f.text('above_p50')} us of p50; "
               f"above clamd and clamdload: {f.text('above_asking_us')} us")
        if f.has("peer_rate"):
            yield (f"c-icap above clamd alone: {f.text('peer_above_us')} us of CPU, one at a time "
                   f"{f.text('peer_above_one_us')} us")
            yield f"ours / c-icap: {f.median('ours_rate') / f.median('peer_rate'):.2f} x requests/s"


@dataclasses.dataclass(frozen=True)
class WorkerRow(InspectRow):
    """Bodies that nobody saw before, through the workers; no peer does this."""

    name: str
    load: tuple
    connections: int = CONNECTIONS
    core: bool = True
    servers = (Clamd, Uncached)

    @staticmethod
    def chosen(f):
        return {"ours": f.figure("rate")}

    def round(self, run):
        ours = run.icap(Uncached, self.load, self.connections)
        one = run.icap(Uncached, self.load, 1)
        run.figures.add(rate=ours.rate, gateway_us=ours.us["gateway"],
                        workers_us=ours.us["workers"], clamd_us=ours.us["clamd"], p50=p50(one))

    def text(self, f):
        clamd = f", clamd {f.text('clamd_us')}" if "/all" in self.load else ""
        yield (f"sallyport    {f.text('rate')}/s  gateway {f.text('gateway_us')} us/rq, "
               f"workers {f.text('workers_us')}{clamd}  one connection: p50 {f.text('p50')} us")


@dataclasses.dataclass(frozen=True)
class CacheRow(InspectRow):
    """Bodies that were seen before, next to an echo of the same size on the same gateway."""

    name: str
    size: int
    core: bool = True
    servers = (Clamd, Cached)

    @staticmethod
    def chosen(f):
        """An echo is the least that the gateway can do."""
        return {"ours": f.figure("hit_rate"), "floor": f.figure("echo_rate")}

    def round(self, run):
        load = (*RESPMOD, str(self.size))
        echo, hit = run.icap(Cached, load), run.icap(Cached, (*load, "-p", "/all"))
        run.figures.add(echo_rate=echo.rate, echo_us=echo.us["gateway"], hit_rate=hit.rate,
                        hit_us=hit.us["gateway"], engines_us=hit.us["workers"] + hit.us["clamd"],
                        rate_ratio=hit.rate / echo.rate,
                        us_ratio=hit.us["gateway"] / echo.us["gateway"])

    def text(self, f):
        yield f"echo         {f.text('echo_rate')}/s  gateway {f.text('echo_us', 1)} us/rq"
        yield (f"hit          {f.text('hit_rate')}/s  gateway {f.text('hit_us', 1)} us/rq, "
               f"workers and clamd {f.text('engines_us', 1)}")
        yield f"hit / echo: {f.text('rate_ratio', 2)} x requests/s, {f.text('us_ratio', 2)} x CPU"


@dataclasses.dataclass(frozen=True)
class OverloadRow(InspectRow):
    """Polite clients while greedy ones ask for all they can get. These have machines of their own
    elsewhere; here their generator takes what workers leave of its core."""

    name: str
    server: type
    core: bool = True
    unit = "us p99"
    target = AtMost(2, of="calm")

    @property
    def servers(self):
        return (self.server,)

    @staticmethod
    def chosen(f):
        """Polite clients under overload, and in calm."""
        return {"ours": f.figure("storm_seen_p99"), "floor": f.figure("calm_seen_p99")}

    def round(self, run):
        calm = self.polite(run, "calm")
        address = run.bench.server(self.server).address(False)
        seconds = run.bench.args.seconds
        command = with_priority(run.bench.load_command(address, False, (
            *self.load(), "-n", str(GREEDY), "--from", GREEDY_ADDRESS, "-d", str(seconds + 1),
            "--drain", "5")), "chrt", "-i", "0")
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as greedy:
            storm = self.polite(run, "storm")
            report = json.loads(greedy.communicate(timeout=60)[0])
        run.figures.note("greedy", report)
        run.figures.add(
            calm_p50=p50(calm), calm_p99=calm.report["latency_us"]["p99"],
            calm_blocked=self.blocked(calm.report), storm_p50=p50(storm),
            storm_p99=storm.report["latency_us"]["p99"], storm_blocked=self.blocked(storm.report),
            storm_block_p99=storm.report["blocked_us"]["p99"],
            storm_seen_p99=self.p99(storm), calm_seen_p99=self.p99(calm),
            ratio=self.p99(storm) / self.p99(calm),
            greedy_rate=report["requests_per_s"], greedy_blocked=self.blocked(report),
            greedy_served=report["requests_per_s"] * (1 - self.blocked(report) / 100),
            calm_rate=calm.rate, storm_rate=storm.rate, gateway_cores=storm.cores["gateway"],
            workers_cores=storm.cores["workers"],
            greedy_p99=report["latency_us"]["p99"],
            last_ms=max(x["max"] for r in (report, storm.report)
                        for x in (r["latency_us"], r["blocked_us"])) / 1000)

    @staticmethod
    def load():
        return (*RESPMOD, "4096", "--unique", "-p", "/yara", "--blocked", "overload")

    @staticmethod
    def p99(sample):
        """Of the inspected; where all were refused, of the refusals."""
        report = sample.report
        return report["latency_us"]["p99"] or report["blocked_us"]["p99"]

    @staticmethod
    def blocked(report):
        return 100 * report["blocked"] / max(report["requests"], 1)

    def polite(self, run, who):
        """Its generator runs before everything else on its core, so that it measures the gateway
        and not its own wait for the greedy one. Not repeated: two generators are not noise."""
        server = run.bench.server(self.server)
        options = (*self.load(), "-n", str(POLITE), "--from", POLITE_ADDRESS,
                   "--rate", str(POLITE_RATE), "-d", str(run.bench.args.seconds), "-w", "0.5")
        command = with_priority(run.bench.load_command(server.address(False), False, options),
                                "chrt", "-f", "10")
        sample = run.bench.run([command], server.watched(), [server])
        run.figures.note(who, sample.report)
        return sample

    def text(self, f):
        yield (f"polite, calm     {f.text('calm_rate')}/s  p50 {f.text('calm_p50')} "
               f"p99 {f.text('calm_p99')} us, "
               f"overload {f.text('calm_blocked', 1)} %")
        inspected = (f"p50 {f.text('storm_p50')} p99 {f.text('storm_p99')} us"
                     if f.median("storm_p99") else "none of them inspected")
        yield (f"polite, overload {f.text('storm_rate')}/s  {inspected}, "
               f"overload {f.text('storm_blocked', 1)} % (p99 {f.text('storm_block_p99')} us)")
        yield (f"greedy           {f.text('greedy_rate')}/s, of these inspected "
               f"{f.text('greedy_served')}/s; overload {f.text('greedy_blocked', 1)} %; "
               f"inspected: p99 {f.text('greedy_p99')} us; cores: gateway "
               f"{f.text('gateway_cores', 2)}, workers {f.text('workers_cores', 2)}")
        late = "" if f.median("last_ms") <= DEADLINE_S * 1000 else "  TOO LATE"
        yield (f"p99 of the polite under overload / calm: {f.text('ratio', 1)}; slowest answer "
               f"{f.text('last_ms')} ms of {DEADLINE_S * 1000} ms{late}")


def form(parts, size, path="/form"):
    return ("-m", "REQMOD", "--form", str(parts), "-s", str(size), "--unique", "-p", path,
            *PATIENT)


def body(size, path):
    return (*RESPMOD, str(size), "--unique", "-p", path)


ROWS = [
    ClamdRow("clamd-1k", 1024),
    ClamdRow("clamd-16k", 16384),
    ClamdRow("clamd-256k", 262144),
    ClamdRow("clamd-4m", 4194304, connections=4),
    WorkerRow("yara-1k", body(1024, "/yara")),
    WorkerRow("yara-16k", body(16384, "/yara")),
    WorkerRow("yara-256k", body(262144, "/yara")),
    WorkerRow("filetype-1k", body(1024, "/filetype")),
    WorkerRow("filetype-256k", body(262144, "/filetype"), core=False),
    CacheRow("cache-hit-1k", 1024),
    CacheRow("cache-hit-16k", 16384),
    WorkerRow("form-10", form(10, 1024), connections=4),
    WorkerRow("form-10-files", (*form(10, 1024), "--files"), connections=4),
    WorkerRow("form-1000", form(1000, 100), connections=2),
    WorkerRow("form-10-yara", form(10, 1024, "/yara"), connections=4, core=False),
    WorkerRow("form-1000-yara", form(1000, 100, "/yara"), connections=2, core=False),
    WorkerRow("form-10-clamd", form(10, 1024, "/all"), connections=4, core=False),
    OverloadRow("overload", Overloaded),
    OverloadRow("overload-queue", OverloadedQueue, core=False),
    OverloadRow("overload-wait", OverloadedWait, core=False),
]

HEADING = "gateway on core 0, load on core 1, workers and clamd on both"
