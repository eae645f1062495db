# SPDX-License-Identifier: Apache-2.0
"""Squid 5.7 hands everything that passes through it to Sallyport: over icap:// and icaps://, uploads
and downloads, of every size that is special to one of the two; compared by digest. Squid's settings
are its defaults, but for the services, for KEEP_READING where a download is inspected as a whole
(Squid 5.7 stalls there, whatever the ICAP server does, Squid bug 5352; TestStall shows it), and for
READ_AHEAD where the client gets chunks.
"""
import base64
import gzip
import http.client
import json
import re
import shutil
import signal
import socket
import threading
import time

import pytest

from testenv import Origin, Process, Sallyport, Squid, need, samples, wait
from testenv.origin import Handler
from testenv.squid import KEEP_READING, LARGE_UPLOADS, READ_AHEAD, take

SCHEMES = ["icap", "icaps"]
BLOCK_STATUS = 403


def service_lines(gateway, certificates, scheme, name):
    """A REQMOD and a RESPMOD service of Squid at one of ours."""
    listener = "tls" if scheme == "icaps" else "clear"
    options = f"tls-cafile={certificates.ca} tls-domain=localhost" if scheme == "icaps" else ""
    return [(point, gateway.url(name, listener), options) for point in ("reqmod_precache", "respmod_precache")]


@pytest.fixture(scope="module", params=SCHEMES)
def scheme(request):
    return request.param


@pytest.fixture(scope="module")
def readable(certificates, tmp_path_factory):
    """The CA where Squid's user can read it."""
    import pathlib
    import tempfile
    folder = pathlib.Path(tempfile.mkdtemp(prefix="squid-ca-"))
    folder.chmod(0o755)
    shutil.copy(certificates.ca, folder / "ca.pem")
    (folder / "ca.pem").chmod(0o644)

    class Readable:
        ca = folder / "ca.pem"
    yield Readable
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def echo_squid(sallyport, readable, scheme):
    with Squid(service_lines(sallyport, readable, scheme, "echo"), extra=LARGE_UPLOADS) as squid:
        yield squid


@pytest.fixture(scope="module")
def chunking_echo_squid(sallyport, readable, scheme):
    with Squid(service_lines(sallyport, readable, scheme, "echo"), extra=READ_AHEAD) as squid:
        yield squid


@pytest.fixture(scope="module")
def inspect_squid(sallyport, readable, scheme):
    extra = KEEP_READING + READ_AHEAD + LARGE_UPLOADS
    with Squid(service_lines(sallyport, readable, scheme, "inspect"), extra=extra) as squid:
        yield squid


def assert_noise(answer, size):
    status, digest, length, head = answer
    assert (status, length) == (200, size), head[:300]
    assert digest == samples.noise_digest(size)


def assert_uploaded(answer, size):
    status, _, _, head = answer
    assert status == 200, head[:300]
    assert samples.noise_digest(size).encode() in head


def assert_blocked(answer):
    status, _, _, head = answer
    assert status == BLOCK_STATUS, head[:300]
    assert samples.EICAR not in head
    assert b"blocked" in head.lower()


class TestEcho:
    """Everything comes back as it went."""

    @pytest.mark.parametrize("size", samples.SIZES)
    def test_download(self, echo_squid, origin, size):
        assert_noise(echo_squid.get(origin.url(f"/size/{size}")), size)

    @pytest.mark.parametrize("size", samples.SIZES)
    def test_download_from_a_chunked_origin(self, chunking_echo_squid, origin, size):
        assert_noise(chunking_echo_squid.get(origin.url(f"/chunked/{size}")), size)

    @pytest.mark.parametrize("size", samples.SIZES)
    def test_upload(self, echo_squid, origin, size):
        assert_uploaded(echo_squid.post(origin.url("/upload"), samples.pieces(size), size), size)

    @pytest.mark.parametrize("size", samples.SIZES)
    def test_chunked_upload(self, echo_squid, origin, size):
        assert_uploaded(echo_squid.post(origin.url("/upload"), samples.pieces(size)), size)

    @pytest.mark.parametrize("status", [204, 304, 404, 500])
    def test_other_answers(self, echo_squid, origin, status):
        assert echo_squid.get(origin.url(f"/status/{status}"))[0] == status

    @pytest.mark.parametrize("scheme", ["icaps", pytest.param("icap", marks=pytest.mark.soak)], indirect=True)
    def test_one_gibibyte(self, echo_squid, origin):
        assert_noise(echo_squid.get(origin.url(f"/size/{samples.GIB}"), timeout=120), samples.GIB)


