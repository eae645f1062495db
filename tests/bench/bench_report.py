# SPDX-License-Identifier: Apache-2.0
"""What a row found, and how it is printed. Nothing here measures: values in, text out."""
import dataclasses
import json
import math
import statistics

# Keys of a row in JSON, in this order; every suite has them. What more there is, is in "detail".
KEYS = ("row", "ours", "peer", "floor", "unit", "ratio", "floor_ratio", "target", "met", "detail")


def number(value):
    """Three digits or more, never an exponent."""
    size = abs(value)
    return f"{value:,.0f}" if size >= 100 else f"{value:.1f}" if size >= 10 else f"{value:.2f}"


@dataclasses.dataclass(frozen=True)
class Figure:
    """A median and its range."""
    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values):
        return cls(statistics.median(values), min(values), max(values))

    def __str__(self):
        return f"{number(self.median)} [{number(self.low)}..{number(self.high)}]"

    def rounded(self):
        return round(self.median, 3)


def ratio(a, b):
    """a / b of the medians, or None where one of them is missing."""
    return a.median / b.median if a and b and b.median > 0 else None


# --- targets -----------------------------------------------------------------------------------


class Target:
    """|text| says what is wanted; met() whether an Outcome has it, None: that cannot be told."""
    text = ""

    def met(self, outcome):
        raise NotImplementedError


class AtLeast(Target):
    """A share of the floor's figure, where more is better."""

    def __init__(self, share):
        self.share, self.text = share, f">= {share:.2f} x floor"

    def met(self, outcome):
        r = ratio(outcome.ours, outcome.floor)
        return None if r is None else r >= self.share


class AtMost(Target):
    """A multiple of the floor's figure, where less is better."""

    def __init__(self, factor, of="floor"):
        self.factor, self.text = factor, f"<= {factor:.2f} x {of}"

    def met(self, outcome):
        r = ratio(outcome.ours, outcome.floor)
        return None if r is None else r <= self.factor


class Below(Target):
    """A figure of its own."""

    def __init__(self, limit, unit):
        self.limit, self.text = limit, f"<= {limit:g} {unit}"

    def met(self, outcome):
        return outcome.ours.median <= self.limit if outcome.ours else None


class Above(Target):
    """So much more than the floor at most."""

    def __init__(self, limit, unit, of="floor"):
        self.limit, self.text = limit, f"<= {of} + {limit:g} {unit}"

    def met(self, outcome):
        if not outcome.ours or not outcome.floor:
            return None
        return outcome.ours.median - outcome.floor.median <= self.limit


class NotAbove(Target):
    """The peer's figure, or less."""

    def __init__(self, peer):
        self.text = f"<= {peer}"

    def met(self, outcome):
        if not outcome.ours or not outcome.peer:
            return None
        return outcome.ours.median <= outcome.peer.median


class NoneStarved(Target):
    text = "none starved"

    def met(self, outcome):
        return outcome.facts["starved"] == 0 if "starved" in outcome.facts else None


class Tail(Target):
    """The slowest of a hundred answers against the usual one."""

    def __init__(self, factor):
        self.factor, self.text = factor, f"p99 <= {factor:g} x p50"

    def met(self, outcome):
        if not outcome.facts.get("p50"):
            return None
        return outcome.facts["p99"] <= self.factor * outcome.facts["p50"]


class Resumed(Target):
    """Else the row is about full handshakes. The first session of each connection is one."""
    text = "sessions resumed"

    def met(self, outcome):
        return outcome.facts["resumed"] >= 0.9 if "resumed" in outcome.facts else None


class All(Target):
    def __init__(self, *targets):
        self.targets, self.text = targets, ", ".join(t.text for t in targets)

    def met(self, outcome):
        met = [t.met(outcome) for t in self.targets]
        return False if False in met else None if None in met else True


# --- what a row found --------------------------------------------------------------------------


@dataclasses.dataclass
class Outcome:
    row: str
    unit: str
    ours: Figure = None
    peer: Figure = None
    floor: Figure = None
    target: Target = None
    facts: dict = dataclasses.field(default_factory=dict)   # of ours, that targets ask for
    us: dict = dataclasses.field(default_factory=dict)      # role -> Figure: the server's CPU
    lines: list = dataclasses.field(default_factory=list)   # for people
    detail: dict = dataclasses.field(default_factory=dict)  # for machines
    faults: dict = dataclasses.field(default_factory=dict)  # "who: what" -> how often
    thrown: int = 0
    noisy: int = 0
    peer_title: str = "c-icap"

    def met(self):
        return self.target.met(self) if self.target else None


