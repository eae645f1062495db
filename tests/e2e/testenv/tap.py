# SPDX-License-Identifier: Apache-2.0
"""What clients say, on its way; and somebody who changes it."""
import re
import socket
import threading


class Tap:
    """Hands bytes on between clients and |address|, and keeps those of the clients in |seen|. |change|: makes of what was
    read, and of whether a client has sent it, what goes on."""

    def __init__(self, address, change=lambda data, is_clients: data):
        self.address, self.change, self.seen = address, change, bytearray()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]

    def __enter__(self):
        threading.Thread(target=self.accept, daemon=True).start()
        return self

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            server = socket.create_connection(self.address, 30)
            for source, sink, keep in ((client, server, True), (server, client, False)):
                threading.Thread(target=self.copy, args=(source, sink, keep), daemon=True).start()

    def copy(self, source, sink, keep):
        try:
            while data := source.recv(65536):
                if keep:
                    self.seen += data
                sink.sendall(self.change(data, keep))
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def __exit__(self, *exc):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


def without_upgrade(data):
    """The same heads of HTTP, as if nobody had heard of RFC 2817."""
    return re.sub(rb"(?i)\r\n(upgrade: [^\r\n]*|connection: upgrade(?=\r\n))", b"", data)
