#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What every file and folder must have, and words that no C file may: a licence line, a README in
each room, no functions that cannot be used safely, no file that has outgrown its reader."""
import pathlib
import re
import sys

from rooms import ROOMS, ROOT

SKIP = {"build", ".git", "__pycache__", ".pytest_cache", "corpus", "data"}
SPDX = "SPDX-License-Identifier: Apache-2.0"
# Texts whose formats have no place for it, or where it would be in the reader's way.
NO_SPDX = {".md", ".map", ".dict", ".json", ".txt", ""}
LINES_MAX = {".c": 1000, ".h": 600, ".py": 800}

# Word: what to use instead. Matched as calls in src/, include/ and tests/*.c.
POISON = {
    "strcpy": "span_copy", "strcat": "buf_add", "sprintf": "buf_format or snprintf", "vsprintf": "vsnprintf",
    "strncpy": "span_copy", "strncat": "buf_add", "strtok": "span_cut", "strtok_r": "span_cut",
    "atoi": "span_u64", "atol": "span_u64", "atoll": "span_u64", "strtol": "span_u64", "strtoul": "span_u64",
    "sscanf": "a reader", "gets": "read", "alloca": "an arena", "system": "posix_spawn", "popen": "posix_spawn",
    "rand": "getrandom", "srand": "getrandom", "random": "getrandom", "tmpnam": "memfd_create",
    "mktemp": "mkostemp", "gmtime": "gmtime_r", "localtime": "localtime_r",
    "setjmp": "errors as values", "longjmp": "errors as values", "bzero": "memset or explicit_bzero",
    # memcmp leaks where a secret begins to differ.
    "memcmp": "span_eq, or CRYPTO_memcmp for secrets",
}
# Where a poisoned word is right: file, word, why.
ALLOWED = {
    ("src/base/span.c", "memcmp"): "span_eq is made of it; spans with secrets are compared elsewhere",
    ("src/config/config_value.c", "memcmp"): "network prefixes",
    ("src/net/address.c", "memcmp"): "addresses and network prefixes",
    ("src/store/store.c", "memcmp"): "the order of keys",
    ("src/observe/metrics.c", "memcmp"): "bounds of histograms",
}
SOURCES_ONLY = {"memcmp", "rand", "srand", "sscanf", "strtol", "strtoul", "system", "popen"}  # tests and bench may

COMMENT = re.compile(r'/\*.*?\*/|"(?:\\.|[^"\\\n])*"', re.S)


def tree():
    for path in sorted(ROOT.rglob("*")):
        parts = path.relative_to(ROOT).parts
        if path.is_file() and not SKIP & set(parts) and not any(p.startswith("build") for p in parts[:1]):
            yield path


def without_comments(text):
    return COMMENT.sub(lambda m: re.sub(r"[^\n]", " ", m.group()), text)


def poison(path):
    where = str(path.relative_to(ROOT))
    text = without_comments(path.read_text())
    for word, instead in POISON.items():
        if (where, word) in ALLOWED or (word in SOURCES_ONLY and not where.startswith("src/")):
            continue
        for match in re.finditer(rf"(?<![\w.>]){word}\s*\(", text):
            line = text.count("\n", 0, match.start()) + 1
            yield f"{where}:{line}: {word}() is not used here: {instead}"


def about(path):
    where = path.relative_to(ROOT)
    needs = path.suffix not in NO_SPDX or path.name in ("dev", "run")
    try:
        text = path.read_text()
    except UnicodeDecodeError:
        return
    if needs and not path.name.startswith(".") and SPDX not in text[:300]:
        yield f"{where}: no line '{SPDX}'"
    if text.count("\n") > LINES_MAX.get(path.suffix, 10 ** 9):
        yield f"{where}: {text.count(chr(10))} lines; split it near {LINES_MAX[path.suffix]}"
    if "\t" in text and path.suffix in (".c", ".h", ".py"):
        yield f"{where}: has tabs"
    if re.search(r"[ \t]+$", text, re.M) and path.suffix in (".c", ".h", ".py", ".build", ".md", ""):
        yield f"{where}: has white space at the end of a line"
    if path.suffix in (".c", ".h"):
        yield from poison(path)


def main():
    found = [c for path in tree() for c in about(path)]
    for room in ROOMS:
        folder = ROOT / "src" / room
        if any(folder.glob("*.c")) and not (folder / "README.md").exists():
            found.append(f"src/{room}: no README.md: what it is for, and what it must not know")
    print("\n".join(found) or "the tree is in order")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
