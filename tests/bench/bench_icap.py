# SPDX-License-Identifier: Apache-2.0
"""Echo: Sallyport next to c-icap and to the least work that moves the same bytes."""
import dataclasses
import json
import re
import statistics

from bench_machine import BenchError
from bench_runs import Bench, Disturbed
from bench_servers import (LOAD_CORE, SERVER_CORE, CIcap, Floor, FloorAlternate, FloorBatched,
                           Sallyport)


@dataclasses.dataclass(frozen=True)
class Row:
    name: str
    load: tuple           # options for icapload
    connections: int = 16
    tls: bool = False
    core: bool = False    # measured without --all and -f
    floor: str = "floor"  # which floor server is the measure: floor, batched or alternate


def row(name, *load, **more):
    return Row(name, load, **more)


RESPMOD = ("-m", "RESPMOD", "-s")
PREVIEW = ("-v", "1024", "--allow-204")
ICAP_ROWS = [
    row("options", core=True),
    row("reqmod-get", "-m", "REQMOD", core=True),
    row("respmod-1k", *RESPMOD, "1024", core=True),
    row("respmod-16k", *RESPMOD, "16384", core=True),
    row("tls-respmod-1k", *RESPMOD, "1024", tls=True, core=True),
    row("respmod-1k-1000", *RESPMOD, "1024", connections=1000),
    row("respmod-256k", *RESPMOD, "262144"),
    row("respmod-4m", *RESPMOD, "4194304"),
    row("preview-fits", *RESPMOD, "1000", *PREVIEW),
    row("preview-16k", *RESPMOD, "16384", *PREVIEW, floor="alternate"),
    row("allow-204-16k", *RESPMOD, "16384", "--allow-204"),
    row("close-options", "--close"),
    row("close-respmod-1k", *RESPMOD, "1024", "--close"),
    row("tls-options", tls=True),
    row("tls-respmod-16k", *RESPMOD, "16384", tls=True, floor="batched"),
    row("tls-respmod-256k", *RESPMOD, "262144", tls=True, floor="batched"),
    row("tls-respmod-4m", *RESPMOD, "4194304", tls=True, floor="batched"),
    row("tls-handshake", "--close", tls=True),
    row("tls-resumed", "--close", "--resume", tls=True),
]


class Series:
    """All runs of one row against one server."""

    def __init__(self):
        self.samples, self.disturbed, self.faults = [], Disturbed(), {}

    def add(self, sample):
        self.samples.append(sample)
        for name, n in sample.report["errors"].items():
            if name != "starved":
                self.faults[name] = self.faults.get(name, 0) + n

    def median(self, value):
        return statistics.median(value(s) for s in self.samples)

    def rate(self):
        return self.median(lambda s: s.rate)

    def us(self):
        return self.median(lambda s: s.us["server"])

    def starved(self):
        return max(s.report["starved"] for s in self.samples)

    def summary(self):
        rates = [s.rate for s in self.samples]
        us = [s.us["server"] for s in self.samples]
        status = self.samples[-1].report["status"]
        return {
            "rate": round(self.rate(), 1), "min": round(min(rates), 1), "max": round(max(rates), 1),
            "us": round(self.us(), 2), "us_min": round(min(us), 2), "us_max": round(max(us), 2),
            "p50_us": self.median(lambda s: s.report["latency_us"]["p50"]),
            "p99_us": self.median(lambda s: s.report["latency_us"]["p99"]),
            "mb_per_s": round(self.median(lambda s: s.report["body_bytes_per_s"]) / 1e6, 1),
            "load_busy": round(self.median(lambda s: s.load_busy), 2),
            "starved": self.starved(), "status": status, "errors": self.faults,
            "runs": len(self.samples), "thrown": self.disturbed.thrown,
            "noisy": self.disturbed.noisy,
        }


# --- measuring ---------------------------------------------------------------------------------


