# SPDX-License-Identifier: Apache-2.0
"""Bodies much larger than memory: what passes through is not held. The release build; sanitizers
have figures of their own."""
import hashlib
import os
import shutil
import threading

import pytest

from testenv import Sallyport, Way, build_dir, samples
from testenv.icap import body_head, chunks
from testenv.sallyport import is_sanitized

MIB, GIB = samples.MIB, samples.GIB
CHUNK = 4 * MIB
ZEROS = bytes(CHUNK)
WIRE_CHUNK = b"%x\r\n" % CHUNK + ZEROS + b"\r\n"
PEAK_DIFFERENCE = 8 * MIB
pytestmark = pytest.mark.alone


@pytest.fixture(scope="module")
def sallyport(tmp_path_factory, certificates):
    if is_sanitized(build_dir()):
        pytest.skip("memory figures are those of the release build")
    folder = tmp_path_factory.mktemp("sallyport")
    free = shutil.disk_usage(folder).free
    assert free > 6 * GIB, f"the spool needs 6 GiB in {folder}, which has {free / GIB:.1f}"
    with Sallyport(folder, tls=certificates.server, services="  - {name: large, type: inspect, path: /large}\n",
                   more="icap: {transaction-timeout: 5m, write-timeout: 2m}\n") as gateway:
        yield gateway


class TestWriteAllThenRead:
    """200 MB from a client that reads nothing before it has sent everything, as most libraries do."""

    SIZE = 200 * 1000 * 1000

    @pytest.mark.parametrize("service", ["echo", "inspect"])
    @pytest.mark.parametrize("method", ["REQMOD", "RESPMOD"])
    def test_completes(self, way, method, service):
        digest = hashlib.sha256()
        with way.connect(timeout=120) as c:
            c.send(body_head(method, way.url(service), self.SIZE))
            for piece in chunks(samples.pieces(self.SIZE)):
                c.send(piece)
            reply = c.read_reply(method, sink=digest.update)
            c.expect_silence()
        assert reply.status == 200
        assert (reply.body_len, digest.hexdigest()) == (self.SIZE, samples.noise_digest(self.SIZE))

    def test_allow_204(self, way):
        """Nothing has to come back, so nothing has to be kept for it."""
        with way.connect(timeout=120) as c:
            head = body_head("RESPMOD", way.url("inspect"), self.SIZE)
            c.send(head.replace(b"Host: icap.test\r\n", b"Host: icap.test\r\nAllow: 204\r\n"))
            for piece in chunks(samples.pieces(self.SIZE)):
                c.send(piece)
            assert c.read_reply("RESPMOD").status == 204


def reset_peak(pid):
    with open(f"/proc/{pid}/clear_refs", "w", encoding="ascii") as f:
        f.write("5")


def peak(pid):
    """Bytes of VmHWM: the most that was resident since reset_peak()."""
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return next(int(line.split()[1]) * 1024 for line in f if line.startswith("VmHWM:"))


def send_zeros(sock, size):
    for _ in range(size // CHUNK):
        sock.sendall(WIRE_CHUNK)
    sock.sendall(b"0\r\n\r\n")


class ZeroReader:
    """Reads an answer with a body of |size| zeros: counts and compares, without parsing every byte in
    Python. What is not zero is chunk framing, a few bytes in every chunk."""

    def __init__(self, connection):
        self.connection, self.buffer = connection, bytearray(CHUNK)

    def read(self, size):
        sock, view = self.connection.sock, memoryview(self.buffer)
        body_left, in_chunk, line = None, 0, b""
        total = 0
        head = b""
        while b"\r\n\r\n" not in head:  # the ICAP head
            head += sock.recv(1)
        assert head.startswith(b"ICAP/1.0 200 OK\r\n"), head
        http_len = int(head.lower().split(b"res-body=")[1].split(b"\r\n")[0])
        while http_len:
            http_len -= len(sock.recv(http_len))
        while body_left != 0:
            if in_chunk:
                n = sock.recv_into(view[:min(CHUNK, in_chunk)])
                assert n, "closed within a chunk"
                assert view[:n] == memoryview(ZEROS)[:n] if total % (256 * MIB) < CHUNK else True
                in_chunk -= n
                total += n
                continue
            line += sock.recv(1)
            if line.endswith(b"\r\n") and line != b"\r\n":
                body_left = in_chunk = int(line[:-2], 16)
                line = b""
            elif line == b"\r\n":
                line = b""  # after the data of a chunk
        assert sock.recv(2) == b"\r\n"
        assert total == size


def echo(gateway, size, write_all_first):
    """Echoes |size| zeros, and returns the peak of the gateway's memory meanwhile."""
    pid, way = gateway.gateway_pid(), Way(gateway, "clear")
    with way.connect(timeout=120) as c:
        reset_peak(pid)
        c.send(body_head("RESPMOD", way.url("echo"), size))
        if write_all_first:
            send_zeros(c.sock, size)
            ZeroReader(c).read(size)
        else:
            sender = threading.Thread(target=send_zeros, args=(c.sock, size))
            sender.start()
            ZeroReader(c).read(size)
            sender.join()
        found = peak(pid)
        assert c.ask("RESPMOD", way.url("echo"), b"still in step").body == b"still in step"
    return found


@pytest.mark.slow
@pytest.mark.parametrize("way_of_client, gib", [
    ("reads while it writes", 0.5), ("reads nothing until it has sent all", 0.5),
    *(pytest.param(way_of_client, gib, marks=pytest.mark.soak) for way_of_client in (
        "reads while it writes", "reads nothing until it has sent all") for gib in (1, 4))])
def test_peak_is_that_of_64_mib(sallyport, capsys, way_of_client, gib):
    """Of a body of half a GiB, of one, or of four."""
    write_all_first = way_of_client.startswith("reads nothing")
    if os.geteuid() != 0:
        pytest.skip("only root may reset VmHWM of another process")
    small = max(echo(sallyport, 64 * MIB, write_all_first) for _ in range(2))
    large = echo(sallyport, int(gib * GIB), write_all_first)
    with capsys.disabled():
        print(f"\n  a client that {way_of_client}: gateway's peak {small / MIB:.1f} MiB for 64 MiB, "
              f"{large / MIB:.1f} MiB for {gib} GiB")
    assert large <= small + PEAK_DIFFERENCE
    status = sallyport.status()
    assert status["budgets"]["spool"]["peak"] >= (gib * GIB * 3 // 4 if write_all_first else 0)


@pytest.mark.slow
def test_peak_of_a_large_inspection(sallyport, capsys):
    """1 GiB through inspect: the body is on the disk, and the worker maps it."""
    pid, way = sallyport.gateway_pid(), Way(sallyport, "clear")
    with way.connect(timeout=120) as c:
        reset_peak(pid)
        head = body_head("RESPMOD", way.url("large"), GIB)
        c.send(head.replace(b"Host: icap.test\r\n", b"Host: icap.test\r\nAllow: 204\r\n"))
        send_zeros(c.sock, GIB)
        assert c.read_reply("RESPMOD").status == 204
    found = peak(pid)
    with capsys.disabled():
        print(f"\n  gateway's peak {found / MIB:.1f} MiB for 1 GiB inspected")
    assert found < 64 * MIB
