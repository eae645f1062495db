# SPDX-License-Identifier: Apache-2.0
"""Peers that mean harm, or might as well: what they send costs them their connection, one file at
most, and nobody else anything."""
import os
import pathlib
import random
import resource
import select
import signal
import socket
import ssl
import statistics
import struct
import threading
import time

import pytest

from testenv import IcapConnection, Sallyport, Way, samples, wait
from testenv.icap import body_head, chunks, http_request, http_response, request

DEADLINES = """\
icap:
  head-timeout: 300ms
  body-timeout: 300ms
  write-timeout: 300ms
  idle-timeout: 500ms
"""
LISTENERS = """\
state: {state}
threads: 2
sandbox: required
log: {level: debug}
admin: {address: "127.0.0.1:0"}
tls:
  - {name: server, certificate: CERTIFICATE, key: KEY}
listeners:
  - {name: clear, address: "127.0.0.1:0"}
  - {name: tls, address: "127.0.0.1:0", tls: server, require: strong, handshake: HANDSHAKE}
services:
  - {name: echo, type: echo, path: /echo}
  - {name: inspect, type: inspect, path: /inspect}
"""


def listeners(certificates, handshake, more=""):
    certificate, key = certificates.server
    return (LISTENERS.replace("CERTIFICATE", str(certificate)).replace("KEY", str(key))
            .replace("HANDSHAKE", handshake) + more)


@pytest.fixture(scope="module")
def gateway_pid(sallyport):
    """The gateway's pid; nothing in this module may change it."""
    pid = sallyport.gateway_pid()
    yield pid
    assert sallyport.gateway_pid() == pid, sallyport.log()[-4000:]


@pytest.fixture(autouse=True)
def unharmed(request):
    """After every test the module's gateway is the same process and serves."""
    if "sallyport" not in request.fixturenames:
        yield
        return
    pid = request.getfixturevalue("gateway_pid")
    yield
    sallyport = request.getfixturevalue("sallyport")
    assert sallyport.gateway_pid() == pid, sallyport.log()[-4000:]
    assert Way(sallyport, "clear").ask("RESPMOD", "inspect", b"fine").status == 200


def expect_refused(connection, status=400):
    reply = connection.read_reply("OPTIONS")
    assert (reply.status, reply.field("Connection")) == (status, "close")
    connection.expect_closed()


OK, GET = http_response(), http_request()
N = len(OK)


