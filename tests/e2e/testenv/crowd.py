# SPDX-License-Identifier: Apache-2.0
"""Many connections of one client program, from several addresses of 127/8, and what they cost the
process at the other end."""
import pathlib
import resource
import socket
import ssl

from .icap import request
from .peers import missing

SOURCES = 8  # addresses: one has some 28,000 ports
SPARE = 200  # descriptors for everything else


def need_descriptors(n):
    """Raises this process's limit to what |n| connections take; skips where the system says no."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < n + SPARE:
        if hard != resource.RLIM_INFINITY and hard < n + SPARE:
            missing(f"{n} connections need {n + SPARE} descriptors, and the limit is {hard}: see ulimit -Hn")
        resource.setrlimit(resource.RLIMIT_NOFILE, (n + SPARE, hard))


def connect(address, source=None, timeout=20):
    """A TCP connection from the address |source|; the port is chosen when the pair is known."""
    sock = socket.socket()
    sock.settimeout(timeout)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if source:
        sock.setsockopt(socket.IPPROTO_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT
        sock.bind((source, 0))
    try:
        sock.connect(address)
    except OSError:
        sock.close()
        raise
    return sock


def source(i, net=1):
    return f"127.0.{net}.{1 + i % SOURCES}"


class Crowd:
    """|n| connections to |way|, each of which has had an answer and waits. A context manager."""

    def __init__(self, way, n, service="echo", net=1):
        self.way, self.request = way, request("RESPMOD", way.url(service), b"x" * 1000, fields=["Allow: 204"])
        self.tls = ssl.create_default_context(cafile=str(way.ca)) if way.ca else None
        self.socks = []
        for i in range(n):
            self.socks.append(self._open(i, net))
            self.ask(i)

    def _open(self, i, net):
        sock = connect(self.way.gateway.address(self.way.listener), source(i, net))
        if self.tls:
            sock = self.tls.wrap_socket(sock, server_hostname="localhost")
        return sock

    def ask(self, i):
        """A request on connection |i|, and its answer, which fits into one read."""
        self.socks[i].sendall(self.request)
        answer = self.socks[i].recv(65536)
        assert answer.startswith(b"ICAP/1.0 204 ") and answer.endswith(b"\r\n\r\n"), (i, answer)

    def __len__(self):
        return len(self.socks)

    def close(self):
        while self.socks:
            self.socks.pop().close()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()


def pss(pid):
    """Bytes of memory that the process has, shared pages divided by those who share them."""
    for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise KeyError("Pss")


def descriptors(pid):
    return len(list(pathlib.Path(f"/proc/{pid}/fd").iterdir()))


