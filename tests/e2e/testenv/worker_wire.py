# SPDX-License-Identifier: Apache-2.0
"""The worker's sockets with us as supervisor and gateway: the protocol of
docs/guide/worker-protocol.md, written down a second time."""
import fcntl
import os
import pathlib
import socket
import struct
import subprocess
import tempfile

WORKER = pathlib.Path(os.environ["SALLYPORT_BUILD"]) / "sallyport-worker"
RULES = pathlib.Path(__file__).resolve().parents[3] / "share" / "rules" / "sallyport.yar"
PATIENCE = 30  # seconds until a missing answer is a failure

VERSION = 4
(CHANNEL, READY, BROKEN, FORK, FORKED, FORK_FAILED, KILL, DIED, JOB, RESULT) = range(1, 11)
PASS, CHANGED, BLOCK, NOT_INSPECTED, ERROR = range(5)
YARA, FILETYPE, UNPACK, PRINTING = 1, 2, 4, 8
NONE, INFECTED, DENIED, ENGINE_DOWN, TIMEOUT, TOO_LARGE, CAUSE_NOT_INSPECTED, WORKER_CRASH = range(8)


def text(value):
    return struct.pack(">H", len(value)) + value


def pair():
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in ends:
        end.settimeout(PATIENCE)
    return ends


class Peer:
    """One end of a socket that speaks the protocol."""

    def __init__(self, sock):
        self.sock = sock
        sock.settimeout(PATIENCE)

    def send(self, kind, body=b"", fd=None):
        self.raw(bytes([VERSION, kind]) + body, fd)

    def raw(self, packet, fd=None):
        socket.send_fds(self.sock, [packet], [] if fd is None else [fd])

    def receive(self, *kinds):
        """(body, descriptor or None) of the next packet, which must be one of |kinds|; EOFError at the end."""
        try:
            packet, fds, _, _ = socket.recv_fds(self.sock, 16384, 4)
        except ConnectionResetError:
            raise EOFError from None
        if not packet:
            raise EOFError
        assert packet[0] == VERSION and packet[1] in kinds, packet[:40]
        assert len(fds) == (packet[1] in (CHANNEL, FORKED, JOB) or (packet[1] == RESULT and packet[-1]))
        return packet[2:], fds[0] if fds else None

    def close(self):
        self.sock.close()


class Texts:
    """Reads the fields of a packet one after the other."""

    def __init__(self, body):
        self.body = body

    def number(self, form):
        value, = struct.unpack_from(">" + form, self.body)
        self.body = self.body[struct.calcsize(">" + form):]
        return value

    def text(self):
        n = self.number("H")
        value, self.body = self.body[:n], self.body[n:]
        return value.decode("utf-8", "backslashreplace")


class Result:
    def __init__(self, body):
        r = Texts(body)
        self.id, self.verdict, self.cause, self.also, self.err = (r.number(f) for f in "QBBHB")
        self.scan_us, self.why = r.number("Q"), r.text()
        self.findings = [(r.text(), r.text(), r.text(), r.number("B")) for _ in range(r.number("B"))]
        self.sniffed, self.n_objects = r.text(), r.number("I")
        self.incomplete, self.pages, self.has_objects = r.number("B"), r.number("I"), r.number("B")
        self.objects = None
        assert not r.body

    @property
    def blocking(self):
        return [name for _, name, _, note in self.findings if not note]

    @property
    def notes(self):
        return [name for _, name, _, note in self.findings if note]


class Objects:
    """The memfd that comes with a RESULT: |seals|, and (source, role, offset, length, name, declared, sniffed) of
    each object; |derived| is what stands before the table."""

    def __init__(self, fd):
        self.seals = fcntl.fcntl(fd, fcntl.F_GET_SEALS)
        with open(fd, "rb") as f:
            f.seek(0)
            data = f.read()
        off, n, magic = struct.unpack(">QI4s", data[-16:])
        assert magic == b"SOBJ"
        self.derived, table, self.list = data[:off], data[off:-16], []
        for _ in range(n):
            what, at, length, *texts = struct.unpack_from(">BQQBBB", table)
            table, fields = table[20:], []
            for size in texts:
                fields.append(table[:size])
                table = table[size:]
            self.list.append((what >> 4, what & 15, at, length, *fields))
        assert not table


def memfd(data):
    writable = os.memfd_create("file")
    with open(writable, "wb") as f:
        f.write(data)
        f.flush()
        return os.open(f"/proc/self/fd/{writable}", os.O_RDONLY)


class Worker(Peer):
    def __init__(self, fd, pid):
        sock = socket.socket(fileno=fd)
        self.non_blocking = not os.get_blocking(fd)
        super().__init__(sock)
        self.pid = pid
        self.next_id = 0

    def give_fd(self, fd, size, name=b"", kind=b"", engines=YARA, time_ms=20000, encoding=b"", want_objects=False,
                limits=(64 << 20, 1000, 3, 1000)):
        self.next_id += 1
        self.send(JOB, struct.pack(">QIIQ", self.next_id, engines, time_ms, size) + text(name) + text(kind) +
                  text(encoding) + struct.pack(">QIII?", *limits, want_objects), fd)
        os.close(fd)

    def give(self, data, *args, **options):
        self.give_fd(memfd(data), len(data), *args, **options)

    def answer(self):
        body, fd = self.receive(RESULT)
        result = Result(body)
        assert result.id == self.next_id
        if result.has_objects:
            result.objects = Objects(fd)
        return result

    def scan(self, *args, **options):
        self.give(*args, **options)
        return self.answer()


class Zygote:
    """Started as the supervisor does it; |ready| is (engines, layers), or |broken| the text."""

    def __init__(self, *arguments, rules=(RULES,)):
        ours, theirs = pair()
        self.control = Peer(ours)
        command = [WORKER, "--control", str(theirs.fileno()), *arguments]
        for rule in rules:
            command += ["--rules", rule]
        self.log = tempfile.TemporaryFile()
        self.process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL,
                                        stderr=self.log, start_new_session=True)
        theirs.settimeout(None)
        theirs.close()
        self.channels = []
        self.ready = self.broken = None
        body, _ = self.control.receive(READY, BROKEN)
        said = Texts(body)
        self.ready, self.broken = ((said.text(), said.text()), None) if len(body) > 2 + struct.unpack_from(
            ">H", body)[0] else (None, said.text())

    def channel(self, **options):
        ours, theirs = pair()
        if "sndbuf" in options:
            theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, options["sndbuf"])
        self.control.send(CHANNEL, fd=theirs.fileno())
        theirs.close()
        self.channels.append(Peer(ours))
        return self.channels[-1]

    def fork(self, channel=None, number=1):
        channel = channel or self.channel()
        channel.send(FORK, struct.pack(">I", number))
        return forked(channel, number)

    def wait(self):
        return self.process.wait(PATIENCE)

    def logged(self):
        self.log.seek(0)
        return self.log.read().decode()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.control.close()
        for channel in self.channels:
            channel.close()
        try:
            self.wait()
        finally:
            self.process.kill()
            self.process.wait()
            self.log.close()


def forked(channel, number):
    body, fd = channel.receive(FORKED)
    got, pid = struct.unpack(">II", body)
    assert got == number
    return Worker(fd, pid)


def died(channel):
    return struct.unpack(">III", channel.receive(DIED)[0])