class TestInspect:
    """Clean files pass unchanged; infected ones are answered with the block page."""

    @pytest.mark.parametrize("size", samples.SIZES)
    def test_clean_download(self, inspect_squid, origin, size):
        assert_noise(inspect_squid.get(origin.url(f"/size/{size}")), size)

    @pytest.mark.parametrize("size", samples.SIZES)
    def test_clean_download_from_a_chunked_origin(self, inspect_squid, origin, size):
        assert_noise(inspect_squid.get(origin.url(f"/chunked/{size}")), size)

    @pytest.mark.parametrize("size", samples.SIZES)
    def test_clean_upload(self, inspect_squid, origin, size):
        assert_uploaded(inspect_squid.post(origin.url("/upload"), samples.pieces(size), size), size)

    @pytest.mark.parametrize("size", samples.SIZES)
    def test_clean_chunked_upload(self, inspect_squid, origin, size):
        assert_uploaded(inspect_squid.post(origin.url("/upload"), samples.pieces(size)), size)

    @pytest.mark.soak
    def test_download_of_one_gibibyte(self, inspect_squid, origin):
        """Minutes: what delay pools cost."""
        assert_noise(inspect_squid.get(origin.url(f"/size/{samples.GIB}"), timeout=600), samples.GIB)

    def test_large_infected_upload(self, inspect_squid, origin):
        """The test string at the end of what begins like an archive, 10 MiB behind its first byte."""
        before, size = len(origin.uploads), 10 * samples.MIB
        pieces = [b"PK\x03\x04", *samples.pieces(size), samples.EICAR]
        assert_blocked(inspect_squid.post(origin.url("/upload"), pieces, 4 + size + len(samples.EICAR)))
        assert len(origin.uploads) == before, "the infected upload reached the origin"

    def test_infected_download(self, inspect_squid, origin):
        assert_blocked(inspect_squid.get(origin.url("/eicar")))

    def test_infected_upload(self, inspect_squid, origin):
        before = len(origin.uploads)
        assert_blocked(inspect_squid.post(origin.url("/upload"), [samples.EICAR], len(samples.EICAR)))
        assert len(origin.uploads) == before, "the infected upload reached the origin"

    def test_records(self, inspect_squid, sallyport, origin, scheme):
        """One record for each verdict, which says how the connection was protected."""
        inspect_squid.get(origin.url("/eicar"))
        listener = "tls" if scheme == "icaps" else "clear"
        record = sallyport.wait_record(lambda r: r.get("verdict") == "block" and r.get("listener") == listener
                                       and r.get("method") == "RESPMOD")
        assert record["service"] == "inspect"
        assert record["cause"] == "infected"


@pytest.mark.slow
@pytest.mark.parametrize("scheme, service, size", [
    ("icap", "echo", 128 * samples.MIB), ("icaps", "inspect", samples.GIB),
    *(pytest.param(*row, marks=pytest.mark.soak) for row in (
        ("icaps", "echo", 128 * samples.MIB), ("icap", "inspect", samples.GIB), ("icap", "echo", samples.GIB),
        ("icaps", "echo", samples.GIB)))], indirect=["scheme"])
def test_large_upload(sallyport, readable, scheme, origin, service, size):
    with Squid(service_lines(sallyport, readable, scheme, service), extra=LARGE_UPLOADS) as squid:
        answer = squid.post(origin.url("/upload"), samples.pieces(size), size, timeout=120)
    assert_uploaded(answer, size)


class TestInspectOnDefaults:
    """All of Squid's settings as they come; the origin and the client send as those over a network do."""

    @pytest.fixture(scope="class")
    def squid(self, sallyport, readable, scheme):
        with Squid(service_lines(sallyport, readable, scheme, "inspect")) as squid:
            yield squid

    @pytest.mark.parametrize("size", samples.SIZES)
    def test_clean_download(self, squid, origin, size):
        assert_noise(squid.get(origin.url(f"/paced/{size}"), timeout=60), size)

    @pytest.mark.parametrize("size", samples.SIZES)
    def test_clean_upload(self, squid, origin, size):
        assert_uploaded(squid.post(origin.url("/upload"), Handler.paced(size), size), size)

    def test_blocked_download(self, squid, origin):
        assert_blocked(squid.get(origin.url("/eicar")))

    def test_blocked_upload(self, squid, origin):
        assert_blocked(squid.post(origin.url("/upload"), [samples.EICAR], len(samples.EICAR)))


