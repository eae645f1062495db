#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The rooms of the house and the arrows between them, once: the include check, the build (which
libraries a unit test links) and docs/architecture.md all follow this table.

    rooms.py tests DIR     one line for each test_*.c of DIR: its name and the rooms that it reaches
    rooms.py names         the rooms, each after everything that it may name
"""
import functools
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]

# Room: rooms whose headers it may include, and through them everything that those may include.
# An entry with a slash is one header, without what stands behind it.
ROOMS = {
    "base": (),
    "jail": ("base",),
    "protect": ("base",),
    "config": ("base",),
    "net": ("base", "protect"),
    "store": ("net",),
    "http": ("net",),
    "observe": ("http", "protect"),
    "tenant": ("store", "config", "observe"),
    "adapt": ("store", "config", "observe"),
    "worker": ("base", "jail", "adapt/worker_wire.h", "adapt/verdict.h", "adapt/objects.h"),
    "icap": ("tenant", "adapt", "http"),
    "ipp": ("tenant", "adapt", "http"),
    "blind": ("tenant", "adapt", "http"),
    "proc": ("icap", "ipp", "blind", "jail"),
    "cli": ("proc",),
}
# The public headers (include/sallyport) belong to this room.
PUBLIC = "protect"

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*(?:"([^"]+)"|<([^>]+)>)', re.M)


@functools.lru_cache(maxsize=None)
def may_name(room):
    """Rooms and single headers that |room| may include, itself among them."""
    allowed = {room}
    for other in ROOMS[room]:
        allowed |= {other} if "/" in other else may_name(other)
    return frozenset(allowed)


@functools.lru_cache(maxsize=None)
def includes(path):
    """Project headers and system headers that the file names: (quoted, angled)."""
    found = INCLUDE.findall(path.read_text(encoding="utf-8", errors="replace"))
    return tuple(q for q, _ in found if q), tuple(a for _, a in found if a)


def resolve(header, includer):
    """The file that a quoted include means, or None."""
    for base in (includer.parent, ROOT / "src", ROOT / "include"):
        if (base / header).is_file():
            return (base / header).resolve()
    return None


def room_of(path):
    """The room that a file of src/ or include/ lives in, or None."""
    parts = path.relative_to(ROOT).parts
    if parts[0] == "include":
        return PUBLIC
    return parts[1] if parts[0] == "src" and len(parts) > 2 else None


def reached(path):
    """Rooms whose files |path| includes, directly or through headers."""
    rooms, seen, todo = set(), set(), [path]
    while todo:
        current = todo.pop()
        for header in includes(current)[0]:
            target = resolve(header, current)
            # A header that does not exist (yet) still names its room.
            if target is None and "/" in header and header.split("/")[0] in ROOMS:
                rooms.add(header.split("/")[0])
            if target is None or target in seen or ROOT not in target.parents:
                continue
            seen.add(target)
            todo.append(target)
            if room_of(target):
                rooms.add(room_of(target))
    return rooms


def main():
    if sys.argv[1:] == ["names"]:
        print("\n".join(ROOMS))
    elif len(sys.argv) == 3 and sys.argv[1] == "tests":
        folder = pathlib.Path(sys.argv[2]).resolve()
        for path in sorted([*folder.glob("test_*.c"), *folder.glob("fuzz_*.c")]):
            print(path.stem, *(r for r in ROOMS if r in reached(path)))
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
