# SPDX-License-Identifier: Apache-2.0
"""sallyport-worker over its own sockets, with this file as supervisor and gateway: the protocol of
docs/guide/worker-protocol.md, written down a second time; and the rules that Sallyport brings along."""
import io
import os
import pathlib
import re
import signal
import socket
import struct
import subprocess
import tempfile
import zipfile

import pytest

WORKER = pathlib.Path(os.environ["SALLYPORT_BUILD"]) / "sallyport-worker"
RULES = pathlib.Path(__file__).resolve().parents[2] / "share" / "rules" / "sallyport.yar"
ROOT = os.geteuid() == 0
PATIENCE = 30  # seconds until a missing answer is a failure

(CHANNEL, READY, BROKEN, FORK, FORKED, FORK_FAILED, KILL, DIED, JOB, RESULT) = range(1, 11)
PASS, CHANGED, BLOCK, NOT_INSPECTED, ERROR = range(5)
NONE, INFECTED, DENIED, ENGINE_DOWN, TIMEOUT, TOO_LARGE, CAUSE_NOT_INSPECTED, WORKER_CRASH = range(8)

# In two pieces, so that no scanner takes this file for infected.
EICAR = rb"X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-STANDARD-" + rb"ANTIVIRUS-TEST-FILE!$H+H*"


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
        self.raw(bytes([1, kind]) + body, fd)

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
        assert packet[0] == 1 and packet[1] in kinds, packet[:40]
        assert len(fds) == (packet[1] in (CHANNEL, FORKED, JOB))
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
        self.id, self.verdict, self.cause, self.err = (r.number(f) for f in "QBBB")
        self.scan_us, self.why = r.number("Q"), r.text()
        self.findings = [(r.text(), r.text(), r.text(), r.number("B")) for _ in range(r.number("B"))]
        assert not r.body

    @property
    def blocking(self):
        return [name for _, name, _, note in self.findings if not note]

    @property
    def notes(self):
        return [name for _, name, _, note in self.findings if note]


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

    def give_fd(self, fd, size, name=b"", kind=b"", engines=1, time_ms=20000):
        self.next_id += 1
        self.send(JOB, struct.pack(">QIIQ", self.next_id, engines, time_ms, size) + text(name) + text(kind), fd)
        os.close(fd)

    def give(self, data, *args, **options):
        self.give_fd(memfd(data), len(data), *args, **options)

    def answer(self):
        result = Result(self.receive(RESULT)[0])
        assert result.id == self.next_id
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


@pytest.fixture(scope="module")
def zygote():
    with Zygote() as z:
        yield z


@pytest.fixture
def channel(zygote):
    channel = zygote.channel()
    yield channel
    channel.close()


@pytest.fixture
def worker(zygote, channel):
    worker = zygote.fork(channel)
    yield worker
    worker.close()


