# SPDX-License-Identifier: Apache-2.0
"""Printing while documents cannot be looked at: scans that take longer than clients are let wait, clients that do not
wait, no room for one more, and engines that are down."""
import concurrent.futures
import contextlib
import json
import os
import resource
import shutil
import signal
import subprocess
import threading
import time

import pytest

from testenv import build_dir, ipp, samples, store_lock, wait
from testenv.cups import client_environment
from testenv.fake_printer import FakePrinter, answer as answer_of, http
from testenv.peers import free_port, missing
from testenv.printing import PrintGateway, printer

CLIENTS = {"CUPS prints": ("Print-Job", "CUPS/2.4.2 (Linux 6.1; x86_64) IPP/2.0", ipp.FORMAT_NOT_SUPPORTED),
           "others print": ("Print-Job", "Other/1.0", ipp.SECURITY_ERROR),
           "CUPS sends": ("Send-Document", "CUPS/2.4.2 (Linux 6.1; x86_64) IPP/2.0", ipp.SECURITY_ERROR),
           "others send": ("Send-Document", "Other/1.0", ipp.SECURITY_ERROR)}


CANCEL_MY_JOBS = 0x0039
NOT_FROM_HERE = '[{name: not-from-here, client: ["127.0.0.0/8"], then: block}]'


@pytest.fixture(scope="module")
def fake():
    with FakePrinter() as printer_:
        yield printer_


@pytest.fixture(scope="module")
def gateway(tmp_path_factory, certificates, cupsd, fake):
    uri, nowhere = cupsd.uri(), f"ipp://127.0.0.1:{free_port()}/"
    printers = [printer("plain", uri, require="[]"), printer("slow", uri, require="[]", scan_wait="100ms"),
                printer("nowhere", nowhere, require="[]", scan_wait="100ms"),
                printer("fake", fake.uri(), require="[]", scan_wait="100ms"),
                printer("barred", uri, require="[]", scan_wait="100ms", rules=NOT_FROM_HERE)]
    with PrintGateway(tmp_path_factory.mktemp("gateway"), certificates, printers) as running:
        yield running


@pytest.fixture
def untouched(cupsd):
    """The printer hears of no job, and gets no byte of a document."""
    before = cupsd.known()
    yield
    assert cupsd.known() == before


def send(client, operation, document, name="document"):
    """(answer, job); without a job: Print-Job was answered without one."""
    if operation == "Print-Job":
        answer = client.print_job(document, None, name=name)
        return answer, answer.message.get("job-id")
    job = client.create_job(name)
    return client.send_document(job, document, None), job


