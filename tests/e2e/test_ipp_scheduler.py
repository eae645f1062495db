# SPDX-License-Identifier: Apache-2.0
"""A CUPS scheduler as client: people print with lp to a cupsd of their own, whose queues lead through its ipp backend to
the gateway. What they see of documents that are refused, and of printers that fail behind it."""
import contextlib
import gzip
import re

import pytest

from testenv import ipp, samples, wait
from testenv.cups import Cupsd, client_environment, run
from testenv.fake_printer import FakePrinter, Heard, answer, http, reset
from testenv.peers import free_port, need
from testenv.print_wire import MEGABYTE
from testenv.printing import PrintGateway, printer
from testenv.sallyport import Sallyport, build_dir, is_sanitized
from test_ipp_documents import EICAR_PDF, EXE, MACROS, docm
from test_ipp_printers import BROKEN, LARGE

ENDED = {ipp.CANCELED, ipp.ABORTED, ipp.COMPLETED}
IDLE = 3
PAUSE_MS = 4990  # five seconds, by a clock of whole milliseconds


class Scheduler(Cupsd):
    """|queues|: name -> device URI. What fails stops a queue, as CUPS has it by default."""

    def __init__(self, folder, queues):
        super().__init__(folder, queues, policy="stop-printer")
        self.folder, self.env, self.sent = folder, client_environment(folder / "home"), {}

    def print(self, queue, document, *options, user="ann"):
        path = self.folder / f"{queue}-{len(self.sent)}"
        path.write_bytes(document)
        done = run(need("lp", "cups-client"), "-h", self.server(), "-U", user, "-d", queue, *options, path, env=self.env)
        number = re.search(rf"request id is {queue}-(\d+) ", done.stdout)
        assert done.returncode == 0 and number, done
        self.sent[queue] = int(number[1])
        return self.sent[queue]

    def state(self, queue, job):
        return self.client(queue).job_state(job)

    def wait_end(self, queue, job=None, seconds=90):
        job = job or self.sent[queue]
        wait.until(lambda: self.state(queue, job) in ENDED, f"the end of {queue}-{job}", seconds)
        return self.state(queue, job)

    def lpstat(self, *arguments):
        done = run(need("lpstat", "cups-client"), "-h", self.server(), *arguments, env=self.env)
        assert done.returncode == 0, done
        return done.stdout

    def told_of_job(self, queue, job, which="completed"):
        listed = self.lpstat("-W", which, "-l", "-o", queue)
        assert f"{queue}-{job} " in listed, listed
        return listed.split(f"{queue}-{job} ")[1].split(f"\n{queue}-")[0]

    def wait_told(self, queue, words):
        """What lpstat has of the job when its user sees |words|."""
        def told():
            job = self.told_of_job(queue, self.sent[queue], "all")
            return f"\n\tStatus: {words}\n" in job and job
        return wait.until(told, f"{words!r} of {queue}", 60)

    def check_goes_on(self, queue):
        told = self.client(queue).ask(ipp.GET_PRINTER_ATTRIBUTES).message
        assert (told.get("printer-state"), told.get("printer-is-accepting-jobs")) == (IDLE, True), queue
        assert f"printer {queue} is idle.  enabled since" in self.lpstat("-p", queue)


class Bad:
    """|at|: the gateway's printer. |more|: of the device URI. |words|: of the gateway's refusal. |packed|: the backend
    packs it (`compression`)."""

    def __init__(self, at, document, words, scheme="ipp", more="", options=(), packed=False):
        self.at, self.document, self.words, self.scheme = at, document, words, scheme
        self.more, self.options, self.packed = more, options, packed


