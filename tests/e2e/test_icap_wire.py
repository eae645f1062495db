# SPDX-License-Identifier: Apache-2.0
"""The ICAP server byte for byte: RFC 3507 with its errata, as a client writes and reads it. All of it
over icap:// and over icaps://."""
import hashlib
import itertools
import re
import select
import socket
import ssl

import pytest

from testenv import IcapConnection, Sallyport, chunked, samples
from testenv.icap import body_head, chunks, echo_digest, encapsulate, http_request, http_response, request

SERVICES = """\
  - {name: resp-cdr, type: inspect, path: /resp-cdr-service, aliases: [/avscan, /srv_clamav], methods: [RESPMOD]}
  - {name: req-cdr, type: inspect, path: /req-cdr-service, methods: [REQMOD]}
  - {name: banner, type: echo, path: /banner}
  - {name: previews, type: inspect, path: /previews, preview: 1k}
  - {name: small, type: inspect, path: /small, body-max: 64k}
"""
ISTAG = re.compile(r'"[0-9a-f]{24}"')
NO_SERVICE = '"sallyport"'  # ISTag of answers that belong to no service


@pytest.fixture(scope="module")
def sallyport(tmp_path_factory, certificates):
    with Sallyport(tmp_path_factory.mktemp("sallyport"), tls=certificates.server, services=SERVICES,
                   more="icap: {discard: 64m}\n") as gateway:
        yield gateway


@pytest.fixture
def connection(way):
    """One connection; whatever a test did, nothing may be left on it that belongs to no answer."""
    with way.connect() as c:
        yield c
        c.expect_silence()


def wire(text):
    """Bytes of a message that is written here as lines: every line ends in CR LF."""
    return text.replace("\n", "\r\n").encode("latin-1")


def options(connection, url, fields=()):
    connection.send(request("OPTIONS", url, http=[], encapsulated="", fields=fields))
    return connection.read_reply("OPTIONS")


def expect_alive(connection, way):
    """The connection is in step: the next request is answered."""
    assert options(connection, way.url("echo")).status == 200


def expect_refused(connection, status):
    """A complete error answer that announces the end, then the end, without a reset."""
    reply = connection.read_reply("OPTIONS")
    assert reply.status == status
    assert reply.field("Connection") == "close"
    assert reply.field("Encapsulated") == "null-body=0"
    assert reply.body is None
    connection.expect_closed()
    return reply


class TestByteExamples:
    """Messages with offsets that were computed by hand, as clients of the field send them."""

    def test_options(self, connection):
        connection.send(wire("OPTIONS icaps://gw.example.org/resp-cdr-service ICAP/1.0\nHost: gw.example.org:11344\n"
                             "Allow: 204, 206, trailers\nAuthorization: Basic YWNtZTpzM2NyZXQ=\n\n"))
        reply = connection.read_reply("OPTIONS")
        assert reply.status == 200
        assert reply.field("Methods") == "RESPMOD"
        assert reply.field("Allow") == "204, 206, trailers"
        assert reply.field("Encapsulated") == "null-body=0"

    def test_reqmod_without_a_body(self, connection, way):
        """Preview: 0 and null-body: no chunk is sent, none is waited for."""
        connection.send(wire("REQMOD icaps://gw.example.org/req-cdr-service ICAP/1.0\nHost: gw.example.org:11344\n"
                             "Preview: 0\nAllow: 204\nEncapsulated: req-hdr=0, null-body=48\n\n"
                             "GET /a.pdf HTTP/1.1\nHost: files.example.net\n\n"))
        reply = connection.read_reply("REQMOD")
        assert (reply.status, reply.reason) == (204, "No Content")
        assert reply.field("Connection") == "keep-alive"
        expect_alive(connection, way)

    def test_preview_then_the_rest(self, connection, way):
        connection.send(wire("RESPMOD icaps://gw.example.org/resp-cdr-service ICAP/1.0\nHost: gw.example.org:11344\n"
                             "Preview: 8\nAllow: 204\nEncapsulated: req-hdr=0, res-hdr=48, res-body=113\n\n"
                             "GET /n.txt HTTP/1.1\nHost: files.example.net\n\n"
                             "HTTP/1.1 200 OK\nContent-Type: text/plain\nContent-Length: 20\n\n"
                             "8\nabcdefgh\n0\n\n"))
        connection.expect_continue()
        connection.send(wire("c\nijklmnopqrst\n0\n\n"))
        assert connection.read_reply("RESPMOD").status == 204
        expect_alive(connection, way)

    def test_body_within_the_preview(self, connection, way):
        """ieof: 204 at once, and never 100."""
        connection.send(wire("RESPMOD icaps://gw.example.org/resp-cdr-service ICAP/1.0\nHost: gw.example.org:11344\n"
                             "Preview: 1024\nEncapsulated: res-hdr=0, res-body=45\n\n"
                             "HTTP/1.1 200 OK\nContent-Type: text/plain\n\n5\nhello\n0; ieof\n\n"))
        assert connection.read_reply("RESPMOD").status == 204
        expect_alive(connection, way)

    def test_partial_content_is_allowed_not_demanded(self, connection, way):
        connection.send(wire("RESPMOD icaps://gw.example.org/banner ICAP/1.0\nHost: gw.example.org:11344\n"
                             "Allow: 204, 206\nEncapsulated: res-hdr=0, res-body=64\n\n"
                             "HTTP/1.1 200 OK\nContent-Type: text/html\nContent-Length: 35\n\n"
                             "23\n<html><body>some text</body></html>\n0\n\n"))
        assert connection.read_reply("RESPMOD").status in (204, 206)
        expect_alive(connection, way)

    def test_upload_satisfied_with_a_block_page(self, connection, way):
        http = (b"POST /up HTTP/1.1\r\nHost: app.example.net\r\nContent-Type: application/octet-stream\r\n"
                b"Content-Length: 68\r\n\r\n")
        assert len(samples.EICAR) == 68 and len(http) == 104
        connection.send(wire("REQMOD icaps://gw.example.org/req-cdr-service ICAP/1.0\nHost: gw.example.org:11344\n"
                             "Allow: 204\nX-Client-IP: 192.0.2.7\nEncapsulated: req-hdr=0, req-body=104\n\n")
                        + http + b"44\r\n" + samples.EICAR + b"\r\n0\r\n\r\n")
        reply = connection.read_reply("REQMOD")
        assert reply.status == 200
        assert [e for e, _ in reply.encapsulated] == ["res-hdr", "res-body"]
        assert reply.http_status() == 403
        assert reply.http_field("Cache-Control") == "no-store"
        assert reply.http_field("Content-Length") == str(len(reply.body))
        assert reply.field("X-Infection-Found") == "Type=0; Resolution=2; Threat=EICAR-Test-File;"
        assert reply.field("X-Virus-ID") == "EICAR-Test-File"
        assert reply.field("X-Response-Info") == "Blocked"
        assert reply.field("X-Response-Desc") == "infected"
        assert reply.field("X-ICAP-Profile") == "req-cdr"
        assert samples.EICAR not in reply.body
        expect_alive(connection, way)

    def test_icap_trailers_only_when_promised(self, connection, way):
        """Allow: trailers does not oblige us; a promise would need both fields."""
        reply = connection.ask("RESPMOD", way.url("echo"), b"ok", fields=["Allow: trailers"])
        assert (reply.field("Trailer") is None) == (reply.icap_trailers == b"")
        assert reply.body == b"ok"
        expect_alive(connection, way)


