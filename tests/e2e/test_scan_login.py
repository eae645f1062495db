# SPDX-License-Identifier: Apache-2.0
"""`sallyport scan` at a server that wants to know who asks: users, passwords, certificates, and each way to fail."""
import fcntl
import json
import os
import pathlib
import pty
import re
import select
import signal
import subprocess
import termios
import threading

import pytest

from testenv import Certificates, build_dir, free_port, samples, wait
from testenv.login_server import LoginServer, basic, one_status, server_context, silent_port
from testenv.peers import need
from testenv.sallyport import binary, run_command
from testenv.wrong_server import Stub

SECRET = "correct horse: ä"
USERS = {"user": SECRET}


def scan(*arguments, password=None, **more):
    env = {**os.environ, **({"SALLYPORT_PASSWORD": password} if password is not None else {})}
    done = run_command(build_dir(), "scan", *arguments, env=env, start_new_session=True, **more)
    assert SECRET not in done.stdout + done.stderr
    assert basic("user", SECRET).decode()[6:] not in done.stdout + done.stderr
    return done


def lines(done):
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture
def files(tmp_path):
    folder = tmp_path / "files"
    folder.mkdir()
    for i in range(12):
        (folder / f"{i:02}.txt").write_text(f"letter {i}\n")
    return folder


@pytest.fixture
def secret_file(tmp_path):
    path = tmp_path / "password"
    path.write_text(SECRET + "\nand a second line\n")
    path.chmod(0o600)
    return path


@pytest.fixture
def serve(certificates):
    """Starts servers with a login, by default for USERS and with the certificate of localhost."""
    started = []

    def start(context=None, users=None, **options):
        server = LoginServer(users or USERS, context or server_context(certificates.server), **options)
        started.append(server)
        return server.__enter__()
    yield start
    for server in started:
        server.__exit__()


@pytest.fixture(scope="module")
def client(certificates):
    return certificates.issue("scan-client", usage="clientAuth")


class TestLogin:
    def test_every_request_says_who(self, serve, certificates, files, secret_file):
        server = serve()
        done = scan(files, "--to", server.url("user"), "--ca", certificates.ca, "--password-file", secret_file,
                    "--jobs", 1)
        assert done.returncode == 0, done.stdout + done.stderr
        assert {login for _, _, login in server.seen} == {basic("user", SECRET)}
        assert [method for _, method, _ in server.seen] == [b"OPTIONS"] + 12 * [b"RESPMOD"]
        assert (server.denied, server.connections) == (0, 1)

    def test_environment(self, serve, certificates, files):
        server = serve(users={"m@example.org": SECRET})
        done = scan(files, "--to", server.url("m%40example.org"), "--ca", certificates.ca, password=SECRET)
        assert done.returncode == 0 and "12 passed" in done.stdout

    def test_several_connections(self, serve, certificates, files, secret_file):
        server = serve()
        done = scan(files, "--to", server.url("user"), "--ca", certificates.ca, "--password-file", secret_file,
                    "--jobs", 6, "--json")
        assert done.returncode == 0 and len(lines(done)) == 12
        assert server.denied == 0

    def test_nobody_sees_it(self, serve, certificates, files, secret_file):
        """Neither in the environment nor on the command line of the process that has it."""
        held = threading.Event()
        server = serve(reply=lambda _request, _n: held.wait(30) and b'ICAP/1.0 204 x\r\nISTag: "t"\r\n\r\n')
        command = [binary(), "scan", files / "00.txt", "--to", server.url("user"), "--ca", certificates.ca]
        with subprocess.Popen(command, env={**os.environ, "SALLYPORT_PASSWORD": SECRET, "CANARY": "here"},
                              stdout=subprocess.DEVNULL, start_new_session=True) as process:
            wait.until(lambda: server.served == 2, "the file to arrive")
            limits = pathlib.Path(f"/proc/{process.pid}/limits").read_text()
            seen = [pathlib.Path(f"/proc/{process.pid}/{name}").read_bytes() for name in ("environ", "cmdline")]
            held.set()
            assert process.wait(30) == 0
        assert re.search(r"^Max core file size +1 +1 ", limits, re.M)
        assert b"CANARY" in seen[0]
        assert not any(SECRET.encode() in text for text in seen)

    @pytest.mark.parametrize("name", ["user", "nobody"])
    def test_refused(self, serve, certificates, files, name):
        """A wrong password is tried twice, whatever the number of files and connections; and the answer for users who
        do not exist is the same."""
        server = serve()
        done = scan(files, "--to", server.url(name), "--ca", certificates.ca, "--jobs", 6, "--json", password="wrong")
        assert done.returncode == 1
        assert len(lines(done)) == 12
        assert {line["reason"] for line in lines(done)} == {
            f"the server does not accept user '{name}' with this password (407)"}
        assert {line["error"] for line in lines(done)} == {"policy"}
        assert server.denied == 2

    def test_no_user(self, serve, certificates, files):
        server = serve()
        done = scan(files / "00.txt", "--to", server.url(), "--ca", certificates.ca)
        assert done.returncode == 1
        assert "name the user in the URL, as in icaps://user@host/service" in done.stdout
        assert server.denied == 1

    def test_another_kind(self, serve, certificates, files):
        server = serve(challenge=b"Proxy-Authenticate: Negotiate\r\n")
        done = scan(files, "--to", server.url("user"), "--ca", certificates.ca, password="wrong")
        assert done.returncode == 1 and "only Basic is" in done.stdout
        assert server.denied == 1

    def test_resume(self, serve, certificates, files, secret_file, tmp_path):
        """The question about the ISTag logs in, too; a wrong password ends there."""
        server = serve()
        rest = ["--ca", certificates.ca, "--resume", tmp_path / "state"]
        assert scan(files, "--to", server.url("user"), *rest, "--password-file", secret_file).returncode == 0
        done = scan(files, "--to", server.url("user"), *rest, "--password-file", secret_file)
        assert "12 of them from the last run" in done.stdout
        assert scan(files, "--to", server.url("user"), *rest, password="wrong").returncode == 1
        assert server.denied == 2
        assert SECRET not in (tmp_path / "state").read_text()


