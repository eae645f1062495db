#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Documents say what the code has: every error code is explained, links lead somewhere, files and
functions that docs/architecture.md names exist."""
import re
import sys

from rooms import ROOMS, ROOT

LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)(?:#[^)]*)?\)")
# `src/net/loop.h`, `tests/house/rooms.py`; names with a place-holder are left alone.
FILE = re.compile(r"`((?:src|include|tests|docs|examples|share|tools|packaging)/[\w./-]+)`")
CALL = re.compile(r"`(\w+)\(\)`")


def documents():
    return [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("src/*/README.md"),
            *ROOT.glob("tests/*/README.md"), *ROOT.glob("examples/*.md")]


def links(path, text):
    for target in LINK.findall(text):
        if "://" not in target and not target.startswith("mailto:") and not (path.parent / target).exists():
            yield f"links to {target}, which is not there"
    for name in FILE.findall(text):
        if not (ROOT / name).exists():
            yield f"names {name}, which is not there"


def error_codes():
    guide = ROOT / "docs" / "guide" / "errors.md"
    text = guide.read_text() if guide.exists() else ""
    rows = re.findall(r'^ERR_ROW\(\w+,\s*\d+,\s*\w+,\s*\d+,\s*"([^"]+)"', (ROOT / "src/base/codes.def").read_text(), re.M)
    explained = set(re.findall(r"^### `([\w-]+)`", text, re.M))
    for code in rows:
        if code not in explained:
            yield f"docs/guide/errors.md does not explain '{code}'"
    for code in sorted(explained - set(rows)):
        yield f"docs/guide/errors.md explains '{code}', which src/base/codes.def lacks"


def functions():
    """Functions that the architecture names are declared or defined somewhere."""
    text = (ROOT / "docs" / "architecture.md").read_text()
    code = "\n".join(p.read_text(errors="replace") for p in
                     [*ROOT.glob("src/**/*.[ch]"), *ROOT.glob("include/**/*.h")])
    for name in sorted(set(CALL.findall(text))):
        if not re.search(rf"\b{name}\b\s*\(", code):
            yield f"docs/architecture.md names {name}(), which is not in the code"
    for room in ROOMS:
        if (ROOT / "src" / room).is_dir() and any((ROOT / "src" / room).glob("*.c")) and f"`{room}`" not in text:
            yield f"docs/architecture.md does not name the room {room}"


def main():
    found = [f"{path.relative_to(ROOT)} {c}" for path in documents() for c in links(path, path.read_text())]
    found += [*error_codes(), *functions()]
    print("\n".join(found) or f"{len(documents())} documents agree with the tree")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
