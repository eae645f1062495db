# SPDX-License-Identifier: Apache-2.0
"""What is strange about a request to a printer and does no harm: it is taken, and its record has a word for it."""
import base64
import gzip
import hashlib
import ssl

import pytest

from testenv import build_dir, ipp, samples

from testenv.ipp import GET_PRINTER_ATTRIBUTES, KEYWORD, PRINT_JOB, VALIDATE_JOB, request
from testenv.print_wire import MEGABYTE, OPTIONS, Wire, chunk, context, post, post_in_chunks, send_until_answered
from testenv.printing import PrintGateway, printer
from testenv.sallyport import run_command

LISTENERS = """\
  - {name: lenient, protocol: ipp, address: "127.0.0.1:0", tls: print, upgrade-without-connection: true}
  - {name: any, protocol: ipp, address: "127.0.0.1:0", tls: print, upgrade: any}
  - {name: letter, protocol: ipp, address: "127.0.0.1:0", tls: print, upgrade: any, upgrade-without-connection: true}
"""
DOCUMENT = b"%PDF-1.4\n%%EOF\n"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory, certificates, backend):
    printers = [printer("open", backend.uri(), require="[]", pipeline="[]"),
                printer("secure", backend.uri(), require="[tls]", pipeline="[]"),
                printer("small", backend.uri(), require="[]", pipeline="[]", body_max="64k", memory_max="16k")]
    with PrintGateway(tmp_path_factory.mktemp("gateway"), certificates, printers, listeners=LISTENERS) as running:
        yield running


@pytest.fixture
def connect(gateway, backend):
    wires = []
    backend.forget()

    def connect(listener="print", way="clear"):
        wires.append(Wire(gateway.address(listener), way))
        return wires[-1]

    yield connect
    for wire in wires:
        wire.close()


@pytest.fixture
def odd(gateway):
    """Of the request that got this reply."""
    def odd(reply):
        record = gateway.wait_record(lambda r: r["id"] == reply.get("X-Request-ID"))
        return record["print"].get("odd")
    return odd


def ask_for(name, operation=GET_PRINTER_ATTRIBUTES, *attributes, **more):
    return request(operation, f"ipp://localhost/ipp/{name}", *attributes, **more)


def md5_of(octets):
    return "Content-MD5: " + base64.b64encode(hashlib.md5(octets).digest()).decode()


OF_NOTHING = md5_of(b"")
BOTH_FRAMINGS = pytest.mark.parametrize("framing", [post, post_in_chunks], ids=["length", "chunks"])


