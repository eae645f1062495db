# SPDX-License-Identifier: Apache-2.0
"""The load generator against servers that misbehave: each fault by its name, and exit code 1.

A figure is worth what its checks are worth, so this is the test of the checks in
tests/bench/load_answer.c.
"""
import json
import os
import socket
import ssl
import struct
import subprocess
import threading

import pytest

from testenv.wrong_server import (BLOCKED, CONTINUE, FORM, LOAD, NO_CHANGE, NO_CHANGE_OK, PAGE, PARTIAL_OK, PREVIEW,
                                  REQMOD, RESPMOD, SIZE, UNIQUE, WAIT, Stub, answer, block_page, chunked, each, good,
                                  load, partial)

pytestmark = pytest.mark.skipif("CI" not in os.environ and not LOAD.exists(),
                                reason="SALLYPORT_BUILD names no build with tests/bench/icapload")


def spoiled(body, at):
    return body[:at] + bytes([body[at] ^ 1]) + body[at + 1:]


def http_without_empty_line(request):
    return answer(request, http=request.http_head()[:-2])


# name of the fault, what the server does, options
FAULTS = {
    "206 for OPTIONS": ("status", lambda r: answer(r, status=b"206 Partial"), ("--allow-204", "--allow-206")),
    "206 without Allow: 206": ("status", lambda r: partial(r), NO_CHANGE_OK),
    "206 outside a preview without Allow: 204": ("status", lambda r: partial(r), (*RESPMOD, "--allow-206")),
    "206 for a null-body": ("status", lambda r: answer(r, status=b"206 Partial"),
                            (*REQMOD, "--allow-204", "--allow-206")),
    "206 not the expected one": ("status", lambda r: partial(r), (*PARTIAL_OK, "--expect", "204")),
    "206, a byte skipped": ("use-original-body", lambda r: partial(r, 0, b"; use-original-body=1"), PARTIAL_OK),
    "206, a byte twice": ("use-original-body", lambda r: partial(r, 9, b"; use-original-body=8"), PARTIAL_OK),
    "206, beyond the body": ("use-original-body", lambda r: partial(r, SIZE, b"; use-original-body=3001"),
                             PARTIAL_OK),
    "206, no number": ("use-original-body", lambda r: partial(r, 0, b"; use-original-body="), PARTIAL_OK),
    "206, a sign": ("use-original-body", lambda r: partial(r, 0, b"; use-original-body=-0"), PARTIAL_OK),
    "206, quoted": ("use-original-body", lambda r: partial(r, 0, b'; use-original-body="0"'), PARTIAL_OK),
    "206, another extension": ("use-original-body", lambda r: partial(r, 0, b"; ieof"), PARTIAL_OK),
    "206, empty extension": ("use-original-body", lambda r: partial(r, 0, b";"), PARTIAL_OK),
    "206, endless extension": ("use-original-body", lambda r: partial(r, 0, b";" + b" " * 99), PARTIAL_OK),
    "206, too short without an extension": ("body-length", lambda r: partial(r, 9, b""), PARTIAL_OK),
    "206, wrong prefix": ("body-byte", lambda r: partial(r, 9, prefix=b"*" * 9), PARTIAL_OK),
    "206, extension of another chunk": ("chunk-size", lambda r: answer(
        r, status=b"206 Partial", framed=b"1; use-original-body=1\r\n"), PARTIAL_OK),
    "206, silence in the extension": ("body-truncated", lambda r: partial(r)[:-10], PARTIAL_OK),
    "206, body after it": ("extra-bytes", lambda r: partial(r) + chunked(r.body), PARTIAL_OK),
    "extension of a 200": ("chunk-size", lambda r: answer(r, framed=b"0; use-original-body=0\r\n\r\n"),
                           PARTIAL_OK),
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


def test_reset():
    """A server that drops the connection with the answer half out."""
    def talk(peer, _stub):
        peer.send(answer(peer.request())[:-1000])
        peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.file.close()
    with Stub(talk) as stub:
        code, report = load(stub.address, *RESPMOD)
    assert (code, report["requests"]) == (1, 0)
    assert list(report["errors"])[0] in ("body-truncated", "closed-early", "head-truncated")  # as much as was read


def test_answer_and_no_ear_for_the_rest():
    """204, and the connection is closed before the body is read: an HTTP client would have lost its request."""
    def talk(peer, _stub):
        peer.head(), peer.head(), peer.head()
        peer.send(NO_CHANGE)
        peer.sock.shutdown(socket.SHUT_WR)
        threading.Event().wait(0.2)
    with Stub(talk) as stub:
        code, report = load(stub.address, "-m", "RESPMOD", "-s", str(64 << 20), "--allow-204", "--timeout", "5")
    assert (code, report["errors"]) == (1, {"closed-early": 1})
    assert report["details"] == {"closed-early": "before the whole request was read"}


def test_reads_nothing():
    with Stub(lambda peer, stub: stub.over.wait(WAIT)) as stub:
        code, report = load(stub.address, "-m", "RESPMOD", "-s", str(64 << 20))
    assert (code, report["errors"]) == (1, {"starved": 1})


@pytest.mark.parametrize("name, at", [("head-truncated", 10), ("body-truncated", 1000)])
def test_slower_than_the_timeout(name, at):
    """A byte now and then is an answer under way, and no answer in time."""
    def talk(peer, stub):
        data = answer(peer.request())
        peer.send(data[:at])
        for i in range(at, len(data)):
            if stub.over.wait(0.05):
                return
            peer.send(data[i:i + 1])
    with Stub(talk) as stub:
        code, report = load(stub.address, *RESPMOD)
    assert (code, report["errors"]) == (1, {name: 1})


class TestTls:
    """What only TLS can do wrong."""

    def test_no_handshake(self):
        with Stub(lambda peer, stub: stub.over.wait(WAIT)) as stub:
            code, report = load(stub.address, "--tls", *RESPMOD)
        assert (code, report["details"]) == (1, {"starved": "no TLS handshake in time"})

    def test_garbage_instead_of_a_record(self, certificates):
        """The end of the session is no answer, whichever way it ends."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificates.server)

        def talk(peer, _stub):
            peer.send(answer(peer.request())[:-1000])
            with socket.socket(fileno=os.dup(peer.sock.fileno())) as raw:
                raw.sendall(b"\x17\x03\x03\x00\x20" + b"*" * 32)
                threading.Event().wait(0.1)
        with Stub(talk, context) as stub:
            code, report = load(stub.address, "--tls", *RESPMOD)
        assert (code, list(report["errors"])) == (1, ["body-truncated"])


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

    @pytest.mark.parametrize("value", [b"a\r\nb", b"a\nbcd", b"a\rbcd"])
    def test_what_may_differ_stays_one_line(self, value):
        """The second Date is as long as the first one, and would be two lines."""
        count = []

        def reply(request):
            count.append(1)
            return answer(request, more=b"Date: %s\r\n" % (value if len(count) == 2 else b"abcde"[:len(value)]))
        with Stub(each(reply)) as stub:
            code, report = load(stub.address, *RESPMOD)
        assert (code, report["errors"], report["requests"]) == (1, {"field": 1}, 1)

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

    def test_first_answer_that_is_not_over(self):
        """The end of the run cuts it off, not the server; but it is no answer either."""
        def talk(peer, stub):
            peer.send(answer(peer.request())[:-1000])
            stub.over.wait(WAIT)
        with Stub(talk) as stub:
            command = [str(LOAD), "--json", "-n", "2", "-d", "0.2", *RESPMOD, stub.address]
            done = subprocess.run(command, capture_output=True, text=True, timeout=30)
        report = json.loads(done.stdout)
        assert (done.returncode, report["errors"], report["requests"]) == (1, {"starved": 2}, 0)
        assert report["details"] == {"starved": "the first answer was still under way at the end"}

    def test_nobody_listens(self):
        with socket.create_server(("127.0.0.1", 0)) as sock:
            port = sock.getsockname()[1]
        code, report = load(f"127.0.0.1:{port}")
        assert (code, list(report["errors"])) == (1, ["connect"])
