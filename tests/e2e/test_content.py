# SPDX-License-Identifier: Apache-2.0
"""What is inside of what is sent: codings, bombs, multipart forms, file names with every trick, types
that lie, fragments; and the rules that a service has about them. One file, one record, the right
answer."""
import gzip
import io
import json
import lzma
import random
import struct
import subprocess
import zipfile
import zlib

import pytest

from testenv import Sallyport, Way, need, samples, wait
from testenv.icap import http_request, http_response

EICAR = samples.EICAR
SERVICES = """\
  - name: files
    type: inspect
    path: /files
    pipeline: [yara, filetype]
    types: {deny: [application/x-executable, application/vnd.microsoft.portable-executable, .scr], mismatch: block}
  - name: small
    type: inspect
    path: /small
    body-max: 64k
  - {name: ranges-block, type: inspect, path: /ranges-block, ranges: block}
  - {name: ranges-pass, type: inspect, path: /ranges-pass, ranges: pass}
  - name: ruled
    type: inspect
    path: /ruled
    pipeline: [url, yara, filetype]
    rules:
      - {name: partners, client: [192.0.2.0/24], host: [.partner.example], then: allow}
      - {name: no-scripts, file: ["*.ps1"], then: block, why: Scripts are not sent by web here.}
      - {name: allowed-names, file: ["*.allowed"], then: allow}
      - {name: known-good, sha256: [KNOWN_GOOD], then: allow}
      - {name: test-file, signature: ["EICAR*"], user: [tester], then: allow}
      - {name: look, type: ["image/*"], then: note}
      - {name: big, larger: 100k, host: [small.example], then: block}
      - {name: pictures, type: [image/png], host: [pictures.example], then: allow}
      - {name: programs, type: [application/vnd.microsoft.portable-executable, application/x-dosexec],
         host: [no-programs.example], then: block}
      - {name: types-alone, host: [.types.example], then: pipeline, pipeline: [filetype]}
      - {name: nothing-at-all, host: [trusted.example], then: pipeline, pipeline: []}
  - {name: few, type: inspect, path: /few, pipeline: [yara, filetype], types: {allow: [image/*, text/plain]}}
"""


def compressed(name, data):
    if name == "gzip":
        return gzip.compress(data)
    if name == "deflate":
        return zlib.compress(data)
    if name == "raw-deflate":
        c = zlib.compressobj(wbits=-15)
        return c.compress(data) + c.flush()
    return {"br": BROTLI, "zstd": zstd_stored}[name](data)


def BROTLI(data):  # noqa: N802: a table of functions
    """Uncompressed meta-blocks (RFC 7932 9.2): every decoder takes them, and no library is needed."""
    out, bits, count = bytearray(), 0, 0

    def put(value, n):
        nonlocal bits, count
        bits |= value << count
        count += n
        while count >= 8:
            out.append(bits & 255)
            bits >>= 8
            count -= 8

    def align():
        if count:
            put(0, 8 - count)

    put(0, 1)  # window of 16 bits
    for i in range(0, len(data), 65536):
        piece = data[i:i + 65536]
        put(0, 1)  # not the last
        put(0, 2)  # four nibbles of length
        put(len(piece) - 1, 16)
        put(1, 1)  # uncompressed
        align()
        out += piece
    put(3, 2)  # last, empty
    align()
    return bytes(out)


def zstd_stored(data):
    """Raw blocks (RFC 8878 3.1.1)."""
    out = bytearray(struct.pack("<IBB", 0xFD2FB528, 0, 0x38))
    pieces = [data[i:i + 65536] for i in range(0, len(data), 65536)] or [b""]
    for i, piece in enumerate(pieces):
        header = (i == len(pieces) - 1) | len(piece) << 3
        out += struct.pack("<I", header)[:3] + piece
    return bytes(out)


def zstd(data):
    """Really compressed."""
    return subprocess.run([need("zstd", "zstd"), "-q", "-c"], input=data, capture_output=True, check=True).stdout


def encoded(coding, body, fields=()):
    """A response whose body has the Content-Encoding |coding|."""
    return [("req-hdr", http_request()),
            ("res-hdr", http_response(len(body), fields=[b"Content-Encoding: " + coding.encode(), *fields]))]


def form(parts, boundary="----SallyportBoundary", epilogue=b""):
    """(Content-Type, body) of a form; a part is (field, file name or None, type or None, content)."""
    out = bytearray()
    for field, name, kind, content in parts:
        out += b"--" + boundary.encode() + b"\r\nContent-Disposition: form-data; name=\"" + field.encode() + b"\""
        if name is not None:
            out += b"; filename=\"" + (name if isinstance(name, bytes) else name.encode()) + b"\""
        out += b"\r\n" + (b"Content-Type: " + kind.encode() + b"\r\n" if kind else b"") + b"\r\n" + content + b"\r\n"
    out += b"--" + boundary.encode() + b"--\r\n" + epilogue
    return f"multipart/form-data; boundary={boundary}", bytes(out)