class TestOptions:
    def test_fields(self, connection, way):
        reply = options(connection, way.url("inspect"))
        assert reply.status == 200
        assert reply.field("Methods") == "REQMOD, RESPMOD"
        assert ISTAG.fullmatch(reply.field("ISTag"))
        assert reply.field("Service")
        assert reply.field("Service-ID") == "inspect"
        assert int(reply.field("Max-Connections")) > 0
        assert int(reply.field("Options-TTL")) >= 60
        assert reply.field("Date").endswith(" GMT")
        assert reply.field("Allow") == "204"
        assert reply.field("Connection") == "keep-alive"
        assert reply.field("Encapsulated") == "null-body=0"
        assert reply.field("X-Request-ID")

    def test_no_preview_by_default(self, connection, way):
        """Squid 5.7 stalls on previews of large responses."""
        reply = options(connection, way.url("inspect"))
        assert reply.field("Preview") is None
        assert not any(n.startswith("Transfer-") for n, _ in reply.fields)

    def test_preview_where_configured(self, connection, way):
        reply = options(connection, way.url("previews"))
        assert reply.field("Preview") == "1024"
        assert reply.field("Transfer-Preview") == "*"

    @pytest.mark.parametrize("asked, told", [
        ([], "204"), (["Allow: 204"], "204"), (["Allow: 206"], "204, 206"), (["Allow: trailers"], "204, trailers"),
        (["Allow: 206", "Allow: trailers"], "204, 206, trailers"), (["Allow: 2060, x206"], "204")])
    def test_allow_tells_what_was_asked(self, connection, way, asked, told):
        assert options(connection, way.url("echo"), asked).field("Allow") == told

    @pytest.mark.parametrize("encapsulated", ["", "null-body=0", "NULL-BODY=0", " null-body=0 "])
    def test_without_a_body(self, connection, way, encapsulated):
        connection.send(request("OPTIONS", way.url("echo"), http=[], encapsulated=encapsulated))
        assert connection.read_reply("OPTIONS").status == 200

    def test_with_a_body(self, connection, way):
        connection.send(request("OPTIONS", way.url("echo"), b"Attribute: x", http=[], encapsulated="opt-body=0"))
        assert connection.read_reply("OPTIONS").status == 200
        expect_alive(connection, way)

    def test_istag_is_one_of_the_service(self, connection, way):
        """The same in every answer of one service, another in those of others."""
        tags = {s: options(connection, way.url(s)).field("ISTag") for s in ("echo", "inspect", "banner")}
        assert len(set(tags.values())) == 3
        for service in ("echo", "inspect"):
            for body in (None, b"x", samples.EICAR):
                assert connection.ask("RESPMOD", way.url(service), body).field("ISTag") == tags[service]

    @pytest.mark.parametrize("path", ["avscan", "srv_clamav", "resp-cdr-service/", "resp-cdr-service//",
                                      "%72esp-cdr-service", "resp-cdr-service?mode=x&lang=y"])
    def test_other_names_of_a_service(self, connection, way, path):
        reply = options(connection, way.url(path))
        assert (reply.status, reply.field("Service-ID")) == (200, "resp-cdr")

    @pytest.mark.parametrize("url", ["icap://other.example/echo", "icaps://[::1]:11344/echo", "ICAP://10.0.0.1:1/echo",
                                     "icap://user:secret@gw/echo"])
    def test_any_name_of_the_host(self, connection, url):
        """Clients send NAT names, literals and ports that are not ours."""
        assert options(connection, url).status == 200


