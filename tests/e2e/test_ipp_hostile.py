# SPDX-License-Identifier: Apache-2.0
"""Print clients that mean harm, and what they may not learn: whatever they send costs them their request, and nobody
else anything."""
import base64
import itertools
import json
import select
import socket
import struct

import pytest

from testenv import ipp
from testenv.fake_printer import FakePrinter
from testenv.ipp import GET_PRINTER_ATTRIBUTES, KEYWORD, MIME, NAME, PRINT_JOB, TEXT, URI, VALIDATE_JOB, request
from testenv.print_wire import (GIGABYTE, MEGABYTE, Digest, Wire, add_user, basic, chunk, for_ever, get_challenge,
                                memory_of, post, send_until_answered, value)
from testenv.printing import PrintGateway, printer

PDF = b"%PDF-1.4\n%%EOF\n"
BAD_REQUEST, TOO_LARGE, VALUE_TOO_LONG, VERSION_NOT_SUPPORTED, NOT_SUPPORTED = 0x0400, 0x0408, 0x0409, 0x0503, 0x0501
DEADLINES = """\
ipp:
  http:
    head-timeout: 300ms
    body-timeout: 300ms
    write-timeout: 300ms
    idle-timeout: 500ms
    exchange-timeout: 1s
"""
INSIDE = "inner.printers.example"  # what the printer calls itself; nobody outside may hear of it
UUID = "urn:uuid:11111111-2222-3333-4444-555555555555"
LOUD = [("device-uri", URI, f"socket://admin:device-secret@{INSIDE}:9100"),
        ("printer-more-info", URI, f"http://127.0.0.1:1/{INSIDE}"), ("printer-supply-info-uri", URI, f"http://{INSIDE}/s"),
        ("printer-icons", URI, f"http://{INSIDE}/a.png", f"http://{INSIDE}/b.png"), ("printer-dns-sd-name", NAME, INSIDE),
        ("printer-strings-uri", URI, f"http://{INSIDE}/t"), ("member-uris", URI, f"ipp://{INSIDE}/printers/a"),
        ("printer-uuid", URI, UUID), ("notify-recipient-uri", URI, f"rss://{INSIDE}/"),
        ("x-new-uri", URI, "http://127.0.0.1:631/new"), ("x-local-uri", URI, "http://localhost:631/new"),
        ("printer-info", TEXT, "a printer"), ("x-more", KEYWORD, *["x" * 250] * 400)]


@pytest.fixture(scope="module")
def backend():
    with FakePrinter(LOUD) as fake:
        yield fake


def printers(backend):
    return [printer("open", backend.uri(), require="[]", pipeline="[]"),
            printer("small", backend.uri(), require="[]", pipeline="[]", body_max="64k", memory_max="16k"),
            printer("secure", backend.uri(), require="[tls, digest]", pipeline="[]"),
            printer("basic", backend.uri(), require="[tls]", pipeline="[]", basic="true", anonymous="nothing")]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory, certificates, backend):
    with PrintGateway(tmp_path_factory.mktemp("gateway"), certificates, printers(backend),
                      more="login: {rounds: 100000}\n") as running:
        add_user(running, "acme", "ann", "a password of Ann's")
        yield running


@pytest.fixture(scope="module")
def hasty(tmp_path_factory, certificates, backend):
    """With short deadlines."""
    with PrintGateway(tmp_path_factory.mktemp("hasty"), certificates, printers(backend), listener=", handshake: 1s",
                      more=DEADLINES) as running:
        yield running


@pytest.fixture(scope="module")
def gateway_pid(gateway):
    return gateway.gateway_pid()


@pytest.fixture(autouse=True)
def unharmed(gateway, gateway_pid, backend):
    """After every test the gateway is the same process, and prints."""
    backend.forget()
    yield
    backend.forget()
    assert gateway.gateway_pid() == gateway_pid, gateway.log()[-4000:]
    with Wire(gateway.address("print")) as wire:
        assert wire.ask(ask_for("open", PRINT_JOB, data=PDF)).code == ipp.OK
    assert backend.last(PRINT_JOB).document == PDF


@pytest.fixture
def connect(gateway):
    wires = []

    def connect(way="clear", to=gateway, **options):
        wires.append(Wire(to.address("print"), way, **options))
        return wires[-1]

    yield connect
    for wire in wires:
        wire.close()


def ask_for(name="open", operation=GET_PRINTER_ATTRIBUTES, *attributes, **more):
    return request(operation, f"ipp://localhost/ipp/{name}", *attributes, **more)


# ---- messages that are none ----

CHARSET = value(ipp.CHARSET, "attributes-charset", b"utf-8")
LANGUAGE = value(ipp.LANGUAGE, "attributes-natural-language", b"en")
TARGET, ELSEWHERE = b"ipp://localhost/ipp/open", b"ipp://localhost/ipp/secure"
BEGIN, MEMBER, STOP = value(0x34, "c", b""), value(0x4a, "", b"m"), value(0x37, "", b"")
HEAD = b"\2\0\0\x0b\0\0\0\x07"
FIRST = CHARSET + LANGUAGE + value(URI, "printer-uri", TARGET)


def message(*parts, head=HEAD, end=b"\3"):
    return head + b"\1" + FIRST + b"".join(parts) + end


def whole(*parts, head=HEAD):
    return head + b"".join(parts) + b"\3"


