# SPDX-License-Identifier: Apache-2.0
"""TLS on a connection that began in clear text (RFC 2817), byte by byte: who gets it and in which words, what is
demanded of those who do not ask, and what somebody in between can do with it."""
import re
import socket
import ssl

import pytest

from testenv import ipp
from testenv.cups import client_environment, ipptool, run

from testenv.ipp import GET_PRINTER_ATTRIBUTES, PRINT_JOB, VALIDATE_JOB, request
from testenv.peers import need
from testenv.print_wire import (FATAL, HANDSHAKE_FAILURE, NO_APPLICATION_PROTOCOL, OPTIONS, PROTOCOL_VERSION, UPGRADED,
                                Digest, Wire, add_user, chunk, client_hello, context, fresh_source, get_challenge,
                                post, post_in_chunks)
from testenv.printing import PrintGateway, printer
from testenv.tap import Tap

LISTENERS = """\
  - {name: off, protocol: ipp, address: "127.0.0.1:0", tls: print, upgrade: off}
  - {name: any, protocol: ipp, address: "127.0.0.1:0", tls: print, upgrade: any}
  - {name: at-once, protocol: ipp, address: "127.0.0.1:0", tls: print, tls-begins: at-once}
  - {name: by-upgrade, protocol: ipp, address: "127.0.0.1:0", tls: print, tls-begins: by-upgrade}
  - {name: hasty, protocol: ipp, address: "127.0.0.1:0", tls: print, handshake: 400ms}
  - {name: bare, protocol: ipp, address: "127.0.0.1:0"}
"""
ADVERTISED = "TLS/1.2, HTTP/1.1"
SERVER_HELLO, NEW_SESSION_TICKET = 2, 4  # RFC 8446 4
PASSWORD = "a password of Ann's"
DOCUMENT = b"%PDF-1.4\nthe words of a secret document\n%%EOF\n"
IMPLICIT, UPGRADING = ("print", "off", "any", "at-once", "hasty"), ("print", "any", "by-upgrade", "hasty")


@pytest.fixture(scope="module")
def gateway(tmp_path_factory, certificates, backend):
    printers = [printer("open", backend.uri(), require="[]", pipeline="[]"),
                printer("secure", backend.uri(), require="[tls]", pipeline="[]", aliases="[/printers/secure]"),
                printer("both", backend.uri(), require="[tls, digest]", pipeline="[]")]
    with PrintGateway(tmp_path_factory.mktemp("gateway"), certificates, printers, listeners=LISTENERS,
                      more="login: {rounds: 100000}\n") as running:
        add_user(running, "acme", "ann", PASSWORD)
        yield running


@pytest.fixture
def connect(gateway, backend):
    """connect(listener="print", way="clear", …): a Wire; the printer has heard nothing yet."""
    wires = []
    backend.forget()

    def connect(listener="print", way="clear", **options):
        wires.append(Wire(gateway.address(listener), way, **options))
        return wires[-1]

    yield connect
    for wire in wires:
        wire.close()


def ask_for(name, operation=GET_PRINTER_ATTRIBUTES, *attributes, **more):
    return request(operation, f"ipp://localhost/ipp/{name}", *attributes, **more)


def options(*fields, target="*", version="1.1"):
    return "\r\n".join([f"OPTIONS {target} HTTP/{version}", "Host: localhost", *fields, "", ""]).encode()


def expect_no_tls(wire):
    """The connection is still one of clear text, and serves."""
    reply = wire.ask(ask_for("open"))
    assert reply.code == ipp.OK
    return reply