class TestStatus:
    def test_unknown_service(self, connection, way):
        reply = connection.ask("RESPMOD", way.url("nothing"), b"x" * 100_000)
        assert reply.status == 404
        assert reply.field("ISTag") == NO_SERVICE
        assert reply.field("Encapsulated") == "null-body=0"
        expect_alive(connection, way)

    @pytest.mark.parametrize("path", ["Echo", "echo/x", "ech%6", "ech%zz", "echo%00", "echo%0d"])
    def test_paths_that_are_not_it(self, way, path):
        with way.connect() as c:
            assert options(c, way.url(path)).status in (400, 404)

    @pytest.mark.parametrize("method, service", [("REQMOD", "resp-cdr-service"), ("RESPMOD", "req-cdr-service")])
    def test_method_that_the_service_has_not(self, connection, way, method, service):
        """The connection goes on: the body, whose length is known, is read and dropped."""
        length = b"Content-Length: 100000"
        http = [("req-hdr", http_request(b"POST", fields=[length]))]
        http += [("res-hdr", http_response(fields=[length]))] if method == "RESPMOD" else []
        reply = connection.ask(method, way.url(service), b"x" * 100_000, http=http)
        assert reply.status == 405
        assert reply.field("Connection") == "keep-alive"
        expect_alive(connection, way)

    @pytest.mark.parametrize("method", ["LOG", "FILEMOD", "CONNECT", "options", "Reqmod", "X-Y"])
    def test_unknown_method(self, way, method):
        """Before anything else, an unknown service or a missing Encapsulated included."""
        with way.connect() as c:
            c.send(f"{method} {way.url('nothing')} ICAP/1.0\r\nHost: x\r\n\r\n".encode())
            expect_refused(c, 501)

    @pytest.mark.parametrize("version, status", [("ICAP/2.7", 505), ("ICAP/0.9", 505), ("ICAP/1.10", 400),
                                                 ("ICAP/1", 400), ("HTTP/1.1", 400), ("icap/1.0", 400), ("", 400)])
    def test_version(self, way, version, status):
        with way.connect() as c:
            c.send(f"OPTIONS {way.url('echo')} {version}\r\nHost: x\r\n\r\n".encode())
            expect_refused(c, status)

    def test_minor_versions(self, connection, way):
        connection.send(f"OPTIONS {way.url('echo')} ICAP/1.1\r\nHost: x\r\n\r\n".encode())
        assert connection.read_reply("OPTIONS").status == 200

    def test_without_host(self, connection, way):
        """Older rspamd sends none; require-host is off."""
        connection.send(f"OPTIONS {way.url('echo')} ICAP/1.0\r\n\r\n".encode())
        assert connection.read_reply("OPTIONS").status == 200

    @pytest.mark.parametrize("count, answered", [(0, True), (1, True), (4, True), (5, False)])
    def test_empty_lines_before_a_request(self, way, count, answered):
        with way.connect() as c:
            c.send(b"\r\n" * count + f"OPTIONS {way.url('echo')} ICAP/1.0\r\n\r\n".encode())
            if answered:
                assert c.read_reply("OPTIONS").status == 200
            else:
                expect_refused(c, 400)


RESPMOD = "RESPMOD {url} ICAP/1.0\r\nHost: x\r\nEncapsulated: res-hdr=0, res-body=19\r\n"
BAD_REQUESTS = {
    "relative URI": (400, "OPTIONS /echo ICAP/1.0\r\n\r\n"),
    "other scheme": (400, "OPTIONS http://x/echo ICAP/1.0\r\n\r\n"),
    "no host in the URI": (400, "OPTIONS icap:///echo ICAP/1.0\r\n\r\n"),
    "port 65536": (400, "OPTIONS icap://x:65536/echo ICAP/1.0\r\n\r\n"),
    "fragment": (400, "OPTIONS {url}#x ICAP/1.0\r\n\r\n"),
    "long URI": (414, "OPTIONS {url}?" + "x" * 5000 + " ICAP/1.0\r\n\r\n"),
    "long request-line": (414, "OPTIONS {url}?" + "x" * 9000 + " ICAP/1.0\r\n\r\n"),
    "long head": (431, "OPTIONS {url} ICAP/1.0\r\n" + ("X-Long: " + "x" * 1000 + "\r\n") * 70 + "\r\n"),
    "many fields": (431, "OPTIONS {url} ICAP/1.0\r\n" + "X: y\r\n" * 129 + "\r\n"),
    "two spaces": (400, "OPTIONS  {url} ICAP/1.0\r\n\r\n"),
    "space before a colon": (400, "OPTIONS {url} ICAP/1.0\r\nHost : x\r\n\r\n"),
    "no colon": (400, "OPTIONS {url} ICAP/1.0\r\nHost\r\n\r\n"),
    "obs-fold": (400, "OPTIONS {url} ICAP/1.0\r\nHost: x\r\n y\r\n\r\n"),
    "NUL": (400, "OPTIONS {url} ICAP/1.0\r\nHost: x\0\r\n\r\n"),
    "bare CR": (400, "OPTIONS {url} ICAP/1.0\r\nHost: x\ry\r\n\r\n"),
    "bare LF": (400, "OPTIONS {url} ICAP/1.0\nHost: x\n\n"),
    "Preview of words": (400, RESPMOD + "Preview: many\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"),
    "negative Preview": (400, RESPMOD + "Preview: -1\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"),
    "two Previews": (400, RESPMOD + "Preview: 1\r\nPreview: 1\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"),
    "Preview over the limit": (413, RESPMOD + "Preview: 65537\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"),
    "no Encapsulated": (400, "RESPMOD {url} ICAP/1.0\r\nHost: x\r\n\r\n"),
    "HTTP head that is none": (400, "RESPMOD {url} ICAP/1.0\r\nEncapsulated: res-hdr=0, null-body=9\r\n\r\nhello\r\n\r\n"),
}


@pytest.mark.parametrize("name", BAD_REQUESTS)
def test_bad_request(way, name):
    status, text = BAD_REQUESTS[name]
    with way.connect() as c:
        c.send(text.replace("{url}", way.url("echo")).encode())
        assert expect_refused(c, status).field("ISTag") == NO_SERVICE


