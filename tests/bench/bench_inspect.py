# SPDX-License-Identifier: Apache-2.0
"""Inspection: what it costs above the engines alone, above an echo, and what overload does."""
import dataclasses
import json
import re
import statistics
import subprocess

from bench_engines import (DEADLINE_S, Cached, CIcapClamd, Clamd, Overloaded, OverloadedQueue,
                           OverloadedWait, Uncached)
from bench_machine import BenchError
from bench_runs import Bench, Disturbed
from bench_servers import LOAD_CORE, SERVER_CORE

CLAMD_SESSIONS = 4     # engines.clamav.connections
CONNECTIONS = 16
POLITE, POLITE_RATE = 8, 50  # connections, requests a second of each
GREEDY = 500                 # connections: more than all limits of the overload rows
POLITE_ADDRESS, GREEDY_ADDRESS = "127.0.0.2", "127.0.0.3"
RESPMOD = ("-m", "RESPMOD", "-s")
PATIENT = ("--timeout", "20", "--drain", "20")  # for answers that take a good part of a run


class Figures:
    """Named figures of all rounds of a row, and what went wrong."""

    def __init__(self):
        self.values, self.disturbed, self.faults = {}, Disturbed(), {}

    def add(self, **figures):
        for name, value in figures.items():
            self.values.setdefault(name, []).append(value)

    def note(self, who, report):
        for name, n in report["errors"].items():
            key = f"{who}: {name}"
            self.faults[key] = self.faults.get(key, 0) + n

    def has(self, name):
        return name in self.values

    def median(self, name):
        return statistics.median(self.values[name])

    def text(self, name, digits=0):
        values = self.values[name]
        return (f"{self.median(name):,.{digits}f} "
                f"[{min(values):,.{digits}f}..{max(values):,.{digits}f}]")

    def summary(self):
        return {"figures": {name: {"median": round(statistics.median(v), 3),
                                   "min": round(min(v), 3), "max": round(max(v), 3)}
                            for name, v in self.values.items()},
                "errors": self.faults, "thrown": self.disturbed.thrown,
                "noisy": self.disturbed.noisy}


class Runner:
    """One row's runs."""

    def __init__(self, bench, figures):
        self.bench, self.figures = bench, figures
        self.servers = {s.name: s for s in bench.servers}

    def has(self, name):
        return name in self.servers

    def icap(self, name, load, connections=CONNECTIONS):
        """|load| through the server |name|: a Sample; clamd is watched as well."""
        server = self.servers[name]
        watched = server.watched() if hasattr(server, "watched") else {"gateway": server.cpu}
        if self.has("clamd"):
            watched["clamd"] = self.servers["clamd"].cpu
        options = ["-d", str(self.bench.args.seconds), "-w", "0.3", "-n", str(connections), *load]
        command = self.bench.load_command(server.address(False), False, options)
        return self.measured(name, command, watched, [server])

    def clamd(self, size, sessions=CLAMD_SESSIONS):
        """Files of |size| bytes straight to clamd."""
        server = self.servers["clamd"]
        options = ["-d", str(self.bench.args.seconds), "-w", "0.3", "-n", str(sessions),
                   "-s", str(size)]
        command = self.bench.load_command(server.socket(), False, options, "clamdload")
        return self.measured("alone", command, {"clamd": server.cpu}, [server])

    def measured(self, who, command, watched, servers):
        sample = self.bench.quiet_run(command, watched, servers, self.figures.disturbed)
        self.figures.note(who, sample.report)
        return sample


def p50(sample):
    return sample.report["latency_us"]["p50"]


def above(sample, alone):
    """CPU per file beyond what clamd takes alone, whoever spends it."""
    return sample.us["gateway"] + sample.us["clamd"] - alone.us["clamd"]