class TestOptions:
    def test_101_then_tls_then_one_answer(self, gateway, connect):
        """The answer to OPTIONS comes inside TLS, unasked, and once."""
        wire = connect()
        head = wire.send(OPTIONS).head().decode()
        assert head.startswith("HTTP/1.1 101 Switching Protocols\r\n")
        fields = dict(line.split(": ") for line in head.split("\r\n")[1:] if line)
        assert fields == {"Connection": "Upgrade", "Upgrade": ADVERTISED}  # RFC 2817 3.3; a 1xx has no body
        wire.start_tls()
        assert wire.sock.version() == "TLSv1.3"  # whatever the token says
        reply = wire.reply()
        assert (reply.status, reply.body, reply.get("Content-Length")) == (200, b"", "0")
        assert reply.get("Allow") == "OPTIONS, POST, GET, HEAD"
        assert reply.get("Upgrade") is None
        asked = ask_for("secure")
        reply = wire.ask(asked)
        assert (reply.code, reply.message.request_id) == (ipp.OK, asked.request_id)
        record = wire.record(gateway, operation="Get-Printer-Attributes")
        assert (record["print"]["channel"], record["protection"]["how"]) == ("upgraded", "strong")

    @pytest.mark.parametrize("tokens, taken", [
        ("TLS/1.0", True), ("tls/1.2", True), ("TLS", True), ("TLS/1.3", True), ("websocket, TLS/1.2", True),
        ("TLS/9.9", True), ("TLS/1.2,TLS/1.1,TLS/1.0", True), (" , TLS/1.2 ,", True), ("h2c", False), ("", False),
        ("websocket", False),
        ("TLS/", False), ("TLS/1.", False), ("TLS/x", False), ("TLS1.2", False), ("SSL/3.0", False), ("HTTP/2.0", False)])
    def test_tokens(self, connect, tokens, taken):
        wire = connect().send(options("Connection: Upgrade", f"Upgrade: {tokens}"))
        if taken:
            assert f"\r\nUpgrade: {ADVERTISED}\r\n" in wire.head().decode()
            assert wire.start_tls().reply().status == 200
        else:
            reply = wire.reply()
            assert (reply.status, reply.get("Upgrade")) == (200, ADVERTISED)
            expect_no_tls(wire)

    @pytest.mark.parametrize("lines, taken", [
        (["Connection: upgrade"], True), (["connection: UPGRADE"], True), (["Connection: keep-alive, Upgrade"], True),
        (["Connection: Upgrade, keep-alive"], True), (["Connection: keep-alive", "Connection: Upgrade"], True),
        ([], False), (["Connection: keep-alive"], False), (["Connection: Upgrades"], False), (["Connection: "], False)])
    def test_connection_is_a_list(self, connect, lines, taken):
        """Where a hop has taken the option out but left the field, TLS would begin with the wrong party."""
        wire = connect().send(options(*lines, "Upgrade: TLS/1.2"))
        if taken:
            assert wire.head().startswith(b"HTTP/1.1 101 ")
            assert wire.start_tls().reply().status == 200
        else:
            assert wire.reply().status == 200
            expect_no_tls(wire)

    def test_close_counts_inside(self, connect):
        wire = connect().send(options("Connection: close, Upgrade", "Upgrade: TLS/1.2"))
        assert wire.head().startswith(b"HTTP/1.1 101 ")
        reply = wire.start_tls().reply()
        assert (reply.status, reply.get("Connection")) == (200, "close")
        assert wire.rest() == b""

    def test_http_1_0_knows_no_upgrade(self, connect):
        wire = connect().send(options("Connection: Upgrade", "Upgrade: TLS/1.2", version="1.0"))
        assert wire.reply().status == 200
        assert wire.rest() == b""

    def test_two_fields_are_one_list(self, connect):
        wire = connect().send(options("Connection: Upgrade", "Upgrade: websocket", "Upgrade: TLS/1.2"))
        assert wire.head().startswith(b"HTTP/1.1 101 ")
        assert wire.start_tls().reply().status == 200

    @pytest.mark.parametrize("way", ["upgraded", "implicit"])
    def test_not_twice(self, connect, way):
        wire = connect(way=way)
        reply = wire.send(OPTIONS).reply()
        assert (reply.status, reply.get("Upgrade")) == (200, None)
        assert wire.ask(ask_for("secure")).code == ipp.OK

    @pytest.mark.parametrize("target", ["/", "/ipp/secure", "/nothing/here", "http://localhost/ipp/secure"])
    def test_any_target(self, connect, target):
        wire = connect().send(options("Connection: Upgrade", "Upgrade: TLS/1.2", target=target))
        assert wire.head().startswith(b"HTTP/1.1 101 ")
        assert wire.start_tls().reply().status == 200

    @pytest.mark.parametrize("framing, body", [("Content-Length: 5", b"hello"),
                                               ("Transfer-Encoding: chunked", chunk(b"hello") + chunk(b""))])
    def test_with_a_body(self, connect, framing, body):
        wire = connect().send(options("Connection: Upgrade", "Upgrade: TLS/1.2", framing) + body)
        assert wire.reply().status == 400
        expect_no_tls(wire)

    @pytest.mark.parametrize("field", ["Content-Length: 0", "Expect: 100-continue"])
    def test_with_what_means_no_body(self, connect, field):
        wire = connect().send(options("Connection: Upgrade", "Upgrade: TLS/1.2", field))
        assert wire.head().startswith(b"HTTP/1.1 101 ")
        assert wire.start_tls().reply().status == 200

    def test_advertises_where_nobody_asks(self, connect):
        wire = connect()
        reply = wire.send(options()).reply()
        assert (reply.status, reply.get("Upgrade"), reply.get("Connection")) == (200, ADVERTISED, "Upgrade")
        assert reply.get("Allow") == "OPTIONS, POST, GET, HEAD"
        expect_no_tls(wire)

    def test_user_and_password_of_before_prove_nothing(self, connect):
        """What was said in clear text does not count inside."""
        wire = connect("any").send(post(ask_for("both", VALIDATE_JOB), "/", "Connection: Upgrade", "Upgrade: TLS/1.2",
                                        'Authorization: Digest username="ann"'))
        assert wire.head().startswith(b"HTTP/1.1 101 ")
        assert wire.start_tls().reply().status == 401

    @pytest.mark.parametrize("way, name, asked", [("upgraded", "both", "both"), ("implicit", "both", "both"),
                                                  ("clear", "open;AUTH=DAA", "both"),
                                                  ("clear", "open;AUTH=DAA", "open;AUTH=DAA")])
    def test_nor_do_right_ones(self, gateway, connect, way, name, asked):
        """Nor do they anywhere afterwards, if their challenge was made inside: everybody could read the answer, which
        may be sent again with another document. A challenge of clear text counts there, once."""
        first = connect(way=way)
        field = Digest("ann", PASSWORD, get_challenge(first.ask(ask_for(name, VALIDATE_JOB)))).field()
        wire = connect("any").send(post(ask_for(asked, VALIDATE_JOB), "/", "Connection: Upgrade", "Upgrade: TLS/1.2",
                                        field))
        assert wire.head().startswith(b"HTTP/1.1 101 ")
        reply = wire.start_tls().reply()
        assert reply.status == 401 and "stale" not in str(reply.all("WWW-Authenticate")), reply
        record = wire.record(gateway, operation="Validate-Job", http_status=401)["print"]
        assert (record["channel"], record["lacked"], record.get("auth")) == ("upgraded", "DAA", None)
        if way != "clear":
            for inside in (wire, connect(way="implicit")):
                again = inside.ask(ask_for(name, VALIDATE_JOB), "/", field)
                assert again.status == 401 and all("stale=true" in v for v in again.all("WWW-Authenticate")), again
            digest = Digest("ann", PASSWORD, get_challenge(again))
            assert inside.ask(ask_for(name, VALIDATE_JOB), "/", digest.field()).code == ipp.OK
            return
        assert first.ask(ask_for(name, VALIDATE_JOB), "/", field).code == ipp.OK
        assert first.record(gateway, http_status=200, operation="Validate-Job")["print"]["auth"] == "digest-SHA-256"
        assert first.ask(ask_for(name, VALIDATE_JOB), "/", field).status == 401

    @pytest.mark.parametrize("message", ["OPTIONS", "POST"])
    def test_answers_that_were_overheard(self, connect, message):
        """Whichever request they come with in clear text, also where that is answered without looking at them, and
        after the same challenge was answered inside."""
        inside = connect(way="implicit")
        digest = Digest("ann", PASSWORD, get_challenge(inside.ask(ask_for("both", VALIDATE_JOB))))
        assert inside.ask(ask_for("both", VALIDATE_JOB), "/", digest.field()).code == ipp.OK
        field = digest.field()
        outside = connect().send(options(field) if message == "OPTIONS" else post(ask_for("both", PRINT_JOB), "/", field))
        assert outside.reply().status == (200 if message == "OPTIONS" else 426)
        for f in (field, digest.field()):
            assert "stale=true" in inside.ask(ask_for("both", VALIDATE_JOB), "/", f).all("WWW-Authenticate")[0]

    def test_challenges_of_clear_text_do_not_count_inside(self, connect):
        """Not with the request that asks for TLS, and not behind it."""
        digest = Digest("ann", PASSWORD, get_challenge(connect().ask(ask_for("open;AUTH=DAA", VALIDATE_JOB))))
        asked = ask_for("open;AUTH=DAA", VALIDATE_JOB)
        wire = connect("any").send(post(asked, "/", "Connection: Upgrade", "Upgrade: TLS/1.2", digest.field()))
        assert wire.head().startswith(b"HTTP/1.1 101 ")
        assert wire.start_tls().reply().status == 401
        assert wire.ask(asked, "/", digest.field()).status == 401
        assert connect().ask(asked, "/", digest.field()).code == ipp.OK


    def test_overhearing_is_no_way_to_fill_the_table(self, connect):
        """Each counts as a wrong password: whoever has had ten of them is not heard there any more."""
        source = fresh_source()
        inside = connect(way="implicit", source=source)
        for _ in range(11):
            field = Digest("ann", PASSWORD, get_challenge(inside.ask(ask_for("both;AUTH=DAA", VALIDATE_JOB)))).field()
            assert connect(source=source).ask(ask_for("both", VALIDATE_JOB), "/", field).status == 426
        assert inside.ask(ask_for("both;AUTH=DAA", VALIDATE_JOB), "/", field).status == 429