class TestStart:
    def test_ready_names_engines_and_layers(self, zygote):
        engines, layers = zygote.ready
        assert re.fullmatch(r"yara 4\.[0-9.]+ rules [0-9a-f]{16}", engines)
        assert "no-new-privs" in layers and "seccomp" in layers

    def test_digest_follows_the_rules(self, tmp_path):
        digests = []
        for content in ("rule a { condition: false }", "rule a { condition: true }"):
            (tmp_path / "a.yar").write_text(content)
            with Zygote(rules=[tmp_path / "a.yar"]) as z:
                digests.append(z.ready[0])
        assert digests[0] != digests[1]

    def test_rule_errors_name_file_and_line(self, tmp_path):
        one, two = tmp_path / "one.yar", tmp_path / "two.yar"
        one.write_text("rule a { condition: true }\nrule b { condition: nothing }\n")
        two.write_text("rule c {\n strings: $x = \"x\"\n condition: true }\n")
        with Zygote(rules=[one, RULES, two, tmp_path / "three.yar"]) as z:
            assert z.broken.splitlines() == [
                f'{one}:2: undefined identifier "nothing"',
                f'{two}:3: unreferenced string "$x"',
                f"{tmp_path}/three.yar: No such file or directory"]
            assert z.wait() == 1

    def test_rule_files_cannot_include(self, tmp_path):
        (tmp_path / "a.yar").write_text('include "/etc/passwd"\nrule a { condition: true }\n')
        with Zygote(rules=[tmp_path / "a.yar"]) as z:
            assert z.broken == f"{tmp_path}/a.yar:1: includes are disabled\n"

    def test_check(self, tmp_path):
        bad = tmp_path / "bad.yar"
        bad.write_text('rule a { meta: action = "explode" condition: true }')
        fine = subprocess.run([WORKER, "--check", "--rules", RULES], capture_output=True, text=True)
        assert (fine.returncode, fine.stderr) == (0, "")
        assert fine.stdout.startswith("OK: ")
        wrong = subprocess.run([WORKER, "--check", "--rules", bad], capture_output=True, text=True)
        assert (wrong.returncode, wrong.stdout) == (1, "")
        assert wrong.stderr == f'{bad}: rule a: meta action must be "block" or "note"\n'

    @pytest.mark.parametrize("arguments", [[], ["--check"], ["--control", "x"], ["--control", "3", "--sandbox", "no"],
                                           ["--control", "3", "--memory", "1"], ["--frobnicate"]])
    def test_usage(self, arguments):
        done = subprocess.run([WORKER, *arguments], capture_output=True, text=True)
        assert done.returncode == 2 and done.stderr

    def test_without_rules_nothing_passes(self):
        with Zygote(rules=[]) as z:
            assert z.ready[0] == ""
            result = z.fork().scan(b"data")
            assert (result.verdict, result.cause) == (ERROR, ENGINE_DOWN)

    def test_modules_work_in_the_jail(self, tmp_path):
        """What `import` needs must be set up before the jail closes: OpenSSL for hash, parsers for pe and elf."""
        (tmp_path / "m.yar").write_text("""
            import "pe" import "elf" import "hash" import "math" import "time"
            rule digest { condition: hash.md5(0, filesize) != "" and hash.sha256(0, filesize) != "" }
            rule entropy { condition: math.entropy(0, filesize) > 1.0 and time.now() > 0 }
            rule program { condition: elf.machine == elf.EM_X86_64 or pe.is_pe or pe.imphash() == "x" }""")
        with Zygote(rules=[tmp_path / "m.yar"]) as z:
            worker = z.fork()
            program = pathlib.Path("/bin/true").read_bytes()
            assert {"digest", "entropy"} <= set(worker.scan(program).blocking)
            assert {"digest", "program"} <= set(worker.scan(portable_executable() * 20).blocking)

    def test_signatures_are_read_in_the_jail(self, tmp_path):
        """Certificates have dates, and libc reads its time zone for the first one that it converts."""
        (tmp_path / "s.yar").write_text("""
            import "pe"
            rule signed { condition: pe.number_of_signatures == 1 and pe.signatures[0].subject contains "CN=x" and
                                     pe.signatures[0].not_after > 1000000 }""")
        with Zygote(rules=[tmp_path / "s.yar"]) as z:
            assert z.fork().scan(signed_executable(tmp_path), b"a.exe").blocking == ["signed"]

    def test_modules_that_read_files(self, tmp_path):
        """libmagic opens its database when it is first used: in the zygote, by then."""
        (tmp_path / "m.yar").write_text('import "magic" rule text { condition: magic.mime_type() == "text/plain" }')
        with Zygote(rules=[tmp_path / "m.yar"]) as z:
            if z.broken and "unknown module" in z.broken:
                pytest.skip("this libyara has no module magic")
            assert z.fork().scan(b"plain words\n").blocking == ["text"]

    @pytest.mark.skipif(not ROOT, reason="only root can change users")
    def test_drops_root(self):
        with Zygote("--uid", "65534", "--gid", "65534") as z:
            assert "user" in z.ready[1]
            worker = z.fork()
            worker.scan(b"it has come so far as to serve")
            for pid in (z.process.pid, worker.pid):
                status = pathlib.Path(f"/proc/{pid}/status").read_text()
                assert re.search(r"^Uid:\t65534\t65534\t65534\t65534$", status, re.M)
                assert re.search(r"^Gid:\t65534\t65534\t65534\t65534$", status, re.M)
                assert re.search(r"^Groups:\s*$", status, re.M)
                assert re.search(r"^CapBnd:\t0+$", status, re.M)
                assert re.search(r"^CapEff:\t0+$", status, re.M)
                assert re.search(r"^NoNewPrivs:\t1$", status, re.M)