# --- the rows ----------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class ClamdRow:
    """Bodies that nobody saw before, through [clamav], next to clamd alone and to c-icap."""

    name: str
    size: int
    connections: int = CONNECTIONS
    core: bool = True
    servers = (Clamd, Uncached, CIcapClamd)

    def measure(self, run):
        load = (*RESPMOD, str(self.size), "--unique", *PATIENT)
        f = run.figures
        alone, alone_one = run.clamd(self.size), run.clamd(self.size, 1)
        f.add(alone_rate=alone.rate, alone_us=alone.us["clamd"], alone_p50=p50(alone_one),
              alone_one_us=alone_one.us["clamd"])
        ours = run.icap("uncached", (*load, "-p", "/clamd"), self.connections)
        one = run.icap("uncached", (*load, "-p", "/clamd"), 1)
        echo = run.icap("uncached", load, self.connections)
        f.add(ours_rate=ours.rate, ours_gateway_us=ours.us["gateway"],
              ours_clamd_us=ours.us["clamd"], ours_p50=p50(one), echo_us=echo.us["gateway"],
              above_us=above(ours, alone), above_one_us=above(one, alone_one),
              above_p50=p50(one) - p50(alone_one))
        if run.has("cicap"):
            peer = run.icap("cicap", (*load, "-p", "/scan"), self.connections)
            peer_one = run.icap("cicap", (*load, "-p", "/scan"), 1)
            f.add(peer_rate=peer.rate, peer_gateway_us=peer.us["gateway"],
                  peer_clamd_us=peer.us["clamd"], peer_p50=p50(peer_one),
                  peer_above_us=above(peer, alone), peer_above_one_us=above(peer_one, alone_one))

    def text(self, f):
        yield (f"clamd alone  {f.text('alone_rate')}/s  clamd {f.text('alone_us')} us/file  one "
               f"session: p50 {f.text('alone_p50')} us, clamd {f.text('alone_one_us')} us/file")
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
               f"{f.text('above_one_us')} us, {f.text('above_p50')} us of p50")
        if f.has("peer_rate"):
            yield (f"c-icap above clamd alone: {f.text('peer_above_us')} us of CPU, one at a time "
                   f"{f.text('peer_above_one_us')} us")
            yield f"ours / c-icap: {f.median('ours_rate') / f.median('peer_rate'):.2f} x requests/s"


@dataclasses.dataclass(frozen=True)
class WorkerRow:
    """Bodies that nobody saw before, through the workers; no peer does this."""

    name: str
    load: tuple
    connections: int = CONNECTIONS
    core: bool = True
    servers = (Clamd, Uncached)

    def measure(self, run):
        ours = run.icap("uncached", self.load, self.connections)
        one = run.icap("uncached", self.load, 1)
        run.figures.add(rate=ours.rate, gateway_us=ours.us["gateway"],
                        workers_us=ours.us["workers"], clamd_us=ours.us["clamd"], p50=p50(one))

    def text(self, f):
        clamd = f", clamd {f.text('clamd_us')}" if "/all" in self.load else ""
        yield (f"sallyport    {f.text('rate')}/s  gateway {f.text('gateway_us')} us/rq, "
               f"workers {f.text('workers_us')}{clamd}  one connection: p50 {f.text('p50')} us")


@dataclasses.dataclass(frozen=True)
class CacheRow:
    """Bodies that were seen before, next to an echo of the same size on the same gateway."""

    name: str
    size: int
    core: bool = True
    servers = (Clamd, Cached)

    def measure(self, run):
        load = (*RESPMOD, str(self.size))
        echo, hit = run.icap("cached", load), run.icap("cached", (*load, "-p", "/all"))
        run.figures.add(echo_rate=echo.rate, echo_us=echo.us["gateway"], hit_rate=hit.rate,
                        hit_us=hit.us["gateway"], engines_us=hit.us["workers"] + hit.us["clamd"],
                        rate_ratio=hit.rate / echo.rate,
                        us_ratio=hit.us["gateway"] / echo.us["gateway"])

    def text(self, f):
        yield f"echo         {f.text('echo_rate')}/s  gateway {f.text('echo_us', 1)} us/rq"
        yield (f"hit          {f.text('hit_rate')}/s  gateway {f.text('hit_us', 1)} us/rq, "
               f"workers and clamd {f.text('engines_us', 1)}")
        yield (f"hit / echo: {f.text('rate_ratio', 2)} x requests/s, {f.text('us_ratio', 2)} x CPU")


