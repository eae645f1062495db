# SPDX-License-Identifier: Apache-2.0
"""A printer of which each answer can be made wrong, and which remembers what it was asked."""
import itertools
import socket
import threading

from . import ipp, wait
from .wrong_server import Peer, Stub


class Heard:
    """A request as the printer read it: |head| and |body|, and |message| decoded."""

    def __init__(self, head, body):
        self.head, self.body = head, body
        self.message = ipp.Message.decode(body)

    @property
    def operation(self):
        return self.message.code

    @property
    def document(self):
        return self.message.data


def http(message, status=b"200 OK", kind=b"application/ipp", more=b""):
    body = message.encode() if isinstance(message, ipp.Message) else message
    return b"HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n%s\r\n%s" % (status, kind, len(body), more, body)


def answer(asked, code, *groups, request_id=None):
    first = (ipp.OPERATION, [("attributes-charset", ipp.CHARSET, "utf-8"),
                             ("attributes-natural-language", ipp.LANGUAGE, "en")])
    return ipp.Message(code, [first, *groups], request_id=request_id or asked.request_id, version=asked.version)


class FakePrinter(Stub):
    """talk_now(peer, printer, head), where a test has set it, answers a request whose head is read; false ends the
    connection. |more|: further attributes of the printer."""

    def __init__(self, more=()):
        super().__init__(self.serve_one)
        self.heard, self.talk_now, self.more = [], None, list(more)
        self.numbers = itertools.count(1)
        self.connections = 0
        self.jobs = {}
        self.lock = threading.Lock()

    @property
    def port(self):
        return self.listener.getsockname()[1]

    def uri(self):
        return f"ipp://127.0.0.1:{self.port}/printers/fake"

    # ---- what it says ----

    def serve_one(self, peer, _stub):
        with self.lock:
            self.connections += 1
        while head := peer.head():
            talk = self.talk_now
            if talk:
                if not talk(peer, self, head):
                    return
                continue
            heard = self.hear(peer, head)
            peer.send(http(self.reply(heard)))

    def hear(self, peer, head):
        """The rest of the request."""
        fields = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:] if line)
        body = peer.file.read(int(fields[b"Content-Length"])) if b"Content-Length" in fields else peer.chunks()[0]
        heard = Heard(head, body)
        with self.lock:
            self.heard.append(heard)
        return heard

    def reply(self, heard):
        asked = heard.message
        if heard.operation == ipp.GET_PRINTER_ATTRIBUTES:
            return answer(asked, ipp.OK, (ipp.PRINTER, self.attributes()))
        if heard.operation in (ipp.PRINT_JOB, ipp.CREATE_JOB):
            with self.lock:
                number = next(self.numbers)
                self.jobs[number] = asked.get("requesting-user-name")
            return answer(asked, ipp.OK, (ipp.JOB, self.job(number)))
        if heard.operation == ipp.GET_JOBS:
            return answer(asked, ipp.OK, *((ipp.JOB, self.job(n)) for n in self.jobs))
        number = asked.get("job-id")
        if number is not None and number not in self.jobs:
            return answer(asked, ipp.NOT_FOUND)
        return answer(asked, ipp.OK, *([(ipp.JOB, self.job(number))] if number else []))

    def job(self, number):
        return [("job-id", ipp.INTEGER, number), ("job-uri", ipp.URI, f"ipp://127.0.0.1:{self.port}/jobs/{number}"),
                ("job-state", ipp.ENUM, ipp.COMPLETED), ("job-state-reasons", ipp.KEYWORD, "none"),
                ("job-originating-user-name", ipp.NAME, self.jobs[number] or "anonymous")]

    def attributes(self):
        return [("printer-name", ipp.NAME, "fake"), ("printer-uri-supported", ipp.URI, self.uri()),
                ("uri-security-supported", ipp.KEYWORD, "none"), ("uri-authentication-supported", ipp.KEYWORD, "none"),
                ("printer-state", ipp.ENUM, 3), *self.more]

    # ---- what tests ask ----

    def operations(self):
        return [h.operation for h in self.heard]

    def last(self, operation):
        return next(h for h in reversed(self.heard) if h.operation == operation)

    def wait_heard(self, operation, seconds=10):
        return wait.until(lambda: operation in self.operations() and self.last(operation), f"operation {operation:#x}",
                          seconds)

    def forget(self):
        """What it heard, not its jobs."""
        self.heard, self.talk_now = [], None

    def begin_anew(self):
        """As if it had been set up again: no jobs, numbers from 1."""
        self.numbers, self.jobs = itertools.count(1), {}


def reset(peer):
    """Closes so that the other side gets a reset."""
    peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    peer.file.close()
    peer.sock.close()


__all__ = ["FakePrinter", "Heard", "Peer", "answer", "http", "reset"]
