# SPDX-License-Identifier: Apache-2.0
"""`sallyport probe`: real servers first (ours, c-icap, openssl s_server), then a scripted one that does
each thing wrong once."""
import concurrent.futures
import email.utils
import json
import os
import re
import socket
import socketserver
import ssl
import subprocess
import threading

import pytest

from testenv import Certificates, build_dir, free_port, need, wait
from testenv.login_server import LoginServer, basic, server_context
from testenv.sallyport import run_command


def run(*arguments, **more):
    return run_command(build_dir(), "probe", *arguments, **more)


def probe(*arguments):
    """(exit code, id -> severity, everything)."""
    done = run(*arguments, "--json")
    found = json.loads(done.stdout)
    return done.returncode, {c["id"]: c["severity"] for c in found["checks"]}, found


def bad(checks):
    return {name for name, severity in checks.items() if severity in ("warn", "fail")}


class TestOurs:
    """Nothing fails here; a service that inspects waits for the whole file, and says so."""

    def test_inspect(self, sallyport):
        code, checks, found = probe(sallyport.url("inspect"))
        assert (code, found["failed"]) == (0, 0)
        assert bad(checks) <= {"first-byte-late"}
        assert checks["eicar-passed"] == checks["eicar-header"] == "ok"

    def test_echo(self, sallyport):
        code, checks, _ = probe(sallyport.url("echo"))
        assert (code, bad(checks)) == (0, {"eicar-passed"})

    def test_preview(self, start_sallyport):
        gateway = start_sallyport(services="  - {name: p, type: inspect, path: /p, preview: 1024}\n")
        code, checks, _ = probe(gateway.url("p"))
        assert code == 0
        assert checks["100-after-ieof"] == checks["preview-answer"] == checks["large-answer"] == "ok"

    def test_tls(self, sallyport, certificates):
        code, checks, found = probe(sallyport.url("inspect", "tls"), "--ca", certificates.ca)
        assert (code, found["failed"]) == (0, 0)
        assert bad(checks) <= {"first-byte-late", "tls-expires-soon"}
        assert checks["tls-resumption"] == checks["tls-old-version"] == checks["tls-clear-text"] == "ok"
        assert any("CN=server, issued by CN=Sallyport test CA" in note for note in found["notes"])

    def test_unknown_ca(self, sallyport):
        """Nothing is said to a server that nobody vouches for."""
        code, checks, _ = probe(sallyport.url("inspect", "tls"))
        assert code == 3
        assert checks["tls-chain"] == "fail" and checks["options-answer"] == "skipped"
        code, checks, _ = probe(sallyport.url("inspect", "tls"), "--insecure-no-verify")
        assert code == 0
        assert checks["tls-chain"] == "warn" and checks["options-answer"] == "ok"

    def test_service_in_place_of_the_one_in_the_url(self, sallyport):
        assert probe(sallyport.url("nothing"))[1]["options-status"] == "fail"
        assert probe(sallyport.url("nothing"), "--service", "echo")[0] == 0

    def test_no_eicar(self, sallyport):
        before = len(sallyport.records())
        _, checks, _ = probe(sallyport.url("inspect"), "--no-eicar")
        assert checks["eicar-passed"] == "skipped"
        assert not [r for r in sallyport.records()[before:] if "EICAR" in json.dumps(r)]

    def test_text(self, sallyport):
        done = run(sallyport.url("echo"))
        assert (done.returncode, done.stderr) == (0, "")
        for words in ("^Connection$", "^OPTIONS$", "^  ok       ISTag: \"", "^  warn     eicar-passed: ",
                      r"/echo: 0 failed, 1 warned, \d+ fine, \d+ skipped$"):
            assert re.search(words, done.stdout, re.M), words


