# SPDX-License-Identifier: Apache-2.0
"""The load generator against servers that misbehave: each fault by its name, and exit code 1.

A figure is worth what its checks are worth, so this is the test of the checks in
tests/bench/load_answer.c. The binary is $SALLYPORT_BUILD/tests/bench/icapload.
"""
import email
import json
import os
import pathlib
import socket
import ssl
import subprocess
import threading

import pytest

BUILD = os.environ.get("SALLYPORT_BUILD")
LOAD = pathlib.Path(BUILD or "/nonexistent", "tests", "bench", "icapload")

pytestmark = pytest.mark.skipif(not LOAD.exists(),
                                reason="SALLYPORT_BUILD names no build with tests/bench/icapload")

SIZE = 3000
WAIT = 10  # seconds; no test needs them


# --- a server of which each part can be made wrong ---------------------------------------------


class Request:
    """One request as the server read it: heads, and the body without its framing."""

    def __init__(self, icap, http, body, ieof):
        self.icap, self.http, self.body, self.ieof = icap, http, body, ieof
        self.method = icap.split(b" ", 1)[0]
        self.preview = b"\r\nPreview: " in icap

    def http_head(self):
        """The head that an echo returns: the last of the encapsulated ones."""
        return b"".join(self.http[-1:])


class Peer:
    """The server's end of one connection."""

    def __init__(self, sock):
        self.sock = sock
        self.file = sock.makefile("rb")

    def head(self):
        lines = []
        while not lines or lines[-1] != b"\r\n":
            line = self.file.readline()
            if not line:
                return None
            lines.append(line)
        return b"".join(lines)

    def chunks(self):
        body = b""
        while True:
            size, _, extension = self.file.readline().strip().partition(b";")
            n = int(size, 16)
            body += self.file.read(n)
            assert self.file.read(2) == b"\r\n"
            if n == 0:
                return body, extension.strip() == b"ieof"

    def request(self):
        icap = self.head()
        if icap is None:
            return None
        entities = [line for line in icap.split(b"\r\n") if line.startswith(b"Encapsulated: ")]
        if not entities:
            return None  # the rest of a body, sent after a 100: not what this server serves
        names = [e.split(b"=")[0].strip() for e in entities[0][14:].split(b",")]
        http = [self.head() for name in names if name.endswith(b"-hdr")]
        body, ieof = self.chunks() if names[-1] != b"null-body" else (None, False)
        return Request(icap, http, body, ieof)

    def send(self, data):
        self.sock.sendall(data)


def chunked(body, step=1000):
    pieces = [body[i:i + step] for i in range(0, len(body), step)]
    return b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in pieces) + b"0\r\n\r\n"


def answer(request, status=b"200 OK", istag=b'ISTag: "t1"\r\n', more=b"", shift=0, body=None,
           framed=None, http=None, encapsulated=None):
    """An echo, right in every byte unless a parameter says otherwise."""
    http = request.http_head() if http is None else http
    kind = b"req" if request.method == b"REQMOD" else b"res"
    if request.method == b"OPTIONS":
        encapsulated = encapsulated or b"null-body=0"
        more += b"Methods: REQMOD, RESPMOD\r\n"
    elif encapsulated is None:
        body_kind = b"null" if request.body is None else kind
        encapsulated = b"%s-hdr=0, %s-body=%d" % (kind, body_kind, len(http) + shift)
    if framed is None:
        framed = b"" if request.body is None else chunked(request.body if body is None else body)
    return b"ICAP/1.0 %s\r\n%s%sEncapsulated: %s\r\n\r\n%s%s" % (
        status, istag, more, encapsulated, http, framed)


NO_CHANGE = b'ICAP/1.0 204 No Content\r\nISTag: "t1"\r\n\r\n'
CONTINUE = b"ICAP/1.0 100 Continue\r\n\r\n"