class TestStall:
    """Squid 5.7 and responses of 64 KiB and more, on an ICAP server that answers after it has seen
    everything: when its buffer of 64 KiB is full and the origin has more, it forgets to read on. So
    a fast origin must not get ahead of the ICAP connection. After a preview it nearly always does,
    without one (our default) a paced origin does not; with delay pools Squid goes on in any case."""

    SIZE = 200_000
    PATIENCE = 4.0  # seconds without a byte that count as a stall

    @pytest.fixture(scope="class")
    def gateway(self, tmp_path_factory):
        services = "  - {name: shown, type: inspect, path: /shown, preview: 4k}\n"
        with Sallyport(tmp_path_factory.mktemp("preview"), services=services) as gateway:
            yield gateway

    def progress(self, squid, origin, size):
        """Bytes of the answer that came before |PATIENCE| seconds went by without one."""
        with socket.create_connection(("127.0.0.1", squid.port), self.PATIENCE) as s:
            s.sendall(f"GET {origin.url(f'/size/{size}')} HTTP/1.1\r\nHost: origin\r\nConnection: close\r\n\r\n".encode())
            got, started = 0, time.monotonic()
            while time.monotonic() - started < 60:
                try:
                    data = s.recv(65536)
                except TimeoutError:
                    return got
                if not data:
                    return got
                got += len(data)
        raise AssertionError("neither an end nor a stall")

    def test_preview_stalls(self, gateway, start_squid, origin):
        squid = start_squid([("respmod_precache", gateway.url("shown"), "")])
        assert squid.get(origin.url("/size/1024"))[0] == 200, "small bodies pass with a preview"
        # A race, which Squid wins now and then.
        assert any(self.progress(squid, origin, self.SIZE) == 0 for _ in range(6))

    @pytest.mark.parametrize("size", [SIZE, 10 * samples.MIB])
    def test_paced_origin_does_not_stall(self, gateway, start_squid, origin, size):
        squid = start_squid([("respmod_precache", gateway.url("inspect"), "")])
        for _ in range(5):
            assert_noise(squid.get(origin.url(f"/paced/{size}")), size)

    @pytest.mark.parametrize("service", ["inspect", "shown"])
    def test_delay_pools_help(self, gateway, start_squid, origin, service):
        squid = start_squid([("respmod_precache", gateway.url(service), "")], extra=KEEP_READING)
        for _ in range(3):
            assert_noise(squid.get(origin.url(f"/size/{self.SIZE}"), timeout=60), self.SIZE)

    def test_uploads_do_not_stall(self, gateway, start_squid, origin):
        squid = start_squid([("reqmod_precache", gateway.url("shown"), "")])
        assert_uploaded(squid.post(origin.url("/upload"), samples.pieces(self.SIZE), self.SIZE), self.SIZE)


class Content(Handler):
    """Further addresses of the origin.

    GET /gzip/KIND    a compressed KIND of FILES, whatever the client accepts
    GET /file/KIND    the same as it is
    """

    FILES = {"clean": samples.noise(90_000) + bytes(400_000), "small": b"a letter\n", "infected": samples.EICAR,
             "hidden": b"PK\x03\x04" + samples.noise(300_000) + samples.EICAR}

    def do_GET(self):
        kind, _, name = self.path.lstrip("/").partition("/")
        if kind not in ("gzip", "file"):
            super().do_GET()
            return
        self.server.count(self.path)
        self.server.heads.append(dict(self.headers))
        body = self.FILES[name]
        if kind == "gzip":
            body = gzip.compress(body, mtime=0)
        self.start(200, ("Content-Length", str(len(body))), ("Accept-Ranges", "bytes"),
                   *([("Content-Encoding", "gzip")] if kind == "gzip" else []))
        self.wfile.write(body)

    def do_POST(self):
        self.server.heads.append(dict(self.headers))
        super().do_POST()

    do_PUT = do_POST


