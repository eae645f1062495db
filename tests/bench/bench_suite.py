# SPDX-License-Identifier: Apache-2.0
"""All rows of a suite, one after the other, as they are chosen and printed."""
import re

import bench_abuse
import bench_icap
import bench_inspect
import bench_print
import bench_tenants
from bench_machine import BenchError, description
from bench_report import as_json, as_markdown, as_text, markdown_head
from bench_runs import Bench

SUITES = {"icap": bench_icap, "inspect": bench_inspect, "abuse": bench_abuse, "tenants": bench_tenants,
          "print": bench_print}
GROUPS = ("floor", "cicap", "cicap-default", "nginx", "sallyport")  # words for --only


def rows_chosen(suite, args):
    """By -f of all rows, else those of the core, or --all."""
    rows = SUITES[suite].ROWS
    if args.filter:
        rows = [r for r in rows if any(re.search(args.filter, f"{suite}/{n}") for n in r.names)]
        if not rows:
            raise BenchError(f"no row matches '{args.filter}'; --list has them all")
        return rows
    return [r for r in rows if r.core or args.all]


def rounds_usual(suite):
    return getattr(SUITES[suite], "ROUNDS", 5)


def check(args):
    """What argparse does not see."""
    unknown = [name for name in args.only.split(",") if name not in GROUPS]
    if unknown:
        raise BenchError(f"--only takes {', '.join(GROUPS)}, got '{unknown[0]}'")
    if args.filter:
        try:
            re.compile(args.filter)
        except re.error as error:
            raise BenchError(f"-f takes a regular expression, got '{args.filter}': {error}") from None
    if args.rounds < 1 or args.seconds <= 0 or args.retries < 0:
        raise BenchError("--rounds and --seconds have to be above 0, --retries not below")


def listing(suite):
    """Every row with its target, one a line."""
    for row in SUITES[suite].ROWS:
        for name in row.names:
            # of two figures the second one has the target
            target = row.target.text if row.target and name == row.names[-1] else ""
            yield f"{suite}/{name:<32}{'core' if row.core else '':<6}{target}".rstrip()


def opening(suite, args, namespace):
    n = f"{args.rounds} round{'s' if args.rounds > 1 else ''} of {args.seconds:g} s"
    return (f"{n}, medians [min..max]; {description()}, congestion control "
            f"{namespace.congestion()}, {SUITES[suite].HEADING}")


FORMATS = {"json": as_json, "markdown": as_markdown, "text": as_text}


def is_ours(fault):
    """Faults of a peer are its own; they are printed."""
    return not fault.startswith(("cicap", "nginx"))


def run(suite, args, namespace, directory):
    """Exit code: 1 when a server of ours gave a wrong answer. A missed target is no fault: what is
    right on one machine may be late on another."""
    rows = rows_chosen(suite, args)
    bench = Bench(args, namespace, directory)
    ours = 0
    try:
        if args.format == "text":
            print(opening(suite, args, namespace), flush=True)
        elif args.format == "markdown":
            head = markdown_head(getattr(SUITES[suite], "PEER", "c-icap"))
            print(f"{opening(suite, args, namespace)}\n\n{head}", flush=True)
        for row in rows:
            for outcome in row.measure(bench):
                print(FORMATS[args.format](outcome), flush=True)
                ours += any(is_ours(fault) for fault in outcome.faults)
    finally:
        bench.stop()
    if args.format == "text" and not args.filter and not args.all:
        print(f"{len(SUITES[suite].ROWS) - len(rows)} more rows with --all, some with -f")
    return 1 if ours else 0