class TestSmuggling:
    """What two parsers could read differently."""

    @pytest.mark.parametrize("fields", [
        ["Content-Length: 3"], ["Content-Length: 99999"], ["Content-Length: -1", "Content-Length: x"],
        ["Transfer-Encoding: chunked"], ["Transfer-Encoding: chunked, gzip"],
        ["Content-Length: 5", "Transfer-Encoding: chunked"], ["Upgrade: TLS/1.0", "Connection: upgrade"]])
    @pytest.mark.parametrize("body", [None, b"hello"])
    def test_framing_is_encapsulated_alone(self, way, fields, body):
        """Length and coding in the ICAP head mean nothing: the next request begins where it should."""
        with way.connect() as c:
            for _ in range(2):
                c.send(request("RESPMOD", way.url("echo"), body, fields=fields))
            for _ in range(2):
                reply = c.read_reply("RESPMOD")
                assert (reply.status, reply.body) == (200, body)
            c.expect_silence()

    @pytest.mark.parametrize("fields", [
        [b"Content-Length: 5", b"Content-Length: 6"], [b"Content-Length: 5, 6"], [b"Content-Length: 0x5"],
        [b"Content-Length: +5"], [b"Content-Length: 5 5"], [b"Content-Length: "],
        [b"Content-Length: 99999999999999999999999"], [b"Content-Length: 5", b"Transfer-Encoding: chunked"],
        [b"Content-Type: text/plain", b"Content-Type: text/html"],
        [b"Content-Disposition: inline", b"Content-Disposition: attachment; filename=x.exe"]])
    @pytest.mark.parametrize("method", ["REQMOD", "RESPMOD"])
    def test_conflicts_in_the_http_head_are_denied(self, way, method, fields):
        """inspect takes no guess at what a browser would make of it."""
        if method == "REQMOD":
            http = [("req-hdr", http_request(b"POST", fields=fields))]
        else:
            http = [("req-hdr", GET), ("res-hdr", b"HTTP/1.1 200 OK\r\n" + b"\r\n".join(fields) + b"\r\n\r\n")]
        with way.connect() as c:
            reply = c.ask(method, way.url("inspect"), b"hello", http=http)
            assert (reply.status, reply.http_status()) == (200, 403)
            assert reply.field("X-Response-Desc") == "denied"

    @pytest.mark.parametrize("fields", [[b"Content-Length : 5"], [b"Content-Length\t: 5"],
                                        [b"Transfer-Encoding : chunked"], [b"Content-Type: a", b" b"]])
    def test_odd_lines_that_decide_framing_are_refused(self, way, fields):
        head = b"HTTP/1.1 200 OK\r\n" + b"\r\n".join(fields) + b"\r\n\r\n"
        with way.connect() as c:
            c.send(request("RESPMOD", way.url("inspect"), b"hello", http=[("res-hdr", head)]))
            expect_refused(c)

    @pytest.mark.parametrize("fields", [[b"Transfer-Encoding: chunked"], [b"Content-Length: 5", b"Content-Length: 5"],
                                        [b"Connection: close", b"TE: trailers", b"Keep-Alive: timeout=5"]])
    def test_hop_by_hop_fields_inside_change_nothing(self, way, fields):
        head = b"HTTP/1.1 200 OK\r\n" + b"\r\n".join(fields) + b"\r\n\r\n"
        with way.connect() as c:
            for _ in range(2):
                reply = c.ask("RESPMOD", way.url("inspect"), b"hello", http=[("res-hdr", head)])
                assert (reply.status, reply.body, reply.heads["res-hdr"]) == (200, b"hello", head)

    @pytest.mark.parametrize("offset, status", [
        (N - 1, 400), (N + 1, 400), (0, 400), (N // 2, 400), ("-1", 400), (f"-{N}", 400), (f"+{N}", 400),
        (2**16 - 1, None), (2**18 + 1, 431), (2**31, 431), (2**32 + N, 431), (2**63 - 1, 431), (2**64 - 1, 431),
        (2**64, 400), (2**64 + N, 400), ("9" * 20, 400), ("1" * 300, 400), (f"{N}.0", 400), (f"{N:#x}", 400)])
    def test_wrong_offsets(self, way, offset, status):
        """None: not wrong as such, but the head does not end there; more bytes are waited for."""
        with way.connect() as c:
            c.send(request("RESPMOD", way.url("inspect"), b"hello", http=[("res-hdr", OK)],
                           encapsulated=f"res-hdr=0, res-body={offset}"))
            if status is None:
                c.send(b"x" * 2**16)
            expect_refused(c, status or 400)

    @pytest.mark.parametrize("first, second", [(len(GET) - 1, len(GET) + N), (len(GET) + 1, len(GET) + N),
                                               (len(GET), len(GET) + N - 1), (len(GET) + N, len(GET)),
                                               (2**64 - 1, len(GET) + N), (len(GET) + N, len(GET) + N)])
    def test_wrong_offsets_between_heads(self, way, first, second):
        with way.connect() as c:
            c.send(request("RESPMOD", way.url("inspect"), b"hello", http=[("req-hdr", GET), ("res-hdr", OK)],
                           encapsulated=f"req-hdr=0, res-hdr={first}, res-body={second}"))
            status = c.peek_status()
            assert status in (400, 431)
            expect_refused(c, status)

    @pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\nA: b\n\r\n", b"HTTP/1.1 200 OK\n\r\n\r\n",
                                      b"HTTP/1.1 200 OK\r\nA: \0b\r\n\r\n", b"HTTP/1.1 200 OK\r\nA: b\rC: d\r\n\r\n",
                                      b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nA: b\r\n",
                                      b"\r\nHTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nA: b\n\n"])
    def test_heads_that_are_not_one_head(self, way, head):
        with way.connect() as c:
            c.send(request("RESPMOD", way.url("inspect"), b"hello", http=[("res-hdr", head)]))
            expect_refused(c)

    @pytest.mark.parametrize("body", [
        b"8000000000000000\r\n", b"ffffffffffffffff\r\n", b"10000000000000000\r\n", b"f" * 5000 + b"\r\n",
        b"-5\r\nhello\r\n", b"+5\r\nhello\r\n", b"0x5\r\nhello\r\n", b" 5\r\nhello\r\n", b"5 5\r\nhello\r\n",
        b"5\nhello\r\n", b"5\r\nhello\n0\r\n\r\n", b"5\r\nhelloX\r\n", b"\r\nhello\r\n", b"5;\r\nhello\r\n",
        b"5;=x\r\nhello\r\n", b'5;a="x\r\nhello\r\n', b"5;a=b c\r\nhello\r\n", b"5\0\r\nhello\r\n", b"g\r\n",
        b"1\r\nx\r\n7fffffffffffffff\r\n", b"0\r\nnot a field\r\n\r\n", b"0\r\nA : b\r\n\r\n", b"0\r\nA: b\n\r\n"])
    def test_broken_chunks(self, way, body):
        with way.connect() as c:
            c.send(body_head("RESPMOD", way.url("inspect"), 5) + body)
            expect_refused(c)

    def test_chunk_size_of_63_bits_is_not_believed(self, way, sallyport):
        """Announced, not sent: nothing is allocated for it."""
        before = sallyport.status()["budgets"]["memory"]["used"]
        with way.connect() as c:
            c.send(body_head("RESPMOD", way.url("inspect"), 5) + b"7fffffffffffffff\r\nhello")
            assert sallyport.status()["budgets"]["memory"]["used"] - before < samples.MIB

    def test_much_framing_for_little_data(self, way):
        with way.connect() as c:
            c.send(body_head("RESPMOD", way.url("inspect"), 5))
            c.send_while_reading([b"1;" + b"x" * 4000 + b"\r\ny\r\n"] * 400)
            expect_refused_or_reset(c)

    def test_a_broken_body_after_an_early_answer(self, way):
        """The answer is out; what follows cannot be framed, so the connection ends."""
        with way.connect() as c:
            c.send(body_head("RESPMOD", way.url("nothing"), 5))
            assert c.read_reply("RESPMOD").status == 404
            c.send(b"zz\r\n")
            c.expect_closed()


