# SPDX-License-Identifier: Apache-2.0
"""A printer whose protection can be made wrong: TLS by Upgrade and from the first byte, 426 and its like, challenges."""
import contextlib
import socket
import ssl

from . import ipp
from .fake_printer import FakePrinter, answer, http
from .wrong_server import Peer

SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: TLS/1.2, HTTP/1.1\r\n\r\n"
FINAL = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
DEMAND = b"HTTP/1.1 %s No\r\nConnection: Upgrade\r\nUpgrade: TLS/1.2, HTTP/1.1\r\nContent-Length: 0\r\n\r\n"
DIGEST = b'Digest realm="r", qop="auth", algorithm=SHA-256, nonce="n"'
BASIC = b'Basic realm="r"'
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def denied(*challenges):
    fields = b"".join(b"WWW-Authenticate: %s\r\n" % c for c in challenges)
    return b"HTTP/1.1 401 No\r\n%sContent-Length: 0\r\n\r\n" % fields


class Session:
    """One connection: what the printer read on it, in clear text and inside TLS."""

    def __init__(self):
        self.clear, self.tls = b"", b""
        self.version = None  # of TLS


class WrongPrinter(FakePrinter):
    """|options|: answer to OPTIONS with Upgrade, then TLS unless |no_tls|; |final|: what follows inside (None: nothing).
    |clear|, |within|: raw answers by operation (or None for all) in clear text and within TLS, in place of FakePrinter's.
    |silent|: no 100 Continue. |implicit|: TLS from the first byte is taken."""

    options, final, no_tls, implicit, silent = SWITCH, FINAL, False, True, False

    def __init__(self, certificate, more=(), tickets=0, **changes):
        self.sessions, self.clear, self.within = [], {}, {}
        self.tls_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.tls_context.load_cert_chain(*map(str, certificate))
        self.tls_context.num_tickets = tickets
        super().__init__(more)
        for name, value in changes.items():
            setattr(self, name, value)

    def uri(self, scheme="ipp", auth=""):
        return f"{scheme}://127.0.0.1:{self.port}/ipp/print{auth}"

    # ---- connections ----

    def serve_one(self, peer, _stub):
        session = Session()
        self.sessions.append(session)
        if peer.sock.recv(1, socket.MSG_PEEK) == b"\x16":
            if self.implicit:
                self.serve_tls(peer, session)
            return
        while (head := peer.head()) is not None:
            session.clear += head
            if head.startswith(b"OPTIONS ") and b"\r\nUpgrade: " in head:
                peer.send(self.options)
                if self.options.startswith(b"HTTP/1.1 101") and not self.no_tls:
                    self.serve_tls(peer, session, self.final)
                return
            if not self.serve_request(peer, head, session, "clear"):
                return

    def serve_tls(self, peer, session, first=b""):
        tls = self.tls_context.wrap_socket(peer.sock.dup(), server_side=True)
        self.socks.append(tls)
        session.version = tls.version()
        within = Peer(tls)
        if first is None:
            tls.recv(1)  # until the client gives up
            return
        within.send(first)
        while (head := within.head()) is not None:
            session.tls += head
            if not self.serve_request(within, head, session, "tls"):
                return

    # ---- requests ----

    def serve_request(self, peer, head, session, where):
        """False: the connection ends."""
        raw = self.clear if where == "clear" else self.within
        if b"\r\nExpect: 100-continue" in head:
            early = raw.get(ipp.PRINT_JOB, raw.get(None))
            if isinstance(early, bytes):
                peer.send(early)
                return False
            if not self.silent:
                peer.send(CONTINUE)
        heard = self.hear(peer, head)
        heard.where = where
        setattr(session, where, getattr(session, where) + heard.body)
        say = raw.get(heard.operation, raw.get(None))
        say = say(heard) if callable(say) else say
        peer.send(http(self.reply(heard)) if say is None else say)
        return True


@contextlib.contextmanager
def wrong_printers(certificate):
    """begin(what is wrong…) starts one; all of them end."""
    with contextlib.ExitStack() as started:
        def begin(**changes):
            fake = WrongPrinter(certificate, **changes)
            started.enter_context(fake)
            return fake
        yield begin


__all__ = ["BASIC", "CONTINUE", "DEMAND", "DIGEST", "FINAL", "SWITCH", "WrongPrinter", "answer", "denied", "http",
           "wrong_printers"]