class TestJobs:
    def test_clean_and_infected(self, worker):
        clean = worker.scan(b"nothing to see", b"a.txt", b"text/plain")
        assert (clean.verdict, clean.cause, clean.findings) == (PASS, NONE, [])
        found = worker.scan(EICAR, b"eicar.com", b"application/octet-stream")
        assert (found.verdict, found.cause) == (BLOCK, INFECTED)
        assert found.findings == [("yara", "EICAR-Test-File", "offset 0", 0)]
        assert found.why == "EICAR-Test-File"
        assert worker.scan(b"still clean").verdict == PASS

    def test_empty_file(self, worker):
        assert worker.scan(b"").verdict == PASS

    def test_100_megabytes(self, worker):
        noise = os.urandom(1 << 20).replace(b"PK", b"..")
        assert worker.scan(noise * 100, b"a.bin").verdict == PASS
        assert worker.scan(b"PK\3\4" + noise * 100 + EICAR, b"a.zip").blocking == ["EICAR-Test-File.Contained"]

    def test_only_the_announced_bytes_count(self, worker):
        data = b"x" * 4096 + b"%PDF-"
        worker.give_fd(memfd(EICAR + b" " * 60 + data), 128)
        assert worker.answer().blocking == ["EICAR-Test-File"]

    def test_shorter_than_announced_is_an_error(self, worker):
        worker.give_fd(memfd(b"short"), 4096)
        result = worker.answer()
        assert (result.verdict, result.cause) == (ERROR, CAUSE_NOT_INSPECTED)
        assert "shorter" in result.why

    def test_descriptor_that_is_no_file(self, worker):
        r, w = os.pipe()
        worker.give_fd(r, 10)
        os.close(w)
        assert worker.answer().verdict == ERROR
        assert worker.scan(b"next").verdict == PASS

    def test_no_engine_is_not_a_pass(self, worker):
        result = worker.scan(b"data", engines=0)
        assert (result.verdict, result.cause) == (NOT_INSPECTED, CAUSE_NOT_INSPECTED)

    def test_unknown_engine(self, worker):
        result = worker.scan(EICAR, engines=1 | 1 << 31)
        assert result.verdict == BLOCK  # what is known outweighs what is missing
        result = worker.scan(b"data", engines=1 | 1 << 31)
        assert (result.verdict, result.cause) == (ERROR, ENGINE_DOWN)

    def test_time_limit(self, worker):
        result = worker.scan(b"\0" * (200 << 20), time_ms=20)
        assert (result.verdict, result.cause) == (ERROR, TIMEOUT)
        assert result.scan_us < 5_000_000
        assert worker.scan(b"next").verdict == PASS

    def test_memory_limit_costs_one_file(self, tmp_path):
        (tmp_path / "hungry.yar").write_text("rule hungry { strings: $a = /a.{1,3}/ condition: #a > 2000000 }")
        with Zygote("--memory", str(16 << 20), rules=[tmp_path / "hungry.yar"]) as z:
            worker = z.fork()
            result = worker.scan(b"a" * (8 << 20))
            assert (result.verdict, result.cause) == (ERROR, WORKER_CRASH)
            assert "memory" in result.why
            assert worker.scan(b"next").verdict == PASS

    def test_file_cut_off_during_the_scan(self, zygote, channel, worker, tmp_path):
        path = tmp_path / "file"
        with open(path, "wb") as f:
            f.truncate(400 << 20)
        worker.give_fd(os.open(path, os.O_RDONLY), 400 << 20)
        os.truncate(path, 0)
        try:
            assert worker.answer().verdict == ERROR  # it was cut before it was mapped
        except EOFError:
            assert died(channel) == (worker.pid, signal.SIGBUS, 0)
        assert zygote.fork(channel).scan(b"others live on").verdict == PASS

    @pytest.mark.soak
    def test_more_than_4_gigabytes(self, worker, tmp_path):
        path = tmp_path / "file"
        with open(path, "wb") as f:
            f.write(b"PK\3\4")
            f.seek(4500 << 20)
            f.write(EICAR)
        worker.sock.settimeout(600)
        worker.give_fd(os.open(path, os.O_RDONLY), path.stat().st_size, time_ms=600_000)
        result = worker.answer()
        assert result.findings == [("yara", "EICAR-Test-File.Contained", f"offset {4500 << 20}", 0)]

    def test_larger_than_the_address_space(self, worker, tmp_path):
        path = tmp_path / "file"
        with open(path, "wb") as f:
            f.truncate(64 << 30)
        worker.give_fd(os.open(path, os.O_RDONLY), 64 << 30)
        result = worker.answer()
        assert (result.verdict, result.cause) == (NOT_INSPECTED, TOO_LARGE)


