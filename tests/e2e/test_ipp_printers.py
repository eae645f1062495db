# SPDX-License-Identifier: Apache-2.0
"""Printers that are broken: each fault is a clear refusal for the client, a record and a trouble for operators, and
nothing for the next request."""
import socket
import threading

import pytest

from testenv import ipp, wait
from testenv.fake_printer import FakePrinter, answer, http, reset
from testenv.ipp import GET_PRINTER_ATTRIBUTES, INTEGER, KEYWORD, PRINT_JOB, TEXT, request
from testenv.peers import free_port
from testenv.print_wire import MEGABYTE, Wire, chunk, memory_of, post, tenant, value
from testenv.printing import PrintGateway, printer
from testenv.wrong_printer import FINAL, SWITCH, WrongPrinter
from testenv.wrong_server import Peer

PDF, LARGE = b"%PDF-1.4\n%%EOF\n", b"x" * (8 * MEGABYTE)  # more than all buffers on the way take
UNAVAILABLE, TEMPORARY, FORMAT_NOT_SUPPORTED = 0x0502, 0x0505, 0x040a


@pytest.fixture(scope="module")
def little():
    """Its connections hold little that was not read."""
    with FakePrinter() as fake:
        fake.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        fake.listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)
        yield fake


@pytest.fixture(scope="module")
def gateway(tmp_path_factory, certificates, backend, little):
    printers = [printer("open", backend.uri(), require="[]", pipeline="[]"),
                printer("little", little.uri(), require="[]", pipeline="[]"),
                printer("narrow", backend.uri(), require="[]", pipeline="[]", backend_connections="1"),
                printer("impatient", backend.uri(), require="[]", pipeline="[]", backend_timeout="1s")]
    with PrintGateway(tmp_path_factory.mktemp("gateway"), certificates, printers) as running:
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
        assert wire.ask(job()).code == ipp.OK
    assert backend.last(PRINT_JOB).document == PDF


@pytest.fixture
def connect(gateway):
    wires = []

    def connect(to=gateway):
        wires.append(Wire(to.address("print")))
        return wires[-1]

    yield connect
    for wire in wires:
        wire.close()


def question(name="open"):
    return request(GET_PRINTER_ATTRIBUTES, f"ipp://localhost/ipp/{name}")


def job(data=PDF, name="open"):
    return request(PRINT_JOB, f"ipp://localhost/ipp/{name}", data=data)


# ---- faults: talk(peer, printer, head) each ----

def once(data, then=False):
    """Answers with |data|, bytes or what makes them of the request."""
    def talk(peer, fake, head):
        heard = fake.hear(peer, head)
        peer.send(data(heard.message, heard) if callable(data) else data)
        return then
    return talk


def good(asked, heard=None):
    made = [("job-id", ipp.INTEGER, 1), ("job-state", ipp.ENUM, ipp.COMPLETED)]
    return answer(asked, ipp.OK, *([(ipp.JOB, made)] if asked.code == PRINT_JOB else []))


def error(status, fields=b""):
    return once(http(b"no", status, b"text/html", fields))


def hang_up(peer, fake, head):
    fake.hear(peer, head)


def reset_after(peer, fake, head):
    fake.hear(peer, head)
    reset(peer)


def endless(*pieces, stream):
    """Sends until the gateway has had enough."""
    def talk(peer, fake, head):
        heard = fake.hear(peer, head)
        for piece in pieces:
            peer.send(piece(heard.message) if callable(piece) else piece)
        while not fake.over.is_set():
            peer.send(stream)
    return talk


