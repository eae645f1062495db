# SPDX-License-Identifier: Apache-2.0
"""An ICAP server of which each part can be made wrong, and tests/bench/icapload against it."""
import json
import os
import pathlib
import socket
import subprocess
import threading

BUILD = os.environ.get("SALLYPORT_BUILD")
LOAD = pathlib.Path(BUILD or "/nonexistent", "tests", "bench", "icapload")

SIZE = 3000
WAIT = 10  # seconds; no test needs them


# --- a server of which each part can be made wrong ---------------------------------------------


class Request:
    """One request as the server read it: heads, and the body without its framing."""

    def __init__(self, icap, http, body, ieof):
        self.icap, self.http, self.body, self.ieof = icap, http, body, ieof
        self.method = icap.split(b" ", 1)[0]
        self.preview = b"\r\nPreview: " in icap

    def http_head(self):
        """The head that an echo returns: the last of the encapsulated ones."""
        return b"".join(self.http[-1:])


class Peer:
    """The server's end of one connection."""

    def __init__(self, sock):
        self.sock = sock
        self.file = sock.makefile("rb")

    def head(self):
        lines = []
        while not lines or lines[-1] != b"\r\n":
            line = self.file.readline()
            if not line:
                return None
            lines.append(line)
        return b"".join(lines)

    def chunks(self):
        body = b""
        while True:
            size, _, extension = self.file.readline().strip().partition(b";")
            n = int(size, 16)
            body += self.file.read(n)
            assert self.file.read(2) == b"\r\n"
            if n == 0:
                return body, extension.strip() == b"ieof"

    def request(self):
        icap = self.head()
        if icap is None:
            return None
        entities = [line for line in icap.split(b"\r\n") if line.startswith(b"Encapsulated: ")]
        if not entities:
            return None  # the rest of a body, sent after a 100: not what this server serves
        names = [e.split(b"=")[0].strip() for e in entities[0][14:].split(b",")]
        http = [self.head() for name in names if name.endswith(b"-hdr")]
        body, ieof = self.chunks() if names[-1] != b"null-body" else (None, False)
        return Request(icap, http, body, ieof)

    def send(self, data):
        self.sock.sendall(data)


def chunked(body, step=1000):
    pieces = [body[i:i + step] for i in range(0, len(body), step)]
    return b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in pieces) + b"0\r\n\r\n"


def answer(request, status=b"200 OK", istag=b'ISTag: "t1"\r\n', more=b"", shift=0, body=None,
           framed=None, http=None, encapsulated=None):
    """An echo, right in every byte unless a parameter says otherwise."""
    http = request.http_head() if http is None else http
    kind = b"req" if request.method == b"REQMOD" else b"res"
    if request.method == b"OPTIONS":
        encapsulated = encapsulated or b"null-body=0"
        more += b"Methods: REQMOD, RESPMOD\r\n"
    elif encapsulated is None:
        body_kind = b"null" if request.body is None else kind
        encapsulated = b"%s-hdr=0, %s-body=%d" % (kind, body_kind, len(http) + shift)
    if framed is None:
        framed = b"" if request.body is None else chunked(request.body if body is None else body)
    return b"ICAP/1.0 %s\r\n%s%sEncapsulated: %s\r\n\r\n%s%s" % (
        status, istag, more, encapsulated, http, framed)


NO_CHANGE = b'ICAP/1.0 204 No Content\r\nISTag: "t1"\r\n\r\n'
CONTINUE = b"ICAP/1.0 100 Continue\r\n\r\n"


def partial(request, n=0, original=None, prefix=None):
    """206: |n| bytes of the body, and from there on the original; what is wrong, the others say."""
    prefix = request.body[:n] if prefix is None else prefix
    original = b"; use-original-body=%d" % n if original is None else original
    return answer(request, status=b"206 Partial Content",
                  framed=chunked(prefix)[:-5] + b"0" + original + b"\r\n\r\n")


class Stub:
    """Serves each connection with |talk| on its own thread until the test is over."""

    def __init__(self, talk, context=None):
        self.talk, self.context = talk, context
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        self.threads, self.socks = [], []
        self.over, self.held, self.done = threading.Event(), threading.Event(), threading.Event()

    def __enter__(self):
        self.spawn(self.accept)
        return self

    def spawn(self, target, *args):
        thread = threading.Thread(target=target, args=args, daemon=True)
        self.threads.append(thread)
        thread.start()

    def accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            self.socks.append(sock)
            self.spawn(self.serve, sock)

    def serve(self, sock):
        try:
            sock.settimeout(WAIT)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.context:
                sock = self.context.wrap_socket(sock, server_side=True)
                self.socks.append(sock)
            self.talk(Peer(sock), self)
        except (OSError, ValueError):
            pass  # the load generator hangs up on what is wrong
        finally:
            sock.close()

    def __exit__(self, *_):
        self.over.set()
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for sock in self.socks:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        for thread in self.threads:
            thread.join(WAIT)


def each(reply):
    """A server that answers every request with reply(request); None closes the connection."""
    def talk(peer, _stub):
        while True:
            request = peer.request()
            data = reply(request) if request else None
            if data is None:
                return
            peer.send(data)
    return talk


def load(address, *options, requests=3, connections=1):
    command = [str(LOAD), "--json", "-n", str(connections), "-r", str(requests),
               "--max-errors", "1", "--timeout", "0.4", *options, address]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert done.returncode in (0, 1), done.stderr
    return done.returncode, json.loads(done.stdout)


RESPMOD = ("-m", "RESPMOD", "-s", str(SIZE))
REQMOD = ("-m", "REQMOD")
NO_CHANGE_OK = (*RESPMOD, "--allow-204")
PARTIAL_OK = (*RESPMOD, "--allow-204", "--allow-206")
PREVIEW = (*RESPMOD, "--preview", "1000")
UNIQUE = (*RESPMOD, "--unique")
FORM = (*REQMOD, "--form", "3", "-s", "400")
BLOCKED = (*RESPMOD, "--blocked", "overload")
PAGE = b"<title>Blocked</title>"


def block_page(cause=b"overload", status=b"403 Forbidden", length=len(PAGE)):
    http = b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n" % (status, length)
    return (b'ICAP/1.0 200 OK\r\nISTag: "t1"\r\nX-Response-Desc: %s\r\n'
            b"Encapsulated: res-hdr=0, res-body=%d\r\n\r\n%s%s"
            % (cause, len(http), http, chunked(PAGE)))


def good(request):
    return answer(request)