class TestLife:
    def test_gateway_end_does_not_block(self, zygote, channel):
        worker = zygote.fork(channel)
        assert worker.non_blocking

    def test_worker_ends_with_its_socket(self, channel, worker):
        worker.close()
        assert died(channel) == (worker.pid, 0, 0)

    def test_kill(self, zygote, channel, worker):
        worker.give(b"\0" * (300 << 20))
        channel.send(KILL, struct.pack(">I", worker.pid))
        with pytest.raises(EOFError):
            worker.answer()
        assert died(channel) == (worker.pid, signal.SIGKILL, 0)
        assert zygote.fork(channel, 2).scan(b"next").verdict == PASS

    def test_kill_reaches_own_workers_only(self, zygote, channel, worker):
        other = zygote.channel()
        bystander = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
        for pid in (worker.pid, bystander.pid, zygote.process.pid, 1, 0, 2**32 - 1):
            other.send(KILL, struct.pack(">I", pid))
        zygote.fork(other).close()  # the orders before it are read
        assert worker.scan(b"alive").verdict == PASS
        assert bystander.poll() is None and zygote.process.poll() is None
        bystander.communicate()

    def test_answers_wait_for_a_slow_gateway(self, zygote):
        """More answers than the socket holds; none is lost, and each worker's death comes after its birth."""
        channel = zygote.channel(sndbuf=1)
        for number in range(60):
            channel.send(FORK, struct.pack(">I", number))
        born, dead = [], []
        while len(dead) < 60:
            body, fd = channel.receive(FORKED, DIED)
            if fd is not None:
                os.close(fd)
                born.append(struct.unpack(">II", body))
            else:
                pid, sig, code = struct.unpack(">III", body)
                assert pid in [p for _, p in born] and (sig, code) == (0, 0)
                dead.append(pid)
        assert [n for n, _ in born] == list(range(60))
        channel.close()

    def test_outlives_its_supervisor(self):
        with Zygote() as z:
            channel = z.channel()
            before = z.fork(channel)
            z.control.close()
            assert z.fork(channel, 2).scan(EICAR).verdict == BLOCK
            assert before.scan(EICAR).verdict == BLOCK
            channel.close()
            assert z.wait() == 0

    def test_ends_when_nobody_needs_it(self):
        with Zygote() as z:
            z.control.close()
            assert z.wait() == 0

    def test_signals_of_the_terminal_do_not_stop_it(self, zygote, channel, worker):
        for sig in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            zygote.process.send_signal(sig)
            os.kill(worker.pid, sig)
        assert worker.scan(b"alive").verdict == PASS
        assert zygote.fork(channel, 2).scan(b"alive").verdict == PASS

    @pytest.mark.skipif(not ROOT, reason="a process in the jail lets only root look at it")
    def test_workers_hold_nothing_but_their_socket(self, worker):
        worker.scan(b"it has come so far as to serve")
        links = {int(fd): os.readlink(f"/proc/{worker.pid}/fd/{fd}") for fd in os.listdir(f"/proc/{worker.pid}/fd")}
        assert set(links) == {0, 1, 2, 3}
        assert {links[0], links[1], links[2]} == {"/dev/null"} and links[3].startswith("socket:")

    def test_two_zygotes_do_not_know_each_other(self, zygote, worker):
        with Zygote() as other:
            channel = other.channel()
            channel.send(KILL, struct.pack(">I", worker.pid))
            other.fork(channel)
        assert worker.scan(b"alive").verdict == PASS


