# SPDX-License-Identifier: Apache-2.0
"""What is strange about a request to a printer and does no harm: it is taken, and its record has a word for it."""
import base64
import gzip
import hashlib

import pytest

from testenv import ipp, samples
from testenv.fake_printer import FakePrinter
from testenv.ipp import GET_PRINTER_ATTRIBUTES, KEYWORD, PRINT_JOB, VALIDATE_JOB, request
from testenv.print_wire import MEGABYTE, Wire, post, post_in_chunks, send_until_answered
from testenv.printing import PrintGateway, printer

DOCUMENT = b"%PDF-1.4\n%%EOF\n"


@pytest.fixture(scope="module")
def backend():
    with FakePrinter() as fake:
        yield fake


@pytest.fixture(scope="module")
def gateway(tmp_path_factory, certificates, backend):
    printers = [printer("open", backend.uri(), require="[]", pipeline="[]"),
                printer("small", backend.uri(), require="[]", pipeline="[]", body_max="64k", memory_max="16k")]
    with PrintGateway(tmp_path_factory.mktemp("gateway"), certificates, printers) as running:
        yield running


@pytest.fixture
def connect(gateway, backend):
    wires = []
    backend.forget()

    def connect():
        wires.append(Wire(gateway.address("print")))
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
