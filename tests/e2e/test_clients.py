# SPDX-License-Identifier: Apache-2.0
"""Clients of the field as raw bytes, and what they make of our answers: small models of their parsers
give the verdicts. And the other way round: `sallyport scan` with servers that answer oddly."""
import io
import json
import re
import socket
import socketserver
import struct
import threading

import pytest

from testenv import IcapConnection, Sallyport, build_dir, chunked, samples, wait
from testenv.icap import body_head, chunks, http_request, http_response, request
from testenv.sallyport import run_command

MIB = samples.MIB
SERVICES = """\
  - {name: avscan, type: inspect, path: /avscan}
  - {name: shown, type: inspect, path: /shown, preview: 4k}
  - {name: small, type: inspect, path: /small, body-max: 64k}
"""
EICAR = samples.EICAR
KINDS = {"clean": b"a letter\n", "large": samples.noise(150_000), "infected": EICAR, "empty": b""}
HTTP_LINE = re.compile(rb"HTTP/1\.[01] ([1-5]\d\d) ")


@pytest.fixture(scope="module")
def sallyport(tmp_path_factory, certificates):
    with Sallyport(tmp_path_factory.mktemp("clients"), tls=certificates.server, services=SERVICES) as gateway:
        yield gateway


def record_of(gateway, client, since=0):
    """|since|: how many records there were before it came, where others may have come from the same port."""
    return gateway.wait_record(lambda r: r["client"] == client, since=since)


def name_of(connection):
    return "%s:%d" % connection.sock.getsockname()


# ---- Nextcloud files_antivirus ----

class Nextcloud:
    """One file on a connection of its own, everything written before anything is read; then what its
    parser reads, and no more: the rest of the answer is left in the socket."""

    HEADER = "X-Infection-Found"  # its setting av_icap_response_header

    def __init__(self, way, current=True):
        self.way, self.current = way, current

    def head(self, method, http, body_at):
        first = "req-hdr" if method == "REQMOD" else "res-hdr"
        body = "req-body" if method == "REQMOD" else "res-body"
        lines = [f"{method} icap://127.0.0.1/avscan ICAP/1.0", "Host: 127.0.0.1", "User-Agent: NC-ICAP-CLIENT/0.5.0",
                 "Allow: 204", "X-Client-IP: ", "Connection: close", f"Encapsulated: {first}=0, {body}={body_at}"]
        if self.current:
            lines.append("Transfer-Encoding: chunked")
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + http

    def message(self, method, content):
        if method == "REQMOD":
            http = b"PUT /admin/files/a%20b.bin HTTP/1.0\r\nHost: nextcloud\r\n\r\n"
        else:
            http = b"HTTP/1.1 200 OK\r\nHost: nextcloud\r\nContent-Length: 1\r\n\r\n"
        # It closes each body with a last-chunk of its own, after what it wrote for the pieces: for an
        # empty file that is one too many.
        body = chunked(content, 8192) if content else b"0\r\n\r\n0\r\n\r\n"
        return self.head(method, http, len(http)) + body

    def scan(self, method, content):
        """("clean" | "infected" | "unchecked", detail); ValueError where its parser throws."""
        with self.way.connect() as c:
            c.send(self.message(method, content))
            with c.sock.makefile("rb") as stream:
                return self.judge(*self.parse(stream))

    @staticmethod
    def parse(stream):
        words = stream.readline().decode("latin-1").split(None, 2)
        # "ICAP/%d.%d %d %s": four values, the reason is one of them.
        if len(words) != 3 or not re.fullmatch(r"ICAP/\d+\.\d+", words[0]) or not words[1].isdigit():
            raise ValueError(f"status line {words}")
        status, fields, http_status = int(words[1]), {}, ""
        if status == 204:
            return status, fields, http_status
        while line := stream.readline().strip().decode("latin-1"):
            name, separator, value = line.partition(": ")
            fields[name] = value if separator else ""
        for part in fields.get("Encapsulated", "").split(","):
            offset = int(part.strip().partition("=")[2] or 0)
            if offset:  # the first part begins at 0, so this is its length
                http_status = stream.read(offset).split(b"\r\n")[0].decode("latin-1")
                break
        return status, fields, http_status

    @classmethod
    def judge(cls, status, fields, http_status):
        if status in (200, 204):
            if fields.get(cls.HEADER):
                return "infected", fields[cls.HEADER]
            if "403 Forbidden" in http_status or "403 VirusFound" in http_status:
                return "infected", "403"
            return "clean", ""
        if status == 202:
            return "unchecked", ""
        if status == 500 and fields.get("X-Error-Code"):
            return "blocked", fields["X-Error-Code"]
        raise ValueError(f"status {status}")