def as_object(outcome):
    """The row for a machine, with KEYS. Medians; ranges are in "detail"."""
    ratios = [ratio(outcome.ours, outcome.peer), ratio(outcome.ours, outcome.floor)]
    figures = [outcome.ours, outcome.peer, outcome.floor]
    spread = {role: [round(f.low, 3), round(f.high, 3)]
              for role, f in zip(("ours", "peer", "floor"), figures) if f}
    values = (outcome.row, *(f.rounded() if f else None for f in figures), outcome.unit,
              *(None if r is None else round(r, 3) for r in ratios),
              outcome.target.text if outcome.target else None, outcome.met(),
              {"range": spread, **outcome.detail, "errors": outcome.faults,
               "thrown": outcome.thrown, "noisy": outcome.noisy})
    return dict(zip(KEYS, values))


def as_json(outcome):
    return json.dumps(as_object(outcome))


def verdict(outcome):
    return {True: "met", False: "MISSED", None: "not measured"}[outcome.met()]


def ratio_lines(outcome):
    peer = outcome.peer_title
    roles = {f"ours / {peer}": ("ours", "peer"), "ours / floor": ("ours", "floor"),
             f"{peer} / floor": ("peer", "floor")}
    for words, (a, b) in roles.items():
        r = ratio(getattr(outcome, a), getattr(outcome, b))
        if r is None:
            continue
        cpu = ratio(outcome.us.get(a), outcome.us.get(b))
        yield f"{words}: {r:.2f} x {outcome.unit}" + (f", {cpu:.2f} x CPU" if cpu else "")


def as_text(outcome):
    lines = [f"{outcome.row}", *(f"  {line}" for line in outcome.lines)]
    lines += [f"  {line}" for line in ratio_lines(outcome)]
    if outcome.target:
        lines.append(f"  target: {outcome.target.text}: {verdict(outcome)}")
    lines += [f"  FAULT {fault}: {n}" for fault, n in outcome.faults.items()]
    if outcome.thrown:
        lines.append(f"  {outcome.thrown} disturbed runs thrown away"
                     + (f", {outcome.noisy} kept although NOISY" if outcome.noisy else ""))
    return "\n".join(lines)


# --- a table for documents ---------------------------------------------------------------------


def markdown_head(peer="c-icap"):
    return (f"| row | unit | Sallyport | {peer} | floor | × {peer} | × floor | target | met |\n"
            "| --- | --- | ---: | ---: | ---: | ---: | ---: | --- | --- |")


def markdown_cell(outcome, role):
    figure, us = getattr(outcome, role), outcome.us.get(role)
    if not figure:
        return "–"
    return str(figure) + (f" ({number(us.median)} µs)" if us else "")


def as_markdown(outcome):
    """One line of the table; µs in brackets: the server's CPU time for a request."""
    ratios = [ratio(outcome.ours, outcome.peer), ratio(outcome.ours, outcome.floor)]
    marks = {True: "yes", False: "no", None: "–"}
    cells = [f"`{outcome.row}`", outcome.unit,
             *(markdown_cell(outcome, role) for role in ("ours", "peer", "floor")),
             *("–" if r is None else f"{r:.2f}" for r in ratios),
             outcome.target.text.replace("<=", "≤").replace(">=", "≥").replace(" x ", " × ")
             if outcome.target else "–", marks[outcome.met()]]
    if outcome.noisy:
        cells[0] += " (noisy)"
    return "| " + " | ".join(cells) + " |"


# --- several load generators as one ------------------------------------------------------------

SUMS = ("requests", "requests_per_s", "body_bytes_per_s", "requests_total", "bytes_in", "bytes_out",
        "connections", "starved", "unfinished", "connects", "handshakes", "resumed", "reconnects",
        "held", "blocked", "cpu_seconds")


def add_counts(counts):
    total = {}
    for one in counts:
        for name, n in one.items():
            total[name] = total.get(name, 0) + n
    return total


def weighted(latencies, weights):
    """Percentiles of a mixture are not those of its parts; for parts that do the same work their
    mean is near enough. The largest is the largest."""
    whole = sum(weights)
    mixed = {name: (sum(x[name] * w for x, w in zip(latencies, weights)) / whole if whole else 0.0)
             for name in latencies[0] if name != "max"}
    return {**mixed, "max": max(x["max"] for x in latencies)}


def merged(reports):
    """What generators that ran at the same time say together."""
    if len(reports) == 1:
        return reports[0]
    weights = [r["requests"] for r in reports]
    total = {name: math.fsum(r[name] for r in reports) for name in SUMS if name in reports[0]}
    total["seconds"] = max(r["seconds"] for r in reports)
    for name in ("status", "errors"):
        total[name] = add_counts(r[name] for r in reports)
    for name in ("latency_us", "blocked_us"):
        total[name] = weighted([r[name] for r in reports], weights)
    total["details"] = {name: text for r in reports for name, text in r["details"].items()}
    return total
