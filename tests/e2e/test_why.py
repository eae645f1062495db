# SPDX-License-Identifier: Apache-2.0
"""`sallyport why`: a gateway of ours, openssl s_server with one thing wrong at a time, ports that speak no TLS, and policies of
the machine."""
import json
import os
import socket
import ssl
import struct
import subprocess
import threading

import pytest

from testenv import build_dir, free_port, need, wait
from testenv.sallyport import run_command
from testenv.wrong_printer import WrongPrinter

REFUSES = b"HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n"
ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="a policy must belong to root")


def run(*arguments):
    return run_command(build_dir(), "why", *arguments)


def why(*arguments):
    """(exit code, the object)."""
    done = run(*arguments, "--json")
    assert done.stdout, done.stderr
    found = json.loads(done.stdout)
    assert found["exit"] == done.returncode
    return done.returncode, found


def listens(port):
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def serve():
    """Starts openssl s_server; gives back "127.0.0.1:PORT"."""
    started = []

    def start(certificate, *options):
        port = free_port()
        command = [need("openssl", "openssl"), "s_server", "-accept", f"127.0.0.1:{port}", "-cert", str(certificate[0]), "-key",
                   str(certificate[1]), "-quiet", *map(str, options)]
        started.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        wait.until(lambda: listens(port), "s_server to listen")
        return f"127.0.0.1:{port}"
    yield start
    for server in started:
        server.kill()
        server.communicate()


@pytest.fixture
def answer():
    """A port that sends |said| to everybody at once and closes; gives back "127.0.0.1:PORT"."""
    listeners = []

    def start(said):
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)

        def loop():
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    try:
                        connection.sendall(said)
                        connection.shutdown(socket.SHUT_WR)
                        connection.settimeout(5)
                        while connection.recv(4096):
                            pass
                    except OSError:
                        pass
        threading.Thread(target=loop, daemon=True).start()
        return f"127.0.0.1:{listener.getsockname()[1]}"
    yield start
    for listener in listeners:
        listener.close()


@pytest.fixture
def policy(tmp_path):
    def write(*lines):
        path = tmp_path / "policy"
        path.write_text("\n".join(["version 1", *lines, ""]))
        path.chmod(0o644)
        return path
    return write


@pytest.fixture
def known(certificates):
    return certificates.issue("known", "subjectAltName=DNS:known.test", usage="clientAuth")


class TestHow:
    def test_a_gateway_of_ours(self, sallyport, certificates):
        code, found = why(sallyport.url("echo", "tls"), "--ca", certificates.ca)
        assert code == 0
        assert (found["how"]["level"], found["how"]["version"]) == ("strong", "TLSv1.3")
        assert found["how"]["accepted"] == "yes" and found["how"]["end-to-end"] == "yes"
        assert found["who"]["peer"] == "CN=server" and "localhost" in found["who"]["dns"]
        assert found["why"] == []

    def test_in_words(self, sallyport, certificates):
        done = run(sallyport.url("echo", "tls"), "--ca", certificates.ca)
        assert done.returncode == 0
        for text in ("PLAN    at least strong, by tls, with an authenticated peer", "the URL", "HOW     strong: TLSv1.3 ",
                     "accepted by the server: yes", "WHO     CN=server", "dns:localhost", "WHY     nothing speaks against it"):
            assert text in done.stdout

    def test_clear_text(self, sallyport):
        code, found = why(sallyport.url("echo"))
        assert (code, found["how"]["level"], found["who"], found["why"]) == (0, "none", None, [])
        code, found = why(sallyport.url("echo"), "--require", "strong")
        assert (code, found["why"][0]["code"]) == (3, "level-too-low")

    @pytest.mark.parametrize("level, code", [("none", 0), ("integrity", 3), ("weak", 3), ("strong", 3)])
    def test_clear_text_is_of_no_level(self, sallyport, level, code):
        found_code, found = why(sallyport.url("echo"), "--require", level)
        assert (found_code, found["how"]["level"], found["plan"]["level"]) == (code, "none", level)
        assert [w["code"] for w in found["why"]] == (["level-too-low"] if code else [])

    @pytest.mark.parametrize("digest, options, level, limit", [
        ("sha256", ["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"], "strong", None),
        ("sha256", ["-tls1_3"], "strong", None),
        ("sha256", ["-tls1_2", "-sigalgs", "ECDSA+SHA224"], "weak", "the hash that the handshake was signed with"),
        ("sha224", ["-tls1_2"], "weak", "the hash that a certificate was signed with"),
        ("sha224", ["-tls1_3"], "weak", "the hash that a certificate was signed with")])
    def test_levels(self, serve, certificates, digest, options, level, limit):
        """Who asks for less gets it, and is told of the same connection what it is. Integrity alone is nothing that we
        offer to a server, so that none can take it."""
        place = serve(certificates.issue(digest, digest=digest), *options)
        for required in ("strong", "weak", "integrity", "none"):
            code, found = why(place, "--ca", certificates.ca, "--require", required)
            assert (found["how"]["level"], found["how"]["limit"]) == (level, limit)
            enough = (required, level) != ("strong", "weak")
            assert (code, found["plan"]["level"]) == (0 if enough else 3, required)
            assert [w["code"] for w in found["why"]] == ([] if enough else ["level-too-low"])


