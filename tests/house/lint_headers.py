#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Each header compiles alone; public ones as C99 without extensions and as C++, too."""
import concurrent.futures
import subprocess
import sys

from rooms import ROOT

FLAGS = ["-fsyntax-only", "-Wall", "-Wextra", "-Werror", "-I", "src", "-I", "include", "-x"]
INSIDE = [["gcc", "-std=gnu17", "-D_GNU_SOURCE", *FLAGS, "c"]]
PUBLIC = [["gcc", "-std=c99", "-pedantic-errors", *FLAGS, "c"], ["g++", "-std=c++11", "-pedantic-errors", *FLAGS, "c++"]]


def compile_alone(job):
    command, header = job
    text = f'#include "{header.relative_to(ROOT)}"\nextern int not_empty;\n'
    run = subprocess.run([*command, "-I", ".", "-"], input=text, text=True, capture_output=True, cwd=ROOT)
    return run.returncode == 0 or f"{header.relative_to(ROOT)} ({' '.join(command[:2])}):\n{run.stderr}"


def main():
    jobs = [(c, h) for h in sorted(ROOT.glob("src/**/*.h")) for c in INSIDE]
    jobs += [(c, h) for h in sorted(ROOT.glob("include/**/*.h")) for c in PUBLIC]
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        bad = [r for r in pool.map(compile_alone, jobs) if r is not True]
    print("\n".join(bad) or f"{len(jobs)} headers compile alone")
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