def expect_refused_or_reset(connection):
    """400 and the end; a client that goes on sending may see the end only."""
    try:
        assert connection.read_reply("OPTIONS").status == 400
    except (ConnectionError, EOFError, ssl.SSLError):
        pass


# ---- time ----

class TestSilentPeers:
    N, HANDSHAKE_S = 2000, 15

    def test_two_thousand_silent_peers_delay_nobody(self, start_sallyport, certificates, capsys):
        """On the TLS port, where other servers stop accepting at one."""
        self.allow_descriptors(self.N + 500)
        gateway = start_sallyport(config=listeners(certificates, f"{self.HANDSHAKE_S}s"))
        good = Way(gateway, "tls", certificates.ca)
        assert good.ask("RESPMOD", "inspect", b"before").status == 200
        started = time.monotonic()
        silent = [socket.create_connection(gateway.address("tls")) for _ in range(self.N)]
        try:
            times = sorted(self.timed(good) for _ in range(100))
            assert time.monotonic() - started < self.HANDSHAKE_S, "slower than the silent peers' deadline"
            assert select.select([silent[0]], [], [], 0)[0] == [], "the silent peers are gone already"
        finally:
            for s in silent:
                s.close()
        with capsys.disabled():
            print(f"\n  with {self.N} silent peers: scan over a fresh icaps:// connection p50 "
                  f"{statistics.median(times) * 1000:.1f} ms, p99 {times[98] * 1000:.1f} ms")

    @staticmethod
    def timed(way):
        started = time.monotonic()
        assert way.ask("RESPMOD", "inspect", b"clean").status == 200
        return time.monotonic() - started

    @staticmethod
    def allow_descriptors(n):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft < n:
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(n, hard), hard))


