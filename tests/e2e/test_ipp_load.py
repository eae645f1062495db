# SPDX-License-Identifier: Apache-2.0
"""The load generator of ./dev bench print: it asks for what its options say, passes servers that do nothing wrong,
and names what is wrong of the others. The binary is $SALLYPORT_BUILD/tests/bench/ippload."""
import json
import os
import re
import socket
import ssl
import subprocess
import threading

import pytest

from testenv import ipp
from testenv.ipp import Message
from testenv.wrong_server import LOAD as ICAP_LOAD, WAIT, Stub

LOAD = ICAP_LOAD.with_name("ippload")
pytestmark = pytest.mark.skipif("CI" not in os.environ and not LOAD.exists(),
                                reason="SALLYPORT_BUILD names no build with tests/bench/ippload")

SMALL = ("-o", "attributes-small")
JOB = ("-o", "print-job", "-s", "3000")
STATE = [("printer-state", ipp.ENUM, 3), ("printer-state-reasons", ipp.KEYWORD, "none", "paused"),
         ("printer-is-accepting-jobs", ipp.BOOLEAN, True)]
ALL = [*STATE, ("printer-name", ipp.NAME, "bench"), ("printer-uri-supported", ipp.URI, "ipp://h/p"),
       ("operations-supported", ipp.ENUM, 2, 11), ("media-col", ipp.COLLECTION, b""), ("", ipp.MEMBER, "x"),
       ("", ipp.END_COLLECTION, b"")]
JOB_ID = [("job-uri", ipp.URI, "ipp://h/jobs/7"), ("job-id", ipp.INTEGER, 7)]
OPENING = [("attributes-charset", ipp.CHARSET, "utf-8"), ("attributes-natural-language", ipp.LANGUAGE, "en")]


class Request:
    """As the server read it: HTTP head, message, and what follows it."""

    def __init__(self, head, body):
        self.head, self.message = head, Message.decode(body)
        self.document, self.values = self.message.data, self.message.all


def request(peer):
    head = peer.head()
    if head is None:
        return None
    return Request(head, peer.file.read(int(re.search(rb"\r\nContent-Length: (\d+)\r\n", head)[1])))


def body(r, code=0, version=(2, 0), request_id=None, groups=None):
    """The message that is right, unless a parameter says otherwise."""
    if groups is None:
        groups = [(ipp.JOB, JOB_ID)] if r.message.code == ipp.PRINT_JOB else [
            (ipp.PRINTER, ALL if r.values("requested-attributes") == ["all"] else STATE)]
    return Message(code, [(ipp.OPERATION, OPENING), *groups], request_id or r.message.request_id, version).encode()


def http(octets, status=b"200 OK", kind=b"application/ipp", length=None, more=b""):
    length = len(octets) if length is None else length
    return b"HTTP/1.1 %s\r\nContent-Type: %s\r\n%sContent-Length: %d\r\n\r\n%s" % (status, kind, more, length, octets)


def good(r):
    return http(body(r))


def each(reply):
    """A server that answers every request with reply(request); None closes the connection."""
    def talk(peer, _stub):
        while r := request(peer):
            data = reply(r)
            if data is None:
                return
            peer.send(data)
    return talk


IMPATIENT = ("--timeout", "0.4")  # where the wait is what is tested


def load(address, *options, requests=3, connections=1):
    command = [str(LOAD), "--json", "-n", str(connections), "-r", str(requests), "--max-errors", "1", *options, address]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert done.returncode in (0, 1), done.stderr
    return done.returncode, json.loads(done.stdout)


@pytest.fixture(scope="module")
def context(certificates):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificates.server[:2])
    return context