def upload(kind, body, fields=(), url=b"http://origin.test/upload"):
    return [("req-hdr", http_request(b"POST", url, [b"Content-Type: " + kind.encode(),
                                                    b"Content-Length: %d" % len(body), *fields]))]


@pytest.fixture(scope="module")
def sallyport(tmp_path_factory, certificates):
    folder = tmp_path_factory.mktemp("content")
    hosts = folder / "hosts.txt"
    hosts.write_text("bad.example\n.evil.example\norigin.test/secret*\n~^cdn[0-9]+\\.example/\n")
    services = SERVICES.replace("KNOWN_GOOD", samples.digest(EICAR + b" \r\n"))
    more = f"engines: {{url: {{lists: [{{name: bad, file: {hosts}, action: deny}}]}}}}\n"
    with Sallyport(folder / "gateway", tls=certificates.server, services=services, more=more) as gateway:
        gateway.hosts = hosts
        yield gateway


@pytest.fixture
def ask(sallyport):
    """(reply, its one record) of a transaction over clear text."""
    way = Way(sallyport, "clear")

    def run(method, service, body=None, **more):
        reply = way.ask(method, service, body, **more)
        found = [sallyport.wait_record(lambda r: r.get("id") == reply.field("X-Request-ID"))]
        assert sum(r.get("id") == found[0]["id"] for r in sallyport.records()) == 1
        return reply, found[0]
    return run


def assert_passed(reply, record, body):
    assert reply.status == 204 or reply.status == 200 and reply.body == body, reply
    assert (record["verdict"], record["action"]) == ("pass", "pass"), record


def assert_blocked(reply, record, cause="infected"):
    assert reply.status == 200 and reply.http_status() == 403, reply
    assert (record["action"], record["cause"]) == ("block", cause), record
    assert EICAR not in reply.body
    assert reply.field("X-Infection-Found")


CODINGS = ["gzip", "deflate", "br", "zstd"]


class TestCodings:
    @pytest.mark.parametrize("coding", CODINGS)
    def test_clean_passes_as_it_came(self, ask, coding):
        body = compressed(coding, samples.noise(70000))
        reply, record = ask("RESPMOD", "inspect", body, http=encoded(coding, body))
        assert_passed(reply, record, body)
        assert record["body_len"] == len(body)

    @pytest.mark.parametrize("coding", CODINGS + ["raw-deflate", "x-gzip"])
    def test_infected_is_seen(self, ask, coding):
        body = compressed(coding.removeprefix("x-"), EICAR)
        reply, record = ask("RESPMOD", "inspect", body, http=encoded(coding.removeprefix("raw-"), body))
        assert_blocked(reply, record)

    @pytest.mark.parametrize("outer", CODINGS)
    @pytest.mark.parametrize("inner", CODINGS)
    def test_nested(self, ask, inner, outer):
        body = compressed(outer, compressed(inner, EICAR))
        reply, record = ask("RESPMOD", "inspect", body, http=encoded(f"{inner}, {outer}", body))
        assert_blocked(reply, record)

    @pytest.mark.parametrize("compress, coding", [(gzip.compress, "gzip"), (zlib.compress, "deflate"), (zstd, "zstd")],
                             ids=["gzip", "deflate", "zstd"])
    def test_what_shrinks(self, ask, compress, coding):
        clean = b"PK\x03\x04" + b"all work and no play " * 5000
        for body, infected in ((compress(clean), False), (compress(clean + EICAR), True)):
            assert len(body) < 2000
            reply, record = ask("RESPMOD", "inspect", body, http=encoded(coding, body))
            (assert_blocked if infected else lambda *a: assert_passed(*a, body))(reply, record)

    def test_two_fields_are_one_list(self, ask):
        body = gzip.compress(zlib.compress(EICAR))
        http = encoded("deflate", body, [b"Content-Encoding: gzip"])
        reply, record = ask("RESPMOD", "inspect", body, http=http)
        assert record["action"] == "block", record  # infected, or refused for its two fields

    def test_uploads_too(self, ask):
        body = gzip.compress(EICAR)
        reply, record = ask("REQMOD", "inspect", body,
                            http=upload("application/octet-stream", body, [b"Content-Encoding: gzip"]))
        assert_blocked(reply, record)

    NOT_INSPECTED = [
        ("unknown", "sdch", b"anything"),
        ("lzma", "xz", lzma.compress(EICAR)),
        ("too deep", "gzip, gzip, gzip", gzip.compress(gzip.compress(gzip.compress(EICAR)))),
        ("cut off", "gzip", gzip.compress(samples.noise(5000))[:-20]),
        ("damaged", "gzip", gzip.compress(bytes(5000))[:20] + b"\xff" * 30),
        ("not compressed at all", "gzip", b"<html>plain</html>"),
        ("followed by something", "gzip", gzip.compress(b"clean") + EICAR),
        ("empty list element", "gzip, , br", b"x"),
    ]

    @pytest.mark.parametrize("what,coding,body", NOT_INSPECTED, ids=[row[0] for row in NOT_INSPECTED])
    def test_what_cannot_be_undone_is_not_clean(self, ask, what, coding, body):
        reply, record = ask("RESPMOD", "inspect", body, http=encoded(coding, body))
        assert reply.http_status() == 403
        assert record["cause"] in ("not-inspected", "infected"), (what, record)
        assert record["error_text"] or record["cause"] == "infected"