INFECTED, CONTAINED = "the document is infected: EICAR-Test-File [", "the document is infected: EICAR-Test-File.Contained ["
GZIP, DEFLATE = "?compression=gzip", "?compression=deflate"
BAD = {
    "text": Bad("acct", samples.EICAR, INFECTED),
    "text-tls": Bad("secure", samples.EICAR, INFECTED, "ipps"),
    "text-upgrade": Bad("secure", samples.EICAR, INFECTED),
    "text-single": Bad("single", samples.EICAR, INFECTED),
    "gzip": Bad("acct", samples.EICAR, INFECTED, more=GZIP, packed=True),
    "gzip-tls": Bad("secure", samples.EICAR, INFECTED, "ipps", GZIP, packed=True),
    "gzip-single": Bad("single", samples.EICAR, INFECTED, more=GZIP, packed=True),
    "deflate": Bad("eve", samples.EICAR, INFECTED, more=DEFLATE, packed=True),
    # The printer behind takes no deflate, so that is not offered, and the backend packs nothing.
    "no-deflate": Bad("acct", samples.EICAR, INFECTED, more=DEFLATE),
    "pdf": Bad("acct", EICAR_PDF, CONTAINED),
    "pdf-gzip": Bad("acct", EICAR_PDF, CONTAINED, more=GZIP, packed=True),
    "macros": Bad("strict", docm(), f"the document is not allowed: Type.Denied.{MACROS} ["),
    "disguised": Bad("strict", samples.portable_executable(), "the document is infected: Executable.Disguised [",
                     options=("-o", "document-format=application/pdf")),
    "other-type": Bad("picky", b"plain words\n", "the document is not allowed: documents of this type are not printed here ["),
}


def unpacked(octets):
    """What cupsd keeps is as it came."""
    return gzip.decompress(octets) if octets[:2] == b"\x1f\x8b" else octets


@pytest.fixture(scope="module")
def gateway(tmp_path_factory, certificates, cupsd, eve):
    uri = cupsd.uri()
    printers = [printer("acct", uri, require="[]"), printer("secure", uri, require="[tls]"),
                printer("single", uri, require="[]", refuse="[Create-Job, Send-Document]"),
                printer("eve", eve.uri(), require="[]"), printer("picky", uri, require="[]", formats="[application/pdf]"),
                printer("strict", uri, require="[]", pipeline="[yara, filetype, printing]",
                        types=f"{{deny: [{EXE}, {MACROS}], mismatch: block}}")]
    with PrintGateway(tmp_path_factory.mktemp("gateway"), certificates, printers) as running:
        yield running


class TestRefused:
    @pytest.fixture(scope="class")
    def front(self, tmp_path_factory, gateway, cupsd, eve):
        queues = {name: gateway.uri(bad.at, bad.scheme) + bad.more for name, bad in BAD.items()}
        before = cupsd.known(), eve.documents()
        with Scheduler(tmp_path_factory.mktemp("front"), queues) as server:
            for name, bad in BAD.items():  # all at once: after a refused Print-Job the backend rests for ten seconds
                server.print(name, bad.document, *bad.options, user=name)  # else one would begin where another one ends
            for name in BAD:
                server.wait_end(name)
            server.shown = {name: server.lpstat("-p", name) for name in BAD}
            server.untouched = (cupsd.known(), eve.documents()) == before
            yield server

    def test_printers_hear_nothing(self, front):
        """No job, and no byte in a spool."""
        assert front.untouched

    @pytest.mark.parametrize("name", BAD)
    def test_ends(self, front, name):
        """The job is over, with the gateway's sentence where CUPS keeps it, and its user is told; the queue is not
        stopped."""
        bad, job = BAD[name], front.sent[name]
        assert front.wait_end(name) in {ipp.CANCELED, ipp.COMPLETED}
        told = front.told_of_job(name, job)
        single = bad.at == "single"
        shown = ["Print job was not accepted."] if single else ["Unable to add document to print job.",
                                                               "Print job canceled at printer."]
        assert any(f"\n\tStatus: {words}\n" in told for words in shown), told
        status = "Print-Job: client-error-document-format-not-supported" if single else \
                 "Send-Document: client-error-document-security-error"
        logged = [line for line in front.error_log().splitlines() if f"[Job {job}] {status} ({bad.words}" in line]
        assert len(logged) == 1, front.error_log()[-3000:]  # sent once, and not again
        front.check_goes_on(name)

    def test_queue_says_why(self, front):
        """The backend shows what the printer says of itself behind the refusal; but its last word is another one where it
        has seen by itself that the gateway's job is aborted, and after Print-Job."""
        said = {}
        for name, bad in BAD.items():
            [line] = [line.strip() for line in front.shown[name].splitlines() if line.startswith("\t")]
            said[name] = line.startswith(bad.words)
            last = "Printer cannot print supplied content." if bad.at == "single" else "Print job canceled at printer."
            assert said[name] or line == last, (name, line)
        assert any(said.values()) and not any(said[n] for n in BAD if BAD[n].at == "single"), said

    @pytest.mark.parametrize("at", sorted({b.at for b in BAD.values()}))
    def test_sent_once(self, front, gateway, at):
        """As many as were printed, and packed as they should be."""
        names = [name for name, bad in BAD.items() if bad.at == at]
        jobs = [r for r in gateway.print_records() if r["print"].get("printer") == at and r.get("action") == "block"]
        assert len(jobs) == len(names), jobs
        digests = [r["sha256"] for r in jobs]
        plain = {samples.digest(BAD[name].document) for name in names}
        assert len([d for d in digests if d not in plain]) == len([n for n in names if BAD[n].packed])
        for name in names:
            assert any(BAD[name].words in r["error_text"] for r in jobs), name

    @pytest.mark.parametrize("at", ["acct", "strict", "picky"])
    def test_gateway_says_why(self, front, gateway, at):
        """Whoever asks there, as the user of the job, sees all of it."""
        host, port = gateway.address("print")
        listed = run(need("lpstat", "cups-client"), "-h", f"{host}:{port}", "-W", "completed", "-l", "-o", at,
                     env=front.env).stdout
        here = [bad for bad in BAD.values() if bad.at == at]
        for bad in here:
            assert f"\n\tStatus: {bad.words}" in listed, listed
        infected = len([bad for bad in here if "is infected" in bad.words])
        assert listed.count("\n\tAlerts: document-security-error\n") == infected, listed
        assert listed.count("\n\tAlerts: document-permission-error\n") == len(here) - infected, listed

    @pytest.mark.parametrize("queue", ["text", "gzip", "text-tls", "gzip-single", "deflate", "macros"])
    def test_next_one_prints(self, front, cupsd, eve, queue):
        document = f"after {queue}\n".encode() * 50
        assert front.wait_end(queue, front.print(queue, document)) == ipp.COMPLETED
        printed = eve.documents() if BAD[queue].at == "eve" else [unpacked(d) for d in cupsd.files().values()]
        assert printed.count(document) == 1


