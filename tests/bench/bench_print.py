# SPDX-License-Identifier: Apache-2.0
"""Printing: what a gateway in front of cupsd costs, next to nginx in front of it, and to cupsd alone."""
import dataclasses

from bench_inspect import InspectRow, p50
from bench_print_servers import QUEUE, SCANNED, Cupsd, Nginx, Printing
from bench_report import NotAbove

ROUNDS = 3           # of the suite: all of it in about three minutes
CROWD = 16           # connections, where a row looks at more than one
PEER = "nginx"
SMALL_US, LARGE_US = 20, 40  # what a gateway may add to three attributes, to all of them
ROLES = {"floor": Cupsd, "peer": Nginx, "ours": Printing}
HEADING = ("cupsd and who stands in front of it on core 0, load on core 1, workers on both; cupsd is always asked "
           "in clear text")


@dataclasses.dataclass(frozen=True)
class PrintRow(InspectRow):
    """One load on cupsd, and on each of those in front of it, in turn."""

    name: str
    load: tuple               # options for ippload
    tls: bool = False         # towards those in front
    limit: int = None         # us that a gateway may add
    crowd: bool = False       # also with many connections
    ours: str = QUEUE         # the printer at Sallyport
    figure: str = "added"     # that stands for the row
    unit: str = "us p50 added"
    core: bool = True
    suite = "print"
    servers = tuple(ROLES.values())

    @property
    def target(self):
        """None where we do what the peer does not."""
        return NotAbove(PEER) if self.ours == QUEUE else None

    def chosen(self, f):
        """What cupsd takes alone, and what the others take beyond that."""
        alone = {"added": "p50", "us": "us"}[self.figure]
        figures = {"floor": f.figure(f"floor_{alone}"), **{r: f.figure(f"{r}_{self.figure}") for r in ("peer", "ours")}}
        us = {role: f.figure(f"{role}_us") for role in ROLES if f.has(f"{role}_us")}
        return {**figures, "us": us if self.figure != "us" else {}}

    def outcome(self, figures):
        outcome = super().outcome(figures)
        outcome.peer_title = PEER
        outcome.detail["limit"] = self.limits(figures)
        return outcome

    def limits(self, f):
        """Is what we add below |limit|, too? None where that was not measured, or there is no limit."""
        met = {name: f.median(f"ours_{name}") <= self.limit if self.limit and f.has(f"ours_{name}") else None
               for name in ("added", "us")}
        return {"us": self.limit, "p50_met": met["added"], "cpu_met": met["us"]}

    # --- runs ---

    def round(self, run):
        roles = [role for role, kind in ROLES.items() if run.has(kind)]
        first = len(run.figures.values.get(f"{roles[0]}_us", ())) % len(roles)  # who comes first changes
        one = {}
        for role in roles[first:] + roles[:first]:
            one[role] = self.sample(run, role, 1)
            self.note(run, role, one[role])
            if self.crowd:
                self.note(run, f"{role}_crowd", self.sample(run, role, CROWD))
        for role in ("peer", "ours"):
            if role in one and "floor" in one:
                run.figures.add(**{f"{role}_added": p50(one[role]) - p50(one["floor"])})

    def sample(self, run, role, connections):
        server = run.bench.server(ROLES[role])
        path = f"/printers/{self.ours if role == 'ours' else QUEUE}"
        command = server.ipp_load(self.tls and role != "floor", "-d", str(run.bench.args.seconds), "-w", "0.3",
                                  "-n", str(connections), "-p", path, *self.load)
        backend = () if role == "floor" else (server.backend(),)
        return run.measured(server.name, command, server.watched(), [server, *backend])

    @staticmethod
    def note(run, who, sample):
        report = sample.report
        figures = {"us" if name == "server" else f"{name}_us": us for name, us in sample.us.items()}
        figures.update(p50=report["latency_us"]["p50"], p99=report["latency_us"]["p99"], rate=sample.rate,
                       octets=report["body_bytes_per_s"] / max(report["requests_per_s"], 1e-9))
        run.figures.add(**{f"{who}_{name}": value for name, value in figures.items()})

    # --- for people ---

    def text(self, f):
        for role, kind in ROLES.items():
            if f.has(f"{role}_p50"):
                yield from self.role_text(f, role, kind.title)
            else:
                yield f"{kind.title:<12} not measured" + ("" if kind.is_installed() else ": it is not installed")
        if self.limit and f.has("ours_added"):
            yield (f"Sallyport adds {f.text('ours_added')} us of p50, {f.text('ours_us')} us of CPU "
                   f"(to be {self.limit} us at most)")

    def role_text(self, f, role, title):
        yield f"{title:<12} {self.load_text(f, role)}"
        if f.has(f"{role}_crowd_rate"):
            yield f"{f'{CROWD} at once':<12} {self.load_text(f, f'{role}_crowd')}"

    def load_text(self, f, who):
        cpu = f"{f.text(f'{who}_us')} us/rq"
        if f.has(f"{who}_workers_us") and self.ours == SCANNED:
            cpu += f", workers {f.text(f'{who}_workers_us')}"
        if f.has(f"{who}_cupsd_us"):
            cpu += f", cupsd {f.text(f'{who}_cupsd_us')}"
        return f"p50 {f.text(f'{who}_p50')} us, p99 {f.text(f'{who}_p99')}  {f.text(f'{who}_rate')}/s  CPU {cpu}"


@dataclasses.dataclass(frozen=True)
class HandshakeRow(PrintRow):
    """A connection and a handshake for each request; what it costs is CPU, and of that what is not cupsd's. cupsd alone
    has a connection for each request, too."""

    tls: bool = True
    figure: str = "us"
    unit: str = "us CPU/request"


ATTRIBUTES, SMALL = ("-o", "attributes"), ("-o", "attributes-small")
JOB = ("-o", "print-job", "-s", str(1 << 20))
ROWS = [
    PrintRow("attributes", ATTRIBUTES, limit=LARGE_US, crowd=True),
    PrintRow("attributes-small", SMALL, limit=SMALL_US, crowd=True),
    PrintRow("attributes-tls", ATTRIBUTES, tls=True, limit=LARGE_US, crowd=True),
    PrintRow("job-1m", JOB),
    PrintRow("job-1m-tls", JOB, tls=True),
    PrintRow("job-1m-scanned", JOB, ours=SCANNED),
    HandshakeRow("close-attributes-tls", (*ATTRIBUTES, "--close")),
]