class TestBombs:
    def test_gzip(self, ask):
        body = gzip.compress(bytes(300 << 20))
        reply, record = ask("RESPMOD", "inspect", body, http=encoded("gzip", body))
        assert_blocked(reply, record, "not-inspected")
        assert "more than" in record["error_text"], record

    # 8 MiB of zeros in 14 bytes.
    BROTLI_BOMB = b"\x9f\xff\xff\x7f\xf8\x27\x00\xe2\xb1\x40\x20\xf7\xfe\x0f"

    @pytest.mark.parametrize("coding", ["deflate", "br", "zstd"])
    def test_other_codings(self, ask, coding):
        body = {"deflate": lambda: zlib.compress(bytes(300 << 20)), "br": lambda: self.BROTLI_BOMB,
                "zstd": lambda: zstd(bytes(300 << 20))}[coding]()
        reply, record = ask("RESPMOD", "inspect", body, http=encoded(coding, body))
        assert_blocked(reply, record, "not-inspected")
        assert "more than" in record["error_text"], record

    def test_nested_gzip(self, ask):
        body = gzip.compress(gzip.compress(bytes(300 << 20)))
        reply, record = ask("RESPMOD", "inspect", body, http=encoded("gzip, gzip", body))
        assert_blocked(reply, record, "not-inspected")

    def test_the_gateway_goes_on(self, ask, sallyport):
        pid = sallyport.gateway_pid()
        self.test_gzip(ask)
        assert sallyport.gateway_pid() == pid
        reply, record = ask("RESPMOD", "inspect", b"clean")
        assert_passed(reply, record, b"clean")


class TestForms:
    def test_a_clean_form(self, ask):
        kind, body = form([("name", None, None, b"Bob"), ("file", "a.txt", "text/plain", b"hello")])
        reply, record = ask("REQMOD", "inspect", body, http=upload(kind, body))
        assert_passed(reply, record, body)
        assert record["objects"] == 2

    @pytest.mark.parametrize("at", [0, 1, 2])
    def test_a_block_names_the_part(self, ask, at):
        parts = [(f"field{i}", f"file{i}.bin", "application/octet-stream", b"clean") for i in range(3)]
        parts[at] = (f"field{at}", f"file{at}.bin", "application/octet-stream", EICAR)
        kind, body = form(parts)
        reply, record = ask("REQMOD", "inspect", body, http=upload(kind, body))
        assert_blocked(reply, record)
        wheres = [f.get("where", "") for f in record["findings"]]
        assert any(f"part {at + 1}" in w and f"file{at}.bin" in w for w in wheres), wheres
        assert f"file{at}.bin".encode() in reply.body

    @pytest.mark.parametrize("service", ["files", "ruled"])
    def test_a_thousand_parts_and_a_policy(self, ask, service):
        """Types, or rules, held against each part."""
        parts = [(f"f{i}", f"{i}.txt", "text/plain", b"part %d" % i) for i in range(1000)]
        kind, body = form(parts)
        assert_passed(*ask("REQMOD", service, body, http=upload(kind, body)), body)

    def test_a_compressed_form(self, ask):
        kind, body = form([("f", "a.bin", None, EICAR)])
        body = gzip.compress(body)
        reply, record = ask("REQMOD", "inspect", body, http=upload(kind, body, [b"Content-Encoding: gzip"]))
        assert_blocked(reply, record)

    def test_ten_thousand_parts(self, ask):
        parts = [(f"f{i}", f"{i}.txt", "text/plain", b"part %d" % i) for i in range(10000)]
        kind, body = form(parts)
        reply, record = ask("REQMOD", "inspect", body, http=upload(kind, body))
        assert_passed(reply, record, body)
        assert record["objects"] == 10000
        parts[9999] = ("last", "last.txt", "text/plain", EICAR)
        kind, body = form(parts)
        reply, record = ask("REQMOD", "inspect", body, http=upload(kind, body))
        assert_blocked(reply, record)
        assert any("part 10000" in f.get("where", "") for f in record["findings"]), record

    def test_more_parts_than_are_allowed(self, ask):
        kind, body = form([("f", "a", None, b"x")] * 10001)
        reply, record = ask("REQMOD", "inspect", body, http=upload(kind, body))
        assert_blocked(reply, record, "not-inspected")

    BROKEN = [
        ("no boundary", "multipart/form-data", b"--x\r\n\r\nhello\r\n--x--\r\n"),
        ("another boundary", "multipart/form-data; boundary=y", b"--x\r\n\r\nhello\r\n--x--\r\n"),
        ("no end", "multipart/form-data; boundary=x", b"--x\r\nContent-Disposition: form-data; name=a\r\n\r\nhello\r\n"),
        ("bare line feeds", "multipart/form-data; boundary=x",
         b"--x\nContent-Disposition: form-data; name=a\n\nhello\n--x--\n"),
        ("something behind the end", "multipart/form-data; boundary=x",
         b"--x\r\nContent-Disposition: form-data; name=a\r\n\r\nhello\r\n--x--\r\nhello"),
        ("a second boundary in another name", "multipart/form-data; xboundary=y; boundary=x",
         b"--x\r\nContent-Disposition: form-data; name=a\r\n\r\nhello\r\n--x--\r\n"),
        ("two file names", "multipart/form-data; boundary=x",
         b"--x\r\nContent-Disposition: form-data; name=a; filename=\"a.php\"; filename*=utf-8''a.txt\r\n\r\nhello\r\n--x--\r\n"),
        ("a file name in single quotes", "multipart/form-data; boundary=x",
         b"--x\r\nContent-Disposition: form-data; name=a; filename='a.php'\r\n\r\nhello\r\n--x--\r\n"),
        ("a coding of its own", "multipart/form-data; boundary=x",
         b"--x\r\nContent-Disposition: form-data; name=a; filename=a\r\n"
         b"Content-Transfer-Encoding: base64\r\n\r\nWDVPIVAl\r\n--x--\r\n"),
    ]

    @pytest.mark.parametrize("what,kind,body", BROKEN, ids=[row[0] for row in BROKEN])
    def test_a_form_that_can_be_read_in_two_ways_is_not_clean(self, ask, what, kind, body):
        reply, record = ask("REQMOD", "inspect", body, http=upload(kind, body))
        assert reply.http_status() == 403, what
        assert record["cause"] == "not-inspected", record