FLAWS = {
    "ends in its header": (HEAD[:5], BAD_REQUEST),
    "is only a header": (HEAD, BAD_REQUEST),
    "ends within a value": (message(end=b"")[:-3], BAD_REQUEST),
    "has no end": (message(end=b""), BAD_REQUEST),
    "has no attributes": (whole(), BAD_REQUEST),
    "is larger than the limit": (message(*[value(TEXT, f"a{i}", b"x" * 1000) for i in range(1100)]), TOO_LARGE),
    "has too many attributes": (message(*[value(0x21, f"a{i}", b"\0" * 4) for i in range(9000)]), TOO_LARGE),
    "is nested too deep": (message(BEGIN, *[MEMBER + value(0x34, "", b"")] * 40, *[STOP] * 41), BAD_REQUEST),
    "begins with another group": (whole(b"\2", FIRST), BAD_REQUEST),
    "begins with an attribute": (whole(FIRST), BAD_REQUEST),
    "has the first group twice": (message(b"\1", FIRST), BAD_REQUEST),
    "has the reserved tag": (message(b"\0"), BAD_REQUEST),
    "ends in a collection": (message(BEGIN), BAD_REQUEST),
    "begins a group in a collection": (message(BEGIN, b"\2", STOP), BAD_REQUEST),
    "has a negative name": (message(b"\x21\xff\xff" + b"x" * 8), BAD_REQUEST),
    "has a negative value": (message(b"\x41\0\1a\x80\0" + b"x" * 8), BAD_REQUEST),
    "has a value without a name": (whole(b"\1", value(0x21, "", b"\0" * 4), FIRST), BAD_REQUEST),
    "has a value at the begin of a group": (message(b"\2", value(0x21, "", b"\0" * 4)), BAD_REQUEST),
    "has a long name": (message(value(0x21, "n" * 256, b"\0" * 4)), BAD_REQUEST),
    "has a name with a blank": (message(value(0x21, "a b", b"\0" * 4)), BAD_REQUEST),
    "has a name with NUL": (message(value(0x21, "a\0", b"\0" * 4)), BAD_REQUEST),
    "has a name of other letters": (message(value(0x21, "\u00e9", b"\0" * 4)), BAD_REQUEST),
    "names a member as an attribute": (message(BEGIN, value(0x21, "n", b"\0" * 4), STOP), BAD_REQUEST),
    "has an integer of three octets": (message(value(0x21, "n", b"\0" * 3)), BAD_REQUEST),
    "has a boolean of two octets": (message(value(0x22, "n", b"\0" * 2)), BAD_REQUEST),
    "has a date of ten octets": (message(value(0x31, "n", b"\0" * 10)), BAD_REQUEST),
    "has out-of-band with a value": (message(value(0x13, "n", b"x")), BAD_REQUEST),
    "ends a collection that did not begin": (message(STOP), BAD_REQUEST),
    "has a member outside": (message(MEMBER), BAD_REQUEST),
    "has a value before its member": (message(BEGIN, value(0x21, "", b"\0" * 4), STOP), BAD_REQUEST),
    "has a member without a value": (message(BEGIN, MEMBER, STOP), BAD_REQUEST),
    "has version 0.9": (message(head=b"\0\x09" + HEAD[2:]), VERSION_NOT_SUPPORTED),
    "has version 3.0": (message(head=b"\3\0" + HEAD[2:]), VERSION_NOT_SUPPORTED),
    "has the number 0": (message(head=HEAD[:4] + b"\0\0\0\0"), BAD_REQUEST),
    "has a negative number": (message(head=HEAD[:4] + b"\x80\0\0\0"), BAD_REQUEST),
    "has a long keyword": (message(value(KEYWORD, "k", b"x" * 256)), VALUE_TOO_LONG),
    "has a long uri": (message(value(URI, "x-uri", b"x" * 1024)), VALUE_TOO_LONG),
    "has NUL in a name": (message(value(NAME, "job-name", b"a\0b")), BAD_REQUEST),
    "has NUL in its target": (whole(b"\1", CHARSET, LANGUAGE, value(URI, "printer-uri", TARGET + b"\0x")), BAD_REQUEST),
    "has text in a language that does not add up": (message(value(0x35, "t", b"\0\x09en\0\2ab")), BAD_REQUEST),
    "has no charset": (whole(b"\1", LANGUAGE, value(URI, "printer-uri", TARGET)), BAD_REQUEST),
    "has charset and language turned round": (whole(b"\1", LANGUAGE, CHARSET, value(URI, "printer-uri", TARGET)), BAD_REQUEST),
    "has no language": (whole(b"\1", CHARSET, value(URI, "printer-uri", TARGET)), BAD_REQUEST),
    "has a second charset": (message(CHARSET), BAD_REQUEST),
    "has two targets": (message(value(URI, "printer-uri", ELSEWHERE)), BAD_REQUEST),
    "has two kinds of targets": (message(value(URI, "job-uri", b"ipp://localhost/jobs/1")), BAD_REQUEST),
    "has a target in capitals, too": (message(value(URI, "Printer-URI", ELSEWHERE)), BAD_REQUEST),
    "has a target in another group": (message(b"\2", value(URI, "printer-uri", ELSEWHERE)), BAD_REQUEST),
    "has a job in another group": (message(b"\2", value(0x21, "job-id", b"\0\0\0\1")), BAD_REQUEST),
    "has a target of two values": (message(value(URI, "", ELSEWHERE)), BAD_REQUEST),
    "has a target that is no uri": (whole(b"\1", CHARSET, LANGUAGE, value(NAME, "printer-uri", TARGET)), BAD_REQUEST),
    "has an empty target": (whole(b"\1", CHARSET, LANGUAGE, value(URI, "printer-uri", b"")), BAD_REQUEST),
    "has a job of two numbers": (message(value(0x21, "job-id", b"\0\0\0\1"), value(0x21, "", b"\0\0\0\2")), BAD_REQUEST),
    "has a job that is no number": (message(value(KEYWORD, "job-id", b"1")), BAD_REQUEST),
    "has a job with number 0": (message(value(0x21, "job-id", b"\0\0\0\0")), BAD_REQUEST),
    "has two jobs": (message(value(0x21, "job-id", b"\0\0\0\1"), value(0x21, "job-id", b"\0\0\0\2")), BAD_REQUEST),
    "has compression in another group": (message(b"\2", value(KEYWORD, "compression", b"gzip")), BAD_REQUEST),
    "has compression in capitals in another group": (message(b"\5", value(KEYWORD, "Compression", b"gzip")), BAD_REQUEST),
    "has compression twice": (message(value(KEYWORD, "compression", b"none"), value(KEYWORD, "COMPRESSION", b"gzip")),
                              BAD_REQUEST),
    "has compression of two values": (message(value(KEYWORD, "compression", b"none"), value(KEYWORD, "", b"gzip")),
                                      BAD_REQUEST),
    "has compression that is no keyword": (message(value(NAME, "compression", b"gzip")), BAD_REQUEST),
    "has a format in another group": (message(b"\2", value(MIME, "document-format", b"text/plain")), BAD_REQUEST),
    "has a format, and one in another group": (message(value(MIME, "document-format", b"text/plain"),
                                                       b"\2", value(MIME, "Document-Format", b"text/html")), BAD_REQUEST),
    "has a format of two values": (message(value(MIME, "document-format", b"text/plain"),
                                           value(MIME, "", b"text/html")), BAD_REQUEST),
    "has a format that is a keyword": (message(value(KEYWORD, "document-format", b"text/plain")), BAD_REQUEST),
    "has a format that is unknown": (message(value(0x12, "document-format", b"")), BAD_REQUEST),
    "has a job without its printer": (whole(b"\1", CHARSET, LANGUAGE, value(0x21, "job-id", b"\0\0\0\1")), BAD_REQUEST),
}