class TestNextcloudModel:
    """The model fails where the client does."""

    @pytest.mark.parametrize("answer", [b"ICAP/1.0 204\r\n\r\n", b"ICAP/1.0 400 Bad Request\r\n\r\n", b""])
    def test_throws(self, answer):
        with pytest.raises(ValueError):
            Nextcloud.judge(*Nextcloud.parse(io.BytesIO(answer)))

    @pytest.mark.parametrize("field", [b"x-infection-found: Threat=x;", b"X-Infection-Found:Threat=x;",
                                       b"X-Virus-ID: x"])
    def test_takes_for_clean_what_it_does_not_know(self, field):
        answer = (b"ICAP/1.0 200 OK\r\n" + field + b"\r\nEncapsulated: res-hdr=0, null-body=26\r\n\r\n"
                  b"HTTP/1.1 451 Elsewhere\r\n\r\n")
        assert Nextcloud.judge(*Nextcloud.parse(io.BytesIO(answer)))[0] == "clean"


@pytest.mark.parametrize("current", [True, False], ids=["master", "before"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", ["REQMOD", "RESPMOD"])
def test_nextcloud(way, method, kind, current):
    verdict, detail = Nextcloud(way, current).scan(method, KINDS[kind])
    assert verdict == ("infected" if kind == "infected" else "clean")
    assert detail == ("Type=0; Resolution=2; Threat=EICAR-Test-File;" if kind == "infected" else "")


@pytest.mark.parametrize("method", ["REQMOD", "RESPMOD"])
def test_nextcloud_by_the_http_status_alone(way, method, monkeypatch):
    """With another header configured the encapsulated status line has to do."""
    monkeypatch.setattr(Nextcloud, "HEADER", "X-Nothing")
    assert Nextcloud(way).scan(method, EICAR) == ("infected", "403")


def test_nextcloud_answers_byte_for_byte(way):
    """What its parser needs, in the bytes themselves; the surplus last-chunk is no second request."""
    for kind, content in KINDS.items():
        for method in ("REQMOD", "RESPMOD"):
            with way.connect() as c:
                c.send(Nextcloud(way).message(method, content))
                reply = c.read_reply(method)
                c.expect_closed()
            assert reply.field("Connection") == "close"
            if kind != "infected":
                assert (reply.status, reply.reason) == (204, "No Content")
                continue
            assert reply.reason == "OK"
            assert reply.encapsulated[0] == ("res-hdr", 0)
            assert reply.heads["res-hdr"].startswith(b"HTTP/1.1 403 Forbidden\r\n")


def test_nextcloud_one_record_for_each_file(sallyport, way):
    since = len(sallyport.records())
    with way.connect() as c:
        client = name_of(c)
        c.send(Nextcloud(way).message("REQMOD", b""))
        assert c.read_reply("REQMOD").status == 204
        c.expect_closed()
    record = record_of(sallyport, client, since)
    assert (record["service"], record["verdict"], record["action"]) == ("avscan", "pass", "pass")
    assert "error" not in record and "client_ip" not in record
    assert sum(r["client"] == client for r in sallyport.records()[since:]) == 1


def test_nextcloud_many_files_at_once(way):
    """A connection, over TLS a handshake, for each of them."""
    wrong = []

    def user(seed):
        for i in range(5):
            infected = (seed + i) % 2 == 0
            content = EICAR + b" " * (seed + i) if infected else b"%d/%d" % (seed, i)
            verdict, _ = Nextcloud(way).scan("REQMOD", content)
            if verdict != ("infected" if infected else "clean"):
                wrong.append((seed, i, verdict))
    threads = [threading.Thread(target=user, args=(seed,)) for seed in range(8)]
    [t.start() for t in threads]
    [t.join(60) for t in threads]
    assert not wrong


# ---- rspamd ----

class Rspamd:
    """OPTIONS, then RESPMOD on the same connection; the body is one chunk, whatever its size."""

    THREAT = re.compile(r"Type=(.*?); Resolution=(.*?); Threat=(.*?);$")

    def __init__(self, connection, url, old):
        self.c, self.url, self.old = connection, url, old

    def options(self):
        host = "" if self.old else "Host: 127.0.0.1\r\n"
        self.c.send(f"OPTIONS {self.url} ICAP/1.0\r\n{host}User-Agent: Rspamd\r\nConnection: keep-alive\r\n"
                    "Encapsulated: null-body=0\r\n\r\n".encode())
        status, fields, _ = self.read("OPTIONS")
        assert status == 200 and "RESPMOD" in fields["Methods"]

    def message(self, content):
        if self.old:
            head = f"RESPMOD {self.url} ICAP/1.0\r\nAllow: 204\r\nEncapsulated: res-body=0\r\n\r\n".encode()
        else:
            asked = (b"GET http://127.0.0.1/mail.eml HTTP/1.0\r\nDate: now\r\nHost: 127.0.0.1\r\n"
                     b"User-Agent: Rspamd\r\n\r\n")
            got = b"HTTP/1.0 200 OK\r\nDate: now\r\nServer: mail\r\nContent-Length: %d\r\n\r\n" % len(content)
            head = (f"RESPMOD {self.url} ICAP/1.0\r\nHost: 127.0.0.1\r\nX-Client-IP: 192.0.2.25\r\n"
                    f"X-Mail-From: a@b.test\r\nUser-Agent: Rspamd\r\nAllow: 204\r\nConnection: keep-alive\r\n"
                    f"Encapsulated: req-hdr=0, res-hdr={len(asked)}, res-body={len(asked) + len(got)}\r\n\r\n").encode()
            head += asked + got
        return head + b"%x\r\n%s\r\n0\r\n\r\n" % (len(content), content)

    def scan(self, content):
        """("clean" | "infected" | "refused", threat) as it reads headers, ICAP's and HTTP's alike."""
        self.c.send(self.message(content))
        status, fields, http = self.read("RESPMOD")
        if status == 204:
            return "clean", ""
        assert status // 100 == 2, status
        if found := self.THREAT.match(fields.get("X-Infection-Found", "")):
            return ("infected" if found[1] != "2" else "refused"), found[3]
        if fields.get("X-Virus-ID", "no threats") != "no threats":
            return "infected", fields["X-Virus-ID"]
        if http and 400 <= http < 500:
            return "refused", str(http)
        return "clean", ""

    def read(self, method):
        """(ICAP status, fields of both heads, HTTP status)."""
        reply = self.c.read_reply(method)
        fields, http = dict(reply.fields), None
        if "res-hdr" in reply.heads:
            http = int(HTTP_LINE.match(reply.heads["res-hdr"])[1])
            for line in reply.heads["res-hdr"].decode("latin-1").split("\r\n")[1:-2]:
                name, _, value = line.partition(": ")
                fields.setdefault(name, value)
        return reply.status, fields, http


@pytest.mark.parametrize("old", [True, False], ids=["old", "new"])
class TestRspamd:
    @pytest.mark.parametrize("kind", ["clean", "large", "infected"])
    def test_one_mail(self, way, kind, old):
        with way.connect() as c:
            client = Rspamd(c, way.url("avscan"), old)
            client.options()
            expected = ("infected", "EICAR-Test-File") if kind == "infected" else ("clean", "")
            assert client.scan(KINDS[kind]) == expected

    def test_many_on_one_connection(self, way, old):
        with way.connect() as c:
            client = Rspamd(c, way.url("avscan"), old)
            client.options()
            for kind in ["clean", "infected", "large", "infected", "clean"] * 4:
                assert client.scan(KINDS[kind])[0] == ("infected" if kind == "infected" else "clean")

    def test_empty_mail(self, way, old):
        """Its one chunk is then the last one, and the last-chunk behind it is out of place: the answer
        comes first, whole; what follows is refused, and the connection ends."""
        with way.connect() as c:
            client = Rspamd(c, way.url("avscan"), old)
            client.options()
            assert client.scan(b"") == ("clean", "")
            assert c.read_reply("OPTIONS").status == 400
            c.expect_closed()

    def test_a_refusal_is_not_clean(self, way, old):
        """too-large: no virus, but no clean mail either."""
        with way.connect() as c:
            client = Rspamd(c, way.url("small"), old)
            client.options()
            assert client.scan(samples.noise(70_000)) == ("refused", "too-large")


# ---- F5 BIG-IP, FortiGate ----

def preview_then(connection, method, url, body, preview, fields=()):
    """A client that previews: (was there a 100, the final answer)."""
    connection.send(request(method, url, body, preview=preview, fields=fields))
    went_on = connection.peek_status() == 100
    if went_on:
        assert len(body) > preview, "100 after ieof"
        connection.expect_continue()
        connection.send_while_reading([chunked(body[preview:])])
    reply = connection.read_reply(method)
    connection.finish_sending()
    return went_on, reply


class TestF5:
    """Never Allow: 204, so that 204 counts only as the answer to the preview; preview-size 0 means no
    Preview at all, and then every file comes back whole."""

    BODIES = [b"", b"x", samples.noise(1023), samples.noise(1024), samples.noise(1025), EICAR,
              samples.noise(200_000), b"PK\x03\x04" + samples.noise(500) + EICAR,
              b"PK\x03\x04" + samples.noise(200_000) + EICAR]

    @pytest.mark.parametrize("service", ["avscan", "echo"])
    @pytest.mark.parametrize("method", ["REQMOD", "RESPMOD"])
    def test_preview(self, way, method, service):
        with way.connect() as c:
            for body in self.BODIES * 2:
                went_on, reply = preview_then(c, method, way.url(service), body, 1024)
                if service == "avscan" and body.endswith(EICAR):
                    assert (went_on, reply.http_status()) == (len(body) > 1024, 403)
                elif len(body) <= 1024 or service == "echo":
                    assert (went_on, reply.status) == (False, 204)
                else:
                    assert (went_on, reply.status, reply.body == body) == (True, 200, True)
                c.expect_silence()

    @pytest.mark.parametrize("method", ["REQMOD", "RESPMOD"])
    def test_without_preview(self, way, method):
        with way.connect() as c:
            for body in self.BODIES:
                reply = c.ask(method, way.url("avscan"), body)
                assert reply.status == 200
                if body.endswith(EICAR):
                    assert reply.http_status() == 403
                else:
                    assert reply.body == body

    @pytest.mark.parametrize("preview", [None, 1024])
    @pytest.mark.parametrize("service", ["avscan", "echo"])
    def test_large_clean_file_is_echoed_whole(self, way, service, preview):
        """echo may answer a preview with 204; otherwise all 20 MiB come back."""
        size = 20 * MIB
        with way.connect() as c:
            if preview is None:
                c.send(body_head("RESPMOD", way.url(service), size))
                c.send_while_reading(chunks(samples.pieces(size)))
                reply = c.read_reply("RESPMOD")
                c.finish_sending()
            else:
                went_on, reply = preview_then(c, "RESPMOD", way.url(service), samples.noise(size), preview)
                assert went_on == (service != "echo")
                if service == "echo":
                    assert reply.status == 204
                    return
            assert samples.digest(reply.body) == samples.noise_digest(size)
            assert c.ask("RESPMOD", way.url(service), b"next").body == b"next"


class TestFortiGate:
    """Previews of at most 4096 bytes after an OPTIONS, Allow: 204, chunks of odd sizes, long-lived
    connections."""

    @pytest.mark.parametrize("chunk", [1, 1460, 4096])
    def test_files_on_one_connection(self, way, chunk):
        with way.connect() as c:
            c.send(f"OPTIONS {way.url('shown')} ICAP/1.0\r\nHost: x\r\n\r\n".encode())
            offered = int(c.read_reply("OPTIONS").field("Preview"))
            preview = min(offered, 4096)
            assert preview == 4096
            for size in (0, 1, 4095, 4096, 4097, 20_000):
                for infected in (False, True):
                    body = b"PK\x03\x04" + samples.noise(size) + EICAR if infected else samples.noise(size)
                    head = request("RESPMOD", way.url("shown"), b"", preview=preview, fields=["Allow: 204"],
                                   http=[("req-hdr", http_request()), ("res-hdr", http_response(len(body)))])
                    fits = len(body) <= preview
                    c.send(head[:-len(b"0; ieof\r\n\r\n")]
                           + chunked(body[:preview], chunk, b"0; ieof\r\n\r\n" if fits else b"0\r\n\r\n"))
                    if not fits:
                        c.expect_continue()
                        c.send(chunked(body[preview:], chunk))
                    reply = c.read_reply("RESPMOD")
                    c.expect_silence()
                    if infected:
                        assert (reply.status, reply.http_status()) == (200, 403), size
                    else:
                        assert reply.status == 204, size


# ---- ProxySG ----

def errors_of(gateway):
    """Counted errors, by sample."""
    return {k: v for k, v in gateway.metrics().items() if k.startswith("sallyport_icap_errors_total")}


def reset(connection):
    """Ends the connection with a RST."""
    connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def at_rest(gateway):
    status = gateway.status()
    return (all(status["budgets"][b]["used"] == 0 for b in ("scans", "spool"))
            and sum(loop["connections"] for loop in status["loops"]) == 0
            and sum(loop["workers_busy"] for loop in status["loops"]) == 0)


class TestProxySG:
    """It closes the oldest connection in the middle of a request when there are many, and sends the
    whole object again later."""

    @pytest.mark.parametrize("end", ["close", "reset"])
    @pytest.mark.parametrize("size", [3_000, 3 * MIB])
    def test_abort_and_again(self, sallyport, end, size):
        body = samples.noise(size, seed=5)
        before, troubles = errors_of(sallyport), json.dumps(sallyport.status().get("troubles"))
        whole = request("RESPMOD", sallyport.url("avscan"), body, fields=["Allow: 204"])
        names, since = [], len(sallyport.records())
        for cut in (10, 200, len(whole) // 2, len(whole) - 1):
            c = IcapConnection(sallyport.address())
            names.append(name_of(c))
            c.send(whole[:cut])
            if end == "reset":
                reset(c)
            else:
                c.close()
        wait.until(lambda: at_rest(sallyport), "everything given back")
        with IcapConnection(sallyport.address()) as c:
            c.send(whole)
            assert c.read_reply("RESPMOD").status == 204
        found = [record_of(sallyport, name, since) for name in names]
        assert all("verdict" not in r and r["error"] in ("client-gone", "peer-reset") for r in found), found
        assert json.dumps(sallyport.status().get("troubles")) == troubles, "an abort is no trouble"
        grown = {k for k, v in errors_of(sallyport).items() if v != before.get(k, 0)}
        assert grown <= {'sallyport_icap_errors_total{error="client-gone"}'}, grown

    def test_abort_while_it_is_answered(self, sallyport):
        """A large echo of which it takes a little."""
        size, since = 8 * MIB, len(sallyport.records())
        with IcapConnection(sallyport.address()) as c:
            client = name_of(c)
            c.send(body_head("RESPMOD", sallyport.url("avscan"), size))
            c.send_body(samples.pieces(size))
            c._more()
            reset(c)
        assert record_of(sallyport, client, since)["error"] == "client-gone"
        wait.until(lambda: at_rest(sallyport), "everything given back")

    def test_endless_body_is_cut_by_its_size(self, sallyport):
        """A stream: cut as soon as it is larger than body-max, and never passed."""
        with IcapConnection(sallyport.address()) as c:
            c.send(request("RESPMOD", sallyport.url("small"), b"", http=[("res-hdr", http_response())])[:-5])
            piece = chunked(samples.noise(16384), last=b"")
            for _ in range(5):
                c.send(piece)
            reply = c.read_reply("RESPMOD")
            assert (reply.http_status(), reply.field("X-Response-Desc")) == (403, "too-large")
            assert reply.field("Connection") == "close"
        record = sallyport.wait_record(lambda r: r["id"] == reply.field("X-Request-ID"))
        assert record["verdict"] == "not-inspected"

    def test_endless_body_is_cut_by_time(self, start_sallyport):
        """A slow one never gets large: transaction-timeout ends it, and says so."""
        gateway = start_sallyport(more="icap: {transaction-timeout: 500ms}\n")
        with IcapConnection(gateway.address()) as c:
            client = name_of(c)
            c.send(request("RESPMOD", gateway.url("inspect"), b"", http=[("res-hdr", http_response())])[:-5])
            c.sock.settimeout(0.05)

            def over():
                try:
                    c._more()
                except TimeoutError:
                    c.send(b"1\r\nx\r\n")
                return b"\r\n\r\n" in c.buffer
            wait.until(over, "the answer", 5)
            c.sock.settimeout(5)
            reply = c.read_reply("RESPMOD")
            assert (reply.status, reply.field("Connection")) == (408, "close")
            c.expect_closed()
        record = record_of(gateway, client)
        assert record["error"] == "timeout" and "action" not in record and "verdict" not in record
        assert record["icap_status"] == 408
        wait.until(lambda: at_rest(gateway), "everything given back")


# ---- clients that read nothing before they have sent all ----

class TestSynchronous:
    """EtherSensor and simple libraries: with a small socket buffer, so that an answer that starts early
    meets a client that does not read."""

    @pytest.mark.parametrize("service", ["avscan", "echo"])
    @pytest.mark.parametrize("method", ["REQMOD", "RESPMOD"])
    def test_several_on_one_connection(self, sallyport, method, service):
        size = 4 * MIB
        with IcapConnection(sallyport.address()) as c:
            c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            for turn in range(3):
                c.send(body_head(method, sallyport.url(service), size + len(EICAR) * (turn == 1)))
                c.send_body([*([EICAR] if turn == 1 else []), *samples.pieces(size)])
                reply = c.read_reply(method)
                if turn == 1:
                    assert reply.body.startswith(EICAR) or service == "avscan"
                    continue
                assert samples.digest(reply.body) == samples.noise_digest(size)

    def test_blocked_while_it_sends(self, sallyport):
        with IcapConnection(sallyport.address()) as c:
            c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            size = 4 * MIB
            c.send(body_head("RESPMOD", sallyport.url("small"), size))
            c.send_body(samples.pieces(size))
            reply = c.read_reply("RESPMOD")
            assert reply.http_status() == 403
            assert c.ask("RESPMOD", sallyport.url("small"), b"next").body == b"next"


# ---- `sallyport scan` and servers that answer oddly ----

OPTIONS_ANSWER = (b"ICAP/1.0 200 OK\r\nMethods: RESPMOD, REQMOD\r\nISTag: \"t1\"\r\n%s"
                  b"Encapsulated: null-body=0\r\n\r\n")
HTML = b"HTTP/1.1 %s\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n"
FILE = b"the file's own bytes\n"


def adapted(status, body, http=b"200 OK", fields=b"", istag=b'ISTag: "t1"\r\n'):
    head = HTML % (http, len(body))
    return (b"ICAP/1.0 " + status + b"\r\n" + istag + fields
            + b"Encapsulated: res-hdr=0, res-body=%d\r\n\r\n" % len(head) + head + chunked(body))


def bare(status, fields=b'ISTag: "t1"\r\n'):
    return b"ICAP/1.0 " + status + b"\r\n" + fields + b"\r\n"


# Name: (answer to RESPMOD, verdict, exit code). What is not clearly clean never passes.
ANSWERS = {
    "204": (bare(b"204 No Content"), "pass", 0),
    "204 of c-icap": (bare(b"204 Unmodified", b'ISTag: "CI0001-XXXXXXXXX"\r\n'), "pass", 0),
    "204 without ISTag": (bare(b"204 No modifications needed", b""), "pass", 0),
    "204 with an unquoted ISTag": (bare(b"204 No Content", b"ISTag: e2guardian-5\r\n"), "pass", 0),
    "204 with null-body": (bare(b"204 No Content", b'ISTag: "t"\r\nEncapsulated: null-body=0\r\n'), "pass", 0),
    "204 with X-Virus-ID: no threats": (bare(b"204 No Content", b"X-Virus-ID: no threats\r\n"), "pass", 0),
    "204 with X-Infection-Found": (
        bare(b"204 No Content", b"X-Infection-Found: Type=0; Resolution=2; Threat=Evil;\r\n"), "blocked", 1),
    "200 unchanged": (adapted(b"200 OK", FILE), "pass", 0),
    "200 unchanged, ISTag unquoted": (adapted(b"200 OK", FILE, istag=b"ISTag: e2guardian-5\r\n"), "pass", 0),
    "200 unchanged, X-Virus-ID: no threats": (
        adapted(b"200 OK", FILE, fields=b"X-Virus-ID: no threats\r\n"), "pass", 0),
    "200 unchanged, X-Virus-ID: No Threats": (
        adapted(b"200 OK", FILE, fields=b"X-Virus-ID: No Threats\r\n"), "pass", 0),
    "200 unchanged, X-Virus-ID of a virus": (adapted(b"200 OK", FILE, fields=b"X-Virus-ID: Evil.A\r\n"), "blocked", 1),
    "200 unchanged, X-Infection-Found": (
        adapted(b"200 OK", FILE, fields=b"X-Infection-Found: Type=0; Resolution=1; Threat=Evil;\r\n"), "blocked", 1),
    "200 unchanged, both fields": (
        adapted(b"200 OK", FILE, fields=b"X-Virus-ID: no threats\r\n"
                                        b"X-Infection-Found: Type=0; Resolution=2; Threat=E;\r\n"), "blocked", 1),
    "200 with other bytes": (adapted(b"200 OK", b"cleaned"), "changed", 1),
    "200 with a 403 page": (adapted(b"200 OK", b"no!", b"403 Forbidden"), "blocked", 1),
    "200 with a 403 VirusFound page": (adapted(b"200 OK", b"no!", b"403 VirusFound"), "blocked", 1),
    "200 with a 403 without a reason": (adapted(b"200 OK", b"no!", b"403 "), "blocked", 1),
    "200 with an empty 403": (bare(b"200 OK", b'ISTag: "t"\r\nEncapsulated: res-hdr=0, null-body=26\r\n')
                              + b"HTTP/1.1 403 Forbidden\r\n\r\n", "blocked", 1),
    "200 with a redirect": (adapted(b"200 OK", b"see there", b"302 Found"), "changed", 1),
    "200 without heads": (bare(b"200 OK", b'ISTag: "t"\r\nEncapsulated: null-body=0\r\n'), "error", 4),
    "200 without Encapsulated": (bare(b"200 OK"), "error", 4),
    "200 that ends early": (adapted(b"200 OK", FILE)[:-12], "error", 4),
    "201 of Symantec: modified": (adapted(b"201 Created", b"cleaned"), "changed", 1),
    "201 with a block page": (adapted(b"201 Created", b"no!", b"403 Forbidden"), "blocked", 1),
    "201 without a body": (bare(b"201 Created"), "error", 4),
    "202: still scanning": (bare(b"202 Accepted"), "error", 4),
    "202 with null-body": (bare(b"202 Accepted", b"Encapsulated: null-body=0\r\n"), "error", 4),
    "202 with the file": (adapted(b"202 Accepted", FILE), "error", 4),
    "206 that nobody allowed": (adapted(b"206 Partial Content", FILE), "error", 4),
    "299": (bare(b"299 Whatever"), "error", 4),
    "302": (bare(b"302 Found"), "error", 4),
    "400": (bare(b"400 Bad Request", b""), "error", 4),
    "403": (bare(b"403 Forbidden"), "error", 1),
    "404 of c-icap": (bare(b"404 Service not found", b""), "error", 4),
    "407": (bare(b"407 Proxy Authentication Required", b'Proxy-Authenticate: Basic realm="x"\r\n'), "error", 1),
    "418 of e2guardian": (bare(b"418 Bad composition - X-ICAP-E2G header not present", b"ISTag: e2\r\n"), "error", 4),
    "500 with X-Error-Code": (bare(b"500 Server error", b"X-Error-Code: password_protected\r\n"), "error", 4),
    "503": (bare(b"503 Overloaded", b"Retry-After: 5\r\n"), "error", 4),
    "539 of Symantec: no licence": (bare(b"539 Aborted - No AV scanning license"), "error", 4),
    "999": (bare(b"999 Whatever"), "error", 4),
    "two answers": (bare(b"403 Forbidden") + bare(b"204 No Content"), "error", 1),
    "a 100 that nobody waits for": (bare(b"100 Continue", b"") + bare(b"204 No Content"), "error", 4),
    "HTTP": (b"HTTP/1.1 204 No Content\r\n\r\n", "error", 4),
    "status of two digits": (bare(b"20 OK"), "error", 4),
    "silence": (b"", "error", 4),
}


class Scripted:
    """A server that gives one answer to OPTIONS and one to everything else, and then closes."""

    def __init__(self, answer, options=b""):
        scripted = self
        self.asked = []

        class Handler(socketserver.StreamRequestHandler):
            def handle(self):
                self.connection.settimeout(10)
                while line := self.rfile.readline():
                    method = line.split(b" ")[0].decode()
                    fields = b"".join(iter(self.rfile.readline, b"\r\n"))
                    scripted.asked.append(method)
                    if method == "OPTIONS":
                        self.wfile.write(OPTIONS_ANSWER % options)
                        continue
                    self.take(fields, line)
                    self.wfile.write(answer)
                    return

            def take(self, fields, line):
                """The rest of the request: heads, then chunks."""
                last = re.search(rb"(null-body|re[qs]-body)=(\d+)", fields)
                self.rfile.read(int(last[2]))
                while last[1] != b"null-body" and (size := int(self.rfile.readline().split(b";")[0], 16)):
                    self.rfile.read(size + 2)
                if last[1] != b"null-body":
                    self.rfile.readline()

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True
            allow_reuse_address = True

            def handle_error(self, *_):
                pass  # clients that leave

        self.server = Server(("127.0.0.1", 0), Handler)

    def __enter__(self):
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()

    @property
    def url(self):
        return "icap://127.0.0.1:%d/scan" % self.server.server_address[1]


def scan(server, path, *options):
    done = run_command(build_dir(), "scan", "--json", "--timeout", "5", *options, "--to", server.url, path)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) == 1, done.stdout + done.stderr
    return found[0], done.returncode


class TestOurClient:
    @pytest.mark.parametrize("name", ANSWERS)
    def test_answer(self, tmp_path, name):
        answer, verdict, code = ANSWERS[name]
        (tmp_path / "file.bin").write_bytes(FILE)
        with Scripted(answer) as server:
            found, returned = scan(server, tmp_path / "file.bin")
        assert (found["verdict"], returned) == (verdict, code), found
        assert "RESPMOD" in server.asked
        if name == "202 with the file":
            assert found["reason"] == "the server has not finished its inspection (202)"

    @pytest.mark.parametrize("name", ["204", "200 unchanged", "200 with a 403 page", "539 of Symantec: no licence",
                                      "202: still scanning", "202 with the file", "204 with X-Infection-Found"])
    def test_answer_to_a_preview(self, tmp_path, name):
        """The file fits: the same answers, after ieof."""
        answer, verdict, code = ANSWERS[name]
        (tmp_path / "file.bin").write_bytes(FILE)
        with Scripted(answer, options=b"Preview: 1024\r\n") as server:
            found, returned = scan(server, tmp_path / "file.bin")
        assert (found["verdict"], returned) == (verdict, code), found

    REQMOD = {
        "request satisfied with 200": (adapted(b"200 OK", b"page", b"200 OK"), "blocked", 1),
        "request satisfied with 403": (adapted(b"200 OK", b"no!", b"403 Forbidden"), "blocked", 1),
        "201 satisfied": (adapted(b"201 Created", b"no!", b"403 Forbidden"), "blocked", 1),
        "204": (bare(b"204 No Content"), "pass", 0),
        "539": (bare(b"539 No licence"), "error", 4),
    }

    @pytest.mark.parametrize("name", REQMOD)
    def test_reqmod(self, tmp_path, name):
        answer, verdict, code = self.REQMOD[name]
        (tmp_path / "file.bin").write_bytes(FILE)
        with Scripted(answer) as server:
            found, returned = scan(server, tmp_path / "file.bin", "--reqmod")
        assert (found["verdict"], returned) == (verdict, code), found
        assert "REQMOD" in server.asked

    @pytest.mark.parametrize("name", ["204", "200 with a 403 page", "539 of Symantec: no licence"])
    def test_empty_file(self, tmp_path, name):
        answer, verdict, code = ANSWERS[name]
        (tmp_path / "file.bin").write_bytes(b"")
        with Scripted(answer) as server:
            found, returned = scan(server, tmp_path / "file.bin")
        assert (found["verdict"], returned) == (verdict, code), found
