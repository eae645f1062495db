# SPDX-License-Identifier: Apache-2.0
"""Clients that have left when the printer has their job, and the book does not know of it yet because its store is
slow: what follows from that does not wait for anybody."""
import os
import socket
import struct
import threading

import pytest

from testenv import ipp, samples, store_lock, wait
from testenv.fake_printer import FakePrinter, answer, http
from testenv.printing import PrintGateway, printer

ID_MAX = 0x7fffffff


@pytest.fixture
def fake():
    with FakePrinter() as running:
        yield running


@pytest.fixture
def gateway(tmp_path, certificates, fake):
    printers = [printer("fake", fake.uri(), require="[]", pipeline="[]")]
    with PrintGateway(tmp_path / "gateway", certificates, printers) as running:
        yield running


class TestLeft:
    @pytest.fixture
    def client(self, gateway):
        return gateway.client("fake")

    @pytest.fixture
    def first(self, client):
        """The number of a job: those of the next ones are known."""
        return client.print_job(b"the first one", None).message.get("job-id")

    def print_and_leave(self, gateway, fake, client, document):
        """The connection is reset when the printer has its job."""
        fake.forget()
        c = ipp.IppConnection(gateway.address("print"))
        c.send(client.request(ipp.PRINT_JOB, data=document), client.path)
        fake.wait_heard(ipp.PRINT_JOB)
        self.leave(gateway, c)
        assert not any(r.get("sha256") == samples.digest(document) for r in gateway.records())
        return c.local

    @staticmethod
    def leave(gateway, c):
        """The connection is reset when the book is being told."""
        wait.until(lambda: gateway.metrics()["sallyport_store_waiting"] > 0, "a job that is being written down")
        descriptors = f"/proc/{gateway.gateway_pid()}/fd"
        before = len(os.listdir(descriptors))
        c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        c.close()
        wait.until(lambda: len(os.listdir(descriptors)) < before, "the end of the connection")

    @staticmethod
    def record(gateway, document):
        return gateway.wait_record(lambda r: r.get("sha256") == samples.digest(document))

    def test_kept(self, gateway, fake, client, first):
        document = b"the book knows of it in the end"
        with store_lock.writing(os.path.join(gateway.state, "store")):
            self.print_and_leave(gateway, fake, client, document)
        record = self.record(gateway, document)
        said = record["print"]
        assert (said["job"], said["printer_job"]) == (first + 1, max(fake.jobs)), record
        assert (record["error"], record["listener"]) == ("client-gone", "print"), record
        assert client.job_state(first + 1) == ipp.COMPLETED  # says the printer
        assert ipp.CANCEL_JOB not in fake.operations()

    def test_unkept(self, gateway, fake, client, first):
        """Nobody could be told its name: it is canceled at the printer."""
        document = b"the book cannot know of it"
        key = b"%08x" % (ID_MAX - (first + 1))
        with store_lock.taking(os.path.join(gateway.state, "store"), b"ipp-jobs", key):
            local = self.print_and_leave(gateway, fake, client, document)
        record = self.record(gateway, document)
        assert fake.last(ipp.CANCEL_JOB).message.get("job-id") == max(fake.jobs)
        assert (record["error"], record["client"]) == ("conflict", local), record
        assert "the printer has canceled it" in record["error_text"] and "job" not in record["print"]

    @pytest.mark.parametrize("reached", [True, False])
    def test_before_its_document(self, gateway, fake, client, reached):
        """The job of a Create-Job is at the printer: it gets the document, which is here, or is canceled."""
        document, asked, go_on = b"what it is made for", threading.Event(), threading.Event()

        def talk(peer, fake_, head):
            heard = fake_.hear(peer, head)
            if heard.operation == ipp.CREATE_JOB:
                asked.set()
                assert go_on.wait(30)
            refuses = heard.operation == ipp.SEND_DOCUMENT and not reached
            peer.send(http(answer(heard.message, ipp.NOT_POSSIBLE) if refuses else fake_.reply(heard)))
            return True
        job = client.create_job()
        fake.forget()
        fake.talk_now = talk
        c = ipp.IppConnection(gateway.address("print"))
        c.send(client.request(ipp.SEND_DOCUMENT, ("last-document", ipp.BOOLEAN, True), job_id=job, data=document),
               client.path)
        assert asked.wait(30)
        with store_lock.writing(os.path.join(gateway.state, "store")):
            go_on.set()
            self.leave(gateway, c)
        record = self.record(gateway, document)
        assert fake.wait_heard(ipp.SEND_DOCUMENT).document == document
        assert record["print"]["job"] == job, record
        if reached:
            assert client.job_state(job) == ipp.COMPLETED and ipp.CANCEL_JOB not in fake.operations()
        else:
            assert fake.wait_heard(ipp.CANCEL_JOB).message.get("job-id") == max(fake.jobs)