class Stub:
    """Serves each connection with |talk| on its own thread until the test is over."""

    def __init__(self, talk, context=None):
        self.talk, self.context = talk, context
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        self.threads, self.socks = [], []
        self.over = threading.Event()

    def __enter__(self):
        self.spawn(self.accept)
        return self

    def spawn(self, target, *args):
        thread = threading.Thread(target=target, args=args, daemon=True)
        self.threads.append(thread)
        thread.start()

    def accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            self.socks.append(sock)
            self.spawn(self.serve, sock)

    def serve(self, sock):
        try:
            sock.settimeout(WAIT)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.context:
                sock = self.context.wrap_socket(sock, server_side=True)
                self.socks.append(sock)
            self.talk(Peer(sock), self)
        except (OSError, ValueError):
            pass  # the load generator hangs up on what is wrong
        finally:
            sock.close()

    def __exit__(self, *_):
        self.over.set()
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for sock in self.socks:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        for thread in self.threads:
            thread.join(WAIT)


def each(reply):
    """A server that answers every request with reply(request); None closes the connection."""
    def talk(peer, _stub):
        while True:
            request = peer.request()
            data = reply(request) if request else None
            if data is None:
                return
            peer.send(data)
    return talk


def load(address, *options, requests=3, connections=1):
    command = [str(LOAD), "--json", "-n", str(connections), "-r", str(requests),
               "--max-errors", "1", "--timeout", "0.4", *options, address]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert done.returncode in (0, 1), done.stderr
    return done.returncode, json.loads(done.stdout)


RESPMOD = ("-m", "RESPMOD", "-s", str(SIZE))
REQMOD = ("-m", "REQMOD")
NO_CHANGE_OK = (*RESPMOD, "--allow-204")
PREVIEW = (*RESPMOD, "--preview", "1000")
UNIQUE = (*RESPMOD, "--unique")
FORM = (*REQMOD, "--form", "3", "-s", "400")
BLOCKED = (*RESPMOD, "--blocked", "overload")
PAGE = b"<title>Blocked</title>"


def block_page(cause=b"overload", status=b"403 Forbidden", length=len(PAGE)):
    http = b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n" % (status, length)
    return (b'ICAP/1.0 200 OK\r\nISTag: "t1"\r\nX-Response-Desc: %s\r\n'
            b"Encapsulated: res-hdr=0, res-body=%d\r\n\r\n%s%s"
            % (cause, len(http), http, chunked(PAGE)))


# --- a good server passes ----------------------------------------------------------------------


def good(request):
    return answer(request)


