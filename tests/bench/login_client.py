#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Clients of a listener with logins that icapload is not: each request has another password, and each
answer is a figure of its own. Says what it found as JSON.

    login_client.py storm  HOST:PORT --from IP -n N --user USER
                                                        wrong passwords, of USER and of nobody in turn, as
                                                        fast as it goes, until standard input ends
    login_client.py each   HOST:PORT                    the users of standard input, one after the other
    login_client.py crowd  HOST:PORT -n N               its first user on N connections at the same time
    login_client.py derive ROUNDS...                    what a login's derivations take here, alone
    login_client.py get    HOST:PORT                    /metrics, as name: value

Standard input has lines USER:PASSWORD. Every request has a TLS connection of its own, which is made
before the clock starts; certificates are not checked.
"""
import argparse
import base64
import hashlib
import itertools
import json
import os
import socket
import ssl
import sys
import threading
import time
import urllib.request

PATIENCE_S = 120  # derivations are below everything else
DERIVATIONS = 5


class Client:
    """Makes connections and asks for OPTIONS on them."""

    def __init__(self, address, source=None):
        host, _, port = address.rpartition(":")
        self.address, self.target = address, (host, int(port))
        self.source = (source, 0) if source else None
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.context.check_hostname, self.context.verify_mode = False, ssl.CERT_NONE

    def connect(self):
        plain = socket.create_connection(self.target, PATIENCE_S, self.source)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self.context.wrap_socket(plain)

    def request(self, login):
        word = base64.b64encode(login.encode()).decode()
        return (f"OPTIONS icaps://{self.address}/echo ICAP/1.0\r\nHost: {self.address}\r\n"
                f"Authorization: Basic {word}\r\nEncapsulated: null-body=0\r\n\r\n").encode()

    def ask(self, login):
        """The status, and milliseconds from request to answer."""
        with self.connect() as s:
            start = time.perf_counter()
            s.sendall(self.request(login))
            return status(s), (time.perf_counter() - start) * 1000


def status(s):
    """Of the answer, which is read to the end of its head; None: there was none."""
    head = b""
    while b"\r\n\r\n" not in head:
        more = s.recv(65536)
        if not more:
            return None
        head += more
    return int(head.split(None, 2)[1])


def logins():
    return [line.rstrip("\n") for line in sys.stdin]


class Storm:
    """Threads that each try one password after the other."""

    def __init__(self, client, user):
        self.client, self.user, self.run = client, user, os.getpid()
        self.serial, self.lock, self.sent, self.answers = itertools.count(), threading.Lock(), 0, {}

    def one(self):
        n = next(self.serial)
        who = self.user if n % 2 == 0 else f"nobody-{self.run}-{n}"
        with self.client.connect() as s:
            s.sendall(self.client.request(f"{who}:wrong {self.run} {n}"))
            with self.lock:
                self.sent += 1
            return str(status(s))

    def work(self):
        while True:
            try:
                what = self.one()
            except OSError as error:
                what = type(error).__name__
            with self.lock:
                self.answers[what] = self.answers.get(what, 0) + 1


def storm(args):
    threading.stack_size(256 * 1024)
    s, start = Storm(Client(args.address[0], args.source), args.user), time.perf_counter()
    for _ in range(args.n):
        threading.Thread(target=s.work, daemon=True).start()
    sys.stdin.read()
    with s.lock:  # who still waits for an answer is not waited for
        print(json.dumps({"sent": s.sent, "seconds": time.perf_counter() - start, "answers": s.answers}),
              flush=True)
        os._exit(0)


def each(args):
    client = Client(args.address[0])
    answers = [client.ask(login) for login in logins()]
    print(json.dumps({"status": [s for s, _ in answers], "ms": [ms for _, ms in answers]}))


def crowd(args):
    """All connections are there, then all requests are out, then the answers are waited for."""
    client, login = Client(args.address[0]), logins()[0]
    everyone = [client.connect() for _ in range(args.n)]
    start, found = time.perf_counter(), []
    for s in everyone:
        s.sendall(client.request(login))
    for s in everyone:
        found.append((status(s), (time.perf_counter() - start) * 1000))
    print(json.dumps({"status": [s for s, _ in found], "ms": [ms for _, ms in found]}))


def derive(args):
    """Derivations of one login with so many rounds each."""
    taken = []
    for _ in range(DERIVATIONS):
        start = time.perf_counter()
        for rounds in args.address:
            hashlib.pbkdf2_hmac("sha256", b"a password of some length", os.urandom(16), int(rounds))
        taken.append((time.perf_counter() - start) * 1000)
    print(json.dumps({"ms": taken}))


def get(args):
    with urllib.request.urlopen(f"http://{args.address[0]}/metrics", timeout=PATIENCE_S) as answer:
        text = answer.read().decode()
    rows = (line.rpartition(" ") for line in text.splitlines() if line and line[0] != "#")
    print(json.dumps({name: float(value) for name, _, value in rows}))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    modes = {f.__name__: f for f in (storm, each, crowd, derive, get)}
    parser.add_argument("mode", choices=list(modes))
    parser.add_argument("address", nargs="+")
    parser.add_argument("-n", type=int, default=16, help="connections at the same time")
    parser.add_argument("--user", help="one who exists")
    parser.add_argument("--from", dest="source", help="connect from this address")
    args = parser.parse_args()
    modes[args.mode](args)


if __name__ == "__main__":
    main()
