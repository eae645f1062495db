# SPDX-License-Identifier: Apache-2.0
"""What sallyport-worker finds in content codings and forms."""
import gzip
import os

from testenv.samples import EICAR
from testenv.worker_wire import (BLOCK, CAUSE_NOT_INSPECTED, FILETYPE, INFECTED, NOT_INSPECTED, PASS, UNPACK, YARA,
                                 Zygote)


def form(*parts):
    """(head, content) of each part as multipart/form-data with the boundary "b"."""
    return b"".join(b"--b\r\nContent-Disposition: form-data; " + head + b"\r\n\r\n" + content + b"\r\n"
                    for head, content in parts) + b"--b--\r\n"


class TestUnpack:
    """In the jail, what the unit tests show outside."""
    FORM = {"kind": b"Multipart/Form-Data; boundary=b", "engines": YARA | FILETYPE | UNPACK}

    def test_virus_in_a_packed_form(self, worker):
        body = form((b"name=a", b"1"), (b"name=b; filename=x.txt", b"2"), (b'name=c; filename="e.com"', EICAR))
        result = worker.scan(gzip.compress(body), encoding=b"gzip", want_objects=True, **self.FORM)
        assert (result.verdict, result.cause) == (BLOCK, INFECTED)
        assert result.findings[0] == ("yara", "EICAR-Test-File", 'part 3 "c" file "e.com" offset 0', 0)
        assert result.objects is not None  # the others want to look as well

    def test_objects(self, worker):
        body = form((b"name=a", b"1"), (b'name=f; filename="page.html"\r\nContent-Type: Text/HTML; charset=utf-8',
                                        b"<!DOCTYPE html><html><body>hello</body></html>"))
        result = worker.scan(gzip.compress(body), b"upload", encoding=b"gzip", want_objects=True, **self.FORM)
        assert (result.verdict, result.n_objects) == (PASS, 2), result.why
        whole, field, file = result.objects.list
        assert result.objects.derived == body
        assert result.objects.seals == 15  # SEAL, SHRINK, GROW, WRITE
        assert whole[:6] == (2, 1, 0, len(body), b"upload", b"multipart/form-data")
        assert field == (2, 3, body.index(b"1\r"), 1, b"a", b"", field[6])
        assert file[4:] == (b"page.html", b"text/html", b"text/html")
        plain = worker.scan(body, want_objects=True, **self.FORM)
        assert plain.objects.derived == b""
        assert [o[:6] for o in plain.objects.list[1:]] == [(1, *o[1:6]) for o in result.objects.list[1:]]

    def test_large_body(self, worker):
        """More than one write, one mremap, and one descriptor for each of many jobs."""
        body = os.urandom(1 << 20) * 24
        packed = gzip.compress(body, 1)
        for _ in range(20):
            result = worker.scan(packed, encoding=b"gzip", want_objects=True, engines=UNPACK)
            assert result.verdict == PASS, result.why
            assert result.objects.derived == body

    def test_more_than_the_worker_s_memory(self):
        with Zygote("--memory", str(16 << 20)) as z:
            worker = z.fork()
            result = worker.scan(gzip.compress(os.urandom(1 << 20) * 60, 1), encoding=b"gzip", engines=UNPACK | YARA)
            assert (result.verdict, result.cause) == (NOT_INSPECTED, CAUSE_NOT_INSPECTED)
            assert "more memory than a worker may have" in result.why
            assert worker.scan(b"next").verdict == PASS

    def test_bomb(self, worker):
        result = worker.scan(gzip.compress(b"\0" * (80 << 20)), encoding=b"gzip", engines=UNPACK | YARA,
                             limits=(64 << 20, 100_000, 3, 10))
        assert result.verdict == NOT_INSPECTED and result.why == f"the body decompresses to more than {64 << 20} bytes"

    def test_many_parts(self, worker):
        body = form(*((b"name=f%d" % i, b"value") for i in range(1000)))
        result = worker.scan(body, want_objects=True, **self.FORM)
        assert (result.verdict, result.n_objects) == (PASS, 1000), result.why
        assert len(result.objects.list) == 1001
