#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Measures Sallyport on this machine, next to others, in the same minutes.

    bench.py icap    --build DIR [--json | --markdown] [-f REGEX] [--all] [--rounds 5] [--seconds 2]
                     [--only floor,cicap,cicap-default,nginx,sallyport]
    bench.py inspect (the same options)
    bench.py abuse   (the same options)
    bench.py tenants (the same options)
    bench.py print   (the same options)
    bench.py icap --list

icap: what ICAP itself costs, against c-icap and a floor server. inspect: what inspection costs,
against the engines alone. abuse: what well-behaved clients notice of others. tenants: what a login costs,
and what tenants notice of each other. print: what the print gateway adds to cupsd, against nginx. README.md
says what the rows are.

Needs root: everything runs in a network namespace of its own, which is removed at the end. The
server under load is pinned to one core, the load generator to another, and a run is thrown away and
repeated when something else on the machine used more than a tenth of a core. Absolute figures move
with the machine: believe the ratios. Exit code: 0, 1 for a wrong answer of a server of ours, 2 for
trouble. A target that is missed is printed.
"""
import argparse
import os
import pathlib
import signal
import sys
import tempfile

import bench_suite
from bench_machine import BenchError, Namespace


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("suite", choices=list(bench_suite.SUITES))
    parser.add_argument("--build", help="build folder with sallyport and tests/bench")
    parser.add_argument("--list", action="store_true", help="names and targets of all rows")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", dest="format", action="store_const", const="json", default="text",
                      help="one object for each row")
    form.add_argument("--markdown", dest="format", action="store_const", const="markdown",
                      help="a table for documents")
    parser.add_argument("-f", "--filter", help="rows whose name matches, of all rows")
    parser.add_argument("--all", action="store_true",
                        help="all rows, not only the most telling ones")
    parser.add_argument("--only", default=",".join(bench_suite.GROUPS), help="servers to measure")
    parser.add_argument("--rounds", type=int, help="5, of tenants and print 3")
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--noise", type=float, default=0.10,
                        help="cores that others may use during a run")
    parser.add_argument("--retries", type=int, default=4, help="for a disturbed run")
    args = parser.parse_args()
    if args.rounds is None:
        args.rounds = bench_suite.rounds_usual(args.suite)
    return args


def measure(args):
    bench_suite.check(args)
    if not args.build:
        raise BenchError("--build is missing: the folder with sallyport and tests/bench")
    if os.geteuid() != 0:
        raise BenchError("a network namespace needs root")
    if (os.cpu_count() or 1) < 2:
        raise BenchError("needs two cores, one for the load")
    with Namespace() as namespace, \
            tempfile.TemporaryDirectory(prefix="sallyport-bench-") as directory:
        return bench_suite.run(args.suite, args, namespace, pathlib.Path(directory))


def main():
    args = arguments()
    if args.list:
        print("\n".join(bench_suite.listing(args.suite)))
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the clean-up runs
    try:
        return measure(args)
    except BenchError as error:
        print(f"bench.py: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
