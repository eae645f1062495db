# SPDX-License-Identifier: Apache-2.0
"""The harness itself, proven on peers that are known to work: c-icap's server answers our raw client,
Squid fetches from our origin, and c-icap's echo takes what Squid adapts."""
import pytest

from testenv import IcapConnection, IcapError, cicap_client, samples
from testenv.icap import echo_digest
from testenv.squid import LARGE_UPLOADS


@pytest.fixture(scope="module")
def squid_cicap(cicap):
    from testenv import Squid
    with Squid([("reqmod_precache", f"icap://127.0.0.1:{cicap.port}/echo", ""),
                ("respmod_precache", f"icap://127.0.0.1:{cicap.port}/echo", "")], extra=LARGE_UPLOADS) as squid:
        yield squid


def test_options_of_cicap(cicap):
    with IcapConnection(("127.0.0.1", cicap.port)) as c:
        c.send(b"OPTIONS icap://127.0.0.1/echo ICAP/1.0\r\nHost: x\r\n\r\n")
        reply = c.read_reply("OPTIONS")
    assert reply.status == 200
    assert "RESPMOD" in reply.field("Methods")


@pytest.mark.parametrize("size", samples.SIZES)
@pytest.mark.parametrize("method", ["REQMOD", "RESPMOD"])
def test_echo_of_cicap(cicap, method, size):
    with IcapConnection(("127.0.0.1", cicap.port)) as c:
        reply, digest = echo_digest(c, "icap://127.0.0.1/echo", size, method)
        c.expect_silence()
    assert reply.status == 200
    assert (reply.body_len, digest) == (size, samples.noise_digest(size))


def test_echo_of_cicap_tls(cicap, certificates):
    with IcapConnection(("127.0.0.1", cicap.tls_port), tls=certificates.ca) as c:
        reply, digest = echo_digest(c, "icaps://localhost/echo", samples.MIB)
    assert (reply.body_len, digest) == (samples.MIB, samples.noise_digest(samples.MIB))


def test_preview_of_cicap(cicap):
    with IcapConnection(("127.0.0.1", cicap.port)) as c:
        body = samples.noise(3000)
        reply = c.ask("RESPMOD", "icap://127.0.0.1/echo", body, preview=1024)
    assert reply.status in (200, 204)


def test_cicap_client(cicap, tmp_path):
    (tmp_path / "in").write_bytes(samples.noise(70000))
    run = cicap_client(cicap.port, "echo", "-no204", "-nopreview", file=tmp_path / "in", output=tmp_path / "out")
    assert run.returncode == 0, run.stderr
    assert (tmp_path / "out").read_bytes() == samples.noise(70000)


def test_the_client_is_strict():
    """What the raw client must not take."""
    import socket
    import threading
    bad = [b"ICAP/1.0 200 OK\r\nISTag: \"x\"\r\nEncapsulated: res-hdr=0, res-body=9\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
           b"ICAP/1.0 200 OK\r\nISTag: x\r\nEncapsulated: null-body=0\r\n\r\n",
           b"ICAP/1.0 204 None\r\n\r\n",
           b"ICAP/1.0 204 None\nISTag: \"x\"\r\n\r\n"]
    with socket.create_server(("127.0.0.1", 0)) as server:
        def serve():
            for answer in bad:
                peer, _ = server.accept()
                with peer:
                    peer.sendall(answer)
        threading.Thread(target=serve, daemon=True).start()
        for _ in bad:
            with IcapConnection(server.getsockname()[:2]) as c, pytest.raises((IcapError, EOFError)):
                c.read_reply("RESPMOD")


@pytest.mark.parametrize("size", samples.SIZES)
def test_squid_with_cicap_download(squid_cicap, origin, size):
    status, digest, length, _ = squid_cicap.get(origin.url(f"/size/{size}"))
    assert (status, length, digest) == (200, size, samples.noise_digest(size))


@pytest.mark.parametrize("size", samples.SIZES)
def test_squid_with_cicap_upload(squid_cicap, origin, size):
    status, _, _, head = squid_cicap.post(origin.url("/upload"), samples.pieces(size), size)
    assert status == 200
    assert samples.noise_digest(size).encode() in head