@pytest.fixture(scope="module")
def content():
    with Origin() as server:
        server.server.RequestHandlerClass = Content
        server.server.heads = server.heads = []
        yield server


class TestClientCertificate:
    """A listener that lets nobody in without one: Squid's OpenSSL build has it."""

    @pytest.fixture(scope="class")
    def gateway(self, tmp_path_factory, certificates):
        certificate, key = certificates.server
        config = ("state: {state}\nthreads: 2\nsandbox: best-effort\nadmin: {address: 127.0.0.1:0}\n"
                  f"tls: [{{name: mutual, certificate: {certificate}, key: {key}, client-ca: {certificates.ca}}}]\n"
                  'listeners: [{name: tls, address: "127.0.0.1:0", tls: mutual, require: strong}]\n'
                  "services:\n  - {name: inspect, type: inspect, path: /inspect}\n")
        with Sallyport(tmp_path_factory.mktemp("mutual"), config=config) as gateway:
            yield gateway

    @pytest.fixture(scope="class")
    def shown(self, certificates, readable):
        """A certificate of its own, where Squid's user can read it."""
        for path, name in zip(certificates.issue("squid", usage="clientAuth"), ("cert.pem", "key.pem"), strict=True):
            shutil.copy(path, readable.ca.parent / name)
            (readable.ca.parent / name).chmod(0o644)
        return f" tls-cert={readable.ca.parent}/cert.pem tls-key={readable.ca.parent}/key.pem"

    @pytest.fixture(scope="class")
    def squid(self, gateway, readable, shown):
        services = [(point, url, options + shown) for point, url, options in
                    service_lines(gateway, readable, "icaps", "inspect")]
        with Squid(services, extra=KEEP_READING + READ_AHEAD + LARGE_UPLOADS) as squid:
            yield squid

    @pytest.mark.parametrize("size", samples.SIZES)
    def test_download(self, squid, origin, size):
        assert_noise(squid.get(origin.url(f"/size/{size}")), size)

    @pytest.mark.parametrize("size", samples.SIZES)
    def test_upload(self, squid, origin, size):
        assert_uploaded(squid.post(origin.url("/upload"), samples.pieces(size), size), size)

    def test_infected(self, gateway, squid, origin):
        assert_blocked(squid.get(origin.url("/eicar")))
        assert_blocked(squid.post(origin.url("/upload"), [samples.EICAR], len(samples.EICAR)))
        record = gateway.wait_record(lambda r: r.get("verdict") == "block")
        assert record["protection"]["peer"] == "CN=squid", record

    def test_without_one(self, gateway, readable, start_squid, origin):
        squid = start_squid(service_lines(gateway, readable, "icaps", "inspect"))
        assert squid.get(origin.url("/size/1024"))[0] >= 500


class TestPartial:
    """206: Squid sends on what it has itself, from where the answer says. It takes one in place of a preview's
    204, and without a preview where it may take a 204, which is for less than 64 KiB."""

    @pytest.fixture(scope="class")
    def gateway(self, tmp_path_factory):
        services = "".join(f"  - {{name: {name}, type: echo, path: /{name}, answer: partial{more}}}\n"
                           for name, more in (("partial", ""), ("previewed", ", preview: 1k")))
        with Sallyport(tmp_path_factory.mktemp("partial"), services=services) as gateway:
            yield gateway

    @pytest.fixture(scope="class", params=["partial", "previewed"])
    def squid(self, request, gateway, readable):
        extra = KEEP_READING + READ_AHEAD + LARGE_UPLOADS
        with Squid(service_lines(gateway, readable, "icap", request.param), extra=extra) as squid:
            squid.service = request.param
            yield squid

    @staticmethod
    def assert_status(gateway, since, method, squid, size):
        status = gateway.wait_record(lambda r: r["method"] == method, since=since)["icap_status"]
        may = squid.service == "previewed" or size < 65536
        assert status == ((206 if may else 200) if size else 204)

    @pytest.mark.parametrize("size", samples.SIZES)
    def test_download(self, gateway, squid, origin, size):
        since = len(gateway.records())
        assert_noise(squid.get(origin.url(f"/size/{size}")), size)
        self.assert_status(gateway, since, "RESPMOD", squid, size)

    @pytest.mark.parametrize("size", samples.SIZES)
    def test_upload(self, gateway, squid, origin, size):
        since = len(gateway.records())
        assert_uploaded(squid.post(origin.url("/upload"), samples.pieces(size), size), size)
        self.assert_status(gateway, since, "REQMOD", squid, size)
        gateway.wait_record(lambda r: r["method"] == "RESPMOD", since=since)


class TestFalsePositive:
    """First one at nine o'clock: what the user sees, what the operator does, and that it ends by itself."""

    def test_walk(self, start_sallyport, start_squid, readable, content):
        gateway = start_sallyport()
        squid = start_squid(service_lines(gateway, readable, "icap", "inspect"))

        def run(*arguments):
            done = gateway.command_line(*arguments, "--state", gateway.state)
            assert done.returncode == 0, done.stderr
            return done.stdout
        answer = squid.get(content.url("/file/infected"))
        assert_blocked(answer)
        number = re.search(rb"Number of this decision</dt><dd><code>([0-9a-z]+)</code>", answer[3])[1].decode()
        gateway.wait_record(lambda r: r["id"] == number)
        assert re.search(r"^finding +yara: EICAR-Test-File", run("status", "--id", number), re.M)
        run("exception", "add", "--id", number, "--for", "5s", "--reason", "ticket 7")
        status, digest, _, _ = squid.get(content.url("/file/infected"))
        assert (status, digest) == (200, samples.digest(samples.EICAR))
        record = gateway.wait_record(lambda r: "exception" in r)
        assert (record["verdict"], record["action"], record["sha256"]) == ("block", "pass", samples.digest(samples.EICAR))
        wait.until(lambda: squid.get(content.url("/file/infected"))[0] == BLOCK_STATUS, "the end of the exception", 15)
        wait.until(lambda: gateway.metrics()["sallyport_exceptions"] == 0, "its end in the metrics")


class TestNewGateways:
    """Squid goes on while gateways are replaced below it: no user sees an error, and the services are never
    suspended (which would be for three minutes)."""

    def test_reload_and_reexecution(self, start_sallyport, start_squid, readable, content):
        gateway = start_sallyport(more="drain: 20s\n")  # in a delay pool a download takes seconds on a busy machine
        squid = start_squid(service_lines(gateway, readable, "icap", "inspect"), extra=KEEP_READING + READ_AHEAD)
        stop, failures, done = threading.Event(), [], [0]

        def user(seed):
            while not stop.is_set() and not failures:
                try:
                    status, digest, length, head = squid.get(content.url("/file/clean"))
                    if (status, digest) != (200, samples.digest(Content.FILES["clean"])):
                        failures.append(f"download: {status}, {length} bytes, {head[:300]}")
                    status, _, _, head = squid.get(content.url("/file/infected"))
                    if status != BLOCK_STATUS:
                        failures.append(f"not blocked: {status} {head[:300]}")
                    status, _, _, head = squid.post(content.url("/up"), samples.pieces(100_000, seed), 100_000)
                    if status != 200 or samples.noise_digest(100_000, seed).encode() not in head:
                        failures.append(f"upload: {status} {head[:300]}")
                except Exception as error:  # noqa: BLE001: whatever it is, a user sees it
                    failures.append(repr(error))
                done[0] += 1

        def go_on():
            enough = done[0] + 8
            wait.until(lambda: done[0] >= enough or failures, "more users", 60)
            assert not failures, (failures[:3], squid.cache_log()[-2000:])
        threads = [threading.Thread(target=user, args=(seed,)) for seed in range(1, 5)]
        [t.start() for t in threads]
        try:
            for n in range(4):
                go_on()
                pid = gateway.gateway_pid()
                if n % 2:
                    gateway.send_signal(signal.SIGUSR2)
                else:
                    gateway.config.write_text(f"limits: {{scan-wait: {101 + n}ms}}\n"
                                              + re.sub("limits:.*\n", "", gateway.config.read_text()))
                    gateway.send_signal(signal.SIGHUP)
                wait.until(lambda pid=pid: gateway.status()["pid"] != pid and gateway.status()["ready"], "another one", 60)
            go_on()
        finally:
            stop.set()
            [t.join(60) for t in threads]
        assert not failures, failures[:3]
        assert "suspending ICAP service" not in squid.cache_log()


class TestContent:
    """What is inside of what passes: compressed responses, forms, parts of files."""

    @pytest.fixture(scope="class")
    def squid(self, sallyport, readable):
        services = service_lines(sallyport, readable, "icap", "inspect")
        with Squid(services, extra=KEEP_READING + READ_AHEAD) as squid:
            yield squid

    def test_clean_gzip_passes_bit_exact(self, squid, content):
        expected = gzip.compress(Content.FILES["clean"], mtime=0)
        status, digest, length, _ = squid.get(content.url("/gzip/clean"), fields={"Accept-Encoding": "gzip"})
        assert (status, length, digest) == (200, len(expected), samples.digest(expected))

    @pytest.mark.parametrize("name", ["infected", "hidden"])
    def test_infected_gzip_is_blocked(self, sallyport, squid, content, name):
        since = len(sallyport.records())
        assert_blocked(squid.get(content.url(f"/gzip/{name}"), fields={"Accept-Encoding": "gzip"}))
        record = sallyport.wait_record(lambda r: r.get("verdict") == "block", since=since)
        assert (record["cause"], record["method"], record["url_host"]) == ("infected", "RESPMOD", "127.0.0.1")

    @staticmethod
    def form(parts):
        lines = []
        for name, content in parts:
            lines += [b"--frontier\r\n", b'Content-Disposition: form-data; name="f"; filename="%s"\r\n' % name,
                      b"Content-Type: application/octet-stream\r\n\r\n", content, b"\r\n"]
        return b"".join([*lines, b"--frontier--\r\n"])

    def upload(self, squid, content, parts, chunked):
        body = self.form(parts)
        fields = {"Content-Type": "multipart/form-data; boundary=frontier"}
        connection = squid.open()
        try:
            if not chunked:
                fields["Content-Length"] = str(len(body))
            connection.request("POST", content.url("/form"), body=iter([body]), headers=fields, encode_chunked=chunked)
            return body, take(connection.getresponse())
        finally:
            connection.close()

    @pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
    def test_one_part_of_a_form(self, sallyport, squid, content, chunked):
        before, since = len(content.uploads), len(sallyport.records())
        parts = [(b"a.bin", samples.noise(100_000)), (b"b.com", samples.EICAR), (b"c.bin", samples.noise(5000, 2))]
        assert_blocked(self.upload(squid, content, parts, chunked)[1])
        assert len(content.uploads) == before, "the infected form reached the origin"
        record = sallyport.wait_record(lambda r: r.get("verdict") == "block", since=since)
        assert any("part 2" in f.get("where", "") for f in record["findings"]), record

    @pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
    def test_clean_form(self, squid, content, chunked):
        body, answer = self.upload(squid, content, [(b"a.bin", samples.noise(100_000)), (b"b.bin", b"x")], chunked)
        assert answer[0] == 200
        assert content.uploads[-1]["sha256"] == samples.digest(body)

    def test_range(self, squid, content):
        """The origin is asked for all of it, and so the client gets all of it."""
        fields = {"Range": "bytes=100-199", "If-Range": '"x"', "X-Kept": "yes"}
        status, digest, _, _ = squid.get(content.url("/file/clean"), fields=fields)
        assert (status, digest) == (200, samples.digest(Content.FILES["clean"]))
        asked = content.heads[-1]
        assert asked["X-Kept"] == "yes"
        assert not {"range", "if-range"} & {name.lower() for name in asked}

    def test_range_of_an_infected_file(self, squid, content):
        """No way to fetch it piece by piece."""
        for start in (0, 200_000, len(Content.FILES["hidden"]) - 30):
            answer = squid.get(content.url("/file/hidden"), fields={"Range": f"bytes={start}-{start + 29}"})
            assert_blocked(answer)


class TestUsers:
    """Who it is stands in the records, and rules go by it: what Squid states counts, and nobody else's
    word does."""

    RULES = ("rules: [{name: boss, user: [boss], then: allow}, {name: lab, client: [127.0.0.77/32], then: allow}, "
             "{name: no-bob, user: [bob], file: [\"*.secret\"], then: block}]")
    CONFIG = """\
state: {state}
threads: 2
sandbox: best-effort
admin: {address: 127.0.0.1:0}
listeners:
  - {name: believed, address: "127.0.0.1:0", client-ip-from: [127.0.0.1]}
  - {name: doubted, address: "127.0.0.1:0", client-ip-from: [192.0.2.1]}
services:
  - {name: ruled, type: inspect, path: /ruled, RULES}
"""
    AUTH = """\
auth_param basic program HELPER
auth_param basic realm test
acl known proxy_auth REQUIRED
acl loopback src 127.0.0.0/8
http_access allow loopback known
icap_send_client_ip on
adaptation_send_username on
"""

    @pytest.fixture(scope="class")
    def gateway(self, tmp_path_factory):
        config = self.CONFIG.replace("RULES", self.RULES)
        with Sallyport(tmp_path_factory.mktemp("users"), config=config) as gateway:
            yield gateway

    def start(self, gateway, listener):
        helper = need("/usr/lib/squid/basic_fake_auth", "squid-openssl")
        services = [(point, gateway.url("ruled", listener), "") for point in ("reqmod_precache", "respmod_precache")]
        squid = Squid(services, extra="")
        config = squid.dir / "squid.conf"
        squid.stop()
        # Before the rule of the general configuration that lets everybody pass.
        text = config.read_text().replace("acl local src", self.AUTH.replace("HELPER", helper) + "acl local src")
        config.write_text(text.replace("http_access allow local\n", ""))
        Process.__init__(squid, squid.command, squid.dir / "output.log", cwd=squid.dir)
        wait.until(squid._answers, "an answer of Squid", 30)
        return squid

    @pytest.fixture(scope="class")
    def squid(self, gateway):
        with self.start(gateway, "believed") as squid:
            yield squid

    def get(self, squid, url, user, source="127.0.0.1"):
        connection = http.client.HTTPConnection("127.0.0.1", squid.port, timeout=20, source_address=(source, 0))
        try:
            secret = base64.b64encode(f"{user}:s3cret-of-{user}".encode()).decode()
            connection.request("GET", url, headers={"Proxy-Authorization": f"Basic {secret}"})
            return take(connection.getresponse())
        finally:
            connection.close()

    def both(self, gateway, since, user):
        """The records of the request and of its response."""
        def found():
            mine = [r for r in gateway.records()[since:] if r.get("user") == user and r["method"] != "OPTIONS"]
            return mine if {r["method"] for r in mine} == {"REQMOD", "RESPMOD"} else None
        return wait.until(found, f"records of {user}")

    @pytest.mark.parametrize("user, source", [("alice", "127.0.0.1"), ("carol", "127.0.0.9"), ("a b%c", "127.0.0.1")])
    def test_records(self, gateway, squid, content, user, source):
        since = len(gateway.records())
        status, digest, _, _ = self.get(squid, content.url("/file/small"), user, source)
        assert (status, digest) == (200, samples.digest(Content.FILES["small"]))
        records = self.both(gateway, since, user)
        assert {r["client_ip"] for r in records} == {source}
        assert "s3cret" not in json.dumps(records)

    def test_secrets_are_nowhere(self, gateway, squid, content):
        self.get(squid, content.url("/file/small"), "dave")
        for secret in ("s3cret-of-dave", base64.b64encode(b"dave:s3cret-of-dave").decode()):
            assert secret not in (gateway.state / "records.jsonl").read_text()
            assert secret not in gateway.log()

    @pytest.mark.parametrize("user, source, passes, rule", [
        ("boss", "127.0.0.1", True, "boss"), ("alice", "127.0.0.1", False, None), ("alice", "127.0.0.77", True, "lab"),
        ("alice", "127.0.0.78", False, None), ("boss2", "127.0.0.1", False, None)])
    def test_rules(self, gateway, squid, content, user, source, passes, rule):
        since = len(gateway.records())
        answer = self.get(squid, content.url("/file/infected"), user, source)
        if passes:
            assert (answer[0], answer[1]) == (200, samples.digest(samples.EICAR))
        else:
            assert_blocked(answer)
        records = self.both(gateway, since, user)
        assert [r.get("rule") for r in records if r["method"] == "RESPMOD"] == [rule]

    def test_block_by_user(self, squid, content):
        before = len(content.paths)
        assert self.get(squid, content.url("/file/plan.secret"), "bob")[0] == BLOCK_STATUS
        assert len(content.paths) == before, "the request reached the origin"

    def test_a_proxy_that_is_not_believed(self, gateway, content):
        """The same statements over a listener that believes somebody else are recorded, and open nothing."""
        with self.start(gateway, "doubted") as squid:
            since = len(gateway.records())
            assert_blocked(self.get(squid, content.url("/file/infected"), "boss", "127.0.0.77"))
            records = self.both(gateway, since, "boss")
            assert {r["client_ip"] for r in records} == {"127.0.0.77"}
            assert not any("rule" in r for r in records)


class TestTrickle:
    """The answer that begins early keeps Squid 5.7 reading, without delay pools, however fast the origin
    is (Squid bug 5352): the price is that what is blocked breaks off instead of ending in a page."""

    # An answer that breaks off is a failure for Squid, and after ten of them it gives the service up.
    NO_LIMIT = "icap_service_failure_limit -1\n"
    SERVICE = "  - {name: trickle, type: inspect, path: /trickle, slow: {mode: trickle, after: 10ms, every: 20ms}}\n"

    @pytest.fixture(scope="class")
    def gateway(self, tmp_path_factory):
        with Sallyport(tmp_path_factory.mktemp("trickle"), services=self.SERVICE) as gateway:
            yield gateway

    @pytest.fixture(scope="class")
    def squid(self, gateway):
        with Squid([("respmod_precache", gateway.url("trickle"), "")], extra=self.NO_LIMIT) as squid:
            yield squid

    @pytest.mark.parametrize("size", [*samples.SIZES, 200_000, 40 * samples.MIB])
    def test_clean(self, squid, origin, size):
        for _ in range(3):
            assert_noise(squid.get(origin.url(f"/size/{size}")), size)

    @pytest.fixture(scope="class")
    def infected(self):
        """GET /large/N: an archive of N bytes with the test string at its end."""
        class Large(Handler):
            def do_GET(self):
                size = int(self.path.rpartition("/")[2])
                self.send_bytes(self.pieces(size), size)

            @staticmethod
            def pieces(size):
                yield b"PK\x03\x04"
                yield from samples.pieces(size - 4 - len(samples.EICAR))
                yield samples.EICAR
        with Origin() as server:
            server.server.RequestHandlerClass = Large
            yield server

    @pytest.mark.parametrize("size", [1000, 65536, 200_000, samples.MIB, 10 * samples.MIB, 40 * samples.MIB])
    def test_blocked(self, gateway, squid, infected, size):
        """The client sees a block page, when the verdict was there before the answer began, or a transfer
        that breaks off; never the end of the file, and never a whole one."""
        size += 7  # no other test's
        for _ in range(3):
            kind, got = self.download(squid, infected.url(f"/large/{size}"))
            assert samples.EICAR[-30:] not in got and len(got) < size, kind
            assert kind in ("page", "broken"), (kind, len(got))

        def all_three():
            found = [r for r in gateway.records() if r.get("body_len") == size]
            return found if len(found) == 3 else None
        records = wait.until(all_three, "the records")
        assert all((r["verdict"], r["action"], r["cause"]) == ("block", "block", "infected") for r in records), records
        if size >= 10 * samples.MIB:
            assert any("had begun" in r.get("error_text", "") for r in records), records

    @pytest.mark.parametrize("extra, survives", [("", False), (NO_LIMIT, True)], ids=["default", "no-limit"])
    def test_many_blocked_files(self, gateway, start_squid, origin, infected, extra, survives):
        """With Squid's own limit of ten failures, whoever fetches a dozen infected files switches the service
        off for everybody, for three minutes; without the limit nobody notices."""
        squid = start_squid([("respmod_precache", gateway.url("trickle"), "")], extra=extra)
        for i in range(14):
            kind, _ = self.download(squid, infected.url(f"/large/{10 * samples.MIB + i}"))
            assert kind != "whole"
        assert (squid.get(origin.url("/size/1000"))[0] == 200) == survives
        assert ("suspending ICAP service" in squid.cache_log()) != survives

    @staticmethod
    def download(squid, url):
        """("page" | "broken" | "whole", the bytes that came)."""
        connection = squid.open()
        try:
            connection.request("GET", url)
            answer = connection.getresponse()
            got = answer.read()
        except http.client.IncompleteRead as e:
            return "broken", e.partial
        except (ConnectionError, http.client.HTTPException):
            return "broken", b""
        finally:
            connection.close()
        if answer.status == BLOCK_STATUS:
            return "page", got
        return ("broken" if answer.status >= 500 else "whole"), got