class TestRenewal:
    def test_session_that_ends(self, serve, certificates, files, secret_file):
        """Every third request of a connection comes too late, and nobody notices."""
        server = serve(expire=3)
        done = scan(files, "--to", server.url("user"), "--ca", certificates.ca, "--password-file", secret_file,
                    "--jobs", 1)
        assert done.returncode == 0 and "12 passed" in done.stdout
        assert (server.denied, server.connections) == (4, 1)
        assert sorted(server.files) == sorted((files / f"{i:02}.txt").read_bytes() for i in range(12))

    def test_in_the_middle_of_a_file(self, serve, certificates, secret_file, tmp_path):
        """The whole file comes again, on another connection."""
        large = samples.noise(9 * samples.MIB)
        (tmp_path / "large").write_bytes(large)
        server = serve(early=1)
        done = scan(tmp_path / "large", "--to", server.url("user"), "--ca", certificates.ca, "--password-file",
                    secret_file)
        assert done.returncode == 0, done.stdout + done.stderr
        assert (server.denied, server.connections) == (1, 2)
        assert server.files == [large]

    def test_for_ever(self, serve, certificates, secret_file, tmp_path):
        """Twice is enough."""
        (tmp_path / "large").write_bytes(samples.noise(9 * samples.MIB))
        server = serve(early=99)
        done = scan(tmp_path / "large", "--to", server.url("user"), "--ca", certificates.ca, "--password-file",
                    secret_file)
        assert done.returncode == 1 and "(407)" in done.stdout
        assert server.denied == 2


