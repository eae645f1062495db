# SPDX-License-Identifier: Apache-2.0
"""What users of `sallyport print` and its like may choose of TLS and Digest (`--tls-min`, `--no-md5`)."""
import os
import ssl
import subprocess

import pytest

from testenv import build_dir, ipp
from testenv.sallyport import run_command
from testenv.wrong_printer import denied, wrong_printers

PDF = b"%PDF-1.4\nhello\n%%EOF\n"
SECRET = "a password of Ann's"
FINE, USAGE, SECURITY, LOGIN = 0, 2, 3, 5
MD5 = b'Digest realm="r", qop="auth", algorithm=MD5, nonce="n"'
MD5_SESS = b'Digest realm="r", qop="auth", algorithm=MD5-sess, nonce="n"'
RFC_2069 = b'Digest realm="r", nonce="n"'
SHA_256 = b'Digest realm="r", qop="auth", algorithm=SHA-256, nonce="n"'


def run(*arguments):
    done = run_command(build_dir(), *arguments, env={**os.environ, "SALLYPORT_PASSWORD": SECRET}, start_new_session=True,
                       stdin=subprocess.DEVNULL)
    assert SECRET not in done.stdout + done.stderr
    return done


@pytest.fixture
def document(tmp_path):
    path = tmp_path / "letter.pdf"
    path.write_bytes(PDF)
    return path


@pytest.fixture
def start(certificates):
    with wrong_printers(certificates.server) as begin:
        yield begin


class TestTlsMin:
    @pytest.mark.parametrize("scheme, auth", [("ipp", ";AUTH=TLS"), ("ipps", "")])
    def test_old_printer(self, start, document, certificates, scheme, auth):
        """With TLS 1.2 it is taken, unless the user says otherwise; then nothing of the job is sent."""
        fake = start()
        fake.tls_context.maximum_version = ssl.TLSVersion.TLSv1_2
        words = ["print", fake.uri(scheme, auth), document, "--ca", certificates.ca]
        assert run(*words, "--tls-min", "1.2").returncode == FINE
        fake.forget()
        done = run(*words, "--tls-min", "1.3")
        assert done.returncode == SECURITY and "TLS" in done.stderr, done
        assert fake.heard == []

    @pytest.mark.parametrize("command", ["print", "cancel", "jobs"])
    def test_new_printer(self, start, document, certificates, command):
        fake = start()
        uri = fake.uri("ipps")
        words = {"print": [uri, document], "cancel": [uri, "--job", "1"], "jobs": [uri]}[command]
        run(command, *words, "--ca", certificates.ca, "--tls-min", "1.3")
        assert fake.heard and {s.version for s in fake.sessions} == {"TLSv1.3"}

    @pytest.mark.parametrize("version", ["1.1", "1.4", "TLSv1.3", ""])
    def test_wrong(self, document, version):
        done = run("print", "ipp://127.0.0.1:9/q", document, "--tls-min", version)
        assert done.returncode == USAGE and f"--tls-min wants 1.2 or 1.3, not '{version}'" in done.stderr


class TestNoMd5:
    @pytest.mark.parametrize("challenge", [MD5, MD5_SESS, RFC_2069], ids=["MD5", "MD5-sess", "RFC 2069"])
    def test_not_answered(self, start, document, certificates, challenge):
        fake = start()
        fake.within[None] = denied(challenge)
        words = ["print", fake.uri("ipps"), document, "--ca", certificates.ca, "-u", "ann"]
        assert run(*words).returncode == LOGIN and any(b"Authorization" in s.tls for s in fake.sessions)
        fake.sessions.clear()
        assert run(*words, "--no-md5").returncode == LOGIN
        assert not any(b"Authorization" in s.tls for s in fake.sessions)
        assert ipp.PRINT_JOB not in fake.operations()

    def test_sha_256_is(self, start, document, certificates):
        fake = start()
        fake.within[None] = denied(MD5, SHA_256)
        run("print", fake.uri("ipps"), document, "--ca", certificates.ca, "-u", "ann", "--no-md5")
        answers = [s.tls for s in fake.sessions if b"Authorization" in s.tls]
        assert answers and all(b"algorithm=SHA-256" in a and b"algorithm=MD5" not in a for a in answers)