class TestContentMD5:
    """RFC 1864, RFC 2616 14.15: of the whole body, attributes and all."""
    WRONG, MALFORMED = "content-md5-mismatch", "content-md5-malformed"

    @pytest.mark.parametrize("operation, data", [(VALIDATE_JOB, b""), (GET_PRINTER_ATTRIBUTES, b""), (PRINT_JOB, DOCUMENT)])
    @BOTH_FRAMINGS
    def test_held_against_the_body(self, backend, connect, odd, operation, data, framing):
        wire, octets = connect(), ask_for("open", operation, data=data).encode()
        for field, word in ((md5_of(octets), None), (OF_NOTHING, self.WRONG), (md5_of(data + b"a"), self.WRONG),
                            (md5_of(octets + b" "), self.WRONG), (md5_of(octets), None)):
            reply = wire.send(framing(octets, "/", field)).reply()
            assert (reply.code, odd(reply)) == (ipp.OK, word), field
            heard = backend.last(operation)
            assert heard.document == data and b"md5" not in heard.head.lower()

    @pytest.mark.parametrize("fields, word", [
        (["Content-MD5: nonsense"], MALFORMED), (["content-md5:"], MALFORMED),
        (["Content-MD5: d41d8cd98f00b204e9800998ecf8427e"], MALFORMED), ([OF_NOTHING.rstrip("=")], MALFORMED),
        ([OF_NOTHING, OF_NOTHING], MALFORMED), ([f"{OF_NOTHING}, {OF_NOTHING[13:]}"], MALFORMED),
        ([OF_NOTHING.replace("Content-MD5", "content-md5")], WRONG), ([f"X-{OF_NOTHING}"], None)])
    def test_fields(self, connect, odd, fields, word):
        reply = connect().ask(ask_for("open", PRINT_JOB, data=DOCUMENT), "/", *fields)
        assert (reply.code, odd(reply)) == (ipp.OK, word)

    def test_beside_another_word(self, connect, odd):
        reply = connect().ask(request(VALIDATE_JOB, "ipp://localhost/ipp/open?AUTH=TLS"), "/", OF_NOTHING)
        assert (reply.code, odd(reply)) == (ipp.OK, "auth-in-query," + self.WRONG)

    @pytest.mark.parametrize("right", [True, False], ids=["right", "wrong"])
    @BOTH_FRAMINGS
    def test_document_of_the_spool(self, backend, connect, odd, framing, right):
        document = samples.noise(6 * MEGABYTE + 5)
        octets = ask_for("open", PRINT_JOB, data=document).encode()
        field = md5_of(octets if right else octets[:-1] + bytes([octets[-1] ^ 1]))
        reply = connect().send(framing(octets, "/", field)).reply()
        assert (reply.code, odd(reply)) == (ipp.OK, None if right else self.WRONG)
        assert backend.last(PRINT_JOB).document == document

    def test_packed_document(self, connect, odd):
        """As it came."""
        message = ask_for("open", PRINT_JOB, ("compression", KEYWORD, "gzip"), data=gzip.compress(DOCUMENT))
        reply = connect().ask(message, "/", md5_of(message.encode()))
        assert (reply.code, odd(reply)) == (ipp.OK, None)

    def test_refused_when_it_is_whole(self, connect, odd):
        """It is refused with its last octet, before anybody has said that it was the last."""
        message = ask_for("nowhere", VALIDATE_JOB)
        for field, word in ((OF_NOTHING, self.WRONG), (md5_of(message.encode()), None)):
            reply = connect().ask(message, "/", field)
            assert (reply.code, odd(reply)) == (ipp.NOT_FOUND, word)

    @BOTH_FRAMINGS
    def test_refused_before_it_is_whole(self, connect, odd, framing):
        """Of what nobody has seen to its end nothing is said, though the rest comes and is dropped."""
        sent = framing(ask_for("small", PRINT_JOB, data=samples.noise(96 << 10)), "/", OF_NOTHING)
        wire = connect().send(sent[:-5])
        reply = wire.reply()
        assert reply.code == ipp.TOO_LARGE
        send_until_answered(wire, [sent[-5:]])
        assert odd(reply) is None

    def test_aborted(self, gateway, connect):
        sent = post(ask_for("open", PRINT_JOB, data=samples.noise(9000)), "/", OF_NOTHING)
        wire = connect().send(sent[:-10])
        wire.close()
        record = wire.record(gateway)
        assert "error" in record and "odd" not in record["print"], record

    def test_only_of_a_post(self, connect, odd):
        reply = connect().send(b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\nContent-MD5: nonsense\r\n\r\n").reply()
        assert (reply.status, odd(reply)) == (200, None)


def options(*fields, version="1.1"):
    return "\r\n".join([f"OPTIONS * HTTP/{version}", "Host: localhost", *fields, "", ""]).encode()


class TestUpgradeWithoutConnection:
    """RFC 9110 7.8: who is next may not be who was asked. The examples of the drafts of 1998 are older."""
    ODD, UPGRADE = "upgrade-without-connection", "Upgrade: TLS/1.0"
    LENIENT, QUESTIONS = ("lenient", "letter"), (GET_PRINTER_ATTRIBUTES, VALIDATE_JOB, ipp.GET_JOBS)

    @pytest.mark.parametrize("listener", ["print", "any"])
    @pytest.mark.parametrize("fields", [(UPGRADE,), (UPGRADE, "Connection: keep-alive"), (UPGRADE, "X-Connection: Upgrade"),
                                        ("Upgrade: websocket, TLS/1.2",)])
    def test_means_nothing(self, connect, odd, listener, fields):
        wire = connect(listener)
        reply = wire.send(options(*fields)).reply()
        assert (reply.status, reply.get("Upgrade"), odd(reply)) == (200, "TLS/1.2, HTTP/1.1", self.ODD)
        reply = wire.ask(ask_for("open"), "/", *fields)
        assert (reply.code, odd(reply)) == (ipp.OK, self.ODD)
        reply = wire.ask(ask_for("secure"), "/", *fields)
        assert (reply.status, odd(reply)) == (426, self.ODD)

    @pytest.mark.parametrize("fields", [("Connection: Upgrade",), ("Upgrade: websocket",), ("Upgrade: ",), ()])
    def test_nothing_odd(self, connect, odd, fields):
        reply = connect().send(options(*fields)).reply()
        assert (reply.status, odd(reply)) == (200, None)

    def test_nothing_odd_about_one_that_is_listed(self, gateway, connect):
        wire = connect(way="upgraded")
        assert "odd" not in wire.record(gateway)["print"]

    @pytest.mark.parametrize("way", ["upgraded", "implicit"])
    def test_within_tls(self, connect, odd, way):
        reply = connect("lenient", way).ask(ask_for("secure"), "/", self.UPGRADE)
        assert (reply.code, reply.get("Upgrade"), odd(reply)) == (ipp.OK, None, self.ODD)

    @pytest.mark.parametrize("listener", LENIENT)
    @pytest.mark.parametrize("fields", [(UPGRADE,), (UPGRADE, "Connection: keep-alive"), ("Upgrade: websocket", UPGRADE)])
    def test_lenient(self, gateway, connect, odd, listener, fields):
        wire = connect(listener).send(options(*fields))
        assert wire.head().startswith(b"HTTP/1.1 101 ")
        reply = wire.start_tls().reply()
        assert (reply.status, odd(reply)) == (200, self.ODD)
        reply = wire.ask(ask_for("secure"))
        assert (reply.code, odd(reply)) == (ipp.OK, None)
        assert wire.record(gateway, operation="Get-Printer-Attributes")["print"]["channel"] == "upgraded"

    @pytest.mark.parametrize("framing", [post, post_in_chunks], ids=["length", "chunks"])
    @pytest.mark.parametrize("operation", QUESTIONS)
    def test_to_the_letter(self, backend, connect, odd, operation, framing):
        """The drafts' example: POST, Host, Upgrade, Content-Type."""
        wire = connect("letter").send(framing(ask_for("secure", operation), "/ipp/secure", self.UPGRADE))
        assert wire.head().startswith(b"HTTP/1.1 101 ")
        assert backend.heard == []
        reply = wire.start_tls().reply()
        assert (reply.code, odd(reply)) == (ipp.OK, self.ODD)

    # The other rules are as they were.

    @pytest.mark.parametrize("operation", QUESTIONS)
    def test_options_only(self, connect, operation):
        wire = connect("lenient")
        assert wire.ask(ask_for("open", operation), "/", self.UPGRADE).code == ipp.OK
        assert wire.ask(ask_for("secure", operation), "/", self.UPGRADE).status == 426

    @pytest.mark.parametrize("name", ["secure", "open"])
    @pytest.mark.parametrize("operation, data", [(PRINT_JOB, DOCUMENT), (ipp.CREATE_JOB, b"")])
    def test_what_changes_something(self, backend, connect, name, operation, data):
        reply = connect("letter").ask(ask_for(name, operation, data=data), "/", self.UPGRADE)
        assert (reply.status, backend.heard) == (426, [])

    @pytest.mark.parametrize("listener", LENIENT)
    @pytest.mark.parametrize("fields", [("Upgrade: websocket",), ("Upgrade: SSL/3.0",), ("Upgrade: h2c, TLS1.2",), ()])
    def test_names_tls(self, connect, listener, fields):
        wire = connect(listener)
        assert wire.send(options(*fields)).reply().status == 200
        assert wire.ask(ask_for("open")).code == ipp.OK

    @pytest.mark.parametrize("listener", LENIENT)
    def test_http_1_0(self, connect, odd, listener):
        wire = connect(listener).send(options(self.UPGRADE, version="1.0"))
        reply = wire.reply()
        assert (reply.status, wire.rest(), odd(reply)) == (200, b"", None)

    @pytest.mark.parametrize("listener", LENIENT)
    @pytest.mark.parametrize("behind", [post(ask_for("open", PRINT_JOB, data=DOCUMENT)), b"P", b"\x16", b"\r\n"],
                             ids=["POST", "octet", "0x16", "CRLF"])
    def test_clear_text_behind_the_question(self, backend, connect, listener, behind):
        wire = connect(listener).send(options(self.UPGRADE) + behind)
        reply = wire.reply()
        assert (reply.status, reply.get("Connection"), wire.rest(), backend.heard) == (400, "close", b"", [])

    def test_clear_text_behind_an_operation(self, backend, connect):
        asked = post(ask_for("secure"), "/", self.UPGRADE)
        wire = connect("letter").send(asked + post(ask_for("open", PRINT_JOB, data=DOCUMENT)))
        reply = wire.reply()
        assert (reply.status, reply.get("Connection"), wire.rest(), backend.heard) == (400, "close", b"", [])

    @pytest.mark.parametrize("listener", LENIENT)
    @pytest.mark.parametrize("framing, body", [("Content-Length: 5", b"hello"),
                                               ("Transfer-Encoding: chunked", chunk(b"hello") + chunk(b""))])
    def test_with_a_body(self, connect, listener, framing, body):
        wire = connect(listener).send(options(self.UPGRADE, framing) + body)
        assert wire.reply().status == 400
        assert wire.ask(ask_for("open")).code == ipp.OK

    @pytest.mark.parametrize("listener", LENIENT)
    def test_not_twice(self, connect, listener):
        wire = connect(listener, "upgraded")
        reply = wire.send(options(self.UPGRADE)).reply()
        assert (reply.status, reply.get("Upgrade")) == (200, None)
        assert wire.ask(ask_for("secure")).code == ipp.OK

    @pytest.mark.parametrize("listener", LENIENT)
    def test_name_of_the_protocol(self, connect, listener):
        """Who is joined to it by somebody in between, and has names, is refused."""
        wire = connect(listener).send(options(self.UPGRADE))
        assert wire.head().startswith(b"HTTP/1.1 101 ")
        with pytest.raises(ssl.SSLError, match="no application protocol"):
            wire.start_tls(context(["http/1.1"]))

    @pytest.mark.parametrize("listener", LENIENT)
    def test_as_it_should_be(self, connect, odd, listener):
        wire = connect(listener).send(OPTIONS)
        assert wire.head().startswith(b"HTTP/1.1 101 ")
        assert odd(wire.start_tls().reply()) is None

    @pytest.mark.parametrize("rows, words", [("", None), (", tls-begins: at-once", "no request asks for TLS"),
                                             (", upgrade: off", "no request asks for TLS")])
    def test_check(self, tmp_path, certificates, rows, words):
        path, (certificate, key) = tmp_path / "sallyport.yaml", certificates.server
        path.write_text(f"state: {tmp_path}/state\ntls:\n  - {{name: t, certificate: {certificate}, key: {key}}}\nlisteners:\n"
                        f'  - {{name: a, protocol: ipp, address: "127.0.0.1:0", upgrade-without-connection: true, tls: t{rows}}}\n'
                        "printers:\n" + printer("p", "ipp://127.0.0.1:1/q"))
        done = run_command(build_dir(), "check", "-c", path)
        [said] = [line for line in done.stderr.splitlines() if line.startswith(f"{path}:5:82: ")]
        assert done.returncode == (2 if words else 0), done
        assert (words or "warning: 'a' begins TLS also with a hop in between that hands Upgrade on and did not ask") in said
