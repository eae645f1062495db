# SPDX-License-Identifier: Apache-2.0
"""An ICAP client of bytes: sends what a test wants, however wrong, and reads answers so strictly
that whatever a real client might stumble over fails here (RFC 3507 with its errata)."""
import dataclasses
import hashlib
import re
import select
import socket
import ssl
import time

from . import samples

LEGAL = {  # Encapsulated lists of answers, by method
    "OPTIONS": {("null-body",), ("opt-body",)},
    "REQMOD": {("req-hdr", "req-body"), ("req-hdr", "null-body"), ("res-hdr", "res-body"), ("res-hdr", "null-body"),
               ("req-body",), ("null-body",)},
    "RESPMOD": {("res-hdr", "res-body"), ("res-hdr", "null-body"), ("res-body",), ("null-body",)},
}
STATUS_LINE = re.compile(rb"ICAP/1\.0 ([1-5]\d\d) ([ -~]+)\r\n")
TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
CHUNK_LINE = re.compile(rb'([0-9A-Fa-f]{1,16})((?: *; *[!-:<-~]+(?: *= *(?:[!-:<-~]+|"[^"]*"))?)*)\r\n')
ISTAG = re.compile(r'"[!-~]{1,32}"')


class IcapError(AssertionError):
    """The answer is not what RFC 3507 allows."""


@dataclasses.dataclass
class Reply:
    status: int
    reason: str
    fields: list                 # (name, value) as they came
    encapsulated: list           # (entity, offset)
    heads: dict                  # entity -> raw bytes
    body: bytes = None           # None: none; with |sink|: b""
    body_len: int = 0
    use_original: int = None     # 206: use-original-body=N
    http_trailers: bytes = b""
    icap_trailers: bytes = b""

    def field(self, name, default=None):
        values = [v for n, v in self.fields if n.lower() == name.lower()]
        return ", ".join(values) if values else default

    def http_status(self):
        """Status of the encapsulated HTTP response."""
        return int(self.heads["res-hdr"].split(b" ", 2)[1])

    def http_field(self, name, part="res-hdr"):
        for line in self.heads[part].split(b"\r\n")[1:]:
            key, _, value = line.partition(b":")
            if key.lower() == name.lower().encode():
                return value.strip().decode("latin-1")
        return None


def chunked(body, size=16384, last=b"0\r\n\r\n"):
    """|body| in the chunked coding; |last|: what closes it ("0; ieof" for a whole preview)."""
    out = [b"%x\r\n%s\r\n" % (len(body[i:i + size]), body[i:i + size]) for i in range(0, len(body), size)]
    return b"".join(out) + last


def http_response(length=None, status=b"200 OK", fields=()):
    lines = [b"HTTP/1.1 " + status, b"Content-Type: application/octet-stream", *fields]
    if length is not None:
        lines.append(b"Content-Length: %d" % length)
    return b"\r\n".join(lines) + b"\r\n\r\n"


def http_request(method=b"GET", url=b"http://origin.test/file.bin", fields=()):
    return b"\r\n".join([method + b" " + url + b" HTTP/1.1", b"Host: origin.test", *fields]) + b"\r\n\r\n"


def request(method, url, body=None, fields=(), http=None, preview=None, host="icap.test", encapsulated=None):
    """A well-formed request as bytes. |http|: list of (entity, head); made up when None. |preview|:
    only the preview is sent, closed by ieof when the body fits. |body| None: null-body."""
    if http is None:
        http = [("req-hdr", http_request(b"POST" if method == "REQMOD" and body is not None else b"GET"))]
        if method == "RESPMOD":
            http.append(("res-hdr", http_response(None if body is None else len(body))))
    if encapsulated is None:
        encapsulated = encapsulate(method, http, body is not None)
    lines = [f"{method} {url} ICAP/1.0", f"Host: {host}"]
    lines += [f"Encapsulated: {encapsulated}"] if encapsulated else []
    lines += [f"Preview: {preview}"] if preview is not None else []
    lines += list(fields)
    head = "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + b"".join(h for _, h in http)
    if body is None:
        return head
    if preview is None:
        return head + chunked(body)
    fits = len(body) <= preview
    return head + chunked(body[:preview], last=b"0; ieof\r\n\r\n" if fits else b"0\r\n\r\n")


def encapsulate(method, http, has_body):
    """Value of Encapsulated for these heads."""
    parts, offset = [], 0
    for entity, head in http:
        parts.append(f"{entity}={offset}")
        offset += len(head)
    body = {"REQMOD": "req-body", "RESPMOD": "res-body"}.get(method, "opt-body")
    return ", ".join(parts + [f"{body if has_body else 'null-body'}={offset}"])


class IcapConnection:
    """One connection. |tls|: a CA file to verify with, or an ssl.SSLContext."""

    def __init__(self, address, tls=None, server_name="localhost", timeout=20):
        host, port = address if isinstance(address, tuple) else address.rsplit(":", 1)
        self.sock = socket.create_connection((host.strip("[]"), int(port)), timeout)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls is not None:
            context = tls if isinstance(tls, ssl.SSLContext) else ssl.create_default_context(cafile=str(tls))
            self.sock = context.wrap_socket(self.sock, server_hostname=server_name)
        self.timeout = timeout
        self.buffer = bytearray()
        self.outgoing = None  # pieces still to be written while an answer is read
        self.unsent = memoryview(b"")

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def close(self):
        self.sock.close()

    def send(self, data):
        self.sock.sendall(data)

    def send_body(self, pieces):
        """The chunked coding of |pieces|, one chunk each; all is written before anything is read."""
        for piece in chunks(pieces):
            self.sock.sendall(piece)

    def send_while_reading(self, pieces):
        """From now on whoever reads writes |pieces|, too, as the peer takes them. One thread does
        both: an ssl.SSLSocket must not be used by two."""
        self.outgoing = iter(pieces)
        self.sock.setblocking(False)

    def _write_some(self):
        """False when the peer takes no more now."""
        if not self.unsent:
            piece = next(self.outgoing, None)
            if piece is None:
                self.outgoing = None
                self.sock.settimeout(self.timeout)
                return False
            self.unsent = memoryview(piece)
        try:
            self.unsent = self.unsent[self.sock.send(self.unsent[:262144]):]
        except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
            return False
        return True

    def finish_sending(self):
        """The rest of what send_while_reading() began."""
        deadline = time.monotonic() + self.timeout
        while self.outgoing is not None:
            if not self._write_some() and self.outgoing is not None:
                left = deadline - time.monotonic()
                if left <= 0 or not select.select([], [self.sock], [], left)[1]:
                    raise TimeoutError(f"no progress for {self.timeout} s")

    # ---- reading ----

    def _more(self):
        deadline = time.monotonic() + self.timeout
        while True:
            wrote = self.outgoing is not None and self._write_some()
            try:
                data = self.sock.recv(262144)
                break
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                if not wrote:
                    self._wait(deadline)
        if not data:
            raise EOFError(f"closed by the peer after {bytes(self.buffer[:200])!r}")
        self.buffer += data

    def _wait(self, deadline):
        left = deadline - time.monotonic()
        if left <= 0 or not any(select.select([self.sock], [self.sock] if self.outgoing else [], [], left)):
            raise TimeoutError(f"no progress for {self.timeout} s")

    def _line(self, limit=65536):
        while True:
            end = self.buffer.find(b"\n")
            if end >= 0:
                line = bytes(self.buffer[:end + 1])
                del self.buffer[:end + 1]
                if not line.endswith(b"\r\n"):
                    raise IcapError(f"a line without CR: {line!r}")
                return line
            if len(self.buffer) > limit:
                raise IcapError("a line without end")
            self._more()

    def _exactly(self, n):
        while len(self.buffer) < n:
            self._more()
        data = bytes(self.buffer[:n])
        del self.buffer[:n]
        return data

    def _head(self):
        """Lines up to the empty one."""
        lines = []
        while True:
            line = self._line()
            if line == b"\r\n":
                return lines
            lines.append(line)

    def read_reply(self, method, sink=None):
        """A whole answer. |sink|: called with each piece of the body instead of keeping it."""
        lines = self._head()
        if not lines or not (m := STATUS_LINE.fullmatch(lines[0])):
            raise IcapError(f"no status-line: {lines[:1]!r}")
        reply = Reply(int(m[1]), m[2].decode(), [self._field(line) for line in lines[1:]], [], {})
        self._check_head(reply, method)
        if reply.encapsulated:
            self._read_parts(reply, method, sink)
        return reply

    @staticmethod
    def _field(line):
        name, colon, value = line[:-2].partition(b":")
        if not colon or not TOKEN.fullmatch(name):
            raise IcapError(f"no field-line: {line!r}")
        value = value.strip(b" \t")
        if any(c < 0x20 and c != 0x09 or c == 0x7f for c in value):
            raise IcapError(f"control characters in {line!r}")
        return name.decode(), value.decode("latin-1")

    @staticmethod
    def _check_head(reply, method):
        names = [n.lower() for n, _ in reply.fields]
        for single in ("encapsulated", "istag", "connection", "date"):
            if names.count(single) > 1:
                raise IcapError(f"{single} twice")
        if reply.status != 100 and not ISTAG.fullmatch(reply.field("ISTag", "")):
            raise IcapError(f"{reply.status} with ISTag {reply.field('ISTag')!r}")
        for part in reply.field("Encapsulated", "").split(","):
            if part.strip():
                entity, _, offset = part.strip().partition("=")
                if not re.fullmatch(r"[0-9]+", offset):
                    raise IcapError(f"Encapsulated: {reply.field('Encapsulated')}")
                reply.encapsulated.append((entity, int(offset)))
        entities = tuple(e for e, _ in reply.encapsulated)
        if reply.status in (200, 206):
            if entities not in LEGAL[method]:
                raise IcapError(f"{reply.status} to {method} with Encapsulated {entities}")
            if method == "RESPMOD" and "res-hdr" not in entities:
                raise IcapError("a RESPMOD answer without res-hdr: Squid takes none")
        elif entities not in ((), ("null-body",)):
            raise IcapError(f"{reply.status} with Encapsulated {entities}")

    def _read_parts(self, reply, method, sink):
        offsets = [o for _, o in reply.encapsulated]
        if offsets[0] != 0 or any(a >= b for a, b in zip(offsets, offsets[1:])):
            raise IcapError(f"offsets {offsets} do not rise from 0")
        for (entity, start), end in zip(reply.encapsulated, offsets[1:]):
            head = self._exactly(end - start)
            if not head.endswith(b"\r\n\r\n") or head.index(b"\r\n\r\n") != len(head) - 4:
                raise IcapError(f"{entity} does not fill its slot: {head[-80:]!r}")
            reply.heads[entity] = head
        if reply.encapsulated[-1][0] != "null-body":
            self._read_body(reply, sink)
        if reply.field("Trailer") is not None:
            reply.icap_trailers = b"".join(self._head())

    def _read_body(self, reply, sink):
        kept = []
        while True:
            line = self._line(4096)
            m = CHUNK_LINE.fullmatch(line)
            if not m:
                raise IcapError(f"no chunk-size line: {line!r}")
            size = int(m[1], 16)
            if size == 0:
                break
            left = size
            while left:
                if not self.buffer:
                    self._more()
                piece = bytes(self.buffer[:left])
                del self.buffer[:left]
                left -= len(piece)
                (sink or kept.append)(piece)
            reply.body_len += size
            if self._exactly(2) != b"\r\n":
                raise IcapError("no CRLF after a chunk")
        if original := re.search(rb"use-original-body=([0-9]+)", m[2]):
            reply.use_original = int(original[1])
            if reply.status != 206:
                raise IcapError("use-original-body outside a 206")
        reply.http_trailers = b"".join(self._head())
        reply.body = b"".join(kept)

    def expect_continue(self):
        lines = self._head()
        if lines != [b"ICAP/1.0 100 Continue\r\n"]:
            raise IcapError(f"no bare 100: {lines!r}")

    def expect_silence(self):
        """Nothing is left that belongs to no answer."""
        if self.buffer:
            raise IcapError(f"bytes after the answer: {bytes(self.buffer[:100])!r}")

    def expect_closed(self):
        """The peer closes, and sends nothing before."""
        self.expect_silence()
        try:
            rest = self.sock.recv(4096)
        except ssl.SSLEOFError:
            raise IcapError("closed without close_notify") from None
        if rest:
            raise IcapError(f"bytes instead of the end: {rest[:100]!r}")

    # ---- both ----

    def ask(self, method, url, body=None, **more):
        """One transaction; goes on after a 100. The reply; its body joined with nothing."""
        preview = more.get("preview")
        self.send(request(method, url, body, **more))
        if preview is not None and body is not None and len(body) > preview:
            if self.peek_status() == 100:
                self.expect_continue()
                self.send(chunked(body[preview:]))
        return self.read_reply(method)

    def peek_status(self):
        while len(self.buffer) < 12:
            self._more()
        return int(self.buffer[9:12])


def chunks(pieces):
    """The chunked coding of |pieces|, one chunk each, piece by piece."""
    for piece in pieces:
        yield b"%x\r\n%s\r\n" % (len(piece), piece)
    yield b"0\r\n\r\n"


def body_head(method, url, size):
    """Everything before the body of a request that carries |size| bytes."""
    if method == "REQMOD":
        http = [("req-hdr", http_request(b"POST", fields=[b"Content-Length: %d" % size]))]
    else:
        http = [("req-hdr", http_request()), ("res-hdr", http_response(size))]
    head = f"{method} {url} ICAP/1.0\r\nHost: icap.test\r\nEncapsulated: {encapsulate(method, http, True)}\r\n\r\n"
    return head.encode() + b"".join(h for _, h in http)


def echo_digest(connection, url, size, method="RESPMOD", seed=1):
    """Sends |size| bytes and reads the answer at the same time: (reply, digest of its body)."""
    digest = hashlib.sha256()
    connection.send(body_head(method, url, size))
    connection.send_while_reading(chunks(samples.pieces(size, seed)))
    reply = connection.read_reply(method, sink=digest.update)
    return reply, digest.hexdigest()