class TestSlow:
    """A scan that takes longer than the client is let wait: it is told of the job at once, and asks about it."""

    @pytest.mark.parametrize("operation", ["Print-Job", "Send-Document"])
    def test_clean(self, gateway, cupsd, operation):
        client, name = gateway.client("slow"), f"slow {operation}"
        with gateway.frozen():
            answer, job = send(client, operation, name.encode(), name)
            assert answer.code == ipp.OK, answer
            assert (answer.message.get("job-id"), answer.message.get("job-state")) == (job, ipp.PROCESSING)
            message = client.job(job)
            assert (message.get("job-state"), message.get("job-state-reasons")) == (ipp.PROCESSING, "job-transforming")
            assert (message.get("job-name"), message.get("job-originating-user-name")) == (name, "ann")
            assert name not in [known for known, _ in cupsd.jobs().values()]
        wait.until(lambda: client.job_state(job) == ipp.COMPLETED, "the job's end", 30)
        assert cupsd.printed(name) == [name.encode()]
        record = self.record_of_job(gateway, job)
        assert (record["verdict"], record["action"], record["print"]["operation"]) == ("pass", "pass", operation)

    @pytest.mark.parametrize("way, channel", [("clear", "clear"), ("upgrade", "upgraded"), ("tls", "implicit")])
    def test_how_it_came(self, gateway, way, channel):
        """The record says that also where the client has gone since."""
        client = gateway.client("slow", way, agent="Test/1.0")
        client.fields.append(("Content-MD5", "AAAAAAAAAAAAAAAAAAAAAA=="))
        with gateway.frozen():
            job = client.print_job(f"how it came: {way}".encode(), None).message.get("job-id")
            assert client.job_state(job) == ipp.PROCESSING
        record = self.record_of_job(gateway, job)
        said = record["print"]
        assert (record["listener"], said["channel"], said["agent"]) == ("print", channel, "Test/1.0"), record
        assert said.get("offered") == ("TLS/1.3, TLS/1.2" if way == "upgrade" else None)
        assert said["odd"] == "content-md5-mismatch"
        assert ("cipher" in record.get("protection", {})) == (way != "clear"), record

    @pytest.mark.parametrize("operation", ["Print-Job", "Send-Document"])
    @pytest.mark.usefixtures("untouched")
    def test_infected(self, gateway, operation):
        client = gateway.client("slow")
        with gateway.frozen():
            _, job = send(client, operation, samples.EICAR + b"\n" * len(operation), "infected")
            assert client.job_state(job) == ipp.PROCESSING
        wait.until(lambda: client.job_state(job) != ipp.PROCESSING, "the job's end", 30)
        message = client.job(job)
        assert (message.get("job-state"), message.get("job-state-reasons")) == (ipp.ABORTED, "document-security-error")
        assert "the document is infected: EICAR-Test-File" in message.get("job-state-message")
        record = self.record_of_job(gateway, job)
        assert (record["verdict"], record["action"], record["cause"]) == ("block", "block", "infected")
        assert f"[{record['id']}]" in message.get("job-state-message")

    @pytest.mark.parametrize("operation", ["Print-Job", "Send-Document"])
    @pytest.mark.usefixtures("untouched")
    def test_from_where(self, gateway, operation):
        """The client has gone when the rules are asked, and where it came from counts all the same."""
        client = gateway.client("barred")
        with gateway.frozen():
            _, job = send(client, operation, f"barred {operation}".encode(), "barred")
            assert client.job_state(job) == ipp.PROCESSING
        wait.until(lambda: client.job_state(job) != ipp.PROCESSING, "the job's end", 30)
        assert client.job_state(job) == ipp.ABORTED
        assert self.record_of_job(gateway, job)["action"] == "block"

    @pytest.mark.parametrize("operation", ["Print-Job", "Send-Document"])
    @pytest.mark.usefixtures("untouched")
    def test_cancelled(self, gateway, operation):
        """By its user, while nobody knows yet what it is: it is not printed, whatever the scan says."""
        client = gateway.client("slow")
        with gateway.frozen():
            _, job = send(client, operation, f"cancelled {operation}".encode(), "cancelled")
            assert gateway.client("slow", user="bob").ask(ipp.CANCEL_JOB, job_id=job).code == ipp.NOT_AUTHORIZED
            assert client.ask(ipp.CANCEL_JOB, job_id=job).code == ipp.OK
            assert client.job_state(job) == ipp.CANCELED
        self.record_of_job(gateway, job)
        assert client.job_state(job) == ipp.CANCELED

    def test_second_document(self, gateway, cupsd):
        """The job is at the printer, and stays there for whoever asks, while its second document is inspected."""
        client, name = gateway.client("slow"), "second is slow"
        job = client.create_job(name)
        assert client.send_document(job, b"first of two", last=False).code == ipp.OK
        with gateway.frozen():
            answer = client.send_document(job, b"second of two", None)
            assert (answer.code, answer.message.get("job-id")) == (ipp.OK, job), answer
            assert client.job(job).get("job-state-reasons") != "job-transforming"
            assert client.ask(ipp.GET_JOB_ATTRIBUTES, job_id=job).message.get("job-k-octets") is not None
        wait.until(lambda: client.job_state(job) == ipp.COMPLETED, "the job's end", 30)
        assert cupsd.printed(name) == [b"first of two", b"second of two"]

    def test_more_documents_follow(self, gateway, cupsd):
        """Then the client waits to the end, whatever scan-wait says, and sends them when they can be taken."""
        client, name = gateway.client("slow"), "more follow"
        job = client.create_job(name)
        with concurrent.futures.ThreadPoolExecutor() as pool:
            with gateway.frozen():
                first = pool.submit(client.send_document, job, b"more follows", last=False)
                with pytest.raises(concurrent.futures.TimeoutError):
                    first.result(1.5)
                assert client.job(job).get("job-state-reasons") == "job-incoming"
            assert first.result().code == ipp.OK
        assert client.send_document(job, b"what follows", None).code == ipp.OK
        assert cupsd.printed(name) == [b"more follows", b"what follows"]

    def test_backend_of_cups(self, gateway, cupsd, tmp_path):
        """It makes the job anew, and prints again what was taken, whatever it hears of a document that comes too early."""
        backend, name = "/usr/lib/cups/backend/ipp", "two files"
        if not os.path.exists(backend):
            missing(f"{backend} is not installed (Debian package cups)")
        files = [tmp_path / "one", tmp_path / "other"]
        for n, file in enumerate(files):
            file.write_bytes(b"file %d of two" % n)
        env = client_environment(tmp_path, DEVICE_URI=gateway.uri("slow"), CONTENT_TYPE="text/plain",
                                 CUPS_SERVERROOT=str(tmp_path))
        with gateway.frozen():
            p = subprocess.Popen([backend, "1", "ann", name, "1", "", *files], env=env, stdin=subprocess.DEVNULL,
                                 stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
            wait.until(lambda: gateway.status()["budgets"]["scans"]["used"] == 1, "the scan", 30)
            time.sleep(1)  # ten times what a client with one document waits
        assert p.communicate(timeout=60)[1].count("ERROR") == 0 and p.returncode == 0
        assert cupsd.printed(name) == [file.read_bytes() for file in files]
        assert [known for known, _ in cupsd.jobs().values()].count(name) == 1

    def test_too_early(self, gateway, cupsd):
        """After the last one, or beside another one: come again later."""
        client, name = gateway.client("slow"), "too early"
        job = client.create_job(name)
        with gateway.frozen():
            assert client.send_document(job, b"the last one", None).code == ipp.OK
            answer = client.send_document(job, b"one more", None)
        assert answer.code == ipp.BUSY, answer
        assert "send this one again when that is there" in answer.message.get("status-message")
        assert gateway.record_of(answer)["error"] == "overload"
        wait.until(lambda: client.job_state(job) == ipp.COMPLETED, "the job's end", 30)
        assert cupsd.printed(name) == [b"the last one"]

    def test_listed(self, gateway):
        """Such a job is one of its user's, though the printer has not got it."""
        client = gateway.client("slow")
        with gateway.frozen():
            _, job = send(client, "Print-Job", samples.EICAR + b"\n" * 30, "listed")
            assert job in [j["job-id"] for j in client.jobs("job-id", which="not-completed")]
        wait.until(lambda: client.job_state(job) == ipp.ABORTED, "the job's end")
        assert job not in [j["job-id"] for j in client.jobs("job-id", which="not-completed")]
        assert job in [j["job-id"] for j in client.jobs("job-id", which="completed")]

    @pytest.mark.parametrize("at, kind", [("nowhere", "text/plain"), ("slow", "application/x-unheard-of")],
                             ids=["is down", "refuses"])
    @pytest.mark.usefixtures("untouched")
    def test_printer(self, gateway, at, kind):
        """It cannot have what was promised to the client: the job says so to whoever asks, and not where it is."""
        client = gateway.client(at)
        with gateway.frozen():
            answer = client.print_job(f"to {at}".encode(), kind)
            assert (answer.code, answer.message.get("job-state")) == (ipp.OK, ipp.PROCESSING)
            job = answer.message.get("job-id")
        wait.until(lambda: client.job_state(job) != ipp.PROCESSING, "the job's end")
        message = client.job(job)
        assert (message.get("job-state"), message.get("job-state-reasons")) == (ipp.ABORTED, "aborted-by-system")
        assert message.get("job-state-message") and "127.0.0.1" not in message.get("job-state-message"), message
        assert self.record_of_job(gateway, job)["verdict"] == "pass"

    @pytest.mark.parametrize("refuses", [True, False], ids=["refuses", "hangs up"])
    def test_printer_without_document(self, gateway, fake, refuses):
        """The printer has the job, and would wait for its document: it is asked to cancel it, and the book says why."""
        def talk(peer, fake_, head):
            heard = fake_.hear(peer, head)
            if heard.operation != ipp.SEND_DOCUMENT:
                peer.send(http(fake_.reply(heard)))
            elif refuses:
                peer.send(http(answer_of(heard.message, ipp.FORMAT_NOT_SUPPORTED)))
            else:
                return False
            return True
        client = gateway.client("fake")
        fake.forget()
        fake.talk_now = talk
        try:
            with gateway.frozen():
                answer, job = send(client, "Send-Document", f"the printer {refuses} it".encode())
                assert (answer.code, answer.message.get("job-state")) == (ipp.OK, ipp.PROCESSING)
            assert fake.wait_heard(ipp.CANCEL_JOB).message.get("job-id") == max(fake.jobs)
        finally:
            fake.talk_now = None
        record = self.record_of_job(gateway, job)
        assert record["error_text"] and record["print"]["printer_job"] == max(fake.jobs), record
        known = gateway.command_line("status", "jobs", "--state", gateway.state, "--printer", "fake", "--json").stdout
        known = next(j for j in json.loads(known)["jobs"] if j["id"] == job)
        assert (known["why"], known["record"]) == (record["error_text"], record["id"])

    @staticmethod
    def record_of_job(gateway, job):
        """Of its document: verdicts are remembered, so each test here has its own."""
        return gateway.wait_record(lambda r: r.get("print", {}).get("job") == job and r.get("verdict"))

    @pytest.mark.usefixtures("untouched")
    def test_client_goes_away(self, gateway):
        """Who was not told of a job does not get one."""
        client = gateway.client("plain")
        with gateway.frozen():
            with ipp.IppConnection(client.address) as c:
                c.send(client.request(ipp.PRINT_JOB, data=b"goes away"))
                wait.until(lambda: gateway.status()["budgets"]["scans"]["used"] == 1, "the scan")
            record = self.record_from(gateway, c)
        assert (record["error"], record["print"]["operation"]) == ("client-gone", "Print-Job"), record
        wait.until(lambda: gateway.status()["budgets"]["scans"]["used"] == 0, "the scan's end")

    @pytest.mark.usefixtures("untouched")
    @pytest.mark.parametrize("ending", ["length", "chunked"])
    def test_client_stops_within_its_document(self, gateway, ending):
        client = gateway.client("plain")
        message = client.request(ipp.PRINT_JOB, data=b"harmless").encode()
        with ipp.IppConnection(client.address) as c:
            if ending == "length":
                c.sock.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/ipp\r\n"
                               b"Content-Length: %d\r\n\r\n" % (len(message) + 1) + message)
            else:
                c.send(message, chunked=True, end=False)
        record = self.record_from(gateway, c)
        assert record["error"] == "client-gone" and "verdict" not in record, record

    @staticmethod
    def record_from(gateway, connection):
        return gateway.wait_record(lambda r: r.get("client") == connection.local)


class TestCancelledOnTheWay:
    """By its user, while the printer is being told of it: nobody is told that it ended before it has."""

    class Way:
        """What holds |operation| at the printer back until |release|; |status|: its answer then."""

        def __init__(self, operation, status=ipp.OK):
            self.operation, self.status = operation, status
            self.reached, self.release = threading.Event(), threading.Event()

        def __call__(self, peer, fake, head):
            heard = fake.hear(peer, head)
            if heard.operation == self.operation:
                self.reached.set()
                assert self.release.wait(60)
                if self.status:
                    peer.send(http(answer_of(heard.message, self.status)))
                    return True
            peer.send(http(fake.reply(heard)))
            return True

    @pytest.fixture
    def hold(self, fake):
        """Begins anew, and holds back what a Way says."""
        ways = []

        def hold(operation, status=ipp.OK):
            fake.forget()
            ways.append(self.Way(operation, status))
            fake.talk_now = ways[-1]
            return ways[-1]
        yield hold
        for way in ways:
            way.release.set()
        fake.talk_now = None

    @staticmethod
    def begin(gateway, way, operation, document):
        """A client that did not wait, whose job is being told to the printer: (client, job)."""
        client = gateway.client("fake")
        with gateway.frozen():
            answer, job = send(client, operation, document)
            assert (answer.code, answer.message.get("job-state")) == (ipp.OK, ipp.PROCESSING)
        assert way.reached.wait(30)
        return client, job

    def test_document(self, gateway, fake, hold):
        way = hold(ipp.PRINT_JOB, None)
        client, job = self.begin(gateway, way, "Print-Job", b"stopped on its way")
        assert client.job(job).get("job-state-reasons") == "job-outgoing"
        for _ in range(2):
            assert client.ask(ipp.CANCEL_JOB, job_id=job).code == ipp.OK
            message = client.job(job)
            assert (message.get("job-state"), message.get("job-state-reasons")) == (ipp.PROCESSING, "processing-to-stop-point")
        assert ipp.CANCEL_JOB not in fake.operations()
        way.release.set()
        number = fake.wait_heard(ipp.CANCEL_JOB).message.get("job-id")
        assert number == max(fake.jobs)
        record = gateway.wait_record(lambda r: r.get("print", {}).get("job") == job and r.get("verdict"))
        assert (record["error"], record["print"]["printer_job"]) == ("conflict", number), record
        fake.forget()
        assert client.job_state(job) == ipp.COMPLETED  # whatever the printer says of it
        assert fake.last(ipp.GET_JOB_ATTRIBUTES).message.get("job-id") == number

    def test_book_changes(self, gateway, fake, hold):
        """The printer says which one it is while the book looks it up for whoever cancels it: it is canceled there. The
        store is slow, so that one wants to change what the other has read."""
        way = hold(ipp.PRINT_JOB, None)
        client, job = self.begin(gateway, way, "Print-Job", b"there before it is stopped")
        with concurrent.futures.ThreadPoolExecutor() as pool:
            with store_lock.writing(os.path.join(gateway.state, "store")):
                other = pool.submit(client.create_job, "what the store waits with")
                time.sleep(0.3)
                canceled = pool.submit(client.ask, ipp.CANCEL_JOB, job_id=job)
                way.release.set()
                time.sleep(0.5)
            assert canceled.result().code == ipp.OK and other.result()
        assert fake.wait_heard(ipp.CANCEL_JOB).message.get("job-id") == max(fake.jobs)

    def test_all(self, gateway, fake, hold):
        way = hold(ipp.PRINT_JOB, None)
        client, job = self.begin(gateway, way, "Print-Job", b"all are stopped on their way")
        assert client.ask(CANCEL_MY_JOBS).code == ipp.OK
        assert client.job(job).get("job-state-reasons") == "processing-to-stop-point"
        fake.heard = []  # what was at the printer before has been canceled there
        way.release.set()
        assert fake.wait_heard(ipp.CANCEL_JOB).message.get("job-id") == max(fake.jobs)

    def test_refused(self, gateway, fake, hold):
        """The printer does not take it in the end: there is nothing to cancel."""
        way = hold(ipp.PRINT_JOB, ipp.FORMAT_NOT_SUPPORTED)
        client, job = self.begin(gateway, way, "Print-Job", b"stopped and refused")
        assert client.ask(ipp.CANCEL_JOB, job_id=job).code == ipp.OK
        way.release.set()
        wait.until(lambda: client.job_state(job) == ipp.ABORTED, "the job's end")
        assert ipp.CANCEL_JOB not in fake.operations()

    def test_without_document(self, gateway, fake, hold):
        """The printer knows of a job, and has nothing yet to print: nor will it get that."""
        way = hold(ipp.CREATE_JOB, None)
        client, job = self.begin(gateway, way, "Send-Document", b"stopped before it goes")
        assert client.ask(ipp.CANCEL_JOB, job_id=job).code == ipp.OK
        assert client.job_state(job) == ipp.CANCELED
        way.release.set()
        assert fake.wait_heard(ipp.CANCEL_JOB).message.get("job-id") == max(fake.jobs)
        gateway.wait_record(lambda r: r.get("print", {}).get("job") == job and r.get("verdict"))
        assert client.job_state(job) == ipp.CANCELED and ipp.SEND_DOCUMENT not in fake.operations()

    def test_second_document_is_bad(self, gateway, fake, hold):
        """What its client was told to be taken ends with it."""
        hold(None)
        client = gateway.client("fake")
        job = client.create_job("bad in the end")
        assert client.send_document(job, b"good in the beginning", last=False).code == ipp.OK
        with gateway.frozen():
            assert client.send_document(job, samples.EICAR + b"\n" * 50, None).code == ipp.OK
        assert fake.wait_heard(ipp.CANCEL_JOB, 30).message.get("job-id") == max(fake.jobs)
        assert fake.operations().count(ipp.SEND_DOCUMENT) == 1


