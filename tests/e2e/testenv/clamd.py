# SPDX-License-Identifier: Apache-2.0
"""ClamAV's daemon with a few signatures of its own, and what one says to it."""
import array
import os
import pathlib
import signal
import socket
import struct

from . import samples, wait
from .peers import free_port, need
from .process import Process

# Signatures that do not come from ClamAV's own database get this behind their name.
SUFFIX = ".UNOFFICIAL"
EICAR_NAME = "Sallyport.Test.EICAR"
CHUNK = 1 << 20


class Clamd(Process):
    """The daemon on the Unix socket |socket_path| and on 127.0.0.1:|port|. |options|: lines of
    clamd.conf, as MaxFileSize="25M"; an empty value leaves a line of ours out."""

    stop_seconds = 30

    def __init__(self, folder, **options):
        self.dir = pathlib.Path(folder).absolute()
        self.database = self.dir / "db"
        self.database.mkdir(parents=True, exist_ok=True)
        self.socket_path = self.dir / "clamd.sock"
        self.port = free_port()
        self.config_path = self.dir / "clamd.conf"
        self._options = options
        self._write_config()
        self.add_signature(EICAR_NAME, samples.EICAR)
        self._start()

    def _write_config(self):
        lines = {"LocalSocket": self.socket_path, "FixStaleSocket": "yes", "TCPSocket": self.port,
                 "TCPAddr": "127.0.0.1", "DatabaseDirectory": self.database, "TemporaryDirectory": self.dir,
                 "Foreground": "yes", "OfficialDatabaseOnly": "no", "LogTime": "yes", "SelfCheck": 3600, "AlertExceedsMax": "yes"}
        lines.update(self._options)
        text = "".join(f"{name} {value}\n" for name, value in lines.items() if value != "")
        self.config_path.write_text(text)

    def _start(self):
        program = need("clamd", "clamav-daemon")
        super().__init__([program, "-F", "-c", self.config_path], self.dir / "output.log")
        wait.until(self._answers, "an answer of clamd", 30)

    def _answers(self):
        assert self.is_running(), f"clamd ended:\n{self.log()}"
        try:
            return self.ask("PING") == "PONG"
        except (ConnectionError, FileNotFoundError):
            return False

    def restart(self, **options):
        """Starts it anew, after kill() or stop(), or ends it first; |options| change the configuration."""
        if self.is_running():
            self.stop()
        self._options.update(options)
        self._write_config()
        self._start()

    def kill(self):
        """As when the kernel's memory killer takes it: its socket stays behind."""
        self.popen.send_signal(signal.SIGKILL)
        self.popen.wait(self.stop_seconds)

    def pause(self):
        """It hangs from now on: connections succeed, nothing is answered."""
        self.popen.send_signal(signal.SIGSTOP)

    def go_on(self):
        self.popen.send_signal(signal.SIGCONT)

    def add_signature(self, name, content):
        """Of the bytes |content|, anywhere in a file. Counts after reload()."""
        with (self.database / "test.ndb").open("a") as f:
            f.write(f"{name}:0:*:{content.hex()}\n")

    def reload(self):
        """Loads the database anew, and waits until it did: VERSION alone does not tell."""
        said = "Activating the newly loaded database"  # the last thing: "correctly reloaded" comes before it is used
        marks = self.log().count(said)
        assert self.ask("RELOAD") == "RELOADING"
        wait.until(lambda: self.log().count(said) > marks, "a reloaded database", 30)

    def connect(self, seconds=30):
        """A socket of the Unix kind."""
        s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        s.settimeout(seconds)
        s.connect(str(self.socket_path))
        return s

    def ask(self, text):
        """The answer to one command, on a connection of its own."""
        with self.connect() as s:
            s.sendall(b"z" + text.encode() + b"\0")
            return read_reply(s)

    def session(self, tcp=False):
        return ClamdSession(socket.create_connection(("127.0.0.1", self.port), 30) if tcp else self.connect())


class ClamdSession:
    """One IDSESSION."""

    def __init__(self, sock):
        self.sock = sock
        self.sock.sendall(b"zIDSESSION\0")

    def fildes(self, fd):
        self.sock.sendall(b"zFILDES\0")
        self.sock.sendmsg([b"\0"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))])
        return read_reply(self.sock)

    def instream(self, pieces):
        self.sock.sendall(b"zINSTREAM\0")
        for piece in pieces:
            self.sock.sendall(struct.pack("!I", len(piece)) + piece)
        self.sock.sendall(struct.pack("!I", 0))
        return read_reply(self.sock)

    def ask(self, text):
        self.sock.sendall(b"z" + text.encode() + b"\0")
        return read_reply(self.sock)

    def close(self):
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()


def read_reply(sock):
    """Up to its NUL, without it; ConnectionError when the daemon is gone before."""
    got = b""
    while not got.endswith(b"\0"):
        piece = sock.recv(1)
        if not piece:
            raise ConnectionError(f"clamd closed after {got!r}")
        got += piece
    return got[:-1].decode(errors="replace")


def memory_file(content, size=None):
    """A memfd with |content| at its begin, grown to |size| with a hole, which takes no memory."""
    fd = os.memfd_create("sample")
    os.pwrite(fd, content, 0)
    if size is not None:
        os.ftruncate(fd, size)
    return fd
