# SPDX-License-Identifier: Apache-2.0
"""`sallyport probe` at printers: real ones first (ours, cupsd, ippeveprinter), then one that does each thing wrong once."""
import json
import re
import ssl

import pytest

from testenv import build_dir, free_port, ipp
from testenv.cups import IppEvePrinter
from testenv.cups_tls import TlsCupsd
from testenv.print_wire import add_user
from testenv.printing import PrintGateway, printer
from testenv.sallyport import run_command
from testenv.wrong_printer import BASIC, DEMAND, DIGEST, FINAL, SWITCH, WrongPrinter, answer, denied, http, wrong_printers
from testenv.wrong_server import Stub

PDF = b"%PDF-1.4\n%%EOF\n"
TENANTS = "login: {rounds: 100000, failures: 1000, user-failures: 1000}\ntenants:\n  - {name: acme}\n"
# Of every certificate here, and of FakePrinter's few attributes.
ALWAYS = {"tls-expires-soon"}
FAKE = ALWAYS | {"clear-jobs", "ipp-versions", "operations", "formats", "upgrade-list", "upgrade-alpn",
                 "job-uris-in-clear-text"}


def run(*arguments, **more):
    return run_command(build_dir(), "probe", *arguments, **more)


def probe(*arguments, **more):
    """(exit code, id -> severity, everything)."""
    done = run(*arguments, "--json", **more)
    found = json.loads(done.stdout)
    return done.returncode, {c["id"]: c["severity"] for c in found["checks"]}, found


def bad(checks):
    return {name for name, severity in checks.items() if severity in ("warn", "fail")}


def text_of(found, check):
    return next(c["text"] for c in found["checks"] if c["id"] == check)


@pytest.fixture(scope="module")
def cupsd(tmp_path_factory, certificates):
    with TlsCupsd(tmp_path_factory.mktemp("cupsd"), certificates.server) as server:
        yield server


@pytest.fixture(scope="module")
def gateway(tmp_path_factory, certificates, cupsd):
    printers = [printer("open", cupsd.uri(), require="[]", pipeline="[]"),
                printer("secure", cupsd.uri(), require="[tls]", pipeline="[]"),
                printer("digest", cupsd.uri(), require="[tls, digest]", pipeline="[]", basic="true")]
    with PrintGateway(tmp_path_factory.mktemp("gateway"), certificates, printers, more=TENANTS) as running:
        add_user(running, "acme", "ann", "a password of Ann's")
        yield running


@pytest.fixture
def start(certificates):
    with wrong_printers(certificates.server) as begin:
        yield begin


@pytest.fixture
def look(start, certificates):
    """look(what is wrong…): (exit code, checks, everything) of a printer that does that."""
    def begin(scheme="ipp", **changes):
        fake = start(**changes)
        found = probe(fake.uri(scheme), "--ca", certificates.ca, "--timeout", 2)
        assert ipp.PRINT_JOB not in fake.operations() and ipp.CREATE_JOB not in fake.operations()
        return found
    return begin


class TestOurs:
    """Nothing fails here."""

    @pytest.mark.parametrize("name, more", [("open", {"clear-jobs"}), ("secure", set()), ("digest", set())])
    def test_gateway(self, gateway, certificates, name, more):
        code, checks, found = probe(gateway.uri(name), "--ca", certificates.ca)
        assert (code, found["failed"]) == (0, 0)
        assert bad(checks) == ALWAYS | more
        for check in ("upgrade", "ipps", "upgrade-final", "upgrade-list", "upgrade-alpn", "tls-tickets", "101-bytes"):
            assert checks[check] == "ok", check
        assert checks["list-tls"] == checks["list-ssl3"] == "ok"
        assert checks["list-daa"] == ("ok" if name == "digest" else "skipped")

    def test_what_it_offers(self, gateway, certificates):
        _, _, found = probe(gateway.uri("digest"), "--ca", certificates.ca)
        assert text_of(found, "challenges") == "within TLS: Digest SHA-256, Digest MD5, Basic"
        assert f"print to {gateway.uri('digest', auth=';AUTH=TLS,DAA')}" in found["notes"]
        assert any(f"offers {gateway.uri('digest', 'ipps')} (security tls, authentication digest)" in n for n in found["notes"])
        assert any("CN=server, issued by CN=Sallyport test CA" in n for n in found["notes"])

    def test_ipps(self, gateway, certificates):
        code, checks, found = probe(gateway.uri("digest", "ipps"), "--ca", certificates.ca)
        assert (code, found["failed"]) == (0, 0)
        assert checks["upgrade"] == checks["clear-jobs"] == "skipped" and checks["ipps"] == checks["challenges"] == "ok"
        assert f"print to {gateway.uri('digest', 'ipps', auth=';AUTH=DAA')}" in found["notes"]

    def test_nothing_is_left_behind(self, gateway, certificates, cupsd):
        before = cupsd.documents()
        assert probe(gateway.uri("open"), "--ca", certificates.ca)[0] == 0
        assert cupsd.documents() == before
        assert not any(r["print"].get("operation") in ("Print-Job", "Create-Job") for r in gateway.print_records())

    def test_no_check_of_icap(self, gateway, certificates):
        _, checks, _ = probe(gateway.uri("open"), "--ca", certificates.ca)
        assert not {"istag-missing", "options-status", "tls-resumption", "tls-clear-text"} & set(checks)

    def test_text(self, gateway, certificates):
        done = run(gateway.uri("secure"), "--ca", certificates.ca)
        assert (done.returncode, done.stderr) == (0, "")
        for words in ("^TLS by upgrade$", "^  ok       OPTIONS with Upgrade is answered by 101$", "^Who asks$",
                      r"^           print to ipp://.*;AUTH=TLS$", r"/secure: 0 failed, 1 warned, \d+ fine, \d+ skipped$"):
            assert re.search(words, done.stdout, re.M), words


