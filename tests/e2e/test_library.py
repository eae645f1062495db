# SPDX-License-Identifier: Apache-2.0
"""libsallyport as a program outside of this tree has it: installed, found by pkg-config, and used by the two examples
that are shipped, a client and a server."""
import os
import pathlib
import subprocess

import pytest

from testenv import wait
from testenv.certs import Certificates
from testenv.peers import need
from testenv.process import Process
from testenv.sallyport import build_dir

EXAMPLES = pathlib.Path(__file__).resolve().parents[2] / "examples" / "library"
PROGRAMS = ("how-who-why", "known-peers-only")


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Where `meson install` put the library, without the packages of this machine in the way."""
    folder = tmp_path_factory.mktemp("installed")
    subprocess.run([need("meson", "meson"), "install", "-C", build_dir(), "--destdir", folder, "--no-rebuild", "--quiet",
                    "--tags", "devel,runtime"], check=True, timeout=120, stdout=subprocess.DEVNULL)
    return folder


@pytest.fixture(scope="module")
def flags(installed):
    """What pkg-config says, with the paths of |installed|."""
    file, = installed.rglob("sallyport.pc")
    env = {**os.environ, "PKG_CONFIG_PATH": str(file.parent)}
    run = subprocess.run([need("pkg-config", "pkg-config"), "--define-variable=prefix=" + str(file.parents[3]),
                          "--cflags", "--libs", "sallyport", "libssl", "libcrypto"], env=env, check=True,
                         capture_output=True, text=True, timeout=30)
    return run.stdout.split()


@pytest.fixture(scope="module")
def programs(installed, flags, tmp_path_factory):
    folder = tmp_path_factory.mktemp("examples")
    for name in PROGRAMS:
        for standard in ("-std=c99", "-std=c17"):
            subprocess.run([need("cc", "gcc"), standard, "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-O2",
                            EXAMPLES / f"{name}.c", *flags, "-o", folder / name], check=True, timeout=60)
    library, = {file.parent for file in installed.rglob("libsallyport.so.0")}
    return folder, {**os.environ, "LD_LIBRARY_PATH": str(library)}


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    return Certificates(tmp_path_factory.mktemp("people"))


def test_only_public_names_are_visible(installed):
    library, = (file for file in installed.rglob("libsallyport.so.0*") if not file.is_symlink())
    run = subprocess.run([need("nm", "binutils"), "-D", "--defined-only", library], check=True, capture_output=True, text=True,
                         timeout=30)
    names = {line.split()[-1].split("@")[0] for line in run.stdout.splitlines()}
    assert names - {"SALLYPORT_0"} and all(name.startswith("sallyport_") for name in names - {"SALLYPORT_0"})


def test_it_stays_loaded(installed):
    """OpenSSL calls functions of the library when it frees what that hung on its objects."""
    library, = (file for file in installed.rglob("libsallyport.so.0*") if not file.is_symlink())
    run = subprocess.run([need("readelf", "binutils"), "-d", library], check=True, capture_output=True, text=True, timeout=30)
    assert "NODELETE" in run.stdout


class TestTogether:
    """The client meets the server; each says what it knows of the other."""

    @pytest.fixture(scope="class")
    def server(self, programs, people, tmp_path_factory):
        folder, env = programs
        certificate, key = people.issue("localhost")
        log = tmp_path_factory.mktemp("server") / "server.log"
        with Process([folder / "known-peers-only", "0", certificate, key, people.ca, "dns:*.known.test", "dn:CN=friend"], log,
                     env={"LD_LIBRARY_PATH": env["LD_LIBRARY_PATH"]}) as process:
            wait.until(lambda: log.read_text().startswith("port "), "the server listens")
            yield log.read_text().split()[1], log
            process.popen.terminate()

    @pytest.fixture(scope="class")
    def friend(self, people):
        """A file with certificate and key of somebody whom the server wants."""
        certificate, key = people.issue("friend", "subjectAltName=DNS:b.test", usage="clientAuth")
        both = certificate.with_name("friend-both.pem")
        both.write_text(certificate.read_text() + key.read_text())
        return both

    def client(self, programs, port, ca, *wanted):
        folder, env = programs
        return subprocess.run([folder / "how-who-why", "localhost", port, ca, *wanted], env=env, capture_output=True, text=True,
                              timeout=30, check=False)

    def test_the_client_is_content(self, programs, server, people, friend):
        run = self.client(programs, server[0], people.ca, friend, "dns:localhost")
        assert run.returncode == 0
        assert run.stdout.startswith("HOW strong: TLSv1.3 ")
        assert "\nWHO CN=localhost\n  dns:localhost\n" in run.stdout

    @pytest.mark.parametrize("wanted, code, text", [
        (["dns:other.test"], 3, "WHY wrong-peer: "), (["dns:other.test", "dn:CN=localhost"], 0, "WHO CN=localhost"),
        (["dns:"], 1, "")])
    def test_whom_the_client_wants(self, programs, server, people, friend, wanted, code, text):
        run = self.client(programs, server[0], people.ca, friend, *wanted)
        assert run.returncode == code
        assert text in run.stdout
        assert (code == 1) == ("names nobody" in run.stderr)

    def test_the_server_is_not_content(self, programs, server, people):
        """With TLS 1.3 that comes after the client's handshake, which went well."""
        run = self.client(programs, server[0], people.ca, "dns:localhost")
        assert run.returncode == 3
        assert run.stdout.startswith("HOW strong: TLSv1.3 ") and "\nWHO CN=localhost\n" in run.stdout
        assert "\nWHY peer-rejected-us: the peer sent the TLS alert 'certificate required' (peer)\n" in run.stdout

    def test_a_server_of_another_ca(self, programs, server, tmp_path):
        run = self.client(programs, server[0], Certificates(tmp_path).ca)
        assert run.returncode == 3
        assert "HOW none: " in run.stdout
        assert "WHO nobody" in run.stdout
        assert "WHY we-rejected-peer: " in run.stdout

    @pytest.mark.parametrize("name, alternative, line", [
        ("a", "DNS:proxy.known.test", "in CN=a"), ("friend", "DNS:b.test", "in CN=friend"),
        ("stranger", "DNS:c.test", "out CN=stranger: the peer authenticated itself as somebody who is not wanted here"),
        (None, None, "out somebody: ")])
    def test_whom_the_server_wants(self, server, people, name, alternative, line):
        port, log = server
        command = [need("openssl", "openssl"), "s_client", "-connect", f"127.0.0.1:{port}", "-CAfile", people.ca, "-quiet"]
        if name:
            certificate, key = people.issue(name, f"subjectAltName={alternative}", usage="clientAuth")
            command += ["-cert", certificate, "-key", key]
        before = len(log.read_text())
        run = subprocess.run(command, input="", capture_output=True, text=True, timeout=30, check=False)
        wait.until(lambda: line in log.read_text()[before:], line)
        assert ("hello CN=" in run.stdout) == line.startswith("in ")
