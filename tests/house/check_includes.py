#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The arrows between rooms (tests/house/rooms.py) hold: no include points down the list, libraries
are named only where they belong, engines touch no descriptor."""
import pathlib
import re
import sys

from rooms import PUBLIC, ROOMS, ROOT, includes, may_name, room_of

# Library header: rooms that may name it. Others go through these rooms.
LIBRARIES = {
    "uv.h": {"net"},
    "lmdb.h": {"store"},
    "yaml.h": {"config"},
    "yara.h": {"worker"},
    "yara/": {"worker"},
    "magic.h": {"worker"},
    "zlib.h": {"worker"},
    "brotli/": {"worker"},
    "zstd.h": {"worker"},
    "zstd_errors.h": {"worker"},
    "pcre2.h": {"adapt"},
    "seccomp.h": {"jail"},
    "cups/": {"tests"},
    "linux/landlock.h": {"jail"},
    "linux/seccomp.h": {"jail"},
    "uthash.h": {"base"},
    "jansson.h": {"tenant", "adapt", "ipp", "proc", "cli"},
    "openssl/": {"protect", "net", "http", "observe", "tenant", "adapt", "icap", "ipp", "proc", "cli", "worker"},
}
# Engines eat bytes and yield events: no descriptor, no clock, no thread (design of a protocol room).
ENGINES = ("src/icap/icap_engine*.[ch]", "src/icap/icap_message*.[ch]", "src/icap/icap_client_engine*.[ch]",
           *(f"src/ipp/ipp_{name}.[ch]" for name in (
               "cursor", "flaw", "level", "message", "names", "rewrite", "scan", "tags", "translate*", "uri*", "write",
               "http_target", "allow", "own_answer", "job_record")),
           "src/http/http_engine*.[ch]", "src/http/http_client_engine*.[ch]", "src/http/http_out.[ch]",
           "src/http/head*.[ch]", "src/http/chunk*.[ch]", "src/http/digest.[ch]", "src/http/digest_[!hr]*.[ch]",
           "src/net/proxy_protocol.c",
           "src/adapt/verdict.[ch]", "src/adapt/objects.[ch]", "src/adapt/clamd_protocol.c", "src/adapt/rules.[ch]",
           "src/adapt/type_policy.[ch]", "src/adapt/file_name.[ch]", "src/adapt/url_normal.[ch]",
           "src/adapt/url_lists_parse.c")
NOT_IN_ENGINES = re.compile(r"^(net/(?!address\.h$|proxy_protocol\.h$).*|base/(log|clock)\.h|unistd\.h|fcntl\.h|"
                            r"sys/(socket|epoll|stat|mman|random)\.h|pthread\.h|time\.h|threads\.h|uv\.h|openssl/.*)$")


def complaints_about(path):
    room = room_of(path)
    where = path.relative_to(ROOT)
    quoted, angled = includes(path)
    if room not in ROOMS:
        yield f"{where}: no such room in tests/house/rooms.py"
        return
    for header in quoted:
        target = PUBLIC if header.startswith("sallyport/") else header.split("/")[0]
        if "/" not in header:
            yield f'{where}: "{header}" lacks its room'
        elif target not in may_name(room) and header not in may_name(room):
            yield f'{where}: "{header}" points the wrong way: {room} may name {" ".join(sorted(may_name(room)))}'
    for header in angled:
        for library, rooms in LIBRARIES.items():
            if (header == library or library.endswith("/") and header.startswith(library)) and room not in rooms:
                yield f"{where}: <{header}> belongs to {' '.join(sorted(rooms))}"


def complaints_about_engine(path):
    quoted, angled = includes(path)
    for header in quoted + angled:
        if NOT_IN_ENGINES.match(header):
            yield f"{path.relative_to(ROOT)}: an engine includes {header}"


def main():
    found = []
    files = [*ROOT.glob("src/*/**/*.[ch]"), *ROOT.glob("include/**/*.h")]
    for path in sorted(files):
        found += complaints_about(path)
    for pattern in ENGINES:
        for path in sorted(ROOT.glob(pattern)):
            found += complaints_about_engine(path)
    for path in sorted(ROOT.glob("include/**/*.h")):
        found += [f"{path.relative_to(ROOT)}: a public header includes {h}" for h in includes(path)[0]
                  if not h.startswith("sallyport/")]
    print("\n".join(found) or f"{len(files)} files, every arrow points up")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