class TestState:
    """printer-state-message behind a refusal: for whoever was refused, and nobody else."""
    CARL = {"agent": "CUPS/2.4.2 (Linux 6.1; x86_64) IPP/2.0", "user": "carl"}

    @staticmethod
    def state(gateway, name="acct", way="upgrade", **more):
        answer = gateway.client(name, way, **more).ask(ipp.GET_PRINTER_ATTRIBUTES)
        assert answer.code == ipp.OK
        return answer.message.get("printer-state-message", ipp.PRINTER)

    def refuse(self, gateway, operation="Send-Document", **more):
        """The sentence."""
        client = gateway.client("acct", "upgrade", **(self.CARL | more))
        answer = client.send_document(client.create_job(), samples.EICAR) if operation == "Send-Document" else \
            client.print_job(samples.EICAR)
        assert answer.code in (ipp.SECURITY_ERROR, ipp.FORMAT_NOT_SUPPORTED)
        return answer.message.get("status-message")

    @pytest.mark.parametrize("operation", ["Send-Document", "Print-Job"])
    def test_is_told(self, gateway, operation):
        why = self.refuse(gateway, operation)
        for _ in range(3):  # the backend asks more than once
            assert self.state(gateway, **self.CARL) == why

    @pytest.mark.parametrize("other", [{"user": "bob"}, {"agent": "Other/1.0"}, {"way": "clear"}, {"way": "tls"},
                                       {"name": "secure"}, {"user": None}], ids=str)
    def test_others(self, gateway, other):
        why = self.refuse(gateway)
        assert self.state(gateway, **(self.CARL | other)) == ""
        assert self.state(gateway, **self.CARL) == why

    @pytest.mark.parametrize("then", [ipp.VALIDATE_JOB, ipp.CREATE_JOB, ipp.PRINT_JOB])
    def test_next_job(self, gateway, then):
        self.refuse(gateway)
        data = b"words" if then == ipp.PRINT_JOB else b""
        assert gateway.client("acct", "upgrade", **self.CARL).ask(then, data=data).code == ipp.OK
        assert self.state(gateway, **self.CARL) == ""

    def test_others_are_not_noted(self, gateway):
        assert gateway.client("acct", "upgrade").ask(ipp.VALIDATE_JOB).code == ipp.OK
        self.refuse(gateway, agent=None)
        assert self.state(gateway, user="carl") == ""


