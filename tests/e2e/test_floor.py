# SPDX-License-Identifier: Apache-2.0
"""The floor server that figures are held against answers as an echo service would, to the last byte: the load
generator says so."""
import contextlib
import os
import subprocess

import pytest

from testenv.wrong_server import LOAD, load

FLOOR = LOAD.with_name("icapfloor")

pytestmark = pytest.mark.skipif("CI" not in os.environ and not FLOOR.exists(),
                                reason="SALLYPORT_BUILD names no build with tests/bench/icapfloor")

LARGE = ("-m", "RESPMOD", "-s", "16384")
PREVIEW = (*LARGE, "--preview", "1024", "--allow-204")
ROWS = {
    "OPTIONS": ((), (), {"200": 40}),
    "REQMOD": ((), ("-m", "REQMOD"), {"200": 40}),
    "REQMOD, a body": ((), ("-m", "REQMOD", "-s", "70000"), {"200": 40}),
    "RESPMOD, no bytes": ((), ("-m", "RESPMOD", "-s", "0"), {"200": 40}),
    "RESPMOD": ((), LARGE, {"200": 40}),
    "RESPMOD, many chunks": ((), ("-m", "RESPMOD", "-s", "1000000"), {"200": 40}),
    "preview": ((), PREVIEW, {"204": 40}),
    "preview, half of them": (("-a",), PREVIEW, {"100": 20, "200": 20, "204": 20}),
    "preview, all of the body": (("-a",), ("-m", "RESPMOD", "-s", "100", "--preview", "1024"), {"204": 40}),
    "204": (("-n", "204"), (*LARGE, "--allow-204"), {"204": 40}),
    "206": (("-n", "206"), (*LARGE, "--allow-204", "--allow-206"), {"206": 40}),
    "206 in a preview": (("-n", "206"), (*PREVIEW, "--allow-206"), {"206": 40}),
    "OPTIONS beside 206": (("-n", "206"), (), {"200": 40}),
    "a connection for each": ((), (*LARGE, "--close"), {"200": 40}),
    "two threads": (("-t", "2"), LARGE, {"200": 40}),
    "batched records": (("-B",), ("-m", "RESPMOD", "-s", "1000000"), {"200": 40}),
    "batched records, half of them": (("-B", "-a"), PREVIEW, {"100": 20, "200": 20, "204": 20}),
}


@contextlib.contextmanager
def floor(certificates, *options):
    """Its addresses: "plain" and "tls"."""
    certificate, key = certificates.server
    command = [FLOOR, "-p", "0", "-P", "0", "-c", certificate, "-k", key, *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield dict(line.split() for line in iter(process.stdout.readline, "ready\n"))
        finally:
            process.terminate()


@pytest.mark.parametrize("way", ["plain", "tls"])
@pytest.mark.parametrize("row", ROWS)
def test_answers(certificates, row, way):
    options, asked, statuses = ROWS[row]
    with floor(certificates, *options) as address:
        code, report = load(address[way], "--fill", "--timeout", "5", *asked, *(("--tls",) if way == "tls" else ()),
                            requests=40, connections=1 if "-a" in options else 2)
    assert (code, report["errors"], report["requests"]) == (0, {}, 40)
    assert {status: n for status, n in report["status"].items() if n} == statuses


@pytest.mark.parametrize("options", [("-n", "200"), ("-n", "205"), ("-t", "0"), ("-P", "0"), ("-x",)])
def test_usage(options):
    done = subprocess.run([FLOOR, *options], capture_output=True, text=True, timeout=30)
    assert done.returncode == 2
    assert "icapfloor" in done.stderr