class TestOthers:
    def test_cupsd(self, cupsd, certificates):
        """What cupsd 2.4.2 really does."""
        run_command(build_dir(), "print", cupsd.uri(), "-", input=PDF.decode())
        code, checks, found = probe(cupsd.uri(), "--ca", certificates.ca)
        assert (code, found["failed"]) == (0, 0)
        assert bad(checks) - {"device-uri", "tls-old-version", "tls-tickets"} == ALWAYS | {
            "101-connection", "101-framing", "upgrade-list", "upgrade-alpn", "clear-jobs", "dangerous-operations",
            "job-uris-in-clear-text"}
        assert checks["list-tls"] == checks["list-ssl3"] == "ok"

    def test_ippeveprinter(self, tmp_path):
        with IppEvePrinter(tmp_path) as eve:
            code, checks, found = probe(eve.uri())
            assert code == 3 and checks["tls-chain"] == "fail"
            assert checks["upgrade-framing"] == "warn" and checks["upgrade"] == checks["ipps"] == "ok"
            code, checks, _ = probe(eve.uri(), "--insecure-no-verify")
            assert (code, checks["tls-chain"]) == (0, "warn")
            assert len([n for n in found["notes"] if "security" in n]) == 2


class TestUpgrade:
    def test_right(self, look):
        code, checks, found = look()
        assert bad(checks) <= FAKE, bad(checks) - FAKE
        assert (code, found["failed"]) == (1, 1)  # operations-supported

    @pytest.mark.parametrize("options, worse", [
        (b"HTTP/1.1 101 Yes\r\nConnection: Upgrade\r\n\r\n", {"101-token"}),
        (b"HTTP/1.1 101 Yes\r\nUpgrade: TLS/1.2\r\n\r\n", {"101-connection"}),
        (b"HTTP/1.1 101 Yes\r\nConnection: Upgrade\r\nUpgrade: TLS/1.2\r\nContent-Length: 0\r\n\r\n", {"101-framing"}),
        (SWITCH + b"HTTP/1.1 200 OK\r\n\r\n", {"101-bytes"}),
        (denied(BASIC), {"upgrade-401"})])
    def test_101(self, look, options, worse):
        _, checks, _ = look(options=options)
        assert worse <= bad(checks), bad(checks)
        assert bad(checks) - worse <= FAKE, bad(checks)

    def test_no_upgrade(self, look):
        _, checks, found = look(options=b"HTTP/1.1 400 No\r\nContent-Length: 0\r\n\r\n")
        assert checks["upgrade"] == checks["list-tls"] == "skipped" and checks["list-ssl3"] == "ok"
        assert "OPTIONS with Upgrade is answered by 400, not 101" in found["notes"]

    def test_no_tls_at_all(self, look):
        code, checks, _ = look(options=b"HTTP/1.1 400 No\r\nContent-Length: 0\r\n\r\n", implicit=False)
        assert (code, checks["no-tls"], checks["upgrade"]) == (1, "fail", "warn")
        assert checks["list-tls"] == checks["list-ssl3"] == "skipped"

    def test_no_handshake(self, look):
        _, checks, _ = look(no_tls=True)
        assert checks["upgrade-tls"] == "fail" and checks["list-tls"] == "skipped" and checks["list-ssl3"] == "ok"

    @pytest.mark.parametrize("final", [None, denied(BASIC), b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"])
    def test_final_answer(self, look, final):
        """Without one CUPS's clients wait for ever."""
        _, checks, _ = look(final=final)
        assert checks["upgrade-final"] == "fail" and checks["list-tls"] == "skipped"

    @pytest.mark.parametrize("final, kept, framing, usable", [
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "ok", "warn", "ok"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "fail", "warn", "skipped"),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", "fail", "ok", "skipped"),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", "fail", "ok", "skipped"),
        (b"HTTP/1.1 200 OK\r\n\r\n", "fail", "ok", "skipped")])
    def test_final_framing(self, look, final, kept, framing, usable):
        """After some of them no request can follow, for which the TLS was wanted."""
        _, checks, _ = look(final=final)
        assert (checks["upgrade-final"], checks["upgrade-kept"], checks["upgrade-framing"]) == ("ok", kept, framing)
        assert checks["list-tls"] == usable

    def test_bytes_behind_a_later_101(self, certificates):
        """Connections that are opened again are looked at, too: what stands there in clear text is no answer."""
        class Later(WrongPrinter):
            options = property(lambda self: SWITCH + FINAL * (sum(b"OPTIONS" in s.clear for s in self.sessions) > 1))
        with Later(certificates.server, implicit=False) as fake:
            fake.within[None] = lambda heard: http(fake.reply(heard), more=b"Connection: close\r\n")
            _, checks, found = probe(fake.uri(), "--ca", certificates.ca, "--timeout", 2)
        assert checks["101-bytes"] == "ok"
        assert "bytes follow the 101" in json.dumps(found)

    def test_last_chunk_that_comes(self, look):
        _, checks, _ = look(final=b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
        assert (checks["upgrade-framing"], checks["list-tls"]) == ("ok", "ok")

    def test_tickets(self, look):
        assert look(tickets=2)[1]["tls-tickets"] == "warn"
        assert look(tickets=0)[1]["tls-tickets"] == "ok"

    def test_only_by_upgrade(self, look):
        _, checks, _ = look(implicit=False)
        assert (checks["ipps"], checks["no-tls"], checks["list-ssl3"], checks["list-tls"]) == ("warn", "ok", "skipped", "ok")
        assert checks["upgrade-alpn"] == "skipped"

    def test_certificate(self, start, certificates):
        issued = certificates.issue("printer-elsewhere", "subjectAltName=DNS:elsewhere.test")
        fake = WrongPrinter(issued)
        fake.__enter__()
        code, checks, _ = probe(fake.uri(), "--ca", certificates.ca)
        fake.__exit__()
        assert (code, checks["tls-name"], checks["tls-chain"]) == (3, "fail", "ok")


class TestClearText:
    def test_426(self, look):
        _, checks, _ = look(clear={None: DEMAND % b"426"})
        assert checks["clear-jobs"] == checks["426-without-upgrade"] == checks["418"] == "ok"

    def test_418(self, look):
        code, checks, _ = look(clear={None: DEMAND % b"418"})
        assert (code, checks["418"], checks["clear-jobs"]) == (1, "fail", "ok")

    @pytest.mark.parametrize("fields", [b"", b"Upgrade: TLS/1.2\r\n", b"Connection: Upgrade\r\nUpgrade: h2c\r\n"])
    def test_426_that_says_nothing(self, look, fields):
        _, checks, _ = look(clear={None: b"HTTP/1.1 426 No\r\n" + fields + b"Content-Length: 0\r\n\r\n"})
        assert checks["426-without-upgrade"] == "fail"

    def test_401(self, look):
        """A password, where others can listen, although TLS is there."""
        _, checks, _ = look(clear={None: denied(DIGEST)})
        assert checks["401-in-clear-text"] == checks["attributes-401"] == "warn"
        assert checks["basic-in-clear-text"] == "ok"

    def test_basic(self, look):
        _, checks, found = look(clear={ipp.VALIDATE_JOB: denied(BASIC)})
        assert checks["basic-in-clear-text"] == "fail" and checks["attributes-401"] == "ok"
        assert "Basic is offered in clear text" in text_of(found, "basic-in-clear-text")


MD5 = b'Digest realm="r", qop="auth", algorithm=MD5, nonce="n"'


class TestLogin:
    @pytest.mark.parametrize("challenges, worse", [
        ([DIGEST], set()), ([DIGEST, MD5, BASIC], set()), ([BASIC, DIGEST], {"basic-first"}),
        ([b"Basic realm=x, " + DIGEST], {"basic-first"}), ([MD5], {"digest-md5"}),
        ([b'Digest realm="r", qop="auth", nonce="n"'], {"digest-algorithm", "digest-md5"}),
        ([b'Digest realm="r", algorithm=SHA-256, nonce="n"'], {"digest-qop"}),
        ([b'Digest realm="r", qop="auth-int", algorithm=SHA-256, nonce="n"'], {"digest-qop"}),
        ([DIGEST + b', opaque="o"'], {"digest-opaque"}),
        ([b'Digest realm="r", qop="auth", algorithm=SHA-256, nonce="%s"' % (b"n" * 300)], {"digest-long"}),
        ([], {"challenges"}), ([b"Negotiate"], set()), ([BASIC], set())])
    def test_challenges(self, look, challenges, worse):
        _, checks, _ = look("ipps", within={ipp.VALIDATE_JOB: denied(*challenges)})
        assert bad(checks) - FAKE == worse
        assert checks["list-daa"] == ("ok" if any(b"Digest" in c for c in challenges) else "skipped")


class TestPrinter:
    """What it says of itself."""

    @pytest.mark.parametrize("more, worse", [
        ([("device-uri", ipp.URI, "socket://joe:secret@10.0.0.5:9100")], {"device-uri"}),
        ([("printer-more-info", ipp.URI, "http://10.1.2.3/")], {"inner-uris"}),
        ([("printer-icons", ipp.URI, "http://[fd00::1]:631/a.png")], {"inner-uris"}),
        ([("printer-more-info", ipp.URI, "http://vendor.example/")], set()),
        ([("printer-geo-location", ipp.URI, "geo:1,2")], set()),
        ([("operations-supported", ipp.ENUM, 2, 3, 4, 8, 9, 10, 11)], {"dangerous-operations"})])
    def test_more(self, look, more, worse):
        _, checks, found = look(more=more)
        assert worse <= bad(checks) and bad(checks) - worse <= FAKE, bad(checks)
        assert "secret" not in json.dumps(found)

    def test_full(self, look):
        """A printer that says all that is right."""
        _, checks, _ = look(more=[("operations-supported", ipp.ENUM, 2, 4, 8, 9, 10, 11),
                                  ("ipp-versions-supported", ipp.KEYWORD, "1.1", "2.0"),
                                  ("document-format-supported", ipp.MIME, "application/pdf")])
        assert not {"operations", "ipp-versions", "formats", "dangerous-operations"} & bad(checks)

    @pytest.mark.parametrize("uris, security, logins, worse", [
        (["ipp://127.0.0.1/q"], ["none"], ["none"], None),
        (["ipp://127.0.0.1/q"], ["none", "tls"], ["none"], "uri-sets"),
        (["ipp://127.0.0.1/q", "ipps://127.0.0.1/q"], ["none", "none"], ["none", "none"], "uri-security"),
        (["ipp://127.0.0.1/q"], ["ssl3"], ["none"], "uri-security"),
        (["ipp://elsewhere.example/q"], ["none"], ["none"], "uri-hosts")])
    def test_uris(self, look, monkeypatch, uris, security, logins, worse):
        def said(_self):
            return [("printer-name", ipp.NAME, "fake"), ("printer-uri-supported", ipp.URI, *uris),
                    ("uri-security-supported", ipp.KEYWORD, *security),
                    ("uri-authentication-supported", ipp.KEYWORD, *logins)]
        monkeypatch.setattr(WrongPrinter, "attributes", said)
        _, checks, _ = look()
        found = {"uri-sets", "uri-security", "uri-hosts"} & bad(checks)
        assert found == ({worse} if worse else set())

    def test_tls_that_is_not_there(self, look, monkeypatch):
        def said(fake):
            return [("printer-name", ipp.NAME, "fake"), ("printer-uri-supported", ipp.URI, fake.uri()),
                    ("uri-security-supported", ipp.KEYWORD, "tls"), ("uri-authentication-supported", ipp.KEYWORD, "none")]
        monkeypatch.setattr(WrongPrinter, "attributes", said)
        _, checks, found = look(options=b"HTTP/1.1 400 No\r\nContent-Length: 0\r\n\r\n", implicit=False)
        assert checks["uri-security"] == "warn" and "where no TLS is by upgrade" in text_of(found, "uri-security")

    def test_job_uris(self, start, certificates):
        fake = start()
        assert probe(fake.uri(), "--ca", certificates.ca, "--timeout", 2)[1]["job-uris-in-clear-text"] == "skipped"
        fake.jobs[1] = "ann"
        assert probe(fake.uri(), "--ca", certificates.ca, "--timeout", 2)[1]["job-uris-in-clear-text"] == "warn"
        fake.job = lambda number: [("job-id", ipp.INTEGER, number), ("job-uri", ipp.URI, "ipps://127.0.0.1/jobs/1")]
        assert probe(fake.uri(), "--ca", certificates.ca, "--timeout", 2)[1]["job-uris-in-clear-text"] == "ok"

    @pytest.mark.parametrize("reply, words", [
        (b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nhi", "not application/ipp"),
        (b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n", "HTTP 404"),
        (lambda heard: http(answer(heard.message, ipp.NOT_FOUND)), "client-error-not-found"),
        (lambda heard: http(answer(heard.message, ipp.OK, request_id=77)), "another request-id"),
        (lambda heard: http(answer(heard.message, ipp.OK).encode()[:20]), "ends within its attributes")])
    def test_no_answer(self, look, reply, words):
        code, checks, found = look("ipps", within={None: reply})
        assert (code, checks["printer-answer"]) == (4, "fail")
        assert words in text_of(found, "printer-answer")

    def test_terminal_is_safe(self, start, certificates):
        fake = start(more=[("printer-make-and-model", ipp.TEXT, "\x1b[31mred")])
        done = run(fake.uri(), "--ca", certificates.ca, "--timeout", 2)
        assert "it is fake (?[31mred)" in done.stdout and "\x1b" not in done.stdout


class TestHostile:
    @pytest.mark.parametrize("size, pause, words", [(16384, 0, "the answer is too long"),
                                                    (1, 0.1, "no whole answer within the time")])
    def test_answer_without_end(self, size, pause, words):
        """Neither much nor little of it keeps the probe."""
        def talk(peer, stub):
            head = peer.head() or b""
            if head.startswith(b"OPTIONS"):
                peer.send(FINAL)
            elif head:
                peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/ipp\r\nTransfer-Encoding: chunked\r\n\r\n")
                while not stub.over.wait(pause):
                    peer.send(b"%x\r\n%s\r\n" % (size, bytes(size)))
        with Stub(talk) as stub:
            _, checks, found = probe(f"ipp://{stub.address}/x", "--timeout", 1, seconds=30)
        assert checks["printer-answer"] == "fail" and words in text_of(found, "printer-answer")

    def test_answer_that_is_cut(self, certificates):
        """Without a close of TLS nobody knows whether an answer that ends with its connection is whole."""
        def talk(peer, _stub):
            head = peer.head()
            if not head:
                return
            asked = ipp.Message.decode(peer.file.read(int(re.search(rb"Content-Length: (\d+)", head)[1])))
            said = answer(asked, ipp.OK, (ipp.PRINTER, [("printer-name", ipp.NAME, "fake")]))
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/ipp\r\n\r\n" + said.encode())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*map(str, certificates.server))
        with Stub(talk, context) as stub:
            _, checks, found = probe(f"ipps://{stub.address}/x", "--ca", certificates.ca, "--timeout", 2)
        assert checks["printer-answer"] == "fail", text_of(found, "printer-answer")


class TestUse:
    def test_nobody_listens(self):
        code, checks, _ = probe(f"ipp://127.0.0.1:{free_port()}/x")
        assert (code, checks["connect"]) == (4, "fail")

    def test_no_printer(self, certificates):
        """A server that speaks HTTP, and no IPP."""
        fake = WrongPrinter(certificates.server, options=FINAL, implicit=False,
                            clear={None: b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n"})
        fake.__enter__()
        code, checks, _ = probe(fake.uri(), "--timeout", 2)
        fake.__exit__()
        assert (code, checks["printer-answer"]) == (4, "fail")

    @pytest.mark.parametrize("arguments", [
        ["ipp://"], ["ipp://x;AUTH=TLS"], ["ipp://x/y;AUTH=KERB"], ["ipp://x/y", "--service", "z"],
        ["ipp://x/y", "--no-eicar"], ["ipp://joe@x/y"], ["ipp://joe:a@x/y"], ["ipps://x/y", "--ca", "/nothing"],
        ["ipp://x/y", "--timeout", "0"]])
    def test_wrong_use(self, arguments):
        done = run(*arguments)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr
