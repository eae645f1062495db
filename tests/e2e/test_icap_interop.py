# SPDX-License-Identifier: Apache-2.0
"""Other people's ICAP: c-icap-client against our server, our client against c-icap's."""
import json
import re
import subprocess

import pytest

from testenv import IcapConnection, Sallyport, build_dir, cicap_client, samples
from testenv.peers import missing
from testenv.sallyport import run_command

SIZES = (0, 1, 1024, 65535, 65536, samples.MIB)


def client(sallyport, service, *options, tls=False, **more):
    """c-icap-client at one of our listeners."""
    return cicap_client(sallyport.address("tls" if tls else "clear")[1], service, *options, tls_ca=tls, **more)


SERVICES = """\
  - {name: shown, type: echo, path: /shown, preview: 4k}
  - {name: looked-into, type: inspect, path: /looked-into, preview: 4k}
  - {name: partial, type: echo, path: /partial, answer: partial, preview: 4k}
"""


@pytest.fixture(scope="module")
def sallyport(tmp_path_factory, certificates):
    """One with services that ask for previews, and one that answers 206 where it may, too."""
    with Sallyport(tmp_path_factory.mktemp("sallyport"), tls=certificates.server, services=SERVICES) as gateway:
        yield gateway


@pytest.fixture(params=["clear", "tls"])
def tls(request):
    return request.param == "tls"


@pytest.mark.tsan
class TestCIcapClient:
    """c-icap 0.5.10's client as a peer of ours."""

    @pytest.mark.parametrize("service", ["echo", "inspect"])
    def test_options(self, sallyport, tls, service):
        run = client(sallyport, service, tls=tls)
        talk = (run.stdout + run.stderr).decode()
        assert run.returncode == 0, talk
        assert "Allow 204: Yes" in talk
        assert "Preview:" not in talk or "Preview: -1" in talk or "Preview: 0" in talk, talk

    @pytest.mark.parametrize("size", SIZES)
    def test_echo(self, sallyport, tls, tmp_path, size):
        """Without 204 everything comes back."""
        (tmp_path / "in").write_bytes(samples.noise(size))
        run = client(sallyport, "echo", "-no204", "-nopreview", "-resp", "http://origin.test/file.bin", tls=tls,
                     file=tmp_path / "in", output=tmp_path / "out")
        assert run.returncode == 0, run.stderr
        assert (tmp_path / "out").read_bytes() == samples.noise(size)

    @pytest.mark.parametrize("way", ["-resp", "-req"])
    def test_unchanged(self, sallyport, tls, tmp_path, way):
        """With 204 nothing comes back, and the client says so."""
        (tmp_path / "in").write_bytes(samples.noise(3000))
        run = client(sallyport, "inspect", way, "http://origin.test/file.bin", "-v", tls=tls, file=tmp_path / "in",
                     output=tmp_path / "out")
        assert run.returncode == 0, run.stderr
        assert not (tmp_path / "out").exists() or (tmp_path / "out").read_bytes() == b""
        assert b"204" in run.stdout + run.stderr

    @pytest.mark.parametrize("service", ["shown", "looked-into"])
    @pytest.mark.parametrize("preview", [0, 1, 1024, 4096])
    @pytest.mark.parametrize("size", [0, 1, 1024, 4096, 200_000])
    def test_preview(self, sallyport, tls, tmp_path, service, size, preview):
        """It previews where OPTIONS asks for it, less if told so. What it does not allow is a 204 but inside a
        preview: so that one tells that there was one, and that it was enough."""
        (tmp_path / "in").write_bytes(samples.noise(size))
        run = client(sallyport, service, "-no204", "-w", preview, "-resp", "http://origin.test/file.bin", "-v", tls=tls,
                     file=tmp_path / "in", output=tmp_path / "out")
        talk = (run.stdout + run.stderr).decode(errors="replace")
        assert run.returncode == 0, talk
        out = (tmp_path / "out").read_bytes() if (tmp_path / "out").exists() else b""
        # A body of exactly the preview's size has no ieof.
        unchanged = service == "shown" or size < preview
        assert re.findall(r"ICAP/1\.0 (\d+)", talk) == ["204" if unchanged else "200"], talk
        assert out == (b"" if unchanged else samples.noise(size))

    @pytest.mark.parametrize("preview", [("-nopreview",), ("-w", 0)], ids=lambda p: " ".join(map(str, p)))
    @pytest.mark.parametrize("size", [0, 1, 1024, 4096, samples.MIB])
    def test_partial(self, sallyport, tls, tmp_path, size, preview):
        """206: the client puts its own bytes where the answer points to them. It forgets those of a preview, so
        that one has none here; test_preview_matrix.py has the others."""
        (tmp_path / "in").write_bytes(samples.noise(size))
        run = client(sallyport, "partial", "-206", *preview, "-resp", "http://origin.test/file.bin", "-v", tls=tls,
                     file=tmp_path / "in", output=tmp_path / "out")
        talk = (run.stdout + run.stderr).decode(errors="replace")
        assert run.returncode == 0 and "ICAP/1.0 206 Partial Content" in talk, talk
        assert (tmp_path / "out").read_bytes() == samples.noise(size)

    def test_infected(self, sallyport, tls, tmp_path):
        (tmp_path / "in").write_bytes(samples.EICAR)
        run = client(sallyport, "inspect", "-resp", "http://origin.test/eicar.com", "-v", tls=tls,
                     file=tmp_path / "in", output=tmp_path / "out")
        talk = (run.stdout + run.stderr).decode(errors="replace")
        assert "X-Infection-Found: Type=0; Resolution=2; Threat=" in talk, talk
        assert "403" in talk
        page = (tmp_path / "out").read_bytes()
        assert page and samples.EICAR not in page

    def test_json_block_page(self, sallyport, tmp_path):
        (tmp_path / "in").write_bytes(samples.EICAR)
        run = client(sallyport, "inspect", "-resp", "http://origin.test/eicar.com", "-hx", "Accept: application/json",
                     file=tmp_path / "in", output=tmp_path / "out")
        assert run.returncode == 0, run.stderr
        assert json.loads((tmp_path / "out").read_text())


class TestOurClient:
    """`sallyport scan` against c-icap's server."""

    def scan(self, *arguments):
        return run_command(build_dir(), "scan", *arguments)

    @pytest.mark.parametrize("size", SIZES)
    def test_echo(self, cicap, tmp_path, size):
        (tmp_path / "file.bin").write_bytes(samples.noise(size))
        statuses = set()
        for _ in range(6):  # every other file that is not empty is answered with 200, and all of its bytes
            run = self.scan("--json", "--to", f"icap://127.0.0.1:{cicap.port}/echo", tmp_path / "file.bin")
            assert run.returncode == 0, run.stdout + run.stderr
            assert json.loads(run.stdout)["verdict"] == "pass"
            statuses.add(json.loads(run.stdout)["icap_status"])
        assert statuses == ({200, 204} if size else {204})

    @pytest.mark.parametrize("content", [samples.noise(size) for size in SIZES] + [b"<html><body>hello</body></html>" * 3000],
                             ids=[*map(str, SIZES), "html"])
    def test_ex206(self, cicap, tmp_path, content):
        """It changes the beginning of what is HTML, if one takes a 206; a scan wants a verdict, and does not."""
        (tmp_path / "file.bin").write_bytes(content)
        run = self.scan("--json", "--to", f"icap://127.0.0.1:{cicap.port}/ex206", tmp_path / "file.bin")
        assert run.returncode == 0, run.stdout + run.stderr
        assert (json.loads(run.stdout)["verdict"], json.loads(run.stdout)["icap_status"]) == ("pass", 204)

    def test_echo_tls(self, cicap, certificates, tmp_path):
        (tmp_path / "file.bin").write_bytes(samples.noise(70_000))
        run = self.scan("--to", f"icaps://localhost:{cicap.tls_port}/echo", "--ca", certificates.ca,
                        tmp_path / "file.bin")
        assert run.returncode == 0, run.stdout + run.stderr

    def test_unknown_ca_is_refused(self, cicap, tmp_path):
        """The security that was asked for is not there: exit code 3."""
        (tmp_path / "file.bin").write_bytes(b"x")
        run = self.scan("--to", f"icaps://localhost:{cicap.tls_port}/echo", tmp_path / "file.bin")
        assert run.returncode == 3, run.stdout + run.stderr

    def test_json(self, cicap, tmp_path):
        (tmp_path / "file.bin").write_bytes(b"x")
        run = self.scan("--json", "--to", f"icap://127.0.0.1:{cicap.port}/echo", tmp_path / "file.bin")
        assert run.returncode == 0, run.stderr
        assert [json.loads(line) for line in run.stdout.splitlines()]

    def test_a_folder(self, cicap, tmp_path):
        folder = tmp_path / "folder" / "below"
        folder.mkdir(parents=True)
        for name in ("a", "b"):
            (folder / name).write_bytes(name.encode())
        run = self.scan("--to", f"icap://127.0.0.1:{cicap.port}/echo", tmp_path / "folder")
        assert run.returncode == 0, run.stderr

    def test_unknown_service(self, cicap, tmp_path):
        (tmp_path / "file.bin").write_bytes(b"x")
        run = self.scan("--to", f"icap://127.0.0.1:{cicap.port}/nothing", tmp_path / "file.bin")
        assert run.returncode not in (0, 3), run.stdout

    def test_nobody_there(self, tmp_path):
        from testenv import free_port
        (tmp_path / "file.bin").write_bytes(b"x")
        run = self.scan("--to", f"icap://127.0.0.1:{free_port()}/echo", tmp_path / "file.bin")
        assert run.returncode == 4, run.stdout + run.stderr

    def test_usage(self):
        assert self.scan("--no-such-option").returncode == 2
        assert self.scan("--to", "http://example.com/", "x").returncode == 2