NAMES = [
    ("percent nul", b"a.exe%00.txt"), ("percent path", b"..%2f..%2fetc%2fpasswd"), ("rtl", "invoice‮fdp.exe".encode()),
    ("long", b"a" * 2000 + b".pdf"), ("spaces", b"report.pdf            .exe"), ("controls", b"a\x01b.txt"),
    ("not utf-8", b"\xff\xfe.doc"), ("quotes", b"a%22b.txt"), ("dots", b"report.pdf..."),
    ("html", b"<script>alert(1)</script>.html"), ("backslash", b"c:\\windows\\x.dll"),
]


class TestNames:
    """In a part of a form, where nobody has looked at them before."""

    @pytest.mark.parametrize("what,name", NAMES, ids=[row[0] for row in NAMES])
    def test_of_a_clean_file(self, ask, what, name):
        kind, body = form([("f", name, "application/octet-stream", b"clean")])
        reply, record = ask("REQMOD", "inspect", body, http=upload(kind, body), fields=["Allow: 204"])
        assert reply.status == 204, what
        json.dumps(record).encode("ascii", "backslashreplace")

    @pytest.mark.parametrize("what,name", NAMES, ids=[row[0] for row in NAMES])
    def test_of_an_infected_file(self, ask, what, name):
        kind, body = form([("f", name, "application/octet-stream", EICAR)])
        reply, record = ask("REQMOD", "inspect", body, http=upload(kind, body))
        assert reply.http_status() == 403, what
        assert record["action"] == "block"
        assert b"<script>" not in reply.body
        assert "‮" not in reply.body.decode()

    def test_nul_in_a_part(self, ask):
        """What it is called depends on who reads it."""
        for content in (b"clean", EICAR):
            kind, body = form([("f", b"report.exe\0.txt", "text/plain", content)])
            reply, record = ask("REQMOD", "inspect", body, http=upload(kind, body))
            assert_blocked(reply, record, "infected" if content == EICAR else "not-inspected")
            assert "NUL" in record["error_text"]

    def test_nul_in_a_head(self, ask):
        for field in (b'Content-Disposition: attachment; filename="report.exe\0.txt"', b"X-Other: a\0b"):
            reply, record = ask("RESPMOD", "inspect", b"clean", http=[
                ("req-hdr", http_request()), ("res-hdr", http_response(5, fields=[field]))])
            assert reply.status == 400 and not reply.heads
            assert "verdict" not in record and "NUL" in record["error_text"], record

    @pytest.mark.parametrize("path, expected", [
        (b"/a.exe%00.txt", "a.exe?.txt"), (b"/..%2f..%2fetc%2fpasswd", "passwd"), (b"/%e2%80%aefdp.exe", "?fdp.exe"),
        (b"/%ff%fe.exe", "??.exe"), (b"/" + b"a" * 3000 + b".exe", None), (b"/x.exe?y.pdf", "x.exe"),
        (b"/c%3a%5cwindows%5cx.dll", "x.dll")])
    def test_in_a_url(self, ask, path, expected):
        """The record's name is one to print, and keeps the ending."""
        for body in (b"clean", EICAR):
            reply, record = ask("RESPMOD", "inspect", body, http=[
                ("req-hdr", http_request(url=b"http://origin.test" + path)), ("res-hdr", http_response(len(body)))])
            if body == EICAR:
                assert_blocked(reply, record)
            else:
                assert_passed(reply, record, body)
            assert record["file"] == expected or not expected and record["file"].endswith("aaa.exe")
            assert len(record["file"]) <= 255

    @pytest.mark.parametrize("disposition,expected", [
        (b'attachment; filename="report.pdf"', "report.pdf"),
        (b"attachment; filename*=UTF-8''%e2%82%ac.txt", "€.txt"),
        (b'attachment; filename="..\\\\..\\\\x.exe"', "x.exe"),
        (b'attachment; filename="=?UTF-8?B?4oKsLnR4dA==?="', "€.txt"),
        (b'attachment; filename="=?iso-8859-1?Q?r=E9sum=E9?= =?us-ascii?Q?=2Epdf?="', "résumé.pdf"),
        (b'attachment; filename="=?koi8-r?B?xQ==?="', "=?koi8-r?B?xQ==?="),
    ])
    def test_content_disposition(self, ask, disposition, expected):
        http = [("req-hdr", http_request()), ("res-hdr", http_response(
            5, fields=[b"Content-Disposition: " + disposition]))]
        _, record = ask("RESPMOD", "inspect", b"clean", http=http)
        assert record["file"] == expected


