# SPDX-License-Identifier: Apache-2.0
"""The operators' listener: /metrics, /healthz, /readyz, and nothing else."""
import os
import re
import signal
import socket
import threading

import pytest

from testenv import Sallyport, Way, samples, wait
from testenv.icap import body_head

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = r'[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*"'
SAMPLE = re.compile(rf"({NAME})(?:\{{((?:{LABEL})(?:,{LABEL})*)\}})? (-?[0-9.]+(?:e[+-]?[0-9]+)?|\+Inf|NaN)")


def parse(text):
    """Prometheus text format 0.0.4, strictly: {name: (type, help, {labels: value})}. One block for each
    name, HELP and TYPE before its samples, no sample twice."""
    families, current = {}, None
    assert text.endswith("\n")
    for line in text.splitlines():
        if line.startswith("# HELP "):
            name, _, about = line[7:].partition(" ")
            assert name not in families, f"{name} in two blocks"
            assert about
            current = families[name] = {"help": about, "type": None, "samples": {}}
        elif line.startswith("# TYPE "):
            kind = line[7:].split(" ")
            assert kind[0] in families and families[kind[0]] is current
            assert kind[1] in ("counter", "gauge", "histogram")
            current["type"] = kind[1]
        else:
            m = SAMPLE.fullmatch(line)
            assert m, line
            base = m[1]
            if current["type"] == "histogram":
                base = re.sub("_(bucket|sum|count)$", "", m[1])
            assert families[base] is current, f"{line} outside its block"
            key = (m[1], m[2] or "")
            assert key not in current["samples"], line
            current["samples"][key] = float(m[3])
    return families


def scrape(gateway):
    status, text = gateway.admin("/metrics")
    assert status == 200
    return parse(text)


def raw(gateway, data, timeout=10):
    """What comes back to |data|, as bytes."""
    host, _, port = gateway.addresses()["admin"].rpartition(":")
    with socket.create_connection((host, int(port)), timeout) as s:
        s.sendall(data)
        answer = b""
        while piece := s.recv(65536):
            answer += piece
    return answer


def status_of(answer):
    m = re.match(rb"HTTP/1\.1 (\d\d\d) [ -~]+\r\n", answer)
    assert m, answer[:100]
    return int(m[1])