class TestBookIsFull:
    """Jobs for which there is no room in the book are refused before the printer hears of them, and there is room for
    those that it was told of before. Should it have one all the same of which the book cannot be told, it is asked to
    cancel it, and the client is told."""

    ADVICE = "see store.size, ipp.retention, and the disk of the store"

    @pytest.fixture
    def tiny(self, tmp_path, certificates, fake):
        """A gateway with room for some jobs."""
        printers = [printer("fake", fake.uri(), require="[]", scan_wait="100ms"),
                    printer("patient", fake.uri(), require="[]", scan_wait="60s")]
        with PrintGateway(tmp_path / "gateway", certificates, printers, more="store: {size: 1m}\n") as running:
            yield running

    @pytest.fixture
    def hold(self, fake):
        """Holds an operation back at the printer."""
        ways = []

        def hold(operation):
            fake.forget()
            ways.append(TestCancelledOnTheWay.Way(operation, None))
            fake.talk_now = ways[-1]
            return ways[-1]
        yield hold
        for way in ways:
            way.release.set()
        fake.talk_now = None

    @staticmethod
    def fill(gateway):
        """No other job finds room then."""
        client = gateway.client("fake")
        long = ("job-hold-until", ipp.KEYWORD, *("no-hold",) * 1500)
        for _ in range(200):
            answer = client.ask(ipp.CREATE_JOB, job=[long])
            if answer.code != ipp.OK:
                break
        assert answer.code == ipp.TEMPORARY_ERROR, answer
        assert "there is no room for more jobs here" in answer.message.get("status-message")

    @staticmethod
    def fill_up(gateway):
        """Nobody finds any, from now on."""
        store_lock.fill(os.path.join(gateway.state, "store"), 1 << 20)

    def is_refused(self, gateway, fake, answer):
        assert answer.code == ipp.TEMPORARY_ERROR, answer
        assert "try again later" in answer.message.get("status-message")
        assert not {ipp.PRINT_JOB, ipp.CREATE_JOB, ipp.SEND_DOCUMENT, ipp.VALIDATE_JOB} & set(fake.operations())
        record = gateway.record_of(answer)
        assert (record["error"], record["rule"]) == ("disk-full", "job book"), record
        assert record["error_text"].endswith(self.ADVICE), record

    def check(self, gateway, fake, answer, has_canceled=True):
        """The printer was told to cancel what it had got."""
        number = fake.wait_heard(ipp.CANCEL_JOB).message.get("job-id")
        assert number == max(fake.jobs)
        if answer:
            assert answer.code == ipp.TEMPORARY_ERROR, answer
            record = gateway.record_of(answer)
        else:
            record = gateway.wait_record(lambda r: r.get("rule") == "job book" and r.get("verdict"))
        assert (record["error"], record["rule"]) == ("disk-full", "job book"), record
        told = answer.message.get("status-message") if answer else record["error_text"]
        assert ("the printer has canceled it: send it again later" in told) == has_canceled, told
        assert ("it may be printed: look there before it is sent again" in told) != has_canceled, told
        assert ("the printer may not have canceled it" in record["error_text"]) != has_canceled, record

    @pytest.mark.parametrize("operation", ["Print-Job", "Create-Job", "Send-Document"])
    def test_before_the_printer(self, tiny, fake, operation):
        client, document = tiny.client("patient"), b"no room for it"
        job = client.create_job("made before")
        self.fill(tiny)
        fake.forget()
        if operation == "Send-Document":
            self.is_refused(tiny, fake, client.send_document(job, document, None))
            assert client.job(job).get("job-state-reasons") == "job-incoming"  # so that it can come again
        else:
            data = {"data": document} if operation == "Print-Job" else {}
            self.is_refused(tiny, fake, client.ask(getattr(ipp, operation.upper().replace("-", "_")), **data))

    @pytest.mark.parametrize("operation", ["Print-Job", "Send-Document"])
    def test_room_for_those_on_the_way(self, tiny, fake, hold, operation):
        way = hold(ipp.PRINT_JOB if operation == "Print-Job" else ipp.CREATE_JOB)
        client = tiny.client("patient")
        with concurrent.futures.ThreadPoolExecutor() as pool:
            sent = pool.submit(send, client, operation, b"there is room for its job")
            assert way.reached.wait(30)
            self.fill(tiny)
            way.release.set()
            answer, job = sent.result()
        assert answer.code == ipp.OK, answer
        assert client.job_state(job) == ipp.COMPLETED
        assert ipp.CANCEL_JOB not in fake.operations()

    @pytest.mark.parametrize("operation, held", [
        ("Print-Job", ipp.PRINT_JOB), ("Send-Document", ipp.CREATE_JOB), ("Send-Document", ipp.SEND_DOCUMENT)])
    def test_client_waits(self, tiny, fake, hold, operation, held):
        way = hold(held)
        with concurrent.futures.ThreadPoolExecutor() as pool:
            sent = pool.submit(send, tiny.client("patient"), operation, b"there is no room for its job")
            assert way.reached.wait(30)
            self.fill_up(tiny)
            way.release.set()
            answer, _ = sent.result()
        self.check(tiny, fake, answer)
        assert (ipp.SEND_DOCUMENT in fake.operations()) == (held == ipp.SEND_DOCUMENT)

    @pytest.mark.parametrize("operation, held", [("Print-Job", ipp.PRINT_JOB), ("Send-Document", ipp.CREATE_JOB)])
    def test_client_does_not_wait(self, tiny, fake, hold, operation, held):
        client, job = TestCancelledOnTheWay.begin(tiny, way := hold(held), operation, b"no room, later")
        self.fill_up(tiny)
        way.release.set()
        self.check(tiny, fake, None)
        assert client.ask(ipp.GET_JOB_ATTRIBUTES, job_id=job).code == ipp.OK

    def test_printer_does_not_cancel(self, tiny, fake, hold):
        way = hold(ipp.PRINT_JOB)
        release = way.release.wait

        def talk(peer, fake_, head):
            heard = fake_.hear(peer, head)
            if heard.operation == ipp.CANCEL_JOB:
                return False
            if heard.operation == ipp.PRINT_JOB:
                way.reached.set()
                assert release(60)
            peer.send(http(fake.reply(heard)))
            return True
        fake.talk_now = talk
        with concurrent.futures.ThreadPoolExecutor() as pool:
            sent = pool.submit(send, tiny.client("patient"), "Print-Job", b"and the printer hangs up")
            assert way.reached.wait(30)
            self.fill_up(tiny)
            way.release.set()
            self.check(tiny, fake, sent.result()[0], has_canceled=False)

    def test_disk(self, tmp_path, certificates, fake):
        """One that others have filled; when they have made room everything goes on."""
        with small_disk(tmp_path / "disk") as folder, \
                PrintGateway(folder, certificates, [printer("fake", fake.uri(), require="[]")]) as gateway:
            client = gateway.client("fake")
            assert client.print_job(b"there is room", None).code == ipp.OK
            with (folder / "filler").open("wb", buffering=0) as filler, contextlib.suppress(OSError):
                while True:
                    filler.write(b"\0" * 4096)
            fake.forget()
            answer = client.print_job(b"there is no room", None)
            assert answer.code == ipp.TEMPORARY_ERROR, answer
            assert fake.operations() == []
            (folder / "filler").unlink()
            assert client.print_job(b"there is room again", None).code == ipp.OK