class TestDemand:
    @pytest.mark.parametrize("name", ["secure", "both"])
    @pytest.mark.parametrize("operation", [GET_PRINTER_ATTRIBUTES, VALIDATE_JOB, PRINT_JOB])
    def test_426(self, gateway, backend, connect, name, operation):
        """426 and never 418; and nobody is asked for a password where others listen."""
        wire = connect()
        reply = wire.ask(ask_for(name, operation, data=DOCUMENT if operation == PRINT_JOB else b""), f"/ipp/{name}")
        assert (reply.status, reply.get("Upgrade")) == (426, ADVERTISED)
        assert reply.get("Connection") == "Upgrade"
        assert reply.get("WWW-Authenticate") is None
        port = gateway.address("print")[1]
        assert reply.body.decode() == f"This needs TLS: upgrade, or use ipps://localhost:{port}.\r\n"
        assert backend.heard == []
        record = wire.record(gateway, http_status=426)
        assert (record["print"]["channel"], record["print"]["lacked"]) == ("clear", "TLS")
        assert record["print"].get("odd") == ("document-sent-in-clear" if operation == PRINT_JOB else None)
        is_anonymous = name == "secure" or operation == GET_PRINTER_ATTRIBUTES
        assert record["print"]["required"] == ("TLS" if is_anonymous else "TLS,DAA")
        assert wire.upgrade().status == 200  # TLS does not begin by itself: the client asks for it
        assert wire.ask(ask_for(name), f"/ipp/{name}").code == ipp.OK

    def test_a_document_that_comes_later(self, gateway, connect):
        """When the answer is known already: it was sent all the same."""
        body = ask_for("secure", PRINT_JOB).encode()
        wire = connect().send(post(body + DOCUMENT)[:-len(DOCUMENT)])
        assert wire.reply().status == 426
        wire.send(DOCUMENT)
        assert wire.record(gateway, http_status=426)["print"]["odd"] == "document-sent-in-clear"

    def test_before_the_document(self, connect):
        """Who waits with his document does not have to send it to hear that."""
        body = ask_for("secure", PRINT_JOB).encode()
        head = post(body, "/ipp/secure", "Expect: 100-continue").replace(b"Content-Length: %d" % len(body),
                                                                       b"Content-Length: 1000000")
        wire = connect().send(head)
        reply = wire.reply()
        assert (reply.status, reply.get("Connection")) == (426, "close, Upgrade")
        wire.sock.shutdown(socket.SHUT_WR)
        assert wire.rest() == b""

    def test_off(self, gateway, connect):
        """Nothing is offered, and what needs TLS is refused with the way that there is."""
        wire = connect("off")
        reply = wire.send(OPTIONS).reply()
        assert (reply.status, reply.get("Upgrade"), reply.get("Connection")) == (200, None, None)
        reply = wire.ask(ask_for("secure"))
        assert (reply.status, reply.get("Upgrade")) == (403, None)
        assert f"ipps://localhost:{gateway.address('off')[1]}" in reply.body.decode()
        assert connect("off", "implicit").ask(ask_for("secure")).code == ipp.OK

    def test_no_tls_at_all(self, connect):
        wire = connect("bare")
        reply = wire.send(OPTIONS).reply()
        assert (reply.status, reply.get("Upgrade")) == (200, None)
        assert wire.ask(ask_for("secure")).status == 403
        assert wire.ask(ask_for("open")).code == ipp.OK

    @pytest.mark.parametrize("first", [options(), OPTIONS, post(ask_for("open"))],
                             ids=["options", "upgrade", "operation"])
    def test_at_once(self, gateway, backend, connect, first):
        wire = connect("at-once").send(first)
        reply = wire.reply()
        assert (reply.status, reply.get("Upgrade"), reply.get("Connection")) == (403, None, "close")
        assert b"ipps:// with this very port" in reply.body
        assert wire.rest() == b""
        assert backend.heard == []
        assert wire.record(gateway)["error"] == "plaintext"
        assert connect("at-once", "implicit").ask(ask_for("secure")).code == ipp.OK

    def test_by_upgrade_only(self, connect):
        wire = connect("by-upgrade").send(client_hello((3, 3)))
        assert re.fullmatch(rb"HTTP/1\.1 400 .*", wire.rest(), re.S)
        assert connect("by-upgrade", "upgraded").ask(ask_for("secure")).code == ipp.OK


