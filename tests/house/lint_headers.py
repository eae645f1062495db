#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Each header compiles alone, public ones as C99 without extensions and as C++, too; and those of a room
go together."""
import concurrent.futures
import subprocess
import sys

from rooms import ROOT

FLAGS = ["-fsyntax-only", "-Wall", "-Wextra", "-Werror", "-I", "src", "-I", "include", "-x"]
INSIDE = [["gcc", "-std=gnu17", "-D_GNU_SOURCE", *FLAGS, "c"]]
PUBLIC = [["gcc", "-std=c99", "-pedantic-errors", *FLAGS, "c"], ["g++", "-std=c++11", "-pedantic-errors", *FLAGS, "c++"]]


def compile_headers(job):
    command, headers = job
    names = [str(h.relative_to(ROOT)) for h in headers]
    text = "".join(f'#include "{name}"\n' for name in names) + "extern int not_empty;\n"
    run = subprocess.run([*command, "-I", ".", "-"], input=text, text=True, capture_output=True, cwd=ROOT)
    return run.returncode == 0 or f"{', '.join(names)} ({' '.join(command[:2])}):\n{run.stderr}"


def main():
    alone = [(c, [h]) for h in sorted(ROOT.glob("src/**/*.h")) for c in INSIDE]
    alone += [(c, [h]) for h in sorted(ROOT.glob("include/**/*.h")) for c in PUBLIC]
    rooms = [(c, sorted(room.glob("*.h"))) for room in sorted(ROOT.glob("src/*/")) for c in INSIDE]
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        bad = [r for r in pool.map(compile_headers, alone + rooms) if r is not True]
    print("\n".join(bad) or f"{len(alone)} headers compile alone, those of {len(rooms)} rooms together")
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