# ---- printers that fail ----

TELLS = [("operations-supported", ipp.ENUM, 2, 4, 5, 6, 8, 9, 10, 11), ("printer-is-accepting-jobs", ipp.BOOLEAN, True),
         ("document-format-supported", ipp.MIME, "application/octet-stream", "text/plain"),
         ("printer-state-reasons", ipp.KEYWORD, "none"), ("cups-version", ipp.TEXT, "2.4.2")]
NO_PASSWORD = http(b"no", b"401 Unauthorized", b"text/html", b'WWW-Authenticate: Basic realm="printer"\r\n')
NO_TLS = http(b"no", b"426 Upgrade Required", b"text/html", b"Upgrade: TLS/1.2\r\nConnection: Upgrade\r\n")


class Device(FakePrinter):
    """|printed|: the documents of jobs that it took."""

    def __init__(self):
        super().__init__(TELLS)
        self.printed = []

    def reply(self, heard):
        if heard.operation in (ipp.PRINT_JOB, ipp.SEND_DOCUMENT):
            self.printed.append(heard.document)
        return super().reply(heard)


def length_of(head):
    return int(re.search(rb"(?i)content-length: (\d+)", head)[1])


def reset_in_the_document(peer, fake, head):
    if length_of(head) > MEGABYTE:
        peer.file.read(MEGABYTE // 2)
        fake.heard.append(Heard(head, ipp.Message(ipp.SEND_DOCUMENT).encode()))
        reset(peer)
        return False
    return peer.send(http(fake.reply(fake.hear(peer, head)))) or True


def only(operation, said):
    """Answers |said| to that, and well to the rest."""
    def talk(peer, fake, head):
        heard = fake.hear(peer, head)
        wrong = said(heard.message) if callable(said) else said
        return peer.send(wrong if heard.operation == operation else http(fake.reply(heard))) or True
    return talk


def reads_slowly(peer, fake, head):
    length, body = length_of(head), b""
    for part in (1000, length // 2, length) if length > MEGABYTE else (length,):
        body += peer.file.read(part - len(body))
        fake.over.wait(0.3)  # by now all buffers on the way are full
    heard = Heard(head, body)
    fake.heard.append(heard)
    return peer.send(http(fake.reply(heard))) or True


BUSY = "The printer is in use."
AGAIN = "Unable to add document to print job."
# While it lasts: what the printer does, which printer of the gateway it is, and what users see of their job.
FAULTS = {
    **{re.sub("[ /]", "-", name): (BROKEN[name][0], "{}", BUSY)
       for name in ("401", "426", "500", "speaks LPD", "text/html", "IPP that ends", "hangs up", "resets", "nothing")},
    "validate-401": (only(ipp.VALIDATE_JOB, NO_PASSWORD), "{}", BUSY),
    "document-401": (only(ipp.SEND_DOCUMENT, NO_PASSWORD), "{}", AGAIN),
    "document-426": (only(ipp.SEND_DOCUMENT, NO_TLS), "{}", AGAIN),
    "document-busy": (only(ipp.SEND_DOCUMENT, lambda asked: http(answer(asked, ipp.BUSY))), "{}", AGAIN),
    "document-reset": (reset_in_the_document, "{}-single", "Print job was not accepted."),
    "slow": (reads_slowly, "{}", None),
}


class TestFaults:
    """While a printer fails its queue waits, and is not stopped; when it works again the job is printed, once."""

    @pytest.fixture(scope="class")
    def devices(self):
        with contextlib.ExitStack() as stack:
            started = {name: stack.enter_context(Device()) for name in FAULTS}
            for name, device in started.items():
                device.talk_now = FAULTS[name][0]
            yield started

    @pytest.fixture(scope="class")
    def front(self, tmp_path_factory, certificates, devices):
        printers = [printer(name + end, device.uri(), require="[]", refuse=refuse) for name, device in devices.items()
                    for end, refuse in (("", "[]"), ("-single", "[Create-Job, Send-Document]"))]
        with PrintGateway(tmp_path_factory.mktemp("faulty"), certificates, printers) as gateway:
            queues = {name: gateway.uri(at.format(name)) for name, (_, at, _) in FAULTS.items()}
            with Scheduler(tmp_path_factory.mktemp("front"), queues) as server:
                server.gateway = gateway
                for name in FAULTS:
                    server.print(name, self.document(name))
                server.meanwhile = {name: self.watch(server, name) for name, row in FAULTS.items() if row[2]}
                for device in devices.values():
                    device.talk_now = None
                yield server

    @staticmethod
    def document(name):
        return LARGE if name in ("slow", "document-reset") else f"a document for {name}\n".encode()

    @staticmethod
    def watch(front, name):
        """What lpstat has when the user is told of the fault."""
        job = front.wait_told(name, FAULTS[name][2])
        return job, front.lpstat("-p", name), front.state(name, front.sent[name])

    @pytest.mark.parametrize("name", FAULTS)
    def test_prints_in_the_end(self, front, devices, name):
        assert front.wait_end(name) == ipp.COMPLETED
        assert [document == self.document(name) for document in devices[name].printed] == [True]
        front.check_goes_on(name)

    @pytest.mark.parametrize("name", [name for name, row in FAULTS.items() if row[2]])
    def test_meanwhile(self, front, name):
        """The job is still there, and its queue is not stopped."""
        _, queue, state = front.meanwhile[name]
        assert state == ipp.PROCESSING
        assert f"printer {name} now printing {name}-{front.sent[name]}.  enabled since" in queue, queue

    @pytest.mark.parametrize("name", [name for name, row in FAULTS.items() if row[2] == AGAIN])
    def test_not_at_once(self, front, name):
        """The backend would make a job anew and send its document again dozens of times a second."""
        answers = [r for r in front.gateway.print_records("Send-Document") if r["print"]["printer"] == name]
        refused = [r for r in answers if r["print"]["status"] != "successful-ok"]
        assert refused and all(r["timing_ms"]["total"] >= PAUSE_MS for r in refused), refused
        assert all(r["timing_ms"]["total"] < PAUSE_MS for r in answers if r not in refused), answers


class TestLost:
    """A printer that goes away within a document of Create-Job and Send-Document may have printed half of it: the
    gateway does not send it again, and this backend of CUPS gives it up. Its user is told; the queue goes on."""

    def test_reset(self, tmp_path, certificates):
        with Device() as device:
            device.talk_now = reset_in_the_document
            printers = [printer("acct", device.uri(), require="[]")]
            with PrintGateway(tmp_path / "gateway", certificates, printers) as gateway, \
                    Scheduler(tmp_path, {"acct": gateway.uri("acct")}) as front:
                job = front.print("acct", LARGE)
                assert front.wait_end("acct", job) in ENDED
                assert f"\n\tStatus: {AGAIN}\n" in front.told_of_job("acct", job)
                assert device.operations().count(ipp.SEND_DOCUMENT) == 1 and device.printed == []
                front.check_goes_on("acct")
                assert front.wait_end("acct", front.print("acct", b"the next one\n")) == ipp.COMPLETED
                assert device.printed == [b"the next one\n"]


class TestScanner:
    """A scanner that is down: the job waits, with rests in between, and is printed when it is there again; what is
    infected is not."""
    CONFIG = """\
state: {{state}}
threads: 1
sandbox: {sandbox}
admin: {{address: 127.0.0.1:0}}
listeners:
  - {{name: clear, address: "127.0.0.1:{port}"}}
services:
  - {{name: inspect, type: inspect, path: /inspect}}
"""

    def test_comes_back(self, tmp_path, certificates, cupsd):
        port, before = free_port(), len(cupsd.files())
        printers = [printer("acct", cupsd.uri(), require="[]", pipeline="[]", icap=f"icap://127.0.0.1:{port}/inspect")]
        with PrintGateway(tmp_path / "gateway", certificates, printers) as gateway, \
                Scheduler(tmp_path, {name: gateway.uri("acct") for name in ("good", "bad")}) as front:
            documents = {"good": b"words after a while\n", "bad": samples.EICAR}
            for name, document in documents.items():
                front.print(name, document)
                front.wait_told(name, AGAIN)
                assert front.state(name, front.sent[name]) == ipp.PROCESSING

            def refused():
                return [r for r in gateway.print_records("Send-Document") if r.get("action") == "error"]

            wait.until(lambda: {r["sha256"] for r in refused()} == set(map(samples.digest, documents.values())), "refusals", 60)
            told = [(r["cause"], r["timing_ms"]["total"] >= PAUSE_MS) for r in refused()]
            assert set(told) == {("engine-down", True)}, refused()
            assert len(cupsd.files()) == before
            sandbox = "best-effort" if is_sanitized(build_dir()) else "required"
            with Sallyport(tmp_path / "scanner", config=self.CONFIG.format(sandbox=sandbox, port=port)):
                assert front.wait_end("good") == ipp.COMPLETED
                assert front.wait_end("bad") in ENDED
            assert list(cupsd.files().values()).count(documents["good"]) == 1 and len(cupsd.files()) == before + 1
            for name in documents:
                front.check_goes_on(name)


class TestPause:
    """An answer that waits, at the level of the wire."""
    AGENT = "CUPS/2.4.2 (Linux 6.1; x86_64) IPP/2.0"

    @pytest.fixture
    def device(self):
        with Device() as device:
            device.talk_now = only(ipp.SEND_DOCUMENT, lambda asked: http(answer(asked, ipp.BUSY)))
            yield device

    @pytest.fixture
    def paused(self, tmp_path, certificates, device):
        """(the gateway, a connection whose answer waits, the client)"""
        printers = [printer("acct", device.uri(), require="[]", pipeline="[]")]
        with PrintGateway(tmp_path / "paused", certificates, printers) as running:
            client = running.client("acct", agent=self.AGENT)
            with ipp.IppConnection(running.address("print")) as wire:
                asked = client.request(ipp.SEND_DOCUMENT, ("last-document", ipp.BOOLEAN, True), job_id=client.create_job(),
                                       data=b"words")
                wire.send(asked, client.path, fields=client.fields)
                device.wait_heard(ipp.SEND_DOCUMENT)
                yield running, wire, client

    def refused(self, gateway):
        return [r for r in gateway.print_records("Send-Document") if r["print"].get("status") == "server-error-busy"]

    def test_others_are_not_held(self, paused):
        """Nobody else's answer waits, nor another one of CUPS."""
        gateway, wire, client = paused
        other = gateway.client("acct")
        assert other.send_document(other.create_job(), b"words").code == ipp.BUSY
        assert client.ask(ipp.GET_PRINTER_ATTRIBUTES).code == ipp.OK
        assert wire.read().code == ipp.BUSY
        wait.until(lambda: len(self.refused(gateway)) == 2, "their records")
        assert sorted(r["timing_ms"]["total"] >= PAUSE_MS for r in self.refused(gateway)) == [False, True]

    def test_document_is_dropped(self, paused, device):
        """Its memory is not kept for an answer that is known; a block for each head is."""
        gateway, _, client = paused

        def held():
            return sum(gateway.status()["budgets"][kind]["used"] for kind in ("memory", "spool"))

        with ipp.IppConnection(gateway.address("print")) as another:
            asked = client.request(ipp.SEND_DOCUMENT, ("last-document", ipp.BOOLEAN, True), job_id=client.create_job(),
                                   data=bytes(250_000))
            another.send(asked, client.path, fields=client.fields)
            wait.until(lambda: device.operations().count(ipp.SEND_DOCUMENT) == 2, "the document at the printer")
            wait.until(lambda: held() < 150_000, "the memory", PAUSE_MS / 2000)
            assert not self.refused(gateway)  # they wait still
            assert another.read().code == ipp.BUSY

    def test_client_leaves(self, paused):
        gateway, wire, client = paused
        pid = gateway.gateway_pid()
        wire.close()
        wait.until(lambda: self.refused(gateway), "its record")
        assert gateway.gateway_pid() == pid and client.ask(ipp.GET_PRINTER_ATTRIBUTES).code == ipp.OK

    def test_gateway_ends(self, paused):
        """What is under way gets its answer."""
        gateway, wire, _ = paused
        gateway.stop()
        assert wire.read().code == ipp.BUSY
