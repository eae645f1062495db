# SPDX-License-Identifier: Apache-2.0
"""Mixed load on a gateway whose parts die and change meanwhile. Clients know when what was killed, and
take nothing as excused that no killed process had in its hands."""
import os
import pathlib
import random
import re
import signal
import socket
import struct
import threading
import time

from . import samples, wait
from .crowd import descriptors, pss
from .icap import IcapConnection, IcapError, chunked, request
from .load import Load

BROKEN = (ConnectionResetError, BrokenPipeError, EOFError, OSError)
# After a client that goes on with a connection has been told, or could not be told, that it ends.
HAND_OVER_SECONDS = 15
NOTICE_SECONDS = 0.5  # a worker that has ended may still be given a file by a loop that does not know
STARTED_SECONDS = 20  # until a fresh gateway has measured what clamd can do


def is_alive(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


class Happenings:
    """What was done to the gateway, and when: (kind, from, to) by the monotonic clock."""

    def __init__(self):
        self.lock = threading.Lock()
        self.list = []

    def begin(self, kind):
        with self.lock:
            self.list.append([kind, time.monotonic(), float("inf")])
            return self.list[-1]

    @staticmethod
    def end(happening):
        happening[2] = time.monotonic()

    def count(self, kind):
        with self.lock:
            return sum(h[0] == kind for h in self.list)

    def within(self, kind, since, more=0.0):
        """How often it happened between |since| and now; effects last |more| seconds."""
        now = time.monotonic()
        with self.lock:
            return sum(h[0] == kind and h[1] <= now and h[2] + more >= since for h in self.list)


class Faults:
    def __init__(self):
        self.lock, self.list, self.excused = threading.Lock(), [], 0

    def add(self, text):
        with self.lock:
            self.list.append(text)

    def excuse(self):
        with self.lock:
            self.excused += 1


class Client(threading.Thread):
    """Asks for all sorts of things, and compares every answer with what it must be."""

    SIZES = (0, 1, 1000, 4096, 40_000, 70_000, 300_000, 2_000_000)
    WEIGHTS = (2, 2, 8, 4, 4, 3, 2, 1)

    def __init__(self, mill, seed):
        super().__init__(daemon=True)
        self.mill, self.random = mill, random.Random(seed)
        self.connection = self.opened = self.way = None
        self.done = 0

    def run(self):
        deeds = [self.exchange] * 12 + [self.abort, self.half_close, self.reset_before_reading]
        while not self.mill.stopping.is_set():
            began = time.monotonic()
            try:
                self.random.choice(deeds)()
                self.done += 1
            except ConnectionRefusedError:
                self.mill.faults.add("a refused connect")
            except (TimeoutError, IcapError, AssertionError) as e:
                self._judge(began, f"{type(e).__name__}: {e}", broken=isinstance(e, IcapError))
            except BROKEN as e:
                self._judge(began, f"{type(e).__name__}: {e}", broken=True)
        self._close()

    def _judge(self, began, what, broken):
        """A killed process took the connection along, or one that ends closed what was idle."""
        since = min(began, self.opened or began)
        killed = self.mill.happened.within("gateway killed", since)
        handed = self.mill.happened.within("generation", since, HAND_OVER_SECONDS) and self.reused
        if broken and (killed or handed):
            self.mill.faults.excuse()
        else:
            self.mill.faults.add(f"{what[:500]} ({self.what}; connection {time.monotonic() - since:.3f} s old)")
        self._close()

    def _close(self):
        if self.connection:
            self.connection.close()
        self.connection = self.opened = None

    def _connect(self):
        """The connection that is there, or another one."""
        if self.connection and self.random.random() < 0.1:
            self._close()
        self.reused = self.connection is not None
        if not self.connection:
            self.way = self.random.choice(self.mill.ways)
            self.opened, self.what = time.monotonic(), "connect"
            self.connection = self.way.connect()
        return self.connection

    def _body(self):
        size = self.random.choices(self.SIZES, self.WEIGHTS)[0]
        at = self.random.randrange(samples.BLOCK)
        noise = samples.block()
        return (noise[at:] + noise * (size // samples.BLOCK + 1))[:size]

    def exchange(self):
        connection, service = self._connect(), self.random.choice(self.mill.services)
        method = self.random.choice(("REQMOD", "RESPMOD", "RESPMOD", "OPTIONS"))
        self.what = f"{method} {service}"
        if method == "OPTIONS":
            reply = connection.ask("OPTIONS", self.way.url(service), http=[], encapsulated="")
            assert reply.status == 200, f"{reply.status} to OPTIONS"
        else:
            self._ask(connection, method, service)
        if "close" in reply_connection(connection.last if method != "OPTIONS" else reply):
            self._close()

    def _ask(self, connection, method, service):
        body = self._body() if self.random.random() < 0.95 else None
        infected = body is not None and service != "echo" and self.random.random() < 0.2
        if infected:
            body = self.random.choice((b"", b"PK\3\4" + body[:60_000])) + samples.EICAR
        allow = self.random.random() < 0.5
        preview = self.random.choice((None, None, 0, 1024)) if body is not None else None
        self.what = f"{method} {service}, {None if body is None else len(body)} bytes, preview {preview}"
        began = time.monotonic()
        connection.last = reply = connection.ask(method, self.way.url(service), body, preview=preview,
                                                 fields=["Allow: 204"] if allow else [])
        self._check(reply, body, infected, allow or preview is not None, began)

    def _check(self, reply, body, infected, may_204, began):
        if reply.status == 204:
            assert may_204 and not infected, f"204, infected: {infected}"
            return
        assert reply.status == 200, f"status {reply.status}"
        blocked = "res-hdr" in reply.heads and reply.http_status() == 403
        if not blocked:
            assert not infected, "an infected body passed"
            assert (reply.body or b"") == (body or b""), f"{len(reply.body or b'')} other bytes"
            return
        cause = reply.field("X-Response-Desc", "")
        if infected and cause == "infected":
            return
        assert self._is_excused(cause, began), f"blocked: {cause}, infected: {infected}"
        self.mill.faults.excuse()

    def _is_excused(self, cause, began):
        happened = self.mill.happened
        if cause == "worker-crash":
            return happened.within("worker killed", began, NOTICE_SECONDS)
        # A fresh gateway does not know yet what clamd can do.
        return cause == "engine-down" and happened.within("gateway started", began, STARTED_SECONDS)

    # ---- those who do not stay to the end ----

    def abort(self):
        """Goes away in the middle of a body."""
        connection, service = self._connect(), self.random.choice(self.mill.services)
        self.what = f"abort {service}"
        data = request("RESPMOD", self.way.url(service), self._body())
        connection.send(data[:self.random.randrange(1, len(data))])
        if self.random.random() < 0.5:
            connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._close()

    def reset_before_reading(self):
        connection = self._connect()
        self.what = "reset"
        connection.send(request("RESPMOD", self.way.url("echo"), self._body()))
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._close()

    def half_close(self):
        """Has said all that it wants to say, and reads its answer."""
        self._close()
        connection = self._connect()
        if self.way.ca:
            return  # Python cannot half-close TLS
        self.what, body = "half-close", self._body()[:100_000]
        connection.send(request("RESPMOD", self.way.url("echo"), body))
        connection.sock.shutdown(socket.SHUT_WR)
        reply = connection.read_reply("RESPMOD")
        assert reply.status == 200 and reply.body == body, f"half-close: {reply.status}"
        self._close()


def reply_connection(reply):
    return (reply.field("Connection") or "").lower()


class Volume(threading.Thread):
    """icapload, a second at a time, with what it can do."""

    ECHO = (("--method", "OPTIONS"), ("--method", "REQMOD", "--size", 2000), ("--method", "REQMOD"),
            ("--method", "RESPMOD", "--size", 100_000), ("--method", "RESPMOD", "--size", 1000, "--close"),
            ("--method", "RESPMOD", "--size", 5000, "--preview", 1024),
            ("--method", "RESPMOD", "--size", 3_000_000), ("--method", "RESPMOD", "--size", 800, "--allow-204"))
    SCAN = (("--method", "RESPMOD", "--size", 20_000, "--unique", "--allow-204"),
            ("--method", "REQMOD", "--size", 500, "--form", 10),
            ("--method", "RESPMOD", "--size", 1000, "--unique", "--preview", 100))
    BROKEN = {"closed-early", "head-truncated", "body-truncated", "handshake", "starved", "no-answer"}

    def __init__(self, mill, seed):
        super().__init__(daemon=True)
        self.mill, self.random, self.done, self.load = mill, random.Random(seed), 0, None

    def run(self):
        while not self.mill.stopping.is_set():
            scan = self.random.random() < 0.4
            options = self.random.choice(self.SCAN if scan else self.ECHO)
            way = self.random.choice(self.mill.ways)
            began = time.monotonic()
            more = ("--blocked", "worker-crash") if scan else ()
            with Load(way, "--connections", 6, "--duration", 1, "--drain", 5, *options, *more,
                      service="inspect" if scan else "echo") as run:
                report = run.result()
            self.done += report["requests_total"]
            self._judge(report, began, f"{way.listener} {options}")

    def _judge(self, report, began, what):
        happened, errors = self.mill.happened, report["errors"]
        broken = (happened.within("gateway killed", began)
                  or happened.within("generation", began, HAND_OVER_SECONDS))
        excused = errors if broken and set(errors) <= self.BROKEN else {}
        if errors and not excused:
            self.mill.faults.add(f"icapload {what}: {errors} {report['details']}")
        if report["blocked"] > happened.within("worker killed", began, NOTICE_SECONDS):
            self.mill.faults.add(f"icapload {what}: {report['blocked']} blocked, for worker-crash")


class Mill:
    """All of it: clients, events, samples. |intervals|: seconds between reloads, kills of a worker,
    kills of the gateway; gateways live on in the last quarter, so that growth can be seen."""

    def __init__(self, gateway, ways, services, seconds, intervals, change, clients=6):
        self.gateway, self.ways, self.services, self.seconds = gateway, ways, services, seconds
        self.intervals, self.change = intervals, change
        self.happened, self.faults, self.stopping = Happenings(), Faults(), threading.Event()
        self.clients = [Client(self, seed) for seed in range(clients)]
        self.volume = [Volume(self, seed) for seed in range(2)]
        self.curve = []  # (second, role, pid, bytes, descriptors)
        self.random, self.began = random.Random(4), time.monotonic()
        self.current = gateway.gateway_pid()

    def run(self):
        threads = self.clients + self.volume
        for t in threads:
            t.start()
        try:
            self.turn()
        finally:
            self.stopping.set()
            for t in threads:
                t.join(60)
        assert not any(t.is_alive() for t in threads), "a client that does not end"

    def turn(self):
        """Does what is due, until its time is over."""
        jobs = [[self.began + every, every, job] for every, job in
                zip((*self.intervals, max(1, self.seconds / 120)),
                    (self.reload, self.kill_worker, self.kill_gateway, self.sample))]
        end = self.began + self.seconds
        while time.monotonic() < end:
            jobs.sort(key=lambda j: j[0])
            time.sleep(max(0, min(jobs[0][0], end) - time.monotonic()))  # the test's clock, not a wait
            if time.monotonic() >= jobs[0][0]:
                jobs[0][2]()
                jobs[0][0] = max(jobs[0][0] + jobs[0][1], time.monotonic())

    def second(self):
        return time.monotonic() - self.began

    # ---- what happens ----

    def reload(self):
        """Every third one changes what needs another generation of the gateway."""
        n = self.happened.count("reload") + 1
        another = n % 3 == 0 and self.second() < 0.75 * self.seconds
        happening = self.happened.begin("reload")
        generation = self.happened.begin("generation") if another else None
        started = self.happened.begin("gateway started") if another else None
        before = self.gateway.log().count("reload: ")
        self.change(n, another)
        self.gateway.send_signal(signal.SIGHUP)
        wait.until(lambda: self.gateway.log().count("reload: ") > before, "the end of a reload", 30)
        for h in filter(None, (happening, generation, started)):
            self.happened.end(h)

    def kill_worker(self):
        workers = self.gateway.worker_pids()
        if workers:
            pid, happening = self.random.choice(workers), self.happened.begin("worker killed")
            kill(pid)
            wait.until(lambda: not is_alive(pid), "the end of a worker", 20)
            self.happened.end(happening)

    def kill_gateway(self):
        if self.second() > 0.75 * self.seconds:
            return
        pid = self.gateway.gateway_pid()
        happening, started = self.happened.begin("gateway killed"), self.happened.begin("gateway started")
        kill(pid)
        wait.until(lambda: not is_alive(pid), "the end of the gateway", 20)
        self.happened.end(happening)
        wait.until(lambda: self.gateway.admin("/readyz")[0] == 200, "another gateway", 30)
        self.happened.end(started)

    # ---- what it costs ----

    def sample(self):
        """Every process of it; one that ends meanwhile is left out."""
        current = self.gateway.gateway_pid()
        for pid, command in self.gateway.processes().items():
            role = self._role(pid, command, current)
            try:
                self.curve.append((self.second(), role, pid, pss(pid), descriptors(pid)))
            except (FileNotFoundError, ProcessLookupError, KeyError, PermissionError):
                pass

    def _role(self, pid, command, current):
        if pid == self.gateway.pid:
            return "supervisor"
        if "sallyport-worker" in command:
            return "zygote" if pid in self.gateway.zygote_pids() else "worker"
        return "gateway" if pid == current else "leaving"

    def points(self, role, since=0.0, to=1.0):
        """(bytes, descriptors) of |role| in that part of the run."""
        return [(p[3], p[4]) for p in self.curve if p[1] == role and since <= p[0] / self.seconds <= to]


def kill(pid):
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