@pytest.mark.parametrize("preview, sent", [(4, b"5\r\nhello\r\n0\r\n\r\n"), (0, b"1\r\nx\r\n0; ieof\r\n\r\n")])
def test_more_preview_than_announced(way, preview, sent):
    with way.connect() as c:
        c.send(request("RESPMOD", way.url("inspect"), b"", preview=preview)[:-len(b"0; ieof\r\n\r\n")] + sent)
        expect_refused(c, 400)


# ---- limits: each key counts ----

TIGHT = ("icap: {request-line: 128, head: 1k, fields: 8, http-head: 1k, chunk-line: 32, trailer: 64, "
         "chunk-overhead: 4k, preview: 1k, empty-lines: 1, require-host: true}\n")
BODY = "RESPMOD {url} ICAP/1.0\r\nHost: x\r\nEncapsulated: res-hdr=0, res-body=19\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"
# What the tight limit refuses, with the status, and what is just within it. The default takes both.
LIMITS = {
    "request-line": (414, "OPTIONS {url}?" + "x" * 128 + " ICAP/1.0\r\nHost: x\r\n\r\n",
                     "OPTIONS {url}?" + "x" * 40 + " ICAP/1.0\r\nHost: x\r\n\r\n"),
    "head": (431, "OPTIONS {url} ICAP/1.0\r\nHost: x\r\nA: " + "x" * 1024 + "\r\n\r\n",
             "OPTIONS {url} ICAP/1.0\r\nHost: x\r\nA: " + "x" * 900 + "\r\n\r\n"),
    "fields": (431, "OPTIONS {url} ICAP/1.0\r\nHost: x\r\n" + "A: b\r\n" * 8 + "\r\n",
               "OPTIONS {url} ICAP/1.0\r\nHost: x\r\n" + "A: b\r\n" * 7 + "\r\n"),
    "http-head": (431, BODY.replace("19", "1225").replace("OK\r\n\r\n", "OK\r\nA: " + "x" * 1201 + "\r\n\r\n") + "0\r\n\r\n",
                  BODY.replace("19", "924").replace("OK\r\n\r\n", "OK\r\nA: " + "x" * 900 + "\r\n\r\n") + "0\r\n\r\n"),
    "chunk-line": (400, BODY + "1;a=" + "x" * 32 + "\r\nx\r\n0\r\n\r\n", BODY + "1;a=" + "x" * 20 + "\r\nx\r\n0\r\n\r\n"),
    "trailer": (400, BODY + "1\r\nx\r\n0\r\nA: " + "x" * 64 + "\r\n\r\n", BODY + "1\r\nx\r\n0\r\nA: " + "x" * 40 + "\r\n\r\n"),
    "chunk-overhead": (400, BODY + "1\r\nx\r\n" * 5000 + "0\r\n\r\n", BODY + "1\r\nx\r\n" * 500 + "0\r\n\r\n"),
    "preview": (413, BODY.replace("Host", "Preview: 1025\r\nHost") + "0; ieof\r\n\r\n",
                BODY.replace("Host", "Preview: 1024\r\nHost") + "0; ieof\r\n\r\n"),
    "empty-lines": (400, "\r\n\r\nOPTIONS {url} ICAP/1.0\r\nHost: x\r\n\r\n", "\r\nOPTIONS {url} ICAP/1.0\r\nHost: x\r\n\r\n"),
    "require-host": (400, "OPTIONS {url} ICAP/1.0\r\n\r\n", "OPTIONS {url} ICAP/1.0\r\nHost: x\r\n\r\n"),
}


@pytest.fixture(scope="module")
def tight(tmp_path_factory):
    with Sallyport(tmp_path_factory.mktemp("tight"), more=TIGHT) as gateway:
        yield gateway


def answer_to(gateway, text):
    with IcapConnection(gateway.address()) as c:
        c.send(text.replace("{url}", gateway.url("inspect")).encode())
        return c.read_reply(text.lstrip().split(" ")[0]).status


@pytest.mark.parametrize("key", LIMITS)
def test_limit(tight, sallyport, key):
    status, over, within = LIMITS[key]
    assert key in TIGHT
    assert answer_to(tight, over) == status
    assert answer_to(tight, within) in (200, 204)
    assert answer_to(sallyport, over) in (200, 204)


# ---- Encapsulated ----

GET, OK = http_request(), http_response()
POST = http_request(b"POST")
LEGAL = {
    "REQMOD": [[("req-hdr", POST), "req-body"], [("req-hdr", GET), "null-body"], ["req-body"]],
    "RESPMOD": [[("req-hdr", GET), ("res-hdr", OK), "res-body"], [("res-hdr", OK), "res-body"],
                [("req-hdr", GET), "res-body"], ["res-body"], [("req-hdr", GET), ("res-hdr", OK), "null-body"],
                [("res-hdr", OK), "null-body"], [("req-hdr", GET), "null-body"]],
}


def legal_forms():
    for method, forms in LEGAL.items():
        for form in forms:
            names = [p if isinstance(p, str) else p[0] for p in form]
            yield pytest.param(method, form, id=f"{method}-{'+'.join(names)}")


@pytest.mark.parametrize("service", ["echo", "inspect"])
@pytest.mark.parametrize("method, form", legal_forms())
def test_legal_encapsulated(connection, way, method, form, service):
    """Every list that RFC 3507 4.4.1 and erratum E4 allow; what comes back fits the method."""
    *http, body = form
    content = None if body == "null-body" else samples.noise(3000)
    # Erratum E5: a request without its head cannot be handed back, so 204 is the only way to pass it.
    headless = method == "REQMOD" and not http
    if headless:
        assert connection.ask(method, way.url(service), content, http=http).status == 418
    reply = connection.ask(method, way.url(service), content, http=http, fields=["Allow: 204"] if headless else [])
    assert reply.status == (204 if headless else 200)
    assert headless or reply.body == content
    heads = dict(http)
    returned = "req-hdr" if method == "REQMOD" else "res-hdr"
    if returned in heads:
        assert reply.heads[returned] == heads[returned]
    expect_alive(connection, way)