class TestGarbage:
    PACKETS = [b"\0", b"\2\4\0\0\0\1", b"\1\0", b"\1\xff", b"\1\4\0\0", b"\1\4\0\0\0\1\0", os.urandom(64), b"x" * 20000]

    @pytest.mark.parametrize("packet", PACKETS)
    def test_channel_is_closed(self, zygote, channel, packet):
        channel.raw(packet)
        with pytest.raises(EOFError):
            channel.receive()
        assert zygote.fork().scan(b"others go on").verdict == PASS

    def test_channel_that_says_what_only_others_say(self, zygote, channel):
        channel.send(DIED, struct.pack(">III", 1, 9, 0))
        with pytest.raises(EOFError):
            channel.receive()

    @pytest.mark.parametrize("packet", PACKETS)
    def test_control_leaves_it_out(self, zygote, packet):
        zygote.control.raw(packet)
        assert zygote.fork().scan(b"goes on").verdict == PASS

    def test_channel_of_another_kind(self, zygote):
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        ours.settimeout(PATIENCE)
        zygote.control.send(CHANNEL, fd=theirs.fileno())
        theirs.close()
        assert ours.recv(1) == b""

    @pytest.mark.parametrize("packet", PACKETS)
    def test_worker_ends(self, channel, worker, packet):
        worker.raw(packet)
        with pytest.raises(EOFError):
            worker.receive()
        assert died(channel) == (worker.pid, 0, 4)


# ---- the rules ----

def portable_executable():
    return b"MZ".ljust(0x3c, b"\0") + struct.pack("<I", 0x80) + b"\0" * 64 + b"PE\0\0" + b"\x64\x86" + b"\0" * 200


def signed_executable(tmp_path):
    """A program without code, but with an Authenticode signature (its PKCS #7 part, of an empty promise)."""
    key, certificate, signature, data = (tmp_path / n for n in ("key", "certificate", "signature", "data"))
    data.write_bytes(b"data")
    for command in (["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate, "-subj",
                     "/CN=x", "-days", "2"],
                    ["cms", "-sign", "-nodetach", "-binary", "-in", data, "-signer", certificate, "-inkey", key,
                     "-outform", "DER", "-out", signature, "-econtent_type", "1.3.6.1.4.1.311.2.1.4"]):
        subprocess.run(["openssl", *command], check=True, capture_output=True)
    pkcs7 = signature.read_bytes()
    entry = struct.pack("<IHH", len(pkcs7) + 8, 0x200, 2) + pkcs7
    entry += b"\0" * (-len(entry) % 8)
    directories = b"".join(struct.pack("<II", *((0x400, len(entry)) if n == 4 else (0, 0))) for n in range(16))
    optional = (struct.pack("<HBBIIIII", 0x20b, 14, 0, 0, 0, 0, 0, 0) +
                struct.pack("<QIIHHHHHHIIIIHHQQQQII", 0x400000, 0x1000, 0x200, 6, 0, 0, 0, 6, 0, 0, 0x2000, 0x200, 0,
                            3, 0, 1 << 20, 4096, 1 << 20, 4096, 0, 16) + directories)
    head = (b"MZ".ljust(0x3c, b"\0") + struct.pack("<I", 0x80) + b"\0" * 64 + b"PE\0\0" +
            struct.pack("<HHIIIHH", 0x8664, 0, 0, 0, 0, len(optional), 0x22) + optional)
    return head.ljust(0x400, b"\0") + entry


