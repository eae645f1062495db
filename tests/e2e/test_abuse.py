# SPDX-License-Identifier: Apache-2.0
"""Clients that mean no good, beside some that are well-behaved: these get every answer, the others what
the limits say, and a record of it. How long it takes is for ./dev bench abuse."""
import contextlib
import json
import subprocess

import pytest

from testenv import Load, Sallyport, Way, build_dir, wait
from testenv.crowd import need_descriptors
from testenv.peers import missing

# Short deadlines, so that the tests see them pass.
MORE = """\
icap: {head-timeout: 1s, write-timeout: 2s, body-timeout: 2s, idle-timeout: 5m}
limits: {connections: 6000}
"""
CONFIG = """\
state: {state}
threads: 2
sandbox: required
admin: {address: "127.0.0.1:0"}
tls:
  - {name: server, certificate: CERTIFICATE, key: KEY}
listeners:
  - {name: clear, address: "127.0.0.1:0"}
  - {name: tls, address: "127.0.0.1:0", tls: server, handshake: 2s}
  - {name: small, address: "127.0.0.1:0", connections: 200}
services:
  - {name: echo, type: echo, path: /echo}
""" + MORE
POLITE = ("--connections", 8, "--rate", 50, "--method", "RESPMOD", "--size", 1024, "--duration", 3, "--timeout", 15,
          "--drain", 15)
POLITE_FRESH = ("--connections", 2, "--close", "--method", "RESPMOD", "--size", 1024, "--duration", 3, "--timeout", 15,
                "--drain", 15)


@pytest.fixture(scope="module")
def sallyport(tmp_path_factory, certificates):
    need_descriptors(6000)
    certificate, key = certificates.server
    config = CONFIG.replace("CERTIFICATE", str(certificate)).replace("KEY", str(key))
    with Sallyport(tmp_path_factory.mktemp("sallyport"), config=config) as gateway:
        yield gateway


class Abuser:
    """icapabuse |arguments| against |listener|; done() ends it, and has its report."""

    def __init__(self, gateway, listener, *arguments):
        program = build_dir() / "tests" / "bench" / "icapabuse"
        if not program.exists():
            missing(f"{program} is not built")
        command = [str(program), *map(str, arguments), "--duration", "60", "%s:%d" % gateway.address(listener)]
        self.popen = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.report = None

    def done(self):
        if self.report is None:
            self.popen.terminate()
            self.report = json.loads(self.popen.communicate(timeout=60)[0])
        return self.report

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.done()


def connections(gateway):
    return sum(loop["connections"] for loop in gateway.status()["loops"])


def came_so_far(gateway):
    """Connections, open or refused, since the gateway began."""
    return sum(v for k, v in gateway.metrics().items()
               if k.startswith(("sallyport_connections_total", "sallyport_connections_refused_total")))


class Records:
    """Those that are written from now on; a storm leaves so many that they are read only once."""

    def __init__(self, gateway):
        self.path = gateway.state / "records.jsonl"
        self.at = self.path.stat().st_size if self.path.exists() else 0
        self.rest = b""

    def wait(self, matches, seconds=30):
        def found():
            with self.path.open("rb") as f:
                f.seek(self.at)
                data = f.read()
            self.at += len(data)
            *lines, self.rest = (self.rest + data).split(b"\n")
            return any(matches(json.loads(line)) for line in lines)
        wait.until(found, f"a record ({self.path})", seconds, every=0.2)


@contextlib.contextmanager
def beside(gateway, listener, *abuse):
    """The abuse goes on inside; nothing of it is left after it."""
    pid, came = gateway.gateway_pid(), came_so_far(gateway)
    with Abuser(gateway, listener, *abuse) as abuser:
        wait.until(lambda: came_so_far(gateway) > came, "the begin of the abuse", 20)
        yield abuser
        abuser.done()
    wait.until(lambda: connections(gateway) == 0, "the end of all connections", 30)
    assert gateway.gateway_pid() == pid
    assert gateway.status()["budgets"]["spool"]["used"] == 0


def assert_all_are_served(gateway, listener):
    """Connections that stay, and a new one for each request."""
    way = Way(gateway, listener)
    with Load(way, *POLITE) as kept, Load(way, *POLITE_FRESH) as fresh:
        for report in (kept.result(), fresh.result()):
            assert report["exit"] == 0 and report["requests"] > 20, report


ABUSES = {
    "silent": ("tls", "silent", "--connections", 5000, "--sources", 4),
    "half a hello": ("tls", "hello", "--connections", 5000, "--sources", 4),
    "idle": ("clear", "idle", "--connections", 5000, "--sources", 4),
    "slow readers": ("clear", "slow-read", "--connections", 100, "--size", 2 << 20),
    "slow writers": ("clear", "slow-write", "--connections", 1000, "--pause", 200),
    "connection storm": ("clear", "storm", "--connections", 64),
    "connection storm on TLS": ("tls", "storm", "--connections", 64),
    "reset storm": ("clear", "reset", "--connections", 64),
    "reset storm on TLS": ("tls", "reset", "--connections", 64),
    "flood": ("clear", "flood", "--connections", 16),
    "flood of the deaf": ("clear", "deaf", "--connections", 100),
}


@pytest.mark.slow
@pytest.mark.parametrize("abuse", ABUSES.values(), ids=ABUSES.keys())
def test_others_are_served(sallyport, abuse):
    with beside(sallyport, *abuse) as abuser:
        assert_all_are_served(sallyport, abuse[0])
    assert abuser.report["opened"] > 0 and abuser.report["refused"] == 0


class TestLimits:
    """What becomes of the abuser."""

    def expect(self, gateway, listener, abuse, error, text):
        records = Records(gateway)
        with beside(gateway, listener, *abuse):
            records.wait(lambda r: r.get("error") == error and text in r.get("error_text", ""))

    def test_silence(self, sallyport):
        self.expect(sallyport, "tls", ("silent", "--connections", 50), "timeout", "the first byte did not come")

    def test_half_a_hello(self, sallyport):
        self.expect(sallyport, "tls", ("hello", "--connections", 50), "timeout", "the end of the TLS handshake")

    def test_a_head_that_drips(self, sallyport):
        self.expect(sallyport, "clear", ("slow-write", "--connections", 50, "--pause", 100), "timeout",
                    "the heads took too long")

    def test_who_reads_nothing(self, sallyport):
        self.expect(sallyport, "clear", ("deaf", "--connections", 20), "timeout", "the peer takes no output")

    def test_who_opens_everything(self, sallyport):
        """One address gets at most seven eighths; whoever comes from another one finds room."""
        records = Records(sallyport)
        with beside(sallyport, "small", "silent", "--connections", 400) as abuser:
            records.wait(lambda r: r.get("error") == "overload" and "its share" in r["error_text"])
            assert 170 <= connections(sallyport) <= 176
            assert_all_are_served(sallyport, "small")
        assert abuser.report["ended_by_peer"] > 0