class TestGood:
    @pytest.mark.parametrize("options", [(), SMALL, JOB, ("-o", "print-job", "-s", "300000")])
    @pytest.mark.parametrize("connections", [1, 4])
    def test_kept_connections(self, options, connections):
        with Stub(each(good)) as stub:
            code, report = load(stub.address, *options, requests=20, connections=connections)
        assert (code, report["errors"], report["requests"], report["reconnects"]) == (0, {}, 20, 0)
        assert report["connects"] <= connections

    @pytest.mark.parametrize("options", [(), JOB])
    def test_connection_for_each_request(self, options):
        def talk(peer, _stub):
            r = request(peer)
            assert b"\r\nConnection: close\r\n" in r.head
            peer.send(good(r))
        with Stub(talk) as stub:
            code, report = load(stub.address, *options, "--close", requests=10)
        assert (code, report["errors"], report["connects"]) == (0, {}, 10)

    def test_announced_close(self):
        def talk(peer, _stub):
            peer.send(http(body(request(peer)), more=b"Connection: close\r\n"))
        with Stub(talk) as stub:
            code, report = load(stub.address, requests=5)
        assert (code, report["errors"], report["connects"], report["reconnects"]) == (0, {}, 5, 4)

    @pytest.mark.parametrize("options", [(), JOB, ("--close",)])
    def test_tls(self, context, options):
        def talk(peer, _stub):
            while r := request(peer):
                assert r.values("printer-uri")[0].startswith("ipps://")
                peer.send(good(r))
                if b"\r\nConnection: close\r\n" in r.head:
                    return
        with Stub(talk, context) as stub:
            code, report = load(stub.address, "--tls", *options, requests=4)
        assert (code, report["errors"], report["requests"]) == (0, {}, 4)
        assert report["handshakes"] == (4 if "--close" in options else 1)

    def test_every_cut(self):
        """The same answer in pieces of every size."""
        def talk(peer, _stub):
            step = 1
            while r := request(peer):
                data = good(r)
                for i in range(0, len(data), step):
                    peer.send(data[i:i + step])
                step += 1
        with Stub(talk) as stub:
            code, report = load(stub.address, *SMALL, requests=60)
        assert (code, report["errors"], report["requests"]) == (0, {}, 60)


class TestRequests:
    def seen(self, *options, requests=3):
        found = []
        with Stub(each(lambda r: found.append(r) or good(r))) as stub:
            code, report = load(stub.address, *options, requests=requests)
        assert (code, report["errors"]) == (0, {})
        return stub.address, found

    def test_attributes(self):
        address, found = self.seen("-p", "/ipp/print")
        assert {r.head.split(b"\r\n")[0] for r in found} == {b"POST /ipp/print HTTP/1.1"}
        assert [r.message.code for r in found] == [ipp.GET_PRINTER_ATTRIBUTES] * 3
        assert found[0].values("requested-attributes") == ["all"]
        assert found[0].values("printer-uri") == [f"ipp://{address}/ipp/print"]
        assert len({r.message.request_id for r in found}) == 3 and all(r.message.request_id > 0 for r in found)

    def test_attributes_small(self):
        _, found = self.seen(*SMALL)
        assert found[0].values("requested-attributes") == [name for name, *_ in STATE]

    @pytest.mark.parametrize("size", [128, 3000, 100000])
    def test_documents(self, size):
        """Of the size that was asked for, as PDF files, and no two the same."""
        _, found = self.seen("-o", "print-job", "-s", str(size))
        assert [r.message.code for r in found] == [ipp.PRINT_JOB] * 3
        assert found[0].values("document-format") == ["application/pdf"]
        for r in found:
            assert len(r.document) == size and r.document.startswith(b"%PDF-1.4\n") and r.document.endswith(b"%%EOF\n")
        assert len({r.document for r in found}) == 3


def changed(r, old, new):
    octets = body(r)
    assert old in octets
    return http(octets.replace(old, new))