class TestGood:
    @pytest.mark.parametrize("options", [
        (), REQMOD, ("-m", "REQMOD", "-s", "5000"), RESPMOD, ("-m", "RESPMOD", "-s", "0"),
        ("-m", "RESPMOD", "-s", "1"), ("-m", "RESPMOD", "-s", "65536"),
        ("-m", "RESPMOD", "-s", "300000"), NO_CHANGE_OK, (*RESPMOD, "--expect", "200"),
    ])
    def test_echo(self, options):
        with Stub(each(good)) as stub:
            code, report = load(stub.address, *options, requests=20, connections=4)
        assert (code, report["errors"], report["requests"]) == (0, {}, 20)
        assert report["status"]["200"] == 20

    def test_no_change(self):
        with Stub(each(lambda request: NO_CHANGE)) as stub:
            code, report = load(stub.address, *NO_CHANGE_OK, requests=20)
        assert (code, report["status"]["204"]) == (0, 20)

    def test_every_cut(self):
        """The same answer in pieces of every size, so that each check meets each cut."""
        whole = []

        def talk(peer, _stub):
            step = 1
            while request := peer.request():
                data = answer(request)
                whole.append(len(data))
                for i in range(0, len(data), step):
                    peer.send(data[i:i + step])
                step += 1
        with Stub(talk) as stub:
            code, report = load(stub.address, "-m", "RESPMOD", "-s", "50", "--timeout", "5",
                                requests=60)
        assert (code, report["errors"], report["requests"]) == (0, {}, 60)
        assert report["bytes_in"] == sum(whole)

    def test_reads_while_it_writes(self):
        """A body that fits no socket buffer, echoed by a server that holds next to nothing."""
        size = 32 << 20

        def talk(peer, _stub):
            peer.head()
            peer.head()
            http = peer.head()
            peer.send(b'ICAP/1.0 200 OK\r\nISTag: "t1"\r\n'
                      b"Encapsulated: res-hdr=0, res-body=%d\r\n\r\n%s" % (len(http), http))
            left = 1
            while left:
                line = peer.file.readline()
                left = int(line, 16)
                peer.send(line + peer.file.read(left + 2))
        with Stub(talk) as stub:
            code, report = load(stub.address, "-m", "RESPMOD", "-s", str(size), "--timeout", "20",
                                requests=1)
        assert (code, report["errors"], report["requests"]) == (0, {}, 1)
        assert report["bytes_out"] > size

    @pytest.mark.parametrize("final", [NO_CHANGE, None])
    def test_preview_then_continue(self, final):
        def talk(peer, _stub):
            while request := peer.request():
                assert request.preview and len(request.body) == 1000 and not request.ieof
                if not final:
                    peer.send(CONTINUE)
                    request.body += peer.chunks()[0]
                peer.send(final or answer(request))
        with Stub(talk) as stub:
            code, report = load(stub.address, *PREVIEW, "--continue",
                                "never" if final else "always", requests=5)
        assert (code, report["errors"], report["requests"]) == (0, {}, 5)
        assert report["status"]["100"] == (0 if final else 5)

    def test_preview_that_is_the_whole_body(self):
        seen = []

        def reply(request):
            seen.append(request.ieof)
            return answer(request)
        with Stub(each(reply)) as stub:
            code, report = load(stub.address, *RESPMOD, "--preview", str(SIZE))
        assert (code, report["errors"], seen) == (0, {}, [True] * 3)

    def test_preview_without_body(self):
        with Stub(each(lambda request: NO_CHANGE)) as stub:
            code, report = load(stub.address, *REQMOD, "--preview", "0")
        assert (code, report["errors"]) == (0, {})

    def test_connection_for_each_request(self):
        def talk(peer, _stub):
            request = peer.request()
            assert b"\r\nConnection: close\r\n" in request.icap
            peer.send(answer(request))
        with Stub(talk) as stub:
            code, report = load(stub.address, *RESPMOD, "--close", requests=10)
        assert (code, report["errors"], report["connects"]) == (0, {}, 10)

    def test_announced_close(self):
        with Stub(lambda peer, _: peer.send(answer(peer.request(),
                                                   more=b"Connection: close\r\n"))) as stub:
            code, report = load(stub.address, *RESPMOD, requests=5)
        assert (code, report["errors"], report["reconnects"]) == (0, {}, 5)


