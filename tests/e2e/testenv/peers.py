# SPDX-License-Identifier: Apache-2.0
"""Programs of others that a test needs, and ports for those that cannot bind port 0."""
import contextlib
import itertools
import os
import random
import shutil
import socket

import pytest


def on_ci():
    return os.environ.get("CI") == "true"


def missing(reason):
    """A test cannot run here: a skip for a person, a failure in continuous integration."""
    if on_ci():
        pytest.fail(f"{reason} (CI=true: a missing peer is a failure)")
    pytest.skip(reason)


def need(program, package):
    """The program's path; skips the test, or fails it in CI, when it is not installed."""
    for folder in (None, "/usr/sbin:/usr/bin:/sbin:/bin"):
        path = shutil.which(program, path=folder)
        if path:
            return path
    missing(f"{program} is not installed (Debian package {package})")
    return None


def ports_of_process():
    """The ports of this process of a test run, around and around: below those that the kernel gives to
    connections, so that none takes a port between its choice and its use, and no other process's."""
    process = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    first, count = 12000 + process % 5 * 4000, 4000
    yield from (first + n % count for n in itertools.count(random.randrange(count)))


PORTS = ports_of_process()


def free_port():
    """A port that nobody had a moment ago. For peers that must be told a number."""
    for port in itertools.islice(PORTS, 4000):
        with socket.socket() as s, contextlib.suppress(OSError):
            s.bind(("", port))
            return port
    raise RuntimeError("no port is free")
