#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""How long our functions are: median, 99th percentile, longest; fails on one over 150 lines."""
import json
import subprocess
import sys

from rooms import ROOT

LONGEST = 150


def functions():
    """(lines, file, name) of every function in src/."""
    files = sorted(str(p.relative_to(ROOT)) for p in ROOT.glob("src/**/*.c"))
    out = subprocess.run(["ctags", "--output-format=json", "--fields=+ne", "--kinds-C=f", "-f", "-", *files],
                         cwd=ROOT, check=True, text=True, capture_output=True).stdout
    for line in out.splitlines():
        tag = json.loads(line)
        if "end" in tag:
            yield tag["end"] - tag["line"] + 1, tag["path"], tag["name"]


def main():
    found = sorted(functions(), reverse=True)
    sizes = [n for n, _, _ in found]
    print(f"{len(sizes)} functions: median {sizes[len(sizes) // 2]} lines, 99 % {sizes[len(sizes) // 100]}, longest:")
    for n, path, name in found[:5]:
        print(f"  {n:4} {path} {name}")
    sys.exit(any(n > LONGEST for n in sizes))


if __name__ == "__main__":
    main()