ELF = b"\x7fELF\2\1\1".ljust(64, b"\0")
MACHO = b"\xcf\xfa\xed\xfe".ljust(64, b"\0")
SCRIPT = b"#!/bin/sh\necho hello\n"
DOCX = b"application/vnd.openxmlformats-officedocument.wordprocessingml.document"


def archive(*members, method=zipfile.ZIP_DEFLATED):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as z:
        for name, data in members:
            z.writestr(name, data)
    return out.getvalue()


def ole(*words, vba=True):
    """The raw look of a compound file: its head, a directory with UTF-16 names, identifiers, texts."""
    head = bytes.fromhex("d0cf11e0a1b11ae1").ljust(512, b"\0")
    names = ["Root Entry", "WordDocument"] + (["VBA", "_VBA_PROJECT", "PROJECT"] if vba else [])
    directory = b"".join(n.encode("utf-16-le").ljust(128, b"\0") for n in names)
    return head + directory + b"\0\0".join(w.encode() for w in words) + b"\0" * 64


def pdf(*objects, catalog=""):
    parts = [f"1 0 obj\n<< /Type /Catalog /Pages 2 0 R {catalog} >>\nendobj\n",
             "2 0 obj\n<< /Type /Pages /Kids [3 0 R] /Count 1 >>\nendobj\n",
             "3 0 obj\n<< /Type /Page /Parent 2 0 R /MediaBox [0 0 200 200] >>\nendobj\n"]
    parts += [f"{n} 0 obj\n{o}\nendobj\n" for n, o in enumerate(objects, 4)]
    return b"%PDF-1.7\n" + "".join(parts).encode() + b"trailer << /Root 1 0 R >>\n%%EOF\n"


def multipart(data):
    return (b"--limit\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a.com\"\r\n"
            b"Content-Type: application/octet-stream\r\n\r\n" + data + b"\r\n--limit--\r\n")


PDF_JS = "<< /S /JavaScript /JS (app.alert(1)) >>"
MACRO = ["AutoOpen", "ThisDocument"]