class TestSlowPeers:
    """A peer that is slow in one state is closed by that state's deadline, while good ones go on."""

    @pytest.fixture(scope="class")
    def gateway(self, tmp_path_factory, certificates):
        with Sallyport(tmp_path_factory.mktemp("slow"), config=listeners(certificates, "300ms", DEADLINES)) as g:
            yield g

    @pytest.fixture(autouse=True)
    def good_peers(self, gateway, certificates):
        """Two clients that ask all the time; none of their requests may fail."""
        stop, failures, counts = threading.Event(), [], [0, 0]

        def ask(i, way):
            try:
                while not stop.is_set():
                    with way.connect() as c:
                        for _ in range(20):
                            assert c.ask("RESPMOD", way.url("inspect"), b"clean").status == 200
                            counts[i] += 1
            except Exception as e:  # handed to the test's thread
                failures.append(e)

        ways = [Way(gateway, "clear"), Way(gateway, "tls", certificates.ca)]
        threads = [threading.Thread(target=ask, args=(i, w)) for i, w in enumerate(ways)]
        for t in threads:
            t.start()
        yield
        stop.set()
        for t in threads:
            t.join()
        assert not failures, failures
        assert min(counts) > 0

    def connect(self, gateway, listener, certificates):
        return Way(gateway, listener, certificates.ca).connect(timeout=10)

    def expect_timeout(self, gateway, text):
        return gateway.wait_record(lambda r: r.get("error") == "timeout" and text in r["error_text"])

    @staticmethod
    def drip(connection, data, every=0.1, seconds=10):
        """A byte now and then until the peer closes; seconds until then."""
        started = time.monotonic()
        for byte in data:
            if select.select([connection.sock], [], [], every)[0]:
                break
            connection.send(bytes([byte]))
            assert time.monotonic() - started < seconds, "never closed"
        return time.monotonic() - started

    def test_silence_on_the_tls_port(self, gateway):
        with socket.create_connection(gateway.address("tls"), 10) as s:
            assert s.recv(1) == b""
        assert self.expect_timeout(gateway, "the first byte did not come")["listener"] == "tls"

    def test_handshake_byte_by_byte(self, gateway):
        hello = client_hello()
        with socket.create_connection(gateway.address("tls"), 10) as s:
            started = time.monotonic()
            for i in range(len(hello)):
                if select.select([s], [], [], 0.02)[0]:
                    break
                s.send(hello[i:i + 1])
            assert s.recv(1) == b""
            assert 0.2 < time.monotonic() - started < 5
        self.expect_timeout(gateway, "the end of the TLS handshake did not come")

    @pytest.mark.parametrize("listener", ["clear", "tls"])
    def test_idle(self, gateway, certificates, listener):
        """Between requests there is nobody to be told: just the end, without an error's record."""
        with self.connect(gateway, listener, certificates) as c:
            c.ask("RESPMOD", gateway.url("echo", listener), b"x")
            started = time.monotonic()
            c.expect_closed()
            assert 0.3 < time.monotonic() - started < 5

    @pytest.mark.parametrize("listener", ["clear", "tls"])
    def test_head(self, gateway, certificates, listener):
        """The deadline counts from the first byte: dripping does not help."""
        with self.connect(gateway, listener, certificates) as c:
            c.ask("RESPMOD", gateway.url("echo", listener), b"x")  # takes TLS 1.3's tickets off the socket, too
            seconds = self.drip(c, request("OPTIONS", gateway.url("echo", listener), http=[], encapsulated=""))
            assert 0.2 < seconds < 5
            assert c.read_reply("OPTIONS").status == 408
            c.expect_closed()
        self.expect_timeout(gateway, "the heads took too long")

    @pytest.mark.parametrize("listener", ["clear", "tls"])
    def test_encapsulated_head(self, gateway, certificates, listener):
        with self.connect(gateway, listener, certificates) as c:
            message = request("RESPMOD", gateway.url("inspect", listener), b"hello")
            c.send(message[:message.index(b"HTTP/1.1 200") + 5])
            assert c.read_reply("RESPMOD").status == 408
            c.expect_closed()

    @pytest.mark.parametrize("service", ["echo", "inspect"])
    @pytest.mark.parametrize("listener", ["clear", "tls"])
    def test_body(self, gateway, certificates, listener, service):
        with self.connect(gateway, listener, certificates) as c:
            c.send(body_head("RESPMOD", gateway.url(service, listener), 1000) + b"3e8\r\nonly this")
            if service == "inspect":
                assert c.read_reply("RESPMOD").status == 408
                c.expect_closed()
            else:  # its answer has begun: it is cut, and not made to look whole
                with pytest.raises((EOFError, ConnectionError, ssl.SSLError)):
                    c.read_reply("RESPMOD")
        self.expect_timeout(gateway, "no byte of the body")

    @pytest.mark.parametrize("listener", ["clear", "tls"])
    def test_preview_that_is_not_continued(self, gateway, certificates, listener):
        with self.connect(gateway, listener, certificates) as c:
            c.send(request("RESPMOD", gateway.url("inspect", listener), b"hello there", preview=5))
            c.expect_continue()
            assert c.read_reply("RESPMOD").status == 408

    @pytest.mark.parametrize("listener", ["clear", "tls"])
    def test_answer_that_is_not_taken(self, gateway, certificates, listener):
        """A client that sends and never reads: more than all buffers hold, then the end."""
        with self.connect(gateway, listener, certificates) as c:
            size = 64 * samples.MIB
            c.send(body_head("RESPMOD", gateway.url("echo", listener), size))
            try:
                for piece in chunks(samples.pieces(size)):
                    c.send(piece)
            except (ConnectionError, ssl.SSLError):
                pass
            record = self.expect_timeout(gateway, "the peer takes no output")
            assert record["service"] == "echo"