EXE = b"MZ" + bytes(58) + struct.pack("<I", 64) + b"PE\0\0\x4c\x01\x01\0" + bytes(400)
PNG = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sIIBBBBB", 13, b"IHDR", 1, 1, 8, 2, 0, 0, 0) + bytes(40)


def download(body, kind=b"application/octet-stream", url=b"http://origin.test/file.bin"):
    head = b"HTTP/1.1 200 OK\r\nContent-Type: " + kind + b"\r\nContent-Length: %d\r\n\r\n" % len(body)
    return [("req-hdr", http_request(url=url)), ("res-hdr", head)]


class TestTypes:
    def test_a_program_is_denied(self, ask):
        reply, record = ask("RESPMOD", "files", EXE, http=download(EXE))
        assert_blocked(reply, record, "denied")
        assert "x-dosexec" in record["sniffed"] or "executable" in record["sniffed"]

    def test_a_program_that_calls_itself_a_picture(self, ask):
        reply, record = ask("RESPMOD", "files", EXE, http=download(EXE, b"image/png", b"http://a.test/cat.png"))
        # A rule of ours calls it disguised, which is graver than the policy's word.
        assert_blocked(reply, record, "infected")

    def test_an_extension_is_denied(self, ask):
        reply, record = ask("RESPMOD", "files", b"harmless", http=download(
            b"harmless", url=b"http://a.test/saver.SCR?x=1"))
        assert_blocked(reply, record, "denied")

    @pytest.mark.parametrize("word, finding", [
        (b"=?UTF-8?Q?saver=2Escr?=", "Type.Denied.scr"),
        (b"=?utf-8?B?c2F2ZXIuU0NS?=", "Type.Denied.scr"),
        (b"=?utf-16?B?cwBhAHYAZQByAC4AcwBjAHIA?=", "Type.Denied.unknown-name"),
        (b"=?utf-8?B?c2F2ZXIuU0NS", "Type.Denied.unknown-name"),
    ])
    def test_an_extension_in_encoded_words(self, ask, word, finding):
        """RFC 2047, as mail has it: browsers undo it in file names."""
        head = http_response(8, fields=[b'Content-Disposition: attachment; filename="' + word + b'"'])
        reply, record = ask("RESPMOD", "files", b"harmless", http=[("req-hdr", http_request()), ("res-hdr", head)])
        assert_blocked(reply, record, "denied")
        assert finding in [f["name"] for f in record["findings"]], record

    def test_a_part_with_a_name_in_encoded_words(self, ask):
        """No browser sends one; some servers undo it."""
        kind, body = form([("f", "=?UTF-8?Q?saver=2Escr?=", "text/plain", b"harmless")])
        reply, record = ask("REQMOD", "files", body, http=upload(kind, body))
        assert_blocked(reply, record, record["cause"])
        assert "not-inspected" in record.get("causes", [record["cause"]])
        assert "encoded words" in record["error_text"]

    @pytest.mark.parametrize("kind, name, body, passes", [
        (b"image/png", b"cat.png", PNG, True), (b"text/plain", b"a.txt", b"hello, world\n", True),
        (b"application/pdf", b"a.pdf", b"%PDF-1.4\n1 0 obj\n", False), (b"application/octet-stream", b"a.bin", EXE, False)])
    def test_others_than_the_allowed_ones(self, ask, kind, name, body, passes):
        reply, record = ask("RESPMOD", "few", body, http=download(body, kind, b"http://a.test/" + name))
        if passes:
            assert_passed(reply, record, body)
        else:
            assert_blocked(reply, record, "denied")
            assert record["findings"][0]["name"].startswith("Type.NotAllowed."), record

    def test_a_picture_passes(self, ask):
        reply, record = ask("RESPMOD", "files", PNG, http=download(PNG, b"image/png", b"http://a.test/cat.png"))
        assert_passed(reply, record, PNG)
        assert record["sniffed"] == "image/png" and record["type"] == "image/png" and record["file"] == "cat.png"

    def test_an_archive_that_calls_itself_a_picture(self, ask):
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as z:
            z.writestr("a.txt", "hello")
        body = archive.getvalue()
        reply, record = ask("RESPMOD", "files", body, http=download(body, b"image/png", b"http://a.test/cat.png"))
        assert_blocked(reply, record, "denied")
        assert record["findings"][0]["name"].startswith("Type.Mismatch"), record

    def test_in_a_form(self, ask):
        kind, body = form([("note", None, None, b"see attachment"), ("f", "cat.png", "image/png", EXE)])
        reply, record = ask("REQMOD", "files", body, http=upload(kind, body))
        assert_blocked(reply, record, record["cause"])
        assert any("part 2" in f.get("where", "") for f in record["findings"]), record