class TestCIcap:
    def test_echo(self, cicap):
        """What c-icap 0.5.10 really does."""
        code, checks, found = probe(f"icap://127.0.0.1:{cicap.port}/echo")
        assert (code, found["failed"]) == (0, 0)
        assert bad(checks) == {"unknown-method", "bad-version", "error-istag", "eicar-passed"}
        assert checks["preview-answer"] == checks["first-byte-late"] == "ok"

    def test_ex206(self, cicap):
        """A service of it that closes the connection when it has to give back more than 64 KiB itself."""
        code, checks, found = probe(f"icap://127.0.0.1:{cicap.port}/ex206")
        assert (code, found["failed"]) == (1, 1)
        assert bad(checks) == {"unknown-method", "bad-version", "error-istag", "eicar-passed", "large-answer"}

    def test_tls(self, cicap, certificates):
        code, checks, _ = probe(f"icaps://127.0.0.1:{cicap.tls_port}/echo", "--ca", certificates.ca)
        assert code == 0
        assert checks["tls-chain"] == checks["tls-name"] == checks["tls-resumption"] == "ok"


class TestTls:
    """openssl s_server, which speaks no ICAP but all kinds of TLS."""

    @pytest.fixture
    def serve(self):
        started = []

        def start(certificate, *options):
            port = free_port()
            command = [need("openssl", "openssl"), "s_server", "-accept", f"127.0.0.1:{port}", "-cert",
                       str(certificate[0]), "-key", str(certificate[1]), "-quiet", *options]
            server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                                      stderr=subprocess.PIPE)
            started.append(server)
            wait.until(lambda: _listens(port), "s_server to listen")
            return f"icaps://127.0.0.1:{port}/x"
        yield start
        for server in started:
            server.kill()
            server.communicate()

    def check(self, url, ca):
        return probe(url, "--ca", ca, "--timeout", 2)

    def test_no_icap(self, serve, certificates):
        code, checks, _ = self.check(serve(certificates.server), certificates.ca)
        assert code == 4
        assert checks["tls-chain"] == "ok" and checks["options-answer"] == "fail"

    def test_old_versions(self, serve, certificates):
        url = serve(certificates.server, "-cipher", "ALL:@SECLEVEL=0")
        assert self.check(url, certificates.ca)[1]["tls-old-version"] == "warn"

    def test_nothing_but_old(self, serve, certificates):
        url = serve(certificates.server, "-tls1_1", "-cipher", "ALL:@SECLEVEL=0")
        _, checks, _ = self.check(url, certificates.ca)
        assert checks["tls-handshake"] == "fail"
        assert checks["tls-version"] == checks["tls-cipher"] == checks["tls-old-version"] == "warn"

    def test_another_name(self, serve, certificates):
        issued = certificates.issue("probe-elsewhere", "subjectAltName=DNS:elsewhere.test")
        code, checks, _ = self.check(serve(issued), certificates.ca)
        assert (code, checks["tls-name"], checks["tls-chain"]) == (3, "fail", "ok")

    def test_expired(self, serve, certificates):
        issued = certificates.issue("probe-expired", days=-1)
        code, checks, _ = self.check(serve(issued), certificates.ca)
        assert (code, checks["tls-expired"], checks["tls-chain"]) == (3, "fail", "fail")

    def test_small_key_and_sha1(self, serve, tmp_path, certificates):
        made = _issue(certificates, tmp_path, "rsa:1024", "-sha1")
        code, checks, _ = self.check(serve(made, "-cipher", "ALL:@SECLEVEL=0"), certificates.ca)
        assert (code, checks["tls-weak-key"], checks["tls-sha1"]) == (3, "fail", "fail")

    def test_intermediate_that_is_not_sent(self, serve, tmp_path, certificates):
        """Right or wrong depends on what the client happens to know."""
        (tmp_path / "between").mkdir()
        between = Certificates(tmp_path / "between", common_name="Between")
        issued = between.issue("server")
        _, checks, _ = self.check(serve(issued), certificates.ca)
        assert checks["tls-chain"] == "fail" and checks["tls-chain-incomplete"] == "warn"

    def test_no_tls(self, sallyport, certificates):
        code, checks, _ = probe(sallyport.url("echo").replace("icap:", "icaps:"), "--ca", certificates.ca)
        assert (code, checks["tls-handshake"]) == (3, "fail")

    def test_client_certificate(self, start_sallyport, certificates):
        config = ("state: {state}\nthreads: 1\nsandbox: best-effort\nadmin: {address: 127.0.0.1:0}\ntls:\n"
                  f"  - {{name: t, certificate: {certificates.server[0]}, key: {certificates.server[1]}, "
                  f"client-ca: {certificates.ca}}}\nlisteners:\n"
                  '  - {name: tls, address: "127.0.0.1:0", tls: t, require: strong}\n'
                  "services:\n  - {name: echo, type: echo, path: /echo}\n")
        url = start_sallyport(config=config).url("echo", "tls")
        code, checks, _ = probe(url, "--ca", certificates.ca)
        assert code == 3 and checks["options-answer"] == "fail"
        certificate, key = certificates.issue("probe-client", usage="clientAuth")
        code, checks, _ = probe(url, "--ca", certificates.ca, "--cert", certificate, "--key", key)
        assert (code, checks["options-answer"]) == (0, "ok")