@dataclasses.dataclass(frozen=True)
class OverloadRow:
    """Polite clients while greedy ones ask for all they can get."""

    name: str
    server: type
    core: bool = True

    @property
    def servers(self):
        return (self.server,)

    def measure(self, run):
        calm = self.polite(run, "calm")
        address, seconds = run.servers[self.server.name].address(False), run.bench.args.seconds
        command = run.bench.load_command(address, False, (
            *self.load(), "-n", str(GREEDY), "--from", GREEDY_ADDRESS, "-d", str(seconds + 1),
            "--drain", "5"))
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as greedy:
            storm = self.polite(run, "storm")
            report = json.loads(greedy.communicate(timeout=60)[0])
        run.figures.note("greedy", report)
        run.figures.add(
            calm_p50=p50(calm), calm_p99=calm.report["latency_us"]["p99"],
            calm_blocked=self.blocked(calm.report), storm_p50=p50(storm),
            storm_p99=storm.report["latency_us"]["p99"], storm_blocked=self.blocked(storm.report),
            storm_block_p99=storm.report["blocked_us"]["p99"],
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
        server = run.servers[self.server.name]
        options = (*self.load(), "-n", str(POLITE), "--from", POLITE_ADDRESS,
                   "--rate", str(POLITE_RATE), "-d", str(run.bench.args.seconds), "-w", "0.5")
        command = run.bench.load_command(server.address(False), False, options)
        at = command.index("taskset")
        command[at:at] = ["chrt", "-f", "10"]
        sample = run.bench.run(command, server.watched(), [server])
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
    WorkerRow("form-1000", form(1000, 100), connections=2),
    WorkerRow("form-10-yara", form(10, 1024, "/yara"), connections=4, core=False),
    WorkerRow("form-1000-yara", form(1000, 100, "/yara"), connections=2, core=False),
    WorkerRow("form-10-clamd", form(10, 1024, "/all"), connections=4, core=False),
    OverloadRow("overload", Overloaded),
    OverloadRow("overload-queue", OverloadedQueue, core=False),
    OverloadRow("overload-wait", OverloadedWait, core=False),
]


# --- all of them -------------------------------------------------------------------------------


def rows_chosen(args):
    if args.filter:
        return [r for r in ROWS if re.search(args.filter, f"inspect/{r.name}")]
    return [r for r in ROWS if r.core or args.all]


def kinds_chosen(args, rows):
    order = [Clamd, Uncached, Cached, Overloaded, OverloadedQueue, OverloadedWait, CIcapClamd]
    kinds = [k for k in order if any(k in r.servers for r in rows)]
    if "cicap" not in args.only.split(",") or not CIcapClamd.is_installed():
        kinds = [k for k in kinds if k is not CIcapClamd]
    return kinds


def compare(args, namespace, directory):
    rows = rows_chosen(args)
    if not rows:
        raise BenchError(f"no row matches '{args.filter}'")
    bench = Bench(args, namespace, directory)
    faults = 0
    try:
        bench.start(kinds_chosen(args, rows))
        if not args.json:
            print(f"{args.rounds} rounds of {args.seconds} s, medians [min..max], congestion "
                  f"control {namespace.congestion()}, gateway on core {SERVER_CORE}, load on core "
                  f"{LOAD_CORE}, workers and clamd on both")
        for row in rows:
            figures = Figures()
            for _ in range(args.rounds):
                row.measure(Runner(bench, figures))
            report(args, row, figures)
            faults += sum(not fault.startswith("cicap") for fault in figures.faults)
    finally:
        bench.stop()
    return 1 if faults else 0


def report(args, row, figures):
    if args.json:
        print(json.dumps({"row": f"inspect/{row.name}", **figures.summary()}), flush=True)
        return
    print(f"inspect/{row.name}")
    for line in row.text(figures):
        print(f"  {line}")
    for fault, n in figures.faults.items():
        print(f"  FAULT {fault}: {n}")
    if figures.disturbed.thrown:
        print(f"  {figures.disturbed.thrown} runs thrown away, {figures.disturbed.noisy} NOISY")
    print(end="", flush=True)