@pytest.mark.parametrize("spelling", ["req-hdr=0, res-hdr=%d, res-body=%d", "req-hdr=0,res-hdr=%d,res-body=%d",
                                      " req-hdr=0 ,\tres-hdr=%d , res-body=%d\t", "REQ-HDR=0, Res-Hdr=%d, RES-BODY=%d",
                                      "req-hdr=000, res-hdr=00%d, res-body=0000000000000000000%d"])
def test_spellings_of_encapsulated(connection, way, spelling):
    http = [("req-hdr", GET), ("res-hdr", OK)]
    value = spelling % (len(GET), len(GET) + len(OK))
    reply = connection.ask("RESPMOD", way.url("echo"), b"content", http=http, encapsulated=value)
    assert (reply.status, reply.body) == (200, b"content")


N = len(OK)
ILLEGAL = [
    ("RESPMOD", ""), ("RESPMOD", "null-body=0"), ("REQMOD", "null-body=0"), ("RESPMOD", "res-hdr=0"),
    ("RESPMOD", f"res-hdr=0, req-body={N}"), ("REQMOD", f"res-hdr=0, req-body={N}"),
    ("REQMOD", f"req-hdr=0, res-body={N}"), ("RESPMOD", f"res-hdr=0, opt-body={N}"),
    ("RESPMOD", f"res-body={N}, res-hdr=0"), ("RESPMOD", f"res-hdr=0, res-body={N}, res-body={N}"),
    ("RESPMOD", f"res-hdr=0, null-body={N}, res-body={N}"), ("RESPMOD", f"res-hdr=0, res-hdr=5, res-body={N}"),
    ("RESPMOD", f"res-hdr=0, req-hdr=5, res-body={N}"), ("RESPMOD", f"res-hdr=5, res-body={N}"),
    ("RESPMOD", f"res-hdr=0, res-body={N} x"), ("RESPMOD", f"res-hdr=0;res-body={N}"),
    ("RESPMOD", f"res-hdr=0, res-body={N},"), ("RESPMOD", f",res-hdr=0, res-body={N}"),
    ("RESPMOD", f"res-hdr=0, , res-body={N}"), ("RESPMOD", f"res-hdr=0, res-body=+{N}"),
    ("RESPMOD", "res-hdr=0, res-body="), ("RESPMOD", "res-hdr, res-body"), ("RESPMOD", f"res-hdr=0, body={N}"),
    ("RESPMOD", f"res-hdr=0, res-body=0x{N:x}"), ("RESPMOD", "res-hdr=0, res-body=0"),
    ("RESPMOD", f"res-hdr =0, res-body={N}"), ("RESPMOD", f"res-hdr=0, res-body= {N}"),
    ("OPTIONS", "res-body=0"), ("OPTIONS", "req-hdr=0, null-body=5"),
]


@pytest.mark.parametrize("method, value", ILLEGAL)
def test_illegal_encapsulated(way, method, value):
    with way.connect() as c:
        c.send(f"{method} {way.url('echo')} ICAP/1.0\r\nHost: x\r\nEncapsulated: {value}\r\n\r\n".encode() + OK
               + chunked(b"content"))
        expect_refused(c, 400)


def test_two_encapsulated(way):
    with way.connect() as c:
        c.send(request("RESPMOD", way.url("echo"), b"x", http=[("res-hdr", OK)],
                       fields=[f"Encapsulated: res-hdr=0, res-body={N}"]))
        expect_refused(c, 400)


# ---- previews ----

ALLOWS = {"none": [], "204": ["Allow: 204"], "206": ["Allow: 206"], "both": ["Allow: 204, 206"]}


def expected(service, size, preview, allow):
    """(is a 100 sent, the final status) for a clean body, RFC 3507 4.5 and 4.6."""
    if preview is None:
        return False, 204 if allow in ("204", "both") else 200
    fits = size is None or size <= preview
    if fits or service == "echo":  # decided in the preview: 204 is always legal there
        return False, 204
    return True, 204 if allow in ("204", "both") else 200