def _listens(port):
    with open("/proc/net/tcp") as f:
        return any(line.split()[1].endswith(f":{port:04X}") and line.split()[3] == "0A" for line in list(f)[1:])


def _issue(certificates, folder, key, digest):
    openssl, cert, path = need("openssl", "openssl"), folder / "weak.pem", folder / "weak.key"
    made = subprocess.run([openssl, "req", "-newkey", key, "-nodes", "-keyout", path, "-out", folder / "weak.csr", "-subj",
                           "/CN=weak"], capture_output=True, check=False)
    assert made.returncode == 0, made.stderr
    (folder / "weak.ext").write_text("subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth\n")
    made = subprocess.run([openssl, "x509", "-req", digest, "-in", folder / "weak.csr", "-CA", certificates.ca, "-CAkey",
                           certificates.folder / "ca.key", "-CAcreateserial", "-out", cert, "-days", "40", "-extfile",
                           folder / "weak.ext"], capture_output=True, check=False)
    assert made.returncode == 0, made.stderr
    return cert, path


# ---- a server that does what it is told ----

class Script:
    """A right server; tests replace its methods. Every answer is bytes, or None: close."""

    options_fields = {"ISTag": '"s1"', "Methods": "RESPMOD", "Allow": "204", "Preview": "4", "Options-TTL": "60",
                      "Transfer-Preview": "*", "Encapsulated": "null-body=0"}
    istag = '"s1"'
    closes = True  # obeys Connection: close

    def date(self):
        return email.utils.formatdate(usegmt=True)

    def head(self, status, **fields):
        lines = [f"ICAP/1.0 {status} X"] + [f"{k.replace('_', '-')}: {v}" for k, v in fields.items() if v is not None]
        return "\r\n".join(lines).encode() + b"\r\n\r\n"

    def options(self, request):
        fields = {k.replace("-", "_"): v for k, v in self.options_fields.items()}
        return self.head(200, Date=self.date(), **fields)

    def error(self, status, request):
        return self.head(status, ISTag=self.istag)

    def no_change(self, request):
        return self.head(204, ISTag=self.istag)

    def same(self, request):
        http = b"HTTP/1.1 200 OK\r\n\r\n"
        return self.head(200, ISTag=self.istag, Encapsulated=f"res-hdr=0, res-body={len(http)}") + http + \
            self.chunked(request.body)

    def block(self, request):
        http = b"HTTP/1.1 403 Forbidden\r\n\r\n"
        return self.head(200, ISTag=self.istag, X_Infection_Found="Type=0; Resolution=2; Threat=E;",
                         Encapsulated=f"res-hdr=0, res-body={len(http)}") + http + self.chunked(b"no\n")

    def chunked(self, body):
        return (b"%x\r\n%s\r\n" % (len(body), body) if body else b"") + b"0\r\n\r\n"

    def preview(self, request):
        return b"ICAP/1.0 100 Continue\r\n\r\n"

    def ieof(self, request):
        return self.adapt(request)

    def early(self, request):
        """Sent before the body has come; the rest of the answer is adapt()'s."""
        return b""

    def adapt(self, request):
        if b"EICAR" in request.body:
            return self.block(request)
        return self.no_change(request) if request.allow_204 else self.same(request)


class Request:
    def __init__(self, head):
        lines = head.decode("latin-1").split("\r\n")
        self.line = lines[0]
        words = self.line.split(" ")
        self.method = words[0]
        self.version = words[-1]
        self.url = words[1] if len(words) > 1 else ""
        self.fields = {k.strip().lower(): v.strip() for k, _, v in (f.partition(":") for f in lines[1:])}
        self.allow_204 = "204" in self.fields.get("allow", "")
        self.close = self.fields.get("connection", "") == "close"
        self.body, self.http = b"", b""


def _server(script, context=None):
    class Handler(socketserver.StreamRequestHandler):
        def setup(self):
            # With TLS both are spoken on the port: a mistake that the probe shall find.
            if context and self.request.recv(1, socket.MSG_PEEK) == b"\x16":
                self.request = context.wrap_socket(self.request, server_side=True)
            super().setup()

        def head(self):
            text = b""
            while not text.endswith(b"\r\n\r\n"):
                line = self.rfile.readline()
                if not line:
                    return None
                text += line
            return text[:-4]

        def chunks(self, request):
            """True: ieof."""
            while True:
                line = self.rfile.readline().strip()
                size = int(line.split(b";")[0], 16)
                if size == 0:
                    self.rfile.readline()
                    return b"ieof" in line
                request.body += self.rfile.read(size)
                self.rfile.readline()

        def send(self, answer):
            if answer is None:
                return False
            self.wfile.write(answer)
            return True

        def adapt(self, request):
            entities = request.fields["encapsulated"].replace(" ", "").split(",")
            request.http = self.rfile.read(int(entities[-1].split("=")[1]))
            if "preview" in request.fields:
                if self.chunks(request):
                    return self.send(script.ieof(request))
                answer = script.preview(request)
                if not self.send(answer) or b" 100 " not in answer.split(b"\r\n")[0]:
                    return answer is not None
            early = script.early(request)
            if early:
                self.send(early)
            self.chunks(request)
            return self.send(script.adapt(request))

        def one(self):
            head = self.head()
            if head is None:
                return False
            request = Request(head)
            if not request.line.endswith(("ICAP/1.0", "ICAP/2.0")):
                return self.send(script.error(400, request)) and False
            if request.version == "ICAP/2.0":
                return self.send(script.error(505, request))
            if request.url.endswith("no-such-service"):
                return self.send(script.error(404, request))
            if request.method == "OPTIONS":
                return self.send(script.options(request))
            if request.method not in ("REQMOD", "RESPMOD"):
                return self.send(script.error(501, request))
            return self.adapt(request) and not (request.close and script.closes)

        def handle(self):
            try:
                while self.one():
                    pass
            except (ConnectionError, ValueError, IndexError):
                pass

    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_address = daemon_threads = True

        def handle_error(self, request, client_address):
            """Handshakes that fail are part of the plan."""
    return Server(("127.0.0.1", 0), Handler)


@pytest.fixture
def scripted():
    servers = []

    def start(script, context=None):
        server = _server(script, context)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        servers.append(server)
        return f"icap{'s' if context else ''}://127.0.0.1:{server.server_address[1]}/service"
    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def options(**changes):
    """A script whose OPTIONS differ; None: without that field."""
    fields = {k.replace("_", "-"): v for k, v in changes.items()}
    return {"options_fields": {**Script.options_fields, **fields}}


def cut(text, old, new):
    assert old in text
    return text.replace(old, new, 1)


def changed_options(old, new):
    return {"options": lambda self, r: cut(Script.options(self, r), old, new)}


def once_in_two(values):
    """Each call the next of them."""
    state = {"n": 0}

    def turn(self, request):
        state["n"] += 1
        return cut(Script.options(self, request), b'"s1"', b'"%s"' % values[state["n"] % len(values)])
    return {"options": turn}