class TestMessages:
    @staticmethod
    def send(wire, octets, framing):
        if framing == "length":
            send_until_answered(wire, [post(octets)])
            return
        step = 1 if framing == "octets" else 500
        pieces = b"".join(chunk(octets[i:i + step]) for i in range(0, len(octets), step))
        send_until_answered(wire, [CHUNKED + pieces + chunk(b"")])

    @pytest.mark.parametrize("flaw", FLAWS)
    def test_flaws(self, backend, connect, flaw):
        """Each gets a status, a sentence and its own number, however it comes; and the connection goes on, or says that
        it does not."""
        octets, code = FLAWS[flaw]
        framings = ["length", "chunks", "octets"] if len(octets) < 2000 else ["length", "chunks"]
        for framing in framings:
            wire = connect()
            self.send(wire, octets, framing)
            reply = wire.reply()
            assert reply.code == code, framing
            assert len(reply.words) > 10
            if len(octets) >= 8:
                assert reply.body[4:8] == octets[4:8]  # the number of the request
            assert backend.heard == []
            # Of chunks nobody knows how many are to come: the connection may end with the refusal, and says so.
            assert reply.get("Connection") in ([None] if framing == "length" else [None, "close"]), framing
            if reply.get("Connection"):
                assert wire.rest() == b""
            else:
                assert wire.ask(ask_for()).code == ipp.OK
                backend.forget()

    def test_flaws_in_records(self, gateway, connect):
        said = []
        for octets, _ in FLAWS.values():
            said.append((wire := connect(), wire.send(post(octets)).reply() if len(octets) < 2000 else None))
        for wire, reply in said:
            if reply:
                record = wire.record(gateway)
                assert (record["http_status"], record["rule"], record["error_text"]) == (200, "message", reply.words)

    @pytest.mark.parametrize("kind, status", [
        ("Content-Type: text/plain", 415), ("X-None: x", 415), ("Content-Type: ", 415),
        ("Content-Type: application/ipp\r\nContent-Type: application/ipp", 415),
        ("Content-Type: application/ipp, text/html", 415), ("Content-Type: application/ippx", 415),
        ("Content-Type: application/ipp; charset=utf-8", 200), ("content-type:   APPLICATION/IPP", 200),
        ("Content-Type: application/ipp\r\nContent-Encoding: gzip", 415),
        ("Content-Type: application/ipp\r\nContent-Encoding: identity", 200)])
    def test_kinds(self, backend, connect, kind, status):
        body = ask_for().encode()
        head = f"POST / HTTP/1.1\r\nHost: localhost\r\n{kind}\r\nContent-Length: {len(body)}\r\n\r\n"
        wire = connect().send(head.encode() + body)
        assert wire.reply().status == status
        assert len(backend.heard) == (status == 200)

    @pytest.mark.parametrize("line, status", [
        ("GET / HTTP/1.1", 404), ("GET /ipp/open HTTP/1.1", 404), ("GET /admin HTTP/1.1", 404), ("HEAD / HTTP/1.1", 404),
        ("PUT /ipp/open HTTP/1.1", 405), ("DELETE /ipp/open HTTP/1.1", 405), ("TRACE / HTTP/1.1", 405),
        ("PATCH / HTTP/1.1", 405), ("CONNECT localhost:631 HTTP/1.1", 400), ("POST / HTTP/1.1", 400),
        ("POST relative HTTP/1.1", 400), ("POST /%00 HTTP/1.1", 400), ("PRI * HTTP/2.0", 505), ("post / HTTP/1.1", 405),
        ("POST http://u:p@localhost/ipp/open HTTP/1.1", 400), ("POST //ipp/open HTTP/1.1", 400),
        ("POST / HTTP/1.2x", 400)])
    def test_methods(self, backend, connect, line, status):
        wire = connect().send(f"{line}\r\nHost: localhost\r\nContent-Type: application/ipp\r\n\r\n".encode())
        reply = wire.reply(has_body=not line.startswith("HEAD"))
        assert reply.status == status
        if status == 405:
            assert reply.get("Allow") == "OPTIONS, POST, GET, HEAD"
        assert backend.heard == []