class TestPreview:
    """Every row of the matrix: service, method, size, preview, Allow."""

    @pytest.mark.parametrize("allow", ALLOWS)
    @pytest.mark.parametrize("preview", [None, 0, 1, 1024, 4096, 65536])
    @pytest.mark.parametrize("service", ["echo", "inspect", "previews"])
    @pytest.mark.parametrize("method", ["REQMOD", "RESPMOD"])
    def test_matrix(self, connection, way, method, service, preview, allow):
        for size in (None, 0, 1, 1023, 1024, 1025, 70_000):
            body = None if size is None else samples.noise(size)
            connection.send(request(method, way.url(service), body, fields=ALLOWS[allow], preview=preview))
            goes_on, status = expected(service, size, preview, allow)
            if goes_on:
                connection.expect_continue()
                connection.send(chunked(body[preview:]))
            reply = connection.read_reply(method)
            assert reply.status == status, f"{size} bytes"
            if status == 200:
                assert reply.body == body
            connection.expect_silence()
        expect_alive(connection, way)

    @pytest.mark.parametrize("preview", [0, 10, 68, 1024])
    @pytest.mark.parametrize("method", ["REQMOD", "RESPMOD"])
    def test_infected(self, connection, way, method, preview):
        reply = connection.ask(method, way.url("inspect"), samples.EICAR, preview=preview)
        assert (reply.status, reply.http_status()) == (200, 403)
        expect_alive(connection, way)

    @pytest.mark.parametrize("last", ["0; ieof", "0;ieof", "0 ; ieof", "0; IEOF", "000;ieof", "0;x=y;ieof",
                                      '0; x="a;ieof\\""; ieof'])
    def test_spellings_of_ieof(self, connection, way, last):
        head = request("RESPMOD", way.url("inspect"), b"", preview=100)[:-len(b"0; ieof\r\n\r\n")]
        connection.send(head + b"5\r\nhello\r\n" + last.encode() + b"\r\n\r\n")
        assert connection.read_reply("RESPMOD").status == 204
        expect_alive(connection, way)

    @pytest.mark.parametrize("last", ["0; ieof=1", "0; xieof", '0; x="; ieof"', "0; ieo"])
    def test_what_is_not_ieof(self, connection, way, last):
        head = request("RESPMOD", way.url("inspect"), b"", preview=100)[:-len(b"0; ieof\r\n\r\n")]
        connection.send(head + b"5\r\nhello\r\n" + last.encode() + b"\r\n\r\n")
        connection.expect_continue()
        connection.send(chunked(b" there"))
        assert connection.read_reply("RESPMOD").body == b"hello there"

    def test_ieof_after_the_100_means_nothing(self, connection, way):
        connection.send(request("RESPMOD", way.url("inspect"), b"hello there", preview=5))
        connection.expect_continue()
        connection.send(chunked(b" there", last=b"0; ieof\r\n\r\n"))
        assert connection.read_reply("RESPMOD").body == b"hello there"
        expect_alive(connection, way)

    def test_fewer_bytes_than_announced(self, connection, way):
        """A mistake of the client: more follows."""
        head = request("RESPMOD", way.url("inspect"), b"", preview=100)[:-len(b"0; ieof\r\n\r\n")]
        connection.send(head + chunked(b"hello"))
        connection.expect_continue()
        connection.send(chunked(b" there"))
        assert connection.read_reply("RESPMOD").body == b"hello there"

    def test_nothing_to_go_on_with(self, connection, way):
        """100, then the rest turns out to be empty."""
        connection.send(request("RESPMOD", way.url("inspect"), b"", preview=100)[:-len(b"0; ieof\r\n\r\n")]
                        + chunked(b"hello"))
        connection.expect_continue()
        connection.send(b"0\r\n\r\n")
        assert connection.read_reply("RESPMOD").body == b"hello"
        expect_alive(connection, way)


# ---- bodies ----

class TestBodies:
    @pytest.mark.parametrize("size", samples.SIZES)
    @pytest.mark.parametrize("service", ["echo", "inspect"])
    @pytest.mark.parametrize("method", ["REQMOD", "RESPMOD"])
    def test_digest(self, connection, way, method, service, size):
        reply, digest = echo_digest(connection, way.url(service), size, method)
        assert reply.status == 200
        assert (reply.body_len, digest) == (size, samples.noise_digest(size))
        expect_alive(connection, way)

    @pytest.mark.parametrize("service", ["echo", "inspect"])
    def test_http_trailers_come_back(self, connection, way, service):
        trailers = b"X-Checksum: abc\r\nX-Odd:  two  spaces\r\n"
        connection.send(body_head("RESPMOD", way.url(service), 5) + b"5\r\nhello\r\n0\r\n" + trailers + b"\r\n")
        reply = connection.read_reply("RESPMOD")
        assert (reply.body, reply.http_trailers) == (b"hello", trailers)
        expect_alive(connection, way)

    @pytest.mark.parametrize("service", ["echo", "inspect"])
    @pytest.mark.parametrize("body", [
        b"5;foo=bar\r\nhello\r\n0\r\n\r\n", b'5 ; a ; b="c;\\"d" ;e=f\r\nhello\r\n0 ; x\r\n\r\n',
        b"00000000000000005\r\nhello\r\n0000000000000000000000\r\n\r\n", b"3\r\nhel\r\n02\r\nlo\r\n000\r\n\r\n",
        b"1\r\nh\r\n1\r\ne\r\n1\r\nl\r\n1\r\nl\r\n1\r\no\r\n0\r\n\r\n", b"5\t;\tx\r\nhello\r\n0\r\n\r\n"])
    def test_framing_of_chunks(self, connection, way, service, body):
        connection.send(body_head("RESPMOD", way.url(service), 5) + body)
        reply = connection.read_reply("RESPMOD")
        assert (reply.status, reply.body) == (200, b"hello")
        expect_alive(connection, way)

    def test_upper_case_sizes(self, connection, way):
        connection.send(body_head("RESPMOD", way.url("echo"), 27) + b"1B\r\n" + b"x" * 27 + b"\r\n0\r\n\r\n")
        assert connection.read_reply("RESPMOD").body == b"x" * 27

    def test_byte_by_byte(self, connection, way):
        """Split at every byte: the same answer."""
        message = request("RESPMOD", way.url("inspect"), samples.EICAR, fields=["Allow: 204"])
        for i in range(len(message)):
            connection.send(message[i:i + 1])
        assert connection.read_reply("RESPMOD").http_status() == 403
        expect_alive(connection, way)

    def test_odd_lines_of_origins_come_back(self, connection, way):
        """What real servers emit is passed on byte for byte."""
        head = b"HTTP/1.1 200 OK\r\nX-Old : x\r\nno colon at all\r\nSet-Cookie: a=b; c\r\nX-Bytes: \xff\xfe\r\n\r\n"
        reply = connection.ask("RESPMOD", way.url("echo"), b"x", http=[("res-hdr", head)])
        assert reply.heads["res-hdr"] == head

    def test_block_page_as_json(self, connection, way):
        http = [("req-hdr", http_request(fields=[b"Accept: application/json"])), ("res-hdr", OK)]
        reply = connection.ask("RESPMOD", way.url("inspect"), samples.EICAR, http=http)
        assert reply.http_field("Content-Type") == "application/json"
        assert reply.http_field("Via").startswith("ICAP/1.0 ")

    def test_block_page_escapes_what_the_peer_chose(self, connection, way):
        http = [("req-hdr", http_request(url=b"http://a<script>b&\"'/x")), ("res-hdr", OK)]
        reply = connection.ask("RESPMOD", way.url("inspect"), samples.EICAR, http=http)
        assert reply.http_status() == 403
        assert b"<script>" not in reply.body
        assert b"a&lt;script&gt;b&amp;&quot;&#39;" in reply.body