# Check: (severity, what the script does differently).
FAULTS = {
    "options-answer": ("fail", {"options": lambda self, r: None}),
    "options-status": ("fail", changed_options(b" 200 ", b" 404 ")),
    "login": ("fail", {"options": lambda self, r: self.error(407, r)}),
    "istag-missing": ("fail", options(ISTag=None)),
    "istag-unquoted": ("warn", options(ISTag="s1")),
    "istag-long": ("fail", options(ISTag='"' + "s" * 33 + '"')),
    "methods-missing": ("fail", options(Methods=None)),
    "methods-odd": ("fail", options(Methods="RESPMOD, PROFILE")),
    "options-encapsulated": ("warn", options(Encapsulated=None)),
    "date-missing": ("warn", {"date": lambda self: None}),
    "date-skew": ("fail", {"date": lambda self: email.utils.formatdate(1e9, usegmt=True)}),
    "options-ttl-missing": ("warn", options(Options_TTL=None)),
    "options-ttl-odd": ("warn", options(Options_TTL="soon")),
    "allow-204-missing": ("warn", options(Allow=None)),
    "preview-odd": ("warn", options(Preview="some")),
    "transfer-star": ("warn", options(Transfer_Ignore="*")),
    "max-connections-zero": ("warn", options(Max_Connections="0")),
    "unknown-service": ("warn", {"error": lambda self, s, r: self.head(200 if s == 404 else s, ISTag=self.istag)}),
    "unknown-method": ("warn", {"error": lambda self, s, r: None if s == 501 else Script.error(self, s, r)}),
    "bad-request": ("warn", {"error": lambda self, s, r: None if s == 400 else Script.error(self, s, r)}),
    "bad-version": ("warn", {"error": lambda self, s, r: self.head(400 if s == 505 else s, ISTag=self.istag)}),
    "error-istag": ("warn", {"error": lambda self, s, r: self.head(s)}),
    "adapt-answer": ("fail", {"adapt": lambda self, r: self.head(500, ISTag=self.istag)}),
    "204-not-allowed": ("fail", {"same": lambda self, r: self.no_change(r)}),
    "204-with-bytes": ("fail", {"no_change": lambda self, r: Script.no_change(self, r) + b"0\r\n\r\n"}),
    "encapsulated-missing": ("fail", {"same": lambda self, r: self.head(200, ISTag=self.istag)}),
    "encapsulated-offset": ("fail", {"same": lambda self, r: cut(Script.same(self, r), b"res-body=", b"res-body=1")}),
    "answer-istag": ("fail", {"no_change": lambda self, r: self.head(204)}),
    "body-changed": ("warn", {"same": lambda self, r: cut(Script.same(self, r), b"plain", b"plane")}),
    "100-after-ieof": ("fail", {"ieof": lambda self, r: Script.preview(self, r)}),
    "preview-answer": ("fail", {"preview": lambda self, r: None}),
    "large-answer": ("fail", {"adapt": lambda self, r: None if len(r.body) > 1000 else Script.adapt(self, r)}),
    "first-byte-late": ("warn", {}),
    "eicar-answer": ("fail", {"block": lambda self, r: None}),
    "eicar-passed": ("warn", {"block": lambda self, r: self.no_change(r)}),
    "eicar-header": ("warn", {"block": lambda self, r: cut(Script.block(self, r), b"X-Infection-Found", b"X-Y")}),
    "keep-alive": ("warn", {"no_change": lambda self, r: self.head(204, ISTag=self.istag, Connection="close")}),
    "close-ignored": ("warn", {"closes": False}),
    "broken-answer": ("fail", {"same": lambda self, r: Script.same(self, r)[:-8] + b"what\r\n\r\n"}),
    "bare-lf": ("fail", {"no_change": lambda self, r: cut(Script.no_change(self, r), b"X\r\n", b"X\n")}),
    "http-bare-lf": ("warn", {"same": lambda self, r: cut(Script.same(self, r), b"OK\r\n", b"OK\n")}),
    "leading-lines": ("warn", {"no_change": lambda self, r: b"\r\n" + Script.no_change(self, r)}),
    "status-line": ("fail", changed_options(b"ICAP/1.0", b"ICAP/1.1")),
    "field-syntax": ("fail", changed_options(b"Allow:", b"Allow :")),
    "field-fold": ("warn", changed_options(b"Allow: ", b"Allow:\r\n ")),
    "field-control": ("fail", changed_options(b"Allow: ", b"X: \x01\r\nAllow: ")),
    "chunk-syntax": ("fail", {"same": lambda self, r: cut(Script.same(self, r), b"\r\n0\r\n\r\n", b"0\r\n\r\n")}),
    "istag-differs": ("warn", {"istag": '"s2"'}),
    "istag-unstable": ("warn", once_in_two([b"s1", b"s2"])),
}