class TestBodies:
    def test_unique(self):
        """No two bodies of two runs are the same, and what is not the stamp is as without."""
        seen, plain = [], []

        def reply(request):
            seen.append(request.body)
            return answer(request)
        with Stub(each(reply)) as stub:
            for _ in range(2):
                code, report = load(stub.address, *UNIQUE, requests=20, connections=4)
                assert (code, report["errors"], report["requests"]) == (0, {}, 20)
        with Stub(each(lambda request: plain.append(request.body) or answer(request))) as stub:
            load(stub.address, *RESPMOD, requests=1)
        assert len(seen) == len({body[:16] for body in seen}) == 40
        assert all(len(body) == SIZE for body in seen)
        assert plain[0][16:] in [body[16:] for body in seen]

    @pytest.mark.parametrize("size", [16, 17, 65536, 65537, 300000])
    @pytest.mark.parametrize("preview", [0, 1, 15, 16, 17, 1000, None])
    def test_unique_in_every_cut(self, size, preview):
        options = ("-m", "RESPMOD", "-s", str(size), "--unique")

        def talk(peer, _stub):
            while request := peer.request():
                if request.preview and not request.ieof:
                    peer.send(CONTINUE)
                    request.body += peer.chunks()[0]
                assert len(request.body) == size and int(request.body[:16], 16)
                peer.send(answer(request))
        with Stub(talk) as stub:
            code, report = load(stub.address, *options,
                                *(() if preview is None else ("--preview", str(preview))))
        assert (code, report["errors"], report["requests"]) == (0, {}, 3)

    @pytest.mark.parametrize("parts, size", [(1, 16), (10, 1024), (1000, 100)])
    def test_form(self, parts, size):
        seen = []

        def reply(request):
            message = email.message_from_bytes(
                request.http_head().split(b"\r\n", 1)[1] + request.body)
            assert message.get_content_type() == "multipart/form-data"
            assert int(message["Content-Length"]) == len(request.body)
            seen.append([(p.get_param("name", header="Content-Disposition"), p.get_payload())
                         for p in message.get_payload()])
            return answer(request)
        with Stub(each(reply)) as stub:
            code, report = load(stub.address, *REQMOD, "--form", str(parts), "-s", str(size),
                                "--unique", "--timeout", "5")
        assert (code, report["errors"], report["requests"]) == (0, {}, 3)
        for form in seen:
            assert [name for name, _ in form] == [f"field{i}" for i in range(parts)]
            assert {len(value) for _, value in form} == {size}
        assert len({form[0][1] for form in seen}) == 3

    @pytest.mark.parametrize("method", [RESPMOD, ("-m", "REQMOD", "-s", str(SIZE))])
    def test_block_page(self, method):
        """Every other answer is the allowed page; its latency is not mixed with the others'."""
        count = []

        def reply(request):
            count.append(1)
            return block_page() if len(count) % 2 else answer(request)
        with Stub(each(reply)) as stub:
            code, report = load(stub.address, *method, "--blocked", "overload", requests=10)
        assert (code, report["errors"], report["requests"], report["blocked"]) == (0, {}, 10, 5)
        assert report["latency_us"]["max"] > 0 and report["blocked_us"]["max"] > 0

    def test_block_page_after_a_preview(self):
        with Stub(each(lambda request: block_page())) as stub:
            code, report = load(stub.address, *PREVIEW, "--blocked", "overload")
        assert (code, report["errors"], report["blocked"]) == (0, {}, 3)

    @pytest.mark.parametrize("options", [
        ("-m", "RESPMOD", "-s", "15", "--unique"), (*RESPMOD, "--unique", "--fill"),
        (*RESPMOD, "--form", "2"), (*REQMOD, "--form", "2"), (*RESPMOD, "--rate", "5", "--close"),
    ])
    def test_what_does_not_go_together(self, options):
        done = subprocess.run([str(LOAD), *options, "127.0.0.1:9"], capture_output=True, timeout=30)
        assert done.returncode == 2


def test_source_address():
    seen = []

    def talk(peer, _stub):
        seen.append(peer.sock.getpeername()[0])
        peer.send(answer(peer.request()))
    with Stub(talk) as stub:
        code, report = load(stub.address, *RESPMOD, "--from", "127.0.0.9", requests=1)
    assert (code, report["errors"], seen) == (0, {}, ["127.0.0.9"])


class TestPace:
    def test_rate(self):
        with Stub(each(good)) as stub:
            code, report = load(stub.address, *RESPMOD, "--rate", "50", requests=40, connections=2)
        assert (code, report["errors"], report["requests"]) == (0, {}, 40)
        assert 0.3 < report["seconds"] < 3  # 20 of each connection, 20 ms apart

    def test_after_a_late_answer(self):
        """It counts in full, those behind it do not pay for it, and the pace goes on."""
        count = []

        def reply(request):
            count.append(1)
            if len(count) == 1:
                threading.Event().wait(0.3)
            return answer(request)
        with Stub(each(reply)) as stub:
            code, report = load(stub.address, *RESPMOD, "--rate", "50", "--timeout", "5",
                                requests=10)
        assert (code, report["errors"], report["requests"]) == (0, {}, 10)
        assert report["latency_us"]["max"] > 290000 and report["latency_us"]["p50"] < 100000
        assert report["seconds"] > 0.3 + 8 * 0.02

    def test_bytes_during_a_pause(self):
        with Stub(each(lambda request: answer(request) + b"x")) as stub:
            code, report = load(stub.address, *RESPMOD, "--rate", "5")
        assert (code, list(report["errors"])) == (1, ["extra-bytes"])

    def test_the_end_does_not_wait_for_a_pause(self):
        with Stub(each(good)) as stub:
            command = [str(LOAD), "--json", "-n", "2", "-d", "0.2", *RESPMOD, "--rate", "1",
                       stub.address]
            done = subprocess.run(command, capture_output=True, text=True, timeout=30)
        report = json.loads(done.stdout)
        assert (done.returncode, report["errors"], report["requests"]) == (0, {}, 1)