# name -> name of the fault, what the server says, options
FAULTS = {
    "status line": ("status-line", lambda r: good(r).replace(b"HTTP/1.1", b"ICAP/1.0"), ()),
    "no reason": ("status-line", lambda r: http(body(r), status=b"200"), ()),
    "100 Continue": ("status", lambda r: b"HTTP/1.1 100 Continue\r\n\r\n" + good(r), ()),
    "HTTP status": ("status", lambda r: http(body(r), status=b"503 Busy"), ()),
    "field line": ("field", lambda r: http(body(r), more=b"Oops\r\n"), ()),
    "bare LF": ("field", lambda r: http(body(r), more=b"A: b\nC: d\r\n"), ()),
    "NUL": ("field", lambda r: http(body(r), more=b"A: \0\r\n"), ()),
    "Content-Length twice": ("field", lambda r: http(body(r), more=b"Content-Length: 1\r\n"), ()),
    "Content-Type twice": ("field", lambda r: http(body(r), more=b"Content-Type: application/ipp\r\n"), ()),
    "Content-Type": ("content-type", lambda r: http(body(r), kind=b"text/html"), ()),
    "no Content-Type": ("content-type", lambda r: good(r).replace(b"Content-Type", b"X-Type"), ()),
    "no Content-Length": ("content-length", lambda r: good(r).replace(b"Content-Length", b"X-Length"), ()),
    "Content-Length no number": ("content-length", lambda r: good(r).replace(b"Length: ", b"Length: +"), ()),
    "Content-Length huge": ("content-length", lambda r: http(body(r), length=300000), ()),
    "chunked": ("content-length", lambda r: http(body(r), more=b"Transfer-Encoding: chunked\r\n"), ()),
    "endless head": ("head-too-long", lambda r: http(body(r), more=b"A: b\r\n" * 5000), ()),
    "head cut": ("head-truncated", lambda r: good(r)[:20], ()),
    "body cut": ("body-truncated", lambda r: good(r)[:-1], ()),
    "silence": ("starved", lambda r: b"", IMPATIENT),
    "bytes after it": ("extra-bytes", lambda r: good(r) + b"x", ()),
    "too short for its header": ("ipp-message", lambda r: http(body(r)[:7]), ()),
    "version": ("ipp-version", lambda r: http(body(r, version=(1, 1))), ()),
    "IPP status": ("ipp-status", lambda r: http(body(r, code=0x0406)), ()),
    "IPP status of a job": ("ipp-status", lambda r: http(body(r, code=0x0507)), JOB),
    "request-id": ("request-id", lambda r: http(body(r, request_id=r.message.request_id + 1)), ()),
    "no end of attributes": ("ipp-message", lambda r: http(body(r)[:-1]), ()),
    "bytes after the end of attributes": ("ipp-message", lambda r: http(body(r) + b"\x03"), ()),
    "no group": ("ipp-message", lambda r: http(body(r)[:8] + b"\x03"), ()),
    "first group": ("ipp-message", lambda r: http(body(r)[:8] + b"\x04" + body(r)[9:]), ()),
    "value beyond the message": ("ipp-message", lambda r: changed(r, b"\x00\x05utf-8", b"\x7f\x05utf-8"), ()),
    "name beyond the message": ("ipp-message", lambda r: changed(r, b"\x00\x12attributes", b"\x7f\x12attributes"), ()),
    "value of nothing": ("ipp-message", lambda r: http(body(r)[:-1] + b"\x04\x44\0\0\0\1x\x03"), ()),
    "an attribute lost": ("attribute", lambda r: http(body(r, groups=[(ipp.PRINTER, STATE[:2])])), SMALL),
    "one of all lost": ("attribute", lambda r: http(body(r, groups=[(ipp.PRINTER, STATE)])), ()),
    "in another group": ("attribute", lambda r: http(body(r, groups=[(ipp.JOB, STATE)])), SMALL),
    "no job-id": ("attribute", lambda r: http(body(r, groups=[(ipp.JOB, JOB_ID[:1])])), JOB),
    "job-id 0": ("attribute", lambda r: http(body(r, groups=[(ipp.JOB, [("job-id", ipp.INTEGER, 0)])])), JOB),
    "job-id of another type": ("attribute", lambda r: http(body(r, groups=[(ipp.JOB, [("job-id", ipp.NAME, "7")])])),
                               JOB),
    "job-id of a printer": ("attribute", lambda r: http(body(r, groups=[(ipp.PRINTER, JOB_ID)])), JOB),
}