class TestMetrics:
    def test_form(self, sallyport):
        families = scrape(sallyport)
        for name, family in families.items():
            assert name.startswith("sallyport_")
            assert family["type"] is not None and family["samples"]
            assert (family["type"] == "counter") == name.endswith("_total"), name
        content_type = re.search(rb"Content-Type: ([^\r]*)", raw(sallyport, b"GET /metrics HTTP/1.0\r\n\r\n"))[1]
        assert content_type.startswith(b"text/plain; version=0.0.4")

    def test_histograms_add_up(self, sallyport):
        """Buckets rise, the last is +Inf and equals the count."""
        Way(sallyport, "clear").ask("RESPMOD", "inspect", b"x")
        family = scrape(sallyport)["sallyport_scan_seconds"]
        buckets = [(re.search(r'le="([^"]*)"', labels)[1], v) for (name, labels), v in family["samples"].items()
                   if name.endswith("_bucket")]
        values = [v for _, v in buckets]
        assert values == sorted(values) and values[-1] > 0
        assert [float(le) for le, _ in buckets] == sorted(float(le) for le, _ in buckets)
        assert buckets[-1][0] == "+Inf"
        count = next(v for (name, _), v in family["samples"].items() if name.endswith("_count"))
        total = next(v for (name, _), v in family["samples"].items() if name.endswith("_sum"))
        assert count == values[-1] and total > 0

    @pytest.mark.parametrize("what, sample", [
        (("RESPMOD", "inspect", b"x"), 'sallyport_icap_requests_total{service="inspect",method="RESPMOD"}'),
        (("REQMOD", "echo", b"x"), 'sallyport_icap_requests_total{service="echo",method="REQMOD"}'),
        (("RESPMOD", "inspect", b"x"), 'sallyport_icap_actions_total{service="inspect",action="pass"}'),
        (("RESPMOD", "inspect", samples.EICAR), 'sallyport_icap_actions_total{service="inspect",action="block"}'),
        (("RESPMOD", "inspect", samples.EICAR), 'sallyport_icap_causes_total{service="inspect",cause="infected"}'),
        (("RESPMOD", "nothing", b"x"), 'sallyport_icap_errors_total{error="not-found"}'),
        (("RESPMOD", "echo", b"x"), "sallyport_connections_total"),
        (("RESPMOD", "echo", b"x"), 'sallyport_icap_received_bytes_total{service="echo"}'),
        (("RESPMOD", "echo", b"x"), 'sallyport_icap_sent_bytes_total{service="echo"}'),
        (("RESPMOD", "echo", b"x"), "sallyport_records_written_total")])
    def test_counters_move(self, sallyport, what, sample):
        before = sallyport.metrics()[sample]
        Way(sallyport, "clear").ask(*what)
        wait.until(lambda: sallyport.metrics()[sample] > before, sample)

    def test_every_loop_counts(self, sallyport):
        """From several connections, whichever thread has them: the sum is exact."""
        sample = 'sallyport_icap_requests_total{service="echo",method="RESPMOD"}'
        before = sallyport.metrics()[sample]
        way = Way(sallyport, "clear")

        def ask():
            for _ in range(25):
                way.ask("RESPMOD", "echo", b"x")
        threads = [threading.Thread(target=ask) for _ in range(4)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert sallyport.metrics()[sample] == before + 100

    def test_turns_of_each_loop(self, sallyport):
        before = sallyport.metrics()
        for _ in range(20):
            Way(sallyport, "clear").ask("RESPMOD", "echo", b"x")
        after = sallyport.metrics()
        names = [f'{name}{{thread="{i}"}}' for name in ("sallyport_loop_turns_total", "sallyport_loop_busy_seconds_total") for i in (0, 1)]
        assert all(after[name] > before[name] for name in (names[0], names[2]))  # of the thread that is asked
        assert sum(after[name] - before[name] for name in names[:2]) >= 20
        for i in (0, 1):
            assert 0 <= after[f'sallyport_loop_longest_turn_seconds{{thread="{i}"}}'] < 10
        assert after['sallyport_loop_longest_turn_seconds{thread="0"}'] > 0

    def test_refused_connections(self, sallyport):
        sample = 'sallyport_connections_refused_total{error="plaintext"}'
        before = sallyport.metrics()[sample]
        with socket.create_connection(sallyport.address("tls"), 10) as s:
            s.sendall(b"OPTIONS ")
            while s.recv(4096):
                pass
        assert sallyport.metrics()[sample] == before + 1

    def test_open_connections(self, sallyport):
        way = Way(sallyport, "clear")
        wait.until(lambda: sallyport.metrics()["sallyport_connections"] == 0, "no connections")
        with way.connect() as a, way.connect() as b:
            for c in (a, b):
                c.ask("RESPMOD", way.url("echo"), b"x")
            assert sallyport.metrics()["sallyport_connections"] == 2
        wait.until(lambda: sallyport.metrics()["sallyport_connections"] == 0, "no connections")


class TestHttp:
    @pytest.mark.parametrize("target, status", [
        ("/metrics", 200), ("/healthz", 200), ("/readyz", 200), ("/metrics?name=x", 200), ("/", 404), ("/Metrics", 404),
        ("/metrics/", 404), ("//metrics", 404), ("/../metrics", 404), ("/metrics%00", 404), ("*", None),
        ("http://127.0.0.1/healthz", 200), ("http://evil.example/healthz", 403)])
    def test_targets(self, sallyport, target, status):
        answer = status_of(raw(sallyport, f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()))
        assert answer == status if status else 400 <= answer < 500

    @pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "get", "PATCH"])
    def test_only_get_and_head(self, sallyport, method):
        answer = raw(sallyport, f"{method} /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n".encode())
        assert status_of(answer) == 405
        assert b"\r\nAllow: GET, HEAD\r\n" in answer

    def test_head(self, sallyport):
        answer = raw(sallyport, b"HEAD /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert status_of(answer) == 200
        assert b"Content-Length: 3\r\n" in answer and answer.endswith(b"\r\n\r\n")

    @pytest.mark.parametrize("host, status", [("127.0.0.1:9344", 200), ("[::1]:80", 200), ("localhost", 200),
                                              ("evil.example", 403), ("127.0.0.1.evil.example", 403), (None, 400)])
    def test_names_of_web_pages(self, sallyport, host, status):
        """A name that a web page controls (DNS rebinding) gets nothing."""
        field = f"Host: {host}\r\n" if host else ""
        assert status_of(raw(sallyport, f"GET /metrics HTTP/1.1\r\n{field}\r\n".encode())) == status

    @pytest.mark.parametrize("data, status", [
        (b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * 70 + b"\r\n", 431),
        (b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * 9000 + b"\r\n\r\n", 431),
        (b"GET /" + b"y" * 3000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 414),
        (b"GET /healthz HTTP/2.0\r\nHost: localhost\r\n\r\n", 505), (b"GET /healthz\r\n\r\n", 400),
        (b"GET /healthz HTTP/1.1\nHost: localhost\n\n", 400), (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", 400),
        (b"GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"OPTIONS icap://x/echo ICAP/1.0\r\nHost: localhost\r\n\r\n", 400)])
    def test_refusals(self, sallyport, data, status):
        assert status_of(raw(sallyport, data)) == status

    def test_closes(self, sallyport):
        assert b"\r\nConnection: close\r\n" in raw(sallyport, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")

    def test_many_silent_connections(self, sallyport):
        """More than it takes: they go, and the scraper is served again."""
        held = [socket.create_connection(self.address(sallyport)) for _ in range(64)]
        for s in held:
            s.close()
        wait.until(lambda: sallyport.admin("/healthz")[0] == 200, "/healthz")

    @staticmethod
    def address(sallyport):
        host, _, port = sallyport.addresses()["admin"].rpartition(":")
        return host, int(port)


class TestReady:
    def test_body(self, sallyport):
        assert sallyport.admin("/readyz") == (200, "ready\n")
        assert sallyport.admin("/healthz") == (200, "ok\n")

    def test_draining(self, tmp_path):
        """An open transaction keeps the gateway up; it says that it is not ready, and takes no more."""
        with Sallyport(tmp_path / "gateway", more="drain: 20s\n") as gateway:
            way = Way(gateway, "clear")
            with way.connect() as c:
                c.send(body_head("RESPMOD", way.url("inspect"), 5) + b"5\r\nhello\r\n")
                wait.until(lambda: sum(loop["open_transactions"] for loop in gateway.status()["loops"]) == 1,
                           "an open transaction")
                gateway.send_signal(signal.SIGTERM)
                wait.until(lambda: "draining for at most" in gateway.log(), "the drain")
                assert gateway.admin("/readyz") == (503, "draining\n")
                assert gateway.admin("/healthz") == (200, "ok\n")
                assert gateway.metrics()["sallyport_ready"] == 0
                c.send(b"0\r\n\r\n")
                reply = c.read_reply("RESPMOD")
                assert (reply.status, reply.body) == (200, b"hello")
                assert reply.field("Connection") == "close"
                c.expect_closed()
            wait.until(lambda: not gateway.is_running(), "the end")

    def test_no_workers(self, start_sallyport):
        """The zygote is gone and none comes up for a moment: /readyz says so, then it is ready again."""
        gateway = start_sallyport()
        pids = gateway.zygote_pids()
        seen = set()
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)  # no worker is forked by this one any more
        for pid in gateway.worker_pids():
            os.kill(pid, signal.SIGKILL)

        def not_ready():
            status, text = gateway.admin("/readyz")
            seen.add((status, text.strip()))
            return status == 503
        wait.until(not_ready, f"/readyz 503 ({seen})")
        assert "no inspection worker is alive" in gateway.admin("/readyz")[1]
        assert gateway.metrics()["sallyport_ready"] == 0
        assert gateway.command_line("status", "--state", gateway.state).returncode == 1
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        wait.until(lambda: gateway.admin("/readyz")[0] == 200, "/readyz 200 again")
        assert Way(gateway, "clear").ask("RESPMOD", "inspect", b"x").status == 200


def test_switched_off(start_sallyport):
    gateway = start_sallyport(ready=False, config=(
        "state: {state}\nthreads: 1\nadmin: {enabled: false}\nlisteners:\n  - {name: clear, address: \"127.0.0.1:0\"}\n"
        "services:\n  - {name: echo, type: echo, path: /echo}\n"))
    assert "admin" not in gateway.addresses()
    assert Way(gateway, "clear").ask("RESPMOD", "echo", b"x").status == 200