ENDLESS = b"HTTP/1.1 200 OK\r\nContent-Type: application/ipp\r\nTransfer-Encoding: chunked\r\n\r\n"
BROKEN = {
    "hangs up": (hang_up, ""),
    "resets": (reset_after, ""),
    "speaks no HTTP": (once(b"HELO printer\r\n\r\n"), ""),
    "speaks LPD": (once(b"\0\1\2\3"), ""),
    "500": (error(b"500 Internal Server Error"), "HTTP error"),
    "401": (error(b"401 Unauthorized", b'WWW-Authenticate: Basic realm="printer"\r\n'), "password"),
    "403": (error(b"403 Forbidden"), "does not let the gateway in"),
    "404": (error(b"404 Not Found"), "backend"),
    "426": (error(b"426 Upgrade Required", b"Upgrade: TLS/1.2\r\nConnection: Upgrade\r\n"), "ipps"),
    "503": (error(b"503 Service Unavailable"), "HTTP error"),
    "302": (error(b"302 Found", b"Location: http://127.0.0.1:1/\r\n"), "HTTP error"),
    "101": (once(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: TLS/1.2\r\nConnection: Upgrade\r\n\r\n"), ""),
    "text/html": (once(http(b"<html>hello</html>", kind=b"text/html")), "application/ipp"),
    "no type": (once(lambda m, h: http(good(m)).replace(b"Content-Type: application/ipp\r\n", b"")), "application/ipp"),
    "IPP that ends": (once(lambda m, h: http(good(m).encode()[:-5])), "ends within its attributes"),
    "nothing": (once(lambda m, h: http(b"")), ""),
    "a body that ends": (once(lambda m, h: http(good(m)).replace(b"Content-Length: ", b"Content-Length: 9")), ""),
    "another number": (once(lambda m, h: http(answer(m, ipp.OK, request_id=m.request_id + 1))), "another request"),
    "a broken attribute": (once(lambda m, h: http(good(m).encode()[:-1] + b"\x21\0\1n\0\3abc\3")), "IPP"),
    "version 9": (once(lambda m, h: http(b"\x09\0" + good(m).encode()[2:])), "IPP"),
    "a group before the first": (once(lambda m, h: http(good(m).encode()[:8] + b"\4\3")), "IPP"),
    "two lengths": (once(lambda m, h: http(good(m), more=b"Content-Length: 5\r\n")), ""),
    "length and chunks": (once(lambda m, h: http(good(m), more=b"Transfer-Encoding: chunked\r\n")), ""),
    "a bad chunk": (once(ENDLESS + b"zz\r\n"), ""),
    "a head without an end": (endless(b"HTTP/1.1 200 OK\r\n", stream=b"X-Field: value\r\n" * 1000), ""),
    "attributes without an end": (endless(ENDLESS, lambda m: chunk(good(m).encode()[:-1]),
                                          stream=chunk(value(TEXT, "a", b"x" * 1000) * 50)), "limit"),
    "data without an end": (endless(ENDLESS, lambda m: chunk(good(m).encode()), stream=chunk(b"x" * 60000)),
                            "does not end"),
    "interim answers without an end": (endless(stream=b"HTTP/1.1 100 Continue\r\n\r\n" * 100), ""),
}
REFUSALS = ("401", "403", "404", "426")  # of which a printer means that it has done nothing


def check(gateway, wire, reply, code, words=""):
    """What clients and operators hear; and clients nothing of where the printer is."""
    assert reply.code == code, reply.words
    assert len(reply.words) > 10 and words in reply.words
    assert "127.0.0.1" not in reply.words
    record = wire.record(gateway)
    assert record["rule"] == "printer" and record["error"] and record["error_text"].startswith(reply.words), record
    trouble = (f"printer {record['print']['printer']}", record["error"])
    assert trouble in [(t["area"], t["code"]) for t in gateway.status()["troubles"]]


class TestPrinters:
    @pytest.mark.parametrize("fault", BROKEN)
    def test_faults(self, gateway, gateway_pid, backend, connect, fault):
        """Where nobody knows whether the printer has the job, the answer says so, and the job is not sent again."""
        before, wires = memory_of(gateway_pid), [connect(), connect()]
        backend.talk_now, words = BROKEN[fault]
        asked = wires[0].ask(question())
        backend.heard = []
        printed = wires[1].ask(job())
        assert backend.operations() == [PRINT_JOB]
        check(gateway, wires[0], asked, UNAVAILABLE, words)
        check(gateway, wires[1], printed, UNAVAILABLE if fault in REFUSALS else TEMPORARY, words)
        assert memory_of(gateway_pid) - before < 16 * MEGABYTE

    @pytest.mark.parametrize("number", [(), (INTEGER, 0), (INTEGER, -1), (KEYWORD, "1"), (INTEGER, 1, 2)], ids=str)
    def test_a_job_without_a_number(self, gateway, backend, connect, number):
        made = [("job-state", ipp.ENUM, ipp.COMPLETED), *([("job-id", *number)] if number else [])]
        backend.talk_now = once(lambda m, h: http(answer(m, ipp.OK, (ipp.JOB, made))))
        wire = connect()
        check(gateway, wire, wire.ask(job()), TEMPORARY, "did not say which")

    def test_yes_before_the_document(self, gateway, backend, connect):
        """It cannot have printed what it has not got."""
        answered = threading.Event()

        def talk(peer, fake, head):
            peer.send(http(good(ipp.Message.decode(peer.file.read(300)))))
            answered.wait(30)
        backend.talk_now = talk
        wire = connect()
        reply = wire.ask(job(LARGE))
        answered.set()
        check(gateway, wire, reply, TEMPORARY, "before it had the whole document")

    def test_yes_that_ends_the_connection(self, gateway, little, connect):
        """All of the document was on its way, and what waited was dropped: the printer cannot have got that, either."""
        answered = threading.Event()

        def talk(peer, fake, head):
            peer.send(http(good(ipp.Message.decode(peer.file.read(300))), more=b"Connection: close\r\n"))
            answered.wait(30)
        little.talk_now = talk
        wire = connect()
        reply = wire.ask(job(bytes(240_000), "little"))
        answered.set()
        check(gateway, wire, reply, TEMPORARY, "before it had the whole document")

    def test_no_before_the_document(self, backend, connect):
        """A refusal may come early, and is handed on."""
        def talk(peer, fake, head):
            peer.send(http(answer(ipp.Message.decode(peer.file.read(300)), FORMAT_NOT_SUPPORTED)))
            peer.sock.shutdown(socket.SHUT_WR)
            while peer.sock.recv(65536):
                pass
        backend.talk_now = talk
        assert connect().ask(job(LARGE)).code == FORMAT_NOT_SUPPORTED

    def test_reset_in_the_document(self, gateway, backend, connect):
        def talk(peer, fake, head):
            peer.file.read(100000)
            reset(peer)
        backend.talk_now = talk
        wire = connect()
        check(gateway, wire, wire.ask(job(LARGE)), TEMPORARY)

    def test_reads_slowly(self, backend, connect):
        """With pauses, as printers do: it gets every byte all the same."""
        document = bytes(range(256)) * (16 << 12)

        def talk(peer, fake, head):
            fields = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:] if line)
            length, body = int(fields[b"Content-Length"]), b""
            for part in (1000, length // 2, length):
                body += peer.file.read(part - len(body))
                fake.over.wait(0.3)  # by now all buffers on the way are full
            fake.got = body
            peer.send(http(good(ipp.Message.decode(body))))
        backend.talk_now = talk
        assert connect().ask(job(document)).code == ipp.OK
        assert ipp.Message.decode(backend.got).data == document

    @pytest.mark.parametrize("sent, code", [(question("impatient"), UNAVAILABLE), (job(PDF, "impatient"), TEMPORARY),
                                            (job(LARGE, "impatient"), TEMPORARY)], ids=["question", "job", "large"])
    def test_says_nothing(self, gateway, backend, connect, sent, code):
        """And of what is large reads nothing, either."""
        answered = threading.Event()
        backend.talk_now = lambda peer, fake, head: answered.wait(30) and None
        wire = connect()
        reply = wire.ask(sent)
        answered.set()
        check(gateway, wire, reply, code)

    def test_is_not_there(self, tmp_path, certificates, connect):
        printers = [printer("open", f"ipp://127.0.0.1:{free_port()}/printers/fake", require="[]", pipeline="[]")]
        with PrintGateway(tmp_path / "gateway", certificates, printers) as own:
            for sent in (question(), job()):
                wire = connect(to=own)
                check(own, wire, wire.ask(sent), UNAVAILABLE)
                assert "Connection refused" in wire.record(own)["error_text"]  # that, and where, operators hear

    def test_waits_while_the_configuration_changes(self, gateway, backend, connect):
        """Requests for which no connection is free yet are not refused because something else has changed."""
        gate = threading.Event()

        def talk(peer, fake, head):
            heard = fake.hear(peer, head)
            assert gate.wait(30)
            peer.send(http(good(heard.message)))
            return True
        backend.talk_now = talk
        wires = [connect().send(post(question("narrow"))) for _ in range(6)]
        backend.wait_heard(GET_PRINTER_ATTRIBUTES)
        tenant(gateway, "add", "newcomer")
        gate.set()
        assert [wire.reply().answer for wire in wires] == [ipp.OK] * 6

    def test_interim_answers(self, backend, connect):
        interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n"
        backend.talk_now = once(lambda m, h: interim + http(good(m)))
        assert connect().ask(question()).code == ipp.OK

    def test_keeps_connections(self, backend, connect):
        """What has no document goes out on a connection that is kept; a document gets a fresh one."""
        wire = connect()
        assert wire.ask(question()).code == ipp.OK
        before = backend.connections
        for _ in range(6):
            assert wire.ask(question()).code == ipp.OK
        assert backend.connections == before
        assert wire.ask(job()).code == ipp.OK
        assert backend.connections == before + 1

    def test_a_connection_that_it_has_closed(self, backend, connect):
        """Between two requests, as all printers do after a while: nobody notices."""
        wire = connect()
        for _ in range(3):
            backend.talk_now = once(lambda m, h: http(good(m)))
            assert wire.ask(question()).code == ipp.OK
            assert wire.ask(job()).code == ipp.OK


# ---- printers that are to begin TLS ----

def half_close(peer):
    socket.socket.shutdown(peer.sock, socket.SHUT_WR)  # no close_notify; what comes is read on


def go_on_in_clear_text(peer):
    """As if TLS had begun: the answer to OPTIONS, and to more."""
    peer.sock.recv(1, socket.MSG_PEEK)  # the gateway's ClientHello is here
    peer.send(FINAL + FINAL)


class Fault:
    """|said| to OPTIONS with Upgrade; with |tls| that begins then. |then|(peer) follows. |words|: what people are told.
    |printer|: which of the gateway's is asked."""

    def __init__(self, said, words, then=half_close, tls=False, printer_name="secure"):
        self.said, self.words, self.then, self.tls, self.printer = said, words, then, tls, printer_name


UPGRADES = {
    "101 and clear text at once": Fault(SWITCH + FINAL, "more in clear text"),
    "101 and one octet": Fault(SWITCH + b"\x16", "more in clear text"),
    "101 and clear text in place of TLS": Fault(SWITCH, "", go_on_in_clear_text),
    "101 and the end": Fault(SWITCH, ""),
    "101 and silence": Fault(SWITCH, "", lambda peer: None, printer_name="impatient"),
    "101 to something else": Fault(SWITCH.replace(b"TLS/1.2, HTTP/1.1", b"foo"), "something else than TLS"),
    "101 to what looks like TLS": Fault(SWITCH.replace(b"TLS/1.2, HTTP/1.1", b"TLSfoo/1.2"), "something else than TLS"),
    "101 to a wrong version": Fault(SWITCH.replace(b"TLS/1.2, HTTP/1.1", b"TLS/1.x"), "something else than TLS"),
    "101 to nobody knows what": Fault(SWITCH.replace(b"Upgrade: TLS/1.2, HTTP/1.1\r\n", b""), "something else than TLS"),
    "200": Fault(FINAL, "does not begin TLS", lambda peer: None),
    "403": Fault(FINAL.replace(b"200 OK", b"403 No"), "does not begin TLS", lambda peer: None),
    "TLS and the end": Fault(SWITCH, "", half_close, tls=True),
    "TLS and silence": Fault(SWITCH, "", lambda peer: None, tls=True, printer_name="impatient"),
    "TLS and a refusal": Fault(SWITCH, "began TLS and then refused", tls=True,
                               then=lambda peer: peer.send(FINAL.replace(b"200 OK", b"403 No"))),
}


class WrongUpgrade(WrongPrinter):
    """Has |fault|, and keeps all that it gets: |heads| in clear text, |behind| them what is on the wire where it does
    not begin TLS, and |decrypted| where it does."""

    def __init__(self, certificate):
        super().__init__(certificate)
        self.forget()

    def forget(self):
        super().forget()
        self.fault, self.heads, self.behind, self.decrypted, self.ended = None, [], b"", b"", 0

    def serve_one(self, peer, stub):
        if not self.fault:
            super().serve_one(peer, stub)
            return
        try:
            self.heads.append(peer.head())
            peer.send(self.fault.said)
            if not self.fault.tls:
                self.fault.then(peer)
                while data := peer.file.read1(65536):
                    self.behind += data
                return
            with self.tls_context.wrap_socket(peer.sock.dup(), server_side=True) as tls:
                self.fault.then(Peer(tls))
                while data := tls.recv(65536):
                    self.decrypted += data
        finally:
            self.ended += 1


@pytest.mark.tsan
class TestUpgrades:
    """`backend: ipp://…;AUTH=TLS`, and the printer does not begin TLS when it is asked to, or not as it should: nothing
    is sent in clear text then, nor within a TLS after which OPTIONS was not answered."""

    @pytest.fixture(scope="class")
    def upgrading(self, certificates):
        with WrongUpgrade(certificates.server) as fake:
            yield fake

    @pytest.fixture(scope="class")
    def secure(self, tmp_path_factory, certificates, upgrading):
        uri, more = upgrading.uri(auth=";AUTH=TLS"), {"require": "[]", "pipeline": "[]", "backend_ca": certificates.ca}
        printers = [printer("secure", uri, **more), printer("impatient", uri, backend_timeout="1s", **more)]
        with PrintGateway(tmp_path_factory.mktemp("secure"), certificates, printers) as running:
            yield running

    @pytest.mark.parametrize("what", ["question", "job", "large"])
    @pytest.mark.parametrize("fault", UPGRADES)
    def test_faults(self, secure, upgrading, connect, fault, what):
        upgrading.forget()
        upgrading.fault = wrong = UPGRADES[fault]
        sent = question(wrong.printer) if what == "question" else job(PDF if what == "job" else LARGE, wrong.printer)
        wire = connect(to=secure)
        check(secure, wire, wire.ask(sent), UNAVAILABLE, wrong.words)
        wait.until(lambda: upgrading.ended == len(upgrading.heads) > 0, "the end of the connections")
        assert all(head.startswith(b"OPTIONS * HTTP/1.1\r\n") for head in upgrading.heads)
        assert upgrading.decrypted == b""
        assert upgrading.behind[:1] in (b"", b"\x16", b"\x15"), upgrading.behind  # nothing but the begin of TLS
        assert b"POST" not in upgrading.behind and PDF not in upgrading.behind and LARGE[:16] not in upgrading.behind
        assert upgrading.heard == []

    def test_as_it_should_be(self, upgrading, secure, connect):
        """The faults above are what keeps the document away."""
        upgrading.forget()
        wire = connect(to=secure)
        assert wire.ask(question("secure")).code == ipp.OK
        assert wire.ask(job(LARGE, "secure")).code == ipp.OK
        heard = upgrading.last(PRINT_JOB)
        assert (heard.where, heard.document) == ("tls", LARGE)
        assert upgrading.operations() == [GET_PRINTER_ATTRIBUTES, PRINT_JOB]
