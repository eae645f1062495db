# SPDX-License-Identifier: Apache-2.0
"""The rows of ICAP itself: Sallyport next to c-icap and to the least work that moves the same bytes."""
from bench_inspect import ROWS as INSPECT_ROWS, ClamdRow
from bench_load import LoadRow
from bench_memory import BulkRow, IdleRow, RestRow
from bench_report import All, AtLeast, AtMost, Below, NoneStarved, Resumed, Tail
from bench_servers import Sallyport, SallyportBoth, SallyportChained, SallyportSilent

RESPMOD = ("-m", "RESPMOD", "-s")
REQMOD = ("-m", "REQMOD")
PREVIEW = ("-v", "1024", "--allow-204")
PACED = ("--rate", "200")  # each of 16 connections: some 3,000 requests a second, far from full
BATCHED_FROM = 16384  # bytes: TLS bodies that fill records are held against batched records
CONNECTIONS = (1, 16, 128, 1000)

# Name, options, the target of the plain row, of the TLS row; for 16 and 128 connections.
SMALL = (
    ("options", (), AtLeast(0.80), AtLeast(0.80)),
    ("reqmod-get", REQMOD, AtLeast(0.80), AtLeast(0.80)),
    ("respmod-1k", (*RESPMOD, "1024"), AtLeast(0.75), AtLeast(0.80)),
    ("respmod-16k", (*RESPMOD, "16384"), AtLeast(0.75), AtLeast(0.80)),
)
# For people in a hurry, with those of memory_rows() that are quick.
CORE = {"options", "reqmod-get", "respmod-1k", "respmod-16k", "respmod-1k-1000", "respmod-256k",
        "preview-half", "close-options", "tls-options", "tls-respmod-1k", "tls-respmod-16k",
        "tls-respmod-256k", "tls-handshake", "tls-resumed"}


def row(name, load, tls=False, floor=(), **more):
    """A LoadRow; "tls-" before the name where it is one."""
    name = f"tls-{name}" if tls else name
    return LoadRow(name, load, tls=tls, floor=tuple(floor), core=name in CORE, **more)


def held_against(size, tls):
    """The floor of a row with bodies of |size| bytes."""
    return (("batched", True),) if tls and size >= BATCHED_FROM else ()


def size_of(load):
    return int(load[load.index("-s") + 1]) if "-s" in load else 0


def small_target(name, n, tls, target):
    """For one connection at a time the wake-up of an idle core is what is measured."""
    if n == 1:
        return None
    if n < 1000:
        return target
    if name == "respmod-1k" and not tls:
        return All(AtLeast(0.70), NoneStarved(), Tail(2))
    return NoneStarved()


def small_rows():
    for tls in (False, True):
        for name, load, plain, over_tls in SMALL:
            for n in CONNECTIONS:
                yield row(name if n == 16 else f"{name}-{n}", load, tls, connections=n,
                          floor=held_against(size_of(load), tls), figure="p50" if n == 1 else "rate",
                          target=small_target(name, n, tls, over_tls if tls else plain))


def large_rows():
    for tls in (False, True):
        for name, size, share in (("respmod-256k", 262144, 0.60), ("respmod-4m", 4194304, 0.70)):
            yield row(name, (*RESPMOD, str(size)), tls, floor=held_against(size, tls),
                      target=AtLeast(0.80 if tls else share))


def preview_rows():
    """Bodies that fit; 16 KiB of which none, half (every other request goes to an echo that wants
    all of it) and none go on after 1024 bytes; and without a preview."""
    for tls in (False, True):
        batched = held_against(16384, tls)
        large = (*RESPMOD, "16384", *PREVIEW)
        target = AtLeast(0.75)
        yield row("preview-fits", (*RESPMOD, "1000", *PREVIEW), tls, expect=204, target=target)
        yield row("preview-204", large, tls, expect=204, target=target)
        yield row("preview-half", large, tls, floor=(("alternate", True), *batched),
                  paths=("--also", "/whole"), target=target)
        yield row("preview-206", (*large, "--allow-206"), tls, expect=206, paths=("-p", "/partial"),
                  floor=(("answer", 206),), target=target)
        yield row("allow-204-16k", (*RESPMOD, "16384", "--allow-204"), tls, expect=204,
                  floor=(("answer", 204),), target=AtLeast(0.80))


def closing_rows():
    """A connection for each request. The load generator is full first, so the server's CPU tells."""
    one_k = (*RESPMOD, "1024", "--close")
    more = {"figure": "us", "target": AtMost(1.25)}
    yield row("close-options", ("--close",), **more)
    yield row("close-respmod-1k", one_k, **more)
    more["target"] = AtMost(1.08)
    yield row("handshake", ("--close",), True, **more)
    yield row("close-respmod-1k", one_k, True, **more)
    more["target"] = All(AtMost(1.08), Resumed())
    yield row("resumed", ("--close", "--resume"), True, **more)


def latency_rows():
    for tls in (False, True):
        for name, load, _, _ in SMALL:
            yield row(f"latency-{name}", (*load, *PACED), tls, figure="p99",
                      floor=held_against(size_of(load), tls))


def record_rows():
    """Without records, and with sealed ones; the gateway that writes them, as in production, is
    beside it."""
    for tls in (False, True):
        for kind, ours in (("off", SallyportSilent), ("sealed", SallyportChained)):
            for name, load, _, _ in SMALL:
                yield row(f"records-{kind}-{name}", load, tls,
                          floor=held_against(size_of(load), tls), ours=ours, beside=(Sallyport,))


def both_cores_rows():
    both = {"both": True, "ours": SallyportBoth}
    for tls in (False, True):
        for name, load, n in (("respmod-1k", (*RESPMOD, "1024"), 128),
                              ("respmod-256k", (*RESPMOD, "262144"), 16)):
            floor = (("both", True), *held_against(size_of(load), tls))
            yield row(f"both-cores-{name}", load, tls, connections=n, floor=floor, **both)
    yield row("both-cores-respmod-1k-1000", (*RESPMOD, "1024"), connections=1000,
              floor=(("both", True),), target=NoneStarved(), **both)
    yield row("both-cores-handshake", ("--close",), True, floor=(("both", True),), figure="us",
              **both)


def memory_rows():
    yield RestRow("rest", Below(8, "MiB"))
    yield IdleRow("idle", False, Below(2, "KiB"))
    yield IdleRow("tls-idle", True, Below(18, "KiB"))
    yield BulkRow("bulk-64x64m", False, Below(16, "MiB"))
    yield BulkRow("tls-bulk-64x64m", True, Below(24, "MiB"))


def clamd_rows():
    """Those of the suite inspect; they are no matter of minutes, so not of the core."""
    for r in INSPECT_ROWS:
        if isinstance(r, ClamdRow):
            yield r.of("icap")


ROWS = [*small_rows(), *large_rows(), *preview_rows(), *closing_rows(), *latency_rows(),
        *record_rows(), *both_cores_rows(), *memory_rows(), *clamd_rows()]
HEADING = "server on core 0, load on core 1 (both-cores rows: both on both)"