# name, type, content, findings that block, findings that are notes
SAMPLES = {
    # -- the test file
    "eicar": ("a.com", "", EICAR, ["EICAR-Test-File"], []),
    "eicar with its newline": ("a.com", "", EICAR + b"\r\n", ["EICAR-Test-File"], []),
    "eicar, all white space": ("a.com", "", EICAR + b" \t\r\n\x1a" * 12, ["EICAR-Test-File"], []),
    "eicar, 129 bytes": ("a.com", "", EICAR.ljust(129), [], ["EICAR-Test-String"]),
    "eicar and more": ("a.txt", "", EICAR + b" is a test", [], ["EICAR-Test-String"]),
    "text about eicar": ("a.txt", "text/plain", b"The string is " + EICAR + b", see eicar.org", [],
                         ["EICAR-Test-String"]),
    "text without the whole string": ("a.txt", "", EICAR[:60], [], []),
    "eicar stored in zip": ("a.zip", "", archive(("a.com", EICAR), method=zipfile.ZIP_STORED),
                            ["EICAR-Test-File.Contained"], []),
    "eicar deflated hides": ("a.zip", "", archive(("a.com", EICAR * 9)), [], []),
    "eicar in ole": ("a.doc", "", ole(EICAR.decode(), vba=False), ["EICAR-Test-File.Contained"], []),
    "eicar in tar": ("a.tar", "", b"a.com".ljust(257, b"\0") + b"ustar\0".ljust(255, b"\0") + EICAR.ljust(512, b"\0"),
                     ["EICAR-Test-File.Contained"], []),
    "eicar uploaded by a form": ("", "multipart/form-data; boundary=limit", multipart(EICAR),
                                 ["EICAR-Test-File.Contained"], []),
    "form field that mentions it": ("", "multipart/form-data; boundary=limit", multipart(b"about " + EICAR), [],
                                    ["EICAR-Test-String"]),
    # -- executables in disguise
    "exe as pdf": ("invoice.pdf", "", portable_executable(), ["Executable.Disguised"], []),
    "exe as PDF, capitals": ("INVOICE.PDF", "", portable_executable(), ["Executable.Disguised"], []),
    "exe as picture by type": ("", "image/png", portable_executable(), ["Executable.Disguised"], []),
    "exe as office document by type": ("", DOCX.decode(), portable_executable(), ["Executable.Disguised"], []),
    "elf as text": ("notes.txt", "", ELF, ["Executable.Disguised"], []),
    "mach-o as picture": ("a.jpeg", "", MACHO, ["Executable.Disguised"], []),
    "exe as exe": ("setup.exe", "application/octet-stream", portable_executable(), [], []),
    "exe that a server labels text": ("setup.exe", "text/plain", portable_executable(), [], []),
    "elf without a claim": ("", "application/octet-stream", ELF, [], []),
    "versioned library": ("libz.so.1", "application/octet-stream", ELF, [], []),
    "elf that a server labels text": ("libz.so.1", "text/plain", ELF, [], ["Executable.AsText"]),
    "upload script that labels nothing": ("", "text/html", portable_executable(), [], ["Executable.AsText"]),
    "text that starts with MZ": ("a.txt", "text/plain", b"MZ is how programs begin.\n" * 20, [], []),
    "dot in a folder": ("x.pdf/setup", "application/octet-stream", portable_executable(), [], []),
    "two extensions": ("invoice.pdf      .exe", "", portable_executable(), ["Executable.DeceptiveName"], []),
    "right to left": ("annexe\u202egpj.exe", "", portable_executable(), ["Executable.DeceptiveName"], []),
    "arabic name": ("\u062a\u0642\u0631\u064a\u0631.exe", "", portable_executable(), [], []),
    "script as picture": ("cat.png", "image/png", SCRIPT, ["Script.Disguised"], []),
    "script as text": ("install.txt", "text/plain", SCRIPT, [], ["Script.AsText"]),
    "script as script": ("install.sh", "text/plain", SCRIPT, [], []),
    "script of a package": ("tool.postinst", "text/plain", SCRIPT, [], []),
    "markdown with a shebang inside": ("a.txt", "text/plain", b"Start with\n#!/bin/sh\n", [], []),
    # -- office
    "macro that starts a program": ("a.doc", "", ole(*MACRO, "WScript.Shell"), ["Office.AutoMacro.Program"], []),
    "excel macro that fetches one": ("a.xls", "", ole("Workbook_Open", "URLDownloadToFileA"),
                                     ["Office.AutoMacro.Program"], []),
    "macro on open": ("a.doc", "", ole(*MACRO), [], ["Office.AutoMacro"]),
    "macro on demand": ("a.doc", "", ole("ThisDocument", "FormatTable", "CreateObject"), [], ["Office.Macro"]),
    "document that speaks of macros": ("a.doc", "", ole("The AutoOpen macro runs WScript.Shell", vba=False), [], []),
    "text that speaks of macros": ("a.txt", "", b"_VBA_PROJECT AutoOpen WScript.Shell", [], []),
    "docm": ("a.docm", "", archive(("word/document.xml", "<a/>"), ("word/vbaProject.bin", ole(*MACRO))), [],
             ["Office.Macro"]),
    "docm, stored": ("a.docm", "", archive(("word/vbaProject.bin", ole(*MACRO, "powershell")),
                                           method=zipfile.ZIP_STORED), ["Office.AutoMacro.Program"], []),
    "macro in docx": ("a.docx", "", archive(("word/vbaProject.bin", ole(*MACRO))), ["Office.HiddenMacro"], []),
    "macro in xlsx by type": ("", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
                              archive(("xl/vbaProject.bin", ole())), ["Office.HiddenMacro"], []),
    "docx": ("a.docx", DOCX.decode(), archive(("word/document.xml", "<w>vbaProject.bin, AutoOpen</w>")), [], []),
    # -- pdf
    "plain pdf": ("a.pdf", "application/pdf", pdf(), [], []),
    "launch": ("a.pdf", "", pdf("<< /S /Launch /Win << /F (cmd.exe) >> >>", catalog="/OpenAction 4 0 R"),
               ["PDF.Launch"], []),
    "launch without spaces": ("a.pdf", "", pdf("<</Type/Action/S/Launch/F(calc.exe)>>"), ["PDF.Launch"], []),
    "launch in hexadecimal": ("a.pdf", "", pdf("<< /S /L#61unch /F (a) >>"), ["PDF.HiddenNames"], []),
    "launch all in hexadecimal": ("a.pdf", "", pdf("<< /S /#4c#61#75#6e#63#68 /F (a) >>"), ["PDF.HiddenNames"], []),
    "javascript on open": ("a.pdf", "", pdf(PDF_JS, catalog="/OpenAction 4 0 R"), ["PDF.AutoJavaScript"], []),
    "javascript on open, inline": ("a.pdf", "", pdf(catalog=f"/OpenAction {PDF_JS}"), ["PDF.AutoJavaScript"], []),
    "javascript in hexadecimal": ("a.pdf", "", pdf("<< /S /JavaScr#69pt /JS (x) >>", catalog="/OpenAction 4 0 R"),
                                  ["PDF.HiddenNames"], ["PDF.JavaScript"]),
    "js in hexadecimal": ("a.pdf", "", pdf("<< /S /JavaScript /#4aS (x) >>"), ["PDF.HiddenNames"], ["PDF.JavaScript"]),
    "form that checks a field": ("a.pdf", "", pdf(f"<< /FT /Tx /AA << /K {PDF_JS} >> >>"), [], ["PDF.JavaScript"]),
    "opens at a page, has a button": ("a.pdf", "", pdf(PDF_JS, catalog="/OpenAction [3 0 R /Fit]"), [],
                                      ["PDF.JavaScript"]),
    "opens at a page by reference": ("a.pdf", "", pdf("[3 0 R /Fit]", catalog="/OpenAction 4 0 R"), [], []),
    "page that speaks of it": ("a.pdf", "", pdf("<< /Length 70 >>\nstream\nBT (use /JavaScript in /OpenAction, or "
                                               "/Launch, to harm) Tj ET\nendstream"), [], []),
    "names with escaped spaces": ("a.pdf", "", pdf("<< /Type /Font /BaseFont /Java#20Sans#20Launch >>"), [], []),
    "text that quotes a pdf": ("a.txt", "text/plain", b" " * 2000 + pdf(PDF_JS, catalog="/OpenAction 4 0 R"), [], []),
}