def ranged(extra=()):
    return [("req-hdr", http_request(fields=[b"Range: bytes=0-99", b"If-Range: \"x\"", b"X-Kept: yes", *extra]))]


def fragment(body):
    return [("req-hdr", http_request(fields=[b"Range: bytes=0-99"])),
            ("res-hdr", http_response(len(body), b"206 Partial Content", [b"Content-Range: bytes 0-99/1000"]))]


class TestRanges:
    def test_the_range_is_taken_off(self, ask):
        reply, record = ask("REQMOD", "inspect", http=ranged(), fields=["Allow: 204"])
        assert reply.status == 200
        head = reply.heads["req-hdr"]
        assert b"Range" not in head and b"X-Kept: yes" in head and head.startswith(b"GET http://origin.test/file.bin")
        assert record["action"] == "pass"

    @pytest.mark.parametrize("line", [b"Range: bytes=0-99", b"Request-Range: bytes=0-99"])
    def test_also_with_a_body_that_means_nothing(self, ask, line):
        head = http_request(fields=[line, b"X-Kept: yes"])
        for body in (b"x", None):
            reply, _ = ask("REQMOD", "inspect", body, http=[("req-hdr", head)], fields=["Allow: 204"])
            assert reply.status == 200 and b"Range" not in reply.heads["req-hdr"] and b"X-Kept: yes" in reply.heads["req-hdr"]
            assert reply.body == body
            reply, record = ask("REQMOD", "ranges-block", body, http=[("req-hdr", head)])
            assert_blocked(reply, record, "denied")

    def test_of_another_method_means_nothing(self, ask):
        head = http_request(b"POST", fields=[b"Range: bytes=0-99"])
        reply, _ = ask("REQMOD", "ranges-block", b"x", http=[("req-hdr", head)], fields=["Allow: 204"])
        assert reply.status == 204

    @pytest.mark.parametrize("line", [b"Range : bytes=0-99", b"Content-Range : bytes 0-99/1000", b"Request-Range\t: bytes=0-99"])
    def test_one_that_only_some_would_read_is_refused(self, ask, line):
        reply, _ = ask("REQMOD", "inspect", http=[("req-hdr", http_request(fields=[line]))], fields=["Allow: 204"])
        assert reply.status == 400

    def test_other_requests_are_left_alone(self, ask):
        reply, _ = ask("REQMOD", "inspect", fields=["Allow: 204"])
        assert reply.status == 204

    def test_a_fragment_is_never_clean(self, ask):
        reply, record = ask("RESPMOD", "inspect", b"x" * 100, http=fragment(b"x" * 100))
        assert_blocked(reply, record, "not-inspected")

    def test_block(self, ask):
        reply, record = ask("REQMOD", "ranges-block", http=ranged())
        assert_blocked(reply, record, "denied")
        reply, record = ask("RESPMOD", "ranges-block", b"x" * 100, http=fragment(b"x" * 100))
        assert_blocked(reply, record, "denied")

    def test_pass_is_recorded(self, ask):
        reply, record = ask("REQMOD", "ranges-pass", http=ranged(), fields=["Allow: 204"])
        assert reply.status == 204
        reply, record = ask("RESPMOD", "ranges-pass", b"x" * 100, http=fragment(b"x" * 100))
        assert reply.status == 200 and reply.body == b"x" * 100
        assert (record["verdict"], record["action"]) == ("not-inspected", "pass"), record
        assert "fragment" in record["error_text"]


