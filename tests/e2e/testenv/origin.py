# SPDX-License-Identifier: Apache-2.0
"""An HTTP/1.1 origin server for proxies to fetch from and upload to.

    GET /size/N       N bytes with Content-Length
    GET /paced/N      the same, not at the speed of memory: a pause after the head, then PACE bytes
                      every millisecond
    GET /chunked/N    the same bytes in the chunked coding, chunks of odd sizes
    GET /eicar        the EICAR test file
    GET /status/N     status N with a short body (none with 204, 304)
    POST, PUT /any    {"length": …, "sha256": …} of what arrived
"""
import hashlib
import http.server
import json
import threading
import time

from . import samples

PACE = 16384


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "origin"

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.server.count(self.path)
        kind, _, argument = self.path.lstrip("/").partition("/")
        if kind == "size":
            self.send_bytes(samples.pieces(int(argument)), int(argument))
        elif kind == "paced":
            self.send_bytes(self.paced(int(argument)), int(argument))
        elif kind == "chunked":
            self.send_chunked(int(argument))
        elif kind == "eicar":
            self.send_bytes([samples.EICAR], len(samples.EICAR))
        elif kind == "status":
            self.send_bytes([b"short\n"], 6, int(argument))
        else:
            self.send_bytes([b"no such thing\n"], 14, 404)

    def do_POST(self):
        digest, length = hashlib.sha256(), 0
        for piece in self.body():
            digest.update(piece)
            length += len(piece)
        self.server.count(self.path)
        self.server.uploads.append({"path": self.path, "length": length, "sha256": digest.hexdigest()})
        answer = json.dumps(self.server.uploads[-1]).encode()
        self.send_bytes([answer], len(answer))

    do_PUT = do_POST

    def body(self):
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            while size := int(self.rfile.readline().split(b";")[0], 16):
                yield self.rfile.read(size)
                self.rfile.readline()
            while self.rfile.readline() not in (b"\r\n", b""):
                pass
            return
        left = int(self.headers.get("Content-Length", 0))
        while left:
            piece = self.rfile.read(min(left, samples.BLOCK))
            if not piece:
                raise ConnectionError("the upload ended early")
            left -= len(piece)
            yield piece

    def start(self, status, *fields):
        self.send_response(status)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Cache-Control", "no-store")
        for name, value in fields:
            self.send_header(name, value)
        self.end_headers()

    def send_bytes(self, pieces, length, status=200):
        if status in (204, 304):
            self.start(status)
            return
        self.start(status, ("Content-Length", str(length)))
        for piece in pieces:
            self.wfile.write(piece)

    @staticmethod
    def paced(length):
        time.sleep(0.03)
        for piece in samples.pieces(length):
            for i in range(0, len(piece), PACE):
                yield piece[i:i + PACE]
                time.sleep(0.001)

    def send_chunked(self, length):
        self.start(200, ("Transfer-Encoding", "chunked"))
        for piece in samples.pieces(length):
            for i in range(0, len(piece), 40009):
                part = piece[i:i + 40009]
                self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
        self.wfile.write(b"0\r\n\r\n")


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.uploads, self.paths, self.lock = [], [], threading.Lock()

    def count(self, path):
        with self.lock:
            self.paths.append(path)

    def handle_error(self, request, client_address):
        pass  # a proxy that goes away is part of some tests


class Origin:
    """The server in a thread. |paths|: what was asked; |uploads|: what arrived."""

    def __enter__(self):
        self.server = Server()
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *exc):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(10)

    @property
    def port(self):
        return self.server.server_address[1]

    def url(self, path):
        return f"http://127.0.0.1:{self.port}{path}"

    @property
    def paths(self):
        return self.server.paths

    @property
    def uploads(self):
        return self.server.uploads
