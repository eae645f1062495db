# SPDX-License-Identifier: Apache-2.0
"""Programs of others that a test needs, and ports for those that cannot bind port 0."""
import os
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


def free_port():
    """A port that nobody had a moment ago. For peers that must be told a number."""
    with socket.create_server(("127.0.0.1", 0)) as s:
        return s.getsockname()[1]