# ---- connections ----

class TestConnections:
    def test_pipelined_pair(self, connection, way):
        """Two requests in one write, the second behind a body: two answers, in order."""
        bodies = [samples.noise(3000, seed) for seed in (1, 2)]
        connection.send(b"".join(request("RESPMOD", way.url("inspect"), b) for b in bodies))
        assert [connection.read_reply("RESPMOD").body for _ in bodies] == bodies

    def test_pipelined_many(self, connection, way):
        talk = [("OPTIONS", None), ("REQMOD", None), ("RESPMOD", b"clean"), ("RESPMOD", samples.EICAR),
                ("REQMOD", b"upload")] * 10
        for method, body in talk:
            http, encapsulated = ([], "") if method == "OPTIONS" else (None, None)
            connection.send(request(method, way.url("inspect"), body, http=http, encapsulated=encapsulated))
        for method, body in talk:
            reply = connection.read_reply(method)
            assert reply.status == 200
            assert ("X-Infection-Found" in dict(reply.fields)) == (body is samples.EICAR)

    def test_a_thousand_in_sequence(self, connection, way):
        local = connection.sock.getsockname()
        for i in range(1000):
            body = b"%d" % i
            reply = connection.ask("RESPMOD" if i % 2 else "REQMOD", way.url("echo" if i % 3 else "inspect"), body)
            assert (reply.status, reply.body) == (200, body)
            assert reply.field("Connection") == "keep-alive"
        assert connection.sock.getsockname() == local

    @pytest.mark.parametrize("service, body", [("echo", b"x"), ("inspect", b"x"), ("inspect", samples.EICAR),
                                               ("nothing", b"x"), ("echo", None)])
    def test_close(self, way, service, body):
        with way.connect() as c:
            reply = c.ask("RESPMOD", way.url(service), body, fields=["Connection: close"])
            assert reply.field("Connection") == "close"
            c.expect_closed()

    def test_bytes_after_close_are_dropped(self, way):
        """Nextcloud sends a second last-chunk for an empty file."""
        with way.connect() as c:
            c.send(request("RESPMOD", way.url("inspect"), b"", fields=["Connection: close"]) + b"0\r\n\r\n")
            assert c.read_reply("RESPMOD").status == 200
            c.expect_closed()

    def test_bytes_long_after_close_take_nothing_back(self, way):
        """Late ones would draw a reset, which takes the answer out of the client's hands."""
        with way.connect() as c:
            c.send(request("RESPMOD", way.url("inspect"), b"", fields=["Connection: close"]))
            assert select.select([c.sock], [], [], 20)[0]
            c.send(b"0\r\n\r\n")
            assert c.read_reply("RESPMOD").status == 200
            c.expect_closed()

    def test_half_close_after_the_request(self, sallyport):
        """A client that says that it is done sending still gets its answer."""
        with IcapConnection(sallyport.address()) as c:
            c.send(request("RESPMOD", sallyport.url("echo"), b"hello"))
            c.sock.shutdown(socket.SHUT_WR)
            assert c.read_reply("RESPMOD").body == b"hello"
            c.expect_closed()


class TestEarlyAnswer:
    """A body over body-max is blocked as soon as that is known, with most of it unread."""

    def test_below_the_discard_limit_the_connection_goes_on(self, connection, way):
        size = 30 * samples.MIB
        connection.send(body_head("RESPMOD", way.url("small"), size))
        connection.send_while_reading(chunks(samples.pieces(size)))
        self.expect_blocked(connection)
        connection.finish_sending()  # erratum E7
        expect_alive(connection, way)

    @pytest.mark.parametrize("method", ["REQMOD", "RESPMOD"])
    def test_write_all_then_read(self, way, method):
        """100 MB more than anybody wants, from a client that reads nothing before: the whole answer
        arrives, the end is announced, and no reset destroys it."""
        size = 100 * samples.MIB
        with way.connect() as c:
            c.send(body_head(method, way.url("small"), size))
            for piece in chunks(samples.pieces(size)):
                c.send(piece)
            assert self.expect_blocked(c, method).field("Connection") == "close"
            c.expect_closed()

    @pytest.mark.parametrize("method", ["REQMOD", "RESPMOD"])
    def test_read_while_writing(self, way, method):
        """A client that stops sending at the early answer, as erratum E7 wants."""
        size = 100 * samples.MIB
        with way.connect() as c:
            c.send(body_head(method, way.url("small"), size))
            c.send_while_reading(chunks(samples.pieces(size)))
            reply = self.expect_blocked(c, method)
            assert reply.field("Connection") == "close"

    def test_of_unknown_length(self, way):
        """How much is still to come is not known, so the end is announced; the answer arrives whole."""
        with way.connect() as c:
            c.send(request("RESPMOD", way.url("small"), samples.noise(samples.MIB), http=[("res-hdr", OK)]))
            assert self.expect_blocked(c).field("Connection") == "close"
            c.expect_closed()

    @staticmethod
    def expect_blocked(connection, method="RESPMOD"):
        reply = connection.read_reply(method)
        assert (reply.status, reply.http_status()) == (200, 403)
        assert reply.field("X-Response-Desc") == "too-large"
        assert reply.body.endswith(b"</html>\n")
        return reply