def to(host, path="/file.bin", method=b"GET", fields=()):
    return http_request(method, f"http://{host}{path}".encode(), fields)


class TestRules:
    def asks(self, ask, body, host="origin.test", path="/file.bin", kind=b"application/octet-stream", icap=()):
        head = b"HTTP/1.1 200 OK\r\nContent-Type: " + kind + b"\r\n\r\n"
        return ask("RESPMOD", "ruled", body, http=[("req-hdr", to(host, path)), ("res-hdr", head)], fields=list(icap))

    def test_allow_by_client_and_host(self, ask):
        reply, record = self.asks(ask, EICAR, "www.partner.example", icap=["X-Client-IP: 192.0.2.9"])
        assert reply.body == EICAR
        assert (record["rule"], record["verdict"], record["action"]) == ("partners", "not-inspected", "pass")
        for host, client in (("www.partner.example", "198.51.100.1"), ("partner.example.evil", "192.0.2.9")):
            assert_blocked(*self.asks(ask, EICAR, host, icap=[f"X-Client-IP: {client}"]))

    def test_block_by_name_says_why(self, ask):
        reply, record = self.asks(ask, b"dir", path="/a/b/run.PS1?x=y")
        assert_blocked(reply, record, "denied")
        assert record["rule"] == "no-scripts"
        assert b"Scripts are not sent by web here." in reply.body

    def test_allow_by_digest(self, ask):
        reply, record = self.asks(ask, EICAR + b" \r\n")
        assert reply.body == EICAR + b" \r\n"
        assert (record["rule"], record["verdict"]) == ("known-good", "block"), record

    def test_allow_by_signature_and_user(self, ask):
        reply, record = self.asks(ask, EICAR, icap=["X-Authenticated-User: TG9jYWw6Ly90ZXN0ZXI="])
        assert reply.body == EICAR and record["rule"] == "test-file" and record["user"] == "tester", record
        assert_blocked(*self.asks(ask, EICAR, icap=["X-Authenticated-User: bob"]))

    def test_note_only(self, ask):
        reply, record = self.asks(ask, PNG, kind=b"image/png")
        assert reply.body == PNG
        assert any(f["engine"] == "rule" and f["name"] == "look" and f["note"] for f in record["findings"]), record

    def test_block_by_size_and_host(self, ask):
        assert_blocked(*self.asks(ask, samples.noise(200000), "small.example"), "denied")
        reply, record = self.asks(ask, samples.noise(200000), "large.example")
        assert_passed(reply, record, samples.noise(200000))

    def test_allow_and_block_by_type(self, ask):
        """What it is, not what it says it is."""
        reply, record = self.asks(ask, PNG, "pictures.example", kind=b"image/png")
        assert_passed(reply, record, PNG)
        assert record["rule"] == "pictures"
        reply, record = self.asks(ask, EICAR, "pictures.example", kind=b"image/png")
        assert_blocked(reply, record)
        assert "rule" not in record
        reply, record = self.asks(ask, EXE, "no-programs.example")
        assert_blocked(reply, record, "denied")
        assert record["rule"] == "programs"

    def test_another_pipeline(self, ask):
        """Who is let go by other engines is not asked about by the service's; by none is not inspected."""
        reply, record = self.asks(ask, EICAR, "www.types.example")
        assert_passed(reply, record, EICAR)
        assert record["rule"] == "types-alone" and record["sniffed"] == "text/plain"
        reply, record = self.asks(ask, b"clean", "trusted.example")
        assert_blocked(reply, record, "not-inspected")
        assert record["rule"] == "nothing-at-all"

    @pytest.mark.parametrize("host,path,blocked", [
        ("bad.example", "/", True), ("BAD.example.", "/x", True), ("www.bad.example", "/", False),
        ("www.evil.example", "/", True), ("evil.example", "/", True), ("notevil.example", "/", False),
        ("origin.test", "/secret/plan?x", True), ("origin.test", "/%73ecret", True), ("origin.test", "/public", False),
        ("cdn7.example", "/a", True), ("cdnx.example", "/a", False)])
    def test_url_lists(self, ask, host, path, blocked):
        reply, record = ask("REQMOD", "ruled", http=[("req-hdr", to(host, path))], fields=["Allow: 204"])
        if blocked:
            assert_blocked(reply, record, "denied")
            assert record["findings"][0]["engine"] == "url" and record["findings"][0]["name"] == "bad"
        else:
            assert reply.status == 204


    def test_connect_goes_where_its_target_says(self, ask):
        head = b"CONNECT bad.example:443 HTTP/1.1\r\nHost: good.example\r\n\r\n"
        reply, record = ask("REQMOD", "ruled", http=[("req-hdr", head)], fields=["Allow: 204"])
        assert_blocked(reply, record, "denied")
        assert record["url_host"] == "bad.example"

    @pytest.mark.parametrize("head", [b"CONNECT :443 HTTP/1.1\r\nHost: good.example\r\n\r\n",
                                      b"GET /x HTTP/1.0\r\n\r\n"])
    def test_a_request_without_host_is_on_no_list_and_not_clean(self, ask, head):
        reply, record = ask("REQMOD", "ruled", http=[("req-hdr", head)], fields=["Allow: 204"])
        assert_blocked(reply, record, "not-inspected")

    def test_an_allowed_name_does_not_cover_parts_that_nobody_knows(self, ask):
        """A form that cannot be split, at a URL that ends like a name that is allowed."""
        body = b"--x\r\nbroken"
        reply, record = ask("REQMOD", "ruled", body, http=upload(
            "multipart/form-data; boundary=x", body, url=b"http://origin.test/notes.allowed"))
        assert_blocked(reply, record, "not-inspected")


