# SPDX-License-Identifier: Apache-2.0
"""What runs out and what breaks: a gateway over its budgets, and workers that crash, hang or grow, cost
one file at most."""
import os
import pathlib
import select
import signal
import socket
import time

import pytest

from testenv import Way, samples, wait
from testenv.icap import body_head, chunks, request
from testenv.sallyport import hold_memory


def plain_config(listener="", more="", service=""):
    """One clear listener; |listener|, |service|: further keys of the listener and of inspect."""
    threads = "" if "threads:" in more else "threads: 2\n"
    return (f"state: {{state}}\n{threads}sandbox: required\nlog: {{level: debug}}\nadmin: {{address: \"127.0.0.1:0\"}}\n"
            "listeners:\n"
            f"  - {{name: clear, address: \"127.0.0.1:0\"{', ' + listener if listener else ''}}}\n"
            "services:\n  - {name: echo, type: echo, path: /echo}\n"
            f"  - {{name: inspect, type: inspect, path: /inspect{', ' + service if service else ''}}}\n{more}")


# ---- budgets ----

class TestBudgets:
    def test_connection_limit(self, start_sallyport):
        gateway = start_sallyport(config=plain_config("connections: 5"))
        way = Way(gateway, "clear")
        held = [way.connect() for _ in range(5)]
        for c in held:
            assert c.ask("RESPMOD", way.url("echo"), b"x").status == 200
        with socket.create_connection(gateway.address(), 10) as s:
            try:
                assert s.recv(1) == b""
            except ConnectionResetError:
                pass
        gateway.wait_record(lambda r: r.get("error") == "overload" and "as many connections" in r["error_text"])
        held.pop().close()

        def served_again():
            try:
                return way.ask("RESPMOD", "echo", b"x").status == 200
            except (EOFError, ConnectionError):
                return False
        wait.until(served_again, "a place for another connection")
        for c in held:
            assert c.ask("RESPMOD", way.url("echo"), b"x").status == 200
            c.close()

    def test_tiny_memory(self, start_sallyport):
        """32 bodies at once in 16 MiB: each is inspected and comes back whole, or is answered as
        overload; nothing crashes, and the budget is kept."""
        gateway = start_sallyport(config=plain_config(
            more="limits: {memory: 16m}\nspool: {memory: 4m}\n", service="memory-max: 4m, on: {overload: error}"))
        way, pid = Way(gateway, "clear"), gateway.gateway_pid()
        body = samples.noise(3 * samples.MIB)
        held = []
        for _ in range(32):
            c = way.connect(timeout=60)
            c.send(body_head("RESPMOD", way.url("inspect"), len(body)))
            c.send_while_reading(chunks([body]))
            held.append(c)
        for c in held * 4:  # all make progress before the first is finished
            c._write_some()
        statuses = []
        for c in held:
            reply = c.read_reply("RESPMOD")
            statuses.append(reply.status)
            assert reply.status in (200, 503), f"{reply}\n{gateway.log()[-3000:]}\n{gateway.records()[-3:]}"
            assert reply.status == 503 or samples.digest(reply.body) == samples.noise_digest(len(body))
            c.close()
        assert set(statuses) <= {200, 503}, statuses
        assert gateway.gateway_pid() == pid
        assert gateway.status()["budgets"]["memory"]["peak"] <= 16 * samples.MIB
        assert way.ask("RESPMOD", "inspect", b"fine").status == 200
        wait.until(lambda: gateway.status()["budgets"]["memory"]["used"] < samples.MIB, "the memory given back")

    def test_no_memory_for_bodies(self, start_sallyport):
        """Heads take all there is: what comes then is answered as overload, and later all is well."""
        gateway = start_sallyport(config=plain_config(
            more="limits: {memory: 16m}\nicap: {http-head: 1m}\nthreads: 1\n", service="on: {overload: error}"))
        way, pid = Way(gateway, "clear"), gateway.gateway_pid()
        head = b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 500_000 + b"\r\n\r\n"
        held = []
        for _ in range(40):
            c = way.connect()
            c.send(request("RESPMOD", way.url("inspect"), b"", http=[("res-hdr", head)])[:-5])
            held.append(c)
        peak = wait.until(lambda: gateway.status()["budgets"]["memory"]["peak"], "a figure")
        assert peak <= 16 * samples.MIB
        for c in held:
            c.close()
        wait.until(lambda: way.ask("RESPMOD", "inspect", b"fine").status == 200, "an answer")
        assert gateway.gateway_pid() == pid

    @pytest.mark.parametrize("how", ["gone", "silent"])
    def test_memory_comes_back(self, start_sallyport, how):
        """Nothing is read any more, not even the ends of those who hold all the memory: that they have gone is seen all
        the same, and who stays and says nothing is refused in his time."""
        gateway = start_sallyport(config=plain_config(
            more=f"limits: {{memory: 16m}}\nicap: {{body-timeout: {'10m' if how == 'gone' else '3s'}}}\nthreads: 1\n"))
        way = Way(gateway, "clear")
        held = hold_memory(gateway, 15 / 16 - 0.01, "inspect")
        held += [way.connect(timeout=60) for _ in range(16)]
        for c in held[-16:]:
            c.send(request("RESPMOD", way.url("inspect"), b"a file")[:-5])
        with way.connect(timeout=60) as c:
            c.send(request("RESPMOD", way.url("inspect"), b"another file"))
            if how == "gone":  # else the first of them may have been refused by now
                assert select.select([c.sock], [], [], 0.5)[0] == []
                for gone in held:
                    gone.close()
            reply = c.read_reply("RESPMOD")
            assert reply.body == b"another file" or reply.field("X-Response-Desc") == "overload"
        wait.until(lambda: way.ask("RESPMOD", "inspect", b"fine").body == b"fine", "an answer", 30)
        if how == "silent":
            assert held[0].read_reply("RESPMOD").status == 408
        for c in held:
            c.close()

    def test_open_scans(self, start_sallyport):
        """limits.scans: an eighth of them, one at least, is not for a client that has its share already.
        Who gets none within limits.scan-wait is answered as overload, and somebody else is not."""
        gateway = start_sallyport(config=plain_config(
            "client-ip-from: [127.0.0.1]", "threads: 1\nlimits: {scans: 3}\nengines: {workers: {count: 1}}\n",
            "deadline: 20s"))
        crowd = Crowd(gateway)
        stopped = stop_workers(gateway)
        crowd.send("192.0.2.1")
        crowd.send("192.0.2.1")
        wait.until(lambda: crowd.scans() == 2, "two open scans")
        for client in ("192.0.2.1", "192.0.2.2"):
            begin = time.monotonic()
            if client == "192.0.2.2":
                crowd.send(client)
                wait.until(lambda: crowd.scans() == 3, "another client's scan")
            reply = crowd.ask(client)
            assert (reply.http_status(), reply.field("X-Response-Desc")) == (403, "overload")
            assert time.monotonic() - begin > 0.09
        assert crowd.ask("192.0.2.3").field("X-Response-Desc") == "overload"  # none is left
        for pid in stopped:
            send_signal(pid, signal.SIGCONT)
        crowd.expect_answers()
        wait.until(lambda: crowd.scans() == 0, "the slots given back")

    def test_a_slot_that_comes_in_time(self, start_sallyport):
        """limits.scan-wait: a file that finds no slot has its verdict when one becomes free."""
        gateway = start_sallyport(config=plain_config(
            "client-ip-from: [127.0.0.1]",
            "threads: 1\nlimits: {scans: 1, scan-wait: 10s}\nengines: {workers: {count: 1}}\n", "deadline: 20s"))
        crowd = Crowd(gateway)
        stopped = stop_workers(gateway)
        crowd.send("192.0.2.1")
        wait.until(lambda: crowd.scans() == 1, "the open scan")
        crowd.send("192.0.2.1")
        crowd.send("192.0.2.2")
        # Much longer than a file waits by default.
        assert select.select([c.sock for c, _ in crowd.held], [], [], 0.5)[0] == []
        for pid in stopped:
            send_signal(pid, signal.SIGCONT)
        crowd.expect_answers()

    def test_queue_of_files(self, start_sallyport):
        """engines.workers.queue: one more is answered as overload at once."""
        gateway = start_sallyport(config=plain_config(
            "client-ip-from: [127.0.0.1]", "threads: 1\nengines: {workers: {count: 1, queue: 1}}\n", "deadline: 20s"))
        crowd = Crowd(gateway)
        stopped = stop_workers(gateway)
        for waiting in (0, 1):
            crowd.send("192.0.2.1")
            wait.until(lambda n=waiting: gateway.status()["loops"][0]["files_waiting"] == n
                       and gateway.status()["loops"][0]["workers_busy"] == 1, "the file at its place")
        assert crowd.ask("192.0.2.1").field("X-Response-Desc") == "overload"
        for pid in stopped:
            send_signal(pid, signal.SIGCONT)
        crowd.expect_answers()

    def test_spool_total(self, start_sallyport):
        """All spooled bodies together: over spool.total is disk-full, and the room comes back."""
        gateway = start_sallyport(config=plain_config(more="spool: {total: 4m, memory: 4k}\n"))
        way = Way(gateway, "clear")
        body = samples.noise(3 * samples.MIB)
        for _ in range(2):
            with way.connect() as c:
                c.send(request("RESPMOD", way.url("inspect"), body)[:-5])  # but for its last-chunk
                wait.until(lambda: gateway.status()["budgets"]["spool"]["used"] >= len(body), "a spooled body")
                reply = way.ask("RESPMOD", "inspect", body)
                assert (reply.http_status(), reply.field("X-Response-Desc")) == (403, "disk-full")
                c.send(b"0\r\n\r\n")
                assert samples.digest(c.read_reply("RESPMOD").body) == samples.noise_digest(len(body))
            wait.until(lambda: gateway.status()["budgets"]["spool"]["used"] == 0, "the room given back")

    def test_body_larger_than_the_spool(self, start_sallyport):
        """It would not fit an empty one: no matter of waiting for room."""
        gateway = start_sallyport(config=plain_config(more="spool: {total: 4m, memory: 4k}\n"))
        reply = Way(gateway, "clear").ask("RESPMOD", "inspect", samples.noise(6 * samples.MIB))
        assert (reply.http_status(), reply.field("X-Response-Desc")) == (403, "too-large")