class TestFaults:
    @pytest.mark.parametrize("name", FAULTS)
    def test_named(self, name):
        fault, reply, options = FAULTS[name]

        def talk(peer, stub):
            peer.send(reply(request(peer)))
            if fault in ("starved", "extra-bytes"):
                stub.over.wait(WAIT)
        with Stub(talk) as stub:
            code, report = load(stub.address, *options)
        assert (code, report["errors"], report["requests"]) == (1, {fault: 1}, 0), report["details"]

    def test_what_the_server_says_about_it(self):
        message = Message(0x0507, [(ipp.OPERATION, [*OPENING, ("status-message", ipp.TEXT, 'try "later"')])])
        with Stub(each(lambda r: http(message.encode()))) as stub:
            _, report = load(stub.address)
        assert report["details"] == {"ipp-status": "status-code 0x0507: try .later."}

    def test_status_without_a_word(self):
        with Stub(each(lambda r: http(body(r, code=0x0507)[:-1] + b"\x41\0\x0estatus-message\xff\xff\x03"))) as stub:
            _, report = load(stub.address)
        assert report["details"] == {"ipp-status": "status-code 0x0507"}

    def test_later_answers_are_checked_too(self):
        count = []

        def reply(r):
            count.append(1)
            return good(r) if len(count) < 3 else http(body(r, request_id=1))
        with Stub(each(reply)) as stub:
            code, report = load(stub.address, requests=9)
        assert (code, report["errors"], report["requests"]) == (1, {"request-id": 1}, 2)

    def test_closed_without_a_word(self):
        with Stub(each(lambda r: None)) as stub:
            code, report = load(stub.address)
        assert (code, report["errors"]) == (1, {"closed-early": 1})

    def test_silence_later(self):
        def talk(peer, stub):
            peer.send(good(request(peer)))
            request(peer)
            stub.over.wait(WAIT)
        with Stub(talk) as stub:
            code, report = load(stub.address, *IMPATIENT)
        assert (code, report["errors"], report["requests"]) == (1, {"no-answer": 1}, 1)

    def test_endless_trickle(self):
        """Each byte comes in time, the answer does not."""
        def talk(peer, stub):
            data = good(request(peer))
            for i in range(len(data)):
                peer.send(data[i:i + 1])
                if stub.over.wait(0.1):
                    return
        with Stub(talk) as stub:
            code, report = load(stub.address, *IMPATIENT)
        assert (code, report["errors"]) == (1, {"head-truncated": 1})

    def test_bytes_after_the_last_answer(self):
        """They come later, when nothing is under way."""
        def talk(peer, stub):
            peer.send(good(request(peer)))
            stub.over.wait(0.01)
            peer.send(b"x")
            stub.over.wait(WAIT)
        with Stub(talk) as stub:
            code, report = load(stub.address, requests=1)
        assert (code, report["errors"], report["requests"]) == (1, {"extra-bytes": 1}, 1)

    def test_not_closed(self):
        def talk(peer, stub):
            peer.send(good(request(peer)))
            stub.over.wait(WAIT)
        with Stub(talk) as stub:
            code, report = load(stub.address, "--close", *IMPATIENT)
        assert (code, report["errors"]) == (1, {"not-closed": 1})

    def test_document_that_is_not_read(self):
        """An answer to half a request is none."""
        def talk(peer, _stub):
            head = peer.head()
            message = peer.file.read(400)
            assert b"Content-Length" in head
            peer.sock.shutdown(socket.SHUT_RD)
            peer.send(good(Request(head, message)))
        with Stub(talk) as stub:
            code, report = load(stub.address, "-o", "print-job", "-s", str(64 << 20))
        assert (code, list(report["errors"])) == (1, ["closed-early"])

    def test_starved_connections_are_counted(self):
        """One connection is served, three others wait for the whole run."""
        turn = threading.Lock()

        def talk(peer, stub):
            if turn.acquire(blocking=False):
                each(good)(peer, stub)
            else:
                stub.over.wait(WAIT)
        with Stub(talk) as stub:
            command = [str(LOAD), "--json", "-n", "4", "-d", "0.3", *IMPATIENT, stub.address]
            done = subprocess.run(command, capture_output=True, text=True, timeout=30)
        report = json.loads(done.stdout)
        assert (done.returncode, report["errors"], report["starved"]) == (1, {"starved": 3}, 3)
        assert report["requests"] > 0

    def test_no_tls(self):
        with Stub(each(good)) as stub:
            code, report = load(stub.address, "--tls", *IMPATIENT)
        assert (code, list(report["errors"])) == (1, ["handshake"])

    def test_nobody_listens(self):
        with socket.create_server(("127.0.0.1", 0)) as sock:
            port = sock.getsockname()[1]
        code, report = load(f"127.0.0.1:{port}")
        assert (code, report["errors"]) == (1, {"connect": 1})

    @pytest.mark.parametrize("options", [("-o", "nonsense"), ("-n", "0"), ("-s", "1"), ("-p", "x"), ("-p", "/a b"),
                                         ("--timeout", "0"), ("-d", "x"), ("-p", "/" + "x" * 2000), ("--unknown",)])
    def test_usage(self, options):
        done = subprocess.run([str(LOAD), *options, "127.0.0.1:1"], capture_output=True, text=True, timeout=30)
        assert done.returncode == 2 and "usage: ippload" in done.stderr

    @pytest.mark.parametrize("address", ["127.0.0.1", ":631", ""])
    def test_address(self, address):
        done = subprocess.run([str(LOAD), address], capture_output=True, text=True, timeout=30)
        assert done.returncode == 2
