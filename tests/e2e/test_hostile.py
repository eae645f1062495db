# SPDX-License-Identifier: Apache-2.0
"""Peers that mean harm, or might as well: what they send costs them their connection, one file at
most, and nobody else anything."""
import contextlib
import random
import resource
import select
import socket
import ssl
import statistics
import struct
import threading
import time

import pytest

from testenv import IcapConnection, Sallyport, Way, samples, wait
from testenv.icap import body_head, chunks, http_request, http_response, request

# Not shorter: the good peers beside keep them, too, on a machine that does much else.
DEADLINES = """\
icap:
  head-timeout: 1500ms
  body-timeout: 1500ms
  write-timeout: 1500ms
  idle-timeout: 1500ms
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

@pytest.mark.alone
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
        with Sallyport(tmp_path_factory.mktemp("slow"), config=listeners(certificates, "1500ms", DEADLINES)) as g:
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
            with contextlib.suppress(ConnectionResetError):  # a byte that came at the very end
                assert s.recv(1) == b""
            assert 0.5 < time.monotonic() - started < 20
        self.expect_timeout(gateway, "the end of the TLS handshake did not come")

    @pytest.mark.parametrize("listener", ["clear", "tls"])
    def test_idle(self, gateway, certificates, listener):
        """Between requests there is nobody to be told: just the end, without an error's record."""
        with self.connect(gateway, listener, certificates) as c:
            c.ask("RESPMOD", gateway.url("echo", listener), b"x")
            started = time.monotonic()
            c.expect_closed()
            assert 0.3 < time.monotonic() - started < 20

    @pytest.mark.parametrize("listener", ["clear", "tls"])
    def test_head(self, gateway, certificates, listener):
        """The deadline counts from the first byte: dripping does not help."""
        with self.connect(gateway, listener, certificates) as c:
            c.ask("RESPMOD", gateway.url("echo", listener), b"x")  # takes TLS 1.3's tickets off the socket, too
            seconds = self.drip(c, request("OPTIONS", gateway.url("echo", listener), http=[], encapsulated=""))
            assert 0.5 < seconds < 20
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


def test_nothing_of_this_is_a_leak(sallyport):
    """The budgets are where they were when everybody is gone."""
    wait.until(lambda: sallyport.status()["budgets"]["scans"]["used"] == 0
               and sallyport.status()["budgets"]["spool"]["used"] == 0
               and sum(loop["connections"] for loop in sallyport.status()["loops"]) == 0, "the gateway at rest", 15)
