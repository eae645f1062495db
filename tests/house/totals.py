#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What ran and how it ended: reads what meson, the house checks and pytest leave.

    totals.py names BUILD PATTERN [SUITE]   names of meson tests that contain PATTERN
    totals.py targets BUILD PATTERN [SUITE] the files that these tests need built
    totals.py sum RESULTS                   the closing line; exit code 1 when anything failed

RESULTS holds unit-*.json (meson's testlog.json), house.txt (lines "passed NAME", "failed NAME") and
e2e*.xml (pytest's JUnit file). A cmocka program counts with each of its tests, any other as one.
"""
import json
import pathlib
import re
import sys
import xml.etree.ElementTree

CMOCKA = {
    "passed": re.compile(r"^\[  PASSED  \] (\d+) test\(s\)", re.M),
    "failed": re.compile(r"^\[  FAILED  \] \S+: (\d+) test\(s\)|^\[  FAILED  \] (\d+) test\(s\)", re.M),
    "skipped": re.compile(r"^\[  SKIPPED \] \S+: (\d+) test\(s\)|^\[  SKIPPED \] (\d+) test\(s\)", re.M),
}
MESON = {"OK": "passed", "EXPECTEDFAIL": "passed", "SKIP": "skipped"}


def introspect(build, what):
    return json.loads(pathlib.Path(build, "meson-info", f"intro-{what}.json").read_text())


def matching(build, pattern, suite=None):
    for test in introspect(build, "tests"):
        if pattern in test["name"] and (suite is None or any(s.endswith(":" + suite) for s in test["suite"])):
            yield test


def targets(build, pattern, suite=None):
    files = {t["id"]: t["filename"] for t in introspect(build, "targets")}
    root = pathlib.Path(build).resolve()
    found = {pathlib.Path(f) for test in matching(build, pattern, suite) for d in test["depends"]
             for f in files.get(d, ())}
    return sorted(str(f.relative_to(root)) for f in found)


def count_cmocka(text):
    """Sums over the groups of one program, or None when it is no cmocka program."""
    if not re.search(r"^\[==========\]", text, re.M):
        return None
    return {kind: sum(int(next(g for g in m.groups() if g)) for m in pattern.finditer(text))
            for kind, pattern in CMOCKA.items()}


def count_meson(path, totals):
    for line in path.read_text().splitlines():
        test = json.loads(line)
        kind = MESON.get(test["result"], "failed")
        counts = count_cmocka(test.get("stdout", "") + test.get("stderr", "")) or {kind: 1}
        # A program may fail after its tests passed (a leak), or before it ran them all.
        if kind == "failed" and not counts.get("failed"):
            counts["failed"] = 1
        for key, n in counts.items():
            totals[key] += n


def count_house(path, totals):
    for line in path.read_text().splitlines():
        totals[line.split()[0]] += 1


def count_pytest(path, totals):
    for suite in xml.etree.ElementTree.parse(path).iter("testsuite"):
        n = {key: int(suite.get(key, 0)) for key in ("tests", "failures", "errors", "skipped")}
        failed = n["failures"] + n["errors"]
        totals["failed"] += failed
        totals["skipped"] += n["skipped"]
        totals["passed"] += max(0, n["tests"] - failed - n["skipped"])


def total(results):
    totals = {"passed": 0, "failed": 0, "skipped": 0}
    for pattern, count in (("unit-*.json", count_meson), ("house.txt", count_house), ("e2e*.xml", count_pytest)):
        for path in sorted(pathlib.Path(results).glob(pattern)):
            count(path, totals)
    return totals


def main():
    match sys.argv[1:]:
        case ["names", build, pattern, *suite]:
            print("".join(t["name"] + "\n" for t in matching(build, pattern, *suite)), end="")
        case ["targets", build, pattern, *suite]:
            print("".join(t + "\n" for t in targets(build, pattern, *suite)), end="")
        case ["sum", results]:
            totals = total(results)
            print("{passed} passed, {failed} failed, {skipped} skipped".format(**totals))
            sys.exit(totals["failed"] > 0 or totals["passed"] == 0)
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