BODY = ask_for().encode()


def head_with(*lines, first="POST / HTTP/1.1", host=("Host: localhost",)):
    return "\r\n".join([first, *host, "Content-Type: application/ipp", *lines, "", ""]).encode("latin-1")


LENGTH = f"Content-Length: {len(BODY)}"


class TestSmuggling:
    """What two readers could take for two different requests is none."""

    CASES = {
        "length and chunks": head_with(LENGTH, "Transfer-Encoding: chunked") + chunk(BODY) + chunk(b""),
        "chunks and length": head_with("Transfer-Encoding: chunked", LENGTH) + chunk(BODY) + chunk(b""),
        "two lengths": head_with(LENGTH, "Content-Length: 0") + BODY,
        "lengths in a list": head_with(LENGTH + ", 0") + BODY,
        "a length with a sign": head_with("Content-Length: +140") + BODY,
        "a length in hex": head_with("Content-Length: 0x8c") + BODY,
        "a huge length": head_with("Content-Length: 99999999999999999999999") + BODY,
        "codings in a list": head_with("Transfer-Encoding: gzip, chunked") + chunk(BODY) + chunk(b""),
        "chunked twice": head_with("Transfer-Encoding: chunked", "Transfer-Encoding: chunked") + chunk(BODY) + chunk(b""),
        "another coding": head_with("Transfer-Encoding: xchunked") + chunk(BODY) + chunk(b""),
        "chunks in HTTP/1.0": head_with("Transfer-Encoding: chunked", first="POST / HTTP/1.0") + chunk(BODY) + chunk(b""),
        "two hosts": head_with(LENGTH, host=("Host: localhost", "Host: localhost")) + BODY,
        "no host": head_with(LENGTH, host=()) + BODY,
        "no host that could be one": head_with(LENGTH, host=("Host: a b",)) + BODY,
        "a folded line": head_with("X-A: b\r\n c", LENGTH) + BODY,
        "a blank before the colon": head_with(LENGTH.replace(":", " :")) + BODY,
        "a line without a colon": head_with("nonsense", LENGTH) + BODY,
        "a bare LF": head_with("X-A: b\nTransfer-Encoding: chunked", LENGTH) + BODY,
        "a bare CR": head_with("X-A: b\rTransfer-Encoding: chunked", LENGTH) + BODY,
        "NUL": head_with("X-A: \0", LENGTH) + BODY,
        "HTTP/2": head_with(LENGTH, first="POST / HTTP/2.0") + BODY,
        "HTTP/0.9": b"POST /\r\n\r\n",
        "two blanks": head_with(LENGTH, first="POST  / HTTP/1.1") + BODY,
        "a chunk without a size": head_with("Transfer-Encoding: chunked") + b"\r\n" + BODY,
        "a chunk with a sign": head_with("Transfer-Encoding: chunked") + b"-1\r\n" + BODY,
        "a chunk of a huge size": head_with("Transfer-Encoding: chunked") + b"fffffffffffffffff\r\n" + BODY,
        "a chunk that is longer": head_with("Transfer-Encoding: chunked") + b"5\r\n" + BODY,
        "an unknown expectation": head_with("Expect: 200-ok", LENGTH) + BODY,
        "a long request-line": head_with(LENGTH, first=f"POST /{'a' * 9000} HTTP/1.1") + BODY,
        "a long head": head_with(*[f"X-{i}: {'a' * 900}" for i in range(30)], LENGTH) + BODY,
        "many fields": head_with(*["X: y"] * 200, LENGTH) + BODY,
    }

    @pytest.mark.parametrize("case", CASES)
    def test_refused(self, backend, connect, case):
        wire = connect()
        send_until_answered(wire, [self.CASES[case] + post(ask_for("open", PRINT_JOB, data=PDF))])
        reply = wire.reply()
        assert reply.status in (400, 413, 414, 417, 431, 501, 505) and reply.get("Connection") == "close", reply
        wire.sock.shutdown(socket.SHUT_WR)
        assert wire.rest() == b""  # what came behind is no request
        assert backend.heard == []

    def test_in_records(self, gateway, connect):
        said = [(wire := connect(), send_until_answered(wire, [octets]), wire.reply()) for octets in self.CASES.values()]
        for wire, _, reply in said:
            record = wire.record(gateway)
            assert record["http_status"] == reply.status and record["error"], record

    def test_requests_in_one_piece(self, backend, connect):
        """Which is allowed, and each gets its own answer."""
        asked = [ask_for(operation=op) for op in (GET_PRINTER_ATTRIBUTES, VALIDATE_JOB, GET_PRINTER_ATTRIBUTES)]
        wire = connect().send(b"".join(post(m) for m in asked))
        assert [wire.reply().message.request_id for _ in asked] == [m.request_id for m in asked]
        assert backend.operations() == [m.code for m in asked]