class TestRules:
    @pytest.mark.parametrize("label", SAMPLES)
    def test_sample(self, worker, label):
        name, kind, data, blocking, notes = SAMPLES[label]
        result = worker.scan(data, name.encode(), kind.encode())
        assert (sorted(result.blocking), result.notes) == (sorted(blocking), notes)
        assert (result.verdict, result.cause) == ((BLOCK, INFECTED) if blocking else (PASS, NONE))

    def test_rule_file_is_not_flagged_itself(self, worker):
        for path in (RULES, pathlib.Path(__file__)):
            assert worker.scan(path.read_bytes(), path.name.encode()).findings == []

    def test_every_rule_says_what_and_why(self):
        rules = re.findall(r"^rule (\w+)\n\{(.*?)^\}", RULES.read_text(), re.M | re.S)
        assert len(rules) > 10
        for name, body in rules:
            for key in ("threat", "description", "reference"):
                assert f"        {key} = " in body, f"{name} has no {key}"

    def test_programs_of_this_machine_are_not_flagged(self, worker):
        for path in sorted(pathlib.Path("/usr/bin").iterdir())[:200]:
            if path.is_file() and os.access(path, os.R_OK):
                result = worker.scan(path.read_bytes(), path.name.encode(), b"application/octet-stream")
                assert result.blocking == [], path