@contextlib.contextmanager
def small_disk(folder, size="4m"):
    folder.mkdir(exist_ok=True)
    run = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], capture_output=True,
                         text=True, check=False)
    if run.returncode:
        missing(f"cannot mount a tmpfs: {run.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture(scope="module")
def disk(tmp_path_factory):
    """A file system of 4 MiB for the spool."""
    with small_disk(tmp_path_factory.mktemp("disk")) as folder:
        yield folder


class Failures:
    """Whoever cannot be sure prints nothing. Where that may be better a moment later the client is told to come again
    (server-error-busy), and its job stays, so that it can."""

    CAUSES = ("engine-down", "overload", "disk-full")
    WORDS = {"engine-down": "the engines are down", "overload": "too many documents are being inspected",
             "disk-full": "there is no room for the document"}

    @classmethod
    def start(cls, folder, certificates, cupsd, more, build=None, **rows):
        """Printers that do about failures what is usual, or block, or pass; |rows| are theirs. One is patient."""
        printers = [printer("patient", cupsd.uri(), require="[]"), printer("usual", cupsd.uri(), require="[]", **rows)]
        printers += [printer(action, cupsd.uri(), require="[]", **rows,
                             on="{" + ", ".join(f"{cause}: {action}" for cause in cls.CAUSES) + "}")
                     for action in ("block", "pass")]
        return PrintGateway(folder, certificates, printers, more=more, **({"build": build} if build else {}))

    def check(self, gateway, cause, document=b"harmless"):
        """The clients whose jobs may still be printed: (client, job)."""
        answers = []
        for operation, agent, _ in CLIENTS.values():
            client = gateway.client("usual", agent=agent)
            answer, job = send(client, operation, document)
            assert answer.code == ipp.BUSY, (operation, agent, answer)
            assert self.WORDS[cause] in answer.message.get("status-message")
            answers.append((client, job, answer))
        for _, _, answer in answers:
            record = gateway.record_of(answer)
            assert (record["action"], record["cause"]) == ("error", cause), record
            assert record["print"]["status"] == "server-error-busy"
        return [(client, job) for client, job, _ in answers if job]

    def check_block(self, gateway, cause, document=b"harmless"):
        for operation, agent, status in CLIENTS.values():
            client = gateway.client("block", agent=agent)
            answer, job = send(client, operation, document)
            assert answer.code == status, (operation, agent, answer)
            assert self.WORDS[cause] in answer.message.get("status-message")
            if job:
                message = client.job(job)
                assert (message.get("job-state"), message.all("job-state-reasons")) == (
                    ipp.ABORTED, ["aborted-by-system"])


class TestNoRoom(Failures):
    """For the document on the disk, or for one more scan."""

    @pytest.fixture(scope="class")
    def poor(self, tmp_path_factory, certificates, cupsd, disk):
        more = f"limits: {{scans: 1, scan-wait: 10ms}}\nspool: {{path: {disk}, memory: 64k, reserve: 0}}\n"
        with self.start(tmp_path_factory.mktemp("poor"), certificates, cupsd, more, memory_max="64k") as running:
            yield running

    @pytest.mark.usefixtures("untouched")
    def test_disk_full(self, poor):
        large = samples.noise(6 * samples.MIB)
        for client, job in self.check(poor, "disk-full", large):
            assert client.job_state(job) == ipp.HELD
        self.check_block(poor, "disk-full", large)
        # What is not here whole cannot be printed, whatever the configuration says.
        assert poor.client("pass").print_job(large).code == ipp.SECURITY_ERROR

    @pytest.mark.usefixtures("untouched")
    def test_overload(self, poor):
        with poor.frozen(), ipp.IppConnection(poor.address("print")) as c:
            c.send(poor.client("usual").request(ipp.PRINT_JOB, data=b"first"))
            wait.until(lambda: poor.status()["budgets"]["scans"]["used"] == 1, "the scan")
            self.check(poor, "overload")
            self.check_block(poor, "overload")
        wait.until(lambda: poor.status()["budgets"]["scans"]["used"] == 0, "the slot given back")

    def test_comes_again(self, poor, cupsd):
        """The job of a client that was told to come again is printed when it does."""
        client = poor.client("usual")
        job = client.create_job("comes again")
        assert client.send_document(job, samples.noise(6 * samples.MIB), None).code == ipp.BUSY
        assert client.send_document(job, b"again", None).code == ipp.OK
        assert cupsd.printed("comes again") == [b"again"]

    def test_pass(self, poor, cupsd):
        """Where the configuration says so what nobody looked at is printed, and recorded as such."""
        with poor.frozen(), ipp.IppConnection(poor.address("print")) as c:
            c.send(poor.client("usual").request(ipp.PRINT_JOB, data=b"first of all"))
            wait.until(lambda: poor.status()["budgets"]["scans"]["used"] == 1, "the scan")
            answer = poor.client("pass").print_job(samples.EICAR, name="unseen")
        assert answer.code == ipp.OK
        assert cupsd.printed("unseen") == [samples.EICAR]
        record = poor.record_of(answer)
        assert (record["action"], record["cause"]) == ("pass", "overload") and record.get("verdict") != "pass", record


class TestNoDescriptors:
    """For the document as a file there is one, and engines and the scanner elsewhere would need two."""

    @pytest.fixture(scope="class")
    def full(self, tmp_path_factory, certificates, fake):
        """A gateway with one loop."""
        printers = [printer("fake", fake.uri(), require="[]", memory_max="64k", icap=f"icap://127.0.0.1:{free_port()}/scan",
                            on="{overload: pass, engine-down: pass}")]
        with PrintGateway(tmp_path_factory.mktemp("full"), certificates, printers, threads=1) as running:
            yield running

    @staticmethod
    @contextlib.contextmanager
    def leaving(pid, n):
        """Meanwhile |pid| can have |n| more descriptors."""
        def used():
            before = sorted(os.listdir(f"/proc/{pid}/fd"))
            time.sleep(0.2)
            return before == sorted(os.listdir(f"/proc/{pid}/fd")) and {int(fd) for fd in before}
        taken = wait.until(used, "that no descriptors come or go")
        free = [fd for fd in range(max(taken) + n + 2) if fd not in taken]
        before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (free[n], before[1]))
        try:
            yield
        finally:
            resource.prlimit(pid, resource.RLIMIT_NOFILE, before)

    @pytest.mark.parametrize("size", [1000, 200000], ids=["in memory", "in the spool"])
    def test_pass(self, full, fake, size):
        """Where the configuration says so the document is printed all the same; and nothing is asked for twice."""
        document, pid = samples.noise(size), full.gateway_pid()
        fake.forget()
        with ipp.IppConnection(full.address("print")) as c:
            c.send(full.client("fake").request(ipp.PRINT_JOB, data=document), chunked=True, end=False)
            with self.leaving(pid, 1):
                c.send_piece(b"")
                answer = c.read()
        assert answer.code == ipp.OK, answer
        assert fake.last(ipp.PRINT_JOB).document == document
        record = full.record_of(answer)
        assert (record["action"], record["cause"]) == ("pass", "overload"), record
        assert full.gateway_pid() == pid