class TestTls:
    @pytest.fixture(scope="class")
    def context(self, tmp_path_factory):
        folder = tmp_path_factory.mktemp("tls")
        cert, key = folder / "cert.pem", folder / "key.pem"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
             "-nodes", "-subj", "/CN=localhost", "-days", "2", "-keyout", key, "-out", cert],
            check=True, capture_output=True, timeout=30)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert, key)
        return context

    @pytest.mark.parametrize("size", [0, 1, 16384, 300000])
    def test_echo(self, context, size):
        with Stub(each(good), context) as stub:
            code, report = load(stub.address, "--tls", "-m", "RESPMOD", "-s", str(size),
                                "--timeout", "5", requests=10, connections=2)
        assert (code, report["errors"], report["requests"]) == (0, {}, 10)
        assert report["handshakes"] == 2

    @pytest.mark.parametrize("resume", [False, True])
    def test_connection_for_each_request(self, context, resume):
        def talk(peer, _stub):
            peer.send(answer(peer.request()))
        with Stub(talk, context) as stub:
            code, report = load(stub.address, "--tls", "--close", *(("--resume",) * resume),
                                "--timeout", "5", requests=5)
        assert (code, report["errors"], report["handshakes"]) == (0, {}, 5)
        assert report["resumed"] == (4 if resume else 0)

    def test_extra_bytes(self, context):
        with Stub(each(lambda request: answer(request) + b"x"), context) as stub:
            code, report = load(stub.address, "--tls", *RESPMOD, "--timeout", "5")
        assert (code, list(report["errors"])) == (1, ["extra-bytes"])

    def test_no_tls(self):
        with Stub(lambda peer, _: peer.send(b"ICAP/1.0 400 Bad request\r\n\r\n")) as stub:
            code, report = load(stub.address, "--tls")
        assert (code, list(report["errors"])) == (1, ["handshake"])


# --- bad servers are named ---------------------------------------------------------------------


def spoiled(body, at):
    return body[:at] + bytes([body[at] ^ 1]) + body[at + 1:]


def http_without_empty_line(request):
    return answer(request, http=request.http_head()[:-2])


