#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Measures Sallyport on this machine, next to others, in the same minutes.

    bench.py icap    --build DIR [--json] [-f REGEX] [--all] [--rounds 5] [--seconds 2]
                     [--only floor,cicap,sallyport]
    bench.py inspect (the same options; --only sallyport leaves c-icap out)

icap: what ICAP itself costs, against c-icap and a floor server. inspect: what inspection costs,
against the engines alone. README.md says what the rows are.

Needs root: everything runs in a network namespace of its own, which is removed at the end. The
server under load is pinned to one core, the load generator to another, and a run is thrown away and
repeated when something else on the machine used more than a tenth of a core. Absolute figures move
with the machine: believe the ratios.
"""
import argparse
import os
import pathlib
import signal
import sys
import tempfile

import bench_icap
import bench_inspect
from bench_machine import BenchError, Namespace


SUITES = {"icap": bench_icap.compare, "inspect": bench_inspect.compare}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("suite", choices=list(SUITES))
    parser.add_argument("--build", required=True,
                        help="build folder with sallyport and tests/bench")
    parser.add_argument("--json", action="store_true", help="one object for each row")
    parser.add_argument("-f", "--filter", help="rows whose name matches, of all rows")
    parser.add_argument("--all", action="store_true",
                        help="all rows, not only the most telling ones")
    parser.add_argument("--only", default="floor,cicap,sallyport", help="servers to measure")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--noise", type=float, default=0.10,
                        help="cores that others may use during a run")
    parser.add_argument("--retries", type=int, default=4, help="for a disturbed run")
    return parser.parse_args()


def main():
    args = arguments()
    if os.geteuid() != 0:
        print("bench.py: a network namespace needs root", file=sys.stderr)
        return 2
    if (os.cpu_count() or 1) < 2:
        print("bench.py: needs two cores, one for the load", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the clean-up runs
    try:
        with Namespace() as namespace, \
                tempfile.TemporaryDirectory(prefix="sallyport-bench-") as directory:
            return SUITES[args.suite](args, namespace, pathlib.Path(directory))
    except BenchError as error:
        print(f"bench.py: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