# ---- shapes of the field ----

class TestShapes:
    def nextcloud(self, way, method, body, http, extra=b""):
        """New connection, everything written before anything is read, Transfer-Encoding in the ICAP
        head, Host without a port, icap:// even inside TLS."""
        fields = ["User-Agent: NC-ICAP-CLIENT/0.5.0", "Allow: 204", "X-Client-IP: ", "Connection: close",
                  "Transfer-Encoding: chunked"]
        with way.connect() as c:
            c.send(request(method, "icap://127.0.0.1/inspect", body, http=http, fields=fields, host="127.0.0.1") + extra)
            reply = c.read_reply(method)
            c.expect_closed()
        return reply

    @pytest.mark.parametrize("size", [0, 1, 70_000])
    def test_nextcloud_clean(self, way, size):
        http = [("req-hdr", b"PUT /file.txt HTTP/1.0\r\nHost: nextcloud\r\n\r\n")]
        reply = self.nextcloud(way, "REQMOD", samples.noise(size), http, b"0\r\n\r\n" if size == 0 else b"")
        assert reply.status == 204
        assert reply.reason  # its parser wants a fourth word

    @pytest.mark.parametrize("method", ["REQMOD", "RESPMOD"])
    def test_nextcloud_infected(self, way, method):
        http = [("req-hdr", b"PUT /file.txt HTTP/1.0\r\nHost: nextcloud\r\n\r\n")]
        if method == "RESPMOD":
            http.append(("res-hdr", b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\n"))
        reply = self.nextcloud(way, method, samples.EICAR, http)
        assert reply.status == 200
        assert reply.encapsulated[0] == ("res-hdr", 0)
        assert b"403 Forbidden" in reply.heads["res-hdr"].split(b"\r\n")[0]
        name, value = next(f for f in reply.fields if f[0].lower() == "x-infection-found")
        assert name == "X-Infection-Found" and "Threat=EICAR-Test-File;" in value

    @pytest.mark.parametrize("body, found", [(b"clean", False), (samples.EICAR, True)])
    def test_rspamd_old(self, connection, way, body, found):
        """OPTIONS, then RESPMOD without Host and with a body only, on one connection."""
        assert options(connection, way.url("inspect")).status == 200
        connection.send(f"RESPMOD {way.url('inspect')} ICAP/1.0\r\nAllow: 204\r\nEncapsulated: res-body=0\r\n\r\n".encode()
                        + chunked(body))
        reply = connection.read_reply("RESPMOD")
        assert reply.status == (200 if found else 204)
        assert (reply.field("X-Infection-Found") is not None) == found

    def test_rspamd_new(self, connection, way):
        """Made-up HTTP heads; an HTTP status of 4xx means blocked."""
        http = [("req-hdr", b"GET /mail HTTP/1.1\r\nDate: now\r\nUser-Agent: Rspamd\r\n\r\n"),
                ("res-hdr", b"HTTP/1.1 200 OK\r\nDate: now\r\nServer: x\r\nContent-Length: 68\r\n\r\n")]
        fields = ["User-Agent: Rspamd", "Connection: keep-alive"]
        reply = connection.ask("RESPMOD", way.url("inspect"), samples.EICAR, http=http, fields=fields)
        assert 400 <= reply.http_status() < 500
        assert reply.field("X-Virus-ID")

    @pytest.mark.parametrize("size", [500, 200_000])
    def test_f5(self, connection, way, size):
        """Never Allow: 204, a preview, and the whole file back when 204 was not given on it."""
        body = samples.noise(size)
        reply = connection.ask("RESPMOD", way.url("inspect"), body, preview=1024)
        assert reply.status == (204 if size <= 1024 else 200)
        if reply.status == 200:
            assert hashlib.sha256(reply.body).hexdigest() == samples.noise_digest(size)
        expect_alive(connection, way)

    def test_squid_get(self, connection, way):
        """Preview: 0 on every GET, and no chunk behind it."""
        connection.send(request("REQMOD", way.url("inspect"), None, preview=0,
                                fields=["Date: Sat, 21 Nov 2026 19:25:32 GMT", "Allow: 204, trailers",
                                        "X-Client-IP: 127.0.0.1"]))
        assert connection.read_reply("REQMOD").status == 204

    def test_head_of_another_protocol(self, sallyport):
        """A browser that finds the port is told so, and nothing hangs."""
        with IcapConnection(sallyport.address()) as c:
            c.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert c.read_reply("OPTIONS").status in (400, 501)
            c.expect_closed()


def test_half_of_everything(way):
    """A connection that ends in the middle costs nothing: cut at a spread of places, then all is well."""
    message = request("RESPMOD", way.url("inspect"), samples.noise(5000), preview=1024)
    for cut in itertools.chain(range(0, 400, 40), range(400, len(message), 300)):
        with way.connect() as c:
            c.send(message[:cut])
            if isinstance(c.sock, ssl.SSLSocket):
                c.sock.settimeout(5)
    assert way.ask("RESPMOD", "inspect", b"fine").status == 200


def test_offsets_are_those_of_the_heads():
    """What these tests send is what they mean."""
    assert encapsulate("RESPMOD", [("req-hdr", b"12345"), ("res-hdr", b"123")], True) == \
        "req-hdr=0, res-hdr=5, res-body=8"