# name of the fault, what the server does, options
FAULTS = {
    "status line": ("status-line", lambda r: b"HTTP/1.1 200 OK\r\n\r\n", RESPMOD),
    "status line, version": ("status-line", lambda r: answer(r).replace(b"1.0", b"1.1", 1), ()),
    "status line, no reason": ("status-line", lambda r: answer(r, status=b"200"), ()),
    "wrong status": ("status", lambda r: answer(r, status=b"500 Oops"), RESPMOD),
    "404": ("status", lambda r: b'ICAP/1.0 404 Not found\r\nISTag: "t"\r\n\r\n', RESPMOD),
    "206 that nobody asked for": ("status", lambda r: answer(r, status=b"206 Partial"), RESPMOD),
    "204 without Allow": ("status", lambda r: NO_CHANGE, RESPMOD),
    "204 for OPTIONS": ("status", lambda r: NO_CHANGE, ("--allow-204",)),
    "not the expected one": ("status", lambda r: NO_CHANGE, (*NO_CHANGE_OK, "--expect", "200")),
    "field without colon": ("field", lambda r: answer(r, more=b"Oops\r\n"), RESPMOD),
    "field with a space": ("field", lambda r: answer(r, more=b"A b: c\r\n"), RESPMOD),
    "bare LF": ("field", lambda r: answer(r, more=b"A: b\nC: d\r\n"), RESPMOD),
    "doubled Encapsulated": ("field", lambda r: answer(r, more=b"Encapsulated: null-body=0\r\n"),
                             RESPMOD),
    "missing ISTag": ("istag", lambda r: answer(r, istag=b""), RESPMOD),
    "missing ISTag, 204": ("istag", lambda r: b"ICAP/1.0 204 No Content\r\n\r\n", NO_CHANGE_OK),
    "empty ISTag": ("istag", lambda r: answer(r, istag=b'ISTag: ""\r\n'), RESPMOD),
    "long ISTag": ("istag", lambda r: answer(r, istag=b'ISTag: "%s"\r\n' % (b"x" * 33)), RESPMOD),
    "OPTIONS without Methods": ("options",
                                lambda r: answer(r).replace(b"Methods", b"Mothods"), ()),
    "no Encapsulated": ("encapsulated", lambda r: answer(r).replace(b"Encap", b"X-Enc"), RESPMOD),
    "OPTIONS with a body": ("encapsulated", lambda r: answer(r, encapsulated=b"opt-body=0"), ()),
    "no head": ("encapsulated",
                lambda r: answer(r, http=b"", encapsulated=b"res-body=0"), RESPMOD),
    "head of the other kind": ("encapsulated",
                               lambda r: answer(r).replace(b"res-hdr", b"req-hdr"), RESPMOD),
    "body dropped": ("encapsulated", lambda r: answer(r).replace(b"res-body", b"null-body"),
                     RESPMOD),
    "signed offset": ("encapsulated", lambda r: answer(r).replace(b"body=", b"body=+"), RESPMOD),
    "offset too small": ("encapsulated-offset", lambda r: answer(r, shift=-1), RESPMOD),
    "offset too large": ("encapsulated-offset", lambda r: answer(r, shift=1), RESPMOD),
    "offset beyond everything": ("encapsulated-offset", lambda r: answer(r, shift=10**9), REQMOD),
    "first offset not 0": ("encapsulated-offset",
                           lambda r: answer(r).replace(b"hdr=0", b"hdr=2"), RESPMOD),
    "no empty line after the head": ("encapsulated-offset", http_without_empty_line, RESPMOD),
    "endless head": ("head-too-long", lambda r: answer(r, more=b"A: b\r\n" * 5000), RESPMOD),
    "another status inside": ("http-head", lambda r: answer(r).replace(b"/1.1 200", b"/1.1 403"),
                              RESPMOD),
    "another request inside": ("http-head", lambda r: answer(r).replace(b"GET http", b"PUT http"),
                               REQMOD),
    "Content-Length": ("content-length",
                       lambda r: answer(r).replace(b"Length: 3000", b"Length: 3001"), RESPMOD),
    "100 without preview": ("continue", lambda r: CONTINUE + answer(r), RESPMOD),
    "100 after ieof": ("continue", lambda r: CONTINUE, (*RESPMOD, "--preview", "4000")),
    "100 not wanted": ("continue", lambda r: CONTINUE, (*PREVIEW, "--continue", "never")),
    "no 100": ("continue", lambda r: NO_CHANGE, (*PREVIEW, "--continue", "always")),
    "second 100": ("continue", lambda r: CONTINUE + CONTINUE, PREVIEW),
    "200 for a preview only": ("continue", lambda r: answer(r), PREVIEW),
    "chunk size no number": ("chunk-size", lambda r: answer(r, framed=b"x\r\n"), RESPMOD),
    "chunk size empty": ("chunk-size", lambda r: answer(r, framed=b"\r\n"), RESPMOD),
    "chunk size negative": ("chunk-size", lambda r: answer(r, framed=b"-1\r\n"), RESPMOD),
    "chunk size huge": ("chunk-size", lambda r: answer(r, framed=b"f" * 20), RESPMOD),
    "chunk size too large": ("chunk-size", lambda r: answer(
        r, framed=b"bb9\r\n" + r.body + b"\r\n0\r\n\r\n"), RESPMOD),
    "chunk size too small": ("chunk-end", lambda r: answer(
        r, framed=b"bb7\r\n" + r.body + b"\r\n0\r\n\r\n"), RESPMOD),
    "chunk extension": ("chunk-size", lambda r: answer(r, framed=b"1;a=b\r\n"), RESPMOD),
    "first byte wrong": ("body-byte", lambda r: answer(r, body=spoiled(r.body, 0)), RESPMOD),
    "last byte wrong": ("body-byte", lambda r: answer(r, body=spoiled(r.body, SIZE - 1)), RESPMOD),
    "bytes swapped": ("body-byte", lambda r: answer(r, body=r.body[1000:] + r.body[:1000]),
                      RESPMOD),
    "byte lost": ("body-byte", lambda r: answer(r, body=r.body[:500] + r.body[501:]), RESPMOD),
    "body too short": ("body-length", lambda r: answer(r, body=r.body[:-1]), RESPMOD),
    "body too long": ("body-length", lambda r: answer(
        r, framed=chunked(r.body)[:-5] + b"1\r\nx\r\n0\r\n\r\n"), RESPMOD),
    "trailer": ("trailer", lambda r: answer(r)[:-2] + b"A: b\r\n\r\n", RESPMOD),
    "body byte after 204": ("body-after-204", lambda r: NO_CHANGE + b"x", NO_CHANGE_OK),
    "last chunk after 204": ("body-after-204", lambda r: NO_CHANGE + b"0\r\n\r\n", NO_CHANGE_OK),
    "extra byte": ("extra-bytes", lambda r: answer(r) + b"x", RESPMOD),
    "last chunk after null-body": ("extra-bytes", lambda r: answer(r) + b"0\r\n\r\n", REQMOD),
    "second answer": ("extra-bytes", lambda r: answer(r) + answer(r), ()),
    "no answer": ("starved", lambda r: b"", RESPMOD),
    "half a head, then silence": ("head-truncated", lambda r: answer(r)[:40], RESPMOD),
    "half a body, then silence": ("body-truncated", lambda r: answer(r)[:-1000], RESPMOD),
    "no last chunk, then silence": ("last-chunk", lambda r: answer(r)[:-5], RESPMOD),
    "no end, then silence": ("trailer", lambda r: answer(r)[:-2], RESPMOD),
    "not closed": ("not-closed", answer, (*RESPMOD, "--close")),
    "stamp wrong": ("body-byte", lambda r: answer(r, body=spoiled(r.body, 15)), UNIQUE),
    "byte behind the stamp wrong": ("body-byte", lambda r: answer(r, body=spoiled(r.body, 16)),
                                    UNIQUE),
    "field of a form wrong": ("body-byte", lambda r: answer(r, body=spoiled(r.body, 500)), FORM),
    "block page that nobody allowed": ("http-head", lambda r: block_page(), RESPMOD),
    "block page of another cause": ("http-head", lambda r: block_page(cause=b"infected"),
                                    BLOCKED),
    "block page, status": ("http-head", lambda r: block_page(status=b"200 OK"), BLOCKED),
    "block page, too short": ("body-length", lambda r: block_page(length=len(PAGE) + 1), BLOCKED),
    "block page, too long": ("chunk-size", lambda r: block_page(length=len(PAGE) - 1), BLOCKED),
    "block page, no length": ("body-length", lambda r: block_page().replace(b"Content-Length",
                                                                           b"Content-Lenght"),
                              BLOCKED),
    "block page, head of a request": ("encapsulated", lambda r: block_page().replace(
        b"res-hdr", b"req-hdr"), BLOCKED),
}


