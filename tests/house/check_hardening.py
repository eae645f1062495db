#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The release binaries are hardened as meson.build says: asked of readelf, not of the flags."""
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
RELEASE = ROOT / "build" / "release"
PROGRAMS = ("sallyport", "sallyport-worker")
LIBRARIES = ("libsallyport.so.0",)
# Public names of the library besides its own: none.
PUBLIC = re.compile(r"sallyport_\w+|SALLYPORT_\w+")


def readelf(path, *options):
    return subprocess.run(["readelf", "-W", *options, path], check=True, text=True, capture_output=True).stdout


def complaints(path, program):
    header, dynamic = readelf(path, "-h"), readelf(path, "-d")
    segments, symbols = readelf(path, "-l"), readelf(path, "--dyn-syms")
    if program and not (re.search(r"Type:\s+DYN", header) and re.search(r"FLAGS_1.*\bPIE\b", dynamic)):
        yield "is no position-independent executable"
    if "GNU_RELRO" not in segments:
        yield "has no RELRO"
    if not re.search(r"FLAGS.*\b(NOW|BIND_NOW)\b", dynamic):
        yield "does not bind all symbols at start (NOW)"
    if not re.search(r"GNU_STACK\s.*\sRW\s", segments):
        yield "has an executable stack"
    if re.search(r"LOAD\s.*\sRWE\s", segments):
        yield "has memory that is writable and executable"
    if "__stack_chk_fail" not in symbols:
        yield "has no stack protector"
    if not re.search(r"_chk@", symbols):
        yield "has no fortified call"
    if "RPATH" in dynamic:
        yield "has an RPATH"


def without_cet(archive):
    """Objects of ours that are not marked for CET. Not asked of the programs: Debian's C start-up
    objects are not marked, and so the linker leaves the mark off the whole."""
    notes = readelf(archive, "-n")
    for member in re.split(r"^File: ", notes, flags=re.M)[1:]:
        if not re.search(r"x86 feature: IBT, SHSTK", member):
            yield member.splitlines()[0]


def exported(path):
    """Names that the library defines for others."""
    for line in readelf(path, "--dyn-syms").splitlines():
        fields = line.split()
        if len(fields) >= 8 and fields[4] in ("GLOBAL", "WEAK") and fields[6] != "UND":
            yield fields[7].split("@")[0]


def main():
    found = []
    names = [n for n in (*PROGRAMS, *LIBRARIES) if (RELEASE / n).exists()]
    if not names:
        print("build/release is not built: nothing to look at")
        return
    for name in names:
        found += [f"{name} {c}" for c in complaints(RELEASE / name, name in PROGRAMS)]
        if name in LIBRARIES:
            found += [f"{name} shows {s}" for s in exported(RELEASE / name) if not PUBLIC.fullmatch(s)]
    if "X86-64" in readelf(RELEASE / names[0], "-h"):
        found += [f"{o} is not marked for CET (IBT, SHSTK)" for a in sorted(RELEASE.glob("libroom_*.a")) for o in without_cet(a)]
    print("\n".join(found) or "hardened: " + " ".join(names))
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