class TestOurLoad:
    """icapload against c-icap's server: every byte of every answer is what was sent. Its 206 without a preview
    is not among them: after one it takes what follows for a request, and answers 400."""

    @pytest.mark.parametrize("service, options, statuses", [
        ("echo", (), {"200"}), ("echo", ("--allow-204",), {"200"}), ("echo", ("--preview", 1024), {"200", "204"}),
        ("ex206", ("--preview", 1024, "--allow-206", "--expect", 206), {"206"})],
        ids=["echo", "echo-204", "echo-preview", "ex206-preview"])
    @pytest.mark.parametrize("method", ["REQMOD", "RESPMOD"])
    def test_bytes(self, cicap, method, service, options, statuses):
        for size in SIZES:
            command = [need_load(), "--json", "-n", "2", "-r", "10", "-m", method, "-s", str(size), "-p", f"/{service}",
                       *map(str, options), f"127.0.0.1:{cicap.port}"]
            run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
            report = json.loads(run.stdout)
            assert (run.returncode, report["errors"], report["requests"]) == (0, {}, 10), report
            answered = {status for status, n in report["status"].items() if n and status != "100"}
            assert answered <= statuses and (answered or not size), report


def need_load():
    program = build_dir() / "tests" / "bench" / "icapload"
    if not program.exists():
        missing(f"{program} is not built")
    return str(program)


@pytest.mark.tsan
class TestRawShapes:
    """Requests as two clients of the field send them."""

    def test_nextcloud(self, sallyport):
        """REQMOD of a PUT without Content-Length, Transfer-Encoding in the ICAP head, everything
        written before anything is read, close."""
        http = [("req-hdr", b"PUT /file.txt HTTP/1.0\r\nHost: nextcloud\r\n\r\n")]
        fields = ["Allow: 204", "X-Client-IP: ", "Transfer-Encoding: chunked", "Connection: close"]
        host, port = sallyport.address()
        for body, infected in ((samples.noise(70_000), False), (samples.EICAR, True)):
            with IcapConnection((host, port)) as c:
                reply = c.ask("REQMOD", f"icap://{host}/inspect", body, http=http, fields=fields, host=host)
                c.expect_closed()
            assert reply.status == (200 if infected else 204)
            if infected:
                assert reply.http_status() == 403
                assert "Threat=" in reply.field("X-Infection-Found")

    def test_rspamd(self, sallyport):
        """OPTIONS, then RESPMOD with a body only, on one connection."""
        host, port = sallyport.address()
        with IcapConnection((host, port)) as c:
            c.send(f"OPTIONS icap://{host}/inspect ICAP/1.0\r\nHost: {host}\r\nEncapsulated: null-body=0\r\n\r\n".encode())
            assert c.read_reply("OPTIONS").status == 200
            reply = c.ask("RESPMOD", f"icap://{host}/inspect", samples.EICAR, http=[], fields=["Allow: 204"])
        assert reply.status == 200
        assert "Threat=" in reply.field("X-Infection-Found")
