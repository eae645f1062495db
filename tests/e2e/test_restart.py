# SPDX-License-Identifier: Apache-2.0
"""A restart as 500 clients see it that were logged in, four of each user: all come back at the same moment, nobody is
told that a right password is wrong, and who is in already is served while the others wait."""
import collections
import concurrent.futures
import contextlib
import os
import pathlib
import signal
import threading
import time

import pytest

from testenv import wait
from testenv.crowd import need_descriptors
from testenv.icap import request
from testenv.tenants import ALICE, Tenants, authorization

CLIENTS, USERS, PASSWORDS = 500, 125, 10
THREADS = 2  # login.threads, as it is without a word about it
VERIFIERS, KEYS = (f'sallyport_login_derivations_total{{of="{of}"}}' for of in ("verifier", "session-key"))
TICK = os.sysconf("SC_CLK_TCK")


class Client:
    """One with a connection that stays open, and another one when that is lost."""

    def __init__(self, tenants, context, who):
        self.tenants, self.context = tenants, context
        self.lines = request("RESPMOD", "icaps://localhost/echo", b"x", fields=[authorization(*who)])
        self.connection = None

    def send(self):
        if not self.connection:
            self.connection = self.tenants.connect(context=self.context)
        with contextlib.suppress(OSError):  # that the connection is gone will be noticed by who reads
            self.connection.send(self.lines)

    def read(self):
        """The status; None: the connection is gone."""
        try:
            reply = self.connection.read_reply("RESPMOD")
        except (OSError, EOFError):
            self.close()
            return None
        if reply.field("Connection") == "close":
            self.close()
        return reply.status

    def ask(self):
        self.send()
        return self.read()

    def close(self):
        if self.connection:
            self.connection.close()
        self.connection = None


class Herd:
    def __init__(self, tenants):
        self.tenants, self.context = tenants, tenants.context()
        users = [(f"user{i}", f"password number {i % PASSWORDS}") for i in range(USERS)]
        tenants.add_many("acme", users)
        self.clients = [Client(tenants, self.context, users[i % USERS]) for i in range(CLIENTS)]
        self.witness = Client(tenants, self.context, ALICE)

    def ask(self):
        """One answer for each, whose requests are all sent before one is read: how many there were of each status."""
        said, open_ = collections.Counter(), self.clients
        for _ in range(20):
            for client in open_:
                client.send()
            answers = [(client, client.read()) for client in open_]
            said.update(status for _, status in answers)
            open_ = [client for client, status in answers if status in (None, 503)]  # come later, it says
            if not open_:
                return said
        return pytest.fail(f"clients that do not get in: {said}")

    def close(self):
        for client in [*self.clients, self.witness]:
            client.close()


class Watch(threading.Thread):
    """What the gateway process |pid| says of itself, and what its threads do, while the herd logs in."""

    def __init__(self, tenants, pid):
        super().__init__(daemon=True)
        self.tenants, self.pid = tenants, pid
        self.waiting, self.sessions, self.threads = [0], [], set()
        self.stopping = threading.Event()

    def run(self):
        while not self.stopping.wait(0.1):
            self.look()

    def look(self):
        metrics = self.tenants.gateway.metrics()
        self.waiting.append(metrics["sallyport_login_waiting"])
        self.sessions.append(metrics["sallyport_login_sessions"])
        self.threads.add(len(self.derivers()))

    def tasks(self):
        """(name, nice, seconds of processor) of each thread."""
        for stat in pathlib.Path(f"/proc/{self.pid}/task").glob("*/stat"):
            name, _, rest = stat.read_text().partition("(")[2].rpartition(")")
            fields = rest.split()
            yield name, int(fields[16]), (int(fields[11]) + int(fields[12])) / TICK

    def derivers(self):
        return [(nice, seconds) for name, nice, seconds in self.tasks() if name == "passwords"]

    def others(self):
        return sum(seconds for name, _, seconds in self.tasks() if name != "passwords")

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *exc):
        self.stopping.set()
        self.join()
        self.look()


@pytest.fixture(scope="module")
def herd(tmp_path_factory, certificates):
    """All are in, for the first time."""
    need_descriptors(CLIENTS)
    clients = {"acme": certificates.issue("acme-proxy", "subjectAltName=DNS:proxy.acme.test", "clientAuth")}
    tenants = Tenants(tmp_path_factory.mktemp("herd"), certificates, clients)
    with tenants.gateway:
        made = Herd(tenants)
        try:
            assert set(made.ask()) <= {200, 503}
            yield made
        finally:
            made.close()


def kill(gateway):
    killed = gateway.gateway_pid()
    os.kill(killed, signal.SIGKILL)
    wait.until(lambda: not pathlib.Path(f"/proc/{killed}").exists(), "its end")


def reload(gateway):
    """With a new process, which takes over, and the old one ends what it began."""
    text, done = gateway.config.read_text(), "reload: done with a new gateway process"
    before = gateway.log().count(done)
    gateway.config.write_text(text.replace("threads: 2\n", "threads: 3\n"))
    gateway.send_signal(signal.SIGHUP)
    wait.until(lambda: gateway.log().count(done) > before, f"'{done}'", 60)


@pytest.mark.parametrize("restart", [kill, reload])
def test_a_restart_with_many_clients(herd, restart):
    gateway = herd.tenants.gateway
    assert herd.ask() == {200: CLIENTS}  # logged in, each on a connection of its own
    assert gateway.metrics()["sallyport_connections"] >= CLIENTS
    before, derived = gateway.gateway_pid(), gateway.metrics()[VERIFIERS]
    assert derived >= USERS
    restart(gateway)
    gateway.wait_ready(60)
    pid = gateway.gateway_pid()
    assert pid != before and gateway.metrics()[VERIFIERS] == 0
    wait.until(lambda: herd.witness.ask() == 200, "one who is in", 60)
    with concurrent.futures.ThreadPoolExecutor(1) as pool, Watch(herd.tenants, pid) as watch:
        comes = pool.submit(herd.ask)
        served = 0
        while not comes.done():
            began = time.monotonic()
            assert herd.witness.ask() == 200
            assert time.monotonic() - began < 10
            served += watch.waiting[-1] > THREADS
            time.sleep(0.02)
        said = comes.result()
    print(f"{restart.__name__}: {dict(said)}, the one inside had {served} answers meanwhile, "
          f"{max(watch.waiting):.0f} waited at most; {sum(s for _, s in watch.derivers()):.1f} s of processor for "
          f"derivations, {watch.others():.1f} s for the rest")
    assert said[200] == CLIENTS and set(said) <= {200, 503, None}  # never 407
    assert herd.ask() == {200: CLIENTS}
    metrics = gateway.metrics()
    # Two derivations for each login, and one login for each user and the one that was in already.
    assert metrics[VERIFIERS] == metrics[KEYS] == metrics["sallyport_login_sessions"] == USERS + 1
    for name in ("refused", "throttled", "queue_full", "ended"):
        assert metrics[f"sallyport_login_{name}_total"] == 0, name
    # By few threads that everything else comes before, one after the other, and by nobody else.
    assert max(watch.threads) == THREADS
    assert [nice for nice, _ in watch.derivers()] == THREADS * [10]
    assert watch.others() < sum(seconds for _, seconds in watch.derivers()) / 2
    assert USERS / 2 < max(watch.waiting) <= USERS
    assert len(set(watch.sessions)) > 20
    assert served > 20
