# SPDX-License-Identifier: Apache-2.0
"""sallyport-worker over its own sockets: its start, its jobs, its life, and garbage instead of the
protocol."""
import os
import pathlib
import re
import signal
import socket
import struct
import subprocess

import pytest

from testenv.samples import EICAR, noise, portable_executable
from testenv.worker_wire import (BLOCK, CAUSE_NOT_INSPECTED, CHANNEL, DIED, ENGINE_DOWN, ERROR, FORK, FORKED, INFECTED,
                                 KILL, NONE, NOT_INSPECTED, PASS, PATIENCE, RULES, TIMEOUT, TOO_LARGE, WORKER,
                                 WORKER_CRASH, YARA, Zygote, died, memfd)

ROOT = os.geteuid() == 0


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


class TestStart:
    def test_ready_names_engines_and_layers(self, zygote):
        engines, layers = zygote.ready
        assert re.fullmatch(r"yara 4\.[0-9.]+ rules [0-9a-f]{16} filetype 5\.[0-9]+ magic [0-9a-f]{16} printing [0-9]+",
                            engines)
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
            assert z.ready[0].startswith("filetype ")
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

    def test_engine_that_nobody_knows(self, channel, worker):
        worker.give(EICAR, engines=YARA | 16)
        with pytest.raises(EOFError):
            worker.receive()
        assert died(channel) == (worker.pid, 0, 4)

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
    PACKETS = [b"\0", b"\1\4\0\0\0\1", b"\2\0", b"\2\xff", b"\2\4\0\0", b"\2\4\0\0\0\1\0", noise(64), b"x" * 20000]

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
