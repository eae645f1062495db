# SPDX-License-Identifier: Apache-2.0
"""Audit records: one JSON line for each transaction, whatever happened to it."""
import json
import os
import re
import signal
import ssl
import threading

import pytest

from testenv import IcapConnection, Sallyport, Way, samples, wait
from testenv.icap import http_request, http_response, request

ID = re.compile(r"[0-9a-hjkmnp-tv-z]{20}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
# Keys in their order; docs/guide promises it.
ORDER = ["time", "id", "follows", "client", "client_ip", "user", "listener", "protection", "service", "method",
         "url_host", "icap_status", "http_status", "bytes_in", "bytes_out", "body_len", "sha256", "file", "type",
         "sniffed", "objects", "verdict", "action", "cause", "rule", "exception", "bypass", "cached", "findings",
         "timing_ms", "error", "error_text"]
FINDING_ORDER = ["engine", "name", "where", "note"]


def record_of(sallyport, reply):
    return sallyport.wait_record(lambda r: r["id"] == reply.field("X-Request-ID"))


def check_form(record):
    assert list(record) == [k for k in ORDER if k in record]
    for finding in record.get("findings", []):
        assert list(finding) == [k for k in FINDING_ORDER if k in finding]
    assert ID.fullmatch(record["id"])
    assert TIME.fullmatch(record["time"])
    for key in ("bytes_in", "bytes_out", "body_len"):
        assert isinstance(record[key], int)


class TestFields:
    def test_pass(self, sallyport, way):
        body = os.urandom(5000)  # that nobody sent before
        message = request("RESPMOD", way.url("inspect"), body,
                          fields=["X-Client-IP: 192.0.2.7", "X-Authenticated-User: bG9jYWw6Ly9ib2I="])
        with way.connect() as c:
            client = "%s:%d" % c.sock.getsockname()[:2]
            c.send(message)
            reply = c.read_reply("RESPMOD")
        record = record_of(sallyport, reply)
        check_form(record)
        assert record["client"] == client
        assert record["client_ip"] == "192.0.2.7"
        assert record["user"] == "bob"
        assert record["listener"] == way.listener
        assert (record["service"], record["method"]) == ("inspect", "RESPMOD")
        assert record["url_host"] == "origin.test"
        assert record["icap_status"] == 200
        assert record["bytes_in"] == len(message)
        assert record["bytes_out"] > len(body)
        assert record["body_len"] == len(body)
        assert record["sha256"] == samples.digest(body)
        assert (record["file"], record["type"]) == ("file.bin", "application/octet-stream")
        assert (record["verdict"], record["action"]) == ("pass", "pass")
        assert set(record["timing_ms"]) <= {"handshake", "head", "body", "scan", "total"}
        assert 0 < record["timing_ms"]["scan"] <= record["timing_ms"]["total"]
        for absent in ("follows", "objects", "cause", "rule", "exception", "bypass", "cached", "findings",
                       "http_status", "error", "error_text"):
            assert absent not in record

    def test_cached(self, sallyport, way):
        """The same bytes again: all that was found, and that nobody looked anew."""
        body = b"PK\x03\x04" + samples.noise(400) + os.urandom(16).hex().encode() + samples.EICAR
        first, again = (record_of(sallyport, way.ask("RESPMOD", "inspect", body)) for _ in range(2))
        check_form(again)
        assert "cached" not in first and again["cached"] is True
        for key in ("verdict", "action", "cause", "findings", "sha256"):
            assert again[key] == first[key]

    @pytest.mark.parametrize("user, kept", [
        ("bG9jYWw6Ly9ib2I=", "bob"), ("TERBUDovL2Nhcm9sL3g=", "carol/x"), ("bob", "bob"), ("Ym9i", "Ym9i"),
        ("bG9jYWw6Ly9i%%%%", "bG9jYWw6Ly9i%%%%"), ("eDovL2EbW20=", "eDovL2EbW20=")])
    def test_user(self, sallyport, way, user, kept):
        """What decodes to scheme://name is base64; controls are no name, and plain text stays."""
        record = record_of(sallyport, way.ask("RESPMOD", "echo", b"x", fields=[f"X-Authenticated-User: {user}"]))
        assert record["user"] == kept

    @pytest.mark.parametrize("url, disposition, name", [
        (b"http://origin.test/a/b%2fc%20d.pdf?q=/e.exe", None, "c d.pdf"), (b"http://origin.test/", None, None),
        (b"http://origin.test/get.php?id=7", b'attachment; filename="invoice.pdf"', "invoice.pdf"),
        (b"http://origin.test/x", b'attachment; filename="../../etc/\\passwd"', "passwd"),
        (b"http://origin.test/x", b"attachment; filename*=UTF-8''n%C3%A4me.zip", "näme.zip")])
    def test_file(self, sallyport, way, url, disposition, name):
        fields = [b"Content-Disposition: " + disposition] if disposition else []
        http = [("req-hdr", http_request(url=url)), ("res-hdr", http_response(fields=fields))]
        record = record_of(sallyport, way.ask("RESPMOD", "inspect", b"x", http=http))
        check_form(record)
        assert record.get("file") == name

    @pytest.mark.parametrize("method", ["REQMOD", "RESPMOD"])
    def test_block(self, sallyport, way, method):
        reply = way.ask(method, "inspect", samples.EICAR)
        record = record_of(sallyport, reply)
        check_form(record)
        assert record["id"] == reply.field("X-Request-ID")
        assert f"<code>{record['id']}</code>" in reply.body.decode()
        assert (record["icap_status"], record["http_status"]) == (200, 403)
        assert (record["verdict"], record["action"], record["cause"]) == ("block", "block", "infected")
        assert [(f["engine"], f["name"]) for f in record["findings"]] == [("yara", "EICAR-Test-File")]
        assert record["sha256"] == samples.digest(samples.EICAR)
        assert record["body_len"] == 68
        assert "error" not in record and "error_text" not in record

    def test_block_as_json(self, sallyport, way):
        """The number on the page is that of the record, in JSON, too."""
        http = [("req-hdr", http_request(fields=[b"Accept: application/json"])), ("res-hdr", http_response())]
        reply = way.ask("RESPMOD", "inspect", samples.EICAR, http=http)
        page = json.loads(reply.body)
        record = record_of(sallyport, reply)
        assert (page["id"], page["cause"], page["blocked"]) == (record["id"], "infected", True)

    def test_204(self, sallyport, way):
        record = record_of(sallyport, way.ask("RESPMOD", "inspect", b"clean", fields=["Allow: 204"]))
        assert (record["icap_status"], record["verdict"]) == (204, "pass")

    def test_echo(self, sallyport, way):
        """What is handed through is not digested, and nobody looked at it: no verdict."""
        record = record_of(sallyport, way.ask("REQMOD", "echo", b"12345"))
        assert (record["service"], record["body_len"], record["action"]) == ("echo", 5, "pass")
        assert "sha256" not in record and "verdict" not in record

    def test_without_a_body(self, sallyport, way):
        record = record_of(sallyport, way.ask("REQMOD", "inspect", None))
        assert (record["body_len"], record["verdict"]) == (0, "pass")

    def test_options(self, sallyport, way):
        with way.connect() as c:
            c.send(request("OPTIONS", way.url("inspect"), http=[], encapsulated=""))
            record = record_of(sallyport, c.read_reply("OPTIONS"))
        check_form(record)
        assert (record["method"], record["icap_status"]) == ("OPTIONS", 200)
        assert "verdict" not in record

    @pytest.mark.parametrize("service, method, status, error", [("nothing", "RESPMOD", 404, "not-found")])
    def test_error(self, sallyport, way, service, method, status, error):
        record = record_of(sallyport, way.ask(method, service, b"x"))
        check_form(record)
        assert (record["icap_status"], record["error"]) == (status, error)
        assert record["error_text"]
        assert "service" not in record and "verdict" not in record

    def test_bad_request(self, sallyport, way):
        """Nothing was understood, but it leaves a record, too."""
        since = len(sallyport.records())
        with way.connect() as c:
            client = "%s:%d" % c.sock.getsockname()[:2]
            c.send(b"GARBAGE\r\n\r\n")
            reply = c.read_reply("OPTIONS")
            assert reply.status == 400
        record = sallyport.wait_record(lambda r: r["client"] == client, since=since)
        check_form(record)
        assert record["id"] == reply.field("X-Request-ID")
        assert (record["icap_status"], record["error"]) == (400, "protocol")
        assert "method" not in record

    def test_bad_request_after_good_ones(self, sallyport, way):
        """Ids of one connection are different, and the refusal has that of its own record."""
        with way.connect() as c:
            ids = [c.ask("RESPMOD", way.url("echo"), b"x").field("X-Request-ID") for _ in range(3)]
            c.send(b"GARBAGE\r\n\r\n")
            ids.append(c.read_reply("OPTIONS").field("X-Request-ID"))
        assert len(set(ids)) == 4
        record = sallyport.wait_record(lambda r: r["id"] == ids[-1])
        assert (record["icap_status"], record["error"]) == (400, "protocol")

    def test_denied(self, sallyport, way):
        head = http_response(fields=[b"Content-Length: 5", b"Content-Length: 6"])
        record = record_of(sallyport, way.ask("RESPMOD", "inspect", b"hello", http=[("res-hdr", head)]))
        assert (record["verdict"], record["cause"], record["error"]) == ("block", "denied", "policy")

    @pytest.mark.parametrize("coding, text", [(b"x-unheard-of", 'the content coding "x-unheard-of" is not known'),
                                              (b"gzip", "the gzip data is damaged at byte 0 (")],
                             ids=["unknown", "damaged"])
    def test_not_inspected(self, sallyport, way, coding, text):
        head = http_response(fields=[b"Content-Encoding: " + coding])
        record = record_of(sallyport, way.ask("RESPMOD", "inspect", b"hello", http=[("res-hdr", head)]))
        check_form(record)
        assert (record["verdict"], record["cause"], record["action"]) == ("not-inspected", "not-inspected", "block")
        assert record["error_text"].startswith(text)

    def test_client_that_left(self, sallyport, way):
        since = len(sallyport.records())
        with way.connect() as c:
            client = "%s:%d" % c.sock.getsockname()[:2]
            c.send(request("RESPMOD", way.url("inspect"), samples.noise(9000))[:-3000])
        record = sallyport.wait_record(lambda r: r["client"] == client, since=since)
        assert record["error"] == "client-gone"
        assert "icap_status" not in record

    def test_refused_connection(self, sallyport):
        since = len(sallyport.records())
        with pytest.raises(ssl.SSLError):
            IcapConnection(sallyport.address("tls"), tls=ssl.create_default_context())
        record = sallyport.wait_record(lambda r: r.get("error") == "tls", since=since)
        check_form(record)
        assert record["listener"] == "tls"
        assert (record["bytes_in"], record["bytes_out"], record["body_len"]) == (0, 0, 0)
        assert (record["protection"]["how"], record["protection"]["why"]) == ("none", "peer-rejected-us")
        assert (record["protection"]["why_side"], record["protection"]["why_certain"]) == ("peer", True)
        assert (record["protection"]["why_source"], record["protection"]["why_raw"]) == ("tls-alert", 48)
        for absent in ("service", "method", "icap_status", "verdict"):
            assert absent not in record

    def test_one_record_each(self, sallyport, way):
        """As many as requests, in their order, with ids that differ."""
        with way.connect() as c:
            ids = [c.ask("RESPMOD", way.url("echo"), b"x").field("X-Request-ID") for _ in range(50)]
        sallyport.wait_record(lambda r: r["id"] == ids[-1])
        assert [r["id"] for r in sallyport.records() if r["id"] in set(ids)] == ids
        assert len(set(ids)) == 50


class TestRulesAndTypes:
    """Who decided, and what the file is taken for."""

    SERVICES = """\
  - {name: typed, type: inspect, path: /typed, pipeline: [filetype, yara]}
  - name: ruled
    type: inspect
    path: /ruled
    rules: [{name: no, host: [denied.test], then: block}, {name: "yes", host: [allowed.test], then: allow}]
"""

    @pytest.fixture(scope="class")
    def gateway(self, tmp_path_factory):
        with Sallyport(tmp_path_factory.mktemp("typed"), services=self.SERVICES) as gateway:
            yield gateway

    @pytest.mark.parametrize("host, rule, verdict, action", [(b"denied.test", "no", "block", "block"),
                                                             (b"allowed.test", "yes", "not-inspected", "pass"),
                                                             (b"else.test", None, "pass", "pass")])
    def test_rule(self, gateway, host, rule, verdict, action):
        http = [("req-hdr", http_request(url=b"http://" + host + b"/f")), ("res-hdr", http_response())]
        record = record_of(gateway, Way(gateway, "clear").ask("RESPMOD", "ruled", b"x", http=http))
        check_form(record)
        assert (record.get("rule"), record["verdict"], record["action"]) == (rule, verdict, action)

    def test_sniffed(self, gateway):
        head = b"HTTP/1.1 200 OK\r\nContent-Type: Image/GIF; q=x\r\n\r\n"
        http = [("req-hdr", http_request()), ("res-hdr", head)]
        body = b"%PDF-1.7\n1 0 obj\n<<>>\nendobj\n"
        record = record_of(gateway, Way(gateway, "clear").ask("RESPMOD", "typed", body, http=http))
        check_form(record)
        assert (record["type"], record["sniffed"]) == ("image/gif", "application/pdf")

    def test_objects(self, gateway):
        parts = [b'--B\r\nContent-Disposition: form-data; name="%s"; filename="%s.txt"\r\n\r\ntext\r\n' % (n, n)
                 for n in (b"a", b"b", b"c")]
        http = [("req-hdr", http_request(b"POST", fields=[b"Content-Type: multipart/form-data; boundary=B"]))]
        record = record_of(gateway, Way(gateway, "clear").ask("REQMOD", "typed", b"".join(parts) + b"--B--\r\n",
                                                              http=http))
        check_form(record)
        assert (record["type"], record["objects"]) == ("multipart/form-data", 3)


class TestProtection:
    def test_clear(self, sallyport):
        way = Way(sallyport, "clear")
        protection = record_of(sallyport, way.ask("RESPMOD", "echo", b"x"))["protection"]
        assert protection["how"] == "none"
        assert not {"cipher", "group", "limit", "end_to_end", "why"} & set(protection)
        assert protection["resumed"] is False

    @pytest.mark.parametrize("version, name", [(ssl.TLSVersion.TLSv1_2, "TLSv1.2"), (ssl.TLSVersion.TLSv1_3, "TLSv1.3")])
    def test_tls(self, sallyport, certificates, version, name):
        context = ssl.create_default_context(cafile=str(certificates.ca))
        context.minimum_version = context.maximum_version = version
        with IcapConnection(sallyport.address("tls"), tls=context) as c:
            reply = c.ask("RESPMOD", sallyport.url("echo", "tls"), b"x")
            cipher = c.sock.cipher()[0]
        record = record_of(sallyport, reply)
        assert record["protection"]["how"] == "strong"
        assert record["protection"]["version"] == name
        assert re.fullmatch("(?i)x25519|(secp|prime)256.*", record["protection"]["group"])
        assert record["protection"]["end_to_end"] is True
        assert not {"limit", "why"} & set(record["protection"])
        if name == "TLSv1.3":  # 1.2 names differ between OpenSSL and the registry
            assert record["protection"]["cipher"] == cipher
        assert record["timing_ms"]["handshake"] > 0

    def test_handshake_time_only_once(self, sallyport, certificates):
        with Way(sallyport, "tls", certificates.ca).connect() as c:
            replies = [c.ask("RESPMOD", sallyport.url("echo", "tls"), b"x") for _ in range(2)]
        assert "handshake" in record_of(sallyport, replies[0])["timing_ms"]
        assert "handshake" not in record_of(sallyport, replies[1])["timing_ms"]


class TestHostileBytes:
    """What a peer chose is escaped: a record is one line of ASCII-safe JSON, whatever was sent."""

    @pytest.mark.parametrize("host", [b'a"b\\c', b"<script>", b"\xff\xfe", "\u009b1mred".encode(),
                                      "münchen.example".encode(), b"x" * 5000])
    def test_url_host(self, sallyport, way, host):
        """Controls cannot even come so far: the head's parser takes none."""
        http = [("req-hdr", b"GET / HTTP/1.1\r\nHost: " + host + b"\r\n\r\n"), ("res-hdr", http_response())]
        record = record_of(sallyport, way.ask("RESPMOD", "echo", b"x", http=http))
        check_form(record)
        assert len(record["url_host"].encode()) <= 512
        line = next(line for line in (sallyport.state / "records.jsonl").read_bytes().split(b"\n")
                    if record["id"].encode() in line)
        assert not any(c < 0x20 or c == 0x7f for c in line)
        line.decode()  # UTF-8
        assert b"\xc2\x9b" not in line

    @pytest.mark.parametrize("field", ["X-Client-IP", "X-Authenticated-User", "X-Client-Username"])
    def test_claims_of_the_peer(self, sallyport, way, field):
        value = '"},{"id":"forged"}\\n\tx'
        record = record_of(sallyport, way.ask("RESPMOD", "echo", b"x", fields=[f"{field}: {value}"]))
        kept = record["client_ip" if field == "X-Client-IP" else "user"]
        assert value.startswith(kept) and len(kept) > 10
        assert all(r["id"] != "forged" for r in sallyport.records())

    def test_url_is_never_recorded_whole(self, sallyport, way):
        """Paths and queries carry secrets; of a path its last part stays, as the file's name."""
        http = [("req-hdr", b"GET http://user:secret@h.example:81/private/f.bin?token=abc HTTP/1.1\r\n\r\n"),
                ("res-hdr", http_response())]
        record = record_of(sallyport, way.ask("RESPMOD", "inspect", samples.EICAR, http=http))
        assert record["url_host"] == "h.example"
        assert record["file"] == "f.bin"
        assert not any(word in json.dumps(record) for word in ("secret", "private", "token"))


class TestRotation:
    def test_nothing_is_lost_under_load(self, tmp_path):
        """SIGUSR1 between renames, while four clients ask: every answer has its record, once, and every
        line of every file is whole."""
        with Sallyport(tmp_path / "gateway") as gateway:
            ids, stop, failures = [[] for _ in range(4)], threading.Event(), []

            def ask(mine):
                try:
                    way = Way(gateway, "clear")
                    with way.connect() as c:
                        while not stop.is_set():
                            mine.append(c.ask("RESPMOD", way.url("echo"), b"x").field("X-Request-ID"))
                except Exception as e:  # handed to the test's thread
                    failures.append(e)

            threads = [threading.Thread(target=ask, args=(mine,)) for mine in ids]
            for t in threads:
                t.start()
            path = gateway.state / "records.jsonl"
            old = []
            for i in range(5):
                wait.until(lambda: path.exists() and path.stat().st_size > 20_000, "some records")
                old.append(gateway.state / f"records.{i}")
                os.rename(path, old[-1])
                gateway.send_signal(signal.SIGUSR1)
                wait.until(path.exists, "the new file")
            stop.set()
            for t in threads:
                t.join()
        assert not failures, failures
        # The gateway has ended: everything is written.
        lines = [line for p in (*old, path) for line in p.read_text().splitlines()]
        recorded = [json.loads(line)["id"] for line in lines]
        answered = [i for mine in ids for i in mine]
        assert len(recorded) == len(set(recorded))
        assert set(answered) <= set(recorded)
        assert len(recorded) - len(answered) <= 4  # a last answer that nobody waited for

    def test_rotation_is_prompt(self, start_sallyport):
        gateway = start_sallyport()
        way, path = Way(gateway, "clear"), gateway.state / "records.jsonl"
        first = way.ask("RESPMOD", "echo", b"x").field("X-Request-ID")
        gateway.wait_record(lambda r: r["id"] == first)
        os.rename(path, gateway.state / "old")
        gateway.send_signal(signal.SIGUSR1)
        wait.until(path.exists, "the new file", 5)
        # The supervisor has made it, and tells the gateway just now.
        wait.until(lambda: way.ask("RESPMOD", "echo", b"x") and path.stat().st_size, "a record in the new file", 5)
        assert [json.loads(line)["id"] for line in (gateway.state / "old").read_text().splitlines()][0] == first


def test_switched_off(start_sallyport):
    gateway = start_sallyport(more="records: {enabled: false}\n")
    assert Way(gateway, "clear").ask("RESPMOD", "echo", b"x").status == 200
    assert gateway.status()["records"]["enabled"] is False
    gateway.stop()
    assert gateway.records() == []


def test_path(start_sallyport, tmp_path):
    gateway = start_sallyport(more=f"records: {{path: {tmp_path / 'audit.log'}}}\n")
    reply = Way(gateway, "clear").ask("RESPMOD", "echo", b"x")
    gateway.stop()
    [record] = [json.loads(line) for line in (tmp_path / "audit.log").read_text().splitlines()]
    assert record["id"] == reply.field("X-Request-ID")