class TestPassword:
    """Where it comes from, and where it does not."""

    URL = "icaps://user@localhost:1/inspect"

    @pytest.mark.parametrize("url", ["icaps://user:sesame@localhost/x", "icaps://user%3Asesame@localhost/x",
                                     "icaps://user:sesame@localhost", "icaps://:sesame@localhost/x"])
    def test_not_in_the_url(self, files, url, tmp_path):
        done = scan(files, "--to", url, "--resume", tmp_path / "state")
        assert (done.returncode, done.stdout) == (2, "")
        assert "sesame" not in done.stderr
        assert not (tmp_path / "state").exists()

    def test_no_option(self, files):
        done = scan(files, "--to", self.URL, "--password", "sesame")
        assert (done.returncode, done.stdout) == (2, "")
        assert "command lines" in done.stderr and "sesame" not in done.stderr

    def test_no_terminal(self, files):
        done = scan(files, "--to", self.URL)
        assert (done.returncode, done.stdout) == (2, "")
        assert "no password for user 'user', and no terminal to ask for it" in done.stderr

    def test_file_that_others_may_read(self, files, secret_file):
        secret_file.chmod(0o644)
        done = scan(files, "--to", self.URL, "--password-file", secret_file)
        assert (done.returncode, done.stdout) == (2, "")
        assert "others may read it (mode 0644)" in done.stderr

    def test_pipe(self, serve, certificates, files):
        """As a password manager gives it: <(pass show gateway)."""
        server = serve()
        reading, writing = os.pipe()
        os.write(writing, SECRET.encode() + b"\n")
        os.close(writing)
        done = scan(files, "--to", server.url("user"), "--ca", certificates.ca, "--password-file", f"/dev/fd/{reading}",
                    pass_fds=[reading])
        os.close(reading)
        assert done.returncode == 0

    @pytest.mark.parametrize("arguments", [
        ["--password-file", "/nothing"], ["--password-file", "/dev/null"], ["--key", "x"], ["--cert", "/nothing"],
        ["--require", "perfect"], ["--peer", "x"], ["--peer", "dns:"], ["--require", "strong", "--insecure-no-verify"],
        ["--peer", "dns:x", "--insecure-no-verify"]])
    def test_wrong_use(self, files, arguments):
        done = scan(files, "--to", self.URL, *arguments, password="x" if "--password-file" not in arguments else None)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr

    @pytest.mark.parametrize("arguments", [
        ["--password-file", "/dev/null", "--to", "icaps://localhost/x"], ["--insecure-login", "--to", "icaps://h/x"],
        ["--cert", "x"], ["--require", "strong"], ["--peer", "dns:x"]])
    def test_nobody_is_asked(self, files, arguments):
        done = scan(files, *arguments)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr


class TestPrompt:
    @pytest.fixture
    def terminal(self):
        ours, theirs = pty.openpty()
        yield ours, theirs
        os.close(ours)
        os.close(theirs)

    def start(self, terminal, *arguments):
        def take_terminal():
            os.setsid()
            fcntl.ioctl(terminal[1], termios.TIOCSCTTY, 0)
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # ignored where the tests run in the background
        process = subprocess.Popen([binary(), "scan", *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT, preexec_fn=take_terminal, pass_fds=[terminal[1]])
        assert self.shown(terminal) == b"Password of user at localhost: "
        wait.until(lambda: not self.echoes(terminal), "echo to be switched off")
        return process

    def shown(self, terminal):
        assert select.select([terminal[0]], [], [], 20)[0], "nothing is shown"
        return os.read(terminal[0], 4096)

    def echoes(self, terminal):
        return bool(termios.tcgetattr(terminal[1])[3] & termios.ECHO)

    def test_typed(self, serve, certificates, files, terminal):
        server = serve()
        process = self.start(terminal, files, "--to", server.url("user"), "--ca", certificates.ca)
        os.write(terminal[0], SECRET.encode() + b"\n")
        out, _ = process.communicate(timeout=60)
        assert process.returncode == 0 and b"12 passed" in out, out
        assert self.shown(terminal) == b"\r\n"
        assert self.echoes(terminal)

    def test_nothing(self, files, terminal):
        process = self.start(terminal, files, "--to", TestPassword.URL)
        os.write(terminal[0], b"\x04")
        out, _ = process.communicate(timeout=60)
        assert (process.returncode, b"nothing was typed" in out) == (2, True)
        assert self.echoes(terminal)

    @pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
    def test_interrupted(self, files, terminal, signum):
        process = self.start(terminal, files, "--to", TestPassword.URL)
        if signum == signal.SIGINT:
            os.write(terminal[0], b"half of it\x03")
        else:
            process.send_signal(signum)
        process.communicate(timeout=60)
        assert process.returncode == -signum
        assert self.echoes(terminal)


class TestSecurity:
    """What was asked for is not there: exit code 3, and nothing was sent."""

    def refused(self, server, *arguments, **more):
        done = scan(*arguments, **more)
        assert done.returncode == 3, done.stdout + done.stderr
        assert server.seen == []
        return done.stdout + done.stderr

    def test_user_in_clear_text(self, serve, files):
        server = serve()
        text = self.refused(server, files, "--to", server.url("user", scheme="icap"), password=SECRET)
        assert "icap:// is clear text" in text
        assert server.connections == 0

    def test_user_in_clear_text_who_said_so(self, files):
        with LoginServer(USERS, None) as server:
            done = scan(files, "--to", server.url("user", scheme="icap"), "--insecure-login", password=SECRET)
            assert done.returncode == 0 and server.denied == 0
            assert {login for _, _, login in server.seen} == {basic("user", SECRET)}

    def test_user_for_anybody(self, serve, files):
        server = serve()
        text = self.refused(server, files, "--to", server.url("user"), "--insecure-no-verify", password=SECRET)
        assert "anybody may be the server" in text
        assert server.connections == 0

    def test_user_for_anybody_who_said_so(self, serve, files):
        server = serve()
        done = scan(files, "--to", server.url("user"), "--insecure-no-verify", "--insecure-login", password=SECRET)
        assert done.returncode == 0 and server.denied == 0

    def test_clear_text(self, sallyport, files):
        done = scan(files / "00.txt", "--to", sallyport.url("inspect"), "--require", "strong")
        assert done.returncode == 3
        assert "the connection is not protected; strong protection is required" in done.stdout
        assert scan(files / "00.txt", "--to", sallyport.url("inspect"), "--require", "none").returncode == 0

    def test_another_peer(self, serve, certificates, files):
        server = serve()
        text = self.refused(server, files, "--to", server.url("user"), "--ca", certificates.ca, "--peer",
                            "dns:gateway.example", password=SECRET)
        assert "refused to use localhost" in text
        assert scan(files, "--to", server.url("user"), "--ca", certificates.ca, "--peer", "dns:gateway.example",
                    "--peer", "dns:localhost", "--require", "strong", password=SECRET).returncode == 0


class TestFailures:
    """Each has a sentence of its own."""

    def refused(self, url, files, *arguments, code=3, password=None):
        done = scan(files / "00.txt", "--to", url, *arguments, password=password)
        codes = code if isinstance(code, tuple) else (code,)
        assert done.returncode in codes, done.stdout + done.stderr
        return done.stdout + done.stderr

    def test_wrong_ca(self, serve, files, tmp_path):
        server = serve()
        text = self.refused(server.url("user"), files, "--ca", Certificates(tmp_path / "other").ca, password=SECRET)
        assert "nobody who is trusted has issued it" in text
        assert server.seen == []

    def test_wrong_name(self, serve, certificates, files):
        server = serve(server_context(certificates.issue("elsewhere", "subjectAltName=DNS:elsewhere.test")))
        assert "for another name" in self.refused(server.url(), files, "--ca", certificates.ca)
        assert "not for the address" in self.refused(server.url(host="127.0.0.1"), files, "--ca", certificates.ca)
        assert server.seen == []

    def test_expired(self, serve, certificates, files):
        server = serve(server_context(certificates.issue("scan-expired", days=-1)))
        assert "has expired" in self.refused(server.url(), files, "--ca", certificates.ca)

    @pytest.mark.parametrize("only_1_2", [False, True], ids=["TLS 1.3", "TLS 1.2"])
    @pytest.mark.parametrize("size", [10, 9 * samples.MIB], ids=["small", "large"])
    def test_certificate_that_is_missing(self, serve, certificates, files, only_1_2, size):
        """TLS 1.3 tells only after the handshake, when a file may be on its way."""
        (files / "00.txt").write_bytes(samples.noise(size))
        server = serve(server_context(certificates.server, certificates.ca, only_1_2=only_1_2))
        text = self.refused(server.url(), files, "--ca", certificates.ca)
        assert "the server demands a client certificate, and was given none" in text

    @pytest.mark.parametrize("only_1_2", [False, True], ids=["TLS 1.3", "TLS 1.2"])
    def test_certificate_of_a_stranger(self, serve, certificates, files, tmp_path, only_1_2):
        certificate, key = Certificates(tmp_path / "other").issue("stranger", usage="clientAuth")
        server = serve(server_context(certificates.server, certificates.ca, only_1_2=only_1_2))
        text = self.refused(server.url(), files, "--ca", certificates.ca, "--cert", certificate, "--key", key)
        assert "the server refuses our client certificate: it does not trust the CA that issued it" in text

    def test_certificate_that_was_revoked(self, serve, certificates, files, client, tmp_path):
        crl = revoke(certificates, client[0], tmp_path)
        server = serve(server_context(certificates.server, certificates.ca, crl))
        text = self.refused(server.url(), files, "--ca", certificates.ca, "--cert", client[0], "--key", client[1])
        assert "the server refuses our client certificate: it has been revoked" in text

    def test_certificate_that_has_expired(self, certificates, files):
        certificate, key = certificates.issue("scan-client-expired", usage="clientAuth", days=-1)
        text = self.refused("icaps://localhost:1/x", files, "--ca", certificates.ca, "--cert", certificate, "--key", key,
                            code=2)
        assert "expired" in text and str(certificate) in text

    def test_key_of_another(self, certificates, files, client):
        text = self.refused("icaps://localhost:1/x", files, "--cert", client[0], "--key", certificates.server[1], code=2)
        assert str(client[0]) in text

    def test_no_key(self, certificates, files, client):
        text = self.refused("icaps://localhost:1/x", files, "--cert", client[0], code=2)
        assert "the key is not an unencrypted PEM private key" in text

    def test_no_tls(self, sallyport, certificates, files):
        url = sallyport.url("inspect").replace("icap:", "icaps:")
        assert "does not speak TLS on this port" in self.refused(url, files, "--ca", certificates.ca)

    def test_port_that_closes(self, certificates, files):
        with Stub(lambda peer, _stub: peer.sock.recv(1)) as stub:
            text = self.refused(f"icaps://{stub.address}/x", files, "--ca", certificates.ca, code=(3, 4))
        assert "TLS" in text or "reset" in text

    def test_old_tls(self, certificates, files):
        port = free_port()
        command = [need("openssl", "openssl"), "s_server", "-accept", f"127.0.0.1:{port}", "-cert", certificates.server[0],
                   "-key", certificates.server[1], "-quiet", "-tls1_1", "-cipher", "ALL:@SECLEVEL=0"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as s:
            wait.until(lambda: _connects(port), "s_server to listen")
            text = self.refused(f"icaps://localhost:{port}/x", files, "--ca", certificates.ca)
            s.kill()
        assert "the server takes no TLS version that is taken here" in text

    @pytest.mark.parametrize("status, more, code, words", [
        (b"403 Forbidden", b"", 1, "the server does not let us use it (403)"),
        (b"404 Not Found", b"", 4, "the server has no such service (404)"),
        (b"503 Busy", b"Retry-After: 3600\r\n", 4, "the server is overloaded (503), for about 3600 seconds"),
        (b"503 Busy", b"Retry-After: 0\r\n", 4, "the server is overloaded (503)"),
        (b"500 Error", b"", 4, "status 500")])
    def test_status(self, certificates, files, status, more, code, words):
        with Stub(one_status(status, more), server_context(certificates.server)) as stub:
            text = self.refused(f"icaps://user@{stub.address}/x", files, "--ca", certificates.ca, code=code,
                                password=SECRET)
        assert words in text

    def test_busy_for_a_moment(self, serve, certificates, files):
        def reply(_request, n):
            return b"ICAP/1.0 503 Busy\r\nRetry-After: 0\r\n\r\n" if n == 2 else b"ICAP/1.0 204 x\r\n\r\n"
        server = serve(reply=reply)
        assert scan(files, "--to", server.url("user"), "--ca", certificates.ca, password=SECRET).returncode == 0

    def test_server_that_goes_away(self, serve, certificates, files):
        """Without a TLS close: that is the network, and no lack of security."""
        server = serve(reply=hang_up)
        text = self.refused(server.url("user"), files, "--ca", certificates.ca, code=4, password=SECRET)
        assert "before the first byte of its answer" in text
        assert server.served == 3  # OPTIONS, the file, and once more on a fresh connection

    def test_silence(self, certificates, files):
        listener, port = silent_port()
        with listener:
            text = self.refused(f"icaps://localhost:{port}/x", files, "--ca", certificates.ca, "--connect-timeout", 1,
                                code=4)
        assert "the TLS handshake took too long" in text

    def test_nobody_listens(self, files):
        assert "cannot connect" in self.refused(f"icaps://localhost:{free_port()}/x", files, code=4)


class TestCertificate:
    """The gateway knows its clients by their certificates."""

    @pytest.fixture(scope="class")
    def gateway(self, tmp_path_factory, certificates):
        from testenv import Sallyport
        config = ("state: {state}\nthreads: 1\nsandbox: best-effort\nadmin: {address: 127.0.0.1:0}\ntls:\n"
                  f"  - {{name: t, certificate: {certificates.server[0]}, key: {certificates.server[1]}, "
                  f"client-ca: {certificates.ca}}}\nlisteners:\n"
                  '  - {name: tls, address: "127.0.0.1:0", tls: t, require: strong}\n'
                  "services:\n  - {name: echo, type: echo, path: /echo}\n")
        with Sallyport(tmp_path_factory.mktemp("gateway"), config=config) as started:
            yield started

    def test_two_files(self, gateway, certificates, files, client):
        done = scan(files, "--to", gateway.url("echo", "tls"), "--ca", certificates.ca, "--cert", client[0], "--key",
                    client[1])
        assert done.returncode == 0 and "12 passed" in done.stdout

    def test_one_file(self, gateway, certificates, files, client, tmp_path):
        both = tmp_path / "both.pem"
        both.write_bytes(client[1].read_bytes() + client[0].read_bytes())
        done = scan(files, "--to", gateway.url("echo", "tls"), "--ca", certificates.ca, "--cert", both)
        assert done.returncode == 0

    def test_none(self, gateway, certificates, files):
        done = scan(files, "--to", gateway.url("echo", "tls"), "--ca", certificates.ca)
        assert done.returncode == 3
        assert "the server demands a client certificate, and was given none" in done.stdout

    def test_with_a_user(self, gateway, certificates, files, client):
        """A server that does not ask takes no offence."""
        done = scan(files, "--to", gateway.url("echo", "tls").replace("//", "//user@"), "--ca", certificates.ca, "--cert",
                    client[0], "--key", client[1], password=SECRET)
        assert done.returncode == 0


def hang_up(_request, _n):
    raise ConnectionError


def _connects(port):
    with open("/proc/net/tcp") as f:
        return any(line.split()[1].endswith(f":{port:04X}") and line.split()[3] == "0A" for line in list(f)[1:])


def revoke(certificates, certificate, folder):
    """A list of the CA, with |certificate| on it."""
    (folder / "index.txt").touch()
    (folder / "number").write_text("01\n")
    (folder / "ca.cnf").write_text(
        f"[ca]\ndefault_ca=c\n[c]\ndatabase={folder}/index.txt\ncrlnumber={folder}/number\ndefault_md=sha256\n"
        f"default_crl_days=3\ncertificate={certificates.ca}\nprivate_key={certificates.folder}/ca.key\n")
    for arguments in (["-revoke", certificate], ["-gencrl", "-out", folder / "crl.pem"]):
        done = subprocess.run([need("openssl", "openssl"), "ca", "-config", folder / "ca.cnf", *arguments],
                              capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
    return folder / "crl.pem"