# ---- what does not end ----

CHUNKED = head_with("Transfer-Encoding: chunked")
START = message(end=b"")


class TestEndless:
    STREAMS = {
        "attributes": [value(TEXT, "a", b"x" * 1000)] * 60, "empty attributes": [value(0x13, "a", b"")] * 9000,
        "values": [value(TEXT, "", b"x" * 1000)] * 60, "empty values": [value(TEXT, "", b"")] * 9000,
        "long values": [value(TEXT, "a", b"x" * 32767)] * 2, "groups": [b"\2"] * 60000,
        "collections": [BEGIN + MEMBER + value(TEXT, "", b"x" * 1000) + STOP] * 55}

    @pytest.mark.parametrize("framing", ["chunks", "length"])
    @pytest.mark.parametrize("what", STREAMS)
    def test_attributes(self, gateway, gateway_pid, backend, connect, what, framing):
        """Refused at the limit, long before a gigabyte, and never gathered."""
        stream, before = b"".join(self.STREAMS[what]), memory_of(gateway_pid)
        first = head_with(f"Content-Length: {GIGABYTE}") + START if framing == "length" else CHUNKED + chunk(START)
        wire = connect()
        pieces = for_ever(stream if framing == "length" else chunk(stream))
        assert send_until_answered(wire, itertools.chain([first], pieces)) < 16 * MEGABYTE
        reply = wire.reply()
        assert (reply.code, reply.get("Connection")) == (TOO_LARGE, "close")
        assert memory_of(gateway_pid) - before < 16 * MEGABYTE
        assert backend.heard == []
        wire.close()
        record = wire.record(gateway, status="client-error-request-entity-too-large")
        assert (record["rule"], record["http_status"]) == ("message", 200), record

    @pytest.mark.parametrize("framing", ["chunks", "length"])
    def test_document(self, gateway, gateway_pid, backend, connect, framing):
        asked, before = ask_for("small", PRINT_JOB).encode(), memory_of(gateway_pid)
        first = head_with(f"Content-Length: {GIGABYTE}") + asked if framing == "length" else CHUNKED + chunk(asked)
        wire = connect()
        pieces = for_ever(b"x" * 60000 if framing == "length" else chunk(b"x" * 60000))
        assert send_until_answered(wire, itertools.chain([first], pieces)) < 16 * MEGABYTE
        reply = wire.reply()
        assert (reply.code, reply.get("Connection")) == (TOO_LARGE, "close")
        wire.close()
        record = wire.record(gateway, operation="Print-Job")
        assert record["rule"] in ("pipeline", "body-max")
        assert memory_of(gateway_pid) - before < 16 * MEGABYTE
        assert backend.heard == []

    def test_a_length_is_believed_before_the_document(self, connect):
        """Who says that it is too large is told so while he can still keep it."""
        asked = ask_for("small", PRINT_JOB).encode()
        wire = connect().send(head_with("Content-Length: 1000000", "Expect: 100-continue") + asked)
        assert wire.reply().code == TOO_LARGE

    def test_who_holds_everything_back(self, connect):
        """Whoever may send more right behind its head is waited for with 100 Continue, and our own client is not: it
        sends nothing before."""
        def first():
            """Who hears something first: all, where this machine is slower than the gateway waits."""
            wires = [connect().send(head_with(LENGTH, "Expect: 100-continue", f"User-Agent: {agent}"))
                     for agent in ("CUPS/2.4.2 (Linux 6.1; x86_64) IPP/2.0", "sallyport/0.1.0")]
            heard = select.select([wire.sock for wire in wires], [], [], 10)[0]
            for wire in wires:
                assert wire.head() == b"HTTP/1.1 100 Continue\r\n\r\n"
                assert wire.send(BODY).reply().code == ipp.OK
            return [wires.index(wire) for wire in wires if wire.sock in heard]
        assert any(first() == [1] for _ in range(10))

    HTTP = {"head": (431, "limit", "head too long"), "request-line": (414, "limit", "start-line too long"),
            "empty lines": (400, "protocol", "too many empty lines before a request-line"),
            "chunk extension": (400, "limit", "chunk-size line too long"), "trailer": (400, "limit", "too many trailer fields")}

    @pytest.mark.parametrize("what", HTTP)
    def test_http(self, gateway, gateway_pid, backend, connect, what):
        asked, before = ask_for("open", PRINT_JOB, data=PDF).encode(), memory_of(gateway_pid)
        first, stream = {
            "head": (b"POST / HTTP/1.1\r\nHost: localhost\r\n", b"X-Field: value\r\n" * 4000),
            "request-line": (b"POST /", b"a" * 60000),
            "empty lines": (b"", b"\r\n" * 30000), "chunk extension": (CHUNKED + b"5;", b"a=b;" * 15000),
            "trailer": (CHUNKED + chunk(asked) + b"0\r\n", b"X-Trailer: value\r\n" * 3000)}[what]
        wire = connect()
        assert send_until_answered(wire, itertools.chain([first], for_ever(stream))) < 16 * MEGABYTE
        assert wire.reply().status == self.HTTP[what][0]
        record = wire.record(gateway)
        assert (record["http_status"], record["error"], record["error_text"]) == self.HTTP[what], record
        assert memory_of(gateway_pid) - before < 16 * MEGABYTE
        assert backend.heard == []

    def test_many_at_once(self, tmp_path, certificates, backend):
        """What clients make grow together has a limit, too (limits.memory)."""
        body = message(*[value(TEXT, f"n{i:04}", b"x" * 1000) for i in range(1000)], end=b"")
        head = head_with("Content-Length: 1048000")
        with PrintGateway(tmp_path / "gateway", certificates, printers(backend), more="limits: {memory: 32m}\n") as own:
            pid = own.gateway_pid()
            before, wires = memory_of(pid), []
            for _ in range(400):
                wires.append(Wire(own.address("print")))
                send_until_answered(wires[-1], [head + body])
            with Wire(own.address("print")) as wire:
                assert wire.ask(ask_for()).answer in (ipp.OK, 0x0507, 503)
            grown = memory_of(pid) - before
            for wire in wires:
                wire.close()
            assert grown < 128 * MEGABYTE, f"{grown >> 20} MiB"