def run(bench, row, server, series):
    options = ["-d", str(bench.args.seconds), "-w", "0.3", "-n", str(row.connections),
               *row.load, *(("--fill",) if server.fill else ())]
    command = bench.load_command(server.address(row.tls), row.tls, options)
    series.add(bench.quiet_run(command, {"server": server.cpu}, [server], series.disturbed))


def measure(bench, row):
    """One series for each server that has something to say about |row|, in turn."""
    servers = [s for s in bench.servers if not isinstance(s, Floor) or s.name == row.floor]
    series = {s.name: Series() for s in servers}
    for _ in range(bench.args.rounds):
        for server in servers:
            run(bench, row, server, series[server.name])
    return series


# --- the report --------------------------------------------------------------------------------


def ratio(a, b):
    return round(a.rate() / b.rate(), 3) if a and b and b.rate() > 0 else None


def row_json(row, series):
    ours, peer, floor = (series.get(n) for n in ("sallyport", "cicap", row.floor))
    rates = [round(s.rate(), 1) if s else None for s in (ours, peer, floor)]
    return {"row": f"icap/{row.name}", "ours": rates[0], "peer": rates[1], "floor": rates[2],
            "unit": "requests/s", "ratio": ratio(ours, peer), "floor_ratio": ratio(ours, floor),
            "detail": {name: s.summary() for name, s in series.items()}}


def cell(name, s):
    d = s.summary()
    text = (f"  {name:<10}{d['rate']:>10,.0f}/s [{d['min']:,.0f}..{d['max']:,.0f}]"
            f"  {d['us']:>8.1f} us/rq [{d['us_min']:.1f}..{d['us_max']:.1f}]"
            f"  p50 {d['p50_us']:.0f} p99 {d['p99_us']:.0f} us  load {d['load_busy']:.0%}")
    if d["starved"]:
        text += f"  STARVED {d['starved']}"
    if d["status"]["100"] or d["status"]["204"]:
        counts = ", ".join(f"{status}: {n}" for status, n in d["status"].items())
        text += f"  ({counts})"
    if d["thrown"]:
        text += f"  {d['thrown']} thrown away"
    if d["noisy"]:
        text += f"  {d['noisy']} NOISY"
    for fault, n in d["errors"].items():
        text += f"  FAULT {fault}: {n}"
    return text


def row_text(row, series):
    lines = [f"icap/{row.name}"]
    lines += [cell(name, s) for name, s in series.items()]
    ours, peer, floor = (series.get(n) for n in ("sallyport", "cicap", row.floor))
    for a, b, words in ((ours, peer, "ours / c-icap"), (ours, floor, "ours / floor"),
                        (peer, floor, "c-icap / floor")):
        if a and b and b.rate() > 0 and b.us() > 0:
            lines.append(f"  {words}: {a.rate() / b.rate():.2f} x requests/s, "
                         f"{a.us() / b.us():.2f} x CPU")
    return "\n".join(lines)


def rows_chosen(args):
    if args.filter:
        return [r for r in ICAP_ROWS if re.search(args.filter, f"icap/{r.name}")]
    return [r for r in ICAP_ROWS if r.core or args.all]


def kinds_chosen(args, rows):
    only = args.only.split(",")
    kinds = {"sallyport": [Sallyport], "cicap": [CIcap],
             "floor": [k for k in (Floor, FloorBatched, FloorAlternate)
                       if any(r.floor == k.name for r in rows)]}
    unknown = [name for name in only if name not in kinds]
    if unknown:
        raise BenchError(f"--only takes {', '.join(kinds)}, got '{unknown[0]}'")
    return [kind for name in only for kind in kinds[name]]


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
                  f"control {namespace.congestion()}, server on core {SERVER_CORE}, "
                  f"load on core {LOAD_CORE}")
        for row in rows:
            series = measure(bench, row)
            print(json.dumps(row_json(row, series)) if args.json else row_text(row, series),
                  flush=True)
            faults += sum(bool(s.faults) for n, s in series.items() if n != "cicap")
            faults += bool("sallyport" in series and series["sallyport"].starved())
    finally:
        bench.stop()
    return 1 if faults else 0