class Crowd:
    """Clients by X-Client-IP; no two of their files are the same, or one scan would do for both."""

    def __init__(self, gateway):
        self.gateway, self.way, self.held, self.n = gateway, Way(gateway, "clear"), [], 0

    def _message(self, client):
        self.n += 1
        body = b"file %d" % self.n
        return request("RESPMOD", self.way.url("inspect"), body, fields=[f"X-Client-IP: {client}"]), body

    def send(self, client):
        """A file whose answer expect_answers() reads."""
        message, body = self._message(client)
        self.held.append((self.way.connect(), body))
        self.held[-1][0].send(message)

    def ask(self, client):
        with self.way.connect() as c:
            c.send(self._message(client)[0])
            return c.read_reply("RESPMOD")

    def scans(self):
        return self.gateway.status()["budgets"]["scans"]["used"]

    def expect_answers(self):
        """Each has its file back."""
        for c, body in self.held:
            assert c.read_reply("RESPMOD").body == body
            c.close()


# ---- workers ----

def send_signal(pid, number):
    """To a worker of a gateway that this test started."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def state_of(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return "gone"


def stop_workers(gateway):
    """Workers that hang from now on."""
    pids = wait.until(gateway.worker_pids, "a worker")
    for pid in pids:
        send_signal(pid, signal.SIGSTOP)
    wait.until(lambda: all(state_of(p) in ("T", "gone") for p in pids), "workers that stand still")
    return pids


def is_gone(pid):
    return state_of(pid) in ("gone", "Z")


class TestWorkers:
    """A worker that crashes, hangs or grows costs one file."""

    ACTIONS = [("block", 200), ("error", 503), ("pass", 200)]

    def start(self, start_sallyport, cause, action, more="", deadline="20s"):
        gateway = start_sallyport(config=plain_config(
            more="threads: 1\n" + (more or "engines: {workers: {count: 1, grace: 100ms}}\n"),
            service=f"deadline: {deadline}, on: {{{cause}: {action}}}"))
        return gateway, Way(gateway, "clear")

    def expect(self, gateway, reply, cause, action, body=b"a file"):
        """The answer and the record that this service chose for this cause."""
        record = gateway.wait_record(lambda r: r["id"] == reply.field("X-Request-ID"))
        assert record["cause"] == cause
        assert record["action"] == action
        assert record["verdict"] in ("error", "not-inspected")
        if action == "block":
            assert (reply.http_status(), reply.field("X-Response-Desc")) == (403, cause)
        elif action == "pass":
            assert reply.body == body
            assert reply.field("X-Response-Desc") == f"not inspected: {cause}"
        return record

    @pytest.mark.parametrize("action, status", ACTIONS)
    def test_crash(self, start_sallyport, action, status):
        gateway, way = self.start(start_sallyport, "worker-crash", action)
        pid = gateway.gateway_pid()
        [worker] = stop_workers(gateway)
        with way.connect() as c, way.connect() as other:
            c.send(request("RESPMOD", way.url("inspect"), b"a file"))
            wait.until(lambda: gateway.status()["loops"][0]["workers_busy"] == 1, "a busy worker")
            other.send(request("RESPMOD", way.url("inspect"), b"the next"))
            wait.until(lambda: gateway.status()["loops"][0]["files_waiting"] == 1, "a file that waits")
            send_signal(worker, signal.SIGKILL)
            reply = c.read_reply("RESPMOD")
            assert reply.status == status
            assert other.read_reply("RESPMOD").body == b"the next"  # by a fresh worker
        assert self.expect(gateway, reply, "worker-crash", action)["error"] == "worker"
        assert gateway.gateway_pid() == pid
        assert gateway.status()["loops"][0]["workers_crashed"] == 1
        assert worker not in gateway.worker_pids()

    @pytest.mark.parametrize("action, status", ACTIONS)
    def test_hang(self, start_sallyport, action, status):
        """The deadline answers, and after the grace the worker is killed."""
        gateway, way = self.start(start_sallyport, "timeout", action, deadline="300ms")
        [worker] = stop_workers(gateway)
        started = time.monotonic()
        reply = way.ask("RESPMOD", "inspect", b"a file")
        assert 0.25 < time.monotonic() - started < 20
        assert reply.status == status
        assert self.expect(gateway, reply, "timeout", action)["error"] == "timeout"
        wait.until(lambda: is_gone(worker), "the hanging worker's end")
        assert way.ask("RESPMOD", "inspect", b"the next").body == b"the next"
        assert gateway.status()["loops"][0]["workers_killed"] == 1

    @pytest.mark.parametrize("action, status", ACTIONS)
    def test_growth(self, start_sallyport, tmp_path, action, status):
        """Rules with millions of matches in one file: the worker would need more than its memory."""
        strings = " ".join(f'$s{c} = "{c}{c}"' for c in "abcdefghijklmnopqrstuvwxyz")
        rules = tmp_path / "grow.yar"
        rules.write_text(f"rule Grows {{ strings: {strings} condition: for all of them: (# > 0) }}\n"
                         'rule Fine { strings: $a = "find me" condition: $a }\n')
        gateway, way = self.start(start_sallyport, "worker-crash", action, more=(
            f"engines: {{yara: {{rules: [{rules}]}}, workers: {{count: 1, memory: 64m}}}}\n"))
        pid = gateway.gateway_pid()
        body = b"".join(bytes([c]) * 500_000 for c in b"abcdefghijklmnopqrstuvwxyz")
        reply = way.ask("RESPMOD", "inspect", body)
        assert reply.status == status
        self.expect(gateway, reply, "worker-crash", action, body)
        assert way.ask("RESPMOD", "inspect", b"the next").body == b"the next"
        assert way.ask("RESPMOD", "inspect", b"find me").http_status() == 403
        assert gateway.gateway_pid() == pid

    def test_client_that_goes_away_drops_its_scan(self, start_sallyport):
        gateway, way = self.start(start_sallyport, "timeout", "block")
        [worker] = stop_workers(gateway)
        with way.connect() as c:
            c.send(request("RESPMOD", way.url("inspect"), b"a file"))
            wait.until(lambda: gateway.status()["budgets"]["scans"]["used"] == 1, "an open scan")
        wait.until(lambda: gateway.status()["budgets"]["scans"]["used"] == 0, "the scan dropped")
        record = gateway.wait_record(lambda r: r.get("error") == "client-gone")
        assert record["service"] == "inspect" and "icap_status" not in record
        send_signal(worker, signal.SIGCONT)
        assert way.ask("RESPMOD", "inspect", b"the next").body == b"the next"

    def test_zygote_killed(self, start_sallyport):
        """Files wait for the next zygote."""
        gateway, way = self.start(start_sallyport, "engine-down", "block")
        [zygote] = gateway.zygote_pids()
        send_signal(zygote, signal.SIGKILL)
        wait.until(lambda: is_gone(zygote), "the zygote's end")
        assert way.ask("RESPMOD", "inspect", b"a file").body == b"a file"
        assert gateway.zygote_pids() != [zygote]