class TestNoBody:
    """HEAD, 304, 1xx and CONNECT: what their fields say of a body is about none that comes."""

    CONNECT = b"CONNECT origin.test:443 HTTP/1.1\r\nHost: origin.test:443\r\n\r\n"
    HEADS = {
        "head": (http_request(b"HEAD"), b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\nContent-Encoding: gzip\r\n\r\n"),
        "not-modified": (http_request(), b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nETag: \"x\"\r\n\r\n"),
        "early-hints": (http_request(), b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n"),
        "connect": (CONNECT, b"HTTP/1.1 200 Connection established\r\n\r\n"),
    }

    @pytest.mark.parametrize("name", HEADS)
    def test_of_a_response(self, ask, name):
        asked, answered = self.HEADS[name]
        for fields, status in ((["Allow: 204"], 204), ([], 200)):
            reply, record = ask("RESPMOD", "inspect", http=[("req-hdr", asked), ("res-hdr", answered)], fields=fields)
            assert reply.status == status and reply.body is None
            assert status == 204 or reply.heads == {"res-hdr": answered}
            assert (record["verdict"], record["action"]) == ("pass", "pass")

    def test_of_a_request(self, ask):
        assert ask("REQMOD", "inspect", http=[("req-hdr", self.CONNECT)], fields=["Allow: 204"])[0].status == 204
        reply, _ = ask("REQMOD", "inspect", http=[("req-hdr", self.CONNECT)])
        assert reply.status == 200 and reply.body is None and reply.heads == {"req-hdr": self.CONNECT}


class TestLiveLists:
    def test_a_changed_list_counts(self, ask, sallyport):
        way = Way(sallyport, "clear")
        assert ask("REQMOD", "ruled", http=[("req-hdr", to("new.example"))], fields=["Allow: 204"])[0].status == 204
        old = way.options("ruled").field("ISTag")
        sallyport.hosts.write_text(sallyport.hosts.read_text() + "new.example\n")
        wait.until(lambda: way.options("ruled").field("ISTag") != old, "another ISTag", 30)
        assert_blocked(*ask("REQMOD", "ruled", http=[("req-hdr", to("new.example"))]), "denied")

    def test_a_broken_list_changes_nothing(self, ask, sallyport):
        way = Way(sallyport, "clear")
        old = way.options("ruled").field("ISTag")
        sallyport.hosts.write_text("bad.example\n~(\n")
        wait.until(lambda: "hosts.txt:2" in sallyport.log(), "a complaint in the log", 30)
        assert way.options("ruled").field("ISTag") == old
        assert_blocked(*ask("REQMOD", "ruled", http=[("req-hdr", to("www.evil.example"))]), "denied")


class TestCache:
    def test_a_file_that_was_seen_before(self, ask):
        body = samples.noise(50000, seed=77)
        assert "cached" not in ask("RESPMOD", "inspect", body)[1]
        reply, record = ask("RESPMOD", "inspect", body)
        assert_passed(reply, record, body)
        assert record["cached"] is True
        assert "cached" not in ask("RESPMOD", "files", body)[1]  # other engines, another verdict

    def test_infected_ones_as_well(self, ask):
        body = EICAR + b" " * random.randrange(1, 60)
        assert_blocked(*ask("RESPMOD", "inspect", body))
        reply, record = ask("RESPMOD", "inspect", body)
        assert_blocked(reply, record)
        assert record["cached"] is True and record["findings"]
        assert io.BytesIO(reply.body).read(9) == b"<!DOCTYPE"