def client_hello():
    """Of an honest client, as bytes."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="localhost")
    try:
        tls.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()


# ---- what does not belong on this port ----

REFUSAL = (b"ICAP/1.0 403 Forbidden\r\nISTag: \"sallyport\"\r\nConnection: close\r\nEncapsulated: null-body=0\r\n\r\n")


def read_all(s):
    data = b""
    while piece := s.recv(65536):
        data += piece
    return data


class TestWrongPort:
    @pytest.mark.parametrize("first", [b"OPTIONS icap://x/echo ICAP/1.0\r\nHost: x\r\n\r\n", b"RESPMOD ", b"x",
                                       b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"])
    def test_clear_text_on_the_tls_port(self, sallyport, first):
        """Told in clear text, whole, without a reset, and recorded."""
        since = len(sallyport.records())
        with socket.create_connection(sallyport.address("tls"), 10) as s:
            client = "%s:%d" % s.getsockname()
            s.sendall(first)
            assert read_all(s) == REFUSAL
        record = sallyport.wait_record(lambda r: r["client"] == client, since=since)
        assert (record["error"], record["listener"]) == ("plaintext", "tls")
        assert "protection" not in record and "verdict" not in record

    @pytest.mark.parametrize("first", [b"\x16\x03\x01\x00\x05hello", b"\x16" + b"\xff" * 50, b"\x16\x03\x01\xff\xff",
                                       b"\x16\x03\x01\x00\x04\x01\x00\x00\x00", b"\x15\x03\x03\x00\x02\x02\x28",
                                       b"\x80\x2e\x01\x00\x02", b"\x00" * 100, b"\r\n\r\n"])
    def test_garbage_on_the_tls_port(self, sallyport, first):
        since = len(sallyport.records())
        with socket.create_connection(sallyport.address("tls"), 10) as s:
            client = "%s:%d" % s.getsockname()
            s.sendall(first)
            s.shutdown(socket.SHUT_WR)
            try:
                data = read_all(s)
            except ConnectionResetError:
                data = b""
            assert data == b"" or data[0] == 0x15  # nothing, or an alert
        record = sallyport.wait_record(lambda r: r["client"] == client, since=since)
        assert record["error"] in ("tls", "peer-closed", "peer-reset")

    def test_tls_on_the_clear_port(self, sallyport):
        with IcapConnection(sallyport.address()) as c:
            c.send(client_hello())
            try:
                assert c.read_reply("OPTIONS").status == 400
            except ConnectionResetError:
                pass

    def test_client_that_does_not_trust_us(self, sallyport):
        with pytest.raises(ssl.SSLError):
            IcapConnection(sallyport.address("tls"), tls=ssl.create_default_context())
        record = sallyport.wait_record(lambda r: r.get("error") == "tls" and "alert" in r["error_text"])
        assert "unknown CA" in record["error_text"]

    def test_reset_at_once(self, sallyport):
        for listener in ("clear", "tls") * 50:
            with socket.create_connection(sallyport.address(listener)) as s:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


class TestNoise:
    """Random bytes, from a seed."""

    @pytest.mark.parametrize("listener", ["clear", "tls"])
    def test_random_bytes(self, sallyport, listener):
        rng = random.Random(20261121)
        for _ in range(250):
            data = rng.randbytes(rng.choice([1, 10, 100, 5000]))
            if listener == "tls" and rng.random() < 0.5:
                data = b"\x16\x03\x01" + struct.pack(">H", min(len(data), 16384)) + data
            self.send(sallyport.address(listener), data)

    def test_random_mutations(self, sallyport, certificates):
        """Requests with a few bytes changed, inside TLS and in the clear."""
        rng = random.Random(7)
        good = [request("RESPMOD", "icap://x/inspect", samples.noise(300), preview=100),
                request("REQMOD", "icap://x/inspect", samples.EICAR), request("RESPMOD", "icap://x/echo", b"hello" * 50)]
        context = ssl.create_default_context(cafile=str(certificates.ca))
        for i in range(250):
            message = bytearray(rng.choice(good))
            for _ in range(rng.choice([1, 1, 2, 5])):
                at = rng.randrange(len(message))
                message[at:at + rng.choice([0, 1, 1, 3])] = rng.choice(
                    [rng.randbytes(1), b"", b"\r\n", b"\0", b"9" * 20, b"0", b";", b"=", b":", b"\n"])
            if i % 10:
                self.send(sallyport.address(), bytes(message))
            else:
                with socket.create_connection(sallyport.address("tls"), 10) as s:
                    with context.wrap_socket(s, server_hostname="localhost") as tls:
                        tls.sendall(bytes(message))

    @staticmethod
    def send(address, data):
        with socket.create_connection(address, 10) as s:
            try:
                s.sendall(data)
                s.shutdown(socket.SHUT_WR)
                while s.recv(65536):
                    pass
            except ConnectionError:
                pass


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

    def test_open_scans(self, start_sallyport):
        """limits.scans: one more is answered as overload at once."""
        gateway = start_sallyport(config=plain_config(
            more="threads: 1\nlimits: {scans: 2}\nengines: {workers: {count: 1}}\n", service="deadline: 20s"))
        way = Way(gateway, "clear")
        stopped = stop_workers(gateway)
        held = []
        for _ in range(2):
            held.append(way.connect())
            held[-1].send(request("RESPMOD", way.url("inspect"), b"waits"))
        wait.until(lambda: gateway.status()["budgets"]["scans"]["used"] == 2, "two open scans")
        reply = way.ask("RESPMOD", "inspect", b"one more")
        assert (reply.http_status(), reply.field("X-Response-Desc")) == (403, "overload")
        for pid in stopped:
            send_signal(pid, signal.SIGCONT)
        for c in held:
            assert c.read_reply("RESPMOD").body == b"waits"
            c.close()

    def test_queue_of_files(self, start_sallyport):
        gateway = start_sallyport(config=plain_config(
            more="threads: 1\nengines: {workers: {count: 1, queue: 1}}\n", service="deadline: 20s"))
        way = Way(gateway, "clear")
        stopped = stop_workers(gateway)
        held = []
        for waiting in (0, 1):
            held.append(way.connect())
            held[-1].send(request("RESPMOD", way.url("inspect"), b"waits"))
            wait.until(lambda n=waiting: gateway.status()["loops"][0]["files_waiting"] == n
                       and gateway.status()["loops"][0]["workers_busy"] == 1, "the file at its place")
        reply = way.ask("RESPMOD", "inspect", b"one more")
        assert reply.field("X-Response-Desc") == "overload"
        for pid in stopped:
            send_signal(pid, signal.SIGCONT)
        for c in held:
            assert c.read_reply("RESPMOD").body == b"waits"
            c.close()

    def test_spool_total(self, start_sallyport):
        """All spooled bodies together: over spool.total is disk-full, and the room comes back."""
        gateway = start_sallyport(config=plain_config(more="spool: {total: 4m, memory: 4k}\n"))
        way = Way(gateway, "clear")
        body = samples.noise(3 * samples.MIB)
        for _ in range(2):
            with way.connect() as c:
                c.send(request("RESPMOD", way.url("inspect"), body)[:-5])  # but for its last-chunk
                wait.until(lambda: gateway.status()["budgets"]["spool"]["used"] > 2 * samples.MIB, "a spooled body")
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


def plain_config(listener="", more="", service=""):
    """One clear listener; |listener|, |service|: further keys of the listener and of inspect."""
    threads = "" if "threads:" in more else "threads: 2\n"
    return (f"state: {{state}}\n{threads}sandbox: required\nlog: {{level: debug}}\nadmin: {{address: \"127.0.0.1:0\"}}\n"
            "listeners:\n"
            f"  - {{name: clear, address: \"127.0.0.1:0\"{', ' + listener if listener else ''}}}\n"
            "services:\n  - {name: echo, type: echo, path: /echo}\n"
            f"  - {{name: inspect, type: inspect, path: /inspect{', ' + service if service else ''}}}\n{more}")


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
        assert 0.25 < time.monotonic() - started < 5
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


def test_nothing_of_this_is_a_leak(sallyport):
    """The budgets are where they were when everybody is gone."""
    wait.until(lambda: sallyport.status()["budgets"]["scans"]["used"] == 0
               and sallyport.status()["budgets"]["spool"]["used"] == 0
               and sum(loop["connections"] for loop in sallyport.status()["loops"]) == 0, "the gateway at rest", 15)