class TestFaults:
    def test_right_server(self, scripted):
        """The script itself is right, but for answering late."""
        code, checks, found = probe(scripted(Script()))
        assert (code, bad(checks)) == (0, {"first-byte-late"}), found

    @pytest.fixture(scope="class")
    def probed(self):
        """All of them at the same time, since they mostly wait: check -> the future of what probe() found."""
        def probe_one(changes):
            server = _server(type("Changed", (Script,), dict(changes))(), None)
            threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
            try:
                return probe(f"icap://127.0.0.1:{server.server_address[1]}/service", "--timeout", 2)
            finally:
                server.shutdown()
                server.server_close()
        with concurrent.futures.ThreadPoolExecutor(6) as pool:
            yield {check: pool.submit(probe_one, changes) for check, (_, changes) in FAULTS.items()}

    @pytest.mark.parametrize("check", FAULTS)
    def test_fault(self, probed, check):
        severity = FAULTS[check][0]
        code, checks, found = probed[check].result()
        assert checks[check] == severity, found
        fails = [c for c, s in checks.items() if s == "fail"]
        assert code == (4 if check == "options-answer" else 1 if fails else 0)
        row = next(c for c in found["checks"] if c["id"] == check)
        assert row["text"] and row["consequence"]

    def test_pipelining(self, scripted):
        """A server that forgets what came with the first request."""
        seen = {"small": 0}

        def lose_second(self, request):
            seen["small"] += b"connection that is kept" in request.body
            return None if seen["small"] == 4 else Script.adapt(self, request)
        code, checks, found = probe(scripted(type("Changed", (Script,), {"adapt": lose_second})()), "--timeout", 2)
        assert (code, checks["keep-alive"], checks["pipelining"]) == (0, "ok", "warn"), found

    def test_tls(self, scripted, certificates):
        """A server that gives no tickets, and takes clear text on the port of TLS."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificates.server)
        context.options |= ssl.OP_NO_TICKET
        context.num_tickets = 0
        code, checks, found = probe(scripted(Script(), context), "--ca", certificates.ca)
        assert (code, checks["tls-resumption"], checks["tls-clear-text"]) == (3, "warn", "fail"), found
        assert checks["options-answer"] == checks["adapt-answer"] == "ok"

    def test_every_check_is_shown(self):
        """Each id fails somewhere above: in this table, or with real peers."""
        done = run(f"icap://127.0.0.1:{free_port()}/x", "--json")
        ids = {c["id"] for c in json.loads(done.stdout)["checks"]}
        assert ids - set(FAULTS) == {
            "host-name", "connect", "tls-handshake", "tls-version", "tls-cipher", "tls-chain", "tls-chain-incomplete",
            "tls-name", "tls-expired", "tls-expires-soon", "tls-weak-key", "tls-sha1", "tls-old-version",
            "tls-resumption", "tls-clear-text", "pipelining"}


class TestLogin:
    """Passwords: who gets them, how often, and what is said about it."""

    @pytest.fixture
    def serve(self, certificates):
        with LoginServer({"user": "sesame"}, server_context(certificates.server)) as server:
            yield server

    def probe(self, server, certificates, user, password, *arguments):
        done = run(server.url(user), "--ca", certificates.ca, "--json", "--timeout", 5, *arguments,
                   env={**os.environ, "SALLYPORT_PASSWORD": password}, start_new_session=True)
        assert password not in done.stdout + done.stderr
        found = json.loads(done.stdout)
        return done.returncode, next(c for c in found["checks"] if c["id"] == "login"), found

    def test_let_in(self, serve, certificates):
        _, login, found = self.probe(serve, certificates, "user", "sesame")
        assert (login["severity"], login["text"]) == ("ok", "user 'user' is let in"), found
        assert serve.denied == 0 and serve.served > 5

    def test_refused(self, serve, certificates):
        """The password is tried once, and then not again."""
        code, login, _ = self.probe(serve, certificates, "user", "wrong-one")
        assert (code, login["severity"]) == (1, "fail")
        assert "user 'user' is not accepted" in login["text"]
        assert [auth for _, _, auth in serve.seen].count(basic("user", "wrong-one")) == 1

    def test_nobody(self, serve, certificates):
        code, login, _ = self.probe(serve, certificates, None, "unused")
        assert (code, login["severity"]) == (1, "fail")
        assert "icaps://user@host/service" in login["text"]
        assert {auth for _, _, auth in serve.seen} == {None}

    def test_another_name(self, certificates):
        """A server that is somebody else gets no request at all."""
        context = server_context(certificates.issue("probe-elsewhere", "subjectAltName=DNS:elsewhere.test"))
        with LoginServer({"user": "sesame"}, context) as server:
            code, _, _ = self.probe(server, certificates, "user", "sesame")
            assert (code, server.seen) == (3, [])

    def test_loose_tls(self, certificates):
        """No password goes over what somebody in between may have made weak."""
        context = server_context(certificates.server)
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers("ECDHE-ECDSA-AES128-SHA:ECDHE-RSA-AES128-SHA")
        with LoginServer({"user": "sesame"}, context) as server:
            code, _, found = self.probe(server, certificates, "user", "sesame")
            assert next(c for c in found["checks"] if c["id"] == "tls-chain")["severity"] == "ok"
            assert (code, {auth for _, _, auth in server.seen} - {None}) == (3, set())

    def test_clear_text(self, scripted):
        done = run(scripted(Script()).replace("//", "//user@"), env={**os.environ, "SALLYPORT_PASSWORD": "sesame"})
        assert (done.returncode, done.stdout) == (3, "")
        assert "icap:// is clear text" in done.stderr

    def test_not_on_the_wire_in_clear_text(self, scripted, certificates):
        """The port of TLS is tried in clear text, without the password."""
        heard = []

        def options(self, request):
            heard.append(request.fields.get("authorization"))
            return Script.options(self, request)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificates.server)
        url = scripted(type("Changed", (Script,), {"options": options})(), context).replace("//", "//user@")
        run(url, "--ca", certificates.ca, env={**os.environ, "SALLYPORT_PASSWORD": "sesame"})
        assert heard.count(None) == 1 and len(heard) > 2


class TestUse:
    def test_nobody_listens(self):
        code, checks, _ = probe(f"icap://127.0.0.1:{free_port()}/x")
        assert (code, checks["connect"], checks["host-name"]) == (4, "fail", "ok")

    def test_no_such_host(self):
        code, checks, _ = probe("icap://nothing.invalid/x")
        assert (code, checks["host-name"]) == (4, "fail")

    @pytest.mark.parametrize("url", ["http://x/", "https://x/", "HTTPS://x/"])
    def test_later(self, url):
        done = run(url)
        assert (done.returncode, done.stdout) == (2, "")
        assert "not probed yet" in done.stderr

    @pytest.mark.parametrize("arguments", [
        [], ["icap://x/y", "icap://x/z"], ["x"], ["icap://"], ["icap://x/y", "--ca", "z"], ["icaps://x/y", "--cert", "/nothing"],
        ["icaps://x/y", "--key", "z"], ["icaps://u:p@x/y"], ["icaps://x/y", "--password-file", "z"],
        ["icaps://u@x/y", "--password", "z"],
        ["icap://x/y", "--timeout", "0"], ["icap://x/y", "--insecure-no-verify"], ["icaps://x/y", "--ca", "/nothing"],
        ["icap://x/y", "--service", "a\nb"], ["icap://x/y", "--nothing"]])
    def test_wrong_use(self, arguments):
        done = run(*arguments)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr

    def test_terminal_is_safe(self, scripted):
        """What a server says does not reach the terminal as it is."""
        script = type("Changed", (Script,), options(Service="\x1b[31mred"))()
        done = run(scripted(script))
        assert "Service: ?[31mred" in done.stdout and "\x1b" not in done.stdout