class TestToTheLetter:
    """`upgrade: any`: the draft's way, where the request itself asks for TLS."""

    LINES = ("Connection: Upgrade", "Upgrade: TLS/1.0")

    @pytest.mark.parametrize("framing", [post, post_in_chunks], ids=["length", "chunks"])
    @pytest.mark.parametrize("operation", [GET_PRINTER_ATTRIBUTES, VALIDATE_JOB, ipp.GET_JOBS])
    @pytest.mark.parametrize("name", ["open", "secure"])
    def test_answered_inside(self, backend, connect, operation, name, framing):
        asked = ask_for(name, operation)
        wire = connect("any").send(framing(asked, f"/ipp/{name}", *self.LINES))
        assert wire.head().startswith(b"HTTP/1.1 101 ")
        assert backend.heard == []  # it is carried out inside TLS, and not before
        reply = wire.start_tls().reply()
        assert (reply.code, reply.message.request_id) == (ipp.OK, asked.request_id)
        assert wire.ask(ask_for("secure")).code == ipp.OK

    @pytest.mark.parametrize("agent", ["CUPS/2.4.2 (Linux)", "sallyport/1"])
    def test_what_is_held_back(self, gateway, backend, connect, agent):
        """Nobody knows what it is, and to learn it would have it sent in clear text: to say so is cheapest."""
        body = ask_for("open").encode()
        wire = connect("any").send(post(body, "/", *self.LINES, "Expect: 100-continue", f"User-Agent: {agent}")[:-len(body)])
        head = wire.head()
        assert head.startswith(b"HTTP/1.1 426 ") and b"\r\nUpgrade: %s\r\n" % ADVERTISED.encode() in head, head
        record = wire.record(gateway)
        assert (record["rule"], backend.heard) == ("upgrade", []), record
        assert record["error_text"] == "what would come in clear text, with an offer of TLS, is not known"

    def test_what_is_not_held_back(self, connect):
        """It expects 100 Continue, and does not wait for that."""
        wire = connect("any").send(post(ask_for("secure"), "/", *self.LINES, "Expect: 100-continue"))
        assert wire.head() == b"HTTP/1.1 100 Continue\r\n\r\n"  # before 101 (RFC 9110 7.8)
        assert wire.head().startswith(b"HTTP/1.1 101 ")
        assert wire.start_tls().reply().code == ipp.OK

    def test_what_has_begun(self, connect):
        """The rest is wanted then."""
        body = ask_for("secure").encode()
        wire = connect("any").send(post(body, "/", *self.LINES, "Expect: 100-continue")[:5 - len(body)])
        assert wire.head() == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert wire.send(body[5:]).head().startswith(b"HTTP/1.1 101 ")
        assert wire.start_tls().reply().code == ipp.OK

    @pytest.mark.parametrize("name", ["secure", "open"])
    def test_a_document_does_not_ask_twice(self, gateway, backend, connect, name):
        """It went through the net in clear text: no TLS afterwards makes it protected. Who offers TLS wants it, also
        where the printer does not."""
        wire = connect("any").send(post(ask_for(name, PRINT_JOB, data=DOCUMENT), "/", *self.LINES))
        reply = wire.reply()
        assert (reply.status, reply.get("Upgrade")) == (426, ADVERTISED)
        assert backend.heard == []
        said = wire.record(gateway)["print"]
        assert (said["operation"], said["odd"]) == ("Print-Job", "document-sent-in-clear"), said

    @pytest.mark.parametrize("method", ["GET", "HEAD"])
    def test_pages(self, connect, method):
        """There are none, and that is told inside."""
        wire = connect("any").send("\r\n".join([f"{method} / HTTP/1.1", "Host: gw", *self.LINES, "", ""]).encode())
        assert wire.head().startswith(b"HTTP/1.1 101 ")
        wire.start_tls()
        assert wire.head().startswith(b"HTTP/1.1 404 ")

    @pytest.mark.parametrize("length, status", [(60_000, 101), (70_000, 426)])
    def test_long_questions(self, gateway, backend, connect, length, status):
        """What is said before TLS is kept for it, up to 64 KiB."""
        long = [(f"x-{i}", ipp.NAME, "x" * 250) for i in range(length // 260)]
        wire = connect("any").send(post(ask_for("open", ipp.GET_JOBS, *long), "/", *self.LINES))
        head = wire.head()
        assert head.startswith(b"HTTP/1.1 %d " % status), head
        if status == 426:
            assert b"\r\nConnection: close, Upgrade\r\n" in head, head
            assert "over 64 KiB" in wire.record(gateway)["error_text"] and backend.heard == []

    @pytest.mark.parametrize("operation", [ipp.CANCEL_JOB, ipp.CREATE_JOB])
    def test_what_changes_something(self, backend, connect, operation):
        wire = connect("any").send(post(ask_for("secure", operation, job_id=1 if operation == ipp.CANCEL_JOB else None),
                                        "/", *self.LINES))
        assert wire.reply().status == 426
        assert backend.heard == []

    @pytest.mark.parametrize("operation", [GET_PRINTER_ATTRIBUTES, VALIDATE_JOB])
    def test_only_where_it_is_configured(self, connect, operation):
        wire = connect("print").send(post(ask_for("open", operation), "/", *self.LINES))
        assert wire.reply().code == ipp.OK
        wire.send(post(ask_for("secure", operation), "/", *self.LINES))
        assert wire.reply().status == 426


class TestHandshake:
    @pytest.mark.parametrize("version", [(3, 0), (3, 1), (3, 2)], ids=["SSLv3", "TLS1.0", "TLS1.1"])
    @pytest.mark.parametrize("listener, way", [(n, "implicit") for n in IMPLICIT] + [(n, "upgraded") for n in UPGRADING])
    def test_old_versions(self, gateway, connect, listener, way, version):
        wire = connect(listener)
        if way == "upgraded":
            assert wire.send(OPTIONS).head().startswith(b"HTTP/1.1 101 ")
        alert = wire.send(client_hello(version)).rest()
        assert (alert[0], alert[5]) == (0x15, FATAL) and alert[6] in (HANDSHAKE_FAILURE, PROTOCOL_VERSION), alert
        assert len(alert) == 7  # and no way on in clear text
        assert wire.record(gateway)["error"] == "tls"

    # Of TLS 1.2, for certificates of both kinds.
    WEAK = {
        "CBC": "c009 c00a c013 c014 c023 c024 c027 c028",
        "RSA key exchange": "002f 0035 003c 003d 009c 009d",
        "export": "0003 0006 0008 000b 000e 0011 0014 0017 0019 0062 0063 0064 0065",
        "RC4": "0004 0005 c007 c011",
        "no encryption": "0001 0002 003b c006 c010",
        "anonymous": "0018 001b 0034 003a 006c 006d 00a6 00a7 c018 c019",
    }
    STRONG = "c02b c02c c02f c030 cca8 cca9"
    # supported_groups: x25519, secp256r1. ec_point_formats: uncompressed. signature_algorithms: ECDSA, PSS, PKCS #1.
    EXTENSIONS = bytes.fromhex("000a00060004001d0017" "000b00020100" "000d000a0008" "0403080408050401")

    @pytest.fixture
    def offer(self, connect):
        """offer(listener, way, suites): the Wire on which a ClientHello with these was sent."""
        def offer(listener, way, suites):
            wire = connect(listener)
            if way == "upgraded":
                assert wire.send(OPTIONS).head().startswith(b"HTTP/1.1 101 ")
            return wire.send(client_hello((3, 3), bytes.fromhex(suites), self.EXTENSIONS))
        return offer

    WAYS = [("print", "implicit"), ("at-once", "implicit"), ("print", "upgraded"), ("by-upgrade", "upgraded")]

    @pytest.mark.parametrize("suites", WEAK)
    @pytest.mark.parametrize("listener, way", WAYS)
    def test_weak_suites(self, gateway, offer, listener, way, suites):
        wire = offer(listener, way, self.WEAK[suites])
        alert = wire.rest()
        assert (alert[0], alert[5:]) == (0x15, bytes([FATAL, HANDSHAKE_FAILURE])), alert
        assert wire.record(gateway)["error"] == "tls"

    @pytest.mark.parametrize("listener, way", WAYS)
    def test_strong_suites(self, offer, listener, way):
        """What is refused above are the suites, not the rest of that ClientHello."""
        for suites in (self.STRONG, f"{self.WEAK['CBC']} {self.STRONG}"):
            answer = offer(listener, way, suites).exactly(200)
            assert (answer[0], answer[5]) == (0x16, SERVER_HELLO), answer
            assert answer[44 + answer[43]:46 + answer[43]].hex() in self.STRONG

    @pytest.mark.parametrize("way", ["implicit", "upgraded"])
    @pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
    def test_no_tickets(self, connect, way, version):
        """libcups 2.4 takes one that comes while it waits for an answer for an error, and connects for ever."""
        tls, tickets = context(minimum=version, maximum=version), []

        def look(connection, direction, version, content, kind, data):
            if kind == NEW_SESSION_TICKET and content == ssl._TLSContentType.HANDSHAKE:
                tickets.append(direction)

        tls._msg_callback = look
        wire = connect(way=way, tls=tls)
        for _ in range(2):
            assert wire.ask(ask_for("secure")).code == ipp.OK
        assert not tickets
        assert not wire.sock.session or not wire.sock.session.has_ticket

    @pytest.mark.parametrize("way", ["implicit", "upgraded"])
    def test_close_notify(self, connect, way):
        wire = connect(way=way)
        reply = wire.ask(ask_for("secure"), "/", "Connection: close")
        assert (reply.code, reply.get("Connection")) == (ipp.OK, "close")
        assert wire.rest() == b""  # an end without close_notify is an error of Python's ssl

    def test_peers_without_close_notify(self, connect):
        wire = connect(way="upgraded")
        assert wire.ask(ask_for("secure")).code == ipp.OK
        wire.sock.shutdown(socket.SHUT_WR)
        farewell = wire.rest()  # Python's ssl is not asked any more: its record of TLS
        assert farewell[:1] == b"\x17" and len(farewell) < 64, farewell
        assert connect(way="upgraded").ask(ask_for("secure")).code == ipp.OK

    @pytest.mark.parametrize("began", [b"", client_hello((3, 3))[:20]], ids=["nothing", "a part"])
    def test_that_never_comes(self, gateway, connect, began):
        wire = connect("hasty").send(OPTIONS)
        assert wire.head().startswith(b"HTTP/1.1 101 ")
        if began:
            wire.send(began)
        assert b"HTTP" not in wire.rest()
        record = wire.record(gateway)
        assert (record["error"], record["print"]["channel"]) == ("timeout", "clear"), record

    def test_that_fails(self, gateway, connect):
        """There is no way back to clear text."""
        wire = connect().send(OPTIONS)
        assert wire.head().startswith(b"HTTP/1.1 101 ")
        assert b"HTTP" not in wire.send(b"\x16\x03\x01\x00\x05nonsense").rest()
        assert wire.record(gateway)["error"] == "tls"


class TestMinimum:
    """`minimum: "1.3"`, on both ways to TLS."""

    @pytest.fixture(scope="class")
    def newest(self, tmp_path_factory, certificates, backend):
        with PrintGateway(tmp_path_factory.mktemp("newest"), certificates,
                          [printer("secure", backend.uri(), require="[tls]", pipeline="[]")],
                          tls=', minimum: "1.3"') as running:
            yield running

    @pytest.mark.parametrize("way", ["implicit", "upgraded"])
    def test_print_listener(self, newest, backend, way):
        old, new = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
        backend.forget()
        with Wire(newest.address("print")) as wire:
            if way == "upgraded":
                assert wire.send(OPTIONS).head().startswith(b"HTTP/1.1 101 ")
            with pytest.raises(ssl.SSLError, match="alert protocol version"):
                wire.start_tls(context(maximum=old))
            record = wire.record(newest, error="tls")
            assert record["error_text"] == "TLS failed: unsupported protocol"
            assert (record["protection"]["how"], record["protection"]["why"]) == ("none", "no-common-proposal"), record
        assert backend.heard == []
        for maximum in (new, None):
            with Wire(newest.address("print"), way, tls=context(maximum=maximum)) as wire:
                assert wire.sock.version() == "TLSv1.3"
                assert wire.ask(ask_for("secure")).code == ipp.OK
                record = wire.record(newest, operation="Get-Printer-Attributes")
                assert (record["print"]["channel"], record["protection"]["version"]) == (way, "TLSv1.3"), record


class TestInBetween:
    """Who sits on the way and can put in, hold back and join together what he likes."""

    @pytest.mark.parametrize("behind", [post(ask_for("open", PRINT_JOB, data=DOCUMENT)), b"P", b"\x16", b"\r\n"],
                             ids=["POST", "octet", "0x16", "CRLF"])
    def test_clear_text_behind_the_question(self, gateway, backend, connect, behind):
        """Else it would run as if it had come inside TLS."""
        wire = connect().send(OPTIONS + behind)
        reply = wire.reply()
        assert (reply.status, reply.get("Connection")) == (400, "close")
        assert wire.rest() == b""
        self.check_clear_text(wire.record(gateway))
        assert backend.heard == []

    @staticmethod
    def check_clear_text(record):
        said = record["error"], record["error_text"], record["http_status"], record["print"]["channel"]
        assert said == ("protocol", "bytes came in clear text behind a request for TLS", 400, "clear"), record

    def test_behind_a_question_that_is_an_operation(self, gateway, backend, connect):
        asked = post(ask_for("secure"), "/", "Connection: Upgrade", "Upgrade: TLS/1.2")
        wire = connect("any").send(asked + post(ask_for("open", PRINT_JOB, data=DOCUMENT)))
        reply = wire.reply()
        assert (reply.status, reply.get("Connection")) == (400, "close")
        assert wire.rest() == b""
        self.check_clear_text(wire.record(gateway))
        assert backend.heard == []

    def test_clear_text_behind_the_101(self, gateway, backend, connect):
        wire = connect().send(OPTIONS)
        assert wire.head().startswith(b"HTTP/1.1 101 ")
        wire.send(post(ask_for("open", PRINT_JOB, data=DOCUMENT)))
        assert b"HTTP" not in wire.rest()
        self.check_failed(wire.record(gateway), "http request")
        assert backend.heard == []

    @staticmethod
    def check_failed(record, why):
        """TLS did not begin, and nothing was answered."""
        assert (record["error"], record["error_text"]) == ("tls", f"TLS failed: {why}"), record
        assert record["protection"]["version"] == "none" and "http_status" not in record, record
        assert record["print"]["channel"] == "clear" and "status" not in record["print"], record

    @pytest.mark.parametrize("way, names, chosen", [
        ("upgraded", (), None), ("upgraded", (UPGRADED,), UPGRADED), ("upgraded", ("http/1.1", UPGRADED), UPGRADED),
        ("implicit", (), None), ("implicit", ("http/1.1",), "http/1.1"), ("implicit", ("h2", "http/1.1"), "http/1.1"),
        ("implicit", (UPGRADED, "http/1.1"), "http/1.1")])
    def test_names_of_the_protocol(self, connect, way, names, chosen):
        wire = connect(way=way, tls=context(names))
        assert wire.sock.selected_alpn_protocol() == chosen
        assert wire.ask(ask_for("secure")).code == ipp.OK

    @pytest.mark.parametrize("way, names", [("upgraded", ("http/1.1",)), ("upgraded", ("h2", "http/1.1")),
                                            ("implicit", (UPGRADED,)), ("implicit", ("h2",))])
    def test_names_that_do_not_belong_there(self, gateway, connect, way, names):
        wire = connect()
        if way == "upgraded":
            assert wire.send(OPTIONS).head().startswith(b"HTTP/1.1 101 ")
        with pytest.raises(ssl.SSLError, match="no application protocol"):
            wire.start_tls(context(names))
        record = wire.record(gateway)
        assert record["error"] == "tls" and "protocol" in record["error_text"], record
        assert record["protection"]["why"] == "no-common-proposal", record
        assert record.get("print", {}).get("odd") == ("upgrade-alpn-mismatch" if way == "upgraded" else None), record

    @pytest.mark.parametrize("listener, first", [
        ("print", OPTIONS), ("any", OPTIONS),
        ("any", post(ask_for("open"), "/", "Connection: Upgrade", "Upgrade: TLS/1.2"))],
        ids=["options", "any", "operation"])
    def test_joined_to_somebody_else_s_question(self, gateway, connect, listener, first):
        """A client that begins with TLS is joined to a connection on which somebody else has asked for an upgrade: it
        would read the answer to that one's question as the answer to its own."""
        victim = Joined(connect(listener).send(first), ("http/1.1",))
        answer = victim.wire.rest()
        assert (answer[0], answer[5], answer[6]) == (0x15, FATAL, NO_APPLICATION_PROTOCOL), answer
        victim.incoming.write(answer)
        with pytest.raises(ssl.SSLError, match="no application protocol"):
            victim.tls.do_handshake()
        record = victim.wire.record(gateway)
        self.check_failed(record, "no application protocol")
        assert record["print"].get("operation") == (None if first == OPTIONS else "Get-Printer-Attributes"), record

    def test_joined_without_names(self, gateway, connect):
        """libcups names no protocol: all that can be put before its question is the empty answer to OPTIONS."""
        victim = Joined(connect().send(OPTIONS), ())
        victim.until(victim.tls.do_handshake)
        victim.tls.write(post(ask_for("secure")))
        read = victim.until(lambda: victim.tls.read(65536))
        assert read.startswith(b"HTTP/1.1 200 OK\r\n") and read.partition(b"\r\n\r\n")[0].endswith(b"Content-Length: 0")
        assert b"application/ipp" not in read.partition(b"\r\n\r\n")[0]
        record = victim.wire.record(gateway, operation=None)
        assert (record["http_status"], record["print"]["channel"]) == (200, "upgraded") and "error" not in record, record


class Joined:
    """A client that believes that it has begun a connection with TLS, at the end of one of somebody else's, who has
    asked for an upgrade on it (|wire|)."""

    def __init__(self, wire, names):
        self.incoming, self.outgoing, self.wire = ssl.MemoryBIO(), ssl.MemoryBIO(), wire
        self.tls = context(names).wrap_bio(self.incoming, self.outgoing, server_hostname="localhost")
        with pytest.raises(ssl.SSLWantReadError):
            self.tls.do_handshake()
        assert wire.head().startswith(b"HTTP/1.1 101 ")
        wire.send(self.outgoing.read())

    def until(self, step):
        """What step() gives when it has what it wants."""
        while True:
            try:
                return step()
            except ssl.SSLWantReadError:
                pass
            finally:
                self.wire.send(self.outgoing.read())
            self.incoming.write(self.wire.sock.recv(65536))


class TestDocumentStaysSecret:
    """What a client that asks for TLS sends is nowhere on the way in clear text."""

    @pytest.fixture
    def document(self, backend, tmp_path):
        backend.forget()
        path = tmp_path / "document.pdf"
        path.write_bytes(DOCUMENT)
        return path

    @staticmethod
    def check(tap, heard):
        assert heard.document == DOCUMENT
        seen = bytes(tap.seen)
        assert DOCUMENT[:16] not in seen and DOCUMENT[9:25] not in seen and DOCUMENT[-16:] not in seen
        assert b"\x16\x03" in seen and b"document-format" not in seen.partition(b"\x16\x03")[2]
        assert len(seen) > len(DOCUMENT)

    @pytest.mark.parametrize("scheme, flags", [("ipp", ["-E"]), ("ipp", []), ("ipps", [])],
                             ids=["upgrade", "426", "ipps"])
    def test_of_ipptool(self, gateway, backend, document, tmp_path, scheme, flags):
        env = client_environment(tmp_path / "home")
        with Tap(gateway.address("print")) as tap:
            uri = f"{scheme}://localhost:{tap.port}/ipp/secure"
            done = ipptool(uri, "print-job.test", "-t", *flags, file=document, env=env)
            assert done.returncode == 0, done.stdout
        self.check(tap, backend.wait_heard(PRINT_JOB))

    @pytest.mark.parametrize("flags", [["-E"], []], ids=["upgrade", "426"])
    def test_of_lp(self, gateway, backend, document, tmp_path, flags):
        with Tap(gateway.address("print")) as tap:
            done = run(need("lp", "cups-client"), *flags, "-h", f"localhost:{tap.port}", "-d", "secure", document,
                       env=client_environment(tmp_path / "home"))
            assert done.returncode == 0 and "request id is" in done.stdout, done
        sent = [operation for operation in backend.operations() if operation in (PRINT_JOB, ipp.SEND_DOCUMENT)]
        assert len(sent) == 1
        self.check(tap, backend.last(sent[0]))
