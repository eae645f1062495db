# SPDX-License-Identifier: Apache-2.0
"""A small HTTP proxy that knows CONNECT and nothing else, with and without a login."""
import hashlib
import re
import select
import socket

from .wrong_server import Stub

CHALLENGE = b'Proxy-Authenticate: Digest realm="proxy", qop="auth", algorithm=SHA-256, nonce="abc"\r\n'


def sha256(*words):
    return hashlib.sha256(":".join(words).encode()).hexdigest()


class ConnectProxy(Stub):
    """|users|: name -> password, to be proved by Digest; None: everybody. |challenge|: fields of its 407. |ports|: where it
    leads to, None: anywhere. |to|: port -> port, where connections really go."""

    def __init__(self, users=None, ports=None, to=None, refusal=b"403 Forbidden", challenge=CHALLENGE):
        super().__init__(self.serve_one)
        self.users, self.ports, self.to, self.refusal, self.challenge = users, ports, to or {}, refusal, challenge
        self.heads, self.passed = [], b""  # of requests to the proxy itself; what went through it, from clients

    @property
    def port(self):
        return self.listener.getsockname()[1]

    def methods(self):
        return [h.split(b" ")[0] for h in self.heads]

    def targets(self):
        return [h.split(b" ")[1].decode() for h in self.heads]

    def knows(self, head):
        """Is the Digest in |head| right?"""
        field = re.search(rb"\r\nProxy-Authorization: Digest (.*)\r\n", head)
        if not field:
            return False
        values = dict(re.findall(r'(\w+)="?([^",]*)"?', field[1].decode()))
        if values["username"] not in self.users or values["uri"] != head.split(b" ")[1].decode():
            return False
        a1 = sha256(values["username"], "proxy", self.users[values["username"]])
        a2 = sha256("CONNECT", values["uri"])
        right = sha256(a1, values["nonce"], values["nc"], values["cnonce"], values["qop"], a2)
        return values["response"] == right

    def serve_one(self, peer, _stub):
        while head := peer.head():
            self.heads.append(head)
            if not head.startswith(b"CONNECT "):
                peer.send(b"HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n")
                return
            if self.users is not None and not self.knows(head):
                peer.send(b"HTTP/1.1 407 No\r\n" + self.challenge + b"Content-Length: 0\r\n\r\n")
                continue
            port = int(head.split(b" ")[1].rpartition(b":")[2])
            if self.ports is not None and port not in self.ports:
                peer.send(b"HTTP/1.1 " + self.refusal + b"\r\nContent-Length: 0\r\n\r\n")
                return
            self.tunnel(peer, self.to.get(port, port))
            return

    def tunnel(self, peer, port):
        with socket.create_connection(("127.0.0.1", port)) as far:
            peer.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
            near = peer.sock
            near.settimeout(None)
            while True:
                ready, _, _ = select.select([near, far], [], [], 30)
                for one in ready:
                    data = one.recv(65536)
                    if not data:
                        return
                    if one is near:
                        self.passed += data
                    (far if one is near else near).sendall(data)
