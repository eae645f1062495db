# SPDX-License-Identifier: Apache-2.0
"""An ICAP server that wants to know who asks: Basic and 407, over TLS, with sessions that end whenever a test says."""
import base64
import socket
import ssl

from .wrong_server import NO_CHANGE, Request, Stub, answer

DENIED = b'ICAP/1.0 407 Proxy Authentication Required\r\nISTag: "d"\r\n'
CHALLENGE = b'Proxy-Authenticate: Basic realm="gateway", charset="UTF-8"\r\n'


def basic(user, password):
    return b"Basic " + base64.b64encode(f"{user}:{password}".encode())


def field(request, name):
    """The value of a field of the ICAP head, or None."""
    for line in request.icap.split(b"\r\n"):
        if line.lower().startswith(name.lower() + b":"):
            return line.partition(b":")[2].strip()
    return None


def read_request(peer):
    """As Peer.request(), and OPTIONS may do without Encapsulated."""
    icap = peer.head()
    if icap is None or icap.startswith(b"OPTIONS "):
        return icap and Request(icap, [], None, False)
    entities = field(Request(icap, [], None, False), b"Encapsulated")
    if entities is None:
        return None  # no ICAP
    names = [e.split(b"=")[0].strip() for e in entities.split(b",")]
    http = [peer.head() for name in names if name.endswith(b"-hdr")]
    body, ieof = peer.chunks() if names[-1] != b"null-body" else (b"", False)
    return Request(icap, http, body, ieof)


def server_context(certificate, client_ca=None, crl=None, only_1_2=False):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*map(str, certificate))
    if client_ca:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(str(client_ca))
    if crl:
        context.load_verify_locations(str(crl))
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
    if only_1_2:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    return context


class LoginServer(Stub):
    """Lets |users| in, who are {name: password}. |reply(request, n)|: what the n-th request that is let in gets, in
    place of 204. |early|: files get a 407 after their head, that often, and the connection ends. |expire|: after so
    many requests that were let in the session of a connection is over, until somebody logs in anew."""

    def __init__(self, users, context, reply=None, early=0, expire=None, challenge=CHALLENGE):
        super().__init__(self.serve_one, context)
        self.known = {basic(u, p) for u, p in users.items()}
        self.reply, self.early, self.expire, self.challenge = reply, early, expire, challenge
        self.seen = []  # (connection, method, Authorization) of every request
        self.denied = self.served = self.connections = 0
        self.files = []  # what came, whole

    @property
    def port(self):
        return self.listener.getsockname()[1]

    def url(self, user=None, host="localhost", scheme="icaps"):
        return f"{scheme}://{user + '@' if user else ''}{host}:{self.port}/inspect"

    def deny(self, peer, more=b""):
        self.denied += 1
        peer.send(DENIED + self.challenge + more + b"\r\n")

    def serve_one(self, peer, _stub):
        self.connections += 1
        connection, left = self.connections, self.expire
        while True:
            if self.early and self.seen:
                self.be_early(peer)
                return
            request = read_request(peer)
            if request is None:
                return
            login = field(request, b"Authorization")
            self.seen.append((connection, request.method, login))
            if login not in self.known:
                self.deny(peer)
            elif left == 0:
                left = self.expire
                self.deny(peer)
            else:
                left = left and left - 1
                self.serve_known(peer, request)

    def be_early(self, peer):
        """Refuses a file of which it has seen the head, and reads on, so that no reset takes the answer away."""
        if peer.head() is None:
            return
        self.early -= 1
        self.deny(peer, b"Connection: close\r\n")
        try:
            while peer.sock.recv(65536):
                pass
        except OSError:
            pass

    def serve_known(self, peer, request):
        self.served += 1
        if self.reply and request.method != b"OPTIONS":
            peer.send(self.reply(request, self.served))
            return
        if request.method != b"OPTIONS":
            self.files.append(request.body)
        peer.send(answer(request) if request.method == b"OPTIONS" else NO_CHANGE)


def one_status(status, more=b""):
    """A server that has one answer for everything but OPTIONS."""
    line = b"ICAP/1.0 " + status + b'\r\nISTag: "t"\r\n' + more + b"\r\n"

    def talk(peer, _stub):
        while request := read_request(peer):
            peer.send(answer(request) if request.method == b"OPTIONS" else line)
    return talk


def silent_port():
    """(socket, port): connections are made by the kernel, and nobody answers."""
    listener = socket.create_server(("127.0.0.1", 0))
    return listener, listener.getsockname()[1]
