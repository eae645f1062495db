# SPDX-License-Identifier: Apache-2.0
"""Documents on their way to a printer: the engine `printing` in the pipeline of a service, and its pages in
the worker's own answer."""
import gzip

import pytest

from testenv import Sallyport, Way
from testenv.icap import http_request
from testenv.worker_wire import (BLOCK, CAUSE_NOT_INSPECTED, INFECTED, NOT_INSPECTED, PASS, PRINTING, UNPACK, YARA)

UEL = b"\x1b%-12345X"
PDF = (b"%PDF-1.7\n1 0 obj\n<< /Type /Catalog /Pages 2 0 R >>\nendobj\n"
       b"2 0 obj\n<< /Type /Pages /Kids [3 0 R] /Count 1 >>\nendobj\n"
       b"3 0 obj\n<< /Type /Page /Parent 2 0 R /MediaBox [0 0 200 200] >>\nendobj\n"
       b"trailer << /Root 1 0 R >>\n%%EOF\n")
ENCRYPTED = PDF.replace(b"/Root 1 0 R", b"/Root 1 0 R /Encrypt 4 0 R")
PJL = UEL + b'@PJL JOB NAME="a"\r\n@PJL FSDELETE NAME="0:\\a"\r\n@PJL ENTER LANGUAGE=PCL\r\n\x1bE' + UEL
POSTSCRIPT = b"%!PS-Adobe-3.0\n%%Pages: 3\n%%Page: 1 1\n(%stdout) (w) file pop showpage\n"

SERVICES = """\
  - {name: print, type: inspect, path: /print, pipeline: [printing]}
  - {name: lenient, type: inspect, path: /lenient, pipeline: [printing], on: {not-inspected: pass}}
"""


@pytest.fixture(scope="module")
def sallyport(tmp_path_factory, certificates):
    with Sallyport(tmp_path_factory.mktemp("printing"), tls=certificates.server, services=SERVICES) as gateway:
        yield gateway


@pytest.fixture
def print_to(sallyport):
    """(reply, its record) of a document that is sent to a service."""
    way = Way(sallyport, "clear")

    def run(service, kind, document, *fields):
        http = [("req-hdr", http_request(b"POST", b"http://printer.test/ipp/print",
                                         [b"Content-Type: " + kind, b"Content-Length: %d" % len(document), *fields]))]
        reply = way.ask("REQMOD", service, document, http=http)
        return reply, sallyport.wait_record(lambda r: r.get("id") == reply.field("X-Request-ID"))
    return run


class TestGateway:
    def test_clean_pdf_passes(self, print_to):
        reply, record = print_to("print", b"application/pdf", PDF)
        assert reply.status == 204 or reply.body == PDF
        assert (record["verdict"], record["action"]) == ("pass", "pass"), record
        assert "findings" not in record

    def test_pjl_that_deletes_is_blocked(self, print_to):
        reply, record = print_to("print", b"application/octet-stream", PJL)
        assert (reply.status, reply.http_status()) == (200, 403)
        assert (record["verdict"], record["action"], record["cause"]) == ("block", "block", "infected"), record
        assert record["findings"] == [{"engine": "printing", "name": "pjl-fsdelete", "where": "offset 28"}]
        assert PJL not in reply.body

    def test_packed_as_well(self, print_to):
        body = gzip.compress(PJL)
        _, record = print_to("print", b"application/octet-stream", body, b"Content-Encoding: gzip")
        assert (record["action"], record["cause"]) == ("block", "infected"), record

    def test_encrypted_pdf_is_not_inspected(self, print_to):
        _, record = print_to("print", b"application/pdf", ENCRYPTED)
        assert (record["verdict"], record["action"], record["cause"]) == ("not-inspected", "block", "not-inspected")
        reply, record = print_to("lenient", b"application/pdf", ENCRYPTED)
        assert (record["verdict"], record["action"]) == ("not-inspected", "pass"), record
        assert [(f["name"], f["note"]) for f in record["findings"]] == [("pdf-encrypted", True)]
        assert reply.status == 204 or reply.body == ENCRYPTED

    def test_again_from_the_cache(self, print_to):
        document = UEL + b"@PJL FSINIT\n"
        first, second = (print_to("print", b"application/octet-stream", document)[1] for _ in range(2))
        assert second["cached"] and second["findings"] == first["findings"]


class TestWorker:
    """What the gateway learns of a document's pages."""
    @pytest.mark.parametrize("document, pages", [
        (PDF, 1), (POSTSCRIPT, 3), (UEL + b"@PJL\n" + POSTSCRIPT + UEL, 3), (b"\xff\xd8\xff\xe0 picture", 1),
        (b"UNIRAST\0\0\0\0\x07" + bytes(32), 7), (b"words\n", 0)])
    def test_pages(self, worker, document, pages):
        result = worker.scan(document, b"a", b"application/octet-stream", engines=PRINTING)
        assert (result.verdict, result.findings, result.pages) == (PASS, [], pages)

    def test_nobody_asked(self, worker):
        assert worker.scan(PDF, engines=YARA).pages == 0

    def test_findings(self, worker):
        result = worker.scan(PJL, engines=PRINTING | UNPACK)
        assert (result.verdict, result.cause) == (BLOCK, INFECTED)
        assert result.findings == [("printing", "pjl-fsdelete", "offset 28", 0)]
        result = worker.scan(ENCRYPTED, engines=PRINTING)
        assert (result.verdict, result.cause, result.pages) == (NOT_INSPECTED, CAUSE_NOT_INSPECTED, 1)