class TestWhyNot:
    def check(self, place, ca, code, reason, *more, exit_code=3):
        found_code, found = why(place, "--ca", ca, "--timeout", 5, *more)
        assert (found_code, found["why"][0]["code"]) == (exit_code, code), found
        assert reason in found["why"][0]["text"]
        return found

    def test_wrong_name(self, serve, certificates):
        other = certificates.issue("other", "subjectAltName=DNS:other.test")
        found = self.check(serve(other), certificates.ca, "wrong-peer", "mismatch")
        assert found["why"][0]["side"] == "local" and found["why"][0]["stage"] == "identity"
        assert found["how"]["level"] == "none" and found["who"] is None

    def test_expired(self, serve, certificates):
        old = certificates.issue("old", days=-1)
        found = self.check(serve(old), certificates.ca, "we-rejected-peer", "expired")
        assert (found["why"][0]["errno"], found["why"][0]["source"], found["why"][0]["raw"]) == ("EKEYEXPIRED", "x509", 10)

    def test_unknown_ca(self, serve, certificates):
        found_code, found = why(serve(certificates.server))
        assert (found_code, found["why"][0]["code"], found["why"][0]["errno"]) == (3, "we-rejected-peer", "EKEYREJECTED")

    def test_old_version(self, serve, certificates):
        place = serve(certificates.server, "-tls1_1", "-cipher", "ALL:@SECLEVEL=0")
        self.check(place, certificates.ca, "no-common-proposal", "")

    def test_no_common_cipher(self, serve, certificates):
        place = serve(certificates.server, "-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA256")
        found = self.check(place, certificates.ca, "no-common-proposal", "handshake failure")
        assert found["why"][0]["source"] == "tls-alert" and found["why"][0]["side"] == "both"

    @pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
    def test_it_wants_a_certificate(self, serve, certificates, known, version):
        """With TLS 1.3 the handshake goes well, and the refusal comes afterwards; TLS 1.2 has no alert that says it."""
        place = serve(certificates.server, version, "-Verify", "2", "-verify_return_error", "-CAfile", certificates.ca)
        found = self.check(place, certificates.ca, "peer-rejected-us", "alert")
        assert found["why"][0]["side"] == "peer" and found["why"][0]["certain"] == (version == "-tls1_3")
        if version == "-tls1_3":
            assert (found["how"]["level"], found["how"]["accepted"]) == ("strong", "no")
        code, found = why(place, "--ca", certificates.ca, "--cert", known[0], "--key", known[1])
        assert (code, found["how"]["accepted"]) == (0, "yes")

    def test_whom_we_want(self, serve, certificates):
        place = serve(certificates.server)
        self.check(place, certificates.ca, "wrong-peer", "not wanted here", "--peer", "dns:other.test")
        assert why(place, "--ca", certificates.ca, "--peer", "dns:other.test", "--peer", "dn:CN=server")[0] == 0

    @pytest.mark.parametrize("said", [b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", b"220 mail ready\r\n"])
    def test_clear_text_port(self, answer, certificates, said):
        self.check(answer(said), certificates.ca, "no-common-proposal", "not TLS")

    def test_our_own_clear_port(self, sallyport, certificates):
        """Which answers what it was sent with 400."""
        found = self.check(sallyport.addresses()["clear"], certificates.ca, "no-common-proposal", "not TLS")
        assert found["how"]["level"] == "none" and found["who"] is None and len(found["why"]) == 1

    def test_silence_is_not_certain(self, answer, certificates):
        found = self.check(answer(b""), certificates.ca, "no-answer", "closed", exit_code=4)
        assert not found["why"][0]["certain"] and found["why"][0]["retry"]

    def test_reset_after_the_handshake(self, certificates):
        """TLS 1.3: the client is through, and the server goes without a word."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificates.server)
        context.num_tickets = 0

        def reset_one():
            connection = context.wrap_socket(listener.accept()[0], server_side=True)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()

        with socket.create_server(("127.0.0.1", 0)) as listener:
            server = threading.Thread(target=reset_one)
            server.start()
            place = f"127.0.0.1:{listener.getsockname()[1]}"
            found = self.check(place, certificates.ca, "no-answer", "reset", exit_code=4)
            server.join()
        assert not found["why"][0]["certain"] and found["how"]["level"] == "strong"

    @pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
    @pytest.mark.parametrize("words", [b"", b"220 go away\r\n"])
    def test_closed_after_the_handshake(self, certificates, version, words):
        """As by a server that looks at whom it has there when TLS is through with it: nobody says so."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificates.server)
        context.minimum_version = context.maximum_version = version

        def close_on_each():
            for _ in range(2):
                connection = context.wrap_socket(listener.accept()[0], server_side=True)
                connection.sendall(words)
                connection.unwrap().close()

        with socket.create_server(("127.0.0.1", 0)) as listener:
            server = threading.Thread(target=close_on_each)
            server.start()
            place = f"127.0.0.1:{listener.getsockname()[1]}"
            found = self.check(place, certificates.ca, "peer-policy", "as soon as the handshake was over", exit_code=1)
            said = run(place, "--ca", certificates.ca)
            server.join()
        assert (found["how"]["level"], found["why"][0]["certain"], len(found["why"])) == ("strong", False, 1)
        assert "WHY     peer-policy: " in said.stdout and "inferred, nobody said so" in said.stdout

    def test_nobody_there(self, certificates):
        code, found = why(f"127.0.0.1:{free_port()}", "--ca", certificates.ca)
        assert code == 4 and "refused" in found["failure"].lower() and found["plan"]["level"] == "strong"
        done = run(f"127.0.0.1:{free_port()}")
        assert done.returncode == 4 and "WHY     no-connection: " in done.stdout

    def test_no_such_name(self):
        code, found = why("https://no-such-host.invalid/")
        assert (code, found["plan"]) == (4, None)


class TestPrinters:
    """A list in the URI asks for more than its scheme does."""

    @pytest.fixture(scope="class")
    def fake(self, certificates):
        with WrongPrinter(certificates.server) as printer:
            yield printer

    @pytest.mark.parametrize("scheme, auth, upgrade", [("ipps", "", False), ("ipps", ";AUTH=TLS", False),
                                                       ("ipp", ";AUTH=TLS", True), ("ipp", ";auth=tls,daa", True)])
    def test_tls(self, fake, certificates, scheme, auth, upgrade):
        code, found = why(fake.uri(scheme, auth), "--ca", certificates.ca)
        assert (code, found["how"]["level"], found["who"]["peer"]) == (0, "strong", "CN=server"), found
        assert (found["plan"]["level"], found["plan"]["upgrade"]) == ("strong", upgrade)
        assert found["plan"]["login"] == ("digest" if "daa" in auth else None)
        done = run(fake.uri(scheme, auth), "--ca", certificates.ca)
        assert ("TLS begins by Upgrade" in done.stdout) == upgrade and ("Digest (DAA)" in done.stdout) == ("daa" in auth)
        session = fake.sessions[-1]
        assert not session.clear or session.clear.startswith(b"OPTIONS * ") and b"/ipp/print" not in session.clear

    @pytest.mark.parametrize("scheme, auth", [("ipps", ""), ("ipp", ";AUTH=TLS")])
    def test_who_is_there(self, fake, certificates, scheme, auth):
        code, found = why(fake.uri(scheme, auth), "--ca", certificates.ca, "--peer", "dns:other.test")
        assert (code, found["why"][0]["code"], found["how"]["level"]) == (3, "wrong-peer", "strong"), found
        code, found = why(fake.uri(scheme, auth))
        assert (code, found["why"][0]["code"], found["how"]["level"]) == (3, "we-rejected-peer", "none"), found

    @pytest.mark.parametrize("auth, code", [("", 0), (";AUTH=DAA", 0), (";AUTH=TLS", 3), (";AUTH=TLS,DAA", 3)])
    def test_a_printer_in_clear_text(self, answer, certificates, auth, code):
        """What is demanded by the list and is not there, is not there."""
        ca = ["--ca", certificates.ca] if "TLS" in auth else []
        uri = f"ipp://{answer(REFUSES)}/x{auth}"
        found_code, found = why(uri, *ca)
        done = run(uri, *ca)
        assert (found_code, done.returncode, found["how"]["level"]) == (code, code, "none"), found
        assert [w["code"] for w in found["why"]][:1] == (["no-common-proposal"] if code else [])
        if code:
            assert found["failure"] is None and "the request for TLS (Upgrade) with 405" in found["why"][0]["text"]
            assert "WHY     no-common-proposal: the server answers the request for TLS (Upgrade) with " in done.stdout

    @pytest.mark.parametrize("options, text", [
        (b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n", "does not say that it is to TLS"),
        (b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: TLS/1.2\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
         "more in clear text")])
    def test_a_101_that_is_none(self, answer, certificates, options, text):
        code, found = why(f"ipp://{answer(options)}/x;AUTH=TLS", "--ca", certificates.ca)
        assert code == 3 and text in found["why"][0]["text"], found

    def test_nobody_is_there(self):
        assert why(f"ipp://127.0.0.1:{free_port()}/x;AUTH=TLS")[0] == 4

    @pytest.mark.parametrize("uri, text", [
        ("ipp://host/x;AUTH=SPKM", "cannot do SPKM"), ("ipp://host/x;AUTH=", "no URI of a printer"),
        ("ipp://ann:secret@host/x", "have no place"), ("ipps://host:0/x", "no URI of a printer")])
    def test_wrong(self, uri, text):
        done = run(uri)
        assert done.returncode == 2 and text in done.stderr and "secret" not in done.stderr


@ROOT
class TestPolicy:
    def test_which_line(self, sallyport, certificates, policy):
        path = policy("default min=weak", "rule proto=tcp port=1 min=strong", "interface lo min=strong via=tls,ipsec",
                      "attr role=gateway for=dns:localhost")
        code, found = why(sallyport.url("echo", "tls"), "--ca", certificates.ca, "--policy", path)
        assert code == 0 and found["who"]["derived"] == ["role=gateway"]
        assert [(d["what"], d["value"], d["by"], d["line"], d["decides"]) for d in found["plan"]["decisions"]][:3] == [
            ("level", "weak", "default", 2, False), ("level", "strong", "interface", 4, True),
            ("via", "ipsec,tls", "interface", 4, True)]
        done = run(sallyport.url("echo", "tls"), "--ca", certificates.ca, "--policy", path)
        assert f"interface in line 4 of {path}" in done.stdout and "role=gateway (says the policy)" in done.stdout

    def test_refused_by_a_line(self, sallyport, policy):
        code, found = why(sallyport.url("echo"), "--policy", policy("default min=none", "rule to=127.0.0.0/8 min=integrity"))
        assert (code, found["why"][0]["code"], found["why"][0]["source"], found["why"][0]["raw"]) == (
            1, "level-too-low", "policy", 3)

    def test_refused_before_a_packet(self, certificates, policy):
        """Nobody listens there, and that is not even noticed."""
        code, found = why(f"127.0.0.1:{free_port()}", "--ca", certificates.ca, "--policy", policy("default via=ipsec"))
        assert (code, found["how"], found["why"][0]["code"]) == (1, None, "local-policy")

    def test_service(self, sallyport, policy):
        path = policy("rule service=icap min=strong")
        assert why(sallyport.url("echo"), "--policy", path)[0] == 0
        assert why(sallyport.url("echo"), "--policy", path, "--service", "icap")[0] == 1

    def test_a_file_that_is_not_roots(self, sallyport, policy):
        path = policy("default min=none")
        path.chmod(0o666)
        done = run(sallyport.url("echo"), "--policy", path)
        assert done.returncode == 2 and "chmod go-w" in done.stderr

    def test_a_file_that_is_wrong(self, sallyport, policy):
        done = run(sallyport.url("echo"), "--policy", policy("default min=medium"))
        assert done.returncode == 2 and ":2: 'medium' is no level" in done.stderr


class TestUsage:
    @pytest.mark.parametrize("arguments, text", [
        ([], "name one URL"), (["a:1", "b:1"], "name one URL"), (["nonsense"], "neither a URL"), (["ftp://host/"], "neither a URL"),
        (["host:0"], "neither a URL"), (["host:65536"], "neither a URL"), (["https://user@host/"], "neither a URL"),
        (["[::1:5"], "neither a URL"), (["a:1", "--require", "medium"], "--require wants"),
        (["a:1", "--peer", "nobody"], "names nobody"), (["a:1", "--cert", "x"], "go together"),
        (["a:1", "--timeout", "0"], "--timeout wants"), (["icap://a/", "--ca", "x"], "are for TLS"),
        (["a:1", "--ca", "/nonexistent"], "No such file"), (["a:1", "--policy", "/nonexistent"], "there is no such file")])
    def test_wrong(self, arguments, text):
        done = run(*arguments)
        assert done.returncode == 2 and text in done.stderr

    def test_empty_ca(self, tmp_path):
        (tmp_path / "empty").touch()
        done = run(f"127.0.0.1:{free_port()}", "--ca", tmp_path / "empty")
        assert done.returncode == 2
        assert "no certificate among those to trust" in done.stderr

    def test_help(self):
        done = run("--help")
        assert done.returncode == 0 and "sallyport why URL | HOST:PORT" in done.stdout