class TestManyJobs:
    def test_that_wait_for_documents(self, tmp_path, certificates, backend):
        """One client fills no store with them; who sends the documents of his opens as many as he likes."""
        last = ("last-document", ipp.BOOLEAN, True)
        with PrintGateway(tmp_path / "gateway", certificates, printers(backend), ipp="ipp: {incoming-max: 3}\n") as own:
            with Wire(own.address("print"), source="127.0.3.1") as wire, Wire(own.address("print"), source="127.0.3.2") as other:
                for _ in range(6):
                    job = wire.ask(ask_for("open", ipp.CREATE_JOB)).message.get("job-id")
                    assert wire.ask(ask_for("open", ipp.SEND_DOCUMENT, last, job_id=job, data=PDF)).code == ipp.OK
                assert [wire.ask(ask_for("open", ipp.CREATE_JOB)).code for _ in range(5)] == [ipp.OK] * 3 + [ipp.BUSY] * 2
                assert wire.record(own, operation="Create-Job", status="server-error-busy")["rule"] == "incoming-max"
                assert other.ask(ask_for("open", ipp.CREATE_JOB)).code == ipp.OK


class TestManyRequests:
    def test_of_nobody_in_particular(self, tmp_path, certificates, backend):
        """An address whose user is unknown asks so often a second; others, and users, are not held up by it."""
        with PrintGateway(tmp_path / "gateway", certificates, printers(backend), ipp="ipp: {requests-per-client: 1}\n") as own:
            with Wire(own.address("print"), source="127.0.3.1") as wire, Wire(own.address("print"), source="127.0.3.2") as other:
                codes = [wire.ask(ask_for()).code for _ in range(8)]
                assert codes[:2] == [ipp.OK] * 2 and codes[2:].count(ipp.BUSY) >= 4, codes
                record = wire.record(own, status="server-error-busy")
                assert (record["rule"], record["print"]["operation"]) == ("requests-per-client", "Get-Printer-Attributes")
                assert other.ask(ask_for()).code == ipp.OK

    def test_as_many_as_they_like(self, tmp_path, certificates, backend):
        with PrintGateway(tmp_path / "gateway", certificates, printers(backend), ipp="ipp: {requests-per-client: off}\n") as own:
            with Wire(own.address("print")) as wire:
                assert {wire.ask(ask_for()).code for _ in range(8)} == {ipp.OK}


class TestSlow:
    @pytest.mark.parametrize("began", ["P", "POST / HTTP/1.1\r\nHost: local", "POST / HTTP/1.1\r\nHost: localhost\r\n"])
    def test_head(self, hasty, connect, began):
        """A byte now and then does not help."""
        wire = connect(to=hasty).send(began.encode())
        assert self.drip(wire, b"X-A: b\r\n")
        reply = wire.reply()
        assert (reply.status, reply.get("Connection")) == (408, "close")
        assert wire.record(hasty)["error"] == "timeout"

    @pytest.mark.parametrize("where", ["attributes", "document"])
    @pytest.mark.parametrize("drips", [False, True], ids=["stops", "drips"])
    def test_body(self, hasty, backend, connect, where, drips):
        asked = ask_for("open", PRINT_JOB, data=PDF).encode()
        wire = connect(to=hasty).send(head_with("Content-Length: 100000") + asked[:-10 if where == "document" else 40])
        if drips:
            assert self.drip(wire, b"x")
        reply = wire.reply()
        assert (reply.status, reply.get("Connection")) == (408, "close")
        assert wire.record(hasty)["error"] == "timeout"
        assert backend.heard == []

    @staticmethod
    def drip(wire, data):
        """A byte whenever a moment has passed; true when the other side has had enough."""
        for octet in data * 1000:
            if select.select([wire.sock], [], [], 0.02)[0]:
                return True
            try:
                wire.sock.send(bytes([octet]))
            except (BrokenPipeError, ConnectionResetError):
                return True
        return False

    def test_nothing(self, hasty, connect):
        """Without a word, or a second one."""
        assert connect(to=hasty).rest() == b""
        wire = connect(to=hasty)
        assert wire.ask(ask_for()).code == ipp.OK
        assert wire.rest() == b""

    def test_others_are_served(self, hasty, connect):
        slow = [connect(to=hasty).send(b"POST / HTTP/1.1\r\nHost: ") for _ in range(50)]
        assert connect(to=hasty).ask(ask_for("open", PRINT_JOB, data=PDF)).code == ipp.OK
        assert [wire.reply().status for wire in slow] == [408] * 50

    def test_reads_nothing(self, hasty, backend, connect):
        """The answers that wait for him are few, and not for long."""
        pid = hasty.gateway_pid()
        before = memory_of(pid)
        wire = connect(to=hasty, receive=4096)
        wire.sock.settimeout(0.05)
        sent = 0
        try:
            for _ in range(2000):
                wire.send(post(ask_for()))
                sent += 1
        except OSError:
            pass
        record = wire.record(hasty, error="timeout")
        assert "takes no output" in record["error_text"] or "too long" in record["error_text"], record
        assert len(backend.heard) < 500
        assert memory_of(pid) - before < 32 * MEGABYTE

    def test_goes_away(self, hasty, backend, connect):
        """In the middle of a document: nobody prints half of it."""
        asked = ask_for("open", PRINT_JOB, data=PDF).encode()
        wire = connect(to=hasty).send(head_with("Content-Length: 100000") + asked)
        wire.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        wire.close()
        assert wire.record(hasty)["error"] == "client-gone"
        assert backend.heard == []


# ---- what nobody may do, or learn ----

METADATA = "http://169.254.169.254/latest/meta-data"


class TestReach:
    @pytest.mark.parametrize("operation", [0x0003, 0x0007, 0x4003, 0x4004, 0x4027, 0x4028, 0x400f, 0x0010, 0x0012, 0x0013,
                                           0x0042, 0x0055, 0x002c, 0x003a, 0x002d, 0x002e,
                                           0x7fff], ids=hex)
    def test_operations(self, backend, connect, operation):
        """The printer fetches nothing for others, tells no documents, runs no programs, makes no jobs out of old ones."""
        reply = connect().ask(ask_for("open", operation, ("document-uri", URI, METADATA)))
        assert reply.code == NOT_SUPPORTED and reply.words
        assert backend.heard == []

    def test_attributes_that_lead_past_the_gateway(self, backend, connect):
        sent = ask_for("open", PRINT_JOB, ("document-uri", URI, METADATA), ("Document-URI", URI, "file:///etc/passwd"),
                       ("notify-recipient-uri", URI, "mailto:a@b"), data=PDF)
        sent.groups += [(ipp.JOB, [("document-uri", URI, METADATA)]),
                        (ipp.SUBSCRIPTION, [("notify-recipient-uri", URI, "rss:///etc/passwd"),
                                            ("notify-events", KEYWORD, "job-completed")])]
        assert connect().ask(sent).code == ipp.OK
        names = {name.lower() for name, *_ in backend.last(PRINT_JOB).message.attributes()}
        assert names.isdisjoint({"document-uri", "notify-recipient-uri"}), names

    def test_a_format_twice(self, gateway, backend, connect):
        """The scheduler of CUPS says it so. The first one is held against formats, and the printer hears of no other."""
        sent = ask_for("open", PRINT_JOB, ("document-format", MIME, "text/plain"),
                       ("Document-Format", MIME, "application/postscript"), data=b"words")
        wire = connect()
        assert wire.ask(sent).code == ipp.OK
        heard = [a for a in backend.last(PRINT_JOB).message.attributes() if a[0].lower() == "document-format"]
        assert heard == [("document-format", MIME, "text/plain")]

    def test_what_is_told(self, gateway, backend, connect):
        """Nothing of the net behind the gateway, be the attribute known or new."""
        for way in ("clear", "implicit"):
            reply = connect(way).ask(ask_for())
            told = reply.message
            port = gateway.address("print")[1]
            assert INSIDE.encode() not in reply.body and str(backend.port).encode() not in reply.body
            for name in ("device-uri", "member-uris", "printer-icons", "printer-more-info", "x-new-uri", "x-local-uri",
                         "printer-dns-sd-name"):
                assert told.all(name) == []
            assert told.get("printer-info") == "a printer" and len(told.all("x-more")) == 400
            assert told.get("printer-uuid") not in (None, UUID)
            uris = set(told.all("printer-uri-supported"))
            assert uris and uris <= {f"ipps://localhost:{port}/ipp/open", f"ipp://localhost:{port}/ipp/open"}

    def test_what_the_printer_hears(self, backend, connect):
        """Nothing of HTTP that was the client's."""
        fields = ["Cookie: c=1", "Proxy-Authorization: Basic eA==", "X-Forwarded-For: 1.2.3.4", "TE: trailers", "Via: 1.1 x"]
        assert connect().ask(ask_for(), "/", *fields).code == ipp.OK
        head = backend.last(GET_PRINTER_ATTRIBUTES).head.decode().lower()
        for word in ("cookie", "authorization", "forwarded", "te:", "via:", "expect", "upgrade"):
            assert word not in head
        assert f"host: 127.0.0.1:{backend.port}\r\n" in head and head.startswith("post /printers/fake http/1.1\r\n")

    @pytest.mark.parametrize("field", ["Content-MD5: AAAAAAAAAAAAAAAAAAAAAA==", "Content-MD5: nonsense", "content-md5:",
                                       "Digest: MD5=AAAAAAAAAAAAAAAAAAAAAA==",
                                       "Content-Digest: sha-256=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:"])
    def test_checksums_of_the_client(self, backend, connect, field):
        """Nobody proves anything with them: even a wrong one does no harm, and the printer, whose request is another,
        hears of none."""
        assert connect().ask(ask_for("open", PRINT_JOB, data=PDF), "/", field).code == ipp.OK
        heard = backend.last(PRINT_JOB)
        assert heard.document == PDF
        assert b"md5" not in heard.head.lower() and b"digest" not in heard.head.lower()


class TestNames:
    """The printer hears who has proved himself, and nobody else."""

    SPOOFS = [[("requesting-user-name", NAME, "root")], [("Requesting-User-Name", NAME, "root")], [],
              [("requesting-user-name", NAME, "ann"), ("requesting-user-name", NAME, "root")],
              [("requesting-user-name", NAME, "ann", "root")],
              [("requesting-user-name", 0x36, b"\0\2en\0\4root")], [("original-requesting-user-name", NAME, "root")],
              [("job-originating-user-name", NAME, "root"), ("requesting-user-uri", URI, "mailto:root@x")]]

    @pytest.mark.parametrize("attributes", SPOOFS, ids=range(len(SPOOFS)))
    def test_spoofed(self, gateway, backend, connect, attributes):
        wire = connect("upgraded")
        digest = Digest("ann", "a password of Ann's", get_challenge(wire.ask(ask_for("secure", VALIDATE_JOB))))
        sent = ask_for("secure", PRINT_JOB, *attributes, user=None, data=PDF)
        sent.groups.append((ipp.JOB, [("requesting-user-name", NAME, "root"), ("copies", ipp.INTEGER, 1)]))
        assert wire.ask(sent, "/", digest.field()).answer == ipp.OK
        heard = backend.last(PRINT_JOB).message
        names = [a for a in heard.attributes() if "user" in a[0].lower()]
        assert names == [("requesting-user-name", NAME, "ann")]
        assert b"root" not in heard.encode()
        assert wire.record(gateway, operation="Print-Job")["user"] == "ann"

    def test_a_name_that_is_only_said_is_not_proved(self, gateway, connect):
        wire = connect("upgraded")
        assert wire.ask(ask_for("open", VALIDATE_JOB, user="root")).code == ipp.OK
        assert "auth" not in wire.record(gateway)["print"]


class TestSecrets:
    WORDS = {"auth-info": "auth-info-secret", "job-password": "job-password-secret",
             "document-password": "document-password-secret"}
    ATTRIBUTES = [(name, TEXT if name == "auth-info" else ipp.OCTETS, word.encode()) for name, word in WORDS.items()]

    def test_nowhere(self, gateway, backend, connect):
        """Neither passwords nor what proves them, in records, in the log, in what the gateway tells of itself."""
        secrets = [*self.WORDS.values(), "uri-user", "uri-password", "typed-password", "bearer-secret", "password of Ann"]
        wire = connect("upgraded")
        assert wire.ask(ask_for("open", PRINT_JOB, *self.ATTRIBUTES, data=PDF)).code == ipp.OK
        wire.ask(request(VALIDATE_JOB, "ipp://uri-user:uri-password@localhost/ipp/open"))
        wire.ask(ask_for("open", VALIDATE_JOB), "http://uri-user:uri-password@localhost/ipp/open")
        wire = connect("upgraded")
        challenge = get_challenge(wire.ask(ask_for("secure", VALIDATE_JOB)))
        right, wrong = Digest("ann", "a password of Ann's", challenge), Digest("ann", "typed-password", challenge, nc=10)
        lines = [right.field(), wrong.field(), wrong.field(uri="/elsewhere")]
        for line in lines:
            wire.ask(ask_for("secure", VALIDATE_JOB), "/", line)
        for line in (basic("ann", "typed-password"), basic("ann", "a password of Ann's"), "Authorization: Bearer bearer-secret"):
            wire.ask(ask_for("basic", VALIDATE_JOB), "/", line)
            lines.append(line)
        secrets += [part for line in lines for part in line.replace('"', " ").replace(",", " ").split() if len(part) > 20]
        assert wire.ask(ask_for("open", VALIDATE_JOB, user="last-of-all")).code == ipp.OK
        gateway.wait_record(lambda r: r.get("user") == "last-of-all")
        told = "\n".join([(gateway.state / "records.jsonl").read_text(), gateway.log(), json.dumps(gateway.status()),
                          gateway.admin("/metrics")[1]])
        assert "last-of-all" in told
        assert [s for s in secrets if s in told] == []

    @pytest.mark.parametrize("way, handed_on", [("clear", False), ("upgraded", True)])
    def test_handed_on_only_within_tls(self, backend, connect, way, handed_on):
        """And here the printer is on this machine."""
        assert connect(way).ask(ask_for("open", PRINT_JOB, *self.ATTRIBUTES, data=PDF)).code == ipp.OK
        heard = backend.last(PRINT_JOB).body
        assert [word for word in self.WORDS.values() if (word.encode() in heard) != handed_on] == []

    @pytest.mark.parametrize("name", WORDS)
    @pytest.mark.parametrize("way, code", [("clear", ipp.OK), ("upgraded", 0x040b)])
    def test_not_in_the_book(self, gateway, backend, connect, way, code, name):
        """Where they would be kept for a document to come they are refused; in clear text they were never handed on."""
        [secret] = [a for a in self.ATTRIBUTES if a[0] == name]
        wire = connect(way)
        reply = wire.ask(ask_for("open", ipp.CREATE_JOB, secret))
        assert reply.code == code
        assert wire.ask(ask_for("open", ipp.CREATE_JOB)).code == ipp.OK  # what was kept before it is in the files
        word = self.WORDS[name].encode()
        told = {base64.urlsafe_b64encode(b"x" * i + word)[4 * (i > 0):-4] for i in range(3)} | {word}
        kept = b"".join(path.read_bytes() for path in gateway.state.rglob("*") if path.is_file())
        assert [t for t in told if t in kept] == []
        assert [h for h in backend.heard if word in h.body] == []
