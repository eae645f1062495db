# SPDX-License-Identifier: Apache-2.0
"""Squid 5.7 hands everything that passes through it to Sallyport: over icap:// and icaps://, uploads
and downloads, of every size that is special to one of the two; compared by digest. Squid's settings
are its defaults, but for the services, for KEEP_READING where a download is inspected as a whole
(Squid 5.7 stalls there, whatever the ICAP server does, Squid bug 5352; TestStall shows it), and for
READ_AHEAD where the client gets chunks.
"""
import socket
import time

import pytest

from testenv import Sallyport, Squid, samples
from testenv.squid import KEEP_READING, READ_AHEAD

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
    import shutil
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
    with Squid(service_lines(sallyport, readable, scheme, "echo")) as squid:
        yield squid


@pytest.fixture(scope="module")
def chunking_echo_squid(sallyport, readable, scheme):
    with Squid(service_lines(sallyport, readable, scheme, "echo"), extra=READ_AHEAD) as squid:
        yield squid


@pytest.fixture(scope="module")
def inspect_squid(sallyport, readable, scheme):
    extra = KEEP_READING + READ_AHEAD
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
        assert_noise(inspect_squid.get(origin.url(f"/size/{samples.GIB}"), timeout=120), samples.GIB)

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
@pytest.mark.parametrize("service", ["echo", "inspect"])
def test_upload_of_one_gibibyte(sallyport, readable, scheme, origin, service):
    """Squid before 6.13 drops uploads that come faster than they are inspected, when its buffer for
    them is full (Squid bug 5405): so it gets a larger one."""
    with Squid(service_lines(sallyport, readable, scheme, service), extra="client_request_buffer_max_size 2 GB\n") as squid:
        answer = squid.post(origin.url("/upload"), samples.pieces(samples.GIB), samples.GIB, timeout=120)
    assert_uploaded(answer, samples.GIB)


class TestInspectOnDefaults:
    """All of Squid's settings as they come, and an origin that sends as one over a network does."""

    @pytest.fixture(scope="class")
    def squid(self, sallyport, readable, scheme):
        with Squid(service_lines(sallyport, readable, scheme, "inspect")) as squid:
            yield squid

    @pytest.mark.parametrize("size", samples.SIZES)
    def test_clean_download(self, squid, origin, size):
        assert_noise(squid.get(origin.url(f"/paced/{size}"), timeout=60), size)

    @pytest.mark.parametrize("size", samples.SIZES)
    def test_clean_upload(self, squid, origin, size):
        assert_uploaded(squid.post(origin.url("/upload"), samples.pieces(size), size), size)

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