class TestEnginesDown(Failures):
    """The worker program cannot work any more, and what ran of it has died."""

    @pytest.fixture(scope="class")
    def broken(self, tmp_path_factory, certificates, cupsd):
        build = tmp_path_factory.mktemp("build")
        for name in ("sallyport", "sallyport-worker"):
            shutil.copy(build_dir() / name, build)
        shutil.copytree(build_dir() / "meson-info", build / "meson-info")
        more = "engines: {workers: {grace: 100ms}}\n"
        folder = tmp_path_factory.mktemp("broken")
        with self.start(folder, certificates, cupsd, more, build, deadline="100ms") as running:
            assert running.client("patient").print_job(b"while it works").code == ipp.OK
            (build / "sallyport-worker").unlink()
            shutil.copy("/bin/false", build / "sallyport-worker")
            for pid in [*running.zygote_pids(), *running.worker_pids()]:
                os.kill(pid, signal.SIGKILL)
            wait.until(lambda: running.admin("/readyz")[0] == 503, "that the gateway has noticed", 30)
            assert not running.worker_pids()
            yield running

    @pytest.mark.usefixtures("untouched")
    def test_engine_down(self, broken):
        for client, job in self.check(broken, "engine-down"):
            assert client.job_state(job) == ipp.HELD
        self.check_block(broken, "engine-down", samples.EICAR)

    def test_not_ready(self, broken):
        """What no printer can do the gateway is not ready for."""
        status, text = broken.admin("/readyz")
        assert status == 503 and "worker" in text, (status, text)