@pytest.mark.parametrize("case", FAULTS)
def test_fault(case):
    name, reply, options = FAULTS[case]
    with Stub(each(reply)) as stub:
        code, report = load(stub.address, *options)
    assert (code, list(report["errors"])) == (1, [name]), report["details"]


# the connection ends after so many bytes of the answer
@pytest.mark.parametrize("name, reply", [
    ("closed-early", lambda r: b""),
    ("head-truncated", lambda r: answer(r)[:40]),
    ("head-truncated", lambda r: answer(r, framed=b"")[:-5]),
    ("body-truncated", lambda r: answer(r, framed=b"")),
    ("body-truncated", lambda r: answer(r)[:-1000]),
    ("last-chunk", lambda r: answer(r)[:-5]),
    ("trailer", lambda r: answer(r)[:-2]),
    ("trailer", lambda r: answer(r)[:-1]),
])
def test_closed(name, reply):
    with Stub(lambda peer, _: peer.send(reply(peer.request()))) as stub:
        code, report = load(stub.address, *RESPMOD)
    assert (code, list(report["errors"])) == (1, [name]), report["details"]


class TestLater:
    """Faults that do not meet the first request."""

    def test_one_bad_answer_among_many(self):
        count = []

        def reply(request):
            count.append(1)
            body = spoiled(request.body, 1234) if len(count) == 50 else request.body
            return answer(request, body=body)
        with Stub(each(reply)) as stub:
            code, report = load(stub.address, *RESPMOD, "--max-errors", "9", requests=100)
        assert (code, report["errors"], report["requests"]) == (1, {"body-byte": 1}, 99)
        assert "byte 1234 " in report["details"]["body-byte"]

    def test_head_changes(self):
        """A head is checked again when it differs from the last good one."""
        count = []

        def reply(request):
            count.append(1)
            return answer(request, istag=b"" if len(count) == 3 else b'ISTag: "t1"\r\n')
        with Stub(each(reply)) as stub:
            code, report = load(stub.address, *RESPMOD, requests=9)
        assert (code, report["errors"], report["requests"]) == (1, {"istag": 1}, 2)

    def test_bytes_when_all_is_over(self):
        def talk(peer, _stub):
            peer.send(answer(peer.request()))
            peer.send(answer(peer.request()))
            threading.Event().wait(0.01)
            peer.send(b"x")
            peer.request()
        with Stub(talk) as stub:
            code, report = load(stub.address, *RESPMOD, requests=2)
        assert (code, report["errors"], report["requests"]) == (1, {"extra-bytes": 1}, 2)

    def test_silence_after_some_answers(self):
        def talk(peer, stub):
            peer.send(answer(peer.request()))
            peer.request()
            stub.over.wait(WAIT)
        with Stub(talk) as stub:
            code, report = load(stub.address, *RESPMOD)
        assert (code, report["errors"]) == (1, {"no-answer": 1})

    def test_silence_after_continue(self):
        def talk(peer, stub):
            peer.request()
            peer.send(CONTINUE)
            peer.chunks()
            stub.over.wait(WAIT)
        with Stub(talk) as stub:
            code, report = load(stub.address, *PREVIEW)
        assert (code, report["errors"]) == (1, {"starved": 1})
        assert report["details"] == {"starved": "nothing after 100 Continue"}

    def test_starved_connections_are_counted(self):
        """One connection is served, three others wait for the whole run."""
        turn = threading.Lock()

        def talk(peer, stub):
            if not turn.acquire(blocking=False):
                stub.over.wait(WAIT)
                return
            each(good)(peer, stub)
        with Stub(talk) as stub:
            command = [str(LOAD), "--json", "-n", "4", "-d", "0.3", *RESPMOD, stub.address]
            done = subprocess.run(command, capture_output=True, text=True, timeout=30)
        report = json.loads(done.stdout)
        assert (done.returncode, report["errors"], report["starved"]) == (1, {"starved": 3}, 3)
        assert report["requests"] > 0

    def test_slow_is_not_starved(self):
        """An answer under way at the end of the run is no fault, if there was one before."""
        def talk(peer, stub):
            peer.send(answer(peer.request()))
            peer.send(answer(peer.request())[:-1000])
            stub.over.wait(WAIT)
        with Stub(talk) as stub:
            command = [str(LOAD), "--json", "-n", "2", "-d", "0.2", *RESPMOD, stub.address]
            done = subprocess.run(command, capture_output=True, text=True, timeout=30)
        report = json.loads(done.stdout)
        assert (done.returncode, report["errors"], report["unfinished"]) == (0, {}, 2)

    def test_nobody_listens(self):
        with socket.create_server(("127.0.0.1", 0)) as sock:
            port = sock.getsockname()[1]
        code, report = load(f"127.0.0.1:{port}")
        assert (code, list(report["errors"])) == (1, ["connect"])


class TestUsage:
    @pytest.mark.parametrize("options", [
        (), ("127.0.0.1",), ("-n", "0", "127.0.0.1:1"), ("-m", "GET", "127.0.0.1:1"),
        ("-d", "x", "127.0.0.1:1"), ("-s", "-5", "127.0.0.1:1"), ("-s", "5", "127.0.0.1:1"),
        ("--nonsense", "127.0.0.1:1"), ("127.0.0.1:1", "127.0.0.1:2"),
    ])
    def test_refused(self, options):
        done = subprocess.run([str(LOAD), *options], capture_output=True, text=True, timeout=30)
        assert done.returncode == 2
        assert "usage: icapload" in done.stderr

    def test_text_report_names_the_fault(self):
        with Stub(each(lambda request: answer(request, istag=b""))) as stub:
            done = subprocess.run([str(LOAD), "-r", "1", "-n", "1", stub.address],
                                  capture_output=True, text=True, timeout=30)
        assert done.returncode == 1
        assert "FAULT istag: 1" in done.stdout
